"""What training lowers and reports for a model of several outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from torchkeras import metrics, tree
from torchkeras.layers.structures import flat_shapes
from torchkeras.training.objective import Objective, Results


class Objectives:
    """The losses and metrics of several outputs, each with an :class:`Objective` of its own.

    The loss is the sum of the outputs' losses times their weights; each is reported as
    ``<output>_loss`` and each metric as ``<output>_<metric>``.

    Args:
        names: of the outputs; ``None`` where the model does not name them.
        count: how many outputs.
        loss: one for all, or a list or dictionary of them; ``None`` in it for an output without.
        loss_weights: likewise.
        wanted: metrics without sample weights: a list for each output, a dictionary by name, or a
            list for all.
        weighted: metrics with sample weights, likewise.
        keys: of the outputs where they are a dictionary, in its order; the names are those sorted.

    Raises:
        ValueError: for an unknown output, or lists of another length.
    """

    loss_deferrable = False

    def __init__(
        self,
        names: Sequence[str] | None,
        count: int,
        loss: Any,
        loss_weights: Any = None,
        wanted: Any = None,
        weighted: Any = None,
        keys: Sequence[str] | None = None,
    ):
        self.given = loss
        self._keys = keys
        self._names = names
        each_loss = _each("loss", loss, names, count, is_for_all=True)
        factors = _each("loss_weights", loss_weights, names, count, is_for_all=False)
        each_wanted = _metrics("metrics", wanted, names, count)
        each_weighted = _metrics("weighted_metrics", weighted, names, count)
        self.parts = [
            Objective(*given) for given in zip(each_loss, each_wanted, each_weighted, factors)
        ]
        self._total = Objective(None)
        self.trackers = self._make_trackers()
        self.built = False

    @property
    def names(self) -> list[str]:
        """The names of what is reported beside the loss, in Keras' order.

        Outputs of one name have one entry in the logs, but each has a place here.
        """
        order = self._parts_with_loss()
        if self._keys is not None:
            is_named = isinstance(self.given, Mapping)
            keys = list(self.given) if is_named else list(self._keys)
            if set(self._names) <= set(keys):  # not of structures within structures
                order.sort(key=lambda index: keys.index(self._names[index]))
        loss_names = [self._own_loss_name(index) for index in order] if len(order) > 1 else []
        if self._names is None:
            return self.metric_names + loss_names
        return loss_names + sorted(self.metric_names)

    @property
    def metric_names(self) -> list[str]:
        """The names of the metrics as they are reported."""
        return [
            self._prefixed(index, name)
            for index, part in enumerate(self.parts)
            for name in part.names
        ]

    def update_metrics(self, ys: Sequence[Any], y_pred: Any, weights: Sequence[Any]) -> None:
        """Bring a batch into all metrics at once."""
        for part, *given in zip(self.parts, ys, tree.flatten(y_pred), weights):
            part.update_metrics(*given)

    def _parts_with_loss(self) -> list[int]:
        return [index for index, part in enumerate(self.parts) if part.loss is not None]

    def _own_loss_name(self, index: int) -> str:
        if self._names is not None:
            return self._prefixed(index, "loss")
        given = self.parts[index].given
        return f"{given if isinstance(given, str) else self.parts[index].loss.name}_loss"

    def _make_trackers(self) -> list[metrics.Metric]:
        """Return a running mean of each output's own loss, for steps of the user's own."""
        order = self._parts_with_loss()
        names = [self._own_loss_name(index) for index in order] if len(order) > 1 else []
        return [metrics.Mean(name=name) for name in names]

    def _prefixed(self, index: int, name: str) -> str:
        return name if self._names is None else f"{self._names[index]}_{name}"

    @property
    def metrics(self) -> list[metrics.Metric]:
        """The metrics of all outputs."""
        return [metric for part in self.parts for metric in part.metrics]

    def prepare(self, ys: Sequence[torch.Tensor], output_shapes: Any) -> None:
        """Choose losses and metrics for the data, and refuse targets that do not suit them.

        Args:
            ys: all targets of a run.
            output_shapes: of the model's outputs for them.
        """
        shapes = flat_shapes(output_shapes)
        if len(shapes) != len(ys) and any(part.is_wanted for part in self.parts):
            raise ValueError(
                f"The model has {len(shapes)} outputs; received {len(ys)} targets. Pass a list "
                "with one array for each output."
            )
        for index, (part, y, shape) in enumerate(zip(self.parts, ys, shapes)):
            if not part.is_wanted:
                continue
            if y is None:
                name = index if self._names is None else repr(self._names[index])
                raise ValueError(f"y: output {name} has a loss or metrics; give it targets.")
            part.prepare(y, shape)
        self.built = True

    def reset(self) -> None:
        """Begin a new epoch."""
        for part in (self._total, *self.parts):
            part.reset()
        for tracker in self.trackers:
            tracker.reset_state()

    def lowered(
        self, ys: Sequence[torch.Tensor], y_pred: Any, weights: Sequence[torch.Tensor | None]
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor, ...]]:
        """Return the loss of a batch, penalties not included, and each output's own, detached."""
        if not self._parts_with_loss():
            return None, ()
        found = tree.flatten(y_pred)
        if len(found) != len(self.parts):
            raise ValueError(
                f"The model returned {len(found)} outputs where {len(self.parts)} were expected."
            )
        total, own = None, []
        for part, y, one, weight in zip(self.parts, ys, found, weights):
            if part.loss is None:
                continue
            value = part.value(y, one, weight)
            own.append(value.detach())
            value = value if part.loss_weight is None else value * part.loss_weight
            total = value if total is None else total + value
        return total, tuple(own)

    def keep(self, results: Results, batch: Sequence[torch.Tensor | None]) -> None:
        """Keep what a step gave, for the running values.

        Args:
            results: the loss, each output's own, the outputs, then their masks where there are any.
            batch: the batch that it was given.
        """
        count = len(self.parts)
        with_loss = self._parts_with_loss()
        loss, rest = results[0], results[1 + len(with_loss) :]
        own = dict(zip(with_loss, results[1:]))
        masks = rest[count:] or (None,) * count
        ys, weights = batch[-2 * count : -count], batch[-count:]
        self._total.keep((loss, rest[0]), (None, None, None))
        for index, part in enumerate(self.parts):
            if index in own or part.has_metrics:
                one = (own.get(index, loss), rest[index])
                kept = one if masks[index] is None else (*one, masks[index])
                part.keep(kept, (None, ys[index], weights[index]))

    def logs(self) -> dict[str, float]:
        """Return the running values of the epoch as numbers: the loss first."""
        values = {"loss": self._total.logs()["loss"]}
        found = [part.logs() if part.built else {} for part in self.parts]
        with_loss = self._parts_with_loss()
        if len(with_loss) > 1:
            for index in with_loss:
                values[self._own_loss_name(index)] = found[index]["loss"]
        for index, part in enumerate(self.parts):
            for name in part.names:
                values[self._prefixed(index, name)] = found[index][name]
        return values


