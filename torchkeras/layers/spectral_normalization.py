"""A wrapper that divides a layer's kernel by its largest singular value."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from torchkeras import initializers, registry
from torchkeras.layers import arguments
from torchkeras.layers.base import Layer
from torchkeras.layers.spec import InputSpec
from torchkeras.registry import register
from torchkeras.variable import Variable


@register("layer")
class SpectralNormalization(Layer):
    """Divides a layer's kernel by its largest singular value at each call of training.

    That value is found by power iteration; one vector of it is kept from call to call.

    Args:
        layer: a layer with a ``kernel`` or ``embeddings``.
        power_iterations: how many steps of the iteration a call makes.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        those of the layer.

    Raises:
        ValueError: for what is no layer, has no such weight when it is built, or a number of steps
            that is not positive.

    Source: Miyato et al. 2018, arXiv:1802.05957.
    """

    config_without = ("layer",)

    def __init__(self, layer: Layer, power_iterations: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(layer, Layer):
            raise ValueError(f"SpectralNormalization wraps a layer; received {layer!r}.")
        self.layer = layer
        self.power_iterations = arguments.positive(
            "SpectralNormalization", "power_iterations", power_iterations
        )

    def build(self, input_shape: Any) -> None:
        """Build the layer, and draw the vector for its kernel."""
        if not self.layer.built:
            self.layer.build(input_shape)
        kernel = self._kernel()
        self.vector_u = self.add_weight(
            name="vector_u",
            shape=(1, kernel.shape[-1]),
            initializer=initializers.TruncatedNormal(stddev=0.02),
            trainable=False,
            dtype=kernel.dtype,
        )
        self.input_spec = InputSpec(min_ndim=1, axes={-1: input_shape[-1]})

    def _kernel(self) -> Any:
        for name in ("kernel", "embeddings"):
            found = getattr(self.layer, name, None)
            if found is not None:
                return found
        raise ValueError(
            f"SpectralNormalization: {type(self.layer).__name__} {self.layer.name!r} has neither a "
            "kernel nor embeddings."
        )

    def _own_variables(self, trainable: bool) -> list[Variable]:
        # As in Keras the kernel counts as the wrapper's, and is the first of its weights.
        own = super()._own_variables(trainable)
        return [self._kernel(), *own] if trainable and self.built else own

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalize the kernel in training, and call the layer."""
        if self.training:
            self._normalize()
        outputs = self.layer(inputs)
        return outputs.to(inputs.dtype) if inputs.is_floating_point() else outputs

    @torch.no_grad()
    def _normalize(self) -> None:
        """Write the kernel divided by its largest singular value; one of zeros stays."""
        kernel, vector_u = self._kernel(), self.vector_u.value
        matrix = kernel.value.reshape(-1, vector_u.shape[-1])
        for _ in range(self.power_iterations):
            vector_v = functional.normalize(vector_u @ matrix.t(), dim=-1)
            vector_u = functional.normalize(vector_v @ matrix, dim=-1)
        sigma = vector_v @ matrix @ vector_u.t()
        is_zero = (matrix == 0).all()
        self.vector_u.assign(torch.where(is_zero, self.vector_u.value, vector_u))
        kernel.assign(kernel.value / torch.where(is_zero, 1.0, sigma).squeeze())

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the layer's output shape."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "layer": registry.serialize(self.layer)}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> SpectralNormalization:
        """Make a layer from what :meth:`get_config` returned.

        Args:
            config: the dictionary.
            custom_objects: the user's layers by name.
        """
        layer = config["layer"]
        if isinstance(layer, dict):
            layer = registry.deserialize("layer", layer, custom_objects)
        return cls(**{**config, "layer": layer})
