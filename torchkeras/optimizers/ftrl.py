"""Ftrl."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.optimizers.arguments import takes_common_arguments
from torchkeras.optimizers.optimizer import Optimizer
from torchkeras.registry import register


@register("optimizer")
class Ftrl(Optimizer):
    """Follow the regularized leader, for sparse models (McMahan et al., 2013).

    With ``a`` the sum of squares so far, ``a'`` that with this update's and ``p`` the negative of
    ``learning_rate_power``: ``z += g + 2 * shrinkage * w - (a'^p - a^p) / rate * w``,
    ``w = (clip(z, -l1, l1) - z) / (a'^p / rate + 2 * (l2 + beta / (2 * rate)))``.

    Args:
        learning_rate: a number, a schedule or a function.
        learning_rate_power: how fast the rate falls; 0 for a fixed one, never above.
        initial_accumulator_value: what the sum of squares begins with, at least 0.
        l1_regularization_strength: at least 0; makes weights zero.
        l2_regularization_strength: at least 0.
        l2_shrinkage_regularization_strength: at least 0; a penalty of the weights as they are.
        beta: added to the root of the sum of squares.
        weight_decay, clipnorm, clipvalue, global_clipnorm, name, …: as for every
            :class:`~torchkeras.optimizers.optimizer.Optimizer`.

    Raises:
        ValueError: for an argument out of its range.
    """

    @takes_common_arguments
    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **common: Any,
    ):
        super().__init__(learning_rate, **common)
        if learning_rate_power > 0:
            raise ValueError(
                "Ftrl: `learning_rate_power` needs to be negative or zero; received "
                f"{learning_rate_power!r}."
            )
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self.beta = beta
        for name in ("initial_accumulator_value", *_STRENGTHS):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"Ftrl: `{name}` needs to be positive or zero; received "
                    f"{getattr(self, name)!r}."
                )

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        return [("accumulator", "linear")]

    def _initial_value(self, slot: str) -> float:
        return self.initial_accumulator_value if slot == "accumulator" else 0.0

    def _rule(self, parameters, gradients, slots, scalars) -> None:
        (rate,) = scalars
        power, l1 = -self.learning_rate_power, self.l1_regularization_strength
        sums, linears = slots["accumulator"], slots["linear"]
        before = torch._foreach_pow(sums, power)
        torch._foreach_addcmul_(sums, gradients, gradients)
        divisors = torch._foreach_pow(sums, power)
        torch._foreach_sub_(before, divisors)
        torch._foreach_div_(before, rate)
        shrinkage = 2 * self.l2_shrinkage_regularization_strength
        torch._foreach_add_(before, shrinkage)
        torch._foreach_mul_(before, parameters)
        torch._foreach_add_(linears, gradients)
        torch._foreach_add_(linears, before)
        torch._foreach_div_(divisors, rate)
        # As a list: torch would read a lone tensor as a number.
        added = self.beta / rate + 2 * self.l2_regularization_strength
        torch._foreach_add_(divisors, [added] * len(divisors))
        moved = torch._foreach_clamp_min(torch._foreach_clamp_max(linears, l1), -l1)
        torch._foreach_sub_(moved, linears)
        torch._foreach_div_(moved, divisors)
        torch._foreach_copy_(parameters, moved)


_STRENGTHS = (
    "l1_regularization_strength",
    "l2_regularization_strength",
    "l2_shrinkage_regularization_strength",
)
