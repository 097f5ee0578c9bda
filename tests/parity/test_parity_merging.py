"""Merging and small core layers against Keras 3.15: outputs, gradients, shapes, masks, configs."""

import itertools
import json

import keras
import numpy as np
import pytest
import torch
from torch import nn

import torchkeras
from torchkeras import activations, layers, registry, trust

ELEMENTWISE = ["Add", "Multiply", "Average", "Maximum", "Minimum"]
# Shapes that broadcast as Keras does it: other ranks, sizes of 1, samples that are one number.
FITTING = [
    [(4, 5)],
    [(4, 5), (4, 5)],
    [(4, 5), (4, 5), (4, 5)],
    [(4, 3, 5), (4, 1, 5)],
    [(4, 3, 1), (4, 1, 5), (4, 1, 1)],
    [(4, 5), (4, 3, 5)],
    [(4, 3, 5), (4, 5), (4, 2, 3, 5)],
    [(4, 2, 3, 5), (4, 3, 1)],
    [(4,), (4, 5)],
    [(4,), (4,)],
    [(1, 5), (1, 1, 5)],
]
SYMBOLIC = [
    [(None, 5), (None, 5)],
    [(None, None, 5), (None, 1, 5)],
    [(None, None), (None, 5)],
    [(None, 5), (None, 3, 5)],
    [(4, 5), (None, 5)],
    [(4, 5), (3, 5)],
    [(None, 2, None, 5), (None, 3, 1), (None, 5)],
    [(None,), (None, 5)],
]


def pair(name, arguments=None):
    """The same layer of both."""
    arguments = arguments or {}
    return getattr(keras.layers, name)(**arguments), getattr(layers, name)(**arguments)


def arrays(shapes, dtype="float32", low=-3, high=4):
    """Small whole numbers, so that some are equal and maxima have ties."""
    generator = np.random.default_rng(7)
    return [generator.integers(low, high, shape).astype(dtype) for shape in shapes]


def outcome(layer, inputs, training=False):
    """The output of a call, and the gradient of a weighted sum of it for each input."""
    inputs = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    outputs = layer(inputs)
    weights = torch.linspace(0.5, 2, outputs.numel()).reshape(outputs.shape)
    if outputs.requires_grad:
        (outputs * weights).sum().backward()
    return outputs.detach(), [x.grad for x in inputs]


