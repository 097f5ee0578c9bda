"""Idioms of Keras 1, 2 and 3 around models: reported tensors, nodes, inputs, errors."""

import copy

import numpy as np
import pytest
import torch

import torchkeras as keras
from torchkeras import constraints, layers, regularizers

X = np.random.default_rng(0).random((32, 3), "float32")
Y = X.sum(1, keepdims=True)


# ---------------------------------------------------------------------------- add_metric, metrics


def _with_metric():
    x = keras.Input((3,))
    hidden = layers.Dense(4, "tanh")(x)
    model = keras.Model(x, layers.Dense(1)(hidden))
    model.add_metric(torch.mean(torch.abs(hidden)), name="activity")
    model.add_loss(torch.mean(hidden) * 0.0)
    model.compile("sgd", "mse")
    return model, keras.Model(x, hidden)


def test_a_symbolic_metric_is_reported():
    model, inner = _with_metric()
    history = model.fit(X, Y, batch_size=8, epochs=2, verbose=0).history
    assert set(history) == {"loss", "activity"}
    expected = np.abs(inner.predict(X, verbose=0)).mean()
    again = keras.models.clone_model(model)
    again.compile("sgd", "mse")
    again.set_weights(model.get_weights())
    for one in (model, copy.deepcopy(model), again):
        values = one.evaluate(X, Y, batch_size=8, verbose=0, return_dict=True)
        assert values["activity"] == pytest.approx(expected, rel=1e-5)
    assert model.predict(X, verbose=0).shape == (32, 1)


def test_a_symbolic_metric_needs_a_name_of_its_own():
    model, _ = _with_metric()
    value = torch.mean(model.output)
    with pytest.raises(ValueError, match="needs a name"):
        model.add_metric(value)
    with pytest.raises(ValueError, match="has a metric 'activity' already"):
        model.add_metric(value, name="activity")
    with pytest.raises(ValueError, match="aggregation"):
        model.add_metric(value, name="sum", aggregation="sum")


def test_metrics_in_structures_of_outputs():
    x = keras.Input((3,))
    a, b, c = (layers.Dense(1, name=name)(x) for name in "abc")
    model = keras.Model(x, {"p": [a, b], "q": c})
    metrics = {"p": [["mae"], ["mse", "mae"]], "q": ["mae"]}
    model.compile("sgd", {"p": ["mse", "mse"], "q": "mse"}, metrics=metrics)
    history = model.fit(X, {"p": [Y, Y], "q": Y}, verbose=0).history
    assert {name for name in history if not name.endswith("loss")} == {
        "p/a_mae",
        "p/b_mse",
        "p/b_mae",
        "q_mae",
    }


@pytest.mark.parametrize(
    ("loss", "y", "words"),
    [
        (None, Y, "No loss to compute"),
        ("mse", None, "y=None"),
        (None, None, "y=None"),
    ],
)
def test_training_without_loss_or_targets(loss, y, words):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile("sgd", loss, metrics=["mae"])
    with pytest.raises(ValueError, match=words):
        model.fit(X, y, verbose=0)


# ------------------------------------------------------------------------------------- the inputs


class Sum(layers.Layer):
    def call(self, inputs):
        return inputs["a"] + inputs["b"]


def test_a_sequential_hands_several_inputs_to_its_first_layer():
    model = keras.Sequential([layers.Add(), layers.Dense(1)])
    expected = model([X, X])
    torch.testing.assert_close(model.layers[1](torch.tensor(X + X)), expected)
    assert model.built and [v.path for v in model.weights][0].startswith(f"{model.name}/dense")
    assert model([keras.Input((3,)), keras.Input((3,))]).shape == (None, 1)
    np.testing.assert_allclose(
        model.predict([X, X], verbose=0), expected.detach().numpy(), rtol=1e-6
    )


def test_a_sequential_trains_on_a_dictionary_of_inputs():
    model = keras.Sequential([Sum(), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    losses = model.fit({"a": X, "b": X}, Y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    again = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    with pytest.raises(ValueError, match="takes one input"):
        again([X, X])


def test_a_symbolic_tensor_made_by_hand_becomes_an_input():
    tensor = keras.KerasTensor((None, 3))
    assert keras.Input(tensor=tensor) is tensor
    hidden = layers.Dense(2)(tensor)
    model = keras.Model(tensor, hidden)
    assert model(X).shape == (32, 2) and isinstance(model.layers[0], layers.InputLayer)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tensor": X}, "must be a symbolic one"),
        ({"tensor": keras.KerasTensor((None, 3)), "shape": (4,)}, "leave shape"),
        ({"tensor": keras.KerasTensor((None, 3)), "batch_size": 2}, "leave shape"),
    ],
)
def test_an_input_of_another_tensor_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        keras.Input(**given)


# ------------------------------------------------------------------------------- layers and weights


def test_nodes_say_what_a_layer_was_called_on():
    layer, x = layers.Dense(2), keras.Input((3,))
    first = layer(x)
    second = layer(keras.Input((3,)))
    assert [node.output_tensors for node in layer.inbound_nodes] == [[first], [second]]
    node = layer._inbound_nodes[0]
    assert node.input_tensors == [x] and node.outbound_layer is layer
    assert node.inbound_layers == [x.source]
    assert layer.get_output_at(1) is second and layer.get_input_shape_at(0) == (None, 3)
    assert layer.get_output_shape_at(0) == (None, 2)
    assert layer.updates == []


def test_the_output_shape_of_keras_1():
    class Double(layers.Layer):
        def get_output_shape_for(self, input_shape):
            return (*input_shape[:-1], 2 * input_shape[-1])

        def call(self, x):
            raise RuntimeError("not called for its shape")

    assert Double()(keras.Input((3,))).shape == (None, 6)
    assert layers.Dense(4).get_output_shape_for((None, 3)) == (None, 4)


def test_a_penalty_and_a_constraint_given_to_a_weight():
    class Own(layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")

        def call(self, x):
            return x * self.scale

    for layer, name in ((layers.Dense(1, use_bias=False), "kernel"), (Own(), "scale")):
        layer.build((None, 3))
        weight = getattr(layer, name)
        weight.assign(np.ones(weight.shape))
        weight.regularizer = regularizers.L2(0.5)
        assert [loss.item() for loss in layer.losses] == [1.5]
        weight.constraint = constraints.MaxNorm(0.0)
        optimizer = keras.optimizers.SGD(0.1)
        optimizer.apply([torch.ones(weight.shape)], layer.trainable_weights)
        assert getattr(layer, name).numpy().tolist() == np.zeros(weight.shape).tolist()
        weight.regularizer = None
        assert layer.losses == [] and weight.regularizer is None
    with pytest.raises(ValueError, match="must be callable or None"):
        weight.constraint = "max"


class Fails(layers.Layer):
    def call(self, x):
        raise KeyError("gone")


class Outer(layers.Layer):
    def __init__(self):
        super().__init__(name="outer")
        self.inner = Fails(name="inner")

    def call(self, x):
        return self.inner(x)


def test_an_error_of_any_kind_names_the_innermost_layer():
    with pytest.raises(KeyError) as caught:
        Outer()(X)
    (note,) = caught.value.__notes__
    assert note == "Raised in the call of layer 'inner' (Fails) on inputs of shape (32, 3)."
