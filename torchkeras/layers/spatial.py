"""What layers over 1, 2 or 3 axes of space share: where the channels are, numbers for each axis."""

from __future__ import annotations

from collections.abc import Sequence

from torchkeras.layers.base import Layer
from torchkeras.layers.spec import InputSpec
from torchkeras.ops import spatial

Sizes = int | Sequence[int]
Shape = tuple[int | None, ...]


class Spatial(Layer):
    """Base of the layers whose input has axes of space.

    Attributes:
        rank: how many axes of space there are.
        data_format: ``'channels_last'`` or ``'channels_first'``.
    """

    rank: int
    data_format: str = "channels_last"

    def _keep_format(self, data_format: str | None) -> None:
        """Keep where the channels are, and expect inputs of the layer's rank.

        Raises:
            ValueError: for an unknown layout.
        """
        is_last = spatial.is_channels_last(data_format)
        self.data_format = "channels_last" if is_last else "channels_first"
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _each(self, name: str, value: Sizes) -> tuple[int, ...]:
        """Return a positive integer for each axis of space.

        Raises:
            ValueError: for other numbers, or not as many as there are axes.
        """
        numbers = tuple(value) if isinstance(value, (list, tuple)) else (value,) * self.rank
        is_whole = all(isinstance(n, int) and not isinstance(n, bool) for n in numbers)
        if len(numbers) != self.rank or not is_whole or min(numbers) < 1:
            raise ValueError(
                f"{type(self).__name__}: {name} must be a positive integer, or {self.rank} of "
                f"them, one for each axis of space; received {value!r}."
            )
        return numbers

    @property
    def _is_last(self) -> bool:
        return self.data_format == "channels_last"

    @property
    def _axes(self) -> tuple[int, ...]:
        """The axes of space."""
        first = 1 if self._is_last else 2
        return tuple(range(first, first + self.rank))

    def _space(self, input_shape: Shape) -> Shape:
        """Return the sizes of the axes of space."""
        return tuple(input_shape[1:-1] if self._is_last else input_shape[2:])

    def _with_space(self, input_shape: Shape, space: Sequence[int | None]) -> Shape:
        """Return a shape with other sizes of the axes of space.

        Raises:
            ValueError: when the shape has another rank than the layer takes.
        """
        InputSpec(ndim=self.rank + 2).check(self.name, input_shape)
        if self._is_last:
            return (input_shape[0], *space, input_shape[-1])
        return (input_shape[0], input_shape[1], *space)
