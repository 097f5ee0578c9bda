"""Random numbers (``keras.random``), drawn by torch's generators.

Each function takes a ``seed``; :mod:`torchkeras.seeds` says what it means.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import handle_torch_function

from torchkeras import config, dtypes, tree
from torchkeras.ops.promotion import as_float
from torchkeras.ops.tensors import stand_ins, to_tensor
from torchkeras.seeds import (
    Seed,
    SeedGenerator as SeedGenerator,
    generator as generator,
    make_seed as make_seed,
    seed_torch_for_run as seed_torch_for_run,
    set_random_seed as set_random_seed,
    source,
)


def _draw(function: Callable) -> Callable:
    """Decorate a function of this module for symbolic tensors, Variables and torch's errors."""

    @functools.wraps(function)
    def draw(*args: Any, **kwargs: Any) -> Tensor:
        if found := stand_ins(args, kwargs):
            return handle_torch_function(draw, found, *args, **kwargs)
        try:
            return function(*args, **kwargs)
        except (RuntimeError, IndexError, TypeError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            text = str(error).partition("\n")[0]
            raise kind(f"random.{function.__name__} failed: {text}") from error

    return draw


def _sizes(shape: Any) -> tuple[int, ...]:
    try:
        return tuple(operator.index(size) for size in shape)
    except TypeError:
        raise ValueError(
            f"shape must be a tuple of integers, such as (2, 3); received {shape!r}. A size that "
            "is not known until a model runs is read there, in a layer's call: ops.shape(x)."
        ) from None


def _floats(dtype: Any) -> torch.dtype:
    wanted = dtypes.to_torch(dtype)
    if not wanted.is_floating_point:
        raise ValueError(f"dtype must be one of floats, such as 'float32'; received {dtype!r}.")
    return wanted


def _numbers(given: Any, shape: Any, holds: Callable, rule: str) -> Tensor:
    """Return a distribution's parameter, of a shape; numbers of Python and numpy are checked."""
    known = [leaf for leaf in tree.leaves(given) if not isinstance(leaf, Tensor)]
    if not all(np.all(holds(np.asarray(leaf))) for leaf in known):
        raise ValueError(f"{rule}; received {given!r}.")
    tensor = to_tensor(given).detach()
    tensor = tensor if tensor.dtype is torch.float64 else tensor.float()
    return tensor.broadcast_to(_sizes(shape))


@_draw
def normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Seed = None,
) -> Tensor:
    """Draw from a normal distribution.

    Args:
        shape: of the result.
        mean: of the distribution.
        stddev: its standard deviation.
        dtype: one of floats; ``floatx`` unless given.
        seed: an integer, a :class:`SeedGenerator` or ``None``.

    Raises:
        ValueError: for an argument that is none of these.
    """
    options = {"dtype": _floats(dtype), "device": config.device()}
    begin = source(seed, options["device"])
    return torch.normal(mean, stddev, _sizes(shape), generator=begin, **options)


@_draw
def uniform(
    shape: Sequence[int],
    minval: float | Tensor = 0.0,
    maxval: float | Tensor = 1.0,
    dtype: Any = None,
    seed: Seed = None,
) -> Tensor:
    """Draw evenly from ``[minval, maxval)``; arguments and errors as of :func:`normal`."""
    options = {"dtype": _floats(dtype), "device": config.device()}
    drawn = torch.rand(_sizes(shape), generator=source(seed, options["device"]), **options)
    return (maxval - minval) * drawn + minval


@_draw
def randint(
    shape: Sequence[int], minval: int, maxval: int, dtype: Any = "int32", seed: Seed = None
) -> Tensor:
    """Draw integers evenly from ``minval`` to ``maxval - 1``.

    Args:
        shape: of the result.
        minval: the lowest.
        maxval: above the highest.
        dtype: one of integers, or ``None``, which is ``floatx``.
        seed: as of :func:`normal`.

    Raises:
        ValueError: for a dtype that is none of these, or no integer between the bounds.
    """
    wanted, device = dtypes.to_torch(dtype), config.device()
    if dtype is not None and (wanted.is_floating_point or wanted in (torch.bool, torch.complex64)):
        raise ValueError(f"dtype must be one of integers, such as 'int32'; received {dtype!r}.")
    low, high, begin = operator.index(minval), operator.index(maxval), source(seed, device)
    return torch.randint(low, high, _sizes(shape), generator=begin, dtype=wanted, device=device)


@_draw
def truncated_normal(
    shape: Sequence[int],
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    seed: Seed = None,
) -> Tensor:
    """Draw from a normal distribution without what lies beyond two deviations; see :func:`normal`.

    It is the first of four numbers that does not; once in 230,000 times all do, and it is clipped.
    """
    drawn = normal((*_sizes(shape), 4), dtype=dtype, seed=seed)
    first = (drawn.abs() < 2).max(-1, keepdim=True).indices
    return drawn.gather(-1, first).squeeze(-1).clamp(-2, 2).mul(stddev).add(mean)


