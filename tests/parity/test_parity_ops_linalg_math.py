"""keras.ops.linalg, math and einops against Keras 3.15.1 on torch, and against numpy."""

import inspect
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from keras.src.ops import einops as keras_einops, linalg as keras_linalg, math as keras_math

import torchkeras
from torchkeras import ops
from torchkeras.ops import table

sys.path.insert(0, str(Path(__file__).parent))

from test_parity_ops_numpy import DTYPES, INF, NAN, agree, f, i, same


def positive(*shape, seed=0):
    """Positive definite matrices."""
    x = f(*shape, seed=seed)
    return x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1], dtype="float32")


def pair(*shape):
    """Real and imaginary parts."""
    return f(*shape), f(*shape, seed=1)


WAVE = f(2, 3, 40)
STFT = {"sequence_length": 8, "sequence_stride": 3, "fft_length": 8}
WINDOW = np.linspace(0.5, 1, 8).astype("float32")
IDS = np.array([0, 2, 0, 3, 2], "int32")

CASES = [
    ("cholesky", (positive(2, 3, 3),), {}),
    ("cholesky", (positive(3, 3),), {"upper": True}),
    ("cholesky_inverse", (np.tril(positive(3, 3)),), {}),
    ("cholesky_inverse", (np.triu(positive(2, 3, 3)),), {"upper": True}),
    ("det", (f(2, 3, 3),), {}),
    ("det", (f(0, 3, 3),), {}),
    ("inv", (positive(2, 3, 3),), {}),
    ("lstsq", (f(5, 3), f(5)), {}),
    ("lstsq", (f(5, 3), f(5, 2, seed=1)), {}),
    ("lstsq", (f(3, 5), f(3)), {}),
    ("lstsq", (f(5, 3), f(5)), {"rcond": 0.5}),
    ("lu_factor", (f(2, 3, 3),), {}),
    ("matrix_rank", (np.ones((2, 3, 4), "float32"),), {}),
    ("matrix_rank", (np.diag([3.0, 2, 0.5]).astype("float32"),), {"tol": 1.0}),
    ("norm", (f(3, 4),), {}),
    ("norm", (f(2, 3, 4),), {}),
    ("norm", (f(2, 3, 4),), {"axis": -1}),
    ("norm", (f(2, 3, 4),), {"axis": (0, -1), "keepdims": True}),
    ("norm", (f(3, 4),), {"ord": "nuc"}),
    ("norm", (f(2, 3, 4),), {"ord": "fro", "axis": (1, 2)}),
    ("norm", (f(0, 3),), {"axis": 0}),
    ("norm", (np.array([1, NAN, -INF], "float32"),), {}),
    *(("norm", (f(3, 4),), {"ord": one}) for one in (1, -1, 2, -2, INF, -INF)),
    *(("norm", (f(3, 4),), {"ord": one, "axis": 1}) for one in (0, 1, 3, -2, 0.5, INF, -INF)),
    ("pinv", (f(2, 3, 5),), {}),
    ("pinv", (f(5, 3),), {"rcond": 0.5}),
    ("solve", (positive(3, 3), f(3)), {}),
    ("solve", (positive(2, 3, 3), f(2, 3, 4)), {}),
    ("solve", (positive(2, 3, 3), f(2, 3)), {}),
    ("solve_triangular", (positive(3, 3), f(3)), {}),
    ("solve_triangular", (positive(2, 3, 3), f(2, 3)), {"lower": True}),
    ("solve_triangular", (positive(2, 3, 3), f(2, 3, 4)), {"lower": True}),
    ("svd", (f(2, 3, 4),), {"compute_uv": False}),
    ("cdist", (f(2, 3, 4), f(5, 4)), {}),
    ("cdist", (f(3, 4), f(0, 4)), {}),
    ("cdist", (f(1, 2, 3, 4), f(5, 1, 6, 4)), {}),
    ("erf", (np.array([NAN, -INF, -1, 0, 2, INF], "float32"),), {}),
    ("erfc", (np.array([NAN, -INF, -1, 0, 9, INF], "float32"),), {}),
    ("erfinv", (np.array([NAN, -2, -1, 0, 0.5, 1], "float32"),), {}),
    ("rsqrt", (np.array([NAN, -1, 0, 4, INF], "float32"),), {}),
    ("rsqrt", (f(0, 3),), {}),
    ("erf", (0.5,), {}),
    ("extract_sequences", (f(2, 9), 4, 2), {}),
    ("extract_sequences", (i(9), 4, 5), {}),
    ("in_top_k", (np.array([1, 0, 3]), f(3, 4), 2), {}),
    ("in_top_k", (np.array([1, 0]), np.array([[1, 1, 0], [0, 1, 1]], "float32"), 1), {}),
    ("logdet", (positive(2, 3, 3),), {}),
    ("logdet", (-np.eye(3, dtype="float32"),), {}),
    ("logsumexp", (f(2, 3, 4),), {}),
    ("logsumexp", (f(2, 3, 4),), {"axis": -1}),
    ("logsumexp", (f(2, 3, 4),), {"axis": (0, -1), "keepdims": True}),
    ("logsumexp", (np.array([[-INF, -INF], [INF, 1], [NAN, 1]], "float32"),), {"axis": 1}),
    ("logsumexp", (f(0, 3),), {"axis": 0}),
    ("logsumexp", (f(),), {}),
    *(("segment_" + one, (f(5, 2, 3), IDS), {}) for one in ("max", "min", "prod", "sum")),
    *(("segment_" + one, (i(5), IDS), {}) for one in ("max", "prod", "sum")),
    ("segment_sum", (f(5, 2), np.array([0, -1, 2, 7, 2])), {"num_segments": 3}),
    ("segment_max", (f(5), np.array([0, 0, 1, 1, 3])), {"num_segments": 6, "sorted": True}),
    ("top_k", (f(3, 5), 2), {}),
    ("top_k", (i(7, high=99), 3), {}),
    ("top_k", (f(3, 5), 0), {}),
    ("view_as_complex", (f(3, 2),), {}),
    ("view_as_complex", (f(0, 2),), {}),
    ("fft", (pair(3, 5),), {}),
    ("fft2", (pair(2, 3, 5),), {}),
    ("ifft2", (pair(2, 3, 5),), {}),
    ("irfft", (pair(3, 5),), {}),
    ("irfft", (pair(3, 5),), {"fft_length": 7}),
    ("rfft", (f(3, 5),), {}),
    ("rfft", (f(3, 5),), {"fft_length": 3}),
    ("rfft", (f(2, 3, 5),), {"fft_length": 9}),
    *(
        ("stft", (x,), {**STFT, **more})
        for x in (WAVE, WAVE[0], WAVE[0, 0])
        for more in (
            {},
            {"window": "hamming", "fft_length": 11},
            {"window": WINDOW, "center": False},
            {"window": None, "fft_length": 16},
        )
    ),
    *(
        ("istft", (pair(*lead, 9, 5),), {**STFT, **more})
        for lead in ((), (2,), (2, 3))
        for more in ({}, {"window": "hamming"}, {"length": 13}, {"window": WINDOW})
    ),
    *(
        ("istft", (pair(*lead, 9, bins),), {**STFT, **more})
        for lead in ((), (2, 3))
        for bins, more in (
            (6, {"fft_length": 11}),
            (6, {"fft_length": 10, "window": "hamming", "length": 20}),
            (5, {"window": "hamming", "center": False}),
            (5, {"window": WINDOW, "center": False, "sequence_stride": 4}),
            (9, {"window": None, "fft_length": 16}),
        )
    ),
    ("rearrange", (f(2, 3, 4, 5), "b h w c -> b c h w"), {}),
    ("rearrange", (f(2, 3, 4, 5), "b h w c -> (b h) w c"), {}),
    ("rearrange", (f(2, 3, 4, 5), "b h w c->h (b w) c"), {}),
    ("rearrange", (f(2, 4, 6, 5), "b (h1 h) (w1 w) c -> (b h1 w1) h w c"), {"h1": 2, "w1": 3}),
    ("rearrange", (f(2, 4, 6, 5), "b (h h1) (w w1) c -> b h w (c h1 w1)"), {"h1": 2, "w1": 2}),
    ("rearrange", (f(24), "(a b c) -> c (b a)"), {"a": 2, "c": 3}),
]


