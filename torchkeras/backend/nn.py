"""Activations, crossentropies and dropout of ``keras.backend``."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from torchkeras import activations, config
from torchkeras.backend import draws
from torchkeras.backend.operation import operation, same, unchanged
from torchkeras.backend.tensors import as_tensor, like

# ----------------------------------------------------------------------------------- activations


@operation(spec=same)
def relu(
    x: Any, alpha: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> torch.Tensor:
    """Return ``max(x, 0)`` unless the arguments say otherwise.

    Args:
        x: any shape.
        alpha: slope below the threshold.
        max_value: upper bound; none unless given.
        threshold: values not above it count as negative.
    """
    return activations.relu(as_tensor(x), alpha, max_value, threshold)


@operation(spec=same)
def elu(x: Any, alpha: float = 1.0) -> torch.Tensor:
    """Return ``x`` where positive, else ``alpha * (exp(x) - 1)``."""
    return activations.elu(as_tensor(x), alpha)


@operation(spec=same)
def softmax(x: Any, axis: int = -1) -> torch.Tensor:
    """Return exponentials divided by their sum along an axis."""
    return torch.softmax(as_tensor(x), axis)


@operation(spec=same)
def softplus(x: Any) -> torch.Tensor:
    """Return ``log(exp(x) + 1)``."""
    return activations.softplus(as_tensor(x))


@operation(spec=same)
def softsign(x: Any) -> torch.Tensor:
    """Return ``x / (1 + abs(x))``."""
    return activations.softsign(as_tensor(x))


@operation(spec=same)
def sigmoid(x: Any) -> torch.Tensor:
    """Return ``1 / (1 + exp(-x))``."""
    return torch.sigmoid(as_tensor(x))


@operation(spec=same)
def hard_sigmoid(x: Any) -> torch.Tensor:
    """Return ``0.2 * x + 0.5`` within 0 and 1, as in every version of ``keras.backend``."""
    return torch.clamp(0.2 * as_tensor(x) + 0.5, 0, 1)


@operation(spec=same)
def tanh(x: Any) -> torch.Tensor:
    """Return hyperbolic tangents."""
    return torch.tanh(as_tensor(x))


# -------------------------------------------------------------------------------- crossentropies


def _clipped(probability: torch.Tensor) -> torch.Tensor:
    epsilon = config.epsilon()
    return torch.clamp(probability, epsilon, 1.0 - epsilon)


def _target_and_output(target: Any, output: Any) -> tuple[torch.Tensor, torch.Tensor]:
    output = as_tensor(output)
    return like(target, output).to(output.dtype), output


@operation
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> torch.Tensor:
    """Return ``-target log(output) - (1 - target) log(1 - output)``, element by element.

    Args:
        target: from 0 to 1.
        output: probabilities, clipped to [epsilon, 1 - epsilon].
        from_logits: whether ``output`` is what a sigmoid would make probabilities of.
    """
    target, output = _target_and_output(target, output)
    if from_logits:
        return torch.relu(output) - output * target + F.softplus(-torch.abs(output))
    output = _clipped(output)
    return -(target * torch.log(output) + (1 - target) * torch.log1p(-output))


@operation
def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> torch.Tensor:
    """Return ``-sum(target * log(output))`` along the axis of the classes.

    Args:
        target: one-hot, of the shape of ``output``.
        output: probabilities; scaled to the sum 1, then clipped to [epsilon, 1 - epsilon].
        from_logits: whether ``output`` is what a softmax would make probabilities of.
        axis: where the classes lie.
    """
    target, output = _target_and_output(target, output)
    if from_logits:
        logarithm = torch.log_softmax(output, axis)
    else:
        logarithm = torch.log(_clipped(output / torch.sum(output, axis, keepdim=True)))
    return -torch.sum(target * logarithm, axis)


@operation
def sparse_categorical_crossentropy(
    target: Any,
    output: Any,
    from_logits: bool = False,
    axis: int = -1,
    ignore_class: int | None = None,
) -> torch.Tensor:
    """Return minus the logarithm of the right class' probability.

    Args:
        target: class numbers ``(batch, …)``; other shapes of as many elements are taken too.
        output: probabilities, clipped to [epsilon, 1 - epsilon] and then scaled to the sum 1.
        from_logits: whether ``output`` is what a softmax would make probabilities of.
        axis: where the classes lie in ``output``.
        ignore_class: a class number whose elements count 0.

    Returns:
        The shape of ``output`` without the classes.
    """
    output = torch.movedim(as_tensor(output), axis, -1)
    if not from_logits:
        output = torch.log(_clipped(output))
    labels = torch.reshape(as_tensor(target).to(output.device).long(), output.shape[:-1])
    counted = None if ignore_class is None else labels != ignore_class
    if counted is not None:
        labels = torch.where(counted, labels, 0)
    logarithm = torch.log_softmax(output, -1)
    values = -torch.gather(logarithm, -1, torch.unsqueeze(labels, -1)).squeeze(-1)
    return values if counted is None else torch.where(counted, values, 0.0)


# ---------------------------------------------------------------------------------------- others


@operation(spec=unchanged)
def dropout(x: Any, level: float, noise_shape: Any = None, seed: int | None = None) -> torch.Tensor:
    """Set a part of the elements to 0 and scale the others up, whether training or not.

    Args:
        x: any shape.
        level: which part, from 0 up to but not including 1.
        noise_shape: shape of what is drawn, which is broadcast to that of ``x``; that unless given.
        seed: makes the draws repeat from run to run.

    Raises:
        ValueError: when ``level`` is no such number.
    """
    if not 0 <= level < 1:
        raise ValueError(f"dropout: `level` must lie in [0, 1); received {level!r}.")
    x = as_tensor(x)
    if noise_shape is None and seed is None:
        return F.dropout(x, level)
    shape = x.shape if noise_shape is None else noise_shape
    kept = draws.uniform(shape, x.dtype, seed, x.device) >= level
    return torch.where(kept, x / (1 - level), 0)


@operation
def in_top_k(predictions: Any, targets: Any, k: int) -> torch.Tensor:
    """Return whether the right class is among the ``k`` largest predictions, as booleans.

    Classes that are as large as the last of them are among them too.

    Args:
        predictions: ``(batch, classes)``.
        targets: class numbers ``(batch,)``.
        k: how many.
    """
    predictions = as_tensor(predictions)
    right = torch.unsqueeze(as_tensor(targets).to(predictions.device).long(), -1)
    own = torch.gather(predictions, -1, right)
    larger = torch.sum(predictions > own, -1)
    return torch.logical_and(larger < int(k), torch.isfinite(torch.squeeze(own, -1)))
