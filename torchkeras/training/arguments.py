"""Arguments of fit, evaluate and predict: each a plain Python value, or an error that names it."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any


def whole(name: str, value: Any) -> int:
    """Return a whole number, numpy's included, as an int.

    Raises:
        ValueError: for anything else, ``3.0`` included.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number; received {value!r}.") from None


def count(name: str, value: Any) -> int:
    """Return a positive whole number as an int.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
        raise ValueError(f"{name} must be a positive integer; received {value!r}.")
    return operator.index(value)


def count_if_given(name: str, value: Any) -> int | None:
    """Return a positive whole number, or ``None`` for ``None``."""
    return None if value is None else count(name, value)


def frequency(value: Any) -> int | frozenset[int]:
    """Return ``validation_freq`` as an int, or as the set of the epochs, counted from 1.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return frozenset(whole("validation_freq", epoch) for epoch in value)
    return count("validation_freq", value)


def validates(epoch: int, frequency: int | frozenset[int]) -> bool:
    """Tell whether to validate after an epoch (counted from 0)."""
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency


def verbosity(value: Any) -> int | str:
    """Return ``verbose`` as 0, 1, 2, 3 or ``'auto'``; ``None`` is silent, 3 names the epochs only.

    Raises:
        ValueError: for anything else.
    """
    if value is None:
        return 0
    if isinstance(value, str):
        if value == "auto":
            return value
    else:
        for level in range(4):
            if value == level:
                return level
    raise ValueError(
        "verbose must be 0 (silent), 1 (a bar), 2 (a line for each epoch) or 'auto'; received "
        f"{value!r}."
    )
