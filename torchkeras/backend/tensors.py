"""What the functions of ``keras.backend`` take for a tensor, and the sizes in a shape."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from torchkeras import activations, variable
from torchkeras.graph import KerasTensor
from torchkeras.variable import Variable

_NUMBERS = (bool, int, float)


class Shape(tuple):
    """The sizes of a tensor as ``K.shape`` gives them: a tuple that computes like a tensor.

    Scripts write ``K.shape(x)[1:3] * 2``.  Only ``+`` with another tuple joins the two, as in
    Keras 3; with a number or an array it adds.
    """

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return Shape(found) if isinstance(key, slice) else found

    def __add__(self, other: Any) -> Any:
        if isinstance(other, tuple):
            return Shape(super().__add__(other))
        return _computed(operator.add, self, other)

    def __mul__(self, other: Any) -> Any:
        return _computed(operator.mul, self, other)

    __rmul__ = __mul__

    def __sub__(self, other: Any) -> Any:
        return _computed(operator.sub, self, other)

    def __floordiv__(self, other: Any) -> Any:
        return _computed(operator.floordiv, self, other)

    def __truediv__(self, other: Any) -> Any:
        return _computed(operator.truediv, self, other)


def _computed(function: Callable, shape: Shape, other: Any) -> Any:
    """Compute with each size; integers are a shape again, anything else is an array or tensor."""
    if isinstance(other, (torch.Tensor, Variable, KerasTensor)):
        device = getattr(other, "device", None)
        return function(torch.tensor(shape, dtype=torch.int32, device=device), other)
    result = function(np.array(shape), np.asarray(other))
    return Shape(result.tolist()) if result.dtype.kind == "i" and result.ndim == 1 else result


def as_tensor(x: Any) -> torch.Tensor:
    """Turn what a script calls a tensor into one.

    Args:
        x: a tensor or a Variable; an array or a frame, which keeps its dtype; a number or a list of
            numbers, of which floats become ``floatx`` and integers ``int32``; a list of tensors of
            one shape, which are stacked.

    Returns:
        A tensor, on the device in force where it was none.
    """
    if isinstance(x, torch.Tensor):
        return x
    if isinstance(x, (list, tuple)) and any(isinstance(p, (torch.Tensor, Variable)) for p in x):
        return torch.stack([as_tensor(part) for part in x])
    x = activations.as_tensor(x)
    return x if isinstance(x, torch.Tensor) else variable.as_tensor(x)


def like(x: Any, other: torch.Tensor) -> torch.Tensor:
    """Turn an operand into a tensor that fits another: a number or an array takes its dtype."""
    if isinstance(x, (torch.Tensor, Variable)):
        return as_tensor(x)
    if isinstance(x, _NUMBERS):
        return torch.tensor(x, dtype=torch.result_type(other, x), device=other.device)
    return as_tensor(x).to(other.device, other.dtype if other.is_floating_point() else None)


def pair(x: Any, y: Any) -> tuple[torch.Tensor, Any]:
    """Turn two operands into tensors; what is none takes the dtype of the other.

    A second one that is a number stays that: torch's functions take it, and it costs no tensor.
    """
    if isinstance(x, (torch.Tensor, Variable)) or not isinstance(y, (torch.Tensor, Variable)):
        x = as_tensor(x)
        return x, y if isinstance(y, _NUMBERS) else like(y, x)
    y = as_tensor(y)
    return like(x, y), y


def sizes(shape: Any) -> tuple[int, ...]:
    """Return the integers of a shape: a number, a list with 0-d tensors in it, or a 1-d tensor."""
    if isinstance(shape, (torch.Tensor, Variable, np.ndarray)):
        shape = shape.tolist() if not isinstance(shape, Variable) else shape.numpy().tolist()
    return tuple(map(int, shape)) if isinstance(shape, (list, tuple)) else (int(shape),)


def axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return the axes that an argument ``axis`` means, from 0: all of them for ``None``.

    Raises:
        ValueError: for an axis that a tensor of so many dimensions does not have.
    """
    if axis is None:
        return tuple(range(ndim))
    named = (axis,) if type(axis) is int else sizes(axis)
    for one in named:
        if not -ndim <= one < ndim:
            raise ValueError(f"axis={one} was given for a tensor of {ndim} dimensions.")
    return tuple(one % ndim for one in named)
