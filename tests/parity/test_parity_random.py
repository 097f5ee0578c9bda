"""keras.random against Keras 3.15.1 on torch: the same numbers by seed, the same distributions."""

import keras
import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import random

LOGITS = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
CUBE = np.arange(24, dtype="float32").reshape(4, 3, 2)

CASES = [
    ("normal", ((3, 50),), {}),
    ("normal", ((),), {}),
    ("normal", ((0, 3),), {}),
    ("normal", ([7], 3.0, 0.5), {"dtype": "float64"}),
    ("normal", ((20,),), {"dtype": "float16"}),
    ("normal", ((20,),), {"dtype": "bfloat16"}),
    ("uniform", ((3, 50),), {}),
    ("uniform", ((),), {}),
    ("uniform", ((7,), -3.0, 0.5), {"dtype": "float64"}),
    ("uniform", ((7,),), {"dtype": "float16"}),
    ("uniform", ((7,), 3, -2), {}),
    ("randint", ((3, 50), -3, 100), {}),
    ("randint", ((), 0, 5), {}),
    ("randint", ((9,), 0, 5), {"dtype": "uint8"}),
    ("randint", ((9,), 0, 5), {"dtype": "int64"}),
    ("randint", ((9,), 0, 5), {"dtype": None}),
    ("truncated_normal", ((3, 50),), {}),
    ("truncated_normal", ((), 1.0, 2.0), {}),
    ("truncated_normal", ((20,),), {"dtype": "float64"}),
    ("categorical", (torch.tensor(LOGITS), 7), {}),
    ("categorical", (LOGITS, 7), {"dtype": "int64"}),
    ("categorical", (LOGITS.astype("float64"), 7), {}),
    ("dropout", (torch.tensor(CUBE), 0.3), {}),
    ("dropout", (torch.tensor(CUBE).half(), 0.3), {}),
    ("dropout", (torch.tensor(CUBE).int(), 0.3), {}),
    ("dropout", (torch.tensor(CUBE), 0.3), {"noise_shape": (None, 1, None)}),
    ("dropout", (torch.tensor(CUBE), 0.3), {"noise_shape": (2,)}),
    ("dropout", (torch.tensor(CUBE), 1.0), {}),
    ("dropout", (torch.tensor(CUBE), 0.0), {}),
    ("shuffle", (torch.tensor(CUBE),), {}),
    ("shuffle", (CUBE, 1), {}),
    ("shuffle", (CUBE, 2), {}),
    ("shuffle", ([1, 2, 3, 4],), {}),
    ("gamma", ((3, 50), 0.7), {}),
    ("gamma", ((3, 2), np.array([0.5, 4.0], "float32")), {}),
    ("gamma", ((9,), 2.0), {"dtype": "float64"}),
    ("beta", ((3, 50), 0.7, 2.0), {}),
    ("beta", ((2,), np.array([0.5, 4.0]), np.array([1.5, 2.0])), {}),
    ("binomial", ((3, 50), 20, 0.3), {}),
    ("binomial", ((2,), np.array([3, 90]), np.array([0.5, 0.9], "float32")), {"dtype": "int32"}),
]


def both(name, args, kwargs, ours, theirs):
    one = getattr(random, name)(*args, seed=ours, **kwargs)
    other = getattr(keras.random, name)(*args, seed=theirs, **kwargs)
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert torch.equal(one, other), (name, args, kwargs)


@pytest.mark.parametrize("name, args, kwargs", CASES)
@pytest.mark.parametrize("seed", [1, 0, -3, 2**31 + 5, 2**32 - 1, 2**40 + 7])
def test_an_integer_gives_the_numbers_of_keras(name, args, kwargs, seed):
    both(name, args, kwargs, seed, seed)


@pytest.mark.parametrize("name, args, kwargs", CASES)
def test_a_seed_generator_gives_the_numbers_of_keras(name, args, kwargs):
    ours, theirs = random.SeedGenerator(2**31 - 1), keras.random.SeedGenerator(2**31 - 1)
    for _ in range(3):
        both(name, args, kwargs, ours, theirs)
    np.testing.assert_array_equal(ours.state.numpy(), theirs.state.numpy())


@pytest.mark.parametrize("is_ordered", [True, False])
def test_the_states_are_those_of_keras(is_ordered):
    ours, theirs = random.SeedGenerator(-9), keras.random.SeedGenerator(-9)
    for _ in range(5):
        assert torch.equal(ours.next(is_ordered), theirs.next(is_ordered))
    np.testing.assert_array_equal(ours.state.numpy(), theirs.state.numpy())
    both("normal", ((4,),), {}, ours, theirs)


def test_the_config_is_that_of_keras():
    for kwargs in ({"seed": 5, "name": "own"}, {"name": "own"}):
        ours, theirs = random.SeedGenerator(**kwargs), keras.random.SeedGenerator(**kwargs)
        assert ours.get_config() == theirs.get_config()
    serialized = keras.saving.serialize_keras_object(theirs)
    assert torchkeras.registry.serialize(ours) == serialized
    again = torchkeras.registry.deserialize("seed_generator", serialized)
    assert isinstance(again, random.SeedGenerator) and again.name == "own"


