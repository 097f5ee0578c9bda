"""Metrics of right and wrong decisions: counts at thresholds, and ratios of the counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from torchkeras import config, dtypes, eras
from torchkeras.losses.reduction import divide_no_nan
from torchkeras.losses.tensors import as_tensor, same_rank
from torchkeras.metrics.metric import Metric
from torchkeras.registry import register

# What a prediction that is not among the k largest becomes: below every threshold.
_NO_CANDIDATE = -1e10


class Counts(NamedTuple):
    """Weights of the predictions at each threshold, ``(thresholds,)`` or ``(thresholds, labels)``.

    A prediction is positive where it is above the threshold.
    """

    true_positives: torch.Tensor
    false_positives: torch.Tensor
    true_negatives: torch.Tensor
    false_negatives: torch.Tensor


class Thresholds:
    """Numbers that predictions are compared with, all at once.

    Args:
        values: in any order.
        evenly: whether they divide 0 … 1 evenly, which predictions then say the place of by
            arithmetic; found out unless given.
    """

    def __init__(self, values: Sequence[float], evenly: bool | None = None):
        self.values = list(values)
        size = len(self.values)
        even = np.arange(size) / max(size - 1, 1)
        if evenly is None:
            evenly = size > 2 and np.allclose(self.values, even, atol=config.epsilon())
        self.evenly = bool(evenly)
        # Where the first lies below 0, it is below predictions of 0 too.
        self._least = int(self.values[0] < 0) if evenly else 0
        order = np.argsort(self.values, kind="stable")
        self._is_sorted = bool((order == np.arange(size)).all())
        self._sorted = torch.tensor([self.values[place] for place in order])
        self._places = torch.from_numpy(np.argsort(order, kind="stable"))

    def below(self, predictions: torch.Tensor) -> torch.Tensor:
        """Return how many thresholds lie below each prediction (0 of NaN), as int64."""
        size = len(self.values)
        if size == 1:
            return (predictions > self.values[0]).long()
        if self.evenly:
            places = torch.ceil(predictions.clamp(0, 1) * (size - 1)).clamp(min=self._least)
            return places.nan_to_num(0.0).long()
        if self._sorted.device != predictions.device or self._sorted.dtype != predictions.dtype:
            self._sorted = self._sorted.to(predictions)
            self._places = self._places.to(predictions.device)
        places = torch.searchsorted(self._sorted, predictions.contiguous())
        return torch.where(predictions.isnan(), 0, places)

    def in_order(self, counts: torch.Tensor) -> torch.Tensor:
        """Bring counts at the ascending thresholds ``(thresholds, …)`` into the given order."""
        return counts if self._is_sorted else counts[self._places]


def count(
    y_true: Any,
    y_pred: Any,
    thresholds: Thresholds,
    dtype: torch.dtype,
    sample_weight: Any = None,
    top_k: int | None = None,
    class_id: int | None = None,
    by_label: bool = False,
    label_weights: torch.Tensor | None = None,
) -> Counts:
    """Count right and wrong decisions at each threshold.

    Every prediction goes into the bucket of how many thresholds lie below it; sums over the buckets
    then are the counts at all thresholds.

    Args:
        y_true: targets, 0 and others, ``(batch, …, labels)``.
        y_pred: predictions of the same shape.
        thresholds: from 0 to 1.
        dtype: of the counts.
        sample_weight: one weight a sample ``(batch,)``, or one a prediction.
        top_k: how many predictions of a sample may be positive, the largest; all unless given.
        class_id: the one label that counts; all unless given.
        by_label: whether labels are counted each by itself; predictions are ``(batch, labels)``.
        label_weights: a weight for each label ``(labels,)``.

    Raises:
        ValueError: when shapes do not fit.
    """
    y_pred = as_tensor(y_pred, dtype)
    y_true, y_pred = same_rank(as_tensor(y_true, dtype, y_pred.device), y_pred)
    if y_true.shape != y_pred.shape:
        raise ValueError(
            "Right and wrong decisions are counted of targets and predictions of one shape; "
            f"received targets {tuple(y_true.shape)} and predictions {tuple(y_pred.shape)}."
        )
    if sample_weight is not None:
        sample_weight = _weight_of(as_tensor(sample_weight, dtype, y_pred.device), y_pred)
    if top_k is not None:
        best = torch.zeros_like(y_pred, dtype=torch.bool).scatter_(
            -1, y_pred.topk(top_k).indices, True
        )
        y_pred = torch.where(best, y_pred, _NO_CANDIDATE)
    if class_id is not None:
        if y_pred.dim() == 1:
            raise ValueError(
                "class_id chooses among the columns of predictions (samples, classes); received "
                f"predictions of shape {tuple(y_pred.shape)}."
            )
        y_true, y_pred = y_true[..., class_id, None], y_pred[..., class_id, None]

    weights = y_pred.new_ones(()) if sample_weight is None else sample_weight
    if label_weights is not None:
        weights = weights * label_weights
    weights = dtypes.widest(weights).expand_as(y_pred)
    buckets, labels = len(thresholds.values) + 1, y_pred.shape[-1] if by_label else 1
    place = thresholds.below(y_pred).add(y_true != 0, alpha=buckets)
    if by_label:
        place = place + 2 * buckets * torch.arange(labels, device=place.device)
    found = weights.new_zeros(labels * 2 * buckets).index_add_(
        0, place.reshape(-1), weights.reshape(-1)
    )
    found = found.view(labels, 2, buckets)
    negative = found.cumsum(-1)[..., :-1]
    positive = found.flip(-1).cumsum(-1).flip(-1)[..., 1:]
    # (labels, negative or positive, false or true, thresholds), the labels last.
    parts = torch.stack((negative, positive), 1).to(dtype)
    parts = thresholds.in_order(parts.permute(3, 1, 2, 0) if by_label else parts[0].movedim(2, 0))
    (right, missed), (wrong, hits) = (part.unbind(1) for part in parts.unbind(1))
    return Counts(hits, wrong, right, missed)


def _weight_of(weight: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
    """Let weights ``(batch, …)`` stand for all that a prediction has behind those axes."""
    given = tuple(weight.shape)
    while weight.dim() > y_pred.dim() and weight.shape[-1] == 1:
        weight = weight.squeeze(-1)
    weight = weight.reshape(*weight.shape, *(1,) * (y_pred.dim() - weight.dim()))
    try:
        weight.broadcast_to(y_pred.shape)
    except RuntimeError:
        raise ValueError(
            f"`sample_weight` of shape {given} does not fit predictions of shape "
            f"{tuple(y_pred.shape)}; give one weight a sample."
        ) from None
    return weight


def _listed(thresholds: Any, default: float) -> list[float]:
    """Return thresholds as a list, or refuse those outside 0 to 1."""
    if thresholds is None:
        return [default]
    listed = list(thresholds) if isinstance(thresholds, Iterable) else [thresholds]
    wrong = [value for value in listed if value is None or not 0 <= value <= 1]
    if wrong:
        raise ValueError(f"Threshold values must be in [0, 1]. Received: {wrong}")
    return listed


class _Decisions(Metric):
    """What metrics of decisions share: counts at thresholds, in variables of the same names."""

    keeps: tuple[str, ...] = Counts._fields
    # What Keras calls the variable of a single count.
    variable_name: str | None = None
    top_k: int | None = None
    class_id: int | None = None

    def _keep(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        for name in self.keeps:
            called = self.variable_name or name
            setattr(self, name, self.add_variable((len(thresholds.values),), "zeros", name=called))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Args:
            y_true: targets 0 and 1, ``(batch, …)``.
            y_pred: predictions from 0 to 1, ``(batch, …)``.
            sample_weight: one weight a sample ``(batch,)``, or one a prediction.
        """
        dtype = getattr(self, self.keeps[0]).value.dtype
        y_pred = as_tensor(y_pred, dtype)
        found = count(
            y_true, y_pred, self._thresholds, dtype, sample_weight, self.top_k, self.class_id
        )
        for name in self.keeps:
            getattr(self, name).assign_add(getattr(found, name))


