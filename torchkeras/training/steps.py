"""The steps of a model - training, evaluation, prediction - each captured where it may be."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torchkeras import rematerialization
from torchkeras.training.capture import guard, user_code
from torchkeras.training.capture.captured import CapturedStep
from torchkeras.training.capture.guard import State
from torchkeras.training.capture.report import StepReport
from torchkeras.training.layout import Layout
from torchkeras.training.step import Penalties, PredictStep, TestStep, TrainStep


def _losses(compiled: Any) -> tuple[Any, ...]:
    return tuple(part.loss for part in compiled.objective.parts)


class Steps:
    """Makes the captured steps of a model and keeps them from run to run.

    Args:
        model: whose steps.
    """

    def __init__(self, model: Any):
        self._model = model
        # By name, each with what it was made of.
        self._kept: dict[str, tuple[tuple, CapturedStep]] = {}
        self._predicting: PredictStep | None = None

    def train(self, step: TrainStep) -> CapturedStep:
        """Return the captured form of a training step."""
        compiled, users = self._model._compiled, self._users_in_loss()
        others = (*_losses(compiled), compiled.optimizer)

        def make() -> CapturedStep:
            return CapturedStep(
                step.compute,
                step.compute_deferred,
                step.known,
                self._guard(users, others, with_memory=True),
                users,
                why_eager=self._why_train_eagerly,
                training=True,
            )

        return self._keep("train", (step, *map(id, users)), make)

    def test(self, layout: Layout) -> CapturedStep:
        """Return the step of evaluation for batches of a layout."""
        compiled, users = self._model._compiled, self._users_in_loss()
        losses, objective = _losses(compiled), compiled.objective
        penalized = self._model.regularized_variables()
        terms = [(id(variable.parameter), id(variable.regularizer)) for variable in penalized]

        def make() -> CapturedStep:
            step = TestStep(self._model._callable(), Penalties(self._model), objective, layout)
            return self._inference(step, users, losses)

        settings = (compiled, objective, objective.loss_deferrable, repr(layout))
        facts = (*settings, *losses, *map(id, users), *terms)
        return self._keep("evaluate", facts, make)

    def predict(self, layout: Layout) -> tuple[CapturedStep, PredictStep]:
        """Return the step of prediction for batches of a layout: captured, and itself."""
        users = list(user_code.in_model(self._model))

        def make() -> CapturedStep:
            self._predicting = PredictStep(self._model._callable(), self._model, layout)
            return self._inference(self._predicting, users, ())

        captured = self._keep("predict", (repr(layout), *map(id, users)), make)
        return captured, self._predicting

    def _keep(self, name: str, facts: tuple, make: Callable[[], CapturedStep]) -> CapturedStep:
        """Return the step of a name, made anew when what it is made of has changed."""
        kept = self._kept.get(name)
        if kept is None or kept[0] != facts:
            kept = self._kept[name] = (facts, make())
        return kept[1]

    def _inference(
        self, step: TestStep | PredictStep, users: list[Any], others: tuple
    ) -> CapturedStep:
        return CapturedStep(
            step.compute,
            step.compute,
            step.known,
            self._guard(users, others, with_memory=False),
            users,
            bind_views=False,
            why_eager=self._why_eagerly,
            training=False,
        )

    def _users_in_loss(self) -> list[Any]:
        """What of the user's runs in a step that computes the loss."""
        return [
            *user_code.in_model(self._model),
            *user_code.in_training(self._model._compiled),
            *user_code.constraints_and_penalties(self._model),
        ]

    def _guard(self, users: list[Any], others: tuple, with_memory: bool) -> Callable[[], State]:
        return functools.partial(guard.state_of, self._model, others, users, with_memory)

    def _why_eagerly(self) -> str | None:
        compiled = self._model._compiled
        if compiled is not None and compiled.run_eagerly:
            return "compile was asked for run_eagerly=True"
        if compiled is not None and compiled.jit_compile:
            return "jit_compile=True runs the model through torch.compile"
        hooks = user_code.hooked(self._model)
        return None if hooks is None else f"{hooks} would not be called"

    def _why_train_eagerly(self) -> str | None:
        optimizer = self._model._compiled.optimizer
        if optimizer.has_hooks():
            return "the optimizer's step hooks would not be called"
        if not optimizer.replayable:
            return f"{type(optimizer).__name__} keeps numbers that change outside of tensors"
        if rematerialization.is_used and any(
            getattr(m, "_remat", None) for m in self._model.modules()
        ):
            return "a layer of a RematScope sets the random state back in the backward pass"
        return self._why_eagerly()

    def let_go(self) -> None:
        """Give the memory of large steps back, unless a run of ``fit`` still needs it."""
        compiled = self._model._compiled
        if compiled is not None and compiled.running:
            return
        for _, captured in self._kept.values():
            captured.let_go()

    def report(self) -> StepReport:
        """Say how the steps ran."""
        reports = {name: captured.report() for name, (_, captured) in self._kept.items()}
        report = reports.pop("train", StepReport())
        report.parts = reports
        return report
