"""The arithmetic of softmax over several axes and of sparsemax, for operations and activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def over_axes(function: Callable[[Tensor, int], Tensor], x: Tensor, axes: Sequence[int]) -> Tensor:
    """Apply a function of one axis to several as if they were one.

    Args:
        function: of a tensor and an axis, giving a tensor of the same shape.
        x: of any shape.
        axes: counted from 0.
    """
    rank = x.dim()
    order = [*(axis for axis in range(rank) if axis not in axes), *axes]
    moved = x.permute(order)
    found = function(moved.flatten(rank - len(axes)), -1).reshape(moved.shape)
    return found.permute([order.index(axis) for axis in range(rank)])


def sparsemax(x: Tensor, axis: int) -> Tensor:
    """Return ``max(x - tau, 0)``, where ``tau`` makes the sum along an axis 1.

    Source: Martins and Astudillo 2016, arXiv:1602.02068, algorithm 1.
    """
    descending = torch.sort(x, dim=axis, descending=True).values
    excess = torch.cumsum(descending, dim=axis) - 1
    count = torch.cumsum(torch.ones_like(x), dim=axis)
    size = (count * descending > excess).sum(dim=axis, keepdim=True)
    tau = torch.gather(excess, axis, (size - 1).clamp(min=0)) / size
    return torch.relu(x - tau)
