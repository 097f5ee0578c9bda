"""Functional models."""

from __future__ import annotations

from typing import Any

from torchkeras.models.model import Model
from torchkeras.registry import register


@register("layer", module="keras.src.models.functional")
class Functional(Model):
    """What ``Model(inputs, outputs)`` gives: a model made of symbolic inputs and outputs.

    Args:
        inputs: symbolic tensors: one, or lists, tuples or dictionaries of them.
        outputs: likewise, following from the inputs.
        name: the model's name.
        trainable: whether training moves the weights.
        kwargs: the other arguments of :class:`Layer`.
    """

    def __init__(
        self,
        inputs: Any,
        outputs: Any,
        name: str | None = None,
        trainable: bool = True,
        **kwargs: Any,
    ):
        super().__init__(inputs, outputs, trainable=trainable, name=name, **kwargs)
