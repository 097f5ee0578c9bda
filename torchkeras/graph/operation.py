"""A torch function, or an operator, called on symbolic tensors."""

from __future__ import annotations

import functools
import importlib
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from torchkeras import dtypes, ops, random, registry, tree
from torchkeras.graph import shapes
from torchkeras.graph.node import connect
from torchkeras.graph.tensor import KerasTensor, Spec
from torchkeras.ops import table

# Python's operators, with the class that Keras records for each.
KERAS_NAMES: dict[Callable, str] = {
    operator.add: "Add",
    operator.sub: "Subtract",
    operator.mul: "Multiply",
    operator.truediv: "TrueDivide",
    operator.floordiv: "FloorDivide",
    operator.mod: "Mod",
    operator.pow: "Power",
    operator.matmul: "Matmul",
    operator.neg: "Negative",
    operator.abs: "Absolute",
    operator.lt: "Less",
    operator.le: "LessEqual",
    operator.gt: "Greater",
    operator.ge: "GreaterEqual",
    operator.eq: "Equal",
    operator.ne: "NotEqual",
    operator.and_: "LogicalAnd",
    operator.or_: "LogicalOr",
    operator.xor: "LogicalXor",
    operator.invert: "LogicalNot",
    operator.getitem: "GetItem",
}
# What torch calls for an operator with a real tensor on its left, and the operator: of shapes that
# are worked out, and with a name in Keras' configs.
_METHODS = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "__floordiv__": operator.floordiv,
    "remainder": operator.mod,
    "__pow__": operator.pow,
    "matmul": operator.matmul,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "__and__": operator.and_,
    "__or__": operator.or_,
    "__xor__": operator.xor,
}
_OPERATORS = {
    getattr(home, name): function
    for home in (torch, torch.Tensor)
    for name, function in _METHODS.items()
    if hasattr(home, name)
}
_KERAS_MODULE = "keras.src.ops.numpy"
# Where functions live that a config may name: torch's, and those that other modules add.
HOMES: dict[str, Any] = {
    "torch": torch,
    "torch.nn.functional": nn.functional,
    "torch.special": torch.special,
    "torch.linalg": torch.linalg,
    "torch.fft": torch.fft,
    "torch.Tensor": torch.Tensor,
    "torchkeras.ops": ops,
    "torchkeras.random": random,
}
# What a raw module's call comes down to where it keeps a state or asks whether it is training.
_OF_MODULES = frozenset(
    "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout batch_norm "
    "instance_norm".split()
)


