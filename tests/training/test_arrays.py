"""What becomes a tensor, and what each unsuitable kind of data is answered."""

import datetime

import numpy as np
import pandas
import pytest
import torch
from torch.utils.data import DataLoader

from torchkeras.layers import Dense, Flatten
from torchkeras.models import Sequential
from torchkeras.training.arrays import as_tensor, only_part, only_parts

X = np.random.RandomState(1).rand(20, 4).astype("float32")
Y = X.sum(1)


def network():
    model = Sequential([Dense(1, input_dim=4, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X, [Y]),
        ([X], [Y]),
        ((X,), (Y,)),
        ([torch.tensor(X)], torch.tensor(Y)),
        ([pandas.DataFrame(X)], [pandas.Series(Y)]),
        ([X], [Y[:, None]]),
    ],
)
def test_lists_of_one_input_train_as_the_input_does(x, y):
    expected = network().fit(X, Y, verbose=0, sample_weight=Y, shuffle=False).history
    for weight in (Y, [Y]):
        history = network().fit(x, y, verbose=0, sample_weight=weight, shuffle=False).history
        assert history == expected


def test_nested_lists_keep_the_axis_of_samples():
    model = Sequential([Flatten(input_shape=(2, 4)), Dense(1)])
    assert model.predict([[[1.0, 2, 3, 4], [5, 6, 7, 8]]], verbose=0).shape == (1, 1)
    assert network().predict([np.ones(4)], verbose=0).shape == (1, 1)
    row, labels = [np.ones(4)], [np.array([1.0, 0, 0])]
    assert only_parts(row, labels) == (row, labels)
    assert only_part(labels, 3) is labels[0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([None] * 20, r"'None' at position \[0\]. Fill or drop missing"),
        ([1.0, None], r"'None' at position \[1\]. Fill or drop"),
        (pandas.Series([1, 2, pandas.NA], dtype="Int64"), r"'<NA>' at position \[2\]. Fill or"),
        (pandas.DataFrame({"a": [1.0], "b": [pandas.NaT]}), r"'NaT' at position \[0, 1\]. Fill"),
        (pandas.Series(pandas.date_range("2020", periods=3)), "Convert dates to numbers"),
        ([datetime.date(2020, 1, 1)], r"'2020-01-01' at position \[0\]. Convert dates"),
        (np.array([1], "timedelta64[s]"), "Convert dates"),
        (np.array(["1.5", 2.0], object), r"'1.5' at position \[0\]. Convert text"),
        (np.array([{}, 1.0], object), r"'{}' at position \[0\]. It is of type dict"),
        (torch.eye(3).to_sparse(), "to_dense"),
        (torch.ones(3, device="meta"), "'meta', which holds no numbers"),
        (torch.ones(3, dtype=torch.complex64), "real numbers"),
        ([torch.ones(2), torch.ones(3)], "rectangular"),
    ],
)
def test_data_without_numbers(data, message):
    with pytest.raises(ValueError, match=f"y .*{message}"):
        as_tensor("y", data)


@pytest.mark.parametrize(
    "rows",
    [
        np.array(X, np.longdouble),
        [torch.tensor(row, requires_grad=True) for row in X],
        [torch.tensor(row).bfloat16() for row in X],
        [[torch.tensor(value, requires_grad=True) for value in row] for row in X],
    ],
    ids=["longdouble", "gradients", "bfloat16", "nested"],
)
def test_numbers_of_unusual_kinds(rows):
    tensor = as_tensor("x", rows)
    assert tensor.dtype is torch.float32 and not tensor.requires_grad
    np.testing.assert_allclose(tensor, X, rtol=1e-2)


def test_a_tensor_of_inference_mode_can_be_trained_on():
    with torch.inference_mode():
        x = torch.tensor(X)
    assert np.isfinite(network().fit(x, Y, verbose=0).history["loss"][0])


@pytest.mark.parametrize(
    "data",
    [DataLoader([1]), zip(X, Y), (row for row in X), iter([1]), range(3)],
    ids=["loader", "zip", "generator", "iterator", "range"],
)
def test_kinds_of_data_that_are_not_supported_yet(data):
    for method in ("fit", "evaluate", "predict"):
        with pytest.raises(TypeError, match="not supported yet: pass arrays"):
            getattr(network(), method)(data)


def test_a_pair_in_the_place_of_x():
    with pytest.raises(ValueError, match=r"Write fit\(x, y\), not fit\(\(x, y\)\)"):
        network().fit((X, Y))
    with pytest.raises(ValueError, match="Generators and data sets are not supported yet"):
        network().fit(X, Y, validation_data=DataLoader([1]))
