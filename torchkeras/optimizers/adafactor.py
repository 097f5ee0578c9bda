"""Adafactor."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.optimizers.arguments import takes_common_arguments
from torchkeras.optimizers.groups import Group
from torchkeras.optimizers.optimizer import Optimizer
from torchkeras.optimizers.parameters import in_keras_layout, in_own_layout, parameter_of
from torchkeras.registry import register


@register("optimizer")
class Adafactor(Optimizer):
    """Adam's running mean of squares from its rows' and columns' means (Shazeer and Stern, 2018).

    With ``rho = min(rate, 1 / sqrt(t))`` and ``b = 1 - t^beta_2_decay``: rows ``r`` and columns
    ``c`` of the last two dimensions are running means of ``g² + epsilon_1`` with ``b``,
    ``v = r * c / mean(r)`` (of less dimensions: the running mean itself), ``u = g / sqrt(v)``,
    ``w -= max(epsilon_2, rms(w)) * rho * u / max(1, rms(u) / clip_threshold)``.

    Args:
        learning_rate: a number, a schedule or a function.
        beta_2_decay: the power of time in the share of the new square.
        epsilon_1: added to squares.
        epsilon_2: the least scale of a weight.
        clip_threshold: the largest root mean square of a step.
        relative_step: without effect, as in Keras: the rate falls with the root of time anyway.
        weight_decay, clipnorm, clipvalue, global_clipnorm, name, …: as for every
            :class:`~torchkeras.optimizers.optimizer.Optimizer`.
    """

    _in_keras_layout = ("r", "c")

    @takes_common_arguments
    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **common: Any,
    ):
        super().__init__(learning_rate, **common)
        self.beta_2_decay = beta_2_decay
        self.epsilon_1 = epsilon_1
        self.epsilon_2 = epsilon_2
        self.clip_threshold = clip_threshold
        self.relative_step = relative_step

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        return [("r", "c", "velocity")]

    def _new_slot(self, name: str, variable: Any) -> torch.Tensor:
        if name not in self._in_keras_layout:
            return super()._new_slot(name, variable)
        shape = tuple(variable.shape)
        if len(shape) < 2:
            shape = ()  # not used, but Keras' files have it
        else:
            shape = shape[:-1] if name == "r" else (*shape[:-2], shape[-1])
        parameter = parameter_of(variable)
        return torch.zeros(shape, dtype=parameter.dtype, device=parameter.device)

    def _scalars(self, rate: torch.Tensor) -> tuple[torch.Tensor, ...]:
        step = self._finished().to(rate.dtype)
        rho = torch.minimum(rate, torch.rsqrt(step))
        return rho, 1.0 - torch.pow(step, self.beta_2_decay)

    def _move_group(
        self,
        group: Group,
        parameters: list[torch.Tensor],
        gradients: list[torch.Tensor],
        scalars: tuple[torch.Tensor, ...],
    ) -> None:
        rho, keep = (scalar.to(group.dtype) for scalar in scalars)
        for place, index in enumerate(group.indices):
            variable, parameter = self._model_variables[index], parameters[place]
            gradient = in_keras_layout(gradients[place], variable)
            squares = torch.square(gradient) + self.epsilon_1
            velocity = group.slots["velocity"][place]
            rows, columns = group.slots["r"][place], group.slots["c"][place]
            if gradient.dim() >= 2:
                rows.lerp_(squares.mean(-1), 1.0 - keep)
                columns.lerp_(squares.mean(-2), 1.0 - keep)
                shares = rows / rows.mean(-1, keepdim=True)
                found = shares.unsqueeze(-1) * columns.unsqueeze(-2)
                velocity.copy_(in_own_layout(found, variable))
            else:
                velocity.lerp_(in_own_layout(squares, variable), 1.0 - keep)
            step = gradients[place] / torch.sqrt(velocity)
            scale = _root_mean_square(parameter).clamp_min(self.epsilon_2) * rho
            size = _root_mean_square(step) / self.clip_threshold
            parameter.sub_(step * (scale / size.clamp_min(1.0)))


def _root_mean_square(tensor: torch.Tensor) -> torch.Tensor:
    return torch.sqrt(torch.mean(torch.square(tensor)))
