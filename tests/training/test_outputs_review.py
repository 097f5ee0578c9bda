"""Several outputs: targets that are left out, nested losses, wrong names, the order of results."""

import numpy as np
import pytest

from torchkeras import Input, Model
from torchkeras.layers import Dense, Layer

X = np.random.default_rng(0).normal(size=(44, 4)).astype("float32")
Y1 = np.random.default_rng(1).normal(size=(44, 1)).astype("float32")
Y2 = np.random.default_rng(2).normal(size=(44, 2)).astype("float32")
Y3 = np.random.default_rng(3).normal(size=(44, 3)).astype("float32")
QUIET = {"batch_size": 8, "shuffle": False, "verbose": 0}


def seeded(model):
    random = np.random.default_rng(5)
    model.set_weights([random.normal(size=w.shape) * 0.3 for w in model.get_weights()])
    return model


def two():
    inputs = Input((4,))
    return seeded(Model(inputs, [Dense(1, name="u")(inputs), Dense(2, name="v")(inputs)]))


def losses_of(model, x, y, **compile_arguments):
    model.compile("sgd", **compile_arguments)
    return model.fit(x, y, epochs=3, **QUIET).history


@pytest.mark.parametrize(
    "y", [[None, Y2], {"v": Y2}, [Y2], Y2], ids=["None", "dictionary", "list", "bare"]
)
@pytest.mark.parametrize("loss", [[None, "mse"], {"v": "mse"}], ids=["list", "dictionary"])
def test_outputs_without_a_loss_need_no_targets(y, loss):
    expected = losses_of(two(), X, [Y1, Y2], loss=loss)
    model = two()
    assert losses_of(model, X, y, loss=loss) == expected
    evaluated = model.evaluate(X, y, batch_size=8, verbose=0)
    errors = np.mean((model.predict(X, verbose=0)[1] - Y2) ** 2)
    assert evaluated == pytest.approx(errors, rel=1e-5)


def test_captured_steps_without_a_target_are_those_of_eager_steps():
    model, eager = two(), two()
    captured = losses_of(model, X, {"v": Y2}, loss={"v": "mse"})
    assert model.step_report().kind == "captured"
    assert captured["loss"] == pytest.approx(
        losses_of(eager, X, {"v": Y2}, loss={"v": "mse"}, run_eagerly=True)["loss"], rel=1e-6
    )


def test_an_output_with_metrics_alone_needs_targets():
    model = two()
    model.compile("sgd", {"v": "mse"}, metrics={"u": ["mae"]})
    with pytest.raises(ValueError, match="without 'u'"):
        model.fit(X, {"v": Y2}, **QUIET)
    with pytest.raises(ValueError, match="output 'u' has a loss or metrics"):
        model.fit(X, [None, Y2], **QUIET)


def nested(is_dictionary):
    inputs = Input((4,))
    one, two, three = (Dense(n, name=f"o{n}")(inputs) for n in (1, 2, 3))
    outputs = {"f": one, "g": [two, three]} if is_dictionary else [one, [two, three]]
    return seeded(Model(inputs, outputs))


@pytest.mark.parametrize("is_dictionary", [True, False])
def test_losses_may_be_as_nested_as_the_outputs(is_dictionary):
    model = nested(is_dictionary)
    loss = {"f": "mse", "g": ["mse", "mae"]} if is_dictionary else ["mse", ["mse", "mae"]]
    y = {"f": Y1, "g": [Y2, Y3]} if is_dictionary else [Y1, [Y2, Y3]]
    model.compile("sgd", loss)
    found = model.evaluate(X, y, verbose=0, return_dict=True)
    predicted = model.predict(X, verbose=0)
    one, (two, three) = predicted.values() if is_dictionary else predicted
    parts = [np.mean((one - Y1) ** 2), np.mean((two - Y2) ** 2), np.mean(np.abs(three - Y3))]
    names = ["f_loss", "g/o2_loss", "g/o3_loss"] if is_dictionary else None
    names = names or ["o1_loss", "1/o2_loss", "1/o3_loss"]
    assert found == pytest.approx({"loss": sum(parts), **dict(zip(names, parts))}, rel=1e-5)


@pytest.mark.parametrize("argument", ["loss", "loss_weights", "metrics", "weighted_metrics"])
def test_a_dictionary_by_another_name_than_the_outputs_is_refused(argument):
    inputs = Input((4,))
    model = Model(inputs, Dense(1, name="o")(inputs))
    values = {"loss": "mse", "loss_weights": 2.0, "metrics": ["mae"], "weighted_metrics": ["mae"]}
    given = {"loss": "mse"} | {argument: {"wrong": values[argument]}}
    with pytest.raises(ValueError, match=f"{argument}: the model has no output 'wrong'.*'o'"):
        model.compile("sgd", **given)


def test_weights_of_samples_by_another_name_than_the_outputs_are_refused():
    inputs = Input((4,))
    model = Model(inputs, Dense(1, name="o")(inputs))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no output 'wrong'"):
        model.fit(X, Y1, sample_weight={"wrong": np.ones(44)}, **QUIET)


class Pair(Model):
    def __init__(self):
        super().__init__()
        self.one, self.two = Dense(1), Dense(2)

    def call(self, x):
        return [self.one(x), self.two(x)]


def test_unnamed_outputs_have_their_metrics_before_their_losses():
    model = Pair()
    model.compile("sgd", ["mse", "mae"], metrics=[["mae"], ["mse"]])
    model.fit(X, [Y1, Y2], **QUIET)
    one, two = model.predict(X, verbose=0)
    error, other = np.abs(one - Y1).mean(), np.abs(two - Y2).mean()
    square, other_square = np.mean((one - Y1) ** 2), np.mean((two - Y2) ** 2)
    expected = [square + other, error, other_square, square, other]
    assert model.metrics_names == ["loss", "mae", "mse", "mse_loss", "mae_loss"]
    assert model.evaluate(X, [Y1, Y2], verbose=0) == pytest.approx(expected, rel=1e-5)


class Squared(Layer):
    def call(self, x):
        self.add_loss((x**2).mean())
        return x


@pytest.mark.parametrize("y", [None, Y1, [Y1, Y2]], ids=["none", "one", "two"])
def test_a_model_that_only_adds_losses_compares_no_targets(y):
    inputs = Input((4,))
    model = Model(inputs, [Squared()(Dense(3)(inputs)), inputs])
    model.compile("sgd")
    history = model.fit(X, y, epochs=2, **QUIET).history
    assert list(history) == ["loss"] and history["loss"][1] < history["loss"][0]
    expected = np.mean(model.predict(X, verbose=0)[0] ** 2)
    assert model.evaluate(X, y, batch_size=44, verbose=0) == pytest.approx(expected, rel=1e-5)
