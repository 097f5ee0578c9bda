"""A finished graph: what lies between inputs and outputs, in order, and a function that runs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn.modules import module as modules

from torchkeras import dtypes, tree
from torchkeras.graph.node import Node
from torchkeras.graph.tensor import KerasTensor, Spec

# How often something changed that decides how layers may be called; see layers_changed().
_changes = 0


def layers_changed() -> None:
    """Let every graph find out anew what its layers come down to."""
    global _changes
    _changes += 1


@dataclasses.dataclass(frozen=True)
class Slot:
    """Stands for a tensor in the arguments of a step: the number of the tensor."""

    number: int


@dataclasses.dataclass
class Step:
    """One call of a graph, free of nodes, so that it can be copied and pickled.

    Args:
        operation: what is called; an input's computes nothing.
        args: its arguments, slots in place of symbolic tensors.
        kwargs: likewise.
        specs: of its outputs.
        structure: of its outputs, numbers in place of tensors.
        first: number of the first output's slot; the others follow.
    """

    operation: Any
    args: tuple
    kwargs: dict[str, Any]
    specs: list[Spec]
    structure: Any
    first: int


class Graph:
    """What lies between some symbolic inputs and outputs.

    Called with tensors, it runs as straight-line Python.

    Args:
        inputs: a symbolic tensor, or lists, tuples or dictionaries of them; what they were made of
            is no part of the graph.
        outputs: likewise, whatever they come from.

    Raises:
        ValueError: when an output does not follow from the inputs, or two operations have one name.
    """

    def __init__(self, inputs: Any, outputs: Any):
        self._take(inputs, outputs)

    def _take(self, inputs: Any, outputs: Any) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.nodes, self.operations = _ordered(tree.flatten(inputs), tree.flatten(outputs))
        self._calls: dict[Any, list[Node]] = {}
        # Each call's number among those of its operation that are part of this graph.
        self._numbers: dict[Node, int] = {}
        for node in sorted(self.nodes, key=lambda one: one.index):
            calls = self._calls.setdefault(node.operation, [])
            self._numbers[node] = len(calls)
            calls.append(node)
        self._entries = {tensor._node for tensor in tree.leaves(inputs)}
        self._run: Callable | None = None
        self._compiled_at = 0

    def calls_of(self, operation: Any) -> list[Node]:
        """Return the calls of an operation that are part of this graph, in the order made."""
        return self._calls.get(operation, [])

    def number_of(self, node: Node) -> int:
        """Return a call's number among those of its operation that are part of this graph."""
        return self._numbers[node]

    def __contains__(self, node: Node) -> bool:
        """Tell whether a call is part of this graph."""
        return node in self._numbers

    def repeated(self, entries: dict[tuple[Node, int], KerasTensor]) -> Any:
        """Make the calls of this graph again from other symbolic tensors.

        Args:
            entries: what stands in for an output of a node: (node, number of the output) -> tensor.

        Returns:
            The symbolic outputs, in their structure.
        """
        made = dict(entries)

        def stand_in(leaf: Any) -> Any:
            if not isinstance(leaf, KerasTensor):
                return leaf
            if (leaf._node, leaf._index) not in made:
                raise ValueError(
                    f"Graph disconnected: output {leaf._index} of {leaf.source.name!r} is needed "
                    "beside others of that call, which are the model's inputs; give it too."
                )
            return made[leaf._node, leaf._index]

        for node in self.nodes:
            if (node, 0) in made or node in self._entries:
                continue
            args = tree.map_structure(stand_in, node.args)
            kwargs = tree.map_structure(stand_in, node.kwargs)
            again = Node(node.operation, args, kwargs, node.specs, node.structure)
            made.update({(node, index): again.tensor(index) for index in range(len(node.specs))})
        return tree.map_structure(stand_in, self.outputs)

    # -------------------------------------------------------------------------------- running

    def __call__(self, *tensors: Any) -> Any:
        """Run the graph.

        Where nothing stands against it, a layer's arithmetic is run without what surrounds it: the
        graph knows its inputs' shapes and dtypes already.

        Args:
            tensors: one for each input, in the order of ``tree.flatten(inputs)``.

        Returns:
            The outputs, in their structure.
        """
        # Hooks of all modules see each call only so; torch.compile can neither look into exec nor
        # find the names that the plan uses.
        if modules._has_any_global_hook() or torch.compiler.is_compiling():
            return self._interpreted(tensors)
        run = self._run
        if run is None or self._compiled_at != _changes:
            changes = _changes
            # In this order: another thread that finds the number new takes the function.
            run = self._run = _compiled(*self._steps())
            self._compiled_at = changes
        return run(*tensors)

    def _interpreted(self, tensors: Sequence[Any]) -> Any:
        """Run the graph step by step."""
        steps, inputs, outputs = self._steps()
        values = {slot.number: tensor for slot, tensor in zip(tree.leaves(inputs), tensors)}

        def value_of(leaf: Any) -> Any:
            return values[leaf.number] if isinstance(leaf, Slot) else leaf

        for step in steps:
            if step.first in values:
                continue
            args = tree.map_structure(value_of, step.args)
            found = step.operation(*args, **tree.map_structure(value_of, step.kwargs))
            for path, number in zip(_places(step.structure), tree.leaves(step.structure)):
                one = found
                for key in path:
                    one = one[key]
                values[step.first + number] = one
        return tree.map_structure(value_of, outputs)

    def again(self, *tensors: KerasTensor) -> Any:
        """Call every operation of the graph again on other symbolic inputs.

        Args:
            tensors: one for each input, in the order of ``tree.flatten(inputs)``.

        Returns:
            The symbolic outputs, in their structure.
        """
        return _compiled(*self._steps(), is_symbolic=True)(*tensors)

    def _steps(self) -> tuple[list[Step], Any, Any]:
        """Return the calls in order, and the inputs and outputs as slots."""
        slots: dict[tuple[Node, int], Slot] = {}

        def slot_of(leaf: Any) -> Any:
            return slots[leaf._node, leaf._index] if isinstance(leaf, KerasTensor) else leaf

        steps = []
        for node in self.nodes:
            first = len(slots)
            is_entry = node in self._entries
            args = () if is_entry else tree.map_structure(slot_of, node.args)
            kwargs = {} if is_entry else tree.map_structure(slot_of, node.kwargs)
            for index in range(len(node.specs)):
                slots[node, index] = Slot(first + index)
            steps.append(Step(node.operation, args, kwargs, node.specs, node.structure, first))
        inputs = tree.map_structure(slot_of, self.inputs)
        return steps, inputs, tree.map_structure(slot_of, self.outputs)

    # ------------------------------------------------------------------- copying and pickling

    def __getstate__(self) -> dict[str, Any]:
        # Flat, since following a chain of a thousand nodes is too deep for pickle.
        return {"steps": self._steps() if "inputs" in self.__dict__ else self._pickled}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._pickled = state["steps"]

    def __getattr__(self, name: str) -> Any:
        # Revived when first asked: the operations in a pickle may not be complete before.
        if name.startswith("__") or "_pickled" not in self.__dict__:
            raise AttributeError(name)
        self.revive()
        return self.__dict__[name]

    def revive(self) -> None:
        """Make the nodes and symbolic tensors again after a copy or a pickle was read."""
        if "_pickled" in self.__dict__:
            self._take(*_revived(*self.__dict__.pop("_pickled")))


