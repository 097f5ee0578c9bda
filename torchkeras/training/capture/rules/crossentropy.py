"""Crossentropy of a sigmoid's or softmax' output: its gradient for the logits in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from torchkeras.training.capture.program import Call, Program, Value, aten, held, made
from torchkeras.training.capture.rules.lookup import Edits, Lookup, has_floats

_NONE, _MEAN = 0, 1  # torch's numbers for reductions


def sigmoid_crossentropy(program: Program) -> int:
    """Binary crossentropy behind a sigmoid: ``(p - y) * scale``, zero outside of Keras' clip.

    Backward of the loss divides by ``p (1 - p)``, that of the sigmoid multiplies with it. The
    clip's own backward is between them: no gradient where ``p`` lies outside of its bounds.
    """
    return _shorten(program, aten.sigmoid_backward.default, _logit_gradient_of_sigmoid)


def softmax_crossentropy(program: Program) -> int:
    """Crossentropy behind a softmax: ``p * sum(y) - y``, scaled, each term only inside the clip.

    With ``G`` the gradient for the logarithm of the clipped, renormalized probabilities (``-y``
    times a scale), 0 where the clip has none, the gradient for the logits is
    ``G - p * sum(G)``. Holds for class numbers and for targets of any kind: of several classes,
    smoothed, weighted, with another sum than 1.
    """
    return _shorten(program, aten._softmax_backward_data.default, _logit_gradient_of_softmax)


def _shorten(
    program: Program, op: Any, gradient_of: Callable[[Lookup, Call], list[Call] | None]
) -> int:
    """Put shorter calls in the place of an operator's, where there are any."""
    lookup, edits = Lookup(program), Edits()
    done = 0
    for call in program.calls:
        calls = gradient_of(lookup, call) if call.op is op else None
        if calls:
            edits.put(calls, instead=call)
            done += 1
    edits.apply(program)
    return done


# ------------------------------------------------------------------------------------- the clip


@dataclass(eq=False)
class _Clip:
    """The backward of a clip.

    Attributes:
        source: what was clipped.
        bounds: lowest and highest value that lets its gradient through.
        gradient: what comes in.
    """

    source: Value
    bounds: tuple[float, float]
    gradient: Value

    def backward(self, gradient: Value, at: Value, is_negative: bool = False) -> tuple[Call, Value]:
        """Return one call for it, and its output.

        Args:
            gradient: what comes in.
            at: what was clipped, or differs from it by rounding.
            is_negative: whether ``at`` is minus that.
        """
        dtype = np.float32 if at.dtype is torch.float32 else np.float64
        low, high = (dtype(bound) for bound in self.bounds)
        # hardtanh's gradient is 0 at its bounds, the clip's is not.
        low, high = np.nextafter(low, dtype(-np.inf)), np.nextafter(high, dtype(np.inf))
        if is_negative:
            low, high = -high, -low
        out = made(at)
        arguments = [gradient, at, float(low), float(high)]
        return Call(aten.hardtanh_backward.default, arguments, {}, (out,)), out


def _clip_backward(lookup: Lookup, value: Value) -> _Clip | None:
    """Recognise ``where((x >= low) & (x <= high), gradient, 0)``."""
    where = lookup.maker(value, aten.where.self)
    if where is None:
        return None
    inside, gradient, other = where.args
    if lookup.number(other) != 0.0:
        return None
    above = lookup.makers.get(inside)
    writers = lookup.writers(inside)
    if above is None or len(writers) != 1:
        return None
    both = writers[0]
    if both.op is not aten.logical_and_.default or both.args[0] is not inside:
        return None
    below = lookup.maker(both.args[1], aten.le.Scalar)
    if (
        above.op is not aten.ge.Scalar
        or below is None
        or above.args[0] is not below.args[0]
        or lookup.position[both] > lookup.position[where]
    ):
        return None
    source = above.args[0]
    return _Clip(source, (float(above.args[1]), float(below.args[1])), gradient)


def _clipped(lookup: Lookup, value: Value, clip: _Clip) -> bool:
    """Tell whether a value is what the clip made in forward."""
    clamp = lookup.maker(value, aten.clamp.default)
    return clamp is not None and clamp.args[0] is clip.source and clamp.args[1:] == [*clip.bounds]


# --------------------------------------------------------------------------------------- sigmoid


def _logit_gradient_of_sigmoid(lookup: Lookup, call: Call) -> list[Call] | None:
    gradient, p = call.args
    out = call.out
    if lookup.maker(p, aten.sigmoid.default) is None or not _is_plain(p, out):
        return None
    clip = _clip_backward(lookup, gradient)
    if clip is None or clip.source is not p:
        return None
    loss = lookup.maker(clip.gradient, aten.binary_cross_entropy_backward.default)
    if loss is None or not _clipped(lookup, loss.args[1], clip):
        return None
    # A noted call leaves out what is the default: no weight, the mean.
    scale, _, y, weight, reduction = [*loss.args, *(None, _MEAN)[len(loss.args) - 3 :]]
    if (
        weight is not None
        or reduction not in (_NONE, _MEAN)
        or (y.shape, y.dtype, y.device) != (p.shape, p.dtype, p.device)
        or scale.dtype is not p.dtype
        or not lookup.is_kept([y, scale], loss, call)
    ):
        return None
    # The kernel below is that of the squared error, whose derivative has a 2.
    factor = 0.5 / p.numel if reduction == _MEAN else 0.5
    calls, scale = _times(lookup, scale, factor, p)
    # The clip acts on the scale, so that an undefined p makes an undefined gradient.
    clipped, scale = clip.backward(scale, p)
    difference = Call(aten.mse_loss_backward.default, [scale, p, y, _NONE], {}, (out,))
    return [*calls, clipped, difference]


