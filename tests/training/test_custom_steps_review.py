"""Steps of the user's own: modes, data in the form that was given, losses of several outputs."""

import numpy as np
import pytest
import torch

from torchkeras import Input, Model
from torchkeras.layers import Dense
from torchkeras.metrics import Mean

X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
Z = np.random.default_rng(1).normal(size=(20, 3)).astype("float32")
Y = np.random.default_rng(2).normal(size=(20, 1)).astype("float32")
W = np.random.default_rng(3).uniform(size=20).astype("float32")
QUIET = {"batch_size": 5, "shuffle": False, "verbose": 0}


def graph(cls):
    inputs = Input((4,), name="a")
    return cls(inputs, Dense(1, name="o")(inputs))


class Modes(Model):
    """A loss of twice the error in training and three times elsewhere."""

    def compute_loss(self, x, y, y_pred, sample_weight, training=True):
        return ((y - y_pred) ** 2).mean() * (2 if training else 3)


class Older(Model):
    """A loss as it was written before compute_loss knew of the mode."""

    def compute_loss(self, x, y, y_pred, sample_weight):
        return ((y - y_pred) ** 2).mean() * 3


@pytest.mark.parametrize("cls", [Modes, Older])
def test_compute_loss_is_told_the_mode_where_it_asks(cls):
    model = graph(cls)
    model.compile("sgd")
    error = np.mean((model.predict(X, verbose=0) - Y) ** 2)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(3 * error, rel=1e-5)
    trained = model.train_on_batch(X, Y)
    assert trained == pytest.approx((2 if cls is Modes else 3) * error, rel=1e-5)


def test_compute_loss_must_return_a_tensor():
    class Broken(Model):
        def compute_loss(self, x, y, y_pred, sample_weight):
            return 1.0

    model = graph(Broken)
    model.compile("sgd")
    with pytest.raises(ValueError, match="Broken.compute_loss must return the loss as a tensor"):
        model.fit(X, Y, **QUIET)


def test_a_step_without_any_loss_says_so():
    class Inheriting(Model):
        def train_step(self, data):
            return super().train_step(data)

    model = graph(Inheriting)
    model.compile("sgd")
    with pytest.raises(ValueError, match="No loss to compute"):
        model.fit(X, Y, **QUIET)


def two(cls):
    a, b = Input((4,), name="a"), Input((3,), name="b")
    return cls([a, b], [Dense(1, name="u")(a), Dense(1, name="v")(b)])


def form(data):
    """Return data with the number of columns in the place of each tensor."""
    if isinstance(data, dict):
        return {key: form(part) for key, part in data.items()}
    if isinstance(data, (list, tuple)):
        return type(data)(map(form, data))
    return data if data is None else data.shape[-1]


class Looking(Model):
    """Notes the form of what its steps receive."""

    def train_step(self, data):
        self.__dict__.setdefault("seen", []).append(form(data))
        return {"loss": 1.0}

    test_step = train_step

    def predict_step(self, data):
        self.seen.append(form(data))
        return torch.zeros(20, 1)


@pytest.mark.parametrize(
    ("make", "x", "y", "weight", "expected"),
    [
        (graph, X, None, None, 4),
        (graph, X, Y, None, (4, 1)),
        (graph, [X], Y, None, ([4], 1)),
        (graph, {"a": X}, [Y], None, ({"a": 4}, [1])),
        (graph, X, Y, W, (4, 1, 5)),
        (two, [X, Z], None, None, ([4, 3],)),
        (two, {"b": Z, "a": X}, None, None, {"b": 3, "a": 4}),
        (two, (X, Z), (Y, Y), None, ((4, 3), (1, 1))),
        (two, {"b": Z, "a": X}, {"v": Y, "u": Y}, None, ({"b": 3, "a": 4}, {"v": 1, "u": 1})),
        (two, [X, Z], [Y, Y], [W, W], ([4, 3], [1, 1], [5, 5])),
        (two, [X, Z], [Y, Y], W, ([4, 3], [1, 1], [5, 5])),
    ],
)
def test_steps_receive_data_in_the_form_in_which_it_was_given(make, x, y, weight, expected):
    model = make(Looking)
    model.compile("sgd", "mse")
    model.fit(x, y, sample_weight=weight, **QUIET)
    model.evaluate(x, y, 5, verbose=0, sample_weight=weight)
    assert model.seen == [expected] * 8
    if isinstance(expected, dict):
        assert list(model.seen[0]) == list(expected)
    model.predict(x, batch_size=20, verbose=0)
    inputs = expected[0] if isinstance(expected, tuple) else expected
    assert model.seen[-1] == ((inputs,) if isinstance(inputs, (list, tuple)) else inputs)


