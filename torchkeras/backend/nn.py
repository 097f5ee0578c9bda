"""Activations, crossentropies, normalizations and random numbers of ``keras.backend``."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras import activations, config, dtypes, ops, random
from torchkeras.backend.shapes import cast
from torchkeras.backend.tensors import Table
from torchkeras.graph import Spec, TorchCall, connect, is_symbolic
from torchkeras.ops.promotion import as_float
from torchkeras.ops.spatial import is_channels_last
from torchkeras.seeds import in_trial

op = Table(__name__)

_RELU = "relu(x, alpha=0.0, max_value=None, threshold=0.0)"
op.rows(
    ("elu(x, alpha=1.0)", F.elu, "Return x where positive, else alpha (exp(x) - 1)."),
    # As in every version of Keras' backend.
    ("hard_sigmoid(x)", lambda x: torch.clamp(0.2 * x + 0.5, 0, 1), "Return 0.2 x + 0.5 in 0 … 1."),
    (_RELU, activations.relu, "Return max(x, 0); see ``keras.activations.relu``."),
    ("softmax(x, axis=-1)", torch.softmax, "Return exponentials divided by their sum."),
    tensors="x",
    rule=as_float,
    is_elementwise=True,
)

# -------------------------------------------------------------------------------- crossentropies


def _floats(target: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
    return target.to(as_float(output).dtype), as_float(output)


_TWO = "(target, output, from_logits=False"
op.rows(
    (f"binary_crossentropy{_TWO})", ops.binary_crossentropy, "See ``keras.ops``."),
    (f"categorical_crossentropy{_TWO}, axis=-1)", ops.categorical_crossentropy, "See keras.ops."),
    rule=_floats,
)


@op.own
def sparse_categorical_crossentropy(
    target: Tensor,
    output: Tensor,
    from_logits: bool = False,
    axis: int = -1,
    ignore_class: Any = None,
) -> Tensor:
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
    output = torch.movedim(output, axis, -1)
    if not from_logits:
        output = torch.log(torch.clamp(output, config.epsilon(), 1 - config.epsilon()))
    labels = torch.reshape(target.long(), output.shape[:-1])
    counts = torch.ones_like(labels, dtype=bool) if ignore_class is None else labels != ignore_class
    labels = torch.where(counts, labels, 0)
    values = ops.sparse_categorical_crossentropy(labels, output, from_logits=True)
    return torch.where(counts, values, 0.0)


@op.own
def in_top_k(predictions: Tensor, targets: Tensor, k: int) -> Tensor:
    """Tell whether the right class is among the ``k`` largest predictions, and finite.

    Args:
        predictions: ``(batch, classes)``.
        targets: class numbers ``(batch,)``.
        k: how many; all that are as large as the last of them count.
    """
    own = torch.gather(predictions, -1, targets.long()[:, None])
    return (torch.sum(predictions > own, -1) < int(k)) & torch.isfinite(own[:, 0])


# -------------------------------------------------------------------------------- normalizations


def _normalized(x: Tensor, *given: Any) -> Tensor:
    """Return (x - mean) / sqrt(var + epsilon) * gamma + beta; vectors lie along the axis."""
    *vectors, axis, epsilon = given
    along = [1] * x.dim()
    along[axis] = -1
    mean, var, beta, gamma = (
        part.reshape(along) if part is not None and part.dim() == 1 else part for part in vectors
    )
    factor = torch.rsqrt(var + epsilon) * (1 if gamma is None else gamma)
    return (x - mean) * factor + (0 if beta is None else beta)


_BY = "x, mean, var, beta, gamma, axis=-1, epsilon=0.001"
op.rows((f"batch_normalization({_BY})", _normalized, _normalized.__doc__))


@op.own
def normalize_batch_in_training(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, reduction_axes: Any, epsilon: float = 1e-3
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize by mean and variance of the batch; return these too, without the axes reduced.

    Args:
        x: any shape.
        gamma: factors along the axes that are left, or ``None`` for 1.
        beta: likewise, what is added, or ``None`` for 0.
        reduction_axes: axes to take together; Theano's ``'per-activation'`` is the first.
        epsilon: added to the variance.
    """
    axes = [0] if reduction_axes == "per-activation" else list(reduction_axes)
    mean, var = ops.moments(x, axes, keepdims=True)
    gamma, beta = (part if part is None else part.reshape(mean.shape) for part in (gamma, beta))
    normed = _normalized(x, mean, var, beta, gamma, -1, epsilon)
    return normed, torch.squeeze(mean, axes), torch.squeeze(var, axes)


@op.own
def bias_add(x: Tensor, bias: Tensor, data_format: str | None = None) -> Tensor:
    """Add a bias.

    Args:
        x: ``(batch, …, channels)`` or ``(batch, channels, …)``.
        bias: ``(channels,)``, or ``(…, channels)``, which is read in the layout of ``x``.
        data_format: the configuration's unless given.

    Raises:
        ValueError: for a bias of another rank.
    """
    is_last, shape = is_channels_last(data_format), tuple(bias.shape)
    if len(shape) not in (1, x.dim() - 1):
        raise ValueError(f"bias_add: a bias of shape {shape} does not fit {tuple(x.shape)}.")
    space, channels = shape[:-1] or (1,) * (x.dim() - 2), shape[-1:]
    return x + bias.reshape(space + channels if is_last else channels + space)


# ------------------------------------------------------------------------------ random numbers
# Without a seed they come from torch's own generator, which set_random_seed seeds. With one they
# go on from call to call: the same numbers in each run of the program, others in each step.


@functools.cache
def _going_on(seed: int | None) -> random.SeedGenerator | None:
    return None if seed is None else random.SeedGenerator(seed, name="seed_of_backend")


forget_seeds = _going_on.cache_clear


def dropout(x: Any, level: float, noise_shape: Any = None, seed: int | None = None) -> Any:
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
    if is_symbolic(noise_shape):
        spec = Spec(x.shape, dtypes.name_of(x.dtype))
        return connect(TorchCall(dropout), (x, level, noise_shape, seed), {}, spec)
    noise_shape = None if in_trial() else noise_shape  # of which sizes may be unknown
    return random.dropout(x, level, noise_shape, _going_on(seed))


def _uniform(shape: Any, low: Any, high: Any, dtype: Any, seed: int | None) -> Any:
    if dtypes.to_torch(dtype).is_floating_point:
        return random.uniform(shape, low, high, dtype, _going_on(seed))
    return random.randint(shape, int(low), int(high), dtype, _going_on(seed))


def _ones(shape: Any, p: float, dtype: Any, seed: int | None) -> Any:
    return cast(_uniform(shape, 0, 1, None, seed) < p, dtypes.name_of(dtype))


def _normal(shape: Any, *given: Any, draw: Any = random.normal) -> Any:
    return draw(shape, *given[:3], _going_on(given[3]))


_cut = functools.partial(_normal, draw=random.truncated_normal)
_DRAWN = "dtype=None, seed=None"
op.spelled(
    (f"random_bernoulli(shape, p=0.0, {_DRAWN})", _ones, "Draw 1 with probability p, else 0."),
    (f"random_binomial(shape, p=0.0, {_DRAWN})", _ones, "Draw 1 with probability p, else 0."),
    (f"random_normal(shape, mean=0.0, stddev=1.0, {_DRAWN})", _normal, "Draw normal numbers."),
    (f"random_uniform(shape, minval=0.0, maxval=1.0, {_DRAWN})", _uniform, "Draw evenly."),
    (f"truncated_normal(shape, mean=0.0, stddev=1.0, {_DRAWN})", _cut, "Draw within 2 stddev."),
)
