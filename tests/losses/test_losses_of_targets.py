"""Losses with targets of their own kind, and what they refuse."""

import pytest
import torch

from torchkeras import losses, metrics


@pytest.mark.parametrize("name", ["auto", "sum_over_batch_size"])
def test_reductions_have_their_old_names(name):
    assert losses.MeanSquaredError(reduction=name).reduction == "sum_over_batch_size"
    assert losses.Reduction.AUTO == "auto" and losses.Reduction.SUM == "sum"
    losses.Reduction.validate(name)
    with pytest.raises(ValueError, match="Invalid Reduction Key"):
        losses.Reduction.validate("most")


@pytest.mark.parametrize("name", ["Dice", "Tversky", "Circle", "CTC", "BinaryFocalCrossentropy"])
def test_what_is_the_mean_of_batches(name):
    is_of_samples = name in ("CTC", "BinaryFocalCrossentropy")
    assert getattr(losses, name)().separable == is_of_samples


def test_joined_batches_lose_what_the_batches_lose():
    y_true, y_pred = torch.randint(0, 2, (9, 3)).float(), torch.rand(9, 3)
    loss = losses.BinaryFocalCrossentropy()
    apart = sum(loss(y_true[i : i + 3], y_pred[i : i + 3]) for i in (0, 3, 6)) * 3
    torch.testing.assert_close(loss.total(y_true, y_pred).float(), apart)


@pytest.mark.parametrize("name", ["hinge", "dice", "tversky"])
def test_metrics_of_losses_of_batches_are_updated_with_each(name):
    assert not metrics.MeanMetricWrapper(getattr(losses, name)).deferrable


@pytest.mark.parametrize(
    "loss, y_true, shape, text",
    [
        (losses.CategoricalGeneralizedCrossEntropy(), torch.tensor([0, 3]), (2, 3), "0 to 2"),
        (losses.CategoricalGeneralizedCrossEntropy(), torch.eye(3), (3, 3), "one-hot"),
        (losses.Dice(), torch.rand(4, 2), (4, 3), "same shape"),
    ],
)
def test_unfit_targets(loss, y_true, shape, text):
    with pytest.raises(ValueError, match=text):
        losses.check_targets(loss, y_true, shape)


def test_fit_targets():
    losses.check_targets(losses.CTC(), torch.ones(4, 2), (4, 9, 5))
    losses.check_targets(losses.Circle(), torch.ones(4), (4, 9))
    losses.check_targets(losses.CategoricalGeneralizedCrossEntropy(), torch.ones(4, 1), (4, 3))


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: losses.ctc(torch.ones(4), torch.rand(4, 3, 2)), "Targets `y_true`"),
        (lambda: losses.ctc(torch.ones(4, 2), torch.rand(4, 3)), "Logits `y_pred`"),
        (lambda: losses.CategoricalGeneralizedCrossEntropy(q=1), "interval"),
        (lambda: losses.binary_focal_crossentropy(torch.ones(2), torch.ones(3)), "one shape"),
        (lambda: losses.categorical_focal_crossentropy([1], [[0.2, 0.8]], axis=True), "axis"),
    ],
)
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_columns_of_class_numbers_are_classes():
    y_pred = torch.rand(5, 3).softmax(-1)
    labels = torch.randint(0, 3, (5, 1))
    flat, column = (
        losses.categorical_generalized_cross_entropy(y, y_pred, 0.5) for y in (labels[:, 0], labels)
    )
    torch.testing.assert_close(flat, column)


def test_no_class_has_the_probability_0():
    value = losses.categorical_generalized_cross_entropy([-1, 7], [[0.5, 0.5]] * 2, 0.5)
    assert value.tolist() == [2, 2]


def test_is_categorical_crossentropy():
    for loss in ("categorical_crossentropy", losses.categorical_crossentropy):
        assert losses.is_categorical_crossentropy(loss)
    assert losses.is_categorical_crossentropy(losses.CategoricalCrossentropy())
    assert not losses.is_categorical_crossentropy(losses.BinaryCrossentropy())


@pytest.mark.parametrize("name", ["BinaryFocalCrossentropy", "Dice", "Tversky", "Circle"])
def test_nothing_is_read_back(name):
    # A tensor on torch's meta device has no numbers: whoever asks for one fails.
    y_pred = torch.empty(5, 3, device="meta")
    y_true = torch.empty(*(5,) if name == "Circle" else (5, 3), device="meta")
    assert getattr(losses, name)()(y_true, y_pred, torch.empty(5, device="meta")).is_meta
