"""From values per sample to one number: sample weights, masks, reductions."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.losses.tensors import as_tensor, same_rank

MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")
REDUCTIONS = (*MEANS, "sum", "none", None)


class Reduction:
    """Names of reductions as Keras 2.3 and tf.keras 2 wrote them; ``AUTO`` is the default one."""

    AUTO = "auto"
    NONE = "none"
    SUM = "sum"
    SUM_OVER_BATCH_SIZE = "sum_over_batch_size"

    @classmethod
    def all(cls) -> tuple[str, ...]:
        """Return the names."""
        return cls.AUTO, cls.NONE, cls.SUM, cls.SUM_OVER_BATCH_SIZE

    @classmethod
    def validate(cls, key: str) -> None:
        """Raise a ValueError for another name."""
        if key not in cls.all():
            raise ValueError(f"Invalid Reduction Key: {key!r}. Expected one of {cls.all()}.")


def check_reduction(reduction: str | None) -> str | None:
    """Return the reduction, or raise a ValueError when there is no such one."""
    if reduction == Reduction.AUTO:
        return Reduction.SUM_OVER_BATCH_SIZE
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"`reduction` must be one of {', '.join(map(repr, REDUCTIONS))}; "
            f"received {reduction!r}."
        )
    return reduction


def reduce(
    values: torch.Tensor,
    sample_weight: Any = None,
    mask: torch.Tensor | None = None,
    reduction: str | None = "sum_over_batch_size",
) -> torch.Tensor:
    """Weigh values and reduce them as Keras' losses do.

    Args:
        values: ``(batch, …)``.
        sample_weight: one weight a sample ``(batch,)`` or ``(batch, 1)``, or one a value.
        mask: True where a value counts; shaped like the weights.
        reduction: ``'sum_over_batch_size'`` and ``'mean'`` divide the sum by the number of values,
            ``'mean_with_sample_weight'`` by the sum of the weights, ``'sum'`` by nothing;
            ``'none'`` and ``None`` leave the values as they are.

    Raises:
        ValueError: when the weights' shape does not fit the values'.
    """
    if sample_weight is not None:
        sample_weight = as_tensor(sample_weight, values.dtype, values.device)
    if mask is not None:
        sample_weight = merge_mask(sample_weight, mask, values.dtype, reduction)
    if sample_weight is not None:
        values, sample_weight = _fit(values, sample_weight)
        values = values * sample_weight
    if reduction in ("none", None) or values.dim() == 0 or values.shape == (0,):
        return values
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        return divide_no_nan(values.sum(), sample_weight.sum())
    if reduction == "sum" or not values.numel():
        return values.sum()
    return values.mean()


def merge_mask(
    sample_weight: torch.Tensor | None,
    mask: torch.Tensor,
    dtype: torch.dtype,
    reduction: str | None,
) -> torch.Tensor:
    """Return sample weights in which a mask has been counted.

    A mean over the batch then becomes one over the values that count: they weigh total / counted.
    """
    weight = torch.as_tensor(mask).to(dtype)
    if reduction in ("mean", "sum_over_batch_size"):
        weight = weight * divide_no_nan(weight.new_tensor(float(weight.numel())), weight.sum())
    if sample_weight is None:
        return weight
    weight, sample_weight = _align(weight, sample_weight)
    return sample_weight * weight


def divide_no_nan(numerator: torch.Tensor, denominator: torch.Tensor) -> torch.Tensor:
    """Divide, with 0 where the denominator is 0."""
    safe = torch.where(denominator == 0, 1, denominator)
    return torch.where(denominator == 0, 0, numerator / safe)


def _fit(values: torch.Tensor, sample_weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the weights the rank of the values, or complain."""
    given = tuple(sample_weight.shape)
    values, sample_weight = _align(values, sample_weight)
    fits = sample_weight.dim() <= values.dim() and all(
        weight in (1, length) for weight, length in zip(sample_weight.shape, values.shape)
    )
    if not fits and values.numel() != 1:
        raise ValueError(
            f"`sample_weight` of shape {given} does not fit losses of shape {tuple(values.shape)}; "
            f"give one weight a sample, of shape ({values.shape[0]},)."
        )
    return values, sample_weight


def _align(values: torch.Tensor, sample_weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Let ``(batch,)`` weights stand for whole samples of values ``(batch, steps, …)``.

    Keras broadcasts them along the last axis, which fails, or weighs the steps when there happen to
    be as many steps as samples.
    """
    values, sample_weight = same_rank(values, sample_weight)
    missing = values.dim() - sample_weight.dim()
    if missing > 0 and sample_weight.dim():
        sample_weight = sample_weight.reshape(*sample_weight.shape, *[1] * missing)
    return values, sample_weight
