"""Every architecture trained with the captured step gives the numbers of the eager step."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import torchkeras as keras

sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))

from architectures import ARCHITECTURES, leaves_of, targets_for, weights_for

SAMPLES, BATCH = 22, 8  # the last batch is a smaller one


def trained(architecture, run_eagerly, epochs=3, between=None, **compile_arguments):
    """Fit, and return the model and every number that came of it."""
    keras.registry.reset_names()
    keras.utils.set_random_seed(0)
    x = architecture.draw(SAMPLES)
    model = architecture.build(keras)
    batch = architecture.samples or BATCH
    y = targets_for(model.predict(x, batch_size=batch, verbose=0))
    model.set_weights(weights_for(model))
    compile_arguments = {"optimizer": keras.optimizers.Adam(0.002), "loss": "mse"} | {
        name: value() if callable(value) else value for name, value in compile_arguments.items()
    }
    model.compile(**compile_arguments, run_eagerly=run_eagerly)
    history = model.fit(x, y, batch, epochs=epochs, verbose=0).history
    if between is not None:
        between(model)
        more = model.fit(x, y, batch, epochs=epochs, verbose=0).history
        history = {name: [*values, *more[name]] for name, values in history.items()}
    # A step of inference is captured at the second batch of a shape: the last batch's, too.
    evaluation = [model.evaluate(x, y, batch, verbose=0) for _ in range(3)]
    predicted = [leaves_of(model.predict(x, batch_size=batch, verbose=0)) for _ in range(3)][-1]
    state = [*model.get_weights(), *model.optimizer.get_weights()]
    return model, history, evaluation, predicted, state


def compare(name, kind="captured", **arguments):
    """Train both ways; the numbers are the same and the first way's step is of a kind."""
    architecture = ARCHITECTURES[name]
    model, *results = trained(architecture, run_eagerly=False, **arguments)
    eager, *expected = trained(architecture, run_eagerly=True, **arguments)
    report = model.step_report()
    assert report.kind == kind, report
    assert eager.step_report().kind == "eager"
    (history, evaluation, *arrays), (wanted_history, wanted_evaluation, *wanted) = results, expected
    assert list(history) == list(wanted_history)
    for key in wanted_history:
        close(history[key], wanted_history[key], key)
    close(evaluation, wanted_evaluation, "evaluate")
    for part, wanted_part in zip(arrays, wanted):
        for index, (one, other) in enumerate(zip(part, wanted_part, strict=True)):
            close(one, other, index)
    return model


def close(number, wanted, what):
    np.testing.assert_allclose(number, wanted, rtol=1e-6, atol=1e-6, err_msg=str(what))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_captured_is_eager(name):
    model = compare(name)
    parts = model.step_report().parts
    assert parts["evaluate"].kind == parts["predict"].kind == "captured", parts


@pytest.mark.parametrize("name", ["three_outputs", "dictionaries_in_and_out", "mixture_of_experts"])
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad"])
def test_captured_is_eager_with_other_optimizers(name, optimizer):
    compare(name, optimizer=optimizer)


def test_captured_is_eager_with_losses_weights_and_metrics_by_name():
    compare(
        "dictionaries_in_and_out",
        loss={"score": "mae", "code": "huber"},
        loss_weights={"score": 0.5, "code": 2.0},
        metrics={"score": ["mse"], "code": ["mae", "mse"]},
        weighted_metrics={"code": ["mae"]},
    )


def test_captured_is_eager_with_metrics_in_lists():
    compare("three_outputs", metrics=[["mae"], [], ["mse", "mae"]], loss=["mse", "mae", None])


def test_a_layer_frozen_between_two_fits():
    def freeze(model):
        model.get_layer("shared").trainable = False
        model.compile(keras.optimizers.Adam(0.002), "mse", run_eagerly=model.run_eagerly)

    compare("three_outputs", between=freeze)


def test_weights_changed_between_two_fits():
    def change(model):
        model.set_weights([0.5 * value for value in model.get_weights()])
        model.get_layer("again").kernel.assign(np.eye(5))

    compare("layer_shared_three_times", between=change)


def test_a_part_is_evaluated_with_what_the_whole_learned():
    model = compare("autoencoder")
    x = ARCHITECTURES["autoencoder"].draw(5)
    code = model.get_layer("encoder").predict(x, verbose=0)
    decoded = model.get_layer("decoder").predict(code, verbose=0)
    close(decoded, model.predict(x, verbose=0), "decoded")


def test_the_penalty_of_an_own_layer_is_in_the_loss():
    model = compare("own_layers")
    x = ARCHITECTURES["own_layers"].draw(SAMPLES)
    losses = [float(one.detach()) for one in model.losses]
    assert len(losses) == 2 and all(value > 0 for value in losses)
    y = np.zeros((SAMPLES, 2), "float32")
    loss = model.evaluate(x, y, batch_size=SAMPLES, verbose=0)
    with torch.no_grad():
        error = float((model(x) ** 2).mean())
        assert loss == pytest.approx(error + sum(float(one) for one in model.losses), rel=1e-5)
