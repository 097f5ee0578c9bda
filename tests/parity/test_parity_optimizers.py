"""Optimizers against Keras 3: trajectories, single steps, clipping, decay, configs."""

import types

import keras
import numpy as np
import pytest
import torch

from torchkeras import optimizers
from torchkeras.variable import TRANSPOSE, Variable, Weight

SHAPES = [(8, 12), (12,), (12, 1), (1,)]
CASES = [
    ("SGD", {}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"momentum": 0.5, "clipvalue": 0.5}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "rho": 0.8}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.5, "epsilon": 1e-5}),
    ("Adam", {}),
    ("Adam", {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.1, "amsgrad": True}),
    ("Adagrad", {}),
    ("Adagrad", {"initial_accumulator_value": 0.0}),
    ("Adadelta", {}),
    ("Adadelta", {"learning_rate": 1.0, "rho": 0.9}),
    ("Adamax", {}),
    ("Nadam", {}),
    ("Nadam", {"beta_1": 0.8, "learning_rate": 0.01}),
]
CLIPPED = [
    (name, {option: limit})
    for name in ("SGD", "Adam")
    for option in ("clipnorm", "clipvalue", "global_clipnorm")
    for limit in (0.03, 0.3)
]
SCALES = (1e-2, 1e-4, 1e-6)


def names(cases):
    return ["-".join([name, *(f"{k}={v}" for k, v in options.items())]) for name, options in cases]


def pair(name, options, starts, dtype):
    """Return torchkeras' optimizer and parameters, and Keras' optimizer and variables."""
    ours = getattr(optimizers, name)(**options)
    parameters = [torch.nn.Parameter(torch.tensor(start, dtype=dtype)) for start in starts]
    ours.build(parameters)
    theirs = getattr(keras.optimizers, name)(**options)
    kind = str(dtype).removeprefix("torch.")
    variables = [keras.Variable(start.astype(kind), dtype=kind) for start in starts]
    theirs.build(variables)
    assert keras.backend.backend() == "torch"
    return ours, parameters, theirs, variables


def assert_same_changes(parameters, variables, starts, dtype):
    for parameter, variable, start in zip(parameters, variables, starts):
        start = start.astype(str(dtype).removeprefix("torch.")).astype("float64")
        expected = keras.ops.convert_to_numpy(variable.value).astype("float64") - start
        found = parameter.detach().numpy().astype("float64") - start
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def run(name, options, scale, starts, dtype, steps=20, change_rate=True):
    random = np.random.default_rng(0)
    ours, parameters, theirs, variables = pair(name, options, starts, dtype)
    for step in range(steps):
        gradients = [
            torch.tensor(scale * random.standard_normal(shape), dtype=dtype) for shape in SHAPES
        ]
        if change_rate and step == steps // 2:
            ours.learning_rate = theirs.learning_rate = float(ours.learning_rate) * 0.3
        ours.update(gradients)
        theirs.apply(gradients, variables)
    assert int(ours.iterations) == int(theirs.iterations) == steps
    assert_same_changes(parameters, variables, starts, dtype)


def zeros():
    return [np.zeros(shape) for shape in SHAPES]


def normals():
    random = np.random.default_rng(1)
    return [random.standard_normal(shape) for shape in SHAPES]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "options"), CASES, ids=names(CASES))
def test_twenty_steps_from_zero(name, options, scale):
    run(name, options, scale, zeros(), torch.float32)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "options"), CASES, ids=names(CASES))
def test_twenty_steps_in_float64_with_weight_decay(name, options, scale):
    run(name, {"weight_decay": 0.01, **options}, scale, normals(), torch.float64)


@pytest.mark.parametrize("scale", (1e-2, 1e-3, 1e-4, 1e-5, 1e-6))
@pytest.mark.parametrize(("name", "options"), CASES, ids=names(CASES))
def test_single_step(name, options, scale):
    run(name, options, scale, zeros(), torch.float32, steps=1, change_rate=False)


@pytest.mark.parametrize(("name", "options"), CLIPPED, ids=names(CLIPPED))
@pytest.mark.parametrize("scale", (1.0, 1e-2))
def test_clipping(name, options, scale):
    run(name, options, scale, zeros(), torch.float32)


