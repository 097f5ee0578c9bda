"""Dropout on the CPU: masks from random bits, their scale and ReLU's backward in calls beside."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from torchkeras.training.capture.plan import extent
from torchkeras.training.capture.program import Call, Program, Value, aten, held, made
from torchkeras.training.capture.rules.lookup import Edits, Lookup, has_floats

_RANDOM = getattr(aten.random_, "from")
_LOWEST = -(2**63)
_PRODUCTS = (aten.mm.default, aten.addmm.default)
# A rate that so many steps of 16 bits would miss by more is left to torch.
_TOLERANCE = 1e-3
# Masks of so many numbers in all are filled together: a call costs more than the numbers.
_TOGETHER = 2**15


@dataclass(eq=False)
class _Dropout:
    """A recorded dropout.

    Attributes:
        mask: what ``bernoulli_`` fills and ``div_`` scales.
        calls: the calls that make the mask.
        products: those that multiply with it, forward first.
        keep: the probability of a 1.
        bits: how many random bits decide over a number.
    """

    mask: Value
    calls: list[Call]
    products: list[Call]
    keep: float
    bits: int

    @property
    def threshold(self) -> int:
        """The highest random integer that drops."""
        return round((1 - self.keep) * 2**self.bits) - 2 ** (self.bits - 1) - 1


def dropout_from_bits(program: Program) -> int:
    """Decide by random bits what dropout keeps: a tenth of the time that ``bernoulli_`` takes.

    An integer of 8 or 16 random bits is compared with a threshold, as floats by the call that is
    ReLU's backward elsewhere: it keeps a number where another lies above the threshold. The scale
    goes into the matrix product before or behind, or is one multiplication.
    """
    lookup, edits = Lookup(program), Edits()
    found = [_recognise(lookup, call) for call in program.calls]
    dropouts = [dropout for dropout in found if dropout is not None]
    together = sum(dropout.mask.numel for dropout in dropouts) <= _TOGETHER
    groups = _by_dtype(dropouts) if together else [[dropout] for dropout in dropouts]
    scratch: dict[torch.dtype, Value] = {}
    # The largest first: memory that is taken in turns is made for it.
    for group in sorted(groups, key=lambda group: -sum(d.mask.numel for d in group)):
        calls, numbers = _fill(group, scratch, is_shared=_is_passing(lookup, group))
        for dropout in group:
            _apply(lookup, edits, dropout, numbers[dropout])
        first = min((d.products[0] for d in group), key=lookup.position.get)
        edits.put_before(calls, first)
    edits.apply(program)
    return len(dropouts)


# ------------------------------------------------------------------------------------ the pattern


def _recognise(lookup: Lookup, call: Call) -> _Dropout | None:
    """Recognise ``mask = empty_like(x).bernoulli_(keep).div_(keep)``, then ``x * mask``."""
    if call.op is not aten.bernoulli_.float or call.kwargs.get("generator") is not None:
        return None
    mask = call.args[0]
    keep = call.args[1] if len(call.args) > 1 else 0.5
    maker = lookup.makers.get(mask)
    writers = lookup.writers(mask)
    if maker is None or maker.op is not aten.empty_like.default or len(writers) != 2:
        return None
    scaling = writers[1]
    if writers[0] is not call or scaling.op is not aten.div_.Scalar or scaling.args[1] != keep:
        return None
    products = [r for r in lookup.readers(mask) if r not in (maker, call, scaling)]
    if (
        not products
        or lookup.is_returned(mask)
        or not has_floats(mask)
        or mask.device.type != "cpu"
        or mask.offset
        or not 0 < mask.numel == extent(mask)
        or not all(_is_product(product, mask) for product in products)
        or lookup.position[products[0]] < lookup.position[scaling]
    ):
        return None
    bits = _bits(1 - keep)
    return None if bits is None else _Dropout(mask, [maker, call, scaling], products, keep, bits)


def _is_product(call: Call, mask: Value) -> bool:
    if call.op is not aten.mul.Tensor or call.kwargs:
        return False
    one, other = call.args
    x = other if one is mask else one
    return (
        isinstance(x, Value)
        and mask in (one, other)
        and x is not mask
        and (x.shape, x.dtype, call.out.dtype) == (mask.shape, mask.dtype, mask.dtype)
        and call.out.memory is not x.memory
    )


def _bits(rate: float) -> int | None:
    """Return how many random bits represent a rate: 8 if exactly, or 16; ``None`` if neither."""
    if 0 < rate < 1 and (rate * 2**8).is_integer():
        return 8
    steps = round(rate * 2**16)
    error = abs(steps / 2**16 - rate)
    return 16 if error <= _TOLERANCE * min(rate, 1 - rate) and 0 < steps < 2**16 else None


def _by_dtype(dropouts: list[_Dropout]) -> list[list[_Dropout]]:
    groups: dict[torch.dtype, list[_Dropout]] = {}
    for dropout in dropouts:
        groups.setdefault(dropout.mask.dtype, []).append(dropout)
    return list(groups.values())


# ------------------------------------------------------------------------------- the random numbers


def _fill(
    group: list[_Dropout], scratch: dict[torch.dtype, Value], is_shared: bool
) -> tuple[list[Call], dict[_Dropout, Value]]:
    """Return calls that fill memory with random integers, and each dropout's part as floats.

    Args:
        group: dropouts whose numbers are drawn together.
        scratch: memory for groups that need it one after the other; added to.
        is_shared: whether the numbers are no longer needed where the next group's are.
    """
    bits = max(dropout.bits for dropout in group)
    for dropout in group:
        dropout.bits = bits
    sizes = [dropout.mask.numel for dropout in group]
    count = sum(sizes)
    words = math.ceil(count * bits / 64)
    dtype = group[0].mask.dtype
    raw = _take(scratch, words, torch.int64)
    integers = raw.tensor.view(torch.int8 if bits == 8 else torch.int16)[:count]
    floats = _take(scratch if is_shared else {}, count, dtype)
    calls = [
        Call(_RANDOM, [raw, _LOWEST, None], {}, (raw,)),
        Call(aten.copy_.default, [floats, _part(raw, integers)], {}, (floats,)),
    ]
    parts, start = {}, 0
    for dropout, size in zip(group, sizes):
        mask = dropout.mask
        view = floats.tensor.as_strided(mask.shape, mask.stride, start)
        parts[dropout] = _part(floats, view)
        start += size
    return calls, parts


def _take(scratch: dict[torch.dtype, Value], count: int, dtype: torch.dtype) -> Value:
    """Return memory of so many numbers, a part of one that is taken in turns."""
    if dtype not in scratch or scratch[dtype].numel < count:
        scratch[dtype] = held(torch.empty(count, dtype=dtype))
    whole = scratch[dtype]
    return _part(whole, whole.tensor[:count])


def _part(whole: Value, view: torch.Tensor) -> Value:
    """Return the value of a view."""
    return Value.like(view, whole.memory, held=True)


def _is_passing(lookup: Lookup, group: list[_Dropout]) -> bool:
    """Tell whether a group's random numbers are needed only where they are drawn."""
    if len(group) > 1:
        return False
    return all(_relu_backward(lookup, group[0], p) for p in group[0].products[1:])


