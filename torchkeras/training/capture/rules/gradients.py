"""Gradients are written straight into the flat buffer that the optimizer reads."""

from __future__ import annotations

from torchkeras.training.capture.operators import out_variant
from torchkeras.training.capture.program import Call, Program, Value, aten, held
from torchkeras.training.capture.rules.lookup import Lookup


def write_gradients_in_place(program: Program) -> int:
    """Let the call that makes a gradient write it where a list copy would bring it."""
    done = 0
    for copy in [call for call in program.calls if call.op is aten._foreach_copy_.default]:
        lookup = Lookup(program)
        kept = []
        for target, source in zip(*copy.args[:2]):
            if _redirect(program, lookup, copy, target, source):
                done += 1
            else:
                kept.append((target, source))
        if not kept:
            program.calls.remove(copy)
        elif len(kept) < len(copy.args[0]):
            copy.args[:2] = [list(part) for part in zip(*kept)]
            copy.outs = ()
    return done


def _redirect(program: Program, lookup: Lookup, copy: Call, target: Value, source: Value) -> bool:
    """Let the call that makes a gradient write it to the target; tell whether it does."""
    maker = lookup.origin(source)
    if target.tensor is None or not source.is_contiguous:
        return False
    if maker is None or len(maker.outs) != 1 or maker.has_effect:
        return False
    out = maker.outs[0]
    views = [call for call in lookup.readers(source) if call is not copy]
    found = out_variant(maker.op, out.device.type)
    if (
        found is None
        or len(found[1]) != 1
        or any(call.has_effect or call.out.memory is not source.memory for call in views)
        or lookup.is_returned(source)
        or not (out.is_contiguous and target.is_contiguous)
        or source.offset != out.offset
        or source.numel != out.numel
        or target.dtype is not source.dtype
        or target.device != source.device
    ):
        return False
    place = held(target.tensor.detach().view(out.shape))
    maker.op = found[0]
    maker.kwargs = {**maker.kwargs, found[1][0]: place}
    maker.outs = (place,)
    place.memory = target.memory
    program.calls = [call for call in program.calls if call not in views]
    return True
