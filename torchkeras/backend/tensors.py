"""How the functions of ``keras.backend`` are declared, and the sizes in shapes."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from torchkeras.graph import is_symbolic, record
from torchkeras.ops import table
from torchkeras.ops.tensors import is_stand_in, to_tensor


class Table(table.Table):
    """Declares functions of ``keras.backend``, which no config of Keras names.

    Args:
        module: the file's ``__name__``.
    """

    prefix = "K"

    def __init__(self, module: str):
        super().__init__("backend", module, is_public=False)

    def declare(self, *args: Any, **options: Any) -> Callable:
        """Make a function; see the class above."""
        return super().declare(*args, **{"keras": "", **options})

    def spelled(self, *rows: tuple[str, Callable, str]) -> None:
        """Declare functions that others, given the arguments by position, already are."""
        self.rows(*rows, tensors=[])


def sized(function: Callable) -> Callable:
    """Decorate a function of sizes: with a symbolic one among them it is one node of the graph."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if is_symbolic(args, kwargs):
            return record(call, args, kwargs)
        return function(*args, **kwargs)

    return call


def sizes(shape: Any) -> tuple[int, ...]:
    """Return the integers of a shape: a number, a list with 0-d tensors in it, or a 1-d tensor."""
    if is_stand_in(shape) or isinstance(shape, (torch.Tensor, np.ndarray)):
        shape = to_tensor(shape).tolist()
    return tuple(map(int, shape)) if isinstance(shape, (list, tuple)) else (int(shape),)


class Shape(tuple):
    """The sizes of a tensor as ``K.shape`` gives them: a tuple that computes like a tensor.

    Scripts write ``K.shape(x)[1:3] * 2``.  Only ``+`` with another tuple joins the two, as in
    Keras 3; with a number or an array it adds.
    """

    dtype = "int32"

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return Shape(found) if isinstance(key, slice) else found


def _computing(name: str) -> Callable:
    """Return the method that computes with each size: of integers a shape, else an array."""
    function = getattr(operator, name)

    def compute(self: Shape, other: Any) -> Any:
        if name == "add" and isinstance(other, tuple):
            return Shape((*self, *other))
        if isinstance(other, torch.Tensor) or is_stand_in(other):
            device = getattr(other, "device", None)
            return function(torch.tensor(self, dtype=torch.int32, device=device), other)
        result = function(np.array(self), np.asarray(other))
        return Shape(result.tolist()) if result.dtype.kind == "i" and result.ndim == 1 else result

    return compute


for _name in ("add", "sub", "mul", "floordiv", "truediv"):
    setattr(Shape, f"__{_name}__", _computing(_name))
Shape.__rmul__ = Shape.__mul__
