"""Softmax over a few classes on the CPU: by columns, where torch's kernel uses vectors."""

from __future__ import annotations

import torch

from torchkeras.training.capture.program import Call, Program, aten, made
from torchkeras.training.capture.rules.lookup import Edits, Lookup, has_floats

# Rows of so many bytes fill a vector of torch's kernels themselves.
_VECTOR = 64 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 32
# For fewer numbers the copy back costs what is saved.
_FEWEST_NUMBERS = 256
_PRODUCTS = (aten.addmm.default, aten.mm.default)


def softmax_by_columns(program: Program) -> int:
    """Compute a softmax over few classes on the transposed logits, and lay its output out in rows.

    Along rows shorter than a vector torch's kernel takes the numbers one by one: five to ten times
    as long. The product that makes the logits writes them transposed: it, too, is quicker so when
    its output is narrow.
    """
    lookup, edits = Lookup(program), Edits()
    done = 0
    for call in program.calls:
        if call.op is aten._softmax.default and _is_narrow(call):
            edits.put(_by_columns(lookup, call), instead=call)
            done += 1
    edits.apply(program)
    return done


def _is_narrow(call: Call) -> bool:
    """Tell whether a softmax is over the short rows of a matrix."""
    logits, axis, widens = call.args
    if len(logits.shape) != 2 or axis % 2 != 1 or widens or not has_floats(logits):
        return False
    rows, classes = logits.shape
    return (
        logits.device.type == "cpu"
        and logits.is_contiguous
        and call.out.is_contiguous
        and rows * classes >= _FEWEST_NUMBERS
        and 1 < classes < _VECTOR // logits.dtype.itemsize
    )


def _by_columns(lookup: Lookup, call: Call) -> list[Call]:
    """Return the calls that compute a softmax of rows by columns."""
    logits, out = call.args[0], call.out
    maker = lookup.makers.get(logits)
    columns = logits.viewed(logits.shape[::-1], logits.stride[::-1])
    if (
        maker is not None
        and maker.op in _PRODUCTS
        and lookup.is_only_for(logits, call)
        and not lookup.writers(logits)
    ):
        columns = made(logits, logits.shape[::-1])
        logits = columns.viewed(columns.shape[::-1], columns.stride[::-1])
        maker.outs = (logits,)
    result = made(out, columns.shape)
    rows = result.viewed(result.shape[::-1], result.stride[::-1])
    return [
        Call(aten.t.default, [logits], {}, (columns,)),
        Call(aten._softmax.default, [columns, 0, False], {}, (result,)),
        Call(aten.t.default, [result], {}, (rows,)),
        Call(aten.clone.default, [rows], {"memory_format": torch.contiguous_format}, (out,)),
    ]
