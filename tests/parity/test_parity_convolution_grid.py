"""Every convolution layer over a grid of its arguments against Keras 3.15."""

import itertools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from layer_grid import Case, check

SPACE = {1: (9,), 2: (7, 8), 3: (5, 6, 5)}


def image(rank, data_format, channels=4, space=None):
    """The shape of an input."""
    space = space or SPACE[rank]
    return (2, *space, channels) if data_format == "channels_last" else (2, channels, *space)


def windows(name, rank, settings, **common):
    """One case for each setting in both layouts."""
    for setting, data_format in itertools.product(settings, ("channels_last", "channels_first")):
        config = {**common, **setting, "data_format": data_format}
        yield Case(name, config, image(rank, data_format), grad_atol=3e-5)


# What Conv, DepthwiseConv and SeparableConv share.
SHARED = [
    {"kernel_size": 1},
    {"kernel_size": 3, "padding": "same"},
    {"kernel_size": 2, "padding": "same"},
    {"kernel_size": 3, "strides": 2},
    {"kernel_size": 3, "strides": 2, "padding": "same"},
    {"kernel_size": 2, "strides": 2, "padding": "same"},
    {"kernel_size": 2, "dilation_rate": 2},
    {"kernel_size": 3, "dilation_rate": 2, "padding": "same", "use_bias": False},
    {"kernel_size": 3, "activation": "relu"},
    {"kernel_size": 2, "activation": "softmax"},
]
PLANE = [
    {"kernel_size": (3, 2), "strides": (2, 2), "padding": "same"},
    {"kernel_size": (1, 5), "padding": "same", "activation": "tanh"},
    {"kernel_size": [2, 3], "dilation_rate": [2, 1]},
]
GROUPED = [
    {"kernel_size": 3, "groups": 2, "padding": "same"},
    {"kernel_size": 2, "groups": 4, "strides": 2},
    {"kernel_size": 3, "groups": 2, "dilation_rate": 2, "activation": "gelu"},
]
CAUSAL = [
    {"kernel_size": 3, "padding": "causal"},
    {"kernel_size": 2, "padding": "causal", "dilation_rate": 3, "activation": "relu"},
    {"kernel_size": 3, "padding": "causal", "strides": 2},
    {"kernel_size": 3, "padding": "causal", "groups": 2, "use_bias": False},
]
TRANSPOSED = [
    {"kernel_size": 1},
    {"kernel_size": 3},
    {"kernel_size": 3, "padding": "same", "activation": "relu"},
    {"kernel_size": 2, "padding": "same"},
    {"kernel_size": 2, "strides": 2},
    {"kernel_size": 3, "strides": 2},
    {"kernel_size": 4, "strides": 2, "padding": "same"},
    {"kernel_size": 3, "strides": 2, "padding": "same"},
    {"kernel_size": 2, "strides": 3, "padding": "same", "use_bias": False},
    {"kernel_size": 2, "strides": 3},
    {"kernel_size": 3, "strides": 2, "output_padding": 1},
    {"kernel_size": 3, "strides": 2, "output_padding": 1, "padding": "same"},
    {"kernel_size": 4, "strides": 3, "output_padding": 0, "padding": "same"},
    {"kernel_size": 3, "strides": 3, "output_padding": 2, "activation": "softmax"},
    {"kernel_size": 2, "dilation_rate": 2},
    {"kernel_size": 3, "dilation_rate": 2, "padding": "same"},
]

CASES = [
    *(
        case
        for rank in (1, 2, 3)
        for case in windows(f"Conv{rank}D", rank, [*SHARED, *GROUPED], filters=4)
    ),
    *windows("Conv1D", 1, CAUSAL, filters=4),
    *windows("Conv2D", 2, PLANE[:2], filters=3),
    *windows("Conv2D", 2, PLANE[2:], filters=3),
    *(
        case
        for rank in (1, 2, 3)
        for case in windows(f"Conv{rank}DTranspose", rank, TRANSPOSED, filters=3)
    ),
    *windows("Conv2DTranspose", 2, [{"kernel_size": (3, 2), "strides": (1, 2)}], filters=3),
    *(case for rank in (1, 2) for case in windows(f"DepthwiseConv{rank}D", rank, SHARED)),
    *windows("DepthwiseConv2D", 2, SHARED[:6], depth_multiplier=3),
    *windows("DepthwiseConv1D", 1, SHARED[4:8], depth_multiplier=2),
    *(
        case
        for rank in (1, 2)
        for case in windows(f"SeparableConv{rank}D", rank, SHARED, filters=3)
    ),
    *windows("SeparableConv2D", 2, SHARED[1:7], filters=5, depth_multiplier=2),
    *windows("SeparableConv1D", 1, SHARED[4:8], filters=5, depth_multiplier=3),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_as_keras(case):
    check(case)
