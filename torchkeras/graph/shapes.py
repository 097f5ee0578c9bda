"""The shapes that come out of a call on symbolic tensors: worked out, or found by trying it."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from torchkeras import dtypes, seeds, tree
from torchkeras.graph.tensor import KerasTensor, Spec

# What unknown dimensions are in the two trials: the number of samples, and others, which poolings
# and strides must not bring down to 1 in both. Small ones are run for real; on torch's meta device,
# numbers that most factors divide, for reshape(-1, 10) and windows.
_SMALL, _DIVISIBLE = ((2, 32), (3, 48)), ((2520, 2520), (5040, 5040))
# Inputs of up to so many numbers are tried for real: the first arithmetic on the meta device
# imports torch._dynamo (0.7 s). Larger ones are quicker there.
_REAL = 2**16
_ARITHMETIC = frozenset(
    getattr(operator, name) for name in "add sub mul truediv floordiv mod pow".split()
)
_COMPARISONS = frozenset(getattr(operator, name) for name in "lt le gt ge eq ne".split())


def is_symbolic_leaf(thing: Any) -> bool:
    """Tell whether something is a symbolic tensor."""
    return isinstance(thing, KerasTensor)


def of_call(function: Callable, args: tuple, kwargs: dict[str, Any], name: str) -> Any:
    """Return what comes out of a torch function on symbolic tensors, as :class:`Spec`.

    Args:
        function: a torch function or an operator.
        args: its arguments.
        kwargs: likewise.
        name: for errors.
    """
    if function in _ARITHMETIC or function in _COMPARISONS:
        return _of_arithmetic(function, args)
    if function in (operator.neg, operator.abs):
        return Spec(args[0].shape, args[0].dtype)
    return by_trial(function, args, kwargs, name)


def _of_arithmetic(function: Callable, args: tuple) -> Spec:
    """Work out shape and dtype of an elementwise operator."""
    shape = broadcast(*(tuple(getattr(arg, "shape", ())) for arg in args))
    if function in _COMPARISONS:
        return Spec(shape, "bool")
    small = [_like(arg) for arg in args]
    dtype = torch.result_type(*small)
    if function is operator.truediv and not dtype.is_floating_point and not dtype.is_complex:
        dtype = torch.get_default_dtype()
    return Spec(shape, dtypes.name_of(dtype))


def of_elements(function: Callable, args: tuple, kwargs: dict[str, Any], name: str) -> Spec:
    """Return what comes out of a function of each element: the shape that the inputs broadcast to.

    Args:
        function: gives a tensor; its dtype is found by trial.
        args: its arguments.
        kwargs: likewise.
        name: for errors.
    """

    def small(leaf: Any) -> Any:
        is_open = isinstance(leaf, KerasTensor)
        return KerasTensor((1,) * leaf.ndim, leaf.dtype) if is_open else leaf

    leaves = tree.leaves((args, kwargs))
    shape = broadcast(*(tuple(getattr(leaf, "shape", ())) for leaf in leaves))
    given, named = tree.map_structure(small, args), tree.map_structure(small, kwargs)
    return Spec(shape, by_trial(function, given, named, name).dtype)


def _like(arg: Any) -> Any:
    """Return something of the same kind for torch's rules of promotion."""
    if isinstance(arg, KerasTensor):
        return torch.empty((1,) * arg.ndim, dtype=dtypes.to_torch(arg.dtype))
    if isinstance(arg, (bool, int, float, complex, torch.Tensor)):
        return arg
    return torch.as_tensor(getattr(arg, "value", arg))


