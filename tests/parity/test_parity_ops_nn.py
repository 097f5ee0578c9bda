"""keras.ops.nn against Keras 3.15.1 on torch: activations, crossentropies, normalizations."""

import functools
import inspect
import warnings

import keras
import numpy as np
import pytest
import torch
from keras.src.ops import nn as keras_nn

import torchkeras
from torchkeras import ops
from torchkeras.ops import nn, table

DTYPES = "bool uint8 int8 int32 int64 float16 bfloat16 float32 float64".split()
FLOATS = DTYPES[5:]
HALVES, WIDE = {"float16", "bfloat16"}, {"float32", "float64"}
NAN, INF = np.nan, np.inf
ODD = np.array([-INF, -7.5, -3, -1, -0.5, -0.0, 0.0, 0.3, 0.5, 1, 3, 6.5, INF, NAN], "float32")


def f(*shape, low=-2.0, high=2.0, seed=0):
    """Floats of a shape."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype("float32")


def i(*shape, high=4, seed=0):
    """Class numbers of a shape."""
    return np.random.default_rng(seed).integers(0, high, shape).astype("int32")


def p(*shape, seed=0):
    """Probabilities, not scaled, with both ends among them."""
    found = f(*shape, low=0.0, high=1.0, seed=seed)
    found.flat[:2] = 0, 1
    return found


def hot(*shape):
    """One-hot rows."""
    return np.eye(shape[-1], dtype="float32")[i(*shape[:-1], high=shape[-1])]


def _leaves(found):
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _number(x):
    x = x.detach() if isinstance(x, torch.Tensor) else torch.as_tensor(x)
    return x.float().numpy() if x.dtype is torch.bfloat16 else x.numpy()


def _tensor(thing):
    return torch.tensor(thing) if isinstance(thing, np.ndarray) else thing


def same(ours, theirs, tolerance=1e-5, what=""):
    """Assert that two results agree in value, dtype and shape."""
    for one, other in zip(_leaves(ours), _leaves(theirs), strict=True):
        assert one.dtype == other.dtype, f"{what}: {one.dtype}, Keras {other.dtype}"
        assert one.shape == other.shape, f"{what}: {one.shape}, Keras {other.shape}"
        np.testing.assert_allclose(
            _number(one), _number(other), tolerance, tolerance, err_msg=str(what)
        )


def agree(name, args, kwargs, tolerance=1e-5):
    """Assert that a call agrees with Keras, on tensors and on arrays."""
    tensors = [_tensor(arg) for arg in args]
    kwargs = {key: _tensor(arg) for key, arg in kwargs.items()}
    theirs = getattr(keras.ops, name)(*tensors, **kwargs)
    what = f"{name} {[getattr(a, 'shape', a) for a in args]} {kwargs}"
    same(getattr(ops, name)(*tensors, **kwargs), theirs, tolerance, what)
    same(getattr(ops, name)(*args, **kwargs), theirs, tolerance, what)


ELEMENTWISE = (
    "relu relu6 sigmoid sparse_sigmoid softplus softsign silu swish log_sigmoid leaky_relu "
    "hard_sigmoid hard_silu hard_swish elu selu gelu celu tanh_shrink hard_tanh hard_shrink "
    "soft_shrink squareplus sparse_plus"
).split()
OF_ONE = [*ELEMENTWISE, "softmax", "log_softmax", "normalize"]

CASES = [
    ("leaky_relu", (ODD,), {"negative_slope": 0.01}),
    ("elu", (ODD,), {"alpha": 0.5}),
    ("celu", (ODD,), {"alpha": 0.5}),
    ("gelu", (ODD,), {"approximate": False}),
    ("glu", (f(3, 4),), {}),
    ("glu", (f(2, 3),), {"axis": 0}),
    ("glu", (f(3, 4, 5),), {"axis": -2}),
    ("hard_shrink", (ODD,), {"threshold": 1.0}),
    ("soft_shrink", (ODD,), {"threshold": 1.0}),
    ("squareplus", (ODD,), {"b": 0.5}),
    ("threshold", (ODD, 0.5, -1.0), {}),
    ("threshold", (ODD,), {"threshold": -1, "default_value": 7}),
    ("softmax", (f(3, 4),), {"axis": 0}),
    ("softmax", (f(3, 4),), {"axis": None}),
    ("softmax", (f(2, 3, 4),), {"axis": (0, 2)}),
    ("softmax", (f(2, 3, 4),), {"axis": (2, 1)}),
    ("softmax", (f(2, 3, 4),), {"axis": (1,)}),
    ("softmax", (f(2, 3, 4),), {"axis": -2}),
    ("softmax", (ODD[1:-2].reshape(1, -1) * 100,), {}),
    ("log_softmax", (f(3, 4),), {"axis": 0}),
    ("log_softmax", (f(3, 4),), {"axis": None}),
    ("log_softmax", (f(2, 3, 4),), {"axis": (0, 2)}),
    ("log_softmax", (ODD[1:-2].reshape(1, -1) * 100,), {}),
    ("binary_crossentropy", (hot(3, 4), p(3, 4)), {}),
    ("binary_crossentropy", (p(3, 4), p(3, 4, seed=1)), {}),
    ("binary_crossentropy", (p(5), f(5)), {"from_logits": True}),
    ("binary_crossentropy", (np.array(1, "float32"), np.array(0.3, "float32")), {}),
    ("binary_crossentropy", (f(0, 3), f(0, 3)), {}),
    ("categorical_crossentropy", (hot(3, 4), p(3, 4)), {}),
    ("categorical_crossentropy", (hot(3, 4), f(3, 4)), {"from_logits": True}),
    ("categorical_crossentropy", (p(2, 3, 4), p(2, 3, 4, seed=1)), {"axis": 1}),
    ("categorical_crossentropy", (p(2, 3, 4), f(2, 3, 4)), {"axis": -2, "from_logits": True}),
    ("categorical_crossentropy", (hot(4), p(4)), {}),
    ("categorical_crossentropy", (f(0, 3), f(0, 3)), {}),
    ("categorical_crossentropy", (p(3, 1), p(3, 1)), {}),
    ("sparse_categorical_crossentropy", (i(3), p(3, 4)), {}),
    ("sparse_categorical_crossentropy", (i(3, 1), p(3, 4)), {}),
    ("sparse_categorical_crossentropy", (i(3), f(3, 4)), {"from_logits": True}),
    ("sparse_categorical_crossentropy", (i(2, 3), p(2, 3, 4)), {}),
    ("sparse_categorical_crossentropy", (i(2, 3, 1), p(2, 3, 4)), {}),
    ("sparse_categorical_crossentropy", (i(2, 5), p(2, 4, 5)), {"axis": 1}),
    ("sparse_categorical_crossentropy", (i(4, 5), f(4, 4, 5)), {"axis": 0, "from_logits": True}),
    ("sparse_categorical_crossentropy", (i(2, 3, 2, 2), f(2, 3, 2, 2, 4)), {"from_logits": True}),
    ("sparse_categorical_crossentropy", (np.int64(2), p(4)), {}),
    ("sparse_categorical_crossentropy", (i(0), f(0, 3)), {}),
    ("sparse_categorical_crossentropy", (np.array([1, -100]), p(2, 3)), {}),
    ("one_hot", (np.array([0, 2, -1]), 3), {}),
    ("one_hot", (i(2, 3), 5), {"axis": 0}),
    ("one_hot", (i(2, 3), 5), {"axis": 1, "dtype": "int8"}),
    ("one_hot", (i(2, 3), 5), {"axis": 2, "dtype": "bool"}),
    ("one_hot", (np.int32(1), 3), {}),
    ("one_hot", (i(0, 2), 3), {}),
    ("one_hot", (f(4, low=0, high=3), 3), {}),
    ("multi_hot", (np.array([0, 2, -1]), 4), {}),
    ("multi_hot", (i(2, 3), 5), {}),
    ("multi_hot", (i(2, 3), 5), {"axis": 0, "dtype": "int32"}),
    ("multi_hot", (i(2, 3, 2), 5), {"axis": 1}),
    ("multi_hot", (i(2, 3),), {"num_tokens": 5}),
    ("moments", (f(3, 4), [0]), {}),
    ("moments", (f(3, 4), -1), {"keepdims": True}),
    ("moments", (f(2, 3, 4), (0, -1)), {}),
    ("moments", (f(2, 3, 4), (0, 1, 2)), {"keepdims": True}),
    ("moments", (np.array([[1, INF], [NAN, 2]], "float32"), [0]), {}),
    ("batch_normalization", (f(3, 4), f(4), p(4), -1), {}),
    ("batch_normalization", (f(2, 3, 4), f(3), p(3), 1, f(3), f(3, seed=2)), {}),
    ("batch_normalization", (f(3, 4), f(3), p(3), 0), {"scale": f(3), "epsilon": 0.1}),
    ("batch_normalization", (f(3, 4), f(4), p(4), 1), {"offset": f(4)}),
    ("batch_normalization", (f(0, 4), f(4), p(4), -1), {}),
    ("layer_normalization", (f(3, 4),), {}),
    ("layer_normalization", (f(3, 4), f(4), f(4, seed=1)), {"epsilon": 0.1}),
    ("layer_normalization", (f(2, 3, 4), f(3, 4)), {"axis": (1, 2)}),
    ("layer_normalization", (f(2, 3, 4), f(3, 4), f(3, 4, seed=1)), {"axis": (-1, -2)}),
    ("layer_normalization", (f(2, 3, 4), f(2, 4), f(2, 4, seed=1)), {"axis": (0, 2)}),
    ("layer_normalization", (f(2, 3, 4),), {"axis": (0, 2)}),
    ("layer_normalization", (f(2, 3, 4), f(2, 3, 4)), {"axis": (0, 2)}),
    ("layer_normalization", (f(3, 4), None, f(4)), {}),
    ("layer_normalization", (f(3, 4), f(4)), {"rms_scaling": True}),
    ("layer_normalization", (f(2, 3, 4), f(3)), {"rms_scaling": True, "axis": 1}),
    ("layer_normalization", (f(0, 4), f(4)), {}),
    ("rms_normalization", (f(3, 4),), {}),
    ("rms_normalization", (f(3, 4), f(4)), {"epsilon": 0.1}),
    ("rms_normalization", (f(2, 3, 4), f(3, 4)), {"axis": (1, 2)}),
    ("rms_normalization", (f(2, 3, 4),), {"axis": (0, 2)}),
    ("rms_normalization", (f(2, 3, 4), f(4)), {"axis": (0, 2)}),
    ("rms_normalization", (f(0, 4), f(4)), {}),
    ("normalize", (f(3, 4),), {"axis": 0}),
    ("normalize", (f(3, 4),), {"axis": None}),
    ("normalize", (f(2, 3, 4),), {"axis": (0, -1)}),
    ("normalize", (f(3, 4),), {"order": 1}),
    ("normalize", (f(3, 4),), {"order": 3, "axis": 0}),
    ("normalize", (f(3, 4),), {"order": 1, "axis": None}),
    ("normalize", (f(3, 4, 2),), {"order": 1, "axis": (0, 1)}),
    ("normalize", (f(3, 4),), {"epsilon": 10.0}),
    ("normalize", (f(3, 4),), {"epsilon": 10.0, "order": 1}),
    ("normalize", (np.zeros((2, 3), "float32"),), {}),
    ("normalize", (f(),), {}),
    ("psnr", (f(3, 4), f(3, 4, seed=1), 1.0), {}),
    ("psnr", (f(3, 4), f(3, 4, seed=1), 255), {}),
    ("psnr", (f(3), f(3), 2.0), {}),
    ("psnr", (f(3), f(3, seed=1), np.float32(2)), {}),
    ("polar", (f(3, 4), f(3, 4, seed=1)), {}),
    ("polar", (f(3, 4), f(4, seed=1)), {}),
    ("polar", (i(3), f(3)), {}),
    ("polar", (f(3).astype("float64"), f(3)), {}),
    ("polar", (f(0, 3), f(0, 3)), {}),
]
IDS = [f"{at}-{case[0]}" for at, case in enumerate(CASES)]


@pytest.mark.parametrize("name,args,kwargs", CASES, ids=IDS)
@pytest.mark.filterwarnings("ignore:.*rms_scaling=True")
def test_calls(name, args, kwargs):
    agree(name, args, kwargs)


@pytest.mark.parametrize("name", OF_ONE)
def test_values(name):
    for x in (ODD, f(2, 3), f(0, 3), f(3, 4, low=-30.0, high=30.0)):
        agree(name, (x,), {})
    if name != "normalize":
        agree(name, (f(),), {})


@pytest.mark.parametrize("name", [*OF_ONE, "glu", "rms_normalization", "layer_normalization"])
def test_dtypes(name):
    for dtype in DTYPES:
        if dtype == "uint8" and name in ("hard_tanh", "sparse_sigmoid", "sparse_plus"):
            continue  # see test_bytes
        x = torch.tensor([[0, 1, 2, 3], [3, 1, 2, 2]]).to(getattr(torch, dtype))
        _agree_in_dtype(name, x)


def _agree_in_dtype(name, *args, **kwargs):
    """Assert agreement; where Keras on torch refuses integers, that a float comes out."""
    what = f"{name} {[getattr(a, 'dtype', a) for a in args]}"
    ours = getattr(ops, name)(*args, **kwargs)
    try:
        theirs = getattr(keras.ops, name)(*args, **kwargs)
    except (RuntimeError, NotImplementedError):
        given = [a for a in args if isinstance(a, torch.Tensor)]
        floats = [a.dtype for a in given if a.is_floating_point()]
        assert len(set(floats)) != 1 or len(floats) < len(given), what
        dtype = functools.reduce(torch.promote_types, floats) if floats else torch.float32
        expected = getattr(ops, name)(*[_cast(a, dtype) for a in args], **kwargs)
        if name in ("relu", "relu6", "hard_tanh", "threshold"):  # of bool
            dtype = torch.int32
        for one, other in zip(_leaves(ours), _leaves(expected), strict=True):
            assert one.dtype is dtype, what
            np.testing.assert_allclose(_number(one), _number(other), 1e-2, 1e-2, err_msg=what)
        return
    same(ours, theirs, 1e-2, what)


def _cast(x, dtype):
    return x.to(dtype) if isinstance(x, torch.Tensor) else x


def test_bytes():
    """Keras on torch compares them with -1, which is 255 there, and clips to it."""
    x = torch.tensor([0, 1, 3], dtype=torch.uint8)
    assert ops.sparse_sigmoid(x).tolist() == [0.5, 1.0, 1.0]
    assert ops.sparse_plus(x).tolist() == [0.25, 1.0, 3.0]
    with pytest.raises(ValueError, match="hard_tanh failed on uint8"):
        ops.hard_tanh(torch.tensor([1], dtype=torch.uint8))


@pytest.mark.parametrize("name", ["one_hot", "multi_hot"])
def test_dtypes_of_encodings(name):
    for dtype in DTYPES:
        x = torch.tensor([[0, 1], [1, 1]]).to(getattr(torch, dtype))
        for wanted in (None, *DTYPES):
            _agree_in_dtype(name, x, 3, dtype=wanted)


def test_dtypes_of_moments_and_thresholds():
    for dtype in DTYPES:
        x = torch.tensor([[0, 1, 2, 3], [3, 1, 2, 2]]).to(getattr(torch, dtype))
        _agree_in_dtype("moments", x, [0])
        _agree_in_dtype("threshold", x, 1, 0)
    large = torch.tensor([60000.0, -60000.0], dtype=torch.float16)
    same(ops.moments(large, [0]), keras.ops.moments(large, [0]))
    assert ops.moments(large, [0])[1].item() == 65504


PAIRS = ["psnr", "binary_crossentropy", "categorical_crossentropy"]


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_of_dtypes(name):
    more = (2.0,) if name == "psnr" else ()
    for one in DTYPES:
        for other in DTYPES:
            if one != other and {one, other} & HALVES and not {one, other} & WIDE:
                continue  # Keras on torch gives now this float, now that
            x1 = torch.tensor([[0, 1, 0], [1, 0, 0]]).to(getattr(torch, one))
            x2 = torch.tensor([[1, 0, 0], [1, 0, 0]]).to(getattr(torch, other))
            if x2.is_floating_point() and name != "psnr":
                x2 = x2 * 0.5 + 0.25
            _agree_in_dtype(name, x1, x2, *more)
            if name == "categorical_crossentropy" or name == "binary_crossentropy" and one == other:
                _agree_in_dtype(name, x1, x2, from_logits=True)


def test_dtypes_of_class_numbers():
    for one in DTYPES:
        for other in FLOATS if one in FLOATS else DTYPES:
            target = torch.tensor([0, 1]).to(getattr(torch, one))
            output = torch.tensor([[1, 2, 1], [1, 1, 3]]).to(getattr(torch, other))
            _agree_in_dtype("sparse_categorical_crossentropy", target, output)
            _agree_in_dtype("sparse_categorical_crossentropy", target, output, from_logits=True)


def test_dtypes_of_factors():
    x, factor = torch.tensor(f(3, 4)), torch.tensor(f(4, low=0.5))
    for one in FLOATS:
        for other in FLOATS:
            given, factors = x.to(getattr(torch, one)), factor.to(getattr(torch, other))
            _agree_in_dtype("layer_normalization", given, factors, factors)
            _agree_in_dtype("rms_normalization", given, factors)
            _agree_in_dtype("polar", given.float(), factors.float())
            if one == other or "float32" in (one, other):
                _agree_in_dtype("batch_normalization", given, factors, factors, -1)
    for one in DTYPES:
        given = torch.tensor([[1, 0], [1, 1]]).to(getattr(torch, one))
        _agree_in_dtype("batch_normalization", given, given[1], given[1], -1)
        _agree_in_dtype("batch_normalization", given, factor[:2], factor[:2], -1, factor[:2])


# ------------------------------------------------- where Keras on torch differs from its others


def test_probabilities_of_half_precision_are_clipped():
    """Keras clips to 1 - 1e-7, which is 1 there, and gives 100 (torch) or infinity (numpy)."""
    for dtype in (torch.float16, torch.bfloat16):
        target, output = torch.zeros(2, dtype=dtype), torch.tensor([1.0, NAN], dtype=dtype)
        found = ops.binary_crossentropy(target, output)
        assert found.dtype is dtype
        assert found[0].item() == pytest.approx(-np.log(1e-7), rel=2e-2)
        assert found[1].isnan()


def test_logits_and_targets_of_two_floats_give_the_wider():
    """Keras on torch gives the target's dtype, on jax the wider."""
    target, output = torch.tensor([1.0, 0.0]), torch.tensor([0.5, -2.0])
    expected = keras.ops.binary_crossentropy(target, output, from_logits=True)
    for one, other in ((torch.float16, torch.float32), (torch.float32, torch.float16)):
        found = ops.binary_crossentropy(target.to(one), output.to(other), from_logits=True)
        torch.testing.assert_close(found, expected)


