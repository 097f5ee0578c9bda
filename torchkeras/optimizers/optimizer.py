"""Optimizer: a ``torch.optim.Optimizer`` with Keras' arguments, life-cycle and numbers."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.optim import optimizer as torch_optimizer

from torchkeras import config
from torchkeras.optimizers import arguments, clipping
from torchkeras.optimizers.flat import Flattening
from torchkeras.optimizers.groups import STRIDED, Group, add_to_groups, new_slot
from torchkeras.optimizers.kernels import Complements
from torchkeras.optimizers.parameters import (
    checked_parameter,
    in_torch_layout,
    label_of,
    look_like_parameters,
    parameter_of,
)
from torchkeras.registry import auto_name, register, snake_case
from torchkeras.variable import Variable
from torchkeras.warn import warn_user

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
class Optimizer(Flattening):
    """Base of all optimizers.

    Constructed without parameters; :meth:`build` gives them. The learning rate and the count of
    updates are tensors on the parameters' device and no number is read back from a tensor during
    an update, so that an update can be recorded and replayed.

    A rule of its own overrides ``_slot_rounds`` (the names of the state), ``_scalars`` (what the
    whole update shares) and ``_rule`` (the update of one list of parameters).

    Args:
        learning_rate: a number. Schedules and callables are not supported yet.
        weight_decay: each update first multiplies the weights by
            ``1 - learning_rate * weight_decay``.
        clipnorm: largest L2 norm of each weight's gradient.
        clipvalue: largest absolute value in a gradient.
        global_clipnorm: largest L2 norm of all gradients together.
        use_ema: must be ``False``: not supported yet.
        ema_momentum: used with ``use_ema`` only.
        ema_overwrite_frequency: used with ``use_ema`` only.
        loss_scale_factor: must be ``None``: not supported yet.
        gradient_accumulation_steps: must be ``None``: not supported yet.
        name: numbered by class unless given.
        decay: of Keras 1 and 2: divides the rate by ``1 + decay * iterations``.  Ignored with a
            warning under Keras 3, as Keras 3 does.

    Attributes:
        built: whether the optimizer has its parameters.

    Raises:
        ValueError: for an argument that is unknown, wrong, or not supported yet.
    """

    def __new__(cls, *args: Any, **kwargs: Any):
        if args and look_like_parameters(args[0]):
            raise TypeError(
                f"The first argument of {cls.__name__} is the learning rate, but it received the "
                f"parameters ({type(args[0]).__name__}). Write optimizer = {cls.__name__}("
                "learning_rate=…) and then optimizer.build(list(model.parameters())); compile and "
                "fit build it by themselves. To use PyTorch's own rule, take torch.optim."
            )
        return super().__new__(cls, *args, **kwargs)

    def __init__(
        self,
        learning_rate: float,
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
        rate = arguments.checked_rate(type(self).__name__, learning_rate)
        settings = {
            "params": [],
            "lr": torch.tensor(rate, dtype=torch.float32),
            "iterations": torch.zeros((), dtype=torch.int32),
        }
        torch.optim.Optimizer.__init__(self, [settings], {"lr": rate})
        self.name = name or auto_name(snake_case(type(self).__name__))
        self.decay = arguments.read_decay(type(self).__name__, kwargs.pop("decay", None))
        if kwargs:
            known = ", ".join(list(inspect.signature(type(self).__init__).parameters)[1:-1])
            raise ValueError(
                f"Argument(s) not recognized by {type(self).__name__}: {', '.join(kwargs)}. "
                f"Known: {known}."
            )
        arguments.refuse_unsupported(
            type(self).__name__,
            use_ema=use_ema,
            loss_scale_factor=loss_scale_factor,
            gradient_accumulation_steps=gradient_accumulation_steps,
        )
        arguments.check_clipping(
            type(self).__name__,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
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

    # --------------------------------------------------------------------------------- building

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Keep some weights from decaying; call it before :meth:`build`.

        Args:
            var_list: variables or parameters.
            var_names: regular expressions, searched in the variables' names, such as ``['bias']``.

        Raises:
            ValueError: when the optimizer is built already.
        """
        if self.built:
            raise ValueError(
                "exclude_from_weight_decay must be called before the optimizer is built (by fit or "
                "build)."
            )
        pattern = re.compile("|".join(var_names)) if var_names else None
        self._excluded = ([parameter_of(variable) for variable in var_list or ()], pattern)

    def _decays(self, variable: Any) -> bool:
        listed, pattern = self._excluded
        parameter = parameter_of(variable)
        if any(parameter is excluded for excluded in listed):
            return False
        name = getattr(variable, "name", None) or ""
        return pattern is None or pattern.search(name) is None

    def build(self, variables: Iterable[Any]) -> None:
        """Take over the parameters and make all state; a second time keep the state of known ones.

        Args:
            variables: parameters, or variables that know their parameter and constraint.

        Raises:
            ValueError: when one of them is no floating-point tensor.
        """
        variables = list(variables)
        parameters = [checked_parameter(variable) for variable in variables]
        self.leave_flat()
        known = dict(self.state)
        self.state.clear()
        groups: dict[tuple, Group] = {}
        for index, (variable, parameter) in enumerate(zip(variables, parameters)):
            if parameter in self.state:
                continue  # tied: its first place has the whole gradient
            slots = self._make_slots(parameter, known.get(parameter, {}))
            self.state[parameter] = slots
            add_to_groups(groups, index, parameter, slots, self._decays(variable))
        self._regroup(groups.values())
        self.param_groups[0]["params"] = list(self.state)
        self._move_settings()
        self._adopt(variables)

    def _adopt(self, variables: list[Any]) -> None:
        """Keep the variables, to find gradients, constraints and names by."""
        self._model_variables = variables
        self._constrained = [
            (index, variable)
            for index, variable in enumerate(variables)
            if getattr(variable, "constraint", None) is not None
        ]
        self._warned = set()
        self.built = True

    def _make_slots(
        self, parameter: torch.Tensor, known: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        slots = {}
        for name in itertools.chain.from_iterable(self._slot_rounds()):
            slot = new_slot(parameter, self._initial_value(name))
            held = known.get(name)
            if held is not None and held.shape == slot.shape:
                same = held.device == slot.device and held.dtype is slot.dtype
                same = same and held.stride() == slot.stride()
                slot = held if same else slot.copy_(held)
            slots[name] = slot
        return slots

    def _move_settings(self) -> None:
        """Bring rate, count and constants to the first parameter's device."""
        device = self._groups[0].device if self._groups else config.device()
        settings = self.param_groups[0]
        for key, value in settings.items():
            if isinstance(value, torch.Tensor) and value.device != device:
                settings.rebind(key, value.to(device))
        self._device = device
        if self._bases():
            self._complements = self._new_complements()

    def _new_complements(self) -> Complements:
        # As Keras: the first parameter's dtype; but half precision would round beta_2 to 1.
        wide = self._groups and self._groups[0].dtype == torch.float64
        dtype = torch.float64 if wide else torch.float32
        return Complements(self._bases(), dtype, self._device)

    # -------------------------------------------------------------------- what a rule overrides

    def _slot_rounds(self) -> list[tuple[str, ...]]:
        """Names of the state of each parameter, in the rounds in which Keras makes it."""
        return []

    def _initial_value(self, slot: str) -> float:
        return 0.0

    def _bases(self) -> tuple[float, ...]:
        """The numbers whose powers the bias correction needs."""
        return ()

    def _scalars(self, rate: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the 0-d tensors that every list's update shares; the count is already raised."""
        return (rate,)

    def _rule(
        self,
        parameters: list[torch.Tensor],
        gradients: list[torch.Tensor],
        slots: dict[str, list[torch.Tensor]],
        scalars: tuple[torch.Tensor, ...],
    ) -> None:
        """Update a list of parameters of one device and dtype, and their state, in place."""
        raise NotImplementedError(
            f"{type(self).__name__} has no update rule: write _rule(parameters, gradients, slots, "
            "scalars)."
        )

    # --------------------------------------------------------------------------------- updating

    def update(self, gradients: Sequence[torch.Tensor | None]) -> None:
        """Do one update: clip, decay, apply the rule, then the weights' constraints.

        Args:
            gradients: one for each built parameter, in its order and in torch's layout; ``None``
                leaves that parameter and its state alone.

        Raises:
            ValueError: when not built, for a wrong number of gradients, or when all are ``None``.
        """
        arguments = self._call_pre_hooks(gradients)
        self._update(arguments[0])
        self._call_post_hooks(arguments)

    def step(self, closure: Callable[[], torch.Tensor] | None = None) -> torch.Tensor | None:
        """Do one update with the gradients that ``backward()`` left in the parameters.

        Args:
            closure: computes the loss again and calls ``backward()``; called first when given.

        Returns:
            What the closure returned.
        """
        arguments = self._call_pre_hooks(closure)
        closure, loss = arguments[0], None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._update([parameter_of(variable).grad for variable in self._model_variables])
        self._call_post_hooks(arguments)
        return loss

    # torch would wrap `step` in a profiler range and in the calls of the hooks, made here.
    step.hooked = True

    def apply(
        self,
        grads: Sequence[torch.Tensor | None],
        trainable_variables: Sequence[Any] | None = None,
    ) -> None:
        """Do one update with gradients in Keras' layout.

        Args:
            grads: one gradient, or ``None``, for each variable.
            trainable_variables: the variables that they belong to; those that the optimizer was
                built with unless given. The first call may build it.

        Raises:
            ValueError: when not built, for a wrong number of gradients, or an unknown variable.
        """
        grads = list(grads)
        if not grads:
            return
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            if not self.built:
                self.build(trainable_variables)
        elif self.built:
            trainable_variables = self._model_variables
        else:
            raise ValueError(
                f"{type(self).__name__}: apply(grads) needs the variables, since the optimizer is "
                "not built. Call build(variables) first, or apply(grads, variables)."
            )
        if len(grads) != len(trainable_variables):
            raise ValueError(
                f"{type(self).__name__}: received {len(grads)} gradients for "
                f"{len(trainable_variables)} variables."
            )
        known = self._model_variables
        places: dict[int, int] = {}
        for place, variable in enumerate(known):
            places.setdefault(id(parameter_of(variable)), place)
        gradients: list[torch.Tensor | None] = [None] * len(known)
        for gradient, variable in zip(grads, trainable_variables):
            place = places.get(id(parameter_of(variable)))
            if place is None:
                raise ValueError(
                    f"{type(self).__name__}: unknown variable {label_of(variable)}: it was built "
                    f"with {[label_of(v) for v in known]}. Call build with all of them."
                )
            if gradient is not None:
                gradients[place] = in_torch_layout(gradient, variable)
        passed = {places[id(parameter_of(variable))] for variable in trainable_variables}
        arguments = self._call_pre_hooks(gradients)
        self._update(arguments[0], expected=passed)
        self._call_post_hooks(arguments)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> Variable:
        """Do one update with pairs of gradient and variable; returns :attr:`iterations`."""
        pairs = list(grads_and_vars)
        self.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])
        return self.iterations

    def scale_loss(self, loss: torch.Tensor) -> torch.Tensor:
        """Return what gradients are taken of: here the loss itself; a scalar, as is the loss."""
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients that ``backward()`` left in the parameters.

        Args:
            set_to_none: drop them; otherwise fill them with zeros.
        """
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad = parameter.grad.detach().zero_()

    def _update(
        self, gradients: Sequence[torch.Tensor | None], expected: set[int] | None = None
    ) -> None:
        if len(gradients) != len(self._model_variables) or not self.built:
            self._refuse(gradients)
        if not gradients:
            return
        missing = [index for index, gradient in enumerate(gradients) if gradient is None]
        if missing:
            self._report_missing(missing, expected)
        # torch.no_grad() does the same at four times the cost.
        before = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)
        try:
            self._apply_rule(gradients, set(missing))
            for index, variable in self._constrained:
                if gradients[index] is not None:
                    weight = variable.from_torch(variable.parameter)
                    variable.assign(variable.constraint(weight))
        finally:
            torch._C._set_grad_enabled(before)

    def _apply_rule(self, gradients: Sequence[torch.Tensor | None], missing: set[int]) -> None:
        if self._is_flat and self._flat.is_displaced():
            self.leave_flat()
        if any(group.moved() for group in self._groups):
            self.build(self._model_variables)
        groups = self._working
        if missing:
            groups = [group.without(missing) for group in self._groups]
            groups = [group for group in groups if group.indices]
        lists = self._clip(groups, gradients)
        rate = self._rate
        decayed = (rate * -self.weight_decay).add_(1.0) if self.weight_decay else None
        count = self._count
        if self.decay:
            rate = rate / (1.0 + self.decay * count)
        count.add_(1)
        scalars = self._scalars(rate)
        for group, found in zip(groups, lists):
            strided = group.layout == STRIDED
            parameters = group.parameters
            if strided:
                parameters = [parameter.contiguous() for parameter in parameters]
            if decayed is not None:
                shrinking = list(itertools.compress(parameters, group.decays))
                if shrinking:
                    torch._foreach_mul_(shrinking, decayed.to(group.device))
            here = scalars
            if group.device is not self._device and group.device != self._device:
                here = tuple(scalar.to(group.device) for scalar in scalars)
            self._rule(parameters, found, group.slots, here)
            if strided:
                torch._foreach_copy_(group.parameters, parameters)
        if self._is_flat:
            self._flat.mark_written()

    def _clip(self, groups: list[Group], gradients: Sequence) -> list[list[torch.Tensor]]:
        """Lay out for the rule, and clip as asked; a limit of 0 means none, as in Keras."""
        lists = [group.gradients(gradients) for group in groups]
        if self.clipnorm:
            lists = [clipping.by_norm(gradients, self.clipnorm) for gradients in lists]
        elif self.global_clipnorm:
            lists = clipping.by_global_norm(lists, self.global_clipnorm)
        lists = [group.gather(gradients) for group, gradients in zip(groups, lists)]
        if self.clipvalue and not (self.clipnorm or self.global_clipnorm):
            lists = [clipping.by_value(gradients, self.clipvalue) for gradients in lists]
        return lists

    def _corrections(self) -> tuple[torch.Tensor, ...]:
        """Return ``1 - base ** iterations`` for each of :meth:`_bases`, as 0-d tensors."""
        complements = self._complements
        if complements is None or complements.bases != self._bases():
            complements = self._complements = self._new_complements()
        return complements(self._count)

    def _refuse(self, gradients: Sequence[Any]) -> None:
        title = type(self).__name__
        if not self.built:
            raise ValueError(
                f"{title} has no parameters yet: call build(variables) first; compile and fit do "
                "so by themselves."
            )
        raise ValueError(
            f"{title}: received {len(gradients)} gradients, but it was built with "
            f"{len(self._model_variables)} variables."
        )

    def _report_missing(self, missing: list[int], expected: set[int] | None) -> None:
        if len(missing) == len(self._model_variables):
            raise ValueError("No gradients provided for any variable.")
        missing = [index for index in missing if expected is None or index in expected]
        if missing and tuple(missing) not in self._warned:
            self._warned.add(tuple(missing))
            names = [label_of(self._model_variables[index]) for index in missing]
            warn_user(
                f"Gradients do not exist for variables {names}: they stay as they are. Does the "
                "loss depend on them?",
            )

    # ---------------------------------------------------------------------------- hooks of torch

    def _call_pre_hooks(self, argument: Any) -> tuple[Any, ...]:
        arguments = (argument,)
        for hook in (
            *torch_optimizer._global_optimizer_pre_hooks.values(),
            *self._optimizer_step_pre_hooks.values(),
        ):
            changed = hook(self, arguments, {})
            if changed is not None:
                arguments = changed[0]
        return arguments

    def _call_post_hooks(self, arguments: tuple[Any, ...]) -> None:
        for hook in (
            *self._optimizer_step_post_hooks.values(),
            *torch_optimizer._global_optimizer_post_hooks.values(),
        ):
            hook(self, arguments, {})

    # ---------------------------------------------------------------------------------- configs

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this optimizer again (without its state)."""
        found = super().get_config()
        ordered = {name: found[name] for name in _CONFIG_FIRST if name in found}
        ordered.update(found)
        if "learning_rate" in ordered:
            ordered["learning_rate"] = float(self.learning_rate)
        if self.decay:
            ordered["decay"] = self.decay
        return ordered


def fuzz(epsilon: float | None) -> float:
    """Return an ``epsilon`` argument's number: ``None``, Keras 2's default, is the global one."""
    return config.epsilon() if epsilon is None else epsilon
