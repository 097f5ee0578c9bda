"""Training of graphs against Keras 3.15: curves, losses and metrics of several outputs."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import torchkeras

sys.path.insert(0, str(Path(__file__).parent))

from architectures import ARCHITECTURES, leaves_of, targets_for, weights_for

BOTH = (keras, torchkeras)


def same_history(ours, theirs, tolerance=1e-4):
    assert list(ours) == list(theirs)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=tolerance, err_msg=name)


def same_values(ours, theirs, tolerance=1e-4):
    """Numbers in lists or dictionaries, as evaluate and train_on_batch return them."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        ours, theirs = list(ours.values()), list(theirs.values())
    np.testing.assert_allclose(ours, theirs, rtol=tolerance)


def mended(model):
    """Let Keras' step forget every gradient: its own misses weights of inner models of one path."""

    def zero_grad():
        for variable in model.trainable_weights:
            variable.value.grad = None

    if isinstance(model, keras.Model):
        model.zero_grad = zero_grad


# Of each kind one; the others are in the long sweep.
CURVES = """
    chain_of_unnamed_layers nested_structure_in nested_structure_out dictionaries_in_and_out highway
    unused_input dense_block siamese autoencoder_with_a_shared_decoder layer_shared_three_times
    functional_to_depth_three functional_in_a_subclass new_head_on_a_frozen_part all_operators
    regularized_and_constrained inputs_of_several_dtypes masked_sequences own_layers
""".split()


def in_sweep(name):
    return name if name in CURVES else pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [in_sweep(a.name) for a in ARCHITECTURES.values() if not a.random])
def test_curve_of_every_architecture(name):
    architecture = ARCHITECTURES[name]
    x, results = architecture.draw(22), []
    batch = architecture.samples or 8
    for k in BOTH:
        keras.utils.clear_session(free_memory=False)
        torchkeras.registry.reset_names()
        model = architecture.build(k)
        outputs = model.predict(x, batch, verbose=0)
        model.set_weights(weights_for(model))
        targets = targets_for(outputs)
        # No Adam: it would make steps of its full rate of gradients that are rounding alone.
        model.compile(k.optimizers.SGD(0.01, momentum=0.9), "mse")
        mended(model)
        history = model.fit(x, targets, batch, epochs=2, shuffle=False, verbose=0).history
        results.append((history, model.evaluate(x, targets, batch, verbose=0), model))
    (theirs, their_values, their_model), (ours, our_values, our_model) = results
    same_history(ours, theirs)
    same_values(our_values, their_values)
    for mine, other in zip(our_model.get_weights(), their_model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------- two inputs, two outputs, every argument

SAMPLES = 44
_rng = np.random.default_rng(0)
X = [_rng.normal(size=(SAMPLES, width)).astype("float32") for width in (4, 3)]
Y = [
    _rng.integers(0, 2, (SAMPLES, 1)).astype("float32"),
    np.eye(3, dtype="float32")[_rng.integers(0, 3, SAMPLES)],
]
WEIGHTS = [_rng.random(SAMPLES).astype("float32") for _ in range(2)]
X_BY_NAME = dict(zip(("left", "right"), X))
Y_BY_NAME = dict(zip(("yes", "kind"), Y))
WEIGHTS_BY_NAME = dict(zip(("yes", "kind"), WEIGHTS))


def two_and_two(k, inputs=list, outputs=list):
    """A model of inputs ``left``, ``right`` and outputs ``yes``, ``kind``, in lists or by name."""
    left, right = k.Input((4,), name="left"), k.Input((3,), name="right")
    hidden = k.layers.Concatenate(name="both")([left, right])
    hidden = k.layers.Dense(6, activation="tanh", kernel_regularizer="l2", name="hidden")(hidden)
    yes = k.layers.Dense(1, activation="sigmoid", name="yes")(hidden)
    kind = k.layers.Dense(3, activation="softmax", name="kind")(hidden)
    model = k.Model(
        {"left": left, "right": right} if inputs is dict else [left, right],
        {"yes": yes, "kind": kind} if outputs is dict else [yes, kind],
    )
    model.set_weights(weights_for(model))
    return model


def fitted(compile_arguments, fit=None, x=X, y=Y, **structure):
    """The histories of both, and what they evaluate to."""
    results = []
    for k in BOTH:
        model = two_and_two(k, **structure)
        given = compile_arguments(k) if callable(compile_arguments) else compile_arguments
        model.compile(**{"optimizer": "adam", "loss": "mse", **given})
        history = model.fit(
            x, y, batch_size=10, epochs=2, shuffle=False, verbose=0, **(fit or {})
        ).history
        values = [
            model.evaluate(x, y, batch_size=10, verbose=0),
            model.evaluate(x, y, batch_size=10, verbose=0, return_dict=True),
        ]
        results.append((history, values, model))
    (theirs, their_values, _), (ours, our_values, model) = results
    same_history(ours, theirs)
    for mine, other in zip(our_values, their_values):
        same_values(mine, other)
    return model


LOSSES = {
    "one for all": "mse",
    "list": ["binary_crossentropy", "categorical_crossentropy"],
    "tuple": ("mse", "mae"),
    "by name": {"yes": "binary_crossentropy", "kind": "mse"},
    "by name, in another order": {"kind": "mse", "yes": "mae"},
    "none for the second": ["mse", None],
    "none for the first": {"yes": None, "kind": "kl_divergence"},
}


@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss):
    fitted({"loss": LOSSES[loss]})


