"""Products with ReLU in the same call, sums as products, zeroed memory made once."""

import pytest
import torch

from torchkeras.training.capture.program import aten
from torchkeras.training.capture.record import record
from torchkeras.training.capture.replay import Replay
from torchkeras.training.capture.rules import buffers, products, simplify

WEIGHT, BIAS = torch.randn(6, 4), torch.randn(6)
KNOWN = (WEIGHT, BIAS)


def program_of(step, *inputs):
    program = record(step, inputs, KNOWN)[1].program
    simplify.drop_aliases(program)
    return program


def dense(x):
    return torch.addmm(BIAS, x, WEIGHT.t())


def check(rule, step, count, rows=5, dtype=torch.float32):
    program = program_of(step, torch.randn(rows, 4, dtype=dtype))
    assert rule(program) == count
    replay = Replay(program)
    for _ in range(2):
        x = torch.randn(rows, 4, dtype=dtype)
        for got, wanted in zip(replay(x), step(x)):
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    return replay


def test_relu_is_a_part_of_the_product():
    replay = check(products.fuse_relu_into_product, lambda x: (torch.relu(dense(x)) * 2,), 1)
    assert replay.calls == 2
    x = torch.randn(5, 4)
    assert torch.equal(replay(x)[0], torch.relu(dense(x)) * 2)


@pytest.mark.parametrize(
    "step",
    [
        lambda x: (lambda z: (torch.relu(z), z + 1))(dense(x)),  # used before ReLU too
        lambda x: (lambda z: (torch.relu(z), z))(dense(x)),
        lambda x: (torch.relu(x @ WEIGHT.t()),),  # without a bias
        lambda x: (torch.relu(dense(x).add_(1)),),  # changed before
    ],
)
def test_other_relus_stay(step):
    check(products.fuse_relu_into_product, step, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("keepdim", [True, False])
def test_a_sum_along_one_axis_is_a_product(axis, keepdim, dtype):
    replay = check(
        products.sums_as_products, lambda x: (x.exp().sum(axis, keepdim) + 0,), 1, dtype=dtype
    )
    assert "mv(" in replay.source


def test_a_sum_into_the_flat_gradients_is_a_product_into_them():
    flat = torch.zeros(16)
    place = flat[3:7].view(1, 4)

    def step(x):
        torch.sum(x, [0], True, out=place)
        return (flat + 0,)

    program = record(step, (torch.randn(5, 4),), (flat, place))[1].program
    assert products.sums_as_products(program) == 1
    flat.fill_(float("nan"))
    x = torch.randn(5, 4)
    result = Replay(program)(x)[0]
    torch.testing.assert_close(result[3:7], x.sum(0))
    assert result[:3].isnan().all() and result[7:].isnan().all()


def test_infinite_and_undefined_numbers_stay_so():
    program = program_of(lambda x: (x.sum(0, True) + 0,), torch.randn(3, 4))
    assert products.sums_as_products(program) == 1
    x = torch.zeros(3, 4)
    x[0, 0], x[1, 1], x[2, 1], x[1, 2] = float("nan"), float("inf"), -float("inf"), float("inf")
    result = Replay(program)(x)[0][0]
    assert result[:2].isnan().all() and result[2:].tolist() == [float("inf"), 0.0]


@pytest.mark.parametrize(
    "step",
    [
        lambda x: (x.sum(0),),  # returned: new memory
        lambda x: (x.sum() + 1,),
        lambda x: (x.sum([0, 1]) + 1,),
        lambda x: (x.t().sum(0) + 1,),  # not in a row
        lambda x: (x.sum(0).add_(1) + 1,),  # written to later
        lambda x: (x.int().sum(0) + 1,),
        lambda x: (x.sum(0, dtype=torch.float64) + 1,),
        lambda x: (x.view(5, 2, 2).sum(0) + 1,),
        lambda x: (x.sum(0).view(2, 2) + 1,),
    ],
)
def test_other_sums_stay(step):
    check(products.sums_as_products, step, 0)


def test_long_sums_stay_since_they_are_more_exact():
    check(products.sums_as_products, lambda x: (x.sum(0) + 1,), 0, rows=257)
    check(products.sums_as_products, lambda x: (x.sum(0) + 1,), 1, rows=256)


def test_zeroed_memory_is_made_once_and_zero_at_every_step():
    def step(x):
        total = x.new_zeros(2, 4)
        first, second = total.unbind()
        first.add_(x[0])
        second.add_(x[1])
        return (total * 2,)

    replay = check(buffers.keep_zeroed_memory, step, 1)
    assert "unbind" not in replay.source and "new_zeros" not in replay.source
    assert replay.nbytes >= 2 * 4 * 4


@pytest.mark.parametrize(
    "step",
    [
        lambda x: (lambda total: total.add_(x))(x.new_zeros(5, 4)).unbind(),  # returned
        lambda x: (x + x.new_zeros(5, 4),),  # a constant
        lambda x: (x.new_zeros(2**17).add_(x.sum()) * 2,),  # large
    ],
)
def test_other_zeros_stay(step):
    check(buffers.keep_zeroed_memory, step, 0)


def test_batch_statistics_have_their_memory():
    running = torch.zeros(2, 4)

    def step(x):
        batch = running.new_zeros(2, 4)
        mean, variance = batch.unbind()
        y = torch.batch_norm(x, None, None, mean, variance, True, 1.0, 1e-3, False)
        return (y * 2, mean + 0, variance + 0)

    program = record(step, (torch.randn(5, 4),), (running,))[1].program
    assert buffers.keep_zeroed_memory(program) == 1
    assert program.calls[0].op is aten.zero_.default
    replay = Replay(program)
    replay(torch.full((5, 4), float("nan")))  # nothing of this may stay
    x = torch.randn(5, 4)
    for got, wanted in zip(replay(x), step(x)):
        torch.testing.assert_close(got, wanted)
