"""Stochastic gradient descent."""

from __future__ import annotations

import numbers
from typing import Any

import torch

from torchkeras.optimizers.arguments import takes_common_arguments
from torchkeras.optimizers.kernels import descend
from torchkeras.optimizers.optimizer import Optimizer
from torchkeras.registry import register


@register("optimizer")
class SGD(Optimizer):
    """Gradient descent, with momentum if asked: ``v = momentum * v - rate * g``, ``w += v``.

    torch's SGD keeps the rate out of the velocity, which differs as soon as the rate changes.

    Args:
        learning_rate: a number, a schedule or a function.
        momentum: from 0 to 1.
        nesterov: whether to look ahead: ``w += momentum * v - rate * g``.
        weight_decay, clipnorm, clipvalue, global_clipnorm, name, …: as for every
            :class:`~torchkeras.optimizers.optimizer.Optimizer`.

    Raises:
        ValueError: when ``momentum`` is no number from 0 to 1.
    """

    @takes_common_arguments
    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **common: Any,
    ):
        super().__init__(learning_rate, **common)
        if not isinstance(momentum, numbers.Real) or not 0 <= momentum <= 1:
            raise ValueError(f"SGD: momentum must be a number from 0 to 1; received {momentum!r}.")
        self.momentum = momentum
        self.nesterov = nesterov

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        return [("momentum",)] if self.momentum else []

    def _rule(self, parameters, gradients, slots, scalars) -> None:
        (rate,) = scalars
        if "momentum" not in slots:
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
