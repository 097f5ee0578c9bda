"""``keras.Operation``, operations of the user's own, and ``keras.Function``, a graph as one."""

from __future__ import annotations

import abc
import inspect
from typing import Any

from torchkeras import registry, tree
from torchkeras.graph import shapes
from torchkeras.graph.node import Node, connect, enter, nodes_of
from torchkeras.graph.operation import TorchCall
from torchkeras.graph.plan import Graph
from torchkeras.graph.tensor import KerasTensor, Spec, is_symbolic
from torchkeras.variable import as_tensor


@registry.register("operation", module="keras")
class Operation(registry.Configurable, TorchCall, metaclass=abc.ABCMeta):
    """Base of operations without weights: a subclass writes ``call``.

    On symbolic tensors a call becomes a node of the graph. Layers count as operations.

    Args:
        name: numbered by class unless given.

    Raises:
        ValueError: for a name that is no string or has a ``'/'``.
    """

    def __init__(self, name: str | None = None):
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise ValueError(f"Operation: name must be a string without '/'; received {name!r}.")
        TorchCall.__init__(self, self.call, name)

    @property
    def title(self) -> str:
        """What a summary shows as its type: the class' name."""
        return type(self).__name__

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs; subclasses write it."""
        raise NotImplementedError(f"{self.title} must implement call(…).")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute, or note the call where symbolic tensors are among the arguments."""
        if is_symbolic(args, kwargs):
            return self.symbolic_call(*args, **kwargs)
        return self.call(*args, **kwargs)

    def symbolic_call(self, *args: Any, **kwargs: Any) -> Any:
        """Note a call in the graph; return the symbolic outputs."""
        return connect(self, args, kwargs, _specs(self.compute_output_spec(*args, **kwargs)))

    on = symbolic_call

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return shape and dtype of the outputs for symbolic inputs, by trying ``call``."""
        specs = shapes.by_trial(self.call, args, kwargs, self.name)
        return tree.map_structure(lambda spec: KerasTensor(spec.shape, spec.dtype), specs)

    @property
    def input(self) -> Any:
        """The symbolic input of the first call.

        Raises:
            AttributeError: when it was not called on a symbolic tensor.
        """
        return self._first_node().input

    @property
    def output(self) -> Any:
        """The symbolic output of the first call.

        Raises:
            AttributeError: when it was not called on a symbolic tensor.
        """
        return self._first_node().output

    def _first_node(self) -> Node:
        for node in nodes_of(self):
            return node
        raise AttributeError(f"{self.name!r} was never called on a symbolic tensor.")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this operation again, the name where it takes one."""
        parameters = inspect.signature(type(self).__init__).parameters
        is_open = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        name = {"name": self.name} if is_open or "name" in parameters else {}
        return {**super().get_config(), **name}

    def serialize(self) -> dict[str, Any]:
        """Return what makes it again, as Keras 3 writes it."""
        return registry.serialize(self)


def _specs(outputs: Any) -> Any:
    return tree.map_structure(lambda one: Spec(tuple(one.shape), one.dtype), outputs)


class Function(Operation):
    """Computes symbolic outputs from symbolic inputs, as a model does, but is no layer.

    Args:
        inputs: symbolic tensors, of ``Input`` or made by hand: one, or a structure of them.
        outputs: symbolic tensors that follow from the inputs, likewise.
        name: numbered unless given.

    Raises:
        ValueError: when there are no inputs or outputs, or an output does not follow from them.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None):
        super().__init__(name)
        if not tree.flatten(inputs) or not tree.flatten(outputs):
            raise ValueError(f"Function needs inputs and outputs; received {inputs=}, {outputs=}.")
        for tensor in tree.leaves(inputs):
            if tensor._node is None:
                enter(Operation(registry.auto_name("input")), tensor)
        self._graph = Graph(inputs, outputs)

    @property
    def inputs(self) -> list[KerasTensor]:
        """The symbolic inputs, in a list."""
        return tree.flatten(self._graph.inputs)

    @property
    def outputs(self) -> list[KerasTensor]:
        """The symbolic outputs, in a list."""
        return tree.flatten(self._graph.outputs)

    @property
    def operations(self) -> list[Any]:
        """What is called between inputs and outputs."""
        return list(self._graph.operations)

    def call(self, inputs: Any) -> Any:
        """Compute the outputs.

        Args:
            inputs: a tensor or array for each symbolic input.

        Raises:
            ValueError: for another number of inputs, or one of another rank.
        """
        found = tree.flatten(inputs)
        self._check(found)
        return self._graph(*map(as_tensor, found))

    def compute_output_spec(self, inputs: Any) -> Any:
        """Return the symbolic outputs for other symbolic inputs."""
        found = tree.flatten(inputs)
        self._check(found)
        return self._graph.again(*found)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shapes of the outputs for those of the inputs."""
        given = tree.flatten(tree.map_shape_structure(KerasTensor, input_shape))
        given = [KerasTensor(one.shape, known.dtype) for one, known in zip(given, self.inputs)]
        return tree.map_structure(lambda one: one.shape, self.compute_output_spec(given))

    def _check(self, found: list[Any]) -> None:
        shapes_given = [getattr(one, "shape", ()) for one in found]
        if list(map(len, shapes_given)) != [len(one.shape) for one in self.inputs]:
            raise ValueError(
                f"Function {self.name!r} takes inputs of the shapes "
                f"{[one.shape for one in self.inputs]}; received {list(map(tuple, shapes_given))}."
            )
