"""Subclassed models: inputs and outputs of every structure, building, copies, nesting."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import Input, Model, Sequential
from torchkeras.layers import BatchNormalization, Dense, Dropout, Layer

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(32, 3)).astype("float32")
QUIET = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}


class MLP(Model):
    """As in every guide."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden = [Dense(5, activation="relu") for _ in range(2)]
        self.norm = BatchNormalization()
        self.drop = Dropout(0.5)
        self.out = Dense(units)

    def call(self, inputs, training=None, mask=None):
        for layer in self.hidden:
            inputs = layer(inputs)
        return self.out(self.drop(self.norm(inputs, training=training), training=training))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Branches(Model):
    """A dictionary in, a dictionary out."""

    def __init__(self):
        super().__init__()
        self.left, self.right = Dense(3), Dense(2)

    def call(self, inputs):
        return {"first": self.left(inputs["a"]), "second": self.right(inputs["b"])}


class Pair(Model):
    """A list in, a tuple out."""

    def __init__(self):
        super().__init__()
        self.left, self.right = Dense(3), Dense(1, activation="sigmoid")

    def call(self, inputs):
        a, b = inputs
        hidden = self.left(a) + self.left(b)
        return hidden, self.right(hidden)


def test_weights_exist_after_build_call_or_fit_alike():
    built, called, trained = MLP(), MLP(), MLP()
    built.build((None, 4))
    called(X)
    trained.compile("sgd", "mse")
    trained.fit(X, Y, verbose=0)
    shapes = [[w.shape for w in model.get_weights()] for model in (built, called, trained)]
    assert shapes[0] == shapes[1] == shapes[2] and len(shapes[0]) == 10
    assert [v.path for v in built.weights][:2] == [
        f"{built.name}/{built.hidden[0].name}/{kind}" for kind in ("kernel", "bias")
    ]
    assert built.count_params() == 25 + 30 + 20 + 18
    with pytest.raises(ValueError, match="not built"):
        MLP().count_params()


def test_build_for_lists_and_dictionaries_of_shapes():
    pair, branches = Pair(), Branches()
    pair.build([(None, 4), (None, 4)])
    branches.build({"a": (None, 4), "b": (None, 6)})
    assert [v.shape for v in pair.weights] == [(4, 3), (3,), (3, 1), (1,)]
    assert [v.shape for v in branches.weights] == [(4, 3), (3,), (6, 2), (2,)]


def test_a_build_that_fails_says_whose_and_may_be_tried_again():
    model = Branches()
    with pytest.raises((TypeError, ValueError), match="'branches.*' .*shape"):
        model.build((None, 4))
    assert not model.built
    model.build({"a": (None, 4), "b": (None, 4)})
    assert model.built and len(model.weights) == 4


def test_summary_shows_layers_in_lists_and_their_shapes():
    lines = []
    model = MLP()
    model.build((None, 4))
    model.summary(print_fn=lines.append)
    text = "\n".join(map(str, lines))
    assert text.count("(None, 5)") >= 3 and "(None, 3)" in text
    assert "Total params: 93 " in text and "Non-trainable params: 10" in text


@pytest.mark.parametrize("eager", [False, True])
def test_dictionaries_train_as_their_parts_do(eager):
    model = Branches()
    model.build({"a": (None, 4), "b": (None, 4)})
    alone = [Sequential([Input((4,)), Dense(n)]) for n in (3, 2)]
    for part, one in zip((model.left, model.right), alone):
        one.set_weights(part.get_weights())
    data = {"a": X, "b": X[:, ::-1].copy()}
    targets = {"first": Y, "second": Y[:, :2]}
    model.compile("sgd", {"first": "mse", "second": "mae"}, run_eagerly=eager)
    history = model.fit(data, targets, **QUIET).history
    assert model.step_report().kind == ("eager" if eager else "captured")
    expected = []
    for one, loss, x, y in zip(alone, ("mse", "mae"), data.values(), targets.values()):
        one.compile("sgd", loss)
        expected.append(one.fit(x, y, **QUIET).history["loss"])
    assert history["first_loss"] == pytest.approx(expected[0], rel=1e-5)
    assert history["second_loss"] == pytest.approx(expected[1], rel=1e-5)
    predicted = model.predict(data, verbose=0)
    assert predicted.keys() == {"first", "second"} and predicted["second"].shape == (32, 2)


