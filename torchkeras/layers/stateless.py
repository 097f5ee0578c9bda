"""Calling a layer with values for its variables, and without a trace in the layer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from torchkeras.stateless import StatelessScope
from torchkeras.variable import Variable


def stateless_call(
    self: Any,
    trainable_variables: Sequence[Any],
    non_trainable_variables: Sequence[Any],
    *args: Any,
    return_losses: bool = False,
    **kwargs: Any,
) -> tuple[Any, ...]:
    """Call the layer with other values for its weights; the layer stays as it is.

    Gradients flow to the values. Random numbers come from torch's generators, whose states are no
    variables.

    Args:
        self: the layer.
        trainable_variables: a value for each of ``layer.trainable_variables``, in their order.
        non_trainable_variables: likewise for ``layer.non_trainable_variables``.
        args: what the layer is called with.
        return_losses: also return ``layer.losses`` of the call.
        kwargs: likewise.

    Returns:
        The outputs, the non-trainable variables' values after the call, and the losses if wanted.

    Raises:
        ValueError: for a layer that is not built, or a wrong number or shape of values.
    """
    mapping = paired(self, trainable_variables, non_trainable_variables)
    with scope_of(self, mapping) as scope:
        outputs = self(*args, **kwargs)
        losses = (list(self.losses),) if return_losses else ()
    return outputs, current(scope, self.non_trainable_variables), *losses


def paired(
    layer: Any, trainable: Sequence[Any], non_trainable: Sequence[Any]
) -> list[tuple[Variable, Any]]:
    """Return a layer's variables, each with its value.

    Raises:
        ValueError: when the layer is not built, or there are more or fewer values than variables.
    """
    if not layer.built:
        raise ValueError(
            f"stateless_call: layer {layer.name!r} is not built, so it has no variables to give "
            "values to. Build it by calling it or by build(input_shape)."
        )
    mapping = []
    for kind, values in (("trainable", trainable), ("non_trainable", non_trainable)):
        known, values = getattr(layer, f"{kind}_variables"), list(values)
        if len(known) != len(values):
            raise ValueError(
                f"{kind}_variables must hold a value for each of the {len(known)} of layer "
                f"{layer.name!r}; received {len(values)}."
            )
        mapping += zip(known, values)
    return mapping


@contextlib.contextmanager
def scope_of(layer: Any, mapping: Sequence[tuple[Variable, Any]]) -> Iterator[StatelessScope]:
    """Give a layer's variables values for the length of a ``with`` block, tied layers' too."""
    with StatelessScope(mapping) as scope:
        scope.share(layer)
        yield scope


def current(scope: StatelessScope, variables: Sequence[Variable]) -> list[torch.Tensor]:
    """Return the variables' values after a scope, those from before where it holds none."""
    found = ((scope.get_current_value(variable), variable) for variable in variables)
    return [variable.value if value is None else value for value, variable in found]
