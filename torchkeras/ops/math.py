"""``keras.ops.math``: what numpy does not have: segments, Fourier transforms, error functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from torchkeras.ops.axes import Axis
from torchkeras.ops.promotion import as_float, no_bool
from torchkeras.ops.table import Table
from torchkeras.ops.tensors import prepared, to_tensor

op = Table("math", __name__)
__all__ = op.names

op.rows(
    ("erf(x)", torch.erf, "Return the error function."),
    ("erfc(x)", torch.erfc, "Return 1 - erf(x), exact where that is near 0."),
    ("erfinv(x)", torch.erfinv, "Return the inverse of the error function."),
    ("rsqrt(x)", torch.rsqrt, "Return 1 / sqrt(x)."),
    is_elementwise=True,
)
op.rows(("logdet(x)", torch.logdet, "Return the logarithm of determinants."), rule=as_float)


@op.own
def logsumexp(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return log(sum(exp(x))) along axes."""
    return torch.logsumexp(x, tuple(range(x.ndim)) if axis is None else axis, keepdims)


@op.own
def extract_sequences(x: Tensor, sequence_length: int, sequence_stride: int) -> Tensor:
    """Cut the last axis into sequences, each beginning so many elements behind the last one."""
    return torch.unfold_copy(x, -1, sequence_length, sequence_stride)


@op.own
def view_as_real(x: Tensor) -> Tensor:
    """Return real and imaginary part of complex numbers as a last axis."""
    return torch.view_as_real(x.resolve_conj())


@op.own
def view_as_complex(x: Tensor) -> Tensor:
    """Make complex numbers of a last axis of real and imaginary part."""
    if x.ndim < 1 or x.shape[-1] != 2:
        raise ValueError(
            f"ops.view_as_complex: expected a last axis of size 2; received {tuple(x.shape)}."
        )
    return torch.complex(*x.float().unbind(-1))


@op.own(keras="CDist")
def cdist(x: Tensor, y: Tensor) -> Tensor:
    """Return the distances of vectors, ``(…, m, d)`` and ``(…, n, d)`` to ``(…, m, n)``."""
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1]:
        raise ValueError(
            "ops.cdist: expected shapes (…, m, d) and (…, n, d); received "
            f"{tuple(x.shape)} and {tuple(y.shape)}."
        )
    dtype = torch.promote_types(x.dtype, y.dtype)
    x, y = as_float(x.to(dtype)), as_float(y.to(dtype))
    return torch.linalg.vector_norm(x.unsqueeze(-2) - y.unsqueeze(-3), dim=-1)


# ------------------------------------------------------------------------------ the greatest


