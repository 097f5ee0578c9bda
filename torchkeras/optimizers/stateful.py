"""The half of an optimizer that holds its settings and its state."""

from __future__ import annotations

import inspect
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.optim import optimizer as torch_optimizer

from torchkeras.optimizers import arguments
from torchkeras.optimizers.groups import Settings
from torchkeras.optimizers.parameters import label_of, parameter_of
from torchkeras.optimizers.schedules import LearningRateSchedule
from torchkeras.registry import Configurable, is_own
from torchkeras.variable import SAME, Holder, Transform, Variable, Weight

# The running mean of a weight, and the sum of its gradients.
AVERAGE, ACCUMULATOR = "average", "gradient_accumulator"

# Through the decorator that torch has put around it, it would import torch._dynamo (0.7 s).
_load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


class Stateful(Configurable, torch.optim.Optimizer):
    """Settings and state of an optimizer; :class:`Optimizer` adds the life-cycle and the update.

    The learning rate and the count of updates are 0-d tensors in ``param_groups[0]``, the state of
    a parameter is a dictionary of tensors in ``state``: where torch keeps them. All are written in
    place, whoever writes them.
    """

    def has_hooks(self) -> bool:
        """Tell whether torch's step hooks are to be called around updates."""
        return bool(
            torch_optimizer._global_optimizer_pre_hooks
            or torch_optimizer._global_optimizer_post_hooks
            or self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
        )

    # --------------------------------------------------------------------------- rate and count

    # A LearningRateSchedule or a function without arguments; and its id, which guards compare.
    _schedule: Any = None
    _schedule_id: int | None = None

    @property
    def replayable(self) -> bool:
        """Whether all that an update uses and changes is in tensors, so that it can be recorded."""
        return self._schedule is None or is_own(type(self._schedule))

    @property
    def _rate(self) -> torch.Tensor:
        return self.param_groups[0]["lr"]

    @property
    def _count(self) -> torch.Tensor:
        return self.param_groups[0]["iterations"]

    @property
    def path(self) -> str:
        """What the paths of the optimizer's variables begin with."""
        return self.name

    def _set_schedule(self, schedule: Any) -> None:
        self._schedule = schedule
        self._schedule_id = None if schedule is None else id(schedule)

    def _scheduled_rate(self) -> Any:
        """Return the next update's rate as the schedule or the function says."""
        if isinstance(self._schedule, LearningRateSchedule):
            return self._schedule(self._iterations)
        return self._schedule()

    def _current_rate(self) -> torch.Tensor:
        """Return the rate of the update that begins, after a schedule has written it."""
        if self._schedule is not None:
            rate = self._scheduled_rate()
            self._rate.copy_(torch.as_tensor(rate.value if isinstance(rate, Variable) else rate))
        return self._rate

    @property
    def learning_rate(self) -> Any:
        """The learning rate: read it with ``float()``, set it by assignment or ``.assign()``.

        With a schedule it is the next update's rate, and can be replaced by another schedule only.
        """
        if self._schedule is not None:
            return self._scheduled_rate()
        return Variable.of(self, Weight("learning_rate", "_rate", trainable=False))

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        if arguments.is_schedule(rate):
            self._set_schedule(rate)
            return
        if isinstance(self._schedule, LearningRateSchedule):
            raise TypeError(
                f"{type(self).__name__}: the learning rate is that of a "
                f"{type(self._schedule).__name__}, so it is not settable. Make the optimizer with "
                "a number, or assign another schedule."
            )
        self._set_schedule(None)
        if isinstance(rate, (torch.Tensor, np.ndarray, Variable)):
            self.learning_rate.assign(rate)
        else:
            self.param_groups[0]["lr"] = arguments.checked_rate(type(self).__name__, rate)

    @property
    def lr(self) -> Any:
        """The old name of :attr:`learning_rate`."""
        return self.learning_rate

    @lr.setter
    def lr(self, rate: Any) -> None:
        self.learning_rate = rate

    @property
    def _iterations(self) -> Variable:
        return Variable.of(self, Weight("iteration", "_count", trainable=False))

    @property
    def iterations(self) -> Any:
        """How many updates there have been; with accumulation, how many have moved something."""
        steps = self.gradient_accumulation_steps
        return self._count // steps if steps else self._iterations

    # --------------------------------------------------------------------------------- the state

    @property
    def variables(self) -> list[Variable]:
        """Count, learning rate and the state of each weight, in Keras' order and layout."""
        found = [self._iterations]
        if self._schedule is None:
            found.append(self.learning_rate)
        for names in self._all_rounds():
            for variable in self._model_variables if self.built else ():
                held = self.state[parameter_of(variable)]
                found += [self._slot_variable(variable, name) for name in names if name in held]
        return found + self._added

    @property
    def weights(self) -> list[Variable]:
        """The old name of :attr:`variables`."""
        return self.variables

    def _all_rounds(self) -> list[tuple[str, ...]]:
        """Names of the state of each parameter: running means, sums of gradients, the rule's."""
        extra = [(AVERAGE,)] if self.use_ema else []
        extra += [(ACCUMULATOR,)] if self.gradient_accumulation_steps else []
        return extra + self._slot_rounds()

    @property
    def _model_variables_moving_average(self) -> list[Variable]:
        """The running mean of each weight."""
        return [self._slot_variable(variable, AVERAGE) for variable in self._model_variables]

    @property
    def _accumulated_gradients(self) -> list[Variable]:
        """The sum of each weight's gradients since it moved last."""
        return [self._slot_variable(variable, ACCUMULATOR) for variable in self._model_variables]

    # Names of state that lies in Keras' layout, whatever the weight's.
    _in_keras_layout: tuple[str, ...] = ()

    def _slot_variable(self, variable: Any, name: str) -> Variable:
        transform = SAME
        if hasattr(variable, "from_torch") and name not in self._in_keras_layout:
            transform = Transform(variable.from_torch, variable.to_torch)
        owner = types.SimpleNamespace(
            tensor=self.state[parameter_of(variable)][name], path=self.path, trainable=False
        )
        title = f"{label_of(variable).replace('/', '_')}_{name}"
        return Variable.of(owner, Weight(title, "tensor", transform, trainable=False))

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Write the values of :attr:`variables`.

        Raises:
            ValueError: when not built, or when the number of arrays or a shape differs.
        """
        if not self.built:
            raise ValueError(
                f"You are calling `set_weights()` on an optimizer that has not yet been built. "
                f"Call build(variables) of the {type(self).__name__} first."
            )
        variables = self.variables
        if len(weights) != len(variables):
            raise ValueError(
                f"{type(self).__name__} has {len(variables)} variables; received {len(weights)}."
            )
        for variable, weight in zip(variables, weights):
            variable.assign(weight)

    def stateless_apply(
        self,
        optimizer_variables: Sequence[Any],
        grads: Sequence[torch.Tensor | None],
        trainable_variables: Sequence[Any],
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Do one update on values; the weights and the optimizer's state are as before afterwards.

        Args:
            optimizer_variables: a value for each of :attr:`variables`.
            grads: a gradient for each weight, in Keras' layout.
            trainable_variables: a value for each weight that the optimizer was built with.

        Returns:
            The weights' values after the update, and those of :attr:`variables`.

        Raises:
            ValueError: when not built, or for a wrong number of values or a wrong shape.
        """
        if not self.built:
            raise ValueError(f"{type(self).__name__}: stateless_apply needs a built optimizer.")
        weights = [
            one if isinstance(one, Variable) else Variable.of(Holder(one), "value")
            for one in self._model_variables
        ]
        given = (list(trainable_variables), list(optimizer_variables))
        for values, known in zip(given, (weights, self.variables)):
            if len(values) != len(known):
                raise ValueError(
                    f"{type(self).__name__}: stateless_apply needs {len(known)} values for "
                    f"{[variable.path for variable in known]}; received {len(values)}."
                )
        known = [*weights, *self.variables]
        before = [variable.value.detach().clone() for variable in known]
        try:
            for variable, value in zip(known, [*given[0], *given[1]]):
                variable.assign(value)
            self.apply(list(grads))
            found = [variable.value.detach().clone() for variable in known]
        finally:
            for variable, value in zip(known, before):
                variable.assign(value)
        return found[: len(weights)], found[len(weights) :]

    def get_weights(self) -> list[np.ndarray]:
        """Return the values of :attr:`variables` as arrays."""
        return [variable.numpy() for variable in self.variables]

    def tensors(self) -> list[torch.Tensor]:
        """Return every tensor that an update uses besides parameters and gradients."""
        found = [item for item in self.param_groups[0].values() if isinstance(item, torch.Tensor)]
        found += [tensor for slots in self.state.values() for tensor in slots.values()]
        return found + (self._complements.tensors() if self._complements else [])

    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Write what :meth:`state_dict` returned into the tensors that exist.

        Raises:
            ValueError: when not built, or when the state is that of another optimizer or model.
        """
        if not self.built:
            self._refuse(())
        settings, state = self.param_groups[0], dict(self.state)
        _load_state_dict(self, state_dict)
        loaded, loaded_state = self.param_groups[0], self.state
        self.param_groups = [settings]
        self.state = type(loaded_state)(dict, state)
        for parameter, slots in state.items():
            found = loaded_state.get(parameter, {})
            if set(found) != set(slots):
                raise ValueError(
                    f"{type(self).__name__} keeps {sorted(slots)} for each weight; the state to "
                    f"load has {sorted(found)}: it is another optimizer's."
                )
        for key, value in loaded.items():
            if key != "params":
                settings[key] = value
        for parameter, slots in state.items():
            for name, tensor in slots.items():
                tensor.copy_(loaded_state[parameter][name])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take torch's first group; there is one, with one learning rate, as in Keras.

        Raises:
            ValueError: for a second group.
        """
        if self.param_groups:
            raise ValueError(
                f"{type(self).__name__} has one group of parameters. Call build(variables) with "
                "all of them; for rates that differ take a torch.optim optimizer."
            )
        self.param_groups.append(Settings(param_group))

    def __getstate__(self) -> dict[str, Any]:
        # Hooks stay behind, as torch's do; a scheduler's `step` is bound to this very object; the
        # constants hold views that pickle would tear from their memory.
        state = {
            key: value
            for key, value in self.__dict__.items()
            if key != "step" and not key.endswith("_hooks")
        }
        state["_complements"] = state["_known_places"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.built and self._complements is None and self._bases():
            self._complements = self._new_complements()
