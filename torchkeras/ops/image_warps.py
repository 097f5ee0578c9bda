"""Images bent, turned and seen from aside: read at places between their pixels."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras import seeds
from torchkeras.ops.image_batches import batched, check, check_known, kept, wide
from torchkeras.ops.image_filters import filtered, gaussian
from torchkeras.ops.table import Table

op = Table("image", __name__, is_public=False)
__all__ = op.names

# To the order of the interpolation.
_ORDERS = {"nearest": 0, "bilinear": 1}


def _mirrored(index: Tensor, size: int) -> Tensor:
    """Turn back at the middle of the last pixel: a triangular wave."""
    last = size - 1
    return ((index + last) % max(2 * last, 1) - last).abs()


def _inside(index: Tensor, size: int) -> Tensor:
    return index.clamp(0, size - 1)


# What an index beyond the edge means, of an axis of a size.
_FILL_MODES = {
    "constant": _inside,  # and what was outside is replaced
    "nearest": _inside,
    "wrap": lambda index, size: index % size,
    "mirror": _mirrored,
    # Turn back at the outer edge of the last pixel: a mirror of half pixels.
    "reflect": lambda index, size: (_mirrored(2 * index + 1, 2 * size + 1) - 1) // 2,
}


def _sampled(
    x: Tensor,
    places: Sequence[Tensor],
    order: int,
    fill_mode: str,
    fill_value: float,
    before: tuple[Tensor, ...] = (),
) -> Tensor:
    """Read a tensor between its elements.

    Args:
        x: of as many dimensions as ``before`` and ``places`` have tensors.
        places: for each of the last axes, where to read; these shapes broadcast.
        order: 0 for the nearest element, 1 to weigh the neighbours.
        fill_mode: what lies outside.
        fill_value: what does where that is ``'constant'``.
        before: indices of the first axes, which are whole.
    """
    axes = []
    for place, size in zip(places, x.shape[len(before) :]):
        low = torch.floor(place) if order else torch.round(place)
        index, part = low.long(), place - low
        # Of each neighbour: its index, and what it counts.
        near = [(index, 1 - part), (index + 1, part)] if order else [(index, None)]
        fixed = _FILL_MODES[fill_mode]
        axes.append([(fixed(at, size), (at >= 0) & (at < size), weight) for at, weight in near])
    is_whole = not (x.is_floating_point() or x.is_complex())
    parts = []
    for corner in itertools.product(*axes):
        indices, are_inside, weights = zip(*corner)
        part = x[(*before, *indices)]
        if fill_mode == "constant":
            fill = int(fill_value) if is_whole else fill_value
            part = torch.where(functools.reduce(operator.and_, are_inside), part, fill)
        parts.append(functools.reduce(operator.mul, weights) * part if order else part)
    found = functools.reduce(operator.add, parts)
    return (found.round() if is_whole and order else found).to(x.dtype)


@op.own
def map_coordinates(
    inputs: Tensor,
    coordinates: Tensor,
    order: int,
    fill_mode: str = "constant",
    fill_value: float = 0,
) -> Tensor:
    """Read a tensor at places between its elements.

    Args:
        inputs: of any rank.
        coordinates: ``(rank of inputs, *shape)``: for each axis of ``inputs`` where to read along
            it, the middle of the first element being 0.
        order: 0 for the nearest element, 1 to weigh the two nearest along each axis.
        fill_mode: what lies outside: ``'constant'``, ``'nearest'`` (the edge goes on), ``'wrap'``,
            ``'mirror'`` (at the middle of the edge's elements) or ``'reflect'`` (at their end).
        fill_value: what lies outside where that is ``'constant'``.

    Returns:
        ``shape``, in the dtype of ``inputs``. Integers are rounded.
    """
    check(coordinates.ndim >= 2, "coordinates rank", "at least rank 2", coordinates=coordinates)
    if len(coordinates) != inputs.ndim:
        raise ValueError(
            "The first dimension of `coordinates` must be the same as the rank of `inputs`; "
            f"received shapes {tuple(coordinates.shape)} and {tuple(inputs.shape)}."
        )
    check_known(_FILL_MODES, fill_mode=fill_mode)
    check(order in (0, 1), "order", "0 (nearest) or 1 (linear)", order=order)
    return _sampled(inputs, coordinates.unbind(), order, fill_mode, fill_value)


def _grid(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the rows and the columns of the pixels of a batch of images, to broadcast."""
    height, width = (torch.arange(size, dtype=dtype, device=x.device) for size in x.shape[2:])
    return height[:, None], width


def _read(
    x: Tensor, places: Sequence[Tensor], interpolation: str, fill_mode: str, fill_value: float
) -> Tensor:
    """Read all channels of images at rows and columns.

    Args:
        x: ``(samples, channels, height, width)``.
        places: two tensors ``(samples, 1, height, width)``.
        interpolation: ``'nearest'`` or ``'bilinear'``.
        fill_mode: what lies outside.
        fill_value: what does where that is ``'constant'``.
    """
    samples, channels = (torch.arange(size, device=x.device) for size in x.shape[:2])
    before = samples[:, None, None, None], channels[:, None, None]
    return _sampled(x, places, _ORDERS[interpolation], fill_mode, fill_value, before)


def _projected(x: Tensor, rows: Tensor, *how: Any) -> Tensor:
    """Read images where a projection takes their pixels from.

    Args:
        x: ``(samples, channels, height, width)``.
        rows: ``(samples or 1, 8)``: ``x' = (a0 x + a1 y + a2) / (c0 x + c1 y + 1)`` and
            ``y' = (b0 x + b1 y + b2) / (c0 x + c1 y + 1)``; of 6 numbers, not divided.
        how: see :func:`_read`.
    """
    if len(rows) not in (1, len(x)):
        raise ValueError(f"Received {len(rows)} transformations for {len(x)} images.")
    a0, a1, a2, b0, b1, b2, *c = rows[..., None, None, None].unbind(1)
    down, across = _grid(x, rows.dtype)
    places = [b0 * across + b1 * down + b2, a0 * across + a1 * down + a2]
    if c:
        divisor = c[0] * across + c[1] * down + 1
        places = [place / divisor for place in places]
    return _read(x, places, *how)


def _checked(
    images: Any, interpolation: str = "bilinear", fill_mode: str = "constant", **_: Any
) -> tuple[tuple, Any]:
    """Check what all warps are given; return shape and dtype of what comes out."""
    check_known(_ORDERS, interpolation=interpolation)
    check_known(_FILL_MODES, fill_mode=fill_mode)
    return kept(images)


def _affine(images: Any, transform: Any, **settings: Any) -> tuple[tuple, Any]:
    """Check also the transforms of ``affine_transform``."""
    found = _checked(images, **settings)
    expected = "rank 1 (one transform) or rank 2 (a batch of them)"
    check(len(np.shape(transform)) in (1, 2), "transform rank", expected, transform=transform)
    return found


@op.own(spec=_affine)
def affine_transform(
    images: Tensor,
    transform: Tensor,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Tensor:
    """Turn, stretch, shear and shift images.

    Args:
        images: one or a batch. Integers are rounded.
        transform: ``(8,)`` or ``(samples, 8)``: by ``[a0, a1, a2, b0, b1, b2, c0, c1]`` the pixel
            ``(x, y)`` of the result is read at ``(a0 x + a1 y + a2, b0 x + b1 y + b2)``. ``c0`` and
            ``c1`` count for nothing, as in Keras on torch; see ``perspective_transform``.
        interpolation: ``'nearest'`` or ``'bilinear'``.
        fill_mode: what lies outside; see ``map_coordinates``.
        fill_value: what does where that is ``'constant'``.
        data_format: where the channels are.
    """
    _affine(images, transform, interpolation=interpolation, fill_mode=fill_mode)
    x, back = batched(images, data_format)
    rows = wide(transform).reshape(-1, 8)[:, :6]
    return back(_projected(x, rows, interpolation, fill_mode, fill_value))


def _perspective(
    images: Any, start_points: Any, end_points: Any, **settings: Any
) -> tuple[tuple, Any]:
    """Check also the points of ``perspective_transform``."""
    found = _checked(images, **settings)
    expected = "(4, 2) for one image or (samples, 4, 2) for a batch, the same of both"
    shape = np.shape(start_points)
    is_right = len(shape) in (2, 3) and tuple(shape[-2:]) == (4, 2)
    check(is_right, "start_points shape", expected, start_points=start_points)
    is_right = np.shape(end_points) == shape
    check(is_right, "end_points shape", expected, start_points=start_points, end_points=end_points)
    return found


@op.own(spec=_perspective)
def perspective_transform(
    images: Tensor,
    start_points: Tensor,
    end_points: Tensor,
    interpolation: str = "bilinear",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Tensor:
    """Show images as seen from aside: four points go to four others.

    Args:
        images: one or a batch. Integers are rounded.
        start_points: ``(4, 2)`` or ``(samples, 4, 2)``: x and y of points of the images, no three
            on a line.
        end_points: likewise: where these points shall be.
        interpolation: ``'nearest'`` or ``'bilinear'``.
        fill_value: what lies outside.
        data_format: where the channels are.
    """
    _perspective(images, start_points, end_points, interpolation=interpolation)
    x, back = batched(images, data_format)
    dtype = torch.float64 if images.dtype is torch.float64 else torch.float32
    start, end = (points.to(dtype).reshape(-1, 4, 2) for points in (start_points, end_points))
    rows = _homography(start, end)
    return back(_projected(x, rows, interpolation, "constant", fill_value))


def _homography(start: Tensor, end: Tensor) -> Tensor:
    """Return the projections ``(samples, 8)`` that take four points ``end`` to ``start``.

    Each point gives two equations of the eight unknowns, such as
    ``a0 x + a1 y + a2 - c0 x x' - c1 y x' = x'``.
    """
    whole = torch.cat([end, torch.ones_like(end[..., :1])], -1)
    none = torch.zeros_like(whole)
    of_x = torch.cat([whole, none, -start[..., :1] * end], -1)
    of_y = torch.cat([none, whole, -start[..., 1:] * end], -1)
    equations = torch.stack([of_x, of_y], 2).flatten(1, 2)
    # Not solve: it looks for singular matrices on the host.
    return torch.linalg.solve_ex(equations, start.flatten(1)).result


@op.own(spec=_checked)
def elastic_transform(
    images: Tensor,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: seeds.Seed = None,
    data_format: str | None = None,
) -> Tensor:
    """Shift each pixel by smooth noise, as if the image were printed on rubber.

    Args:
        images: one or a batch. Integers are rounded.
        alpha: how far; 0 leaves the images as they are.
        sigma: standard deviation of the noise, and of the bell curve that smooths it, in pixels.
        interpolation: ``'nearest'`` or ``'bilinear'``.
        fill_mode: what lies outside; see ``map_coordinates``.
        fill_value: what does where that is ``'constant'``.
        seed: of the noise: an integer, a ``SeedGenerator`` or ``None``; see
            :mod:`torchkeras.seeds`.
        data_format: where the channels are.
    """
    _checked(images, interpolation, fill_mode)
    x, back = batched(images, data_format)
    like = wide(images)
    begin, shape = seeds.source(seed, x.device), (len(x), 2, *x.shape[2:])
    noise = torch.randn(shape, generator=begin, dtype=like.dtype, device=x.device)
    curve = gaussian(int(6 * sigma) | 1, sigma, like)
    shifts = alpha * filtered(noise * sigma, curve, curve)
    places = [axis + shifts[:, at : at + 1] for at, axis in enumerate(_grid(x, like.dtype))]
    return back(_read(x, places, interpolation, fill_mode, fill_value))
