"""Copies of models, and models made of configs: new layers and weights, the same graph."""

import codecs
import copy
import json
import marshal
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from torch import nn

import torchkeras
from torchkeras import eras, layers, models, registry, trust
from torchkeras.layers import Dense, Input, Lambda
from torchkeras.models import Model, Sequential, clone_model, model_from_config, model_from_json

sys.path.insert(0, str(Path(__file__).parent))

import legacy_json


def shared():
    """Two inputs; a layer, an operator's function and a nested model used several times."""
    a, b = Input((3,), name="a"), Input((3,), name="b")
    x = Input((3,), name="x")
    nested = Model(x, Dense(3, activation="tanh", name="inside")(x), name="nested")
    twice = Dense(3, name="twice")
    y = twice(nested(a)) + torch.relu(twice(b))
    return Model([a, b], {"y": y * 2, "z": nested(y)}, name="shared")


def chain():
    return Sequential([Input((4,), name="in"), Dense(3, name="d"), Dense(1, name="e")], name="s")


def outputs(model, *shapes):
    x = [np.random.default_rng(3).normal(size=(5, *shape)).astype("float32") for shape in shapes]
    out = model(x if len(x) > 1 else x[0])
    return [t.detach().numpy() for t in torchkeras.tree.leaves(out)]


