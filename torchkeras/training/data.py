"""Tensors become batches of (x, y, sample_weight) on the device."""

from __future__ import annotations

import functools
import itertools
import math
import numbers
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from torchkeras import config, dtypes
from torchkeras.training import arrays
from torchkeras.training.arguments import count, count_if_given
from torchkeras.training.arrays import as_tensor
from torchkeras.warn import warn_user

# Batches of up to so many bytes are quicker as views of a shuffled copy than picked one by one;
# from twice that on the pages of the copy cost what it saves.
_COPIED = 2**14
# Copies of up to so many bytes are made without asking how much memory is free.
_UNASKED = 2**21

_Item = TypeVar("_Item")


class Batch(NamedTuple):
    """One step's data; what is absent is ``None``."""

    x: torch.Tensor
    y: torch.Tensor | None
    weight: torch.Tensor | None


def training_data(
    x: Any, y: Any, sample_weight: Any = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Turn what ``fit`` and ``evaluate`` are given into tensors of equal length.

    Args:
        x: inputs ``(samples, …)``, also in Keras' list of one input.
        y: targets, likewise.
        sample_weight: one weight a sample, or ``None``.

    Raises:
        ValueError: when x or y is missing, holds no numbers, or the lengths differ.
        TypeError: for what is no array.
    """
    if x is not None and y is None:
        arrays.check_kind("x", x)
    if x is None or y is None:
        pair = " Write fit(x, y), not fit((x, y))." if isinstance(x, tuple) else ""
        raise ValueError(
            "Training and evaluation need inputs x and targets y; received "
            f"x={'None' if x is None else type(x).__name__}, "
            f"y={'None' if y is None else type(y).__name__}.{pair}"
        )
    x, y = arrays.only_parts(x, y)
    x, y, weight = as_tensor("x", x), as_tensor("y", y), None
    if sample_weight is not None:
        weight = as_tensor("sample_weight", arrays.only_part(sample_weight, len(x))).float()
    check_lengths(x=x, y=y, sample_weight=weight)
    return x, y, weight


def class_weights(y: torch.Tensor, weights: Mapping[int, float]) -> torch.Tensor:
    """Return one weight a sample, by its class; 1 for classes without one.

    Args:
        y: labels ``(n,)`` or ``(n, 1)``, or one-hot rows ``(n, classes)``.
        weights: class -> weight.

    Raises:
        ValueError: when ``weights`` is no dictionary from class numbers to numbers.
    """
    if not isinstance(weights, Mapping):
        raise ValueError(
            f"class_weight must be a dictionary from class to weight; received {weights!r}."
        )
    if y.dim() > 1:
        y = y.argmax(-1) if y.shape[-1] != 1 else y.squeeze(-1)
    labels = y.round().long() if y.dtype.is_floating_point else y.long()
    result = torch.ones(labels.shape, dtype=dtypes.to_torch(config.floatx()), device=labels.device)
    for label, weight in weights.items():
        is_class = isinstance(label, (numbers.Real, np.bool_)) and float(label).is_integer()
        if not is_class:
            raise ValueError(f"class_weight: classes are whole numbers; received {label!r}.")
        if not isinstance(weight, numbers.Real):
            raise ValueError(
                f"class_weight: the weight of class {label} must be a number; received {weight!r}."
            )
        result[labels == int(label)] = float(weight)
    return result


def one_kind_of_weights(sample_weight: Any, class_weight: Any) -> None:
    """Refuse weights by sample beside weights by class.

    Raises:
        ValueError: when both are given.
    """
    if class_weight is not None and sample_weight is not None:
        raise ValueError("class_weight and sample_weight exclude each other; give one.")


def split(tensor: torch.Tensor | None, at: int) -> tuple[Any, Any]:
    """Cut a tensor (or ``None``) in two."""
    return (None, None) if tensor is None else (tensor[:at], tensor[at:])


def split_point(samples: int, fraction: float) -> int:
    """Return where ``validation_split`` cuts: the last ``fraction`` of the samples validates.

    Raises:
        ValueError: when the fraction is not between 0 and 1, or leaves one side empty.
    """
    if not isinstance(fraction, numbers.Real) or not 0 < fraction < 1:
        raise ValueError(f"validation_split must be between 0 and 1; received {fraction!r}.")
    at = math.floor(samples * (1 - fraction))
    if at in (0, samples):
        raise ValueError(
            f"validation_split={fraction} of {samples} samples leaves {at} to train and "
            f"{samples - at} to validate. Use another fraction or pass validation_data."
        )
    return at


def check_lengths(**parts: torch.Tensor | None) -> None:
    """Compare the numbers of samples.

    Raises:
        ValueError: when they differ, with each.
    """
    lengths = {name: len(part) for name, part in parts.items() if part is not None}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"The numbers of samples differ: {shown}. Give each sample its own row.")


class Batches:
    """Tensors cut into batches, an epoch at a time.

    Args:
        x: inputs.
        y: targets, if any.
        weight: sample weights, if any.
        batch_size: samples a batch; 32 unless given.
        shuffle: a new order each epoch; ``'batch'`` shuffles the order of whole batches.
        steps: batches an epoch; all unless given.
        device: where the batches are wanted.

    Raises:
        ValueError: for a batch size or number of steps that is no positive integer.
    """

    def __init__(
        self,
        x: torch.Tensor,
        y: torch.Tensor | None = None,
        weight: torch.Tensor | None = None,
        batch_size: int | None = None,
        shuffle: bool | str = False,
        steps: int | None = None,
        device: torch.device | str = "cpu",
    ):
        check_lengths(x=x, y=y, sample_weight=weight)
        if shuffle not in (True, False, "batch"):
            raise ValueError(f"shuffle must be True, False or 'batch'; received {shuffle!r}.")
        self.batch_size = count("batch_size", 32 if batch_size is None else batch_size)
        self.steps = count_if_given("steps", steps)
        self.shuffle = shuffle
        self.device = torch.device(device)
        parts = [x, y, weight]
        away = [part.nbytes for part in parts if part is not None and _is_away(part, self.device)]
        # What does not fit waits on the host.
        place = self.device if _fits(sum(away), self.device) else torch.device("cpu")
        self.x, self.y, self.weight = (p if p is None else p.to(place) for p in parts)
        self.samples = len(x)
        self.batches = -(-self.samples // self.batch_size)
        # With `steps`: what the last epoch left, and how many batches were taken before.
        self._rest: Iterator[Batch] | None = None
        self._taken = 0

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.steps or self.batches

    def restart(self) -> None:
        """Begin the next epoch with the first batch, also where ``steps`` ended early."""
        self._rest = None

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one epoch.

        With ``steps``, an epoch goes on where the last one stopped, and begins anew where that one
        took the last batch; when the data ends within it, it ends too, with a warning, as in Keras.
        """
        return self._pass() if self.steps is None else self._some()

    def _some(self) -> Iterator[Batch]:
        """Yield as many batches as ``steps`` says."""
        if self._rest is None or self._taken == self.batches:
            self._rest, self._taken = self._pass(), 0
        for _ in range(self.steps):
            batch = next(self._rest, None)
            self._taken += 1
            if batch is None:
                warn_user(
                    f"The data ended before {self.steps} steps: {self.samples} samples make "
                    f"{self.batches} batches of {self.batch_size}."
                )
                self._rest = None
                return
            yield batch

    def _pass(self) -> Iterator[Batch]:
        """Return an iterator over every batch."""
        order = self._order()
        parts = (self.x, self.y, self.weight)
        # In C throughout, and a named tuple without its __new__: 0.15 µs a batch beside the views.
        rows = zip(*(self._cut(part, order) for part in parts))
        batches = map(tuple.__new__, itertools.repeat(Batch), rows)
        if not _is_away(self.x, self.device):
            return batches
        if self.device.type == "cuda":
            return _copied_ahead(batches, self.device)
        return (Batch(*(None if p is None else p.to(self.device) for p in b)) for b in batches)

    def _cut(self, part: torch.Tensor | None, order: torch.Tensor | None) -> Iterable[Any]:
        """Return the batches' rows of one part, in an order.

        Beside the data itself that takes the memory of a batch; where batches are so small that
        picking rows takes longer than using them, and memory is plenty, that of a shuffled copy.
        """
        if part is None:
            return itertools.repeat(None, self.batches)
        if order is None:
            return part.split(self.batch_size)
        order = order.to(part.device)
        batch_bytes = part.nbytes // self.batches
        # On a GPU each pick is a kernel to launch, whatever its size.
        if (part.is_cuda or batch_bytes <= _COPIED) and _may_be_copied(part):
            return part.index_select(0, order).split(self.batch_size)
        pick = functools.partial(_picked, part, pinned=_is_away(part, self.device))
        return map(pick, order.split(self.batch_size))

    def _order(self) -> torch.Tensor | None:
        if self.shuffle == "batch":
            groups = torch.arange(self.samples).split(self.batch_size)
            # The short batch stays last, so that every other keeps its size.
            whole = self.samples // self.batch_size
            order = [groups[i] for i in torch.randperm(whole)] + list(groups[whole:])
            return torch.cat(order)
        return torch.randperm(self.samples) if self.shuffle else None


def _is_away(part: torch.Tensor, device: torch.device) -> bool:
    """Tell whether a tensor lies elsewhere than on the device (``'cuda'`` is the current one)."""
    same_type = part.device.type == device.type
    return not same_type or device.index not in (None, part.device.index)


def _fits(size: int, device: torch.device) -> bool:
    """Tell whether data of a size may live on the device beside the model."""
    return device.type != "cuda" or size < _free(device) / 2


def _may_be_copied(part: torch.Tensor) -> bool:
    """Tell whether a copy of a tensor takes at most a quarter of the memory that is free."""
    return part.nbytes <= _UNASKED or part.nbytes <= _free(part.device) / 4


def _free(device: torch.device) -> float:
    """Return the free memory of a device in bytes; 0 where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo") as file:
            found = next(line for line in file if line.startswith("MemAvailable:"))
        return 1024 * int(found.split()[1])
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows, macOS
        return 0


def _picked(part: torch.Tensor, rows: torch.Tensor, pinned: bool) -> torch.Tensor:
    """Return rows of a tensor; pinned where a GPU takes them, so that it can copy them itself."""
    if not (pinned and torch.cuda.is_available()):
        return part.index_select(0, rows)
    out = torch.empty(len(rows), *part.shape[1:], dtype=part.dtype, pin_memory=True)
    return torch.index_select(part, 0, rows, out=out)


def _one_ahead(items: Iterable[_Item]) -> Iterator[_Item]:
    """Yield each item after the next one was made."""
    items = iter(items)
    for item in items:
        for following in items:
            yield item
            item = following
        yield item


def _copied_ahead(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield batches on a GPU; while one is used, the next is copied on a stream of its own."""
    stream = torch.cuda.Stream(device)

    def send(batch: Batch) -> tuple[Batch, torch.cuda.Event]:
        pinned = [None if part is None else part.pin_memory() for part in batch]
        with torch.cuda.stream(stream):
            sent = Batch(*(None if p is None else p.to(device, non_blocking=True) for p in pinned))
            return sent, stream.record_event()

    for batch, arrived in _one_ahead(map(send, batches)):
        using = torch.cuda.current_stream(device)
        using.wait_event(arrived)
        for part in batch:
            if part is not None:  # its memory must outlive the work that is queued on it
                part.record_stream(using)
        yield batch
