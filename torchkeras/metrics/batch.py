"""Metric functions of a whole batch, which Keras 1 had: one number each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from torchkeras import config
from torchkeras.losses.tensors import pair
from torchkeras.registry import register

# What a name means in Keras 1.
BY_NAME: dict[str, Callable] = {}


def _ones(values: torch.Tensor) -> torch.Tensor:
    """Return 1 for what is nearer to 1 or above, else 0."""
    return values.clamp(0, 1).round()


def _named(*aliases: str) -> Callable[[Callable], Callable]:
    """Make a function one of those that a name means in Keras 1."""

    def add(function: Callable) -> Callable:
        BY_NAME.update(dict.fromkeys((function.__name__, *aliases), function))
        function.asks_batch = True
        return register("metric", named=False)(function)

    return add


@_named()
def matthews_correlation(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return Matthews' correlation of decisions with targets, from -1 to 1.

    Args:
        y_true: targets 0 and 1, ``(batch, …)``.
        y_pred: predictions of the same shape, taken as 1 above 1/2.

    Returns:
        A scalar.
    """
    y_true, y_pred = map(_ones, pair(y_true, y_pred))
    hits, wrong = (y_true * y_pred).sum(), ((1 - y_true) * y_pred).sum()
    missed, right = (y_true * (1 - y_pred)).sum(), ((1 - y_true) * (1 - y_pred)).sum()
    scale = (hits + wrong) * (hits + missed) * (right + wrong) * (right + missed)
    return (hits * right - wrong * missed) / (scale.sqrt() + config.epsilon())


@_named()
def precision(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return how many of those taken as 1 are 1.

    Args:
        y_true: targets 0 and 1, ``(batch, …)``.
        y_pred: predictions of the same shape, taken as 1 above 1/2.

    Returns:
        A scalar from 0 to 1.
    """
    y_true, y_pred = pair(y_true, y_pred)
    return _ones(y_true * y_pred).sum() / (_ones(y_pred).sum() + config.epsilon())


@_named()
def recall(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return how many of those that are 1 are taken as 1.

    Args:
        y_true: targets 0 and 1, ``(batch, …)``.
        y_pred: predictions of the same shape, taken as 1 above 1/2.

    Returns:
        A scalar from 0 to 1.
    """
    y_true, y_pred = pair(y_true, y_pred)
    return _ones(y_true * y_pred).sum() / (_ones(y_true).sum() + config.epsilon())


@_named()
def fbeta_score(y_true: Any, y_pred: Any, beta: float = 1) -> torch.Tensor:
    """Return ``(1 + beta²) precision recall / (beta² precision + recall)``, 0 without targets of 1.

    Args:
        y_true: targets 0 and 1, ``(batch, …)``.
        y_pred: predictions of the same shape, taken as 1 above 1/2.
        beta: how many times recall counts as much as precision.

    Returns:
        A scalar from 0 to 1.

    Raises:
        ValueError: for a negative ``beta``.
    """
    if beta < 0:
        raise ValueError(f"beta must be at least 0, which is precision alone; received {beta}.")
    first, second = precision(y_true, y_pred), recall(y_true, y_pred)
    return (1 + beta**2) * first * second / (beta**2 * first + second + config.epsilon())


@_named("fscore", "f1score")
def fmeasure(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return the harmonic mean of precision and recall.

    Args:
        y_true: targets 0 and 1, ``(batch, …)``.
        y_pred: predictions of the same shape, taken as 1 above 1/2.

    Returns:
        A scalar from 0 to 1.
    """
    return fbeta_score(y_true, y_pred, beta=1)
