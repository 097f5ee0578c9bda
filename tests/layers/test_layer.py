"""The life-cycle of a layer: construction, build, call, weights, flags, config."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import config, eras, registry
from torchkeras.layers import (
    Activation,
    BatchNormalization,
    Dense,
    Dropout,
    Input,
    InputSpec,
    Layer,
)
from torchkeras.models import Sequential
from torchkeras.registry import reset_names
from torchkeras.variable import Variable


class Scale(Layer):
    """A layer as a user writes it: attributes before super(), a weight made in build."""

    def __init__(self, factor=2.0, **kwargs):
        self.factor = factor
        self.inner = Dense(3)
        super().__init__(**kwargs)

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

    def call(self, inputs):
        return self.inner(inputs * self.w * self.factor)


class Echo(Layer):
    """Says in which mode it was called."""

    def call(self, inputs, training=None):
        return inputs + (1.0 if training else 0.0)


def test_attributes_may_be_set_before_super_init():
    layer = Scale()
    assert layer(np.ones((2, 4))).shape == (2, 3)
    assert layer.factor == 2.0


def test_weights_in_keras_order_own_trainable_then_own_fixed_then_sublayers():
    layer = Scale()
    layer(np.ones((2, 4)))
    assert [v.name for v in layer.weights] == ["scale", "count", "kernel", "bias"]
    assert [v.name for v in layer.trainable_weights] == ["scale", "kernel", "bias"]
    assert [v.name for v in layer.non_trainable_weights] == ["count"]


def test_added_weight_is_a_plain_parameter_under_the_attribute_and_a_variable_to_its_reader():
    layer = Scale()
    layer.build((None, 4))
    assert "w" in dict(layer.named_parameters())
    assert type(dict(layer.named_parameters())["w"]) is nn.Parameter
    assert isinstance(layer.w, Variable)
    layer.w.assign([1, 2, 3, 4])
    assert layer._parameters["w"].tolist() == [1, 2, 3, 4]
    assert "count" in dict(layer.named_buffers())


def test_build_runs_once_and_completes_without_super():
    layer = Scale()
    assert not layer.built
    layer.build((None, 4))
    assert layer.built and layer.input_shape == (None, 4)
    before = layer._parameters["w"]
    layer(np.ones((1, 4)))
    assert layer._parameters["w"] is before


def test_one_variable_for_each_weight():
    model = Sequential([Dense(2, input_dim=3)])
    layer = model.layers[0]
    assert layer.kernel is layer.kernel and layer.kernel in model.weights
    assert model.weights == layer.weights
    twin = copy.deepcopy(model)
    assert twin.layers[0].kernel is not layer.kernel
    assert twin.layers[0].kernel.owner is twin.layers[0]
    custom = Scale()
    custom.build((None, 4))
    assert custom.w is custom.w and custom.w in custom.weights


def test_layers_that_need_no_build_run_that_of_a_subclass():
    class Noisy(Dropout):
        def build(self, input_shape):
            self.w = self.add_weight(shape=(1,), initializer="ones")

        def call(self, inputs):
            return super().call(inputs) * self.w

    assert not Noisy(0.1).built and Dropout(0.1).built
    assert Noisy(0.1)(torch.ones(1, 2)).tolist() == [[1, 1]]


def test_users_initializers_are_called_with_what_they_take():
    def keras_1(shape, name=None):
        return np.full(shape, 2.0)

    def keras_3(shape, dtype=None):
        return torch.full(shape, 3.0)

    for initializer, value in ((keras_1, 2), (keras_3, 3)):
        layer = Dense(2, kernel_initializer=initializer)
        layer.build((None, 3))
        assert (layer.kernel.numpy() == value).all()


def test_late_bound_variable_follows_the_parameter():
    layer = Dense(2)
    layer.build((None, 3))
    kernel = layer.kernel
    layer.linear.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))
    assert kernel.shape == (3, 2)
    assert kernel.numpy().tolist() == [[0, 3], [1, 4], [2, 5]]
    layer.double()
    assert kernel.dtype == "float64"


def test_variable_in_operators_torch_functions_and_gradients():
    layer = Dense(2, use_bias=False)
    layer.build((None, 3))
    x = torch.ones(4, 3)
    assert torch.allclose(x @ layer.kernel, layer(x))
    assert torch.allclose(torch.matmul(x, layer.kernel), layer(x))
    assert torch.allclose(torch.einsum("ab,bc->ac", x, layer.kernel), layer(x))
    assert torch.allclose(1 - layer.kernel, 1 - layer.linear.weight.t())
    assert torch.allclose(layer.kernel * np.float64(2), layer.linear.weight.t() * 2)
    (layer.kernel**2).sum().backward()
    assert torch.allclose(layer.linear.weight.grad, 2 * layer.linear.weight)


def test_variable_assign_refuses_another_shape_and_keeps_the_parameter():
    layer = Dense(2)
    layer.build((None, 3))
    before = layer.linear.weight
    with pytest.raises(ValueError, match=r"dense.*kernel.*\(2, 3\).*\(3, 2\)"):
        layer.kernel.assign(np.zeros((2, 3)))
    layer.kernel.assign(np.ones((3, 2)))
    layer.kernel.assign_add(np.ones((3, 2)))
    layer.kernel.assign_sub(0.5)
    assert layer.linear.weight is before
    assert (layer.linear.weight == 1.5).all()


def test_training_flag_starts_false_and_is_honoured():
    layer = Echo()
    x = torch.zeros(1)
    assert layer(x).item() == 0
    assert layer(x, training=True).item() == 1
    assert layer.training is False
    layer.train()
    assert layer(x).item() == 1
    assert layer(x, training=False).item() == 0
    assert layer.training is True
    assert layer.eval()(x).item() == 0


def test_training_argument_flips_the_subtree_for_one_call_and_restores_each_module():
    model = Sequential([Echo(), nn.Dropout(0.0), Echo()])
    model.layers[0].train()
    assert model(torch.zeros(1, 1), training=True).item() == 2
    assert model.layers[0].training and not model.layers[2].training
    assert not model.layers[1].module.training
    # also where the outermost agrees already
    assert model(torch.zeros(1, 1)).item() == 1
    assert model(torch.zeros(1, 1), training=False).item() == 0
    assert model.layers[0].training


def test_raw_torch_modules_start_in_inference():
    layer = Layer()
    layer.drop = nn.Dropout(0.5)
    assert layer.drop.training is False
    assert Sequential([nn.Dropout(0.5)])(torch.ones(1, 1000)).sum() == 1000


def test_raw_torch_modules_in_a_layer_are_weights_frozen_ones_stay_frozen():
    class Mixed(Layer):
        def __init__(self):
            super().__init__()
            self.free = nn.Linear(2, 2)
            frozen = nn.Linear(2, 2)
            frozen.requires_grad_(False)
            self.frozen = frozen

        def call(self, inputs):
            return self.free(inputs) + self.frozen(inputs)

    layer = Mixed()
    layer(torch.ones(1, 2))
    assert [v.name for v in layer.trainable_weights] == ["free.weight", "free.bias"]
    assert [v.name for v in layer.non_trainable_weights] == ["frozen.weight", "frozen.bias"]
    layer.trainable = False
    layer.trainable = True
    assert layer.free.weight.requires_grad and not layer.frozen.weight.requires_grad


def test_layers_in_lists_and_dicts_are_tracked_as_they_change():
    class Blocks(Layer):
        def __init__(self):
            super().__init__()
            self.blocks = []
            for _ in range(2):
                self.blocks.append(Dense(3))
            self.heads = {"a": Dense(1)}
            self.pair = (Dense(3), [Dense(3)])

        def call(self, inputs):
            for block in self.blocks:
                inputs = block(inputs)
            return self.heads["a"](self.pair[1][0](self.pair[0](inputs)))

    layer = Blocks()
    x = torch.ones(2, 3)
    layer(x)
    assert isinstance(layer.blocks, list) and len(layer.weights) == 10
    assert len(list(layer.parameters())) == 10
    layer.blocks.append(Dense(3))
    layer.heads["b"] = Dense(1)
    layer.heads.pop("b")
    layer(x)
    assert len(layer.weights) == 12
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(Sequential([layer.blocks[0]])))):
        assert torch.equal(twin(x), (layer if isinstance(twin, Blocks) else layer.blocks[0])(x))
    twin = copy.deepcopy(layer)
    twin.blocks.append(Dense(3))
    twin(x)
    assert len(twin.weights) == 14 and len(layer.weights) == 12
    assert torch.allclose(torch.export.export(layer, (x,)).module()(x), layer(x))
    layer.blocks = None
    assert len(layer.weights) == 6


def test_a_parameter_of_the_layers_own_is_a_weight():
    class Shift(Layer):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(3))
            self.register_buffer("seen", torch.zeros(1))

        def call(self, inputs):
            return inputs + self.shift

    layer = Shift()
    layer(torch.ones(1, 3))
    assert [v.name for v in layer.trainable_weights] == ["shift"]
    assert [v.name for v in layer.non_trainable_weights] == ["seen"]


def test_without_super_init_it_works_all_the_same():
    class Forgetful(Layer):
        def __init__(self, units):
            self.inner = Dense(units)

        def call(self, inputs):
            return self.inner(inputs)

    layer = Forgetful(2)
    assert layer(torch.ones(1, 3)).shape == (1, 2)
    assert layer.name.startswith("forgetful")


def test_forward_instead_of_call_is_refused():
    with pytest.raises(TypeError, match=r"Wrong defines forward\(\).*write call"):

        class Wrong(Layer):
            def forward(self, x):
                return x


def test_paths_of_weights_inside_users_layers():
    class Block(Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = Dense(2, name="inner")

        def build(self, input_shape):
            self.extra = self.add_weight(shape=(1,))

        def call(self, inputs):
            return self.inner(inputs)

    model = Sequential([Input((3,)), Block(name="block")], name="m")
    assert [v.path for v in model.weights] == [
        "m/block/variable",
        "m/block/inner/kernel",
        "m/block/inner/bias",
    ]


def test_add_weight_in_the_order_of_keras_2():
    layer = Layer()
    weight = layer.add_weight("w", (2,), "float32", "ones", trainable=False)
    assert weight.name == "w" and weight.numpy().tolist() == [1, 1] and not weight.row.trainable


def test_config_of_a_constructor_without_kwargs_round_trips():
    class Plain(Layer):
        def __init__(self, k, name=None):
            super().__init__(name=name)
            self.k = k

    config = Plain(3, name="p").get_config()
    assert config == {"name": "p", "k": 3}
    assert Plain.from_config(config).k == 3


def test_what_torch_froze_stays_frozen_through_build_and_trainable():
    class Backbone(Layer):
        def __init__(self):
            super().__init__()
            self.base = nn.Linear(3, 3)
            for parameter in self.base.parameters():
                parameter.requires_grad_(False)
            self.head = Dense(1)
            self.fixed = nn.Parameter(torch.ones(3), requires_grad=False)

        def call(self, inputs):
            return self.head(self.base(inputs) * self.fixed)

    layer = Backbone()
    layer(torch.ones(1, 3))
    for _ in range(2):
        assert [v.name for v in layer.trainable_weights] == ["kernel", "bias"]
        assert not layer.base.weight.requires_grad and layer.head.linear.weight.requires_grad
        layer.trainable = True
        layer.trainable = False
        assert layer.trainable_weights == [] and not layer.head.linear.weight.requires_grad
        layer.trainable = True
    dense = Dense(2)
    dense.build((None, 3))
    dense.linear.bias.requires_grad_(False)
    dense.trainable = True
    assert [v.name for v in dense.trainable_weights] == ["kernel"]


def test_trainable_reaches_parameters_and_counts():
    model = Sequential([Dense(3, input_dim=2), BatchNormalization()])
    assert model.count_params() == 9 + 12
    assert len(model.trainable_weights) == 4
    model.layers[0].trainable = False
    assert not model.layers[0].linear.weight.requires_grad
    assert [v.name for v in model.trainable_weights] == ["gamma", "beta"]
    assert len(model.non_trainable_weights) == 4
    model.trainable = False
    assert model.trainable_weights == [] and len(model.non_trainable_weights) == 6
    model.trainable = True
    assert len(model.trainable_weights) == 4
    frozen = Dense(3, trainable=False)
    frozen.build((None, 2))
    assert not frozen.linear.weight.requires_grad


def test_names_are_numbered_by_class_and_era():
    reset_names()
    assert [Dense(1).name, Dense(1).name, BatchNormalization().name] == [
        "dense",
        "dense_1",
        "batch_normalization",
    ]
    reset_names()
    with eras.using(2):
        assert [Dense(1).name, BatchNormalization().name] == ["dense_1", "batch_normalization_1"]
    reset_names()
    with eras.using(1):
        assert BatchNormalization().name == "batchnormalization_1"


def test_integers_stay_unless_the_layer_computes_in_floats():
    ints = torch.arange(4).reshape(2, 2)
    assert Activation("linear")(ints).dtype is torch.int64
    assert Dense(1)(ints).dtype is torch.float32
    assert Dense(1)(np.ones((2, 2))).dtype is torch.float32
    assert Dense(1, dtype="float64")(ints).dtype is torch.float64
    assert Dense(1)([[1, 2], [3, 4]]).shape == (2, 1)


def test_set_weights_checks_before_it_writes():
    layer = Dense(2)
    layer.build((None, 3))
    before = layer.get_weights()
    with pytest.raises(ValueError, match="2 weights.*received 1"):
        layer.set_weights([np.zeros((3, 2))])
    with pytest.raises(ValueError, match=r"bias.*\(2,\).*\(3,\)"):
        layer.set_weights([np.zeros((3, 2)), np.zeros(3)])
    assert all((a == b).all() for a, b in zip(before, layer.get_weights(), strict=True))
    layer.set_weights([np.ones((3, 2)), np.ones(2)])
    assert layer.get_weights()[0].sum() == 6


def test_weights_argument_sets_the_first_weights():
    layer = Dense(2, weights=[np.full((3, 2), 7.0), np.zeros(2)])
    layer.build((None, 3))
    assert (layer.kernel.numpy() == 7).all()


def test_count_params_before_build_is_an_error():
    with pytest.raises(ValueError, match="not built"):
        Dense(2).count_params()


@pytest.mark.parametrize("name", ["forward", "modules", "children", "parameters", "state_dict"])
def test_attributes_that_a_module_needs_are_refused_by_name(name):
    class Bad(Layer):
        def __init__(self):
            super().__init__()
            setattr(self, name, [1, 2])

    with pytest.raises(ValueError, match=f"'{name}'.*torch.nn.Module"):
        Bad()


def test_input_dim_and_input_shape_exclude_each_other():
    with pytest.raises(ValueError, match="input_dim=5 and input_shape"):
        Dense(3, input_shape=(8,), input_dim=5)


def test_unknown_arguments_name_the_nearest():
    with pytest.raises(ValueError, match="Dense.*'unit_s'.*'units'"):
        Dense(3, unit_s=1)
    with pytest.raises(ValueError, match="Dropout.*'nam'.*'name'"):
        Dropout(0.1, nam="x")


def test_a_layer_without_call_says_so():
    class Empty(Layer):
        pass

    with pytest.raises(TypeError, match="Empty defines no call"):
        Empty()(torch.ones(1, 1))


def test_add_weight_refuses_what_it_cannot_honour():
    layer = Layer()
    with pytest.raises(ValueError, match="every dimension must be known"):
        layer.add_weight(shape=(None, 2), name="w")
    with pytest.raises(ValueError, match="overwrite_with_gradient"):
        layer.add_weight(shape=(2,), name="w", overwrite_with_gradient=True)


def test_regularizer_and_constraint_of_an_added_weight_reach_losses_and_variable():
    layer = Layer()
    weight = layer.add_weight(
        shape=(2,), initializer="ones", regularizer="l2", constraint="non_neg", name="w"
    )
    assert layer.losses[0].item() == pytest.approx(0.02)
    assert weight.constraint(torch.tensor([-1.0, 1.0])).tolist() == [0, 1]


def test_activity_regularizer_is_divided_by_the_batch():
    layer = Activation("linear", activity_regularizer="l2")
    layer(torch.full((4, 2), 3.0))
    assert layer.losses[0].item() == pytest.approx(0.01 * 4 * 2 * 9 / 4)


def regularized():
    model = Sequential(
        [Input((2,)), Dense(2, activity_regularizer="l2", kernel_initializer="ones", name="d")]
    )
    return model, torch.ones(4, 2)


def test_penalties_on_outputs_belong_to_the_last_outermost_call():
    model, x = regularized()
    assert model.losses == []
    for _ in range(3):
        model(x)
        assert [loss.item() for loss in model.losses] == [pytest.approx(0.01 * 4 * 2 * 4 / 4)]
    twice = Sequential([Input((2,)), model, model])
    twice(x)
    assert len(twice.losses) == 2
    shared = Dense(2, activity_regularizer="l2")
    again = Sequential([Input((2,)), shared, shared])
    again(x)
    assert len(again.losses) == 2


def test_penalties_of_a_layer_that_a_step_does_not_call_are_not_added():
    model, x = regularized()
    model.unused = Dense(2, activity_regularizer="l2")
    model.unused(x.clone().requires_grad_())
    model.compile("sgd", "mse")
    for _ in range(2):
        model.fit(x, x, verbose=0)
    assert model.losses == []  # and with them the last step's graph


def test_deepcopy_and_pickle_after_a_call_with_penalties():
    model, x = regularized()
    model(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.losses == [] and torch.equal(twin(x), model(x))
    model.compile("sgd", "mse")
    model.fit(x, x, verbose=0)
    assert torch.equal(copy.deepcopy(model)(x), model(x))


def test_probing_a_shape_leaves_no_penalty_and_happens_once():
    class Count(Layer):
        def call(self, inputs):
            self.__dict__["calls"] = self.__dict__.get("calls", 0) + 1
            return inputs * 1

    layer = Count(activity_regularizer="l2")
    for _ in range(3):
        assert layer.compute_output_shape((None, 3)) == (None, 3)
    assert layer.calls == 2 and layer.losses == []


def test_a_model_that_nobody_holds_is_freed_at_once():
    gc.collect()
    gc.disable()
    try:
        model, x = regularized()
        model(x)
        _ = model.layers[0].kernel, model.weights, model.inputs[0].shape
        gone = weakref.ref(model)
        del model, _
        assert gone() is None
    finally:
        gc.enable()


def test_constructor_arguments_are_kept_only_where_the_config_needs_them():
    class Own(Layer):
        def __init__(self, data, **kwargs):
            super().__init__(**kwargs)

        def get_config(self):
            return {}

    assert "_captured" not in Own(np.zeros(10)).__dict__
    assert "_captured" in Scale(3.0).__dict__ and "_captured" not in Dense(3).__dict__


def test_config_of_a_users_subclass_without_get_config_round_trips():
    class Times(Dense):
        def __init__(self, units, times, **kwargs):
            super().__init__(units, **kwargs)
            self.times = times

        def call(self, inputs):
            return super().call(inputs) * self.times

    layer = Times(3, times=2, activation="relu", name="t")
    again = Times.from_config(layer.get_config())
    assert (again.units, again.times, again.name) == (3, 2, "t")
    assert again.activation is layer.activation


def test_config_follows_a_changed_attribute():
    layer = Dense(3, activation="relu")
    layer.activation = registry.get("activation", "tanh")
    assert layer.get_config()["activation"] == "tanh"


def test_custom_objects_are_found_by_scope_and_by_registration():
    serialized = registry.serialize(Scale(factor=3.0))
    with pytest.raises(ValueError, match="Unknown layer 'Scale'"):
        registry.deserialize("layer", serialized)
    with registry.custom_object_scope({"Scale": Scale}):
        assert registry.deserialize("layer", serialized).factor == 3.0


def test_input_spec_checks_rank_and_axes():
    with pytest.raises(ValueError, match=r"'x'.*rank 2.*\(1, 2, 3\)"):
        InputSpec(ndim=2).check("x", (1, 2, 3))
    with pytest.raises(ValueError, match="4 at axis -1"):
        InputSpec(axes={-1: 4}).check("x", (1, 3))
    InputSpec(shape=(None, 4)).check("x", (7, 4))


def test_output_shape_of_a_layer_without_closed_form_is_probed():
    class Halve(Layer):
        def call(self, inputs):
            return inputs[:, ::2]

    assert Halve().compute_output_shape((None, 6)) == (None, 3)
    assert Halve().compute_output_shape((4, 6)) == (4, 3)


def test_deepcopy_and_pickle_keep_values_and_independence():
    layer = Scale()
    layer(np.ones((1, 4)))
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(np.ones((1, 4))), layer(np.ones((1, 4))))
        twin.w.assign(np.zeros(4))
        assert layer.w.numpy().sum() == 4


def test_new_weights_go_to_the_device_in_force():
    config.set_device("meta")
    layer = Dense(2, kernel_initializer="zeros")
    layer.build((None, 3))
    assert layer.linear.weight.device.type == "meta"
