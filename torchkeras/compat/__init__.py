"""Keras 1, 2 and tf.keras: where things were, what they were called, and running old scripts."""

from typing import Any

from torchkeras import registry
from torchkeras.compat.arguments import RENAMED
from torchkeras.compat.finder import install
from torchkeras.compat.modules import LAYERS, NAMES

registry.rename_arguments(RENAMED)
registry.rename_classes("layer", LAYERS)
registry.rename_classes("regularizer", NAMES["regularizers"])


def load_ipython_extension(ipython: Any) -> None:
    """Answer ``%load_ext torchkeras`` in a notebook: ``keras`` means torchkeras from here on."""
    install()


__all__ = ["install", "load_ipython_extension"]
