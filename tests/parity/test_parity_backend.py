"""keras.backend against Keras 3 where it has the same function: in keras.ops, or as a layer."""

import keras
import numpy as np
import pytest
import torch

from torchkeras import backend as K

RNG = np.random.RandomState(5)
X = RNG.randn(3, 4, 5).astype("float32")
P = (np.abs(X) / np.abs(X).sum(-1, keepdims=True)).astype("float32")
T = np.eye(5, dtype="float32")[RNG.randint(0, 5, (3, 4))]
LABELS = T.argmax(-1)
WHOLE = np.array([[1, 2], [3, 4]], "int32")


def assert_same(ours, keras_result, dtype=True):
    expected = keras.ops.convert_to_numpy(keras_result)
    assert tuple(ours.shape) == expected.shape
    if dtype:
        assert K.dtype(ours) == expected.dtype.name
    np.testing.assert_allclose(K.get_value(ours), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis, keepdims", [(None, False), (0, True), (-1, False), ((0, 2), True)])
@pytest.mark.parametrize("name", "sum prod mean var std max min any all logsumexp".split())
def test_reductions(name, axis, keepdims):
    ours = getattr(K, name)(torch.tensor(X), axis=axis, keepdims=keepdims)
    assert_same(ours, getattr(keras.ops, name)(X, axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("values", [WHOLE, WHOLE > 1], ids=["int32", "bool"])
@pytest.mark.parametrize("name", "sum prod mean var std max min any all".split())
def test_reductions_of_integers_and_booleans(name, values):
    assert_same(getattr(K, name)(torch.tensor(values)), getattr(keras.ops, name)(values))


@pytest.mark.parametrize("name", "argmax argmin".split())
def test_indices_are_int64_as_in_keras_2(name):
    ours = getattr(K, name)(torch.tensor(X), axis=1)
    assert_same(ours, getattr(keras.ops, name)(X, axis=1), dtype=False)


@pytest.mark.parametrize("from_logits", [False, True])
def test_crossentropies(from_logits):
    output = X if from_logits else P
    tensor = torch.tensor(output)
    for name, target in (
        ("binary_crossentropy", T),
        ("categorical_crossentropy", T),
        ("sparse_categorical_crossentropy", LABELS),
    ):
        ours = getattr(K, name)(target, tensor, from_logits=from_logits)
        assert_same(ours, getattr(keras.ops, name)(target, output, from_logits=from_logits))


@pytest.mark.parametrize("axes", [(2, 2), (1, 1), 1, (-1, -1)])
@pytest.mark.parametrize("rank", [2, 3])
def test_batch_dot_is_the_layer_dot(rank, axes):
    x, y = (X, X[::-1].copy()) if rank == 3 else (X[:, 0], X[:, 1])
    if rank == 2 and axes == (2, 2):
        axes = (1, 1)
    ours = K.batch_dot(torch.tensor(x), torch.tensor(y), axes=axes)
    assert_same(ours, keras.layers.Dot(axes=axes)([x, y]))


@pytest.mark.parametrize(
    "name, keras_function, args",
    [
        ("elu", keras.ops.elu, (X, 0.3)),
        ("softplus", keras.ops.softplus, (30 * X,)),
        ("softsign", keras.ops.softsign, (X,)),
        ("softmax", keras.ops.softmax, (X, 1)),
        ("relu", keras.activations.relu, (X, 0.2, 0.5, 0.1)),
        ("tanh", keras.ops.tanh, (X,)),
        ("sigmoid", keras.ops.sigmoid, (X,)),
        ("round", keras.ops.round, (2 * X,)),
        ("l2_normalize", keras.ops.normalize, (X, -1)),
        ("one_hot", keras.ops.one_hot, (LABELS, 5)),
        ("repeat_elements", keras.ops.repeat, (X, 2, 1)),
        ("permute_dimensions", keras.ops.transpose, (X, (2, 0, 1))),
        ("cumsum", keras.ops.cumsum, (X, 1)),
        ("cumprod", keras.ops.cumprod, (X, 1)),
        ("reverse", keras.ops.flip, (X, 1)),
        ("pow", keras.ops.power, (P, 1.5)),
        ("squeeze", keras.ops.squeeze, (X[:1], 0)),
    ],
)
def test_functions(name, keras_function, args):
    assert_same(getattr(K, name)(*args), keras_function(*args))


def test_in_top_k():
    targets = np.array([0, 1, 2, 3])
    ours = K.in_top_k(torch.tensor(X[0]), targets, 2)
    assert_same(ours, keras.ops.in_top_k(targets, X[0], k=2))
