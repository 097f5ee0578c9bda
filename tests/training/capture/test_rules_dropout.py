"""Dropout from random bits: the right distribution, the right numbers for a given mask."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import torchkeras as keras
from torchkeras import layers
from torchkeras.training.capture.record import record
from torchkeras.training.capture.replay import Replay
from torchkeras.training.capture.rewrite import rewrite

RULE = "dropout_from_bits"


def shortened(step, *inputs, known=()):
    program = record(step, inputs, known)[1].program
    applied = rewrite(program)
    return program, applied


def names(program):
    return [call.op._schema.name.removeprefix("aten::") for call in program.calls]


def drop(rate, size, dtype=torch.float32):
    """A replay of one dropout of so many numbers."""
    program, applied = shortened(lambda x: (F.dropout(x, rate),), torch.ones(size, dtype=dtype))
    return Replay(program), applied


def mask_of(bits, rate, shape):
    """What the next draw keeps, drawn as the rule says it does; the generator is left as it was."""
    state = torch.get_rng_state()
    count = math.prod(shape)
    words = torch.empty(-(-count * bits // 64), dtype=torch.int64)
    words.random_(-(2**63), None)
    torch.set_rng_state(state)
    numbers = words.numpy().view(f"int{bits}")[:count].astype("int64") + 2 ** (bits - 1)
    return torch.tensor(numbers >= round(rate * 2**bits)).view(shape)


# ---------------------------------------------------------------------------- the distribution


@pytest.mark.parametrize("rate", [0.5, 0.25, 0.2, 0.1, 0.01, 0.9, 1 / 3])
def test_the_kept_part_is_right_to_within_five_sigma(rate):
    replay, applied = drop(rate, 200_001)  # not divisible by 4
    assert applied[RULE] == 1
    x = torch.ones(200_001)
    kept = draws = 0
    for _ in range(20):
        out = replay(x)[0]
        assert set(out.unique().tolist()) == {0.0, np.float32(1 / (1 - rate)).item()}
        kept += (out != 0).sum().item()
        draws += len(out)
    sigma = math.sqrt(draws * rate * (1 - rate))
    # Sixteen bits round the rate itself.
    exact = 1 - round(rate * 2**16) / 2**16
    assert abs(kept - draws * exact) < 5 * sigma
    assert abs(exact - (1 - rate)) < 1e-3 * min(rate, 1 - rate)


@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_neighbours_and_steps_are_independent(rate):
    replay, _ = drop(rate, 100_000)
    x = torch.ones(100_000)
    steps = torch.stack([(replay(x)[0] != 0).double() for _ in range(30)]) - (1 - rate)
    variance = rate * (1 - rate)

    def correlation(one, other):
        return (one * other).sum() / variance / math.sqrt(one.numel())

    assert abs(correlation(steps[1:], steps[:-1])) < 5
    for distance in (1, 2, 3, 4, 5, 7, 8, 16, 64):
        assert abs(correlation(steps[:, distance:], steps[:, :-distance])) < 5


@pytest.mark.parametrize("rate, bits", [(0.5, 8), (0.25, 8), (0.2, 16), (0.1, 16)])
def test_the_mask_is_the_one_that_the_bits_say(rate, bits):
    replay, _ = drop(rate, 1003)
    x = torch.randn(1003)
    for _ in range(3):
        mask = mask_of(bits, rate, (1003,))
        assert torch.equal(replay(x)[0], x * mask * np.float32(1 / (1 - rate)).item())


def test_every_value_of_the_bits_is_on_its_side_of_the_threshold(monkeypatch):
    replay, _ = drop(0.2, 2**16)
    numbers = np.arange(-(2**15), 2**15).astype("int16")
    words = torch.from_numpy(numbers.view("int64").copy())
    scope = replay._function.__closure__
    cells = dict(zip(replay._function.__code__.co_freevars, scope))
    (name,) = [name for name in cells if name.endswith("random_")]
    cells[name].cell_contents = lambda memory, *_: memory.copy_(words)
    kept = replay(torch.ones(2**16))[0] != 0
    edge = round(0.2 * 2**16)
    assert not kept[:edge].any()
    assert kept[edge:].all()


@pytest.mark.parametrize("rate", [1e-3, 1e-5, 0.9999, 0.00001])
def test_rates_that_sixteen_bits_miss_are_left_to_torch(rate):
    replay, applied = drop(rate, 1000)
    assert RULE not in applied
    assert "bernoulli_" in replay.source


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_all_and_nothing_stay_what_they_are(rate):
    program, applied = shortened(lambda x: (F.dropout(x, rate) * 2,), torch.ones(8))
    assert RULE not in applied
    assert Replay(program)(torch.ones(8))[0].tolist() == [2.0 * (1 - rate)] * 8


def test_the_same_seed_gives_the_same_masks():
    replay, _ = drop(0.5, 1000)
    x = torch.ones(1000)

    def run():
        keras.utils.set_random_seed(5)
        return torch.cat([replay(x)[0] for _ in range(3)])

    first = run()
    assert torch.equal(first, run())
    assert not torch.equal(first[:1000], first[1000:2000])


def test_double_precision():
    replay, applied = drop(0.2, 1001, torch.float64)
    assert applied[RULE] == 1
    mask = mask_of(16, 0.2, (1001,))
    out = replay(torch.ones(1001, dtype=torch.float64))[0]
    assert torch.equal(out, mask * (1 / 0.8))


# ------------------------------------------------------------------------- the numbers of a step


class Net(nn.Module):
    """Dense layers with something between them and a dropout each."""

    def __init__(self, between, rates=(0.2, 0.5), size=(8, 12, 16, 3)):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(size, size[1:]))
        self.between = between
        self.rates = rates

    def forward(self, x, drop):
        for layer, rate in zip(self.layers, self.rates):
            x = drop(self.between(layer(x)), rate)
        return self.layers[len(self.rates)](x)


def gradients_of(net, x, drop):
    loss = net(x, drop).square().mean()
    return (loss.detach(), *torch.autograd.grad(loss, list(net.parameters())))


@pytest.mark.parametrize(
    "between",
    [
        torch.relu,
        torch.sigmoid,
        lambda x: x,
        lambda x: torch.relu(x).view(-1, 2, x.shape[1] // 2).flatten(1),
    ],
)
@pytest.mark.parametrize("rows", [10, 2000])
def test_a_step_computes_what_its_masks_say(between, rows):
    net = Net(between)
    x = torch.randn(rows, 8)
    program, applied = shortened(
        lambda x: gradients_of(net, x, F.dropout), x, known=list(net.parameters())
    )
    assert applied[RULE] == 2
    assert not {"bernoulli_", "empty_like", "div_"} & set(names(program))
    together = rows * (12 + 16) <= 2**15
    assert names(program).count("random_") == (1 if together else 2)
    replay = Replay(program)
    for _ in range(3):
        x = torch.randn(rows, 8)
        if together:
            # All numbers are drawn at once, in sixteen bits because one rate needs them.
            state = torch.get_rng_state()
            words = torch.empty(-(-rows * 28 // 4), dtype=torch.int64).random_(-(2**63), None)
            torch.set_rng_state(state)
            numbers = words.numpy().view("int16").astype("int64") + 2**15
            parts = numbers[: rows * 12], numbers[rows * 12 : rows * 28]
            masks = [
                torch.tensor(part >= round(rate * 2**16)) for part, rate in zip(parts, net.rates)
            ]
        else:
            state = torch.get_rng_state()
            masks = []
            for rate, bits, count in zip(net.rates, (16, 8), (rows * 12, rows * 16)):
                masks.append(mask_of(bits, rate, (count,)))
                torch.empty(-(-count * bits // 64), dtype=torch.int64).random_(-(2**63), None)
            torch.set_rng_state(state)
        masks = iter(masks)
        expected = gradients_of(
            net,
            x,
            lambda h, rate: h * next(masks).view(h.shape) / (1 - rate),  # noqa: B023
        )
        for got, wanted in zip(replay(x), expected):
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


def test_relu_and_dropout_share_one_call_backward_and_the_scale_is_in_products():
    net = Net(torch.relu)
    program, _ = shortened(
        lambda x: gradients_of(net, x, F.dropout), torch.randn(10, 8), known=list(net.parameters())
    )
    left = names(program)
    assert left.count("threshold_backward") == 4  # two forward, two backward
    assert [n for n in left if n == "mul"] == ["mul"]  # the loss' own
    # Forward and weight gradient of two layers, the gradient of two activities.
    assert sum("alpha" in call.kwargs for call in program.calls) == 6


def test_what_else_reads_the_output_gets_it_scaled():
    weight = torch.randn(6, 6)

    def step(x, drop):
        h = drop(x, 0.5)
        return (h @ weight, h.sum(), h + 0)

    program, applied = shortened(lambda x: step(x, F.dropout), torch.ones(4, 6), known=[weight])
    assert applied[RULE] == 1
    x = torch.randn(4, 6)
    mask = mask_of(8, 0.5, (4, 6))
    expected = step(x, lambda x, rate: x * mask * 2)
    for got, wanted in zip(Replay(program)(x), expected):
        torch.testing.assert_close(got, wanted)


def test_a_product_with_itself_gets_the_scale_twice():
    program, applied = shortened(
        lambda x: (lambda h: (h @ h,))(F.dropout(x, 0.5)), torch.ones(4, 4)
    )
    assert applied[RULE] == 1
    mask = mask_of(8, 0.5, (4, 4))
    h = torch.ones(4, 4) * mask * 2
    assert torch.equal(Replay(program)(torch.ones(4, 4))[0], h @ h)


def test_an_output_that_is_added_to_a_product_is_scaled():
    program, _ = shortened(lambda x: (torch.addmm(F.dropout(x, 0.5), x, x),), torch.ones(4, 4))
    x = torch.randn(4, 4)
    mask = mask_of(8, 0.5, (4, 4))
    torch.testing.assert_close(Replay(program)(x)[0], torch.addmm(x * mask * 2, x, x))


def test_an_input_that_is_overwritten_later_is_read_before():
    def step(x):
        h = torch.relu(x)
        dropped = F.dropout(h, 0.5)
        h.add_(1)
        return (dropped * 1.5, h)

    program, applied = shortened(step, torch.ones(6))
    assert applied[RULE] == 1
    x = torch.randn(6)
    mask = mask_of(8, 0.5, (6,))
    dropped, h = Replay(program)(x)
    assert torch.equal(dropped, torch.relu(x) * mask * 2 * 1.5)
    assert torch.equal(h, torch.relu(x) + 1)


@pytest.mark.parametrize(
    "step",
    [
        lambda x: (F.dropout(x.bfloat16(), 0.5).float(),),
        lambda x: (x * torch.empty_like(x).bernoulli_(0.5),),  # without a scale
        lambda x: (x * torch.empty_like(x).bernoulli_(0.5).div_(0.25),),  # another scale
        lambda x: (lambda m: (x * m, m))(torch.empty_like(x).bernoulli_(0.5).div_(0.5)),
        lambda x: (x + torch.empty_like(x).bernoulli_(0.5).div_(0.5),),
        lambda x: (F.dropout1d(x.view(2, 2, 2), 0.5).flatten(),),  # whole channels
    ],
)
def test_what_only_resembles_dropout_is_left_alone(step):
    program, applied = shortened(step, torch.ones(8))
    assert RULE not in applied
    replay = Replay(program)
    torch.manual_seed(1)
    got = replay(torch.ones(8))
    torch.manual_seed(1)
    for one, other in zip(got, step(torch.ones(8))):
        assert torch.equal(one, other)


def test_a_generator_of_its_own_is_left_alone():
    generator = torch.Generator()

    def step(x):
        return (x * torch.empty_like(x).bernoulli_(0.5, generator=generator).div_(0.5),)

    program, applied = shortened(step, torch.ones(8))
    assert RULE not in applied
    assert names(program).count("bernoulli_") == 1


# ---------------------------------------------------------------------------------- whole models


def model_of(*hidden):
    model = keras.Sequential([layers.Input((8,)), *hidden, layers.Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy")
    return model


def data(samples=400):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, 8)).astype("float32")
    return x, (x[:, :1] * x[:, 1:2] > 0).astype("float32")


def test_a_model_uses_the_rule_and_repeats_by_its_seed():
    def run():
        keras.utils.set_random_seed(2)
        model = model_of(layers.Dense(32, activation="relu"), layers.Dropout(0.3))
        history = model.fit(*data(), epochs=3, batch_size=20, verbose=0).history["loss"]
        return history, model

    first, model = run()
    again, _ = run()
    assert model.step_report().rules[RULE] == 1
    assert first == again


def test_a_model_learns_like_an_eager_one():
    losses = {}
    for eager in (False, True):
        keras.utils.set_random_seed(2)
        model = model_of(
            layers.Dropout(0.1),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.5),
        )
        model.compile("adam", "binary_crossentropy", run_eagerly=eager)
        x, y = data(2000)
        model.fit(x, y, epochs=6, batch_size=50, verbose=0)
        losses[eager] = model.evaluate(x, y, verbose=0)
    assert losses[False] < 0.6
    assert abs(losses[False] - losses[True]) < 0.06


def test_a_layer_with_a_seed_draws_what_it_draws_eagerly():
    histories = []
    for eager in (False, True):
        keras.utils.set_random_seed(2)
        model = model_of(layers.Dense(16, activation="relu"), layers.Dropout(0.3, seed=7))
        model.compile("adam", "binary_crossentropy", run_eagerly=eager)
        histories.append(model.fit(*data(), epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-5)
