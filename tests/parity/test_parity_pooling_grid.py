"""Every pooling layer over a grid of its arguments against Keras 3.15."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from layer_grid import Case, check

SPACE = {1: (9,), 2: (7, 8), 3: (5, 6, 5)}
LAYOUTS = ("channels_last", "channels_first")


def image(rank, data_format, channels=3, space=None):
    """The shape of an input."""
    space = space or SPACE[rank]
    return (2, *space, channels) if data_format == "channels_last" else (2, channels, *space)


def cases(names, rank, settings):
    """One case for each layer and setting in both layouts."""
    for name, setting, layout in itertools.product(names, settings, LAYOUTS):
        config = {**setting, "data_format": layout}
        yield Case(f"{name}{rank}D", config, image(rank, layout))


def averages(rank, settings):
    """Cases of AveragePooling, without those where one more is padded behind than before.

    Keras on torch counts what it pads there; its other backends and its documentation do not, and
    tests/layers/test_pooling_layers.py compares with these.
    """
    for case in cases(["AveragePooling"], rank, settings):
        if case.config.get("padding") != "same" or all(
            _is_even(case.config, n) for n in SPACE[rank]
        ):
            yield case


def _is_even(config, size):
    window, stride = config["pool_size"], config.get("strides", config["pool_size"])
    return max(0, (-(-size // stride) - 1) * stride + window - size) % 2 == 0


WINDOWS = [
    {"pool_size": 2},
    {"pool_size": 3},
    {"pool_size": 3, "strides": 1},
    {"pool_size": 2, "strides": 3},
    {"pool_size": 2, "padding": "same"},
    {"pool_size": 3, "padding": "same"},
    {"pool_size": 2, "strides": 1, "padding": "same"},
    {"pool_size": 3, "strides": 1, "padding": "same"},
    {"pool_size": 3, "strides": 2, "padding": "same"},
    {"pool_size": 4, "strides": 2, "padding": "same"},
]
PLANES = [
    {"pool_size": (3, 2), "strides": (1, 2), "padding": "same"},
    {"pool_size": (1, 3), "strides": 2},
    {"pool_size": [2, 1]},
]
GLOBALS = ("GlobalMaxPooling", "GlobalAveragePooling")
ADAPTIVE = ("AdaptiveAveragePooling", "AdaptiveMaxPooling")

CASES = [
    *cases(["MaxPooling"], 1, WINDOWS),
    *cases(["MaxPooling"], 2, WINDOWS + PLANES),
    *cases(["MaxPooling"], 3, WINDOWS),
    *averages(1, WINDOWS),
    *averages(2, WINDOWS + PLANES[1:]),
    *averages(3, WINDOWS),
    *(case for rank in SPACE for case in cases(GLOBALS, rank, [{}, {"keepdims": True}])),
    *cases(ADAPTIVE, 1, [{"output_size": 1}, {"output_size": 4}, {"output_size": (9,)}]),
    *cases(ADAPTIVE, 2, [{"output_size": 1}, {"output_size": (3, 5)}, {"output_size": 7}]),
    *cases(ADAPTIVE, 3, [{"output_size": 2}, {"output_size": (1, 6, 3)}]),
]
MASK = np.arange(9) < np.array([[5], [9]])
CASES += [
    Case("GlobalAveragePooling1D", {"data_format": layout, **more}, image(1, layout), mask=MASK)
    for layout in LAYOUTS
    for more in ({}, {"keepdims": True})
]
CASES += [
    Case("GlobalAveragePooling1D", {}, (2, 9, 3), mask=MASK & (np.arange(9) % 2 == 0)),
    # Aliases, and inputs whose elements are equal: what the gradient goes to.
    *(Case(name, {}, (2, 6, 6, 2)) for name in ("MaxPool2D", "GlobalAvgPool2D", "GlobalMaxPool2D")),
    Case("AvgPool2D", {"pool_size": 2}, (2, 6, 6, 2)),
    Case("MaxPooling2D", {"dtype": "float64"}, (2, 6, 6, 2)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_pooling_layer_equals_keras(case):
    check(case)
