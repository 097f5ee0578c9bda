"""Recording keeps nothing alive, and takes no tensor for a dead one that lay at its address."""

import gc
import weakref

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from torchkeras.layers import Dense, Layer
from torchkeras.models import Sequential
from torchkeras.training.capture.program import aten
from torchkeras.training.capture.record import record
from torchkeras.training.capture.replay import Replay


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that calls have made and that live.

    Args:
        others: tensors that were there before.
    """

    def __init__(self, *others):
        super().__init__()
        self.now = self.peak = 0
        self.others = {tensor.untyped_storage() for tensor in others}
        self.storages = {}

    @classmethod
    def _should_skip_dynamo(cls):
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunction():
            for tensor in out if isinstance(out, (list, tuple)) else [out]:
                if isinstance(tensor, torch.Tensor):
                    self.note(tensor.untyped_storage())
        return out

    def note(self, storage):
        key, nbytes = id(storage), storage.nbytes()
        if key in self.storages or storage in self.others:
            return

        def gone(_):
            del self.storages[key]
            self.now -= nbytes

        self.storages[key] = weakref.ref(storage, gone)
        self.now += nbytes
        self.peak = max(self.peak, self.now)


class Net:
    """A deep net whose training step moves its weights by SGD."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.weights = [
            (torch.randn(16, 16, generator=generator) / 4).requires_grad_() for _ in range(6)
        ]

    def step(self, x):
        for index, weight in enumerate(self.weights):
            x = x @ weight
            x = torch.sigmoid(x) if index % 2 else torch.relu(x) + x
        loss = x.square().mean()
        with torch.no_grad():
            for weight, gradient in zip(self.weights, torch.autograd.grad(loss, self.weights)):
                weight.sub_(gradient * 0.1)
        return (loss.detach(),)


def call_of(program, op, index=0):
    return [call for call in program.calls if call.op is op][index]


# ------------------------------------------------------------------------------ what stays alive


def test_a_recorded_step_takes_as_much_memory_as_an_eager_one():
    net, x = Net(), torch.randn(32, 16)
    net.step(x)
    with LiveBytes(x, *net.weights) as eager:
        net.step(x)
    with LiveBytes(x, *net.weights) as recorded:
        record(net.step, (x,), net.weights)
    assert eager.peak > 12 * x.nbytes
    assert recorded.peak == eager.peak


def test_a_record_holds_no_memory_that_the_step_made():
    net, x = Net(), torch.randn(32, 16)
    with LiveBytes(x, *net.weights) as live:
        results, found = record(net.step, (x,), net.weights)
    assert live.now == results[0].nbytes
    del results
    assert live.now == 0
    assert len(found.program.calls) > 30


def test_a_record_that_is_dropped_leaves_no_cycle():
    x = torch.randn(4, 16)
    gc.collect()
    gc.disable()
    try:
        net = Net()
        ref = weakref.ref(net.weights[0])
        found = record(net.step, (x,), net.weights)
        del net, found
        assert ref() is None
    finally:
        gc.enable()


def test_what_a_users_layer_lets_go_is_gone_while_fit_records():
    made, seen = [], []

    class Maker(Layer):
        def call(self, x):
            doubled = x * 2
            made.append(weakref.ref(doubled))
            return doubled + 1

    class Looker(Layer):
        def call(self, x):
            recorded = torch._C._len_torch_dispatch_stack() > 0
            seen.append((recorded, sum(ref() is not None for ref in made)))
            return x

    model = Sequential([Dense(3, input_dim=4), Maker(), Looker(), Dense(1)])
    model.compile("adam", "mse")
    model.fit(np.ones((24, 4), "float32"), np.ones(24, "float32"), batch_size=8, verbose=0)
    assert (True, 0) in seen
    assert {alive for _, alive in seen} == {0}


# -------------------------------------------------------------------------- addresses used again


def test_tensors_at_one_address_in_turns_are_values_of_their_own():
    turns = 100
    addresses, storages, places = [], [], []

    def step(x):
        total = x.sum()
        for index in range(turns):
            y = x + index
            with torch._C.DisableTorchFunction():
                addresses.append(id(y))
                storages.append(y.untyped_storage()._cdata)
                places.append(y.data_ptr())
            total = total * 0.5 + y.square().sum()
            del y
        return (total,)

    program = record(step, (torch.randn(64, 64),), ())[1].program
    # What is tested does happen: all three kinds of address come back.
    assert max(len(set(addresses)), len(set(storages)), len(set(places))) < turns
    sums = [call.out for call in program.calls if call.op is aten.add.Tensor][::2]
    assert len(sums) == len({value.memory for value in sums}) == turns
    made = [call.out for call in program.calls]
    assert len(made) == len(set(made)) == len({value.memory for value in made})
    x = torch.randn(64, 64)
    assert torch.equal(Replay(program)(x)[0], step(x)[0])


