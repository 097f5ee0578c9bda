"""What Keras' tests import and torchkeras does not answer to: found elsewhere, or marked absent.

The names are looked up in torchkeras wherever they stand there; a name that is nowhere becomes a
class that fails when it is used, so that a file with one strange import still runs its other tests.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import types
from typing import Any

import numpy as np
import torch

import torchkeras
from torchkeras import config, dtypes

# Where a name of `keras.src` may stand in torchkeras.
_PLACES = (
    *("", "ops", "layers", "models", "losses", "metrics", "optimizers", "optimizers.schedules"),
    *("random", "initializers", "regularizers", "constraints", "activations", "callbacks"),
    *("config", "dtypes", "dtype_policies", "utils", "registry", "training", "graph", "tree"),
    *("saving", "backend", "mixed_precision", "ops.promotion"),
)


class NotThere(AttributeError):
    """Raised when a test uses what torchkeras lacks; its text is the dotted name alone."""


class Absent(type):
    """A class in place of a name that is nowhere: fails when called, gives the like when asked."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Say what is missing."""
        raise NotThere(cls.__qualname__)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return absent(f"{cls.__qualname__}.{name}")


@functools.cache
def absent(dotted: str) -> Absent:
    """Return the stand-in for a dotted name of Keras, such as ``'quantizers.AbsMaxQuantizer'``."""
    name = dotted.rpartition(".")[2]
    return Absent(name, (), {"__qualname__": dotted})


class Operator:
    """A class of ``keras.src.ops``, which torchkeras has as a function only.

    Args:
        operation: the function's entry in the table of operations.
    """

    def __init__(self, operation: Any):
        self.operation = operation

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return an operation with settings."""
        kwargs.pop("name", None)
        settings = {**dict(zip(self.operation.settings, args)), **kwargs}

        def call(*inputs: Any, **named: Any) -> Any:
            args, kwargs = self.operation.joined(inputs, {**named, **settings})
            return self.operation.function(*args, **kwargs)

        call.symbolic_call = call.call = call.compute_output_spec = call
        vars(call).update(settings)
        return call


def operator(below: str, name: str) -> Operator | None:
    """Return what stands for a class of operations; ``None`` where there is no such operation."""
    from torchkeras.ops import table

    found = table.operation_named(f"keras.src.{below}", name) if below.startswith("ops") else None
    return Operator(found) if found is not None and found.class_name == name else None


def _module(name: str) -> types.ModuleType | None:
    full = f"torchkeras.{name}".rstrip(".")
    try:
        found = importlib.util.find_spec(full)
    except ModuleNotFoundError:
        return None
    return importlib.import_module(full) if found else None


def found_anywhere(name: str) -> Any:
    """Return what has a name anywhere in torchkeras; ``None`` where nothing has."""
    for place in _PLACES:
        thing = getattr(_module(place), name, None)
        if thing is not None and not isinstance(thing, types.ModuleType):
            return thing
    return None


class StandIn(types.ModuleType):
    """A module of Keras that torchkeras does not answer to.

    Args:
        path: below ``keras`` or ``keras.src``.
        names: what it has; the rest is looked for in torchkeras.
    """

    def __init__(self, path: str, **names: Any):
        super().__init__(f"keras.{path}")
        self.__path__: list[str] = []
        self.__file__ = f"<{path}>"
        self._below = path
        vars(self).update(names)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        thing = found_anywhere(name)
        return absent(f"{self._below}.{name}") if thing is None else thing


# ------------------------------------------------------------------------ keras.src.backend (3)


_INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
_FLOATS = ("bfloat16", "float16", "float32", "float64")


class _Unavailable:
    """A package that Keras would use if it were there."""

    available = False


def _clear_session(free_memory: bool = True) -> None:
    torchkeras.backend.clear_session()


def _compute_output_spec(function: Any, *args: Any, **kwargs: Any) -> Any:
    from torchkeras.graph import shapes

    return shapes.of_call(function, args, kwargs, "the function")


def _standardize_dtype(dtype: Any) -> str:
    return dtypes.name_of(dtype)


def _is_float(dtype: Any) -> bool:
    return dtypes.to_torch(dtype).is_floating_point


def _is_int(dtype: Any) -> bool:
    wanted = dtypes.to_torch(dtype)
    return not (wanted.is_floating_point or wanted.is_complex or wanted is torch.bool)


def _any_symbolic(args: Any = (), kwargs: Any = None) -> bool:
    from torchkeras import tree

    leaves = tree.leaves((args, kwargs or {}))
    return any(isinstance(leaf, torchkeras.KerasTensor) for leaf in leaves)


def _is_tensor(x: Any) -> bool:
    return isinstance(x, torch.Tensor)


def _data_format(data_format: str | None) -> str:
    chosen = data_format or config.image_data_format()
    if str(chosen).lower() not in ("channels_first", "channels_last"):
        raise ValueError(f"`data_format` is channels_first or channels_last, not {chosen!r}.")
    return str(chosen).lower()


def _shape(shape: Any) -> tuple[int | None, ...]:
    return tuple(shape)


def _to_numpy(x: Any) -> np.ndarray:
    return torchkeras.ops.convert_to_numpy(x)


def _backend() -> str:
    return "torch"


def _device() -> str:
    return str(config.device())


def _get_mask(x: Any) -> Any:
    return getattr(x, "_keras_mask", None)


def _set_mask(x: Any, mask: Any) -> None:
    x._keras_mask = mask


def _layers_in(layer: Any, include_self: bool = True, recursive: bool = True) -> list[Any]:
    kind = torchkeras.layers.Layer
    modules = layer.modules() if recursive else [layer, *layer.children()]
    return [m for m in modules if isinstance(m, kind) and (include_self or m is not layer)]


def _seeds_of(layer: Any) -> list[Any]:
    kind = torchkeras.random.SeedGenerator
    return list({id(s): s for s in vars(layer).values() if isinstance(s, kind)}.values())


def _torch_params(layer: Any) -> list[Any]:
    seeds = [seed for one in _layers_in(layer) for seed in _seeds_of(one)]
    return [*layer.weights, *seeds]


def add_private_names() -> None:
    """Give layers the private names that Keras' own checks of a layer ask for."""
    kind = torchkeras.layers.Layer
    kind._flatten_layers = _layers_in
    kind._seed_generators = property(_seeds_of)
    kind.torch_params = property(_torch_params)


