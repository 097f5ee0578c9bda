"""Merging layers: what fits, what is refused and with which words, masks, symbolic inputs."""

import copy
import pickle

import pytest
import torch

from torchkeras import layers
from torchkeras.layers import (
    Add,
    Average,
    Concatenate,
    Dot,
    Input,
    Masking,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
)
from torchkeras.layers.merging import MergeLayer

ALL = [Add, Subtract, Multiply, Average, Maximum, Minimum, Concatenate, lambda **k: Dot(-1, **k)]
EACH = pytest.mark.parametrize(
    "make", ALL, ids="add subtract multiply average maximum minimum concatenate dot".split()
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("add", [[5.0, 7.0]]),
        ("subtract", [[-3.0, -3.0]]),
        ("multiply", [[4.0, 10.0]]),
        ("average", [[2.5, 3.5]]),
        ("maximum", [[4.0, 5.0]]),
        ("minimum", [[1.0, 2.0]]),
        ("concatenate", [[1.0, 2.0, 4.0, 5.0]]),
        ("dot", [[14.0]]),
    ],
)
def test_the_functions(name, expected):
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 5.0]])
    assert torch.equal(getattr(layers, name)([a, b]), torch.tensor(expected))


def test_functions_take_their_layers_arguments():
    a, b = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    assert layers.concatenate([a, b], axis=1).shape == (2, 8, 4)
    assert layers.dot([a, b], axes=2, normalize=True).abs().max() <= 1 + 1e-6
    with pytest.raises(ValueError, match="axes"):
        layers.concatenate([a, b], axes=1)


def test_lists_tuples_arrays_and_doubles():
    a = torch.ones(2, 3)
    assert torch.equal(Add()((a, a)), 2 * a)
    assert torch.equal(Add()([a.numpy(), a.double()]), 2 * a)
    assert Add()([a.double(), a.double()]).dtype is torch.float32
    assert Add(dtype="float64")([a, a]).dtype is torch.float64
    assert Maximum()([a.long(), a.long()]).dtype is torch.int64


def test_a_built_layer_takes_other_shapes():
    layer = Add()
    assert layer([torch.ones(2, 3), torch.ones(2, 3)]).shape == (2, 3)
    assert layer([torch.ones(5, 2, 4), torch.ones(5, 4)]).shape == (5, 2, 4)


# ------------------------------------------------------------------------------------ bad input


@EACH
def test_not_a_list(make):
    layer = make(name="joint")
    with pytest.raises(ValueError, match=r"'joint' takes a list of .*\(2, 3\)"):
        layer(torch.ones(2, 3))
    with pytest.raises(ValueError, match="'joint' takes a list"):
        layer.compute_output_shape((2, 3))
    layer([torch.ones(2, 3), torch.ones(2, 3)])
    with pytest.raises(ValueError, match="'joint' takes a list"):
        layer(torch.ones(2, 3))


@EACH
def test_no_input(make):
    with pytest.raises(ValueError, match="takes a list of .*received 0"):
        make().build([])


@pytest.mark.parametrize("make", [Subtract, lambda: Dot(-1)])
@pytest.mark.parametrize("count", [1, 3])
def test_subtract_and_dot_take_two(make, count):
    with pytest.raises(ValueError, match=f"a list of 2 inputs.*received {count}"):
        make()([torch.ones(2, 3)] * count)


@EACH
@pytest.mark.parametrize("built", [False, True])
def test_other_batch_sizes(make, built):
    layer = make(name="joint")
    if built:
        layer.build([(None, 3), (None, 3)])
    if built and isinstance(layer, MergeLayer) and type(layer) not in (Concatenate, Dot):
        pattern = r"'joint'.*\(2, 3\), \(4, 3\): their batch sizes differ"
    elif type(layer) is Concatenate:
        pattern = r"'joint'.*\(2, 3\), \(4, 3\): axis 0 differs"
    else:
        pattern = r"'joint'.*\(2, 3\), \(4, 3\)"
    with pytest.raises(ValueError, match=pattern):
        layer([torch.ones(2, 3), torch.ones(4, 3)])


