"""Graphs of layers against Keras 3.15: config, weights, outputs, gradients, shapes, summary."""

import copy
import functools
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import registry

sys.path.insert(0, str(Path(__file__).parent))

from architectures import ARCHITECTURES, leaves_of, map_leaves, weights_for

everything = pytest.mark.parametrize("name", ARCHITECTURES)
symbolic = pytest.mark.parametrize("name", [a.name for a in ARCHITECTURES.values() if a.symbolic])
# Keras writes the arithmetic of a mask as operations of the graph; when it reads, it needs none.
written = pytest.mark.parametrize(
    "name",
    [a.name for a in ARCHITECTURES.values() if a.symbolic and a.name != "masked_sequences"],
)
deterministic = pytest.mark.parametrize(
    "name", [a.name for a in ARCHITECTURES.values() if not a.random]
)


@functools.cache
def theirs(name):
    """Keras' model, built and with weights."""
    keras.utils.clear_session(free_memory=False)
    return ready(ARCHITECTURES[name], keras)


@functools.cache
def ours(name):
    """The model that the same lines make here."""
    registry.reset_names()
    return ready(ARCHITECTURES[name], torchkeras)


@functools.cache
def from_json(name):
    """The model that Keras' JSON makes here."""
    return read(name, theirs(name).to_json())


def ready(architecture, k):
    model = architecture.build(k)
    if not architecture.symbolic:
        model(architecture.draw(2))
    return weighted(model)


def weighted(model):
    model.set_weights(weights_for(model))
    return model


def read(name, text):
    custom = ARCHITECTURES[name].custom_objects(torchkeras)
    model = torchkeras.models.model_from_json(text, custom_objects=custom)
    return weighted(model)


def difference(mine, other, path="config"):
    """Where two structures of JSON first differ, in words; ``None`` where nowhere."""
    if isinstance(mine, dict) and isinstance(other, dict):
        mine, other = without_compilation(mine), without_compilation(other)
        if mine.keys() != other.keys():
            return f"{path}: keys {list(mine)}, Keras' {list(other)}"
        pairs = [(mine[key], other[key], f"{path}.{key}") for key in other]
    elif isinstance(mine, list) and isinstance(other, list):
        if len(mine) != len(other):
            return f"{path}: {len(mine)} items {mine}, Keras' {len(other)} {other}"
        pairs = [(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(mine, other))]
    else:
        return None if mine == other else f"{path}: {mine!r}, Keras' {other!r}"
    return next((found for pair in pairs if (found := difference(*pair)) is not None), None)


def same_config(mine, other):
    found = difference(mine, other)
    assert found is None, found


def without_compilation(config):
    """The config without the empty ``compile_config`` of a model that is not compiled."""
    return {key: part for key, part in config.items() if (key, part) != ("compile_config", {})}


def plain(shapes):
    """Shapes in lists and dictionaries, each a tuple of plain numbers."""
    if isinstance(shapes, dict):
        return {key: plain(part) for key, part in shapes.items()}
    if all(size is None or isinstance(size, int) for size in shapes):
        return tuple(shapes)
    return [plain(part) for part in shapes]


def with_batch(shapes, batch, time=7):
    """The shapes with numbers in place of ``None``."""
    if isinstance(shapes, dict):
        return {key: with_batch(part, batch, time) for key, part in shapes.items()}
    if isinstance(shapes, list):
        return [with_batch(part, batch, time) for part in shapes]
    return tuple(size or (time if axis else batch) for axis, size in enumerate(shapes))


# ------------------------------------------------------------------------------------- numbers


