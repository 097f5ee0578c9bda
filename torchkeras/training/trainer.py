"""compile, fit, evaluate and predict."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from torchkeras import config, dtypes, random
from torchkeras.callbacks import Callback, CallbackList, History, run_params
from torchkeras.layers import activity
from torchkeras.layers.mode import mode
from torchkeras.registry import is_builtin, reads_arguments
from torchkeras.training import arguments, data, memory, support, threads
from torchkeras.training.arrays import as_tensor
from torchkeras.training.capture.report import StepReport
from torchkeras.training.compiled import Compiled
from torchkeras.training.data import Batches
from torchkeras.training.on_batch import OnBatch
from torchkeras.training.step import Penalties, TrainStep
from torchkeras.training.steps import Steps
from torchkeras.warn import warn_user


class Trainer(OnBatch):
    """The half of a model that trains; :class:`Model` adds the layers."""

    _compiled: Compiled | None = None
    stop_training: bool = False
    stop_evaluating: bool = False
    stop_predicting: bool = False
    history: History | None = None

    # -------------------------------------------------------------------------------- compile

    @reads_arguments("Model.compile")
    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Sequence[Any] | None = None,
        weighted_metrics: Sequence[Any] | None = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str | None = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Choose how the model is trained.

        Args:
            optimizer: ``'adam'``, an instance, a class, a config, or a ``torch.optim`` optimizer
                (an instance, its class or a ``functools.partial`` of it).
            loss: ``'mse'``, an instance, a class, a config, any callable ``loss(y_true, y_pred)``
                in torch, or a torch loss module.
            loss_weights: factor of the loss.
            metrics: list of names, instances, classes or callables.
            weighted_metrics: metrics that take the sample weights.
            run_eagerly: run each step as plain Python.
            steps_per_execution: batches between two calls of the batch hooks.
            jit_compile: ``True`` runs the model through ``torch.compile``.
            auto_scale_loss: of effect only with mixed float16, which is not supported yet.

        Raises:
            ValueError: for an unknown name, with the nearest known names, an argument of the wrong
                kind, or when ``fit`` is under way.
        """
        if self._compiled is not None and self._compiled.running:
            raise ValueError(
                "compile was called by a callback while fit is under way. Set "
                "model.stop_training = True there, then call compile and fit again."
            )
        support.no_custom_steps(self)
        self._compiled = Compiled(
            optimizer,
            loss,
            loss_weights,
            metrics,
            weighted_metrics,
            run_eagerly,
            steps_per_execution,
            jit_compile,
        )
        self._compiled.flags.note(self)

    @property
    def compiled(self) -> bool:
        """Whether ``compile`` was called."""
        return self._compiled is not None

    @property
    def optimizer(self) -> Any:
        """The optimizer of ``compile``; ``None`` before."""
        return self._compiled and self._compiled.optimizer

    @property
    def run_eagerly(self) -> bool:
        """Whether ``compile`` was asked to run each step as plain Python."""
        return self._compiled is not None and self._compiled.run_eagerly

    @property
    def jit_compile(self) -> bool:
        """Whether the model runs through ``torch.compile``."""
        return self._compiled is not None and self._compiled.jit_compile

    @property
    def loss(self) -> Any:
        """The loss as ``compile`` received it; ``None`` before."""
        return self._compiled and self._compiled.objective.given

    @property
    def metrics(self) -> list[Any]:
        """The metric objects; known once the model has seen data."""
        return list(self._compiled.objective.metrics) if self._compiled else []

    @property
    def metrics_names(self) -> list[str]:
        """The names of what ``evaluate`` returns, in order: the loss first."""
        return ["loss", *self._compiled.objective.names] if self._compiled else []

    def reset_metrics(self) -> None:
        """Set the running loss and metrics back to their start."""
        self._objective("reset_metrics").reset()

    # ------------------------------------------------------------------------------------ fit

    @reads_arguments("Model.fit")
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Callback] | Callback | CallbackList | None = None,
        validation_split: float = 0.0,
        validation_data: Sequence[Any] | None = None,
        shuffle: bool | str = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
    ) -> History:
        """Train the model.

        Args:
            x: inputs: array, list, tensor or pandas frame, samples first.
            y: targets, likewise.
            batch_size: samples a step; 32 unless given.
            epochs: the epoch to end with, counted from ``initial_epoch``.
            verbose: 0 silent, 1 a bar, 2 a line an epoch, ``'auto'`` a bar.
            callbacks: :class:`Callback` instances.
            validation_split: the part of the data, from the end, that validates.
            validation_data: ``(x, y)`` or ``(x, y, sample_weight)`` that validates.
            shuffle: a new order each epoch; ``'batch'`` shuffles whole batches.
            class_weight: class -> weight in the loss.
            sample_weight: one weight a sample.
            initial_epoch: the epoch to start with.
            steps_per_epoch: batches an epoch; all of them unless given.
            validation_steps: batches of each validation.
            validation_batch_size: ``batch_size`` unless given.
            validation_freq: every how many epochs, or after which epochs (counted from 1), to
                validate.

        Returns:
            The history: ``history.history['loss']`` and so on, one number an epoch.

        Raises:
            ValueError: when the model is not compiled or the data does not fit it.
        """
        objective = self._objective("fit")
        support.one_process()
        random.seed_torch_for_run()
        epochs = arguments.whole("epochs", epochs)
        initial_epoch = arguments.whole("initial_epoch", initial_epoch)
        verbose = arguments.verbosity(verbose)
        steps_per_epoch = arguments.count_if_given("steps_per_epoch", steps_per_epoch)
        validation_steps = arguments.count_if_given("validation_steps", validation_steps)
        validation_batch_size = arguments.count_if_given(
            "validation_batch_size", validation_batch_size
        )
        validation_freq = arguments.frequency(validation_freq)
        data.one_kind_of_weights(sample_weight, class_weight)
        x, y, weight = data.training_data(x, y, sample_weight)
        if validation_split and validation_data is None:
            at = data.split_point(len(x), validation_split)
            (x, val_x), (y, val_y), (weight, val_weight) = (
                data.split(part, at) for part in (x, y, weight)
            )
            validation_data = (val_x, val_y) if val_weight is None else (val_x, val_y, val_weight)
        if class_weight is not None:  # of the training data only, as in Keras
            weight = data.class_weights(y, class_weight)
        self._ready_for(x, y)
        batches = Batches(x, y, weight, batch_size, shuffle, steps_per_epoch, self._device())
        validation = None
        if validation_data is not None:
            validation = self._validation_batches(
                validation_data, validation_batch_size or batch_size, validation_steps
            )
        facts = run_params(
            verbose=verbose,
            epochs=epochs,
            steps=len(batches),
            batch_size=batches.batch_size,
            samples=batches.samples,
            metrics=self._log_names(validation is not None),
            do_validation=validation is not None,
        )
        callbacks = CallbackList(callbacks, True, verbose != 0, self, **facts)
        has_users = any(not is_builtin(type(c)) for c in callbacks.callbacks)
        users_code = functools.partial(self._compiled.users, has_users)
        with (
            memory.kept(),
            threads.suited(support.work_of(self, batches)),
            self._compiled.training(),
            mode(self, training=True),
            support.memory_explained(batches),
        ):
            self.stop_training = False
            logs: dict[str, float] = {}
            with users_code():
                callbacks.on_train_begin()
            for epoch in range(initial_epoch, epochs):
                objective.reset()
                with users_code():
                    callbacks.on_epoch_begin(epoch)
                self._train_epoch(batches, callbacks)
                logs = objective.logs()
                if validation is not None and arguments.validates(epoch, validation_freq):
                    values = self._evaluate(validation, callbacks)
                    logs.update({f"val_{name}": value for name, value in values.items()})
                with users_code():
                    callbacks.on_epoch_end(epoch, logs)
                self.history = callbacks.history  # a callback may have called fit
                if self.stop_training:
                    break
            with users_code():
                callbacks.on_train_end(logs)
        self._steps.let_go()
        activity.drop(self)  # or the last step's graph would stay
        return callbacks.history

    def _train_epoch(self, batches: Batches, callbacks: CallbackList) -> None:
        """Run one epoch's steps, with the batch hooks and the bar where there are any."""
        compiled, bar = self._compiled, callbacks.progbar
        objective, users_code, keep = compiled.objective, compiled.users, compiled.objective.keep
        group, last = compiled.steps_per_execution, len(batches) - 1
        hooks = callbacks.has_train_batch_hooks
        with contextlib.ExitStack() as runs:
            claimed = step = None
            for index, batch in enumerate(batches):
                if hooks and index % group == 0:
                    with users_code(True):
                        callbacks.on_train_batch_begin(index)
                if hooks or step is None:
                    captured = self._steps.train(self._train_step())
                    if captured is not claimed:
                        claimed, step = captured, runs.enter_context(captured.run())
                    if not captured.has_users:  # who may hold an alias of a weight
                        compiled.enter_flat()
                    step.begin(batch, hooks)
                x, y, weight = batch
                loss, y_pred = step(x, y, weight)
                keep(loss, y, y_pred, weight)
                if hooks:
                    if index % group == group - 1 or index == last:
                        with users_code(True):
                            callbacks.on_train_batch_end(index, objective.logs())
                elif bar is not None and bar.due(index + 1):
                    bar.show(index + 1, objective.logs())
                if self.stop_training:
                    break

    # ------------------------------------------------------------------------------- evaluate

    @reads_arguments("Model.evaluate")
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | CallbackList | None = None,
        return_dict: bool = False,
    ) -> float | list[float] | dict[str, float]:
        """Compute the loss and the metrics.

        Args:
            x: inputs.
            y: targets.
            batch_size: samples a batch; 32 unless given.
            verbose: 0 silent, 1 a bar, 2 a line, ``'auto'`` a bar.
            sample_weight: one weight a sample.
            steps: batches to take; all unless given.
            callbacks: :class:`Callback` instances.
            return_dict: return a dictionary by name.

        Returns:
            The loss, or with metrics the list in the order of ``metrics_names``.

        Raises:
            ValueError: when the model is not compiled or the data does not fit it.
        """
        self._objective("evaluate")
        verbose = arguments.verbosity(verbose)
        batches = self._validation_batches((x, y, sample_weight), batch_size, steps)
        facts = run_params(verbose=verbose, epochs=1, steps=len(batches))
        callbacks = CallbackList(callbacks, False, verbose != 0, self, **facts)
        return support.as_returned(self._evaluate(batches, callbacks), return_dict)

    def _evaluate(self, batches: Batches, callbacks: CallbackList) -> dict[str, float]:
        objective, bar = self._compiled.objective, callbacks.progbar
        batches.restart()
        with (
            mode(self, training=False),
            support.memory_explained(batches),
            contextlib.ExitStack() as runs,
        ):
            captured, hooks = self._steps.test(), callbacks.has_test_batch_hooks
            objective.reset()
            self.stop_evaluating = False
            callbacks.on_test_begin()
            step = runs.enter_context(captured.run())
            for index, batch in enumerate(batches):
                if hooks:
                    callbacks.on_test_batch_begin(index)
                if hooks or index == 0:
                    step.begin(batch, hooks)
                x, y, weight = batch
                loss, y_pred = step(x, y, weight)
                objective.keep(loss, y, y_pred, weight)
                if hooks:
                    callbacks.on_test_batch_end(index, objective.logs())
                elif bar is not None and bar.due(index + 1):
                    bar.show(index + 1, objective.logs())
                if self.stop_evaluating:
                    break
            values = objective.logs()
            callbacks.on_test_end(values)
        self._steps.let_go()
        return values

    # -------------------------------------------------------------------------------- predict

    @reads_arguments("Model.predict")
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | CallbackList | None = None,
    ) -> np.ndarray:
        """Compute the outputs, batch by batch.

        Args:
            x: inputs.
            batch_size: samples a batch; 32 unless given.
            verbose: 0 silent, 1 a bar, 2 a line, ``'auto'`` a bar.
            steps: batches to take; all unless given.
            callbacks: :class:`Callback` instances.

        Returns:
            An array ``(samples, …)``.

        Raises:
            ValueError: when the data does not fit the model.
        """
        verbose = arguments.verbosity(verbose)
        x = as_tensor("x", x)
        self._ready_for(x)
        batches = Batches(x, None, None, batch_size, False, steps, self._device())
        facts = run_params(verbose=verbose, epochs=1, steps=len(batches))
        callbacks = CallbackList(callbacks, False, verbose != 0, self, **facts)
        captured, bar = self._steps.predict(), callbacks.progbar
        outputs = []
        with (
            mode(self, training=False),
            captured.run() as step,
            support.memory_explained(batches),
        ):
            self.stop_predicting = False
            callbacks.on_predict_begin()
            hooks = callbacks.has_predict_batch_hooks
            for index, batch in enumerate(batches):
                if hooks:
                    callbacks.on_predict_batch_begin(index)
                if hooks or index == 0:
                    step.begin(batch, hooks)
                outputs.append(step(*batch)[0].cpu())
                if hooks:
                    callbacks.on_predict_batch_end(index, {"outputs": dtypes.to_numpy(outputs[-1])})
                elif bar is not None and bar.due(index + 1):
                    bar.show(index + 1, {})
                if self.stop_predicting:
                    break
            callbacks.on_predict_end()
        self._steps.let_go()
        return dtypes.to_numpy(torch.cat(outputs)).view(config.prediction_type())

    # --------------------------------------------------------------------------------- inside

    def _objective(self, method: str) -> Any:
        """Return the objective.

        Raises:
            ValueError: when ``compile`` was not called, or without a loss.
        """
        if self._compiled is None:
            raise ValueError(
                f"{method}: the model is not compiled. Call model.compile(optimizer, loss) first."
            )
        if self._compiled.objective.given is None:
            raise ValueError(
                f"{method}: compile() was called without a loss. Give one, such as loss='mse'."
            )
        return self._compiled.objective

    def _validation_batches(self, given: Any, batch_size: int | None, steps: int | None) -> Batches:
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise ValueError(
                "validation_data must be (x, y) or (x, y, sample_weight); received "
                f"{type(given).__name__}. (Generators and data sets are not supported yet.)"
            )
        x, y, weight = data.training_data(*given[:2], given[2] if len(given) == 3 else None)
        self._ready_for(x, y)
        return Batches(x, y, weight, batch_size, False, steps, self._device())

    def _ready_for(self, x: torch.Tensor, y: torch.Tensor | None = None) -> None:
        """Build for the data, put everything on one device, and check the targets."""
        if not self.built:
            self.build((None, *x.shape[1:]))
        support.check_rank(self, x)
        places = {tensor.device for tensor in (*self.parameters(), *self.buffers())}
        if len(places) > 1:
            self.to(config.device())
        if y is None:
            return
        self._compiled.flags.note(self)
        output_shape = (len(y), *self.compute_output_shape((None, *x.shape[1:]))[1:])
        self._compiled.objective.prepare(y, output_shape)

    def _callable(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The model, or what torch.compile makes of it where ``jit_compile=True`` asks for that."""
        if self._compiled is None or not self._compiled.jit_compile:
            return self
        if self._compiled.callable is None:
            self._compiled.callable = torch.compile(self)
        return self._compiled.callable

    @property
    def _steps(self) -> Steps:
        """The captured steps, made when they are first wanted."""
        found = self.__dict__.get("_runs")
        if found is None:
            found = self.__dict__["_runs"] = Steps(self)
        return found

    def step_report(self) -> StepReport:
        """Say how the steps ran last: captured and replayed, or eager, and why.

        Returns:
            A report that reads as text when printed; its ``kind`` is ``'captured'``, ``'eager'`` or
            ``'none'``, its ``reason`` says why a step is eager.
        """
        return self._steps.report()

    def _train_step(self) -> TrainStep:
        """The training step, made anew when a parameter was replaced or frozen since the last."""
        compiled = self._compiled
        if compiled.step is None or not compiled.step.holds():
            variables = self.trainable_weights
            if not variables:
                warn_user("The model has no trainable weights.")
            compiled.step = TrainStep(
                self._callable(),
                Penalties(self),
                compiled.objective,
                compiled.optimizer,
                variables,
                watched=self.weights,
            )
        return compiled.step

    def _log_names(self, validated: bool) -> list[str]:
        names = self.metrics_names
        return names + [f"val_{name}" for name in names] if validated else names
