"""Poolings over 1, 2 and 3 axes of space: of windows, of so many windows, of everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from torchkeras.layers import pooling_modules as modules
from torchkeras.layers.convolution_modules import channels_first, channels_last
from torchkeras.layers.spatial import Shape, Sizes, Spatial
from torchkeras.registry import register


class _ByModule(Spatial):
    """A pooling that a torch module does, on ``(samples, channels, *space)``.

    Attributes:
        kind: ``'max'`` or ``'average'``.
    """

    kind: str
    pool: nn.Module

    def call(self, inputs: Tensor) -> Tensor:
        """Pool."""
        for step in self._arithmetic():
            inputs = step(inputs)
        return inputs

    def _arithmetic(self) -> Sequence[Callable]:
        return (channels_first, self.pool, channels_last) if self._is_last else (self.pool,)


class BasePooling(_ByModule):
    """Pooling: the largest element, or the mean, of each window of each channel.

    Args:
        pool_size: of the window: one number, or one for each axis of space.
        strides: steps between windows, as ``pool_size``, which it is unless given.
        padding: ``'valid'`` takes windows inside of the input alone; ``'same'`` lets them reach
            over its edges so that ``ceil(size / stride)`` come out; what is beyond does not count.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        name: the layer's.
        kwargs: the further arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, *space, channels)``; with the channels first
        ``(batch, channels, *space)``.

    Raises:
        ValueError: for numbers that are not positive, an unknown padding or layout, and inputs
            smaller than the window with ``'valid'``.
    """

    config_without = ("name",)

    def __init__(
        self,
        pool_size: Sizes = 2,
        strides: Sizes | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.pool_size = self._each("pool_size", pool_size)
        self.strides = self.pool_size if strides is None else self._each("strides", strides)
        if str(padding).lower() not in ("valid", "same"):
            raise ValueError(
                f"{type(self).__name__}: padding must be 'valid' or 'same'; received {padding!r}."
            )
        self.padding = padding.lower()
        self._keep_format(data_format)
        self.pool = self._module()
        self._needs_no_build()

    def _module(self) -> nn.Module:
        """Make the pooling: torch's own where it pads as is asked, else one that does."""
        same = self.padding == "same"
        windows = list(zip(self.pool_size, self.strides))
        # At a stride of 1, 'same' adds as much on both sides of an odd window, whatever the size.
        is_even = all(size == 1 or (size % 2 and stride == 1) for size, stride in windows)
        is_copied = self.rank == 1 and self._is_last
        if is_copied or (same and not is_even):
            kind = modules.SAME[self.kind][self.rank]
            return kind(self.pool_size, self.strides, keras_padding=self.padding)
        kind = modules.PLAIN[self.kind][self.rank]
        padding = tuple(size // 2 if same else 0 for size in self.pool_size)
        given = {} if self.kind == "max" else {"count_include_pad": False}
        return kind(self.pool_size, self.strides, padding, **given)

    def call(self, inputs: Tensor) -> Tensor:
        """Pool.

        Raises:
            ValueError: when the window is larger than the input.
        """
        try:
            return super().call(inputs)
        except (RuntimeError, ValueError):
            self.compute_output_shape(inputs.shape)  # which says what is wrong
            raise

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of what comes out.

        Args:
            input_shape: ``(batch, *space, channels)``, or ``(batch, channels, *space)`` with the
                channels first; ``None`` where unknown.

        Raises:
            ValueError: when the rank is wrong, or the window is larger than the input.
        """
        sizes = self._space(self._with_space(input_shape, self._space(input_shape)))
        space = tuple(map(self._length, sizes, self.pool_size, self.strides))
        if any(size is not None and size < 1 for size in space):
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}) has nothing to give for an input of "
                f"shape {tuple(input_shape)}: pool_size={self.pool_size} is larger than what there "
                "is. Use padding='same', a smaller pool_size or a larger input."
            )
        return self._with_space(input_shape, space)

    def _length(self, size: int | None, window: int, stride: int) -> int | None:
        """Return how many windows an axis has."""
        if size is None:
            return None
        return (size - window) // stride + 1 if self.padding == "valid" else -(-size // stride)


# Each class has the constructor in its own name: the registry reads old arguments by that.
@register("layer", "MaxPool1D")
class MaxPooling1D(BasePooling):
    """The largest of each window of sequences ``(batch, steps, channels)``; see `BasePooling`."""

    kind, rank = "max", 1
    __init__ = BasePooling.__init__


@register("layer", "MaxPool2D")
class MaxPooling2D(BasePooling):
    """The largest of each window of images; see `BasePooling`."""

    kind, rank = "max", 2
    __init__ = BasePooling.__init__


@register("layer", "MaxPool3D")
class MaxPooling3D(BasePooling):
    """The largest of each window of volumes; see `BasePooling`."""

    kind, rank = "max", 3
    __init__ = BasePooling.__init__


@register("layer", "AvgPool1D")
class AveragePooling1D(BasePooling):
    """The mean of each window of sequences ``(batch, steps, channels)``; see `BasePooling`."""

    float_inputs = True
    kind, rank = "average", 1
    __init__ = BasePooling.__init__


@register("layer", "AvgPool2D")
class AveragePooling2D(BasePooling):
    """The mean of each window of images; see `BasePooling`."""

    float_inputs = True
    kind, rank = "average", 2
    __init__ = BasePooling.__init__


@register("layer", "AvgPool3D")
class AveragePooling3D(BasePooling):
    """The mean of each window of volumes; see `BasePooling`."""

    float_inputs = True
    kind, rank = "average", 3
    __init__ = BasePooling.__init__


class BaseAdaptivePooling(_ByModule):
    """Pooling of so many windows, which cover the whole input whatever its size.

    Window ``i`` of ``n`` over ``size`` elements goes from ``floor(i * size / n)`` to
    ``ceil((i + 1) * size / n)``, as torch's adaptive poolings have it.

    Args:
        output_size: how many windows there are: one number, or one for each axis of space.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, *space, channels)``, output ``(batch, *output_size, channels)``; with the
        channels first ``(batch, channels, *space)`` and ``(batch, channels, *output_size)``.

    Raises:
        ValueError: for numbers that are not positive, or an unknown layout.
        TypeError: for an ``output_size`` that is neither a number nor numbers.
    """

    def __init__(self, output_size: Sizes, data_format: str | None = None, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(output_size, (int, list, tuple)):
            raise TypeError(
                f"{type(self).__name__}: `output_size` must be an integer or {self.rank} of them; "
                f"received {output_size!r}."
            )
        self.output_size = self._each("`output_size`", output_size)
        self._keep_format(data_format)
        self.pool = modules.ADAPTIVE[self.kind][self.rank](self.output_size)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the input's shape with the sizes of the windows' numbers."""
        return self._with_space(input_shape, self.output_size)


