"""Optimizer: a ``torch.optim.Optimizer`` with Keras' arguments, life-cycle and numbers."""

from __future__ import annotations

import inspect
import re
from typing import Any

import torch

from torchkeras import config, eras
from torchkeras.optimizers import arguments
from torchkeras.optimizers.custom import PerVariable
from torchkeras.optimizers.groups import Group
from torchkeras.optimizers.kernels import Complements
from torchkeras.optimizers.parameters import look_like_parameters
from torchkeras.registry import auto_name, deserialize, register, serialize_value, snake_case
from torchkeras.variable import Variable

# The order of Keras' configs, which is not that of the signatures.
_CONFIG_FIRST = (
    "name",
    "learning_rate",
    "weight_decay",
    "clipnorm",
    "global_clipnorm",
    "clipvalue",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)


@register("optimizer", named=False)
class Optimizer(PerVariable):
    """Base of all optimizers.

    Constructed without parameters; :meth:`build` gives them. The learning rate and the count of
    updates are tensors on the parameters' device and no number is read back from a tensor during
    an update, so that an update can be recorded and replayed.

    A rule of its own overrides ``_slot_rounds`` (the names of the state), ``_scalars`` (what the
    whole update shares) and ``_rule`` (the update of one list of parameters), or, as Keras'
    documentation says, ``build`` and ``update_step`` (the update of one variable).

    Args:
        learning_rate: a number, a :class:`~torchkeras.optimizers.schedules.LearningRateSchedule`,
            or a function without arguments that returns the rate of the next update (a step that
            calls one is not captured).  ``torch.optim.lr_scheduler`` objects are made with the
            optimizer, as for any torch one.
        weight_decay: each update first multiplies the weights by
            ``1 - learning_rate * weight_decay``.
        clipnorm: largest L2 norm of each weight's gradient.
        clipvalue: largest absolute value in a gradient.
        global_clipnorm: largest L2 norm of all gradients together.
        use_ema: whether to keep a running mean of each weight, which takes its place when training
            ends (:meth:`finalize_variable_values`).
        ema_momentum: how much of the mean each update keeps.
        ema_overwrite_frequency: also take the weights' place after every so many updates.
        loss_scale_factor: what :meth:`scale_loss` multiplies the loss by and an update divides the
            gradients by.
        gradient_accumulation_steps: move only in every so-many-th update, by the mean of the
            gradients since the last time; at least 2.
        name: numbered by class unless given.
        decay: of Keras 1 and 2: divides the rate by ``1 + decay * iterations``.  Ignored with a
            warning under Keras 3, as Keras 3 does.

    Attributes:
        built: whether the optimizer has its parameters.

    Raises:
        ValueError: for an argument that is unknown or wrong.
    """

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        # What help() and editors show; they would take it from __new__.
        shown = inspect.signature(cls.__init__)
        cls.__signature__ = shown.replace(parameters=[*shown.parameters.values()][1:])

    def __new__(cls, *args: Any, **kwargs: Any):
        if args and look_like_parameters(args[0]):
            raise TypeError(
                f"The first argument of {cls.__name__} is the learning rate, but it received the "
                f"parameters ({type(args[0]).__name__}). Write optimizer = {cls.__name__}("
                "learning_rate=…) and then optimizer.build(list(model.parameters())); compile and "
                "fit build it by themselves. To use PyTorch's own rule, take torch.optim."
            )
        return super().__new__(cls, *args, **kwargs)

    @arguments.takes_common_arguments
    def __init__(
        self,
        learning_rate: Any,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        title = type(self).__name__
        scheduled = arguments.is_schedule(learning_rate)
        rate = 0.0 if scheduled else arguments.checked_rate(title, learning_rate)
        settings = {
            "params": [],
            "lr": torch.tensor(rate, dtype=torch.float32),
            "iterations": torch.zeros((), dtype=torch.int32),
        }
        torch.optim.Optimizer.__init__(self, [settings], {"lr": rate})
        self.name = name or auto_name(snake_case(title))
        self.decay = arguments.read_decay(title, kwargs.pop("decay", None))
        if kwargs:
            known = ", ".join(list(inspect.signature(type(self).__init__).parameters)[1:-1])
            raise ValueError(
                f"Argument(s) not recognized by {title}: {', '.join(kwargs)}. Known: {known}."
            )
        if use_ema:
            arguments.check_averaging(title, ema_momentum, ema_overwrite_frequency)
        arguments.check_count(
            title, "gradient_accumulation_steps", gradient_accumulation_steps, least=2
        )
        arguments.check_clipping(
            title, clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm
        )
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema = use_ema
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.built = False
        self._model_variables: list[Any] = []
        self._constrained: list[tuple[int, Any]] = []
        self._groups: list[Group] = []
        self._working = self._groups  # what an update works on: see enter_flat()
        self._device = torch.device("cpu")
        self._complements: Complements | None = None
        self._excluded: tuple[list[torch.Tensor], re.Pattern | None] = ([], None)
        self._warned: set[tuple[int, ...]] = set()
        self._added: list[Variable] = []
        # The rules of the Keras version in force.
        self._clips_commonly = eras.value("optimizers.clipnorm_is_common")
        self._epsilon_outside_root = eras.value("optimizers.epsilon_outside_root")
        if scheduled:
            self._set_schedule(learning_rate)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this optimizer again (without its state)."""
        found = super().get_config()
        ordered = {name: found[name] for name in _CONFIG_FIRST if name in found}
        ordered.update(found)
        if "learning_rate" in ordered:
            schedule = self._schedule
            rate = float(self._rate) if schedule is None else serialize_value(schedule)
            ordered["learning_rate"] = rate
        if self.decay:
            ordered["decay"] = self.decay
        return ordered

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Optimizer:
        """Make an optimizer from what :meth:`get_config` returned.

        Args:
            config: the arguments; a schedule in its serialized form.
            custom_objects: names of the user's schedules.
        """
        config = dict(config)
        rate = config.get("learning_rate")
        if isinstance(rate, dict):
            config["learning_rate"] = deserialize("schedule", rate, custom_objects)
        return cls(**config)


def fuzz(epsilon: float | None) -> float:
    """Return an ``epsilon`` argument's number: ``None``, Keras 2's default, is the global one."""
    return config.epsilon() if epsilon is None else epsilon
