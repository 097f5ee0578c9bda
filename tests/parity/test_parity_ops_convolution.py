"""Convolutions, poolings, attention and CTC of keras.ops against Keras 3.15.1 on torch."""

import inspect
import itertools

import keras
import numpy as np
import pytest
import torch
from keras.src.ops import nn as keras_nn

import torchkeras
from torchkeras import ops
from torchkeras.ops import attention, convolution, ctc, pooling, table

NAMES = [*convolution.op.names, *pooling.op.names, *attention.op.names, *ctc.op.names]
LAST, FIRST = "channels_last", "channels_first"


def f(*shape, seed=0):
    """Floats of a shape."""
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype("float32")


def same(ours, theirs, what="", tolerance=1e-5):
    """Assert that two results agree in value, dtype and shape."""
    for one, other in zip(*map(_leaves, (ours, theirs)), strict=True):
        assert one.dtype == other.dtype, f"{what}: {one.dtype}, Keras {other.dtype}"
        assert one.shape == other.shape, f"{what}: {one.shape}, Keras {other.shape}"
        one, other = one.detach().double().numpy(), other.detach().double().numpy()
        np.testing.assert_allclose(one, other, tolerance, tolerance, err_msg=str(what))


def _leaves(found):
    return list(found) if isinstance(found, (list, tuple)) else [found]


def agree(name, args, kwargs, arrays=False, tolerance=1e-5):
    """Assert that a call agrees with Keras, with its gradients, on tensors (and on arrays)."""
    what = f"{name} {[getattr(a, 'shape', a) for a in args]} {kwargs}"
    results, grads = [], []
    for module in (ops, keras.ops):
        given = [_leaf(arg) for arg in args]
        found = getattr(module, name)(*given, **kwargs)
        first = _leaves(found)[-1]
        if first.requires_grad:
            (first * torch.arange(1.0, first.numel() + 1).view(first.shape).sin()).sum().backward()
        grads.append([x.grad for x in given if isinstance(x, torch.Tensor) and x.is_leaf])
        results.append(found)
    same(*results, what, tolerance)
    for one, other in zip(*grads, strict=True):
        assert (one is None) == (other is None), what
        if one is not None:
            np.testing.assert_allclose(one, other, 1e-4, 1e-4, err_msg=what)
    if arrays:
        same(getattr(ops, name)(*args, **kwargs), results[1], what, tolerance)


def _leaf(arg):
    if not isinstance(arg, np.ndarray):
        return arg
    return torch.tensor(arg, requires_grad=arg.dtype == np.float32)


def shaped(rank, channels, data_format, sizes=(7, 6, 5)):
    """Floats of 2 samples."""
    space = sizes[:rank]
    return f(2, *space, channels) if data_format == LAST else f(2, channels, *space)


def settings(rank):
    """Strides and dilations, numbers and tuples."""
    mixed = {1: (2,), 2: (2, 1), 3: (1, 2, 1)}[rank]
    return [(1, 1), (2, 1), (3, 1), (mixed, 1), (1, 2), (1, mixed)]


# ---------------------------------------------------------------------------------- convolutions


@pytest.mark.parametrize("data_format", [LAST, FIRST])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv(rank, data_format):
    x = shaped(rank, 4, data_format)
    for (strides, dilation), padding in itertools.product(settings(rank), ("valid", "same")):
        for size, inner in ((3, 4), (2, 2), (1, 4)):
            kernel = f(*(size,) * rank, inner, 6, seed=1)
            agree("conv", (x, kernel, strides, padding, data_format, dilation), {})
    agree("conv", (x, f(*(3,) * rank, 4, 2)), {"data_format": data_format}, arrays=True)


@pytest.mark.parametrize("data_format", [LAST, FIRST])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv_transpose(rank, data_format):
    x = shaped(rank, 3, data_format, (4, 3, 3))
    for (strides, dilation), padding in itertools.product(settings(rank), ("valid", "same")):
        for size in (1, 2, 3, 4):
            kernel = f(*(size,) * rank, 5, 3, seed=1)
            agree("conv_transpose", (x, kernel, strides, padding, None, data_format, dilation), {})
    for padding, added in itertools.product(("valid", "same"), (0, 1, 3, (1,) * rank)):
        for size in (2, 3, 5):
            kernel = f(*(size,) * rank, 5, 3, seed=1)
            agree("conv_transpose", (x, kernel, 2, padding, added, data_format), {})


