"""The weights of a layer: the map between Keras' names and layouts and torch's tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras import config, constraints, dtypes, initializers, regularizers
from torchkeras.layers.tracking import WeightList
from torchkeras.registry import Configurable
from torchkeras.seeds import SeedGenerator
from torchkeras.variable import SAME, Variable, Weight, check_aggregation

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
            variable = self._variables[row.path] = Variable.of(self, row)
        variable.row = row
        return variable

    def __getstate__(self) -> dict[str, Any]:
        # Variables are made again when somebody asks for them; penalties are of a call that was.
        state = {**self.__dict__, "_activity_losses": []}
        del state["_variables"]
        state["_nodes"] = []  # a graph makes its calls again, see Graph.revive
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
        """The weights that training moves; none when the layer is not trainable.

        Variables that are put into the list, or a list that takes its place, become weights of the
        layer, as in Keras 1 and 2.
        """
        if not self.trainable:
            return WeightList([], self, True)
        own = [v for v in self._own_variables(True) if v.requires_grad]
        inside = [v for layer in self._sublayers() for v in layer.trainable_weights]
        return WeightList(_distinct(own + inside), self, True)

    @trainable_weights.setter
    def trainable_weights(self, weights: Sequence[Any]) -> None:
        taken = self._take(weights, True)
        places = {id(variable.row): place for place, variable in enumerate(taken)}
        self._added_rows.sort(key=lambda row: places.get(id(row), len(places)))
        named = {id(variable.parameter) for variable in taken}
        for variable in self._own_variables(True):
            if id(variable.parameter) not in named:
                variable.trainable = False

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training does not move; all of them when the layer is not trainable.

        Variables that are put into the list, or a list that takes its place, become weights of the
        layer, as in Keras 1 and 2.
        """
        moved = {id(variable.parameter) for variable in self.trainable_weights}
        fixed = [variable for variable in self.weights if id(variable.parameter) not in moved]
        return WeightList(fixed, self, False)

    @non_trainable_weights.setter
    def non_trainable_weights(self, weights: Sequence[Any]) -> None:
        self._take(weights, False)

    @property
    def variables(self) -> list[Variable]:
        """The weights, and the states of the seed generators that are attributes of a layer."""
        kept = [v.state for v in self.__dict__.values() if isinstance(v, SeedGenerator)]
        own = self._own_variables(True) + self._own_variables(False) + kept
        return _distinct(own + [v for layer in self._sublayers() for v in layer.variables])

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """The variables that training does not move; all of them when the layer is not trainable.

        Unlike ``non_trainable_weights`` they count the states of seed generators.
        """
        moved = {id(variable.parameter) for variable in self.trainable_weights}
        return [variable for variable in self.variables if id(variable.parameter) not in moved]

    trainable_variables = _trainable_weights = trainable_weights
    _non_trainable_weights = non_trainable_weights

    def _take(self, weights: Sequence[Any], trainable: bool) -> list[Variable]:
        """Make weights of this layer of what is none yet, of a list that Keras 1 and 2 kept.

        Args:
            weights: variables, parameters or tensors.
            trainable: whether the list is that of the trainable ones.

        Returns:
            The variables of the list.
        """
        taken = []
        for weight in weights:
            if not isinstance(weight, Variable):
                found = {id(v.parameter): v for v in self.weights}
                weight = found.get(id(weight)) or self._adopt_tensor(weight, trainable)
            if weight.owner is not self:
                if not any(weight.owner is module for module in self.modules()):
                    weight = self._adopt(weight, weight, trainable)
            elif weight.row.trainable is not trainable:
                self._set_row(weight, weight.row._replace(trainable=trainable))
                self._hold(weight.row.path, weight.parameter, trainable)
            taken.append(weight)
        return taken

    def _adopt_tensor(self, tensor: torch.Tensor, trainable: bool) -> Variable:
        """Make a weight of this layer of a tensor, named like the attribute that holds it."""
        key = next((name for name, item in self.__dict__.items() if item is tensor), None)
        variable = Variable(tensor, trainable=trainable, name=key)
        return self._adopt(variable, tensor, key=key)

    def _adopt(
        self, variable: Variable, held: Any, trainable: bool | None = None, key: str | None = None
    ) -> Variable:
        """Make a weight of this layer of a variable that belongs to none, or to another one.

        Args:
            variable: free, or of another layer, whose tensor becomes this one's too.
            held: what the attribute holds that the weight is to lie under.
            trainable: the variable's own unless given.
            key: the attribute; the one that holds it unless given, or one like its name.

        Returns:
            The weight: the variable itself where it was free.
        """
        trainable = variable.row.trainable if trainable is None else trainable
        if key is None:
            attributes = self.__dict__.items()
            key = next((name for name, item in attributes if item is held), None)
        key = key or self._free_key(variable.name)
        # What its own layer says of it, such as kernel_regularizer, holds here too.
        row = variable.row._replace(
            path=key,
            trainable=trainable,
            regularizer=variable.regularizer,
            constraint=variable.constraint,
        )
        tensor = variable.parameter
        if variable.is_free:
            variable.owner, variable.row = self, row
            self._variables[key] = variable
            tensor = tensor.detach()
        self._vacate(key)
        self._added_rows.append(row)
        self._hold(key, tensor, trainable)
        return self._show(self._variable(row))

    def _hold(self, key: str, tensor: torch.Tensor, trainable: bool) -> None:
        """Keep a weight's tensor as a parameter, or as a buffer where training never moves it."""
        self._parameters.pop(key, None)
        self._buffers.pop(key, None)
        if isinstance(tensor, nn.Parameter) and trainable:
            self._parameters[key] = tensor  # perhaps another layer's too, frozen or not
        elif trainable and tensor.is_floating_point():
            self._parameters[key] = nn.Parameter(tensor.detach(), requires_grad=self._trainable)
        else:
            self._buffers[key] = tensor.detach()

    def _replace(self, row: Weight, tensor: torch.Tensor) -> None:
        """Compute with a tensor in the place of a declared weight, which is a weight no more.

        Wrappers that normalize a weight assign ``layer.kernel = …`` in each call; torch's
        ``weight_norm`` does the same to its module.
        """
        *above, name = row.path.split(".")
        module = self
        for part in above:
            module = getattr(module, part)
        module._parameters.pop(name, None)
        tensor = row.transform.to_torch(tensor)
        if isinstance(tensor, nn.Parameter):
            module._parameters[name] = tensor
        else:
            module.__dict__[name] = tensor

    def _vacate(self, attribute: str) -> None:
        """Make room for a weight under an attribute, whatever it was before."""
        self.__dict__.pop(attribute, None)
        for table in (self._parameters, self._buffers, self._modules):
            table.pop(attribute, None)
        self._added_rows[:] = [row for row in self._added_rows if row.path != attribute]

    def _show(self, variable: Variable) -> Variable:
        """Let an attribute show its weight where one of the class would hide it."""
        if hasattr(type(self), variable.row.path):
            self.__dict__[variable.row.path] = variable
        return variable

    def _set_row(self, variable: Variable, row: Weight) -> None:
        """Say something else of an added weight."""
        rows = self._added_rows
        rows[:] = [row if one.path == variable.row.path else one for one in rows]
        variable.row = row

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
            autocast: whether a layer of mixed precision reads it in the dtype it computes in.
            regularizer: penalty added to the loss.
            constraint: projection applied after each update.
            aggregation: how replicas would be joined; there is one.
            overwrite_with_gradient: must be ``False``.
            name: Keras' name and the attribute it lies under until assigned to another.

        Returns:
            The weight as a :class:`Variable`; the torch parameter (or buffer) is a plain one.

        Raises:
            ValueError: for a bad shape, or an argument that cannot be honoured.
        """
        check_aggregation(f"add_weight({name!r})", aggregation)
        if overwrite_with_gradient:
            raise ValueError(f"add_weight({name!r}): overwrite_with_gradient is not supported.")
        shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape or ())
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
        key = self._free_key(name)
        if trainable and torch_dtype.is_floating_point:
            self.register_parameter(key, nn.Parameter(value, requires_grad=self._trainable))
        else:
            self.register_buffer(key, value)
        row = Weight(
            name,
            key,
            SAME,
            trainable,
            regularizers.get(regularizer),
            constraints.get(constraint),
            bool(autocast),
        )
        self._added_rows.append(row)
        return self._variable(row)

    def add_variable(self, *args: Any, **kwargs: Any) -> Variable:
        """Make a weight of this layer: another name of :meth:`add_weight`."""
        return self.add_weight(*args, **kwargs)

    def _free_key(self, name: str) -> str:
        name = name.replace(".", "_").replace("/", "_")
        tables = (self.__dict__, self._parameters, self._buffers, self._modules)
        key, number = name, 0
        while any(key in table for table in tables) or hasattr(type(self), key):
            number += 1
            key = f"{name}_{number}"
        return key

    def _move_added(self, variable: Variable, attribute: str) -> None:
        """Keep an added weight under the attribute that the user assigns it to."""
        old = variable.row.path
        if old == attribute:
            return
        row = next(row for row in self._added_rows if row.path == old)
        tensor = self._parameters.pop(old, None)
        table = self._buffers if tensor is None else self._parameters
        tensor = self._buffers.pop(old) if tensor is None else tensor
        self._vacate(attribute)
        table[attribute] = tensor
        self._variables.pop(old, None)
        self._variables[attribute] = variable
        self._set_row(variable, row._replace(path=attribute))
        self._show(variable)


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
