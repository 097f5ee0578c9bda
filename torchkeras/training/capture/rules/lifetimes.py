"""When the memory of values is needed last: what rules ask that write over an input."""

from __future__ import annotations

from torchkeras.training.capture.program import Call, Memory, Program, Value


class Lifetimes:
    """The last uses of a program's memory; it stays true while values are put over others.

    Args:
        program: the step.
    """

    def __init__(self, program: Program):
        self._program = program
        self._last: dict[Memory, Call] = {}
        for call in program.calls:
            for value in call.inputs():
                self._last[value.memory] = call
        self._escaping = {value.memory for value in program.results if value is not None}

    def ends_at(self, value: Value, call: Call) -> bool:
        """Tell whether nobody needs a value's memory behind a call that takes it."""
        memory = value.memory
        return not memory.held and self._last[memory] is call and memory not in self._escaping

    def put_over(self, call: Call, value: Value) -> None:
        """Let a call's output lie in the place of a value that ends there.

        The call itself must already be in the form that writes to the value.
        """
        old, call.outs = call.out, (value,)
        self._last[value.memory] = self._last.get(old.memory, call)
        if old.memory in self._escaping:
            self._escaping.add(value.memory)
        self._program.merge(old, value)
