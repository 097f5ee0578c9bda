"""Torch's poolings, and their subclasses for what torch cannot express."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from torchkeras.ops import pooling
from torchkeras.ops.spatial import from_torch, to_torch

# Of windows: by kind, then by how many axes of space there are.
PLAIN = {
    "max": {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d},
    "average": {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d},
}


class _Same:
    """What makes one of torch's poolings pad as Keras does.

    Args:
        args: of torch's class.
        keras_padding: ``'valid'``, or ``'same'``, which depends on the input's size and may add one
            more behind than before; what is added counts neither for the largest nor for the mean.
    """

    pool: Any

    def __init__(self, *args: Any, keras_padding: str):
        super().__init__(*args)
        self.keras_padding = keras_padding

    def forward(self, x: Tensor) -> Tensor:
        """Pool.

        Args:
            x: ``(samples, channels, *space)``.

        Returns:
            ``(samples, channels, *space)``.
        """
        return self.pool(x, self.kernel_size, self.stride, self.keras_padding, "channels_first")

    def extra_repr(self) -> str:
        """Show the padding beside what torch shows."""
        return f"{super().extra_repr()}, keras_padding={self.keras_padding!r}"


class SameMaxPool1d(_Same, nn.MaxPool1d):
    """``nn.MaxPool1d`` with Keras' paddings, and without a copy where channels are last."""

    pool = staticmethod(pooling.max_pool)


class SameMaxPool2d(_Same, nn.MaxPool2d):
    """``nn.MaxPool2d`` with Keras' paddings."""

    pool = staticmethod(pooling.max_pool)


class SameMaxPool3d(_Same, nn.MaxPool3d):
    """``nn.MaxPool3d`` with Keras' paddings."""

    pool = staticmethod(pooling.max_pool)


class SameAvgPool1d(_Same, nn.AvgPool1d):
    """``nn.AvgPool1d`` with Keras' paddings, and without a copy where channels are last."""

    pool = staticmethod(pooling.average_pool)


class SameAvgPool2d(_Same, nn.AvgPool2d):
    """``nn.AvgPool2d`` with Keras' paddings."""

    pool = staticmethod(pooling.average_pool)


class SameAvgPool3d(_Same, nn.AvgPool3d):
    """``nn.AvgPool3d`` with Keras' paddings."""

    pool = staticmethod(pooling.average_pool)


SAME = {
    "max": {1: SameMaxPool1d, 2: SameMaxPool2d, 3: SameMaxPool3d},
    "average": {1: SameAvgPool1d, 2: SameAvgPool2d, 3: SameAvgPool3d},
}


class _AsPlane:
    """What makes one of torch's adaptive poolings of sequences view them as images of height 1.

    Torch copies a sequence with its channels last; such an image it reads as it is.
    """

    plane: Any

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``(samples, channels, steps)``."""
        y = self.plane(to_torch(x, False), (1, *self.output_size))
        return from_torch(y, False, 1)


class PlaneAdaptiveMaxPool1d(_AsPlane, nn.AdaptiveMaxPool1d):
    """``nn.AdaptiveMaxPool1d`` without a copy where channels are last."""

    plane = staticmethod(nn.functional.adaptive_max_pool2d)


class PlaneAdaptiveAvgPool1d(_AsPlane, nn.AdaptiveAvgPool1d):
    """``nn.AdaptiveAvgPool1d`` without a copy where channels are last."""

    plane = staticmethod(nn.functional.adaptive_avg_pool2d)


ADAPTIVE = {
    "max": {1: PlaneAdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d},
    "average": {1: PlaneAdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d},
}
