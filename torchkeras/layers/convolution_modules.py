"""Torch's convolutions, and their subclasses for paddings that torch cannot express."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchkeras.ops.convolution import Cuts, convolve_cut, convolve_padded

PLAIN = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
PLAIN_TRANSPOSE = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def _with_two(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Return one number for each axis of space, of which there are two at least."""
    return (1, *numbers) if len(numbers) == 1 else numbers


def _flat(tensor: Tensor, is_flat: bool) -> Tensor:
    """Give a tensor of one axis of space a second one, of size 1, before it.

    Torch copies a sequence with its channels last before it convolves along one axis; such an image
    it reads as it is.
    """
    return tensor.unsqueeze(2) if is_flat else tensor


class _Padded:
    """What makes one of torch's convolutions pad as Keras does.

    Args:
        args: of torch's class.
        keras_padding: ``'valid'``, ``'same'``, which depends on the input's size and may add more
            behind than before, or ``'causal'``.
        kwargs: of torch's class.
    """

    def __init__(self, *args: Any, keras_padding: str, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.keras_padding = keras_padding
        self._settings = (
            _with_two(self.stride),
            keras_padding,
            _with_two(self.dilation),
            self.groups,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: ``(samples, channels, *space)``.

        Returns:
            ``(samples, filters, *space)``.
        """
        is_flat = len(self.stride) == 1
        weight = _flat(self.weight, is_flat)
        y = convolve_padded(_flat(x, is_flat), weight, self.bias, *self._settings)
        return y.squeeze(2) if is_flat else y

    def extra_repr(self) -> str:
        """Show the padding beside what torch shows."""
        return f"{super().extra_repr()}, keras_padding={self.keras_padding!r}"


class PaddedConv1d(_Padded, nn.Conv1d):
    """``nn.Conv1d`` with Keras' paddings, and without a copy where channels are last in memory."""


class PaddedConv2d(_Padded, nn.Conv2d):
    """``nn.Conv2d`` with Keras' paddings."""


class PaddedConv3d(_Padded, nn.Conv3d):
    """``nn.Conv3d`` with Keras' paddings."""


class _Cut:
    """What makes one of torch's transposed convolutions cut its output as Keras does.

    Args:
        args: of torch's class.
        cuts: what becomes of the whole output, of two axes at least.
        kwargs: of torch's class.
    """

    def __init__(self, *args: Any, cuts: Cuts, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.cuts = cuts
        self._settings = _with_two(self.stride), cuts, _with_two(self.dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve transposed.

        Args:
            x: ``(samples, channels, *space)``.

        Returns:
            ``(samples, filters, *space)``.
        """
        is_flat = len(self.stride) == 1
        weight = _flat(self.weight, is_flat)
        y = convolve_cut(_flat(x, is_flat), weight, self.bias, *self._settings)
        return y.squeeze(2) if is_flat else y

    def extra_repr(self) -> str:
        """Show the cuts beside what torch shows."""
        return f"{super().extra_repr()}, {self.cuts}"


class CutConvTranspose1d(_Cut, nn.ConvTranspose1d):
    """``nn.ConvTranspose1d`` with Keras' output sizes."""


class CutConvTranspose2d(_Cut, nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` with Keras' output sizes."""


class CutConvTranspose3d(_Cut, nn.ConvTranspose3d):
    """``nn.ConvTranspose3d`` with Keras' output sizes."""


PADDED = {1: PaddedConv1d, 2: PaddedConv2d, 3: PaddedConv3d}
CUT = {1: CutConvTranspose1d, 2: CutConvTranspose2d, 3: CutConvTranspose3d}


def kernel_to_keras(weight: Tensor) -> Tensor:
    """View ``(filters, channels, *kernel)`` as ``(*kernel, channels, filters)``."""
    return weight.movedim((0, 1), (-1, -2))


def kernel_to_torch(kernel: Tensor) -> Tensor:
    """View ``(*kernel, channels, filters)`` as ``(filters, channels, *kernel)``."""
    return kernel.movedim((-1, -2), (0, 1))


def depthwise_to_keras(multiplier: int, weight: Tensor) -> Tensor:
    """View ``(channels * multiplier, 1, *kernel)`` as ``(*kernel, channels, multiplier)``."""
    return weight.squeeze(1).unflatten(0, (-1, multiplier)).movedim((0, 1), (-2, -1))


def depthwise_to_torch(kernel: Tensor) -> Tensor:
    """Turn ``(*kernel, channels, multiplier)`` into ``(channels * multiplier, 1, *kernel)``."""
    return kernel_to_torch(kernel.flatten(-2).unsqueeze(-2))


def channels_first(x: Tensor) -> Tensor:
    """View ``(samples, *space, channels)`` as ``(samples, channels, *space)``."""
    return torch.movedim(x, -1, 1)


def channels_last(x: Tensor) -> Tensor:
    """View ``(samples, channels, *space)`` as ``(samples, *space, channels)``."""
    return torch.movedim(x, 1, -1)
