"""Embeddings, einsums and attention: what they do by themselves, their errors, captured steps."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import torchkeras as keras
from torchkeras import eras, layers
from torchkeras.layers import (
    AdditiveAttention,
    Attention,
    Dense,
    EinsumDense,
    Embedding,
    GroupQueryAttention,
    Input,
    MultiHeadAttention,
    ReversibleEmbedding,
    masks,
)


def test_embedding_holds_torch_module_and_trains_row_zero():
    layer = Embedding(5, 3, mask_zero=True)
    out = layer(torch.tensor([[0, 1, 0]]))
    assert isinstance(layer.embedding, nn.Embedding)
    assert list(layer.state_dict()) == ["embedding.weight"]
    assert out._keras_mask.tolist() == [[False, True, False]]
    out.sum().backward()
    assert layer.embedding.weight.grad[:, 0].tolist() == [2, 1, 0, 0, 0]


def test_embedding_refuses_numbers_without_a_row():
    layer = Embedding(5, 3, name="words")
    with pytest.raises(ValueError, match=r"'words'.*0 to 4.*input_dim=5.*from 1 to 7"):
        layer(np.array([[1, 7]]))
    with pytest.raises(ValueError, match="from -1 to 2"):
        layer(np.array([[-1, 2]]))


def test_embedding_takes_its_table():
    table = np.arange(12.0).reshape(4, 3)
    for given in (table, [table]):
        layer = Embedding(4, 3, weights=given)
        assert layer.built
        np.testing.assert_array_equal(layer.get_weights()[0], table)
        np.testing.assert_array_equal(layer([2]).detach().numpy(), table[[2]])
    with pytest.raises(ValueError, match=r"\(4, 3\)"):
        Embedding(4, 3, weights=table.T)


def test_embedding_takes_floats_as_numbers():
    layer = Embedding(4, 3)
    same = layer(np.array([1.0, 3.0])) == layer(np.array([1, 3]))
    assert same.all()


def test_embedding_of_old_scripts():
    model = keras.Sequential([Embedding(10, 4, input_length=6), layers.Flatten(), Dense(1)])
    assert model.output_shape == (None, 1)
    with pytest.raises(ValueError, match="input_length=5"):
        Embedding(10, 4, input_length=5, input_shape=(6,))
    with eras.using(1):
        layer = Embedding(10, 4, "zero", 6, W_regularizer="l2", dropout=0.0)
        assert layer.embeddings_regularizer.l2 == pytest.approx(0.01)
        model = keras.Sequential([layer])
        assert model.output_shape == (None, 6, 4)
        assert not layer.get_weights()[0].any()
        assert keras.Sequential([Embedding(10, 4)]).output_shape == (None, None, 4)
        with pytest.raises(ValueError, match="dropout"):
            Embedding(10, 4, dropout=0.3)


@pytest.mark.parametrize("name", ["lora_rank", "quantization_config"])
@pytest.mark.parametrize(
    "make",
    [
        lambda **given: Embedding(4, 3, **given),
        lambda **given: EinsumDense("ab,bc->ac", 3, **given),
        lambda **given: ReversibleEmbedding(4, 3, **given),
    ],
)
def test_what_is_not_supported_raises(name, make):
    with pytest.raises(ValueError, match=name):
        make(**{name: 2})


def test_reversible_embedding_goes_back_in_a_graph():
    inputs = Input((5,), dtype="int32")
    table = ReversibleEmbedding(9, 4, mask_zero=True)
    scores = table(table(inputs), reverse=True)
    model = keras.Model(inputs, scores)
    assert scores.shape == (None, 5, 9)
    ids = np.array([[0, 1, 2, 3, 8]])
    matrix = table.get_weights()[0]
    np.testing.assert_allclose(
        model.predict(ids, verbose=0), matrix[ids] @ matrix.T, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("equation", "shape", "given", "message"),
    [
        ("ab,bc>ac", 4, (2, 3), "none of the forms"),
        ("abc,cd->abd", 4, (2, 3, 5), "needs 2 sizes"),
        ("abc,cd->abd", (7, 4), (2, 3, 5), "size 3 in the input"),
        ("abc,cd->abe", (None, 4), (2, 3, 5), "'e' of the output"),
        ("abc,ce->abd", (None, 4), (2, 3, 5), "of the"),
        ("ab,bc->ac", 4, (2, 3, 5), "rank 2"),
        ("ab,bc->ac", (None,), (2, 3), "'c'.*not known"),
    ],
)
def test_einsum_dense_errors(equation, shape, given, message):
    with pytest.raises(ValueError, match=message):
        EinsumDense(equation, shape).build(given)
    with pytest.raises(ValueError, match="'z' of the bias"):
        EinsumDense("ab,bc->ac", 4, bias_axes="z").build((2, 3))


def test_einsum_dense_draws_by_the_axes_of_its_equation():
    keras.utils.set_random_seed(0)
    layer = EinsumDense("abc,cde->abde", (None, 40, 10), kernel_initializer="glorot_normal")
    layer.build((None, 5, 200))
    # The inputs are 200, the outputs 400: the deviation is sqrt(2 / 600).
    assert layer.get_weights()[0].std() == pytest.approx((2 / 600) ** 0.5, rel=0.02)


def test_attention_errors():
    x = torch.ones(2, 3, 4)
    for kind in (Attention, AdditiveAttention):
        layer = kind(name="looks")
        with pytest.raises(ValueError, match="'looks'.*list of inputs"):
            layer(x)
        with pytest.raises(ValueError, match="a list of 4"):
            layer([x, x, x, x])
        with pytest.raises(ValueError, match="list of masks"):
            layer([x, x], mask=torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="score_mode"):
        Attention(score_mode="product")
    with pytest.raises(ValueError, match="dropout"):
        Attention(dropout=2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_heads": 0, "key_dim": 2}, "num_heads"),
        ({"num_heads": 2, "key_dim": -1}, "key_dim"),
        ({"num_heads": 2, "key_dim": 2, "value_dim": 0}, "value_dim"),
        ({"num_heads": 2, "key_dim": 2, "sliding_window": 0}, "sliding_window"),
        ({"num_heads": 2, "key_dim": 2, "flash_attention": True, "dropout": 0.1}, "flash"),
    ],
)
def test_multi_head_attention_argument_errors(config, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(**config)


def test_multi_head_attention_shape_errors():
    layer = MultiHeadAttention(2, 2, flash_attention=True, name="heads")
    x = torch.ones(2, 3, 4)
    with pytest.raises(ValueError, match="'heads'.*same number"):
        layer(x, x, torch.ones(2, 5, 4))
    with pytest.raises(ValueError, match="gives no scores"):
        layer(x, x, return_attention_scores=True)
    with pytest.raises(ValueError, match="divisible"):
        GroupQueryAttention(2, 3, 2)
    with pytest.raises(ValueError, match="rank 3"):
        GroupQueryAttention(2, 2, 2)(torch.ones(2, 2, 3, 4), torch.ones(2, 2, 3, 4))


@pytest.mark.parametrize(
    "layer", [MultiHeadAttention(2, 3), GroupQueryAttention(3, 4, 2)], ids=["multi", "grouped"]
)
def test_masks_of_the_inputs_are_seen(layer):
    masks.use()
    layer = copy.deepcopy(layer)
    x, y = torch.randn(2, 4, 6), torch.randn(2, 5, 6)
    keep = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)
    rows = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)
    plain = layer(x, y)
    y._keras_mask, x._keras_mask = keep, rows
    out = layer(x, y)
    assert out._keras_mask is rows
    assert not torch.allclose(out[rows], plain[rows])
    other = y.clone()
    other[~keep] = 7.0  # what is masked does not count
    other._keras_mask = keep
    torch.testing.assert_close(layer(x, other)[rows], out[rows])


def test_attention_in_graphs():
    query, value = Input((4, 6)), Input((5, 6))
    out, scores = MultiHeadAttention(2, 3)(query, value, return_attention_scores=True)
    assert out.shape == (None, 4, 6)
    assert scores.shape == (None, 2, 4, 5)
    single, weights = Attention()([query, value], return_attention_scores=True)
    assert single.shape == (None, 4, 6)
    assert weights.shape == (None, 4, 5)
    model = keras.Model([query, value], [out, scores, single, weights])
    found = model.predict([np.ones((3, 4, 6)), np.ones((3, 5, 6))], verbose=0)
    assert [f.shape for f in found] == [(3, 4, 6), (3, 2, 4, 5), (3, 4, 6), (3, 4, 5)]
    np.testing.assert_allclose(found[1].sum(-1), 1, rtol=1e-5)


def test_a_subclass_may_attend_in_its_own_way():
    seen = []

    class First(MultiHeadAttention):
        def _compute_attention(self, query, key, value, attention_mask=None, training=None):
            seen.append((tuple(attention_mask.shape), training))
            return value[:, :1].expand(query.shape), None

    layer = First(2, 3)
    x = torch.randn(2, 4, 6)
    out = layer(x, x, use_causal_mask=True)
    assert seen[-1] == ((4, 4), False)
    torch.testing.assert_close(out[:, 0], out[:, 3])


def test_dropout_of_attention_is_of_training_alone():
    layer = MultiHeadAttention(2, 3, dropout=0.5)
    x = torch.randn(2, 8, 6)
    torch.testing.assert_close(layer(x, x), layer(x, x))
    keras.utils.set_random_seed(0)
    first = layer(x, x, training=True)
    assert not torch.allclose(first, layer(x, x, training=True))
    keras.utils.set_random_seed(0)
    torch.testing.assert_close(first, layer(x, x, training=True))
    # The mean over draws is what inference gives.
    mean = torch.stack([layer(x, x, training=True) for _ in range(400)]).mean(0)
    torch.testing.assert_close(mean, layer(x, x), atol=0.12, rtol=0)


def text_model(**attention):
    ids = Input((6,), dtype="int32")
    x = Embedding(12, 8, mask_zero=attention.pop("mask_zero", False))(ids)
    x = layers.Add()([x, MultiHeadAttention(2, 4, **attention)(x, x)])
    x = layers.LayerNormalization()(x)
    x = EinsumDense("abc,cd->abd", (None, 5), bias_axes="d", activation="tanh")(x)
    x = Attention(use_scale=True)([x, x])
    x = layers.Flatten()(x)
    return keras.Model(ids, Dense(1)(x))


@pytest.mark.parametrize(
    "attention",
    [{}, {"mask_zero": True}, {"dropout": 0.3, "seed": 1}, {"use_gate": True, "sliding_window": 2}],
)
def test_captured_step_is_the_eager_one(attention):
    ids = np.random.RandomState(0).randint(0, 12, (40, 6))
    target = np.random.RandomState(1).rand(40, 1)
    found = []
    for run_eagerly in (False, True):
        keras.registry.reset_names()
        keras.utils.set_random_seed(3)
        model = text_model(**attention)
        model.compile(keras.optimizers.SGD(0.005), "mse", run_eagerly=run_eagerly)
        history = model.fit(ids, target, batch_size=8, epochs=3, verbose=0, shuffle=False)
        found.append((history.history["loss"], model.get_weights(), model.step_report()))
    captured, eager = found
    assert captured[2].kind == "captured", captured[2]
    np.testing.assert_allclose(captured[0], eager[0], rtol=1e-6, atol=1e-6)
    for mine, other in zip(captured[1], eager[1], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
