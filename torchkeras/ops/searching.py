"""Functions that pick elements: by place, by condition, by order; and that count them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from torchkeras.ops.axes import as_axes
from torchkeras.ops.promotion import (
    as_float,
    cast,
    common,
    common_dtype,
    countable,
    no_bool,
    result_type,
)
from torchkeras.ops.table import Operand, Table
from torchkeras.ops.tensors import to_tensor

op = Table("numpy", __name__)
__all__ = op.names

# ----------------------------------------------------------------------------------- by place


def _from_0(indices: Tensor, size: int) -> Tensor:
    """Count negative places from the end."""
    indices = indices.long()
    return torch.where(indices < 0, indices + size, indices)


@op.own
def take(x: Tensor, indices: Tensor, axis: int | None = None) -> Tensor:
    """Return the elements at some places of an axis; without one, of all in a row.

    Args:
        x: of any shape.
        indices: integers of any shape, which takes the place of the axis.
        axis: counted from the end where negative.
    """
    if axis is None:
        x, axis = x.flatten(), 0
    (axis,) = as_axes("take", axis, x.ndim)
    places = _from_0(indices, x.shape[axis])
    if axis == 0 and x.ndim == 2 and x.is_floating_point():
        return functional.embedding(places, x)
    shape = (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])
    return torch.index_select(x, axis, places.flatten()).reshape(shape)


@op.own
def take_along_axis(x: Tensor, indices: Tensor, axis: int | None = None) -> Tensor:
    """Return elements along an axis, each line by its own places."""
    size = x.numel() if axis is None else x.shape[as_axes("take_along_axis", axis, x.ndim)[0]]
    return torch.take_along_dim(x, _from_0(indices, size), axis)


@op.own
def unravel_index(indices: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Turn places in a row into places of each axis of a shape."""
    dtype = common_dtype(indices)
    return tuple(place.to(dtype) for place in torch.unravel_index(indices, tuple(shape)))


@op.plain
def get_item(x: Any, key: Any) -> Any:
    """Return ``x[key]``."""
    return x[key]


# ------------------------------------------------------------------------------- by condition


@op.own(inputs="condition x1 x2")
def where(condition: Operand, x1: Operand = None, x2: Operand = None) -> Tensor:
    """Return ``x1`` where true and ``x2`` elsewhere; without them, the places that are true.

    Args:
        condition: of any shape.
        x1: fits the condition's shape.
        x2: likewise.

    Returns:
        Elements of the common dtype, or int64 places, one row an axis.

    Raises:
        ValueError: when one of two is missing.
    """
    if (x1 is None) != (x2 is None):
        raise ValueError("ops.where: give both of x1 and x2, or none.")
    condition = cast(condition, torch.bool, x1 if isinstance(x1, Tensor) else x2)
    if x1 is None:
        return torch.stack(torch.where(condition))
    found = torch.where(condition, x1, x2)
    if isinstance(x1, Tensor) and isinstance(x2, Tensor):
        return found
    # torch makes int64 of numbers, alone or beside booleans.
    return found.to(common_dtype(x1, x2)) if found.dtype is torch.int64 else found


@op.own(inputs="default")
def select(condlist: list[Tensor], choicelist: list[Tensor], default: Operand = 0) -> Tensor:
    """Return the element of the first of several arrays whose condition is true.

    Args:
        condlist: conditions.
        choicelist: arrays, one a condition.
        default: what stands where none is true.

    Raises:
        ValueError: when there are no conditions, or not as many arrays.
    """
    if not condlist or len(condlist) != len(choicelist):
        raise ValueError(
            "ops.select: condlist and choicelist must be lists of the same length, not empty; "
            f"received {len(condlist)} and {len(choicelist)}."
        )
    found = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist)):
        found = torch.where(condition.bool(), choice, found)
    return found


@op.own
def nonzero(x: Tensor) -> Tensor:
    """Return the places of what is not 0, one row an axis; int32."""
    return torch.nonzero(x).T.int()


