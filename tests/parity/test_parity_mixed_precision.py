"""Dtype policies and loss scaling against Keras 3.15."""

import keras
import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import layers

# Relative error of one rounding; float16 and bfloat16 results may be rounded at other places:
# Keras rounds a product before it adds the bias, torch's linear afterwards.
EPSILON = {
    "mixed_float16": 2.0**-10,
    "float16": 2.0**-10,
    "mixed_bfloat16": 2.0**-7,
    "bfloat16": 2.0**-7,
    "float64": 2.0**-23,  # Keras multiplies and normalizes in floatx under this policy
    "float32": 2.0**-23,
}
POLICIES = list(EPSILON)
# name, arguments, input shape
CASES = [
    ("Dense", {"units": 3}, (4, 5)),
    ("Dense", {"units": 3, "activation": "relu", "use_bias": False}, (4, 2, 5)),
    ("Dense", {"units": 2, "activation": "softmax"}, (4, 5)),
    ("Dense", {"units": 2, "activation": "sigmoid", "bias_initializer": "ones"}, (4, 5)),
    ("Activation", {"activation": "tanh"}, (4, 5)),
    ("Activation", {"activation": "softmax"}, (4, 5)),
    ("Activation", {"activation": "elu"}, (4, 5)),
    ("Activation", {"activation": "gelu"}, (4, 5)),
    ("Dropout", {"rate": 0.4}, (4, 5)),
    ("Flatten", {}, (4, 2, 3)),
    ("Reshape", {"target_shape": (5, 2)}, (4, 10)),
    ("BatchNormalization", {}, (6, 5)),
    ("BatchNormalization", {"axis": 1, "momentum": 0.8}, (6, 4, 3, 5)),
    ("BatchNormalization", {"scale": False, "center": False}, (6, 5)),
]
IDS = [f"{name}-{i}" for i, (name, _, _) in enumerate(CASES)]


@pytest.fixture(autouse=True)
def keras_policy():
    """Put Keras' own global policy back."""
    yield
    keras.config.set_dtype_policy("float32")


def pair(name, arguments, shape, policy):
    """The same layer of both, built, with the same weights, which half precision can hold."""
    theirs = getattr(keras.layers, name)(**arguments, dtype=policy, name="layer")
    ours = getattr(layers, name)(**arguments, dtype=policy, name="layer")
    theirs.build(shape)
    ours.build(shape)
    values = [np.random.RandomState(i).rand(*v.shape) for i, v in enumerate(theirs.weights)]
    values = [np.round(value * 64) / 64 for value in values]
    theirs.set_weights(values)
    ours.set_weights(values)
    return theirs, ours


def wide(tensor):
    return tensor.detach().double().numpy()


def assert_rounded_alike(ours, theirs, policy, what):
    """Equal up to three roundings, relative to the largest number."""
    ours, theirs = wide(ours), wide(theirs)
    bound = 3 * EPSILON[policy] * max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=bound, err_msg=what)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("name", "arguments", "shape"), CASES, ids=IDS)
def test_layer_under_a_policy(name, arguments, shape, policy, training):
    if name == "Dropout" and training:
        training = False  # random
    theirs, ours = pair(name, arguments, shape, policy)
    x = np.round(np.random.RandomState(9).randn(*shape) * 64) / 64
    results = []
    for layer in (theirs, ours):
        dtype = torch.float64 if policy == "float64" else torch.float32
        inputs = torch.tensor(x, dtype=dtype, requires_grad=True)
        outputs = layer(inputs, training=training)
        factors = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).reshape(outputs.shape)
        (outputs * factors).sum().backward()
        results.append((outputs, inputs.grad))
    (their_out, their_grad), (our_out, our_grad) = results
    # Keras gives float32 where a product in floatx is all that a float64 layer does.
    assert our_out.dtype is (torch.float64 if policy == "float64" else their_out.dtype)
    assert our_grad.dtype is their_grad.dtype
    assert_rounded_alike(our_out, their_out, policy, "output")
    assert_rounded_alike(our_grad, their_grad, policy, "gradient of the input")
    assert [v.dtype for v in ours.weights] == [v.dtype for v in theirs.weights]
    assert (ours.dtype, ours.compute_dtype) == (theirs.dtype, theirs.compute_dtype)
    assert ours.get_config() == theirs.get_config()
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        assert_rounded_alike(mine.value, other.value, policy, mine.path)
        if other.trainable:
            gradient = mine.from_torch(mine.parameter.grad)
            assert gradient.dtype is other.value.grad.dtype
            assert_rounded_alike(gradient, other.value.grad, policy, mine.path)


