"""Classes of Keras that have no meaning here: to name them is allowed, to use them raises."""

from __future__ import annotations

from typing import Any


def refused_class(name: str, reason: str) -> type:
    """Make a class that raises a ``ValueError`` when it is constructed.

    Args:
        name: of the class.
        reason: why it is not supported, and what to do instead.
    """

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        raise ValueError(f"{name} is not supported: {reason}")

    return type(name, (), {"__init__": __init__, "__doc__": f"Not supported: {reason}"})
