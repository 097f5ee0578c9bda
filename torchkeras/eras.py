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
    # Whether a lambda of a config is made again without leave when this program wrote the config.
    "lambdas.trust_own": {_KERAS_1: True, _KERAS_3: False},
    # The root was taken before epsilon was added to it.
    "optimizers.epsilon_outside_root": {_KERAS_1: True, _TF_2: False},
    # clipnorm bounded the common norm of all gradients, and clipvalue could follow it.
    "optimizers.clipnorm_is_common": {_KERAS_1: True, _TF_2: False},
    # Nadam's momentum followed 0.96 ** (0.004 * t): schedule_decay, whose default it was.
    "optimizers.nadam_pace": {_KERAS_1: 0.004, _TF_2: 1.0},
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
    # Probabilities were moved by epsilon inside of the logarithms too.
    "binary_crossentropy.adds_epsilon": {_KERAS_1: False, _KERAS_2_3: True, _KERAS_3: False},
    # The functions in keras.metrics gave one number for a batch; later, these values averaged over
    # the last axis, which for the best k is that of the batch.
    "metrics.are_numbers": {_KERAS_1: True, _KERAS_2: False},
    "binary_accuracy.is_mean": {_KERAS_1: True, _KERAS_3: False},
    "top_k_categorical_accuracy.is_mean": {_KERAS_1: True, _KERAS_2_3: False},
    # SensitivityAtSpecificity and its kin took the threshold whose ratio was nearest to the value.
    "at_value.is_nearest": {_KERAS_1: True, _TF_2: False},
    # What intersections and unions were counted in; None is floatx.
    "iou.dtype": {_KERAS_1: None, _KERAS_3: "int"},
    # A metric function that gives one number a batch: before 2.3 the mean over batches was weighted
    # by their lengths.
    "metrics.weigh_batches": {_KERAS_1: True, _KERAS_2_3: False},
    # Keras 3 names a metric function in snake case, earlier ones as it is called.
    "metrics.snake_names": {_KERAS_1: False, _KERAS_3: True},
    # K.batch_dot multiplied matrices, all axes but the last two being the batch, until 2.3.
    "batch_dot.leading_batches": {_KERAS_1: True, _KERAS_2_3: False},
    # Kernels of images with channels first began with filters and channels.
    "kernels_follow_images": {_KERAS_1: True, _KERAS_2: False},
    # A pixel lay at its upper left corner when K.resize_images interpolated.
    "resize.half_pixels": {_KERAS_1: False, _TF_2: True},
    # K.ctc_decode gave as many columns as the longest sequence has labels, and its beam search
    # joined equal successive labels.
    "ctc_decode.is_cut": {_KERAS_1: True, _TF_2: False},
    "backend.ctc_decode.merge_repeated": {_KERAS_1: True, _KERAS_2_3: False},
    # Sequences had their channels last, whatever images had.
    "Conv1D.data_format": {_KERAS_1: "channels_last", _KERAS_3: None},
    "LocallyConnected1D.data_format": {_KERAS_1: "channels_last", _KERAS_2: None},
    **{
        f"{name}.data_format": {_KERAS_1: "channels_last", _KERAS_3: None}
        for name in """MaxPooling1D AveragePooling1D GlobalMaxPooling1D GlobalAveragePooling1D
            ZeroPadding1D""".split()
    },
    "backend.conv1d.data_format": {_KERAS_1: "channels_last", _KERAS_2: None},
    # Gates of recurrent layers were hard_sigmoid until 2.3, each gate had dropout of its own, and a
    # GRU reset its state before the product with the recurrent kernel until tf.keras 2.
    **{
        f"{name}.recurrent_activation": {_KERAS_1: "hard_sigmoid", _KERAS_2_3: "sigmoid"}
        for name in ("LSTM", "LSTMCell", "GRU", "GRUCell")
    },
    **{
        f"{name}.implementation": {_KERAS_1: 1, _KERAS_2_3: 2}
        for name in ("LSTM", "LSTMCell", "GRU", "GRUCell")
    },
    "ConvLSTM2D.recurrent_activation": {_KERAS_1: "hard_sigmoid", _KERAS_3: "sigmoid"},
    "GRU.reset_after": {_KERAS_1: False, _TF_2: True},
    "GRUCell.reset_after": {_KERAS_1: False, _TF_2: True},
    # The kernels of gates were drawn one by one in Keras 1; the identities of a recurrent kernel
    # still were until tf.keras 2.
    "gates.drawn_apart": {_KERAS_1: True, _KERAS_2: False},
    "gates.have_identities": {_KERAS_1: True, _TF_2: False},
    # The states of a stack of cells were one tuple until tf.keras 2, which has a list for each.
    "stacked_cells.flat_states": {_KERAS_1: True, _TF_2: False},
    # What was cropped could be all that there was.
    "cropping.leaves_something": {_KERAS_1: False, _KERAS_3: True},
    # The mask of TimeDistributed's outputs is the inputs'; in Keras 2 it was what the layer inside
    # made of it.
    "time_distributed.inner_masks": {_KERAS_1: False, _KERAS_2_2: True, _KERAS_3: False},
    # Keras 3 drops the inputs' mask where a recurrent layer is given states.
    "recurrent.mask_beside_states": {_KERAS_1: True, _KERAS_3: False},
    # The slope of LeakyReLU could be any number.
    "leaky_relu.takes_negative": {_KERAS_1: True, _KERAS_3: False},
    # An embedding that began a model had inputs of any length, and was built at once.
    "Embedding.input_shape": {_KERAS_1: (None,), _KERAS_3: None},
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

