"""Initializers against Keras: distributions, fans, configs."""

import math

import numpy as np
import pytest
import torch

keras = pytest.importorskip("keras")

from keras.src.initializers.random_initializers import compute_fans  # noqa: E402

from torchkeras import initializers  # noqa: E402

AXES = {"input_axes": [0], "output_axes": [1, 2]}
RANDOM = [
    ("RandomNormal", {"mean": 0.3, "stddev": 0.2}),
    ("RandomUniform", {"minval": -0.2, "maxval": 0.7}),
    ("TruncatedNormal", {"mean": 0.3, "stddev": 0.2}),
    ("VarianceScaling", {}),
    ("VarianceScaling", {"scale": 3.0, "mode": "fan_out", "distribution": "uniform"}),
    ("VarianceScaling", {"mode": "fan_avg", "distribution": "untruncated_normal"}),
    ("VarianceScaling", {"mode": "fan_out", "distribution": "Normal"}),
    ("VarianceScaling", {"mode": "fan_avg", **AXES}),
    ("GlorotUniform", {}),
    ("GlorotUniform", AXES),
    ("GlorotNormal", {}),
    ("GlorotNormal", AXES),
    ("HeUniform", {}),
    ("HeNormal", {}),
    ("LecunUniform", {}),
    ("LecunNormal", {}),
    ("LecunNormal", AXES),
    ("Orthogonal", {}),
    ("Orthogonal", {"gain": 1.7}),
]
FIXED = [("Zeros", {}), ("Ones", {}), ("Constant", {}), ("Constant", {"value": 2.5})]
LARGE = (20, 50, 100)


def pair(name, kwargs):
    return getattr(initializers, name)(**kwargs), getattr(keras.initializers, name)(**kwargs)


def draw(initializer, shape, **kwargs):
    with keras.device("cpu"):
        return initializer(shape, **kwargs).numpy()


@pytest.mark.parametrize(("name", "kwargs"), RANDOM)
def test_distribution(name, kwargs):
    """Mean, deviation, bounds and the greatest distance of the distribution functions."""
    seeds = {"seed": 1}, {"seed": 2}
    made = pair(name, {**kwargs, **seeds[0]})[0], pair(name, {**kwargs, **seeds[1]})[1]
    ours, theirs = (draw(one, LARGE).ravel() for one in made)
    deviation, count = float(theirs.std()), theirs.size
    assert abs(ours.mean() - theirs.mean()) < 5 * deviation * math.sqrt(2 / count)
    assert ours.std() == pytest.approx(deviation, rel=0.02)
    if getattr(made[0], "distribution", name).lower().endswith("uniform"):
        assert ours.max() == pytest.approx(theirs.max(), abs=0.01 * deviation)
        assert ours.min() == pytest.approx(theirs.min(), abs=0.01 * deviation)
    grid = np.sort(np.concatenate([ours, theirs]))
    steps = [np.searchsorted(np.sort(one), grid, side="right") / count for one in (ours, theirs)]
    # Kolmogorov and Smirnov: equal distributions go beyond this once in a million pairs.
    assert np.abs(steps[0] - steps[1]).max() < 2.7 * math.sqrt(2 / count)


def test_truncation_is_kept_where_keras_lets_a_number_through():
    """Keras takes the first of four numbers when none of them is within two deviations."""
    kwargs = {"mean": 0.3, "stddev": 0.2, "seed": 12}
    ours, theirs = (draw(one, (1000, 1000)) for one in pair("TruncatedNormal", kwargs))
    outside = np.abs(theirs - 0.3) > 0.4 + 1e-6
    assert 0 < outside.sum() < 30
    assert np.abs(ours - 0.3).max() <= 0.4 + 1e-6
    np.testing.assert_allclose(ours[~outside], theirs[~outside], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 12), (12, 8), (3, 3, 4, 6)])
@pytest.mark.parametrize("seed", [0, 7, 2**31 + 5])
@pytest.mark.parametrize(("name", "kwargs"), [c for c in RANDOM if "input_axes" not in c[1]])
def test_a_seed_gives_the_numbers_of_keras_on_the_cpu(name, kwargs, seed, shape):
    ours, theirs = pair(name, {**kwargs, "seed": seed})
    np.testing.assert_allclose(draw(ours, shape), draw(theirs, shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "kwargs"), FIXED)
@pytest.mark.parametrize("dtype", [None, "float64", "float16", "int32", "bool"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_fixed_numbers(name, kwargs, dtype, shape):
    ours, theirs = pair(name, kwargs)
    expected = draw(theirs, shape, dtype=dtype)
    got = draw(ours, shape, dtype=dtype)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("value", [np.arange(3.0), np.arange(6).reshape(2, 3), torch.ones(1)])
def test_constant_takes_arrays(value):
    ours, theirs = pair("Constant", {"value": value})
    np.testing.assert_array_equal(draw(ours, (2, 3)), draw(theirs, (2, 3)))
    config = keras.initializers.serialize(theirs)
    assert initializers.serialize(ours) == config
    np.testing.assert_array_equal(draw(initializers.deserialize(config), (2, 3)), ours((2, 3)))


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2)])
def test_identity(shape):
    ours, theirs = pair("Identity", {"gain": 1.5})
    np.testing.assert_array_equal(draw(ours, shape), draw(theirs, shape))
    # Keras' own config forgets the gain; it reads ours.
    assert ours.get_config() == {"gain": 1.5}
    again = keras.initializers.deserialize(initializers.serialize(ours))
    np.testing.assert_array_equal(draw(again, shape), draw(ours, shape))


@pytest.mark.parametrize("axes", [{}, {"input_axes": [1], "output_axes": [0, 2]}])
@pytest.mark.parametrize("shape", [(4, 5, 6), (3, 3, 4, 6), (2, 3, 3, 4, 6), (4, 5, 1)])
def test_fans(shape, axes):
    assert initializers.compute_fans(shape, **axes) == compute_fans(shape, **axes)


@pytest.mark.parametrize("shape", [(), (7,), (7, 3)])
def test_fans_of_small_shapes(shape):
    assert initializers.compute_fans(shape) == compute_fans(shape)


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize(("name", "kwargs"), RANDOM)
def test_config(name, kwargs, seed):
    ours, theirs = pair(name, {**kwargs, "seed": seed})
    expected = keras.initializers.serialize(theirs)
    assert initializers.serialize(ours) == expected
    again = initializers.deserialize(expected)
    assert type(again) is type(ours)
    assert again.get_config() == ours.get_config()
    assert keras.initializers.deserialize(initializers.serialize(ours)).get_config() == (
        theirs.get_config()
    )


@pytest.mark.parametrize(("name", "kwargs"), FIXED)
def test_config_of_fixed_numbers(name, kwargs):
    ours, theirs = pair(name, kwargs)
    assert initializers.serialize(ours) == keras.initializers.serialize(theirs)


def test_names():
    from keras.src.initializers import ALL_OBJECTS_DICT

    # STFT is of use to the STFTSpectrogram layer alone, and comes with it.
    names = {name for name in ALL_OBJECTS_DICT if "stft" not in name.lower()}
    for name in names:
        assert type(initializers.get(name)).__name__ == ALL_OBJECTS_DICT[name].__name__
    public = {name for name in dir(keras.initializers) if "stft" not in name.lower()}
    assert {name for name in public if not name.startswith("_")} <= set(dir(initializers))
