"""Placeholders, functions and gradients of the symbolic graph, as old scripts use them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchkeras import config, dtypes, tree
from torchkeras.backend.state import Update, get_value, set_value
from torchkeras.backend.tensors import Table
from torchkeras.graph import Graph, KerasTensor, Spec, TorchCall, connect, is_symbolic
from torchkeras.layers import Input
from torchkeras.layers.mode import mode
from torchkeras.layers.phase import forced_learning_phase, within
from torchkeras.ops.tensors import to_tensor
from torchkeras.seeds import in_trial
from torchkeras.variable import Variable

op = Table(__name__)


def placeholder(
    shape: Any = None, ndim: Any = None, dtype: Any = None, sparse: bool = False, name: Any = None
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
    if sparse:
        raise ValueError("placeholder: sparse=True is not supported; feed dense arrays.")
    if shape is None and ndim is None:
        raise ValueError("placeholder: give `shape`, or the number of dimensions `ndim`.")
    batch_shape = (None,) * ndim if shape is None else tuple(shape)
    return Input(batch_shape=batch_shape, dtype=dtype, name=name)


def is_placeholder(x: Any) -> bool:
    """Tell whether something is a symbolic tensor that has to be given a value."""
    return isinstance(x, KerasTensor) and (x._node is None or not x._node.parents)


@op.own(is_elementwise=True)
def print_tensor(x: Tensor, message: str = "") -> Tensor:
    """Print a message and a tensor's value whenever the code runs; return the tensor."""
    if not in_trial():
        print(message, get_value(x))
    return x


# ---------------------------------------------------------------------------------- gradients


def stop_gradient(variables: Any) -> Any:
    """Return a tensor, or each of a list, as a constant that no gradient flows through."""
    if isinstance(variables, (list, tuple)):
        return list(map(stop_gradient, variables))
    return _detached(variables)


@op.own(is_elementwise=True)
def _detached(x: Tensor) -> Tensor:
    """Return a tensor as a constant."""
    return x.detach()


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
    losses, wanted = (
        list(given) if isinstance(given, (list, tuple)) else [given] for given in (loss, variables)
    )
    if not is_symbolic(losses):
        return _differentiated([to_tensor(part) for part in losses], wanted)
    above = _ancestors(losses)
    reached = [v for v in wanted if not isinstance(v, KerasTensor) or (v._node, v._index) in above]
    specs = [Spec(tuple(v.shape), dtypes.name_of(v.dtype)) for v in reached]
    call = TorchCall(_run_gradients)
    made = iter(connect(call, (losses, reached), {}, specs) if reached else ())
    return [next(made) if any(v is other for other in reached) else None for v in wanted]


def _run_gradients(losses: list[Tensor], variables: list[Any]) -> list[Tensor]:
    """Return the gradients of real tensors, zeros where there are none; see gradients."""
    found = _differentiated(losses, variables)
    return [
        torch.zeros_like(to_tensor(variable)) if gradient is None else gradient
        for gradient, variable in zip(found, variables)
    ]


def _differentiated(losses: list[Tensor], variables: list[Any]) -> list[Tensor | None]:
    total = sum(torch.sum(loss) for loss in losses)
    if not total.requires_grad:
        raise ValueError(
            "gradients: the loss was computed without gradients: compute symbolic ones with "
            "K.function, or call requires_grad_() on real tensors first."
        )
    sources = [v.parameter if isinstance(v, Variable) else v for v in variables]
    needed = [source for source in sources if source.requires_grad]
    keeps = torch.is_grad_enabled()
    found = iter(torch.autograd.grad(total, needed, create_graph=keeps, allow_unused=True))
    result = [next(found) if source.requires_grad else None for source in sources]
    return [
        v.from_torch(gradient) if isinstance(v, Variable) and gradient is not None else gradient
        for v, gradient in zip(variables, result)
    ]


def _ancestors(tensors: list[Any]) -> set[tuple[Any, int]]:
    """Return the symbolic tensors that some come from, themselves included."""
    found: set[tuple[Any, int]] = set()
    pending = [tensor for tensor in tensors if isinstance(tensor, KerasTensor)]
    while pending:
        tensor = pending.pop()
        if (key := (tensor._node, tensor._index)) not in found:
            found.add(key)
            pending += tensor._node.parents if tensor._node is not None else ()
    return found


# ----------------------------------------------------------------------------------- functions


