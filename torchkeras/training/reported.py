"""The running values of a run: of the objective and of metrics that a model keeps itself."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.training.objective import Results

_NO_TARGETS = (None, None, None)


class Reported:
    """What a run of captured or eager steps reports.

    Args:
        model: compiled.
    """

    def __init__(self, model: Any):
        self._model = model

    @property
    def needs_targets(self) -> bool:
        """Whether there is a loss or a metric to compare outputs with targets."""
        objective = self._model._compiled.objective
        return any(part.loss is not None or part.has_metrics for part in objective.parts)

    @property
    def keep(self) -> Any:
        """What takes the results and the batch of each step."""
        keep = self._model._compiled.objective.keep
        # Without a loss or a metric there need be no targets in a batch.
        return keep if self.needs_targets else lambda results, batch: keep(results, _NO_TARGETS)

    def reset(self) -> None:
        """Begin a new epoch."""
        self._model._compiled.objective.reset()
        for metric in self._model._own_metrics():
            metric.reset_state()

    def logs(self) -> dict[str, float]:
        """Return the running values as numbers, the loss first."""
        values = self._model._compiled.objective.logs()
        for metric in self._model._own_metrics():
            values.update(as_numbers({metric.name: metric.result()}))
        return values


class ReportedBySteps:
    """What a run reports whose steps are the model's own and return their logs.

    Args:
        model: compiled.
    """

    needs_targets = False

    def __init__(self, model: Any):
        self._model = model
        self._last: Any = None

    def keep(self, results: Results, batch: Any) -> None:
        """Take what a step returned."""
        self._last = results

    def reset(self) -> None:
        """Begin a new epoch."""
        self._last = None
        self._model.reset_metrics()

    def logs(self) -> dict[str, float]:
        """Return the metrics' running values where the step returned those, else its own logs.

        Raises:
            ValueError: when the step returned no dictionary of numbers.
        """
        if self._last is None:
            return {}
        if not isinstance(self._last, dict):
            raise ValueError(
                f"{type(self._model).__name__}: train_step and test_step must return a dictionary "
                f"from names to numbers; returned {self._last!r}."
            )
        metrics = self._model.get_metrics_result()
        found = metrics if set(metrics) == set(self._last) else self._last
        return dict(sorted(as_numbers(found).items()))


def as_numbers(logs: dict[str, Any]) -> dict[str, float]:
    """Return logs as numbers; a metric that returns a dictionary gives its entries.

    Raises:
        ValueError: for what is no number.
    """
    values: dict[str, float] = {}
    for name, item in logs.items():
        if isinstance(item, dict):
            values.update(as_numbers(item))
            continue
        try:
            values[name] = float(item.detach() if isinstance(item, torch.Tensor) else item)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"{name!r} must be one number; received {item!r}.") from None
    return values
