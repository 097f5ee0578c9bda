"""Conversions, parts, choices, loops and gradients of keras.ops.core: where Keras is no oracle."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import torchkeras as keras
from torchkeras import layers, ops
from torchkeras.variable import Variable

X = torch.arange(12.0).reshape(3, 4)


def model_of(function, shape=(4,)):
    """A functional model of a function of a symbolic tensor."""
    x = keras.Input(shape)
    return keras.Model(x, function(x))


# ------------------------------------------------------------------------------------- conversions


def test_a_tensor_is_converted_to_itself():
    assert ops.convert_to_tensor(X) is X
    assert ops.cast(X, "float32") is X
    weight = Variable([1.0, 2.0])
    assert ops.convert_to_tensor(weight) is weight.value


def test_numbers_are_converted_exactly():
    assert ops.cast(0.1, "float64").item() == 0.1
    assert ops.convert_to_tensor([0.1, 2], "float64").tolist() == [0.1, 2.0]
    assert ops.cast(2**53 + 1, "int64").item() == 2**53 + 1


def test_sparse_and_ragged_tensors():
    with pytest.raises(ValueError, match="dense tensors alone"):
        ops.convert_to_tensor([1.0], sparse=True)
    with pytest.raises(ValueError, match="dense tensors alone"):
        ops.convert_to_tensor([1.0], ragged=True)
    sparse = torch.eye(2).to_sparse()
    assert ops.convert_to_tensor(sparse) is sparse
    assert torch.equal(ops.convert_to_tensor(sparse, sparse=False), torch.eye(2))


def test_arrays_are_the_callers_own():
    x = torch.ones(2, requires_grad=True)
    for found in (ops.convert_to_numpy(x), ops.convert_to_numpy(Variable([1.0, 1.0]))):
        found[:] = 5
        assert found.dtype == "float32"
    assert x.tolist() == [1, 1]
    assert ops.convert_to_numpy(torch.ones(2).bfloat16()).dtype == "float32"
    with pytest.raises(ValueError, match="symbolic"):
        ops.convert_to_numpy(keras.KerasTensor((2,)))


def test_shape_and_dtype_of_anything():
    for x in (X, X.numpy(), Variable(X), X.tolist(), keras.KerasTensor((3, 4))):
        assert (ops.shape(x), ops.dtype(x)) == ((3, 4), "float32")
    assert ops.shape(2) == () and ops.dtype(2) == "int32"
    assert ops.shape(keras.Input((None, 4))) == (None, None, 4)
    assert ops.is_tensor(nn.Parameter(X))
    assert not any(map(ops.is_tensor, (Variable(X), X.numpy(), keras.KerasTensor((3,)))))


def test_saturate_cast_to_what_no_float_is():
    """2**31 - 1 is no float32: the greatest one below it is."""
    found = ops.saturate_cast(torch.tensor([-3e9, 3e9, 7.0]), "int32")
    assert found.tolist() == [-(2**31), 2**31 - 128, 7]
    found = ops.saturate_cast(torch.tensor([-500, 7, 10**6]), "float16")
    assert found.tolist() == [-500, 7, 65504]
    assert ops.saturate_cast([300.0, -1], "uint8").tolist() == [255, 0]


@pytest.mark.parametrize("dtype", ["float33", "string", object])
def test_unknown_dtypes_are_refused(dtype):
    for name in ("cast", "saturate_cast", "convert_to_tensor"):
        with pytest.raises(ValueError, match="Unknown dtype"):
            getattr(ops, name)(X, dtype)


def test_what_a_dtype_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="ops.cast failed on 1099511627776: .* overflow"):
        ops.cast(2**40, "int32")


# ------------------------------------------------------------------------------------------- parts


def test_slice_to_the_end():
    assert torch.equal(ops.slice(X, [1, 2], [-1, -1]), X[1:, 2:])
    assert torch.equal(ops.slice(X, torch.tensor([1, 2]), [-1, 1]), X[1:, 2:3])
    model = model_of(lambda x: ops.slice(x, [0, 1], [-1, 2]))
    assert torch.equal(model(X), X[:, 1:3])


def test_starts_may_be_of_any_kind():
    for starts in ([1, 2], (1, 2), np.array([1, 2]), torch.tensor([1, 2]), Variable([1, 2])):
        assert torch.equal(ops.slice(X, starts, (2, 1)), X[1:3, 2:3])
        found = ops.slice_update(X, starts, -torch.ones(2, 1))
        assert found[1:3, 2].tolist() == [-1, -1]
        assert found.sum() == X.sum() - 6 - 10 - 2
    mixed = [torch.tensor(1), 2]
    assert torch.equal(ops.slice(X, mixed, (2, 1)), X[1:3, 2:3])
    assert ops.slice_update(X, mixed, [[0.5]])[1, 2] == 0.5


def test_slice_update_keeps_the_dtype_and_the_input():
    x = torch.zeros(3, dtype=torch.int32)
    for starts in ([1], torch.tensor([1])):
        found = ops.slice_update(x, starts, torch.tensor([2.7]))
        assert found.dtype is torch.int32 and found.tolist() == [0, 2, 0]
    assert x.tolist() == [0, 0, 0]


def test_scatter_update_with_several_updates_of_a_place():
    places = [[0], [0], [2]]
    expected = {"add": [4, 1, 5], "max": [2, 1, 3], "min": [1, 1, 2], "mul": [2, 1, 6]}
    for how, found in expected.items():
        x = torch.tensor([1.0, 1.0, 2.0])
        assert ops.scatter_update(x, places, [1.0, 2.0, 3.0], how).tolist() == found
        assert x.tolist() == [1, 1, 2]
        assert ops.scatter_update(x, places, [1, 2, 3], how.upper()).tolist() == found


def test_booleans_are_scattered():
    flags = torch.tensor([True, True, False])
    assert ops.scatter([[0], [0], [1]], flags, (3,)).tolist() == [True, False, False]


def test_unstack_is_one_call_of_torch():
    parts = ops.unstack(X, axis=-1)
    assert isinstance(parts, list)
    assert all(part.data_ptr() == X[:, at].data_ptr() for at, part in enumerate(parts))
    model = model_of(lambda x: ops.unstack(x, 4, axis=1)[2])
    assert torch.equal(model(X), X[:, 2])


@pytest.mark.parametrize(
    "call,words",
    [
        (lambda: ops.slice(X, [1], [2]), "`inputs` must match the number of dimensions in `shape`"),
        (lambda: ops.slice(X, [1], [2, 2]), "`start_indices` must match .* in `inputs`"),
        (lambda: ops.slice(X, [1, 1], [2, 5]), "ops.slice failed .* exceeds dimension size"),
        (
            lambda: ops.slice(X, torch.tensor([1, 1]), [2, 5]),
            "ops.slice failed .* out of DATA bounds",
        ),
        (lambda: ops.slice_update(X, [1, 1], torch.ones(2)), "`inputs` .* in `updates`"),
        (lambda: ops.slice_update(X, [1, 1], torch.ones(2, 5)), "exceeds dimension size"),
        (lambda: ops.slice_update(X, torch.tensor([3, 1]), [[1.0]]), "out of bounds"),
        (lambda: ops.scatter([[5]], [1.0], (3,)), "ops.scatter failed .* out of bounds"),
        (lambda: ops.scatter([[0]], [1.0, 2.0], (3,)), r"ops.scatter failed on int32 of shape"),
        (lambda: ops.scatter_update(X, [[0, 4]], [1.0], "max"), "out of bounds"),
        (lambda: ops.scatter_update(X, [[0, 4]], [1.0]), "out of bounds"),
        (lambda: ops.scatter_update(X, [[0]], X[:1], "mean"), "must be None, 'add', .* 'mean'"),
        (lambda: ops.unstack(X, 5), r"ops.unstack: axis 0 of shape \(3, 4\) is not 5"),
        (lambda: ops.unstack(X, axis=2), "ops.unstack: axis 2 is out of range"),
        (lambda: model_of(lambda x: ops.slice(x, [0], [2, 2])), "`start_indices` must match"),
        (lambda: model_of(lambda x: ops.unstack(x)), "unstack.* cannot be called on"),
    ],
)
def test_wrong_parts_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_gradients_of_parts_with_starts_that_nobody_knows():
    x, part = torch.randn(3, 4).double(), torch.randn(2, 2).double()
    starts = torch.tensor([1, 2])
    x.requires_grad_(), part.requires_grad_()
    check = torch.autograd.gradcheck
    assert check(lambda x: ops.slice(x, starts, (2, 2)), (x,))
    assert check(lambda x, part: ops.slice_update(x, starts, part), (x, part))
    assert check(lambda x, part: ops.slice_update(x, [1, 2], part), (x, part))


def test_what_a_part_needs_is_made_on_its_device():
    x, starts = torch.ones(3, 4, device="meta"), torch.ones(2, device="meta")
    places = torch.ones(2, 1, device="meta")
    for made in (
        ops.slice(x, starts, (2, 2)),
        ops.slice_update(x, [0, 1], [[2.0]]),
        ops.slice_update(x, starts, [[2.0]]),
        ops.scatter(places, x[:2], (5, 4)),
        ops.scatter_update(x, places, x[:2], "max"),
        ops.saturate_cast(x, "int32"),
        ops.scan(lambda c, y: (c + y, None), x[0], x)[1][0],
    ):
        assert made.is_meta


def test_a_detached_tensor_has_no_gradient():
    x = torch.ones(2, requires_grad=True)
    (x * ops.stop_gradient(x * 3)).sum().backward()
    assert x.grad.tolist() == [3, 3]
    assert not ops.stop_gradient(Variable([1.0])).requires_grad


# ----------------------------------------------------------------------------------------- choices


def test_only_what_is_chosen_is_called():
    def never():
        raise AssertionError

    for true in (True, 1, torch.tensor(True), torch.tensor([2.0]), np.True_, Variable(1.0)):
        assert ops.cond(true, lambda: 3, never) == 3
        assert ops.switch(true, [never, lambda: 4]) == 4
    assert ops.cond(Variable(0.0), never, lambda: None) is None


def test_gradients_of_a_choice():
    x = torch.tensor(2.0, requires_grad=True)
    (one,) = torch.autograd.grad(ops.cond(x > 1, lambda: x**2, lambda: -x), x)
    (other,) = torch.autograd.grad(ops.switch(torch.tensor(1), [lambda y: y, lambda y: -y], x), x)
    assert (one, other) == (4, -1)


def test_cond_of_symbolic_tensors_chooses_in_each_call():
    model = model_of(lambda x: ops.cond(ops.mean(x) > 0, lambda: x * 2, lambda: x - 1))
    again = keras.Model.from_config(model.get_config())
    for one in (model, again, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(one(X), X * 2)
        assert torch.equal(one(-X), -X - 1)
    x = torch.randn(2, 4, requires_grad=True)
    (found,) = torch.autograd.grad(model(x).sum(), x)
    assert found.unique().tolist() == [2.0 if x.mean() > 0 else 1.0]


def test_layers_in_both_branches_belong_to_the_model():
    model = model_of(
        lambda x: ops.cond(ops.sum(x) > 0, lambda: layers.Dense(2)(x), lambda: layers.Dense(2)(-x))
    )
    assert len(model.trainable_variables) == 4
    one, other = (layer for layer in model.layers if isinstance(layer, layers.Dense))
    assert torch.equal(model(X), one(X))
    assert torch.equal(model(-X), other(X))


def test_cond_returns_structures():
    x = keras.Input((4,))
    first, second = ops.cond(x[0, 0] > 0, lambda: (x, 1.0), lambda: (-x, 2.0))
    model = keras.Model(x, [first, second])
    assert [part.sum().item() for part in model(X + 1)] == [78, 1]
    assert [part.sum().item() for part in model(-X - 1)] == [78, 2]


def test_switch_of_a_symbolic_index():
    branches = [lambda x: x, lambda x: x * 10, lambda x: x * 100]
    model = model_of(lambda x: ops.switch(ops.cast(x[0, 0], "int32"), branches, x))
    for index, factor in ((-2, 1), (0, 1), (1, 10), (2, 100), (9, 100)):
        assert model(torch.full((2, 4), index))[0, 0] == index * factor


def test_branches_must_fit_each_other():
    x = keras.Input((4,))
    pred = ops.mean(x) > 0
    for one, other in (
        (lambda: x, lambda: ops.sum(x, 1)),
        (lambda: x, lambda: ops.cast(x, "int32")),
        (lambda: x, lambda: [x]),
        (lambda: x, lambda: None),
    ):
        with pytest.raises(ValueError, match="ops.cond: expected .* same structure, shapes"):
            ops.cond(pred, one, other)
    with pytest.raises(ValueError, match=r"expected one number .* shape=\(None, 4\)"):
        ops.cond(x > 0, lambda: x, lambda: -x)
    with pytest.raises(ValueError, match="ops.switch: expected one number"):
        ops.switch(x, [lambda: x, lambda: -x])


# ------------------------------------------------------------------------------------------- loops


class Reading(layers.Layer):
    """Calls a function of the layer and its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.parts = [layers.Dense(4, use_bias=False) for _ in range(2)]

    def call(self, inputs):
        return self.function(self, inputs)


