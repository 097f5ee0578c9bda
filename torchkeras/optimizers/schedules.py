"""Learning-rate schedules: functions of the count of updates, of tensors alone.

A scheduler of ``torch.optim.lr_scheduler`` is another thing: it sets the rate of the optimizer that
it is made with, and every optimizer here is a torch one. Give that optimizer a number and call the
scheduler's ``step()`` after each epoch, or after each update.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from torchkeras.optimizers.arguments import plain_number
from torchkeras.registry import Configurable, accessors, register
from torchkeras.variable import Variable

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]

_KIND, _MODULE = "schedule", "keras.optimizers.schedules"

_, serialize, deserialize = accessors(_KIND)


@register(_KIND, module=_MODULE, named=False)
class LearningRateSchedule(Configurable):
    """Base of all schedules: ``__call__(step)`` returns the rate of the update after ``step``.

    One of your own computes with tensors (``torch`` or ``keras.ops``) to be part of a captured
    step; ``step`` is the optimizer's count, a 0-d integer variable.
    """

    def __call__(self, step: Any) -> Any:
        """Return the learning rate.

        Args:
            step: how many updates there have been: a number, a tensor or a variable.
        """
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, step).")


class _Decay(LearningRateSchedule):
    """A schedule that begins with a rate and has a length, in updates."""

    def __init__(self, initial_learning_rate: float, length: str, steps: float, name: str | None):
        if not plain_number(steps) > 0:
            raise ValueError(f"Argument `{length}` must be > 0; received {length}={steps!r}.")
        self.initial_learning_rate = plain_number(initial_learning_rate)
        setattr(self, length, plain_number(steps))
        self.name = name


@register(_KIND, module=_MODULE)
class ExponentialDecay(_Decay):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Args:
        initial_learning_rate: the first rate.
        decay_steps: after so many updates the rate has been multiplied by ``decay_rate``.
        decay_rate: the factor.
        staircase: whether the exponent is rounded down.
        name: kept in the config.

    Raises:
        ValueError: unless ``decay_steps`` is positive.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = "ExponentialDecay",
    ):
        super().__init__(initial_learning_rate, "decay_steps", decay_steps, name)
        self.decay_rate = decay_rate
        self.staircase = staircase

    def __call__(self, step: Any) -> torch.Tensor:
        passed = _passed(step, self.decay_steps, self.staircase)
        return torch.pow(self.decay_rate, passed) * self.initial_learning_rate


@register(_KIND, module=_MODULE)
class InverseTimeDecay(_Decay):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    Args:
        initial_learning_rate: the first rate.
        decay_steps: the unit of time, in updates.
        decay_rate: how much the divisor grows in a unit.
        staircase: whether whole units count only.
        name: kept in the config.

    Raises:
        ValueError: unless ``decay_steps`` is positive.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = "InverseTimeDecay",
    ):
        super().__init__(initial_learning_rate, "decay_steps", decay_steps, name)
        self.decay_rate = decay_rate
        self.staircase = staircase

    def __call__(self, step: Any) -> torch.Tensor:
        passed = _passed(step, self.decay_steps, self.staircase)
        return self.initial_learning_rate / (passed * self.decay_rate + 1.0)


@register(_KIND, module=_MODULE)
class PolynomialDecay(_Decay):
    """From ``initial_learning_rate`` to ``end_learning_rate`` along ``(1 - share) ** power``.

    Args:
        initial_learning_rate: the first rate.
        decay_steps: how many updates it takes.
        end_learning_rate: the last rate.
        power: of the polynomial; 1 is a straight line.
        cycle: whether the length becomes the next multiple of ``decay_steps`` once it is over;
            otherwise the rate stays at its last.
        name: kept in the config.

    Raises:
        ValueError: unless ``decay_steps`` is positive.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str | None = "PolynomialDecay",
    ):
        super().__init__(initial_learning_rate, "decay_steps", decay_steps, name)
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle

    def __call__(self, step: Any) -> torch.Tensor:
        step = _as_float(step)
        if self.cycle:
            cycles = torch.ceil(step / self.decay_steps).clamp_min(1.0)
            share = step / (cycles * self.decay_steps)
        else:
            share = step.clamp_max(self.decay_steps) / self.decay_steps
        height = self.initial_learning_rate - self.end_learning_rate
        return torch.pow(1.0 - share, self.power) * height + self.end_learning_rate


