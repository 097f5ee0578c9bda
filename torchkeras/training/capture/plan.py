"""Memory of a step: buffers made once, given to the calls as ``out=``, shared by lifetimes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from torchkeras.training.capture.operators import is_elementwise, out_variant
from torchkeras.training.capture.program import Call, Memory, Program, Value


@dataclass(eq=False)
class Block:
    """Memory that values of one dtype take in turns.

    Attributes:
        dtype: of the numbers.
        device: where it lies.
        size: how many numbers fit.
        tensor: the memory, once made.
    """

    dtype: torch.dtype
    device: torch.device
    size: int
    tensor: torch.Tensor | None = None


def extent(value: Value) -> int:
    """Return how many numbers of its memory a value reaches over."""
    reach = sum((size - 1) * stride for size, stride in zip(value.shape, value.stride))
    return value.offset + reach + 1 if value.numel else 0


def _is_dense(value: Value) -> bool:
    """Tell whether a value fills its memory from the start, without gaps or overlap."""
    return value.offset == 0 and value.numel == extent(value) and 0 not in value.stride


def _may_be_given(call: Call) -> bool:
    """Tell whether a call can write its outputs into memory that it is given."""
    outs = call.outs
    if not outs or any(out is None or out.tensor is not None or not out.numel for out in outs):
        return False
    found = out_variant(call.op, outs[0].device.type)
    if found is None or len(found[1]) != len(outs):
        return False
    memories = {out.memory for out in outs}
    read = {value.memory for value in call.inputs()}
    return len(memories) == len(outs) and not memories & read and all(map(_is_dense, outs))


def plan(program: Program) -> dict[Memory, Block]:
    """Choose which memory of a step is made once; turn the calls that fill it into ``out=`` form.

    Returns:
        For each planned memory its block.  Blocks are shared by memory that is not needed at the
        same time, so a step takes no more memory than it did when it was recorded.
    """
    escaping = {value.memory for value in program.results if value is not None}
    first: dict[Memory, int] = {}
    last: dict[Memory, int] = {}
    for index, call in enumerate(program.calls):
        for value in (*call.inputs(), *(out for out in call.outs if out is not None)):
            if not value.memory.held:
                first.setdefault(value.memory, index)
                last[value.memory] = index
    ending: dict[int, list[Memory]] = {}
    for memory, index in last.items():
        ending.setdefault(index, []).append(memory)

    blocks: dict[Memory, Block] = {}
    free: list[Block] = []
    for index, call in enumerate(program.calls):
        outs = [out for out in call.outs if out is not None]
        begins = bool(outs) and all(first.get(out.memory) == index for out in outs)
        dying = [memory for memory in ending.get(index, ()) if memory in blocks]
        if begins and not {out.memory for out in outs} & escaping and _may_be_given(call):
            taken = _in_place(call, dying, blocks)
            for out in outs:
                block = taken or _take(free, out)
                blocks[out.memory] = block
            if taken is not None:
                dying = [memory for memory in dying if blocks[memory] is not taken]
            variant, names = out_variant(call.op, outs[0].device.type)
            call.op = variant
            call.kwargs = {**call.kwargs, **dict(zip(names, outs))}
            dying += [out.memory for out in outs if last[out.memory] == index]
        free += [blocks[memory] for memory in dict.fromkeys(dying)]
    return blocks


def _in_place(call: Call, dying: list[Memory], blocks: dict[Memory, Block]) -> Block | None:
    """Return the block of an input that ends here and whose place the output may take."""
    if len(call.outs) != 1 or not is_elementwise(call):
        return None
    out = call.outs[0]
    for value in call.inputs():
        if (
            value.memory in dying
            and value.offset == 0
            and value.shape == out.shape
            and value.stride == out.stride
            and value.dtype is out.dtype
            and all(v.same_place(value) for v in call.inputs() if v.memory is value.memory)
        ):
            return blocks[value.memory]
    return None


def _take(free: list[Block], out: Value) -> Block:
    """Take the smallest free block that fits and is not much too large, or make one."""
    size = extent(out)
    fitting = [
        block
        for block in free
        if block.dtype is out.dtype
        and block.device == out.device
        and size <= block.size <= 2 * size
    ]
    if fitting:
        block = min(fitting, key=lambda block: block.size)
        free.remove(block)
        return block
    return Block(out.dtype, out.device, size)


def realise(blocks: dict[Memory, Block]) -> int:
    """Make the memory of the blocks; return its size in bytes."""
    total = 0
    for block in dict.fromkeys(blocks.values()):
        block.tensor = torch.empty(block.size, dtype=block.dtype, device=block.device)
        total += block.tensor.nbytes
    return total
