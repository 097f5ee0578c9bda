"""``keras.ops.core``: tensors made, cast, cut and written to; choices and loops beside them."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import handle_torch_function

from torchkeras import dtypes, tree
from torchkeras.ops import control
from torchkeras.ops.axes import as_axes
from torchkeras.ops.control import *  # noqa: F403
from torchkeras.ops.table import Table
from torchkeras.ops.tensors import stand_ins, to_tensor
from torchkeras.seeds import in_trial

op = Table("core", __name__)
op.names += control.__all__
__all__ = op.names

# ----------------------------------------------------------------------------- tensors and dtypes


@op.own(is_elementwise=True)
def stop_gradient(variable: Tensor) -> Tensor:
    """Return a tensor's numbers, through which no gradient flows."""
    return torch.detach(variable)


@op.own(inputs="x", is_elementwise=True)
def cast(x: Any, dtype: Any) -> Tensor:
    """Return a tensor, Variable, array or number as a tensor of another dtype."""
    return to_tensor(x, dtypes.to_torch(dtype))


@op.own(inputs="x", is_elementwise=True)
def convert_to_tensor(
    x: Any, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None
) -> Tensor:
    """Turn a number, list, array, Variable or tensor into a tensor.

    Args:
        x: of any shape; a tensor of the dtype wanted is returned itself.
        dtype: ``x``'s own unless given; that of numbers is int32 or ``floatx``.
        sparse: ``False`` makes torch's sparse tensors dense; ``True`` is not supported.
        ragged: ``True`` is not supported.

    Raises:
        ValueError: for sparse or ragged tensors.
    """
    if sparse or ragged:
        raise ValueError(
            "ops.convert_to_tensor: layers compute on dense tensors alone; leave sparse=True and "
            "ragged=True away."
        )
    made = to_tensor(x, None if dtype is None else dtypes.to_torch(dtype))
    return made.to_dense() if sparse is False and made.layout is not torch.strided else made


@op.plain
def convert_to_numpy(x: Any) -> np.ndarray:
    """Return a tensor, Variable, list or number as an array of its own; bfloat16 as float32."""
    if isinstance(x, (list, tuple)):
        return np.array([convert_to_numpy(part) for part in x])
    return np.array(dtypes.to_numpy(x) if isinstance(x, Tensor) else x)


@op.plain
def is_tensor(x: Any) -> bool:
    """Tell whether something is a tensor of torch's; Variables and symbolic tensors are not."""
    return isinstance(x, Tensor)


@op.plain
def shape(x: Any) -> tuple[int | None, ...]:
    """Return the size of each axis; ``None`` where a symbolic tensor's is unknown."""
    return tuple(x.shape if hasattr(x, "shape") else to_tensor(x).shape)


@op.plain
def dtype(x: Any) -> str:
    """Return Keras' name of the dtype."""
    return dtypes.name_of(x.dtype if hasattr(x, "dtype") else to_tensor(x).dtype)


@op.own(is_elementwise=True)
def saturate_cast(x: Tensor, dtype: Any) -> Tensor:
    """Cast to another dtype; numbers out of its range become the nearest in it."""
    wanted = dtypes.to_torch(dtype)
    if x.dtype is torch.bool:
        return x.to(wanted)
    (lowest, highest), (low, high) = _range(x.dtype), _range(wanted)
    low, high = _nearest(max(low, lowest), x.dtype), _nearest(min(high, highest), x.dtype)
    return torch.clamp(x, low, high).to(wanted)


def _range(dtype: torch.dtype) -> tuple[float, float]:
    if dtype is torch.bool:
        return 0, 1
    facts = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
    return facts.min, facts.max


def _nearest(limit: float, dtype: torch.dtype) -> float:
    """Return the number nearest to a limit, towards 0, that a dtype has."""
    size = int(abs(limit))
    if dtype.is_floating_point:
        bits = 1 - round(math.log2(torch.finfo(dtype).eps))
        spare = max(size.bit_length() - bits, 0)
        size = float(size >> spare << spare)
    return size if limit > 0 else -size


