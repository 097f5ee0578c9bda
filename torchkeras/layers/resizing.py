"""Layers that add zeros around space, or take its edges away."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from torchkeras import eras
from torchkeras.layers.spatial import Shape, Spatial
from torchkeras.registry import register

Sides = tuple[tuple[int, int], ...]


class Margin(Spatial):
    """Base of the layers that add or take a number of elements before and behind axes of space."""

    # What the sides of an axis are called in a dictionary.
    side_names: tuple[str, ...] = ()

    def _sides(self, name: str, given: Any) -> Sides:
        """Return how many elements there are before and behind each axis of space.

        Args:
            name: of the argument.
            given: one number for all sides; for each axis a number or two; four numbers for the
                sides of images, or a dictionary with the names of sides, 0 where one is left out.

        Raises:
            ValueError: for anything else.
        """
        sides = given
        if isinstance(given, dict) and set(given) <= set(self.side_names):
            sides = [given.get(side, 0) for side in self.side_names]
        if isinstance(sides, int):
            sides = [sides] * self.rank
        elif isinstance(sides, (list, tuple)) and self.rank == 1:
            sides = [sides]
        elif isinstance(sides, (list, tuple)) and self.rank == 2 and len(sides) == 4:
            sides = [sides[:2], sides[2:]]
        if isinstance(sides, (list, tuple)) and len(sides) == self.rank:
            pairs = [(n, n) if isinstance(n, int) else n for n in sides]
            if all(_is_pair(pair) for pair in pairs):
                return tuple((int(before), int(behind)) for before, behind in pairs)
        raise ValueError(
            f"{type(self).__name__}: `{name}` must be a number of elements, 0 or more, or for each "
            f"of the {self.rank} axes of space a number or a pair, before and behind; received "
            f"{name}={given!r}. `{name}` should have {2 if self.rank == 1 else self.rank} elements."
        )


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, (list, tuple))
        and len(pair) == 2
        and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in pair)
    )


class ZeroPadding(Margin):
    """Base of the layers that add zeros around space."""

    def call(self, inputs: Tensor) -> Tensor:
        """Add the zeros."""
        return functional.pad(inputs, self._widths)

    def _keep_sides(self, sides: Sides) -> None:
        """Keep what comes before and behind each axis of space, as torch takes it."""
        # From the last axis on, one before and one behind for each. Torch's modules for padding
        # know axes of space alone; with the channels last there is one more behind.
        widths = [n for pair in reversed(sides) for n in pair]
        self._widths = [0, 0, *widths] if self._is_last else widths
        self._all = sides

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape, its axes of space larger by the zeros."""
        sizes = self._space(input_shape)
        space = [n if n is None else n + sum(pair) for n, pair in zip(sizes, self._all)]
        return self._with_space(input_shape, space)


@register("layer")
class ZeroPadding1D(ZeroPadding):
    """Adds steps of zeros to sequences.

    Args:
        padding: how many before and behind: one number or two, or a dictionary with ``left_pad``
            and ``right_pad``.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, steps, channels)``, output ``(batch, steps + both, channels)``; likewise
        with the channels behind the batch.

    Raises:
        ValueError: for another ``padding``, or an unknown layout.
    """

    rank = 1
    side_names = ("left_pad", "right_pad")

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._keep_format(data_format)
        sides = self._sides("padding", padding)
        self.padding = sides[0]
        self._keep_sides(sides)


@register("layer")
class ZeroPadding2D(ZeroPadding):
    """Adds zeros around images.

    Args:
        padding: how many rows and columns: one number, two for height and width, a pair for each,
            four numbers (top, bottom, left, right), or a dictionary with ``top_pad``,
            ``bottom_pad``, ``left_pad`` and ``right_pad``.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, height, width, channels)``, output with height and width larger by the
        zeros; likewise with the channels behind the batch.

    Raises:
        ValueError: for another ``padding``, or an unknown layout.
    """

    rank = 2
    side_names = ("top_pad", "bottom_pad", "left_pad", "right_pad")

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self._keep_format(data_format)
        self.padding = self._sides("padding", padding)
        self._keep_sides(self.padding)


@register("layer")
class ZeroPadding3D(ZeroPadding):
    """Adds zeros around volumes.

    Args:
        padding: how many along each axis: one number, three, or a pair for each.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, depth, height, width, channels)``, output with the axes of space larger by
        the zeros; likewise with the channels behind the batch.

    Raises:
        ValueError: for another ``padding``, or an unknown layout.
    """

    rank = 3

    def __init__(
        self,
        padding: Any = ((1, 1), (1, 1), (1, 1)),
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep_format(data_format)
        self.padding = self._sides("padding", padding)
        self._keep_sides(self.padding)


class Cropping(Margin):
    """Base of the layers that take elements away at the edges of space."""

    def call(self, inputs: Tensor) -> Tensor:
        """Take the inner part."""
        self.compute_output_shape(inputs.shape)  # which refuses to crop everything
        return inputs[self._part]

    def _keep_sides(self, sides: Sides) -> None:
        """Keep what goes before and behind each axis of space, as an index."""
        part = [slice(before, -behind or None) for before, behind in sides]
        self._part = (slice(None), *([] if self._is_last else [slice(None)]), *part)
        self._all = sides

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape, its axes of space smaller by what is cropped.

        Raises:
            ValueError: when the rank is wrong, or nothing is left.
        """
        sizes = self._space(input_shape)
        space = [n if n is None else n - sum(pair) for n, pair in zip(sizes, self._all)]
        shape = self._with_space(input_shape, space)
        left = min((n for n in space if n is not None), default=1)
        if left < 0 or (left == 0 and eras.value("cropping.leaves_something")):
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}): `cropping` must be smaller than the "
                f"input along each axis of space, but cropping={self.cropping} leaves nothing of "
                f"an input of shape {tuple(input_shape)}."
            )
        return shape


@register("layer")
class Cropping1D(Cropping):
    """Takes steps away at the ends of sequences.

    Args:
        cropping: how many at the beginning and at the end: one number or two.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, steps, channels)``, output ``(batch, steps - both, channels)``.

    Raises:
        ValueError: for another ``cropping``, or when no step is left.
    """

    rank = 1

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any):
        super().__init__(**kwargs)
        self._keep_format("channels_last")
        sides = self._sides("cropping", cropping)
        self.cropping = sides[0]
        self._keep_sides(sides)


@register("layer")
class Cropping2D(Cropping):
    """Takes rows and columns away at the edges of images.

    Args:
        cropping: how many: one number, two for height and width, or a pair for each.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, height, width, channels)``, output with height and width smaller by what is
        cropped; likewise with the channels behind the batch.

    Raises:
        ValueError: for another ``cropping``, an unknown layout, or when nothing is left.
    """

    rank = 2

    def __init__(
        self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self._keep_format(data_format)
        self.cropping = self._sides("cropping", cropping)
        self._keep_sides(self.cropping)


@register("layer")
class Cropping3D(Cropping):
    """Takes slices away at the edges of volumes.

    Args:
        cropping: how many along each axis: one number, three, or a pair for each.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, depth, height, width, channels)``, output with the axes of space smaller by
        what is cropped; likewise with the channels behind the batch.

    Raises:
        ValueError: for another ``cropping``, an unknown layout, or when nothing is left.
    """

    rank = 3

    def __init__(
        self,
        cropping: Any = ((1, 1), (1, 1), (1, 1)),
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._keep_format(data_format)
        self.cropping = self._sides("cropping", cropping)
        self._keep_sides(self.cropping)
