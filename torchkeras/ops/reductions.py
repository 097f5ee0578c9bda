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
_AXES = "(x, axis=None, keepdims=False)"

# Sums of these are int32, as in Keras.
_SMALL = frozenset({torch.bool, torch.uint8, torch.int8, torch.int16})


def _along(function: Callable) -> Callable:
    """Return a reduction that leaves everything as it is where there are no axes."""
    return lambda x, axis, keepdims: x if is_empty(axis) else function(x, axis, keepdims)


def _summed_in(x: Tensor) -> torch.dtype:
    return torch.int32 if x.dtype in _SMALL else x.dtype


def _sum(x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    return torch.sum(x, axis, keepdims, dtype=_summed_in(x))


def _mean(x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    return torch.mean(as_float(x), axis, keepdims)


@_along
def _greatest(x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    return torch.amax(x, () if axis is None else axis, keepdims)


@_along
def _least(x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    return torch.amin(x, () if axis is None else axis, keepdims)


def _range(x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    return _greatest(x, axis, keepdims) - _least(x, axis, keepdims)


op.rows(
    ("sum" + _AXES, _along(_sum), "Add along axes."),
    ("mean" + _AXES, _along(_mean), "Return the mean along axes."),
    ("amax" + _AXES, _greatest, "Return the greatest along axes."),
    ("amin" + _AXES, _least, "Return the least along axes."),
    ("ptp" + _AXES, _range, "Return the greatest less the least along axes."),
)
op.rows(
    ("all" + _AXES, _along(torch.all), "Tell whether all along axes are true."),
    ("any" + _AXES, _along(torch.any), "Tell whether any along axes is true."),
    to=torch.bool,
)
op.rows(
    ("argmax" + _AXES, torch.argmax, "Return the place of the first greatest along an axis."),
    ("argmin" + _AXES, torch.argmin, "Return the place of the first least along an axis."),
    rule=countable,
    to=torch.int32,
)


def _result(x: Tensor, dtype: Any) -> torch.dtype:
    return common_dtype(x if dtype is None else dtypes.to_torch(dtype))


@op.own
def prod(x: Tensor, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """Multiply along axes, in a dtype."""
    wanted = _result(x, dtype) if dtype is not None or x.dtype not in _SMALL else torch.int32
    x = x.to(wanted)
    for one in sorted(as_axes("prod", axis, x.ndim), reverse=True):
        x = torch.prod(x, one, keepdims)
    return x.to(wanted)


def _with_initial(
    extreme: Callable, pair: Callable, x: Tensor, axis: Axis, keepdims: bool, initial: Any
) -> Tensor:
    if initial is None:
        return extreme(x, axis, keepdims)
    initial = cast(initial, x.dtype, x)
    if x.numel():
        return pair(extreme(x, axis, keepdims), initial)
    return initial.expand(torch.sum(x, axis, keepdims).shape).clone()


@op.own
def max(x: Tensor, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Tensor:
    """Return the greatest along axes, and of ``initial``.

    Raises:
        ValueError: for nothing, without an ``initial``.
    """
    return _with_initial(_greatest, torch.maximum, x, axis, keepdims, initial)


@op.own
def min(x: Tensor, axis: Axis = None, keepdims: bool = False, initial: Any = None) -> Tensor:
    """Return the least along axes, and of ``initial``.

    Raises:
        ValueError: for nothing, without an ``initial``.
    """
    return _with_initial(_least, torch.minimum, x, axis, keepdims, initial)


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


# ------------------------------------------------------------------------ without what is NaN


def _without(x: Tensor, value: float) -> Tensor:
    return torch.where(torch.isnan(x), value, x) if x.is_floating_point() else x


def _nan_extreme(extreme: Callable, worst: float) -> Callable:
    def reduce(x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
        found = extreme(x if is_empty(axis) else _without(x, worst), axis, keepdims)
        if not x.is_floating_point() or is_empty(axis):
            return found
        return torch.where(torch.all(torch.isnan(x), axis, keepdims), torch.nan, found)

    return reduce


def _nan_index(function: Callable, worst: float) -> Callable:
    def find(x: Tensor, axis: int | None, keepdims: bool) -> Tensor:
        found = function(countable(_without(x, worst)), axis, keepdims)
        return torch.where(torch.all(torch.isnan(x), axis, keepdims), -1, found).int()

    return find


_nanmax, _nanmin = _nan_extreme(_greatest, -torch.inf), _nan_extreme(_least, torch.inf)
_nanargmax, _nanargmin = _nan_index(torch.argmax, -torch.inf), _nan_index(torch.argmin, torch.inf)
op.rows(
    ("nanmax" + _AXES, _nanmax, "Return the greatest along axes, NaN left out."),
    ("nanmin" + _AXES, _nanmin, "Return the least along axes, NaN left out."),
    ("nanargmax" + _AXES, _nanargmax, "Return where the greatest is; -1 where all is NaN."),
    ("nanargmin" + _AXES, _nanargmin, "Return where the least is; -1 where all is NaN."),
)


@op.own
def nansum(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Add along axes, NaN left out."""
    x = _without(x, 0.0)
    return x.to(_summed_in(x)) if is_empty(axis) else _sum(x, axis, keepdims)


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


def _quantile(function: Callable, whole: float = 1) -> Callable:
    def find(x: Tensor, q: Tensor, axis: Axis, method: str, keepdims: bool) -> Tensor:
        result = common_dtype(x, float)
        x = as_float(x) if x.dtype is torch.float64 else x.to(common_dtype(x, torch.float32))
        axes = as_axes(function.__name__, axis, x.ndim)
        rest = [at for at in range(x.ndim) if at not in axes]
        flat = torch.permute(x, [*rest, *axes]).flatten(len(rest)) if axes else x.unsqueeze(-1)
        found = function(flat, (q / whole).to(x.dtype), -1, interpolation=method)
        for at in sorted(axes) if keepdims else ():
            found = torch.unsqueeze(found, at + q.ndim)
        return found.to(result)

    return find


# q is a number, or a vector that adds a first axis; the method is one of torch's interpolations:
# 'linear', 'lower', 'higher', 'midpoint' or 'nearest'.
_OF_Q = "(x, q, axis=None, method='linear', keepdims=False)"
_of_all, _of_known = _quantile(torch.quantile), _quantile(torch.nanquantile)
op.rows(
    ("quantile" + _OF_Q, _of_all, "Return quantiles along axes, q from 0 to 1."),
    ("nanquantile" + _OF_Q, _of_known, "Return quantiles along axes, NaN left out."),
    ("percentile" + _OF_Q, _quantile(torch.quantile, 100), "Return quantiles, q from 0 to 100."),
    ("nanpercentile" + _OF_Q, _quantile(torch.nanquantile, 100), "Return those without NaN."),
)


@op.own
def median(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the median along axes, the mean of the middle two."""
    return _of_all(x, torch.full((), 0.5, device=x.device), axis, "linear", keepdims)


@op.own
def nanmedian(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the median along axes, NaN left out."""
    if is_empty(axis):
        return x
    return _of_known(x, torch.full((), 0.5, device=x.device), axis, "linear", keepdims)


# ----------------------------------------------------------------------------- along an axis


def _running(function: Callable, nan: float | None = None) -> Callable:
    def run(x: Tensor, axis: int | None, dtype: Any) -> Tensor:
        wanted = _result(x, dtype)
        x = x if nan is None else torch.nan_to_num(x, nan)
        x, axis = (x.flatten(), 0) if axis is None else (x, axis)
        return function(x, axis, dtype=torch.int32 if wanted is torch.bool else wanted)

    return run


# NaN left out, infinities count as the largest numbers.
_RUN = "(x, axis=None, dtype=None)"
op.rows(
    ("cumsum" + _RUN, _running(torch.cumsum), "Add up along an axis, or along all in order."),
    ("cumprod" + _RUN, _running(torch.cumprod), "Multiply up along an axis, or all in order."),
    ("nancumsum" + _RUN, _running(torch.cumsum, 0.0), "Add up along an axis, NaN left out."),
    ("nancumprod" + _RUN, _running(torch.cumprod, 1.0), "Multiply up, NaN left out."),
    ("diff(a, n=1, axis=-1)", torch.diff, "Return the differences of neighbours, n times."),
)


@op.own
def trapezoid(y: Tensor, x: Any = None, dx: float = 1.0, axis: int = -1) -> Tensor:
    """Integrate along an axis by the trapezoidal rule, at places ``x`` or steps ``dx``."""
    y = as_float(y) if y.dtype is torch.bool else y
    if x is None:
        return torch.trapezoid(y, dx=dx, dim=axis)
    return torch.trapezoid(y, to_tensor(x, device=y.device), dim=axis)
