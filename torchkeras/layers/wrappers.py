"""Wrapper and TimeDistributed: layers around a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras import eras, registry, tree
from torchkeras.layers.base import Layer
from torchkeras.layers.core import TorchModuleWrapper
from torchkeras.layers.lambda_layer import Lambda
from torchkeras.layers.normalization import BatchNormalization
from torchkeras.layers.spectral_normalization import SpectralNormalization
from torchkeras.layers.structures import is_shape, map_shapes
from torchkeras.registry import register

Shape = tuple[int | None, ...]


@register("layer")
class Wrapper(Layer):
    """Base of layers around one other layer.

    Args:
        layer: the layer inside.
        kwargs: the arguments of :class:`Layer`.

    Raises:
        ValueError: when ``layer`` is none.
    """

    def __init__(self, layer: Layer, **kwargs: Any):
        if not isinstance(layer, Layer):
            raise ValueError(
                f"{type(self).__name__}: `layer` must be a layer; received {layer!r} of type "
                f"{type(layer).__name__}."
            )
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape: Any = None) -> None:
        """Build the layer inside."""
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Wrapper:
        """Make a wrapper from what :meth:`get_config` returned.

        Args:
            config: the arguments of the constructor, the layer as a config.
            custom_objects: classes of the user's, by name.
        """
        layer = registry.deserialize("layer", config["layer"], custom_objects)
        return cls(**{**config, "layer": layer})


@register("layer")
class TimeDistributed(Wrapper):
    """Applies a layer to each step of sequences, with the same weights.

    The steps of all samples go through the layer as one batch, unless it has something to do with
    the batch as a whole (batch normalization in training, states that are kept) or is the user's
    own: then they go one after the other.

    Args:
        layer: takes what lies at a step, ``(batch, …)``.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, steps, …)``, output ``(batch, steps, …)``, what the layer makes of a step.

    Raises:
        ValueError: when ``layer`` is none, for inputs of rank below 3, and masks that do not begin
            with batch and steps.
    """

    supports_masking = True

    def _step_shape(self, input_shape: Any) -> Shape:
        """Return the shape of a step of all samples."""
        if not is_shape(input_shape) or len(input_shape) < 3:
            raise ValueError(
                f"Layer {self.name!r} expected an input with at least 3 dimensions, (batch, steps, "
                f"…), but received shape {input_shape}."
            )
        return (input_shape[0], *input_shape[2:])

    def build(self, input_shape: Any) -> None:
        """Build the layer inside for a step."""
        super().build(self._step_shape(input_shape))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of what the layer inside makes of a step, the steps behind the batch."""
        inside = self.layer.compute_output_shape(self._step_shape(input_shape))
        return map_shapes(lambda shape: (shape[0], input_shape[1], *shape[1:]), inside)

    def _has_closed_form(self) -> bool:
        return self.layer._has_closed_form()

    def _output_dtype(self, inputs: Any) -> str:
        return self.layer._output_dtype(inputs)

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Any:
        """Apply the layer.

        Args:
            inputs: ``(batch, steps, …)``.
            mask: ``(batch, steps, …)``; what lies at a step is given to a layer that takes it.
        """
        self._step_shape(inputs.shape)
        if mask is not None and (mask.dim() < 2 or mask.shape[:2] != inputs.shape[:2]):
            raise ValueError(
                f"Layer {self.name!r}: the mask of shape {tuple(mask.shape)} is incompatible with "
                f"the input of shape {tuple(inputs.shape)}: it must be at least 2D and begin with "
                "its batch and steps."
            )
        inner = mask if self._gives_mask(inputs, mask) else None
        if _works_on_batches(self.layer):
            steps = [
                self._inside(part, None if inner is None else inner[:, step])
                for step, part in enumerate(inputs.unbind(1))
            ]
            return tree.map_structure(lambda *parts: torch.stack(parts, 1), *steps)
        outputs = self._inside(inputs.flatten(0, 1), None if inner is None else inner.flatten(0, 1))
        size = tuple(inputs.shape[:2])  # both, since there may be no sample
        return tree.map_structure(lambda one: one.unflatten(0, size), outputs)

    def _gives_mask(self, inputs: Tensor, mask: Tensor | None) -> bool:
        """Tell whether a mask says something of a step's inside that the layer can use."""
        takes = mask is not None and "mask" in self.layer._call_arguments
        return takes and (mask.dim() > 2 or inputs.dim() == 3)

    def _inside(self, inputs: Tensor, mask: Tensor | None) -> Any:
        return self.layer(inputs) if mask is None else self.layer(inputs, mask=mask)

    def compute_mask(self, inputs: Any, previous_mask: Tensor | None = None) -> Tensor | None:
        """Return the mask of the outputs: the inputs'; in Keras 2 what the layer makes of it."""
        if not eras.value("time_distributed.inner_masks"):
            return previous_mask
        inner = None if previous_mask is None else previous_mask.flatten(0, 1)
        made = self.layer.compute_mask(inputs.flatten(0, 1), inner)
        if made is not None:
            return made.unflatten(0, (-1, inputs.shape[1]))
        return previous_mask if previous_mask is None else previous_mask.flatten(2).any(2)


def _works_on_batches(layer: Layer) -> bool:
    """Tell whether a layer may treat the samples of a batch together, or counts its calls."""
    return any(_is_coupling(part) for part in layer.modules() if isinstance(part, Layer))


def _is_coupling(layer: Layer) -> bool:
    if isinstance(layer, (Lambda, TorchModuleWrapper)) or not registry.is_own(type(layer)):
        return True
    if isinstance(layer, (BatchNormalization, SpectralNormalization)):
        return layer.training and layer.trainable
    operations: Sequence[Any] = layer.operations if getattr(layer, "_graph", None) else ()
    others = any(not isinstance(one, Layer) for one in operations)
    return others or bool(getattr(layer, "stateful", False))
