"""The functions of keras.backend against numpy, on every kind of argument."""

import numpy as np
import pytest
import torch

from torchkeras import backend as K, config, eras, registry
from torchkeras.graph import KerasTensor

RNG = np.random.RandomState(3)
X = RNG.randn(3, 4, 5).astype("float32")
Y = RNG.randn(3, 4, 5).astype("float32")
P = np.abs(X) / np.abs(X).sum(-1, keepdims=True)
T = np.eye(5, dtype="float32")[RNG.randint(0, 5, (3, 4))]
M = RNG.randn(5, 2).astype("float32")
B = X > 0


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def clipped(p):
    return np.clip(p, 1e-7, 1 - 1e-7)


# Name, arguments (arrays are tensors), other arguments, what numpy says.
CASES = [
    ("abs", [X], {}, np.abs(X)),
    ("square", [X], {}, X**2),
    ("sqrt", [X], {}, np.sqrt(np.maximum(X, 0))),
    ("exp", [X], {}, np.exp(X)),
    ("log", [P], {}, np.log(P)),
    ("sign", [X], {}, np.sign(X)),
    ("round", [np.array([0.5, 1.5, -2.4], "float32")], {}, [0, 2, -2]),
    ("sin", [X], {}, np.sin(X)),
    ("cos", [X], {}, np.cos(X)),
    ("pow", [np.abs(X), 1.5], {}, np.abs(X) ** 1.5),
    ("pow", [np.abs(X), Y], {}, np.abs(X) ** Y),
    ("clip", [X, -0.5, 0.5], {}, np.clip(X, -0.5, 0.5)),
    ("clip", [X, 0.5, -0.5], {}, np.full_like(X, 0.5)),
    ("clip", [X, None, 0.5], {}, np.minimum(X, 0.5)),
    ("clip", [X, Y, None], {}, np.maximum(X, Y)),
    ("maximum", [X, Y], {}, np.maximum(X, Y)),
    ("maximum", [X, 0.1], {}, np.maximum(X, 0.1)),
    ("maximum", [0.1, X], {}, np.maximum(X, 0.1)),
    ("minimum", [X, Y[0]], {}, np.minimum(X, Y[0])),
    ("equal", [X, X * (Y > 0)], {}, X * (Y > 0) == X),
    ("not_equal", [X, X * (Y > 0)], {}, X * (Y > 0) != X),
    ("greater", [X, Y], {}, X > Y),
    ("greater", [0, X], {}, X < 0),
    ("greater_equal", [X, 0], {}, X >= 0),
    ("less", [X, Y], {}, X < Y),
    ("less_equal", [X, 0.0], {}, X <= 0),
    ("sum", [X], {}, X.sum()),
    ("sum", [X], {"axis": [0, 2], "keepdims": True}, X.sum((0, 2), keepdims=True)),
    ("sum", [X], {"axis": []}, X),
    ("prod", [X], {"axis": (0, -1)}, X.prod((0, 2))),
    ("prod", [X], {"axis": (0, 2), "keepdims": True}, X.prod((0, 2), keepdims=True)),
    ("mean", [X], {"axis": -1}, X.mean(-1)),
    ("mean", [B], {}, B.mean()),
    ("var", [X], {"axis": 1}, X.var(1)),
    ("std", [X], {"axis": (1, 2)}, X.std((1, 2))),
    ("std", [X], {}, X.std()),
    ("max", [X], {"axis": 1, "keepdims": True}, X.max(1, keepdims=True)),
    ("min", [X], {}, X.min()),
    ("any", [B], {"axis": -1}, B.any(-1)),
    ("all", [X], {}, True),
    ("all", [B], {"axis": (0, 1)}, B.all((0, 1))),
    ("logsumexp", [X], {"axis": (0, 2)}, np.log(np.exp(X).sum((0, 2)))),
    ("argmax", [X], {}, X.argmax(-1)),
    ("argmin", [X], {"axis": 1}, X.argmin(1)),
    ("cumsum", [X], {}, X.cumsum(0)),
    ("cumprod", [X], {"axis": 2}, X.cumprod(2)),
    ("dot", [X[0], M], {}, X[0] @ M),
    ("dot", [X, M], {}, X @ M),
    ("dot", [X, M[:, 0]], {}, X @ M[:, 0]),
    ("dot", [X, np.stack([M, 2 * M])], {}, np.dot(X, np.stack([M, 2 * M]))),
    ("batch_dot", [X, Y], {"axes": (2, 2)}, np.einsum("bij,bkj->bik", X, Y)),
    ("batch_dot", [X, Y], {"axes": 1}, np.einsum("bji,bjk->bik", X, Y)),
    ("batch_dot", [X[:, 0], Y[:, 0]], {"axes": -1}, (X[:, 0] * Y[:, 0]).sum(-1, keepdims=True)),
    ("batch_dot", [X[:, 0], Y], {"axes": (1, 2)}, np.einsum("bj,bkj->bk", X[:, 0], Y)),
    ("batch_dot", [X, Y.transpose(0, 2, 1)], {}, X @ Y.transpose(0, 2, 1)),
    ("batch_dot", [X, Y[:, 0]], {}, np.einsum("bij,bj->bi", X, Y[:, 0])),
    ("l2_normalize", [X], {"axis": -1}, X / np.sqrt((X**2).sum(-1, keepdims=True))),
    ("l2_normalize", [X * 0], {"axis": -1}, X * 0),
    ("relu", [X], {}, np.maximum(X, 0)),
    ("relu", [X], {"alpha": 0.2}, np.where(X > 0, X, 0.2 * X)),
    (
        "relu",
        [X],
        {"alpha": 0.1, "max_value": 1.0, "threshold": 0.2},
        np.where(X > 0.2, np.minimum(X, 1), 0.1 * (X - 0.2)),
    ),
    ("elu", [X], {"alpha": 0.5}, np.where(X > 0, X, 0.5 * (np.exp(X) - 1))),
    ("softmax", [X], {}, softmax(X)),
    ("softmax", [X], {"axis": 1}, softmax(X, 1)),
    ("softplus", [X], {}, np.log1p(np.exp(X))),
    ("softsign", [X], {}, X / (1 + np.abs(X))),
    ("sigmoid", [X], {}, sigmoid(X)),
    ("hard_sigmoid", [4 * X], {}, np.clip(0.8 * X + 0.5, 0, 1)),
    ("tanh", [X], {}, np.tanh(X)),
    (
        "binary_crossentropy",
        [T, P],
        {},
        -T * np.log(clipped(P)) - (1 - T) * np.log(1 - clipped(P)),
    ),
    (
        "binary_crossentropy",
        [T, X],
        {"from_logits": True},
        -T * np.log(sigmoid(X)) - (1 - T) * np.log(1 - sigmoid(X)),
    ),
    ("categorical_crossentropy", [T, 3 * P], {}, -(T * np.log(P)).sum(-1)),
    (
        "categorical_crossentropy",
        [T, X],
        {"from_logits": True},
        -(T * np.log(softmax(X))).sum(-1),
    ),
    (
        "categorical_crossentropy",
        [T.transpose(0, 2, 1), P.transpose(0, 2, 1)],
        {"axis": 1},
        -(T * np.log(P)).sum(-1),
    ),
    ("sparse_categorical_crossentropy", [T.argmax(-1), P], {}, -(T * np.log(P)).sum(-1)),
    (
        "sparse_categorical_crossentropy",
        [T.argmax(-1)[:, :1], X[:, 0]],
        {"from_logits": True},
        -(T * np.log(softmax(X))).sum(-1)[:, 0],
    ),
    (
        "sparse_categorical_crossentropy",
        [T.argmax(-1), P],
        {"ignore_class": 2},
        np.where(T.argmax(-1) == 2, 0, -(T * np.log(P)).sum(-1)),
    ),
    ("in_top_k", [np.float32([[1, 3, 2], [1, 1, 0]]), np.array([2, 1]), 1], {}, [False, True]),
    ("in_top_k", [np.float32([[1, 3, 2], [1, np.inf, 0]]), np.array([2, 1]), 2], {}, [True, False]),
    ("switch", [B, X, Y], {}, np.where(B, X, Y)),
    ("switch", [B[:, 0, 0], X, Y], {}, np.where(B[:, :1, :1], X, Y)),
    ("switch", [B, X, 0.0], {}, np.where(B, X, 0)),
    ("transpose", [X], {}, X.T),
    ("permute_dimensions", [X, (2, 0, 1)], {}, X.transpose(2, 0, 1)),
    ("reshape", [X, (-1, 10)], {}, X.reshape(-1, 10)),
    ("flatten", [X], {}, X.ravel()),
    ("batch_flatten", [X], {}, X.reshape(3, 20)),
    ("batch_flatten", [X[:, 0, 0]], {}, X[:, :1, 0]),
    ("expand_dims", [X], {}, X[..., None]),
    ("expand_dims", [X], {"axis": 1}, X[:, None]),
    ("squeeze", [X[:, :1]], {"axis": 1}, X[:, 0]),
    ("concatenate", [[X, Y]], {"axis": 1}, np.concatenate([X, Y], 1)),
    ("stack", [[X, Y]], {"axis": -1}, np.stack([X, Y], -1)),
    ("repeat", [X[:, 0], 2], {}, np.stack([X[:, 0], X[:, 0]], 1)),
    ("repeat_elements", [X, 2], {"axis": 1}, np.repeat(X, 2, 1)),
    ("tile", [X, (1, 2, 3)], {}, np.tile(X, (1, 2, 3))),
    ("tile", [X, 2], {}, np.tile(X, 2)),
    ("reverse", [X, (1, 2)], {}, X[:, ::-1, ::-1]),
    ("reverse", [X, 1], {}, X[:, ::-1]),
    ("gather", [X[0], np.array([[0, 2], [1, 0]])], {}, X[0][[[0, 2], [1, 0]]]),
    ("one_hot", [np.array([[0, 2], [5, 1]]), 3], {}, [np.eye(6, 3)[[0, 2]], np.eye(6, 3)[[5, 1]]]),
    ("identity", [X], {}, X),
    ("cast", [X, "int32"], {}, X.astype("int32")),
    ("zeros_like", [X], {}, X * 0),
    ("ones_like", [X], {"dtype": "int64"}, np.ones_like(X, "int64")),
    ("stop_gradient", [X], {}, X),
    ("map_fn", [lambda x: x * 2, X], {}, X * 2),
    ("foldl", [lambda a, x: a * x, X], {}, X.prod(0)),
    ("foldr", [lambda a, x: a - x, X], {}, X[2] - X[1] - X[0]),
    ("foldl", [lambda a, x: a + x, X, 1.0], {}, 1 + X.sum(0)),
]