def test_a_loop_that_ends_by_numbers_is_built_without_any():
    """With zeros, doubling never reaches 100."""

    def until(x):
        return ops.while_loop(lambda y: ops.sum(y) < 100, lambda y: y * 2, x)

    layer = Reading(lambda self, x: until(x))
    for model in (model_of(until), model_of(layer), keras.Sequential([layer])):
        assert torch.equal(model(X), X * 2)
        assert torch.equal(model(X / 8), X * 2)


def test_layers_in_a_choice_are_built_on_trial():
    for choice in (
        lambda self, x: ops.cond(
            ops.sum(x) > 0, lambda: self.parts[0](x), lambda: self.parts[1](x)
        ),
        lambda self, x: ops.switch(ops.cast(x[0, 0], "int32"), self.parts, x),
    ):
        layer = Reading(choice)
        assert model_of(layer).output_shape == (None, 4)
        assert len(layer.trainable_variables) == 2


@pytest.mark.parametrize(
    "function,expected",
    [
        (lambda x: ops.map(lambda row: row[::2] - 1, x), X[:, ::2] - 1),
        (lambda x: ops.scan(lambda c, row: (c + row, c), ops.zeros(4), x)[0], X.sum(0)),
        (lambda x: ops.fori_loop(0, 3, lambda at, y: y + at, x), X + 3),
        (lambda x: ops.fori_loop(0, ops.cast(x[0, 3], "int32"), lambda at, y: y + at, x), X + 3),
        (lambda x: ops.vectorized_map(lambda row: row / row.max(), x), X / X.amax(1, True)),
        (lambda x: ops.associative_scan(ops.add, x, axis=1), X.cumsum(1)),
        (lambda x: ops.switch(1, [ops.exp, ops.square], x), X**2),
    ],
)
def test_functional_models_of_loops(function, expected):
    model = model_of(function)
    torch.testing.assert_close(model(X), expected)
    torch.testing.assert_close(copy.deepcopy(model)(X), expected)


