"""UpSampling, ZeroPadding, Cropping: what Keras on torch has not, errors, old forms, training."""

import numpy as np
import pytest
import torch
from torch import nn

import torchkeras as keras
from torchkeras import eras, layers, ops

LAST, FIRST = "channels_last", "channels_first"


@pytest.mark.parametrize("interpolation", ["lanczos3", "lanczos5"])
def test_lanczos(interpolation):
    x = torch.rand(2, 5, 6, 3, requires_grad=True)
    layer = layers.UpSampling2D((2, 3), LAST, interpolation)
    expected = ops.image.resize(x, (10, 18), interpolation)
    torch.testing.assert_close(layer(x), expected)
    first = layers.UpSampling2D((2, 3), FIRST, interpolation)
    torch.testing.assert_close(first(x.movedim(-1, 1)).movedim(1, -1), expected)
    # Weights of a place add up to 1.
    torch.testing.assert_close(layer(torch.ones(1, 4, 4, 1)), torch.ones(1, 8, 12, 1))


def test_upsampling_is_torchs_module():
    assert type(layers.UpSampling2D().upsample) is nn.Upsample
    assert type(layers.UpSampling3D().upsample) is nn.Upsample


@pytest.mark.parametrize("size", [2, 3, 5, 7, 40, 41, 61])
def test_nearest_repeats_whatever_the_factor(size):
    # 1 / 3 in floats must not turn a place into its neighbour.
    x = torch.arange(41.0).reshape(1, 41, 1)
    found = layers.UpSampling1D(size)(x)
    torch.testing.assert_close(found, x.repeat_interleave(size, 1), rtol=0, atol=0)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_integers_are_repeated(rank):
    x = torch.randint(9, (2, *(3, 2, 4)[:rank], 2))
    found = getattr(layers, f"UpSampling{rank}D")(2)(x)
    expected = x
    for axis in range(1, rank + 1):
        expected = expected.repeat_interleave(2, axis)
    assert found.dtype is torch.int64 and torch.equal(found, expected)


@pytest.mark.parametrize("data_format", [LAST, FIRST])
def test_bilinear_of_earlier_versions_has_pixels_at_corners(data_format):
    with eras.using("2"):
        layer = layers.UpSampling2D(2, data_format, "bilinear")
    x = torch.tensor([0.0, 4.0]).reshape((1, 1, 2, 1) if data_format == LAST else (1, 1, 1, 2))
    assert layer(x).flatten()[:4].tolist() == [0, 2, 4, 4]
    today = layers.UpSampling2D(2, data_format, "bilinear")
    assert today(x).flatten()[:4].tolist() == [0, 1, 3, 4]


def test_output_lies_in_memory_as_the_input():
    x = torch.rand(2, 5, 6, 3)
    for layer in (
        layers.UpSampling2D(),
        layers.ZeroPadding2D(),
        layers.UpSampling2D(2, LAST, "bilinear"),
    ):
        assert layer(x).is_contiguous()


@pytest.mark.parametrize(
    "given,expected",
    [
        ({"top_pad": 1, "right_pad": 2}, ((1, 0), (0, 2))),
        ({"top_pad": 1, "bottom_pad": 2, "left_pad": 3, "right_pad": 4}, ((1, 2), (3, 4))),
        ((1, 2, 3, 4), ((1, 2), (3, 4))),
        ([1, 2], ((1, 1), (2, 2))),
        (3, ((3, 3), (3, 3))),
        ([[1, 0], [0, 2]], ((1, 0), (0, 2))),
    ],
)
def test_forms_of_padding(given, expected):
    layer = layers.ZeroPadding2D(given)
    assert layer.padding == expected and layer.get_config()["padding"] == expected
    (top, bottom), (left, right) = expected
    assert layer(torch.ones(1, 2, 2, 1)).shape == (1, 2 + top + bottom, 2 + left + right, 1)
    assert layers.ZeroPadding2D.from_config(layer.get_config()).padding == expected


