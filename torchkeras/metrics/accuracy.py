"""How often predictions are right: functions and their means."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras import config, dtypes
from torchkeras.losses.tensors import as_float, as_tensor, same_rank
from torchkeras.metrics.mean import MeanMetricWrapper
from torchkeras.registry import register


def _hits(matches: torch.Tensor) -> torch.Tensor:
    return matches.to(dtypes.to_torch(config.floatx()))


def _tensors(y_true: Any, y_pred: Any) -> tuple[torch.Tensor, torch.Tensor]:
    y_pred = as_tensor(y_pred)
    return as_tensor(y_true, device=y_pred.device), y_pred


@register("metric")
def accuracy(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return 1 where predictions equal targets.

    Args:
        y_true: targets ``(batch, …)``.
        y_pred: predictions of the same shape.

    Returns:
        Values 0 and 1, ``(batch, …)``.
    """
    y_true, y_pred = same_rank(*_tensors(y_true, y_pred))
    return _hits(y_true == y_pred)


@register("metric")
def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> torch.Tensor:
    """Return 1 where a prediction lies on the target's side of a threshold.

    Args:
        y_true: targets 0 and 1, ``(batch, …)``.
        y_pred: predictions of the same shape.
        threshold: predictions above it are taken as 1.

    Returns:
        Values 0 and 1, ``(batch, …)``.
    """
    y_true, y_pred = same_rank(*_tensors(y_true, y_pred))
    return _hits((y_pred > threshold) == y_true)


@register("metric")
def categorical_accuracy(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return 1 where the largest prediction is the target's class.

    Args:
        y_true: one-hot targets ``(batch, …, classes)``.
        y_pred: scores of the same shape.

    Returns:
        Values 0 and 1, ``(batch, …)``.
    """
    y_true, y_pred = _tensors(y_true, y_pred)
    return _hits(_largest(y_true) == _largest(y_pred))


@register("metric")
def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return 1 where the largest prediction is the target's class.

    Args:
        y_true: class numbers ``(batch, …)`` or ``(batch, …, 1)``.
        y_pred: scores ``(batch, …, classes)``.

    Returns:
        Values 0 and 1, ``(batch, …)``.
    """
    y_true, y_pred = _tensors(y_true, y_pred)
    if y_true.dim() == y_pred.dim() and y_true.shape[-1] == 1:
        y_true = y_true.squeeze(-1)
    return _hits(y_true == _largest(y_pred))


@register("metric")
def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> torch.Tensor:
    """Return 1 where the target's class is among the ``k`` largest predictions.

    Args:
        y_true: one-hot targets ``(batch, …, classes)``.
        y_pred: scores of the same shape.
        k: how many predictions count; all when there are fewer.

    Returns:
        Values 0 and 1, ``(batch, …)``.
    """
    y_true, y_pred = _tensors(y_true, y_pred)
    return _in_top(_largest(y_true), y_pred, k)


@register("metric")
def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> torch.Tensor:
    """Return 1 where the target's class is among the ``k`` largest predictions.

    Args:
        y_true: class numbers ``(batch, …)`` or ``(batch, …, 1)``.
        y_pred: scores ``(batch, …, classes)``.
        k: how many predictions count; all when there are fewer.
        from_sorted_ids: whether ``y_pred`` holds class numbers, best first, instead of scores.

    Returns:
        Values 0 and 1, ``(batch, …)``.
    """
    y_true, y_pred = _tensors(y_true, y_pred)
    if y_true.dim() == y_pred.dim() and y_true.shape[-1] == 1:
        y_true = y_true.squeeze(-1)
    if from_sorted_ids:
        return _hits((y_true.unsqueeze(-1) == y_pred[..., :k]).any(-1))
    return _in_top(y_true.long(), y_pred, k)


def _largest(scores: torch.Tensor) -> torch.Tensor:
    """Return the place of the largest score along the last axis (torch has none for bool)."""
    return (scores.to(torch.uint8) if scores.dtype is torch.bool else scores).argmax(-1)


def _in_top(labels: torch.Tensor, scores: torch.Tensor, k: int) -> torch.Tensor:
    """Return 1 where a label's score is at least the ``k``-th largest, so that ties count."""
    scores = as_float(scores)
    least = scores.topk(min(k, scores.shape[-1])).values[..., -1]
    own = scores.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return _hits(own >= least)


@register("metric", "accuracy")
class Accuracy(MeanMetricWrapper):
    """How often predictions equal targets.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "accuracy", dtype: Any = None):
        super().__init__(accuracy, name, dtype)


@register("metric", "binary_accuracy")
class BinaryAccuracy(MeanMetricWrapper):
    """How often predictions lie on the target's side of a threshold.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
        threshold: predictions above it are taken as 1.
    """

    def __init__(
        self,
        name: str | None = "binary_accuracy",
        dtype: Any = None,
        threshold: float = 0.5,
    ):
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)
        self.threshold = threshold


@register("metric", "categorical_accuracy")
class CategoricalAccuracy(MeanMetricWrapper):
    """How often the largest prediction is the class of one-hot targets.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None):
        super().__init__(categorical_accuracy, name, dtype)


@register("metric", "sparse_categorical_accuracy")
class SparseCategoricalAccuracy(MeanMetricWrapper):
    """How often the largest prediction is the class that a number names.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None):
        super().__init__(sparse_categorical_accuracy, name, dtype)


@register("metric", "top_k_categorical_accuracy")
class TopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the class of one-hot targets is among the ``k`` largest predictions.

    Args:
        k: how many predictions count.
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(
        self,
        k: int = 5,
        name: str | None = "top_k_categorical_accuracy",
        dtype: Any = None,
    ):
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)
        self.k = k


@register("metric", "sparse_top_k_categorical_accuracy")
class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the class that a number names is among the ``k`` largest predictions.

    Args:
        k: how many predictions count.
        name: what the metric is called.
        dtype: the float type of the state.
        from_sorted_ids: whether predictions are class numbers, best first, instead of scores.
    """

    config_unless = {"from_sorted_ids": False}

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ):
        super().__init__(
            sparse_top_k_categorical_accuracy, name, dtype, k=k, from_sorted_ids=from_sorted_ids
        )
        self.k = k
        self.from_sorted_ids = from_sorted_ids