def _revived(steps: Sequence[Step], inputs: Any, outputs: Any) -> tuple[Any, Any]:
    tensors: dict[Slot, KerasTensor] = {}

    def tensor_of(leaf: Any) -> Any:
        return tensors[leaf] if isinstance(leaf, Slot) else leaf

    for step in steps:
        args = tree.map_structure(tensor_of, step.args)
        kwargs = tree.map_structure(tensor_of, step.kwargs)
        node = Node(step.operation, args, kwargs, step.specs, step.structure)
        for index in range(len(step.specs)):
            tensors[Slot(step.first + index)] = node.tensor(index)
    return tree.map_structure(tensor_of, inputs), tree.map_structure(tensor_of, outputs)


# ------------------------------------------------------------------------------------- ordering


def _ordered(inputs: list[KerasTensor], outputs: list[KerasTensor]) -> tuple[list[Node], list[Any]]:
    """Return the calls between inputs and outputs in running order, and the operations in Keras'.

    Keras orders by depth, the longest way to an output, then by when a search from the outputs
    backwards meets an operation first.
    """
    entries = {tensor._node for tensor in inputs}
    found, first_met = _search(entries, outputs)
    depth: dict[Node, int] = {}
    of_operation: dict[Any, int] = {}
    for node in reversed(found):
        at = max(depth.get(node, 0), of_operation.get(node.operation, 0))
        depth[node] = of_operation[node.operation] = at
        for parent in node.parents if node not in entries else ():
            depth[parent._node] = max(at + 1, depth.get(parent._node, 0))
    for tensor in inputs:  # those that no output needs come last
        if tensor._node not in depth:
            depth[tensor._node] = of_operation[tensor._node.operation] = 0
            first_met[tensor._node.operation] = -1
    nodes = sorted(depth, key=depth.__getitem__, reverse=True)
    operations = sorted(of_operation, key=lambda o: (-of_operation[o], first_met[o]))
    names: dict[str, Any] = {}
    for operation in operations:
        if names.setdefault(operation.name, operation) is not operation:
            raise ValueError(
                f"The name {operation.name!r} is used by two layers of the model; names are "
                "unique. Give one of them another name=…."
            )
    return nodes, operations


