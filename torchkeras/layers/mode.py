"""Training or inference for a while."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from torch import nn


class _Chosen(threading.local):
    """How many of the choices below are in force in this thread, one inside the other."""

    depth = 0


_chosen = _Chosen()


def is_chosen() -> bool:
    """Tell whether somebody has chosen between training and inference for the call under way."""
    return _chosen.depth > 0


@contextlib.contextmanager
def mode(module: nn.Module, training: bool) -> Iterator[None]:
    """Switch a module and all inside it; afterwards each gets its own mode back.

    Args:
        module: the outermost.
        training: training or inference.
    """
    _chosen.depth += 1
    try:
        with _switched(module, training):
            yield
    finally:
        _chosen.depth -= 1


@contextlib.contextmanager
def _switched(module: nn.Module, training: bool) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    if all(was is training for _, was in modes):
        yield
        return
    before = module.training
    module.train(training)
    try:
        yield
    finally:
        # Through train(), which a user's module may have a version of, then the exceptions.
        module.train(before)
        for part, was in modes:
            if part.training is not was:
                part.training = was
