"""How an optimizer takes over parameters: groups, state, what does not decay."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

import torch

from torchkeras import config
from torchkeras.optimizers.flat import Flattening
from torchkeras.optimizers.groups import Group, add_to_groups, new_slot
from torchkeras.optimizers.kernels import Complements
from torchkeras.optimizers.parameters import checked_parameter, parameter_of


class Building(Flattening):
    """The half of an optimizer that meets the parameters; see :meth:`build`."""

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
                "`exclude_from_weight_decay()` can only be configured before the optimizer is "
                "built (by fit or build)."
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
            slots = self._make_slots(variable, known.get(parameter, {}))
            self.state[parameter] = slots
            add_to_groups(groups, index, parameter, slots, self._decays(variable))
        self._regroup(groups.values())
        self.param_groups[0]["params"] = list(self.state)
        self._move_settings()
        self._adopt(variables)

    def _adopt(self, variables: list[Any]) -> None:
        """Keep the variables, to find gradients, constraints and names by."""
        self._model_variables = variables
        self._known_places = None
        self._constrained = [
            (index, variable)
            for index, variable in enumerate(variables)
            if getattr(variable, "constraint", None) is not None
        ]
        self._warned = set()
        self.built = True

    @property
    def _places(self) -> dict[int, int]:
        """Each parameter's number; found when first asked, since a copy has other parameters."""
        if self._known_places is None:
            found: dict[int, int] = {}
            for index, variable in enumerate(self._model_variables):
                found.setdefault(id(parameter_of(variable)), index)
            self._known_places = found
        return self._known_places

    def _make_slots(self, variable: Any, known: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        slots = {}
        for name in itertools.chain.from_iterable(self._all_rounds()):
            slot = self._new_slot(name, variable)
            if slot is None:
                continue
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

    def _new_slot(self, name: str, variable: Any) -> torch.Tensor | None:
        """Make the state of a name for a variable; ``None`` when it has none of that name."""
        return new_slot(parameter_of(variable), self._initial_value(name))

    def _initial_value(self, slot: str) -> float:
        return 0.0

    def _bases(self) -> tuple[float, ...]:
        """The numbers whose powers the bias correction needs."""
        return ()