def _times(lookup: Lookup, scale: Value, factor: float, like: Value) -> tuple[list[Call], Value]:
    """Return ``scale * factor`` and the calls that compute it: none for a constant."""
    number = lookup.number(scale)
    if number is not None:
        product = torch.tensor(number * factor, dtype=like.dtype, device=like.device)
        return [], held(product)
    product = made(scale)
    constant = held(torch.tensor(factor, dtype=scale.dtype, device=scale.device))
    return [Call(aten.mul.Tensor, [scale, constant], {}, (product,))], product


# --------------------------------------------------------------------------------------- softmax


def _logit_gradient_of_softmax(lookup: Lookup, call: Call) -> list[Call] | None:
    total, p, axis, dtype = call.args
    out = call.out
    softmax = lookup.maker(p, aten._softmax.default)
    last = len(p.shape) - 1
    if softmax is None or dtype is not p.dtype or not _is_plain(p, out):
        return None
    if last < 1 or axis % (last + 1) != last or softmax.args[1] % (last + 1) != last:
        return None
    clipped = _division_backward(lookup, total, p)
    clip = None if clipped is None else _clip_backward(lookup, clipped)
    if clip is None or not _is_normalized(lookup, clip.source, p):
        return None
    logarithm = lookup.maker(clip.gradient, aten.div.Tensor)
    if logarithm is None or not _clipped(lookup, logarithm.args[1], clip):
        return None
    gradient = logarithm.args[0]
    loss = lookup.maker(gradient, aten.nll_loss_backward.default)
    if loss is not None and lookup.is_kept(loss.inputs(), loss, call):
        calls = _of_class_numbers(clip, loss, p, out)
        if calls:
            return calls
    if gradient.shape != p.shape or not lookup.is_kept([gradient], logarithm, call):
        return None
    masked, inner = clip.backward(gradient, p)
    summed = made(p, (*p.shape[:-1], 1))
    return [
        masked,
        Call(aten.sum.dim_IntList, [inner, [last], True], {}, (summed,)),
        Call(aten.addcmul.default, [inner, p, summed], {"value": -1}, (out,)),
    ]


def _of_class_numbers(clip: _Clip, loss: Call, p: Value, out: Value) -> list[Call] | None:
    """Return the calls for ``(p - onehot(y)) * scale``, 0 in rows whose ``p[y]`` was clipped."""
    scale, _, y, weight, reduction, ignored, _ = loss.args
    if weight is not None or reduction != _NONE or scale.shape != p.shape[:1]:
        return None
    options = [y, None, _NONE, ignored]
    chosen, total = made(p, p.shape[:1]), made(p, ())
    # The forward kernel is the one that picks, and that looks whether y is a class.
    pick = Call(aten.nll_loss_forward.default, [p, *options], {}, (chosen, total), single=False)
    masked, scale = clip.backward(scale, chosen, is_negative=True)
    column = scale.viewed((*scale.shape, 1), (1, 1))
    negative = made(p)
    return [
        pick,
        masked,
        Call(aten.nll_loss_backward.default, [scale, p, *options, total], {}, (negative,)),
        Call(aten.unsqueeze.default, [scale, 1], {}, (column,)),
        Call(aten.addcmul.default, [negative, p, column], {}, (out,)),
    ]


def _is_normalized(lookup: Lookup, value: Value, p: Value) -> bool:
    """Tell whether a value is ``p / p.sum(-1, keepdim=True)``."""
    division = lookup.maker(value, aten.div.Tensor)
    return division is not None and division.args[0] is p and _is_sum(lookup, division.args[1], p)


def _is_sum(lookup: Lookup, value: Value, of: Value) -> bool:
    """Tell whether a value is the sum along the last axis, which is kept."""
    call = lookup.maker(value, aten.sum.dim_IntList)
    if call is None or call.args[0] is not of or len(call.args) != 3 or call.kwargs:
        return False
    return call.args[2] is True and [a % len(of.shape) for a in call.args[1]] == [len(of.shape) - 1]


def _division_backward(lookup: Lookup, value: Value, p: Value) -> Value | None:
    """Recognise the gradient for ``p`` of ``p / s``, ``s = p.sum(-1, keepdim=True)``.

    With ``g`` the gradient for the quotient it is ``g / s + sum(-g * p / s / s)``.

    Returns:
        ``g``, or ``None``.
    """
    addition = lookup.maker(value, aten.add.Tensor)
    if addition is None or len(addition.args) != 2 or addition.kwargs:
        return None
    for quotient, other in (addition.args, addition.args[::-1]):
        division = lookup.maker(quotient, aten.div.Tensor)
        expanded = lookup.maker(other, aten.expand.default)
        if division is None or expanded is None:
            continue
        g, s = division.args
        if not _is_sum(lookup, s, p):
            continue
        summed = lookup.maker(expanded.args[0], aten.sum.dim_IntList)
        product = None if summed is None else lookup.maker(summed.args[0], aten.mul.Tensor)
        if product is None or not _is_sum(lookup, summed.out, product.out):
            continue
        negative = lookup.maker(product.args[0], aten.neg.default)
        outer = lookup.maker(product.args[1], aten.div.Tensor)
        if negative is None or negative.args[0] is not g or outer is None or outer.args[1] is not s:
            continue
        if _is_normalized(lookup, outer.args[0], p):
            return g
    return None


def _is_plain(p: Value, out: Value) -> bool:
    """Tell whether a gradient lies in memory like the outputs that it belongs to."""
    return has_floats(p) and p.is_contiguous and out.is_contiguous and out.dtype is p.dtype
