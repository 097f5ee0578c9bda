"""The area under a curve of two ratios of decisions, over all thresholds."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import torch

from torchkeras import config, dtypes
from torchkeras.losses.reduction import divide_no_nan
from torchkeras.losses.tensors import as_tensor
from torchkeras.metrics.confusion import Counts, Thresholds, count, evenly_spaced
from torchkeras.metrics.metric import Metric
from torchkeras.registry import register


class _Choice(str, enum.Enum):
    """A name that an argument takes, in upper or lower case."""

    @classmethod
    def from_str(cls, key: Any) -> Any:
        """Return the member of a name; a member is its own.

        Raises:
            ValueError: for an unknown name.
        """
        for member in cls:
            if key in (member, member.value.lower(), member.value.capitalize()):
                return member
        known = ", ".join(repr(member.value) for member in cls)
        raise ValueError(f"AUC: expected one of {known}; received {key!r}.")


class AUCCurve(_Choice):
    """What is drawn over what: recall over the share of wrong zeros, precision over recall, …"""

    ROC = "ROC"
    PR = "PR"
    PRGAIN = "PRGAIN"


class AUCSummationMethod(_Choice):
    """How high the curve is between two points: between both, the lower one, the higher one."""

    INTERPOLATION = "interpolation"
    MAJORING = "majoring"
    MINORING = "minoring"


@register("metric")
class AUC(Metric):
    """Area under the ROC, the precision-recall or the precision-recall-gain curve.

    Args:
        num_thresholds: how many points the curve has, at least 2.
        curve: ``'ROC'``, ``'PR'`` or ``'PRGAIN'`` (Flach and Kull 2015, Precision-Recall-Gain
            Curves).
        summation_method: ``'interpolation'`` (trapezoids; for ``'PR'`` as Davis and Goadrich 2006
            between points), ``'minoring'`` or ``'majoring'``.
        name: what the metric is called.
        dtype: the float type of the state.
        thresholds: the points between the ends, from 0 to 1, in place of ``num_thresholds``.
        multi_label: whether the area is that of each label, averaged.
        num_labels: how many labels there are; the first batch tells unless given.
        label_weights: a weight for each label: in the average, and without ``multi_label`` for
            each label's predictions.
        from_logits: whether predictions are what a sigmoid would make probabilities of.

    Raises:
        ValueError: for an unknown curve or method, fewer than 2 thresholds, thresholds outside 0 to
            1, or ``num_labels`` without ``multi_label``.
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ):
        self.curve = AUCCurve.from_str(curve)
        self.summation_method = AUCSummationMethod.from_str(summation_method)
        if thresholds is None and num_thresholds <= 1:
            raise ValueError(
                "Argument `num_thresholds` must be an integer > 1. Received: "
                f"num_thresholds={num_thresholds}"
            )
        if num_labels and not multi_label:
            raise ValueError("`num_labels` is needed only when `multi_label` is True.")
        super().__init__(dtype, name)
        self._given = thresholds is not None
        inner = sorted(thresholds) if self._given else evenly_spaced(num_thresholds)[1:-1]
        if not all(0 <= value <= 1 for value in inner):
            raise ValueError(f"Threshold values must be in [0, 1]. Received: {inner}")
        self.num_thresholds = len(inner) + 2
        evenly = Thresholds([0.0, *inner, 1.0]).evenly if self._given else True
        ends = (-config.epsilon(), 1.0 + config.epsilon())
        self._thresholds = Thresholds([ends[0], *inner, ends[1]], evenly)
        self.multi_label = multi_label
        self.num_labels = num_labels
        self.label_weights = None
        if label_weights is not None:
            self.label_weights = as_tensor(label_weights, self._torch_dtype, self._device)
        self.from_logits = from_logits
        self._kept: list[Any] = []
        if num_labels or not multi_label:
            self._keep(num_labels)

    def _keep(self, labels: int | None) -> None:
        shape = (self.num_thresholds, labels) if self.multi_label else (self.num_thresholds,)
        for name in Counts._fields:
            setattr(self, name, self.add_variable(shape, "zeros", name=name))
        self._kept = [getattr(self, name) for name in Counts._fields]

    @property
    def thresholds(self) -> list[float]:
        """The thresholds, in ascending order; the first and last lie just outside 0 to 1."""
        return self._thresholds.values

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Args:
            y_true: targets 0 and 1, ``(batch, …)``; ``(batch, labels)`` with ``multi_label``.
            y_pred: predictions from 0 to 1, of the same shape.
            sample_weight: one weight a sample ``(batch,)``, or one a prediction.

        Raises:
            ValueError: when shapes do not fit.
        """
        y_pred = as_tensor(y_pred, self._count_dtype)
        if self.multi_label and y_pred.dim() != 2:
            raise ValueError(
                "AUC with multi_label takes predictions (samples, labels); received predictions of "
                f"shape {tuple(y_pred.shape)}."
            )
        if not self._kept:
            self._keep(y_pred.shape[1])
        if self.label_weights is not None:
            self.label_weights = self.label_weights.to(y_pred)
        found = count(
            y_true,
            y_pred.sigmoid() if self.from_logits else y_pred,
            self._thresholds,
            y_pred.dtype,
            sample_weight,
            by_label=self.multi_label,
            label_weights=None if self.multi_label else self.label_weights,
        )
        for variable, counts in zip(self._kept, found, strict=True):
            variable.assign_add(counts)

    @property
    def _count_dtype(self) -> torch.dtype:
        return self._kept[0].value.dtype if self._kept else dtypes.to_torch(None)

    def result(self) -> torch.Tensor:
        """Return the area; the mean of the labels' with ``multi_label``."""
        if not self._kept:
            return torch.zeros((), dtype=self._torch_dtype, device=self._device)
        counts = Counts(*(variable.value for variable in self._kept))
        is_smooth = self.summation_method is AUCSummationMethod.INTERPOLATION
        if self.curve is AUCCurve.PR and is_smooth:
            return self.interpolate_pr_auc()
        x, y = _CURVES[self.curve](counts)
        if is_smooth:
            heights = (y[:-1] + y[1:]) / 2
        else:
            is_low = self.summation_method is AUCSummationMethod.MINORING
            heights = (torch.minimum if is_low else torch.maximum)(y[:-1], y[1:])
        return self._joined((x[:-1] - x[1:]) * heights)

    def interpolate_pr_auc(self) -> torch.Tensor:
        """Return the area below precision over recall, the counts linear between points."""
        return self._joined(
            _smooth_precision_recall(Counts(*(variable.value for variable in self._kept)))
        )

    def _joined(self, areas: torch.Tensor) -> torch.Tensor:
        """Add up the areas between points, and average those of labels."""
        by_label = areas.sum(0)
        if not self.multi_label:
            return by_label
        if self.label_weights is None:
            return by_label.mean()
        return divide_no_nan((by_label * self.label_weights).sum(), self.label_weights.sum())

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        config = super().get_config()
        if "_captured" in vars(self):
            return config
        config |= {
            "curve": self.curve.value,
            "summation_method": self.summation_method.value,
            "thresholds": self.thresholds[1:-1],
        }
        if not self._given:
            del config["thresholds"]
        if self.label_weights is not None:
            config["label_weights"] = self.label_weights.tolist()
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        """Make a metric from what :meth:`get_config` returned; Keras writes weights as a tensor."""
        weights = config.get("label_weights")
        if isinstance(weights, dict):
            config = {**config, "label_weights": weights["config"]["value"]}
        return cls(**config)


