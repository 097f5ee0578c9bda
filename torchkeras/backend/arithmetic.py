"""Arithmetic, comparisons, reductions and products of ``keras.backend``."""

from __future__ import annotations

import builtins
import string
from collections.abc import Callable
from typing import Any

import torch

from torchkeras import config, dtypes
from torchkeras.backend.operation import operation, same, unchanged
from torchkeras.backend.tensors import as_tensor, axes, pair

_NUMBERS = (int, float)
Axis = int | list[int] | tuple[int, ...] | None


def _floating(x: Any) -> torch.Tensor:
    """Return a tensor of floats; booleans and integers become ``floatx``."""
    x = as_tensor(x)
    if x.is_floating_point() or x.is_complex():
        return x
    return x.to(dtypes.to_torch(config.floatx()))


# ----------------------------------------------------------------------------------- elementwise


@operation(spec=unchanged)
def abs(x: Any) -> torch.Tensor:
    """Return absolute values."""
    return torch.abs(as_tensor(x))


@operation(spec=unchanged)
def square(x: Any) -> torch.Tensor:
    """Return squares."""
    return torch.square(as_tensor(x))


@operation(spec=same)
def sqrt(x: Any) -> torch.Tensor:
    """Return square roots; of a negative number 0."""
    return torch.sqrt(torch.clamp(_floating(x), min=0))


@operation(spec=same)
def exp(x: Any) -> torch.Tensor:
    """Return exponentials."""
    return torch.exp(_floating(x))


@operation(spec=same)
def log(x: Any) -> torch.Tensor:
    """Return natural logarithms."""
    return torch.log(_floating(x))


@operation(spec=unchanged)
def sign(x: Any) -> torch.Tensor:
    """Return -1, 0 or 1."""
    return torch.sign(as_tensor(x))


@operation(spec=unchanged)
def round(x: Any) -> torch.Tensor:
    """Return the nearest integers, of two equally near ones the even one."""
    return torch.round(as_tensor(x))


@operation(spec=same)
def sin(x: Any) -> torch.Tensor:
    """Return sines of angles in radians."""
    return torch.sin(_floating(x))


@operation(spec=same)
def cos(x: Any) -> torch.Tensor:
    """Return cosines of angles in radians."""
    return torch.cos(_floating(x))


@operation
def pow(x: Any, a: Any) -> torch.Tensor:
    """Return ``x`` to the power of ``a``."""
    return torch.pow(*pair(x, a))


@operation
def clip(x: Any, min_value: Any, max_value: Any) -> torch.Tensor:
    """Return ``x`` within bounds.

    Args:
        x: any shape.
        min_value: the lower bound, a number or a tensor; ``None`` for none.
        max_value: the upper bound likewise; a smaller one than ``min_value`` counts as that.
    """
    if isinstance(min_value, _NUMBERS) and isinstance(max_value, _NUMBERS):
        return torch.clamp(as_tensor(x), min_value, builtins.max(min_value, max_value))
    if min_value is not None:
        x = maximum(x, min_value)
    return as_tensor(x) if max_value is None else minimum(x, max_value)


@operation
def maximum(x: Any, y: Any) -> torch.Tensor:
    """Return the larger of two numbers, element by element."""
    x, y = pair(x, y)
    # As in TensorFlow, all of the gradient at equal numbers is that of `x`.
    return torch.clamp(x, min=y)


@operation
def minimum(x: Any, y: Any) -> torch.Tensor:
    """Return the smaller of two numbers, element by element."""
    x, y = pair(x, y)
    return torch.clamp(x, max=y)


# ----------------------------------------------------------------------------------- comparisons


@operation
def equal(x: Any, y: Any) -> torch.Tensor:
    """Return where two tensors are equal, as booleans."""
    return torch.eq(*pair(x, y))


@operation
def not_equal(x: Any, y: Any) -> torch.Tensor:
    """Return where two tensors differ, as booleans."""
    return torch.ne(*pair(x, y))


@operation
def greater(x: Any, y: Any) -> torch.Tensor:
    """Return where ``x > y``, as booleans."""
    return torch.gt(*pair(x, y))


@operation
def greater_equal(x: Any, y: Any) -> torch.Tensor:
    """Return where ``x >= y``, as booleans."""
    return torch.ge(*pair(x, y))


