"""Loops over time, functions with givens, and what a script of sessions is told."""

import numpy as np
import pytest
import torch

from torchkeras import backend as K, layers, models
from torchkeras.graph import KerasTensor
from torchkeras.ops import promotion

RNG = np.random.RandomState(11)
X = RNG.randn(4, 6, 5).astype("float32")
H = RNG.randn(4, 3).astype("float32")
WX, WH = RNG.randn(5, 3).astype("float32") / 3, RNG.randn(3, 3).astype("float32") / 3
MASK = np.array([[1, 1, 1, 1, 0, 0], [0, 1, 1, 0, 1, 1], [1] * 6, [0] * 6])


def step(inputs, states):
    h = torch.tanh(K.dot(inputs, WX) + K.dot(states[0], WH))
    return h, [h]


def account(x, h, order, mask=None):
    """The same in numpy: outputs in the order of the calls, and the last state."""
    outputs, before = [], np.zeros_like(h)
    for t in order:
        new = np.tanh(x[:, t] @ WX + h @ WH)
        kept = np.ones(len(x), bool) if mask is None else mask[:, t].astype(bool)
        h = np.where(kept[:, None], new, h)
        before = np.where(kept[:, None], new, before)
        outputs.append(before)
    return np.stack(outputs, 1), h


@pytest.mark.parametrize("kind", ["real", "symbolic"])
@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("mask", [None, MASK, MASK[..., None]], ids=["all", "masked", "column"])
@pytest.mark.parametrize("backwards", [False, True])
def test_rnn(backwards, mask, unroll, kind):
    order = range(5, -1, -1) if backwards else range(6)
    flat = None if mask is None else mask.reshape(4, 6)
    outputs, state = account(X, H, order, flat)
    settings = {"go_backwards": backwards, "unroll": unroll, "input_length": 6}
    if kind == "real":
        last, found, states = K.rnn(step, X, [H], mask=mask, **settings)
        found = [K.get_value(one) for one in (last, found, states[0])]
    else:
        x, h = K.placeholder((None, 6, 5)), K.placeholder((None, 3))
        m = None if mask is None else K.placeholder((None, *mask.shape[1:]))
        last, whole, states = K.rnn(step, x, [h], mask=m, **settings)
        assert (last.shape, whole.shape, states[0].shape) == ((None, 3), (None, 6, 3), (None, 3))
        inputs, arrays = ([x, h], [X, H]) if m is None else ([x, h, m], [X, H, mask])
        found = K.function(inputs, [last, whole, states[0]])(arrays)
    for ours, theirs in zip(found, (outputs[:, -1], outputs, state)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


class TestRnn:
    def test_steps_not_known(self):
        x = K.placeholder((4, None, 5))
        last, whole, _ = K.rnn(step, x, [K.zeros((4, 3))])
        assert whole.shape == (4, None, 3)
        assert K.function([x], [last, whole])([X])[1].shape == (4, 6, 3)

    def test_constants_follow_the_states(self):
        def add(inputs, given):
            total, by = given
            return total + by, [total + by]

        last, _, states = K.rnn(add, X, [np.zeros((4, 1))], constants=[np.full((4, 1), 2.0)])
        assert last.tolist() == [[12.0]] * 4 and torch.equal(states[0], last)

    def test_no_states(self):
        last, whole, states = K.rnn(lambda x, _: (x * 2, []), X, [])
        assert states == [] and np.allclose(whole, X * 2) and np.allclose(last, X[:, -1] * 2)

    def test_states_of_another_rank_are_masked(self):
        _, _, (state,) = K.rnn(lambda x, s: (x, [s[0] + 1]), X, [np.zeros((4, 2, 2))], mask=MASK)
        assert state[:, 1, 1].tolist() == MASK.sum(1).tolist()

    def test_lengths_stand_for_a_mask(self):
        lengths = np.array([4, 6, 1, 0])
        mask = np.arange(6) < lengths[:, None]
        by_length = K.rnn(step, X, [H], input_length=lengths)
        for ours, theirs in zip(by_length[:2], K.rnn(step, X, [H], mask=mask)[:2]):
            assert torch.equal(ours, theirs)

    def test_zeros_where_masked(self):
        last, whole, _ = K.rnn(step, X, [H], mask=MASK, zero_output_for_mask=True)
        assert ((whole != 0).all(-1).numpy() == MASK.astype(bool)).all()
        assert (last[0] == 0).all() and (last[2] != 0).all()
        _, backwards, _ = K.rnn(
            step, X, [H], mask=MASK, zero_output_for_mask=True, go_backwards=True
        )
        assert ((backwards != 0).all(-1).numpy() == MASK[:, ::-1].astype(bool)).all()

    def test_time_major(self):
        _, whole, _ = K.rnn(step, X, [H], mask=MASK)
        _, turned, _ = K.rnn(
            step, X.swapaxes(0, 1), [H], mask=MASK.T, time_major=True, return_all_outputs=True
        )
        assert torch.equal(turned.transpose(0, 1), whole)
        _, single, _ = K.rnn(step, X, [H], mask=MASK, return_all_outputs=False)
        assert torch.equal(single, whole[:, -1:])

    def test_gradient(self):
        x = torch.tensor(X, requires_grad=True)
        w = K.variable(WX)

        def add(inputs, states):
            total = K.dot(inputs, w) + states[0]
            return total, [total]

        last, _, _ = K.rnn(add, x, [H], mask=MASK)
        by_x, by_w = (gradient.detach() for gradient in K.gradients(K.sum(last), [x, w]))
        assert (by_x[3] == 0).all() and np.allclose(by_x[0, 0], WX.sum(1), atol=1e-5)
        expected = (X * MASK[..., None]).sum((0, 1))
        np.testing.assert_allclose(by_w, expected[:, None].repeat(3, 1), rtol=1e-4, atol=1e-5)

    def test_in_a_layer_that_trains(self):
        class Sum(layers.Layer):
            def build(self, shape):
                self.w = self.add_weight(shape=(5, 3), name="w")

            def call(self, x):
                return K.rnn(lambda a, s: (K.dot(a, self.w), s), x, [], input_length=6)[0]

        model = models.Sequential([Sum()])
        model.compile("sgd", "mse")
        before = model.evaluate(X, H, verbose=0)
        model.fit(X, H, epochs=5, verbose=0)
        assert model.evaluate(X, H, verbose=0) < before

    def test_rank(self):
        with pytest.raises(ValueError, match=r"\(batch, steps, …\)"):
            K.rnn(step, X[0], [H])


def test_folds_of_several():
    pairs = (np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0]))
    for fold, expected in ((K.foldl, (10 * 2 + 20) * 3 + 30), (K.foldr, (30 * 2 + 20) * 1 + 10)):
        found = fold(lambda total, pair: pair[0] * total + pair[1], pairs, initializer=0.0)
        assert float(found) == expected


