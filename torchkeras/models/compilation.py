"""What ``compile`` was given: as a config, and given again to another model."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from torchkeras import optimizers, registry
from torchkeras.layers import values
from torchkeras.training import Trainer
from torchkeras.warn import warn_user

# The arguments of `compile` that hold objects, with the kind that a config's dictionary is of.
_KINDS = {"loss": "loss", "metrics": "metric", "weighted_metrics": "metric"}


def config_of_compile(model: Any) -> dict[str, Any]:
    """Return what a model was compiled with as Keras 3 writes it; empty when it was not.

    A thing that no config can name, such as a torch loss module, gives a warning and an empty
    config: the model can be made again, but not compiled.
    """
    if not model.compiled:
        return {}
    try:
        config = {name: values.write(item) for name, item in _arguments(model).items()}
        json.dumps(config)
    except TypeError as error:
        warn_user(
            f"The config of model {model.name!r} does not say how it is compiled: {error} Call "
            "compile on the model that is made from it."
        )
        return {}
    return config


def compile_by_config(model: Any, config: Mapping[str, Any]) -> None:
    """Compile a model by what :func:`config_of_compile`, or Keras 3, wrote.

    A model whose class writes a ``compile`` of its own is left as it is, with a warning.
    """
    if _compiles_itself(model):
        return
    arguments = dict(config)
    arguments["optimizer"] = optimizers.get(arguments["optimizer"])
    for name, kind in _KINDS.items():
        arguments[name] = _mapped(functools.partial(_read, kind), arguments.get(name))
    model.compile(**arguments)


def compile_like(model: Any, other: Any) -> None:
    """Compile a model as another was, with an optimizer, losses and metrics of its own.

    Functions are shared; of objects, new ones are made by their configs.
    """
    if not other.compiled or _compiles_itself(model):
        return
    try:
        arguments = {name: _mapped(_again, item) for name, item in _arguments(other).items()}
    except TypeError as error:
        warn_user(f"The copy of model {other.name!r} is not compiled: {error} Call compile on it.")
        return
    model.compile(**arguments)


def _arguments(model: Any) -> dict[str, Any]:
    compiled = model._compiled
    loss, loss_weights, metrics, weighted_metrics = compiled._given
    return {
        "optimizer": compiled.optimizer,
        "loss": loss,
        "loss_weights": loss_weights,
        "metrics": metrics,
        "weighted_metrics": weighted_metrics,
        "run_eagerly": compiled.run_eagerly,
        "steps_per_execution": compiled.steps_per_execution,
        "jit_compile": compiled.jit_compile,
    }


def _compiles_itself(model: Any) -> bool:
    """Tell, with a warning, whether nobody else knows what a model's ``compile`` takes."""
    if type(model).compile is Trainer.compile:
        return False
    warn_user(
        f"Model {model.name!r} is not compiled: {type(model).__name__} writes its own compile(), "
        "and what that takes is not in a config. Call compile on the model, or write "
        "get_compile_config() and compile_from_config(config)."
    )
    return True


def _mapped(function: Callable[[Any], Any], part: Any) -> Any:
    """Apply a function to what lies in lists and in dictionaries by the outputs' names.

    The dictionary of a config is one thing.
    """
    if isinstance(part, Mapping) and "class_name" not in part:
        return {name: _mapped(function, item) for name, item in part.items()}
    if isinstance(part, (list, tuple)):
        return [_mapped(function, item) for item in part]
    return function(part)


def _read(kind: str, item: Any) -> Any:
    """Return the object of a config; a name stays, ``compile`` reads it."""
    if not isinstance(item, Mapping):
        return item
    if item["class_name"] == "__lambda__":
        return values.read_function(item)
    return registry.deserialize(kind, dict(item))


def _again(item: Any) -> Any:
    """Make an object again by its config; what is no object of ours stays."""
    if isinstance(item, registry.Configurable):
        return type(item).from_config(item.get_config())
    return item