def _share(part: Any, rest: Any) -> torch.Tensor:
    """Return ``part / (part + rest)``, 0 of nothing."""
    return divide_no_nan(part.value, part.value + rest.value)


class _AtThresholds(_Decisions):
    """What metrics share whose user gives a threshold or several."""

    def _keep_at(self, thresholds: Any, default: float) -> None:
        self.init_thresholds = thresholds
        self.thresholds = _listed(thresholds, default)
        self._keep(Thresholds(self.thresholds))

    def _one_or_all(self, values: torch.Tensor) -> torch.Tensor:
        return values[0] if len(self.thresholds) == 1 else values

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        config = super().get_config()
        return (
            config if "_captured" in vars(self) else config | {"thresholds": self.init_thresholds}
        )


class _Count(_AtThresholds):
    """One of the counts."""

    variable_name = "accumulator"

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None):
        super().__init__(dtype, name)
        self._keep_at(thresholds, 0.5)

    @property
    def accumulator(self) -> Any:
        """The variable with the count at each threshold."""
        return self._variables[0]

    def result(self) -> torch.Tensor:
        """Return the count, ``(thresholds,)`` where several were given."""
        return self._one_or_all(self.accumulator.value.clone())


@register("metric")
class TruePositives(_Count):
    """How many of 1 are taken as 1.

    Args:
        thresholds: from 0 to 1, or a list; predictions above are taken as 1.  0.5 unless given.
        name: what the metric is called.
        dtype: the float type of the state.

    Raises:
        ValueError: for a threshold outside 0 to 1.
    """

    keeps = ("true_positives",)


