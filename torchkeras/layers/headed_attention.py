"""What MultiHeadAttention and GroupQueryAttention have in common."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from torchkeras import (
    config as settings,
    constraints,
    initializers,
    ops,
    random,
    regularizers,
)
from torchkeras.graph import Spec
from torchkeras.layers import arguments
from torchkeras.layers.base import Layer
from torchkeras.layers.einsum_dense import EinsumDense
from torchkeras.seeds import SeedGenerator

Shape = tuple[int | None, ...]


class HeadedAttention(Layer):
    """Base of attention of several heads; a subclass makes the projections in ``build``.

    Args:
        query_heads: how many heads there are.
        size: length of a query and a key in a head.
        dropout: the part of the attention's weights that is dropped in training.
        use_bias: whether the projections add a bias.
        sliding_window: how far a query sees to each side, itself counted; all around unless given.
        flash_attention: whether torch's flash kernel must be used; torch chooses unless given.
        initial: initializers, regularizers and constraints of the projections, by name.
        use_gate: whether what comes out of a head is scaled by a sigmoid of the query.
        seed: an integer, by which the layer draws numbers of its own; torch's global generator
            gives them otherwise.
        kwargs: the arguments of :class:`Layer`.

    Raises:
        ValueError: for a number that is none of these, and for dropout with the flash kernel.
    """

    supports_masking = True
    float_inputs = True
    config_without = ("flash_attention",)

    def __init__(
        self,
        query_heads: int,
        size: int,
        dropout: float,
        use_bias: bool,
        sliding_window: int | None,
        flash_attention: bool | None,
        initial: dict[str, Any],
        use_gate: bool,
        seed: int | None,
        **kwargs: Any,
    ):
        owner = type(self).__name__
        super().__init__(activity_regularizer=initial["activity_regularizer"], **kwargs)
        self._heads, self._size = query_heads, size
        self.dropout = arguments.between(owner, "dropout", dropout, 0, 1)
        self.use_bias = use_bias
        self.use_gate = use_gate
        self.seed = seed
        if sliding_window is not None:
            sliding_window = arguments.positive(owner, "sliding_window", sliding_window)
        self.sliding_window = sliding_window
        self.flash_attention = flash_attention or settings.is_flash_attention_enabled()
        self.kernel_initializer = initializers.get(initial["kernel_initializer"])
        self.bias_initializer = initializers.get(initial["bias_initializer"])
        for kind, get in (("regularizer", regularizers.get), ("constraint", constraints.get)):
            for weight in ("kernel", "bias"):
                setattr(self, f"{weight}_{kind}", get(initial[f"{weight}_{kind}"]))
        if self.flash_attention and dropout > 0:
            raise ValueError(
                f"{owner}: flash_attention=True takes no dropout={dropout}; leave one of them out."
            )
        if dropout > 0:
            self.seed_generator = SeedGenerator(seed)

    def _projection(
        self, equation: str, output_shape: Sequence[int | None], bias_axes: str, name: str
    ) -> EinsumDense:
        """Make one of the dense layers, with initial values drawn by itself."""
        initial = {
            key: type(drawn).from_config(drawn.get_config())
            for key in ("kernel_initializer", "bias_initializer")
            for drawn in [getattr(self, key)]
        }
        return EinsumDense(
            equation,
            output_shape,
            bias_axes=bias_axes if self.use_bias else None,
            activation="sigmoid" if name == "gate" else None,
            name=name,
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            activity_regularizer=self.activity_regularizer,
            kernel_constraint=self.kernel_constraint,
            bias_constraint=self.bias_constraint,
            dtype=self.dtype_policy,
            **initial,
        )

    def call(
        self,
        query: torch.Tensor,
        value: torch.Tensor,
        key: torch.Tensor | None = None,
        query_mask: torch.Tensor | None = None,
        value_mask: torch.Tensor | None = None,
        key_mask: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Return for each query a projection of the values that its heads pick.

        Args:
            query: ``(batch, queries, size)``.
            value: ``(batch, keys, size)``.
            key: of the value's length; the value unless given.
            query_mask: ``(batch, queries)``, true for the steps that count; the tensor's own mask
                unless given, as are the next two.
            value_mask: ``(batch, keys)``.
            key_mask: ``(batch, keys)``.
            attention_mask: ``(batch, queries, keys)``, true where a query sees a key.
            return_attention_scores: whether the weights are returned as well.
            use_causal_mask: whether no query sees a key behind its own place.

        Returns:
            ``(batch, queries, size of the query)``, with the weights
            ``(batch, heads, queries, keys)`` if asked for.

        Raises:
            ValueError: for weights that the flash kernel would have to return.
        """
        key = value if key is None else key
        masks = (query_mask, value_mask, key_mask, attention_mask)
        is_causal = bool(use_causal_mask) and self._takes_causal(masks)
        mask = self._mask(query, value, *masks, use_causal_mask and not is_causal)
        asked = {"return_attention_scores": True} if return_attention_scores else {}
        if is_causal:
            asked["use_causal_mask"] = True
        projected = (self.query_dense(query), self.key_dense(key), self.value_dense(value))
        outputs, scores = self._compute_attention(*projected, mask, self.training, **asked)
        if self.use_gate:
            outputs = outputs * self.gate_dense(query)
        outputs = self.output_dense(outputs)
        return (outputs, scores) if return_attention_scores else outputs

    def _compute_attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend in each head; a subclass may do it in another way, as in Keras.

        Args:
            query: projected, ``(batch, queries, heads, size)``.
            key: ``(batch, keys, heads, size)``.
            value: ``(batch, keys, heads, value size)``.
            attention_mask: all masks, joined.
            training: whether to drop weights; the layer's own mode unless given.
            return_attention_scores: whether the weights are wanted.
            use_causal_mask: whether no query sees a key behind its own place; a subclass that
                writes this method finds that in ``attention_mask``.

        Returns:
            ``(batch, queries, heads, value size)``, and the weights or ``None``.

        Raises:
            ValueError: for weights that the flash kernel would have to return.
        """
        if return_attention_scores and self.flash_attention:
            raise ValueError(
                f"Layer {self.name!r}: flash_attention=True gives no scores; leave "
                "return_attention_scores=True out."
            )
        training = self.training if training is None else training
        rate = self.dropout if training else 0.0
        heads = (query, key, value, attention_mask)
        if (
            query.dim() == 4
            and not return_attention_scores
            and not (rate and self.seed is not None)
        ):
            return self._attend(*heads, rate, use_causal_mask), None
        return self._attend_by_steps(*heads, rate, use_causal_mask)

    # --------------------------------------------------------------------------------- masks

    def _takes_causal(self, masks: Sequence[torch.Tensor | None]) -> bool:
        """Tell whether there is no mask but the causal one, which torch's kernels know."""
        is_own = type(self)._compute_attention is HeadedAttention._compute_attention
        return is_own and self.sliding_window is None and all(mask is None for mask in masks)

    def _mask(
        self,
        query: torch.Tensor,
        value: torch.Tensor,
        query_mask: torch.Tensor | None,
        value_mask: torch.Tensor | None,
        key_mask: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        is_causal: bool,
    ) -> torch.Tensor | None:
        """Join all masks to one that broadcasts to ``(batch, queries, keys)``."""
        parts = [
            None if query_mask is None else query_mask.unsqueeze(-1),
            None if value_mask is None else value_mask.unsqueeze(-2),
            None if key_mask is None else key_mask.unsqueeze(-2),
            attention_mask,
        ]
        if is_causal or self.sliding_window is not None:
            row = torch.arange(query.shape[1], device=query.device).unsqueeze(1)
            ahead = torch.arange(value.shape[1], device=query.device) - row
            if is_causal:
                parts.append(ahead <= 0)
            if self.sliding_window is not None:
                parts.append(ahead.abs() < self.sliding_window)
        joined = None
        for part in parts:
            if part is not None:
                joined = part.bool() if joined is None else joined & part.bool()
        return joined

    # --------------------------------------------------------------------------------- attention

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        rate: float,
        is_causal: bool,
    ) -> torch.Tensor:
        """Attend by torch's fused kernels, ``(batch, length, heads, size)``."""
        if mask is not None:
            mask = mask.bool()
            while mask.dim() < 4:  # the heads
                mask = mask.unsqueeze(-3)
        scale = self._size**-0.5
        if rate == 0:
            outputs = ops.dot_product_attention(
                query,
                key,
                value,
                mask=mask,
                scale=scale,
                is_causal=is_causal,
                flash_attention=self.flash_attention,
            )
        else:
            bias = None
            if mask is not None:
                bias = torch.where(mask, 0.0, -0.7 * torch.finfo(query.dtype).max).to(query.dtype)
            outputs = functional.scaled_dot_product_attention(
                *(x.transpose(1, 2) for x in (query, *self._per_head(key, value))),
                bias,
                rate,
                is_causal,
                scale=scale,
            ).transpose(1, 2)
        if self.dropout and mask is not None:
            # As the softmax that Keras takes then has it: a query that sees no key gets 0.
            sees_none = ~mask.any(-1).transpose(1, 2).unsqueeze(-1)
            outputs = outputs.masked_fill(sees_none, 0)
        return outputs

    def _attend_by_steps(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        rate: float,
        is_causal: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attend along any axes, and return the weights as well."""
        to_scores, to_outputs, count = self._equations(query.dim())
        key, value = self._per_head(key, value)
        scores = torch.einsum(to_scores, query * self._size**-0.5, key)
        if is_causal:
            causal = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
            mask = causal if mask is None else mask.bool() & causal
        if mask is None:
            scores = torch.softmax(scores.flatten(-count), -1).view(scores.shape)
        else:
            while mask.dim() < scores.dim():  # heads, and axes that are not attended along
                mask = mask.unsqueeze(-2 * count - 1)
            mask = mask.bool()
            low = -3e4 if scores.dtype is torch.float16 else -1e9
            lowered = scores.masked_fill(~mask, low).flatten(-count)
            scores = torch.softmax(lowered, -1).view(scores.shape).masked_fill(~mask, 0)
        weights = scores
        if rate:
            seed = None if self.seed is None else self.seed_generator
            weights = random.dropout(scores, rate, seed=seed)
        return torch.einsum(to_outputs, weights, value), scores

    def _equations(self, rank: int) -> tuple[str, str, int]:
        """Return the equations of scores and outputs, and along how many axes keys lie."""
        axes = self._attention_axes
        queries = string.ascii_lowercase[:rank]
        keys = "".join(c.upper() if at in axes else c for at, c in enumerate(queries))
        others = "".join(c for at, c in enumerate(queries[:-1]) if at not in axes)
        scores = others + "".join(queries[at] for at in axes) + "".join(keys[at] for at in axes)
        return f"{queries},{keys}->{scores}", f"{scores},{keys}->{queries}", len(axes)

    _attention_axes: tuple[int, ...] = (1,)

    def _per_head(self, *tensors: torch.Tensor) -> Sequence[torch.Tensor]:
        """Return keys and values with as many heads as there are of queries."""
        return tensors

    def compute_output_spec(self, query: Any, value: Any, key: Any = None, **kwargs: Any) -> Any:
        """Return shape and dtype of the output, and of the weights if asked for."""
        shapes = [query.shape, value.shape, value.shape if key is None else key.shape]
        output = Spec(self.compute_output_shape(*shapes), self.compute_dtype)
        if not kwargs.get("return_attention_scores"):
            return output
        axes = self._attention_axes
        others = [size for at, size in enumerate(query.shape[:-1]) if at not in axes]
        sizes = [*(query.shape[at] for at in axes), *(shapes[2][at] for at in axes)]
        return output, Spec((*others, self._heads, *sizes), self.compute_dtype)

    def _check_lengths(self, value_shape: Shape, key_shape: Shape) -> None:
        """Raise unless there is a value for each key."""
        if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise ValueError(
                f"Layer {self.name!r} needs keys and values of the same number; received a value "
                f"of shape {tuple(value_shape)} and a key of shape {tuple(key_shape)}."
            )
