"""Muon."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

import torch

from torchkeras.optimizers.arguments import takes_common_arguments
from torchkeras.optimizers.groups import Group
from torchkeras.optimizers.kernels import descend
from torchkeras.optimizers.optimizer import Optimizer, fuzz
from torchkeras.optimizers.parameters import in_keras_layout, in_own_layout, label_of
from torchkeras.registry import register


@register("optimizer")
class Muon(Optimizer):
    """Steps of nearly orthogonal matrices (Jordan, 2024; Liu et al., 2025, arXiv:2502.16982).

    A matrix moves by ``m = momentum * m + g`` (with ``nesterov`` by ``momentum * m + g`` once
    more) after a few Newton-Schulz iterations ``x = a x + (b x xᵀ + c (x xᵀ)²) x``, times
    ``sqrt(max(rows, columns)) * rms_rate``. Embeddings, the layers left out and all that is no
    matrix follow :class:`~torchkeras.optimizers.adam.Adam`. The last layer of a classifier should
    be left out.

    Args:
        learning_rate: a number, a schedule or a function.
        adam_beta_1, adam_beta_2, epsilon: of the weights that follow Adam.
        adam_weight_decay: their weight decay.
        weight_decay: that of the matrices.
        clipnorm, clipvalue, global_clipnorm, name, …: as for every
            :class:`~torchkeras.optimizers.optimizer.Optimizer`.
        exclude_layers: regular expressions, searched in the paths of weights that follow Adam.
        exclude_embeddings: whether weights with "embedding" in their path follow Adam.
        muon_a, muon_b, muon_c: of the iteration.
        adam_lr_ratio: Adam's learning rate as a multiple.
        momentum: how much of the running sum each update keeps.
        ns_steps: how many iterations.
        nesterov: whether the step looks ahead.
        rms_rate: the size of a step's entries; ``None`` leaves the step as it is.
    """

    @takes_common_arguments
    def __init__(
        self,
        learning_rate: Any = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        *,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **common: Any,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, **common)
        self.adam_beta_1 = adam_beta_1
        self.adam_beta_2 = adam_beta_2
        self.adam_weight_decay = adam_weight_decay
        self.epsilon = fuzz(epsilon)
        self.exclude_layers = list(exclude_layers or [])
        self.exclude_embeddings = exclude_embeddings
        self.muon_a = muon_a
        self.muon_b = muon_b
        self.muon_c = muon_c
        self.adam_lr_ratio = adam_lr_ratio
        self.momentum = momentum
        self.ns_steps = ns_steps
        self.nesterov = nesterov
        self.rms_rate = rms_rate

    def _should_use_adamw(self, variable: Any) -> bool:
        path = label_of(variable)
        if len(variable.shape) != 2 or (self.exclude_embeddings and "embedding" in path.lower()):
            return True
        return any(re.search(pattern, path) for pattern in self.exclude_layers)

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        return [("momentum", "velocity")]

    def _new_slot(self, name: str, variable: Any) -> torch.Tensor | None:
        if name == "velocity" and not self._should_use_adamw(variable):
            return None
        return super()._new_slot(name, variable)

    def _bases(self) -> tuple[float, ...]:
        return (self.adam_beta_1, self.adam_beta_2)

    def _scalars(self, rate: torch.Tensor) -> tuple[torch.Tensor, ...]:
        first, second = self._corrections()
        return rate, rate * self.adam_lr_ratio * second.sqrt_() / first

    def _decay_weights(
        self,
        group: Group,
        parameters: list[torch.Tensor],
        rate: torch.Tensor,
        decayed: torch.Tensor | None,
    ) -> None:
        # As Keras has it here: subtracted, not multiplied by a number that is rounded near 1.
        decay = self.adam_weight_decay if "velocity" in group.slots else self.weight_decay
        shrinking = list(itertools.compress(parameters, group.decays))
        if decay and shrinking:
            share = rate.to(group.device, group.dtype) * decay
            torch._foreach_sub_(shrinking, torch._foreach_mul(shrinking, share))

    def _move_group(
        self,
        group: Group,
        parameters: list[torch.Tensor],
        gradients: list[torch.Tensor],
        scalars: tuple[torch.Tensor, ...],
    ) -> None:
        rate, adam_rate = scalars
        if "velocity" in group.slots:
            means, squares = group.slots["momentum"], group.slots["velocity"]
            torch._foreach_lerp_(means, gradients, 1 - self.adam_beta_1)
            torch._foreach_mul_(squares, self.adam_beta_2)
            torch._foreach_addcmul_(squares, gradients, gradients, value=1 - self.adam_beta_2)
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, self.epsilon)
            descend(parameters, torch._foreach_div(means, roots), adam_rate)
            return
        sums = group.slots["momentum"]
        torch._foreach_mul_(sums, self.momentum)
        torch._foreach_add_(sums, gradients)
        steps = sums
        if self.nesterov:
            steps = torch._foreach_mul(sums, self.momentum)
            torch._foreach_add_(steps, gradients)
        variables = [self._model_variables[index] for index in group.indices]
        steps = [
            in_own_layout(self._orthogonalized(in_keras_layout(step, variable)), variable)
            for step, variable in zip(steps, variables)
        ]
        laid_out = [torch.empty_like(p).copy_(step) for p, step in zip(parameters, steps)]
        descend(parameters, laid_out, rate)

    def _orthogonalized(self, x: torch.Tensor) -> torch.Tensor:
        """Return a matrix with singular values near 1 in the place of its own, times the size."""
        rows, columns = x.shape
        x = x.T if rows > columns else x
        x = x / (torch.linalg.vector_norm(x) + 1e-7)
        for _ in range(self.ns_steps):
            square = x @ x.T
            x = self.muon_a * x + (self.muon_b * square + self.muon_c * square @ square) @ x
        if self.rms_rate is not None:
            x = x * (math.sqrt(max(rows, columns)) * self.rms_rate)
        return x.T if rows > columns else x
