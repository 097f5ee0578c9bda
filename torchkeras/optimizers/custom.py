"""Rules that are written one variable at a time, as Keras' documentation tells users to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from torchkeras import config, initializers
from torchkeras.optimizers.groups import Group
from torchkeras.optimizers.parameters import label_of, parameter_of
from torchkeras.optimizers.updating import Updating
from torchkeras.variable import Variable, Weight


class PerVariable(Updating):
    """What a subclass that writes ``build`` and ``update_step`` uses.

    Its variables lie where the learning rate lies, in ``param_groups[0]``, in Keras' layout.
    """

    def update_step(self, gradient: torch.Tensor, variable: Any, learning_rate: Any) -> None:
        """Move one variable; a rule of the user's overrides this.

        Args:
            gradient: in Keras' layout.
            variable: what :meth:`build` was given.
            learning_rate: 0-d tensor.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no update rule: write update_step(gradient, variable, "
            "learning_rate)."
        )

    def _move_group(
        self,
        group: Group,
        parameters: list[torch.Tensor],
        gradients: list[torch.Tensor],
        scalars: tuple[torch.Tensor, ...],
    ) -> None:
        if type(self)._rule is not Updating._rule:
            super()._move_group(group, parameters, gradients, scalars)
            return
        for index, gradient in zip(group.indices, gradients):
            variable = self._model_variables[index]
            if hasattr(variable, "from_torch"):
                gradient = variable.from_torch(gradient)
            self.update_step(gradient, variable, scalars[0])

    # ---------------------------------------------------------------------- variables of a rule

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str | None = "none",
        layout: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Make a variable of the optimizer's own.

        Args:
            shape: its shape.
            initializer: what draws its first value.
            dtype: ``floatx`` unless given.
            aggregation: how replicas would be joined; there is one.
            layout: must be ``None``: there is one device to a variable.
            name: the last part of its path.

        Raises:
            ValueError: for a layout.
        """
        if layout is not None:
            raise ValueError(f"add_variable: layout must be None; received {layout!r}.")
        draw = initializers.get(initializer)
        value = torch.as_tensor(draw(tuple(shape), dtype=dtype or config.floatx()))
        key = f"variable_{len(self._added)}"
        self.param_groups[0][key] = value.detach().to(self._device)
        found = Variable.of(_Setting(self, key), Weight(name or key, "tensor", trainable=False))
        self._added.append(found)
        return found

    def add_variable_from_reference(
        self, reference_variable: Any, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """Make a variable of a weight's shape and dtype.

        Args:
            reference_variable: the weight.
            name: what follows the weight's path in its name.
            initializer: what draws its first value.
        """
        title = f"{label_of(reference_variable).replace('/', '_')}_{name or 'var'}"
        dtype = reference_variable.dtype
        return self.add_variable(reference_variable.shape, initializer, dtype, name=title)

    def add_optimizer_variables(
        self,
        trainable_variables: Sequence[Any],
        name: str | Sequence[str],
        initializer: Any = "zeros",
    ) -> Any:
        """Make a variable, or one of each name, for every weight.

        Args:
            trainable_variables: the weights.
            name: of the variables, or several.
            initializer: what draws the first values, or one for each name.

        Returns:
            A list as long as the weights, or a tuple of one for each name.

        Raises:
            ValueError: for another number of initializers than names.
        """
        names = [name] if isinstance(name, str) else list(name)
        drawn = (
            initializer if isinstance(initializer, (list, tuple)) else [initializer] * len(names)
        )
        if len(names) != len(drawn):
            raise ValueError(
                f"add_optimizer_variables: {len(names)} names need as many initializers; received "
                f"{len(drawn)}."
            )
        made = tuple([] for _ in names)
        for variable in trainable_variables:
            for found, title, draw in zip(made, names, drawn):
                found.append(self.add_variable_from_reference(variable, title, draw))
        return made[0] if isinstance(name, str) else made

    def _get_variable_index(self, variable: Any) -> int:
        return self._places[id(parameter_of(variable))]

    # ------------------------------------------------------------------------------- assignment

    def assign(self, variable: Any, value: Any) -> None:
        """Write a variable, or a parameter."""
        if isinstance(variable, torch.Tensor):
            variable.copy_(value.value if isinstance(value, Variable) else value)
        else:
            variable.assign(value)

    def assign_add(self, variable: Any, value: Any) -> None:
        """Add to a variable, or to a parameter."""
        self.assign(variable, variable + value)

    def assign_sub(self, variable: Any, value: Any) -> None:
        """Subtract from a variable, or from a parameter."""
        self.assign(variable, variable - value)


class _Setting:
    """Owns a variable that lies in an optimizer's settings."""

    trainable = False

    def __init__(self, optimizer: PerVariable, key: str):
        self.optimizer, self.key = optimizer, key

    @property
    def path(self) -> str:
        return self.optimizer.path

    @property
    def tensor(self) -> torch.Tensor:
        return self.optimizer.param_groups[0][self.key]
