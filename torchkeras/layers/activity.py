"""Penalties on outputs: each layer keeps those of the call that is under way, or was last."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch
from torch import nn

from torchkeras.graph import layers_changed


class _Calls(threading.local):
    """How many calls of layers are under way in this thread, one inside the other."""

    depth = 0


_calls = _Calls()
# Whether any layer penalizes its output: until then calls need not be counted.
_in_use = False


def in_use() -> bool:
    """Tell whether any layer has an activity regularizer."""
    return _in_use


def use() -> None:
    """Count calls from here on: a layer has an activity regularizer."""
    global _in_use
    if not _in_use:
        _in_use = True
        layers_changed()


@contextlib.contextmanager
def call_of(layer: nn.Module) -> Iterator[None]:
    """Surround a layer's call; the outermost one drops what the calls before it left."""
    if not _calls.depth:
        drop(layer)
    _calls.depth += 1
    try:
        yield
    finally:
        _calls.depth -= 1


def penalties(layer: nn.Module) -> list[torch.Tensor]:
    """Return the penalties that the last call left in a layer and those inside it.

    Those that ``add_loss`` was given as functions are computed now.
    """
    found = []
    for module in layer.modules():
        found += getattr(module, "_activity_losses", ())
        found += [function() for function in getattr(module, "_loss_functions", ())]
    return found


def drop(layer: nn.Module) -> None:
    """Forget the penalties in a layer and those inside it, and the graphs that they hold."""
    for module in layer.modules():
        found = getattr(module, "_activity_losses", None)
        if found:
            found.clear()
