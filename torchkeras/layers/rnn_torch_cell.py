"""The cells whose weights lie in torch's recurrent modules: what SimpleRNN, LSTM and GRU share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchkeras import activations, constraints, eras, initializers, registry, regularizers
from torchkeras.layers import arguments, mixed
from torchkeras.layers.base import Layer, empty_module
from torchkeras.layers.rnn_cell import DropoutRNNCell, zero_states
from torchkeras.layers.spec import InputSpec
from torchkeras.seeds import SeedGenerator


def _other_name(name: str) -> property:
    """Return a property that reads and writes another attribute."""

    def write(cell: Any, value: Any) -> None:
        setattr(cell, name, value)

    return property(lambda cell: getattr(cell, name), write)


class TorchCell(DropoutRNNCell, Layer):
    """A cell whose weights lie in one of torch's recurrent modules.

    Besides the one step of ``call`` it runs through a whole sequence at once (:meth:`over`): the
    inputs of all steps are projected in one product, and torch's own kernel is used where the
    settings allow.

    A subclass makes the module in ``build`` and computes a step from projected inputs in
    :meth:`_step`.

    Attributes:
        module_name: the attribute that the torch module lies under.
        gates: for each gate in torch's order, its place in Keras' order.
    """

    float_inputs = True
    module_name: str
    gates: tuple[int, ...] = (0,)

    def _configure(
        self,
        units: int,
        use_bias: bool,
        dropout: float,
        recurrent_dropout: float,
        implementation: int,
        seed: int | None,
        **others: Any,
    ) -> None:
        """Set the attributes that all cells have.

        Args:
            units: size of the state.
            use_bias: whether there is a bias.
            dropout: the part of the inputs that is dropped, cut to what lies from 0 to 1.
            recurrent_dropout: likewise of the states.
            implementation: 1 where each gate has a dropout mask of its own, 2 where they share one.
            seed: of the dropout masks.
            others: activations, initializers, regularizers and constraints by their names.
        """
        title = type(self).__name__
        self.units = arguments.positive(title, "units", units)
        if implementation not in (0, 1, 2):
            raise ValueError(
                f"{title}: implementation must be 1 or 2; received {implementation!r}."
            )
        getters = {
            "activation": activations.get,
            "initializer": initializers.get,
            "regularizer": regularizers.get,
            "constraint": constraints.get,
        }
        for name, value in others.items():
            setattr(self, name, getters[name.rpartition("_")[2]](value))
        self.use_bias = bool(use_bias)
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self.implementation = 1 if self.recurrent_dropout else implementation
        if self.implementation != 2 and len(self.gates) > 1:
            self.dropout_mask_count = len(self.gates)
        self.seed = seed
        if self.dropout or self.recurrent_dropout or seed is not None:
            self.seed_generator = SeedGenerator(seed)
        self.input_spec = InputSpec(min_ndim=2)

    # -------------------------------------------------------------------------------- weights

    # What belongs to recurrent_kernel goes by the shorter names of the arguments.
    recurrent_kernel_initializer = _other_name("recurrent_initializer")
    recurrent_kernel_regularizer = _other_name("recurrent_regularizer")
    recurrent_kernel_constraint = _other_name("recurrent_constraint")

    def _make(self, kind: type[nn.RNNBase], input_shape: Any, **options: Any) -> None:
        """Make the torch module for inputs whose last axis is known.

        Args:
            kind: of module.
            input_shape: of a step, ``(batch, features)``.
            options: of the module's constructor.
        """
        size = arguments.last_axis(self.name, input_shape)
        module = empty_module(
            kind,
            size,
            self.units,
            bias=self.use_bias,
            batch_first=True,
            dtype=self.dtype_policy.torch_dtype,
            **options,
        )
        setattr(self, self.module_name, module)
        self.input_spec = InputSpec(min_ndim=2, axes={-1: size})

    def _complete_build(self, input_shape: Any) -> None:
        """Draw the weights as gates want them."""
        wanted = self._initializers()
        held = {name: getattr(self, name) for name in wanted}
        self.__dict__.update(wanted)
        try:
            super()._complete_build(input_shape)
        finally:
            self.__dict__.update(held)

    def _initializers(self) -> dict[str, Callable]:
        """Return what draws weights in the place of the initializers that the cell was given."""
        found = {}
        apart = eras.value("gates.drawn_apart")
        for name in ("kernel_initializer", "recurrent_initializer") if apart else ():
            found[name] = _by_gate(getattr(self, name), len(self.gates))
        is_identity = isinstance(self.recurrent_initializer, initializers.Identity)
        if is_identity and eras.value("gates.have_identities"):
            found["recurrent_initializer"] = _by_gate(self.recurrent_initializer, len(self.gates))
        return found

    def _hold_second_bias(self) -> None:
        """Keep torch's bias of the states at zero: Keras has one bias."""
        module = getattr(self, self.module_name)
        if self.use_bias:
            module.bias_hh_l0.requires_grad_(False)
            nn.init.zeros_(module.bias_hh_l0)

    def _raw_tensors(self) -> Any:
        second = f"{self.module_name}.bias_hh_l0"
        return (row for row in super()._raw_tensors() if row[0] != second)

    # -------------------------------------------------------------------------------- a step

    def call(self, inputs: Tensor, states: Any) -> tuple[Tensor, Any]:
        """Compute a step.

        Args:
            inputs: ``(batch, features)``.
            states: those before, ``(batch, units)`` each, in a list; of a cell of one state also
                the tensor itself.

        Returns:
            The output ``(batch, units)`` and the new states.
        """
        is_list = isinstance(states, (list, tuple))
        states = list(states) if is_list else [states]
        projected = self._project(inputs)
        new = self._step(projected, states, self._state_masks(states[0]))
        return new[0], new if is_list else new[0]

    def _step(self, projected: Tensor, states: list[Tensor], masks: Any) -> list[Tensor]:
        """Compute new states, of which the first is the output.

        Args:
            projected: the inputs times their kernel, plus the bias, ``(batch, gates * units)`` in
                torch's order of gates.
            states: ``(batch, units)`` each.
            masks: of the first state, one for each gate in torch's order; ``None`` for none.
        """
        raise NotImplementedError

    def _project(self, inputs: Tensor) -> Tensor:
        """Drop inputs, ``(batch, …, features)``, in training, and multiply them by the kernel."""
        module = getattr(self, self.module_name)
        weight, bias = module.weight_ih_l0, self._input_bias()
        if not (self.training and self.dropout):
            return functional.linear(inputs, weight, bias)
        masks = self._input_masks(inputs)
        if not isinstance(masks, list):
            return functional.linear(inputs * masks, weight, bias)
        parts = [
            functional.linear(inputs * masks[place], part)
            for place, part in zip(self.gates, weight.chunk(len(self.gates)))
        ]
        return torch.cat(parts, -1) if bias is None else torch.cat(parts, -1) + bias

    def _input_bias(self) -> Tensor | None:
        return getattr(self, self.module_name).bias_ih_l0 if self.use_bias else None

    def _input_masks(self, inputs: Tensor) -> Any:
        """Return the dropout masks of inputs, with an axis of 1 for the steps of sequences."""
        if inputs.dim() == 2:
            return self.get_dropout_mask(inputs)
        masks = self.get_dropout_mask(inputs[:, 0])
        if isinstance(masks, list):
            return [mask.unsqueeze(1) for mask in masks]
        return masks.unsqueeze(1)

    def _state_masks(self, state: Tensor) -> list[Tensor] | None:
        """Return the dropout masks of the state in training, one for each gate."""
        if not (self.training and self.recurrent_dropout):
            return None
        masks = self.get_recurrent_dropout_mask(state)
        return [masks[place] for place in self.gates] if isinstance(masks, list) else [masks]

    def get_initial_state(self, batch_size: int | None = None) -> list[Tensor]:
        """Return states of zeros, ``(batch, units)`` each."""
        return zero_states(self, batch_size)

    # ----------------------------------------------------------------------- whole sequences

    def runs_over(self) -> bool:
        """Tell whether :meth:`over` gives what ``call`` would, step by step."""
        return (
            registry.is_own(type(self).call)
            and "call" not in self.__dict__
            and not (self._forward_hooks or self._forward_pre_hooks)
            and self.activity_regularizer is None
        )

    def over(
        self, sequences: Tensor, states: Sequence[Tensor], every_state: bool, fused: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """Run through sequences.

        Args:
            sequences: ``(batch, steps, features)``, of one step at least.
            states: before the first step, ``(batch, units)`` each.
            every_state: whether the states after each step are returned, not after the last alone.
            fused: whether torch's kernel is used where it can be.

        Returns:
            The outputs ``(batch, steps, units)``, and the states: ``(batch, units)`` each, or
            ``(batch, steps, units)``.
        """
        sequences, states = self._cast(sequences), [self._cast(state) for state in states]
        if self.dtype_policy.is_mixed or mixed.is_casting():
            with mixed.cast_weights(self):
                return self._over(sequences, states, every_state, fused)
        return self._over(sequences, states, every_state, fused)

    def _over(
        self, sequences: Tensor, states: list[Tensor], every_state: bool, fused: bool
    ) -> tuple[Tensor, list[Tensor]]:
        if fused and self.has_kernel(every_state):
            if self.training and self.dropout:
                sequences = sequences * self._input_masks(sequences)
            outputs, last = self._kernel(sequences, [state.unsqueeze(0) for state in states])
            return outputs, [outputs] if every_state else [state.squeeze(0) for state in last]
        found = []
        projected = self._project(sequences)
        masks = self._state_masks(states[0])
        for part in projected.unbind(1):
            states = self._step(part, states, masks)
            found.append(states)
        if every_state:
            every = [torch.stack(one, 1) for one in zip(*found)]
            return every[0], every
        return torch.stack([new[0] for new in found], 1), states

    def has_kernel(self, every_state: bool = False) -> bool:
        """Tell whether torch has a kernel for the cell as it is set now.

        Args:
            every_state: whether it must give the states after each step.
        """
        is_dropping = self.training and (
            self.recurrent_dropout or (self.dropout and self.dropout_mask_count)
        )
        return not is_dropping and self._is_standard()

    def _is_standard(self) -> bool:
        """Tell whether the activations are those of torch's kernel."""
        raise NotImplementedError

    def _kernel(self, sequences: Tensor, states: list[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Run torch's kernel.

        Args:
            sequences: ``(batch, steps, features)``.
            states: ``(1, batch, units)`` each.

        Returns:
            The outputs ``(batch, steps, units)``, and the last states like those given.
        """
        raise NotImplementedError

    def _flat_weights(self) -> list[Tensor]:
        """Return the weights in the order that torch's functions for sequences take them in."""
        module = getattr(self, self.module_name)
        weights = [module.weight_ih_l0, module.weight_hh_l0]
        return [*weights, module.bias_ih_l0, module.bias_hh_l0] if self.use_bias else weights

    def _settings(self) -> tuple[Any, ...]:
        """Return what torch's functions for sequences take behind states and weights."""
        # Whether they keep what the backward pass needs; there is no dropout between layers.
        keeps = torch.is_grad_enabled()
        return (self.use_bias, 1, 0.0, keeps, False, True)


def _by_gate(initializer: Callable, gates: int) -> Callable:
    """Return what draws the kernel of each gate by itself."""

    def draw(shape: Sequence[int], dtype: Any = None) -> Tensor:
        one = (shape[0], shape[1] // gates)
        return torch.cat([initializers.draw(initializer, one, dtype) for _ in range(gates)], 1)

    return draw
