"""Calls that are tried for the shapes of their outputs: what is found, and that nothing is left."""

import pytest
import torch
from torch import nn

from torchkeras import Input, Model, layers

LARGE = 70_000  # inputs of so many numbers are tried on the meta device


def of(call):
    """Make a layer of a function."""

    class Tried(layers.Layer):
        def call(self, inputs):
            return call(inputs)

    return Tried()


@pytest.mark.parametrize(
    ("call", "shape", "expected"),
    [
        (lambda x: nn.functional.avg_pool1d(x.mT, 2).mT, (None, 8), (None, None, 8)),
        (
            lambda x: nn.functional.max_pool2d(x.movedim(-1, 1), 4).movedim(1, -1),
            (None, None, 3),
            (None, None, None, 3),
        ),
        (lambda x: x[:, ::16], (None, 2), (None, None, 2)),
        (lambda x: x.unfold(1, 8, 8).mean(-1), (None, 2), (None, None, 2)),
        (lambda x: x.mean(1, keepdim=True), (None, 2), (None, 1, 2)),
        (lambda x: x.mean((1, 2), keepdim=True), (None, None, 3), (None, 1, 1, 3)),
        (lambda x: x.view(x.size(0), -1), (None, 5), (None, None)),
        (lambda x: x.view(x.size(0), -1), (3, 5), (None, 15)),
        (lambda x: x.reshape(-1, 10), (5,), (None, 10)),
        (lambda x: x.transpose(1, 3).flatten(2), (None, None, 8), (None, 8, None)),
        (lambda x: x[x.sum(-1) > 0], (3,), (None, 3)),
        (lambda x: x.nonzero(), (3,), (None, 2)),
        (lambda x: x.sum(), (3,), ()),
    ],
)
def test_unknown_sizes_of_the_output(call, shape, expected):
    assert of(call)(Input(shape)).shape == expected


def test_a_dense_layer_behind_a_pooling_of_unknown_size_is_not_built_for_size_one():
    inputs = Input((None, 4))
    pooled = of(lambda x: nn.functional.avg_pool1d(x.mT, 2))(inputs)
    assert pooled.shape == (None, 4, None)
    with pytest.raises(ValueError, match="last"):
        layers.Dense(2)(pooled)


@pytest.mark.parametrize("size", [4, LARGE])
def test_a_buffer_that_call_replaces_counts_real_calls_only(size):
    class Counting(layers.Layer):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))
            self.register_buffer("mean", torch.zeros(size))

        def call(self, inputs):
            self.count = self.count + 1
            self.mean = inputs.mean(0)
            return inputs - self.mean

    layer, inputs = Counting(), Input((size,))
    model = Model(inputs, layer(inputs))
    assert not layer.mean.is_meta
    assert float(layer.count) == 0
    model(torch.ones(2, size))
    assert float(layer.count) == 1
    assert float(layer.mean.sum()) == size


@pytest.mark.parametrize("size", [4, LARGE])
def test_a_failing_call_leaves_nothing_behind(size):
    class Failing(layers.Layer):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))
            self.linear = nn.Linear(2, 2)

        def call(self, inputs):
            self.count = self.count + 1
            self.seen = inputs
            torch.rand(3)
            raise KeyError("inner")

    layer = Failing()
    layer.train()
    before = torch.random.get_rng_state()
    with pytest.raises(KeyError, match="inner"):
        layer(Input((size,)))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert float(layer.count) == 0 and not layer.count.is_meta
    assert not hasattr(layer, "seen")
    assert layer.training and layer.linear.training
    assert all(parameter.requires_grad for parameter in layer.parameters())


@pytest.mark.parametrize("size", [4, LARGE])
def test_what_call_makes_is_made_once_and_for_real(size):
    class Lazy(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = None

        def call(self, inputs):
            if self.inner is None:
                self.inner = layers.Dense(3)
            return self.inner(inputs)

    layer, inputs = Lazy(), Input((size,))
    outputs = layer(inputs)
    assert outputs.shape == (None, 3)
    kernel = layer.inner.linear.weight
    assert not kernel.is_meta
    found = Model(inputs, outputs)(torch.ones(1, size))
    torch.testing.assert_close(found[0], kernel.sum(1))


def test_explicit_training_of_a_nested_model_holds_while_the_rest_trains():
    inputs = Input((3,))
    base = Model(inputs, layers.BatchNormalization(momentum=0.5)(inputs))
    outer = Input((3,))
    frozen = base(outer, training=False)
    free = layers.BatchNormalization(momentum=0.5)(frozen)
    model = Model(outer, free)
    x = torch.tensor([[0.0, 0.0, 0.0], [2.0, 4.0, 6.0]])
    model(x, training=True)
    moving_mean = [
        layer.moving_mean.numpy().tolist() for layer in (base.layers[1], model.layers[2])
    ]
    assert moving_mean[0] == [0.0, 0.0, 0.0]
    assert moving_mean[1] == pytest.approx([0.5, 1.0, 1.5], abs=1e-2)
    assert not model.training and not base.training