def test_padding_of_sequences_by_names():
    layer = layers.ZeroPadding1D({"left_pad": 2})
    assert layer.padding == (2, 0)
    assert layer(torch.ones(1, 1, 1)).flatten().tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "make,names",
    [
        (lambda: layers.UpSampling2D(0), ("UpSampling2D", "size", "0")),
        (lambda: layers.UpSampling2D((1, 2, 3)), ("size", "(1, 2, 3)")),
        (lambda: layers.UpSampling1D(-1), ("size", "-1")),
        (lambda: layers.UpSampling2D(2, interpolation="cubic"), ("interpolation", "'cubic'")),
        (lambda: layers.UpSampling3D(2, "first"), ("data_format", "first")),
        (lambda: layers.ZeroPadding1D((1, 2, 3)), ("ZeroPadding1D", "padding", "(1, 2, 3)")),
        (lambda: layers.ZeroPadding2D((1, (2,))), ("padding", "(1, (2,))")),
        (lambda: layers.ZeroPadding2D({"up": 1}), ("padding", "{'up': 1}")),
        (lambda: layers.ZeroPadding2D(-1), ("padding", "-1")),
        (lambda: layers.Cropping2D((1, 2, 3)), ("Cropping2D", "cropping", "(1, 2, 3)")),
        (lambda: layers.Cropping3D((1, 2)), ("cropping", "(1, 2)")),
    ],
)
def test_bad_arguments_are_named(make, names):
    with pytest.raises(ValueError) as error:
        make()
    assert all(name in str(error.value) for name in names)


def test_a_factor_that_is_no_integer():
    with pytest.raises(TypeError, match="size.*2.0"):
        layers.UpSampling1D(2.0)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_nothing_left(rank):
    layer = getattr(layers, f"Cropping{rank}D")((2,) * max(2, rank), name="cut")
    shape = (1, *(4,) * rank, 3)
    for call in (
        lambda: layer(torch.rand(shape)),
        lambda: layer.compute_output_shape(shape),
        lambda: layer(keras.Input(shape[1:])),
    ):
        with pytest.raises(ValueError, match="'cut'.*cropping"):
            call()


def test_wrong_rank_is_named():
    for layer in (layers.UpSampling2D(), layers.ZeroPadding2D(), layers.Cropping2D()):
        with pytest.raises(ValueError, match="rank 4.*\\(2, 3, 4\\)"):
            layer(torch.rand(2, 3, 4))
        with pytest.raises(ValueError, match="rank 4"):
            layer.compute_output_shape((2, 3, 4))


def test_old_arguments():
    assert layers.UpSampling1D(length=3).size == 3
    assert layers.UpSampling2D(size=(2, 2), dim_ordering="th").data_format == FIRST
    assert layers.ZeroPadding3D(dim_ordering="tf").data_format == LAST
    assert layers.Cropping2D(cropping=((1, 1), (0, 2)), dim_ordering="th").data_format == FIRST


def trained(run_eagerly):
    """The losses and weights after three epochs of a small network with each kind of layer."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6, 6, 2))
    x = layers.ZeroPadding2D(((1, 0), (0, 2)))(inputs)
    x = layers.Conv2D(4, 3, activation="relu")(x)
    x = layers.UpSampling2D(2)(x)
    x = layers.Cropping2D(((1, 2), (0, 1)))(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.UpSampling2D((1, 2), interpolation="bicubic")(x)
    outputs = layers.Dense(1)(layers.Flatten()(x))
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.001), "mse", run_eagerly=run_eagerly)
    random = np.random.RandomState(0)
    data = random.randn(16, 6, 6, 2).astype("float32"), random.randn(16, 1).astype("float32")
    history = model.fit(*data, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return history.history["loss"], model.get_weights(), model


def test_captured_training_equals_eager():
    losses, weights, model = trained(False)
    assert model.step_report().kind == "captured"
    eager_losses, eager_weights, _ = trained(True)
    np.testing.assert_allclose(losses, eager_losses, rtol=1e-6)
    for mine, other in zip(weights, eager_weights, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-6)
