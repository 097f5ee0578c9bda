"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.optimizers.arguments import takes_common_arguments
from torchkeras.optimizers.optimizer import Optimizer, fuzz
from torchkeras.registry import register

# torch's kernel divides by 1 - beta ** steps itself: after so many steps that is 1.
_MANY_STEPS = 1e9


@register("optimizer")
class Adam(Optimizer):
    """Running means of the gradient and of its square (Kingma and Ba, 2014).

    ``m = beta_1 * m + (1 - beta_1) * g``, ``v = beta_2 * v + (1 - beta_2) * g²``,
    ``w -= rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)``. The bias
    corrections stand in the rate, so that epsilon is not corrected; torch corrects ``v`` before
    adding it.

    Args:
        learning_rate: a number, a schedule or a function.
        beta_1: how much of the running mean of gradients each update keeps.
        beta_2: how much of the running mean of squares each update keeps.
        epsilon: keeps the division finite; ``None`` is ``config.epsilon()``.
        amsgrad: whether to divide by the root of the largest ``v`` so far.
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
        amsgrad: bool = False,
        **common: Any,
    ):
        super().__init__(learning_rate, **common)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = fuzz(epsilon)
        self.amsgrad = amsgrad

    def build(self, variables) -> None:
        super().build(variables)
        self._steps = torch.full((), _MANY_STEPS, dtype=torch.float32, device=self._device)

    def tensors(self) -> list[torch.Tensor]:
        return [*super().tensors(), *([self._steps] if self.built else [])]

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        rounds: list[tuple[str, ...]] = [("momentum", "velocity")]
        if self.amsgrad:
            rounds.append(("velocity_hat",))
        return rounds

    def _bases(self) -> tuple[float, ...]:
        return (self.beta_1, self.beta_2)

    def _scalars(self, rate: torch.Tensor) -> tuple[torch.Tensor, ...]:
        first, second = self._corrections()
        rate = torch.mul(rate, second.sqrt_()).div_(first)
        return rate, self._steps

    def _rule(self, parameters, gradients, slots, scalars) -> None:
        rate, steps = scalars
        torch._fused_adam_(
            parameters,
            gradients,
            slots["momentum"],
            slots["velocity"],
            slots.get("velocity_hat", []),
            [steps] * len(parameters),
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad="velocity_hat" in slots,
            maximize=False,
        )


@register("optimizer", "adamw")
class AdamW(Adam):
    """Adam whose weights decay apart from the gradient (Loshchilov and Hutter, 2017).

    Args:
        learning_rate: a number, a schedule or a function.
        weight_decay: each update first multiplies the weights by
            ``1 - learning_rate * weight_decay``.
        beta_1, beta_2, epsilon, amsgrad: as for :class:`Adam`.
        clipnorm, clipvalue, global_clipnorm, name, …: as for every
            :class:`~torchkeras.optimizers.optimizer.Optimizer`.

    Raises:
        ValueError: when ``weight_decay`` is ``None``.
    """

    @takes_common_arguments
    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        amsgrad: bool = False,
        **common: Any,
    ):
        if weight_decay is None:
            raise ValueError("AdamW: weight_decay must be a number; Adam is AdamW without it.")
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **common
        )
