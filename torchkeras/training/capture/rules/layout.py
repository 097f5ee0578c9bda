"""Convolutions, and what lies between them, on channels-last memory: oneDNN's own order."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from torchkeras.training.capture.operators import is_elementwise
from torchkeras.training.capture.program import Call, Memory, Program, Value, aten, made
from torchkeras.training.capture.rules.convolution import FUSED, runs_in_onednn
from torchkeras.training.capture.rules.lookup import Lookup

# Calls that keep the layout of one argument (its place) and take others in the same layout
# (theirs); their 4-D outputs lie like it.
_KEEPING = {
    aten.max_pool2d_with_indices.default: (0, ()),
    aten.max_pool2d_with_indices_backward.default: (1, (0, 7)),
    aten.avg_pool2d.default: (0, ()),
    aten.avg_pool2d_backward.default: (1, (0,)),
    aten.native_batch_norm.default: (0, ()),
    aten._native_batch_norm_legit.default: (0, ()),
    aten.native_batch_norm_backward.default: (1, (0,)),
}
_CONVOLUTIONS = {aten.convolution.default, FUSED}
# Calls that read any layout and do not hand it on.
_READING = {aten._foreach_copy_.default}


def channels_last(program: Program) -> int:
    """Let convolutions and what follows them work on channels-last memory; return how many do.

    Weights, state, inputs and results stay as they are.  Where a value leaves the convolutions (to
    be flattened, say) or enters them it is copied once.
    """
    layout = _Layout(program)
    for call in program.calls:
        layout.visit(call)
    if layout.convolutions:
        layout.apply()
    return layout.convolutions


def channels_last_stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of dense memory ``(N, C, H, W)`` in which channels lie together."""
    _, channels, height, width = shape
    return (channels * height * width, 1, channels * width, channels)


class _Layout:
    """Finds the values that change their layout, then changes it.

    Args:
        program: the step.

    Attributes:
        convolutions: how many were found that gain.
    """

    def __init__(self, program: Program):
        self._program = program
        self._lookup = Lookup(program)
        # The values made in channels-last order from now on, and what stands for a value there.
        self._changed: set[Value] = set()
        self._twins: dict[Value, Value] = {}
        self._images: dict[Call, list[Value]] = {}
        self._leading: dict[Value, bool] = {}
        self.convolutions = 0

    def visit(self, call: Call) -> None:
        """Look at the next call: whether it works on channels-last memory from now on."""
        images = self._images_of(call)
        if not images or not all(map(self._may_change, _four_dimensional(call.outs))):
            return
        self._images[call] = images
        changed = {out for out in _four_dimensional(call.outs) if not _is_channels_last(out)}
        # What is written to later is copied at once, and is as it was for everybody.
        self._changed |= {out for out in changed if not self._lookup.writers(out)}
        self.convolutions += call.op in _CONVOLUTIONS and bool(changed)

    def _images_of(self, call: Call) -> list[Value]:
        """Return what a call needs in channels-last order; nothing where it stays as it is."""
        if call.op is FUSED:
            return call.args[:1]
        if call.op is aten.convolution.default:
            return call.args[:1] if runs_in_onednn(call) else []
        if call.op is aten.convolution_backward.default:
            return call.args[:2] if runs_in_onednn(call) else []
        if call.op in _KEEPING:
            leading, others = _KEEPING[call.op]
            images = [call.args[index] for index in (leading, *others)]
            return images if self._is_last(images[0]) else []
        if call.op in _READING:
            return [value for value in call.inputs() if value in self._changed]
        if _is_elementwise(call):
            images = [value for value in call.inputs() if value.numel > 1]
            lying_so = [self._is_last(value) for value in images]
            if any(value.shape != call.out.shape for value in images) or not any(lying_so):
                return []
            return images if all(lying_so) or self._leads_on(call.out) else []
        return []

    def _leads_on(self, value: Value) -> bool:
        """Tell whether a value goes through elementwise calls into a convolution or a pooling."""
        if value not in self._leading:
            self._leading[value] = any(
                call.op in _CONVOLUTIONS
                or call.op in _KEEPING
                or call.op is aten.convolution_backward.default
                or (_hands_on(call, value) and self._leads_on(call.out))
                for call in self._lookup.users.get(value, ())
            )
        return self._leading[value]

    def _is_last(self, value: Value) -> bool:
        return value in self._changed or _is_channels_last(value)

    def _may_change(self, out: Value) -> bool:
        return _is_channels_last(out) or (
            not out.memory.held and out.offset == 0 and out.is_contiguous
        )

    # ---------------------------------------------------------------------------- the change

    def apply(self) -> None:
        """Let the calls make and take other values; copy where one enters or leaves the layout."""
        calls: list[Call] = []
        back: set[Value] = set()

        def leave(values: Iterable[Value | None]) -> None:
            for value in dict.fromkeys(values):
                if value in self._changed and value not in back:
                    back.add(value)
                    calls.append(_copy(self._twins[value], value, torch.contiguous_format))

        for call in self._program.calls:
            if call in self._images:
                for value in dict.fromkeys(self._images[call]):
                    if not _is_channels_last(value):
                        call.replace(value, self._enter(value, calls))
                outs, call.outs = call.outs, tuple(map(self._made, call.outs))
                calls.append(call)
                for out, twin in zip(outs, call.outs):
                    if twin is not out and out not in self._changed:
                        calls.append(_copy(twin, out, torch.contiguous_format))
            else:
                leave(call.inputs())
                calls.append(call)
            self._forget({value.memory for value in call.written()})
        leave(self._program.results)
        self._program.calls = calls

    def _enter(self, value: Value, calls: list[Call]) -> Value:
        twin = self._twins.get(value)
        if twin is None:
            twin = _twin(value)
            calls.append(_copy(value, twin, torch.channels_last))
            self._twins[value] = twin
        return twin

    def _forget(self, written: set[Memory]) -> None:
        """Copy again where it is needed again what a call has written to."""
        for value in [value for value in self._twins if value.memory in written]:
            del self._twins[value]

    def _made(self, out: Value | None) -> Value | None:
        if out is None or len(out.shape) != 4 or _is_channels_last(out):
            return out
        twin = _twin(out)
        if out in self._changed:
            self._twins[out] = twin
        return twin


def _is_elementwise(call: Call) -> bool:
    return (is_elementwise(call) or call.op is aten.relu.default) and not call.has_effect


def _hands_on(call: Call, value: Value) -> bool:
    """Tell whether a call computes elementwise with a value, not only looks at its sign."""
    is_mask = call.op is aten.threshold_backward.default and call.args[0] is not value
    return _is_elementwise(call) and not is_mask


def _four_dimensional(values: Iterable[Value | None]) -> list[Value]:
    return [value for value in values if value is not None and len(value.shape) == 4]


def _is_channels_last(value: Value) -> bool:
    # One channel lies in both orders; oneDNN goes by the strides.
    return len(value.shape) == 4 and value.stride == channels_last_stride(value.shape)


def _twin(value: Value) -> Value:
    return made(value, stride=channels_last_stride(value.shape))


def _copy(source: Value, target: Value, order: torch.memory_format) -> Call:
    return Call(aten.clone.default, [source], {"memory_format": order}, (target,))