# --------------------------------------------------------------------------------- the calls beside


def _apply(lookup: Lookup, edits: Edits, dropout: _Dropout, numbers: Value) -> None:
    """Put other calls in the place of the mask and of what multiplies with it."""
    edits.drop(*dropout.calls)
    forward = dropout.products[0]
    scale = 1 / dropout.keep
    for product in dropout.products:
        x = _factor(product, dropout.mask)
        out = product.out
        call, level = product, numbers
        threshold: float = dropout.threshold
        relu = None if product is forward else _relu_backward(lookup, dropout, product)
        if relu is not None:
            # Dropped or not above 0: the output is not above 0 either way.
            call, out, level, threshold = relu, relu.out, forward.out, 0
            edits.drop(product)
        is_folded = _fold_behind(lookup, out, scale) or _fold_before(lookup, x, product, scale)
        calls = [Call(aten.threshold_backward.default, [x, level, threshold], {}, (out,))]
        if not is_folded:
            unscaled = made(out, stride=out.stride)
            calls[0].outs = (unscaled,)
            factor = held(torch.tensor(scale, dtype=out.dtype))
            calls.append(Call(aten.mul.Tensor, [unscaled, factor], {}, (out,)))
        edits.put(calls, instead=call)


def _factor(product: Call, mask: Value) -> Value:
    one, other = product.args
    return other if one is mask else one


