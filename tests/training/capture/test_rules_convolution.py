"""Convolutions: fused ReLU, gradients masked behind the pooling and in place, channels-last."""

import pytest
import torch
from torch import nn

from torchkeras.training.capture.program import aten
from torchkeras.training.capture.record import record
from torchkeras.training.capture.replay import Replay
from torchkeras.training.capture.rewrite import rewrite
from torchkeras.training.capture.rules import convolution, dropout, layout, simplify

FUSED = torch.ops.mkldnn._convolution_pointwise.default


def one_step(module):
    """A step that returns the outputs, the loss and the gradients of every parameter."""

    def step(x):
        out = module(x)
        loss = (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum()
        gradients = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)
        return (out.detach(), loss.detach(), *gradients)

    return step


def recorded(module, x):
    """The program of a step, without aliases, as the rules see it."""
    known = [*module.parameters(), *module.buffers()]
    program = record(one_step(module), (x,), known)[1].program
    simplify.drop_aliases(program)
    program.drop_dead()
    return program


def ops(program):
    return [call.op for call in program.calls]


def check(module, *shape, dtype=torch.float32, memory_format=torch.contiguous_format):
    """Rewrite a module's step; compare it with the eager one on another batch."""
    x, other = (torch.randn(shape, dtype=dtype).to(memory_format=memory_format) for _ in range(2))
    module.to(dtype)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    program = record(one_step(module), (x,), [*module.parameters(), *module.buffers()])[1].program
    applied = rewrite(program)
    replay = Replay(program)
    module.load_state_dict(state)
    torch.manual_seed(0)
    wanted = one_step(module)(other)
    statistics = {name: value.clone() for name, value in module.named_buffers()}
    for _ in range(2):  # memory is used again in the second step
        module.load_state_dict(state)
        torch.manual_seed(0)
        got = replay(other)
    largest = max(float(gradient.abs().max()) for gradient in wanted[2:])
    for one, two in zip(got[:2], wanted[:2]):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
    for one, two in zip(got[2:], wanted[2:]):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5 * largest)
    for name, value in module.named_buffers():
        torch.testing.assert_close(value, statistics[name], rtol=1e-5, atol=1e-6)
    return applied, program


def small_net(**options):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, **options),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def test_all_rules_apply_to_a_small_net_and_give_equal_gradients():
    net = small_net()
    net(torch.randn(2, 1, 12, 12))
    applied, program = check(net, 5, 1, 12, 12)
    assert applied["fuse_relu"] == 2
    assert applied["mask_pooled_gradient"] == 1
    assert applied["channels_last"] == 2
    assert applied["mask_gradient_in_place"] == 1
    assert applied["write_pooled_gradient_over_input"] == 1
    # One copy each: the input, the pooled output, its gradient, two gradients of kernels.
    assert ops(program).count(aten.clone.default) == 5


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},
        {"padding": "same", "dilation": 2},
        {"stride": 2},
        {"stride": (1, 2), "padding": (2, 0)},
        {"groups": 2},
        {"bias": False},
        {"padding": 1, "padding_mode": "reflect"},
    ],
    ids=str,
)
def test_every_kind_of_convolution_has_equal_gradients(options):
    net = small_net(**options)
    net(torch.randn(2, 1, 13, 11))
    applied, _ = check(net, 3, 1, 13, 11)
    assert applied["fuse_relu"] == 2
    assert applied["channels_last"] == 2


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3, 2),
        nn.MaxPool2d(3, 1, padding=1),
        nn.MaxPool2d(2, 3, ceil_mode=True),
        nn.MaxPool2d(2, dilation=2),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
        nn.AdaptiveAvgPool2d(1),
        nn.AdaptiveAvgPool2d(3),
        nn.AdaptiveMaxPool2d(2),
        nn.Upsample(scale_factor=2),
        nn.Sigmoid(),
        nn.LeakyReLU(0.1),
        nn.GroupNorm(2, 4),
        nn.PReLU(),
        nn.Softmax2d(),
        nn.ZeroPad2d(1),
        nn.BatchNorm2d(4),
        nn.ConvTranspose2d(4, 4, 2),
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [3, 1])
def test_whatever_lies_between_convolutions_has_equal_gradients(pool, channels):
    net = nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), pool, nn.ReLU(), nn.Conv2d(4, 2, 1), nn.Flatten()
    )
    applied, _ = check(net, 2, channels, 11, 9)
    assert applied["channels_last"] == 2


