"""Functions that bring axes down to one number, and those that run along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchkeras import dtypes
from torchkeras.ops.axes import Axis, as_axes, is_empty
from torchkeras.ops.promotion import as_float, cast, common_dtype, countable
from torchkeras.ops.table import Table
from torchkeras.ops.tensors import to_tensor

op = Table("numpy", __name__)
__all__ = op.names

# Sums of these are int32, as in Keras.
_SMALL = frozenset({torch.bool, torch.uint8, torch.int8, torch.int16})


def _summed_in(x: Tensor) -> torch.dtype:
    return torch.int32 if x.dtype in _SMALL else x.dtype


@op.own
def sum(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Add along axes."""
    if is_empty(axis):
        return x
    if x.is_floating_point():
        return torch.sum(x, axis, keepdims)
    return torch.sum(x, axis, keepdims, dtype=_summed_in(x))


@op.own
def mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the mean along axes."""
    if is_empty(axis):
        return x
    return torch.mean(as_float(x), axis, keepdims)


@op.own
def prod(x: Tensor, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """Multiply along axes, in a dtype."""
    wanted = _result(x, dtype) if dtype is not None or x.dtype not in _SMALL else torch.int32
    x = x.to(wanted)
    for one in sorted(as_axes("prod", axis, x.ndim), reverse=True):
        x = torch.prod(x, one, keepdims)
    return x if x.dtype is wanted else x.to(wanted)


def _result(x: Tensor, dtype: Any) -> torch.dtype:
    return common_dtype(x if dtype is None else dtypes.to_torch(dtype))


@op.own
def all(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Tell whether all along axes are true."""
    return x.bool() if is_empty(axis) else torch.all(x, axis, keepdims).bool()


