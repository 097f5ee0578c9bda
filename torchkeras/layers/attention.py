"""Attention of one head: what is asked for picks from what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from torchkeras import random
from torchkeras.graph import Spec
from torchkeras.layers import arguments
from torchkeras.layers.base import Layer
from torchkeras.layers.structures import is_shape
from torchkeras.registry import register
from torchkeras.seeds import SeedGenerator

Shape = tuple[int | None, ...]


class DotAttention(Layer):
    """Base of attention between a query and pairs of keys and values.

    A subclass writes ``_calculate_scores(query, key)``, ``(batch, queries, keys)``.

    Args:
        use_scale: whether the scores are scaled by what is learned.
        dropout: the part of the weights that is dropped in training.
        seed: an integer, by which the layer draws numbers of its own; torch's global generator
            gives them otherwise.
        kwargs: the arguments of :class:`Layer`.
    """

    def __init__(self, use_scale: bool, dropout: float, seed: int | None, **kwargs: Any):
        super().__init__(**kwargs)
        self.use_scale = use_scale
        self.dropout = arguments.between(type(self).__name__, "dropout", dropout, 0, 1)
        self.seed = seed
        if dropout > 0:
            self.seed_generator = SeedGenerator(seed)

    # Whether the scores are the dot product of ``_scaled(query)`` and the keys.
    _is_dot_product = False

    def _scaled(self, query: torch.Tensor) -> torch.Tensor:
        return query if self.scale is None else query * self.scale.value

    def call(
        self,
        inputs: Sequence[torch.Tensor],
        mask: Sequence[torch.Tensor | None] | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return for each query a mean of the values, weighted by how it fits their keys.

        Args:
            inputs: query ``(batch, queries, size)``, value ``(batch, keys, size)``, and a key of
                the value's length where it is not the value.
            mask: for query and value, true for the steps that count, or ``None``: the output is 0
                at the others of the query, and others of the value have no part in it.
            return_attention_scores: whether the weights are returned as well.
            use_causal_mask: whether no query sees a key behind its own place.

        Returns:
            ``(batch, queries, size)``, with the weights ``(batch, queries, keys)`` if asked for.
        """
        self._check_list(inputs)
        query, value = inputs[0], inputs[1]
        key = inputs[2] if len(inputs) > 2 else value
        query_mask, value_mask = self._masks(mask)
        if value_mask is not None and value_mask.dim() == 2:
            value_mask = value_mask.unsqueeze(-2)
        # Not with a mask: of a query that sees no key the kernels' gradient is another.
        is_plain = value_mask is None and not return_attention_scores and not self._draws
        if self._is_dot_product and is_plain:
            outputs, weights = self._by_kernel(query, key, value, use_causal_mask), None
        else:
            scores = self._calculate_scores(query, key)
            outputs, weights = self._apply_scores(scores, value, value_mask, use_causal_mask)
        if query_mask is not None:
            outputs = outputs.masked_fill(~query_mask.bool().unsqueeze(-1), 0)
        return (outputs, weights) if return_attention_scores else outputs

    @property
    def _draws(self) -> bool:
        return self.training and self.dropout > 0

    def _by_kernel(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, is_causal: bool
    ) -> torch.Tensor:
        """Attend by torch's fused kernels, which take heads as well."""
        query, key, value = (x.unsqueeze(-3) for x in (self._scaled(query), key, value))
        return functional.scaled_dot_product_attention(
            query, key, value, is_causal=is_causal, scale=1.0
        ).squeeze(-3)

    def _apply_scores(
        self,
        scores: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        is_causal: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean of the values and its weights."""
        if is_causal:
            causal = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
            mask = causal if mask is None else mask.bool() & causal
        if mask is not None:
            # Not -inf: a query that sees no key would get NaN.
            scores = torch.where(mask.bool(), scores, scores - _large(scores))
        weights = torch.softmax(scores, -1)
        if self._draws:
            seed = None if self.seed is None else self.seed_generator
            weights = random.dropout(weights, self.dropout, seed=seed)
        return weights @ value, weights

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the query's mask."""
        self._check_list(inputs)
        return self._masks(mask)[0]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the query's shape with the size of the values."""
        self._check_list(input_shape)
        return (*input_shape[0][:-1], input_shape[1][-1])

    def compute_output_spec(
        self,
        inputs: Sequence[Any],
        mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Return shape and dtype of the output, and of the weights if asked for."""
        self._check_list(inputs)
        shapes: list[Shape] = [x.shape for x in inputs]
        output = Spec(self.compute_output_shape(shapes), self.compute_dtype)
        if not return_attention_scores:
            return output
        return output, Spec((*shapes[0][:-1], shapes[-1][-2]), self.compute_dtype)

    # --------------------------------------------------------------------------------- checks

    def _check_list(self, inputs: Any) -> None:
        """Raise unless there are two or three inputs."""
        is_list = isinstance(inputs, (list, tuple)) and not (inputs and is_shape(inputs))
        if not is_list or len(inputs) not in (2, 3):
            received = f"a list of {len(inputs)}" if is_list else "one"
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}) takes a list of inputs, "
                f"[query, value] or [query, value, key]; received {received}."
            )

    def _masks(self, mask: Any) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Return the masks of query and value."""
        if mask is None:
            return None, None
        if not isinstance(mask, (list, tuple)) or len(mask) not in (2, 3):
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}) takes a list of masks, of query and "
                f"value; received {mask!r}."
            )
        return mask[0], mask[1]


