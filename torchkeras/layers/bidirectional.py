"""Bidirectional: a recurrent layer that reads sequences from both ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras import eras, registry
from torchkeras.layers import mixed
from torchkeras.layers.base import Layer
from torchkeras.layers.rnn_lstm import LSTM, LSTMCell
from torchkeras.layers.structures import as_shapes, shape_of
from torchkeras.registry import register

# How the outputs of both ways become one; None returns both.
_MERGES: dict[str | None, Callable[[Tensor, Tensor], Any]] = {
    "concat": lambda forward, backward: torch.cat([forward, backward], -1),
    "sum": torch.add,
    "mul": torch.mul,
    "ave": lambda forward, backward: (forward + backward) / 2,
    None: lambda forward, backward: (forward, backward),
}
# What both ways must agree in.
_SHARED = ("stateful", "return_sequences", "return_state")


@register("layer")
class Bidirectional(Layer):
    """Runs one recurrent layer from the first step to the last, and another one back.

    Args:
        layer: a recurrent layer, or one of the user's with the same attributes; a new one is made
            of its config.
        merge_mode: how the outputs become one: ``'concat'`` along the last axis, ``'sum'``,
            ``'mul'``, ``'ave'``, their mean; with ``None`` both are returned.
        weights: initial weights, those of the way forward first.
        backward_layer: the layer that runs back, with ``go_backwards=True``; like ``layer`` unless
            given.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, steps, …)``, output ``(batch, 2 * units)``, with ``return_sequences``
        ``(batch, steps, 2 * units)``, in the order of the steps; with ``return_state`` the states
        follow, those of the way forward first. Other ``merge_mode`` give ``units``.

    Raises:
        ValueError: for what is no recurrent layer, an unknown ``merge_mode``, or two layers that do
            not fit together.
    """

    supports_masking = True
    config_without = ("weights",)

    def __init__(
        self,
        layer: Layer,
        merge_mode: str | None = "concat",
        weights: Sequence[Any] | None = None,
        backward_layer: Layer | None = None,
        **kwargs: Any,
    ):
        _check_recurrent("layer", layer)
        if backward_layer is not None:
            _check_recurrent("backward_layer", backward_layer)
        if merge_mode not in _MERGES:
            raise ValueError(
                "Bidirectional: Invalid merge mode; merge_mode must be one of "
                f"{', '.join(map(repr, _MERGES))}; received {merge_mode!r}."
            )
        super().__init__(weights=weights, **kwargs)
        self.forward_layer = _like(layer, "forward_", layer.go_backwards)
        if backward_layer is None:
            backward_layer = _like(layer, "backward_", not layer.go_backwards)
        self.backward_layer = backward_layer
        self._check_layers()
        for one in (self.forward_layer, self.backward_layer):
            if hasattr(layer, "use_cudnn") and hasattr(one, "use_cudnn"):
                one.use_cudnn = layer.use_cudnn  # which no config has
            if hasattr(one, "zero_output_for_mask"):
                # Else the way back would repeat its last output where a sequence is padded.
                one.zero_output_for_mask = one.return_sequences
        self.merge_mode = merge_mode
        self.stateful = layer.stateful
        self.return_sequences = layer.return_sequences
        self.return_state = layer.return_state
        self.input_spec = layer.input_spec
        self._state_shapes: Any = None

    def _check_layers(self) -> None:
        ways = self.forward_layer, self.backward_layer
        if ways[0].go_backwards == ways[1].go_backwards:
            raise ValueError(
                "Bidirectional: forward layer and backward layer should have different "
                f"`go_backwards` value; both have {ways[0].go_backwards!r}. Give backward_layer "
                "go_backwards=True."
            )
        for name in _SHARED:
            values = [getattr(way, name) for way in ways]
            if values[0] != values[1]:
                raise ValueError(
                    "Bidirectional: forward layer and backward layer are expected to have the same "
                    f'value for attribute "{name}", got "{values[0]}" for forward layer and '
                    f'"{values[1]}" for backward layer.'
                )

    @property
    def layer(self) -> Layer:
        """The layer of the way forward."""
        return self.forward_layer

    # -------------------------------------------------------------------------------- shapes

    def _build_for(self, args: tuple, kwargs: dict[str, Any]) -> None:
        self._state_shapes = shape_of(kwargs.get("initial_state", (*args, None)[1]))
        for way in (self.forward_layer, self.backward_layer):
            way._constants_shapes = [shape_of(one) for one in kwargs.get("constants") or ()]
        super()._build_for(args, kwargs)

    def build(self, sequences_shape: Any) -> None:
        """Build both layers for sequences of a shape."""
        for way in (self.forward_layer, self.backward_layer):
            if not way.built:
                way.build(sequences_shape)
                way.built = True

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

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        """Return the shape of the output, and those of the states where they are returned."""
        found = self.forward_layer.compute_output_shape(sequences_shape)
        output, *states = found if self.return_state else [found]
        outputs = [tuple(output)]
        if self.merge_mode == "concat":
            outputs = [(*output[:-1], 2 * output[-1])]
        elif self.merge_mode is None:
            outputs = outputs * 2
        found = (*outputs, *states, *states)
        return found[0] if len(found) == 1 else found

    def _output_dtype(self, inputs: Any) -> str:
        return self.compute_dtype

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the outputs: the inputs', or none where the last step is returned."""
        mask = previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask
        masks = [mask if self.return_sequences else None] * (1 if self.merge_mode else 2)
        return masks[0] if len(masks) == 1 and not self.return_state else masks

    # ---------------------------------------------------------------------------------- call

    def _with_inputs_first(
        self, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]]:
        """Take initial states and constants out of the list that Keras 1 and 2 had them in."""
        args, kwargs = super()._with_inputs_first(args, kwargs)
        first = args[0]
        if isinstance(first, (list, tuple)) and all(hasattr(part, "shape") for part in first):
            sequences, *others = first
            count = len(others) - (getattr(self.forward_layer, "_num_constants", None) or 0)
            if others[:count]:
                kwargs = {**kwargs, "initial_state": list(others[:count])}
            if others[count:]:
                kwargs = {**kwargs, "constants": list(others[count:])}
            args = (sequences, *args[1:])
        state = kwargs.get("initial_state", args[1] if len(args) > 1 else None)
        if state is not None and kwargs.get("mask") is None and len(args) < 3:
            mask = getattr(args[0], "_keras_mask", None)
            if mask is not None and eras.value("recurrent.mask_beside_states"):
                kwargs = {**kwargs, "mask": mask}
        return args, kwargs

    def call(
        self,
        sequences: Tensor,
        initial_state: Sequence[Tensor] | None = None,
        mask: Tensor | None = None,
        constants: Sequence[Tensor] | None = None,
    ) -> Any:
        """Run both ways.

        Args:
            sequences: ``(batch, steps, …)``.
            initial_state: before the first step, of the way forward and then of the way back.
            mask: ``(batch, steps)``, false where a step does not count.
            constants: given to the cells at each step.
        """
        ways = self.forward_layer, self.backward_layer
        given: list[dict[str, Any]] = [{}, {}]
        if initial_state is not None:
            is_list = isinstance(initial_state, (list, tuple))
            if not is_list or len(initial_state) % 2:
                raise ValueError(
                    f"Layer {self.name!r} expects a list of as many states for each way in "
                    f"initial_state; received {len(initial_state) if is_list else initial_state!r}."
                )
            half = len(initial_state) // 2
            given[0]["initial_state"] = list(initial_state[:half])
            given[1]["initial_state"] = list(initial_state[half:])
        for way, arguments in zip(ways, given):
            if mask is not None and "mask" in way._call_arguments:
                arguments["mask"] = mask
            if constants is not None:
                arguments["constants"] = constants
        if mask is None and constants is None and self._is_one_kernel():
            firsts = [arguments.get("initial_state") for arguments in given]
            output, states = self._run_kernel(sequences, firsts)
        else:
            found = [way(sequences, **arguments) for way, arguments in zip(ways, given)]
            output, states = self._joined(found)
        if self.merge_mode is None:
            return (*output, *states) if self.return_state else output
        return (output, *states) if self.return_state else output

    def _joined(self, found: Sequence[Any]) -> tuple[Any, Sequence[Tensor]]:
        """Return the output and the states of what both layers returned."""
        states: list[Tensor] = []
        if self.return_state:
            states = [state for _, *its in found for state in its]
            found = [output for output, *_ in found]
        dtype = self.dtype_policy.torch_compute_dtype
        forward, backward = (output.to(dtype) for output in found)
        if self.return_sequences:
            time = 0 if getattr(self.backward_layer, "time_major", False) else 1
            backward = backward.flip(time)
        return _MERGES[self.merge_mode](forward, backward), states

    # -------------------------------------------------------------------- both ways in one kernel

    def _is_one_kernel(self) -> bool:
        """Tell whether torch's kernel of an LSTM can run both ways at once, as they are set now."""
        ways = self.forward_layer, self.backward_layer
        if not all(_is_plain_lstm(way) for way in ways) or ways[0].go_backwards:
            return False
        cells = [way.cell for way in ways]
        return (
            cells[0].units == cells[1].units
            and cells[0].use_bias == cells[1].use_bias
            and cells[0].dtype_policy == cells[1].dtype_policy == self.dtype_policy
        )

    def _run_kernel(self, sequences: Tensor, firsts: Sequence[Any]) -> tuple[Any, Sequence[Tensor]]:
        """Run both ways at once.

        Args:
            sequences: ``(batch, steps, features)``, of one step at least.
            firsts: for each way the states before its first step, or ``None``.

        Returns:
            The output, and the states of both ways.
        """
        cells = self.forward_layer.cell, self.backward_layer.cell
        ways = self.forward_layer, self.backward_layer
        sequences = cells[0]._cast(sequences)
        before = [way._first_states(sequences, first) for way, first in zip(ways, firsts)]
        outputs, state, carry = torch.lstm(
            sequences,
            [torch.stack(pair) for pair in zip(*before)],
            [weight for cell in cells for weight in cell._flat_weights()],
            cells[0].use_bias,
            1,  # layer
            0.0,  # dropout between layers
            torch.is_grad_enabled(),  # whether to keep what the backward pass needs
            True,  # both ways
            True,  # the batch comes first
        )
        states = (state[0], carry[0], state[1], carry[1])
        if not self.return_sequences:
            return _MERGES[self.merge_mode](state[0], state[1]), states
        if self.merge_mode == "concat":
            return outputs, states
        return _MERGES[self.merge_mode](*outputs.chunk(2, -1)), states

    # -------------------------------------------------------------------------------- states

    @property
    def states(self) -> tuple[Any, ...] | None:
        """The states that are kept from batch to batch, of both ways; ``None`` where none are."""
        states = self.forward_layer.states, self.backward_layer.states
        return None if None in states else (*states[0], *states[1])

    def reset_state(self) -> None:
        """Set the states that are kept from batch to batch to zero.

        Raises:
            AttributeError: when the layer is not stateful.
        """
        if not self.stateful:
            raise AttributeError(f"Layer {self.name!r} must be stateful to have states to reset.")
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def reset_states(self) -> None:
        """Do :meth:`reset_state`, under Keras 1's and 2's name."""
        self.reset_state()

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Bidirectional:
        """Make a layer from what :meth:`get_config` returned.

        Args:
            config: the arguments of the constructor, the layers as configs.
            custom_objects: classes of the user's, by name.
        """
        config = dict(config)
        for name in ("layer", "backward_layer"):
            if config.get(name) is not None:
                config[name] = registry.deserialize("layer", config[name], custom_objects)
        constants = config.pop("num_constants", None)
        made = cls(**config)
        if constants is not None:
            made.forward_layer._num_constants = made.backward_layer._num_constants = constants
        return made


