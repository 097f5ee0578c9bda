"""One step of training or evaluation, as one callable on a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from torchkeras.layers import activity
from torchkeras.training.objective import Objective

if TYPE_CHECKING:
    from torchkeras.variable import Variable


class Penalties:
    """The penalties of a model: of its regularized weights, and of activities in the last call.

    Args:
        model: asked once for what it regularizes.
    """

    def __init__(self, model: Any):
        self.model = model
        self._terms = [(v.regularizer, v) for v in model.regularized_variables()]

    def any(self) -> bool:
        """Tell whether anything is penalized, or may be."""
        return bool(self._terms) or activity.in_use()

    def add_to(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss with all penalties added."""
        for regularizer, variable in self._terms:
            loss = loss + regularizer(variable.value)
        if activity.in_use():
            for penalty in activity.penalties(self.model):
                loss = loss + penalty
        return loss


def _is_deferred(objective: Objective, penalties: Penalties) -> bool:
    """Tell whether the loss of a step follows from its outputs, so that it need not be returned."""
    return objective.loss_deferrable and not penalties.any()


class TrainStep:
    """A training step: forward, loss, gradients, update.

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
        self._penalties = penalties
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

    def compute(
        self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Do the step; return the loss and the outputs, detached."""
        y_pred = self._model(x)
        loss = self._penalties.add_to(self._objective(y, y_pred, weight))
        if self._parameters:
            if not loss.requires_grad:
                raise ValueError(self._objective.without_gradient())
            gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True)
            self._optimizer.update(gradients)
        return loss.detach(), y_pred.detach()

    def compute_deferred(
        self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Do the step; return ``None`` for a loss that follows from the outputs.

        The objective computes it when somebody looks, for many steps at once.
        """
        loss, y_pred = self.compute(x, y, weight)
        return (None if _is_deferred(self._objective, self._penalties) else loss), y_pred

    def known(self) -> list[torch.Tensor]:
        """Return every tensor that is state: weights, buffers, what the optimizer holds."""
        return [*tensors_of(self._penalties.model), *self._optimizer.tensors()]


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
        self._penalties = penalties
        self._objective = objective

    def compute(
        self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Do the step; returns what :meth:`TrainStep.compute_deferred` returns."""
        with torch.no_grad():
            y_pred = self._model(x)
            if _is_deferred(self._objective, self._penalties):
                return None, y_pred
            return self._penalties.add_to(self._objective(y, y_pred, weight)), y_pred

    def known(self) -> list[torch.Tensor]:
        """Return every tensor that is state."""
        return tensors_of(self._penalties.model)


class PredictStep:
    """A step of prediction: forward, no gradients.

    Args:
        model: the callable that computes, in inference mode.
        module: the model.
    """

    def __init__(self, model: Callable[[torch.Tensor], torch.Tensor], module: nn.Module):
        self._model = model
        self._module = module

    def compute(self, x: torch.Tensor, y: None = None, weight: None = None) -> tuple[torch.Tensor]:
        """Do the step; return the outputs."""
        with torch.no_grad():
            return (self._model(x),)

    def known(self) -> list[torch.Tensor]:
        """Return every tensor that is state."""
        return tensors_of(self._module)


def tensors_of(module: nn.Module) -> list[torch.Tensor]:
    """Return the parameters and buffers of a module."""
    return [*nn.Module.parameters(module), *module.buffers()]