def _large(scores: torch.Tensor) -> float:
    """Return what a score that does not count is lowered by."""
    return 65504.0 if scores.dtype is torch.float16 else 1.0e9


@register("layer")
class Attention(DotAttention):
    """Dot-product attention, of one head and without weights of its own.

    Args:
        use_scale: whether the scores are multiplied by a number that is learned.
        score_mode: ``'dot'`` for the dot product of query and key, ``'concat'`` for the sum of
            ``tanh(query + key)``, times a number that is learned.
        dropout: the part of the weights that is dropped in training.
        seed: an integer, by which the layer draws numbers of its own.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        inputs ``[(batch, queries, size), (batch, keys, size)]`` and perhaps keys of their own, of
        the second one's shape; output ``(batch, queries, size)``.

    Raises:
        ValueError: for another ``score_mode``.

    Source: Luong et al. 2015, arXiv:1508.04025.
    """

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        if score_mode not in ("dot", "concat"):
            raise ValueError(
                f"Attention: score_mode must be 'dot' or 'concat'; received {score_mode!r}."
            )
        super().__init__(use_scale, dropout, seed, **kwargs)
        self.score_mode = score_mode

    def build(self, input_shape: Any) -> None:
        """Make the numbers that are learned."""
        self._check_list(input_shape)
        self.scale = self.concat_score_weight = None
        if self.use_scale:
            self.scale = self.add_weight(name="scale", shape=(), initializer="ones")
        if self.score_mode == "concat":
            name = "concat_score_weight"
            self.concat_score_weight = self.add_weight(name=name, shape=(), initializer="ones")

    @property
    def _is_dot_product(self) -> bool:
        return self.score_mode == "dot"

    def _calculate_scores(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        if self.score_mode == "dot":
            return self._scaled(query) @ key.transpose(-2, -1)
        both = self._scaled(query.unsqueeze(-2) + key.unsqueeze(-3))
        return self.concat_score_weight.value * torch.tanh(both).sum(-1)


@register("layer")
class AdditiveAttention(DotAttention):
    """Attention whose scores are the sum of ``scale * tanh(query + key)``.

    Args:
        use_scale: whether ``scale`` is a vector that is learned; 1 otherwise.
        dropout: the part of the weights that is dropped in training.
        kwargs: ``seed``, an integer by which the layer draws numbers of its own, and the arguments
            of :class:`Layer`.

    Shapes:
        as of :class:`Attention`.

    Source: Bahdanau et al. 2015, arXiv:1409.0473.
    """

    def __init__(
        self, use_scale: bool = True, dropout: float = 0.0, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(use_scale, dropout, seed, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Make the scale for the size of the queries."""
        self._check_list(input_shape)
        self.scale = None
        if self.use_scale:
            size = arguments.last_axis(self.name, input_shape[0])
            self.scale = self.add_weight(name="scale", shape=(size,), initializer="glorot_uniform")

    def _calculate_scores(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return self._scaled(torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3))).sum(-1)
