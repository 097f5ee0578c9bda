"""The loop over the steps of a sequence, for a cell that computes one step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchkeras import tree

Step = Callable[[Tensor, list[Any]], tuple[Tensor, list[Any]]]


def loop(
    step: Step,
    sequences: Tensor,
    states: list[Any],
    mask: Tensor | None = None,
    zero_output_for_mask: bool = False,
    all_outputs: bool = True,
) -> tuple[Tensor, Tensor | None, list[Any]]:
    """Call a function for each step of sequences, with the states that the last call left.

    Args:
        step: takes what lies at a step, ``(batch, …)``, and the states; returns an output and new
            states.
        sequences: ``(batch, steps, …)``.
        states: of the first step: tensors ``(batch, …)``, or lists of them.
        mask: ``(batch, steps)``, false where a sample's states stay as they are and its output is
            that of the step before, or 0 at the first.
        zero_output_for_mask: whether outputs are 0 where the mask is false.
        all_outputs: whether to return more than the last output.

    Returns:
        The last output ``(batch, …)``, the outputs ``(batch, steps, …)`` where they are wanted, and
        the last states.

    Raises:
        ValueError: for sequences without a step.
    """
    if sequences.shape[1] == 0:
        raise ValueError(
            "A recurrent layer needs one step at least; received sequences of shape "
            f"{tuple(sequences.shape)}."
        )
    counts = [None] * sequences.shape[1] if mask is None else mask.unbind(1)
    outputs: list[Tensor] = []
    last: Tensor | None = None
    for inputs, counted in zip(sequences.unbind(1), counts):
        output, new = step(inputs, states)
        if counted is not None:
            kept = torch.zeros_like(output) if zero_output_for_mask or last is None else last
            output = _where(counted, output, kept)
            new = tree.map_structure(functools.partial(_where, counted), new, states)
        last, states = output, new
        if all_outputs:
            outputs.append(output)
    return last, torch.stack(outputs, 1) if all_outputs else None, states


def _where(counted: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Choose for each sample, ``(batch,)``, between two tensors ``(batch, …)``."""
    return torch.where(counted.view(-1, *[1] * (new.dim() - 1)), new, old)
