"""How an optimizer moves parameters: the ways to ask for an update, and its parts in order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.optim import optimizer as torch_optimizer

from torchkeras.optimizers import clipping
from torchkeras.optimizers.building import Building
from torchkeras.optimizers.groups import CONTIGUOUS, STRIDED, Group
from torchkeras.optimizers.kernels import only_where
from torchkeras.optimizers.parameters import in_torch_layout, label_of, parameter_of
from torchkeras.optimizers.stateful import ACCUMULATOR, AVERAGE
from torchkeras.variable import Variable
from torchkeras.warn import warn_user

# Gradients of no parameters in particular.
_LOOSE = Group(torch.device("cpu"), torch.float32, CONTIGUOUS, [], [], {}, [])


class Updating(Building):
    """The half of an optimizer that updates; see :meth:`update`, :meth:`step`, :meth:`apply`."""

    # ------------------------------------------------------------------------- asking for one

    def update(self, gradients: Sequence[torch.Tensor | None]) -> None:
        """Do one update: clip, decay, apply the rule, average, then the weights' constraints.

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
        gradients: list[torch.Tensor | None] = [None] * len(known)
        passed = set()
        for gradient, variable in zip(grads, trainable_variables):
            place = self._places.get(id(parameter_of(variable)))
            if place is None:
                raise ValueError(
                    f"{type(self).__name__}: Unknown variable: {label_of(variable)}: it was built "
                    f"with {[label_of(v) for v in known]}. Call build with all of them."
                )
            passed.add(place)
            if gradient is not None:
                gradients[place] = in_torch_layout(gradient, variable)
        arguments = self._call_pre_hooks(gradients)
        self._update(arguments[0], expected=passed)
        self._call_post_hooks(arguments)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> Variable:
        """Do one update with pairs of gradient and variable; returns the count of calls."""
        pairs = list(grads_and_vars)
        self.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])
        return self._iterations

    def scale_loss(self, loss: Any) -> Any:
        """Return what gradients are taken of: the loss times ``loss_scale_factor``."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

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

    # --------------------------------------------------------------------------- doing one

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
        self._settle()
        groups = self._working
        if missing:
            groups = [group.without(missing) for group in self._groups]
            groups = [group for group in groups if group.indices]
        lists = [group.gradients(gradients) for group in groups]
        if self.loss_scale_factor is not None:
            lists = [torch._foreach_div(found, float(self.loss_scale_factor)) for found in lists]
        rate, count = self._current_rate(), self._count
        decayed = (rate * -self.weight_decay).add_(1.0) if self.weight_decay else None
        if self.decay:
            rate = rate / (1.0 + self.decay * count)
        count.add_(1)
        if self.gradient_accumulation_steps:
            self._accumulate(groups, lists, rate, decayed)
        else:
            self._move(groups, lists, rate, decayed)
        if self.use_ema:
            self._average()
        if self._is_flat:
            self._flat.mark_written()

    def _settle(self) -> None:
        """Look where the parameters are, and follow those that have moved."""
        if self._is_flat and self._flat.is_displaced():
            self.leave_flat()
        if any(group.moved() for group in self._groups):
            self.build(self._model_variables)

    def _move(
        self,
        groups: list[Group],
        lists: list[list[torch.Tensor]],
        rate: torch.Tensor,
        decayed: torch.Tensor | None,
    ) -> None:
        """Clip, decay and apply the rule; the count is already raised.

        Args:
            groups: with no gradient missing.
            lists: their gradients.
            rate: the learning rate.
            decayed: what the weights that decay are multiplied by.
        """
        lists = self._clip(groups, lists)
        scalars = self._scalars(rate)
        for group, found in zip(groups, lists):
            strided = group.layout == STRIDED
            parameters = group.parameters
            if strided:
                parameters = [parameter.contiguous() for parameter in parameters]
            self._decay_weights(group, parameters, rate, decayed)
            here = scalars
            if group.device is not self._device and group.device != self._device:
                here = tuple(scalar.to(group.device) for scalar in scalars)
            self._move_group(group, parameters, found, here)
            if strided:
                torch._foreach_copy_(group.parameters, parameters)

    def _decay_weights(
        self,
        group: Group,
        parameters: list[torch.Tensor],
        rate: torch.Tensor,
        decayed: torch.Tensor | None,
    ) -> None:
        """Shrink the weights of a group that decay."""
        if decayed is not None:
            shrinking = list(itertools.compress(parameters, group.decays))
            if shrinking:
                torch._foreach_mul_(shrinking, decayed.to(group.device))

    def _clip_gradients(self, gradients: list[torch.Tensor | None]) -> list[torch.Tensor | None]:
        """Clip a list of gradients, tensors or arrays, as asked; ``None`` stays."""
        given = [torch.as_tensor(gradient) for gradient in gradients if gradient is not None]
        clipped = iter(self._clip([_LOOSE], [given])[0] if given else ())
        return [gradient if gradient is None else next(clipped) for gradient in gradients]

    def _clip(
        self, groups: list[Group], lists: list[list[torch.Tensor]]
    ) -> list[list[torch.Tensor]]:
        """Clip as asked and lay out for the rule; a limit of 0 means none, as in Keras."""
        is_common = self.clipnorm and self._clips_commonly
        common = self.clipnorm if is_common else self.global_clipnorm
        if self.clipnorm and not is_common:
            lists = [clipping.by_norm(gradients, self.clipnorm) for gradients in lists]
        elif common:
            lists = clipping.by_global_norm(lists, common)
        lists = [group.gather(gradients) for group, gradients in zip(groups, lists)]
        if self.clipvalue and (is_common or not (self.clipnorm or common)):
            lists = [clipping.by_value(gradients, self.clipvalue) for gradients in lists]
        return lists

    def _accumulate(
        self,
        groups: list[Group],
        lists: list[list[torch.Tensor]],
        rate: torch.Tensor,
        decayed: torch.Tensor | None,
    ) -> None:
        """Add the gradients up; every so many calls move by their mean and start again."""
        steps = self.gradient_accumulation_steps
        sums = [group.slots[ACCUMULATOR] for group in groups]
        for held, found in zip(sums, lists):
            torch._foreach_add_(held, found)
        is_due = self._count % steps == 0
        with only_where(is_due, self._held(groups, without=(AVERAGE, ACCUMULATOR))):
            self._move(groups, [torch._foreach_div(held, steps) for held in sums], rate, decayed)
        for group, held in zip(groups, sums):
            torch._foreach_mul_(held, (~is_due).to(group.device, group.dtype))

    def _held(
        self, groups: list[Group] | None = None, without: tuple[str, ...] = ()
    ) -> list[torch.Tensor]:
        """Return all that an update changes: parameters, state, and numbers beside them."""
        found = [item for item in self.param_groups[0].values() if isinstance(item, torch.Tensor)]
        for group in self._working if groups is None else groups:
            found += group.parameters
            for name, tensors in group.slots.items():
                found += [] if name in without else tensors
        return found

    def _average(self) -> None:
        """Let the running means follow the weights, and take their place when it is time."""
        steps, frequency = self.gradient_accumulation_steps, self.ema_overwrite_frequency
        done = self._count - 1
        if steps:
            done = done // steps
        keep = (done != 0) * self.ema_momentum
        for group in self._working:
            averages, here = group.slots[AVERAGE], keep.to(group.device, group.dtype)
            torch._foreach_mul_(averages, here)
            torch._foreach_add_(averages, torch._foreach_mul(group.parameters, 1.0 - here))
            if frequency:
                is_due = ((done + 1) % frequency == 0).to(group.device)
                for parameter, average in zip(group.parameters, averages):
                    parameter.copy_(torch.where(is_due, average, parameter))

    def finalize_variable_values(self, var_list: Iterable[Any] | None = None) -> None:
        """Give weights the running means that ``use_ema`` kept; nothing without it.

        Args:
            var_list: the variables; all unless given.
        """
        if not self.use_ema or not self.built:
            return
        for variable in self._model_variables if var_list is None else var_list:
            parameter = parameter_of(variable)
            with torch.no_grad():
                parameter.copy_(self.state[parameter][AVERAGE])

    def _finished(self) -> torch.Tensor:
        """Return how many times the parameters have moved; inside of a move, with this one."""
        steps = self.gradient_accumulation_steps
        return self._count // steps if steps else self._count

    def _corrections(self) -> tuple[torch.Tensor, ...]:
        """Return ``1 - base ** moves`` for each of :meth:`_bases`, as 0-d tensors."""
        complements = self._complements
        if complements is None or complements.bases != self._bases():
            complements = self._complements = self._new_complements()
        return complements(self._finished())

    # -------------------------------------------------------------------- what a rule overrides

    def _scalars(self, rate: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the 0-d tensors that every list's update shares; the count is already raised."""
        return (rate,)

    def _move_group(
        self,
        group: Group,
        parameters: list[torch.Tensor],
        gradients: list[torch.Tensor],
        scalars: tuple[torch.Tensor, ...],
    ) -> None:
        """Apply the rule to a group; one that needs more than the tensors overrides this."""
        self._rule(parameters, gradients, group.slots, scalars)

    def _rule(
        self,
        parameters: list[torch.Tensor],
        gradients: list[torch.Tensor],
        slots: dict[str, list[torch.Tensor]],
        scalars: tuple[torch.Tensor, ...],
    ) -> None:
        """Update a list of parameters of one device and dtype, and their state, in place."""
        raise NotImplementedError(f"{type(self).__name__} has no update rule: write update_step.")

    # ----------------------------------------------------------------------------- what is wrong

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
