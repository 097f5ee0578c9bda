"""A loss of ``torch.nn`` in Keras' place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from torchkeras.losses.loss import Loss
from torchkeras.losses.reduction import reduce
from torchkeras.losses.tensors import as_float, as_tensor, same_rank

# Modules and functions whose targets may be class numbers, which torch wants as int64.
_TAKES_CLASSES = [
    "CrossEntropyLoss",
    "NLLLoss",
    "NLLLoss2d",
    "MultiMarginLoss",
    "MultiLabelMarginLoss",
    "cross_entropy",
    "nll_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
]


class TorchLoss(Loss):
    """Calls a torch loss in torch's order, ``loss(y_pred, y_true)``, and keeps its own reduction.

    Integer targets stay class numbers where the loss takes such (``(batch, 1)`` becomes
    ``(batch,)``); all others are cast to the predictions' dtype.

    Args:
        fn: a module of ``torch.nn`` or a function of ``torch.nn.functional``.
        name: what the loss is called.
    """

    def __init__(self, fn: Callable, name: str | None = None):
        super().__init__(name)
        self.fn = fn
        inner = getattr(fn, "func", fn)
        kind = getattr(inner, "__name__", type(inner).__name__)
        self._takes_classes = kind in _TAKES_CLASSES

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> torch.Tensor:
        """Compute the loss of a batch; arguments and result as for :class:`Loss`.

        Raises:
            ValueError: for sample weights when the torch loss reduces by itself.
        """
        values = self.call(y_true, y_pred)
        if values.dim() == 0 and sample_weight is not None:
            raise ValueError(
                f"The torch loss {self.name!r} reduces by itself, so samples cannot be weighed; "
                "make it with reduction='none'."
            )
        return reduce(values, sample_weight, None, self.reduction)

    def call(self, y_true: Any, y_pred: Any) -> torch.Tensor:
        """Return what the torch loss gives: a scalar, or one value a sample with ``'none'``."""
        y_pred = as_float(y_pred)
        y_true = as_tensor(y_true, device=y_pred.device)
        if self._takes_classes and not y_true.is_floating_point():
            is_column = y_true.dim() == y_pred.dim() and y_true.shape[-1] == 1
            y_true = (y_true.squeeze(-1) if is_column and y_pred.shape[-1] > 1 else y_true).long()
        else:
            y_true, y_pred = same_rank(y_true.to(y_pred.dtype), y_pred)
        if isinstance(self.fn, torch.nn.Module):
            self._follow(y_pred.device)
        return self.fn(y_pred, y_true)

    def get_config(self) -> dict[str, Any]:
        """Refuse: a torch loss has no Keras config."""
        raise ValueError(
            f"The torch loss {self.name!r} has no Keras config and cannot be saved; use a Keras "
            "loss, or compile again after loading."
        )

    def _follow(self, device: torch.device) -> None:
        """Move the module's own tensors, such as class weights, to where the predictions are."""
        if any(buffer.device != device for buffer in self.fn.buffers()):
            self.fn.to(device)
