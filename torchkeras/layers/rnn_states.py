"""The states of a recurrent layer: those it begins with, and those it keeps from batch to batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras import dtypes, tree
from torchkeras.layers.base import Layer
from torchkeras.layers.rnn_stacked import states_of
from torchkeras.variable import Weight, as_tensor


class StatefulLayer(Layer):
    """The half of a recurrent layer that knows its states; :class:`RNN` adds the steps.

    Attributes:
        cell: whose states they are.
        stateful: whether a batch begins with the states that the batch before ended with.
    """

    cell: Any
    stateful: bool

    @property
    def state_size(self) -> list[Any]:
        """The sizes of the cell's states, in a list.

        Raises:
            ValueError: when the cell has no sizes.
        """
        size = self.cell.state_size
        if not isinstance(size, (int, list, tuple)):
            raise ValueError(
                f"Layer {self.name!r}: a cell's state_size is an integer or a list of them, one "
                f"for each state; {type(self.cell).__name__} has {size!r}."
            )
        return [size] if isinstance(size, int) else list(size)

    def _keep_states(self, shape: Sequence[int | None]) -> None:
        """Make buffers of the states of a batch of a shape, ``(batch, steps, …)``."""
        if shape[0] is None:
            raise ValueError(
                f"Layer {self.name!r} is stateful, so it needs to know the batch size, the number "
                f"of samples of a batch; received an input of shape {tuple(shape)}. Give "
                "batch_shape=(…) to Input, or batch_input_shape=(…) to the first layer."
            )
        for index, state in enumerate(tree.leaves(self._states_for(shape))):
            # No part of state_dict, as in Keras' files.
            self.register_buffer(f"state_{index}", state.clone(), persistent=False)

    def _states_for(self, shape: Sequence[int]) -> list[Any]:
        """Return the states before sequences of a shape, ``(batch, steps, …)``."""
        return self.get_initial_state(shape[0])

    def _shape_of_state(self, size: Any, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return the shape of a state of a size, for sequences of a shape ``(batch, steps, …)``."""
        return (shape[0], size)

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """Return the states before the first step, ``(batch, size)`` each: the cell's, or zeros."""
        # Keras 2 gives the inputs themselves.
        return states_of(self.cell, getattr(batch_size, "shape", (batch_size,))[0])

    def _kept(self) -> list[Tensor]:
        """The buffers of the states, in the order of the structure's leaves."""
        count = len(tree.flatten(self.state_size))
        return [self._buffers[f"state_{index}"] for index in range(count)]

    @property
    def states(self) -> list[Any] | None:
        """The states that the last batch ended with, as variables; ``None`` where none are kept."""
        if "state_0" not in self._buffers:
            return None
        rows = (
            Weight("rnn_state", f"state_{n}", trainable=False) for n in range(len(self._kept()))
        )
        return tree.pack_like(self.state_size, [self._variable(row) for row in rows])

    def reset_state(self, states: Any = None) -> None:
        """Set the states that are kept from batch to batch.

        Args:
            states: an array for each state, or one for the only state; zeros unless given.

        Raises:
            ValueError: when the layer is not stateful, or number or shapes are wrong.
        """
        if "state_0" not in self._buffers:
            if not self.stateful:
                raise ValueError(f"Layer {self.name!r} keeps no states: it is not stateful.")
            if states is None:
                return  # which are zeros as soon as it is built
            raise ValueError(f"Layer {self.name!r} has no states before it is built.")
        kept = tree.flatten(self.states)
        if states is None:
            for variable in kept:
                variable.assign(torch.zeros(variable.shape, dtype=variable.parameter.dtype))
            return
        given = tree.flatten(states if isinstance(states, (list, tuple)) else [states])
        if len(given) != len(kept):
            raise ValueError(
                f"Layer {self.name!r} has {len(kept)} states; reset_state received {len(given)}."
            )
        for variable, value in zip(kept, given):
            variable.assign(value)

    def reset_states(self, states: Any = None) -> None:
        """Do :meth:`reset_state`, under Keras 1's and 2's name."""
        self.reset_state(states)

    def _raw_tensors(self) -> Any:
        # The states are no weights.
        rows = super()._raw_tensors()
        return (
            row for row in rows if not (row[0].startswith("state_") and row[0] in self._buffers)
        )

    def _first_states(self, sequences: Tensor, initial_state: Any) -> list[Any]:
        """Return the states before the first step: given, kept, or the cell's own.

        Args:
            sequences: ``(batch, steps, …)``.
            initial_state: as the call was given it.

        Raises:
            ValueError: when number or shapes are wrong.
        """
        batch = sequences.shape[0]
        if self.stateful and batch != self._kept()[0].shape[0]:
            raise ValueError(
                f"Layer {self.name!r} is stateful and was built for a batch size of "
                f"{self._kept()[0].shape[0]}; received {batch} samples."
            )
        if initial_state is None and self.stateful:
            # Copies, since the call writes the new states to the buffers.
            return tree.pack_like(self.state_size, [state.clone() for state in self._kept()])
        if initial_state is None:
            return self._states_for(sequences.shape)
        given = tree.flatten(initial_state)
        sizes = tree.flatten(self.state_size)
        if len(given) != len(sizes):
            raise ValueError(
                f"Layer {self.name!r} has {len(sizes)} states; received {len(given)} in "
                "initial_state."
            )
        dtype = dtypes.to_torch(getattr(self.cell, "compute_dtype", self.compute_dtype))
        given = [as_tensor(state, dtype, sequences.device) for state in given]
        for state, size in zip(given, sizes):
            expected = self._shape_of_state(size, sequences.shape)
            if tuple(state.shape) != expected:
                raise ValueError(
                    f"Layer {self.name!r} expected an initial state of shape {expected}; "
                    f"received one of shape {tuple(state.shape)}."
                )
        return tree.pack_like(self.state_size, given)
