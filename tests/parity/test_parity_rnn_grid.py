"""Recurrent layers against Keras 3.15: outputs, gradients, weights, states, shapes and configs."""

import itertools
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import torch

import torchkeras

sys.path.insert(0, str(Path(__file__).parent))

from layer_grid import Case, check

SHAPE = (3, 6, 4)
LONG = (2, 50, 3)
FLAGS = ("return_sequences", "return_state", "go_backwards")
RNG = np.random.RandomState(0)
STATE = RNG.randn(3, 5).astype("float32")
CARRY = RNG.randn(3, 5).astype("float32")
MASKS = {
    "right": np.arange(6) < np.array([[6], [4], [1]]),
    "left": np.arange(6) >= np.array([[0], [2], [5]]),
    "holes": np.array([[1, 0, 1, 1, 0, 1], [0, 1, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1]], bool),
    "nothing": np.array([[1] * 6, [0] * 6, [0, 0, 1, 1, 0, 0]], bool),
}
ACTIVATIONS = "relu linear sigmoid hard_sigmoid softmax elu softsign gelu exponential".split()
LAYERS = {
    "SimpleRNN": [{}],
    "LSTM": [{}],
    "GRU": [{"reset_after": True}, {"reset_after": False}],
}


def each():
    """Every layer with what makes it another one."""
    return [(name, config) for name, configs in LAYERS.items() for config in configs]


def states_of(name):
    return [STATE, CARRY] if name == "LSTM" else [STATE]


def cases():
    for name, config in each():
        base = {"units": 5, **config}
        for count in range(len(FLAGS) + 1):
            for flags in itertools.combinations(FLAGS, count):
                yield Case(name, {**base, **dict.fromkeys(flags, True)}, SHAPE)
        yield Case(name, {**base, "use_bias": False, "return_sequences": True}, SHAPE)
        yield Case(name, {**base, "unroll": True, "return_state": True}, SHAPE)
        yield Case(name, {**base, "return_sequences": True}, (2, 1, 3))
        yield Case(name, {**base, "return_sequences": True}, LONG, atol=1e-4, grad_atol=1e-4)
        yield Case(
            name,
            {**base, "activation": "relu", "return_sequences": True, "units": 3},
            (2, 12, 3),
            atol=1e-4,
            grad_atol=1e-3,
        )
        yield Case(
            name,
            {
                **base,
                "kernel_initializer": "ones",
                "recurrent_initializer": "glorot_uniform",
                "bias_initializer": "ones",
                "kernel_regularizer": "l2",
                "recurrent_regularizer": "l2",
                "bias_regularizer": "l2",
                "kernel_constraint": "max_norm",
                "recurrent_constraint": "non_neg",
                "bias_constraint": "unit_norm",
            },
            SHAPE,
        )
        for activation in ACTIVATIONS:
            yield Case(name, {**base, "activation": activation}, (2, 4, 3))
            if name != "SimpleRNN" and activation != "exponential":
                yield Case(name, {**base, "recurrent_activation": activation}, (2, 4, 3))
        for mask in MASKS.values():
            for flags in ((), FLAGS[:1], FLAGS[:2], FLAGS):
                given = {**base, **dict.fromkeys(flags, True)}
                yield Case(name, given, SHAPE, call={"mask": mask})
            zero = {**base, "zero_output_for_mask": True}
            yield Case(name, {**zero, "return_sequences": True}, SHAPE, call={"mask": mask})
            yield Case(name, zero, SHAPE, call={"mask": mask})
            yield Case(name, {**base, "activation": "softsign", **zero}, SHAPE, call={"mask": mask})
        for stateful, sequences in itertools.product((False, True), repeat=2):
            yield Case(
                name,
                {**base, "return_sequences": sequences, "return_state": True, "stateful": stateful},
                SHAPE,
                call={"initial_state": [torch.tensor(one) for one in states_of(name)]},
            )
        # Keras' own backward pass fails here: its kernels' states are written to in place.
        yield Case(name, {**base, "stateful": True}, SHAPE, gradients=False)
        yield Case(name, {**base, "stateful": True}, SHAPE, call={"mask": MASKS["holes"]})
        for rates in ((0.4, 0.0), (0.0, 0.4), (0.3, 0.5)):
            dropped = dict(zip(("dropout", "recurrent_dropout"), rates), seed=7)
            yield Case(name, {**base, **dropped, "return_sequences": True}, SHAPE, training=True)
            yield Case(name, {**base, **dropped}, SHAPE)
        yield Case(name, {**base, "dtype": "float64", "return_state": True}, SHAPE)
        yield Case(name, {**base, "dtype": "mixed_bfloat16"}, SHAPE, atol=0.03, gradients=False)
        yield Case(name, {**base, "trainable": False}, SHAPE)
    for cell, config in (
        ("SimpleRNNCell", {}),
        ("LSTMCell", {}),
        ("GRUCell", {}),
        ("GRUCell", {"reset_after": False}),
    ):
        inner = {"class_name": cell, "config": {"units": 5, "name": "inner", **config}}
        yield Case("RNN", {"cell": inner, "return_state": True, "return_sequences": True}, SHAPE)
        yield Case("RNN", {"cell": inner, "go_backwards": True, "unroll": True}, SHAPE)
        yield Case(
            "RNN", {"cell": inner, "return_state": True}, SHAPE, call={"mask": MASKS["left"]}
        )
        states = {"states": [torch.tensor(STATE), torch.tensor(CARRY)][: 1 + (cell == "LSTMCell")]}
        yield Case(cell, {"units": 5, **config}, (3, 4), call=states)
        yield Case(
            cell,
            {"units": 5, "dropout": 0.3, "recurrent_dropout": 0.2, "seed": 3, **config},
            (3, 4),
            call=states,
            training=True,
        )
        above = {"class_name": "LSTMCell", "config": {"units": 4, "name": "above"}}
        for call in ({}, {"mask": MASKS["holes"]}):
            yield Case("RNN", {"cell": [inner, above]}, SHAPE, call=call)
            yield Case(
                "RNN",
                {"cell": [inner, above], "return_sequences": True, "return_state": True},
                SHAPE,
                call=call,
            )


