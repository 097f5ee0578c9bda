"""Constraints against Keras: projections along several axes, configs."""

import numpy as np
import pytest
import torch

keras = pytest.importorskip("keras")

from torchkeras import constraints  # noqa: E402

CASES = [
    ("MaxNorm", {}),
    ("MaxNorm", {"max_value": 1.5, "axis": 1}),
    ("MaxNorm", {"max_value": 1.5, "axis": [0, 1]}),
    ("MaxNorm", {"max_value": 1.5, "axis": None}),
    ("NonNeg", {}),
    ("UnitNorm", {}),
    ("UnitNorm", {"axis": -1}),
    ("UnitNorm", {"axis": [0, 1, 2]}),
    ("MinMaxNorm", {}),
    ("MinMaxNorm", {"min_value": 0.8, "max_value": 1.2, "rate": 0.7, "axis": 1}),
    ("MinMaxNorm", {"min_value": 0.8, "max_value": 1.2, "axis": [0, 2]}),
]


def pair(name, kwargs):
    return getattr(constraints, name)(**kwargs), getattr(keras.constraints, name)(**kwargs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_projection(name, kwargs, dtype):
    ours, theirs = pair(name, kwargs)
    w = np.random.default_rng(2).normal(size=(3, 4, 2, 5)).astype(dtype)
    w[:, 0, 0, 0] = 0
    with keras.device("cpu"):
        expected = theirs(torch.from_numpy(w))
    got = ours(torch.from_numpy(w))
    assert got.dtype == getattr(torch, dtype)
    # Keras' NonNeg makes float32 of float64.
    expected = expected.to(got.dtype)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours(w).cpu(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_config(name, kwargs):
    ours, theirs = pair(name, kwargs)
    expected = keras.constraints.serialize(theirs)
    assert constraints.serialize(ours) == expected
    assert constraints.deserialize(expected).get_config() == ours.get_config()


@pytest.mark.parametrize(
    "name",
    ["max_norm", "MaxNorm", "non_neg", "NonNeg", "unit_norm", "UnitNorm", "min_max_norm"]
    + ["MinMaxNorm"],
)
def test_names(name):
    ours, theirs = constraints.get(name), keras.constraints.get(name)
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.get_config() == theirs.get_config()
