"""Convolution layers: what they hold, what they refuse, how they train."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import torchkeras as keras
from torchkeras import layers, ops

ALL = {
    "Conv1D": {"filters": 4},
    "Conv2D": {"filters": 4},
    "Conv3D": {"filters": 4},
    "Conv1DTranspose": {"filters": 4},
    "Conv2DTranspose": {"filters": 4},
    "Conv3DTranspose": {"filters": 4},
    "DepthwiseConv1D": {"depth_multiplier": 2},
    "DepthwiseConv2D": {"depth_multiplier": 2},
    "SeparableConv1D": {"filters": 4, "depth_multiplier": 2},
    "SeparableConv2D": {"filters": 4, "depth_multiplier": 2},
    "LocallyConnected1D": {"filters": 4},
    "LocallyConnected2D": {"filters": 4},
}
SPACE = {"1": (9,), "2": (8, 9), "3": (5, 6, 5)}


def space_of(name):
    return SPACE[next(letter for letter in name if letter.isdigit())]


def made(name, /, **more):
    return getattr(layers, name)(kernel_size=3, **ALL[name], **more)


# ------------------------------------------------------------------------------ torch's modules


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (layers.Conv2D(4, 3), nn.Conv2d),
        (layers.Conv2D(4, 3, padding="same"), nn.Conv2d),
        (layers.Conv2D(4, 1, 2, padding="same"), nn.Conv2d),
        (layers.DepthwiseConv2D(3), nn.Conv2d),
        (layers.Conv2DTranspose(4, 4, 2, padding="same"), nn.ConvTranspose2d),
        (layers.Conv2DTranspose(4, 3, 2), nn.ConvTranspose2d),
    ],
)
def test_torchs_own_class_where_it_pads_as_keras(layer, kind):
    layer(torch.rand(1, 8, 8, 3))
    assert type(layer.conv) is kind


@pytest.mark.parametrize("name", [name for name in ALL if "Local" not in name])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_modules_are_torchs_and_their_hooks_fire(name, padding):
    layer = made(name, padding=padding, strides=2)
    x = torch.rand(2, *space_of(name), 3)
    layer(x)
    held = list(layer.children())
    assert held and all(isinstance(module, nn.modules.conv._ConvNd) for module in held)
    assert set(layer.state_dict()) >= {"conv.weight"} or "depthwise.weight" in layer.state_dict()
    calls = []
    for module in held:
        module.register_forward_hook(lambda *call: calls.append(1))
    layer(x)
    assert len(calls) == len(held)


def test_a_module_taken_out_computes_by_itself():
    layer = layers.Conv1D(4, 3, 2, padding="same")
    x = torch.rand(2, 10, 3)
    wanted = layer(x)
    torch.testing.assert_close(layer.conv(x.movedim(-1, 1)).movedim(1, -1), wanted)


@pytest.mark.parametrize("name", ALL)
def test_copies_and_pickles(name):
    layer = made(name)
    x = torch.rand(2, *space_of(name), 3)
    wanted = layer(x)
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(again(x), wanted)
        assert [w.shape for w in again.weights] == [w.shape for w in layer.weights]


@pytest.mark.parametrize("name", ["Conv2D", "SeparableConv2D", "Conv1D", "Conv2DTranspose"])
def test_exports(name):
    layer = made(name, padding="same", activation="relu")
    x = torch.rand(2, *space_of(name), 3)
    wanted = layer(x)
    program = torch.export.export(layer, (x,)).module()
    torch.testing.assert_close(program(x), wanted)


def test_depthwise_kernel_in_torchs_layout():
    layer = layers.DepthwiseConv2D(3, depth_multiplier=2)
    layer(torch.rand(1, 5, 5, 3))
    kernel = layer.kernel.numpy()
    assert kernel.shape == (3, 3, 3, 2)
    weight = layer.conv.weight.detach().numpy()
    np.testing.assert_array_equal(weight[2 * 2 + 1, 0], kernel[:, :, 2, 1])


def test_penalties_and_projections_of_depthwise_and_pointwise_kernels():
    layer = layers.SeparableConv2D(
        2,
        3,
        depthwise_regularizer=keras.regularizers.L2(0.5),
        pointwise_regularizer=keras.regularizers.L1(0.25),
        depthwise_constraint="non_neg",
        pointwise_initializer="ones",
    )
    layer(torch.rand(1, 5, 5, 3))
    squares = float((layer.depthwise_kernel.numpy() ** 2).sum())
    assert float(sum(layer.losses)) == pytest.approx(0.5 * squares + 0.25 * 6)
    assert layer.depthwise_kernel.constraint is layer.depthwise_constraint
    layer = layers.DepthwiseConv2D(3, depthwise_initializer="ones", depthwise_constraint="non_neg")
    layer(torch.rand(1, 5, 5, 3))
    assert layer.kernel.numpy().sum() == 27
    assert layer.kernel.constraint is layer.depthwise_constraint


def test_an_initializer_of_none_is_the_usual_one():
    layer = layers.Conv2D(64, 3, kernel_initializer=None)
    layer(torch.rand(1, 5, 5, 64))
    limit = np.sqrt(6 / (9 * 64 * 2))
    assert 0.95 * limit < layer.kernel.numpy().max() <= limit


@pytest.mark.parametrize("name", ALL)
def test_symbolic_and_real_shapes_agree(name):
    for padding in ("valid", "same") if "Local" not in name else ("valid",):
        for data_format in ("channels_last", "channels_first"):
            space = space_of(name)
            is_last = data_format == "channels_last"
            shape = (*space, 3) if is_last else (3, *space)
            layer = made(name, strides=2, padding=padding, data_format=data_format)
            found = layer(keras.Input(shape)).shape
            assert found[1:] == tuple(layer(torch.rand(2, *shape)).shape[1:])
            assert found[0] is None


def test_whole_numbers_become_floats():
    layer = layers.Conv2D(2, 3)
    pixels = torch.randint(0, 255, (1, 5, 5, 3), dtype=torch.uint8)
    assert layer(pixels).dtype is torch.float32
    assert layer(keras.Input((5, 5, 3), dtype="uint8")).dtype == "float32"


@pytest.mark.parametrize("name", ALL)
def test_mixed_precision(name):
    layer = made(name, dtype="mixed_bfloat16", activation="relu")
    y = layer(torch.rand(2, *space_of(name), 3))
    assert y.dtype is torch.bfloat16
    y.float().sum().backward()
    assert all(p.dtype is torch.float32 and p.grad is not None for p in layer.parameters())


# --------------------------------------------------------------------------- locally connected


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("rank", [1, 2])
def test_locally_connected_is_a_kernel_for_each_place(rank, data_format):
    is_last = data_format == "channels_last"
    layer = getattr(layers, f"LocallyConnected{rank}D")(
        4, 3, strides=2, data_format=data_format, bias_initializer="random_normal"
    )
    x = torch.rand(2, *(7, 8)[:rank], 3)
    y = layer(x if is_last else x.movedim(-1, 1))
    y = y if is_last else y.movedim(1, -1)
    kernel, bias = layer.kernel.value, layer.bias.value
    for place, index in enumerate(np.ndindex(*y.shape[1:-1])):
        window = x[(slice(None), *(slice(2 * i, 2 * i + 3) for i in index))]
        window = window if is_last else window.movedim(-1, 1)
        wanted = window.flatten(1) @ kernel[place] + bias[index]
        torch.testing.assert_close(y[(slice(None), *index)], wanted)


def test_locally_connected_with_one_kernel_is_a_convolution():
    local = layers.LocallyConnected2D(4, 3, padding="same", implementation=3, use_bias=False)
    shared = layers.Conv2D(4, 3, padding="same", use_bias=False)
    x = torch.rand(2, 5, 6, 3)
    wanted = shared(x)
    local.build(x.shape)
    local.kernel.assign(shared.kernel.value.reshape(1, 27, 4).expand(30, 27, 4))
    torch.testing.assert_close(local(x), wanted)


def test_locally_connected_refuses_another_size():
    layer = layers.LocallyConnected1D(4, 3)
    layer(torch.rand(1, 7, 2))
    with pytest.raises(ValueError, match="expected an input with 7 at axis 1"):
        layer(torch.rand(1, 8, 2))
    with pytest.raises(ValueError, match="needs the input's size"):
        layers.LocallyConnected1D(4, 3)(keras.Input((None, 2)))


# ------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("Conv2D", {"filters": 0}, "Conv2D: filters must be a positive integer; received 0"),
        ("Conv2D", {"groups": 0}, "groups must be a positive integer"),
        ("Conv2D", {"filters": 3, "groups": 2}, "filters must be a multiple of groups"),
        ("Conv2D", {"kernel_size": 0}, "kernel_size must be an integer of at least 1"),
        ("Conv2D", {"kernel_size": (3, 3, 3)}, "or 2 of them, one for each axis"),
        ("Conv2D", {"kernel_size": 2.5}, "kernel_size must be an integer"),
        ("Conv2D", {"strides": 0}, "strides must be an integer of at least 1"),
        ("Conv2D", {"dilation_rate": 2, "strides": 2}, "`strides > 1` not supported"),
        ("Conv2D", {"padding": "causal"}, "padding must be 'valid' or 'same'; received 'causal'"),
        ("Conv1D", {"padding": "full"}, "'valid' or 'same' or 'causal'; received 'full'"),
        ("Conv2D", {"data_format": "last"}, "data_format must be"),
        ("Conv2D", {"lora_rank": 4}, "lora_rank=4 is not supported"),
        ("Conv2D", {"nb_rows": 4}, "Unrecognized keyword arguments passed to Conv2D: 'nb_rows'"),
        ("Conv2DTranspose", {"output_padding": 1}, "output_padding must be below strides"),
        ("Conv2DTranspose", {"strides": 2, "dilation_rate": 2}, "not supported in conjunction"),
        ("DepthwiseConv2D", {"depth_multiplier": 0}, "depth_multiplier must be a positive"),
        ("SeparableConv2D", {"filters": -1}, "SeparableConv2D: filters must be a positive"),
        ("LocallyConnected2D", {"padding": "same"}, "needs implementation=2 or 3"),
        ("LocallyConnected2D", {"implementation": 4}, "implementation must be 1, 2 or 3"),
    ],
)
def test_bad_arguments(name, config, message):
    with pytest.raises(ValueError, match=message):
        getattr(layers, name)(**{"kernel_size": 3, **ALL[name], **config})


@pytest.mark.parametrize("name", ALL)
def test_wrong_rank(name):
    layer = made(name, name="mine")
    rank = len(space_of(name)) + 2
    with pytest.raises(ValueError, match=f"Layer 'mine' expected an input with rank {rank}, but"):
        layer(torch.rand(2, 3))
    with pytest.raises(ValueError, match=f"Layer 'mine' expected an input with rank {rank}, but"):
        layer(keras.Input((4,)))


def test_channels_and_groups():
    layer = layers.Conv2D(4, 3, groups=2, name="mine")
    with pytest.raises(ValueError, match="'mine'.*multiple of groups=2.*has 3"):
        layer(torch.rand(1, 5, 5, 3))


def test_unknown_channels():
    with pytest.raises(ValueError, match="'mine' needs the number of its input's channels, at ax"):
        layers.Conv2D(4, 3, name="mine")(keras.Input((5, 5, None)))


def test_other_channels_than_built_for():
    layer = layers.Conv2D(4, 3, name="mine")
    layer(torch.rand(1, 5, 5, 3))
    with pytest.raises(ValueError, match="'mine' expected an input with 3 at axis -1"):
        layer(torch.rand(1, 5, 5, 2))


@pytest.mark.parametrize("name", [name for name in ALL if "Transpose" not in name])
def test_kernel_larger_than_the_input(name):
    layer = made(name, name="mine")
    shape = (2, *(2 for _ in space_of(name)), 3)
    with pytest.raises(ValueError, match=r"'mine'.*kernel_size=\(3.*more than there are"):
        layer(torch.rand(shape))
    with pytest.raises(ValueError, match=r"'mine'.*kernel_size=\(3.*more than there are"):
        layer(keras.Input(shape[1:]))


# --------------------------------------------------------------------------- memory and capture


class Copies(TorchDispatchMode):
    """Collects the shapes of what is copied, and of what the backend would have to copy."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in ("clone", "copy_", "_to_copy", "contiguous", "constant_pad_nd"):
            self.found.append((name, tuple(args[0].shape)))
        if "convolution" in name or "max_pool2d" in name:
            for tensor in args[:2]:
                if isinstance(tensor, torch.Tensor) and tensor.dim() == 4:
                    order = torch.channels_last
                    if not tensor.is_contiguous(memory_format=order):
                        self.found.append((name, tuple(tensor.shape)))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["Conv2D", "SeparableConv2D", "Conv2DTranspose"])
