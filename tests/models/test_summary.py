"""The table of ``summary()``: on stand-ins for models, and against Keras' on the same models."""

import functools
import io
import re
import sys
import types

import keras
import numpy as np
import pytest

from torchkeras import layers, models
from torchkeras.models.summary import print_summary


def variable(*shape, dtype="float32"):
    return types.SimpleNamespace(shape=shape, dtype=dtype)


class Dense:
    trainable, built = True, True

    def __init__(self, name, output_shape=(None, 2), inner=(), **attributes):
        self.name, self.output_shape, self.layers = name, output_shape, list(inner)
        self.weights = [variable(3, 2), variable(2)]
        self.__dict__.update(attributes)

    def count_params(self):
        return sum(int(np.prod(w.shape)) for w in self.weights)


class Unknown(Dense):
    @property
    def output_shape(self):
        raise AttributeError("not built")

    @output_shape.setter
    def output_shape(self, shape):
        pass


def model(*layers, optimizer=None, name="m"):
    return types.SimpleNamespace(
        name=name,
        layers=list(layers),
        trainable_weights=[v for layer in layers if layer.trainable for v in layer.weights],
        non_trainable_weights=[v for layer in layers if not layer.trainable for v in layer.weights],
        optimizer=optimizer,
    )


def text_of(model, **options):
    texts = []
    print_summary(model, print_fn=texts.append, **options)
    assert len(texts) == 1
    return texts[0]


def cells(text, row):
    lines = [line for line in text.splitlines() if line.startswith("│")]
    return [part.strip() for part in lines[row].strip("│").split("│")]


def test_the_whole_table():
    frozen = Dense("frozen", trainable=False)
    assert text_of(model(Dense("first"), frozen), line_length=50) == (
        'Model: "m"\n'
        "┏━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━┳━━━━━━━━━┓\n"
        "┃ Layer (type)        ┃ Output Shape   ┃ Param # ┃\n"
        "┡━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━╇━━━━━━━━━┩\n"
        "│ first (Dense)       │ (None, 2)      │       8 │\n"
        "├─────────────────────┼────────────────┼─────────┤\n"
        "│ frozen (Dense)      │ (None, 2)      │       8 │\n"
        "└─────────────────────┴────────────────┴─────────┘\n"
        " Total params: 16 (64.00 B)\n"
        " Trainable params: 8 (32.00 B)\n"
        " Non-trainable params: 8 (32.00 B)\n"
    )


def test_it_goes_to_standard_output(capsys):
    print_summary(model(Dense("first")))
    assert capsys.readouterr().out == text_of(model(Dense("first")))


@pytest.mark.parametrize(
    "shape, shown",
    [
        ((None, 3, 4), "(None, 3, 4)"),
        ((None,), "(None)"),
        ([(None, 3)], "(None, 3)"),
        ([(None, 3), (None, 4)], "[(None, 3), (None, 4)]"),
        (((None, 3), (2, 4)), "((None, 3), (2, 4))"),
        ({"a": (None, 3), "b": (None,)}, "{a: (None, 3), b: (None)}"),
        (None, "?"),
    ],
)
def test_shapes(shape, shown):
    assert cells(text_of(model(Dense("d", shape)), line_length=120), 0)[1] == shown


def test_what_is_not_built():
    layer = Unknown("d", built=False)
    layer.weights = []
    assert cells(text_of(model(layer)), 0) == ["d (Unknown)", "?", "0 (unbuilt)"]


def test_trainable_column():
    none = Dense("none")
    none.weights = []
    text = text_of(
        model(Dense("yes"), Dense("no", trainable=False), none),
        show_trainable=True,
        line_length=120,
    )
    assert [cells(text, row)[3] for row in range(3)] == ["Y", "N", "-"]
    assert "┃ Trainable ┃" in text


def test_nested_layers():
    inner = Dense("inner", inner=[Dense("deep", inner=[Dense("deeper")])])
    text = text_of(model(inner), expand_nested=True)
    names = [cells(text, row)[0] for row in range(3)]
    assert names == ["inner (Dense)", "└ deep (Dense)", "└ deeper (Dense)"]
    assert "│    └ deep (Dense)" in text and "│       └ deeper (Dense)" in text
    assert "deep" not in text_of(model(inner))


def test_memory_counts_dtypes_and_the_optimizer():
    layer = Dense("d")
    layer.weights = [variable(1024, 1024), variable(3, dtype="float64")]
    adam = types.SimpleNamespace(
        built=True, variables=[variable(dtype="int64"), variable(1024, 1024), variable(2, 4)]
    )
    lines = text_of(model(layer, optimizer=adam)).splitlines()[-4:]
    assert lines == [
        " Total params: 2,097,164 (8.00 MB)",
        " Trainable params: 1,048,579 (4.00 MB)",
        " Non-trainable params: 0 (0.00 B)",
        " Optimizer params: 1,048,585 (4.00 MB)",
    ]
    adam.built = False
    assert "Optimizer" not in text_of(model(layer, optimizer=adam))


