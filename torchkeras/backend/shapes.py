"""Shapes, dtypes, rearrangement and constants of ``keras.backend``."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras import config, dtypes, ops
from torchkeras.backend.tensors import Shape, Table, sized, sizes
from torchkeras.graph import Spec, TorchCall, connect, is_symbolic
from torchkeras.ops.spatial import is_channels_last
from torchkeras.ops.tensors import is_stand_in, to_tensor
from torchkeras.seeds import in_trial

op = Table(__name__)

# ---------------------------------------------------------------------------------- what it is


def int_shape(x: Any) -> tuple[int | None, ...]:
    """Return the sizes of a tensor, ``None`` where unknown."""
    found = getattr(x, "shape", None)
    return tuple(to_tensor(x).shape if found is None else found)


def shape(x: Any) -> Any:
    """Return the sizes of a tensor when the code runs.

    Returns:
        A tuple of integers that computes like a tensor; for a symbolic tensor whose sizes are not
        all known, a symbolic one of dtype ``int32``.
    """
    found = int_shape(x)
    if None in found:
        return connect(TorchCall(_running_sizes), (x,), {}, Spec((len(found),), "int32"))
    return Shape(found)


def _running_sizes(x: Tensor) -> Tensor:
    """Return the sizes of a tensor as a tensor."""
    return torch.tensor(x.shape, dtype=torch.int32, device=x.device)


def dtype(x: Any) -> str:
    """Return Keras' name of a tensor's dtype."""
    return dtypes.name_of(x.dtype if hasattr(x, "dtype") else to_tensor(x).dtype)


def normalize_data_format(value: str | None) -> str:
    """Return ``'channels_last'`` or ``'channels_first'``, the configuration's for ``None``."""
    return "channels_last" if is_channels_last(value) else "channels_first"


def is_sparse(tensor: Any) -> bool:
    """Tell whether a tensor is sparse."""
    return isinstance(tensor, Tensor) and tensor.layout is not torch.strided


def is_explicit_shape(shape: Any) -> bool:
    """Tell whether something is a shape of integers and ``None``."""
    return hasattr(shape, "__iter__") and {*map(type, shape)} <= {int, type(None)}


op.spelled(
    ("count_params(x)", lambda x: math.prod(int_shape(x)), "Return the number of elements."),
    ("size(x, name=None)", lambda x, _: cast(ops.size(x), "int32"), "Count the elements; int32."),
    ("to_dense(tensor)", lambda x: x.to_dense() if is_sparse(x) else x, "Return no sparse tensor."),
)


@op.own(is_elementwise=True)
def cast(x: Tensor, dtype: Any) -> Tensor:
    """Return a tensor in another dtype; floats lose their fraction when they become integers."""
    return x.to(dtypes.to_torch(dtype))


def cast_to_floatx(x: Any) -> Any:
    """Return a tensor as a tensor of ``floatx``, anything else as an array of it."""
    is_tensor = isinstance(x, Tensor) or is_stand_in(x)
    return cast(x, config.floatx()) if is_tensor else np.asarray(x, dtype=config.floatx())


# -------------------------------------------------------------------------------- rearrangement

op.spelled(
    ("batch_flatten(x)", lambda x: _flattened(x), "Return each sample as a vector."),
    ("expand_dims(x, axis=-1)", ops.expand_dims, "Add an axis of length 1."),
    ("flatten(x)", ops.ravel, "Return the elements as a vector."),
    ("gather(reference, indices)", lambda x, at: ops.take(x, at, 0), "Return rows by number."),
    ("identity(x, name=None)", lambda x, _: ops.copy(x), "Return a tensor of the same content."),
    ("pattern_broadcast(x, broadcastable)", lambda x, _: x, "Return x: axes of 1 are broadcast."),
    ("permute_dimensions(x, pattern)", ops.transpose, "Put axis ``pattern[i]`` at place ``i``."),
    ("repeat_elements(x, rep, axis)", ops.repeat, "Repeat elements: ``a b`` gives ``a a b b``."),
    ("reverse(x, axes)", ops.flip, "Reverse the order along axes."),
)


@op.own
def _flattened(x: Tensor) -> Tensor:
    return torch.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


def reshape(x: Any, shape: Any) -> Any:
    """Return the same elements in another shape, one of whose sizes may be -1: what is left."""
    return _reshaped(x, shape) if is_symbolic(shape) else ops.reshape(x, sizes(shape))