def assert_same(theirs, ours):
    """Compare two outcomes."""
    (expected, gradients), (found, own) = theirs, ours
    assert found.dtype is expected.dtype and found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    for one, other in zip(own, gradients, strict=True):
        assert (one is None) is (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shapes", FITTING, ids=str)
@pytest.mark.parametrize("name", [*ELEMENTWISE, "Subtract"])
def test_outputs_and_gradients(name, shapes):
    shapes = shapes[:2] if name == "Subtract" else shapes
    theirs, ours = pair(name)
    if name == "Subtract" and len(shapes) == 1:
        for layer in (theirs, ours):
            with pytest.raises(ValueError):
                layer(list(map(torch.tensor, arrays(shapes))))
        return
    assert_same(outcome(theirs, arrays(shapes)), outcome(ours, arrays(shapes)))
    assert ours.compute_output_shape(shapes) == theirs.compute_output_shape(shapes)
    function = getattr(layers, name.lower())
    tensors = list(map(torch.tensor, arrays(shapes)))
    assert torch.equal(function(tensors, name="given"), ours(tensors))


@pytest.mark.parametrize("dtypes", list(itertools.product(["int32", "float32", "uint8"], repeat=2)))
@pytest.mark.parametrize("name", [*ELEMENTWISE, "Subtract", "Concatenate"])
def test_dtypes(name, dtypes):
    inputs = [arrays([(4, 5)], dtype)[0] for dtype in dtypes]
    theirs, ours = pair(name)
    assert_same(outcome(theirs, inputs), outcome(ours, inputs))


@pytest.mark.parametrize("shapes", SYMBOLIC, ids=str)
def test_elementwise_shapes_with_unknown_sizes(shapes):
    theirs, ours = pair("Add")
    assert ours.compute_output_shape(shapes) == theirs.compute_output_shape(shapes)


CONCATENATE = [
    (-1, [(4, 5), (4, 3)]),
    (1, [(4, 5), (4, 3), (4, 1)]),
    (1, [(4, 2, 3), (4, 5, 3)]),
    (-2, [(4, 2, 3), (4, 5, 3)]),
    (0, [(4, 3), (2, 3)]),
    (3, [(4, 2, 3, 1), (4, 2, 3, 6)]),
    (-1, [(4, 5)]),
]


@pytest.mark.parametrize(("axis", "shapes"), CONCATENATE, ids=str)
def test_concatenate(axis, shapes):
    theirs, ours = pair("Concatenate", {"axis": axis})
    assert_same(outcome(theirs, arrays(shapes)), outcome(ours, arrays(shapes)))
    assert ours.compute_output_shape(shapes) == theirs.compute_output_shape(shapes)
    free = [(None, *shape[1:]) for shape in shapes]
    assert ours.compute_output_shape(free) == theirs.compute_output_shape(free)
    open_axis = [[None if i else s for i, s in enumerate(shape)] for shape in shapes]
    assert ours.compute_output_shape(open_axis) == theirs.compute_output_shape(open_axis)


DOT = [
    (1, [(4, 5), (4, 5)]),
    (-1, [(4, 5), (4, 5)]),
    ((1, 2), [(4, 3, 5), (4, 6, 3)]),
    ((2, 1), [(4, 3, 5), (4, 5)]),
    ((1, 2), [(4, 5), (4, 3, 5)]),
    (2, [(4, 3, 5), (4, 6, 5)]),
    (-1, [(4, 3, 5), (4, 5)]),
    ((-1, 1), [(4, 3, 5), (4, 5, 2)]),
    ((2, 3), [(4, 2, 3, 5), (4, 6, 5, 3)]),
    ((1, 1), [(4, 2, 3, 5), (4, 2)]),
    (1, [(4, 2), (4, 2, 3, 5)]),
]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("axes", "shapes"), DOT, ids=str)
def test_dot(axes, shapes, normalize):
    theirs, ours = pair("Dot", {"axes": axes, "normalize": normalize})
    given = arrays(shapes, low=1)
    assert_same(outcome(theirs, given), outcome(ours, given))
    assert ours.compute_output_shape(shapes) == theirs.compute_output_shape(shapes)
    free = [(None, *shape[1:]) for shape in shapes]
    assert ours.compute_output_shape(free) == theirs.compute_output_shape(free)


@pytest.mark.parametrize("dtypes", [("int32", "int32"), ("int32", "float32")])
@pytest.mark.parametrize("normalize", [False, True])
def test_dot_of_integers(dtypes, normalize):
    inputs = [arrays([(4, 5)], dtype, low=1)[0] for dtype in dtypes]
    theirs, ours = pair("Dot", {"axes": 1, "normalize": normalize})
    assert_same(outcome(theirs, inputs), outcome(ours, inputs))


def test_the_cosine_with_a_vector_of_zeros_is_zero():
    x = [np.zeros((2, 3), "float32"), np.ones((2, 3), "float32")]
    theirs, ours = pair("Dot", {"axes": 1, "normalize": True})
    expected, _ = outcome(theirs, x)
    found, gradients = outcome(ours, x)
    assert torch.equal(found, expected) and not found.any()
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


# ----------------------------------------------------------------------------------------- masks

MASKED = [
    [(4, 3, 5), (4, 3, 5)],
    [(4, 3, 5), (4, 3, 5), (4, 3, 5)],
    [(4, 1, 5), (4, 3, 5)],
    [(4, 3, 5), (4, 3, 1)],
    [(4, 5), (4, 5)],
    [(4, 2, 3, 5), (4, 2, 3, 5)],
]


def masked_inputs(shapes, which, package):
    """Tensors with some steps of zeros, masked by a Masking layer where ``which`` says so."""
    generator = np.random.default_rng(3)
    tensors = []
    for shape, is_masked in zip(shapes, which, strict=True):
        x = generator.integers(1, 6, shape) * generator.choice([-1, 1], shape)
        x = x * (generator.random(shape[:-1]) < 0.6)[..., None]
        x = torch.tensor(x.astype("float32"))
        tensors.append(package.Masking()(x) if is_masked else x)
    return tensors


