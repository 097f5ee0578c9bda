"""Lion."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.optimizers.arguments import takes_common_arguments
from torchkeras.optimizers.kernels import descend
from torchkeras.optimizers.optimizer import Optimizer
from torchkeras.registry import register


@register("optimizer")
class Lion(Optimizer):
    """Steps of one size, along the sign of a running mean (Chen et al., 2023).

    ``w -= rate * sign(beta_1 * m + (1 - beta_1) * g)``, ``m = beta_2 * m + (1 - beta_2) * g``.

    Args:
        learning_rate: a number, a schedule or a function; a tenth of Adam's is usual.
        beta_1: the mean's share in the step, above 0 and at most 1.
        beta_2: how much of the mean each update keeps.
        weight_decay, clipnorm, clipvalue, global_clipnorm, name, …: as for every
            :class:`~torchkeras.optimizers.optimizer.Optimizer`.

    Raises:
        ValueError: for a ``beta_1`` out of its range.
    """

    @takes_common_arguments
    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **common: Any
    ):
        super().__init__(learning_rate, **common)
        if not 0 < beta_1 <= 1:
            raise ValueError(
                f"Lion: beta_1 must be above 0 and at most 1; received {beta_1!r}. At 0 it is the "
                "sign of the gradient alone."
            )
        self.beta_1 = beta_1
        self.beta_2 = beta_2

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        return [("momentum",)]

    def _rule(self, parameters, gradients, slots, scalars) -> None:
        (rate,) = scalars
        means = slots["momentum"]
        steps = torch._foreach_mul(means, self.beta_1)
        torch._foreach_add_(steps, gradients, alpha=1 - self.beta_1)
        torch._foreach_sign_(steps)
        descend(parameters, steps, rate)
        torch._foreach_mul_(means, self.beta_2)
        torch._foreach_add_(means, gradients, alpha=1 - self.beta_2)
