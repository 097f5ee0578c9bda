"""A step that records itself once per kind of batch and is replayed from then on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch

from torchkeras.training.capture import user_code
from torchkeras.training.capture.cuda import for_device
from torchkeras.training.capture.guard import State
from torchkeras.training.capture.record import SWITCHED, Record, record
from torchkeras.training.capture.replay import Replay
from torchkeras.training.capture.report import StepReport
from torchkeras.training.capture.rewrite import rewrite

Outputs = Sequence[torch.Tensor | None]
# Buffers of a captured step above this size are let go when the run ends.
_KEPT_BYTES = 2**24
# After so many records in a row that differ the step stays eager.
_CHANGES = 3
_NONE_YET = "no step was done yet"


class _Kind:
    """What is known about the step on batches of one length."""

    __slots__ = ("applied", "calls", "changes", "reason", "record", "replay", "seen")

    def __init__(self):
        self.seen = 0
        self.changes = 0
        self.reason: str | None = None
        self.record: Record | None = None
        self.replay: Replay | None = None
        self.applied: dict[str, int] = {}
        self.calls: int | None = None


class CapturedStep:
    """Runs a step eagerly, then records it, then replays it; with the same numbers.

    Args:
        step: the eager step, called with the tensors of a batch; returns tensors and ``None``.
        recorded: the same step as it is recorded; it may return less.
        known: returns every tensor that is state.
        guard: returns the settings that a record relies on, to be compared.
        users: what of the user's Python runs in the step.
        bind_views: whether views of state are made once, at the places where it lies.
        why_eager: asked before each run; says why the step may not be captured.
        training: the mode that the model must be in, which another thread may have changed; any
            unless given.

    Attributes:
        has_users: whether Python code of the user's runs in the step.
    """

    def __init__(
        self,
        step: Callable[..., Outputs],
        recorded: Callable[..., Outputs],
        known: Callable[[], Iterable[torch.Tensor]],
        guard: Callable[[], State],
        users: Sequence[Any] = (),
        bind_views: bool = True,
        why_eager: Callable[[], str | None] = lambda: None,
        training: bool | None = None,
    ):
        self._step = step
        self._recorded = recorded
        self._known = known
        self._guard = guard
        self.has_users = self._has_known_users = bool(users)
        self._bind_views = bind_views
        self._why_eager = why_eager
        self._training = training
        self._lock = threading.Lock()
        self._state: State | None = None
        self._kinds: dict[Any, dict[int, _Kind]] = {}
        # Of the batches at hand: by their length, those that may be replayed.
        self._quick: dict[int, Replay] = {}
        self._current: dict[int, _Kind] = {}
        self._reason: str | None = _NONE_YET
        # What was captured last, for the report.
        self._last: _Kind | None = None

    # ------------------------------------------------------------------------------- the runs

    @contextlib.contextmanager
    def run(self) -> Iterator[CapturedStep | _EagerRun]:
        """Yield the step for the time of a run; a run beside it or within it stays eager."""
        if not self._lock.acquire(blocking=False):
            yield _EagerRun(self._step)
            return
        try:
            yield self
        finally:
            self._quick = {}
            self._current = {}
            self._lock.release()

    def let_go(self) -> None:
        """Give large buffers back; the next run makes them again."""
        for kinds in self._kinds.values():
            for kind in kinds.values():
                if kind.replay is not None and kind.replay.nbytes > _KEPT_BYTES:
                    kind.replay = kind.record = None

    def begin(self, batch: Outputs, beside_hook: bool = False) -> None:
        """Look whether everything is as it was recorded: before an epoch, after a user's code.

        Args:
            batch: the next one.
            beside_hook: whether code of the user's runs between the steps.
        """
        self._quick = {}
        self._reason = self._why_eager() or user_code.surroundings()
        if self._reason is not None:
            return
        state = self._guard()
        self.has_users = self._has_known_users or state.has_users
        if self.has_users and beside_hook:
            self._reason = "a callback's batch hook runs beside Python code of the user's"
        elif self._training not in (None, state.root.training):
            self._reason = SWITCHED
        elif not state.is_complete:
            self._reason = "the step can read more than can be looked at (TorchScript, say)"
        if self._reason is not None:
            return
        if state != self._state:
            self._kinds = {}
            self._state = state
        self._current = self._kinds.setdefault(_signature(batch), {})
        if not self.has_users:
            self._quick = {n: k.replay for n, k in self._current.items() if k.replay is not None}

    def __call__(self, *batch: Any) -> Outputs:
        length = batch[0].shape[0]
        replay = self._quick.get(length)
        if replay is not None:
            return replay(*batch)
        if self._reason is not None:
            return self._step(*batch)
        kind = self._current.get(length)
        if kind is None:
            kind = self._current[length] = _Kind()
        if kind.seen == 0 or kind.reason is not None:
            kind.seen += 1
            return self._step(*batch)
        return self._record(kind, batch)

    # -------------------------------------------------------------------------------- records

    def _record(self, kind: _Kind, batch: Sequence[Any]) -> Outputs:
        state = self._guard()
        if self._training not in (None, state.root.training):
            return self._step(*batch)
        if state != self._state:
            # The first step may have made something for good, a generator for example; more often
            # is a reason to stay eager.
            self._forget(state)
            kind.changes += 1
        outputs, new = record(
            self._recorded,
            batch,
            self._known(),
            state.root,
            state.codes if self.has_users else None,
        )
        old, kind.record = kind.record, new
        difference = None
        if new.hazards:
            kind.reason = None if new.hazards == [SWITCHED] else new.hazards[0]
            difference = new.hazards[0]
            kind.record = None
        elif self._guard() != state:
            difference = "the step changes settings or replaces tensors that it uses"
            kind.record = None
        elif old is not None:
            difference = old.difference(new)
        elif self.has_users or new.loose:
            return outputs  # until another record is equal
        if difference is not None:
            kind.replay = None
            kind.changes += 1
            if kind.changes >= _CHANGES:
                kind.reason = kind.reason or difference
            return outputs
        kind.changes = 0
        if kind.replay is None:
            # Memory made within inference mode could not be written to outside of it.
            with torch.inference_mode(False):
                kind.applied = rewrite(new.program)
                replay = Replay(new.program, self._bind_views)
                kind.replay = for_device(replay, batch)
        if not self.has_users:
            kind.record = None  # none will be compared with it
        kind.calls = kind.replay.calls
        self._last = kind
        self._quick[batch[0].shape[0]] = kind.replay
        return outputs

    def _forget(self, state: State) -> None:
        """Let go of what was recorded under other settings."""
        self._state = state
        self._quick = {}
        for kinds in self._kinds.values():
            for kind in kinds.values():
                kind.record = kind.replay = None

    # --------------------------------------------------------------------------------- report

    def report(self) -> StepReport:
        """Say how the steps ran."""
        kinds = [kind for kinds in self._kinds.values() for kind in kinds.values()]
        reasons = [kind.reason for kind in kinds if kind.reason is not None]
        if self._reason == _NONE_YET:
            return StepReport()
        if self._reason is not None:
            return StepReport("eager", self._reason)
        last = self._last
        if last is not None and last.reason is None and not (reasons and last not in kinds):
            return StepReport("captured", None, last.calls, dict(last.applied))
        return StepReport(
            "eager", reasons[0] if reasons else "no two batches of one shape were seen yet"
        )


class _EagerRun:
    """A run of a step that another run holds at the moment.

    Args:
        step: the eager step.
    """

    def __init__(self, step: Callable[..., Outputs]):
        self._step = step

    def begin(self, batch: Outputs, beside_hook: bool = False) -> None:
        """Do nothing: an eager step needs no preparation."""

    def __call__(self, *batch: Any) -> Outputs:
        return self._step(*batch)


def _signature(batch: Outputs) -> tuple[Any, ...]:
    """Return what batches of one kind have in common, their length aside."""
    return tuple(
        None if part is None else (part.shape[1:], part.stride(), part.dtype, part.device)
        for part in batch
    )
