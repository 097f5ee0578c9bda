"""Adagrad."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.optimizers.arguments import takes_common_arguments
from torchkeras.optimizers.kernels import descend
from torchkeras.optimizers.optimizer import Optimizer, fuzz
from torchkeras.registry import register


@register("optimizer")
class Adagrad(Optimizer):
    """Divides the gradient by the root of the sum of all its squares (Duchi et al., 2011).

    ``a += g²``, ``w -= rate * g / sqrt(a + epsilon)``.

    Args:
        learning_rate: a number, a schedule or a function.
        initial_accumulator_value: what the sum begins with, at least 0.
        epsilon: keeps the division finite; ``None`` is ``config.epsilon()``.
        weight_decay, clipnorm, clipvalue, global_clipnorm, name, …: as for every
            :class:`~torchkeras.optimizers.optimizer.Optimizer`.
    """

    @takes_common_arguments
    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float | None = 1e-7,
        **common: Any,
    ):
        super().__init__(learning_rate, **common)
        if initial_accumulator_value < 0:
            raise ValueError(
                "Adagrad: initial_accumulator_value must be at least 0; received "
                f"{initial_accumulator_value!r}."
            )
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = fuzz(epsilon)

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        return [("accumulator",)]

    def _initial_value(self, slot: str) -> float:
        return self.initial_accumulator_value if slot == "accumulator" else 0.0

    def _rule(self, parameters, gradients, slots, scalars) -> None:
        (rate,) = scalars
        sums = slots["accumulator"]
        torch._foreach_addcmul_(sums, gradients, gradients)
        outside = self._epsilon_outside_root
        roots = torch._foreach_add(sums, 0.0 if outside else self.epsilon)
        torch._foreach_sqrt_(roots)
        if outside:
            torch._foreach_add_(roots, self.epsilon)
        descend(parameters, torch._foreach_div(gradients, roots), rate)
