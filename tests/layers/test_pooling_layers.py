"""Pooling layers: what is not in the comparison with Keras, errors, layouts in memory, training."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import torchkeras as keras
from torchkeras import eras, layers


def windows(size, window, stride):
    """Each window of an axis padded as 'same', as the elements of the input that it covers."""
    total = max(0, (-(-size // stride) - 1) * stride + window - size)
    for first in range(-(total // 2), size + total - total // 2 - window + 1, stride):
        yield slice(max(0, first), min(size, first + window))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("window,stride", [(2, 2), (3, 3), (3, 2), (2, 1), (4, 2), (4, 1)])
def test_padding_counts_for_nothing(rank, window, stride):
    space = (7, 8, 5)[:rank]
    x = np.random.RandomState(0).randn(2, *space, 3).astype("float32")
    parts = [list(windows(size, window, stride)) for size in space]
    expected = {"Max": [], "Average": []}
    for place in itertools.product(*parts):
        inside = x[(slice(None), *place)].reshape(2, -1, 3)
        expected["Max"].append(inside.max(1))
        expected["Average"].append(inside.mean(1))
    shape = (2, *(len(part) for part in parts), 3)
    for name, found in expected.items():
        layer = getattr(layers, f"{name}Pooling{rank}D")(window, stride, "same")
        wanted = np.stack(found, 1).reshape(shape)
        np.testing.assert_allclose(layer(x).numpy(), wanted, rtol=1e-5, atol=1e-6)
        assert layer.compute_output_shape(x.shape) == shape
        first = getattr(layers, f"{name}Pooling{rank}D")(window, stride, "same", "channels_first")
        turned = first(np.moveaxis(x, -1, 1)).numpy()
        np.testing.assert_allclose(np.moveaxis(turned, 1, -1), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "layer,kind",
    [
        (layers.MaxPooling2D(), nn.MaxPool2d),
        (layers.MaxPooling3D(3, padding="same", strides=1), nn.MaxPool3d),
        (layers.AveragePooling2D(3, padding="same", strides=1), nn.AvgPool2d),
        (layers.AveragePooling1D(2, data_format="channels_first"), nn.AvgPool1d),
        (layers.AdaptiveAveragePooling2D(2), nn.AdaptiveAvgPool2d),
    ],
)
def test_a_layer_is_torchs_module_where_that_fits(layer, kind):
    assert type(layer.pool) is kind


def test_other_paddings_are_subclasses_of_torchs():
    assert isinstance(layers.MaxPooling2D(2, padding="same").pool, nn.MaxPool2d)
    assert "keras_padding='same'" in repr(layers.MaxPooling2D(2, padding="same"))


@pytest.mark.parametrize(
    "layer",
    [
        layers.MaxPooling1D(2),
        layers.AveragePooling1D(3, 2, "same"),
        layers.MaxPooling2D(3, 2, "same"),
        layers.AveragePooling2D(2),
        layers.AdaptiveAveragePooling1D(3),
        layers.AdaptiveMaxPooling2D(3),
        layers.AdaptiveAveragePooling2D(3),
    ],
)
def test_channels_last_is_not_copied(layer):
    x = torch.rand(2, *(8,) * layer.rank, 4, requires_grad=True)
    gradient = torch.rand(layer.compute_output_shape(x.shape))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        y = layer(x)
        y.backward(gradient)
    assert y.is_contiguous()
    assert "aten::clone" not in {event.key for event in profile.key_averages()}


@pytest.mark.parametrize(
    "make,names",
    [
        (lambda: layers.MaxPooling2D(0), ("MaxPooling2D", "pool_size", "0")),
        (lambda: layers.MaxPooling2D((2, 2, 2)), ("pool_size", "(2, 2, 2)")),
        (lambda: layers.MaxPooling1D(2, strides=1.5), ("strides", "1.5")),
        (lambda: layers.AveragePooling3D(2, padding="causal"), ("padding", "causal")),
        (lambda: layers.GlobalMaxPooling2D("last"), ("data_format", "last")),
        (lambda: layers.AdaptiveMaxPooling1D((1, 2)), ("output_size", "(1, 2)")),
    ],
)
def test_bad_arguments_are_named(make, names):
    with pytest.raises(ValueError) as error:
        make()
    assert all(name in str(error.value) for name in names)


@pytest.mark.parametrize("kind", ["Max", "Average"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_window_larger_than_the_input(kind, rank, data_format):
    layer = getattr(layers, f"{kind}Pooling{rank}D")(4, data_format=data_format, name="pooled")
    shape = (2, *(3,) * rank, 5) if data_format == "channels_last" else (2, 5, *(3,) * rank)
    for call in (lambda: layer(torch.rand(shape)), lambda: layer.compute_output_shape(shape)):
        with pytest.raises(ValueError, match="'pooled'.*pool_size.*larger"):
            call()
    with pytest.raises(ValueError, match="'pooled'"):
        layer(keras.Input(shape[1:]))


def test_wrong_rank_is_named():
    for layer in (layers.MaxPooling2D(), layers.GlobalAveragePooling2D(name="g")):
        with pytest.raises(ValueError, match="rank 4.*\\(2, 3, 4\\)"):
            layer(torch.rand(2, 3, 4))
    with pytest.raises(ValueError, match="rank 4"):
        layers.GlobalAveragePooling2D().compute_output_shape((2, 3, 4))


def test_integers_keep_their_dtype_in_maxima_and_become_floats_in_means():
    x = torch.arange(16).reshape(1, 4, 4, 1)
    assert layers.MaxPooling2D()(x).flatten().tolist() == [5, 7, 13, 15]
    assert layers.AveragePooling2D()(x).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert layers.GlobalMaxPooling2D()(x).dtype is torch.int64
    assert layers.GlobalAveragePooling2D()(x).tolist() == [[7.5]]


def test_masked_steps_may_be_infinite():
    x = torch.tensor([[[1.0], [3.0], [float("inf")]]])
    mask = torch.tensor([[True, True, False]])
    assert layers.GlobalAveragePooling1D()(x, mask=mask).tolist() == [[2.0]]


def test_masks_reach_the_mean_and_end_there():
    inputs = keras.Input((3,), dtype="int64")
    x = layers.Embedding(4, 2, mask_zero=True)(inputs)
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(x))
    table = model.layers[1].get_weights()[0]
    found = model(torch.tensor([[1, 2, 0]]))
    np.testing.assert_allclose(found.detach(), table[None, 1:3].mean(1), rtol=1e-6)
    assert getattr(found, "_keras_mask", None) is None


def test_old_arguments():
    old = layers.MaxPooling1D(pool_length=3, stride=2, border_mode="same")
    assert (old.pool_size, old.strides, old.padding) == ((3,), (2,), "same")
    old = layers.AveragePooling2D(pool_size=(2, 3), border_mode="same", dim_ordering="th")
    assert (old.pool_size, old.padding, old.data_format) == ((2, 3), "same", "channels_first")
    assert layers.GlobalAveragePooling2D(dim_ordering="tf").data_format == "channels_last"


def test_sequences_had_their_channels_last_before_keras_3():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        assert layers.MaxPooling1D().data_format == "channels_first"
        with eras.using("2"):
            assert layers.MaxPooling1D().data_format == "channels_last"
            assert layers.GlobalAveragePooling1D().data_format == "channels_last"
            assert layers.MaxPooling2D().data_format == "channels_first"
    finally:
        keras.config.set_image_data_format(before)


def trained(run_eagerly):
    """The weights and losses after three epochs of a small network with poolings of each kind."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((12, 12, 2))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    x = layers.MaxPooling2D(3, 2, "same")(x)
    x = layers.AveragePooling2D(2, padding="same")(x)
    y = [layers.GlobalMaxPooling2D()(x), layers.GlobalAveragePooling2D()(x)]
    z = layers.Flatten()(layers.AdaptiveAveragePooling2D(2)(x))
    outputs = layers.Dense(1)(layers.Concatenate()([*y, z]))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse", run_eagerly=run_eagerly)
    random = np.random.RandomState(0)
    data = random.randn(16, 12, 12, 2).astype("float32"), random.randn(16, 1).astype("float32")
    history = model.fit(*data, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return history.history["loss"], model.get_weights(), model


def test_captured_training_equals_eager():
    losses, weights, model = trained(False)
    assert model.step_report().kind == "captured"
    eager_losses, eager_weights, _ = trained(True)
    np.testing.assert_allclose(losses, eager_losses, rtol=1e-6)
    for mine, other in zip(weights, eager_weights, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-6)
