"""TimeDistributed, Bidirectional and ConvLSTM over a grid of their arguments against Keras 3.15."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from layer_grid import Case, check


def inner(name, **config):
    """An inner layer of a config."""
    return {"class_name": name, "config": config}


def image(rank, data_format="channels_last", channels=2):
    """The shape of sequences of images."""
    space = (5, 4, 4)[:rank]
    return (2, 3, *space, channels) if data_format == "channels_last" else (2, 3, channels, *space)


# ----------------------------------------------------------------------------- TimeDistributed

INSIDE = [
    (inner("Dense", units=4, activation="tanh"), (2, 5, 3)),
    (inner("Dense", units=4), (2, 5, 3, 2)),
    (inner("Conv2D", filters=3, kernel_size=2, padding="same"), (2, 3, 5, 4, 2)),
    (inner("Conv1D", filters=3, kernel_size=3), (2, 3, 6, 2)),
    (inner("MaxPooling2D"), (2, 3, 4, 4, 2)),
    (inner("Flatten"), (2, 3, 2, 2, 2)),
    (inner("Reshape", target_shape=(3, 2)), (2, 4, 6)),
    (inner("Activation", activation="softmax"), (2, 4, 6)),
    (inner("LayerNormalization"), (2, 4, 6)),
    (inner("LSTM", units=3), (2, 3, 4, 2)),
    (inner("GRU", units=3, return_sequences=True), (2, 3, 4, 2)),
    (inner("UnitNormalization"), (2, 4, 6)),
    (inner("GlobalAveragePooling2D"), (2, 3, 4, 4, 2)),
    (inner("TimeDistributed", layer=inner("Dense", units=2)), (2, 3, 4, 5)),
    (inner("BatchNormalization"), (3, 4, 5)),
]
MASK = np.array([[True, True, False, True], [True, False, False, False]])
DISTRIBUTED = [
    *(Case("TimeDistributed", {"layer": layer}, shape) for layer, shape in INSIDE),
    *(
        Case("TimeDistributed", {"layer": inner("BatchNormalization", **more)}, (6, 4, 5), True)
        for more in ({}, {"scale": False}, {"momentum": 0.5})
    ),
    Case("TimeDistributed", {"layer": inner("BatchNormalization")}, (2, 4, 5), mask=MASK),
    Case("TimeDistributed", {"layer": inner("BatchNormalization")}, (2, 4, 5), True, mask=MASK),
    Case("TimeDistributed", {"layer": inner("Dense", units=2)}, (2, 4, 5), mask=MASK),
]

# ------------------------------------------------------------------------------- Bidirectional

KINDS = ("SimpleRNN", "LSTM", "GRU")
SEQUENCE = (2, 4, 3)
BOTH = [
    Case("Bidirectional", {"layer": inner(kind, units=3, **more), "merge_mode": mode}, SEQUENCE)
    for kind in KINDS
    for mode, more in [
        ("concat", {}),
        ("sum", {"return_sequences": True}),
        ("mul", {"return_state": True}),
        ("ave", {"return_sequences": True, "return_state": True}),
        (None, {}),
        (None, {"return_sequences": True, "return_state": True}),
        ("concat", {"return_sequences": True}),
    ]
]
BOTH += [
    Case("Bidirectional", {"layer": inner(kind, units=3, **more)}, SEQUENCE, mask=MASK)
    for kind in KINDS
    for more in ({}, {"return_sequences": True}, {"return_sequences": True, "use_bias": False})
]
BOTH += [
    Case(
        "Bidirectional",
        {
            "layer": inner("LSTM", units=3, return_sequences=True),
            "backward_layer": inner(kind, units=3, return_sequences=True, go_backwards=True),
        },
        SEQUENCE,
    )
    for kind in KINDS
]
STATE = np.random.RandomState(0).randn(2, 3).astype("float32")
BOTH += [
    Case(
        "Bidirectional",
        {"layer": inner(kind, units=3, return_sequences=True, return_state=True)},
        SEQUENCE,
        call={"initial_state": [STATE + n for n in range(4 if kind == "LSTM" else 2)]},
    )
    for kind in KINDS
]
BOTH += [
    # Keras on torch changes states in place that the backward pass needs.
    Case(
        "Bidirectional",
        {"layer": inner("LSTM", units=3, stateful=True)},
        SEQUENCE,
        gradients=False,
    ),
    Case("Bidirectional", {"layer": inner("GRU", units=3, unroll=True)}, SEQUENCE),
    Case("Bidirectional", {"layer": inner("GRU", units=3, reset_after=False)}, SEQUENCE),
    Case("Bidirectional", {"layer": inner("LSTM", units=3, activation="relu")}, SEQUENCE),
    Case("Bidirectional", {"layer": inner("RNN", cell=inner("GRUCell", units=3))}, SEQUENCE),
    Case(
        "Bidirectional",
        {"layer": inner("ConvLSTM2D", filters=2, kernel_size=2)},
        image(2),
        grad_atol=3e-5,
    ),
]

# ----------------------------------------------------------------------------------- ConvLSTM

LAYOUTS = ("channels_last", "channels_first")
SETTINGS = [
    {"kernel_size": 2},
    {"kernel_size": 3, "padding": "same", "return_sequences": True},
    {"kernel_size": 2, "strides": 2, "padding": "same", "return_state": True},
    {"kernel_size": 2, "dilation_rate": 2, "use_bias": False},
    {"kernel_size": 3, "padding": "same", "go_backwards": True, "return_sequences": True},
    {"kernel_size": 1, "activation": "relu", "recurrent_activation": "hard_sigmoid"},
]
STEPS = np.array([[True, True, False], [True, False, True]])
CONVOLUTIONAL = [
    Case(f"ConvLSTM{rank}D", {"filters": 2, "data_format": layout, **setting}, image(rank, layout))
    for rank in (1, 2, 3)
    for setting in SETTINGS
    for layout in LAYOUTS
]
CONVOLUTIONAL += [
    Case("ConvLSTM2D", {"filters": 2, "kernel_size": 2, **more}, image(2), mask=STEPS)
    for more in ({}, {"return_sequences": True, "return_state": True})
]
CONVOLUTIONAL += [
    Case("ConvLSTM2D", {"filters": 2, "kernel_size": 2, "stateful": True}, image(2)),
    Case("ConvLSTM2D", {"filters": 2, "kernel_size": (2, 3), "unit_forget_bias": False}, image(2)),
]
for _case in CONVOLUTIONAL:
    _case.grad_atol = 3e-5


@pytest.mark.parametrize("case", DISTRIBUTED, ids=lambda case: case.title)
def test_time_distributed_equals_keras(case):
    check(case)


@pytest.mark.parametrize("case", BOTH, ids=lambda case: case.title)
def test_bidirectional_equals_keras(case):
    check(case)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow) if "3D" in case.name else case
        for case in CONVOLUTIONAL
    ],
    ids=lambda case: case.title,
)
def test_conv_lstm_equals_keras(case):
    check(case)
