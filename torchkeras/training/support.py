"""What fit, evaluate and predict need beside the loop itself."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras import tree
from torchkeras.layers.spec import shape_of_rank
from torchkeras.training.data import Batches


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


def known_outputs(model: Any) -> tuple[list[str] | None, int | None, list[str] | None]:
    """Return the names and the number of a model's outputs, ``None`` where not known yet.

    The third value has the keys where the outputs are a dictionary.
    """
    if getattr(model, "_graph", None) is not None:
        keys = tree.keys(model.output) if isinstance(model.output, dict) else None
        return model.output_names, len(model.outputs), keys
    return None, 1 if hasattr(model, "_input_layer") else None, None


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


def check_inputs(model: Any, found: Sequence[torch.Tensor]) -> None:
    """Compare the shapes of the inputs with what a model of known inputs takes.

    Args:
        model: that takes them.
        found: a tensor for each input.

    Raises:
        ValueError: naming the model, the shape that it takes and the one that came.
    """
    inputs = getattr(model, "inputs", None) or ()
    for tensor, symbolic in zip(found, inputs):
        expected, shape = tuple(symbolic.shape), tuple(tensor.shape)
        if len(shape_of_rank(shape, expected)) == len(expected):
            continue
        one = ""
        if shape == expected[1:]:
            one = " For one sample, give it the axis of samples: x[None]."
        which = f"its input {symbolic.name!r} is" if len(inputs) > 1 else "takes inputs"
        raise ValueError(
            f"Invalid input shape: model {model.name!r} {which} of shape {expected}, the samples "
            f"first; received x of shape {shape}. input_shape is the shape of one sample, without "
            f"the number of samples.{one}"
        )


def as_returned(logs: dict[str, float], names: Sequence[str], as_dict: bool) -> Any:
    """Return logs as Keras returns them: a dictionary, a list, or the loss alone.

    Args:
        logs: name -> value.
        names: in the order of the list; what the logs have beside them follows by name.
        as_dict: whether a dictionary is wanted.
    """
    if as_dict:
        return dict(sorted(logs.items()))
    rest = sorted(name for name in logs if name not in names)
    values = [logs[name] for name in (*(name for name in names if name in logs), *rest)]
    return values if len(values) > 1 else values[0]


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
