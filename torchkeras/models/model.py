"""Model: a layer that trains."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras import registry
from torchkeras.layers import Layer, masks, stateless
from torchkeras.models.compilation import compile_by_config, config_of_compile
from torchkeras.models.graph_config import config_of, model_of
from torchkeras.models.graphed import Graphed
from torchkeras.models.summary import print_summary
from torchkeras.registry import register
from torchkeras.training import Trainer
from torchkeras.variable import Variable

# What other versions of Keras have and torchkeras has not (yet), and what to do meanwhile.
_MISSING = {
    **dict.fromkeys(
        ("save", "save_weights", "load_weights", "export", "to_yaml"),
        "saving is not supported yet; use torch.save(model.state_dict(), path) or pickle",
    ),
    **dict.fromkeys(
        ("fit_generator", "evaluate_generator", "predict_generator"),
        "generators are not supported yet; pass arrays to fit, evaluate and predict",
    ),
    "predict_classes": "use predict(x).argmax(-1), or predict(x) > 0.5 for one sigmoid output",
    "predict_proba": "use predict(x)",
}

# What says that a model is given symbolic tensors; the last two are Keras 1's names.
_GRAPH_ARGUMENTS = frozenset({"inputs", "outputs", "input", "output"})


@register("layer", module="keras")
class Model(Graphed, Trainer, Layer):
    """A layer made of layers that can be compiled, fitted, evaluated and asked for predictions.

    ``Model(inputs, outputs)`` computes symbolic outputs from symbolic inputs; a subclass may do the
    same in its ``__init__``, or write ``call(inputs)``.

    Args:
        inputs: symbolic tensors, as ``Input`` gives them, or of layers: one, or lists, tuples or
            dictionaries of them.
        outputs: symbolic tensors that follow from the inputs, likewise.
        trainable: whether training moves the weights.
        name: the model's name.
        kwargs: the other arguments of :class:`Layer`.

    Raises:
        ValueError: when inputs or outputs are no symbolic tensors, an output does not follow from
            the inputs, or two layers have one name.
    """

    config_without = ("inputs", "outputs", "trainable", "name")
    _is_model = True
    # A module and the name of a parameter in it; looking through `parameters()` costs 4 us a call.
    _anchor: tuple[nn.Module, str] | None = None

    def __new__(cls, *args: Any, **kwargs: Any):
        if cls is Model and (args or _GRAPH_ARGUMENTS & kwargs.keys()):
            cls = registry.find("layer", "Functional")
        return super().__new__(cls, *args, **kwargs)

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        trainable: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        if (inputs is None) != (outputs is None):
            raise ValueError(
                "Model: give both inputs and outputs, or neither; received "
                f"inputs={inputs!r} and outputs={outputs!r}."
            )
        if inputs is not None:
            self._set_graph(inputs, outputs)
        if not trainable:
            self.trainable = False

    def build(self, input_shape: Any = None) -> None:
        """Build the layers inside for an input's shape.

        Args:
            input_shape: ``(batch, …)`` with ``None`` where unknown, or a structure of such shapes.
        """
        if self._graph is None and input_shape is not None:
            self._build_by_call(input_shape)

    @property
    def layers(self) -> list[Layer]:
        """The layers directly inside, in order."""
        return self._sublayers() if self._graph is None else self._graph_layers()

    def _sublayers(self) -> list[Layer]:
        inside = super()._sublayers()
        if self._graph is None:
            return inside
        # In the graph's order, then those that are attributes only.
        return list(dict.fromkeys([*self._graph_layers(), *inside]))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this model again; of a graph, its layers and calls."""
        if self._graph is None or not is_made_of_graph(type(self)):
            return super().get_config()
        return config_of(self)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Model:
        """Make a model from what :meth:`get_config` returned.

        Args:
            config: the configuration, of Keras 1 and 2 too.
            custom_objects: name -> class or function of the user's own.
        """
        if not {"layers", "input_layers", "output_layers"} & config.keys():
            return super().from_config(config)
        if cls is Model:
            cls = registry.find("layer", "Functional")
        with registry.custom_object_scope(custom_objects or {}):
            return model_of(cls, config)

    def get_compile_config(self) -> dict[str, Any]:
        """Return what the model was compiled with, as Keras 3 writes it; empty when it was not."""
        return config_of_compile(self)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile the model by what :meth:`get_compile_config` returned."""
        compile_by_config(self, config)

    def to_json(self, **kwargs: Any) -> str:
        """Return the model's class and config as JSON, as Keras 3 writes it.

        Args:
            kwargs: further arguments of ``json.dumps``.
        """
        return json.dumps(registry.serialize(self), **kwargs)

    @property
    def metrics_variables(self) -> list[Variable]:
        """The variables of all metrics."""
        return [variable for metric in self.metrics for variable in metric.variables]

    def stateless_compute_loss(
        self,
        trainable_variables: Sequence[Any],
        non_trainable_variables: Sequence[Any],
        metrics_variables: Sequence[Any],
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tuple[torch.Tensor, tuple[list[torch.Tensor], ...]]:
        """Compute the loss with other values for the variables; the model stays as it is.

        Args:
            trainable_variables: a value for each of the model's.
            non_trainable_variables: likewise.
            metrics_variables: likewise.
            x: as for :meth:`compute_loss`.
            y: likewise.
            y_pred: likewise.
            sample_weight: likewise.
            training: likewise.

        Returns:
            The loss, and the values of the three kinds of variables afterwards.

        Raises:
            ValueError: for a model that is not built, or a wrong number or shape of values.
        """
        mapping = stateless.paired(self, trainable_variables, non_trainable_variables)
        metrics = list(zip(self.metrics_variables, metrics_variables))
        with stateless.scope_of(self, mapping + metrics) as scope:
            loss = self.compute_loss(x, y, y_pred, sample_weight, training=training)
        after = [
            stateless.current(scope, variables)
            for variables in (self.non_trainable_variables, self.metrics_variables)
        ]
        return loss, (list(trainable_variables), *after)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self._graph is not None:
            self._graph.revive()
            outputs = self._graph.outputs
            if self._has_extras:
                outputs, (losses, values) = outputs
                names = [name for name, _ in self._symbolic_metrics]
                self.__dict__["_symbolic_losses"] = tuple(losses)
                self.__dict__["_symbolic_metrics"] = tuple(zip(names, values))
            self.__dict__["_outputs"] = outputs

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if self._graph is not None:
            # Part of the graph, which makes its symbolic tensors again.
            state["_outputs"] = None
            state["_symbolic_losses"] = (None,) * len(self._symbolic_losses)
            state["_symbolic_metrics"] = tuple((name, None) for name, _ in self._symbolic_metrics)
        return state

    def __setattr__(self, name: str, value: Any) -> None:
        if self._graph is not None and name.isdigit() and self._modules.get(name) is not value:
            raise ValueError(
                f"Model {self.name!r} computes what its symbolic tensors say: another module in "
                f"the place of its layer {name} would not be called. Use "
                "keras.models.clone_model(model, clone_function=…), or replace a module in the "
                "layer."
            )
        super().__setattr__(name, value)

    def reset_states(self) -> None:
        """Set the states of all stateful layers to zero."""
        for module in self.modules():
            is_inner = isinstance(module, Layer) and not isinstance(module, Model)
            if is_inner and getattr(module, "stateful", False) and hasattr(module, "reset_states"):
                module.reset_states()

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return a layer by its name or its place.

        Raises:
            ValueError: when neither or both are given, or there is no such layer.
        """
        if (name is None) == (index is None):
            raise ValueError(f"get_layer: give a name or an index; received {name=} and {index=}.")
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(
                    f"get_layer: {self.name!r} has {len(layers)} layers, so no index {index}."
                )
            return layers[index]
        for layer in layers:
            if getattr(layer, "name", None) == name:  # a raw module may be in a layer's place
                return layer
        raise ValueError(
            f"get_layer: {self.name!r} has no layer {name!r}; it has "
            f"{[getattr(layer, 'name', type(layer).__name__) for layer in layers]}."
        )

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Yield the parameters, as torch does.

        Raises:
            ValueError: when there are none because the model is not built.
        """
        if not self.built and self._anchor_parameter() is None:
            raise ValueError(
                f"Model {self.name!r} is not built, so it has no parameters yet. Give the first "
                "layer an input_shape, call the model on a batch, or call build(input_shape)."
            )
        return super().parameters(recurse)

    def __getattr__(self, name: str) -> Any:
        if name in _MISSING:
            raise AttributeError(f"{type(self).__name__}.{name}: {_MISSING[name]}.")
        return super().__getattr__(name)

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[..., Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print a table of the layers, their output shapes and their numbers of parameters.

        Args:
            line_length: width of the table.
            positions: where the columns end, as parts of the width.
            print_fn: takes the text; ``print`` unless given.
            expand_nested: also show the layers of models inside.
            show_trainable: add a column that says what training moves.
            layer_range: names (patterns) of the first and the last layer to show.
        """
        print_summary(
            self,
            line_length=line_length,
            positions=positions,
            print_fn=print_fn,
            expand_nested=expand_nested,
            show_trainable=show_trainable,
            layer_range=layer_range,
        )

    def _cast(self, inputs: torch.Tensor) -> torch.Tensor:
        """Also bring an input to the device of the weights."""
        if self._graph is None:
            inputs = super()._cast(inputs)
        parameter = self._anchor_parameter()
        if parameter is None or inputs.device == parameter.device or inputs.is_meta:
            return inputs
        return masks.hand_over(inputs, inputs.to(parameter.device))

    def _anchor_parameter(self) -> nn.Parameter | None:
        """Return one of the parameters: where one is, all are."""
        if self._anchor is None:
            self.__dict__["_anchor"] = _first_parameter(self)
        # Looked up in its module each time: `.to()` and the like may have put another there.
        return self._anchor and self._anchor[0]._parameters.get(self._anchor[1])


def is_made_of_graph(cls: type) -> bool:
    """Tell whether a class' constructor takes symbolic inputs and outputs, or passes all on."""
    parameters = inspect.signature(cls.__init__).parameters.values()
    kinds = {parameter.kind for parameter in parameters}
    if {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds:
        return True
    return {"inputs", "outputs"} <= {parameter.name for parameter in parameters}


def _first_parameter(model: nn.Module) -> tuple[nn.Module, str] | None:
    """Return a module and the name of its parameter."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                return module, name
    return None
