"""Losses of numbers: squared, absolute, relative and logarithmic errors, and the angle."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as F

from torchkeras import config, eras
from torchkeras.graph import records
from torchkeras.losses.loss import LossFunctionWrapper
from torchkeras.losses.tensors import pair, same_rank
from torchkeras.registry import register

# What torch.nn.functional calls, without the 3 µs of Python around it.
_nn = torch._C._nn
_MEAN = 1


@register("loss", "mse", "MSE")
@records
def mean_squared_error(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return ``mean((y_true - y_pred) ** 2)`` over the last axis.

    Args:
        y_true: targets ``(batch, …, size)``.
        y_pred: predictions of the same shape.

    Returns:
        Values ``(batch, …)``.
    """
    y_true, y_pred = pair(y_true, y_pred)
    return torch.square(y_true - y_pred).mean(-1)


@register("loss", "mae", "MAE")
@records
def mean_absolute_error(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return ``mean(|y_true - y_pred|)`` over the last axis.

    Args:
        y_true: targets ``(batch, …, size)``.
        y_pred: predictions of the same shape.

    Returns:
        Values ``(batch, …)``.
    """
    y_true, y_pred = pair(y_true, y_pred)
    return torch.abs(y_true - y_pred).mean(-1)


@register("loss", "mape", "MAPE")
@records
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return ``100 mean(|y_true - y_pred| / max(|y_true|, epsilon))`` over the last axis.

    Args:
        y_true: targets ``(batch, …, size)``.
        y_pred: predictions of the same shape.

    Returns:
        Values ``(batch, …)``.
    """
    y_true, y_pred = pair(y_true, y_pred)
    scale = y_true.abs().clamp(min=config.epsilon())
    return 100.0 * torch.abs((y_true - y_pred) / scale).mean(-1)


@register("loss", "msle", "MSLE")
@records
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return ``mean((log(y_true + 1) - log(y_pred + 1)) ** 2)`` over the last axis.

    Args:
        y_true: targets ``(batch, …, size)``; values below epsilon count as epsilon.
        y_pred: predictions of the same shape, likewise.

    Returns:
        Values ``(batch, …)``.
    """
    y_true, y_pred = pair(y_true, y_pred)
    epsilon = config.epsilon()
    difference = (y_pred.clamp(min=epsilon) + 1).log() - (y_true.clamp(min=epsilon) + 1).log()
    return difference.square().mean(-1)


@register("loss", "huber_loss")
@records
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> torch.Tensor:
    """Return the mean of ``e² / 2`` for small errors, of ``delta |e| - delta² / 2`` for others.

    Args:
        y_true: targets ``(batch, …, size)``.
        y_pred: predictions of the same shape.
        delta: the absolute error from which on the loss grows linearly.

    Returns:
        Values ``(batch, …)``.
    """
    y_true, y_pred = pair(y_true, y_pred)
    error = y_pred - y_true
    size = error.abs()
    linear = delta * size - 0.5 * delta**2
    return torch.where(size <= delta, 0.5 * error.square(), linear).mean(-1)


@register("loss", "logcosh")
@records
def log_cosh(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return ``mean(log(cosh(y_pred - y_true)))`` over the last axis, without overflow.

    Args:
        y_true: targets ``(batch, …, size)``.
        y_pred: predictions of the same shape.

    Returns:
        Values ``(batch, …)``.
    """
    y_true, y_pred = pair(y_true, y_pred)
    error = y_pred - y_true
    return (error + F.softplus(-2.0 * error) - math.log(2.0)).mean(-1)


def cosine(y_true: Any, y_pred: Any, axis: int) -> torch.Tensor:
    """Return the cosine of the angle between targets and predictions, 0 where one is a zero vector.

    Args:
        y_true: targets ``(batch, …, size)``.
        y_pred: predictions of the same shape.
        axis: along which the vectors lie.

    Returns:
        Values from -1 to 1, ``(batch, …)``.
    """
    return _cosine_terms(y_true, y_pred, axis).sum(axis)


def _cosine_terms(y_true: Any, y_pred: Any, axis: int) -> torch.Tensor:
    y_true, y_pred = pair(y_true, y_pred)
    epsilon = config.epsilon()
    return F.normalize(y_true, dim=axis, eps=epsilon) * F.normalize(y_pred, dim=axis, eps=epsilon)


@register("loss")
@records
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> torch.Tensor:
    """Return minus the cosine of the angle between targets and predictions.

    Args:
        y_true: targets ``(batch, …, size)``.
        y_pred: predictions of the same shape.
        axis: along which the vectors lie.

    Returns:
        Values from -1 (same direction) to 1, ``(batch, …)``.
    """
    return -cosine(y_true, y_pred, axis)


@register("loss", "cosine")
@records
def cosine_proximity(y_true: Any, y_pred: Any, axis: int = -1) -> torch.Tensor:
    """Return what Keras 1 and 2 called so: :func:`cosine_similarity`, first divided by the size.

    Args:
        y_true: targets ``(batch, …, size)``.
        y_pred: predictions of the same shape.
        axis: along which the vectors lie.

    Returns:
        Values ``(batch, …)``.
    """
    terms = _cosine_terms(y_true, y_pred, axis)
    return -(terms.mean(axis) if eras.value("cosine_proximity.is_mean") else terms.sum(axis))


@register("loss")
class MeanSquaredError(LossFunctionWrapper):
    """Mean of the squared errors; arguments as for :class:`~torchkeras.losses.Loss`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_error",
        dtype: Any = None,
    ):
        super().__init__(mean_squared_error, reduction, name, dtype)

    def batch_mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor | None:
        """Return the mean of a batch by torch's fused loss."""
        y_true, y_pred = same_rank(y_true, y_pred)
        if y_true.shape == y_pred.shape and y_pred.numel():
            return _nn.mse_loss(y_pred, y_true, _MEAN)
        return None


@register("loss")
class MeanAbsoluteError(LossFunctionWrapper):
    """Mean of the absolute errors; arguments as for :class:`~torchkeras.losses.Loss`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_absolute_error",
        dtype: Any = None,
    ):
        super().__init__(mean_absolute_error, reduction, name, dtype)

    def batch_mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor | None:
        """Return the mean of a batch by torch's fused loss."""
        y_true, y_pred = same_rank(y_true, y_pred)
        if y_true.shape == y_pred.shape and y_pred.numel():
            return _nn.l1_loss(y_pred, y_true, _MEAN)
        return None


@register("loss")
class MeanAbsolutePercentageError(LossFunctionWrapper):
    """Mean of the relative errors in percent; arguments as for :class:`~torchkeras.losses.Loss`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_absolute_percentage_error",
        dtype: Any = None,
    ):
        super().__init__(mean_absolute_percentage_error, reduction, name, dtype)


@register("loss")
class MeanSquaredLogarithmicError(LossFunctionWrapper):
    """Mean squared error of logarithms; arguments as for :class:`~torchkeras.losses.Loss`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "mean_squared_logarithmic_error",
        dtype: Any = None,
    ):
        super().__init__(mean_squared_logarithmic_error, reduction, name, dtype)


