"""Convolutions as scripts of Keras 1 and 2 write them."""

import pytest

from torchkeras import compat, eras, layers, registry
from torchkeras.compat import modules


@pytest.fixture(params=["1", "2"], ids=["keras1", "keras2"])
def era(request):
    with eras.using(request.param):
        yield request.param


def test_window_of_two_numbers(era):
    layer = layers.Convolution2D(8, 3, 5, activation="relu")
    assert (layer.filters, layer.kernel_size, layer.strides) == (8, (3, 5), (1, 1))


def test_window_as_later(era):
    layer = layers.Conv2D(8, (3, 5), (2, 1))
    assert (layer.kernel_size, layer.strides) == ((3, 5), (2, 1))
    assert layers.Conv2D(8, 3).kernel_size == (3, 3)


@pytest.mark.parametrize("version", ["tf2", "3"])
def test_second_number_is_strides_of_tf_keras(version):
    with eras.using(version):
        layer = layers.Conv2D(8, 3, 2)
    assert (layer.kernel_size, layer.strides) == ((3, 3), (2, 2))


def test_second_number_is_strides_beside_names_that_keras_2_refused():
    with eras.using("2"):
        layer = layers.Conv2D(8, 3, 2, padding="same")
        with pytest.raises(TypeError, match="strides"):
            layers.Conv2D(8, 3, 2, strides=2)
    assert (layer.kernel_size, layer.strides, layer.padding) == ((3, 3), (2, 2), "same")


def test_all_names_of_a_plane():
    layer = layers.Convolution2D(
        nb_filter=4,
        nb_row=3,
        nb_col=2,
        init="he_normal",
        border_mode="same",
        subsample=(2, 2),
        dim_ordering="th",
        W_regularizer="l2",
        b_regularizer="l1",
        W_constraint="non_neg",
        b_constraint="max_norm",
        bias=True,
    )
    assert (layer.filters, layer.kernel_size, layer.strides) == (4, (3, 2), (2, 2))
    assert (layer.padding, layer.data_format) == ("same", "channels_first")
    rules = ("kernel_initializer", "kernel_regularizer", "bias_regularizer", "kernel_constraint")
    found = [type(getattr(layer, name)).__name__ for name in (*rules, "bias_constraint")]
    assert found == ["HeNormal", "L2", "L1", "NonNeg", "MaxNorm"]


def test_positions_of_keras_1():
    with eras.using("1"):
        layer = layers.Convolution2D(4, 3, 3, "he_normal", "tanh", None, "same", (2, 2), "th")
        deep = layers.Convolution3D(4, 3, 2, 1, "he_normal", "tanh", None, "same", (2, 2, 2))
        flat = layers.Convolution1D(4, 3, "he_normal", "tanh", None, "same", 2, input_dim=5)
    assert (layer.kernel_size, layer.strides, layer.padding) == ((3, 3), (2, 2), "same")
    assert layer.data_format == "channels_first" and layer.activation.__name__ == "tanh"
    assert (deep.kernel_size, deep.strides, deep.padding) == ((3, 2, 1), (2, 2, 2), "same")
    assert (flat.kernel_size, flat.strides, flat.padding) == ((3,), (2,), "same")
    assert flat._first_shape == (None, None, 5)


def test_sequences():
    layer = layers.Convolution1D(
        nb_filter=4, filter_length=3, subsample_length=2, input_dim=5, input_length=7
    )
    assert (layer.filters, layer.kernel_size, layer.strides) == (4, (3,), (2,))
    assert layer._first_shape == (None, 7, 5)
    local = layers.LocallyConnected1D(nb_filter=4, filter_length=3, input_dim=5, input_length=7)
    assert local._first_shape == (None, 7, 5)


def test_volumes():
    layer = layers.Convolution3D(nb_filter=4, kernel_dim1=3, kernel_dim2=2, kernel_dim3=1)
    assert layer.kernel_size == (3, 2, 1)
    with eras.using("2"):
        assert layers.Conv3D(4, (3, 2, 1), (2, 2, 2), "same").strides == (2, 2, 2)
        assert layers.Conv3D(4, 3, 2, 1).kernel_size == (3, 2, 1)


def test_channels_of_sequences_are_last_before_keras_3():
    from torchkeras import config

    before = config.image_data_format()
    config.set_image_data_format("channels_first")
    try:
        assert layers.Conv1D(4, 3).data_format == "channels_first"
        with eras.using("2"):
            assert layers.Conv1D(4, 3).data_format == "channels_last"
            assert layers.Conv2D(4, 3).data_format == "channels_first"
    finally:
        config.set_image_data_format(before)


def test_one_initializer_draws_both_kernels_of_a_separable_one():
    layer = layers.SeparableConvolution2D(4, nb_row=3, nb_col=3, init="he_normal")
    kinds = type(layer.depthwise_initializer), type(layer.pointwise_initializer)
    assert [kind.__name__ for kind in kinds] == ["HeNormal", "HeNormal"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("AtrousConvolution1D", layers.Conv1D),
        ("AtrousConvolution2D", layers.Conv2D),
        ("AtrousConv2D", layers.Conv2D),
        ("Deconvolution2D", layers.Conv2DTranspose),
        ("Deconv3D", layers.Conv3DTranspose),
    ],
)
def test_names_of_layers(old, new):
    assert getattr(modules.alias("layers"), old) is new
    assert registry.find("layer", old) is new
    assert compat.modules.LAYERS[old] == new.__name__


def test_atrous_rate():
    layer = layers.Conv2D(4, nb_row=3, nb_col=3, atrous_rate=(2, 2))
    assert layer.dilation_rate == (2, 2)


def test_output_shape_of_a_deconvolution_is_said_to_be_of_no_use():
    with eras.using("1"), pytest.warns(UserWarning, match="output_shape"):
        layer = layers.Conv2DTranspose(4, 3, 3, (None, 14, 14, 4), border_mode="valid")
    assert layer.kernel_size == (3, 3)


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("DepthwiseConv2D", {"groups": 1, "kernel_initializer": "glorot_uniform"}),
        ("SeparableConv2D", {"filters": 3, "groups": 1, "kernel_regularizer": None}),
        ("Conv2DTranspose", {"filters": 3, "groups": 1}),
    ],
)
def test_configs_of_tf_keras(name, extra):
    assert getattr(layers, name)(kernel_size=3, **extra).kernel_size == (3, 3)
    with pytest.raises(ValueError, match="groups"):
        getattr(layers, name)(kernel_size=3, **{**extra, "groups": 2})


def test_unknown_dim_ordering():
    with pytest.raises(ValueError, match="dim_ordering must be 'tf', 'th'"):
        layers.Conv2D(4, 3, dim_ordering="first")
