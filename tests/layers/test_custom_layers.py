"""Layers of the user's own, as Keras users of every age write them."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import (
    Input,
    KerasTensor,
    Model,
    Variable,
    activations,
    backend as K,
    constraints,
    eras,
    regularizers,
)
from torchkeras.compat import initializations
from torchkeras.layers import Dense, Dropout, Layer
from torchkeras.metrics import Mean
from torchkeras.models import Sequential
from torchkeras.utils import register_keras_serializable

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(32, 3)).astype("float32")


def names(layer):
    return [variable.name for variable in layer.weights]


def fitted(layer, x=X, y=Y, epochs=2, **options):
    model = layer if isinstance(layer, Model) else Sequential([layer])
    model.compile("sgd", "mse", **options)
    history = model.fit(x, y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return model, history.history


# ------------------------------------------------------------------------------ Keras 1 and 2


class Antique(Layer):
    """Keras 1: weights are variables in lists."""

    def __init__(self, output_dim, init="glorot_uniform", **kwargs):
        self.init = initializations.get(init)
        self.output_dim = output_dim
        super().__init__(**kwargs)

    def build(self, input_shape):
        self.W = self.init((input_shape[1], self.output_dim), name=f"{self.name}_W")
        self.b = K.zeros((self.output_dim,), name=f"{self.name}_b")
        self.seen = K.variable(0.0, name="seen")
        self.trainable_weights = [self.W, self.b]
        self.non_trainable_weights = [self.seen]
        super().build(input_shape)

    def call(self, x, mask=None):
        return K.dot(x, self.W) + self.b

    def get_config(self):
        config = {"output_dim": self.output_dim, "init": self.init.__name__}
        base_config = super().get_config()
        return dict(list(base_config.items()) + list(config.items()))


class Appending(Layer):
    """Weights appended to the lists, and built set by hand."""

    def build(self, input_shape):
        self.W = K.variable(np.ones((input_shape[1], 3)))
        self._trainable_weights.append(self.W)
        self.mean = K.variable(np.zeros(3))
        self._non_trainable_weights += [self.mean]
        self.built = True

    def call(self, x):
        return K.dot(x, self.W) - self.mean


@pytest.mark.parametrize("era", ["1", "2", "2.3.1", "3"])
def test_variables_in_the_lists_of_keras_1_become_parameters(era):
    with eras.using(era):
        layer = Antique(3)
        model, history = fitted(layer, epochs=3)
    assert [v.shape for v in layer.trainable_weights] == [(4, 3), (3,)]
    assert [v.name for v in layer.non_trainable_weights] == ["seen"]
    assert sorted(name for name, _ in layer.named_parameters()) == ["W", "b"]
    assert [name for name, _ in layer.named_buffers()] == ["seen"]
    assert layer.W is layer.weights[0] and isinstance(layer.W, Variable)
    assert history["loss"][2] < history["loss"][0]
    layer.set_weights([np.ones((4, 3)), np.full(3, 2.0), 0.0])
    np.testing.assert_allclose(layer(X[:1]).detach(), X[:1].sum(1, keepdims=True) + [[2, 2, 2]])
    assert Antique.from_config(layer.get_config()).init is layer.init


def test_variables_appended_to_the_lists_train():
    layer = Appending()
    before = np.ones((4, 3))
    fitted(layer)
    assert len(layer.trainable_weights) == len(layer.non_trainable_weights) == 1
    assert not np.allclose(layer.W.numpy(), before) and (layer.mean.numpy() == 0).all()


def test_a_weight_left_out_of_the_list_does_not_train():
    class Half(Dense):
        def build(self, input_shape):
            super().build(input_shape)
            self.trainable_weights = [self.kernel]

    layer = Half(3)
    fitted(layer)
    assert [v.name for v in layer.trainable_weights] == ["kernel"]
    assert (layer.bias.numpy() == 0).all()


def test_the_table_of_constraints_of_keras_1():
    class Bounded(Layer):
        def build(self, input_shape):
            self.W = K.variable(np.ones((4, 3)))
            self.trainable_weights = [self.W]
            self.constraints = {}
            self.constraints[self.W] = constraints.MaxNorm(0.1)

        def call(self, x):
            return K.dot(x, self.W)

    for era in ("1", "3"):
        with eras.using(era):
            layer = Bounded()
            fitted(layer)
        assert np.linalg.norm(layer.W.numpy(), axis=0).max() < 0.1001


def test_the_list_of_a_wrapper_may_name_the_weights_inside():
    class Wrapper(Layer):
        def __init__(self, layer):
            self.layer = layer
            super().__init__()

        def build(self, input_shape):
            self.layer.build(input_shape)
            self.gain = self.add_weight(shape=(3,), initializer="ones", name="gain")
            self.trainable_weights = [self.gain] + self.layer.trainable_weights

        def call(self, x):
            return self.layer(x) * self.gain

    wrapper = Wrapper(Dense(3))
    wrapper.build((None, 4))
    assert names(wrapper) == ["gain", "kernel", "bias"]
    assert any(weight is wrapper.layer.kernel for weight in wrapper.trainable_weights)
    assert sorted(wrapper.state_dict()) == ["gain", "layer.linear.bias", "layer.linear.weight"]


def test_attributes_that_hold_variables_are_weights_since_2_3():
    class Held(Layer):
        def build(self, input_shape):
            self.factor = K.variable(2.0)

        def call(self, x):
            return x * self.factor

    for era, count in (("1", 0), ("2", 0), ("2.3.1", 1), ("tf2", 1), ("3", 1)):
        with eras.using(era):
            layer = Held()
            assert layer(np.ones((1, 1))).item() == 2
            assert len(layer.trainable_weights) == count, era


def test_add_weight_in_the_order_of_keras_1_and_3_and_as_add_variable():
    class Forms(Layer):
        def build(self, input_shape):
            self.w = self.add_weight((input_shape[-1], 3), initializer="uniform", name="w")
            self.v = self.add_weight((3,), "ones", "float64", name="v")
            self.u = self.add_variable("u", (2,), trainable=False)
            self.t = self.add_variable(shape=2, initializer="zeros", name="t")
            self.s = self.add_weight(name="s", aggregation="mean")
            self.i = self.add_weight("i", shape=np.int64(2), dtype="int32", trainable=False)

        def call(self, x):
            return x @ self.w

    layer = Forms()
    layer(X)
    found = {v.name: (v.shape, v.dtype, v.trainable) for v in layer.weights}
    assert found == {
        "w": ((4, 3), "float32", True),
        "v": ((3,), "float64", True),
        "t": ((2,), "float32", True),
        "s": ((), "float32", True),
        "u": ((2,), "float32", False),
        "i": ((2,), "int32", False),
    }
    with pytest.raises(ValueError, match="aggregation must be one of 'none', 'mean'"):
        layer.add_weight((1,), aggregation="median")


class Averaging(Layer):
    """Keras 1 and 2: updates handed to add_update."""

    def build(self, input_shape):
        self.mean = self.add_weight(
            shape=(input_shape[-1],), initializer="zeros", trainable=False, name="mean"
        )
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
        self.inner = Dense(3)

    def call(self, x):
        updates = [
            K.moving_average_update(self.mean, K.mean(x, axis=0), 0.9),
            (self.count, self.count + 1),
        ]
        self.add_update(updates, x)
        return self.inner(x)


@pytest.mark.parametrize("eager", [False, True])
def test_updates_are_made_by_training_steps_alone_until_tf_keras(eager):
    expected = np.zeros(4)
    for _ in range(2):
        for start in range(0, 32, 8):
            expected = expected * 0.9 + X[start : start + 8].mean(0) * 0.1
    with eras.using("2"):
        layer = Averaging()
        model, _ = fitted(layer, run_eagerly=eager)
        model.predict(X, verbose=0)
        model.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(layer.mean.numpy(), expected, rtol=1e-5)
    assert float(layer.count) == 8
    with eras.using("tf2"):
        model.predict(X, batch_size=32, verbose=0)
    np.testing.assert_allclose(layer.mean.numpy(), expected * 0.9 + X.mean(0) * 0.1, rtol=1e-5)
    with pytest.raises(ValueError, match="add_update: layer .* was given 3"):
        layer.add_update(3)


# -------------------------------------------------------------------------------- variables


def test_variables_made_by_hand():
    assert Variable(1.0).dtype == "float32" and Variable(np.ones(2)).dtype == "float64"
    assert Variable("ones", shape=(2,), dtype="float64").numpy().tolist() == [1, 1]
    assert Variable(lambda shape, dtype: torch.full(shape, 3.0), (2,)).numpy().tolist() == [3, 3]
    fixed = Variable([1.0, 2.0], trainable=False, name="fixed")
    assert fixed.name == fixed.path == "fixed" and not fixed.trainable
    assert (fixed * 2).tolist() == [2, 4] and fixed.assign_add([1, 1]).numpy().tolist() == [2, 3]
    fixed.trainable = True
    assert fixed.trainable and fixed.value.requires_grad
    (fixed**2).sum().backward()
    assert fixed.value.grad.tolist() == [4, 6]
    twin = pickle.loads(pickle.dumps(fixed))
    assert twin.numpy().tolist() == [2, 3] and twin.name == "fixed"
    for arguments, message in (
        ({"initializer": "zeros"}, "needs a shape"),
        ({"initializer": 0.0, "name": "a/b"}, "without '/'"),
        ({"initializer": [0.0], "shape": (2,)}, r"has shape \(1,\), not \(2,\)"),
        ({"initializer": 0.0, "aggregation": "all"}, "aggregation must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            Variable(**arguments)


class Holding(Layer):
    """Variables as attributes, in lists and dictionaries, before and after build."""

    def __init__(self):
        super().__init__()
        self.total = Variable(0.0, trainable=False, name="total")
        self.pieces = [Variable(np.ones(3, "float32"), name="piece")]
        self.named = {"a": [Variable(np.ones(3, "float32"), name="a")]}

    def build(self, input_shape):
        self.kernel = Variable("ones", shape=(input_shape[-1], 3), name="kernel")
        self.pieces.append(Variable(np.zeros(3, "float32"), name="late"))

    def call(self, inputs, training=False):
        if training:
            self.total.assign_add(1.0)
        return inputs @ self.kernel * self.pieces[0] + self.pieces[1] + self.named["a"][0]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_variables_in_attributes_lists_and_dictionaries_are_weights(copied):
    layer = Holding()
    fitted(layer)
    assert names(layer) == ["piece", "a", "kernel", "late", "total"]
    assert float(layer.total) == 8
    assert layer.pieces[1] is layer.weights[3] and layer.kernel is layer.weights[2]
    assert layer.pieces[1].path == f"{layer.path}/late"
    twin = copied(layer)
    assert twin.pieces[1] is twin.weights[3] and twin.total is twin.weights[4]
    twin.pieces[1].assign(np.full(3, 7.0))
    assert twin.get_weights()[3].tolist() == [7, 7, 7] != layer.get_weights()[3].tolist()


def test_attributes_that_were_none_or_of_the_class_give_way_to_weights():
    class Late(Layer):
        scale = None

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.kernel = None

        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(4, 3), name="kernel")
            self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")

        def call(self, inputs):
            return inputs @ self.kernel * self.scale

    layer = Late()
    fitted(layer)
    assert layer.kernel is layer.weights[0] and layer.scale is layer.weights[1]
    twin = copy.deepcopy(layer)
    twin.scale.assign(np.zeros(3))
    assert (twin(X).detach() == 0).all() and not (layer(X).detach() == 0).all()
    assert layer.double().scale.dtype == "float64"


def test_a_weight_assigned_anew_takes_the_place_of_the_old():
    layer = Layer()
    assert layer.weights == []
    layer.w = layer.add_weight(shape=(2,), name="w")
    layer.w = layer.add_weight(shape=(3,), name="w")
    assert [v.shape for v in layer.weights] == [(3,)]
    layer.w = Variable(np.zeros(5, "float32"), name="again")
    assert [(v.name, v.shape) for v in layer.weights] == [("again", (5,))]
    assert list(layer.state_dict()) == ["w"]


def test_a_weight_of_another_layer_is_shared():
    class Transposed(Layer):
        def __init__(self, dense):
            super().__init__()
            self.dense = dense

        def build(self, input_shape):
            self.kernel = self.dense.kernel
            self.bias = self.add_weight(shape=(4,), initializer="zeros", name="bias")

        def call(self, inputs):
            return torch.matmul(inputs, torch.t(self.kernel)) + self.bias

    dense = Dense(3, kernel_regularizer="l2", kernel_constraint="non_neg")
    model, history = fitted(Sequential([Input((4,)), dense, Transposed(dense)]), X, X)
    tied = model.layers[1]
    assert [v.name for v in tied.weights] == ["kernel", "bias", "bias"]
    assert len(model.losses) == len(tied.losses) == 1
    assert dense.kernel.numpy().min() >= 0
    assert [v.name for v in model.weights] == ["kernel", "bias", "bias"]
    assert np.array_equal(model.layers[1].kernel.numpy(), dense.kernel.numpy())
    frozen = Dense(3, trainable=False)
    with_frozen = Sequential([Input((4,)), frozen, Transposed(frozen)])
    assert [v.name for v in with_frozen.trainable_weights] == ["bias"]
    twin = copy.deepcopy(model)
    twin.layers[0].kernel.assign(np.zeros((4, 3)))
    assert (twin.layers[1].kernel.numpy() == 0).all()


def test_a_wrapper_may_put_a_tensor_in_the_place_of_a_kernel():
    class Normalized(Layer):
        """Weight normalization as written for Keras 2.3 and tf.keras."""

        def __init__(self, layer, **kwargs):
            super().__init__(**kwargs)
            self.layer = layer

        def build(self, input_shape):
            self.layer.build(input_shape)
            self.v = self.layer.kernel
            self.g = self.add_weight(shape=(3,), initializer="ones", name="g")

        def call(self, inputs):
            norm = torch.sqrt((self.v**2).sum(0))
            self.layer.kernel = self.v * (self.g / norm)
            return self.layer(inputs)

    layer = Normalized(Dense(3))
    layer.build((None, 4))
    linear = nn.Linear(4, 3)
    with torch.no_grad():
        linear.weight.copy_(layer.v.value.t())
        linear.bias.zero_()
    linear = nn.utils.parametrizations.weight_norm(linear, dim=0)
    with torch.no_grad():
        linear.parametrizations.weight.original0.fill_(1.0)
    optimizer = torch.optim.SGD(linear.parameters(), 0.01)
    for start in [*range(0, 32, 8)] * 2:
        optimizer.zero_grad()
        x, y = (torch.tensor(part[start : start + 8]) for part in (X, Y))
        ((linear(x) - y) ** 2).mean().backward()
        optimizer.step()
    fitted(layer)
    assert names(layer) == ["kernel", "g", "bias"]
    np.testing.assert_allclose(
        layer(X).detach(), linear(torch.tensor(X)).detach(), rtol=1e-4, atol=1e-6
    )


def test_variable_trainable_is_settable():
    layer = Dense(3)
    layer.build((None, 4))
    layer.kernel.trainable = False
    assert [v.name for v in layer.trainable_weights] == ["bias"]
    assert names(layer) == ["kernel", "bias"]
    layer.kernel.trainable = True
    assert len(layer.trainable_weights) == 2
    fixed = layer.add_weight(shape=(), trainable=False, name="fixed")
    with pytest.raises(ValueError, match="was made with trainable=False"):
        fixed.trainable = True


def test_parameters_buffers_and_torch_modules_are_weights():
    class Mixed(Layer):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))
            self.register_buffer("shift", torch.zeros(3))
            self.linear = nn.Linear(4, 3)

        def call(self, inputs):
            return self.linear(inputs) * self.scale + self.shift

    layer = Mixed()
    fitted(layer)
    assert names(layer) == ["scale", "linear.weight", "linear.bias", "shift"]
    assert [v.name for v in layer.non_trainable_weights] == ["shift"]


# -------------------------------------------------------------------------------- sublayers


def test_nested_lists_are_followed_as_they_change():
    class Stack(Layer):
        def __init__(self):
            super().__init__()
            self.parts = [[Dense(4)], {"a": Dense(4)}]
            self.parts[0].append(Dense(4))
            self.parts[1]["b"] = Dense(3)
            self.parts.append([])
            self.parts[2].append(Dense(3))

        def call(self, inputs):
            for layer in (*self.parts[0], *self.parts[1].values(), *self.parts[2]):
                inputs = layer(inputs)
            return inputs

    layer = Stack()
    layer(X)
    assert len(layer.weights) == 10
    twin = copy.deepcopy(layer)
    twin.parts[0].append(Dense(2))
    twin.parts[0][-1].build((None, 3))
    assert len(twin.weights) == 12 and len(layer.weights) == 10
    assert twin.parts[0][0] is not layer.parts[0][0]


def test_a_layer_added_after_build_counts():
    class Growing(Layer):
        def __init__(self):
            super().__init__()
            self.first = Dense(3)

        def call(self, inputs):
            outputs = self.first(inputs)
            return self.second(outputs) if hasattr(self, "second") else outputs

    layer = Growing()
    layer(X)
    layer.second = Dense(2)
    assert layer(X).shape == (32, 2)
    assert len(layer.weights) == 4


def test_no_super_calls_at_all():
    class Bare(Layer):
        def __init__(self, units):
            self.units = units
            self.inner = Dense(units)

        def build(self, input_shape):
            self.gain = self.add_weight(shape=(self.units,), initializer="ones", name="gain")
            self.built = True

        def call(self, inputs):
            return self.inner(inputs) * self.gain

    layer = Bare(3)
    _, history = fitted(layer, epochs=4)
    assert names(layer) == ["gain", "kernel", "bias"]
    assert history["loss"][-1] < history["loss"][0]


# ------------------------------------------------------------------------- calls and building


def test_build_with_none_with_a_list_and_with_names():
    class Any(Layer):
        def build(self, input_shape=None):
            self.shape_given = input_shape
            self.w = self.add_weight(shape=(), initializer="ones", name="w")

        def call(self, inputs):
            return inputs * self.w

    layer = Any()
    layer.build()
    assert layer.built and layer.shape_given is None and len(layer.weights) == 1
    layer.build((4,))
    assert len(layer.weights) == 1

    class Pair(Layer):
        def build(self, query_shape, value_shape=None):
            self.shapes = (query_shape, value_shape)

        def call(self, query, value=None):
            return query if value is None else query + value

    layer = Pair()
    layer(torch.ones(2, 3), value=torch.ones(2, 3))
    assert layer.shapes == ((2, 3), (2, 3))
    layer = Pair()
    layer(torch.ones(2, 3))
    assert layer.shapes == ((2, 3), None)


def test_calls_with_catch_alls_and_other_arguments():
    class Sum(Layer):
        def call(self, *inputs):
            return sum(inputs)

    class Times(Layer):
        def call(self, x, factor=1.0, **kwargs):
            return x * factor + kwargs.get("plus", 0)

    x = torch.ones(2, 3)
    assert Sum()(x, x, x).tolist() == [[3.0] * 3] * 2
    assert Times()(x, 2.0, plus=1).tolist() == [[3.0] * 3] * 2
    a = Input((3,))
    model = Model(a, Times()(Sum()(a, a), factor=4.0))
    assert model(x).tolist() == [[8.0] * 3] * 2


def test_training_said_by_the_signature_holds_where_nobody_else_says_anything():
    class Noisy(Layer):
        def __init__(self):
            super().__init__()
            self.drop = Dropout(0.5)

        def call(self, inputs, training=True):
            self.told = training
            return self.drop(inputs)

    layer, x = Noisy(), torch.ones(4, 100)
    assert (layer(x) == 0).any() and layer.told is True
    assert not layer.training and not layer.drop.training
    assert (layer(x, training=False) == 1).all() and layer.told is False
    model = Sequential([layer])
    assert (model(x) == 0).any()
    assert (model(x, training=False) == 1).all()
    assert (model.predict(x.numpy(), verbose=0) == 1).all()


def test_training_may_be_given_by_its_place():
    class Noisy(Layer):
        def call(self, inputs, training=None, scale=1.0):
            return inputs * scale + (1.0 if training else 0.0)

    class Outer(Layer):
        def __init__(self):
            super().__init__()
            self.inner = Noisy()

        def call(self, inputs, training=None):
            return self.inner(inputs, training, 2.0)

    layer, x = Outer(), torch.ones(1, 1)
    assert [layer(x).item(), layer(x, True).item(), layer(x, training=True).item()] == [2, 3, 3]
    a = Input((1,))
    assert Model(a, layer(a))(x, training=True).item() == 3


def test_an_output_shape_and_a_mask_of_the_users_own_are_asked():
    class Shaped(Layer):
        supports_masking = True

        def call(self, inputs, mask=None):
            self.mask_seen = mask
            return inputs[:, ::2]

        def compute_output_shape(self, input_shape):
            return (input_shape[0], None, input_shape[2])

        def compute_mask(self, inputs, mask=None):
            return None if mask is None else mask[:, ::2]

    layer = Shaped()
    symbolic = layer(Input((6, 2)))
    assert isinstance(symbolic, KerasTensor) and symbolic.shape == (None, None, 2)
    x, mask = torch.ones(1, 6, 2), torch.tensor([[True, False, True, False, False, False]])
    out = layer(x, mask=mask)
    assert layer.mask_seen is mask and out._keras_mask.tolist() == [[True, True, False]]


# ------------------------------------------------------------------------- losses and metrics


class Penalized(Layer):
    """Every way to add a penalty or a value to report."""

    def __init__(self):
        super().__init__(activity_regularizer=regularizers.L2(0.5))
        self.inner = Dense(3, kernel_regularizer="l2")
        self.size = Mean(name="size")
        self.add_loss(lambda: 0.1 * (self.inner.kernel**2).sum())

    def call(self, inputs):
        outputs = self.inner(inputs)
        self.add_loss([outputs.mean(), 2 * inputs.mean()])
        self.add_metric(outputs.abs().mean(), name="absolute", aggregation="mean")
        self.size.update_state(outputs)
        return outputs


def test_losses_are_those_of_the_last_call_and_of_functions():
    layer = Penalized()
    for _ in range(2):
        outputs = layer(X)
    squares = (layer.inner.kernel**2).sum().item()
    expected = [
        0.01 * squares,
        0.1 * squares,
        outputs.mean().item(),
        2 * X.mean(),
        0.5 * (outputs**2).sum().item() / 32,
    ]
    assert sorted(loss.item() for loss in layer.losses) == pytest.approx(sorted(expected), rel=1e-5)


def test_penalties_and_metrics_in_captured_and_eager_fits():
    start = Penalized()
    start(X)
    start.size.reset_state()
    start._added_metrics["absolute"].reset_state()
    found = []
    for eager in (False, True):
        layer = Penalized()
        layer.build((None, 4))
        layer.inner.build((None, 4))
        layer.set_weights(start.get_weights())
        model, history = fitted(layer, epochs=3, run_eagerly=eager)
        found.append((history, model.get_weights(), model.step_report().kind))
    assert [kind for *_, kind in found] == ["captured", "eager"]
    assert found[0][0].keys() == found[1][0].keys() == {"loss", "size", "absolute"}
    for name, values in found[1][0].items():
        assert found[0][0][name] == pytest.approx(values, rel=1e-5)
    for mine, other in zip(found[0][1], found[1][1]):
        np.testing.assert_allclose(mine, other, rtol=1e-5)


@pytest.mark.parametrize("eager", [False, True])
def test_state_kept_in_call_counts_steps_and_no_probe(eager):
    class Counting(Layer):
        def __init__(self):
            super().__init__()
            self.inner = Dense(3)

        def build(self, input_shape):
            self.count = self.add_weight(shape=(), dtype="int32", trainable=False, name="count")
            self.mean = self.add_weight(
                shape=(4,), initializer="zeros", trainable=False, name="mean"
            )

        def call(self, inputs, training=None):
            self.count.assign_add(1)
            if training:
                self.mean.assign(self.mean * 0.5 + inputs.mean(0).detach() * 0.5)
            return self.inner(inputs)

    layer, a = Counting(), Input((4,))
    model = Model(a, layer(a))
    model.compute_output_shape((None, 4))
    assert int(layer.count) == 0
    fitted(model, run_eagerly=eager)
    assert int(layer.count) == 8
    expected = np.zeros(4)
    for start in [*range(0, 32, 8)] * 2:
        expected = expected * 0.5 + X[start : start + 8].mean(0) * 0.5
    np.testing.assert_allclose(layer.mean.numpy(), expected, rtol=1e-5, atol=1e-7)


# ------------------------------------------------------------------------------------ configs


@register_keras_serializable(package="Tests")
class Configured(Layer):
    """Keras 3's way to write a config."""

    def __init__(self, units, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.activation = activations.get(activation)

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), name="w")

    def call(self, inputs):
        return self.activation(inputs @ self.w)

    def get_config(self):
        config = super().get_config()
        config.update(units=self.units, activation=activations.serialize(self.activation))
        return config


