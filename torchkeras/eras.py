"""Which default or formula was whose: the one table of what changed between Keras versions.

A row maps the first version a value holds for to that value; the value in force is that of the
latest version not after the current one.  A row named ``Class.argument`` or
``Class.method.argument`` is a default, filled in where the user gave none; other rows are asked for
by name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

Version = tuple[int, ...]

ERAS: dict[str, Version] = {"1": (1, 2, 2), "2": (2, 2, 4), "tf2": (2, 15), "3": (3,)}

# First versions named in the table.
_KERAS_1, _KERAS_2, _KERAS_2_2, _KERAS_2_3 = (1,), (2,), (2, 2), (2, 3)
_TF_2, _KERAS_3 = (2, 4), (3,)

_RUN_PARAMS = {name: name for name in ("verbose", "epochs", "steps")}
_RUN_PARAMS_2 = _RUN_PARAMS | {
    name: name for name in ("batch_size", "samples", "do_validation", "metrics")
}

ROWS: dict[str, dict[Version, Any]] = {
    # Names in the history: Keras before 2.3 wrote a metric under its function's name, and
    # 'acc' for accuracy; since then it writes what the user wrote.
    "history.function_names": {_KERAS_1: True, _KERAS_2_3: False},
    # Seeds that the user did not give came from numpy.random until tf.keras 2.
    "seeds.from_numpy": {_KERAS_1: True, _TF_2: False},
    # Layers were numbered from 1 until tf.keras 2 (dense_1, dense_2; since then dense, dense_1),
    # and named without underscores inside in Keras 1 (batchnormalization_1).
    "names.start": {_KERAS_1: 1, _TF_2: 0},
    "names.lower": {_KERAS_1: True, _KERAS_2: False},
    "plot_model.show_layer_names": {_KERAS_1: True, _KERAS_3: False},
    # Updates that a layer's call makes were run by training steps alone.
    "updates.only_training": {_KERAS_1: True, _TF_2: False},
    # A variable that becomes an attribute of a layer is a weight of it since 2.3; before, only what
    # add_weight made and what the lists trainable_weights and non_trainable_weights were given.
    "layer.tracks_variables": {_KERAS_1: False, _KERAS_2_3: True},
    # Callbacks' logs are sorted by name in Keras 3; before, the loss came first.
    "logs.sorted": {_KERAS_1: False, _KERAS_3: True},
    # What callbacks found in `params`: their name for it -> today's.
    "callbacks.params": {
        _KERAS_1: _RUN_PARAMS_2 | {"nb_epoch": "epochs", "nb_sample": "samples"},
        _KERAS_2: _RUN_PARAMS_2,
        _TF_2: _RUN_PARAMS,
    },
    "Model.fit.epochs": {_KERAS_1: 10, _KERAS_2: 1},
    # predict was silent unless told otherwise.
    "Model.predict.verbose": {_KERAS_1: 0, (2, 9): "auto"},
    # The loss cosine_proximity was divided by the vectors' size until 2.0.8.
    "cosine_proximity.is_mean": {_KERAS_1: True, (2, 0, 9): False},
    # hinge and squared_hinge turn targets 0 and 1 into -1 and 1 since 2.3.
    "hinge.takes_zero_one": {_KERAS_1: False, _KERAS_2_3: True},
    # A metric function that gives one number a batch: before 2.3 the mean over batches was weighted
    # by their lengths.
    "metrics.weigh_batches": {_KERAS_1: True, _KERAS_2_3: False},
    # Keras 3 names a metric function in snake case, earlier ones as it is called.
    "metrics.snake_names": {_KERAS_1: False, _KERAS_3: True},
    # hard_sigmoid is clip(slope * x + 0.5, 0, 1) everywhere.
    "hard_sigmoid.slope": {_KERAS_1: 0.2, _KERAS_3: 1 / 6},
    # glorot_normal and its kin were not truncated in Keras 1, and until 2.2 the truncated ones were
    # not widened to make up for the deviation that truncation takes away.
    "variance_scaling.normal": {_KERAS_1: "untruncated_normal", _KERAS_2: "truncated_normal"},
    "variance_scaling.truncated_deviation": {_KERAS_1: 1.0, _KERAS_2_2: 0.87962566103423978},
    "Orthogonal.gain": {_KERAS_1: 1.1, _KERAS_2: 1.0},
    # l1_l2() had the factors 0.01 as long as it was a function.
    "l1_l2.factor": {_KERAS_1: 0.01, _KERAS_3: 0.0},
    # Optimizers had their papers' defaults until tf.keras 2; an epsilon of None is epsilon().
    "RMSprop.epsilon": {_KERAS_1: 1e-8, _KERAS_2: None, _TF_2: 1e-7},
    "Adam.epsilon": {_KERAS_1: 1e-8, _KERAS_2: None, _TF_2: 1e-7},
    "Adagrad.learning_rate": {_KERAS_1: 0.01, _TF_2: 0.001},
    "Adagrad.initial_accumulator_value": {_KERAS_1: 0.0, _TF_2: 0.1},
    "Adagrad.epsilon": {_KERAS_1: 1e-8, _KERAS_2: None, _TF_2: 1e-7},
    "Adadelta.learning_rate": {_KERAS_1: 1.0, _TF_2: 0.001},
    "Adadelta.epsilon": {_KERAS_1: 1e-8, _KERAS_2: None, _TF_2: 1e-7},
    "Adamax.learning_rate": {_KERAS_1: 0.002, _TF_2: 0.001},
    "Adamax.epsilon": {_KERAS_1: 1e-8, _KERAS_2: None, _TF_2: 1e-7},
    "Nadam.learning_rate": {_KERAS_1: 0.002, _TF_2: 0.001},
    "Nadam.epsilon": {_KERAS_1: 1e-8, _KERAS_2: None, _TF_2: 1e-7},
    # The rate falls as 1 / (1 + decay * iterations); Keras 3 ignores the argument.
    "optimizers.decay": {_KERAS_1: True, _KERAS_3: False},
}

# Positional arguments whose order changed until Keras 3: Class.method -> as in ROWS.
ORDERS: dict[str, dict[Version, tuple[str, ...]]] = {
    # Until 2.0.6 the output came before the target.
    **{
        f"backend.{kind}_crossentropy": {
            _KERAS_1: ("output", "target", "from_logits"),
            (2, 0, 7): ("target", "output", "from_logits", *axis),
        }
        for kind, axis in (
            ("binary", ()),
            ("categorical", ("axis",)),
            ("sparse_categorical", ("axis",)),
        )
    },
    "Model.compile": {
        _KERAS_1: ("optimizer", "loss", "metrics", "sample_weight_mode"),
        _KERAS_2: (
            "optimizer",
            "loss",
            "metrics",
            "loss_weights",
            "sample_weight_mode",
            "weighted_metrics",
        ),
        _TF_2: ("optimizer", "loss", "metrics", "loss_weights", "weighted_metrics"),
    },
}

_current: Version = ERAS["3"]
_defaults: dict[str, dict[str, Any]] = {}


def as_version(era: str | int | Version) -> Version:
    """Turn ``1``, ``'2'``, ``'tf2'``, ``'2.3.1'`` or ``(2, 3, 1)`` into a version.

    Raises:
        ValueError: when it is neither an era nor a version.
    """
    if isinstance(era, tuple):
        return era
    text = str(era).strip().lower()
    if text in ERAS:
        return ERAS[text]
    parts = text.split("-")[0].split(".")
    if not all(part.isdigit() for part in parts) or parts[0] not in ("1", "2", "3"):
        raise ValueError(
            f"Unknown Keras version {era!r}; give one of {', '.join(ERAS)} or one such as 2.3.1."
        )
    return tuple(int(part) for part in parts)


def version() -> Version:
    """Return the Keras version whose defaults and formulas are in force."""
    return _current


def set_version(era: str | int | Version) -> None:
    """Choose the Keras version whose defaults and formulas are in force."""
    global _current
    _current = as_version(era)
    _defaults.clear()


@contextlib.contextmanager
def using(era: str | int | Version) -> Iterator[None]:
    """Choose the Keras version for the length of a ``with`` block."""
    before = _current
    set_version(era)
    try:
        yield
    finally:
        set_version(before)


def value(row: str) -> Any:
    """Return the value of a row in the current version."""
    return _in_force(ROWS[row])


def _in_force(row: dict[Version, Any]) -> Any:
    held = [since for since in row if since <= _current]
    return row[max(held)] if held else next(iter(row.values()))


def defaults(owner: str) -> dict[str, Any]:
    """Return the argument defaults of a class or method that differ from Keras 3's.

    Args:
        owner: ``'Adadelta'`` for a constructor, ``'Model.fit'`` for a method.
    """
    if _current >= _KERAS_3:
        return {}
    if owner not in _defaults:
        prefix = owner + "."
        rows = (row for row in ROWS if row.startswith(prefix) and "." not in row[len(prefix) :])
        _defaults[owner] = {row[len(prefix) :]: value(row) for row in rows}
    return _defaults[owner]


def order(owner: str) -> tuple[str, ...] | None:
    """Return the names of a method's positional arguments where their order is not Keras 3's."""
    if _current >= _KERAS_3 or owner not in ORDERS:
        return None
    return _in_force(ORDERS[owner])