def test_binary_crossentropy_of_other_numbers_is_the_formula():
    """Keras on torch refuses NaN and targets beyond 0 to 1; on numpy it computes."""
    target = np.array([-1, 0.5, 2, 1], "float32")
    output = np.array([0.2, 0.4, 0.7, NAN], "float32")
    expected = -(target * np.log(output) + (1 - target) * np.log(1 - output))
    np.testing.assert_allclose(ops.binary_crossentropy(target, output), expected, 1e-5)


def test_axes_are_normalized_that_are_not_the_last():
    """Keras on torch gives the first axis' size to a kernel of the last axes."""
    x, factor = f(4, 4), f(4, low=0.5)
    mean, variance = x.mean(0, keepdims=True), x.var(0, keepdims=True)
    expected = (x - mean) / np.sqrt(variance + 1e-7) * factor[:, None] + factor[:, None]
    found = ops.layer_normalization(x, factor, factor, axis=0)
    np.testing.assert_allclose(found, expected, 1e-4, 1e-5)
    found = ops.layer_normalization(f(2, 3, 4), axis=(-1, 0))
    np.testing.assert_allclose(found, ops.layer_normalization(f(2, 3, 4), axis=(0, 2)))
    expected = x / np.sqrt((x**2).mean(0, keepdims=True) + 1e-7) * factor
    np.testing.assert_allclose(ops.rms_normalization(x, factor, axis=0), expected, 1e-5)


