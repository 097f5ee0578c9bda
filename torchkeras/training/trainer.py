"""compile, fit, evaluate and predict."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from torchkeras import config, dtypes, random, tree
from torchkeras.callbacks import Callback, CallbackList, History, run_params
from torchkeras.layers import activity
from torchkeras.layers.mode import mode
from torchkeras.registry import is_builtin, reads_arguments
from torchkeras.training import arguments, custom, data, layout, memory, support, threads
from torchkeras.training.compiled import Compiled
from torchkeras.training.epochs import Epochs
from torchkeras.training.layout import Layout, Samples
from torchkeras.training.on_batch import OnBatch


class Trainer(OnBatch, Epochs):
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
            loss_weights: factor of the loss. For several outputs this, the loss and the metrics are
                lists, or dictionaries by the outputs' names.
            metrics: list of names, instances, classes or callables.
            weighted_metrics: metrics that take the sample weights.
            run_eagerly: run each step as plain Python.
            steps_per_execution: batches between two calls of the batch hooks.
            jit_compile: ``True`` runs the model through ``torch.compile``.
            auto_scale_loss: under the dtype policy ``'mixed_float16'`` the loss is scaled, so that
                small gradients do not vanish (see ``LossScaleOptimizer``); of no effect otherwise.

        Raises:
            ValueError: for an unknown name, with the nearest known names, an argument of the wrong
                kind, or when ``fit`` is under way.
        """
        if self._compiled is not None and self._compiled.running:
            raise ValueError(
                "compile was called by a callback while fit is under way. Set "
                "model.stop_training = True there, then call compile and fit again."
            )
        self._compiled = Compiled(
            support.known_outputs(self),
            optimizer,
            loss,
            loss_weights,
            metrics,
            weighted_metrics,
            run_eagerly,
            steps_per_execution,
            jit_compile,
            scale_loss=auto_scale_loss and self.dtype_policy.name == "mixed_float16",
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

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        if self._compiled is None:
            raise ValueError(
                "run_eagerly: the model is not compiled. Call compile(optimizer, loss)."
            )
        self._compiled.run_eagerly = bool(value)

    @property
    def jit_compile(self) -> bool:
        """Whether the model runs through ``torch.compile``."""
        return self._compiled is not None and self._compiled.jit_compile

    @property
    def loss(self) -> Any:
        """The loss as ``compile`` received it; ``None`` before."""
        return self._compiled and self._compiled.given_loss

    @property
    def metrics(self) -> list[Any]:
        """The metric objects: those of ``compile``, known once the model has seen data, and those
        that the model and its layers keep."""
        own = self._own_metrics()
        if self._compiled is None:
            return own
        objective = self._compiled.objective
        if not (custom.trains_itself(self) or custom.tests_itself(self)):
            return [*objective.metrics, *own]
        # As Keras has them, for a step that goes through them.
        has_metrics = any(part.has_metrics for part in objective.parts)
        compiled = [custom.CompileMetrics(self)] if has_metrics else []
        return [self._loss_tracker, *compiled, *objective.trackers, *own]

    @property
    def metrics_names(self) -> list[str]:
        """The names of what ``evaluate`` returns, in order: the loss first."""
        if self._compiled is None:
            return []
        names = ["loss", *self._compiled.objective.names]
        own = [metric.name for metric in self._own_metrics()]
        return [*names, *(name for name in own if name not in names)]

    def reset_metrics(self) -> None:
        """Set the running loss and metrics back to their start."""
        if self._compiled is not None:
            self._compiled.objective.reset()
        for metric in self.metrics:
            metric.reset_state()

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
        class_weight: Mapping | Sequence | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
    ) -> History:
        """Train the model.

        Args:
            x: inputs: array, list, tensor or pandas frame, samples first; for several inputs a
                list, tuple or dictionary of them.
            y: targets, likewise for several outputs.
            batch_size: samples a step; 32 unless given.
            epochs: the epoch to end with, counted from ``initial_epoch``.
            verbose: 0 silent, 1 a bar, 2 a line an epoch, ``'auto'`` a bar.
            callbacks: :class:`Callback` instances.
            validation_split: the part of the data, from the end, that validates.
            validation_data: ``(x, y)`` or ``(x, y, sample_weight)`` that validates.
            shuffle: a new order each epoch; ``'batch'`` shuffles whole batches.
            class_weight: class -> weight in the loss; for several outputs a list of such, or a
                dictionary by the outputs' names.
            sample_weight: one weight a sample; for several outputs also a list or dictionary.
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
        reported = self._reported("fit")
        support.one_process()
        random.seed_torch_for_run()
        epochs = config.limited("max_epochs", arguments.whole("epochs", epochs))
        initial_epoch = arguments.whole("initial_epoch", initial_epoch)
        verbose = arguments.verbosity(verbose)
        steps_per_epoch = arguments.count_if_given("steps_per_epoch", steps_per_epoch)
        validation_steps = arguments.count_if_given("validation_steps", validation_steps)
        validation_batch_size = arguments.count_if_given(
            "validation_batch_size", validation_batch_size
        )
        validation_freq = arguments.frequency(validation_freq)
        data.one_kind_of_weights(sample_weight, class_weight)
        samples = layout.samples(self, x, y, sample_weight, reported.needs_targets)
        if validation_split and validation_data is None:
            at = data.split_point(len(samples), validation_split)
            validation_data = samples.map(lambda part: part[at:])
            samples = samples.map(lambda part: part[:at])
        if class_weight is not None:  # of the training data only, as in Keras
            samples = data.with_class_weights(samples, class_weight, layout.output_names(self))
        self._ready_for(samples)
        batches = self._batches(samples, batch_size, shuffle, steps_per_epoch)
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
                reported.reset()
                with users_code():
                    callbacks.on_epoch_begin(epoch)
                self._train_epoch(batches, callbacks, reported)
                logs = reported.logs()
                if validation is not None and arguments.validates(epoch, validation_freq):
                    values = self._evaluate(validation, callbacks)
                    logs.update({f"val_{name}": value for name, value in values.items()})
                with users_code():
                    callbacks.on_epoch_end(epoch, logs)
                self.history = callbacks.history  # a callback may have called fit
                if self.stop_training:
                    break
            finalize = getattr(self.optimizer, "finalize_variable_values", None)
            if finalize is not None and epochs > initial_epoch:
                finalize()  # use_ema: the averages become the weights
            with users_code():
                callbacks.on_train_end(logs)
        self._steps.let_go()
        activity.drop(self)  # or the last step's graph would stay
        return callbacks.history

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
        self._reported("evaluate")
        verbose = arguments.verbosity(verbose)
        batches = self._validation_batches((x, y, sample_weight), batch_size, steps)
        facts = run_params(verbose=verbose, epochs=1, steps=len(batches))
        callbacks = CallbackList(callbacks, False, verbose != 0, self, **facts)
        return support.as_returned(
            self._evaluate(batches, callbacks), self.metrics_names, return_dict
        )

    # -------------------------------------------------------------------------------- predict

    @reads_arguments("Model.predict")
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | CallbackList | None = None,
    ) -> Any:
        """Compute the outputs, batch by batch.

        Args:
            x: inputs.
            batch_size: samples a batch; 32 unless given.
            verbose: 0 silent, 1 a bar, 2 a line, ``'auto'`` a bar.
            steps: batches to take; all unless given.
            callbacks: :class:`Callback` instances.

        Returns:
            An array ``(samples, …)``; for several outputs their list, tuple or dictionary.

        Raises:
            ValueError: when the data does not fit the model.
        """
        verbose = arguments.verbosity(verbose)
        xs, structure, forms = layout.inputs_of(self, x)
        layout.check_lengths(xs)
        samples = Samples(xs, [], [], Layout(structure, len(xs), 0, given=forms))
        self._ready_for(samples)
        batches = self._batches(samples, batch_size, False, steps)
        facts = run_params(verbose=verbose, epochs=1, steps=len(batches))
        callbacks = CallbackList(callbacks, False, verbose != 0, self, **facts)
        outputs = self._predict(batches, callbacks)
        kind = config.prediction_type()
        return tree.map_structure(lambda output: dtypes.to_numpy(output).view(kind), outputs)
