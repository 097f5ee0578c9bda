"""GRU and its cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchkeras.layers.rnn_gru_kernel import run_over
from torchkeras.layers.rnn_lstm import SIGMOID, TANH
from torchkeras.layers.rnn_torch_cell import TorchCell
from torchkeras.layers.rnn_units import UnitsRNN
from torchkeras.registry import register
from torchkeras.variable import Transform, Weight


class KerasGRU(nn.GRU):
    """torch's GRU with its biases in one parameter, since Keras has them as one weight.

    Args:
        args: those of ``nn.GRU``.
        reset_after: whether there is a bias of the states.
        kwargs: those of ``nn.GRU``; of one layer in one direction.

    Attributes:
        bias_l0: ``(2, 3 * units)``: the bias of the inputs, and that of the states;
            ``(3 * units,)`` where there is but one.
    """

    def __init__(self, *args: Any, reset_after: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.reset_after = reset_after
        if self.bias:
            first = self._parameters.pop("bias_ih_l0")
            del self._parameters["bias_hh_l0"]
            size = (2, len(first)) if reset_after else (len(first),)
            self.bias_l0 = nn.Parameter(first.new_empty(size))

    @property
    def bias_ih_l0(self) -> Tensor:
        """The bias of the inputs, ``(3 * units,)``."""
        return self.bias_l0[0] if self.reset_after else self.bias_l0

    @property
    def bias_hh_l0(self) -> Tensor:
        """The bias of the states, ``(3 * units,)``."""
        return self.bias_l0[1]

    @property
    def _flat_weights(self) -> list[Tensor]:
        """The weights as torch's kernel takes them; torch keeps a list, which would go stale."""
        return [getattr(self, name) for name in self._flat_weights_names]

    @_flat_weights.setter
    def _flat_weights(self, weights: list[Tensor]) -> None:
        """Leave it: the list is made when it is read."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run torch's kernel.

        Raises:
            ValueError: without ``reset_after``, which torch's kernel always does.
        """
        if not self.reset_after:
            raise ValueError("torch has no GRU of reset_after=False: call the layer instead.")
        return super().forward(*args, **kwargs)


def _swap(tensor: Tensor) -> Tensor:
    """Let the first two of three gates, along the last axis, change places."""
    first, second, third = tensor.chunk(3, -1)
    return torch.cat([second, first, third], -1)


# The gates are z, r, h in Keras and r, z, n in torch.
_KERNEL = Transform(lambda weight: _swap(weight.t()), lambda kernel: _swap(kernel).t())
_BIAS = Transform(_swap, _swap)


@register("layer")
class GRUCell(TorchCell):
    """A step of GRU (Cho et al., 2014).

    With ``s`` for ``recurrent_activation`` and ``a`` for ``activation``, the gates are
    ``z = s(x_z + h @ U_z)`` and ``r = s(x_r + h @ U_r)``, the candidate is
    ``n = a(x_h + r * (h @ U_h))``, or ``a(x_h + (r * h) @ U_h)`` where the reset comes before the
    product, and the new state is ``z * h + (1 - z) * n``.

    Args:
        units: size of the state, which is the output.
        activation: of the candidate; name, callable or torch module.
        recurrent_activation: of the gates.
        use_bias: whether a bias is added.
        kernel_initializer: how the kernel ``(features, 3 * units)`` is drawn.
        recurrent_initializer: how the recurrent kernel ``(units, 3 * units)`` is drawn.
        bias_initializer: how the bias is drawn: ``(2, 3 * units)``, one for the inputs and one for
            the states, or ``(3 * units,)`` without ``reset_after``.
        kernel_regularizer: penalty on the kernel.
        recurrent_regularizer: penalty on the recurrent kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each update.
        recurrent_constraint: projection of the recurrent kernel after each update.
        bias_constraint: projection of the bias after each update.
        dropout: the part of the inputs that is dropped in training, the same at each step.
        recurrent_dropout: likewise of the state.
        reset_after: whether the state is reset after the product with the recurrent kernel.
        seed: of the dropout.
        implementation: 1 where each gate has a dropout mask of its own, 2 where they share one; 1
            wherever there is ``recurrent_dropout``.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, features)``, state and output ``(batch, units)``.
    """

    weight_map = (
        Weight("kernel", "gru.weight_ih_l0", _KERNEL),
        Weight("recurrent_kernel", "gru.weight_hh_l0", _KERNEL),
        Weight("bias", "gru.bias_l0", _BIAS),
    )
    config_without = ("implementation",)
    module_name = "gru"
    gates = (1, 0, 2)

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
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
        reset_after: bool = True,
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
        self.reset_after = bool(reset_after)
        self.state_size = self.output_size = self.units

    def build(self, input_shape: Any) -> None:
        """Make torch's module."""
        self._make(KerasGRU, input_shape, reset_after=self.reset_after)

    def _step(self, projected: Tensor, states: list[Tensor], masks: Any) -> list[Tensor]:
        (state,) = states
        weight = self.gru.weight_hh_l0
        of_reset, of_update, of_new = weight.chunk(3)
        reset, update, new = projected.chunk(3, -1)
        masked = [state] * 3 if masks is None else [state * mask for mask in masks]
        gate = self.recurrent_activation
        if not self.reset_after:
            reset = gate(torch.addmm(reset, masked[0], of_reset.t()))
            update = gate(torch.addmm(update, masked[1], of_update.t()))
            new = torch.addmm(new, reset * masked[2], of_new.t())
        else:
            bias = self.gru.bias_hh_l0 if self.use_bias else None
            if masks is None:
                parts = functional.linear(state, weight, bias).chunk(3, -1)
            else:
                biases = [None] * 3 if bias is None else bias.chunk(3)
                kernels = (of_reset, of_update, of_new)
                parts = [functional.linear(*one) for one in zip(masked, kernels, biases)]
            reset, update = gate(reset + parts[0]), gate(update + parts[1])
            new = new + reset * parts[2]
        return [torch.lerp(self.activation(new), state, update)]

    def _is_standard(self) -> bool:
        is_usual = self.activation in TANH and self.recurrent_activation in SIGMOID
        return self.reset_after and is_usual

    def _kernel(self, sequences: Tensor, states: list[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        outputs, last = run_over(sequences, states[0], self._flat_weights(), self._settings())
        return outputs, [last]


@register("layer")
class GRU(UnitsRNN):
    """A recurrent layer with gates (Cho et al., 2014); see :class:`GRUCell`.

    Args:
        units: size of the output.
        activation: as of :class:`GRUCell`, like all until ``seed``.
        recurrent_activation: see there.
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
        seed: see there.
        return_sequences: as of :class:`RNN`, like all until ``unroll``.
        return_state: see there.
        go_backwards: see there.
        stateful: see there.
        unroll: see there.
        reset_after: as of :class:`GRUCell`.
        use_cudnn: as of :class:`UnitsRNN`.
        implementation: as of :class:`GRUCell`.
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
        reset_after: bool = True,
        use_cudnn: bool | str = "auto",
        implementation: int = 2,
        **kwargs: Any,
    ):
        cell = GRUCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
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
            reset_after=reset_after,
            seed=seed,
            implementation=implementation,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="gru_cell",
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
