"""Layers that give their input another shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from torchkeras import config
from torchkeras.layers import arguments
from torchkeras.layers.base import Layer
from torchkeras.layers.spec import InputSpec
from torchkeras.registry import register


@register("layer")
class Flatten(Layer):
    """Flattens each sample to one axis.

    Args:
        data_format: ``'channels_last'`` or ``'channels_first'`` (the channels are then moved last
            before flattening, so that both give the same order); the default of ``config`` unless
            given.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, …)``, output ``(batch, product)``; ``(batch,)`` gives ``(batch, 1)``.

    Raises:
        ValueError: for an unknown ``data_format``.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = data_format or config.image_data_format()
        if self.data_format not in ("channels_last", "channels_first"):
            raise ValueError(
                "Flatten: data_format must be 'channels_last' or 'channels_first'; received "
                f"{data_format!r}."
            )

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Flatten all axes but the first."""
        if self.data_format == "channels_first" and inputs.dim() > 2:
            inputs = inputs.movedim(1, -1)
        return inputs.flatten(1) if inputs.dim() > 1 else inputs.unsqueeze(1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return ``(batch, product)``; ``None`` where a dimension is unknown."""
        sizes = input_shape[1:]
        return (input_shape[0], None if None in sizes else math.prod(sizes))


@register("layer")
class Reshape(Layer):
    """Gives each sample another shape.

    Args:
        target_shape: shape of one sample; one entry may be -1 and is worked out.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, …)``, output ``(batch, *target_shape)``.

    Raises:
        ValueError: when a sample does not fit into ``target_shape``.
    """

    def __init__(self, target_shape: Sequence[int] | int, **kwargs: Any):
        super().__init__(**kwargs)
        shape = (target_shape,) if isinstance(target_shape, int) else tuple(target_shape)
        if sum(size == -1 for size in shape) > 1 or any(size < -1 for size in shape):
            raise ValueError(
                f"Reshape: target_shape takes sizes and at most one -1; received {target_shape!r}."
            )
        self.target_shape = shape
        self._needs_no_build()

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Reshape all axes but the first."""
        return inputs.reshape(inputs.shape[0], *self._resolve(inputs.shape[1:]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return ``(batch, *target_shape)``, -1 worked out where the input's shape is known."""
        return (input_shape[0], *self._resolve(tuple(input_shape[1:])))

    def _resolve(self, sizes: Sequence[int | None]) -> tuple[int | None, ...]:
        """Work out -1 for a sample of given sizes."""
        if None in sizes:
            return tuple(None if size == -1 else size for size in self.target_shape)
        total = math.prod(sizes)
        known = math.prod([size for size in self.target_shape if size != -1])
        if (total != known) if -1 not in self.target_shape else (known == 0 or total % known):
            raise ValueError(
                f"Layer {self.name!r} cannot reshape a sample of shape {tuple(sizes)} ({total} "
                f"numbers) to {self.target_shape}."
            )
        return tuple(total // known if size == -1 else size for size in self.target_shape)


@register("layer")
class Permute(Layer):
    """Puts the axes of each sample into another order.

    Args:
        dims: for each axis of the output the input's axis, counted from 1: ``(2, 1)`` swaps two.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, …)``, output ``(batch, …)`` in the order of ``dims``.

    Raises:
        ValueError: when ``dims`` is no order of ``1, 2, …``.
    """

    def __init__(self, dims: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.dims = tuple(dims) if isinstance(dims, Sequence) else ()
        is_order = all(type(axis) is int for axis in self.dims) and (
            sorted(self.dims) == list(range(1, len(self.dims) + 1))
        )
        if not self.dims or not is_order:
            raise ValueError(
                "Permute: dims must hold each of 1, 2, … once, such as (2, 1); the batch does not "
                f"count. Received {dims!r}."
            )
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Permute the axes."""
        return inputs.permute(0, *self.dims)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape in the order of ``dims``."""
        self.input_spec.check(self.name, input_shape)
        return (input_shape[0], *(input_shape[axis] for axis in self.dims))


@register("layer")
class RepeatVector(Layer):
    """Repeats each sample's vector, as the steps of a sequence.

    Args:
        n: how often.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, features)``, output ``(batch, n, features)``.

    Raises:
        ValueError: when ``n`` is no positive integer.
    """

    def __init__(self, n: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.n = arguments.positive("RepeatVector", "n", n)
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Repeat."""
        return inputs.unsqueeze(1).repeat(1, self.n, 1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return ``(batch, n, features)``."""
        self.input_spec.check(self.name, input_shape)
        return (input_shape[0], self.n, input_shape[1])
