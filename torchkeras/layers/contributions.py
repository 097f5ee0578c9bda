"""What a layer's call brings along besides its output: penalties, values to report, updates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from torchkeras import registry, tree
from torchkeras.layers import activity
from torchkeras.layers.weighted import Weighted
from torchkeras.variable import Variable


class Contributing(Weighted):
    """The part of a layer that keeps losses and metrics."""

    def _own_metrics(self) -> list[Any]:
        """The metrics that this layer holds, then those of the layers inside."""
        found = []
        # Built-in layers hold none; looking through all of a model's takes 0.1 ms an epoch.
        if self._is_model or self._added_metrics or not registry.is_builtin(type(self)):
            tracker = self.__dict__.get("_tracker")
            found = [metric for metric in _metrics_in(self.__dict__) if metric is not tracker]
        for layer in self._sublayers():
            if isinstance(layer, Contributing):  # not a module that somebody put in a layer's place
                found += layer._own_metrics()
        return list(dict.fromkeys(found))

    @property
    def metrics(self) -> list[Any]:
        """The metrics of this layer and of those inside."""
        return self._own_metrics()

    def add_metric(self, value: Any, name: str | None = None, aggregation: str = "mean") -> None:
        """Report a value of this call, as Keras 2 did: its mean over the epoch.

        Args:
            value: a tensor; its mean counts.
            name: that it is reported by.
            aggregation: must be ``'mean'``.

        Raises:
            TypeError: for what is no tensor.
            ValueError: for another aggregation, or without a name.
        """
        if not isinstance(value, torch.Tensor):
            raise TypeError(
                f"add_metric: layer {self.name!r} was given {value!r}; it takes a tensor computed "
                "in call(). What is symbolic is reported by a layer called on it."
            )
        self._make_added_metric(name, aggregation).update_state(value.detach())

    def _make_added_metric(self, name: str | None, aggregation: str | None) -> Any:
        """Return the running mean of a value that is reported, the same at each call."""
        if aggregation not in ("mean", None):
            raise ValueError(f"add_metric: aggregation must be 'mean'; received {aggregation!r}.")
        if name is None:
            raise ValueError(f"add_metric: layer {self.name!r} needs a name for the value.")
        if name not in self._added_metrics:
            self._added_metrics[name] = registry.find("metric", "Mean")(name=name)
        return self._added_metrics[name]

    @property
    def updates(self) -> list[Any]:
        """An empty list: what ``add_update`` is given is done in the call."""
        return []

    def _penalize(self, penalty: torch.Tensor) -> None:
        """Keep a penalty of the call that is under way."""
        self._activity_losses.append(penalty)

    def add_loss(self, loss: Any, inputs: Any = None) -> None:
        """Add scalars to what training lowers, in this call.

        Args:
            loss: a scalar tensor, or a list of them, computed in ``call``; a callable without
                arguments is asked at each step.
            inputs: what the loss depends on, as Keras 1 and 2 asked for; of no effect.

        Raises:
            ValueError: for what is no tensor.
        """
        for item in tree.leaves(loss):
            if callable(item) and not isinstance(item, (torch.Tensor, Variable)):
                self._loss_functions.append(item)
                continue
            if isinstance(item, Variable):
                item = item.value
            if not isinstance(item, torch.Tensor):
                raise ValueError(
                    f"add_loss: layer {self.name!r} was given {item!r}; it takes scalar tensors "
                    "computed in call(), or callables that return one."
                )
            self._penalize(item if item.dim() == 0 else item.mean())
        activity.use()

    def add_update(self, updates: Any, inputs: Any = None) -> None:
        """Take updates of weights, as Keras 1 and 2 did; they are made when training only.

        What ``K.update`` and its kin, or ``assign``, wrote is written already.

        Args:
            updates: what those returned, pairs ``(variable, value)``, functions without arguments
                that write, or a list of them.
            inputs: what the updates depended on in Keras 1 and 2; of no effect.

        Raises:
            ValueError: for anything else.
        """
        is_one = not isinstance(updates, list) and not _are_updates(updates)
        for update in [updates] if is_one else updates:
            if update is None or isinstance(update, (Variable, torch.Tensor)):
                continue
            if not callable(update) and not _is_pair(update):
                raise ValueError(
                    f"add_update: layer {self.name!r} was given {update!r}; it takes what K.update "
                    "returns, pairs (variable, value) and functions that write."
                )
            if self.training and callable(update):
                update()
            elif self.training:
                update[0].assign(update[1])

    @property
    def losses(self) -> list[torch.Tensor]:
        """The penalties: of regularized weights, and those that the last call added."""
        penalties = [v.regularizer(v.value) for v in self.regularized_variables()]
        return penalties + activity.penalties(self)

    def regularized_variables(self) -> list[Variable]:
        """The trainable weights that have a regularizer."""
        return [variable for variable in self.trainable_weights if variable.regularizer is not None]


def _is_pair(update: Any) -> bool:
    """Tell whether something is a variable and the value that it shall get."""
    return isinstance(update, tuple) and len(update) == 2 and isinstance(update[0], Variable)


def _are_updates(updates: Any) -> bool:
    """Tell whether a tuple holds several updates, and is not one itself."""
    return isinstance(updates, tuple) and not _is_pair(updates)


def _metrics_in(table: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the metrics among attributes, also in lists and dictionaries of metrics."""
    for name, item in table.items():
        if name in ("_modules", "_parameters", "_buffers", "_compiled"):
            continue
        for leaf in tree.leaves(item) if tree.is_nested(item) else (item,):
            if hasattr(leaf, "update_state") and hasattr(leaf, "reset_state"):
                yield leaf