def test_softmax_takes_negative_axes_together():
    """Keras does not find them among its axes."""
    x = f(2, 3, 4)
    for name in ("softmax", "log_softmax"):
        found = getattr(ops, name)(x, axis=(-1, 0))
        np.testing.assert_allclose(found, getattr(keras.ops, name)(x, axis=(2, 0)), 1e-5)


def test_one_hot_puts_its_axis_where_numpy_does():
    """Keras on torch mixes the axes up for -2."""
    x = i(2, 3)
    assert ops.one_hot(x, 5, axis=-2).shape == (2, 5, 3)
    np.testing.assert_array_equal(ops.one_hot(x, 5, axis=-2), ops.one_hot(x, 5, axis=1))


def test_polar_of_half_precision_is_complex64():
    """Keras on torch gives complex32 of float16, which torch computes little in."""
    for dtype in (torch.float16, torch.bfloat16):
        x = torch.tensor([1.0, 2.0], dtype=dtype)
        assert ops.polar(x, x).dtype is torch.complex64


def test_moments_of_no_axes_are_numpys():
    mean, variance = ops.moments(f(2, 3), ())
    np.testing.assert_array_equal(mean, f(2, 3))
    np.testing.assert_array_equal(variance, np.zeros((2, 3)))


# -------------------------------------------------------------------------------------- symbolic

