"""What stands in for TensorFlow where it is not installed: `tf.keras`, seeds, and clear errors."""

from __future__ import annotations

import logging
import random
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from torchkeras import eras
from torchkeras.compat import modules

# `tf.__version__` from a version of Keras on.
_VERSIONS = {(1,): "1.15.0", (2, 4): "2.15.0", (3,): "2.18.0"}


class PhysicalDevice(NamedTuple):
    """A device as TensorFlow lists it."""

    name: str
    device_type: str


def tensorflow_version() -> str:
    """Return what ``tf.__version__`` says: that of the Keras version in force."""
    return [text for since, text in _VERSIONS.items() if since <= eras.version()][-1]


def set_seed(seed: int) -> None:
    """Seed what torchkeras draws from: torch, and Python's ``random`` for the seeds of layers."""
    random.seed(int(seed))
    torch.manual_seed(int(seed))


def list_physical_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """List the devices that PyTorch has, as TensorFlow would.

    Args:
        device_type: ``'CPU'`` or ``'GPU'``; all unless given.
    """
    devices = [PhysicalDevice("/physical_device:CPU:0", "CPU")]
    for number in range(torch.cuda.device_count()):
        devices.append(PhysicalDevice(f"/physical_device:GPU:{number}", "GPU"))
    return [found for found in devices if device_type in (None, found.device_type)]


def get_logger() -> logging.Logger:
    """Return TensorFlow's logger, which stays silent."""
    return logging.getLogger("tensorflow")


# Name -> what makes its value.
_ANSWERS: dict[str, Callable[[], Any]] = {
    "tensorflow.__version__": tensorflow_version,
    "tensorflow.config.list_physical_devices": lambda: list_physical_devices,
    "tensorflow.get_logger": lambda: get_logger,
    "tensorflow.random.set_seed": lambda: set_seed,
    "tensorflow.set_random_seed": lambda: set_seed,
}


def is_namespace(name: str) -> bool:
    """Tell whether a name is ``tensorflow`` or a folder on the way to something known in it."""
    return modules.is_folder(name) or any(known.startswith(f"{name}.") for known in _ANSWERS)


class FakeTensorFlow(types.ModuleType):
    """A module ``tensorflow`` or below it, with ``keras`` and little else.

    Args:
        name: full name of the module.

    Attributes:
        when_used: called at each use.
    """

    when_used: Callable[[], None]

    def __init__(self, name: str):
        super().__init__(name, "torchkeras' stand-in for TensorFlow, which is not installed.")
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and name != "__version__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.when_used()
        full = f"{self.__name__}.{name}"
        if full in _ANSWERS:
            return _ANSWERS[full]()
        path = modules.path_of(full)
        if path is not None and modules.is_there(path):
            return modules.alias(path)
        if is_namespace(full):
            return FakeTensorFlow(full)
        raise AttributeError(self.absence(full))

    def __setattr__(self, name: str, value: Any) -> None:
        # Submodules are not kept, so that each use is noticed.
        if not isinstance(value, (FakeTensorFlow, modules.Alias)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        prefix = self.__name__ + "."
        known = (*_ANSWERS, *modules.ROOTS)
        return sorted({n[len(prefix) :].partition(".")[0] for n in known if n.startswith(prefix)})

    @staticmethod
    def absence(name: str) -> str:
        """Say that the stand-in lacks something of TensorFlow, and what to do."""
        return (
            f"{name} is not there: TensorFlow is not installed, and torchkeras stands in for "
            "tf.keras only. Write this line with keras, numpy or torch, or install TensorFlow."
        )
