"""Layers that add noise to their input, or multiply by it, in training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from torchkeras.layers import arguments
from torchkeras.layers.base import Layer
from torchkeras.registry import register
from torchkeras.seeds import SeedGenerator, source

# What selu comes to far below 0.
_SELU_LIMIT = -1.6732632423543772 * 1.0507009873554805


class _Noise(Layer):
    """Base of what adds noise to its input, or multiplies by it, in training.

    Args:
        amount: of the noise; nothing is drawn for 0.
        seed: an integer, by which the layer draws numbers of its own; torch's global generator
            gives them otherwise.
        kwargs: the arguments of :class:`Layer`.
    """

    float_inputs = True
    supports_masking = True

    def __init__(self, amount: float, seed: int | None, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed = seed
        if amount > 0:
            self.seed_generator = SeedGenerator(seed)
        self._needs_no_build()

    def _generator(self, inputs: torch.Tensor) -> torch.Generator | None:
        """Return where the next draw comes from; ``None`` for torch's own generator."""
        return source(None if self.seed is None else self.seed_generator, inputs.device)

    def _normal(self, inputs: torch.Tensor, mean: float, stddev: float) -> torch.Tensor:
        """Draw a normal number for each of the input's."""
        return torch.normal(
            mean,
            stddev,
            inputs.shape,
            generator=self._generator(inputs),
            dtype=inputs.dtype,
            device=inputs.device,
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        return input_shape


def _below_one(owner: str, rate: float) -> float:
    """Return a rate of noise that grows without bound towards 1.

    Raises:
        ValueError: when it is no number from 0 up to 1, which does not count.
    """
    if arguments.between(owner, "rate", rate, 0, 1) == 1:
        raise ValueError(f"{owner}: rate must be below 1, where the noise is infinite; received 1.")
    return rate


@register("layer")
class GaussianNoise(_Noise):
    """Adds normal noise of mean 0 in training.

    Args:
        stddev: the noise's standard deviation.
        seed: an integer, by which the layer draws numbers of its own.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``.

    Raises:
        ValueError: when ``stddev`` is no number from 0.
    """

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any):
        super().__init__(
            arguments.between("GaussianNoise", "stddev", stddev, 0, math.inf), seed, **kwargs
        )
        self.stddev = stddev

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Add noise in training."""
        if not self.training or self.stddev == 0:
            return inputs
        return inputs + self._normal(inputs, 0.0, self.stddev)


@register("layer")
class GaussianDropout(_Noise):
    """Multiplies by normal noise of mean 1 and variance ``rate / (1 - rate)`` in training.

    Args:
        rate: as of :class:`Dropout`, below 1.
        seed: an integer, by which the layer draws numbers of its own.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``.

    Raises:
        ValueError: when the rate is no number from 0 up to 1.

    Source: Srivastava et al. 2014, Journal of Machine Learning Research 15, section 10.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(_below_one("GaussianDropout", rate), seed, **kwargs)
        self.rate = rate

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply by noise in training."""
        if not self.training or self.rate == 0:
            return inputs
        return inputs * self._normal(inputs, 1.0, math.sqrt(self.rate / (1 - self.rate)))


@register("layer")
class AlphaDropout(_Noise):
    """Drops to the limit of ``selu`` in training, and keeps mean and variance.

    Args:
        rate: the part that is dropped, from 0 up to 1.
        noise_shape: shape of the choices, 1 where an axis shares them, ``None`` where the input's
            own size holds.
        seed: an integer, by which the layer draws numbers of its own.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``.

    Raises:
        ValueError: when the rate is no number from 0 up to 1.

    Source: Klambauer et al. 2017, arXiv:1706.02515.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(_below_one("AlphaDropout", rate), seed, **kwargs)
        self.rate = rate
        if noise_shape is not None:
            arguments.shape("AlphaDropout", "noise_shape", noise_shape)
        self.noise_shape = noise_shape

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Drop in training."""
        if not self.training or self.rate == 0:
            return inputs
        given = self.noise_shape or inputs.shape
        shape = [size if one is None else one for one, size in zip(given, inputs.shape)]
        drawn = torch.rand(shape, generator=self._generator(inputs), device=inputs.device)
        # What makes up for the mean and the variance that dropping takes away.
        scale = ((1 - self.rate) * (1 + self.rate * _SELU_LIMIT**2)) ** -0.5
        dropped = scale * (_SELU_LIMIT - self.rate * _SELU_LIMIT)
        kept = inputs * scale - scale * self.rate * _SELU_LIMIT
        return torch.where(drawn < self.rate, dropped, kept)
