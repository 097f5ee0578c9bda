"""Training, evaluation and prediction of single batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from torchkeras.layers.mode import mode
from torchkeras.registry import reads_arguments
from torchkeras.training import custom, data, layout, support


class OnBatch:
    """The methods of :class:`Trainer` that take one batch and know of no epochs."""

    @reads_arguments("Model.train_on_batch")
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping | Sequence | None = None,
        return_dict: bool = False,
    ) -> float | list[float] | dict[str, float]:
        """Do one training step on a batch.

        Args:
            x: inputs.
            y: targets.
            sample_weight: one weight a sample.
            class_weight: class -> weight in the loss; for several outputs a list of such, or a
                dictionary by the outputs' names.
            return_dict: return a dictionary by name.

        Returns:
            The batch's loss, or with metrics the list in the order of ``metrics_names``.

        Raises:
            ValueError: when the model is not compiled or the data does not fit it.
        """
        reported = self._reported("train_on_batch")
        data.one_kind_of_weights(sample_weight, class_weight)
        given = layout.samples(self, x, y, sample_weight, reported.needs_targets)
        if class_weight is not None:
            given = data.with_class_weights(given, class_weight, layout.output_names(self))
        self._ready_for(given)
        batches = self._batches(given, len(given), False, None)
        with self._compiled.training(), mode(self, training=True):
            reported.reset()
            batch = next(iter(batches))
            if custom.trains_itself(self):
                results = self.train_step(batches.layout.data(batch))
            else:
                results = self._train_step(batches.layout).compute(*batch)
            reported.keep(results, batch)
        return support.as_returned(reported.last(), self.metrics_names, return_dict)

    @reads_arguments("Model.test_on_batch")
    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> float | list[float] | dict[str, float]:
        """Compute the loss and the metrics of one batch.

        Args:
            x: inputs.
            y: targets.
            sample_weight: one weight a sample.
            return_dict: return a dictionary by name.

        Returns:
            The batch's loss, or with metrics the list in the order of ``metrics_names``.
        """
        if not custom.tests_itself(self):
            size = self._samples_in(x)
            return self.evaluate(x, y, size, 0, sample_weight, return_dict=return_dict)
        reported = self._reported("test_on_batch")
        batches = self._validation_batches((x, y, sample_weight), self._samples_in(x), None)
        reported.reset()
        batch = next(iter(batches))
        with mode(self, training=False), torch.no_grad():
            reported.keep(self.test_step(batches.layout.data(batch)), batch)
        return support.as_returned(reported.last(), self.metrics_names, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Compute the outputs of one batch.

        Args:
            x: inputs.

        Returns:
            An array ``(samples, …)``; for several outputs their structure.
        """
        return self.predict(x, self._samples_in(x), verbose=0)

    def _samples_in(self, x: Any) -> int:
        return len(layout.inputs_of(self, x)[0][0])
