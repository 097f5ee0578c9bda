"""Wrong graphs and wrong inputs: each error names the layer or the input, and what came."""

import copy
import math

import numpy as np
import pytest
import torch

import torchkeras as keras
from torchkeras import layers
from torchkeras.layers import Add, Concatenate, Dense, Flatten, Input, Lambda, Layer

A, B = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")


def says(*words, kinds=(ValueError, TypeError)):
    """An error whose text holds all the words."""
    text = "".join(f"(?=[\\s\\S]*{word})" for word in words)
    return pytest.raises(kinds, match=text)


def two_inputs():
    a, b = Input((3,), name="a"), Input((2,), name="b")
    return keras.Model([a, b], Dense(1, name="out")(Concatenate(name="both")([a, b])), name="m")


def one_input():
    x = Input((3,), name="x")
    return keras.Model(x, Dense(2, name="out")(x), name="m")


def by_name():
    inputs = {"a": Input((3,), name="a"), "b": Input((2,), name="b")}
    return keras.Model(inputs, Concatenate(name="both")(list(inputs.values())), name="m")


# ------------------------------------------------------------------------------- making a model


def test_disconnected_graph_names_the_missing_input():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    with says("disconnected", "'sum'", "'b'", kinds=ValueError):
        keras.Model(a, Add(name="sum")([a, b]))


def test_an_output_that_does_not_come_from_the_inputs():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    from_b = Dense(2, name="from_b")(b)
    with says("disconnected", "'b'", kinds=ValueError):
        keras.Model(a, from_b)
    with says("disconnected", "'b'", kinds=ValueError):
        keras.Model(a, [Dense(2, name="from_a")(a), from_b])


def test_an_input_below_what_the_output_needs():
    x = Input((3,), name="x")
    low = Dense(3, name="low")(x)
    high = Dense(3, name="high")(low)
    with says("disconnected", "'x'", kinds=ValueError):
        keras.Model(high, Add(name="sum")([low, high]))


@pytest.mark.parametrize("nested", [False, True])
def test_duplicate_layer_names(nested):
    x = Input((3,), name="x")
    first = Dense(3, name="twin")(x)
    if nested:
        first = keras.Model(x, first, name="twin")(x)
    with says("'twin'", "unique", kinds=ValueError):
        keras.Model(x, Dense(3, name="twin")(first))


def test_duplicate_input_names():
    a, b = Input((3,), name="a"), Input((3,), name="a")
    with says("'a'", "unique", kinds=ValueError):
        keras.Model([a, b], Add()([a, b]))


def test_one_layer_and_one_operator_of_the_same_name():
    x = Input((3,), name="x")
    y = x * 2
    name = keras.Model(x, y).get_config()["layers"][-1]["name"]
    with says(f"'{name}'", "unique", kinds=ValueError):
        keras.Model(x, Dense(3, name=name)(y))


@pytest.mark.parametrize(
    "thing", [torch.ones(3), np.ones(3), None, "x", 3], ids=lambda t: str(type(t))
)
def test_inputs_and_outputs_that_are_no_symbolic_tensors(thing):
    x = Input((3,), name="x")
    with says("inputs", "symbolic", type(thing).__name__):
        keras.Model(thing if thing is not None else [None], Dense(2)(x))
    with says("outputs", "symbolic", type(thing).__name__):
        keras.Model(x, [Dense(2)(x), thing])


def test_no_inputs_and_no_outputs():
    x = Input((3,), name="x")
    with says("outputs", "m", kinds=ValueError):
        keras.Model(x, [], name="m")
    with says("inputs", "m", kinds=ValueError):
        keras.Model([], Dense(2)(x), name="m")


def test_a_layer_in_place_of_its_output():
    x = Input((3,), name="x")
    with says("outputs", "symbolic", "Dense"):
        keras.Model(x, Dense(2, name="forgotten"))


# ------------------------------------------------------------------------------- calling a layer


def test_a_lambda_that_fails_is_named_with_its_cause():
    x = Input((3,), name="x")
    with says("'broken'", r"\(None, 3\)", "no_such_method"):
        Lambda(lambda t: t.no_such_method(), name="broken")(x)
    with says("'broken'", r"\(None, 3\)"):
        Lambda(lambda t: t @ torch.ones(5, 2), name="broken")(x)


def test_an_own_layer_that_fails_is_named_with_its_cause():
    class Wrong(Layer):
        def call(self, inputs):
            return torch.reshape(inputs, (-1, 5)) @ torch.ones(7, 7)

    with says("'wrong_one'", r"\(None, 3\)"):
        Wrong(name="wrong_one")(Input((3,), name="x"))


