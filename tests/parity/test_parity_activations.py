"""Activations against Keras: every function, every argument, values and gradients."""

import numpy as np
import pytest
import torch

keras = pytest.importorskip("keras")

from torchkeras import activations  # noqa: E402

CASES = [
    ("celu", {}),
    ("celu", {"alpha": 0.4}),
    ("elu", {}),
    ("elu", {"alpha": 0.4}),
    ("exponential", {}),
    ("gelu", {}),
    ("gelu", {"approximate": True}),
    ("glu", {}),
    ("glu", {"axis": 0}),
    ("hard_shrink", {}),
    ("hard_shrink", {"threshold": 1.2}),
    ("hard_sigmoid", {}),
    ("hard_silu", {}),
    ("hard_swish", {}),
    ("hard_tanh", {}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.05}),
    ("linear", {}),
    ("log_sigmoid", {}),
    ("log_softmax", {}),
    ("log_softmax", {"axis": 0}),
    ("log_softmax", {"axis": (0, 1)}),
    ("log_softmax", {"axis": None}),
    ("mish", {}),
    ("relu", {}),
    ("relu", {"negative_slope": 0.3}),
    ("relu", {"max_value": 4.0}),
    ("relu", {"max_value": 6.0}),
    ("relu", {"threshold": 1.5}),
    ("relu", {"threshold": -1.5}),
    ("relu", {"negative_slope": 0.3, "max_value": 4.0}),
    ("relu", {"negative_slope": 0.3, "threshold": 1.5}),
    ("relu", {"max_value": 4.0, "threshold": 1.5}),
    ("relu", {"negative_slope": 0.3, "max_value": 4.0, "threshold": 1.5}),
    ("relu6", {}),
    ("selu", {}),
    ("sigmoid", {}),
    ("silu", {}),
    ("soft_shrink", {}),
    ("soft_shrink", {"threshold": 1.2}),
    ("softmax", {}),
    ("softmax", {"axis": 0}),
    ("softmax", {"axis": (0, 1)}),
    ("softmax", {"axis": None}),
    ("softplus", {}),
    ("softsign", {}),
    ("sparse_plus", {}),
    ("sparse_sigmoid", {}),
    ("squareplus", {}),
    ("squareplus", {"b": 0.3}),
    ("swish", {}),
    ("tanh", {}),
    ("tanh_shrink", {}),
    ("threshold", {"threshold": 0.7, "default_value": -3.0}),
]
IDS = [f"{name}-{kwargs}" for name, kwargs in CASES]
EDGES = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.5,
    -2.5,
    3.0,
    -3.0,
    6.0,
    25.0,
    -25.0,
    150.0,
    -150.0,
    1e4,
]


def rows(dtype):
    """A (4, 8) tensor: small numbers, then edges and large ones."""
    small = np.random.default_rng(0).normal(0, 2, 16)
    return torch.tensor(np.concatenate([small, EDGES]).reshape(4, 8), dtype=dtype)


def both(name, kwargs, x):
    with keras.device("cpu"):
        theirs = getattr(keras.activations, name)(x, **kwargs)
    return getattr(activations, name)(x, **kwargs), theirs


def test_every_activation_of_keras_is_compared():
    public = {
        name
        for name in dir(keras.activations)
        if not name.startswith("_") and name not in ("get", "serialize", "deserialize")
    }
    assert public == {name for name, _ in CASES} | {"sparsemax"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize(("name", "kwargs"), CASES, ids=IDS)
def test_values(name, kwargs, dtype):
    ours, theirs = both(name, kwargs, rows(dtype))
    assert ours.dtype == theirs.dtype == dtype
    # A value of half precision may round to the next one.
    tolerance = {"rtol": 1e-3, "atol": 1e-4} if dtype is torch.float16 else {"rtol": 1e-6}
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), **{"atol": 1e-6, **tolerance})


@pytest.mark.parametrize(("name", "kwargs"), CASES, ids=IDS)
def test_gradients(name, kwargs):
    # 6 is left out for relu(max_value=6): Keras takes relu6 there, whose slope at 6 is 0, not 1.
    kept = [edge for edge in EDGES if edge != 6]
    small = np.random.default_rng(1).normal(0, 2, 13)
    x = torch.tensor(np.append(small, kept).reshape(4, 7)[:, :6], requires_grad=True)
    ours, theirs = both(name, kwargs, x)
    weight = torch.linspace(0.5, 2.0, ours.numel(), dtype=x.dtype).reshape(ours.shape)
    (got,) = torch.autograd.grad((ours * weight).sum(), x)
    (expected,) = torch.autograd.grad((theirs * weight).sum(), x)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "kwargs"), CASES, ids=IDS)
def test_not_a_number_goes_where_keras_lets_it_go(name, kwargs):
    x = torch.tensor([[1.0, float("nan"), -2.0, 0.3], [0.5, 1.0, -1.0, 2.0]])
    ours, theirs = both(name, kwargs, x)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("axis", [-1, 0])
def test_sparsemax_where_one_entry_stays(axis):
    # With more, Keras 3.15 is wrong (keras-team/keras#23425).
    x = torch.tensor([[5.0, 1.0, 2.0], [1.0, 6.0, 0.0], [0.0, 1.0, 7.0]])
    ours, theirs = both("sparsemax", {"axis": axis}, x)
    torch.testing.assert_close(ours, theirs.cpu())


@pytest.mark.parametrize(
    "x",
    [[-1.0, 2.0], [1, -2], 2.5, 3, np.float64(-1.5), np.float32(2), np.array([1.0, -2.0])]
    + [np.array([1, -2]), np.array([3, 4], "uint8"), [[1, 2.5]], np.arange(4.0)[::-1]],
)
def test_arrays_and_numbers_become_the_tensors_that_keras_makes(x):
    with keras.device("cpu"):
        expected = keras.activations.relu(x)
    made = activations.relu(x).cpu()
    assert made.dtype == expected.dtype
    torch.testing.assert_close(made, expected)


@pytest.mark.parametrize("name", [*dict(CASES), "sparsemax"])
def test_names(name):
    expected = keras.activations.serialize(keras.activations.get(name))
    assert activations.get(name) is getattr(activations, name)
    assert activations.serialize(activations.get(name)) == expected
    assert activations.deserialize(expected) is activations.get(name)
