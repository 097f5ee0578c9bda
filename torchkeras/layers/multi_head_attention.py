"""Attention of several heads: MultiHeadAttention and GroupQueryAttention."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import torch

from torchkeras.layers import arguments
from torchkeras.layers.headed_attention import HeadedAttention
from torchkeras.registry import auto_name, register


@register("layer")
class MultiHeadAttention(HeadedAttention):
    """Attention of several heads, each on a projection of its own of query, key and value.

    Args:
        num_heads: how many heads there are.
        key_dim: length of a query and a key in a head.
        value_dim: length of a value in a head; ``key_dim`` unless given.
        dropout: the part of the attention's weights that is dropped in training.
        use_bias: whether the projections add a bias.
        output_shape: shape of what comes out for a query; the query's size unless given.
        attention_axes: the axes that are attended along; all but the first and last unless given.
        sliding_window: how far a query sees to each side, itself counted; all around unless given.
        flash_attention: whether torch's flash kernel must be used; torch chooses unless given.
        kernel_initializer: how the kernels of the projections are drawn.
        bias_initializer: how their biases are drawn.
        kernel_regularizer: penalty on the kernels.
        bias_regularizer: penalty on the biases.
        activity_regularizer: penalty on the output, and on those of the projections.
        kernel_constraint: projection of the kernels after each update.
        bias_constraint: projection of the biases after each update.
        use_gate: whether what comes out of a head is scaled by a sigmoid of the query.
        seed: an integer, by which the layer draws numbers of its own.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        query ``(batch, …, size)``, value and key ``(batch, …, size)``, output ``(batch, …, size)``
        of the query or ``(batch, …, *output_shape)``.

    Raises:
        ValueError: for a number that is not positive, dropout with the flash kernel, and keys and
            values of different lengths.

    Source: Vaswani et al. 2017, arXiv:1706.03762.
    """

    config_without = ("flash_attention", "output_shape")
    config_also = ("activity_regularizer",)

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Sequence[int] | int | None = None,
        attention_axes: Sequence[int] | int | None = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        owner = type(self).__name__
        self.num_heads = arguments.positive(owner, "num_heads", num_heads)
        self.key_dim = arguments.positive(owner, "key_dim", key_dim)
        value_dim = key_dim if value_dim is None else value_dim
        self.value_dim = arguments.positive(owner, "value_dim", value_dim)
        initial = {
            "kernel_initializer": kernel_initializer,
            "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer,
            "bias_regularizer": bias_regularizer,
            "activity_regularizer": activity_regularizer,
            "kernel_constraint": kernel_constraint,
            "bias_constraint": bias_constraint,
        }
        super().__init__(
            num_heads,
            key_dim,
            dropout,
            use_bias,
            sliding_window,
            flash_attention,
            initial,
            use_gate,
            seed,
            **kwargs,
        )
        if output_shape is not None:
            is_one = isinstance(output_shape, int)
            output_shape = arguments.shape(
                owner, "output_shape", (output_shape,) if is_one else output_shape
            )
        self._given_shape = output_shape
        if attention_axes is not None:
            is_one = isinstance(attention_axes, int)
            attention_axes = (attention_axes,) if is_one else tuple(attention_axes)
        self.attention_axes = attention_axes

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        """Make the projections for the sizes of query, value and key."""
        key_shape = value_shape if key_shape is None else key_shape
        self._check_lengths(value_shape, key_shape)
        heads = self.num_heads
        for name, shape, size in (
            ("query", query_shape, self.key_dim),
            ("key", key_shape, self.key_dim),
            ("gate", query_shape, self.value_dim),
            ("value", value_shape, self.value_dim),
        ):
            if name != "gate" or self.use_gate:
                arguments.last_axis(self.name, shape)
                free = string.ascii_lowercase[: len(shape) - 1]
                equation = f"{free}z,zyx->{free}yx"
                output = [None] * (len(shape) - 2) + [heads, size]
                dense = self._projection(equation, output, "yx", name)
                dense.build(shape)
                setattr(self, f"{name}_dense", dense)
        rank = len(value_shape)
        axes = self.attention_axes
        self.attention_axes = (
            tuple(range(1, rank - 1))
            if axes is None
            else tuple(axis if axis >= 0 else rank + axis for axis in axes)
        )
        self._attention_axes = self.attention_axes
        free = string.ascii_lowercase[: len(query_shape) - 1]
        new = self._given_shape or (query_shape[-1],)
        letters = string.ascii_uppercase[: len(new)]
        output = [None] * (len(query_shape) - 2) + list(new)
        equation = f"{free}yx,yx{letters}->{free}{letters}"
        self.output_dense = self._projection(equation, output, letters, "attention_output")
        self.output_dense.build((*query_shape[:-1], heads, self.value_dim))

    def compute_output_shape(
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> Any:
        """Return the query's shape, with ``output_shape`` at its end where given."""
        self._check_lengths(value_shape, value_shape if key_shape is None else key_shape)
        if self._given_shape is None:
            return tuple(query_shape)
        return (*query_shape[:-1], *self._given_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "output_shape": self._given_shape}


