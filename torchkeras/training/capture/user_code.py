"""Whose Python a step runs: torchkeras' and torch's own, which is known, or the user's."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from torchkeras.registry import is_builtin

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")


def is_known(thing: Any) -> bool:
    """Tell whether a class or function is torch's or torchkeras' own."""
    name = getattr(thing, "__module__", None) or ""
    return is_builtin(thing) or f"{name}.".startswith(("torch.", "torchkeras."))


def hooked(model: nn.Module) -> str | None:
    """Name a module with hooks, which a replayed step would not call; ``None`` without any."""
    for name in _GLOBAL_HOOKS:
        if getattr(torch_module, name, None):
            return "torch's global hooks"
    for module in model.modules():
        if any(module.__dict__.get(name) for name in _HOOKS):
            return f"the hooks of {_title(module)}"
    for parameter in nn.Module.parameters(model):
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            return "the hooks of a parameter"
    return None


def in_model(model: nn.Module) -> Iterator[Any]:
    """Yield what of the user's runs in a model: modules, and functions that they hold."""
    for module in model.modules():
        if not is_known(type(module)):
            yield module
        for value in module.__dict__.values():
            if isinstance(value, (types.FunctionType, types.MethodType)):
                if not is_known(value):
                    yield value
            elif callable(value) and not isinstance(value, type) and not is_known(type(value)):
                yield value


def in_training(compiled: Any) -> Iterator[Any]:
    """Yield what of the user's runs in loss and optimizer."""
    losses = [part.loss for part in compiled.objective.parts]
    functions = [getattr(loss, "fn", None) for loss in losses]
    for thing in (*losses, *functions, compiled.optimizer):
        if thing is not None and not _is_known_object(thing):
            yield thing


def constraints_and_penalties(model: nn.Module) -> Iterator[Any]:
    """Yield the user's constraints and regularizers of weights that ``add_weight`` made."""
    # Those of built-in layers are attributes, which in_model() has looked at.
    for module in model.modules():
        for row in module.__dict__.get("_added_rows", ()):
            for thing in (row.regularizer, row.constraint):
                if thing is not None and not _is_known_object(thing):
                    yield thing


def _is_known_object(thing: Any) -> bool:
    return is_known(thing) if _is_function(thing) else is_known(type(thing))


def _is_function(thing: Any) -> bool:
    return isinstance(
        thing, (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)
    )


def _title(module: nn.Module) -> str:
    return repr(getattr(module, "name", None) or type(module).__name__)


def surroundings() -> str | None:
    """Say what around the step wants to see every call; ``None`` where nothing does."""
    if torch.is_anomaly_enabled():
        return "torch's anomaly detection is on"
    if torch._C._len_torch_dispatch_stack() or not all(map(_is_device, _function_modes())):
        return "a torch mode is active"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a torch.func transform is active"
    if torch.autograd._profiler_enabled():
        return "torch's profiler is on"
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        return "autocast is on"
    return None


def _function_modes() -> Iterator[Any]:
    count = torch._C._len_torch_function_stack()
    return (torch._C._get_function_stack_at(index) for index in range(count))


def _is_device(mode: Any) -> bool:
    """Tell whether a mode is that of ``torch.set_default_device``, which a record takes in."""
    return type(mode).__module__ == "torch.utils._device"
