"""Names of dtypes and the policies that give a layer its own (``keras.dtype_policies``)."""

from __future__ import annotations

import functools
import reprlib
import threading
from typing import Any

import numpy as np
import torch

from torchkeras import config, registry
from torchkeras.registry import Configurable, register, serialize  # noqa: F401 (a public name)

_NAMES = (
    "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 "
    "float16 bfloat16 float32 float64 complex64 complex128 float8_e4m3fn float8_e5m2"
).split()
_TORCH = {name: getattr(torch, name) for name in _NAMES}
_NAME_OF = {dtype: name for name, dtype in _TORCH.items()}
# torch computes little or nothing in these.
_WIDENED = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}
# What a mixed policy computes in; its variables are float32.
_MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}
_QUANTIZED = ("int8", "int4", "float8", "gptq", "awq")
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
    """Return torch's dtype of whatever :func:`name_of` understands; ``None`` is ``floatx``.

    Unsigned integers that torch hardly computes in are wider signed ones, as in Keras.
    """
    name = name_of(dtype)
    return _TORCH[_WIDENED.get(name, name)]


def torch_ready(array: np.ndarray) -> np.ndarray:
    """Return an array that torch takes without complaint: known dtype, writable, forwards.

    Unsigned integers that torch hardly computes in become wider signed ones; negative strides,
    which it does not know, and read-only memory, which it warns of, are copied.
    """
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:  # longdouble, which torch lacks
        array = array.astype(np.float64)
    array = array.astype(_WIDENED.get(array.dtype.name, array.dtype), copy=False)
    forwards = min(array.strides, default=0) >= 0
    return array if array.flags.writeable and forwards else array.copy()


def from_numpy(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return an array's numbers as a tensor, of the same dtype where torch computes in it.

    Raises:
        TypeError: when the array holds something else, such as strings.
    """
    if array.dtype.name == "bfloat16":  # which numpy knows of through other packages
        bits = torch.as_tensor(torch_ready(array).view(np.int16), device=device)
        return bits.view(torch.bfloat16)
    if array.dtype.kind not in "biufc":
        raise TypeError(
            f"A tensor is made of numbers; received {reprlib.repr(array.tolist())}, of dtype "
            f"{array.dtype} (numpy.{array.dtype.type.__name__})."
        )
    return torch.as_tensor(torch_ready(array), device=device)


def widest(tensor: torch.Tensor) -> torch.Tensor:
    """Return floats in double precision, as they are on a device that has none."""
    return tensor if tensor.device.type == "mps" else tensor.double()


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor's numbers as an array on the host, bfloat16 as float32."""
    if tensor.dtype is torch.bfloat16:  # which numpy does not have
        tensor = tensor.float()
    return tensor.detach().cpu().numpy()


# "FloatDTypePolicy" is what Keras 3.0 called it in configs, "Policy" what tf.keras 2 did.
@register("dtype_policy", "FloatDTypePolicy", "Policy", module="keras")
class DTypePolicy(Configurable):
    """Says in which dtype a layer computes and in which it holds its weights.

    Policies are never changed, so that layers may share one.

    Args:
        name: a dtype, such as ``'float32'``, for both; or ``'mixed_float16'`` or
            ``'mixed_bfloat16'``, which compute in half precision and hold float32 weights. The
            policy of :func:`torchkeras.config.dtype_policy` unless given.

    Attributes:
        compute_dtype: name of the dtype of the computation and the outputs.
        variable_dtype: name of the dtype of the weights.
        torch_compute_dtype: the former as torch's dtype.
        torch_dtype: the latter as torch's dtype.
        is_mixed: whether the two differ.

    Raises:
        TypeError: when the name is no string.
        ValueError: when there is no such policy, or it is one of quantization.
    """

    quantization_mode = None

    def __init__(self, name: str | None = None):
        if name is None:
            name = config.dtype_policy().name
        if not isinstance(name, str):
            raise TypeError(
                "DTypePolicy: name must be a string, such as 'mixed_float16'; received "
                f"{name!r} of type {type(name).__name__}."
            )
        if name in _MIXED:
            self.name, self.compute_dtype, self.variable_dtype = name, _MIXED[name], "float32"
        else:
            self.name = self.compute_dtype = self.variable_dtype = _plain_name(name)
        self.torch_compute_dtype = to_torch(self.compute_dtype)
        self.torch_dtype = to_torch(self.variable_dtype)
        self.is_mixed = self.compute_dtype != self.variable_dtype

    def convert_input(self, x: Any, autocast: bool, dtype: Any) -> Any:
        """Bring one input of a layer to the dtype in which it computes.

        Args:
            x: a tensor, a variable, a symbolic tensor or an array; anything else is left alone.
            autocast: whether floats are cast; integers never are.
            dtype: the dtype to have.

        Returns:
            A tensor, or ``x`` itself where nothing was to be done.
        """
        is_array = isinstance(x, (np.ndarray, np.generic))
        if is_array or (hasattr(x, "__array__") and not hasattr(x, "dtype")):
            # numpy's double-precision scalars are Python floats, which are of no dtype.
            own = to_torch(None) if isinstance(x, float) else None
            x = from_numpy(np.asarray(x), config.device())
            x = x if own is None else x.to(own)
        if autocast and hasattr(x, "dtype"):
            known, wanted = to_torch(x.dtype), to_torch(dtype)
            if known.is_floating_point and known is not wanted:
                return getattr(x, "value", x).to(wanted)  # a variable's tensor
        return x

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


Policy = FloatDTypePolicy = DTypePolicy


def _plain_name(name: str) -> str:
    """Return the dtype that a policy of one dtype is called after."""
    if name.startswith(_QUANTIZED) and "_from_" in name:
        raise ValueError(
            f"The dtype policy {name!r} is one of quantization, which is not supported; use its "
            f"source, {name.partition('_from_')[2]!r}."
        )
    try:
        return name_of(name)
    except ValueError:
        raise ValueError(
            f"Unknown dtype policy {name!r}; known are {', '.join(map(repr, _MIXED))} and the name "
            "of any dtype, such as 'float32'."
        ) from None


_named = functools.cache(DTypePolicy)


def policy(identifier: Any) -> DTypePolicy:
    """Return the policy of a name, a dtype, a config dictionary or a policy.

    Args:
        identifier: ``None`` for that of :func:`torchkeras.config.dtype_policy`.

    Raises:
        ValueError: when there is no such policy.
    """
    if isinstance(identifier, DTypePolicy):
        return identifier
    if identifier is None:
        return config.dtype_policy()
    if isinstance(identifier, dict):
        return deserialize(identifier)
    return _named(identifier if isinstance(identifier, str) else name_of(identifier))


get = policy


def deserialize(given: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> DTypePolicy:
    """Make a policy from its serialized form, of Keras 3 or of tf.keras 2.

    Args:
        given: the dictionary.
        custom_objects: names for this look-up only.

    Raises:
        ValueError: when it is no such form, or names an unknown class.
    """
    return registry.deserialize("dtype_policy", given, custom_objects)


# keras.config, keras.dtype_policies and keras.mixed_precision have these.
dtype_policy = global_policy = config.dtype_policy
set_dtype_policy = set_global_policy = config.set_dtype_policy
config.read_policies_with(policy)


class _Autocast(threading.local):
    """What floating weights are cast to when they are read, in this thread."""

    dtype: torch.dtype | None = None


# Set for the length of a layer's call by layers.mixed; ``None`` outside of any.
autocast = _Autocast()
