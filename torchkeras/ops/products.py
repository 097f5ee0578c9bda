"""Products of vectors and matrices, and what numpy has of linear algebra beside them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from torchkeras import dtypes
from torchkeras.ops.promotion import as_float_of_64, common_dtype
from torchkeras.ops.table import Table

op = Table("numpy", __name__)
__all__ = op.names


def _multiplied(function: Any, x1: Tensor, x2: Tensor, *args: Any) -> Tensor:
    """Call a product in a dtype in which torch has it, for a result in Keras' common dtype."""
    if x1.dtype is x2.dtype is torch.float32:
        return function(x1, x2, *args)
    result = common_dtype(x1, x2)
    wanted = result
    if wanted is torch.bool or (x1.is_cuda and not wanted.is_floating_point):
        wanted = dtypes.to_torch(None)
    return function(x1.to(wanted), x2.to(wanted), *args).to(result)


@op.own
def matmul(x1: Tensor, x2: Tensor) -> Tensor:
    """Multiply matrices, ``(…, i, j) · (…, j, k) -> (…, i, k)``; bytes give int32."""
    if x1.dtype is x2.dtype is torch.int8:
        x1, x2 = x1.int(), x2.int()
    return _multiplied(torch.matmul, x1, x2)


@op.own
def dot(x1: Tensor, x2: Tensor) -> Tensor:
    """Multiply vectors, matrices or numbers; of more dimensions as :func:`matmul`."""
    is_number = x1.ndim == 0 or x2.ndim == 0
    return _multiplied(torch.mul if is_number else torch.matmul, x1, x2)


op.rows(
    ("inner(x1, x2)", partial(_multiplied, torch.inner), "Multiply along the last axes."),
    ("vdot(x1, x2)", partial(_multiplied, torch.vdot), "Multiply two vectors, one conjugated."),
    ("kron(x1, x2)", torch.kron, "Return the Kronecker product."),
    ("corrcoef(x)", torch.corrcoef, "Return the correlations of rows.", {"rule": as_float_of_64}),
)


@op.own
def outer(x1: Tensor, x2: Tensor) -> Tensor:
    """Multiply each element with each, of both in a row."""
    return torch.outer(x1.flatten(), x2.flatten())


@op.own
def slogdet(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return sign and logarithm of the absolute value of determinants."""
    return tuple(torch.linalg.slogdet(x))


@op.own
def tensordot(x1: Tensor, x2: Tensor, axes: int | Sequence[Any] = 2) -> Tensor:
    """Multiply and add along axes: the last of one with the first of the other, or named ones."""
    if not isinstance(axes, int):
        axes = [[one] if isinstance(one, int) else list(one) for one in axes]
    return _multiplied(torch.tensordot, x1, x2, axes)


@op.own
def einsum(subscripts: str, *operands: Tensor, **kwargs: Any) -> Tensor:
    """Multiply and add by Einstein's notation, such as ``'bij,bjk->bik'``; bytes give int32."""
    if all(x.dtype is torch.int8 for x in operands):
        return torch.einsum(subscripts, *(x.int() for x in operands)).int()
    if len({x.dtype for x in operands}) > 1:
        dtype = common_dtype(*operands)
        operands = tuple(x.to(dtype) for x in operands)
    return torch.einsum(subscripts, *operands)


@op.own
def cross(
    x1: Tensor,
    x2: Tensor,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> Tensor:
    """Return the cross product of vectors of 3 (or 2) along an axis.

    Args:
        x1: the first factor.
        x2: the second.
        axisa: where the vectors of the first lie.
        axisb: of the second.
        axisc: of the result.
        axis: all three of them.
    """
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis, axis, axis)
    dtype = common_dtype(x1, x2)
    x1, x2 = (torch.movedim(x.to(dtype), at, -1) for x, at in ((x1, axisa), (x2, axisb)))
    is_flat = x1.shape[-1] == x2.shape[-1] == 2
    x1, x2 = (functional.pad(x, (0, 1)) if x.shape[-1] == 2 else x for x in (x1, x2))
    found = torch.linalg.cross(*torch.broadcast_tensors(x1, x2))
    return found[..., 2] if is_flat else torch.movedim(found, -1, axisc)


@op.own
def trace(x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Add along a diagonal of two axes."""
    is_small = x.dtype in (torch.bool, torch.uint8, torch.int8, torch.int16)
    found = torch.diagonal(x, offset, axis1, axis2)
    return torch.sum(found, -1, dtype=torch.int32 if is_small else x.dtype)


@op.own
def correlate(x1: Tensor, x2: Tensor, mode: str = "valid") -> Tensor:
    """Return the cross-correlation of two vectors.

    Args:
        x1: one dimension.
        x2: likewise.
        mode: ``'valid'``, where they overlap in full; ``'same'``, as long as the longer one;
            ``'full'``, wherever they touch.

    Raises:
        ValueError: for another mode or shape.
    """
    if mode not in ("valid", "same", "full") or x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(
            "ops.correlate: expected two vectors and mode 'valid', 'same' or 'full'; received "
            f"shapes {tuple(x1.shape)} and {tuple(x2.shape)} and mode={mode!r}."
        )
    dtype = common_dtype(x1, x2)
    x1, x2 = (x.to(dtype if dtype.is_floating_point else torch.float32) for x in (x1, x2))
    least, most = sorted((len(x1), len(x2)))
    found = functional.conv1d(x1[None, None], x2[None, None], padding=len(x2) - 1)[0, 0]
    length = {"valid": most - least + 1, "same": most, "full": len(found)}[mode]
    return torch.narrow(found, 0, (len(found) - length) // 2, length)


@op.own
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Return the powers of a vector's elements as the columns of a matrix.

    Args:
        x: one dimension.
        N: how many powers; as many as elements unless given.
        increasing: whether they grow from left to right.

    Raises:
        ValueError: for another shape, or a negative ``N``.
    """
    return torch.vander(x, N, increasing).to(common_dtype(x))
