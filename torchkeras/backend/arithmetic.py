"""Arithmetic, comparisons, reductions and products of ``keras.backend``."""

from __future__ import annotations

import builtins
import string
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras import eras, ops
from torchkeras.backend.tensors import Table
from torchkeras.ops.axes import Axis, is_empty
from torchkeras.ops.promotion import as_float, cast, countable

op = Table(__name__)


def _alike(x: Any, y: Any) -> tuple[Tensor, Any]:
    """Bring two to one dtype: numpy's float64 gives way to another float, as in TensorFlow."""
    if not isinstance(x, Tensor):
        x = cast(x, torch.result_type(y, x), y)
    if isinstance(y, Tensor) and x.dtype is not y.dtype:
        dtype = torch.promote_types(x.dtype, y.dtype)
        floats = [t.dtype for t in (x, y) if t.is_floating_point() and t.dtype is not torch.float64]
        if dtype is torch.float64 and floats:
            dtype = floats[0]
        x, y = x.to(dtype), y.to(dtype)
    return x, y


op.rows(
    ("cos(x)", torch.cos, "Return cosines of angles in radians."),
    ("log(x)", torch.log, "Return natural logarithms."),
    ("sin(x)", torch.sin, "Return sines of angles in radians."),
    ("sqrt(x)", lambda x: torch.sqrt(torch.clamp(x, min=0)), "Return square roots; below 0, 0."),
    rule=as_float,
    is_elementwise=True,
)
op.rows(
    ("equal(x, y)", torch.eq, "Tell what is equal."),
    ("greater(x, y)", torch.gt, "Tell where ``x > y``."),
    ("greater_equal(x, y)", torch.ge, "Tell where ``x >= y``."),
    ("less(x, y)", torch.lt, "Tell where ``x < y``."),
    ("less_equal(x, y)", torch.le, "Tell where ``x <= y``."),
    ("not_equal(x, y)", torch.ne, "Tell what differs."),
    ("pow(x, a)", torch.pow, "Raise to a power."),
    # As in TensorFlow, all of the gradient at equal numbers is that of `x`.
    ("maximum(x, y)", lambda x, y: torch.clamp(x, min=y), "Return the larger of two."),
    ("minimum(x, y)", lambda x, y: torch.clamp(x, max=y), "Return the smaller of two."),
    rule=_alike,
    numbers=True,
    is_elementwise=True,
)


@op.own(is_elementwise=True)
def clip(x: Tensor, min_value: Any, max_value: Any) -> Tensor:
    """Return ``x`` within bounds, numbers or tensors; ``None`` is none, and the lower one wins."""
    if isinstance(min_value, (int, float)) and isinstance(max_value, (int, float)):
        return torch.clamp(x, min_value, builtins.max(min_value, max_value))
    x = x if max_value is None else minimum(x, max_value)  # noqa: F821 (a row)
    return x if min_value is None else maximum(x, min_value)  # noqa: F821 (a row)


# ------------------------------------------------------------------------------------ reductions

op.rows(
    ("argmax(x, axis=-1)", torch.argmax, "Return the place of the largest, the first; int64."),
    ("argmin(x, axis=-1)", torch.argmin, "Return the place of the smallest, the first; int64."),
    rule=countable,
)
op.rows(
    ("logsumexp(x, axis=None, keepdims=False)", ops.logsumexp, "Return log(sum(exp(x)))."),
    rule=as_float,
)
op.spelled(
    ("cumprod(x, axis=0)", ops.cumprod, "Return the products of the elements so far."),
    ("cumsum(x, axis=0)", ops.cumsum, "Return the sums of the elements so far."),
)


@op.own(rule=as_float)
def var(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the variance along axes, divided by the number of elements."""
    if is_empty(axis):
        return torch.zeros_like(x)
    return torch.var(x, axis, correction=0, keepdim=keepdims)


def std(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the square root of the variance along axes."""
    return sqrt(var(x, axis, keepdims))  # noqa: F821 (a row)


@op.own(rule=as_float, is_elementwise=True)
def l2_normalize(x: Tensor, axis: Axis = None) -> Tensor:
    """Divide by the Euclidean norm along axes, whose square counts at least 1e-12."""
    squares = ops.sum(torch.square(x), axis, keepdims=True)
    return x * torch.rsqrt(torch.clamp(squares, min=1e-12))


# -------------------------------------------------------------------------------------- products


@op.own(rule=_alike)
def dot(x: Tensor, y: Tensor) -> Tensor:
    """Multiply along the last axis of ``x`` and the last but one of ``y`` (a vector's only one).

    Args:
        x: ``(…, n)``, dense or sparse.
        y: ``(…, n, m)`` or ``(n,)``.

    Returns:
        The remaining axes of ``x``, then those of ``y``.
    """
    if x.dim() == y.dim() == 2:
        return torch.matmul(x, y)
    return torch.tensordot(x, y, dims=([-1], [-1 if y.dim() == 1 else -2]))


@op.own(rule=_alike)
def batch_dot(x: Tensor, y: Tensor, axes: int | Sequence[int] | None = None) -> Tensor:
    """Multiply the samples of two batches, along one axis of each.

    Until Keras 2.2 tensors of one rank were multiplied as matrices, all axes but the last two being
    the batch, and of two vectors a sample either axis might be summed over.

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
    if x.dim() < 2 or y.dim() < 2:
        raise ValueError(f"batch_dot: rank 2 or more is needed; received {x.shape} and {y.shape}.")
    first, second = _two_axes(axes, x.dim(), y.dim())
    is_old = x.dim() == y.dim() and eras.value("batch_dot.leading_batches")
    if is_old and x.dim() == 2:
        return torch.sum((x if first == second else x.t()) * y, second)[:, None]
    if is_old:
        x = x if first == x.dim() - 1 else x.mT
        return torch.matmul(x, y.mT if second == y.dim() - 1 else y)
    if 0 in (first, second):
        raise ValueError("batch_dot: axis 0 is the batch, which stays; to sum over it use K.dot.")
    of_x = list(string.ascii_lowercase[: x.dim()])
    of_y = list(string.ascii_uppercase[: y.dim()])
    of_y[0], of_y[second] = of_x[0], of_x[first]
    rest = [letter for letter in of_x + of_y[1:] if letter != of_x[first]]
    result = torch.einsum(f"{''.join(of_x)},{''.join(of_y)}->{''.join(rest)}", x, y)
    return result.unsqueeze(-1) if result.dim() == 1 else result


def _two_axes(given: Any, x_rank: int, y_rank: int) -> tuple[int, int]:
    """Return the axes of batch_dot, counted from 0."""
    if given is None:
        return x_rank - 1, y_rank - (1 if y_rank == 2 else 2)
    chosen = (given, given) if isinstance(given, int) else tuple(given)
    if len(chosen) != 2 or not builtins.all(isinstance(axis, int) for axis in chosen):
        raise ValueError(f"batch_dot: `axes` must be an integer or two; received {given!r}.")
    return chosen[0] % x_rank, chosen[1] % y_rank
