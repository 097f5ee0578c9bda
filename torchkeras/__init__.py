"""torchkeras runs Keras code on PyTorch."""

import gc
import importlib
from typing import Any

# A collection of garbage would find none meanwhile and go through all that torch holds (0.08 s).
_is_collecting = gc.isenabled()
gc.disable()
try:
    from torchkeras import (
        activations,
        callbacks,
        config,
        constraints,
        dtype_policies,
        initializers,
        layers,
        losses,
        metrics,
        mixed_precision,
        models,
        ops,
        optimizers,
        random,
        regularizers,
        tree,
        utils,
    )
    from torchkeras.compat import install, load_ipython_extension
    from torchkeras.config import on_device as device
    from torchkeras.dtypes import DTypePolicy, FloatDTypePolicy
    from torchkeras.graph import Function, KerasTensor, Operation
    from torchkeras.initializers import Initializer
    from torchkeras.layers import Input, InputSpec, Layer
    from torchkeras.losses import Loss
    from torchkeras.metrics import Metric
    from torchkeras.models import Model, Sequential
    from torchkeras.optimizers import Optimizer
    from torchkeras.refused import refused_class
    from torchkeras.regularizers import Regularizer
    from torchkeras.rematerialization import RematScope, remat
    from torchkeras.stateless import StatelessScope
    from torchkeras.variable import Variable, name_scope
    from torchkeras.version import __version__
finally:
    if _is_collecting:
        gc.enable()

Quantizer = refused_class("Quantizer", "torchkeras does not quantize; use torchao on the model.")
SymbolicScope = refused_class(
    "SymbolicScope", "calls on symbolic tensors need none; call layers and keras.ops on Input(…)."
)


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: it takes 0.03 s, and most programs do without.
    if name == "backend":
        return importlib.import_module("torchkeras.backend")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "DTypePolicy",
    "FloatDTypePolicy",
    "Function",
    "Initializer",
    "Input",
    "InputSpec",
    "KerasTensor",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Operation",
    "Optimizer",
    "Quantizer",
    "Regularizer",
    "RematScope",
    "Sequential",
    "StatelessScope",
    "SymbolicScope",
    "Variable",
    "__version__",
    "activations",
    "backend",
    "callbacks",
    "config",
    "constraints",
    "device",
    "dtype_policies",
    "initializers",
    "install",
    "layers",
    "load_ipython_extension",
    "losses",
    "metrics",
    "mixed_precision",
    "models",
    "name_scope",
    "ops",
    "optimizers",
    "random",
    "regularizers",
    "remat",
    "tree",
    "utils",
]
