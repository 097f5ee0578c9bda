"""Dense, Activation, Dropout, Flatten, Reshape, BatchNormalization, torch modules, Input."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import config
from torchkeras.layers import (
    Activation,
    BatchNormalization,
    Dense,
    Dropout,
    Flatten,
    Input,
    InputLayer,
    Reshape,
    TorchModuleWrapper,
)


def test_dense_is_a_torch_linear():
    layer = Dense(4, activation="relu")
    x = torch.randn(3, 5)
    y = layer(x)
    assert type(layer.linear) is nn.Linear
    assert torch.equal(y, torch.relu(x @ layer.linear.weight.t() + layer.linear.bias))
    assert layer.kernel.shape == (5, 4) and layer.bias.shape == (4,)


def test_dense_on_higher_ranks_and_without_bias():
    layer = Dense(4, use_bias=False)
    assert layer(torch.ones(2, 3, 6, 5)).shape == (2, 3, 6, 4)
    assert layer.bias is None
    assert layer.compute_output_shape((None, 7, 5)) == (None, 7, 4)


def test_dense_activation_by_string_callable_and_module():
    x = torch.randn(3, 5)
    by_name, by_function, by_module = (
        Dense(2, activation=a, kernel_initializer="ones")(x)
        for a in ("tanh", torch.tanh, nn.Tanh())
    )
    assert torch.equal(by_name, by_function) and torch.equal(by_name, by_module)
    assert len(list(Dense(2, activation=nn.PReLU()).parameters())) == 1


@pytest.mark.parametrize("units", [0, -1, 2.5, "3", None, True])
def test_dense_units_must_be_a_positive_integer(units):
    with pytest.raises(ValueError, match="units must be a positive integer"):
        Dense(units)


@pytest.mark.parametrize("argument", ["lora_rank", "lora_alpha", "quantization_config"])
def test_dense_refuses_adaptation_and_quantization(argument):
    with pytest.raises(ValueError, match=f"{argument}.*not supported"):
        Dense(2, **{argument: 4})


def test_dense_wrong_inputs_name_layer_expected_and_received():
    layer = Dense(2, name="first")
    layer.build((None, 3))
    with pytest.raises(ValueError, match=r"'first'.*3 at axis -1.*\(4, 5\)"):
        layer(torch.ones(4, 5))
    with pytest.raises(ValueError, match="'first'.*rank 2 or more"):
        layer(torch.ones(3))
    with pytest.raises(ValueError, match="last axis"):
        Dense(2).build((None, None))


def test_dropout_only_in_training_keeps_the_mean_and_scales():
    layer = Dropout(0.25)
    x = torch.ones(200, 500)
    assert torch.equal(layer(x), x)
    y = layer(x, training=True)
    assert y.unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_dropout_with_a_seed_repeats_apart_from_the_global_generator():
    x = torch.ones(10, 10)
    first, second = Dropout(0.5, seed=3), Dropout(0.5, seed=3)
    a = first(x, training=True)
    torch.rand(5)
    assert torch.equal(a, second(x, training=True))
    assert not torch.equal(a, first(x, training=True))


def test_dropout_noise_shape_shares_the_mask():
    y = Dropout(0.5, noise_shape=(None, 1))(torch.ones(50, 8), training=True)
    assert ((y == 0).all(1) | (y != 0).all(1)).all()
    assert 5 < (y[:, 0] == 0).sum() < 45


@pytest.mark.parametrize("noise_shape", ["Invalid", 1.5, (-1, 2), (0,)])
def test_dropout_noise_shape_must_be_a_shape(noise_shape):
    with pytest.raises(ValueError, match="noise_shape must be a tuple"):
        Dropout(0.5, noise_shape=noise_shape)


def test_dense_whose_activation_was_taken_away():
    layer = Dense(2, activation="relu", kernel_initializer="ones")
    layer.activation = None
    assert layer(-torch.ones(1, 3)).tolist() == [[-3, -3]]


def test_dropout_of_everything_and_nothing():
    x = torch.ones(3, 3)
    assert Dropout(1.0)(x, training=True).sum() == 0
    assert Dropout(1.0, seed=1)(x, training=True).sum() == 0
    assert torch.equal(Dropout(0.0, seed=1)(x, training=True), x)


@pytest.mark.parametrize("rate", [-0.1, 1.1, "half", None])
def test_dropout_rate_out_of_range(rate):
    with pytest.raises(ValueError, match="rate must be a number from 0 to 1"):
        Dropout(rate)


def test_seeded_dropout_survives_deepcopy_and_pickle():
    layer = Dropout(0.5, seed=3)
    x = torch.ones(4, 4)
    layer(x, training=True)
    assert copy.deepcopy(layer)(x, training=True).shape == (4, 4)
    assert pickle.loads(pickle.dumps(layer))(x, training=True).shape == (4, 4)


def test_flatten_both_formats():
    x = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert torch.equal(Flatten()(x), x.reshape(1, 24))
    assert torch.equal(Flatten("channels_first")(x), x.movedim(1, -1).reshape(1, 24))
    assert Flatten()(torch.ones(5)).shape == (5, 1)
    assert Flatten().compute_output_shape((None, 3, 4)) == (None, 12)
    assert Flatten().compute_output_shape((None, None, 4)) == (None, None)
    with pytest.raises(ValueError, match="data_format"):
        Flatten("last")


def test_reshape_works_out_minus_one_and_refuses_what_does_not_fit():
    layer = Reshape((3, -1), name="r")
    assert layer(torch.ones(2, 12)).shape == (2, 3, 4)
    assert layer.compute_output_shape((None, 12)) == (None, 3, 4)
    assert layer.compute_output_shape((None, None)) == (None, 3, None)
    assert Reshape((6,))(torch.ones(2, 2, 3)).shape == (2, 6)
    with pytest.raises(ValueError, match=r"'r'.*\(13,\).*\(3, -1\)"):
        layer(torch.ones(2, 13))
    with pytest.raises(ValueError, match="cannot reshape"):
        Reshape((5,)).compute_output_shape((None, 12))
    with pytest.raises(ValueError, match="at most one -1"):
        Reshape((-1, -1))


def test_batch_normalization_moves_biased_statistics_in_training_only():
    layer = BatchNormalization(momentum=0.9)
    x = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    layer(x)
    assert layer.moving_mean.numpy().tolist() == [0, 0]
    y = layer(x, training=True)
    assert y.mean(0).abs().max() < 1e-6
    np.testing.assert_allclose(layer.moving_mean.numpy(), [0.2, 2.0], rtol=1e-6)
    # biased variances 1 and 100
    np.testing.assert_allclose(layer.moving_variance.numpy(), [1.0, 0.9 + 10.0], rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1e3])
def test_batch_normalization_statistics_are_accurate_at_every_scale(scale):
    x = torch.randn(64, 3, dtype=torch.float64) * scale
    layer = BatchNormalization(momentum=0.0)
    layer(x.float(), training=True)
    expected = x.numpy().var(0)
    np.testing.assert_allclose(layer.moving_variance.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_mean.numpy(), x.numpy().mean(0), rtol=1e-4)


def test_batch_normalization_frozen_infers_and_batch_of_one_trains():
    layer = BatchNormalization()
    layer.build((None, 2))
    layer.trainable = False
    layer(torch.randn(8, 2), training=True)
    assert layer.moving_mean.numpy().tolist() == [0, 0]
    layer.trainable = True
    assert torch.isfinite(layer(torch.randn(1, 2), training=True)).all()
    assert torch.isfinite(layer.norm.running_var).all()


def test_batch_normalization_without_center_or_scale_and_a_wrong_axis():
    layer = BatchNormalization(center=False, scale=False)
    layer.build((None, 2))
    assert [v.name for v in layer.weights] == ["moving_mean", "moving_variance"]
    with pytest.raises(ValueError, match="axis=3"):
        BatchNormalization(axis=3).build((None, 2))


def test_torch_module_as_a_layer():
    layer = TorchModuleWrapper(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    assert layer.compute_output_shape((None, 4)) == (None, 3)
    assert layer.module[1].num_batches_tracked == 0
    assert len(layer.trainable_weights) == 4 and len(layer.non_trainable_weights) == 2
    with pytest.raises(TypeError, match="nn.Module"):
        TorchModuleWrapper(lambda x: x)


def test_input_declares_a_shape():
    tensor = Input((8, None), name="features")
    assert tensor.shape == (None, 8, None) and tensor.dtype == "float32"
    assert tensor.source.name == "features"
    assert Input(batch_shape=(4, 2)).shape == (4, 2)
    assert InputLayer(input_shape=(8,)).batch_shape == (None, 8)
    assert InputLayer(input_shape=(8,), batch_size=4).batch_shape == (4, 8)
    assert InputLayer(batch_input_shape=(4, 8)).batch_shape == (4, 8)
    with pytest.raises(ValueError, match="shape"):
        Input()
    with pytest.raises(ValueError, match="positive integers"):
        Input((0,))
    with pytest.raises(ValueError, match="batch_size=4"):
        Input(batch_shape=(2, 3), batch_size=4)
    layer = InputLayer((2,))
    assert layer.output is layer.output
    with pytest.raises(ValueError, match="sparse"):
        Input((2,), sparse=True)
    assert Dense(2)(Input((3,))).shape == (None, 2)


def test_activation_keeps_shape_and_serializes_by_name():
    layer = Activation("softmax")
    assert layer(torch.ones(2, 4)).sum().item() == pytest.approx(2)
    assert layer.get_config()["activation"] == "softmax"
    assert layer.compute_output_shape((None, 4)) == (None, 4)


def test_bfloat16_layer_computes_in_its_dtype():
    layer = Dense(2, dtype="bfloat16")
    assert layer(np.ones((1, 2), "float32")).dtype is torch.bfloat16
    assert layer.kernel.dtype == "bfloat16"
    config.set_floatx("float64")
    assert Dense(2)(np.ones((1, 2))).dtype is torch.float64
