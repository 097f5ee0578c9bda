"""Convolutions of each channel by itself, alone or followed by one that mixes the channels."""

from __future__ import annotations

import functools
from typing import Any

from torch import nn

from torchkeras.layers import arguments, convolution_modules as modules
from torchkeras.layers.base import empty_module
from torchkeras.layers.convolution import KERNEL
from torchkeras.layers.convolution_base import Convolution, Shape, Sizes
from torchkeras.registry import register
from torchkeras.variable import Transform, Weight


def _row(name: str, path: str, multiplier: int = 1) -> Weight:
    """Return how a depthwise kernel lies in torch's module."""
    to_keras = functools.partial(modules.depthwise_to_keras, multiplier)
    return Weight(name, path, Transform(to_keras, modules.depthwise_to_torch))


def _same_as(name: str) -> property:
    """Let an attribute be another's second name."""
    return property(
        lambda self: getattr(self, name), lambda self, value: setattr(self, name, value)
    )


class BaseDepthwiseConv(Convolution):
    """Depthwise convolution: filters that see one channel each, ``depth_multiplier`` a channel.

    Args:
        kernel_size: of the window: one number, or one for each axis of space.
        strides: steps between windows: one number, or one for each axis of space.
        padding: ``'valid'`` takes windows inside of the input alone; ``'same'`` pads with zeros so
            that ``ceil(size / stride)`` come out, the odd one behind.
        depth_multiplier: how many channels come out for each that comes in.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        dilation_rate: steps between the elements of a window.
        activation: name, callable or torch module; none unless given.
        use_bias: whether a bias is added.
        depthwise_initializer: how the kernel ``(*kernel_size, channels, depth_multiplier)`` is
            drawn.
        bias_initializer: how the bias ``(channels * depth_multiplier,)`` is drawn.
        depthwise_regularizer: penalty on the kernel.
        bias_regularizer: penalty on the bias.
        activity_regularizer: penalty on the output.
        depthwise_constraint: projection of the kernel after each update.
        bias_constraint: projection of the bias after each update.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, *space, channels)``, output ``(batch, *space, channels *
        depth_multiplier)``; with the channels first, they stand behind the batch.

    Raises:
        ValueError: for numbers that are not positive.
    """

    weight_map = (_row("kernel", "conv.weight"), Weight("bias", "conv.bias"))
    kernel_initializer = _same_as("depthwise_initializer")
    kernel_regularizer = _same_as("depthwise_regularizer")
    kernel_constraint = _same_as("depthwise_constraint")

    def __init__(
        self,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        title = type(self).__name__
        self.depth_multiplier = arguments.positive(title, "depth_multiplier", depth_multiplier)
        self._keep_window(kernel_size, strides, padding, data_format, dilation_rate)
        self._keep_output(activation, use_bias)
        rules = depthwise_initializer, depthwise_regularizer, depthwise_constraint
        self._keep_rules("depthwise", *rules)
        self._keep_rules("bias", bias_initializer, bias_regularizer, bias_constraint)
        # The kernel's layout depends on the multiplier.
        row = _row("kernel", "conv.weight", self.depth_multiplier)
        self.__dict__["weight_map"] = (row, *type(self).weight_map[1:])

    def build(self, input_shape: Shape) -> None:
        """Make the convolution for inputs whose channels are known.

        Raises:
            ValueError: when their number is unknown, or the kernel is larger than the input.
        """
        channels = self._channels(input_shape)
        self.compute_output_shape(input_shape)
        filters = channels * self.depth_multiplier
        self.conv = self._module(channels, filters, channels, self.use_bias)

    def _filters(self, input_shape: Shape) -> int | None:
        channels = input_shape[-1 if self._is_last else 1]
        return None if channels is None else channels * self.depth_multiplier


class BaseSeparableConv(Convolution):
    """Separable convolution: each channel by itself, then a mixture of the channels.

    Args:
        filters: how many channels come out.
        kernel_size: of the window: one number, or one for each axis of space.
        strides: steps between windows: one number, or one for each axis of space.
        padding: ``'valid'`` takes windows inside of the input alone; ``'same'`` pads with zeros so
            that ``ceil(size / stride)`` come out, the odd one behind.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        dilation_rate: steps between the elements of a window.
        depth_multiplier: how many channels are made of each before they are mixed.
        activation: name, callable or torch module; none unless given.
        use_bias: whether a bias is added.
        depthwise_initializer: how the first kernel ``(*kernel_size, channels, depth_multiplier)``
            is drawn.
        pointwise_initializer: how the second one, ``(1, …, channels * depth_multiplier, filters)``.
        bias_initializer: how the bias ``(filters,)`` is drawn.
        depthwise_regularizer: penalty on the first kernel.
        pointwise_regularizer: penalty on the second one.
        bias_regularizer: penalty on the bias.
        activity_regularizer: penalty on the output.
        depthwise_constraint: projection of the first kernel after each update.
        pointwise_constraint: projection of the second one.
        bias_constraint: projection of the bias after each update.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, *space, channels)``, output ``(batch, *space, filters)``; with the channels
        first ``(batch, channels, *space)`` and ``(batch, filters, *space)``.

    Raises:
        ValueError: for numbers that are not positive.
    """

    weight_map = (
        _row("depthwise_kernel", "depthwise.weight"),
        Weight("pointwise_kernel", "pointwise.weight", KERNEL),
        Weight("bias", "pointwise.bias"),
    )
    depthwise_kernel_initializer = _same_as("depthwise_initializer")
    depthwise_kernel_regularizer = _same_as("depthwise_regularizer")
    depthwise_kernel_constraint = _same_as("depthwise_constraint")
    pointwise_kernel_initializer = _same_as("pointwise_initializer")
    pointwise_kernel_regularizer = _same_as("pointwise_regularizer")
    pointwise_kernel_constraint = _same_as("pointwise_constraint")

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        title = type(self).__name__
        self.filters = arguments.positive(title, "filters", filters)
        self.depth_multiplier = arguments.positive(title, "depth_multiplier", depth_multiplier)
        self._keep_window(kernel_size, strides, padding, data_format, dilation_rate)
        self._keep_output(activation, use_bias)
        depthwise = depthwise_initializer, depthwise_regularizer, depthwise_constraint
        pointwise = pointwise_initializer, pointwise_regularizer, pointwise_constraint
        self._keep_rules("depthwise", *depthwise)
        self._keep_rules("pointwise", *pointwise)
        self._keep_rules("bias", bias_initializer, bias_regularizer, bias_constraint)
        # The first kernel's layout depends on the multiplier.
        row = _row("depthwise_kernel", "depthwise.weight", self.depth_multiplier)
        self.__dict__["weight_map"] = (row, *type(self).weight_map[1:])

    def build(self, input_shape: Shape) -> None:
        """Make both convolutions for inputs whose channels are known.

        Raises:
            ValueError: when their number is unknown, or the kernel is larger than the input.
        """
        channels = self._channels(input_shape)
        self.compute_output_shape(input_shape)
        between = channels * self.depth_multiplier
        self.depthwise = self._module(channels, between, channels, False)
        is_copied = self.rank == 1 and self._is_last
        kind = (modules.PADDED if is_copied else modules.PLAIN)[self.rank]
        mixing = empty_module(
            kind,
            between,
            self.filters,
            1,
            bias=self.use_bias,
            dtype=self.dtype_policy.torch_dtype,
            **({"keras_padding": "valid"} if is_copied else {}),
        )
        self.pointwise = self._laid_out(mixing)

    def _convolutions(self) -> tuple[nn.Module, ...]:
        return (self.depthwise, self.pointwise)


# Each class has the constructor in its own name: the registry reads old arguments by that.
@register("layer")
class DepthwiseConv1D(BaseDepthwiseConv):
    """Depthwise convolution of sequences ``(batch, steps, channels)``.

    The arguments are those of :class:`BaseDepthwiseConv`.
    """

    rank = 1
    __init__ = BaseDepthwiseConv.__init__


@register("layer")
class DepthwiseConv2D(BaseDepthwiseConv):
    """Depthwise convolution of images ``(batch, height, width, channels)``.

    The arguments are those of :class:`BaseDepthwiseConv`.
    """

    rank = 2
    __init__ = BaseDepthwiseConv.__init__


@register("layer", "SeparableConvolution1D")
class SeparableConv1D(BaseSeparableConv):
    """Separable convolution of sequences ``(batch, steps, channels)``.

    The arguments are those of :class:`BaseSeparableConv`.
    """

    rank = 1
    __init__ = BaseSeparableConv.__init__


@register("layer", "SeparableConvolution2D")
class SeparableConv2D(BaseSeparableConv):
    """Separable convolution of images ``(batch, height, width, channels)``.

    The arguments are those of :class:`BaseSeparableConv`.
    """

    rank = 2
    __init__ = BaseSeparableConv.__init__