@operation
def less(x: Any, y: Any) -> torch.Tensor:
    """Return where ``x < y``, as booleans."""
    return torch.lt(*pair(x, y))


@operation
def less_equal(x: Any, y: Any) -> torch.Tensor:
    """Return where ``x <= y``, as booleans."""
    return torch.le(*pair(x, y))


# ------------------------------------------------------------------------------------ reductions


def _reduced(function: Callable, x: torch.Tensor, axis: Axis, keepdims: bool, **kwargs: Any) -> Any:
    """Reduce along some axes, all of them for ``None``, and none for an empty list."""
    dims = axes(axis, x.dim())
    if not dims:
        return x
    return function(x, dim=dims, keepdim=keepdims, **kwargs)


def _sum_dtype(x: torch.Tensor) -> torch.dtype:
    """Integers keep their dtype, as in TensorFlow; booleans are counted in ``int32``."""
    return torch.int32 if x.dtype is torch.bool else x.dtype


@operation
def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> torch.Tensor:
    """Return the sum along axes.

    Args:
        x: any shape.
        axis: one axis or several; all of them unless given.
        keepdims: whether the axes stay, with length 1.

    Raises:
        ValueError: for an axis that there is not.
    """
    x = as_tensor(x)
    return _reduced(torch.sum, x, axis, keepdims, dtype=_sum_dtype(x))


@operation
def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> torch.Tensor:
    """Return the product along axes; the arguments are those of :func:`sum`."""
    x = as_tensor(x)
    dtype = _sum_dtype(x)
    # One axis at a time, the last first, so that the numbers of the others stay right.
    for dim in sorted(axes(axis, x.dim()), reverse=True):
        x = torch.prod(x, dim, keepdim=keepdims, dtype=dtype)
    return x.to(dtype)


@operation
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> torch.Tensor:
    """Return the mean along axes, of booleans and integers in ``floatx``; see :func:`sum`."""
    return _reduced(torch.mean, _floating(x), axis, keepdims)


@operation
def var(x: Any, axis: Axis = None, keepdims: bool = False) -> torch.Tensor:
    """Return the variance along axes, divided by the number of elements; see :func:`sum`."""
    x = _floating(x)
    if not axes(axis, x.dim()):
        return torch.zeros_like(x)
    return _reduced(torch.var, x, axis, keepdims, correction=0)


@operation
def std(x: Any, axis: Axis = None, keepdims: bool = False) -> torch.Tensor:
    """Return the square root of the variance along axes; see :func:`sum`."""
    return torch.sqrt(var(x, axis, keepdims))


@operation
def max(x: Any, axis: Axis = None, keepdims: bool = False) -> torch.Tensor:
    """Return the largest element along axes; see :func:`sum`."""
    return _reduced(torch.amax, as_tensor(x), axis, keepdims)


@operation
def min(x: Any, axis: Axis = None, keepdims: bool = False) -> torch.Tensor:
    """Return the smallest element along axes; see :func:`sum`."""
    return _reduced(torch.amin, as_tensor(x), axis, keepdims)


@operation
def any(x: Any, axis: Axis = None, keepdims: bool = False) -> torch.Tensor:
    """Return whether any element along axes is not 0, as booleans; see :func:`sum`."""
    return _reduced(torch.any, as_tensor(x).bool(), axis, keepdims)


@operation
def all(x: Any, axis: Axis = None, keepdims: bool = False) -> torch.Tensor:
    """Return whether all elements along axes are not 0, as booleans; see :func:`sum`."""
    return _reduced(torch.all, as_tensor(x).bool(), axis, keepdims)


@operation
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> torch.Tensor:
    """Return ``log(sum(exp(x)))`` along axes without overflow; see :func:`sum`."""
    return _reduced(torch.logsumexp, _floating(x), axis, keepdims)


@operation
def argmax(x: Any, axis: int = -1) -> torch.Tensor:
    """Return the index of the largest element along an axis, of several the first, as ``int64``."""
    return torch.argmax(as_tensor(x), axis)


@operation
def argmin(x: Any, axis: int = -1) -> torch.Tensor:
    """Return the index of the smallest element along an axis, of several the first."""
    return torch.argmin(as_tensor(x), axis)


