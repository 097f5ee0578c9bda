"""Recurrent layers in the captured step: the eager step's numbers, and what is called for them."""

import numpy as np
import pytest

import torchkeras as keras
from torchkeras import layers

BATCH, STEPS, FEATURES = 4, 6, 3


def data(samples=18):
    random = np.random.RandomState(1)
    x = random.randn(samples, STEPS, FEATURES).astype("float32")
    lengths = random.randint(0, STEPS + 1, samples)
    x[np.arange(STEPS) >= lengths[:, None]] = 0  # padded on the right
    x[: samples // 2] = x[: samples // 2, ::-1]  # or on the left
    x[5, 2] = 0  # a hole
    return x, random.randn(samples, 2).astype("float32")


def trained(make, run_eagerly, batch=BATCH, samples=18):
    keras.registry.reset_names()
    keras.utils.set_random_seed(0)
    x, y = data(samples)
    model = keras.Sequential([*make(), layers.Dense(2)])
    model(x[:batch])
    random = np.random.RandomState(2)
    model.set_weights([random.randn(*weight.shape) * 0.4 for weight in model.weights])
    model.compile(keras.optimizers.Adam(0.01), "mse", run_eagerly=run_eagerly)
    history = model.fit(x, y, batch, epochs=3, verbose=0, shuffle=False).history["loss"]
    for _ in range(3):
        predicted = model.predict(x, batch_size=batch, verbose=0)
    return model, history, predicted


MODELS = {
    "LSTM": lambda: [layers.LSTM(5)],
    "GRU": lambda: [layers.GRU(5)],
    "GRU, reset before": lambda: [layers.GRU(5, reset_after=False)],
    "SimpleRNN": lambda: [layers.SimpleRNN(5)],
    "two LSTM": lambda: [layers.LSTM(5, return_sequences=True), layers.LSTM(4)],
    "LSTM of Keras 1": lambda: [layers.LSTM(5, recurrent_activation="hard_sigmoid")],
    "masked LSTM": lambda: [layers.Masking(), layers.LSTM(5)],
    "masked GRU": lambda: [layers.Masking(), layers.GRU(5, go_backwards=True)],
    "masked sequences": lambda: [
        layers.Masking(),
        layers.LSTM(5, return_sequences=True, zero_output_for_mask=True),
        layers.SimpleRNN(4),
    ],
    "dropout": lambda: [layers.LSTM(5, dropout=0.3, seed=4), layers.Reshape((1, 5)), layers.GRU(4)],
    "recurrent dropout": lambda: [layers.LSTM(5, dropout=0.2, recurrent_dropout=0.3, seed=4)],
    "dropout by seed": lambda: [layers.GRU(5, dropout=0.2, recurrent_dropout=0.3, seed=5)],
    "a stack": lambda: [layers.RNN([layers.LSTMCell(4), layers.GRUCell(5)])],
    "own cell": lambda: [layers.RNN(Own())],
    "masked own cell": lambda: [layers.Masking(), layers.RNN(Own())],
}


class Own(layers.Layer):
    """A cell of a user."""

    state_size = 4

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], 4), name="kernel")

    def call(self, inputs, states):
        output = keras.ops.tanh(keras.ops.matmul(inputs, self.kernel) + 0.5 * states[0])
        return output, [output]


@pytest.mark.parametrize("name", MODELS)
def test_captured_is_eager(name):
    model, history, predicted = trained(MODELS[name], False)
    _, expected, wanted = trained(MODELS[name], True)
    assert model.step_report().kind == "captured", model.step_report()
    np.testing.assert_allclose(history, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(predicted, wanted, rtol=1e-5, atol=1e-6)


def test_stateful_captured_is_eager():
    def make():
        shape = (BATCH, STEPS, FEATURES)
        return [layers.LSTM(5, stateful=True, batch_input_shape=shape)]

    model, history, predicted = trained(make, False, samples=16)
    other, expected, wanted = trained(make, True, samples=16)
    assert model.step_report().kind == "captured", model.step_report()
    np.testing.assert_allclose(history, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(predicted, wanted, rtol=1e-5, atol=1e-6)
    for one, two in zip(model.layers[0].states, other.layers[0].states):
        np.testing.assert_allclose(one.numpy(), two.numpy(), rtol=1e-5, atol=1e-6)
