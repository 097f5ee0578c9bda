"""Nodes: one call of a layer or an operation on symbolic tensors."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from torchkeras import tree
from torchkeras.graph.tensor import KerasTensor, Spec


class Node:
    """One call of an operation, with its arguments and what comes out.

    A symbolic tensor holds its node, the node its arguments and its operation; back from there
    references are weak, so that a graph goes as soon as nobody holds its ends.

    Args:
        operation: a layer or a :class:`TorchCall`.
        args: of the call, symbolic tensors among them.
        kwargs: likewise.
        specs: of each output, in the order of ``structure``.
        structure: the form of the outputs, numbers in place of tensors.
    """

    def __init__(
        self,
        operation: Any,
        args: tuple,
        kwargs: dict[str, Any],
        specs: Sequence[Spec],
        structure: Any,
    ):
        self.operation = operation
        # Copies: a list that layers were called on may grow afterwards.
        self.args = tree.map_structure(_same, args)
        self.kwargs = tree.map_structure(_same, kwargs)
        self.specs = list(specs)
        self.structure = structure
        self.parents = [t for t in tree.leaves((args, kwargs)) if isinstance(t, KerasTensor)]
        self._outputs: list[weakref.ref[KerasTensor] | None] = [None] * len(self.specs)
        nodes = operation._nodes
        # Its number among the calls of the operation, as Keras counts them.
        self.index = len(nodes)
        nodes.append(weakref.ref(self))

    def tensor(self, index: int) -> KerasTensor:
        """Return the symbolic tensor of an output, one as long as somebody holds it."""
        kept = self._outputs[index]
        tensor = None if kept is None else kept()
        if tensor is None:
            tensor = KerasTensor.output_of(self, index)
            self._outputs[index] = weakref.ref(tensor)
        return tensor

    @property
    def outputs(self) -> Any:
        """The symbolic outputs, in their structure."""
        return tree.map_structure(self.tensor, self.structure)

    @property
    def output(self) -> Any:
        """The symbolic output; of several, a list."""
        found = [self.tensor(index) for index in range(len(self.specs))]
        return found[0] if len(found) == 1 else found

    @property
    def input(self) -> Any:
        """The symbolic input; of several, a list; an entry's own output."""
        found = list(self.parents) or [self.tensor(0)]
        return found[0] if len(found) == 1 else found

    @property
    def input_tensors(self) -> list[KerasTensor]:
        """The symbolic inputs, in a list."""
        return list(self.parents) or self.output_tensors

    @property
    def output_tensors(self) -> list[KerasTensor]:
        """The symbolic outputs, in a list."""
        return [self.tensor(index) for index in range(len(self.specs))]

    @property
    def inbound_layers(self) -> list[Any]:
        """What the inputs come from."""
        return [tensor.source for tensor in self.parents]

    @property
    def outbound_layer(self) -> Any:
        """What was called."""
        return self.operation


def enter(operation: Any, tensor: KerasTensor) -> None:
    """Let a graph begin at a symbolic tensor that exists, as the output of an operation."""
    node = Node(operation, (), {}, [Spec(tensor.shape, tensor.dtype)], 0)
    node._outputs[0] = weakref.ref(tensor)
    tensor._node, tensor._index = node, 0


def _same(leaf: Any) -> Any:
    return leaf


def connect(operation: Any, args: tuple, kwargs: dict[str, Any], outputs: Any) -> Any:
    """Note a call on symbolic tensors.

    Args:
        operation: a layer or a :class:`TorchCall`.
        args: of the call.
        kwargs: likewise.
        outputs: a :class:`Spec`, or lists, tuples or dictionaries of them.

    Returns:
        The symbolic outputs, in the structure of ``outputs``.
    """
    structure, specs = _numbered(outputs)
    return Node(operation, args, kwargs, specs, structure).outputs


def _numbered(outputs: Any) -> tuple[Any, list[Spec]]:
    """Return a structure of specs with numbers in their place, and the specs in that order."""
    specs = tree.flatten(outputs)
    return tree.pack_like(outputs, range(len(specs))), specs


def nodes_of(operation: Any) -> list[Node]:
    """Return the calls of an operation that somebody still holds, oldest first."""
    return [node for node in (held() for held in operation._nodes) if node is not None]
