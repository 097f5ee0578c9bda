"""Layers that keep a model from fitting too closely, and pass their input on in inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from torchkeras import config, random, regularizers
from torchkeras.layers import arguments
from torchkeras.layers.base import Layer
from torchkeras.layers.spec import InputSpec
from torchkeras.registry import register
from torchkeras.seeds import SeedGenerator


@register("layer")
class Dropout(Layer):
    """Sets a part of its input to zero in training and scales the rest by ``1 / (1 - rate)``.

    Args:
        rate: the part that is dropped, from 0 to 1.
        noise_shape: shape of the mask, 1 where an axis shares it, ``None`` where the input's own
            size holds.
        seed: an integer, by which the layer draws numbers of its own; torch's global generator
            gives them otherwise.
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
        if rate > 0 or seed is not None:
            self.seed_generator = SeedGenerator(seed)
        self._needs_no_build()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "rate" and "dropout" in self._modules:  # changed later: torch's follows
            self.dropout.p = float(value)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Drop in training."""
        if self.seed is None and self.noise_shape is None:
            return self.dropout(inputs)
        if not self.training:
            return inputs
        return random.dropout(inputs, self.rate, self.noise_shape, seed=self.seed_generator)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        return input_shape


class _SpatialDropout(Dropout):
    """Base of what drops whole channels; a subclass says of which rank its inputs are.

    Args:
        rate: the part that is dropped, from 0 to 1.
        seed: an integer, by which the layer draws numbers of its own; torch's global generator
            gives them otherwise.
        kwargs: the arguments of :class:`Layer`.
    """

    # Rank of the input, and the torch module that drops the channels of axis 1.
    _rank: int
    _module: type[nn.Module]
    data_format = "channels_last"

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(rate, seed=seed, **kwargs)
        self.dropout = self._module(float(rate))
        self.input_spec = InputSpec(ndim=self._rank)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Drop channels in training."""
        is_last = self.data_format == "channels_last"
        if self.seed is None:
            if not is_last:
                return self.dropout(inputs)
            return self.dropout(inputs.movedim(-1, 1)).movedim(1, -1) if self.training else inputs
        if not self.training:
            return inputs
        ones = (1,) * (self._rank - 2)
        shape = (None, *ones, None) if is_last else (None, None, *ones)
        return random.dropout(inputs, self.rate, shape, seed=self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {"rate": self.rate, "seed": self.seed, "name": self.name, "dtype": self.dtype}


@register("layer")
class SpatialDropout1D(_SpatialDropout):
    """Sets whole channels of sequences to zero in training, and scales the others.

    Args:
        rate: the part that is dropped, from 0 to 1.
        seed: an integer, by which the layer draws numbers of its own.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, steps, channels)``.
    """

    _rank = 3
    _module = nn.Dropout1d

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(rate, seed, **kwargs)


class _SpatialDropoutOfImages(_SpatialDropout):
    """Base of the layers whose channels may lie at either end.

    Args:
        rate: the part that is dropped, from 0 to 1.
        data_format: ``'channels_last'`` or ``'channels_first'``; the default of ``config`` unless
            given.
        seed: an integer, by which the layer draws numbers of its own.
        kwargs: the arguments of :class:`Layer`.
    """

    def __init__(
        self, rate: float, data_format: str | None = None, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(rate, seed=seed, **kwargs)
        self.data_format = data_format or config.image_data_format()
        if self.data_format not in ("channels_last", "channels_first"):
            raise ValueError(
                f"{type(self).__name__}: data_format must be 'channels_last' or 'channels_first'; "
                f"received {data_format!r}."
            )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "data_format": self.data_format}


@register("layer")
class SpatialDropout2D(_SpatialDropoutOfImages):
    """Sets whole channels of images to zero in training, and scales the others.

    Args:
        rate: the part that is dropped, from 0 to 1.
        data_format: ``'channels_last'`` or ``'channels_first'``; the default of ``config`` unless
            given.
        seed: an integer, by which the layer draws numbers of its own.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, rows, columns, channels)``, or the channels second.
    """

    _rank = 4
    _module = nn.Dropout2d

    def __init__(
        self, rate: float, data_format: str | None = None, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(rate, data_format, seed, **kwargs)


@register("layer")
class SpatialDropout3D(_SpatialDropoutOfImages):
    """Sets whole channels of volumes to zero in training, and scales the others.

    Args:
        rate: the part that is dropped, from 0 to 1.
        data_format: ``'channels_last'`` or ``'channels_first'``; the default of ``config`` unless
            given.
        seed: an integer, by which the layer draws numbers of its own.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, planes, rows, columns, channels)``, or the channels second.
    """

    _rank = 5
    _module = nn.Dropout3d

    def __init__(
        self, rate: float, data_format: str | None = None, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(rate, data_format, seed, **kwargs)


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
        found = super().get_config()
        del found["activity_regularizer"]  # which l1 and l2 say
        return found
