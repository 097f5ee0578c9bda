"""The weights of a layer: the map between Keras' names and layouts and torch's tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras import config, constraints, dtypes, initializers, regularizers
from torchkeras.registry import Configurable
from torchkeras.variable import SAME, Variable, Weight

# BatchNorm's counter of batches is torch's own; Keras has no such weight.
_HIDDEN = "num_batches_tracked"


def _name_may_come_first(add_weight: Callable) -> Callable:
    """Let ``add_weight`` be called as in Keras 2: ``(name, shape, dtype, initializer, …)``."""
    order = ("shape", "dtype", "initializer", "regularizer", "trainable", "constraint")

    @functools.wraps(add_weight)
    def call(self: Any, *args: Any, **kwargs: Any) -> Variable:
        if args and isinstance(args[0], str):
            kwargs.update(zip(order, args[1:]), name=args[0])
            args = ()
        return add_weight(self, *args, **kwargs)

    return call


class Weighted(Configurable, nn.Module):
    """The half of a layer that knows its weights; :class:`Layer` adds the life-cycle.

    Attributes:
        weight_map: rows that say how each Keras weight lies in the torch module.
    """

    weight_map: tuple[Weight, ...] = ()

    # ------------------------------------------------------------------------- the weight map

    def _own_rows(self) -> list[Weight]:
        """The rows of this layer alone: declared, added, and those of raw torch modules in it."""
        rows = [row for row in self.weight_map if resolve(self, row.path) is not None]
        rows += self._added_rows
        paths = {row.path for row in rows}
        for path, tensor in self._raw_tensors():
            if path not in paths and not path.endswith(_HIDDEN):
                trainable = isinstance(tensor, nn.Parameter) and path not in self._frozen_paths
                rows.append(Weight(path, path, trainable=trainable))
        return rows

    def _raw_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Parameters and buffers of this layer, and of torch modules in it that are no layers."""
        for table in (self._parameters, self._buffers):
            yield from ((name, tensor) for name, tensor in table.items() if tensor is not None)
        pending = [(name, child) for name, child in self._modules.items() if child is not None]
        while pending:
            path, module = pending.pop(0)
            if isinstance(module, Weighted):
                continue
            for table in (module._parameters, module._buffers):
                for name, tensor in table.items():
                    if tensor is not None:
                        yield f"{path}.{name}", tensor
            children = [(f"{path}.{n}", c) for n, c in module._modules.items() if c is not None]
            pending = children + pending

    def _sublayers(self) -> list[Weighted]:
        """The layers directly inside this one, also inside raw torch containers."""
        found: dict[Weighted, None] = {}  # a layer used twice is one
        pending = list(self._modules.values())
        while pending:
            module = pending.pop(0)
            if isinstance(module, Weighted):
                found[module] = None
            elif module is not None:
                pending = list(module._modules.values()) + pending
        return list(found)

    def _own_variables(self, trainable: bool) -> list[Variable]:
        return [self._variable(row) for row in self._own_rows() if row.trainable is trainable]

    def _variable(self, row: Weight) -> Variable:
        """Return the one Variable of a weight of this layer, so that ``is`` compares weights."""
        variable = self._variables.get(row.path)
        if variable is None:
            variable = self._variables[row.path] = Variable(self, row)
        variable.row = row
        return variable

    def __getstate__(self) -> dict[str, Any]:
        # Variables are made again when somebody asks for them; penalties are of a call that was.
        state = {**self.__dict__, "_activity_losses": []}
        del state["_variables"]
        state.pop("_runs", None)  # the captured steps of a model, bound to these very tensors
        return state

    # ------------------------------------------------------------------------------- variables

    @property
    def weights(self) -> list[Variable]:
        """All weights in Keras' order: own trainable, own non-trainable, then each sublayer's."""
        own = self._own_variables(True) + self._own_variables(False)
        return _distinct(own + [v for layer in self._sublayers() for v in layer.weights])

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training moves; none when the layer is not trainable."""
        if not self.trainable:
            return []
        own = [v for v in self._own_variables(True) if v.parameter.requires_grad]
        return _distinct(own + [v for layer in self._sublayers() for v in layer.trainable_weights])

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training does not move; all of them when the layer is not trainable."""
        moved = {id(variable.parameter) for variable in self.trainable_weights}
        return [variable for variable in self.weights if id(variable.parameter) not in moved]

    variables = weights
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    def get_weights(self) -> list[np.ndarray]:
        """Return all weights as arrays, in Keras' order and layout."""
        return [variable.numpy() for variable in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Write all weights, in Keras' order and layout.

        Raises:
            ValueError: when the number of arrays or a shape differs; nothing is written then.
        """
        variables, weights = self.weights, list(weights)
        if not self.built and weights and not variables:
            raise ValueError(
                f"set_weights: {self.name!r} is not built, so its weights do not exist yet. Build "
                "it by calling it or by build(input_shape)."
            )
        if len(weights) != len(variables):
            raise ValueError(
                f"{self.name!r} has {len(variables)} weights, but set_weights received "
                f"{len(weights)}. Weights, in order: {[v.path for v in variables]}."
            )
        for variable, new in zip(variables, weights, strict=True):
            if tuple(np.shape(new)) != variable.shape:
                raise ValueError(
                    f"{variable.path} has shape {variable.shape}, but set_weights received an "
                    f"array of shape {tuple(np.shape(new))}."
                )
        for variable, new in zip(variables, weights, strict=True):
            variable.assign(new)

    def count_params(self) -> int:
        """Return the number of numbers in all weights.

        Raises:
            ValueError: when the layer is not built yet.
        """
        if not self.built:
            raise ValueError(
                f"count_params: layer {self.name!r} is not built, so its weights do not exist yet. "
                "Build it by calling it or by build(input_shape)."
            )
        return sum(int(np.prod(variable.shape)) for variable in self.weights)

    # ------------------------------------------------------------------------------- trainable

    @property
    def trainable(self) -> bool:
        """Whether training moves this layer; setting it sets every layer inside too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.set_trainable_flag(value)
        for layer in self._sublayers():
            layer.trainable = value

    def trainable_flags(self) -> list[tuple[Weighted, bool]]:
        """Return each layer in this one, itself included, with its flag."""
        layers = (module for module in self.modules() if isinstance(module, Weighted))
        return [(layer, layer._trainable) for layer in layers]

    def set_trainable_flag(self, value: bool) -> None:
        """Set the flag of this layer alone, not of those inside.

        torch's ``requires_grad`` follows; a parameter that was frozen by that stays so.
        """
        was, self._trainable = self._trainable, bool(value)
        if was is self._trainable:
            return
        for row, parameter in self._own_parameters():
            if self._trainable:
                parameter.requires_grad_(row.path not in self._frozen_before)
            elif not parameter.requires_grad:
                self._frozen_before.add(row.path)
        if self._trainable:
            self._frozen_before.clear()
        self._freeze()

    def _freeze(self) -> None:
        """Let torch know which of the own parameters training does not move."""
        for row, parameter in self._own_parameters():
            if not (row.trainable and self._trainable):
                parameter.requires_grad_(False)

    def _own_parameters(self) -> Iterator[tuple[Weight, nn.Parameter]]:
        for row in self._own_rows():
            parameter = self._variable(row).parameter
            if isinstance(parameter, nn.Parameter):
                yield row, parameter

    # ------------------------------------------------------------------------------ add_weight

    @_name_may_come_first
    def add_weight(
        self,
        shape: Sequence[int] | int | None = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        overwrite_with_gradient: bool = False,
        name: str | None = None,
    ) -> Variable:
        """Make a weight of this layer.

        Keras 2's order of arguments holds where the first is the name.

        Args:
            shape: its shape; ``()`` unless given.
            initializer: name, callable or instance; ``'glorot_uniform'`` for floats unless given,
                zeros for integers.
            dtype: the layer's unless given.
            trainable: whether the optimizer may move it.
            autocast: must be ``True``: mixed precision is not supported yet.
            regularizer: penalty added to the loss.
            constraint: projection applied after each update.
            aggregation: must be ``'none'``: weights are not aggregated over devices.
            overwrite_with_gradient: must be ``False``.
            name: Keras' name and the attribute it lies under until assigned to another.

        Returns:
            The weight as a :class:`Variable`; the torch parameter (or buffer) is a plain one.

        Raises:
            ValueError: for a bad shape, or an argument that cannot be honoured.
        """
        if not autocast or aggregation not in ("none", None) or overwrite_with_gradient:
            raise ValueError(
                f"add_weight({name!r}): autocast=False, aggregation and overwrite_with_gradient "
                "are not supported."
            )
        shape = (shape,) if isinstance(shape, int) else tuple(shape or ())
        if any(not isinstance(size, (int, np.integer)) or size < 0 for size in shape):
            raise ValueError(
                f"add_weight({name!r}): every dimension must be known; received shape {shape}."
            )
        torch_dtype = dtypes.to_torch(dtype) if dtype else self.dtype_policy.torch_dtype
        if initializer is None:
            initializer = "glorot_uniform" if torch_dtype.is_floating_point else "zeros"
        value = initializers.draw(initializers.get(initializer), shape, dtypes.name_of(torch_dtype))
        value = value.to(config.device(), torch_dtype)
        name = name or "variable"
        key = self._free_key(name.replace(".", "_").replace("/", "_"))
        if trainable and torch_dtype.is_floating_point:
            self.register_parameter(key, nn.Parameter(value, requires_grad=self._trainable))
        else:
            self.register_buffer(key, value)
        row = Weight(
            name, key, SAME, trainable, regularizers.get(regularizer), constraints.get(constraint)
        )
        self._added_rows.append(row)
        return self._variable(row)

    def _free_key(self, name: str) -> str:
        key, number = name, 0
        while key in self._parameters or key in self._buffers or hasattr(type(self), key):
            number += 1
            key = f"{name}_{number}"
        return key

    def _move_added(self, variable: Variable, attribute: str) -> None:
        """Keep an added weight under the attribute that the user assigns it to."""
        index = next(i for i, row in enumerate(self._added_rows) if row.path == variable.row.path)
        old, row = variable.row.path, self._added_rows[index]._replace(path=attribute)
        for table in (self._parameters, self._buffers):
            if variable.row.path in table:
                table[attribute] = table.pop(variable.row.path)
        self._added_rows[index] = variable.row = row
        self._variables[attribute] = self._variables.pop(old, variable)


def _distinct(variables: list[Variable]) -> list[Variable]:
    """Keep the first of the variables that are the same tensor."""
    found: dict[int, Variable] = {}
    for variable in variables:
        found.setdefault(id(variable.parameter), variable)
    return list(found.values())


def resolve(owner: Any, path: str) -> torch.Tensor | None:
    """Follow an attribute path; ``None`` where it leads nowhere (yet)."""
    found = owner
    for part in path.split("."):
        tables = (found._parameters, found._buffers, found._modules)
        found = next((table[part] for table in tables if part in table), None)
        if found is None:
            return None
    return found
