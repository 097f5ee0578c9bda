"""The loss of embeddings: like labels near each other, unlike ones apart."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from torchkeras.graph import records
from torchkeras.losses.loss import LossFunctionWrapper
from torchkeras.losses.tensors import as_float, as_tensor
from torchkeras.registry import register


@register("loss")
@records
def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> torch.Tensor:
    """Return ``softplus(logsumexp of like pairs + logsumexp of unlike pairs)`` of each sample.

    (Sun et al. 2020, Circle Loss: A Unified Perspective of Pair Similarity Optimization.)

    Args:
        y_true: class numbers ``(batch,)`` or ``(batch, 1)``.
        y_pred: embeddings of length 1, ``(batch, size)``.
        ref_labels: class numbers of what samples are compared with; the batch itself unless given.
        ref_embeddings: its embeddings, likewise.
        remove_diagonal: whether a sample is not compared with the reference of the same place.
        gamma: how sharp the difference is.
        margin: how far pairs may be from ideal; smaller is stricter.

    Returns:
        Values ``(batch,)``; those of samples without like or unlike pairs are 0 and do not count.
    """
    y_pred = as_float(y_pred)
    device = y_pred.device
    labels = as_tensor(y_true, torch.int32, device).reshape(-1, 1)
    others = y_pred if ref_embeddings is None else as_tensor(ref_embeddings, y_pred.dtype, device)
    if ref_labels is None:
        ref_labels = labels
    like = labels == as_tensor(ref_labels, torch.int32, device).reshape(1, -1)
    unlike = ~like
    if remove_diagonal:
        like = like & ~torch.eye(*like.shape, dtype=torch.bool, device=device)
    # Of unit vectors, 0 for the same and 2 for opposite ones.
    distance = (1 - y_pred @ others.t()).clamp(min=0)
    pull = gamma * (margin + distance).clamp(min=0) * (distance - margin)
    push = gamma * (1 + margin - distance).clamp(min=0) * (1 - margin - distance)
    nothing = float("-inf")
    values = F.softplus(
        torch.where(like, pull, nothing).logsumexp(1)
        + torch.where(unlike, push, nothing).logsumexp(1)
    )
    values._keras_mask = values > 0
    return values


circle.asks_batch = True


@register("loss")
class Circle(LossFunctionWrapper):
    """Loss of embeddings that brings like labels together and keeps unlike ones apart.

    Args:
        gamma: how sharp the difference is.
        margin: how far pairs may be from ideal; smaller is stricter.
        remove_diagonal: whether a sample is not compared with itself.
        reduction: as for :class:`~torchkeras.losses.Loss`.
        name: likewise.
        dtype: likewise.
    """

    casts_targets = False
    targets = "labels"

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "circle",
        dtype: Any = None,
    ):
        super().__init__(
            circle,
            reduction,
            name,
            dtype,
            gamma=gamma,
            margin=margin,
            remove_diagonal=remove_diagonal,
        )
        self.gamma = gamma
        self.margin = margin
        self.remove_diagonal = remove_diagonal
