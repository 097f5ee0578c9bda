"""Model: a layer that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras.layers import Layer
from torchkeras.models.summary import print_summary
from torchkeras.registry import register
from torchkeras.training import Trainer

# What other versions of Keras have and torchkeras has not (yet), and what to do meanwhile.
_MISSING = {
    **dict.fromkeys(
        ("save", "save_weights", "load_weights", "export", "to_json", "to_yaml"),
        "saving is not supported yet; use torch.save(model.state_dict(), path) or pickle",
    ),
    **dict.fromkeys(
        ("fit_generator", "evaluate_generator", "predict_generator"),
        "generators are not supported yet; pass arrays to fit, evaluate and predict",
    ),
    "predict_classes": "use predict(x).argmax(-1), or predict(x) > 0.5 for one sigmoid output",
    "predict_proba": "use predict(x)",
}


@register("layer", module="keras")
class Model(Trainer, Layer):
    """A layer made of layers that can be compiled, fitted, evaluated and asked for predictions.

    Args:
        kwargs: the arguments of :class:`Layer`.
    """

    # A module and the name of a parameter in it; looking through `parameters()` costs 4 us a call.
    _anchor: tuple[nn.Module, str] | None = None

    @property
    def layers(self) -> list[Layer]:
        """The layers directly inside, in order."""
        return self._sublayers()

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
            if layer.name == name:
                return layer
        raise ValueError(
            f"get_layer: {self.name!r} has no layer {name!r}; it has "
            f"{[layer.name for layer in layers]}."
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

    def _prepare(self, inputs: Any) -> Any:
        """Also bring the inputs to the device of the weights."""
        inputs = super()._prepare(inputs)
        if not isinstance(inputs, torch.Tensor):
            return inputs
        parameter = self._anchor_parameter()
        if parameter is None or inputs.device == parameter.device:
            return inputs
        return inputs.to(parameter.device)

    def _anchor_parameter(self) -> nn.Parameter | None:
        """Return one of the parameters: where one is, all are."""
        if self._anchor is None:
            self.__dict__["_anchor"] = _first_parameter(self)
        # Looked up in its module each time: `.to()` and the like may have put another there.
        return self._anchor and self._anchor[0]._parameters.get(self._anchor[1])


def _first_parameter(model: nn.Module) -> tuple[nn.Module, str] | None:
    """Return a module and the name of its parameter."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                return module, name
    return None