SHAPES = [(None, 3, 4), (None, None, 4), (2, 3, 4)]
ON_ONE = [(name, {}) for name in [*OF_ONE, "sparsemax"]]
ON_ONE += [
    ("threshold", {"threshold": 1.0, "default_value": 0.0}),
    ("glu", {}),
    ("softmax", {"axis": 1}),
    ("softmax", {"axis": (1, 2)}),
    ("softmax", {"axis": None}),
    ("log_softmax", {"axis": (0, 2)}),
    ("one_hot", {"num_classes": 5}),
    ("one_hot", {"num_classes": 5, "axis": 1}),
    ("moments", {"axes": [0]}),
    ("moments", {"axes": [0, -1], "keepdims": True}),
    ("normalize", {"axis": (1, 2)}),
]


def _as_keras(name, *shapes, **kwargs):
    """Assert that a call on symbolic tensors gives the shapes and dtypes of Keras."""
    theirs = getattr(keras.ops, name)(*map(keras.KerasTensor, shapes), **kwargs)
    ours = getattr(ops, name)(*map(torchkeras.KerasTensor, shapes), **kwargs)
    for one, other in zip(_leaves(ours), _leaves(theirs), strict=True):
        assert one.shape == tuple(other.shape), (name, shapes, kwargs)
        assert one.dtype == other.dtype, (name, shapes, kwargs)


