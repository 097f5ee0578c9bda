"""The runs over batches: an epoch of training, an evaluation, a prediction."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from torchkeras import config, dtypes, tree
from torchkeras.callbacks import CallbackList
from torchkeras.graph import KerasTensor
from torchkeras.layers.mode import mode
from torchkeras.training import custom, support
from torchkeras.training.capture.report import StepReport
from torchkeras.training.custom import CustomSteps, OwnStep
from torchkeras.training.data import Batches
from torchkeras.training.layout import SINGLE, Layout, Samples, samples
from torchkeras.training.reported import Reported, ReportedBySteps
from torchkeras.training.step import Penalties, TrainStep
from torchkeras.warn import warn_user

if TYPE_CHECKING:
    from torchkeras.training.steps import Steps


class Epochs(CustomSteps):
    """The half of :class:`Trainer` that runs over batches."""

    def _train_epoch(
        self, batches: Batches, callbacks: CallbackList, reported: Reported | ReportedBySteps
    ) -> None:
        """Run one epoch's steps, with the batch hooks and the bar where there are any."""
        compiled, bar = self._compiled, callbacks.progbar
        users_code, keep = compiled.users, reported.keep
        group, last = compiled.steps_per_execution, len(batches) - 1
        hooks = callbacks.has_train_batch_hooks
        with contextlib.ExitStack() as runs:
            claimed = step = None
            for index, batch in enumerate(batches):
                if hooks and index % group == 0:
                    with users_code(True):
                        callbacks.on_train_batch_begin(index)
                if hooks or step is None:
                    captured = self._training(batches.layout)
                    if captured is not claimed:
                        claimed, step = captured, runs.enter_context(captured.run())
                    if not captured.has_users:  # who may hold an alias of a weight
                        compiled.enter_flat()
                    step.begin(batch, hooks)
                keep(step(*batch), batch)
                if hooks:
                    if index % group == group - 1 or index == last:
                        with users_code(True):
                            callbacks.on_train_batch_end(index, reported.logs())
                elif bar is not None and bar.due(index + 1):
                    bar.show(index + 1, reported.logs())
                if self.stop_training:
                    break

    def _training(self, layout: Layout) -> Any:
        """Return the training step: the model's own, or the captured one."""
        if custom.trains_itself(self):
            return OwnStep(self.train_step, layout)
        return self._steps.train(self._train_step(layout))

    def _evaluate(self, batches: Batches, callbacks: CallbackList) -> dict[str, float]:
        reported, bar = self._reported("evaluate"), callbacks.progbar
        batches.restart()
        with (
            mode(self, training=False),
            support.memory_explained(batches),
            contextlib.ExitStack() as runs,
        ):
            is_own = custom.tests_itself(self)
            layout, hooks = batches.layout, callbacks.has_test_batch_hooks
            captured = OwnStep(_without_gradients(self.test_step), layout) if is_own else None
            captured = captured or self._steps.test(layout)
            reported.reset()
            self.stop_evaluating = False
            callbacks.on_test_begin()
            step, keep = runs.enter_context(captured.run()), reported.keep
            for index, batch in enumerate(batches):
                if hooks:
                    callbacks.on_test_batch_begin(index)
                if hooks or index == 0:
                    step.begin(batch, hooks)
                keep(step(*batch), batch)
                if hooks:
                    callbacks.on_test_batch_end(index, reported.logs())
                elif bar is not None and bar.due(index + 1):
                    bar.show(index + 1, reported.logs())
                if self.stop_evaluating:
                    break
            values = reported.logs()
            callbacks.on_test_end(values)
        self._steps.let_go()
        return values

    def _predict(self, batches: Batches, callbacks: CallbackList) -> Any:
        """Return the outputs of all batches, joined, in their structure."""
        bar = callbacks.progbar
        if custom.predicts_itself(self):
            step_of = _Predicting(_without_gradients(self.predict_step))
            captured = OwnStep(step_of, batches.layout)
        else:
            captured, step_of = self._steps.predict(batches.layout)
        outputs: list[Sequence[torch.Tensor]] = []
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
                outputs.append([output.cpu() for output in step(*batch)])
                if hooks:
                    found = tree.pack_like(step_of.structure, map(dtypes.to_numpy, outputs[-1]))
                    callbacks.on_predict_batch_end(index, {"outputs": found})
                elif bar is not None and bar.due(index + 1):
                    bar.show(index + 1, {})
                if self.stop_predicting:
                    break
            callbacks.on_predict_end()
        self._steps.let_go()
        return tree.pack_like(step_of.structure, map(torch.cat, zip(*outputs)))

    # ------------------------------------------------------------------------------ readiness

    def _reported(self, method: str) -> Reported | ReportedBySteps:
        """Return what a run reports.

        Raises:
            ValueError: when ``compile`` was not called.
        """
        if self._compiled is None:
            raise ValueError(
                f"{method}: the model is not compiled. Call model.compile(optimizer, loss) first."
            )
        tests = method in ("evaluate", "test_on_batch")
        if custom.tests_itself(self) if tests else custom.trains_itself(self):
            return ReportedBySteps(self)
        return Reported(self)

    def _validation_batches(self, given: Any, batch_size: int | None, steps: int | None) -> Batches:
        if not isinstance(given, Samples):
            if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
                raise ValueError(
                    "validation_data must be (x, y) or (x, y, sample_weight); received "
                    f"{type(given).__name__}. (Generators and data sets are not supported yet.)"
                )
            needs_targets = self._reported("evaluate").needs_targets
            weight = given[2] if len(given) == 3 else None
            given = samples(self, *given[:2], weight, needs_targets)
        self._ready_for(given)
        return self._batches(given, batch_size, False, steps)

    def _batches(
        self, given: Samples, batch_size: int | None, shuffle: bool | str, steps: int | None
    ) -> Batches:
        batches = Batches(
            given.x, given.y, given.weight, batch_size, shuffle, steps, self._device()
        )
        batches.layout = given.layout
        most = config.limited("max_steps_per_epoch", len(batches))
        if most < len(batches):
            batches.steps = most
        return batches

    def _ready_for(self, given: Samples) -> None:
        """Build for the data, put everything on one device, and check the targets."""
        x = given.x[0] if given.layout.x is None else tree.pack_like(given.layout.x, given.x)
        is_own = custom.trains_itself(self)
        self._build_for_data(x)
        support.check_inputs(self, given.x)
        places = {tensor.device for tensor in (*self.parameters(), *self.buffers())}
        if len(places) > 1:
            self.to(config.device())
        if self._compiled is None or (is_own and not given.y):
            return
        self._compiled.flags.note(self)
        if given.y and not is_own:
            shapes = self._output_shapes(x)
            self._compiled.adapt(shapes)
            y = given.y if given.layout.targets > 1 else given.y[0]
            self._compiled.objective.prepare(y, shapes)

    def _build_for_data(self, x: Any) -> None:
        if not self.built:
            self._build_for((tree.map_structure(_any_batch, x),), {})

    def _output_shapes(self, x: Any) -> Any:
        """Return the outputs' shapes for a structure of inputs, the samples' number unknown."""
        inputs = tree.map_structure(_any_batch, x)
        key = repr(inputs)
        if key not in self._probed:
            specs = self.compute_output_spec(inputs)
            self._probed[key] = tree.map_structure(lambda spec: spec.shape, specs)
        return self._probed[key]

    def _callable(self) -> Callable:
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
            # Not at the top: it takes 0.04 s to import, and not every program runs steps.
            from torchkeras.training.steps import Steps

            found = self.__dict__["_runs"] = Steps(self)
        return found

    def step_report(self) -> StepReport:
        """Say how the steps ran last: captured and replayed, or eager, and why.

        Returns:
            A report that reads as text when printed; its ``kind`` is ``'captured'``, ``'eager'`` or
            ``'none'``, its ``reason`` says why a step is eager.
        """
        if custom.trains_itself(self):
            return StepReport("eager", f"{type(self).__name__} has a training step of its own")
        return self._steps.report()

    def _train_step(self, layout: Layout = SINGLE) -> TrainStep:
        """The training step, made anew when a parameter was replaced or frozen since the last."""
        compiled = self._compiled
        step = compiled.step
        if step is None or step.layout != layout or not step.holds():
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
                layout=layout,
            )
        return compiled.step

    def _log_names(self, validated: bool) -> list[str]:
        names = self.metrics_names
        return names + [f"val_{name}" for name in names] if validated else names


def _any_batch(tensor: torch.Tensor) -> KerasTensor:
    """Return the symbolic tensor of an input, its number of samples unknown."""
    return KerasTensor((None, *tensor.shape[1:]), dtypes.name_of(tensor.dtype))


def _without_gradients(step: Callable) -> Callable:
    def run(data: Any) -> Any:
        with torch.no_grad():
            return step(data)

    return run


class _Predicting:
    """A step of prediction of the user's own, its outputs one behind the other.

    Args:
        step: takes the data of a batch.
    """

    def __init__(self, step: Callable):
        self._step = step
        self.structure: Any = None

    def __call__(self, data: Any) -> list[torch.Tensor]:
        outputs = self._step(data)
        self.structure = tree.map_structure(lambda output: None, outputs)
        return tree.flatten(outputs)