@op.own
def top_k(x: Tensor, k: int, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """Return the greatest ``k`` along the last axis and their places, int32."""
    values, places = torch.topk(x, k, sorted=sorted)
    return values, places.int()


@op.own
def in_top_k(targets: Tensor, predictions: Tensor, k: int) -> Tensor:
    """Tell whether the prediction at each target is among the greatest ``k``, of equal ones all."""
    chosen = torch.gather(predictions, -1, targets.long().unsqueeze(-1))
    return torch.any(chosen >= torch.topk(predictions, k).values, -1)


# ---------------------------------------------------------------------------------- segments


def _segment(name: str, reduce: str, sentence: str) -> None:
    def segment(
        data: Tensor, segment_ids: Tensor, num_segments: int | None = None, sorted: bool = False
    ) -> Tensor:
        ids, count = segment_ids, num_segments
        if ids.ndim != 1 or len(ids) != len(data):
            raise ValueError(
                f"ops.{name}: segment_ids must be a vector, one for each row of data; received "
                f"shapes {tuple(ids.shape)} and {tuple(data.shape)}."
            )
        if count is None:
            count = int(ids.max()) + 1 if len(ids) else 0
        # What belongs to no segment goes into one more, which is cut off.
        ids = torch.where((ids < 0) | (ids >= count), count, ids).long()
        x = no_bool(data.float() if data.dtype in (torch.float16, torch.bfloat16) else data)
        least, most = (-torch.inf, torch.inf) if x.is_floating_point() else _limits(x.dtype)
        of_nothing = {"sum": 0, "prod": 1, "amax": least, "amin": most}[reduce]
        made = torch.full((count + 1, *x.shape[1:]), of_nothing, dtype=x.dtype, device=x.device)
        places = ids.reshape(-1, *[1] * (x.ndim - 1)).expand_as(x)
        return made.scatter_reduce(0, places, x, reduce)[:-1].to(data.dtype)

    segment.__name__ = name
    segment.__doc__ = f"""{sentence}

    Args:
        data: of shape ``(rows, …)``.
        segment_ids: the number of each row's segment, of shape ``(rows,)``; rows whose number is
            negative or too large are left out.
        num_segments: how many; up to the greatest number unless given.
        sorted: whether the numbers are; makes no difference.

    Returns:
        Of shape ``(num_segments, …)``.
    """
    op.own(segment, spec=_spec_of_segments)


def _limits(dtype: torch.dtype) -> tuple[int, int]:
    return torch.iinfo(dtype).min, torch.iinfo(dtype).max


def _spec_of_segments(data: Any, num_segments: int | None = None, **_: Any) -> tuple[Any, Any]:
    return (num_segments, *data.shape[1:]), data.dtype


_segment("segment_max", "amax", "Return the greatest of the rows of each segment.")
_segment("segment_min", "amin", "Return the least of the rows of each segment.")
_segment("segment_prod", "prod", "Multiply the rows of each segment.")
_segment("segment_sum", "sum", "Add the rows of each segment.")


# ------------------------------------------------------------------------- Fourier transforms
# Complex numbers go in and out as pairs of real and imaginary parts.


def _complex(name: str, x: Any) -> Tensor:
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ValueError(f"ops.{name}: x must be a pair (real part, imaginary part); received {x}.")
    real, imaginary = prepared(x)
    if real.shape != imaginary.shape:
        raise ValueError(
            f"ops.{name}: the real and the imaginary part must have the same shape; received "
            f"{tuple(real.shape)} and {tuple(imaginary.shape)}."
        )
    return torch.complex(real, imaginary)


def _parts(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.real, x.imag


def _of_pair(name: str, function: Callable) -> Callable:
    return lambda x: _parts(function(_complex(name, x)))


for _name, _sentence in (
    ("fft", "Transform the last axis."),
    ("fft2", "Transform the last two axes."),
    ("ifft2", "Transform the last two axes back."),
):
    _function = _of_pair(_name, getattr(torch.fft, _name))
    op.rows((f"{_name}(x)", _function, _sentence), tensors="", inputs="x", keras=_name.upper())


@op.own(keras="IRFFT", tensors=[], inputs="x")
def irfft(x: Any, fft_length: int | None = None) -> Tensor:
    """Transform the last axis back, to so many real numbers."""
    return torch.fft.irfft(_complex("irfft", x), fft_length)


@op.own(keras="RFFT")
def rfft(x: Tensor, fft_length: int | None = None) -> tuple[Tensor, Tensor]:
    """Transform the last axis of real numbers, cut or filled with zeros to a length."""
    return _parts(torch.fft.rfft(x, fft_length))


_WINDOWS = {"hann": torch.hann_window, "hamming": torch.hamming_window, None: torch.ones}


def _window(window: Any, length: int, stride: int, like: Tensor) -> Tensor:
    """Return a window by name, or one that was given."""
    made = window
    if window is None or isinstance(window, str) and window in _WINDOWS:
        made = _WINDOWS[window](length, dtype=like.dtype, device=like.device)
    if not isinstance(stride, int) or stride < 1 or np.shape(made) != (length,):
        raise ValueError(
            "ops.stft and istft: sequence_stride must be a positive integer, window 'hann', "
            f"'hamming', None or of shape ({length},); received {stride!r} and {window!r}."
        )
    return to_tensor(made, like.dtype, like.device)


@op.own(keras="STFT")
def stft(
    x: Tensor,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> tuple[Tensor, Tensor]:
    """Transform overlapping sequences of the last axis.

    Args:
        x: of shape ``(…, samples)``.
        sequence_length: of a sequence.
        sequence_stride: from one to the next.
        fft_length: to which sequences are filled with zeros.
        window: what they are multiplied by: ``'hann'``, ``'hamming'``, an array, or ``None``.
        center: whether the n-th has sample ``n * sequence_stride`` in its middle, ``x`` being
            mirrored at its ends.

    Returns:
        Two tensors of shape ``(…, sequences, fft_length // 2 + 1)``.

    Raises:
        TypeError: for other dtypes than float32 and float64.
        ValueError: for lengths or a window that do not fit.
    """
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"ops.stft: x must be float32 or float64; received {x.dtype}.")
    window = _window(window, sequence_length, sequence_stride, x)
    flat, args = x.reshape(-1, x.shape[-1]), (fft_length, sequence_stride, sequence_length, window)
    found = torch.stft(flat, *args, center=center, return_complex=True)
    return _parts(found.mT.reshape(*x.shape[:-1], -1, fft_length // 2 + 1))


@op.own(keras="ISTFT", tensors=[], inputs="x")
def istft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> Tensor:
    """Put the signal together again whose sequences were transformed by :func:`stft`.

    Args:
        x: real and imaginary parts, of shape ``(…, sequences, fft_length // 2 + 1)``.
        sequence_length: as of :func:`stft`.
        sequence_stride: likewise.
        fft_length: likewise.
        length: how many samples are returned; all unless given.
        window: as of :func:`stft`.
        center: likewise.

    Returns:
        Samples, of shape ``(…, samples)``.
    """
    spectrum = _complex("istft", x)
    *shape, count, bins = spectrum.shape
    weights = _window(window, sequence_length, sequence_stride, spectrum.real)
    if sequence_length == fft_length and center and window is not None:
        flat = spectrum.reshape(-1, count, bins).mT
        args = (fft_length, sequence_stride, sequence_length, weights)
        return torch.istft(flat, *args, length=length).reshape(*shape, -1)
    sequences = torch.fft.irfft(spectrum, fft_length)
    if window is not None:
        # Each sample is divided by the squares of all windows that lie over it, as TensorFlow's
        # inverse_stft_window_fn does.
        before = (fft_length - sequence_length) // 2
        weights = functional.pad(weights, (before, fft_length - sequence_length - before))
        squares = functional.pad(weights**2, (0, -fft_length % sequence_stride))
        squares = squares.reshape(-1, sequence_stride).sum(0).repeat(fft_length)[:fft_length]
        sequences = sequences * (weights / squares)
    flat = sequences.reshape(-1, count, fft_length).mT
    size = (1, (count - 1) * sequence_stride + fft_length)
    signal = functional.fold(flat, size, (1, fft_length), stride=(1, sequence_stride))
    start = fft_length // 2 if center else 0
    stop = size[1] - start if length is None else start + length
    return signal.reshape(*shape, -1)[..., start:stop]