class TestFunction:
    def test_givens(self):
        x, rate = K.placeholder((None,)), K.placeholder(())
        settings = {rate: 2.0}
        run = K.function([x], [x * rate], givens=settings)
        assert run([[1.0, 2.0]])[0].tolist() == [2, 4]
        settings[rate] = 3.0
        assert run([[1.0, 2.0]])[0].tolist() == [3, 6]
        assert K.function([x], [x * rate], givens=[(rate, 4.0)])([[1.0]])[0].tolist() == [4]

    def test_givens_are_symbolic(self):
        with pytest.raises(TypeError, match="symbolic tensors"):
            K.function([], [], givens={"x": 1})

    def test_is_a_class_too(self):
        assert isinstance(K.function([], [K.variable(1.0)]), K.Function)


class TestSessions:
    @pytest.mark.parametrize(
        "name, hint",
        [
            ("get_session", "K.get_value"),
            ("set_session", "keras.config.set_device"),
            ("control_dependencies", "computed first"),
            ("ctc_cost", "K.ctc_batch_cost"),
            ("ctc_path_probs", "K.ctc_batch_cost"),
        ],
    )
    def test_what_has_no_meaning_says_what_to_do(self, name, hint):
        with pytest.raises(NotImplementedError, match=f"K.{name} .*{hint}"):
            getattr(K, name)(1)

    def test_what_need_not_be_done(self):
        def function(x):
            return x

        assert K.eager(function) is K.symbolic(function) is function
        assert K.manual_variable_initialization(True) is None
        assert K.legacy_weight_ordering() is False
        assert K.set_legacy_weight_ordering(False) is None
        with pytest.raises(ValueError, match="leave the call out"):
            K.set_legacy_weight_ordering(True)
        assert K.pattern_broadcast(function, [True]) is function


class TestSmallThings:
    def test_sizes(self):
        assert K.size(X).item() == 120 and K.dtype(K.size(X)) == "int32"
        assert K.function([x := K.placeholder((None, 2))], [K.size(x)])([[[1, 2]]])[0] == 2

    def test_shapes_that_are_explicit(self):
        assert K.is_explicit_shape((None, 3)) and K.is_explicit_shape([2])
        assert not K.is_explicit_shape(3) and not K.is_explicit_shape((torch.tensor(1),))

    def test_layouts(self):
        assert K.normalize_data_format(None) == K.image_data_format()
        assert K.normalize_data_format("Channels_First") == "channels_first"

    def test_result_type(self):
        assert K.result_type is promotion.result_type
        assert K.result_type("int32", float) == "float32"

    def test_py_all(self):
        assert K.py_all([True, 1]) is True

    def test_what_is_no_tensor(self, monkeypatch):
        assert K.is_keras_tensor(np.ones(2)) is False
        from torchkeras import eras

        eras.set_version(2)
        with pytest.raises(ValueError, match="received ndarray"):
            K.is_keras_tensor(np.ones(2))
        assert K.is_keras_tensor(K.variable(1.0)) is False

    def test_every_name_has_a_docstring_and_is_found(self):
        for name in K.__all__:
            assert getattr(K, name).__doc__, name

    def test_symbolic_noise_shape(self):
        x = K.placeholder((None, 4))
        dropped = K.dropout(x, 0.5, noise_shape=(K.shape(x)[0], 1))
        assert isinstance(dropped, KerasTensor) and dropped.shape == (None, 4)
        found = K.function([x], [dropped])([np.ones((50, 4))])[0]
        assert set(found.ravel()) == {0.0, 2.0} and (found == found[:, :1]).all()

    def test_repeat_as_often_as_a_symbolic_size(self):
        x, y = K.placeholder((None, 2)), K.placeholder((None, None, 3))
        repeated = K.repeat(x, K.shape(y)[1])
        found = K.function([x, y], [repeated])([np.ones((4, 2)), X[:, :5, :3]])[0]
        assert repeated.shape == (None, None, 2) and found.shape == (4, 5, 2)
