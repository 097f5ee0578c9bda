"""Bad input: each a clear error that says what came, what was expected and what to do."""

import numpy as np
import pytest

from torchkeras.layers import Dense
from torchkeras.models import Sequential

X, Y = np.random.rand(20, 4), np.random.randint(0, 2, 20)


def network(units=1, activation="sigmoid", loss="binary_crossentropy", **kwargs):
    model = Sequential([Dense(3, input_dim=4, name="first"), Dense(units, activation=activation)])
    model.compile("sgd", loss, **kwargs)
    return model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "adamm", "loss": "mse"}, "optimizer 'adamm'.*'adam'"),
        ({"optimizer": "sgd", "loss": "binary_crossentrop"}, "loss.*'binary_crossentropy'"),
        (
            {"optimizer": "sgd", "loss": "mse", "metrics": ["acuracy"]},
            "metric 'acuracy'.*'accuracy'",
        ),
        ({"optimizer": "sgd", "loss": "mse", "metrics": "accuracy"}, "metrics must be a list"),
        (
            {"optimizer": "sgd", "loss": "mse", "loss_weights": ["accuracy"]},
            "loss_weights.*metrics=",
        ),
        ({"optimizer": "sgd", "loss": "mse", "jit_compile": "yes"}, "jit_compile"),
        ({"optimizer": "sgd", "loss": "mse", "steps_per_execution": 0}, "steps_per_execution"),
        ({"optimizer": "sgd", "loss": "mse", "los": 1}, "'los'.*'loss'"),
        ({"optimizer": "sgd", "loss": ["mse", "mse"]}, "one output"),
        ({"optimizer": "sgd", "loss": "mse", "run_eagerly": True, "jit_compile": True}, "exclude"),
    ],
)
def test_compile(arguments, message):
    with pytest.raises(ValueError, match=message):
        Sequential([Dense(1, input_dim=2)]).compile(**arguments)


def test_unknown_activation_and_initializer():
    with pytest.raises(ValueError, match="activation 'rleu'.*'relu'"):
        Dense(1, activation="rleu")
    with pytest.raises(ValueError, match="initializer 'glorot_unifrom'.*'glorot_uniform'"):
        Dense(1, kernel_initializer="glorot_unifrom")


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_before_compile(method):
    model = Sequential([Dense(1, input_dim=4)])
    with pytest.raises(ValueError, match=r"not compiled.*compile\("):
        getattr(model, method)(X, Y)


def test_compiled_without_a_loss():
    model = Sequential([Dense(1, input_dim=4)])
    model.compile("sgd")
    with pytest.raises(ValueError, match="without a loss"):
        model.fit(X, Y)


@pytest.mark.parametrize(
    ("x", "y", "arguments", "message"),
    [
        (X, Y[:5], {}, "x has 20, y has 5"),
        (X, Y, {"sample_weight": np.ones(3)}, "sample_weight has 3"),
        (X[:, :3], Y, {}, r"'first'.*4 at axis -1.*3\)|\(None, 4\).*\(None, 3\)"),
        (X[:0], Y[:0], {}, r"x is empty.*\(0, 4\)"),
        ([], [], {}, "x is empty"),
        (X, None, {}, "need inputs x and targets y"),
        (X, np.array(["yes"] * 20), {}, r"y must hold numbers.*'yes' at position \[0\]"),
        (np.array([["1", "a", "2", "3"]] * 20), Y, {}, "x must hold numbers"),
        ([[1, 2], [1]], [0, 1], {}, "rectangular"),
        (X, Y, {"validation_split": 1.5}, "between 0 and 1"),
        (X[:1], Y[:1], {"validation_split": 0.5}, "leaves 0 to train"),
        (X, Y, {"batch_size": 0}, "batch_size must be a positive integer; received 0"),
        (X, Y, {"batch_size": 2.5}, "batch_size"),
        (X, Y, {"steps_per_epoch": 0}, "steps"),
        (X, Y, {"shuffle": "all"}, "shuffle"),
        (X, Y, {"validation_data": X}, r"validation_data must be \(x, y\)"),
        (X, Y, {"validation_data": (X, Y[:3])}, "x has 20, y has 3"),
        (X, Y, {"class_weight": {0: 1.0}, "sample_weight": np.ones(20)}, "exclude each other"),
        (X, Y, {"class_weight": [1, 2]}, "class_weight must be a dictionary"),
        (X, Y, {"validation_freq": 0, "validation_split": 0.5}, "validation_freq"),
        (X, Y, {"epoch": 3}, "Model.fit.*'epoch'.*'epochs'"),
        (np.float64(3), Y, {}, "axis of samples"),
        (X, Y, {"validation_freq": 0}, "validation_freq"),
        (X, Y, {"validation_steps": -3}, "validation_steps"),
        (X, Y, {"validation_batch_size": 0}, "validation_batch_size"),
    ],
)
def test_fit(x, y, arguments, message):
    with pytest.raises(ValueError, match=message):
        network().fit(x, y, verbose=0, **arguments)


def test_what_is_no_data_is_a_type_error():
    with pytest.raises(TypeError, match="x must be an array"):
        network().fit("data.csv", Y)
    with pytest.raises(TypeError, match="not supported yet"):
        network().fit((row for row in X), Y)
    with pytest.raises(TypeError, match="callbacks"):
        network().fit(X, Y, callbacks=["History"], verbose=0)


def test_one_hot_targets_with_a_sparse_loss_and_the_reverse():
    one_hot = np.eye(3)[np.random.randint(0, 3, 20)]
    with pytest.raises(ValueError, match="one-hot.*'?categorical_crossentropy"):
        network(3, "softmax", "sparse_categorical_crossentropy").fit(X, one_hot, verbose=0)
    with pytest.raises(ValueError, match="sparse_categorical_crossentropy"):
        network(3, "softmax", "categorical_crossentropy").fit(X, one_hot.argmax(1), verbose=0)


def test_labels_outside_the_classes():
    labels = np.array([0, 1, 2, 3] * 5)
    for bad in (labels, labels - 1):
        with pytest.raises(ValueError, match=r"3|-1"):
            network(3, "softmax", "sparse_categorical_crossentropy").fit(X, bad, verbose=0)


def test_target_width_that_does_not_match_the_output():
    with pytest.raises(ValueError, match=r"\(20, 3\)"):
        network(2, None, "mse").fit(X, np.ones((20, 3)), verbose=0)


def test_nothing_moves_when_the_data_is_refused():
    model = network()
    before = model.get_weights()
    with pytest.raises(ValueError, match="x has 20"):
        model.fit(X, Y[:7], verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="WORLD_SIZE is 2"):
        network().fit(X, Y, verbose=0)


def test_seed_out_of_range():
    from torchkeras.random import set_random_seed

    for seed in (-1, 2**32, 1.5, None):
        with pytest.raises(ValueError, match="seed"):
            set_random_seed(seed)
