"""Layers that compute in another dtype than that of their weights."""

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn

import torchkeras
from torchkeras import config, dtypes, layers
from torchkeras.layers import mixed


def dense(**kwargs):
    layer = layers.Dense(3, dtype="mixed_bfloat16", **kwargs)
    layer.build((None, 4))
    return layer


def test_weights_come_back_and_get_gradients():
    layer = dense()
    weight, bias = layer.linear.weight, layer.linear.bias
    x = torch.randn(5, 4, requires_grad=True)
    y = layer(x)
    expected = nn.functional.linear(x.bfloat16(), weight.bfloat16(), bias.bfloat16())
    assert torch.equal(y, expected)
    assert layer.linear.weight is weight and layer.linear.bias is bias
    y.sum().backward()
    assert weight.grad.dtype is x.grad.dtype is torch.float32
    assert torch.equal(bias.grad, torch.full((3,), 5.0))
    assert [p.dtype for p in layer.parameters()] == [torch.float32] * 2
    assert layer.state_dict()["linear.weight"].dtype is torch.float32


def test_weights_come_back_after_an_error():
    layer = dense(activation=lambda x: 1 / 0)
    weight = layer.linear.weight
    with pytest.raises(ZeroDivisionError):
        layer(torch.ones(1, 4))
    assert layer.linear.weight is weight and not mixed.is_casting()
    # and the lock is free
    other = threading.Thread(target=dense(), args=(torch.ones(1, 4),))
    other.start()
    other.join(timeout=5)
    assert not other.is_alive()


def test_what_call_puts_in_the_place_of_a_weight_stays():
    class Replacing(layers.Layer):
        def build(self, input_shape):
            self.linear = nn.Linear(2, 2)

        def call(self, x):
            y = self.linear(x)
            self.linear.bias = None
            return y

    layer = Replacing(dtype="mixed_float16")
    assert layer(torch.ones(1, 2)).dtype is torch.float16
    assert layer.linear.bias is None
    assert layer.linear.weight.dtype is torch.float32


class Counting(layers.Layer):
    """Writes to its weights within call."""

    def build(self, input_shape):
        self.w = self.add_weight((2,), "ones")
        self.count = self.add_weight((), "zeros", trainable=False)
        self.linear = nn.Linear(2, 2)
        self.raw = nn.Parameter(torch.ones(2))

    def call(self, x):
        self.seen = (self.w.value.dtype, self.count.value.dtype, self.raw.dtype)
        self.count.assign(self.count + 0.125)
        self.count.assign_add(1.0)
        self.w.assign(self.w * 2)
        self.w.assign_sub(np.ones(2))
        return self.linear(x) * self.raw + self.w


def test_state_that_call_assigns_is_that_of_the_layer():
    # Keras 3 on torch loses such assignments under a mixed policy: they go to the copies.
    layer = Counting(dtype="mixed_float16")
    for _ in range(2):
        layer(torch.ones(3, 2))
    assert layer.seen == (torch.float16,) * 3
    assert layer.count.dtype == layer.w.dtype == "float32"
    assert float(layer.count) == 2.25
    assert layer.w.numpy().tolist() == [1.0, 1.0]


