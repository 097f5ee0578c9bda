"""Models made of others: copies with weights of their own, and what a config describes."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from torchkeras import eras, registry, tree, trust
from torchkeras.graph import KerasTensor, Node, TorchCall
from torchkeras.layers import Input, InputLayer, Layer
from torchkeras.models.compilation import compile_like
from torchkeras.models.functional import Functional
from torchkeras.models.model import Model, is_made_of_graph
from torchkeras.models.sequential import Sequential


def clone_model(
    model: Model,
    input_tensors: Any = None,
    clone_function: Callable[[Layer], Layer] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Model:
    """Return a model of the same architecture with new layers, and so new weights.

    A compiled model's copy is compiled likewise, with an optimizer of its own. A ``Sequential``
    gives a ``Sequential``; a model of symbolic tensors its class where the constructor takes
    ``(inputs, outputs)``, else a ``Functional``; any other model is made from its config.

    Args:
        model: the model.
        input_tensors: symbolic tensors to build the copy upon, in the structure of the model's
            inputs; new inputs of the same shapes unless given.
        clone_function: takes a layer and returns the one for the copy, the same if it likes; made
            from its config unless given. It is not asked for inputs and torch functions.
        call_function: takes a layer of the copy and the arguments of its call, and returns the
            outputs; the call itself unless given. Only for models of symbolic tensors.
        recursive: whether nested models are copied by this function too, with the same functions.

    Raises:
        ValueError: for functions or tensors that a model of this kind cannot honour, or tensors
            that are not symbolic or not in the structure of the model's inputs.
    """
    if not isinstance(model, Model):
        raise ValueError(
            f"clone_model takes a model; received {model!r} of type {type(model).__name__}."
        )
    # Code in the configs is that of this process.
    with trust.safe_mode(False):
        return _Cloning(clone_function, call_function, recursive).of(model, input_tensors)


class _Cloning:
    """One run of :func:`clone_model`, with what nested models share.

    Args:
        clone_function: as there.
        call_function: as there.
        recursive: as there.
    """

    def __init__(
        self,
        clone_function: Callable | None,
        call_function: Callable | None,
        recursive: bool,
    ):
        for name, given in (("clone_function", clone_function), ("call_function", call_function)):
            if given is not None and not callable(given):
                raise ValueError(f"clone_model: {name} must be callable; received {given!r}.")
        self._clone_function = clone_function
        self._call_function = call_function
        self._recursive = recursive
        self._made: dict[Layer, Layer] = {}

    def of(self, model: Model, input_tensors: Any = None) -> Model:
        """Return the copy of a model."""
        if isinstance(model, Sequential):
            if self._call_function is not None:
                raise ValueError(
                    f"clone_model: {model.name!r} is a Sequential, whose layers are called one "
                    "after another; call_function is for models of symbolic tensors."
                )
            made: Model = self._of_sequential(model, input_tensors)
        elif model._graph is not None:
            made = self._of_graph(model, input_tensors)
        else:
            return self._of_config(model, input_tensors)
        compile_like(made, model)
        return made

    def _layer(self, layer: Layer) -> Layer:
        """Return the copy of a layer, one however often it is called."""
        if layer not in self._made:
            self._made[layer] = self._new_layer(layer)
        return self._made[layer]

    def _new_layer(self, layer: Layer) -> Layer:
        if self._recursive and isinstance(layer, Sequential):
            made = self._of_sequential(layer)
            compile_like(made, layer)
            return made
        if self._recursive and getattr(layer, "_graph", None) is not None:
            return self.of(layer)
        if self._clone_function is None:
            with registry.custom_object_scope(_users_own(layer)):
                return type(layer).from_config(layer.get_config())
        made = self._clone_function(layer)
        if not isinstance(made, Layer):
            raise ValueError(
                f"clone_model: clone_function must return a layer; for {layer.name!r} it returned "
                f"{made!r} of type {type(made).__name__}."
            )
        return made

    # ------------------------------------------------------------------------------ Sequential

    def _of_sequential(self, model: Sequential, input_tensors: Any = None) -> Sequential:
        layers: list[Any] = [self._layer(layer) for layer in model.layers]
        entry = model._input_layer
        if input_tensors is not None:
            given = tree.flatten(input_tensors)
            if len(given) != 1:
                raise ValueError(
                    f"clone_model: {model.name!r} is a Sequential and takes one input; received "
                    f"{len(given)} input_tensors."
                )
            _check_symbolic(given)
            layers.insert(0, _input_like(given[0], entry and entry.name))
        elif entry is not None:
            layers.insert(
                0, Input(batch_shape=entry.batch_shape, dtype=entry.input_dtype, name=entry.name)
            )
        return Sequential(layers, name=model.name, trainable=model.trainable)

    # --------------------------------------------------------------------------------- graphs

    def _of_graph(self, model: Model, input_tensors: Any) -> Model:
        inputs = _inputs_for(model, input_tensors)
        tensors: dict[tuple[Node, int], KerasTensor] = {
            (old._node, old._index): new
            for old, new in zip(model.inputs, tree.flatten(inputs), strict=True)
        }

        def stand_in(leaf: Any) -> Any:
            return tensors[leaf._node, leaf._index] if isinstance(leaf, KerasTensor) else leaf

        for node in model._graph.nodes:
            if (node, 0) in tensors:
                continue
            args = tree.map_structure(stand_in, node.args)
            kwargs = tree.map_structure(stand_in, node.kwargs)
            outputs = tree.flatten(self._call(node.operation, args, kwargs))
            if len(outputs) != len(node.specs):
                raise ValueError(
                    f"clone_model: the copy of {node.operation.name!r} gives {len(outputs)} "
                    f"outputs; the layer gives {len(node.specs)}."
                )
            tensors.update(((node, index), output) for index, output in enumerate(outputs))
        cls = type(model) if is_made_of_graph(type(model)) else Functional
        made = cls(inputs, tree.map_structure(stand_in, model.output), name=model.name)
        if model._symbolic_losses:
            made.add_loss([stand_in(loss) for loss in model._symbolic_losses])
        for name, value in model._symbolic_metrics:
            made.add_metric(stand_in(value), name)
        return made

    def _call(self, operation: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        if isinstance(operation, TorchCall):
            call: Any = _Again(operation)
        else:
            call = self._layer(operation)
        if self._call_function is None:
            return call(*args, **kwargs)
        return self._call_function(call, *args, **kwargs)

    # -------------------------------------------------------------------------- other models

    def _of_config(self, model: Model, input_tensors: Any) -> Model:
        given = {
            "clone_function": self._clone_function,
            "call_function": self._call_function,
            "input_tensors": input_tensors,
        }
        for name, item in given.items():
            if item is not None:
                raise ValueError(
                    f"clone_model: {name} is for Sequential models and models of symbolic "
                    f"tensors; {model.name!r} is a {type(model).__name__}, whose call() nobody "
                    "else can write again."
                )
        config = registry.serialize(model)
        return registry.deserialize("layer", config, _users_own(model))


def _users_own(model: Layer) -> dict[str, Any]:
    """Return the user's classes and functions in a layer by name, but for names of two things."""
    found: dict[str, list[Any]] = {}
    for module in model.modules():
        own = [type(module)] if isinstance(module, Layer) else []
        own += [item for item in vars(module).values() if inspect.isroutine(item)]
        for thing in own:
            if not registry.is_builtin(thing) and hasattr(thing, "__name__"):
                found.setdefault(thing.__name__, []).append(thing)
    return {name: things[0] for name, things in found.items() if len(set(things)) == 1}


