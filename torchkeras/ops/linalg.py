"""``keras.ops.linalg``: decompositions, inverses and systems of equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchkeras import tree
from torchkeras.ops.axes import Axis
from torchkeras.ops.promotion import as_common_float, as_float
from torchkeras.ops.table import Table
from torchkeras.ops.tensors import to_tensor

op = Table("linalg", __name__)
__all__ = op.names


def _tuple(function: Callable) -> Callable:
    return lambda *args: tuple(function(*args))


op.rows(
    ("cholesky_inverse(x, upper=False)", torch.cholesky_inverse, "Invert the product of a factor."),
    ("det(x)", torch.linalg.det, "Return determinants."),
    ("eig(x)", _tuple(torch.linalg.eig), "Return eigenvalues and eigenvectors, complex."),
    ("eigh(x)", _tuple(torch.linalg.eigh), "Return those of symmetric or Hermitian matrices."),
    ("inv(x)", torch.linalg.inv, "Return the inverses of matrices."),
    rule=as_float,
)
op.rows(("solve(a, b)", torch.linalg.solve, "Solve ``a x = b``, b being a vector or columns."))


@op.own(rule=as_common_float)
def norm(
    x: Tensor, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False
) -> Tensor:
    """Return the norm of vectors or matrices, as numpy's ``linalg.norm``.

    Args:
        x: of any shape.
        ord: a number, or ``'fro'`` or ``'nuc'`` of matrices; the root of the sum of squares unless
            given.
        axis: one of vectors, two of matrices; all unless given.
        keepdims: whether the axes stay, of size 1.
    """
    return torch.linalg.norm(x, ord, axis, keepdims)


@op.own(rule=as_float)
def matrix_rank(x: Tensor, tol: float | None = None) -> Tensor:
    """Count the singular values above ``tol``, or above what rounding makes of 0; int32."""
    return torch.linalg.matrix_rank(x, atol=tol).int()


@op.own(rule=as_float)
def pinv(x: Tensor, rcond: float | None = None) -> Tensor:
    """Return pseudoinverses; singular values up to ``rcond`` times the largest count as 0."""
    return torch.linalg.pinv(x, rtol=rcond)


@op.own(rule=as_float)
def cholesky(x: Tensor, upper: bool = False) -> Tensor:
    """Return the lower (or upper) triangular factor of positive definite matrices."""
    return torch.linalg.cholesky(x, upper=upper)


@op.own(rule=as_float)
def lu_factor(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return both triangular factors in one matrix, and the row (from 0) each was swapped with."""
    factors, pivots = torch.linalg.lu_factor(x)
    return factors, pivots - 1


@op.own(rule=as_float)
def qr(x: Tensor, mode: str = "reduced") -> tuple[Tensor, Tensor]:
    """Return orthonormal columns and an upper triangular matrix whose product is ``x``.

    Args:
        x: of shape ``(…, M, N)``.
        mode: ``'reduced'``, min(M, N) columns; ``'complete'``, M.

    Raises:
        ValueError: for another mode.
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f"ops.qr: mode must be 'reduced' or 'complete'; received {mode!r}.")
    return tuple(torch.linalg.qr(x, mode))


@op.own
def solve_triangular(a: Tensor, b: Tensor, lower: bool = False) -> Tensor:
    """Solve ``a x = b`` for upper (or lower) triangular ``a``, b a vector or columns."""
    if b.ndim == a.ndim - 1:
        return torch.linalg.solve_triangular(a, b.unsqueeze(-1), upper=not lower).squeeze(-1)
    return torch.linalg.solve_triangular(a, b, upper=not lower)


@op.own(keras="SVD", rule=as_float)
def svd(x: Tensor, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Return left singular vectors, singular values, and right singular vectors as rows.

    Args:
        x: of shape ``(…, M, N)``.
        full_matrices: whether there are M and N vectors, or min(M, N) of both.
        compute_uv: whether vectors are returned at all.
    """
    return tuple(torch.linalg.svd(x, full_matrices)) if compute_uv else torch.linalg.svdvals(x)


@op.own
def lstsq(a: Tensor, b: Tensor, rcond: float | None = None) -> Tensor:
    """Return the shortest x for which ``a x`` is nearest to ``b``, a vector or columns.

    Args:
        a: of shape ``(M, N)``.
        b: of shape ``(M,)`` or ``(M, K)``.
        rcond: singular values up to so many times the largest count as 0.
    """
    # torch's own has no cutoff on CUDA, and one of another meaning on the CPU.
    return pinv(a, rcond) @ b


@op.own(keras="JVP", tensors=[], inputs="fun primals tangents")
def jvp(fun: Callable, primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """Return a function's value and its derivative in a direction.

    Args:
        fun: takes the primals.
        primals: a list or tuple of its arguments.
        tangents: the direction, of the same structure.
        has_aux: whether ``fun`` returns a pair whose second part is handed on as it is.

    Returns:
        Value and derivative, and the second part if there is one.
    """
    primals, tangents = (tuple(tree.map_structure(to_tensor, one)) for one in (primals, tangents))
    return torch.func.jvp(fun, primals, tangents, has_aux=has_aux)