@pytest.mark.parametrize("option", ["clipnorm", "clipvalue", "global_clipnorm"])
@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_clipping_of_infinite_and_nan_gradients(option, bad):
    ours, parameters, theirs, variables = pair("SGD", {option: 0.5}, zeros(), torch.float32)
    gradients = [torch.ones(shape) for shape in SHAPES]
    gradients[1][3] = bad
    ours.update(gradients)
    theirs.apply(gradients, variables)
    for parameter, variable in zip(parameters, variables):
        expected = keras.ops.convert_to_numpy(variable.value)
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [("AdamW", {"weight_decay": 0.1}), ("SGD", {"weight_decay": 0.5, "momentum": 0.9})],
)
def test_weight_decay_leaves_out_what_is_excluded(name, options):
    starts = normals()
    ours = getattr(optimizers, name)(**options)
    theirs = getattr(keras.optimizers, name)(**options)
    parameters = [torch.nn.Parameter(torch.tensor(start)) for start in starts]
    variables = [keras.Variable(start, dtype="float64") for start in starts]
    ours.exclude_from_weight_decay(var_list=[parameters[1]])
    theirs.exclude_from_weight_decay(var_list=[variables[1]])
    gradients = [torch.full(shape, 1e-3, dtype=torch.float64) for shape in SHAPES]
    for _ in range(3):
        ours.apply(gradients, parameters)
        theirs.apply(gradients, variables)
    assert_same_changes(parameters, variables, starts, torch.float64)


@pytest.mark.parametrize(("name", "options"), CASES, ids=names(CASES))
def test_missing_gradients_leave_weight_and_state_alone(name, options):
    starts = zeros()
    ours, parameters, theirs, variables = pair(name, options, starts, torch.float32)
    random = np.random.default_rng(2)
    for step in range(6):
        gradients = [
            torch.tensor(random.standard_normal(shape), dtype=torch.float32) for shape in SHAPES
        ]
        gradients[step % 3] = None
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            theirs.apply(gradients, variables)
        if step < 3:
            with pytest.warns(UserWarning, match="Gradients do not exist"):
                ours.update(gradients)
        else:
            ours.update(gradients)
    assert_same_changes(parameters, variables, starts, torch.float32)


@pytest.mark.parametrize(("name", "options"), CASES + CLIPPED, ids=names(CASES + CLIPPED))
def test_config_is_keras(name, options):
    options = {**options, "name": "mine"}
    ours = getattr(optimizers, name)(**options).get_config()
    theirs = getattr(keras.optimizers, name)(**options).get_config()
    assert list(ours.items()) == list(theirs.items())


@pytest.mark.parametrize(("name", "options"), CASES, ids=names(CASES))
def test_each_reads_the_other_s_config(name, options):
    theirs = getattr(keras.optimizers, name)(**options)
    ours = optimizers.deserialize(keras.optimizers.serialize(theirs))
    assert type(ours) is getattr(optimizers, name)
    assert ours.get_config() == theirs.get_config()
    back = keras.optimizers.deserialize(optimizers.serialize(ours))
    assert isinstance(back, getattr(keras.optimizers, name))
    assert back.get_config() == theirs.get_config()


@pytest.mark.parametrize(("name", "options"), CASES, ids=names(CASES))
def test_variables_come_in_keras_order(name, options):
    starts = normals()
    ours, parameters, theirs, variables = pair(name, options, starts, torch.float32)
    gradients = [torch.full(shape, 1e-2) for shape in SHAPES]
    ours.update(gradients)
    theirs.apply(gradients, variables)
    found, expected = ours.get_weights(), [variable.numpy() for variable in theirs.variables]
    assert [value.shape for value in found] == [value.shape for value in expected]
    for value, other in zip(found, expected):
        np.testing.assert_allclose(value, other, rtol=1e-6)


def test_state_is_named_and_laid_out_as_in_keras():
    theirs = keras.optimizers.Adam(name="mine")
    kernel = keras.Variable(np.zeros((2, 3)), name="kernel")
    theirs.build([kernel])
    owner = types.SimpleNamespace(weight=torch.nn.Parameter(torch.zeros(3, 2)), trainable=True)
    ours = optimizers.Adam(name="mine")
    variable = Variable.of(owner, Weight("kernel", "weight", TRANSPOSE))
    ours.build([variable])
    gradient = torch.arange(6.0).reshape(2, 3)
    ours.apply([gradient], [variable])
    theirs.apply([gradient], [kernel])
    assert [v.path for v in ours.variables] == [v.path for v in theirs.variables]
    for found, expected in zip(ours.variables, theirs.variables):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)
