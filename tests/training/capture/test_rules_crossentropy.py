"""Crossentropy behind sigmoid and softmax: the shorter backward gives the same numbers."""

import numpy as np
import pytest
import torch

import torchkeras as keras
from torchkeras import layers, losses
from torchkeras.training.capture.program import aten
from torchkeras.training.capture.record import record
from torchkeras.training.capture.replay import Replay
from torchkeras.training.capture.rewrite import rewrite

NAN = float("nan")
LOW, HIGH = np.float32(1e-7), np.float32(1.0 - 1e-7)
BELOW, ABOVE = np.nextafter(LOW, np.float32(0)), np.nextafter(HIGH, np.float32(1))


def step_of(loss, activation, factor=None):
    """A step that returns the gradient for the logits, as a training step computes it."""

    def step(z, y, weight):
        z = z.detach().requires_grad_()
        value = loss(y, activation(z), weight)
        (gradient,) = torch.autograd.grad(value if factor is None else value * factor, z)
        return (gradient + 0,)

    return step


def names(program):
    # A softmax over few classes lies between transpositions and a copy.
    found = [call.op._schema.name.removeprefix("aten::") for call in program.calls]
    return [name for name in found if name not in ("t", "clone")]


def shortened(step, *inputs):
    """Record a step and rewrite it; return the program and what was applied."""
    program = record(step, inputs, ())[1].program
    return program, rewrite(program)


def assert_agrees(replay, step, *inputs, tolerance=1e-6):
    got, wanted = replay(*inputs)[0], step(*inputs)[0]
    scale = wanted.nan_to_num().abs().max().item() or 1.0
    torch.testing.assert_close(got, wanted, rtol=0, atol=tolerance * scale, equal_nan=True)


def softmax(z):
    return z.softmax(-1)


def binary_batch(rows=32, columns=1, dtype=torch.float32):
    z = torch.randn(rows, columns, dtype=dtype) * 3
    return z, torch.randint(0, 2, (rows, columns)).to(dtype), None


def class_batch(rows=32, classes=10, dtype=torch.float32):
    return torch.randn(rows, classes, dtype=dtype) * 3, torch.randint(0, classes, (rows,)), None


def one_hot_batch(rows=32, classes=10, dtype=torch.float32):
    z, y, _ = class_batch(rows, classes, dtype)
    return z, torch.nn.functional.one_hot(y, classes).to(dtype), None


def with_probabilities(program, activation):
    """Let a program take what it is given as the probabilities themselves."""
    (found,) = [call for call in program.calls if call.op is activation]
    found.op, found.args = aten.clone.default, found.args[:1]
    return Replay(program)


# --------------------------------------------------------------------------------------- sigmoid


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("factor", [None, 0.25])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_crossentropy_is_a_difference(smoothing, factor, dtype):
    loss = losses.BinaryCrossentropy(label_smoothing=smoothing, dtype=dtype)
    step = step_of(loss, torch.sigmoid, factor)
    dtype = getattr(torch, dtype)
    program, applied = shortened(step, *binary_batch(dtype=dtype))
    assert applied["sigmoid_crossentropy"] == 1
    smooth = ["mul", "add"] if smoothing else []
    expected = ["sigmoid", *smooth, "hardtanh_backward", "mse_loss_backward", "add"]
    assert names(program) == expected
    assert_agrees(Replay(program), step, *binary_batch(dtype=dtype))


