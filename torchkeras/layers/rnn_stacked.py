"""StackedRNNCells: cells one on the other as one cell."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor

from torchkeras import eras, registry, tree
from torchkeras.layers.base import Layer
from torchkeras.layers.rnn_cell import zero_states
from torchkeras.registry import register


def states_of(cell: Any, batch_size: int) -> list[Any]:
    """Return a cell's states before the first step: its own, or zeros.

    Args:
        cell: any cell; of ``get_initial_state`` the arguments that it names are given.
        batch_size: the number of samples.
    """
    make = getattr(cell, "get_initial_state", None)
    if make is None:
        return zero_states(cell, batch_size)
    given = {
        "batch_size": batch_size,
        "inputs": None,
        "dtype": getattr(cell, "compute_dtype", None),
    }
    names = inspect.signature(make).parameters
    states = make(**{name: value for name, value in given.items() if name in names})
    return list(states) if isinstance(states, (list, tuple)) else [states]


@register("layer")
class StackedRNNCells(Layer):
    """Cells one on the other as one cell: the output of each is the input of the next.

    Args:
        cells: the cells, the lowest first.
        kwargs: the arguments of :class:`Layer`.

    Attributes:
        state_size: for each cell its own: an integer, or a list of them.
        output_size: that of the last cell.

    Raises:
        ValueError: for what is no cell.
    """

    def __init__(self, cells: Sequence[Any], **kwargs: Any):
        for cell in cells:
            for name in ("call", "state_size"):
                if not hasattr(cell, name):
                    raise ValueError(f"StackedRNNCells: a cell has {name}, which {cell!r} has not.")
        super().__init__(**kwargs)
        self.cells = list(cells)

    @property
    def state_size(self) -> Sequence[Any]:
        """For each cell its own, an integer or a list of them; in Keras 2 all in one tuple."""
        sizes = [cell.state_size for cell in self.cells]
        return tuple(tree.leaves(sizes)) if eras.value("stacked_cells.flat_states") else sizes

    def _by_cell(self, states: Sequence[Any]) -> list[list[Any]]:
        """Return each cell's states in a list of its own."""
        left = iter(tree.flatten(states))
        return [[next(left) for _ in tree.leaves(cell.state_size)] for cell in self.cells]

    def _together(self, states: Sequence[Sequence[Any]]) -> list[Any]:
        """Return the cells' states in the form of ``state_size``."""
        return tree.pack_like(self.state_size, tree.flatten(states))

    @property
    def output_size(self) -> int:
        """The size of the last cell's output."""
        return _output_size(self.cells[-1])

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Return the cells' states, in the form of ``state_size``."""
        return self._together([states_of(cell, batch_size) for cell in self.cells])

    def build(self, input_shape: Any) -> None:
        """Build each cell for what the one below it gives."""
        shape, *constants = input_shape if isinstance(input_shape, list) else [input_shape]
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                takes_constants = constants and "constants" in _names_of_call(cell)
                cell.build([shape, *constants] if takes_constants else shape)
                cell.built = True
            shape = (shape[0], _output_size(cell))

    def call(
        self, inputs: Tensor, states: Sequence[Any], constants: Any = None, training: bool = False
    ) -> tuple[Tensor, list[Any]]:
        """Compute a step of each cell.

        Args:
            inputs: ``(batch, features)``.
            states: for each cell its own.
            constants: for the cells that take them.
            training: training or inference, for cells that are no layers.

        Returns:
            The output and the new states.
        """
        found = []
        for cell, before in zip(self.cells, self._by_cell(states)):
            names = _names_of_call(cell)
            given = {}
            if constants is not None and "constants" in names:
                given["constants"] = constants
            if "training" in names and not isinstance(cell, Layer):
                given["training"] = training
            inputs, new = (cell if callable(cell) else cell.call)(inputs, before, **given)
            found.append(new)
        return inputs, self._together(found)

    def runs_over(self) -> bool:
        """Tell whether every cell can run through whole sequences."""
        return registry.is_own(type(self).call) and all(
            hasattr(cell, "over") and cell.runs_over() for cell in self.cells
        )

    def over(
        self, sequences: Tensor, states: Sequence[Any], every_state: bool, fused: bool = True
    ) -> tuple[Tensor, list[Any]]:
        """Run through sequences, one cell after the other; see :meth:`TorchCell.over`."""
        found = []
        for cell, before in zip(self.cells, self._by_cell(states)):
            sequences, new = cell.over(sequences, before, every_state, fused)
            found.append(new)
        return sequences, self._together(found)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> StackedRNNCells:
        """Make a stack from what :meth:`get_config` returned.

        Args:
            config: the arguments of the constructor, the cells as configs.
            custom_objects: classes of the user's, by name.
        """
        cells = [registry.deserialize("layer", one, custom_objects) for one in config["cells"]]
        return cls(**{**config, "cells": cells})


def _names_of_call(cell: Any) -> Collection[str]:
    return inspect.signature(cell.call).parameters


def _output_size(cell: Any) -> int:
    size = getattr(cell, "output_size", None)
    size = cell.state_size if size is None else size
    while isinstance(size, (list, tuple)):
        size = size[0]
    return size
