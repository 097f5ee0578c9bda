"""Memory for time: what a function computes is computed again in the backward pass."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils import checkpoint

from torchkeras import tree

_MODES = ("full", "activations", "larger_than", "list_of_layers", None)
# As torch decorates it, its first call would import torch._dynamo (0.7 s).
_checkpoint = inspect.unwrap(checkpoint.checkpoint)
_scopes: list[RematScope] = []
# Whether there was any scope so far.
is_used = False


def remat(f: Callable) -> Callable:
    """Return a function that gives what another does and keeps nothing for the backward pass.

    What autograd needs is computed again there, with the same random numbers
    (``torch.utils.checkpoint``). Without gradients, and on symbolic tensors, it is the function.

    Args:
        f: a function of tensors or a layer.
    """

    def rematerialized(*args: Any, **kwargs: Any) -> Any:
        is_real = any(isinstance(leaf, torch.Tensor) for leaf in tree.leaves((args, kwargs)))
        if not is_real or not torch.is_grad_enabled():
            return f(*args, **kwargs)
        return _checkpoint(f, *args, use_reentrant=False, **kwargs)

    return rematerialized


class RematScope:
    """Lets layers that are made in a ``with`` block compute again what the backward pass needs.

    A layer that writes to its state in a call, such as a batch normalization, then does so twice.

    Args:
        mode: ``'full'``: the layers' calls; ``'activations'``: their activations alone;
            ``'larger_than'``: the calls of layers with more outputs than the threshold;
            ``'list_of_layers'``: those of the layers named; ``None``: nothing.
        output_size_threshold: numbers in the outputs, with ``'larger_than'``.
        layer_names: with ``'list_of_layers'``.

    Raises:
        ValueError: for another mode.
    """

    def __init__(
        self,
        mode: str | None = "full",
        output_size_threshold: int = 1024,
        layer_names: Sequence[str] | None = None,
    ):
        if mode not in _MODES:
            raise ValueError(f"RematScope: mode must be one of {_MODES}; received {mode!r}.")
        self.mode = mode
        self.output_size_threshold = output_size_threshold
        self.layer_names = list(layer_names or ())

    def __enter__(self) -> RematScope:
        global is_used
        is_used = True
        _scopes.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _scopes.remove(self)

    def applies_to(self, layer: Any, args: Sequence[Any]) -> bool:
        """Tell whether a layer's call as a whole is computed again.

        Args:
            layer: made in this scope.
            args: what it is called with.
        """
        if self.mode == "larger_than":
            given = tree.map_structure(lambda part: tuple(part.shape), args[0])
            sizes = tree.map_shape_structure(math.prod, layer.compute_output_shape(given))
            return sum(tree.leaves(sizes)) > self.output_size_threshold
        return self.mode == "full" or (
            self.mode == "list_of_layers" and layer.name in self.layer_names
        )


def current() -> RematScope | None:
    """Return the innermost scope in force that asks for something."""
    return _scopes[-1] if _scopes and _scopes[-1].mode is not None else None
