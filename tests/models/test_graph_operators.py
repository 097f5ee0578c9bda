"""Operators between symbolic tensors and real ones, Variables and arrays."""

import operator

import keras as real_keras
import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import KerasTensor, backend as K, ops
from torchkeras.graph.operation import KERAS_NAMES
from torchkeras.variable import Variable

ARITHMETIC = "add sub mul truediv floordiv mod pow".split()
COMPARISONS = "lt le gt ge eq ne".split()
NUMBERS = np.array([1.0, 2.0, 4.0], "float32")
OTHERS = {
    "tensor": torch.tensor(NUMBERS),
    "variable": Variable(NUMBERS, trainable=False),
    "array": NUMBERS,
    "number": np.float32(2.0),
}


@pytest.mark.parametrize("name", ARITHMETIC + COMPARISONS)
@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_real_may_stand_on_the_left(name, kind):
    function, other = getattr(operator, name), OTHERS[kind]
    if name == "eq" and kind in ("array", "number"):
        assert (other == KerasTensor((None, 3))) is False  # as for two symbolic tensors
        return
    wanted = "bool" if name in COMPARISONS else "float32"
    for shape, broad in (((None, 3), (None, 3)), ((None, None), (None, 3)), ((None, 1), (None, 3))):
        found = function(other, KerasTensor(shape))
        assert found.dtype == wanted
        if np.ndim(getattr(other, "value", other)):
            assert found.shape == broad
    x = torchkeras.Input((3,))
    model = torchkeras.Model(x, function(other, x))
    given = torch.tensor([[3.0, 2.0, 0.5]])
    expected = function(torch.as_tensor(getattr(other, "value", other)), given)
    for one in (model, torchkeras.Model.from_config(model.get_config())):
        assert torch.equal(one(given), expected)


@pytest.mark.parametrize("name", [name for name in ARITHMETIC + COMPARISONS if name != "eq"])
def test_arrays_may_stand_on_the_right(name):
    function, x = getattr(operator, name), torchkeras.Input((3,))
    given = torch.tensor([[3.0, 2.0, 0.5]])
    found = torchkeras.Model(x, function(x, NUMBERS))(given)
    assert torch.equal(found, function(given, torch.tensor(NUMBERS)))


@pytest.mark.parametrize("name", "and_ or_ xor".split())
def test_booleans(name):
    function, other = getattr(operator, name), torch.tensor([True, False])
    x = torchkeras.Input((2,), dtype="bool")
    found = function(other, x)
    assert (found.shape, found.dtype) == ((None, 2), "bool")
    given = torch.tensor([[True, True], [False, False]])
    assert torch.equal(torchkeras.Model(x, found)(given), function(other, given))


def test_products_of_matrices():
    x = torchkeras.Input((2,))
    model = torchkeras.Model(x, torch.ones(4, 3) @ torch.ones(3, 2) @ ops.transpose(x))
    assert model.output_shape == (4, None)
    assert model(torch.tensor([[1.0, 2.0]])).tolist() == [[9.0]] * 4


def test_a_variable_and_a_tensor_of_unknown_sizes():
    weight = K.variable([[1.0, 2.0]])
    assert (K.square(weight) + K.placeholder(ndim=2)).shape == (None, 2)
    assert (torch.ones(3) + KerasTensor((None, None))).shape == (None, 3)
    assert torch.add(KerasTensor((None, None)), torch.ones(3)).shape == (None, 3)
    with pytest.raises(ValueError, match="'add.*cannot be called on .*do not fit each other"):
        torch.ones(3) + KerasTensor((None, 4))


def test_they_are_written_as_keras_writes_operators():
    x = torchkeras.Input((3,))
    model = torchkeras.Model(x, torch.tensor(NUMBERS) * x - 1.0)
    names = [layer["class_name"] for layer in model.get_config()["layers"]]
    assert names == ["InputLayer", "Multiply", "Subtract"]
    theirs = real_keras.models.model_from_json(model.to_json())
    given = torch.ones(2, 3)
    np.testing.assert_array_equal(theirs(given), model(given))


def test_arguments_of_methods_are_kept():
    x = torchkeras.Input((3,))
    found = torch.add(x, torch.ones(3), alpha=2)
    assert torchkeras.Model(x, found)(torch.ones(1, 3)).tolist() == [[3.0] * 3]
    rounded = torch.div(x, torch.full((3,), 2.0), rounding_mode="floor")
    assert torchkeras.Model(x, rounded)(torch.full((1, 3), 5.0)).tolist() == [[2.0] * 3]


@pytest.mark.parametrize("name", ["add", "equal", "not_equal", "less", "multiply", "power"])
def test_lists_beside_a_symbolic_tensor_are_read_from_a_config(name):
    x = torchkeras.Input((2,))
    model = torchkeras.Model(x, getattr(ops, name)(x, [1.0, 2.0]))
    again = torchkeras.Model.from_config(model.get_config())
    given = torch.tensor([[1.0, 3.0]])
    assert torch.equal(again(given), model(given))


def test_each_operator_has_a_class_of_keras():
    for name in set(KERAS_NAMES.values()) - {"GetItem"}:
        assert hasattr(real_keras.src.ops.numpy, name)
        assert ops.table.operation_named("keras.src.ops.numpy", name)
