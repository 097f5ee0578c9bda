"""The text of ``summary()`` against Keras', for graphs of every kind."""

import functools
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import torchkeras
from torchkeras import registry

sys.path.insert(0, str(Path(__file__).parent))

from architectures import ARCHITECTURES

# Keras shows the arithmetic of masks as operations of the graph; here a graph needs none.
WITH_MASKS = {"masked_sequences"}
# Keras shows the batch size (2, or its prime 83) that an inner model was built by; here it is free.
BUILT_BY_DATA = {"functional_in_a_subclass", "subclass_in_functional"}
graphs = pytest.mark.parametrize(
    "name", [name for name in ARCHITECTURES if name not in WITH_MASKS | BUILT_BY_DATA]
)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")  # Keras crops what is wider than the terminal


@functools.cache
def theirs(name):
    keras.utils.clear_session(free_memory=False)
    return built(name, keras)


@functools.cache
def ours(name):
    registry.reset_names()
    return built(name, torchkeras)


def built(name, k):
    architecture = ARCHITECTURES[name]
    model = architecture.build(k)
    if not architecture.symbolic:
        model(architecture.draw(2))
    return model


def text(model, **options):
    texts = []
    model.summary(print_fn=texts.append, **options)
    return "".join(texts)


def same(name, **options):
    assert text(ours(name), **options) == text(theirs(name), **options)


@graphs
def test_as_it_comes(name):
    same(name)


@graphs
def test_with_everything(name):
    same(name, expand_nested=True, show_trainable=True, line_length=150)


@pytest.mark.parametrize("name", ["siamese", "functional_to_depth_three", "all_operators"])
@pytest.mark.parametrize("line_length", [60, 81, 200])
def test_line_length(name, line_length):
    same(name, line_length=line_length)
    same(name, line_length=line_length, show_trainable=True)


def test_positions():
    positions = [0.25, 0.5, 0.6, 1.0]
    same("two_towers", positions=positions, line_length=120)
    same("two_towers", positions=positions, line_length=120, show_trainable=True)
    same("chain_of_unnamed_layers", positions=[0.2, 0.7, 1.0])


def test_positions_of_the_wrong_number():
    with pytest.raises(ValueError, match="each of the 4 columns"):
        ours("two_towers").summary(positions=[0.4, 0.8, 1.0])


def test_a_range_of_layers_and_operations():
    same("all_operators", layer_range=["negative", "true_divide_1"])
    same("all_operators", layer_range=["add.*", "get_item"])
    same("siamese", layer_range=["tower", "same"])
    same("functional_to_depth_three", layer_range=["norm", "depth1"], expand_nested=True)


def test_frozen_layers():
    def build(k):
        model = ARCHITECTURES["autoencoder_with_a_shared_decoder"].build(k)
        model.get_layer("decoder").trainable = False
        return model

    options = {"show_trainable": True, "expand_nested": True}
    registry.reset_names()
    keras.utils.clear_session(free_memory=False)
    assert text(build(torchkeras), **options) == text(build(keras), **options)


def test_calls_elsewhere_count_but_are_not_shown():
    """A layer called in another model before: its calls here are numbered from 1."""

    def build(k):
        shared = k.layers.Dense(4, name="shared")
        first = k.Input((4,), name="elsewhere")
        other = k.Model(first, shared(first), name="other")
        a, b = k.Input((4,), name="a"), k.Input((4,), name="b")
        model = k.Model([a, b], k.layers.Add(name="sum")([shared(a), shared(b)]))
        return other, model

    registry.reset_names()
    keras.utils.clear_session(free_memory=False)
    (_, mine), (_, expected) = build(torchkeras), build(keras)
    assert text(mine) == text(expected)
    assert "shared[2][0]" in text(mine)


def test_an_optimizer_with_state():
    texts = []
    for k in (torchkeras, keras):
        registry.reset_names()
        keras.utils.clear_session(free_memory=False)
        x = k.Input((3,), name="x")
        model = k.Model(x, k.layers.Dense(2, name="d")(x) + x[:, :2], name="m")
        model.compile("adam", "mse")
        model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
        texts.append(text(model))
    assert texts[0] == texts[1]
    assert "Optimizer params: 18" in texts[0]


@pytest.mark.parametrize("name", sorted(BUILT_BY_DATA))
def test_models_built_by_data(name):
    options = {"expand_nested": True, "show_trainable": True}
    mine, expected = (cells(text(one(name), **options)) for one in (ours, theirs))
    assert mine == [[re.sub(r"^\((2|83),", "(None,", cell) for cell in row] for row in expected]


def cells(table):
    rows = [line for line in table.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row.strip("│").split("│")] for row in rows]