@pytest.mark.parametrize("make", ALL[:6])
@pytest.mark.parametrize("built", [False, True])
def test_shapes_that_do_not_fit(make, built):
    layer = make(name="joint")
    if built:
        layer.build([(None, None), (None, None)])
    with pytest.raises(ValueError, match=r"'joint'.*\(2, 3\), \(2, 4\): 3 and 4 do not fit"):
        layer([torch.ones(2, 3), torch.ones(2, 4)])
    with pytest.raises(ValueError, match=r"\(None, 3\), \(None, 4\)"):
        layer.compute_output_shape([(None, 3), (None, 4)])


def test_a_number_has_no_batch():
    with pytest.raises(ValueError, match="batch axis"):
        Add()([torch.tensor(1.0), torch.ones(2)])


@pytest.mark.parametrize(
    ("axis", "shapes", "why"),
    [
        (-1, [(2, 3), (2, 3, 4)], "their ranks differ"),
        (2, [(2, 3), (2, 3)], "they have no axis 2"),
        (-3, [(2, 3), (2, 3)], "they have no axis -3"),
        (-1, [(2, 3, 4), (2, 5, 4)], "axis 1 differs"),
        (1, [(2, 3, 4), (2, 5, 6)], "axis 2 differs"),
    ],
)
def test_concatenate_refuses(axis, shapes, why):
    layer = Concatenate(axis=axis, name="joint")
    with pytest.raises(ValueError, match=f"'joint' .*{why}"):
        layer([torch.ones(shape) for shape in shapes])
    with pytest.raises(ValueError, match=why):
        layer.compute_output_shape(shapes)


@pytest.mark.parametrize("axis", [None, "1", 1.0, True, (1,)])
def test_concatenate_axis_must_be_an_integer(axis):
    with pytest.raises(ValueError, match="axis must be an integer"):
        Concatenate(axis=axis)


@pytest.mark.parametrize(
    ("axes", "shapes", "why"),
    [
        (0, [(2, 3), (2, 3)], "behind the batch"),
        (2, [(2, 3), (2, 3)], "behind the batch"),
        ((1, -3), [(2, 3), (2, 3)], "behind the batch"),
        (1, [(2, 3), (2, 4)], "sizes along axes=1 differ"),
        (1, [(2,), (2, 4)], "behind the batch"),
    ],
)
def test_dot_refuses(axes, shapes, why):
    layer = Dot(axes, name="joint")
    with pytest.raises(ValueError, match=f"'joint' .*{why}"):
        layer([torch.ones(shape) for shape in shapes])
    with pytest.raises(ValueError, match=why):
        layer.compute_output_shape(shapes)


@pytest.mark.parametrize("axes", ["1", None, 1.5, True])
def test_dot_axes_must_be_integers(axes):
    with pytest.raises(TypeError, match="axes must be an integer or two"):
        Dot(axes)


@pytest.mark.parametrize("axes", [(1,), (1, 2, 3), ("a", 1), [[1], [1]]])
def test_dot_axes_must_be_two(axes):
    with pytest.raises(ValueError, match="axes must be an integer or two"):
        Dot(axes)


def test_dot_of_sizes_that_are_not_known_yet():
    layer = Dot(1)
    layer.build([(None, None), (None, 5)])
    assert layer([torch.ones(2, 5), torch.ones(2, 5)]).tolist() == [[5.0], [5.0]]


def test_a_failing_mask_names_layer_and_shapes():
    mask = [torch.ones(2, 4, dtype=torch.bool)] * 2
    for make in (Multiply, Maximum):
        with pytest.raises(ValueError, match=r"'joint': a mask of shape .*\(2, 3, 5\)"):
            make(name="joint")([torch.ones(2, 3, 5)] * 2, mask=mask)
    with pytest.raises(ValueError, match="a mask, or None, for each input"):
        Add().compute_mask([torch.ones(2, 3)] * 2, [None])


