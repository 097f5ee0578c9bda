"""Images in other colours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchkeras import dtypes
from torchkeras.ops.image_batches import batched, check, check_rank
from torchkeras.ops.spatial import is_channels_last
from torchkeras.ops.table import Table

op = Table("image", __name__, is_public=False)
__all__ = op.names


def _gray(images: Any, data_format: str | None = None) -> tuple[list, Any]:
    """Check what ``rgb_to_grayscale`` is given; return shape and dtype of what comes out."""
    check_rank(images)
    shape, axis = list(images.shape), -1 if is_channels_last(data_format) else -3
    expected = "3 (RGB) or 1 (Grayscale)"
    check(shape[axis] in (1, 3, None), "channel size", expected, images=images)
    shape[axis] = 1
    return shape, images.dtype


def _colored(images: Any, data_format: str | None = None) -> tuple[tuple, Any]:
    """Check that images are floats of three channels; return their shape and dtype."""
    check_rank(images)
    dtype = dtypes.name_of(images.dtype)
    check("float" in dtype, "images dtype", "float dtype", dtype=dtype)
    channels = images.shape[-1 if is_channels_last(data_format) else -3]
    if channels not in (3, None):
        raise ValueError(
            f"Input images must have 3 channels, but received images with {channels} channels."
        )
    return images.shape, images.dtype


@op.own(keras="RGBToGrayscale", spec=_gray)
def rgb_to_grayscale(images: Tensor, data_format: str | None = None) -> Tensor:
    """Return the brightness of images as their one channel: 0.2989 R + 0.587 G + 0.114 B.

    Args:
        images: of 3 channels, or of 1, which is returned. Integers are rounded towards 0.
        data_format: where the channels are.
    """
    _gray(images, data_format)
    x, back = batched(images, data_format)
    if x.shape[1] == 1:
        return images
    red, green, blue = x.unbind(1)
    return back((0.2989 * red + 0.587 * green + 0.114 * blue).to(x.dtype)[:, None])


@op.own(keras="RGBToHSV", spec=_colored)
def rgb_to_hsv(images: Tensor, data_format: str | None = None) -> Tensor:
    """Turn red, green and blue into hue, saturation and value, all from 0 to 1.

    Args:
        images: floats from 0 to 1, of 3 channels.
        data_format: where the channels are.
    """
    _colored(images, data_format)
    x, back = batched(images, data_format)
    x = torch.where(x.abs() < torch.finfo(x.dtype).eps, 0.0, x)
    red, green, blue = x.unbind(1)
    value = x.amax(1)
    spread = value - x.amin(1)
    saturation = torch.where(value > 0, spread / torch.where(value > 0, value, 1.0), 0.0)
    sixth = 1 / (6 * torch.where(spread > 0, spread, 1.0))
    hue = torch.where(value == green, sixth * (blue - red) + 2 / 6, sixth * (red - green) + 4 / 6)
    hue = torch.where(value == red, sixth * (green - blue), hue)
    hue = torch.where(spread > 0, hue, 0.0) + (hue < 0)
    return back(torch.stack([hue, saturation, value], 1))


@op.own(keras="HSVToRGB", spec=_colored)
def hsv_to_rgb(images: Tensor, data_format: str | None = None) -> Tensor:
    """Turn hue, saturation and value into red, green and blue, all from 0 to 1.

    Args:
        images: floats from 0 to 1, of 3 channels.
        data_format: where the channels are.
    """
    _colored(images, data_format)
    x, back = batched(images, data_format)
    hue, saturation, value = x.unbind(1)
    turn = hue.remainder(1.0) * 6
    pure = ((turn - 3).abs() - 1, 2 - (turn - 2).abs(), 2 - (turn - 4).abs())
    planes = [value * (1 - saturation + saturation * one.clamp(0, 1)) for one in pure]
    return back(torch.stack(planes, 1))
