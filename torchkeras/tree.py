"""Nested structures of lists, tuples and dictionaries (``keras.tree``)."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torchkeras.warn import warn_user

_SEQUENCES = (list, tuple, deque)


class MAP_TO_NONE:
    """What a function given to :func:`traverse` returns to put ``None`` in a place."""


def is_nested(structure: Any) -> bool:
    """Tell whether something is a list, tuple, deque or dictionary, not a leaf."""
    return isinstance(structure, (*_SEQUENCES, Mapping))


def leaves(structure: Any) -> Iterator[Any]:
    """Yield what lies in a structure, dictionaries in the order of :func:`keys`.

    Args:
        structure: lists, tuples and dictionaries to any depth; anything else is a leaf.
    """
    if isinstance(structure, Mapping):
        for key in keys(structure):
            yield from leaves(structure[key])
    elif isinstance(structure, _SEQUENCES):
        for part in structure:
            yield from leaves(part)
    else:
        yield structure


def flatten(structure: Any) -> list[Any]:
    """Return the leaves of a structure as a list; of a leaf, a list of one."""
    return list(leaves(structure))


def flatten_with_path(structure: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """Return the leaves of a structure, each behind the keys and numbers that lead to it."""
    if not is_nested(structure):
        return [((), structure)]
    return [
        ((key, *rest), leaf)
        for key, part in _parts(structure)
        for rest, leaf in flatten_with_path(part)
    ]


def map_structure(func: Callable, *structures: Any, none_is_leaf: bool = True) -> Any:
    """Return a structure of the same form with a function applied to each leaf.

    Args:
        func: takes a leaf of each of the structures.
        structures: of one form, which is the result's.
        none_is_leaf: whether the function is given ``None``; else it stays.

    Raises:
        ValueError: without a structure, or when their forms differ.
    """
    if len(structures) != 1:
        if not structures:
            raise ValueError("map_structure needs at least one structure.")
        for other in structures[1:]:
            assert_same_structure(structures[0], other)
    return _mapped(func if none_is_leaf else _past_none(func), *structures)


def map_structure_up_to(shallow_structure: Any, func: Callable, *structures: Any) -> Any:
    """Return a structure of the form of a shallow one, a function applied in place of its leaves.

    Args:
        shallow_structure: decides the form.
        func: takes what each of the structures has in a leaf's place, be it a structure itself.
        structures: of the same form or deeper.

    Raises:
        ValueError: without a structure, or when one is less deep or of another form.
    """
    if not structures:
        raise ValueError("map_structure_up_to needs at least one structure.")
    for other in structures:
        _compare(shallow_structure, other, is_deep=False)
    return _mapped(lambda _, *parts: func(*parts), shallow_structure, *structures)


def map_shape_structure(func: Callable, structure: Any) -> Any:
    """Apply a function to each shape in a structure: a list or tuple of sizes and ``None``."""
    if isinstance(structure, (list, tuple)) and all(
        isinstance(size, (int, type(None))) for size in structure
    ):
        return func(structure)
    if not is_nested(structure):
        return func(structure)
    return _remade(structure, {k: map_shape_structure(func, p) for k, p in _parts(structure)})


def traverse(func: Callable, structure: Any, top_down: bool = True) -> Any:
    """Apply a function to a structure and all structures and leaves inside.

    Args:
        func: returns what stands in a place; ``None`` to leave what is there (and, from the top
            down, to look inside), :class:`MAP_TO_NONE` for ``None``.
        structure: the structure.
        top_down: whether it sees a structure before what lies inside.
    """

    def inside() -> Any:
        if not is_nested(structure):
            return structure
        parts = {key: traverse(func, part, top_down) for key, part in _parts(structure)}
        return _remade(structure, parts)

    seen = structure if top_down else inside()
    found = func(seen)
    if found is None:
        return inside() if top_down else seen
    return None if found is MAP_TO_NONE else found


def lists_to_tuples(structure: Any) -> Any:
    """Return a structure with tuples in the place of lists, at any depth."""
    return traverse(lambda part: tuple(part) if isinstance(part, list) else None, structure, False)


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


def pack_sequence_as(structure: Any, flat_sequence: Any) -> Any:
    """Do :func:`pack_like`, under the name and with the arguments of ``keras.tree``."""
    return pack_like(structure, flat_sequence)


def assert_same_structure(a: Any, b: Any, check_types: bool | None = None) -> None:
    """Raise a ``ValueError`` where two structures differ in form, whatever their leaves are.

    Args:
        a: a structure.
        b: likewise.
        check_types: of no effect, as in Keras: lists and tuples always differ.
    """
    if check_types is not None:
        warn_user("assert_same_structure: check_types has no effect any more; leave it out.")
    _compare(a, b, is_deep=True)


def assert_same_paths(a: Any, b: Any) -> None:
    """Raise a ``ValueError`` where other keys and numbers lead to leaves, lists or tuples alike."""
    of_a, of_b = ({path for path, _ in flatten_with_path(one)} for one in (a, b))
    if of_a != of_b:
        raise ValueError(
            f"Two structures have different paths: only in the first {of_a - of_b or '{}'}, only "
            f"in the second {of_b - of_a or '{}'}."
        )


def keys(structure: Mapping) -> list[Any]:
    """Return the keys of a dictionary in the order in which it is flattened.

    That is sorted, as in Keras; as they are in an ``OrderedDict``, or where they are of several
    types.
    """
    if isinstance(structure, OrderedDict):
        return list(structure)
    try:
        return sorted(structure)
    except TypeError:
        return list(structure)


def _parts(structure: Any) -> list[tuple[Any, Any]]:
    """Return what lies directly inside, each part with its key or number."""
    if isinstance(structure, Mapping):
        return [(key, structure[key]) for key in keys(structure)]
    return list(enumerate(structure))


def _mapped(func: Callable, structure: Any, *others: Any) -> Any:
    if isinstance(structure, Mapping):
        made = {
            key: _mapped(func, structure[key], *(other[key] for other in others))
            for key in structure
        }
        return made if type(structure) is dict else _remade(structure, made)
    if isinstance(structure, _SEQUENCES):
        parts = [_mapped(func, *part) for part in zip(structure, *others)]
        return parts if type(structure) is list else _remade(structure, parts)
    return func(structure, *others)


def _past_none(func: Callable) -> Callable:
    return lambda *parts: None if parts[0] is None else func(*parts)


def _packed(structure: Any, values: Iterator[Any]) -> Any:
    if not is_nested(structure):
        return next(values)
    return _remade(structure, {key: _packed(part, values) for key, part in _parts(structure)})


def _compare(a: Any, b: Any, is_deep: bool) -> None:
    """Raise a ``ValueError`` where b has not the form of a, or, not ``is_deep``, less than that."""
    if not is_nested(a):
        if is_deep and is_nested(b):
            raise ValueError(f"Structures differ: {a!r} is a leaf where the other has {b!r}.")
        return
    are_mappings = isinstance(a, Mapping) and isinstance(b, Mapping)
    if not are_mappings and type(a) is not type(b):
        raise ValueError(f"Structures differ: {a!r} is no {type(b).__name__} as {b!r} is.")
    if len(a) != len(b) or (are_mappings and a.keys() != b.keys()):
        raise ValueError(f"Structures differ: {a!r} and {b!r} have other keys or numbers of parts.")
    for key, part in _parts(a):
        _compare(part, b[key], is_deep)


def _remade(structure: Any, parts: Any) -> Any:
    """Make a list, tuple or dictionary of the class of a structure.

    Args:
        structure: decides the class.
        parts: a dictionary by key or number, or a list.
    """
    kind = type(structure)
    if isinstance(structure, Mapping):
        made = {key: parts[key] for key in structure}
        if isinstance(structure, defaultdict):
            return defaultdict(structure.default_factory, made)
        return OrderedDict(made) if isinstance(structure, OrderedDict) else made
    parts = list(parts.values()) if isinstance(parts, dict) else parts
    if hasattr(structure, "_fields"):  # a named tuple
        return kind(*parts)
    if isinstance(structure, deque):
        return deque(parts, structure.maxlen)
    # Not the class of a list that tells its owner of changes, for one.
    return tuple(parts) if isinstance(structure, tuple) else parts
