"""Numbers that fit and compile take: numpy's too, and a clear error for the rest."""

import numpy as np
import pytest

from torchkeras.layers import Dense
from torchkeras.metrics import MeanAbsoluteError
from torchkeras.models import Sequential

X = np.random.RandomState(1).rand(20, 4)
Y = X.sum(1)


def network(**kwargs):
    model = Sequential([Dense(1, input_dim=4, kernel_initializer="ones")])
    model.compile(**{"optimizer": "sgd", "loss": "mse", **kwargs})
    return model


def fit(**kwargs):
    return network().fit(X, Y, **{"verbose": 0, "shuffle": False, **kwargs}).history


@pytest.mark.parametrize(
    ("numpys", "plain"),
    [
        ({"epochs": np.int64(2)}, {"epochs": 2}),
        ({"epochs": 2, "initial_epoch": np.int32(1)}, {"epochs": 2, "initial_epoch": 1}),
        ({"batch_size": np.int64(7)}, {"batch_size": 7}),
        ({"steps_per_epoch": np.int64(1)}, {"steps_per_epoch": 1}),
        ({"validation_split": np.float32(0.5)}, {"validation_split": 0.5}),
        ({"verbose": np.int64(0)}, {"verbose": None}),
        ({"class_weight": {np.float64(1.0): np.float32(2)}}, {"class_weight": {1: 2.0}}),
    ],
)
def test_numpys_numbers_are_numbers(numpys, plain):
    assert fit(**numpys) == fit(**plain)


@pytest.mark.parametrize("frequency", [2, np.int64(2), [2], (2,), {2}, np.array([2]), range(2, 3)])
def test_validation_freq_as_number_or_epochs(frequency):
    history = fit(epochs=3, validation_split=0.5, validation_freq=frequency)
    assert len(history["val_loss"]) == 1


def test_numpys_numbers_in_compile():
    plain = network(loss_weights=2, steps_per_execution=2)
    numpys = network(loss_weights=np.float32(2), steps_per_execution=np.int64(2))
    assert plain.evaluate(X, Y, verbose=0) == numpys.evaluate(X, Y, verbose=0)
    assert numpys.evaluate(X, Y, verbose=0) == pytest.approx(
        2 * network().evaluate(X, Y, verbose=0)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": "3"}, "epochs must be a whole number; received '3'"),
        ({"epochs": 3.0}, "epochs must be a whole number; received 3.0"),
        ({"initial_epoch": "0"}, "initial_epoch must be a whole number"),
        ({"validation_split": "0.2"}, "validation_split must be between 0 and 1; received '0.2'"),
        ({"validation_split": 0.5, "validation_freq": 1.5}, "validation_freq must be a positive"),
        ({"validation_split": 0.5, "validation_freq": "1"}, "validation_freq must be a positive"),
        ({"validation_split": 0.5, "validation_freq": ["a"]}, "validation_freq must be a whole"),
        ({"batch_size": "16"}, "batch_size must be a positive integer; received '16'"),
        ({"steps_per_epoch": 0}, "^steps_per_epoch must be a positive integer; received 0"),
        ({"steps_per_epoch": 2.0}, "^steps_per_epoch must be"),
        ({"validation_split": 0.5, "validation_steps": 0}, "^validation_steps must be"),
        ({"validation_split": 0.5, "validation_batch_size": 0}, "^validation_batch_size must be"),
        ({"class_weight": {"a": 1}}, "class_weight: classes are whole numbers; received 'a'"),
        ({"class_weight": {0.5: 1}}, "class_weight: classes are whole numbers; received 0.5"),
        ({"class_weight": {0: None}}, "the weight of class 0 must be a number; received None"),
        ({"verbose": "yes"}, "verbose must be 0 .*received 'yes'"),
        ({"verbose": 7}, "verbose must be 0 .*received 7"),
    ],
)
def test_errors_of_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(**arguments)


def test_errors_of_evaluate_and_predict():
    model = network()
    with pytest.raises(ValueError, match="verbose"):
        model.evaluate(X, Y, verbose="no")
    with pytest.raises(ValueError, match="verbose"):
        model.predict(X, verbose=4)
    with pytest.raises(ValueError, match="^steps must be a positive integer"):
        model.predict(X, verbose=0, steps=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": None}, "needs an optimizer, such as 'adam'"),
        ({"loss": MeanAbsoluteError()}, "loss: .*is a metric, which has no gradient"),
        ({"loss": MeanAbsoluteError}, "loss: .*is a metric"),
        ({"loss": {"a": "mse", "b": "mse"}}, "one output, but received 2.*dictionaries"),
        ({"metrics": {"a": ["mae"], "b": ["mse"]}}, "metrics: .*one output, but received 2"),
        ({"loss_weights": "2"}, "loss_weights must be a number"),
    ],
)
def test_errors_of_compile(arguments, message):
    with pytest.raises(ValueError, match=message):
        network(**arguments)


def test_dictionaries_of_one_output():
    model = network(loss={"dense": "mse"}, metrics={"dense": "mae"}, weighted_metrics={"a": []})
    assert model.metrics_names == ["loss", "mae"]
    assert model.evaluate(X, Y, verbose=0)[0] == network().evaluate(X, Y, verbose=0)


def test_world_size_that_is_no_number(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "abc")
    with pytest.raises(ValueError, match="WORLD_SIZE.*'abc'"):
        fit()
