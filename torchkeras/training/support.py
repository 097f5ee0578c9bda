"""What fit, evaluate and predict need beside the loop itself."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from torchkeras.training.data import Batches


def one_process() -> None:
    """Refuse to train when this is one of several processes.

    Raises:
        ValueError: when WORLD_SIZE, which torchrun sets, is above 1.
    """
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        raise ValueError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}: training in several processes is not "
            "supported yet. Start the script without torchrun."
        )


@contextlib.contextmanager
def memory_explained(batches: Batches) -> Iterator[None]:
    """Say which batch the accelerator's memory was too small for, and what to lower."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        shape = tuple(batches.x.shape[1:])
        raise torch.OutOfMemoryError(
            f"Out of memory on {batches.device} with batches of {batches.batch_size} samples of "
            f"shape {shape}. Lower batch_size (now {batches.batch_size}) or make the model "
            f"smaller.\n{error}"
        ) from error


def validates(epoch: int, frequency: int | Sequence[int]) -> bool:
    """Tell whether to validate after an epoch (counted from 0)."""
    if isinstance(frequency, int):
        if frequency < 1:
            raise ValueError(f"validation_freq must be at least 1; received {frequency}.")
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency


def to_numpy(outputs: torch.Tensor) -> np.ndarray:
    """Return a tensor's numbers as an array on the host, bfloat16 as float32."""
    if outputs.dtype is torch.bfloat16:  # which numpy does not have
        outputs = outputs.float()
    return outputs.detach().cpu().numpy()


def as_returned(logs: dict[str, float], as_dict: bool) -> Any:
    """Return logs as Keras returns them: a dictionary, a list, or the loss alone."""
    if as_dict:
        return dict(sorted(logs.items()))
    return list(logs.values()) if len(logs) > 1 else logs["loss"]