@pytest.mark.parametrize("which", list(itertools.product([True, False], repeat=3)), ids=str)
@pytest.mark.parametrize("shapes", MASKED, ids=str)
@pytest.mark.parametrize("name", [*ELEMENTWISE, "Subtract", "Concatenate"])
def test_masks_and_masked_outputs(name, shapes, which):
    which = which[: len(shapes)]
    arguments = {}
    if name == "Subtract":
        shapes, which = shapes[:2], which[:2]
    if name == "Concatenate":
        arguments = {"axis": -1 if shapes[0][:-1] == shapes[1][:-1] else 1}
    theirs, ours = pair(name, arguments)
    expected = theirs(masked_inputs(shapes, which, keras.layers))
    found = ours(masked_inputs(shapes, which, layers))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    mask, own = (getattr(x, "_keras_mask", None) for x in (expected, found))
    assert (own is None) is (mask is None)
    assert own is None or (own.dtype is mask.dtype and torch.equal(own, mask))


@pytest.mark.parametrize("name", ["Add", "Concatenate", "Dot"])
def test_compute_mask(name):
    arguments = {"axes": -1} if name == "Dot" else {}
    theirs, ours = pair(name, arguments)
    x = [torch.ones(2, 3, 5)] * 2
    masks = [torch.tensor([[True, False, False], [True, True, False]]), torch.ones(2, 3) > 0]
    for given in (None, [None, None], [masks[0], None], [None, masks[1]], masks, masks[::-1]):
        expected, found = theirs.compute_mask(x, given), ours.compute_mask(x, given)
        assert (expected is None) is (found is None)
        assert found is None or torch.equal(found, expected)
    if name == "Dot":
        return
    for wrong in (masks[0], masks[:1]):
        for layer in (theirs, ours):
            with pytest.raises(ValueError):
                layer.compute_mask(x, wrong)


def count(x, mask=None):
    """How many steps of each sample are not masked."""
    return x[:, 0] * 0 + (9.0 if mask is None else mask.to(x.dtype).sum(1, keepdim=True))


@pytest.mark.filterwarnings("ignore:.*was passed an input with a mask")
@pytest.mark.parametrize("name", [*ELEMENTWISE, "Concatenate"])
def test_masks_go_through_a_graph(name):
    outputs = []
    for package in (keras, torchkeras):
        make = package.layers
        a, b = make.Input((3, 2)), make.Input((3, 2))
        merged = getattr(make, name)()([make.Masking()(a), make.Masking(5.0)(b)])
        normal = make.BatchNormalization()(make.Identity()(merged))
        steps = make.Lambda(count, output_shape=(4 if name == "Concatenate" else 2,))(normal)
        model = package.Model([a, b], [merged, normal, steps])
        inputs = masked_inputs([(4, 3, 2)] * 2, [False, False], make)
        outputs.append([model(inputs), model(inputs, training=True), model.get_weights()])
        assert not hasattr(inputs[0], "_keras_mask")
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mask_value", [0.0, -1, 2.5])
def test_masking(mask_value):
    x = torch.tensor(arrays([(4, 6, 2)], low=-1, high=1)[0], requires_grad=True)
    theirs, ours = pair("Masking", {"mask_value": mask_value})
    expected, found = theirs(x), ours(x)
    assert torch.equal(found, expected)
    assert torch.equal(found._keras_mask, expected._keras_mask)
    assert torch.equal(ours.compute_mask(x), theirs.compute_mask(x))
    one, other = (torch.autograd.grad(y.sum(), x)[0] for y in (found, expected))
    assert torch.equal(one, other)


SUPPORTING = [
    ("Dense", {"units": 2}),
    ("Activation", {"activation": "relu"}),
    ("Dropout", {"rate": 0.5}),
    ("BatchNormalization", {}),
    ("Flatten", {}),
    ("Reshape", {"target_shape": (2,)}),
    ("Permute", {"dims": (2, 1)}),
    ("RepeatVector", {"n": 2}),
    ("Masking", {}),
    ("Identity", {}),
    ("ActivityRegularization", {"l1": 0.1}),
    ("InputLayer", {"shape": (2,)}),
    ("Lambda", {"function": abs}),
    ("Lambda", {"function": abs, "mask": np.ones(2)}),
    ("TorchModuleWrapper", {"module": nn.Linear(2, 3)}),
    ("Add", {}),
    ("Concatenate", {}),
    ("Dot", {"axes": 1}),
]


@pytest.mark.parametrize(("name", "arguments"), SUPPORTING, ids=lambda item: str(item)[:20])
def test_which_layers_support_masks(name, arguments):
    if arguments.get("function") is abs:
        arguments = {**arguments, "function": lambda x: x}
    theirs, ours = pair(name, arguments)
    assert ours.supports_masking is theirs.supports_masking


