"""torch.optim classes, partials and instances, driven as Keras optimizers."""

import copy
import functools
import pickle
import types

import pytest
import torch
from torch import nn

from torchkeras import optimizers
from torchkeras.variable import TRANSPOSE, Variable, Weight


def parameters():
    torch.manual_seed(3)
    return [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(4))]


def gradients(seed=0):
    torch.manual_seed(seed)
    return [torch.randn(4, 3), torch.randn(4)]


@pytest.mark.parametrize(
    "identifier",
    [
        torch.optim.Adam,
        torch.optim.SGD,
        torch.optim.NAdam,
        functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        functools.partial(torch.optim.Adam, lr=0.1, amsgrad=True),
        functools.partial(torch.optim.Adam, fused=True),
    ],
)
def test_a_class_or_partial_follows_torch_s_rule(identifier):
    optimizer = optimizers.get(identifier)
    assert isinstance(optimizer, optimizers.TorchOptimizer)
    assert isinstance(optimizer, torch.optim.Optimizer)
    built, plain = parameters(), parameters()
    optimizer.build(built)
    reference = identifier(plain)
    for seed in range(3):
        optimizer.update(gradients(seed))
        for weight, gradient in zip(plain, gradients(seed)):
            weight.grad = gradient
        reference.step()
    for left, right in zip(built, plain):
        assert torch.equal(left, right)
        assert left.grad is None
    assert int(optimizer.iterations) == 3


def test_an_instance_keeps_its_groups_and_moves_only_its_own():
    first, second = parameters()
    inner = torch.optim.SGD([{"params": [first], "lr": 0.5}], lr=0.1)
    optimizer = optimizers.get(inner)
    optimizer.build([first, second])
    before = [first.detach().clone(), second.detach().clone()]
    optimizer.update([torch.ones(4, 3), torch.ones(4)])
    assert torch.allclose(first.detach(), before[0] - 0.5)
    assert torch.equal(second.detach(), before[1])
    assert optimizer.param_groups is inner.param_groups


def test_an_instance_of_another_model_is_refused():
    optimizer = optimizers.get(torch.optim.SGD(parameters(), lr=0.1))
    with pytest.raises(ValueError, match="SGD given to compile holds none of the model's"):
        optimizer.build(parameters())


def test_learning_rate():
    optimizer = optimizers.get(functools.partial(torch.optim.SGD, lr=0.1))
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    optimizer.learning_rate = 0.2
    weight = nn.Parameter(torch.zeros(1))
    optimizer.build([weight])
    optimizer.update([torch.ones(1)])
    assert weight.item() == pytest.approx(-0.2)
    optimizer.learning_rate.assign(0.3)
    optimizer.learning_rate.assign_sub(0.1)
    assert optimizer.inner.param_groups[0]["lr"] == pytest.approx(0.2)
    optimizer.learning_rate.assign_add(0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    optimizer.update([torch.ones(1)])
    scheduler.step()
    assert float(optimizer.lr) == pytest.approx(0.15)
    tensor = torch.tensor(0.1)
    optimizer = optimizers.get(functools.partial(torch.optim.SGD, lr=tensor))
    optimizer.build([weight])
    optimizer.learning_rate = 0.4
    assert tensor.item() == pytest.approx(0.4)


def test_step_with_gradients_left_by_backward():
    optimizer = optimizers.get(functools.partial(torch.optim.SGD, lr=0.1))
    weight = nn.Parameter(torch.zeros(1))
    optimizer.build([weight])
    (weight * 2).sum().backward()
    optimizer.step()
    assert weight.item() == pytest.approx(-0.2)
    optimizer.zero_grad()
    assert weight.grad is None


def test_constraints_and_keras_layout():
    weight = nn.Parameter(torch.zeros(4, 3))
    owner = types.SimpleNamespace(weight=weight, trainable=True)
    row = Weight("kernel", "weight", TRANSPOSE, constraint=lambda value: value.clamp(min=-0.5))
    kernel = Variable.of(owner, row)
    optimizer = optimizers.get(functools.partial(torch.optim.SGD, lr=0.1))
    gradient = torch.arange(12.0).reshape(3, 4)
    optimizer.apply([gradient], [kernel])
    assert torch.allclose(weight.detach(), (-0.1 * gradient).clamp(min=-0.5).t())


def test_building_again_adds_the_new_parameters():
    first, second = parameters()
    optimizer = optimizers.get(torch.optim.Adam)
    optimizer.build([first])
    optimizer.update(gradients()[:1])
    optimizer.build([first, second])
    optimizer.update(gradients(1))
    assert optimizer.state[first]["step"].item() == 2
    assert optimizer.state[second]["step"].item() == 1


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_keeps_parameters_shared_and_goes_on_the_same(copier):
    built = parameters()
    optimizer = optimizers.get(functools.partial(torch.optim.Adam, lr=0.1))
    optimizer.build(built)
    optimizer.update(gradients())
    built_2, optimizer_2 = copier((built, optimizer))
    for one in (optimizer, optimizer_2):
        one.update(gradients(1))
    for left, right in zip(built, built_2):
        assert torch.equal(left, right)
    assert int(optimizer_2.iterations) == 2


def test_state_dict_is_the_inner_one_s():
    optimizer = optimizers.get(torch.optim.Adam)
    with pytest.raises(ValueError, match="has no parameters yet"):
        optimizer.state_dict()
    optimizer.build(parameters())
    optimizer.update(gradients())
    other = optimizers.get(torch.optim.Adam)
    with pytest.raises(ValueError, match="has no parameters yet"):
        other.load_state_dict(optimizer.state_dict())
    other.build(parameters())
    other.load_state_dict(optimizer.state_dict())
    assert int(other.state_dict()["state"][0]["step"]) == 1


def test_config():
    optimizer = optimizers.get(functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9))
    optimizer.learning_rate = 0.5
    again = optimizers.get(optimizers.serialize(optimizer))
    again.build(parameters())
    assert again.inner.param_groups[0]["momentum"] == 0.9
    assert float(again.learning_rate) == 0.5
    assert again.get_config()["optimizer"] == "SGD"

    class Mine(torch.optim.SGD):
        pass

    with pytest.raises(TypeError, match="Mine is not one of torch.optim's"):
        optimizers.get(Mine).get_config()
    with pytest.raises(ValueError, match="no optimizer 'Optimiser'"):
        optimizers.TorchOptimizer.from_config({"optimizer": "Optimiser", "options": {}})


def test_what_it_does_not_take():
    with pytest.raises(TypeError, match="TorchOptimizer takes a torch.optim.Optimizer class"):
        optimizers.TorchOptimizer(optimizers.Adam)
    with pytest.raises(ValueError, match="LBFGS evaluates the loss several times"):
        optimizers.get(torch.optim.LBFGS)
