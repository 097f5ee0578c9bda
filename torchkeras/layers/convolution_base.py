"""What all convolution layers share: their arguments' checks, shapes, and the way of a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras import activations, constraints, initializers, regularizers
from torchkeras.layers import convolution_modules as modules
from torchkeras.layers.base import Layer, empty_module
from torchkeras.layers.spec import InputSpec
from torchkeras.ops import spatial

Sizes = int | Sequence[int]
Shape = tuple[int | None, ...]

# Activations that go along the last axis: they need the channels there.
_ALONG_CHANNELS = (activations.softmax, activations.log_softmax, activations.glu)
_ALONG_CHANNELS += (activations.sparsemax,)
_ELEMENTWISE = frozenset(
    function
    for function in vars(activations).values()
    if activations.registry.is_builtin(function) and function not in _ALONG_CHANNELS
)


class Convolution(Layer):
    """Base of the layers that slide a window over 1, 2 or 3 axes of space.

    Attributes:
        rank: how many axes of space there are.
    """

    rank: int
    config_without: tuple[str, ...] = ()
    float_inputs = True

    # ----------------------------------------------------------------------------- arguments

    def _keep_window(
        self,
        kernel_size: Sizes,
        strides: Sizes,
        padding: str,
        data_format: str | None,
        dilation_rate: Sizes,
        *further: str,
    ) -> None:
        """Check and keep the arguments that say where the windows are.

        Args:
            kernel_size: one number, or one for each axis of space.
            strides: likewise.
            padding: the kind.
            data_format: where the channels are.
            dilation_rate: as ``kernel_size``.
            further: kinds of padding beside ``'valid'`` and ``'same'``.
        """
        self.kernel_size = self._each("kernel_size", kernel_size)
        self.strides = self._each("strides", strides)
        self.dilation_rate = self._each("dilation_rate", dilation_rate)
        known = ("valid", "same", *further)
        if str(padding).lower() not in known:
            raise ValueError(
                f"{type(self).__name__}: padding must be {' or '.join(map(repr, known))}; received "
                f"{padding!r}."
            )
        self.padding = padding.lower()
        is_last = spatial.is_channels_last(data_format)
        self.data_format = "channels_last" if is_last else "channels_first"
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def _each(self, name: str, value: Sizes, least: int = 1) -> tuple[int, ...]:
        """Return one number for each axis of space.

        Raises:
            ValueError: for a number below ``least``, or not as many as there are axes.
        """
        numbers = tuple(value) if isinstance(value, (list, tuple)) else (value,) * self.rank
        is_whole = all(isinstance(n, int) and not isinstance(n, bool) for n in numbers)
        if len(numbers) != self.rank or not is_whole or min(numbers) < least:
            raise ValueError(
                f"{type(self).__name__}: {name} must be an integer of at least {least}, or "
                f"{self.rank} of them, one for each axis of space; received {value!r}."
            )
        return numbers

    def _keep_output(self, activation: Any, use_bias: bool) -> None:
        """Keep what happens to the sums."""
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)

    def _keep_rules(self, name: str, initializer: Any, regularizer: Any, constraint: Any) -> None:
        """Keep how a weight is drawn, penalized and projected, under its name's attributes."""
        setattr(self, f"{name}_initializer", initializers.get(initializer))
        setattr(self, f"{name}_regularizer", regularizers.get(regularizer))
        setattr(self, f"{name}_constraint", constraints.get(constraint))

    def _refuse_strides_with_dilation(self) -> None:
        """Raise as Keras where both are above 1.

        Raises:
            ValueError: saying so.
        """
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{type(self).__name__}: `strides > 1` not supported in conjunction with "
                f"`dilation_rate > 1`. Received: strides={self.strides} and "
                f"dilation_rate={self.dilation_rate}; set one of them to 1."
            )

    # -------------------------------------------------------------------------------- shapes

    @property
    def _is_last(self) -> bool:
        return self.data_format == "channels_last"

    @property
    def _windows(self) -> list[int]:
        """What the kernel covers of each axis."""
        return [(size - 1) * rate + 1 for size, rate in zip(self.kernel_size, self.dilation_rate)]

    def _space(self, input_shape: Shape) -> Shape:
        return tuple(input_shape[1:-1] if self._is_last else input_shape[2:])

    def _shape(self, batch: int | None, space: Sequence[int | None], channels: Any) -> Shape:
        return (batch, *space, channels) if self._is_last else (batch, channels, *space)

    def _channels(self, input_shape: Shape) -> int:
        """Return how many channels come in; from now on the layer takes no other number.

        Raises:
            ValueError: when the rank is wrong or the number unknown.
        """
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self.input_spec.check(self.name, input_shape)
        axis = -1 if self._is_last else 1
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(
                f"Layer {self.name!r} needs the number of its input's channels, at axis {axis} for "
                f"data_format={self.data_format!r}, but received shape {tuple(input_shape)}."
            )
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})
        return int(channels)

    def _filters(self, input_shape: Shape) -> int | None:
        """Return how many channels come out."""
        return self.filters

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of what comes out.

        Args:
            input_shape: ``(batch, *space, channels)``, or ``(batch, channels, *space)`` with the
                channels first; ``None`` where unknown.

        Raises:
            ValueError: when the rank is wrong, or the kernel is larger than the input.
        """
        self.input_spec.check(self.name, input_shape)
        space = tuple(map(self._length, self._space(input_shape), self._windows, self.strides))
        if any(size is not None and size < 1 for size in space):
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}) has nothing to give for an input of "
                f"shape {tuple(input_shape)}: kernel_size={self.kernel_size} with "
                f"dilation_rate={self.dilation_rate} covers {tuple(self._windows)} elements, more "
                f"than there are. Use padding='same', a smaller kernel or a larger input."
            )
        return self._shape(input_shape[0], space, self._filters(input_shape))

    def _length(self, size: int | None, window: int, stride: int) -> int | None:
        """Return how many outputs an axis has."""
        if size is None:
            return None
        return (size - window) // stride + 1 if self.padding == "valid" else -(-size // stride)

    # ----------------------------------------------------------------------------- arithmetic

    def _module(self, channels: int, filters: int, groups: int, use_bias: bool) -> nn.Module:
        """Make the convolution: torch's own where it pads as is asked, else one that does."""
        same = self.padding == "same"
        windows, is_copied = self._windows, self.rank == 1 and self._is_last
        # At a stride of 1, 'same' adds as much on both sides of an odd window, whatever the size.
        is_even = all(w == 1 or (w % 2 and s == 1) for w, s in zip(windows, self.strides))
        if not is_copied and (self.padding == "valid" or (same and is_even)):
            kind = modules.PLAIN[self.rank]
            padding = {"padding": tuple(w // 2 if same else 0 for w in windows)}
        else:
            kind, padding = modules.PADDED[self.rank], {"keras_padding": self.padding}
        module = empty_module(
            kind,
            channels,
            filters,
            self.kernel_size,
            stride=self.strides,
            dilation=self.dilation_rate,
            groups=groups,
            bias=use_bias,
            dtype=self.dtype_policy.torch_dtype,
            **padding,
        )
        return self._laid_out(module)

    def _laid_out(self, module: nn.Module) -> nn.Module:
        """Let a weight lie in memory as the input does; torch would copy it at each call."""
        if self._is_last and self.rank > 1:
            order = torch.channels_last if self.rank == 2 else torch.channels_last_3d
            module.weight.data = module.weight.data.contiguous(memory_format=order)
        return module

    def _convolutions(self) -> tuple[nn.Module, ...]:
        """The modules that the input goes through, channels first."""
        return (self.conv,)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Convolve, add the bias, apply the activation."""
        for step in self._arithmetic():
            inputs = step(inputs)
        return inputs

    def _arithmetic(self) -> Sequence[Callable]:
        activation, steps = self.activation, self._convolutions()
        is_active = activation is not None and activation is not activations.linear
        if not self._is_last:
            return (*steps, activation) if is_active else steps
        # With the channels first as torch has them, ReLU stands right behind the convolution: the
        # captured step makes one call of both.
        if is_active and activation in _ELEMENTWISE:
            steps, is_active = (*steps, activation), False
        steps = (modules.channels_first, *steps, modules.channels_last)
        return (*steps, activation) if is_active else steps
