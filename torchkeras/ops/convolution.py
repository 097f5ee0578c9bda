"""Convolutions: ``keras.ops.conv`` and its relatives, and the arithmetic that layers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from torchkeras.ops import spatial
from torchkeras.ops.spatial import Sizes
from torchkeras.ops.table import Table

op = Table("nn", __name__)
__all__ = op.names


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Sizes = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
    groups: int | None = None,
    name: str = "conv",
) -> Tensor:
    """Convolve with a kernel as torch lays it out.

    Args:
        x: ``(samples, *space, channels)`` or ``(samples, channels, *space)``, one to three axes of
            space.
        weight: ``(filters, channels / groups, *kernel)``.
        bias: ``(filters,)``.
        strides: one number, or one for each axis of space.
        padding: ``'valid'``, ``'same'``, or, along one axis, ``'causal'``: no output sees what
            comes after it.
        data_format: of input and output; that of the configuration unless given.
        dilation_rate: one number, or one for each axis of space.
        groups: of channels that are convolved apart; as many as the shapes say unless given.
        name: of the function, for errors.

    Returns:
        ``(samples, *space, filters)`` or ``(samples, filters, *space)``, as the input is.

    Raises:
        ValueError: for ranks, channels, strides, dilations or paddings that do not fit.
    """
    is_last, rank = spatial.is_channels_last(data_format), spatial.spatial_rank(name, x)
    padding = spatial.check_padding(name, padding, *["causal"] * (rank == 1))
    strides = spatial.each(name, "strides", strides, rank)
    dilation = spatial.each(name, "dilation_rate", dilation_rate, rank)
    weight = _with_two_axes(name, weight, x)
    groups = _groups(name, x, is_last, weight.shape[1], groups)
    x = spatial.to_torch(x, is_last)
    y = convolve_padded(x, weight, bias, strides, padding, dilation, groups)
    return spatial.from_torch(y, is_last, rank)


def convolve_padded(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    strides: tuple[int, ...],
    padding: str,
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """Convolve as :func:`convolve`, all in torch's layout and nothing checked.

    Args:
        x: ``(samples, channels, *space)``, two or three axes of space.
        weight: ``(filters, channels / groups, *kernel)``.
        bias: ``(filters,)``.
        strides: one for each axis of space.
        padding: ``'valid'``, ``'same'`` or ``'causal'``.
        dilation: one for each axis of space.
        groups: of channels that are convolved apart.

    Returns:
        ``(samples, filters, *space)``.
    """
    windows = [(size - 1) * rate + 1 for size, rate in zip(weight.shape[2:], dilation)]
    if padding == "same":
        pads = list(map(spatial.same_padding, x.shape[2:], windows, strides))
    else:
        pads = [(window - 1 if padding == "causal" else 0, 0) for window in windows]
    before = [left for left, _ in pads]
    if any(left != right for left, right in pads):  # torch pads both sides alike
        x = functional.pad(x, [size for sides in reversed(pads) for size in sides])
        before = [0] * len(pads)
    convolution = torch.conv2d if len(strides) == 2 else torch.conv3d
    return convolution(x, weight, bias, strides, before, dilation, groups)


def convolve_transposed(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Sizes = 1,
    padding: str = "valid",
    output_padding: Sizes | None = None,
    data_format: str | None = None,
    dilation_rate: Sizes = 1,
    name: str = "conv_transpose",
) -> Tensor:
    """Convolve transposed (the gradient of a convolution) with a kernel as torch lays it out.

    Args:
        x: as for :func:`convolve`.
        weight: ``(channels, filters, *kernel)``.
        bias: ``(filters,)``.
        strides: one number, or one for each axis of space.
        padding: ``'valid'`` or ``'same'``; the latter gives ``size * stride`` outputs.
        output_padding: how much longer the output shall be than ``(size - 1) * stride + window``
            (``'valid'``) or ``(size - 1) * stride + window % 2`` (``'same'``); unless given,
            ``max(stride - window, 0)`` and what makes ``size * stride``.
        data_format: of input and output; that of the configuration unless given.
        dilation_rate: one number, or one for each axis of space.
        name: of the function, for errors.

    Returns:
        As of :func:`convolve`.

    Raises:
        ValueError: for ranks, channels, strides, dilations or paddings that do not fit.
    """
    is_last, rank = spatial.is_channels_last(data_format), spatial.spatial_rank(name, x)
    padding = spatial.check_padding(name, padding)
    strides = spatial.each(name, "strides", strides, rank)
    dilation = spatial.each(name, "dilation_rate", dilation_rate, rank)
    weight = _with_two_axes(name, weight, x)
    _groups(name, x, is_last, weight.shape[0], 1)
    wanted: tuple[int | None, ...] = (None,) * len(strides)
    if output_padding is not None:
        wanted = spatial.each(name, "output_padding", output_padding, rank, least=0)
    windows = [(size - 1) * rate + 1 for size, rate in zip(weight.shape[2:], dilation)]
    cuts = transposed_cuts(padding, windows, strides, wanted, dilation)
    x = spatial.to_torch(x, is_last)
    return spatial.from_torch(convolve_cut(x, weight, bias, strides, cuts, dilation), is_last, rank)


class Cuts(NamedTuple):
    """What a transposed convolution makes of its whole output, for each axis of space.

    Args:
        before: how much torch cuts on both sides.
        added: how much torch adds behind then.
        rest: what it cannot do: added behind afterwards, or cut where negative.
    """

    before: list[int]
    added: list[int]
    rest: list[int]


def transposed_cuts(
    padding: str,
    windows: Sequence[int],
    strides: Sequence[int],
    output_padding: Sequence[int | None],
    dilation: Sequence[int],
) -> Cuts:
    """Say what a transposed convolution makes of its whole output.

    Args:
        padding: ``'valid'`` or ``'same'``.
        windows: what the kernel covers of each axis, dilation included.
        strides: one for each axis of space.
        output_padding: one for each axis, see :func:`convolve_transposed`.
        dilation: one for each axis of space.
    """
    cuts = [_cut(padding, *axis) for axis in zip(windows, strides, output_padding)]
    # torch cuts as much behind as before, less what it adds behind, which it limits.
    before, added = [left for left, _ in cuts], [left - right for left, right in cuts]
    limits = map(max, strides, dilation)
    by_torch = [more if 0 <= more < limit else 0 for more, limit in zip(added, limits)]
    return Cuts(before, by_torch, [more - done for more, done in zip(added, by_torch)])


def convolve_cut(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    strides: tuple[int, ...],
    cuts: Cuts,
    dilation: tuple[int, ...],
) -> Tensor:
    """Convolve as :func:`convolve_transposed`, all in torch's layout and nothing checked.

    Args:
        x: ``(samples, channels, *space)``, two or three axes of space.
        weight: ``(channels, filters, *kernel)``.
        bias: ``(filters,)``.
        strides: one for each axis of space.
        cuts: what becomes of the whole output.
        dilation: one for each axis of space.

    Returns:
        ``(samples, filters, *space)``.
    """
    before, added, rest = cuts
    late = bias if max(rest) > 0 else None  # zeros that are added get the bias too
    settings = (weight, bias if late is None else None, strides, before, added, 1, dilation)
    convolution = torch.conv_transpose2d if len(strides) == 2 else torch.conv_transpose3d
    y = convolution(x, *settings)
    if any(rest):  # at the price of a copy of the output
        y = functional.pad(y, [size for more in reversed(rest) for size in (0, more)])
    return y if late is None else y + late.view(-1, *[1] * len(strides))


def _cut(padding: str, window: int, stride: int, wanted: int | None) -> tuple[int, int]:
    """Return how much of a transposed convolution's whole output goes before and behind.

    Whole, it has ``(size - 1) * stride + window`` elements; a negative number adds to them.
    """
    if padding == "valid":
        return 0, -(max(stride - window, 0) if wanted is None else wanted)
    total = window - stride if wanted is None else window - window % 2 - wanted
    before = max(0, total // 2)
    return before, total - before


def _with_two_axes(name: str, weight: Tensor, x: Tensor) -> Tensor:
    """Return a kernel in torch's layout for an input of which a single axis becomes two."""
    if weight.ndim != x.ndim:
        raise ValueError(
            f"ops.{name}: the kernel must have as many dimensions as the input; received "
            f"{weight.ndim} for an input of shape {tuple(x.shape)}."
        )
    return weight.unsqueeze(2) if weight.ndim == 3 else weight


