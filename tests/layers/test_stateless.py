"""Calls with other values for the variables leave no trace in what is called."""

import numpy as np
import pytest
import torch

import torchkeras as keras
from torchkeras import StatelessScope, layers, metrics, optimizers


def _model():
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, "tanh"), layers.BatchNormalization(), layers.Dense(1)]
    )
    return model, torch.randn(8, 3)


def test_a_call_leaves_weights_and_statistics_as_they_were():
    model, x = _model()
    before = model.get_weights()
    given = [torch.randn(v.shape) for v in model.trainable_variables]
    fixed = [v.value.clone() for v in model.non_trainable_variables]
    copies = [one.clone() for one in (*given, *fixed)]
    outputs, after = model.stateless_call(given, fixed, x, training=True)
    for one, other in zip(before, model.get_weights()):
        np.testing.assert_array_equal(one, other)
    assert all(map(torch.equal, (*given, *fixed), copies))  # nor are the values written to
    assert not torch.equal(after[0], fixed[0])
    for variable, value in zip(model.trainable_variables, given):
        variable.assign(value)
    torch.testing.assert_close(model(x, training=True), outputs)
    torch.testing.assert_close(model.non_trainable_variables[0].value, after[0])


def test_gradients_flow_to_the_values():
    model, x = _model()
    fixed = [v.value for v in model.non_trainable_variables]
    values = [v.value.detach().clone() for v in model.trainable_variables]

    def loss(values):
        return model.stateless_call(values, fixed, x)[0].square().mean()

    found = torch.func.grad(loss)(values)
    model(x).square().mean().backward()
    for one, variable in zip(found, model.trainable_variables):
        torch.testing.assert_close(one, variable.from_torch(variable.parameter.grad))


def test_a_layer_in_two_places_has_the_values_in_both():
    class Tied(keras.Layer):
        def __init__(self):
            super().__init__()
            self.first, self.second = layers.Dense(3, use_bias=False), torch.nn.Linear(3, 3, False)

        def build(self, input_shape):
            self.first.build(input_shape)
            self.second.weight = self.first.linear.weight

        def call(self, x):
            return self.second(self.first(x))

    layer, x = Tied(), torch.randn(2, 3)
    layer(x)
    value = torch.eye(3) * 2
    assert torch.equal(layer.stateless_call([value], [], x)[0], x * 4)
    assert layer.second.weight is layer.first.linear.weight


def test_recurrent_modules_see_the_values():
    module = torch.nn.LSTM(3, 2, batch_first=True)
    layer, x = layers.TorchModuleWrapper(module), torch.randn(2, 4, 3)
    expected = layer(x)[0]
    zeros = [torch.zeros(v.shape) for v in layer.trainable_variables]
    assert layer.stateless_call(zeros, [], x)[0][0].abs().sum() == 0
    assert torch.equal(layer(x)[0], expected)


def test_losses_are_those_of_the_values():
    layer = layers.Dense(1, kernel_regularizer="l2", use_bias=False)
    layer.build((None, 2))
    _, _, losses = layer.stateless_call(
        [torch.ones(2, 1)], [], torch.ones(1, 2), return_losses=True
    )
    assert [round(float(one), 6) for one in losses] == [0.02]


@pytest.mark.parametrize(
    ("values", "words"),
    [([], "each of the 2"), ([torch.ones(2, 2), torch.ones(1)], r"has shape \(3, 1\)")],
)
def test_wrong_values_are_refused_and_nothing_is_left_behind(values, words):
    layer = layers.Dense(1)
    with pytest.raises(ValueError, match="is not built"):
        layer.stateless_call([], [], torch.ones(1, 3))
    expected = layer(torch.ones(1, 3))
    with pytest.raises(ValueError, match=words):
        layer.stateless_call(values, [], torch.ones(1, 3))
    assert torch.equal(layer(torch.ones(1, 3)), expected)


