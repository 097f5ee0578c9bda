"""Metric: a number kept over batches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from torchkeras import config, dtypes, initializers
from torchkeras.registry import Configurable, auto_name, is_builtin, register, snake_case
from torchkeras.stateless import StatelessScope
from torchkeras.variable import Variable, Weight

_AGGREGATIONS = ("none", "mean", "sum", "only_first_replica", None)


@register("metric", named=False)
class Metric(Configurable):
    """Base of all metrics: a subclass keeps variables, updates them and computes a result.

    It writes ``__init__``, with lines such as
    ``self.total = self.add_weight(name='total', initializer='zeros')``,
    ``update_state(y_true, y_pred, sample_weight=None)`` and ``result()``.  Updates run without
    gradients, and the variables move to where the inputs are.

    Args:
        dtype: the float type to keep the state in; ``floatx`` unless given.
        name: what the metric is called; the class' name, numbered, unless given.
    """

    # What Keras 2 asked of what is given to compile: whether it keeps a state.
    stateful = True

    def __init__(self, dtype: Any = None, name: str | None = None):
        self.name = name or auto_name(snake_case(type(self).__name__))
        self._torch_dtype = dtypes.policy(dtype or config.floatx()).torch_compute_dtype
        # Subclasses written for Keras read it: the dtype's name.
        self._dtype = dtypes.name_of(self._torch_dtype)
        self._device = config.device()
        self._variables: list[Variable] = []

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "update_state" in cls.__dict__:
            cls.update_state = _as_update(cls.update_state)
        # Keras 1 and 2 called it reset_states; a subclass may still write that one.
        if "reset_states" in cls.__dict__ and "reset_state" not in cls.__dict__:
            cls.reset_state = cls.reset_states

    # ------------------------------------------------------------------- what a subclass writes

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Take a batch into the state: ``update_state(y_true, y_pred, sample_weight=None)``."""
        raise NotImplementedError(f"{type(self).__name__} must implement update_state(…).")

    def result(self) -> torch.Tensor:
        """Return the metric of all batches since the last reset, on the state's device."""
        raise NotImplementedError(f"{type(self).__name__} must implement result().")

    def reset_state(self) -> None:
        """Set every variable to zero."""
        with torch.no_grad():
            for variable in self.variables:
                variable.value.zero_()

    # ---------------------------------------------------------------------------------- state

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any,
        dtype: Any = None,
        aggregation: str | None = "sum",
        name: str | None = None,
    ) -> Variable:
        """Make a variable of the state.

        Args:
            shape: its shape; ``()`` for a number.
            initializer: a name, a callable ``(shape, dtype)``; zeros for ``None``.
            dtype: its dtype; ``floatx`` unless given.
            aggregation: how replicas would be joined; there is one.
            name: what it is called.

        Raises:
            RuntimeError: before ``super().__init__()``.
            ValueError: for an unknown aggregation.
        """
        if "_variables" not in self.__dict__:
            raise RuntimeError(
                f"{type(self).__name__}: call super().__init__() before the first add_weight()."
            )
        if aggregation not in _AGGREGATIONS:
            raise ValueError(
                f"`aggregation` must be one of {', '.join(map(repr, _AGGREGATIONS))}; received "
                f"{aggregation!r}."
            )
        initialize = initializers.get("zeros" if initializer is None else initializer)
        tensor = torch.as_tensor(initialize(tuple(shape), dtype=dtypes.name_of(dtype)))
        path = f"_state_{len(self._variables)}"
        setattr(self, path, tensor.detach().to(self._device))
        variable = Variable.of(self, Weight(name or "variable", path))
        self._variables.append(variable)
        return variable

    def add_weight(
        self,
        shape: Sequence[int] | str = (),
        initializer: Any = None,
        dtype: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Make a variable of the state; arguments as for :meth:`add_variable`.

        A string in the first place is the name, as tf.keras had it.
        """
        if isinstance(shape, str):
            shape, name = (), shape
        return self.add_variable(shape, initializer, dtype, name=name)

    @property
    def variables(self) -> list[Variable]:
        """The metric's variables, and those that its attributes are or, as metrics, have."""
        found = {id(variable): variable for variable in self._variables}
        for part in _parts_in(list(self.__dict__.values())):
            for variable in part.variables if isinstance(part, Metric) else [part]:
                found.setdefault(id(variable), variable)
        return list(found.values())

    @property
    def weights(self) -> list[Variable]:
        """The variables, as Keras 2 called them, where a metric was a layer."""
        return self.variables

    @property
    def dtype(self) -> str:
        """Keras' name of the float type of the state."""
        return self._dtype

    @property
    def path(self) -> str:
        """The metric's name, which its variables' paths begin with."""
        return self.name

    @property
    def deferrable(self) -> bool:
        """Whether one update with several batches joined gives the state of one update for each."""
        return is_builtin(type(self))

    def reset_states(self) -> None:
        """Set the state back (Keras 1's and 2's name of :meth:`reset_state`)."""
        self.reset_state()

    def merge_state(self, metrics: Sequence[Metric]) -> None:
        """Add the states of other metrics of the same kind to this one's.

        Raises:
            ValueError: when their variables differ in number.
        """
        for metric in metrics:
            if len(metric.variables) != len(self.variables):
                raise ValueError(
                    f"{self.name} has {len(self.variables)} variables and cannot take the state of "
                    f"{metric.name}, which has {len(metric.variables)}."
                )
            for mine, other in zip(self.variables, metric.variables):
                mine.assign_add(other.value.to(mine.device))

    def stateless_update_state(
        self, metric_variables: Sequence[Any], *args: Any, **kwargs: Any
    ) -> list[torch.Tensor]:
        """Return what :meth:`update_state` makes of values; the metric stays as it is.

        Args:
            metric_variables: a value for each of :attr:`variables`.
            args: what :meth:`update_state` takes.
            kwargs: likewise.

        Raises:
            ValueError: for a wrong number of values or a wrong shape.
        """
        with StatelessScope(self._paired(metric_variables)) as scope:
            self.update_state(*args, **kwargs)
        return [scope.get_current_value(variable) for variable in self.variables]

    def stateless_result(self, metric_variables: Sequence[Any]) -> torch.Tensor:
        """Return the metric of values of its variables; the metric stays as it is.

        Raises:
            ValueError: for a wrong number of values or a wrong shape.
        """
        with StatelessScope(self._paired(metric_variables)):
            return self.result()

    def stateless_reset_state(self) -> list[torch.Tensor]:
        """Return the values of the variables after a reset; the metric stays as it is."""
        with StatelessScope([(v, v.value) for v in self.variables]) as scope:
            self.reset_state()
        return [scope.get_current_value(variable) for variable in self.variables]

    def _paired(self, values: Sequence[Any]) -> list[tuple[Variable, Any]]:
        if len(values) != len(self.variables):
            raise ValueError(
                f"metric {self.name!r} has {len(self.variables)} variables; received "
                f"{len(values)} values."
            )
        return list(zip(self.variables, values))

    def follow(self, device: torch.device) -> None:
        """Move the state to a device."""
        # A tensor made in inference mode could not be updated outside of it.
        with torch.inference_mode(False):
            for variable in self._variables:
                path = variable.row.path
                setattr(self, path, getattr(self, path).to(device))
        self._device = device

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Update the state with a batch and return the result so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    # ---------------------------------------------------------------------------------- config

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def clone_metric(metric: Any) -> Any:
    """Return a metric of the same config with a state of its own; a function is its own clone."""
    return type(metric).from_config(metric.get_config()) if isinstance(metric, Metric) else metric


def clone_metrics(metrics: Any) -> Any:
    """Clone each metric of a list or of a dictionary; ``None`` stays ``None``."""
    if metrics is None:
        return None
    if isinstance(metrics, dict):
        return {name: clone_metric(metric) for name, metric in metrics.items()}
    return [clone_metric(metric) for metric in metrics]


def _as_update(update: Callable) -> Callable:
    """Make an update run without gradients, on the device of the tensors it is given."""

    @functools.wraps(update)
    def update_state(self: Metric, *args: Any, **kwargs: Any) -> None:
        items = (*args, *kwargs.values())
        devices = [item.device for item in items if isinstance(item, torch.Tensor)]
        if devices:
            # Targets or weights may still be on the CPU.
            device = next((device for device in devices if device.type != "cpu"), devices[0])
            if device != self._device:
                self.follow(device)
        with torch.no_grad():
            return update(self, *args, **kwargs)

    return update_state


def _parts_in(item: Any) -> list[Metric | Variable]:
    """Return the metrics and variables of a structure."""
    if isinstance(item, (Metric, Variable)):
        return [item]
    if isinstance(item, dict):
        item = list(item.values())
    if isinstance(item, (list, tuple)):
        return [part for one in item for part in _parts_in(one)]
    return []