_CONVOLUTION = ("x", "kernel", "strides", "border_mode", "dim_ordering")
_HOW = ("init", "activation", "weights", "border_mode", "subsample")
_RULES = (
    "W_regularizer",
    "b_regularizer",
    "activity_regularizer",
    "W_constraint",
    "b_constraint",
    "bias",
)
_PLANE = ("nb_filter", "nb_row", "nb_col")
# Keras 2 took two numbers behind the filters for the window's sizes, as Keras 1.
_WINDOW = ("filters", "window", "columns_or_strides")

# Positional arguments whose order changed until Keras 3: Class.method -> as in ROWS.
ORDERS: dict[str, dict[Version, tuple[str, ...] | None]] = {
    "SGD": {_KERAS_1: ("learning_rate", "momentum", "decay", "nesterov"), _KERAS_2_3: None},
    "RMSprop": {_KERAS_1: ("learning_rate", "rho", "epsilon", "decay"), _KERAS_2_3: None},
    "Adagrad": {_KERAS_1: ("learning_rate", "epsilon", "decay"), _KERAS_2_3: None},
    "Adadelta": {_KERAS_1: ("learning_rate", "rho", "epsilon", "decay"), _KERAS_2_3: None},
    "Adam": {
        _KERAS_1: ("learning_rate", "beta_1", "beta_2", "epsilon", "decay", "amsgrad"),
        _KERAS_2_3: ("learning_rate", "beta_1", "beta_2", "amsgrad"),
        _TF_2: None,
    },
    "Adamax": {
        _KERAS_1: ("learning_rate", "beta_1", "beta_2", "epsilon", "decay"),
        _KERAS_2_3: None,
    },
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
    # Arguments that Keras 1 had at other places: sizes that were a hint to Theano, say.
    "backend.batch_normalization": {
        _KERAS_1: ("x", "mean", "var", "beta", "gamma", "epsilon"),
        _KERAS_2: ("x", "mean", "var", "beta", "gamma", "axis", "epsilon"),
    },
    "backend.conv1d": {
        _KERAS_1: ("x", "kernel", "stride", "border_mode", "image_shape", "filter_shape"),
        _KERAS_2: ("x", "kernel", "strides", "padding", "data_format", "dilation_rate"),
    },
    **{
        f"backend.conv{rank}d": {
            _KERAS_1: (*_CONVOLUTION, shape, "filter_shape", "filter_dilation"),
            _KERAS_2: ("x", "kernel", "strides", "padding", "data_format", "dilation_rate"),
        }
        for rank, shape in ((2, "image_shape"), (3, "volume_shape"))
    },
    "Embedding": {
        _KERAS_1: ("input_dim", "output_dim", "init", "input_length"),
        _KERAS_2: (
            "input_dim",
            "output_dim",
            "embeddings_initializer",
            "embeddings_regularizer",
            "activity_regularizer",
            "embeddings_constraint",
            "mask_zero",
            "input_length",
        ),
    },
    **{
        name: {
            _KERAS_1: (
                *("nb_filter", "filter_length", "init", "activation", "weights", "border_mode"),
                *("subsample_length", *_RULES, "input_dim", "input_length"),
            ),
            _KERAS_2: None,
        }
        for name in ("Conv1D", "LocallyConnected1D")
    },
    **{
        name: {
            _KERAS_1: (*_PLANE, *_HOW, "dim_ordering", *_RULES),
            _KERAS_2: _WINDOW,
            _TF_2: None,
        }
        for name in ("Conv2D", "LocallyConnected2D")
    },
    "ConvLSTM2D": {
        _KERAS_1: (
            *(*_PLANE, "init", "inner_init", "forget_bias_init", "activation", "inner_activation"),
            *("dim_ordering", "border_mode", "subsample"),
            *("W_regularizer", "U_regularizer", "b_regularizer", "dropout_W", "dropout_U"),
        ),
        _KERAS_2: None,
    },
    "Conv2DTranspose": {
        _KERAS_1: (*_PLANE, "output_shape", *_HOW, "dim_ordering", *_RULES),
        _KERAS_2: _WINDOW,
        _TF_2: None,
    },
    "SeparableConv2D": {
        _KERAS_1: (*_PLANE, *_HOW, "depth_multiplier", "dim_ordering"),
        _KERAS_2: _WINDOW,
        _TF_2: None,
    },
    "Conv3D": {
        _KERAS_1: (
            *("nb_filter", "kernel_dim1", "kernel_dim2", "kernel_dim3"),
            *(*_HOW, "dim_ordering", *_RULES),
        ),
        _KERAS_2: ("filters", "kernel_dim1", "kernel_dim2", "kernel_dim3"),
        _TF_2: None,
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
