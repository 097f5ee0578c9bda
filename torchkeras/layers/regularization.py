"""Layers that keep a model from fitting too closely, and pass their input on in inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from torchkeras import random, regularizers
from torchkeras.layers import arguments
from torchkeras.layers.base import Layer
from torchkeras.registry import register


@register("layer")
class Dropout(Layer):
    """Sets a part of its input to zero in training and scales the rest by ``1 / (1 - rate)``.

    Args:
        rate: the part that is dropped, from 0 to 1.
        noise_shape: shape of the mask, 1 where an axis shares it, ``None`` where the input's own
            size holds.
        seed: makes the layer draw from a generator of its own; torch's global one otherwise.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``.

    Raises:
        ValueError: when the rate is no number from 0 to 1.
    """

    supports_masking = True

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.rate = arguments.between("Dropout", "rate", rate, 0, 1)
        if noise_shape is not None:
            noise_shape = arguments.shape("Dropout", "noise_shape", noise_shape)
        self.noise_shape = noise_shape
        self.seed = seed
        self.dropout = nn.Dropout(float(rate))
        self._generator: torch.Generator | None = None
        self._needs_no_build()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "rate" and "dropout" in self._modules:  # changed later: torch's follows
            self.dropout.p = float(value)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Drop in training."""
        if self.seed is None and self.noise_shape is None:
            return self.dropout(inputs)
        if not self.training or self.rate == 0:
            return inputs
        if self.rate == 1:
            return torch.zeros_like(inputs)
        shape = inputs.shape
        if self.noise_shape is not None:
            sizes = zip(self.noise_shape, inputs.shape, strict=True)
            shape = [size if given is None else given for given, size in sizes]
        if self.seed is not None and (
            self._generator is None or self._generator.device != inputs.device
        ):
            self._generator = random.generator(self.seed, inputs.device)
        mask = torch.empty(shape, dtype=inputs.dtype, device=inputs.device)
        mask.bernoulli_(1 - self.rate, generator=self._generator)
        return inputs * mask / (1 - self.rate)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        return input_shape


@register("layer")
class ActivityRegularization(Layer):
    """Returns its input, and adds a penalty on it to the loss.

    The penalty is ``l1 * sum(|x|) + l2 * sum(x²)``, divided by the batch size.

    Args:
        l1: weight of the absolute values.
        l2: weight of the squares.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``.
    """

    supports_masking = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any):
        super().__init__(activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **kwargs)
        self.l1 = l1
        self.l2 = l2
        self._needs_no_build()

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the input."""
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        config = super().get_config()
        del config["activity_regularizer"]  # which l1 and l2 say
        return config