@pytest.mark.parametrize("name,kwargs", ON_ONE, ids=[f"{c[0]}-{n}" for n, c in enumerate(ON_ONE)])
def test_symbolic_shapes_are_keras(name, kwargs):
    for shape in SHAPES:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # no trial may warn of sizes that are none
            _as_keras(name, shape, **kwargs)


@pytest.mark.filterwarnings("ignore:You passed")
def test_symbolic_shapes_of_several_are_keras():
    vector = (4,)
    for shape in SHAPES:
        _as_keras("multi_hot", shape, num_classes=5)
        _as_keras("binary_crossentropy", shape, shape)
        _as_keras("categorical_crossentropy", shape, shape, from_logits=True)
        _as_keras("sparse_categorical_crossentropy", shape[:-1], shape)
        _as_keras("batch_normalization", shape, vector, vector, axis=-1)
        _as_keras("layer_normalization", shape, vector, vector)
        _as_keras("rms_normalization", shape, vector)
        _as_keras("psnr", shape, shape, max_val=1.0)
    _as_keras("sparse_categorical_crossentropy", (None, 4), (None, 3, 4), axis=1)


def test_symbolic_shapes_of_real_results():
    """Keras leaves the last axis out whatever the axis is, and calls complex numbers float32."""
    x = torchkeras.KerasTensor((None, 3, 4))
    assert ops.categorical_crossentropy(x, x, axis=1).shape == (None, 4)
    assert ops.polar(x, x).dtype == "complex64"
    whole = torchkeras.KerasTensor((None, 3), dtype="int32")
    assert ops.multi_hot(whole, 5).dtype == "float32"