def _deserialize(config: Any, custom_objects: Any = None, safe_mode: bool = True) -> Any:
    from torchkeras.layers import values

    return values.read(config, custom_objects, safe_mode)


def backend_of_3() -> dict[str, types.ModuleType]:
    """Return the modules at and below ``keras.src.backend``, which no public module answers to."""
    names = {
        "backend": _backend,
        "Variable": torchkeras.Variable,
        "KerasTensor": torchkeras.KerasTensor,
        "SUPPORTS_SPARSE_TENSORS": False,
        "SUPPORTS_RAGGED_TENSORS": False,
        "SUPPORTS_COMPLEX_DTYPES": True,
        "IS_THREAD_SAFE": True,
        "any_symbolic_tensors": _any_symbolic,
        "clear_session": _clear_session,
        "compute_output_spec": _compute_output_spec,
        "convert_to_numpy": _to_numpy,
        "get_device": _device,
        "get_keras_mask": _get_mask,
        "set_keras_mask": _set_mask,
        "is_float_dtype": _is_float,
        "is_int_dtype": _is_int,
        "is_tensor": _is_tensor,
        "standardize_data_format": _data_format,
        "standardize_shape": _shape,
        "standardize_dtype": _standardize_dtype,
        "BOOL_TYPES": ("bool",),
        "INT_TYPES": _INTEGERS,
        "FLOAT_TYPES": _FLOATS,
        "COMPLEX_TYPES": ("complex64", "complex128"),
        "FLOAT8_TYPES": ("float8_e4m3fn", "float8_e5m2"),
        "ALLOWED_DTYPES": {*_INTEGERS, *_FLOATS, "bool", "complex64", "complex128", "string"},
    }
    paths = """backend backend.common backend.common.dtypes backend.common.global_state
        backend.common.keras_tensor backend.common.remat backend.common.stateless_scope
        backend.common.symbolic_scope backend.common.variables backend.common.masking
        backend.common.backend_utils backend.core backend.numpy backend.nn backend.linalg
        backend.math backend.image backend.random backend.torch backend.torch.core
        backend.torch.trainer""".split()
    made: dict[str, types.ModuleType] = {path: StandIn(path, **names) for path in paths}
    for path in ("dtype_policies.dtype_policy", "tree.torchtree_impl"):
        made[path] = StandIn(path)
    packages = "dmtree optree tensorflow jax tensorflow_io grain pandas".split()
    made["utils.module_utils"] = StandIn(
        "utils.module_utils", **dict.fromkeys(packages, _Unavailable())
    )
    made["backend.config"] = StandIn("backend.config", **{**vars(config), "backend": _backend})
    written = {
        "serialize_keras_object": torchkeras.registry.serialize_value,
        "deserialize_keras_object": _deserialize,
        "removesuffix": str.removesuffix,
    }
    for path in ("saving", "saving.serialization_lib", "utils.python_utils"):
        made[path] = StandIn(path, **written)
    made["ops.random"] = StandIn("ops.random", **vars(torchkeras.random))
    made["backend.random"] = StandIn("backend.random", **vars(torchkeras.random))
    for path, module in made.items():
        parent, _, name = path.rpartition(".")
        if parent in made:
            setattr(made[parent], name, module)
    return made
