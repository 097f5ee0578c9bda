"""Activations as layers of their own, with the arguments of each."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from torchkeras import activations, constraints, eras, initializers, regularizers
from torchkeras.layers.base import Layer
from torchkeras.layers.spec import InputSpec
from torchkeras.registry import register


class _Elementwise(Layer):
    """Base of what keeps the shape of its input, and its mask."""

    supports_masking = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        return input_shape


def _not_negative(owner: str, name: str, value: Any) -> Any:
    """Return an argument that must be a number from 0.

    Raises:
        ValueError: when it is none.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not value >= 0:
        raise ValueError(f"{owner}: {name} must be a number from 0; received {value!r}.")
    return value


@register("layer")
class ReLU(_Elementwise):
    """Rectified linear unit.

    It is ``max_value`` from there on, the input itself from the threshold up to it, and
    ``negative_slope * (x - threshold)`` below the threshold.

    Args:
        max_value: upper bound of the output; none unless given.
        negative_slope: slope below the threshold.
        threshold: what the input must reach to stay.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``.

    Raises:
        ValueError: when an argument is negative.
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if max_value is not None:
            max_value = _not_negative("ReLU", "max_value", max_value)
        self.max_value = max_value
        self.negative_slope = _not_negative("ReLU", "negative_slope", negative_slope)
        self.threshold = _not_negative("ReLU", "threshold", threshold)
        self._needs_no_build()

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Rectify."""
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)


@register("layer")
class LeakyReLU(_Elementwise):
    """Returns its input where positive, else ``negative_slope`` times it.

    Args:
        negative_slope: slope below 0.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``.

    Raises:
        ValueError: when the slope is negative, which Keras 1 and 2 allowed.
    """

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any):
        super().__init__(**kwargs)
        if not eras.value("leaky_relu.takes_negative"):
            _not_negative("LeakyReLU", "negative_slope", negative_slope)
        self.negative_slope = negative_slope
        self._needs_no_build()

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Rectify."""
        return functional.leaky_relu(inputs, self.negative_slope)


@register("layer")
class ELU(_Elementwise):
    """Returns its input where positive, else ``alpha * (exp(x) - 1)``.

    Args:
        alpha: minus the limit on the left.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``.
    """

    def __init__(self, alpha: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.alpha = alpha
        self._needs_no_build()

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Apply the unit."""
        return functional.elu(inputs, self.alpha)


@register("layer")
class ThresholdedReLU(_Elementwise):
    """Returns its input where above ``theta``, else 0.

    Args:
        theta: the threshold.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``.

    Raises:
        ValueError: when ``theta`` is negative.

    Source: Konda et al. 2014, arXiv:1402.3337.
    """

    def __init__(self, theta: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.theta = _not_negative("ThresholdedReLU", "theta", theta)
        self._needs_no_build()

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Rectify."""
        return functional.threshold(inputs, self.theta, 0.0)


@register("layer")
class PReLU(_Elementwise):
    """Returns its input where positive, else ``alpha`` times it, an array that is learned.

    Args:
        alpha_initializer: how ``alpha`` is drawn.
        alpha_regularizer: penalty on ``alpha``.
        alpha_constraint: projection of ``alpha`` after each update.
        shared_axes: axes along which ``alpha`` is the same, counted from 1: ``[1, 2]`` for one
            number a channel of images.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``; ``alpha`` has the shape of a sample, 1 at shared axes.

    Raises:
        ValueError: when built, for an axis that is no axis of a sample, or one of unknown size that
            is not shared.

    Source: He et al. 2015, arXiv:1502.01852.
    """

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Sequence[int] | int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        if shared_axes is not None:
            shared_axes = [shared_axes] if isinstance(shared_axes, int) else list(shared_axes)
        self.shared_axes = shared_axes

    def build(self, input_shape: Any) -> None:
        """Make ``alpha`` for the shape of a sample."""
        rank, shape, shared = len(input_shape), list(input_shape[1:]), self.shared_axes or ()
        for axis in shared:
            if not 0 < axis < rank:
                raise ValueError(
                    f"Layer {self.name!r}: shared_axes must name axes of a sample, from 1 to "
                    f"{rank - 1} for an input of shape {tuple(input_shape)}; received "
                    f"{self.shared_axes}."
                )
            shape[axis - 1] = 1
        if None in shape:
            raise ValueError(
                f"Layer {self.name!r} needs to know the size of each axis that is not among "
                f"shared_axes={self.shared_axes}; received an input of shape {tuple(input_shape)}."
            )
        self.alpha = self.add_weight(
            name="alpha",
            shape=shape,
            initializer=self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
        )
        axes = {axis: input_shape[axis] for axis in range(1, rank) if axis not in shared}
        self.input_spec = InputSpec(ndim=rank, axes=axes if shared else None)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Rectify."""
        # Not torch.prelu, which has one number for each place of one axis alone.
        return torch.relu(inputs) - self.alpha.value * torch.relu(-inputs)


@register("layer")
class Softmax(_Elementwise):
    """Returns ``exp(x) / sum(exp(x))``.

    Args:
        axis: of the sum; a list for several taken together.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``.
    """

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axis
        self._needs_no_build()

    def call(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Apply the softmax.

        Args:
            inputs: ``(batch, …)``.
            mask: that broadcasts to the input: what is false takes no part, and is 0.

        Raises:
            ValueError: for a mask of another shape.
        """
        if mask is None:
            return activations.softmax(inputs, self.axis)
        self._check_mask(inputs, mask)
        if mask.dtype is not torch.bool:
            mask = mask > 0.5
        # A number, not -inf: of a row that is masked as a whole those would make NaN.
        low = -3e4 if inputs.dtype is torch.float16 else -1e9
        return activations.softmax(inputs.masked_fill(~mask, low), self.axis).masked_fill(~mask, 0)

    def _check_mask(self, inputs: torch.Tensor, mask: torch.Tensor) -> None:
        sizes = zip(reversed(mask.shape), reversed(inputs.shape))
        if mask.dim() > inputs.dim() or any(one not in (1, size) for one, size in sizes):
            raise ValueError(
                f"Layer {self.name!r}: the mask must broadcast to the input; received a mask of "
                f"shape {tuple(mask.shape)} for an input of shape {tuple(inputs.shape)}."
            )