# --------------------------------------------------------------------------------------- configs


def test_classes_and_settings_are_keras():
    differing = []
    for name, cls in vars(keras_nn).items():
        if not isinstance(cls, type) or cls.__module__ != keras_nn.__name__:
            continue
        known = table.operation_named("keras.src.ops.nn", name)
        expected = set(inspect.signature(cls.__init__).parameters)
        expected -= {"self", "name", "kwargs", "args"}
        if known is None or set(known.settings) - {"num_tokens"} != expected:
            differing.append((name, known, expected))
    assert differing == []


def test_every_function_of_keras_is_there():
    assert sorted(name for name in dir(keras.ops.nn) if name[0] != "_") == sorted(nn.__all__)


def test_signatures_are_keras():
    names = [*OF_ONE, *{case[0] for case in CASES}, "sparsemax"]
    for name in {*names} - {"layer_normalization", "multi_hot"}:
        mine = inspect.signature(getattr(ops, name)).parameters.values()
        other = inspect.signature(getattr(keras.ops, name)).parameters.values()
        assert [(a.name, a.default) for a in mine] == [(a.name, a.default) for a in other], name
    # Keras takes an older argument of these through **kwargs.
    for name, older in (("layer_normalization", "rms_scaling"), ("multi_hot", "num_tokens")):
        mine = list(inspect.signature(getattr(ops, name)).parameters.values())
        other = list(inspect.signature(getattr(keras.ops, name)).parameters.values())
        assert mine.pop().name == older
        assert [(a.name, a.default) for a in mine] == [(a.name, a.default) for a in other[:-1]]


