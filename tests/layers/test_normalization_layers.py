"""Activations, normalizations, noise and Keras 1's layers: their own behaviour, errors, steps."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import torchkeras as keras
from torchkeras import eras, layers
from torchkeras.layers import Dense, Input, Merge, merge

X = np.random.RandomState(0).randn(40, 6).astype("float32")
Y = np.random.RandomState(1).rand(40, 2).astype("float32")


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("ReLU", {"max_value": -1}, "max_value"),
        ("ReLU", {"negative_slope": None}, "negative_slope"),
        ("ReLU", {"threshold": -0.5}, "threshold"),
        ("LeakyReLU", {"negative_slope": -1}, "negative_slope"),
        ("ThresholdedReLU", {"theta": "high"}, "theta"),
        ("GroupNormalization", {"groups": 0}, "groups"),
        ("BatchNormalization", {"axis": "last"}, "axis"),
        ("BatchNormalization", {"renorm": True, "renorm_clipping": {"max": 1}}, "'max'"),
        (
            "BatchNormalization",
            {"renorm": True, "renorm_clipping": {"rmin": 2, "rmax": 1}},
            "rmax=1",
        ),
        ("BatchNormalization", {"renorm": True, "renorm_clipping": {"dmax": -1}}, "dmax=-1"),
        ("GaussianNoise", {"stddev": -0.1}, "stddev"),
        ("GaussianDropout", {"rate": 1.5}, "rate"),
        ("GaussianDropout", {"rate": 1}, "below 1"),
        ("AlphaDropout", {"rate": 1.0}, "below 1"),
        ("AlphaDropout", {"rate": 0.5, "noise_shape": (0, 1)}, "noise_shape"),
        ("SpatialDropout2D", {"rate": 0.5, "data_format": "middle"}, "data_format"),
        ("MaxoutDense", {"units": 0}, "units"),
        ("Merge", {"mode": "join"}, "mode"),
        ("JaxLayer", {}, "TorchModuleWrapper"),
        ("FlaxLayer", {}, "JAX"),
        ("TFSMLayer", {"filepath": "x"}, "load_model"),
    ],
)
def test_arguments_are_checked(name, config, message):
    with pytest.raises(ValueError, match=message):
        getattr(layers, name)(**config)


@pytest.mark.parametrize("name", ["LayerNormalization", "RMSNormalization", "UnitNormalization"])
def test_axis_must_be_one(name):
    with pytest.raises(TypeError, match=f"{name}: axis"):
        getattr(layers, name)(axis="last")
    with pytest.raises(ValueError, match="axis=3 is out of bounds"):
        getattr(layers, name)(axis=3).compute_output_shape((2, 3))


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (layers.GroupNormalization(4, name="me"), (2, 6), "'me'.*4 groups of 6"),
        (layers.GroupNormalization(4, axis=0, name="me"), (4, 6), "batch"),
        (layers.LayerNormalization(name="me"), (2, None), "'me'.*size of axis -1"),
        (layers.PReLU(shared_axes=[3], name="me"), (2, 6), "'me'.*from 1 to 1"),
        (layers.PReLU(name="me"), (2, None, 6), "'me'.*shared_axes"),
        (layers.Highway(name="me"), (2, 3, 6), "'me'.*rank 2"),
        (layers.MaxoutDense(3, name="me"), (2, 3, 6), "'me'.*rank 2"),
        (layers.TimeDistributedDense(3, name="me"), (2, 6), "'me'.*rank 3"),
    ],
)
def test_shapes_are_checked(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.build(shape)


def test_softmax_mask_must_broadcast():
    with pytest.raises(ValueError, match=r"\(2, 4\).*\(2, 3\)"):
        layers.Softmax()(torch.ones(2, 3), mask=torch.ones(2, 4, dtype=torch.bool))


def test_thresholded_relu():
    out = layers.ThresholdedReLU(theta=1.0)(torch.tensor([[-2.0, 0.5, 1.0, 1.5]]))
    assert out.tolist() == [[0.0, 0.0, 0.0, 1.5]]


@pytest.mark.parametrize("axis", [1, [1, 2]])
@pytest.mark.parametrize("name", ["LayerNormalization", "RMSNormalization"])
def test_normalization_along_inner_axes(name, axis):
    x = np.random.RandomState(2).randn(3, 4, 2, 5).astype("float32")
    layer = getattr(layers, name)(axis=axis, epsilon=0.01)
    layer.build(x.shape)
    over = tuple(np.atleast_1d(axis))
    values = [np.random.RandomState(3).rand(*w.shape) for w in layer.weights]
    layer.set_weights(values)
    shape = [size if at in over else 1 for at, size in enumerate(x.shape)]
    gamma, beta = values[0].reshape(shape), 0
    if name == "LayerNormalization":
        beta = values[1].reshape(shape)
        mean, square = x.mean(over, keepdims=True), x.var(over, keepdims=True)
    else:
        mean, square = 0, (x**2).mean(over, keepdims=True)
    expected = (x - mean) / np.sqrt(square + 0.01) * gamma + beta
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_torch_modules_hold_the_weights():
    x = torch.randn(2, 3, 4)
    for layer, kind in (
        (layers.LayerNormalization(), nn.LayerNorm),
        (layers.GroupNormalization(2), nn.GroupNorm),
        (layers.RMSNormalization(), nn.RMSNorm),
        (layers.BatchNormalization(), nn.BatchNorm1d),
    ):
        layer(x)
        assert type(layer.norm) is kind
        assert "norm.weight" in layer.state_dict()


def test_synchronized_batch_normalization_alone_is_the_plain_one(tmp_path):
    x = torch.randn(6, 4, requires_grad=True)
    found = []
    for synchronized in (False, True):
        layer = layers.BatchNormalization(synchronized=synchronized)
        if synchronized:
            torch.distributed.init_process_group(
                "gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1
            )
        try:
            out = layer(x, training=True)
            x.grad = None
            (out * torch.arange(24.0).view(6, 4)).sum().backward()
        finally:
            if synchronized:
                torch.distributed.destroy_process_group()
        found.append([out.detach(), x.grad, *map(torch.tensor, layer.get_weights())])
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def test_noise_passes_input_on_in_inference_and_differs_between_calls():
    x = torch.ones(50, 4)
    for layer in (layers.GaussianNoise(0.5), layers.GaussianDropout(0.3), layers.AlphaDropout(0.3)):
        assert layer(x) is x
        assert not torch.equal(layer(x, training=True), layer(x, training=True))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("seed", [None, 3])
def test_spatial_dropout_drops_whole_channels(data_format, seed):
    shape = (8, 5, 6, 20) if data_format == "channels_last" else (8, 20, 5, 6)
    out = layers.SpatialDropout2D(0.4, data_format, seed=seed)(torch.ones(shape), training=True)
    rows = out.movedim(1, -1) if data_format == "channels_first" else out
    flat = rows.reshape(8, 30, 20)
    assert (flat == flat[:, :1]).all()
    kept = (flat[:, 0] > 0).float().mean()
    assert 0.4 < kept < 0.8
    assert set(np.round(flat.unique().tolist(), 5)) == {0.0, round(1 / 0.6, 5)}


def test_old_names_of_arguments():
    assert layers.LeakyReLU(alpha=0.2).negative_slope == 0.2
    with eras.using(1):
        assert layers.LeakyReLU(alpha=-1.0).negative_slope == -1.0
    assert layers.GaussianNoise(sigma=3.0).stddev == 3.0
    assert layers.GaussianDropout(p=0.2).rate == 0.2
    assert layers.AlphaDropout(p=0.2).rate == 0.2
    assert layers.PReLU(init="one").get_config()["alpha_initializer"]["class_name"] == "Ones"
    drop = layers.SpatialDropout2D(p=0.2, dim_ordering="th")
    assert (drop.rate, drop.data_format) == (0.2, "channels_first")
    model = keras.Sequential([layers.TimeDistributedDense(output_dim=4, input_dim=3)])
    assert model.output_shape == (None, None, 4)
    dense = layers.TimeDistributedDense(4, activation="relu", bias=False, input_dim=3)
    again = layers.TimeDistributedDense.from_config(dense.get_config())
    assert again.get_config() == dense.get_config()
    assert not again.use_bias
    layer = layers.MaxoutDense(output_dim=3, nb_feature=5, init="normal", W_regularizer="l2")
    assert (layer.units, layer.features) == (3, 5)
    with pytest.raises(ValueError, match="virtual_batch_size"):
        layers.BatchNormalization(virtual_batch_size=4)


# ----------------------------------------------------------------------- spectral normalization


def test_spectral_normalization_brings_the_largest_singular_value_to_one():
    layer = layers.SpectralNormalization(Dense(5), power_iterations=50)
    layer(X, training=True)
    kernel = layer.layer.kernel.numpy()
    assert np.linalg.svd(kernel)[1][0] == pytest.approx(1, abs=1e-4)
    before = layer.get_weights()
    layer(X)  # inference changes nothing
    for mine, other in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, other)
    again = layers.SpectralNormalization.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_spectral_normalization_leaves_zeros_and_refuses_what_has_no_kernel():
    layer = layers.SpectralNormalization(Dense(5, kernel_initializer="zeros"))
    assert not layer(X, training=True).any()
    with pytest.raises(ValueError, match="neither a kernel"):
        layers.SpectralNormalization(layers.Dropout(0.2))(X)
    with pytest.raises(ValueError, match="power_iterations"):
        layers.SpectralNormalization(Dense(5), power_iterations=0)


# ------------------------------------------------------------------------------ Keras 1's layers


def test_maxout_dense_is_the_largest_of_several():
    layer = layers.MaxoutDense(3, features=2)
    layer.build((None, 6))
    kernel, bias = np.random.RandomState(4).randn(2, 6, 3), np.random.RandomState(5).randn(2, 3)
    layer.set_weights([kernel, bias])
    expected = np.maximum(X @ kernel[0] + bias[0], X @ kernel[1] + bias[1])
    np.testing.assert_allclose(layer(X).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_highway_mixes_by_its_gate():
    layer = layers.Highway(activation="tanh")
    layer.build((None, 6))
    names = [w.name for w in layer.weights]
    assert names == ["kernel", "carry_kernel", "bias", "carry_bias"]
    assert layer.get_weights()[3].tolist() == [1] * 6
    kernel, carry, bias, carry_bias = layer.get_weights()
    gate = 1 / (1 + np.exp(-(X @ carry + carry_bias)))
    expected = gate * np.tanh(X @ kernel + bias) + (1 - gate) * X
    np.testing.assert_allclose(layer(X).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


A, B = X[:, :3], X[:, 3:]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("sum", A + B),
        ("mul", A * B),
        ("ave", (A + B) / 2),
        ("max", np.maximum(A, B)),
        ("concat", X),
        ("dot", (A * B).sum(-1, keepdims=True)),
        (
            "cos",
            ((A * B).sum(-1) / np.sqrt((A**2).sum(-1) * (B**2).sum(-1)))[:, None, None],
        ),
        (lambda pair, by=2: pair[0] * by - pair[1], A * 2 - B),
    ],
)
def test_merge_of_tensors(mode, expected):
    a, b = Input((3,)), Input((3,))
    model = keras.Model([a, b], merge([a, b], mode=mode))
    assert model.output_shape == (None, *expected.shape[1:])
    np.testing.assert_allclose(model.predict([A, B], verbose=0), expected, rtol=1e-4, atol=1e-5)
    if callable(mode):  # the bytecode of a lambda is read where the user asks for it
        layer = model.layers[-1]
        again = Merge.from_config(layer.get_config(), safe_mode=False)
        torch.testing.assert_close(again([A, B]), layer([A, B]))
        return
    again = keras.Model.from_config(model.get_config())
    np.testing.assert_allclose(again.predict([A, B], verbose=0), expected, rtol=1e-4, atol=1e-5)


def test_merge_with_given_shape_mask_and_arguments():
    def join(pair, scale):
        return torch.cat(pair, 1) * scale

    layer = Merge(
        mode=join,
        output_shape=lambda shapes: (shapes[0][0], shapes[0][1] + shapes[1][1]),
        output_mask=lambda masks: torch.cat(masks, 1),
        arguments={"scale": 3.0},
    )
    assert layer.compute_output_shape([(None, 3), (None, 4)]) == (None, 7)
    a, b = torch.ones(2, 3), torch.ones(2, 3)
    a._keras_mask = torch.ones(2, 3, dtype=torch.bool)
    b._keras_mask = torch.zeros(2, 3, dtype=torch.bool)
    out = layer([a, b])
    assert out.unique().tolist() == [3.0]
    assert out._keras_mask.tolist() == [[True] * 3 + [False] * 3] * 2


def branch():
    return keras.Sequential([Dense(4, input_shape=(6,)), layers.Activation("relu")])


def test_merge_begins_a_sequential_with_several_models():
    left, right, righter = branch(), branch(), branch()
    inner = keras.Sequential([Merge([left, right], mode="sum"), Dense(4)])
    model = keras.Sequential([Merge([inner, righter], mode="concat"), Dense(2)])
    model.compile("sgd", "mse")
    model.fit([X, X, X], Y, batch_size=8, epochs=2, verbose=0)
    assert len(model.weights) == 10
    parts = [part(X).detach() for part in (left, right, righter)]
    joined = torch.cat([inner.layers[1](parts[0] + parts[1]), parts[2]], -1)
    expected = model.layers[1](joined).detach().numpy()
    found = model.predict([X, X, X], verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    again = keras.Sequential.from_config(model.get_config())
    again.build([(None, 6)] * 3)
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(again.predict([X, X, X], verbose=0), found, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="takes 3 inputs"):
        model.predict([X, X], verbose=0)


def test_a_model_merged_with_itself_takes_one_input():
    one = branch()
    model = keras.Sequential([Merge([one, one], mode="sum"), Dense(2)])
    found = model(X)
    expected = model.layers[1](2 * one(X))
    torch.testing.assert_close(found, expected)
    assert len(model.weights) == 4


def test_merge_needs_models():
    with pytest.raises(TypeError, match="two or more models"):
        Merge([branch()], mode="sum")


def test_merge_of_a_keras_1_config():
    with eras.using(1):
        config = {
            **{"name": "merge_1", "mode": "concat", "mode_type": "raw", "concat_axis": 1},
            **{"dot_axes": -1, "output_shape": None, "output_shape_type": "raw"},
            **{"output_mask": None, "output_mask_type": "raw", "arguments": {}},
        }
        layer = Merge.from_config(config)
    assert layer.compute_output_shape([(None, 3), (None, 4)]) == (None, 7)


# -------------------------------------------------------------------------------- captured steps

_TRAINED = {
    "ReLU": lambda: layers.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.2),
    "LeakyReLU": layers.LeakyReLU,
    "ELU": layers.ELU,
    "PReLU": layers.PReLU,
    "Softmax": layers.Softmax,
    "ThresholdedReLU": lambda: layers.ThresholdedReLU(theta=0.3),
    "BatchNormalization": lambda: layers.BatchNormalization(momentum=0.8),
    "renorm": lambda: layers.BatchNormalization(renorm=True, momentum=0.8),
    "LayerNormalization": layers.LayerNormalization,
    "inner axis": lambda: layers.LayerNormalization(axis=1),
    "GroupNormalization": lambda: layers.GroupNormalization(2),
    "RMSNormalization": layers.RMSNormalization,
    "UnitNormalization": layers.UnitNormalization,
    "SpectralNormalization": lambda: layers.SpectralNormalization(Dense(4)),
    "GaussianNoise": lambda: layers.GaussianNoise(0.2, seed=3),
    "unseeded GaussianNoise": lambda: layers.GaussianNoise(0.2),
    "GaussianDropout": lambda: layers.GaussianDropout(0.2, seed=3),
    "AlphaDropout": lambda: layers.AlphaDropout(0.2, seed=3),
    "SpatialDropout1D": lambda: layers.SpatialDropout1D(0.2, seed=3),
    "MaxoutDense": lambda: layers.MaxoutDense(4),
    "Highway": lambda: layers.Highway(activation="tanh"),
}
_FLAT = ("MaxoutDense", "Highway")


@pytest.mark.parametrize("name", _TRAINED)
def test_captured_step_is_the_eager_one(name):
    found = []
    for run_eagerly in (False, True):
        keras.registry.reset_names()
        keras.utils.set_random_seed(3)
        shape = () if name in _FLAT else (layers.Reshape((3, 2)),)
        model = keras.Sequential(
            [Input((6,)), Dense(6), *shape, _TRAINED[name](), layers.Flatten(), Dense(2)]
        )
        model.compile(keras.optimizers.SGD(0.05), "mse", run_eagerly=run_eagerly)
        history = model.fit(X, Y, batch_size=8, epochs=3, verbose=0, shuffle=False)
        found.append((history.history["loss"], model.get_weights(), model.step_report()))
    captured, eager = found
    assert captured[2].kind == "captured", captured[2]
    np.testing.assert_allclose(captured[0], eager[0], rtol=1e-5, atol=1e-6)
    for mine, other in zip(captured[1], eager[1], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=2e-6)
    assert all(math.isfinite(loss) for loss in captured[0])
