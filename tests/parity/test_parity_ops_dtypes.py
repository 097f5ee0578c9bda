"""All pairs of dtypes and edge inputs of keras.ops' elementwise functions, against Keras 3.15.1.

Where Keras on torch raises there is nothing to compare.  Where it computes something else than its
own documentation or numpy, :data:`KNOWN` says what and why.
"""

import warnings

import keras
import numpy as np
import pytest
import torch

from torchkeras import ops

pytestmark = pytest.mark.slow

DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64".split()
KINDS = [*DTYPES, "int", "float"]  # the last two are Python's numbers
ONE = (
    "abs absolute angle arccos arccosh arcsin arcsinh arctan arctanh bitwise_invert bitwise_not "
    "cbrt ceil celu conj conjugate copy cos cosh deg2rad elu erf erfc erfinv exp exp2 expm1 fabs "
    "floor gelu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh i0 imag isfinite isinf "
    "isnan isneginf isposinf isreal leaky_relu log log10 log1p log2 log_sigmoid log_softmax "
    "logical_not nan_to_num negative normalize ones_like rad2deg ravel real reciprocal relu relu6 "
    "round rsqrt selu sigmoid sign signbit silu sin sinc sinh soft_shrink softmax softplus "
    "softsign sparse_plus sparse_sigmoid sqrt square squareplus swish tan tanh tanh_shrink trunc "
    "zeros_like"
).split()
TWO = (
    "add arctan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor divide "
    "divide_no_nan equal floor_divide fmax fmin fmod gcd greater greater_equal heaviside hypot "
    "isclose lcm ldexp left_shift less less_equal logaddexp logaddexp2 logical_and logical_or "
    "logical_xor maximum minimum mod multiply nextafter not_equal power right_shift subtract "
    "true_divide"
).split()
AXES = (
    "all any amax amin argmax argmin argsort average count_nonzero cumprod cumsum diff flip "
    "log_softmax logsumexp max mean median min nanargmax nanargmin nancumprod nancumsum nanmax "
    "nanmean nanmedian nanmin nanprod nanstd nansum nanvar normalize prod ptp softmax sort squeeze "
    "std sum trapezoid var"
).split()
ODD = [np.nan, np.inf, -np.inf, -0.0, 0.0, 0.5, -1.5, 2.5, 100.0, -100.0]


def _rank(x):
    return x.ndim if isinstance(x, torch.Tensor) else None


def _is_number_beside_scalar(args, kwargs):
    return {_rank(x) for x in args} == {None, 0}


_BOOLEANS = (torch.bool, np.bool_, bool)


def _is_bool_beside_int(args, kwargs):
    first = args[0][0] if isinstance(args[0], list) else args[0]
    return type(args[1]) is int and getattr(first, "dtype", type(first)) in _BOOLEANS


def _has_axis_of_scalar(args, kwargs):
    return _rank(args[0]) in (0, None) and kwargs.get("axis") is not None


# Functions, the cases, the reason.
KNOWN = [
    (
        "add subtract multiply power mod fmod bitwise_left_shift bitwise_right_shift left_shift "
        "right_shift",
        _is_number_beside_scalar,
        "Keras makes a tensor of the number, which then counts as much as another without axes; "
        "by its own rule, which its symbolic tensors and we follow, numbers are weak",
    ),
    (
        "bitwise_left_shift bitwise_right_shift left_shift right_shift",
        _is_bool_beside_int,
        "Keras gives int64, which it gives nowhere else",
    ),
    (
        "amax amin max min nanprod prod ptp sum",
        lambda args, kwargs: kwargs == {"keepdims": True},
        "Keras forgets keepdims where all axes go",
    ),
    (
        "amax amin flip max min nanmax nanmin ptp squeeze",
        _has_axis_of_scalar,
        "torch takes the axes 0 and -1 of what has none; numpy raises, and so do we",
    ),
    (
        "squeeze",
        lambda args, kwargs: kwargs.get("axis") is not None,
        "Keras leaves an axis that is longer than 1; numpy raises, and so do we",
    ),
    (
        "log_softmax softmax",
        lambda args, kwargs: not args[0].is_floating_point() and not args[0].numel(),
        "Keras returns nothing as it is, of integers too",
    ),
    (
        "sparse_plus sparse_sigmoid",
        lambda args, kwargs: args[0].dtype is torch.uint8,
        "Keras computes -1 in uint8",
    ),
]


def _known(name, args, kwargs):
    """Return the numbers of the known differences that a case falls under."""
    return [
        number
        for number, (names, holds, _) in enumerate(KNOWN)
        if name in names.split() and holds(args, kwargs)
    ]


