"""Axes as numpy writes them."""

from __future__ import annotations

from collections.abc import Sequence

Axis = int | Sequence[int] | None


def as_axes(name: str, axis: Axis, rank: int) -> list[int]:
    """Return axes counted from 0; ``None`` is all of them.

    Args:
        name: of the function, for errors.
        axis: one or several, negative ones counted from the end.
        rank: number of dimensions.

    Raises:
        ValueError: for an axis that is not there, or twice.
    """
    if axis is None:
        return list(range(rank))
    given = [axis] if isinstance(axis, int) else list(axis)
    for one in given:
        if not -rank <= one < rank:
            raise ValueError(
                f"ops.{name}: axis {one} is out of range for {rank} dimensions; expected "
                f"{-rank} to {rank - 1}."
            )
    found = [one % rank for one in given]
    if len(set(found)) < len(found):
        raise ValueError(f"ops.{name}: axis names a dimension twice; received {axis}.")
    return found


def is_empty(axis: Axis) -> bool:
    """Tell whether an empty list of axes was given: nothing is reduced, other than in torch."""
    return isinstance(axis, (list, tuple)) and not axis
