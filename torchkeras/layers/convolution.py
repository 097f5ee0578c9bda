"""Convolutions over one, two and three axes of space."""

from __future__ import annotations

from typing import Any

from torchkeras.layers import arguments, convolution_modules as modules
from torchkeras.layers.convolution_base import Convolution, Shape, Sizes
from torchkeras.registry import register
from torchkeras.variable import Transform, Weight

KERNEL = Transform(modules.kernel_to_keras, modules.kernel_to_torch)


class BaseConv(Convolution):
    """Convolution: each filter sums up a window of all channels of its group, at every place.

    Args:
        filters: how many channels come out.
        kernel_size: of the window: one number, or one for each axis of space.
        strides: steps between windows: one number, or one for each axis of space.
        padding: ``'valid'`` takes windows inside of the input alone; ``'same'`` pads with zeros so
            that ``ceil(size / stride)`` come out, the odd one behind; along one axis also
            ``'causal'``: no output sees what comes after it.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        dilation_rate: steps between the elements of a window; above 1 only with strides of 1.
        groups: of channels and filters that are convolved apart.
        activation: name, callable or torch module; none unless given.
        use_bias: whether a bias is added.
        kernel_initializer: how the kernel ``(*kernel_size, channels / groups, filters)`` is drawn.
        bias_initializer: how the bias ``(filters,)`` is drawn.
        kernel_regularizer: penalty on the kernel.
        bias_regularizer: penalty on the bias.
        activity_regularizer: penalty on the output.
        kernel_constraint: projection of the kernel after each update.
        bias_constraint: projection of the bias after each update.
        lora_rank: must be ``None``: low-rank adaptation is not supported.
        lora_alpha: must be ``None``.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, *space, channels)``, output ``(batch, *space, filters)``; with the channels
        first ``(batch, channels, *space)`` and ``(batch, filters, *space)``.

    Raises:
        ValueError: for numbers that are not positive, filters that the groups do not divide,
            strides together with dilation, and arguments that are not supported.
    """

    weight_map = (Weight("kernel", "conv.weight", KERNEL), Weight("bias", "conv.bias"))
    config_without = ("lora_rank", "lora_alpha")

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs: Any,
    ):
        title = type(self).__name__
        arguments.refuse(title, lora_rank=lora_rank, lora_alpha=lora_alpha)
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.filters = arguments.positive(title, "filters", filters)
        self.groups = arguments.positive(title, "groups", groups)
        further = ("causal",) if self.rank == 1 else ()
        self._keep_window(kernel_size, strides, padding, data_format, dilation_rate, *further)
        self._keep_output(activation, use_bias)
        self._keep_rules("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self._keep_rules("bias", bias_initializer, bias_regularizer, bias_constraint)
        self._refuse_strides_with_dilation()
        if self.filters % self.groups:
            raise ValueError(
                f"{title}: filters must be a multiple of groups; received filters={self.filters} "
                f"and groups={self.groups}."
            )

    def build(self, input_shape: Shape) -> None:
        """Make the convolution for inputs whose channels are known.

        Raises:
            ValueError: when their number is unknown or no multiple of ``groups``, or the kernel is
                larger than the input.
        """
        channels = self._channels(input_shape)
        if channels % self.groups:
            raise ValueError(
                f"Layer {self.name!r}: the number of channels must be a multiple of groups="
                f"{self.groups}, but the input of shape {tuple(input_shape)} has {channels}."
            )
        self.compute_output_shape(input_shape)
        self.conv = self._module(channels, self.filters, self.groups, self.use_bias)


# Each class has the constructor in its own name: the registry reads old arguments by that.
@register("layer", "Convolution1D")
class Conv1D(BaseConv):
    """Convolution of sequences ``(batch, steps, channels)``.

    The arguments are those of :class:`BaseConv`.
    """

    rank = 1
    __init__ = BaseConv.__init__


@register("layer", "Convolution2D")
class Conv2D(BaseConv):
    """Convolution of images ``(batch, height, width, channels)``.

    The arguments are those of :class:`BaseConv`.
    """

    rank = 2
    __init__ = BaseConv.__init__


@register("layer", "Convolution3D")
class Conv3D(BaseConv):
    """Convolution of volumes ``(batch, depth, height, width, channels)``.

    The arguments are those of :class:`BaseConv`.
    """

    rank = 3
    __init__ = BaseConv.__init__