@register(_KIND, module=_MODULE)
class PiecewiseConstantDecay(LearningRateSchedule):
    """``values[i]`` up to and at ``boundaries[i]``, the last value after all of them.

    Args:
        boundaries: counts of updates, rising.
        values: rates, one more than boundaries.
        name: kept in the config.

    Raises:
        ValueError: for another number of values.
    """

    def __init__(
        self,
        boundaries: Sequence[float],
        values: Sequence[float],
        name: str | None = "PiecewiseConstant",
    ):
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "The length of boundaries should be 1 less than the length of values; received "
                f"{len(boundaries)} boundaries and {len(values)} values."
            )
        self.boundaries = boundaries
        self.values = values
        self.name = name

    def __call__(self, step: Any) -> torch.Tensor:
        step = _as_tensor(step)
        is_whole = not step.is_floating_point()
        rate = torch.full_like(step, self.values[-1], dtype=torch.float32)
        for boundary, value in zip(reversed(self.boundaries), reversed(self.values[:-1])):
            # Keras rounds a boundary down to the step's dtype.
            boundary = int(boundary) if is_whole else boundary
            rate = torch.where(step <= boundary, value, rate)
        return rate


@register(_KIND, module=_MODULE)
class CosineDecay(_Decay):
    """Down along half a cosine, after a linear warm-up if asked for (Loshchilov and Hutter, 2016).

    ``peak * ((1 - alpha) * (1 + cos(pi * share)) / 2 + alpha)``.

    Args:
        initial_learning_rate: the first rate; the peak without a warm-up.
        decay_steps: how many updates the descent takes.
        alpha: the last rate as a part of the peak.
        name: kept in the config.
        warmup_target: the peak; ``None`` for no warm-up.
        warmup_steps: how many updates it takes to come there.

    Raises:
        ValueError: unless ``decay_steps`` is positive.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str | None = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ):
        super().__init__(initial_learning_rate, "decay_steps", decay_steps, name)
        self.alpha = alpha
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> torch.Tensor:
        step, first, peak = _as_float(step), self.initial_learning_rate, self.warmup_target
        if peak is None:
            return self._descend(step, first)
        descent = self._descend(step - self.warmup_steps, peak)
        if not self.warmup_steps:
            return descent
        ascent = step / self.warmup_steps * (peak - first) + first
        return torch.where(step < self.warmup_steps, ascent, descent)

    def _descend(self, step: torch.Tensor, peak: float) -> torch.Tensor:
        share = step.clamp_max(self.decay_steps) / self.decay_steps
        return ((1 - self.alpha) * _half_cosine(share) + self.alpha) * peak


@register(_KIND, module=_MODULE)
class CosineDecayRestarts(_Decay):
    """Half cosines one after another (Loshchilov and Hutter, 2016).

    Args:
        initial_learning_rate: the first rate.
        first_decay_steps: how many updates the first descent takes.
        t_mul: how many times longer each descent is than the one before.
        m_mul: how many times higher each one begins.
        alpha: the last rate as a part of the first.
        name: kept in the config.

    Raises:
        ValueError: unless ``first_decay_steps`` is positive.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str | None = "SGDRDecay",
    ):
        super().__init__(initial_learning_rate, "first_decay_steps", first_decay_steps, name)
        self.t_mul = t_mul
        self.m_mul = m_mul
        self.alpha = alpha

    def __call__(self, step: Any) -> torch.Tensor:
        share = _as_float(step) / self.first_decay_steps
        if self.t_mul == 1.0:
            restart = torch.floor(share)
            share = share - restart
        else:
            # After n restarts, (1 - t_mul ** n) / (1 - t_mul) first lengths are over.
            log = torch.log(1.0 - share * (1.0 - self.t_mul))
            # As float32, which Keras computes in: the quotient decides where a restart falls.
            base = torch.log(torch.full_like(log, self.t_mul))
            restart = torch.floor(log / base)
            length = torch.pow(self.t_mul, restart)
            share = (share - (1.0 - length) / (1.0 - self.t_mul)) / length
        decayed = torch.pow(self.m_mul, restart) * _half_cosine(share)
        return ((1 - self.alpha) * decayed + self.alpha) * self.initial_learning_rate


def _as_tensor(step: Any) -> torch.Tensor:
    return step.value if isinstance(step, Variable) else torch.as_tensor(step)


def _as_float(step: Any) -> torch.Tensor:
    """Return a count of updates in float32, which Keras computes rates in."""
    return _as_tensor(step).to(torch.float32)


def _passed(step: Any, length: float, whole: bool) -> torch.Tensor:
    """Return how many times ``length`` updates have passed."""
    passed = _as_float(step) / length
    return torch.floor(passed) if whole else passed


def _half_cosine(share: torch.Tensor) -> torch.Tensor:
    """Return ``(1 + cos(pi * share)) / 2``: from 1 at 0 to 0 at 1."""
    return 0.5 * (1.0 + torch.cos(share * math.pi))
