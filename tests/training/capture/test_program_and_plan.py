"""Recording, the rules without a pattern, planned memory and the replayed function."""

import pytest
import torch

from torchkeras.training.capture.operators import out_variant, quick
from torchkeras.training.capture.plan import plan, realise
from torchkeras.training.capture.program import aten
from torchkeras.training.capture.record import record
from torchkeras.training.capture.replay import Replay
from torchkeras.training.capture.rewrite import rewrite
from torchkeras.training.capture.rules import gradients, simplify


def recorded(step, *inputs, known=()):
    """The record of a step on inputs."""
    return record(step, inputs, known)[1]


def names(program):
    return [str(call.op).removeprefix("aten.") for call in program.calls]


def test_a_replay_computes_on_new_inputs_and_moves_the_state():
    weight, count = torch.randn(3, 4), torch.zeros(())

    def step(x):
        count.add_(1)
        return (torch.relu(x @ weight).sum(1) + count,)

    replay = Replay(recorded(step, torch.randn(5, 3), known=(weight, count)).program)
    x = torch.randn(5, 3)
    expected = torch.relu(x @ weight).sum(1) + 2
    torch.testing.assert_close(replay(x)[0], expected, rtol=0, atol=0)
    assert count.item() == 2


def test_results_are_new_memory_at_every_step():
    replay = Replay(recorded(lambda x: (x * 2,), torch.ones(3)).program)
    first = replay(torch.ones(3))[0]
    replay(torch.full((3,), 5.0))
    assert first.tolist() == [2, 2, 2]


def test_intermediate_values_live_in_memory_made_once():
    weight = torch.randn(4, 4)

    def step(x):
        return ((x @ weight).sigmoid() @ weight,)

    program = recorded(step, torch.randn(2, 4), known=(weight,)).program
    replay = Replay(program)
    assert "out=" in replay.source
    assert replay.nbytes == 2 * 4 * 4  # sigmoid takes the product's place


def test_memory_is_shared_by_values_that_do_not_live_at_one_time():
    def step(x):
        for _ in range(6):
            x = x.cumsum(0).mm(x.t()).mm(x)
        return (x.sum(),)

    program = recorded(step, torch.randn(8, 8) / 9).program
    blocks = plan(program)
    nbytes = realise(blocks)
    assert len(blocks) > 6
    assert nbytes <= 3 * 8 * 8 * 4


def test_a_value_that_is_used_later_keeps_its_memory():
    def step(x):
        first = x.exp()
        second = first.exp()
        return (first + second, second * 2)

    program = recorded(step, torch.ones(4)).program
    x = torch.rand(4)
    expected = step(x)
    for got, wanted in zip(Replay(program)(x), expected):
        assert torch.equal(got, wanted)


def test_views_of_state_are_bound_once_and_follow_its_values():
    weight = torch.randn(3, 4)
    program = recorded(lambda x: (x @ weight.t(),), torch.randn(2, 4), known=(weight,)).program
    replay = Replay(program)
    assert replay.calls == 1
    weight.mul_(2)
    x = torch.randn(2, 4)
    assert torch.equal(replay(x)[0], x @ weight.t())


def test_views_may_be_left_in_the_list():
    weight = torch.nn.Parameter(torch.randn(3, 4))
    record_ = recorded(lambda x: (x @ weight.t(),), torch.randn(2, 4), known=(weight,))
    replay = Replay(record_.program, bind_views=False)
    weight.data = torch.randn(3, 4)  # other memory
    x = torch.randn(2, 4)
    assert torch.equal(replay(x)[0], x @ weight.t())


def test_aliases_and_dead_calls_go():
    def step(x):
        x.exp()  # nobody needs it
        return (x.detach().clone().detach() + 1,)

    program = recorded(step, torch.ones(2)).program
    assert simplify.drop_aliases(program) == 2
    assert program.drop_dead() == 1
    assert names(program) == ["clone.default", "add.Tensor"]


def test_dead_random_calls_stay_so_that_the_stream_is_the_same():
    program = recorded(lambda x: (torch.rand(3), x + 1)[1:], torch.ones(2)).program
    program.drop_dead()
    assert names(program) == ["rand.default", "add.Tensor"]


def test_constants_are_computed_once():
    def step(x):
        return (x * (torch.ones(3) / 4).expand(2, 3),)

    program = recorded(step, torch.ones(2, 3)).program
    assert simplify.fold_constants(program) >= 3  # the ones, the quotient, the expanded view
    assert names(program) == ["mul.Tensor"]
    assert Replay(program)(torch.ones(2, 3))[0].tolist() == [[0.25] * 3] * 2


def test_a_tensor_that_is_written_is_no_constant():
    def step(x):
        total = torch.zeros(3)
        total.add_(x)
        return (total * 2,)

    program = recorded(step, torch.ones(3)).program
    assert simplify.fold_constants(program) == 0
    replay = Replay(program)
    replay(torch.ones(3))
    assert replay(torch.ones(3))[0].tolist() == [2, 2, 2]