@pytest.mark.parametrize(
    "name,args,kwargs", CASES, ids=[f"{c[0]}-{n}" for n, c in enumerate(CASES)]
)
def test_calls(name, args, kwargs):
    if name == "top_k":  # Keras on torch gives int64 places; its documentation and specs say int32
        values, places = ops.top_k(*args, **kwargs)
        expected = keras.ops.top_k(torch.tensor(args[0]), *args[1:], **kwargs)
        same((values, places), (expected[0], expected[1].int()))
    elif name == "stft":  # Keras asks x.dtype before it is made a tensor
        agree(name, (torch.tensor(args[0]),), kwargs, 1e-4)
    elif name == "rearrange" or name.startswith("segment"):  # likewise for the shape
        agree(name, _real(args), kwargs)
    else:
        agree(name, args, kwargs, 1e-4 if name in ("istft", "lstsq", "pinv", "inv") else 1e-5)


def _real(args):
    return tuple(torch.tensor(x) if isinstance(x, np.ndarray) else x for x in args)


ELEMENTS = "erf erfc erfinv rsqrt".split()
SQUARE = "cholesky det eigh inv logdet lu_factor svd pinv norm matrix_rank qr".split()


@pytest.mark.parametrize("name", ELEMENTS + SQUARE + ["logsumexp", "rfft", "view_as_complex"])
def test_dtypes_of_one(name):
    for dtype in DTYPES:
        x = torch.tensor([[2, 0], [0, 3]]).to(getattr(torch, dtype))
        try:
            theirs = getattr(keras.ops, name)(x)
        except Exception:
            # Keras takes no integers here; they count as floats, as with its numpy backend.
            if name in SQUARE and not x.is_floating_point():
                same(getattr(ops, name)(x), getattr(ops, name)(x.float()))
            continue
        same(getattr(ops, name)(x), theirs, 1e-2, f"{name} {dtype}")


