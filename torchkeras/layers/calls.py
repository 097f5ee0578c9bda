"""What happens when a layer is called: on tensors it computes, on symbolic ones it adds a node."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras import config, dtypes, graph, registry, tree
from torchkeras.backend import phase
from torchkeras.graph import KerasTensor, Spec, shapes
from torchkeras.layers import activity, masks, mixed
from torchkeras.layers.mode import is_chosen, mode
from torchkeras.layers.spec import InputSpec
from torchkeras.layers.weighted import Weighted
from torchkeras.variable import Variable, as_tensor

_ARRAYS = (Variable, np.ndarray, np.generic)
_NUMBERS = (int, float)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Called(Weighted):
    """The half of a layer that is called: inputs, build, masks, shapes, symbolic calls.

    Attributes:
        input_spec: what the inputs must look like; a list for several inputs.
        float_inputs: whether integer inputs are cast to the layer's dtype too.
        supports_masking: whether the outputs get the mask that ``compute_mask`` returns.
    """

    input_spec: InputSpec | Sequence[InputSpec] | None = None
    float_inputs: bool = False
    supports_masking: bool = False

    # Of `call` and `build`: the names of their parameters, without self.
    _call_names: tuple[str, ...] = ("inputs",)
    _call_arguments: frozenset[str] = frozenset({"inputs"})
    # Whether `call` says training=True where nobody else says anything.
    _trains_by_default: bool = False
    _build_names: tuple[str, ...] = ("input_shape",)
    _shape_names: tuple[str, ...] = ("input_shape",)
    # Whether calls of it may make masks where there were none.
    _makes_masks: bool = False
    _is_model: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__dict__
        if "call" in own:
            if not registry.is_own(cls):
                cls.call = phase.follows_phase(own["call"])
            cls._call_names = _names_of(own["call"])
            cls._call_arguments = frozenset(cls._call_names)
            training = inspect.signature(own["call"]).parameters.get("training")
            cls._trains_by_default = training is not None and training.default is True
        if "build" in own:
            cls._build_names = _names_of(own["build"])
        if "compute_output_shape" in own:
            cls._shape_names = _names_of(own["compute_output_shape"])
        if "compute_mask" in own and "supports_masking" not in own:
            cls.supports_masking = True

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute the output; subclasses override it."""
        raise TypeError(f"{type(self).__name__} defines no call(inputs): write one.")

    def forward(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Prepare the inputs, build at the first call, and ``call``.

        On symbolic inputs the call is noted in the graph that a model is made of.

        Args:
            args: the inputs first: a tensor, an array, lists of numbers, a symbolic tensor, or
                lists, tuples or dictionaries of these.
            training: training or inference for this call; the module's own flag unless given.
        """
        if len(args) > 1 and "training" in self._call_arguments:
            args, kwargs, training = self._without_training(args, kwargs, training)
        is_tensor = bool(args) and isinstance(args[0], torch.Tensor)
        if not is_tensor and graph.is_symbolic(args, kwargs):
            return self._call_symbolically(args, kwargs, training)
        if training is None:
            training = phase.forced_learning_phase()
        if training is None and self._trains_by_default and not self.training:
            training = None if is_chosen() else True
        if training is not None:
            with mode(self, bool(training)):
                return self._run_outermost(args, kwargs)
        return self._run_outermost(args, kwargs)

    def _without_training(
        self, args: tuple, kwargs: dict[str, Any], training: Any
    ) -> tuple[tuple, dict[str, Any], Any]:
        """Take ``training`` out of a call's arguments where it was given by its place."""
        place = self._call_names.index("training")
        if len(args) <= place:
            return args, kwargs, training
        behind = dict(zip(self._call_names[place + 1 :], args[place + 1 :]))
        return args[:place], {**kwargs, **behind}, args[place]

    def _run_outermost(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run; where penalties are in use, know whether this call is inside another."""
        if activity.in_use():
            with activity.call_of(self):
                return self._run(args, kwargs)
        return self._run(args, kwargs)

    def _run(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        args, kwargs = self._with_inputs_first(args, kwargs)
        inputs = self._prepare(args[0])
        if len(args) > 1 or kwargs:
            args = (inputs, *map(self._prepare_other, args[1:]))
            kwargs = {name: self._prepare_other(item) for name, item in kwargs.items()}
        if not self.built:
            self._build_for((inputs, *args[1:]), kwargs)
        if self.input_spec is not None:
            self._check_inputs(inputs)
        if "training" in self._call_arguments:
            kwargs["training"] = self.training
        if kwargs.get("mask") is not None:
            masks.use()
        if masks.in_use():
            previous = masks.given_to(self, (inputs, *args[1:]), kwargs)
            outputs = self._compute((inputs, *args[1:]), kwargs)
            outputs = masks.attach(self, inputs, outputs, previous)
        else:
            outputs = self._compute((inputs, *args[1:]), kwargs)
        if self.activity_regularizer is not None:
            for output in tree.leaves(outputs):
                self._penalize(self.activity_regularizer(output) / output.shape[0])
        return outputs

    def _compute(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run ``call``; under a policy of mixed precision with weights cast."""
        if self.dtype_policy.is_mixed or mixed.is_casting():
            with mixed.cast_weights(self):
                return self.call(*args, **kwargs)
        return self.call(*args, **kwargs)

    def _with_inputs_first(
        self, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[tuple, dict[str, Any]]:
        """Take an input given by its name to the front."""
        if args:
            return args, kwargs
        name = self._call_names[0] if self._call_names else "inputs"
        name = name if name in kwargs else "inputs"
        if name not in kwargs:
            raise ValueError(f"Layer {self.name!r} was called without an input.")
        rest = {key: item for key, item in kwargs.items() if key != name}
        return (kwargs[name],), rest

    def _direct_calls(self, found: Sequence[str]) -> Sequence[Callable]:
        """Return functions that a graph may run, one on the other's output, instead of this layer.

        Whatever can change the answer calls ``graph.layers_changed``.

        Args:
            found: the dtypes of the inputs.

        Returns:
            Nothing where the layer must be called as a whole.
        """
        policy = self.dtype_policy
        may_be = (
            registry.is_own(type(self))
            and type(self).forward is Called.forward
            and not self._is_model
            and self.activity_regularizer is None
            and not (policy.is_mixed or activity.in_use() or masks.in_use())
            and phase.forced_learning_phase() is None
            and "training" not in self._call_arguments
            and not any(self.__dict__[table] for table in _HOOKS)
            and all(
                name == policy.compute_dtype
                or not (self.float_inputs or dtypes.to_torch(name).is_floating_point)
                for name in found
            )
        )
        return self._arithmetic() if may_be else ()

    def _arithmetic(self) -> Sequence[Callable]:
        """Return what ``call`` comes down to, one function on the other's output."""
        return (self.call,)

    def register_forward_hook(self, *args: Any, **kwargs: Any) -> Any:
        """Register a hook as torch does; a graph then calls the layer as a whole."""
        graph.layers_changed()
        return super().register_forward_hook(*args, **kwargs)

    def register_forward_pre_hook(self, *args: Any, **kwargs: Any) -> Any:
        """Register a hook as torch does; a graph then calls the layer as a whole."""
        graph.layers_changed()
        return super().register_forward_pre_hook(*args, **kwargs)

    def register_full_backward_hook(self, *args: Any, **kwargs: Any) -> Any:
        """Register a hook as torch does; a graph then calls the layer as a whole."""
        graph.layers_changed()
        return super().register_full_backward_hook(*args, **kwargs)

    def register_full_backward_pre_hook(self, *args: Any, **kwargs: Any) -> Any:
        """Register a hook as torch does; a graph then calls the layer as a whole."""
        graph.layers_changed()
        return super().register_full_backward_pre_hook(*args, **kwargs)

    # --------------------------------------------------------------------------------- inputs

    def _prepare(self, inputs: Any) -> Any:
        """Make inputs tensors of the layer's dtype; integers stay unless it needs floats."""
        if isinstance(inputs, torch.Tensor):
            return self._cast(inputs)
        if isinstance(inputs, (list, tuple, Mapping)) and not _is_numbers(inputs):
            return tree.map_structure(self._prepare, inputs)
        if isinstance(inputs, KerasTensor) or inputs is None:
            return inputs
        if not isinstance(inputs, (*_ARRAYS, *_NUMBERS, list, tuple)) and not hasattr(
            inputs, "to_numpy"
        ):
            return inputs
        try:
            return self._cast(as_tensor(inputs, device=self._device()))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Layer {self.name!r} cannot take {type(inputs).__name__} as input: {error}"
            ) from None

    def _prepare_other(self, item: Any) -> Any:
        """Make tensors of the arrays among the arguments behind the inputs; the rest stays."""
        if isinstance(item, (torch.Tensor, np.ndarray)):
            return self._prepare(item)
        if tree.is_nested(item):
            return tree.map_structure(self._prepare_other, item)
        return item

    def _cast(self, inputs: torch.Tensor) -> torch.Tensor:
        policy = self.dtype_policy
        wanted = policy.torch_compute_dtype if self.autocast else policy.torch_dtype
        if inputs.dtype is not wanted and (
            (self.autocast and inputs.dtype.is_floating_point)
            or (self.float_inputs and not inputs.dtype.is_complex)
        ):
            return masks.hand_over(inputs, inputs.to(wanted))
        return inputs

    def _check_inputs(self, inputs: Any) -> None:
        specs = self.input_spec
        if isinstance(specs, (list, tuple)):
            found = tree.flatten(inputs)
            if len(found) != len(specs):
                raise ValueError(
                    f"Layer {self.name!r} takes {len(specs)} inputs; received {len(found)}."
                )
            for spec, part in zip(specs, found):
                if spec is not None:
                    spec.check(self.name, part.shape, _torch_dtype(part))
        elif isinstance(inputs, (torch.Tensor, KerasTensor)):
            specs.check(self.name, inputs.shape, _torch_dtype(inputs))

    def _device(self) -> torch.device:
        """Where the weights live, or where new ones would go."""
        for tensor in itertools.chain(nn.Module.parameters(self), self.buffers()):
            return tensor.device
        return config.device()

    # --------------------------------------------------------------------------------- build

    def _build_for(self, args: tuple, kwargs: dict[str, Any]) -> None:
        """Build for the shapes of a call's tensors."""
        if len(self._build_names) < 2:
            shape = _shape_of(args[0])
            return self.build(_of_any_batch(shape) if shapes.in_trial() else shape)
        return self.build(**self._shapes_by_name(self._build_names, args, kwargs, "build"))

    def _shapes_by_name(
        self, wanted: Sequence[str], args: tuple, kwargs: dict[str, Any], method: str
    ) -> dict[str, Any]:
        """Return the shapes that a method with an argument for each tensor of ``call`` takes."""
        given = {**dict(zip(self._call_names, args)), **kwargs}
        found = {f"{name}_shape": _shape_of(part) for name, part in given.items()}
        # An argument of call that was left out has no shape: the method's own default holds.
        optional = {f"{name}_shape" for name in self._call_names}
        missing = [name for name in wanted if name not in found and name not in optional]
        if missing:
            raise ValueError(
                f"{type(self).__name__}.{method}() takes {missing[0]!r}, but call() was given no "
                f"tensor {missing[0].removesuffix('_shape')!r}; each argument is named like the "
                "one of call() with '_shape' behind it."
            )
        return {name: found[name] for name in wanted if name in found}

    # ------------------------------------------------------------------------ symbolic calls

    def _call_symbolically(self, args: tuple, kwargs: dict[str, Any], training: Any) -> Any:
        """Add a node to the graph; return the symbolic outputs."""
        args, kwargs = self._with_inputs_first(args, kwargs)
        if not self.built:
            self._build_for(args, kwargs)
        if self.input_spec is not None:
            self._check_inputs(args[0])
        try:
            specs = self.compute_output_spec(*args, **kwargs)
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            raise self._named(error, args[0]) from error
        specs = tree.map_structure(
            lambda spec: Spec(spec.shape, spec.dtype) if isinstance(spec, KerasTensor) else spec,
            specs,
        )
        if training is not None:
            kwargs = {**kwargs, "training": training}
        return graph.connect(self, args, kwargs, specs)

    def _named(self, error: Exception, inputs: Any) -> Exception:
        """Return an error of a symbolic call that says which layer it came from."""
        if repr(self.name) in str(error):
            return error
        kind = TypeError if isinstance(error, TypeError) else ValueError
        return kind(
            f"Layer {self.name!r} ({type(self).__name__}) cannot be called on inputs of shape "
            f"{_shape_of(inputs)}: {error}"
        )

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return shape and dtype of the outputs for symbolic inputs.

        Args:
            args: what ``call`` takes, symbolic tensors in place of tensors.
            kwargs: likewise.

        Returns:
            A ``Spec``, or lists, tuples or dictionaries of them.
        """
        if not self._has_closed_form():
            return self._spec_by_trial(args, kwargs)
        if len(self._shape_names) < 2:
            shape = self.compute_output_shape(_shape_of(args[0]))
        else:
            names = self._shape_names
            shape = self.compute_output_shape(
                **self._shapes_by_name(names, args, kwargs, "compute_output_shape")
            )
        dtype = self._output_dtype(args[0])
        return _map_shapes(lambda one: Spec(one, dtype), shape)

    def _has_closed_form(self) -> bool:
        return type(self).compute_output_shape is not Called.compute_output_shape

    def _output_dtype(self, inputs: Any) -> str:
        """Return Keras' name of the outputs' dtype where the shape comes from a closed form."""
        first = next(tree.leaves(inputs), None)
        dtype = dtypes.to_torch(getattr(first, "dtype", None) or self.compute_dtype)
        keeps = isinstance(dtype, torch.dtype) and not dtype.is_floating_point
        return dtypes.name_of(dtype) if keeps and not self.float_inputs else self.compute_dtype

    def _spec_by_trial(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        def run(*given: Any, **named: Any) -> Any:
            return self(*given, **named)

        with mode(self, False):
            self._build_inside(args, kwargs)
            try:
                found = shapes.by_trial(run, args, kwargs, self.name, self._device(), self)
            except (AttributeError, RuntimeError, TypeError, ValueError):
                # Where masks come along they are known at the run only.
                if "mask" not in self._call_arguments or kwargs.get("mask") is not None:
                    raise
                masked = {**kwargs, "mask": tree.map_structure(_mask_like, args[0])}
                found = shapes.by_trial(run, args, masked, self.name, self._device(), self)
        activity.drop(self)
        return found

    def _build_inside(self, args: tuple, kwargs: dict[str, Any]) -> None:
        """Build the layers inside that have no shape yet, by a run that they keep their mark of.

        A trial puts random states back, so weights drawn in one would be drawn again after it.
        """
        if any(not layer.built for layer in self.modules() if isinstance(layer, Called)):
            before = [(buffer, buffer.clone()) for buffer in self.buffers()]
            shapes.run_once(self, args, kwargs, self._device())
            activity.drop(self)
            for layer in self.modules():
                before += layer.__dict__.pop("_buffers_as_built", ())
            with torch.no_grad():  # a layer that counts its calls does not count this one
                for buffer, value in before:
                    buffer.copy_(value)

    def _build_by_call(self, input_shape: Any) -> None:
        """Build the layers inside by a run on small tensors of a shape."""
        self.__dict__["built"] = True  # or the run would build again
        inputs = _map_shapes(lambda one: KerasTensor(one, self.compute_dtype), input_shape)
        try:
            with mode(self, False):
                self._build_inside((inputs,), {})
        except Exception as error:
            self.__dict__["built"] = False
            raise self._named(error, inputs) from error

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the output's shape for an input's, ``None`` where unknown.

        Without a closed form the layer is run on two small tensors.

        Args:
            input_shape: ``(batch, …)``, or lists, tuples or dictionaries of such shapes.
        """
        if not self.built:
            self.build(input_shape)
        key = repr(input_shape)
        if key not in self._probed:
            inputs = _map_shapes(lambda one: KerasTensor(one, self.compute_dtype), input_shape)
            try:
                specs = self._spec_by_trial((inputs,), {})
            except RuntimeError as first:
                # A layer that takes no floats, such as an embedding.
                inputs = _map_shapes(lambda one: KerasTensor(one, "int64"), input_shape)
                try:
                    specs = self._spec_by_trial((inputs,), {})
                except RuntimeError:
                    raise first from None
            self._probed[key] = tree.map_structure(lambda spec: spec.shape, specs)
        return self._probed[key]

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the outputs.

        Args:
            inputs: what ``call`` was given.
            previous_mask: the mask of the inputs, ``None`` for none.
        """
        return previous_mask

    # --------------------------------------------------------------------------- where it is

    def _first_node(self, wanted: str) -> graph.Node:
        nodes = graph.nodes_of(self)
        if not nodes:
            raise AttributeError(
                f"Layer {self.name!r} was never called on a symbolic tensor, so it has no {wanted}."
            )
        return nodes[0]

    @property
    def input(self) -> Any:
        """The symbolic input of the layer's first call.

        Raises:
            AttributeError: when it was not called on a symbolic tensor.
        """
        return self._first_node("input").input

    @property
    def output(self) -> Any:
        """The symbolic output of the layer's first call.

        Raises:
            AttributeError: when it was not called on a symbolic tensor.
        """
        return self._first_node("output").output

    def get_input_at(self, node_index: int) -> Any:
        """Return the symbolic input of a call, counted from 0."""
        return self._node_at(node_index, "get_input_at").input

    def get_output_at(self, node_index: int) -> Any:
        """Return the symbolic output of a call, counted from 0."""
        return self._node_at(node_index, "get_output_at").output

    def get_input_shape_at(self, node_index: int) -> Any:
        """Return the shape of the input of a call, counted from 0."""
        return _shape_of(self.get_input_at(node_index))

    def get_output_shape_at(self, node_index: int) -> Any:
        """Return the shape of the output of a call, counted from 0."""
        return _shape_of(self.get_output_at(node_index))

    def _node_at(self, index: int, method: str) -> graph.Node:
        nodes = graph.nodes_of(self)
        if not 0 <= index < len(nodes):
            raise ValueError(
                f"{method}: layer {self.name!r} was called {len(nodes)} times on symbolic tensors, "
                f"so there is no call {index}."
            )
        return nodes[index]

    # ---------------------------------------------------------------------- losses and metrics

    def _own_metrics(self) -> list[Any]:
        """The metrics that this layer holds, then those of the layers inside."""
        found = [m for m in _metrics_in(self.__dict__) if m is not self.__dict__.get("_tracker")]
        for layer in self._sublayers():
            if isinstance(layer, Called):  # not a module that somebody put in a layer's place
                found += layer._own_metrics()
        return list(dict.fromkeys(found))

    @property
    def metrics(self) -> list[Any]:
        """The metrics of this layer and of those inside."""
        return self._own_metrics()

    def add_metric(self, value: Any, name: str | None = None, aggregation: str = "mean") -> None:
        """Report a value of this call, as Keras 2 did: its mean over the epoch.

        Args:
            value: a tensor; its mean counts.
            name: that it is reported by.
            aggregation: must be ``'mean'``.

        Raises:
            ValueError: for another aggregation, or without a name.
        """
        if aggregation not in ("mean", None):
            raise ValueError(f"add_metric: aggregation must be 'mean'; received {aggregation!r}.")
        if name is None:
            raise ValueError(f"add_metric: layer {self.name!r} needs a name for the value.")
        if name not in self._added_metrics:
            self._added_metrics[name] = registry.find("metric", "Mean")(name=name)
        self._added_metrics[name].update_state(value.detach())

    def _penalize(self, penalty: torch.Tensor) -> None:
        """Keep a penalty of the call that is under way."""
        self._activity_losses.append(penalty)

    def add_loss(self, loss: Any) -> None:
        """Add scalars to what training lowers, in this call.

        Args:
            loss: a scalar tensor, or a list of them, computed in ``call``; a callable without
                arguments is asked at each step.

        Raises:
            ValueError: for what is no tensor.
        """
        for item in tree.leaves(loss):
            if callable(item) and not isinstance(item, (torch.Tensor, Variable)):
                self._loss_functions.append(item)
                continue
            if isinstance(item, Variable):
                item = item.value
            if not isinstance(item, torch.Tensor):
                raise ValueError(
                    f"add_loss: layer {self.name!r} was given {item!r}; it takes scalar tensors "
                    "computed in call(), or callables that return one."
                )
            self._penalize(item if item.dim() == 0 else item.mean())
        activity.use()

    def add_update(self, updates: Any, inputs: Any = None) -> None:
        """Take updates of weights, as Keras 1 and 2 did; they are made when training only.

        What ``K.update`` and its kin, or ``assign``, wrote is written already.

        Args:
            updates: what those returned, pairs ``(variable, value)``, functions without arguments
                that write, or a list of them.
            inputs: what the updates depended on in Keras 1 and 2; of no effect.

        Raises:
            ValueError: for anything else.
        """
        is_one = not isinstance(updates, list) and not _are_updates(updates)
        for update in [updates] if is_one else updates:
            if update is None or isinstance(update, (Variable, torch.Tensor)):
                continue
            if not callable(update) and not _is_pair(update):
                raise ValueError(
                    f"add_update: layer {self.name!r} was given {update!r}; it takes what K.update "
                    "returns, pairs (variable, value) and functions that write."
                )
            if self.training and callable(update):
                update()
            elif self.training:
                update[0].assign(update[1])

    @property
    def losses(self) -> list[torch.Tensor]:
        """The penalties: of regularized weights, and those that the last call added."""
        penalties = [v.regularizer(v.value) for v in self.regularized_variables()]
        return penalties + activity.penalties(self)

    def regularized_variables(self) -> list[Variable]:
        """The trainable weights that have a regularizer."""
        return [variable for variable in self.trainable_weights if variable.regularizer is not None]


def _is_pair(update: Any) -> bool:
    """Tell whether something is a variable and the value that it shall get."""
    return isinstance(update, tuple) and len(update) == 2 and isinstance(update[0], Variable)


def _are_updates(updates: Any) -> bool:
    """Tell whether a tuple holds several updates, and is not one itself."""
    return isinstance(updates, tuple) and not _is_pair(updates)


def _metrics_in(table: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the metrics among attributes, also in lists and dictionaries of metrics."""
    for name, item in table.items():
        if name in ("_modules", "_parameters", "_buffers", "_compiled"):
            continue
        for leaf in tree.leaves(item) if tree.is_nested(item) else (item,):
            if hasattr(leaf, "update_state") and hasattr(leaf, "reset_state"):
                yield leaf


def _names_of(function: Any) -> tuple[str, ...]:
    """Return the names of a method's arguments, without self and catch-alls."""
    catching = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return tuple(p.name for p in parameters if p.kind not in catching)


def _is_numbers(inputs: Any) -> bool:
    """Tell whether lists hold numbers alone, which make one array."""
    return not isinstance(inputs, Mapping) and all(
        isinstance(leaf, (*_NUMBERS, np.generic)) for leaf in tree.leaves(inputs)
    )


def _torch_dtype(tensor: Any) -> torch.dtype:
    return tensor.dtype if isinstance(tensor, torch.Tensor) else dtypes.to_torch(tensor.dtype)


def _shape_of(inputs: Any) -> Any:
    """Return the shapes of tensors in their structure, as tuples."""
    return tree.map_structure(
        lambda leaf: tuple(leaf.shape) if hasattr(leaf, "shape") else None, inputs
    )


def _mask_like(tensor: Any) -> Any:
    """Return the symbolic mask that a symbolic input would have."""
    return KerasTensor(tensor.shape[:2], "bool") if isinstance(tensor, KerasTensor) else None


def _of_any_batch(given: Any) -> Any:
    """Return shapes with the number of samples unknown."""
    return _map_shapes(lambda shape: (None, *shape[1:]), given)


def is_shape(thing: Any) -> bool:
    """Tell whether something is one shape, not a structure of shapes."""
    return isinstance(thing, (list, tuple)) and all(
        size is None or isinstance(size, (int, np.integer)) for size in thing
    )


def as_shapes(given: Any) -> Any:
    """Return a shape, or a structure of shapes, with each shape a tuple; ``None`` stays."""
    return None if given is None else _map_shapes(lambda shape: shape, given)


def _map_shapes(function: Any, given: Any) -> Any:
    """Apply a function to each shape, as a tuple, in a structure of shapes."""
    if is_shape(given):
        return function(tuple(given))
    if isinstance(given, Mapping):
        return {name: _map_shapes(function, part) for name, part in given.items()}
    return type(given)(_map_shapes(function, part) for part in given)