def same_with_same_weights(copied, model, *shapes):
    copied.set_weights(model.get_weights())
    for one, other in zip(outputs(copied, *shapes), outputs(model, *shapes), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("recursive", [False, True])
def test_a_graph_with_shared_and_nested_parts(recursive):
    model = shared()
    copied = clone_model(model, recursive=recursive)
    assert type(copied) is models.Functional and copied.name == "shared"
    assert [o.name for o in copied.operations] == [o.name for o in model.operations]
    assert not set(map(id, copied.parameters())) & set(map(id, model.parameters()))
    assert not np.allclose(copied.get_weights()[0], model.get_weights()[0])
    assert copied.output_names == ["y", "z"]
    same_with_same_weights(copied, model, (3,), (3,))


def test_a_sequential():
    model = chain()
    copied = clone_model(model)
    assert type(copied) is Sequential and copied.name == "s"
    assert copied.input.source.name == "in"
    same_with_same_weights(copied, model, (4,))


def test_a_sequential_that_knows_no_shape_yet():
    copied = clone_model(Sequential([Dense(3), Dense(1)]))
    assert not copied.built
    assert copied.predict(np.ones((2, 5)), verbose=0).shape == (2, 1)


def test_a_copy_has_its_own_weights():
    model = chain()
    copied = clone_model(model)
    copied.set_weights(model.get_weights())
    before = model.get_weights()
    copied.compile("sgd", "mse")
    copied.fit(np.ones((4, 4)), np.ones((4, 1)), verbose=0)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_frozen_stays_frozen():
    model = shared()
    model.get_layer("twice").trainable = False
    model.get_layer("nested").trainable = False
    for recursive in (False, True):
        copied = clone_model(model, recursive=recursive)
        assert [v.trainable for v in copied.weights] == [v.trainable for v in model.weights]


def test_clone_function_is_asked_once_for_each_layer_but_inputs():
    asked = []

    def wider(layer):
        asked.append(layer.name)
        config = layer.get_config()
        if layer.name == "twice":
            config["use_bias"] = False
        return type(layer).from_config(config)

    copied = clone_model(shared(), clone_function=wider)
    assert sorted(asked) == ["nested", "twice"]
    assert len(copied.get_layer("twice").weights) == 1
    asked.clear()
    clone_model(shared(), clone_function=wider, recursive=True)
    assert sorted(asked) == ["inside", "twice"]


def test_clone_function_may_keep_the_layers():
    model = shared()
    copied = clone_model(model, clone_function=lambda layer: layer)
    assert copied.get_layer("twice") is model.get_layer("twice")
    assert copied.get_layer("a") is not model.get_layer("a")


def test_call_function_makes_the_calls():
    seen = []

    def with_dropout(layer, *args, **kwargs):
        seen.append(layer.name)
        out = layer(*args, **kwargs)
        return layers.Dropout(0.5)(out) if layer.name == "twice" else out

    model = shared()
    copied = clone_model(model, call_function=with_dropout)
    kinds = [type(layer).__name__ for layer in copied.layers]
    assert kinds.count("Dropout") == 2
    assert seen.count("twice") == 2 and seen.count("nested") == 2
    functions = {o.name for o in model.operations} & set(seen) - {"twice", "nested"}
    assert functions <= {o.name for o in copied.operations} and len(functions) == 3


def test_input_tensors():
    model = shared()
    new = [Input((3,), batch_size=5, name="p"), Input((3,), name="q")]
    copied = clone_model(model, input_tensors=new)
    assert copied.input_names == ["p", "q"]
    assert copied.output["y"].shape == (5, 3)
    same_with_same_weights(copied, model, (3,), (3,))
    in_the_middle = Dense(4)(Input((7,)))
    assert clone_model(chain(), input_tensors=in_the_middle).input_shape == (None, 4)
    assert clone_model(chain(), input_tensors=[Input((4,), name="new")]).input.name == "new"


def test_a_compiled_model_gives_a_compiled_copy():
    def loss(y_true, y_pred):
        return (y_true - y_pred).abs().mean()

    model = chain()
    model.compile(torchkeras.optimizers.Adam(0.25), loss, metrics=["mae", loss])
    copied = clone_model(model)
    assert copied.loss is loss
    assert copied.optimizer is not model.optimizer
    assert float(copied.optimizer.learning_rate) == 0.25
    x, y = np.ones((4, 4)), np.zeros((4, 1))
    history = copied.fit(x, y, verbose=0).history
    assert history["mae"] == pytest.approx(history["loss"], rel=1e-6)
    assert not hasattr(model.optimizer, "built") or not model.optimizer.built


def test_losses_and_metrics_of_a_copy_are_its_own():
    model = chain()
    metric = torchkeras.metrics.MeanAbsoluteError()
    model.compile("sgd", torchkeras.losses.Huber(delta=0.5), metrics=[metric])
    copied = clone_model(model)
    assert copied.loss is not model.loss and copied.loss.delta == 0.5
    copied.fit(np.ones((4, 4)), np.ones((4, 1)), verbose=0)
    assert float(metric.result()) == 0.0


class Own(Model):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = Dense(units, activation=torch.sin)

    def call(self, inputs):
        return self.dense(inputs)


def test_a_subclass_is_made_from_its_config():
    model = Own(3, name="own")
    model(np.ones((2, 4)))
    copied = clone_model(model)
    assert type(copied) is Own and copied.units == 3
    assert copied.built
    same_with_same_weights(copied, model, (4,))


def test_a_subclass_cannot_take_functions_or_tensors():
    model = Own(3)
    for name, given in [
        ("clone_function", lambda layer: layer),
        ("call_function", lambda layer, x: layer(x)),
        ("input_tensors", Input((3,))),
    ]:
        with pytest.raises(ValueError, match=name):
            clone_model(model, **{name: given})


class OfGraph(Model):
    def __init__(self, width):
        x = Input((3,))
        super().__init__(inputs=x, outputs=Dense(width)(x), name="fixed")


def test_a_graph_whose_class_has_another_constructor_becomes_a_functional():
    copied = clone_model(OfGraph(2))
    assert type(copied) is models.Functional and copied.output_shape == (None, 2)


class SameConstructor(Model):
    pass


def test_a_graph_keeps_a_class_with_the_same_constructor():
    x = Input((3,))
    assert type(clone_model(SameConstructor(x, Dense(1)(x)))) is SameConstructor


def test_what_the_user_never_registered_is_found():
    def cube(x):
        return x**3

    class Twice(torchkeras.Layer):
        def call(self, inputs):
            return 2 * inputs

    x = Input((3,))
    inner = Model(x, Twice()(Dense(3, activation=cube)(x)), name="inner")
    y = Input((3,))
    model = Model(y, Lambda(cube)(inner(y)) + Lambda(lambda t: t - 1)(y))
    for recursive in (False, True):
        same_with_same_weights(clone_model(model, recursive=recursive), model, (3,))


def test_a_torch_module_inside():
    model = Sequential([Input((4,)), nn.Linear(4, 2), nn.ReLU()])
    copied = clone_model(model)
    assert not set(map(id, copied.parameters())) & set(map(id, model.parameters()))
    same_with_same_weights(copied, model, (4,))


def test_symbolic_losses_are_copied():
    x = Input((3,))
    y = Dense(2)(x)
    model = Model(x, y)
    model.add_loss(torch.mean(y**2))
    copied = clone_model(model)
    copied.set_weights(model.get_weights())
    for one in (model, copied):
        one(torch.ones(2, 3))
    assert float(copied.losses[0].detach()) == pytest.approx(float(model.losses[0].detach()))


def test_clone_then_deepcopy_then_clone():
    model = shared()
    copied = clone_model(copy.deepcopy(clone_model(model)))
    same_with_same_weights(copied, model, (3,), (3,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"call_function": lambda layer, x: layer(x)}, "call_function"),
        ({"clone_function": 3}, "clone_function must be callable"),
        ({"clone_function": lambda layer: None}, "must return a layer"),
        ({"input_tensors": [1.0]}, "symbolic"),
        ({"input_tensors": [Input((4,)), Input((4,))]}, "one input"),
    ],
)
def test_bad_arguments_of_a_sequential(arguments, message):
    with pytest.raises(ValueError, match=message):
        clone_model(chain(), **arguments)


