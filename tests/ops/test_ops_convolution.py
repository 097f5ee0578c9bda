"""Convolutions and poolings: memory layout, causal padding, biases, errors."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

import torchkeras
from torchkeras import config, ops
from torchkeras.ops import convolution, pooling, spatial  # noqa: F401  (they declare what is used)
from torchkeras.ops.convolution import convolve, convolve_transposed

COPIES = {"aten::copy_", "aten::clone", "aten::contiguous", "aten::constant_pad_nd"}


def copied(function):
    """Return the names of the operations that copied an activation of some samples, inside torch.

    Args:
        function: works on inputs of 7 samples; nothing else has a first dimension of that size.
    """
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as log:
        function()
    return [
        event.name
        for event in log.events()
        if event.name in COPIES and event.input_shapes[0][:1] == [7]
    ]


X = {rank: torch.randn(7, *(10, 9, 8)[:rank], 5) for rank in (1, 2, 3)}
ODD = torch.randn(7, 9, 9, 5)
GRAY = torch.randn(7, 10, 9, 1)
KERNEL = {rank: torch.randn(*(3,) * rank, 5, 4) for rank in (1, 2, 3)}
UNCOPIED = {
    "valid": lambda: ops.conv(X[2], KERNEL[2]),
    "same": lambda: ops.conv(X[2], KERNEL[2], padding="same"),
    "strided": lambda: ops.conv(ODD, KERNEL[2], 2, "same"),
    "one channel": lambda: ops.conv(GRAY, torch.randn(3, 3, 1, 4), padding="same"),
    "dilated": lambda: ops.conv(X[2], KERNEL[2], 1, "same", None, 2),
    "1x1": lambda: ops.conv(X[2], torch.randn(1, 1, 5, 4)),
    "depthwise": lambda: ops.depthwise_conv(X[2], KERNEL[2], padding="same"),
    "1-D": lambda: ops.conv(X[1], KERNEL[1], padding="same"),
    "3-D": lambda: ops.conv(X[3], KERNEL[3], padding="same"),
    "transposed": lambda: ops.conv_transpose(X[2], torch.randn(4, 4, 6, 5), 2, "same"),
    "transposed 1-D": lambda: ops.conv_transpose(X[1], torch.randn(4, 6, 5), 2, "same"),
    "max": lambda: ops.max_pool(X[2], 2),
    "max same": lambda: ops.max_pool(X[2], 3, 2, "same"),
    "max 1-D": lambda: ops.max_pool(X[1], 3, 2, "same"),
    "max 3-D": lambda: ops.max_pool(X[3], 2),
    "average same": lambda: ops.average_pool(X[2], 3, 2, "same"),
    "average 1-D": lambda: ops.average_pool(X[1], 2),
    "adaptive": lambda: ops.adaptive_average_pool(X[2], 3),
}


@pytest.mark.parametrize("name", UNCOPIED)
def test_channels_last_costs_no_copy(name):
    """Neither on the way to torch nor back, and what comes out is contiguous."""
    assert UNCOPIED[name]().is_contiguous()
    assert copied(UNCOPIED[name]) == []


def test_copies_are_seen():
    assert copied(lambda: ops.conv(X[2], KERNEL[2], 2, "same")) == [
        "aten::constant_pad_nd",
        "aten::copy_",
    ]
    assert "aten::copy_" in copied(
        lambda: functional.conv1d(X[1].transpose(1, 2), torch.randn(4, 5, 3))
    )


def test_what_goes_back_is_not_copied():
    x = X[2].clone().requires_grad_()
    y = ops.max_pool(ops.conv(x, KERNEL[2], padding="same"), 2)
    grad = torch.randn(y.shape)
    assert copied(lambda: y.backward(grad)) == []
    assert x.grad.is_contiguous()


def test_channels_first_stays_as_it_is():
    y = ops.conv(X[2].movedim(-1, 1).contiguous(), KERNEL[2], data_format="channels_first")
    assert y.is_contiguous()
    expected = ops.conv(X[2], KERNEL[2]).movedim(-1, 1)
    torch.testing.assert_close(y, expected)


def test_causal_sees_nothing_that_comes_later():
    x = X[1].clone().requires_grad_()
    y = ops.conv(x, KERNEL[1], 1, "causal", None, 2)
    assert y.shape == (7, 10, 4)
    y[:, 6].sum().backward()
    seen = x.grad.abs().sum((0, 2)) > 0
    assert seen.tolist() == [at in (2, 4, 6) for at in range(10)]
    assert ops.conv(x, KERNEL[1], 3, "causal").shape == (7, 4, 4)


def test_groups_follow_from_the_kernel():
    layer = nn.Conv2d(6, 4, 3, groups=2, bias=False)
    x = torch.randn(2, 5, 5, 6)
    kernel = layer.weight.permute(2, 3, 1, 0)
    expected = layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(ops.conv(x, kernel), expected)


def test_layers_share_the_arithmetic_on_torch_weights():
    layer = nn.Conv1d(5, 4, 3, padding=1)
    found = convolve(X[1], layer.weight, layer.bias, padding="same")
    torch.testing.assert_close(found, layer(X[1].transpose(1, 2)).transpose(1, 2))
    layer = nn.ConvTranspose2d(5, 6, 4, stride=2, padding=1)
    found = convolve_transposed(X[2], layer.weight, layer.bias, 2, "same")
    torch.testing.assert_close(found, layer(X[2].permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


@pytest.mark.parametrize("size,padding,added", [(3, "same", None), (2, "valid", 3), (3, "same", 5)])
def test_a_bias_reaches_all_of_a_transposed_output(size, padding, added):
    weight, bias = torch.randn(5, 6, size, size), torch.randn(6)
    without = convolve_transposed(X[2], weight, None, 2, padding, added)
    found = convolve_transposed(X[2], weight, bias, 2, padding, added)
    torch.testing.assert_close(found, without + bias)


def test_averages_leave_the_padding_out():
    ones = torch.ones(2, 5, 4, 3)
    for size in (2, 3, 4):
        for strides in (1, 2, (1, 2), 3):
            assert (ops.average_pool(ones, size, strides, "same") == 1).all()
            assert (ops.max_pool(-ones, size, strides, "same") == -1).all()


def test_nan_and_infinity_go_through_pools():
    x = torch.tensor([float("nan"), 1, -torch.inf, -torch.inf, 2, 3]).view(1, 6, 1)
    found = ops.max_pool(x, 2).flatten().tolist()
    assert found[0] != found[0]
    assert found[1:] == [-torch.inf, 3]


def test_no_samples():
    empty = torch.zeros(0, 6, 6, 5)
    assert ops.conv(empty, KERNEL[2], padding="same").shape == (0, 6, 6, 4)
    assert ops.max_pool(empty, 2).shape == (0, 3, 3, 5)


def test_a_graph_keeps_the_layout_of_the_time_when_it_was_made():
    inputs = torchkeras.Input((6, 6, 2))
    model = torchkeras.Model(inputs, ops.max_pool(inputs, 2))
    x = torch.randn(3, 6, 6, 2)
    expected = model(x)
    written = json.loads(model.to_json())["config"]["layers"][1]["config"]
    assert written["data_format"] == "channels_last"
    config.set_image_data_format("channels_first")
    assert torch.equal(model(x), expected)


def test_blocks_are_torchs_shuffle_with_the_channels_first():
    x = torch.randn(2, 8, 3, 3)
    found = ops.depth_to_space(x, 2, "channels_first")
    assert torch.equal(found, functional.pixel_shuffle(x, 2))
    last = ops.depth_to_space(torch.arange(8.0).view(1, 1, 1, 8), 2)
    assert last.tolist() == [[[[0, 1], [2, 3]], [[4, 5], [6, 7]]]]
    assert torch.equal(ops.space_to_depth(last, 2).flatten(), torch.arange(8.0))


ERRORS = [
    (
        lambda: ops.conv(torch.zeros(2, 3), KERNEL[1]),
        r"ops.conv: the input must have 3, 4 or 5 .*\(2, 3\)",
    ),
    (
        lambda: ops.conv(X[2], KERNEL[1]),
        r"as many dimensions as the input; received 3 for .*\(7, 10, 9, 5\)",
    ),
    (
        lambda: ops.conv(X[2], torch.zeros(3, 3, 2, 4)),
        r"\(7, 10, 9, 5\) has 5 channels \(last\); the kernel takes 2 or a multiple",
    ),
    (
        lambda: ops.conv(torch.zeros(2, 5, 5, 4), torch.zeros(3, 3, 2, 3)),
        "ops.conv failed on float32.*group",
    ),
    (
        lambda: ops.depthwise_conv(X[2], KERNEL[2], 1, "same", "channels_first"),
        r"has 10 channels \(first\)",
    ),
    (
        lambda: ops.conv(X[2], KERNEL[2], (1, 2, 3)),
        r"strides must be .* 2 of them.*received \(1, 2, 3\)",
    ),
    (
        lambda: ops.conv(X[2], KERNEL[2], 0),
        "strides must be a whole number of at least 1.*received 0",
    ),
    (
        lambda: ops.conv(X[2], KERNEL[2], dilation_rate=(1,)),
        r"dilation_rate must be .*received \(1,\)",
    ),
    (
        lambda: ops.conv(X[2], KERNEL[2], padding="causal"),
        "padding must be 'valid' or 'same'; received 'causal'",
    ),
    (
        lambda: ops.conv(X[1], KERNEL[1], padding="full"),
        "'valid' or 'same' or 'causal'; received 'full'",
    ),
    (
        lambda: ops.conv(X[2], KERNEL[2], data_format="NHWC"),
        "data_format must be .*received 'NHWC'",
    ),
    (lambda: ops.conv(X[2][:, :2], KERNEL[2]), r"ops.conv failed on .*\(7, 2, 9, 5\).*Kernel size"),
    (
        lambda: ops.depthwise_conv(X[2], torch.zeros(3, 3, 1, 4)),
        "ops.depthwise_conv: .*takes 1",
    ),
    (
        lambda: ops.separable_conv(X[2], KERNEL[2], torch.zeros(1, 1, 9, 2)),
        "ops.separable_conv: .*20 channels .*takes 9",
    ),
    (
        lambda: ops.conv_transpose(X[2], torch.zeros(3, 3, 4, 6)),
        "ops.conv_transpose: .*has 5 channels",
    ),
    (
        lambda: ops.conv_transpose(X[2], torch.zeros(3, 3, 4, 5), output_padding=-1),
        "output_padding must be",
    ),
    (
        lambda: ops.max_pool(X[2], 11),
        r"ops.max_pool failed on .*\(7, 10, 9, 5\).*Output size is too small",
    ),
    (lambda: ops.max_pool(X[2], (2, 2, 2)), r"ops.max_pool: pool_size must be"),
    (lambda: ops.average_pool(X[2][0, 0], 2), r"ops.average_pool: the input must have 3, 4 or 5"),
    (lambda: ops.average_pool(X[2], 2, padding="causal"), "ops.average_pool: padding must be"),
    (lambda: ops.adaptive_max_pool(X[2], (2, 2, 2)), "ops.adaptive_max_pool: output_size must be"),
    (
        lambda: ops.depth_to_space(X[2], 2),
        "ops.depth_to_space failed on .*7, 10, 9, 5.*multiply up to",
    ),
    (lambda: ops.depth_to_space(X[1], 2), r"takes 4 dimensions .*\(7, 10, 5\)"),
    (lambda: ops.space_to_depth(X[2], 1), "block_size of at least 2; received .* 1"),
    (
        lambda: ops.space_to_depth(X[2], 2),
        "ops.space_to_depth failed on .*multiply up to",
    ),
    (lambda: ops.space_to_depth(X[2], 2, "channels_first"), "ops.space_to_depth failed"),
]


@pytest.mark.parametrize("call,text", ERRORS, ids=[text for _, text in ERRORS])
def test_errors_name_what_does_not_fit(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_errors_reach_symbolic_calls():
    with pytest.raises(ValueError, match="has 5 channels"):
        ops.conv(torchkeras.KerasTensor((None, 8, 8, 5)), torch.zeros(3, 3, 2, 4))
