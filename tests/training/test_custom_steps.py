"""Steps of the user's own: what runs, what is reported, what is refused."""

import copy
import pickle

import numpy as np
import pytest
import torch

from torchkeras import Input, Model
from torchkeras.callbacks import Callback
from torchkeras.layers import Dense, Dropout
from torchkeras.losses import MeanSquaredError
from torchkeras.metrics import Mean, MeanAbsoluteError
from torchkeras.optimizers import SGD, Adam

X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(20, 1)).astype("float32")
QUIET = {"batch_size": 5, "shuffle": False, "verbose": 0}


def graph(cls, *args, **kwargs):
    inputs = Input((4,))
    return cls(inputs, Dense(1)(Dense(5, activation="tanh")(inputs)), *args, **kwargs)


class Stepping(Model):
    """The training step of Keras' guide for its torch backend."""

    def train_step(self, data):
        x, y = data
        self.zero_grad()
        y_pred = self(x, training=True)
        loss = self.compute_loss(y=y, y_pred=y_pred)
        loss.backward()
        trainable_weights = list(self.trainable_weights)
        gradients = [v.value.grad for v in trainable_weights]
        with torch.no_grad():
            self.optimizer.apply(gradients, trainable_weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


class Plain(Model):
    """Nothing of its own."""


class Tracking(Stepping):
    """A loss and metrics that the model keeps itself, and a compile with more arguments."""

    def compile(self, optimizer, rate):
        super().compile(optimizer)
        self.rate = rate
        self.loss_fn = MeanSquaredError()
        self.tracker = Mean(name="loss")
        self.mae = MeanAbsoluteError(name="mae")

    @property
    def metrics(self):
        return [self.tracker, self.mae]

    def train_step(self, data):
        x, y = data
        self.zero_grad()
        y_pred = self(x, training=True)
        loss = self.rate * self.loss_fn(y, y_pred)
        loss.backward()
        weights = self.trainable_weights
        self.optimizer.apply([v.value.grad for v in weights], weights)
        self.tracker.update_state(loss)
        self.mae.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_the_guides_step_does_what_the_built_in_one_does(optimizer):
    own, plain = graph(Stepping), graph(Plain)
    plain.set_weights(own.get_weights())
    histories = []
    for model in (own, plain):
        model.compile(optimizer, "mse", metrics=["mae"])
        histories.append(model.fit(X, Y, epochs=3, validation_data=(X, Y), **QUIET).history)
    assert histories[0].keys() == histories[1].keys()
    for name, values in histories[1].items():
        assert histories[0][name] == pytest.approx(values, rel=1e-5), name
    for mine, other in zip(own.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)
    assert own.step_report().kind == "eager" and "of its own" in own.step_report().reason
    assert plain.step_report().kind == "captured"


def test_the_inherited_step_serves_a_model_that_overrides_a_part():
    class Doubled(Model):
        def compute_loss(self, *args, **kwargs):
            return super().compute_loss(*args, **kwargs) * 2

    own, plain = graph(Doubled), graph(Plain)
    plain.set_weights(own.get_weights())
    own.compile(SGD(0.05), "mse")
    plain.compile(SGD(0.1), "mse")
    found = own.fit(X, Y, epochs=2, **QUIET).history["loss"]
    expected = plain.fit(X, Y, epochs=2, **QUIET).history["loss"]
    assert found == pytest.approx([2 * loss for loss in expected], rel=1e-5)
    assert own.evaluate(X, Y, verbose=0) == pytest.approx(2 * plain.evaluate(X, Y, verbose=0))


def test_metrics_of_the_property_are_reset_each_epoch():
    model = graph(Tracking)
    model.compile(SGD(0.0), rate=3.0)
    history = model.fit(X, Y, epochs=3, **QUIET).history
    errors = model.predict(X, verbose=0) - Y
    assert history["loss"] == pytest.approx([3 * (errors**2).mean()] * 3, rel=1e-5)
    assert history["mae"] == pytest.approx([np.abs(errors).mean()] * 3, rel=1e-5)


def test_weights_of_samples_reach_loss_and_weighted_metrics_alone():
    class Weighted(Model):
        def train_step(self, data):
            x, y, sample_weight = data
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred, sample_weight=sample_weight)
            return self.get_metrics_result()

    weight = np.random.default_rng(2).uniform(size=20).astype("float32")
    model = graph(Weighted)
    model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mse"])
    history = model.fit(X, Y, batch_size=20, sample_weight=weight, verbose=0).history
    errors = (model.predict(X, verbose=0) - Y)[:, 0]
    assert history["loss"][0] == pytest.approx((errors**2 * weight).mean(), rel=1e-5)
    assert history["mae"][0] == pytest.approx(np.abs(errors).mean(), rel=1e-5)
    assert history["mse"][0] == pytest.approx((errors**2 * weight).sum() / weight.sum(), rel=1e-5)


