"""Metrics that are a sum or a mean over samples."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from torchkeras import eras
from torchkeras.losses.loss import asks_batch, serialize
from torchkeras.losses.reduction import divide_no_nan, merge_mask
from torchkeras.losses.tensors import as_tensor, same_rank
from torchkeras.metrics.metric import Metric
from torchkeras.registry import deserialize, is_builtin, register, serialize_value


def _per_sample(
    values: torch.Tensor, sample_weight: torch.Tensor | None, reduce: Callable
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weigh values and reduce them to one a sample.

    Args:
        values: ``(batch, …)`` or a scalar.
        sample_weight: ``(batch,)``, one a value ``(batch, …)``, or a scalar.
        reduce: ``torch.mean`` or ``torch.sum``, over the axes after the first.

    Returns:
        Weighted values ``(batch,)`` and the weights that they stand for.

    Raises:
        ValueError: when the weights' shape does not fit the values'.
    """
    if sample_weight is not None:
        values, sample_weight = same_rank(values, sample_weight)
        own = sample_weight.dim()
        if values.dim() > own:
            values = reduce(values, dim=tuple(range(own, values.dim())))
        try:
            sample_weight = sample_weight.broadcast_to(values.shape)
        except RuntimeError:
            raise ValueError(
                f"`sample_weight` of shape {tuple(sample_weight.shape)} does not fit values of "
                f"shape {tuple(values.shape)}; give one weight a sample."
            ) from None
        values = values * sample_weight
        if own > 1:
            sample_weight = reduce(sample_weight, dim=tuple(range(1, own)))
    if values.dim() > 1:
        values = reduce(values, dim=tuple(range(1, values.dim())))
    return values, sample_weight