@sized
def _reshaped(x: Any, shape: Any) -> Any:
    """Do what reshape does, to sizes found when the code runs."""
    wanted = sizes(shape)
    if in_trial() and 0 in wanted:  # which stands for a size that is not known
        return ops.zeros([max(size, 0) for size in wanted], dtype(x))
    return ops.reshape(x, wanted)


@op.own
def concatenate(tensors: list[Tensor], axis: int = -1) -> Tensor:
    """Join tensors along an axis; sparse ones among dense ones become dense."""
    if not builtins.all(map(is_sparse, tensors)):
        tensors = list(map(to_dense, tensors))  # noqa: F821 (a row)
    return torch.cat(tensors, axis)


def repeat(x: Any, n: Any) -> Any:
    """Repeat each sample: ``(batch, size)`` becomes ``(batch, n, size)``.

    Raises:
        ValueError: when ``x`` has another rank than 2.
    """
    if len(int_shape(x)) != 2:
        raise ValueError(f"repeat needs a tensor of rank 2; received shape {int_shape(x)}.")
    return tile(ops.expand_dims(x, 1), (1, n, 1))


@sized
def tile(x: Any, n: Any) -> Tensor:
    """Repeat a tensor as a whole, so often along each axis; fewer numbers are for the last ones.

    Raises:
        ValueError: when there are more numbers than axes.
    """
    times = sizes(n)
    if len(times) > len(int_shape(x)):
        raise ValueError(f"tile: {len(times)} numbers were given for {ops.ndim(x)} dimensions.")
    return ops.tile(x, times)


@op.own
def slice(x: Tensor, start: Any, size: Any) -> Tensor:
    """Cut a block out of a tensor.

    Args:
        x: any shape.
        start: where the block begins along each axis.
        size: its lengths; -1 is as far as it goes.

    Raises:
        ValueError: when the numbers are not one for each axis, or the block does not lie inside.
    """
    first, length = sizes(start), sizes(size)
    if not x.dim() == len(first) == len(length):
        raise ValueError(f"slice: a number for each of {x.dim()} axes; received {start}, {size}.")
    for axis, (begin, count) in enumerate(zip(first, length)):
        x = x.narrow(axis, begin, x.shape[axis] - begin if count == -1 else count)
    return x


@op.own
def one_hot(indices: Tensor, num_classes: int) -> Tensor:
    """Return rows of ``floatx`` with a 1 at each index, of 0 alone for an index that is no class.

    Args:
        indices: integers of any shape.
        num_classes: the length of the rows, which are a new last axis.
    """
    classes = torch.arange(int(num_classes), device=indices.device)
    return torch.eq(torch.unsqueeze(indices, -1), classes).to(dtypes.to_torch(None))


# ------------------------------------------------------------------------------------- constants

op.spelled(
    ("ones_like(x, dtype=None, name=None)", lambda x, d, _: ops.ones_like(x, d), "Make ones."),
    ("zeros_like(x, dtype=None, name=None)", lambda x, d, _: ops.zeros_like(x, d), "Make zeros."),
)


def constant(
    value: Any, dtype: Any = None, shape: Sequence[int] | None = None, name: str | None = None
) -> Tensor:
    """Make a tensor of given numbers, on the device in force.

    Args:
        value: a number, a list, an array or a tensor.
        dtype: ``floatx`` unless given.
        shape: the shape to give the numbers, or to fill with one number.
        name: a label without effect.
    """
    made = to_tensor(value).to(config.device(), dtypes.to_torch(dtype))
    if shape is None:
        return made.clone() if made is value else made
    wanted = sizes(shape)
    return made.expand(wanted).clone() if made.numel() == 1 else torch.reshape(made, wanted)


def eye(size: int | Sequence[int], dtype: Any = None, name: str | None = None) -> Tensor:
    """Make a matrix with 1 on the diagonal, square or of two sizes; ``name`` has no effect."""
    return ops.eye(*(sizes(size) * 2)[:2], dtype=dtype)


@sized
def _filled(shape: Any, number: float, dtype: Any) -> Tensor:
    """Make a tensor of one number, of a shape that may be symbolic."""
    return ops.full(sizes(shape), number, dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = "int32") -> Any:
    """Make a vector of evenly spaced numbers.

    Args:
        start: the first; with ``stop`` left out, the end of numbers from 0.
        stop: where they end, itself not among them.
        step: the distance.
        dtype: of the result.
    """
    if stop is None:
        start, stop = 0, start if is_symbolic(start) else max(start, 0)
    return ops.arange(start, stop, step, dtype)
