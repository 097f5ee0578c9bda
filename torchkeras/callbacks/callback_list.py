"""All callbacks of a run as one, the way the training loop drives them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torchkeras import eras
from torchkeras.callbacks.callback import Callback, Logs, float_logs
from torchkeras.callbacks.history import History
from torchkeras.callbacks.progbar import ProgbarLogger

_TRAIN = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")
_TEST = ("on_test_batch_begin", "on_test_batch_end")
_PREDICT = ("on_predict_batch_begin", "on_predict_batch_end")


def run_params(**facts: Any) -> dict[str, Any]:
    """Return the ``params`` of callbacks that the Keras version in force gives.

    Args:
        **facts: what the training loop knows of ``verbose``, ``epochs``, ``steps``, ``batch_size``,
            ``samples``, ``do_validation``, ``metrics``.
    """
    names = eras.value("callbacks.params")
    return {name: facts[fact] for name, fact in names.items() if fact in facts}


class CallbackList(Callback):
    """Hands each call on to a list of callbacks, in their order.

    Args:
        callbacks: a callback, a list of them (also nested), another ``CallbackList``, or ``None``.
        add_history: add a :class:`History` unless there is one.
        add_progbar: add a :class:`ProgbarLogger` unless there is one.
        model: the model that is trained.
        **params: the parameters of the run, given to every callback.

    Raises:
        TypeError: when an entry is not a :class:`Callback`.

    Attributes:
        callbacks: the callbacks.
        history: the :class:`History` among them, or ``None``.
        progbar: the :class:`ProgbarLogger` among them, or ``None``.
        has_train_batch_hooks: whether any callback wants to know of single steps of ``fit``. The
            progress bar has ``due`` and ``show`` of its own and does not count.
        has_test_batch_hooks: the same for ``evaluate`` and validation.
        has_predict_batch_hooks: the same for ``predict``.
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ):
        self.callbacks: list[Callback] = list(_flat(callbacks))
        if add_history and self._find(History) is None:
            self.callbacks.append(History())
        if add_progbar and self._find(ProgbarLogger) is None:
            self.callbacks.append(ProgbarLogger())
        self._look()
        self.set_model(model)
        self.set_params(params)

    def append(self, callback: Callback) -> None:
        """Add a callback at the end.

        Raises:
            TypeError: when it is not a :class:`Callback`.
        """
        self.callbacks.extend(_flat(callback))
        self._look()

    def _look(self) -> None:
        """See who is there and what they want to be told."""
        self.history: History | None = self._find(History)
        self.progbar: ProgbarLogger | None = self._find(ProgbarLogger)
        self.has_train_batch_hooks = any(_writes(c, _TRAIN) for c in self.callbacks)
        self.has_test_batch_hooks = any(_writes(c, _TEST) for c in self.callbacks)
        self.has_predict_batch_hooks = any(_writes(c, _PREDICT) for c in self.callbacks)

    def _find(self, cls: type) -> Any:
        return next((c for c in reversed(self.callbacks) if isinstance(c, cls)), None)

    def set_params(self, params: dict[str, Any]) -> None:
        """Give every callback the parameters of the run, when there are any."""
        self.params = params
        if params:
            for callback in self.callbacks:
                callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Give every callback the model, and the model its ``history``."""
        if model is None:
            return
        self.model = model
        if self.history is not None:
            model.history = self.history
        for callback in self.callbacks:
            callback.set_model(model)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        logs = float_logs(logs)
        for callback in self.callbacks:
            callback.on_train_begin(logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        logs = float_logs(logs)
        for callback in self.callbacks:
            callback.on_train_end(logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        logs = float_logs(logs)
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = float_logs(logs)
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        logs = float_logs(logs)
        for callback in self.callbacks:
            callback.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        logs = float_logs(logs)
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        logs = float_logs(logs)
        for callback in self.callbacks:
            callback.on_batch_begin(batch, logs)

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        logs = float_logs(logs)
        for callback in self.callbacks:
            callback.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        logs = float_logs(logs)
        for callback in self.callbacks:
            callback.on_test_begin(logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        logs = float_logs(logs)
        for callback in self.callbacks:
            callback.on_test_end(logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        logs = float_logs(logs)
        for callback in self.callbacks:
            callback.on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        logs = float_logs(logs)
        for callback in self.callbacks:
            callback.on_test_batch_end(batch, logs)

    # The logs of predict hold outputs, not means: they go through as they are.
    def on_predict_begin(self, logs: Logs | None = None) -> None:
        for callback in self.callbacks:
            callback.on_predict_begin(logs or {})

    def on_predict_end(self, logs: Logs | None = None) -> None:
        for callback in self.callbacks:
            callback.on_predict_end(logs or {})

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        for callback in self.callbacks:
            callback.on_predict_batch_begin(batch, logs or {})

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        for callback in self.callbacks:
            callback.on_predict_batch_end(batch, logs or {})


def _flat(callbacks: Any) -> Iterator[Callback]:
    """Yield the callbacks in a nest of lists."""
    if callbacks is None:
        return
    if isinstance(callbacks, CallbackList):
        yield from callbacks.callbacks
    elif isinstance(callbacks, Callback):
        yield callbacks
    elif isinstance(callbacks, (list, tuple)):
        for entry in callbacks:
            yield from _flat(entry)
    else:
        what = f"the class {callbacks.__name__}" if isinstance(callbacks, type) else repr(callbacks)
        advice = "; did you forget the parentheses?" if isinstance(callbacks, type) else "."
        raise TypeError(
            "`callbacks` takes instances of torchkeras.callbacks.Callback; received "
            f"{what} of type {type(callbacks).__name__}{advice}"
        )


def _writes(callback: Callback, hooks: tuple[str, ...]) -> bool:
    """Tell whether a callback has any of the hooks of its own."""
    cls = type(callback)
    for hook in hooks:
        inherited = (getattr(Callback, hook), getattr(ProgbarLogger, hook))
        if hook in vars(callback) or getattr(cls, hook) not in inherited:
            return True
    return False
