"""What is known of torch's operators: kernels that write into given memory, quick callables."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from torchkeras.losses.crossentropy import binary_values
from torchkeras.seeds import reseed
from torchkeras.training.capture.program import Call

# Output i depends on element i of the inputs only, so that it may lie where an input lay.
_ELEMENTWISE = frozenset(
    "abs add clamp clamp_max clamp_min cos div eq erf exp exp2 expm1 ge gt hardtanh_backward le "
    "lerp log log1p logical_and logical_not logical_or lt maximum minimum mul ne neg pow "
    "reciprocal rsqrt sigmoid sigmoid_backward sign sin sqrt square sub tanh tanh_backward "
    "threshold_backward where gelu gelu_backward silu silu_backward elu softplus leaky_relu "
    "hardtanh addcmul addcdiv".split()
)
# Kernels that write each number of the given memory once and never resize it (that of
# binary_cross_entropy does, so the list is of those that were tried).
_WRITES_INTO = _ELEMENTWISE | frozenset(
    "addbmm addmm _addmm_activation amax amin argmax avg_pool2d avg_pool2d_backward baddbmm bmm "
    "binary_cross_entropy_backward cat cumsum elu_backward gather huber_loss_backward index_select "
    "leaky_relu_backward linalg_vector_norm _log_softmax _log_softmax_backward_data "
    "max_pool2d_with_indices max_pool2d_with_indices_backward mean mm mse_loss_backward mv "
    "nll_loss_backward nll_loss_forward scatter scatter_add silu_backward "
    "smooth_l1_loss_backward _softmax _softmax_backward_data softplus_backward stack sum".split()
)
# Called through torch's own Python functions, which parse arguments quicker than operators do.
# Each is one whose meaning does not depend on which overload the parser finds.
_QUICK = frozenset(
    "_addmm_activation _softmax abs add add_ addcmul addmm argmax baddbmm bmm cat clamp clamp_max "
    "clamp_max_ clamp_min clamp_min_ clone copy_ cos div div_ dot eq exp exp_ ge gt index_select "
    "le lerp log log_softmax logical_and lt maximum mean minimum mm mul mul_ mv ne neg neg_ pow "
    "random_ reciprocal relu relu_ rsqrt sigmoid sigmoid_ sign sin sqrt sqrt_ square sub sub_ sum "
    "tanh tanh_ t where _foreach_copy_ _foreach_add_ _foreach_mul_ _fused_adam_ _fused_adamw_ "
    "_fused_sgd_ _fused_adagrad_ zero_".split()
)


def name_of(op: Any) -> str:
    """Return an operator's name without namespace and overload, such as ``'addmm'``."""
    return op._schema.name.split("::")[1]


def is_elementwise(call: Call) -> bool:
    """Tell whether each number of the output depends on one number of each input."""
    return name_of(call.op) in _ELEMENTWISE


@functools.cache
def out_variant(op: Any, device: str) -> tuple[Any, tuple[str, ...]] | None:
    """Find the overload that writes into memory it is given.

    Args:
        op: the overload that makes its outputs.
        device: type of device.  Without a kernel of its own there, torch would compute into new
            memory and copy.

    Returns:
        The overload and the names of its output arguments, or ``None``.
    """
    schema = op._schema
    if schema.is_mutable or op.namespace != "aten" or name_of(op) not in _WRITES_INTO:
        return None
    inputs = [(a.name, str(a.type)) for a in schema.arguments]
    for overload in op.overloadpacket.overloads():
        candidate = getattr(op.overloadpacket, overload)
        arguments = candidate._schema.arguments
        outs = [a for a in arguments if a.is_out]
        rest = [(a.name, str(a.type)) for a in arguments if not a.is_out]
        if not outs or rest != inputs or len(outs) != len(schema.returns):
            continue
        key = {"cpu": "CPU", "cuda": "CUDA"}.get(device)
        full = f"aten::{name_of(op)}.{overload}"
        if key and torch._C._dispatch_has_kernel_for_dispatch_key(full, key):
            return candidate, tuple(a.name for a in outs)
    return None


def _binary_cross_entropy(op: Any) -> Callable:
    """Return torch's kernel, but NaN instead of an error where a probability is NaN."""
    kernel = op._op

    def compute(probability, target, weight, reduction, **out):
        try:
            return kernel(probability, target, weight, reduction, **out)
        except RuntimeError:
            if not probability.isnan().any():
                raise
            values = binary_values(target, probability)
            values = values if weight is None else values * weight
            result = (values, values.mean(), values.sum())[reduction]
            return out["out"].copy_(result) if out else result

    return compute


def _bincount(op: Any) -> Callable:
    """Return torch's kernel, but an error where there are more counts than asked for at least."""
    kernel = op._op

    def count(numbers, weights=None, minlength=0):
        found = kernel(numbers, weights, minlength)
        if len(found) != minlength:
            raise ValueError(
                f"bincount: a batch has the number {len(found) - 1}; minlength={minlength} is too "
                "small for it. Correct it, or compile with run_eagerly=True."
            )
        return found

    return count


@functools.cache
def quick(op: Any) -> Callable:
    """Return the callable that costs least for an operator."""
    name = name_of(op)
    if op.namespace == "torchkeras":
        return reseed
    if name == "bincount":
        return _bincount(op)
    if name == "binary_cross_entropy":
        return _binary_cross_entropy(op)
    if op.namespace == "aten" and name in _QUICK:
        found = getattr(torch._C._VariableFunctions, name, None)
        found = found or getattr(torch._C._nn, name, None)
        if found is not None:
            return found
        if name.endswith("_") and hasattr(torch.Tensor, name):
            return getattr(torch.Tensor, name)
    return op._op
