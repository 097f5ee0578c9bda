"""An optimizer's arguments: those that all have, declared once, and the checks of them."""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable
from typing import Any

import torch

from torchkeras import eras
from torchkeras.variable import Variable
from torchkeras.warn import warn_user


def _everyone(
    weight_decay: float | None = None,
    clipnorm: float | None = None,
    clipvalue: float | None = None,
    global_clipnorm: float | None = None,
    use_ema: bool = False,
    ema_momentum: float = 0.99,
    ema_overwrite_frequency: int | None = None,
    loss_scale_factor: float | None = None,
    gradient_accumulation_steps: int | None = None,
    name: str | None = None,
) -> None:
    """The arguments that every optimizer has, in their order."""


_COMMON = list(inspect.signature(_everyone).parameters.values())


def takes_common_arguments(init: Callable) -> Callable:
    """Decorate a constructor so that it shows, and takes by place, what every optimizer takes.

    The common arguments stand between its own positional ones and its keyword-only ones, as Keras
    has them; they reach it in ``**common``.  One that it declares itself is its own.

    Args:
        init: ``__init__(self, …, **common)``.
    """
    own = inspect.signature(init)
    before = [p for p in own.parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    after = [
        p.replace(kind=p.POSITIONAL_OR_KEYWORD)
        for p in own.parameters.values()
        if p.kind is p.KEYWORD_ONLY
    ]
    common = [p.replace(kind=p.POSITIONAL_OR_KEYWORD) for p in _COMMON]
    shown = [*before, *(p for p in common if p.name not in own.parameters), *after]
    names = [p.name for p in shown][len(before) :]
    rest = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD, annotation="Any")

    @functools.wraps(init)
    def read(self, *args: Any, **kwargs: Any) -> None:
        later = args[len(before) - 1 :]
        if len(later) > len(names):
            raise TypeError(
                f"{type(self).__name__} takes at most {len(shown) - 1} positional arguments; "
                f"received {len(args)}."
            )
        by_place = dict(zip(names, later))
        twice = by_place.keys() & kwargs.keys()
        if twice:
            raise TypeError(
                f"{type(self).__name__} got multiple values for argument {min(twice)!r}"
            )
        init(self, *args[: len(before) - 1], **by_place, **kwargs)

    read.__signature__ = own.replace(parameters=[*shown, rest])
    return read


def checked_rate(owner: str, rate: Any) -> float:
    """Return a learning rate as a float.

    Args:
        owner: the optimizer's class, for the error.
        rate: what was given.

    Raises:
        ValueError: when it is no number.
    """
    if isinstance(rate, numbers.Real) and not isinstance(rate, bool):
        return float(rate)
    title = f"{owner}: learning_rate must be a number, a LearningRateSchedule or a callable"
    if isinstance(rate, torch.optim.lr_scheduler.LRScheduler):
        raise ValueError(
            f"{title}. A {type(rate).__name__} of torch sets the rate of the optimizer that it is "
            "made with: give that optimizer a number, and call the scheduler's step() after each "
            "epoch (from a callback) or after each update."
        )
    raise ValueError(f"{title}; received {rate!r} of type {type(rate).__name__}.")


def is_schedule(rate: Any) -> bool:
    """Tell whether a learning rate is a schedule or a function, and no variable or scheduler."""
    return callable(rate) and not isinstance(rate, (torch.Tensor, Variable, type))


def plain_number(value: Any) -> Any:
    """Return a 0-d tensor's or variable's value now; anything else as it is."""
    return float(value) if isinstance(value, (torch.Tensor, Variable)) else value


def read_decay(owner: str, decay: float | None) -> float:
    """Return Keras 1's and 2's ``decay``; 0, with a warning, where Keras 3 ignores it."""
    if decay and not eras.value("optimizers.decay"):
        warn_user(
            f"{owner}: decay={decay} belongs to Keras 1 and 2 and is ignored, as Keras 3 does; run "
            "with --keras=2 to have it honoured."
        )
        return 0.0
    return float(decay or 0.0)


def check_averaging(owner: str, momentum: Any, frequency: Any) -> None:
    """Check what ``use_ema`` needs.

    Raises:
        ValueError: naming the argument.
    """
    if not isinstance(momentum, numbers.Real) or not 0 <= momentum <= 1:
        raise ValueError(
            f"{owner}: `ema_momentum` must be in the range [0, 1]; received {momentum!r}."
        )
    check_count(owner, "ema_overwrite_frequency", frequency, 1)


def check_count(owner: str, name: str, given: Any, least: int) -> None:
    """Check a number of steps that may be left out (``None`` or 0).

    Raises:
        ValueError: naming the argument.
    """
    is_whole = isinstance(given, numbers.Integral) and not isinstance(given, bool)
    if given and not (is_whole and given >= least):
        raise ValueError(
            f"{owner}: `{name}` must be an integer >= {least} or None; received {given!r}."
        )


def check_clipping(owner: str, **limits: float | None) -> None:
    """Check the limits of gradients: one at most, and a number of at least 0.

    Raises:
        ValueError: naming the argument.
    """
    given = {name: limit for name, limit in limits.items() if limit is not None}
    together = {"clipnorm", "clipvalue"} if eras.value("optimizers.clipnorm_is_common") else set()
    if len(given) > 1 and set(given) != together:
        raise ValueError(
            f"{owner}: Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be given; "
            f"received {given}."
        )
    for name, limit in given.items():
        if isinstance(limit, bool) or not isinstance(limit, numbers.Real) or limit < 0:
            raise ValueError(f"{owner}: {name} must be a number of at least 0; received {limit!r}.")
