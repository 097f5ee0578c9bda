"""Images and volumes cut into patches."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from torchkeras.ops.image_batches import batched
from torchkeras.ops.spatial import Sizes, check_padding, each, same_padding
from torchkeras.ops.table import Table

op = Table("image", __name__, is_public=False)
__all__ = op.names


@op.own
def extract_patches(
    images: Tensor,
    size: Sizes,
    strides: Sizes | None = None,
    dilation_rate: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Tensor:
    """Cut images, or volumes, into patches, each laid out as channels.

    Args:
        images: one or a batch; volumes where ``size`` has three numbers.
        size: of a patch: one number for images, two, or three.
        strides: from a patch to the next; ``size`` unless given.
        dilation_rate: from a pixel of a patch to the next.
        padding: ``'valid'``, or ``'same'``: zeros around, so that the patches are
            ``ceil(size of the image / stride)`` in number along each axis.
        data_format: where the channels are.

    Returns:
        As the images, with a patch's pixels (height, width, channel; the channel fastest) for
        channels and the patches for pixels.
    """
    if not isinstance(size, (int, tuple, list)):
        raise TypeError(f"Invalid size: Expected an int or a tuple. Received: size={size!r}.")
    rank = 2 if isinstance(size, int) else len(size)
    if rank not in (2, 3):
        raise ValueError(f"Invalid size: Expected a tuple of length 2 or 3. Received: size={size}.")
    x, back = batched(images, data_format, rank)
    size = each("extract_patches", "size", size, rank)
    strides = each("extract_patches", "strides", strides or size, rank)
    dilation = each("extract_patches", "dilation_rate", dilation_rate, rank)
    windows = [(number - 1) * step + 1 for number, step in zip(size, dilation)]
    if check_padding("extract_patches", padding) == "same":
        pads = map(same_padding, x.shape[2:], windows, strides)
        x = functional.pad(x, [side for pair in reversed(list(pads)) for side in pair])
    for axis, (window, stride, step) in enumerate(zip(windows, strides, dilation), 2):
        x = x.unfold(axis, window, stride)[..., ::step]
    return back(x.movedim(1, -1).flatten(rank + 1).movedim(-1, 1))


@op.plain
def extract_patches_3d(
    volumes: Any,
    size: Sizes,
    strides: Sizes | None = None,
    dilation_rate: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Cut volumes into patches: :func:`extract_patches`, whose one number means three.

    Args:
        volumes: one or a batch, ``(depth, height, width, channels)`` each.
        size: of a patch, along each axis.
        strides: from a patch to the next; ``size`` unless given.
        dilation_rate: from a voxel of a patch to the next.
        padding: ``'valid'`` or ``'same'``.
        data_format: where the channels are.
    """
    size = (size,) * 3 if isinstance(size, int) else size
    if len(size) != 3:
        raise TypeError(f"Invalid size: expected an int or a tuple of 3. Received: size={size!r}.")
    return extract_patches(volumes, size, strides, dilation_rate, padding, data_format)
