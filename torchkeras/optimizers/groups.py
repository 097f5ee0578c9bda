"""Parameters sorted into lists that one kernel takes, and the settings that schedulers change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

CONTIGUOUS, DENSE, STRIDED = "contiguous", "dense", "strided"


class Settings(dict):
    """torch's parameter group, except that a tensor in it is written in place, never replaced.

    ``group['lr'] = 0.01`` is how PyTorch code changes the rate; whoever holds the rate's tensor (a
    captured step, a scheduler) must see that.
    """

    def __setitem__(self, key: str, value: Any) -> None:
        held = self.get(key)
        if isinstance(held, torch.Tensor):
            with torch.no_grad():
                held.copy_(torch.as_tensor(value))
        else:
            super().__setitem__(key, value)

    def rebind(self, key: str, value: torch.Tensor) -> None:
        """Put another tensor in the place of the one held."""
        super().__setitem__(key, value)


@dataclass
class Group:
    """Parameters of one device, dtype and kind of memory layout, with their state.

    Attributes:
        device: where they all live.
        dtype: their common dtype.
        layout: ``'contiguous'``; ``'dense'``: another order of dimensions without gaps, such as
            channels-last; or ``'strided'``: with gaps.
        indices: their places in the list that the optimizer was built with.
        parameters: the parameters.
        slots: state name -> one tensor for each parameter.
        decays: for each parameter, whether weight decay touches it.
    """

    device: torch.device
    dtype: torch.dtype
    layout: str
    indices: list[int]
    parameters: list[torch.Tensor]
    slots: dict[str, list[torch.Tensor]]
    decays: list[bool]

    def without(self, missing: set[int]) -> Group:
        """Return the part of the group whose places are not among ``missing``."""
        kept = [k for k, index in enumerate(self.indices) if index not in missing]

        def pick(items: list) -> list:
            return [items[k] for k in kept]

        slots = {name: pick(tensors) for name, tensors in self.slots.items()}
        lists = (pick(self.indices), pick(self.parameters), slots, pick(self.decays))
        return Group(self.device, self.dtype, self.layout, *lists)

    def moved(self) -> bool:
        """Tell whether the parameters have gone to another device or dtype since."""
        first = self.parameters[0]
        return first.dtype is not self.dtype or first.device != self.device

    def gradients(self, gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Pick the group's gradients and lay them out as the parameters.

        torch's fused kernels read memory from end to end and never look at strides.
        """
        if self.layout == DENSE:
            pairs = zip(self.parameters, (gradients[i] for i in self.indices))
            return [
                g if g.stride() == p.stride() else torch.empty_like(p).copy_(g) for p, g in pairs
            ]
        found = [gradients[i] for i in self.indices]
        return [g if g.is_contiguous() else g.contiguous() for g in found]

    def gather(self, gradients: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the clipped gradients as the rule takes them: here, as they are."""
        return gradients


def add_to_groups(
    groups: dict[tuple, Group],
    index: int,
    parameter: torch.Tensor,
    slots: dict[str, torch.Tensor],
    decays: bool,
) -> None:
    """Put a parameter into the group that it belongs to, made if there is none yet.

    Args:
        groups: by device, dtype, layout and names of the state.
        index: the parameter's place in the list that the optimizer is built with.
        parameter: of floats.
        slots: its state.
        decays: whether weight decay touches it.
    """
    kind = (parameter.device, parameter.dtype, layout_of(parameter))
    key = (*kind, *slots)
    if key not in groups:
        groups[key] = Group(*kind, [], [], {name: [] for name in slots}, [])
    group = groups[key]
    group.indices.append(index)
    group.parameters.append(parameter)
    group.decays.append(decays)
    for name, tensor in slots.items():
        group.slots[name].append(tensor)


def layout_of(parameter: torch.Tensor) -> str:
    """Return which kind of memory layout a parameter has (see :class:`Group`)."""
    if parameter.is_contiguous():
        return CONTIGUOUS
    dense = torch.empty_like(parameter).stride() == parameter.stride()
    return DENSE if dense else STRIDED


def new_slot(parameter: torch.Tensor, value: float) -> torch.Tensor:
    """Make a state tensor for a parameter, laid out as the kernels will read it."""
    strided = layout_of(parameter) == STRIDED
    memory = torch.contiguous_format if strided else torch.preserve_format
    return torch.full_like(parameter, value, requires_grad=False, memory_format=memory)
