"""ConvLSTMCell: one step of an LSTM whose products with kernels are convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras import activations, registry
from torchkeras.layers import arguments, convolution_modules as modules
from torchkeras.layers.base import empty_module
from torchkeras.layers.convolution import KERNEL
from torchkeras.layers.convolution_base import Convolution, Shape, Sizes
from torchkeras.layers.rnn_cell import DropoutRNNCell
from torchkeras.ops.convolution import convolve
from torchkeras.registry import register
from torchkeras.seeds import SeedGenerator
from torchkeras.variable import Weight


@register("layer", module="keras.src.layers.rnn.conv_lstm")
class ConvLSTMCell(DropoutRNNCell, Convolution):
    """One step of a convolutional LSTM (Shi et al., 2015, without peepholes).

    With ``*`` a convolution, gates ``i, f, o = recurrent_activation(x * W + h * U + b)``, carry
    ``c = f c + i activation(x * W + h * U + b)`` and output ``h = o activation(c)``; each has its
    part of the kernels, in the order i, f, c, o.

    Args:
        rank: how many axes of space there are: 1, 2 or 3.
        filters: how many channels come out.
        kernel_size: of both windows: one number, or one for each axis of space.
        strides: of the inputs' convolution, as ``kernel_size``.
        padding: of the inputs' convolution, ``'valid'`` or ``'same'``; that of the states is
            ``'same'``.
        data_format: ``'channels_last'`` or ``'channels_first'``; that of the configuration unless
            given.
        dilation_rate: of the inputs' convolution; above 1 only with strides of 1.
        activation: of carry and output.
        recurrent_activation: of the gates.
        use_bias: whether a bias is added.
        kernel_initializer: how ``(*kernel_size, channels, 4 * filters)`` is drawn.
        recurrent_initializer: how ``(*kernel_size, filters, 4 * filters)`` is drawn.
        bias_initializer: how ``(4 * filters,)`` is drawn.
        unit_forget_bias: whether the bias of the gate f begins with 1.
        kernel_regularizer: penalty on the inputs' kernel.
        recurrent_regularizer: penalty on the states' kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the inputs' kernel after each update.
        recurrent_constraint: projection of the states' kernel.
        bias_constraint: projection of the bias.
        dropout: the part of the inputs that is dropped in training, cut to what lies from 0 to 1.
        recurrent_dropout: likewise of the states.
        seed: of the dropout.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, *space, channels)``, output and both states ``(batch, *space, filters)``;
        with the channels first ``(batch, channels, *space)`` and ``(batch, filters, *space)``.

    Raises:
        ValueError: for numbers that are not positive, strides together with dilation, and a rank
            above 3.
    """

    weight_map = (
        Weight("kernel", "conv.weight", KERNEL),
        Weight("recurrent_kernel", "recurrent_conv.weight", KERNEL),
        Weight("bias", "conv.bias"),
    )
    dropout_mask_count = 4

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if rank not in (1, 2, 3):
            raise ValueError(f"ConvLSTMCell: rank must be 1, 2 or 3; received {rank!r}.")
        self.rank = rank
        self.filters = arguments.positive(type(self).__name__, "filters", filters)
        self._keep_window(kernel_size, strides, padding, data_format, dilation_rate)
        self._refuse_strides_with_dilation()
        self._keep_output(activation, use_bias)
        self.recurrent_activation = activations.get(recurrent_activation)
        self._keep_rules("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self._keep_rules(
            "recurrent", recurrent_initializer, recurrent_regularizer, recurrent_constraint
        )
        self._keep_rules("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.unit_forget_bias = unit_forget_bias
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self.seed = seed
        if self.dropout or self.recurrent_dropout or seed is not None:
            self.seed_generator = SeedGenerator(seed)
        self.state_size = [self.filters, self.filters]

    # -------------------------------------------------------------------------------- weights

    @property
    def recurrent_kernel_initializer(self) -> Any:
        """How the states' kernel is drawn."""
        return self.recurrent_initializer

    @property
    def recurrent_kernel_regularizer(self) -> Any:
        """Penalty on the states' kernel."""
        return self.recurrent_regularizer

    @property
    def recurrent_kernel_constraint(self) -> Any:
        """Projection of the states' kernel."""
        return self.recurrent_constraint

    def build(self, inputs_shape: Shape, states_shape: Any = None) -> None:
        """Make both convolutions for inputs whose channels are known.

        Raises:
            ValueError: when their number is unknown, or the kernel is larger than the input.
        """
        channels = self._channels(inputs_shape)
        super().compute_output_shape(inputs_shape)
        self.conv = self._module(channels, 4 * self.filters, 1, self.use_bias)
        module = empty_module(
            modules.PADDED[self.rank],
            self.filters,
            4 * self.filters,
            self.kernel_size,
            bias=False,
            dtype=self.dtype_policy.torch_dtype,
            keras_padding="same",
        )
        self.recurrent_conv = self._laid_out(module)

    def _complete_build(self, input_shape: Any) -> None:
        """Draw the weights; the bias of the gate f begins with 1 where that is asked for."""
        is_given = self._initial_weights is not None
        super()._complete_build(input_shape)
        if self.use_bias and self.unit_forget_bias and not is_given:
            with torch.no_grad():
                self.conv.bias[self.filters : 2 * self.filters] = 1

    # ---------------------------------------------------------------------------------- shapes

    def compute_output_shape(self, inputs_shape: Shape, states_shape: Any = None) -> Any:
        """Return the shape of the output, and those of both states, which are the same."""
        shape = super().compute_output_shape(inputs_shape)
        return shape, [shape, shape]

    def state_shape(self, inputs_shape: Shape) -> Shape:
        """Return the shape of a state for inputs of a shape, ``(batch, …)``."""
        return super().compute_output_shape(inputs_shape)

    def get_initial_state(self, batch_size: int | None = None) -> list[Tensor]:
        """Return states of zeros, for inputs as large as those that the cell was built for."""
        shape = self._build_shape
        shape = shape["inputs_shape"] if isinstance(shape, dict) else shape
        return self.zeros((batch_size, *shape[1:]))

    def zeros(self, inputs_shape: Shape) -> list[Tensor]:
        """Return states of zeros for inputs of a shape, ``(batch, …)``.

        Raises:
            ValueError: when a size is not known.
        """
        shape = self.state_shape(inputs_shape)
        if None in shape:
            raise ValueError(
                f"Layer {self.name!r} needs to know the sizes of its states' axes; received an "
                f"input of shape {tuple(inputs_shape)}."
            )
        options = {"dtype": self.dtype_policy.torch_compute_dtype, "device": self._device()}
        return [torch.zeros(shape, **options) for _ in self.state_size]

    # ---------------------------------------------------------------------------------- a step

    def call(self, inputs: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Compute a step.

        Args:
            inputs: ``(batch, *space, channels)``, or with the channels behind the batch.
            states: output and carry of the step before.

        Returns:
            The output, and both new states.
        """
        inputs_masks = state_masks = None
        if self.training and self.dropout:
            inputs_masks = self.get_dropout_mask(inputs)
        if self.training and self.recurrent_dropout:
            state_masks = self.get_recurrent_dropout_mask(states[0])
        projected = self._convolved(self.conv, inputs, inputs_masks)
        state = self._convolved(self.recurrent_conv, states[0], state_masks)
        new = self._step(projected + state, self._first(states[1]))
        output, carry = map(self._last, new)
        return output, [output, carry]

    def _first(self, x: Tensor) -> Tensor:
        """View a tensor with the channels behind the batch, as torch has them."""
        return modules.channels_first(x) if self._is_last else x

    def _last(self, x: Tensor) -> Tensor:
        """View a tensor with the channels where they are wanted."""
        return modules.channels_last(x) if self._is_last else x

    def _convolved(self, module: torch.nn.Module, x: Tensor, masks: list[Tensor] | None) -> Tensor:
        """Convolve for all gates; where something is dropped, for each gate something else.

        Returns:
            ``(batch, 4 * filters, *space)``.
        """
        if masks is None:
            return module(self._first(x))
        # Each gate's inputs are a group of channels of their own.
        x = torch.cat([self._first(x * mask) for mask in masks], 1)
        is_input = module is self.conv
        return convolve(
            x,
            module.weight,
            module.bias,
            module.stride,
            self.padding if is_input else "same",
            "channels_first",
            module.dilation,
            groups=len(masks),
        )

    def _step(self, gates: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        """Return output and carry, ``(batch, filters, *space)``, of the sums of all gates."""
        enter, forget, candidate, leave = gates.chunk(4, 1)
        gate, squash = self.recurrent_activation, self.activation
        carry = gate(forget) * carry + gate(enter) * squash(candidate)
        return gate(leave) * squash(carry), carry

    # ------------------------------------------------------------------------- whole sequences

    def runs_over(self) -> bool:
        """Tell whether :meth:`over` gives what ``call`` would, step by step."""
        return (
            registry.is_own(type(self).call)
            and "call" not in self.__dict__
            and not (self._forward_hooks or self._forward_pre_hooks)
            and not (self.training and (self.dropout or self.recurrent_dropout))
            and not self.dtype_policy.is_mixed
        )

    def over(
        self, sequences: Tensor, states: Sequence[Tensor], every_state: bool, fused: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """Run through sequences; the inputs of all steps are convolved at once.

        Args:
            sequences: ``(batch, steps, …)``, of one step at least.
            states: before the first step.
            every_state: must be false.
            fused: of no consequence here.

        Returns:
            The outputs ``(batch, steps, …)``, and the states after the last step.
        """
        sequences = self._cast(sequences)
        state, carry = (self._first(self._cast(state)) for state in states)
        projected = self.conv(self._first(sequences.flatten(0, 1)))
        outputs = []
        for part in projected.unflatten(0, sequences.shape[:2]).unbind(1):
            state, carry = self._step(part + self.recurrent_conv(state), carry)
            outputs.append(self._last(state))
        return torch.stack(outputs, 1), [outputs[-1], self._last(carry)]
