"""What a call is given, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras import config, dtypes, tree
from torchkeras.ops import promotion


def is_stand_in(thing: Any) -> bool:
    """Tell whether something is no tensor and answers to torch's functions as one.

    Variables are, and symbolic tensors.
    """
    return hasattr(type(thing), "__torch_function__") and not isinstance(thing, Tensor)


# What most calls are given; looked up, so that a call with a number costs little.
_PLAIN = frozenset({Tensor, torch.nn.Parameter, int, float, bool, type(None), np.ndarray})


def stand_ins(*given: Any) -> list[Any]:
    """Return what stands for a tensor in some structures of arguments."""
    found: list[Any] = []
    for thing in given:
        if type(thing) not in _PLAIN:
            found += [leaf for leaf in tree.leaves(thing) if is_stand_in(leaf)]
    return found


def to_tensor(
    x: Any, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> Tensor:
    """Turn a number, list, array, frame, Variable or tensor into a tensor, of the dtype of Keras.

    Args:
        x: of any shape. Python's integers become int32 where they fit, floats ``floatx``; arrays
            keep their dtype. A list of tensors is stacked.
        dtype: the dtype to have; ``x``'s own unless given.
        device: where it shall live; a tensor stays where it is, the rest goes to the device in
            force unless given.
    """
    if is_stand_in(x):
        x = x.value
    if isinstance(x, Tensor):
        return x if dtype is None or x.dtype is dtype else x.to(dtype)
    if device is None:
        device = config.device()
    if isinstance(x, (list, tuple)):
        leaves = tree.flatten(x)
        if any(isinstance(leaf, Tensor) or is_stand_in(leaf) for leaf in leaves):
            return torch.stack([to_tensor(part, dtype, device) for part in x])
        array = np.asarray(x)
        dtype = dtype or _of_list(leaves, array)
    elif isinstance(x, (bool, int, float, complex)):  # numpy's double is a Python float
        return torch.full((), x, dtype=dtype or _of_number(x), device=device)
    else:
        array = np.asarray(x.to_numpy() if hasattr(x, "to_numpy") else x)
    tensor = dtypes.from_numpy(array, device)
    return tensor if dtype is None else tensor.to(dtype)


def _of_number(x: complex) -> torch.dtype:
    if type(x) is int and not _fits(x):
        return torch.int64
    return promotion.common_dtype(x)


def _of_list(leaves: list[Any], array: np.ndarray) -> torch.dtype | None:
    """Return the dtype of a list's numbers, which are in an array too; ``None`` for no numbers."""
    if array.dtype.kind in "OSU":
        return None
    kinds = {getattr(leaf, "dtype", type(leaf)) for leaf in leaves}
    dtype = dtypes.to_torch(promotion.result_type(*kinds))
    is_wide = dtype is torch.int32 and array.size and not _fits(array.min(), array.max())
    return torch.int64 if is_wide else dtype


def _fits(*numbers: int) -> bool:
    """Tell whether all numbers are int32."""
    return all(-(2**31) <= number < 2**31 for number in numbers)


def prepared(given: Sequence[Any]) -> list[Any]:
    """Return a call's tensors: what is none becomes one, on the device of the first tensor.

    Args:
        given: ``None`` stays as it is.
    """
    device = _device_of(given)
    return [item if item is None else to_tensor(item, None, device) for item in given]


def prepared_but_numbers(given: Sequence[Any]) -> Sequence[Any]:
    """Return a call's tensors; Python's numbers stay numbers beside a tensor.

    A number then needs no copy to the device and leaves nothing in a recorded step.
    """
    kinds = [type(item) for item in given]
    if len(kinds) == 2 and Tensor in kinds and (float in kinds or int in kinds):
        # torch would make booleans and a number int64.
        tensor, number = given if kinds[0] is Tensor else reversed(given)
        if tensor.dtype is not torch.bool or type(number) is float:
            return given
        return prepared(given)
    device = _device_of(given)
    made = [
        item if item is None or type(item) in (int, float) else to_tensor(item, None, device)
        for item in given
    ]
    if not any(isinstance(item, Tensor) for item in made):
        return prepared(given)
    is_known = all(one is other for one, other in zip(made, given))
    return made if is_known else prepared_but_numbers(made)


def _device_of(given: Sequence[Any]) -> torch.device | None:
    return next((item.device for item in given if isinstance(item, Tensor)), None)