def test_evaluation_and_prediction_of_ones_own_run_without_gradients():
    class Own(Model):
        def test_step(self, data):
            x, y = data
            y_pred = self(x, training=False)
            seen.append(y_pred.requires_grad)
            loss = self.compute_loss(x, y, y_pred)
            self.metrics[0].update_state(loss)
            return {"loss": self.metrics[0].result(), "extra": 7.0}

        def predict_step(self, data):
            out = self(data, training=False)
            return {"value": out, "ten": out * 10}

    seen = []
    model = graph(Own)
    model.compile("sgd", "mse")
    history = model.fit(X, Y, epochs=2, validation_data=(X, Y), **QUIET).history
    assert history["val_extra"] == [7.0, 7.0] and "extra" not in history
    assert model.step_report().kind == "captured"
    assert seen and not any(seen)
    found = model.evaluate(X, Y, batch_size=5, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(history["val_loss"][1])
    predicted = model.predict(X, verbose=0)
    np.testing.assert_allclose(predicted["ten"], predicted["value"] * 10)


def test_a_step_sees_training_mode_and_callbacks_its_numbers():
    class Watched(Stepping):
        def train_step(self, data):
            assert self.training and all(layer.training for layer in self.layers)
            return super().train_step(data)

    class Watch(Callback):
        seen = []

        def on_train_batch_end(self, batch, logs=None):
            self.seen.append(logs["loss"])

    inputs = Input((4,))
    model = Watched(inputs, Dense(1)(Dropout(0.5)(inputs)))
    model.compile("sgd", "mse")
    history = model.fit(X, Y, callbacks=[Watch()], **QUIET).history
    assert len(Watch.seen) == 4 and Watch.seen[-1] == pytest.approx(history["loss"][0])
    assert not model.training


def test_frozen_layers_stay_as_they_were_at_compile():
    model = graph(Stepping)
    model.layers[1].trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, Y, **QUIET)
    after = model.get_weights()
    assert np.array_equal(before[0], after[0]) and not np.array_equal(before[2], after[2])


def test_what_a_step_must_return():
    class Nothing(Model):
        def train_step(self, data):
            return [1.0]

    class Vector(Model):
        def train_step(self, data):
            return {"size": torch.ones(3)}

    for cls, message in ((Nothing, "must return a dictionary"), (Vector, "must be one number")):
        model = graph(cls)
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match=message):
            model.fit(X, Y, **QUIET)


def test_data_without_targets_and_with_several_inputs():
    class Reconstructing(Model):
        def __init__(self):
            super().__init__()
            self.code, self.back = Dense(2), Dense(4)
            self.tracker = Mean(name="loss")

        @property
        def metrics(self):
            return [self.tracker]

        def call(self, inputs):
            return self.back(self.code(inputs["a"]) + self.code(inputs["b"]))

        def train_step(self, data):
            assert isinstance(data, dict) or len(data) == 1
            x = data if isinstance(data, dict) else data[0]
            self.zero_grad()
            loss = ((self(x) - x["a"]) ** 2).mean()
            loss.backward()
            weights = self.trainable_weights
            self.optimizer.apply([v.value.grad for v in weights], weights)
            self.tracker.update_state(loss)
            return {"loss": self.tracker.result()}

    model = Reconstructing()
    model.compile(Adam(0.05))
    history = model.fit({"a": X, "b": X}, epochs=5, **QUIET).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
@pytest.mark.parametrize("cls", [Stepping, Tracking])
def test_copies_of_trained_models_go_on_alike(copied, cls):
    model = graph(cls)
    model.compile(Adam(0.01), **({"rate": 2.0} if cls is Tracking else {"loss": "mse"}))
    model.fit(X, Y, epochs=2, **QUIET)
    twin = copied(model)
    assert int(twin.optimizer.iterations) == 8
    histories = [one.fit(X, Y, epochs=2, **QUIET).history for one in (twin, model)]
    assert histories[0]["loss"] == pytest.approx(histories[1]["loss"], rel=1e-6)
    for mine, other in zip(twin.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)
