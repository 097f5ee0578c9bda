"""LSTM and its cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchkeras import activations, initializers
from torchkeras.layers.rnn_torch_cell import TorchCell
from torchkeras.layers.rnn_units import UnitsRNN
from torchkeras.registry import register
from torchkeras.variable import TRANSPOSE, Weight

TANH = (activations.tanh, torch.tanh)
SIGMOID = (activations.sigmoid, torch.sigmoid)


@register("layer")
class LSTMCell(TorchCell):
    """A step of LSTM (Hochreiter and Schmidhuber, 1997, with a forget gate).

    With ``z = inputs @ kernel + h @ recurrent_kernel + bias`` in four parts, for the gates i, f, c
    and o: ``c' = s(f) * c + s(i) * a(c)`` and ``h' = s(o) * a(c')``, where ``s`` is
    ``recurrent_activation`` and ``a`` is ``activation``.

    Args:
        units: size of both states, of which the first is the output.
        activation: of the candidate and the output; name, callable or torch module.
        recurrent_activation: of the gates.
        use_bias: whether a bias is added.
        kernel_initializer: how the kernel ``(features, 4 * units)`` is drawn.
        recurrent_initializer: how the recurrent kernel ``(units, 4 * units)`` is drawn.
        bias_initializer: how the bias ``(4 * units,)`` is drawn.
        unit_forget_bias: whether the bias of the forget gate starts at 1 instead.
        kernel_regularizer: penalty on the kernel.
        recurrent_regularizer: penalty on the recurrent kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each update.
        recurrent_constraint: projection of the recurrent kernel after each update.
        bias_constraint: projection of the bias after each update.
        dropout: the part of the inputs that is dropped in training, the same at each step.
        recurrent_dropout: likewise of the first state.
        seed: of the dropout.
        implementation: 1 where each gate has a dropout mask of its own, 2 where they share one; 1
            wherever there is ``recurrent_dropout``.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, features)``, states and output ``(batch, units)``.
    """

    weight_map = (
        Weight("kernel", "lstm.weight_ih_l0", TRANSPOSE),
        Weight("recurrent_kernel", "lstm.weight_hh_l0", TRANSPOSE),
        Weight("bias", "lstm.bias_ih_l0"),
    )
    config_without = ("implementation",)
    module_name = "lstm"
    gates = (0, 1, 2, 3)

    def __init__(
        self,
        units: int,
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
        implementation: int = 2,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._configure(
            units,
            use_bias,
            dropout,
            recurrent_dropout,
            implementation,
            seed,
            activation=activation,
            recurrent_activation=recurrent_activation,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
        )
        self.unit_forget_bias = unit_forget_bias
        self.state_size = [self.units, self.units]
        self.output_size = self.units

    def build(self, input_shape: Any) -> None:
        """Make torch's module, whose second bias stays zero."""
        self._make(nn.LSTM, input_shape)
        self._hold_second_bias()

    def _initializers(self) -> dict[str, Callable]:
        found = super()._initializers()
        if self.unit_forget_bias:
            found["bias_initializer"] = _with_forget_bias(self.bias_initializer)
        return found

    def _step(self, projected: Tensor, states: list[Tensor], masks: Any) -> list[Tensor]:
        state, carry = states
        weight = self.lstm.weight_hh_l0
        if masks is None:
            gates = torch.addmm(projected, state, weight.t()).chunk(4, -1)
        else:
            parts = zip(projected.chunk(4, -1), masks, weight.chunk(4))
            gates = [torch.addmm(part, state * mask, kernel.t()) for part, mask, kernel in parts]
        enter, forget, candidate, leave = gates
        gate, squash = self.recurrent_activation, self.activation
        carry = gate(forget) * carry + gate(enter) * squash(candidate)
        return [gate(leave) * squash(carry), carry]

    def has_kernel(self, every_state: bool = False) -> bool:
        """Tell whether torch has a kernel: it gives the second state after the last step alone."""
        return not every_state and super().has_kernel()

    def _is_standard(self) -> bool:
        return self.activation in TANH and self.recurrent_activation in SIGMOID

    def _kernel(self, sequences: Tensor, states: list[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        outputs, *last = torch.lstm(sequences, states, self._flat_weights(), *self._settings())
        return outputs, last


def _with_forget_bias(initializer: Callable) -> Callable:
    """Return what draws the bias of four gates, 1 for the second, the others by an initializer."""

    def draw(shape: Sequence[int], dtype: Any = None) -> Tensor:
        units = shape[0] // 4
        first = initializers.draw(initializer, (units,), dtype)
        others = initializers.draw(initializer, (2 * units,), dtype)
        return torch.cat([first, torch.ones_like(first), others])

    return draw


@register("layer")
class LSTM(UnitsRNN):
    """A recurrent layer with a memory (Hochreiter and Schmidhuber, 1997); see :class:`LSTMCell`.

    Args:
        units: size of the output.
        activation: as of :class:`LSTMCell`, like all until ``seed``.
        recurrent_activation: see there.
        use_bias: see there.
        kernel_initializer: see there.
        recurrent_initializer: see there.
        bias_initializer: see there.
        unit_forget_bias: see there.
        kernel_regularizer: see there.
        recurrent_regularizer: see there.
        bias_regularizer: see there.
        activity_regularizer: penalty on the output.
        kernel_constraint: see there.
        recurrent_constraint: see there.
        bias_constraint: see there.
        dropout: see there.
        recurrent_dropout: see there.
        seed: see there.
        return_sequences: as of :class:`RNN`, like all until ``unroll``.
        return_state: see there.
        go_backwards: see there.
        stateful: see there.
        unroll: see there.
        use_cudnn: as of :class:`UnitsRNN`.
        implementation: as of :class:`LSTMCell`.
        kwargs: the other arguments of :class:`RNN` and :class:`Layer`.

    Shapes:
        input ``(batch, steps, features)``, output ``(batch, units)`` or ``(batch, steps, units)``.
    """

    config_without = ("use_cudnn", "implementation")

    def __init__(
        self,
        units: int,
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
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        implementation: int = 2,
        **kwargs: Any,
    ):
        cell = LSTMCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            implementation=implementation,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="lstm_cell",
        )
        super().__init__(
            cell,
            use_cudnn=use_cudnn,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
