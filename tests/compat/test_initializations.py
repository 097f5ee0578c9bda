"""``keras.initializations`` of Keras 1: functions of a shape."""

import numpy as np
import pytest

from torchkeras.compat import initializations, modules
from torchkeras.layers import Dense


@pytest.mark.parametrize("name", [n for n in initializations.__all__ if n != "get"])
def test_each_gives_values_of_a_shape(name):
    values = getattr(initializations, name)((4, 4), name="w")
    assert tuple(values.shape) == (4, 4)
    assert initializations.get(name) is not None


def test_scales():
    assert initializations.uniform((1000,), scale=0.5).abs().max() <= 0.5
    assert initializations.uniform((1000,), 0.5).abs().max() > 0.4
    assert initializations.normal((10000,), scale=3.0).std().item() == pytest.approx(3, rel=0.05)
    np.testing.assert_allclose(initializations.identity((2, 2), scale=2), 2 * np.eye(2))


def test_kernels_of_both_orders_have_the_same_deviation():
    theano, tensorflow = (64, 32, 3, 3), (3, 3, 32, 64)
    expected = (2 / (9 * 32 + 9 * 64)) ** 0.5
    for shape, order in ((theano, "th"), (tensorflow, "tf")):
        values = initializations.glorot_uniform(shape, dim_ordering=order)
        assert tuple(values.shape) == shape
        assert values.std().item() == pytest.approx(expected, rel=0.03)
    with pytest.raises(ValueError, match="dim_ordering"):
        initializations.he_normal((2, 2), dim_ordering="last")


def test_found_at_its_old_path_and_used_as_init():
    module = modules.alias("initializations")
    assert module.normal is initializations.normal

    def my_init(shape, name=None):
        return module.normal(shape, scale=0.01, name=name)

    layer = Dense(output_dim=50, init=my_init)
    layer.build((None, 40))
    assert 0.005 < layer.kernel.numpy().std() < 0.02
