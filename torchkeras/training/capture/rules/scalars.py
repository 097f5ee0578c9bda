"""Numbers in calls: as tensors, which cost less to hand over, and as few as there need to be."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.training.capture.program import Call, Program, Value, aten, held
from torchkeras.training.capture.rules.lookup import Edits, Lookup, has_floats

_WITH_TENSOR = {
    aten.add.Tensor: aten.add.Tensor,
    aten.add_.Tensor: aten.add_.Tensor,
    aten.sub.Tensor: aten.sub.Tensor,
    aten.sub_.Tensor: aten.sub_.Tensor,
    aten.mul.Tensor: aten.mul.Tensor,
    aten.mul_.Tensor: aten.mul_.Tensor,
    aten.mul.Scalar: aten.mul.Tensor,
    aten.mul_.Scalar: aten.mul_.Tensor,
    aten.div.Tensor: aten.div.Tensor,
    aten.div_.Tensor: aten.div_.Tensor,
    aten.div.Scalar: aten.div.Tensor,
    aten.div_.Scalar: aten.div_.Tensor,
}
# Calls that scale, in place or not, and whether they divide.
_SCALING = {
    aten.mul.Tensor: False,
    aten.mul.Scalar: False,
    aten.div.Tensor: True,
    aten.div.Scalar: True,
}
_SCALING_IN_PLACE = {
    aten.mul_.Tensor: False,
    aten.mul_.Scalar: False,
    aten.div_.Tensor: True,
    aten.div_.Scalar: True,
}


def numbers_as_tensors(program: Program) -> int:
    """Hand the numbers of arithmetic over as tensors made once, not as Python's."""
    done = 0
    for call in program.calls:
        op = _WITH_TENSOR.get(call.op)
        if op is None or len(call.args) != 2 or call.kwargs:
            continue
        value, number = call.args
        if not isinstance(value, Value) or value.dtype is not call.out.dtype:
            continue
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            continue
        is_plain = has_floats(value) or value.dtype in (torch.int32, torch.int64)
        if value.device.type != "cpu" or not is_plain:
            continue
        call.op = op
        call.args = [value, held(torch.tensor(number, dtype=value.dtype))]
        done += 1
    return done


def drop_identities(program: Program) -> int:
    """Use a value itself in the place of its first power or its product with 1."""
    lookup, edits = Lookup(program), Edits()
    done = 0
    for call in program.calls:
        if call.op is aten.pow.Tensor_Scalar:
            exponent = call.args[1]
            is_same = not isinstance(exponent, bool) and exponent == 1
        else:
            is_same = call.op in _SCALING and lookup.number(call.args[1]) == 1.0
        if not is_same:
            continue
        source, out = call.args[0], call.out
        users = lookup.users.get(out, [])
        if (
            not isinstance(source, Value)
            or (source.shape, source.stride) != (out.shape, out.stride)
            or source.dtype is not out.dtype
            or lookup.writers(out)
            or lookup.is_returned(out)
            or set(lookup.readers(out)) != set(users)
            or any(other.out is not None and other.out.memory is out.memory for other in users)
            or not lookup.is_kept([source], call, max(users, key=lookup.position.get, default=call))
        ):
            continue
        edits.drop(call)
        for user in users:
            user.replace(out, source)
        done += 1
        # What was known of the source's readers is no longer true.
        edits.apply(program)
        lookup, edits = Lookup(program), Edits()
    return done


def merge_factors(program: Program) -> int:
    """Scale by one number what is scaled by two, one after the other."""
    done = 0
    lookup = Lookup(program)
    for call in program.calls[:]:
        if _merge(program, lookup, call):
            done += 1
            lookup = Lookup(program)
    return done


def _merge(program: Program, lookup: Lookup, call: Call) -> bool:
    scaled = _scaling(lookup, call, _SCALING)
    in_place = _scaling(lookup, call, _SCALING_IN_PLACE)
    value, second = scaled or in_place or (None, None)
    if value is None or not has_floats(value):
        return False
    if (call.out.shape, call.out.dtype) != (value.shape, value.dtype):
        return False
    before = lookup.makers.get(value)
    if before is None or before.out is not value or before.has_effect:
        return False
    found = _scaling(lookup, before, _SCALING)
    if found is None:
        return False
    source, first = found
    shapes = (source.shape, source.dtype, source.device)
    if shapes != (value.shape, value.dtype, value.device):
        return False
    factor = torch.tensor(first * second, dtype=value.dtype, device=value.device)
    if not torch.isfinite(factor) or (not factor and first and second):
        return False
    if in_place:
        # Nobody may see the value between the two calls, or write to it.
        readers = [r for r in lookup.readers(value) if lookup.position[r] < lookup.position[call]]
        if lookup.writers(value) != [call] or readers:
            return False
        before.op, before.args, before.kwargs = aten.mul.Tensor, [source, held(factor)], {}
        program.calls.remove(call)
        return True
    if lookup.writers(value) or not lookup.is_only_for(value, call):
        return False
    if not lookup.is_kept([source], before, call):
        return False
    call.op, call.args, call.kwargs = aten.mul.Tensor, [source, held(factor)], {}
    program.calls.remove(before)
    return True


def _scaling(lookup: Lookup, call: Call, ops: dict[Any, bool]) -> tuple[Value, float] | None:
    """Return what a call scales and by which number."""
    divides = ops.get(call.op)
    if divides is None or len(call.args) != 2 or call.kwargs:
        return None
    value, other = call.args
    number = lookup.number(other)
    if number is None and not divides:
        value, other = other, value
        number = lookup.number(other)
    if number is None or not isinstance(value, Value) or lookup.is_constant(value):
        return None
    if isinstance(other, Value) and len(other.shape) > len(value.shape):
        return None
    if divides and not number:
        return None
    return value, (1.0 / number if divides else number)