@op.own(keras="IsIn")
def isin(x1: Tensor, x2: Tensor, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Tell which elements of ``x1`` are in ``x2``."""
    x1, x2 = common(no_bool(x1), no_bool(x2))
    return torch.isin(x1, x2, assume_unique=assume_unique, invert=invert)


# ----------------------------------------------------------------------------------- by order


@op.own
def sort(x: Tensor, axis: int | None = -1) -> Tensor:
    """Sort along an axis; without one, all in a row."""
    x, axis = (x.flatten(), 0) if axis is None else (x, axis)
    return torch.sort(countable(x), axis).values.to(x.dtype)


@op.own
def argsort(x: Tensor, axis: int | None = -1) -> Tensor:
    """Return the places of the sorted elements along an axis, equal ones in order; int32."""
    x, axis = (x.flatten(), 0) if axis is None else (x, axis)
    return torch.argsort(countable(x), dim=axis, stable=True).int()


@op.own
def argpartition(x: Tensor, kth: int, axis: int | None = -1) -> Tensor:
    """Return places along an axis such that the ``kth`` is where sorting would put it; int32.

    Those before it are of what is not greater, those behind of what is not less.
    """
    x, axis = (x.flatten(), 0) if axis is None else (x, axis)
    (axis,) = as_axes("argpartition", axis, x.ndim)
    if not -x.shape[axis] <= kth < x.shape[axis]:
        raise ValueError(
            f"ops.argpartition: kth={kth} is out of range for axis {axis} of shape "
            f"{tuple(x.shape)}."
        )
    return torch.argsort(countable(x), dim=axis, stable=True).int()


@op.own(keras="SearchSorted")
def searchsorted(sorted_sequence: Tensor, values: Tensor, side: str = "left") -> Tensor:
    """Return where values would go into a sorted vector; int32.

    Raises:
        ValueError: when it is no vector.
    """
    if sorted_sequence.ndim != 1:
        raise ValueError(
            "ops.searchsorted: sorted_sequence must have one dimension; received shape "
            f"{tuple(sorted_sequence.shape)}. Use ops.vectorized_map for several."
        )
    sorted_sequence, values = common(sorted_sequence, values)
    return torch.searchsorted(sorted_sequence, values, side=side, out_int32=True)


@op.own
def digitize(x: Tensor, bins: Tensor) -> Tensor:
    """Return the bin that each element falls into, ``bins`` being the sorted edges; int32."""
    return torch.bucketize(countable(x), bins, right=True, out_int32=True)


def _of_unique(
    x: Any,
    axis: int | None = None,
    size: int | None = None,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    **others: Any,
) -> Any:
    """Say the shapes: how many elements there are without repetition is unknown."""
    at = None if axis is None else as_axes("unique", axis, len(x.shape))[0]
    found = (size,) if at is None else (*x.shape[:at], size, *x.shape[at + 1 :])
    inverse = x.shape if at is None else x.shape[at : at + 1]
    wanted = ((return_index, (size,)), (return_inverse, inverse), (return_counts, (size,)))
    more = [(shape, "int64") for is_wanted, shape in wanted if is_wanted]
    return [(found, x.dtype), *more] if more else (found, x.dtype)


@op.own(spec=_of_unique)
def unique(
    x: Tensor,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: float | None = None,
) -> Any:
    """Return the elements without repetition.

    Args:
        x: of any shape.
        sorted: whether they come sorted.
        return_index: whether the place of the first of each comes along.
        return_inverse: whether the number, among those, of each element comes along.
        return_counts: whether how often each is there comes along.
        axis: slices along it are compared; elements unless given.
        size: how many are returned: more are cut off, fewer are filled up.
        fill_value: with what, 0 unless given.

    Returns:
        The elements, or a tuple of them and what was asked for, in the order of the arguments.
    """
    found, inverse, counts = torch.unique(
        x, sorted=sorted, return_inverse=True, return_counts=True, dim=axis
    )
    along = 0 if axis is None else as_axes("unique", axis, x.ndim)[0]
    made = [_sized(found, along, size, fill_value or 0)]
    if return_index:
        flat = inverse.flatten()
        places = torch.arange(flat.numel(), device=x.device)
        first = flat.new_empty(counts.numel())
        first = first.scatter_reduce(0, flat, places, "amin", include_self=False)
        made.append(_sized(first, 0, size, 1))
    if return_inverse:
        made.append(inverse)
    if return_counts:
        made.append(_sized(counts, 0, size, 0))
    return tuple(made) if len(made) > 1 else made[0]


def _sized(x: Tensor, axis: int, size: int | None, value: float) -> Tensor:
    """Cut off or fill up an axis."""
    if size is None:
        return x
    x = torch.narrow(x, axis, 0, min(size, x.shape[axis]))
    widths = [0, 0] * (x.ndim - axis)
    widths[-1] = size - x.shape[axis]
    return functional.pad(x, widths, value=value)


# ----------------------------------------------------------------------------------- counting


def _of_bincount(x: Any, weights: Any = None, **others: Any) -> Any:
    """Say the shape: what the largest integer will be is unknown."""
    dtype = "int32" if weights is None else result_type(x.dtype, to_tensor(weights).dtype)
    return (*x.shape[:-1], None), dtype


@op.own(tensors=["x"], spec=_of_bincount)
def bincount(x: Tensor, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Tensor:
    """Count how often each integer from 0 on is there, in each row of a matrix.

    Args:
        x: integers, a vector or a matrix.
        weights: of the same shape; they are added instead.
        minlength: the least length of the result.
        sparse: must be false.

    Raises:
        ValueError: for ``sparse=True``.
    """
    if sparse:
        raise ValueError("ops.bincount: sparse tensors are not supported.")
    rows = torch.atleast_2d(x)
    if weights is None:
        many, dtype = [None] * len(rows), torch.int32
    else:
        weights = to_tensor(weights, device=x.device)
        many, dtype = torch.atleast_2d(weights), common_dtype(x, weights)
    length = max(minlength, int(x.max()) + 1 if x.numel() else 0)
    found = [torch.bincount(row, own, length) for row, own in zip(rows, many)]
    return (torch.stack(found) if x.ndim == 2 else found[0]).to(dtype)


@op.own
def histogram(
    x: Tensor, bins: int = 10, range: tuple[float, float] | None = None
) -> tuple[Tensor, Tensor]:
    """Count a vector's elements in bins of equal width.

    Args:
        x: one dimension.
        bins: how many.
        range: from where to where; all elements unless given.

    Returns:
        Counts, of shape ``(bins,)``; edges, ``(bins + 1,)``.

    Raises:
        TypeError, ValueError: for other bins, ranges or shapes.
    """
    if not isinstance(bins, int):
        raise TypeError(f"ops.histogram: bins must be an integer; received {bins!r}.")
    if bins < 0 or x.ndim > 1 or (range and (len(range) != 2 or range[1] < range[0])):
        raise ValueError(
            "ops.histogram: expected one dimension, bins >= 0 and range=(least, greatest); "
            f"received shape {tuple(x.shape)}, bins={bins}, range={range}."
        )
    limits = {} if range is None else {"range": tuple(map(float, range))}
    counts, edges = torch.histogram(as_float(x).cpu(), bins, **limits)  # torch has it on CPUs only
    return counts.to(x.device), edges.to(x.device)
