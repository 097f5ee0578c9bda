"""Shapes, dtypes and rearrangement of tensors in ``keras.backend``."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from torchkeras import config, dtypes
from torchkeras.backend.operation import known_sizes, operation, unchanged
from torchkeras.backend.tensors import Shape, as_tensor, axes, sizes
from torchkeras.graph import KerasTensor, Spec, TorchCall, connect

# ---------------------------------------------------------------------------------- what it is


def int_shape(x: Any) -> tuple[int | None, ...]:
    """Return the sizes of a tensor, ``None`` where unknown."""
    found = getattr(x, "shape", None)
    return tuple(as_tensor(x).shape if found is None else found)


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


def _running_sizes(x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(x.shape, dtype=torch.int32, device=x.device)


def ndim(x: Any) -> int:
    """Return the number of dimensions."""
    return len(int_shape(x))


def dtype(x: Any) -> str:
    """Return Keras' name of a tensor's dtype."""
    if isinstance(x, Shape):
        return "int32"
    found = getattr(x, "dtype", None)
    return dtypes.name_of(as_tensor(x).dtype if found is None else found)


def count_params(x: Any) -> int:
    """Return the number of elements."""
    return math.prod(int_shape(x))


def is_sparse(tensor: Any) -> bool:
    """Tell whether a tensor is sparse."""
    return isinstance(tensor, torch.Tensor) and tensor.layout is not torch.strided


def to_dense(tensor: Any) -> Any:
    """Return a sparse tensor's dense form, anything else as it is."""
    return tensor.to_dense() if is_sparse(tensor) else tensor


# --------------------------------------------------------------------------------------- dtypes


def _cast_spec(x: Any, dtype: Any) -> Spec:
    return Spec(x.shape, dtypes.name_of(dtype))


@operation(spec=_cast_spec)
def cast(x: Any, dtype: Any) -> torch.Tensor:
    """Return a tensor in another dtype; floats lose their fraction when they become integers."""
    return as_tensor(x).to(dtypes.to_torch(dtype))


def cast_to_floatx(x: Any) -> Any:
    """Return a tensor as a tensor of ``floatx``, anything else as an array of it."""
    if isinstance(x, (torch.Tensor, KerasTensor)):
        return cast(x, config.floatx())
    return np.asarray(x, dtype=config.floatx())


# -------------------------------------------------------------------------------- rearrangement


def _reshape_spec(x: Any, shape: Any) -> Spec | None:
    parts = shape if isinstance(shape, (list, tuple)) else ()
    if isinstance(shape, KerasTensor) or any(isinstance(part, KerasTensor) for part in parts):
        return Spec(known_sizes(shape), dtype(x))
    return None


@operation(spec=_reshape_spec)
def reshape(x: Any, shape: Any) -> torch.Tensor:
    """Return the same elements in another shape.

    Args:
        x: any shape.
        shape: the sizes, one of which may be -1: what is left.
    """
    return torch.reshape(as_tensor(x), sizes(shape))


@operation
def flatten(x: Any) -> torch.Tensor:
    """Return the elements as a vector."""
    return torch.reshape(as_tensor(x), (-1,))


@operation
def batch_flatten(x: Any) -> torch.Tensor:
    """Return each sample as a vector: ``(batch, …)`` becomes ``(batch, size)``."""
    x = as_tensor(x)
    return torch.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


@operation
def transpose(x: Any) -> torch.Tensor:
    """Return a tensor with its axes in reverse order."""
    x = as_tensor(x)
    return torch.permute(x, tuple(reversed(range(x.dim()))))


@operation
def permute_dimensions(x: Any, pattern: Sequence[int]) -> torch.Tensor:
    """Return a tensor with its axes in another order: axis ``pattern[i]`` becomes axis ``i``."""
    return torch.permute(as_tensor(x), sizes(pattern))


@operation
def expand_dims(x: Any, axis: int = -1) -> torch.Tensor:
    """Return a tensor with a new axis of length 1."""
    return torch.unsqueeze(as_tensor(x), axis)


