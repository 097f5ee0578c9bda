"""Permute, RepeatVector, Masking, Identity, ActivityRegularization, masked BatchNormalization."""

import json

import pytest
import torch
from torch import nn

from torchkeras import layers, trust
from torchkeras.layers import (
    ActivityRegularization,
    BatchNormalization,
    Dense,
    Dropout,
    Identity,
    Input,
    Masking,
    Permute,
    RepeatVector,
    TorchModuleWrapper,
)


def test_permute():
    x = torch.randn(2, 3, 4)
    layer = Permute((2, 1))
    assert torch.equal(layer(x), x.transpose(1, 2))
    assert layer.compute_output_shape((None, None, 4)) == (None, 4, None)
    assert Permute((2, 1))(Input((3, 4))).shape == (None, 4, 3)
    for wrong in (lambda: layer(x[0]), lambda: layer.compute_output_shape((None, 3))):
        with pytest.raises(ValueError, match="rank 3"):
            wrong()


@pytest.mark.parametrize("dims", [(0, 1), (1, 3), (1, 1), (), 2, None, ("a", 1), (1.5, 1)])
def test_permute_needs_an_order(dims):
    with pytest.raises(ValueError, match="dims must hold each of 1, 2"):
        Permute(dims)


def test_repeat_vector():
    x = torch.randn(2, 3)
    out = RepeatVector(4)(x)
    assert out.shape == (2, 4, 3) and torch.equal(out[:, 3], x) and out.is_contiguous()
    assert RepeatVector(4).compute_output_shape((None, None)) == (None, 4, None)
    with pytest.raises(ValueError, match="rank 2"):
        RepeatVector(4)(torch.ones(2, 3, 4))
    with pytest.raises(ValueError, match="rank 2"):
        RepeatVector(4).compute_output_shape((None, 3, 4))


@pytest.mark.parametrize("n", [0, -1, 1.5, "2", None, True])
def test_repeat_vector_needs_a_number(n):
    with pytest.raises(ValueError, match="n must be a positive integer"):
        RepeatVector(n)


def test_masking():
    x = torch.tensor([[[1.0, 2.0], [-1.0, -1.0], [-1.0, 0.0]]])
    out = Masking(mask_value=-1)(x)
    assert out.tolist() == [[[1.0, 2.0], [0.0, 0.0], [-1.0, 0.0]]]
    assert out._keras_mask.tolist() == [[True, False, True]]
    assert not hasattr(x, "_keras_mask")


def test_a_mask_value_may_be_a_tensor_and_come_from_a_config():
    value = torch.tensor([1.0, 2.0])
    x = torch.tensor([[[1.0, 2.0], [1.0, 1.0]]])
    written = {"class_name": "__tensor__", "config": {"value": [1.0, 2.0], "dtype": "float32"}}
    for layer in (
        Masking(value),
        Masking(written),
        Masking.from_config(Masking(value).get_config()),
    ):
        assert layer(x)._keras_mask.tolist() == [[False, True]]


def test_the_mask_of_the_input_does_not_count():
    x = torch.tensor([[[1.0], [2.0]]])
    out = Masking(mask_value=2.0)(Masking(mask_value=1.0)(x))
    assert out._keras_mask.tolist() == [[True, False]] and out.flatten().tolist() == [0.0, 0.0]


@pytest.mark.parametrize("training", [False, True])
def test_a_mask_goes_through_layers_that_support_it(training):
    x = Masking()(torch.tensor([[[1.0], [0.0], [3.0]]]))
    chain = [
        Dense(4),
        layers.Activation("relu"),
        Dropout(0.5),
        BatchNormalization(),
        Identity(),
        ActivityRegularization(l1=0.1),
    ]
    out = x
    for layer in chain:
        out = layer(out, training=training)
        assert out._keras_mask.tolist() == [[True, False, True]], layer.name


