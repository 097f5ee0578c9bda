"""Dtype policies and the global one."""

import copy
import pickle

import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import DTypePolicy, config, dtypes, layers, losses, metrics, mixed_precision


@pytest.mark.parametrize(
    ("name", "compute", "variable", "is_mixed"),
    [
        ("mixed_float16", "float16", "float32", True),
        ("mixed_bfloat16", "bfloat16", "float32", True),
        ("float16", "float16", "float16", False),
        ("float64", "float64", "float64", False),
        ("int32", "int32", "int32", False),
    ],
)
def test_what_a_name_means(name, compute, variable, is_mixed):
    policy = DTypePolicy(name)
    assert (policy.name, policy.compute_dtype, policy.variable_dtype) == (name, compute, variable)
    assert policy.torch_compute_dtype is getattr(torch, compute)
    assert policy.torch_dtype is getattr(torch, variable)
    assert policy.is_mixed is is_mixed
    assert repr(policy) == f'<DTypePolicy "{name}">'
    assert policy == DTypePolicy(name) == pickle.loads(pickle.dumps(policy)) == copy.copy(policy)
    assert hash(policy) == hash(DTypePolicy(name))
    assert policy != name


def test_what_is_no_policy():
    with pytest.raises(ValueError, match="Unknown dtype policy 'mixed_foo'.*'mixed_float16'"):
        DTypePolicy("mixed_foo")
    with pytest.raises(ValueError, match="quantization.*its source, 'float32'"):
        DTypePolicy("int8_from_float32")
    with pytest.raises(TypeError, match="name must be a string.*received 3"):
        DTypePolicy(3)
    with pytest.raises(ValueError, match="takes a policy or its name.*received torch.float16"):
        config.set_dtype_policy(torch.float16)
    with pytest.raises(ValueError, match="received None"):
        config.set_dtype_policy(None)


def test_look_up():
    assert dtypes.get("mixed_float16") == DTypePolicy("mixed_float16")
    assert dtypes.get(torch.bfloat16).name == "bfloat16"
    assert dtypes.get(np.float64).name == "float64"
    policy = DTypePolicy("float16")
    assert dtypes.get(policy) is policy
    with pytest.raises(ValueError, match="Unknown dtype 3"):
        dtypes.get(3)
    with pytest.raises(ValueError, match="Unknown dtype policy 'QuantizedDTypePolicy'"):
        dtypes.get({"class_name": "QuantizedDTypePolicy", "config": {"mode": "int8"}})


@pytest.mark.parametrize("class_name", ["DTypePolicy", "FloatDTypePolicy", "Policy"])
def test_dictionaries_of_every_keras(class_name):
    given = {"class_name": class_name, "config": {"name": "mixed_bfloat16"}}
    assert dtypes.get(given) == dtypes.deserialize(given) == DTypePolicy("mixed_bfloat16")
    assert layers.Dense(2, dtype=given).compute_dtype == "bfloat16"


def test_global_policy():
    assert config.dtype_policy() == DTypePolicy("float32")
    config.set_dtype_policy("mixed_bfloat16")
    assert config.dtype_policy().name == DTypePolicy().name == "mixed_bfloat16"
    layer = layers.Dense(2)
    assert (layer.dtype, layer.compute_dtype) == ("float32", "bfloat16")
    assert layers.Dense(2, dtype="float64").compute_dtype == "float64"
    assert torchkeras.Sequential().dtype_policy.name == "mixed_bfloat16"
    config.set_dtype_policy(DTypePolicy("float64"))
    assert layers.Dense(2).dtype == "float64"
    assert layer.compute_dtype == "bfloat16"
    # Data, losses and metrics stay in floatx.
    assert config.floatx() == "float32"
    assert losses.MeanSquaredError().dtype == metrics.MeanSquaredError().dtype == "float32"


def test_floatx_is_followed_until_a_policy_is_set():
    before = layers.Dense(2)
    config.set_floatx("float64")
    assert config.dtype_policy().name == "float64"
    assert (before.dtype, layers.Dense(2).dtype) == ("float32", "float64")
    assert losses.MeanSquaredError().dtype == "float64"
    config.set_dtype_policy("mixed_float16")
    config.set_floatx("bfloat16")
    assert config.dtype_policy().name == "mixed_float16"


def test_older_names():
    assert mixed_precision.Policy is mixed_precision.DTypePolicy is torchkeras.DTypePolicy
    mixed_precision.set_global_policy("mixed_float16")
    assert mixed_precision.global_policy() == mixed_precision.dtype_policy()
    assert config.dtype_policy().name == "mixed_float16"
    mixed_precision.set_dtype_policy("float32")
    assert mixed_precision.global_policy().name == "float32"
    assert mixed_precision.LossScaleOptimizer is torchkeras.optimizers.LossScaleOptimizer


def test_conversion_of_a_variable_and_of_an_array_that_is_none_of_numpys():
    policy = DTypePolicy("mixed_float16")
    weight = layers.Layer().add_weight((2,), "ones")
    assert policy.convert_input(weight, True, "float16").dtype is torch.float16
    assert policy.convert_input(weight, False, "float16") is weight

    class Frame:
        def __array__(self, dtype=None, copy=None):
            return np.ones(3)

    assert policy.convert_input(Frame(), True, "float16").dtype is torch.float16
    assert policy.convert_input(Frame(), False, "float16").dtype is torch.float64


def test_a_layers_policy_is_set_by_name_and_survives_its_config():
    layer = layers.Dense(2, dtype="mixed_float16")
    again = layers.Dense.from_config(layer.get_config())
    assert again.dtype_policy == layer.dtype_policy
    layer.build((None, 3))
    layer.dtype_policy = "mixed_bfloat16"
    assert layer.dtype_policy == DTypePolicy("mixed_bfloat16")
    assert layer(np.ones((1, 3))).dtype is torch.bfloat16
    layer.double()
    assert layer.dtype_policy == DTypePolicy("float64")
    assert layer(np.ones((1, 3))).dtype is torch.float64
