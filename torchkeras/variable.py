"""A Keras weight seen through its torch parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from torchkeras import config, dtypes, registry


class Transform(NamedTuple):
    """How a weight's layout in torch becomes Keras', and back."""

    to_keras: Callable[[torch.Tensor], torch.Tensor]
    to_torch: Callable[[torch.Tensor], torch.Tensor]


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _transpose(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.t()


_AGGREGATIONS = ("none", "mean", "sum", "only_first_replica", None)
SAME = Transform(_same, _same)
TRANSPOSE = Transform(_transpose, _transpose)


class Weight(NamedTuple):
    """One row of a layer's weight map: a Keras name and where it lies in the torch module.

    Args:
        name: Keras' name, such as ``'kernel'``.
        path: attribute path from the layer, such as ``'linear.weight'``.
        transform: between torch's layout and Keras'.
        trainable: whether the optimizer may move it when the layer is trainable.
        regularizer: penalty of a weight made by ``add_weight``; a built-in layer's row leaves it to
            the layer's attribute ``<name>_regularizer``.
        constraint: likewise.
        autocast: whether a layer that computes in another dtype reads it as a copy in that.
    """

    name: str
    path: str
    transform: Transform = SAME
    trainable: bool = True
    regularizer: Callable | None = None
    constraint: Callable | None = None
    autocast: bool = True


# The stateless scopes in force, see torchkeras.stateless: they take what is assigned.
scopes: list[Any] = []
# The names of the name scopes in force, the outermost first.
_names: list[str] = []


def current_path() -> str:
    """Return the names of the name scopes in force, such as ``'encoder/block'``; ``''`` of none."""
    return "/".join(_names)


class name_scope:
    """Puts a name before the paths of variables and layers that are made in a ``with`` block.

    Args:
        name: without ``'/'``.
        caller: whoever opens the scope.
        deduplicate: whether the same caller's scope of the same name, opened inside, counts once.
        override_parent: a path that takes the place of the names of the scopes around.

    Raises:
        ValueError: for a bad name.
    """

    def __init__(
        self,
        name: str,
        caller: Any = None,
        deduplicate: bool = True,
        override_parent: str | None = None,
    ):
        if not isinstance(name, str) or "/" in name:
            raise ValueError(f"name_scope: name must be a string without '/'; received {name!r}.")
        self.name = name
        self.caller = caller
        self.deduplicate = deduplicate
        self.override_parent = override_parent

    def __enter__(self) -> name_scope:
        self._before = _names.copy()
        if self.override_parent is not None:
            _names[:] = [part for part in self.override_parent.split("/") if part]
        _names.append(self.name)
        return self

    def __exit__(self, *error: object) -> None:
        _names[:] = self._before


class Holder:
    """Owns the tensor of a variable that belongs to no layer.

    Args:
        value: the tensor.
    """

    def __init__(self, value: torch.Tensor):
        self.value = value
        self.path = current_path()


class Variable:
    """A weight as Keras sees it, late-bound: owner, attribute path and layout transform.

    It holds no tensor: what it reads and writes is the owner's, wherever ``.to()``,
    ``load_state_dict`` or a replaced module have put it since.  One that a user makes has an owner
    of its own until it becomes an attribute of a layer.

    Args:
        initializer: the value, or what draws it: a name, or a callable ``(shape, dtype=…)``.
        shape: its shape, where the initializer draws it.
        dtype: the value's own unless given; ``floatx`` of what is drawn.
        trainable: whether an optimizer may move it.
        autocast: whether a layer of mixed precision reads it in the dtype it computes in.
        aggregation: how replicas would be joined; there is one.
        synchronization: likewise.
        name: without ``'/'``; numbered unless given.
        layout: must be ``None``: there is one device to a variable.

    Raises:
        ValueError: for a bad name or aggregation, or a shape that is missing.
    """

    __slots__ = ("owner", "row", "__weakref__")
    # numpy's numbers and arrays leave operators to it: they would drop the gradient.
    __array_priority__ = 1000

    def __init__(
        self,
        initializer: Any,
        shape: Sequence[int] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str | None = "none",
        synchronization: str | None = "auto",
        name: str | None = None,
        layout: Any = None,
    ):
        if layout is not None:
            raise ValueError(f"Variable: layout={layout!r} is not supported; leave it out.")
        name = name or registry.auto_name("variable")
        if not isinstance(name, str) or "/" in name:
            raise ValueError(f"Variable: name must be a string without '/'; received {name!r}.")
        check_aggregation(f"Variable {name!r}", aggregation)
        if isinstance(initializer, str):
            initializer = registry.get("initializer", initializer)
        if callable(initializer) and not isinstance(initializer, (torch.Tensor, Variable)):
            if shape is None:
                raise ValueError(
                    f"Variable {name!r}: the initializer {initializer!r} needs a shape; give "
                    "shape=(…)."
                )
            dtype = dtypes.name_of(dtype)
            initializer = initializer(tuple(shape), dtype=dtype)
        wanted = None if dtype is None else dtypes.to_torch(dtype)
        tensor = as_tensor(initializer, wanted).detach().to(config.device(), copy=True)
        if shape is not None and tuple(shape) != tuple(tensor.shape):
            raise ValueError(
                f"Variable {name!r}: the value has shape {tuple(tensor.shape)}, not {tuple(shape)}."
            )
        # A plain tensor, not a parameter: it is part of no module yet.
        tensor.requires_grad_(bool(trainable) and tensor.is_floating_point())
        self.owner = Holder(tensor)
        self.row = Weight(name, "value", trainable=bool(trainable), autocast=bool(autocast))

    @classmethod
    def of(cls, owner: Any, row: Weight | str) -> Variable:
        """Return what stands for a tensor of an owner.

        Args:
            owner: the object that the tensor belongs to, such as a layer or a metric.
            row: where the tensor lies; a string is an attribute path without transform.
        """
        variable = cls.__new__(cls)
        variable.owner = owner
        variable.row = Weight(row, row) if isinstance(row, str) else row
        return variable

    def __reduce__(self) -> tuple:
        # A copied layer and a list of weights in it share their variables, as they did.
        return _revived, (self.owner, self.row)

    @property
    def is_free(self) -> bool:
        """Whether it belongs to no layer, metric or optimizer."""
        return isinstance(self.owner, Holder)

    # ------------------------------------------------------------------ the tensor underneath

    @property
    def parameter(self) -> torch.Tensor:
        """The torch tensor (a parameter or a buffer), in torch's layout."""
        found = self.owner
        for part in self.row.path.split("."):
            found = getattr(found, part)
        return found if type(found) is not Variable else _registered(self.owner, self.row.path)

    @property
    def value(self) -> torch.Tensor:
        """The weight in Keras' layout: a view of the parameter that gradients flow through.

        Within the ``call`` of a layer of mixed precision it is a copy in the layer's dtype.
        """
        parameter, transform = self.parameter, self.row.transform
        if self._is_cast(parameter):
            parameter = parameter.to(dtypes.autocast.dtype)
        if transform is SAME:
            return parameter
        view = transform.to_keras(parameter)
        if parameter.is_leaf and parameter.grad is not None:
            # Custom loops written for Keras' torch backend read `variable.value.grad`.
            view.grad = transform.to_keras(parameter.grad)
        return view

    def _is_cast(self, parameter: torch.Tensor) -> bool:
        return (
            dtypes.autocast.dtype is not None
            and self.row.autocast
            and parameter.is_floating_point()
        )

    def _stored(self) -> torch.Tensor:
        """The weight itself in torch's layout, also where it reads as a copy: what is written to.

        Its form in Keras' layout may be a copy: the gates of a GRU lie in another order.
        """
        if scopes:
            scopes[-1].hold(self)
        parameter = self.parameter
        return getattr(parameter, "uncast", parameter)

    def _operand(self, value: Any) -> Any:
        """Turn what is added to the weight, in Keras' layout, into torch's."""
        operand = _operand(value, self.value)
        if self.row.transform is SAME or not isinstance(operand, torch.Tensor):
            return operand
        return self.to_torch(operand.expand(self.shape))

    def from_torch(self, tensor: torch.Tensor) -> torch.Tensor:
        """Turn a tensor of torch's layout, such as a gradient, into Keras'."""
        return self.row.transform.to_keras(tensor)

    def to_torch(self, tensor: torch.Tensor) -> torch.Tensor:
        """Turn a tensor of Keras' layout, such as a gradient, into torch's."""
        return self.row.transform.to_torch(tensor)

    def numpy(self) -> np.ndarray:
        """Return a copy of the weight as an array in Keras' layout."""
        return dtypes.to_numpy(self.value).copy()

    # ---------------------------------------------------------------------------- what it is

    @property
    def name(self) -> str:
        """Keras' name, such as ``'kernel'``."""
        return self.row.name

    @property
    def path(self) -> str:
        """The names from the outermost model down, such as ``'sequential/dense/kernel'``."""
        above = getattr(self.owner, "path", None)
        return f"{above}/{self.row.name}" if above else self.row.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in Keras' layout."""
        return tuple(self.value.shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.parameter.dim()

    @property
    def dtype(self) -> str:
        """Keras' name of the dtype."""
        parameter = self.parameter
        is_cast = self._is_cast(parameter)
        return dtypes.name_of(dtypes.autocast.dtype if is_cast else parameter.dtype)

    @property
    def device(self) -> torch.device:
        """Where the tensor lives."""
        return self.parameter.device

    @property
    def requires_grad(self) -> bool:
        """Whether torch keeps gradients for it, whatever it is given in a stateless scope."""
        parameter = self.parameter
        for scope in reversed(scopes):
            parameter = scope.original(parameter)
        return parameter.requires_grad

    @property
    def trainable(self) -> bool:
        """Whether the optimizer may move it: not when its layer or its parameter is frozen."""
        owner_trains = getattr(self.owner, "trainable", True)
        return self.row.trainable and owner_trains and self.requires_grad

    @trainable.setter
    def trainable(self, value: bool) -> None:
        parameter = self.parameter
        if value and isinstance(self.owner, torch.nn.Module):
            if not isinstance(parameter, torch.nn.Parameter):
                raise ValueError(
                    f"{self.path} was made with trainable=False, which keeps it out of the "
                    "parameters: make it trainable and set trainable = False afterwards."
                )
        elif value:
            self.row = self.row._replace(trainable=True)
        if parameter.is_floating_point():
            parameter.requires_grad_(bool(value) and getattr(self.owner, "trainable", True))

    @property
    def regularizer(self) -> Callable | None:
        """The penalty on this weight, if any."""
        return self.row.regularizer or getattr(self.owner, f"{self.row.name}_regularizer", None)

    @regularizer.setter
    def regularizer(self, value: Callable | None) -> None:
        self._set_rule("regularizer", value)

    @property
    def constraint(self) -> Callable | None:
        """The projection applied after each update, if any."""
        found = self.row.constraint or getattr(self.owner, f"{self.row.name}_constraint", None)
        table = None if found is not None else getattr(self.owner, "constraints", None)
        if isinstance(table, dict):  # Keras 1's, from weights to constraints
            found = next((item for weight, item in table.items() if weight is self), None)
        return found

    @constraint.setter
    def constraint(self, value: Callable | None) -> None:
        self._set_rule("constraint", value)

    def _set_rule(self, kind: str, value: Callable | None) -> None:
        """Set the penalty or the projection of a weight."""
        if value is not None and not callable(value):
            raise ValueError(f"{self.path}: {kind} must be callable or None; received {value!r}.")
        row = self.row._replace(**{kind: value})
        if any(added.path == row.path for added in getattr(self.owner, "_added_rows", ())):
            self.owner._set_row(self, row)
        elif isinstance(self.owner, torch.nn.Module):  # whose class holds the row
            setattr(self.owner, f"{row.name}_{kind}", value)
        else:
            self.row = row

    # ------------------------------------------------------------------------------- writing

    def assign(self, value: Any) -> Variable:
        """Write a value of the same shape, in Keras' layout, in place.

        Raises:
            ValueError: when the shape differs.
        """
        new = as_tensor(value, device=self.device)
        stored = self._stored()
        shape = self.from_torch(stored).shape
        if new.shape != shape:
            raise ValueError(
                f"{self.path}: cannot assign a value of shape {tuple(new.shape)} to a weight of "
                f"shape {tuple(shape)}."
            )
        with torch.no_grad():
            stored.copy_(self.to_torch(new))
        return self

    def assign_add(self, value: Any) -> Variable:
        """Add a value in place."""
        with torch.no_grad():
            self._stored().add_(self._operand(value))
        return self

    def assign_sub(self, value: Any) -> Variable:
        """Subtract a value in place."""
        with torch.no_grad():
            self._stored().sub_(self._operand(value))
        return self

    # ------------------------------------------------------------------- standing for a tensor

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return function(*_values(args), **_values(kwargs or {}))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.numpy().astype(dtype, copy=False) if dtype is not None else self.numpy()

    def __getitem__(self, index: Any) -> torch.Tensor:
        return self.value[index]

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self):
        return iter(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.value.detach())

    def __int__(self) -> int:
        return int(self.value.detach())

    def __repr__(self) -> str:
        facts = f"path={self.path}, shape={self.shape}, dtype={self.dtype}"
        return f"<Variable {facts}, value={self.numpy()}>"

    # Variables stand for a tensor in arithmetic but are told apart as keys.
    __hash__ = object.__hash__


