"""Lambda: calls, shapes, masks, configs, safe mode, pickles, errors."""

import base64
import copy
import json
import marshal
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import eras, layers, registry, trust
from torchkeras.layers import Input, Lambda, Masking

SCALE = 5.0


def times(x, factor=2.0):
    return x * factor


def broken(x):
    return x @ torch.ones(17, 2)


def test_functions_of_all_kinds():
    x = torch.randn(2, 3)
    assert torch.equal(Lambda(lambda x: x + 1)(x), x + 1)
    assert torch.equal(Lambda(torch.relu)(x), torch.relu(x))
    assert torch.equal(Lambda(nn.Tanh())(x), torch.tanh(x))
    assert torch.equal(Lambda(lambda ab: ab[0] - ab[1])([x, 2 * x]), -x)
    assert [y.shape for y in Lambda(lambda x: [x, x[:, :1]])(x)] == [(2, 3), (2, 1)]
    assert Lambda(times).get_config()["name"].startswith("lambda")


def test_parameters_of_a_module_are_the_layers():
    layer = Lambda(nn.Linear(3, 2))
    assert len(list(layer.parameters())) == len(layer.weights) == 2


def test_arguments():
    x = torch.randn(2, 3)
    assert torch.equal(Lambda(times, arguments={"factor": 3})(x), 3 * x)
    assert torch.equal(Lambda(times, None, None, {"factor": 3})(x), 3 * x)


def test_training_is_handed_over():
    layer = Lambda(lambda x, training: x * 0 + training)
    x = torch.ones(1)
    assert layer(x) == 0 and layer(x, training=True) == 1
    assert layer.train()(x) == 1 and layer.eval()(x) == 0


def test_a_mask_is_handed_over():
    x = torch.tensor([[[1.0], [0.0]]])
    layer = Lambda(lambda x, mask=None: x[..., 0] * 0 + (7 if mask is None else mask))
    assert layer(x).tolist() == [[7.0, 7.0]]
    with pytest.warns(UserWarning, match="which it does not support"):
        assert layer(Masking()(x)).tolist() == [[1.0, 0.0]]


def test_masks_of_a_list_are_a_list():
    x = torch.tensor([[[1.0], [0.0]]])
    seen = []
    layer = Lambda(lambda pair, mask: [seen.append(mask), pair[0]][1])
    layer([x, x])
    assert seen == [[None, None]]


def test_masks_made():
    x = torch.ones(1, 2, 3)
    assert not Lambda(times).supports_masking
    assert not hasattr(Lambda(times)(x), "_keras_mask")
    given = Lambda(times, mask=np.array([[True, False]]))(x)
    assert given._keras_mask.tolist() == [[True, False]]
    made = Lambda(times, mask=lambda inputs, mask: inputs[..., 0] > 3)(x)
    assert made._keras_mask.tolist() == [[False, False]]
    kept = Lambda(times, mask=lambda inputs, mask: mask)(Masking()(x))
    assert kept._keras_mask.tolist() == [[True, True]]


# ----------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize(
    ("given", "shape", "expected"),
    [
        (None, (None, 3), (None, 6)),
        ((6,), (None, 3), (None, 6)),
        ([6], (4, 3), (4, 6)),
        ((None, 2), (None, 3), (None, None, 2)),
        ((), (None, 3), (None,)),
        (lambda shape: [shape[0], 9], (None, 3), (None, 9)),
        ([(1,), (2,)], (None, 3), [(None, 1), (None, 2)]),
        ({"a": (1,)}, (None, 3), {"a": (None, 1)}),
    ],
)
def test_output_shapes(given, shape, expected):
    layer = Lambda(lambda x: torch.cat([x, x], -1), output_shape=given)
    assert layer.compute_output_shape(shape) == expected