def test_lists_in_tuples_out():
    model = Pair()
    model.compile("sgd", ["mse", "binary_crossentropy"], metrics=[["mae"], ["accuracy"]])
    targets = [Y, (Y[:, :1] > 0).astype("float32")]
    history = model.fit([X, X], targets, **QUIET).history
    assert model.step_report().kind == "captured"
    assert {"loss", "mae", "accuracy"} <= history.keys()
    outputs = model.predict([X, X], verbose=0)
    assert [out.shape for out in outputs] == [(32, 3), (32, 1)]


def test_nested_models_and_layers_train_as_the_flat_ones():
    class Block(Layer):
        def __init__(self, units):
            super().__init__()
            self.dense = Dense(units, activation="tanh")

        def call(self, inputs):
            return self.dense(inputs)

    class Inner(Model):
        def __init__(self):
            super().__init__()
            self.blocks = [Block(5), Block(4)]

        def call(self, inputs):
            for block in self.blocks:
                inputs = block(inputs)
            return inputs

    class Outer(Model):
        def __init__(self):
            super().__init__()
            self.inner = Inner()
            self.out = Sequential([Dense(3)])

        def call(self, inputs):
            return self.out(self.inner(inputs))

    model = Outer()
    flat = Sequential([Input((4,)), Dense(5, "tanh"), Dense(4, "tanh"), Dense(3)])
    model(X)
    dense = model.inner.blocks[0].dense
    names = [model.name, model.inner.name, model.inner.blocks[0].name, dense.name]
    assert model.weights[0].path == "/".join([*names, "kernel"])
    assert model.weights[-1].path == f"outer/{model.out.name}/{model.out.layers[0].name}/bias"
    flat.set_weights(model.get_weights())
    histories = []
    for one in (model, flat):
        one.compile("adam", "mse")
        histories.append(one.fit(X, Y, **QUIET).history["loss"])
    assert histories[0] == pytest.approx(histories[1], rel=1e-5)
    assert model.step_report().kind == "captured"
    assert [layer.name for layer in model.layers] == [model.inner.name, model.out.name]


def test_training_reaches_dropout_by_argument_and_without():
    class Quiet(Model):
        def __init__(self):
            super().__init__()
            self.drop = Dropout(0.5)

        def call(self, inputs):
            return self.drop(inputs)

    model, x = Quiet(), torch.ones(10, 10)
    assert (model(x) == 1).all() and (model(x, training=True) == 0).any()
    mlp = MLP()
    assert torch.equal(mlp(X), mlp(X))
    assert not torch.equal(mlp(X, training=True), mlp(X, training=True))


def test_a_subclass_holds_torch_modules_and_is_one():
    class Mixed(Model):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 5)
            self.second = Dense(3)

        def call(self, inputs):
            return self.second(torch.relu(self.first(inputs)))

    model = Mixed()
    model.compile("sgd", "mse")
    history = model.fit(X, Y, **{**QUIET, "epochs": 4}).history["loss"]
    assert history[-1] < history[0]
    assert [v.shape for v in model.weights] == [(5, 4), (5,), (5, 3), (3,)]
    assert sorted(model.state_dict()) == [
        "first.bias",
        "first.weight",
        "second.linear.bias",
        "second.linear.weight",
    ]


def test_the_config_makes_an_equal_model():
    model = MLP(units=2, name="mine")
    twin = MLP.from_config(model.get_config())
    assert twin.units == 2 and twin.name == "mine"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("state", ["fresh", "built", "compiled", "trained"])
def test_copies_are_independent_and_go_on_where_the_original_was(copied, state):
    model = MLP()
    model.drop.rate = 0.0
    if state != "fresh":
        model.build((None, 4))
    if state in ("compiled", "trained"):
        model.compile("adam", "mse", metrics=["mae"])
    if state == "trained":
        model.fit(X, Y, **QUIET)
    twin = copied(model)
    assert twin.hidden[0] is not model.hidden[0] and twin.layers[0] is twin.hidden[0]
    if state == "fresh":
        assert not twin.built and twin(X).shape == (32, 3) and not model.built
        return
    before = model.get_weights()
    assert all(map(np.array_equal, twin.get_weights(), before))
    if state == "built":
        twin.compile("sgd", "mse")
    else:
        assert int(twin.optimizer.iterations) == int(model.optimizer.iterations)
    history = twin.fit(X, Y, **QUIET).history
    assert all(map(np.array_equal, model.get_weights(), before))
    if state != "built":
        expected = model.fit(X, Y, **QUIET).history
        assert history["loss"] == pytest.approx(expected["loss"], rel=1e-6)
        assert history["mae"] == pytest.approx(expected["mae"], rel=1e-6)
        for mine, other in zip(twin.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-6)
