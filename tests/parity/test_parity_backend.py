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


# ------------------------------------------- what keras.ops has under another name or signature
# (The K that Keras 3 ships, keras._legacy.backend, calls TensorFlow in all of these.)

IMAGES = RNG.randn(2, 9, 8, 3).astype("float32")
KERNEL = RNG.randn(3, 2, 3, 4).astype("float32")
EACH, POINT = RNG.randn(3, 2, 3, 2).astype("float32"), RNG.randn(1, 1, 6, 5).astype("float32")
SETTINGS = [
    {},
    {"padding": "same"},
    {"strides": (2, 2), "padding": "same"},
    {"strides": (2, 2)},
    {"dilation_rate": (2, 2), "padding": "same"},
]


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_convolutions(settings, layout):
    x = IMAGES if layout == "channels_last" else np.moveaxis(IMAGES, -1, 1)
    settings = {**settings, "data_format": layout}
    assert_same(K.conv2d(x, KERNEL, **settings), keras.ops.conv(x, KERNEL, **settings))
    ours = K.depthwise_conv2d(x, EACH, **settings)
    assert_same(ours, keras.ops.depthwise_conv(x, EACH, **settings))
    ours = K.separable_conv2d(x, EACH, POINT, **settings)
    assert_same(ours, keras.ops.separable_conv(x, EACH, POINT, **settings))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 2)])
def test_transposed_convolutions_give_back_a_shape(strides, padding):
    """The gradient of the convolution that makes the input of an image."""
    kernel = RNG.randn(3, 3, 3, 4).astype("float32")
    x = torch.tensor(IMAGES, requires_grad=True)
    y = keras.ops.conv(x, kernel, strides=strides, padding=padding)
    weights = torch.tensor(RNG.randn(*y.shape).astype("float32"))
    (expected,) = torch.autograd.grad(torch.sum(y * weights), x)
    ours = K.conv2d_transpose(weights, kernel, (2, 9, 8, 3), strides=strides, padding=padding)
    assert_same(ours, expected)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("mode, pool", [("max", "max_pool"), ("avg", "average_pool")])
def test_poolings(mode, pool, padding):
    ours = K.pool2d(IMAGES, (3, 2), (2, 2), padding, pool_mode=mode)
    assert_same(ours, getattr(keras.ops, pool)(IMAGES, (3, 2), (2, 2), padding))


def test_batch_normalization():
    mean, var, beta, gamma = np.abs(RNG.randn(4, 3)).astype("float32")
    expected = keras.ops.batch_normalization(IMAGES, mean, var, -1, beta, gamma)
    assert_same(K.batch_normalization(IMAGES, mean, var, beta, gamma), expected)


def test_images_made_larger():
    larger = keras.layers.UpSampling2D((2, 3), interpolation="bilinear")
    ours = K.resize_images(IMAGES, 2, 3, "channels_last", interpolation="bilinear")
    assert_same(ours, larger(IMAGES))


def test_ctc():
    labels, counts, steps = np.array([[0, 2], [1, 0], [2, 2]]), [2, 1, 2], [4, 3, 4]
    logits = np.log(P + 1e-7)
    expected = keras.ops.ctc_loss(labels, logits, counts, steps, mask_index=4)
    ours = K.ctc_batch_cost(labels, P, np.array(steps)[:, None], np.array(counts)[:, None])
    assert_same(ours, expected[:, None])
    for strategy in ("greedy", "beam_search"):
        expected, _ = keras.ops.ctc_decode(logits, steps, strategy, beam_width=9, mask_index=4)
        ours, _ = K.ctc_decode(P, steps, greedy=strategy == "greedy", beam_width=9)
        assert np.array_equal(ours[0], keras.ops.convert_to_numpy(expected)[0])


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("is_masked", [False, True])
def test_rnn(is_masked, zeros, backwards):
    kernel = torch.tensor(RNG.randn(5, 5).astype("float32")) / 2

    def step(inputs, states):
        y = torch.tanh(inputs + states[0] @ kernel + states[1])
        return y, [y]

    x, h = torch.tensor(X), torch.ones(3, 5)
    mask = torch.tensor([[1, 1, 0, 1], [0, 1, 1, 0], [1, 1, 1, 1]]).bool() if is_masked else None
    settings = {"go_backwards": backwards, "mask": mask, "constants": [h / 3]}
    expected = keras.src.backend.rnn(step, x, [h], zero_output_for_mask=zeros, **settings)
    ours = K.rnn(step, x, [h], zero_output_for_mask=zeros, **settings)
    for one, other in zip(ours[:2], expected[:2]):
        assert_same(one, other)
    assert_same(ours[2][0], expected[2][0])
