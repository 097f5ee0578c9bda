"""``keras.dtype_policies``: policies by name, and by the path of a layer."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, MutableMapping
from typing import Any

from torchkeras import dtypes, registry
from torchkeras.dtypes import DTypePolicy, FloatDTypePolicy, get
from torchkeras.refused import refused_class
from torchkeras.registry import register

_NO_QUANTIZATION = "torchkeras does not quantize; use a float policy, such as 'mixed_bfloat16'."
QuantizedDTypePolicy = refused_class("QuantizedDTypePolicy", _NO_QUANTIZATION)
QuantizedFloat8DTypePolicy = refused_class("QuantizedFloat8DTypePolicy", _NO_QUANTIZATION)
Int4DTypePolicy = refused_class("Int4DTypePolicy", _NO_QUANTIZATION)
GPTQDTypePolicy = refused_class("GPTQDTypePolicy", _NO_QUANTIZATION)
AWQDTypePolicy = refused_class("AWQDTypePolicy", _NO_QUANTIZATION)


@register("dtype_policy", module="keras.dtype_policies")
class DTypePolicyMap(DTypePolicy, MutableMapping):
    """Policies by the paths of layers, with one for all other layers.

    As ``dtype`` of a layer it is the policy of the layer's path at the time when it is built.

    Args:
        default_policy: that of other paths; that of :func:`torchkeras.config.dtype_policy`
            whenever it is asked for unless given.
        policy_map: a layer's path, or a regular expression of whole paths, -> its policy.

    Raises:
        ValueError: when the default is a map itself.
        TypeError: when ``policy_map`` is no dictionary.
    """

    def __init__(self, default_policy: Any = None, policy_map: dict[str, Any] | None = None):
        if isinstance(default_policy, DTypePolicyMap):
            raise ValueError("DTypePolicyMap: default_policy cannot be a map itself.")
        if policy_map is not None and not isinstance(policy_map, dict):
            raise TypeError(
                f"DTypePolicyMap: policy_map must be a dictionary; received {policy_map!r} of type "
                f"{type(policy_map).__name__}."
            )
        self._given_default = default_policy
        self._default = None if default_policy is None else get(default_policy)
        self.policy_map = policy_map or {}
        # The path of the layer whose policy this is.
        self._path: str | None = None

    @property
    def default_policy(self) -> DTypePolicy:
        """The policy of paths that are not in the map."""
        return get(self._default)

    @property
    def name(self) -> str:
        """``'map_'`` and the name of the default policy."""
        return f"map_{self.default_policy.name}"

    def at(self, path: str) -> DTypePolicyMap:
        """Return the same map as the policy of a layer: its dtypes are those of the path."""
        found = copy.copy(self)
        found._path = path
        return found

    @property
    def _current(self) -> DTypePolicy:
        return self.default_policy if self._path is None else self[self._path]

    def __getitem__(self, key: str) -> DTypePolicy:
        """Return the policy of a path.

        Raises:
            ValueError: when several regular expressions fit it.
        """
        if key in self.policy_map:
            return self.policy_map[key]
        found = [pattern for pattern in self.policy_map if re.fullmatch(pattern, key)]
        if len(found) > 1:
            raise ValueError(f"DTypePolicyMap: the path {key!r} fits several keys: {found}.")
        return self.policy_map[found[0]] if found else self.default_policy

    def __setitem__(self, key: str, policy: Any) -> None:
        """Add the policy of a path.

        Raises:
            ValueError: when the key has one already, or there is no such policy.
        """
        if key in self.policy_map:
            raise ValueError(
                f"DTypePolicyMap: {key!r} has the policy {self.policy_map[key]} already; delete it "
                "first."
            )
        self.policy_map[key] = get(policy)

    def __delitem__(self, key: str) -> None:
        del self.policy_map[key]

    def __contains__(self, key: object) -> bool:
        return key in self.policy_map

    def __iter__(self) -> Iterator[str]:
        return iter(self.policy_map)

    def __len__(self) -> int:
        return len(self.policy_map)

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this map again."""
        return {
            "default_policy": registry.serialize_value(self._given_default),
            "policy_map": {key: serialize(one) for key, one in self.policy_map.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DTypePolicyMap:
        """Make a map from what :meth:`get_config` returned."""
        policies = {key: get(one) for key, one in config["policy_map"].items()}
        return cls(config["default_policy"], policies)

    def __repr__(self) -> str:
        names = {key: one.name for key, one in self.policy_map.items()}
        return f"<DTypePolicyMap default_policy={self.default_policy.name}, mapping={names}>"


def _of_current(name: str) -> property:
    return property(lambda self: getattr(self._current, name))


for _name in "compute_dtype variable_dtype torch_compute_dtype torch_dtype is_mixed".split():
    setattr(DTypePolicyMap, _name, _of_current(_name))


def serialize(dtype_policy: DTypePolicy) -> dict[str, Any]:
    """Return Keras 3's serialized form of a policy."""
    return registry.serialize(dtype_policy)


def deserialize(
    config: dict[str, Any], custom_objects: dict[str, Any] | None = None
) -> DTypePolicy:
    """Make a policy from its serialized form; see :func:`torchkeras.dtypes.deserialize`."""
    return dtypes.deserialize(config, custom_objects)


__all__ = [
    "AWQDTypePolicy",
    "DTypePolicy",
    "DTypePolicyMap",
    "FloatDTypePolicy",
    "GPTQDTypePolicy",
    "Int4DTypePolicy",
    "QuantizedDTypePolicy",
    "QuantizedFloat8DTypePolicy",
    "deserialize",
    "get",
    "serialize",
]
