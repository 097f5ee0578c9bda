"""Layers: torch modules with Keras' names, arguments and numbers."""

from torchkeras.layers.activation import Activation
from torchkeras.layers.base import Layer
from torchkeras.layers.core import Dense, Input, InputLayer, TorchModuleWrapper
from torchkeras.layers.identity import Identity
from torchkeras.layers.lambda_layer import Lambda
from torchkeras.layers.masking import Masking
from torchkeras.layers.merged import (
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from torchkeras.layers.merging import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
)
from torchkeras.layers.normalization import BatchNormalization
from torchkeras.layers.regularization import ActivityRegularization, Dropout
from torchkeras.layers.reshaping import Flatten, Permute, RepeatVector, Reshape
from torchkeras.layers.spec import InputSpec
from torchkeras.registry import accessors

_, serialize, deserialize = accessors("layer")

__all__ = [
    "Activation",
    "ActivityRegularization",
    "Add",
    "Average",
    "BatchNormalization",
    "Concatenate",
    "Dense",
    "Dot",
    "Dropout",
    "Flatten",
    "Identity",
    "Input",
    "InputLayer",
    "InputSpec",
    "Lambda",
    "Layer",
    "Masking",
    "Maximum",
    "Minimum",
    "Multiply",
    "Permute",
    "RepeatVector",
    "Reshape",
    "Subtract",
    "TorchModuleWrapper",
    "add",
    "average",
    "concatenate",
    "deserialize",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "serialize",
    "subtract",
]
