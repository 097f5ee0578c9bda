"""Functions of ``keras.backend`` that call a function for each element of a tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from torchkeras import dtypes, tree
from torchkeras.backend.operation import operation
from torchkeras.backend.tensors import as_tensor


def _elements(elems: Any) -> list[Any]:
    """Return what lies at each index of the first axis of a tensor, or of a tuple of tensors."""
    if not isinstance(elems, tuple):
        elems = as_tensor(elems)
    columns = [torch.unbind(as_tensor(leaf)) for leaf in tree.leaves(elems)]
    return [tree.pack_like(elems, row) for row in zip(*columns, strict=True)]


@operation
def map_fn(fn: Callable, elems: Any, name: str | None = None, dtype: Any = None) -> Any:
    """Call a function for each element along the first axis.

    Args:
        fn: takes an element, or a tuple of them where ``elems`` is one.
        elems: a tensor ``(n, …)``, or a tuple of tensors with the same ``n``.
        name: a label without effect.
        dtype: of the result, or a tuple where ``fn`` returns one; as it comes unless given.

    Returns:
        What the calls returned, stacked along a new first axis.
    """
    results = [fn(element) for element in _elements(elems)]
    stacked = tree.map_structure(lambda *parts: as_tensor(list(parts)), results[0], *results[1:])
    if dtype is None:
        return stacked
    if not tree.is_nested(dtype):
        return tree.map_structure(lambda part: part.to(dtypes.to_torch(dtype)), stacked)
    return tree.map_structure(lambda part, d: part.to(dtypes.to_torch(d)), stacked, dtype)


def _folded(fn: Callable, elements: Iterable[Any], initializer: Any) -> Any:
    elements = iter(elements)
    result = next(elements) if initializer is None else as_tensor(initializer)
    for element in elements:
        result = fn(result, element)
    return result


@operation
def foldl(fn: Callable, elems: Any, initializer: Any = None, name: str | None = None) -> Any:
    """Combine the elements along the first axis, from the first on.

    Args:
        fn: takes the result so far and the next element.
        elems: a tensor ``(n, …)``.
        initializer: what to begin with; the first element unless given.
        name: a label without effect.
    """
    return _folded(fn, _elements(elems), initializer)


@operation
def foldr(fn: Callable, elems: Any, initializer: Any = None, name: str | None = None) -> Any:
    """Combine the elements along the first axis, from the last on; see :func:`foldl`."""
    return _folded(fn, reversed(_elements(elems)), initializer)
