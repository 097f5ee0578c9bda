"""The masks of many layers in one call: the same numbers, and where they are left alone."""

import numpy as np
import pytest
import torch

import torchkeras as keras
from torchkeras import layers
from torchkeras.training.capture.record import record
from torchkeras.training.capture.replay import Replay
from torchkeras.training.capture.rewrite import rewrite

RULE = "masks_together"


class Dense:
    """Dense layers, and flat memory for their gradients.

    Args:
        widths: of the layers, the input first.
    """

    def __init__(self, widths):
        sizes = list(zip(widths, widths[1:]))
        self.weights = [torch.randn(o, i) * (2 / i) ** 0.5 for i, o in sizes]
        self.biases = [torch.randn(o) * 0.1 for _, o in sizes]
        self.flat = torch.zeros(100_000)
        self.places, start = [], 0
        for i, o in sizes:
            self.places.append(self.flat.as_strided((o, i), (i, 1), start))
            self.places.append(self.flat.as_strided((o,), (1,), start + o * i))
            start += o * i + o
        for tensor in (*self.weights, *self.biases):
            tensor.requires_grad_()

    def known(self):
        return [*self.weights, *self.biases, self.flat, *self.places]

    def parameters(self):
        pairs = zip(self.weights, self.biases)
        return [tensor for pair in pairs for tensor in pair]

    def outputs(self, x, between=torch.relu):
        for weight, bias in zip(self.weights[:-1], self.biases[:-1]):
            x = between(torch.addmm(bias, x, weight.t()))
        return torch.addmm(self.biases[-1], x, self.weights[-1].t())

    def step(self, x, between=torch.relu):
        loss = self.outputs(x, between).square().mean()
        torch._foreach_copy_(self.places, torch.autograd.grad(loss, self.parameters()))
        return (loss.detach(), self.flat[:20_000] * 2)


def check(net, step, rows=8):
    """Compare replay and eager; return how often the rules were applied, and the replay."""
    width = net.weights[0].shape[1]
    program = record(step, (torch.randn(rows, width),), net.known())[1].program
    applied = rewrite(program)
    replay = Replay(program)
    for _ in range(3):
        x = torch.randn(rows, width)
        net.flat.zero_()
        got = [tensor.clone() for tensor in replay(x)]
        net.flat.zero_()
        for one, wanted in zip(got, step(x)):
            torch.testing.assert_close(one, wanted, rtol=1e-5, atol=1e-6)
    return applied, replay


def test_layers_of_equal_width_have_their_masks_together():
    net = Dense([8] * 6 + [3])
    applied, replay = check(net, net.step)
    assert applied[RULE] == 5
    assert replay.source.count("sign(") == 1
    assert replay.source.count("mul_(") == 5
    assert "threshold_backward" not in replay.source


def test_few_layers_stay_as_they_are():
    net = Dense([8] * 3 + [3])
    applied, _ = check(net, net.step)
    assert RULE not in applied


def test_wide_layers_stay_as_they_are():
    net = Dense([64] * 5 + [3])
    applied, _ = check(net, net.step, rows=65)
    assert RULE not in applied


def test_two_widths_are_two_groups():
    net = Dense([8] * 5 + [6] * 4 + [3])
    applied, replay = check(net, net.step)
    assert applied[RULE] == 8
    assert replay.source.count("sign(") == 2


def test_an_infinite_slope_at_zero_stays_a_zero():
    """ReLU's backward makes 0 of ``inf`` where nothing came through; a product would not."""
    net = Dense([8] * 6 + [3])

    def step(x):
        return net.step(x, lambda z: torch.sqrt(torch.relu(z)))

    applied, replay = check(net, step)
    assert RULE not in applied
    assert torch.isfinite(replay(torch.randn(8, 8))[1]).all()


def test_outputs_that_the_step_returns_stay_in_memory_of_their_own():
    net = Dense([8] * 6 + [3])

    def step(x):
        kept = []
        loss, flat = net.step(x, lambda z: kept.append(torch.relu(z)) or kept[-1])
        return loss, flat, *(output.detach() for output in kept)

    applied, _ = check(net, step)
    assert RULE not in applied


def test_a_second_forward_pass_behind_the_first_backward_is_left_alone():
    net, other = Dense([8] * 3 + [3]), Dense([8] * 3 + [3])

    def step(x):
        first = net.step(x)[1].clone()
        loss = other.outputs(x + first[:8]).square().mean()
        gradients = torch.autograd.grad(loss, other.parameters())
        return (loss.detach(), first, *gradients)

    net.known = lambda known=net.known: [*known(), *other.parameters()]
    applied, _ = check(net, step)
    assert RULE not in applied


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_captured_training_is_eager_training(optimizer):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 8)).astype("float32"), rng.integers(0, 3, 200)
    results = []
    for eager in (False, True):
        keras.utils.set_random_seed(1)
        dense = [layers.Dense(12, activation="relu") for _ in range(5)]
        model = keras.Sequential(
            [layers.Input((8,)), *dense, layers.Dense(3, activation="softmax")]
        )
        model.compile(optimizer, "sparse_categorical_crossentropy", run_eagerly=eager)
        history = model.fit(x, y, epochs=4, batch_size=40, verbose=0).history["loss"]
        results.append((history, *model.get_weights()))
        if not eager:
            rules = model.step_report().rules
            assert rules[RULE] == 5
    for got, wanted in zip(*results):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
