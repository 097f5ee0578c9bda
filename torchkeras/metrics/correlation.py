"""How targets and predictions go together along an axis."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras import config
from torchkeras.losses.tensors import pair
from torchkeras.metrics.mean import MeanMetricWrapper
from torchkeras.registry import register


@register("metric")
def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> torch.Tensor:
    """Return Pearson's correlation of targets and predictions.

    Args:
        y_true: targets ``(batch, …, size)``.
        y_pred: predictions of the same shape.
        axis: along which they are compared.

    Returns:
        Values from -1 to 1, ``(batch, …)``; NaN where all targets or all predictions are equal.
    """
    scaled = []
    for values in pair(y_true, y_pred):
        centred = values - values.mean(axis, keepdim=True)
        scaled.append(centred / centred.std(axis, correction=0, keepdim=True))
    return (scaled[0] * scaled[1]).mean(axis)


@register("metric")
def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> torch.Tensor:
    """Return Lin's correlation, 1 only where predictions equal targets.

    ``2 covariance / (both variances + (difference of the means)²)`` (Lin 1989, A Concordance
    Correlation Coefficient to Evaluate Reproducibility).

    Args:
        y_true: targets ``(batch, …, size)``.
        y_pred: predictions of the same shape.
        axis: along which they are compared.

    Returns:
        Values from -1 to 1, ``(batch, …)``.
    """
    y_true, y_pred = pair(y_true, y_pred)
    true_mean, pred_mean = (values.mean(axis, keepdim=True) for values in (y_true, y_pred))
    variances = (values.var(axis, correction=0, keepdim=True) for values in (y_true, y_pred))
    # Which mean the targets are measured from does not matter to the covariance.
    covariance = (y_true - true_mean) * (y_pred - pred_mean)
    scale = sum(variances) + (true_mean - pred_mean).square() + config.epsilon()
    return (2 * covariance / scale).mean(axis)


@register("metric", "pearson_correlation")
class PearsonCorrelation(MeanMetricWrapper):
    """Mean of Pearson's correlation within samples.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
        axis: along which targets and predictions are compared; 0 compares a batch's samples.
    """

    def __init__(self, name: str | None = "pearson_correlation", dtype: Any = None, axis: int = -1):
        super().__init__(pearson_correlation, name, dtype, axis=axis)
        self.axis = axis


@register("metric", "concordance_correlation")
class ConcordanceCorrelation(MeanMetricWrapper):
    """Mean of Lin's correlation within samples; arguments as for :class:`PearsonCorrelation`."""

    def __init__(
        self, name: str | None = "concordance_correlation", dtype: Any = None, axis: int = -1
    ):
        super().__init__(concordance_correlation, name, dtype, axis=axis)
        self.axis = axis
