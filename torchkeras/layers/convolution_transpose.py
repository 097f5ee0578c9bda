"""Transposed convolutions: the gradients of convolutions, which make images larger."""

from __future__ import annotations

from typing import Any

from torchkeras.layers import arguments, convolution_modules as modules
from torchkeras.layers.base import empty_module
from torchkeras.layers.convolution import KERNEL
from torchkeras.layers.convolution_base import Convolution, Shape, Sizes
from torchkeras.ops.convolution import transposed_cuts
from torchkeras.registry import register
from torchkeras.variable import Weight


class BaseConvTranspose(Convolution):
    """Transposed convolution: each element of the input adds a window to the output.

    Args:
        filters: how many channels come out.
        kernel_size: of the window: one number, or one for each axis of space.
        strides: steps between windows in the output: one number, or one for each axis of space.
        padding: ``'valid'`` gives all that the windows cover, ``(size - 1) * stride +
            max(window, stride)``; ``'same'`` gives ``size * stride``.
        output_padding: how much longer the output shall be than ``(size - 1) * stride + window``
            (``'valid'``) or ``(size - 1) * stride + window % 2`` (``'same'``), below the stride.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        dilation_rate: steps between the elements of a window; above 1 only with strides of 1.
        activation: name, callable or torch module; none unless given.
        use_bias: whether a bias is added.
        kernel_initializer: how the kernel ``(*kernel_size, filters, channels)`` is drawn.
        bias_initializer: how the bias ``(filters,)`` is drawn.
        kernel_regularizer: penalty on the kernel.
        bias_regularizer: penalty on the bias.
        activity_regularizer: penalty on the output.
        kernel_constraint: projection of the kernel after each update.
        bias_constraint: projection of the bias after each update.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, *space, channels)``, output ``(batch, *space, filters)``; with the channels
        first ``(batch, channels, *space)`` and ``(batch, filters, *space)``.

    Raises:
        ValueError: for numbers that are not positive, an output_padding that is not below the
            stride, and strides together with dilation.
    """

    weight_map = (Weight("kernel", "conv.weight", KERNEL), Weight("bias", "conv.bias"))

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        output_padding: Sizes | None = None,
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        title = type(self).__name__
        self.filters = arguments.positive(title, "filters", filters)
        self._keep_window(kernel_size, strides, padding, data_format, dilation_rate)
        self._keep_output(activation, use_bias)
        self._keep_rules("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self._keep_rules("bias", bias_initializer, bias_regularizer, bias_constraint)
        self._refuse_strides_with_dilation()
        self.output_padding = None
        if output_padding is not None:
            self.output_padding = self._each("output_padding", output_padding, least=0)
            if any(more >= stride for more, stride in zip(self.output_padding, self.strides)):
                raise ValueError(
                    f"{title}: output_padding must be below strides along every axis; received "
                    f"output_padding={self.output_padding} and strides={self.strides}."
                )

    def build(self, input_shape: Shape) -> None:
        """Make the transposed convolution for inputs whose channels are known.

        Raises:
            ValueError: when their number is unknown.
        """
        channels = self._channels(input_shape)
        wanted = self.output_padding or (None,) * self.rank
        settings = self._windows, self.strides, wanted, self.dilation_rate
        if self.rank == 1:
            settings = (1, *settings[0]), (1, *settings[1]), (0, *wanted), (1, *settings[3])
        cuts = transposed_cuts(self.padding, *settings)
        if any(cuts.rest) or (self.rank == 1 and self._is_last):
            kind, how = modules.CUT[self.rank], {"cuts": cuts}
        else:
            kind = modules.PLAIN_TRANSPOSE[self.rank]
            how = {
                "padding": tuple(cuts.before[-self.rank :]),
                "output_padding": tuple(cuts.added[-self.rank :]),
            }
        module = empty_module(
            kind,
            channels,
            self.filters,
            self.kernel_size,
            stride=self.strides,
            dilation=self.dilation_rate,
            bias=self.use_bias,
            dtype=self.dtype_policy.torch_dtype,
            **how,
        )
        self.conv = self._laid_out(module)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of what comes out.

        Args:
            input_shape: ``(batch, *space, channels)``, or ``(batch, channels, *space)`` with the
                channels first; ``None`` where unknown.

        Raises:
            ValueError: when the rank is wrong.
        """
        self.input_spec.check(self.name, input_shape)
        wanted = self.output_padding or (None,) * self.rank
        space = map(self._longer, self._space(input_shape), self._windows, self.strides, wanted)
        return self._shape(input_shape[0], tuple(space), self.filters)

    def _longer(self, size: int | None, window: int, stride: int, more: int | None) -> int | None:
        """Return how many outputs an axis has."""
        if size is None:
            return None
        if more is None:
            return size * stride + (max(window - stride, 0) if self.padding == "valid" else 0)
        return (size - 1) * stride + (window if self.padding == "valid" else window % 2) + more


# Each class has the constructor in its own name: the registry reads old arguments by that.
@register("layer", "Convolution1DTranspose")
class Conv1DTranspose(BaseConvTranspose):
    """Transposed convolution of sequences ``(batch, steps, channels)``.

    The arguments are those of :class:`BaseConvTranspose`.
    """

    rank = 1
    __init__ = BaseConvTranspose.__init__


@register("layer", "Convolution2DTranspose")
class Conv2DTranspose(BaseConvTranspose):
    """Transposed convolution of images ``(batch, height, width, channels)``.

    The arguments are those of :class:`BaseConvTranspose`.
    """

    rank = 2
    __init__ = BaseConvTranspose.__init__


@register("layer", "Convolution3DTranspose")
class Conv3DTranspose(BaseConvTranspose):
    """Transposed convolution of volumes ``(batch, depth, height, width, channels)``.

    The arguments are those of :class:`BaseConvTranspose`.
    """

    rank = 3
    __init__ = BaseConvTranspose.__init__
