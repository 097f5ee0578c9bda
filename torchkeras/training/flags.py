"""Who is trainable: what was so at ``compile`` and what the user has set since."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torchkeras.warn import warn_user


class NotedFlags:
    """The layers' ``trainable`` flags of the time of ``compile``, which training keeps to.

    While steps run, the layers have the noted flags; while the user's code runs, a callback or what
    follows ``fit``, they have those that the user set last.
    """

    def __init__(self):
        self._noted: list[tuple[Any, bool]] = []
        self._complete = False
        # Layers that have the noted flag for now, each with the user's.
        self._users: list[tuple[Any, bool]] = []
        self._named: set[Any] = set()

    def note(self, model: Any) -> None:
        """Note the flags of layers not seen before; the others keep what was noted first."""
        if self._complete:
            return
        known = dict(self._noted)
        self._noted = [(layer, known.get(layer, flag)) for layer, flag in model.trainable_flags()]
        self._complete = model.built

    def look_again(self) -> None:
        """Let the next :meth:`note` see layers that came or went."""
        self._complete = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Train with the noted flags; warn where the user's differ, which come back at the end."""
        self._named = set()
        try:
            self._take()
            yield
        finally:
            self._give_back()

    @contextlib.contextmanager
    def users(self) -> Iterator[None]:
        """Run code of the user's within :meth:`held`, with the user's flags."""
        self._give_back()
        yield
        self._take()

    def _take(self) -> None:
        changed = [(layer, flag) for layer, flag in self._noted if layer.trainable is not flag]
        if not changed:
            return
        fresh = [layer for layer, _ in changed if layer not in self._named]
        if fresh:
            self._named.update(fresh)
            names = ", ".join(repr(layer.name) for layer in fresh)
            warn_user(
                f"`trainable` of {names} was changed after compile(), which has no effect on "
                "training until compile() is called again."
            )
        for layer, flag in changed:
            self._users.append((layer, layer.trainable))
            layer.set_trainable_flag(flag)

    def _give_back(self) -> None:
        for layer, flag in self._users:
            layer.set_trainable_flag(flag)
        self._users.clear()