def test_the_drawn_seeds_are_those_of_keras():
    keras.utils.set_random_seed(3)
    theirs = [keras.random.SeedGenerator().state.numpy().tolist() for _ in range(3)]
    torchkeras.utils.set_random_seed(3)
    assert [random.SeedGenerator().state.numpy().tolist() for _ in range(3)] == theirs


def _model(keras):
    """A model whose weights and dropped numbers hang on seeds alone."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    initializer = keras.initializers.RandomNormal(seed=keras.random.SeedGenerator(8))
    model = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(8, kernel_initializer=initializer, bias_initializer=initializer),
            layers.Dropout(0.3, seed=5),
            layers.Dense(6, activation="relu"),
            layers.Dropout(0.5, noise_shape=(None, 1), seed=6),
            layers.Dropout(0.0),
            layers.Dense(2),
        ]
    )
    model.compile("sgd", "mse")
    return model


def test_a_model_with_dropout_is_that_of_keras_from_its_seeds_on():
    theirs, ours = _model(keras), _model(torchkeras)
    for one, other in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for kind in ("variables", "non_trainable_variables", "weights", "trainable_variables"):
        mine, wanted = getattr(ours, kind), getattr(theirs, kind)
        assert [(v.name, v.shape) for v in mine] == [(v.name, v.shape) for v in wanted], kind
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    wanted, found = (
        model.fit(x, x[:, :2], epochs=4, batch_size=16, shuffle=False, verbose=0).history["loss"]
        for model in (theirs, ours)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_array_equal(
        [v.numpy() for v in ours.non_trainable_variables],
        [v.numpy() for v in theirs.non_trainable_variables],
    )


# ---------------------------------------------------------------------------- distributions

COUNT = 40_000
# Two samples of so many numbers are farther apart than this once in 10,000 times.
DISTANCE = 2.23 * (2 / COUNT) ** 0.5
DISTRIBUTIONS = [
    ("normal", (3.0, 0.5), {}),
    ("uniform", (-3.0, 0.5), {}),
    ("randint", (-3, 10), {}),
    ("truncated_normal", (1.0, 2.0), {}),
    ("gamma", (0.3,), {}),
    ("gamma", (4.0,), {}),
    ("beta", (0.5, 0.5), {}),
    ("beta", (2.0, 5.0), {}),
    ("binomial", (20, 0.3), {}),
    ("binomial", (1000, 0.5), {}),
]
SUPPORT = {
    "uniform": (-3, 0.5),
    "randint": (-3, 9),
    "truncated_normal": (-3, 5),
    "gamma": (0, np.inf),
    "beta": (0, 1),
    "binomial": (0, 1000),
}


def _distance(one, other):
    """Return the largest difference of two empirical distribution functions."""
    places = np.concatenate([one, other])
    places.sort()
    ranks = [np.searchsorted(np.sort(part), places, "right") / len(part) for part in (one, other)]
    return np.abs(ranks[0] - ranks[1]).max()


@pytest.mark.parametrize("seed", [None, "generator"])
@pytest.mark.parametrize("name, args, kwargs", DISTRIBUTIONS)
def test_distributions(name, args, kwargs, seed):
    seed = seed and random.SeedGenerator(100)
    parts = [getattr(random, name)((COUNT // 4,), *args, seed=seed, **kwargs) for _ in range(4)]
    ours = torch.cat(parts).double().numpy()
    theirs = getattr(keras.random, name)((COUNT,), *args, seed=77, **kwargs).double().numpy()
    assert _distance(ours, theirs) < DISTANCE
    for power in (1, 2):  # the mean, and with it the variance; five standard errors
        one, other = (sample - (power - 1) * theirs.mean() for sample in (ours, theirs))
        one, other = one**power, other**power
        assert abs(one.mean() - other.mean()) < 5 * other.std() * (2 / COUNT) ** 0.5
    # A hundredth in quantiles, where the density may be small, is a hundredth in probability.
    for share in (0.01, 0.25, 0.5, 0.75, 0.99):
        edge = np.quantile(theirs, share)
        assert (ours <= edge).mean() == pytest.approx((theirs <= edge).mean(), abs=0.012)
    low, high = SUPPORT.get(name, (-np.inf, np.inf))
    assert low <= ours.min() and ours.max() <= high


def test_shares_of_categories_and_dropped_numbers():
    found = random.categorical([[-2.3025851, -1.6094379, -0.3566749], [0.0, 0.0, -np.inf]], COUNT)
    shares = [np.bincount(row.numpy(), minlength=3) / COUNT for row in found]
    np.testing.assert_allclose(shares, [[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]], atol=0.015)
    assert shares[1][2] == 0
    for seed in (None, 3, random.SeedGenerator(3)):
        kept = random.dropout(torch.ones(COUNT), 0.3, seed=seed)
        assert (kept == 0).float().mean().item() == pytest.approx(0.3, abs=0.015)
        assert kept.max().item() == pytest.approx(1 / 0.7)


def test_every_order_is_as_frequent():
    orders = random.shuffle(np.tile(np.arange(3), (COUNT, 1)), axis=1, seed=random.SeedGenerator(1))
    codes = (orders * torch.tensor([9, 3, 1])).sum(1)
    shares = torch.unique(codes, return_counts=True)[1] / COUNT
    np.testing.assert_allclose(shares.numpy(), np.full(6, 1 / 6), atol=0.01)
