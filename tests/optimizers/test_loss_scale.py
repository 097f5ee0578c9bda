"""LossScaleOptimizer."""

import copy
import pickle

import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import config, layers
from torchkeras.optimizers import SGD, Adam, LossScaleOptimizer, get


def built(inner=None, **kwargs):
    optimizer = LossScaleOptimizer(inner or SGD(0.5), **kwargs)
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer.build([parameter])
    return optimizer, parameter


def test_a_step_divides_the_gradient_and_a_bad_one_moves_nothing():
    optimizer, parameter = built(Adam(0.1), initial_scale=8.0, dynamic_growth_steps=2)
    assert float(optimizer.scale_loss(torch.tensor(0.5))) == 4.0
    optimizer.update([torch.full((3,), 8.0)])
    moved = parameter.detach().clone()
    np.testing.assert_allclose(moved, 0.9, rtol=1e-5)
    state = [tensor.clone() for tensor in optimizer.inner_optimizer._held()]
    for bad in (float("inf"), float("nan"), -float("inf")):
        optimizer.update([torch.tensor([1.0, bad, 0.0])])
    assert torch.equal(parameter, moved)
    pairs = zip(state, optimizer.inner_optimizer._held(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert float(optimizer.dynamic_scale) == 1.0 and int(optimizer.iterations) == 1
    for scale, counter in ((1.0, 1), (2.0, 0), (2.0, 1), (4.0, 0)):
        optimizer.update([torch.ones(3)])
        assert (float(optimizer.dynamic_scale), int(optimizer.step_counter)) == (scale, counter)


def test_a_loss_in_half_precision_does_not_overflow():
    optimizer, _ = built()
    scaled = optimizer.scale_loss(torch.tensor(8.0, dtype=torch.float16))
    assert scaled.dtype is torch.float32 and float(scaled) == 2.0**18
    loss = torch.ones((), dtype=torch.float64)
    assert optimizer.scale_loss(loss).dtype is torch.float64


def test_missing_and_empty_gradients():
    optimizer = LossScaleOptimizer(SGD(1.0), initial_scale=2.0)
    parameters = [torch.nn.Parameter(torch.ones(size)) for size in (2, 0, 1)]
    optimizer.build(parameters)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.update([torch.full((2,), 2.0), torch.ones(0), None])
    assert parameters[0].tolist() == [0.0, 0.0] and parameters[2].tolist() == [1.0]
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizer.update([None, None, None])
    with pytest.raises(ValueError, match="received 1 gradients, but it was built with 3"):
        optimizer.update([None])


def test_it_stands_for_the_optimizer_inside():
    inner = SGD(0.5, momentum=0.9)
    optimizer, parameter = built(inner)
    optimizer.learning_rate = 0.25
    assert float(inner.learning_rate) == 0.25
    optimizer.param_groups[0]["lr"] = 0.125
    assert float(optimizer.lr) == 0.125
    assert optimizer.state is inner.state
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    parameter.grad = torch.ones(3) * 2.0**15
    optimizer.step()
    schedule.step()
    assert float(inner.learning_rate) == 0.0625
    assert parameter.tolist() == [0.875] * 3
    optimizer.zero_grad()
    assert parameter.grad is None


def test_hooks_of_the_optimizer_inside_are_called_where_it_steps():
    optimizer, _ = built()
    calls = []
    optimizer.inner_optimizer.register_step_post_hook(lambda *_: calls.append("inner"))
    optimizer.register_step_post_hook(lambda *_: calls.append("outer"))
    optimizer.update([torch.ones(3)])
    optimizer.update([torch.full((3,), float("nan"))])
    assert calls == ["inner", "outer", "outer"]


def test_constraints_apply_once_the_weight_moves():
    layer = layers.Layer()
    weight = layer.add_weight((2,), "ones", constraint=lambda w: w * 0.5)
    optimizer = LossScaleOptimizer(SGD(0.0), initial_scale=1.0)
    optimizer.apply([torch.ones(2)], [weight])
    assert weight.numpy().tolist() == [0.5, 0.5]
    optimizer.apply([torch.tensor([np.inf, 0.0])], [weight])
    assert weight.numpy().tolist() == [0.5, 0.5]


def test_state_comes_back():
    optimizer, _ = built(Adam(0.1), dynamic_growth_steps=3)
    for _ in range(4):
        optimizer.update([torch.ones(3)])
    other, _ = built(Adam(0.1), dynamic_growth_steps=3)
    other.load_state_dict(optimizer.state_dict())
    third, _ = built(Adam(0.1), dynamic_growth_steps=3)
    third.set_weights(optimizer.get_weights())
    for found in (other, third, copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert float(found.dynamic_scale) == 2.0**16 and int(found.step_counter) == 1
        assert int(found.iterations) == 4
        for mine, theirs in zip(found.variables, optimizer.variables, strict=True):
            assert np.array_equal(mine.numpy(), theirs.numpy())
    with pytest.raises(ValueError, match="lacks.*another optimizer's"):
        other.load_state_dict({"state": {}, "param_groups": []})


def test_names():
    for name in ("LossScaleOptimizer", "lossscaleoptimizer"):
        config_of = {"class_name": name, "config": {"inner_optimizer": _serialized(SGD(0.5))}}
        assert isinstance(get(config_of).inner_optimizer, SGD)
    wrapped = LossScaleOptimizer(torch.optim.SGD)
    parameter = torch.nn.Parameter(torch.ones(1))
    wrapped.build([parameter])
    wrapped.learning_rate = 1.0
    wrapped.update([torch.full((1,), 2.0**15)])
    assert parameter.tolist() == [0.0]


def _serialized(optimizer):
    return torchkeras.optimizers.serialize(optimizer)


def test_bad_arguments():
    with pytest.raises(
        TypeError, match="inner_optimizer must be an optimizer.*received one of type str"
    ):
        LossScaleOptimizer("adam")
    with pytest.raises(TypeError, match="inner_optimizer"):
        LossScaleOptimizer(LossScaleOptimizer(SGD()))
    with pytest.raises(ValueError, match="initial_scale must be a number above 0; received 0"):
        LossScaleOptimizer(SGD(), initial_scale=0)
    with pytest.raises(ValueError, match="dynamic_growth_steps must be a whole number above 0"):
        LossScaleOptimizer(SGD(), dynamic_growth_steps=1.5)
    with pytest.raises(ValueError, match="clipnorm=1.0: give it to inner_optimizer"):
        LossScaleOptimizer(SGD(), clipnorm=1.0)
    with pytest.raises(ValueError, match="dynamic=False"):
        LossScaleOptimizer(SGD(), dynamic=False)
    with pytest.raises(ValueError, match="'foo'"):
        LossScaleOptimizer(SGD(), foo=1)
    assert LossScaleOptimizer(SGD(), clipnorm=None, ema_momentum=0.99, dynamic=True).name


@pytest.mark.parametrize("scale", [2.0**15, 2.0**40])
def test_fit_recovers_from_a_factor_that_is_too_large(scale):
    config.set_dtype_policy("mixed_float16")
    model = torchkeras.Sequential([layers.Input((4,)), layers.Dense(8), layers.Dense(1)])
    model.compile(LossScaleOptimizer(SGD(0.05), initial_scale=scale), "mse")
    x = np.random.rand(64, 4)
    history = model.fit(x, x.sum(1, keepdims=True), epochs=20, batch_size=8, verbose=0).history
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    skipped = 160 - int(model.optimizer.iterations)
    assert float(model.optimizer.dynamic_scale) == scale / 2**skipped < 2.0**16
    assert skipped >= np.log2(scale) - 16