@pytest.mark.parametrize("name", "max min prod sum".split())
def test_dtypes_of_segments(name):
    name, ids = "segment_" + name, torch.tensor([0, 2, 0, 2])
    for dtype in DTYPES:
        x = torch.tensor([[1, 2], [3, 1], [2, 4], [0, 3]]).to(getattr(torch, dtype))
        found, expected = getattr(ops, name)(x, ids), getattr(keras.ops, name)(x, ids)
        # A segment of nothing has the least number of an integer's dtype, which Keras takes from
        # an infinity, with what the processor makes of it.
        rows = [0, 1, 2] if x.is_floating_point() or name[-1] in "dm" else [0, 2]
        same(found[rows], expected[rows], what=f"{name} {dtype}")


def test_dtypes_of_distances():
    for one in DTYPES[1:]:
        for other in DTYPES[1:]:
            x = torch.tensor([[0, 3], [1, 2]]).to(getattr(torch, one))
            y = torch.tensor([[4, 0], [1, 2]]).to(getattr(torch, other))
            expected = keras.ops.cdist(x, y).dtype
            # In integers, Keras on torch wraps around where y is greater.
            same(ops.cdist(x, y), keras.ops.cdist(x.float(), y.float()).to(expected), 1e-2)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (2, 4, 3), (3, 5), (0, 3, 3)])
def test_factors_make_the_matrix(shape):
    x = torch.tensor(f(*shape))
    for mode in ("reduced", "complete"):
        q, r = ops.qr(x, mode=mode)
        theirs = keras.ops.qr(x, mode=mode)
        assert [q.shape, r.shape] == [one.shape for one in theirs]
        same(q @ r, x)
        same(q.mT @ q, torch.eye(q.shape[-1]).expand(*shape[:-2], -1, -1))
    for full in (True, False):
        u, s, v = ops.svd(x, full_matrices=full)
        theirs = keras.ops.svd(x, full_matrices=full)
        assert [u.shape, s.shape, v.shape] == [one.shape for one in theirs]
        same(s, theirs[1])
        k = s.shape[-1]
        same(u[..., :k] * s.unsqueeze(-2) @ v[..., :k, :], x)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (0, 3, 3)])
