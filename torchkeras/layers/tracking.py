"""Lists and dictionaries of layers as attributes: what is put into them belongs to the layer."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from torchkeras import eras
from torchkeras.variable import Variable


def modules_in(value: Any) -> Iterator[nn.Module]:
    """Yield the modules in a nest of lists, tuples and dictionaries."""
    yield from _found(value, nn.Module)


def free_variables_in(value: Any) -> Iterator[Variable]:
    """Yield the variables in a nest of lists, tuples and dictionaries that belong to no layer."""
    for variable in _found(value, Variable):
        if variable.is_free:
            yield variable


def holds_state(value: Any) -> bool:
    """Tell whether there are modules, or variables of no layer, in lists and dictionaries."""
    return (
        next(modules_in(value), None) is not None
        or next(free_variables_in(value), None) is not None
    )


def _found(value: Any, kind: type) -> Iterator[Any]:
    if isinstance(value, kind):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _found(item, kind)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _found(item, kind)


def _noticed(method: Callable) -> Callable:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        self._notice()
        return result

    return call


def _tracked(kind: type, methods: str) -> type:
    """Make a list or dictionary class that tells its owner of every change."""

    def __init__(self, value: Any, notice: Callable[[], None]):
        kind.__init__(self, value)
        self._notice = notice

    def __reduce__(self):
        # Copied and pickled as what the user made; the owner tracks it again.
        return kind, (kind(self),)

    names = {name: _noticed(getattr(kind, name)) for name in methods.split()}
    return type(
        f"Tracked{kind.__name__.title()}",
        (kind,),
        {**names, "__init__": __init__, "__reduce__": __reduce__, "__module__": __name__},
    )


TrackedList = _tracked(
    list,
    "append extend insert pop remove clear sort reverse __setitem__ __delitem__ __iadd__ __imul__",
)
TrackedDict = _tracked(dict, "pop popitem clear update setdefault __setitem__ __delitem__ __ior__")


def track(owner: nn.Module, name: str, value: Any) -> Any:
    """Register the modules and variables in a list, tuple or dictionary, now and when it changes.

    The modules are registered in a container under the key ``<name>_``, since one key for both
    breaks ``torch.export``.

    Args:
        owner: the layer that the value becomes an attribute of.
        name: the attribute.
        value: a list, tuple or dictionary.

    Returns:
        What to keep as the attribute: the value, or an equal one that tells of its changes.
    """

    # Weak, or the list and its owner would hold each other.
    owned_by = weakref.ref(owner)

    def notice() -> None:
        owner = owned_by()
        if owner is None:
            return
        _track_inside(owner.__dict__[name], notice)
        container = nn.ModuleList(modules_in(owner.__dict__[name]))
        container.train(owner.training)
        if len(container):
            owner._modules[f"{name}_"] = container
        else:
            owner._modules.pop(f"{name}_", None)
        if eras.value("layer.tracks_variables"):
            for variable in free_variables_in(owner.__dict__[name]):
                owner._adopt(variable, variable)

    kept = owner.__dict__[name] = _kept(value, notice)
    notice()
    return kept


def _kept(value: Any, notice: Callable[[], None]) -> Any:
    if isinstance(value, list):
        return TrackedList(value, notice)
    return TrackedDict(value, notice) if isinstance(value, dict) else value


def _track_inside(value: Any, notice: Callable[[], None]) -> None:
    """Let the lists and dictionaries inside of one tell of their changes too."""
    if not isinstance(value, (list, dict)):
        return
    kind = list if isinstance(value, list) else dict
    for key, item in list(enumerate(value) if kind is list else value.items()):
        if type(item) in (list, dict):
            item = _kept(item, notice)
            kind.__setitem__(value, key, item)
        _track_inside(item, notice)


class WeightList(list):
    """The weights of a layer: variables put into the list become weights of the layer too.

    Args:
        weights: that the layer has.
        owner: the layer.
        trainable: whether the list is that of the trainable ones.
    """

    def __init__(self, weights: list[Any], owner: Any, trainable: bool):
        super().__init__(weights)
        self._owner = owner
        self._trainable = trainable

    def _notice(self) -> None:
        self._owner._take(self, self._trainable)

    def __reduce__(self) -> tuple:
        return list, (list(self),)

    append = _noticed(list.append)
    extend = _noticed(list.extend)
    insert = _noticed(list.insert)
    __iadd__ = _noticed(list.__iadd__)