def test_symbolic_inputs():
    a, b = Input((3,)), Input((3,), dtype="int64")
    assert Lambda(lambda x: torch.cat([x, x], -1))(a).shape == (None, 6)
    assert Lambda(times, output_shape=(4,))(a).shape == (None, 4)
    picked = Lambda(lambda x: nn.functional.one_hot(x, 5))(b)
    assert picked.shape == (None, 3, 5) and picked.dtype == "int64"
    assert Lambda(lambda x: x > 0)(a).dtype == "bool"
    joined = Lambda(lambda ab: ab[0] + ab[1])([a, b])
    assert joined.shape == (None, 3) and joined.dtype == "float32"


@pytest.mark.parametrize("shape", [5, "3", 2.5])
def test_output_shape_must_be_one(shape):
    with pytest.raises(TypeError, match="output_shape must be"):
        Lambda(times, output_shape=shape)


@pytest.mark.parametrize("function", [None, "relu", 3])
def test_function_must_be_callable(function):
    with pytest.raises(TypeError, match="function must be callable"):
        Lambda(function)


# ----------------------------------------------------------------------------------------- errors


def test_a_failing_function_is_named():
    layer = Lambda(broken, name="bad")
    pattern = r"'bad': its function broken \(.*test_lambda_layer.py, line \d+\).*\(2, 3\)"
    with pytest.raises(RuntimeError, match=pattern) as caught:
        layer(torch.ones(2, 3))
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(TypeError, match=r"'bad': its function <lambda>.*\[\(2, 3\), \(2, 1\)\]"):
        Lambda(lambda a, b: a, name="bad")([torch.ones(2, 3), torch.ones(2, 1)])
    with pytest.raises(ValueError, match="KeyError: 'k'"):
        Lambda(lambda x: {}["k"])(torch.ones(2))


def test_a_users_own_exception_goes_through():
    class Stop(Exception):
        pass

    def stop(x):
        raise Stop

    with pytest.raises(Stop):
        Lambda(stop)(torch.ones(1))


def test_a_function_that_fails_on_a_symbolic_input():
    pattern = r"'bad' for inputs of shape \(None, 3\).*give output_shape.*its function broken"
    with pytest.raises(ValueError, match=pattern):
        Lambda(broken, name="bad")(Input((3,)))
    with pytest.raises(ValueError, match=pattern):
        Lambda(broken, name="bad").compute_output_shape((None, 3))
    with pytest.raises(ValueError, match="'bad' for inputs .*NoneType"):
        Lambda(lambda x: None, name="bad")(Input((3,)))
    with pytest.raises(ValueError, match=r"'bad' for inputs of shape \[\(None, 3\), \(None, 4\)\]"):
        Lambda(lambda ab: ab[0] + ab[1], name="bad")([Input((3,)), Input((4,))])


# ---------------------------------------------------------------------------------------- configs


def again(layer, **kwargs):
    """Write a layer's config as JSON, and read it."""
    return Lambda.from_config(json.loads(json.dumps(layer.get_config())), **kwargs)


def test_a_named_function_is_found_by_name():
    layer = Lambda(times, arguments={"factor": 3}, output_shape=(3,))
    with pytest.raises(ValueError, match="Unknown function 'times'.*custom_objects"):
        again(layer)
    x = torch.randn(2, 3)
    assert torch.equal(again(layer, custom_objects={"times": times})(x), 3 * x)
    with registry.custom_object_scope({"times": times}):
        made = layers.deserialize(layers.serialize(layer))
    assert made.function is times and made.compute_output_shape((None, 7)) == (None, 3)


def test_a_registered_function_is_found():
    @registry.register_keras_serializable("mine")
    def twice(x):
        return 2 * x

    try:
        config = Lambda(twice).get_config()
        assert config["function"]["config"] == "mine>twice"
        assert Lambda.from_config(config).function is twice
    finally:
        del registry.get_custom_objects()["mine>twice"]


