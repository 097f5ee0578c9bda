"""Lambda: a function as a layer."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from torchkeras import tree
from torchkeras.layers import masks, phase, values
from torchkeras.layers.base import Layer
from torchkeras.layers.structures import as_shapes, map_shapes
from torchkeras.registry import register
from torchkeras.variable import as_tensor

# Errors that keep their kind when the layer adds its name to them: who tries a layer on tensors
# without numbers tells by the kind whether to try again with numbers.
_KINDS = (NotImplementedError, RuntimeError, TypeError)


@register("layer")
class Lambda(Layer):
    """Calls a function on its input.

    Weights that the function uses are not the layer's: write a :class:`Layer` for those.

    Args:
        function: takes the input (or the list of inputs); handed ``mask`` and ``training`` too when
            it has arguments of these names.
        output_shape: the shape of one sample of the output, or a function from the input's whole
            shape to the output's; found by running the function unless given.
        mask: the output's mask, or a function ``(inputs, mask) -> mask``; none unless given.
        arguments: further arguments of the function, by name.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, …)`` or a list of inputs, output as the function gives.

    Raises:
        TypeError: when ``function`` is not callable, or ``output_shape`` is neither shape nor
            function.
    """

    config_without = ("function", "output_shape", "mask", "arguments")

    def __init__(
        self,
        function: Callable,
        output_shape: Sequence[int | None] | Callable | None = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not callable(function):
            raise TypeError(f"Lambda: function must be callable; received {function!r}.")
        if not (output_shape is None or callable(output_shape) or tree.is_nested(output_shape)):
            raise TypeError(
                "Lambda: output_shape must be the shape of one sample, such as (10,), or a "
                f"function of the input's shape; received {output_shape!r}."
            )
        self.function = function
        self._output_shape = output_shape
        self.mask = mask
        self.supports_masking = mask is not None
        self.arguments = dict(arguments or {})
        names = _argument_names(function)
        self._takes_mask = "mask" in names
        self._takes_training = "training" in names
        if mask is not None or self._takes_mask:
            masks.use()

    @phase.follows_phase
    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Call the function.

        Raises:
            ValueError: (or a TypeError, a RuntimeError) when the function fails, with the layer's
                name, the function's and the shapes of the inputs.
        """
        arguments = dict(self.arguments)
        if self._takes_mask:
            arguments["mask"] = mask
        if self._takes_training:
            arguments["training"] = training
        try:
            return self.function(inputs, **arguments)
        except Exception as error:
            if type(error).__module__ != "builtins":
                raise
            kind = next((kind for kind in _KINDS if isinstance(error, kind)), ValueError)
            raise kind(self._failure(error, inputs)) from error

    def _failure(self, error: Exception, inputs: Any) -> str:
        """Say which function failed, where it is written, and on what."""
        code = getattr(self.function, "__code__", None)
        name = getattr(self.function, "__name__", type(self.function).__name__)
        place = f" ({code.co_filename}, line {code.co_firstlineno})" if code else ""
        shapes = tree.map_structure(
            lambda x: tuple(x.shape) if hasattr(x, "shape") else type(x).__name__, inputs
        )
        return (
            f"Layer {self.name!r}: its function {name}{place} failed on inputs of shape {shapes}: "
            f"{type(error).__name__}: {error}"
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the output's shape: as given, or found by running the function.

        Raises:
            ValueError: when it was not given and the function fails.
        """
        if self._output_shape is None:
            with self._hinting(input_shape):
                return super().compute_output_shape(input_shape)
        if callable(self._output_shape):
            return as_shapes(self._output_shape(input_shape))
        batch_size = next(tree.leaves(input_shape))
        return map_shapes(lambda shape: (batch_size, *shape), self._output_shape)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return shape and dtype of the outputs for symbolic inputs.

        Args:
            args: the inputs first.
            kwargs: ``mask`` and ``training``.

        Raises:
            ValueError: when the shape was not given and the function fails.
        """
        with self._hinting(tree.map_structure(lambda x: getattr(x, "shape", None), args[0])):
            return super().compute_output_spec(*args, **kwargs)

    def _has_closed_form(self) -> bool:
        return self._output_shape is not None

    @contextlib.contextmanager
    def _hinting(self, input_shape: Any) -> Iterator[None]:
        """Say what helps where running the function on small tensors fails."""
        try:
            yield
        except (RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"The output's shape of layer {self.name!r} for inputs of shape {input_shape} "
                "cannot be found by running its function; mend it, or give output_shape=…. "
                f"{error}"
            ) from error

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask given, or what the function given as ``mask`` returns."""
        if callable(self.mask):
            return self.mask(inputs, mask)
        if isinstance(self.mask, (np.ndarray, list)):
            first = next(tree.leaves(inputs))
            return as_tensor(self.mask, device=getattr(first, "device", None))
        return self.mask

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again; a Python lambda as its bytecode."""
        config = {**super().get_config(), "function": values.write_function(self.function)}
        shape = self._output_shape
        if shape is not None:
            config["output_shape"] = values.write_function(shape) if callable(shape) else shape
        if self.mask is not None:
            is_function = callable(self.mask)
            write = values.write_function if is_function else values.write
            config["mask"] = write(self.mask)
        config["arguments"] = values.write(self.arguments)
        return config

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        custom_objects: dict[str, Any] | None = None,
        safe_mode: bool | None = None,
    ) -> Lambda:
        """Make a layer from what :meth:`get_config` returned.

        Args:
            config: the dictionary, of Keras 1 and 2 too.
            custom_objects: the user's functions by name.
            safe_mode: whether a Python lambda is refused; as in force unless given.

        Raises:
            ValueError: for a Python lambda in safe mode, or a function that nobody knows.
        """
        config = _of_keras_2(config) if "function_type" in config else dict(config)
        config["function"] = values.read_function(config["function"], custom_objects, safe_mode)
        for name in ("output_shape", "mask", "arguments"):
            if name in config:
                config[name] = values.read(config[name], custom_objects, safe_mode)
        if isinstance(config.get("output_shape"), list):  # as JSON writes a tuple
            config["output_shape"] = as_shapes(config["output_shape"])
        return cls(**config)

    # --------------------------------------------------------------------------------- pickles

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        for name in ("function", "_output_shape", "mask"):
            if _is_local(state.get(name)):
                state[name] = _ByValue(state[name])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        found = {
            name: item.function if isinstance(item, _ByValue) else item
            for name, item in state.items()
        }
        super().__setstate__(found)


