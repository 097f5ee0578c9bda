"""Values in configs that JSON has no form for: tensors, arrays, functions; Keras 3's forms."""

from __future__ import annotations

import base64
import builtins
import inspect
import marshal
import sys
import types
from typing import Any

import numpy as np
import torch

from torchkeras import dtypes, eras, registry, trust

# The bytecode of the functions that this program wrote into configs.
_dumped: set[str] = set()
# Where a function's name is looked up, after the user's own names.
_FUNCTION_KINDS = "activation loss metric initializer constraint regularizer".split()


def write(value: Any) -> Any:
    """Return a config's form of a value: what :func:`read` reads.

    Args:
        value: plain values, lists, tuples and dictionaries of them, tensors, arrays, functions and
            objects that have a config.
    """
    if isinstance(value, dict):
        return {key: write(part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(write(part) for part in value)
    if isinstance(value, torch.Tensor):
        return _written("__tensor__", value=value.tolist(), dtype=dtypes.name_of(value.dtype))
    if isinstance(value, np.ndarray):
        return write_array(value) if value.ndim else value.item()
    if is_lambda(value):
        code = dump_code(value)
        return _written("__lambda__", value=(code["code"], code["defaults"], code["closure"]))
    if inspect.isroutine(value):
        return write_function(value)
    return registry.serialize_value(value)


def write_array(value: np.ndarray) -> dict[str, Any]:
    """Return a config's form of an array, also of one without axes."""
    return _written("__numpy__", value=value.tolist(), dtype=value.dtype.name)


def read(
    value: Any, custom_objects: dict[str, Any] | None = None, safe_mode: bool | None = None
) -> Any:
    """Return the value of a config's form.

    Args:
        value: what :func:`write`, or Keras 3, wrote.
        custom_objects: the user's functions by name.
        safe_mode: whether lambdas are refused; as in force unless given.

    Raises:
        ValueError: for a lambda in safe mode, or a form that is not known.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(read(part, custom_objects, safe_mode) for part in value)
    if not isinstance(value, dict):
        return value
    if "class_name" not in value or "config" not in value:
        return {key: read(part, custom_objects, safe_mode) for key, part in value.items()}
    kind, inner = value["class_name"], value["config"]
    if kind == "__tensor__":
        return torch.tensor(inner["value"], dtype=dtypes.to_torch(inner["dtype"]))
    if kind == "__numpy__":
        return np.array(inner["value"], dtype=inner["dtype"])
    if kind in ("__lambda__", "function"):
        return read_function(value, custom_objects, safe_mode)
    # 'keras.losses' holds the kind 'loss', 'keras.layers' the kind 'layer'.
    plural = str(value.get("module")).rpartition(".")[2]
    found = plural.removesuffix("es" if plural.endswith("sses") else "s")
    return registry.deserialize(found if registry.known(found) else "layer", value, custom_objects)


def write_function(function: Any) -> dict[str, Any]:
    """Return a config's form of a callable: bytecode of a lambda, the name of a function.

    Raises:
        TypeError: for a callable object that has no config.
    """
    if is_lambda(function):
        return _written("__lambda__", **dump_code(function))
    if inspect.isroutine(function):
        return {
            "module": "builtins",
            "class_name": "function",
            "config": registry.get_registered_name(function),
            "registered_name": "function",
        }
    return registry.serialize(function)


def read_function(
    config: Any, custom_objects: dict[str, Any] | None = None, safe_mode: bool | None = None
) -> Any:
    """Return the callable of a config's form, a name, or a callable as it is.

    Raises:
        ValueError: for a lambda in safe mode, or a name that nobody knows.
    """
    if callable(config):
        return config
    if isinstance(config, dict) and config.get("class_name") == "__lambda__":
        inner = config["config"]
        if "value" in inner:
            inner = dict(zip(("code", "defaults", "closure"), inner["value"], strict=True))
        # Before Keras 3 a config of the same program needed no leave: its code is no stranger's.
        is_own = inner["code"] in _dumped and eras.value("lambdas.trust_own")
        if not is_own or safe_mode:
            trust.require("A Python lambda in a config", safe_mode)
        return load_code(inner, custom_objects)
    if isinstance(config, dict) and config.get("class_name") != "function":
        return read(config, custom_objects, safe_mode)
    name = config["config"] if isinstance(config, dict) else config
    for known in [custom_objects or {}, registry.get_custom_objects()]:
        if name in known:
            return known[name]
    for kind in _FUNCTION_KINDS:
        found = registry.known(kind).get(name)
        if inspect.isroutine(found):
            return found
    raise ValueError(
        f"Unknown function {name!r}: pass custom_objects={{{name!r}: …}} or decorate the function "
        "with register_keras_serializable()."
    )


def is_lambda(value: Any) -> bool:
    """Tell whether a value is a Python lambda."""
    return isinstance(value, types.FunctionType) and value.__name__ == "<lambda>"


def dump_code(function: types.FunctionType) -> dict[str, Any]:
    """Return a Python function as its bytecode, its defaults and what it closes over."""
    cells = function.__closure__
    code = {
        "code": base64.encodebytes(marshal.dumps(function.__code__)).decode("ascii"),
        "defaults": function.__defaults__,
        "closure": tuple(cell.cell_contents for cell in cells) if cells else None,
    }
    _dumped.add(code["code"])
    if function.__kwdefaults__:  # which Keras loses
        code["kwdefaults"] = dict(function.__kwdefaults__)
    return code


def load_code(
    dumped: dict[str, Any],
    custom_objects: dict[str, Any] | None = None,
    names: dict[str, Any] | None = None,
) -> types.FunctionType:
    """Make a Python function of what :func:`dump_code` returned.

    Args:
        dumped: bytecode, defaults, closure.
        custom_objects: further names that the function may use.
        names: the names that it may use; torch, numpy, the main program's and the user's custom
            objects unless given.

    Raises:
        ValueError: when this Python cannot read the bytecode.
    """
    try:
        code = marshal.loads(base64.b64decode(dumped["code"]))
    except (ValueError, EOFError, TypeError) as error:
        raise ValueError(
            f"The bytecode of a lambda cannot be read ({error}): it was written by another version "
            "of Python. Write the model again without the lambda, or with a named function."
        ) from None
    if names is None:
        names = {"torch": torch, "np": np, "numpy": np}
        names |= vars(sys.modules["__main__"]) | registry.get_custom_objects()
        names |= {"__builtins__": builtins, **(custom_objects or {})}
    closure = dumped.get("closure")
    cells = None if closure is None else tuple(types.CellType(item) for item in closure)
    defaults = dumped.get("defaults")
    defaults = None if defaults is None else tuple(defaults)
    function = types.FunctionType(code, names, code.co_name, defaults, cells)
    function.__kwdefaults__ = dumped.get("kwdefaults")
    return function


def _written(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": config}
