"""Layers: torch modules with Keras' names, arguments and numbers."""

from torchkeras.layers.activation import Activation
from torchkeras.layers.base import Layer
from torchkeras.layers.core import Dense, Input, InputLayer, TorchModuleWrapper
from torchkeras.layers.normalization import BatchNormalization
from torchkeras.layers.regularization import Dropout
from torchkeras.layers.reshaping import Flatten, Reshape
from torchkeras.layers.spec import InputSpec
from torchkeras.registry import accessors

_, serialize, deserialize = accessors("layer")

__all__ = [
    "Activation",
    "BatchNormalization",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "InputLayer",
    "InputSpec",
    "Layer",
    "Reshape",
    "TorchModuleWrapper",
    "deserialize",
    "serialize",
]