def _receiver_operating(counts: Counts) -> tuple[torch.Tensor, torch.Tensor]:
    tp, fp, tn, fn = counts
    return divide_no_nan(fp, fp + tn), divide_no_nan(tp, tp + fn)


def _precision_recall(counts: Counts) -> tuple[torch.Tensor, torch.Tensor]:
    tp, fp, _, fn = counts
    return divide_no_nan(tp, tp + fn), divide_no_nan(tp, tp + fp)


def _precision_recall_gain(counts: Counts) -> tuple[torch.Tensor, torch.Tensor]:
    """Return recall and precision as gains over taking all as 1, on a harmonic scale."""
    tp, fp, tn, fn = counts
    odds = divide_no_nan(tp + fn, tn + fp)
    recall = torch.where(tp == 0, 0.0, 1 - odds * divide_no_nan(fn, tp))
    precision = torch.where(tp == 0, 1.0, 1 - odds * divide_no_nan(fp, tp))
    return recall.clamp(min=0), precision


_CURVES = {
    AUCCurve.ROC: _receiver_operating,
    AUCCurve.PR: _precision_recall,
    AUCCurve.PRGAIN: _precision_recall_gain,
}


def _smooth_precision_recall(counts: Counts) -> torch.Tensor:
    """Return the areas below precision over recall, the true positives linear between points.

    With ``P`` positives taken as 1, of which ``TP = a + s P`` are true, the area between ``P1`` and
    ``P2`` is the integral of ``TP / P`` by ``TP``: ``s (TP2 - TP1 + a log(P2 / P1))`` by the number
    of ones (Davis and Goadrich 2006, The Relationship Between Precision-Recall and ROC Curves).
    """
    tp, fp, _, fn = counts
    taken = tp + fp
    gained = tp[:-1] - tp[1:]
    slope = divide_no_nan(gained, (taken[:-1] - taken[1:]).clamp(min=0))
    start = tp[1:] - slope * taken[1:]
    has_both = (taken[:-1] > 0) & (taken[1:] > 0)
    ratio = torch.where(has_both, divide_no_nan(taken[:-1], taken[1:].clamp(min=0)), 1.0)
    return divide_no_nan(slope * (gained + start * ratio.log()), (tp[1:] + fn[1:]).clamp(min=0))
