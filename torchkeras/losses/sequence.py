"""The loss of labels whose places in time are not known."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras import ops
from torchkeras.graph import records
from torchkeras.losses.loss import LossFunctionWrapper
from torchkeras.losses.tensors import as_float, as_tensor
from torchkeras.registry import register


@register("loss")
@records
def ctc(y_true: Any, y_pred: Any) -> torch.Tensor:
    """Return the negative log likelihood of labels that lie somewhere in time.

    (Graves et al. 2006, Connectionist Temporal Classification.)

    Args:
        y_true: class numbers ``(batch, labels)``, filled up with 0, which means no label.
        y_pred: logits ``(batch, steps, classes)``; all steps count.

    Returns:
        Values in nats, ``(batch,)``.

    Raises:
        ValueError: for targets or predictions of another rank.
    """
    y_pred = as_float(y_pred)
    labels = as_tensor(y_true, device=y_pred.device)
    if labels.dim() != 2:
        raise ValueError(
            "Targets `y_true` are expected to be a tensor of shape `(batch_size, max_length)` in "
            f"integer format. Received: y_true.shape={tuple(labels.shape)}"
        )
    if y_pred.dim() != 3:
        raise ValueError(
            "Logits `y_pred` are expected to be a tensor of shape `(batch_size, max_length, "
            f"num_classes)`. Received: y_pred.shape={tuple(y_pred.shape)}"
        )
    steps = torch.full((len(y_pred),), y_pred.shape[1], dtype=torch.int32, device=y_pred.device)
    return ops.ctc_loss(labels, y_pred, (labels != 0).sum(-1, dtype=torch.int32), steps)


@register("loss")
class CTC(LossFunctionWrapper):
    """Negative log likelihood of labels that lie somewhere in time; arguments as for Loss."""

    casts_targets = False
    targets = "labels"

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "ctc",
        dtype: Any = None,
    ):
        super().__init__(ctc, reduction, name, dtype)
