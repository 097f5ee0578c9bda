"""optimizers.get, serialize, deserialize, and what each version of Keras had as defaults."""

import functools

import pytest
import torch

from torchkeras import config, eras, optimizers, registry

NAMES = ["SGD", "RMSprop", "Adam", "AdamW", "Adagrad", "Adadelta", "Adamax", "Nadam"]


@pytest.mark.parametrize("name", NAMES)
def test_names_in_any_case(name):
    cls = getattr(optimizers, name)
    for spelling in (name, name.lower(), name.upper(), name.swapcase()):
        assert type(optimizers.get(spelling)) is cls


def test_none_stays_none_and_an_instance_itself():
    optimizer = optimizers.Adam()
    assert optimizers.get(None) is None
    assert optimizers.get(optimizer) is optimizer


def test_classes_and_partials():
    assert type(optimizers.get(optimizers.Nadam)) is optimizers.Nadam
    made = optimizers.get(functools.partial(optimizers.SGD, learning_rate=0.5))
    assert float(made.learning_rate) == 0.5


def test_unknown_name():
    with pytest.raises(ValueError, match="Unknown optimizer 'adma'.*'adam'"):
        optimizers.get("adma")


@pytest.mark.parametrize("thing", [3, print, torch.nn.Linear(1, 1), ["adam"]])
def test_what_is_no_optimizer(thing):
    with pytest.raises(ValueError, match="Expected an optimizer"):
        optimizers.get(thing)


@pytest.mark.parametrize("name", NAMES)
def test_serialized_form_and_back(name):
    optimizer = getattr(optimizers, name)(learning_rate=0.25, clipnorm=1.5, name="mine")
    form = optimizers.serialize(optimizer)
    assert form["module"] == "keras.optimizers"
    assert form["class_name"] == name
    assert form["registered_name"] is None
    again = optimizers.get(form)
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()


def test_a_config_s_class_name_in_any_case():
    form = {"class_name": "rmsPROP", "config": {"rho": 0.5}}
    assert optimizers.get(form).rho == 0.5


class Slower(optimizers.SGD):
    """A user's optimizer with an argument of its own."""

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def test_a_user_s_subclass_by_name_and_config():
    with registry.custom_object_scope({"Slower": Slower}):
        assert type(optimizers.get("Slower")) is Slower
        again = optimizers.get(optimizers.serialize(Slower(factor=3.0)))
    assert again.factor == 3.0
    table = {"Adam": Slower}
    assert type(optimizers.get("Adam", custom_objects=table)) is Slower


# ----------------------------------------------------------------------------------------- eras

PAPERS = {"Adagrad": 0.01, "Adadelta": 1.0, "Adamax": 0.002, "Nadam": 0.002}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("era", ["1.2.2", "2.2.4", "2.3.1", "tf2", "3"])
def test_default_rates_of_each_version(name, era):
    eras.set_version(era)
    usual = 0.01 if name == "SGD" else 0.001
    expected = PAPERS.get(name, usual) if era[0] in "12" else usual
    assert float(getattr(optimizers, name)().learning_rate) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["RMSprop", "Adam", "Adagrad", "Adadelta", "Adamax", "Nadam"])
@pytest.mark.parametrize(
    ("era", "expected"),
    [("1.2.2", 1e-8), ("2.2.4", 1e-5), ("2.3.1", 1e-5), ("tf2", 1e-7), ("3", 1e-7)],
)
def test_default_epsilon_of_each_version(name, era, expected):
    """Keras 2 took the global epsilon, here set to 1e-5; the others a number of their own."""
    eras.set_version(era)
    config.set_epsilon(1e-5)
    assert getattr(optimizers, name)().epsilon == expected


def test_an_epsilon_of_none_is_the_global_one():
    assert optimizers.Adam(epsilon=None).get_config()["epsilon"] == 1e-7


@pytest.mark.parametrize(("era", "expected"), [(1, 0.0), (2, 0.0), ("tf2", 0.1), (3, 0.1)])
def test_adagrad_s_accumulator_of_each_version(era, expected):
    eras.set_version(era)
    optimizer = optimizers.Adagrad()
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer.build([weight])
    assert optimizer.state[weight]["accumulator"].tolist() == pytest.approx([expected] * 2)


def test_what_the_user_gives_wins_over_the_era():
    eras.set_version(1)
    assert float(optimizers.Adadelta(0.5).learning_rate) == 0.5
    assert optimizers.Adam(epsilon=1e-3).epsilon == 1e-3


def test_decay_divides_the_rate_in_keras_1_and_2():
    eras.set_version(2)
    optimizer = optimizers.SGD(learning_rate=1.0, decay=0.5)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer.build([weight])
    steps = []
    for _ in range(3):
        before = weight.item()
        optimizer.update([torch.ones(1)])
        steps.append(before - weight.item())
    assert steps == pytest.approx([1.0, 1 / 1.5, 1 / 2])
    assert optimizers.get(optimizers.serialize(optimizer)).decay == 0.5


def test_decay_is_ignored_with_a_warning_in_keras_3():
    with pytest.warns(UserWarning, match="decay=0.5 belongs to Keras 1 and 2"):
        optimizer = optimizers.SGD(decay=0.5)
    assert "decay" not in optimizer.get_config()
    assert "decay" not in optimizers.SGD(decay=0.0).get_config()