def is_array(part):
    return isinstance(part, np.ndarray)


def with_arrays(function, parts):
    """Apply a function to each array among arguments, those in lists included."""
    return [
        [function(p) for p in part]
        if isinstance(part, list)
        else function(part)
        if is_array(part)
        else part
        for part in parts
    ]


def variable_of(array):
    return K.variable(array, dtype=str(array.dtype))


@pytest.mark.parametrize("kind", [torch.tensor, np.copy, variable_of], ids="t n v".split())
@pytest.mark.parametrize("name, args, kwargs, expected", CASES, ids=[c[0] for c in CASES])
def test_numbers(name, args, kwargs, expected, kind):
    result = getattr(K, name)(*with_arrays(kind, args), **kwargs)
    assert isinstance(result, torch.Tensor)
    assert result.shape == np.shape(expected)
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name, args, kwargs, expected", CASES, ids=[c[0] for c in CASES])
def test_symbolic_tensors_give_the_same(name, args, kwargs, expected):
    arrays = []

    def symbol(array):
        arrays.append(array)
        return K.placeholder(array.shape, dtype=str(array.dtype))

    inputs = with_arrays(symbol, args)
    flat = [p for part in inputs for p in (part if isinstance(part, list) else [part])]
    result = getattr(K, name)(*inputs, **kwargs)
    assert isinstance(result, KerasTensor)
    assert result.shape == np.shape(expected)
    run = K.function([part for part in flat if isinstance(part, KerasTensor)], [result])
    (computed,) = run(arrays)
    assert computed.dtype == result.dtype
    np.testing.assert_allclose(computed, expected, rtol=2e-5, atol=1e-6)


