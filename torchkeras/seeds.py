"""Seeds: where a draw of random numbers begins.

``None`` is wherever torch's own generator of the device is, which :func:`set_random_seed` seeds. An
integer is the same place each time, so that each call gives the same numbers. A
:class:`SeedGenerator` is at its own integer plus the number of its draws so far. The numbers are
those that Keras draws by the same seed on torch's CPU backend.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras import eras, registry
from torchkeras.variable import Variable, Weight

Seed = Any  # an integer, a SeedGenerator or None


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


def reseed(state: Tensor, generator: torch.Generator, step: int) -> None:
    """Put a generator where a state says, and move the state on.

    It is an operator of torch's (``torchkeras::reseed``), so that a captured step records it and
    does it again each time.

    Args:
        state: two integers, on the CPU; their sum is the seed.
        generator: is seeded with it.
        step: what is added to the second integer.
    """
    with torch._C.DisableTorchFunction():
        numbers = state.numpy()
    # First, since it fails while a CUDA graph is captured, and nothing must have moved then.
    generator.manual_seed((int(numbers[0]) + int(numbers[1])) & 0xFFFFFFFF)
    numbers[1] += step


_LIBRARY = torch.library.Library("torchkeras", "FRAGMENT")
_LIBRARY.define("reseed(Tensor(a!) state, Generator generator, int step) -> ()")
_LIBRARY.impl("reseed", reseed, "CompositeExplicitAutograd")
_reseed = torch.ops.torchkeras.reseed.default


class _Trial(threading.local):
    """Whether this thread runs something for its shapes only."""

    is_on = False


_trial = _Trial()


def in_trial() -> bool:
    """Tell whether this thread runs something for its shapes only.

    The tensors at hand are then stand-ins, whose sizes and numbers mean nothing.
    """
    return _trial.is_on


@contextlib.contextmanager
def on_trial() -> Iterator[None]:
    """Run what is in a ``with`` block for its shapes: no :class:`SeedGenerator` moves on."""
    before, _trial.is_on = _trial.is_on, True
    try:
        yield
    finally:
        _trial.is_on = before


@registry.register("seed_generator", module="keras.random")
class SeedGenerator(registry.Configurable):
    """Gives each draw that it is the ``seed=`` of other numbers; the same ones in each program.

    Args:
        seed: an integer, of which the lower 32 bits count; drawn at random unless given.
        name: numbered unless given.

    Attributes:
        state: the seed and the number of draws so far, a Variable of shape ``(2,)``. A layer that
            keeps a generator of seeds counts it among its ``variables``.

    Raises:
        ValueError: when the seed is no integer.
    """

    def __init__(self, seed: int | None = None, name: str | None = None):
        self.seed = seed
        self.name = self.path = name or registry.auto_name("seed_generator")
        first = _integer(make_seed() if seed is None else seed)
        # On the CPU, whatever the device: each draw reads it.
        self._state = torch.tensor([first, 0], dtype=torch.int32, device="cpu")
        self.state = Variable.of(self, Weight("seed_generator_state", "_state", trainable=False))
        self._generators: dict[torch.device, torch.Generator] = {}

    def next(self, ordered: bool = True) -> Tensor:
        """Return the state and move it on.

        Args:
            ordered: whether by counting; else both numbers are mixed anew, to some below a million.

        Returns:
            Two int32, as they were before.
        """
        before = self._state.clone()
        if not _trial.is_on:
            after = before + before.new_tensor([0, 1]) if ordered else (before + 1) * 5387 % 933199
            self._state.copy_(after)
        return before

    def source(self, device: torch.device, step: int = 1) -> torch.Generator:
        """Return a torch generator at the place of the next draw.

        Args:
            device: where it draws.
            step: how far the state moves on.
        """
        if device not in self._generators:
            self._generators[device] = torch.Generator(device=device)
        _reseed(self._state, self._generators[device], 0 if _trial.is_on else step)
        return self._generators[device]


def _integer(seed: Any) -> int:
    """Return the lower 32 bits of a seed, as a signed integer."""
    try:
        return (operator.index(seed) & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
    except TypeError:
        raise ValueError(
            f"seed must be an integer, a SeedGenerator or None; received {seed!r} of type "
            f"{type(seed).__name__}."
        ) from None


@functools.lru_cache
def _fixed(seed: int, thread: int) -> SeedGenerator:
    """Return the generator of an integer, one a thread: others would draw in between."""
    return SeedGenerator(seed, name="fixed")


def source(seed: Seed, device: torch.device) -> torch.Generator | None:
    """Return the torch generator that a seed means; ``None`` for torch's own.

    Raises:
        ValueError: when the seed is none.
    """
    if seed is None or device.type == "meta":  # where nothing is drawn
        return None
    if isinstance(seed, SeedGenerator):
        return seed.source(device)
    return _fixed(_integer(seed), threading.get_ident()).source(device, step=0)
