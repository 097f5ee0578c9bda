"""Training, evaluation and prediction of single batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from torchkeras.layers.mode import mode
from torchkeras.registry import reads_arguments
from torchkeras.training import data, support
from torchkeras.training.arrays import as_tensor
from torchkeras.training.data import Batches


class OnBatch:
    """The methods of :class:`Trainer` that take one batch and know of no epochs."""

    @reads_arguments("Model.train_on_batch")
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> float | list[float] | dict[str, float]:
        """Do one training step on a batch.

        Args:
            x: inputs.
            y: targets.
            sample_weight: one weight a sample.
            class_weight: class -> weight in the loss.
            return_dict: return a dictionary by name.

        Returns:
            The batch's loss, or with metrics the list in the order of ``metrics_names``.

        Raises:
            ValueError: when the model is not compiled or the data does not fit it.
        """
        objective = self._objective("train_on_batch")
        data.one_kind_of_weights(sample_weight, class_weight)
        x, y, weight = data.training_data(x, y, sample_weight)
        if class_weight is not None:
            weight = data.class_weights(y, class_weight)
        self._ready_for(x, y)
        batches = Batches(x, y, weight, len(x), device=self._device())
        with self._compiled.training(), mode(self, training=True):
            objective.reset()
            x, y, weight = next(iter(batches))
            loss, y_pred = self._train_step().compute(x, y, weight)
            objective.keep(loss, y, y_pred, weight)
        return support.as_returned(objective.logs(), return_dict)

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
        return self.evaluate(
            x, y, len(as_tensor("x", x)), 0, sample_weight, return_dict=return_dict
        )

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Compute the outputs of one batch.

        Args:
            x: inputs.

        Returns:
            An array ``(samples, …)``.
        """
        x = as_tensor("x", x)
        return self.predict(x, len(x), verbose=0)
