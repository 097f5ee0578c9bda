"""torchkeras runs Keras code on PyTorch."""

import importlib
from typing import Any

from torchkeras import (
    activations,
    callbacks,
    config,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    mixed_precision,
    models,
    optimizers,
    random,
    regularizers,
    utils,
)
from torchkeras.compat import install, load_ipython_extension
from torchkeras.config import on_device as device
from torchkeras.dtypes import DTypePolicy
from torchkeras.graph import KerasTensor
from torchkeras.initializers import Initializer
from torchkeras.layers import Input, InputSpec, Layer
from torchkeras.losses import Loss
from torchkeras.metrics import Metric
from torchkeras.models import Model, Sequential
from torchkeras.optimizers import Optimizer
from torchkeras.regularizers import Regularizer
from torchkeras.variable import Variable
from torchkeras.version import __version__


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: it takes 0.03 s, and most programs do without.
    if name == "backend":
        return importlib.import_module("torchkeras.backend")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "DTypePolicy",
    "Initializer",
    "Input",
    "InputSpec",
    "KerasTensor",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Regularizer",
    "Sequential",
    "Variable",
    "__version__",
    "activations",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "device",
    "initializers",
    "install",
    "layers",
    "load_ipython_extension",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "optimizers",
    "random",
    "regularizers",
    "utils",
]