def test_eigenvectors_are_only_stretched(shape):
    x = torch.tensor(f(*shape))
    for name, matrix in (("eig", x), ("eigh", x + x.mT)):
        values, vectors = getattr(ops, name)(matrix)
        theirs = getattr(keras.ops, name)(matrix)
        assert (values.dtype, vectors.dtype) == (theirs[0].dtype, theirs[1].dtype)
        assert torch.allclose(values, theirs[0], 1e-4, 1e-5)
        left = matrix.to(vectors.dtype) @ vectors
        assert torch.allclose(left, vectors * values.unsqueeze(-2), 1e-4, 1e-5)


def test_complex_numbers_go_there_and_back():
    x = f(3, 4, 2)
    complex_ = ops.view_as_complex(x)
    same(ops.view_as_real(complex_), torch.tensor(x))
    same(ops.view_as_real(complex_.conj()), keras.ops.view_as_real(complex_.conj()))
    same(ops.view_as_real(complex_.to(torch.complex128)), torch.tensor(x).double())


@pytest.mark.parametrize("x1,x2", [(f(6, 4), f(6)), (f(6, 4), f(6, 2))])
def test_least_squares_are_numpys_where_columns_repeat(x1, x2):
    x1[:, 3] = x1[:, 0]
    np.testing.assert_allclose(ops.lstsq(x1, x2), np.linalg.lstsq(x1, x2)[0], 1e-3, 1e-4)


@pytest.mark.parametrize("has_aux", [False, True])
def test_directional_derivatives(has_aux):
    def function(x, y):
        value = torch.sin(x) * y["y"]
        return (value, x) if has_aux else value

    x, t = torch.tensor(f(3)), torch.tensor(f(3, seed=1))
    given = ([x, {"y": t}], [t, {"y": x}])
    theirs = keras.ops.jvp(function, *map(tuple, given), has_aux)
    same(ops.jvp(function, *given, has_aux), theirs)
    same(ops.jvp(torch.sin, (0.1,), (0.2,)), (np.sin(0.1), 0.2 * np.cos(0.1)))


# -------------------------------------------------------------------------------------- symbolic

SQUARES = [(None, 3, 3), (2, 3, 3), (None, None, 3, 3)]
OBLONG = [(None, 3, 4), (2, 4, 3)]
ROWS = [(None, 8), (None, None, 8), (2, 8)]
# eig's dtype is complex in fact; Keras' spec says float32. Of lu_factor, pivots are int32.
OF_ONE = [
    *((name, {}, SQUARES) for name in "cholesky cholesky_inverse det eigh inv logdet".split()),
    *((name, {}, OBLONG) for name in "matrix_rank pinv qr svd".split()),
    ("svd", {"full_matrices": False}, OBLONG),
    ("svd", {"compute_uv": False}, OBLONG),
    ("qr", {"mode": "complete"}, OBLONG),
    ("norm", {}, ROWS),
    ("norm", {"axis": -1, "keepdims": True}, ROWS),
    ("norm", {"axis": (0, -1), "ord": 1}, ROWS),
    *((name, {}, [*ROWS, (None, None)]) for name in ELEMENTS),
    ("logsumexp", {"axis": -1}, ROWS),
    ("logsumexp", {"keepdims": True}, ROWS),
    ("extract_sequences", {"sequence_length": 3, "sequence_stride": 2}, [*ROWS, (None, None)]),
    ("top_k", {"k": 3}, ROWS),
    ("rfft", {}, [*ROWS, (None, None)]),
    ("rfft", {"fft_length": 5}, [*ROWS, (None, None)]),
    ("stft", STFT, [(None, 40), (None, None, 40), (None, None)]),
    ("stft", {**STFT, "center": False, "fft_length": 9}, [(None, 40), (None, None)]),
    ("view_as_complex", {}, [(None, 2), (None, None, 2)]),
]


def _leaves(found):
    return list(found) if isinstance(found, (tuple, list)) else [found]


