"""Loss: what turns targets and predictions into the number that training lowers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from torchkeras import config, dtypes, registry
from torchkeras.losses.reduction import MEANS, check_reduction, reduce
from torchkeras.losses.tensors import as_tensor, same_rank
from torchkeras.registry import (
    Configurable,
    auto_name,
    deserialize,
    register,
    serialize_value,
    snake_case,
)
from torchkeras.variable import Variable


@register("loss", named=False)
class Loss(Configurable):
    """Base of all losses: a subclass writes ``call(y_true, y_pred)``, the rest is done here.

    Args:
        name: what the loss is called; the class' name, numbered, unless given.
        reduction: from values per sample to one number: ``'sum_over_batch_size'`` (the same as
            ``'mean'``), ``'sum'``, ``'mean_with_sample_weight'``, or ``'none'``/``None`` for no
            reduction.
        dtype: the float type to compute in; ``floatx`` unless given.

    Raises:
        ValueError: for an unknown reduction.
    """

    config_without = ("dtype",)
    # Whether targets are cast to the loss' dtype, as all are that are no class numbers.
    casts_targets = True
    # What targets are: 'outputs', of the outputs' shape; 'classes', a number for each; 'labels' of
    # some other kind.
    targets = "outputs"

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ):
        self.name = name or auto_name(snake_case(type(self).__name__))
        self.reduction = check_reduction(reduction)
        self._dtype = dtypes.policy(dtype or config.floatx()).torch_compute_dtype

    @property
    def dtype(self) -> str:
        """Keras' name of the float type that the loss computes in."""
        return dtypes.name_of(self._dtype)

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        # A short way to the mean holds for the call() that it was written for.
        if "call" in cls.__dict__ and "batch_mean" not in cls.__dict__:
            cls.batch_mean = Loss.batch_mean

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> torch.Tensor:
        """Compute the loss of a batch.

        Args:
            y_true: targets ``(batch, …)``, a tensor or anything that becomes one, or a structure.
            y_pred: predictions ``(batch, …)``.
            sample_weight: one weight a sample ``(batch,)``, or one a value of the loss.

        Returns:
            A scalar; with no reduction one value a sample.
        """
        mask = getattr(y_pred, "_keras_mask", None)
        y_true, y_pred = self._convert_both(y_true, y_pred)
        if sample_weight is None and mask is None and self.reduction in MEANS:
            mean = self.batch_mean(y_true, y_pred)
            if mean is not None:
                return mean
        values = self.call(y_true, y_pred)
        counted = getattr(values, "_keras_mask", None)
        if counted is not None:
            mask = counted if mask is None else mask & counted
        return reduce(as_tensor(values, self._dtype), sample_weight, mask, self.reduction)

    def call(self, y_true: Any, y_pred: Any) -> torch.Tensor:
        """Return one value a sample, ``(batch, …)``; a subclass writes this.

        Args:
            y_true: targets, already tensors of the loss' dtype.
            y_pred: predictions, likewise.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement call(y_true, y_pred).")

    def batch_mean(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor | None:
        """Return the unweighted mean over a batch where a shorter way to the same number exists.

        Training goes this way at every step, and a small model's step costs what its number of
        torch calls costs.

        Returns:
            A scalar, or ``None`` where there is no shorter way.
        """
        return None

    @property
    def separable(self) -> bool:
        """Whether the loss of joined batches is the mean of their losses, weighed by their sizes.

        False unless that is known, as it is of built-in losses whose values depend on one sample
        each and whose reduction divides by the number of values.  Predictions with a mask and those
        without an axis beside the samples are exceptions that a loss cannot know beforehand.
        """
        return False

    def total(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> torch.Tensor:
        """Compute the loss of a batch times its number of samples, summed in double precision.

        Args:
            y_true: targets ``(batch, …)``.
            y_pred: predictions ``(batch, …)``.
            sample_weight: as for a call.

        Returns:
            A scalar, of float64 where the device has it.
        """
        y_true, y_pred = self._convert_both(y_true, y_pred)
        values = dtypes.widest(as_tensor(self.call(y_true, y_pred), self._dtype))
        return reduce(values, sample_weight, None, self.reduction) * len(y_pred)

    def _convert_both(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        y_pred = self._convert(y_pred, self._dtype)
        return self._convert(y_true, self._dtype if self.casts_targets else None, y_pred), y_pred

    @staticmethod
    def _convert(value: Any, dtype: torch.dtype | None, like: Any = None) -> Any:
        """Turn a value, or a structure of values, into tensors."""
        if type(value) is torch.Tensor and (dtype is None or value.dtype is dtype):
            return value
        if isinstance(value, dict):
            return {key: Loss._convert(part, dtype, like) for key, part in value.items()}
        if isinstance(value, (list, tuple)) and any(isinstance(part, _ARRAYS) for part in value):
            return type(value)(Loss._convert(part, dtype, like) for part in value)
        is_array = isinstance(value, (torch.Tensor, Variable))
        device = None if is_array or not isinstance(like, torch.Tensor) else like.device
        return as_tensor(value, dtype, device)


_ARRAYS = (torch.Tensor, Variable, np.ndarray, dict)


@register("loss")
class LossFunctionWrapper(Loss):
    """A loss made of a function of targets and predictions.

    Args:
        fn: ``fn(y_true, y_pred, **kwargs)`` giving one value a sample, ``(batch, …)``.
        reduction: as for :class:`Loss`.
        name: likewise.
        dtype: likewise.
        kwargs: further arguments of the function.
    """

    def __init__(
        self,
        fn: Callable,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ):
        super().__init__(name, reduction, dtype)
        self.fn = fn
        self.kwargs = kwargs

    def call(self, y_true: Any, y_pred: Any) -> torch.Tensor:
        """Return the function's values, after giving targets and predictions one rank."""
        if isinstance(y_true, torch.Tensor) and isinstance(y_pred, torch.Tensor):
            y_true, y_pred = same_rank(y_true, y_pred)
        return self.fn(y_true, y_pred, **self.kwargs)

    @property
    def separable(self) -> bool:
        """True for a built-in function of single samples, averaged over all values."""
        axis = self.kwargs.get("axis", -1)
        return (
            self.reduction in ("sum_over_batch_size", "mean")
            and self._dtype in (torch.float32, torch.float64)  # others round each batch's mean
            and registry.is_builtin(type(self))
            and registry.is_builtin(self.fn)
            and not asks_batch(self.fn)
            and self.kwargs.get("ignore_class") is None
            and isinstance(axis, int)
            and (axis == -1 or axis > 0)  # the samples lie along axis 0
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this loss again; a built-in one needs no ``fn``."""
        config = super().get_config()
        if "fn" in config:
            config.update(fn=serialize(self.fn), **serialize_value(self.kwargs))
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        """Make a loss from what :meth:`get_config` returned."""
        if "fn" in config:
            config = {**config, "fn": deserialize("loss", config["fn"])}
        return cls(**config)


def asks_batch(function: Callable) -> bool:
    """Tell whether a built-in function's value for a sample depends on the others of its batch."""
    return getattr(function, "asks_batch", False)


def serialize(loss: Any) -> Any:
    """Return Keras' serialized form of a loss or metric: a dictionary, for a function too."""
    if not inspect.isroutine(loss) or not registry.is_builtin(loss):
        return registry.serialize(loss)
    return {
        "module": "builtins",
        "class_name": "function",
        "config": loss.__name__,
        "registered_name": "function",
    }
