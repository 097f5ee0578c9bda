"""Running means, sums of gradients, static scaling, rules of the user's, several optimizers."""

import copy
import pickle

import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import layers, optimizers


def one(value=1.0):
    return torch.nn.Parameter(torch.full((2,), value))


def test_running_mean_takes_the_place_of_the_weights():
    optimizer, parameter = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5), one(0.0)
    optimizer.build([parameter])
    for _ in range(3):
        optimizer.update([torch.full((2,), -1.0)])
    assert parameter.tolist() == [3.0, 3.0]
    (average,) = optimizer._model_variables_moving_average
    assert average.numpy().tolist() == [2.25, 2.25]  # 1, 1.5, 2.25
    optimizer.finalize_variable_values([parameter])
    assert parameter.tolist() == [2.25, 2.25]


def test_finalizing_without_means_changes_nothing():
    optimizer, parameter = optimizers.SGD(1.0), one()
    optimizer.build([parameter])
    optimizer.finalize_variable_values([parameter])
    assert parameter.tolist() == [1.0, 1.0]


def test_sums_of_gradients():
    optimizer, parameter = optimizers.SGD(1.0, gradient_accumulation_steps=3), one()
    optimizer.build([parameter])
    seen = []
    for gradient in (1.0, 2.0, 3.0, 5.0):
        optimizer.update([torch.full((2,), gradient)])
        (held,) = optimizer._accumulated_gradients
        seen.append((float(parameter[0]), float(held.numpy()[0]), int(optimizer.iterations)))
    assert seen == [(1.0, 1.0, 0), (1.0, 3.0, 0), (-1.0, 0.0, 1), (-1.0, 5.0, 1)]
    assert int(optimizer.apply_gradients([(torch.ones(2), parameter)])) == 5


def test_a_gradient_that_is_no_number_stays_in_the_sum():
    optimizer, parameter = optimizers.SGD(1.0, gradient_accumulation_steps=2), one()
    optimizer.build([parameter])
    optimizer.update([torch.full((2,), float("nan"))])
    assert parameter.tolist() == [1.0, 1.0]
    optimizer.update([torch.ones(2)])
    assert torch.isnan(parameter).all()


@pytest.mark.parametrize("name", ["Nadam", "Adam", "Adafactor", "Muon", "Lamb"])
def test_three_thirds_are_one(name):
    options = {"weight_decay": 0.05}
    plain = getattr(optimizers, name)(0.01, **options)
    summed = getattr(optimizers, name)(0.01, **options, gradient_accumulation_steps=3)
    torch.manual_seed(0)
    first, second = (torch.nn.Parameter(torch.ones(3, 2)) for _ in range(2))
    plain.build([first])
    summed.build([second])
    for _ in range(4):
        gradients = torch.randn(3, 3, 2)
        plain.update([gradients.mean(0)])
        for gradient in gradients:
            summed.update([gradient])
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


def test_static_scaling():
    optimizer, parameter = optimizers.SGD(1.0, loss_scale_factor=8.0), one()
    optimizer.build([parameter])
    assert float(optimizer.scale_loss(torch.tensor(0.5))) == 4.0
    assert optimizer.scale_loss(1.0) == 8.0
    optimizer.update([torch.full((2,), 8.0)])
    assert parameter.tolist() == [0.0, 0.0]


def test_a_missing_gradient_with_all_options():
    optimizer = optimizers.Adam(0.1, gradient_accumulation_steps=2, use_ema=True)
    parameters = [one(), one(2.0)]
    optimizer.build(parameters)
    for _ in range(2):
        with pytest.warns(UserWarning) if optimizer._warned == set() else _nothing():
            optimizer.update([torch.ones(2), None])
    np.testing.assert_allclose(parameters[0].detach(), 0.9, rtol=1e-5)
    assert parameters[1].tolist() == [2.0, 2.0]


class _nothing:
    def __enter__(self):
        return None

    def __exit__(self, *error):
        return None