def broadcast(*given: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Return the shape that several shapes broadcast to.

    Raises:
        ValueError: when they do not fit.
    """
    rank = max(map(len, given))
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in given]
    result = []
    for sizes in zip(*padded):
        known = {size for size in sizes if size not in (1, None)}
        if len(known) > 1:
            raise ValueError(f"Shapes {' and '.join(map(str, given))} do not fit each other.")
        result.append(known.pop() if known else None if None in sizes else 1)
    return tuple(result)


def by_trial(
    run: Callable,
    args: tuple,
    kwargs: dict[str, Any],
    name: str,
    device: torch.device | str = "cpu",
    module: torch.nn.Module | None = None,
) -> Any:
    """Run something twice on tensors of zeros; a dimension that differs is unknown.

    Args:
        run: called with the arguments, tensors in place of the symbolic ones.
        args: its arguments.
        kwargs: likewise.
        name: for errors.
        device: where the tensors shall be, unless they are on torch's meta device.
        module: what the run may leave traces in, which are removed.

    Returns:
        A :class:`Spec`, or lists, tuples or dictionaries of them.

    Raises:
        TypeError: when something else than tensors comes out.
        ValueError: when the two runs give outputs of different rank.
    """
    symbolic = [leaf for leaf in tree.leaves((args, kwargs)) if isinstance(leaf, KerasTensor)]
    numbers = sum(math.prod(_filled(tensor.shape, _SMALL[1])) for tensor in symbolic)
    places = [(_SMALL, device), (_DIVISIBLE, "meta")]
    if numbers > _REAL:
        places.reverse()
    first: Exception | None = None
    doubtful = None
    for sizes, place in places:
        try:
            with seeds.on_trial(), _undisturbed(module, place):
                found = _tried(run, args, kwargs, name, sizes, place)
        except Exception as error:
            first = first or error
            continue
        if sizes is _DIVISIBLE or not _is_doubtful(symbolic, found):
            return found
        doubtful = found
    if doubtful is not None:
        return doubtful
    raise first


def _is_doubtful(symbolic: list[KerasTensor], found: Any) -> bool:
    """Tell whether a 1 in an output's shape may be what is left of an unknown size."""
    is_open = any(None in tensor.shape[1:] for tensor in symbolic)
    return is_open and any(1 in spec.shape[1:] for spec in tree.leaves(found))


def run_once(run: Callable, args: tuple, kwargs: dict[str, Any], device: Any) -> None:
    """Run something on tensors of zeros once, for what the run leaves behind.

    Args:
        run: called with the arguments, tensors in place of the symbolic ones.
        args: its arguments.
        kwargs: likewise.
        device: where the tensors shall be where they are small.
    """
    symbolic = [leaf for leaf in tree.leaves((args, kwargs)) if isinstance(leaf, KerasTensor)]
    is_small = sum(math.prod(_filled(tensor.shape, _SMALL[0])) for tensor in symbolic) <= _REAL
    sizes, place = (_SMALL, device) if is_small else (_DIVISIBLE, "meta")
    make = _maker(sizes[0], place)
    with seeds.on_trial(), torch.no_grad(), contextlib.nullcontext() if is_small else _Meta():
        run(*tree.map_structure(make, args), **tree.map_structure(make, kwargs))


def _maker(sizes: tuple[int, int], device: Any) -> Callable[[Any], Any]:
    """Return a function that makes zeros of a symbolic tensor and leaves all else."""

    def make(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor):
            return leaf
        shape = _filled(leaf.shape, sizes)
        return torch.zeros(shape, dtype=dtypes.to_torch(leaf.dtype), device=device)

    return make


def _filled(shape: tuple[int | None, ...], sizes: tuple[int, int]) -> list[int]:
    """Put numbers for unknown sizes: one for that of the batch, one for the others."""
    return [sizes[axis > 0] if known is None else known for axis, known in enumerate(shape)]


def _tried(
    run: Callable,
    args: tuple,
    kwargs: dict,
    name: str,
    sizes: Sequence[tuple[int, int]],
    device: Any,
) -> Any:
    found = []
    given_sizes = {
        size
        for leaf in tree.leaves((args, kwargs))
        if isinstance(leaf, KerasTensor)
        for size in leaf.shape
    }
    for pair in sizes if None in given_sizes else sizes[:1]:
        make = _maker(pair, device)
        given, named = tree.map_structure(make, args), tree.map_structure(make, kwargs)
        found.append(tree.map_structure(lambda out: _spec(out, name), run(*given, **named)))
    specs = tree.map_structure(lambda *specs: _common(name, specs), *found)
    if 0 in given_sizes:
        return specs
    # How many of a trial's zeros pass a test means nothing.
    return tree.map_structure(
        lambda spec: Spec(tuple(size or None for size in spec.shape), spec.dtype), specs
    )


def _spec(out: Any, name: str) -> Spec:
    if not isinstance(out, torch.Tensor):
        raise TypeError(
            f"Layer {name!r} returned {type(out).__name__} where a tensor was expected. Wrap it in "
            "a torch.nn.Module or a Layer that returns tensors alone."
        )
    return Spec(tuple(out.shape), dtypes.name_of(out.dtype))


def _common(name: str, specs: tuple[Spec, ...]) -> Spec:
    """Return the spec of an output from its two trials."""
    shapes = [spec.shape for spec in specs]
    if len({len(shape) for shape in shapes}) > 1:
        raise ValueError(
            f"Layer {name!r}: its output's rank depends on the batch size: "
            f"{' and '.join(map(str, shapes))}."
        )
    sizes = (found[0] if len(set(found)) == 1 else None for found in zip(*shapes))
    return Spec(tuple(sizes), specs[0].dtype)


@contextlib.contextmanager
def _undisturbed(module: torch.nn.Module | None, device: Any) -> Iterator[None]:
    """Leave no trace of a trial: random states, buffers, attributes that hold tensors."""
    modules = [] if module is None else list(module.modules())
    attributes = [(part.__dict__, _tensors_in(part.__dict__)) for part in modules]
    buffers = [] if module is None else [(b, b.clone()) for b in module.buffers()]
    # TorchScript's modules have no tables, and nothing in them is rebound.
    tables = [(part._buffers, {**part._buffers}) for part in modules if type(part._buffers) is dict]
    is_cuda = torch.device(device).type == "cuda"
    on_meta = _Meta() if torch.device(device).type == "meta" else contextlib.nullcontext()
    try:
        with torch.random.fork_rng([device] if is_cuda else []), torch.no_grad(), on_meta:
            yield
    finally:
        for table, before in attributes:
            for name in set(_tensors_in(table)) - set(before):
                del table[name]
            table.update(before)
        for table, before in tables:
            table.update(before)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def _tensors_in(table: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: item for name, item in table.items() if isinstance(item, torch.Tensor)}


class _Meta(TorchFunctionMode):
    """Turns a real tensor that meets one on the meta device, such as a weight, into one itself."""

    def __init__(self):
        super().__init__()
        # Held, so that no id is used twice.
        self._made: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if any(isinstance(a, torch.Tensor) and a.is_meta for a in tree.leaves((args, kwargs))):
            args = tree.map_structure(self._on_meta, args)
            kwargs = tree.map_structure(self._on_meta, kwargs)
        return func(*args, **kwargs)

    def _on_meta(self, leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or leaf.is_meta:
            return leaf
        if id(leaf) not in self._made:
            self._made[id(leaf)] = (leaf, leaf.to("meta"))
        return self._made[id(leaf)][1]
