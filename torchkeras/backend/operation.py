"""One function of ``keras.backend``: computes on real tensors, records itself on symbolic ones."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from torchkeras import dtypes, eras, registry
from torchkeras.graph import KerasTensor, Spec, TorchCall, connect, is_symbolic, record


def operation(function: Callable | None = None, *, spec: Callable | None = None) -> Any:
    """Decorate a function of tensors so that symbolic ones may be given to it.

    A call on symbolic tensors becomes one node of the graph, whatever the function does inside, so
    the function itself sees real tensors only.  Names and order of arguments that older versions of
    Keras had are translated by the registry, under the name ``backend.<function>``.

    Args:
        function: of tensors, arrays, Variables and numbers.
        spec: takes the same arguments and returns the :class:`Spec` of the result, or ``None``
            where it cannot tell; unless given, the function is tried on small tensors.
    """
    if function is None:
        return functools.partial(operation, spec=spec)
    code = function.__code__
    names = frozenset(code.co_varnames[: code.co_argcount])
    owner = f"backend.{function.__name__}"

    def run(*args: Any, **kwargs: Any) -> Any:
        if not _any_symbolic(args) and not (kwargs and _any_symbolic(kwargs.values())):
            return function(*args, **kwargs)
        found = None if spec is None else spec(*args, **kwargs)
        if found is None:
            return record(call, args, kwargs)
        return connect(TorchCall(call), args, kwargs, found)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if eras.order(owner) is None and names.issuperset(kwargs):
            return run(*args, **kwargs)
        return _translating(owner, function, run)(None, *args, **kwargs)

    return call


def _any_symbolic(arguments: Iterable[Any]) -> bool:
    """Tell whether symbolic tensors are among arguments; quicker than ``graph.is_symbolic``."""
    for argument in arguments:
        if isinstance(argument, KerasTensor):
            return True
        if isinstance(argument, (list, tuple, dict)) and is_symbolic(argument):
            return True
    return False


@functools.cache
def _translating(owner: str, function: Callable, run: Callable) -> Callable:
    """Have the registry read old arguments, as it does for methods: with a ``self`` in front."""

    @functools.wraps(function)
    def method(self: None, *args: Any, **kwargs: Any) -> Any:
        return run(*args, **kwargs)

    parameters = list(inspect.signature(function).parameters.values())
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = inspect.Signature([itself, *parameters])
    return registry.reads_arguments(owner)(method)


def unchanged(*args: Any, **kwargs: Any) -> Spec | None:
    """Tell that a function keeps the shape and the dtype of its first argument."""
    x = args[0] if args else next(iter(kwargs.values()))
    return Spec(x.shape, x.dtype) if isinstance(x, KerasTensor) else None


def same(*args: Any, **kwargs: Any) -> Spec | None:
    """Tell that a function keeps the shape and the dtype, if of floats, of its first argument."""
    spec = unchanged(*args, **kwargs)
    return spec if spec and dtypes.to_torch(spec.dtype).is_floating_point else None


def known_sizes(shape: Any) -> tuple[int | None, ...]:
    """Return the sizes of a shape that has symbolic tensors in it, ``None`` in their place.

    Raises:
        ValueError: when not even their number is known.
    """
    if isinstance(shape, KerasTensor):
        if shape.ndim != 1 or shape.shape[0] is None:
            raise ValueError(f"A shape must be a vector of known length; received {shape!r}.")
        return (None,) * shape.shape[0]
    parts = shape if isinstance(shape, (list, tuple)) else (shape,)
    return tuple(None if isinstance(p, KerasTensor) or int(p) < 0 else int(p) for p in parts)
