"""What ``compile`` keeps: optimizer, objective, flags, and who was trainable then."""

from __future__ import annotations

import contextlib
import numbers
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

from torchkeras import optimizers, tree
from torchkeras.layers.structures import is_shape
from torchkeras.training.arguments import count as whole
from torchkeras.training.flags import NotedFlags
from torchkeras.training.objective import Objective, only_output
from torchkeras.training.outputs import Objectives
from torchkeras.training.step import TrainStep


class Compiled:
    """The arguments of ``compile``, made into objects; kept outside the model's modules.

    Args:
        outputs: the model's: their names, their number, ``None`` where not known yet, and the keys
            where they are a dictionary.
        optimizer: name, class, instance, config or torch optimizer.
        loss: name, class, instance, config, callable or torch loss module; ``None`` for none.
        loss_weights: factor of the loss, alone or as a list of one.
        metrics: list of names, classes, instances or callables.
        weighted_metrics: likewise, computed with the sample weights.
        run_eagerly: whether each step runs as plain Python.
        steps_per_execution: batches between two calls of the batch hooks.
        jit_compile: ``True`` runs the model through ``torch.compile``; ``'auto'`` chooses.
        scale_loss: whether the optimizer is wrapped so that it scales the loss.

    Raises:
        ValueError: for an unknown name or a value of the wrong kind, naming the argument.
    """

    def __init__(
        self,
        outputs: tuple[list[str] | None, int | None, list[str] | None],
        optimizer: Any,
        loss: Any,
        loss_weights: Any,
        metrics: Any,
        weighted_metrics: Any,
        run_eagerly: bool,
        steps_per_execution: int,
        jit_compile: bool | str | None,
        scale_loss: bool = False,
    ):
        if jit_compile not in (True, False, None, "auto"):
            raise ValueError(
                f"jit_compile must be True, False or 'auto'; received {jit_compile!r}."
            )
        if optimizer is None:
            raise ValueError(
                "compile needs an optimizer, such as 'adam', 'sgd' or an instance; received None."
            )
        if run_eagerly and jit_compile is True:
            raise ValueError(
                "run_eagerly=True and jit_compile=True exclude each other; choose one."
            )
        self.optimizer = optimizers.get(optimizer)
        if scale_loss and not isinstance(self.optimizer, optimizers.LossScaleOptimizer):
            self.optimizer = optimizers.LossScaleOptimizer(
                self.optimizer, name="loss_scale_optimizer"
            )
        self.given_loss = loss
        self._given = (loss, loss_weights, metrics, weighted_metrics)
        self._outputs = outputs
        self.objective = self._make_objective()
        self.run_eagerly = bool(run_eagerly)
        self.steps_per_execution = whole("steps_per_execution", steps_per_execution)
        self.jit_compile = jit_compile is True
        self.flags = NotedFlags()
        # How many runs of fit are under way: a callback may start another.
        self.running = 0
        self.step: TrainStep | None = None
        self.callable: Callable | None = None

    def _make_objective(self) -> Objective | Objectives:
        """Return the objective for the outputs that are known."""
        names, count, keys = self._outputs
        loss, loss_weights, wanted, weighted = self._given
        if count is None and any(map(_is_for_several, (loss, loss_weights))):
            return Objective(None)  # until the outputs are known
        if count in (None, 1) and keys is None:
            for what, given in zip(
                ("loss", "loss_weights", "metrics", "weighted_metrics"), self._given
            ):
                _check_name(what, given, names)
            return Objective(only_output("loss", loss), wanted, weighted, _factor(loss_weights))
        return Objectives(names, count, loss, loss_weights, wanted, weighted, keys)

    def adapt(self, shapes: Any) -> None:
        """Make the objective again where the outputs turn out to be others than was known.

        Args:
            shapes: of the outputs, in their structure.
        """
        names, count = outputs_of(shapes)
        if self._outputs[1] is None and (count > 1 or isinstance(shapes, dict)):
            self._outputs = (names, count, list(shapes) if isinstance(shapes, dict) else None)
            self.objective = self._make_objective()
            self.step = None
        elif self._outputs[1] is None:
            self._outputs = (None, 1, None)
            if self.objective.given is not self.given_loss:
                self.objective = self._make_objective()

    def matched(self, y: Any, y_pred: Any, weight: Any) -> tuple[Any, Any, Any]:
        """Return targets, outputs and weights in the form that the objective takes.

        The objective is built for their shapes where it was not.
        """
        shapes = tree.map_structure(lambda output: tuple(output.shape), y_pred)
        if not isinstance(y_pred, torch.Tensor):
            self.adapt(shapes)
        if isinstance(self.objective, Objective):
            y, y_pred = (next(tree.leaves(part)) for part in (y, y_pred))
            if not self.objective.built:
                self.objective.build(y.shape, y_pred.shape)
            return y, y_pred, weight
        ys = tree.flatten(y)
        if not self.objective.built:
            self.objective.prepare(ys, shapes)
        weights = tree.flatten(weight)
        return ys, y_pred, weights * len(ys) if len(weights) == 1 else weights

    def __getstate__(self) -> dict[str, Any]:
        # The step and torch.compile's callable are made again when they are wanted.
        return {**self.__dict__, "step": None, "callable": None, "running": 0}

    def forget_model(self) -> None:
        """Drop what was chosen for the model as it was: a layer was added or taken away."""
        self.step = self.callable = None
        self.flags.look_again()
        self.objective.built = False

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Do steps: with the flags of the time of ``compile`` and with gradients.

        Raises:
            ValueError: within ``torch.inference_mode()``.
        """
        if torch.is_inference_mode_enabled():
            raise ValueError(self.objective.parts[0].without_gradient())
        self.running += 1
        try:
            # The user may have called fit where gradients are off.
            with self.flags.held(), torch.enable_grad():
                yield
        finally:
            self.running -= 1
            self.leave_flat()

    @contextlib.contextmanager
    def users(self, are_there: bool) -> Iterator[None]:
        """Run callbacks within :meth:`training`.

        Args:
            are_there: whether any of them is the user's. It finds his flags and, in memory of their
                own, the weights.
        """
        if are_there:
            self.leave_flat()
        with self.flags.users():
            yield

    def enter_flat(self) -> None:
        """Let weights and the optimizer's state lie in one buffer each while steps run.

        Not beside other threads: one that reads a weight while it gets other memory waits for
        torch's lock on that weight with Python's lock in its hands, and the reverse.
        """
        if threading.active_count() == 1:
            self.optimizer.enter_flat()

    def leave_flat(self) -> None:
        """Bring weights and the optimizer's state back where they lay."""
        self.optimizer.leave_flat()