@operation
def squeeze(x: Any, axis: int) -> torch.Tensor:
    """Return a tensor without an axis of length 1.

    Raises:
        ValueError: when its length is another.
    """
    x = as_tensor(x)
    for one in axes(axis, x.dim()):
        if x.shape[one] != 1:
            raise ValueError(
                f"squeeze: axis {axis} of shape {tuple(x.shape)} has length {x.shape[one]}, not 1."
            )
    return torch.squeeze(x, axes(axis, x.dim()))


@operation
def concatenate(tensors: Sequence[Any], axis: int = -1) -> torch.Tensor:
    """Join tensors along an axis; sparse ones among dense ones become dense."""
    found = [as_tensor(tensor) for tensor in tensors]
    if not all(map(is_sparse, found)):
        found = list(map(to_dense, found))
    return torch.cat(found, axis)


@operation
def stack(x: Sequence[Any], axis: int = 0) -> torch.Tensor:
    """Join tensors of one shape along a new axis."""
    return torch.stack([as_tensor(tensor) for tensor in x], axis)


@operation
def repeat(x: Any, n: int) -> torch.Tensor:
    """Repeat each sample: ``(batch, size)`` becomes ``(batch, n, size)``.

    Raises:
        ValueError: when ``x`` has another rank than 2.
    """
    x = as_tensor(x)
    if x.dim() != 2:
        raise ValueError(f"repeat needs a tensor of rank 2; received shape {tuple(x.shape)}.")
    return torch.tile(torch.unsqueeze(x, 1), (1, int(n), 1))


@operation
def repeat_elements(x: Any, rep: int, axis: int) -> torch.Tensor:
    """Repeat each element along an axis: ``a b`` becomes ``a a b b``."""
    return torch.repeat_interleave(as_tensor(x), int(rep), dim=axis)


def _tile_spec(x: Any, n: Any) -> Spec | None:
    parts = n if isinstance(n, (list, tuple)) else (n,)
    if not any(isinstance(part, KerasTensor) for part in parts):
        return None
    times = known_sizes(n)
    times = (1,) * (ndim(x) - len(times)) + times
    pairs = zip(int_shape(x), times, strict=True)
    return Spec(tuple(None if None in (a, b) else a * b for a, b in pairs), dtype(x))


@operation(spec=_tile_spec)
def tile(x: Any, n: Any) -> torch.Tensor:
    """Repeat a tensor as a whole.

    Args:
        x: any shape.
        n: how often along each axis; fewer numbers than axes are for the last ones.

    Raises:
        ValueError: when there are more numbers than axes.
    """
    x, times = as_tensor(x), sizes(n)
    if len(times) > x.dim():
        raise ValueError(f"tile: {len(times)} numbers were given for {x.dim()} dimensions.")
    return torch.tile(x, times)


@operation
def reverse(x: Any, axes: int | Sequence[int]) -> torch.Tensor:
    """Return a tensor with the elements along some axes in reverse order."""
    return torch.flip(as_tensor(x), sizes(axes))


@operation
def slice(x: Any, start: Any, size: Any) -> torch.Tensor:
    """Cut a block out of a tensor.

    Args:
        x: any shape.
        start: where the block begins along each axis.
        size: its lengths; -1 is as far as it goes.

    Raises:
        ValueError: when the numbers are not one for each axis, or the block does not lie inside.
    """
    x, first, length = as_tensor(x), sizes(start), sizes(size)
    if not len(first) == len(length) == x.dim():
        raise ValueError(
            f"slice: `start` and `size` need a number for each of {x.dim()} axes; received {first} "
            f"and {length}."
        )
    ends = [n if s == -1 else f + s for f, s, n in zip(first, length, x.shape, strict=True)]
    if any(not 0 <= f <= e <= n for f, e, n in zip(first, ends, x.shape, strict=True)):
        raise ValueError(
            f"slice: start {first} with size {length} does not lie inside shape {tuple(x.shape)}."
        )
    return x[tuple(builtins.slice(f, e) for f, e in zip(first, ends, strict=True))]


