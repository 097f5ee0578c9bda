"""Layers that merge a list of inputs into one tensor, and a function for each."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch.nn import functional

from torchkeras import config
from torchkeras.graph import KerasTensor
from torchkeras.layers.base import Layer
from torchkeras.registry import register
from torchkeras.variable import as_tensor

Shape = tuple[int | None, ...]


@register("layer", named=False)
class MergeLayer(Layer):
    """Base of the layers that take a list of inputs: merges them element by element.

    Inputs of lower rank get axes of length 1 behind the batch; then sizes of 1 are repeated, as
    torch and numpy do.  A subclass writes ``_merge_function(inputs)``.

    Args:
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        inputs ``[(batch, …), (batch, …), …]``, output their common shape.

    Raises:
        ValueError: naming the layer and the shapes, when called on anything but a list of inputs
            that fit.
    """

    supports_masking = True
    # How many inputs there must be; any number above 0 unless a subclass says.
    _count: int | None = None

    def build(self, input_shape: Sequence[Sequence[int | None]]) -> None:
        """Check that the inputs fit together."""
        self._check(self._shapes(input_shape))

    def call(
        self, inputs: Sequence[torch.Tensor], mask: Sequence[torch.Tensor | None] | None = None
    ) -> torch.Tensor:
        """Merge.

        Args:
            inputs: the tensors.
            mask: a mask ``(batch, …)`` for each input, true where it counts, or ``None``.
        """
        if not isinstance(inputs, (list, tuple)):
            raise ValueError(self._needs_list(f"one {type(inputs).__name__}"))
        try:
            aligned = self._aligned(inputs)
            if mask is None or all(one is None for one in mask):
                return self._merge_function(aligned)
            # The mask of an input that got further axes does not count, as in Keras.
            pairs = zip(inputs, aligned, mask, strict=True)
            masks = [None if m is None or x is not y else self._over(m, x) for x, y, m in pairs]
            return self._merge_masked(aligned, masks)
        except RuntimeError:
            # torch's message names neither the layer nor all of the shapes.
            self._check(self._shapes([x.shape for x in inputs]))
            raise

    def _merge_function(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Merge tensors of one rank."""
        raise TypeError(f"{type(self).__name__} defines no _merge_function(inputs): write one.")

    def _merge_masked(
        self, inputs: Sequence[torch.Tensor], masks: Sequence[torch.Tensor | None]
    ) -> torch.Tensor:
        """Merge tensors some of which have a mask of their own shape; most layers ignore them."""
        return self._merge_function(inputs)

    def _aligned(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """Bring the inputs to one rank."""
        rank = max([0, *(x.dim() for x in inputs)])
        return [x if x.dim() == rank else _with_axes(x, rank - x.dim()) for x in inputs]

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> Shape:
        """Return the common shape of the inputs, ``None`` where unknown."""
        shapes = self._shapes(input_shape)
        batch_sizes = {shape[0] for shape in shapes} - {None}
        batch = batch_sizes.pop() if len(batch_sizes) == 1 else None
        return (batch, *self._broadcast(shapes))

    def compute_mask(
        self, inputs: Sequence[Any], mask: Sequence[torch.Tensor | None] | None = None
    ) -> torch.Tensor | None:
        """Return the mask of the output: true where any input's is; none when one input has none.

        Raises:
            ValueError: when there is not a mask (or ``None``) for each input.
        """
        if mask is None:
            return None
        self._check_masks(inputs, mask)
        if any(one is None for one in mask):
            return None
        rank = max(x.ndim for x in inputs)
        merged = None
        for x, one in zip(inputs, mask, strict=True):
            one = _with_axes(_tensor(one), rank - x.ndim)
            merged = one if merged is None else torch.logical_or(merged, one)
        return merged

    def _over(self, mask: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """Repeat a mask over the axes behind its own, to the shape of what it masks."""
        try:
            mask = mask[(..., *(None,) * (inputs.dim() - mask.dim()))]
            return mask.to(torch.bool).expand(inputs.shape)
        except RuntimeError:
            raise ValueError(
                f"Layer {self.name!r}: a mask of shape {tuple(mask.shape)} does not fit an input "
                f"of shape {tuple(inputs.shape)}."
            ) from None

    # --------------------------------------------------------------------------------- checks

    def _needs_list(self, received: str) -> str:
        kind = type(self).__name__
        number = "" if self._count is None else f"{self._count} "
        return (
            f"Layer {self.name!r} takes a list of {number}inputs, as in {kind}(…)([a, b]); "
            f"received {received}."
        )

    def _shapes(self, input_shape: Any) -> list[Shape]:
        """Return the inputs' shapes as tuples; refuse one shape alone and wrong numbers."""
        is_list = isinstance(input_shape, (list, tuple)) and all(
            isinstance(shape, (list, tuple)) for shape in input_shape
        )
        if not is_list:
            raise ValueError(self._needs_list(f"one input, of shape {input_shape}"))
        shapes = [tuple(shape) for shape in input_shape]
        if not shapes or (self._count is not None and len(shapes) != self._count):
            raise ValueError(self._needs_list(f"{len(shapes)}, of shapes {shapes}"))
        if () in shapes:
            raise self._misfit(shapes, "each needs a batch axis")
        return shapes

    def _check(self, shapes: list[Shape]) -> None:
        """Raise when the inputs do not fit together."""
        if len({shape[0] for shape in shapes} - {None}) > 1:
            raise self._misfit(shapes, "their batch sizes differ")
        self._broadcast(shapes)

    def _check_masks(self, inputs: Any, mask: Any) -> None:
        if not isinstance(inputs, (list, tuple)) or not isinstance(mask, (list, tuple)):
            raise ValueError(
                f"Layer {self.name!r}: compute_mask takes a list of inputs and a list of masks; "
                f"received {type(inputs).__name__} and {type(mask).__name__}."
            )
        if len(inputs) != len(mask):
            raise ValueError(
                f"Layer {self.name!r}: compute_mask needs a mask, or None, for each input; "
                f"received {len(inputs)} inputs and {len(mask)} masks."
            )

    def _broadcast(self, shapes: list[Shape]) -> Shape:
        """Return the common shape of a sample."""
        common: Shape = shapes[0][1:]
        for shape in shapes[1:]:
            longer, shorter = sorted((common, shape[1:]), key=len, reverse=True)
            kept = len(longer) - len(shorter)
            sizes = []
            for a, b in zip(longer[kept:], shorter, strict=True):
                if a is None or b is None:
                    sizes.append(None)
                elif a == b or 1 in (a, b):
                    sizes.append(b if a == 1 else a)
                else:
                    raise self._misfit(shapes, f"{a} and {b} do not fit together")
            common = (*longer[:kept], *sizes)
        return common

    def _misfit(self, shapes: list[Shape], why: str) -> ValueError:
        received = ", ".join(map(str, shapes))
        return ValueError(
            f"Layer {self.name!r} ({type(self).__name__}) cannot merge inputs of shapes "
            f"{received}: {why}."
        )


@register("layer")
class Add(MergeLayer):
    """Adds its inputs.

    Args:
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        inputs ``[(batch, …), …]``, output their common shape.
    """

    def _merge_function(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        return reduce(operator.add, inputs)


@register("layer")
class Subtract(MergeLayer):
    """Subtracts the second of two inputs from the first.

    Args:
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        inputs ``[(batch, …), (batch, …)]``, output their common shape.
    """

    _count = 2

    def _merge_function(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        first, second = inputs
        return first - second


@register("layer")
class Multiply(MergeLayer):
    """Multiplies its inputs; a masked place counts as 1, and is 0 where all inputs are masked.

    Args:
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        inputs ``[(batch, …), …]``, output their common shape.
    """

    def _merge_function(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        return reduce(operator.mul, inputs)

    def _merge_masked(
        self, inputs: Sequence[torch.Tensor], masks: Sequence[torch.Tensor | None]
    ) -> torch.Tensor:
        pairs = zip(inputs, masks, strict=True)
        product = self._merge_function(
            [x if mask is None else x.masked_fill(~mask, 1) for x, mask in pairs]
        )
        if any(mask is None for mask in masks):
            return product
        return product.masked_fill(~reduce(operator.or_, masks), 0)


@register("layer")
class Average(MergeLayer):
    """Averages its inputs.

    Args:
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        inputs ``[(batch, …), …]``, output their common shape.
    """

    def _merge_function(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        return reduce(operator.add, inputs) / len(inputs)


class _Extreme(MergeLayer):
    """Base of Maximum and Minimum: where one of two inputs is masked, the other one counts."""

    _pick: Any = None

    def _merge_function(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        return reduce(self._pick, inputs)

    def _merge_masked(
        self, inputs: Sequence[torch.Tensor], masks: Sequence[torch.Tensor | None]
    ) -> torch.Tensor:
        found, found_mask = inputs[0], masks[0]
        for x, mask in zip(inputs[1:], masks[1:], strict=True):
            if mask is not None:
                x = torch.where(mask, x, found)
            if found_mask is not None:
                found = torch.where(found_mask, found, x)
            is_masked = mask is not None and found_mask is not None
            found_mask = mask | found_mask if is_masked else None
            found = self._pick(found, x)
        return found


@register("layer")
class Maximum(_Extreme):
    """Takes the largest of its inputs at each place, of those that are not masked.

    Args:
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        inputs ``[(batch, …), …]``, output their common shape.
    """

    _pick = staticmethod(torch.maximum)


@register("layer")
class Minimum(_Extreme):
    """Takes the smallest of its inputs at each place, of those that are not masked.

    Args:
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        inputs ``[(batch, …), …]``, output their common shape.
    """

    _pick = staticmethod(torch.minimum)


@register("layer")
class Concatenate(MergeLayer):
    """Joins its inputs along an axis.

    Args:
        axis: the axis, the batch being 0.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        inputs ``[(batch, …), …]``, equal but for ``axis``; in the output ``axis`` has the sum.

    Raises:
        ValueError: when ``axis`` is no integer.
    """

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(axis, int) or isinstance(axis, bool):
            raise ValueError(f"Concatenate: axis must be an integer; received {axis!r}.")
        self.axis = axis

    def _aligned(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        return inputs

    def _merge_function(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat(tuple(inputs), dim=self.axis)

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> Shape:
        """Return the first input's shape with the sum of the sizes at ``axis``."""
        shapes = self._shapes(input_shape)
        self._check(shapes)
        sizes = [shape[self.axis] for shape in shapes]
        joined = list(shapes[0])
        joined[self.axis] = None if None in sizes else sum(sizes)
        return tuple(joined)

    def compute_mask(
        self, inputs: Sequence[Any], mask: Sequence[torch.Tensor | None] | None = None
    ) -> torch.Tensor | None:
        """Return the joined masks; an input without mask counts everywhere.

        Raises:
            ValueError: when there is not a mask (or ``None``) for each input.
        """
        if mask is None:
            return None
        self._check_masks(inputs, mask)
        if all(one is None for one in mask):
            return None
        masks = []
        for x, one in zip(inputs, mask, strict=True):
            x = _tensor(x)
            every = torch.ones_like(x, dtype=torch.bool)
            masks.append(every if one is None else self._over(_tensor(one), x))
        return torch.cat(masks, dim=self.axis).any(-1)

    def _check(self, shapes: list[Shape]) -> None:
        rank = len(shapes[0])
        if any(len(shape) != rank for shape in shapes):
            raise self._misfit(shapes, "their ranks differ")
        if not -rank <= self.axis < rank:
            raise self._misfit(shapes, f"they have no axis {self.axis}")
        for axis, sizes in enumerate(zip(*shapes, strict=True)):
            if axis != self.axis % rank and len(set(sizes) - {None}) > 1:
                raise self._misfit(
                    shapes, f"axis {axis} differs, and they are joined along axis {self.axis}"
                )


@register("layer")
class Dot(MergeLayer):
    """Computes the dot products of two inputs along an axis of each, sample by sample.

    Args:
        axes: the axis of both, or the axis of the first and that of the second, the batch being 0.
        normalize: whether to divide by the lengths first, which gives the cosine.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        inputs ``[(batch, *first), (batch, *second)]``, output ``(batch, *first, *second)`` without
        the two axes; ``(batch, 1)`` when no others are left.

    Raises:
        TypeError: when ``axes`` is neither an integer nor a list of them.
        ValueError: when they are not two.
    """

    _count = 2

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(axes, (int, list, tuple)) or isinstance(axes, bool):
            raise TypeError(f"Dot: axes must be an integer or two of them; received {axes!r}.")
        pair = (axes, axes) if isinstance(axes, int) else tuple(axes)
        if len(pair) != 2 or not all(isinstance(axis, int) for axis in pair):
            raise ValueError(f"Dot: axes must be an integer or two of them; received {axes!r}.")
        self.axes = axes
        self.normalize = normalize

    def _aligned(self, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        return inputs

    def _merge_function(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        first, second = inputs
        dtype = torch.promote_types(first.dtype, second.dtype)
        if self.normalize and not dtype.is_floating_point:
            dtype = self.dtype_policy.torch_compute_dtype
        first, second = first.to(dtype), second.to(dtype)
        axes = self._axes([first.shape, second.shape])
        if self.normalize:
            first = functional.normalize(first, dim=axes[0], eps=config.epsilon())
            second = functional.normalize(second, dim=axes[1], eps=config.epsilon())
        # To (batch, others of the first, size) and (batch, size, others of the second).
        first, second = first.movedim(axes[0], -1), second.movedim(axes[1], 1)
        batch, *others, size = first.shape
        further = second.shape[2:]
        products = torch.bmm(
            first.reshape(batch, math.prod(others), size),
            second.reshape(second.shape[0], size, math.prod(further)),
        )
        return products.reshape(batch, *((*others, *further) or (1,)))

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> Shape:
        """Return the shapes of both without the two axes, one behind the other."""
        shapes = self._shapes(input_shape)
        self._check(shapes)
        first, second = self._axes(shapes)
        sizes = [size for axis, size in enumerate(shapes[0]) if axis not in (0, first)]
        sizes += [size for axis, size in enumerate(shapes[1]) if axis not in (0, second)]
        return (shapes[0][0], *(sizes or [1]))

    def compute_mask(
        self, inputs: Sequence[Any], mask: Sequence[torch.Tensor | None] | None = None
    ) -> None:
        """Return ``None``: sums over an axis have no mask."""
        return None

    def _axes(self, shapes: Sequence[Sequence[int | None]]) -> tuple[int, int]:
        """Return the axis of each input, counted from the front."""
        pair = (self.axes, self.axes) if isinstance(self.axes, int) else self.axes
        first, second = (
            axis + len(shape) if axis < 0 else axis
            for axis, shape in zip(pair, shapes, strict=True)
        )
        return first, second

    def _check(self, shapes: list[Shape]) -> None:
        axes = self._axes(shapes)
        for axis, shape in zip(axes, shapes, strict=True):
            if not 0 < axis < len(shape):
                raise self._misfit(
                    shapes, f"axes={self.axes} must name an axis behind the batch in each"
                )
        sizes = {shape[axis] for axis, shape in zip(axes, shapes, strict=True)} - {None}
        if len(sizes) > 1:
            raise self._misfit(shapes, f"their sizes along axes={self.axes} differ")
        if len({shape[0] for shape in shapes} - {None}) > 1:
            raise self._misfit(shapes, "their batch sizes differ")


def _tensor(x: Any) -> Any:
    """Return a tensor of an array or a Variable; symbolic tensors as they are."""
    return x if isinstance(x, (torch.Tensor, KerasTensor)) else as_tensor(x)


def _with_axes(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """Put axes of length 1 behind the batch."""
    return tensor[(slice(None), *(None,) * count)] if count else tensor
