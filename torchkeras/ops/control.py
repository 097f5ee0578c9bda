"""Choices and loops of ``keras.ops.core``: functions that call functions.

Torch runs them in Python. A choice by a tensor, and a loop whose end depends on one, reads it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras import tree
from torchkeras.ops.axes import as_axes
from torchkeras.ops.searching import where
from torchkeras.ops.table import Table
from torchkeras.ops.tensors import is_stand_in, to_tensor
from torchkeras.seeds import in_trial
from torchkeras.variable import Variable

op = Table("core", __name__)
__all__ = op.names


def _is_symbolic(thing: Any) -> bool:
    return is_stand_in(thing) and not isinstance(thing, Variable)


def _tensor(leaf: Any) -> Any:
    """Return a tensor; ``None`` and a symbolic tensor as they are."""
    if in_trial() and _is_symbolic(leaf):
        raise ValueError(
            f"A function that is called when the graph runs uses {leaf!r}: hand it over among the "
            "tensors that the function is called with."
        )
    return leaf if leaf is None or _is_symbolic(leaf) else to_tensor(leaf)


def _tensors(structure: Any) -> Any:
    return tree.map_structure(_tensor, structure)


def _check(name: str, **functions: Any) -> None:
    for argument, function in functions.items():
        if not callable(function):
            raise TypeError(f"ops.{name}: {argument} should be a callable; received {function!r}.")


# --------------------------------------------------------------------------------------- choices


def _taken(name: str, condition: Any, results: Sequence[Any]) -> Any:
    """Return, when the graph runs, the first of two results where a condition is true."""
    if in_trial():  # both were called for the layers that they build
        return results[0]
    kinds = [tree.map_structure(_kind, result) for result in results]
    if any(size != 1 for size in condition.shape) or kinds[0] != kinds[1]:
        raise ValueError(
            f"ops.{name}: expected one number to choose by, and functions that return the same "
            f"structure, shapes and dtypes; received {condition!r}, {kinds[0]} and {kinds[1]}."
        )
    condition = condition.reshape(()) if condition.shape else condition
    return tree.map_structure(
        lambda one, other: None if one is None else where(condition, one, other), *results
    )


def _kind(x: Any) -> str:
    return "None" if x is None else f"{str(x.dtype).removeprefix('torch.')}{tuple(x.shape)}"


def _has_no_numbers(thing: Any) -> bool:
    """Tell whether a tensor stands for another one now, so that no choice by it counts."""
    return in_trial() and isinstance(thing, (Tensor, Variable))


@op.plain
def cond(pred: Any, true_fn: Callable, false_fn: Callable) -> Any:
    """Call one of two functions.

    A symbolic ``pred`` chooses when the graph runs, between what both return.

    Args:
        pred: a boolean, or a tensor of one element.
        true_fn: called without arguments where ``pred`` is true.
        false_fn: called else; returns the same structure, shapes and dtypes.

    Raises:
        TypeError: for what is no function.
        ValueError: for a symbolic ``pred`` of more elements, or functions that differ.
    """
    _check("cond", true_fn=true_fn, false_fn=false_fn)
    if _is_symbolic(pred) or _has_no_numbers(pred):
        return _taken("cond", pred, [_tensors(true_fn()), _tensors(false_fn())])
    return true_fn() if pred else false_fn()


@op.plain
def switch(index: Any, branches: Sequence[Callable], *operands: Any) -> Any:
    """Call one of several functions.

    A symbolic ``index`` chooses when the graph runs, among what all return.

    Args:
        index: an integer, or a tensor of one; the nearest one that there is counts.
        branches: functions of the operands, which return the same structure, shapes and dtypes.
        operands: handed to the one that is called.

    Raises:
        TypeError: for what is no function.
        ValueError: for a symbolic ``index`` of more elements, or functions that differ.
    """
    _check("switch", **{f"branches[{at}]": branch for at, branch in enumerate(branches)})
    if not (_is_symbolic(index) or _has_no_numbers(index)):
        return branches[min(max(int(index), 0), len(branches) - 1)](*operands)
    *others, found = [_tensors(branch(*operands)) for branch in branches]
    for at, other in reversed(list(enumerate(others))):
        found = _taken("switch", index <= at, [other, found])
    return found


# ----------------------------------------------------------------------------------------- loops


@op.own(inputs="cond body loop_vars")
def while_loop(
    cond: Callable, body: Callable, loop_vars: Any, maximum_iterations: int | None = None
) -> Any:
    """Call a function on its own results as long as another one says so.

    Args:
        cond: takes the values, returns a boolean or a tensor of one element.
        body: takes the values, returns new ones of the same structure, shapes and dtypes.
        loop_vars: the first values; those in a tuple or list are separate arguments.
        maximum_iterations: how often ``body`` is called at most.

    Returns:
        The last values; several as a tuple.

    Raises:
        TypeError: for what is no function.
    """
    _check("while_loop", cond=cond, body=body)
    are_many = isinstance(loop_vars, (list, tuple))
    values = _tensors(tuple(loop_vars) if are_many else (loop_vars,))
    rounds = itertools.repeat(0) if maximum_iterations is None else range(maximum_iterations)
    if in_trial():  # for what it builds; by numbers that mean nothing it might not end
        _tensors(body(*values))
        rounds = ()
    for _ in rounds:
        if not cond(*values):
            break
        found = body(*values)
        values = tuple(found) if isinstance(found, (list, tuple)) else (found,)
    return values if are_many else values[0]


@op.own(inputs="lower upper body_fun init_val")
def fori_loop(lower: Any, upper: Any, body_fun: Callable, init_val: Any) -> Any:
    """Call a function on its own result, once for each integer from one to before another.

    Args:
        lower: the first integer.
        upper: the one behind the last.
        body_fun: takes the integer and the value, returns the next value.
        init_val: the first value, in any structure.

    Raises:
        TypeError: for what is no function.
    """
    _check("fori_loop", body_fun=body_fun)
    value = _tensors(init_val)
    for at in range(int(lower), int(upper)):
        value = body_fun(at, value)
    return _tensors(value)


@op.own(inputs="f init xs")
def scan(
    f: Callable,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """Call a function for each element along the first axis, with the value the last call left.

    Args:
        f: takes the value and an element, returns the next value, of the same shapes and dtypes,
            and an output; an output of ``None`` stands for zeros of the shapes of ``init``.
        init: the first value, in any structure.
        xs: tensors ``(n, …)`` in any structure; without them ``f`` is given ``None``.
        length: how many elements are run over; all unless given.
        reverse: whether from the last one on; the outputs stay in the order of the elements.
        unroll: a positive integer or a boolean; of no effect, as the loop is Python's.

    Returns:
        The last value, and the outputs stacked along a new first axis.

    Raises:
        TypeError: for what is no function.
        ValueError: for a wrong ``unroll`` or ``length``, or when there are no elements.
    """
    _check("scan", f=f)
    if not isinstance(unroll, int) or (unroll < 1 and unroll is not False):
        raise ValueError(f"ops.scan: unroll must be positive or a boolean; received {unroll!r}.")
    carry = start = _tensors(init)
    columns = [] if xs is None else [torch.unbind(to_tensor(leaf)) for leaf in tree.leaves(xs)]
    sizes = {len(column) for column in columns}
    count = max(sizes, default=0) if length is None else int(length)
    if count < 1 or len(sizes) > 1 or min(sizes, default=count) < count:
        raise ValueError(
            "ops.scan: expected xs of one size along the first axis, at least 1, or a length; "
            f"received sizes {sorted(sizes)} and length={length}."
        )
    order = list(range(count))[:: -1 if reverse else 1]
    outputs = []
    for at in order[:1] if in_trial() else order:
        element = None if xs is None else tree.pack_like(xs, [column[at] for column in columns])
        carry, output = f(carry, element)
        if output is None:
            output = [torch.zeros_like(leaf) for leaf in tree.leaves(start)]
        outputs.append(_tensors(output))
    outputs *= count // len(outputs)  # one on trial stands for all
    ordered = outputs[:: -1 if reverse else 1]
    return carry, tree.map_structure(lambda *parts: torch.stack(parts), *ordered)


@op.own(inputs="f xs")
def map(f: Callable, xs: Any) -> Any:
    """Call a function for each element along the first axis, one after the other.

    Args:
        f: takes an element, returns tensors in any structure.
        xs: tensors ``(n, …)``, in any structure.

    Returns:
        What the calls returned, stacked along a new first axis.

    Raises:
        TypeError: for what is no function.
        ValueError: when there are no elements.
    """
    _check("map", f=f)
    return scan(lambda none, x: (none, f(x)), (), xs)[1]


@op.own(inputs="elements")
def vectorized_map(function: Callable, elements: Any) -> Any:
    """Call a function for all elements along the first axis at once, with ``torch.vmap``.

    One that this cannot do, since it asks for numbers, is called for one after the other.

    Args:
        function: takes an element, returns tensors in any structure.
        elements: tensors ``(n, …)``, in any structure.

    Returns:
        What the calls returned, along a new first axis.

    Raises:
        TypeError: for what is no function.
    """
    _check("vectorized_map", function=function)
    elements = _tensors(elements)
    try:
        return torch.vmap(function, randomness="different")(elements)
    except (RuntimeError, TypeError, ValueError):
        return map(function, elements)


@op.own(inputs="f elems")
def associative_scan(f: Callable, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """Combine each element along an axis with all before it, in about 2 log2(n) calls.

    The calls are those of Blelloch, Prefix Sums and Their Applications (1990).

    Args:
        f: takes two structures like ``elems``, of any size along the axis, and combines them
            element by element; it must be associative.
        elems: tensors of the same size along the axis, in any structure.
        reverse: whether each is combined with all behind it instead.
        axis: along which.

    Raises:
        TypeError: for what is no function.
        ValueError: for an axis that is not there, or of different sizes.
    """
    _check("associative_scan", f=f)
    xs = [to_tensor(leaf) for leaf in tree.leaves(elems)]
    (axis,) = as_axes("associative_scan", axis, xs[0].ndim)
    if len({x.shape[axis] for x in xs}) > 1:
        shapes = [tuple(x.shape) for x in xs]
        raise ValueError(
            "ops.associative_scan: elems must have the same first dimension, or that of the axis; "
            f"received the shapes {shapes} for axis {axis}."
        )

    def combine(*pair: list[Tensor]) -> list[Tensor]:
        made = f(*(tree.pack_like(elems, leaves) for leaves in pair))
        return tree.flatten(_tensors(made))

    found = _combined(combine, [torch.flip(x, (axis,)) for x in xs] if reverse else xs, axis)
    return tree.pack_like(elems, [torch.flip(x, (axis,)) for x in found] if reverse else found)


def _combined(combine: Callable, xs: list[Tensor], axis: int) -> list[Tensor]:
    """Return what :func:`associative_scan` does, of its tensors in a list."""
    size = xs[0].shape[axis]
    if size < 2:
        return xs

    def part(xs: list[Tensor], *ends: int | None) -> list[Tensor]:
        return [x[(slice(None),) * axis + (slice(*ends),)] for x in xs]

    odd = _combined(combine, combine(part(xs, 0, size - 1, 2), part(xs, 1, None, 2)), axis)
    even = part(xs, 0, 1)
    if size > 2:
        later = combine(part(odd, 0, (size - 1) // 2), part(xs, 2, None, 2))
        even = [torch.cat(pair, axis) for pair in zip(even, later)]
    pairs = zip(part(even, 0, size // 2), odd)
    in_turn = [torch.stack(pair, axis + 1).flatten(axis, axis + 1) for pair in pairs]
    rest = part(even, size // 2, None)  # one of an odd number
    return [torch.cat(pair, axis) for pair in zip(in_turn, rest)]