def test_inputs_by_name_reach_their_own_places():
    class Naming(Model):
        def train_step(self, data):
            x, y = data
            return {"a": x["a"].mean(), "b": x["b"].mean(), "u": y["u"].mean(), "v": y["v"].mean()}

    model = two(Naming)
    model.compile("sgd", "mse")
    logs = model.train_on_batch({"b": Z, "a": X}, {"v": Y + 3, "u": Y}, return_dict=True)
    expected = {"a": X.mean(), "b": Z.mean(), "u": Y.mean(), "v": Y.mean() + 3}
    assert logs == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_step_without_compiled_losses_takes_targets_of_any_form():
    class Reconstructing(Model):
        def train_step(self, data):
            _, y = data
            return {"loss": y.mean()}

    model = two(Reconstructing)
    model.compile("sgd")
    assert model.train_on_batch([X, Z], X) == pytest.approx(X.mean(), rel=1e-4)


class Inheriting(Model):
    def train_step(self, data):
        return super().train_step(data)

    def test_step(self, data):
        return super().test_step(data)


def test_steps_of_several_outputs_report_each_ones_loss():
    found = []
    for cls in (Model, Inheriting):
        model = two(cls)
        model.set_weights([np.full(w.shape, 0.1) for w in model.get_weights()])
        model.compile("adam", ["mse", "mae"], loss_weights=[1.0, 0.3], metrics=[["mae"], ["mse"]])
        history = model.fit([X, Z], [Y, Y], epochs=3, validation_split=0.3, **QUIET).history
        found.append((history, model.evaluate([X, Z], [Y, Y], verbose=0)))
    (plain, results), (own, own_results) = found
    assert sorted(own) == sorted(plain)
    for name, values in plain.items():
        assert own[name] == pytest.approx(values, rel=1e-5), name
    assert own_results == pytest.approx(results, rel=1e-5)


def test_a_step_that_returns_nothing_is_refused():
    class Silent(Model):
        def train_step(self, data):
            return None

    model = graph(Silent)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="must return a dictionary.*None"):
        model.fit(X, Y, **QUIET)


def test_a_loss_that_the_model_tracks_itself_is_reported_once():
    class Tracking(Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.tracker = Mean(name="loss")

        def compute_loss(self, x, y, y_pred, sample_weight, training=True):
            loss = ((y - y_pred) ** 2).mean()
            self.tracker.update_state(loss)
            return loss

        @property
        def metrics(self):
            return [self.tracker]

    model = graph(Tracking)
    model.compile("sgd", "mse")
    error = np.mean((model.predict(X, verbose=0) - Y) ** 2)
    assert model.metrics_names == ["loss"]
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(error, rel=1e-5)


def test_a_single_batch_returns_what_the_step_returned():
    class Untracked(Model):
        def train_step(self, data):
            return {"loss": data[1].mean()}

        test_step = train_step

    model = graph(Untracked)
    model.compile("sgd", "mse")
    assert model.train_on_batch(X, Y) == pytest.approx(Y.mean(), rel=1e-5)
    assert model.test_on_batch(X, Y + 1) == pytest.approx(Y.mean() + 1, rel=1e-5)
    # Over an epoch it is the mean that the model keeps, as in Keras, which no step has updated.
    assert model.fit(X, Y, **QUIET).history == {"loss": [0.0]}