def test_losses_that_are_objects_and_functions():
    def third_power(y_true, y_pred):
        return abs(y_true - y_pred) ** 3

    fitted(lambda k: {"loss": [k.losses.BinaryCrossentropy(label_smoothing=0.1), third_power]})
    fitted(lambda k: {"loss": {"yes": k.losses.Huber(0.3), "kind": k.losses.MeanSquaredError()}})


@pytest.mark.parametrize("weights", [[1.0, 0.25], (0.0, 1.0)], ids=str)
def test_loss_weights_in_a_list(weights):
    fitted({"loss": LOSSES["list"], "loss_weights": weights})


@pytest.mark.parametrize(
    "weights", [{"yes": 2.0, "kind": 0.5}, {"kind": 0.0, "yes": 2.0}], ids=["in order", "turned"]
)
def test_loss_weights_by_name(weights):
    fitted({"loss": LOSSES["by name"], "loss_weights": weights})


METRICS = {
    "one for each": ["mae", "mse"],
    "lists": [["accuracy"], ["mae", "accuracy"]],
    "by name": {"yes": "accuracy", "kind": ["accuracy", "mse"]},
    "by name, in another order": {"kind": ["mse"], "yes": ["mae"]},
    "for one, by name": {"kind": "accuracy"},
    "for one, in a list": [None, "mae"],
    "none for one": [[], ["mae"]],
}


@pytest.mark.parametrize("metrics", METRICS)
@pytest.mark.parametrize("argument", ["metrics", "weighted_metrics"])
def test_metrics(metrics, argument):
    fitted({"loss": LOSSES["list"], argument: METRICS[metrics]}, {"sample_weight": WEIGHTS})


def test_metrics_of_both_kinds_and_metric_objects():
    fitted(
        lambda k: {
            "loss": LOSSES["by name"],
            "loss_weights": {"yes": 0.3, "kind": 1.0},
            "metrics": {
                "yes": [k.metrics.BinaryAccuracy(threshold=0.3, name="bin")],
                "kind": [k.metrics.CategoricalAccuracy(), "mae"],
            },
            "weighted_metrics": {"yes": ["mae"], "kind": ["mae"]},
        },
        {"sample_weight": WEIGHTS, "validation_split": 0.25},
    )