class Unwritten(Layer):
    """Writes no config; holds a layer."""

    def __init__(self, units, inner=None, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner or Dense(units)

    def call(self, inputs):
        return self.inner(inputs)


def test_a_registered_layer_comes_back_through_json():
    model = Sequential([Input((4,)), Configured(3, "tanh", name="mine")])
    config = json.loads(json.dumps(model.get_config()))
    twin = Sequential.from_config(config)
    assert (twin.layers[0].name, twin.layers[0].units) == ("mine", 3)
    twin.set_weights(model.get_weights())
    np.testing.assert_allclose(twin(X).detach(), model(X).detach())
    assert config["layers"][1]["registered_name"] == "Tests>Configured"


def test_a_layer_without_get_config_comes_back_with_its_arguments():
    layer = Unwritten(3, inner=Dense(5, name="within"))
    model = Sequential([Input((4,)), layer])
    config = json.loads(json.dumps(model.get_config()))
    with pytest.raises(ValueError, match="Unknown layer 'Unwritten'"):
        Sequential.from_config(config)
    twin = Sequential.from_config(config, custom_objects={"Unwritten": Unwritten})
    assert twin.layers[0].inner.name == "within" and twin.output_shape == (None, 5)


# ------------------------------------------------------------------------------------- copies


@pytest.mark.parametrize("make", [lambda: Antique(3), Averaging, Holding, lambda: Configured(3)])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_of_trained_models_go_on_alike(make, copied):
    model = Sequential([make()])
    fresh = copied(model)
    fresh(X)
    assert len(fresh.weights) == len(model.layers[0].weights) or not model.built
    model.compile("adam", "mse", metrics=["mae"])
    quiet = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
    model.fit(X, Y, **quiet)
    twin = copied(model)
    assert int(twin.optimizer.iterations) == 8
    assert [v.path for v in twin.weights] == [v.path for v in model.weights]
    found, expected = (one.fit(X, Y, **quiet).history for one in (twin, model))
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-6)
    for mine, other in zip(twin.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)