def _relu_backward(lookup: Lookup, dropout: _Dropout, product: Call) -> Call | None:
    """Return ReLU's backward if it alone takes a masked gradient, and its output was masked."""
    users = lookup.users.get(product.out, [])
    relu = users[0] if users else None
    forward = dropout.products[0]
    activity = _factor(forward, dropout.mask)
    if (
        relu is None
        or relu.op is not aten.threshold_backward.default
        or relu.args[0] is not product.out
        or relu.args[1] is not activity
        or relu.args[2] != 0
        or not lookup.is_only_for(product.out, relu)
        or not lookup.is_kept([activity], forward, relu)
        or lookup.writers(forward.out)
        or not lookup.is_kept([_factor(product, dropout.mask)], product, relu)
    ):
        return None
    return relu


def _fold_behind(lookup: Lookup, value: Value, scale: float) -> bool:
    """Let matrix products that take a value scale by so much; say whether all that take it can."""
    if lookup.is_returned(value) or lookup.writers(value):
        return False
    readers = lookup.readers(value)
    products = [reader for reader in readers if reader.op in _PRODUCTS]
    for reader in readers:
        takes = [item for item in reader.inputs() if item.memory is value.memory]
        if reader in products:
            if len(takes) > 1 or (reader.op is aten.addmm.default and takes[0] is reader.args[0]):
                return False
        elif not _is_view(reader, value) and not _reads_sign(reader, value):
            return False
    if not products:
        return False
    for product in products:
        _scale(product, scale)
    return True


def _fold_before(lookup: Lookup, value: Value, only: Call, scale: float) -> bool:
    """Let the matrix product that makes a value for one call scale by so much, if there is one."""
    maker = lookup.origin(value)
    readers = lookup.readers(value)
    if (
        maker is None
        or not (maker.op is aten.mm.default or (maker.op in _PRODUCTS and _has_no_bias(maker)))
        or lookup.is_returned(value)
        or lookup.writers(value)
        or any(reader is not only and not _is_view(reader, value) for reader in readers)
    ):
        return False
    _scale(maker, scale)
    return True


def _has_no_bias(product: Call) -> bool:
    return product.kwargs.get("beta", 1) == 0


def _is_view(call: Call, value: Value) -> bool:
    """Tell whether a call does nothing but look at a value in another shape."""
    return (
        not call.has_effect
        and call.single
        and call.out is not None
        and call.out.memory is value.memory
    )


def _reads_sign(call: Call, value: Value) -> bool:
    """Tell whether only the signs of a value matter to a call."""
    return (
        call.op is aten.threshold_backward.default
        and call.args[1] is value
        and call.args[0].memory is not value.memory
        and call.args[2] == 0
    )


def _scale(product: Call, scale: float) -> None:
    """Multiply a matrix product with a number."""
    if product.op is aten.mm.default:
        nothing = torch.zeros((), dtype=product.out.dtype).expand(product.out.shape)
        product.op = aten.addmm.default
        product.args = [held(nothing), *product.args]
        product.kwargs = {"beta": 0}
    alpha = product.kwargs.get("alpha", 1) * scale
    product.kwargs = {**product.kwargs, "alpha": alpha}
