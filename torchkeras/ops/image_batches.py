"""How the functions of images see them: batched, channels first, wide enough to compute with."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from torchkeras.ops.spatial import is_channels_last


def check(is_right: bool, what: str, expected: str, **received: Any) -> None:
    """Refuse what a function was given, unless it is right.

    Args:
        is_right: whether it is.
        what: is wrong if not.
        expected: what it should have been.
        received: name and value of the argument; of a tensor its shape is shown.

    Raises:
        ValueError: with all this.
    """
    if not is_right:
        shown = (
            f"{name}.shape={tuple(value.shape)}" if hasattr(value, "shape") else f"{name}={value!r}"
            for name, value in received.items()
        )
        raise ValueError(f"Invalid {what}: expected {expected}. Received: {', '.join(shown)}.")


def check_known(known: Collection[str], **setting: str) -> None:
    """Refuse a setting that is not known.

    Args:
        known: what is.
        setting: name and value.
    """
    is_known = all(value in known for value in setting.values())
    check(is_known, " and ".join(setting), f"one of {', '.join(known)}", **setting)


def check_rank(images: Any, space: int = 2, name: str = "images") -> None:
    """Refuse what is neither one image nor a batch of them.

    Args:
        images: anything that has a shape.
        space: how many axes of space there shall be.
        name: of the argument.
    """
    expected = f"rank {space + 1} (single image) or rank {space + 2} (batch of images)"
    check(len(images.shape) - space in (1, 2), f"{name} rank", expected, **{name: images})


def spatial_axes(data_format: str | None) -> tuple[int, int]:
    """Return the axes of height and width, counted from the end."""
    return (-3, -2) if is_channels_last(data_format) else (-2, -1)


def batched(
    images: Tensor, data_format: str | None, space: int = 2
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return images as a batch with the channels first, and what puts a result back.

    Args:
        images: ``(height, width, channels)``, or with the channels first; with the samples in
            front of these where there are several. Volumes have a depth before the height.
        data_format: where the channels are; as the configuration says unless given.
        space: how many axes of space there are.

    Returns:
        ``(samples, channels, height, width)``, a view; and a function that takes such a batch to
        the layout that was given.
    """
    check_rank(images, space)
    is_last, is_one = is_channels_last(data_format), images.ndim == space + 1

    def back(y: Tensor) -> Tensor:
        y = y.movedim(1, -1) if is_last else y
        return y[0] if is_one else y

    x = images[None] if is_one else images
    return x.movedim(-1, 1) if is_last else x, back


def wide(x: Tensor) -> Tensor:
    """Return a tensor as float32, unless it is float64."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def narrowed(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what was computed in floats in the dtype of the images: integers are rounded.

    Args:
        x: of any shape; what is beyond the dtype becomes its least or largest number.
        dtype: of the result.
    """
    if dtype.is_floating_point or dtype is torch.bool:
        return x.to(dtype)
    limits = torch.iinfo(dtype)
    return x.round().clamp(limits.min, limits.max).to(dtype)


def kept(images: Any, **_: Any) -> tuple[tuple, Any]:
    """Return shape and dtype of what comes out as the images went in."""
    check_rank(images)
    return images.shape, images.dtype
