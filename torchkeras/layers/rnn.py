"""RNN: the layer that runs a cell over the steps of sequences.

The contract of a cell, for whoever builds on it:

- ``state_size``: an integer, or a list of integers, one for each state (or of lists, of a stack of
  cells); ``output_size`` where the output's size is not the first state's.
- ``call(inputs, states)`` takes what lies at one step, ``(batch, …)``, and a list of states, also
  ``constants`` and ``training`` where it names them; it returns the output and the new states.
- ``get_initial_state``, if it has one, takes any of ``batch_size``, ``inputs`` and ``dtype``.
- A cell that is a layer is built for ``(batch, …)``, and may be a :class:`DropoutRNNCell`, whose
  masks hold for a sequence.
- A cell that can run through whole sequences has ``runs_over()`` and ``over(…)`` as ``TorchCell``
  has them; others are called step by step.

A layer that builds on ``RNN`` and has states of another shape than ``(batch, size)`` overrides
``_states_for`` and ``_shape_of_state``, which get the shape of the sequences, and
``compute_output_shape``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras import eras, registry, tree
from torchkeras.graph import KerasTensor
from torchkeras.layers.base import Layer
from torchkeras.layers.rnn_cell import DropoutRNNCell
from torchkeras.layers.rnn_loop import loop
from torchkeras.layers.rnn_masks import Front
from torchkeras.layers.rnn_stacked import StackedRNNCells
from torchkeras.layers.rnn_states import StatefulLayer
from torchkeras.layers.structures import as_shapes, is_shape, shape_of
from torchkeras.registry import register


@register("layer")
class RNN(StatefulLayer):
    """Runs a cell over the steps of sequences.

    Args:
        cell: computes a step, see above; a list of cells becomes a stack.
        return_sequences: whether to return the outputs of all steps, not of the last alone.
        return_state: whether to return the last states behind the output.
        go_backwards: whether to begin with the last step; the outputs then are in that order.
        stateful: whether a batch begins with the states that the batch before ended with.
        unroll: whether the number of steps must be known; steps are run one by one in any case.
        zero_output_for_mask: whether outputs are 0 where the mask is false; else they are those of
            the step before.
        time_major: whether steps are the first axis, of inputs, mask and outputs.
        input_length: the number of steps, that goes with ``input_dim``.
        input_dim: the number of features, for the first layer of a ``Sequential``.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, steps, …)``, output ``(batch, steps, units)`` or ``(batch, units)``, states
        ``(batch, size)``.

    Raises:
        ValueError: for what is no cell.
    """

    config_without = ("input_length", "input_dim")
    config_unless = {"time_major": False}
    supports_masking = True

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        time_major: bool = False,
        input_length: int | None = None,
        input_dim: int | None = None,
        **kwargs: Any,
    ):
        title = type(self).__name__
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        for name in ("call", "state_size"):
            if not hasattr(cell, name):
                raise ValueError(f"{title}: a cell has {name}, which {cell!r} has not.")
        if input_dim is not None or input_length is not None:
            kwargs.setdefault("input_shape", (input_length, input_dim))
        super().__init__(**kwargs)
        self.cell = cell
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.time_major = time_major
        self._constants_shapes: list[Any] = []
        self._state_shapes: Any = None
        self._num_constants: int | None = None

    # ------------------------------------------------------------------------ what it is of

    @property
    def output_size(self) -> int:
        """The size of the output of a step."""
        size = getattr(self.cell, "output_size", None)
        while size is None or isinstance(size, (list, tuple)):
            size = self.state_size[0] if size is None else size[0]
        return size

    def compute_output_shape(self, sequences_shape: Any) -> Any:
        """Return the shape of the output, and those of the states where they are returned."""
        if not is_shape(sequences_shape):
            sequences_shape = sequences_shape[0]
        shape = self._batch_first(sequences_shape)
        output = (shape[0], self.output_size)
        if self.return_sequences:
            output = self._batch_first((shape[0], shape[1], self.output_size))
        if not self.return_state:
            return output
        find = functools.partial(self._shape_of_state, shape=shape)
        return (output, *tree.map_structure(find, self.state_size))

    def _batch_first(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return a shape with batch and steps in this order; or back from it."""
        first, second, *others = shape
        return (second, first, *others) if self.time_major else (first, second, *others)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the outputs: the inputs', or none where the last step is returned."""
        mask = next(tree.leaves(previous_mask), None)
        mask = mask if self.return_sequences else None
        states = len(tree.flatten(self.state_size))
        return [mask, *[None] * states] if self.return_state else mask

    def _output_dtype(self, inputs: Any) -> str:
        return self.compute_dtype

    # -------------------------------------------------------------------------------- build

    def _build_for(self, args: tuple, kwargs: dict[str, Any]) -> None:
        self._constants_shapes = [shape_of(one) for one in kwargs.get("constants") or ()]
        self._state_shapes = shape_of(kwargs.get("initial_state", (*args, None)[1]))
        super()._build_for(args, kwargs)

    def build(self, sequences_shape: Any) -> None:
        """Build the cell for a step, and keep states where the layer is stateful.

        Raises:
            ValueError: when it is stateful and the number of samples is not known.
        """
        if not is_shape(sequences_shape):
            sequences_shape = sequences_shape[0]
        if len(sequences_shape) < 3:
            raise ValueError(
                f"Layer {self.name!r} expected an input with rank 3 or more, (batch, steps, …), "
                f"but received shape {tuple(sequences_shape)}."
            )
        shape = self._batch_first(sequences_shape)
        if isinstance(self.cell, Layer) and not self.cell.built:
            step = (shape[0], *shape[2:])
            self.cell.build([step, *self._constants_shapes] if self._constants_shapes else step)
            self.cell.built = True
        if self.stateful:
            self._keep_states(shape)

    def get_build_config(self) -> dict[str, Any] | None:
        """Return the shapes of inputs, and of states that were given, which ``build`` was for."""
        if self._build_shape is None or self._state_shapes is None:
            return super().get_build_config()
        shapes = {
            "sequences_shape": self._build_shape,
            "initial_state_shape": self._state_shapes,
        }
        return {"shapes_dict": shapes}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build for the shapes of :meth:`get_build_config`."""
        shapes = config.get("shapes_dict")
        if shapes is not None and not self.built:
            self._state_shapes = as_shapes(shapes.get("initial_state_shape"))
            config = {"input_shape": shapes["sequences_shape"]}
        super().build_from_config(config)

    # -------------------------------------------------------------------------------- call

    def _with_inputs_first(
        self, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]]:
        """Take initial states and constants out of the list that Keras 1 and 2 had them in."""
        args, kwargs = super()._with_inputs_first(args, kwargs)
        first = args[0]
        if isinstance(first, (list, tuple)) and all(hasattr(part, "shape") for part in first):
            sequences, *others = first
            count = len(others) - (self._num_constants or 0)
            if others[:count]:
                kwargs = {**kwargs, "initial_state": list(others[:count])}
            if others[count:]:
                kwargs = {**kwargs, "constants": list(others[count:])}
            args = (sequences, *args[1:])
        if kwargs.get("constants") is not None:
            if not isinstance(kwargs["constants"], (list, tuple)):
                kwargs = {**kwargs, "constants": [kwargs["constants"]]}
            self._num_constants = len(kwargs["constants"])
        state = kwargs.get("initial_state", args[1] if len(args) > 1 else None)
        if state is not None and kwargs.get("mask") is None and len(args) < 3:
            mask = getattr(args[0], "_keras_mask", None)
            if mask is not None and eras.value("recurrent.mask_beside_states"):
                kwargs = {**kwargs, "mask": mask}
        return args, kwargs

    def _call_symbolically(self, args: tuple, kwargs: dict[str, Any], training: Any) -> Any:
        first = self._with_inputs_first(args, kwargs)[0][0]
        if self.unroll and isinstance(first, KerasTensor) and first.shape[1] is None:
            raise ValueError(
                f"Layer {self.name!r} has unroll=True, which needs the number of steps; received "
                f"an input of shape {first.shape}. Say it in the input's shape."
            )
        return super()._call_symbolically(args, kwargs, training)

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Tensor | None = None,
        constants: Sequence[Tensor] | None = None,
    ) -> Any:
        """Run the cell over the steps.

        Args:
            sequences: ``(batch, steps, …)``.
            initial_state: before the first step: a tensor for each state, or the only one.
            mask: ``(batch, steps)``, false where a step does not count.
            constants: given to the cell at each step.

        Returns:
            The output, and the states behind it where they are wanted.
        """
        if isinstance(mask, (list, tuple)):
            mask = mask[0]
        if mask is not None:
            mask = mask.reshape(mask.shape[:2]).to(torch.bool)
        if self.time_major:
            sequences = sequences.transpose(0, 1)
            mask = None if mask is None else mask.transpose(0, 1)
        states = self._first_states(sequences, initial_state)
        if self.go_backwards:
            sequences = sequences.flip(1)
            mask = None if mask is None else mask.flip(1)
        over = getattr(self.cell, "over", None)
        if over is not None and constants is None and self._is_run_over():
            output, states = self._run_over(sequences, states, mask)
        else:
            output, states = self._run_steps(sequences, states, mask, constants)
        reset_dropout(self.cell)
        dtype = self.dtype_policy.torch_compute_dtype
        output, *states = tree.map_structure(lambda one: one.to(dtype), [output, *states])
        if self.stateful:
            with torch.no_grad():
                for kept, new in zip(self._kept(), tree.leaves(states)):
                    kept.copy_(new)
        if self.return_sequences and self.time_major:
            output = output.transpose(0, 1)
        return (output, *states) if self.return_state else output

    def _is_run_over(self) -> bool:
        """Tell whether the cell can run through whole sequences, in this layer's mode."""
        return self.cell.training is self.training and self.cell.runs_over()

    def _fused(self) -> bool:
        """Tell whether torch's kernels may be used."""
        return True

    def _run_over(
        self, sequences: Tensor, states: list[Any], mask: Tensor | None
    ) -> tuple[Tensor, list[Any]]:
        """Let the cell run through the sequences at once."""
        if sequences.shape[1] == 0:
            raise ValueError(
                f"Layer {self.name!r} needs one step at least; received sequences of shape "
                f"{tuple(sequences.shape)}."
            )
        if mask is None:
            outputs, new = self.cell.over(sequences, states, False, self._fused())
            return (outputs if self.return_sequences else outputs[:, -1]), new
        front = Front(mask)
        wants_states = self.return_state or self.stateful
        moved = front.moved(sequences)
        outputs, every = self.cell.over(moved, states, wants_states, self._fused())
        find = front.outputs if self.return_sequences else front.last_output
        if wants_states:
            states = tree.map_structure(front.last_state, every, states)
        return find(outputs, self.zero_output_for_mask), states

    def _run_steps(
        self,
        sequences: Tensor,
        states: list[Any],
        mask: Tensor | None,
        constants: Sequence[Tensor] | None,
    ) -> tuple[Tensor, list[Any]]:
        """Call the cell for each step."""
        cell = self.cell if callable(self.cell) else self.cell.call
        names = inspect.signature(self.cell.call).parameters
        given = {}
        if constants is not None:
            if "constants" not in names:
                raise ValueError(
                    f"Layer {self.name!r} was given constants, but the call of its cell "
                    f"{type(self.cell).__name__} takes none."
                )
            given["constants"] = list(constants)
        if "training" in names and not isinstance(self.cell, Layer):
            given["training"] = self.training

        def step(inputs: Tensor, before: list[Any]) -> tuple[Tensor, list[Any]]:
            output, new = cell(inputs, before, **given)
            return output, list(new) if isinstance(new, (list, tuple)) else [new]

        last, outputs, states = loop(
            step, sequences, states, mask, self.zero_output_for_mask, self.return_sequences
        )
        return (outputs if self.return_sequences else last), states

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again, and how many constants it was given."""
        config = super().get_config()
        if self._num_constants is not None:
            config["num_constants"] = self._num_constants
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> RNN:
        """Make a layer from what :meth:`get_config` returned.

        Args:
            config: the arguments of the constructor, the cell as a config.
            custom_objects: classes of the user's, by name.
        """
        config = dict(config)
        constants = config.pop("num_constants", None)
        if isinstance(config.get("cell"), dict):
            config["cell"] = registry.deserialize("layer", config["cell"], custom_objects)
        layer = cls(**config)
        layer._num_constants = constants
        return layer


def reset_dropout(cell: Any) -> None:
    """Let a cell, or those of a stack, draw other dropout masks for the next sequence."""
    if isinstance(cell, DropoutRNNCell):
        cell.reset_dropout_mask()
        cell.reset_recurrent_dropout_mask()
    for one in cell.cells if isinstance(cell, StackedRNNCells) else ():
        reset_dropout(one)
