"""Layer: a torch module with Keras' life-cycle."""

from __future__ import annotations

import functools
import inspect
import itertools
import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras import (
    config,
    dtypes,
    eras,
    graph,
    initializers,
    registry,
    regularizers,
    rematerialization,
    seeds,
    tree,
)
from torchkeras.dtype_policies import DTypePolicyMap
from torchkeras.layers import activity, masks, values
from torchkeras.layers.calls import Called
from torchkeras.layers.stateless import stateless_call
from torchkeras.layers.structures import as_shapes
from torchkeras.layers.tracking import holds_state, track
from torchkeras.layers.weighted import resolve
from torchkeras.variable import Variable, current_path

# What nn.Module itself calls: an attribute of the same name breaks it far from the cause.
_MODULE_NEEDS = frozenset(
    "forward modules children parameters buffers named_modules named_children named_parameters "
    "named_buffers state_dict load_state_dict train eval apply to zero_grad requires_grad_ "
    "register_parameter register_buffer register_module add_module get_submodule get_parameter "
    "get_buffer".split()
)
# Attributes that decide how a graph may call a layer.
_DECIDE_CALLS = frozenset(
    "__class__ activation activity_regularizer autocast call dtype_policy forward".split()
)
_FUNCTIONS = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial)


def empty_module(kind: type[nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    """Make a torch module without torch's own initial values, on the device in force.

    Args:
        kind: the module's class; the other arguments are its constructor's.
    """
    # An attribute of the instance hides the method that draws the values. (The usual way, through
    # torch's meta device, costs 0.3 s at its first use.)
    module = kind.__new__(kind)
    module.__dict__["reset_parameters"] = _nothing
    module.__init__(*args, device=config.device(), **kwargs)
    del module.__dict__["reset_parameters"]
    return module


def _nothing() -> None:
    """Do nothing."""


@registry.register("layer")
class Layer(Called):
    """A ``torch.nn.Module`` with Keras' life-cycle: configuration, ``build``, ``call``.

    A subclass keeps its configuration in ``__init__``, makes its weights in ``build(input_shape)``
    and computes in ``call(inputs)``; ``build`` runs by itself before the first call.

    Args:
        activity_regularizer: penalty on the output, divided by the batch size.
        trainable: whether training moves the weights.
        dtype: what the layer computes in and holds its weights in: a dtype's name or a policy; that
            of :func:`torchkeras.config.dtype_policy` unless given.
        autocast: whether floating inputs are cast to ``dtype``.
        name: unique within a model; numbered by class unless given.
        input_shape: shape of one sample, for the first layer of a ``Sequential``.
        input_dim: length of a sample of rank 1, short for ``input_shape=(input_dim,)``.
        batch_input_shape: ``input_shape`` with the batch size in front, ``None`` where free.
        batch_size: the batch size that goes with ``input_shape``.
        input_dtype: dtype of the input that ``input_shape`` describes.
        weights: initial weights, as ``get_weights`` gives them.

    Raises:
        ValueError: for an argument that does not exist.
    """

    config_without = (
        "activity_regularizer trainable dtype autocast name input_shape input_dim "
        "batch_input_shape batch_size input_dtype weights"
    ).split()

    # Whether it was built before it became part of another, whose name its path lacks then.
    _path_is_final: bool = False

    def __new__(cls, *args: Any, **kwargs: Any):
        # Here and not in __init__, so that attributes may be set before super().__init__().
        layer = super().__new__(cls, *args, **kwargs)
        nn.Module.__init__(layer)
        layer.__dict__.update(
            training=False,
            built=False,
            _trainable=True,
            _building=0,
            _build_shape=None,
            _added_rows=[],
            _frozen_paths=set(),
            _frozen_before=set(),
            _activity_losses=[],
            _loss_functions=[],
            _added_metrics={},
            _nodes=[],
            _probed={},
            _scope="",
            _tracked=set(),
            # Weak, since each knows its layer: a model is freed as soon as nobody holds it.
            _variables=weakref.WeakValueDictionary(),
            # What __init__ sets, for the class that forgets to call it.
            activity_regularizer=None,
            dtype_policy=dtypes.policy(None),
            autocast=True,
            _first_shape=None,
            _first_dtype=None,
            _initial_weights=None,
        )
        if rematerialization.current() is not None:
            layer.__dict__["_remat"] = rematerialization.current()
        if cls._makes_masks:
            masks.use()
        return layer

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "compute_mask" in cls.__dict__ and not registry.is_own(cls):
            cls._makes_masks = True
        if "build" in cls.__dict__:
            cls.build = _completed(cls.build)
        if "forward" in cls.__dict__ and not registry.is_own(cls):
            raise TypeError(
                f"{cls.__name__} defines forward(), which Layer needs itself: write call(inputs)."
            )

    def __init__(
        self,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        input_shape: Sequence[int | None] | int | None = None,
        input_dim: int | None = None,
        batch_input_shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        input_dtype: str | None = None,
        weights: Sequence[Any] | None = None,
    ):
        if name is not None and not isinstance(name, str):
            raise ValueError(f"A layer's name must be a string; received {name!r}.")
        if name is not None and "/" in name:
            raise ValueError(f"A layer's name cannot contain '/'; received {name!r}.")
        self.name = name or registry.auto_name(_prefix(type(self)))
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.dtype_policy = dtypes.policy(dtype)
        self.autocast = autocast
        self.__dict__["_trainable"] = bool(trainable)
        self._first_shape = _first_shape(input_shape, input_dim, batch_input_shape, batch_size)
        self._first_dtype = input_dtype
        self._initial_weights = weights

    # ---------------------------------------------------------------------------- life-cycle

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of a shape; subclasses override it.

        Args:
            input_shape: ``(batch, …)`` with ``None`` where unknown.
        """

    def _needs_no_build(self) -> None:
        """Count as built at once, unless a subclass writes a ``build`` of its own."""
        self.built = type(self).build is Layer.build

    def _complete_build(self, input_shape: Any) -> None:
        """After ``build``: draw the declared weights, take given ones, set mode and flags."""
        for row in self.weight_map:
            initializer = getattr(self, f"{row.name}_initializer", row)
            if initializer is not row and resolve(self, row.path) is not None:
                variable = self._variable(row)
                initializer = initializer or initializers.get("glorot_uniform")  # as in Keras
                variable.assign(initializers.draw(initializer, variable.shape, variable.dtype))
        former = self.path
        if not self._scope and current_path():
            self.__dict__["_scope"] = current_path()
        self._name_sublayers(former)
        self._probed.clear()
        if seeds.in_trial():  # what follows may write to what is there now
            kept = [(buffer, buffer.clone()) for buffer in self.buffers()]
            self.__dict__["_buffers_as_built"] = kept
        self.__dict__["built"] = True
        self.__dict__["_build_shape"] = input_shape
        self.train(self.training)
        self._freeze()
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)
            self.__dict__["_initial_weights"] = None

    def _finish_paths(self) -> None:
        """Let the layers inside that are built already keep their paths, as in Keras."""
        for module in self.modules():
            if isinstance(module, Layer) and module is not self and not module._scope:
                has_weights = next(itertools.chain(_parameters(module), module.buffers()), None)
                if module.built and has_weights is not None:
                    module.__dict__["_path_is_final"] = True

    def _name_sublayers(self, former: str | None = None) -> None:
        """Let the layers inside know whose they are, for the paths of their weights.

        Args:
            former: the path that this layer had until it was put into another.
        """
        for layer in self._sublayers():
            if not layer._path_is_final and layer._scope in ("", former):
                before = layer.path
                layer.__dict__["_scope"] = self.path
                layer._name_sublayers(before)

    # ----------------------------------------------------------------------------- attributes

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _MODULE_NEEDS and not isinstance(value, _FUNCTIONS):
            raise ValueError(
                f"{type(self).__name__}: the attribute {name!r} belongs to torch.nn.Module, which "
                f"needs it; choose another name, such as '{name}_'."
            )
        if isinstance(value, Variable) and value.owner is self:
            if value.row in self._added_rows:
                self._move_added(value, name)
            return
        if isinstance(value, Variable) and self._tracks(value):
            self._adopt(value, value, key=name)
            return
        if isinstance(value, torch.Tensor):
            row = next((row for row in self.weight_map if row.name == name), None)
            if row is not None and self.built:
                self._replace(row, value)
                return
        if name == "dtype_policy":
            value = dtypes.policy(value)
        elif name == "activity_regularizer" and value is not None:
            activity.use()
        super().__setattr__(name, value)
        if self._nodes and (name in _DECIDE_CALLS or isinstance(value, nn.Module)):
            graph.layers_changed()
        if isinstance(value, (list, tuple, dict)) or name in self._tracked:
            self._track(name, value)
        if isinstance(value, nn.Parameter) and not value.requires_grad:
            self._frozen_paths.add(name)
        if isinstance(value, nn.Module):
            value.train(self.training)
            if not isinstance(value, Layer):
                frozen = (p for p, t in value.named_parameters() if not t.requires_grad)
                self._frozen_paths.update(f"{name}.{path}" for path in frozen)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name in _DECIDE_CALLS:
            graph.layers_changed()

    def _tracks(self, variable: Variable) -> bool:
        """Tell whether a variable that becomes an attribute becomes a weight by that."""
        return eras.value("layer.tracks_variables") and (
            variable.is_free or isinstance(variable.owner, Layer)
        )

    def _track(self, name: str, value: Any) -> None:
        """Own the layers in a list or dictionary that became an attribute, or own them no more."""
        plain = type(value) in (list, dict) and not name.startswith("_")
        if plain or holds_state(value):
            self._tracked.add(name)
            track(self, name, value)
        elif name in self._tracked:
            self._tracked.discard(name)
            self._modules.pop(f"{name}_", None)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for name in self._tracked:
            track(self, name, self.__dict__[name])

    def _apply(self, fn: Callable, recurse: bool = True) -> Layer:
        """Follow torch: after ``.double()`` or ``.to(dtype)`` compute in that dtype."""
        super()._apply(fn, recurse)
        dtype = fn(torch.empty(0, dtype=self.dtype_policy.torch_dtype)).dtype
        if dtype is not self.dtype_policy.torch_dtype and dtype.is_floating_point:
            self.dtype_policy = dtypes.policy(dtype)
        return self

    def __getattr__(self, name: str) -> Any:
        modules = self.__dict__["_modules"]
        if name in modules:  # first, since every call of a layer asks for them
            return modules[name]
        if name == "name":  # of a class that forgets to call super().__init__()
            self.__dict__["name"] = registry.auto_name(_prefix(type(self)))
            return self.name
        rows = self.__dict__.get("_added_rows", ())
        for row in rows:
            if row.path == name:
                return self._variable(row)
        for row in self.weight_map:
            if row.name == name:
                held = resolve(self, row.path)
                return None if held is None else self._variable(row)
        attribute = getattr(type(self), name, None)
        if isinstance(attribute, property):  # that raised: let it say why
            return attribute.fget(self)
        return super().__getattr__(name)

    # ------------------------------------------------------------------------------ what it is

    @property
    def path(self) -> str:
        """The names from the outermost model down, such as ``'sequential/dense'``."""
        return f"{self._scope}/{self.name}" if self._scope else self.name

    @property
    def dtype(self) -> str:
        """Dtype of the weights."""
        return self.dtype_policy.variable_dtype

    variable_dtype = dtype

    @property
    def compute_dtype(self) -> str:
        """Dtype of the computation."""
        return self.dtype_policy.compute_dtype

    @property
    def input_shape(self) -> Any:
        """The shape of the layer's first symbolic input, or the one that it was built for.

        Raises:
            AttributeError: before it is built.
        """
        if graph.nodes_of(self):
            return tree.map_structure(lambda tensor: tensor.shape, self.input)
        if self._build_shape is None:
            raise AttributeError(f"Layer {self.name!r} is not built: its input_shape is not known.")
        return self._build_shape

    @property
    def output_shape(self) -> Any:
        """The shape of the layer's first symbolic output, or what follows from its input's.

        Raises:
            AttributeError: before it is built.
        """
        if graph.nodes_of(self):
            return tree.map_structure(lambda tensor: tensor.shape, self.output)
        return self.compute_output_shape(self.input_shape)

    stateless_call = stateless_call

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again, as plain Python values."""
        base = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": registry.serialize(self.dtype_policy),
        }
        penalty = registry.serialize(self.activity_regularizer)
        cls = type(self)
        is_plain = cls.__init__ is Layer.__init__ and cls.get_config is Layer.get_config
        if is_plain and not registry.is_builtin(cls):
            # As Keras writes a class that has no constructor of its own: all arguments of Layer.
            base = {"name": self.name, "activity_regularizer": penalty, **base}
            base["autocast"] = self.autocast
        elif penalty is not None:
            base["activity_regularizer"] = penalty
        return {**self._accepted(base), **super().get_config()}

    def _accepted(self, base: dict[str, Any]) -> dict[str, Any]:
        """Leave out what a user's constructor without ``**kwargs`` does not take."""
        if registry.is_builtin(type(self)):
            return base
        parameters = inspect.signature(type(self).__init__).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return base
        return {name: value for name, value in base.items() if name in parameters}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """Make a layer from what :meth:`get_config` returned.

        Args:
            config: the arguments of the constructor.
        """
        if registry.writes_no_config(cls):
            own = config.keys() - set(Layer.config_without)
            config = {**config, **{name: values.read(config[name]) for name in own}}
        return cls(**config)

    def get_build_config(self) -> dict[str, Any] | None:
        """Return the shapes that ``build`` was called for; ``None`` when it was not."""
        if self._build_shape is None:
            return None
        key = "input_shape" if len(self._build_names) < 2 else "shapes_dict"
        return {key: self._build_shape}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build for the shapes of :meth:`get_build_config`."""
        if self.built:
            return
        if config.get("input_shape") is not None:
            self.build(as_shapes(config["input_shape"]))
        elif config.get("shapes_dict") is not None:
            self.build(**{name: as_shapes(s) for name, s in config["shapes_dict"].items()})

    def extra_repr(self) -> str:
        """Show the name in torch's printed form."""
        return f"name={self.name!r}"


def _completed(build: Callable) -> Callable:
    """Wrap a ``build`` so that the outermost one ends with the steps that every build needs."""

    @functools.wraps(build)
    def complete(self: Layer, *args: Any, **kwargs: Any) -> Any:
        if self._building == 0:
            self._finish_paths()
            if isinstance(self.dtype_policy, DTypePolicyMap):
                self.dtype_policy = self.dtype_policy.at(self.path)
        self.__dict__["_building"] += 1
        try:
            result = build(self, *args, **kwargs)
        finally:
            self.__dict__["_building"] -= 1
        if self._building == 0:
            if len(self._build_names) < 2:
                shape = args[0] if args else next(iter(kwargs.values()), None)
            else:
                shape = {**dict(zip(self._build_names, args)), **kwargs}
            self._complete_build(as_shapes(shape))
        return result

    return complete


Layer.build = _completed(Layer.build)
graph.Operation.register(Layer)
# Of a module; a model's own method refuses where it is not built.
_parameters = nn.Module.parameters


def _prefix(cls: type) -> str:
    name = cls.__name__
    if name == "Functional" and eras.version() < (3,):
        return "model"  # there was one class of models beside Sequential
    return name.lower() if eras.value("names.lower") else registry.snake_case(name)


def _first_shape(
    input_shape: Any, input_dim: int | None, batch_input_shape: Any, batch_size: int | None
) -> tuple[int | None, ...] | None:
    """Return the batch input shape that the first layer of a model was given, if any."""
    if batch_input_shape is not None:
        return tuple(batch_input_shape)
    if input_dim is not None:
        if input_shape is not None:
            raise ValueError(
                f"input_dim={input_dim!r} and input_shape={input_shape!r} say the same; give one."
            )
        input_shape = (input_dim,)
    if input_shape is None:
        return None
    if isinstance(input_shape, int):
        input_shape = (input_shape,)
    return (batch_size, *input_shape)