@operation
def cumsum(x: Any, axis: int = 0) -> torch.Tensor:
    """Return the sums of the elements so far along an axis."""
    x = as_tensor(x)
    return torch.cumsum(x, axis, dtype=_sum_dtype(x))


@operation
def cumprod(x: Any, axis: int = 0) -> torch.Tensor:
    """Return the products of the elements so far along an axis."""
    x = as_tensor(x)
    return torch.cumprod(x, axis, dtype=_sum_dtype(x))


# -------------------------------------------------------------------------------------- products


@operation
def dot(x: Any, y: Any) -> torch.Tensor:
    """Multiply along the last axis of ``x`` and the last but one of ``y`` (a vector's only one).

    Args:
        x: ``(…, n)``, dense or sparse.
        y: ``(…, n, m)`` or ``(n,)``.

    Returns:
        The remaining axes of ``x``, then those of ``y``.
    """
    x, y = pair(x, y)
    if x.dim() == y.dim() == 2:
        return torch.matmul(x, y)
    return torch.tensordot(x, y, dims=([-1], [-1 if y.dim() == 1 else -2]))


@operation
def batch_dot(x: Any, y: Any, axes: int | tuple[int, int] | None = None) -> torch.Tensor:
    """Multiply the samples of two batches, along one axis of each.

    Args:
        x: ``(batch, …)``, rank 2 or more.
        y: likewise, with the same batch.
        axes: the axis of ``x`` and that of ``y``, or one number for both; unless given, the last of
            ``x`` and the last but one of ``y`` (the last when ``y`` has rank 2).

    Returns:
        The remaining axes of ``x``, then those of ``y`` without its batch; ``(batch, 1)`` when
        nothing remains.

    Raises:
        ValueError: for a rank below 2, or axes that do not fit.
    """
    x, y = pair(x, y)
    shown = f"{tuple(x.shape)} and {tuple(y.shape)}"
    if x.dim() < 2 or y.dim() < 2:
        raise ValueError(f"batch_dot needs tensors of rank 2 or more; received shapes {shown}.")
    first, second = _two_axes(axes, x.dim(), y.dim())
    if x.shape[0] != y.shape[0] or x.shape[first] != y.shape[second]:
        raise ValueError(
            f"batch_dot: shapes {shown} do not fit along the batch and axes {first} and {second}."
        )
    letters = iter(string.ascii_letters)
    of_x = [next(letters) for _ in range(x.dim())]
    of_y = [next(letters) for _ in range(y.dim())]
    of_y[0], of_y[second] = of_x[0], of_x[first]
    rest = [letter for letter in of_x if letter != of_x[first]]
    rest += [letter for letter in of_y[1:] if letter != of_x[first]]
    result = torch.einsum(f"{''.join(of_x)},{''.join(of_y)}->{''.join(rest)}", x, y)
    return result.unsqueeze(-1) if result.dim() == 1 else result


def _two_axes(given: Any, x_rank: int, y_rank: int) -> tuple[int, int]:
    """Return the axes of batch_dot, counted from 0."""
    if given is None:
        return x_rank - 1, y_rank - (1 if y_rank == 2 else 2)
    chosen = (given, given) if isinstance(given, int) else tuple(given)
    if len(chosen) != 2 or not isinstance(chosen[0], int) or not isinstance(chosen[1], int):
        raise ValueError(f"batch_dot: `axes` must be an integer or two; received {given!r}.")
    first, second = axes(chosen[0], x_rank)[0], axes(chosen[1], y_rank)[0]
    if 0 in (first, second):
        raise ValueError(
            "batch_dot: axis 0 is the batch, which is not summed over; for tensors without a batch "
            "use K.dot, or K.expand_dims(x, 0) first."
        )
    return first, second


@operation(spec=same)
def l2_normalize(x: Any, axis: Axis = None) -> torch.Tensor:
    """Divide by the Euclidean norm along axes, whose square counts at least 1e-12.

    Args:
        x: any shape.
        axis: one axis or several; all of them unless given.
    """
    x = _floating(x)
    squares = sum(torch.square(x), axis, keepdims=True)
    return x * torch.rsqrt(torch.clamp(squares, min=1e-12))
