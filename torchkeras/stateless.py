"""Variables with other values for the length of a ``with`` block (``keras.StatelessScope``)."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from torchkeras import variable as variables
from torchkeras.variable import Variable, as_tensor

Table = dict[str, Any]


class StatelessScope:
    """Gives variables other values inside of a ``with`` block, and takes what is assigned there.

    Gradients flow through layers and variables to the values given; the variables themselves have
    their own tensors back at the end.  What is written by other ways than a variable's (torch's
    batch normalization to its statistics, for one) is caught for the variables in the mapping only.

    Args:
        state_mapping: pairs of a variable and its value, in Keras' layout.
        collect_losses: as in Keras; a layer's penalties are read from ``layer.losses``.
        initialize_variables: as in Keras; variables have their values as soon as they are made.

    Attributes:
        losses: what :meth:`add_loss` was given.

    Raises:
        ValueError: when a key is no variable, or a value has another shape.
    """

    def __init__(
        self,
        state_mapping: Iterable[tuple[Variable, Any]] | None = None,
        collect_losses: bool = False,
        initialize_variables: bool = True,
    ):
        self.collect_losses = collect_losses
        self.initialize_variables = initialize_variables
        self.losses: list[Any] = []
        self._given = list(state_mapping or ())
        self._held: dict[int, Variable] = {}
        # Variables that were given values -> what they had in the end.
        self._final: dict[int, torch.Tensor] = {}
        self._before: list[tuple[Table, str, Any]] = []
        self._originals: dict[int, torch.Tensor] = {}
        self._modules: list[nn.Module] = []
        for key, value in self._given:
            if not isinstance(key, Variable):
                raise ValueError(f"StatelessScope maps variables to values; received {key!r}.")
            shape = tuple(getattr(value, "shape", ())) or tuple(as_tensor(value).shape)
            if shape != key.shape:
                raise ValueError(
                    f"StatelessScope: {key.path} has shape {key.shape}; received a value of shape "
                    f"{shape}."
                )

    def __enter__(self) -> StatelessScope:
        try:
            for variable, value in self._given:
                self.add_update((variable, value))
        except BaseException:
            self._restore()
            raise
        variables.scopes.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        variables.scopes.remove(self)
        self._final = {key: held.value for key, held in self._held.items()}
        self._restore()

    def add_loss(self, loss: Any) -> None:
        """Take a loss into :attr:`losses`."""
        self.losses.append(loss)

    def add_update(self, update: tuple[Variable, Any]) -> None:
        """Give a variable a value for the rest of the block.

        Args:
            update: the variable and the value, in Keras' layout.

        Raises:
            ValueError: for an optimizer's variable; ``stateless_apply`` is for these.
        """
        variable, value = update
        tensor = as_tensor(value, variable.parameter.dtype, variable.device)
        # A copy: what is written inside must not reach the tensor that was given.
        self._put(*_place(variable), variable.to_torch(tensor).clone())
        self._held[id(variable)] = variable

    def hold(self, variable: Variable) -> None:
        """Keep what is written to a variable from here on from reaching its own tensor."""
        if id(variable) not in self._held:
            self.add_update((variable, variable.value.detach()))

    def share(self, module: nn.Module) -> None:
        """Let the same tensors in other places of a module, of tied layers, have the values too."""
        new = {id(before): table[key] for table, key, before in self._before}
        for part in module.modules():
            for table in (part._parameters, part._buffers):
                for key, tensor in table.items():
                    if id(tensor) in new:
                        self._put(table, key, new[id(tensor)])
            if isinstance(part, nn.RNNBase):
                self._modules.append(part)
        self._list_again()

    def get_current_value(self, variable: Variable) -> torch.Tensor | None:
        """Return a variable's value in the scope, ``None`` where it was neither given nor written.

        After the block it is the value that the variable had in the end.
        """
        if self not in variables.scopes:
            return self._final.get(id(variable))
        return variable.value if id(variable) in self._held else None

    def original(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor that another stands in for, or that other one itself."""
        return self._originals.get(id(tensor), tensor)

    def _put(self, table: Table, key: str, tensor: torch.Tensor) -> None:
        self._before.append((table, key, table[key]))
        self._originals[id(tensor)] = table[key]
        table[key] = tensor

    def _restore(self) -> None:
        for table, key, before in reversed(self._before):
            table[key] = before
        self._before.clear()
        self._originals.clear()
        self._list_again()

    def _list_again(self) -> None:
        """Let torch's recurrent modules, which keep a list of their parameters, see the others."""
        for module in self._modules:
            module._flat_weights = [module._parameters.get(n) for n in module._flat_weights_names]


def _place(variable: Variable) -> tuple[Table, str]:
    """Return the table that holds a variable's tensor, and its key there."""
    holder, (*above, key) = variable.owner, variable.row.path.split(".")
    for part in above:
        holder = getattr(holder, part)
    tables = [holder.__dict__]
    if isinstance(holder, nn.Module):
        tables = [holder._parameters, holder._buffers, *tables]
    found = next((table for table in tables if key in table), None)
    if found is None or isinstance(holder, types.SimpleNamespace):
        raise ValueError(
            f"StatelessScope: {variable.path} belongs to an optimizer; use its stateless_apply."
        )
    return found, key