class Momentum(optimizers.Optimizer):
    """Written as Keras' documentation says."""

    def __init__(self, learning_rate=0.1, momentum=0.9, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        super().build(variables)
        self.momenta = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        held = self.momenta[self._get_variable_index(variable)]
        self.assign(held, held * self.momentum - gradient * learning_rate)
        self.assign_add(variable, held)


def test_a_rule_written_one_variable_at_a_time():
    layer = layers.Dense(3)
    layer.build((None, 2))
    start = [variable.numpy() for variable in layer.trainable_variables]
    ours, built_in = Momentum(0.1, 0.9, clipnorm=1.0), optimizers.SGD(0.1, 0.9, clipnorm=1.0)
    ends = []
    for optimizer in (ours, built_in):
        layer.set_weights(start)
        optimizer.build(layer.trainable_variables)
        random = np.random.default_rng(0)
        for _ in range(3):
            gradients = [random.standard_normal(value.shape) for value in start]
            optimizer.apply(gradients, layer.trainable_variables)
        ends.append(layer.get_weights())
    for found, expected in zip(*ends):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    shapes = [variable.shape for variable in ours.variables]
    assert shapes == [variable.shape for variable in built_in.variables]
    for found, expected in zip(ours.get_weights(), built_in.get_weights()):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert ours.get_config()["momentum"] == 0.9


def test_a_rule_of_the_users_trains_captured():
    torch.manual_seed(0)
    net = torchkeras.Sequential([layers.Dense(4, input_dim=3, activation="relu"), layers.Dense(1)])
    net.compile(Momentum(0.01), "mse")
    x = np.random.default_rng(0).standard_normal((32, 3))
    history = net.fit(x, x[:, :1], batch_size=8, epochs=20, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


def test_no_rule_at_all():
    optimizer = optimizers.Optimizer(0.1)
    optimizer.build([one()])
    with pytest.raises(NotImplementedError, match="write update_step"):
        optimizer.update([torch.ones(2)])


def test_variables_of_a_rule():
    optimizer = Momentum()
    optimizer.build([one()])
    first, second = optimizer.add_optimizer_variables([one()], ["a", "b"], ["ones", "zeros"])
    assert first[0].numpy().tolist() == [1.0, 1.0] and second[0].numpy().tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="2 names need as many initializers"):
        optimizer.add_optimizer_variables([one()], ["a", "b"], ["ones"])
    with pytest.raises(ValueError, match="layout must be None"):
        optimizer.add_variable((2,), layout="tensor")


@pytest.mark.parametrize("how", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_a_multi_optimizer_goes_on_as_a_copy(how):
    rates = optimizers.OptimizerMap(optimizers.SGD(0.5), {".*kernel": optimizers.SGD(0.25)})
    layer = layers.Dense(1, kernel_initializer="zeros")
    layer.build((None, 1))
    optimizer = optimizers.MultiOptimizer(rates)
    optimizer.build(layer.trainable_variables)
    optimizer.apply([np.ones((1, 1)), np.ones(1)])
    assert [value.item() for value in layer.get_weights()] == [-0.25, -0.5]
    back = how(optimizer)
    back.update([torch.ones(1, 1), torch.ones(1)])
    assert int(back.iterations) == 2 and int(optimizer.iterations) == 1


def test_a_multi_optimizer_has_no_rate_and_takes_plain_optimizers():
    sgd = optimizers.SGD()
    optimizer = optimizers.MultiOptimizer(lambda variable: optimizers.LossScaleOptimizer(sgd))
    assert not hasattr(optimizer, "learning_rate")
    with pytest.raises(ValueError, match="no LossScaleOptimizer"):
        optimizer.build([one()])
    with pytest.raises(AttributeError, match="no learning rate"):
        optimizer.learning_rate = 0.1
    rates = optimizers.OptimizerMap(sgd, {"a.*": sgd, ".*b": sgd})
    with pytest.raises(ValueError, match="Multiple optimizers"):
        rates["ab"]
    with pytest.raises(ValueError, match="already exists"):
        rates["a.*"] = sgd
    with pytest.raises(TypeError, match="must be an optimizer"):
        optimizers.OptimizerMap("sgd")


def test_a_state_of_several_comes_back():
    def make():
        parameters = [one(), torch.nn.Parameter(torch.ones(2, 2))]
        adam, sgd = optimizers.Adam(0.1), optimizers.SGD(0.1, momentum=0.9)
        optimizer = optimizers.MultiOptimizer(lambda v: adam if v.dim() == 1 else sgd)
        optimizer.build(parameters)
        return optimizer, parameters

    (first, held), (second, other) = make(), make()
    first.update([torch.ones(2), torch.ones(2, 2)])
    second.load_state_dict(first.state_dict())
    for mine, theirs in zip(held, other):
        theirs.data.copy_(mine.data)
    for optimizer in (first, second):
        optimizer.update([torch.ones(2), torch.full((2, 2), 0.5)])
    for mine, theirs in zip(held, other):
        assert torch.equal(mine, theirs)
    with pytest.raises(ValueError, match="has 2 optimizers"):
        second.load_state_dict({"iterations": torch.zeros(())})
