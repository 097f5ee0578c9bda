import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from torchkeras import activations, eras, layers, registry
from torchkeras.variable import Variable

VALUES = torch.tensor([[-4.0, -1.0, 0.0], [1.0, 2.6, 4.0]])


class Owner:
    path = "owner"

    def __init__(self):
        self.weight = torch.nn.Parameter(VALUES.clone())


def test_relu_bounds_and_slope():
    got = activations.relu(VALUES, negative_slope=0.5, max_value=3.0, threshold=1.5)
    assert got.tolist() == [[-2.75, -1.25, -0.75], [-0.25, pytest.approx(2.6), 3.0]]


def test_softmax_over_two_axes_counts_from_either_end():
    x = torch.arange(24.0).reshape(2, 3, 4)
    expected = torch.softmax(x.reshape(2, 12), -1).reshape(2, 3, 4)
    for axis in ((1, 2), (-1, -2), [2, 1], (-2, 2)):
        torch.testing.assert_close(activations.softmax(x, axis), expected)
    middle = activations.softmax(x, (0, 2))
    torch.testing.assert_close(middle.sum((0, 2)), torch.ones(3))


def test_softmax_of_one_entry_warns():
    with pytest.warns(UserWarning, match="one entry.*sigmoid"):
        got = activations.softmax(torch.zeros(3, 1))
    assert got.tolist() == [[1.0]] * 3


def test_sparsemax_is_the_projection_on_the_simplex():
    got = activations.sparsemax(torch.tensor([[0.0, 0.5, 1.0], [0.1, 0.1, 0.1], [3.0, 0.0, 1.0]]))
    expected = torch.tensor([[0.0, 0.25, 0.75], [1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(got, expected)
    x = torch.randn(50, 7, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(activations.sparsemax(x.T, 0).T, activations.sparsemax(x))
    torch.testing.assert_close(activations.sparsemax(x).sum(-1), torch.ones(50, dtype=x.dtype))
    assert torch.autograd.gradcheck(activations.sparsemax, x)


def test_linear_gives_back_what_it_got():
    assert activations.linear(VALUES) is VALUES


def test_variables_are_read_and_carry_gradients():
    owner = Owner()
    variable = Variable.of(owner, "weight")
    got = activations.tanh(variable)
    torch.testing.assert_close(got, torch.tanh(VALUES))
    got.sum().backward()
    torch.testing.assert_close(owner.weight.grad, 1 - torch.tanh(VALUES) ** 2)


def test_arrays_are_not_written_to():
    x = np.array([-1.0, 1.0])
    assert activations.linear(activations.relu(x)).tolist() == [0.0, 1.0]
    assert x.tolist() == [-1.0, 1.0]


# ------------------------------------------------------------------------------------- look-up


def test_none_is_linear():
    assert activations.get(None) is activations.linear


def test_torch_modules_and_their_classes():
    module = torch.nn.PReLU()
    assert activations.get(module) is module
    assert isinstance(activations.get(torch.nn.SiLU), torch.nn.SiLU)
    assert activations.get(torch.tanh) is torch.tanh


def test_unknown_names_raise_with_the_nearest():
    with pytest.raises(ValueError, match="Unknown activation 'sigmiod'. Did you mean 'sigmoid'"):
        activations.get("sigmiod")
    with pytest.raises(ValueError, match="Unknown activation 'sofmax'"):
        activations.deserialize("sofmax")


@pytest.mark.parametrize("identifier", [3, 0.5, [1]])
def test_what_is_no_activation_raises(identifier):
    with pytest.raises(ValueError, match="a name, a config dictionary, a callable"):
        activations.get(identifier)


def test_custom_objects():
    def double(x):
        return 2 * x

    with registry.custom_object_scope({"double": double}):
        assert activations.get("double") is double
        assert activations.deserialize(activations.serialize(double)) is double
    assert activations.get("double", {"double": double}) is double
    with pytest.raises(ValueError, match="double"):
        activations.get("double")


def test_a_layer_may_serve_as_activation():
    layer = layers.Activation("relu", name="steps")
    again = activations.get(activations.serialize(layer))
    assert type(again) is layers.Activation
    assert again.get_config() == layer.get_config()


@pytest.mark.parametrize("name", ["relu", "hard_sigmoid", "swish", "log_softmax"])
def test_copies_and_pickles(name):
    function = activations.get(name)
    assert copy.deepcopy(function) is function
    assert pickle.loads(pickle.dumps(function)) is function


# --------------------------------------------------------------------------------------- eras


@pytest.mark.parametrize("era", ["1", "2", "tf2"])
def test_hard_sigmoid_was_steeper(era):
    x = torch.tensor([-3.0, -2.0, 0.0, 1.0, 2.6])
    steep = [0.0, pytest.approx(0.1), 0.5, pytest.approx(0.7), 1.0]
    assert activations.hard_sigmoid(x).tolist() != steep
    with eras.using(era):
        assert activations.hard_sigmoid(x).tolist() == steep
        found = activations.get("hard_sigmoid")
    # A model made in that era keeps its formula, and its config says the same name.
    assert found(x).tolist() == steep
    assert activations.serialize(found) == "hard_sigmoid"
    assert pickle.loads(pickle.dumps(found)) is found
    assert activations.get("hard_sigmoid") is activations.hard_sigmoid


@pytest.mark.slow
def test_the_compiler_takes_every_activation_in_one_piece():
    x = torch.randn(4, 6)
    for name in sorted(set(registry.known("activation")) - {"threshold"}):
        function = activations.get(name)
        compiled = torch.compile(function, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), function(x))
    single = torch.compile(activations.softmax, backend="eager", fullgraph=True)
    assert single(torch.zeros(2, 1)).tolist() == [[1.0], [1.0]]


def test_nothing_here_imports_the_compiler():
    code = (
        "import sys, torch\n"
        "from torchkeras import activations, constraints, initializers, regularizers\n"
        "x = initializers.get('orthogonal')((4, 4))\n"
        "for name in ('relu', 'mish', 'softmax', 'sparsemax', 'hard_sigmoid'):\n"
        "    activations.get(name)(x.clone().requires_grad_()).sum().backward()\n"
        "constraints.MaxNorm()(x), regularizers.OrthogonalRegularizer()(x)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