def _groups(name: str, x: Tensor, is_last: bool, taken: int, groups: int | None) -> int:
    """Return how many groups of channels there are, each as large as a kernel takes."""
    channels = x.shape[-1 if is_last else 1]
    found = channels // taken if groups is None else groups
    if channels != found * taken:
        raise ValueError(
            f"ops.{name}: the input of shape {tuple(x.shape)} has {channels} channels "
            f"({'last' if is_last else 'first'}); the kernel takes {taken * (groups or 1)}"
            f"{' or a multiple of them' if groups is None else ''}."
        )
    return found


def _to_torch(kernel: Tensor) -> Tensor:
    """Bring the last two axes of a Keras kernel to the front, in reverse."""
    return kernel.movedim((-1, -2), (0, 1))


def _conv(inputs: Tensor, kernel: Tensor, *settings: Any) -> Tensor:
    """Convolve along one, two or three axes; see :func:`convolve`.

    Args:
        inputs: ``(samples, *space, channels)``, or ``(samples, channels, *space)`` where
            ``data_format`` is ``'channels_first'``.
        kernel: ``(*kernel, channels / groups, filters)``; how many groups there are follows.
        settings: strides, padding, data_format, dilation_rate.

    Returns:
        ``(samples, *space, filters)`` or ``(samples, filters, *space)``.
    """
    return convolve(inputs, _to_torch(kernel), None, *settings)


