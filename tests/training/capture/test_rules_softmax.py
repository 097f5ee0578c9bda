"""Softmax over few classes by columns: the same numbers, and where it is left alone."""

import numpy as np
import pytest
import torch

import torchkeras as keras
from torchkeras import layers
from torchkeras.training.capture.record import record
from torchkeras.training.capture.replay import Replay
from torchkeras.training.capture.rules import softmax

WEIGHT, BIAS = torch.randn(7, 6), torch.randn(7)


def check(step, count, x, scales=(1,)):
    program = record(step, (x,), (WEIGHT, BIAS))[1].program
    assert softmax.softmax_by_columns(program) == count
    replay = Replay(program)
    for scale in scales:
        x = torch.randn_like(x) * scale
        for got, wanted in zip(replay(x), step(x)):
            assert got.stride() == wanted.stride()
            torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)
    return replay


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("axis", [1, -1])
def test_short_rows(axis, dtype):
    check(lambda x: (torch.softmax(x, axis),), 1, torch.randn(128, 3, dtype=dtype), (1, 100))


def test_the_product_writes_its_output_transposed():
    replay = check(
        lambda x: (torch.softmax(torch.addmm(BIAS, x, WEIGHT.t()), -1),), 1, torch.randn(64, 6)
    )
    assert replay.calls == 3  # the product, the softmax, the copy into rows


def test_a_product_that_is_needed_elsewhere_stays_as_it_is():
    def step(x):
        logits = torch.addmm(BIAS, x, WEIGHT.t())
        return torch.softmax(logits, -1) * 2, logits

    check(step, 1, torch.randn(64, 6))


def test_logits_that_change_later():
    def step(x):
        logits = torch.addmm(BIAS, x, WEIGHT.t())
        p = torch.softmax(logits, -1)
        return p, logits.add_(1) * 2

    check(step, 1, torch.randn(64, 6))


@pytest.mark.parametrize(
    "shape, axis",
    [
        ((128, 64), -1),  # rows as long as vectors
        ((8, 3), -1),  # few numbers
        ((128, 3), 0),
        ((128, 1), -1),
        ((32, 4, 3), -1),
    ],
)
def test_other_shapes_stay(shape, axis):
    check(lambda x: (torch.softmax(x, axis),), 0, torch.randn(shape))


def test_other_layouts_stay():
    check(lambda x: (torch.softmax(x.t(), -1),), 0, torch.randn(3, 128))


def test_captured_training_and_evaluation_are_the_eager_ones():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(320, 6)).astype("float32"), rng.integers(0, 5, 320)
    outputs = []
    for eager in (False, True):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                layers.Input((6,)),
                layers.Dense(8, activation="tanh"),
                layers.Dense(5, activation="softmax"),
            ]
        )
        loss = "sparse_categorical_crossentropy"
        model.compile("adam", loss, metrics=["accuracy"], run_eagerly=eager)
        history = model.fit(x, y, epochs=4, batch_size=64, verbose=0).history
        outputs.append((history["loss"], model.evaluate(x, y, 64, 0), model.predict(x, 64, 0)))
        if not eager:
            report = model.step_report()
            assert report.rules["softmax_by_columns"] == 1
            assert report.parts["predict"].rules["softmax_by_columns"] == 1
    for got, wanted in zip(*outputs):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