def test_a_range_of_layers():
    many = model(*(Dense(name) for name in ("a_1", "a_2", "b_1", "b_2")))

    def shown(*names):
        text = text_of(many, layer_range=names)
        return [name for name in ("a_1", "a_2", "b_1", "b_2") if f"│ {name} " in text]

    assert shown("a_2", "b_1") == ["a_2", "b_1"]
    assert shown("a", "a") == ["a_1", "a_2"]
    assert shown("b_2", "a_2") == ["a_2", "b_1", "b_2"]
    with pytest.raises(ValueError, match="no layer matches 'c' .* a_1, a_2, b_1, b_2"):
        text_of(many, layer_range=("a_1", "c"))
    for wrong in (("a_1",), (0, 1)):
        with pytest.raises(ValueError, match="`layer_range` takes two strings"):
            text_of(many, layer_range=wrong)


def test_widths_that_do_not_fit():
    with pytest.raises(ValueError, match="10 characters wide leaves a column less than 4"):
        text_of(model(Dense("d")), line_length=10)
    with pytest.raises(ValueError, match="one number for each of the 3 columns"):
        text_of(model(Dense("d")), positions=[0.5, 1.0])


def test_an_output_without_box_characters(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        print_summary(model(Dense("a_long_name_that_is_cut"), Dense("b")), line_length=40)
    stream.flush()
    lines = stream.buffer.getvalue().decode("latin-1").splitlines()
    assert lines[1] == "+-----------------+------------+-------+"
    assert lines[5] == "| a_long_name_th. | (None, 2)  |     8 |"


# ------------------------------------------------------------------------------- against Keras


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    # Keras crops what is wider than the terminal.
    monkeypatch.setenv("COLUMNS", "200")


def built(framework, sequential):
    model = sequential(name="built")
    model.add(framework.Input((8,)))
    model.add(framework.Dense(12, activation="relu", name="dense"))
    model.add(framework.BatchNormalization(name="batch_normalization"))
    model.add(framework.Dropout(0.3, name="dropout_with_a_rather_long_name_that_must_be_cut"))
    model.add(framework.Activation("relu", name="activation"))
    model.add(framework.Dense(1, name="out"))
    return model


def deferred(framework, sequential):
    return sequential(
        [
            framework.Dense(1200, name="a"),
            framework.Dropout(0.5, name="b"),
            framework.Reshape((600, 2), name="c"),
            framework.Activation("relu", name="d"),
            framework.BatchNormalization(name="e"),
        ],
        name="deferred",
    )


def deferred_then_built(framework, sequential):
    model = deferred(framework, sequential)
    model.build((None, 500))
    return model


def nested(framework, sequential):
    inner = sequential(
        [framework.Dense(3, name="a"), framework.Reshape((3, 1), name="b")], name="in"
    )
    frozen = framework.Dense(2, name="frozen", trainable=False)
    return sequential(
        [framework.Input((4,)), inner, framework.Flatten(name="flatten"), frozen], name="nested"
    )


def empty(framework, sequential):
    return sequential(name="empty")


MODELS = [built, deferred, deferred_then_built, nested, empty]


@functools.cache
def pair(make):
    return make(layers, models.Sequential), make(keras.layers, keras.Sequential)


def same_text(make, **options):
    ours, theirs = (text_through(model, options) for model in pair(make))
    assert ours == theirs
    return ours


def text_through(model, options):
    texts = []
    model.summary(print_fn=texts.append, **options)
    return "".join(texts)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"show_trainable": True},
        {"expand_nested": True, "show_trainable": True},
        {"positions": [0.2, 0.5, 1.0]},
        {"positions": [0.2, 0.4, 0.8], "line_length": 120},
    ],
    ids=str,
)
def test_options_are_keras_s(make, options):
    same_text(make, **options)


@pytest.mark.parametrize("line_length", range(30, 130, 7))
@pytest.mark.parametrize("show_trainable", [False, True])
def test_widths_are_keras_s(line_length, show_trainable):
    if show_trainable and line_length < 45:
        line_length += 45
    same_text(built, line_length=line_length, show_trainable=show_trainable)


@pytest.mark.parametrize("columns", [45, 60, 80, 100])
def test_terminals_are_keras_s(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    same_text(built)
    if columns > 50:
        same_text(nested, show_trainable=True, expand_nested=True)


def test_layer_range_is_keras_s():
    text = same_text(built, layer_range=["dro.*", "out"])
    assert "batch" not in text and "(None, 1)" in text


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "nadam"])
def test_optimizer_is_keras_s(optimizer):
    # Without the bytes: the count of steps is an int64 here, an int32 in Keras.
    texts = []
    for framework, sequential in (
        (keras.layers, keras.Sequential),
        (layers, models.Sequential),
    ):
        model = built(framework, sequential)
        model.compile(optimizer=optimizer, loss="mse")
        compiled = text_through(model, {})
        model.fit(np.zeros((4, 8), "float32"), np.zeros((4, 1), "float32"), verbose=0)
        fitted = re.sub(
            r"((?:Total|Optimizer) params: [\d,]+) \(.*\)", r"\1", text_through(model, {})
        )
        texts.append((compiled, fitted))
    assert texts[1] == texts[0]
    assert "Optimizer" not in texts[0][0] and "Optimizer params" in texts[0][1]
