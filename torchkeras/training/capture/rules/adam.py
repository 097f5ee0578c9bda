"""Adam's bias corrections, looked up: they depend on nothing but the count of updates."""

from __future__ import annotations

import math

import torch

from torchkeras.training.capture.program import Call, Program, Value, aten, held, made
from torchkeras.training.capture.rules.lookup import Edits, Lookup, has_floats

_CORRECTION = (
    aten.pow.Tensor_Tensor_out,
    aten.sub.out,
    aten.sqrt_.default,
    aten.mul.Tensor,
    aten.div_.Tensor,
)
# Tables of more numbers are not made.
_LONGEST = 2**18


def tabulate_corrections(program: Program) -> int:
    """Look ``sqrt(1 - beta_2 ** t) / (1 - beta_1 ** t)`` up in a table, in place of five calls.

    The table ends where the number is 1 to the last digit; later counts take its last entry.
    """
    lookup, edits = Lookup(program), Edits()
    done = 0
    for index in range(len(program.calls)):
        calls = program.calls[index : index + len(_CORRECTION)]
        if tuple(call.op for call in calls) != _CORRECTION or not _is_correction(lookup, calls):
            continue
        bases, count = calls[0].args
        table = _table(bases.tensor)
        if table is not None:
            edits.drop(*calls[:-1])
            rate, out = calls[3].args[0], calls[-1].out
            edits.put(_look_up(table, count, rate, out), instead=calls[-1])
            done += 1
    edits.apply(program)
    return done


def _is_correction(lookup: Lookup, calls: list[Call]) -> bool:
    """Tell whether calls compute ``rate * sqrt(1 - b_2 ** t) / (1 - b_1 ** t)``."""
    power, complement, root, product, quotient = calls
    bases, count = power.args
    one, powers = complement.args[:2]
    if any(v is None or v.tensor is None for v in (bases, count, one)):
        return False
    second, first = root.args[0], quotient.args[1]
    memory = powers.memory
    return (
        bases.shape == (2,)
        and count.shape == one.shape == ()
        and has_floats(bases)
        and bases.device.type == "cpu"
        and count.dtype in (torch.int32, torch.int64)
        and not lookup.writers(bases)
        and not lookup.writers(one)
        and one.tensor.item() == 1
        and power.out.same_place(powers)
        and complement.out.same_place(powers)
        and powers.shape == (2,)
        and all(value.shape == () and value.memory is memory for value in (first, second))
        and (first.offset, second.offset) == (powers.offset, powers.offset + powers.stride[0])
        and product.args[1] is second
        and product.args[0].memory is not memory
        and quotient.args[0] is product.out
        and set(lookup.readers(powers)) <= set(calls)
        and not lookup.is_returned(powers)
    )


def _table(bases: torch.Tensor) -> torch.Tensor | None:
    """Return the corrections for counts from 0, rounded like those that are computed one by one."""
    digits = 26 if bases.dtype is torch.float32 else 55
    largest = max(bases.tolist())
    if not all(0 < base < 1 for base in bases.tolist()):
        return None
    length = math.ceil(digits * math.log(2) / -math.log(largest)) + 1
    if length > _LONGEST:
        return None
    counts = torch.arange(length, dtype=torch.float64)
    powers = torch.pow(bases.double().unsqueeze(1), counts).to(bases.dtype)
    first, second = (1 - powers).unbind()
    return second.sqrt() / first


def _look_up(table: torch.Tensor, count: Value, rate: Value, out: Value) -> list[Call]:
    """Return the calls that scale a rate by the entry of a count."""
    entries = held(table)
    last = held(torch.tensor(len(table) - 1, dtype=count.dtype))
    index = made(count)
    found = made(entries, (1,))
    factor = found.viewed((), ())
    return [
        Call(aten.minimum.default, [count, last], {}, (index,)),
        Call(aten.index_select.default, [entries, 0, index], {}, (found,)),
        Call(aten.view.default, [found, []], {}, (factor,)),
        Call(aten.mul.Tensor, [rate, factor], {}, (out,)),
    ]