def _difference(name, args, kwargs):
    """Say in what a call differs from Keras'; ``None`` where in nothing, or where that raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = getattr(keras.ops, name)(*args, **kwargs)
        except Exception:
            return None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"(std|var)\(\): degrees of freedom")  # of nothing
            ours = getattr(ops, name)(*args, **kwargs)
    except Exception as error:
        return f"raises {error!r}"
    ours, theirs = torch.as_tensor(ours), torch.as_tensor(theirs)
    if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
        facts = [(str(found.dtype), tuple(found.shape)) for found in (ours, theirs)]
        return f"is {facts[0]}, Keras' {facts[1]}"
    if ours.is_complex():
        ours, theirs = (torch.view_as_real(x.resolve_conj()) for x in (ours, theirs))
    # Half precision: the last digits hang on where it is rounded.
    tolerance = 2e-2 if theirs.dtype in (torch.float16, torch.bfloat16) else 1e-5
    if torch.allclose(ours.double(), theirs.double(), tolerance, 1e-5, equal_nan=True):
        return None
    return f"is {ours.flatten()[:6].tolist()}, Keras' {theirs.flatten()[:6].tolist()}"


def _agree(name, cases):
    """Assert that calls agree but for the known differences; return which of those there are."""
    found, met = [], set()
    for args, kwargs in cases:
        difference = _difference(name, args, kwargs)
        if difference is None:
            continue
        known = _known(name, args, kwargs)
        met.update(known)
        if not known:
            shown = [_shown(x) for x in args]
            found.append(f"{name}({', '.join(shown)}, {kwargs}) {difference}")
    assert not found, "\n".join([f"{len(found)} differences", *found[:12]])
    return met


def _shown(x):
    facts = f"{x.dtype} {tuple(x.shape)}" if hasattr(x, "shape") else ""
    return f"{type(x).__name__} {facts or x!r}"


def _made(kind, numbers):
    """Return numbers in a dtype, or one of Python's."""
    if kind in ("int", "float"):
        return int(numbers[2]) if kind == "int" else numbers[2] + 0.5
    x = torch.tensor(numbers, dtype=torch.float64)
    if "float" in kind:
        x = x + 0.25
    if kind == "bool":
        return x != 0
    return (x.abs() if kind == "uint8" else x).to(getattr(torch, kind))


def _array(x):
    """Return a tensor as numpy has it; itself where numpy has no such dtype."""
    if not isinstance(x, torch.Tensor) or x.dtype is torch.bfloat16:
        return x
    return x.numpy()


PAIRS = [
    ([1, 2, 3, 4], [4, 1, 2, 3]),
    ([-2, -1, 0, 1], [1, -3, 2, 0]),
    ([0, 1, 0, 3], [0, 0, 2, 1]),
]


def _pairs(one, other):
    for numbers, others in PAIRS:
        yield _made(one, numbers), _made(other, others)
    x, y = _made(one, PAIRS[0][0]), _made(other, PAIRS[0][1])
    are_tensors = [isinstance(item, torch.Tensor) for item in (x, y)]
    yield x, y[1] if are_tensors[1] else y
    yield x[1] if are_tensors[0] else x, y
    yield x[1] if are_tensors[0] else x, y[1] if are_tensors[1] else y
    yield _array(x), y
    yield x, _array(y)
    yield _array(x), _array(y)
    if are_tensors[0]:
        yield x.tolist(), y
    if all(are_tensors):
        yield x[:0], y[:1]
        yield x[:0].reshape(0, 3), y[:3]
        yield x[:, None], y[None]
    odd = [
        torch.tensor(ODD).to(getattr(torch, kind)) for kind in (one, other) if "float" in kind[1:]
    ]
    if all("float" in kind[1:] for kind in (one, other)):
        yield odd[0][:, None], odd[1][None]
    elif odd and not all(are_tensors):
        for number in (x, y):
            for given in ((odd[0], number), (odd[0], 0 * number)):
                if not isinstance(number, torch.Tensor):
                    yield given
                    yield given[::-1]


@pytest.mark.parametrize("name", TWO)
def test_pairs_of_dtypes(name):
    _agree(name, ((pair, {}) for one in KINDS for two in KINDS for pair in _pairs(one, two)))


def _inputs(kind):
    for numbers, _ in PAIRS:
        yield _made(kind, numbers)
    if kind in ("int", "float"):
        return
    x = _made(kind, PAIRS[1][0])
    yield torch.stack([x, _made(kind, PAIRS[1][1])])
    yield x[1]
    yield x[:0]
    yield x[:0].reshape(0, 3)
    yield x[:0].reshape(3, 0)
    if "float" in kind:
        yield torch.tensor(ODD).to(getattr(torch, kind))


@pytest.mark.parametrize("name", ONE)
def test_dtypes(name):
    _agree(name, (((x,), {}) for kind in KINDS for x in _inputs(kind)))


@pytest.mark.parametrize("name", AXES)
def test_axes(name):
    settings = [{}, *({"axis": axis} for axis in (0, -1, None, (0,), 5))]
    settings += [{"axis": -1, "keepdims": True}, {"keepdims": True}]
    _agree(name, (((x,), how) for kind in KINDS for x in _inputs(kind) for how in settings))


def test_the_known_differences_are_still_there():
    met = set()
    for kinds in (("uint8", "int"), ("float16", "float"), ("bool", "int"), ("int32", "int32")):
        for name in ("add", "left_shift"):
            met |= _agree(name, ((pair, {}) for pair in _pairs(*kinds)))
    for kind in ("uint8", "float32"):
        for name in ("amax", "sum", "squeeze", "softmax", "sparse_plus"):
            settings = [{}, {"axis": 0}, {"keepdims": True}] if name != "sparse_plus" else [{}]
            met |= _agree(name, (((x,), how) for x in _inputs(kind) for how in settings))
    assert met == set(range(len(KNOWN)))
