"""``keras.initializations`` of Keras 1: functions from a shape to initial values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from torchkeras import initializers


def _function(name: str, make: Callable[..., Any], scale: float | None = None) -> Callable:
    """Make a function of a shape; with ``scale`` it takes that and hands it to ``make``."""
    if scale is None:

        def draw(
            shape: Sequence[int], name: str | None = None, dim_ordering: str = "th"
        ) -> torch.Tensor:
            return _with_channels_last(make(), tuple(shape), dim_ordering)

    else:

        def draw(
            shape: Sequence[int],
            scale: float = scale,
            name: str | None = None,
            dim_ordering: str = "th",
        ) -> torch.Tensor:
            return make(scale)(shape)

    draw.__name__ = draw.__qualname__ = name
    draw.__doc__ = f"Return initial values of a shape, as ``init={name!r}`` draws them."
    return draw


def _with_channels_last(initializer: Any, shape: tuple, dim_ordering: str) -> torch.Tensor:
    """Draw a convolution kernel ``(out, in, …)`` of Theano's order as the one ``(…, in, out)``.

    Raises:
        ValueError: when the order is neither ``'th'`` nor ``'tf'``.
    """
    if dim_ordering not in ("th", "tf"):
        raise ValueError(f"dim_ordering must be 'th' or 'tf'; received {dim_ordering!r}.")
    if dim_ordering == "tf" or len(shape) not in (4, 5):
        return initializer(shape)
    return initializer((*shape[2:], shape[1], shape[0])).movedim((-1, -2), (0, 1))


uniform = _function("uniform", lambda scale: initializers.RandomUniform(-scale, scale), 0.05)
normal = _function("normal", lambda scale: initializers.RandomNormal(0.0, scale), 0.05)
orthogonal = _function("orthogonal", lambda scale: initializers.Orthogonal(gain=scale), 1.1)
identity = _function("identity", lambda scale: initializers.Identity(gain=scale), 1.0)
lecun_uniform = _function("lecun_uniform", initializers.LecunUniform)
glorot_normal = _function("glorot_normal", initializers.GlorotNormal)
glorot_uniform = _function("glorot_uniform", initializers.GlorotUniform)
he_normal = _function("he_normal", initializers.HeNormal)
he_uniform = _function("he_uniform", initializers.HeUniform)
zero = _function("zero", initializers.Zeros)
one = _function("one", initializers.Ones)


def get(identifier: Any, **kwargs: Any) -> Callable:
    """Turn a name into the function of this module, which takes a shape and a name.

    Args:
        identifier: a name or a function; an initializer as of Keras 2 stays what it is.
        kwargs: arguments that the function is always called with.
    """
    if isinstance(identifier, str):
        found = globals().get(identifier) if identifier in __all__ else None
        identifier = found or initializers.get(identifier)
    return functools.partial(identifier, **kwargs) if kwargs else identifier


__all__ = [
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_uniform",
    "normal",
    "one",
    "orthogonal",
    "uniform",
    "zero",
]
