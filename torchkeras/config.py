"""Global settings: float type, fuzz factor, image layout, device, memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from torchkeras.trust import enable_unsafe_deserialization as enable_unsafe_deserialization
from torchkeras.warn import warn_user

if TYPE_CHECKING:
    from torchkeras.dtypes import DTypePolicy

_FLOATS = ("bfloat16", "float16", "float32", "float64")
_settings = {
    "floatx": "float32",
    "dtype_policy": None,
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "device": None,
    "prediction_type": np.ndarray,
    "keep_memory": True,
    "interactive_logging": True,
    "flash_attention": None,
    "max_epochs": int(os.environ.get("KERAS_MAX_EPOCHS", 0)) or None,
    "max_steps_per_epoch": int(os.environ.get("KERAS_MAX_STEPS_PER_EPOCH", 0)) or None,
}


def backend() -> str:
    """Return ``'torch'``: what computes."""
    return "torch"


def set_backend(backend: str) -> None:
    """Take ``'torch'``, and nothing else.

    Raises:
        ValueError: for any other backend.
    """
    if backend != "torch":
        raise ValueError(f"set_backend({backend!r}): torchkeras computes with 'torch' alone.")


def floatx() -> str:
    """Return the default float type of weights and data, such as ``'float32'``."""
    return _settings["floatx"]


def set_floatx(value: str) -> None:
    """Set the default float type; layers that exist already keep theirs.

    New layers follow it until :func:`set_dtype_policy` chooses what they do.

    Args:
        value: ``'bfloat16'``, ``'float16'``, ``'float32'`` or ``'float64'``.

    Raises:
        ValueError: for any other value.
    """
    if value not in _FLOATS:
        raise ValueError(f"floatx must be one of {', '.join(_FLOATS)}; received {value!r}.")
    _settings["floatx"] = str(value)


# From a name to a policy: dtypes, which stands above this module, hands it over.
_policy_of: Callable[[Any], DTypePolicy]


def read_policies_with(function: Callable[[Any], DTypePolicy]) -> None:
    """Take the function that turns a name into a dtype policy."""
    global _policy_of
    _policy_of = function


def dtype_policy() -> DTypePolicy:
    """Return the dtype policy of layers that are given none: the one set, else of ``floatx``.

    (Keras 3 keeps to the ``floatx`` of the time when the first layer was made.)
    """
    return _settings["dtype_policy"] or _policy_of(_settings["floatx"])


def set_dtype_policy(policy: str | DTypePolicy) -> None:
    """Choose the dtype policy of layers that are given none; those that exist keep theirs.

    Args:
        policy: a policy or its name: ``'mixed_float16'``, ``'mixed_bfloat16'``, or a dtype's, such
            as ``'float32'``.

    Raises:
        ValueError: when there is no such policy.
    """
    if not isinstance(policy, str) and not hasattr(policy, "compute_dtype"):
        raise ValueError(
            "set_dtype_policy takes a policy or its name, such as 'mixed_float16'; received "
            f"{policy!r} of type {type(policy).__name__}."
        )
    _settings["dtype_policy"] = _policy_of(policy)


def epsilon() -> float:
    """Return the small number that keeps logarithms and divisions finite."""
    return _settings["epsilon"]


def set_epsilon(value: float) -> None:
    """Set the small number that keeps logarithms and divisions finite."""
    _settings["epsilon"] = float(value)


def image_data_format() -> str:
    """Return ``'channels_last'`` or ``'channels_first'``, the default layout of images."""
    return _settings["image_data_format"]


def set_image_data_format(data_format: str) -> None:
    """Set the default layout of images.

    Args:
        data_format: ``'channels_last'`` or ``'channels_first'``.

    Raises:
        ValueError: for any other value.
    """
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            "image_data_format must be 'channels_last' or 'channels_first'; "
            f"received {data_format!r}."
        )
    _settings["image_data_format"] = data_format


def as_device(name: str | torch.device) -> torch.device:
    """Turn a device's name into a ``torch.device``.

    Args:
        name: torch's spelling (``'cuda'``, ``'cuda:1'``, ``'cpu'``) or Keras' (``'gpu:0'``).

    Raises:
        ValueError: when torch knows no such device.
    """
    if isinstance(name, torch.device):
        return name
    spelling = str(name).lower().lstrip("/").removeprefix("device:").replace("gpu", "cuda")
    try:
        return torch.device(spelling)
    except RuntimeError:
        raise ValueError(
            f"Unknown device {name!r}; give 'cpu', 'gpu', 'cuda:1', 'mps' or a torch.device."
        ) from None


def device() -> torch.device:
    """Return the device where new weights and data go: CUDA when there is one, else the CPU."""
    chosen = _settings["device"]
    if chosen is not None:
        return chosen
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def set_device(name: str | torch.device | None) -> None:
    """Choose the device of new weights and data; ``None`` goes back to choosing by itself.

    Raises:
        ValueError: when torch knows no such device, or it is CUDA and there is none.
    """
    chosen = None if name is None else as_device(name)
    if chosen is not None and chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"{name!r} was chosen, but there is no CUDA device, or this torch cannot use it."
        )
    _settings["device"] = chosen


@contextlib.contextmanager
def on_device(device_name: str | torch.device) -> Iterator[torch.device]:
    """Choose the device for the length of a ``with`` block (``keras.device``)."""
    before = _settings["device"]
    set_device(device_name)
    try:
        yield device()
    finally:
        _settings["device"] = before


def prediction_type() -> type[np.ndarray]:
    """Return the array class of predictions: ``numpy.ndarray`` unless a launcher set its own."""
    return _settings["prediction_type"]


def set_prediction_type(cls: type[np.ndarray]) -> None:
    """Choose the array class that ``predict`` gives."""
    _settings["prediction_type"] = cls


def keep_memory() -> bool:
    """Return whether ``fit`` has malloc keep freed memory for the next step."""
    return _settings["keep_memory"]


def set_keep_memory(value: bool) -> None:
    """Choose whether ``fit`` has malloc keep freed memory for the next step.

    Steps of large models are quicker then, and the process' memory stays at its peak until ``fit``
    ends.  It acts on the whole process; turn it off where the program sets malloc's parameters
    itself.

    Args:
        value: True, unless chosen otherwise, or False.

    Raises:
        ValueError: for any other value.
    """
    if value not in (True, False):
        raise ValueError(f"keep_memory must be True or False; received {value!r}.")
    _settings["keep_memory"] = bool(value)


def is_interactive_logging_enabled() -> bool:
    """Return whether progress bars and summaries go to standard output, as they do at first."""
    return _settings["interactive_logging"]


def enable_interactive_logging() -> None:
    """Let progress bars and summaries go to standard output."""
    _settings["interactive_logging"] = True


def disable_interactive_logging() -> None:
    """Let progress bars and summaries go to Python's logger ``'torchkeras'``, at level INFO."""
    _settings["interactive_logging"] = False


