"""From what a user gives ``compile`` as a loss to a Loss."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.modules.loss import _Loss as TorchModuleLoss

from torchkeras import registry
from torchkeras.losses.loss import Loss, LossFunctionWrapper
from torchkeras.losses.torch_loss import TorchLoss

Shape = Sequence[int | None]


def is_by_shape(identifier: Any) -> bool:
    """Tell whether a loss is chosen by the shapes of targets and outputs ('crossentropy', 'ce')."""
    return isinstance(identifier, str) and identifier.lower() in ("crossentropy", "ce")


def choose(identifier: Any, y_true_shape: Shape, y_pred_shape: Shape) -> Loss | None:
    """Turn what the user gave into a Loss, looking at the shapes where only they tell which.

    Args:
        identifier: as for :func:`as_loss`, or ``'crossentropy'``/``'ce'``.
        y_true_shape: of the targets, ``(batch, …)``.
        y_pred_shape: of the outputs, ``(batch, …)``.
    """
    if not is_by_shape(identifier):
        return as_loss(identifier)
    family = family_of(y_true_shape, y_pred_shape)
    loss = as_loss(f"{family}_crossentropy")
    loss.name = identifier
    return loss


def family_of(y_true_shape: Shape, y_pred_shape: Shape) -> str:
    """Return which classification the shapes of targets and outputs speak of.

    Args:
        y_true_shape: of the targets, ``(batch, …)``.
        y_pred_shape: of the outputs, ``(batch, …)``.

    Returns:
        ``'binary'``, ``'sparse_categorical'`` or ``'categorical'``.
    """
    true, pred = tuple(y_true_shape), tuple(y_pred_shape)
    if len(pred) < 2 or pred[-1] == 1:
        return "binary"
    if len(true) < len(pred) or true[-1] == 1:
        return "sparse_categorical"
    return "categorical"


def as_loss(identifier: Any) -> Loss | None:
    """Turn what the user gave into a Loss.

    Args:
        identifier: a name, a class, a config dictionary, a Loss, a callable
            ``loss(y_true, y_pred)``, or torch's own: a module of ``torch.nn`` such as
            ``nn.MSELoss()`` or a function of ``torch.nn.functional``, which are called in torch's
            order.

    Returns:
        The Loss; ``None`` for ``None``.

    Raises:
        ValueError: for an unknown name, with the nearest known names, or a thing that is no loss.
    """
    if is_by_shape(identifier):
        raise ValueError(
            f"The loss {identifier!r} is chosen by the shapes of targets and outputs, which are "
            "not known here; name 'binary_crossentropy', 'categorical_crossentropy' or "
            "'sparse_categorical_crossentropy'."
        )
    found = registry.get("loss", identifier)
    if found is None or isinstance(found, Loss):
        return found
    if not callable(found):
        raise ValueError(
            "Expected a loss: a name, a Loss, or a callable loss(y_true, y_pred). "
            f"Received {found!r}."
        )
    name = identifier if isinstance(identifier, str) else name_of(found)
    if is_torch_loss(found):
        return TorchLoss(found, name=name)
    cls = _class_of(found)
    return cls(name=name) if cls else LossFunctionWrapper(found, name=name)


def name_of(thing: Any) -> str:
    """Return the name that Keras gives a loss or metric: its own, or its function's or class'."""
    if hasattr(thing, "name"):
        return thing.name
    own = getattr(thing, "__name__", None) or type(thing).__name__
    return registry.snake_case(own)


def _class_of(function: Any) -> type[Loss] | None:
    """Return the built-in class of a built-in function, which knows the short way to its mean."""
    if not registry.is_builtin(function):
        return None
    known = registry.known("loss").values()
    classes = [cls for cls in known if inspect.isclass(cls)]
    names = {registry.snake_case(cls.__name__): cls for cls in classes}
    return names.get(function.__name__)


def is_torch_loss(thing: Any) -> bool:
    """Tell whether a thing is a loss module of ``torch.nn`` or a function of its ``functional``."""
    while isinstance(thing, functools.partial):
        thing = thing.func
    is_function = getattr(thing, "__module__", None) == torch.nn.functional.__name__
    return is_function or isinstance(thing, TorchModuleLoss)
