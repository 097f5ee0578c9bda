"""Recording one real step: the calls below autograd, and what forbids to replay them."""

from __future__ import annotations

import contextlib
import functools
import random as python_random
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from torchkeras.training.capture.modes import VALUE_READS, VIEWS, Above, Below
from torchkeras.training.capture.program import Call, Memory, Program, Value, aten
from torchkeras.training.capture.signature import equal, signature
from torchkeras.training.capture.watch import Watch

# Another thread's doing, so it is no reason against the next record.
SWITCHED = "the model's mode was switched while a step was recorded"
# They read lengths on the host, unseen.
_LENGTH_READS = {aten._pack_padded_sequence.default}
_MASK_INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}


class Record:
    """A recorded step.

    Args:
        program: its calls.
        hazards: why it must not be replayed; empty when it may be.
        loose: the external tensors that are neither state nor input: constants, if another record
            has equal ones.
    """

    def __init__(self, program: Program, hazards: list[str], loose: list[Value]):
        self.program = program
        self.hazards = hazards
        self.loose = loose

    @functools.cached_property
    def signature(self) -> list[tuple[Any, Any]]:
        """What another record must have in common with this one, as it is when first asked for."""
        return signature(self.program, self.loose)

    def difference(self, other: Record) -> str | None:
        """Say in what another record of such a step differs; ``None`` where in nothing."""
        mine, others = self.signature, other.signature
        if len(mine) != len(others):
            return f"the step made {len(others)} calls after {len(mine)}"
        for (op, one), (other_op, two) in zip(mine, others):
            if op is not other_op:
                return f"the step called {other_op} instead of {op}"
            if not equal(one, two):
                return f"an argument of {op} changed from step to step"
        return None


def record(
    step: Callable[..., Sequence[torch.Tensor | None]],
    inputs: Sequence[torch.Tensor | None],
    known: Iterable[torch.Tensor],
    root: torch.nn.Module | None = None,
    codes: set[types.CodeType] | None = None,
) -> tuple[Sequence[torch.Tensor | None], Record]:
    """Run a step and note what it does.

    Args:
        step: takes the inputs, returns a sequence of tensors and ``None``.
        inputs: the batch.
        known: every tensor that is state: weights, buffers, what the optimizer holds.
        root: the model.
        codes: the user's code that is looked at; ``None`` where none runs, so that neither random
            states nor Python calls need to be watched.

    Returns:
        What the step returned, and the record.
    """
    has_users = codes is not None
    above = Above()
    builder = _Builder(inputs, known)
    below = Below(builder.add, above, root, _generators(inputs) if has_users else [])
    before = _python_random_states() if has_users else None
    watch = Watch(codes) if has_users else None
    with above, below, watch or contextlib.nullcontext():
        results = step(*inputs)
    hazards = list(above.hazards)
    if below.is_switched:
        hazards.append(SWITCHED)
    if has_users:
        below.look_at_generators()
        if below.reseeded:
            hazards.append("the random state changes outside of torch's random calls")
        if not _same_states(before, _python_random_states()):
            hazards.append("the step draws from Python's or numpy's random numbers")
        hazards += watch.hazards
    program = builder.finish(results)
    hazards += builder.hazards
    found = Record(program, list(dict.fromkeys(hazards)), builder.loose)
    if has_users or found.loose:
        # It will be compared, with the places that tensors have now.
        _ = found.signature
    return results, found


def _generators(inputs: Sequence[torch.Tensor | None]) -> list[torch.Generator]:
    found = [torch.default_generator]
    devices = {tensor.device for tensor in inputs if tensor is not None}
    return found + [
        torch.cuda.default_generators[device.index] for device in devices if device.type == "cuda"
    ]


class _Ref(weakref.ref):
    """A weak reference that knows under which number its object is noted."""

    __slots__ = ("key",)


class _Facts:
    """Facts about tensors or storages that live, by identity.

    torch keeps the Python object of a tensor or storage as long as this lives anywhere, in C++ too,
    so the object's address stands for it. When it dies its fact goes at once, before anything else
    can take the address.
    """

    def __init__(self):
        facts: dict[int, tuple[_Ref, Any]] = {}
        self._facts = facts
        self._forget = lambda ref: facts.pop(ref.key, None)

    def get(self, thing: Any) -> Any:
        """Return the fact about an object; ``None`` where there is none."""
        found = self._facts.get(id(thing))
        return None if found is None else found[1]

    def put(self, thing: Any, fact: Any) -> None:
        """Note the fact about an object, in the place of an earlier one."""
        ref = _Ref(thing, self._forget)
        ref.key = id(thing)
        self._facts[ref.key] = (ref, fact)

    def clear(self) -> None:
        """Forget everything; without that the facts hold themselves through their references."""
        self._facts.clear()


