"""Every optimizer against Keras 3: a hundred steps with every option, and round trips."""

import json

import keras
import numpy as np
import pytest
import torch

from torchkeras import optimizers
from torchkeras.optimizers import schedules
from torchkeras.variable import SAME, TRANSPOSE, Variable, Weight

SHAPES = [(8, 6), (6,), (6, 3), (3,), (2, 3, 4)]
RULES = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("RMSprop", {"momentum": 0.5, "centered": True}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Adagrad", {}),
    ("Adamax", {}),
    ("Nadam", {}),
    ("Ftrl", {}),
    (
        "Ftrl",
        {
            "learning_rate": 0.05,
            "l1_regularization_strength": 0.001,
            "l2_regularization_strength": 0.01,
            "l2_shrinkage_regularization_strength": 0.01,
            "beta": 0.1,
        },
    ),
    ("Ftrl", {"learning_rate_power": -0.3, "initial_accumulator_value": 0.5}),
    ("Lion", {}),
    ("Lion", {"beta_1": 0.5, "beta_2": 0.9}),
    ("Lamb", {}),
    ("Lamb", {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-4}),
    ("Adafactor", {}),
    (
        "Adafactor",
        {"learning_rate": 0.5, "clip_threshold": 0.5, "beta_2_decay": -0.5, "epsilon_2": 0.1},
    ),
    ("Muon", {}),
    ("Muon", {"nesterov": False, "rms_rate": None, "ns_steps": 3, "adam_lr_ratio": 0.5}),
    ("Muon", {"exclude_layers": ["w0"], "adam_weight_decay": None, "weight_decay": 0.1}),
    ("ScheduleFreeAdamW", {}),
    ("ScheduleFreeAdamW", {"warmup_steps": 10, "beta_1": 0.8, "epsilon": 1e-4}),
]
OPTIONS = [
    {"weight_decay": 0.02},
    {"clipnorm": 0.5},
    {"clipvalue": 0.3},
    {"global_clipnorm": 0.7},
    {"use_ema": True, "ema_momentum": 0.9},
    {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 7},
    {"loss_scale_factor": 16.0},
    {"gradient_accumulation_steps": 3},
    {
        "gradient_accumulation_steps": 2,
        "use_ema": True,
        "ema_overwrite_frequency": 3,
        "global_clipnorm": 0.5,
        "weight_decay": 0.01,
    },
    {"schedule": True},
    {"schedule": True, "gradient_accumulation_steps": 4},
]


class ScheduleFreeAdamW(keras.optimizers.ScheduleFreeAdamW):
    """Keras', kept from writing over ``momentum_old``, which on torch is the variable's memory."""

    def assign_sub(self, variable, value):
        variable._value = variable.value - value


OTHERS = {"ScheduleFreeAdamW": ScheduleFreeAdamW}
NAMES = list(dict.fromkeys(name for name, _ in RULES))
# Options are the base class' work: with all rules they are tried in the long run.
SOME = [
    name if name in ("SGD", "Adam", "Muon") else pytest.param(name, marks=pytest.mark.slow)
    for name in NAMES
]


def title(case):
    return str(case).replace(" ", "")


def pair(name, options, dtype, shapes=SHAPES):
    """Return both libraries' optimizers with the variables that they are built with.

    Ours of two dimensions lie transposed in their parameters, as kernels do.
    """
    options = dict(options)
    if options.pop("schedule", False):
        arguments = {"initial_learning_rate": 0.01, "decay_steps": 30, "decay_rate": 0.5}
        ours_options = {**options, "learning_rate": schedules.ExponentialDecay(**arguments)}
        theirs_options = {
            **options,
            "learning_rate": keras.optimizers.schedules.ExponentialDecay(**arguments),
        }
    else:
        ours_options = theirs_options = options
    ours = getattr(optimizers, name)(**ours_options)
    theirs = OTHERS.get(name, getattr(keras.optimizers, name))(**theirs_options)
    random = np.random.default_rng(1)
    kind = str(dtype).removeprefix("torch.")
    variables, weights = [], []
    for place, shape in enumerate(shapes):
        start = random.standard_normal(shape)
        weights.append(keras.Variable(start.astype(kind), dtype=kind, name=f"w{place}"))
        transform = TRANSPOSE if len(shape) == 2 else SAME
        tensor = transform.to_torch(torch.tensor(start, dtype=dtype)).contiguous()
        owner = torch.nn.Module()
        owner.weight = torch.nn.Parameter(tensor)
        owner.path = "model"
        variables.append(Variable.of(owner, Weight(f"w{place}", "weight", transform)))
    ours.build(variables)
    theirs.build(weights)
    return ours, variables, theirs, weights