@register("layer")
class AdaptiveAveragePooling1D(BaseAdaptivePooling):
    """The means of so many windows of sequences; see `BaseAdaptivePooling`."""

    float_inputs = True
    kind, rank = "average", 1
    __init__ = BaseAdaptivePooling.__init__


@register("layer")
class AdaptiveAveragePooling2D(BaseAdaptivePooling):
    """The means of so many windows of images; see `BaseAdaptivePooling`."""

    float_inputs = True
    kind, rank = "average", 2
    __init__ = BaseAdaptivePooling.__init__


@register("layer")
class AdaptiveAveragePooling3D(BaseAdaptivePooling):
    """The means of so many windows of volumes; see `BaseAdaptivePooling`."""

    float_inputs = True
    kind, rank = "average", 3
    __init__ = BaseAdaptivePooling.__init__


@register("layer")
class AdaptiveMaxPooling1D(BaseAdaptivePooling):
    """The largest elements of so many windows of sequences; see `BaseAdaptivePooling`."""

    kind, rank = "max", 1
    __init__ = BaseAdaptivePooling.__init__


@register("layer")
class AdaptiveMaxPooling2D(BaseAdaptivePooling):
    """The largest elements of so many windows of images; see `BaseAdaptivePooling`."""

    kind, rank = "max", 2
    __init__ = BaseAdaptivePooling.__init__