@pytest.mark.parametrize(
    ("arguments", "shape", "mask_shape"),
    [
        ({}, (6, 4, 5), (6, 4)),
        ({"momentum": 0.7, "epsilon": 1e-2}, (6, 5), (6,)),
        ({"axis": 1}, (6, 4, 5), (6, 4)),
        ({"axis": -2, "scale": False}, (6, 4, 3, 5), (6, 4, 3)),
        ({"center": False}, (6, 2, 3), (6, 2)),
    ],
    ids=str,
)
@pytest.mark.parametrize("kept", [0.5, 0.0])
def test_batch_normalization_with_a_mask(arguments, shape, mask_shape, kept):
    theirs, ours = pair("BatchNormalization", arguments)
    generator = np.random.default_rng(0)
    x = (generator.normal(size=shape) * 2 + 1).astype("float32")
    mask = torch.tensor(generator.random(mask_shape) < kept)
    results = []
    for layer in (theirs, ours):
        layer.build(shape)
        layer.set_weights([np.linspace(0.5, 2, v.shape[0]) for v in layer.weights])
        inputs = torch.tensor(x, requires_grad=True)
        outputs = layer(inputs, mask=mask, training=True)
        (outputs * torch.linspace(0, 1, x.size).reshape(shape)).sum().backward()
        grads = [v.value.grad for v in layer.trainable_variables]
        inferred = layer(torch.tensor(x), mask=mask, training=False)
        results.append((outputs, inputs.grad, grads, layer.get_weights(), inferred))
    torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-5)


def test_batch_normalization_reads_the_mask_of_its_input():
    x = masked_inputs([(6, 4, 3)], [False], keras.layers)[0]
    theirs, ours = pair("BatchNormalization")
    expected = theirs(keras.layers.Masking()(x), training=True)
    found = ours(layers.Masking()(x), training=True)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(found._keras_mask, expected._keras_mask)


# ---------------------------------------------------------------------------- small core layers

SMALL = [
    ("Permute", {"dims": (2, 1)}, (4, 3, 5), (None, None, 5)),
    ("Permute", {"dims": (3, 1, 2)}, (4, 2, 3, 5), (None, 2, None, 5)),
    ("Permute", {"dims": [1]}, (4, 3), (None, 3)),
    ("RepeatVector", {"n": 3}, (4, 5), (None, 5)),
    ("Masking", {"mask_value": 1.0}, (4, 3, 5), (None, None, 5)),
    ("Identity", {}, (4, 3, 5), (None, None, 5)),
    ("ActivityRegularization", {"l1": 0.01, "l2": 0.2}, (4, 3), (None, 3)),
]


@pytest.mark.parametrize(("name", "arguments", "shape", "free"), SMALL, ids=str)
def test_small_layers(name, arguments, shape, free):
    theirs, ours = pair(name, {**arguments, "name": "layer"})
    x = arrays([shape])[0]
    results = []
    for layer in (theirs, ours):
        inputs = torch.tensor(x, requires_grad=True)
        outputs = layer(inputs)
        penalties = [torch.as_tensor(loss) for loss in layer.losses]
        total = (outputs * torch.linspace(0, 1, outputs.numel()).reshape(outputs.shape)).sum()
        sum(penalties, total).backward()
        results.append((outputs, inputs.grad, penalties))
    torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-6)
    assert ours.compute_output_shape(free) == theirs.compute_output_shape(free)
    config = ours.get_config()
    assert config == theirs.get_config()
    assert type(ours).from_config(config).get_config() == config


MERGES = [
    ("Add", {}),
    ("Subtract", {}),
    ("Multiply", {"trainable": False}),
    ("Average", {}),
    ("Maximum", {}),
    ("Minimum", {}),
    ("Concatenate", {"axis": 2}),
    ("Concatenate", {}),
    ("Dot", {"axes": (1, 2), "normalize": True}),
    ("Dot", {"axes": 1}),
    ("Dot", {"axes": [2, 1]}),
]


@pytest.mark.parametrize(("name", "arguments"), MERGES, ids=str)
def test_configs_of_merges_are_keras(name, arguments):
    theirs, ours = pair(name, {**arguments, "name": "layer"})
    shapes = [(None, 4, 4), (None, 4, 4)]
    theirs.build(shapes)
    ours.build(shapes)
    config, expected = layers.serialize(ours), keras.layers.serialize(theirs)
    assert json.loads(json.dumps(config)) == json.loads(json.dumps(expected))
    again = layers.deserialize(json.loads(json.dumps(expected)))
    assert type(again) is type(ours) and again.built
    assert json.dumps(again.get_config()) == json.dumps(json.loads(json.dumps(ours.get_config())))


