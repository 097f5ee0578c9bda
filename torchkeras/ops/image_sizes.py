"""Images made larger, smaller, wider and narrower."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from torchkeras.ops.image_batches import (
    batched,
    check_known,
    check_rank,
    narrowed,
    spatial_axes,
    wide,
)
from torchkeras.ops.spatial import is_channels_last
from torchkeras.ops.table import Table

op = Table("image", __name__, is_public=False)
__all__ = op.names

# Keras' interpolations, with torch's names; torch has none of Lanczos.
_MODES = {"nearest": "nearest-exact", "bilinear": "bilinear", "bicubic": "bicubic"}
_MODES |= {"lanczos3": None, "lanczos5": None}


def _resized(
    images: Any,
    size: Sequence[int],
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    data_format: str | None = None,
    **_: Any,
) -> tuple[list, Any]:
    """Check what ``resize`` is given; return shape and dtype of what comes out."""
    if len(size) != 2 or min(size) <= 0:
        raise ValueError(f"`size` must have positive height and width; received {size}.")
    check_rank(images)
    check_known(_MODES, interpolation=interpolation)
    check_known(["constant"], fill_mode=fill_mode)
    shape = list(images.shape)
    for axis, length in zip(spatial_axes(data_format), size):
        shape[axis] = length
    return shape, images.dtype


@op.own(spec=_resized)
def resize(
    images: Tensor,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Tensor:
    """Make images larger or smaller.

    Args:
        images: one or a batch. Integers are rounded.
        size: height and width of the result.
        interpolation: ``'nearest'``, ``'bilinear'``, ``'bicubic'``, ``'lanczos3'`` or
            ``'lanczos5'``.
        antialias: whether all pixels count where an image becomes smaller, and not only those
            nearest to a place; nothing to ``'nearest'``.
        crop_to_aspect_ratio: whether the largest middle part of the proportions of ``size`` is
            taken, so that nothing is distorted.
        pad_to_aspect_ratio: whether the image is first given a margin to have those proportions.
        fill_mode: what the margin is; only ``'constant'`` exists.
        fill_value: of the margin.
        data_format: where the channels are.
    """
    _resized(images, size, interpolation, fill_mode)
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("crop_to_aspect_ratio and pad_to_aspect_ratio cannot both be True.")
    x, back = batched(images, data_format)
    x = wide(x)
    given = x.shape[2:]
    # What the image's height and width would be, for the proportions of the result.
    fitting = int(given[1] * size[0] / size[1]), int(given[0] * size[1] / size[0])
    if crop_to_aspect_ratio:
        for axis, old, fit in zip((2, 3), given, fitting):
            length = max(min(old, fit), 1)
            x = x.narrow(axis, (old - length) // 2, length)
    elif pad_to_aspect_ratio:
        top, left = (max(fit - old, 0) // 2 for old, fit in zip(given, fitting))
        x = functional.pad(x, (left, left, top, top), value=fill_value)
    mode = _MODES[interpolation]
    if mode is None:
        how = [new / old for new, old in zip(size, x.shape[2:])], (0, 0)
        y = _interpolated(x, (2, 3), size, *how, method=interpolation, antialias=antialias)
    else:
        is_wide = antialias and interpolation != "nearest"
        y = functional.interpolate(x, tuple(size), mode=mode, antialias=is_wide)
    return back(narrowed(y, images.dtype))


def _triangle(x: Tensor) -> Tensor:
    return (1 - x).clamp(min=0)


def _keys(x: Tensor) -> Tensor:
    """Keys (1981), "Cubic convolution interpolation for digital image processing", a = -1/2."""
    near = ((1.5 * x - 2.5) * x) * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _lanczos(x: Tensor, radius: int) -> Tensor:
    """A sinc, windowed by a wider one (Duchon, 1979)."""
    return torch.where(x <= radius, torch.sinc(x) * torch.sinc(x / radius), 0.0)


# What a pixel counts by its distance, which is not negative.
_KERNELS = {
    **dict.fromkeys(("linear", "bilinear", "trilinear", "triangle"), _triangle),
    **dict.fromkeys(("cubic", "bicubic", "tricubic"), _keys),
    "lanczos3": lambda x: _lanczos(x, 3),
    "lanczos5": lambda x: _lanczos(x, 5),
}


def _interpolated(
    x: Tensor, axes: Sequence[int], sizes: Sequence[int], *how: Any, method: str, antialias: bool
) -> Tensor:
    """Sample floats anew along some axes.

    Args:
        x: of any shape.
        axes: along which.
        sizes: for each of these, how many samples there shall be.
        how: for each of these, by how much ``x`` is stretched; and by how much it is moved then.
        method: the kernel.
        antialias: whether the kernel is widened where an axis becomes shorter.
    """
    for axis, wanted, scale, translation in zip(axes, sizes, *how, strict=True):
        given, options = x.shape[axis], {"dtype": x.dtype, "device": x.device}
        inverse = torch.as_tensor(1 / scale, **options)
        centres = torch.arange(wanted, **options) + 0.5
        places = centres * inverse - translation * inverse - 0.5
        distance = (places - torch.arange(given, **options)[:, None]).abs()
        weights = _KERNELS[method](distance / inverse.clamp(min=1) if antialias else distance)
        total = weights.sum(0)
        is_sound = total.abs() > 1000 * torch.finfo(torch.float32).eps
        is_inside = (places >= -0.5) & (places <= given - 0.5)
        weights = torch.where(is_sound & is_inside, weights / torch.where(is_sound, total, 1), 0)
        x = (x.movedim(axis, -1) @ weights).movedim(-1, axis)
    return x


@op.own(inputs="output_shape", spec=lambda images, output_shape, **_: (output_shape, images.dtype))
def scale_and_translate(
    images: Tensor,
    output_shape: Sequence[int],
    scale: Tensor,
    translation: Tensor,
    spatial_dims: Sequence[int],
    method: str,
    antialias: bool = True,
) -> Tensor:
    """Stretch images along some axes, then move them; zeros lie outside.

    Args:
        images: of any shape. Integers are rounded, and stay between the least and the largest.
        output_shape: the whole shape of the result.
        scale: for each of ``spatial_dims`` by how much.
        translation: likewise, in pixels of the result.
        spatial_dims: the axes; all others stay as they are.
        method: ``'linear'`` (also ``'bilinear'``, ``'trilinear'``, ``'triangle'``), ``'cubic'``
            (``'bicubic'``, ``'tricubic'``), ``'lanczos3'`` or ``'lanczos5'``.
        antialias: whether all pixels count where an image becomes smaller.
    """
    check_known(_KERNELS, method=method)
    sizes = [output_shape[axis] for axis in spatial_dims]
    how = {"method": method, "antialias": antialias}
    y = _interpolated(wide(images), spatial_dims, sizes, scale, translation, **how)
    if not images.is_floating_point():
        y = y.clamp(images.min(), images.max())
    return narrowed(y, images.dtype)


def _names(word: str) -> list[tuple[str, str, str]]:
    """Return the arguments of ``pad_images`` or ``crop_images``, for height and for width."""
    sides = (("top", "bottom", "height"), ("left", "right", "width"))
    return [(f"{one}_{word}", f"{other}_{word}", f"target_{size}") for one, other, size in sides]


def _frame(
    word: str, images: Any, data_format: str | None, *sides: Sequence[int | None]
) -> tuple[list, list]:
    """Work out the margins that ``pad_images`` adds or ``crop_images`` cuts off.

    Args:
        word: ``'padding'`` or ``'cropping'``.
        images: their sizes may be unknown.
        data_format: where the channels are.
        sides: for height and for width: margins before and behind, and size of the result, one of
            which is ``None``.

    Returns:
        The shape of the result, and for height and width what is added before and behind.

    Raises:
        ValueError: where not exactly two of three are given, or one is negative.
    """
    check_rank(images)
    shape, margins, sign = list(images.shape), [], 1 if word == "padding" else -1
    for axis, names, side in zip(spatial_axes(data_format), _names(word), sides):
        given = ", ".join(f"{name}={value}" for name, value in zip(names, side))
        if side.count(None) != 1:
            raise ValueError(f"Must specify exactly two of {', '.join(names)}. Received: {given}.")
        (before, behind, size), old = side, shape[axis]
        if old is not None:
            if size is None:
                size = old + sign * (before + behind)
            elif before is None:
                before = sign * (size - old) - behind
            else:
                behind = sign * (size - old) - before
        # What was given first, then what follows from it.
        for name, value in [*zip(names, side), *zip(names, (before, behind, size))]:
            if value is not None and value < 0:
                raise ValueError(f"{name} must be >= 0. Received: {name}={value}.")
        shape[axis] = size
        margins.append((before, behind))
    return shape, margins


def _framed_spec(
    word: str, images: Any, data_format: str | None = None, **given: int
) -> tuple[list, Any]:
    """Return shape and dtype of what ``pad_images`` or ``crop_images`` gives."""
    sides = [tuple(given.get(name) for name in names) for names in _names(word)]
    return _frame(word, images, data_format, *sides)[0], images.dtype


def _framed(
    word: str, images: Tensor, data_format: str | None, *sides: Sequence[int | None]
) -> Tensor:
    """Compute ``pad_images`` or ``crop_images``; arguments as of :func:`_frame`."""
    _, (rows, columns) = _frame(word, images, data_format, *sides)
    # torch counts from the last axis, and cuts off what is negative.
    pads = [size if word == "padding" else -size for size in (*columns, *rows)]
    return functional.pad(images, [0, 0, *pads] if is_channels_last(data_format) else pads)


@op.own(spec=partial(_framed_spec, "padding"))
def pad_images(
    images: Tensor,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Put zeros around images.

    Two of top, bottom and height must be given, and two of left, right and width.

    Args:
        images: one or a batch.
        top_padding: rows of zeros above.
        left_padding: columns on the left.
        bottom_padding: rows below.
        right_padding: columns on the right.
        target_height: of the result.
        target_width: of the result.
        data_format: where the channels are.
    """
    rows = top_padding, bottom_padding, target_height
    columns = left_padding, right_padding, target_width
    return _framed("padding", images, data_format, rows, columns)


@op.own(spec=partial(_framed_spec, "cropping"))
def crop_images(
    images: Tensor,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Cut the margins of images off.

    Two of top, bottom and height must be given, and two of left, right and width.

    Args:
        images: one or a batch.
        top_cropping: rows cut off above.
        left_cropping: columns on the left.
        bottom_cropping: rows below.
        right_cropping: columns on the right.
        target_height: of the result.
        target_width: of the result.
        data_format: where the channels are.
    """
    rows = top_cropping, bottom_cropping, target_height
    columns = left_cropping, right_cropping, target_width
    return _framed("cropping", images, data_format, rows, columns)
