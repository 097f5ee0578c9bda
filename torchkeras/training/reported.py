"""The running values of a run: of the objective and of metrics that a model keeps itself."""

from __future__ import annotations

from typing import Any

import torch

from torchkeras.training.objective import Results

_NO_TARGETS = (None, None, None)
_NO_STEP_YET = object()


class Reported:
    """What a run of captured or eager steps reports.

    Args:
        model: compiled.
    """

    def __init__(self, model: Any):
        self._model = model
        # The metrics that layers keep, as far as known: looking for them takes as long as steps.
        self._own: list[Any] | None = None

    @property
    def needs_targets(self) -> bool:
        """Whether there is a loss or a metric to compare outputs with targets."""
        objective = self._model._compiled.objective
        return any(part.is_wanted for part in objective.parts)

    @property
    def keep(self) -> Any:
        """What takes the results and the batch of each step."""
        keep = self._model._compiled.objective.keep
        # Without a loss or a metric there need be no targets in a batch.
        return keep if self.needs_targets else lambda results, batch: keep(results, _NO_TARGETS)

    def reset(self) -> None:
        """Begin a new epoch."""
        self._model._compiled.objective.reset()
        if self._own is None:
            self._own = self._model._own_metrics()
        for metric in self._own:
            metric.reset_state()

    def logs(self) -> dict[str, float]:
        """Return the running values as numbers, the loss first."""
        values = self._model._compiled.objective.logs()
        self._own = self._model._own_metrics()  # the first step may have made some
        for metric in self._own:
            values.update(as_numbers({metric.name: metric.result()}))
        return values

    last = logs  # those of the one step, where there was only one


class ReportedBySteps:
    """What a run reports whose steps are the model's own and return their logs.

    Args:
        model: compiled.
    """

    needs_targets = False

    def __init__(self, model: Any):
        self._model = model
        self._last: Any = _NO_STEP_YET

    def keep(self, results: Results, batch: Any) -> None:
        """Take what a step returned."""
        self._last = results

    def reset(self) -> None:
        """Begin a new epoch."""
        self._last = _NO_STEP_YET
        self._model.reset_metrics()

    def logs(self) -> dict[str, float]:
        """Return the metrics' running values where the step returned those, else its own logs.

        Raises:
            ValueError: when the step returned no dictionary of numbers.
        """
        if self._last is _NO_STEP_YET:
            return {}
        last, metrics = self.last(), self._model.get_metrics_result()
        found = as_numbers(metrics) if set(metrics) == set(self._last) else last
        return dict(sorted(found.items()))

    def last(self) -> dict[str, float]:
        """Return the last step's own logs.

        Raises:
            ValueError: when the step returned no dictionary of numbers.
        """
        if not isinstance(self._last, dict):
            raise ValueError(
                f"{type(self._model).__name__}: train_step and test_step must return a dictionary "
                f"from names to numbers; returned {self._last!r}."
            )
        return as_numbers(self._last)


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
