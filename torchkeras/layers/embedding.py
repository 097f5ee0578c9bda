"""Layers that turn whole numbers into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from torchkeras import constraints, dtypes, initializers, regularizers
from torchkeras.graph import Spec
from torchkeras.layers import arguments, masks
from torchkeras.layers.base import Layer, empty_module
from torchkeras.registry import register
from torchkeras.variable import TRANSPOSE, Weight, as_tensor


@register("layer")
class Embedding(Layer):
    """Turns whole numbers into vectors, the rows of a table that is learned.

    Args:
        input_dim: how many rows there are; inputs are from 0 to ``input_dim - 1``.
        output_dim: length of a vector.
        embeddings_initializer: how the table ``(input_dim, output_dim)`` is drawn.
        embeddings_regularizer: penalty on the table.
        embeddings_constraint: projection of the table after each update.
        mask_zero: whether 0 marks a step that does not count, for the layers that follow.
        weights: the table to begin with: an array, or a list of one.
        lora_rank: must be ``None``: low-rank adaptation is not supported.
        lora_alpha: must be ``None``.
        quantization_config: must be ``None``: quantization is not supported.
        input_length: how many numbers a sample has, short for ``input_shape=(input_length,)`` of a
            model's first layer.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, …)``, output ``(batch, …, output_dim)``.

    Raises:
        ValueError: when a size is no positive integer, or an argument is not supported; on the CPU,
            when called, for a number that has no row.
    """

    weight_map = (Weight("embeddings", "embedding.weight", autocast=False),)
    config_without = ("weights", "lora_rank", "lora_alpha", "input_length")
    config_also = ("activity_regularizer",)
    quantization_config = None

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        input_length: Sequence[int | None] | int | None = None,
        **kwargs: Any,
    ):
        arguments.refuse(
            type(self).__name__,
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
            quantization_config=quantization_config,
        )
        if weights is not None and not (isinstance(weights, (list, tuple)) and len(weights) == 1):
            weights = [weights]
        if input_length is not None:
            _set_length(kwargs, input_length)
        super().__init__(weights=weights, **kwargs)
        self.input_dim = arguments.positive(type(self).__name__, "input_dim", input_dim)
        self.output_dim = arguments.positive(type(self).__name__, "output_dim", output_dim)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = self.supports_masking = mask_zero
        self.autocast = False  # the inputs are no quantities
        if mask_zero:
            masks.use()
        if weights is not None:
            self.build()

    def build(self, input_shape: Any = None) -> None:
        """Make the table, which is the same for all inputs."""
        if not self.built:
            dtype = self.dtype_policy.torch_dtype
            self.embedding = empty_module(
                nn.Embedding, self.input_dim, self.output_dim, dtype=dtype
            )

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Look the vectors up.

        Args:
            inputs: whole numbers, of any dtype.

        Raises:
            ValueError: on the CPU, for a number that has no row.
        """
        if inputs.dtype not in (torch.int32, torch.int64):
            inputs = inputs.to(torch.int32)
        try:
            outputs = self.embedding(inputs)
        except IndexError:
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}) has rows for the numbers 0 to "
                f"{self.input_dim - 1} (input_dim={self.input_dim}), but received numbers from "
                f"{int(inputs.min())} to {int(inputs.max())}. Give it a larger input_dim, or bring "
                "the numbers into this range."
            ) from None
        return outputs.to(self.dtype_policy.torch_compute_dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return which numbers are not 0, with ``mask_zero``; else none."""
        return torch.ne(as_tensor(inputs), 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape with ``output_dim`` behind it."""
        return (*input_shape, self.output_dim)

    def _output_dtype(self, inputs: Any) -> str:
        return self.compute_dtype


def _set_length(given: dict[str, Any], input_length: Sequence[int | None] | int) -> None:
    """Put the length of a sample into a layer's arguments.

    Raises:
        ValueError: when these have another one.
    """
    is_one = isinstance(input_length, int)
    lengths = (input_length,) if is_one else tuple(input_length)
    batch_shape = given.get("batch_input_shape")
    shape = given.get("input_shape") or lengths if batch_shape is None else batch_shape[1:]
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    same = (None in (a, b) or a == b for a, b in zip(shape, lengths))
    if len(shape) != len(lengths) or not all(same):
        raise ValueError(
            f"Embedding: input_length={input_length!r} does not fit to an input_shape of {shape}."
        )
    if batch_shape is None:
        given["input_shape"] = lengths


@register("layer")
class ReversibleEmbedding(Embedding):
    """An embedding that also projects vectors back to a score for each whole number.

    Args:
        input_dim: how many rows the table has.
        output_dim: length of a vector.
        tie_weights: whether the way back is by the table itself; else by a matrix of its own.
        embeddings_initializer: how the table and that matrix are drawn.
        embeddings_regularizer: penalty on the table.
        embeddings_constraint: projection of the table after each update.
        mask_zero: whether 0 marks a step that does not count.
        reverse_dtype: dtype of the way back; the layer's compute dtype unless given.
        logit_soft_cap: keeps the scores between minus and plus this, by
            ``tanh(score / cap) * cap``.
        kwargs: the other arguments of :class:`Embedding`.

    Shapes:
        as of :class:`Embedding`; with ``reverse=True`` input ``(batch, …, output_dim)``, output
        ``(batch, …, input_dim)``.

    Source: Press and Wolf 2016, arXiv:1608.05859.
    """

    weight_map = (*Embedding.weight_map, Weight("reverse_embeddings", "reverse.weight", TRANSPOSE))
    config_without = ()
    config_also = ("activity_regularizer", "quantization_config")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: str | None = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ):
        self.tie_weights = tie_weights
        self.reverse_dtype = reverse_dtype
        self.logit_soft_cap = logit_soft_cap
        super().__init__(
            input_dim,
            output_dim,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
            mask_zero=mask_zero,
            **kwargs,
        )

    @property
    def reverse_embeddings_initializer(self) -> Any:
        """How the matrix of the way back is drawn: as the table is."""
        return self.embeddings_initializer

    def build(self, input_shape: Any = None) -> None:
        """Make the table, and the matrix of the way back where it has one."""
        if not self.built and not self.tie_weights:
            sizes = (self.output_dim, self.input_dim)
            dtype = self.dtype_policy.torch_dtype
            self.reverse = empty_module(nn.Linear, *sizes, bias=False, dtype=dtype)
        super().build(input_shape)

    def call(self, inputs: torch.Tensor, reverse: bool = False) -> torch.Tensor:
        """Look vectors up, or score them.

        Args:
            inputs: whole numbers; vectors with ``reverse``.
            reverse: whether to go back.
        """
        if not reverse:
            return super().call(inputs)
        wanted = self.reverse_dtype or self.compute_dtype
        matrix = self.embedding.weight if self.tie_weights else self.reverse.weight
        wanted = dtypes.to_torch(wanted)
        scores = nn.functional.linear(inputs.to(wanted), matrix.to(wanted))
        cap = self.logit_soft_cap
        return scores if cap is None else torch.tanh(scores / cap) * cap

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return which numbers are not 0, with ``mask_zero`` and whole numbers; else none."""
        dtype = inputs.dtype
        is_way_back = dtypes.to_torch(dtype).is_floating_point
        return None if is_way_back else super().compute_mask(inputs, mask)

    def compute_output_shape(self, input_shape: Any, reverse: bool = False) -> Any:
        """Return the input's shape with ``output_dim`` behind it; on the way back in its place."""
        if reverse:
            return (*input_shape[:-1], self.input_dim)
        return super().compute_output_shape(input_shape)

    def compute_output_spec(self, inputs: Any, reverse: bool = False) -> Spec:
        """Return shape and dtype of what comes out of a symbolic call."""
        dtype = (self.reverse_dtype if reverse else None) or self.compute_dtype
        return Spec(self.compute_output_shape(inputs.shape, reverse), dtype)