@pytest.mark.parametrize(
    "name,kwargs,shapes", OF_ONE, ids=[f"{c[0]}-{n}" for n, c in enumerate(OF_ONE)]
)
def test_symbolic_shapes_are_keras(name, kwargs, shapes):
    for shape in shapes:
        theirs = _leaves(getattr(keras.ops, name)(keras.KerasTensor(shape), **kwargs))
        ours = _leaves(getattr(ops, name)(torchkeras.KerasTensor(shape), **kwargs))
        assert [one.shape for one in ours] == [tuple(one.shape) for one in theirs]
        assert [one.dtype for one in ours] == [one.dtype for one in theirs]


@pytest.mark.parametrize(
    "name,shapes,kwargs",
    [
        ("solve", [(None, 3, 3), (None, 3)], {}),
        ("solve", [(None, 3, 3), (None, 3, 2)], {}),
        ("solve_triangular", [(None, 3, 3), (None, 3)], {"lower": True}),
        ("lstsq", [(5, 3), (5, 2)], {}),
        ("cdist", [(None, 3, 4), (5, 4)], {}),
        ("in_top_k", [(None,), (None, 4)], {"k": 2}),
        ("segment_sum", [(None, 3), (None,)], {"num_segments": 4}),
        ("segment_max", [(None, 1), (None,)], {}),
        ("segment_prod", [(5, 1), (5,)], {}),
    ],
)
def test_symbolic_pairs(name, shapes, kwargs):
    def specs(cls):
        dtypes = ["int32" if n == 0 and name == "in_top_k" else "float32" for n in (0, 1)]
        dtypes[1] = "int32" if name.startswith("segment") else dtypes[1]
        return [cls(shape, dtype) for shape, dtype in zip(shapes, dtypes)]

    theirs = getattr(keras.ops, name)(*specs(keras.KerasTensor), **kwargs)
    ours = getattr(ops, name)(*specs(torchkeras.KerasTensor), **kwargs)
    assert (ours.shape, ours.dtype) == (tuple(theirs.shape), theirs.dtype)


@pytest.mark.parametrize(
    "name,shape,kwargs",
    [
        ("fft", (None, 5), {}),
        ("fft2", (None, 4, 5), {}),
        ("ifft2", (None, 4, 5), {}),
        ("irfft", (None, 5), {}),
        ("irfft", (None, None), {"fft_length": 6}),
        ("istft", (None, 9, 5), STFT),
        ("istft", (None, 9, 5), {**STFT, "center": False, "length": 17}),
        ("istft", (None, None, 5), STFT),
    ],
)
def test_symbolic_shapes_of_transforms(name, shape, kwargs):
    theirs = getattr(keras.ops, name)(
        (keras.KerasTensor(shape), keras.KerasTensor(shape)), **kwargs
    )
    both = (torchkeras.KerasTensor(shape), torchkeras.KerasTensor(shape))
    ours = getattr(ops, name)(both, **kwargs)
    assert [one.shape for one in _leaves(ours)] == [tuple(one.shape) for one in _leaves(theirs)]


def test_symbolic_tensors_are_rearranged():
    # Keras' own spec fails where a size is unknown.
    x = torchkeras.KerasTensor((None, 4, 6))
    assert ops.rearrange(x, "b (h k) c -> b h (k c)", k=2).shape == (None, 2, 12)
    assert ops.rearrange(x, "b h c -> (b h) c").shape == (None, 6)


# --------------------------------------------------------------------------------------- configs


@pytest.mark.parametrize("module", [keras_linalg, keras_math, keras_einops])
def test_classes_and_settings_are_keras(module):
    for name, cls in vars(module).items():
        if isinstance(cls, type) and cls.__module__ == module.__name__:
            if name == "SegmentReduction":
                continue  # the base of the others
            known = table.operation_named(module.__name__, name)
            expected = set(inspect.signature(cls.__init__).parameters) - {"self", "name"}
            assert known is not None, name
            assert set(known.settings) == expected, name