def halved(x):
    return x / 2


def test_a_model_of_a_function_is_written_and_read():
    keras.utils.register_keras_serializable()(halved)
    again = keras.Model.from_config(model_of(lambda x: ops.map(halved, x)).get_config())
    assert torch.equal(again(X), X / 2)
    config = model_of(lambda x: ops.map(lambda row: row / 2, x)).get_config()
    with pytest.raises(ValueError, match="lambda"):
        keras.Model.from_config(config)


def test_a_function_must_be_given_the_symbolic_tensors_that_it_uses():
    for loop in (
        lambda x: ops.map(lambda row: row + x, x),
        lambda x: ops.scan(lambda c, row: (c, row * x), ops.zeros(4), x),
        lambda x: ops.while_loop(lambda y: True, lambda y: x, x + 1),
        lambda x: ops.vectorized_map(lambda row: row + x, x),
        lambda x: ops.fori_loop(0, 3, lambda at, y: x, x),
    ):
        with pytest.raises(ValueError, match="uses <KerasTensor.*: hand it over"):
            model_of(loop)


def test_variables_arrays_and_numbers_are_looped_over():
    weight = Variable([1.0, 2.0, 3.0])
    total, sums = ops.scan(lambda c, x: (c + x, c + x), 0.0, weight)
    assert total == 6 and sums.tolist() == [1, 3, 6]
    assert sums.requires_grad
    assert ops.map(lambda x: {"a": x["b"] * 2}, {"b": np.array([1, 2])})["a"].tolist() == [2, 4]
    assert ops.vectorized_map(lambda x: x + 1, np.arange(3)).tolist() == [1, 2, 3]
    assert ops.while_loop(lambda x: x < 5, lambda x: x + 2, Variable(0)).item() == 6
    assert ops.fori_loop(Variable(1), torch.tensor(4), lambda at, x: x * at, 1).item() == 6


