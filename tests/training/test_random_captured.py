"""keras.random in a captured step: other numbers each step, those of eager training."""

import copy

import numpy as np
import pytest
import torch

import torchkeras as keras
from torchkeras import layers, random

X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(40, 3)).astype("float32")


class Do(layers.Layer):
    """Calls a function of itself and the input; has a generator of seeds, and one without seed."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.seeds = random.SeedGenerator(4)
        self.unseeded = random.SeedGenerator()

    def call(self, x):
        return self.function(self, x)


SEEDED = {
    "normal": lambda layer, x: x + random.normal(x.shape, seed=layer.seeds),
    "two": lambda layer, x: (
        x + random.normal(x.shape, seed=layer.seeds) * random.uniform(x.shape, seed=layer.seeds)
    ),
    "other": lambda layer, x: x + random.uniform(x.shape, -1.0, 1.0, seed=layer.unseeded),
    "dropout": lambda layer, x: random.dropout(x, 0.3, seed=layer.seeds),
    "noise_shape": lambda layer, x: random.dropout(x, 0.3, (None, 1), seed=layer.unseeded),
    "categorical": lambda layer, x: x + random.categorical(x, 1, seed=layer.seeds),
    "shuffle": lambda layer, x: random.shuffle(x, 1, seed=layer.seeds),
    "gamma": lambda layer, x: x + random.gamma(x.shape, 2.0, seed=layer.seeds),
    "beta": lambda layer, x: x + random.beta(x.shape, 2.0, x.abs() + 0.1, seed=layer.seeds),
    "binomial": lambda layer, x: x + random.binomial(x.shape, 3, 0.4, seed=layer.seeds),
    "randint": lambda layer, x: x + random.randint(x.shape, 0, 3, seed=layer.seeds),
    "truncated_normal": lambda layer, x: x + random.truncated_normal(x.shape, seed=layer.seeds),
}
UNSEEDED = {
    "normal": lambda layer, x: x + random.normal(x.shape),
    "uniform": lambda layer, x: x + random.uniform(x.shape),
    "gamma": lambda layer, x: x + random.gamma(x.shape, 2.0),
    "shuffle": lambda layer, x: random.shuffle(x, 1),
}
FIXED = {
    "normal": lambda layer, x: x + random.normal(x.shape, seed=3),
    "dropout": lambda layer, x: random.dropout(x, 0.3, seed=3),
    "two": lambda layer, x: x + random.normal(x.shape, seed=3) + random.uniform(x.shape, seed=-3),
}


def made(function, run_eagerly=False, rate=0.01):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Input((4,)), layers.Dense(5), Do(function), layers.Dense(3)])
    model.compile(keras.optimizers.SGD(rate), "mse", run_eagerly=run_eagerly)
    return model


def numbers(model, epochs=4):
    keras.utils.set_random_seed(1)  # by which batches are shuffled
    losses = model.fit(X, Y, batch_size=8, epochs=epochs, verbose=0).history["loss"]
    states = [v.numpy() for v in model.non_trainable_variables]
    return [losses, model.evaluate(X, Y, verbose=0), model.predict(X, verbose=0), *states] + [
        v.numpy() for v in model.weights
    ]


def is_captured_as_eager(function):
    captured, eager = made(function), made(function, run_eagerly=True)
    for one, other in zip(numbers(captured), numbers(eager), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert captured.step_report().kind == "captured", captured.step_report()
    return captured


@pytest.mark.parametrize("name", SEEDED)
def test_by_a_generator_of_seeds(name):
    model = is_captured_as_eager(SEEDED[name])
    layer = model.layers[1]
    draws = [int(seeds.state[1]) for seeds in (layer.seeds, layer.unseeded)]
    # Four epochs of five steps; evaluate and predict have two batches of up to 32 each.
    assert sorted(draws) == [0, (20 + 2 + 2) * (2 if name == "two" else 1)]


@pytest.mark.parametrize("name", UNSEEDED)
def test_without_a_seed(name):
    is_captured_as_eager(UNSEEDED[name])


@pytest.mark.parametrize("name", FIXED)
def test_by_an_integer(name):
    is_captured_as_eager(FIXED[name])


def losses_of_one_batch(function, epochs=6):
    """Train with a learning rate of zero: the draws alone make a difference."""
    model = made(function, rate=0.0)
    losses = model.fit(X, Y, batch_size=40, epochs=epochs, shuffle=False, verbose=0)
    assert model.step_report().kind == "captured", model.step_report()
    return model, losses.history["loss"]


@pytest.mark.parametrize(
    "function",
    [
        SEEDED["normal"],
        SEEDED["dropout"],
        UNSEEDED["normal"],
        lambda layer, x: random.dropout(x, 0.3),
        lambda layer, x: random.dropout(x, 0.3, seed=layer.unseeded),
    ],
)
def test_each_step_draws_anew(function):
    _, losses = losses_of_one_batch(function)
    assert len(set(losses)) == len(losses)


@pytest.mark.parametrize("name", FIXED)
def test_by_an_integer_each_step_draws_the_same(name):
    _, losses = losses_of_one_batch(FIXED[name])
    np.testing.assert_allclose(losses, losses[0], rtol=1e-6)


def test_a_state_written_back_gives_the_same_numbers_again():
    model, losses = losses_of_one_batch(SEEDED["two"])
    model.layers[1].seeds.state.assign([4, 0])
    again = model.fit(X, Y, batch_size=40, epochs=6, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(again, losses, rtol=1e-6)


def test_a_copy_of_a_trained_model_goes_on_as_it_does():
    model, _ = losses_of_one_batch(SEEDED["two"])
    copied = copy.deepcopy(model)
    one, other = (
        part.fit(X, Y, batch_size=40, epochs=3, shuffle=False, verbose=0).history["loss"]
        for part in (model, copied)
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_what_a_seed_costs_is_one_call():
    calls = []
    for function in (UNSEEDED["normal"], SEEDED["normal"], FIXED["normal"], SEEDED["two"]):
        model = made(function)
        model.fit(X, Y, batch_size=8, epochs=4, verbose=0)
        calls.append(model.step_report().calls)
    # Two draws by a generator: it is seeded, draws, is seeded again, draws; and a product.
    assert [count - calls[0] for count in calls] == [0, 1, 1, 5]


def test_a_generator_of_seeds_made_in_each_step_stays_eager():
    model = made(lambda layer, x: x + random.normal(x.shape, seed=random.SeedGenerator(3)))
    model.fit(X, Y, batch_size=8, epochs=4, verbose=0)
    report = model.step_report()
    assert report.kind == "eager" and "changed from step to step" in report.reason


def test_a_generator_seeded_by_the_users_own_hand_stays_eager():
    def own(layer, x):
        return x + torch.randn(x.shape, generator=random.generator(3))

    model = made(own)
    model.fit(X, Y, batch_size=8, epochs=4, verbose=0)
    report = model.step_report()
    assert report.kind == "eager" and "random state" in report.reason


def test_in_a_functional_model_without_code_of_the_users():
    def make(run_eagerly):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((4,))
        seeds = random.SeedGenerator(3)
        x = random.dropout(layers.Dense(50)(inputs), 0.5, seed=seeds)
        model = keras.Model(inputs, layers.Dense(3)(random.shuffle(x, 1, seed=seeds)))
        model.compile("sgd", "mse", run_eagerly=run_eagerly)
        return model, seeds

    (captured, one), (eager, two) = make(False), make(True)
    for found, expected in zip(numbers(captured), numbers(eager), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert captured.step_report().kind == "captured"
    assert one.state.numpy().tolist() == two.state.numpy().tolist() == [3, 48]


def test_dropout_layers_by_seeds():
    def make(run_eagerly):
        keras.utils.set_random_seed(0)
        middle = [layers.Dropout(0.5, seed=3), layers.Dense(9), layers.Dropout(0.2, (None, 1))]
        model = keras.Sequential([layers.Input((4,)), layers.Dense(50), *middle, layers.Dense(3)])
        model.compile("adam", "mse", run_eagerly=run_eagerly)
        return model

    captured, eager = make(False), make(True)
    for found, expected in zip(numbers(captured), numbers(eager), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert captured.step_report().kind == "captured"
    assert [v.numpy()[1] for v in captured.non_trainable_variables] == [20, 20]
