"""What SimpleRNN, LSTM and GRU share: the arguments that are their cell's."""

from __future__ import annotations

from typing import Any

from torchkeras.layers.rnn import RNN
from torchkeras.layers.spec import InputSpec

_OF_THE_CELL = (
    "units activation recurrent_activation use_bias unit_forget_bias reset_after dropout "
    "recurrent_dropout implementation seed kernel_initializer recurrent_initializer "
    "bias_initializer kernel_regularizer recurrent_regularizer bias_regularizer kernel_constraint "
    "recurrent_constraint bias_constraint"
).split()


class UnitsRNN(RNN):
    """A recurrent layer that makes its cell itself; what it was given for the cell is the cell's.

    Args:
        cell: the cell.
        use_cudnn: whether torch's kernels are used: ``"auto"`` where the settings allow, ``True``
            where others raise, ``False`` for never.
        kwargs: the arguments of :class:`RNN`.

    Raises:
        ValueError: for another ``use_cudnn``.
    """

    config_also = ("zero_output_for_mask", "time_major")
    float_inputs = True

    def __init__(self, cell: Any, use_cudnn: bool | str = "auto", **kwargs: Any):
        if use_cudnn not in ("auto", True, False):
            raise ValueError(
                f"{type(self).__name__}: use_cudnn must be 'auto', True or False; received "
                f"{use_cudnn!r}."
            )
        super().__init__(cell, **kwargs)
        self.use_cudnn = use_cudnn
        self.input_spec = InputSpec(ndim=3)

    def build(self, sequences_shape: Any) -> None:
        """Build the cell, and expect inputs of as many features."""
        super().build(sequences_shape)
        self.input_spec = InputSpec(ndim=3, axes={-1: self.cell.input_spec.axes.get(-1)})

    def _fused(self) -> bool:
        if self.use_cudnn is True and not self.cell.has_kernel():
            raise ValueError(
                f"Layer {self.name!r} was made with use_cudnn=True, but torch has no kernel for "
                "its activations or its dropout; use_cudnn='auto' does without one."
            )
        return bool(self.use_cudnn)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> UnitsRNN:
        """Make a layer from what :meth:`get_config` returned."""
        return cls(**config)


def _of_the_cell(name: str) -> property:
    def read(self: UnitsRNN) -> Any:
        return getattr(self.cell, name)

    def write(self: UnitsRNN, value: Any) -> None:
        setattr(self.cell, name, value)

    return property(read, write, doc=f"The cell's ``{name}``.")


for _name in _OF_THE_CELL:
    setattr(UnitsRNN, _name, _of_the_cell(_name))