class Function:
    """What ``K.function`` returns: runs a symbolic graph on arrays.

    Args:
        inputs: the symbolic tensors that values are given for, such as ``model.input``, one or a
            list; ``K.learning_phase()`` among them stands for a flag 0 or 1.
        outputs: what to compute: symbolic tensors, tensors or Variables, in any structure.
        updates: what ``K.update`` gave for symbolic values, or pairs of variable and new value;
            written after the outputs are computed.
        name: a label without effect.
        givens: pairs, or a dictionary, from further symbolic inputs to their values; a dictionary
            is read at each call.

    Raises:
        TypeError: for an input that is neither symbolic nor the learning phase.
        ValueError: when an output does not follow from the inputs, or is ``None``.
    """

    def __init__(
        self, inputs: Any, outputs: Any, updates: Any = (), name: Any = None, givens: Any = ()
    ):
        self.name, self.outputs = name, outputs
        self.givens = givens if isinstance(givens, dict) else dict(givens or ())
        self.count = len(tree.flatten(inputs))
        self.inputs = [*tree.flatten(inputs), *self.givens]
        self.updates = [Update(*two) for two in updates or () if isinstance(two, (tuple, list))]
        for given in self.inputs:
            if not isinstance(given, (KerasTensor, int)):
                raise TypeError(
                    "K.function: inputs are symbolic tensors, such as model.input, or "
                    f"K.learning_phase(); received {given!r}."
                )
        self._wanted = tree.flatten(outputs) + [update.value for update in self.updates]
        if any(output is None for output in self._wanted):
            raise ValueError("K.function: an output is None: a gradient of what has no part in it.")
        symbolic = [output for output in self._wanted if isinstance(output, KerasTensor)]
        entries = list(filter(is_symbolic, self.inputs))
        self._graph = _graph_between(entries, symbolic) if symbolic else None
        found = self._graph.operations if symbolic else []
        self._differentiates = any(getattr(o, "function", 0) is _run_gradients for o in found)
        self._layers = nn.ModuleList(one for one in found if isinstance(one, nn.Module))

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
        values = [inputs] if self.count == 1 != len(values) else values
        if len(values) != self.count:
            raise ValueError(f"K.function: {self.count} inputs are needed; received {len(values)}.")
        results = iter(self._run([*values, *self.givens.values()]) if self._graph else ())
        found = [next(results) if is_symbolic(x) else to_tensor(x) for x in self._wanted]
        count = len(found) - len(self.updates)
        arrays = list(map(get_value, found[:count]))
        for update, value in zip(self.updates, found[count:]):
            set_value(update.variable, value.detach())
        return tree.pack_like(self.outputs, arrays) if tree.is_nested(self.outputs) else arrays[0]

    def _run(self, values: list[Any]) -> list[Tensor]:
        """Run the graph in the phase that the values say, with gradients where some are asked."""
        training, tensors = forced_learning_phase() or 0, []
        device = next((p.device for p in self._layers.parameters()), config.device())
        for given, value in zip(self.inputs, values):
            if not is_symbolic(given):
                training = bool(np.asarray(value).item())
                continue
            tensor = to_tensor(value, dtypes.to_torch(given.dtype)).to(device)
            if self._differentiates:
                tensor = tensor.detach().requires_grad_(tensor.is_floating_point())
            tensors.append(tensor)
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.set_grad_enabled(self._differentiates))
            stack.enter_context(within(training))
            stack.enter_context(mode(self._layers, bool(training)))
            if self._differentiates:
                stack.enter_context(_thawed(self._layers))
            return self._graph(*tensors)


function = Function


def _graph_between(inputs: list[KerasTensor], outputs: list[KerasTensor]) -> Graph:
    """Return the graph from inputs, such as a layer's output, that may lie in the middle of one."""
    graph = Graph(inputs, outputs)
    if all(map(is_placeholder, inputs)):
        return graph
    fresh = [x if is_placeholder(x) else placeholder(x.shape, dtype=x.dtype) for x in inputs]
    entries = {(x._node, x._index): new for x, new in zip(inputs, fresh)}
    return Graph(fresh, graph.repeated(entries))


@contextlib.contextmanager
def _thawed(module: nn.Module) -> Iterator[None]:
    """Let all weights require gradients: what follows an embedding, say, has none otherwise."""
    frozen = [p for p in module.parameters() if not p.requires_grad and p.is_floating_point()]
    nn.ParameterList(frozen).requires_grad_(True)
    try:
        yield
    finally:
        nn.ParameterList(frozen).requires_grad_(False)


def eval(x: Any) -> Any:
    """Return the value of a variable or a tensor, as an array; that of a number is itself."""
    return function([], [x])([])[0] if isinstance(x, KerasTensor) else get_value(x)