def test_weights_that_are_not_to_be_cast():
    class Kept(layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight((2,), "ones", autocast=False)

        def call(self, x):
            self.noted = (self.w.value.dtype, self.w.dtype, x.dtype)
            return x * self.w.value.to(x.dtype)

    layer = Kept(dtype="mixed_float16")
    layer(torch.ones(1, 2))
    assert layer.noted == (torch.float32, "float32", torch.float16)
    without = dense(autocast=False)
    assert without(torch.ones(1, 4)).dtype is torch.float32


def test_batch_normalization_keeps_wide_statistics():
    layer = layers.BatchNormalization(dtype="mixed_float16", momentum=0.5)
    x = torch.randn(64, 3) * 300 + 1000  # squares overflow in half precision
    y = layer(x, training=True)
    assert y.dtype is torch.float16 and bool(torch.isfinite(y).all())
    assert [v.dtype for v in layer.weights] == ["float32"] * 4
    wide = x.half().float()
    np.testing.assert_allclose(layer.moving_mean.numpy(), wide.mean(0) / 2, rtol=1e-5)
    expected = wide.var(0, unbiased=False) / 2 + 0.5
    np.testing.assert_allclose(layer.moving_variance.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (lambda: nn.LSTM(4, 3), (2, 5, 4)),
        (lambda: nn.GRU(4, 3, bidirectional=True), (2, 5, 4)),
        (lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.LayerNorm(4)), (6, 4)),
        (lambda: nn.Conv1d(2, 3, 3), (2, 2, 7)),
        (lambda: nn.TransformerEncoderLayer(4, 2, 8), (2, 5, 4)),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)), (3, 4)),
    ],
)
def test_torch_modules(module, shape, policy, training):
    module = module()
    before = {name: (p, p.dtype) for name, p in module.named_parameters()}

    class First(nn.Module):  # recurrent modules return a tuple
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self, x):
            y = self.module(x)
            return y[0] if isinstance(y, tuple) else y

    layer = layers.TorchModuleWrapper(First(), dtype=policy)
    y = layer(torch.randn(shape), training=training)
    assert y.dtype is layer.dtype_policy.torch_compute_dtype
    (y.float() ** 2).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter is before[name][0] and parameter.dtype is torch.float32
        assert parameter.grad.dtype is torch.float32
    assert all(b.dtype is torch.float32 for b in module.buffers() if b.is_floating_point())
    if isinstance(module, nn.RNNBase):
        assert all(w is p for w, p in zip(module._flat_weights, module.parameters()))


def test_a_torch_module_follows_the_global_policy_where_its_weights_are_float32():
    config.set_dtype_policy("mixed_bfloat16")
    assert layers.TorchModuleWrapper(nn.Linear(4, 2)).compute_dtype == "bfloat16"
    assert layers.TorchModuleWrapper(nn.Linear(4, 2).double()).compute_dtype == "float64"


def test_a_weight_of_another_layer_reads_in_the_dtype_of_the_one_that_computes():
    source = dense()

    class Tied(layers.Layer):
        def call(self, x):
            return x @ torch.t(source.kernel)

    assert Tied(dtype="mixed_bfloat16")(torch.ones(2, 3)).dtype is torch.bfloat16
    assert Tied(dtype="float32")(torch.ones(2, 3)).dtype is torch.float32


def test_threads_do_not_see_each_others_casts():
    half, full = dense(), layers.Dense(3)
    x = torch.ones(2, 4)
    full(x)
    wrong, stop = [], threading.Event()

    def work(layer, dtype):
        while not stop.is_set():
            if layer(x).dtype is not dtype or full.kernel.value.dtype is not torch.float32:
                wrong.append(dtype)
                return

    pairs = [(half, torch.bfloat16), (half, torch.bfloat16), (full, torch.float32)]
    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    stop.wait(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert half.linear.weight.dtype is torch.float32


def model(**kwargs):
    made = torchkeras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(1, dtype="float32"),
        ]
    )
    made.compile("adam", "mse", **kwargs)
    return made


@pytest.mark.parametrize("scaled", [False, True])
def test_captured_and_eager_training_are_the_same(scaled):
    config.set_dtype_policy("mixed_float16" if scaled else "mixed_bfloat16")
    x, y = np.random.rand(48, 4), np.random.rand(48, 1)
    first, second = model(), model(run_eagerly=True)
    second.set_weights(first.get_weights())
    curves = [
        m.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0).history["loss"]
        for m in (first, second)
    ]
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-6)
    for ours, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-5, atol=1e-7)
    assert "train: captured" in str(first.step_report())


def test_copies_and_torch_compile():
    config.set_dtype_policy("mixed_bfloat16")
    made = model()
    x = torch.randn(3, 4)
    expected = made(x)
    assert torch.equal(copy.deepcopy(made)(x), expected)
    compiled = torch.compile(made, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), expected)
    assert dtypes.autocast.dtype is None
