"""Activations as layers."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras import activations
from torchkeras.layers.base import Layer
from torchkeras.registry import register


@register("layer")
class Activation(Layer):
    """An activation as a layer.

    Args:
        activation: name, callable or torch module.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``.
    """

    supports_masking = True

    def __init__(self, activation: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)
        self._needs_no_build()

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Apply the activation."""
        return self.activation(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        return input_shape
