"""What training lowers and what it reports: loss, metrics and their weights."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from torchkeras import config, dtypes, losses, metrics
from torchkeras.registry import is_builtin

# Bytes of targets, outputs and losses that are kept before they are reduced.
_KEPT = 2**24
# What a step keeps beside its outputs: roughly, the loss.
_KEPT_A_STEP = 64
# What a step returns: the loss, the outputs, then their masks where there are any.
Results = Sequence[torch.Tensor | None]
# Targets, outputs and sample weights.
Kept = tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]


class Objective:
    """The loss and the metrics of a model, and their running values over an epoch.

    A step keeps its outputs; they are reduced when somebody looks (the bar refreshes, the epoch
    ends), all steps at once: the metrics, and the loss where a step did not need its value.
    Metrics for which that is not the same are updated in the step.

    Args:
        loss: as ``compile`` takes it.
        wanted: the metrics, without sample weights.
        weighted: the metrics with sample weights.
        loss_weight: factor of the loss.

    Raises:
        ValueError: for an unknown name, a metric as loss, or metrics that are no list.
    """

    def __init__(
        self, loss: Any, wanted: Any = None, weighted: Any = None, loss_weight: float | None = None
    ):
        self.given = loss
        self.loss_weight = loss_weight
        self._wanted = _as_list("metrics", wanted)
        self._weighted = _as_list("weighted_metrics", weighted)
        if _is_metric(loss):
            raise ValueError(
                f"loss: {loss!r} is a metric, which has no gradient; give a loss, such as 'mse' or "
                "torchkeras.losses.MeanSquaredError()."
            )
        # Unknown names are errors of compile, not of fit; the shapes only choose among accuracies.
        self.loss: losses.Loss | None = None
        if loss is not None:
            self.loss = losses.choose(loss, (1, 1), (1, 1))
        self._first = [metrics.choose(m, (1, 1), (1, 1)) for m in self._wanted + self._weighted]
        self.names = _unique([metric.name for metric in self._first], len(self._wanted))
        self.metrics: list[metrics.Metric] = []
        self.built = loss is None and not self._first
        self._has_features = False
        self._deferred: list[tuple[metrics.Metric, bool]] = []
        self._immediate: list[tuple[metrics.Metric, bool]] = []
        self._clear()

    @property
    def parts(self) -> list[Objective]:
        """The objectives of each output: this one."""
        return [self]

    @property
    def trackers(self) -> list[metrics.Metric]:
        """The running means of several outputs' own losses, of which there are none."""
        return []

    @property
    def has_metrics(self) -> bool:
        """Whether any metric is wanted."""
        return bool(self._first)

    @property
    def is_wanted(self) -> bool:
        """Whether outputs are compared with targets: by a loss or by metrics."""
        return self.loss is not None or self.has_metrics

    def _clear(self) -> None:
        self._total: torch.Tensor | float = 0.0
        self._samples = 0
        # How many samples may be kept; 0 until somebody looks how large one is.
        self._room = 0
        self._let_go()

    def _let_go(self) -> None:
        """Drop what is kept."""
        self._losses: list[torch.Tensor | None] = []
        self._sizes: list[int] = []
        # Of the steps without a loss; with deferred metrics, of all.
        self._outputs: list[Kept] = []
        self._pending = 0  # samples

    def build(self, y_shape: Sequence[int], output_shape: Sequence[int]) -> None:
        """Choose loss and metrics for the shapes of a batch of targets and outputs."""
        if self.built:
            return
        if losses.is_by_shape(self.given):
            self.loss = losses.choose(self.given, y_shape, output_shape)
        self.metrics = [
            metrics.choose(given, y_shape, output_shape) if metrics.is_by_shape(given) else first
            for given, first in zip(self._wanted + self._weighted, self._first, strict=True)
        ]
        # Outputs of rank 1 are one sample to some losses.
        self._has_features = len(output_shape) > 1
        # Each with whether it takes the sample weights.
        self._deferred, self._immediate = [], []
        for index, metric in enumerate(self.metrics):
            kind = self._deferred if metric.deferrable else self._immediate
            kind.append((metric, index >= len(self._wanted)))
        self.built = True

    @property
    def loss_deferrable(self) -> bool:
        """Whether the loss of many steps can be computed at once from what :meth:`keep` keeps.

        Known once the shapes are.  The outputs of the steps must carry no mask.
        """
        return self.built and self._has_features and self.loss is not None and self.loss.separable

    def prepare(self, y: torch.Tensor, output_shape: Sequence[int]) -> None:
        """Choose loss and metrics for the data, once, and refuse targets that do not suit them.

        Args:
            y: all targets of a run.
            output_shape: of the model's output for them; the number of samples may be unknown.

        Raises:
            ValueError: saying what came and what the loss or metric expects.
        """
        output_shape = (len(y), *output_shape[1:])
        is_new = not self.built
        self.build(y.shape, output_shape)
        try:
            if self.loss is not None:
                losses.check_targets(self.loss, y, output_shape)
            if is_new:
                self._try_metrics(y, output_shape)
        except ValueError:
            self.built = not is_new
            raise

    def _try_metrics(self, y: torch.Tensor, output_shape: Sequence[int]) -> None:
        """Run built-in metrics on a few zeros: what they refuse would else end the first epoch."""
        sizes = [*y.shape[1:], *output_shape[1:]]
        if None in sizes:
            return
        # A number of rows that is no other axis' length: equal ones would broadcast.
        rows = next(count for count in range(2, len(sizes) + 3) if count not in sizes)
        device, dtype = config.device(), dtypes.to_torch(config.floatx())
        targets = torch.zeros(rows, *y.shape[1:], dtype=y.dtype, device=device)
        outputs = torch.zeros(rows, *output_shape[1:], dtype=dtype, device=device)
        for name, metric in zip(self.names, self.metrics, strict=True):
            if not is_builtin(type(metric)) or not is_builtin(getattr(metric, "fn", type(metric))):
                continue
            try:
                metric.update_state(targets, outputs)
            except Exception as error:
                raise ValueError(
                    f"metric {name!r} cannot compare targets of shape {tuple(y.shape)} with "
                    f"outputs of shape {tuple(output_shape)}. Use one that suits the loss, such as "
                    "'accuracy'."
                ) from error
            finally:
                metric.reset_state()

    @property
    def metric_names(self) -> list[str]:
        """The names of the metrics as they are reported."""
        return self.names

    def update_metrics(
        self, y: torch.Tensor, y_pred: torch.Tensor, weight: torch.Tensor | None
    ) -> None:
        """Bring a batch into all metrics at once."""
        for metric, is_weighted in (*self._deferred, *self._immediate):
            metric.update_state(y, y_pred, weight if is_weighted else None)

    def reset(self) -> None:
        """Begin a new epoch."""
        self._clear()
        for metric in self.metrics:
            metric.reset_state()

    def lowered(
        self, y: torch.Tensor, y_pred: torch.Tensor, weight: torch.Tensor | None
    ) -> tuple[torch.Tensor | None, tuple[torch.Tensor, ...]]:
        """Return the loss of a batch, penalties not included, and nothing else.

        Returns:
            The loss, ``None`` without one, and the outputs' own losses, of which there are none
            beside it.

        Raises:
            ValueError: when a loss of the user's own returns no number or tensor.
        """
        if self.loss is None:
            return None, ()
        value = self.value(y, y_pred, weight)
        return (value if self.loss_weight is None else value * self.loss_weight), ()

    def value(
        self, y: torch.Tensor, y_pred: torch.Tensor, weight: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the loss of a batch before its factor."""
        try:
            value = self.loss(y, y_pred, weight)
        except (TypeError, RuntimeError) as error:
            if _is_no_tensor(error):
                raise ValueError(self.without_gradient()) from error
            raise
        return value.mean() if value.dim() else value

    def without_gradient(self) -> str:
        """Say that the loss gave what cannot be trained on."""
        if torch.is_inference_mode_enabled():
            return "fit was called within torch.inference_mode(), where nothing can be trained."
        if self.loss is None:
            return "No loss to train on depends on the model's weights: give compile a loss."
        return (
            f"loss {self.loss.name!r} does not depend on the model's outputs, or returned no "
            "tensor: compute it from y_pred in torch, without numpy, float(), .item() or "
            ".detach(), and return it."
        )

    def keep(self, results: Results, batch: Sequence[torch.Tensor | None]) -> None:
        """Keep what a step gave, for the running values.

        Args:
            results: the batch's loss, penalties included, detached (``None`` for a loss without
                penalties that is :attr:`loss_deferrable`); the outputs ``(batch, …)``, detached;
                and their mask where they have one.
            batch: inputs, at last targets ``(batch, …)`` and weights; their memory must stay as it
                is until :meth:`logs`.
        """
        try:
            loss, y_pred = results
        except ValueError:
            loss, y_pred, mask = results
            self._keep_masked(loss, batch[-2], y_pred, batch[-1], mask)
            return
        y, weight = batch[-2], batch[-1]
        size = y_pred.shape[0]  # a third of what len() takes
        self._losses.append(loss)
        self._sizes.append(size)
        if loss is None or self._deferred:
            self._outputs.append((y, y_pred, weight))
        if self._immediate:
            self._update(y, y_pred, weight)
        self._pending += size
        if self._pending > self._room:
            self._make_room(y, y_pred, weight)

    def _keep_masked(
        self, loss: torch.Tensor, y: Any, y_pred: torch.Tensor, weight: Any, mask: torch.Tensor
    ) -> None:
        """Keep what a step gave whose outputs have a mask, which every metric takes as weights."""
        self._losses.append(loss)
        self._sizes.append(y_pred.shape[0])
        mask = mask.to(y_pred.dtype)
        for metric, is_weighted in (*self._deferred, *self._immediate):
            weights = mask
            if is_weighted and weight is not None:
                weights = mask * weight.reshape(*weight.shape, *(1,) * (mask.dim() - weight.dim()))
            metric.update_state(y, y_pred, weights)
        self._reduce_losses()

    def _reduce_losses(self) -> None:
        """Bring the kept losses into the total; their outputs are not kept."""
        self._samples += sum(self._sizes)
        self._add_losses((None, None, None))
        self._losses, self._sizes = [], []

    def _update(self, y: torch.Tensor, y_pred: torch.Tensor, weight: torch.Tensor | None) -> None:
        """Bring a step into the metrics that cannot wait."""
        for metric, weighted in self._immediate:
            try:
                metric.update_state(y, y_pred, weight if weighted else None)
            except TypeError as error:
                if _is_no_tensor(error):
                    raise ValueError(
                        f"metric {metric.name!r} returned no number or tensor; it must return one."
                    ) from error
                raise

    def _make_room(self, *kept: torch.Tensor | None) -> None:
        """Reduce what is kept when it is as much as may be; kept: of the last step."""
        if not self._room:
            size = _KEPT_A_STEP + sum(part.nbytes for part in kept if part is not None)
            self._room = _KEPT * len(kept[1]) // size
        if self._pending > self._room:
            self._reduce()

    def _reduce(self) -> None:
        """Bring the kept outputs into the running values, without reading them to the host."""
        if not self._sizes:
            return
        self._samples += sum(self._sizes)
        joined = _join(self._outputs)
        for metric, weighted in self._deferred:
            metric.update_state(joined[0], joined[1], joined[2] if weighted else None)
        self._add_losses(joined)
        self._let_go()

    def _add_losses(self, joined: Kept) -> None:
        """Add the kept losses to the total, those that are known and those that follow.

        Args:
            joined: all kept outputs.
        """
        known = [kept for kept in zip(self._losses, self._sizes) if kept[0] is not None]
        if known:
            values = dtypes.widest(torch.stack([loss for loss, _ in known]))
            self._total = self._total + values @ values.new_tensor([size for _, size in known])
        if len(known) == len(self._losses):
            return
        if known and self._deferred:  # for which the others' outputs were kept too
            pairs = zip(self._losses, self._outputs, strict=True)
            joined = _join([kept for loss, kept in pairs if loss is None])
        with torch.no_grad():
            total = self.loss.total(*joined)
        if self.loss_weight is not None:
            total = total * self.loss_weight
        self._total = self._total + total

    def logs(self) -> dict[str, float]:
        """Return the running values of the epoch as numbers: the loss first, then each metric."""
        self._reduce()
        values = {"loss": float(self._total) / self._samples if self._samples else 0.0}
        for name, metric in zip(self.names, self.metrics, strict=True):
            result = metric.result()
            try:
                values[name] = float(result)
            except (TypeError, ValueError, RuntimeError):
                raise ValueError(
                    f"metric {name!r}: result() must return one number; returned {result!r}."
                ) from None
        return values


def _join(kept: Sequence[Kept]) -> Kept:
    """Join what several steps kept, part by part."""
    if not kept:
        return None, None, None
    if len(kept) == 1:
        return kept[0]
    return tuple(None if parts[0] is None else torch.cat(parts) for parts in zip(*kept))


def only_output(name: str, given: Any) -> Any:
    """Take what belongs to the model's one output out of a list or dictionary of one.

    Args:
        name: of the argument of ``compile``.
        given: its value; dictionaries are by the outputs' names.

    Raises:
        ValueError: when there are more or none.
    """
    if isinstance(given, (list, tuple)) or (isinstance(given, dict) and "class_name" not in given):
        items = list(given.values()) if isinstance(given, dict) else list(given)
        if len(items) != 1:
            raise ValueError(
                f"{name}: the model has one output, but received {len(items)}: {given!r}. (Lists "
                "and dictionaries have one entry for each output.)"
            )
        return items[0]
    return given


def _is_metric(thing: Any) -> bool:
    cls = thing if inspect.isclass(thing) else type(thing)
    return issubclass(cls, metrics.Metric)


def _is_no_tensor(error: Exception) -> bool:
    """Tell whether torch complains of an object, or of numpy's hands on a tensor with gradients."""
    text = str(error)
    return "numpy.object_" in text or "Can't call numpy() on Tensor that requires grad" in text


def _as_list(name: str, given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, dict):
        given = only_output(name, given)
        given = given if isinstance(given, (list, tuple)) else [given]
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