def test_overlapping_windows_mask_the_pooled_gradient_too():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(3, 1))
    applied, _ = check(net, 2, 2, 8, 8)
    assert applied["mask_pooled_gradient"] == 1


def test_windows_without_a_positive_number_have_no_gradient():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))
    with torch.no_grad():
        net[0].bias[0] = -100.0
    applied, _ = check(net, 2, 1, 8, 8)
    assert applied["mask_pooled_gradient"] == 1


class TwoBranches(nn.Module):
    """ReLU's output goes into a pooling and into something else."""

    def __init__(self):
        super().__init__()
        self.conv, self.other = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        pooled = torch.max_pool2d(x, 2)
        return torch.cat([pooled.flatten(1), (x + self.other(x)).flatten(1)], 1)


def test_a_relu_that_two_read_keeps_its_own_backward():
    applied, program = check(TwoBranches(), 3, 2, 8, 8)
    assert "mask_pooled_gradient" not in applied
    assert "write_pooled_gradient_over_input" not in applied
    assert applied["fuse_relu"] == 1


class ReadTwice(nn.Module):
    """The convolution's output is read by ReLU and by something else."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, x):
        x = self.conv(x)
        return torch.relu(x) + 2 * x


def test_a_convolution_that_two_read_is_not_fused():
    applied, _ = check(ReadTwice(), 3, 2, 8, 8)
    assert "fuse_relu" not in applied


def test_double_precision_is_left_alone():
    applied, program = check(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3)),
        2, 1, 8, 8, dtype=torch.float64,
    )  # fmt: skip
    assert "fuse_relu" not in applied and "channels_last" not in applied
    assert aten.clone.default not in ops(program)


@pytest.mark.parametrize("module", [nn.Conv1d(2, 3, 3), nn.Conv3d(2, 3, 2)], ids=str)
def test_one_and_three_dimensions_are_left_alone(module):
    shape = (2, 2) + (5,) * (len(module.weight.shape) - 2)
    applied, _ = check(nn.Sequential(module, nn.ReLU()), *shape)
    assert "fuse_relu" not in applied and "channels_last" not in applied


def test_a_relu_in_place_is_fused_as_well():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Conv2d(3, 2, 3))
    applied, program = check(net, 2, 1, 9, 9)
    assert applied["fuse_relu"] == 1
    assert aten.relu_.default not in ops(program)


class AddInPlace(nn.Module):
    """A convolution's output that a call writes to afterwards, through a view."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3)

    def forward(self, x):
        x = self.one(x)
        x[:, :1].add_(1)
        return self.two(x)


def test_values_written_through_views_stay_right():
    check(AddInPlace(), 2, 1, 7, 7)


def test_residual_blocks_stay_in_channels_last():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Conv2d(4, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)
            self.two = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            return torch.relu(x + self.two(torch.relu_(self.norm(self.one(x)))))

    net = nn.Sequential(Block(), Block(), nn.Flatten())
    applied, program = check(net, 2, 4, 6, 6)
    assert applied["channels_last"] == 4
    outside = [call for call in program.calls if call.op is aten.clone.default]
    # The input, the result, its gradient, four gradients of kernels.
    assert len(outside) == 7


