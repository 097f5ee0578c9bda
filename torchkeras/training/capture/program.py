"""A recorded step: a list of torch calls on named values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

aten = torch.ops.aten
# Running statistics, written without a word in the operator's schema.
_HIDDEN_WRITES = {
    aten.native_batch_norm.default: (3, 4),
    aten.cudnn_batch_norm.default: (3, 4),
    aten.miopen_batch_norm.default: (3, 4),
}


class Memory:
    """The storage behind one or more values.

    Args:
        held: whether it exists outside of the step, before and after it (weights, state, batches).
        own: whether it was made for the rewritten step, which alone knows it: a constant if no
            call writes to it.
    """

    __slots__ = ("held", "own")

    def __init__(self, held: bool, own: bool = False):
        self.held = held
        self.own = own


@dataclass(eq=False, slots=True)
class Value:
    """A tensor in a step.

    Attributes:
        memory: the storage it lies in; views share it.
        shape: its sizes.
        stride: its strides, in numbers.
        offset: where in the storage it begins, in numbers.
        dtype: its dtype.
        device: its device.
        tensor: the tensor itself where it exists outside of the step (a weight, the optimizer's
            state, a constant); ``None`` for what the step makes and for its inputs.
    """

    memory: Memory
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    device: torch.device
    tensor: torch.Tensor | None = None

    @classmethod
    def like(cls, tensor: torch.Tensor, memory: Memory, held: bool = False) -> Value:
        """Describe a tensor."""
        return cls(
            memory,
            tuple(tensor.shape),
            tensor.stride(),
            tensor.storage_offset(),
            tensor.dtype,
            tensor.device,
            tensor if held else None,
        )

    @property
    def numel(self) -> int:
        """How many numbers it has."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def is_contiguous(self) -> bool:
        """Whether its numbers lie one after the other, the last axis fastest."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.stride)):
            if size != 1:
                if stride != expected:
                    return False
                expected *= size
        return True

    def viewed(self, shape: Sequence[int], stride: Sequence[int]) -> Value:
        """Return the same memory, from the same place on, in another shape."""
        return dataclasses.replace(self, shape=tuple(shape), stride=tuple(stride), tensor=None)

    def same_place(self, other: Value) -> bool:
        """Tell whether another value is the same numbers, in the same order."""
        return (
            self.memory is other.memory
            and self.shape == other.shape
            and self.stride == other.stride
            and self.offset == other.offset
            and self.dtype is other.dtype
        )


@dataclass(eq=False, slots=True)
class Call:
    """One call of a torch operator.

    Attributes:
        op: the operator.
        args: values, numbers and lists of them, as the operator takes them.
        kwargs: likewise, by name.
        outs: the values it returns, ``None`` for what is no tensor; those of a call in place are
            the arguments themselves.
        single: whether it returns one tensor and no tuple.
    """

    op: Any
    args: list[Any]
    kwargs: dict[str, Any] = field(default_factory=dict)
    outs: tuple[Value | None, ...] = ()
    single: bool = True

    @property
    def out(self) -> Value | None:
        """The first value returned."""
        return self.outs[0] if self.outs else None

    def inputs(self) -> Iterator[Value]:
        """Yield every value among the arguments, also those written to."""
        yield from values_in(self.args)
        yield from values_in(list(self.kwargs.values()))

    def written(self) -> Iterator[Value]:
        """Yield the arguments that the call writes to."""
        for index in _HIDDEN_WRITES.get(self.op, ()):
            yield from values_in(self.args[index])
        arguments = self.op._schema.arguments
        for index, argument in enumerate(arguments):
            info = argument.alias_info
            if info is None or not info.is_write:
                continue
            if argument.name in self.kwargs:
                yield from values_in(self.kwargs[argument.name])
            elif index < len(self.args):
                yield from values_in(self.args[index])

    @property
    def is_random(self) -> bool:
        """Whether it draws random numbers."""
        return torch.Tag.nondeterministic_seeded in self.op.tags

    @property
    def has_effect(self) -> bool:
        """Whether it changes something besides making its outputs."""
        return self.op._schema.is_mutable or self.is_random or self.op in _HIDDEN_WRITES

    def replace(self, old: Value, new: Value) -> None:
        """Let the call take another value."""
        self.args = [_replaced(item, old, new) for item in self.args]
        self.kwargs = {name: _replaced(item, old, new) for name, item in self.kwargs.items()}


@dataclass(eq=False)
class Program:
    """A step as a list of calls.

    Attributes:
        inputs: the values that change from step to step by being given anew; ``None`` where a part
            of the batch is absent.
        calls: in order.
        results: the values that the step returns; ``None`` where one is absent.
    """

    inputs: list[Value | None]
    calls: list[Call]
    results: list[Value | None]

    def producers(self) -> dict[Value, Call]:
        """Return, for each value that the step makes, the call that returns it first."""
        found: dict[Value, Call] = {}
        for call in self.calls:
            for out in call.outs:
                if out is not None and out.tensor is None:
                    found.setdefault(out, call)
        return found

    def users(self) -> dict[Value, list[Call]]:
        """Return, for each value, the calls that take it, in order."""
        found: dict[Value, list[Call]] = {}
        for call in self.calls:
            for value in dict.fromkeys(call.inputs()):
                found.setdefault(value, []).append(call)
        return found

    def replace(self, old: Value, new: Value) -> None:
        """Put a value in the place of another, wherever that is used."""
        for call in self.calls:
            call.replace(old, new)
        self.results = [new if value is old else value for value in self.results]

    def merge(self, old: Value, new: Value) -> None:
        """Put a value in the place of another whose memory is now its own, with all views of it.

        Both must begin at the same place of their memory.
        """
        memory = old.memory
        self.replace(old, new)
        for call in self.calls:
            for value in (*call.inputs(), *call.outs):
                if value is not None and value.memory is memory:
                    value.memory = new.memory
        for value in self.results:
            if value is not None and value.memory is memory:
                value.memory = new.memory

    def drop_dead(self) -> int:
        """Take away calls whose results nobody needs; return how many went.

        A call that writes is needed where the memory is: where it is held, or where a later call
        reads it.
        """
        needed = {value.memory for value in self.results if value is not None}
        kept = []
        for call in reversed(self.calls):
            outs = {out.memory for out in call.outs if out is not None}
            written = {value.memory for value in call.written()}
            effect = any(memory.held or memory in needed for memory in written)
            blind = call.is_random or (call.op._schema.is_mutable and not written)
            if effect or outs & needed or blind:
                kept.append(call)
                needed |= {value.memory for value in call.inputs()}
        dropped = len(self.calls) - len(kept)
        self.calls = kept[::-1]
        return dropped


def values_in(item: Any) -> Iterator[Value]:
    """Yield the values in an argument."""
    if isinstance(item, Value):
        yield item
    elif isinstance(item, (list, tuple)):
        for part in item:
            yield from values_in(part)


def _replaced(item: Any, old: Value, new: Value) -> Any:
    if item is old:
        return new
    if isinstance(item, (list, tuple)):
        return [_replaced(part, old, new) for part in item]
    return item


def held(tensor: torch.Tensor) -> Value:
    """Make a value of a tensor that lives on from step to step: a buffer or a constant."""
    return Value.like(tensor, Memory(held=True, own=True), held=True)


def made(
    like: Value, shape: Sequence[int] | None = None, stride: Sequence[int] | None = None
) -> Value:
    """Make a value that a new call will return, in memory of its own: contiguous unless told."""
    shape = like.shape if shape is None else tuple(shape)
    if stride is None:
        stride = []
        step = 1
        for size in reversed(shape):
            stride.insert(0, step)
            step *= max(size, 1)
    return Value(Memory(held=False), shape, tuple(stride), 0, like.dtype, like.device)


Rule = Callable[[Program], int]
