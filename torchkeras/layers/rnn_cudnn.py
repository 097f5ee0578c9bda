"""CuDNNLSTM and CuDNNGRU: LSTM and GRU as Keras 2 had them on cuDNN, here on any device."""

from __future__ import annotations

from typing import Any

from torchkeras.layers.rnn_gru import GRU
from torchkeras.layers.rnn_lstm import LSTM
from torchkeras.registry import register

# What cuDNN computes, whatever the defaults of a version of Keras were.
_SETTINGS = {"activation": "tanh", "recurrent_activation": "sigmoid", "implementation": 2}
_FIXED = (
    *_SETTINGS,
    *"use_bias dropout recurrent_dropout seed reset_after unroll use_cudnn".split(),
)


@register("layer")
class CuDNNLSTM(LSTM):
    """An :class:`LSTM` with tanh, sigmoid and a bias, and without dropout.

    Args:
        units: size of the output.
        kwargs: the other arguments of :class:`LSTM`.

    Shapes:
        input ``(batch, steps, features)``, output ``(batch, units)`` or ``(batch, steps, units)``.

    Raises:
        ValueError: for an argument that is fixed.
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(units, **_checked("CuDNNLSTM", kwargs), **_SETTINGS)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return _without_fixed(super().get_config())


@register("layer")
class CuDNNGRU(GRU):
    """A :class:`GRU` with tanh, sigmoid, two biases and ``reset_after``, and without dropout.

    Args:
        units: size of the output.
        kwargs: the other arguments of :class:`GRU`.

    Shapes:
        input ``(batch, steps, features)``, output ``(batch, units)`` or ``(batch, steps, units)``.

    Raises:
        ValueError: for an argument that is fixed.
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(units, **_checked("CuDNNGRU", kwargs), **_SETTINGS, reset_after=True)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return _without_fixed(super().get_config())


def _checked(title: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return arguments, of which none is fixed."""
    for name in _FIXED:
        if name in given:
            raise ValueError(f"{title}: {name} cannot be chosen; received {given[name]!r}.")
    return given


def _without_fixed(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in _FIXED}
