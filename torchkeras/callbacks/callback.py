"""The base of callbacks: one method for each moment of training, evaluation and prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchkeras import eras

Logs = dict[str, Any]


class Callback:
    """Something that is told what happens in ``fit``, ``evaluate`` and ``predict``.

    Subclass it and write the methods of interest.  The methods of a batch are called, and the
    running loss and metrics computed for them, only where a callback writes one: at every step they
    cost time.

    Attributes:
        model: the model that is trained.
        params: the run's parameters: ``'verbose'``, ``'epochs'``, ``'steps'``, and under Keras 1
            and 2 what those versions gave.
        validation_data: always ``None``; Keras 1 and 2 put the validation arrays here.
    """

    # On the class, so that a subclass need not call super().__init__().
    params: dict[str, Any] | None = None
    validation_data: Any = None
    _model: Any = None

    @property
    def model(self) -> Any:
        """The model that is trained, or ``None`` before a run."""
        return self._model

    @model.setter
    def model(self, model: Any) -> None:
        self._model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Take the parameters of the run that is about to begin."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Take the model of the run that is about to begin."""
        self.model = model

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called when ``fit`` begins; ``logs`` is empty."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called when ``fit`` ends, with the logs of the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called when an epoch of ``fit`` begins; ``epoch`` counts from 0, ``logs`` is empty."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called when an epoch of ``fit`` ends.

        Args:
            epoch: counts from 0.
            logs: loss and metrics of the epoch as floats, those of the validation as ``'val_…'``.
                All callbacks share it: what one adds, those after it and the history see.
        """

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a step of ``fit``; calls :meth:`on_batch_begin`, its older name."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a step of ``fit``; calls :meth:`on_batch_end`, its older name.

        Args:
            batch: counts from 0 in each epoch.
            logs: loss and metrics over the epoch so far, as floats.
        """
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """The older name of :meth:`on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """The older name of :meth:`on_train_batch_end`."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called when ``evaluate``, or the validation in ``fit``, begins."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called when ``evaluate``, or the validation in ``fit``, ends, with its results."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of ``evaluate`` or of the validation in ``fit``."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of ``evaluate`` or of the validation, with the means so far."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called when ``predict`` begins."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called when ``predict`` ends."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of ``predict``."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of ``predict``; ``logs['outputs']`` is what the model gave."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        on_epoch_begin: called as ``f(epoch, logs)``.
        on_epoch_end: called as ``f(epoch, logs)``.
        on_train_begin: called as ``f(logs)``.
        on_train_end: called as ``f(logs)``.
        on_train_batch_begin: called as ``f(batch, logs)``.
        on_train_batch_end: called as ``f(batch, logs)``.
        **hooks: functions for any other method of :class:`Callback`.

    Raises:
        ValueError: when a name is no method of :class:`Callback`.
        TypeError: when a value is not callable.
    """

    def __init__(
        self,
        on_epoch_begin: Callable | None = None,
        on_epoch_end: Callable | None = None,
        on_train_begin: Callable | None = None,
        on_train_end: Callable | None = None,
        on_train_batch_begin: Callable | None = None,
        on_train_batch_end: Callable | None = None,
        **hooks: Callable | None,
    ):
        hooks.update(
            on_epoch_begin=on_epoch_begin,
            on_epoch_end=on_epoch_end,
            on_train_begin=on_train_begin,
            on_train_end=on_train_end,
            on_train_batch_begin=on_train_batch_begin,
            on_train_batch_end=on_train_batch_end,
        )
        for name, function in hooks.items():
            if name not in HOOKS:
                raise ValueError(
                    f"LambdaCallback: callbacks have no method {name!r}; they have: "
                    f"{', '.join(HOOKS)}."
                )
            if function is None:
                continue
            if not callable(function):
                raise TypeError(
                    f"LambdaCallback: {name} must be a function; received {function!r}."
                )
            setattr(self, name, function)


def as_float(value: Any) -> Any:
    """Return a number, or an array or tensor of one element, as a float, the rest as it is."""
    if type(value) is float:
        return value
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return value


def float_logs(logs: Logs | None) -> Logs:
    """Return logs as callbacks get them: a new flat dictionary of floats.

    Keras 3 sorts the names; before, the loss came first and the metrics followed as compiled.
    """
    items = (logs or {}).items()
    flat: Logs = {}
    for name, value in sorted(items) if eras.value("logs.sorted") else items:
        if isinstance(value, dict):
            flat.update(float_logs(value))
        else:
            flat[name] = as_float(value)
    return flat
