"""Functions that lay elements out anew: shapes, axes, joining and splitting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from torchkeras.ops.axes import Axis, as_axes
from torchkeras.ops.promotion import common
from torchkeras.ops.table import Table
from torchkeras.ops.tensors import to_tensor

op = Table("numpy", __name__)
__all__ = op.names

Sizes = Sequence[int | None]
Widths = int | Sequence[Any]


def _of_diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Say how long a diagonal is where the size of an axis is unknown: that is unknown too."""
    axes = as_axes("diagonal", (axis1, axis2), len(x.shape))
    if None not in (x.shape[axis] for axis in axes):
        return None
    others = [size for axis, size in enumerate(x.shape) if axis not in axes]
    return [*others, None], x.dtype


def _of_diag(x: Any, k: int = 0) -> Any:
    return _of_diagonal(x) if len(x.shape) == 2 else None


op.rows(
    ("broadcast_to(x, shape)", torch.broadcast_to, "Repeat along axes of size 1."),
    (
        "diag(x, k=0)",
        torch.diag,
        "Return a diagonal of a matrix, or a matrix of a diagonal.",
        {"spec": _of_diag},
    ),
    ("diagflat(x, k=0)", torch.diagflat, "Return a matrix with the elements on a diagonal."),
    (
        "diagonal(x, offset=0, axis1=0, axis2=1)",
        torch.diagonal,
        "Return a diagonal of two axes.",
        {"spec": _of_diagonal},
    ),
    ("fliplr(x)", torch.fliplr, "Reverse the second axis."),
    ("flipud(x)", torch.flipud, "Reverse the first axis."),
    ("moveaxis(x, source, destination)", torch.moveaxis, "Move axes to other places."),
    ("ravel(x)", torch.ravel, "Return all elements in a row."),
    ("roll(x, shift, axis=None)", torch.roll, "Move elements along axes, the last to the front."),
    ("swapaxes(x, axis1, axis2)", torch.swapaxes, "Exchange two axes."),
    ("tril(x, k=0)", torch.tril, "Put zeros above a diagonal."),
    ("triu(x, k=0)", torch.triu, "Put zeros below a diagonal."),
    tensors="x",
)
op.rows(("rot90(array, k=1, axes=(0, 1))", torch.rot90, "Turn from the first axis to the second."))


@op.own
def reshape(x: Tensor, newshape: int | Sequence[int]) -> Tensor:
    """Lay elements out in another shape; one size may be -1 and follows from the others."""
    if isinstance(newshape, Tensor):
        newshape = newshape.tolist()
    shape = [newshape] if isinstance(newshape, int) else list(newshape)
    if None in shape:  # as in the shape of a symbolic tensor
        shape = [-1 if size is None else size for size in shape]
    return torch.reshape(x, shape)


