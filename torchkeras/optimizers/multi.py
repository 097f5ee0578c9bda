"""MultiOptimizer: different optimizers for different weights of one model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from torchkeras import registry
from torchkeras.optimizers.loss_scale import LossScaleOptimizer
from torchkeras.optimizers.optimizer import Optimizer
from torchkeras.optimizers.parameters import label_of, parameter_of
from torchkeras.registry import Configurable, register
from torchkeras.variable import Variable, Weight


@register("optimizer", "optimizermap")
class OptimizerMap(Configurable):
    """From the paths of weights to optimizers: by the whole path, or by a regular expression.

    Args:
        default_optimizer: of the weights that no key matches.
        optimizer_map: path or pattern (matched against the whole path) -> optimizer.

    Raises:
        TypeError: when the one is no optimizer, or the other no dictionary.
    """

    def __init__(
        self, default_optimizer: Optimizer, optimizer_map: dict[str, Optimizer] | None = None
    ):
        if not isinstance(default_optimizer, Optimizer):
            raise TypeError(
                f"OptimizerMap: default_optimizer must be an optimizer; received "
                f"{default_optimizer!r}."
            )
        if optimizer_map is not None and not isinstance(optimizer_map, dict):
            raise TypeError(
                f"OptimizerMap: optimizer_map must be a dictionary; received {optimizer_map!r}."
            )
        self.default_optimizer = default_optimizer
        self.optimizer_map: dict[str, Optimizer] = {}
        for key, optimizer in (optimizer_map or {}).items():
            self[key] = optimizer

    def __getitem__(self, key: str) -> Optimizer:
        """Return the optimizer of a path.

        Raises:
            ValueError: when several patterns match.
        """
        if key in self.optimizer_map:
            return self.optimizer_map[key]
        found = [pattern for pattern in self.optimizer_map if re.fullmatch(pattern, key)]
        if len(found) > 1:
            raise ValueError(f"Multiple optimizers assigned to variable {key}: {found} match.")
        return self.optimizer_map[found[0]] if found else self.default_optimizer

    def __setitem__(self, key: str, optimizer: Optimizer) -> None:
        """Give an optimizer to a path or pattern.

        Raises:
            ValueError: for a key that is there already or no string, or what is no plain optimizer.
        """
        if not isinstance(key, str) or key in self.optimizer_map:
            raise ValueError(f"OptimizerMap: {key!r} is no string, or already exists in the map.")
        self.optimizer_map[key] = _checked(optimizer, key)

    def __delitem__(self, key: str) -> None:
        del self.optimizer_map[key]

    def __len__(self) -> int:
        return len(self.optimizer_map)

    def __iter__(self) -> Iterator[str]:
        return iter(self.optimizer_map)

    def values(self) -> Iterable[Optimizer]:
        """Return the optimizers of the keys."""
        return self.optimizer_map.values()

    def __call__(self, variable: Any) -> Optimizer:
        """Return the optimizer of a variable, by its path."""
        return self[variable.path]

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> OptimizerMap:
        """Make the optimizers, then the map."""

        def make(one: dict[str, Any]) -> Optimizer:
            return registry.deserialize("optimizer", one, custom_objects)

        rest = {key: make(one) for key, one in config["optimizer_map"].items()}
        return cls(make(config["default_optimizer"]), rest)


@register("optimizer", "multioptimizer")
class MultiOptimizer(Optimizer):
    """Hands each weight to the optimizer that a map or a function names.

    The learning rates are those of :attr:`optimizers`; it has none of its own.

    Args:
        optimizer_map: an :class:`OptimizerMap`, or a function from a variable to its optimizer.
        loss_scale_factor: as for every optimizer; it becomes that of all inside.
        name: numbered by class unless given.

    Attributes:
        optimizers: those inside, in the order in which they were found.
    """

    optimizers: Sequence[Optimizer] = ()

    def __init__(
        self, optimizer_map: Any, loss_scale_factor: float | None = None, name: str | None = None
    ):
        super().__init__(0.0, name=name)
        self.optimizer_map = optimizer_map
        self.optimizers = []
        self._shares: list[list[int]] = []
        known = [*optimizer_map.values()] if hasattr(optimizer_map, "values") else []
        for optimizer in (*known, getattr(optimizer_map, "default_optimizer", None)):
            if optimizer is not None and not self._has(optimizer):
                self.optimizers.append(optimizer)
        self.loss_scale_factor = loss_scale_factor

    def _has(self, optimizer: Optimizer) -> bool:
        return any(optimizer is one for one in self.optimizers)

    @property
    def loss_scale_factor(self) -> float | None:
        """What the loss is multiplied by, for all optimizers inside."""
        return self._loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, factor: float | None) -> None:
        self._loss_scale_factor = factor
        for optimizer in self.optimizers:
            optimizer.loss_scale_factor = factor

    @property
    def learning_rate(self) -> Any:
        """Refused: each optimizer inside has its own.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(
            "A MultiOptimizer has no learning rate: read and set those of its `optimizers`."
        )

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        raise AttributeError(
            "A MultiOptimizer has no learning rate: read and set those of its `optimizers`."
        )

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Its own settings, then the groups of the optimizers inside."""
        if not self.optimizers:
            return self._own_groups
        return self._own_groups + [g for one in self.optimizers for g in one.param_groups]

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self._own_groups = groups

    @property
    def replayable(self) -> bool:
        """Whether all optimizers inside are."""
        return all(optimizer.replayable for optimizer in self.optimizers)

    def has_hooks(self) -> bool:
        """Tell whether any of torch's step hooks is to be called."""
        return super().has_hooks() or any(one.has_hooks() for one in self.optimizers)

    def build(self, variables: Iterable[Any]) -> None:
        """Ask the map for each weight's optimizer and build all that have any.

        Raises:
            ValueError: when it names what is no plain optimizer.
        """
        variables = list(variables)
        self._shares = [[] for _ in self.optimizers]
        for index, variable in enumerate(variables):
            optimizer = _checked(self.optimizer_map(variable), label_of(variable))
            if not self._has(optimizer):
                optimizer.loss_scale_factor = self.loss_scale_factor
                self.optimizers.append(optimizer)
                self._shares.append([])
            place = next(k for k, one in enumerate(self.optimizers) if one is optimizer)
            self._shares[place].append(index)
        for optimizer, share in zip(self.optimizers, self._shares):
            if share:
                if not optimizer.built:
                    optimizer._excluded = self._excluded
                optimizer.build([variables[index] for index in share])
        self._move_settings()
        self._adopt(variables)
        self._constrained = []  # the optimizers inside see to them

    def _move_settings(self) -> None:
        for key, value in self._own_groups[0].items():
            if isinstance(value, torch.Tensor) and self.optimizers:
                self._own_groups[0].rebind(key, value.to(self.optimizers[0]._device))

    def enter_flat(self) -> None:
        """Let the optimizers inside work on flat memory."""
        for optimizer in self.optimizers:
            if optimizer.built:
                optimizer.enter_flat()

    def leave_flat(self) -> None:
        """Let the optimizers inside leave flat memory."""
        for optimizer in self.optimizers:
            optimizer.leave_flat()

    @property
    def _is_flat(self) -> bool:
        return any(optimizer._is_flat for optimizer in self.optimizers)

    def _settle(self) -> None:
        for optimizer in self.optimizers:
            optimizer._settle()

    def _held(self) -> list[torch.Tensor]:
        return [self._count, *(held for one in self.optimizers for held in one._held())]

    def _apply_rule(self, gradients: Sequence[torch.Tensor | None], missing: set[int]) -> None:
        for optimizer, share in zip(self.optimizers, self._shares):
            found = [gradients[index] for index in share]
            if all(gradient is None for gradient in found):
                continue
            arguments = optimizer._call_pre_hooks(found)
            optimizer._update(arguments[0], expected=set())
            optimizer._call_post_hooks(arguments)
        self._count.add_(1)

    def finalize_variable_values(self, var_list: Iterable[Any] | None = None) -> None:
        """Give weights the running means that the optimizers inside kept."""
        listed = self._model_variables if var_list is None else var_list
        wanted = {id(parameter_of(variable)) for variable in listed}
        for optimizer in self.optimizers:
            held = optimizer._model_variables
            optimizer.finalize_variable_values(
                [variable for variable in held if id(parameter_of(variable)) in wanted]
            )

    @property
    def variables(self) -> list[Variable]:
        """Its own count and a rate that never changes, then those of the optimizers inside."""
        own = [
            self._iterations,
            Variable.of(self, Weight("learning_rate", "_rate", trainable=False)),
        ]
        return own + [held for one in self.optimizers for held in one.variables]

    def tensors(self) -> list[torch.Tensor]:
        """Return every tensor that an update uses besides parameters and gradients."""
        return [self._count, *(held for one in self.optimizers for held in one.tensors())]

    def state_dict(self) -> dict[str, Any]:
        """Return the count and the states of the optimizers inside."""
        states = [optimizer.state_dict() for optimizer in self.optimizers]
        return {"iterations": self._count.clone(), "optimizers": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Write what :meth:`state_dict` returned.

        Raises:
            ValueError: when the state is that of other optimizers.
        """
        states = state_dict.get("optimizers", ())
        if len(states) != len(self.optimizers):
            raise ValueError(
                f"MultiOptimizer has {len(self.optimizers)} optimizers; the state to load is that "
                f"of {len(states)}."
            )
        for optimizer, state in zip(self.optimizers, states):
            if optimizer.built:
                optimizer.load_state_dict(state)
        self._count.copy_(state_dict["iterations"])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this optimizer again (without its state)."""
        return {
            "optimizer_map": registry.serialize(self.optimizer_map),
            "loss_scale_factor": self.loss_scale_factor,
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> MultiOptimizer:
        """Make the map, then this optimizer."""
        made = registry.deserialize("optimizer", config["optimizer_map"], custom_objects)
        return cls(**{**config, "optimizer_map": made})


def _checked(optimizer: Any, key: str) -> Optimizer:
    """Return what is an optimizer that may stand inside.

    Raises:
        ValueError: when it is none.
    """
    composed = (LossScaleOptimizer, MultiOptimizer)
    if not isinstance(optimizer, Optimizer) or isinstance(optimizer, composed):
        raise ValueError(
            f"The optimizer for {key} must be an optimizer, and no LossScaleOptimizer or "
            f"MultiOptimizer; received one of type {type(optimizer).__name__}."
        )
    return optimizer
