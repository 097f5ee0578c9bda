"""A function for each layer that merges: makes the layer and calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchkeras.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
)


def add(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Add tensors: :class:`Add`, made and called.

    Args:
        inputs: the tensors.
        kwargs: the layer's arguments.
    """
    return Add(**kwargs)(inputs)


def subtract(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Subtract the second tensor from the first: :class:`Subtract`, made and called.

    Args:
        inputs: the two tensors.
        kwargs: the layer's arguments.
    """
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Multiply tensors: :class:`Multiply`, made and called.

    Args:
        inputs: the tensors.
        kwargs: the layer's arguments.
    """
    return Multiply(**kwargs)(inputs)


def average(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Average tensors: :class:`Average`, made and called.

    Args:
        inputs: the tensors.
        kwargs: the layer's arguments.
    """
    return Average(**kwargs)(inputs)


def maximum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Take the largest of tensors at each place: :class:`Maximum`, made and called.

    Args:
        inputs: the tensors.
        kwargs: the layer's arguments.
    """
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """Take the smallest of tensors at each place: :class:`Minimum`, made and called.

    Args:
        inputs: the tensors.
        kwargs: the layer's arguments.
    """
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """Join tensors along an axis: :class:`Concatenate`, made and called.

    Args:
        inputs: the tensors.
        axis: the axis, the batch being 0.
        kwargs: the layer's arguments.
    """
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Sequence[Any], axes: int | Sequence[int] = -1, **kwargs: Any) -> Any:
    """Compute dot products of two tensors: :class:`Dot`, made and called.

    Args:
        inputs: the two tensors.
        axes: the axis of both, or one for each.
        kwargs: the layer's arguments.
    """
    return Dot(axes=axes, **kwargs)(inputs)
