"""keras.ops.numpy against Keras 3.15.1 on torch, and against numpy."""

import inspect

import keras
import numpy as np
import pytest
import torch
from keras.src.ops import numpy as keras_numpy

import torchkeras
from torchkeras import ops
from torchkeras.ops import table

DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64".split()
NAN, INF = np.nan, np.inf


def f(*shape, low=-2.0, high=2.0, seed=0):
    """Floats of a shape."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype("float32")


def i(*shape, low=0, high=5, seed=0):
    """Integers of a shape."""
    return np.random.default_rng(seed).integers(low, high, shape).astype("int32")


def b(*shape, seed=0):
    """Booleans of a shape."""
    return np.random.default_rng(seed).uniform(size=shape) > 0.5


def _tensors(thing, make):
    if isinstance(thing, np.ndarray):
        return make(thing)
    if isinstance(thing, (list, tuple)):
        return type(thing)(_tensors(part, make) for part in thing)
    return thing


def _leaves(found):
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _number(x):
    x = x.detach() if isinstance(x, torch.Tensor) else torch.as_tensor(x)
    return x.float().numpy() if x.dtype is torch.bfloat16 else x.numpy()


def same(ours, theirs, tolerance=1e-5, what=""):
    """Assert that two results agree in value, dtype and shape."""
    ours, theirs = _leaves(ours), _leaves(theirs)
    assert len(ours) == len(theirs), what
    for one, other in zip(ours, theirs):
        if isinstance(other, torch.Tensor):
            assert isinstance(one, torch.Tensor), what
            assert one.dtype == other.dtype, f"{what}: {one.dtype}, Keras {other.dtype}"
            assert one.shape == other.shape, f"{what}: {one.shape}, Keras {other.shape}"
        np.testing.assert_allclose(
            _number(one), _number(other), tolerance, tolerance, err_msg=str(what)
        )


def agree(name, args, kwargs, tolerance=1e-5):
    """Assert that a call agrees with Keras, on tensors and on arrays."""
    theirs = getattr(keras.ops, name)(*_tensors(args, torch.tensor), **kwargs)
    what = f"{name} {[getattr(a, 'shape', a) for a in args]} {kwargs}"
    same(getattr(ops, name)(*_tensors(args, torch.tensor), **kwargs), theirs, tolerance, what)
    same(getattr(ops, name)(*args, **kwargs), theirs, tolerance, what)
    return theirs


ODD = np.array([-INF, -1.5, -0.5, -0.0, 0.0, 0.5, 2.5, 3.5, INF, NAN], "float32")
UNARY = (
    "absolute abs angle arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil conj conjugate copy "
    "cos cosh deg2rad exp exp2 expm1 fabs floor i0 isfinite isinf isnan isneginf isposinf isreal "
    "log log10 log1p log2 logical_not nan_to_num negative rad2deg real reciprocal round sign "
    "signbit sin sinc sinh sqrt square tan tanh trunc ravel ones_like zeros_like"
).split()
BINARY = (
    "add arctan2 divide divide_no_nan equal floor_divide fmax fmin fmod greater greater_equal "
    "heaviside hypot isclose less less_equal logaddexp logaddexp2 logical_and logical_or "
    "logical_xor maximum minimum mod multiply nextafter not_equal power subtract true_divide"
).split()
BITS = "bitwise_and bitwise_or bitwise_xor left_shift right_shift gcd lcm".split()
REDUCTIONS = (
    "all any amax amin max min mean sum prod std var median nanmax nanmin nanmean nansum nanprod "
    "nanstd nanvar nanmedian ptp"
).split()
RUNNING = "cumsum cumprod nancumsum nancumprod".split()
# Keras on torch forgets keepdims of these where all axes go.
KEPT = "amax amin max min prod ptp sum nanprod".split()

CASES = [
    ("allclose", (f(3), f(3)), {}),
    ("append", (f(2, 3), f(2, 3)), {}),
    ("append", (f(2, 3), f(1, 3)), {"axis": 0}),
    ("arange", (5,), {}),
    ("arange", (1, 7, 2), {}),
    ("arange", (0, 1, 0.25), {}),
    ("arange", (0, 5), {"dtype": "float16"}),
    ("argmax", (f(3, 4),), {}),
    ("argmax", (f(3, 4),), {"axis": -1, "keepdims": True}),
    ("argmin", (f(3, 4),), {"axis": 0}),
    ("argmin", (b(3, 4),), {"axis": 0}),
    ("argsort", (i(3, 7),), {}),
    ("argsort", (f(3, 4),), {"axis": None}),
    ("array", ([1, 2, 3],), {}),
    ("array", ([1.0, 2],), {"dtype": "int32"}),
    ("array", (2.5,), {}),
    ("array_split", (f(7, 2), 3), {}),
    ("average", (f(3, 4),), {}),
    ("average", (i(3, 4),), {"axis": 1}),
    ("average", (f(3, 4),), {"axis": 1, "weights": [1.0, 2, 3, 4]}),
    ("bartlett", (7,), {}),
    ("blackman", (7,), {}),
    ("hamming", (7,), {}),
    ("hanning", (7,), {}),
    ("kaiser", (7, 5.0), {}),
    ("bincount", (i(9),), {}),
    ("bincount", (np.array([[1, 4, 2], [4, 0, 0]]),), {"minlength": 6}),
    ("bincount", (i(5),), {"weights": [1.0, 2, 3, 4, 5]}),
    ("bitwise_invert", (i(4),), {}),
    ("bitwise_not", (i(4),), {}),
    ("bitwise_left_shift", (i(4), 2), {}),
    ("bitwise_right_shift", (i(4), 1), {}),
    ("broadcast_to", (f(3), (2, 3)), {}),
    ("clip", (f(3, 4), -1, 1), {}),
    ("clip", (f(3, 4), f(4) - 1, 1.5), {}),
    ("clip", (i(3, 4), 1, 3), {}),
    ("concatenate", ([f(2, 3), f(4, 3)],), {}),
    ("concatenate", ([f(2, 3), i(2, 1)],), {"axis": -1}),
    ("corrcoef", (f(3, 9),), {}),
    ("correlate", (f(9), f(4)), {}),
    ("correlate", (f(9), f(4)), {"mode": "same"}),
    ("correlate", (f(9), f(4)), {"mode": "full"}),
    ("count_nonzero", (i(3, 4),), {}),
    ("count_nonzero", (i(3, 4),), {"axis": 1}),
    ("cross", (f(2, 3), f(2, 3, seed=1)), {"axis": -1}),
    ("diag", (f(3),), {"k": 1}),
    ("diag", (f(3, 4),), {"k": -1}),
    ("diagflat", (f(2, 2),), {"k": 1}),
    ("diagonal", (f(3, 4, 2),), {"offset": 1, "axis1": 1, "axis2": 0}),
    ("diff", (f(3, 5),), {}),
    ("diff", (f(3, 5),), {"n": 2, "axis": 0}),
    ("digitize", (f(5), np.array([-1.0, 0, 1], "float32")), {}),
    ("dot", (f(3), f(3)), {}),
    ("dot", (f(2, 3), f(3, 4)), {}),
    ("dot", (f(2, 3), 2.0), {}),
    ("dsplit", (f(2, 2, 4), 2), {}),
    ("dstack", ([f(2, 3), f(2, 3)],), {}),
    ("einsum", ("bij,bjk->bik", f(2, 3, 4), f(2, 4, 5)), {}),
    ("einsum", ("ij->j", f(3, 4)), {}),
    ("expand_dims", (f(3, 4), 1), {}),
    ("expand_dims", (f(3, 4), (0, -1)), {}),
    ("eye", (3,), {}),
    ("eye", (3, 4), {"k": 1, "dtype": "int32"}),
    ("eye", (4, 3), {"k": -1}),
    ("flip", (f(3, 4),), {}),
    ("flip", (f(3, 4),), {"axis": -1}),
    ("flip", (f(3, 4, 2),), {"axis": (0, 2)}),
    ("fliplr", (f(3, 4),), {}),
    ("flipud", (f(3, 4),), {}),
    ("full", ((2, 3), 1.5), {}),
    ("full", ((2, 3), 2), {"dtype": "int32"}),
    ("full", ((2, 3), f(3)), {}),
    ("full_like", (f(2, 3), 2), {}),
    ("geomspace", (1.0, 1000.0), {"num": 4}),
    ("histogram", (f(20),), {"bins": 5}),
    ("histogram", (f(20),), {"bins": 5, "range": (-1.0, 1.0)}),
    ("hsplit", (f(2, 4), 2), {}),
    ("hstack", ([f(2, 3), f(2, 1)],), {}),
    ("identity", (3,), {}),
    ("inner", (f(2, 3), f(4, 3)), {}),
    ("isin", (i(3, 4), np.array([1, 2], "int32")), {}),
    ("isin", (i(3, 4), np.array([1, 2], "int32")), {"invert": True}),
    ("kron", (f(2, 2), f(2, 3)), {}),
    ("ldexp", (f(4), i(4)), {}),
    ("linspace", (0, 1), {"num": 5}),
    ("linspace", (0.0, 10.0), {"num": 5, "endpoint": False}),
    ("linspace", (f(3), f(3, seed=1)), {"num": 5}),
    ("linspace", (0.0, 1.0), {"num": 5, "retstep": True}),
    ("linspace", (0, 10), {"num": 5, "dtype": "int32"}),
    ("logspace", (0, 2), {"num": 5}),
    ("logspace", (0.0, 3.0), {"num": 4, "base": 2}),
    ("matmul", (f(2, 3), f(3, 4)), {}),
    ("matmul", (f(5, 2, 3), f(3)), {}),
    ("matmul", (i(2, 3), f(3, 4)), {}),
    ("matmul", (i(2, 3).astype("int8"), i(3, 4).astype("int8")), {}),
    ("max", (f(3, 4),), {"initial": 1.0}),
    ("min", (f(3, 4),), {"axis": 1, "initial": -1.0}),
    ("meshgrid", (f(3), f(2)), {}),
    ("meshgrid", (f(3), f(2)), {"indexing": "ij"}),
    ("moveaxis", (f(2, 3, 4), 0, -1), {}),
    ("moveaxis", (f(2, 3, 4), (0, 1), (1, 0)), {}),
    ("nan_to_num", (ODD,), {"nan": 1.0, "posinf": 2.0, "neginf": -2.0}),
    ("nanargmax", (np.array([[1, NAN, 3], [NAN, NAN, NAN]], "float32"),), {"axis": 1}),
    ("nanargmin", (np.array([[1, NAN, 3], [NAN, NAN, NAN]], "float32"),), {"axis": 1}),
    ("ndim", (f(2, 3),), {}),
    ("nonzero", (i(3, 4),), {}),
    ("ones", ((2, 3),), {}),
    ("ones", (3,), {"dtype": "int8"}),
    ("outer", (f(3), f(2, 2)), {}),
    ("pad", (f(2, 3), ((1, 0), (0, 2))), {}),
    ("pad", (f(2, 3), ((1, 1), (0, 0))), {"constant_values": 2.0}),
    ("pad", (f(3, 4), ((1, 2), (0, 1))), {"mode": "reflect"}),
    ("percentile", (f(3, 4), 30.0), {"axis": 1}),
    ("prod", (i(3, 4),), {"dtype": "float32"}),
    ("quantile", (f(3, 4), np.array([0.1, 0.5], "float32")), {"axis": 0, "keepdims": True}),
    ("quantile", (f(2, 3, 4), 0.3), {"axis": (0, 2), "method": "nearest"}),
    ("nanquantile", (f(3, 4), 0.3), {"axis": 1}),
    ("nanpercentile", (f(3, 4), 30.0), {}),
    ("repeat", (f(2, 3), 2), {}),
    ("repeat", (f(2, 3), 2), {"axis": 1}),
    ("repeat", (f(2, 3), np.array([1, 2])), {"axis": 0}),
    ("reshape", (f(2, 6), (3, -1)), {}),
    ("reshape", (f(2, 6), -1), {}),
    ("roll", (f(3, 4), 1), {}),
    ("roll", (f(3, 4), -2), {"axis": 1}),
    ("rot90", (f(2, 3),), {"k": 3}),
    ("round", (f(3, 4),), {"decimals": 1}),
    ("searchsorted", (np.array([1.0, 2, 3], "float32"), f(4, high=4)), {}),
    ("searchsorted", (np.array([1, 2, 3], "int32"), i(4)), {"side": "right"}),
    ("select", ([b(4), b(4, seed=1)], [f(4), f(4, seed=1)], 7.0), {}),
    ("size", (f(2, 3),), {}),
    ("slogdet", (f(2, 3, 3),), {}),
    ("sort", (f(3, 4),), {"axis": 0}),
    ("sort", (i(3, 4),), {"axis": None}),
    ("split", (f(4, 3), 2), {}),
    ("split", (f(5, 3), [1, 3]), {}),
    ("split", (f(2, 6), 3), {"axis": -1}),
    ("squeeze", (f(1, 3, 1),), {}),
    ("squeeze", (f(1, 3, 1),), {"axis": -1}),
    ("stack", ([f(2, 3), f(2, 3, seed=1)],), {"axis": -1}),
    ("swapaxes", (f(2, 3, 4), 0, 2), {}),
    ("take", (f(3, 4), np.array([[0, -1], [2, 1]])), {"axis": 0}),
    ("take", (f(3, 4), np.array([0, -1])), {"axis": 1}),
    ("take", (f(3, 4), 2), {"axis": -1}),
    ("take", (f(6), np.array([0, -1])), {}),
    ("take", (i(3, 4), np.array([1, 2])), {"axis": 0}),
    ("take_along_axis", (f(3, 4), np.array([[0], [-1], [2]])), {"axis": 1}),
    ("tensordot", (f(2, 3, 4), f(3, 4, 5)), {}),
    ("tensordot", (f(2, 3, 4), f(4, 3)), {"axes": ((1, 2), (1, 0))}),
    ("tensordot", (f(2, 3), f(3, 2)), {"axes": (1, 0)}),
    ("tile", (f(2, 3), 2), {}),
    ("tile", (f(2, 3), (2, 1)), {}),
    ("trace", (f(3, 4),), {"offset": 1}),
    ("trace", (b(3, 4),), {}),
    ("transpose", (f(2, 3, 4),), {}),
    ("transpose", (f(2, 3, 4), (2, 0, 1)), {}),
    ("trapezoid", (f(3, 4),), {}),
    ("trapezoid", (f(3, 4),), {"dx": 0.5, "axis": 0}),
    ("tri", (3,), {}),
    ("tri", (3, 4), {"k": 1, "dtype": "int32"}),
    ("tril", (f(3, 4),), {"k": -1}),
    ("triu", (f(3, 4),), {"k": 1}),
    ("unique", (i(9),), {}),
    ("unique", (i(9),), {"return_counts": True, "return_inverse": True}),
    ("unique", (i(9),), {"size": 7, "fill_value": -1}),
    ("unique", (i(9),), {"size": 2, "return_counts": True}),
    ("unravel_index", (np.array([3, 5]), (2, 3)), {}),
    ("vander", (f(4),), {}),
    ("vander", (f(4),), {"N": 3, "increasing": True}),
    ("vdot", (f(3), f(3)), {}),
    ("view", (f(4),), {"dtype": "int32"}),
    ("vsplit", (f(4, 2), [1, 3]), {}),
    ("vstack", ([f(2, 3), f(1, 3)],), {}),
    ("where", (b(3, 4), f(3, 4), f(4)), {}),
    ("where", (b(3, 4), f(3, 4), 0), {}),
    ("where", (b(3, 4), 1, 0), {}),
    ("where", (b(3, 4),), {}),
    ("zeros", ((2, 3),), {}),
]
IDS = [f"{at}-{case[0]}" for at, case in enumerate(CASES)]


@pytest.mark.parametrize("name,args,kwargs", CASES, ids=IDS)
def test_calls(name, args, kwargs):
    agree(name, args, kwargs)


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    for x in (ODD, f(2, 3), f(0, 3), f()):
        agree(name, (x,), {})


@pytest.mark.parametrize("name", UNARY)
def test_unary_dtypes(name):
    for dtype in DTYPES:
        x = torch.tensor([0, 1, 2, 3]).to(getattr(torch, dtype))
        _agree_in_dtype(name, x)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    for x1, x2 in (
        (f(3, 4), f(4, seed=1)),
        (f(0, 3), f(1, 3)),
        (ODD, ODD[::-1].copy()),
        (f(), f()),
    ):
        agree(name, (x1, x2), {})
    agree(name, (f(3, 4, low=0.5), 2.0), {})
    agree(name, (2, f(3, 4, low=0.5)), {})


@pytest.mark.parametrize("name", BINARY + ["matmul", "dot", "inner", "vdot", "tensordot", "where"])
def test_pairs_of_dtypes(name):
    options = {"axes": 1} if name == "tensordot" else {}
    for one in DTYPES:
        x1 = torch.tensor([0, 1, 2]).to(getattr(torch, one))
        for other in DTYPES:
            x2 = torch.tensor([1, 2, 3]).to(getattr(torch, other))
            if name == "where":
                _agree_in_dtype(name, x1 > 0, x1, x2)
            else:
                _agree_in_dtype(name, x1, x2, **options)
        for number in (2, 2.0) if name in BINARY else ():
            _agree_in_dtype(name, x1, number)
            _agree_in_dtype(name, number, x1)


@pytest.mark.parametrize("name", BITS)
def test_bits_of_pairs_of_integers(name):
    for one in DTYPES[1:6]:
        for other in DTYPES[1:6]:
            x1 = torch.tensor([1, 2, 6]).to(getattr(torch, one))
            x2 = torch.tensor([1, 3, 4]).to(getattr(torch, other))
            _agree_in_dtype(name, x1, x2)


def _agree_in_dtype(name, *args, **kwargs):
    """Assert agreement wherever Keras can compute it."""
    try:
        theirs = getattr(keras.ops, name)(*args, **kwargs)
    except Exception:
        return
    what = f"{name} {[getattr(a, 'dtype', a) for a in args]}"
    same(getattr(ops, name)(*args, **kwargs), theirs, 1e-2, what)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name):
    empty = [()] if name not in ("std", "median", "nanmedian", "ptp", "prod") else []
    for axis in [None, 0, -1, (0, 2), (-1, -3), *empty]:
        for keepdims in (False, True):
            if axis is None and keepdims and name in KEPT:
                continue  # Keras on torch drops the axes; see test_axes_are_kept_as_in_numpy
            agree(name, (f(2, 3, 4),), {"axis": axis, "keepdims": keepdims})
    x = f(2, 3, 4)
    x[0, 1, 2], x[1] = NAN, NAN
    if name not in ("median",):
        agree(name, (x,), {"axis": 1})


@pytest.mark.parametrize("name", REDUCTIONS + RUNNING)
def test_reductions_dtypes(name):
    for dtype in DTYPES:
        x = torch.tensor([[0, 1, 2], [3, 1, 2]]).to(getattr(torch, dtype))
        _agree_in_dtype(name, x, axis=1)
        _agree_in_dtype(name, x)


@pytest.mark.parametrize("name", KEPT)
def test_axes_are_kept_as_in_numpy(name):
    x = f(2, 3)
    if name == "ptp":
        expected = np.ptp(x, keepdims=True)
    else:
        expected = getattr(np, name)(x, keepdims=True)
    np.testing.assert_allclose(getattr(ops, name)(x, keepdims=True), expected, 1e-6)


@pytest.mark.parametrize("name", RUNNING)
def test_running(name):
    x = np.array([[1, NAN, 2], [3, 4, 5]], "float32")
    for axis in (None, 0, -1):
        agree(name, (x,), {"axis": axis})
    agree(name, (i(3, 4),), {"axis": 1, "dtype": "float32"})


@pytest.mark.parametrize("name", "sum prod all any mean".split())
def test_reductions_of_nothing(name):
    np.testing.assert_allclose(ops.sum(np.zeros((0, 3), "float32"), axis=0), np.zeros(3))
    with np.errstate(all="ignore"):
        if name != "mean":
            found = getattr(ops, name)(np.zeros((2, 0), "float32"), axis=1)
            np.testing.assert_array_equal(found, getattr(np, name)(np.zeros((2, 0)), axis=1))


# ------------------------------------------------------------------------------------ against numpy

OF_NUMPY = [
    case
    for case in CASES
    if hasattr(np, case[0]) and case[0] not in (
        "array average bincount full isin unique where split round size clip view arange eye "
        "concatenate pad max min linspace nanargmax nanargmin argsort"
    ).split()
]  # fmt: skip
PADS = [((1, 2), (2, 1)), ((3, 3), (4, 4))]


@pytest.mark.parametrize(
    "name,args,kwargs", OF_NUMPY, ids=[f"{c[0]}-{n}" for n, c in enumerate(OF_NUMPY)]
)
def test_values_are_numpys(name, args, kwargs):
    kwargs = {key: item for key, item in kwargs.items() if key != "dtype"}
    expected = getattr(np, name)(*args, **kwargs)
    found = getattr(ops, name)(*args, **kwargs)
    expected, found = _leaves(expected), _leaves(found)
    if name == "nonzero":
        found = list(found[0])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(one), other, 1e-4, 1e-5)


@pytest.mark.parametrize("mode", ["reflect", "symmetric"])
@pytest.mark.parametrize("width", PADS)
def test_padding_by_mirrors_is_numpys(mode, width):
    for x in (f(3, 4), i(3, 4), f(1, 3)):
        expected = np.pad(x, width, mode=mode)
        np.testing.assert_array_equal(ops.pad(x, width, mode=mode), expected)


def test_axes_of_products_and_ranges_are_numpys():
    a, b_ = f(3, 5), f(5, 3, seed=1)
    np.testing.assert_allclose(
        ops.cross(a, b_, axisa=0, axisb=1, axisc=0), np.cross(a, b_, 0, 1, 0), 1e-5
    )
    for name in ("linspace", "logspace", "geomspace"):
        start, stop = f(2, 3, low=1), f(2, 3, low=1, seed=1)
        for endpoint in (True, False):
            found = getattr(ops, name)(start, stop, 7, endpoint, axis=-1)
            expected = getattr(np, name)(start, stop, 7, endpoint, axis=-1)
            np.testing.assert_allclose(found, expected, 2e-5)


# -------------------------------------------------------------------------------------- symbolic

SHAPES = [(None, 3, 4), (None, None, 4), (2, 3, 4)]
OF_ONE = [(name, {}) for name in UNARY if name not in ("ravel",)]
OF_ONE += [(name, {"axis": axis}) for name in REDUCTIONS for axis in (1, (0, -1))]
OF_ONE += [
    ("argmax", {"axis": 1}),
    ("argsort", {}),
    ("clip", {"x_min": 0, "x_max": 1}),
    ("cumsum", {"axis": 1}),
    ("diff", {"axis": 2}),
    ("expand_dims", {"axis": -1}),
    ("flip", {"axis": 1}),
    ("moveaxis", {"source": 1, "destination": 2}),
    ("pad", {"pad_width": ((0, 0), (1, 1), (2, 0))}),
    ("quantile", {"q": 0.5, "axis": 1}),
    ("repeat", {"repeats": 2, "axis": 2}),
    ("reshape", {"newshape": (-1, 4)}),
    ("roll", {"shift": 1, "axis": 1}),
    ("sort", {}),
    ("split", {"indices_or_sections": 2, "axis": 2}),
    ("swapaxes", {"axis1": 1, "axis2": 2}),
    ("take", {"indices": [0, 1], "axis": 2}),
    ("tile", {"repeats": (1, 2, 1)}),
    ("transpose", {"axes": (0, 2, 1)}),
    ("tril", {}),
]


@pytest.mark.parametrize("name,kwargs", OF_ONE, ids=[f"{c[0]}-{n}" for n, c in enumerate(OF_ONE)])
def test_symbolic_shapes_are_keras(name, kwargs):
    for shape in SHAPES:
        theirs = getattr(keras.ops, name)(keras.KerasTensor(shape), **kwargs)
        ours = getattr(ops, name)(torchkeras.KerasTensor(shape), **kwargs)
        real = getattr(ops, name)(torch.zeros([size or 2 for size in shape]), **kwargs)
        for one, other, number in zip(_leaves(ours), _leaves(theirs), _leaves(real), strict=True):
            assert one.shape == tuple(other.shape)
            assert "torch." + one.dtype == str(number.dtype)


@pytest.mark.parametrize("name", [name for name in BINARY if name != "isclose"])
def test_symbolic_pairs(name):
    for one, other in (((None, 3), (3,)), ((None, 1), (None, 3)), ((None, None), (2, 1))):
        theirs = getattr(keras.ops, name)(keras.KerasTensor(one), keras.KerasTensor(other))
        ours = getattr(ops, name)(torchkeras.KerasTensor(one), torchkeras.KerasTensor(other))
        assert ours.shape == tuple(theirs.shape)
        assert ours.dtype == theirs.dtype


# --------------------------------------------------------------------------------------- configs


def test_classes_and_settings_are_keras():
    differing = []
    for name in dir(keras_numpy):
        cls = getattr(keras_numpy, name)
        if not isinstance(cls, type) or cls.__module__ != keras_numpy.__name__:
            continue
        known = table.operation_named("keras.src.ops.numpy", name)
        if known is None:
            if name not in ("Ndim", "GetItem"):
                differing.append((name, "missing"))
            continue
        expected = list(inspect.signature(cls.__init__).parameters)[1:]
        expected = sorted(set(expected) - {"name"})
        if sorted(known.settings) != expected:
            differing.append((name, known.settings, expected))
    assert differing == []


CHAIN = [
    lambda o, x: o.sum(o.expand_dims(x, 1), axis=1, keepdims=False),
    lambda o, x: o.concatenate([o.exp(x), o.clip(x, 0, 1.0)], axis=-1),
    lambda o, x: o.where(x > 0, x, 0.0),
    lambda o, x: o.einsum("bij,bkj->bik", x, x),
    lambda o, x: o.stack(o.split(x, 2, axis=1), axis=1),
    lambda o, x: o.take(o.cumsum(x, axis=1), [0, 1], axis=2),
    lambda o, x: o.pad(o.transpose(x, (0, 2, 1)), ((0, 0), (1, 0), (0, 1))),
    lambda o, x: o.add(o.maximum(x, 0.5), o.mean(x, axis=(1, 2), keepdims=True)),
    lambda o, x: o.zeros_like(x, dtype="int32"),
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
    back = keras.models.model_from_json(ours.to_json())
    same(back(x), expected)
    named = [layer["class_name"] for layer in theirs.get_config()["layers"]]
    assert [layer["class_name"] for layer in ours.get_config()["layers"]] == named
    for mine, other in zip(ours.get_config()["layers"][1:], theirs.get_config()["layers"][1:]):
        assert set(mine["config"]) == set(other["config"])


# ------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize(
    "name,kwargs",
    [(n, {}) for n in "absolute cbrt exp log sqrt square tanh sinc reciprocal".split()]
    + [
        (n, {"axis": 1})
        for n in "sum mean prod std var amax max min cumsum nansum logaddexp".split()[:-1]
    ]
    + [("take", {"indices": [0, 2, 0], "axis": 1}), ("median", {}), ("sort", {})],
)
def test_gradients_are_keras(name, kwargs):
    grads = []
    for module in (ops, keras.ops):
        x = torch.tensor(f(3, 4, low=0.5), requires_grad=True)
        found = getattr(module, name)(x, **kwargs)
        (found * torch.arange(found.numel()).reshape(found.shape)).sum().backward()
        grads.append(x.grad.numpy())
    np.testing.assert_allclose(grads[0], grads[1], 1e-5, 1e-6)


def test_dividing_by_zero_has_no_gradient():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    ops.sum(ops.divide_no_nan(x, torch.tensor([0.0, 4.0]))).backward()
    assert x.grad.tolist() == [0.0, 0.25]


def test_every_function_of_keras_is_there():
    missing = [name for name in dir(keras.ops.numpy) if name[0] != "_" and name not in dir(ops)]
    assert missing == []
    differing = []
    for name in dir(keras.ops.numpy):
        theirs = getattr(keras.ops.numpy, name)
        if callable(theirs):
            mine = inspect.signature(getattr(ops, name)).parameters.values()
            other = inspect.signature(theirs).parameters.values()
            if [(p.name, p.default) for p in mine] != [(p.name, p.default) for p in other]:
                differing.append(name)
    assert differing == []
