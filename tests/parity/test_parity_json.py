"""JSON of models: Keras reads what is written here, and what Keras writes is read, compiled too."""

import functools
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import torchkeras
from torchkeras import layers, registry

sys.path.insert(0, str(Path(__file__).parent))

from architectures import ARCHITECTURES, leaves_of, weights_for

SYMBOLIC = [architecture.name for architecture in ARCHITECTURES.values() if architecture.symbolic]
symbolic = pytest.mark.parametrize("name", SYMBOLIC)


@functools.cache
def built(name, k):
    registry.reset_names()
    keras.utils.clear_session(free_memory=False)
    model = ARCHITECTURES[name].build(k)
    model.set_weights(weights_for(model))
    return model


def read(name, k, text):
    custom = ARCHITECTURES[name].custom_objects(k)
    model = k.models.model_from_json(text, custom_objects=custom)
    model.set_weights(weights_for(model))
    return model


def same_outputs(name, mine, other):
    x = ARCHITECTURES[name].draw(4)
    results = [[one.detach().numpy() for one in leaves_of(model(x))] for model in (mine, other)]
    for one, expected in zip(*results, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-5, atol=1e-5)


@symbolic
def test_keras_reads_what_is_written_here(name):
    model = built(name, torchkeras)
    same_outputs(name, model, read(name, keras, model.to_json()))


@symbolic
def test_what_keras_writes_is_read(name):
    model = built(name, keras)
    same_outputs(name, read(name, torchkeras, model.to_json()), model)


@symbolic
def test_keys_are_keras(name):
    mine, other = (json.loads(built(name, k).to_json()) for k in (torchkeras, keras))
    assert list(mine) == list(other)
    for key in set(other) - {"config"}:
        assert mine[key] == other[key] or name == "functional_by_a_subclass_constructor"


def test_subclasses_in_json():
    for name in ("functional_in_a_subclass", "subclass_in_functional"):
        architecture = ARCHITECTURES[name]
        texts = []
        for k in (torchkeras, keras):
            registry.reset_names()
            keras.utils.clear_session(free_memory=False)
            model = architecture.build(k)
            model(architecture.draw(2))
            texts.append(model.to_json())
        assert list(json.loads(texts[0])) == list(json.loads(texts[1]))


# ------------------------------------------------------------------------------------- compiled

CHOICES = {
    "names": lambda k: {"optimizer": "sgd", "loss": "mse", "metrics": ["mae", "accuracy"]},
    "objects": lambda k: {
        "optimizer": k.optimizers.Adam(0.01, beta_1=0.8, clipnorm=1.0),
        "loss": k.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.125),
        "metrics": [k.metrics.MeanSquaredError(name="error")],
        "weighted_metrics": ["mae"],
        "loss_weights": 2.0,
        "run_eagerly": True,
    },
    "functions": lambda k: {
        "optimizer": k.optimizers.RMSprop(0.02),
        "loss": k.losses.mean_squared_error,
        "metrics": [k.metrics.mean_absolute_error],
    },
    "by_name": lambda k: {
        "optimizer": "adam",
        "loss": {"a": "mse", "b": k.losses.BinaryCrossentropy(from_logits=True)},
        "loss_weights": {"a": 1.0, "b": 0.5},
        "metrics": {"a": ["mae", "mse"], "b": "accuracy"},
    },
    "by_place": lambda k: {
        "optimizer": "adagrad",
        "loss": ["mse", "mae"],
        "metrics": [["mae"], ["mse"]],
    },
}


def compiled(k, choice):
    registry.reset_names()
    keras.utils.clear_session(free_memory=False)
    x = k.Input((3,), name="x")
    a = k.layers.Dense(1, name="a")(x)
    outputs = [a, k.layers.Dense(1, name="b")(x)] if choice.startswith("by_") else a
    model = k.Model(x, outputs, name="m")
    model.compile(**CHOICES[choice](k))
    return model


def plain(part):
    """A config without what the backend names (Keras' optimizers on torch), functions as names."""
    if isinstance(part, list):
        return [plain(one) for one in part]
    if not isinstance(part, dict):
        return part
    if part.get("class_name") == "function":
        return part["config"]
    is_object = "class_name" in part
    return {
        key: plain(one)
        for key, one in part.items()
        if not (is_object and key in ("module", "registered_name"))
    }


@pytest.mark.parametrize("choice", CHOICES)
def test_how_a_model_is_compiled_is_written_as_in_keras(choice):
    mine, other = (json.loads(compiled(k, choice).to_json()) for k in (torchkeras, keras))
    assert plain(mine["compile_config"]) == plain(other["compile_config"])


def trained(model):
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape))
    x = rng.normal(size=(12, 3)).astype("float32")
    y = [rng.integers(0, 2, (12, 1)).astype("float32") for _ in model.outputs]
    y = y if len(y) > 1 else y[0]
    fitted = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    return {name: np.asarray(values) for name, values in fitted.history.items()}


@pytest.mark.parametrize("choice", CHOICES)
def test_a_compiled_model_trains_on_alike_wherever_it_is_read(choice):
    expected = trained(compiled(keras, choice))
    text, theirs = (compiled(k, choice).to_json() for k in (torchkeras, keras))
    for model in (
        keras.models.model_from_json(text),
        torchkeras.models.model_from_json(text),
        torchkeras.models.model_from_json(theirs),
    ):
        history = trained(model)
        assert history.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(history[name], values, rtol=1e-4, atol=1e-6)


def test_a_nested_model_may_be_compiled():
    configs = []
    for k in (torchkeras, keras):
        inner = compiled(k, "names")
        x = k.Input((3,), name="outer")
        config = json.loads(k.Model(x, inner(x), name="whole").to_json())
        configs.append(plain(config["config"]["layers"][1]["compile_config"]))
    assert configs[0] == configs[1] and configs[0]["loss"] == "mse"


def test_what_no_config_can_name_is_left_out_with_a_warning():
    import torch

    x = torchkeras.Input((3,))
    model = torchkeras.Model(x, layers.Dense(1)(x))
    model.compile("sgd", torch.nn.MSELoss())
    with pytest.warns(UserWarning, match="does not say how it is compiled"):
        text = model.to_json()
    assert json.loads(text)["compile_config"] == {}
    assert not torchkeras.models.model_from_json(text).compiled


def test_a_class_with_its_own_compile_is_not_compiled():
    class Own(torchkeras.Model):
        def compile(self, steps, **kwargs):
            super().compile(**kwargs)
            self.steps = steps

    x = torchkeras.Input((3,))
    model = Own(x, layers.Dense(1)(x))
    model.compile(3, optimizer="sgd", loss="mse")
    with pytest.warns(UserWarning, match=r"writes its own compile\(\)"):
        again = torchkeras.models.model_from_json(model.to_json(), {"Own": Own})
    assert type(again) is Own and not again.compiled


# ------------------------------------------------------------------------------------ Keras' reader


def test_keras_reads_copies():
    for name in ("siamese", "all_operators", "inner_model_of_several_inputs_and_outputs"):
        copied = torchkeras.models.clone_model(built(name, torchkeras), recursive=True)
        copied.set_weights(weights_for(copied))
        same_outputs(name, copied, read(name, keras, copied.to_json()))