def test_a_tensor_from_outside_at_the_address_of_a_dead_one_is_a_constant():
    reused = []

    def step(x):
        dead, others = set(), []
        for _ in range(100):
            y = x + 1
            dead.add(id(y))
            del y
            with torch._C._DisableTorchDispatch():
                outside = torch.full((4,), 3.0)  # unseen: as good as from outside
            if id(outside) in dead:
                reused.append(True)
                break
            others.append(outside)  # so that the next lies elsewhere
        return (x * outside,)

    found = record(step, (torch.ones(4),), ())[1]
    assert reused
    (constant,) = found.loose
    assert torch.equal(constant.tensor, torch.full((4,), 3.0))
    assert torch.equal(Replay(found.program)(torch.full((4,), 2.0))[0], torch.full((4,), 6.0))


def test_a_view_keeps_the_memory_of_a_tensor_that_is_gone():
    def step(x):
        whole = x + 1
        row, rest = whole[0], whole[1:]
        del whole
        row.mul_(3)
        new = x * 5  # could lie where the whole lay, were it not for the views
        return (torch.cat([rest.sum(0), row, new[0]]),)

    program = record(step, (torch.randn(3, 4),), ())[1].program
    whole, row = call_of(program, aten.add.Tensor).out, call_of(program, aten.mul_.Tensor).out
    assert row.memory is whole.memory
    assert call_of(program, aten.mul.Tensor).out.memory is not whole.memory
    x = torch.randn(3, 4)
    assert torch.equal(Replay(program)(x)[0], step(x)[0])


def test_a_tensor_that_only_autograd_holds_stays_the_same_value():
    weight = torch.randn(4, 4, requires_grad=True)

    def step(x):
        hidden = x @ weight
        middle = hidden.t()
        out = (middle.sigmoid() * middle).sum()
        del hidden, middle
        for _ in range(8):  # what could take the place
            x = x + 1
        return (*torch.autograd.grad(out, [weight]), x)

    found = record(step, (torch.randn(4, 4),), (weight,))[1]
    assert found.hazards == [] and found.loose == []
    hidden = call_of(found.program, aten.mm.default).out
    middle = call_of(found.program, aten.t.default).out
    assert middle.memory is hidden.memory
    assert middle in [value for call in found.program.calls[-12:] for value in call.inputs()]
    x = torch.randn(4, 4)
    for got, wanted in zip(Replay(found.program)(x), step(x)):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_steps_of_much_turnover_replay_as_they_run():
    net, other = Net(), Net()
    x = torch.randn(32, 16)
    program = record(net.step, (x,), net.weights)[1].program
    other.step(x)
    replay = Replay(program)
    for seed in range(5):
        x = torch.randn(32, 16, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(replay(x)[0], other.step(x)[0])
    for one, two in zip(net.weights, other.weights):
        assert torch.equal(one, two)


# ------------------------------------------------------------------------------- changed layouts


@pytest.mark.parametrize("is_used_before", [True, False])
def test_a_state_whose_shape_is_changed_in_place_is_not_replayed(is_used_before):
    state = torch.randn(3, 3)

    def step(x):
        if is_used_before:
            x = x + state
        state.t_()
        return (x + state,)

    hazards = record(step, (torch.ones(3, 3),), (state,))[1].hazards
    assert any("shape of a tensor from outside is changed" in hazard for hazard in hazards)


def test_an_intermediate_whose_shape_is_changed_twice_has_each_layout():
    def step(x):
        y = x + 1
        y.unsqueeze_(0)
        z = y * 2
        y.squeeze_().t_()
        return (y + 0.5, z)

    found = record(step, (torch.randn(2, 3),), ())[1]
    assert found.hazards == []
    x = torch.randn(2, 3)
    for got, wanted in zip(Replay(found.program)(x), step(x)):
        assert got.shape == wanted.shape and torch.equal(got, wanted)