@register("metric")
class FalsePositives(_Count):
    """How many of 0 are taken as 1; arguments as for :class:`TruePositives`."""

    keeps = ("false_positives",)


@register("metric")
class TrueNegatives(_Count):
    """How many of 0 are taken as 0; arguments as for :class:`TruePositives`."""

    keeps = ("true_negatives",)


@register("metric")
class FalseNegatives(_Count):
    """How many of 1 are taken as 0; arguments as for :class:`TruePositives`."""

    keeps = ("false_negatives",)


class _Share(_AtThresholds):
    """True positives as a share of these and another count."""

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(dtype, name)
        self.top_k = top_k
        self.class_id = class_id
        self._keep_at(thresholds, 0.5 if top_k is None else _NO_CANDIDATE)

    def result(self) -> torch.Tensor:
        """Return the share, ``(thresholds,)`` where several were given; 0 of nothing."""
        return self._one_or_all(_share(*self._variables))


@register("metric")
class Precision(_Share):
    """How many of those taken as 1 are 1.

    Args:
        thresholds: from 0 to 1, or a list; predictions above are taken as 1.  0.5 unless given, and
            with ``top_k`` none.
        top_k: how many predictions of a sample may be taken as 1, the largest.
        class_id: the one class that counts, a column of the predictions.
        name: what the metric is called.
        dtype: the float type of the state.

    Raises:
        ValueError: for a threshold outside 0 to 1.
    """

    keeps = ("true_positives", "false_positives")


@register("metric")
class Recall(_Share):
    """How many of those that are 1 are taken as 1; arguments as for :class:`Precision`."""

    keeps = ("true_positives", "false_negatives")


