"""Arguments that were called otherwise in Keras 1, 2 or tf.keras: one table, read by the registry.

Where an argument moved without changing its meaning, a row gives the new name.  Where its values
changed as well, it gives a function from the old value to new arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Rename = str | Callable[[Any], dict[str, Any]]

_WEIGHTS: dict[str, Rename] = {
    "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint",
    "bias": "use_bias",
}


def only(owner: str, name: str, *values: Any) -> Callable[[Any], dict[str, Any]]:
    """Make the row of an argument that is gone: these values are what it does now, others raise.

    Args:
        owner: shown in the message.
        name: of the argument.
        values: what may be given; there is nothing to do for them.
    """

    def check(value: Any) -> dict[str, Any]:
        if value not in values:
            shown = " or ".join(repr(known) for known in values)
            raise ValueError(
                f"{owner}: {name}={value!r} of older versions of Keras is not supported; only "
                f"{shown} is."
            )
        return {}

    return check


def _nothing(value: Any) -> dict[str, Any]:
    """Take an argument that says how generators are read; arrays, which are taken, are not."""
    return {}


_READING: dict[str, Rename] = dict.fromkeys(
    ("max_queue_size", "workers", "use_multiprocessing", "max_q_size"), _nothing
)

# Class or method -> old argument -> what it is now.
RENAMED: dict[str, dict[str, Rename]] = {
    "Dense": {"output_dim": "units", **_WEIGHTS},
    "Dropout": {"p": "rate"},
    "Model": {"input": "inputs", "output": "outputs"},
    "Functional": {"input": "inputs", "output": "outputs"},
    "backend.one_hot": {"nb_classes": "num_classes"},
    "backend.expand_dims": {"dim": "axis"},
    "backend.random_uniform": {"low": "minval", "high": "maxval"},
    "backend.random_normal": {"std": "stddev"},
    "BatchNormalization": {
        "beta_init": "beta_initializer",
        "gamma_init": "gamma_initializer",
        # Modes 1 and 2 normalized each sample, and with the batch's own numbers at all times.
        "mode": only("BatchNormalization", "mode", 0),
    },
    "L1": {"l": "l1"},
    "L2": {"l": "l2"},
    "MaxNorm": {"m": "max_value"},
    "MinMaxNorm": {"low": "min_value", "high": "max_value"},
    "Model.compile": {
        # One weight for each step of a sequence needs no mode any more.
        "sample_weight_mode": only("Model.compile", "sample_weight_mode", None, "temporal"),
        "target_tensors": only("Model.compile", "target_tensors", None),
    },
    "Model.fit": {"nb_epoch": "epochs", **_READING},
    "Model.evaluate": _READING,
    "Model.predict": _READING,
    "Model.train_on_batch": {"reset_metrics": only("train_on_batch", "reset_metrics", True)},
    "Model.test_on_batch": {"reset_metrics": only("test_on_batch", "reset_metrics", True)},
}
for _optimizer in ("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Adamax", "Nadam"):
    RENAMED[_optimizer] = {"lr": "learning_rate"}
# Nadam's schedule is fixed since Keras 3, to what was its default.
RENAMED["Nadam"]["schedule_decay"] = only("Nadam", "schedule_decay", 0.004)