def _search(
    entries: set[Node | None], outputs: list[KerasTensor]
) -> tuple[list[Node], dict[Any, int]]:
    """Walk from the outputs back to the entries, depth first.

    Returns:
        The nodes, each after those that it needs, and each operation's place in the walk.

    Raises:
        ValueError: when the walk ends at something else than an entry.
    """
    found: list[Node] = []
    done: set[Node] = set()
    met: dict[Any, int] = {}
    for output in outputs:
        if output._node is None:
            raise ValueError(f"{output!r} comes from no layer, so no model can compute it.")
        # Instead of recursion, which a thousand layers are too deep for.
        pending = [(output._node, iter(output._node.parents))]
        if output._node in done:
            continue
        met.setdefault(output._node.operation, len(met))
        while pending:
            node, parents = pending[-1]
            if not node.parents and node not in entries:
                user = pending[-2][0].operation.name if len(pending) > 1 else "the outputs"
                raise ValueError(
                    f"Graph disconnected: {user!r} needs {node.operation.name!r}, which is not "
                    f"among the model's inputs, {sorted(e.operation.name for e in entries if e)}."
                )
            for parent in parents if node not in entries else ():
                above = parent._node
                if above is None:
                    raise ValueError(
                        f"Graph disconnected: {node.operation.name!r} needs {parent!r}, which "
                        "comes from no layer; begin with Input(…)."
                    )
                if above not in done:
                    met.setdefault(above.operation, len(met))
                    pending.append((above, iter(above.parents)))
                    break
            else:
                pending.pop()
                done.add(node)
                found.append(node)
    return found, met


# ------------------------------------------------------------------------------------- compiling


