"""Checks of an optimizer's arguments."""

from __future__ import annotations

import numbers
from typing import Any

from torchkeras import eras
from torchkeras.warn import warn_user


def checked_rate(owner: str, rate: Any) -> float:
    """Return a learning rate as a float.

    Args:
        owner: the optimizer's class, for the error.
        rate: what was given.

    Raises:
        ValueError: when it is no number; schedules are not supported yet.
    """
    if isinstance(rate, numbers.Real) and not isinstance(rate, bool):
        return float(rate)
    title = f"{owner}: learning_rate must be a number"
    if callable(rate) or isinstance(rate, dict):
        raise ValueError(
            f"{title}: schedules and callables are not supported yet (received {rate!r}). Use "
            "a torch.optim.lr_scheduler, or set optimizer.learning_rate between epochs."
        )
    raise ValueError(f"{title}; received {rate!r} of type {type(rate).__name__}.")


def read_decay(owner: str, decay: float | None) -> float:
    """Return Keras 1's and 2's ``decay``; 0, with a warning, where Keras 3 ignores it."""
    if decay and not eras.value("optimizers.decay"):
        warn_user(
            f"{owner}: decay={decay} belongs to Keras 1 and 2 and is ignored, as Keras 3 does; run "
            "with --keras=2 to have it honoured."
        )
        return 0.0
    return float(decay or 0.0)


def refuse_unsupported(owner: str, **given: Any) -> None:
    """Raise for arguments that are not supported yet and were given a value.

    Raises:
        ValueError: naming the argument.
    """
    for name, value in given.items():
        if value:
            raise ValueError(f"{owner}: {name}={value!r} is not supported yet; leave it out.")


def check_clipping(owner: str, **limits: float | None) -> None:
    """Check the limits of gradients: one at most, and a number of at least 0.

    Raises:
        ValueError: naming the argument.
    """
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if len(given) > 1:
        raise ValueError(
            f"{owner}: at most one of clipnorm, clipvalue and global_clipnorm can be given; "
            f"received {given}."
        )
    for name, limit in given.items():
        if isinstance(limit, bool) or not isinstance(limit, numbers.Real) or limit < 0:
            raise ValueError(f"{owner}: {name} must be a number of at least 0; received {limit!r}.")
