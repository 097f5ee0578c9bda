"""Whether targets suit a loss and an output, asked once before training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from torchkeras.losses.crossentropy import BinaryCrossentropy, CategoricalCrossentropy
from torchkeras.losses.loss import Loss, LossFunctionWrapper
from torchkeras.registry import is_builtin

Shape = tuple[int | None, ...]


def check_targets(loss: Loss, y_true: Any, output_shape: Sequence[int | None]) -> None:
    """Raise when all the targets of a run cannot be what a built-in loss compares with an output.

    Losses of the user's own and torch's take what they like and are not checked.

    Args:
        loss: the loss of that output.
        y_true: all targets ``(samples, …)``, an array or tensor; at most its least and largest
            values are computed.
        output_shape: of the model's output, ``(batch, …)``; ``None`` where unknown.

    Raises:
        ValueError: for one-hot targets with a sparse loss, class numbers with
            categorical_crossentropy, class numbers outside the output's classes, targets outside
            0 to 1 with binary_crossentropy of probabilities, or a shape that cannot match the
            output's. It says what came, what was expected and what to do.
    """
    if loss.targets == "labels":
        return
    is_function = type(loss) is LossFunctionWrapper and is_builtin(loss.fn)
    if not is_builtin(type(loss)) or (type(loss) is LossFunctionWrapper and not is_function):
        return
    target: Shape = tuple(y_true.shape)[1:]
    output: Shape = tuple(output_shape)[1:]
    if loss.targets == "classes":
        _check_classes(loss, y_true, target, output)
    elif not _matches(target, output):
        raise ValueError(_mismatch(loss, y_true, target, output))
    elif isinstance(loss, BinaryCrossentropy) and not loss.from_logits:
        _check_probabilities(loss, y_true)


def _matches(target: Shape, output: Shape) -> bool:
    """Tell whether shapes without the batch agree, one last axis of length 1 aside."""
    if len(target) == len(output) + 1 and target[-1] == 1:
        target = target[:-1]
    elif len(output) == len(target) + 1 and output[-1] in (1, None):
        output = output[:-1]
    return len(target) == len(output) and all(
        length in (None, units) or units is None for length, units in zip(target, output)
    )


def _mismatch(loss: Loss, y_true: Any, target: Shape, output: Shape) -> str:
    text = (
        f"The loss {loss.name!r} compares targets with outputs of the same shape: expected "
        f"{_with_batch(output)}, received targets of shape {tuple(y_true.shape)}."
    )
    is_class_number = target in ((), (1,), output[:-1], (*output[:-1], 1))
    if isinstance(loss, CategoricalCrossentropy) and is_class_number:
        return (
            f"{text} These look like class numbers: use 'sparse_categorical_crossentropy', or turn "
            f"them into one-hot rows with to_categorical(y, {output[-1]})."
        )
    if len(target) == 1 and len(output) == 1:
        return f"{text} Give the last layer {target[0]} units, or the targets {output[0]} columns."
    return f"{text} Change the last layer's output, or the targets."


def _check_classes(loss: Loss, y_true: Any, target: Shape, output: Shape) -> None:
    axis = getattr(loss, "axis", -1)
    axis = axis - 1 if axis > 0 else axis
    classes = output[axis] if output else None
    expected = list(output)
    if expected:
        del expected[axis]
    if not _matches(target, tuple(expected)) and not _matches_column(target, output, axis):
        if _matches(target, output):
            raise ValueError(
                f"The loss {loss.name!r} takes class numbers of shape {_with_batch(expected)}; "
                f"received targets of shape {tuple(y_true.shape)}, which look one-hot. Use "
                "'categorical_crossentropy', or give y.argmax(-1)."
            )
        raise ValueError(
            f"The loss {loss.name!r} takes class numbers of shape {_with_batch(expected)} for an "
            f"output of shape {_with_batch(output)}; received targets of shape "
            f"{tuple(y_true.shape)}."
        )
    if classes is not None:
        _check_range(loss, y_true, classes)


def _matches_column(target: Shape, output: Shape, axis: int) -> bool:
    """Tell whether the targets keep the axis of the classes, with length 1."""
    column = list(output)
    if column:
        column[axis] = 1
    return len(target) == len(output) and _matches(target, tuple(column))


def _check_range(loss: Loss, y_true: Any, classes: int) -> None:
    labels = y_true if isinstance(y_true, torch.Tensor) else torch.as_tensor(np.asarray(y_true))
    ignored = getattr(loss, "ignore_class", None)
    if ignored is not None:
        labels = labels[labels != ignored]
    if 0 in labels.shape:
        return
    least, largest = _ends(loss, labels, f"class numbers from 0 to {classes - 1}")
    if least >= 0 and largest < classes:
        return
    wrong = least if least < 0 else largest
    text = (
        f"The loss {loss.name!r} takes class numbers from 0 to {classes - 1} for an output of "
        f"{classes} {'class' if classes == 1 else 'classes'}; received targets from {least} to "
        f"{largest}, so {wrong} is no class."
    )
    if classes == 1:
        raise ValueError(f"{text} For one output and targets 0 and 1 use 'binary_crossentropy'.")
    if least >= 1 and largest == classes:
        raise ValueError(f"{text} Classes count from 0: subtract 1 from the targets.")
    hint = "" if least >= 0 else " or, where that value marks no class, set ignore_class"
    raise ValueError(
        f"{text} Give the last layer {int(max(largest, 0)) + 1} units, correct the targets{hint}."
    )


def _check_probabilities(loss: BinaryCrossentropy, y_true: Any) -> None:
    """Refuse what torch's kernel refuses, on a GPU in a way that ends the process."""
    targets = y_true if isinstance(y_true, torch.Tensor) else torch.as_tensor(np.asarray(y_true))
    if 0 in targets.shape:
        return
    least, largest = _ends(loss, targets, "numbers from 0 to 1")
    keep = 1.0 - loss.label_smoothing
    if all(0 <= end * keep + loss.label_smoothing / 2 <= 1 for end in (least, largest)):
        return
    text = (
        f"The loss {loss.name!r} takes targets from 0 to 1; received targets from {least} to "
        f"{largest}."
    )
    if (least, largest) == (1, 2):
        raise ValueError(f"{text} Subtract 1 from them.")
    if (least, largest) == (-1, 1):
        raise ValueError(f"{text} Give (y + 1) / 2, or use the loss 'hinge'.")
    raise ValueError(
        f"{text} Scale them, or for more than two classes use 'sparse_categorical_crossentropy' "
        "with one unit in the last layer for each class."
    )


def _ends(loss: Loss, targets: torch.Tensor, expected: str) -> tuple[float, float]:
    """Return the least and the largest target; refuse NaN."""
    targets = targets.to(torch.uint8) if targets.dtype is torch.bool else targets
    # One trip from the device, not two.
    least, largest = torch.stack(torch.aminmax(targets)).tolist()
    if math.isnan(least):
        raise ValueError(
            f"The loss {loss.name!r} takes {expected}; received NaN among the targets. Fill or "
            "drop missing values first."
        )
    return least, largest


def _with_batch(shape: Sequence[int | None]) -> str:
    return str(("samples", *shape)).replace("'", "")