def test_bad_arguments_of_a_graph():
    with pytest.raises(ValueError, match="takes 2 inputs"):
        clone_model(shared(), input_tensors=Input((3,)))
    with pytest.raises(ValueError, match="gives 2 outputs"):
        clone_model(shared(), call_function=lambda layer, x, *a: [layer(x, *a)] * 2)
    with pytest.raises(ValueError, match="takes a model"):
        clone_model(Dense(3))


# ------------------------------------------------------------------------- against Keras' copies


def test_calls_are_numbered_as_in_keras_copy():
    """Keras makes the calls of a copy by depth, which may not be the order of the model."""

    def build(k):
        x = k.Input((4,), name="x")
        inner = k.Model(x, k.layers.Dense(4, name="d")(x), name="inner")
        a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
        return k.Model([a, b], [inner(inner(a)), k.layers.Add(name="sum")([a, inner(b)])])

    places = []
    for k in (torchkeras, keras):
        config = json.loads(json.dumps(k.models.clone_model(build(k)).get_config()))
        found = {}
        for layer in config["layers"]:
            tensors = [torchkeras.tree.flatten(call["args"]) for call in layer["inbound_nodes"]]
            found[layer["name"]] = [t for call in tensors for t in call if t in ("a", "b", "inner")]
            found[layer["name"]] += [t for call in tensors for t in call if isinstance(t, int)]
        places.append((found, config["output_layers"]))
    assert places[0] == places[1]


# --------------------------------------------------------------------------------- from configs


def test_json_of_keras_2_sequential():
    model = model_from_json(legacy_json.sequential())
    assert [layer.name for layer in model.layers] == ["first", "drop", "norm", "last"]
    assert model.name == "sequential_1" and model.input_shape == (None, 4)
    assert [tuple(v.shape) for v in model.weights[:2]] == [(4, 5), (5,)]
    assert model.layers[0].bias_regularizer.l2 == 0.25
    assert model.predict(np.ones((3, 4)), verbose=0).sum(1) == pytest.approx(np.ones(3))


def test_json_of_keras_2_graph_counts_calls_of_models_from_1():
    model = model_from_json(legacy_json.functional())
    assert model.name == "model_1" and model.output_names == ["out", "chain"]
    rng = np.random.default_rng(0)
    weights = {v.path: rng.normal(size=v.shape).astype("float32") for v in model.weights}
    model.set_weights(list(weights.values()))
    up, up_bias, down, down_bias, link, link_bias, out, out_bias = weights.values()
    a, b = rng.normal(size=(2, 6, 3)).astype("float32")

    def inner(x):
        return np.tanh(x @ up + up_bias) @ down + down_bias

    first, second = inner(a) @ link + link_bias, inner(b) @ link + link_bias
    both = np.concatenate([first + second, inner(b)], axis=-1)
    results = model.predict([a, b], verbose=0)
    np.testing.assert_allclose(results[0], 1 / (1 + np.exp(-(both @ out + out_bias))), rtol=1e-5)
    np.testing.assert_allclose(results[1], second, rtol=1e-4, atol=1e-6)


