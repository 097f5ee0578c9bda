"""Layers of Keras that run another framework's code: to name them is allowed, to use them not."""

from __future__ import annotations

from torchkeras.refused import refused_class

_JAX = (
    "its function runs on JAX, and gradients do not pass between JAX and torch. Write the function "
    "with torch or keras.ops in a Layer's call, or wrap a torch module in TorchModuleWrapper; "
    "weights pass as arrays."
)
JaxLayer = refused_class("JaxLayer", _JAX)
FlaxLayer = refused_class("FlaxLayer", _JAX)
TFSMLayer = refused_class(
    "TFSMLayer",
    "a SavedModel is a TensorFlow program. Where TensorFlow and Keras are installed, load it there "
    "and save the model as .keras or .h5, which load_model reads; a program without its Keras code "
    "can be converted to ONNX, and from there to a torch module for TorchModuleWrapper.",
)
