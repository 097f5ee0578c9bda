"""Lists and dictionaries of layers as attributes: what is put into them belongs to the layer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn


def modules_in(value: Any) -> Iterator[nn.Module]:
    """Yield the modules in a nest of lists, tuples and dictionaries."""
    if isinstance(value, nn.Module):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from modules_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from modules_in(item)


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
    """Register the modules in a list, tuple or dictionary, now and whenever it changes.

    The modules are registered in a container under the key ``<name>_``, since one key for both
    breaks ``torch.export``.

    Args:
        owner: the layer that the value becomes an attribute of.
        name: the attribute.
        value: a list, tuple or dictionary.

    Returns:
        What to keep as the attribute: the value, or an equal one that tells of its changes.
    """

    def notice() -> None:
        container = nn.ModuleList(modules_in(owner.__dict__[name]))
        container.train(owner.training)
        if len(container):
            owner._modules[f"{name}_"] = container
        else:
            owner._modules.pop(f"{name}_", None)

    kept = value
    if isinstance(value, list):
        kept = TrackedList(value, notice)
    elif isinstance(value, dict):
        kept = TrackedDict(value, notice)
    owner.__dict__[name] = kept
    notice()
    return kept