def build(lib, policy):
    """A model whose last layer is float32, as mixed precision is mostly used."""
    lib.config.set_dtype_policy(policy)
    model = lib.Sequential(
        [
            lib.layers.Input((6,)),
            lib.layers.Dense(16, activation="tanh"),
            lib.layers.BatchNormalization(),
            lib.layers.Dense(8, activation="relu", kernel_regularizer="l2"),
            lib.layers.Dense(1, dtype="float32"),
        ]
    )
    values = [np.random.RandomState(i).randn(*v.shape) * 0.3 for i, v in enumerate(model.weights)]
    model.set_weights([np.abs(v) if i in (2, 5) else v for i, v in enumerate(values)])
    return model


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_training_curves(policy, optimizer):
    random = np.random.RandomState(0)
    x = random.randn(96, 6).astype("float32")
    y = np.sin(x[:, :1] * 2) + x[:, 1:2] * x[:, 2:3]
    curves, predictions = [], []
    for lib in (keras, torchkeras):
        model = build(lib, policy)
        model.compile(optimizer, "mse", metrics=["mae"])
        assert type(model.optimizer).__name__ == (
            "LossScaleOptimizer" if policy == "mixed_float16" else type(model.optimizer).__name__
        )
        history = model.fit(x, y, epochs=4, batch_size=16, shuffle=False, verbose=0)
        curves.append(history.history)
        predictions.append(model.predict(x, verbose=0))
        assert all(v.dtype == "float32" for v in model.weights)
    theirs, ours = curves
    tolerance = 4 * EPSILON[policy]
    for key in theirs:
        np.testing.assert_allclose(ours[key], theirs[key], rtol=tolerance, err_msg=key)
    assert predictions[1].dtype == predictions[0].dtype
    np.testing.assert_allclose(predictions[1], predictions[0], atol=16 * EPSILON[policy])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_dtype_of_predictions_and_wrapping_of_the_optimizer(policy):
    found = []
    for lib in (keras, torchkeras):
        lib.config.set_dtype_policy(policy)
        model = lib.Sequential([lib.layers.Input((2,)), lib.layers.Dense(2)])
        model.compile("sgd", "mse")
        plain = lib.Sequential([lib.layers.Input((2,)), lib.layers.Dense(2)])
        plain.compile("sgd", "mse", auto_scale_loss=False)
        outputs = model.predict(np.ones((3, 2)), verbose=0)
        if policy == "mixed_bfloat16":  # an array dtype that numpy itself does not have
            assert outputs.dtype == (np.float32 if lib is torchkeras else "bfloat16")
            outputs = outputs.astype("float32")
        kinds = [type(m.optimizer).__name__ for m in (model, plain)]
        found.append((outputs.dtype, kinds, model.dtype_policy.name, model.compute_dtype))
    assert found[1] == found[0]


STEPS = [  # gradients of one weight of three numbers
    [1.0, -2.0, 3.0],
    [np.inf, 0.0, 0.0],
    [0.5, 0.5, 0.5],
    [1.0, np.nan, 1.0],
    [1.0, -np.inf, 1.0],
    [2.0, 2.0, 2.0],
    [1.0, 1.0, 1.0],
    [-1.0, 1.0, 4.0],
    [0.25, 0.5, 1.0],
]


@pytest.mark.parametrize("inner", ["SGD", "Adam", "RMSprop"])
@pytest.mark.parametrize("scale", [2.0**15, 3.0])
def test_loss_scale_optimizer(inner, scale):
    rows = []
    for lib in (keras, torchkeras):
        optimizer = lib.optimizers.LossScaleOptimizer(
            getattr(lib.optimizers, inner)(0.1), initial_scale=scale, dynamic_growth_steps=3
        )
        if lib is keras:
            weight = keras.Variable(np.ones(3, "float32"), name="w")
        else:
            layer = layers.Layer()
            weight = layer.add_weight((3,), "ones", name="w")
        found = [float(optimizer.scale_loss(torch.tensor(0.5)))]
        optimizer.build([weight])
        for step in STEPS:
            gradient = torch.tensor(step) * float(optimizer.dynamic_scale)
            with torch.no_grad():
                optimizer.apply([gradient], [weight])
            found += [float(optimizer.dynamic_scale), float(optimizer.step_counter)]
            found += [float(optimizer.iterations), float(optimizer.learning_rate)]
            found += [float(optimizer.scale_loss(torch.tensor(0.5)))]
            found += np.asarray(weight.numpy()).tolist()
        found += [v.path.split("/")[-1].split("_")[-1] for v in optimizer.variables]
        rows.append(found)
    theirs, ours = rows
    names = len([item for item in theirs if isinstance(item, str)])
    assert ours[-names:] == theirs[-names:]
    np.testing.assert_allclose(ours[:-names], theirs[:-names], rtol=1e-6, atol=2e-7)


