"""Anything array-like becomes batches of (x, y, sample_weight) on the device."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from torchkeras import config, dtypes

# Below this size a shuffled copy of an epoch is quicker than picking each batch's rows.
_COPIED = 2**21
# torch computes little or nothing in these.
_WIDENED = {np.dtype("uint16"): "int32", np.dtype("uint32"): "int64", np.dtype("uint64"): "int64"}


class Batch(NamedTuple):
    """One step's data; what is absent is ``None``."""

    x: torch.Tensor
    y: torch.Tensor | None
    weight: torch.Tensor | None


def as_tensor(name: str, data: Any) -> torch.Tensor:
    """Turn arrays, lists, tensors or pandas frames into a tensor; floats become ``floatx``.

    Args:
        name: ``'x'``, ``'y'``, …, for the error.
        data: at least one axis, samples first.

    Raises:
        ValueError: for text, ragged or other data that is no array of numbers, and for no data.
        TypeError: for what is not data at all.
    """
    if isinstance(data, torch.Tensor):
        tensor = data.detach()
    else:
        tensor = torch.as_tensor(_as_array(name, data))
    if tensor.dim() == 0:
        raise ValueError(
            f"{name} must have an axis of samples; received the single value {data!r}."
        )
    if len(tensor) == 0:
        raise ValueError(f"{name} is empty: it has shape {tuple(tensor.shape)}. Pass some samples.")
    if tensor.dtype.is_floating_point:
        tensor = tensor.to(dtypes.to_torch(config.floatx()))
    return tensor


def _as_array(name: str, data: Any) -> np.ndarray:
    if isinstance(data, (str, bytes)) or (
        not isinstance(data, (np.ndarray, list, tuple))
        and not hasattr(data, "to_numpy")
        and not hasattr(data, "__array__")
    ):
        raise TypeError(
            f"{name} must be an array, a list, a tensor or a pandas frame; received "
            f"{type(data).__name__}. (Generators, data sets and dictionaries: not supported yet.)"
        )
    if isinstance(data, (list, tuple)) and len(data) == 1 and np.ndim(data[0]) > 1:
        data = data[0]  # Keras' list of one input.
    try:
        array = data.to_numpy() if hasattr(data, "to_numpy") else np.asarray(data)
    except ValueError as error:
        raise ValueError(
            f"{name} is no rectangular array of numbers: {error}. Give every sample the same shape."
        ) from None
    if array.dtype.kind in "OSU":
        array = _numbers(name, array)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold numbers; received an array of {array.dtype}.")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    array = array.astype(_WIDENED.get(array.dtype, array.dtype), copy=False)
    # torch knows no negative strides and warns of arrays that must not be written to.
    return array if array.flags.writeable and min(array.strides, default=0) >= 0 else array.copy()


def _numbers(name: str, array: np.ndarray) -> np.ndarray:
    """Turn an array of Python objects into one of numbers; say where the text is."""
    if array.dtype.kind == "O" and not any(isinstance(item, str) for item in array.flat):
        try:
            return array.astype(config.floatx())
        except (TypeError, ValueError):
            pass
    for index in np.ndindex(array.shape):
        if not isinstance(array[index], (int, float, np.number, np.bool_)):
            raise ValueError(
                f"{name} must hold numbers; received {str(array[index])!r} at position "
                f"{list(index)}. Convert text to numbers first, for example by numbering the "
                "categories."
            )
    raise ValueError(f"{name} must hold numbers; received an array of {array.dtype}.")


def class_weights(y: torch.Tensor, weights: Mapping[int, float]) -> torch.Tensor:
    """Return one weight a sample, by its class; 1 for classes without one.

    Args:
        y: labels ``(n,)`` or ``(n, 1)``, or one-hot rows ``(n, classes)``.
        weights: class -> weight.

    Raises:
        ValueError: when ``weights`` is no dictionary.
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
        result[labels == int(label)] = float(weight)
    return result


def split(tensor: torch.Tensor | None, at: int) -> tuple[Any, Any]:
    """Cut a tensor (or ``None``) in two."""
    return (None, None) if tensor is None else (tensor[:at], tensor[at:])


def split_point(samples: int, fraction: float) -> int:
    """Return where ``validation_split`` cuts: the last ``fraction`` of the samples validates.

    Raises:
        ValueError: when the fraction is not between 0 and 1, or leaves one side empty.
    """
    if not 0 < fraction < 1:
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
        self.batch_size = _count("batch_size", 32 if batch_size is None else batch_size)
        self.steps = None if steps is None else _count("steps", steps)
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
        self._rest: Iterator[Batch] | None = None

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.steps or self.batches

    def restart(self) -> None:
        """Begin the next epoch with the first batch, also where ``steps`` ended early."""
        self._rest = None

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one epoch.

        With ``steps``, an epoch goes on where the last one stopped; when the data ends first, it
        ends too, with a warning, as in Keras.
        """
        if self.steps is None:
            yield from self._pass()
            return
        if self._rest is None:
            self._rest = self._pass()
        for _ in range(self.steps):
            batch = next(self._rest, None)
            if batch is None:
                warnings.warn(
                    f"The data ended before {self.steps} steps: {self.samples} samples make "
                    f"{self.batches} batches of {self.batch_size}.",
                    stacklevel=2,
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


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value <= 0:
        raise ValueError(f"{name} must be a positive integer; received {value!r}.")
    return int(value)


def _fits(size: int, device: torch.device) -> bool:
    """Tell whether data of a size may live on the device beside the model."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return size < free / 2