def test_a_shared_model_whose_last_call_is_not_used():
    config = json.loads(legacy_json.functional())
    config["config"]["output_layers"] = [["chain", 1, 0]]
    config["config"]["layers"] = config["config"]["layers"][:4]
    model = model_from_json(json.dumps(config))
    assert model.get_layer("chain") is model.outputs[0].source
    assert model.outputs[0]._keras_history.node_index == 0


def test_the_version_in_a_config_holds_while_it_is_read():
    seen = []

    class Watching(torchkeras.Layer):
        def __init__(self, **kwargs):
            seen.append(eras.version())
            super().__init__(**kwargs)

    layer = {"class_name": "Watching", "config": {"name": "w"}}
    text = legacy_json.text_of("Sequential", {"name": "s", "layers": [layer]}, "2.2.4-tf")
    model_from_json(text, custom_objects={"Watching": Watching})
    assert seen == [(2, 2, 4)]
    assert eras.version() == eras.ERAS["3"]


def test_a_lambda_is_refused_unless_the_source_is_trusted():
    model = Sequential([Input((2,)), Lambda(lambda x: x + 1)])
    text = model.to_json()
    with pytest.raises(ValueError, match="safe_mode"):
        model_from_json(text)
    with trust.safe_mode(False):
        again = model_from_json(text)
    assert again.predict(np.zeros((1, 2)), verbose=0).tolist() == [[1.0, 1.0]]


def twice(x):
    return 2 * x


def code_of(function):
    code = codecs.encode(marshal.dumps(function.__code__), "base64").decode("ascii")
    return [code, function.__defaults__, None]


@pytest.mark.parametrize(
    ("config", "is_safe"),
    [
        ({"function": "twice", "function_type": "function", "output_shape_type": "raw"}, True),
        ({"function": code_of(lambda x, by=2: x * by), "function_type": "lambda"}, False),
        (
            {
                "function": "twice",
                "function_type": "function",
                "module": "__main__",
                "output_shape": code_of(lambda shape: shape),
                "output_shape_type": "lambda",
                "output_shape_module": "__main__",
            },
            False,
        ),
    ],
)
def test_lambdas_of_keras_2(config, is_safe):
    config = {"output_shape": None, "arguments": {}, **config, "batch_input_shape": [None, 4]}
    layer = {"class_name": "Lambda", "config": legacy_json.named("double", **config)}
    text = legacy_json.text_of("Sequential", {"name": "s", "layers": [layer]})
    with trust.safe_mode(False):
        model = model_from_json(text, custom_objects={"twice": twice})
    assert model.output_shape == (None, 4)
    assert model.predict(np.ones((1, 4)), verbose=0).tolist() == [[2.0] * 4]
    if is_safe:
        assert model_from_json(text, custom_objects={"twice": twice}).built
    else:
        with pytest.raises(ValueError, match="safe_mode"):
            model_from_json(text, custom_objects={"twice": twice})


def test_custom_objects_are_known_for_the_reading_only():
    def cube(x):
        return x**3

    text = Sequential([Input((2,)), Dense(2, activation=cube)]).to_json()
    with pytest.raises(ValueError, match="cube"):
        model_from_json(text)
    model = model_from_json(text, custom_objects={"cube": cube})
    assert model.layers[0].activation is cube
    assert "cube" not in registry.get_custom_objects()


def test_a_config_of_a_model():
    model = shared()
    again = model_from_config(json.loads(model.to_json()))
    same_with_same_weights(again, model, (3,), (3,))


def test_bad_configs():
    with pytest.raises(TypeError, match=r"Sequential\.from_config"):
        model_from_config([{"class_name": "Dense", "config": {}}])
    with pytest.raises(ValueError, match="not a file's name"):
        model_from_json("model.json")
    with pytest.raises(ValueError, match="class_name"):
        model_from_config({"config": {}})


def test_an_operation_with_settings_of_its_own():
    from torchkeras import ops

    x = Input((3,))
    model = Model(x, ops.clip(x, 0.25, 0.5))
    copy = clone_model(model)
    values = np.array([[0.0, 0.3, 1.0]], "float32")
    np.testing.assert_array_equal(copy(values), model(values))
    np.testing.assert_array_equal(copy(values), [[0.25, np.float32(0.3), 0.5]])
