"""Merge, by which Keras 1 joined several inputs or models."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any

import torch

from torchkeras import config as settings, registry
from torchkeras.layers import arguments as checks, masks, values
from torchkeras.layers.base import Layer
from torchkeras.layers.merging import Add, Average, Concatenate, Dot, Maximum, MergeLayer, Multiply
from torchkeras.layers.structures import as_shapes, is_shape
from torchkeras.registry import register

Shape = tuple[int | None, ...]

_MODES = {"sum": Add, "mul": Multiply, "ave": Average, "max": Maximum}


class _Cosine(Dot):
    """The dot product divided by the root of that of each input with itself, an axis more."""

    def _merge_function(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        first, second = inputs
        product = super()._merge_function
        lengths = torch.sqrt(product([first, first]) * product([second, second]))
        return (product(inputs) / lengths.clamp(min=settings.epsilon())).unsqueeze(1)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Return the shape of the dot product with an axis of 1 behind the batch."""
        batch, *rest = super().compute_output_shape(input_shape)
        return (batch, 1, *rest)


@register("layer")
class Merge(Layer):
    """Joins several inputs, or what several models make of theirs.

    Args:
        layers: models or layers, whose outputs are joined; the inputs themselves unless given. As
            the first layer of a ``Sequential``, the model takes the inputs of all of them.
        mode: ``'sum'``, ``'mul'``, ``'ave'``, ``'max'``, ``'concat'``, ``'dot'``, ``'cos'``, or a
            function of the list of tensors, handed ``mask`` too when it has such an argument.
        concat_axis: the axis of ``'concat'``.
        dot_axes: the axis of both in ``'dot'`` and ``'cos'``, or one for each.
        output_shape: with a function: the shape of one sample of the output, or a function of the
            inputs' shapes; found by running it unless given.
        output_mask: with a function: the output's mask, or a function of the inputs' masks.
        arguments: further arguments of the function, by name.
        node_indices: must be ``None``.
        tensor_indices: must be ``None``.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        inputs ``[(batch, …), …]``, output as ``mode`` says.

    Raises:
        ValueError: for another mode.
        TypeError: when ``layers`` holds anything else, or less than two.
    """

    config_without = (
        *("layers", "mode", "output_shape", "output_mask", "arguments"),
        *("node_indices", "tensor_indices"),
    )
    supports_masking = True

    def __init__(
        self,
        layers: Sequence[Layer] | None = None,
        mode: str | Callable = "sum",
        concat_axis: int = -1,
        dot_axes: int | Sequence[int] = -1,
        output_shape: Sequence[int | None] | Callable | None = None,
        output_mask: Any = None,
        arguments: dict[str, Any] | None = None,
        node_indices: Any = None,
        tensor_indices: Any = None,
        **kwargs: Any,
    ):
        checks.refuse("Merge", node_indices=node_indices, tensor_indices=tensor_indices)
        super().__init__(**kwargs)
        if layers is not None:
            is_list = isinstance(layers, (list, tuple)) and len(layers) > 1
            if not is_list or not all(isinstance(layer, Layer) for layer in layers):
                raise TypeError(
                    f"Merge takes a list of two or more models or layers; received {layers!r}. "
                    "Tensors are merged by merge([a, b], mode=…)."
                )
        self.layers = list(layers or ())
        self.mode = mode
        self.concat_axis = concat_axis
        self.dot_axes = dot_axes
        self._output_shape = output_shape
        self._output_mask = output_mask
        self.arguments = dict(arguments or {})
        self._takes_mask = callable(mode) and "mask" in inspect.signature(mode).parameters
        if output_mask is not None or self._takes_mask:
            masks.use()
        if not callable(mode):
            self.__dict__["_merging"] = self._layer_of(mode)

    def _layer_of(self, mode: str) -> MergeLayer:
        """Return the layer that merges as a mode says."""
        name = f"{self.name}_{mode}"
        if mode in _MODES:
            return _MODES[mode](name=name)
        if mode == "concat":
            return Concatenate(self.concat_axis, name=name)
        if mode in ("dot", "cos"):
            return (Dot if mode == "dot" else _Cosine)(self.dot_axes, name=name)
        known = ", ".join(map(repr, (*_MODES, "concat", "dot", "cos")))
        raise ValueError(f"Merge: mode must be a function or one of {known}; received {mode!r}.")

    # --------------------------------------------------------------------------- the branches

    def _branches(self, inputs: Any) -> Iterator[tuple[Layer, Any]]:
        """Yield the models, each once, and of a flat list of inputs or shapes those of each."""
        given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        counts = {layer: _count(layer) for layer in self.layers}
        if len(given) != sum(counts.values()):
            raise ValueError(
                f"Layer {self.name!r} takes {sum(counts.values())} inputs, those of the models "
                f"that it merges; received {len(given)}."
            )
        for layer, count in counts.items():
            part, given = given[:count], given[count:]
            yield layer, part if count > 1 else part[0]

    def _of_branches(self, function: Callable, inputs: Any) -> list[Any]:
        """Return what a function makes of each model and its inputs, in the order of ``layers``."""
        inputs = [tuple(inputs)] if is_shape(inputs) else inputs
        found = {layer: function(layer, part) for layer, part in self._branches(inputs)}
        return [found[layer] for layer in self.layers]

    @property
    def first_shapes(self) -> list[Shape] | None:
        """The inputs' shapes, the batch in front, where the models know them; else ``None``."""
        found: list[Shape] = []
        for layer in dict.fromkeys(self.layers):
            inner = _first_merge(layer)
            if inner is not None and inner.first_shapes:
                found += inner.first_shapes
            elif inner is None and getattr(layer, "inputs", None) and layer.built:
                found += [tensor.shape for tensor in layer.inputs]
            else:
                return None
        return found or None

    def build(self, input_shape: Any) -> None:
        """Build the models, and check that their outputs fit together."""

        def build(layer: Layer, shape: Any) -> None:
            if not layer.built:
                layer.build(shape)

        if self.layers:
            self._of_branches(build, input_shape)
        if not callable(self.mode):
            self._merging.build(self._shapes(input_shape))

    def _shapes(self, input_shape: Any) -> Any:
        """Return the shapes that are merged."""
        if not self.layers:
            return input_shape
        return self._of_branches(lambda layer, s: layer.compute_output_shape(s), input_shape)

    # ------------------------------------------------------------------------------- merging

    def call(self, inputs: Any, mask: Any = None) -> torch.Tensor:
        """Merge.

        Args:
            inputs: the tensors, or the inputs of the models.
            mask: a mask for each tensor that is merged, or ``None``.
        """
        if not self.layers:
            return self._merge(inputs, mask)
        outputs = self._of_branches(lambda layer, part: layer(part), inputs)
        mask = masks.mask_of(outputs)
        merged = self._merge(outputs, mask)
        merged_mask = self._merge_masks(outputs, mask)
        if merged_mask is not None:
            merged._keras_mask = merged_mask
        return merged

    def _merge(self, inputs: Sequence[torch.Tensor], mask: Any) -> torch.Tensor:
        if not callable(self.mode):
            return self._merging.call(inputs)
        return self.mode(inputs, **self.arguments, **({"mask": mask} if self._takes_mask else {}))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the output: true where all inputs' are that have one."""
        return None if self.layers else self._merge_masks(inputs, mask)

    def _merge_masks(self, inputs: Sequence[Any], mask: Any) -> Any:
        if mask is None or all(one is None for one in mask):
            return None
        if callable(self.mode):
            return self._output_mask(mask) if callable(self._output_mask) else self._output_mask
        if self.mode == "concat":
            return self._merging.compute_mask(inputs, mask)
        if self.mode in ("dot", "cos"):
            return None
        return reduce(torch.logical_and, (one for one in mask if one is not None))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the output's shape: by the mode, as given, or found by running the function."""
        shapes = self._shapes(input_shape)
        if not callable(self.mode):
            return self._merging.compute_output_shape(shapes)
        if callable(self._output_shape):
            return as_shapes(self._output_shape(shapes))
        if self._output_shape is not None:
            return (shapes[0][0], *self._output_shape)
        return super().compute_output_shape(input_shape)

    def _has_closed_form(self) -> bool:
        return not callable(self.mode) or self._output_shape is not None

    # -------------------------------------------------------------------------------- config

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again; a Python lambda as its bytecode."""
        written = {
            "mode": self.mode,
            "output_shape": self._output_shape,
            "output_mask": self._output_mask,
            "arguments": self.arguments,
        }
        layers = [registry.serialize(layer) for layer in self.layers] or None
        return {**super().get_config(), **values.write(written), "layers": layers}

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        custom_objects: dict[str, Any] | None = None,
        safe_mode: bool | None = None,
    ) -> Merge:
        """Make a layer from what :meth:`get_config` returned.

        Args:
            config: the dictionary, of Keras 1 too.
            custom_objects: the user's functions and layers by name.
            safe_mode: whether a Python lambda is refused; as in force unless given.

        Raises:
            ValueError: for a Python lambda in safe mode, or a function that nobody knows.
        """
        found = {key: item for key, item in config.items() if not key.endswith("_type")}
        for name in ("mode", "output_shape", "output_mask"):
            kind = config.get(f"{name}_type", "raw")  # beside a function, in Keras 1
            if kind == "lambda":
                code = dict(zip(("code", "defaults", "closure"), found[name], strict=True))
                found[name] = {"class_name": "__lambda__", "config": code}
            elif kind == "function":
                found[name] = {"class_name": "function", "config": found[name]}
            found[name] = values.read(found.get(name), custom_objects, safe_mode)
        found["arguments"] = values.read(found.get("arguments"), custom_objects, safe_mode)
        if found.get("layers"):
            found["layers"] = _layers_of(found["layers"], custom_objects)
        return cls(**found)


def _layers_of(configs: Sequence[Any], custom_objects: dict[str, Any] | None) -> list[Layer]:
    """Make the models of a config, one that stands there twice once."""
    made: dict[str, Layer] = {}
    found = []
    for one in configs:
        key = repr(one)
        if key not in made:
            made[key] = registry.deserialize("layer", one, custom_objects)
        found.append(made[key])
    return found


def _first_merge(layer: Layer) -> Merge | None:
    """Return the Merge of several models that a layer is, or a ``Sequential`` begins with."""
    inside = getattr(layer, "layers", ()) if layer._is_model else ()
    first = inside[0] if inside and not _has_inputs(layer) else layer
    return first if isinstance(first, Merge) and first.layers else None


def _has_inputs(model: Layer) -> bool:
    try:
        return bool(model.inputs)
    except AttributeError:  # of one that begins with several models
        return False


def _count(layer: Layer) -> int:
    """Return how many inputs a model or a layer takes."""
    inner = _first_merge(layer)
    if inner is not None:
        return sum(_count(one) for one in dict.fromkeys(inner.layers))
    return len(layer.inputs) if layer._is_model and _has_inputs(layer) else 1


def merge(
    inputs: Sequence[Any],
    mode: str | Callable = "sum",
    concat_axis: int = -1,
    dot_axes: int | Sequence[int] = -1,
    output_shape: Any = None,
    output_mask: Any = None,
    arguments: dict[str, Any] | None = None,
    name: str | None = None,
) -> Any:
    """Join tensors: :class:`Merge`, made and called.

    Args:
        inputs: the tensors, two or more.
        mode: as of :class:`Merge`, like the others.
        concat_axis: the axis of ``'concat'``.
        dot_axes: the axes of ``'dot'`` and ``'cos'``.
        output_shape: with a function.
        output_mask: with a function.
        arguments: with a function.
        name: of the layer.
    """
    layer = Merge(
        mode=mode,
        concat_axis=concat_axis,
        dot_axes=dot_axes,
        output_shape=output_shape,
        output_mask=output_mask,
        arguments=arguments,
        name=name,
    )
    return layer(list(inputs))