class _Reduction(Metric):
    """What a sum and a mean share: values and weights as tensors of the metric's dtype."""

    def _prepare(
        self, values: Any, sample_weight: Any, reduce: Callable
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        mask = getattr(values, "_keras_mask", None)
        values = as_tensor(values, self._torch_dtype, self._device)
        if sample_weight is not None:
            sample_weight = as_tensor(sample_weight, self._torch_dtype, self._device)
            if mask is not None:
                sample_weight = merge_mask(sample_weight, mask, self._torch_dtype, "sum")
        return _per_sample(values, sample_weight, reduce)


@register("metric")
class Sum(_Reduction):
    """Weighted sum of all values.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None):
        super().__init__(dtype, name)
        self.total = self.add_variable((), "zeros", self.dtype, name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add values ``(batch, …)``, weighted by ``(batch,)`` or ``(batch, …)``."""
        values, _ = self._prepare(values, sample_weight, torch.sum)
        self.total.assign_add(values.sum())

    def result(self) -> torch.Tensor:
        """Return the sum."""
        return self.total.value.clone()


@register("metric")
class Mean(_Reduction):
    """Weighted mean of all samples' values.

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None):
        super().__init__(dtype, name)
        self.total = self.add_variable((), "zeros", self.dtype, name="total")
        self.count = self.add_variable((), "zeros", self.dtype, name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Take in values ``(batch, …)``, averaged within each sample.

        Args:
            values: ``(batch, …)``, or a scalar that counts as one sample.
            sample_weight: one weight a sample ``(batch,)``, or one a value ``(batch, …)``.
        """
        values, weights = self._prepare(values, sample_weight, torch.mean)
        self.total.assign_add(values.sum())
        if weights is not None:
            self.count.assign_add(weights.sum())
        else:
            self.count.assign_add(values.shape[0] if values.dim() else 1)

    def result(self) -> torch.Tensor:
        """Return the mean, 0 before the first update."""
        return divide_no_nan(self.total.value, self.count.value)


@register("metric")
class MeanTensor(Metric):
    """Weighted mean of each element of tensors of one shape (tf.keras 2).

    Args:
        name: what the metric is called.
        dtype: the float type of the state.
        shape: of the tensors; the first tells unless given.
    """

    def __init__(
        self,
        name: str | None = "mean_tensor",
        dtype: Any = None,
        shape: Sequence[int] | None = None,
    ):
        super().__init__(dtype, name)
        self.shape = None if shape is None else tuple(shape)
        if shape is not None:
            self._keep(self.shape)

    def _keep(self, shape: Sequence[int]) -> None:
        self.total = self.add_variable(shape, "zeros", self.dtype, name="total")
        self.count = self.add_variable(shape, "zeros", self.dtype, name="count")

    @property
    def deferrable(self) -> bool:
        """False: an update takes whole tensors."""
        return False

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Take in a tensor.

        Args:
            values: of the shape of all.
            sample_weight: one weight for each row ``(len,)``, or one an element.

        Raises:
            ValueError: when the shape is another than before.
        """
        values = as_tensor(values, self._torch_dtype, self._device)
        if not self._variables:
            self._keep(values.shape)
        if tuple(values.shape) != tuple(self.total.shape):
            raise ValueError(
                f"{self.name}: all values must have one shape, {tuple(self.total.shape)}; received "
                f"{tuple(values.shape)}."
            )
        weight = torch.ones_like(values)
        if sample_weight is not None:
            weight = as_tensor(sample_weight, self._torch_dtype, self._device)
            values, weight = same_rank(values, weight)
            weight = weight.reshape(*weight.shape, *(1,) * (values.dim() - weight.dim()))
        self.total.assign_add((values * weight).reshape(self.total.shape))
        self.count.assign_add(weight.expand_as(values).reshape(self.total.shape))

    def result(self) -> torch.Tensor:
        """Return the mean of each element.

        Raises:
            ValueError: before the first update, when no shape was given.
        """
        if not self._variables:
            raise ValueError(f"{self.name} has no result before its first update.")
        return divide_no_nan(self.total.value, self.count.value)


@register("metric")
class MeanMetricWrapper(Mean):
    """Mean of what a function gives for targets and predictions.

    Args:
        fn: ``fn(y_true, y_pred, **kwargs)`` giving one value a sample ``(batch, …)``; a scalar
            counts as one value for the batch.
        name: what the metric is called.
        dtype: the float type of the state.
        kwargs: further arguments of the function.
    """

    def __init__(self, fn: Callable, name: str | None = None, dtype: Any = None, **kwargs: Any):
        super().__init__(name, dtype)
        # Not what the function gave to its callers in Keras 1, one number for a batch.
        self.fn = getattr(fn, "per_sample", fn)
        self.kwargs = kwargs

    @property
    def deferrable(self) -> bool:
        """True for a built-in function whose values do not depend on other samples."""
        is_per_sample = self.kwargs.get("axis", -1) == -1
        is_builtin_one = super().deferrable and is_builtin(self.fn)
        return is_builtin_one and is_per_sample and not asks_batch(self.fn)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Args:
            y_true: targets ``(batch, …)``.
            y_pred: predictions ``(batch, …)``.
            sample_weight: one weight a sample ``(batch,)``, or one a value of the function.
        """
        mask = getattr(y_pred, "_keras_mask", None)
        values = self.fn(y_true, y_pred, **self.kwargs)
        if mask is not None:
            if sample_weight is not None:
                sample_weight = as_tensor(sample_weight, self._torch_dtype, self._device)
            sample_weight = merge_mask(sample_weight, mask, self._torch_dtype, "sum")
        is_number = not getattr(values, "shape", ())
        if is_number and sample_weight is None and eras.value("metrics.weigh_batches"):
            sample_weight = len(y_pred)
        super().update_state(values, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again; a built-in one needs no ``fn``."""
        config = super().get_config()
        if "fn" in config:
            config.update(fn=serialize(self.fn), **serialize_value(self.kwargs))
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        """Make a metric from what :meth:`get_config` returned."""
        if "fn" in config:
            fn = deserialize("metric", config["fn"])
            # The name of a built-in function is that of the metric which is its mean.
            config = {**config, "fn": fn().fn if inspect.isclass(fn) else fn}
        return cls(**config)