def test_identity_takes_structures():
    a, b = torch.ones(2), torch.ones(3)
    out = Identity()({"a": a, "b": [b]})
    assert out["a"] is a and out["b"][0] is b
    assert Identity().compute_output_shape([(None, 3), (None,)]) == [(None, 3), (None,)]
    assert Identity()(Input((3, None))).shape == (None, 3, None)


def test_activity_regularization():
    layer = ActivityRegularization(l1=0.1, l2=0.5)
    x = torch.tensor([[1.0, -2.0], [3.0, 0.0]])
    assert torch.equal(layer(x), x)
    assert layer.losses[0].item() == pytest.approx((0.1 * 6 + 0.5 * 14) / 2)
    assert layer.get_config()["l2"] == 0.5 and "activity_regularizer" not in layer.get_config()
    with pytest.raises(ValueError):
        ActivityRegularization(l1="much")


# -------------------------------------------------------------------------- BatchNormalization


def test_masked_steps_do_not_count_in_the_statistics():
    layer = BatchNormalization(momentum=0.0, epsilon=1e-12)
    x = torch.tensor([[[1.0], [100.0], [3.0]]])
    mask = torch.tensor([[True, False, True]])
    out = layer(x, mask=mask, training=True)
    assert out[0, [0, 2], 0].tolist() == pytest.approx([-1.0, 1.0])
    assert layer.moving_mean.numpy() == pytest.approx([2.0])
    assert layer.moving_variance.numpy() == pytest.approx([1.0])


def test_a_mask_of_ones_changes_nothing():
    x = torch.randn(6, 4, 3)
    one, other = BatchNormalization(), BatchNormalization()
    plain = one(x, training=True)
    masked = other(x, mask=torch.ones(6, 4, dtype=torch.bool), training=True)
    torch.testing.assert_close(masked, plain, rtol=1e-5, atol=1e-5)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert a == pytest.approx(b, abs=1e-6)


@pytest.mark.parametrize("training", [False, True])
def test_a_mask_of_another_rank(training):
    layer = BatchNormalization(name="norm")
    with pytest.raises(ValueError, match=r"'norm': the mask's rank.*\(2,\).*\(2, 3, 4\)"):
        layer(torch.ones(2, 3, 4), mask=torch.ones(2), training=training)


def test_in_inference_the_mask_does_not_matter():
    layer = BatchNormalization()
    x, mask = torch.randn(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool)
    assert torch.equal(layer(x, mask=mask), layer(x))


# ---------------------------------------------------------------------------- TorchModuleWrapper


class Attend(nn.Module):
    """Takes two inputs and an argument of its own."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, query, key, scale=1.0):
        return self.linear(query) * key * scale


def test_a_module_of_several_inputs():
    module = Attend()
    layer = TorchModuleWrapper(module)
    q, k = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(layer(q, k), module(q, k))
    assert torch.equal(layer(q, key=k, scale=2.0), module(q, k, 2.0))
    out = layer(Input((3,)), Input((3,)))
    assert out.shape == (None, 3)


def test_training_reaches_the_module():
    layer = TorchModuleWrapper(nn.Dropout(1.0))
    x = torch.ones(2, 3)
    assert layer(x).sum() == 6 and layer(x, training=True).sum() == 0


def test_a_module_comes_back_from_its_config_where_trusted():
    layer = TorchModuleWrapper(nn.Linear(3, 2), output_shape=(None, 2))
    config = json.loads(json.dumps(layers.serialize(layer)))
    with pytest.raises(ValueError, match="torch module.*safe_mode=False"):
        layers.deserialize(config)
    with trust.safe_mode(False):
        made = layers.deserialize(config)
    x = torch.randn(4, 3)
    assert torch.equal(made(x), layer(x)) and made.module is not layer.module
    assert made.compute_output_shape((None, 3)) == (None, 2)


def test_a_lazy_module_needs_its_parameters():
    lazy = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(ValueError, match="lazy"):
        TorchModuleWrapper(lazy)
    lazy(torch.ones(2, 4))
    assert TorchModuleWrapper(lazy)(torch.ones(2, 4)).shape == (2, 3)
