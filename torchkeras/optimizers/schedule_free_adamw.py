"""ScheduleFreeAdamW."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.optimizers.arguments import takes_common_arguments
from torchkeras.optimizers.groups import new_slot
from torchkeras.optimizers.kernels import descend
from torchkeras.optimizers.optimizer import Optimizer
from torchkeras.optimizers.parameters import parameter_of
from torchkeras.registry import register


@register("optimizer", "schedulefreeadamw")
class ScheduleFreeAdamW(Optimizer):
    """Adam that averages its path in the place of a schedule (Defazio et al., 2024).

    ``v`` as for Adam, ``z -= rate * g / (sqrt(v / (1 - beta_2^t)) + epsilon)``, ``x`` the mean of
    all ``z`` so far, ``w = (1 - beta_1) * z + beta_1 * x``. Of these ``x`` is not kept: it follows
    from ``w`` and ``z``.

    Args:
        learning_rate: a number, a schedule or a function.
        beta_1: the mean's share in the weights, above 0.
        beta_2: how much of the running mean of squares each update keeps.
        epsilon: keeps the division finite.
        warmup_steps: in how many updates the rate rises to its full height.
        weight_decay, clipnorm, clipvalue, global_clipnorm, name, …: as for every
            :class:`~torchkeras.optimizers.optimizer.Optimizer`.
    """

    @takes_common_arguments
    def __init__(
        self,
        learning_rate: Any = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        **common: Any,
    ):
        super().__init__(learning_rate, **common)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.warmup_steps = warmup_steps

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        return [("momentum", "velocity")]

    def _new_slot(self, name: str, variable: Any) -> torch.Tensor:
        parameter = parameter_of(variable)
        slot = new_slot(parameter, 0.0)
        return slot.copy_(parameter.detach()) if name == "momentum" else slot

    def _bases(self) -> tuple[float, ...]:
        return (self.beta_2,)

    def _scalars(self, rate: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (correction,) = self._corrections()
        step = self._finished().to(correction.dtype)
        if self.warmup_steps > 0:
            rate = rate * (step / self.warmup_steps).clamp_max(1.0)
        return rate, correction, 1.0 / step

    def _rule(self, parameters, gradients, slots, scalars) -> None:
        rate, correction, weight = scalars
        ends, squares = slots["momentum"], slots["velocity"]
        torch._foreach_mul_(squares, self.beta_2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - self.beta_2)
        roots = torch._foreach_div(squares, correction)
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, self.epsilon)
        # The mean before: x = (w - (1 - beta_1) * z) / beta_1.
        means = torch._foreach_sub(parameters, torch._foreach_mul(ends, 1 - self.beta_1))
        torch._foreach_div_(means, self.beta_1)
        descend(ends, torch._foreach_div(gradients, roots), rate)
        torch._foreach_mul_(means, 1.0 - weight)
        torch._foreach_add_(means, torch._foreach_mul(ends, weight))
        torch._foreach_mul_(means, self.beta_1)
        torch._foreach_add_(means, torch._foreach_mul(ends, 1 - self.beta_1))
        torch._foreach_copy_(parameters, means)
