"""Labels to one-hot rows, and arrays to unit length."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from torchkeras import config


def to_categorical(x: Any, num_classes: int | None = None) -> Any:
    """Turn class numbers into one-hot rows.

    Args:
        x: integers from 0 to ``num_classes - 1``, of any shape; a last axis of length 1 is dropped.
        num_classes: the number of classes; unless given, the largest class number plus 1.

    Returns:
        An array of shape ``x.shape + (num_classes,)``: float64 from numpy for arrays and lists, an
        int64 tensor for a tensor.

    Raises:
        ValueError: when there are no labels to count the classes of, a label is no number, or it is
            outside the classes.
    """
    if isinstance(x, torch.Tensor):
        labels = x.long()
    else:
        try:
            labels = np.array(x, dtype="int64")
        except (TypeError, ValueError) as error:
            raise ValueError(f"to_categorical: labels must be integers; {error}.") from None
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels.reshape(labels.shape[:-1])
    is_empty = 0 in labels.shape
    if not num_classes:
        if is_empty:
            raise ValueError("to_categorical: `x` is empty; give `num_classes`.")
        num_classes = int(labels.max()) + 1
    if not is_empty and (labels.min() < 0 or labels.max() >= num_classes):
        raise ValueError(
            f"to_categorical: labels must be integers from 0 to {num_classes - 1} "
            f"(num_classes={num_classes}); received labels from {int(labels.min())} to "
            f"{int(labels.max())}."
        )
    if isinstance(labels, torch.Tensor):
        return torch.nn.functional.one_hot(labels, num_classes)
    rows = np.zeros((labels.size, num_classes))
    rows[np.arange(labels.size), labels.reshape(-1)] = 1
    return rows.reshape(*labels.shape, num_classes)


def normalize(x: Any, axis: int | None = -1, order: int = 2) -> Any:
    """Divide an array by its norm along an axis; what has norm 0 stays 0.

    Args:
        x: an array, a list or a tensor.
        axis: the axis along which the norm is taken; ``None`` takes the norm of the whole array.
        order: which norm: 2 is the Euclidean one, 1 the sum of magnitudes (``numpy.linalg.norm``).

    Returns:
        A tensor for a tensor, else a numpy array, of the shape of ``x``; a vector given as an array
        comes back as one row, as from Keras.

    Raises:
        ValueError: when ``x`` is a tensor and ``order`` is no integer of at least 1.
    """
    if isinstance(x, torch.Tensor):
        return _normalize_tensor(x, axis, order)
    x = np.asarray(x)
    norm = np.atleast_1d(np.linalg.norm(x, order, axis))
    norm[norm == 0] = 1
    return x / np.expand_dims(norm, -1 if axis is None else axis)


def _normalize_tensor(x: torch.Tensor, axis: int | None, order: int) -> torch.Tensor:
    if not isinstance(order, int) or order < 1:
        raise ValueError(
            f"normalize: `order` must be an integer of at least 1 for a tensor; received {order!r}."
        )
    if not x.is_floating_point():
        x = x.to(getattr(torch, config.floatx()))
    norm = torch.linalg.vector_norm(x, order, dim=axis, keepdim=True)
    return x / norm.clamp(min=config.epsilon())
