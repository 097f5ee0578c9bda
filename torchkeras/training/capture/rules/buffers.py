"""Memory that a step fills with zeros and then works on is made once."""

from __future__ import annotations

import torch

from torchkeras.training.capture.program import Program, aten
from torchkeras.training.capture.rules.lookup import Lookup

# Larger memory is shared with other values instead, between its uses.
_MOST_NUMBERS = 2**16
_ZEROS = {aten.new_zeros.default, aten.zeros.default, aten.zeros_like.default}


def keep_zeroed_memory(program: Program) -> int:
    """Fill memory made once with zeros, not new memory at every step; its views are then constant.

    Batch normalization has its batch's statistics written into such memory.
    """
    lookup = Lookup(program)
    done = 0
    for call in program.calls:
        out = call.out
        if (
            call.op not in _ZEROS
            or lookup.is_returned(out)
            or not lookup.writers(out)
            or not out.is_contiguous
            or out.offset
            or not 0 < out.numel <= _MOST_NUMBERS
        ):
            continue
        out.tensor = torch.zeros(out.shape, dtype=out.dtype, device=out.device)
        out.memory.held = out.memory.own = True
        call.op, call.args, call.kwargs = aten.zero_.default, [out], {}
        done += 1
    return done
