"""Losses of areas: how little targets and predictions overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from torchkeras import config
from torchkeras.graph import records
from torchkeras.losses.loss import LossFunctionWrapper
from torchkeras.losses.tensors import pair
from torchkeras.registry import register

Axis = int | Sequence[int] | None


@register("loss")
@records
def dice(y_true: Any, y_pred: Any, axis: Axis = None) -> torch.Tensor:
    """Return ``1 - 2 sum(y_true y_pred) / (sum(y_true) + sum(y_pred))``.

    Args:
        y_true: targets from 0 to 1, ``(batch, …)``.
        y_pred: predictions of the same shape.
        axis: the axes of the sums; all unless given.

    Returns:
        Values from 0 to 1, of the shape that the sums leave.
    """
    y_true, y_pred = pair(y_true, y_pred)
    both = (y_true * y_pred).sum(axis)
    return 1 - 2 * both / (y_true.sum(axis) + y_pred.sum(axis) + config.epsilon())


@register("loss")
@records
def tversky(
    y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Axis = None
) -> torch.Tensor:
    """Return ``1 - both / (both + alpha missed + beta wrong)``, each a sum.

    (Salehi et al. 2017, Tversky Loss Function for Image Segmentation.)

    Args:
        y_true: targets from 0 to 1, ``(batch, …)``.
        y_pred: predictions of the same shape.
        alpha: weight of what only targets have; Keras says that of wrong predictions.
        beta: weight of what only predictions have; Keras says that of missed targets.
        axis: the axes of the sums; all unless given.

    Returns:
        Values from 0 to 1, of the shape that the sums leave.
    """
    y_true, y_pred = pair(y_true, y_pred)
    both = (y_true * y_pred).sum(axis)
    missed, wrong = (y_true * (1 - y_pred)).sum(axis), ((1 - y_true) * y_pred).sum(axis)
    return 1 - both / (both + alpha * missed + beta * wrong + config.epsilon())


dice.asks_batch = tversky.asks_batch = True


@register("loss")
class Dice(LossFunctionWrapper):
    """Share of targets and predictions that do not overlap.

    Args:
        reduction: as for :class:`~torchkeras.losses.Loss`.
        name: likewise.
        axis: the axes that an area has; all, the batch too, unless given.
        dtype: as for :class:`~torchkeras.losses.Loss`.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        axis: Axis = None,
        dtype: Any = None,
    ):
        super().__init__(dice, reduction, name, dtype, axis=axis)
        self.axis = axis


@register("loss")
class Tversky(LossFunctionWrapper):
    """Share of targets and predictions that do not overlap, missed and wrong parts weighted.

    Args:
        alpha: weight of what only targets have.
        beta: weight of what only predictions have.
        reduction: as for :class:`~torchkeras.losses.Loss`.
        name: likewise.
        axis: the axes that an area has; all, the batch too, unless given.
        dtype: as for :class:`~torchkeras.losses.Loss`.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        axis: Axis = None,
        dtype: Any = None,
    ):
        super().__init__(tversky, reduction, name, dtype, alpha=alpha, beta=beta, axis=axis)
        self.alpha = alpha
        self.beta = beta
        self.axis = axis
