"""Training or inference for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def mode(module: nn.Module, training: bool) -> Iterator[None]:
    """Switch a module and all inside it; afterwards each gets its own mode back.

    Args:
        module: the outermost.
        training: training or inference.
    """
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
