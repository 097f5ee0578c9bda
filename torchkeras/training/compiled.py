"""What ``compile`` keeps: optimizer, objective, flags, and who was trainable then."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from torchkeras import optimizers
from torchkeras.training.objective import Objective
from torchkeras.training.step import TrainStep


class Compiled:
    """The arguments of ``compile``, made into objects; kept outside the model's modules.

    Args:
        optimizer: name, class, instance, config or torch optimizer.
        loss: name, class, instance, config, callable or torch loss module; ``None`` for none.
        loss_weights: factor of the loss, alone or as a list of one.
        metrics: list of names, classes, instances or callables.
        weighted_metrics: likewise, computed with the sample weights.
        run_eagerly: whether each step runs as plain Python.
        steps_per_execution: batches between two calls of the batch hooks.
        jit_compile: ``True`` runs the model through ``torch.compile``; ``'auto'`` chooses.

    Raises:
        ValueError: for an unknown name or a value of the wrong kind, naming the argument.
    """

    def __init__(
        self,
        optimizer: Any,
        loss: Any,
        loss_weights: Any,
        metrics: Any,
        weighted_metrics: Any,
        run_eagerly: bool,
        steps_per_execution: int,
        jit_compile: bool | str | None,
    ):
        if jit_compile not in (True, False, None, "auto"):
            raise ValueError(
                f"jit_compile must be True, False or 'auto'; received {jit_compile!r}."
            )
        if isinstance(steps_per_execution, bool) or not isinstance(steps_per_execution, int):
            steps_per_execution = 0
        if steps_per_execution < 1:
            raise ValueError("steps_per_execution must be a positive integer.")
        if run_eagerly and jit_compile is True:
            raise ValueError(
                "run_eagerly=True and jit_compile=True exclude each other; choose one."
            )
        self.optimizer = optimizers.get(optimizer)
        self.objective = Objective(
            _only_one("loss", loss), metrics, weighted_metrics, _factor(loss_weights)
        )
        self.run_eagerly = bool(run_eagerly)
        self.steps_per_execution = steps_per_execution
        self.jit_compile = jit_compile is True
        self.trainable: list[tuple[Any, bool]] | None = None
        self.step: TrainStep | None = None
        self.callable: Callable | None = None

    def __getstate__(self) -> dict[str, Any]:
        # The step and torch.compile's callable are made again when they are wanted.
        return {**self.__dict__, "step": None, "callable": None}

    def forget_model(self) -> None:
        """Drop what was chosen for the model as it was: a layer was added or taken away."""
        self.trainable = self.step = self.callable = None
        self.objective.built = False

    def remember_trainable(self, model: Any) -> None:
        """Note which layers are trainable; training keeps to it until the next ``compile``."""
        if self.trainable is None and model.built:
            self.trainable = model.trainable_flags()

    @contextlib.contextmanager
    def trainable_as_noted(self) -> Iterator[None]:
        """Train with the flags of the time of ``compile``; warn where they differ now."""
        changed = [
            (layer, flag) for layer, flag in self.trainable or () if layer.trainable is not flag
        ]
        now = [(layer, layer.trainable) for layer, _ in changed]
        if changed:
            names = ", ".join(repr(layer.name) for layer, _ in changed)
            warnings.warn(
                f"`trainable` of {names} was changed after compile(), which has no effect on "
                "training until compile() is called again.",
                stacklevel=4,
            )
        try:
            for layer, flag in changed:
                layer.set_trainable_flag(flag)
            yield
        finally:
            for layer, flag in now:
                layer.set_trainable_flag(flag)


def _only_one(name: str, given: Any) -> Any:
    """Take a loss out of the list or dictionary of one that Keras allows."""
    if isinstance(given, (list, tuple)) or (isinstance(given, dict) and "class_name" not in given):
        items = list(given.values()) if isinstance(given, dict) else list(given)
        if len(items) != 1:
            raise ValueError(
                f"{name}: the model has one output, but received {len(items)}: {given!r}."
            )
        return items[0]
    return given


def _factor(loss_weights: Any) -> float | None:
    weight = _only_one("loss_weights", loss_weights)
    if weight is None:
        return None
    if isinstance(weight, bool) or not isinstance(weight, (int, float)):
        raise ValueError(
            f"loss_weights must be a number; received {loss_weights!r}. (In Keras 3 the third "
            "argument of compile is loss_weights; write metrics=[…] by name.)"
        )
    return float(weight)
