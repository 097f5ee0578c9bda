"""A function of single numbers or vectors, made one of arrays."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection
from typing import Any

import torch

from torchkeras import tree
from torchkeras.ops.table import Table
from torchkeras.ops.tensors import to_tensor

op = Table("numpy", __name__)
__all__ = op.names


@op.plain
def vectorize(
    pyfunc: Callable, *, excluded: Collection[int | str] | None = None, signature: str | None = None
) -> Callable:
    """Return a function that calls another on each element, or each vector, of its arguments.

    Args:
        pyfunc: takes tensors without the axes that are run over, and returns such.
        excluded: positions and names of arguments that are handed on as they are.
        signature: the axes that ``pyfunc`` takes and returns, such as ``'(m,n),(n)->(m)'``; none
            unless given.

    Returns:
        A function of arrays whose other axes fit each other.

    Raises:
        ValueError: for what is no function, or a signature that cannot be read.
    """
    if not callable(pyfunc):
        raise ValueError(f"ops.vectorize: pyfunc must be a function; received {pyfunc!r}.")
    core = None if signature is None else _ranks(signature)
    kept = set(excluded or ())

    @functools.wraps(pyfunc)
    def vectorized(*args: Any, **kwargs: Any) -> Any:
        places = [at for at, arg in enumerate(args) if at not in kept and arg is not None]
        tensors = [to_tensor(args[at]) for at in places]
        ranks = [0] * len(places) if core is None else [core[at] for at in places]
        own = [x.shape[x.ndim - rank :] for x, rank in zip(tensors, ranks)]
        outer = [x.shape[: x.ndim - rank] for x, rank in zip(tensors, ranks)]
        loop = torch.broadcast_shapes(*outer)

        def one(*parts: torch.Tensor) -> Any:
            given = list(args)
            for at, part in zip(places, parts):
                given[at] = part
            return pyfunc(*given, **kwargs)

        if not loop:
            return one(*tensors)
        flat = [x.expand(*loop, *shape).reshape(-1, *shape) for x, shape in zip(tensors, own)]
        found = torch.vmap(one)(*flat)
        return tree.map_structure(lambda x: x.reshape(*loop, *x.shape[1:]), found)

    return vectorized


def _ranks(signature: str) -> list[int]:
    """Return how many axes of each argument a function takes."""
    group = r"\((\w+(,\w+)*)?\)"
    if not re.fullmatch(rf"{group}(,{group})*->{group}(,{group})*", signature.replace(" ", "")):
        raise ValueError(
            f"ops.vectorize: {signature!r} is no signature; expected such as '(m,n),(n)->(m)'."
        )
    taken = re.findall(r"\(([^)]*)\)", signature.partition("->")[0])
    return [len([name for name in axes.split(",") if name.strip()]) for axes in taken]
