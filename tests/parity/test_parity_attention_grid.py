"""Embeddings, einsums and attention against Keras 3.15, over a grid of their arguments."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from layer_grid import Case, check

_EMBEDDINGS = [
    Case("Embedding", {"input_dim": 6, "output_dim": 4}, (3, 5), ids=6),
    Case("Embedding", {"input_dim": 6, "output_dim": 4}, (3,), ids=6),
    Case("Embedding", {"input_dim": 6, "output_dim": 1}, (2, 3, 4), ids=6),
    Case("Embedding", {"input_dim": 9, "output_dim": 4, "mask_zero": True}, (3, 5), ids=9),
    Case(
        "Embedding",
        {
            "input_dim": 6,
            "output_dim": 3,
            "embeddings_initializer": "zeros",
            "embeddings_regularizer": "l2",
            "embeddings_constraint": "non_neg",
        },
        (3, 5),
        ids=6,
    ),
    Case("Embedding", {"input_dim": 6, "output_dim": 4, "dtype": "float64"}, (3, 5), ids=6),
    # Keras adds the gradients up in half precision.
    Case(
        "Embedding",
        {"input_dim": 6, "output_dim": 4, "dtype": "mixed_bfloat16"},
        (3, 5),
        ids=6,
        grad_atol=0.02,
    ),
    Case("Embedding", {"input_dim": 6, "output_dim": 4, "trainable": False}, (3, 5), ids=6),
    Case(
        "Embedding", {"input_dim": 6, "output_dim": 4, "activity_regularizer": "l2"}, (3, 5), ids=6
    ),
    Case("ReversibleEmbedding", {"input_dim": 6, "output_dim": 4}, (3, 5), ids=6),
    Case(
        "ReversibleEmbedding", {"input_dim": 6, "output_dim": 4, "mask_zero": True}, (3, 5), ids=6
    ),
    Case(
        "ReversibleEmbedding",
        {"input_dim": 6, "output_dim": 4, "tie_weights": False},
        (3, 5),
        ids=6,
    ),
    *[
        Case(
            "ReversibleEmbedding",
            {"input_dim": 6, "output_dim": 4, **config},
            (3, 5, 4),
            call={"reverse": True},
        )
        for config in (
            {},
            {"tie_weights": False},
            {"logit_soft_cap": 0.5},
            {"tie_weights": False, "logit_soft_cap": 2.0},
        )
    ],
]

_EINSUMS = [
    Case(
        "EinsumDense",
        {"equation": equation, "output_shape": shape, **config},
        inputs,
        atol=0.02 if config.get("dtype") == "mixed_bfloat16" else 1e-5,
        grad_atol=0.1 if config.get("dtype") == "mixed_bfloat16" else 1e-5,
    )
    for equation, shape, inputs, config in [
        ("ab,bc->ac", 4, (3, 5), {}),
        ("ab,bc->ac", (4,), (3, 5), {"bias_axes": "c"}),
        ("ab,bc->ac", 4, (3, 5), {"bias_axes": "c", "activation": "tanh"}),
        ("abc,cd->abd", (None, 4), (2, 3, 5), {}),
        ("abc,cd->abd", (None, 4), (2, 3, 5), {"bias_axes": "d"}),
        ("abc,cd->abd", (3, 4), (2, 3, 5), {"bias_axes": "bd"}),
        ("abc,cd->abd", (3, 4), (2, 3, 5), {"bias_axes": "b"}),
        ("...x,xy->...y", 4, (2, 3, 5), {}),
        ("...x,xy->...y", 4, (2, 3, 5), {"bias_axes": "y"}),
        ("...x,xy->...y", 4, (2, 3, 3, 5), {"bias_axes": "y", "activation": "selu"}),
        ("...x,xy->...y", 4, (2, 5), {"bias_axes": "y"}),
        ("ab...,bc->ac...", 4, (2, 5, 3), {}),
        ("ab...,bc->ac...", 4, (2, 5, 3), {"bias_axes": "c"}),
        ("ab...,bc->ac...", 4, (2, 5, 3, 2), {"bias_axes": "c"}),
        ("abc,cde->abde", (None, 3, 4), (2, 2, 5), {"bias_axes": "de"}),
        ("abc,cde->abde", (None, 3, 4), (2, 2, 5), {"bias_axes": "e"}),
        ("abc,cde->abde", (None, 3, 4), (2, 2, 5), {"bias_axes": "d"}),
        ("abcd,cde->abe", (None, 4), (2, 3, 2, 5), {"bias_axes": "e"}),
        ("abc,bcd->ad", 4, (2, 3, 5), {"bias_axes": "d"}),
        ("abc,bde->ade", (3, 4), (2, 6, 5), {}),
        ("abc,dc->abd", (None, 4), (2, 3, 5), {"bias_axes": "d"}),
        ("abc,bd->adc", (4, 5), (2, 3, 5), {"bias_axes": "d"}),
        ("abc,bd->adc", (4, 5), (2, 3, 5), {"bias_axes": "dc"}),
        ("abc,cd->adb", (4, 3), (2, 3, 5), {"bias_axes": "d"}),
        ("abc,bcd->abd", (3, 4), (2, 3, 5), {"bias_axes": "bd"}),
        ("abcde,de->abc", (None, None), (2, 3, 2, 4, 2), {}),
        ("ab,bc->ac", 4, (3, 5), {"kernel_initializer": "he_normal", "bias_axes": "c"}),
        ("ab,bc->ac", 4, (3, 5), {"kernel_regularizer": "l2", "bias_regularizer": "l2"}),
        ("ab,bc->ac", 4, (3, 5), {"kernel_constraint": "max_norm", "bias_constraint": "non_neg"}),
        ("ab,bc->ac", 4, (3, 5), {"activity_regularizer": "l2", "bias_axes": "c"}),
        ("ab,bc->ac", 4, (3, 5), {"dtype": "float64", "bias_axes": "c"}),
        ("abc,cde->abde", (None, 3, 4), (2, 2, 5), {"dtype": "mixed_bfloat16", "bias_axes": "de"}),
    ]
]

_QV, _QVK = [(2, 3, 4), (2, 5, 4)], [(2, 3, 4), (2, 5, 6), (2, 5, 4)]
_MASKS = [
    np.array([[1, 1, 0], [1, 0, 1]], bool),
    np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], bool),
]
_SINGLE = [
    Case(name, config, shapes, call=call)
    for name, configs in (
        (
            "Attention",
            (
                {},
                {"use_scale": True},
                {"score_mode": "concat"},
                {"score_mode": "concat", "use_scale": True},
                {"dropout": 0.3, "seed": 3},
            ),
        ),
        ("AdditiveAttention", ({}, {"use_scale": False}, {"dropout": 0.3})),
    )
    for config in configs
    for shapes, call in (
        (_QV, {}),
        (_QVK, {}),
        (_QV, {"use_causal_mask": True}),
        (_QV, {"return_attention_scores": True, "use_causal_mask": True}),
    )
]
_SINGLE += [
    Case(name, config, _QV, call={"mask": _MASKS, **call})
    for name, config in (
        ("Attention", {}),
        ("Attention", {"use_scale": True}),
        ("Attention", {"score_mode": "concat"}),
        ("AdditiveAttention", {}),
    )
    for call in ({}, {"use_causal_mask": True}, {"return_attention_scores": True})
]
_SINGLE += [
    Case("Attention", {}, [(2, 2, 3, 4), (2, 2, 5, 4)]),
    Case("Attention", {"seed": 3, "dropout": 0.4}, _QV, training=True),
    Case("Attention", {"seed": 3, "dropout": 0.4, "score_mode": "concat"}, _QVK, training=True),
    Case("AdditiveAttention", {"seed": 3, "dropout": 0.4}, _QV, training=True),
]

_HEADS = {"num_heads": 2, "key_dim": 3}
_SEES = np.random.RandomState(0).rand(2, 4, 5) > 0.3
_SEES[0, 1] = False  # a query that sees no key
_QUERY, _VALUE = (2, 4, 6), (2, 5, 6)
_HEADED = [
    Case("MultiHeadAttention", {**_HEADS, **config}, [_QUERY, _VALUE], spread=True, call=call)
    for config, call in [
        ({}, {}),
        ({"value_dim": 4}, {}),
        ({"use_bias": False}, {}),
        ({"output_shape": 5}, {}),
        ({"output_shape": (2, 3)}, {}),
        ({"use_gate": True}, {}),
        ({"use_gate": True, "value_dim": 4, "use_bias": False}, {}),
        ({"sliding_window": 2}, {}),
        ({"sliding_window": 1}, {"use_causal_mask": True}),
        ({"sliding_window": 2}, {"return_attention_scores": True}),
        ({"attention_axes": 1}, {}),
        ({"attention_axes": -2}, {"return_attention_scores": True}),
        ({"flash_attention": False}, {}),
        ({}, {"use_causal_mask": True}),
        ({}, {"return_attention_scores": True}),
        ({}, {"return_attention_scores": True, "use_causal_mask": True}),
        ({}, {"attention_mask": _SEES}),
        ({}, {"attention_mask": _SEES[0]}),
        ({}, {"attention_mask": _SEES[:, None]}),
        ({}, {"attention_mask": _SEES, "use_causal_mask": True}),
        ({}, {"attention_mask": _SEES, "return_attention_scores": True}),
        ({}, {"attention_mask": _SEES[0], "return_attention_scores": True}),
        ({}, {"value_mask": _MASKS[1]}),
        ({}, {"value_mask": _MASKS[1], "use_causal_mask": True}),
        ({}, {"value_mask": _MASKS[1], "return_attention_scores": True}),
        ({"dropout": 0.4}, {}),
        ({"dropout": 0.4}, {"attention_mask": _SEES}),
        ({"dropout": 0.4}, {"attention_mask": _SEES[0], "use_causal_mask": True}),
        ({"dropout": 0.4}, {"use_causal_mask": True}),
        ({"dropout": 0.4}, {"return_attention_scores": True}),
        ({"kernel_initializer": "ones", "bias_initializer": "ones"}, {}),
        ({"kernel_regularizer": "l2", "bias_regularizer": "l2"}, {}),
        ({"kernel_constraint": "max_norm", "bias_constraint": "non_neg"}, {}),
        ({"activity_regularizer": "l2"}, {}),
        ({"dtype": "float64"}, {}),
    ]
]
_HEADED += [
    Case("MultiHeadAttention", {**_HEADS, **config}, shapes, spread=True, call=call)
    for config, shapes, call in [
        ({}, [_QUERY, (2, 5, 3), (2, 5, 4)], {}),
        ({}, [_QUERY, (2, 5, 3), (2, 5, 4)], {"key_mask": _MASKS[1]}),
        ({"value_dim": 4}, [_QUERY, (2, 5, 3), (2, 5, 4)], {"return_attention_scores": True}),
        ({}, [(2, 3, 4, 6), (2, 3, 5, 6)], {}),
        ({"attention_axes": 2}, [(2, 3, 4, 6), (2, 3, 5, 6)], {}),
        ({"attention_axes": (2,)}, [(2, 3, 4, 6), (2, 3, 5, 6)], {"attention_mask": _SEES}),
        ({"attention_axes": (1, 2)}, [(2, 3, 4, 6), (2, 2, 5, 6)], {}),
        ({"attention_axes": 1}, [(2, 3, 4, 6), (2, 5, 4, 6)], {"return_attention_scores": True}),
        ({"attention_axes": (-2, -3)}, [(2, 3, 4, 6), (2, 2, 5, 6)], {}),
    ]
]
_HEADED += [
    Case(
        "MultiHeadAttention",
        {**_HEADS, "seed": 4, "dropout": 0.4},
        [_QUERY, _VALUE],
        spread=True,
        training=True,
        call=call,
    )
    for call in (
        {},
        {"attention_mask": _SEES},
        {"use_causal_mask": True},
        {"return_attention_scores": True},
    )
]
_HEADED += [
    Case(
        "GroupQueryAttention",
        {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2, **config},
        [_QUERY, _VALUE],
        spread=True,
        call=call,
        training="seed" in config,
    )
    for config, call in [
        ({}, {}),
        ({"num_key_value_heads": 4}, {}),
        ({"num_key_value_heads": 1}, {}),
        ({"num_key_value_heads": 1}, {"return_attention_scores": True}),
        ({"use_bias": False}, {}),
        ({"use_gate": True}, {}),
        ({"sliding_window": 2}, {}),
        ({"sliding_window": 2}, {"use_causal_mask": True}),
        ({"flash_attention": False}, {}),
        ({}, {"use_causal_mask": True}),
        ({}, {"return_attention_scores": True}),
        ({}, {"return_attention_scores": True, "use_causal_mask": True}),
        ({}, {"attention_mask": _SEES}),
        ({}, {"attention_mask": _SEES, "use_causal_mask": True}),
        ({}, {"attention_mask": _SEES, "return_attention_scores": True}),
        ({}, {"value_mask": _MASKS[1]}),
        ({"dropout": 0.4}, {}),
        ({"dropout": 0.4}, {"attention_mask": _SEES}),
        ({"dropout": 0.4, "seed": 3}, {}),
        ({"dropout": 0.4, "seed": 3}, {"attention_mask": _SEES}),
        ({"kernel_regularizer": "l2", "bias_constraint": "non_neg"}, {}),
        ({"dtype": "float64"}, {}),
    ]
]

CASES = [*_EMBEDDINGS, *_EINSUMS, *_SINGLE, *_HEADED]


@pytest.mark.parametrize("case", CASES, ids=[f"{at}-{c.title}" for at, c in enumerate(CASES)])
def test_like_keras(case):
    check(case)
