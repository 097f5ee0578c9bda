"""Identity: a layer that does nothing."""

from __future__ import annotations

from typing import Any

from torchkeras.layers.base import Layer
from torchkeras.registry import register


@register("layer")
class Identity(Layer):
    """Returns its input.

    Args:
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``, or any structure of such tensors.
    """

    supports_masking = True

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._needs_no_build()

    def call(self, inputs: Any) -> Any:
        """Return the input."""
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        return input_shape
