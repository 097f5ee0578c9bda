"""Layers against Keras 3.15: outputs, gradients, weights, shapes and configs."""

import keras
import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import layers

# name, constructor arguments, input shape
CASES = [
    ("Dense", {"units": 3}, (4, 5)),
    ("Dense", {"units": 3, "activation": "relu", "use_bias": False}, (4, 5)),
    ("Dense", {"units": 2, "activation": "softmax"}, (4, 3, 5)),
    ("Dense", {"units": 2, "activation": "gelu", "bias_initializer": "ones"}, (2, 3, 4, 5)),
    ("Activation", {"activation": "selu"}, (4, 5)),
    ("Activation", {"activation": "softmax"}, (4, 2, 5)),
    ("Dropout", {"rate": 0.4}, (4, 5)),
    ("Flatten", {}, (4, 2, 3, 5)),
    ("Flatten", {"data_format": "channels_first"}, (4, 2, 3, 5)),
    ("Flatten", {}, (4,)),
    ("Reshape", {"target_shape": (5, 2)}, (4, 10)),
    ("Reshape", {"target_shape": (-1, 2, 1)}, (4, 10)),
    ("BatchNormalization", {}, (6, 5)),
    ("BatchNormalization", {"momentum": 0.8, "epsilon": 1e-5}, (6, 4, 5)),
    ("BatchNormalization", {"axis": 1}, (6, 4, 3, 5)),
    ("BatchNormalization", {"axis": -2, "center": False}, (6, 4, 5)),
    ("BatchNormalization", {"scale": False, "center": False}, (6, 5)),
    ("BatchNormalization", {"moving_variance_initializer": "zeros"}, (6, 2, 2, 2, 3)),
]
IDS = [f"{name}-{i}" for i, (name, _, _) in enumerate(CASES)]


def pair(name, arguments, shape):
    """The same layer of both, built, with the same weights."""
    theirs = getattr(keras.layers, name)(**arguments, name="layer")
    ours = getattr(layers, name)(**arguments, name="layer")
    theirs.build(shape)
    ours.build(shape)
    values = [np.random.RandomState(i).rand(*v.shape) for i, v in enumerate(theirs.weights)]
    theirs.set_weights(values)
    ours.set_weights(values)
    return theirs, ours


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("name", "arguments", "shape"), CASES, ids=IDS)
def test_outputs_gradients_and_moved_weights(name, arguments, shape, training):
    if name == "Dropout" and training:
        training = False  # random: its own tests
    theirs, ours = pair(name, arguments, shape)
    x = np.random.RandomState(9).randn(*shape).astype("float32") * 2 + 0.5
    results = []
    for layer in (theirs, ours):
        inputs = torch.tensor(x, requires_grad=True)
        outputs = layer(inputs, training=training)
        generator = torch.Generator().manual_seed(3)
        (outputs * torch.rand(outputs.shape, generator=generator)).sum().backward()
        results.append((outputs.detach().numpy(), inputs.grad.numpy(), layer))
    (their_out, their_grad, _), (our_out, our_grad, _) = results
    np.testing.assert_allclose(our_out, their_out, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(our_grad, their_grad, rtol=1e-5, atol=1e-5)
    assert [v.name for v in ours.weights] == [v.name for v in theirs.weights]
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)
        if other.trainable:
            gradient = mine.from_torch(mine.parameter.grad).numpy()
            np.testing.assert_allclose(
                gradient, other.value.grad.numpy(), rtol=1e-4, atol=1e-5, err_msg=mine.name
            )


@pytest.mark.parametrize(("name", "arguments", "shape"), CASES, ids=IDS)
def test_output_shapes_counts_and_configs(name, arguments, shape):
    theirs, ours = pair(name, arguments, shape)
    for given in (shape, (None, *shape[1:])):
        assert tuple(ours.compute_output_shape(given)) == tuple(theirs.compute_output_shape(given))
    assert ours.count_params() == theirs.count_params()
    config = ours.get_config()
    assert config == theirs.get_config()
    assert type(ours).from_config(config).get_config() == config
    assert torchkeras.layers.serialize(ours) == keras.layers.serialize(theirs)


def test_dense_with_every_penalty_and_constraint_has_keras_config():
    arguments = {
        "units": 2,
        "kernel_regularizer": "l2",
        "bias_regularizer": "l2",
        "activity_regularizer": "L1L2",
        "kernel_constraint": "max_norm",
        "bias_constraint": "non_neg",
        "kernel_initializer": "he_normal",
        "bias_initializer": "ones",
        "name": "d",
        "trainable": False,
        "dtype": "float64",
    }
    assert layers.Dense(**arguments).get_config() == keras.layers.Dense(**arguments).get_config()


def test_losses_of_penalties():
    arguments = {
        "units": 2,
        "kernel_regularizer": "l2",
        "bias_regularizer": "l1",
        "activity_regularizer": "l2",
    }
    theirs, ours = pair("Dense", arguments, (4, 3))
    x = np.random.rand(4, 3).astype("float32")
    theirs(x), ours(x)
    np.testing.assert_allclose(
        sorted(float(v) for v in ours.losses), sorted(float(v) for v in theirs.losses), rtol=1e-5
    )


def build(lib):
    """The same model in either library."""
    return lib.Sequential(
        [
            lib.layers.Input((6,), name="in"),
            lib.layers.Dense(8, activation="relu", kernel_regularizer="l2", name="a"),
            lib.layers.BatchNormalization(name="b"),
            lib.layers.Dropout(0.3, name="c"),
            lib.layers.Reshape((4, 2), name="d"),
            lib.layers.Flatten(name="e"),
            lib.Sequential(
                [lib.layers.Input((8,), name="inner_in"), lib.layers.Dense(3, name="inner_dense")],
                name="f",
            ),
            lib.layers.Activation("softmax", name="g"),
        ],
        name="m",
    )


def test_whole_model_config_weights_paths_and_outputs():
    theirs, ours = build(keras), build(torchkeras)
    assert [tuple(v.shape) for v in theirs.weights] == [v.shape for v in ours.weights]
    assert [v.path for v in theirs.weights] == [v.path for v in ours.weights]
    ours.set_weights(theirs.get_weights())
    x = np.random.rand(5, 6).astype("float32")
    expected = theirs(x).detach().numpy()
    np.testing.assert_allclose(ours(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    config, their_config = ours.get_config(), theirs.get_config()
    assert config.keys() == their_config.keys()
    for mine, other in zip(config["layers"], their_config["layers"], strict=True):
        assert mine == other


def test_each_reads_the_others_config():
    theirs, ours = build(keras), build(torchkeras)
    from_theirs = torchkeras.Sequential.from_config(theirs.get_config())
    assert from_theirs.get_config() == ours.get_config()
    from_ours = keras.Sequential.from_config(ours.get_config())
    assert from_ours.get_config() == theirs.get_config()
