"""Numbers in calls: handed over as tensors, merged, left out where they change nothing."""

import pytest
import torch

from torchkeras.training.capture.record import record
from torchkeras.training.capture.replay import Replay
from torchkeras.training.capture.rules import scalars, simplify


def program_of(step, *inputs, known=()):
    program = record(step, inputs, known)[1].program
    simplify.drop_aliases(program)
    simplify.fold_constants(program)
    return program


def names(program):
    return [call.op._schema.name.removeprefix("aten::") for call in program.calls]


def check(rule, step, x, count):
    """Apply a rule so many times; the numbers stay what they were."""
    program = program_of(step, x)
    assert rule(program) == count
    left = names(program)
    x = torch.randn_like(x) if x.is_floating_point() else x + 3
    for got, wanted in zip(Replay(program)(x.clone()), step(x.clone())):
        torch.testing.assert_close(got, wanted, rtol=2e-7, atol=0)
        assert got.dtype is wanted.dtype
    return left


@pytest.mark.parametrize(
    "step",
    [
        lambda x: (x * 0.9,),
        lambda x: (x + 3,),
        lambda x: (x - 0.1,),
        lambda x: (x / 7,),
        lambda x: ((x + x).div_(3.0),),
        lambda x: (x.sum() * 0.3,),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_become_tensors_of_the_values_dtype(step, dtype):
    program = program_of(step, torch.randn(5, dtype=dtype))
    assert scalars.numbers_as_tensors(program) == 1
    assert not any(isinstance(arg, float) for call in program.calls for arg in call.args)
    x = torch.randn(5, dtype=dtype)
    assert torch.equal(Replay(program)(x)[0], step(x)[0])


def test_a_count_stays_a_count():
    count = torch.zeros((), dtype=torch.int32)
    program = program_of(lambda x: (count.add_(1) + x,), torch.ones(2), known=(count,))
    assert scalars.numbers_as_tensors(program) == 1
    replay = Replay(program)
    count.fill_(5)
    assert replay(torch.ones(2))[0].tolist() == [7.0, 7.0]
    assert count.dtype is torch.int32 and count.item() == 6


@pytest.mark.parametrize(
    "step",
    [
        lambda x: (torch.add(x, 2, alpha=3),),
        lambda x: (x.int() / 2,),
        lambda x: (x.int() * 0.5,),
        lambda x: (x.half() * 0.1,),
        lambda x: (x > 0.5,),
        lambda x: (x**2,),
    ],
)
def test_numbers_that_do_more_stay(step):
    check(scalars.numbers_as_tensors, step, torch.randn(4), 0)


def test_two_factors_become_one():
    assert check(scalars.merge_factors, lambda x: (x * 2 / 5.0,), torch.randn(4), 1) == ["mul"]
    chain = check(scalars.merge_factors, lambda x: (x * 2 * 3 / 4,), torch.randn(4), 2)
    assert chain == ["mul"]


def test_a_factor_in_place_becomes_one_with_that_before():
    left = check(scalars.merge_factors, lambda x: ((x * 0.5).div_(10),), torch.randn(4), 1)
    assert left == ["mul"]


def test_a_folded_constant_is_a_factor_and_a_state_is_none():
    left = check(
        scalars.merge_factors, lambda x: (x * 2 * torch.full((4,), 0.5).exp(),), torch.randn(4), 1
    )
    assert left == ["mul"]
    state = torch.tensor(0.5)
    program = program_of(lambda x: (x * 2 * state,), torch.ones(4), known=(state,))
    assert scalars.merge_factors(program) == 0


@pytest.mark.parametrize(
    "step",
    [
        lambda x: (lambda y: (y * 3, y))(x * 2),  # returned
        lambda x: (lambda y: (y * 3 + y,))(x * 2),  # used again
        lambda x: (lambda y: (y.exp(), y.mul_(3)))(x * 2),  # read between
        lambda x: (lambda y: (y.view(2, 2).mul_(3), y))(x * 2),  # written through a view
        lambda x: (x * 2 * torch.tensor([1.0, 2.0, 3.0, 4.0]),),  # not one number
        lambda x: (x * 2 * torch.ones(3, 1),),  # another shape
        lambda x: (x * 2 / 0,),
        lambda x: (x.int() * 2 * 3,),
    ],
)
def test_factors_of_something_else_stay(step):
    check(scalars.merge_factors, step, torch.randn(4), 0)


def test_identities_go():
    assert check(scalars.drop_identities, lambda x: (x**1.0 + 1,), torch.randn(4), 1) == ["add"]
    assert check(scalars.drop_identities, lambda x: (x.view(2, 2) / 1 + 1,), torch.randn(4), 1) == [
        "view",
        "add",
    ]
    twice = check(scalars.drop_identities, lambda x: ((x * 1) ** 1 + 1,), torch.randn(4), 2)
    assert twice == ["add"]


@pytest.mark.parametrize(
    "step",
    [
        lambda x: (x * 1,),  # a result must be new memory
        lambda x: ((x * 1).add_(2) + 1,),  # written to
        lambda x: (lambda y: (x.add_(5), y + 1))(x * 1),  # the source is written to
        lambda x: ((x * 1).view(2, 2) + 1,),  # a view of it
        lambda x: (x * torch.ones(3, 1) + 1,),  # another shape
        lambda x: (x.int() / 1 + 1,),  # another dtype
        lambda x: (x**2 + 1,),
    ],
)
def test_what_is_needed_stays(step):
    check(scalars.drop_identities, step, torch.randn(4), 0)