CHAIN = [
    lambda o, x: o.softmax(o.relu(x), axis=1),
    lambda o, x: o.leaky_relu(o.gelu(x, approximate=False), negative_slope=0.3),
    lambda o, x: o.threshold(o.elu(x, 0.5), 0.1, 2.0),
    lambda o, x: o.normalize(o.hard_shrink(x, 0.2), axis=1, order=3),
    lambda o, x: o.layer_normalization(o.silu(x), axis=(1, 2), epsilon=0.01),
    lambda o, x: o.rms_normalization(o.swish(x)),
    lambda o, x: o.categorical_crossentropy(o.softmax(x), x, from_logits=True),
    lambda o, x: o.one_hot(o.argmax(x, axis=-1), 5, dtype="int32"),
    lambda o, x: o.add(*o.moments(x, axes=[1], keepdims=True)),
]


@pytest.mark.parametrize("at", range(len(CHAIN)))
def test_models_pass_between_the_two(at):
    inputs, own = keras.Input((4, 5)), torchkeras.Input((4, 5))
    theirs = keras.Model(inputs, CHAIN[at](keras.ops, inputs))
    ours = torchkeras.Model(own, CHAIN[at](ops, own))
    x = torch.tensor(f(3, 4, 5))
    expected = theirs(x)
    same(ours(x), expected)
    same(torchkeras.Model.from_config(theirs.get_config())(x), expected)
    same(keras.models.model_from_json(ours.to_json())(x), expected)
    pairs = zip(ours.get_config()["layers"], theirs.get_config()["layers"], strict=True)
    for mine, other in list(pairs)[1:]:
        assert mine["class_name"] == other["class_name"]
        assert set(mine["config"]) == set(other["config"])


