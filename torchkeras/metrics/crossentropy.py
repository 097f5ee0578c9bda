"""Crossentropies and other losses of distributions, kept over batches."""

from __future__ import annotations

from typing import Any

from torchkeras.losses.crossentropy import (
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)
from torchkeras.losses.divergence import kl_divergence, poisson
from torchkeras.metrics.mean import MeanMetricWrapper
from torchkeras.registry import register


@register("metric", "kld", "KLD", "kullback_leibler_divergence")
class KLDivergence(MeanMetricWrapper):
    """Mean Kullback-Leibler divergence.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "kl_divergence", dtype: Any = None):
        super().__init__(kl_divergence, name, dtype)


@register("metric")
class Poisson(MeanMetricWrapper):
    """Mean negative logarithmic likelihood of counts.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "poisson", dtype: Any = None):
        super().__init__(poisson, name, dtype)


@register("metric", "bce", "BCE")
class BinaryCrossentropy(MeanMetricWrapper):
    """Mean crossentropy of targets 0 and 1.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
        from_logits: whether predictions are what a sigmoid would make probabilities of.
        label_smoothing: from 0 to 1; how far targets move towards 1/2.
    """

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ):
        super().__init__(
            binary_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
        )
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing


@register("metric")
class CategoricalCrossentropy(MeanMetricWrapper):
    """Mean crossentropy of one-hot targets.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
        from_logits: whether predictions are what a softmax would make probabilities of.
        label_smoothing: from 0 to 1; how far targets move towards 1 / classes.
        axis: where the classes lie.
    """

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ):
        super().__init__(
            categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


@register("metric")
class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """Mean crossentropy of class numbers.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
        from_logits: whether predictions are what a softmax would make probabilities of.
        ignore_class: a class number whose samples count 0.
        axis: where the classes lie.
    """

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ):
        super().__init__(
            sparse_categorical_crossentropy,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = axis
