"""Tensors become batches of (x, y, sample_weight) on the device."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from torchkeras import config, dtypes
from torchkeras.training import arrays
from torchkeras.training.arguments import count, count_if_given
from torchkeras.training.arrays import as_tensor
from torchkeras.warn import warn_user

# Below this size a shuffled copy of an epoch is quicker than picking each batch's rows.
_COPIED = 2**21


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
        size = sum(part.nbytes for part in parts if part is not None)
        if _fits(size, self.device):
            parts = [part if part is None else part.to(self.device) for part in parts]
        self.x, self.y, self.weight = parts
        self._small = size <= _COPIED
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
        if self.steps is None:
            yield from self._pass()
            return
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
        """Yield every batch once."""
        parts = [self.x, self.y, self.weight]
        order = self._order()
        if order is None or self._small:
            pieces = [
                [None] * self.batches
                if part is None
                else (part if order is None else part.index_select(0, order.to(part.device))).split(
                    self.batch_size
                )
                for part in parts
            ]
            for x, y, weight in zip(*pieces, strict=True):
                yield self._on_device(x, y, weight)
            return
        for rows in order.to(self.x.device).split(self.batch_size):
            picked = (None if part is None else part.index_select(0, rows) for part in parts)
            yield self._on_device(*picked)

    def _order(self) -> torch.Tensor | None:
        if self.shuffle == "batch":
            groups = torch.arange(self.samples).split(self.batch_size)
            # The short batch stays last, so that every other keeps its size.
            whole = self.samples // self.batch_size
            order = [groups[i] for i in torch.randperm(whole)] + list(groups[whole:])
            return torch.cat(order)
        return torch.randperm(self.samples) if self.shuffle else None

    def _on_device(self, x: torch.Tensor, y: Any, weight: Any) -> Batch:
        if x.device == self.device:
            return Batch(x, y, weight)
        move = (None if p is None else p.to(self.device, non_blocking=True) for p in (x, y, weight))
        return Batch(*move)


def _fits(size: int, device: torch.device) -> bool:
    """Tell whether data of a size may live on the device beside the model."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return size < free / 2
