"""F scores: the weighted harmonic mean of precision and recall."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras import config
from torchkeras.losses.tensors import as_tensor
from torchkeras.metrics.metric import Metric
from torchkeras.registry import register

_STATE = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")
# A largest prediction below it chooses no class.
_NOTHING = 1e-9


@register("metric")
class FBetaScore(Metric):
    """``(1 + beta²) precision recall / (beta² precision + recall)`` of one-hot targets.

    Args:
        average: ``'micro'``: of all classes' decisions together; ``'macro'``: the classes' mean;
            ``'weighted'``: their mean weighted by how often each is the target; ``None``: one score
            a class.
        beta: how many times recall counts as much as precision.
        threshold: predictions above it choose their class; unless given, each sample's largest.
        name: what the metric is called.
        dtype: the float type of the state.

    Raises:
        ValueError: for an unknown average, a ``beta`` that is no positive float, or a threshold
            that is no float above 0 and up to 1.
    """

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ):
        super().__init__(dtype, name)
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(
                "Invalid `average` argument value. Expected one of: None, 'micro', 'macro', "
                f"'weighted'. Received: average={average!r}"
            )
        if not isinstance(beta, float):
            raise ValueError(
                "Invalid `beta` argument value. It should be a Python float. Received: "
                f"beta={beta!r} of type {type(beta).__name__}"
            )
        if beta <= 0:
            raise ValueError(
                f"Invalid `beta` argument value. It should be > 0. Received: beta={beta}"
            )
        if threshold is not None and not isinstance(threshold, float):
            raise ValueError(
                "Invalid `threshold` argument value. It should be a Python float. Received: "
                f"threshold={threshold!r} of type {type(threshold).__name__}"
            )
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(
                "Invalid `threshold` argument value. It should verify 0 < threshold <= 1. "
                f"Received: threshold={threshold}"
            )
        self.average = average
        self.beta = beta
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Args:
            y_true: targets 0 and 1, ``(batch, classes)``.
            y_pred: predictions of the same shape.
            sample_weight: one weight a sample ``(batch,)``.

        Raises:
            ValueError: when targets or predictions have another rank.
        """
        y_pred = as_tensor(y_pred, self._torch_dtype, self._device)
        y_true = as_tensor(y_true, self._torch_dtype, self._device)
        if y_pred.dim() != 2 or y_true.dim() != 2:
            raise ValueError(
                f"{type(self).__name__} expects 2D inputs with shape (batch_size, output_dim). "
                f"Received input shapes: y_pred.shape={tuple(y_pred.shape)} and "
                f"y_true.shape={tuple(y_true.shape)}."
            )
        if not self._variables:
            shape = () if self.average == "micro" else y_pred.shape[1:]
            for name in _STATE:
                setattr(self, name, self.add_variable(shape, "zeros", self.dtype, name=name))
        if self.threshold is None:
            largest = y_pred.amax(-1, keepdim=True)
            chosen = (y_pred >= largest) & (y_pred.abs() > _NOTHING)
        else:
            chosen = y_pred > self.threshold
        chosen = chosen.to(self._torch_dtype)
        terms = (chosen * y_true, chosen * (1 - y_true), (1 - chosen) * y_true, y_true)
        axes = (0, 1) if self.average == "micro" else 0
        if sample_weight is not None:
            weight = as_tensor(sample_weight, self._torch_dtype, self._device).reshape(-1, 1)
            terms = tuple(term * weight for term in terms)
        for variable, term in zip(self._variables, terms, strict=True):
            variable.assign_add(term.sum(axes))

    def result(self) -> torch.Tensor:
        """Return the score, ``(classes,)`` without an average; 0 before the first update."""
        if not self._variables:
            return torch.zeros((), dtype=self._torch_dtype, device=self._device)
        epsilon = config.epsilon()
        hits, wrong, missed, weights = (variable.value for variable in self._variables)
        precision = hits / (hits + wrong + epsilon)
        recall = hits / (hits + missed + epsilon)
        weighted = self.beta**2 * precision + recall + epsilon
        score = precision * recall / weighted * (1 + self.beta**2)
        if self.average == "weighted":
            return (score * weights / (weights.sum() + epsilon)).sum()
        return score if self.average is None else score.mean()


@register("metric")
class F1Score(FBetaScore):
    """Harmonic mean of precision and recall; arguments as for :class:`FBetaScore`, without beta."""

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ):
        super().__init__(average, 1.0, threshold, name, dtype)
