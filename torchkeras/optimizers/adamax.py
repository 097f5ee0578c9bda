"""Adamax."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.optimizers.kernels import descend
from torchkeras.optimizers.optimizer import Optimizer, fuzz
from torchkeras.registry import register


@register("optimizer")
class Adamax(Optimizer):
    """Adam with a running maximum of the gradient's size (Kingma and Ba, 2014, section 7).

    ``m = beta_1 * m + (1 - beta_1) * g``, ``u = max(beta_2 * u, |g|)``,
    ``w -= rate / (1 - beta_1^t) * m / (u + epsilon)``.

    Args:
        learning_rate: a number.
        beta_1: how much of the running mean of gradients each update keeps.
        beta_2: how much of the maximum each update keeps.
        epsilon: keeps the division finite; ``None`` is ``config.epsilon()``.
        weight_decay, clipnorm, clipvalue, global_clipnorm, name, …: as for every
            :class:`~torchkeras.optimizers.optimizer.Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
            **kwargs,
        )
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
