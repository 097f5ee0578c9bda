"""Flat memory: while steps run, parameters, gradients and state of a small model lie in one buffer
each, so that a rule is called on lists of one tensor."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.autograd.graph import increment_version

from torchkeras.optimizers.groups import CONTIGUOUS, Group, layout_of
from torchkeras.optimizers.stateful import Stateful

# Each tensor begins at a multiple of so many numbers: a cache line of float32.
_PADDING = 16
# The numbers of larger models cost more to copy in and out than the calls that they would save.
_MOST_NUMBERS = 2**20
_DTYPES = (torch.float32, torch.float64)
_DEVICES = ("cpu", "cuda")
_CLASSES = (torch.Tensor, torch.nn.Parameter)
# Where the rules are defined that treat each number by itself. A rule that looks at a whole
# parameter, such as at its norm, would take the flat buffer for one; so may a user's.
_ELEMENTWISE = frozenset(
    f"torchkeras.optimizers.{name}"
    for name in (
        *("adadelta", "adagrad", "adam", "adamax", "ftrl", "lion", "nadam", "rmsprop"),
        *("schedule_free_adamw", "sgd"),
    )
)


@dataclass
class FlatGroup(Group):
    """Parameters of one device, dtype and weight decay as a single flat parameter.

    Attributes:
        indices: the places of the parameters that it is made of.
        parameters: the flat parameter alone; ``slots`` and ``decays`` are such lists too.
        flat_gradient: where the gradients are brought together.
        gradient_views: the part of it that belongs to each parameter, shaped like that.
    """

    flat_gradient: torch.Tensor
    gradient_views: list[torch.Tensor]

    def gradients(self, gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Pick the group's gradients; :meth:`gather` lays them out."""
        return [gradients[index] for index in self.indices]

    def gather(self, gradients: list[torch.Tensor]) -> list[torch.Tensor]:
        """Copy the gradients into the flat one and return that, as a list."""
        torch._foreach_copy_(self.gradient_views, gradients)
        return [self.flat_gradient]