@register("layer")
class AdaptiveMaxPooling3D(BaseAdaptivePooling):
    """The largest elements of so many windows of volumes; see `BaseAdaptivePooling`."""

    kind, rank = "max", 3
    __init__ = BaseAdaptivePooling.__init__


class BaseGlobalPooling(Spatial):
    """Pooling of each channel as a whole.

    Args:
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        keepdims: whether axes of space stay, of size 1.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, *space, channels)``, or ``(batch, channels, *space)`` with the channels
        first; output ``(batch, channels)``.

    Raises:
        ValueError: for an unknown layout.
    """

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs):
        super().__init__(**kwargs)
        self._keep_format(data_format)
        self.keepdims = keepdims
        self._needs_no_build()

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return ``(batch, channels)``, with axes of space of size 1 where they stay."""
        return self._with_space(input_shape, (1,) * self.rank if self.keepdims else ())


class _Largest(BaseGlobalPooling):
    """The largest element of each channel."""

    def call(self, inputs: Tensor) -> Tensor:
        """Return the largest elements."""
        # One axis after the other: torch is many times slower along several at once.
        for axis in self._axes if self.keepdims else self._axes[:1] * self.rank:
            inputs = torch.amax(inputs, axis, self.keepdims)
        return inputs


class _Mean(BaseGlobalPooling):
    """The mean of each channel."""

    float_inputs = True

    def call(self, inputs: Tensor) -> Tensor:
        """Return the means."""
        return torch.mean(inputs, self._axes, self.keepdims)


@register("layer", "GlobalMaxPool1D")
class GlobalMaxPooling1D(_Largest):
    """The largest element of each channel of sequences; see `BaseGlobalPooling`."""

    rank = 1
    __init__ = BaseGlobalPooling.__init__


@register("layer", "GlobalMaxPool2D")
class GlobalMaxPooling2D(_Largest):
    """The largest element of each channel of images; see `BaseGlobalPooling`."""

    rank = 2
    __init__ = BaseGlobalPooling.__init__


@register("layer", "GlobalMaxPool3D")
class GlobalMaxPooling3D(_Largest):
    """The largest element of each channel of volumes; see `BaseGlobalPooling`."""

    rank = 3
    __init__ = BaseGlobalPooling.__init__


@register("layer", "GlobalAvgPool1D")
class GlobalAveragePooling1D(BaseGlobalPooling):
    """The mean of each channel of sequences, of the steps that count; see `BaseGlobalPooling`."""

    float_inputs = True
    supports_masking = True
    rank = 1
    __init__ = BaseGlobalPooling.__init__

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the means.

        Args:
            inputs: ``(batch, steps, channels)``, or ``(batch, channels, steps)``.
            mask: ``(batch, steps)``, false where a step does not count.
        """
        axis = self._axes[0]
        if mask is None:
            return torch.mean(inputs, axis, self.keepdims)
        counts = mask.to(torch.bool).unsqueeze(2 if self._is_last else 1)
        # Where and not a product: what is masked may be infinite.
        total = torch.where(counts, inputs, 0).sum(axis, self.keepdims)
        return total / counts.to(inputs.dtype).sum(axis, self.keepdims)

    def compute_mask(self, inputs, mask=None) -> None:
        """Return none: no step is left."""
        return None


@register("layer", "GlobalAvgPool2D")
class GlobalAveragePooling2D(_Mean):
    """The mean of each channel of images; see `BaseGlobalPooling`."""

    rank = 2
    __init__ = BaseGlobalPooling.__init__


@register("layer", "GlobalAvgPool3D")
class GlobalAveragePooling3D(_Mean):
    """The mean of each channel of volumes; see `BaseGlobalPooling`."""

    rank = 3
    __init__ = BaseGlobalPooling.__init__
