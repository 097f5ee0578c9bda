"""SimpleRNN and its cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchkeras import activations
from torchkeras.layers.rnn_torch_cell import TorchCell
from torchkeras.layers.rnn_units import UnitsRNN
from torchkeras.registry import register
from torchkeras.variable import TRANSPOSE, Weight

_TANH = (activations.tanh, torch.tanh)
_KERNELS = {**dict.fromkeys(_TANH, torch.rnn_tanh), activations.relu: torch.rnn_relu}


@register("layer")
class SimpleRNNCell(TorchCell):
    """A step of SimpleRNN: ``activation(inputs @ kernel + state @ recurrent_kernel + bias)``.

    Args:
        units: size of the state, which is the output.
        activation: name, callable or torch module; none where ``None``.
        use_bias: whether a bias is added.
        kernel_initializer: how the kernel ``(features, units)`` is drawn.
        recurrent_initializer: how the recurrent kernel ``(units, units)`` is drawn.
        bias_initializer: how the bias ``(units,)`` is drawn.
        kernel_regularizer: penalty on the kernel.
        recurrent_regularizer: penalty on the recurrent kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each update.
        recurrent_constraint: projection of the recurrent kernel after each update.
        bias_constraint: projection of the bias after each update.
        dropout: the part of the inputs that is dropped in training, the same at each step.
        recurrent_dropout: likewise of the state.
        seed: of the dropout.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, features)``, state and output ``(batch, units)``.
    """

    weight_map = (
        Weight("kernel", "rnn.weight_ih_l0", TRANSPOSE),
        Weight("recurrent_kernel", "rnn.weight_hh_l0", TRANSPOSE),
        Weight("bias", "rnn.bias_ih_l0"),
    )
    module_name = "rnn"

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
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
        self._configure(
            units,
            use_bias,
            dropout,
            recurrent_dropout,
            2,
            seed,
            activation=activation,
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
        self.state_size = self.output_size = self.units

    def build(self, input_shape: Any) -> None:
        """Make torch's module, whose second bias stays zero."""
        self._make(nn.RNN, input_shape)
        self._hold_second_bias()

    def _step(self, projected: Tensor, states: list[Tensor], masks: Any) -> list[Tensor]:
        state = states[0] if masks is None else states[0] * masks[0]
        output = torch.addmm(projected, state, self.rnn.weight_hh_l0.t())
        return [output if self.activation is None else self.activation(output)]

    def _is_standard(self) -> bool:
        return self.activation in _KERNELS

    def _kernel(self, sequences: Tensor, states: list[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        run = _KERNELS[self.activation]
        outputs, last = run(sequences, states[0], self._flat_weights(), *self._settings())
        return outputs, [last]


@register("layer")
class SimpleRNN(UnitsRNN):
    """A recurrent layer whose output is its state.

    A step is ``activation(inputs @ kernel + state @ recurrent_kernel + bias)``.

    Args:
        units: size of the output.
        activation: as of :class:`SimpleRNNCell`, like all until ``recurrent_dropout``.
        use_bias: see there.
        kernel_initializer: see there.
        recurrent_initializer: see there.
        bias_initializer: see there.
        kernel_regularizer: see there.
        recurrent_regularizer: see there.
        bias_regularizer: see there.
        activity_regularizer: penalty on the output.
        kernel_constraint: see there.
        recurrent_constraint: see there.
        bias_constraint: see there.
        dropout: see there.
        recurrent_dropout: see there.
        return_sequences: as of :class:`RNN`, like all until ``unroll``.
        return_state: see there.
        go_backwards: see there.
        stateful: see there.
        unroll: see there.
        seed: of the dropout.
        kwargs: the other arguments of :class:`RNN` and :class:`Layer`.

    Shapes:
        input ``(batch, steps, features)``, output ``(batch, units)`` or ``(batch, steps, units)``.
    """

    config_without = ("seed",)

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        cell = SimpleRNNCell(
            units,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="simple_rnn_cell",
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
