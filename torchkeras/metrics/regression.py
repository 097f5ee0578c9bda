"""Errors of numbers, kept over batches."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.losses.reduction import divide_no_nan
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
from torchkeras.metrics.metric import Metric
from torchkeras.registry import register
from torchkeras.warn import warn_user


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
        y_true = as_tensor(y_true, self._torch_dtype, self._device)
        y_true, y_pred = same_rank(y_true, as_tensor(y_pred, self._torch_dtype, self._device))
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


@register("metric")
class MeanRelativeError(Mean):
    """Mean of the absolute errors, each divided by a number (tf.keras 2).

    Args:
        normalizer: the numbers, shaped like predictions; 0 makes an error 0.
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, normalizer: Any, name: str | None = None, dtype: Any = None):
        super().__init__(name or "mean_relative_error", dtype)
        self.normalizer = as_tensor(normalizer, self._torch_dtype, self._device)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Args:
            y_true: targets ``(batch, …)``.
            y_pred: predictions ``(batch, …)``.
            sample_weight: one weight a sample ``(batch,)``, or one an error ``(batch, …)``.
        """
        y_true = as_tensor(y_true, self._torch_dtype, self._device)
        y_true, y_pred = same_rank(y_true, as_tensor(y_pred, self._torch_dtype, self._device))
        self.normalizer = self.normalizer.to(y_pred.device)
        errors, scale = (y_true - y_pred).abs(), self.normalizer.expand_as(y_pred)
        super().update_state(divide_no_nan(errors, scale), sample_weight)

    @property
    def deferrable(self) -> bool:
        """False: the numbers may be those of each sample in a batch."""
        return False

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        config = super().get_config()
        own = {} if "_captured" in vars(self) else {"normalizer": self.normalizer.tolist()}
        return config | own


_AVERAGES = (None, "uniform_average", "variance_weighted_average")


@register("metric")
class R2Score(Metric):
    """Share of the targets' variance that predictions explain: ``1 - residual / total``.

    Args:
        class_aggregation: ``'uniform_average'``: mean of the outputs' scores;
            ``'variance_weighted_average'``: weighted by their targets' variance; ``None``: one
            score an output.
        num_regressors: how many inputs the score is adjusted for; 0 leaves it as it is.
        name: what the metric is called.
        dtype: the float type of the state.

    Raises:
        ValueError: for an unknown aggregation or a negative number of inputs.
    """

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ):
        super().__init__(dtype, name)
        if class_aggregation not in _AVERAGES:
            raise ValueError(
                f"Invalid value for argument `class_aggregation`. Expected one of {_AVERAGES}. "
                f"Received: class_aggregation={class_aggregation}"
            )
        if num_regressors < 0:
            raise ValueError(
                "Invalid value for argument `num_regressors`. Expected a value >= 0. Received: "
                f"num_regressors={num_regressors}"
            )
        self.class_aggregation = class_aggregation
        self.num_regressors = num_regressors
        self.num_samples = self.add_variable((), "zeros", name="num_samples")
        self._sums: list[Any] = []

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Args:
            y_true: targets ``(batch, outputs)``.
            y_pred: predictions of the same shape.
            sample_weight: one weight a sample ``(batch,)``, or one a target.

        Raises:
            ValueError: when targets or predictions have another rank.
        """
        y_pred = as_tensor(y_pred, self._torch_dtype, self._device)
        y_true, y_pred = same_rank(as_tensor(y_true, self._torch_dtype, self._device), y_pred)
        if y_pred.dim() != 2 or y_true.dim() != 2:
            raise ValueError(
                "R2Score expects 2D inputs with shape (batch_size, output_dim). Received input "
                f"shapes: y_pred.shape={tuple(y_pred.shape)} and "
                f"y_true.shape={tuple(y_true.shape)}."
            )
        if not self._sums:
            names = {"squared_sum": "squared_sum", "sum": "sum"}
            names |= {"total_mse": "residual", "count": "count"}
            for attribute, name in names.items():
                setattr(self, attribute, self.add_variable(y_pred.shape[1:], "zeros", name=name))
            self._sums = [getattr(self, attribute) for attribute in names]
        weight = torch.ones_like(y_true)
        if sample_weight is not None:
            weight = as_tensor(sample_weight, self._torch_dtype, self._device)
            weight = (weight.unsqueeze(1) if weight.dim() == 1 else weight).expand_as(y_true)
        weighted = y_true * weight
        terms = (y_true * weighted, weighted, (y_true - y_pred).square() * weight, weight)
        for variable, term in zip(self._sums, terms, strict=True):
            variable.assign_add(term.sum(0))
        self.num_samples.assign_add(y_true.numel())

    def result(self) -> torch.Tensor:
        """Return the score, ``(outputs,)`` without an aggregation; 0 before the first update.

        A score adjusted for at least as many inputs as there are samples stays as it is, with a
        warning.
        """
        if not self._sums:
            return torch.zeros((), dtype=self._torch_dtype, device=self._device)
        squared, summed, residual, number = (variable.value for variable in self._sums)
        total = squared - summed * (summed / number)
        scores = 1 - residual / total
        scores = torch.where(scores.isinf(), 0.0, scores)
        if self.class_aggregation == "uniform_average":
            scores = scores.mean()
        elif self.class_aggregation is not None:
            scores = (total * scores).sum() / total.sum()
        if not self.num_regressors:
            return scores
        samples = self.num_samples.value
        freedom = samples - self.num_regressors - 1
        if freedom <= 0:
            warn_user(
                "More independent predictors than datapoints in adjusted R2 score. Falling back to "
                "standard R2 score."
                if freedom < 0
                else "Division by zero in Adjusted R2 score. Falling back to standard R2 score."
            )
            return scores
        return 1 - (1 - scores) * (samples - 1) / freedom
