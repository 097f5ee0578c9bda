"""What a captured step relies on, as a value that is compared before it is replayed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from torchkeras import config
from torchkeras.training.capture.reach import PASSING, PASSING_IN_OURS, PLAIN, Reach, is_library


class State:
    """Settings and places of everything that a step uses, at one moment.

    Args:
        reach: what was found.
        root: the model.

    Attributes:
        has_users: whether Python code of the user's is within reach.
        is_complete: whether all that it can read was looked at.
        codes: the code that was found; what a step runs besides was not looked at.
        root: the model.
    """

    __slots__ = ("_things", "_values", "codes", "has_users", "is_complete", "root")

    def __init__(self, reach: Reach, root: nn.Module):
        self._values = reach.values
        self._things = reach.things
        self.codes = reach.codes
        self.has_users = reach.has_users
        self.is_complete = reach.is_complete
        self.root = root

    def __eq__(self, other: object) -> bool:
        # Objects are compared as such, and kept: an address alone may come to be another's.
        return (
            isinstance(other, State)
            and len(self._things) == len(other._things)
            and all(one is two for one, two in zip(self._things, other._things))
            and self._values == other._values
        )

    __hash__ = None


def state_of(
    model: nn.Module, others: Iterable[Any], users: Iterable[Any], with_memory: bool
) -> State:
    """Return the settings and the places of everything a step uses.

    Args:
        model: each module in it.
        others: further objects: loss, optimizer, regularizers, constraints.
        users: functions and objects of the user's; what they can read counts too.
        with_memory: whether it matters where in memory the weights lie.
    """
    modules = list(model.modules())
    reach = Reach(modules)
    values, things = reach.values, reach.things
    values += (torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled())
    values += (config.floatx(), config.epsilon())
    later = []
    for module in modules:
        kind = type(module)
        is_ours = is_library(kind)
        passing = PASSING_IN_OURS if is_ours else PASSING
        things.append(module)
        for name, value in module.__dict__.items():
            if type(value) in PLAIN:
                values.append(value)
            elif name not in passing:
                later.append(value)
        # Functions that somebody may have put in the place of a class' own.
        for function in (getattr(kind, "forward", None), getattr(kind, "call", None)):
            if function is not None:
                things.append(function)
                if not is_library(function):
                    later.append(function)
        if isinstance(module, torch.jit.ScriptModule):
            reach.is_complete = False
        if not is_ours:
            later.append(kind)
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            things.append(tensor)
            if tensor is None:
                continue
            values += (tensor.requires_grad, tensor.dtype, tensor.shape, tensor.device)
            if with_memory:
                values += (tensor.data_ptr(), tensor.stride())
    reach.walk((*later, *others, *users))
    return State(reach, model)
