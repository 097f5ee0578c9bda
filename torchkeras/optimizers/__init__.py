"""Optimizers: Keras' arguments, defaults and numbers in ``torch.optim.Optimizer`` subclasses."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from torchkeras import registry
from torchkeras.optimizers import schedules
from torchkeras.optimizers.adadelta import Adadelta
from torchkeras.optimizers.adafactor import Adafactor
from torchkeras.optimizers.adagrad import Adagrad
from torchkeras.optimizers.adam import Adam, AdamW
from torchkeras.optimizers.adamax import Adamax
from torchkeras.optimizers.ftrl import Ftrl
from torchkeras.optimizers.lamb import Lamb
from torchkeras.optimizers.lion import Lion
from torchkeras.optimizers.loss_scale import LossScaleOptimizer
from torchkeras.optimizers.multi import MultiOptimizer, OptimizerMap
from torchkeras.optimizers.muon import Muon
from torchkeras.optimizers.nadam import Nadam
from torchkeras.optimizers.optimizer import Optimizer
from torchkeras.optimizers.rmsprop import RMSprop
from torchkeras.optimizers.schedule_free_adamw import ScheduleFreeAdamW
from torchkeras.optimizers.sgd import SGD
from torchkeras.optimizers.torch_optimizer import TorchOptimizer, is_torch_optimizer
from torchkeras.registry import serialize

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "MultiOptimizer",
    "Muon",
    "Nadam",
    "Optimizer",
    "OptimizerMap",
    "RMSprop",
    "ScheduleFreeAdamW",
    "TorchOptimizer",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]


def get(identifier: Any, custom_objects: dict[str, Any] | None = None) -> Optimizer | None:
    """Turn what ``compile(optimizer=…)`` takes into an optimizer.

    Args:
        identifier: a name in any case, a config dictionary, an optimizer, its class or a
            ``functools.partial`` of that; also a class, a partial or an instance of PyTorch's own.
            ``None`` stays ``None``.
        custom_objects: names for this look-up only.

    Raises:
        ValueError: when a name is unknown, or the thing is no optimizer.
    """
    if identifier is None:
        return None
    if is_torch_optimizer(identifier):
        return TorchOptimizer(identifier)
    if isinstance(identifier, functools.partial):
        identifier = identifier()
    elif isinstance(identifier, str):
        identifier = _known_name(identifier, custom_objects)
    elif isinstance(identifier, dict):
        return deserialize(identifier, custom_objects)
    is_class = inspect.isclass(identifier) and issubclass(identifier, Optimizer)
    found = identifier
    if is_class or isinstance(identifier, str):
        found = registry.get("optimizer", identifier, custom_objects)
    if not isinstance(found, Optimizer):
        raise ValueError(
            "Expected an optimizer: a name, a config dictionary, an optimizer, its class, or one "
            f"of torch.optim's. Received {identifier!r} of type {type(identifier).__name__}."
        )
    return found


def deserialize(config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Optimizer:
    """Make an optimizer from its serialized form; the case of built-in names does not matter.

    Raises:
        ValueError: when the dictionary is not such a form, or names an unknown class.
    """
    if isinstance(config, dict) and isinstance(config.get("class_name"), str):
        # In the caller's dictionary, as all versions of Keras do; their tests look at it.
        config["class_name"] = _known_name(config["class_name"], custom_objects)
    return registry.deserialize("optimizer", config, custom_objects)


def _known_name(name: str, custom_objects: dict[str, Any] | None) -> str:
    """Return the name as it is registered: lower case for a built-in one."""
    if name in {**registry.get_custom_objects(), **(custom_objects or {})}:
        return name
    lower = name.lower()
    return lower if lower in registry.known("optimizer") else name