def _each(
    what: str, given: Any, names: Sequence[str] | None, count: int, is_for_all: bool
) -> list[Any]:
    """Return an argument of ``compile`` for each output."""
    if isinstance(given, Mapping) and "class_name" not in given:
        given = _with_inner_names(given, names)
        unknown = [name for name in given if names is None or name not in names]
        if unknown:
            raise ValueError(
                f"{what}: the model has no output {unknown[0]!r}; its outputs are "
                f"{list(names) if names is not None else f'{count} without names'}."
            )
        return [given.get(name) for name in names]
    if isinstance(given, (list, tuple)):
        inner = tree.flatten(list(given))
        if len(given) != count and len(inner) == count:  # as nested as the outputs
            given = inner
        if len(given) != count:
            raise ValueError(
                f"{what}: the model has {count} outputs; received a list of {len(given)}."
            )
        return list(given)
    if given is not None and not is_for_all:
        raise ValueError(
            f"{what}: the model has {count} outputs; give a list or a dictionary; received "
            f"{given!r}."
        )
    return [given] * count


def _with_inner_names(given: Mapping, names: Sequence[str] | None) -> dict[str, Any]:
    """Return a dictionary in which structures of outputs, given by one key, have the full names."""
    found: dict[str, Any] = {}
    for key, part in given.items():
        inner = [name for name in names or () if name.startswith(f"{key}/")]
        is_flat = isinstance(part, (list, tuple)) and len(part) == len(inner)
        parts = list(part) if is_flat else tree.flatten(part)  # a part may be a list of metrics
        if inner and tree.is_nested(part) and len(parts) == len(inner):
            found.update(zip(inner, parts))
        else:
            found[key] = part
    return found


def _metrics(what: str, given: Any, names: Sequence[str] | None, count: int) -> list[Any]:
    """Return the list of metrics of each output."""
    if given is None:
        return [None] * count
    is_plain = isinstance(given, (list, tuple)) and not any(
        part is None or isinstance(part, (list, tuple)) for part in given
    )
    if is_plain and len(given) != count:  # as Keras 2 had it: for every output
        return [list(given)] * count
    found = _each(what, given, names, count, is_for_all=False)
    return [part if part is None or isinstance(part, (list, tuple)) else [part] for part in found]
