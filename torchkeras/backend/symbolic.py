"""Placeholders, functions and gradients of the symbolic graph, as old scripts use them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras import config, dtypes, registry, tree, variable
from torchkeras.backend import phase
from torchkeras.backend.operation import operation, unchanged
from torchkeras.backend.state import Update, get_value, set_value
from torchkeras.backend.tensors import as_tensor
from torchkeras.graph import Graph, KerasTensor, Spec, connect, is_symbolic
from torchkeras.variable import Variable


def placeholder(
    shape: Sequence[int | None] | None = None,
    ndim: int | None = None,
    dtype: Any = None,
    sparse: bool = False,
    name: str | None = None,
) -> KerasTensor:
    """Declare a symbolic tensor that a model or ``K.function`` is given a value for.

    Args:
        shape: with the batch in front, ``None`` where free.
        ndim: number of free dimensions, instead of ``shape``.
        dtype: ``floatx`` unless given.
        sparse: must be false.
        name: numbered unless given.

    Raises:
        ValueError: when neither ``shape`` nor ``ndim`` is given, or ``sparse`` is true.
    """
    # Only here, since layers import the phase from this package.
    from torchkeras.layers import Input

    if sparse:
        raise ValueError("placeholder: sparse=True is not supported; feed dense arrays.")
    if shape is None and ndim is None:
        raise ValueError("placeholder: give `shape`, or the number of dimensions `ndim`.")
    batch_shape = (None,) * ndim if shape is None else tuple(shape)
    return Input(batch_shape=batch_shape, dtype=dtype, name=name)


def is_placeholder(x: Any) -> bool:
    """Tell whether something is a symbolic tensor that has to be given a value."""
    return isinstance(x, KerasTensor) and (x._node is None or not x._node.parents)


@operation(spec=unchanged)
def print_tensor(x: Any, message: str = "") -> torch.Tensor:
    """Print a message and a tensor's value whenever the code runs; return the tensor.

    Args:
        x: any shape.
        message: what is printed in front.
    """
    print(message, get_value(as_tensor(x)))
    return as_tensor(x)


# ---------------------------------------------------------------------------------- gradients


@operation(spec=unchanged)
def _detached(x: Any) -> torch.Tensor:
    return as_tensor(x).detach()


def stop_gradient(variables: Any) -> Any:
    """Return a tensor, or each of a list, as a constant that no gradient flows through."""
    if isinstance(variables, (list, tuple)):
        return [_detached(x) for x in variables]
    return _detached(variables)


class Gradients:
    """The operation whose outputs are the gradients of a loss.

    ``K.function`` runs it on tensors of one autograd graph, so nothing is computed twice.
    """

    def __init__(self) -> None:
        self.name = registry.auto_name("gradients")
        self._nodes: list[Any] = []

    def __call__(self, losses: list[torch.Tensor], variables: list[Any]) -> list[torch.Tensor]:
        """Return the gradient of the sum of the losses with respect to each variable."""
        found = _gradients(losses, variables)
        shapes = (as_tensor(variable) for variable in variables)
        return [
            torch.zeros_like(like) if gradient is None else gradient
            for gradient, like in zip(found, shapes, strict=True)
        ]


def gradients(loss: Any, variables: Any) -> list[Any]:
    """Return the gradients of a loss.

    Args:
        loss: a tensor, of which the elements are summed, or a list of them; real or symbolic.
        variables: tensors or Variables, one or a list: of a symbolic loss, symbolic tensors that it
            comes from, such as ``model.input`` or ``layer.output``.

    Returns:
        A list of tensors of the variables' shapes, ``None`` for one that the loss does not depend
        on.  Those of symbolic tensors are symbolic: ``K.function`` computes them.

    Raises:
        ValueError: when a real loss was computed without gradients.
    """
    losses = list(loss) if isinstance(loss, (list, tuple)) else [loss]
    wanted = list(variables) if isinstance(variables, (list, tuple)) else [variables]
    if not is_symbolic(losses):
        return _gradients([as_tensor(part) for part in losses], wanted)
    above = _ancestors(losses)
    reached = [v for v in wanted if not isinstance(v, KerasTensor) or (v._node, v._index) in above]
    specs = [Spec(tuple(v.shape), dtypes.name_of(v.dtype)) for v in reached]
    made = iter(connect(Gradients(), (losses, reached), {}, specs) if reached else ())
    return [next(made) if any(v is other for other in reached) else None for v in wanted]


def _gradients(losses: list[torch.Tensor], variables: list[Any]) -> list[torch.Tensor | None]:
    """Differentiate real tensors."""
    total = sum(torch.sum(loss) for loss in losses)
    if not total.requires_grad:
        raise ValueError(
            "gradients: the loss was computed without gradients, from tensors that require none or "
            "under torch.no_grad(). Compute symbolic gradients with K.function, or call "
            "requires_grad_() on the tensors first."
        )
    sources = [v.parameter if isinstance(v, Variable) else v for v in variables]
    places = [n for n, source in enumerate(sources) if source.requires_grad]
    found = torch.autograd.grad(
        total,
        [sources[n] for n in places],
        create_graph=torch.is_grad_enabled(),
        allow_unused=True,
    )
    result: list[torch.Tensor | None] = [None] * len(variables)
    for n, gradient in zip(places, found, strict=True):
        is_view = gradient is not None and isinstance(variables[n], Variable)
        result[n] = variables[n].from_torch(gradient) if is_view else gradient
    return result


def _ancestors(tensors: list[Any]) -> set[tuple[Any, int]]:
    """Return the symbolic tensors that some come from, themselves included."""
    found: set[tuple[Any, int]] = set()
    pending = [tensor for tensor in tensors if isinstance(tensor, KerasTensor)]
    while pending:
        tensor = pending.pop()
        key = (tensor._node, tensor._index)
        if key not in found:
            found.add(key)
            pending += tensor._node.parents if tensor._node is not None else ()
    return found


# ----------------------------------------------------------------------------------- functions


class Function:
    """What ``K.function`` returns: runs a symbolic graph on arrays.

    Args:
        inputs: symbolic tensors, the learning phase among them or not; one or a list.
        outputs: symbolic tensors, tensors or Variables; in any structure.
        updates: pairs of a variable and its new value, written after the outputs are computed.

    Raises:
        TypeError: for an input that is neither symbolic nor the learning phase.
        ValueError: when an output does not follow from the inputs, or is ``None``.
    """

    def __init__(self, inputs: Any, outputs: Any, updates: Sequence[Any] = ()):
        self.inputs = tree.flatten(inputs)
        self.outputs = outputs
        self.updates = [Update(*pair) for pair in updates if isinstance(pair, (tuple, list))]
        for given in self.inputs:
            if not isinstance(given, (KerasTensor, int)):
                raise TypeError(
                    "K.function: inputs are symbolic tensors (model.input, K.placeholder(…)) or "
                    f"K.learning_phase(); received {given!r}."
                )
        wanted = tree.flatten(outputs) + [update.value for update in self.updates]
        if any(output is None for output in wanted):
            raise ValueError(
                "K.function: an output is None. K.gradients gives None for a tensor that the loss "
                "does not depend on."
            )
        self._entries = [given for given in self.inputs if isinstance(given, KerasTensor)]
        self._wanted = wanted
        symbolic = [output for output in wanted if isinstance(output, KerasTensor)]
        self._graph = _graph_between(self._entries, symbolic) if symbolic else None
        operations = self._graph.operations if self._graph else []
        self._differentiates = any(isinstance(found, Gradients) for found in operations)
        self._layers = nn.ModuleList(found for found in operations if isinstance(found, nn.Module))

    def __call__(self, inputs: Any = ()) -> Any:
        """Compute the outputs and do the updates.

        Args:
            inputs: an array for each input, and 0 or 1 for the learning phase.

        Returns:
            Arrays, in the structure of the outputs.

        Raises:
            ValueError: when the number of arrays is not that of the inputs.
        """
        values = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if len(values) != len(self.inputs):
            if len(self.inputs) != 1:
                raise ValueError(
                    f"K.function: {len(self.inputs)} inputs are needed; received {len(values)}."
                )
            values = [inputs]
        results = iter(self._run(*self._read(values)))
        found = [
            next(results) if isinstance(output, KerasTensor) else as_tensor(output)
            for output in self._wanted
        ]
        count = len(found) - len(self.updates)
        arrays = [get_value(output) for output in found[:count]]
        for update, value in zip(self.updates, found[count:], strict=True):
            set_value(update.variable, value.detach())
        return tree.pack_like(self.outputs, arrays) if tree.is_nested(self.outputs) else arrays[0]

    def _read(self, values: list[Any]) -> tuple[list[torch.Tensor], bool]:
        """Return the tensors to feed, and whether to train."""
        training = phase.forced_learning_phase() or 0
        device = next((p.device for p in self._layers.parameters()), config.device())
        tensors = []
        for given, value in zip(self.inputs, values, strict=True):
            if not isinstance(given, KerasTensor):
                training = value
                continue
            tensor = variable.as_tensor(value, dtypes.to_torch(given.dtype), device)
            if self._differentiates:
                tensor = tensor.detach().requires_grad_(tensor.is_floating_point())
            tensors.append(tensor)
        return tensors, bool(np.asarray(training).item())

    def _run(self, tensors: list[torch.Tensor], training: bool) -> list[torch.Tensor]:
        """Run the graph in the mode, with gradients where some are asked for."""
        if self._graph is None:
            return []
        from torchkeras.layers.mode import mode

        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.set_grad_enabled(self._differentiates))
            stack.enter_context(phase.within(training))
            stack.enter_context(mode(self._layers, training))
            if self._differentiates:
                stack.enter_context(_thawed(self._layers))
            return self._graph(*tensors)


def _graph_between(inputs: list[KerasTensor], outputs: list[KerasTensor]) -> Graph:
    """Return the graph from inputs, such as a layer's output, that may lie in the middle of one."""
    graph = Graph(inputs, outputs)
    if all(map(is_placeholder, inputs)):
        return graph
    fresh = [x if is_placeholder(x) else placeholder(x.shape, dtype=x.dtype) for x in inputs]
    entries = {(x._node, x._index): new for x, new in zip(inputs, fresh, strict=True)}
    return Graph(fresh, graph.repeated(entries))


@contextlib.contextmanager
def _thawed(module: nn.Module) -> Iterator[None]:
    """Let all weights require gradients: what follows an embedding, say, has none otherwise."""
    frozen = [p for p in module.parameters() if not p.requires_grad and p.is_floating_point()]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def function(
    inputs: Any, outputs: Any, updates: Sequence[Any] | None = None, name: str | None = None
) -> Callable:
    """Make a function of arrays from a part of the symbolic graph.

    Args:
        inputs: the symbolic tensors that values are given for, such as ``model.input``, one or a
            list; ``K.learning_phase()`` among them stands for a flag 0 or 1.
        outputs: what to compute, one tensor or a list.
        updates: what ``K.update`` gave for symbolic values, or pairs of variable and new value.
        name: a label without effect.

    Returns:
        A function from a list of arrays to arrays in the form of ``outputs``.

    Raises:
        TypeError: for an input that is neither symbolic nor the learning phase.
        ValueError: when an output does not follow from the inputs, or is ``None``.
    """
    return Function(inputs, outputs, updates or ())


def eval(x: Any) -> Any:
    """Return the value of a variable or a tensor, as an array; that of a number is itself."""
    return function([], [x])([])[0] if isinstance(x, KerasTensor) else get_value(x)