@pytest.mark.parametrize("data_format", [LAST, FIRST])
@pytest.mark.parametrize("rank", [1, 2])
def test_depthwise_and_separable(rank, data_format):
    x = shaped(rank, 3, data_format)
    for (strides, dilation), padding in itertools.product(settings(rank), ("valid", "same")):
        given = (strides, padding, data_format, dilation)
        depthwise, pointwise = f(*(3,) * rank, 3, 2), f(*(1,) * rank, 6, 4)
        agree("depthwise_conv", (x, depthwise, *given), {})
        agree("separable_conv", (x, depthwise, pointwise, *given), {})


def test_the_default_layout_is_the_configuration():
    x, kernel = shaped(2, 3, FIRST), f(3, 3, 3, 4)
    torchkeras.config.set_image_data_format(FIRST)
    keras.config.set_image_data_format(FIRST)
    try:
        agree("conv", (x, kernel), {"padding": "SAME"})
        agree("max_pool", (x, 2), {})
        agree("depth_to_space", (f(2, 3, 2, 4), 2, LAST), {})
    finally:
        keras.config.set_image_data_format(LAST)


# -------------------------------------------------------------------------------------- poolings


def pooled(x, window, strides, padding, reduce):
    """Pool an array of channels last, window by window."""
    rank = x.ndim - 2
    axes = []
    for size, stride in zip(x.shape[1:-1], strides):
        if padding == "same":
            count = -(-size // stride)
            before = max(0, (count - 1) * stride + window - size) // 2
        else:
            count, before = (size - window) // stride + 1, 0
        starts = [at * stride - before for at in range(count)]
        axes.append([slice(max(0, at), min(size, at + window)) for at in starts])
    y = np.empty((len(x), *map(len, axes), x.shape[-1]), x.dtype)
    for at in itertools.product(*(range(len(slices)) for slices in axes)):
        part = x[(slice(None), *(axis[n] for axis, n in zip(axes, at)))]
        y[(slice(None), *at)] = reduce(part, axis=tuple(range(1, rank + 1)))
    return y


# Keras on torch pads with what is at the edge where 'same' needs one more behind than before, and
# counts it into the average; its other backends and its documentation leave the padding out.
@pytest.mark.parametrize("name,reduce", [("max_pool", np.max), ("average_pool", np.mean)])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pools_are_windows(name, reduce, rank):
    x = shaped(rank, 3, LAST)
    for padding, window in itertools.product(("valid", "same"), (1, 2, 3, 4)):
        for strides in (1, 2, 3, (2, 1, 3)[:rank]):
            each = (strides,) * rank if isinstance(strides, int) else strides
            expected = pooled(x, window, each, padding, reduce)
            found = getattr(ops, name)(x, window, strides, padding)
            np.testing.assert_allclose(found, expected, 1e-5, 1e-5, err_msg=f"{padding} {window}")
            turned = getattr(ops, name)(np.moveaxis(x, -1, 1), window, strides, padding, FIRST)
            np.testing.assert_array_equal(turned, np.moveaxis(found.numpy(), -1, 1))


@pytest.mark.parametrize("data_format", [LAST, FIRST])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_max_pool(rank, data_format):
    x = shaped(rank, 3, data_format)
    for padding, size in itertools.product(("valid", "same"), (2, 3, (3, 2, 1)[:rank])):
        for strides in (None, 1, 2, (2, 1, 3)[:rank]):
            agree("max_pool", (x, size, strides, padding, data_format), {}, arrays=True)


@pytest.mark.parametrize("data_format", [LAST, FIRST])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_average_pool(rank, data_format):
    x = shaped(rank, 3, data_format, (7, 5, 5))
    for size, strides in ((2, None), (3, 1), (3, 2), (2, (2, 1, 3)[:rank])):
        agree("average_pool", (x, size, strides, "valid", data_format), {}, arrays=True)
    for size, strides in ((3, 1), (3, 2)):  # odd windows on odd sizes: Keras pads evenly
        agree("average_pool", (x, size, strides, "same", data_format), {})


@pytest.mark.parametrize("name", ["adaptive_max_pool", "adaptive_average_pool"])
@pytest.mark.parametrize("data_format", [LAST, FIRST])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_adaptive_pools(rank, data_format, name):
    x = shaped(rank, 3, data_format)
    for size in (1, 3, (5, 2, 3)[:rank]):
        agree(name, (x, size, data_format), {}, arrays=True)


def test_patches():
    x = f(2, 3, 6, 7)
    for given in ((2,), (3, 2, 1, 2), ((2, 3), 1, (1, 0), (2, 1))):
        agree("unfold", (x, *given), {}, arrays=True)
    for given in ((4, 2), ((4, 4), (2, 2), 1, 0, 1), (3, 2, 1, 1, 2)):
        patches = keras.ops.unfold(
            torch.zeros(2, 3, *([given[0]] * 2 if given[0] in (3, 4) else given[0])), *given[1:]
        )
        agree("fold", (f(*patches.shape), *given), {}, arrays=True)


@pytest.mark.parametrize("data_format", [LAST, FIRST])
def test_blocks(data_format):
    for block in (2, 3):
        shape = (2, 3, 2, 2 * block**2) if data_format == LAST else (2, 2 * block**2, 3, 2)
        agree("depth_to_space", (f(*shape), block, data_format), {}, arrays=True)
        shape = (2, 3 * block, block, 5) if data_format == LAST else (2, 5, 3 * block, block)
        agree("space_to_depth", (f(*shape), block, data_format), {}, arrays=True)


# ----------------------------------------------------------------------------- attention and CTC

Q, K = f(2, 5, 4, 8), f(2, 6, 4, 8, seed=1)
MASK = np.random.default_rng(2).uniform(size=(2, 1, 5, 6)) > 0.5
MASK[0, 0, 0] = False  # a query that may see nothing


@pytest.mark.parametrize(
    "key,kwargs",
    [
        (K, {}),
        (K, {"is_causal": True}),
        (K, {"scale": 0.3, "flash_attention": False}),
        (K, {"bias": f(2, 1, 5, 6)}),
        (K, {"bias": f(5, 6)}),
        (K, {"bias": f(1, 4, 1, 6)}),
        (K, {"mask": MASK}),
        (K, {"mask": MASK[:, :, :1], "scale": 2.0}),
        (K, {"mask": MASK[0, 0].astype("int32")}),
        (K, {"mask": MASK, "is_causal": True}),
        (K[:, :, :2], {}),
        (K[:, :, :1], {"is_causal": True}),
        (K[:, :, :2], {"mask": MASK}),
    ],
)
def test_attention(key, kwargs):
    agree("dot_product_attention", (Q, key, np.flip(key, 1).copy()), kwargs, arrays=True)


def test_attention_dtypes():
    for one, other in itertools.product(("float16", "bfloat16", "float32", "float64"), repeat=2):
        given = [torch.tensor(x).to(getattr(torch, d)) for x, d in ((Q, one), (K, other), (K, one))]
        for kwargs in ({}, {"mask": MASK}, {"bias": f(5, 6)}):
            theirs = keras.ops.dot_product_attention(*given, **kwargs)
            same(ops.dot_product_attention(*given, **kwargs), theirs, (one, other), 1e-2)


def _logits(rng, *shape):
    return (rng.normal(size=shape) * rng.uniform(0.5, 4)).astype("float32")


@pytest.mark.parametrize("mask_index", [0, 2, 4])
def test_ctc_loss(mask_index):
    rng = np.random.default_rng(mask_index)
    for _ in range(5):
        target = rng.choice([c for c in range(5) if c != mask_index], (4, 4))
        lengths = rng.integers(0, 5, 4), rng.integers(8, 10, 4)
        logits = _logits(rng, 4, 9, 5)
        agree("ctc_loss", (target, logits, *lengths, mask_index), {}, arrays=True)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        given = [torch.tensor(x) for x in (target, logits, *lengths)]
        given[1] = given[1].to(dtype)
        same(ops.ctc_loss(*given, mask_index), keras.ops.ctc_loss(*given, mask_index))


def test_ctc_decode_greedy():
    rng = np.random.default_rng(0)
    for merged, blank in itertools.product((True, False), (0, 2, None)):
        given = (_logits(rng, 4, 9, 3), rng.integers(0, 10, 4))
        kwargs = {"merge_repeated": merged, "mask_index": blank}
        agree("ctc_decode", given, kwargs, arrays=True)
    half = torch.tensor(given[0]).half(), torch.tensor(given[1])
    same(ops.ctc_decode(*half), keras.ops.ctc_decode(*half))


@pytest.mark.parametrize("width", [1, 3, 8, 100])
def test_ctc_decode_beam_search(width):
    rng = np.random.default_rng(width)
    for _ in range(8):
        steps, classes = rng.integers(2, 9), rng.integers(2, 6)
        x = torch.tensor(_logits(rng, 3, steps, classes))
        lengths = torch.tensor(rng.integers(1, steps + 1, 3))
        kwargs = {
            "strategy": "beam_search",
            "beam_width": width,
            "top_paths": min(width, 3),
            "mask_index": int(rng.integers(classes)),
        }
        theirs = keras.ops.ctc_decode(x, lengths, **kwargs)
        ours = ops.ctc_decode(x, lengths, **kwargs)
        same(ours[1], theirs[1], kwargs, 1e-4)
        there = torch.isfinite(theirs[1]).T[..., None]  # beside them Keras has arbitrary labels
        same(torch.where(there, ours[0], -1), torch.where(there, theirs[0], -1), kwargs)


# ---------------------------------------------------------------------------------------- dtypes


def test_dtypes_are_keras():
    x, kernel = torch.arange(96).reshape(2, 4, 4, 3), torch.arange(108).reshape(3, 3, 3, 4) % 5
    calls = {
        "conv": (kernel,),
        "depthwise_conv": (kernel,),
        "conv_transpose": (kernel.transpose(2, 3),),
        "max_pool": (2,),
        "average_pool": (2,),
        "adaptive_max_pool": (2,),
        "adaptive_average_pool": (2,),
        "unfold": (2,),
        "space_to_depth": (2,),
    }
    for name, args in calls.items():
        for dtype in "uint8 int8 int32 int64 float16 bfloat16 float64".split():
            given = [
                a.to(getattr(torch, dtype)) if isinstance(a, torch.Tensor) else a
                for a in (x, *args)
            ]
            try:
                theirs = getattr(keras.ops, name)(*given)
            except NotImplementedError:  # torch has none
                continue
            same(getattr(ops, name)(*given), theirs, (name, dtype), 0 if "int" in dtype else 2e-2)


# --------------------------------------------------------------------------------------- symbols

SPACES = [(None, None, None, 4), (None, 9, None, 4), (3, 9, 8, 4), (None, 9, 8, 4)]
SYMBOLIC = [
    ("conv", (f(3, 3, 4, 6),), {}),
    ("conv", (f(3, 2, 4, 6), 2, "same"), {}),
    ("conv", (f(3, 3, 4, 6),), {"dilation_rate": 2, "strides": (1, 1)}),
    ("depthwise_conv", (f(3, 3, 4, 2), (2, 2)), {}),
    ("separable_conv", (f(3, 3, 4, 2), f(1, 1, 8, 5), 1, "same"), {}),
    ("conv_transpose", (f(3, 3, 5, 4), 2), {}),
    ("conv_transpose", (f(3, 3, 5, 4), 2, "same", 1), {}),
    ("max_pool", (2,), {}),
    ("max_pool", ((3, 2), 2, "same"), {}),
    ("average_pool", (3, (1, 2)), {"padding": "same"}),
    ("depth_to_space", (2,), {}),
]


@pytest.mark.parametrize("name,args,kwargs", SYMBOLIC)
def test_symbolic_shapes_are_keras(name, args, kwargs):
    for shape in SPACES:
        theirs = getattr(keras.ops, name)(keras.KerasTensor(shape), *args, **kwargs)
        ours = getattr(ops, name)(torchkeras.KerasTensor(shape), *args, **kwargs)
        assert (ours.shape, ours.dtype) == (tuple(theirs.shape), theirs.dtype)


# Keras takes no number for output_size here, and gives the shape a dimension too much.
@pytest.mark.parametrize("name", ["adaptive_max_pool", "adaptive_average_pool"])
def test_symbolic_shapes_of_adaptive_pools(name):
    for shape in SPACES:
        x = torchkeras.KerasTensor(shape)
        assert getattr(ops, name)(x, 2).shape == (shape[0], 2, 2, 4)
        assert getattr(ops, name)(x, (2, 1), FIRST).shape == (*shape[:2], 2, 1)


def test_symbolic_shapes_of_other_ranks():
    for shape, kernel in (
        ((None, None, 4), f(3, 4, 6)),
        ((None, None, 9, None, 4), f(3, 3, 3, 4, 6)),
    ):
        theirs = keras.ops.conv(keras.KerasTensor(shape), kernel, 2, "same")
        assert ops.conv(torchkeras.KerasTensor(shape), kernel, 2, "same").shape == theirs.shape
        theirs = keras.ops.average_pool(keras.KerasTensor(shape), 2)
        assert ops.average_pool(torchkeras.KerasTensor(shape), 2).shape == theirs.shape
        shape = (shape[0], 4, *shape[1:-1])
        theirs = keras.ops.max_pool(keras.KerasTensor(shape), 2, 1, "same", FIRST)
        assert (
            ops.max_pool(torchkeras.KerasTensor(shape), 2, 1, "same", FIRST).shape == theirs.shape
        )


def test_symbolic_patches_blocks_attention_and_ctc():
    def spec(module, shape, dtype="float32"):
        return module.KerasTensor(shape, dtype)

    calls = [
        lambda m, o: o.space_to_depth(spec(m, (None, None, 8, 3)), 2),
        lambda m, o: o.unfold(spec(m, (None, 3, 8, 8)), 2),
        lambda m, o: o.fold(spec(m, (None, 12, 9)), 4, 2),
        lambda m, o: o.dot_product_attention(*[spec(m, (None, None, 4, 8))] * 3, is_causal=True),
        lambda m, o: o.dot_product_attention(spec(m, (2, 3, 4, 8)), *[spec(m, (2, 5, 4, 8))] * 2),
        lambda m, o: o.ctc_loss(
            spec(m, (None, 4), "int32"),
            spec(m, (None, 9, 5)),
            spec(m, (None,), "int32"),
            spec(m, (None,), "int32"),
        ),
        lambda m, o: o.ctc_decode(spec(m, (None, None, 5)), spec(m, (None,), "int32")),
        lambda m, o: o.ctc_decode(
            spec(m, (None, 9, 5)), spec(m, (None,), "int32"), "beam_search", 4, 2
        ),
    ]
    for call in calls:
        for mine, other in zip(
            _leaves(call(torchkeras, ops)), _leaves(call(keras, keras.ops)), strict=True
        ):
            assert (mine.shape, mine.dtype) == (tuple(other.shape), other.dtype)


# --------------------------------------------------------------------------------------- configs


def test_signatures_classes_and_settings_are_keras():
    differing = []
    for name in NAMES:
        mine = inspect.signature(getattr(ops, name)).parameters.values()
        other = inspect.signature(getattr(keras.ops, name)).parameters.values()
        if [(p.name, p.default) for p in mine] != [(p.name, p.default) for p in other]:
            differing.append(name)
        operation = table.operation_of(getattr(ops, name))
        cls = getattr(keras_nn, operation.class_name)
        expected = {*list(inspect.signature(cls.__init__).parameters)[1:]} - {"name"}
        if {*operation.settings} != expected:
            differing.append((name, operation.settings, expected))
    assert differing == []


CHAIN = [
    lambda o, x: o.max_pool(x, 2, padding="same"),
    lambda o, x: o.average_pool(x, (2, 3), 1, "valid", LAST),
    lambda o, x: o.space_to_depth(o.depth_to_space(x, 2), 4),
    lambda o, x: o.unfold(x, 2, stride=2),
    lambda o, x: o.dot_product_attention(x, x, x, is_causal=True),
]


@pytest.mark.parametrize("at", range(len(CHAIN)))
def test_models_pass_between_the_two(at):
    inputs, own = keras.Input((6, 4, 8)), torchkeras.Input((6, 4, 8))
    theirs = keras.Model(inputs, CHAIN[at](keras.ops, inputs))
    ours = torchkeras.Model(own, CHAIN[at](ops, own))
    x = torch.tensor(f(3, 6, 4, 8))
    expected = theirs(x)
    same(ours(x), expected)
    same(torchkeras.Model.from_config(theirs.get_config())(x), expected)
    same(keras.models.model_from_json(ours.to_json())(x), expected)
    for mine, other in zip(ours.get_config()["layers"][1:], theirs.get_config()["layers"][1:]):
        assert mine["class_name"] == other["class_name"]
        assert {**mine["config"], "name": ""} == {**other["config"], "name": ""}


def test_adaptive_pools_of_keras_are_read():
    """The other way round Keras fails on the lists that JSON makes of its own sizes."""
    inputs = keras.Input((6, 4, 8))
    found = keras.ops.adaptive_average_pool(inputs, (3, 3), FIRST)
    theirs = keras.Model(inputs, keras.ops.adaptive_max_pool(found, (2, 1), FIRST))
    x = torch.tensor(f(3, 6, 4, 8))
    same(torchkeras.Model.from_config(theirs.get_config())(x), theirs(x))
