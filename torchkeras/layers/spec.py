"""What a layer expects of its input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torchkeras import dtypes


class InputSpec:
    """What a layer expects of its input's rank, dimensions and dtype.

    Args:
        dtype: Keras' name of the dtype.
        shape: the whole shape, ``None`` where free.
        ndim: the exact rank.
        max_ndim: the largest rank.
        min_ndim: the smallest rank.
        axes: axis -> size.
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Sequence[int | None] | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: dict[int, int | None] | None = None,
    ):
        self.dtype = None if dtype is None else dtypes.name_of(dtype)
        self.shape = None if shape is None else tuple(shape)
        self.ndim = len(shape) if shape is not None else ndim
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.axes = {int(axis): size for axis, size in (axes or {}).items()}
        self._sizes = [(axis, size) for axis, size in self.axes.items() if size is not None]
        self._sizes += [(a, size) for a, size in enumerate(self.shape or ()) if size is not None]

    def check(self, title: str, shape: Sequence[int | None], dtype: Any = None) -> None:
        """Compare a shape with what is expected.

        Args:
            title: the layer's name, for the error.
            shape: the shape that came; ``None`` where unknown.
            dtype: the dtype that came, compared where this spec names one.

        Raises:
            ValueError: naming the layer, what was expected and what came.
        """
        rank = len(shape)
        wrong = None
        if self.ndim is not None and rank != self.ndim:
            wrong = f"rank {self.ndim}"
        elif self.min_ndim is not None and rank < self.min_ndim:
            wrong = f"rank {self.min_ndim} or more"
        elif self.max_ndim is not None and rank > self.max_ndim:
            wrong = f"rank {self.max_ndim} or less"
        elif self.dtype is not None and dtype is not None and dtypes.name_of(dtype) != self.dtype:
            wrong = f"dtype {self.dtype}"
        else:
            for axis, size in self._sizes:
                if shape[axis] != size and shape[axis] is not None:
                    wrong = f"{size} at axis {axis}"
                    break
        if wrong:
            raise ValueError(
                f"Layer {title!r} expected an input with {wrong}, but received shape "
                f"{tuple(shape)}{'' if dtype is None else f' of dtype {dtypes.name_of(dtype)}'}."
            )


def shape_of_rank(shape: Sequence[Any], expected: Sequence[int | None]) -> tuple[Any, ...]:
    """Add or drop a last axis of length 1, as Keras does for single features.

    Args:
        shape: an input's.
        expected: the one that a model takes, ``None`` where free.

    Returns:
        The shape of the expected rank where that axis makes the difference, else the given one.
    """
    if len(shape) == len(expected) - 1 and expected[-1] == 1:
        return (*shape, 1)
    if len(shape) == len(expected) + 1 and shape[-1] == 1:
        return tuple(shape[:-1])
    return tuple(shape)
