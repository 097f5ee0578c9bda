"""The output shape of a layer that has no closed form, found by running it on small tensors."""

from __future__ import annotations

from collections.abc import Callable

import torch

Shape = tuple[int | None, ...]


def output_shape(
    name: str,
    run: Callable[[torch.Tensor], torch.Tensor],
    input_shape: Shape,
    dtype: torch.dtype,
    device: torch.device,
) -> Shape:
    """Run a function twice, with unknown dimensions 2 and then 3; what differs is unknown.

    A layer that takes no floats, such as an embedding, is run on integers.

    Args:
        name: the layer's, for the error.
        run: the layer's arithmetic, free of side effects.
        input_shape: the input's shape, ``None`` where unknown.
        dtype: the input's dtype.
        device: where the layer's weights live.

    Raises:
        TypeError: when the layer gives no tensor.
        ValueError: when the two runs give outputs of different rank.
    """
    shapes = []
    for size in (2, 3):
        sizes = [size if known is None else known for known in input_shape]
        shapes.append(_shape_after(name, run, sizes, dtype, device))
        if None not in input_shape:
            return shapes[0]
    first, second = shapes
    if len(first) != len(second):
        raise ValueError(
            f"Layer {name!r}: its output's rank depends on the batch size: {first} and {second}."
        )
    return tuple(a if a == b else None for a, b in zip(first, second, strict=True))


def _shape_after(
    name: str, run: Callable, sizes: list[int], dtype: torch.dtype, device: torch.device
) -> tuple[int, ...]:
    with torch.no_grad():
        try:
            outputs = run(torch.zeros(sizes, dtype=dtype, device=device))
        except RuntimeError as first:
            try:
                outputs = run(torch.zeros(sizes, dtype=torch.int64, device=device))
            except RuntimeError:
                raise first from None
    if not isinstance(outputs, torch.Tensor):
        raise TypeError(
            f"Layer {name!r} returned {type(outputs).__name__} where one tensor was expected. Wrap "
            "it in a torch.nn.Module or a Layer that returns the tensor alone."
        )
    return tuple(outputs.shape)