class _Again:
    """A torch function of a graph, in the copy: called, it is noted under its name.

    Args:
        operation: of the graph.

    Attributes:
        name: the operation's.
    """

    def __init__(self, operation: TorchCall):
        self.name = operation.name
        self._function = operation.function
        self._settings = operation.settings

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Note the call."""
        return TorchCall(self._function, self.name, self._settings).on(*args, **kwargs)


def _check_symbolic(tensors: list[Any]) -> None:
    for tensor in tensors:
        if not isinstance(tensor, KerasTensor):
            raise ValueError(
                "clone_model: input_tensors must be symbolic tensors, as Input(…) gives them; "
                f"received {tensor!r} of type {type(tensor).__name__}."
            )


def _input_like(tensor: KerasTensor, name: str | None) -> KerasTensor:
    """Return a tensor that is an input; for one in the middle of a graph, a new input."""
    if isinstance(tensor.source, InputLayer):
        return tensor
    return Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)


def _inputs_for(model: Model, input_tensors: Any) -> Any:
    """Return symbolic inputs in the structure of a model's: those given, or new ones."""
    if input_tensors is None:
        return tree.map_structure(
            lambda old: Input(batch_shape=old.shape, dtype=old.dtype, name=old.source.name),
            model.input,
        )
    given = tree.flatten(input_tensors)
    _check_symbolic(given)
    if len(given) != len(model.inputs):
        raise ValueError(
            f"clone_model: {model.name!r} takes {len(model.inputs)} inputs, "
            f"{model.input_names}; received {len(given)} input_tensors."
        )
    return tree.pack_like(model.input, given)


# ----------------------------------------------------------------------------------- from configs


def model_from_config(
    config: Mapping[str, Any], custom_objects: dict[str, Any] | None = None
) -> Model:
    """Make a model from the dictionary that says its class and config.

    Args:
        config: what ``json.loads(model.to_json())`` gives, of Keras 1, 2 or 3. Where it says which
            version of Keras wrote it, that version's defaults hold for what it does not say.
        custom_objects: name -> class or function of the user's own.

    Returns:
        The model with new weights; compiled where the config says how.

    Raises:
        TypeError: when the config is no dictionary.
        ValueError: for a config that names what nobody knows, or brings Python code along in safe
            mode.
    """
    if not isinstance(config, Mapping):
        raise TypeError(
            f"model_from_config takes a dictionary; received {type(config).__name__}. A list of "
            "layers is what Sequential.from_config(config) takes."
        )
    version = config.get("keras_version")
    with eras.using(version) if version else contextlib.nullcontext():
        return registry.deserialize("layer", dict(config), custom_objects)


def model_from_json(json_string: str, custom_objects: dict[str, Any] | None = None) -> Model:
    """Make a model from what ``model.to_json()`` returned, of Keras 1, 2 or 3.

    Args:
        json_string: the text.
        custom_objects: name -> class or function of the user's own.

    Returns:
        The model with new weights; compiled where the text says how.

    Raises:
        ValueError: for a text that is no JSON, and as :func:`model_from_config`.
    """
    try:
        config = json.loads(json_string)
    except json.JSONDecodeError as error:
        raise ValueError(
            "model_from_json takes the text that model.to_json() returned, not a file's name; "
            f"received {json_string[:60]!r}, which is no JSON: {error}"
        ) from error
    return model_from_config(config, custom_objects)
