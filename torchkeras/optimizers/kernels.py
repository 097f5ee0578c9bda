"""Small pieces of arithmetic that several update rules share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

# torch's fused SGD (2.13, CPU) leaves these where they are, but for the last few numbers.
_HALF = (torch.bfloat16, torch.float16)


def descend(
    parameters: list[torch.Tensor],
    directions: list[torch.Tensor],
    rate: torch.Tensor,
    ascend: bool = False,
) -> None:
    """Subtract ``rate * direction`` from each parameter, in place and in one call.

    Args:
        parameters: tensors of one device and dtype.
        directions: as many, laid out in memory as the parameters.
        rate: 0-d float32 tensor on the same device, so that no number leaves the device.
        ascend: add instead.
    """
    if parameters[0].dtype in _HALF:
        move = torch._foreach_add_ if ascend else torch._foreach_sub_
        move(parameters, torch._foreach_mul(directions, rate))
        return
    # torch's fused SGD without momentum: the one kernel that scales a list by a tensor and adds it.
    torch._fused_sgd_(
        parameters,
        directions,
        [],
        weight_decay=0.0,
        momentum=0.0,
        lr=rate,
        dampening=0.0,
        nesterov=False,
        maximize=ascend,
        is_first_step=False,
    )


@contextlib.contextmanager
def only_where(wanted: torch.Tensor, tensors: list[torch.Tensor]) -> Iterator[None]:
    """Take the changes of tensors in a ``with`` block back unless ``wanted``, which nobody reads.

    Args:
        wanted: 0-d boolean tensor, known before the block.
        tensors: all that the block changes.
    """
    before = [tensor.clone() for tensor in tensors]
    yield
    for tensor, held in zip(tensors, before):
        tensor.copy_(torch.where(wanted.to(tensor.device), tensor, held))


class Complements:
    """Computes ``1 - base ** count`` for several bases in two calls, into memory made once.

    Args:
        bases: such as ``(beta_1, beta_2)``.
        dtype: what to compute in. Keras rounds the powers to the parameters' dtype, and near
            ``base = 1`` that rounding is all that is left of the difference, so it matters.
        device: where ``count`` lives.
    """

    def __init__(self, bases: tuple[float, ...], dtype: torch.dtype, device: torch.device):
        self.bases = bases
        self._bases = torch.tensor(bases, dtype=dtype, device=device)
        self._one = torch.ones((), dtype=dtype, device=device)
        self._results = torch.empty_like(self._bases)
        self._parts = self._results.unbind()

    def __call__(self, count: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return one 0-d tensor for each base, overwritten by the next call.

        Args:
            count: 0-d integer tensor.
        """
        torch.pow(self._bases, count, out=self._results)
        torch.sub(self._one, self._results, out=self._results)
        return self._parts

    def tensors(self) -> list[torch.Tensor]:
        """Return the tensors held."""
        return [self._bases, self._one, self._results, *self._parts]