class TorchCall:
    """A torch function or an operator as a node's operation.

    Args:
        function: what is called.
        name: unique within a model; numbered by function unless given.
        settings: further arguments of every call, by name.
    """

    def __init__(
        self, function: Callable, name: str | None = None, settings: dict[str, Any] | None = None
    ):
        self.function = function
        self.settings = settings or {}
        self._known = table.operation_of(function)
        self.name = name or registry.auto_name(registry.snake_case(self.title))
        self._nodes: list[Any] = []

    @property
    def title(self) -> str:
        """What a summary shows as its type: Keras' name, or torch's."""
        known = self._known.class_name if self._known else KERAS_NAMES.get(self.function)
        return known or self.function.__name__.strip("_")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        args, kwargs = self._arranged(args, kwargs)
        return self.function(*args, **kwargs)

    def _arranged(self, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return all arguments of a call, the settings among them."""
        if self._known and (self.settings or kwargs):
            return self._known.joined(args, {**kwargs, **self.settings})
        return args, {**kwargs, **self.settings}

    def on(self, *args: Any, **kwargs: Any) -> Any:
        """Note the call with symbolic tensors among its arguments; return the symbolic outputs.

        Raises:
            ValueError: when the function fails for these shapes.
        """
        try:
            given, named = self._arranged(args, kwargs)
            specs = self._worked_out(given, named)
            if specs is None:
                is_elementwise = self._is_elementwise(args, kwargs)
                of_call = shapes.of_elements if is_elementwise else shapes.of_call
                specs = of_call(self.function, tuple(given), named, self.name)
        except Exception as error:
            given = filter(shapes.is_symbolic_leaf, tree.leaves((args, kwargs)))
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(
                f"{self.name!r} cannot be called on {', '.join(map(repr, given))}: {error}"
            ) from error
        return connect(self, args, kwargs, specs)

    def _worked_out(self, args: Any, kwargs: dict[str, Any]) -> Any:
        """Return what comes out where the operation says so itself; else ``None``."""
        if self._known is None or self._known.spec is None:
            return None
        found = self._known.spec(**self._known.joined(args, kwargs)[1])
        pairs = found if isinstance(found, list) else [found]
        specs = [p and Spec(tuple(p[0]), dtypes.name_of(p[1])) for p in pairs]
        return tuple(specs) if isinstance(found, list) else specs[0]

    def _is_elementwise(self, args: tuple, kwargs: dict[str, Any]) -> bool:
        has_lists = any(map(tree.is_nested, (*args, *kwargs.values())))
        return self._known is not None and self._known.is_elementwise and not has_lists

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_nodes": []}

    def __repr__(self) -> str:
        return f"<{self.title} name={self.name}>"

    def serialize(self) -> dict[str, Any]:
        """Return what makes it again, for an operator as Keras 3 writes it.

        Raises:
            ValueError: for a function that has no name in a config.
        """
        if self._known and self._known.class_name:
            module, keras_name = self._known.module, self._known.class_name
        else:
            module, keras_name = _KERAS_MODULE, KERAS_NAMES.get(self.function)
        if keras_name is not None:
            return {
                "module": module,
                "class_name": keras_name,
                "config": {"name": self.name, **self.settings},
                "registered_name": keras_name,
            }
        return {
            "module": "torchkeras.graph",
            "class_name": "TorchCall",
            "config": {"name": self.name, "function": self._path()},
            "registered_name": None,
        }

    def _path(self) -> str:
        name = self.function.__name__
        for home, module in HOMES.items():
            # Such as torch.linalg.norm, whose own name is linalg_norm.
            for known in (name, name.partition("_")[2]):
                if known and getattr(module, known, None) is self.function:
                    return f"{home}.{known}"
        raise ValueError(
            f"Operation {self.name!r} calls {self.function!r}, which a config cannot name: put the "
            "call into a Lambda or a layer."
        )

    @classmethod
    def deserialize(cls, config: dict[str, Any]) -> TorchCall | None:
        """Make an operation from :meth:`serialize`'s form; ``None`` for a layer's.

        Raises:
            ValueError: for an operation that is not known.
        """
        title, name = config.get("class_name"), config.get("config", {}).get("name")
        if title == "TorchCall":
            home, _, function = config["config"]["function"].rpartition(".")
            if home == "torchkeras.backend":
                importlib.import_module(home)  # which adds itself to the homes
            found = getattr(HOMES.get(home), function, None)
            if not callable(found) or function.startswith("_"):
                raise ValueError(
                    f"Operation {name!r} calls {config['config']['function']!r}, which is no "
                    "function that a model may name."
                )
            return cls(found, name)
        module = str(config.get("module"))
        if not module.startswith(("keras.src.ops", "keras.ops")):
            return None
        if title == "GetItem":
            return cls(operator.getitem, name)
        known = table.operation_named(module, title)
        if known is None:
            raise ValueError(
                f"Operation {name!r} is {module}.{title}, which keras.ops does not have."
            )
        return cls(known.function, name, known.settings_of(config["config"]))


def records(function: Callable) -> Callable:
    """Decorate a function of tensors: on symbolic ones it becomes one node of the graph.

    Args:
        function: of tensors and anything else; it never sees symbolic tensors.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for argument in (*args, *kwargs.values()):
            if isinstance(argument, KerasTensor):
                return record(call, args, kwargs)
        return function(*args, **kwargs)

    return call


def record(function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Note a call of a torch function or an operator on symbolic tensors.

    Args:
        function: what was called.
        args: its arguments, at least one symbolic tensor among them.
        kwargs: likewise.

    Returns:
        Symbolic tensors, in the structure that the function returns.

    Raises:
        TypeError: for a call that changes a tensor in place.
        ValueError: when a raw torch module was called, or the function fails for these shapes.
    """
    title = getattr(function, "__name__", str(function))
    if title == "__get__":  # an attribute of a real tensor, asked of a symbolic one
        raise AttributeError("A symbolic tensor has no such attribute: it holds no numbers yet.")
    if kwargs.get("out") is not None or (title[-1] == "_" != title[:1] and title not in _DUNDERS):
        raise TypeError(
            f"{title} changes a tensor in place, and a symbolic tensor has no place yet: use the "
            "function that returns a new one."
        )
    if getattr(random, title, None) is not function:
        _refuse_modules(title, args, kwargs)
    if len(args) == 2 and not kwargs:
        function = _OPERATORS.get(function, function)
    known = table.operation_of(function)
    if known is None or not known.class_name:
        return TorchCall(function).on(*args, **kwargs)
    inputs, named, settings = known.split(args, kwargs)
    return TorchCall(function, settings=settings).on(*inputs, **named)


# Python's operators whose names end in an underscore because the plain word is taken.
_DUNDERS = frozenset({"and_", "or_"})


def _refuse_modules(title: str, args: tuple, kwargs: dict[str, Any]) -> None:
    """Refuse what a raw torch module's call comes down to: its state would not be the model's."""
    has_parameters = any(isinstance(leaf, nn.Parameter) for leaf in tree.leaves((args, kwargs)))
    if has_parameters or title in _OF_MODULES:
        raise ValueError(
            f"A raw torch module ({title}) was called on a symbolic tensor: its weights and its "
            "training mode would not be part of the model. Wrap it: "
            "layers.TorchModuleWrapper(module)(x)."
        )
