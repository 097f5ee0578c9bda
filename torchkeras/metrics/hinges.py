"""Margin losses, kept over batches."""

from __future__ import annotations

from typing import Any

from torchkeras.losses.hinge import categorical_hinge, hinge, squared_hinge
from torchkeras.metrics.mean import MeanMetricWrapper
from torchkeras.registry import register


@register("metric")
class Hinge(MeanMetricWrapper):
    """Mean hinge loss of targets -1 and 1, or 0 and 1.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "hinge", dtype: Any = None):
        super().__init__(hinge, name, dtype)


@register("metric")
class SquaredHinge(MeanMetricWrapper):
    """Mean squared hinge loss of targets -1 and 1, or 0 and 1.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "squared_hinge", dtype: Any = None):
        super().__init__(squared_hinge, name, dtype)


@register("metric")
class CategoricalHinge(MeanMetricWrapper):
    """Mean hinge loss of one-hot targets.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "categorical_hinge", dtype: Any = None):
        super().__init__(categorical_hinge, name, dtype)
