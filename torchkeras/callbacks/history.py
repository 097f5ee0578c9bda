"""The record of a run that ``fit`` returns."""

from __future__ import annotations

from typing import Any

from torchkeras.callbacks.callback import Callback, Logs, as_float

_OTHER = {"acc": "accuracy", "accuracy": "acc"}


def _other_name(key: Any) -> str | None:
    """Return ``'val_accuracy'`` for ``'val_acc'`` and the other way round, else ``None``."""
    if not isinstance(key, str):
        return None
    head, line, last = key.rpartition("_")
    return head + line + _OTHER[last] if last in _OTHER else None


class HistoryDict(dict):
    """A dictionary where accuracy is found as ``'acc'`` and as ``'accuracy'``.

    What is stored keeps its one name: ``keys()``, ``items()``, ``==`` and ``repr`` are a plain
    dictionary's, and a pickle or a copy is one.
    """

    def __missing__(self, key: Any) -> Any:
        other = _other_name(key)
        if other is not None and dict.__contains__(self, other):
            return dict.__getitem__(self, other)
        raise KeyError(f"{key!r} is not in the history, which has: {', '.join(self) or 'nothing'}.")

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or dict.__contains__(self, _other_name(key))

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the values of a name, or ``default`` when there are none."""
        try:
            return self[key]
        except KeyError:
            return default

    def __reduce__(self):
        return dict, (dict(self),)


class History(Callback):
    """Collects what each epoch ends with; ``fit`` makes one, and returns it.

    Attributes:
        history: name -> one float for each epoch; the validation's names begin with ``'val_'``.
        epoch: the epochs that ended, counted from 0.
        params: the run's parameters.
        model: the model that was trained.
    """

    def __init__(self):
        self.history: dict[str, list[float]] = HistoryDict()
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(as_float(value))

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A pickled or copied HistoryDict comes back as a plain dictionary.
        self.__dict__.update(state)
        self.history = HistoryDict(self.history)
