"""The output shape of a layer that has no closed form, found by running it on small tensors."""

from __future__ import annotations

from collections.abc import Callable

import torch

Shape = tuple[int | None, ...]


def output_shape(
    run: Callable[[torch.Tensor], torch.Tensor],
    input_shape: Shape,
    dtype: torch.dtype,
    device: torch.device,
) -> Shape:
    """Run a function twice, with unknown dimensions 2 and then 3; what differs is unknown.

    Args:
        run: the layer's arithmetic, free of side effects.
        input_shape: the input's shape, ``None`` where unknown.
        dtype: the input's dtype.
        device: where the layer's weights live.

    Raises:
        ValueError: when the two runs give outputs of different rank.
    """
    shapes = []
    for size in (2, 3):
        sizes = [size if known is None else known for known in input_shape]
        with torch.no_grad():
            shapes.append(tuple(run(torch.zeros(sizes, dtype=dtype, device=device)).shape))
        if None not in input_shape:
            return shapes[0]
    first, second = shapes
    if len(first) != len(second):
        raise ValueError(f"The output's rank depends on the batch size: {first} and {second}.")
    return tuple(a if a == b else None for a, b in zip(first, second, strict=True))