class FlatState:
    """The flat buffers of an optimizer, and the tensors that move into them and back.

    A tensor keeps its identity: its ``data`` is the buffer's while :attr:`active`, and the memory
    that it had before otherwise.

    Args:
        groups: the optimizer's; their numbers are not touched before :meth:`enter`.

    Attributes:
        active: whether the tensors are in the buffers.
        groups: what an update works on while they are: flat groups, then those that stay lists.
    """

    def __init__(self, groups: list[Group]):
        self.active = False
        self._parts, rest = _split(groups)
        self._flat_groups: list[FlatGroup] = []
        self._parameters: list[torch.Tensor] = []
        slots: list[torch.Tensor] = []
        slot_views: list[torch.Tensor] = []
        self._views: list[torch.Tensor] = []
        for part in self._parts:
            parameter, views = _buffer(part.parameters)
            gradient, gradient_views = _buffer(part.parameters)
            self._parameters += part.parameters
            self._views += views
            flat_slots = {}
            for name, tensors in part.slots.items():
                flat_slot, views = _buffer(tensors)
                flat_slots[name] = [flat_slot]
                slots += tensors
                slot_views += views
            self._flat_groups.append(
                FlatGroup(
                    part.device,
                    part.dtype,
                    part.layout,
                    part.indices,
                    [parameter],
                    flat_slots,
                    part.decays[:1],
                    gradient,
                    gradient_views,
                )
            )
        self._tensors = self._parameters + slots
        self._views += slot_views
        self._places = _places(self._views)
        self._parameter_places = self._places[: len(self._parameters)]
        self._layouts = _layouts(self._parameters)
        self._adopt(groups, rest)

    def _adopt(self, groups: list[Group], rest: list[Group]) -> None:
        """Remember the memory that the tensors have outside of the buffers."""
        self.groups = [*self._flat_groups, *rest]
        self._source = groups
        # While these live, no other memory can have their addresses.
        self._own = [tensor.data for tensor in self._tensors]
        # Parameters that stay lists, too: one may come to share memory with one that does not.
        every = [parameter for group in groups for parameter in group.parameters]
        self._every = every if self._parts else []
        self._watched = self._every + self._tensors[len(self._parameters) :]
        self._watched_layouts = _layouts(self._every)
        self._watched_places = _places(self._watched)

    def is_as_left(self, groups: list[Group]) -> bool:
        """Tell whether parameters and state are the memory they were when it was last looked at.

        Args:
            groups: the optimizer's.
        """
        return (
            groups is self._source
            and _places(self._watched) == self._watched_places
            and _layouts(self._every) == self._watched_layouts
        )

    def renew(self, groups: list[Group]) -> bool:
        """Take memory that is new, if the buffers suit these groups.

        Args:
            groups: the optimizer's.

        Returns:
            Whether they do: whether the same tensors, of the same shapes, go into them.
        """
        parts, rest = _split(groups)
        suits = len(parts) == len(self._parts) and all(map(_same_part, parts, self._parts))
        if suits and _layouts(self._parameters) == self._layouts:
            self._adopt(groups, rest)
            return True
        return False

    def enter(self) -> None:
        """Move the tensors into the buffers."""
        if self.active or not self._tensors:
            return
        torch._foreach_copy_(self._views, self._own)
        self.active = True
        for tensor, view in zip(self._tensors, self._views):
            tensor.data = view

    def leave(self) -> None:
        """Move them back; what has been given other memory meanwhile keeps that."""
        if not self.active:
            return
        tensors, own, views = self._tensors, self._own, self._views
        if _places(tensors) != self._places:
            rows = zip(tensors, own, views, self._places)
            kept = [row[:3] for row in rows if row[0].data_ptr() == row[3]]
            tensors, own, views = zip(*kept) if kept else ((), (), ())
        if tensors:
            torch._foreach_copy_(own, views)
        for tensor, memory in zip(tensors, own):
            tensor.data = memory
        self.active = False
        self.mark_written()

    def is_displaced(self) -> bool:
        """Tell whether a parameter has been given other memory while :attr:`active`."""
        if not self.active:
            return False
        # A recorder takes a question for an address for a reading of values: it is not asked.
        with torch._C.DisableTorchFunction():
            return _places(self._parameters) != self._parameter_places

    def mark_written(self) -> None:
        """Let autograd know that the parameters changed, as it does of a change in place."""
        increment_version(self._parameters)

    def tensors(self) -> list[torch.Tensor]:
        """Return the buffers and the gradients' parts of theirs."""
        found = []
        for group in self._flat_groups:
            found += [*group.parameters, group.flat_gradient, *group.gradient_views]
            found += [tensor for (tensor,) in group.slots.values()]
        return found


class Flattening(Stateful):
    """An optimizer that can work on flat memory: see :meth:`enter_flat`."""

    _flat: FlatState | None = None

    @contextlib.contextmanager
    def flat(self) -> Iterator[None]:
        """Work on flat memory inside of this context: :meth:`enter_flat` and :meth:`leave_flat`.

        A context inside of another changes nothing.
        """
        if self._is_flat:
            yield
            return
        try:
            self.enter_flat()
            yield
        finally:
            self.leave_flat()

    def enter_flat(self) -> None:
        """Work on flat memory from now on, where that is possible; all numbers stay the same.

        Parameters and state of a small model move into buffers that the optimizer makes once: they
        lie at the same addresses each time. Half precision, memory shared with others, sums of
        gradients, and rules that do not treat each number by itself stay lists; so does an update
        in which a gradient is missing. Entering twice is harmless.
        """
        if self._is_flat and not self._flat.is_displaced():
            return
        self.leave_flat()
        if type(self)._rule.__module__ not in _ELEMENTWISE or self.gradient_accumulation_steps:
            return
        if self._flat is None or not self._flat.is_as_left(self._groups):
            if any(map(_has_changed, self._groups)):
                self.build(self._model_variables)
            if self._flat is None or not self._flat.renew(self._groups):
                self._flat = FlatState(self._groups)
        self._flat.enter()
        self._working = self._flat.groups

    def leave_flat(self) -> None:
        """Bring parameters and state back into the memory that they had; twice is harmless.

        Everything is then as if there were no buffers: an alias of a parameter made before is
        current again. One made inside is so inside only.
        """
        if self._flat is not None:
            self._flat.leave()
        self._working = self._groups

    @property
    def _is_flat(self) -> bool:
        return self._flat is not None and self._flat.active

    def _regroup(self, groups: Iterable[Group]) -> None:
        """Take other groups, outside of flat memory; buffers that suit them stay."""
        self._groups = self._working = list(groups)
        if self._flat is not None and not self._flat.renew(self._groups):
            self._flat = None

    def tensors(self) -> list[torch.Tensor]:
        """Return every tensor that an update uses besides parameters and gradients."""
        return super().tensors() + (self._flat.tensors() if self._is_flat else [])

    def __getstate__(self) -> dict:
        # Buffers are made again where they are needed.
        state = super().__getstate__()
        return {**state, "_flat": None, "_working": state["_groups"]}