class SensitivitySpecificityBase(_Decisions):
    """Base of metrics that say the best of one ratio where another is at least a value.

    Args:
        value: from 0 to 1, the least that the other ratio may be.
        num_thresholds: how many thresholds are tried, evenly from 0 to 1.
        class_id: the one class that counts, a column of the predictions.
        name: what the metric is called.
        dtype: the float type of the state.

    Raises:
        ValueError: for a value outside 0 to 1, or a number of thresholds below 1.
    """

    # The argument that is the value.
    constrained = "value"

    def __init__(
        self,
        value: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        if not 0 <= value <= 1:
            raise ValueError(
                f"Argument `{self.constrained}` must be in the range [0, 1]. Received: "
                f"{self.constrained}={value}"
            )
        if num_thresholds <= 0:
            raise ValueError(
                "Argument `num_thresholds` must be an integer > 0. Received: "
                f"num_thresholds={num_thresholds}"
            )
        super().__init__(dtype, name)
        self.value = value
        setattr(self, self.constrained, value)
        self.num_thresholds = num_thresholds
        self.class_id = class_id
        self.thresholds = evenly_spaced(num_thresholds) if num_thresholds > 1 else [0.5]
        self._keep(Thresholds(self.thresholds, evenly=num_thresholds > 1))

    def _best(self, ratios: torch.Tensor, constrained: torch.Tensor) -> torch.Tensor:
        if eras.value("at_value.is_nearest"):
            return ratios[(constrained - self.value).abs().argmin()]
        return torch.where(constrained >= self.value, ratios, 0.0).max()

    def _sensitivities(self) -> torch.Tensor:
        return _share(self.true_positives, self.false_negatives)

    def _specificities(self) -> torch.Tensor:
        return _share(self.true_negatives, self.false_positives)

    def _precisions(self) -> torch.Tensor:
        return _share(self.true_positives, self.false_positives)


def evenly_spaced(number: int) -> list[float]:
    """Return numbers that divide 0 … 1 evenly, both ends included."""
    return [step / (number - 1) for step in range(number)]


@register("metric")
class SensitivityAtSpecificity(SensitivitySpecificityBase):
    """Best share of the ones taken as 1 where enough zeros are taken as 0.

    Args:
        specificity: the least share of zeros taken as 0, from 0 to 1.
        num_thresholds: how many thresholds are tried, evenly from 0 to 1.
        class_id: the one class that counts, a column of the predictions.
        name: what the metric is called.
        dtype: the float type of the state.

    Raises:
        ValueError: as for :class:`SensitivitySpecificityBase`.
    """

    constrained = "specificity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(specificity, num_thresholds, class_id, name, dtype)

    def result(self) -> torch.Tensor:
        """Return the best sensitivity."""
        return self._best(self._sensitivities(), self._specificities())


@register("metric")
class SpecificityAtSensitivity(SensitivitySpecificityBase):
    """Best share of the zeros taken as 0 where enough ones are taken as 1.

    Args:
        sensitivity: the least share of ones taken as 1, from 0 to 1.
        num_thresholds: how many thresholds are tried, evenly from 0 to 1.
        class_id: the one class that counts, a column of the predictions.
        name: what the metric is called.
        dtype: the float type of the state.

    Raises:
        ValueError: as for :class:`SensitivitySpecificityBase`.
    """

    constrained = "sensitivity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)

    def result(self) -> torch.Tensor:
        """Return the best specificity."""
        return self._best(self._specificities(), self._sensitivities())


@register("metric")
class PrecisionAtRecall(SensitivitySpecificityBase):
    """Best precision where the recall is enough.

    Args:
        recall: the least recall, from 0 to 1.
        num_thresholds: how many thresholds are tried, evenly from 0 to 1.
        class_id: the one class that counts, a column of the predictions.
        name: what the metric is called.
        dtype: the float type of the state.

    Raises:
        ValueError: as for :class:`SensitivitySpecificityBase`.
    """

    constrained = "recall"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(recall, num_thresholds, class_id, name, dtype)

    def result(self) -> torch.Tensor:
        """Return the best precision."""
        return self._best(self._precisions(), self._sensitivities())


@register("metric")
class RecallAtPrecision(SensitivitySpecificityBase):
    """Best recall where the precision is enough.

    Args:
        precision: the least precision, from 0 to 1.
        num_thresholds: how many thresholds are tried, evenly from 0 to 1.
        class_id: the one class that counts, a column of the predictions.
        name: what the metric is called.
        dtype: the float type of the state.

    Raises:
        ValueError: as for :class:`SensitivitySpecificityBase`.
    """

    constrained = "precision"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(precision, num_thresholds, class_id, name, dtype)

    def result(self) -> torch.Tensor:
        """Return the best recall."""
        return self._best(self._sensitivities(), self._precisions())
