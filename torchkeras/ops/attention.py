"""Attention: ``keras.ops.dot_product_attention``, by torch's fused kernels."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from torchkeras.ops.promotion import cast, common, common_dtype
from torchkeras.ops.table import Table

op = Table("nn", __name__)
__all__ = op.names

_WITHOUT_FLASH = [
    SDPBackend.MATH,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
]


def _spec(query: Any, key: Any, value: Any, **others: Any) -> tuple[tuple, torch.dtype]:
    """Return shape and dtype of what comes out."""
    _check_ranks(query, key, value)
    dtype = common_dtype(query.dtype, key.dtype, value.dtype)
    return (*query.shape[:-1], value.shape[-1]), dtype


def _check_ranks(*given: Any) -> None:
    shapes = [tuple(x.shape) for x in given]
    if any(len(shape) != 4 for shape in shapes):
        raise ValueError(
            "ops.dot_product_attention: query, key and value must be of 4 dimensions, (samples, "
            f"length, heads, size); received shapes {shapes}."
        )


@op.own(inputs="scale", spec=_spec)
def dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Tensor:
    """Return ``softmax(query @ key * scale + bias) @ value`` for each head.

    Args:
        query: ``(samples, length, heads, size)``.
        key: ``(samples, key length, heads, size)``; its heads may be fewer, a divisor of the
            query's: each then serves several.
        value: ``(samples, key length, heads, value size)``.
        bias: added to the logits; broadcast to ``(samples, heads, length, key length)``.
        mask: true where a key takes part; broadcast likewise. What a query gets that may see no
            key is finite, and means nothing.
        scale: of the logits; ``1 / sqrt(size)`` unless given.
        is_causal: whether no query sees a key behind its own place.
        flash_attention: whether torch's flash kernel must be used; torch chooses unless given.
        attn_logits_soft_cap: of the TPU alone.

    Returns:
        ``(samples, length, heads, value size)``.

    Raises:
        ValueError: for other ranks, a soft cap, or a flash kernel that these inputs cannot have.
    """
    if attn_logits_soft_cap is not None:
        raise ValueError(
            "ops.dot_product_attention: attn_logits_soft_cap is known to JAX on a TPU alone, as in "
            "Keras; torch's kernels have none. Leave it out."
        )
    _check_ranks(query, key, value)
    query, key, value = (x.transpose(1, 2) for x in common(query, key, value))
    is_grouped = query.shape[1] != key.shape[1]
    if is_causal and not (bias is None and mask is None):
        causal = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device)
        causal = causal.tril()
        mask, is_causal = causal if mask is None else mask.bool() & causal, False
    if mask is not None:
        # A number, not -inf: a row of those would be NaN.
        low = -0.7 * torch.finfo(query.dtype).max
        shown = cast(0.0 if bias is None else bias, query.dtype, like=query)
        bias = torch.where(mask.bool(), shown, low)
    elif bias is not None:
        bias = cast(bias, query.dtype)
    with _kernels(flash_attention):
        y = scaled_dot_product_attention(
            query, key, value, bias, 0.0, is_causal, scale=scale, enable_gqa=is_grouped
        )
    return y.transpose(1, 2)


def _kernels(flash_attention: bool | None) -> contextlib.AbstractContextManager:
    """Return the context in which torch uses the flash kernel, does not, or chooses."""
    if flash_attention is None:
        return contextlib.nullcontext()
    return sdpa_kernel(SDPBackend.FLASH_ATTENTION if flash_attention else _WITHOUT_FLASH)
