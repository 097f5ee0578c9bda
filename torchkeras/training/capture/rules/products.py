"""Matrix products of dense layers: with ReLU in the same call, sums as products with ones."""

from __future__ import annotations

import torch

from torchkeras.training.capture.program import Call, Program, Value, aten, held
from torchkeras.training.capture.rules.lookup import Edits, Lookup, has_floats

# A product adds one after the other, a sum in a tree: for long sums that is more exact.
_LONGEST_SUM = 256


def fuse_relu_into_product(program: Program) -> int:
    """Let the call of a dense layer's product apply the ReLU that follows it."""
    lookup, edits = Lookup(program), Edits()
    done = 0
    for call in program.calls:
        if call.op is not aten.relu.default:
            continue
        product = lookup.maker(call.args[0], aten.addmm.default)
        if (
            product is None
            or not lookup.is_only_for(product.out, call)
            or product.out.device.type != "cpu"
            or not has_floats(product.out)
            or lookup.writers(call.out)
            or call.out.stride != product.out.stride
        ):
            continue
        fused = Call(aten._addmm_activation.default, product.args, product.kwargs, call.outs)
        edits.drop(call)
        edits.put([fused], instead=product)
        done += 1
    edits.apply(program)
    return done


def sums_as_products(program: Program) -> int:
    """Sum the rows or columns of a matrix by a product with ones, whose call costs half."""
    lookup, edits = Lookup(program), Edits()
    ones: dict[tuple, Value] = {}
    done = 0
    for call in program.calls:
        if call.op not in (aten.sum.dim_IntList, aten.sum.IntList_out):
            continue
        matrix, axes = call.args[:2]
        place = _place(lookup, call)
        if (
            place is None
            or len(axes or ()) != 1
            or len(matrix.shape) != 2
            or not matrix.is_contiguous
            or not has_floats(matrix)
            or place.dtype is not matrix.dtype
            or matrix.device.type != "cpu"
            or not 0 < matrix.shape[axes[0]] <= _LONGEST_SUM
        ):
            continue
        axis = axes[0] % 2
        key = (matrix.shape[axis], matrix.dtype)
        if key not in ones:
            ones[key] = held(torch.ones(key[0], dtype=key[1]))
        calls = []
        if axis == 0:
            turned = matrix.viewed(matrix.shape[::-1], matrix.stride[::-1])
            calls.append(Call(aten.t.default, [matrix], {}, (turned,)))
            matrix = turned
        row = held(place.tensor.view(-1))
        row.memory = place.memory
        calls.append(Call(aten.mv.out, [matrix, ones[key]], {"out": row}, (row,)))
        edits.put(calls, instead=call)
        if call.out is not place:
            program.replace(call.out, place)
        done += 1
    edits.apply(program)
    return done


def _place(lookup: Lookup, call: Call) -> Value | None:
    """Return where a sum goes: memory that is given, or own memory for one that nobody views."""
    out = call.out
    if set(call.kwargs) - {"out"}:
        return None
    if call.op is aten.sum.IntList_out:
        return out if out.tensor is not None and out.is_contiguous else None
    if lookup.is_returned(out) or lookup.writers(out) or not out.is_contiguous:
        return None
    if any(
        v.memory is out.memory and v is not out for c in lookup.readers(out) for v in c.inputs()
    ):
        return None
    return held(torch.empty(out.shape, dtype=out.dtype))