def check_aggregation(who: str, aggregation: str | None) -> None:
    """Refuse what is no way to join replicas; there is one replica, so any of them is honoured.

    Raises:
        ValueError: for an unknown way.
    """
    if aggregation not in _AGGREGATIONS:
        raise ValueError(
            f"{who}: aggregation must be one of {', '.join(map(repr, _AGGREGATIONS))}; received "
            f"{aggregation!r}."
        )


def _revived(owner: Any, row: Weight) -> Variable:
    """Return the variable of a copied owner: the one that it has already, if it keeps them."""
    found = getattr(owner, "_variable", None)
    return Variable.of(owner, row) if found is None else found(row)


def as_tensor(
    value: Any, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> torch.Tensor:
    """Turn a number, list, array, frame, Variable or tensor into a tensor.

    Args:
        value: of any shape; Python floats, and numpy's, which are such, become ``floatx``; the rest
            keeps its dtype.
        dtype: the dtype to have; the value's own unless given.
        device: where it shall live; a tensor stays where it is unless given, the rest goes to the
            device in force.
    """
    if isinstance(value, Variable):
        value = value.value
    if not isinstance(value, torch.Tensor):
        value = value.to_numpy() if hasattr(value, "to_numpy") else value
        array = np.asarray(value)
        if array.dtype == np.float64 and not isinstance(value, np.ndarray):
            dtype = dtype or dtypes.to_torch(None)
        value = dtypes.from_numpy(array, device or config.device())
    if dtype is not None and value.dtype is not dtype:
        value = value.to(dtype)
    if device is not None and value.device != device:
        value = value.to(device)
    return value


def _registered(owner: Any, path: str) -> torch.Tensor:
    """Read past an owner whose attribute answers with the Variable itself."""
    parameters, buffers = owner._parameters, owner._buffers
    return parameters[path] if path in parameters else buffers[path]


def _values(part: Any) -> Any:
    if isinstance(part, Variable):
        return part.value
    if isinstance(part, (list, tuple)):
        return type(part)(_values(item) for item in part)
    if isinstance(part, dict):
        return {key: _values(item) for key, item in part.items()}
    return part


def _operand(item: Any, like: torch.Tensor) -> Any:
    """Turn what a Variable is combined with into something torch takes."""
    if isinstance(item, (Variable, np.ndarray, np.generic, list, tuple)):
        return as_tensor(item, None if isinstance(item, Variable) else like.dtype, like.device)
    return item


def _binary(name: str) -> Callable:
    def operate(self: Variable, other: Any) -> torch.Tensor:
        value = self.value
        return getattr(value, name)(_operand(other, value))

    operate.__name__ = name
    return operate


def _unary(name: str) -> Callable:
    def operate(self: Variable) -> torch.Tensor:
        return getattr(self.value, name)()

    operate.__name__ = name
    return operate


for _name in (
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul "
    "rmatmul lt le gt ge eq ne and or xor"
).split():
    setattr(Variable, f"__{_name}__", _binary(f"__{_name}__"))
for _name in "neg pos abs invert".split():
    setattr(Variable, f"__{_name}__", _unary(f"__{_name}__"))
