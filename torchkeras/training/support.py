"""What fit, evaluate and predict need beside the loop itself."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from torchkeras.layers.spec import shape_of_rank
from torchkeras.training.data import Batches

# What Keras calls in place of its own step.
_CUSTOM_STEPS = ("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics")


def one_process() -> None:
    """Refuse to train when this is one of several processes.

    Raises:
        ValueError: when WORLD_SIZE, which torchrun sets, is above 1 or no number.
    """
    given = os.environ.get("WORLD_SIZE") or "1"
    if not given.strip().isdecimal():
        raise ValueError(
            f"The environment variable WORLD_SIZE, the number of processes, is {given!r}; unset it."
        )
    if int(given) > 1:
        raise ValueError(
            f"WORLD_SIZE is {given}: training in several processes is not "
            "supported yet. Start the script without torchrun."
        )


def no_custom_steps(model: Any) -> None:
    """Refuse a model with a training step of its own, which would be ignored.

    Raises:
        ValueError: naming the methods and what to do.
    """
    own = [name for name in _CUSTOM_STEPS if hasattr(type(model), name)]
    if own:
        raise ValueError(
            f"{type(model).__name__} defines {', '.join(own)}: custom steps are not supported yet. "
            "Write the loop by hand, with model(x, training=True) and optimizer.apply()."
        )


@contextlib.contextmanager
def memory_explained(batches: Batches) -> Iterator[None]:
    """Say which batch the accelerator's memory was too small for, and what to lower."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        shape = tuple(batches.x.shape[1:])
        raise torch.OutOfMemoryError(
            f"Out of memory on {batches.device} with batches of {batches.batch_size} samples of "
            f"shape {shape}. Lower batch_size (now {batches.batch_size}) or make the model "
            f"smaller.\n{error}"
        ) from error


def check_rank(model: Any, x: torch.Tensor) -> None:
    """Compare the number of axes of the inputs with what a model of known inputs takes.

    Raises:
        ValueError: naming the model, the shape that it takes and the one that came.
    """
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return
    expected, shape = tuple(inputs[0].shape), tuple(x.shape)
    if len(shape_of_rank(shape, expected)) == len(expected):
        return
    one = " For one sample, give it the axis of samples: x[None]." if shape == expected[1:] else ""
    raise ValueError(
        f"Invalid input shape: model {model.name!r} takes inputs of shape {expected}, the samples "
        f"first; received x of shape {shape}. input_shape is the shape of one sample, without the "
        f"number of samples.{one}"
    )


def as_returned(logs: dict[str, float], as_dict: bool) -> Any:
    """Return logs as Keras returns them: a dictionary, a list, or the loss alone."""
    if as_dict:
        return dict(sorted(logs.items()))
    return list(logs.values()) if len(logs) > 1 else logs["loss"]


def work_of(model: nn.Module, batches: Batches) -> float:
    """Return the multiply-adds of a step's forward pass, at most; infinity where unknown.

    Args:
        model: whose layers are looked at: of dense ones on rows of numbers the work is known.
        batches: the data.
    """
    if batches.x.dim() > 2:
        return math.inf
    weights = 0
    for module in model.modules():
        own = [p for p in module._parameters.values() if p is not None]
        if own and not isinstance(module, (nn.Linear, nn.BatchNorm1d)):
            return math.inf
        weights += sum(parameter.numel() for parameter in own)
    return float(weights * batches.batch_size)
