"""Images blurred, searched for edges, and compared: convolutions along rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from torchkeras.ops.image_batches import batched, check, check_rank, kept, narrowed, wide
from torchkeras.ops.table import Table

op = Table("image", __name__, is_public=False)
__all__ = op.names


def gaussian(size: int, sigma: float | Tensor, like: Tensor) -> Tensor:
    """Return a bell curve that adds up to 1.

    Args:
        size: how many numbers.
        sigma: standard deviation, in pixels.
        like: gives dtype and device.
    """
    x = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    weights = torch.exp(-0.5 * (x / sigma) ** 2)
    return weights / weights.sum()


def filtered(x: Tensor, down: Tensor, across: Tensor, is_padded: bool = True) -> Tensor:
    """Correlate each channel with the outer product of two vectors.

    Args:
        x: ``(samples, channels, height, width)``.
        down: along the height.
        across: along the width.
        is_padded: whether zeros around the image keep its size.
    """
    flat = x.flatten(0, 1)[:, None]
    if is_padded:
        pads = [side for k in (across, down) for side in ((len(k) - 1) // 2, len(k) // 2)]
        flat = functional.pad(flat, pads)
    flat = torch.conv2d(flat, down.view(1, 1, -1, 1))
    return torch.conv2d(flat, across.view(1, 1, 1, -1))[:, 0].unflatten(0, x.shape[:2])


@op.own(spec=kept)
def gaussian_blur(
    images: Tensor,
    kernel_size: Sequence[int] = (3, 3),
    sigma: Sequence[float] | Tensor = (1.0, 1.0),
    data_format: str | None = None,
) -> Tensor:
    """Average each pixel with its neighbours, near ones more than far ones; zeros lie outside.

    Args:
        images: one or a batch; of any dtype, which the result has. Integers are rounded.
        kernel_size: how many pixels count, along the width and along the height. Keras'
            documentation has them the other way round; its backends have them so.
        sigma: standard deviations in pixels, likewise; a tensor of two is possible.
        data_format: where the channels are.
    """
    x, back = batched(images, data_format)
    x = wide(x)
    across, down = (gaussian(size, one, x) for size, one in zip(kernel_size, sigma, strict=True))
    return back(narrowed(filtered(x, down, across), images.dtype))


def _edges(images: Any, **_: Any) -> tuple[tuple, Any]:
    """Check that images are a batch; return shape and dtype of their edges."""
    check(len(images.shape) == 4, "images rank", "rank 4 (batch of images)", images=images)
    return (*images.shape, 2), images.dtype


@op.own(spec=_edges)
def sobel_edges(images: Tensor, data_format: str | None = None) -> Tensor:
    """Return how steeply images become brighter, downwards and to the right, by Sobel's filters.

    Args:
        images: a batch; zeros lie outside. Integers stay such, up to what their dtype can hold.
        data_format: where the channels are.

    Returns:
        The images' shape and a last axis of 2: along the height, along the width.
    """
    _edges(images)
    x, back = batched(images, data_format)
    x = wide(x)
    steps = torch.arange(-1, 2, dtype=x.dtype, device=x.device)  # -1 0 1
    smooth = 2 - steps.abs()  # 1 2 1
    pair = filtered(x, steps, smooth), filtered(x, smooth, steps)
    return torch.stack([back(narrowed(edges, images.dtype)) for edges in pair], -1)


def _similarity(image1: Any, image2: Any, **_: Any) -> tuple[tuple, Any]:
    """Check that both are images; return shape and dtype of one number each."""
    check_rank(image1, name="image1")
    check_rank(image2, name="image2")
    return tuple(image1.shape[:-3]), image1.dtype


@op.own(keras="SSIM", spec=_similarity)
def ssim(
    image1: Tensor,
    image2: Tensor,
    max_val: float = 1.0,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    data_format: str | None = None,
) -> Tensor:
    """Return how alike images are in structure: 1 where they are the same.

    Wang et al. (2004), "Image quality assessment: from error visibility to structural similarity".

    Args:
        image1: one or a batch.
        image2: likewise, of the same shape.
        max_val: the largest value that a pixel can have.
        filter_size: pixels in the window along each axis, at most the image's.
        filter_sigma: standard deviation of the weights in the window, in pixels.
        k1: keeps the means' quotient from 0/0.
        k2: keeps the variances' quotient from 0/0.
        data_format: where the channels are.

    Returns:
        A number for each image, of the dtype of ``image1``.
    """
    _similarity(image1, image2)
    (x, _), (y, _) = batched(image1, data_format), batched(image2, data_format)
    x, y = wide(x), wide(y)
    window = gaussian(filter_size, filter_sigma, x)

    def mean(z: Tensor) -> Tensor:
        return filtered(z, window, window, is_padded=False)

    mean_x, mean_y = mean(x), mean(y)
    c1, c2 = (k1 * max_val) ** 2, (k2 * max_val) ** 2
    both, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    covariance, variances = mean(x * y) - both, mean(x * x) + mean(y * y) - squares
    alike = (2 * both + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    found = alike.mean((1, 2, 3)).to(image1.dtype)
    return found[0] if image1.ndim == 3 else found
