"""Intersection over union of classes: of how many with a class, in target or prediction, both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from torchkeras import config, dtypes, eras
from torchkeras.losses.tensors import as_tensor
from torchkeras.metrics.metric import Metric
from torchkeras.registry import register
from torchkeras.warn import warn_user

# A class with fewer counts neither in targets nor in predictions.
_NOTHING = 1e-9


@register("metric")
class IoU(Metric):
    """Mean over classes of ``true positives / (true positives + false ones + missed ones)``.

    Classes that neither a target nor a prediction has do not count.

    Args:
        num_classes: how many classes there are.
        target_class_ids: the classes whose mean is taken.
        name: what the metric is called.
        dtype: the type of the state: integers unless given, which cut sample weights off (floats
            in tf.keras).
        ignore_class: a class number whose samples do not count.
        sparse_y_true: whether targets are class numbers; else the largest along the axis is meant.
        sparse_y_pred: likewise for predictions.
        axis: where the classes lie.

    Raises:
        ValueError: for a class that there is not.
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        super().__init__(dtype or eras.value("iou.dtype") or config.floatx(), name)
        if max(target_class_ids) >= num_classes:
            raise ValueError(
                f"Target class id {max(target_class_ids)} is out of range, which is "
                f"[0, {num_classes})."
            )
        self.num_classes = num_classes
        self.target_class_ids = list(target_class_ids)
        self.ignore_class = ignore_class
        self.sparse_y_true = sparse_y_true
        self.sparse_y_pred = sparse_y_pred
        self.axis = axis
        self.total_cm = self.add_variable(
            (num_classes, num_classes), "zeros", self.dtype, name="total_confusion_matrix"
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Args:
            y_true: class numbers ``(batch, …)``, or scores with an axis of classes.
            y_pred: likewise; a class number outside of the classes does not count.
            sample_weight: one weight a class number, or one for all.
        """
        y_pred = _classes(as_tensor(y_pred), self.sparse_y_pred, self.axis)
        y_true = _classes(as_tensor(y_true, None, y_pred.device), self.sparse_y_true, self.axis)
        weight = torch.ones((), dtype=self._torch_dtype, device=y_pred.device)
        if sample_weight is not None:
            weight = as_tensor(sample_weight, device=y_pred.device)
            if weight.is_floating_point() and not self._torch_dtype.is_floating_point:
                warn_user(
                    "Sample weights are floats and the metric counts in an int dtype: casting cuts "
                    "them off. Give integers, or the metric a dtype of floats."
                )
            weight = weight.to(self._torch_dtype).reshape(-1)
        size = self.num_classes
        counts = (y_true >= 0) & (y_true < size) & (y_pred >= 0) & (y_pred < size)
        if self.ignore_class is not None:
            counts &= y_true != self.ignore_class
        place = torch.where(counts, y_true * size + y_pred, 0)
        weight = torch.where(counts, weight, 0)
        found = weight.new_zeros(size * size).index_add_(0, place, weight)
        self.total_cm.assign_add(found.view(size, size))

    def result(self) -> torch.Tensor:
        """Return the mean."""
        total = self.total_cm.value
        both = total.diagonal()[self.target_class_ids]
        either = (total.sum(0) + total.sum(1))[self.target_class_ids] - both
        both, either = (part.to(dtypes.to_torch("float32")) for part in (both, either))
        has_any = either > _NOTHING
        ratios = torch.where(has_any, both / (either + config.epsilon()), 0.0)
        return ratios.sum() / (has_any.sum() + config.epsilon())


def _classes(scores: torch.Tensor, are_numbers: bool, axis: int) -> torch.Tensor:
    """Return class numbers as one row."""
    if not are_numbers:
        scores = scores.argmax(axis)
    return scores.long().reshape(-1)


@register("metric")
class BinaryIoU(IoU):
    """Intersection over union of two classes, from predictions of the second.

    Args:
        target_class_ids: the classes whose mean is taken, of 0 and 1.
        threshold: predictions from it on are taken as 1.
        name: what the metric is called.
        dtype: as for :class:`IoU`.
    """

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Args:
            y_true: targets 0 and 1, ``(batch, …)``.
            y_pred: predictions of the same shape.
            sample_weight: one weight a prediction, or one for all.
        """
        y_pred = as_tensor(y_pred, dtypes.to_torch("float32"))
        super().update_state(y_true, y_pred >= self.threshold, sample_weight)


@register("metric")
class MeanIoU(IoU):
    """Mean intersection over union of all classes; arguments as for :class:`IoU`."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ):
        classes = range(num_classes)
        super().__init__(
            num_classes, classes, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis
        )


@register("metric")
class OneHotIoU(IoU):
    """Intersection over union for one-hot targets; arguments as for :class:`IoU`."""

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(
            num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis
        )


@register("metric")
class OneHotMeanIoU(MeanIoU):
    """Mean intersection over union of all classes for one-hot targets; arguments as IoU's."""

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ):
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)
