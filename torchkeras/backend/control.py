"""Choices and loops of ``keras.backend``: by phase or condition, over elements, over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras import dtypes, ops, tree
from torchkeras.backend.arithmetic import _alike
from torchkeras.backend.tensors import Table, sized
from torchkeras.graph import KerasTensor, is_symbolic
from torchkeras.layers.phase import LearningPhase, forced_learning_phase, learning_phase
from torchkeras.layers.rnn_loop import loop
from torchkeras.ops.tensors import to_tensor

op = Table(__name__)


def _made(expression: Any) -> Any:
    return expression() if callable(expression) else expression


def in_train_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """Return ``x`` while training, else ``alt``.

    Symbolic tensors are chosen from when the graph runs.

    Args:
        x: a tensor, or a function without arguments that makes it.
        alt: likewise, of the same shape.
        training: whether to train; the learning phase unless given.
    """
    if isinstance(training, KerasTensor):
        return switch(training, x, alt)
    is_free = forced_learning_phase() is None and isinstance(training, LearningPhase | None)
    chosen, other = (x, alt) if (learning_phase() if is_free else training) else (alt, x)
    made = _made(chosen)
    if not is_free or not is_symbolic(made, other):
        return made
    pair = (made, _made(other))
    return _of_phase(*(pair if chosen is x else reversed(pair)))


def in_test_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """Return ``alt`` while training, else ``x``; the arguments are those of in_train_phase."""
    return in_train_phase(alt, x, training)


@op.own
def _of_phase(x: Tensor, alt: Tensor) -> Tensor:
    """Return the one of two tensors that the phase of this run calls for."""
    return x if learning_phase() else alt


def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """Return one of two tensors, or choose between them element by element.

    Args:
        condition: a number or a tensor of rank 0, or one whose shape is the beginning of the
            others'; what is not 0 is true.
        then_expression: a tensor, or a function without arguments that makes it.
        else_expression: likewise.

    Returns:
        A tensor of the shape of the expressions.  With functions and a condition of rank 0 only the
        one that is needed is called.

    Raises:
        ValueError: when the condition has more dimensions than the expressions.
    """
    if isinstance(condition, LearningPhase):
        return in_train_phase(then_expression, else_expression, condition)
    expressions = (then_expression, else_expression)
    if not isinstance(condition, KerasTensor):
        condition = to_tensor(condition)
        if condition.dim() == 0 and any(map(callable, expressions)):
            return _made(then_expression if condition else else_expression)
    return _choice(condition, *map(_made, expressions))


@op.own
def _choice(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    x, y = _alike(x, y)
    if condition.dim() == 0 and x.shape != y.shape:
        return x if condition else y
    if condition.dim() > x.dim():
        raise ValueError(
            f"switch: the condition has {condition.dim()} dimensions, more than the expressions' "
            f"{x.dim()}."
        )
    missing = (1,) * (x.dim() - condition.dim())
    return torch.where(condition.bool().reshape((*condition.shape, *missing)), x, y)


# ----------------------------------------------------------------------------------------- loops


def _elements(elems: Any) -> list[Any]:
    """Return what lies at each index of the first axis of a tensor, or of a tuple of tensors."""
    if not isinstance(elems, tuple):
        return list(torch.unbind(to_tensor(elems)))
    return list(zip(*map(_elements, elems)))


@sized
def map_fn(fn: Callable, elems: Any, name: str | None = None, dtype: Any = None) -> Any:
    """Call a function for each element along the first axis.

    Args:
        fn: takes an element, or a tuple of them where ``elems`` is one.
        elems: a tensor ``(n, …)``, or a tuple of tensors with the same ``n``.
        name: a label without effect.
        dtype: of the result, or a tuple where ``fn`` returns one; as it comes unless given.

    Returns:
        What the calls returned, stacked along a new first axis.
    """
    results = [fn(element) for element in _elements(elems)]
    stacked = tree.map_structure(lambda *parts: ops.stack(parts), results[0], *results[1:])
    if dtype is None:
        return stacked
    wanted = dtype if tree.is_nested(dtype) else tree.map_structure(lambda _: dtype, stacked)
    return tree.map_structure(lambda part, d: part.to(dtypes.to_torch(d)), stacked, wanted)


@sized
def foldl(fn: Callable, elems: Any, initializer: Any = None, name: str | None = None) -> Any:
    """Combine the elements along the first axis, from the first on.

    Args:
        fn: takes the result so far and the next element.
        elems: a tensor ``(n, …)``.
        initializer: what to begin with; the first element unless given.
        name: a label without effect.
    """
    elements = iter(_elements(elems))
    result = next(elements) if initializer is None else to_tensor(initializer)
    for element in elements:
        result = fn(result, element)
    return result


def foldr(fn: Callable, elems: Any, initializer: Any = None, name: str | None = None) -> Any:
    """Combine the elements along the first axis, from the last on; see :func:`foldl`."""
    parts = elems if isinstance(elems, tuple) else (elems,)
    turned = tuple(ops.flip(part, 0) for part in parts)
    return foldl(fn, turned if isinstance(elems, tuple) else turned[0], initializer)


@sized
def rnn(
    step_function: Callable,
    inputs: Any,
    initial_states: Sequence[Any],
    go_backwards: bool = False,
    mask: Any = None,
    constants: Sequence[Any] | None = None,
    unroll: bool = False,
    input_length: Any = None,
    time_major: bool = False,
    zero_output_for_mask: bool = False,
    return_all_outputs: bool = True,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Call a function for each step of a sequence, with the states that the last call left.

    Args:
        step_function: takes what lies at a step, ``(batch, …)``, and a list of states and
            constants; returns an output and new states.
        inputs: ``(batch, steps, …)``.
        initial_states: of the first step, ``(batch, …)``.
        go_backwards: whether to begin with the last step; the outputs then are in that order.
        mask: ``(batch, steps)`` or ``(batch, steps, 1)``, 0 where a sample's states stay as they
            are and its output is that of the step before.
        constants: given to every call behind the states.
        unroll: of no effect: on torch, steps are called one by one in any case.
        input_length: the number of steps, or that of each sample, which stands for a mask.
        time_major: whether steps are the first axis, of inputs, mask and outputs.
        zero_output_for_mask: whether outputs are 0 where the mask is.
        return_all_outputs: whether to return those of all steps, or of the last alone.

    Returns:
        The last output, the outputs ``(batch, steps, …)``, and the last states.

    Raises:
        ValueError: for inputs of rank below 3.
    """
    inputs = to_tensor(inputs)
    if inputs.dim() < 3:
        raise ValueError(f"rnn: inputs are (batch, steps, …); received shape {inputs.shape}.")
    inputs = inputs.transpose(0, 1) if time_major else inputs
    if mask is not None:
        mask = to_tensor(mask, torch.bool)
        mask = (mask.transpose(0, 1) if time_major else mask).reshape(inputs.shape[:2])
    elif input_length is not None and not isinstance(input_length, int):
        lengths = to_tensor(input_length, device=inputs.device).reshape(-1, 1)
        mask = torch.arange(inputs.shape[1], device=inputs.device) < lengths
    if go_backwards:
        inputs, mask = inputs.flip(1), mask if mask is None else mask.flip(1)
    fixed = list(map(to_tensor, constants or ()))

    def step(x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        output, new = step_function(x, [*states, *fixed])
        return output, list(new)

    states = list(map(to_tensor, initial_states))
    last, whole, states = loop(step, inputs, states, mask, zero_output_for_mask)
    whole = whole if return_all_outputs else last.unsqueeze(1)
    return last, whole.transpose(0, 1) if time_major else whole, states
