"""Constraints: projections of a weight, in Keras' layout, applied after each update."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from torchkeras import config, registry
from torchkeras.activations import as_tensor
from torchkeras.registry import Configurable, register

Axis = int | Sequence[int] | None


@register("constraint")
class Constraint(Configurable):
    """Base of projections: a callable from a weight to a weight of the same shape."""

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        """Return the projection of ``w``; ``w`` itself here."""
        return w


@register("constraint", "maxnorm")
class MaxNorm(Constraint):
    """Shrinks vectors whose norm is above a bound to that bound.

    Args:
        max_value: the bound.
        axis: the axes that run along one vector: 0 for a Dense kernel ``(inputs, units)``,
            ``[0, 1, 2]`` for a Conv2D kernel ``(rows, columns, inputs, filters)``, ``None`` for
            all.
    """

    def __init__(self, max_value: float = 2, axis: Axis = 0):
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        """Return ``w`` (any shape) with its vectors' norms at most ``max_value``."""
        w = as_tensor(w)
        norms = _norms(w, self.axis)
        return w * (torch.clamp(norms, 0, self.max_value) / (config.epsilon() + norms))


@register("constraint", "nonneg")
class NonNeg(Constraint):
    """Replaces negative numbers by zero."""

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        """Return ``max(w, 0)``."""
        return torch.relu(as_tensor(w))


@register("constraint", "unitnorm")
class UnitNorm(Constraint):
    """Scales vectors to norm 1.

    Args:
        axis: the axes that run along one vector, as in :class:`MaxNorm`.
    """

    def __init__(self, axis: Axis = 0):
        self.axis = axis

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        """Return ``w`` (any shape) with its vectors' norms 1."""
        w = as_tensor(w)
        return w / (config.epsilon() + _norms(w, self.axis))


@register("constraint")
class MinMaxNorm(Constraint):
    """Moves norms of vectors into an interval.

    Args:
        min_value: lower bound of a norm.
        max_value: upper bound of a norm.
        rate: which part of the way to go: 1 puts the norms inside at once, less moves them there
            update by update.
        axis: the axes that run along one vector, as in :class:`MaxNorm`.
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: Axis = 0,
    ):
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        """Return ``w`` (any shape) with its vectors' norms in, or nearer to, the interval."""
        w = as_tensor(w)
        norms = _norms(w, self.axis)
        inside = torch.clamp(norms, self.min_value, self.max_value)
        wanted = self.rate * inside + (1 - self.rate) * norms
        return w * (wanted / (config.epsilon() + norms))


def _norms(w: torch.Tensor, axis: Axis) -> torch.Tensor:
    """Return the Euclidean norms along the axes, which stay with size 1."""
    return torch.linalg.vector_norm(w, dim=axis, keepdim=True)


max_norm = maxnorm = MaxNorm
non_neg = nonneg = NonNeg
unit_norm = unitnorm = UnitNorm
min_max_norm = MinMaxNorm

get, serialize, deserialize = registry.accessors("constraint")
