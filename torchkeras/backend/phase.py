"""The learning phase, whether the code that runs is training, and choices between tensors."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.backend.operation import operation
from torchkeras.backend.tensors import as_tensor, like
from torchkeras.graph import KerasTensor, is_symbolic
from torchkeras.layers.phase import (
    LearningPhase,
    follows_phase,
    forced_learning_phase,
    free_learning_phase,
    learning_phase,
    makes_updates,
    set_learning_phase,
    within,
)


def in_train_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """Return ``x`` while training, else ``alt``.

    Symbolic tensors are chosen from when the graph runs.

    Args:
        x: a tensor, or a function without arguments that makes it.
        alt: likewise, of the same shape.
        training: whether to train; the learning phase unless given.
    """
    if isinstance(training, KerasTensor):
        return switch(training, x, alt)
    is_free = forced_learning_phase() is None and (
        training is None or isinstance(training, LearningPhase)
    )
    chosen, other = (x, alt) if (learning_phase() if is_free else training) else (alt, x)
    made = chosen() if callable(chosen) else chosen
    if not is_free or not is_symbolic(made, other):
        return made
    other = other() if callable(other) else other
    return _in_phase(made, other) if chosen is x else _in_phase(other, made)


def in_test_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """Return ``alt`` while training, else ``x``; the arguments are those of in_train_phase."""
    return in_train_phase(alt, x, training)


@operation
def _in_phase(x: Any, alt: Any) -> torch.Tensor:
    """Return the one of two tensors that the phase of this run calls for."""
    return as_tensor(x if learning_phase() else alt)


def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """Return one of two tensors, or choose between them element by element.

    Args:
        condition: a number or a tensor of rank 0, or one whose shape is the beginning of the
            others'; what is not 0 is true.
        then_expression: a tensor, or a function without arguments that makes it.
        else_expression: likewise.

    Returns:
        A tensor of the shape of the expressions.  With functions and a condition of rank 0 only the
        one that is needed is called.

    Raises:
        ValueError: when the condition has more dimensions than the expressions.
    """
    if isinstance(condition, LearningPhase):
        return in_train_phase(then_expression, else_expression, condition)
    expressions = (then_expression, else_expression)
    if not isinstance(condition, KerasTensor):
        condition = as_tensor(condition)
        if condition.dim() == 0 and any(map(callable, expressions)):
            chosen = then_expression if condition else else_expression
            return chosen() if callable(chosen) else chosen
    return _select(condition, *(made() if callable(made) else made for made in expressions))


@operation
def _select(condition: Any, then_expression: Any, else_expression: Any) -> torch.Tensor:
    """Choose between tensors by a condition that fits their first axes."""
    condition = as_tensor(condition).bool()
    first = as_tensor(then_expression)
    second = like(else_expression, first)
    if condition.dim() == 0 and first.shape != second.shape:
        return first if condition else second
    if condition.dim() > first.dim():
        raise ValueError(
            f"switch: the condition has {condition.dim()} dimensions, more than the expressions' "
            f"{first.dim()}."
        )
    missing = (1,) * (first.dim() - condition.dim())
    return torch.where(condition.reshape((*condition.shape, *missing)), first, second)


__all__ = [
    "LearningPhase",
    "follows_phase",
    "forced_learning_phase",
    "free_learning_phase",
    "in_test_phase",
    "in_train_phase",
    "learning_phase",
    "makes_updates",
    "set_learning_phase",
    "switch",
    "within",
]
