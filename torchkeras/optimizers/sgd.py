"""Stochastic gradient descent."""

from __future__ import annotations

import numbers
from typing import Any

import torch

from torchkeras.optimizers.kernels import descend
from torchkeras.optimizers.optimizer import Optimizer
from torchkeras.registry import register


@register("optimizer")
class SGD(Optimizer):
    """Gradient descent, with momentum if asked: ``v = momentum * v - rate * g``, ``w += v``.

    torch's SGD keeps the rate out of the velocity, which differs as soon as the rate changes.

    Args:
        learning_rate: a number.
        momentum: from 0 to 1.
        nesterov: whether to look ahead: ``w += momentum * v - rate * g``.
        weight_decay, clipnorm, clipvalue, global_clipnorm, name, …: as for every
            :class:`~torchkeras.optimizers.optimizer.Optimizer`.

    Raises:
        ValueError: when ``momentum`` is no number from 0 to 1.
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
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
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
            **kwargs,
        )
        if not isinstance(momentum, numbers.Real) or not 0 <= momentum <= 1:
            raise ValueError(f"SGD: momentum must be a number from 0 to 1; received {momentum!r}.")
        self.momentum = momentum
        self.nesterov = nesterov

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        return [("momentum",)] if self.momentum else []

    def _rule(self, parameters, gradients, slots, scalars) -> None:
        (rate,) = scalars
        if not slots:
            descend(parameters, gradients, rate)
            return
        velocities = slots["momentum"]
        torch._foreach_mul_(velocities, self.momentum)
        descend(velocities, gradients, rate)
        if self.nesterov:
            torch._foreach_add_(parameters, velocities, alpha=self.momentum)
            descend(parameters, gradients, rate)
        else:
            torch._foreach_add_(parameters, velocities)
