"""Adamax."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.optimizers.arguments import takes_common_arguments
from torchkeras.optimizers.kernels import descend
from torchkeras.optimizers.optimizer import Optimizer, fuzz
from torchkeras.registry import register


@register("optimizer")
class Adamax(Optimizer):
    """Adam with a running maximum of the gradient's size (Kingma and Ba, 2014, section 7).

    ``m = beta_1 * m + (1 - beta_1) * g``, ``u = max(beta_2 * u, |g|)``,
    ``w -= rate / (1 - beta_1^t) * m / (u + epsilon)``.

    Args:
        learning_rate: a number, a schedule or a function.
        beta_1: how much of the running mean of gradients each update keeps.
        beta_2: how much of the maximum each update keeps.
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

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        return [("momentum", "norm")]

    def _bases(self) -> tuple[float, ...]:
        return (self.beta_1,)

    def _scalars(self, rate: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (correction,) = self._corrections()
        return (torch.div(rate, correction),)

    def _rule(self, parameters, gradients, slots, scalars) -> None:
        (rate,) = scalars
        means, norms = slots["momentum"], slots["norm"]
        torch._foreach_mul_(means, self.beta_1)
        torch._foreach_add_(means, gradients, alpha=1 - self.beta_1)
        torch._foreach_mul_(norms, self.beta_2)
        torch._foreach_maximum_(norms, torch._foreach_abs(gradients))
        steps = torch._foreach_div(means, torch._foreach_add(norms, self.epsilon))
        descend(parameters, steps, rate)