@register("layer", "GroupedQueryAttention")
class GroupQueryAttention(HeadedAttention):
    """Attention in which several heads of queries share one head of keys and values.

    Args:
        head_dim: length of a query, a key and a value in a head.
        num_query_heads: how many heads of queries there are.
        num_key_value_heads: how many of keys and values; a divisor of ``num_query_heads``.
        dropout: the part of the attention's weights that is dropped in training.
        use_bias: whether the projections add a bias.
        sliding_window: how far a query sees to each side, itself counted; all around unless given.
        flash_attention: whether torch's flash kernel must be used; torch chooses unless given.
        kernel_initializer: how the kernels of the projections are drawn.
        bias_initializer: how their biases are drawn.
        kernel_regularizer: penalty on the kernels.
        bias_regularizer: penalty on the biases.
        activity_regularizer: penalty on the output, and on those of the projections.
        kernel_constraint: projection of the kernels after each update.
        bias_constraint: projection of the biases after each update.
        use_gate: whether what comes out of a head is scaled by a sigmoid of the query.
        seed: an integer, by which the layer draws numbers of its own.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        query ``(batch, queries, size)``, value and key ``(batch, keys, size)``, output
        ``(batch, queries, size)``.

    Raises:
        ValueError: for a number that is not positive, heads that cannot be shared evenly, dropout
            with the flash kernel, and keys and values of different lengths.

    Source: Ainslie et al. 2023, arXiv:2305.13245.
    """

    config_also = ("activity_regularizer",)

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        owner = type(self).__name__
        # Keras names the layer by the class' name inside, which is not the one it has outside.
        kwargs["name"] = kwargs.get("name") or auto_name("grouped_query_attention")
        self.head_dim = arguments.positive(owner, "head_dim", head_dim)
        self.num_query_heads = arguments.positive(owner, "num_query_heads", num_query_heads)
        shared = arguments.positive(owner, "num_key_value_heads", num_key_value_heads)
        self.num_key_value_heads = shared
        if num_query_heads % shared:
            raise ValueError(
                f"{owner}: num_query_heads={num_query_heads} must be divisible by "
                f"num_key_value_heads={num_key_value_heads}."
            )
        initial = {
            "kernel_initializer": kernel_initializer,
            "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer,
            "bias_regularizer": bias_regularizer,
            "activity_regularizer": activity_regularizer,
            "kernel_constraint": kernel_constraint,
            "bias_constraint": bias_constraint,
        }
        super().__init__(
            num_query_heads,
            head_dim,
            dropout,
            use_bias,
            sliding_window,
            flash_attention,
            initial,
            use_gate,
            seed,
            **kwargs,
        )

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        """Make the projections for the sizes of query, value and key."""
        key_shape = value_shape if key_shape is None else key_shape
        self._check_lengths(value_shape, key_shape)
        size, many, few = self.head_dim, self.num_query_heads, self.num_key_value_heads
        for name, shape, heads in (
            ("query", query_shape, many),
            ("key", key_shape, few),
            ("gate", query_shape, many),
            ("value", value_shape, few),
        ):
            if name != "gate" or self.use_gate:
                if len(shape) != 3:
                    raise ValueError(
                        f"Layer {self.name!r} takes a query, a value and a key of rank 3, (batch, "
                        f"length, size); received a {name} of shape {tuple(shape)}."
                    )
                dense = self._projection("btm,mnh->btnh", (None, heads, size), "nh", name)
                dense.build(shape)
                setattr(self, f"{name}_dense", dense)
        self.output_dense = self._projection(
            "btnh,nhm->btm", (None, query_shape[-1]), "m", "attention_output"
        )
        self.output_dense.build((None, None, many, size))

    def _per_head(self, *tensors: torch.Tensor) -> Sequence[torch.Tensor]:
        """Return keys and values with as many heads as there are of queries."""
        many = self.num_query_heads
        return [tensor.repeat_interleave(many // tensor.shape[2], 2) for tensor in tensors]

    def compute_output_shape(
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> Any:
        """Return the query's shape."""
        if query_shape[-1] != value_shape[-1]:
            raise ValueError(
                f"Layer {self.name!r} needs a query and a value of the same size; received shapes "
                f"{tuple(query_shape)} and {tuple(value_shape)}."
            )
        self._check_lengths(value_shape, value_shape if key_shape is None else key_shape)
        return tuple(query_shape)
