"""Adadelta."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.optimizers.arguments import takes_common_arguments
from torchkeras.optimizers.kernels import descend
from torchkeras.optimizers.optimizer import Optimizer, fuzz
from torchkeras.registry import register


@register("optimizer")
class Adadelta(Optimizer):
    """Scales the gradient by past steps over past gradients (Zeiler, 2012).

    ``a = rho * a + (1 - rho) * g²``, ``s = g * sqrt(d + epsilon) / sqrt(a + epsilon)``,
    ``d = rho * d + (1 - rho) * s²``, ``w -= rate * s``.

    Args:
        learning_rate: a number, a schedule or a function; the paper's is 1.
        rho: how much of the running means each update keeps.
        epsilon: keeps the division finite; ``None`` is ``config.epsilon()``.
        weight_decay, clipnorm, clipvalue, global_clipnorm, name, …: as for every
            :class:`~torchkeras.optimizers.optimizer.Optimizer`.
    """

    @takes_common_arguments
    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float | None = 1e-7,
        **common: Any,
    ):
        super().__init__(learning_rate, **common)
        self.rho = rho
        self.epsilon = fuzz(epsilon)

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        return [("accumulated_grad", "accumulated_delta_var")]

    def _rule(self, parameters, gradients, slots, scalars) -> None:
        (rate,) = scalars
        rho = self.rho
        squares, deltas = slots["accumulated_grad"], slots["accumulated_delta_var"]
        torch._foreach_mul_(squares, rho)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - rho)
        steps = torch._foreach_add(deltas, self.epsilon)
        torch._foreach_sqrt_(steps)
        torch._foreach_mul_(steps, gradients)
        roots = torch._foreach_add(squares, self.epsilon)
        torch._foreach_sqrt_(roots)
        torch._foreach_div_(steps, roots)
        torch._foreach_mul_(deltas, rho)
        torch._foreach_addcmul_(deltas, steps, steps, value=1 - rho)
        descend(parameters, steps, rate)