def _is_plain_lstm(way: Layer) -> bool:
    """Tell whether a layer does nothing but run torch's kernel of an LSTM."""
    if type(way) is not LSTM or "call" in way.__dict__ or way.stateful or way.time_major:
        return False
    cell = way.cell
    return (
        type(cell) is LSTMCell
        and way._is_run_over()
        and way._fused()
        and cell.has_kernel()
        and not (cell.training and cell.dropout)
        and not (way._forward_hooks or way._forward_pre_hooks)
        and way.activity_regularizer is None
        and way._remat is None
        and not (cell.dtype_policy.is_mixed or mixed.is_casting())
    )


def _check_recurrent(name: str, layer: Any) -> None:
    """Raise for an argument that is no recurrent layer."""
    needed = (*_SHARED, "go_backwards")
    if not isinstance(layer, Layer) or not all(hasattr(layer, one) for one in needed):
        raise ValueError(
            f"Bidirectional: `{name}` must be a recurrent layer, one with {', '.join(needed)}; "
            f"received {layer!r}."
        )


def _like(layer: Layer, prefix: str, go_backwards: bool) -> Layer:
    """Return a new layer with a layer's config, under its name with a prefix."""
    config = registry.serialize(layer)
    name = prefix + layer.name.removeprefix(prefix)
    config["config"] = {**config["config"], "name": name, "go_backwards": go_backwards}
    return registry.deserialize("layer", config, {type(layer).__name__: type(layer)})
