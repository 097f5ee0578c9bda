"""What happens when a layer is called on symbolic tensors: a node is added to the graph."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras import dtypes, graph, tree
from torchkeras.graph import KerasTensor, Spec, shapes
from torchkeras.layers import activity
from torchkeras.layers.contributions import Contributing
from torchkeras.layers.mode import mode
from torchkeras.layers.structures import map_shapes, shape_of


class Symbolic(Contributing):
    """The part of a layer that knows what comes out of it without computing it."""

    def _call_symbolically(self, args: tuple, kwargs: dict[str, Any], training: Any) -> Any:
        """Add a node to the graph; return the symbolic outputs."""
        args, kwargs = self._with_inputs_first(args, kwargs)
        if not self.built:
            self._build_for(args, kwargs)
        if self.input_spec is not None:
            self._check_inputs(args[0])
        try:
            specs = self.compute_output_spec(*args, **kwargs)
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            raise self._named(error, args[0]) from error
        specs = tree.map_structure(
            lambda spec: Spec(spec.shape, spec.dtype) if isinstance(spec, KerasTensor) else spec,
            specs,
        )
        if training is not None:
            kwargs = {**kwargs, "training": training}
        return graph.connect(self, args, kwargs, specs)

    def _named(self, error: Exception, inputs: Any) -> Exception:
        """Return an error of a symbolic call that says which layer it came from."""
        if repr(self.name) in str(error):
            return error
        kind = TypeError if isinstance(error, TypeError) else ValueError
        return kind(
            f"Layer {self.name!r} ({type(self).__name__}) cannot be called on inputs of shape "
            f"{shape_of(inputs)}: {error}"
        )

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return shape and dtype of the outputs for symbolic inputs.

        Args:
            args: what ``call`` takes, symbolic tensors in place of tensors.
            kwargs: likewise.

        Returns:
            A ``Spec``, or lists, tuples or dictionaries of them.
        """
        if not self._has_closed_form():
            return self._spec_by_trial(args, kwargs)
        if len(self._shape_names) < 2:
            shape = self.compute_output_shape(shape_of(args[0]))
        else:
            names = self._shape_names
            shape = self.compute_output_shape(
                **self._shapes_by_name(names, args, kwargs, "compute_output_shape")
            )
        dtype = self._output_dtype(args[0])
        return map_shapes(lambda one: Spec(one, dtype), shape)

    def _has_closed_form(self) -> bool:
        return type(self).compute_output_shape is not Symbolic.compute_output_shape

    def _output_dtype(self, inputs: Any) -> str:
        """Return Keras' name of the outputs' dtype where the shape comes from a closed form."""
        first = next(tree.leaves(inputs), None)
        dtype = dtypes.to_torch(getattr(first, "dtype", None) or self.compute_dtype)
        keeps = isinstance(dtype, torch.dtype) and not dtype.is_floating_point
        return dtypes.name_of(dtype) if keeps and not self.float_inputs else self.compute_dtype

    def _spec_by_trial(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        def run(*given: Any, **named: Any) -> Any:
            return self(*given, **named)

        with mode(self, False):
            self._build_inside(args, kwargs)
            try:
                found = shapes.by_trial(run, args, kwargs, self.name, self._device(), self)
            except (AttributeError, RuntimeError, TypeError, ValueError):
                # Where masks come along they are known at the run only.
                if "mask" not in self._call_arguments or kwargs.get("mask") is not None:
                    raise
                masked = {**kwargs, "mask": tree.map_structure(_mask_like, args[0])}
                found = shapes.by_trial(run, args, masked, self.name, self._device(), self)
        activity.drop(self)
        return found

    def _build_inside(self, args: tuple, kwargs: dict[str, Any]) -> None:
        """Build the layers inside that have no shape yet, by a run that they keep their mark of.

        A trial puts random states back, so weights drawn in one would be drawn again after it.
        """
        if any(not layer.built for layer in self.modules() if isinstance(layer, Symbolic)):
            before = [(buffer, buffer.clone()) for buffer in self.buffers()]
            shapes.run_once(self, args, kwargs, self._device())
            activity.drop(self)
            for layer in self.modules():
                before += layer.__dict__.pop("_buffers_as_built", ())
            with torch.no_grad():  # a layer that counts its calls does not count this one
                for buffer, value in before:
                    buffer.copy_(value)

    def _build_by_call(self, input_shape: Any) -> None:
        """Build the layers inside by a run on small tensors of a shape."""
        self.__dict__["built"] = True  # or the run would build again
        inputs = map_shapes(lambda one: KerasTensor(one, self.compute_dtype), input_shape)
        try:
            with mode(self, False):
                self._build_inside((inputs,), {})
        except Exception as error:
            self.__dict__["built"] = False
            raise self._named(error, inputs) from error

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the output's shape for an input's, ``None`` where unknown.

        Without a closed form the layer is run on two small tensors.

        Args:
            input_shape: ``(batch, …)``, or lists, tuples or dictionaries of such shapes.
        """
        if not self.built:
            self.build(input_shape)
        key = repr(input_shape)
        if key not in self._probed:
            inputs = map_shapes(lambda one: KerasTensor(one, self.compute_dtype), input_shape)
            try:
                specs = self._spec_by_trial((inputs,), {})
            except RuntimeError as first:
                # A layer that takes no floats, such as an embedding.
                inputs = map_shapes(lambda one: KerasTensor(one, "int64"), input_shape)
                try:
                    specs = self._spec_by_trial((inputs,), {})
                except RuntimeError:
                    raise first from None
            self._probed[key] = tree.map_structure(lambda spec: spec.shape, specs)
        return self._probed[key]

    def get_output_shape_for(self, input_shape: Any) -> Any:
        """Do :meth:`compute_output_shape`, under Keras 1's name; a subclass may write either."""
        return self.compute_output_shape(input_shape)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the outputs.

        Args:
            inputs: what ``call`` was given.
            previous_mask: the mask of the inputs, ``None`` for none.
        """
        return previous_mask

    # --------------------------------------------------------------------------- where it is

    def _first_node(self, wanted: str) -> graph.Node:
        nodes = graph.nodes_of(self)
        if not nodes and self._nodes:
            raise AttributeError(
                f"Layer {self.name!r} has no {wanted} any more: nobody holds the model, or what "
                "came out, of its symbolic calls. Keep one of them."
            )
        if not nodes:
            raise AttributeError(
                f"Layer {self.name!r} was never called on a symbolic tensor, so it has no {wanted}."
            )
        return nodes[0]

    @property
    def input(self) -> Any:
        """The symbolic input of the layer's first call.

        Raises:
            AttributeError: when it was not called on a symbolic tensor.
        """
        return self._first_node("input").input

    @property
    def output(self) -> Any:
        """The symbolic output of the layer's first call.

        Raises:
            AttributeError: when it was not called on a symbolic tensor.
        """
        return self._first_node("output").output

    @property
    def inbound_nodes(self) -> list[graph.Node]:
        """The layer's calls on symbolic tensors, oldest first."""
        return graph.nodes_of(self)

    _inbound_nodes = inbound_nodes

    def get_input_at(self, node_index: int) -> Any:
        """Return the symbolic input of a call, counted from 0."""
        return self._node_at(node_index, "get_input_at").input

    def get_output_at(self, node_index: int) -> Any:
        """Return the symbolic output of a call, counted from 0."""
        return self._node_at(node_index, "get_output_at").output

    def get_input_shape_at(self, node_index: int) -> Any:
        """Return the shape of the input of a call, counted from 0."""
        return shape_of(self.get_input_at(node_index))

    def get_output_shape_at(self, node_index: int) -> Any:
        """Return the shape of the output of a call, counted from 0."""
        return shape_of(self.get_output_at(node_index))

    def _node_at(self, index: int, method: str) -> graph.Node:
        nodes = graph.nodes_of(self)
        if not 0 <= index < len(nodes):
            raise ValueError(
                f"{method}: layer {self.name!r} was called {len(nodes)} times on symbolic tensors, "
                f"so there is no call {index}."
            )
        return nodes[index]


def _mask_like(tensor: Any) -> Any:
    """Return the symbolic mask that a symbolic input would have."""
    return KerasTensor(tensor.shape[:2], "bool") if isinstance(tensor, KerasTensor) else None
