"""Functions that make tensors: filled ones, ranges, windows; and of another one's shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras import config, dtypes
from torchkeras.ops.promotion import cast, common_dtype
from torchkeras.ops.table import Operand, Table
from torchkeras.ops.tensors import to_tensor

op = Table("numpy", __name__)
__all__ = op.names

Shape = int | Sequence[int]


def _shape(shape: Shape) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def _filled(name: str, function: Callable, sentence: str) -> None:
    def fill(shape: Shape, dtype: Any = None) -> Tensor:
        return function(_shape(shape), dtype=dtypes.to_torch(dtype), device=config.device())

    fill.__name__, fill.__doc__ = name, sentence
    op.plain(fill)


_filled("empty", torch.empty, "Make a tensor of any numbers, of ``floatx`` unless given.")
_filled("ones", torch.ones, "Make a tensor of ones, of ``floatx`` unless given.")
_filled("zeros", torch.zeros, "Make a tensor of zeros, of ``floatx`` unless given.")


def _like(name: str, function: Callable, sentence: str) -> None:
    def like(x: Tensor, dtype: Any = None) -> Tensor:
        return function(x, dtype=None if dtype is None else dtypes.to_torch(dtype))

    like.__name__, like.__doc__ = name, sentence
    op.own(like)


_like("empty_like", torch.empty_like, "Make a tensor of another's shape, of any numbers.")
_like("ones_like", torch.ones_like, "Make a tensor of another's shape, of ones.")
_like("zeros_like", torch.zeros_like, "Make a tensor of another's shape, of zeros.")


@op.own
def full(shape: Shape, fill_value: Operand, dtype: Any = None) -> Tensor:
    """Make a tensor of one number, or of an array repeated along further axes in front."""
    wanted = dtypes.to_torch(dtype)
    if not isinstance(fill_value, Tensor):
        return torch.full(_shape(shape), fill_value, dtype=wanted, device=config.device())
    return torch.broadcast_to(fill_value.to(wanted), _shape(shape)).clone()


@op.own
def full_like(x: Tensor, fill_value: Operand, dtype: Any = None) -> Tensor:
    """Make a tensor of another's shape, of one number."""
    wanted = x.dtype if dtype is None else dtypes.to_torch(dtype)
    return torch.broadcast_to(cast(fill_value, wanted, x), x.shape).clone()


@op.own
def array(x: Tensor, dtype: Any = None) -> Tensor:
    """Turn a number, list, array or tensor into a tensor."""
    return x if dtype is None else x.to(dtypes.to_torch(dtype))


@op.own
def view(x: Tensor, dtype: Any = None) -> Tensor:
    """Read the same bytes as another dtype, ``floatx`` unless given."""
    return x.view(dtypes.to_torch(dtype))


def _size(name: str, argument: str, size: Any) -> int:
    if isinstance(size, float) or getattr(size, "is_floating_point", lambda: False)():
        raise TypeError(f"ops.{name}: {argument} must be an integer; received {size!r}.")
    return int(size)


@op.plain
def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """Make a matrix with ones on a diagonal, of shape ``(N, M)``."""
    rows = _size("eye", "N", N)
    columns = rows if M is None else _size("eye", "M", M)
    made = torch.zeros(rows, columns, dtype=dtypes.to_torch(dtype), device=config.device())
    torch.diagonal(made, k or 0).fill_(1)
    return made


@op.plain
def identity(n: int, dtype: Any = None) -> Tensor:
    """Make an identity matrix."""
    return eye(n, dtype=dtype)


@op.plain
def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """Make a matrix with ones on and below a diagonal."""
    shape = (N, M or N)
    return torch.tril(torch.ones(shape, dtype=dtypes.to_torch(dtype), device=config.device()), k)


# ------------------------------------------------------------------------------------- ranges


@op.own(tensors=[], inputs="start stop step")
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Tensor:
    """Make the numbers from one to before another; of one argument, from 0 to before it."""
    kinds = [getattr(one, "dtype", type(one)) for one in (start, stop, step) if one is not None]
    wanted = common_dtype(*kinds) if dtype is None else dtypes.to_torch(dtype)
    start, stop = (0, start) if stop is None else (start, stop)
    step = 1 if step is None else step
    return torch.arange(start, stop, step, dtype=wanted, device=config.device())


def _spaced(start: Any, stop: Any, num: int, endpoint: bool, dtype: Any, axis: int) -> Tensor:
    """Return numbers of equal distance, computed in at least single precision."""
    start, stop = to_tensor(start), to_tensor(stop)
    dtype = torch.promote_types(dtype, torch.float32)
    start, stop = torch.broadcast_tensors(start.to(dtype), stop.to(dtype))
    parts = num - 1 if endpoint else num
    at = torch.arange(num, dtype=dtype, device=start.device) / max(parts, 1)
    at = at.reshape(-1, *[1] * start.ndim)
    # From both ends, so that the last one is exact.
    found = torch.where(at < 0.5, start + at * (stop - start), stop - (1 - at) * (stop - start))
    return torch.movedim(found, 0, axis)


def _of_range(start: Any, stop: Any, dtype: Any) -> torch.dtype:
    ends = (x if type(x) in (int, float) else to_tensor(x) for x in (start, stop))
    return common_dtype(*ends, float) if dtype is None else dtypes.to_torch(dtype)


@op.own(tensors=[], inputs="start stop")
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Make numbers of equal distance.

    Args:
        start: the first, a number or an array.
        stop: the last.
        num: how many.
        endpoint: whether the last is one of them.
        retstep: whether the distance comes along.
        dtype: a float unless given.
        axis: of the result, along which they lie.
    """
    wanted = _of_range(start, stop, dtype)
    found = _spaced(start, stop, num, endpoint, wanted, axis).to(wanted)
    if not retstep:
        return found
    parts = num - 1 if endpoint else num
    distance = (to_tensor(stop) - to_tensor(start)) / parts if parts > 0 else to_tensor(math.nan)
    return found, distance


@op.own(tensors=[], inputs="start stop")
def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: float = 10,
    dtype: Any = None,
    axis: int = 0,
) -> Tensor:
    """Make powers of a base whose exponents are of equal distance; see :func:`linspace`."""
    wanted = _of_range(start, stop, dtype)
    return torch.pow(base, _spaced(start, stop, num, endpoint, wanted, axis)).to(wanted)


@op.own(tensors=[], inputs="start stop")
def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Tensor:
    """Make numbers each of which is the same multiple of the last; see :func:`linspace`."""
    wanted = _of_range(start, stop, dtype)
    start, stop = to_tensor(start), to_tensor(stop)
    wide = torch.promote_types(wanted, torch.float32)
    ends = (torch.log10(torch.abs(end.to(wide))) for end in (start, stop))
    found = 10 ** _spaced(*ends, num, endpoint, wanted, 0) * torch.sign(start)
    return torch.movedim(found, 0, axis).to(wanted)


# ------------------------------------------------------------------------------------ windows


def _window(name: str, function: Callable) -> None:
    def window(x: int, *beta: float) -> Tensor:
        return function(int(x), *map(float, beta), device=config.device())

    head, kind = f"{name}(x)" if name != "kaiser" else "kaiser(x, beta)", name.capitalize()
    op.rows((head, window, f"Return the {kind} window of so many elements."), tensors="", keras="")


_window("bartlett", torch.signal.windows.bartlett)
_window("blackman", torch.signal.windows.blackman)
_window("hamming", torch.signal.windows.hamming)
_window("hanning", torch.signal.windows.hann)
_window("kaiser", lambda x, beta, device: torch.signal.windows.kaiser(x, beta=beta, device=device))
