"""Convolutions on the CPU: ReLU within the convolution, its backward behind the pooling."""

from __future__ import annotations

import torch

from torchkeras.training.capture.plan import extent
from torchkeras.training.capture.program import Call, Program, Value, aten, made
from torchkeras.training.capture.rules.lifetimes import Lifetimes
from torchkeras.training.capture.rules.lookup import Lookup

FUSED = torch.ops.mkldnn._convolution_pointwise.default


def undo_relu_in_place(program: Program) -> int:
    """Let ReLU that a module does in place return a value of its own, as other rules expect it."""
    done = 0
    for index, call in enumerate(program.calls):
        if call.op is not aten.relu_.default:
            continue
        source = call.args[0]
        later = program.calls[index + 1 :]
        is_dense = source.offset == 0 and source.numel == extent(source)
        if source.memory.held or not is_dense or _has_views(program, source):
            continue
        out = made(source, stride=source.stride)
        call.op, call.outs = aten.relu.default, (out,)
        for other in later:
            other.replace(source, out)
            other.outs = tuple(out if value is source else value for value in other.outs)
        program.results = [out if value is source else value for value in program.results]
        done += 1
    return done


def fuse_relu(program: Program) -> int:
    """Let oneDNN's convolution apply the ReLU that follows it.

    Backward needs nothing else: ReLU's gradient reads its output, the convolution's reads its
    input.
    """
    users = program.users()
    producers = program.producers()
    kept = []
    done = 0
    for call in program.calls:
        source = call.args[0] if call.op is aten.relu.default else None
        maker = producers.get(source)
        if (
            maker is None
            or maker.op is not aten.convolution.default
            or not runs_in_onednn(maker)
            or users[source] != [call]
            or source in program.results
            or _has_views(program, source)
        ):
            kept.append(call)
            continue
        x, weight, bias, stride, padding, dilation, _, _, groups = maker.args
        maker.op = FUSED
        maker.args = [x, weight, bias, padding, stride, dilation, groups, "relu", [], ""]
        maker.outs = call.outs
        done += 1
    program.calls = kept
    return done


def runs_in_onednn(call: Call) -> bool:
    """Tell whether a plain 2-D convolution, forward or backward, is oneDNN's on the CPU.

    Args:
        call: one of ``convolution`` or ``convolution_backward`` (a gradient comes first there).
    """
    backward = call.op is aten.convolution_backward.default
    tensors = call.args[:3] if backward else call.args[:2]
    transposed, output_padding = call.args[7:9] if backward else call.args[6:8]
    return (
        torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
        and not transposed
        and not any(output_padding)
        and all(
            tensor.device.type == "cpu"
            and tensor.dtype is torch.float32
            and len(tensor.shape) == 4
            and tensor.numel > 0
            for tensor in tensors
        )
    )


def mask_pooled_gradient(program: Program) -> int:
    """Apply ReLU's backward to the gradient of the pooled output, which is smaller.

    A maximum over ReLU's outputs is positive exactly where the input that it came from is, and the
    gradient goes nowhere else.
    """
    done = 0
    lookup = Lookup(program)
    for call in list(program.calls):
        if call.op is not aten.threshold_backward.default or call.args[2] != 0:
            continue
        gradient, relu = call.args[:2]
        back = lookup.makers.get(gradient)
        if (
            back is None
            or gradient.device.type != "cpu"
            or back.op is not aten.max_pool2d_with_indices_backward.default
            or back.args[1] is not relu
            or lookup.users[gradient] != [call]
            or gradient in program.results
            or not _is_relu(lookup.makers.get(relu))
            or lookup.writers(relu)
        ):
            continue
        pool = lookup.makers.get(back.args[7])
        if (
            pool is None
            or pool.op is not aten.max_pool2d_with_indices.default
            or pool.args[0] is not relu
            or pool.out.stride != back.args[0].stride
            or lookup.writers(pool.out)
        ):
            continue
        masked = made(back.args[0], stride=pool.out.stride)
        arguments = [back.args[0], pool.out, 0]
        threshold = Call(aten.threshold_backward.default, arguments, {}, (masked,))
        program.calls.insert(program.calls.index(back), threshold)
        back.args = [masked, *back.args[1:]]
        back.outs = call.outs
        program.calls.remove(call)
        done += 1
        lookup = Lookup(program)
    return done


def drop_unused_gradients(program: Program) -> int:
    """Tell convolutions not to compute gradients that nobody reads."""
    done = 0
    users = program.users()
    for call in program.calls:
        if call.op is not aten.convolution_backward.default:
            continue
        outs = list(call.outs)
        for index, out in enumerate(outs):
            if out is not None and out not in users and out not in program.results:
                outs[index] = None
        if outs != list(call.outs):
            call.args = [*call.args[:-1], [out is not None for out in outs]]
            call.outs = tuple(outs)
            done += 1
    return done


def mask_gradient_in_place(program: Program) -> int:
    """Let ReLU's backward overwrite the gradient that a convolution or a pooling has made."""
    done = 0
    lifetimes, producers = Lifetimes(program), program.producers()
    for call in program.calls:
        if call.op is not aten.threshold_backward.default:
            continue
        gradient, output = call.args[:2]
        maker = producers.get(gradient)
        if (
            maker is None
            or maker.op is not aten.convolution_backward.default
            or not lifetimes.ends_at(gradient, call)
            or gradient.memory is output.memory
            or gradient.stride != call.out.stride
            or gradient.offset != call.out.offset
            or gradient.device.type != "cpu"
        ):
            continue
        call.op = aten.threshold_backward.grad_input
        call.kwargs = {"grad_input": gradient}
        lifetimes.put_over(call, gradient)
        done += 1
    return done


def write_pooled_gradient_over_input(program: Program) -> int:
    """Let max-pooling's backward write over the pooled input, of which it reads only the shape."""
    done = 0
    lifetimes, producers = Lifetimes(program), program.producers()
    for call in program.calls:
        if call.op is not aten.max_pool2d_with_indices_backward.default:
            continue
        source, out = call.args[1], call.out
        if (
            source not in producers
            or source.device.type != "cpu"
            or not lifetimes.ends_at(source, call)
            or source.stride != out.stride
            or source.offset != out.offset
            or source.numel != extent(source)
            or any(v.memory is source.memory for v in call.inputs() if v is not source)
        ):
            continue
        call.op = aten.max_pool2d_with_indices_backward.grad_input
        call.kwargs = {"grad_input": source}
        lifetimes.put_over(call, source)
        done += 1
    return done


def _is_relu(call: Call | None) -> bool:
    if call is None:
        return False
    return call.op is aten.relu.default or (call.op is FUSED and call.args[7] == "relu")


def _has_views(program: Program, value: Value) -> bool:
    """Tell whether other values lie in the memory of a value."""
    return any(
        other is not value and other.memory is value.memory
        for call in program.calls
        for other in (*call.inputs(), *call.outs)
        if other is not None
    )
