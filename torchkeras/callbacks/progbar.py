"""The progress bar of a terminal, the plain lines of a file, and the callback that shows them."""

from __future__ import annotations

import logging
import math
import shutil
import sys
from collections.abc import Iterable
from time import perf_counter
from typing import Any

import numpy as np

from torchkeras import config
from torchkeras.callbacks.callback import Callback, Logs, float_logs

Values = Iterable[tuple[str, Any]]

_BOLD, _GREEN, _WHITE, _PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[37m", "\x1b[0m"


class Progbar:
    """A progress bar, as Keras 3 draws it.

    In a terminal or a notebook the bar is drawn again and again in one line.  Where the output is a
    file or a pipe, one plain line is written at the end.

    Args:
        target: the number of steps to come; ``None`` when unknown.
        width: the bar's width, in characters.
        verbose: 1 draws the bar, 2 writes one line at the end, 0 is silent.
        interval: seconds that pass at least between two drawings.
        stateful_metrics: names whose last value is shown; of all others the mean is shown.
        stateless_metrics: names whose mean is shown; of all others the last value is shown.
        unit_name: what is counted, such as ``'step'``.

    Raises:
        ValueError: when both ``stateful_metrics`` and ``stateless_metrics`` are given.
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ):
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError(
                "Progbar: give `stateful_metrics` or `stateless_metrics`, not both; each leaves "
                "all other names to the other kind."
            )
        self.target = target
        self.width = width
        self.verbose = verbose
        self.interval = interval
        self.unit_name = unit_name
        self.stateful_metrics = None if stateful_metrics is None else set(stateful_metrics)
        self.stateless_metrics = None if stateless_metrics is None else set(stateless_metrics)
        # Whether the bar is drawn while the steps go on, not only at the end.
        self.is_live = verbose == 1 and _redraws_lines(sys.stdout)
        # name -> (sum, count) of the values so far
        self._values: dict[str, tuple[Any, int]] = {}
        self._seen = 0
        self._start = perf_counter()
        self._first_step_end: float | None = None
        self._drawn_at = -math.inf
        self._drawn_length = 0

    def update(
        self, current: int, values: Values | None = None, finalize: bool | None = None
    ) -> None:
        """Tell how many steps are done, and draw the bar when it is time to.

        Args:
            current: the number of steps done.
            values: pairs of a name and its value in the last step.
            finalize: whether this is the last update; unless given, once ``current`` is ``target``.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        for name, value in values or ():
            self._add_value(name, value, current, finalize)
        self._seen = current
        now = perf_counter()
        step_time = self._step_time(current, now)
        if self.is_live:
            if finalize or now - self._drawn_at >= self.interval:
                self._draw(current, now, step_time, finalize)
                self._drawn_at = now
        elif finalize and (self.verbose == 1 or (self.verbose == 2 and self.target)):
            count = f"{_padded(current, self.target)}/{self.target or 'Unknown'}"
            elapsed = f"{now - self._start:.0f}s"
            write(f"{count} - {elapsed} - {self._rate(step_time)}{self._metrics()}\n")

    def add(self, n: int, values: Values | None = None) -> None:
        """Tell that ``n`` more steps are done; ``values`` as in :meth:`update`."""
        self.update(self._seen + n, values)

    def _add_value(self, name: str, value: Any, current: int, finalize: bool) -> None:
        if self.stateless_metrics is not None:
            averaged = name in self.stateless_metrics
        else:
            averaged = name not in (self.stateful_metrics or ())
        if averaged and not finalize:
            total, count = self._values.get(name, (0.0, 0))
            steps = max(current - self._seen, 1)
            self._values[name] = (total + value * steps, count + steps)
        else:
            self._values[name] = (value, 1)

    def _step_time(self, current: int, now: float) -> float:
        """Return the seconds a step takes; the first one, slower, counts only while it is alone."""
        if not current:
            return 0.0
        if self._first_step_end is not None and current > 1:
            return (now - self._first_step_end) / (current - 1)
        if current == 1:
            self._first_step_end = now
        return (now - self._start) / current

    def _rate(self, step_time: float) -> str:
        if step_time >= 1 or step_time == 0:
            return f"{step_time:.0f}s/{self.unit_name}"
        if step_time >= 1e-3:
            return f"{step_time * 1e3:.0f}ms/{self.unit_name}"
        return f"{step_time * 1e6:.0f}us/{self.unit_name}"

    def _metrics(self) -> str:
        return "".join(
            f" - {name}: {_number(total, count)}" for name, (total, count) in self._values.items()
        )

    def _draw(self, current: int, now: float, step_time: float, finalize: bool) -> None:
        """Draw the bar over what was drawn before."""
        if self.target and not finalize:
            clock = _remaining(step_time * (self.target - current))
        else:
            clock = f"{now - self._start:.0f}s"
        if self.target:
            count = f"{_padded(current, self.target)}/{int(self.target)}"
            done = min(max(int(self.width * current / self.target), 0), self.width)
            bars = "━" * done, "━" * (self.width - done)
            head = f"{count} {''.join(bars)} {clock}"
            styled = f"{_BOLD}{count}{_PLAIN} "
            styled += f"{_GREEN}{bars[0]}{_PLAIN}" if done else ""
            styled += f"{_WHITE}{bars[1]}{_PLAIN} {_BOLD}{clock}{_PLAIN}"
        else:
            count = f"{current:7d}/Unknown"
            head = f"{count} {clock}"
            styled = f"{count} {_BOLD}{clock}{_PLAIN}"
        tail = f" {self._rate(step_time)}{self._metrics()}"
        if not finalize:
            # A line that wraps cannot be drawn over: the last column stays empty.
            room = _columns() - 1
            if len(head) > room:
                head = styled = count[:room]
            tail = tail[: room - len(head)]
        length = len(head) + len(tail)
        blank = " " * (self._drawn_length - length)
        write("\r" + styled + tail + blank + ("\n" if finalize else ""))
        self._drawn_length = length


class ProgbarLogger(Callback):
    """Shows the progress of ``fit``, ``evaluate`` and ``predict``, as ``verbose`` says.

    The loop that drives it asks ``due(step)`` after each step, which costs a look at the clock, and
    only when that is true computes the running logs and hands them to ``show(step, logs)``::

        if bar.due(step):
            bar.show(step, running_logs())

    ``step`` is the number of steps done.  A loop that calls ``on_train_batch_end`` with logs, for
    other callbacks' sake, need not ask: that hook asks itself.

    Attributes:
        seen: the steps of this epoch that are done.
        target: the steps of an epoch, ``None`` until known.
        progbar: the :class:`Progbar` of this epoch.
    """

    # Drawing, and computing what is drawn, may take this share of the time ...
    _share = 0.02
    # ... unless nothing were drawn for so many seconds.
    _patience = 1.0

    def __init__(self):
        self.seen = 0
        self.target: int | None = None
        self.progbar: Progbar | None = None
        self.verbose = 1
        self.epochs = 1
        self._in_fit = False
        # The next drawing: of any bar, and of the one that is shown (never, when it is not live).
        # The first outlives an epoch, so that epochs of a few milliseconds draw no half-done bars.
        self._draw_after = -math.inf
        self._due_at = math.inf
        self._asked_at = 0.0

    def set_params(self, params: dict[str, Any]) -> None:
        """Take ``verbose``, ``epochs`` and ``steps`` of the run."""
        self.params = params
        verbose = params.get("verbose", 1)
        self.verbose = 1 if verbose == "auto" else verbose
        self.epochs = params.get("epochs", 1)
        self.target = params.get("steps")

    def due(self, step: int) -> bool:
        """Tell whether it is time to draw, ``step`` steps of the epoch being done."""
        self.seen = step
        now = perf_counter()
        if now < self._due_at:
            return False
        self._asked_at = now
        return True

    def show(self, step: int, logs: Logs | None = None) -> None:
        """Draw the bar after ``step`` steps, with the running means ``logs``."""
        self.seen = step
        self.progbar.update(step, float_logs(logs).items(), finalize=False)
        self._wait()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._in_fit = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._in_fit = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.verbose and self.epochs > 1:
            write(f"Epoch {epoch + 1}/{self.epochs}\n")
        self._begin()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._finish(logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.due(batch + 1):
            self.show(batch + 1, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        # The validation in fit is silent.
        if self._in_fit:
            self._due_at = math.inf
        else:
            self._begin()

    def on_test_end(self, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._finish(logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if not self._in_fit and self.due(batch + 1):
            self.show(batch + 1, logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._begin()

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._finish(None)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.due(batch + 1):
            self.show(batch + 1)

    def _begin(self) -> None:
        self.seen = 0
        self.progbar = Progbar(self.target, verbose=self.verbose, stateless_metrics=())
        self._due_at = self._draw_after if self.progbar.is_live else math.inf

    def _finish(self, logs: Logs | None) -> None:
        if self.target is None:
            self.target = self.progbar.target = self.seen
        self._asked_at = perf_counter()
        self.progbar.update(self.target, (logs or {}).items(), finalize=True)
        self._wait()

    def _wait(self) -> None:
        """Put the next drawing off, the longer the more time went into the last."""
        now = perf_counter()
        pause = min((now - self._asked_at) / self._share, self._patience)
        self._draw_after = self._due_at = now + max(self.progbar.interval, pause)


def write(text: str) -> None:
    """Write to standard output at once; ``=`` stands for the bar where it cannot be encoded.

    Without interactive logging the text goes to the logger ``'torchkeras'``.
    """
    if not config.is_interactive_logging_enabled():
        logging.getLogger("torchkeras").info(text.strip())
        return
    stream = sys.stdout
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "utf-8"
        text = text.replace("━", "=")
        stream.write(text.encode(encoding, errors="ignore").decode(encoding))
    stream.flush()


def _redraws_lines(stream: Any) -> bool:
    """Tell whether a carriage return goes back to the start of a line: terminals and notebooks."""
    if type(stream).__module__.partition(".")[0] == "ipykernel":
        return True
    return hasattr(stream, "isatty") and stream.isatty()


def _columns() -> float:
    """Return the width of the terminal; a notebook has no end."""
    if hasattr(sys.stdout, "isatty") and sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return 10**6


def _padded(current: int, target: int | None) -> str:
    return f"{current:{len(str(int(target or 0)))}d}"


def _number(total: Any, count: int) -> str:
    """Format a mean: four decimals, or an exponent when it is small."""
    if not isinstance(total, float):
        total = float(total.mean() if hasattr(total, "mean") else np.mean(total))
    mean = total / max(1, count)
    return f"{mean:.4f}" if abs(mean) > 1e-3 else f"{mean:.4e}"


def _remaining(seconds: float) -> str:
    """Format a duration: seconds, minutes:seconds, or hours:minutes:seconds."""
    whole = int(seconds)
    if seconds > 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
    if seconds > 60:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole}s"
