"""The rules of Keras 1 and 2, by a numpy account of optimizers.py of 1.2.2 and 2.2.4."""

import numpy as np
import pytest
import torch

from torchkeras import eras, optimizers

SHAPES = [(3, 2), (2,)]
EPSILON = {"1": 1e-8, "2": 1e-7}
RATES = {
    "SGD": 0.01,
    "RMSprop": 0.001,
    "Adagrad": 0.01,
    "Adadelta": 1.0,
    "Adam": 0.001,
    "Adamax": 0.002,
    "Nadam": 0.002,
}


def clipped(gradients, clipnorm=0.0, clipvalue=0.0):
    """One norm of all gradients decides; then every number is bounded."""
    if clipnorm:
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        gradients = [g * clipnorm / norm if norm >= clipnorm else g for g in gradients]
    return [np.clip(g, -clipvalue, clipvalue) if clipvalue else g for g in gradients]


def rule(name, state, p, g, rate, t, epsilon):
    """Return where one weight goes; ``t`` is the count of updates before this one, plus 1."""
    zero = np.zeros_like(p)
    if name == "SGD":
        return p - rate * g
    if name == "RMSprop":
        state["a"] = 0.9 * state.get("a", zero) + 0.1 * g**2
        return p - rate * g / (np.sqrt(state["a"]) + epsilon)
    if name == "Adagrad":
        state["a"] = state.get("a", zero) + g**2
        return p - rate * g / (np.sqrt(state["a"]) + epsilon)
    if name == "Adadelta":
        state["a"] = 0.95 * state.get("a", zero) + 0.05 * g**2
        step = g * np.sqrt(state.get("d", zero) + epsilon) / np.sqrt(state["a"] + epsilon)
        state["d"] = 0.95 * state.get("d", zero) + 0.05 * step**2
        return p - rate * step
    state["m"] = 0.9 * state.get("m", zero) + 0.1 * g
    if name == "Adamax":
        state["u"] = np.maximum(0.999 * state.get("u", zero), abs(g))
        return p - rate / (1 - 0.9**t) * state["m"] / (state["u"] + epsilon)
    state["v"] = 0.999 * state.get("v", zero) + 0.001 * g**2
    if name == "Adam":
        rate = rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        return p - rate * state["m"] / (np.sqrt(state["v"]) + epsilon)
    now = 0.9 * (1 - 0.5 * 0.96 ** (t * 0.004))
    following = 0.9 * (1 - 0.5 * 0.96 ** ((t + 1) * 0.004))
    state["schedule"] = state.get("schedule", 1.0) * now
    mean = state["m"] / (1 - state["schedule"] * following)
    bar = (1 - now) * g / (1 - state["schedule"]) + following * mean
    return p - rate * bar / (np.sqrt(state["v"] / (1 - 0.999**t)) + epsilon)


@pytest.mark.parametrize("scale", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("era", ["1", "2"])
@pytest.mark.parametrize("name", RATES)
def test_rules_and_defaults_of_keras_1_and_2(name, era, decay, scale):
    if name == "Nadam" and decay:
        decay = 0.0  # it had none
    with eras.using(era):
        optimizer = getattr(optimizers, name)(decay=decay)
    random = np.random.default_rng(0)
    starts = [random.standard_normal(shape) for shape in SHAPES]
    parameters = [torch.nn.Parameter(torch.tensor(start)) for start in starts]
    optimizer.build(parameters)
    places, states = list(starts), [{}, {}]
    for step in range(30):
        gradients = [scale * random.standard_normal(shape) for shape in SHAPES]
        optimizer.update([torch.tensor(g) for g in gradients])
        rate = RATES[name] / (1 + decay * step)
        places = [
            rule(name, state, place, gradient, rate, step + 1, EPSILON[era])
            for state, place, gradient in zip(states, places, gradients)
        ]
    for parameter, place, start in zip(parameters, places, starts):
        expected = place - start
        np.testing.assert_allclose(
            parameter.detach().numpy() - start, expected, rtol=1e-5, atol=1e-6 * abs(expected).max()
        )


@pytest.mark.parametrize(
    "limits",
    [{"clipnorm": 0.5}, {"clipnorm": 5.0}, {"clipvalue": 0.3}, {"clipnorm": 1.0, "clipvalue": 0.2}],
)
@pytest.mark.parametrize("era", ["1", "2"])
def test_clipnorm_bounded_the_norm_of_all_gradients(era, limits):
    with eras.using(era):
        optimizer = optimizers.SGD(1.0, **limits)
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    optimizer.build(parameters)
    random = np.random.default_rng(0)
    gradients = [random.standard_normal(shape) for shape in SHAPES]
    optimizer.update([torch.tensor(g, dtype=torch.float32) for g in gradients])
    for parameter, gradient in zip(parameters, clipped(gradients, **limits)):
        np.testing.assert_allclose(-parameter.detach().numpy(), gradient, rtol=1e-5)


def test_momentum_and_nesterov_are_as_they_were():
    for nesterov in (False, True):
        with eras.using("2"):
            optimizer = optimizers.SGD(momentum=0.9, nesterov=nesterov, decay=0.05)
        parameter = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
        optimizer.build([parameter])
        place, velocity = np.ones(3), np.zeros(3)
        for step in range(10):
            gradient, rate = np.arange(3.0) + step, 0.01 / (1 + 0.05 * step)
            velocity = 0.9 * velocity - rate * gradient
            place = place + (0.9 * velocity - rate * gradient if nesterov else velocity)
            optimizer.update([torch.tensor(gradient)])
        np.testing.assert_allclose(parameter.detach().numpy(), place, rtol=1e-6)


def test_positional_arguments_come_in_the_eras_order():
    assert optimizers.SGD(0.1, 0.5, True).nesterov is True
    eras.set_version("2")
    sgd = optimizers.SGD(0.1, 0.5, 0.01, True)
    assert (sgd.momentum, sgd.nesterov, sgd.decay) == (0.5, True, 0.01)
    adam = optimizers.Adam(0.1, 0.8, 0.9, 1e-3, 0.0, True)
    assert (adam.beta_2, adam.epsilon, adam.amsgrad) == (0.9, 1e-3, True)
    eras.set_version("2.3.1")
    assert optimizers.Adam(0.1, 0.8, 0.9, True).amsgrad is True
