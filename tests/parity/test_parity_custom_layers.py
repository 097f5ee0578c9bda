"""Custom layers and subclassed models: the same code in Keras and here, the same everything."""

import keras
import numpy as np
import pytest
import torch

import torchkeras
from torchkeras.registry import reset_names

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 3)).astype("float32")
STEPS = np.random.default_rng(2).normal(size=(12, 5, 4)).astype("float32")


def linear(k):
    class Linear(k.layers.Layer):
        def __init__(self, units=3, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def build(self, input_shape):
            self.w = self.add_weight(
                shape=(input_shape[-1], self.units), initializer="random_normal", trainable=True
            )
            self.b = self.add_weight(shape=(self.units,), initializer="zeros", name="offset")

        def call(self, inputs):
            return torch.matmul(inputs, self.w) + self.b

    return k.Sequential([Linear()]), X


def positional_shape_and_own_dtype(k):
    class Scaled(k.layers.Layer):
        def build(self, input_shape):
            self.scale = self.add_weight((input_shape[-1], 3), "ones")
            self.steps = self.add_weight((), "zeros", "int32", trainable=False, name="steps")
            self.plain = self.add_variable((3,), "zeros", name="plain")
            super().build(input_shape)

        def call(self, inputs):
            return inputs @ self.scale + self.plain

    return k.Sequential([Scaled()]), X


def penalized_and_constrained(k):
    class Penalized(k.layers.Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight(
                name="kernel",
                shape=(input_shape[-1], 3),
                initializer="glorot_uniform",
                regularizer="l2",
                constraint="non_neg",
            )
            self.gain = self.add_weight(
                name="gain", shape=(3,), initializer="ones", regularizer="l1"
            )

        def call(self, inputs):
            return inputs @ self.kernel * self.gain

    return k.Sequential([Penalized()]), X


def variables_as_attributes(k):
    class Held(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.total = k.Variable(0.0, trainable=False, name="total")
            self.kernel = k.Variable("ones", shape=(4, 3), name="kernel")
            self.pieces = [k.Variable(np.ones(3, "float32"), name=f"piece_{i}") for i in range(2)]

        def call(self, inputs):
            return inputs @ self.kernel * self.pieces[0] + self.pieces[1]

    return k.Sequential([Held()]), X


def counting(k):
    class Counting(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = k.layers.Dense(3)

        def build(self, input_shape):
            self.calls = self.add_weight(
                shape=(), initializer="zeros", trainable=False, name="calls"
            )
            self.mean = self.add_weight(
                shape=(input_shape[-1],), initializer="zeros", trainable=False, name="mean"
            )
            self.inner.build(input_shape)

        def call(self, inputs, training=None):
            if training:
                self.calls.assign_add(1.0)
                self.mean.assign(0.9 * self.mean + 0.1 * inputs.detach().mean(0))
            return self.inner(inputs - self.mean)

    return k.Sequential([Counting()]), X


def composite_without_build(k):
    class Block(k.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.first = k.layers.Dense(5, activation="relu")
            self.second = k.layers.Dense(3, name="last")

        def call(self, inputs):
            return self.second(self.first(inputs))

    return k.Sequential([Block(name="blocky"), Block()]), X


def nested_composites(k):
    class Inner(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = k.layers.Dense(4)

        def build(self, input_shape):
            self.gate = self.add_weight(shape=(4,), initializer="ones", name="gate")
            self.dense.build(input_shape)

        def call(self, inputs):
            return self.dense(inputs) * self.gate

    class Outer(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.last = k.layers.Dense(3)
            self.inner = Inner()
            self.norm = k.layers.BatchNormalization()

        def call(self, inputs, training=None):
            return self.last(self.norm(self.inner(inputs), training=training))

    return k.Sequential([Outer()]), X


def layers_in_lists(k):
    class Stack(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.stack = [k.layers.Dense(4, activation="tanh") for _ in range(2)]
            self.pair = (k.layers.Dense(4), k.layers.Dense(4))
            self.heads = {"a": k.layers.Dense(3), "b": k.layers.Dense(3)}

        def call(self, inputs):
            for layer in self.stack:
                inputs = layer(inputs)
            inputs = self.pair[0](inputs) + self.pair[1](inputs)
            return self.heads["a"](inputs) + self.heads["b"](inputs)

    return k.Sequential([Stack()]), X


def layers_made_in_build(k):
    class Lazy(k.layers.Layer):
        def build(self, input_shape):
            self.layers_inside = []
            for units in (input_shape[-1], 3):
                layer = k.layers.Dense(units)
                layer.build((None, input_shape[-1]))
                self.layers_inside.append(layer)
            self.built = True

        def call(self, inputs):
            for layer in self.layers_inside:
                inputs = layer(inputs)
            return inputs

    return k.Sequential([Lazy()]), X


def penalty_in_call(k):
    class Sparse(k.layers.Layer):
        def __init__(self, rate=0.01):
            super().__init__()
            self.rate = rate
            self.dense = k.layers.Dense(3)

        def call(self, inputs):
            outputs = self.dense(inputs)
            self.add_loss(self.rate * torch.mean(torch.square(outputs)))
            self.add_loss([torch.mean(torch.abs(outputs)), 0.5 * torch.mean(inputs)])
            return outputs

    return k.Sequential([Sparse()]), X


def activity(k):
    class Active(k.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = k.layers.Dense(3, kernel_regularizer="l2", activity_regularizer="l1")

        def call(self, inputs):
            return self.dense(inputs)

    return k.Sequential([Active(activity_regularizer=k.regularizers.L2(0.1))]), X


def training_by_default(k):
    class Noise(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = k.layers.Dense(3)

        def call(self, inputs, training=True):
            return self.dense(inputs) * (2.0 if training else 1.0)

    return k.Sequential([Noise()]), X


def several_tensors(k):
    class Mixed(k.layers.Layer):
        def build(self, left_shape, right_shape):
            self.left = self.add_weight(shape=(left_shape[-1], 3), name="left")
            self.right = self.add_weight(shape=(right_shape[-1], 3), name="right")

        def call(self, left, right, scale=1.0):
            return (left @ self.left + right @ self.right) * scale

        def compute_output_shape(self, left_shape, right_shape):
            return (*left_shape[:-1], 3)

    a, b = k.Input((4,)), k.Input((4,))
    return k.Model([a, b], Mixed()(a, b, scale=0.5)), [X, X[:, ::-1].copy()]


def a_list_of_tensors(k):
    class Joined(k.layers.Layer):
        def build(self, input_shape):
            self.kernels = [
                self.add_weight(shape=(shape[-1], 3), name=f"kernel_{i}")
                for i, shape in enumerate(input_shape)
            ]

        def call(self, inputs):
            left, right = inputs
            return left @ self.kernels[0] + right @ self.kernels[1]

    a, b = k.Input((4,)), k.Input((4,))
    return k.Model([a, b], Joined()([a, b])), [X, X[:, ::-1].copy()]


def masked(k):
    class Mean(k.layers.Layer):
        def call(self, inputs, mask=None):
            kept = mask.to(inputs.dtype)[..., None]
            return (inputs * kept).sum(1) / kept.sum(1)

        def compute_mask(self, inputs, mask=None):
            return None

    class Shift(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.supports_masking = True

        def build(self, input_shape):
            self.shift = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="shift")

        def call(self, inputs):
            return inputs + self.shift

    x = STEPS.copy()
    x[:6, 2:] = 0
    return k.Sequential([k.layers.Masking(), Shift(), Mean(), k.layers.Dense(3)]), x


def user_output_shape(k):
    class Widen(k.layers.Layer):
        def __init__(self, output_dim, **kwargs):
            self.output_dim = output_dim
            super().__init__(**kwargs)

        def build(self, input_shape):
            self.kernel = self.add_weight(
                name="kernel", shape=(input_shape[1], self.output_dim), initializer="uniform"
            )
            super().build(input_shape)

        def call(self, x):
            return torch.matmul(x, self.kernel)

        def compute_output_shape(self, input_shape):
            return (input_shape[0], self.output_dim)

    x = k.Input((4,))
    return k.Model(x, k.layers.Dense(3)(Widen(6)(x))), X


def subclassed(k):
    class MLP(k.Model):
        def __init__(self):
            super().__init__()
            self.hidden = k.layers.Dense(5, activation="relu")
            self.drop = k.layers.Dropout(0.0)
            self.out = k.layers.Dense(3)

        def call(self, inputs, training=None, mask=None):
            return self.out(self.drop(self.hidden(inputs), training=training))

    return MLP(), X


def subclassed_with_lists_and_models(k):
    class Block(k.Model):
        def __init__(self, units):
            super().__init__(name=f"block_{units}")
            self.denses = [k.layers.Dense(units, activation="tanh") for _ in range(2)]

        def call(self, inputs):
            for dense in self.denses:
                inputs = dense(inputs)
            return inputs

    class Net(k.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [Block(5), Block(4)]
            self.norm = k.layers.BatchNormalization()
            self.out = k.Sequential([k.layers.Dense(4), k.layers.Dense(3)])

        def call(self, inputs, training=False):
            for block in self.blocks:
                inputs = block(inputs)
            return self.out(self.norm(inputs, training=training))

    return Net(), X


def subclassed_of_a_dictionary(k):
    class Two(k.Model):
        def __init__(self):
            super().__init__()
            self.left, self.right = k.layers.Dense(3), k.layers.Dense(3)

        def call(self, inputs):
            return self.left(inputs["a"]) + self.right(inputs["b"])

    return Two(), {"a": X, "b": X[:, ::-1].copy()}


def subclassed_of_several_inputs(k):
    class Two(k.Model):
        def __init__(self):
            super().__init__()
            self.left, self.right = k.layers.Dense(3), k.layers.Dense(3)

        def call(self, inputs):
            a, b = inputs
            return self.left(a) * self.right(b)

    return Two(), [X, X[:, ::-1].copy()]


def subclassed_with_own_weight(k):
    class Scaled(k.Model):
        def __init__(self):
            super().__init__()
            self.dense = k.layers.Dense(3)

        def build(self, input_shape):
            self.gain = self.add_weight(shape=(), initializer="ones", name="gain")
            self.dense.build(input_shape)
            self.built = True

        def call(self, inputs):
            return self.dense(inputs) * self.gain

    return Scaled(), X


def subclassed_functional(k):
    class Graph(k.Model):
        def __init__(self, units=5):
            inputs = k.Input((4,))
            x = k.layers.Dense(units, activation="relu")(inputs)
            super().__init__(inputs, k.layers.Dense(3)(x))

    return Graph(), X


def layer_with_a_metric(k):
    class Watched(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = k.layers.Dense(3)
            self.size = k.metrics.Mean(name="size")

        def call(self, inputs):
            outputs = self.dense(inputs)
            self.size.update_state(torch.abs(outputs).mean())
            return outputs

    return k.Sequential([Watched()]), X


def parts_built_before_the_whole(k):
    inputs = k.Input((4,))
    encoder = k.Model(inputs, k.layers.Dense(3)(inputs), name="encoder")
    dense = k.layers.Dense(3)
    dense.build((None, 3))

    class Net(k.Model):
        def __init__(self):
            super().__init__()
            self.encoder = encoder
            self.dense = dense
            self.late = k.Sequential([k.layers.Dense(3)])
            self.early = k.Sequential([k.Input((3,)), k.layers.Dense(3)])

        def call(self, x):
            return self.early(self.late(self.dense(self.encoder(x))))

    return Net(), X


def a_layer_called_twice(k):
    class Step(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = k.layers.Dense(4, activation="tanh")

        def call(self, x):
            return self.dense(x)

    inputs, step = k.Input((4,)), Step()
    return k.Model(inputs, k.layers.Dense(3)(step(step(inputs)))), X


def tied_weights(k):
    class Decoder(k.layers.Layer):
        def __init__(self, dense):
            super().__init__()
            self.dense = dense

        def build(self, input_shape):
            self.kernel = self.dense.kernel
            self.bias = self.add_weight(shape=(4,), initializer="zeros", name="bias")

        def call(self, x):
            return torch.matmul(x, torch.t(self.kernel.value)) + self.bias

    inputs = k.Input((4,))
    dense = k.layers.Dense(3, kernel_regularizer="l2")
    decoded = Decoder(dense)(dense(inputs))
    return k.Model(inputs, k.layers.Dense(3)(decoded)), X


EXAMPLES = [
    item for item in list(globals().values()) if getattr(item, "__module__", "") == __name__
]


def made(k, example):
    """Make an example and build it on its data."""
    reset_names()
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model, x = example(k)
    model(_tensors(x))
    return model, x


def _tensors(x):
    if isinstance(x, dict):
        return {name: torch.as_tensor(part) for name, part in x.items()}
    return [torch.as_tensor(part) for part in x] if isinstance(x, list) else torch.as_tensor(x)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.__name__)
def test_weights_outputs_losses_and_training_curve_are_kerass(example):
    (theirs, x), (ours, _) = made(keras, example), made(torchkeras, example)

    def described(variables):
        # A variable that was made before its layer was named has a bare path in Keras.
        paths = [v.name if example is variables_as_attributes else v.path for v in variables]
        return [(p, v.name, tuple(v.shape), str(v.dtype)) for p, v in zip(paths, variables)]

    for kind in ("weights", "trainable_weights", "non_trainable_weights"):
        assert described(getattr(ours, kind)) == described(getattr(theirs, kind)), kind
    ours.set_weights(theirs.get_weights())
    if not isinstance(x, dict):
        expected, found = theirs(_tensors(x)), ours(_tensors(x))
        np.testing.assert_allclose(found.detach(), expected.detach(), rtol=1e-5, atol=1e-6)
        losses = [[float(loss) for loss in model.losses] for model in (ours, theirs)]
        assert sorted(losses[0]) == pytest.approx(sorted(losses[1]), rel=1e-5)
    histories = []
    for k, model in ((torchkeras, ours), (keras, theirs)):
        model.compile(k.optimizers.SGD(0.1), "mse", metrics=["mae"])
        run = model.fit(
            x, Y, batch_size=4, epochs=3, shuffle=False, verbose=0, validation_data=(x, Y)
        )
        histories.append(run.history)
        histories[-1]["evaluated"] = model.evaluate(x, Y, verbose=0)
    assert histories[0].keys() == histories[1].keys()
    for name, values in histories[1].items():
        assert histories[0][name] == pytest.approx(values, rel=2e-5, abs=1e-6), name
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        ours.predict(x, verbose=0), theirs.predict(x, verbose=0), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.__name__)
def test_captured_and_eager_steps_train_alike(example):
    found = []
    for eager in (False, True):
        model, x = made(torchkeras, example)
        model.set_weights([np.full_like(w, 0.1) for w in model.get_weights()])
        model.compile("sgd", "mse", run_eagerly=eager)
        history = model.fit(x, Y, batch_size=4, epochs=3, shuffle=False, verbose=0).history
        found.append((history, model.get_weights(), model.step_report().kind))
    assert found[1][2] == "eager"
    for name, values in found[1][0].items():
        assert found[0][0][name] == pytest.approx(values, rel=1e-5), name
    for mine, other in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
