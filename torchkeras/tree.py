"""Nested structures of lists, tuples and dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def is_nested(thing: Any) -> bool:
    """Tell whether something is a list, tuple or dictionary, not a leaf."""
    return isinstance(thing, (list, tuple, Mapping))


def leaves(structure: Any) -> Iterator[Any]:
    """Yield what lies in a structure; dictionaries in the order of their sorted keys, as in Keras.

    Args:
        structure: lists, tuples and dictionaries to any depth; anything else is a leaf.
    """
    if isinstance(structure, Mapping):
        for key in _keys(structure):
            yield from leaves(structure[key])
    elif isinstance(structure, (list, tuple)):
        for part in structure:
            yield from leaves(part)
    else:
        yield structure


def flatten(structure: Any) -> list[Any]:
    """Return the leaves of a structure as a list; of a leaf, a list of one."""
    return list(leaves(structure))


def map_structure(function: Callable, structure: Any, *others: Any) -> Any:
    """Return a structure of the same form with a function applied to each leaf.

    Args:
        function: takes a leaf, and the matching leaf of each of the others.
        structure: decides the form.
        others: of the same form.
    """
    if isinstance(structure, Mapping):
        made = {
            key: map_structure(function, structure[key], *(other[key] for other in others))
            for key in structure
        }
        return made if type(structure) is dict else _remade(structure, made)
    if isinstance(structure, (list, tuple)):
        parts = [map_structure(function, *part) for part in zip(structure, *others, strict=True)]
        return _remade(structure, parts)
    return function(structure, *others)


def pack_like(structure: Any, flat: Any) -> Any:
    """Put leaves, in the order of :func:`flatten`, into the form of a structure.

    Raises:
        ValueError: when there are more or fewer of them than the structure has leaves.
    """
    flat = list(flat)
    count = sum(1 for _ in leaves(structure))
    if count != len(flat):
        raise ValueError(f"The structure has {count} places; received {len(flat)} values.")
    return _packed(structure, iter(flat))


def _packed(structure: Any, values: Iterator[Any]) -> Any:
    if isinstance(structure, Mapping):
        made = {key: _packed(structure[key], values) for key in _keys(structure)}
        ordered = {key: made[key] for key in structure}
        return ordered if type(structure) is dict else _remade(structure, ordered)
    if isinstance(structure, (list, tuple)):
        return _remade(structure, [_packed(part, values) for part in structure])
    return next(values)


def _keys(structure: Mapping) -> list[Any]:
    try:
        return sorted(structure)
    except TypeError:  # keys of several types
        return list(structure)


def _remade(structure: Any, parts: Any) -> Any:
    """Make a list, tuple or dictionary of the class of a structure."""
    kind = type(structure)
    if hasattr(structure, "_fields"):  # a named tuple
        return kind(*parts)
    if kind in (list, tuple):
        return kind(parts)
    if isinstance(structure, list):  # a list that tells its owner of changes, for one
        return list(parts)
    if isinstance(structure, tuple):
        return tuple(parts)
    return dict(parts)
