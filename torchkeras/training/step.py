"""One step of training or evaluation, as one callable on a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from torchkeras import tree
from torchkeras.layers import activity
from torchkeras.training.layout import SINGLE, Layout

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

    def add_to(self, loss: torch.Tensor | None) -> torch.Tensor:
        """Return the loss with all penalties added.

        Args:
            loss: ``None`` where the penalties are all.

        Raises:
            ValueError: when there is no loss and no penalty either.
        """
        for regularizer, variable in self._terms:
            penalty = regularizer(variable.value)
            loss = penalty if loss is None else loss + penalty
        if activity.in_use():
            for penalty in activity.penalties(self.model):
                loss = penalty if loss is None else loss + penalty
        if loss is None:
            raise ValueError(
                "No loss to compute: compile() was called without a loss, and nothing in the model "
                "calls add_loss(). Give one, such as loss='mse'."
            )
        return loss


def _is_deferred(objective: Any, penalties: Penalties, y_pred: Any) -> bool:
    """Tell whether the loss of a step follows from its outputs, so that it need not be returned."""
    return (
        objective.loss_deferrable
        and not penalties.any()
        and getattr(y_pred, "_keras_mask", None) is None
    )


def _returned(y_pred: Any) -> tuple[torch.Tensor | None, ...]:
    """Return what a step hands out of the model's outputs: each, detached, then their masks."""
    if isinstance(y_pred, torch.Tensor):
        mask = getattr(y_pred, "_keras_mask", None)
        return (y_pred.detach(),) if mask is None else (y_pred.detach(), mask)
    found = tree.flatten(y_pred)
    masks = tuple(getattr(one, "_keras_mask", None) for one in found)
    return (*(one.detach() for one in found), *(masks if any(m is not None for m in masks) else ()))


class TrainStep:
    """A training step: forward, loss, gradients, update.

    Args:
        model: the callable that computes, in training mode.
        penalties: what is added to the loss.
        objective: loss and metrics.
        optimizer: moves the variables.
        variables: the weights to move, as far as their parameters require gradients.
        watched: all weights; see :meth:`holds`.
        layout: how a batch is read.

    Raises:
        ValueError: at a step, when the loss does not depend on the weights to move.
    """

    def __init__(
        self,
        model: Callable,
        penalties: Penalties,
        objective: Any,
        optimizer: Any,
        variables: list[Variable],
        watched: Sequence[Variable] = (),
        layout: Layout = SINGLE,
    ):
        self.layout = layout
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

    def compute(self, *batch: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        """Do the step.

        Args:
            batch: inputs, targets and sample weights, as the layout says.

        Returns:
            The loss, with several outputs each one's own, the outputs, and the masks of outputs
            that have any; detached.
        """
        return self._compute(batch, may_defer=False)

    def compute_deferred(self, *batch: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        """Do the step; return ``None`` for a loss that follows from the outputs.

        The objective computes it when somebody looks, for many steps at once.
        """
        return self._compute(batch, may_defer=True)

    def _compute(
        self, batch: Sequence[torch.Tensor | None], may_defer: bool
    ) -> tuple[torch.Tensor | None, ...]:
        x, y, weight = batch if self.layout.is_single else self.layout.split(batch)
        y_pred = self._model(x)
        loss, parts = self._objective.lowered(y, y_pred, weight)
        loss = self._penalties.add_to(loss)
        if self._parameters:
            if not loss.requires_grad:
                raise ValueError(self._objective.parts[0].without_gradient())
            scaled = self._optimizer.scale_loss(loss)
            gradients = torch.autograd.grad(scaled, self._parameters, allow_unused=True)
            self._optimizer.update(gradients)
        if may_defer and _is_deferred(self._objective, self._penalties, y_pred):
            return None, *_returned(y_pred)
        return loss.detach(), *parts, *_returned(y_pred)

    def known(self) -> list[torch.Tensor]:
        """Return every tensor that is state: weights, buffers, what the optimizer holds."""
        return [*tensors_of(self._penalties.model), *self._optimizer.tensors()]


class TestStep:
    """A step of evaluation: forward and loss, no gradients.

    Args:
        model: the callable that computes, in inference mode.
        penalties: what is added to the loss.
        objective: loss and metrics.
        layout: how a batch is read.
    """

    __test__ = False  # not a test, whatever its name says to pytest

    def __init__(
        self,
        model: Callable,
        penalties: Penalties,
        objective: Any,
        layout: Layout = SINGLE,
    ):
        self._layout = layout
        self._model = model
        self._penalties = penalties
        self._objective = objective

    def compute(self, *batch: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        """Do the step; returns what :meth:`TrainStep.compute_deferred` returns."""
        x, y, weight = batch if self._layout.is_single else self._layout.split(batch)
        with torch.no_grad():
            y_pred = self._model(x)
            if _is_deferred(self._objective, self._penalties, y_pred):
                return None, *_returned(y_pred)
            loss, parts = self._objective.lowered(y, y_pred, weight)
            return self._penalties.add_to(loss), *parts, *_returned(y_pred)

    def known(self) -> list[torch.Tensor]:
        """Return every tensor that is state."""
        return tensors_of(self._penalties.model)


class PredictStep:
    """A step of prediction: forward, no gradients.

    Args:
        model: the callable that computes, in inference mode.
        module: the model.
        layout: how a batch is read.
    """

    def __init__(self, model: Callable, module: nn.Module, layout: Layout = SINGLE):
        self._layout = layout
        self._model = model
        self._module = module
        # The form of the outputs, once there was a step.
        self.structure: Any = None

    def compute(self, *batch: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """Do the step; return the outputs, one behind the other."""
        with torch.no_grad():
            outputs = self._model(
                batch[0] if self._layout.x is None else self._layout.split(batch)[0]
            )
            self.structure = tree.map_structure(lambda output: None, outputs)
            return tuple(tree.leaves(outputs))

    def known(self) -> list[torch.Tensor]:
        """Return every tensor that is state."""
        return tensors_of(self._module)


def tensors_of(module: nn.Module) -> list[torch.Tensor]:
    """Return the parameters and buffers of a module."""
    return [*nn.Module.parameters(module), *module.buffers()]