def test_outputs_may_be_numbers():
    assert ops.map(lambda x: 2, torch.ones(3)).tolist() == [2, 2, 2]
    assert ops.vectorized_map(lambda x: 2.5, torch.ones(2)).tolist() == [2.5, 2.5]


def test_vectorized_map_of_what_vmap_cannot_do():
    calls = []

    def largest(x):
        calls.append(1)
        return x * 2 if x > 1 else x.item() * torch.ones(())

    assert ops.vectorized_map(largest, torch.tensor([0.5, 1.5])).tolist() == [0.5, 3.0]
    with pytest.raises(ValueError, match="ops.matmul failed"):
        ops.vectorized_map(lambda x: ops.matmul(x, torch.ones(3)), torch.ones(4, 2))


def test_vectorized_map_is_one_call():
    calls = []

    def once(x):
        calls.append(1)
        return ops.relu(x) + torch.rand(2)

    found = ops.vectorized_map(once, torch.ones(5, 2))
    assert len(calls) == 1
    assert found.unique().numel() == 10


def test_associative_scan_keeps_the_dtype_and_needs_few_calls():
    """Keras on torch gives float32 for integers."""
    calls = []

    def plus(a, b):
        calls.append(a.shape[0])
        return a + b

    found = ops.associative_scan(plus, torch.arange(1000))
    assert found.dtype is torch.int64
    assert torch.equal(found, torch.arange(1000).cumsum(0))
    assert len(calls) <= 20 and min(calls) > 0


