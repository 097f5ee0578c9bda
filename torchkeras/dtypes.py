"""Names of dtypes and the policy that gives a layer its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from torchkeras import config
from torchkeras.registry import Configurable, register

_NAMES = (
    "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 "
    "float16 bfloat16 float32 float64 complex64 complex128"
).split()
_TORCH = {name: getattr(torch, name) for name in _NAMES}
_NAME_OF = {dtype: name for name, dtype in _TORCH.items()}
# torch computes little or nothing in these.
_WIDENED = {np.dtype("uint16"): "int32", np.dtype("uint32"): "int64", np.dtype("uint64"): "int64"}
_ALIASES = {"float": "float32", "half": "float16", "double": "float64", "int": "int32"}


def name_of(dtype: Any) -> str:
    """Return Keras' name of a dtype given as a string, a torch or numpy dtype, or a Python type.

    Raises:
        ValueError: when there is no such dtype.
    """
    if dtype is None:
        return config.floatx()
    if isinstance(dtype, torch.dtype):
        return _NAME_OF[dtype]
    if isinstance(dtype, str):
        name = dtype.removeprefix("torch.")
        name = _ALIASES.get(name, name)
        if name in _TORCH:
            return name
    if isinstance(dtype, type) and dtype in (int, float, bool):
        return {int: "int32", float: config.floatx(), bool: "bool"}[dtype]
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = None
    if name not in _TORCH:
        raise ValueError(f"Unknown dtype {dtype!r}; known are {', '.join(_NAMES)}.")
    return name


def to_torch(dtype: Any) -> torch.dtype:
    """Return torch's dtype of whatever :func:`name_of` understands; ``None`` is ``floatx``."""
    return _TORCH[name_of(dtype)]


def torch_ready(array: np.ndarray) -> np.ndarray:
    """Return an array that torch takes without complaint: known dtype, writable, forwards.

    Unsigned integers that torch hardly computes in become wider signed ones; negative strides,
    which it does not know, and read-only memory, which it warns of, are copied.
    """
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:  # longdouble, which torch lacks
        array = array.astype(np.float64)
    array = array.astype(_WIDENED.get(array.dtype, array.dtype), copy=False)
    forwards = min(array.strides, default=0) >= 0
    return array if array.flags.writeable and forwards else array.copy()


def widest(tensor: torch.Tensor) -> torch.Tensor:
    """Return floats in double precision, as they are on a device that has none."""
    return tensor if tensor.device.type == "mps" else tensor.double()


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor's numbers as an array on the host, bfloat16 as float32."""
    if tensor.dtype is torch.bfloat16:  # which numpy does not have
        tensor = tensor.float()
    return tensor.detach().cpu().numpy()


@register("dtype_policy", module="keras")
class DTypePolicy(Configurable):
    """Says in which dtype a layer computes and in which it holds its weights.

    Args:
        name: a float dtype, such as ``'float32'``.

    Raises:
        ValueError: when the dtype is unknown, or a mixed policy (not supported yet).
    """

    def __init__(self, name: str | None = None):
        if isinstance(name, str) and name.startswith("mixed_"):
            raise ValueError(
                f"Mixed precision ({name!r}) is not supported yet; use a plain dtype such as "
                "'float32' or 'bfloat16'."
            )
        self.name = name_of(name)
        self.compute_dtype = self.variable_dtype = self.name
        self.torch_dtype = to_torch(self.name)

    def __repr__(self) -> str:
        return f"<DTypePolicy {self.name!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


def policy(identifier: Any) -> DTypePolicy:
    """Return the policy of a name, a dtype, a config dictionary, a policy, or ``None`` (floatx)."""
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        return DTypePolicy(**identifier["config"])
    return DTypePolicy(identifier)
