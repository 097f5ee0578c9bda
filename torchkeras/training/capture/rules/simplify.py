"""Rules without a pattern: aliases, calls on constants, calls in place, dead calls."""

from __future__ import annotations

import torch

from torchkeras.training.capture.program import Call, Memory, Program, Value, aten, held
from torchkeras.training.capture.rules.lifetimes import Lifetimes

_ALIASES = {aten.detach.default, aten.alias.default, aten.lift_fresh.default, aten.lift.default}
_CREATED = {
    aten.ones_like.default,
    aten.zeros_like.default,
    aten.full_like.default,
    aten.scalar_tensor.default,
    aten.full.default,
    aten.ones.default,
    aten.zeros.default,
    aten.arange.default,
    aten.arange.start,
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_full.default,
}
# Calls without an output argument that have a form in place.
_IN_PLACE = {aten.relu.default: aten.relu_.default}


def drop_aliases(program: Program) -> int:
    """Use a tensor itself in the place of its detached, lifted or otherwise equal views."""
    kept = []
    dropped: dict[Value, Value] = {}
    viewed: dict[Value, Value] = {}  # what a view is one of
    views: set[Call] = set()
    for call in program.calls:
        source = call.args[0] if call.args else None
        is_view = call.single and isinstance(source, Value) and not call.has_effect
        out = call.out
        if is_view and out is not None and out is not source and out.tensor is None:
            source = dropped.get(source, source)
            # Axes that are moved and moved back give what was there before, some views ago.
            equal = source
            while equal is not None and not (call.op in _ALIASES or out.same_place(equal)):
                equal = viewed.get(equal)
            if equal is not None:
                dropped[out] = equal
                continue
            if out.memory is source.memory:
                viewed[out] = source
                views.add(call)
        kept.append(call)
    program.calls = kept
    for old, new in dropped.items():
        program.replace(old, new)
    _drop_unused(program, views)
    return len(dropped)


def _drop_unused(program: Program, views: set[Call]) -> None:
    """Take away calls that make views which nobody takes, though somebody takes the memory."""
    needed = set(program.results)
    kept = []
    for call in reversed(program.calls):
        if call not in views or call.out in needed:
            kept.append(call)
            needed.update(call.inputs())
    program.calls = kept[::-1]


def fold_constants(program: Program) -> int:
    """Compute once what depends on no input and no state: the ones that gradients start from."""
    written = {value.memory for call in program.calls for value in call.written()}
    escaping = {value.memory for value in program.results if value is not None}
    constants: dict[Value, Value] = {}
    folded: set[Memory] = set()
    kept: list[Call] = []
    for call in program.calls:
        outs = [out for out in call.outs if out is not None]
        inputs = list(call.inputs())
        foldable = (
            bool(outs)
            and not call.has_effect
            and (call.op in _CREATED or (inputs and all(v in constants for v in inputs)))
            and not any(out.memory in written or out.memory in escaping for out in outs)
            and not any(out.numel > 4096 for out in outs if out.memory not in folded)
        )
        if not foldable:
            kept.append(call)
            continue
        results = _evaluate(call, constants)
        for out, tensor in zip(outs, results):
            constants[out] = held(tensor)
            folded.add(out.memory)
    program.calls = kept
    for old, new in constants.items():
        program.replace(old, new)
    return len(constants)


def _evaluate(call: Call, constants: dict[Value, Value]) -> list[torch.Tensor]:
    def real(item):
        if isinstance(item, Value):
            if item in constants:
                return constants[item].tensor
            # Only its shape, dtype and device count.
            return torch.empty(item.shape, dtype=item.dtype, device=item.device)
        if isinstance(item, (list, tuple)):
            return [real(part) for part in item]
        return item

    with torch.no_grad():
        args = [real(item) for item in call.args]
        out = call.op(*args, **{name: real(item) for name, item in call.kwargs.items()})
    return [out] if call.single else [tensor for tensor in out if tensor is not None]


def compute_in_place(program: Program) -> int:
    """Let ReLU overwrite its input where nobody needs that any more."""
    done = 0
    lifetimes, producers = Lifetimes(program), program.producers()
    for call in program.calls:
        if call.op not in _IN_PLACE:
            continue
        source, out = call.args[0], call.out
        if (
            source in producers
            and lifetimes.ends_at(source, call)
            and source.stride == out.stride
            and source.offset == out.offset
            and sum(v.memory is source.memory for v in call.inputs()) == 1
        ):
            call.op = _IN_PLACE[call.op]
            lifetimes.put_over(call, source)
            done += 1
    return done