def _compiled(
    steps: Sequence[Step], inputs: Any, outputs: Any, is_symbolic: bool = False
) -> Callable:
    """Write the steps as a Python function: one line a call, each value dropped after its last use.

    Interpreting the steps would take 1.5 times as long as the same layers in ``nn.Sequential``.
    """
    names: dict[str, Any] = {"__name__": __name__}
    last: dict[int, int] = {}
    for index, step in enumerate(steps):
        for leaf in tree.leaves((step.args, step.kwargs)):
            if isinstance(leaf, Slot):
                last[leaf.number] = index
    kept = {leaf.number for leaf in tree.leaves(outputs) if isinstance(leaf, Slot)}
    entries = [leaf.number for leaf in tree.leaves(inputs)]
    # An output takes the variable of an argument that is not needed again: 0.4 us less than `del`.
    variable = {number: f"t{number}" for number in entries}
    lines = [f"def run({', '.join(variable.values())}):"]
    dtypes_found = {} if is_symbolic else _dtypes(steps)
    for index, step in enumerate(steps):
        made = range(step.first, step.first + len(step.specs))
        if any(number in entries for number in made):
            continue
        operation = step.operation
        names[f"f{index}"] = getattr(operation, "on", operation) if is_symbolic else operation
        arguments = [_source(arg, names, variable) for arg in step.args]
        arguments += [f"{key}={_source(a, names, variable)}" for key, a in step.kwargs.items()]
        call = f"f{index}({', '.join(arguments)})"
        direct = () if is_symbolic else _direct_calls(step, dtypes_found)
        for number, function in enumerate(direct):
            names[f"d{index}_{number}"] = function
            call = f"d{index}_{number}({', '.join(arguments) if number == 0 else call})"
        used = {leaf.number for leaf in tree.leaves((step.args, step.kwargs)) if _is_slot(leaf)}
        gone = sorted(number for number in used if last[number] == index and number not in kept)
        gone = [variable[number] for number in gone]
        if step.structure == 0:
            target = variable[step.first] = gone.pop(0) if gone else f"t{step.first}"
            lines.append(f"    {target} = {call}")
        else:
            lines.append(f"    out = {call}")
            for place, number in zip(_places(step.structure), tree.leaves(step.structure)):
                keys = "".join(f"[{key!r}]" for key in place)
                variable[step.first + number] = f"t{step.first + number}"
                lines.append(f"    t{step.first + number} = out{keys}")
        gone += [variable[n] for n in made if n not in last and n not in kept]
        if gone:
            lines.append(f"    del {', '.join(gone)}")
    lines.append(f"    return {_source(outputs, names, variable)}")
    exec(compile("\n".join(lines), "<graph>", "exec"), names)
    return names.pop("run")  # left there, function and names would hold each other


def _dtypes(steps: Sequence[Step]) -> dict[int, str | None]:
    """Return the dtype of each slot; ``None`` where a layer was given another one since."""
    found: dict[int, str | None] = {}
    for step in steps:
        operation = step.operation
        for number, spec in enumerate(step.specs):
            dtype: str | None = spec.dtype
            if isinstance(operation, torch.nn.Module):
                if step.args and dtypes.to_torch(dtype).is_floating_point:
                    computed = {m.compute_dtype for m in operation.modules() if _computes(m)}
                    dtype = dtype if computed <= {dtype} else None
            elif any(
                found[leaf.number] is None
                for leaf in tree.leaves((step.args, step.kwargs))
                if _is_slot(leaf)
            ):
                dtype = None
            found[step.first + number] = dtype
    return found


def _computes(module: torch.nn.Module) -> bool:
    return hasattr(module, "compute_dtype")


def _direct_calls(step: Step, found: dict[int, str | None]) -> Sequence[Callable]:
    """Return what a step's layer comes down to, one function on the other's output; or nothing."""
    asks = getattr(step.operation, "_direct_calls", None)
    if asks is None or step.kwargs or len(step.args) != 1:
        return ()
    leaves = tree.flatten(step.args)
    if not all(map(_is_slot, leaves)) or None in [found[leaf.number] for leaf in leaves]:
        return ()
    return asks([found[leaf.number] for leaf in leaves])


def _is_slot(leaf: Any) -> bool:
    return isinstance(leaf, Slot)


def _source(part: Any, names: dict[str, Any], variable: dict[int, str]) -> str:
    """Return Python text for an argument; what has no such text gets a name in ``names``."""
    if isinstance(part, Slot):
        return variable[part.number]
    if any(map(_is_slot, tree.leaves(part))):
        if isinstance(part, Mapping):
            items = (f"{key!r}: {_source(p, names, variable)}" for key, p in part.items())
            return f"{{{', '.join(items)}}}"
        inner = "".join(f"{_source(item, names, variable)}, " for item in part)
        if hasattr(part, "_fields"):  # a named tuple
            names[f"c{len(names)}"] = type(part)
            return f"c{len(names) - 1}({inner})"
        return f"[{inner}]" if isinstance(part, list) else f"({inner})"
    if part is None or type(part) in (bool, int, str):
        return repr(part)
    name = f"c{len(names)}"
    names[name] = part
    return name


def _places(structure: Any) -> list[tuple[Any, ...]]:
    """Return the keys that lead to each leaf, in the order of ``tree.leaves``."""
    if isinstance(structure, Mapping):
        return [(key, *rest) for key in tree.keys(structure) for rest in _places(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [(key, *rest) for key, part in enumerate(structure) for rest in _places(part)]
    return [()]
