"""Targets that do not suit the loss are refused before training, with what to do."""

import numpy as np
import pytest
import torch

from torchkeras import losses
from torchkeras.losses import check_targets

MSE = losses.MeanSquaredError()
SPARSE = losses.SparseCategoricalCrossentropy()
CATEGORICAL = losses.CategoricalCrossentropy()


def one_hot(n=6, k=3):
    return np.eye(k)[np.arange(n) % k]


@pytest.mark.parametrize(
    "loss, y_true, output",
    [
        (MSE, np.zeros(6), (None, 1)),
        (MSE, np.zeros((6, 1)), (None, 1)),
        (MSE, np.zeros((6, 1)), (None,)),
        (MSE, np.zeros((6, 3)), (32, 3)),
        (MSE, np.zeros((6, 4, 3)), (None, None, 3)),
        (MSE, np.zeros((6, 4)), (None, 4, 1)),
        (MSE, torch.zeros(6), (None, 1)),
        (losses.BinaryCrossentropy(), np.zeros((6, 5), int), (None, 5)),
        (CATEGORICAL, one_hot(), (None, 3)),
        (CATEGORICAL, np.zeros((6, 4, 3)), (None, 4, 3)),
        (SPARSE, np.array([0, 1, 2]), (None, 3)),
        (SPARSE, np.array([[0], [1], [2]]), (None, 3)),
        (SPARSE, np.array([0.0, 2.0]), (None, 3)),
        (SPARSE, torch.tensor([[0, 1], [2, 2]]), (None, 2, 3)),
        (SPARSE, torch.zeros(5, 2, 1), (None, 2, 3)),
        (SPARSE, np.zeros((0,), int), (None, 3)),
        (SPARSE, np.array([7, 9]), (None, None)),
        (losses.SparseCategoricalCrossentropy(ignore_class=-1), np.array([0, -1, 2]), (None, 3)),
        (losses.SparseCategoricalCrossentropy(ignore_class=9), np.array([9, 9]), (None, 3)),
        (losses.SparseCategoricalCrossentropy(axis=1), np.array([[0, 2]]), (None, 3, 2)),
        (losses.SparseCategoricalCrossentropy(axis=1), np.zeros((5, 1, 2)), (None, 3, 2)),
    ],
)
def test_what_suits_passes(loss, y_true, output):
    check_targets(loss, y_true, output)


@pytest.mark.parametrize("y_true", [one_hot(), torch.as_tensor(one_hot())])
def test_one_hot_with_a_sparse_loss(y_true):
    with pytest.raises(ValueError) as error:
        check_targets(SPARSE, y_true, (None, 3))
    text = str(error.value)
    assert "takes class numbers of shape (samples,)" in text
    assert "received targets of shape (6, 3)" in text
    assert "'categorical_crossentropy'" in text and "argmax" in text


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_class_numbers_with_categorical_crossentropy(shape):
    with pytest.raises(ValueError) as error:
        check_targets(CATEGORICAL, np.zeros(shape, int), (None, 3))
    text = str(error.value)
    assert "expected (samples, 3)" in text and f"shape {shape}" in text
    assert "sparse_categorical_crossentropy" in text and "to_categorical(y, 3)" in text


@pytest.mark.parametrize(
    "labels, output, text",
    [
        ([0, 1, 3], (None, 3), "3 is no class.*subtract|3 is no class.*4 units"),
        ([1, 2, 3], (None, 3), "3 is no class. Classes count from 0: subtract 1"),
        ([0, 1, 7], (None, 3), "from 0 to 2 .*received targets from 0 to 7, so 7 .*8 units"),
        ([-1, 1, 2], (None, 3), "-1 is no class.*ignore_class"),
        ([0, 1], (None, 1), "1 is no class.*'binary_crossentropy'"),
    ],
)
@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_labels_outside_the_classes(labels, output, text, make):
    with pytest.raises(ValueError, match=text):
        check_targets(SPARSE, make(labels), output)


def test_labels_outside_the_classes_beside_ignored_ones():
    loss = losses.SparseCategoricalCrossentropy(ignore_class=-1)
    with pytest.raises(ValueError, match="from 0 to 5, so 5 is no class"):
        check_targets(loss, np.array([-1, 0, 5]), (None, 3))


@pytest.mark.parametrize(
    "loss, target, output",
    [
        (MSE, (6, 3), (None, 1)),
        (MSE, (6, 1), (None, 3)),
        (MSE, (6,), (None, 3)),
        (MSE, (6, 4), (None, 5)),
        (MSE, (6, 4, 2), (None, 5, 2)),
        (losses.BinaryCrossentropy(), (6, 2), (None, 1)),
        (losses.Hinge(), (6, 2), (None, 1)),
        (losses.as_loss("cosine_proximity"), (6, 2), (None, 1)),
        (CATEGORICAL, (6, 4), (None, 3)),
        (SPARSE, (6, 4), (None, 3)),
        (SPARSE, (6, 4), (None, 5, 3)),
    ],
)
def test_shapes_that_cannot_match(loss, target, output):
    with pytest.raises(ValueError) as error:
        check_targets(loss, np.zeros(target), output)
    assert str(target) in str(error.value) and "received targets" in str(error.value)


def test_units_and_columns_are_named():
    with pytest.raises(ValueError, match="last layer 3 units, or the targets 1 columns?"):
        check_targets(MSE, np.zeros((6, 3)), (None, 1))


@pytest.mark.parametrize(
    "targets, text",
    [
        ([1, 2, 2], "takes targets from 0 to 1; received targets from 1 to 2. Subtract 1"),
        ([-1, 1], r"from -1 to 1. Give \(y \+ 1\) / 2, or use the loss 'hinge'"),
        ([0, 1, 2], "from 0 to 2. .*'sparse_categorical_crossentropy'"),
        ([0.0, 1.1], "from 0.0 to 1.1"),
        ([0.0, float("nan")], "received NaN .* Fill or drop"),
    ],
)
@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_targets_that_are_no_probabilities(targets, text, make):
    with pytest.raises(ValueError, match=text):
        check_targets(losses.BinaryCrossentropy(), make(targets), (None, 1))


@pytest.mark.parametrize(
    "loss, targets",
    [
        (losses.BinaryCrossentropy(), [0.0, 0.3, 1.0]),
        (losses.BinaryCrossentropy(), [True, False]),
        # As in Keras, logits take any targets, and smoothing pulls some inside.
        (losses.BinaryCrossentropy(from_logits=True), [1, 2]),
        (losses.BinaryCrossentropy(label_smoothing=0.5), [0.0, 1.1]),
    ],
)
def test_targets_that_binary_crossentropy_takes(loss, targets):
    check_targets(loss, np.array(targets), (None, 1))


def test_no_class_is_nan_but_fractions_are_cut_off_as_in_keras():
    with pytest.raises(ValueError, match="class numbers from 0 to 2; received NaN"):
        check_targets(SPARSE, np.array([0.0, np.nan]), (None, 3))
    check_targets(SPARSE, np.array([0.5, 2.5]), (None, 3))


def test_losses_of_the_user_are_not_checked():
    class Mine(losses.Loss):
        def call(self, y_true, y_pred):
            return y_pred.mean(-1)

    anything = np.zeros((6, 9))
    check_targets(Mine(), anything, (None, 1))
    check_targets(losses.as_loss(lambda t, p: p.mean(-1)), anything, (None, 1))
    check_targets(losses.as_loss(torch.nn.MSELoss()), anything, (None, 1))