def test_dropout_between_convolutions_draws_what_the_eager_step_draws():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout(0.5), nn.Conv2d(4, 2, 3)).train()
    x = torch.randn(3, 1, 9, 9)
    program = recorded(net, x)
    assert layout.channels_last(program) == 2
    replay = Replay(program)
    torch.manual_seed(1)
    wanted = one_step(net)(x)
    torch.manual_seed(1)
    for one, two in zip(replay(x), wanted):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-4)


def test_relu_and_dropout_meet_behind_the_pooling():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(64, 2),
    ).train()  # fmt: skip
    program = recorded(net, torch.randn(3, 1, 10, 10))
    convolution.fuse_relu(program)
    assert convolution.mask_pooled_gradient(program) == 1
    producers = program.producers()
    mask = next(call for call in program.calls if call.op is aten.threshold_backward.default)
    assert producers[mask.args[0]].op is aten.mul.Tensor
    assert producers[mask.args[1]].op is aten.max_pool2d_with_indices.default


def test_dropout_behind_the_pooling_costs_no_copy_of_its_mask():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(),
        nn.Linear(64, 2),
    ).train()  # fmt: skip
    program = recorded(net, torch.randn(3, 1, 10, 10))
    convolution.fuse_relu(program)
    convolution.mask_pooled_gradient(program)
    assert dropout.dropout_from_bits(program) == 1
    layout.channels_last(program)
    copies = [call.out for call in program.calls if call.op is aten.clone.default]
    assert [copy.shape for copy in copies].count((3, 4, 4, 4)) == 2  # the output, its gradient


def test_channels_last_data_are_not_copied():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    applied, program = check(net, 2, 3, 9, 9, memory_format=torch.channels_last)
    assert applied["fuse_relu"] == 1
    assert aten.clone.default not in ops(program)


def test_the_first_layer_computes_no_gradient_of_its_input():
    net = small_net()
    net(torch.randn(2, 1, 12, 12))
    program = recorded(net, torch.randn(2, 1, 12, 12))
    masks = [c.args[-1] for c in program.calls if c.op is aten.convolution_backward.default]
    assert masks == [[True, True, True], [False, True, True]]


def test_gradients_that_nobody_reads_are_not_computed():
    net = nn.Conv2d(2, 3, 3)

    def step(x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(net(x).sum(), [x, net.weight])[1:]

    x = torch.randn(2, 2, 6, 6)
    program = record(step, (x,), list(net.parameters()))[1].program
    assert convolution.drop_unused_gradients(program) == 1
    call = next(c for c in program.calls if c.op is aten.convolution_backward.default)
    assert call.args[-1] == [False, True, False]
    torch.testing.assert_close(Replay(program)(x)[0], step(x)[0])


def test_inference_keeps_the_layout_of_its_result():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))

    def step(x):
        with torch.no_grad():
            return (net(x),)

    x = torch.randn(2, 1, 9, 9)
    program = record(step, (x,), list(net.parameters()))[1].program
    assert rewrite(program)["channels_last"] == 2
    result = Replay(program, bind_views=False)(x)[0]
    assert result.is_contiguous()
    torch.testing.assert_close(result, step(x)[0], rtol=1e-5, atol=1e-6)


def test_views_of_what_is_written_in_place_keep_its_memory():
    net = nn.Sequential(
        nn.Linear(8, 8), nn.ReLU(), nn.Unflatten(1, (2, 4)), nn.Flatten(), nn.Linear(8, 8),
        nn.Linear(8, 8), nn.ReLU(), nn.Unflatten(1, (2, 4)),
    )  # fmt: skip

    def step(x):
        with torch.no_grad():
            return (net(x),)

    x = torch.randn(16, 8)
    program = record(step, (x,), list(net.parameters()))[1].program
    simplify.drop_aliases(program)
    assert simplify.compute_in_place(program) == 2
    replay = Replay(program, bind_views=False)
    result = replay(x)[0]
    replay(-x)
    torch.testing.assert_close(result, step(x)[0])
