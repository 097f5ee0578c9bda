"""The configs of graphs, as Keras 3 writes them, and models made of such configs."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from torchkeras import dtypes, registry, tree
from torchkeras.graph import Graph, KerasTensor, Node, TorchCall
from torchkeras.layers import values

_SLICE = ("start", "stop", "step")


def config_of(model: Any) -> dict[str, Any]:
    """Return the config of a model made of symbolic tensors.

    Args:
        model: has a graph.

    Returns:
        The model's name, its layers with the calls of each, and where inputs and outputs are.
    """
    own = model._graph

    def place(tensor: KerasTensor) -> list[Any]:
        # At the ends of a model Keras counts the calls of a functional one from 1.
        call = own.number_of(tensor._node) + _has_graph(tensor.source)
        return [tensor.source.name, call, tensor._index]

    def arguments(node: Node) -> list[Any]:
        args = list(node.args)
        if _is_index(node.operation) and isinstance(args[1], list):
            args[1] = np.array(args[1])  # a list of its own would be read as an index of axes
        return _encoded(args, own)

    layers = []
    for operation in own.operations:
        is_call = isinstance(operation, TorchCall)
        described = operation.serialize() if is_call else registry.serialize(operation)
        calls = [
            {
                "args": arguments(node),
                "kwargs": _encoded(_filled(node), own),
            }
            for node in own.calls_of(operation)
            if node.parents
        ]
        layers.append({**described, "name": operation.name, "inbound_nodes": calls})
    return {
        "name": model.name,
        "trainable": model.trainable,
        "layers": layers,
        "input_layers": tree.map_structure(place, own.inputs),
        "output_layers": tree.map_structure(place, model.output),
    }


def _is_index(operation: Any) -> bool:
    return isinstance(operation, TorchCall) and operation.function is operator.getitem


def _encoded(part: Any, own: Graph) -> Any:
    """Return a config's form of a call's arguments."""
    if isinstance(part, KerasTensor):
        call = own.number_of(part._node)
        place = [part.source.name, call, part._index]
        config = {"shape": part.shape, "dtype": part.dtype, "keras_history": place}
        return {"class_name": "__keras_tensor__", "config": config}
    if isinstance(part, (list, tuple)):
        return [_encoded(item, own) for item in part]
    if isinstance(part, Mapping):
        return {name: _encoded(item, own) for name, item in part.items()}
    if isinstance(part, slice):
        ends = {name: _encoded(getattr(part, name), own) for name in _SLICE}
        return {"class_name": "__slice__", "config": ends}
    if part is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(part, (torch.Tensor, np.ndarray)):
        # An array without axes stays one: a number would not decide the dtype of what comes out.
        is_number = isinstance(part, np.ndarray) and not part.ndim
        return values.write_array(part) if is_number else values.write(part)
    if isinstance(part, torch.dtype):
        return {"class_name": "__torch_dtype__", "config": {"name": dtypes.name_of(part)}}
    if inspect.isfunction(part):  # what ops.map calls, for one
        return values.write_function(part)
    return registry.serialize_value(part)


# What Keras' own layers are given where a call says nothing: a mask of nothing, or inference.
_FILLED_MASKS = frozenset({"BatchNormalization", "Functional", "Lambda", "Sequential"})
_FILLED_PHASES = frozenset({"Dropout"})


def _filled(node: Node) -> dict[str, Any]:
    """Return a call's keyword arguments, with those that Keras fills in."""
    operation = node.operation
    if isinstance(operation, TorchCall):
        return node.kwargs
    added: dict[str, Any] = {}
    phase = _default_phase(operation)
    if phase is not None:
        added["training"] = phase
    if len(node.args) == 1 and _fills_mask(operation, node.args[0]):
        added["mask"] = tree.map_structure(lambda leaf: None, node.args[0])
    return {**added, **node.kwargs}


def _fills_mask(operation: Any, inputs: Any) -> bool:
    if registry.is_builtin(type(operation)):
        return type(operation).__name__ in _FILLED_MASKS and not _takes_list(operation, inputs)
    return "mask" in operation._call_arguments


def _takes_list(operation: Any, inputs: Any) -> bool:
    """Tell whether a Lambda is called on a list, whose masks Keras leaves out."""
    return type(operation).__name__ == "Lambda" and tree.is_nested(inputs)


def _default_phase(operation: Any) -> bool | None:
    """Return what a layer's ``call`` says about training where nobody else does."""
    if registry.is_builtin(type(operation)):
        return False if type(operation).__name__ in _FILLED_PHASES else None
    parameter = inspect.signature(operation.call).parameters.get("training")
    default = None if parameter is None else parameter.default
    return default if isinstance(default, bool) else None


def _has_graph(operation: Any) -> bool:
    return getattr(operation, "_graph", None) is not None


