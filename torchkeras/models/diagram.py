"""What a picture of a model shows: boxes, what flows between them, groups of boxes."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from torchkeras.graph import Node, TorchCall
from torchkeras.models.model import Model
from torchkeras.models.sequential import Sequential
from torchkeras.models.summary import type_name


@dataclasses.dataclass(frozen=True)
class Look:
    """What is shown of each layer; the arguments of :func:`plot_model` of the same names."""

    show_shapes: bool = False
    show_dtype: bool = False
    show_layer_names: bool = False
    show_layer_activations: bool = False
    show_trainable: bool = False
    expand_nested: bool = False


@dataclasses.dataclass(eq=False)
class Box:
    """A layer or an operation.

    Attributes:
        title: its name and type.
        facts: further lines, what each says and about what.
        trained: whether training moves its weights; ``None`` where that is not shown.
    """

    title: str
    facts: list[tuple[str, str]]
    trained: bool | None


@dataclasses.dataclass(eq=False)
class Group:
    """A model: boxes and models in it, and what flows between them.

    Attributes:
        name: the model's.
        members: in the model's order.
        edges: from box to box, each once.
    """

    name: str
    members: list[Box | Group]
    edges: list[tuple[Box, Box]]


def diagram_of(model: Model, look: Look) -> Group:
    """Return what the picture of a model shows.

    Args:
        model: built; one that is not made of symbolic tensors is a single box.
        look: what is shown of each layer.
    """
    if not _has_inside(model):
        return Group(model.name, [_box(model, (), look)], [])
    builder = _Builder(look)
    diagram = builder.group(model)
    _hand_out(diagram, builder.edges)
    return diagram


class _Builder:
    """Collects the boxes of a model and of those in it, and what flows between them."""

    def __init__(self, look: Look):
        self._look = look
        self._boxes: dict[Any, Box] = {}
        self.edges: list[tuple[Box, Box]] = []

    def group(self, model: Model) -> Group:
        """Return a model's group, without what another group shows already."""
        members: list[Box | Group] = []
        for operation, calls in _operations(model):
            if self._opens(operation):
                inner = self.group(operation)
                members += [inner] if inner.members else []
            elif operation not in self._boxes:
                self._boxes[operation] = _box(operation, calls, self._look)
                members.append(self._boxes[operation])
        self.edges += [
            (self._boxes[self._end(source, output)], self._boxes[self._start(target, place)])
            for source, output, target, place in _connections(model)
        ]
        return Group(model.name, members, [])

    def _opens(self, operation: Any) -> bool:
        return self._look.expand_nested and _has_inside(operation)

    def _end(self, operation: Any, output: int) -> Any:
        """Return the operation that an output comes from, in the innermost model."""
        while self._opens(operation):
            tensor = operation.outputs[output]
            operation, output = tensor.source, tensor._index
        return operation

    def _start(self, operation: Any, place: int) -> Any:
        """Return the operation that an input enters, in the innermost model."""
        while self._opens(operation):
            if isinstance(operation, Sequential):
                operation = operation.layers[0]
            else:
                operation = operation.inputs[place].source
        return operation


def _hand_out(diagram: Group, edges: Sequence[tuple[Box, Box]]) -> None:
    """Give each edge, once, to the innermost group that has both of its ends."""
    above: dict[Box, list[Group]] = {}

    def walk(group: Group, path: list[Group]) -> None:
        for member in group.members:
            if isinstance(member, Box):
                above[member] = path
            else:
                walk(member, [*path, member])

    walk(diagram, [diagram])
    for source, target in dict.fromkeys(edges):
        shared = [a for a, b in zip(above[source], above[target]) if a is b]
        shared[-1].edges.append((source, target))


def _has_inside(operation: Any) -> bool:
    """Tell whether it is known how data flows through the layers of a model."""
    if isinstance(operation, Sequential):
        return bool(operation.layers) and operation.built
    return getattr(operation, "_graph", None) is not None


def _operations(model: Model) -> list[tuple[Any, Sequence[Node]]]:
    """Return a model's operations and their calls in it; of a Sequential, without the input."""
    if isinstance(model, Sequential):
        return [(layer, [tensor._node]) for layer, tensor in zip(model.layers, model._chain[1:])]
    return [(one, model._graph.calls_of(one)) for one in model._graph.operations]


def _connections(model: Model) -> list[tuple[Any, int, Any, int]]:
    """Return what flows: from an operation, the number of its output, to one, of its input."""
    if isinstance(model, Sequential):
        return [(a, 0, b, 0) for a, b in itertools.pairwise(model.layers)]
    return [
        (tensor.source, tensor._index, operation, place)
        for operation, calls in _operations(model)
        for node in calls
        for place, tensor in enumerate(node.parents)
    ]


# ---------------------------------------------------------------------------------------- boxes


def _box(operation: Any, calls: Sequence[Node], look: Look) -> Box:
    kind = type_name(operation)
    facts = []
    activation = getattr(operation, "activation", None)
    if look.show_layer_activations and activation is not None:
        facts.append(("Activation", getattr(activation, "__name__", None) or str(activation)))
    if look.show_shapes:
        if kind != "InputLayer":
            facts.append(("Input shape", _shapes(operation, "input", calls)))
        facts.append(("Output shape", _shapes(operation, "output", calls)))
    if look.show_dtype:
        dtypes = dict.fromkeys(spec.dtype for node in calls for spec in node.specs)
        facts.append(("Output dtype", ", ".join(dtypes) or "?"))
    shows_trained = look.show_trainable and not isinstance(operation, TorchCall)
    return Box(
        title=f"{operation.name} ({kind})" if look.show_layer_names else kind,
        facts=facts,
        trained=operation.trainable if shows_trained and operation.weights else None,
    )


def _shapes(operation: Any, end: str, calls: Sequence[Node]) -> str:
    """Return the shapes at an end of the calls as text; of several calls, those that differ."""
    if not calls:
        shape = getattr(operation, f"{end}_shape", None)
        return "?" if shape is None else str(shape)
    found = [
        [tensor.shape for tensor in (node.parents if end == "input" else node.specs)]
        for node in calls
    ]
    texts = [str(shapes[0] if len(shapes) == 1 else shapes) for shapes in found]
    return " / ".join(dict.fromkeys(texts))
