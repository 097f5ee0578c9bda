"""The three ways to clip gradients, on lists of tensors; none changes a gradient in place."""

from __future__ import annotations

import torch

Tensors = list[torch.Tensor]


def by_norm(gradients: Tensors, limit: float) -> Tensors:
    """Scale each gradient whose L2 norm exceeds ``limit`` down to it."""
    norms = torch._foreach_norm(gradients)
    torch._foreach_clamp_min_(norms, limit)
    return torch._foreach_div(torch._foreach_mul(gradients, limit), norms)


def by_global_norm(lists: list[Tensors], limit: float) -> list[Tensors]:
    """Scale all gradients by one factor so that their common L2 norm is at most ``limit``.

    Args:
        lists: gradients, one list for each device and dtype.
        limit: the largest common norm.

    Returns:
        The scaled lists; every gradient is NaN when the norm is infinite or NaN.
    """
    home = lists[0][0]
    norms = [norm.to(home) for gradients in lists for norm in torch._foreach_norm(gradients)]
    norm = torch.linalg.vector_norm(torch.stack(norms))
    # norm - norm is 0, or NaN for an infinite norm.
    scale = limit / torch.clamp_min(norm, limit) + (norm - norm)
    return [torch._foreach_mul(gradients, scale.to(gradients[0].device)) for gradients in lists]


def by_value(gradients: Tensors, limit: float) -> Tensors:
    """Bound every number to the range from ``-limit`` to ``limit``."""
    return torch._foreach_clamp_max(torch._foreach_clamp_min(gradients, -limit), limit)