def test_multi_hot_passes_to_keras_by_either_name():
    """Its older argument is one of our own config's, which Keras reads too."""
    x = torch.tensor(i(3, 4))
    for settings in ({"num_classes": 5}, {"num_tokens": 5}):
        own = torchkeras.Input((4,), dtype="int32")
        ours = torchkeras.Model(own, ops.multi_hot(own, **settings))
        same(ours(x), keras.ops.multi_hot(x, 5))
        same(keras.models.model_from_json(ours.to_json())(x), ours(x))


# ------------------------------------------------------------------------------------- gradients

SMOOTH = [(name, (f(3, 4),), {}) for name in [*OF_ONE, "glu"]]
AT_BENDS = [(name, (np.array([-1, 0, 1, 3, 6], "float32"),), {}) for name in ELEMENTWISE]
OF_FLOATS = [
    (name, (f(14), *args[1:]) if args[0] is ODD else args, kwargs)
    for name, args, kwargs in CASES
    if name not in ("one_hot", "multi_hot") and np.size(args[0])
]


def _gradients(module, name, args, kwargs):
    given = [_tensor(a) for a in args]
    floats = [a for a in given if isinstance(a, torch.Tensor) and a.is_floating_point()]
    for a in floats:
        a.requires_grad_()
    found = getattr(module, name)(*given, **{key: _tensor(a) for key, a in kwargs.items()})
    parts = [torch.view_as_real(part) if part.is_complex() else part for part in _leaves(found)]
    sum((part * torch.arange(part.numel()).view(part.shape)).sum() for part in parts).backward()
    return [a.grad.numpy() for a in floats]


@pytest.mark.parametrize("name,args,kwargs", SMOOTH + AT_BENDS + OF_FLOATS)
@pytest.mark.filterwarnings("ignore:.*rms_scaling=True")
def test_gradients_are_keras(name, args, kwargs):
    if name == "normalize" and not args[0].any() or name == "psnr" and (args[0] == args[1]).all():
        return  # see test_gradients_where_keras_has_none
    ours, theirs = (_gradients(module, name, args, kwargs) for module in (ops, keras.ops))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, 1e-4, 1e-5)


def test_gradients_where_keras_has_none():
    x = torch.zeros(2, 3, requires_grad=True)
    ops.sum(ops.normalize(x, epsilon=0.5)).backward()
    np.testing.assert_array_equal(x.grad, np.full((2, 3), 2.0))