def test_a_chain_of_images_makes_no_layout_copies(kind):
    one = getattr(layers, kind)(8, 3, padding="same", activation="relu")
    two = getattr(layers, kind)(4, 3, padding="same", activation="relu")
    x = torch.rand(2, 12, 12, 3)
    two(one(x))
    with Copies() as copies:
        y = two(ops.max_pool(one(x), 2))
        y.backward(torch.ones_like(y, memory_format=torch.contiguous_format))
    assert copies.found == []
    assert y.is_contiguous()


def test_a_chain_in_the_profiler_copies_no_image():
    one, two = layers.Conv2D(8, 3, activation="relu"), layers.Conv2D(4, 3, activation="relu")
    x = torch.rand(2, 12, 12, 3)
    two(one(x))
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, record_shapes=True) as profile:
        two(ops.max_pool(one(x), 2)).sum().backward()
    names = ("aten::copy_", "aten::clone", "aten::contiguous")
    copied = [event.input_shapes[0] for event in profile.events() if event.name in names]
    # The gradients of the kernels alone, which oneDNN gives in an order of its own.
    assert all(shape in ([8, 3, 3, 3], [4, 8, 3, 3]) for shape in copied)


def test_a_chain_of_sequences_copies_only_what_causality_pads():
    one = layers.Conv1D(8, 3, padding="causal", activation="relu")
    two = layers.Conv1D(4, 3, activation="relu")
    x = torch.rand(2, 12, 3)
    two(one(x))
    with Copies() as copies:
        two(one(x))
    # Kernels of one axis are small, and lie as torch has them.
    images = [(name, shape) for name, shape in copies.found if shape[0] == 2]
    assert images == [("constant_pad_nd", (2, 3, 1, 12))]