@op.own
def transpose(x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """Put axes into another order, the reverse one unless given."""
    return torch.permute(x, tuple(range(x.ndim - 1, -1, -1)) if axes is None else tuple(axes))


@op.own
def squeeze(x: Tensor, axis: Axis = None) -> Tensor:
    """Drop axes of size 1: all of them, or those named.

    Raises:
        ValueError: when one that was named has another size.
    """
    if axis is None:
        return torch.squeeze(x)
    axes = as_axes("squeeze", axis, x.ndim)
    for one in axes:
        if x.shape[one] != 1:
            raise ValueError(
                f"ops.squeeze: axis {one} of shape {tuple(x.shape)} has size {x.shape[one]}, not 1."
            )
    return torch.squeeze(x, axes)


@op.own
def expand_dims(x: Tensor, axis: Axis) -> Tensor:
    """Add axes of size 1, at these places of the result."""
    count = 1 if isinstance(axis, int) else len(axis)
    for one in sorted(as_axes("expand_dims", axis, x.ndim + count)):
        x = torch.unsqueeze(x, one)
    return x


@op.own
def flip(x: Tensor, axis: Axis = None) -> Tensor:
    """Reverse axes, all unless given."""
    return torch.flip(x, as_axes("flip", axis, x.ndim))


@op.own
def tile(x: Tensor, repeats: int | Sequence[int]) -> Tensor:
    """Repeat the whole along each axis."""
    if isinstance(repeats, Tensor):
        repeats = repeats.tolist()
    return torch.tile(x, (repeats,) if isinstance(repeats, int) else tuple(repeats))


@op.own
def repeat(x: Tensor, repeats: int | Sequence[int] | Tensor, axis: int | None = None) -> Tensor:
    """Repeat each element along an axis; without one, of all in a row."""
    if axis is None:
        x, axis = x.flatten(), 0
    if not isinstance(repeats, int):
        repeats = torch.as_tensor(repeats, dtype=torch.int64, device=x.device)
    return torch.repeat_interleave(x, repeats, axis)


@op.own(inputs="constant_values")
def pad(
    x: Tensor, pad_width: Widths, mode: str = "constant", constant_values: float | None = None
) -> Tensor:
    """Add elements at the ends of axes.

    Args:
        x: of any shape.
        pad_width: how many: ``((before, after), …)`` for each axis, or for all ``(before, after)``,
            ``((before, after),)`` or a number.
        mode: ``'constant'``; ``'reflect'``, without the edge; ``'symmetric'``, with it.
        constant_values: 0 unless given; only for ``'constant'``.

    Raises:
        ValueError: for another mode, or values that it does not use.
    """
    try:
        widths = np.broadcast_to(pad_width, (x.ndim, 2)).tolist()
    except ValueError:
        raise ValueError(
            f"ops.pad: pad_width must be ((before, after), …) of {x.ndim} axes; not {pad_width}."
        ) from None
    if mode not in ("constant", "reflect", "symmetric"):
        raise ValueError(
            f"ops.pad: mode must be constant, reflect or symmetric; received {mode!r}."
        )
    if mode == "constant":
        flat = [size for before_after in reversed(widths) for size in before_after]
        return functional.pad(x, flat, value=constant_values or 0)
    if constant_values is not None:
        raise ValueError(f"ops.pad: constant_values is for mode='constant', not {mode!r}.")
    for axis, (before, after) in enumerate(widths):
        if before or after:
            places = torch.arange(-before, x.shape[axis] + after, device=x.device)
            x = torch.index_select(x, axis, _mirrored(places, x.shape[axis], mode == "symmetric"))
    return x


def _mirrored(places: Tensor, size: int, with_edge: bool) -> Tensor:
    """Return the places of an axis at which mirrors at its ends show those beyond."""
    period = max(2 * (size - 1 + with_edge), 1)
    places = torch.remainder(places, period)
    return torch.minimum(places, period - with_edge - places)


# ------------------------------------------------------------------------------------ joining

op.rows(
    ("dstack(xs)", torch.dstack, "Join along the third axis."),
    ("hstack(xs)", torch.hstack, "Join along the second axis."),
    ("vstack(xs)", torch.vstack, "Join along the first axis."),
    lists="xs",
)


@op.own
def concatenate(xs: list[Tensor], axis: int | None = 0) -> Tensor:
    """Join along an axis; without one, all elements in a row."""
    if axis is None:
        return torch.cat([x.flatten() for x in xs])
    return torch.cat(xs, axis)


@op.own
def stack(x: list[Tensor], axis: int = 0) -> Tensor:
    """Join along a new axis."""
    is_mixed = len({one.dtype for one in x}) > 1
    return torch.stack(list(common(*x)) if is_mixed else x, axis)


@op.own
def append(x1: Tensor, x2: Tensor, axis: int | None = None) -> Tensor:
    """Join two along an axis; without one, all elements in a row."""
    return concatenate([x1, x2], axis)


@op.own
def meshgrid(*x: Tensor, indexing: str = "xy") -> list[Tensor]:
    """Return the coordinates of a grid, one array a vector."""
    return list(torch.meshgrid(*x, indexing=indexing))


# ---------------------------------------------------------------------------------- splitting


def _cuts(indices_or_sections: Any) -> int | list[int]:
    if isinstance(indices_or_sections, int):
        return indices_or_sections
    return [int(at) for at in indices_or_sections]


@op.own
def split(x: Tensor, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Cut along an axis into equal parts, or at these places.

    Raises:
        ValueError: when the axis does not divide into so many parts.
    """
    (axis,) = as_axes("split", axis, x.ndim)
    cuts = _cuts(indices_or_sections)
    if isinstance(cuts, int) and (cuts < 1 or x.shape[axis] % cuts):
        raise ValueError(
            f"ops.split: axis {axis} of shape {tuple(x.shape)} does not divide into {cuts} parts."
        )
    return list(torch.tensor_split(x, cuts, axis))


@op.own
def array_split(x: Tensor, indices_or_sections: int, axis: int = 0) -> list[Tensor]:
    """Cut along an axis into so many parts, as equal as can be."""
    if not isinstance(indices_or_sections, int) or not isinstance(axis, int):
        raise TypeError(
            "ops.array_split: indices_or_sections and axis must be integers; received "
            f"{indices_or_sections!r} and {axis!r}."
        )
    return list(torch.tensor_split(x, indices_or_sections, axis))


def _splitter(function: Callable) -> Callable:
    def cut(x: Tensor, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
        return list(function(x, _cuts(indices_or_sections)))

    return cut


op.rows(
    ("dsplit(x, indices_or_sections)", _splitter(torch.dsplit), "Cut along the third axis."),
    ("hsplit(x, indices_or_sections)", _splitter(torch.hsplit), "Cut along the second axis."),
    ("vsplit(x, indices_or_sections)", _splitter(torch.vsplit), "Cut along the first axis."),
    tensors="x",
)


# ------------------------------------------------------------------------------------- asking


@op.plain
def ndim(x: Any) -> int:
    """Return the number of dimensions, also of a symbolic tensor."""
    return len(x.shape if hasattr(x, "shape") else to_tensor(x).shape)


@op.own
def size(x: Tensor) -> Tensor:
    """Return the number of elements."""
    return torch.full((), x.numel(), device=x.device)


@op.plain
def shape_equal(shape1: Sizes, shape2: Sizes, axis: Axis = None, allow_none: bool = True) -> bool:
    """Tell whether two shapes are the same, some axes left out.

    Args:
        shape1: ``None`` where unknown.
        shape2: likewise.
        axis: those left out.
        allow_none: whether an unknown size is as good as any.
    """
    if len(shape1) != len(shape2):
        return False
    skipped = [] if axis is None else as_axes("shape_equal", axis, len(shape1))
    pairs = [pair for at, pair in enumerate(zip(shape1, shape2)) if at not in skipped]
    return all(a == b or (allow_none and None in (a, b)) for a, b in pairs)
