"""Sequential: layers one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from torchkeras import dtypes, registry, tree
from torchkeras.graph import Graph, KerasTensor
from torchkeras.layers import InputLayer, Layer, TorchModuleWrapper
from torchkeras.layers.spec import shape_of_rank
from torchkeras.layers.structures import is_shape
from torchkeras.models.model import Model
from torchkeras.variable import Weight


@registry.register("layer", module="keras")
class Sequential(Model):
    """Layers one after another, each with one input and one output.

    It is built as soon as the shape of its input is known: from an :func:`Input`, from the first
    layer's ``input_shape``, ``input_dim`` or ``batch_input_shape``, by ``build``, or at the first
    call or ``fit``.

    Args:
        layers: layers, :func:`Input`, models or torch modules.
        trainable: whether training moves the weights.
        name: the model's name.
        kwargs: the other arguments of :class:`Layer`.
    """

    config_without = ("layers", "trainable", "name")

    def __init__(
        self,
        layers: Sequence[Layer | nn.Module | KerasTensor] | None = None,
        trainable: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        # The keys in `_modules` of the layers that run, "0", "1", …; attributes may add others.
        self._keys: tuple[str, ...] = ()
        self._input_layer: InputLayer | None = None
        # The symbolic input, and what comes out of each layer, while the model is built.
        self._chain: tuple[KerasTensor, ...] = ()
        # What runs from the one to the other, for inputs of the declared dtype.
        self._plan: Graph | None = None
        self.__dict__["_planned"] = []
        self._entry_dtype: torch.dtype | None = None
        if layers is not None and not isinstance(layers, (list, tuple)):
            layers = [layers]
        for layer in layers or ():
            self._append(layer)
        self._build_if_known()
        if not trainable:
            self.trainable = False

    # ------------------------------------------------------------------------------ the layers

    @property
    def layers(self) -> list[Layer]:
        """The layers in order, without the input."""
        return [self._modules[key] for key in self._keys]

    def _sublayers(self) -> list[Layer]:
        # As in Keras, a layer that is an attribute only is not part of the model.
        return list(dict.fromkeys(self.layers))

    def _own_rows(self) -> list[Weight]:
        return []

    def add(self, layer: Layer | nn.Module | KerasTensor) -> None:
        """Put a layer at the end.

        Args:
            layer: a layer, a model, a torch module, or what :func:`Input` gives (first only).

        Raises:
            ValueError: for anything else, when another layer has the same name, or when the layer
                does not fit.
        """
        self._append(layer)
        try:
            self._build_if_known()
        except Exception:
            # A layer that does not fit is not left behind.
            self._drop_last()
            self._build_if_known()
            raise

    def pop(self) -> Layer:
        """Take the last layer away and return it.

        Raises:
            ValueError: when there is none.
        """
        if not self._keys:
            raise ValueError(f"pop: model {self.name!r} has no layers.")
        layer = self._drop_last()
        self._build_if_known()
        return layer

    def _append(self, layer: Any) -> None:
        if isinstance(layer, KerasTensor):
            layer = layer.source
        if isinstance(layer, type) and issubclass(layer, nn.Module):
            raise ValueError(
                f"Sequential takes layers; received the class {layer.__name__}: call it."
            )
        if isinstance(layer, nn.Module) and not isinstance(layer, Layer):
            layer = TorchModuleWrapper(layer)
        if not isinstance(layer, Layer):
            raise ValueError(
                f"Sequential takes layers, torch modules and Input(…); received {layer!r} of type "
                f"{type(layer).__name__}."
            )
        if isinstance(layer, InputLayer):
            if self._keys or self._input_layer is not None:
                raise ValueError(
                    f"Model {self.name!r} already begins with "
                    f"{'an Input' if self._input_layer else 'a layer'}: Input goes first, once."
                )
            self.__dict__["_input_layer"] = layer
            return
        if any(other.name == layer.name and other is not layer for other in self.layers):
            raise ValueError(
                f"Model {self.name!r} already has a layer named {layer.name!r}; names are unique. "
                "Give one of them another name=…."
            )
        if not self._keys and self._input_layer is None:
            self.__dict__["_input_layer"] = _input_of(layer)
        layer.train(self.training)
        # Numbered as in nn.Sequential: names would make equal models' state_dicts differ.
        key = str(len(self._keys))
        self._modules[key] = layer
        self._keys += (key,)
        self._unbuild()

    def _drop_last(self) -> Layer:
        layer = self._modules.pop(self._keys[-1])
        self._keys = self._keys[:-1]
        self._chain = self._chain[: len(self._keys) + 1]
        self._unbuild()
        return layer

    def _unbuild(self) -> None:
        self.built = False
        self.__dict__["_plan"] = None
        self._build_shape = None
        self.__dict__["_anchor"] = None
        if self._compiled is not None:
            self._compiled.forget_model()

    # ------------------------------------------------------------------------------- life-cycle

    def _build_if_known(self) -> None:
        if self._input_layer is not None and self._keys:
            self.build(self._input_layer.batch_shape)
        elif shapes := getattr(self.layers[0], "first_shapes", None) if self._keys else None:
            self.build(shapes)  # a Merge of models that know theirs

    def build(self, input_shape: Any = None) -> None:
        """Build every layer for an input shape.

        Args:
            input_shape: ``(batch, …)``, ``None`` where unknown; the ``Input``'s unless given.

        Raises:
            ValueError: when there are no layers, no shape, or a layer does not fit.
        """
        if not self._keys and self._input_layer is None:
            raise ValueError(f"Model {self.name!r} has no layers; call add(layer) first.")
        if input_shape is None:
            if self._input_layer is None:
                raise ValueError(f"Model {self.name!r} needs an input_shape to be built.")
            input_shape = self._input_layer.batch_shape
        if self._input_layer is None and tree.is_nested(input_shape) and not is_shape(input_shape):
            self._build_for_several(input_shape)
            return
        try:
            shape = tuple(input_shape)
        except TypeError:
            raise ValueError(
                f"Model {self.name!r}: input_shape must be a tuple (batch, …); received "
                f"{input_shape!r}."
            ) from None
        if self._input_layer is None:
            first = self.layers[0]
            shape = (None, *shape[1:])
            self.__dict__["_input_layer"] = InputLayer(batch_shape=shape, dtype=first.compute_dtype)
        else:
            _check_same(self.name, self._input_layer.batch_shape, shape)
            shape = self._input_layer.batch_shape
        self._connect()

    def _build_for_several(self, input_shape: Any) -> None:
        """Build the layers for the shapes of several inputs, which the first layer takes."""
        for layer in self.layers:
            if not layer.built:
                layer._scope = self.path
                layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def _connect(self) -> None:
        """Build the layers by calling each on the symbolic output of the one before."""
        self.__dict__["_plan"] = None
        self.__dict__["_entry_dtype"] = dtypes.to_torch(self._input_layer.input_dtype)
        if not self._chain:
            self._chain = (self._input_layer.output,)
        # Those that were connected before a layer was added stay so.
        for layer in self.layers[len(self._chain) - 1 :]:
            if not layer.built:
                layer._scope = self.path
            output = layer(self._chain[-1])
            if not isinstance(output, KerasTensor):
                raise TypeError(
                    f"Layer {layer.name!r} returned {type(output).__name__} where one tensor was "
                    "expected: in a Sequential model each layer has one output. Use "
                    "Model(inputs, outputs), or a Layer that returns the tensor alone."
                )
            self._chain += (output,)

    def __getstate__(self) -> dict[str, Any]:
        return {
            **super().__getstate__(),
            "_chain": len(self._chain) > 0,
            "_plan": None,
            "_planned": [],
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        is_built, self._chain = self._chain, ()
        if is_built:
            self._connect()

    def _complete_build(self, input_shape: Any) -> None:
        entry = self._input_layer
        super()._complete_build(input_shape if entry is None else entry.batch_shape)

    def forward(self, inputs: Any, training: bool | None = None, **kwargs: Any) -> torch.Tensor:
        """Run the layers on one input (named, so that ``torch.export`` can speak of it).

        Args:
            inputs: a tensor, an array, a frame, numbers, or a list of one of these.
            training: training or inference for this call; the module's own flag unless given.
            kwargs: what else ``call`` takes, in a subclass.
        """
        if isinstance(inputs, (list, tuple)) and len(inputs) == 1 and hasattr(inputs[0], "shape"):
            inputs = inputs[0]
        elif (
            self._input_layer is not None
            and isinstance(inputs, (list, tuple))
            and any(getattr(part, "ndim", 0) for part in inputs)
        ):
            raise ValueError(
                f"Model {self.name!r} takes one input; received a list of {len(inputs)} arrays."
            )
        return super().forward(inputs, training=training, **kwargs)

    def _cast(self, inputs: torch.Tensor) -> torch.Tensor:
        # Under a mixed policy the layers cast for themselves: the first may be a float32 one.
        if self.dtype_policy.is_mixed:
            is_float = inputs.dtype.is_floating_point
            return inputs.to(self.dtype_policy.torch_dtype) if is_float else inputs
        return super()._cast(inputs)

    def _prepare(self, inputs: Any) -> torch.Tensor:
        inputs = super()._prepare(inputs)
        if not isinstance(inputs, torch.Tensor) and self._input_layer is not None:
            raise TypeError(
                f"Model {self.name!r} takes one array or tensor; received {type(inputs).__name__}."
            )
        return inputs

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Run the layers one after another."""
        if self._input_layer is None:
            for layer in self.layers:
                inputs = layer(inputs)
            return inputs
        expected = self._input_layer.batch_shape
        if inputs.dim() != len(expected):
            inputs = inputs.reshape(shape_of_rank(inputs.shape, expected))
        modules = self._modules
        if self._chain and inputs.dtype is self._entry_dtype:
            if self._plan is None:
                self.__dict__["_plan"] = Graph(self._chain[0], self._chain[-1])
                self.__dict__["_planned"] = self.layers
            # Somebody may have put another module in a layer's place.
            if [modules[key] for key in self._keys] == self._planned:
                return self._plan(inputs)
        for key in self._keys:
            inputs = modules[key](inputs)
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the last layer's output shape for an input's."""
        shape = input_shape
        if self._input_layer is not None and self.built:
            expected = self._input_layer.batch_shape
            shape = shape_of_rank(tuple(input_shape), expected)
            if shape == expected:
                return self.output.shape
        for layer in self.layers:
            shape = layer.compute_output_shape(shape)
        return tuple(shape)

    # ------------------------------------------------------------------------------- what it is

    @property
    def input(self) -> KerasTensor:
        """The symbolic input.

        Raises:
            AttributeError: before the input's shape is known.
        """
        if self._input_layer is None:
            raise AttributeError(f"Model {self.name!r} is not built: its inputs are not known.")
        return self._input_layer.output

    @property
    def output(self) -> KerasTensor:
        """The symbolic output.

        Raises:
            AttributeError: before the model is built.
        """
        if not self._chain:
            raise AttributeError(f"Model {self.name!r} is not built: its outputs are not known.")
        return self._chain[-1]

    @property
    def inputs(self) -> list[KerasTensor]:
        """The symbolic input, in a list."""
        return [self.input]

    @property
    def outputs(self) -> list[KerasTensor]:
        """The symbolic output, in a list."""
        return [self.output]

    @property
    def input_shape(self) -> Any:
        """The input's shape."""
        return self.input.shape

    @property
    def output_shape(self) -> Any:
        """The output's shape."""
        return self.output.shape

    # ---------------------------------------------------------------------------------- config

    def get_config(self) -> dict[str, Any]:
        """Return what makes this model again: the layers' configs and the input's shape."""
        config = super().get_config()
        first = [self._input_layer] if self._input_layer is not None else []
        config["layers"] = [registry.serialize(layer) for layer in [*first, *self.layers]]
        if self._build_shape is not None:
            config["build_input_shape"] = self._build_shape
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any] | list, custom_objects: dict[str, Any] | None = None
    ) -> Sequential:
        """Make a model from what :meth:`get_config` returned.

        Args:
            config: the configuration; Keras 1's and 2's bare list of layers too.
            custom_objects: name -> class or function of the user's own.
        """
        if isinstance(config, list):
            config = {"layers": config}
        if "layers" not in config:
            raise ValueError(
                f"The config of a Sequential needs the key 'layers'; received {sorted(config)}."
            )
        rest = {k: v for k, v in config.items() if k not in ("layers", "build_input_shape")}
        layers = [
            registry.deserialize("layer", layer, custom_objects) for layer in config["layers"]
        ]
        model = cls(layers, **rest)
        if not model.built and config.get("build_input_shape"):
            model.build(tuple(config["build_input_shape"]))
        return model


def _input_of(layer: Layer) -> InputLayer | None:
    """Return the input that a first layer brings: by its arguments, or as a built model."""
    if layer._first_shape is not None:
        return InputLayer(batch_shape=layer._first_shape, dtype=layer._first_dtype)
    inner = getattr(layer, "_input_layer", None)
    if inner is not None:
        return InputLayer(batch_shape=inner.batch_shape, dtype=inner.input_dtype)
    return None


def _check_same(name: str, expected: Sequence[int | None], received: Sequence[int | None]) -> None:
    same = len(expected) == len(received) and all(
        a is None or b is None or a == b for a, b in zip(expected, received, strict=True)
    )
    if not same:
        raise ValueError(
            f"Model {name!r} takes inputs of shape {tuple(expected)}; it cannot be built for "
            f"{tuple(received)}."
        )
