"""Convolutions whose every place has a kernel of its own."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

from torchkeras.layers import arguments
from torchkeras.layers.convolution_base import Convolution, Shape, Sizes
from torchkeras.layers.spec import InputSpec
from torchkeras.ops import spatial
from torchkeras.registry import register


class LocallyConnected(Convolution):
    """Locally connected: a convolution without shared weights, each place has its own.

    Args:
        filters: how many channels come out.
        kernel_size: of the window: one number, or one for each axis of space.
        strides: steps between windows: one number, or one for each axis of space.
        padding: ``'valid'``; with ``implementation`` 2 or 3 also ``'same'``.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        activation: name, callable or torch module; none unless given.
        use_bias: whether a bias is added, of its own at each place.
        kernel_initializer: how the kernel ``(places, numbers of a window, filters)`` is drawn; the
            numbers go as the input's axes do.
        bias_initializer: how the bias is drawn, which has the output's shape.
        kernel_regularizer: penalty on the kernel.
        bias_regularizer: penalty on the bias.
        activity_regularizer: penalty on the output.
        kernel_constraint: projection of the kernel after each update.
        bias_constraint: projection of the bias after each update.
        implementation: 1, 2 or 3: how tf.keras computed it. Here one way, with the weights of the
            first, serves for all.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, *space, channels)``, output ``(batch, *space, filters)``; with the channels
        first ``(batch, channels, *space)`` and ``(batch, filters, *space)``.

    Raises:
        ValueError: for numbers that are not positive, another implementation, or ``'same'`` with
            the first.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        implementation: int = 1,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        title = type(self).__name__
        self.filters = arguments.positive(title, "filters", filters)
        self._keep_window(kernel_size, strides, padding, data_format, 1)
        if implementation not in (1, 2, 3):
            raise ValueError(
                f"{title}: implementation must be 1, 2 or 3; received {implementation!r}."
            )
        if implementation == 1 and self.padding != "valid":
            raise ValueError(
                f"{title}: padding={padding!r} needs implementation=2 or 3; the first knows "
                "'valid' alone."
            )
        self.implementation = implementation
        self._keep_output(activation, use_bias)
        self._keep_rules("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self._keep_rules("bias", bias_initializer, bias_regularizer, bias_constraint)

    def build(self, input_shape: Shape) -> None:
        """Make kernel and bias for inputs of one size.

        Raises:
            ValueError: when a size is unknown, or the kernel is larger than the input.
        """
        channels, space = self._channels(input_shape), self._space(input_shape)
        if None in space:
            raise ValueError(
                f"Layer {self.name!r} has weights for each place and needs the input's size along "
                f"every axis of space, but received shape {tuple(input_shape)}."
            )
        sizes = dict(enumerate(input_shape[1:], 1))
        self.input_spec = InputSpec(ndim=self.rank + 2, axes=sizes)
        places = self._space(self.compute_output_shape(input_shape))
        self.kernel = self.add_weight(
            name="kernel",
            shape=(math.prod(places), math.prod(self.kernel_size) * channels, self.filters),
            initializer=self.kernel_initializer,
        )
        self.bias = None
        if self.use_bias:
            # Keras 2 knows places before filters alone.
            self.bias = self.add_weight(
                name="bias", shape=(*places, self.filters), initializer=self.bias_initializer
            )

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply each window by the kernel of its place; add the bias, apply the activation."""
        x = self._padded(inputs) if self.padding == "same" else inputs
        kernel = self.kernel.value
        y = spatial.convolved_locally(x, kernel, self.kernel_size, self.strides, self._is_last)
        if self.use_bias:
            y = y + self.bias.value
        y = y if self._is_last else y.movedim(-1, 1)
        return y if self.activation is None else self.activation(y)

    def _padded(self, x: torch.Tensor) -> torch.Tensor:
        first = 1 if self._is_last else 2
        sizes = x.shape[first : first + self.rank]
        pads = list(map(spatial.same_padding, sizes, self.kernel_size, self.strides))
        flat = [size for sides in reversed(pads) for size in sides]
        return functional.pad(x, [0, 0, *flat] if self._is_last else flat)

    def _arithmetic(self) -> tuple:
        return (self.call,)


# Each class has the constructor in its own name: the registry reads old arguments by that.
@register("layer")
class LocallyConnected1D(LocallyConnected):
    """Local kernels over sequences ``(batch, steps, channels)``.

    The arguments are those of :class:`LocallyConnected`.
    """

    rank = 1
    __init__ = LocallyConnected.__init__


@register("layer")
class LocallyConnected2D(LocallyConnected):
    """Local kernels over images ``(batch, height, width, channels)``.

    The arguments are those of :class:`LocallyConnected`.
    """

    rank = 2
    __init__ = LocallyConnected.__init__
