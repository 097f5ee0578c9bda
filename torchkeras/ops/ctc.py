"""Connectionist temporal classification: the loss, and the labels that a model's output means."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from torchkeras.ops.promotion import common_dtype
from torchkeras.ops.table import Table

op = Table("nn", __name__)
__all__ = op.names


@op.own(keras="CTCLoss")
def ctc_loss(
    target: Tensor,
    output: Tensor,
    target_length: Tensor,
    output_length: Tensor,
    mask_index: int = 0,
) -> Tensor:
    """Return the negative log likelihood of labels whose places in time are not known.

    (Graves et al. 2006, Connectionist Temporal Classification.)

    Args:
        target: classes, ``(samples, labels)``, filled up with anything.
        output: logits, ``(samples, steps, classes)``.
        target_length: how many labels count, ``(samples,)``.
        output_length: how many steps count, ``(samples,)``.
        mask_index: the class that means no label.

    Returns:
        ``(samples,)``; infinite where the labels do not fit in the steps.
    """
    logits = output.to(common_dtype(output, torch.float32)).transpose(0, 1)
    logs = logits.log_softmax(-1)
    # A loss gets labels in the dtype of the predictions.
    labels, steps, lengths = (
        given.int() if given.is_floating_point() else given
        for given in (target, output_length, target_length)
    )
    return functional.ctc_loss(logs, labels, steps, lengths, blank=mask_index, reduction="none")


@op.own(keras="CTCDecode")
def ctc_decode(
    inputs: Tensor,
    sequence_lengths: Tensor,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int | None = 0,
) -> tuple[Tensor, Tensor]:
    """Read labels from the output of a model trained with :func:`ctc_loss`.

    Args:
        inputs: logits, ``(samples, steps, classes)``.
        sequence_lengths: how many steps count, ``(samples,)``.
        strategy: ``'greedy'``: the likeliest class at each step; ``'beam_search'``: the likeliest
            labels over all their places in time, searched on the CPU.
        beam_width: how many sequences of labels a beam search goes on with at each step.
        top_paths: how many a beam search returns.
        merge_repeated: whether a greedy search takes one class at successive steps for one label.
        mask_index: the class that means no label; the last where ``None``.

    Returns:
        Labels, ``(top_paths, samples, steps)`` of int32, filled up with -1; and ``(samples,
        top_paths)``: for a beam search the log likelihood, for a greedy one the negative sum of
        the largest logits.

    Raises:
        ValueError: for another strategy.
    """
    inputs = inputs.to(common_dtype(inputs, torch.float32))
    blank = inputs.shape[-1] - 1 if mask_index is None else mask_index
    if strategy == "greedy":
        return _greedy(inputs, sequence_lengths, merge_repeated, blank)
    if strategy != "beam_search":
        raise ValueError(
            f"ops.ctc_decode: strategy must be 'greedy' or 'beam_search'; received {strategy!r}."
        )
    logs = inputs.detach().log_softmax(-1).double().cpu().numpy()
    steps = inputs.shape[1]
    labels = np.full((top_paths, len(logs), steps), -1, np.int32)
    scores = np.full((len(logs), top_paths), -np.inf)
    for sample, length in enumerate(sequence_lengths.tolist()):
        found = _beam_search(logs[sample, :length], beam_width, top_paths, blank)
        for rank, (path, score) in enumerate(found):
            labels[rank, sample, : len(path)] = path
            scores[sample, rank] = score
    return (
        torch.as_tensor(labels, device=inputs.device),
        torch.as_tensor(scores, dtype=inputs.dtype, device=inputs.device),
    )


def _greedy(
    inputs: Tensor, lengths: Tensor, merge_repeated: bool, blank: int
) -> tuple[Tensor, Tensor]:
    steps = torch.arange(inputs.shape[1], device=inputs.device)
    is_over = steps >= lengths[:, None]
    labels = inputs.argmax(-1)
    is_none = is_over | (labels == blank)
    if merge_repeated:
        is_repeated = functional.pad(labels[:, 1:] == labels[:, :-1], (1, 0))
        is_none = is_none | is_repeated
    order = torch.where(is_none, len(steps), steps).argsort(-1)  # no labels go behind the others
    labels = torch.where(is_none, -1, labels).gather(-1, order)
    score = -torch.where(is_over, 0.0, inputs.amax(-1)).sum(-1, keepdim=True)
    return labels.int()[None], score


def _beam_search(
    logs: np.ndarray, width: int, top: int, blank: int
) -> list[tuple[list[int], float]]:
    """Return the likeliest sequences of labels, and their log likelihoods, the best first.

    A sequence in the beam has two scores: of all ways of writing it that end in a blank, and of
    those that end in its last label (Hannun et al. 2014, First-Pass Large Vocabulary Continuous
    Speech Recognition using Bi-Directional Recurrent DNNs, algorithm 1). Sequences are numbered
    as the nodes of a tree; number 0 is the empty one.

    Args:
        logs: log probabilities, ``(steps, classes)``.
        width: how many sequences are kept at each step.
        top: how many are wanted.
        blank: the class that means no label.
    """
    parents, labels, children = [-1], [blank], {}
    nodes = np.zeros(1, int)
    by_blank, by_label = np.zeros(1), np.full(1, -np.inf)
    with np.errstate(invalid="ignore"):  # logaddexp of two infinities
        for step in logs:
            last, above = np.array(labels)[nodes], np.array(parents)[nodes]
            both = np.logaddexp(by_blank, by_label)
            # A label more: one that repeats the last needs a blank in between.
            longer = both[:, None] + step
            rows = np.arange(len(nodes))
            longer[rows, last] = by_blank + step[last]
            longer[:, blank] = -np.inf
            # The same sequence, which may also come from one in the beam by its last label.
            same = by_label + step[last]
            child, parent = np.nonzero(above[:, None] == nodes)
            same[child] = np.logaddexp(same[child], longer[parent, last[child]])
            longer[parent, last[child]] = -np.inf
            stays = np.logaddexp(both + step[blank], same)
            totals = np.concatenate([stays, longer.ravel()])
            best = np.argsort(-totals, kind="stable")[:width]
            best = best[totals[best] > -np.inf]
            old, new = best[best < len(nodes)], best[best >= len(nodes)] - len(nodes)
            made = []
            for row, label in zip(*np.divmod(new, len(step))):
                key = (nodes[row], label)
                if key not in children:
                    children[key] = len(parents)
                    parents.append(nodes[row])
                    labels.append(label)
                made.append(children[key])
            by_blank = np.concatenate([(both + step[blank])[old], np.full(len(new), -np.inf)])
            by_label = np.concatenate([same[old], longer.ravel()[new]])
            nodes = np.concatenate([nodes[old], np.array(made, int)])
    scores = np.logaddexp(by_blank, by_label)
    best = np.argsort(-scores, kind="stable")[:top]
    return [(_path(nodes[at], parents, labels), scores[at]) for at in best]


def _path(node: int, parents: list[int], labels: list[int]) -> list[int]:
    """Return the labels on the way from the root of the tree to a node."""
    path = []
    while node:
        path.append(labels[node])
        node = parents[node]
    return path[::-1]
