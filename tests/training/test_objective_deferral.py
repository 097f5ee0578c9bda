"""A loss computed later, from the kept outputs of many steps, is the loss computed step by step."""

import math

import pytest
import torch

from torchkeras import losses
from torchkeras.losses import Loss, LossFunctionWrapper
from torchkeras.metrics import Mean
from torchkeras.training import objective
from torchkeras.training.objective import Objective

SIZES = (7, 7, 7, 3)


def probabilities(size, *shape):
    return torch.rand(size, *shape).clamp(0.01, 0.99)


def one_hot(size, *shape):
    return torch.eye(shape[-1])[torch.randint(shape[-1], (size, *shape[:-1]))]


def classes(size, *shape):
    return torch.randint(shape[-1], (size, *shape[:-1]))


def numbers(size, *shape):
    return torch.rand(size, *shape)


CASES = [
    ("mse", numbers),
    ("mae", numbers),
    ("mape", numbers),
    ("msle", numbers),
    ("huber", numbers),
    ("log_cosh", numbers),
    ("cosine_similarity", numbers),
    ("cosine_proximity", numbers),
    ("kl_divergence", one_hot),
    ("poisson", numbers),
    ("categorical_hinge", one_hot),
    ("binary_crossentropy", one_hot),
    ("categorical_crossentropy", one_hot),
    ("sparse_categorical_crossentropy", classes),
    (losses.Huber(delta=0.3), numbers),
    (losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1), one_hot),
    (losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), one_hot),
    (losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean"), classes),
    (losses.CosineSimilarity(reduction="mean"), numbers),
]


def batches(targets, shape, weights=None):
    """(y, y_pred, weight) of a few sizes; weights: rank of sample weights."""
    for size in SIZES:
        weight = None if weights is None else torch.rand(size, *shape[: weights - 1])
        yield targets(size, *shape), probabilities(size, *shape), weight


def ready(loss, metrics=(), shape=(4,), y_shape=None, **kwargs):
    made = Objective(loss, list(metrics), **kwargs)
    made.build((None, *(shape if y_shape is None else y_shape)), (None, *shape))
    made.reset()
    return made


def logs(made, given, is_later):
    """Run an epoch; is_later: for each step, whether its loss is left out."""
    made.reset()
    for (y, y_pred, weight), later in zip(given, is_later, strict=True):
        loss = None if later else made.lowered(y, y_pred, weight)[0]
        made.keep((loss, y_pred), (None, y, weight))
    return made.logs()


NOW, LATER, MIXED = [False] * 4, [True] * 4, [False, True, True, False]


@pytest.mark.parametrize("metrics", [[], ["mae"]])
@pytest.mark.parametrize(("shape", "weights"), [((4,), None), ((4,), 1), ((3, 4), 1), ((3, 4), 2)])
@pytest.mark.parametrize(("loss", "targets"), CASES)
def test_every_separable_loss(loss, targets, shape, weights, metrics):
    y_shape = shape
    if targets is classes:  # which have no axis of their own
        y_shape, metrics = shape[:-1], ["accuracy"] * len(metrics)
    made = ready(loss, metrics, shape, y_shape, loss_weight=0.7)
    assert made.loss_deferrable
    given = list(batches(targets, shape, weights))
    expected = logs(made, given, NOW)
    for when in (LATER, MIXED):
        found = logs(made, given, when)
        assert found == pytest.approx(expected, rel=1e-6)


def test_a_metric_that_is_updated_in_the_step_sees_every_step():
    class Count(Mean):
        def update_state(self, y_true, y_pred, sample_weight=None):
            self.total.assign_add(len(y_pred))
            self.count.assign(1)

    made = ready("mse", [Count(name="count")])
    given = list(batches(numbers, (4,)))
    assert logs(made, given, LATER)["count"] == sum(SIZES)
    assert logs(made, given, MIXED) == pytest.approx(logs(made, given, NOW), rel=1e-6)


def test_a_loss_chosen_by_shape():
    made = Objective("crossentropy")
    assert not made.loss_deferrable  # not known yet
    made.build((None, 1), (None, 1))
    assert made.loss_deferrable