@_draw
def categorical(
    logits: Tensor, num_samples: int, dtype: Any = "int32", seed: Seed = None
) -> Tensor:
    """Draw numbers of classes.

    Args:
        logits: logarithms of weights, of shape ``(batch, classes)``.
        num_samples: how many to draw of each row.
        dtype: of the result.
        seed: as of :func:`normal`.

    Returns:
        Shape ``(batch, num_samples)``.

    Raises:
        ValueError: for logits of another rank.
    """
    logits = as_float(to_tensor(logits))
    if logits.ndim != 2:
        raise ValueError(
            f"logits must have the shape (batch, classes); received {tuple(logits.shape)}."
        )
    begin = source(seed, logits.device)
    drawn = torch.multinomial(logits.softmax(-1), num_samples, replacement=True, generator=begin)
    return drawn.to(dtypes.to_torch(dtype))


@_draw
def dropout(
    inputs: Tensor, rate: float, noise_shape: Sequence[int | None] | None = None, seed: Seed = None
) -> Tensor:
    """Set a part of some numbers to zero and scale the rest by ``1 / (1 - rate)``.

    Args:
        inputs: of any shape.
        rate: the probability of a zero.
        noise_shape: of the choices, 1 where an axis shares them, ``None`` for the input's own size.
        seed: as of :func:`normal`.

    Raises:
        ValueError: for a rate that is no probability, or a shape that does not fit.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must be a number from 0 to 1; received {rate!r}.")
    inputs = as_float(to_tensor(inputs))
    if rate == 0:
        return inputs
    if rate == 1:
        return torch.zeros_like(inputs)
    if noise_shape is None and getattr(seed, "seed", seed) is None:
        return torch.nn.functional.dropout(inputs, rate)
    given = inputs.shape if noise_shape is None else noise_shape
    shape = _sizes(inputs.shape[axis] if size is None else size for axis, size in enumerate(given))
    options = {"dtype": torch.float32, "device": inputs.device}
    is_kept = torch.rand(shape, generator=source(seed, inputs.device), **options) < 1 - rate
    return torch.where(is_kept.broadcast_to(inputs.shape), inputs / (1 - rate), 0.0)


@_draw
def shuffle(x: Tensor, axis: int = 0, seed: Seed = None) -> Tensor:
    """Put what lies along an axis in another order, each place of the axes before it for itself.

    Args:
        x: of any shape but ``()``.
        axis: the axis.
        seed: as of :func:`normal`.

    Raises:
        ValueError: when there is no such axis.
    """
    x = to_tensor(x)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"x of shape {tuple(x.shape)} has no axis {axis}.")
    axis %= x.ndim
    drawn = torch.rand(x.shape[: axis + 1], generator=source(seed, x.device), device=x.device)
    order = drawn.argsort(axis)
    return x.gather(axis, order[(...,) + (None,) * (x.ndim - axis - 1)].expand(x.shape))


@_draw
def gamma(
    shape: Sequence[int], alpha: float | Tensor, dtype: Any = None, seed: Seed = None
) -> Tensor:
    """Draw from gamma distributions of rate 1; no gradient flows to what they are of.

    Args:
        shape: of the result.
        alpha: their shape parameter, above 0, broadcast to the shape.
        dtype: one of floats; ``floatx`` unless given.
        seed: as of :func:`normal`.

    Raises:
        ValueError: for an argument that is none of these.
    """
    wanted = _floats(dtype)
    alpha = _numbers(alpha, shape, lambda a: a > 0, "alpha must be above 0")
    drawn = torch._standard_gamma(alpha, generator=source(seed, alpha.device))
    return drawn.clamp(min=torch.finfo(drawn.dtype).tiny).to(wanted)


@_draw
def beta(
    shape: Sequence[int],
    alpha: float | Tensor,
    beta: float | Tensor,
    dtype: Any = None,
    seed: Seed = None,
) -> Tensor:
    """Draw from beta distributions of two parameters; see :func:`gamma`."""
    wanted = _floats(dtype)
    alpha = _numbers(alpha, shape, lambda a: a > 0, "alpha must be above 0")
    beta = _numbers(beta, shape, lambda b: b > 0, "beta must be above 0")
    both = torch.stack(torch.broadcast_tensors(alpha, beta), -1)
    return torch._sample_dirichlet(both, generator=source(seed, both.device))[..., 0].to(wanted)


@_draw
def binomial(
    shape: Sequence[int],
    counts: float | Tensor,
    probabilities: float | Tensor,
    dtype: Any = None,
    seed: Seed = None,
) -> Tensor:
    """Draw how many of some trials succeed.

    Args:
        shape: of the result.
        counts: how many trials, broadcast to the shape.
        probabilities: of success in one, likewise.
        dtype: of the result; ``floatx`` unless given.
        seed: as of :func:`normal`.

    Raises:
        ValueError: for counts below 0 or probabilities that are none.
    """
    counts = _numbers(counts, shape, lambda n: n >= 0, "counts must be 0 or above")
    is_one = "probabilities must be from 0 to 1"
    odds = _numbers(probabilities, shape, lambda p: (p >= 0) & (p <= 1), is_one)
    drawn = torch.binomial(counts, odds, generator=source(seed, counts.device))
    return drawn.to(dtypes.to_torch(dtype))