def test_a_lambda_needs_trust():
    factor = 4
    layer = Lambda(lambda x, y=2, *, z=1: x * y * factor + z, output_shape=lambda s: (*s, 1))
    x = torch.randn(2, 3)
    with pytest.raises(ValueError, match="safe_mode=False.*enable_unsafe_deserialization"):
        again(layer)
    with pytest.raises(ValueError, match="safe_mode=False"):
        again(Lambda(times, output_shape=lambda s: s), custom_objects={"times": times})
    with pytest.raises(ValueError, match="safe_mode=False"):
        layers.deserialize(layers.serialize(layer))
    made = again(layer, safe_mode=False)
    assert torch.equal(made(x), layer(x))
    assert made.compute_output_shape((None, 3)) == (None, 3, 1)
    with trust.safe_mode(False):
        assert not trust.in_safe_mode()
        assert torch.equal(layers.deserialize(layers.serialize(layer))(x), layer(x))
        with pytest.raises(ValueError, match="safe_mode=False"):
            again(layer, safe_mode=True)
    assert trust.in_safe_mode()


def test_enable_unsafe_deserialization():
    with trust.safe_mode(True):
        trust.enable_unsafe_deserialization()
        assert again(Lambda(lambda x: x + 1))(torch.ones(1)) == 2
    assert trust.in_safe_mode()


def test_a_lambda_sees_torch_numpy_and_custom_objects():
    layer = Lambda(lambda x: torch.relu(x) + np.float32(1) + mine(x))  # noqa: F821
    made = again(layer, safe_mode=False, custom_objects={"mine": torch.tanh})
    x = torch.ones(1)
    assert torch.equal(made(x), x + 1 + torch.tanh(x))
    with pytest.raises(ValueError, match="NameError: name 'mine'"):
        again(layer, safe_mode=False)(x)


def test_arguments_and_masks_come_back():
    mask = torch.tensor([True, False])
    arguments = {"factor": np.arange(3.0), "t": mask, "deep": [1, {"a": None}], "f": lambda x: x}
    layer = Lambda(times, arguments=arguments, mask=mask)
    with pytest.raises(ValueError, match="safe_mode"):
        again(layer, custom_objects={"times": times})
    made = again(layer, custom_objects={"times": times}, safe_mode=False)
    assert np.array_equal(made.arguments["factor"], np.arange(3.0))
    assert torch.equal(made.arguments["t"], mask) and torch.equal(made.mask, mask)
    assert made.arguments["deep"] == [1, {"a": None}] and made.arguments["f"](3) == 3


def test_objects_with_configs_as_functions_and_arguments():
    layer = Lambda(layers.Activation("relu"), arguments={})
    made = again(layer)
    assert made(torch.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]
    with pytest.raises(TypeError, match="get_config"):
        Lambda(nn.Tanh()).get_config()


def test_bytecode_that_cannot_be_read():
    config = Lambda(lambda x: x).get_config()
    config["function"]["config"]["code"] = "AAAA"
    with pytest.raises(ValueError, match="another version of Python"):
        Lambda.from_config(config, safe_mode=False)


# ------------------------------------------------------------------------------ copies and pickles


def test_copies_and_pickles():
    factor = 3

    def local(x, extra=1):
        return x * factor + extra

    x = torch.randn(2, 3)
    for function in (lambda x: x * SCALE + factor, local, times):
        layer = Lambda(function, output_shape=lambda shape: (*shape, factor))
        for made in (copy.deepcopy(layer), copy.copy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(made(x), layer(x))
            assert made.function.__name__ == function.__name__
            assert made.compute_output_shape((4,)) == (4, 3)
            assert pickle.loads(pickle.dumps(made))(x).equal(layer(x))
        assert copy.deepcopy(layer).function is function


def test_before_keras_3_a_lambda_of_this_program_is_trusted():
    config = layers.Lambda(lambda x: x * 3).get_config()
    with pytest.raises(ValueError, match="unless you trust its source"):
        layers.Lambda.from_config(config)
    eras.set_version("2")
    assert layers.Lambda.from_config(config)(torch.ones(2)).tolist() == [3, 3]
    code = marshal.dumps(compile("1 + 1", "elsewhere", "eval"))
    strange = json.loads(json.dumps(config))
    written = base64.encodebytes(code).decode("ascii")
    value = strange["function"]["config"]
    if "value" in value:
        value["value"][0] = written
    else:
        value["code"] = written
    with pytest.raises(ValueError, match="unless you trust its source"):
        layers.Lambda.from_config(strange)
