import math
import pickle

import numpy as np
import pytest
import torch

from torchkeras import eras, regularizers
from torchkeras.variable import TRANSPOSE, Variable, Weight

MATRIX = torch.tensor([[1.0, -2.0], [0.0, 3.0]])


class Owner:
    path = "owner"

    def __init__(self):
        self.weight = torch.nn.Parameter(MATRIX.t().clone())


def test_penalties():
    assert regularizers.L1(0.5)(MATRIX).item() == 3.0
    assert regularizers.L2(0.5)(MATRIX).item() == 7.0
    assert regularizers.L1L2(0.5, 0.25)(MATRIX).item() == 6.5
    assert regularizers.L2(0.5)(MATRIX.numpy()).item() == 7.0
    assert regularizers.L1L2()(MATRIX.double()).dtype == torch.float64
    assert regularizers.Regularizer()(MATRIX) == 0.0


def test_orthogonal_penalty_is_the_mean_cosine():
    vectors = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    expected = 0.3 * (2 * math.sqrt(0.5) + 0) / 3
    assert regularizers.OrthogonalRegularizer(0.3)(vectors).item() == pytest.approx(expected)
    columns = regularizers.OrthogonalRegularizer(0.3, mode="columns")
    assert columns(vectors.t()).item() == pytest.approx(expected)


def test_orthogonal_penalty_stays_finite():
    regularizer = regularizers.OrthogonalRegularizer()
    assert regularizer(torch.ones(1, 3)).item() == 0.0
    x = torch.zeros(2, 3, requires_grad=True)
    regularizer(x).backward()
    assert x.grad.isfinite().all()


def test_a_variable_is_penalized_through_its_layout():
    owner = Owner()
    variable = Variable.of(owner, Weight("kernel", "weight", TRANSPOSE))
    penalty = regularizers.L2(0.5)(variable)
    assert penalty.item() == 7.0
    penalty.backward()
    torch.testing.assert_close(owner.weight.grad, MATRIX.t())


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "0.1", [0.1]])
def test_bad_factors(value):
    for make in (regularizers.L1, regularizers.L2, regularizers.OrthogonalRegularizer):
        with pytest.raises(ValueError, match="must be a finite number not below 0"):
            make(value)
    with pytest.raises(ValueError, match="L1L2: l2 must be"):
        regularizers.L1L2(l2=value)


def test_numpy_numbers_are_numbers():
    assert regularizers.L2(np.float32(0.5)).get_config() == {"l2": 0.5}
    assert type(regularizers.L2(np.float64(0.5)).l2) is float


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="mode must be 'rows' or 'columns'; received 'diagonal'"):
        regularizers.OrthogonalRegularizer(mode="diagonal")
    with pytest.raises(ValueError, match=r"takes a matrix; received the shape \(3,\)"):
        regularizers.OrthogonalRegularizer()(torch.ones(3))
    with pytest.raises(ValueError, match="Unrecognized keyword arguments passed to L2: 'l3'"):
        regularizers.L2(l3=0.1)


def test_look_up():
    assert regularizers.get(None) is None
    assert isinstance(regularizers.get(regularizers.L1), regularizers.L1)
    instance = regularizers.L2(0.1)
    assert regularizers.get(instance) is instance

    def mine(x):
        return x.sum()

    assert regularizers.get(mine) is mine
    with pytest.raises(ValueError, match="Unknown regularizer 'l3'. Known: L1, L1L2"):
        regularizers.get("l3")


def test_l1_l2_by_name_has_the_documented_factors():
    assert regularizers.get("l1_l2").get_config() == {"l1": 0.01, "l2": 0.01}
    assert regularizers.l1_l2().get_config() == {"l1": 0.0, "l2": 0.0}
    assert regularizers.get(regularizers.l1_l2).get_config() == {"l1": 0.0, "l2": 0.0}


@pytest.mark.parametrize("era", ["1", "2", "tf2"])
def test_l1_l2_had_defaults(era):
    with eras.using(era):
        assert regularizers.l1_l2().get_config() == {"l1": 0.01, "l2": 0.01}
        assert regularizers.l1_l2(l1=0.3).get_config() == {"l1": 0.3, "l2": 0.01}
        assert regularizers.get("l1l2").get_config() == {"l1": 0.01, "l2": 0.01}
        assert regularizers.L1L2(l2=0.1).get_config() == {"l1": 0.0, "l2": 0.1}


def test_a_subclass_without_get_config_keeps_its_arguments():
    class Cubic(regularizers.Regularizer):
        def __init__(self, factor):
            self.scaled = 2 * factor

        def __call__(self, x):
            return self.scaled * x.abs().pow(3).sum()

    config = regularizers.serialize(Cubic(0.5))
    again = regularizers.deserialize(config, {"Cubic": Cubic})
    assert again(MATRIX).item() == 36.0


@pytest.mark.parametrize("name", ["l1", "l2", "L1L2", "OrthogonalRegularizer"])
def test_pickles(name):
    made = regularizers.get(name)
    assert pickle.loads(pickle.dumps(made)).get_config() == made.get_config()
