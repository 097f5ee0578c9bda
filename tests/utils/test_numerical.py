import keras
import numpy as np
import pytest
import torch

from torchkeras.utils import normalize, to_categorical


@pytest.mark.parametrize(
    "x, num_classes",
    [
        ([0, 1, 2], None),
        ([[0], [2]], None),
        ([[0, 1], [2, 1]], 4),
        (2, 3),
        (np.array([1.7, 0.0]), None),
        (np.array([1, 2], "uint8"), 0),
        (np.zeros((0,), "int64"), 3),
        (np.zeros((2, 1, 1), "int64"), 2),
    ],
)
def test_to_categorical_is_keras_s(x, num_classes):
    ours, theirs = to_categorical(x, num_classes), keras.utils.to_categorical(x, num_classes)
    assert type(ours) is np.ndarray and ours.dtype == theirs.dtype == np.float64
    np.testing.assert_array_equal(ours, theirs)


def test_to_categorical_of_a_tensor_is_keras_s_tensor():
    x = torch.tensor([[0], [2]])
    ours, theirs = to_categorical(x, 4), keras.utils.to_categorical(x.cpu(), 4)
    assert ours.dtype == theirs.dtype and torch.equal(ours, theirs.to(ours.device))
    assert to_categorical(x).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_to_categorical_with_many_classes_takes_no_square_of_memory():
    assert to_categorical([99_999], 100_000).argmax() == 99_999


@pytest.mark.parametrize("wrap", [list, np.array, torch.tensor])
@pytest.mark.parametrize("labels, found", [([0, 5], "from 0 to 5"), ([-1, 1], "from -1 to 1")])
def test_to_categorical_refuses_labels_outside(wrap, labels, found):
    with pytest.raises(ValueError, match=rf"from 0 to 2 \(num_classes=3\).* {found}"):
        to_categorical(wrap(labels), 3)


def test_to_categorical_refuses_what_has_no_classes():
    with pytest.raises(ValueError, match="`x` is empty; give `num_classes`"):
        to_categorical([])
    with pytest.raises(ValueError, match="labels must be integers; invalid literal"):
        to_categorical(["a", "b"])
    with pytest.raises(ValueError, match="labels from -1 to -1"):
        to_categorical([-1])


X = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0], [1.0, -1.0, 2.0], [5.0, 0.0, 1e-3]])


@pytest.mark.parametrize("order", [1, 2, 3, np.inf])
@pytest.mark.parametrize("x", [X, X.astype("float32"), X[2], np.array([[3, 4]])])
def test_normalize_is_keras_s(x, order):
    ours, theirs = normalize(x, order=order), keras.utils.normalize(x, order=order)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_normalize_along_any_axis(axis):
    # Keras 3 divides along the last axis when asked for axis 0; Keras 2 did as it was told.
    norm = np.sqrt((X**2).sum(axis, keepdims=True))
    np.testing.assert_allclose(normalize(X, axis), X / np.where(norm == 0, 1, norm), rtol=1e-15)


def test_normalize_of_the_whole_array():
    np.testing.assert_array_equal(normalize(X, None), keras.utils.normalize(X, axis=None))
    assert normalize([[3, 4]]).tolist() == [[0.6, 0.8]]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("scale", [1, 1e-9])
def test_normalize_of_a_tensor_is_keras_s(order, axis, scale):
    x = torch.tensor(X * scale, dtype=torch.float32)
    ours = normalize(x, axis, order)
    theirs = keras.utils.normalize(x, axis, order).cpu().numpy()
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=5e-7)
    assert normalize(torch.tensor([[3, 4]])).dtype == torch.float32


def test_normalize_refuses_orders_that_tensors_have_not():
    with pytest.raises(ValueError, match="`order` must be an integer of at least 1.* received 0"):
        normalize(torch.ones(2), order=0)