CASES = list(cases())


def test_there_are_enough_cases():
    assert len(CASES) >= 150


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_layer_is_keras(case):
    check(case)


@pytest.mark.parametrize("name, config", each(), ids=str)
@pytest.mark.parametrize("bias", ["zeros", "random"])
def test_initial_weights_are_keras(name, config, bias):
    made = []
    for lib in (keras, torchkeras):
        draw = lib.initializers
        layer = getattr(lib.layers, name)(
            5,
            kernel_initializer=draw.GlorotUniform(seed=1),
            recurrent_initializer=draw.Orthogonal(seed=2),
            bias_initializer="zeros" if bias == "zeros" else draw.RandomNormal(seed=3),
            **config,
        )
        layer.build((None, 6, 4))
        made.append([np.array(weight.numpy()) for weight in layer.weights])
    for theirs, ours in zip(*made, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_training_is_keras(name):
    """Some steps of training from the same weights, with every kind of penalty and projection."""
    random = np.random.RandomState(4)
    x, y = random.randn(16, *SHAPE[1:]).astype("float32"), random.randn(16, 5).astype("float32")
    found = []
    for lib in (keras, torchkeras):
        layer = getattr(lib.layers, name)(
            5,
            kernel_regularizer=lib.regularizers.L2(0.01),
            recurrent_regularizer=lib.regularizers.L2(0.02),
            bias_regularizer=lib.regularizers.L2(0.03),
            recurrent_constraint=lib.constraints.MaxNorm(0.9),
            bias_constraint=lib.constraints.NonNeg(),
        )
        model = lib.Sequential([lib.layers.Input(SHAPE[1:]), layer])
        weights = np.random.RandomState(5)
        model.set_weights([weights.randn(*weight.shape) * 0.4 for weight in model.weights])
        model.compile(lib.optimizers.Adam(0.02), "mse")
        loss = model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"]
        found.append((loss, model.get_weights()))
    (loss, weights), (expected, wanted) = found[1], found[0]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    for one, other in zip(weights, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
