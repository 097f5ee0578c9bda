"""Who makes, takes and writes what in a program: what rules with a pattern ask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from torchkeras.training.capture.program import Call, Memory, Program, Value

# Larger constants are not looked through for whether all their numbers are equal.
_MOST_NUMBERS = 4096


class Lookup:
    """Answers about a program as it was when this was made.

    Args:
        program: the step.

    Attributes:
        makers: for each value that the step makes, the call that returned it first.
        users: for each value, the calls that take it, in order.
        position: the place of each call.
    """

    def __init__(self, program: Program):
        self.makers = program.producers()
        self.users = program.users()
        self.position = {call: index for index, call in enumerate(program.calls)}
        self._origins: dict[Memory, Call] = {}
        for call in program.calls:
            for out in call.outs:
                if out is not None:
                    self._origins.setdefault(out.memory, call)
        self._results = {value.memory for value in program.results if value is not None}
        self._writers: dict[Memory, list[Call]] = {}
        self._readers: dict[Memory, list[Call]] = {}
        for call in program.calls:
            for memory in dict.fromkeys(value.memory for value in call.written()):
                self._writers.setdefault(memory, []).append(call)
            for memory in dict.fromkeys(value.memory for value in call.inputs()):
                self._readers.setdefault(memory, []).append(call)

    def maker(self, value: Any, op: Any) -> Call | None:
        """Return the call of an operator that makes a value which nobody writes to later."""
        call = self.makers.get(value) if isinstance(value, Value) else None
        if call is None or call.op is not op or call.has_effect or self.writers(value):
            return None
        return call

    def origin(self, value: Value) -> Call | None:
        """Return the call that makes the memory in which a value lies."""
        return None if value.memory.held else self._origins.get(value.memory)

    def writers(self, value: Value) -> list[Call]:
        """Return the calls that write to a value's memory, other than to make it."""
        return self._writers.get(value.memory, [])

    def readers(self, value: Value) -> list[Call]:
        """Return the calls that take anything in a value's memory."""
        return self._readers.get(value.memory, [])

    def is_returned(self, value: Value) -> bool:
        """Tell whether the step returns something in a value's memory."""
        return value.memory in self._results

    def is_only_for(self, value: Value, *calls: Call) -> bool:
        """Tell whether nobody but these calls sees a value."""
        return not self.is_returned(value) and set(self.readers(value)) <= set(calls)

    def is_kept(self, values: Iterable[Value], start: Call, end: Call) -> bool:
        """Tell whether values are the same at two calls: none is written to between them."""
        first, last = self.position[start], self.position[end]
        return not any(
            first <= self.position[writer] < last
            for value in values
            for writer in self.writers(value)
        )

    def is_constant(self, value: Any) -> bool:
        """Tell whether something is a tensor that is the same at every step."""
        return isinstance(value, Value) and value.memory.own and not self.writers(value)

    def number(self, value: Any) -> float | None:
        """Return the number that all of a constant is made of; ``None`` for anything else."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if not self.is_constant(value) or not value.tensor.numel():
            return None
        tensor = value.tensor
        single = tensor.as_strided((1,), (1,))
        if tensor.numel() > 1 and any(tensor.stride()):
            is_small = tensor.numel() <= _MOST_NUMBERS
            if not (is_small and bool((tensor == single).all())):
                return None
        return single.item()


class Edits:
    """Changes of a program, made at once: a :class:`Lookup` stays true meanwhile."""

    def __init__(self):
        self._instead: dict[Call, list[Call]] = {}

    def put(self, calls: list[Call], instead: Call) -> None:
        """Have calls stand in the place of another."""
        self._instead[instead] = calls

    def put_before(self, calls: list[Call], other: Call) -> None:
        """Have calls stand before another."""
        self._instead[other] = [*calls, *self._instead.get(other, [other])]

    def put_after(self, calls: list[Call], other: Call) -> None:
        """Have calls stand behind another."""
        self._instead[other] = [*self._instead.get(other, [other]), *calls]

    def drop(self, *calls: Call) -> None:
        """Take calls away."""
        for call in calls:
            self._instead[call] = []

    def __contains__(self, call: Call) -> bool:
        return call in self._instead

    def apply(self, program: Program) -> None:
        """Make the changes."""
        calls: list[Call] = []
        for call in program.calls:
            calls += self._instead.get(call, [call])
        program.calls = calls


def has_floats(value: Value) -> bool:
    """Tell whether a value is of single or double precision."""
    return value.dtype in (torch.float32, torch.float64)