def test_an_own_layer_that_returns_no_tensor():
    class Text(Layer):
        def call(self, inputs):
            return "text"

    with says("'texts'", "str"):
        Text(name="texts")(Input((3,), name="x"))


def test_a_layer_built_on_an_unknown_size():
    with says("'d'", r"\(None, None\)", "None"):
        Dense(2, name="d")(Input((None,), name="x"))
    with says("'d'", r"\(None, None\)", "None"):
        Dense(2, name="d")(Flatten(name="f")(Input((None, 3), name="x")))


def test_a_layer_called_with_nothing_and_before_it_knows_its_shape():
    with says("'d'"):
        Dense(2, name="d")()
    with says("'d'", "build", kinds=(ValueError, AttributeError)):
        Dense(2, name="d").count_params()
    with says("'d'", kinds=AttributeError):
        _ = Dense(2, name="d").output
    with says("'d'", kinds=AttributeError):
        _ = Dense(2, name="d").input_shape


def test_a_model_called_before_it_has_layers_or_a_call():
    class Empty(keras.Model):
        pass

    with says("Empty", "call"):
        Empty()(A)
    with says("Model", "call"):
        keras.Model()(A)


def test_an_unbuilt_subclass_says_that_it_has_no_shape(capsys):
    class Own(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.d = Dense(2, name="d")

        def call(self, x):
            return self.d(x)

    model = Own()
    assert model.weights == []
    for attribute in ("inputs", "output", "input_shape"):
        with says("'own'", kinds=AttributeError):
            getattr(model, attribute)
    model.summary()
    assert "unbuilt" in capsys.readouterr().out


def test_shapes_that_do_not_fit_a_layer():
    dense = Dense(2, name="d")
    dense(Input((3,)))
    with says("'d'", "3", r"\(None, 4\)", kinds=ValueError):
        dense(Input((4,)))
    with says("'d'", r"\(None,\)", kinds=ValueError):
        Dense(2, name="d")(Input(()))


def test_shapes_that_do_not_fit_each_other():
    with says("'sum'", r"\(None, 3\)", r"\(None, 4\)", kinds=ValueError):
        Add(name="sum")([Input((3,)), Input((4,))])
    with says("'both'", r"\(None, 3, 2\)", r"\(None, 4, 3\)", kinds=ValueError):
        Concatenate(name="both")([Input((3, 2)), Input((4, 3))])
    with says("'sum'", "list", kinds=ValueError):
        Add(name="sum")(Input((3,)))
    with says("add", r"\(None, 3\)", r"\(None, 4\)", kinds=ValueError):
        Input((3,), name="a") + Input((4,), name="b")
    with says("matmul", r"\(None, 3, 4\)", r"\(None, 5, 6\)", kinds=ValueError):
        Input((3, 4)) @ Input((5, 6))


def test_a_layer_that_needs_several_inputs():
    class Both(Layer):
        def call(self, left, right):
            return left + right

    with says("'pair'", "right"):
        Both(name="pair")(Input((3,)))


def test_which_output_of_a_layer_called_twice():
    x = Input((3,), name="x")
    dense = Dense(3, name="again")
    y = dense(dense(x))
    # As in Keras: the first call's.
    assert dense.input is x and dense.output is not y
    with says("'again'", "2 times", kinds=ValueError):
        dense.get_output_at(2)


def test_a_raw_torch_module_that_would_lose_its_weights():
    with says("Linear|linear", "TorchModuleWrapper"):
        torch.nn.Linear(3, 2)(Input((3,), name="x"))
    with says("[Dd]ropout", "TorchModuleWrapper"):
        torch.nn.Dropout(0.5)(Input((3,), name="x"))


# ---------------------------------------------------------------- a symbolic tensor as a value

USES = {
    "if": lambda x: bool(x > 0),
    "while": lambda x: not x,
    "and": lambda x: (x > 0) and (x < 1),
    "numpy.array": lambda x: np.array(x),
    "numpy.asarray": lambda x: np.asarray(x),
    "numpy function": lambda x: np.sqrt(x),
    "float": lambda x: float(x),
    "int": lambda x: int(x),
    "range": lambda x: range(x),
    "index": lambda x: [1, 2][x],
    "math": lambda x: math.sqrt(x),
    "for": lambda x: list(iter(x)),
    "unpacking": lambda x: (lambda a, b, c: a)(*x),
    "len": lambda x: len(x),
    "in": lambda x: 3 in x,
    "torch.tensor": lambda x: torch.tensor(x),
    "assignment": lambda x: x.__setitem__(0, 1),
    "item": lambda x: x.item(),
    "numpy method": lambda x: x.numpy(),
    "formatting": lambda x: f"{x:.2f}",
}


@pytest.mark.parametrize("use", USES)
def test_a_symbolic_tensor_used_as_a_value(use):
    x = Input((3,), name="the_input")
    kinds = (ValueError, TypeError, AttributeError, NotImplementedError)
    with says("symbolic|KerasTensor", kinds=kinds):
        USES[use](x)


@pytest.mark.parametrize("use", ["if", "numpy.array", "float", "for"])
def test_what_to_do_instead_is_said(use):
    with says("symbolic", "call|Lambda|torch|shape", kinds=(ValueError, TypeError)):
        USES[use](Input((3,), name="the_input"))


def test_indices_out_of_range():
    x = Input((3,), name="x")
    with says(r"\(None, 3\)|size 3", "5", kinds=(ValueError, IndexError)):
        x[:, 5]
    with says(r"\(None, 3\)|dimension", kinds=(ValueError, IndexError)):
        x[:, 0, 0]


def test_a_symbolic_tensor_can_be_shown_compared_and_kept():
    x = Input((3,), name="x")
    assert "(None, 3)" in repr(x) and "float32" in repr(x)
    assert {x: 1}[x] == 1 and x in [x]
    assert copy.copy([x])[0] is x


# ------------------------------------------------------------------------------- feeding a model


@pytest.mark.parametrize(
    "given", [A, [A], [A, B, B], (A, B, A, B)], ids="one list three four".split()
)
@pytest.mark.parametrize("way", ["call", "predict", "fit", "evaluate", "symbolic"])
def test_wrong_number_of_inputs(given, way):
    model = two_inputs()
    model.compile("sgd", "mse")
    count = len(given) if isinstance(given, (list, tuple)) else 1
    with says("'m'", "2", "'a', 'b'", f"received.*({count}|one)", kinds=ValueError):
        if way == "call":
            model(given)
        elif way == "predict":
            model.predict(given, verbose=0)
        elif way == "symbolic":
            parts = given if isinstance(given, (list, tuple)) else [given]
            symbols = [Input(part.shape[1:]) for part in parts]
            model(symbols if isinstance(given, (list, tuple)) else symbols[0])
        else:
            getattr(model, way)(given, np.ones((4, 1)), verbose=0)


@pytest.mark.parametrize("way", ["call", "predict", "fit", "evaluate"])
def test_two_arrays_for_one_input(way):
    model = one_input()
    model.compile("sgd", "mse")
    with says("'m'", "'x'|1|one", "2", kinds=ValueError):
        if way == "call":
            model([A, A])
        elif way == "predict":
            model.predict([A, A], verbose=0)
        else:
            getattr(model, way)([A, A], np.ones((4, 2)), verbose=0)


@pytest.mark.parametrize("make", [two_inputs, by_name])
@pytest.mark.parametrize("way", ["call", "predict"])
def test_wrong_dictionary_keys(make, way):
    model = make()
    for given in ({"a": A, "z": B}, {"a": A}, {"A": A, "B": B}):
        missing = "'b'" if "a" in given else "'a'"
        with says("'m'", missing, *(f"'{key}'" for key in given), kinds=ValueError):
            model(given) if way == "call" else model.predict(given, verbose=0)


def test_a_dictionary_may_hold_more_than_the_model_takes():
    assert two_inputs()({"a": A, "b": B, "z": A}).shape == (4, 1)


@pytest.mark.parametrize("way", ["call", "predict", "fit"])
def test_wrong_rank_and_wrong_sizes(way):
    model = two_inputs()
    model.compile("sgd", "mse")
    for given, name, shape in (
        ([A[:, None, None], B], "'a'", r"\((4|None), 1, 1, 3\)"),
        ([A, np.ones((4, 5, 2))], "'b'", r"\((4|None), 5, 2\)"),
        ([B, A], "'a'", r"\((4|None), 2\)"),
        ([A, np.ones((4, 9))], "'b'", r"\((4|None), 9\)"),
    ):
        with says("'m'", name, shape, kinds=ValueError):
            if way == "call":
                model(given)
            elif way == "predict":
                model.predict(given, verbose=0)
            else:
                model.fit(given, np.ones((4, 1)), verbose=0)


def test_one_sample_without_the_axis_of_samples():
    with says("'m'", "'x'", r"\(3,\)", kinds=ValueError):
        one_input()(A[0])
    with says("'m'", r"\(3,\)", kinds=ValueError):
        one_input().predict(A[0], verbose=0)


@pytest.mark.parametrize("way", ["predict", "fit"])
def test_different_numbers_of_samples(way):
    model = two_inputs()
    model.compile("sgd", "mse")
    with says("samples", "4", "3", kinds=ValueError):
        if way == "predict":
            model.predict([A, B[:3]], verbose=0)
        else:
            model.fit([A, B[:3]], np.ones((4, 1)), verbose=0)


def test_symbolic_call_with_wrong_shapes():
    model = two_inputs()
    with says("'m'", "'a'", r"\(None, 3\)", r"\(None, 7\)", kinds=ValueError):
        model([Input((7,)), Input((2,))])
    with says("'m'", r"\(None, 3\)|2", kinds=ValueError):
        model.compute_output_shape([(None, 3)])


def test_text_and_missing_inputs():
    for given in ([A, None], [A, "text"], [A, np.array(["a", "b", "c", "d"])]):
        with says("'m'|'b'|x"):
            two_inputs()(given)
    with says("'m'"):
        one_input()(None)


# ----------------------------------------------------------------------------- several outputs


def two_outputs():
    x = Input((3,), name="x")
    outputs = [Dense(1, name="p")(x), Dense(2, name="q")(x)]
    return keras.Model(x, outputs, name="m")


Y = [np.ones((4, 1), "float32"), np.ones((4, 2), "float32")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"loss": {"p": "mse", "z": "mse"}}, ["loss", "'z'", "'p'", "'q'"]),
        ({"loss": ["mse", "mse", "mse"]}, ["loss", "3", "2|'p'"]),
        ({"loss": ["mse", "mse"], "loss_weights": [1.0]}, ["loss_weights", "1", "2"]),
        ({"loss": ["mse", "mse"], "loss_weights": [1.0, 2.0, 3.0]}, ["loss_weights", "3", "2"]),
        ({"loss": "mse", "metrics": {"z": "mae"}}, ["metrics", "'z'", "'p'", "'q'"]),
        ({"loss": "mse", "metrics": [["mae"], ["mae"], ["mae"]]}, ["metrics", "3"]),
        ({"loss": "mse", "metrics": {"p": "no_such_metric"}}, ["no_such_metric"]),
        ({"loss": {"p": "mse", "q": "no_such_loss"}}, ["no_such_loss"]),
    ],
    ids=str,
)
def test_what_compile_is_given_for_several_outputs(arguments, words):
    # At compile, or at the first batch at the latest.
    with says(*words, kinds=ValueError):
        model = two_outputs()
        model.compile("sgd", **arguments)
        model.fit(A, Y, verbose=0)


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        ({"y": Y[0]}, ["'m'|y", "2"]),
        ({"y": [*Y, Y[0]]}, ["y", "3", "2"]),
        ({"y": {"p": Y[0], "z": Y[1]}}, ["y|'m'", "'q'|'z'"]),
        ({"y": [Y[0], Y[1][:3]]}, ["samples", "4", "3"]),
        ({"y": Y, "sample_weight": [np.ones(4)]}, ["sample_weight"]),
        ({"y": Y, "sample_weight": {"z": np.ones(4)}}, ["sample_weight"]),
        (
            {"y": Y, "class_weight": {0: 1.0, 1: 2.0}},
            ["class_weight", "2 outputs", "by its name"],
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, (list, dict)) else str(value),
)
def test_what_fit_is_given_for_several_outputs(fit, words):
    model = two_outputs()
    model.compile("sgd", ["mse", "mse"])
    with says(*words, kinds=ValueError):
        model.fit(A, verbose=0, **fit)