CHAIN = [
    lambda o, x: o.norm(x, ord=1, axis=-1, keepdims=True),
    lambda o, x: o.solve(o.matmul(x, o.transpose(x, (0, 2, 1))), x),
    lambda o, x: o.stack(o.fft((x, o.exp(x))), axis=1),
    lambda o, x: o.istft(o.stft(x, 3, 1, 4), 3, 1, 4, length=5),
    lambda o, x: o.irfft(o.rfft(x, fft_length=5), fft_length=5),
    lambda o, x: o.svd(x, compute_uv=False),
    lambda o, x: o.top_k(o.logsumexp(x, axis=1), 2)[0],
    lambda o, x: o.cdist(x, o.erf(x)),
]


@pytest.mark.parametrize("at", range(len(CHAIN)))
def test_models_pass_between_the_two(at):
    inputs, own = keras.Input((4, 5)), torchkeras.Input((4, 5))
    theirs = keras.Model(inputs, CHAIN[at](keras.ops, inputs))
    ours = torchkeras.Model(own, CHAIN[at](ops, own))
    x = torch.tensor(f(3, 4, 5))
    expected = theirs(x)
    same(ours(x), expected, 1e-4)
    same(torchkeras.Model.from_config(theirs.get_config())(x), expected, 1e-4)
    same(keras.models.model_from_json(ours.to_json())(x), expected, 1e-4)


def test_a_rearranging_model_is_made_again():
    x = torchkeras.Input((4, 6))
    model = torchkeras.Model(x, ops.rearrange(x, "b (h k) c -> b h (k c)", k=2))
    again = torchkeras.Model.from_config(model.get_config())
    given = torch.tensor(f(3, 4, 6))
    same(again(given), keras.ops.rearrange(given, "b (h k) c -> b h (k c)", k=2))


# ------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize(
    "name,x,kwargs",
    [
        *((name, positive(3, 3), {}) for name in "cholesky det inv logdet pinv norm".split()),
        ("norm", f(3, 4), {"ord": 1, "axis": 0}),
        ("svd", f(3, 4), {"compute_uv": False}),
        ("solve", positive(3, 3), {"b": torch.tensor(f(3))}),
        ("solve_triangular", positive(3, 3), {"b": torch.tensor(f(3))}),
        ("lstsq", f(5, 3), {"b": torch.tensor(f(5))}),
        *((name, f(3, 4, low=0.1, high=0.9), {}) for name in ELEMENTS),
        ("logsumexp", f(3, 4), {"axis": 0}),
        ("extract_sequences", f(9), {"sequence_length": 4, "sequence_stride": 2}),
        ("cdist", f(3, 4), {"y": torch.tensor(f(5, 4, seed=1))}),
        *(
            ("segment_" + name, f(5, 2), {"segment_ids": torch.tensor(IDS), "num_segments": 4})
            for name in "max min prod sum".split()
        ),
    ],
)
def test_gradients_are_keras(name, x, kwargs):
    grads = []
    for module in (ops, keras.ops):
        given = torch.tensor(x, requires_grad=True)
        found = getattr(module, name)(given, **kwargs)
        (found * torch.arange(found.numel()).reshape(found.shape)).nan_to_num(
            0, 0, 0
        ).sum().backward()
        grads.append(given.grad.numpy())
    np.testing.assert_allclose(grads[0], grads[1], 1e-3, 1e-4)


def test_gradients_go_through_transforms():
    for module in (ops, keras.ops):
        x = torch.tensor(WAVE[0], requires_grad=True)
        back = module.istft(module.stft(x, 8, 3, 9), 8, 3, 9)
        (back * torch.arange(back.shape[-1])).sum().backward()
        if module is ops:
            mine = x.grad
    same(mine, x.grad, 1e-3)


def test_every_function_of_keras_is_there():
    names = [name for name in dir(keras.ops.linalg) if name[0] != "_"]
    names += [name for name, one in vars(keras_math).items() if inspect.isfunction(one)]
    names = [name for name in names if hasattr(keras.ops, name)] + ["rearrange"]
    for name in names:
        mine, theirs = (inspect.signature(getattr(o, name)).parameters for o in (ops, keras.ops))
        mine, theirs = ([(p.name, p.default) for p in one.values()] for one in (mine, theirs))
        assert mine == theirs, name
    assert ops.linalg.inv is ops.inv
