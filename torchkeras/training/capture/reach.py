"""What Python code can read: attributes, closures, globals, and what lies behind them."""

from __future__ import annotations

import builtins
import collections
import functools
import os
import random
import sys
import threading
import types
import weakref
import zlib
from array import array
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras.callbacks import History
from torchkeras.dtypes import DTypePolicy

PLAIN = frozenset(
    (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
)
# What changes in a module without a change in what it computes, or is looked at elsewhere.
PASSING = frozenset(nn.Module().__dict__) - {"training"} | frozenset(
    "_activity_losses _variables _probed _compiled _runs _anchor _nodes _graph _plan _planned "
    "_chain _outputs _symbolic_losses _symbolic_metrics _entry_dtype "
    "_frozen_before _frozen_paths _added_rows _tracked _captured _first_shape _initial_weights "
    "_input_layer _build_shape _output_shape stop_training stop_evaluating stop_predicting".split()
)
# Likewise, in layers of torchkeras.
PASSING_IN_OURS = PASSING | {"input_spec", "kernel_initializer", "bias_initializer"}
_NO_STATE = frozenset("__dict__ __weakref__ __doc__ __annotations__ _abc_impl __slots__".split())
# Methods of modules that no step runs.
_NOT_IN_STEPS = frozenset(
    "__init__ __new__ build get_config from_config get_build_config compute_output_shape".split()
)
# Objects of these modules are known by their identity alone: they lead everywhere.
_CLOSED = frozenset(
    "logging threading _thread io _io re pathlib inspect importlib asyncio concurrent socket "
    "warnings _frozen_importlib _frozen_importlib_external".split()
)
_OWN = ("torch", "torchkeras", "numpy", "builtins")
# sysconfig would say the same, and load a module of its own at import.
_STDLIB = os.path.dirname(os.__file__) + os.sep
# Directories of what is installed, within the standard library's or elsewhere.
_INSTALLED = ("site-packages", "dist-packages")
# Longer containers of plain values are looked at as a whole.
_LONG = 256
# Beyond so many objects looking costs more than an eager step saves.
_MOST = 20_000
# Of larger arrays, in bytes, only a part is read.
_LARGE = 2**24


@functools.cache
def is_library_module(name: str) -> bool:
    """Tell whether a module is torch's, numpy's, torchkeras' or Python's own."""
    if name == "__main__":
        return False
    if name.partition(".")[0] in _OWN or name in sys.builtin_module_names:
        return True
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is not None and is_standard_file(file)


def is_numpy_random(kind: type) -> bool:
    """Tell whether a class' objects are numpy's sources of random numbers."""
    if not module_of(kind).startswith("numpy.random"):
        return False
    return any(hasattr(kind, name) for name in ("bit_generator", "_bit_generator", "state"))


@functools.cache
def is_standard_file(file: str) -> bool:
    """Tell whether a file is one of Python's standard library."""
    return file.startswith(("<frozen", _STDLIB)) and not is_installed_file(file)


def is_installed_file(file: str) -> bool:
    """Tell whether a file is part of an installed package."""
    return any(name in file for name in _INSTALLED)


def is_library(thing: Any) -> bool:
    """Tell whether a class or function is torch's, numpy's, torchkeras' or Python's own."""
    if isinstance(thing, types.FunctionType):
        # Its __module__ may be that of the function which it wraps.
        return is_library_module(thing.__globals__.get("__name__") or "")
    return is_library_module(module_of(thing))


def module_of(thing: Any) -> str:
    """Return the name of the module that a class or function comes from, ``''`` if it has none."""
    name = getattr(thing, "__module__", None)
    return name if isinstance(name, str) else ""  # some extensions keep a descriptor there


class Reach:
    """Walks through all that code can read and notes it.

    Args:
        modules: torch modules that are looked at by somebody else.

    Attributes:
        values: numbers, strings and the like, in the order of the walk.
        things: objects that are known by their identity.
        codes: code of the user's that was found.
        has_users: whether there was any.
        is_complete: whether the walk came to an end before the limit.
    """

    def __init__(self, modules: Iterable[nn.Module] = ()):
        self.values: list[Any] = []
        self.things: list[Any] = []
        self.codes: set[types.CodeType] = set()
        self.has_users = False
        self.is_complete = True
        self._pending: list[Any] = []
        self._names: set[str] = set()
        self._modules: list[types.ModuleType] = []
        self._seen: set[Any] = {id(module) for module in modules}
        # Objects made on the way stay until the end, or another would get their address.
        self._kept: list[Any] = []

    def walk(self, roots: Iterable[Any]) -> None:
        """Look at objects and at all behind them."""
        self._pending.extend(roots)
        while True:
            if not self._pending:
                self._look_into_modules()
                if not self._pending:
                    return
            thing = self._pending.pop()
            kind = type(thing)
            if kind in PLAIN:
                self.values += (kind, thing)
                continue
            if id(thing) in self._seen:
                continue
            self._seen.add(id(thing))
            self._kept.append(thing)
            if len(self._seen) > _MOST:
                self.is_complete = False
                self._pending.clear()
                return
            look, is_derived = _how(kind)
            look(self, thing)
            if is_derived:
                self._attributes(thing)

    # ---------------------------------------------------------------------------------- by kind

    def _thing(self, thing: Any) -> None:
        self.things.append(thing)

    def _nothing(self, thing: Any) -> None:
        """Leave out what only reports."""

    def _tensor(self, tensor: torch.Tensor) -> None:
        self.things.append(tensor)
        self.values += (place(tensor), tensor.requires_grad, tensor.dtype, tensor.shape)

    def _array(self, given: np.ndarray) -> None:
        self.things.append(given)
        self.values += (given.shape, given.strides, str(given.dtype))
        if given.dtype.hasobject:
            self._pending.extend(given.flat)
        else:
            if given.nbytes > _LARGE:
                given = given.ravel()[:: given.nbytes // _LARGE + 1]
            self.values.append(zlib.crc32(np.ascontiguousarray(given).tobytes()))

    def _number(self, number: Any) -> None:
        self.values += (type(number), number)

    def _scalar(self, number: np.generic) -> None:
        self.values += (type(number), number.tobytes())

    def _bytes(self, given: Any) -> None:
        self.values.append(bytes(given))

    def _sequence(self, items: Any) -> None:
        self.values += (type(items), len(items))
        if len(items) > _LONG and all(type(item) in PLAIN for item in items):
            self.values.append(hash(tuple(items)))
        else:
            self._pending.extend(items)

    def _set(self, items: Any) -> None:
        self.values.append(type(items))
        if all(type(item) in PLAIN for item in items):
            self.values.append(frozenset(items))
        else:
            self._pending.extend(items)

    def _mapping(self, items: Any) -> None:
        self._sequence(tuple(items))
        self._sequence(tuple(items.values()))

    def _function(self, function: types.FunctionType) -> None:
        self.things += (function, function.__code__)
        # A library's function may be closed over the user's: a decorated one.
        self._pending.extend(function.__dict__.values())
        self._pending.extend(function.__defaults__ or ())
        self._pending.extend((function.__kwdefaults__ or {}).values())
        for cell in function.__closure__ or ():
            try:
                self._pending.append(cell.cell_contents)
            except ValueError:  # a name without a value
                self.values.append(None)
        if not is_library(function):
            self.has_users = True
            self._globals(function.__code__, function.__globals__)

    def _globals(self, code: types.CodeType, scope: dict[str, Any]) -> None:
        codes, names = _read_by(code)
        self.codes |= codes
        self._names |= names
        for name in names:
            if name in scope:
                self._pending.append(scope[name])
            elif name in sys.modules:  # imported within the function
                self._pending.append(sys.modules[name])
        self._pending.append(builtins)

    def _namespace(self, module: types.ModuleType) -> None:
        self.things.append(module)
        self._modules.append(module)

    def _look_into_modules(self) -> None:
        """Look at what modules have under names that any code found so far reads."""
        for module in self._modules:
            for name in self._names & vars(module).keys():
                if (id(module), name) in self._seen:
                    continue
                self._seen.add((id(module), name))
                value = vars(module)[name]
                if type(value) in PLAIN or not is_library_module(module.__name__):
                    self._pending.append(value)

    def _method(self, method: types.MethodType) -> None:
        self._pending.extend((method.__self__, method.__func__))

    def _builtin(self, function: types.BuiltinFunctionType) -> None:
        owner = getattr(function, "__self__", None)
        if owner is None or isinstance(owner, (types.ModuleType, type)):
            self.things.append(function)
        else:
            self._pending.append(owner)

    def _partial(self, made: functools.partial) -> None:
        self._pending.extend((made.func, made.args, made.keywords, made.__dict__))

    def _wrapped(self, wrapper: Any) -> None:
        self._pending.append(wrapper.__func__)

    def _property(self, made: property) -> None:
        self._pending.extend((made.fget, made.fset))

    def _class(self, cls: type) -> None:
        self.things.append(cls)
        if is_library(cls):
            return
        self.has_users = True
        self._pending.append(type(cls))
        passed = _NO_STATE | _NOT_IN_STEPS if issubclass(cls, nn.Module) else _NO_STATE
        for base in cls.__mro__:
            if not is_library(base):
                self._pending.extend([v for name, v in vars(base).items() if name not in passed])

    def _generator(self, made: types.GeneratorType) -> None:
        self.things.append(made)
        if made.gi_frame is not None:
            self.values.append(made.gi_frame.f_lasti)
            self._pending.extend(made.gi_frame.f_locals.values())

    def _weak(self, reference: weakref.ref) -> None:
        self._pending.append(reference())

    def _context(self, variable: ContextVar) -> None:
        self._pending.append(variable.get(None))

    def _random(self, source: random.Random) -> None:
        self.values.append(source.getstate())

    def _numpy_random(self, source: Any) -> None:
        bits = getattr(source, "bit_generator", None) or getattr(source, "_bit_generator", source)
        self._pending.append(bits.state)

    def _optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        self.things.append(optimizer)
        known = is_library(type(optimizer))
        if not known:
            self._pending.append(type(optimizer))
        for name, value in optimizer.__dict__.items():
            if type(value) in PLAIN:
                self.values.append(value)
            elif not known and not name.startswith("_") and name not in ("state", "param_groups"):
                self._pending.append(value)
        for group in optimizer.param_groups:
            for value in group.values():
                (self.values if type(value) in PLAIN else self.things).append(value)
        if hasattr(optimizer, "tensors"):
            self.things += optimizer.tensors()
        inner = getattr(optimizer, "inner_optimizer", None)
        for one in [inner] if inner is not None else getattr(optimizer, "optimizers", ()):
            self._optimizer(one)

    def _out_of_sight(self, thing: Any) -> None:
        self.things.append(thing)
        self.is_complete = False

    def _module(self, module: nn.Module) -> None:
        self.things.append(module)
        self._pending.append(type(module))
        passing = PASSING_IN_OURS if is_library(type(module)) else PASSING
        for name, value in module.__dict__.items():
            if name not in passing:
                self._pending.append(value)
        for table in (module._parameters, module._buffers, module._modules):
            self._pending.extend(table.values())

    def _object(self, thing: Any) -> None:
        self.things.append(thing)
        if not _is_closed(type(thing)):
            self._attributes(thing)

    def _attributes(self, thing: Any) -> None:
        kind = type(thing)
        if not is_library(kind):
            self._pending.append(kind)
        attributes = getattr(thing, "__dict__", None)
        if isinstance(attributes, dict):
            self.values += attributes
            self._pending.extend(attributes.values())
        slots = _slots(kind)
        self._pending.extend([getattr(thing, name, None) for name in slots])
        if not attributes and not slots:
            self._pending.extend(_reduced(thing))


def place(tensor: torch.Tensor) -> int:
    """Return where a tensor's numbers lie, 0 where it has none of its own."""
    try:
        return tensor.data_ptr()
    except RuntimeError:
        return 0


_KINDS = (
    (torch.Tensor, Reach._tensor),
    ((torch.jit.ScriptModule, torch._C.ScriptObject), Reach._out_of_sight),
    (nn.Module, Reach._module),
    (torch.optim.Optimizer, Reach._optimizer),
    (History, Reach._nothing),
    (torch.Generator, Reach._thing),
    (np.ndarray, Reach._array),
    (np.generic, Reach._scalar),
    ((int, float, complex, str, bytes), Reach._number),
    ((list, tuple, collections.deque), Reach._sequence),
    ((set, frozenset), Reach._set),
    ((dict, types.MappingProxyType), Reach._mapping),
    ((bytearray, array, memoryview), Reach._bytes),
    (types.FunctionType, Reach._function),
    (types.MethodType, Reach._method),
    (types.BuiltinFunctionType, Reach._builtin),
    (types.ModuleType, Reach._namespace),
    (functools.partial, Reach._partial),
    ((staticmethod, classmethod), Reach._wrapped),
    (property, Reach._property),
    (type, Reach._class),
    (types.GeneratorType, Reach._generator),
    (weakref.ref, Reach._weak),
    (ContextVar, Reach._context),
    (random.Random, Reach._random),
)


# Of classes derived from these, the attributes of their objects count too.
_CONTAINERS = (np.ndarray, list, tuple, collections.deque, set, frozenset, dict, bytearray, array)
_CONTAINERS += (int, float, complex, str, bytes, random.Random)


@functools.lru_cache(maxsize=1024)
def _how(kind: type) -> tuple[Any, bool]:
    """Return how to look at objects of a class, and whether at their attributes besides."""
    if module_of(kind).startswith("numpy.random"):  # not named here: that would import it
        return (Reach._numpy_random if is_numpy_random(kind) else Reach._object), False
    for kinds, look in _KINDS:
        if issubclass(kind, kinds):
            derived = issubclass(kind, _CONTAINERS) and module_of(kind) not in _OWN
            return look, derived
    return Reach._object, False


@functools.lru_cache(maxsize=4096)
def _read_by(code: types.CodeType) -> tuple[frozenset[types.CodeType], frozenset[str]]:
    """Return a code's own and inner codes, and every name and string in them."""
    codes, names = {code}, set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, str):
            names.add(constant)  # globals()["name"], getattr(settings, "name")
        elif isinstance(constant, types.CodeType):
            inner_codes, inner_names = _read_by(constant)
            codes |= inner_codes
            names |= inner_names
    return frozenset(codes), frozenset(names)


def _is_closed(kind: type) -> bool:
    if issubclass(kind, threading.local):
        return False
    return module_of(kind).partition(".")[0] in _CLOSED or issubclass(kind, DTypePolicy)


@functools.lru_cache(maxsize=1024)
def _slots(kind: type) -> tuple[str, ...]:
    found: list[str] = []
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        found += (slots,) if isinstance(slots, str) else slots
    return tuple(name for name in found if name not in ("__dict__", "__weakref__"))


def _reduced(thing: Any) -> list[Any]:
    """Return what pickle would keep of an object without attributes: a counter, an iterator."""
    try:
        found = thing.__reduce_ex__(4)
    except Exception:  # whatever a class does there
        return []
    return list(found[1:3]) if isinstance(found, tuple) else []
