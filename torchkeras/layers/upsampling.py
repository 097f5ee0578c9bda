"""Layers that make space larger by whole factors: repeat or interpolate."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from torchkeras import eras, ops
from torchkeras.layers import arguments
from torchkeras.layers.spatial import Shape, Sizes, Spatial
from torchkeras.ops import spatial
from torchkeras.registry import register

# Keras' interpolations, with torch's names; torch has none of Lanczos.
_MODES = {"nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic"}
_MODES |= {"lanczos3": None, "lanczos5": None}
# Up to this factor torch's 'nearest' finds the pixel that a place lies in: it multiplies by a
# rounded reciprocal, which is too small for 41. 'nearest-exact' always does, but is slower.
_LARGEST_NEAREST = 40


class UpSampling(Spatial):
    """Base of the layers that make axes of space larger by whole factors."""

    interpolation: str = "nearest"
    _factors: tuple[int, ...]

    def _keep_factors(self, *factors: int) -> None:
        """Keep the factor of each axis of space, and make the torch module."""
        self._factors = factors
        mode = _MODES[self.interpolation]
        if mode == "nearest" and max(factors) > _LARGEST_NEAREST:
            mode = "nearest-exact"
        if mode is not None:
            # A sequence is an image of height 1 (see ops.spatial).
            scale = (1, *factors) if self.rank == 1 else factors
            self.upsample = nn.Upsample(scale_factor=scale, mode=mode)

    def call(self, inputs: Tensor) -> Tensor:
        """Make the axes of space larger."""
        larger = self._larger(spatial.to_torch(inputs, self._is_last))
        return spatial.from_torch(larger, self._is_last, self.rank)

    def _larger(self, x: Tensor) -> Tensor:
        """Make ``(samples, channels, *space)`` larger."""
        if x.is_floating_point() or self.interpolation != "nearest":
            return self.upsample(x)
        for axis, factor in enumerate(self.upsample.scale_factor, 2):  # torch's takes floats alone
            x = x.repeat_interleave(int(factor), axis)
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape, its axes of space as many times larger."""
        sizes = self._space(input_shape)
        space = [n if n is None else n * factor for n, factor in zip(sizes, self._factors)]
        return self._with_space(input_shape, space)


@register("layer")
class UpSampling1D(UpSampling):
    """Repeats each step of sequences.

    Args:
        size: how often.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, steps, channels)``, output ``(batch, steps * size, channels)``.

    Raises:
        TypeError: when ``size`` is no integer.
        ValueError: when it is not positive.
    """

    rank = 1

    def __init__(self, size: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(size, int) or isinstance(size, bool):
            raise TypeError(f"UpSampling1D: size must be an integer; received {size!r}.")
        self._keep_format("channels_last")
        self.size = arguments.positive("UpSampling1D", "size", size)
        self._keep_factors(self.size)


@register("layer")
class UpSampling2D(UpSampling):
    """Makes images larger.

    Args:
        size: factors of height and width: one number or two.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        interpolation: ``'nearest'``, which repeats pixels, ``'bilinear'``, ``'bicubic'``,
            ``'lanczos3'`` or ``'lanczos5'``.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, height, width, channels)``, output with height and width times ``size``;
        likewise with the channels behind the batch.

    Raises:
        ValueError: for factors that are not positive, an unknown layout or interpolation.
    """

    rank = 2

    def __init__(
        self,
        size: Sizes = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep_format(data_format)
        self.size = self._each("size", size)
        self.interpolation = str(interpolation).lower()
        if self.interpolation not in _MODES:
            raise ValueError(
                f"UpSampling2D: interpolation must be one of {', '.join(map(repr, _MODES))}; "
                f"received {interpolation!r}."
            )
        # Where a pixel lies: in earlier versions at its corner.
        self._half_pixels = eras.value("resize.half_pixels")
        self._keep_factors(*self.size)

    def _larger(self, x: Tensor) -> Tensor:
        if self.interpolation == "bilinear" and not self._half_pixels:
            return spatial.enlarged_from_corners(x, self.size, 2)
        if _MODES[self.interpolation] is not None and x.is_floating_point():
            return self.upsample(x)
        if self.interpolation == "nearest":
            return super()._larger(x)
        size = [n * factor for n, factor in zip(x.shape[2:], self.size)]
        return ops.image.resize(x, size, self.interpolation, data_format="channels_first")


@register("layer")
class UpSampling3D(UpSampling):
    """Repeats the elements of volumes.

    Args:
        size: how often along each axis: one number or three.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, depth, height, width, channels)``, output with depth, height and width times
        ``size``; likewise with the channels behind the batch.

    Raises:
        ValueError: for factors that are not positive, or an unknown layout.
    """

    rank = 3

    def __init__(self, size: Sizes = (2, 2, 2), data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._keep_format(data_format)
        self.size = self._each("size", size)
        self._keep_factors(*self.size)
