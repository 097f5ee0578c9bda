"""Adagrad."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.optimizers.kernels import descend
from torchkeras.optimizers.optimizer import Optimizer, fuzz
from torchkeras.registry import register


@register("optimizer")
class Adagrad(Optimizer):
    """Divides the gradient by the root of the sum of all its squares (Duchi et al., 2011).

    ``a += g²``, ``w -= rate * g / sqrt(a + epsilon)``.

    Args:
        learning_rate: a number.
        initial_accumulator_value: what the sum begins with, at least 0.
        epsilon: keeps the division finite; ``None`` is ``config.epsilon()``.
        weight_decay, clipnorm, clipvalue, global_clipnorm, name, …: as for every
            :class:`~torchkeras.optimizers.optimizer.Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float | None = 1e-7,
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
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = fuzz(epsilon)

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        return [("accumulator",)]

    def _initial_value(self, slot: str) -> float:
        return self.initial_accumulator_value

    def _rule(self, parameters, gradients, slots, scalars) -> None:
        (rate,) = scalars
        sums = slots["accumulator"]
        torch._foreach_addcmul_(sums, gradients, gradients)
        roots = torch._foreach_add(sums, self.epsilon)
        torch._foreach_sqrt_(roots)
        descend(parameters, torch._foreach_div(gradients, roots), rate)
