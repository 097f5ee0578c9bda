"""Functions that lay elements out anew: shapes, axes, joining and splitting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from torchkeras.ops.axes import Axis, as_axes
from torchkeras.ops.promotion import common
from torchkeras.ops.table import Table
from torchkeras.ops.tensors import to_tensor

op = Table("numpy", __name__)
__all__ = op.names

op.rows(
    ("broadcast_to(x, shape)", torch.broadcast_to, "Repeat along axes of size 1."),
    ("diag(x, k=0)", torch.diag, "Return a diagonal of a matrix, or a matrix of a diagonal."),
    ("diagflat(x, k=0)", torch.diagflat, "Return a matrix with the elements on a diagonal."),
    ("fliplr(x)", torch.fliplr, "Reverse the second axis."),
    ("flipud(x)", torch.flipud, "Reverse the first axis."),
    ("moveaxis(x, source, destination)", torch.moveaxis, "Move axes to other places."),
    ("ravel(x)", torch.ravel, "Return all elements in a row."),
    (
        "roll(x, shift, axis=None)",
        torch.roll,
        "Move elements along axes, those that fall off to the other end.",
    ),
    ("swapaxes(x, axis1, axis2)", torch.swapaxes, "Exchange two axes."),
    ("tril(x, k=0)", torch.tril, "Put zeros above a diagonal."),
    ("triu(x, k=0)", torch.triu, "Put zeros below a diagonal."),
    tensors="x",
)


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


@op.own(keras="Rot90", tensors=["array"])
def rot90(array: Tensor, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Tensor:
    """Turn by 90 degrees, ``k`` times, from the first axis towards the second."""
    if array.ndim < 2 or len(axes) != 2:
        raise ValueError(
            "ops.rot90: expected at least two dimensions and two axes; received shape "
            f"{tuple(array.shape)} and axes {axes}."
        )
    return torch.rot90(array, k, as_axes("rot90", axes, array.ndim))


@op.own
def diagonal(x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Return a diagonal of two axes, as the last axis."""
    return torch.diagonal(x, offset, *as_axes("diagonal", (axis1, axis2), x.ndim))


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
    x: Tensor,
    pad_width: int | Sequence[Any],
    mode: str = "constant",
    constant_values: float | None = None,
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
    widths = _widths(pad_width, x.ndim)
    if mode not in ("constant", "reflect", "symmetric"):
        raise ValueError(
            f"ops.pad: mode must be 'constant', 'reflect' or 'symmetric'; received {mode!r}."
        )
    if mode == "constant":
        flat = [size for before_after in reversed(widths) for size in before_after]
        return functional.pad(x, flat, value=constant_values or 0)
    if constant_values is not None:
        raise ValueError(
            f"ops.pad: constant_values is for mode='constant'; received mode={mode!r}."
        )
    for axis, (before, after) in enumerate(widths):
        if before or after:
            x = torch.index_select(x, axis, _mirrored(x, axis, before, after, mode))
    return x


def _widths(pad_width: int | Sequence[Any], rank: int) -> list[tuple[int, int]]:
    """Return how much is added before and after each axis."""
    if isinstance(pad_width, int):
        pad_width = (pad_width, pad_width)
    if len(pad_width) == 2 and all(isinstance(size, int) for size in pad_width):
        pad_width = (pad_width,)
    widths = [(size, size) if isinstance(size, int) else tuple(size) for size in pad_width]
    widths = [size * 2 if len(size) == 1 else size for size in widths]
    widths = widths * rank if len(widths) == 1 else widths
    if len(widths) != rank or any(len(size) != 2 for size in widths):
        raise ValueError(
            f"ops.pad: pad_width must be ((before, after), …) for {rank} dimensions; received "
            f"{pad_width}."
        )
    return widths


def _mirrored(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """Return the places from which an axis is filled that goes on as in a mirror."""
    size = x.shape[axis]
    places = torch.arange(-before, size + after, device=x.device)
    if mode == "symmetric":
        places = torch.remainder(places, 2 * size)
        return torch.minimum(places, 2 * size - 1 - places)
    if size == 1:
        return torch.zeros_like(places)
    places = torch.remainder(places, 2 * size - 2)
    return torch.minimum(places, 2 * size - 2 - places)


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
    if indices_or_sections < 1:
        raise ValueError(
            f"ops.array_split: indices_or_sections must be positive; received "
            f"{indices_or_sections}."
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
def shape_equal(
    shape1: Sequence[int | None],
    shape2: Sequence[int | None],
    axis: Axis = None,
    allow_none: bool = True,
) -> bool:
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
