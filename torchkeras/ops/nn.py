"""``keras.ops.nn``: activations, crossentropies, encodings of classes, normalizations.

Convolutions, poolings, attention and CTC are gathered from files of their own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from torchkeras import config, dtypes
from torchkeras.ops import attention, convolution, ctc, pooling, softmaxes
from torchkeras.ops.attention import *  # noqa: F403
from torchkeras.ops.axes import Axis, as_axes, is_empty
from torchkeras.ops.convolution import *  # noqa: F403
from torchkeras.ops.ctc import *  # noqa: F403
from torchkeras.ops.pooling import *  # noqa: F403
from torchkeras.ops.promotion import as_float, cast, no_bool
from torchkeras.ops.table import Table
from torchkeras.warn import warn_user

op = Table("nn", __name__)

# -------------------------------------------------------------------------- of each element

# Integers stay integers.
op.rows(
    ("relu(x)", torch.relu, "Return x where positive, 0 elsewhere."),
    ("relu6(x)", F.relu6, "Clip to 0 … 6."),
    ("hard_tanh(x)", F.hardtanh, "Clip to -1 … 1."),
    ("threshold(x, threshold, default_value)", F.threshold, "Return x if above, else a default."),
    tensors="x",
    rule=no_bool,
    is_elementwise=True,
)
op.rows(
    ("celu(x, alpha=1.0)", F.celu, "Return x if positive, else alpha (exp(x / alpha) - 1)."),
    ("elu(x, alpha=1.0)", F.elu, "Return x if positive, else alpha (exp(x) - 1)."),
    ("glu(x, axis=-1)", F.glu, "Gate half an axis by the other half.", {"is_elementwise": False}),
    ("hard_shrink(x, threshold=0.5)", F.hardshrink, "Return x, 0 within the threshold."),
    ("hard_sigmoid(x)", F.hardsigmoid, "Return x / 6 + 1/2, clipped to 0 … 1."),
    ("hard_silu(x)", F.hardswish, "Return x hard_sigmoid(x)."),
    ("leaky_relu(x, negative_slope=0.2)", F.leaky_relu, "Return x, scaled where negative."),
    ("log_sigmoid(x)", F.logsigmoid, "Return log(sigmoid(x)), finite for finite x."),
    ("selu(x)", torch.selu, "Return the scaled elu, which keeps mean 0 and variance 1."),
    ("sigmoid(x)", torch.sigmoid, "Return 1 / (1 + exp(-x))."),
    ("silu(x)", F.silu, "Return x sigmoid(x)."),
    ("soft_shrink(x, threshold=0.5)", F.softshrink, "Move x towards 0 by the threshold."),
    ("softplus(x)", F.softplus, "Return log(exp(x) + 1)."),
    ("softsign(x)", F.softsign, "Return x / (abs(x) + 1)."),
    ("tanh_shrink(x)", F.tanhshrink, "Return x - tanh(x)."),
    rule=as_float,
    is_elementwise=True,
)
op.alias(swish=silu, hard_swish=hard_silu)  # noqa: F405 (rows)


@op.own(rule=as_float, is_elementwise=True)
def gelu(x: Tensor, approximate: bool = True) -> Tensor:
    """Return x times the normal distribution function of x, or the tanh formula that is near it."""
    return F.gelu(x, approximate="tanh" if approximate else "none")


@op.own(rule=as_float, is_elementwise=True)
def sparse_sigmoid(x: Tensor) -> Tensor:
    """Return (x + 1) / 2, clipped to 0 … 1."""
    return 0.5 * F.hardtanh(x) + 0.5


@op.own(rule=as_float, is_elementwise=True)
def sparse_plus(x: Tensor) -> Tensor:
    """Return 0 up to -1, (x + 1)**2 / 4 from -1 to 1, x from there on."""
    return torch.where(x <= -1, 0.0, torch.where(x < 1, 0.25 * (x + 1) ** 2, x))


@op.own(rule=as_float, is_elementwise=True)
def squareplus(x: Tensor, b: float = 4) -> Tensor:
    """Return (x + sqrt(x**2 + b)) / 2; ``b`` says how far the bend reaches."""
    return (x + torch.sqrt(x * x + b)) / 2


@op.own(is_elementwise=True)
def polar(abs_: Tensor, angle: Tensor) -> Tensor:
    """Return the complex numbers of absolute values and angles in radians."""
    abs_, angle = _wide(*_as_floats(abs_, angle))
    # Not torch.polar, whose gradient is wrong where the absolute value is negative.
    return torch.complex(abs_ * torch.cos(angle), abs_ * torch.sin(angle))


def _as_floats(*xs: Tensor) -> list[Tensor]:
    """Bring tensors to the dtype that torch combines them in; an integer to ``floatx``."""
    dtype = functools.reduce(torch.promote_types, (x.dtype for x in xs))
    dtype = dtype if dtype.is_floating_point else dtypes.to_torch(None)
    return [x.to(dtype) for x in xs]


# --------------------------------------------------------------------------- along an axis


@op.own(rule=as_float, is_elementwise=True)
def softmax(x: Tensor, axis: Axis = -1) -> Tensor:
    """Return exp(x) / sum(exp(x)).

    Args:
        x: of any shape.
        axis: of the sum: one, several taken together, or ``None`` for all.

    Warns:
        UserWarning: when the axis has one entry, where the result is 1 whatever ``x`` is.
    """
    found = _over_axes("softmax", torch.softmax, x, axis)
    # A single number may be the graph's trial of a dtype, whose sizes mean nothing.
    is_trivial = isinstance(axis, int) and x.numel() > 1 and x.shape[axis] == 1
    if is_trivial and not torch.compiler.is_compiling():
        text = f"ops.softmax over axis {axis}, of size 1, of shape {tuple(x.shape)} is always 1"
        warn_user(f"{text}. Use a sigmoid for one output.")
    return found


@op.own(rule=as_float, is_elementwise=True)
def log_softmax(x: Tensor, axis: Axis = -1) -> Tensor:
    """Return the logarithm of :func:`softmax`, finite for finite x."""
    return _over_axes("log_softmax", torch.log_softmax, x, axis)


def _over_axes(name: str, function: Callable, x: Tensor, axis: Axis) -> Tensor:
    if isinstance(axis, int):
        return function(x, axis)
    return softmaxes.over_axes(function, x, as_axes(name, axis, x.ndim))


@op.own(rule=as_float, is_elementwise=True)
def sparsemax(x: Tensor, axis: int = -1) -> Tensor:
    """Return the probabilities along an axis that are nearest to x.

    They are max(x - tau, 0), where tau makes their sum 1. Keras 3.15 takes a wrong tau where two
    or more stay positive, and its sum is not 1 (keras-team/keras#23425).
    """
    return softmaxes.sparsemax(x, axis)


# --------------------------------------------------------------------------- crossentropies


@op.own
def binary_crossentropy(target: Tensor, output: Tensor, from_logits: bool = False) -> Tensor:
    """Return -target log(output) - (1 - target) log(1 - output).

    Args:
        target: from 0 to 1, of any shape.
        output: probabilities of that shape, clipped to [epsilon, 1 - epsilon].
        from_logits: whether ``output`` is what a sigmoid would make probabilities of.

    Returns:
        Values in nats, of the same shape.

    Raises:
        ValueError: when the shapes differ.
    """
    _need_one_shape("binary_crossentropy", target, output)
    target, output = _as_floats(target, output)
    if not from_logits:
        # 1 - epsilon is 1 in half precision. torch's own crossentropy of probabilities refuses
        # NaN (on a GPU it ends the process), and takes five times as long.
        output = torch.logit(*_wide(output), config.epsilon())
    values = F.binary_cross_entropy_with_logits(output, target, reduction="none")
    return values.to(target.dtype)


@op.own
def categorical_crossentropy(
    target: Tensor, output: Tensor, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """Return the sum of -target log(output).

    Args:
        target: one-hot rows or probabilities, ``(…, classes)``.
        output: probabilities of that shape; scaled to the sum 1, then clipped to
            [epsilon, 1 - epsilon].
        from_logits: whether ``output`` is what a softmax would make probabilities of.
        axis: where the classes lie.

    Returns:
        Values in nats, ``(…)``.

    Raises:
        ValueError: when the shapes differ, or for scalars.
    """
    _need_one_shape("categorical_crossentropy", target, output)
    return -torch.sum(target * _log_probability(output, from_logits, axis), axis)


@op.own
def sparse_categorical_crossentropy(
    target: Tensor, output: Tensor, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """Return minus the logarithm of the right class' probability.

    Args:
        target: class numbers from 0, ``(…)`` or ``(…, 1)``.
        output: probabilities, ``(…, classes)``; scaled to the sum 1, then clipped to
            [epsilon, 1 - epsilon].
        from_logits: whether ``output`` is what a softmax would make probabilities of.
        axis: where the classes lie.

    Returns:
        Values in nats, ``(…)``.

    Raises:
        ValueError: when the shapes do not fit, or for scalars.
    """
    logarithm = _log_probability(output, from_logits, axis)
    if target.ndim == output.ndim and target.shape[axis] == 1:
        target = target.squeeze(axis)
    expected = list(output.shape)
    del expected[axis]
    if list(target.shape) != expected:
        raise ValueError(
            f"ops.sparse_categorical_crossentropy takes class numbers of shape {tuple(expected)} "
            f"with an `output` of shape {tuple(output.shape)}; received a `target` of shape "
            f"{tuple(target.shape)}. For one-hot targets use categorical_crossentropy."
        )
    if logarithm.ndim > 1:
        logarithm = logarithm.movedim(axis, 1)  # where torch wants the classes
    return F.nll_loss(logarithm, target.long(), reduction="none")


def _log_probability(output: Tensor, from_logits: bool, axis: int) -> Tensor:
    """Return logarithms of probabilities that sum to 1 along the axis."""
    if output.ndim == 0:
        raise ValueError("A crossentropy of classes needs an axis of classes; received a scalar.")
    if from_logits:
        return torch.log_softmax(as_float(output), axis)
    probability = output / torch.sum(output, axis, keepdim=True)
    return torch.log(torch.clamp(probability, config.epsilon(), 1 - config.epsilon()))


def _need_one_shape(name: str, one: Tensor, other: Tensor) -> None:
    if one.shape != other.shape:
        given = f"{tuple(one.shape)} and {tuple(other.shape)}"
        raise ValueError(f"ops.{name} takes two tensors of one shape; received {given}.")


@op.own(keras="PSNR")
def psnr(x1: Tensor, x2: Tensor, max_val: float) -> Tensor:
    """Return the peak signal-to-noise ratio of two signals, 10 log10(max_val**2 / mse).

    Args:
        x1: of any shape.
        x2: of that shape.
        max_val: the greatest value that a signal can have.

    Returns:
        A scalar, in decibels.

    Raises:
        ValueError: when the shapes differ.
    """
    _need_one_shape("psnr", x1, x2)
    x1, x2 = _as_floats(x1, x2)
    error = torch.mean((x1 - x2) ** 2)
    return 20 * torch.log10(cast(max_val, error.dtype, error)) - 10 * torch.log10(error)


# ---------------------------------------------------------------------- encodings of classes


@op.own
def one_hot(
    x: Tensor, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Tensor:
    """Return 1 at the place of each class number, 0 elsewhere; of negative numbers 0 everywhere.

    Args:
        x: class numbers below ``num_classes``, of any shape.
        num_classes: length of the new axis.
        axis: where the new axis shall lie, counted in the result.
        dtype: of the result; ``floatx`` unless given.
        sparse: must be False.

    Raises:
        ValueError: for ``sparse``, and on the CPU for a number that is no class.
    """
    if sparse:
        raise ValueError("ops.one_hot and ops.multi_hot give dense tensors: leave sparse=True out.")
    places = x.long().unsqueeze(-1)
    empty = torch.zeros((*x.shape, num_classes), dtype=dtypes.to_torch(dtype), device=x.device)
    found = torch.scatter(empty, -1, places.clamp(min=0), (places >= 0).to(empty.dtype))
    return found.movedim(-1, axis)


@op.own
def multi_hot(
    inputs: Tensor,
    num_classes: int | None = None,
    axis: int = -1,
    dtype: Any = None,
    sparse: bool = False,
    num_tokens: int | None = None,
) -> Tensor:
    """Return 1 at the places of all class numbers of a sample, 0 elsewhere.

    Args:
        inputs: class numbers, ``(samples, numbers, …)`` or ``(numbers,)``.
        num_classes: length of the new axis.
        axis: as for :func:`one_hot`, whose second axis (of a vector the first) is then taken
            together.
        dtype: of the result; ``floatx`` unless given.
        sparse: must be False.
        num_tokens: an older name of ``num_classes``.

    Raises:
        ValueError: without ``num_classes``, for ``sparse``, and on the CPU for a number that is no
            class.
    """
    num_classes = num_tokens if num_classes is None else num_classes
    if num_classes is None:
        raise ValueError("ops.multi_hot needs `num_classes`, the length of the new axis.")
    found = one_hot(inputs, num_classes, axis, dtype, sparse)
    return torch.amax(found, 1 if inputs.ndim > 1 else 0)


# --------------------------------------------------------------------------- normalizations


@op.own
def moments(
    x: Tensor, axes: Axis, keepdims: bool = False, synchronized: bool = False
) -> tuple[Tensor, Tensor]:
    """Return mean and variance along axes.

    Args:
        x: of any shape.
        axes: one, several, or ``None`` for all.
        keepdims: whether the axes stay, of size 1.
        synchronized: must be False.

    Raises:
        ValueError: for ``synchronized``.
    """
    if synchronized:
        raise ValueError("ops.moments sees only its own process: leave synchronized=True out.")
    if is_empty(axes):
        return as_float(x), torch.zeros_like(as_float(x))
    is_half = x.dtype is torch.float16
    wide = x.float() if is_half else as_float(x)
    # Not var_mean, whose mean of infinity is NaN.
    mean, variance = torch.mean(wide, axes, keepdims), torch.var(wide, axes, False, keepdims)
    if is_half:  # where more than the largest number would become infinite
        largest = torch.finfo(x.dtype).max
        mean, variance = (part.clamp(-largest, largest).half() for part in (mean, variance))
    return mean, variance


@op.own(keras="BatchNorm")
def batch_normalization(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    axis: int,
    offset: Tensor | None = None,
    scale: Tensor | None = None,
    epsilon: float = 1e-3,
) -> Tensor:
    """Return (x - mean) / sqrt(variance + epsilon) * scale + offset.

    Args:
        x: of any shape.
        mean: a vector of the length of the axis, as are ``variance``, ``offset`` and ``scale``.
        variance: likewise.
        axis: along which these lie.
        offset: what is added.
        scale: what is multiplied by.
        epsilon: added to the variance.
    """
    x, mean, variance = _as_floats(x, mean, variance)
    factor = torch.rsqrt(variance + epsilon)
    factor = factor if scale is None else factor * scale
    axes = as_axes("batch_normalization", axis, x.ndim)
    found = (x - _along(axes, x, mean)) * _along(axes, x, factor)
    return found if offset is None else found + _along(axes, x, offset)


@op.own(keras="LayerNorm")
def layer_normalization(
    x: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    axis: Axis = -1,
    epsilon: float | None = None,
    rms_scaling: bool = False,
) -> Tensor:
    """Bring x to mean 0 and variance 1 along axes.

    Args:
        x: of any shape; half precision and integers are computed in float32.
        gamma: what is multiplied by; of the shape of the axes in their order, or one that
            broadcasts.
        beta: what is added; likewise.
        axis: one or several.
        epsilon: added to the variance; ``config.epsilon()`` unless given.
        rms_scaling: whether the mean stays, an older option.

    Returns:
        A tensor of the shape and dtype of ``x``.

    Source: Ba et al. 2016, arXiv:1607.06450.
    """
    if rms_scaling:
        warn_user("rms_scaling=True divides by the deviation from the mean: use rms_normalization.")
    epsilon = config.epsilon() if epsilon is None else epsilon
    axes = sorted(as_axes("layer_normalization", axis, x.ndim))
    wide, gamma, beta = _wide(x, gamma, beta)
    if not rms_scaling and _has_kernel(wide, axes, gamma, beta):
        return F.layer_norm(wide, x.shape[axes[0] :], gamma, beta, epsilon).to(x.dtype)
    variance, mean = torch.var_mean(wide, axes, correction=0, keepdim=True)
    wide = (wide if rms_scaling else wide - mean) * torch.rsqrt(variance + epsilon)
    wide = wide if gamma is None else wide * _along(axes, x, gamma)
    return (wide if beta is None else wide + _along(axes, x, beta)).to(x.dtype)


@op.own(keras="RMSNorm")
def rms_normalization(
    x: Tensor, scale: Tensor | None = None, axis: Axis = -1, epsilon: float | None = None
) -> Tensor:
    """Return x / sqrt(mean(x**2) + epsilon) * scale.

    Args:
        x: of any shape; half precision and integers are computed in float32.
        scale: what is multiplied by; of a shape that broadcasts.
        axis: of the mean: one or several.
        epsilon: added to the mean square; ``config.epsilon()`` unless given.

    Returns:
        A tensor of the shape and dtype of ``x``.

    Source: Zhang and Sennrich 2019, arXiv:1910.07467.
    """
    epsilon = config.epsilon() if epsilon is None else epsilon
    axes = sorted(as_axes("rms_normalization", axis, x.ndim))
    wide, scale = _wide(x, scale)
    if _has_kernel(wide, axes, scale):
        return F.rms_norm(wide, x.shape[axes[0] :], scale, epsilon).to(x.dtype)
    wide = wide * torch.rsqrt(torch.mean(wide * wide, axes, keepdim=True) + epsilon)
    return (wide if scale is None else wide * scale).to(x.dtype)


def _wide(*xs: Tensor | None) -> list[Tensor | None]:
    """Bring tensors to one float of at least 32 bits; float64 stays where the first one is."""
    dtype = torch.promote_types(xs[0].dtype, torch.float32)
    return [x if x is None else x.to(dtype) for x in xs]


def _has_kernel(x: Tensor, axes: list[int], *factors: Tensor | None) -> bool:
    """Tell whether torch normalizes along these axes: the last ones, factors of their shape."""
    first = x.ndim - len(axes)
    fit = (factor is None or factor.shape == x.shape[first:] for factor in factors)
    return axes == list(range(first, x.ndim)) and all(fit)


def _along(axes: list[int], x: Tensor, factor: Tensor) -> Tensor:
    """Return a factor of the shape of the axes in one that broadcasts to x."""
    if factor.ndim == x.ndim or axes == [x.ndim - 1]:
        return factor
    return factor.reshape([x.shape[at] if at in axes else 1 for at in range(x.ndim)])


@op.own(rule=as_float, is_elementwise=True)
def normalize(x: Tensor, axis: Axis = -1, order: int = 2, epsilon: float | None = None) -> Tensor:
    """Return x / max(norm(x), epsilon).

    Args:
        x: of any shape; a scalar counts as a vector.
        axis: of the norm: one, several, or ``None`` for all.
        order: of the norm, at least 1; along two axes other than 2 a matrix norm.
        epsilon: the least that is divided by; ``config.epsilon()`` unless given.

    Raises:
        ValueError: for an order that is no integer from 1.
    """
    if not isinstance(order, int) or order < 1:
        raise ValueError(f"ops.normalize: `order` must be an integer from 1; received {order!r}.")
    x = torch.atleast_1d(x)
    norm = torch.linalg.vector_norm if order == 2 else torch.linalg.norm
    epsilon = config.epsilon() if epsilon is None else epsilon
    return x / norm(x, order, axis, keepdim=True).clamp(min=epsilon)


__all__ = op.names + attention.__all__ + convolution.__all__ + ctc.__all__ + pooling.__all__
