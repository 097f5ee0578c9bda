"""Learning rates that follow a schedule or a function, and torch's schedulers."""

import pickle

import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import callbacks, layers, optimizers
from torchkeras.optimizers import schedules


def moved(optimizer, steps=4):
    """Return by how much each update with a gradient of 1 moves a weight."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer.build([parameter])
    places = [0.0]
    for _ in range(steps):
        optimizer.update([torch.ones(1)])
        places.append(float(parameter))
    return -np.diff(places)


def test_a_schedule_sets_the_rate_of_each_update():
    optimizer = optimizers.SGD(schedules.PiecewiseConstantDecay([1, 2], [0.5, 0.25, 0.125]))
    np.testing.assert_allclose(moved(optimizer), [0.5, 0.5, 0.25, 0.125])
    assert float(optimizer.learning_rate) == 0.125
    assert float(optimizer.lr) == 0.125
    assert [variable.name for variable in optimizer.variables] == ["iteration"]
    assert optimizer.replayable


def test_a_schedule_is_replaced_by_another_only():
    optimizer = optimizers.SGD(schedules.ExponentialDecay(0.5, 1, 0.5))
    with pytest.raises(TypeError, match="not settable"):
        optimizer.learning_rate = 0.1
    optimizer.learning_rate = schedules.InverseTimeDecay(1.0, 1, 1.0)
    np.testing.assert_allclose(moved(optimizer, 3), [1.0, 0.5, 1 / 3], rtol=1e-6)


def test_a_number_is_replaced_by_a_schedule_made_of_it():
    optimizer = optimizers.SGD(0.5)
    assert len(optimizer.variables) == 2
    optimizer.learning_rate = schedules.ExponentialDecay(optimizer.learning_rate, 1, 0.5)
    assert len(optimizer.variables) == 1
    np.testing.assert_allclose(moved(optimizer, 3), [0.5, 0.25, 0.125])


def test_a_function_is_asked_before_each_update():
    rates = iter([0.5, 0.25, 0.125])
    optimizer = optimizers.SGD(lambda: next(rates))
    np.testing.assert_allclose(moved(optimizer, 3), [0.5, 0.25, 0.125])
    assert not optimizer.replayable
    optimizer.learning_rate = 1.0
    np.testing.assert_allclose(moved(optimizer, 1), [1.0])
    assert optimizer.replayable


class Halves(schedules.LearningRateSchedule):
    def __init__(self, first):
        self.first = first

    def __call__(self, step):
        return self.first * 0.5 ** (step + 0)


def test_a_schedule_of_the_users():
    optimizer = optimizers.SGD(Halves(0.5))
    np.testing.assert_allclose(moved(optimizer, 3), [0.5, 0.25, 0.125])
    config = optimizers.serialize(optimizer)
    assert config["config"]["learning_rate"]["config"] == {"first": 0.5}
    back = optimizers.deserialize(config, custom_objects={"Halves": Halves})
    np.testing.assert_allclose(moved(back, 2), [0.5, 0.25])
    with pytest.raises(NotImplementedError, match="must define __call__"):
        schedules.LearningRateSchedule()(0)


def test_decay_of_weights_follows_the_schedule():
    rate = schedules.PiecewiseConstantDecay([0], [0.5, 0.25])
    optimizer = optimizers.SGD(rate, weight_decay=0.5)
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer.build([parameter])
    places = []
    for _ in range(2):
        optimizer.update([torch.zeros(1)])
        places.append(float(parameter))
    np.testing.assert_allclose(places, [0.75, 0.75 * 0.875])


def test_a_copy_follows_the_same_schedule():
    optimizer = optimizers.Adam(schedules.CosineDecay(0.1, 10))
    back = pickle.loads(pickle.dumps(optimizer))
    assert back.get_config() == optimizer.get_config()


def model():
    torch.manual_seed(0)
    made = torchkeras.Sequential([layers.Dense(4, input_dim=3, activation="relu"), layers.Dense(1)])
    return made, np.random.default_rng(0).standard_normal((16, 3)), np.ones((16, 1))


def test_a_scheduler_of_torch_steps_from_a_callback():
    net, x, y = model()
    net.compile(optimizers.SGD(0.5), "mse")
    scheduler = torch.optim.lr_scheduler.StepLR(net.optimizer, step_size=2, gamma=0.5)
    rates = []

    class Steps(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))
            scheduler.step()

    net.fit(x, y, batch_size=4, epochs=5, verbose=0, callbacks=[Steps()])
    assert rates == [0.5, 0.5, 0.25, 0.25, 0.125]
    assert "captured" in str(net.step_report())


def test_a_scheduler_is_no_learning_rate():
    scheduler = torch.optim.lr_scheduler.StepLR(optimizers.SGD(0.5), step_size=2)
    with pytest.raises(ValueError, match="A StepLR of torch sets the rate of the optimizer"):
        optimizers.SGD(scheduler)