def run(model, parameter_of, x, training):
    """Outputs, gradients of a loss for inputs and weights, and the weights afterwards."""
    weighted(model)
    for variable in model.weights:  # Keras' zero_grad misses weights of equal paths
        parameter_of(variable).grad = None
    x = map_leaves(as_leaf, x)
    outputs = model(x, training=training)
    rng = np.random.default_rng(7)
    loss = sum((one * as_tensor(rng.normal(size=one.shape))).sum() for one in leaves_of(outputs))
    (loss + sum(model.losses)).backward()
    return {
        "outputs": map_leaves(lambda one: one.detach().numpy(), outputs),
        "losses": sorted(float(one.detach()) for one in model.losses),
        "inputs": [one.grad for one in leaves_of(x)],
        "weights": [gradient(variable, parameter_of) for variable in model.trainable_weights],
        "state": [np.asarray(value) for value in model.get_weights()],
    }


def as_leaf(array):
    tensor = torch.tensor(array)
    return tensor.requires_grad_() if tensor.is_floating_point() else tensor


def as_tensor(array):
    return torch.tensor(array, dtype=torch.float32)


def keras_parameter(variable):
    return variable.value


def parameter(variable):
    return variable.parameter


def gradient(variable, parameter_of):
    """The gradient, in Keras' layout; ``None`` for a weight that the loss does not depend on."""
    grad = parameter_of(variable).grad
    return grad if grad is None or parameter_of is keras_parameter else variable.from_torch(grad)


def same_arrays(mine, other):
    assert len(mine) == len(other)
    for index, (one, wanted) in enumerate(zip(mine, other)):
        assert (one is None) == (wanted is None), index
        if wanted is not None:
            # Gradients that a softmax or a normalization cancels are rounding alone.
            np.testing.assert_allclose(one, wanted, rtol=1e-5, atol=1e-5, err_msg=str(index))


def same_numbers(name, model, training):
    x = ARCHITECTURES[name].draw(8)
    expected = run(theirs(name), keras_parameter, x, training)
    result = run(model, parameter, x, training)
    assert map_leaves(np.shape, result["outputs"]) == map_leaves(np.shape, expected["outputs"])
    for part in ("outputs", "losses", "inputs", "weights", "state"):
        same_arrays(leaves_of(result[part]), leaves_of(expected[part]))


@everything
def test_numbers_of_inference_built_by_the_same_lines(name):
    same_numbers(name, ours(name), training=False)


@symbolic
def test_numbers_of_inference_built_from_keras_json(name):
    same_numbers(name, from_json(name), training=False)


@deterministic
def test_numbers_of_training_built_by_the_same_lines(name):
    same_numbers(name, ours(name), training=True)


@everything
def test_predict_gives_keras_structure_and_numbers(name):
    x = ARCHITECTURES[name].draw(11)
    weighted(theirs(name)), weighted(ours(name))
    batch = ARCHITECTURES[name].samples or 4
    expected = theirs(name).predict(x, batch_size=batch, verbose=0)
    result = ours(name).predict(x, batch_size=batch, verbose=0)
    assert map_leaves(np.shape, result) == map_leaves(np.shape, expected)
    assert all(isinstance(one, np.ndarray) for one in leaves_of(result))
    same_arrays(leaves_of(result), leaves_of(expected))


# ------------------------------------------------------------------------------------- configs


@written
def test_keras_json_gives_the_same_config_back(name):
    text = theirs(name).to_json()
    expected = json.loads(text)
    same_config(json.loads(from_json(name).to_json()), expected)
    config = json.loads(json.dumps(from_json(name).get_config()))
    same_config(config, expected["config"])


@written
def test_the_same_lines_give_keras_json(name):
    expected = json.loads(theirs(name).to_json())
    same_config(json.loads(ours(name).to_json()), expected)


@pytest.mark.parametrize(
    "name", ["three_inputs", "dictionaries_in_and_out", "siamese", "functional_to_depth_three"]
)
def test_model_from_config_takes_keras_config(name):
    config = json.loads(json.dumps(theirs(name).get_config()))
    model = weighted(torchkeras.Model.from_config(copy.deepcopy(config)))
    same_config(json.loads(json.dumps(model.get_config())), config)
    x = ARCHITECTURES[name].draw(3)
    result, expected = model(x), theirs(name)(x)
    same_arrays(
        [one.detach() for one in leaves_of(result)], [one.detach() for one in leaves_of(expected)]
    )


