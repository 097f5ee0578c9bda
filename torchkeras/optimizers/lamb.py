"""Lamb."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.optimizers.arguments import takes_common_arguments
from torchkeras.optimizers.kernels import descend
from torchkeras.optimizers.optimizer import Optimizer, fuzz
from torchkeras.registry import register


@register("optimizer")
class Lamb(Optimizer):
    """Adam whose step is as long as the weight, layer by layer (You et al., 2019).

    ``m``, ``v`` as for Adam, ``s = m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon)``,
    ``w -= rate * |w| / |s| * s`` (the quotient is 1 where one of the norms is 0).

    Args:
        learning_rate: a number, a schedule or a function.
        beta_1: how much of the running mean of gradients each update keeps.
        beta_2: how much of the running mean of squares each update keeps.
        epsilon: keeps the division finite.
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
        return [("momentum", "velocity")]

    def _bases(self) -> tuple[float, ...]:
        return (self.beta_1, self.beta_2)

    def _scalars(self, rate: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (rate, *self._corrections())

    def _rule(self, parameters, gradients, slots, scalars) -> None:
        rate, first, second = scalars
        means, squares = slots["momentum"], slots["velocity"]
        torch._foreach_lerp_(means, gradients, 1 - self.beta_1)
        torch._foreach_mul_(squares, self.beta_2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - self.beta_2)
        roots = torch._foreach_div(squares, second)
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, self.epsilon)
        steps = torch._foreach_div(means, first)
        torch._foreach_div_(steps, roots)
        lengths = torch.stack(torch._foreach_norm(parameters))
        sizes = torch.stack(torch._foreach_norm(steps))
        ratios = torch.where((lengths > 0) & (sizes > 0), lengths / sizes, 1.0)
        torch._foreach_mul_(steps, list(ratios.unbind()))
        descend(parameters, steps, rate)