def _depthwise(inputs: Tensor, kernel: Tensor, *settings: Any) -> Tensor:
    """Convolve each channel by itself.

    Args:
        inputs: as for :func:`conv`.
        kernel: ``(*kernel, channels, multiplier)``.
        settings: strides, padding, data_format, dilation_rate.

    Returns:
        As of :func:`conv`, with ``channels * multiplier`` filters.
    """
    weight = _to_torch(kernel.flatten(-2).unsqueeze(-2))
    return convolve(inputs, weight, None, *settings, kernel.shape[-2], "depthwise_conv")


def _separable(
    inputs: Tensor, depthwise_kernel: Tensor, pointwise_kernel: Tensor, *settings: Any
) -> Tensor:
    """Convolve each channel by itself, then mix the channels.

    Args:
        inputs: as for :func:`conv`.
        depthwise_kernel: ``(*kernel, channels, multiplier)``.
        pointwise_kernel: ``(*[1], channels * multiplier, filters)``.
        settings: of the first convolution: strides, padding, data_format, dilation_rate.

    Returns:
        As of :func:`conv`.
    """
    y, layout = _depthwise(inputs, depthwise_kernel, *settings), settings[2]
    weight = _to_torch(pointwise_kernel)
    return convolve(y, weight, None, 1, "valid", layout, groups=1, name="separable_conv")


def _transposed(inputs: Tensor, kernel: Tensor, *settings: Any) -> Tensor:
    """Convolve transposed along one, two or three axes: the gradient of a convolution.

    Args:
        inputs: as for :func:`conv`.
        kernel: ``(*kernel, filters, channels)``.
        settings: strides, padding, output_padding, data_format, dilation_rate; see
            :func:`convolve_transposed`.

    Returns:
        As of :func:`conv`.
    """
    return convolve_transposed(inputs, _to_torch(kernel), None, *settings)


_SETTINGS = "strides=1, padding='valid', data_format=None, dilation_rate=1"
_ADDED = _SETTINGS.replace("data", "output_padding=None, data")
op.rows(
    (f"conv(inputs, kernel, {_SETTINGS})", _conv, _conv.__doc__),
    (f"depthwise_conv(inputs, kernel, {_SETTINGS})", _depthwise, _depthwise.__doc__),
    (f"conv_transpose(inputs, kernel, {_ADDED})", _transposed, _transposed.__doc__),
    (
        f"separable_conv(inputs, depthwise_kernel, pointwise_kernel, {_SETTINGS})",
        _separable,
        _separable.__doc__,
    ),
)
