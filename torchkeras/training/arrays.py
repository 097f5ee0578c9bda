"""Anything array-like becomes a tensor, or an error that says which entry is in the way."""

from __future__ import annotations

import datetime
import numbers
from typing import Any

import numpy as np
import torch

from torchkeras import config, dtypes

_DATES = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)
_NUMBERS = (numbers.Number, np.bool_, np.ndarray, torch.Tensor)


def as_tensor(name: str, data: Any) -> torch.Tensor:
    """Turn arrays, lists, tensors or pandas frames into a tensor; floats become ``floatx``.

    Args:
        name: ``'x'``, ``'y'``, …, for the error.
        data: at least one axis, samples first.

    Raises:
        ValueError: for text, missing, ragged or other data that is no array of numbers, and for no
            data.
        TypeError: for what is not data at all.
    """
    if isinstance(data, torch.Tensor):
        tensor = _plain(name, data)
    else:
        tensor = torch.as_tensor(_as_array(name, data))
    if tensor.dim() == 0:
        raise ValueError(
            f"{name} must have an axis of samples; received the single value {data!r}."
        )
    if len(tensor) == 0:
        raise ValueError(f"{name} is empty: it has shape {tuple(tensor.shape)}. Pass some samples.")
    if tensor.dtype.is_floating_point:
        tensor = tensor.to(dtypes.to_torch(config.floatx()))
    return tensor


def check_kind(name: str, data: Any) -> None:
    """Refuse what holds no array.

    Raises:
        TypeError: naming the type that came.
    """
    is_array = isinstance(data, (np.ndarray, torch.Tensor, list, tuple))
    is_array = is_array or hasattr(data, "to_numpy") or hasattr(data, "__array__")
    if isinstance(data, (str, bytes)) or not is_array:
        raise TypeError(
            f"{name} must be an array, a list, a tensor or a pandas frame; received "
            f"{type(data).__name__}. (Generators, data sets and data loaders are not "
            "supported yet: pass arrays.)"
        )


def only_part(data: Any, samples: int | None = None) -> Any:
    """Take an array, tensor or frame out of Keras' list of one input.

    Args:
        data: anything; nested lists of numbers are one array and stay.
        samples: how many there are, where known; it tells a list of one vector of targets from a
            list of one sample.
    """
    if not isinstance(data, (list, tuple)) or len(data) != 1:
        return data
    rank = len(getattr(data[0], "shape", ()))
    return data[0] if rank > 1 or (rank == 1 and len(data[0]) == samples) else data


def only_parts(x: Any, y: Any) -> tuple[Any, Any]:
    """Take inputs and targets out of Keras' lists of one; each says how many samples there are."""
    inner = y[0] if isinstance(y, (list, tuple)) and len(y) == 1 and hasattr(y[0], "shape") else y
    x = only_part(x, len(inner) if hasattr(inner, "__len__") and np.ndim(inner) else None)
    return x, only_part(y, len(x) if hasattr(x, "__len__") else None)


def _plain(name: str, data: torch.Tensor) -> torch.Tensor:
    if data.is_nested or data.layout is not torch.strided or data.is_quantized:
        raise ValueError(
            f"{name} is a sparse, nested or quantized tensor; pass a dense one: {name}.to_dense(), "
            f"{name}.to_padded_tensor(0) or {name}.dequantize()."
        )
    if data.device.type == "meta":
        raise ValueError(f"{name} is a tensor on the device 'meta', which holds no numbers.")
    if data.dtype.is_complex:
        raise ValueError(f"{name} must hold real numbers; received a tensor of {data.dtype}.")
    # Autograd cannot keep a tensor that was made in inference mode.
    return data.clone() if data.is_inference() else data.detach()


def _as_array(name: str, data: Any) -> np.ndarray:
    check_kind(name, data)
    if isinstance(data, (list, tuple)):
        data = _without_tensors(only_part(data))
    try:
        array = _frame_values(data) if hasattr(data, "to_numpy") else np.asarray(data)
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise ValueError(
            f"{name} is no rectangular array of numbers: {reason}. Give every sample the same "
            "shape."
        ) from None
    if array.dtype.kind in "OSUMm":
        array = _numbers(name, array)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold numbers; received an array of {array.dtype}.")
    return dtypes.torch_ready(array)


def _frame_values(data: Any) -> np.ndarray:
    """Return a frame's or series' values; ``<NA>``, of which pandas makes NaN, stays visible."""
    has_own_mark = str(getattr(getattr(data, "dtype", None), "na_value", "")) == "<NA>"
    return data.to_numpy(dtype=object) if has_own_mark and data.hasnans else data.to_numpy()


def _without_tensors(data: Any) -> Any:
    """Make arrays of tensors in lists: numpy reads none that has gradients or is on a GPU."""
    if isinstance(data, torch.Tensor):
        return dtypes.to_numpy(data)
    first = data
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if not isinstance(first, torch.Tensor) or not isinstance(data, (list, tuple)):
        return data
    return [_without_tensors(item) for item in data]


def _numbers(name: str, array: np.ndarray) -> np.ndarray:
    """Turn an array of Python objects into one of numbers; say where text, dates or gaps are."""
    kinds = set(map(type, array.flat))
    if array.dtype.kind == "O" and all(_is_number(kind) for kind in kinds):
        try:
            return array.astype(config.floatx())
        except (TypeError, ValueError):
            pass
    for index in np.ndindex(array.shape):
        if not _is_number(type(array[index])):
            raise ValueError(
                f"{name} must hold numbers; received {str(array[index])[:60]!r} at position "
                f"{list(index)}. {_advice(array[index])}"
            )
    raise ValueError(f"{name} must hold numbers; received an array of {array.dtype}.")


def _is_number(kind: type) -> bool:
    return issubclass(kind, _NUMBERS) and not issubclass(kind, _DATES)


def _advice(item: Any) -> str:
    if item is None or str(item) in ("<NA>", "NaT"):
        return "Fill or drop missing values first."
    if isinstance(item, _DATES):
        return "Convert dates to numbers first, for example to days since the first of them."
    if isinstance(item, (str, bytes)):
        return "Convert text to numbers first, for example by numbering the categories."
    return f"It is of type {type(item).__name__}: convert it to a number first."