# -------------------------------------------------------------------------------------- configs


def test_a_config_whose_graph_has_no_beginning():
    config = one_input().get_config()
    config["layers"] = config["layers"][1:]
    with says("'x'", kinds=ValueError):
        keras.Model.from_config(config)


def test_a_config_that_is_cut_off():
    config = one_input().get_config()
    del config["output_layers"]
    with says("output_layers", kinds=ValueError):
        keras.Model.from_config(config)


def test_a_config_that_names_an_unknown_layer():
    config = one_input().get_config()
    config["layers"][1]["class_name"] = "Dens"
    with says("'Dens'", "Dense", kinds=ValueError):
        keras.Model.from_config(config)


def test_get_layer_says_which_layers_there_are():
    model = two_inputs()
    with says("'zz'", r"'a', 'b', 'both', 'out'", kinds=ValueError):
        model.get_layer("zz")
    with says("9", "4", kinds=ValueError):
        model.get_layer(index=9)


def test_after_an_error_the_layers_still_work():
    x = Input((3,), name="x")
    dense = Dense(3, name="d")
    y = dense(x)
    with pytest.raises(ValueError):
        keras.Model(Input((3,), name="other"), y)
    with pytest.raises(ValueError):
        dense(Input((5,)))
    model = keras.Model(x, y)
    assert model(A).shape == (4, 3)
    assert [layer.name for layer in model.layers] == ["x", "d"]
    assert layers.serialize(dense)["config"]["name"] == "d"
