"""TorchOptimizer: any optimizer of PyTorch's own, driven as one of Keras'."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from torchkeras.optimizers import arguments
from torchkeras.optimizers.optimizer import Optimizer
from torchkeras.optimizers.parameters import checked_parameter, parameter_of
from torchkeras.registry import register
from torchkeras.variable import Variable, Weight

_PLAIN = (bool, int, float, str, tuple, type(None))


class _Rate(Variable):
    """The learning rate of a wrapped optimizer, which may be a float: written through its owner."""

    __slots__ = ()

    def assign(self, value: Any) -> _Rate:
        self.owner.learning_rate = value
        return self

    def assign_add(self, value: Any) -> _Rate:
        return self.assign(float(self) + float(value))

    def assign_sub(self, value: Any) -> _Rate:
        return self.assign(float(self) - float(value))


@register("optimizer")
class TorchOptimizer(Optimizer):
    """Wraps an optimizer of PyTorch's own: PyTorch's rule and defaults, Keras' life-cycle.

    Args:
        optimizer: a class such as ``torch.optim.Adam``, a ``functools.partial`` of one, or an
            instance made with the model's parameters. An instance may hold a part of them, in
            groups of its own: it moves those alone.
        name: numbered by class unless given.

    Attributes:
        inner: the wrapped optimizer, ``None`` until built from a class.

    Raises:
        TypeError: when ``optimizer`` is none of those.
        ValueError: when it needs a closure, as LBFGS does.
    """

    # torch's rules read the rate and the count of steps as Python numbers.
    replayable = False

    def __init__(self, optimizer: Any, name: str | None = None):
        if not is_torch_optimizer(optimizer):
            raise TypeError(
                "TorchOptimizer takes a torch.optim.Optimizer class, a functools.partial of one, "
                f"or an instance; received {optimizer!r}."
            )
        cls = _class_of(optimizer)
        if inspect.signature(cls.step).parameters["closure"].default is inspect.Parameter.empty:
            raise ValueError(
                f"torch.optim.{cls.__name__} evaluates the loss several times in one step, which "
                "fit does not do; use it in a training loop of your own."
            )
        self.inner: torch.optim.Optimizer | None = None
        super().__init__(_first_rate(optimizer), name=name)
        self._make: Callable[..., torch.optim.Optimizer] | None = optimizer
        self._chosen_rate: float | None = None
        self._updates = torch.zeros((), dtype=torch.int32)
        if isinstance(optimizer, torch.optim.Optimizer):
            self._make, self.inner = None, optimizer

    # ------------------------------------------------------------------------ the wrapped object

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The wrapped optimizer's groups."""
        return self._unbuilt_groups if self.inner is None else self.inner.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self._unbuilt_groups = groups

    @property
    def state(self) -> dict[torch.Tensor, Any]:
        """The wrapped optimizer's state."""
        return self._unbuilt_state if self.inner is None else self.inner.state

    @state.setter
    def state(self, state: dict[torch.Tensor, Any]) -> None:
        self._unbuilt_state = state

    @property
    def _rate(self) -> torch.Tensor:
        return torch.as_tensor(self.param_groups[0]["lr"], dtype=torch.float32)

    @property
    def _count(self) -> torch.Tensor:
        return self._updates

    @property
    def learning_rate(self) -> Variable:
        """The first group's learning rate; assigning sets that of every group."""
        return _Rate.of(self, Weight("learning_rate", "_rate", trainable=False))

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        rate = rate.item() if hasattr(rate, "item") else rate
        rate = arguments.checked_rate(type(self).__name__, rate)
        self._chosen_rate = rate
        for group in self.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    # ---------------------------------------------------------------------------------- building

    def build(self, variables: Iterable[Any]) -> None:
        """Make the wrapped optimizer, or check the one given; later hand it the new parameters.

        Raises:
            ValueError: when an instance was given that holds none of the parameters.
        """
        variables = list(variables)
        parameters = list(dict.fromkeys(checked_parameter(variable) for variable in variables))
        if self.inner is None:
            self.inner = self._make(parameters)
            if self._chosen_rate is not None:
                self.learning_rate = self._chosen_rate
        else:
            held = {id(p) for group in self.param_groups for p in group["params"]}
            new = [parameter for parameter in parameters if id(parameter) not in held]
            if self._make is not None and new:
                self.inner.add_param_group({"params": new})
            elif parameters and len(new) == len(parameters):
                raise ValueError(
                    f"The {type(self.inner).__name__} given to compile holds none of the model's "
                    "trainable parameters. Make it with model.parameters() once the model is built,"
                    " or pass the class (or a functools.partial of it) and let compile make it."
                )
        self._adopt(variables)

    def _apply_rule(self, gradients: Sequence[torch.Tensor | None], missing: set[int]) -> None:
        parameters = [parameter_of(variable) for variable in self._model_variables]
        before = [parameter.grad for parameter in parameters]
        try:
            for parameter, gradient in zip(parameters, gradients):
                parameter.grad = gradient
            self.inner.step()
        finally:
            for parameter, gradient in zip(parameters, before):
                parameter.grad = gradient
        self._updates.add_(1)

    # --------------------------------------------------------------------------------- the state

    def stateless_apply(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: the state of torch's own optimizers is no variables.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"stateless_apply is not supported with torch.optim.{type(self.inner).__name__}; take "
            "an optimizer of torchkeras.optimizers."
        )

    def tensors(self) -> list[torch.Tensor]:
        """Return every tensor that an update uses besides parameters and gradients."""
        groups = [value for group in self.param_groups for value in group.values()]
        slots = [value for state in self.state.values() for value in state.values()]
        return [v for v in (self._updates, *groups, *slots) if isinstance(v, torch.Tensor)]

    def state_dict(self) -> dict[str, Any]:
        """Return the wrapped optimizer's state.

        Raises:
            ValueError: when it does not exist yet.
        """
        if self.inner is None:
            self._refuse(())
        return self.inner.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give the wrapped optimizer its state.

        Raises:
            ValueError: when it does not exist yet.
        """
        if self.inner is None:
            self._refuse(())
        self.inner.load_state_dict(state_dict)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the wrapped optimizer."""
        if self.inner is None:
            super().add_param_group(param_group)
        else:
            self.inner.add_param_group(param_group)

    def get_config(self) -> dict[str, Any]:
        """Return the class' name in ``torch.optim`` and its plain options.

        Raises:
            TypeError: for a class from elsewhere.
        """
        cls = _class_of(self._make or self.inner)
        if getattr(torch.optim, cls.__name__, None) is not cls:
            raise TypeError(
                f"{cls.__name__} is not one of torch.optim's classes, so a config cannot name it."
            )
        options = self.inner.defaults if self.inner else getattr(self._make, "keywords", {})
        options = {key: value for key, value in options.items() if isinstance(value, _PLAIN)}
        options["lr"] = float(self.param_groups[0]["lr"])
        accepted = inspect.signature(cls.__init__).parameters
        options = {key: value for key, value in options.items() if key in accepted}
        return {"name": self.name, "optimizer": cls.__name__, "options": options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TorchOptimizer:
        """Make the wrapper again.

        Raises:
            ValueError: when ``torch.optim`` has no such class.
        """
        found = getattr(torch.optim, config["optimizer"], None)
        if not is_torch_optimizer(found):
            raise ValueError(f"torch.optim has no optimizer {config['optimizer']!r}.")
        return cls(functools.partial(found, **config["options"]), name=config["name"])


def is_torch_optimizer(thing: Any) -> bool:
    """Tell whether something is an optimizer of PyTorch's own, its class or a partial of it."""
    if isinstance(thing, torch.optim.Optimizer):
        return not isinstance(thing, Optimizer)
    cls = thing.func if isinstance(thing, functools.partial) else thing
    if not inspect.isclass(cls):
        return False
    return issubclass(cls, torch.optim.Optimizer) and not issubclass(cls, Optimizer)


def _class_of(optimizer: Any) -> type[torch.optim.Optimizer]:
    if isinstance(optimizer, functools.partial):
        return optimizer.func
    return optimizer if inspect.isclass(optimizer) else type(optimizer)


def _first_rate(optimizer: Any) -> float:
    """The rate that an optimizer begins with."""
    if isinstance(optimizer, torch.optim.Optimizer):
        return float(optimizer.param_groups[0]["lr"])
    given = getattr(optimizer, "keywords", {}).get("lr")
    if given is None:
        given = inspect.signature(_class_of(optimizer).__init__).parameters["lr"].default
    return float(given)
