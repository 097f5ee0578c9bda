"""ReLU's backward in many dense layers of one width on the CPU: all masks made in one call."""

from __future__ import annotations

import torch

from torchkeras.training.capture.operators import out_variant
from torchkeras.training.capture.plan import extent
from torchkeras.training.capture.program import Call, Memory, Program, Value, aten, held
from torchkeras.training.capture.rules.lookup import Edits, Lookup, has_floats

# One call for all masks costs more than it saves when there are fewer layers ...
_FEWEST = 3
# ... or when each has so many numbers that the cost of a call does not matter.
_MOST_NUMBERS = 2**12
_PRODUCTS = (aten.mm.default, aten.addmm.default)


def masks_together(program: Program) -> int:
    """Make the masks of ReLU's backward for many dense layers in one call, and multiply with them.

    A mask is the sign of an output; to multiply with it in place costs half of what ReLU's backward
    does. Only where the gradient comes from a matrix product, so that it is finite if the one that
    went in is: where a function has an infinite slope at 0, ReLU's backward makes a 0 of that, a
    product with 0 would not.
    """
    lookup, edits = Lookup(program), Edits()
    groups: dict[tuple, list[Call]] = {}
    for call in program.calls:
        if _has_own_mask(lookup, call):
            output = call.args[1]
            groups.setdefault((output.shape, output.dtype), []).append(call)
    done = 0
    for group in groups.values():
        outputs = [call.args[1] for call in group]
        if len({output.memory for output in outputs}) < max(len(group), _FEWEST):
            continue
        last = max((lookup.makers[output] for output in outputs), key=lookup.position.get)
        if lookup.position[last] > lookup.position[group[0]]:  # a second forward pass
            continue
        stack = _stack(program, lookup, outputs)
        masks = held(torch.zeros_like(stack.tensor))
        edits.put_after([Call(aten.sign.out, [stack], {"out": masks}, (masks,))], last)
        for call, part in zip(group, masks.tensor):
            gradient, old = call.args[0], call.out
            mask = Value.like(part, masks.memory, held=True)
            call.op, call.args, call.outs = aten.mul_.Tensor, [gradient, mask], (gradient,)
            program.merge(old, gradient)
        done += len(group)
    edits.apply(program)
    return done


def _has_own_mask(lookup: Lookup, call: Call) -> bool:
    """Tell whether a call is ReLU's backward between two products of dense layers."""
    if call.op is not aten.threshold_backward.default or call.args[2] != 0:
        return False
    gradient, output = call.args[:2]
    product = lookup.makers.get(gradient)
    dense = lookup.maker(output, aten._addmm_activation.default)
    return (
        product is not None
        and product.op in _PRODUCTS
        and lookup.is_only_for(gradient, call)
        and _is_small_and_whole(gradient)
        and dense is not None
        and not dense.kwargs.get("use_gelu", False)
        and not lookup.is_returned(output)
        and _is_small_and_whole(output)
        and gradient.memory is not output.memory
        and (call.out.shape, call.out.stride) == (gradient.shape, gradient.stride)
    )


def _is_small_and_whole(value: Value) -> bool:
    """Tell whether few numbers fill memory of the step's own, one after the other."""
    return (
        value.device.type == "cpu"
        and has_floats(value)
        and not value.memory.held
        and value.is_contiguous
        and value.offset == 0
        and 0 < value.numel == extent(value) <= _MOST_NUMBERS
    )


def _stack(program: Program, lookup: Lookup, outputs: list[Value]) -> Value:
    """Let outputs of one shape lie behind each other in memory made once; return all as one."""
    first = outputs[0]
    whole = held(torch.zeros(len(outputs), *first.shape, dtype=first.dtype))
    starts: dict[Memory, int] = {}
    for number, output in enumerate(outputs):
        maker = lookup.makers[output]
        starts[output.memory] = number * first.numel
        output.tensor = whole.tensor[number]
        maker.op, (name,) = out_variant(maker.op, "cpu")
        maker.kwargs = {**maker.kwargs, name: output}
    values = (v for call in program.calls for v in (*call.inputs(), *call.outs) if v is not None)
    for value in dict.fromkeys(values):
        if value.memory in starts:
            value.offset += starts[value.memory]
            value.memory = whole.memory
    return whole