@register("loss")
class Huber(LossFunctionWrapper):
    """Squared for small errors, linear for large ones.

    Args:
        delta: the absolute error from which on the loss grows linearly.
        reduction: as for :class:`~torchkeras.losses.Loss`.
        name: likewise.
        dtype: likewise.
    """

    config_unless = {"delta": 1.0}

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ):
        super().__init__(huber, reduction, name, dtype, delta=delta)
        self.delta = delta

    def batch_mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor | None:
        """Return the mean of a batch by torch's fused loss."""
        y_true, y_pred = same_rank(y_true, y_pred)
        if y_true.shape == y_pred.shape and y_pred.numel() and self.delta > 0:
            return _nn.huber_loss(y_pred, y_true, _MEAN, self.delta)
        return None


@register("loss")
class LogCosh(LossFunctionWrapper):
    """Log of the errors' hyperbolic cosine; arguments as for :class:`~torchkeras.losses.Loss`."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "log_cosh",
        dtype: Any = None,
    ):
        super().__init__(log_cosh, reduction, name, dtype)


@register("loss")
class CosineSimilarity(LossFunctionWrapper):
    """Minus the cosine of the angle between targets and predictions.

    Args:
        axis: along which the vectors lie.
        reduction: as for :class:`~torchkeras.losses.Loss`.
        name: likewise.
        dtype: likewise.
    """

    config_unless = {"axis": -1}

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cosine_similarity",
        dtype: Any = None,
    ):
        super().__init__(cosine_similarity, reduction, name, dtype, axis=axis)
        self.axis = axis
