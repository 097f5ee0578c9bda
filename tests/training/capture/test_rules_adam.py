"""Adam's bias corrections from a table: the numbers that are computed one by one."""

import numpy as np
import pytest
import torch

import torchkeras as keras
from torchkeras import layers
from torchkeras.training.capture.record import record
from torchkeras.training.capture.replay import Replay
from torchkeras.training.capture.rules import adam, simplify

RULE = "tabulate_corrections"


class Corrected:
    """Adam's scalars, as the optimizer computes them."""

    def __init__(self, bases, dtype=torch.float32, one=1.0):
        self.bases = torch.tensor(bases, dtype=dtype)
        self.one = torch.tensor(one, dtype=dtype)
        self.powers = torch.zeros(2, dtype=dtype)
        self.parts = self.powers.unbind()
        self.count = torch.ones((), dtype=torch.int32)
        self.rate = torch.tensor(0.01)

    def known(self):
        return [self.bases, self.one, self.powers, *self.parts, self.count, self.rate]

    def step(self, x):
        torch.pow(self.bases, self.count, out=self.powers)
        torch.sub(self.one, self.powers, out=self.powers)
        first, second = self.parts
        return (torch.mul(self.rate, second.sqrt_()).div_(first) + 0,)

    def program(self):
        program = record(self.step, (torch.zeros(()),), self.known())[1].program
        simplify.drop_aliases(program)
        return program


@pytest.mark.parametrize(
    "bases, dtype",
    [
        ((0.9, 0.999), torch.float32),
        ((0.9, 0.999), torch.float64),
        ((0.5, 0.99), torch.float32),
        ((0.95, 0.9999), torch.float32),
        ((0.9, 0.8), torch.float64),
    ],
)
def test_the_table_has_the_numbers_of_every_count(bases, dtype):
    corrected = Corrected(bases, dtype)
    program = corrected.program()
    assert adam.tabulate_corrections(program) == 1
    replay = Replay(program)
    for count in [*range(1, 300), *range(300, 400_000, 9973), 2**31 - 1]:
        corrected.count.fill_(count)
        got = replay(torch.zeros(()))[0]
        torch.testing.assert_close(got, corrected.step(None)[0], rtol=3e-7, atol=0)


def test_the_rate_is_read_at_every_step():
    corrected = Corrected((0.9, 0.999))
    program = corrected.program()
    adam.tabulate_corrections(program)
    replay = Replay(program)
    corrected.rate.fill_(0.5)
    torch.testing.assert_close(replay(None)[0], corrected.step(None)[0], rtol=3e-7, atol=0)


@pytest.mark.parametrize(
    "corrected",
    [
        Corrected((0.9, 1.0)),
        Corrected((0.0, 0.999)),
        Corrected((0.95, 0.9999), torch.float64),  # too long a table
        Corrected((0.9, 0.999), one=2.0),
    ],
)
def test_other_numbers_are_computed(corrected):
    program = corrected.program()
    assert adam.tabulate_corrections(program) == 0
    torch.testing.assert_close(Replay(program)(None)[0], corrected.step(None)[0], equal_nan=True)


def test_powers_that_somebody_else_reads_are_computed():
    corrected = Corrected((0.9, 0.999))

    def step(x):
        return (*corrected.step(x), corrected.powers + 0)

    program = record(step, (torch.zeros(()),), corrected.known())[1].program
    assert adam.tabulate_corrections(program) == 0


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW"])
def test_captured_training_is_eager_training_also_with_another_count_and_rate(optimizer):
    weights = []
    for eager in (False, True):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [layers.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(1)]
        )
        model.compile(getattr(keras.optimizers, optimizer)(0.01), "mse", run_eagerly=eager)
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(60, 4)).astype("float32"), rng.normal(size=(60, 1))
        model.fit(x, y, epochs=3, verbose=0, batch_size=20)
        if not eager:
            assert model.step_report().rules[RULE] == 1
        model.optimizer.iterations.assign(5000)
        model.optimizer.learning_rate = 0.002
        model.fit(x, y, epochs=2, verbose=0, batch_size=20)
        weights.append(model.get_weights())
    for got, wanted in zip(*weights):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
