"""What every test needs: Keras on torch as the oracle, a clean state, no CUDA tests without it."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest
import torch

from torchkeras import config, eras


def pytest_collection_modifyitems(items):
    """Skip what needs a GPU where there is none."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if "cuda" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def clean_state():
    """Seed all generators, and put global settings back afterwards."""
    np.random.seed(0)
    torch.manual_seed(0)
    settings, version = dict(config._settings), eras.version()
    yield
    config._settings.update(settings)
    eras.set_version(version)
