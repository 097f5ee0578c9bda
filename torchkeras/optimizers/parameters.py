"""What an optimizer is built with: torch parameters, or variables that know theirs."""

from __future__ import annotations

import inspect
from typing import Any

import torch


def parameter_of(variable: Any) -> torch.Tensor:
    """Return the torch tensor of a parameter or of a variable that knows its own."""
    return variable if isinstance(variable, torch.Tensor) else variable.parameter


def checked_parameter(variable: Any) -> torch.Tensor:
    """Return the torch tensor of a parameter or variable that an optimizer may move.

    Raises:
        ValueError: when it has none, or it does not hold floats.
    """
    parameter = getattr(variable, "parameter", variable)
    if not isinstance(parameter, torch.Tensor) or not parameter.is_floating_point():
        raise ValueError(
            "An optimizer is built with floating-point parameters or variables; received "
            f"{variable!r} of type {type(variable).__name__}."
        )
    return parameter


def label_of(variable: Any) -> str:
    """What messages call a variable or parameter."""
    for attribute in ("path", "name"):
        label = getattr(variable, attribute, None)
        if label:
            return label
    return f"parameter{tuple(variable.shape)}"


def in_torch_layout(gradient: Any, variable: Any) -> torch.Tensor:
    """Return a gradient of Keras' layout, a tensor or an array, as one for the torch parameter.

    Raises:
        ValueError: when its shape is not the parameter's.
    """
    parameter = parameter_of(variable)
    gradient = torch.as_tensor(gradient, dtype=parameter.dtype, device=parameter.device)
    gradient = variable.to_torch(gradient) if hasattr(variable, "to_torch") else gradient
    if gradient.shape != parameter.shape:
        raise ValueError(
            f"The gradient of {label_of(variable)} has shape {tuple(gradient.shape)}, the weight "
            f"has {tuple(parameter.shape)} (torch's layout)."
        )
    return gradient


def look_like_parameters(first: Any) -> bool:
    """Tell whether an argument is what torch's optimizers take first: parameters or groups."""
    if isinstance(first, (list, tuple)):
        return bool(first) and isinstance(first[0], (torch.Tensor, dict, tuple))
    return inspect.isgenerator(first) or isinstance(first, torch.nn.Parameter)


def in_keras_layout(tensor: torch.Tensor, variable: Any) -> torch.Tensor:
    """Return a tensor of a parameter's layout in the layout that Keras has it in."""
    return variable.from_torch(tensor) if hasattr(variable, "from_torch") else tensor


def in_own_layout(tensor: torch.Tensor, variable: Any) -> torch.Tensor:
    """Return a tensor of Keras' layout in the parameter's."""
    return variable.to_torch(tensor) if hasattr(variable, "to_torch") else tensor