def test_configs_of_loss_scale_optimizer():
    def made(lib):
        return lib.optimizers.LossScaleOptimizer(
            lib.optimizers.Adam(0.25, name="a"), 8.0, 3, name="scaled"
        )

    theirs, ours = made(keras).get_config(), made(torchkeras).get_config()
    # Keras names its torch variant of the class, privately.
    for key in ("class_name", "config"):
        assert ours["inner_optimizer"][key] == theirs["inner_optimizer"][key]
    del theirs["inner_optimizer"], ours["inner_optimizer"]
    assert ours == theirs
    config = keras.optimizers.serialize(made(keras))
    again = torchkeras.optimizers.deserialize(config)
    inner = config["config"]["inner_optimizer"]["config"]
    assert again.get_config()["inner_optimizer"]["config"] == inner
    back = keras.optimizers.deserialize(torchkeras.optimizers.serialize(made(torchkeras)))
    assert back.dynamic_growth_steps == 3 and float(back.learning_rate) == 0.25


HALF = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize(
    "name",
    [
        "MeanSquaredError",
        "MeanAbsoluteError",
        "BinaryCrossentropy",
        "CategoricalCrossentropy",
        "Huber",
        "KLDivergence",
        "CosineSimilarity",
        "Hinge",
    ],
)
def test_losses_of_half_outputs(name, policy, dtype):
    y = np.eye(4, 3)
    results = []
    for lib in (keras, torchkeras):
        lib.config.set_dtype_policy(policy)
        outputs = torch.linspace(0.1, 0.8, 12).reshape(4, 3).to(dtype).requires_grad_()
        loss = getattr(lib.losses, name)()(y, outputs)
        loss.backward()
        results.append((loss.dtype, loss.detach(), outputs.grad))
    (their_dtype, theirs, their_grad), (our_dtype, ours, our_grad) = results
    assert our_dtype is their_dtype is torch.float32
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert our_grad.dtype is their_grad.dtype
    epsilon = 2.0**-10 if dtype is torch.float16 else 2.0**-7
    np.testing.assert_allclose(wide(our_grad), wide(their_grad), rtol=2 * epsilon, atol=1e-7)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize(
    "name",
    [
        "MeanSquaredError",
        "MeanAbsoluteError",
        "RootMeanSquaredError",
        "BinaryAccuracy",
        "CategoricalAccuracy",
        "CategoricalCrossentropy",
    ],
)
def test_metrics_of_half_outputs(name, policy, dtype):
    y, results = np.eye(4, 3), []
    for lib in (keras, torchkeras):
        lib.config.set_dtype_policy(policy)
        metric = getattr(lib.metrics, name)()
        metric.update_state(y, torch.linspace(0.1, 0.8, 12).reshape(4, 3).to(dtype))
        results.append((metric.result().dtype, metric.dtype, float(metric.result())))
    assert results[1][:2] == results[0][:2]
    np.testing.assert_allclose(results[1][2], results[0][2], rtol=1e-5)


def test_policies_and_their_dictionaries():
    names = "mixed_float16 mixed_bfloat16 float16 bfloat16 float32 float64 int32 uint8 bool".split()
    for name in names:
        theirs, ours = keras.DTypePolicy(name), torchkeras.DTypePolicy(name)
        for attribute in ("name", "compute_dtype", "variable_dtype", "quantization_mode"):
            assert getattr(ours, attribute) == getattr(theirs, attribute)
        assert repr(ours) == repr(theirs)
        assert ours.get_config() == theirs.get_config()
        serialized = torchkeras.dtypes.serialize(ours)
        assert serialized == keras.dtype_policies.serialize(theirs)
        assert torchkeras.dtypes.deserialize(serialized) == ours
        for lib, policy in ((keras, theirs), (torchkeras, ours)):
            assert policy == lib.DTypePolicy(name) and policy != lib.DTypePolicy("complex64")