@operation
def gather(reference: Any, indices: Any) -> torch.Tensor:
    """Return the rows of a tensor that some indices name.

    Args:
        reference: ``(rows, …)``.
        indices: integers of any shape.

    Returns:
        The rows, of shape ``indices.shape + (…)``.
    """
    reference = as_tensor(reference)
    indices = as_tensor(indices).to(reference.device)
    rows = torch.index_select(reference, 0, torch.reshape(indices, (-1,)))
    return torch.reshape(rows, (*indices.shape, *reference.shape[1:]))


@operation
def one_hot(indices: Any, num_classes: int) -> torch.Tensor:
    """Return rows of ``floatx`` with a 1 at each index, of 0 alone for an index that is no class.

    Args:
        indices: integers of any shape.
        num_classes: the length of the rows.

    Returns:
        ``indices.shape + (num_classes,)``.
    """
    indices = torch.unsqueeze(as_tensor(indices), -1)
    classes = torch.arange(int(num_classes), device=indices.device)
    return torch.eq(indices, classes).to(dtypes.to_torch(None))


@operation(spec=unchanged)
def identity(x: Any, name: str | None = None) -> torch.Tensor:
    """Return a tensor of the same content; ``name`` labels it and has no effect."""
    return torch.clone(as_tensor(x))


# ------------------------------------------------------------------------------------- constants


def constant(
    value: Any, dtype: Any = None, shape: Sequence[int] | None = None, name: str | None = None
) -> torch.Tensor:
    """Make a tensor of given numbers, on the device in force.

    Args:
        value: a number, a list, an array or a tensor.
        dtype: ``floatx`` unless given.
        shape: the shape to give the numbers, or to fill with one number.
        name: a label without effect.
    """
    made = as_tensor(value).to(config.device(), dtypes.to_torch(dtype))
    if shape is None:
        return made.clone() if made is value else made
    wanted = sizes(shape)
    return made.expand(wanted).clone() if made.numel() == 1 else torch.reshape(made, wanted)


def eye(size: int | Sequence[int], dtype: Any = None, name: str | None = None) -> torch.Tensor:
    """Make a matrix with 1 on the diagonal.

    Args:
        size: number of rows, and of columns unless two numbers are given.
        dtype: ``floatx`` unless given.
        name: a label without effect.
    """
    rows, columns = sizes(size) * 2 if isinstance(size, int) else sizes(size)
    return torch.eye(rows, columns, dtype=dtypes.to_torch(dtype), device=config.device())


def _filled_spec(shape: Any, number: float, dtype: Any) -> Spec:
    return Spec(known_sizes(shape), dtypes.name_of(dtype))


@operation(spec=_filled_spec)
def filled(shape: Any, number: float, dtype: Any) -> torch.Tensor:
    """Make a tensor of one number, of a shape that may be symbolic."""
    wanted = dtypes.to_torch(dtype)
    return torch.full(sizes(shape), number, dtype=wanted, device=config.device())


def _arange_spec(start: Any, stop: Any = None, step: Any = 1, dtype: Any = "int32") -> Spec:
    return Spec((None,), dtypes.name_of(dtype))


@operation(spec=_arange_spec)
def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = "int32") -> torch.Tensor:
    """Make a vector of evenly spaced numbers.

    Args:
        start: the first; with ``stop`` left out, the end of numbers from 0.
        stop: where they end, itself not among them.
        step: the distance.
        dtype: of the result.
    """
    first, end = (0, max(_number(start), 0)) if stop is None else map(_number, (start, stop))
    return torch.arange(
        first, end, _number(step), dtype=dtypes.to_torch(dtype), device=config.device()
    )


def _number(x: Any) -> int | float:
    return x if isinstance(x, (int, float)) else as_tensor(x).item()


@operation
def zeros_like(x: Any, dtype: Any = None, name: str | None = None) -> torch.Tensor:
    """Make a tensor of zeros of another's shape, and its dtype unless one is given."""
    return torch.zeros_like(as_tensor(x), dtype=None if dtype is None else dtypes.to_torch(dtype))


@operation
def ones_like(x: Any, dtype: Any = None, name: str | None = None) -> torch.Tensor:
    """Make a tensor of ones of another's shape, and its dtype unless one is given."""
    return torch.ones_like(as_tensor(x), dtype=None if dtype is None else dtypes.to_torch(dtype))