def test_running_statistics_are_writes_although_the_schema_hides_it():
    def step(x):
        mean, variance = torch.zeros(2, 3).unbind()
        torch.batch_norm(x, None, None, mean, variance, True, 1.0, 1e-3, False)
        return (mean + 0, variance * 2)

    program = recorded(step, torch.randn(4, 3)).program
    rewrite(program)
    x = torch.randn(4, 3)
    mean, variance = Replay(program)(x)
    torch.testing.assert_close(mean, x.mean(0))
    torch.testing.assert_close(variance, 2 * x.var(0))


def test_relu_overwrites_an_input_that_nobody_needs():
    program = recorded(lambda x: (torch.relu(x.cumsum(0)).sum(),), torch.randn(3)).program
    assert simplify.compute_in_place(program) == 1
    assert names(program)[1] == "relu_.default"
    x = torch.randn(5)
    assert torch.equal(Replay(program)(x)[0], torch.relu(x.cumsum(0)).sum())


@pytest.mark.parametrize(
    "step",
    [
        lambda x: (torch.relu(x),),  # the batch
        lambda x: (lambda z: (torch.relu(z) + z,))(x * 2),  # used later
        lambda x: (lambda z: (torch.relu(z), z))(x * 2),  # returned
        lambda x: (lambda z: (torch.relu(z) + z.view(-1),))(x * 2),  # a view is used later
    ],
)
def test_relu_leaves_an_input_that_is_needed(step):
    x = torch.randn(4)
    program = recorded(step, x).program
    assert simplify.compute_in_place(program) == 0
    for got, wanted in zip(Replay(program)(x), step(x)):
        assert torch.equal(got, wanted)


def test_gradients_are_written_where_the_optimizer_reads_them():
    flat = torch.zeros(32)
    places = [flat[:12].view(3, 4), flat[16:19]]

    def step(x, dz):
        torch._foreach_copy_(places, [(x.t() @ dz).t().t(), dz.sum(0, keepdim=True).view(-1)[:3]])
        return (flat.sum(),)

    x, dz = torch.randn(5, 3), torch.randn(5, 4)
    program = recorded(step, x, dz, known=(flat, *places)).program
    simplify.drop_aliases(program)
    assert gradients.write_gradients_in_place(program) == 1  # the sliced sum is no whole result
    flat.zero_()
    Replay(program)(x, dz)
    assert torch.equal(places[0], x.t() @ dz)
    assert torch.equal(places[1], dz.sum(0)[:3])


def test_a_gradient_that_is_used_elsewhere_is_copied():
    place = torch.zeros(3)

    def step(x):
        gradient = x.sum(0)
        torch._foreach_copy_([place], [gradient])
        return (gradient * 2,)

    program = recorded(step, torch.randn(2, 3), known=(place,)).program
    assert gradients.write_gradients_in_place(program) == 0


def test_only_kernels_that_write_into_given_memory_count_as_such():
    assert out_variant(aten.mm.default, "cpu")[0] is aten.mm.out
    assert out_variant(aten.threshold_backward.default, "cpu")[1] == ("grad_input",)
    assert out_variant(aten.relu.default, "cpu") is None  # torch would compute and copy
    assert out_variant(aten.convolution.default, "cpu") is None
    assert out_variant(aten.add_.Tensor, "cpu") is None
    assert out_variant(aten.mm.default, "privateuseone") is None


@pytest.mark.parametrize("reduction", [0, 1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_crossentropy_of_nan_is_nan_and_no_error(reduction, weighted):
    compute = quick(aten.binary_cross_entropy.default)
    p, y = torch.tensor([0.2, 0.7]), torch.tensor([0.0, 1.0])
    weight = torch.tensor([2.0, 3.0]) if weighted else None
    expected = aten.binary_cross_entropy(p, y, weight, reduction)
    torch.testing.assert_close(compute(p, y, weight, reduction), expected)
    result = compute(torch.tensor([0.2, float("nan")]), y, weight, reduction)
    assert result.isnan().any()
    with pytest.raises(RuntimeError):
        compute(torch.tensor([0.2, 1.5]), y, weight, reduction)


def test_two_records_of_one_step_are_equal_and_of_another_are_not():
    x = torch.ones(3)
    rates = iter([0.5, 0.5, 0.25])

    def step(x):
        return (x * next(rates),)

    first, second, third = (recorded(step, x) for _ in range(3))
    assert first.difference(second) is None
    assert "mul" in second.difference(third)
    longer = recorded(lambda x: (x * 0.5 + 1,), x)
    assert "calls" in first.difference(longer)


def test_equal_constants_from_outside_are_equal_records_and_others_are_not():
    x = torch.ones(3)
    values = iter([2.0, 2.0, 3.0])

    def step(x):
        return (x * torch.tensor([next(values)] * 3),)

    first, second, third = (recorded(step, x) for _ in range(3))
    assert len(first.loose) == 1
    assert first.difference(second) is None
    assert second.difference(third) is not None
