"""Regularizers: penalties on a weight or on a layer's output, added to the loss."""

from __future__ import annotations

import math
import numbers
from typing import Any

import torch
import torch.nn.functional as F

from torchkeras import config, eras, registry
from torchkeras.activations import as_tensor
from torchkeras.registry import Configurable, register


@register("regularizer", named=False)
class Regularizer(Configurable):
    """Base of penalties: a callable from a tensor to a scalar."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor | float:
        """Return the penalty on ``x``, a scalar; nothing here."""
        return 0.0


@register("regularizer")
class L1(Regularizer):
    """The penalty ``l1 * sum(abs(x))``.

    Args:
        l1: factor, finite and not negative; ``None`` is 0.01.

    Raises:
        ValueError: for any other factor.
    """

    def __init__(self, l1: float = 0.01):
        self.l1 = _factor("L1", "l1", 0.01 if l1 is None else l1)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the penalty on ``x`` (any shape), a scalar."""
        return self.l1 * torch.sum(torch.abs(as_tensor(x)))


@register("regularizer")
class L2(Regularizer):
    """The penalty ``l2 * sum(x**2)``.

    Args:
        l2: factor, finite and not negative; ``None`` is 0.01.

    Raises:
        ValueError: for any other factor.
    """

    def __init__(self, l2: float = 0.01):
        self.l2 = _factor("L2", "l2", 0.01 if l2 is None else l2)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the penalty on ``x`` (any shape), a scalar."""
        return self.l2 * torch.sum(torch.square(as_tensor(x)))


@register("regularizer")
class L1L2(Regularizer):
    """The penalty ``l1 * sum(abs(x)) + l2 * sum(x**2)``.

    Args:
        l1: factor of the first part, finite and not negative; ``None`` is 0.
        l2: factor of the second part, likewise.

    Raises:
        ValueError: for any other factor.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1 = _factor("L1L2", "l1", 0.0 if l1 is None else l1)
        self.l2 = _factor("L1L2", "l2", 0.0 if l2 is None else l2)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the penalty on ``x`` (any shape), a scalar."""
        x = as_tensor(x)
        if not self.l2:
            return self.l1 * torch.sum(torch.abs(x)) if self.l1 else x.new_zeros(())
        squares = self.l2 * torch.sum(torch.square(x))
        return self.l1 * torch.sum(torch.abs(x)) + squares if self.l1 else squares


@register("regularizer")
class OrthogonalRegularizer(Regularizer):
    """``factor`` times the mean absolute cosine between different rows (or columns) of a matrix.

    Args:
        factor: finite and not negative.
        mode: ``'rows'`` or ``'columns'``: which vectors shall become orthogonal.

    Raises:
        ValueError: for any other argument; when called, for a tensor that is no matrix.
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        self.factor = _factor("OrthogonalRegularizer", "factor", factor)
        if mode not in ("rows", "columns"):
            raise ValueError(
                f"OrthogonalRegularizer: mode must be 'rows' or 'columns'; received {mode!r}."
            )
        self.mode = mode

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the penalty on ``x`` ``(rows, columns)``, a scalar."""
        x = as_tensor(x)
        if x.dim() != 2:
            raise ValueError(
                f"OrthogonalRegularizer takes a matrix; received the shape {tuple(x.shape)}."
            )
        vectors = x if self.mode == "rows" else x.t()
        unit = F.normalize(vectors, dim=1, eps=config.epsilon())
        # Above the diagonal each pair stands once; a single vector has no pair, so no penalty.
        cosines = torch.triu(unit @ unit.t(), diagonal=1)
        pairs = max(len(vectors) * (len(vectors) - 1) / 2, 1)
        return self.factor * torch.sum(torch.abs(cosines)) / pairs


def _factor(owner: str, name: str, value: Any) -> float:
    """Return a factor as a float, refusing what is no finite number from 0 on."""
    if not isinstance(value, numbers.Real) or not math.isfinite(value) or value < 0:
        raise ValueError(
            f"{owner}: {name} must be a finite number not below 0; received {value!r}."
        )
    return float(value)


@register("regularizer", "l1l2")
def l1_l2(l1: float | None = None, l2: float | None = None) -> L1L2:
    """Make an :class:`L1L2`.

    Args:
        l1: its first factor; 0 unless given, 0.01 in the eras of Keras 1 and 2.
        l2: its second factor, likewise.
    """
    default = eras.value("l1_l2.factor")
    return L1L2(default if l1 is None else l1, default if l2 is None else l2)


l1 = L1
l2 = L2
orthogonal_regularizer = OrthogonalRegularizer

_get, serialize, deserialize = registry.accessors("regularizer")


def get(identifier: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the regularizer of a name, a class, a callable, an instance or a config.

    Args:
        identifier: ``None`` stays ``None``; ``'l1_l2'`` has the factors 0.01, as documented in
            every version.
        custom_objects: names for this look-up only.

    Raises:
        ValueError: when a name is unknown, or the thing is none of these.
    """
    if identifier == "l1_l2":
        return L1L2(0.01, 0.01)
    found = _get(identifier, custom_objects)
    return l1_l2() if found is l1_l2 else found
