"""Symbolic tensors: what ``Input`` gives."""

from __future__ import annotations

from typing import Any


class KerasTensor:
    """A tensor that is not there yet: a shape, a dtype and the layer it comes from.

    Args:
        shape: with the batch in front, ``None`` where unknown.
        dtype: Keras' name of the dtype.
        name: shown in messages.
        source: the layer that it comes out of.
    """

    def __init__(
        self,
        shape: tuple[int | None, ...],
        dtype: str = "float32",
        name: str | None = None,
        source: Any = None,
    ):
        self.shape = tuple(shape)
        self.dtype = dtype
        self.name = name
        self.source = source

    @property
    def ndim(self) -> int:
        """Number of dimensions, the batch included."""
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"