class TestDtypes:
    @pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "max", "abs", "square"])
    def test_integers_stay(self, name):
        assert getattr(K, name)(torch.tensor([1, 2], dtype=torch.int32)).dtype is torch.int32

    @pytest.mark.parametrize("name", ["mean", "var", "std", "logsumexp", "sqrt", "exp", "log"])
    def test_integers_become_floatx_where_they_must(self, name):
        K.set_floatx("float64")
        assert getattr(K, name)(torch.tensor([1, 2])).dtype is torch.float64

    def test_accuracy_as_scripts_write_it(self):
        y_true, y_pred = torch.tensor([1, 0, 1]), torch.tensor([1, 1, 1])
        assert K.mean(K.equal(y_true, y_pred)).item() == pytest.approx(2 / 3)
        assert K.mean(y_true == y_pred).dtype is torch.float32

    def test_arrays_of_double_precision_follow_the_tensor(self):
        assert K.maximum(torch.ones(3), np.zeros(3)).dtype is torch.float32

    def test_argmax_gives_int64(self):
        assert K.dtype(K.argmax(torch.ones(2, 2))) == "int64"

    def test_one_hot_gives_floatx(self):
        K.set_floatx("float16")
        assert K.dtype(K.one_hot([0], 2)) == "float16"

    def test_python_integers_are_int32(self):
        assert K.dtype(K.stack([1, 2])) == "int32"

    def test_names_of_dtypes(self):
        assert K.standardize_dtype(torch.float16) == "float16"
        assert K.is_float_dtype("bfloat16") and not K.is_float_dtype("int8")
        assert K.is_int_dtype("uint8") and not K.is_int_dtype("bool")