@op.own
def any(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Tell whether any along axes is true."""
    return x.bool() if is_empty(axis) else torch.any(x, axis, keepdims).bool()


def _extreme(name: str, function: Callable, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    if is_empty(axis):
        return x
    axes = as_axes(name, axis, x.ndim)
    for one in axes:
        if x.shape[one] == 0:
            raise ValueError(
                f"ops.{name}: there is nothing along axis {one} of shape {tuple(x.shape)}."
            )
    return function(x, axes, keepdims) if axes else x


@op.own
def amax(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the greatest along axes."""
    return _extreme("amax", torch.amax, x, axis, keepdims)


@op.own
def amin(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the least along axes."""
    return _extreme("amin", torch.amin, x, axis, keepdims)


def _with_initial(
    least: Callable, pair: Callable, x: Tensor, axis: Axis, keepdims: bool, initial: Any
) -> Tensor:
    if initial is None or x.numel():
        found = least(x, axis, keepdims)
        return found if initial is None else pair(found, cast(initial, x.dtype, x))
    shape = torch.sum(x, axis, keepdims).shape
    return torch.full(shape, initial, dtype=x.dtype, device=x.device)


@op.own
def max(x: Tensor, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Tensor:
    """Return the greatest along axes, and of ``initial``.

    Raises:
        ValueError: for nothing, without an ``initial``.
    """
    return _with_initial(amax, torch.maximum, x, axis, keepdims, initial)


@op.own
def min(x: Tensor, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Tensor:
    """Return the least along axes, and of ``initial``.

    Raises:
        ValueError: for nothing, without an ``initial``.
    """
    return _with_initial(amin, torch.minimum, x, axis, keepdims, initial)


@op.own
def ptp(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the greatest less the least along axes."""
    return amax(x, axis, keepdims) - amin(x, axis, keepdims)


@op.own
def var(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the variance along axes, divided by the number of elements."""
    result = common_dtype(x, float)
    if is_empty(axis):
        return torch.zeros_like(x, dtype=result)
    return torch.var(as_float(x), axis, correction=0, keepdim=keepdims).to(result)


@op.own
def std(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the standard deviation along axes, divided by the number of elements."""
    return torch.std(as_float(x), axis, correction=0, keepdim=keepdims)


@op.own(inputs="weights")
def average(x: Tensor, axis: Axis = None, weights: Tensor | None = None) -> Tensor:
    """Return the mean along an axis, weighted; weights are of the shape of ``x`` or of the axis."""
    dtype = common_dtype(x, float) if weights is None else common_dtype(x, float, weights)
    x = x.to(dtype)
    if is_empty(axis):
        return x
    if weights is None:
        return torch.mean(x, axis)
    weights = weights.to(dtype)
    if weights.shape != x.shape and axis is not None and weights.ndim == 1:
        (one,) = as_axes("average", axis, x.ndim)
        weights = weights.reshape([-1 if at == one else 1 for at in range(x.ndim)])
    weights = weights.expand(x.shape)
    return torch.sum(x * weights, axis) / torch.sum(weights, axis)


@op.own
def count_nonzero(x: Tensor, axis: Axis = None) -> Tensor:
    """Count what is not 0 along axes."""
    return (x != 0).int() if is_empty(axis) else torch.count_nonzero(x, axis).int()


def _index(function: Callable) -> Callable:
    def find(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
        return function(countable(x), axis, keepdims).int()

    return find


op.rows(
    (
        "argmax(x, axis=None, keepdims=False)",
        _index(torch.argmax),
        "Return the place of the greatest along an axis, of the first of them; int32.",
    ),
    (
        "argmin(x, axis=None, keepdims=False)",
        _index(torch.argmin),
        "Return the place of the least along an axis, of the first of them; int32.",
    ),
)


# ------------------------------------------------------------------------ without what is NaN


def _without(x: Tensor, value: float) -> Tensor:
    return torch.where(torch.isnan(x), value, x) if x.is_floating_point() else x


def _nan_extreme(
    name: str, function: Callable, worst: float, x: Tensor, axis: Axis, keepdims: bool
) -> Tensor:
    if not x.is_floating_point() or is_empty(axis):
        return _extreme(name, function, x, axis, keepdims)
    found = _extreme(name, function, _without(x, worst), axis, keepdims)
    return torch.where(all(torch.isnan(x), axis, keepdims), torch.nan, found)


@op.own
def nanmax(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the greatest along axes, NaN left out."""
    return _nan_extreme("nanmax", torch.amax, -torch.inf, x, axis, keepdims)


@op.own
def nanmin(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the least along axes, NaN left out."""
    return _nan_extreme("nanmin", torch.amin, torch.inf, x, axis, keepdims)


def _nan_index(function: Callable, worst: float) -> Callable:
    def find(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
        found = function(_without(x, worst), axis, keepdims)
        if not x.is_floating_point():
            return found
        return torch.where(all(torch.isnan(x), axis, keepdims), -1, found)

    return find


op.rows(
    (
        "nanargmax(x, axis=None, keepdims=False)",
        _nan_index(argmax, -torch.inf),  # noqa: F821 (a row)
        "Return the place of the greatest along an axis, NaN left out; -1 where all is NaN.",
    ),
    (
        "nanargmin(x, axis=None, keepdims=False)",
        _nan_index(argmin, torch.inf),  # noqa: F821 (a row)
        "Return the place of the least along an axis, NaN left out; -1 where all is NaN.",
    ),
)


@op.own
def nansum(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Add along axes, NaN left out."""
    return sum(_without(x, 0.0), axis, keepdims).to(_summed_in(x))


@op.own
def nanprod(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Multiply along axes, NaN left out."""
    return _without(x, 1.0) if is_empty(axis) else prod(_without(x, 1.0), axis, keepdims)


@op.own
def nanmean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the mean along axes, NaN left out."""
    return x if is_empty(axis) else torch.nanmean(x.to(common_dtype(x, float)), axis, keepdims)


@op.own
def nanvar(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the variance along axes, NaN left out."""
    x = x.to(common_dtype(x, float))
    if is_empty(axis):
        return torch.where(torch.isnan(x), x, 0.0)
    is_known = ~torch.isnan(x)
    centred = torch.where(is_known, x - torch.nanmean(x, axis, keepdim=True), 0.0)
    return torch.sum(centred * centred, axis, keepdims) / torch.sum(is_known, axis, keepdims)


@op.own
def nanstd(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the standard deviation along axes, NaN left out."""
    return torch.sqrt(nanvar(x, axis, keepdims))


# --------------------------------------------------------------------------------- quantiles


def _quantile(
    function: Callable, name: str, x: Tensor, q: Tensor, axis: Axis, method: str, keepdims: bool
) -> Tensor:
    result = common_dtype(x, float)
    x = as_float(x) if x.dtype is torch.float64 else x.to(common_dtype(x, torch.float32))
    axes = as_axes(name, axis, x.ndim)
    rest = [at for at in range(x.ndim) if at not in axes]
    flat = torch.permute(x, [*rest, *axes]).flatten(len(rest)) if axes else x.unsqueeze(-1)
    found = function(flat, q.to(x.dtype), -1, interpolation=method)
    for at in sorted(axes) if keepdims else ():
        found = torch.unsqueeze(found, at + q.ndim)
    return found.to(result)


@op.own
def quantile(
    x: Tensor, q: Tensor, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """Return quantiles along axes.

    Args:
        x: of any shape.
        q: which, from 0 to 1; a vector adds a first axis.
        axis: one or several.
        method: ``'linear'``, ``'lower'``, ``'higher'``, ``'midpoint'`` or ``'nearest'``.
        keepdims: whether the axes stay, of size 1.
    """
    return _quantile(torch.quantile, "quantile", x, q, axis, method, keepdims)


@op.own
def nanquantile(
    x: Tensor, q: Tensor, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """Return quantiles along axes, NaN left out; see :func:`quantile`."""
    return _quantile(torch.nanquantile, "nanquantile", x, q, axis, method, keepdims)


@op.own
def percentile(
    x: Tensor, q: Tensor, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """Return percentiles along axes, ``q`` from 0 to 100; see :func:`quantile`."""
    return quantile(x, q / 100, axis, method, keepdims)


@op.own
def nanpercentile(
    x: Tensor, q: Tensor, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Tensor:
    """Return percentiles along axes, NaN left out, ``q`` from 0 to 100; see :func:`quantile`."""
    return nanquantile(x, q / 100, axis, method, keepdims)


@op.own
def median(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the median along axes, the mean of the middle two."""
    return quantile(x, torch.full((), 0.5, device=x.device), axis, "linear", keepdims)


@op.own
def nanmedian(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the median along axes, NaN left out."""
    if is_empty(axis):
        return x
    return nanquantile(x, torch.full((), 0.5, device=x.device), axis, "linear", keepdims)


# ----------------------------------------------------------------------------- along an axis


def _running(function: Callable, x: Tensor, axis: int | None, dtype: Any) -> Tensor:
    wanted = _result(x, dtype)
    if axis is None:
        x, axis = x.flatten(), 0
    return function(x, axis, dtype=torch.int32 if wanted is torch.bool else wanted)


@op.own
def cumsum(x: Tensor, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Add up along an axis, or along all in order."""
    return _running(torch.cumsum, x, axis, dtype)


@op.own
def cumprod(x: Tensor, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Multiply up along an axis, or along all in order."""
    return _running(torch.cumprod, x, axis, dtype)


@op.own
def nancumsum(x: Tensor, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Add up along an axis; NaN counts as 0, infinities as the largest numbers."""
    return cumsum(torch.nan_to_num(x), axis, dtype)


@op.own
def nancumprod(x: Tensor, axis: int | None = None, dtype: Any = None) -> Tensor:
    """Multiply up along an axis; NaN counts as 1, infinities as the largest numbers."""
    return cumprod(torch.nan_to_num(x, nan=1.0), axis, dtype)


@op.own
def diff(a: Tensor, n: int = 1, axis: int = -1) -> Tensor:
    """Return the differences of neighbours along an axis, taken ``n`` times."""
    return torch.diff(a, n, axis)


@op.own
def trapezoid(y: Tensor, x: Any = None, dx: float = 1.0, axis: int = -1) -> Tensor:
    """Integrate along an axis by the trapezoidal rule, at places ``x`` or steps ``dx``."""
    y = as_float(y) if y.dtype is torch.bool else y
    if x is None:
        return torch.trapezoid(y, dx=dx, dim=axis)
    return torch.trapezoid(y, to_tensor(x, device=y.device), dim=axis)