def test_conversion_of_inputs():
    given = [
        np.ones(2),
        np.ones(2, "int32"),
        np.float64(1.0),
        torch.ones(2),
        torch.ones(2, dtype=torch.int64),
        [1.0, 2.0],
        "text",
    ]
    theirs, ours = keras.DTypePolicy("mixed_float16"), torchkeras.DTypePolicy("mixed_float16")
    for x in given:
        for autocast in (True, False):
            expected = theirs.convert_input(x, autocast, "float16")
            found = ours.convert_input(x, autocast, "float16")
            assert type(found) is type(expected)
            if isinstance(expected, torch.Tensor):
                assert found.dtype is expected.dtype
                np.testing.assert_array_equal(found, expected)
            else:
                assert found is x


class Probe:
    """Makes, for either library, a layer that notes the dtypes in which its weights read."""

    def __new__(cls, lib, **arguments):
        class Noting(lib.layers.Layer):
            def build(self, input_shape):
                self.w = self.add_weight(shape=(2,), name="w")
                self.kept = self.add_weight(shape=(2,), autocast=False, name="kept")
                self.count = self.add_weight(shape=(), trainable=False, initializer="zeros")
                self.whole = self.add_weight(
                    shape=(), dtype="int32", trainable=False, initializer="zeros"
                )

            def call(self, x):
                weights = (self.w, self.kept, self.count, self.whole)
                self.noted = [str((w * 1).dtype) for w in weights]
                self.noted += [w.dtype for w in weights] + [str(x.dtype)]
                return x * self.w

        return Noting(**arguments)


@pytest.mark.parametrize("outer", [None, "mixed_float16", "mixed_bfloat16", "float32"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"dtype": "mixed_float16"},
        {"dtype": "mixed_bfloat16"},
        {"dtype": "float32"},
        {"dtype": "float64"},
        {"dtype": "float32", "autocast": False},
    ],
)
def test_what_a_layer_of_the_user_reads(outer, arguments):
    noted = []
    for lib in (keras, torchkeras):
        layer = Probe(lib, **arguments)
        call = layer
        if outer is not None:

            class Outer(lib.layers.Layer):
                def __init__(self, inner, **kwargs):
                    super().__init__(**kwargs)
                    self.inner = inner

                def call(self, x):
                    return self.inner(x)

            call = Outer(layer, dtype=outer)
        outputs = call(np.ones((3, 2), "float32"))
        noted.append([*layer.noted, str(outputs.dtype)])
    assert noted[1] == noted[0]


@pytest.mark.parametrize("kind", ["sequential", "functional", "subclassed"])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_what_the_first_layer_of_a_model_gets(policy, kind):
    x, results = np.array([[0.1, 0.3]], "float32"), []
    for lib in (keras, torchkeras):
        lib.config.set_dtype_policy(policy)

        class Same(lib.layers.Layer):
            def call(self, x):
                return x * 1

        class Own(lib.Model):
            def __init__(self):
                super().__init__()
                self.inner = Same(dtype="float32")

            def call(self, x):
                return self.inner(x)

        if kind == "sequential":
            model = lib.Sequential([lib.layers.Input((2,)), Same(dtype="float32")])
        elif kind == "functional":
            inputs = lib.layers.Input((2,))
            model = lib.Model(inputs, Same(dtype="float32")(inputs))
        else:
            model = Own()
        results.append((model(x).tolist(), model.dtype_policy.name))
    assert results[1] == results[0]


def test_dtypes_of_symbolic_tensors():
    results = []
    for lib in (keras, torchkeras):
        lib.config.set_dtype_policy("mixed_float16")
        inputs, whole = lib.layers.Input((2, 2)), lib.layers.Input((2,), dtype="int32")
        outputs = [
            inputs,
            lib.layers.Dense(2)(inputs),
            lib.layers.Dense(2, dtype="float32")(inputs),
            lib.layers.Dense(2)(whole),
            lib.layers.Flatten()(inputs),
            lib.layers.Flatten()(whole),
            lib.layers.BatchNormalization()(inputs),
            lib.layers.Dense(2, dtype="mixed_bfloat16")(inputs),
        ]
        results.append([tensor.dtype for tensor in outputs])
    assert results[1] == results[0]