def follow(name, options, scale, dtype=torch.float64, steps=100):
    """Take steps with both; return each one's movement, weight by weight, in float64."""
    ours, variables, theirs, weights = pair(name, options, dtype)
    starts = [np.array(weight).astype("float64") for weight in weights]
    random = np.random.default_rng(0)
    for _ in range(steps):
        gradients = [torch.tensor(scale * random.standard_normal(s), dtype=dtype) for s in SHAPES]
        ours.apply(gradients, variables)
        theirs.apply(gradients, weights)
    assert int(ours.iterations) == int(theirs.iterations)
    moved = [variable.numpy().astype("float64") for variable in variables]
    expected = [np.array(weight).astype("float64") for weight in weights]
    return (
        ours,
        theirs,
        [(one - start, other - start) for one, other, start in zip(moved, expected, starts)],
    )


def assert_close(found, expected, rtol, floor=1e-7):
    largest = np.abs(expected).max()
    assert largest > 0
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=floor * largest)


@pytest.mark.parametrize("scale", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("rule", RULES, ids=title)
def test_a_hundred_steps(rule, scale):
    _, _, pairs = follow(*rule, scale)
    for found, expected in pairs:
        assert_close(found, expected, rtol=1e-5)


@pytest.mark.parametrize("option", OPTIONS, ids=title)
@pytest.mark.parametrize("name", SOME)
def test_every_option(name, option):
    ours, theirs, pairs = follow(name, option, 0.3)
    for found, expected in pairs:
        assert_close(found, expected, rtol=1e-5)
    if option.get("use_ema"):
        averages = zip(ours._model_variables_moving_average, theirs._model_variables_moving_average)
        for average, other in averages:
            np.testing.assert_allclose(average.numpy(), np.array(other), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rule", RULES, ids=title)
def test_a_hundred_steps_in_single_precision(rule):
    _, _, pairs = follow(*rule, 1e-2, torch.float32)
    for found, expected in pairs:
        # The weights are near 1, and single precision ends at 1e-7 of that. Keras' rule for
        # ScheduleFreeAdamW takes weights apart and puts them together again at each step.
        assert_close(found, expected, 1e-5, floor=1e-4 if rule[0] == "ScheduleFreeAdamW" else 1e-5)


@pytest.mark.parametrize("option", [{}, *OPTIONS], ids=title)
@pytest.mark.parametrize("name", NAMES)
def test_configs_both_ways(name, option):
    ours, _, theirs, _ = pair(name, option, torch.float32)
    config = {**theirs.get_config(), "name": ours.name}
    found = ours.get_config()
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(config))
    back = optimizers.deserialize(keras.optimizers.serialize(theirs))
    assert type(back).__name__ == name
    assert back.get_config() == {**found, "name": theirs.name}
    there = keras.saving.deserialize_keras_object(optimizers.serialize(ours))
    assert type(there).__name__ == name
    assert there.get_config() == config


@pytest.mark.parametrize("option", [{}, *OPTIONS], ids=title)
@pytest.mark.parametrize("name", SOME)
def test_state_both_ways(name, option):
    ours, variables, theirs, weights = pair(name, option, torch.float32)
    gradients = [torch.full(shape, 0.1) for shape in SHAPES]
    for _ in range(2):
        theirs.apply(gradients, weights)
    values = [np.array(variable) for variable in theirs.variables]
    assert [variable.shape for variable in ours.variables] == [value.shape for value in values]
    ours.set_weights(values)
    for variable, weight in zip(variables, weights):
        variable.assign(np.array(weight))
    for _ in range(3):
        ours.apply(gradients, variables)
        theirs.apply(gradients, weights)
    for variable, weight in zip(variables, weights):
        np.testing.assert_allclose(variable.numpy(), np.array(weight), rtol=2e-5, atol=1e-6)
    for variable, other in zip(ours.variables, theirs.variables):
        np.testing.assert_allclose(variable.numpy(), np.array(other), rtol=1e-4, atol=1e-6)


def test_muon_leaves_embeddings_out():
    ours, variables, theirs, weights = pair("Muon", {"exclude_layers": ["w2"]}, torch.float32)
    found = [ours._should_use_adamw(variable) for variable in variables]
    assert found == [theirs._should_use_adamw(weight) for weight in weights]
    assert found == [False, True, True, True, True]
    owner = torch.nn.Module()
    owner.weight, owner.path = torch.nn.Parameter(torch.ones(3, 2)), "model/embedding"
    assert ours._should_use_adamw(Variable.of(owner, Weight("embeddings", "weight")))


def test_muon_on_tall_wide_and_square_matrices():
    for shape in [(7, 3), (3, 7), (4, 4)]:
        ours, variables, theirs, weights = pair("Muon", {}, torch.float64, [shape])
        gradient = torch.tensor(np.random.default_rng(2).standard_normal(shape))
        for _ in range(5):
            ours.apply([gradient], variables)
            theirs.apply([gradient], weights)
        np.testing.assert_allclose(variables[0].numpy(), np.array(weights[0]), rtol=1e-7)


SCHEDULES = [
    ("ExponentialDecay", (0.1, 30, 0.7)),
    ("ExponentialDecay", (0.1, 30, 0.7, True)),
    ("InverseTimeDecay", (0.1, 25, 0.5)),
    ("InverseTimeDecay", (0.1, 25, 0.5, True)),
    ("PolynomialDecay", (0.1, 50, 0.01)),
    ("PolynomialDecay", (0.1, 50, 0.01, 2.0)),
    ("PolynomialDecay", (0.1, 50, 0.01, 0.5, True)),
    ("PiecewiseConstantDecay", ([20, 70], [0.1, 0.05, 0.01])),
    ("PiecewiseConstantDecay", ([20.5], [1.0, 2.0])),
    ("CosineDecay", (0.1, 90)),
    ("CosineDecay", (0.1, 90, 0.1)),
    ("CosineDecay", (0.01, 90, 0.1, "warm", 0.2, 25)),
    ("CosineDecay", (0.01, 90, 0.1, "cold", 0.2)),
    ("CosineDecayRestarts", (0.1, 20)),
    ("CosineDecayRestarts", (0.1, 20, 1.0, 0.9)),
    ("CosineDecayRestarts", (0.1, 20, 1.5, 0.9, 0.05)),
]


@pytest.mark.parametrize(("name", "arguments"), SCHEDULES, ids=title)
def test_schedules_over_two_hundred_steps(name, arguments):
    ours = getattr(schedules, name)(*arguments)
    theirs = getattr(keras.optimizers.schedules, name)(*arguments)
    found = [float(ours(torch.tensor(step, dtype=torch.int32))) for step in range(200)]
    expected = [float(theirs(step)) for step in range(200)]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(float(ours(7)), expected[7], rtol=1e-6)
    assert ours.get_config() == theirs.get_config()
    back = schedules.deserialize(keras.optimizers.schedules.serialize(theirs))
    assert type(back) is type(ours)
    assert back.get_config() == theirs.get_config()
    there = keras.optimizers.schedules.deserialize(schedules.serialize(ours))
    assert there.get_config() == theirs.get_config()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ExponentialDecay", (0.1, 0, 0.5)),
        ("InverseTimeDecay", (0.1, -1, 0.5)),
        ("PolynomialDecay", (0.1, 0)),
        ("CosineDecay", (0.1, 0)),
        ("CosineDecayRestarts", (0.1, 0)),
        ("PiecewiseConstantDecay", ([1, 2], [0.1, 0.2])),
    ],
)
def test_schedules_that_make_no_sense(name, arguments):
    for library in (schedules, keras.optimizers.schedules):
        with pytest.raises(ValueError):
            getattr(library, name)(*arguments)


