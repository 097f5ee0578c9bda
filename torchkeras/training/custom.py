"""Steps of the user's own: ``train_step`` and its kin, as written for Keras' torch backend."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch

from torchkeras import metrics, tree
from torchkeras.training.layout import Layout
from torchkeras.training.step import Penalties
from torchkeras.warn import warn_user

_TRAINING = ("train_step", "compute_loss", "compute_metrics")
_TESTING = ("test_step", "compute_loss", "compute_metrics")


def has_own_steps(model: Any, names: tuple[str, ...] = _TRAINING) -> bool:
    """Tell whether a model's class writes any of some methods itself."""
    return any(getattr(type(model), name) is not getattr(CustomSteps, name) for name in names)


def trains_itself(model: Any) -> bool:
    """Tell whether a model's training step is its own."""
    return has_own_steps(model, _TRAINING)


def tests_itself(model: Any) -> bool:
    """Tell whether a model's step of evaluation is its own."""
    return has_own_steps(model, _TESTING)


def predicts_itself(model: Any) -> bool:
    """Tell whether a model's step of prediction is its own."""
    return has_own_steps(model, ("predict_step",))


class OwnStep:
    """A step of the user's own in the place of a captured one: it runs as it is.

    Args:
        step: takes the data of a batch.
        layout: how a batch is read.
    """

    has_users = True

    def __init__(self, step: Callable, layout: Layout):
        self._step = step
        self._layout = layout

    @contextlib.contextmanager
    def run(self) -> Iterator[OwnStep]:
        """Yield the step for the time of a run."""
        yield self

    def begin(self, batch: Any, beside_hook: bool = False) -> None:
        """Do nothing: an eager step needs no preparation."""

    def __call__(self, *batch: Any) -> Any:
        return self._step(self._layout.data(batch))


class CompileMetrics:
    """All metrics given to ``compile`` as one, for steps of the user's own.

    Args:
        model: compiled.
    """

    name = "compile_metrics"

    def __init__(self, model: Any):
        self._model = model

    def update_state(self, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Bring a batch into the metrics; the weights reach the weighted metrics only.

        Args:
            y: targets.
            y_pred: outputs.
            sample_weight: one weight a sample, or ``None``.
        """
        compiled = self._model._compiled
        with torch.no_grad():
            y, y_pred, weights = compiled.matched(y, y_pred, sample_weight)
            compiled.objective.update_metrics(y, y_pred, weights)

    def result(self) -> dict[str, Any]:
        """Return the running values by name."""
        objective = self._model._compiled.objective
        results: dict[str, Any] = {}
        for name, metric in zip(objective.metric_names, objective.metrics):
            result = metric.result()
            results.update(result if isinstance(result, dict) else {name: result})
        return results

    def reset_state(self) -> None:
        """Set the metrics back to their start."""
        self._model._compiled.objective.reset()

    @property
    def variables(self) -> list[Any]:
        """The variables of all the metrics."""
        return [v for metric in self._model._compiled.objective.metrics for v in metric.variables]


class CustomSteps:
    """The methods of a model that a user may write again, with what Keras does in them."""

    @property
    def _loss_tracker(self) -> metrics.Metric:
        """The running mean of the loss in steps of the user's own."""
        found = self.__dict__.get("_tracker")
        if found is None:
            found = self.__dict__["_tracker"] = metrics.Mean(name="loss")
        return found

    def train_step(self, data: Any) -> dict[str, Any]:
        """Do one training step.

        Args:
            data: a batch: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``, tensors on the device.

        Returns:
            Name -> running value.
        """
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x, training=True)
        loss = self._loss_of(x, y, y_pred, sample_weight, training=True)
        variables = self.trainable_weights
        if variables:
            loss = self.optimizer.scale_loss(loss)
            parameters = [variable.parameter for variable in variables]
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
            gradients = [
                None if gradient is None else variable.from_torch(gradient)
                for variable, gradient in zip(variables, found)
            ]
            self.optimizer.apply(gradients, variables)
        else:
            warn_user("The model has no trainable weights.")
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Do one step of evaluation; takes and returns what :meth:`train_step` does."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False)
        self._loss_of(x, y, y_pred, sample_weight, training=False)
        return self.compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    def _loss_of(self, x: Any, *given: Any, training: bool) -> torch.Tensor:
        """Return the loss of a batch and bring it into the running mean.

        ``compute_loss`` as it was written before Keras 3.3 does not take ``training``.
        """
        mode = {"training": training} if _takes(self.compute_loss, "training") else {}
        loss = self.compute_loss(x, *given, **mode)
        if not isinstance(loss, torch.Tensor):
            raise ValueError(
                f"{type(self).__name__}.compute_loss must return the loss as a tensor; returned "
                f"{loss!r}."
            )
        self._loss_tracker.update_state(loss.detach(), _samples_in(x))
        return loss

    def predict_step(self, data: Any) -> Any:
        """Compute the outputs for a batch.

        Args:
            data: as for :meth:`train_step`.
        """
        x, _, _ = unpack_x_y_sample_weight(data)
        return self(x, training=False)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> torch.Tensor:
        """Return the loss of a batch, penalties included.

        Args:
            x: inputs.
            y: targets.
            y_pred: outputs.
            sample_weight: one weight a sample, or ``None``.
            training: whether this is a training step.

        Raises:
            ValueError: when there is neither a loss nor a penalty.
        """
        loss = None
        if self._compiled is not None and y is not None and y_pred is not None:
            y, y_pred, weights = self._compiled.matched(y, y_pred, sample_weight)
            objective = self._compiled.objective
            loss, each = objective.lowered(y, y_pred, weights)
            for tracker, value in zip(objective.trackers, each):
                tracker.update_state(value, _samples_in(y_pred))
        return Penalties(self).add_to(loss)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Bring a batch into the metrics; return their running values, the loss' among them.

        Args:
            x: inputs.
            y: targets.
            y_pred: outputs.
            sample_weight: one weight a sample, or ``None``.
        """
        if self._compiled is not None and y is not None and y_pred is not None:
            CompileMetrics(self).update_state(y, y_pred, sample_weight)
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the running values of the model's metrics by name."""
        results: dict[str, Any] = {}
        for metric in self.metrics:
            result = metric.result()
            results.update(result if isinstance(result, dict) else {metric.name: result})
        return results


def _takes(function: Callable, argument: str) -> bool:
    parameters = inspect.signature(function).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _samples_in(data: Any) -> int:
    """Return how many samples a batch has."""
    return next(part for part in tree.leaves(data) if part is not None).shape[0]


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """Return inputs, targets and sample weights of a batch, ``None`` where absent.

    Args:
        data: ``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``.

    Raises:
        ValueError: for a longer tuple.
    """
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(
            f"A batch is x, (x, y) or (x, y, sample_weight); received a tuple of {len(data)}."
        )
    return (*data, None, None)[:3]
