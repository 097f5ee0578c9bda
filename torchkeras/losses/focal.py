"""Crossentropies that weigh predictions by how good they are: focal and generalized."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.graph import records
from torchkeras.losses.crossentropy import (
    check_categorical,
    clip,
    elementwise_binary,
    need_equal_shapes,
    smooth,
)
from torchkeras.losses.loss import LossFunctionWrapper
from torchkeras.losses.tensors import as_float, as_tensor, pair
from torchkeras.registry import register


@register("loss")
@records
def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> torch.Tensor:
    """Return the mean of ``(1 - p)^gamma`` times the crossentropy, p the right class' probability.

    (Lin et al. 2018, Focal Loss for Dense Object Detection.)

    Args:
        y_true: targets from 0 to 1, ``(batch, …, size)``.
        y_pred: probabilities of the same shape.
        apply_class_balancing: whether targets of 1 weigh ``alpha``, those of 0 ``1 - alpha``.
        alpha: see there.
        gamma: how much less good predictions count.
        from_logits: whether ``y_pred`` is what a sigmoid would make probabilities of.
        label_smoothing: from 0 to 1; how far targets move towards 1/2.
        axis: over which the mean is taken.

    Returns:
        Values in nats, ``(batch, …)``.

    Raises:
        ValueError: when the shapes differ.
    """
    y_true, y_pred = pair(y_true, y_pred)
    need_equal_shapes("binary_focal_crossentropy", y_true, y_pred)
    if label_smoothing:
        y_true = smooth(y_true, label_smoothing, 2)
    if from_logits:
        y_pred = y_pred.sigmoid()
    right = y_true * y_pred + (1 - y_true) * (1 - y_pred)
    values = (1 - right) ** gamma * elementwise_binary(y_true, y_pred)
    if apply_class_balancing:
        values = values * (y_true * alpha + (1 - y_true) * (1 - alpha))
    return values.mean(axis)


@register("loss")
@records
def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> torch.Tensor:
    """Return ``-sum(alpha (1 - y_pred)^gamma y_true log(y_pred))`` over the axis of the classes.

    (Lin et al. 2018, Focal Loss for Dense Object Detection.)

    Args:
        y_true: one-hot targets ``(batch, …, classes)``.
        y_pred: probabilities of the same shape; scaled to the sum 1, then clipped to
            [epsilon, 1 - epsilon].
        alpha: a factor, or one for each class.
        gamma: how much less good predictions count.
        from_logits: whether ``y_pred`` is what a softmax would make probabilities of.
        label_smoothing: from 0 to 1; how far targets move towards 1 / classes.
        axis: where the classes lie.

    Returns:
        Values in nats, ``(batch, …)``.

    Raises:
        ValueError: when the shapes differ.
    """
    y_true, y_pred = pair(y_true, y_pred)
    check_categorical("categorical_focal_crossentropy", y_true, y_pred, axis)
    if label_smoothing:
        y_true = smooth(y_true, label_smoothing, y_true.shape[-1])
    if from_logits:
        y_pred = y_pred.softmax(axis)
    probability = clip(y_pred / y_pred.sum(axis, keepdim=True))
    if not isinstance(alpha, (int, float)):
        alpha = as_tensor(alpha, y_pred.dtype, y_pred.device)
    weight = alpha * (1 - probability) ** gamma
    return -(weight * y_true * probability.log()).sum(axis)


@register("loss")
@records
def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> torch.Tensor:
    """Return ``(1 - p^q) / q`` with the right class' probability p, which bears wrong labels.

    (Zhang and Sabuncu 2018, Generalized Cross Entropy Loss for Training Deep Neural Networks with
    Noisy Labels.)

    Args:
        y_true: class numbers ``(batch, …)`` or ``(batch, …, 1)``; others than those of the classes
            have the probability 0.
        y_pred: probabilities ``(batch, …, classes)``.
        q: towards 0 the crossentropy, at 1 the absolute error.

    Returns:
        Values ``(batch, …)``.
    """
    y_pred = as_float(y_pred)
    labels = as_tensor(y_true, torch.int64, y_pred.device)
    if labels.dim() == y_pred.dim() and labels.shape[-1] == 1:
        labels = labels.squeeze(-1)
    is_class = (labels >= 0) & (labels < y_pred.shape[-1])
    place = torch.where(is_class, labels, 0).unsqueeze(-1)
    probability = torch.where(is_class, y_pred.gather(-1, place).squeeze(-1), 0.0)
    return (1 - probability**q) / q


@register("loss")
class BinaryFocalCrossentropy(LossFunctionWrapper):
    """Focal crossentropy of targets 0 and 1.

    Args:
        apply_class_balancing: whether targets of 1 weigh ``alpha``, those of 0 ``1 - alpha``.
        alpha: see there.
        gamma: how much less good predictions count.
        from_logits: whether the predictions are what a sigmoid would make probabilities of.
        label_smoothing: from 0 to 1; how far targets move towards 1/2.
        axis: over which the values of a sample are averaged.
        reduction: as for :class:`~torchkeras.losses.Loss`.
        name: likewise.
        dtype: likewise.
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            binary_focal_crossentropy,
            reduction,
            name,
            dtype,
            apply_class_balancing=apply_class_balancing,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )
        self.apply_class_balancing = apply_class_balancing
        self.alpha = alpha
        self.gamma = gamma
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


@register("loss")
class CategoricalFocalCrossentropy(LossFunctionWrapper):
    """Focal crossentropy of one-hot targets.

    Args:
        alpha: a factor, or one for each class.
        gamma: how much less good predictions count.
        from_logits: whether the predictions are what a softmax would make probabilities of.
        label_smoothing: from 0 to 1; how far targets move towards 1 / classes.
        axis: where the classes lie.
        reduction: as for :class:`~torchkeras.losses.Loss`.
        name: likewise.
        dtype: likewise.
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            categorical_focal_crossentropy,
            reduction,
            name,
            dtype,
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )
        self.alpha = alpha
        self.gamma = gamma
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


@register("loss")
class CategoricalGeneralizedCrossEntropy(LossFunctionWrapper):
    """Crossentropy of class numbers that bears wrong ones.

    Args:
        q: between 0, the crossentropy, and 1, the absolute error.
        reduction: as for :class:`~torchkeras.losses.Loss`.
        name: likewise.
        dtype: likewise.

    Raises:
        ValueError: for a ``q`` that is not between 0 and 1.
    """

    casts_targets = False
    targets = "classes"

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: Any = None,
    ):
        if not 0 < q < 1:
            raise ValueError(f"q must be in the interval (0, 1); received {q}.")
        super().__init__(categorical_generalized_cross_entropy, reduction, name, dtype, q=q)
        self.q = q