def test_what_is_assigned_in_a_scope_stays_in_it():
    variable, other = keras.Variable(1.0), keras.Variable(5.0)
    with StatelessScope([(variable, 3.0)]) as scope:
        variable.assign_add(1.0)
        other.assign(7.0)
        assert float(variable * 2) == 8.0
        assert float(scope.get_current_value(other)) == 7.0
    assert (float(variable), float(other)) == (1.0, 5.0)
    assert float(scope.get_current_value(variable)) == 4.0
    assert scope.get_current_value(keras.Variable(0.0)) is None


def test_a_scope_ends_when_its_block_fails():
    variable = keras.Variable(1.0)
    with pytest.raises(KeyError), StatelessScope([(variable, 3.0)]):
        raise KeyError
    variable.assign(2.0)
    assert float(variable) == 2.0


def test_a_scope_takes_variables_alone_and_none_of_an_optimizer():
    with pytest.raises(ValueError, match="maps variables to values"):
        StatelessScope([(torch.ones(1), 1.0)])
    optimizer = optimizers.Adam()
    optimizer.build([keras.Variable(1.0)])
    with (
        pytest.raises(ValueError, match="stateless_apply"),
        StatelessScope([(optimizer.variables[-1], 1.0)]),
    ):
        pass


def test_an_update_of_values_is_that_of_the_optimizer():
    layer = layers.Dense(1, kernel_constraint="non_neg")
    layer.build((None, 2))
    optimizer = optimizers.Adam(0.5)
    optimizer.build(layer.trainable_variables)
    gradients = [torch.ones(2, 1), torch.ones(1)]
    weights = [v.numpy() for v in layer.trainable_variables]
    state = [v.value.clone() for v in optimizer.variables]
    found = optimizer.stateless_apply(state, gradients, weights)
    assert [v.numpy().tolist() for v in layer.trainable_variables] == [w.tolist() for w in weights]
    assert int(optimizer.iterations) == 0
    again = optimizer.stateless_apply(found[1], gradients, found[0])
    optimizer.apply(gradients, layer.trainable_variables)
    optimizer.apply(gradients, layer.trainable_variables)
    expected = (
        [v.value for v in layer.trainable_variables],
        [v.value for v in optimizer.variables],
    )
    for one, other in zip(again, expected):
        assert all(map(torch.equal, one, other))


def test_an_update_needs_a_value_for_everything():
    optimizer = optimizers.SGD()
    with pytest.raises(ValueError, match="needs a built optimizer"):
        optimizer.stateless_apply([], [], [])
    optimizer.build([keras.Variable(1.0)])
    with pytest.raises(ValueError, match="needs 1 values"):
        optimizer.stateless_apply([], [], [])
    with pytest.raises(ValueError, match="not supported with torch.optim"):
        optimizers.get(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.1)).stateless_apply()


def test_a_metric_of_values_leaves_the_metric_alone():
    metric = metrics.Mean()
    metric.update_state([100.0])
    state = metric.stateless_reset_state()
    assert [float(one) for one in state] == [0.0, 0.0]
    state = metric.stateless_update_state(state, [1.0, 3.0])
    state = metric.stateless_update_state(state, [5.0])
    assert float(metric.stateless_result(state)) == 3.0
    assert float(metric.result()) == 100.0
    with pytest.raises(ValueError, match="has 2 variables; received 0"):
        metric.stateless_result([])


def test_the_loss_of_values():
    model, x = _model()
    model.compile("sgd", "mse")
    y = torch.ones(8, 1)
    values = [v.value * 0 for v in model.trainable_variables]
    fixed = [v.value for v in model.non_trainable_variables]
    y_pred, fixed = model.stateless_call(values, fixed, x)
    kept = [v.value for v in model.metrics_variables]
    loss, (_, after, _) = model.stateless_compute_loss(values, fixed, kept, x, y, y_pred)
    assert float(loss) == 1.0 and len(after) == len(fixed)
