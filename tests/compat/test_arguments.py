"""Arguments of older versions of Keras reach today's, on every class of this table."""

import numpy as np
import pytest

import torchkeras
from torchkeras import constraints, eras, initializers, layers, optimizers, regularizers
from torchkeras.compat.arguments import RENAMED, only
from torchkeras.layers import Dense
from torchkeras.models import Sequential


def test_dense():
    layer = layers.Dense(
        output_dim=3,
        init="uniform",
        W_regularizer="l2",
        b_regularizer="l1",
        W_constraint="maxnorm",
        b_constraint="nonneg",
        activation="relu",
        input_dim=4,
    )
    layer.build((None, 4))
    assert layer.units == 3
    assert isinstance(layer.kernel_initializer, initializers.RandomUniform)
    assert isinstance(layer.kernel_regularizer, regularizers.L2)
    assert isinstance(layer.bias_regularizer, regularizers.L1)
    assert isinstance(layer.kernel_constraint, constraints.MaxNorm)
    assert isinstance(layer.bias_constraint, constraints.NonNeg)
    assert not layers.Dense(3, bias=False).use_bias


def test_dropout_and_batch_normalization():
    assert layers.Dropout(p=0.3).rate == 0.3
    layer = layers.BatchNormalization(mode=0, beta_init="one", gamma_init="zero")
    assert isinstance(layer.beta_initializer, initializers.Ones)
    assert isinstance(layer.gamma_initializer, initializers.Zeros)
    with pytest.raises(ValueError, match="BatchNormalization: mode=1 of older versions.*only 0 is"):
        layers.BatchNormalization(mode=1)


def test_regularizers_and_constraints():
    assert regularizers.l1(l=0.5).l1 == 0.5
    assert regularizers.l2(l=0.5).l2 == 0.5
    assert constraints.MaxNorm(m=3).max_value == 3
    norm = constraints.MinMaxNorm(low=0.5, high=2)
    assert (norm.min_value, norm.max_value) == (0.5, 2)


@pytest.mark.parametrize(
    "name", ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Adamax", "Nadam"]
)
def test_learning_rate(name):
    optimizer = getattr(optimizers, name)(lr=0.25)
    assert float(optimizer.learning_rate) == 0.25


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax"])
def test_decay_of_keras_1_and_2(name):
    with eras.using(2):
        assert getattr(optimizers, name)(lr=0.1, decay=0.5).decay == 0.5
    assert getattr(optimizers, name)(decay=0.0).decay == 0.0


def test_nadam_schedule():
    optimizers.Nadam(schedule_decay=0.004)
    with pytest.raises(ValueError, match=r"Nadam: schedule_decay=0.1"):
        optimizers.Nadam(schedule_decay=0.1)


def test_fit_takes_nb_epoch():
    model = torchkeras.Sequential([layers.Dense(1, input_dim=2)])
    model.compile("sgd", "mse")
    history = model.fit(np.zeros((4, 2)), np.zeros(4), nb_epoch=3, verbose=0)
    assert len(history.history["loss"]) == 3


def test_both_names_are_refused():
    with pytest.raises(TypeError, match="'output_dim' is an old name of 'units'"):
        layers.Dense(units=3, output_dim=3)


def test_unknown_ones_are_refused_still():
    with pytest.raises(ValueError, match="Unrecognized keyword arguments passed to Dense"):
        layers.Dense(3, inits="uniform")


def test_only_says_all_that_is_supported():
    assert only("Layer", "mode", 0, "a")("a") == {}
    with pytest.raises(ValueError, match="only 0 or 'a' is"):
        only("Layer", "mode", 0, "a")(1)


def test_every_owner_exists():
    for owner in RENAMED:
        name, _, method = owner.partition(".")
        places = (layers, optimizers, regularizers, constraints, torchkeras.models, torchkeras)
        found = [getattr(place, name) for place in places if hasattr(place, name)]
        assert found, owner
        assert not method or hasattr(found[0], method), owner


def test_arguments_of_old_fit_and_its_kin():
    model = Sequential([Dense(1, input_dim=1)])
    model.compile("sgd", "mse", sample_weight_mode=None)
    x = np.ones((2, 1))
    model.fit(x, x, nb_epoch=1, verbose=0, workers=4, use_multiprocessing=True)
    model.evaluate(x, x, verbose=0, max_queue_size=2)
    model.predict(x, verbose=0, workers=1)
    model.train_on_batch(x, x, reset_metrics=True)
    with pytest.raises(ValueError, match="reset_metrics=False"):
        model.train_on_batch(x, x, reset_metrics=False)
    with pytest.raises(ValueError, match="sample_weight_mode='spatial'"):
        model.compile("sgd", "mse", sample_weight_mode="spatial")
    model.compile("sgd", "mse", sample_weight_mode="temporal")
