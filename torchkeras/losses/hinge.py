"""Losses of margins: targets of -1 and 1, or one-hot."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras import eras
from torchkeras.graph import records
from torchkeras.losses.loss import LossFunctionWrapper
from torchkeras.losses.tensors import pair
from torchkeras.registry import register


def _positive(x: torch.Tensor) -> torch.Tensor:
    """Return ``max(x, 0)``, with the gradient 1/2 at 0 that Keras' has."""
    return torch.maximum(x, x.new_zeros(()))


def _signs(y_true: torch.Tensor) -> torch.Tensor:
    """Turn targets that are all 0 or 1 into -1 and 1 (not asking on the host, which would wait)."""
    if not eras.value("hinge.takes_zero_one"):
        return y_true
    is_binary = (y_true * y_true == y_true).all()
    return torch.where(is_binary, 2.0 * y_true - 1.0, y_true)


def _margin(y_true: Any, y_pred: Any) -> torch.Tensor:
    y_true, y_pred = pair(y_true, y_pred)
    return _positive(1.0 - _signs(y_true) * y_pred)


@register("loss")
@records
def hinge(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return ``mean(max(1 - y_true * y_pred, 0))`` over the last axis.

    Args:
        y_true: targets -1 and 1, or 0 and 1, ``(batch, …, size)``.
        y_pred: predictions of the same shape.

    Returns:
        Values ``(batch, …)``.
    """
    return _margin(y_true, y_pred).mean(-1)


@register("loss")
@records
def squared_hinge(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return ``mean(max(1 - y_true * y_pred, 0) ** 2)`` over the last axis.

    Args:
        y_true: targets -1 and 1, or 0 and 1, ``(batch, …, size)``.
        y_pred: predictions of the same shape.

    Returns:
        Values ``(batch, …)``.
    """
    return _margin(y_true, y_pred).square().mean(-1)


# Whether the targets of a batch are 0 and 1.
hinge.asks_batch = squared_hinge.asks_batch = True


@register("loss")
@records
def categorical_hinge(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return ``max(largest wrong class' score - right class' score + 1, 0)``.

    Args:
        y_true: one-hot targets ``(batch, …, classes)``.
        y_pred: scores of the same shape.

    Returns:
        Values ``(batch, …)``.
    """
    y_true, y_pred = pair(y_true, y_pred)
    right = (y_true * y_pred).sum(-1)
    wrong = ((1.0 - y_true) * y_pred).amax(-1)
    return _positive(wrong - right + 1.0)


@register("loss")
class Hinge(LossFunctionWrapper):
    """Hinge loss of targets -1 and 1; arguments as for :class:`~torchkeras.losses.Loss`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "hinge",
        dtype: Any = None,
    ):
        super().__init__(hinge, reduction, name, dtype)


@register("loss")
class SquaredHinge(LossFunctionWrapper):
    """Squared hinge loss of targets -1 and 1; arguments as for :class:`~torchkeras.losses.Loss`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "squared_hinge",
        dtype: Any = None,
    ):
        super().__init__(squared_hinge, reduction, name, dtype)


@register("loss")
class CategoricalHinge(LossFunctionWrapper):
    """Hinge loss of one-hot targets; arguments as for :class:`~torchkeras.losses.Loss`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_hinge",
        dtype: Any = None,
    ):
        super().__init__(categorical_hinge, reduction, name, dtype)
