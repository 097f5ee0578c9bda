"""What training lowers and what it reports: loss, metrics and their weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from torchkeras import losses, metrics

# Outputs kept before they are reduced to metrics, in numbers: 16 MiB of float32.
_KEPT = 2**22


class Objective:
    """The loss and the metrics of a model, and their running values over an epoch.

    A step keeps its outputs; they are reduced when somebody looks (the bar refreshes, the epoch
    ends), all steps at once.  Metrics for which that is not the same are updated in the step.

    Args:
        loss: as ``compile`` takes it.
        wanted: the metrics, without sample weights.
        weighted: the metrics with sample weights.
        loss_weight: factor of the loss.

    Raises:
        ValueError: for an unknown name, or metrics that are no list.
    """

    def __init__(
        self, loss: Any, wanted: Any = None, weighted: Any = None, loss_weight: float | None = None
    ):
        self.given = loss
        self.loss_weight = loss_weight
        self._wanted = _as_list("metrics", wanted)
        self._weighted = _as_list("weighted_metrics", weighted)
        # Unknown names are errors of compile, not of fit; the shapes only choose among accuracies.
        if loss is not None:
            losses.choose(loss, (1, 1), (1, 1))
        self.names = _unique(
            [metrics.choose(m, (1, 1), (1, 1)).name for m in self._wanted + self._weighted],
            len(self._wanted),
        )
        self.loss: losses.Loss | None = None
        self.metrics: list[metrics.Metric] = []
        self.built = False
        self._clear()

    def _clear(self) -> None:
        self._losses: list[torch.Tensor] = []
        self._sizes: list[int] = []
        self._outputs: list[tuple[Any, ...]] = []
        self._numbers = 0
        self._total: torch.Tensor | float = 0.0
        self._samples = 0

    def build(self, y_shape: Sequence[int], output_shape: Sequence[int]) -> None:
        """Choose loss and metrics for the shapes of a batch of targets and outputs."""
        if self.built:
            return
        self.loss = losses.choose(self.given, y_shape, output_shape)
        self.metrics = [
            metrics.choose(metric, y_shape, output_shape)
            for metric in self._wanted + self._weighted
        ]
        self._deferred = [
            (metric, index >= len(self._wanted))
            for index, metric in enumerate(self.metrics)
            if metric.deferrable
        ]
        self._immediate = [
            (metric, index >= len(self._wanted))
            for index, metric in enumerate(self.metrics)
            if not metric.deferrable
        ]
        self.built = True

    def reset(self) -> None:
        """Begin a new epoch."""
        self._clear()
        for metric in self.metrics:
            metric.reset_state()

    def __call__(
        self, y: torch.Tensor, y_pred: torch.Tensor, weight: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the loss of a batch, penalties not included."""
        value = self.loss(y, y_pred, weight)
        if value.dim():
            value = value.mean()
        return value if self.loss_weight is None else value * self.loss_weight

    def keep(
        self, loss: torch.Tensor, y: torch.Tensor, y_pred: torch.Tensor, weight: torch.Tensor | None
    ) -> None:
        """Keep what a step gave, for the running values.

        Args:
            loss: the batch's loss, penalties included, detached.
            y: targets.
            y_pred: outputs, detached.
            weight: sample weights.
        """
        self._losses.append(loss)
        self._sizes.append(len(y_pred))
        for metric, weighted in self._immediate:
            metric.update_state(y, y_pred, weight if weighted else None)
        if self._deferred:
            self._outputs.append((y, y_pred, weight))
        self._numbers += y_pred.numel() + 16
        if self._numbers > _KEPT:
            self._reduce()

    def _reduce(self) -> None:
        """Bring the kept outputs into the running values, without reading them to the host."""
        if not self._losses:
            return
        values = torch.stack(self._losses)
        if values.device.type != "mps":  # which has no float64
            values = values.double()
        self._total = self._total + values @ values.new_tensor(self._sizes)
        self._samples += sum(self._sizes)
        if self._outputs:
            joined = [None if parts[0] is None else _join(parts) for parts in zip(*self._outputs)]
            for metric, weighted in self._deferred:
                metric.update_state(joined[0], joined[1], joined[2] if weighted else None)
        self._losses, self._sizes, self._outputs, self._numbers = [], [], [], 0

    def logs(self) -> dict[str, float]:
        """Return the running values of the epoch as numbers: the loss first, then each metric."""
        self._reduce()
        values = {"loss": float(self._total) / self._samples if self._samples else 0.0}
        for name, metric in zip(self.names, self.metrics, strict=True):
            values[name] = float(metric.result())
        return values


def _join(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _as_list(name: str, given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, dict):
        given = list(given.values())
    if not isinstance(given, (list, tuple)):
        raise ValueError(f"{name} must be a list, such as ['accuracy']; received {given!r}.")
    flat: list[Any] = []
    for item in given:
        flat += list(item) if isinstance(item, (list, tuple)) else [item]
    return flat


def _unique(names: list[str], plain: int) -> list[str]:
    """Tell equal names apart: weighted ones by 'weighted_', others by a number, as Keras does."""
    taken: dict[str, int] = {}
    result = []
    for index, name in enumerate(names):
        if name in taken and index >= plain and f"weighted_{name}" not in taken:
            name = f"weighted_{name}"
        if name in taken:
            taken[name] += 1
            name = f"{name}_{taken[name] - 1}"
        taken[name] = taken.get(name, 1)
        result.append(name)
    return result
