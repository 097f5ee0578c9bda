"""Shapes of tensors in lists, tuples and dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from torchkeras import tree


def shape_of(inputs: Any) -> Any:
    """Return the shapes of tensors in their structure, as tuples."""
    return tree.map_structure(
        lambda leaf: tuple(leaf.shape) if hasattr(leaf, "shape") else None, inputs
    )


def of_any_batch(given: Any) -> Any:
    """Return shapes with the number of samples unknown."""
    return map_shapes(lambda shape: (None, *shape[1:]), given)


def is_shape(thing: Any) -> bool:
    """Tell whether something is one shape, not a structure of shapes."""
    return isinstance(thing, (list, tuple)) and all(
        size is None or isinstance(size, (int, np.integer)) for size in thing
    )


def as_shapes(given: Any) -> Any:
    """Return a shape, or a structure of shapes, with each shape a tuple; ``None`` stays."""
    return None if given is None else map_shapes(lambda shape: shape, given)


def flat_shapes(given: Any) -> list[tuple[int | None, ...]]:
    """Return the shapes in a structure of shapes, in the order of ``tree.leaves``."""
    if is_shape(given):
        return [tuple(given)]
    parts = (given[name] for name in tree.keys(given)) if isinstance(given, Mapping) else given
    return [shape for part in parts for shape in flat_shapes(part)]


def map_shapes(function: Callable, given: Any) -> Any:
    """Apply a function to each shape, as a tuple, in a structure of shapes."""
    if given is None:  # in the place of an input that is left out
        return None
    if is_shape(given):
        return function(tuple(given))
    if isinstance(given, Mapping):
        return {name: map_shapes(function, part) for name, part in given.items()}
    parts = [map_shapes(function, part) for part in given]
    return type(given)(*parts) if hasattr(given, "_fields") else type(given)(parts)
