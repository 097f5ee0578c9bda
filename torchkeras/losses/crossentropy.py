"""Losses of classes: binary, one-hot and integer crossentropy."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from torchkeras import config, eras
from torchkeras.graph import records
from torchkeras.losses.loss import LossFunctionWrapper
from torchkeras.losses.tensors import as_float, as_tensor, pair, same_rank
from torchkeras.registry import register
from torchkeras.warn import warn_user


def clip(probability: torch.Tensor) -> torch.Tensor:
    """Bring probabilities into [epsilon, 1 - epsilon], where logarithms are finite."""
    epsilon = config.epsilon()
    return probability.clamp(epsilon, 1.0 - epsilon)


def binary_values(y_true: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
    """Return each probability's crossentropy without torch's kernel: NaN where it is NaN."""
    return -torch.lerp(torch.log1p(-probability), probability.log(), y_true)


def _binary(
    y_true: torch.Tensor, y_pred: torch.Tensor, from_logits: bool, reduction: str
) -> torch.Tensor:
    """Return the crossentropy of equally shaped tensors; reduction ``'none'`` or ``'mean'``."""
    if from_logits:
        return F.binary_cross_entropy_with_logits(y_pred, y_true, reduction=reduction)
    probability = clip(y_pred)
    # Then the crossentropy of what a sigmoid gave was computed from the logits, without epsilon: a
    # model's training keeps to torch's kernel.
    if not y_pred.requires_grad and eras.value("binary_crossentropy.adds_epsilon"):
        epsilon = config.epsilon()
        values = -torch.lerp(
            (1 - probability + epsilon).log(), (probability + epsilon).log(), y_true
        )
        return values.mean() if reduction == "mean" else values
    if probability.is_cpu:
        try:
            return F.binary_cross_entropy(probability, y_true, reduction=reduction)
        except RuntimeError:
            if not probability.isnan().any():
                raise
    # torch's kernel refuses NaN; on a GPU it asserts, and the process has no GPU any more.
    values = binary_values(y_true, probability)
    return values.mean() if reduction == "mean" else values


def elementwise_binary(y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
    """Return the binary crossentropy of each of equally shaped targets and probabilities."""
    return _binary(y_true, y_pred, False, "none")


def smooth(y_true: torch.Tensor, label_smoothing: float, classes: int) -> torch.Tensor:
    """Move targets towards ``1 / classes`` by a share ``label_smoothing`` from 0 to 1."""
    return y_true * (1.0 - label_smoothing) + label_smoothing / classes


@register("loss", "bce", "BCE")
@records
def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> torch.Tensor:
    """Return the mean of ``-y_true log(y_pred) - (1 - y_true) log(1 - y_pred)`` over an axis.

    Args:
        y_true: targets from 0 to 1, ``(batch, …, size)``.
        y_pred: probabilities of the same shape, clipped to [epsilon, 1 - epsilon].
        from_logits: whether ``y_pred`` is what a sigmoid would make probabilities of.
        label_smoothing: from 0 to 1; how far targets move towards 1/2.
        axis: over which the mean is taken.

    Returns:
        Values in nats, ``(batch, …)``.

    Raises:
        ValueError: when the shapes differ.
    """
    y_true, y_pred = pair(y_true, y_pred)
    need_equal_shapes("binary_crossentropy", y_true, y_pred)
    if label_smoothing:
        y_true = smooth(y_true, label_smoothing, 2)
    return _binary(y_true, y_pred, from_logits, "none").mean(axis)


def _log_probability(y_pred: torch.Tensor, from_logits: bool, axis: int) -> torch.Tensor:
    """Return logarithms of probabilities that sum to 1 along the axis."""
    if from_logits:
        return y_pred.log_softmax(axis)
    return clip(y_pred / y_pred.sum(axis, keepdim=True)).log()


@register("loss")
@records
def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> torch.Tensor:
    """Return ``-sum(y_true * log(y_pred))`` over the axis of the classes.

    Args:
        y_true: one-hot targets ``(batch, …, classes)``.
        y_pred: probabilities of the same shape; scaled to the sum 1, then clipped to
            [epsilon, 1 - epsilon].
        from_logits: whether ``y_pred`` is what a softmax would make probabilities of.
        label_smoothing: from 0 to 1; how far targets move towards 1 / classes.
        axis: where the classes lie.

    Returns:
        Values in nats, ``(batch, …)``.

    Raises:
        ValueError: when the shapes differ.
    """
    y_true, y_pred = pair(y_true, y_pred)
    check_categorical("categorical_crossentropy", y_true, y_pred, axis)
    if label_smoothing:
        y_true = smooth(y_true, label_smoothing, y_true.shape[-1])
    return -(y_true * _log_probability(y_pred, from_logits, axis)).sum(axis)


@register("loss")
@records
def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> torch.Tensor:
    """Return minus the logarithm of the right class' probability.

    Args:
        y_true: class numbers ``(batch, …)`` or ``(batch, …, 1)``, from 0.
        y_pred: probabilities ``(batch, …, classes)``; scaled to the sum 1, then clipped to
            [epsilon, 1 - epsilon].
        from_logits: whether ``y_pred`` is what a softmax would make probabilities of.
        ignore_class: a class number whose samples count 0, and not at all in a loss' mean.
        axis: where the classes lie.

    Returns:
        Values in nats, ``(batch, …)``.

    Raises:
        ValueError: when the shapes do not fit.
    """
    _check_axis(axis)
    y_pred = as_float(y_pred)
    labels = as_tensor(y_true, device=y_pred.device)
    if labels.dtype is not torch.int64:
        labels = labels.long()
    if labels.dim() == y_pred.dim() and labels.shape[axis] == 1:
        labels = labels.squeeze(axis)
    expected = list(y_pred.shape)
    del expected[axis]
    if list(labels.shape) != expected:
        raise ValueError(
            f"sparse_categorical_crossentropy takes class numbers of shape {tuple(expected)} for "
            f"predictions of shape {tuple(y_pred.shape)}; received targets of shape "
            f"{tuple(labels.shape)}. For one-hot targets use categorical_crossentropy."
        )
    if ignore_class is None:
        return _right_class(labels, y_pred, from_logits, axis)
    counted = labels != ignore_class
    labels = torch.where(counted, labels, 0)
    y_pred = torch.where(counted.unsqueeze(axis), y_pred, 1.0)
    values = torch.where(counted, _right_class(labels, y_pred, from_logits, axis), 0.0)
    values._keras_mask = counted
    return values


def _right_class(
    labels: torch.Tensor, y_pred: torch.Tensor, from_logits: bool, axis: int
) -> torch.Tensor:
    """Return minus the logarithm of the labels' probabilities; torch wants classes at axis 1."""
    logarithm = _log_probability(y_pred, from_logits, axis)
    if logarithm.dim() == 1:
        return F.nll_loss(logarithm, labels, reduction="none")
    if axis % logarithm.dim() != 1:
        logarithm = logarithm.movedim(axis, 1)
    return F.nll_loss(logarithm, labels, reduction="none")


