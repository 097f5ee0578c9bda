"""One step of training or evaluation, as one callable on a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from torchkeras.layers import activity
from torchkeras.training.data import Batch
from torchkeras.training.objective import Objective

if TYPE_CHECKING:
    from torchkeras.variable import Variable


class Penalties:
    """The penalties of a model: of its regularized weights, and of activities in the last call.

    Args:
        model: asked once for what it regularizes.
    """

    def __init__(self, model: Any):
        self._model = model
        self._terms = [(v.regularizer, v) for v in model.regularized_variables()]

    def add_to(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss with all penalties added."""
        for regularizer, variable in self._terms:
            loss = loss + regularizer(variable.value)
        if activity.in_use():
            for penalty in activity.penalties(self._model):
                loss = loss + penalty
        return loss


class TrainStep:
    """A training step: forward, loss, gradients, update; keeps the outputs for the metrics.

    Args:
        model: the callable that computes, in training mode.
        penalties: what is added to the loss.
        objective: loss and metrics.
        optimizer: moves the variables.
        variables: the weights to move, as far as their parameters require gradients.
        watched: all weights; see :meth:`holds`.

    Raises:
        ValueError: at a step, when the loss does not depend on the weights to move.
    """

    def __init__(
        self,
        model: Callable[[torch.Tensor], torch.Tensor],
        penalties: Penalties,
        objective: Objective,
        optimizer: Any,
        variables: list[Variable],
        watched: Sequence[Variable] = (),
    ):
        self._model = model
        self._add_penalties = penalties.add_to
        self._objective = objective
        self._optimizer = optimizer
        variables = [variable for variable in variables if variable.parameter.requires_grad]
        self._parameters = [variable.parameter for variable in variables]
        held = ((variable, variable.parameter) for variable in watched or variables)
        self._held = [(variable, found, found.requires_grad) for variable, found in held]
        if variables:
            optimizer.build(variables)

    def holds(self) -> bool:
        """Tell whether all weights still are the tensors they were, frozen or not as they were."""
        for variable, tensor, requires_grad in self._held:
            if variable.parameter is not tensor or tensor.requires_grad is not requires_grad:
                return False
        return True

    def __call__(self, batch: Batch) -> None:
        x, y, weight = batch
        y_pred = self._model(x)
        loss = self._add_penalties(self._objective(y, y_pred, weight))
        if self._parameters:
            if not loss.requires_grad:
                raise ValueError(self._objective.without_gradient())
            gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
            self._optimizer.update(gradients)
        self._objective.keep(loss.detach(), y, y_pred.detach(), weight)


class TestStep:
    """A step of evaluation: forward and loss, no gradients.

    Args:
        model: the callable that computes, in inference mode.
        penalties: what is added to the loss.
        objective: loss and metrics.
    """

    __test__ = False  # not a test, whatever its name says to pytest

    def __init__(
        self,
        model: Callable[[torch.Tensor], torch.Tensor],
        penalties: Penalties,
        objective: Objective,
    ):
        self._model = model
        self._add_penalties = penalties.add_to
        self._objective = objective

    def __call__(self, batch: Batch) -> None:
        x, y, weight = batch
        with torch.no_grad():
            y_pred = self._model(x)
            loss = self._add_penalties(self._objective(y, y_pred, weight))
            self._objective.keep(loss, y, y_pred, weight)
