"""From what a user gives ``compile`` as a metric to a Metric with the name of its era."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torchkeras import eras, losses, registry
from torchkeras.losses.choose import family_of, is_torch_loss, name_of
from torchkeras.metrics.batch import BY_NAME
from torchkeras.metrics.mean import MeanMetricWrapper
from torchkeras.metrics.metric import Metric

Shape = Sequence[int | None]

_BY_SHAPE = {"accuracy": "accuracy", "acc": "accuracy", "crossentropy": "crossentropy"}
_BY_SHAPE["ce"] = "crossentropy"

# The names that Keras before 2.3 wrote for what the user gave: the function's, and short ones for
# what is chosen by shape.
_FUNCTION_NAMES = {
    "accuracy": "acc",
    "crossentropy": "ce",
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "kld": "kullback_leibler_divergence",
    "cosine": "cosine_proximity",
}


def is_by_shape(identifier: Any) -> bool:
    """Tell whether a metric is chosen by the shapes of targets and outputs ('acc', 'ce', …)."""
    return isinstance(identifier, str) and identifier.lower() in _BY_SHAPE


def choose(identifier: Any, y_true_shape: Shape, y_pred_shape: Shape) -> Metric:
    """Turn what the user gave into a Metric, looking at the shapes where only they tell which.

    Args:
        identifier: as for :func:`as_metric`, or one of ``'accuracy'``, ``'acc'``,
            ``'crossentropy'``, ``'ce'``.
        y_true_shape: of the targets, ``(batch, …)``.
        y_pred_shape: of the outputs, ``(batch, …)``.
    """
    if not is_by_shape(identifier):
        return as_metric(identifier)
    family = family_of(y_true_shape, y_pred_shape)
    cls = registry.find("metric", f"{family}_{_BY_SHAPE[identifier.lower()]}")
    return cls(name=_written(identifier))


def as_metric(identifier: Any) -> Metric:
    """Turn what the user gave into a Metric.

    Args:
        identifier: a name, a class, a config dictionary, a Metric, or a callable
            ``metric(y_true, y_pred)`` giving one value a sample, or one for the batch.

    Raises:
        ValueError: for an unknown name, with the nearest known names, for ``None``, or a thing that
            is no metric.
    """
    if identifier is None:
        raise ValueError("Expected a metric: a name, a Metric or a callable. Received None.")
    if is_by_shape(identifier):
        raise ValueError(
            f"The metric {identifier!r} is chosen by the shapes of targets and outputs, which are "
            f"not known here; name 'binary_{_BY_SHAPE[identifier.lower()]}' or another."
        )
    found = _function_of_era(identifier) or registry.get("metric", identifier)
    if inspect.isclass(found):
        found = found()
    if not isinstance(found, Metric):
        if not callable(found):
            raise ValueError(
                "Expected a metric: a name, a Metric or a callable metric(y_true, y_pred). "
                f"Received {found!r}."
            )
        # torch's own losses are called in torch's order.
        function = losses.as_loss(found) if is_torch_loss(found) else found
        found = MeanMetricWrapper(function, name=_name_of(found))
    if isinstance(identifier, str):
        found.name = _written(identifier)
    return found


def _function_of_era(identifier: Any) -> Any:
    """Return the function that a name meant then and does not now.

    Before 2.3 cosine_proximity was the loss, whose sign differs; Keras 1 had metrics of batches.
    """
    if not isinstance(identifier, str) or not eras.value("history.function_names"):
        return None
    if identifier in ("cosine", "cosine_proximity"):
        return losses.cosine_proximity
    return BY_NAME.get(identifier) if eras.value("metrics.are_numbers") else None


def _written(name: str) -> str:
    """Return the name under which the history has a metric that the user named."""
    if eras.value("history.function_names"):
        return _FUNCTION_NAMES.get(name.lower(), name)
    return name


def _name_of(function: Any) -> str:
    if eras.value("metrics.snake_names") or not hasattr(function, "__name__"):
        return name_of(function)
    return function.__name__
