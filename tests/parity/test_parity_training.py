"""Training against Keras 3.15 on the Pima data: curves, evaluation and metrics."""

from pathlib import Path

import keras
import numpy as np
import pytest

import torchkeras

DATA = np.loadtxt(
    Path(__file__).parents[2] / "examples" / "data" / "pima-indians-diabetes.csv", delimiter=","
)
X = ((DATA[:, :8] - DATA[:, :8].mean(0)) / DATA[:, :8].std(0)).astype("float32")
Y = DATA[:, 8]

OPTIMIZERS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"use_ema": True, "ema_momentum": 0.9}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adam", {}),
    ("Adam", {"clipnorm": 0.1}),
    ("AdamW", {}),
    ("Adagrad", {}),
    ("Adadelta", {}),
    ("Adamax", {}),
    ("Nadam", {}),
]


def pima(lib, regularizer=None, weights=None):
    model = lib.Sequential(
        [
            lib.layers.Input((8,)),
            lib.layers.Dense(12, activation="relu", kernel_regularizer=regularizer),
            lib.layers.Dense(1, activation="sigmoid"),
        ]
    )
    if weights is None:
        generator = np.random.RandomState(0)
        weights = [generator.randn(*v.shape) * 0.3 for v in model.weights]
    model.set_weights(weights)
    return model


def curves(epochs, optimizer, arguments, loss="binary_crossentropy", fit=None, **compile_arguments):
    """The histories of both libraries."""
    result = []
    for lib in (keras, torchkeras):
        model = pima(lib)
        made = getattr(lib.optimizers, optimizer)(**arguments)
        model.compile(optimizer=made, loss=loss, **compile_arguments)
        history = model.fit(
            X, Y, epochs=epochs, batch_size=10, shuffle=False, verbose=0, **(fit or {})
        )
        result.append((history.history, model))
    return result


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "arguments"), OPTIMIZERS)
def test_curve_of_20_epochs(optimizer, arguments):
    (theirs, their_model), (ours, our_model) = curves(
        20, optimizer, arguments, metrics=["accuracy"]
    )
    assert list(ours) == list(theirs)
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-4)
    np.testing.assert_allclose(ours["accuracy"], theirs["accuracy"], atol=2 / 768)
    np.testing.assert_allclose(
        our_model.predict(X, verbose=0), their_model.predict(X, verbose=0), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize(("optimizer", "arguments"), OPTIMIZERS)
def test_curve_of_two_epochs_with_validation(optimizer, arguments):
    (theirs, _), (ours, _) = curves(
        2, optimizer, arguments, metrics=["accuracy"], fit={"validation_split": 0.25}
    )
    assert list(ours) == list(theirs)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    "fit",
    [
        {"class_weight": {0: 1.0, 1: 3.0}},
        {"sample_weight": np.random.RandomState(1).rand(768)},
        {"steps_per_epoch": 30},
        {"validation_split": 0.3, "validation_batch_size": 64, "validation_steps": 2},
        {"validation_data": (X[:50], Y[:50], np.random.RandomState(2).rand(50))},
    ],
    ids=["class_weight", "sample_weight", "steps", "validation_steps", "weighted_validation"],
)
def test_arguments_of_fit(fit):
    (theirs, _), (ours, _) = curves(
        2, "Adam", {}, metrics=["accuracy", "mae"], weighted_metrics=["mse", "mae"], fit=fit
    )
    assert list(ours) == list(theirs)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, err_msg=name)


