"""What two records of one step must have in common."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.training.capture.program import Program, Value
from torchkeras.training.capture.reach import place


class _Constant:
    """A tensor from outside, in a signature.

    Args:
        value: the tensor's.
        is_loose: whether it is neither state nor input.
        is_written: whether the step writes to it.
        is_shared: whether it lies in the memory of state or input.
    """

    __slots__ = ("_is_free", "_place", "tensor")

    def __init__(self, value: Value, is_loose: bool, is_written: bool, is_shared: bool):
        self.tensor = value.tensor
        # Whether an equal tensor may take its place.
        self._is_free = is_loose and not is_written and not is_shared
        self._place = (place(value.tensor), value.shape, value.stride) if is_loose else None

    def equals(self, other: _Constant) -> bool:
        """Tell whether another is the same tensor in the same place, or an equal constant."""
        one, two = self.tensor, other.tensor
        if one is two or not (self._is_free and other._is_free):
            return self._place == other._place and (one is two or self._place is not None)
        same = one.shape == two.shape and one.dtype is two.dtype and one.device == two.device
        return same and torch.equal(one, two)


def signature(program: Program, loose: list[Value]) -> list[tuple[Any, Any]]:
    """Return a record's calls in a form that :func:`equal` compares with another's.

    Args:
        program: its calls.
        loose: the external tensors that are neither state nor input.
    """
    numbers: dict[Value, Any] = {}
    free = set(loose)
    written = {value.memory for call in program.calls for value in call.written()}
    state = {value.memory for value in program.inputs if value is not None}
    for call in program.calls:
        state |= {v.memory for v in call.inputs() if v.tensor is not None and v not in free}
    for index, value in enumerate(program.inputs):
        if value is not None:
            numbers[value] = ("input", index)

    def encode(item: Any) -> Any:
        if isinstance(item, Value):
            if item not in numbers:
                memory = item.memory
                facts = (item in free, memory in written, memory in state)
                numbers[item] = len(numbers) if item.tensor is None else _Constant(item, *facts)
            return numbers[item]
        if isinstance(item, (list, tuple)):
            return tuple(encode(part) for part in item)
        return item

    found = []
    for call in program.calls:
        named = tuple((name, encode(item)) for name, item in sorted(call.kwargs.items()))
        shapes = tuple(out and out.shape for out in call.outs)
        found.append((call.op, (encode(call.args), named, encode(call.outs), shapes)))
    return found


def equal(one: Any, two: Any) -> bool:
    """Tell whether two parts of signatures are the same."""
    if isinstance(one, tuple) and isinstance(two, tuple):
        return len(one) == len(two) and all(map(equal, one, two))
    if isinstance(one, _Constant) and isinstance(two, _Constant):
        return one.equals(two)
    return type(one) is type(two) and (one == two or (one != one and two != two))
