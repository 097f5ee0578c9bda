"""Sequential: adding, taking away, building, counting, config."""

import json

import numpy as np
import pandas
import pytest
import torch
from torch import nn

from torchkeras.layers import BatchNormalization, Dense, Dropout, Flatten, Input, Layer, Reshape
from torchkeras.models import Model, Sequential


@pytest.mark.parametrize(
    "first",
    [
        lambda: [Dense(4, input_dim=3)],
        lambda: [Dense(4, input_shape=(3,))],
        lambda: [Dense(4, batch_input_shape=(None, 3))],
        lambda: [Input((3,)), Dense(4)],
        lambda: [Input(batch_shape=(None, 3)), Dense(4)],
        lambda: [Sequential([Dense(4, input_dim=3)])],
    ],
)
def test_every_way_to_declare_the_input_builds_at_once(first):
    model = Sequential(first() + [Dense(2)])
    assert model.built
    assert model.input_shape == (None, 3) and model.output_shape == (None, 2)
    assert model.count_params() == 16 + 10
    assert model.inputs[0].shape == (None, 3) and model.outputs[0].shape == (None, 2)


def test_add_and_list_are_the_same():
    model = Sequential()
    model.add(Input((3,)))
    model.add(Dense(4))
    model.add(Dense(2))
    assert [layer.name for layer in model.layers] == [layer.name for layer in model.layers]
    assert [type(layer) for layer in model.layers] == [Dense, Dense]
    assert model.output_shape == (None, 2)


def test_deferred_build_at_call_fit_and_build():
    called, fitted, built = (Sequential([Dense(4), Dense(1)]) for _ in range(3))
    assert not called.built and called.weights == []
    assert called(np.ones((5, 3))).shape == (5, 1)
    fitted.compile("sgd", "mse")
    fitted.fit(np.ones((5, 3)), np.ones(5), verbose=0)
    built.build((None, 3))
    for model in (called, fitted, built):
        assert model.built and model.input_shape == (None, 3)
    with pytest.raises(ValueError, match="needs an input_shape"):
        Sequential([Dense(1)]).build()
    with pytest.raises(ValueError, match="no layers"):
        Sequential().build((None, 3))


def test_pop_takes_the_last_layer_and_the_model_still_works():
    model = Sequential([Dense(4, input_dim=3), Dense(2), Dropout(0.5)])
    assert isinstance(model.pop(), Dropout)
    model.pop()
    assert model.output_shape == (None, 4) and model(np.ones((1, 3))).shape == (1, 4)
    model.add(Dense(7))
    assert model.output_shape == (None, 7)
    with pytest.raises(ValueError, match="no layers"):
        Sequential().pop()


def test_get_layer_by_name_and_index():
    model = Sequential([Dense(4, input_dim=3, name="a"), Dense(2, name="b")])
    assert model.get_layer("b") is model.layers[1] is model.get_layer(index=1)
    assert model.get_layer(index=-2).name == "a"
    with pytest.raises(ValueError, match=r"no layer 'c'.*\['a', 'b'\]"):
        model.get_layer("c")
    with pytest.raises(ValueError, match="2 layers"):
        model.get_layer(index=2)
    with pytest.raises(ValueError, match="name or an index"):
        model.get_layer()


def test_one_layer_twice_shares_its_weights():
    layer = Dense(3)
    model = Sequential([Input((3,)), layer, layer])
    assert len(model.layers) == 2 and len(model.weights) == 2 and model.count_params() == 12
    x = np.random.rand(2, 3)
    assert torch.allclose(model(x), layer(layer(x)))
    again = Sequential([Sequential([layer]), Sequential([layer])])
    again.build((None, 3))
    assert len(again.weights) == 2 and len(again.get_weights()) == 2


def test_what_cannot_be_added():
    model = Sequential([Dense(4, input_dim=3, name="a")])
    with pytest.raises(ValueError, match="already has a layer named 'a'"):
        model.add(Dense(2, name="a"))
    with pytest.raises(ValueError, match="takes layers"):
        model.add("dense")
    with pytest.raises(ValueError, match="class Dense"):
        model.add(Dense)
    with pytest.raises(ValueError, match="Input goes first"):
        model.add(Input((3,)))


def test_a_layer_that_does_not_fit_is_named_and_not_left_behind():
    model = Sequential([Dense(4, input_dim=3)])
    with pytest.raises(ValueError, match="cannot reshape"):
        model.add(Reshape((5,)))
    assert len(model.layers) == 1 and model.built
    assert model(np.ones((1, 3))).shape == (1, 4)
    built = Dense(2, name="narrow")
    built.build((None, 9))
    with pytest.raises(ValueError, match="'narrow'.*9 at axis -1"):
        model.add(built)


def test_nesting_and_torch_modules():
    inner = Sequential([Dense(4), Dense(4)])
    model = Sequential([Input((3,)), inner, nn.Linear(4, 2), nn.ReLU(), Flatten()])
    assert model.output_shape == (None, 2)
    assert len(model.weights) == 6
    assert model.count_params() == 16 + 20 + 10
    assert (model(np.random.rand(5, 3)) >= 0).all()


