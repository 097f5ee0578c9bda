"""Errors of numbers, kept over batches."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.losses.regression import (
    cosine,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)
from torchkeras.losses.tensors import as_tensor, same_rank
from torchkeras.metrics.mean import Mean, MeanMetricWrapper
from torchkeras.registry import register


@register("metric")
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> torch.Tensor:
    """Return the cosine of the angle between targets and predictions.

    Args:
        y_true: targets ``(batch, …, size)``.
        y_pred: predictions of the same shape.
        axis: along which the vectors lie.

    Returns:
        Values from -1 to 1 (same direction), ``(batch, …)``.
    """
    return cosine(y_true, y_pred, axis)


@register("metric", "mse", "MSE")
class MeanSquaredError(MeanMetricWrapper):
    """Mean of the squared errors.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None):
        super().__init__(mean_squared_error, name, dtype)


@register("metric", "rmse", "RMSE")
class RootMeanSquaredError(Mean):
    """Root of the mean of the squared errors.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None):
        super().__init__(name, dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Args:
            y_true: targets ``(batch, …)``.
            y_pred: predictions ``(batch, …)``.
            sample_weight: one weight a sample ``(batch,)``, or one an error ``(batch, …)``.
        """
        y_true = as_tensor(y_true, self._dtype, self._device)
        y_true, y_pred = same_rank(y_true, as_tensor(y_pred, self._dtype, self._device))
        super().update_state((y_pred - y_true).square(), sample_weight)

    def result(self) -> torch.Tensor:
        """Return the root of the mean."""
        return super().result().sqrt()


@register("metric", "mae", "MAE")
class MeanAbsoluteError(MeanMetricWrapper):
    """Mean of the absolute errors.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "mean_absolute_error", dtype: Any = None):
        super().__init__(mean_absolute_error, name, dtype)


@register("metric", "mape", "MAPE")
class MeanAbsolutePercentageError(MeanMetricWrapper):
    """Mean of the relative errors, in percent.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "mean_absolute_percentage_error", dtype: Any = None):
        super().__init__(mean_absolute_percentage_error, name, dtype)


@register("metric", "msle", "MSLE")
class MeanSquaredLogarithmicError(MeanMetricWrapper):
    """Mean of the squared errors of the logarithms.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None):
        super().__init__(mean_squared_logarithmic_error, name, dtype)


@register("metric", "cosine_similarity", "cosine_proximity", "cosine")
class CosineSimilarity(MeanMetricWrapper):
    """Mean cosine of the angle between targets and predictions.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
        axis: along which the vectors lie.
    """

    config_unless = {"axis": -1}

    def __init__(self, name: str | None = "cosine_similarity", dtype: Any = None, axis: int = -1):
        super().__init__(cosine_similarity, name, dtype, axis=axis)
        self.axis = axis


@register("metric", "log_cosh", "logcosh")
class LogCoshError(MeanMetricWrapper):
    """Mean logarithm of the errors' hyperbolic cosine.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "logcosh", dtype: Any = None):
        super().__init__(log_cosh, name, dtype)
