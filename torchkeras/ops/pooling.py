"""Poolings, and the other ways of moving between space and channels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from torchkeras.ops import spatial
from torchkeras.ops.spatial import Sizes
from torchkeras.ops.table import Table

op = Table("nn", __name__)
__all__ = op.names


def _pool(
    name: str,
    poolings: tuple[Callable, Callable],
    x: Tensor,
    pool_size: Sizes,
    strides: Sizes | None,
    padding: str,
    data_format: str | None,
) -> Tensor:
    """Pool with torch's function for two axes of space, or that for three.

    Args:
        name: of Keras' function.
        poolings: torch's functions.
        x: ``(samples, *space, channels)`` or ``(samples, channels, *space)``.
        pool_size: one number, or one for each axis of space.
        strides: likewise; ``pool_size`` where ``None``.
        padding: ``'valid'`` or ``'same'``.
        data_format: the configuration's where ``None``.
    """
    is_last, rank = spatial.is_channels_last(data_format), spatial.spatial_rank(name, x)
    size = spatial.each(name, "pool_size", pool_size, rank)
    strides = size if strides is None else spatial.each(name, "strides", strides, rank)
    x, pads = spatial.to_torch(x, is_last), [(0, 0)] * len(size)
    if spatial.check_padding(name, padding) == "same":
        pads = list(map(spatial.same_padding, x.shape[2:], size, strides))
    # torch pads both sides alike. One more behind: its last window may reach over the edge
    # (ceil_mode), but at a stride of 1 there is no window too many, so a first one is dropped.
    odd = [right > left for left, right in pads]
    early = [is_odd and stride == 1 for is_odd, stride in zip(odd, strides)]
    before = [left + more for (left, _), more in zip(pads, early)]
    y = poolings[len(size) - 2](x, size, strides, before, ceil_mode=any(odd))
    for axis, is_early in enumerate(early, 2):
        y = y.narrow(axis, 1, y.shape[axis] - 1) if is_early else y
    return spatial.from_torch(y, is_last, rank)


def _adaptive(
    name: str,
    poolings: tuple[Callable, Callable],
    x: Tensor,
    output_size: Sizes,
    data_format: str | None,
) -> Tensor:
    """Pool to a size: one number, or one for each axis of space; as :func:`_pool` otherwise."""
    is_last, rank = spatial.is_channels_last(data_format), spatial.spatial_rank(name, x)
    size = spatial.each(name, "output_size", output_size, rank)
    y = poolings[len(size) - 2](spatial.to_torch(x, is_last), size)
    return spatial.from_torch(y, is_last, rank)


def _blocks(name: str, x: Tensor, size: int, data_format: str | None) -> Tensor:
    """Spread groups of channels over squares of pixels, or gather these.

    Args:
        name: of Keras' function.
        x: ``(samples, height, width, channels)``, or with the channels behind the samples.
        size: of a square's side, 2 or more. With the channels last they are counted square by
            square, with the channels first, channel by channel.
        data_format: the configuration's where ``None``.

    Raises:
        ValueError: for another rank, a smaller block, or channels or sizes that it does not divide.
    """
    if x.ndim != 4 or size < 2:
        raise ValueError(
            f"ops.{name} takes 4 dimensions and a block_size of at least 2; received shape "
            f"{tuple(x.shape)} and {size!r}."
        )
    is_last, is_spread = spatial.is_channels_last(data_format), name == "depth_to_space"
    if not is_last:
        return (functional.pixel_shuffle if is_spread else functional.pixel_unshuffle)(x, size)
    if is_spread:
        return x.unflatten(3, (size, size, -1)).transpose(2, 3).flatten(1, 2).flatten(2, 3)
    return x.unflatten(2, (-1, size)).unflatten(1, (-1, size)).transpose(2, 3).flatten(3)


_MAX = torch.max_pool2d, torch.max_pool3d
_AVERAGE = tuple(  # what is beyond the edge counts for nothing
    partial(pooling, count_include_pad=False)
    for pooling in (functional.avg_pool2d, functional.avg_pool3d)
)
_ADAPTIVE_MAX = functional.adaptive_max_pool2d, functional.adaptive_max_pool3d
_ADAPTIVE_AVERAGE = functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d
_POOL = "pool_size, strides=None, padding='valid', data_format=None"
_PATCHES = "kernel_size, dilation=1, padding=0, stride=1"

for name, poolings, sentence in (
    ("max_pool", _MAX, "Return the largest element of each window, over 1 to 3 axes of space."),
    ("average_pool", _AVERAGE, "Return the mean of each window, without what is padded."),
):
    op.rows(
        (f"{name}(inputs, {_POOL})", partial(_pool, name, poolings), sentence), tensors="inputs"
    )
for name, poolings, sentence in (
    ("adaptive_max_pool", _ADAPTIVE_MAX, "Return the largest elements of so many windows."),
    ("adaptive_average_pool", _ADAPTIVE_AVERAGE, "Return the means of so many windows."),
):
    head = f"{name}(inputs, output_size, data_format=None)"
    op.rows((head, partial(_adaptive, name, poolings), sentence), tensors="inputs")
for name, sentence in (
    ("depth_to_space", "Spread groups of channels over squares of pixels."),
    ("space_to_depth", "Gather squares of pixels as channels: undoes depth_to_space."),
):
    head = f"{name}(x, block_size, data_format='channels_last')"
    op.rows((head, partial(_blocks, name), sentence), tensors="x")
op.rows(
    (
        f"unfold(x, {_PATCHES})",
        functional.unfold,
        "Return the patches of images, (N, C, H, W) to (N, C * kernel height * width, patches).",
    ),
    (
        f"fold(x, output_size, {_PATCHES})",
        functional.fold,
        "Add patches up to images of a size: (N, C * kernel height * width, patches) to (N, C, *).",
    ),
    tensors="x",
)