def test_sample_weights_scale_the_difference():
    step = step_of(losses.BinaryCrossentropy(), torch.sigmoid)
    z, y, _ = binary_batch(columns=3)
    program, applied = shortened(step, z, y, torch.rand(32))
    assert applied["sigmoid_crossentropy"] == 1
    assert "where" not in names(program)
    replay = Replay(program)
    for weight in (torch.rand(32), torch.zeros(32), torch.rand(32) - 0.5):
        assert_agrees(replay, step, *binary_batch(columns=3)[:2], weight)


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_a_sigmoid_has_no_gradient_outside_of_the_clip_and_some_at_its_bounds(rows):
    probabilities = torch.tensor([[0.0, BELOW, LOW, 0.3, HIGH, ABOVE, 1.0]] * rows)
    inside = torch.tensor([False, False, True, True, True, False, False])
    step = step_of(losses.BinaryCrossentropy(), torch.sigmoid)
    program, _ = shortened(step, *binary_batch(rows, 7))
    replay = with_probabilities(program, aten.sigmoid.default)
    for label in (0.0, 1.0):
        y = torch.full((rows, 7), label)
        wanted = torch.where(inside, (probabilities - y) / y.numel(), 0.0)
        torch.testing.assert_close(replay(probabilities, y, None)[0], wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("rows", [1, 40])
def test_saturated_logits_have_no_gradient_and_undefined_ones_an_undefined_gradient(rows):
    step = step_of(losses.BinaryCrossentropy(), torch.sigmoid)
    program, _ = shortened(step, *binary_batch(rows, 4))
    z = torch.tensor([[50.0, -50.0, NAN, 1.0]] * rows)
    replay = Replay(program)
    for label in (0.0, 1.0):
        y = torch.full((rows, 4), label)
        gradient = replay(z, y, None)[0]
        assert (gradient[:, :2] == 0).all()
        assert gradient[:, 2].isnan().all()
        wanted = torch.sigmoid(torch.tensor(1.0)) - label
        torch.testing.assert_close(gradient[:, 3], (wanted / y.numel()).expand(rows))


def test_a_state_as_loss_weight_is_read_at_every_step():
    weight = torch.tensor(0.5)
    loss = losses.BinaryCrossentropy()
    step = step_of(lambda y, p, w: loss(y, p) * weight, torch.sigmoid)
    batch = binary_batch()
    program = record(step, batch, (weight,))[1].program
    assert rewrite(program)["sigmoid_crossentropy"] == 1
    replay = Replay(program)
    weight.fill_(3.0)
    assert_agrees(replay, step, *batch)


def test_logits_need_one_factor():
    step = step_of(losses.BinaryCrossentropy(from_logits=True), lambda z: z * 1.0, factor=0.5)
    program, applied = shortened(step, *binary_batch())
    assert applied["merge_factors"] == 1
    assert names(program)[:3] == ["sigmoid", "sub", "mul"]
    assert_agrees(Replay(program), step, *binary_batch())


@pytest.mark.parametrize(
    "loss",
    [
        # Another clip than the loss' own lies between.
        lambda y, p, w: losses.binary_crossentropy(y, p.clamp(0.2, 0.7)).mean(),
        # The gradient of the probabilities is used twice.
        lambda y, p, w: losses.BinaryCrossentropy()(y, p) + p.sum(),
        # No loss that is known.
        lambda y, p, w: -(y * p.clamp(1e-7, 1 - 1e-7).log()).mean(),
        lambda y, p, w: torch.nn.functional.binary_cross_entropy(
            p.clamp(1e-7, 1 - 1e-7), y, torch.full_like(y, 2.0)
        ),
    ],
)
def test_what_only_resembles_it_is_left_alone(loss):
    step = step_of(loss, torch.sigmoid)
    program, applied = shortened(step, *binary_batch())
    assert "sigmoid_crossentropy" not in applied
    assert_agrees(Replay(program), step, *binary_batch(), tolerance=0)


# --------------------------------------------------------------------------------------- softmax


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factor", [None, 0.25])
@pytest.mark.parametrize("labels", ["int64", "int32", "float32", "column"])
def test_softmax_and_class_numbers(dtype, factor, labels):
    step = step_of(losses.SparseCategoricalCrossentropy(dtype=dtype), softmax, factor)

    def batch():
        z, y, _ = class_batch(dtype=getattr(torch, dtype))
        return z, y.unsqueeze(1) if labels == "column" else y.to(getattr(torch, labels)), None

    program, applied = shortened(step, *batch())
    assert applied["softmax_crossentropy"] == 1
    tail = "_softmax nll_loss_forward hardtanh_backward nll_loss_backward unsqueeze addcmul add"
    assert [name for name in names(program) if name not in ("_to_copy", "squeeze")] == tail.split()
    assert_agrees(Replay(program), step, *batch(), tolerance=2e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_and_one_hot_targets(smoothing, dtype):
    loss = losses.CategoricalCrossentropy(label_smoothing=smoothing, dtype=dtype)
    step = step_of(loss, softmax)
    dtype = getattr(torch, dtype)
    program, applied = shortened(step, *one_hot_batch(dtype=dtype))
    assert applied["softmax_crossentropy"] == 1
    smooth = ["mul", "add"] if smoothing else []
    expected = ["_softmax", *smooth, "mul", "hardtanh_backward", "mv", "addcmul", "add"]
    assert names(program) == expected
    assert_agrees(Replay(program), step, *one_hot_batch(dtype=dtype), tolerance=2e-6)


def test_targets_of_any_sum_with_several_classes():
    step = step_of(losses.CategoricalCrossentropy(), softmax)
    program, _ = shortened(step, *one_hot_batch())
    replay = Replay(program)
    for targets in (torch.rand(32, 10), torch.rand(32, 10) - 0.5, torch.zeros(32, 10)):
        z = torch.randn(32, 10) * 8
        gradient = replay(z, targets, None)[0]
        wanted = step(z.double(), targets.double(), None)[0]
        torch.testing.assert_close(gradient.double(), wanted, rtol=0, atol=1e-6 / 32)


@pytest.mark.parametrize("batch", [class_batch, one_hot_batch])
def test_sample_weights_scale_the_rows(batch):
    loss = losses.SparseCategoricalCrossentropy()
    if batch is one_hot_batch:
        loss = losses.CategoricalCrossentropy()
    step = step_of(loss, softmax)
    program, applied = shortened(step, *batch()[:2], torch.rand(32))
    assert applied["softmax_crossentropy"] == 1
    replay = Replay(program)
    for weight in (torch.rand(32), torch.zeros(32)):
        assert_agrees(replay, step, *batch()[:2], weight, tolerance=2e-6)


@pytest.mark.parametrize("batch", [class_batch, one_hot_batch])
def test_terms_outside_of_the_clip_have_no_gradient(batch):
    loss = losses.SparseCategoricalCrossentropy()
    if batch is one_hot_batch:
        loss = losses.CategoricalCrossentropy()
    step = step_of(loss, softmax)
    program, _ = shortened(step, *batch(8, 3))
    replay = Replay(program)
    z = torch.zeros(8, 3)
    z[0, 0] = 50.0  # p = 1: certain
    z[1, 0] = -70.0  # p = 1e-30
    z[2, 1] = 50.0  # another class is certain
    z[3, 0] = NAN
    z[4, 0] = -120.0  # p = 0
    labels = torch.zeros(8, dtype=torch.int64)
    y = labels if batch is class_batch else torch.nn.functional.one_hot(labels, 3).float()
    gradient = replay(z, y, None)[0]
    assert (gradient[[0, 1, 2, 4]] == 0).all()
    assert gradient[3].isnan().all()
    torch.testing.assert_close(
        gradient[5:], (torch.tensor([[-2.0, 1.0, 1.0]]) / 24).expand(3, 3), rtol=1e-6, atol=0
    )
    assert_agrees(replay, step, z, y, None)


def test_a_softmax_has_some_gradient_at_the_bounds_of_the_clip():
    step = step_of(losses.SparseCategoricalCrossentropy(), softmax)
    program, _ = shortened(step, *class_batch(6, 2))
    replay = with_probabilities(program, aten._softmax.default)
    first = torch.tensor([BELOW, LOW, 0.3, HIGH, ABOVE, 1.0])
    p = torch.stack([first, 1 - first], 1)
    gradient = replay(p, torch.zeros(6, dtype=torch.int64), None)[0]
    inside = torch.tensor([False, True, True, True, False, False])
    wanted = torch.where(inside, (first - 1) / 6, 0.0)
    torch.testing.assert_close(gradient[:, 0], wanted, rtol=1e-5, atol=0)


def test_classes_at_the_last_axis_of_a_sequence():
    step = step_of(losses.SparseCategoricalCrossentropy(), softmax)

    def batch():
        return torch.randn(4, 6, 5) * 3, torch.randint(0, 5, (4, 6)), None

    program, applied = shortened(step, *batch())
    assert applied["softmax_crossentropy"] == 1
    assert_agrees(Replay(program), step, *batch(), tolerance=2e-6)


def test_ignored_class_numbers_have_no_gradient():
    step = step_of(losses.SparseCategoricalCrossentropy(), softmax)
    program, _ = shortened(step, *class_batch())
    z, y, _ = class_batch()
    y[3] = -100  # torch's own number for that
    replay = Replay(program)
    assert_agrees(replay, step, z, y, None)
    assert (replay(z, y, None)[0][3] == 0).all()


def test_the_loss_itself_is_the_recorded_one():
    loss = losses.SparseCategoricalCrossentropy()

    def step(z, y):
        z = z.detach().requires_grad_()
        value = loss(y, softmax(z))
        return torch.autograd.grad(value, z)[0] * 2, value.detach()

    program, _ = shortened(step, *class_batch()[:2])
    z, y, _ = class_batch()
    assert torch.equal(Replay(program)(z, y)[1], step(z, y)[1])


def test_class_numbers_out_of_range_raise_as_before():
    step = step_of(losses.SparseCategoricalCrossentropy(), softmax)
    program, _ = shortened(step, *class_batch())
    z, y, _ = class_batch()
    y[3] = 10
    with pytest.raises(IndexError, match="out of bounds"):
        Replay(program)(z, y, None)


@pytest.mark.parametrize(
    "loss, activation",
    [
        (losses.SparseCategoricalCrossentropy(ignore_class=2), softmax),
        (losses.SparseCategoricalCrossentropy(axis=1), lambda z: z.softmax(1)),
        (losses.SparseCategoricalCrossentropy(), lambda z: z.exp() / z.exp().sum(-1, True)),
        # Another temperature than the softmax' own between it and the loss.
        (losses.SparseCategoricalCrossentropy(), lambda z: softmax(z).square()),
        # Normalized by something else.
        (lambda y, p, w: torch.nn.functional.nll_loss((p / p.sum()).log(), y), softmax),
    ],
)
def test_what_only_resembles_a_softmax_crossentropy_keeps_its_numbers(loss, activation):
    step = step_of(loss, activation)
    program, applied = shortened(step, *class_batch())
    if getattr(loss, "axis", None) != 1:  # the last axis by another name
        assert "softmax_crossentropy" not in applied
    assert_agrees(Replay(program), step, *class_batch(), tolerance=2e-6)


# --------------------------------------------------------------------------------- whole models


def fitted(kind, run_eagerly):
    keras.utils.set_random_seed(3)
    units, activation, loss = {
        "binary": (1, "sigmoid", "binary_crossentropy"),
        "classes": (5, "softmax", "sparse_categorical_crossentropy"),
        "one-hot": (5, "softmax", "categorical_crossentropy"),
        "logits": (1, None, losses.BinaryCrossentropy(from_logits=True)),
    }[kind]
    model = keras.Sequential(
        [
            layers.Input((8,)),
            layers.Dense(12, activation="relu", kernel_regularizer="l2"),
            layers.Dense(units, activation=activation),
        ]
    )
    model.compile("adam", loss, metrics=["accuracy"], run_eagerly=run_eagerly)
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(70, 8)).astype("float32"), rng.integers(0, 5, 70)
    y = {
        "classes": labels,
        "one-hot": np.eye(5, dtype="float32")[labels],
    }.get(kind, (labels % 2).astype("float32")[:, None])
    history = model.fit(x, y, batch_size=10, epochs=3, verbose=0).history
    return model, history


@pytest.mark.parametrize(
    "kind, rule",
    [
        ("binary", "sigmoid_crossentropy"),
        ("classes", "softmax_crossentropy"),
        ("one-hot", "softmax_crossentropy"),
        ("logits", "merge_factors"),
    ],
)
def test_captured_training_is_eager_training(kind, rule):
    model, history = fitted(kind, run_eagerly=False)
    expected, expected_history = fitted(kind, run_eagerly=True)
    assert model.step_report().rules[rule] >= 1
    assert expected.step_report().kind == "eager"
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5)
    for got, wanted in zip(model.get_weights(), expected.get_weights()):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