def _split(groups: list[Group]) -> tuple[list[Group], list[Group]]:
    """Return the groups' parts that can be flat, each of one weight decay, and what stays lists."""
    parts, rest = [], []
    users = Counter(
        _storage(parameter)._cdata
        for group in groups
        for parameter in group.parameters
        if _is_plain(parameter)
    )
    for group in groups:
        suits = group.layout == CONTIGUOUS and group.dtype in _DTYPES
        rows = list(zip(group.indices, group.parameters, group.decays))
        movable = {
            index: decays
            for index, parameter, decays in rows
            if suits and _is_plain(parameter) and _is_alone(parameter, users)
        }
        for flag in (True, False):
            others = {index for index in group.indices if movable.get(index) is not flag}
            if len(others) < len(rows):
                parts.append(group.without(others))
        if len(movable) < len(rows):
            rest.append(group.without(set(movable)))
    parameters = [parameter for part in parts for parameter in part.parameters]
    numbers = sum(parameter.numel() for parameter in parameters)
    if len(parameters) < 2 or not 0 < numbers <= _MOST_NUMBERS:
        return [], groups
    return parts, rest


def _is_plain(parameter: torch.Tensor) -> bool:
    return type(parameter) in _CLASSES and parameter.device.type in _DEVICES


def _is_alone(parameter: torch.Tensor, users: Counter[int]) -> bool:
    """Tell whether a parameter has its memory for itself.

    One that is a piece of something larger, or whose memory another parameter has too, must stay
    where it is: a change must be seen there.
    """
    storage = _storage(parameter)
    whole = storage.nbytes() == parameter.numel() * parameter.element_size()
    return whole and users[storage._cdata] == 1


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()


def _same_part(one: Group, other: Group) -> bool:
    """Tell whether two groups are the same tensors at the same places."""
    settings = ("device", "dtype", "indices", "decays")
    if any(getattr(one, name) != getattr(other, name) for name in settings):
        return False
    if one.slots.keys() != other.slots.keys():
        return False
    pairs = [(one.parameters, other.parameters)]
    pairs += [(tensors, other.slots[name]) for name, tensors in one.slots.items()]
    return all(left is right for lists in pairs for left, right in zip(*lists))


def _has_changed(group: Group) -> bool:
    """Tell whether a parameter no longer is what the group says, or as large as its state."""
    for place, parameter in enumerate(group.parameters):
        if parameter.dtype is not group.dtype or parameter.device != group.device:
            return True
        if layout_of(parameter) != group.layout:
            return True
        if any(slots[place].shape != parameter.shape for slots in group.slots.values()):
            return True
    return False


def _buffer(tensors: list[torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Make a flat buffer of zeros for contiguous tensors, and views of it shaped like them."""
    lengths = [math.ceil(tensor.numel() / _PADDING) * _PADDING for tensor in tensors]
    first = tensors[0]
    flat = torch.zeros(sum(lengths), dtype=first.dtype, device=first.device)
    views, start = [], 0
    for tensor, length in zip(tensors, lengths):
        views.append(flat.as_strided(tensor.shape, tensor.stride(), start))
        start += length
    return flat, views


def _places(tensors: list[torch.Tensor]) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def _layouts(tensors: list[torch.Tensor]) -> list[tuple]:
    return [(tensor.shape, tensor.stride()) for tensor in tensors]
