"""Activations: functions from a tensor to a tensor of the same shape.

Each takes a torch tensor; arrays, numbers, lists of numbers and a :class:`Variable` are turned into
one first.  The dtype is kept, except that torch makes floats of integers where a formula needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from torchkeras import eras, registry, variable
from torchkeras.ops import softmaxes
from torchkeras.registry import register
from torchkeras.warn import warn_user

Axis = int | Sequence[int] | None


def as_tensor(x: Any) -> Any:
    """Turn an array, a number, a list of numbers or a :class:`Variable` into a tensor.

    As in Keras, arrays keep their dtype, Python floats become ``floatx`` and integers ``int32``.
    Tensors, and whatever else torch's functions understand, are returned as they are.
    """
    if isinstance(x, torch.Tensor):
        return x
    if isinstance(x, variable.Variable):
        return x.value
    is_python = isinstance(x, (list, tuple, int, float))
    if not is_python and not isinstance(x, (np.ndarray, np.generic)):
        return x
    tensor = variable.as_tensor(x)
    return tensor.int() if is_python and tensor.dtype is torch.int64 else tensor


# -------------------------------------------------------------------------------- rectifiers


@register("activation")
def relu(
    x: torch.Tensor,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> torch.Tensor:
    """Rectified linear unit: ``max(x, 0)`` unless the arguments say otherwise.

    Args:
        x: any shape.
        negative_slope: slope below the threshold: ``negative_slope * (x - threshold)``.
        max_value: upper bound of the result; none unless given.
        threshold: values not above it count as negative.
    """
    x = as_tensor(x)
    if max_value is None and threshold == 0:
        return F.leaky_relu(x, negative_slope) if negative_slope else torch.relu(x)
    above = torch.where(x > threshold, x, 0) if threshold else torch.relu(x)
    if max_value is not None:
        above = torch.clamp(above, 0, max_value)
    if not negative_slope:
        return above
    return above - negative_slope * torch.relu(threshold - x)


@register("activation")
def leaky_relu(x: torch.Tensor, negative_slope: float = 0.2) -> torch.Tensor:
    """``x`` where positive, else ``negative_slope * x``.

    Args:
        x: any shape.
        negative_slope: slope below zero.
    """
    return F.leaky_relu(as_tensor(x), negative_slope)


@register("activation")
def relu6(x: torch.Tensor) -> torch.Tensor:
    """``min(max(x, 0), 6)``."""
    return F.relu6(as_tensor(x))


@register("activation")
def elu(x: torch.Tensor, alpha: float = 1.0) -> torch.Tensor:
    """Exponential linear unit: ``x`` where positive, else ``alpha * (exp(x) - 1)``.

    Args:
        x: any shape.
        alpha: minus the limit on the left.

    Source: Clevert et al. 2016, arXiv:1511.07289.
    """
    return F.elu(as_tensor(x), alpha)


@register("activation")
def celu(x: torch.Tensor, alpha: float = 1.0) -> torch.Tensor:
    """Continuously differentiable ELU: ``x`` where positive, else ``alpha * (exp(x / alpha) - 1)``.

    Args:
        x: any shape.
        alpha: minus the limit on the left; not zero.

    Source: Barron 2017, arXiv:1704.07483.
    """
    return F.celu(as_tensor(x), alpha)


@register("activation")
def selu(x: torch.Tensor) -> torch.Tensor:
    """Scaled ELU, whose two constants keep mean 0 and variance 1 through a deep net.

    Source: Klambauer et al. 2017, arXiv:1706.02515.
    """
    return torch.selu(as_tensor(x))


@register("activation")
def threshold(x: torch.Tensor, threshold: float, default_value: float) -> torch.Tensor:
    """``x`` where above the threshold, else the default value.

    Args:
        x: any shape.
        threshold: what ``x`` must exceed to stay.
        default_value: what stands elsewhere.
    """
    return F.threshold(as_tensor(x), threshold, default_value)


# ------------------------------------------------------------------------- smooth rectifiers


@register("activation")
def softplus(x: torch.Tensor) -> torch.Tensor:
    """``log(exp(x) + 1)``."""
    return F.softplus(as_tensor(x))


@register("activation")
def sparse_plus(x: torch.Tensor) -> torch.Tensor:
    """0 up to -1, ``(x + 1)**2 / 4`` from -1 to 1, ``x`` from there on."""
    x = as_tensor(x)
    return torch.where(x <= -1, 0, torch.where(x < 1, 0.25 * (x + 1) ** 2, x))


@register("activation")
def squareplus(x: torch.Tensor, b: float = 4) -> torch.Tensor:
    """``(x + sqrt(x**2 + b)) / 2``.

    Args:
        x: any shape.
        b: how far the bend reaches; 0 gives ``relu``.

    Source: Barron 2021, arXiv:2112.11687.
    """
    x = as_tensor(x)
    return (x + torch.sqrt(x**2 + b)) / 2


@register("activation", "swish")
def silu(x: torch.Tensor) -> torch.Tensor:
    """``x * sigmoid(x)``, also known as swish.

    Source: Ramachandran et al. 2017, arXiv:1710.05941.
    """
    return F.silu(as_tensor(x))


@register("activation", "hard_swish")
def hard_silu(x: torch.Tensor) -> torch.Tensor:
    """``x * relu6(x + 3) / 6``, the piecewise form of :func:`silu`.

    Source: Howard et al. 2019, arXiv:1905.02244.
    """
    return F.hardswish(as_tensor(x))


@register("activation")
def gelu(x: torch.Tensor, approximate: bool = False) -> torch.Tensor:
    """``x`` times the standard normal distribution function of ``x``.

    Args:
        x: any shape.
        approximate: whether to take the tanh formula instead of the exact one.

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415.
    """
    return F.gelu(as_tensor(x), approximate="tanh" if approximate else "none")


@register("activation")
def mish(x: torch.Tensor) -> torch.Tensor:
    """``x * tanh(softplus(x))``.

    Source: Misra 2019, arXiv:1908.08681.
    """
    return F.mish(as_tensor(x))


# ----------------------------------------------------------------------------------- sigmoids


@register("activation")
def sigmoid(x: torch.Tensor) -> torch.Tensor:
    """``1 / (1 + exp(-x))``."""
    return torch.sigmoid(as_tensor(x))


@register("activation")
def log_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """``log(sigmoid(x))``, finite for every finite ``x``."""
    return F.logsigmoid(as_tensor(x))


@register("activation")
def sparse_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """``(x + 1) / 2`` clipped to 0 … 1.

    Source: Blondel et al. 2019, arXiv:1901.02324.
    """
    return 0.5 * F.hardtanh(as_tensor(x)) + 0.5


with eras.using("2"):
    _STEEP_SLOPE = eras.value("hard_sigmoid.slope")


def _steep_hard_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """``hard_sigmoid`` of Keras 1 and 2."""
    return torch.clamp(_STEEP_SLOPE * as_tensor(x) + 0.5, 0, 1)


# A config names it as those versions did.
_steep_hard_sigmoid.__name__ = "hard_sigmoid"
register("activation")(_steep_hard_sigmoid)


def _is_steep() -> bool:
    return eras.value("hard_sigmoid.slope") == _STEEP_SLOPE


@register("activation")
def hard_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """``x / 6 + 0.5`` clipped to 0 … 1; with slope 0.2 in the eras of Keras 1 and 2."""
    if _is_steep():
        return _steep_hard_sigmoid(x)
    return F.hardsigmoid(as_tensor(x))


@register("activation")
def tanh(x: torch.Tensor) -> torch.Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(as_tensor(x))


@register("activation")
def hard_tanh(x: torch.Tensor) -> torch.Tensor:
    """``x`` clipped to -1 … 1."""
    return F.hardtanh(as_tensor(x))


@register("activation")
def softsign(x: torch.Tensor) -> torch.Tensor:
    """``x / (abs(x) + 1)``."""
    return F.softsign(as_tensor(x))


# ---------------------------------------------------------------------- shrinking, and the rest


@register("activation")
def soft_shrink(x: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """``x`` moved towards 0 by the threshold, 0 where it is nearer than that.

    Args:
        x: any shape.
        threshold: not negative.
    """
    return F.softshrink(as_tensor(x), threshold)


@register("activation")
def hard_shrink(x: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """``x`` where farther from 0 than the threshold, else 0.

    Args:
        x: any shape.
        threshold: not negative.
    """
    return F.hardshrink(as_tensor(x), threshold)


@register("activation")
def tanh_shrink(x: torch.Tensor) -> torch.Tensor:
    """``x - tanh(x)``."""
    return F.tanhshrink(as_tensor(x))


@register("activation")
def exponential(x: torch.Tensor) -> torch.Tensor:
    """``exp(x)``."""
    return torch.exp(as_tensor(x))


@register("activation")
def linear(x: Any) -> Any:
    """Return ``x`` itself."""
    return x


# ------------------------------------------------------------------------------- along an axis


@register("activation")
def glu(x: torch.Tensor, axis: int = -1) -> torch.Tensor:
    """Gated linear unit: the first half of the axis times the sigmoid of the second.

    Args:
        x: any shape with an even axis; the result has half of it.
        axis: the axis to halve.

    Source: Dauphin et al. 2017, arXiv:1612.08083.
    """
    return F.glu(as_tensor(x), axis)


def _counted(axes: Sequence[int] | None, rank: int) -> list[int]:
    """Return axes counted from 0; ``None`` is all of them."""
    return list(range(rank)) if axes is None else [axis % rank for axis in axes]


@register("activation")
def softmax(x: torch.Tensor, axis: Axis = -1) -> torch.Tensor:
    """``exp(x) / sum(exp(x))`` along an axis.

    Args:
        x: any shape.
        axis: an axis, several axes taken together, or ``None`` for all.

    Warns:
        UserWarning: when the axis has one entry, where the result is 1 whatever ``x`` is.
    """
    x = as_tensor(x)
    if not isinstance(axis, int):
        return softmaxes.over_axes(torch.softmax, x, _counted(axis, x.dim()))
    is_single = -len(x.shape) <= axis < len(x.shape) and x.shape[axis] == 1
    if is_single and not torch.compiler.is_compiling():
        warn_user(
            f"softmax over axis {axis} of a tensor of shape {tuple(x.shape)}: that axis has one "
            "entry, so the result is always 1. Use a sigmoid for one output.",
        )
    return torch.softmax(x, axis)


@register("activation")
def log_softmax(x: torch.Tensor, axis: Axis = -1) -> torch.Tensor:
    """Logarithm of :func:`softmax`, finite for every finite ``x``.

    Args:
        x: any shape.
        axis: an axis, several axes taken together, or ``None`` for all.
    """
    x = as_tensor(x)
    if not isinstance(axis, int):
        return softmaxes.over_axes(torch.log_softmax, x, _counted(axis, x.dim()))
    return torch.log_softmax(x, axis)


@register("activation")
def sparsemax(x: torch.Tensor, axis: int = -1) -> torch.Tensor:
    """The probabilities nearest to ``x``: ``max(x - tau, 0)``, where ``tau`` makes their sum 1.

    Keras 3.15 takes a wrong ``tau`` as soon as two entries stay positive, and its result then does
    not sum to 1 (keras-team/keras#23425); later versions agree with this one.

    Args:
        x: any shape.
        axis: the axis along which the result sums to 1.

    Source: Martins and Astudillo 2016, arXiv:1602.02068, algorithm 1.
    """
    return softmaxes.sparsemax(as_tensor(x), axis)


swish = silu
hard_swish = hard_silu


# ---------------------------------------------------------------------------------- look-up

_, serialize, _ = registry.accessors("activation")


def get(
    identifier: Any, custom_objects: dict[str, Any] | None = None
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the activation of a name, a callable, a torch module or its class, or a config.

    Args:
        identifier: ``None`` is :func:`linear`.
        custom_objects: names for this look-up only.

    Raises:
        ValueError: when a name is unknown, or the thing is none of these.
    """
    return linear if identifier is None else deserialize(identifier, custom_objects)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the activation of what :func:`serialize` gave; a layer may serve as an activation.

    ``hard_sigmoid`` keeps the slope of the Keras version in force now.

    Raises:
        ValueError: when a name is unknown.
    """
    named = config.get("class_name") if isinstance(config, dict) else None
    kind = "layer" if named in registry.known("layer") else "activation"
    found = registry.deserialize(kind, config, custom_objects)
    return _steep_hard_sigmoid if found is hard_sigmoid and _is_steep() else found