@op.own
def unstack(x: Tensor, num: int | None = None, axis: int = 0) -> list[Tensor]:
    """Return what lies at each index of an axis.

    Args:
        x: of at least one axis.
        num: the size of the axis; needed where a symbolic tensor does not know it.
        axis: the one that goes.

    Raises:
        ValueError: for an axis that is not there, or of another size.
    """
    (axis,) = as_axes("unstack", axis, x.ndim)
    if num is None or num == x.shape[axis]:
        return list(torch.unbind(x, axis))
    if not in_trial():
        raise ValueError(f"ops.unstack: axis {axis} of shape {tuple(x.shape)} is not {num}.")
    return [torch.select(x, axis, 0)] * num


# ------------------------------------------------------------------------------------ at indices


@op.own
def scatter(indices: Tensor, values: Tensor, shape: Sequence[int]) -> Tensor:
    """Return zeros of a shape, with values added at indices.

    Args:
        indices: ``(…, k)``, along the first ``k`` axes.
        values: what is added there, ``(…, *shape[k:])``.
        shape: of the result.
    """
    zeros = values.new_zeros(tuple(shape))
    values = values.reshape(*indices.shape[:-1], *zeros.shape[indices.shape[-1] :])
    return torch.index_put(zeros, indices.long().unbind(-1), values, accumulate=True)


_REDUCTIONS = {"max": "amax", "min": "amin", "mul": "prod"}


def _like_inputs(inputs: Any, **others: Any) -> tuple[Any, Any]:
    return inputs.shape, inputs.dtype


@op.own(spec=_like_inputs)
def scatter_update(
    inputs: Tensor, indices: Tensor, updates: Tensor, reduction: str | None = None
) -> Tensor:
    """Return a tensor with other numbers at indices.

    Args:
        inputs: of any shape.
        indices: ``(n, k)``, along the first ``k`` axes.
        updates: what is put there, ``(n, *inputs.shape[k:])``.
        reduction: how it is combined with what is there: ``'add'``, ``'max'``, ``'min'``,
            ``'mul'``; it takes its place unless given.

    Raises:
        ValueError: for an unknown reduction, or indices that are not there.
    """
    how = reduction if reduction is None else reduction.lower()
    places, updates = indices.long().unbind(-1), updates.to(inputs.dtype)
    if how in (None, "add"):
        return torch.index_put(inputs, places, updates, accumulate=how == "add")
    if how not in _REDUCTIONS:
        raise ValueError(
            "ops.scatter_update: reduction must be None, 'add', 'max', 'min' or 'mul'; received "
            f"{reduction!r}."
        )
    outer, inner = inputs.shape[: len(places)], inputs.shape[len(places) :]
    rows, columns = math.prod(outer), math.prod(inner)
    # Indexing checks the indices and counts negative ones from the end.
    at = torch.arange(rows, device=inputs.device).reshape(outer)[places].reshape(-1, 1)
    updates = updates.expand(*indices.shape[:-1], *inner).reshape(-1, columns)
    at, flat = at.expand(-1, columns), inputs.reshape(rows, columns)
    return flat.scatter_reduce(0, at, updates, _REDUCTIONS[how]).reshape(inputs.shape)


def _check_ranks(name: str, inputs: Any, start_indices: Any, other: str, sizes: Any) -> None:
    is_list = isinstance(start_indices, (list, tuple))
    starts = len(start_indices) if is_list else start_indices.shape[0]
    ranks = {"inputs": len(inputs.shape), other: len(sizes), "start_indices": starts}
    for one, two in (("inputs", other), ("start_indices", "inputs")):
        if ranks[one] != ranks[two]:
            raise ValueError(
                f"ops.{name}: the number of dimensions in `{one}` must match the number of "
                f"dimensions in `{two}`; received {ranks[one]} and {ranks[two]}."
            )


def _starts(start_indices: Any) -> list[Any]:
    """Return the first index of each axis: integers, or tensors that nobody reads."""
    if isinstance(start_indices, Tensor):
        return list(start_indices.long())
    return [start if isinstance(start, Tensor) else int(start) for start in start_indices]


def _of_slice(inputs: Any, start_indices: Any, shape: Sequence[int]) -> tuple[Any, Any]:
    _check_ranks("slice", inputs, start_indices, "shape", shape)
    are_known = isinstance(start_indices, (list, tuple, np.ndarray))
    starts = start_indices if are_known else [None] * len(shape)
    rest = (None if None in pair else pair[0] - pair[1] for pair in zip(inputs.shape, starts))
    return [most if size == -1 else size for size, most in zip(shape, rest)], inputs.dtype