def check_categorical(name: str, y_true: torch.Tensor, y_pred: torch.Tensor, axis: int) -> None:
    """Raise a ValueError when one-hot targets do not suit predictions; warn of one class."""
    _check_axis(axis)
    need_equal_shapes(name, y_true, y_pred)
    if y_pred.shape[-1] == 1:
        warn_user(
            f"{name} of one class is always 0. With two classes and one output use "
            "binary_crossentropy.",
            SyntaxWarning,
        )


def _check_axis(axis: int) -> None:
    if isinstance(axis, bool):
        raise ValueError(f"`axis` must be an integer; received {axis!r}.")


def need_equal_shapes(name: str, y_true: torch.Tensor, y_pred: torch.Tensor) -> None:
    """Raise a ValueError when targets and predictions of the loss of a name differ in shape."""
    if y_true.shape == y_pred.shape:
        return
    hint = ""
    if name.startswith("categorical"):
        hint = " For class numbers use sparse_categorical_crossentropy."
    raise ValueError(
        f"{name} needs targets and predictions of one shape; received targets "
        f"{tuple(y_true.shape)} and predictions {tuple(y_pred.shape)}.{hint}"
    )


@register("loss")
class BinaryCrossentropy(LossFunctionWrapper):
    """Crossentropy of targets 0 and 1.

    Args:
        from_logits: whether the predictions are what a sigmoid would make probabilities of.
        label_smoothing: from 0 to 1; how far targets move towards 1/2.
        axis: over which the values of a sample are averaged.
        reduction: as for :class:`~torchkeras.losses.Loss`.
        name: likewise.
        dtype: likewise.
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            binary_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis

    def batch_mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor | None:
        """Return the mean of a batch by torch's fused loss."""
        y_true, y_pred = same_rank(y_true, y_pred)
        if y_true.shape != y_pred.shape or not y_pred.numel():
            return None
        if self.label_smoothing:
            y_true = smooth(y_true, self.label_smoothing, 2)
        return _binary(y_true, y_pred, self.from_logits, "mean")


@register("loss")
class CategoricalCrossentropy(LossFunctionWrapper):
    """Crossentropy of one-hot targets.

    Args:
        from_logits: whether the predictions are what a softmax would make probabilities of.
        label_smoothing: from 0 to 1; how far targets move towards 1 / classes.
        axis: where the classes lie.
        reduction: as for :class:`~torchkeras.losses.Loss`.
        name: likewise.
        dtype: likewise.
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
        )
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


@register("loss")
class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """Crossentropy of class numbers.

    Args:
        from_logits: whether the predictions are what a softmax would make probabilities of.
        ignore_class: a class number whose samples do not count.
        reduction: as for :class:`~torchkeras.losses.Loss`.
        axis: where the classes lie.
        name: as for :class:`~torchkeras.losses.Loss`.
        dtype: likewise.
    """

    config_unless = {"axis": -1}
    casts_targets = False
    targets = "classes"

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ):
        super().__init__(
            sparse_categorical_crossentropy,
            reduction,
            name,
            dtype,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
        )
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = axis