def _of_keras_2(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config in Keras 3's form; Keras 1 and 2 wrote the kind of a function beside it."""
    beside = ("_type", "_module")
    found = {k: v for k, v in config.items() if k != "module" and not k.endswith(beside)}
    for name in ("function", "output_shape"):
        kind = config.get(f"{name}_type")
        if kind == "lambda":
            code = dict(zip(("code", "defaults", "closure"), found[name], strict=True))
            found[name] = {"class_name": "__lambda__", "config": code}
        elif kind == "function":
            found[name] = {"class_name": "function", "config": found[name]}
    return found


class _ByValue:
    """A function that pickle finds under no name: goes into the pickle as bytecode."""

    def __init__(self, function: types.FunctionType):
        self.function = function

    def __deepcopy__(self, memo: dict[int, Any]) -> _ByValue:
        return self

    def __reduce__(self) -> tuple:
        name = self.function.__qualname__
        return _load_by_value, (values.dump_code(self.function), self.function.__module__, name)


def _load_by_value(code: dict[str, Any], module: str, name: str) -> _ByValue:
    function = values.load_code(code, names=vars(importlib.import_module(module)))
    function.__qualname__ = name
    return _ByValue(function)


def _is_local(function: Any) -> bool:
    """Tell whether a function is a lambda, or written inside another function."""
    return isinstance(function, types.FunctionType) and "<" in function.__qualname__


def _argument_names(function: Callable) -> frozenset[str]:
    """Return the names of a function's arguments; none where it does not tell them."""
    if isinstance(function, torch.nn.Module):
        function = function.forward
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # of a built-in function
        return frozenset()
