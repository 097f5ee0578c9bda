"""A program becomes a function: straight-line Python that calls torch below autograd."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from torchkeras.training.capture.operators import quick
from torchkeras.training.capture.plan import Block, plan, realise
from torchkeras.training.capture.program import Call, Memory, Program, Value

_below_autograd = torch._C._AutoDispatchBelowAutograd


class Replay:
    """A program made callable.

    Args:
        program: the calls; they are changed into the form that writes into planned memory.
        bind_views: whether views of state (a transposed kernel) are made once. They then hold as
            long as the state stays where it is.

    Attributes:
        source: the text of the function.
        nbytes: memory that the function keeps between steps, in bytes.
        calls: how many calls it makes.
    """

    def __init__(self, program: Program, bind_views: bool = True):
        blocks = plan(program)
        self.nbytes = realise(blocks) + _own_bytes(program)
        writer = _Writer(program, blocks, bind_views)
        self.source = writer.source()
        self.calls = writer.lines_written
        scope: dict[str, Any] = {}
        exec(compile(self.source, "<captured step>", "exec"), scope)
        self._function: Callable = scope["make"](**writer.environment)

    def __call__(self, *inputs: Any) -> tuple[torch.Tensor | None, ...]:
        """Do the step; returns what the recorded one returned."""
        # Not no_grad: some kernels (oneDNN's recurrent one) look at the grad mode.
        with _below_autograd():
            return self._function(*inputs)


def _own_bytes(program: Program) -> int:
    """Return how much memory rules have made: constants, tables, buffers."""
    storages = {}
    for call in program.calls:
        for value in call.inputs():
            if value.memory.own and value.tensor is not None:
                storage = value.tensor.untyped_storage()
                storages[storage._cdata] = storage.nbytes()
    return sum(storages.values())


class _Writer:
    """Writes the function's text and collects what it is closed over."""

    def __init__(self, program: Program, blocks: dict[Memory, Block], bind_views: bool):
        self._program = program
        self._blocks = blocks
        self._bind_views = bind_views
        self.environment: dict[str, Any] = {}
        self._names: dict[Value, str] = {}
        self._functions: dict[Any, str] = {}
        self._lists: dict[tuple[Value, ...], str] = {}
        self._state: dict[Memory, torch.Tensor] = {}
        self.lines_written = 0
        for call in program.calls:
            for value in call.inputs():
                if value.tensor is not None:
                    self._state.setdefault(value.memory, value.tensor)

    # ------------------------------------------------------------------------------- the text

    def source(self) -> str:
        """Return the text of a function that makes the step's function."""
        program = self._program
        parameters = []
        for index, value in enumerate(program.inputs):
            name = f"x{index}"
            parameters.append(name)
            if value is not None:
                self._names[value] = name
        lines = []
        for call in program.calls:
            if not self._is_bound(call):
                lines.append((self._line(call), call))
        self.lines_written = len(lines)
        results = "".join(f"{self._literal(value)}, " for value in program.results)
        body = self._with_deletions(lines)
        text = [f"def make({', '.join(self.environment)}):"]
        text.append(f"    def step({', '.join(parameters)}):")
        text += [f"        {line}" for line in body]
        text += [f"        return ({results})", "    return step"]
        return "\n".join(text) + "\n"

    def _with_deletions(self, lines: list[tuple[str, Call]]) -> list[str]:
        """Let go of each value after its last use, or memory would not be used again."""
        kept = {value for value in self._program.results if value is not None}
        kept |= {value for value in self._program.inputs if value is not None}
        seen: set[Value] = set(kept)
        body = []
        for line, call in reversed(lines):
            ending = []
            for value in (*call.inputs(), *(out for out in call.outs if out is not None)):
                name = self._names.get(value)
                if value not in seen and name is not None and name not in self.environment:
                    ending.append(name)
                seen.add(value)
            body.append(line + (f"; del {', '.join(dict.fromkeys(ending))}" if ending else ""))
        return body[::-1]

    def _line(self, call: Call) -> str:
        if call.op not in self._functions:
            name = f"f{len(self._functions)}_{call.op._schema.name.split('::')[1]}"
            self._functions[call.op] = name
            self.environment[name] = quick(call.op)
        args = list(call.args)
        # A noted call leaves out what equals the operator's default; functions have others.
        positional = [a for a in call.op._schema.arguments if not a.kwarg_only]
        for argument in positional[len(args) :]:
            if argument.has_default_value() and argument.name not in call.kwargs:
                args.append(argument.default_value)
            else:
                break
        parts = [self._literal(arg) for arg in args]
        parts += [f"{name}={self._literal(arg)}" for name, arg in call.kwargs.items()]
        text = f"{self._functions[call.op]}({', '.join(parts)})"
        targets = [self._target(out) for out in call.outs]
        if not any(targets):
            return text
        if call.single:
            return f"{targets[0]} = {text}"
        return f"{', '.join(target or '_' for target in targets)}, = {text}"

    def _target(self, out: Value | None) -> str | None:
        """Name a new value; none for what exists already: state, planned memory, in place."""
        if out is None or out.tensor is not None or out in self._names:
            return None
        if out.memory in self._blocks:
            return None
        self._names[out] = f"t{len(self._names)}"
        return self._names[out]

    def _literal(self, item: Any) -> str:
        if isinstance(item, Value):
            return self._name(item)
        if isinstance(item, (list, tuple)):
            values = tuple(item)
            if values and all(isinstance(v, Value) and self._is_fixed(v) for v in values):
                if values not in self._lists:
                    self._lists[values] = self._bind([self._tensor(v) for v in values], "l")
                return self._lists[values]
            return "[" + ", ".join(map(self._literal, item)) + "]"
        if item is None or isinstance(item, (bool, int, str)):
            return repr(item)
        if isinstance(item, float) and math.isfinite(item):
            return repr(item)
        return self._bind(item, "k")

    def _bind(self, thing: Any, prefix: str) -> str:
        name = f"{prefix}{len(self.environment)}"
        self.environment[name] = thing
        return name

    def _name(self, value: Value) -> str:
        if value not in self._names:
            self._names[value] = self._bind(self._tensor(value), "c")
        return self._names[value]

    # -------------------------------------------------------------------- what is made only once

    def _is_fixed(self, value: Value) -> bool:
        """Tell whether a value is the same tensor at every step."""
        if value.tensor is not None or value.memory in self._blocks:
            return True
        return self._bind_views and value not in self._names and value.memory in self._state

    def _is_bound(self, call: Call) -> bool:
        """Tell whether a call only makes views of memory that stays."""
        if call.has_effect or not call.outs or any(out is None for out in call.outs):
            return False
        sources = {value.memory for value in call.inputs()}
        return all(out.memory in sources and self._is_fixed(out) for out in call.outs)

    def _tensor(self, value: Value) -> torch.Tensor:
        if value.tensor is not None:
            return value.tensor
        block = self._blocks.get(value.memory)
        base = self._state[value.memory].detach() if block is None else block.tensor
        return base.as_strided(value.shape, value.stride, value.offset)
