"""Regularizers against Keras: penalties, gradients, configs."""

import numpy as np
import pytest
import torch

keras = pytest.importorskip("keras")

from torchkeras import regularizers  # noqa: E402

CASES = [
    ("L1", {}),
    ("L1", {"l1": 0.3}),
    ("L1", {"l1": None}),
    ("L2", {}),
    ("L2", {"l2": 0.3}),
    ("L1L2", {}),
    ("L1L2", {"l1": 0.1}),
    ("L1L2", {"l2": 0.2}),
    ("L1L2", {"l1": 0.1, "l2": 0.2}),
    ("OrthogonalRegularizer", {}),
    ("OrthogonalRegularizer", {"factor": 0.5, "mode": "columns"}),
]


def rounded(config):
    """Keras holds the factor of L1 as a float32 tensor: its config says 0.00999999977 for 0.01."""
    return {
        key: item if isinstance(item, str) else pytest.approx(item, rel=1e-7)
        for key, item in config.items()
    }


def pair(name, kwargs):
    return getattr(regularizers, name)(**kwargs), getattr(keras.regularizers, name)(**kwargs)


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_penalty_and_gradient(name, kwargs):
    ours, theirs = pair(name, kwargs)
    x = torch.tensor(np.random.default_rng(1).normal(size=(5, 4)), dtype=torch.float32)
    x[1, 2] = 0
    x.requires_grad_()
    with keras.device("cpu"):
        expected = theirs(x)
    got = ours(x)
    assert got.dtype == expected.dtype
    assert got.shape == ()
    assert got.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-9)
    if got.requires_grad:
        got, expected = (torch.autograd.grad(y, x)[0] for y in (got, expected))
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_config(name, kwargs):
    ours, theirs = pair(name, kwargs)
    expected = keras.regularizers.serialize(theirs)
    near = rounded(expected["config"])
    assert regularizers.serialize(ours) == {**expected, "config": near}
    again = regularizers.deserialize(expected)
    assert type(again) is type(ours)
    assert again.get_config() == near
    reread = keras.regularizers.deserialize(regularizers.serialize(ours))
    assert type(reread) is type(theirs)


@pytest.mark.parametrize("name", ["l1", "l2", "L1", "L2", "l1l2", "L1L2", "orthogonal_regularizer"])
def test_names(name):
    ours, theirs = regularizers.get(name), keras.regularizers.get(name)
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.get_config() == rounded(theirs.get_config())


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "0.1"])
@pytest.mark.parametrize("name", ["L1", "L2", "L1L2", "OrthogonalRegularizer"])
def test_both_refuse(name, value):
    for module in (regularizers, keras.regularizers):
        with pytest.raises(ValueError):
            getattr(module, name)(value)


@pytest.mark.parametrize("name", ["l1", "l2", "l1_l2"])
def test_function_spellings_take_the_same_arguments(name):
    arguments = (0.2, 0.3) if name == "l1_l2" else (0.2,)
    ours = getattr(regularizers, name)(*arguments)
    theirs = getattr(keras.regularizers, name)(*arguments)
    assert ours.get_config() == pytest.approx(theirs.get_config())
