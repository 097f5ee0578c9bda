"""Nadam."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras import eras
from torchkeras.optimizers.arguments import takes_common_arguments
from torchkeras.optimizers.kernels import descend
from torchkeras.optimizers.optimizer import Optimizer, fuzz
from torchkeras.registry import register
from torchkeras.variable import Variable, Weight

# The momentum's schedule: beta_1 * (1 - 0.5 * 0.96 ** t).
_SCHEDULE = 0.96


@register("optimizer")
class Nadam(Optimizer):
    """Adam with Nesterov momentum and a momentum schedule (Dozat, 2015).

    With ``u_t = beta_1 * (1 - 0.5 * 0.96^t)`` and ``U_t`` the product of all ``u`` so far:
    ``m = beta_1 * m + (1 - beta_1) * g``, ``v = beta_2 * v + (1 - beta_2) * g²``,
    ``n = m * u_(t+1) / (1 - U_(t+1)) + g * (1 - u_t) / (1 - U_t)``,
    ``w -= rate * n / (sqrt(v / (1 - beta_2^t)) + epsilon)``.

    Args:
        learning_rate: a number, a schedule or a function.
        beta_1: how much of the running mean of gradients each update keeps.
        beta_2: how much of the running mean of squares each update keeps.
        epsilon: keeps the division finite; ``None`` is ``config.epsilon()``.
        weight_decay, clipnorm, clipvalue, global_clipnorm, name, …: as for every
            :class:`~torchkeras.optimizers.optimizer.Optimizer`.
    """

    @takes_common_arguments
    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        **common: Any,
    ):
        super().__init__(learning_rate, **common)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = fuzz(epsilon)
        self._base = _SCHEDULE ** eras.value("optimizers.nadam_pace")
        self.param_groups[0]["u_product"] = torch.ones(())

    @property
    def _product(self) -> torch.Tensor:
        return self.param_groups[0]["u_product"]

    @property
    def _u_product(self) -> Variable:
        return Variable.of(self, Weight("variable", "_product", trainable=False))

    @property
    def variables(self) -> list[Variable]:
        """As for every optimizer, and at the end the product of the momenta so far."""
        found = super().variables
        if self.built:
            found.append(self._u_product)
        return found

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        return [("momentum", "velocity")]

    def _bases(self) -> tuple[float, ...]:
        return (self._base, self.beta_2)

    def _scalars(self, rate: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # With b = 0.96 (^0.004 in Keras 1 and 2) and s = 1 - b^t: u_t = beta_1/2 * (1 + s) and
        # u_(t+1) = beta_1/2 * (2 - b + b s).
        schedule, correction = self._corrections()
        base = self._base
        now = (schedule + 1.0) * (self.beta_1 / 2)
        following = (schedule * base + (2.0 - base)) * (self.beta_1 / 2)
        product = self._product.mul_(now)
        mean_share = following / (1.0 - product * following)
        gradient_share = (1.0 - now) / (1.0 - product)
        return rate, mean_share, gradient_share, correction

    def _rule(self, parameters, gradients, slots, scalars) -> None:
        rate, mean_share, gradient_share, correction = scalars
        means, squares = slots["momentum"], slots["velocity"]
        torch._foreach_mul_(means, self.beta_1)
        torch._foreach_add_(means, gradients, alpha=1 - self.beta_1)
        torch._foreach_mul_(squares, self.beta_2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - self.beta_2)
        steps = torch._foreach_mul(means, mean_share)
        torch._foreach_add_(steps, torch._foreach_mul(gradients, gradient_share))
        roots = torch._foreach_div(squares, correction)
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, self.epsilon)
        torch._foreach_div_(steps, roots)
        descend(parameters, steps, rate)
