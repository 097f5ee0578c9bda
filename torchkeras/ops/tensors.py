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
            parts = [to_tensor(part, dtype, device) for part in x]
            return torch.stack(promotion.common(*parts) if _differ(parts) else parts)
        kinds = [getattr(leaf, "dtype", type(leaf)) for leaf in leaves]
        dtype = dtype or promotion.common_dtype(*_distinct(kinds)) if kinds else dtype
    elif isinstance(x, (bool, int, float, complex)):  # numpy's double is a Python float
        return torch.full((), x, dtype=dtype or _of_number(x), device=device)
    x = x.to_numpy() if hasattr(x, "to_numpy") else x
    array = np.asarray(x)
    if array.dtype == np.float64 and not isinstance(x, (np.ndarray, np.generic)):
        dtype = dtype or dtypes.to_torch(None)
    tensor = torch.as_tensor(dtypes.torch_ready(array), device=device)
    return tensor if dtype is None else tensor.to(dtype)


def _of_number(x: complex) -> torch.dtype:
    if type(x) is int and not -(2**31) <= x < 2**31:
        return torch.int64
    return promotion.common_dtype(x)


def _differ(tensors: Sequence[Tensor]) -> bool:
    return len({tensor.dtype for tensor in tensors}) > 1


def _distinct(kinds: list[Any]) -> list[Any]:
    return [kind if isinstance(kind, type) else dtypes.to_torch(kind) for kind in set(kinds)]


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
    return made if any(isinstance(item, Tensor) for item in made) else prepared(given)


def _device_of(given: Sequence[Any]) -> torch.device | None:
    return next((item.device for item in given if isinstance(item, Tensor)), None)