def is_traceback_filtering_enabled() -> bool:
    """Return ``False``: the trace of an error is always whole."""
    return False


def disable_traceback_filtering() -> None:
    """Leave traces of errors whole, as they are anyway."""


def enable_traceback_filtering() -> None:
    """Refuse to hide lines of torchkeras in traces of errors.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        "enable_traceback_filtering is not supported: the trace of an error is shown whole, which "
        "torch's debuggers need. Leave the call out."
    )


def is_flash_attention_enabled() -> bool | None:
    """Return ``None``, torch chooses how attention is computed, or ``False``: not by flash."""
    return _settings["flash_attention"]


def enable_flash_attention() -> None:
    """Let torch compute attention by its flash kernels where they fit, as it does at first."""
    _settings["flash_attention"] = None
    torch.backends.cuda.enable_flash_sdp(True)


def disable_flash_attention() -> None:
    """Keep torch from computing attention by its flash kernels, in the whole process."""
    _settings["flash_attention"] = False
    torch.backends.cuda.enable_flash_sdp(False)


def max_epochs() -> int | None:
    """Return the most epochs that a ``fit`` takes; ``None`` for no limit.

    The environment variable ``KERAS_MAX_EPOCHS`` sets it too.
    """
    return _settings["max_epochs"]


def set_max_epochs(max_epochs: int | None) -> None:
    """Limit the epochs of every ``fit``, to try a script out; ``None`` takes the limit away."""
    _settings["max_epochs"] = max_epochs


def max_steps_per_epoch() -> int | None:
    """Return the most batches that an epoch, ``evaluate`` or ``predict`` takes, or ``None``.

    The environment variable ``KERAS_MAX_STEPS_PER_EPOCH`` sets it too.
    """
    return _settings["max_steps_per_epoch"]


def set_max_steps_per_epoch(max_steps_per_epoch: int | None) -> None:
    """Limit the batches of every epoch, ``evaluate`` and ``predict``; ``None`` takes it away."""
    _settings["max_steps_per_epoch"] = max_steps_per_epoch


def limited(what: str, count: int | None) -> int | None:
    """Return a count, at most as large as its limit, with a warning where the limit lowers it.

    Args:
        what: ``'max_epochs'`` or ``'max_steps_per_epoch'``.
        count: ``None`` for as many as there are.
    """
    limit = _settings[what]
    if not limit or (count is not None and count <= limit):
        return count
    warn_user(f"Limiting {what.removeprefix('max_')} to {limit}.")
    return limit


def is_nnx_enabled() -> bool:
    """Return ``False``: NNX is JAX's."""
    return False
