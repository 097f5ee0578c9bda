"""ConvLSTM1D, 2D and 3D: LSTMs whose products with kernels are convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from torchkeras.layers.conv_lstm_cell import ConvLSTMCell
from torchkeras.layers.convolution_base import Shape, Sizes
from torchkeras.layers.rnn import RNN
from torchkeras.layers.spec import InputSpec
from torchkeras.registry import register

# The arguments that are the cell's and not the layer's own.
_OF_THE_CELL = (
    "filters kernel_size strides padding data_format dilation_rate activation recurrent_activation "
    "use_bias kernel_initializer recurrent_initializer bias_initializer unit_forget_bias "
    "kernel_regularizer recurrent_regularizer bias_regularizer kernel_constraint "
    "recurrent_constraint bias_constraint dropout recurrent_dropout seed"
).split()


class ConvLSTM(RNN):
    """A convolutional LSTM over sequences; see :class:`ConvLSTMCell`.

    Args:
        filters: as of :class:`ConvLSTMCell`, like all until ``seed``.
        kernel_size: see there.
        strides: see there.
        padding: see there.
        data_format: see there.
        dilation_rate: see there.
        activation: see there.
        recurrent_activation: see there.
        use_bias: see there.
        kernel_initializer: see there.
        recurrent_initializer: see there.
        bias_initializer: see there.
        unit_forget_bias: see there.
        kernel_regularizer: see there.
        recurrent_regularizer: see there.
        bias_regularizer: see there.
        activity_regularizer: penalty on the output.
        kernel_constraint: see there.
        recurrent_constraint: see there.
        bias_constraint: see there.
        dropout: see there.
        recurrent_dropout: see there.
        seed: see there.
        return_sequences: as of :class:`RNN`, like all until ``stateful``.
        return_state: see there.
        go_backwards: see there.
        stateful: see there.
        kwargs: the other arguments of :class:`RNN` and :class:`Layer`.

    Shapes:
        input ``(batch, steps, *space, channels)``, output ``(batch, *space, filters)`` or, with
        ``return_sequences``, ``(batch, steps, *space, filters)``; likewise with the channels first.
    """

    rank: int
    float_inputs = True
    config_without: tuple[str, ...] = ()
    config_also = ("unroll", "zero_output_for_mask")

    def __init__(
        self,
        filters: int,
        kernel_size: Sizes,
        strides: Sizes = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Sizes = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        **kwargs: Any,
    ):
        cell = ConvLSTMCell(
            self.rank,
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="conv_lstm_cell",
        )
        super().__init__(
            cell,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.input_spec = InputSpec(ndim=self.rank + 3)

    def build(self, sequences_shape: Any) -> None:
        """Build the cell for a step."""
        self.input_spec.check(self.name, sequences_shape)
        super().build(sequences_shape)

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        """Return the shape of the output, and those of both states where they are returned."""
        self.input_spec.check(self.name, sequences_shape)
        shape = self._batch_first(sequences_shape)
        state = self._shape_of_state(self.filters, shape)
        output = state
        if self.return_sequences:
            output = (*self._batch_first((shape[0], shape[1])), *state[1:])
        return (output, state, state) if self.return_state else output

    def _shape_of_state(self, size: Any, shape: Sequence[int | None]) -> Shape:
        return self.cell.state_shape((shape[0], *shape[2:]))

    def _states_for(self, shape: Sequence[int]) -> list[Tensor]:
        return self.cell.zeros((shape[0], *shape[2:]))

    def get_initial_state(self, batch_size: Any) -> list[Tensor]:
        """Return the states before the first step, zeros.

        Args:
            batch_size: the number of samples; or, as in Keras 2, sequences.
        """
        if hasattr(batch_size, "shape"):
            return self._states_for(tuple(batch_size.shape))
        return self.cell.get_initial_state(batch_size)

    def _run_over(
        self, sequences: Tensor, states: list[Any], mask: Tensor | None
    ) -> tuple[Tensor, list[Any]]:
        if mask is not None or sequences.shape[1] == 0:
            return self._run_steps(sequences, states, mask, None)
        outputs, states = self.cell.over(sequences, states, False)
        return (outputs if self.return_sequences else outputs[:, -1]), states

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ConvLSTM:
        """Make a layer from what :meth:`get_config` returned."""
        return cls(**config)


def _of_the_cell(name: str) -> property:
    def read(self: ConvLSTM) -> Any:
        return getattr(self.cell, name)

    def write(self: ConvLSTM, value: Any) -> None:
        setattr(self.cell, name, value)

    return property(read, write, doc=f"The cell's ``{name}``.")


for _name in _OF_THE_CELL:
    setattr(ConvLSTM, _name, _of_the_cell(_name))


# Each class has the constructor in its own name: the registry reads old arguments by that.
@register("layer")
class ConvLSTM1D(ConvLSTM):
    """A convolutional LSTM over sequences of sequences; the arguments are those of `ConvLSTM`."""

    rank = 1
    __init__ = ConvLSTM.__init__


@register("layer")
class ConvLSTM2D(ConvLSTM):
    """A convolutional LSTM over sequences of images; the arguments are those of `ConvLSTM`."""

    rank = 2
    __init__ = ConvLSTM.__init__


@register("layer")
class ConvLSTM3D(ConvLSTM):
    """A convolutional LSTM over sequences of volumes; the arguments are those of `ConvLSTM`."""

    rank = 3
    __init__ = ConvLSTM.__init__
