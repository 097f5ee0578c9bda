"""``keras.backend``: what scripts of Keras 1, 2 and 3 call as ``K``, as one table onto torch.

Each function takes tensors, arrays, Variables, numbers and symbolic tensors.  Where Keras 3 has a
function of the same meaning it is that of ``keras.ops``.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

from torchkeras import config, eras, ops, registry
from torchkeras.backend import arithmetic, control, convolution, functions, nn, shapes, state
from torchkeras.graph import HOMES
from torchkeras.layers.phase import learning_phase, set_learning_phase
from torchkeras.ops.promotion import result_type
from torchkeras.variable import name_scope

py_all = all
_OF_OPS = """abs all any exp max mean min ndim prod round sigmoid sign softplus softsign square
    squeeze stack sum tanh transpose"""
_OF_CONFIG = """backend epsilon floatx image_data_format set_epsilon set_floatx
    set_image_data_format"""


def _read(name: str, function: Callable) -> Callable:
    """Let a function take names and orders of arguments that older versions of Keras had."""
    if not isinstance(function, types.FunctionType):
        return function
    signature = inspect.signature(function)
    if not signature.parameters:
        return function
    owner, parameters = f"backend.{name}", list(signature.parameters.values())
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)

    def method(self: None, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    method.__signature__ = inspect.Signature([itself, *parameters])
    translated = registry.reads_arguments(owner)(method)
    names = frozenset(signature.parameters)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if eras.version() >= (3,) and names.issuperset(kwargs):
            return function(*args, **kwargs)
        return translated(None, *args, **kwargs)

    # Shown by help(), so that what an old script writes is found there.
    older = [
        inspect.Parameter(old, inspect.Parameter.KEYWORD_ONLY, default=None)
        for old in registry.old_arguments(owner)
    ]
    call.__signature__ = signature.replace(parameters=[*parameters, *older])
    return call


def _functions(module: types.ModuleType) -> dict[str, Callable]:
    """Return the functions that are declared in a module."""
    return {
        name: thing
        for name, thing in vars(module).items()
        if isinstance(thing, types.FunctionType) and thing.__module__ == module.__name__
    }


_all = {name: getattr(ops, name) for name in _OF_OPS.split()}
for _module in (arithmetic, control, convolution, functions, nn, shapes, state):
    _all |= _functions(_module)
# Where a model's config finds the functions that were called on symbolic tensors.
HOMES[__name__] = types.SimpleNamespace(**{name.lstrip("_"): _all[name] for name in sorted(_all)})
_all |= {name: getattr(config, name) for name in _OF_CONFIG.split()}
_all |= {"Function": functions.Function, "function": functions.Function}
__all__ = sorted(name for name in _all if not name.startswith("_"))
globals().update({name: _read(name, _all[name]) for name in __all__})
__all__ += ["learning_phase", "name_scope", "py_all", "result_type", "set_learning_phase"]