def _check_name(what: str, given: Any, names: list[str] | None) -> None:
    """Refuse a dictionary by another name than the one output's.

    Raises:
        ValueError: with the output's name.
    """
    if names is None or not isinstance(given, dict) or "class_name" in given:
        return
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(
            f"{what}: the model has no output {unknown[0]!r}; its only output is {names[0]!r}."
        )


def _is_for_several(given: Any) -> bool:
    """Tell whether an argument is a list or dictionary with something for several outputs."""
    is_list = isinstance(given, (list, tuple))
    return (is_list and len(given) > 1) or (isinstance(given, dict) and "class_name" not in given)


def outputs_of(shapes: Any) -> tuple[list[str] | None, int]:
    """Return the names, where there are any, and the number of outputs of some shapes."""
    if isinstance(shapes, dict):
        return sorted(shapes), len(shapes)
    return None, 1 if is_shape(shapes) else len(shapes)


def _factor(loss_weights: Any) -> float | None:
    weight = only_output("loss_weights", loss_weights)
    if weight is None:
        return None
    if isinstance(weight, bool) or not isinstance(weight, numbers.Real):
        raise ValueError(
            f"loss_weights must be a number; received {loss_weights!r}. (In Keras 3 the third "
            "argument of compile is loss_weights; write metrics=[…] by name.)"
        )
    return float(weight)
