"""The learning phase of Keras 1 and 2: whether the layer whose ``call`` runs is training."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

from torchkeras import eras
from torchkeras.graph import layers_changed


class _State(threading.local):
    """Whether the call under way in this thread trains, and whether there is one."""

    training = False
    in_call = False


_state = _State()
_forced: int | None = None


class LearningPhase(int):
    """0 or 1, recognizable as the learning phase among the inputs of ``K.function``."""


def learning_phase() -> int:
    """Return 1 while training and 0 else; what ``set_learning_phase`` said, if it was called.

    Inside a layer's ``call`` it is that layer's mode.
    """
    return LearningPhase(_state.training if _forced is None else _forced)


def set_learning_phase(value: int) -> None:
    """Fix the learning phase for every call from here on, until ``clear_session``.

    Args:
        value: 0 for inference, 1 for training.

    Raises:
        ValueError: for any other value.
    """
    global _forced
    if value not in (0, 1):
        raise ValueError(f"The learning phase is 0 or 1; received {value!r}.")
    _forced = int(value)
    layers_changed()


def forced_learning_phase() -> int | None:
    """Return what ``set_learning_phase`` said; ``None`` where it was not called."""
    return _forced


def makes_updates() -> bool:
    """Tell whether updates are made now: in Keras 1 and 2 a call that does not train makes none."""
    return not _state.in_call or bool(learning_phase()) or not eras.value("updates.only_training")


def free_learning_phase() -> None:
    """Let each call have its own phase again."""
    global _forced
    _forced = None
    layers_changed()


@contextlib.contextmanager
def within(training: bool) -> Iterator[None]:
    """Say for the length of a ``with`` block whether what runs is training."""
    before, _state.training = _state.training, bool(training)
    try:
        yield
    finally:
        _state.training = before


def follows_phase(call: Callable) -> Callable:
    """Decorate a layer's ``call``: while it runs, the learning phase is the layer's mode."""

    @functools.wraps(call)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = _state.training, _state.in_call
        _state.training, _state.in_call = self.training, True
        try:
            return call(self, *args, **kwargs)
        finally:
            _state.training, _state.in_call = before

    return run
