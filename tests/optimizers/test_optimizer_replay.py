"""An update is a list of torch calls: recorded once and replayed, it goes on bit for bit."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from torchkeras import optimizers

CASES = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "clipnorm": 0.5}),
    ("Adam", {"clipvalue": 0.1}),
    ("AdamW", {"global_clipnorm": 0.5}),
    ("Adagrad", {}),
    ("Adadelta", {}),
    ("Adamax", {}),
    ("Nadam", {}),
]


class Recorder(TorchDispatchMode):
    """Keeps every aten call with the tensors that went in and came out."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, results))
        return results


def made_inside(calls):
    """Yield the tensors that the calls produced, without those written in place."""
    for _, args, kwargs, results in calls:
        inputs = {id(item) for item in tree_flatten((args, kwargs))[0]}
        for item in tree_flatten(results)[0]:
            if isinstance(item, torch.Tensor) and id(item) not in inputs:
                yield item


def replay(calls):
    """Run the calls again, each on the results of this run in the place of the recorded ones."""
    fresh = {}

    def now(tensor):
        return fresh.get(id(tensor), tensor)

    with torch.no_grad():
        for function, args, kwargs, recorded in calls:
            results = function(
                *tree_map_only(torch.Tensor, now, args), **tree_map_only(torch.Tensor, now, kwargs)
            )
            for old, new in zip(tree_flatten(recorded)[0], tree_flatten(results)[0]):
                if isinstance(old, torch.Tensor):
                    fresh[id(old)] = new


def build(name, options):
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(5, 3)), nn.Parameter(torch.randn(5))]
    optimizer = getattr(optimizers, name)(learning_rate=0.05, **options)
    optimizer.build(parameters)
    return optimizer, parameters


@pytest.mark.parametrize(("name", "options"), CASES)
def test_replayed_updates_equal_eager_ones(name, options):
    eager, eager_parameters = build(name, options)
    captured, captured_parameters = build(name, options)
    gradients = [torch.zeros_like(p, requires_grad=False) for p in eager_parameters]
    torch.manual_seed(1)
    recorder = Recorder()
    for step in range(20):
        for gradient in gradients:
            gradient.normal_()
        if step == 12:
            eager.learning_rate = captured.learning_rate = 0.005
        eager.update(gradients)
        if step == 0:
            with recorder:
                captured.update(gradients)
        else:
            replay(recorder.calls)
        for left, right in zip(eager_parameters, captured_parameters):
            assert torch.equal(left, right), step
    assert int(captured.iterations) == 20


@pytest.mark.parametrize(("name", "options"), CASES)
def test_no_number_leaves_a_tensor_and_all_tensors_are_known(name, options):
    optimizer, parameters = build(name, options)
    gradients = [torch.ones_like(p) for p in parameters]
    recorder = Recorder()
    with recorder:
        optimizer.update(gradients)
    called = {function.name() for function, *_ in recorder.calls}
    assert "aten::_local_scalar_dense" not in called
    assert not any("lift" in name for name in called)
    known = {id(t) for t in (*optimizer.tensors(), *parameters, *gradients)}
    known |= {id(t) for t in made_inside(recorder.calls)}
    used = tree_flatten([(args, kwargs) for _, args, kwargs, _ in recorder.calls])[0]
    assert all(id(item) in known for item in used if isinstance(item, torch.Tensor))
