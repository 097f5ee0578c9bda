"""Losses of distributions: Kullback-Leibler, and counts under Poisson's."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras import config
from torchkeras.graph import records
from torchkeras.losses.loss import LossFunctionWrapper
from torchkeras.losses.tensors import pair
from torchkeras.registry import register


@register("loss", "kld", "KLD", "kullback_leibler_divergence")
@records
def kl_divergence(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return ``sum(y_true * log(y_true / y_pred))`` over the last axis, clipped to [epsilon, 1].

    Args:
        y_true: target distributions ``(batch, …, classes)``.
        y_pred: predicted distributions of the same shape.

    Returns:
        Values in nats, ``(batch, …)``.
    """
    y_true, y_pred = pair(y_true, y_pred)
    y_true, y_pred = y_true.clamp(config.epsilon(), 1), y_pred.clamp(config.epsilon(), 1)
    return (y_true * (y_true / y_pred).log()).sum(-1)


@register("loss")
@records
def poisson(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return ``mean(y_pred - y_true * log(y_pred + epsilon))`` over the last axis.

    Args:
        y_true: counts ``(batch, …, size)``.
        y_pred: predicted rates of the same shape.

    Returns:
        Values ``(batch, …)``.
    """
    y_true, y_pred = pair(y_true, y_pred)
    return (y_pred - y_true * (y_pred + config.epsilon()).log()).mean(-1)


@register("loss")
class KLDivergence(LossFunctionWrapper):
    """Kullback-Leibler divergence; arguments as for :class:`~torchkeras.losses.Loss`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "kl_divergence",
        dtype: Any = None,
    ):
        super().__init__(kl_divergence, reduction, name, dtype)


@register("loss")
class Poisson(LossFunctionWrapper):
    """Negative log-likelihood of counts; arguments as for :class:`~torchkeras.losses.Loss`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "poisson",
        dtype: Any = None,
    ):
        super().__init__(poisson, reduction, name, dtype)