# ---------------------------------------------------------------------------------------- Lambda


def times(x, factor=2.0):
    """A named function."""
    return x * factor


def same_shape(shape):
    return shape


LAMBDAS = [
    {"function": lambda x: x * 2},
    {"function": lambda x, y=3, z=(1, 2): x * y, "output_shape": (5,)},
    {"function": times, "arguments": {"factor": 3.0}},
    {"function": times, "arguments": {"factor": np.arange(5.0), "more": [1, (2, "a")]}},
    {"function": times, "output_shape": same_shape, "mask": lambda x, mask: mask},
    {"function": times, "output_shape": lambda s: s, "mask": same_shape},
    {"function": times, "mask": torch.tensor([True, False])},
    {"function": times, "mask": np.array([1, 2])},
]


@pytest.mark.parametrize("arguments", LAMBDAS, ids=range(len(LAMBDAS)))
def test_lambda_configs_are_keras(arguments):
    theirs, ours = pair("Lambda", {**arguments, "name": "layer"})
    config = ours.get_config()
    assert config == theirs.get_config()
    assert registry.serialize(ours)["class_name"] == "Lambda"


def test_lambda_of_an_activation_has_keras_config():
    theirs = keras.layers.Lambda(keras.activations.relu, name="layer")
    ours = layers.Lambda(activations.relu, name="layer")
    assert ours.get_config() == theirs.get_config()
    again = layers.Lambda.from_config(theirs.get_config())
    assert again.function is activations.relu


def test_lambdas_of_each_are_read_by_the_other():
    factor = 4
    arguments = {"function": lambda x, y=3: x * y + factor, "output_shape": (5,), "name": "layer"}
    theirs, ours = pair("Lambda", arguments)
    x = torch.randn(2, 5)
    for one, other in ((theirs, layers.Lambda), (ours, keras.layers.Lambda)):
        config = one.get_config()
        with pytest.raises(ValueError, match="safe_mode"):
            other.from_config(dict(config))
        again = other.from_config(dict(config), safe_mode=False)
        assert torch.equal(again(x), x * 3 + 4)
        assert tuple(again.compute_output_shape((None, 7))) == (None, 5)


@pytest.mark.parametrize(
    ("output_shape", "shape"),
    [
        ((3, None), (None, 5)),
        ((), (4, 5)),
        ([(3,), (4, 2)], (None, 5)),
        ((3,), [(None, 5), (None, 6)]),
        (lambda shape: (shape[0], 2 * shape[1]), (None, 5)),
        (lambda shapes: [shapes[1], shapes[0]], [(None, 5), (None, 6)]),
        (None, (None, 5)),
        (None, (4, None, 3)),
    ],
    ids=str,
)
def test_lambda_output_shapes(output_shape, shape):
    theirs, ours = pair("Lambda", {"function": times, "output_shape": output_shape})
    expected = theirs.compute_output_shape(shape)
    assert ours.compute_output_shape(shape) == expected


# ---------------------------------------------------------------------------- torch modules


def test_torch_modules_of_each_are_read_by_the_other():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    arguments = {"module": module, "name": "layer", "output_shape": (None, 4)}
    theirs, ours = pair("TorchModuleWrapper", arguments)
    assert {**ours.get_config(), "module": 0} == {**theirs.get_config(), "module": 0}
    x = torch.randn(5, 3)
    expected = module.eval()(x)
    for one, other in (
        (theirs, layers.TorchModuleWrapper),
        (ours, keras.layers.TorchModuleWrapper),
        (ours, layers.TorchModuleWrapper),
    ):
        config = json.loads(json.dumps(one.get_config()))
        with pytest.raises(ValueError, match="safe_mode"):
            other.from_config(dict(config))
        again = other.from_config(dict(config), safe_mode=False)
        torch.testing.assert_close(again(x, training=False), expected)
        assert tuple(again.compute_output_shape((None, 3))) == (None, 4)
    with trust.safe_mode(False):
        again = layers.deserialize(layers.serialize(ours))
    torch.testing.assert_close(again(x), expected)