@pytest.mark.parametrize(
    "weights", [WEIGHTS, WEIGHTS[0], [WEIGHTS[0], None]], ids="list one part".split()
)
def test_sample_weights(weights):
    metrics = {"metrics": [["mae"], ["mae"]], "weighted_metrics": [["mse"], ["mae"]]}
    fitted(metrics, {"sample_weight": weights})


@pytest.mark.parametrize("x", [X, tuple(X), X_BY_NAME], ids="list tuple dict".split())
@pytest.mark.parametrize("inputs", [list, dict])
def test_structures_of_x(x, inputs):
    if inputs is dict and not isinstance(x, dict):
        x = X_BY_NAME
    model = fitted({"loss": LOSSES["list"]}, x=x, inputs=inputs)
    expected = two_and_two(keras, inputs=inputs)
    expected.set_weights(model.get_weights())
    for mine, other in zip(
        model.predict(x, verbose=0), expected.predict(x, verbose=0), strict=True
    ):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("y", [Y, tuple(Y), Y_BY_NAME], ids="list tuple dict".split())
def test_structures_of_y(y):
    fitted({"loss": LOSSES["by name"], "metrics": METRICS["by name"]}, y=y)


@pytest.mark.parametrize("weights", [None, WEIGHTS_BY_NAME], ids=["plain", "weighted"])
def test_everything_by_name(weights):
    model = fitted(
        {
            "loss": LOSSES["by name"],
            "loss_weights": {"yes": 0.5, "kind": 2.0},
            "metrics": METRICS["by name"],
        },
        {"sample_weight": weights},
        x=X_BY_NAME,
        y=Y_BY_NAME,
        inputs=dict,
        outputs=dict,
    )
    predicted = model.predict(X_BY_NAME, verbose=0)
    assert {name: part.shape for name, part in predicted.items()} == {
        "yes": (SAMPLES, 1),
        "kind": (SAMPLES, 3),
    }


VALIDATIONS = {
    "split": {"validation_split": 0.3},
    "split, weighted": {"validation_split": 0.3, "sample_weight": WEIGHTS},
    "lists": {"validation_data": (X, Y)},
    "lists, weighted": {"validation_data": (X, Y, WEIGHTS)},
    "by name": {"validation_data": (X_BY_NAME, Y_BY_NAME), "validation_batch_size": 16},
    "steps": {"validation_data": (X, Y), "validation_steps": 2, "validation_freq": 2},
}


@pytest.mark.parametrize("validation", VALIDATIONS)
def test_validation(validation):
    fitted(
        {"loss": LOSSES["list"], "weighted_metrics": [["accuracy"], ["mae", "mse"]]},
        VALIDATIONS[validation],
    )


