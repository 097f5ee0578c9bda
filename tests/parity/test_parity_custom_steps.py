"""Steps of the user's own, as written for Keras' torch backend: the same code, the same curve."""

import keras
import numpy as np
import pytest
import torch

import torchkeras
from torchkeras.registry import reset_names

X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(20, 1)).astype("float32")
WEIGHT = np.random.default_rng(2).uniform(size=20).astype("float32")


def graph(k, cls, *args, **kwargs):
    inputs = k.Input((4,))
    hidden = k.layers.Dense(5, activation="tanh")(inputs)
    return cls(inputs, k.layers.Dense(1)(hidden), *args, **kwargs)


def with_compute_loss(k):
    """A training step that keeps to what compile was given."""

    class Custom(k.Model):
        def train_step(self, data):
            x, y = data
            self.zero_grad()
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
            loss.backward()
            weights = list(self.trainable_weights)
            gradients = [v.value.grad for v in weights]
            with torch.no_grad():
                self.optimizer.apply(gradients, weights)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {m.name: m.result() for m in self.metrics}

    model = graph(k, Custom)
    model.compile(optimizer=k.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
    return model, (X, Y), {}


def lower_level(k):
    """A step with a loss and metrics of its own, listed by the property metrics."""

    class Custom(k.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.loss_tracker = k.metrics.Mean(name="loss")
            self.mae_metric = k.metrics.MeanAbsoluteError(name="mae")
            self.loss_fn = k.losses.MeanSquaredError()

        def train_step(self, data):
            x, y = data
            self.zero_grad()
            y_pred = self(x, training=True)
            loss = self.loss_fn(y, y_pred)
            loss.backward()
            weights = self.trainable_weights[:]
            gradients = [v.value.grad for v in weights]
            with torch.no_grad():
                self.optimizer.apply(gradients, weights)
            self.loss_tracker.update_state(loss)
            self.mae_metric.update_state(y, y_pred)
            return {"loss": self.loss_tracker.result(), "mae": self.mae_metric.result()}

        @property
        def metrics(self):
            return [self.loss_tracker, self.mae_metric]

    model = graph(k, Custom)
    model.compile(optimizer=k.optimizers.Adam(0.01))
    return model, (X, Y), {}


def with_sample_weight(k):
    """A step that takes weights of samples where they are given."""

    class Custom(k.Model):
        def train_step(self, data):
            if len(data) == 3:
                x, y, sample_weight = data
            else:
                sample_weight = None
                x, y = data
            self.zero_grad()
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred, sample_weight=sample_weight)
            loss.backward()
            weights = list(self.trainable_weights)
            gradients = [v.value.grad for v in weights]
            with torch.no_grad():
                self.optimizer.apply(gradients, weights)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred, sample_weight=sample_weight)
            return {m.name: m.result() for m in self.metrics}

    model = graph(k, Custom)
    model.compile(optimizer=k.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
    return model, (X, Y), {"sample_weight": WEIGHT}


def own_test_step(k):
    """An evaluation of its own; training is Keras'."""

    class Custom(k.Model):
        def test_step(self, data):
            x, y = data
            y_pred = self(x, training=False)
            loss = self.compute_loss(y=y, y_pred=y_pred)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {m.name: m.result() for m in self.metrics}

    model = graph(k, Custom)
    model.compile(optimizer=k.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
    return model, (X, Y), {"validation_data": (X, Y)}


def own_compute_loss(k):
    """A loss computed by the model, with a metric beside it."""

    class Custom(k.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.size = k.metrics.Mean(name="size")

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            loss = torch.mean((y_pred - y) ** 2) + sum(self.losses)
            self.size.update_state(torch.abs(y_pred).mean())
            return loss

    inputs = k.Input((4,))
    outputs = k.layers.Dense(1, kernel_regularizer="l2")(inputs)
    model = Custom(inputs, outputs)
    model.compile(optimizer=k.optimizers.SGD(0.1))
    return model, (X, Y), {"validation_data": (X, Y)}


def old_compute_loss(k):
    """compute_loss without the argument training, as before Keras 3.3."""

    class Custom(k.Model):
        def compute_loss(self, x, y, y_pred, sample_weight):
            return super().compute_loss(x, y, y_pred, sample_weight) * 2

    model = graph(k, Custom)
    model.compile(optimizer=k.optimizers.SGD(0.05), loss="mse")
    return model, (X, Y), {}


def own_compute_metrics(k):
    """The metrics of compile and one more number."""

    class Custom(k.Model):
        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            results = super().compute_metrics(x, y, y_pred, sample_weight)
            results["twice"] = 2 * float(results["mae"])
            return results

    model = graph(k, Custom)
    model.compile(optimizer=k.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
    return model, (X, Y), {}


def own_predict_step(k):
    """Training by Keras' step, predictions of its own."""

    class Custom(k.Model):
        def predict_step(self, data):
            x = data[0] if isinstance(data, tuple) else data
            return self(x, training=False) * 10.0

    model = graph(k, Custom)
    model.compile(optimizer=k.optimizers.SGD(0.1), loss="mse")
    return model, (X, Y), {}


def autoencoder(k):
    """A subclass with parts, extra penalties and a step without targets."""

    class Auto(k.Model):
        def __init__(self):
            super().__init__()
            self.encoder = k.Sequential([k.layers.Dense(2, activation="tanh")])
            self.decoder = k.Sequential([k.layers.Dense(4)])
            self.total = k.metrics.Mean(name="total")

        @property
        def metrics(self):
            return [self.total]

        def call(self, inputs):
            return self.decoder(self.encoder(inputs))

        def train_step(self, data):
            x = data[0] if isinstance(data, (tuple, list)) else data
            self.zero_grad()
            code = self.encoder(x)
            loss = torch.mean((self.decoder(code) - x) ** 2) + 0.1 * torch.mean(code**2)
            loss.backward()
            weights = self.trainable_weights
            with torch.no_grad():
                self.optimizer.apply([v.value.grad for v in weights], weights)
            self.total.update_state(loss)
            return {"total": self.total.result()}

    model = Auto()
    model(torch.as_tensor(X))
    model.compile(optimizer=k.optimizers.RMSprop(0.01))
    return model, (X,), {}


def compile_with_more_arguments(k):
    """compile() of its own: two optimizers, and a loss function."""

    class Two(k.Model):
        def __init__(self, low, high):
            super().__init__()
            self.low, self.high = low, high
            self.tracker = k.metrics.Mean(name="loss")

        def call(self, x):
            return self.high(self.low(x))

        def compile(self, low_optimizer, high_optimizer, loss_fn):
            super().compile()
            self.low_optimizer = low_optimizer
            self.high_optimizer = high_optimizer
            self.loss_fn = loss_fn

        @property
        def metrics(self):
            return [self.tracker]

        def train_step(self, data):
            x, y = data
            for part, optimizer in (
                (self.low, self.low_optimizer),
                (self.high, self.high_optimizer),
            ):
                self.zero_grad()
                loss = self.loss_fn(y, self(x))
                loss.backward()
                weights = list(part.trainable_weights)
                with torch.no_grad():
                    optimizer.apply([v.value.grad for v in weights], weights)
            self.tracker.update_state(loss)
            return {"loss": self.tracker.result()}

    low = k.Sequential([k.Input((4,)), k.layers.Dense(3, activation="relu")])
    high = k.Sequential([k.Input((3,)), k.layers.Dense(1)])
    model = Two(low, high)
    model(torch.as_tensor(X))
    model.compile(
        low_optimizer=k.optimizers.Adam(0.01),
        high_optimizer=k.optimizers.SGD(0.1),
        loss_fn=k.losses.MeanSquaredError(),
    )
    return model, (X, Y), {}


def gan(k):
    """Generator and discriminator in one model, each with its optimizer; draws are the batch's."""

    class GAN(k.Model):
        def __init__(self, discriminator, generator):
            super().__init__()
            self.discriminator = discriminator
            self.generator = generator
            self.d_loss_tracker = k.metrics.Mean(name="d_loss")
            self.g_loss_tracker = k.metrics.Mean(name="g_loss")
            self.built = True

        @property
        def metrics(self):
            return [self.d_loss_tracker, self.g_loss_tracker]

        def compile(self, d_optimizer, g_optimizer, loss_fn):
            super().compile()
            self.d_optimizer = d_optimizer
            self.g_optimizer = g_optimizer
            self.loss_fn = loss_fn

        def train_step(self, data):
            real = data[0] if isinstance(data, tuple) else data
            count = real.shape[0]
            noise = real[:, :2] * 3.0  # the same in both, unlike a draw
            fake = self.generator(noise)
            both = torch.concat([fake, real], dim=0)
            labels = torch.concat([torch.ones((count, 1)), torch.zeros((count, 1))], dim=0)

            self.zero_grad()
            d_loss = self.loss_fn(labels, self.discriminator(both.detach()))
            d_loss.backward()
            weights = list(self.discriminator.trainable_weights)
            gradients = [v.value.grad for v in weights]
            with torch.no_grad():
                self.d_optimizer.apply(gradients, weights)

            self.zero_grad()
            misleading = torch.zeros((count, 1))
            g_loss = self.loss_fn(misleading, self.discriminator(self.generator(noise)))
            g_loss.backward()
            weights = list(self.generator.trainable_weights)
            gradients = [v.value.grad for v in weights]
            with torch.no_grad():
                self.g_optimizer.apply(gradients, weights)

            self.d_loss_tracker.update_state(d_loss)
            self.g_loss_tracker.update_state(g_loss)
            return {"d_loss": self.d_loss_tracker.result(), "g_loss": self.g_loss_tracker.result()}

    generator = k.Sequential([k.Input((2,)), k.layers.Dense(6, "relu"), k.layers.Dense(4)])
    discriminator = k.Sequential([k.Input((4,)), k.layers.Dense(6, "relu"), k.layers.Dense(1)])
    model = GAN(discriminator=discriminator, generator=generator)
    model.compile(
        d_optimizer=k.optimizers.Adam(0.01),
        g_optimizer=k.optimizers.Adam(0.005),
        loss_fn=k.losses.BinaryCrossentropy(from_logits=True),
    )
    return model, (X,), {}


EXAMPLES = [
    item for item in list(globals().values()) if getattr(item, "__module__", "") == __name__
]
EXAMPLES.remove(graph)


def made(k, example):
    reset_names()
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    return example(k)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.__name__)
def test_history_weights_evaluation_and_predictions_are_kerass(example):
    theirs, data, options = made(keras, example)
    ours, _, _ = made(torchkeras, example)
    ours.set_weights(theirs.get_weights())
    histories = []
    for model in (theirs, ours):
        run = model.fit(*data, batch_size=8, epochs=3, shuffle=False, verbose=0, **options)
        histories.append(run.history)
    expected, found = histories
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-5, abs=1e-6), name
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)
    if example not in (gan, autoencoder, compile_with_more_arguments, lower_level):
        expected = theirs.evaluate(*data, verbose=0, return_dict=True)
        assert ours.evaluate(*data, verbose=0, return_dict=True) == pytest.approx(
            expected, rel=1e-5
        )
    if example is not gan:
        np.testing.assert_allclose(
            ours.predict(X, verbose=0), theirs.predict(X, verbose=0), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.__name__)
def test_a_batch_alone_is_an_epoch_of_one_batch(example):
    """Keras gives the step arrays and a third entry there, which few are written for."""
    results = []
    for train in ("train_on_batch", "fit"):
        model, data, _ = made(torchkeras, example)
        if model.built and model.weights:
            model.set_weights([np.full_like(w, 0.1) for w in model.get_weights()])
        if train == "fit":
            history = model.fit(*data, batch_size=20, epochs=1, shuffle=False, verbose=0).history
            results.append({name: values[0] for name, values in history.items()})
        else:
            results.append(model.train_on_batch(*data, return_dict=True))
    assert results[0] == pytest.approx(results[1], rel=1e-5)
