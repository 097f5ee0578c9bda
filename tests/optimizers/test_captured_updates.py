"""A captured step moves the weights as an eager one does, whatever the optimizer."""

import numpy as np
import pytest

import torchkeras
from torchkeras import layers, optimizers, utils
from torchkeras.optimizers import schedules

OPTIONS = {
    "plain": {},
    "decayed and clipped": {"weight_decay": 0.01, "global_clipnorm": 0.5},
    "averaged": {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 3},
    "summed": {"gradient_accumulation_steps": 3, "clipnorm": 0.5},
    "scaled": {"loss_scale_factor": 4.0},
    "scheduled": {},
}
NAMES = (
    "SGD RMSprop Adam AdamW Adadelta Adagrad Adamax Nadam Ftrl Lion Lamb Adafactor Muon "
    "ScheduleFreeAdamW"
).split()
CASES = [(name, "plain") for name in NAMES] + [
    (name, option) for name in ("SGD", "Adam", "Muon") for option in list(OPTIONS)[1:]
]


def make(name, option):
    options = dict(OPTIONS[option])
    if option == "scheduled":
        options["learning_rate"] = schedules.CosineDecay(0.001, 20, 0.1, "name", 0.01, 5)
    if name == "SGD":
        options["momentum"] = 0.9
    return getattr(optimizers, name)(**options)


def train(optimizer, eagerly, policy="float32", epochs=3, height=1.0):
    utils.set_random_seed(0)
    random = np.random.default_rng(0)
    x = random.standard_normal((48, 5)).astype("float32")
    y = (x[:, :1] > 0).astype("float32") * height
    net = torchkeras.Sequential(
        [
            layers.Dense(7, input_dim=5, activation="relu", dtype=policy),
            layers.Dense(1, activation="sigmoid", dtype=policy),
        ]
    )
    net.compile(optimizer, "mse", run_eagerly=eagerly)
    net.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return net


def assert_same(optimizers_, **kwargs):
    captured, eager = (train(one, eagerly, **kwargs) for one, eagerly in zip(optimizers_, (0, 1)))
    report = captured.step_report()
    assert report.kind == "captured", str(report)
    for found, expected in zip(captured.get_weights(), eager.get_weights()):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    states = zip(captured.optimizer.get_weights(), eager.optimizer.get_weights())
    for found, expected in states:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    return captured


@pytest.mark.parametrize(("name", "option"), CASES)
def test_captured_equals_eager(name, option):
    assert_same([make(name, option), make(name, option)])


def test_loss_scaling_is_captured():
    def scaled():
        # Overflows at first, and grows again within the run.
        return optimizers.LossScaleOptimizer(optimizers.Adam(0.01), 2.0**127, 4)

    net = assert_same([scaled(), scaled()], epochs=8, height=100.0)
    factor = float(net.optimizer.dynamic_scale)
    assert factor < 2.0**127 and int(net.optimizer.iterations) < 48
    assert np.isfinite(net.get_weights()[0]).all()


def test_several_optimizers_are_captured():
    def several():
        rates = {".*kernel": optimizers.Adam(0.01), ".*bias": optimizers.SGD(0.1, momentum=0.5)}
        return optimizers.MultiOptimizer(optimizers.OptimizerMap(optimizers.SGD(), rates))

    assert_same([several(), several()])
    assert_same([optimizers.LossScaleOptimizer(several()) for _ in range(2)])


def test_mixed_precision_trains_captured():
    scaled = (optimizers.LossScaleOptimizer(optimizers.Adam(0.01)) for _ in range(2))
    captured, eager = (
        train(one, eagerly, policy="mixed_float16") for one, eagerly in zip(scaled, (0, 1))
    )
    assert captured.step_report().kind == "captured", str(captured.step_report())
    for found, expected in zip(captured.get_weights(), eager.get_weights()):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_a_schedule_replaced_in_training_counts():
    net = train(optimizers.SGD(schedules.ExponentialDecay(0.1, 10, 0.5)), 0)
    before = net.get_weights()
    net.optimizer.learning_rate = schedules.ExponentialDecay(0.0, 10, 0.5)
    x = np.ones((8, 5), "float32")
    net.fit(x, np.ones((8, 1)), batch_size=8, verbose=0)
    for found, expected in zip(net.get_weights(), before):
        np.testing.assert_array_equal(found, expected)