def model_of(cls: type, config: dict[str, Any]) -> Any:
    """Make a model from the config of a graph, of Keras 1 and 2 too.

    Args:
        cls: the class of the model.
        config: what :func:`config_of` returned, or Keras.

    Raises:
        ValueError: for a config whose calls lead nowhere.
    """
    known = ("layers", "input_layers", "output_layers")
    missing = [key for key in known if key not in config]
    if missing:
        raise ValueError(
            f"A model's config needs the key {missing[0]!r}; received the keys {sorted(config)}."
        )
    rest = {key: value for key, value in config.items() if key not in known}
    made: dict[str, Any] = {}
    calls: dict[str, list[Any]] = {}
    # The symbolic outputs of each layer's calls, held here: a layer holds them weakly.
    results: dict[str, list[list[KerasTensor]]] = {}
    for described in config["layers"]:
        name = described.get("name") or described["config"]["name"]
        made[name] = TorchCall.deserialize(described) or registry.deserialize("layer", described)
        calls[name] = list(described.get("inbound_nodes", ()))
        results[name] = [[made[name].output]] if not calls[name] else []

    def tensor_at(name: str, call: int, index: int) -> KerasTensor:
        if name not in made:
            raise ValueError(f"The config's layer {name!r} is used, but not among its layers.")
        return results[name][call][index]

    starts = _first_numbers(config, made)

    def old_tensor_at(name: str, call: int, index: int) -> KerasTensor:
        return tensor_at(name, call - starts.get(name, 0), index)

    waiting = [name for name in calls if calls[name]]
    while waiting:
        before = sum(map(len, results.values()))
        for name in waiting:
            for call in calls[name][len(results[name]) :]:
                try:
                    args, kwargs = _decoded_call(call, tensor_at, old_tensor_at)
                except _NotYet:
                    break
                results[name].append(tree.flatten(_called(made[name], args, kwargs)))
        waiting = [name for name in waiting if len(results[name]) < len(calls[name])]
        if waiting and sum(map(len, results.values())) == before:
            raise ValueError(
                f"The config's graph has loops or ends: the calls of {waiting} need what no other "
                "call gives."
            )

    def end(place: Any) -> Any:
        if _is_place(place):
            name, call, index = place
            return old_tensor_at(name, call, index)
        if isinstance(place, Mapping):
            return {key: end(item) for key, item in place.items()}
        return type(place)(end(item) for item in place)

    inputs, outputs = end(config["input_layers"]), end(config["output_layers"])
    return cls(inputs=inputs, outputs=outputs, **rest)


def _first_numbers(config: dict[str, Any], made: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of a model's first call where it is 1, not 0, at a model's ends.

    Keras 3 counts a functional model's calls from 1 there. Keras 1 and 2 count any model's from 1
    that knew its input before it was called, in the calls of layers too.
    """
    places = [place for layer in config["layers"] for place in _places(layer.get("inbound_nodes"))]
    if not places:
        return {name: 1 for name, layer in made.items() if _has_graph(layer)}
    places += _places([config["output_layers"]])
    from_0 = {name for name, call, *_ in places if call == 0}
    models = {name for name, layer in made.items() if getattr(layer, "_is_model", False)}
    return dict.fromkeys(models - from_0, 1)


def _places(part: Any) -> list[Any]:
    """Return the places in lists of Keras 1 and 2: name, number of the call, of the output, …"""
    if not isinstance(part, (list, tuple)):
        return []
    if _is_place(part[:3]):
        return [part]
    return [place for item in part for place in _places(item)]


class _NotYet(Exception):
    """A call needs the output of one that was not made yet."""


def _is_place(thing: Any) -> bool:
    return isinstance(thing, (list, tuple)) and len(thing) == 3 and isinstance(thing[0], str)


def _called(operation: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if isinstance(operation, TorchCall):
        if _is_index(operation) and isinstance(args[1], list):
            args[1] = tuple(args[1])  # JSON has no tuples
        return operation.on(*args, **kwargs)
    # What says nothing is left out, or it would hold where a mask or a phase comes along later.
    if all(leaf is None for leaf in tree.leaves(kwargs.get("mask"))):
        kwargs.pop("mask", None)
    if kwargs.get("training") == _default_phase(operation):
        kwargs.pop("training", None)
    return operation(*args, **kwargs)


def _decoded_call(
    call: Any, tensor_at: Callable, old_tensor_at: Callable
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a call: Keras 3's dictionary, or Keras 1's and 2's list of places."""
    if isinstance(call, Mapping):
        kwargs = {name: _decoded(item, tensor_at) for name, item in call["kwargs"].items()}
        return [_decoded(item, tensor_at) for item in call["args"]], kwargs
    if _is_place(call[:3]):
        call = [call]
    kwargs = {}
    tensors = []
    for place in call:
        tensors.append(_find(place[:3], old_tensor_at))
        kwargs.update(place[3] if len(place) > 3 else {})
    return [tensors[0] if len(tensors) == 1 else tensors], kwargs


def _find(place: Any, tensor_at: Callable) -> KerasTensor:
    try:
        return tensor_at(*place)
    except IndexError:
        raise _NotYet from None


def _decoded(part: Any, tensor_at: Callable) -> Any:
    if isinstance(part, (list, tuple)):
        found = [_decoded(item, tensor_at) for item in part]
        # JSON has no tuples; an index of several axes was one.
        is_index = any(isinstance(item, slice) or item is Ellipsis for item in found)
        return tuple(found) if is_index or isinstance(part, tuple) else found
    if not isinstance(part, Mapping):
        return part
    kind, config = part.get("class_name"), part.get("config", {})
    if kind == "__keras_tensor__":
        return _find(config["keras_history"], tensor_at)
    if kind == "__slice__":
        return slice(*(_decoded(config[name], tensor_at) for name in _SLICE))
    if kind == "__ellipsis__":
        return Ellipsis
    if kind == "__torch_dtype__":
        return dtypes.to_torch(config["name"])
    if kind in ("function", "__lambda__"):
        return values.read_function(part)
    if kind == "SeedGenerator":
        return registry.deserialize("seed_generator", part)
    if kind in ("__tensor__", "__numpy__"):
        return values.read(part)
    return {name: _decoded(item, tensor_at) for name, item in part.items()}