class TestGradients:
    def test_maximum_gives_all_to_its_first_argument_at_a_tie(self):
        x = torch.zeros(2, requires_grad=True)
        K.sum(K.maximum(x, 0.0)).backward()
        assert x.grad.tolist() == [1.0, 1.0]

    def test_stop_gradient(self):
        x = torch.ones(2, requires_grad=True)
        constant, *rest = K.stop_gradient([x, x])
        assert not constant.requires_grad and len(rest) == 1
        assert not K.stop_gradient(x).requires_grad

    def test_crossentropy_at_the_ends_is_finite(self):
        p = torch.tensor([[0.0, 1.0]], requires_grad=True)
        loss = K.sum(K.binary_crossentropy(torch.tensor([[1.0, 0.0]]), p))
        assert loss.item() == pytest.approx(-2 * np.log(1e-7), rel=1e-2)

    def test_switch_calls_only_what_is_needed(self):
        n, s = torch.tensor(0.0, requires_grad=True), torch.tensor(0.0)
        result = K.switch(K.equal(n, 0), lambda: n * 3, lambda: s / n)
        result.backward()
        assert result.item() == 0 and n.grad.item() == 3


class TestOldNames:
    def test_renamed_argument(self):
        registry.rename_arguments({"backend.one_hot": {"nb_classes": "num_classes"}})
        assert K.one_hot([1], nb_classes=2).tolist() == [[0.0, 1.0]]

    def test_unknown_argument(self):
        with pytest.raises(ValueError, match="backend.mean: 'axs'. Did you mean 'axis'"):
            K.mean(torch.ones(2), axs=0)

    def test_order_of_an_era(self, monkeypatch):
        order = {(1,): ("output", "target", "from_logits"), (2, 0, 7): ("target", "output")}
        monkeypatch.setitem(eras.ORDERS, "backend.binary_crossentropy", order)
        target, output = torch.tensor([1.0]), torch.tensor([0.25])
        now = K.binary_crossentropy(target, output)
        eras.set_version(1)
        assert torch.equal(K.binary_crossentropy(output, target), now)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: K.sum(X, axis=3),
            r"sum failed on float32 of shape \(3, 4, 5\): .*\[-3, 2\], but got 3",
        ),
        (lambda: K.squeeze(X, 1), r"axis 1 of shape \(3, 4, 5\) has size 4, not 1"),
        (lambda: K.batch_dot(X, Y, axes=(0, 1)), "axis 0 is the batch"),
        (
            lambda: K.batch_dot(X, Y, axes=(1, 2)),
            r"batch_dot failed on float32 of shape \(3, 4, 5\), .* has size 5",
        ),
        (lambda: K.batch_dot(X[0, 0], Y), "rank 2 or more"),
        (lambda: K.batch_dot(X, Y, axes=((1, 2), (1, 2))), "an integer or two"),
        (lambda: K.repeat(X, 2), "rank 2"),
        (lambda: K.tile(X[0, 0], (1, 2)), "2 numbers were given for 1 dimensions"),
        (lambda: K.switch(X > 0, X[0], Y[0]), "3 dimensions, more than"),
        (lambda: K.slice(X, (0, 0), (1, 1)), "a number for each of 3 axes"),
        (
            lambda: K.slice(X, (0, 0, 4), (1, 1, 2)),
            r"slice failed on .* exceeds dimension size \(5\)",
        ),
        (lambda: K.dropout(X, 1.0), r"must lie in \[0, 1\)"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


class TestShapes:
    def test_slice(self):
        assert np.array_equal(K.slice(X, (0, 1, 2), (2, -1, 3)), X[:2, 1:, 2:])

    def test_shape_computes_like_a_tensor(self):
        shape = K.shape(torch.ones(2, 3, 4))
        assert shape == (2, 3, 4) and K.dtype(shape) == "int32"
        assert shape[1:] * 32 == (96, 128) and 2 * shape == (4, 6, 8)
        assert shape[1:] // np.array([3, 2]) == (1, 2) and shape - 1 == (1, 2, 3)
        assert shape[:1] + (7,) == (2, 7) and shape[:2] + 1 == (3, 4)
        assert (shape / 2).tolist() == [1.0, 1.5, 2.0]
        assert K.cast(shape[::-1], "float32").tolist() == [4.0, 3.0, 2.0]
        assert K.prod(shape).item() == 24
        assert (shape * torch.tensor(2)).tolist() == [4, 6, 8]

    def test_shapes_with_tensors_in_them(self):
        n = torch.tensor(3)
        assert K.reshape(torch.ones(6), K.stack([n, 2])).shape == (3, 2)
        assert K.reshape(torch.ones(6), (n, -1)).shape == (3, 2)
        assert K.tile(torch.ones(2, 1), [1, n]).shape == (2, 3)

    def test_what_a_tensor_is(self):
        assert K.int_shape(K.variable(np.ones((2, 3)))) == (2, 3) and K.int_shape(1.0) == ()
        assert K.ndim([[1, 2]]) == 2
        assert K.count_params(torch.ones(2, 3)) == 6
        assert K.dtype(np.ones(2)) == "float64"

    def test_arange(self):
        assert K.arange(3).tolist() == [0, 1, 2] and K.arange(-3).tolist() == []
        assert K.arange(1, 7, 2).dtype is torch.int32
        assert K.arange(0, torch.tensor(1.0), 0.25, dtype="float32").tolist() == [
            0,
            0.25,
            0.5,
            0.75,
        ]

    def test_lists_of_tensors_are_stacked(self):
        assert K.mean([torch.tensor(1.0), torch.tensor(3.0)]).item() == 2

    def test_sparse(self):
        dense = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
        sparse = dense.to_sparse()
        assert K.is_sparse(sparse) and not K.is_sparse(dense)
        assert torch.equal(K.to_dense(sparse), dense) and K.to_dense(dense) is dense
        assert torch.equal(K.dot(sparse, dense), dense @ dense)
        assert torch.equal(K.concatenate([sparse, dense]), torch.cat([dense, dense], -1))
        assert K.is_sparse(K.concatenate([sparse, sparse], axis=0))

    def test_map_fn_of_several(self):
        a, b = torch.arange(3.0), torch.arange(3.0, 6)
        total = K.map_fn(lambda pair: pair[0] * pair[1], (a, b), dtype="float64")
        assert total.tolist() == [0, 4, 10] and total.dtype is torch.float64
        both = K.map_fn(lambda pair: (pair[1], pair[0] > 1), (a, b), dtype=("float32", "int32"))
        assert both[0].tolist() == [3, 4, 5] and both[1].tolist() == [0, 0, 1]


class TestRandom:
    def test_moments(self):
        drawn = K.random_normal((20000,), mean=3.0, stddev=2.0)
        assert drawn.mean().item() == pytest.approx(3, abs=0.06)
        assert drawn.std().item() == pytest.approx(2, abs=0.05)
        even = K.random_uniform((20000,), -1, 3)
        assert even.min() >= -1 and even.max() < 3
        assert even.mean().item() == pytest.approx(1, abs=0.05)
        for name in ("random_binomial", "random_bernoulli"):
            ones = getattr(K, name)((20000,), p=0.3)
            assert set(ones.tolist()) == {0.0, 1.0}
            assert ones.mean().item() == pytest.approx(0.3, abs=0.015)
        cut = K.truncated_normal((20000,), mean=1.0, stddev=2.0)
        assert cut.min() >= -3 and cut.max() <= 5
        assert cut.std().item() == pytest.approx(2 * 0.8796, abs=0.05)

    def test_integers(self):
        drawn = K.random_uniform((1000,), 2, 5, dtype="int32")
        assert set(drawn.tolist()) == {2, 3, 4} and drawn.dtype is torch.int32

    def test_a_seed_goes_on_and_starts_again_with_the_session(self):
        first, second = K.random_normal((3,), seed=5), K.random_normal((3,), seed=5)
        assert not torch.equal(first, second)
        K.clear_session(free_memory=False)
        assert torch.equal(K.random_normal((3,), seed=5), first)

    def test_without_a_seed_torch_decides(self):
        torch.manual_seed(1)
        first = K.random_uniform((3,))
        torch.manual_seed(1)
        assert torch.equal(K.random_uniform((3,)), first)

    @pytest.mark.parametrize("seed", [None, 3])
    def test_dropout(self, seed):
        x = torch.ones(1000, 20)
        dropped = K.dropout(x, 0.25, seed=seed)
        assert set(np.unique(dropped).round(4)) == {0.0, np.float32(1.3333)}
        assert dropped.mean().item() == pytest.approx(1, abs=0.02)

    def test_dropout_of_rows(self):
        dropped = K.dropout(torch.ones(100, 20), 0.5, noise_shape=(100, 1))
        assert torch.equal(dropped, dropped[:, :1].expand(100, 20))

    def test_on_the_device_in_force(self):
        with config.on_device("meta"):
            assert K.eye(2).is_meta and K.constant(1.0).is_meta