@pytest.mark.parametrize(
    "name", ["all_operators", "own_layers", "lambdas_with_arguments", "masked_sequences"]
)
def test_keras_reads_what_is_written_here(name):
    custom = ARCHITECTURES[name].custom_objects(keras)
    text = ours(name).to_json()
    model = weighted(keras.models.model_from_json(text, custom_objects=custom))
    x = ARCHITECTURES[name].draw(5)
    mine, other = ([one.detach() for one in leaves_of(m(x))] for m in (weighted(ours(name)), model))
    same_arrays(mine, other)


# ------------------------------------------------------------------------- names, shapes, counts


@everything
def test_layers_and_weights_have_keras_names_and_order(name):
    expected = theirs(name)
    same_layers_and_weights(ours(name), expected)
    paths = [variable.path for variable in ours(name).weights]
    assert paths == [variable.path for variable in expected.weights]


@symbolic
def test_layers_and_weights_from_json_have_keras_names_and_order(name):
    # Without the paths: in Keras they depend on how a model came to be.
    same_layers_and_weights(from_json(name), theirs(name))


def same_layers_and_weights(model, expected):
    assert model.name == expected.name
    kinds = [(layer.name, type(layer).__name__) for layer in model.layers]
    assert kinds == [(layer.name, type(layer).__name__) for layer in expected.layers]
    for kind in ("weights", "trainable_weights", "non_trainable_weights"):
        mine, other = getattr(model, kind), getattr(expected, kind)
        assert [(v.name, tuple(v.shape)) for v in mine] == [
            (v.name, tuple(v.shape)) for v in other
        ], kind
    assert model.count_params() == expected.count_params()


@symbolic
def test_shapes_are_keras(name):
    expected = theirs(name)
    for model in (ours(name), from_json(name)):
        assert plain(model.input_shape) == plain(expected.input_shape)
        assert plain(model.output_shape) == plain(expected.output_shape)
        for attribute in ("inputs", "outputs"):
            assert [(tuple(t.shape), t.dtype) for t in getattr(model, attribute)] == [
                (tuple(t.shape), t.dtype) for t in getattr(expected, attribute)
            ]
        given = [t.name for t in expected.inputs if not t.name.startswith("keras_tensor")]
        assert [t.name for t in model.inputs if t.name in given] == given
        batch = ARCHITECTURES[name].samples or 5
        for shapes in (expected.input_shape, with_batch(expected.input_shape, batch)):
            assert plain(model.compute_output_shape(shapes)) == plain(
                expected.compute_output_shape(shapes)
            )


@symbolic
def test_each_layer_has_keras_input_and_output(name):
    # Without layers called several times. Keras gives an InputLayer no input, and counts masks.
    layers = [one for one in theirs(name).layers if len(one._inbound_nodes) == 1]
    assert layers
    for layer in layers:
        mine = ours(name).get_layer(layer.name)
        assert facts(mine.output) == facts(layer.output), layer
        if type(layer).__name__ != "InputLayer" and name != "masked_sequences":
            assert facts(mine.input) == facts(layer.input), layer


def facts(tensors):
    return [(one.dtype, tuple(one.shape)) for one in leaves_of(tensors)]


def summary(model, **options):
    texts = []
    model.summary(print_fn=texts.append, line_length=110, **options)
    return "".join(texts)


# Without masks, whose arithmetic Keras lists as layers, and without a Sequential that a call of the
# user's has built, where Keras shows the batch size of that call, or of its own trial.
OTHERS = {"masked_sequences", "functional_in_a_subclass", "subclass_in_functional"}


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in OTHERS])
@pytest.mark.parametrize(
    "options", [{}, {"expand_nested": True, "show_trainable": True}], ids=["plain", "expanded"]
)
def test_summary_is_keras(name, options, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # Keras crops what is wider than the terminal
    assert summary(ours(name), **options) == summary(theirs(name), **options)


def test_there_are_as_many_architectures_as_promised():
    assert len(ARCHITECTURES) >= 28