# ------------------------------------------------------------------------------------------ masks


def test_masked_places_count_as_one_in_a_product():
    a = Masking()(torch.tensor([[[2.0], [0.0], [0.0]]]))
    b = Masking()(torch.tensor([[[3.0], [4.0], [0.0]]]))
    product = Multiply()([a, b])
    assert product.flatten().tolist() == [6.0, 4.0, 0.0]
    assert product._keras_mask.tolist() == [[True, True, False]]


def test_masked_places_lose_a_maximum():
    a = Masking()(torch.tensor([[[-2.0], [0.0]]]))
    b = Masking(mask_value=-9.0)(torch.tensor([[[-3.0], [-4.0]]]))
    assert Maximum()([a, b]).flatten().tolist() == [-2.0, -4.0]
    assert Minimum()([a, b]).flatten().tolist() == [-3.0, -4.0]


def test_masks_of_inputs_of_other_ranks():
    # Keras fails here: it joins masks of other ranks as they are.
    mask = Add().compute_mask(
        [torch.ones(2, 5), torch.ones(2, 3, 5)],
        [torch.tensor([True, False]), torch.zeros(2, 3, dtype=torch.bool)],
    )
    assert mask.tolist() == [[True] * 3, [False] * 3]


def test_one_input_keeps_the_callers_tensor_unmarked():
    x = torch.tensor([[[1.0], [0.0]]])
    masked = Masking()(x)
    out = Add()([masked])
    assert torch.equal(out, masked) and out._keras_mask.tolist() == [[True, False]]
    assert not hasattr(x, "_keras_mask")


# --------------------------------------------------------------------- symbolic inputs, own merges


def test_symbolic_inputs():
    a, b = Input((3, 5)), Input((5,))
    assert layers.add([a, b]).shape == (None, 3, 5)
    assert layers.concatenate([a, a], axis=1).shape == (None, 6, 5)
    assert layers.dot([a, b], axes=(2, 1)).shape == (None, 3)
    with pytest.raises(ValueError, match=r"'joint'.*\(None, 3, 5\), \(None, 4\)"):
        Add(name="joint")([a, Input((4,))])


def test_a_merge_of_ones_own():
    class First(MergeLayer):
        def _merge_function(self, inputs):
            return inputs[0] + 0 * sum(inputs[1:])

    a, b = torch.randn(2, 5), torch.randn(2, 3, 5)
    assert First()([a, b]).shape == (2, 3, 5)
    assert First().compute_output_shape([(None, 5), (None, 3, 5)]) == (None, 3, 5)
    with pytest.raises(TypeError, match="Nothing defines no _merge_function"):
        type("Nothing", (MergeLayer,), {})()([a, a])


@EACH
def test_copies_and_pickles(make):
    layer = make()
    inputs = [torch.randn(2, 3), torch.randn(2, 3)]
    expected = layer(inputs)
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(again(inputs), expected)
        assert again.get_config() == layer.get_config()


def test_merges_are_exported_by_torch():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.add, self.join, self.dot = Add(), Concatenate(axis=1), Dot((1, 2))
            inputs = [torch.ones(2, 3, 4), torch.ones(2, 3, 4)]
            self.add(inputs), self.join(inputs), self.dot([inputs[0], torch.ones(2, 3, 3)])

        def forward(self, x, y):
            return self.dot([self.add([x, y]), self.join([x, y]).movedim(1, 2)[:, :, :3]])

    net = Net()
    args = torch.randn(2, 3, 3), torch.randn(2, 3, 3)
    exported = torch.export.export(net, args, strict=False).module()
    assert torch.equal(exported(*args), net(*args))