def test_single_features_gain_and_lose_the_last_axis():
    model = Sequential([Dense(2, input_dim=1)])
    assert model(np.ones(5)).shape == (5, 2)
    assert model(np.ones((5, 1))).shape == (5, 2)


def test_get_config_and_from_config_round_trip():
    model = Sequential(
        [
            Dense(4, activation="relu", kernel_regularizer="l2", input_dim=3, name="first"),
            BatchNormalization(),
            Dropout(0.2),
            Sequential([Dense(3), Dense(2, kernel_constraint="non_neg")], name="inner"),
        ],
        name="outer",
    )
    again = Sequential.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert again.built and again.name == "outer"
    again.set_weights(model.get_weights())
    x = np.random.rand(4, 3)
    assert torch.equal(again(x), model(x))
    unbuilt = Sequential([Dense(2)])
    assert not Sequential.from_config(unbuilt.get_config()).built


def test_from_config_reads_old_lists_of_layers():
    layers = [
        {
            "class_name": "Dense",
            "config": {"units": 4, "batch_input_shape": [None, 3], "name": "a"},
        },
        {"class_name": "Dense", "config": {"units": 1, "name": "b"}},
    ]
    model = Sequential.from_config(layers)
    assert [layer.name for layer in model.layers] == ["a", "b"]
    assert model.input_shape == (None, 3)


def test_from_config_with_a_users_layer():
    class Twice(Layer):
        def call(self, inputs):
            return 2 * inputs

    model = Sequential([Input((2,)), Twice()])
    again = Sequential.from_config(model.get_config(), custom_objects={"Twice": Twice})
    assert again(np.ones((1, 2))).tolist() == [[2, 2]]


def test_from_config_with_a_users_function_and_initializer():
    def double(x):
        return 2 * x

    model = Sequential([Dense(1, activation=double, input_dim=2, kernel_initializer="ones")])
    again = Sequential.from_config(model.get_config(), custom_objects={"double": double})
    assert again(np.ones((1, 2))).item() == 4
    with pytest.raises(ValueError, match="needs the key 'layers'"):
        Sequential.from_config({"lay": 1})


def test_inputs_of_every_kind_may_be_given_to_a_call():
    model = Sequential([Dense(1, input_dim=2, kernel_initializer="ones")])
    for x in ([[1, 2]], np.array([[1, 2]]), [np.array([[1.0, 2]])], pandas.DataFrame([[1, 2]])):
        assert model(x).tolist() == [[3]]
    with pytest.raises(ValueError, match="one input; received a list of 2 arrays"):
        model([np.ones((1, 2)), np.ones((1, 2))])
    for x in (None, "text"):
        with pytest.raises((TypeError, ValueError), match="takes one array|cannot take"):
            model(x)
    with pytest.raises(ValueError, match="must be a tuple"):
        Sequential([Dense(1)]).build(5)


def test_two_equal_models_have_equal_state_dict_keys():
    a, b = (Sequential([Dense(4, input_dim=3), Dense(1)]) for _ in range(2))
    assert (
        list(a.state_dict())
        == list(b.state_dict())
        == [
            "0.linear.weight",
            "0.linear.bias",
            "1.linear.weight",
            "1.linear.bias",
        ]
    )
    b.load_state_dict(a.state_dict())
    assert torch.equal(a(np.ones((1, 3))), b(np.ones((1, 3))))


def test_summary_prints_the_table(capsys):
    model = Sequential([Dense(4, input_dim=3), Dropout(0.1)], name="m")
    model.summary()
    text = capsys.readouterr().out
    assert 'Model: "m"' in text and "(None, 4)" in text and "Total params: 16 (64.00 B)" in text
    lines = []
    model.summary(print_fn=lines.append)
    assert "Trainable params: 16" in "\n".join(lines)


def test_model_built_for_another_shape_says_so():
    model = Sequential([Dense(4, input_dim=3)], name="m")
    with pytest.raises(ValueError, match=r"'m'.*\(None, 3\).*\(None, 5\)"):
        model.build((None, 5))


def test_trainable_in_the_constructor():
    model = Sequential([Dense(4, input_dim=3)], trainable=False)
    assert model.trainable_weights == [] and not model.layers[0].linear.weight.requires_grad


def test_a_sequential_is_a_model_and_a_module():
    model = Sequential([Dense(1, input_dim=1)])
    assert isinstance(model, Model) and isinstance(model, Layer) and isinstance(model, nn.Module)


@pytest.mark.parametrize(
    ("name", "advice"),
    [("save", "torch.save"), ("fit_generator", "pass arrays"), ("predict_classes", "argmax")],
)
def test_what_is_not_there_says_what_to_do(name, advice):
    model = Sequential([Dense(1)])
    assert not hasattr(model, name)
    with pytest.raises(AttributeError, match=f"Sequential.{name}: .*{advice}"):
        getattr(model, name)


def test_numpy_numbers_in_a_config_are_plain():
    model = Sequential([Input((4,)), Dropout(np.float32(0.5)), BatchNormalization(momentum=0.9)])
    assert json.loads(json.dumps(model.get_config()))["layers"][1]["config"]["rate"] == 0.5
