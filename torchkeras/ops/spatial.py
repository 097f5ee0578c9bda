"""How convolutions and poolings see their input: channels first and at least two axes of space.

Nothing is copied on the way there and back. A contiguous tensor with its channels last is, with its
axes permuted, what torch calls the channels-last memory format, which its convolutions and poolings
read and write as it is; one axis of space becomes two, the first of size 1, because torch copies
such an input before it convolves along one axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor

from torchkeras import config

Sizes = int | Sequence[int]


def is_channels_last(data_format: str | None) -> bool:
    """Tell the layout of images.

    Args:
        data_format: ``'channels_last'``, ``'channels_first'``, or ``None`` for that of
            ``config.image_data_format()``.

    Raises:
        ValueError: for anything else.
    """
    given = config.image_data_format() if data_format is None else str(data_format).lower()
    if given not in ("channels_last", "channels_first"):
        raise ValueError(
            "data_format must be 'channels_last' or 'channels_first', or None for "
            f"config.image_data_format(); received {data_format!r}."
        )
    return given == "channels_last"


def spatial_rank(name: str, x: Tensor) -> int:
    """Return how many axes of space an input has, beside the samples and the channels.

    Raises:
        ValueError: when it is not 1, 2 or 3.
    """
    if not 3 <= x.ndim <= 5:
        raise ValueError(
            f"ops.{name}: the input must have 3, 4 or 5 dimensions (samples, channels, and 1 to 3 "
            f"of space); received shape {tuple(x.shape)}."
        )
    return x.ndim - 2


def each(name: str, argument: str, given: Sizes, rank: int, least: int = 1) -> tuple[int, ...]:
    """Return one number for each axis of space, two at least.

    Args:
        name: of the function, for errors.
        argument: what the numbers are, for errors.
        given: one number for all axes, or one for each.
        rank: how many axes the caller sees.
        least: the least that is allowed; also what the axis gets that was added to a single one.

    Raises:
        ValueError: for a number below the least, or not ``rank`` of them.
    """
    numbers = (given,) * rank if isinstance(given, Integral) else tuple(given)
    if len(numbers) != rank or any(number < least for number in numbers):
        raise ValueError(
            f"ops.{name}: {argument} must be a whole number of at least {least}, or {rank} of "
            f"them, one for each dimension of space; received {given!r}."
        )
    return (least, *numbers) if rank == 1 else numbers


def to_torch(x: Tensor, is_last: bool) -> Tensor:
    """Return a view ``(samples, channels, *space)`` with two or three axes of space.

    Args:
        x: ``(samples, *space, channels)`` where ``is_last``, else ``(samples, channels, *space)``.
        is_last: where the channels are.
    """
    if x.ndim == 3:
        x = x.unsqueeze(1 if is_last else 2)
    return x.movedim(-1, 1) if is_last else x


def from_torch(x: Tensor, is_last: bool, rank: int) -> Tensor:
    """Undo :func:`to_torch` on what came out.

    Args:
        x: ``(samples, channels, *space)``, two or three axes of space.
        is_last: where the channels shall be.
        rank: how many axes of space there shall be.
    """
    x = x.movedim(1, -1) if is_last else x
    return x.squeeze(1 if is_last else 2) if rank == 1 else x


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """Return what ``padding='same'`` adds before and behind an axis: the odd one goes behind.

    Args:
        size: of the axis.
        window: what a kernel or pool covers, dilation included.
        stride: its step; ``ceil(size / stride)`` outputs come out.
    """
    total = max(0, (-(-size // stride) - 1) * stride + window - size)
    return total // 2, total - total // 2


def check_padding(name: str, padding: str, *further: str) -> str:
    """Return the kind of padding in lower case.

    Args:
        name: of the function, for errors.
        padding: the kind.
        further: kinds that are known beside ``'valid'`` and ``'same'``.

    Raises:
        ValueError: for an unknown kind.
    """
    known = ("valid", "same", *further)
    if str(padding).lower() not in known:
        raise ValueError(
            f"ops.{name}: padding must be {' or '.join(map(repr, known))}; received {padding!r}."
        )
    return padding.lower()


def enlarged_from_corners(x: Tensor, factors: Sequence[int], first: int) -> Tensor:
    """Interpolate images to whole multiples of their sizes, a pixel being its first corner's value.

    Args:
        x: floats; the axes of space stand together.
        factors: how many times larger, one for each axis of space.
        first: the first of these axes.
    """
    for axis, factor in enumerate(factors, first):
        after = torch.cat([x.narrow(axis, 1, x.shape[axis] - 1), x.narrow(axis, -1, 1)], axis)
        part = torch.arange(factor, device=x.device, dtype=x.dtype).div(factor)
        part = part.repeat(x.shape[axis]).reshape(-1, *[1] * (x.dim() - axis - 1))
        x = torch.lerp(
            x.repeat_interleave(factor, axis), after.repeat_interleave(factor, axis), part
        )
    return x


def convolved_locally(
    x: Tensor, kernel: Tensor, sizes: Sequence[int], strides: Sequence[int], is_last: bool
) -> Tensor:
    """Multiply each window of images by a kernel of its own.

    Args:
        x: ``(samples, *space, channels)`` or ``(samples, channels, *space)``.
        kernel: ``(places, numbers of a window, filters)``, a window's numbers as x's axes go.
        sizes: of a window.
        strides: between windows.
        is_last: whether the channels come last.

    Returns:
        ``(samples, *places, filters)``.
    """
    rank = len(sizes)
    for axis, (size, stride) in enumerate(zip(sizes, strides), 1 if is_last else 2):
        x = x.unfold(axis, size, stride)
    x = x.movedim(rank + 1, -1) if is_last else x.movedim(1, rank + 1)
    windows = x.flatten(rank + 1).flatten(1, rank).transpose(0, 1)
    return torch.bmm(windows, kernel).transpose(0, 1).unflatten(1, x.shape[1 : rank + 1])
