"""RMSprop."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.optimizers.arguments import takes_common_arguments
from torchkeras.optimizers.kernels import descend
from torchkeras.optimizers.optimizer import Optimizer, fuzz
from torchkeras.registry import register


@register("optimizer", "rmsprop")
class RMSprop(Optimizer):
    """Divides the gradient by the root of a running mean of its square (Hinton, 2012).

    ``v = rho * v + (1 - rho) * g²``, ``w -= rate * g / sqrt(v + epsilon)``. Epsilon stands under
    the root; in torch it stands outside.

    Args:
        learning_rate: a number, a schedule or a function.
        rho: how much of the running means each update keeps.
        momentum: above 0, a velocity of the scaled steps is kept and applied.
        epsilon: keeps the division finite; ``None`` is ``config.epsilon()``.
        centered: whether to subtract the squared running mean of the gradient: an estimate of its
            variance.
        weight_decay, clipnorm, clipvalue, global_clipnorm, name, …: as for every
            :class:`~torchkeras.optimizers.optimizer.Optimizer`.
    """

    @takes_common_arguments
    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float | None = 1e-7,
        centered: bool = False,
        **common: Any,
    ):
        super().__init__(learning_rate, **common)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = fuzz(epsilon)
        self.centered = centered

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        rounds: list[tuple[str, ...]] = [("velocity",)]
        if self.momentum > 0:
            rounds.append(("momentum",))
        if self.centered:
            rounds.append(("average_gradient",))
        return rounds

    def _rule(self, parameters, gradients, slots, scalars) -> None:
        (rate,) = scalars
        rho, velocities = self.rho, slots["velocity"]
        torch._foreach_mul_(velocities, rho)
        torch._foreach_addcmul_(velocities, gradients, gradients, value=1 - rho)
        outside = self._epsilon_outside_root
        roots = torch._foreach_add(velocities, 0.0 if outside else self.epsilon)
        if "average_gradient" in slots:
            means = slots["average_gradient"]
            torch._foreach_mul_(means, rho)
            torch._foreach_add_(means, gradients, alpha=1 - rho)
            torch._foreach_addcmul_(roots, means, means, value=-1)
        torch._foreach_sqrt_(roots)
        if outside:
            torch._foreach_add_(roots, self.epsilon)
        steps = torch._foreach_div(gradients, roots)
        if "momentum" in slots:
            momenta = slots["momentum"]
            torch._foreach_mul_(momenta, self.momentum)
            descend(momenta, steps, rate, ascend=True)
            torch._foreach_sub_(parameters, momenta)
        else:
            descend(parameters, steps, rate)
