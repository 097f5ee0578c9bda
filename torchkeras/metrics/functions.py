"""The functions behind the metrics, giving what they gave in the era to whoever calls them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from torchkeras import eras, losses
from torchkeras.graph import records
from torchkeras.metrics import accuracy as accuracies, correlation, regression
from torchkeras.registry import register


def by_era(function: Callable, averaged: str | None = None) -> Callable:
    """Make a function give one number for a batch in Keras 1, as all metric functions did there.

    Metrics themselves take ``per_sample``, the function that stands behind.

    Args:
        function: ``function(y_true, y_pred, …)`` giving one value a sample, ``(batch, …)``.
        averaged: the row of the eras in which the values were averaged over their last axis.
    """

    @records
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> torch.Tensor:
        values = function(*args, **kwargs)
        if eras.value("metrics.are_numbers"):
            return values.mean()
        return values.mean(-1) if averaged and eras.value(averaged) else values

    call.per_sample = function
    call.__module__ = __name__  # where pickle finds it
    return register("metric", named=False)(call)


accuracy = by_era(accuracies.accuracy)
binary_accuracy = by_era(accuracies.binary_accuracy, "binary_accuracy.is_mean")
categorical_accuracy = by_era(accuracies.categorical_accuracy)
sparse_categorical_accuracy = by_era(accuracies.sparse_categorical_accuracy)
top_k_categorical_accuracy = by_era(
    accuracies.top_k_categorical_accuracy, "top_k_categorical_accuracy.is_mean"
)
sparse_top_k_categorical_accuracy = by_era(
    accuracies.sparse_top_k_categorical_accuracy, "top_k_categorical_accuracy.is_mean"
)
binary_crossentropy = by_era(losses.binary_crossentropy)
binary_focal_crossentropy = by_era(losses.binary_focal_crossentropy)
categorical_crossentropy = by_era(losses.categorical_crossentropy)
categorical_focal_crossentropy = by_era(losses.categorical_focal_crossentropy)
categorical_hinge = by_era(losses.categorical_hinge)
concordance_correlation = by_era(correlation.concordance_correlation)
hinge = by_era(losses.hinge)
huber = by_era(losses.huber)
kl_divergence = by_era(losses.kl_divergence)
log_cosh = by_era(losses.log_cosh)
mean_absolute_error = by_era(losses.mean_absolute_error)
mean_absolute_percentage_error = by_era(losses.mean_absolute_percentage_error)
mean_squared_error = by_era(losses.mean_squared_error)
mean_squared_logarithmic_error = by_era(losses.mean_squared_logarithmic_error)
pearson_correlation = by_era(correlation.pearson_correlation)
poisson = by_era(losses.poisson)
sparse_categorical_crossentropy = by_era(losses.sparse_categorical_crossentropy)
squared_hinge = by_era(losses.squared_hinge)
cosine_similarity = by_era(regression.cosine_similarity)


@records
def cosine_proximity(y_true: Any, y_pred: Any, axis: int = -1) -> torch.Tensor:
    """Return the cosine of the angle between targets and predictions; before 2.3 the loss.

    Args:
        y_true: targets ``(batch, …, size)``.
        y_pred: predictions of the same shape.
        axis: along which the vectors lie.
    """
    if not eras.value("history.function_names"):
        return cosine_similarity(y_true, y_pred, axis)
    values = losses.cosine_proximity(y_true, y_pred, axis)
    return values.mean() if eras.value("metrics.are_numbers") else values
