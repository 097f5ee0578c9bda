"""UpSampling, ZeroPadding and Cropping over a grid of their arguments against Keras 3.15."""

import itertools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from layer_grid import Case, check

SPACE = {1: (9,), 2: (5, 6), 3: (4, 5, 4)}
LAYOUTS = ("channels_last", "channels_first")


def image(rank, data_format, channels=3):
    """The shape of an input."""
    space = SPACE[rank]
    return (2, *space, channels) if data_format == "channels_last" else (2, channels, *space)


def cases(name, rank, settings):
    """One case for each setting in both layouts."""
    for setting, layout in itertools.product(settings, LAYOUTS):
        yield Case(f"{name}{rank}D", {**setting, "data_format": layout}, image(rank, layout))


INTERPOLATED = [
    {"interpolation": kind, "size": size}
    for kind in ("nearest", "bilinear", "bicubic")  # Keras on torch has no Lanczos
    for size in (2, (1, 3), (3, 2))
]
PAIRS = ((0, 1), (2, 0))
VOLUME_PAIRS = ((0, 1), (2, 0), (1, 1))

CASES = [
    *(Case("UpSampling1D", {"size": size}, (2, 5, 3)) for size in (1, 2, 5)),
    Case("UpSampling1D", {}, (1, 1, 1)),
    *cases("UpSampling", 2, [{}, *INTERPOLATED]),
    *cases("UpSampling", 3, [{}, {"size": 3}, {"size": (1, 2, 3)}, {"size": [2, 1, 1]}]),
    *cases("ZeroPadding", 1, [{}, {"padding": 3}, {"padding": (0, 2)}, {"padding": [1, 0]}]),
    *cases("ZeroPadding", 2, [{}, {"padding": 0}, {"padding": (2, 1)}, {"padding": PAIRS}]),
    *cases("ZeroPadding", 3, [{}, {"padding": 2}, {"padding": (1, 0, 2)}]),
    *cases("ZeroPadding", 3, [{"padding": VOLUME_PAIRS}]),
    *(Case("Cropping1D", {"cropping": given}, (2, 9, 3)) for given in (1, 0, (2, 3), (0, 1))),
    Case("Cropping1D", {}, (2, 9, 3)),
    *cases("Cropping", 2, [{}, {"cropping": 1}, {"cropping": (2, 1)}, {"cropping": PAIRS}]),
    *cases("Cropping", 3, [{}, {"cropping": 0}, {"cropping": (1, 0, 1)}]),
    *cases("Cropping", 3, [{"cropping": VOLUME_PAIRS}]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_resizing_layer_equals_keras(case):
    check(case)