class _Builder:
    """Turns calls into a :class:`Program` while they are made, and keeps no tensor that they make.

    Args:
        inputs: the batch.
        known: every tensor that is state.
    """

    def __init__(self, inputs: Sequence[torch.Tensor | None], known: Iterable[torch.Tensor]):
        self.hazards: list[str] = []
        self.loose: list[Value] = []
        self.calls: list[Call] = []
        self._values = _Facts()  # by tensor
        self._memories = _Facts()  # by storage
        self._made_in: dict[Memory, str] = {}
        # With the tensors, so that each keeps its address.
        self._known = {id(tensor): tensor for tensor in known}
        self.inputs = [None if tensor is None else self._input(tensor) for tensor in inputs]

    def _memory(self, tensor: torch.Tensor, held: bool) -> Memory:
        storage = tensor.untyped_storage()
        memory = self._memories.get(storage)
        if memory is None:
            memory = Memory(held)
            self._memories.put(storage, memory)
        return memory

    def _input(self, tensor: torch.Tensor) -> Value:
        return self._value(tensor, held=True)

    def _value(self, tensor: torch.Tensor, held: bool, is_external: bool = False) -> Value:
        """Describe a tensor as it is now."""
        value = Value.like(tensor, self._memory(tensor, held), is_external)
        self._values.put(tensor, value)
        return value

    def _argument(self, item: Any, op: Any) -> Any:
        if isinstance(item, torch.Tensor):
            return self._values.get(item) or self._external(item, op)
        # Lists are copied: autograd and the optimizer may change them later.
        if isinstance(item, (list, tuple)):
            return [self._argument(part, op) for part in item]
        return item

    def _external(self, tensor: torch.Tensor, op: Any) -> Value:
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            self.hazards.append(f"{op} takes a {type(tensor).__name__}")
        value = self._value(tensor, held=True, is_external=True)
        if value.memory in self._made_in:
            self.hazards.append(
                f"{op} takes a tensor of unknown origin, made in {self._made_in[value.memory]}"
            )
        if id(tensor) not in self._known:
            self.loose.append(value)
        return value

    def add(self, op: Any, args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> None:
        """Add a call that was just made."""
        values = [self._argument(arg, op) for arg in args]
        named = {name: self._argument(arg, op) for name, arg in kwargs.items()}
        if op in VIEWS and values[0].tensor is not None:
            self.hazards.append(f"the shape of a tensor from outside is changed by {op}")
        single = not isinstance(out, (list, tuple))
        outs = []
        for tensor in [out] if single else out:
            if not isinstance(tensor, torch.Tensor):
                outs.append(None)
                continue
            value = None if op in VIEWS else self._values.get(tensor)
            if value is None:
                value = self._value(tensor, held=False)
                if not value.memory.held:
                    self._made_in.setdefault(value.memory, str(op))
            outs.append(value)
        self.calls.append(Call(VIEWS.get(op, op), values, named, tuple(outs), single))
        self._look_for_hazards(op, args, out)

    def _look_for_hazards(self, op: Any, args: Sequence[Any], out: Any) -> None:
        if op in VALUE_READS or torch.Tag.data_dependent_output in op.tags:
            self.hazards.append(f"Python reads a value ({op})")
        if op in _LENGTH_READS or (torch.Tag.inplace_view in op.tags and op not in VIEWS):
            self.hazards.append(f"{op} changes a shape in a way that replaying cannot follow")
        by_mask = torch.Tag.dynamic_output_shape in op.tags and not _is_counted(op, args, out)
        if op in _MASK_INDEXED:
            indices = [index for index in args[1] if isinstance(index, torch.Tensor)]
            by_mask = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
        if by_mask:
            self.hazards.append(f"a shape depends on values ({op})")
        if op.namespace not in ("aten", "mkldnn", "prims", "torchkeras"):
            self.hazards.append(f"{op} is not one of torch's own calls")

    def finish(self, results: Sequence[torch.Tensor | None]) -> Program:
        """Return the program; no call can be added any more."""
        found = []
        for tensor in results:
            value = None if tensor is None else self._values.get(tensor)
            if tensor is not None and value is None:
                self.hazards.append("the step returns a tensor that none of its calls made")
            found.append(value)
        self._values.clear()
        self._memories.clear()
        return Program(self.inputs, self.calls, found)


def _is_counted(op: Any, args: Sequence[Any], out: Any) -> bool:
    """Tell whether ``bincount`` gave as many counts as it was asked for at least.

    Replayed, it raises where a batch has more.
    """
    return op is aten.bincount.default and len(args) > 2 and len(out) == args[2]


def _python_random_states() -> list[Any]:
    """Return the states of the generators that Python code draws from."""
    # numpy loads its generators when they are first used.
    numpy_random = sys.modules.get("numpy.random")
    state = None if numpy_random is None else numpy_random.get_state()
    return [python_random.getstate(), state]


def _same_states(before: list[Any], after: list[Any]) -> bool:
    if before[0] != after[0] or (before[1] is None) is not (after[1] is None):
        return False
    one, two = before[1], after[1]
    return one is None or (one[2] == two[2] and np.array_equal(one[1], two[1]))
