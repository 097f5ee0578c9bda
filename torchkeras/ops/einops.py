"""``keras.ops.einops``: axes rearranged by a pattern (https://einops.rocks)."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor

from torchkeras.ops.table import Table

op = Table("einops", __name__)
__all__ = op.names


@op.own(inputs="pattern")
def rearrange(tensor: Tensor, pattern: str, **axes_lengths: int) -> Tensor:
    """Reorder, split and merge axes, as in ``rearrange(x, 'b (h k) c -> b h (k c)', k=2)``.

    Args:
        tensor: of any shape.
        pattern: names of the axes before and after; a group in parentheses is one axis.
        axes_lengths: sizes of axes in groups; one of each group may be left out.

    Raises:
        ValueError: for a pattern that does not fit the shape, or names other axes after.
    """
    sides = [re.findall(r"\w+|\(.*?\)", side) for side in pattern.split("->")]
    before, *rest = [[group.strip("()").split() for group in side] for side in sides]
    names = sum(before, [])
    if len(rest) != 1 or sorted(names) != sorted(sum(rest[0], [])) or len(before) != tensor.ndim:
        raise ValueError(
            f"ops.rearrange: expected a pattern of {tensor.ndim} axes for shape "
            f"{tuple(tensor.shape)}, the same names before and after '->'; received {pattern!r}."
        )
    sizes = dict(axes_lengths)
    for group, size in zip(before, tensor.shape):
        for name in [name for name in group if name not in axes_lengths][:1]:
            sizes[name] = size // math.prod(axes_lengths.get(other, 1) for other in group)
        if math.prod(sizes.get(name, 0) for name in group) != size:
            raise ValueError(
                f"ops.rearrange: axes ({' '.join(group)}) of {pattern!r} do not make up size "
                f"{size} of shape {tuple(tensor.shape)}; received sizes {axes_lengths}."
            )
    (after,) = rest
    split = torch.reshape(tensor, [sizes[name] for name in names])
    moved = torch.permute(split, [names.index(name) for group in after for name in group])
    return torch.reshape(moved, [math.prod(sizes[name] for name in group) for group in after])
