"""Targets and predictions as tensors of one dtype, device and rank."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras import dtypes
from torchkeras.variable import Variable, as_tensor


def as_float(value: Any, device: torch.device | None = None) -> torch.Tensor:
    """Turn a value into a tensor of its own float type, or of ``floatx`` when it has none."""
    tensor = as_tensor(value, device=device)
    return tensor if tensor.is_floating_point() else tensor.to(dtypes.to_torch(None))


def pair(y_true: Any, y_pred: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return targets and predictions in the predictions' float type, device and rank.

    Args:
        y_true: targets ``(batch, …)``; ``(batch,)`` is taken as ``(batch, 1)`` where the
            predictions are ``(batch, 1)``.
        y_pred: predictions ``(batch, …)``.
    """
    y_pred = as_float(y_pred, y_true.device if _leads(y_true, y_pred) else None)
    return same_rank(as_tensor(y_true, y_pred.dtype, y_pred.device), y_pred)


def same_rank(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Add or drop a last axis of length 1 where two ranks differ by one.

    ``(n,)`` against ``(n, 1)`` becomes ``(n, 1)``; ``(n, k)`` against ``(n, k, 1)`` drops the 1.
    """
    difference = first.dim() - second.dim()
    if difference == 1 and first.shape[-1] == 1:
        if second.dim() == 1:
            return first, second.unsqueeze(-1)
        return first.squeeze(-1), second
    if difference == -1 and second.shape[-1] == 1:
        if first.dim() == 1:
            return first.unsqueeze(-1), second
        return first, second.squeeze(-1)
    return first, second


def _leads(y_true: Any, y_pred: Any) -> bool:
    """Tell whether the targets say the device: they are a tensor and the predictions are not."""
    is_tensor = isinstance(y_pred, (torch.Tensor, Variable))
    return not is_tensor and isinstance(y_true, (torch.Tensor, Variable))
