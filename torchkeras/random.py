"""Where random numbers come from: torch's generators, seeded as the Keras version in force did."""

from __future__ import annotations

import random

import numpy as np
import torch

from torchkeras import eras


def set_random_seed(seed: int) -> None:
    """Seed Python's, numpy's and torch's generators, so that a run repeats on the same device.

    Args:
        seed: an integer from 0 to 2**32 - 1.

    Raises:
        ValueError: when the seed is no such integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must be an integer from 0 to 2**32 - 1; received {seed!r}.")
    random.seed(int(seed))
    np.random.seed(int(seed))
    torch.manual_seed(int(seed))


def make_seed() -> int:
    """Draw a seed where the user gave none: from ``numpy.random`` where Keras 1 and 2 did."""
    if eras.value("seeds.from_numpy"):
        return int(np.random.randint(10**7))
    return random.randint(1, 10**9)


def generator(seed: int | None, device: torch.device | str = "cpu") -> torch.Generator:
    """Make a torch generator from a seed, or from a seed of its own when ``None``."""
    made = torch.Generator(device=device)
    made.manual_seed(make_seed() if seed is None else int(seed))
    return made


def seed_torch_for_run() -> None:
    """At the start of a run, seed torch from ``numpy.random`` where Keras 1 and 2 drew from it.

    ``numpy.random.seed(7)`` alone then makes dropout and shuffling repeat, as it did there.
    """
    if eras.value("seeds.from_numpy"):
        torch.manual_seed(make_seed())