@op.own(inputs="inputs start_indices", spec=_of_slice)
def slice(inputs: Any, start_indices: Any, shape: Sequence[int]) -> Tensor:
    """Return a part of a tensor.

    Args:
        inputs: of any shape.
        start_indices: the first index along each axis; integers, or tensors.
        shape: of the part; -1 is up to the end of the axis, for which a start is read.

    Raises:
        ValueError: for a part that is not there, or another number of axes.
    """
    x = to_tensor(inputs)
    _check_ranks("slice", x, start_indices, "shape", shape)
    for axis, (start, size) in enumerate(zip(_starts(start_indices), shape)):
        size = x.shape[axis] - int(start) if size == -1 else int(size)
        if isinstance(start, int):
            x = torch.narrow(x, axis, start, size)
        else:
            x = torch.index_select(x, axis, start + torch.arange(size, device=x.device))
    return x


@op.own(inputs="inputs start_indices updates", spec=_like_inputs)
def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Tensor:
    """Return a tensor with a part of it replaced.

    Args:
        inputs: of any shape.
        start_indices: the first index of the part along each axis; integers, or tensors.
        updates: the part, with as many axes.

    Raises:
        ValueError: for a part that is not there, or another number of axes.
    """
    x = to_tensor(inputs)
    updates = to_tensor(updates, x.dtype, x.device)
    _check_ranks("slice_update", x, start_indices, "updates", updates.shape)
    starts = _starts(start_indices)
    if all(isinstance(start, int) for start in starts):
        made = x.clone()
        slice(made, starts, updates.shape).copy_(updates)  # which is a view
        return made
    steps = [torch.arange(size, device=x.device) for size in updates.shape]
    places = torch.meshgrid(*(at + step for at, step in zip(starts, steps)), indexing="ij")
    return torch.index_put(x, places, updates)


# -------------------------------------------------------------------------------------- gradients


@op.plain
def custom_gradient(f: Callable) -> Callable:
    """Decorate a function that says what its gradient is.

    Args:
        f: takes tensors, in any structure, and returns a pair: the outputs, in any structure, and a
            function ``grad(*args, upstream)``, or ``grad(upstream)``. That one is given the
            gradients of the outputs as ``upstream`` and returns a gradient, or a tuple with one for
            each tensor of the arguments.

    Returns:
        A function that returns the outputs. What is given to it by name has no gradient.
    """

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        if found := stand_ins(args, kwargs):
            return handle_torch_function(call, found, *args, **kwargs)
        form, kept = tree.map_structure(lambda leaf: None, args), []
        tensors = [leaf if leaf is None else to_tensor(leaf) for leaf in tree.leaves(args)]
        found = _OwnGradient.apply(functools.partial(f, **kwargs), form, kept, *tensors)
        return tree.pack_like(kept[0], found)

    return call


class _OwnGradient(torch.autograd.Function):
    """A function with the gradient that it returns beside its outputs."""

    @staticmethod
    def forward(ctx: Any, f: Callable, form: Any, kept: list, *tensors: Tensor) -> tuple:
        made = f(*tree.pack_like(form, tensors))
        if not (isinstance(made, tuple) and len(made) == 2 and callable(made[1])):
            raise ValueError(
                "ops.custom_gradient: expected a function that returns its outputs and a function "
                f"that returns their gradient; received {made!r}."
            )
        outputs, ctx.gradient = made
        ctx.form, ctx.made = form, tree.map_structure(lambda leaf: None, outputs)
        ctx.save_for_backward(*tensors)
        kept.append(ctx.made)
        return tuple(tree.leaves(outputs))

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple:
        args = tree.pack_like(ctx.form, ctx.saved_tensors)
        upstream = tree.pack_like(ctx.made, upstream)
        signature = inspect.signature(ctx.gradient)
        try:
            call = signature.bind(*args, upstream=upstream)
        except TypeError:  # as one writes it for TensorFlow and JAX
            call = signature.bind(upstream)
        return None, None, None, *tree.leaves(ctx.gradient(*call.args, **call.kwargs))
