"""Keras' promotion of dtypes: which dtype several inputs are brought to.

Python's numbers are weak: they take the dtype of what they are combined with. The order of the
dtypes is that of JAX, which Keras follows: integers give way to the smallest float, and what
would be 64 bits wide becomes 32 (https://docs.jax.dev/en/latest/type_promotion.html).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras import config, dtypes

# Each dtype, and behind it those right above it; "int" and "float" are Python's numbers.
_ORDER = (
    "bool int, int uint8 int8 complex64, uint8 int16 uint16, uint16 int32 uint32, "
    "uint32 int64 uint64, uint64 float, int8 int16, int16 int32, int32 int64, int64 float, "
    "float bfloat16 float16, bfloat16 float32, float16 float32, float32 float64 complex64, "
    "float64 complex128, complex64 complex128, complex128, float8_e4m3fn, float8_e5m2"
)
_ABOVE = {name: above for name, *above in map(str.split, _ORDER.split(","))}
_HALVED = {"int64": "int32", "uint64": "uint32", "float64": "float32", "complex128": "complex64"}
_WEAK = {int: "int", float: "float", complex: "complex64", bool: "bool"}


@functools.cache
def _upper(name: str) -> frozenset[str]:
    """Return a dtype and all above it."""
    return frozenset([name]).union(*map(_upper, _ABOVE[name]))


@functools.cache
def _joined(names: frozenset[str], floatx: str) -> str:
    common = frozenset.intersection(*map(_upper, names))
    if not common:
        listed = " and ".join(sorted(names))
        raise ValueError(f"{listed} have no dtype in common: cast one of them.")
    found = max(common, key=lambda name: len(_upper(name)))
    if found in ("int", "float"):
        found += floatx[-2:]
    return _HALVED.get(found, found)


def result_type(*given: Any) -> str:
    """Return the name of the dtype that inputs of several dtypes are brought to.

    Args:
        given: dtypes in any form; ``int`` and ``float`` are those of Python's numbers, ``None`` is
            ``floatx``, and so is no dtype at all.

    Raises:
        ValueError: for an unknown dtype.
    """
    names = frozenset(_name(dtype) for dtype in given or (None,))
    if names <= {"int", "float"} and len(names) > 1:  # numbers only
        names = frozenset(["float"])
    return _joined(names, config.floatx())


def _name(dtype: Any) -> str:
    known = _WEAK.get(dtype) if isinstance(dtype, type) else None
    return known or dtypes.name_of(dtype)


@functools.cache
def _common(kinds: tuple[Any, ...], floatx: str) -> torch.dtype:
    return dtypes.to_torch(result_type(*kinds))


def common_dtype(*items: Any) -> torch.dtype:
    """Return torch's dtype for tensors, dtypes and numbers combined.

    Args:
        items: tensors, Python numbers, torch's dtypes, or ``float`` for "at least a float".
    """
    kinds = tuple(
        item.dtype if isinstance(item, Tensor) else item if _is_dtype(item) else type(item)
        for item in items
    )
    return _common(kinds, config.floatx())


def _is_dtype(item: Any) -> bool:
    return isinstance(item, (torch.dtype, type, str))


# ------------------------------------------------------------------------ rules of table rows
# A rule takes the tensors of a call (or numbers) and returns them in the dtype to compute in.


def cast(x: Any, dtype: torch.dtype, like: Tensor | None = None) -> Tensor:
    """Return a tensor or a number as a tensor of a dtype, on the device of another."""
    if isinstance(x, Tensor):
        return x if x.dtype is dtype else x.to(dtype)
    return torch.full((), x, dtype=dtype, device=None if like is None else like.device)


def common(*xs: Any) -> Sequence[Tensor]:
    """Bring inputs to their common dtype, as Keras does for ``maximum``."""
    if _are_float32(xs):
        return xs
    return _all_to(common_dtype(*xs), xs)


def common_float(*xs: Any) -> Sequence[Tensor]:
    """Bring inputs to their common dtype, a float, as Keras does for ``arctan2``."""
    if _are_float32(xs):
        return xs
    return _all_to(common_dtype(*xs, float), xs)


def _all_to(dtype: torch.dtype, xs: tuple[Any, ...]) -> Sequence[Tensor]:
    like = next((x for x in xs if isinstance(x, Tensor)), None)
    return [cast(x, dtype, like) for x in xs]


def _are_float32(xs: tuple[Any, ...]) -> bool:
    """Tell quickly whether there is nothing to do."""
    return all(type(x) is Tensor and x.dtype is torch.float32 for x in xs)


def as_float(x: Tensor) -> Tensor:
    """Bring integers and booleans to ``floatx``."""
    if x.is_floating_point() or x.is_complex():
        return x
    return x.to(dtypes.to_torch(None))


def as_common_float(x: Tensor) -> Tensor:
    """Bring a tensor to the float that Keras makes of it, float64 to float32 too."""
    return x if x.dtype is torch.float32 else x.to(common_dtype(x, float))


def as_float_of_64(x: Tensor) -> Tensor:
    """Bring 64-bit integers to float64 and the other integers and booleans to ``floatx``."""
    return x.double() if x.dtype is torch.int64 else as_float(x)


def as_float_common(*xs: Any) -> Sequence[Tensor]:
    """Bring inputs to their common dtype; a common integer to ``floatx``."""
    dtype = common_dtype(*xs)
    if not dtype.is_floating_point and not dtype.is_complex and dtype is not torch.bool:
        dtype = dtypes.to_torch(None)
    return _all_to(dtype, xs)


def no_bool(x: Tensor) -> Tensor:
    """Bring booleans to int32."""
    return x.int() if x.dtype is torch.bool else x


def countable(x: Tensor) -> Tensor:
    """Bring booleans to uint8, which torch can order."""
    return x.to(torch.uint8) if x.dtype is torch.bool else x
