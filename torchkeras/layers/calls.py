"""What happens when a layer is called: inputs, build, masks, and what a graph may run instead."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras import config, dtypes, graph, registry, seeds, tree
from torchkeras.graph import KerasTensor
from torchkeras.layers import activity, masks, mixed, phase
from torchkeras.layers.mode import is_chosen, mode
from torchkeras.layers.spec import InputSpec
from torchkeras.layers.structures import of_any_batch, shape_of
from torchkeras.layers.symbolic import Symbolic
from torchkeras.rematerialization import RematScope, remat
from torchkeras.variable import Variable, as_tensor

_ARRAYS = (Variable, np.ndarray, np.generic)
_NUMBERS = (int, float)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _noticed(register: Callable) -> Callable:
    """Wrap torch's registration of a hook: graphs then call the layer as a whole."""

    @functools.wraps(register)
    def call(self: Called, *args: Any, **kwargs: Any) -> Any:
        graph.layers_changed()
        return register(self, *args, **kwargs)

    return call


class Called(Symbolic):
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
    # `call` as the class was written: another in its place is not what `_arithmetic` stands for.
    _written_call: Any = None
    # Whether `call` says training=True where nobody else says anything.
    _trains_by_default: bool = False
    _build_names: tuple[str, ...] = ("input_shape",)
    _shape_names: tuple[str, ...] = ("input_shape",)
    # Whether calls of it may make masks where there were none.
    _makes_masks: bool = False
    _is_model: bool = False
    # What the backward pass computes again, for a layer made in a RematScope.
    _remat: RematScope | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__dict__
        if "get_output_shape_for" in own and "compute_output_shape" not in own:
            cls.compute_output_shape = own["get_output_shape_for"]
        if "call" in own:
            if not registry.is_own(cls):
                cls.call = phase.follows_phase(own["call"])
            cls._written_call = own["call"]
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
        """Run ``call``, in the backward pass again where the layer was made for that."""
        if self._remat is None or not torch.is_grad_enabled():
            return self._compute_once(args, kwargs)
        if self._remat.mode == "activations" and getattr(self, "activation", None) is not None:
            held = self.__dict__.pop("activation", None)
            self.__dict__["activation"] = remat(self.activation if held is None else held)
            try:
                return self._compute_once(args, kwargs)
            finally:
                del self.__dict__["activation"]
                if held is not None:
                    self.__dict__["activation"] = held
        if not self._remat.applies_to(self, args):
            return self._compute_once(args, kwargs)
        training = self.training

        def compute(*args: Any, **kwargs: Any) -> Any:
            with mode(self, training):  # which may be another by the time of the backward pass
                return self._compute_once(args, kwargs)

        return remat(compute)(*args, **kwargs)

    def _compute_once(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run ``call``; under a policy of mixed precision with weights cast."""
        try:
            if self.dtype_policy.is_mixed or mixed.is_casting():
                with mixed.cast_weights(self):
                    return self.call(*args, **kwargs)
            return self.call(*args, **kwargs)
        except Exception as error:
            # Of the innermost layer alone; Python 3.10 has no notes.
            if hasattr(error, "add_note") and not hasattr(error, "__notes__"):
                error.add_note(
                    f"Raised in the call of layer {self.name!r} ({type(self).__name__}) on inputs "
                    f"of shape {shape_of(args[0])}."
                )
            raise

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
            and type(self).call is type(self)._written_call
            and not ("call" in self.__dict__ or "forward" in self.__dict__)
            and not self._is_model
            and self.activity_regularizer is None
            and self._remat is None
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

    register_forward_hook = _noticed(nn.Module.register_forward_hook)
    register_forward_pre_hook = _noticed(nn.Module.register_forward_pre_hook)
    register_backward_hook = _noticed(nn.Module.register_backward_hook)
    register_full_backward_hook = _noticed(nn.Module.register_full_backward_hook)
    register_full_backward_pre_hook = _noticed(nn.Module.register_full_backward_pre_hook)

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
            shape = shape_of(args[0])
            return self.build(of_any_batch(shape) if seeds.in_trial() else shape)
        return self.build(**self._shapes_by_name(self._build_names, args, kwargs, "build"))

    def _shapes_by_name(
        self, wanted: Sequence[str], args: tuple, kwargs: dict[str, Any], method: str
    ) -> dict[str, Any]:
        """Return the shapes that a method with an argument for each tensor of ``call`` takes."""
        given = {**dict(zip(self._call_names, args)), **kwargs}
        found = {f"{name}_shape": shape_of(part) for name, part in given.items()}
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
