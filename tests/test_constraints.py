import pickle

import numpy as np
import pytest
import torch

from torchkeras import constraints
from torchkeras.variable import TRANSPOSE, Variable, Weight

KERNEL = torch.tensor([[3.0, 0.3, 0.0], [-4.0, 0.4, 0.0]])


def norms(w, axis=0):
    return torch.linalg.vector_norm(w, dim=axis).tolist()


def near(*values):
    return pytest.approx(values, rel=1e-5, abs=1e-6)


def test_norms():
    assert norms(constraints.MaxNorm(2)(KERNEL)) == near(2.0, 0.5, 0.0)
    assert norms(constraints.UnitNorm()(KERNEL)) == near(1.0, 1.0, 0.0)
    assert norms(constraints.MinMaxNorm(1.0, 2.0)(KERNEL)) == near(2.0, 1.0, 0.0)
    assert norms(constraints.MinMaxNorm(1.0, 2.0, rate=0.5)(KERNEL)) == near(3.5, 0.75, 0.0)
    assert norms(constraints.UnitNorm(axis=1)(KERNEL), 1) == near(1.0, 1.0)


def test_directions_stay():
    got = constraints.MaxNorm(1)(KERNEL)
    torch.testing.assert_close(got[:, 0], torch.tensor([0.6, -0.8]))


def test_non_neg():
    assert constraints.NonNeg()(KERNEL).tolist() == torch.clamp(KERNEL, min=0).tolist()


def test_filters_of_a_convolution():
    kernel = torch.randn(3, 3, 4, 6)
    got = constraints.UnitNorm(axis=[0, 1, 2])(kernel)
    assert norms(got.reshape(-1, 6)) == near(*[1.0] * 6)


def test_base_changes_nothing():
    assert constraints.Constraint()(KERNEL) is KERNEL
    assert constraints.Constraint().get_config() == {}


def test_a_variable_is_projected_in_the_layout_of_keras():
    linear = torch.nn.Linear(2, 3)
    linear.weight.data = KERNEL.t().contiguous()
    variable = Variable.of(linear, Weight("kernel", "weight", TRANSPOSE))
    variable.assign(constraints.MaxNorm(2)(variable))
    assert norms(linear.weight, 1) == near(2.0, 0.5, 0.0)


def test_arrays():
    assert norms(constraints.UnitNorm()(np.array([[3.0], [4.0]])).cpu()) == near(1.0)


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("maxnorm", constraints.MaxNorm),
        ("max_norm", constraints.MaxNorm),
        ("nonneg", constraints.NonNeg),
        ("unitnorm", constraints.UnitNorm),
        ("min_max_norm", constraints.MinMaxNorm),
        ("MinMaxNorm", constraints.MinMaxNorm),
        ("constraint", constraints.Constraint),
    ],
)
def test_names(name, cls):
    assert type(constraints.get(name)) is cls


def test_look_up():
    assert constraints.get(None) is None
    assert constraints.maxnorm is constraints.max_norm is constraints.MaxNorm
    assert isinstance(constraints.get(constraints.NonNeg), constraints.NonNeg)
    function = torch.abs
    assert constraints.get(function) is function
    with pytest.raises(ValueError, match="Unknown constraint 'max_nrom'. Did you mean 'max_norm'"):
        constraints.get("max_nrom")
    with pytest.raises(ValueError, match="Unrecognized keyword arguments passed to MaxNorm: 'max'"):
        constraints.MaxNorm(max=2)


def test_configs_and_pickles():
    made = constraints.MinMaxNorm(0.5, 2.0, 0.7, [0, 1])
    config = {"min_value": 0.5, "max_value": 2.0, "rate": 0.7, "axis": [0, 1]}
    assert made.get_config() == config
    assert pickle.loads(pickle.dumps(made)).get_config() == config
