"""Tensors become batches of (x, y, sample_weight) on the device."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import numbers
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from torchkeras import config, dtypes
from torchkeras.training.arguments import count, count_if_given
from torchkeras.training.layout import SINGLE, Samples
from torchkeras.warn import warn_user

# Batches of up to so many bytes are quicker as views of a shuffled copy than picked one by one;
# from twice that on the pages of the copy cost what it saves.
_COPIED = 2**14
# Copies of up to so many bytes are made without asking how much memory is free.
_UNASKED = 2**21
# Uses of the memory of a tensor that nobody else holds: its own and the Python object of it.
_OWN_USES = 2

_Item = TypeVar("_Item")


# One step's data: inputs, targets and sample weights, one behind the other; ``None`` where absent.
Batch = Sequence[torch.Tensor | None]


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


def with_class_weights(samples: Samples, weights: Any, names: Sequence[str] | None) -> Samples:
    """Return samples weighted by their classes.

    Args:
        samples: to be weighted.
        weights: class -> weight; for several outputs, as Keras 1 and 2 took them, a list of such
            dictionaries or a dictionary of them by the outputs' names; ``None`` for no weights.
        names: of the outputs, where they have names.

    Raises:
        ValueError: when the weights do not fit the outputs.
    """
    count = len(samples.y)
    each: Sequence[Any] = [weights]
    if isinstance(weights, (list, tuple)) and count > 1:
        each = weights
    elif isinstance(weights, Mapping) and names is not None and count > 1:
        if strange := [name for name in weights if name not in names]:
            raise ValueError(
                f"class_weight: the model has {count} outputs, {names}, and takes a dictionary of "
                f"class -> weight for each, by its name; received the names {strange}."
            )
        each = [weights.get(name) for name in names]
    if len(each) != count:
        raise ValueError(
            f"class_weight: the model has {count} outputs and takes a list of {count} dictionaries "
            f"of class -> weight; received {weights!r}."
        )
    pairs = zip(samples.y, each)
    by_class = [None if y is None or one is None else class_weights(y, one) for y, one in pairs]
    return dataclasses.replace(samples, weight=by_class)


def one_kind_of_weights(sample_weight: Any, class_weight: Any) -> None:
    """Refuse weights by sample beside weights by class.

    Raises:
        ValueError: when both are given.
    """
    if class_weight is not None and sample_weight is not None:
        raise ValueError("class_weight and sample_weight exclude each other; give one.")


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


class Batches:
    """Tensors cut into batches, an epoch at a time.

    Args:
        x: inputs, a tensor or a list of them.
        y: targets, if any, likewise.
        weight: sample weights, if any, likewise.
        batch_size: samples a batch; 32 unless given.
        shuffle: a new order each epoch; ``'batch'`` shuffles the order of whole batches.
        steps: batches an epoch; all unless given.
        device: where the batches are wanted.

    Raises:
        ValueError: for a batch size or number of steps that is no positive integer.
    """

    def __init__(
        self,
        x: torch.Tensor | Sequence[torch.Tensor],
        y: torch.Tensor | Sequence[torch.Tensor] | None = None,
        weight: torch.Tensor | Sequence[torch.Tensor | None] | None = None,
        batch_size: int | None = None,
        shuffle: bool | str = False,
        steps: int | None = None,
        device: torch.device | str = "cpu",
    ):
        if shuffle not in (True, False, "batch"):
            raise ValueError(f"shuffle must be True, False or 'batch'; received {shuffle!r}.")
        self.batch_size = count("batch_size", 32 if batch_size is None else batch_size)
        self.steps = count_if_given("steps", steps)
        self.shuffle = shuffle
        self.device = torch.device(device)
        parts = [one for p in (x, y, weight) for one in (p if isinstance(p, list) else [p])]
        away = [part.nbytes for part in parts if part is not None and _is_away(part, self.device)]
        # What does not fit waits on the host.
        place = self.device if _fits(sum(away), self.device) else torch.device("cpu")
        self.layout = SINGLE
        self.parts = [p if p is None else p.to(place) for p in parts]
        self.x = self.parts[0]
        self.samples = len(self.x)
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
        # In C throughout: 0.15 µs a batch beside the views.
        batches = zip(*(self._cut(part, order) for part in self.parts))
        if not _is_away(self.x, self.device):
            return batches
        if self.device.type == "cuda":
            return _copied_ahead(batches, self.device)
        return (tuple(None if p is None else p.to(self.device) for p in b) for b in batches)

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
        if _is_away(part, self.device) and torch.cuda.is_available():
            return map(functools.partial(_pinned, part), order.split(self.batch_size))
        return map(_Picker(part, self.batch_size), order.split(self.batch_size))

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


class _Picker:
    """Picks rows of a tensor, into the same memory as long as nobody else holds it.

    The outputs of steps are kept for a while and lie between the batches. glibc, which looks for
    more than an aligned block's size, would use none of the gaps between them for a batch again.

    Args:
        part: the tensor.
        most: rows at a time, at most.
    """

    def __init__(self, part: torch.Tensor, most: int):
        self._part = part
        self._shape = (min(most, len(part)), *part.shape[1:])
        # A loop holds the last batch while it asks for the next, so two take turns.
        self._memories = [self._new(), self._new()]

    def _new(self) -> torch.Tensor:
        return torch.empty(self._shape, dtype=self._part.dtype, device=self._part.device)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the rows, as a tensor of their own."""
        memory = self._memories.pop(0)
        # The tensor and its Python object; whoever holds a view of it adds to them.
        if torch._C._storage_Use_Count(memory.untyped_storage()._cdata) > _OWN_USES:
            memory = self._new()
        self._memories.append(memory)
        return torch.index_select(self._part, 0, rows, out=memory[: len(rows)])


def _pinned(part: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return rows of a tensor in pinned memory, so that a GPU can copy them itself."""
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
            sent = tuple(None if p is None else p.to(device, non_blocking=True) for p in pinned)
            return sent, stream.record_event()

    for batch, arrived in _one_ahead(map(send, batches)):
        using = torch.cuda.current_stream(device)
        using.wait_event(arrived)
        for part in batch:
            if part is not None:  # its memory must outlive the work that is queued on it
                part.record_stream(using)
        yield batch
