"""What cells of recurrent layers share: their first states, and dropout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchkeras import config, dtypes, random
from torchkeras.layers.base import Layer
from torchkeras.registry import register


class DropoutRNNCell:
    """Draws a cell's dropout masks once for a sequence: a mixin of cells.

    Attributes:
        dropout: the part of the inputs that is dropped.
        recurrent_dropout: the part of the states that is dropped.
        seed_generator: where the draws begin; torch's own generator without it.
        dropout_mask_count: how many masks are drawn, one for each gate, as a list; one mask alone
            where it is ``None``.
    """

    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    dropout_mask_count: int | None = None
    _dropout_mask: Any = None
    _recurrent_dropout_mask: Any = None

    def get_dropout_mask(self, step_input: Tensor) -> Any:
        """Return what the inputs of every step are multiplied by; ``None`` without dropout.

        Args:
            step_input: of one step, ``(batch, …)``.
        """
        if self._dropout_mask is None and self.dropout > 0:
            self.__dict__["_dropout_mask"] = self._drawn(step_input, self.dropout)
        return self._dropout_mask

    def get_recurrent_dropout_mask(self, step_input: Tensor) -> Any:
        """Return what the state before every step is multiplied by; ``None`` without dropout.

        Args:
            step_input: the state before a step, ``(batch, …)``.
        """
        if self._recurrent_dropout_mask is None and self.recurrent_dropout > 0:
            drawn = self._drawn(step_input, self.recurrent_dropout)
            self.__dict__["_recurrent_dropout_mask"] = drawn
        return self._recurrent_dropout_mask

    def _drawn(self, like: Tensor, rate: float) -> Any:
        ones, seed = torch.ones_like(like), getattr(self, "seed_generator", None)
        if self.dropout_mask_count is None:
            return random.dropout(ones, rate, seed=seed)
        return [random.dropout(ones, rate, seed=seed) for _ in range(self.dropout_mask_count)]

    def reset_dropout_mask(self) -> None:
        """Forget the mask of the inputs: the next sequence gets another."""
        self.__dict__.pop("_dropout_mask", None)

    def reset_recurrent_dropout_mask(self) -> None:
        """Forget the mask of the states: the next sequence gets another."""
        self.__dict__.pop("_recurrent_dropout_mask", None)


@register("layer")
class AbstractRNNCell(Layer):
    """Base of cells that a user writes, as in tf.keras: one step of a recurrent layer.

    A subclass has ``state_size``, ``output_size`` and ``call(inputs, states)``, which returns the
    output and the new states.
    """

    def call(self, inputs: Tensor, states: Any) -> tuple[Tensor, Any]:
        """Compute a step; subclasses write it."""
        raise NotImplementedError(
            f"{type(self).__name__} defines no call(inputs, states): "
            "write it, returning the output and the new states."
        )

    @property
    def state_size(self) -> Any:
        """The size of a state, or a list of them; subclasses write it."""
        raise NotImplementedError(
            f"{type(self).__name__} defines no state_size: "
            "set it, or write a property, to the size of each state."
        )

    @property
    def output_size(self) -> int:
        """The size of the output; subclasses write it."""
        raise NotImplementedError(
            f"{type(self).__name__} defines no output_size: "
            "set it, or write a property, to the size of the output."
        )

    def get_initial_state(
        self, inputs: Any = None, batch_size: int | None = None, dtype: Any = None
    ) -> Any:
        """Return states of zeros, ``(batch, size)``.

        Args:
            inputs: a batch, which ``batch_size`` and ``dtype`` are read from.
            batch_size: the number of samples, without ``inputs``.
            dtype: of the states; what the cell computes in unless given.
        """
        batch_size = batch_size if inputs is None else inputs.shape[0]
        zeros = zero_states(self, batch_size, dtype)
        return zeros[0] if isinstance(self.state_size, int) else zeros


def zero_states(cell: Any, batch_size: int, dtype: Any = None) -> list[Tensor]:
    """Return a tensor of zeros, ``(batch, size)``, for each state of a cell.

    Args:
        cell: with a ``state_size``.
        batch_size: the number of samples.
        dtype: what the cell computes in unless given.
    """
    sizes = cell.state_size
    sizes = [sizes] if isinstance(sizes, int) else list(sizes)
    options = {
        "dtype": dtypes.to_torch(dtype or getattr(cell, "compute_dtype", None)),
        "device": cell._device() if isinstance(cell, Layer) else config.device(),
    }
    return [torch.zeros(batch_size, size, **options) for size in sizes]