def squared(y_true, y_pred):
    return (y_true - y_pred) ** 2


class Own(Loss):
    def call(self, y_true, y_pred):
        return squared(y_true, y_pred).mean(-1)


class OwnMeanSquaredError(losses.MeanSquaredError):
    pass


@pytest.mark.parametrize(
    "loss",
    [
        squared,
        Own(),
        OwnMeanSquaredError(),
        LossFunctionWrapper(squared),
        torch.nn.MSELoss(),
        torch.nn.functional.mse_loss,
        "hinge",  # asks all the targets of a batch whether they are 0 and 1
        "squared_hinge",
        losses.MeanSquaredError(reduction="sum"),
        losses.MeanSquaredError(reduction="none"),
        losses.MeanSquaredError(reduction="mean_with_sample_weight"),
        losses.MeanSquaredError(dtype="float16"),
        losses.SparseCategoricalCrossentropy(ignore_class=0),
        losses.CategoricalCrossentropy(axis=0),
        losses.CategoricalCrossentropy(axis=-2),
        LossFunctionWrapper(losses.cosine_similarity, axis=0),
    ],
)
def test_losses_that_are_computed_in_the_step(loss):
    assert not ready(loss).loss_deferrable


def test_outputs_without_an_axis_beside_the_samples():
    """The mean over their last axis is one over samples."""
    assert not ready("mse", shape=()).loss_deferrable


def test_classes_along_another_axis_than_the_last():
    loss = losses.CategoricalCrossentropy(axis=1)
    made = ready(loss, shape=(4, 3))
    assert made.loss_deferrable
    given = [(y.movedim(-1, 1), p.movedim(-1, 1), w) for y, p, w in batches(one_hot, (3, 4))]
    assert logs(made, given, LATER) == pytest.approx(logs(made, given, NOW), rel=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("loss", ["mse", "binary_crossentropy", "categorical_crossentropy"])
def test_nan_and_infinity_in_one_batch_show(loss, bad):
    made = ready(loss)
    given = list(batches(one_hot, (4,)))
    given[1][1][2, 1] = bad
    expected = logs(made, given, NOW)["loss"]
    assert logs(made, given, LATER)["loss"] == pytest.approx(expected, rel=1e-6, nan_ok=True)
    assert not math.isfinite(expected) or loss == "binary_crossentropy" and bad == math.inf


def test_values_near_the_end_of_float32_do_not_overflow_together():
    made = ready("mae")
    given = [(torch.zeros(7, 4), torch.full((7, 4), 1e37), None)] * 4
    expected = logs(made, given, NOW)["loss"]
    assert math.isfinite(expected)
    assert logs(made, given, LATER)["loss"] == pytest.approx(expected, rel=1e-6)


def test_memory_is_bounded(monkeypatch):
    rows = 100  # of 4 + 4 numbers of 4 bytes, and 64 bytes a step
    monkeypatch.setattr(objective, "_KEPT", rows * (32 + 64))
    made, most = ready("mse"), 0
    given = [(torch.rand(1, 4), torch.rand(1, 4), None) for _ in range(250)]
    for y, y_pred, weight in given:
        made.keep((None, y_pred), (None, y, weight))
        most = max(most, len(made._outputs))
    assert most == rows
    joined = [torch.cat(parts) for parts in list(zip(*given))[:2]]
    assert made.logs()["loss"] == pytest.approx(float(made.value(*joined, None)), rel=1e-6)


def test_losses_alone_keep_no_outputs():
    made = ready("mse")
    y = torch.rand(7, 4)
    made.keep((torch.ones(()), y), (None, y, None))
    assert made._outputs == []
    assert made.logs() == {"loss": 1.0}


def test_no_gradients():
    made = ready("binary_crossentropy")
    y_pred = torch.rand(7, 4, requires_grad=True)
    made.keep((None, y_pred), (None, torch.ones(7, 4), None))
    made._reduce()
    assert not made._total.requires_grad and made._total.dtype is torch.float64
