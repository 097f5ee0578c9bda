"""The steps of a model - training, evaluation, prediction - each captured where it may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchkeras.training.capture import guard, user_code
from torchkeras.training.capture.captured import CapturedStep
from torchkeras.training.capture.report import StepReport
from torchkeras.training.step import Penalties, PredictStep, TestStep, TrainStep


class Steps:
    """Makes the captured steps of a model and keeps them from run to run.

    Args:
        model: whose steps.
    """

    def __init__(self, model: Any):
        self._model = model
        # Each with what it was made of.
        self._train: tuple[tuple, CapturedStep] | None = None
        self._others: dict[str, tuple[tuple, CapturedStep]] = {}

    def train(self, step: TrainStep) -> CapturedStep:
        """Return the captured form of a training step."""
        compiled = self._model._compiled
        users = [
            *user_code.in_model(self._model),
            *user_code.in_training(compiled),
            *user_code.constraints_and_penalties(self._model),
        ]
        facts = (step, *map(id, users))
        if self._train is None or self._train[0] != facts:
            captured = CapturedStep(
                step.compute,
                step.compute_deferred,
                step.known,
                self._guard(users, (compiled.objective.loss, compiled.optimizer), True),
                users,
                why_eager=self._why_train_eagerly,
                training=True,
            )
            self._train = (facts, captured)
        return self._train[1]

    def test(self) -> CapturedStep:
        """Return the step of evaluation."""
        compiled = self._model._compiled
        loss = compiled.objective.loss
        users = [*user_code.in_model(self._model), *user_code.in_training(compiled)]
        users += user_code.constraints_and_penalties(self._model)
        penalized = self._model.regularized_variables()
        terms = [(id(variable.parameter), id(variable.regularizer)) for variable in penalized]
        return self._inference(
            "evaluate",
            (compiled, loss, compiled.objective.loss_deferrable, *map(id, users), *terms),
            lambda: TestStep(self._model._callable(), Penalties(self._model), compiled.objective),
            users,
            (loss,),
        )

    def predict(self) -> CapturedStep:
        """Return the step of prediction."""
        users = list(user_code.in_model(self._model))
        make = lambda: PredictStep(self._model._callable(), self._model)  # noqa: E731
        return self._inference("predict", (*map(id, users),), make, users, ())

    def _inference(
        self, name: str, facts: tuple, make: Callable[[], Any], users: list[Any], others: tuple
    ) -> CapturedStep:
        held = self._others.get(name)
        if held is None or held[0] != facts:
            step = make()
            captured = CapturedStep(
                step.compute,
                step.compute,
                step.known,
                self._guard(users, others, False),
                users,
                bind_views=False,
                why_eager=self._why_eagerly,
                training=False,
            )
            held = self._others[name] = (facts, captured)
        return held[1]

    def _guard(self, users: list[Any], others: tuple, with_memory: bool) -> Callable[[], list[Any]]:
        def look() -> list[Any]:
            return guard.state_of(self._model, others, users, with_memory)

        return look

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
        return self._why_eagerly()

    def let_go(self) -> None:
        """Give the memory of large steps back, unless a run of ``fit`` still needs it."""
        compiled = self._model._compiled
        if compiled is not None and compiled.running:
            return
        held = [self._train] if self._train else []
        for _, captured in (*held, *self._others.values()):
            captured.let_go()

    def report(self) -> StepReport:
        """Say how the steps ran."""
        report = StepReport() if self._train is None else self._train[1].report()
        report.parts = {name: captured.report() for name, (_, captured) in self._others.items()}
        return report