def test_gradients_of_loops():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    for call in (
        lambda x: ops.while_loop(lambda y: ops.sum(y) < 100, lambda y: y * y, x),
        lambda x: ops.fori_loop(0, 3, lambda at, y: y * (at + 2) * x, x),
        lambda x: ops.vectorized_map(lambda y: y * y if y.sum() > 4 else y, x),
        lambda x: ops.associative_scan(torch.matmul, torch.stack([x, x.T, x + 1, x])),
        lambda x: ops.scan(lambda c, y: (c * y, c + y), x[0], x, reverse=True),
        lambda x: ops.map(lambda y: y.cumprod(0), x),
    ):
        assert torch.autograd.gradcheck(call, (x,))


@pytest.mark.parametrize(
    "call,kind,words",
    [
        (lambda: ops.cond(True, 1, 2), TypeError, "ops.cond: true_fn should be a callable"),
        (lambda: ops.switch(0, [1]), TypeError, r"ops.switch: branches\[0\] should be a callable"),
        (lambda: ops.map(X, X), TypeError, "ops.map: f should be a callable"),
        (lambda: ops.scan(None, X, X), TypeError, "ops.scan: f should be a callable"),
        (lambda: ops.fori_loop(0, 1, X, X), TypeError, "ops.fori_loop: body_fun"),
        (lambda: ops.while_loop(len, 3, X), TypeError, "ops.while_loop: body"),
        (lambda: ops.vectorized_map(3, X), TypeError, "ops.vectorized_map: function"),
        (lambda: ops.associative_scan(3, X), TypeError, "ops.associative_scan: f"),
        (lambda: ops.scan(len, X, X, unroll=0), ValueError, "ops.scan: unroll .* received 0"),
        (lambda: ops.scan(len, X, X, unroll=1.5), ValueError, "ops.scan: unroll"),
        (lambda: ops.scan(len, X), ValueError, "ops.scan: expected xs .* or a length"),
        (lambda: ops.scan(len, X, X, length=4), ValueError, r"sizes \[3\] and length=4"),
        (lambda: ops.scan(len, X, [X, X[0]]), ValueError, r"received sizes \[3, 4\]"),
        (lambda: ops.map(len, X[:0]), ValueError, r"at least 1.* received sizes \[0\]"),
        (lambda: ops.associative_scan(len, X, axis=2), ValueError, "axis 2 is out of range"),
        (lambda: ops.associative_scan(len, [X, X.T]), ValueError, r"shapes \[\(3, 4\), \(4, 3\)\]"),
    ],
)
def test_wrong_arguments_of_loops(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


# --------------------------------------------------------------------------------------- gradients


def test_custom_gradient():
    @ops.custom_gradient
    def log1pexp(x):
        e = ops.exp(x)

        def grad(*args, upstream=None):
            assert torch.equal(args[0], x)
            return upstream * (1 - 1 / (1 + e))

        return ops.log(1 + e), grad

    x = torch.tensor([100.0, 1.0], requires_grad=True)
    log1pexp(x).sum().backward()
    np.testing.assert_allclose(x.grad, [1, 1 / (1 + np.exp(-1))], 1e-6)
    assert log1pexp.__name__ == "log1pexp"
    assert log1pexp(2.0).item() == pytest.approx(np.log1p(np.exp(2)))


def test_custom_gradient_as_written_for_tensorflow_and_jax():
    @ops.custom_gradient
    def clipped(x, scale=1.0):
        def grad(upstream):
            return ops.clip(upstream, -1, 1)

        return x * scale, grad

    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (clipped(x, scale=3.0) * torch.tensor([5.0, 0.5])).sum().backward()
    assert x.grad.tolist() == [1, 0.5]


def test_custom_gradient_of_structures():
    @ops.custom_gradient
    def both(pair, factor):
        a, b = pair["a"], pair["b"]

        def grad(pair, factor, upstream):
            total, product = upstream["total"], upstream["product"]
            return total + 10 * product, total + 100 * product, None

        return {"total": a + b, "product": a * b * factor}, grad

    a, weight = torch.tensor(2.0, requires_grad=True), Variable(3.0)
    found = both({"a": a, "b": weight}, 2)
    assert (found["total"], found["product"]) == (5, 12)
    (found["total"] + found["product"]).backward()
    assert (a.grad, weight.value.grad) == (11, 101)


def test_custom_gradient_in_a_functional_model():
    @ops.custom_gradient
    def reversed_gradient(x):
        return x * 1, lambda *args, upstream: -upstream

    model = model_of(reversed_gradient)
    x = torch.ones(2, 4, requires_grad=True)
    model(x).sum().backward()
    assert x.grad.unique().tolist() == [-1]
    with pytest.raises(ValueError, match="which a config cannot name"):
        model.get_config()


def test_custom_gradient_must_return_a_pair():
    with pytest.raises(ValueError, match="ops.custom_gradient: expected a function that returns"):
        ops.custom_gradient(lambda x: x)(X)


# ------------------------------------------------------------------------------- the captured step


@ops.custom_gradient
def damped(x):
    return x * 1, lambda *args, upstream: upstream / 2


def of_choice(y_true, y_pred):
    error = y_true - y_pred
    size = ops.mean(ops.abs(error))
    return ops.cond(size > 0.6, lambda: ops.square(error), lambda: ops.abs(error))


def of_switch(y_true, y_pred):
    index = ops.cast(ops.sum(y_true) > 0, "int32")
    return ops.switch(index, [ops.square, ops.abs], y_true - y_pred)


def of_while(y_true, y_pred):
    return ops.while_loop(lambda y: ops.max(y) > 1, lambda y: y / 2, ops.square(y_true - y_pred))


def of_numpy(y_true, y_pred):
    return ops.square(y_true - y_pred) * float(ops.convert_to_numpy(y_true).std())


def of_scan(y_true, y_pred):
    return ops.scan(lambda c, e: (c + e, c * e), ops.zeros(1), ops.square(y_true - y_pred))[1]


def of_map(y_true, y_pred):
    return ops.map(lambda pair: ops.square(pair[0] - pair[1]), (y_true, y_pred))


def of_vectorized_map(y_true, y_pred):
    return ops.vectorized_map(lambda pair: (pair[0] - pair[1]) ** 2, (y_true, y_pred))


def of_associative_scan(y_true, y_pred):
    return ops.associative_scan(ops.add, ops.square(y_true - y_pred), axis=0)


def of_parts(y_true, y_pred):
    start = ops.cast(ops.stack([ops.argmax(y_true[:5, 0]), 0]), "int32")
    error = ops.slice_update(y_true - y_pred, start, ops.slice(y_pred, start, (3, 1)))
    return ops.scatter_update(error, [[0], [1], [0]], ops.unstack(y_pred)[2:5], "max") ** 2


def of_casts(y_true, y_pred):
    weight = ops.saturate_cast(ops.abs(y_true) * 200, "uint8")
    error = damped(y_true - ops.stop_gradient(y_pred) / 2 - y_pred)
    return ops.square(error) * ops.cast(weight, "float32") / 255


def trained(loss, run_eagerly):
    """The state after two epochs on batches of errors of many sizes, and how the steps ran."""
    keras.utils.set_random_seed(3)
    x = np.random.normal(size=(64, 3)).astype("float32")
    y = (x.sum(1, keepdims=True) * np.linspace(0, 3, 64)[:, None] % 1.7 - 0.8).astype("float32")
    model = keras.Sequential([keras.Input((3,)), layers.Dense(8, "tanh"), layers.Dense(1)])
    model.compile("sgd", loss, run_eagerly=run_eagerly)
    losses = model.fit(x, y, 8, 2, shuffle=False, verbose=0).history["loss"]
    return losses, model.get_weights(), model.step_report()


@pytest.mark.parametrize(
    "loss", [of_scan, of_map, of_vectorized_map, of_associative_scan, of_parts, of_casts]
)
def test_captured_is_eager(loss):
    losses, weights, report = trained(loss, False)
    expected, expected_weights, _ = trained(loss, True)
    assert report.kind == "captured", report
    np.testing.assert_allclose(losses, expected, 1e-5)
    for one, other in zip(weights, expected_weights):
        np.testing.assert_allclose(one, other, 1e-5, 1e-6)


@pytest.mark.parametrize("loss", [of_choice, of_switch, of_while, of_numpy])
def test_a_step_that_chooses_by_numbers_stays_eager(loss):
    losses, weights, report = trained(loss, False)
    expected, expected_weights, _ = trained(loss, True)
    assert report.kind == "eager", report
    np.testing.assert_allclose(losses, expected, 1e-6)
    for one, other in zip(weights, expected_weights):
        np.testing.assert_array_equal(one, other)


def test_the_choices_tested_take_both_branches():
    taken = set()

    def counted(y_true, y_pred):
        size = ops.mean(ops.abs(y_true - y_pred))
        taken.add(("cond", bool(size > 0.6)))

        taken.add(("switch", bool(ops.sum(y_true) > 0)))
        taken.add(("while", bool(ops.max(ops.square(y_true - y_pred)) > 1)))
        return of_choice(y_true, y_pred)

    trained(counted, True)
    assert len(taken) == 6
