"""Masking: tells the layers behind it which steps of a sequence to skip."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.layers import values
from torchkeras.layers.base import Layer
from torchkeras.registry import register


@register("layer")
class Masking(Layer):
    """Masks the steps whose features all equal a value, and sets them to 0.

    Args:
        mask_value: the value; a number or a tensor that compares with the input.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …, features)``, mask ``(batch, …)``, false at masked steps.
    """

    supports_masking = True
    _makes_masks = True

    def __init__(self, mask_value: Any = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.mask_value = values.read(mask_value) if isinstance(mask_value, dict) else mask_value
        self._needs_no_build()

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Set the masked steps to 0."""
        counts = Masking.compute_mask(self, inputs)  # a subclass may give another mask
        return inputs.masked_fill(~counts.unsqueeze(-1), 0)

    def compute_mask(self, inputs: torch.Tensor, mask: Any = None) -> torch.Tensor:
        """Return which steps are not masked, whatever mask came with the input."""
        return torch.ne(inputs, self.mask_value).any(-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        return input_shape
