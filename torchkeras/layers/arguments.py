"""Checks that many layers make of their arguments."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Sequence
from typing import Any


def refuse(owner: str, **given: Any) -> None:
    """Raise for arguments that are not supported and were given a value.

    Raises:
        ValueError: naming the argument.
    """
    for name, value in given.items():
        if value is not None and value is not False:
            raise ValueError(
                f"{owner}: the argument {name}={value!r} is not supported; leave it out."
            )


def positive(owner: str, name: str, value: Any) -> int:
    """Return an argument that must be a positive integer.

    Raises:
        ValueError: when it is none.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = int(value) if isinstance(value, float) and value.is_integer() else 0
    if number <= 0 or isinstance(value, bool):
        raise ValueError(f"{owner}: {name} must be a positive integer; received {value!r}.")
    return number


def between(owner: str, name: str, value: Any, low: float, high: float) -> float:
    """Return an argument that must be a number from ``low`` to ``high``.

    Raises:
        ValueError: when it is none.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise ValueError(
            f"{owner}: {name} must be a number from {low} to {high}; received {value!r}."
        )
    return value


def shape(owner: str, name: str, value: Sequence[Any]) -> tuple[int | None, ...]:
    """Return a shape of positive integers and ``None``.

    Raises:
        ValueError: when an entry is neither.
    """
    try:
        return tuple(None if size is None else positive(owner, name, size) for size in value)
    except (TypeError, ValueError):
        raise ValueError(
            f"{owner}: {name} must be a tuple of positive integers or None; received {value!r}."
        ) from None


def last_axis(layer: str, input_shape: Sequence[int | None]) -> int:
    """Return the size of an input's last axis.

    Raises:
        ValueError: when the rank is below 2 or the size is unknown.
    """
    if len(input_shape) < 2:
        raise ValueError(
            f"Layer {layer!r} expected an input of rank 2 or more, (batch, …, features), but "
            f"received shape {tuple(input_shape)}."
        )
    if input_shape[-1] is None:
        raise ValueError(
            f"Layer {layer!r} needs the size of its input's last axis, but received shape "
            f"{tuple(input_shape)}."
        )
    return int(input_shape[-1])