def fitted(build, run_eagerly, shape):
    keras.utils.set_random_seed(3)
    model = build()
    # A greater rate lets the transposed ones diverge, and rounding with them.
    model.compile(keras.optimizers.SGD(0.002, momentum=0.9), "mse", run_eagerly=run_eagerly)
    x = np.random.RandomState(0).randn(22, *shape).astype("float32")
    y = np.random.RandomState(1).randn(22, *model.output_shape[1:]).astype("float32")
    losses = model.fit(x, y, batch_size=8, epochs=3, verbose=0, shuffle=False).history["loss"]
    return model, losses, model.predict(x, verbose=0), model.get_weights()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_captured_is_eager(name, data_format):
    space = space_of(name)
    is_last = data_format == "channels_last"
    shape = (*space, 3) if is_last else (3, *space)

    def build():
        return keras.Sequential(
            [
                keras.Input(shape),
                made(name, activation="relu", data_format=data_format),
                made(name, strides=2, activation="tanh", data_format=data_format),
                keras.layers.Flatten(),
                keras.layers.Dense(2),
            ]
        )

    model, *captured = fitted(build, False, shape)
    _, *eager = fitted(build, True, shape)
    assert model.step_report().kind == "captured", model.step_report()
    for found, wanted in zip(captured, eager):
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_relu_becomes_part_of_the_convolution_in_the_captured_step():
    def build():
        conv = [keras.layers.Conv2D(4, 3, activation="relu") for _ in range(2)]
        tail = [keras.layers.Flatten(), keras.layers.Dense(2)]
        return keras.Sequential([keras.Input((9, 9, 1)), *conv, *tail])

    model, *_ = fitted(build, False, (9, 9, 1))
    assert "fuse_relu ×2" in str(model.step_report())
