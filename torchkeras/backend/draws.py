"""Random tensors of ``keras.backend``.

Without a seed they come from torch's own generator, which ``set_random_seed`` seeds and a captured
step draws from.  With one they come from a generator of that seed, which goes on from call to call:
the same numbers in each run of the program, other numbers in each step.
"""

from __future__ import annotations

from typing import Any

import torch

from torchkeras import config, dtypes, random
from torchkeras.backend.operation import known_sizes, operation
from torchkeras.backend.tensors import sizes
from torchkeras.graph import Spec

_generators: dict[tuple[int, torch.device], torch.Generator] = {}


def forget_seeds() -> None:
    """Let the generators of all seeds begin again."""
    _generators.clear()


def _generator(seed: int | None, device: torch.device) -> torch.Generator | None:
    if seed is None:
        return None
    key = (int(seed), device)
    if key not in _generators:
        _generators[key] = random.generator(seed, device)
    return _generators[key]


def uniform(shape: Any, dtype: torch.dtype, seed: int | None, device: torch.device) -> torch.Tensor:
    """Draw numbers from [0, 1)."""
    generator = _generator(seed, device)
    return torch.rand(sizes(shape), dtype=dtype, device=device, generator=generator)


def _drawn(shape: Any, *args: Any, dtype: Any = None, **kwargs: Any) -> Spec:
    return Spec(known_sizes(shape), dtypes.name_of(dtype))


@operation(spec=_drawn)
def random_uniform(
    shape: Any,
    minval: float = 0.0,
    maxval: float = 1.0,
    dtype: Any = None,
    seed: int | None = None,
) -> torch.Tensor:
    """Draw evenly from ``[minval, maxval)``.

    Args:
        shape: of the result.
        minval: the lower bound.
        maxval: the upper bound, itself not drawn.
        dtype: ``floatx`` unless given; integers are drawn for an integer dtype.
        seed: makes the draws repeat from run to run.
    """
    wanted, device = dtypes.to_torch(dtype), config.device()
    if not wanted.is_floating_point:
        generator = _generator(seed, device)
        return torch.randint(
            int(minval), int(maxval), sizes(shape), dtype=wanted, device=device, generator=generator
        )
    return uniform(shape, wanted, seed, device) * (maxval - minval) + minval


@operation(spec=_drawn)
def random_normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: int | None = None,
) -> torch.Tensor:
    """Draw from a normal distribution.

    Args:
        shape: of the result.
        mean: of the distribution.
        stddev: its standard deviation.
        dtype: ``floatx`` unless given.
        seed: makes the draws repeat from run to run.
    """
    device = config.device()
    drawn = torch.randn(
        sizes(shape),
        dtype=dtypes.to_torch(dtype),
        device=device,
        generator=_generator(seed, device),
    )
    return drawn * stddev + mean


@operation(spec=_drawn)
def truncated_normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: int | None = None,
) -> torch.Tensor:
    """Draw from a normal distribution, again where beyond two deviations; see random_normal."""
    device = config.device()
    drawn = torch.empty(sizes(shape), dtype=dtypes.to_torch(dtype), device=device)
    generator = _generator(seed, device)
    torch.nn.init.trunc_normal_(drawn, 0.0, 1.0, -2.0, 2.0, generator=generator)
    return drawn * stddev + mean


@operation(spec=_drawn)
def random_bernoulli(
    shape: Any, p: float = 0.0, dtype: Any = None, seed: int | None = None
) -> torch.Tensor:
    """Draw 1 with probability ``p``, else 0.

    Args:
        shape: of the result.
        p: the probability.
        dtype: ``floatx`` unless given.
        seed: makes the draws repeat from run to run.
    """
    ones = uniform(shape, dtypes.to_torch(config.floatx()), seed, config.device()) < p
    return ones.to(dtypes.to_torch(dtype))


@operation(spec=_drawn)
def random_binomial(
    shape: Any, p: float = 0.0, dtype: Any = None, seed: int | None = None
) -> torch.Tensor:
    """Draw 1 with probability ``p``, else 0: the older name of random_bernoulli."""
    return random_bernoulli(shape, p, dtype, seed)