def test_penalties_constraints_and_batch_normalization():
    histories = []
    for lib in (keras, torchkeras):
        model = lib.Sequential(
            [
                lib.layers.Input((8,)),
                lib.layers.Dense(
                    6, activation="tanh", kernel_regularizer="L1L2", kernel_constraint="max_norm"
                ),
                lib.layers.BatchNormalization(gamma_regularizer="l2"),
                lib.layers.Dense(1, activation="sigmoid", activity_regularizer="l2"),
            ]
        )
        generator = np.random.RandomState(0)
        model.set_weights([np.abs(generator.randn(*v.shape)) for v in model.weights])
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"], loss_weights=0.7)
        history = model.fit(X, Y, epochs=3, batch_size=32, shuffle=False, verbose=0)
        histories.append((history.history, model.evaluate(X, Y, verbose=0), model.get_weights()))
    (theirs, their_evaluation, their_weights), (ours, our_evaluation, our_weights) = histories
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-4)
    np.testing.assert_allclose(our_evaluation, their_evaluation, rtol=1e-4)
    for mine, other in zip(our_weights, their_weights, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("units", "activation", "loss", "targets", "metrics"),
    [
        (3, "softmax", "sparse_categorical_crossentropy", "labels", ["accuracy"]),
        (3, "softmax", "categorical_crossentropy", "one_hot", ["accuracy"]),
        (3, "softmax", "crossentropy", "labels", ["acc"]),
        (3, None, "mse", "one_hot", ["mae", "mse", "accuracy"]),
        (1, None, "huber", "numbers", ["mape", "msle"]),
        (1, "tanh", "hinge", "signs", ["hinge", "accuracy"]),
        (3, "softmax", "kl_divergence", "one_hot", ["kl_divergence"]),
        (1, "exponential", "poisson", "numbers", ["poisson"]),
        (3, None, "cosine_similarity", "one_hot", ["cosine_similarity"]),
    ],
)
def test_losses_and_metrics_through_fit_and_evaluate(units, activation, loss, targets, metrics):
    generator = np.random.RandomState(5)
    labels = generator.randint(0, 3, len(X))
    y = {
        "labels": labels,
        "one_hot": np.eye(3)[labels],
        # columns: with rows Keras' hinge and poisson metrics compare every target with every output
        "numbers": generator.rand(len(X), 1),
        "signs": generator.choice([-1, 1], (len(X), 1)),
    }[targets]
    results = []
    for lib in (keras, torchkeras):
        model = lib.Sequential([lib.layers.Input((8,)), lib.layers.Dense(units, activation)])
        weights = np.random.RandomState(0)
        model.set_weights([weights.randn(*v.shape) * 0.1 for v in model.weights])
        model.compile("sgd", loss, metrics=metrics)
        history = model.fit(X, y, epochs=2, batch_size=50, shuffle=False, verbose=0)
        results.append((history.history, model.evaluate(X, y, verbose=0)))
    (theirs, their_values), (ours, our_values) = results
    assert list(ours) == list(theirs)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(our_values, their_values, rtol=1e-5, atol=1e-6)


def test_learning_rate_set_during_training():
    histories = []
    for lib in (keras, torchkeras):

        class Slower(lib.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                self.model.optimizer.learning_rate = 0.01 / (epoch + 1)

        model = pima(lib)
        model.compile("adam", "binary_crossentropy")
        fitted = model.fit(
            X, Y, epochs=3, batch_size=64, shuffle=False, verbose=0, callbacks=[Slower()]
        )
        histories.append(fitted.history["loss"])
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-5)


def test_train_on_batch_and_test_on_batch():
    results = []
    for lib in (keras, torchkeras):
        model = pima(lib)
        model.compile("rmsprop", "binary_crossentropy", metrics=["accuracy"])
        steps = [model.train_on_batch(X[i : i + 20], Y[i : i + 20]) for i in range(0, 100, 20)]
        results.append(
            (
                np.array(steps, dtype=float),
                np.array(model.test_on_batch(X, Y), dtype=float),
                model.predict_on_batch(X),
            )
        )
    for mine, other in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_callback_logs_hold_the_same_running_means():
    logs = []
    for lib in (keras, torchkeras):
        seen = []

        class Keep(lib.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None, seen=seen):
                seen.append((batch, logs["loss"], logs["accuracy"]))

        model = pima(lib)
        model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
        model.fit(X[:100], Y[:100], 30, shuffle=False, verbose=0, callbacks=[Keep()])
        logs.append(np.array(seen, dtype=float))
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-5)
