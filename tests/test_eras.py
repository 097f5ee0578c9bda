"""The table of what changed between versions, and how arguments are read by it."""

import numpy as np
import pytest

from torchkeras import eras, registry
from torchkeras.layers import Dense
from torchkeras.models import Sequential


@pytest.mark.parametrize(
    ("given", "version"),
    [(1, (1, 2, 2)), ("2", (2, 2, 4)), ("tf2", (2, 15)), ("3", (3,)), ("2.3.1", (2, 3, 1))],
)
def test_versions(given, version):
    assert eras.as_version(given) == version


def test_unknown_version():
    for wrong in ("four", 9, 0):
        with pytest.raises(ValueError, match=f"Unknown Keras version '?{wrong}'?"):
            eras.as_version(wrong)


def test_a_row_holds_from_its_version_on():
    with eras.using("2.2.4"):
        assert eras.value("history.function_names") is True
    with eras.using("2.3.0"):
        assert eras.value("history.function_names") is False
    assert eras.version() == (3,)


def test_defaults_fill_in_what_was_not_given():
    class Thing(registry.Configurable):
        def __init__(self, rate=3, other=None):
            self.rate, self.other = rate, other

    eras.ROWS["Thing.rate"] = {(1,): 1, (2,): 2}
    try:
        registry.register("thing")(Thing)
        assert Thing().rate == 3
        with eras.using(1):
            assert Thing().rate == 1 and Thing(7).rate == 7 and Thing(rate=8).rate == 8
        with eras.using(2):
            assert Thing(other=1).rate == 2
    finally:
        del eras.ROWS["Thing.rate"]
        eras.set_version(3)


def test_third_argument_of_compile_was_the_metrics():
    model = Sequential([Dense(1, input_dim=1)])
    with eras.using(2):
        model.compile("sgd", "mse", ["mae"])
        assert model.metrics_names == ["loss", "mean_absolute_error"]
    with pytest.raises(ValueError, match="third argument"):
        model.compile("sgd", "mse", ["mae"])


def test_an_argument_given_twice_is_an_error_in_every_era():
    model = Sequential([Dense(1, input_dim=1)])
    for era in (1, 2, 3):
        with eras.using(era), pytest.raises(TypeError, match="multiple values"):
            model.compile("sgd", "mse", loss="mae")


def test_sample_weight_mode_of_old_versions():
    model = Sequential([Dense(1, input_dim=1)])
    with eras.using(2):
        model.compile("sgd", "mse", ["mae"], None, None)
        model.compile("sgd", "mse", ["mae"], None, "temporal")
        with pytest.raises(ValueError, match="sample_weight_mode"):
            model.compile("sgd", "mse", ["mae"], None, "spatial")


def test_epochs_of_keras_1():
    model = Sequential([Dense(1, input_dim=1)])
    model.compile("sgd", "mse")
    with eras.using(1):
        assert len(model.fit(np.ones(2), np.ones(2), verbose=0).epoch) == 10
    assert len(model.fit(np.ones(2), np.ones(2), verbose=0).epoch) == 1