def test_multi_optimizer():
    def make(library):
        return library.MultiOptimizer(
            library.OptimizerMap(
                library.SGD(0.1), {".*w[02]": library.Adam(0.01), ".*w1": library.Lion(0.01)}
            ),
            loss_scale_factor=4.0,
        )

    _, variables, _, weights = pair("SGD", {}, torch.float64)
    ours, theirs = make(optimizers), make(keras.optimizers)
    ours.build(variables)
    theirs.build(weights)
    random = np.random.default_rng(0)
    for _ in range(20):
        gradients = [torch.tensor(random.standard_normal(shape)) for shape in SHAPES]
        ours.apply(gradients)
        theirs.apply(gradients)
    for variable, weight in zip(variables, weights):
        np.testing.assert_allclose(variable.numpy(), np.array(weight), rtol=1e-6)
    assert [v.shape for v in ours.variables] == [v.shape for v in theirs.variables]
    assert [type(one).__name__ for one in ours.optimizers] == ["Adam", "Lion", "SGD"]
    back = optimizers.deserialize(keras.optimizers.serialize(theirs))
    assert [one.get_config()["learning_rate"] for one in back.optimizers] == pytest.approx(
        [0.01, 0.01, 0.1]
    )
    there = keras.optimizers.deserialize(optimizers.serialize(ours))
    assert there.get_config()["loss_scale_factor"] == 4.0
    assert len(there.optimizers) == 3
    assert float(ours.scale_loss(torch.tensor(0.5))) == float(theirs.scale_loss(0.5)) == 2.0