def test_steps_on_batches():
    results = []
    for k in BOTH:
        model = two_and_two(k)
        model.compile("sgd", LOSSES["list"], metrics=METRICS["lists"])
        results.append(
            [
                model.train_on_batch(X, Y),
                model.train_on_batch(X, Y, sample_weight=WEIGHTS),
                model.train_on_batch(X, Y, return_dict=True),
                model.test_on_batch(X, Y, return_dict=True),
                model.test_on_batch(X, Y),
                model.predict_on_batch(X),
            ]
        )
    for mine, other in zip(results[1][:-1], results[0][:-1]):
        if isinstance(other, dict):
            assert list(mine) == list(other)
            mine, other = list(mine.values()), list(other.values())
        np.testing.assert_allclose(np.array(mine, float), np.array(other, float), rtol=1e-5)
    for mine, other in zip(results[1][-1], results[0][-1], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_callbacks_see_keras_names_in_keras_order():
    seen = []
    for k in BOTH:
        logs_of = []

        class Keep(k.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None, logs_of=logs_of):
                logs_of.append((list(logs), list(map(float, logs.values()))))

            def on_epoch_end(self, epoch, logs=None, logs_of=logs_of):
                logs_of.append((list(logs), list(map(float, logs.values()))))

        model = two_and_two(k)
        model.compile("sgd", LOSSES["by name"], metrics=METRICS["by name"])
        model.fit(X, Y, 11, shuffle=False, verbose=0, callbacks=[Keep()], validation_data=(X, Y))
        seen.append(logs_of)
    assert [names for names, _ in seen[1]] == [names for names, _ in seen[0]]
    for (_, mine), (_, other) in zip(seen[1], seen[0]):
        np.testing.assert_allclose(mine, other, rtol=1e-5)


# ------------------------------------------------------------------------------- masks, penalties


def sequences():
    return ARCHITECTURES["masked_sequences"].draw(30)


@pytest.mark.parametrize("weighted", [False, True])
def test_masks_count_in_losses_and_metrics(weighted):
    x = sequences()
    y = np.random.default_rng(3).normal(size=(30, 6, 2)).astype("float32")
    weights = np.random.default_rng(4).random((30, 6)).astype("float32") if weighted else None
    # Keras' loss scales the weights that its metrics see, by a factor of its own for each batch.
    batch = 30 if weighted else 8
    results = []
    for k in BOTH:
        model = ARCHITECTURES["masked_sequences"].build(k)
        model.set_weights(weights_for(model))
        model.compile("adam", "mse", metrics=["mae"], weighted_metrics=["mse"])
        fit = {"sample_weight": weights, "validation_split": 0.2}
        history = model.fit(x, y, batch, epochs=3, shuffle=False, verbose=0, **fit).history
        results.append((history, model.evaluate(x, y, verbose=0)))
    same_history(results[1][0], results[0][0])
    same_values(results[1][1], results[0][1])


def test_a_mask_is_dropped_where_keras_drops_it():
    x = sequences()
    y = np.random.default_rng(3).normal(size=(30, 2)).astype("float32")
    results = []
    for k in BOTH:
        inputs = k.Input((6, 3), name="x")
        hidden = k.layers.Masking(0.0, name="mask")(inputs)
        hidden = k.layers.Dense(3, name="dense")(hidden)
        flat = k.layers.Flatten(name="flat")(hidden)
        model = k.Model(inputs, [k.layers.Dense(2, name="out")(flat), hidden + 1.0])
        model.set_weights(weights_for(model))
        model.compile("sgd", "mse")
        history = model.fit(
            x, [y, np.ones((30, 6, 3), "float32")], 8, shuffle=False, verbose=0
        ).history
        results.append(list(history.values()))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)


def test_parts_frozen_before_compile_stay():
    results = []
    for k in BOTH:
        model = ARCHITECTURES["functional_to_depth_three"].build(k)
        model.set_weights(weights_for(model))
        model.get_layer("depth1").get_layer("depth0").trainable = False
        model.get_layer("depth1").get_layer("norm").trainable = False
        before = model.get_layer("depth1").get_layer("depth0").get_weights()
        model.compile("sgd", "mse")
        mended(model)
        x = ARCHITECTURES["functional_to_depth_three"].draw(20)
        history = model.fit(x, x, 5, epochs=2, shuffle=False, verbose=0).history
        for mine, other in zip(model.get_layer("depth1").get_layer("depth0").get_weights(), before):
            np.testing.assert_array_equal(mine, other)
        results.append((history["loss"], model.get_weights()))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-4)
    for mine, other in zip(results[1][1], results[0][1], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_training_a_part_trains_the_whole():
    results = []
    for k in BOTH:
        model = ARCHITECTURES["autoencoder"].build(k)
        model.set_weights(weights_for(model))
        encoder = model.get_layer("encoder")
        x = ARCHITECTURES["autoencoder"].draw(20)
        encoder.compile("sgd", "mse")
        encoder.fit(x, x[:, :2], 5, epochs=2, shuffle=False, verbose=0)
        results.append(model.predict(x, verbose=0))
        assert leaves_of(model.get_weights())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)
