"""Safe mode: whether a config may bring Python code along (a lambda, a pickled torch module)."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

_safe: contextvars.ContextVar[bool] = contextvars.ContextVar("safe_mode", default=True)


def in_safe_mode() -> bool:
    """Tell whether code in configs is refused, as it is unless somebody chose otherwise."""
    return _safe.get()


def enable_unsafe_deserialization() -> None:
    """Take code in configs from here on: only for files from sources that you trust."""
    _safe.set(False)


@contextlib.contextmanager
def safe_mode(value: bool) -> Iterator[None]:
    """Refuse or take code in configs for the length of a ``with`` block.

    Args:
        value: true to refuse it.
    """
    before = _safe.set(bool(value))
    try:
        yield
    finally:
        _safe.reset(before)


def require(what: str, chosen: bool | None = None) -> None:
    """Raise in safe mode.

    Args:
        what: the thing that carries code, for the error.
        chosen: the safe mode that a caller asked for; the one in force where ``None``.

    Raises:
        ValueError: saying how to allow it.
    """
    if in_safe_mode() if chosen is None else chosen:
        raise ValueError(
            f"{what} carries Python code, which runs when it is loaded: it is refused unless you "
            "trust its source. If you do, pass safe_mode=False to the loading function or call "
            "keras.config.enable_unsafe_deserialization()."
        )
