"""Arguments that were called otherwise in Keras 1, 2 or tf.keras: one table, read by the registry.

Where an argument moved without changing its meaning, a row gives the new name.  Where its values
changed as well, it gives a function from the old value to new arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchkeras.warn import warn_user

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
    """Take an argument that says how something is done and not what."""
    return {}


_READING: dict[str, Rename] = dict.fromkeys(
    ("max_queue_size", "workers", "use_multiprocessing", "max_q_size"), _nothing
)


def _forget_bias(value: Any) -> dict[str, Any]:
    """Read how the bias of the forget gate was drawn: as ones, or like the others."""
    if value not in ("one", "zero"):
        raise ValueError(
            f"LSTM: forget_bias_init={value!r} of Keras 1 is not supported; only 'one' or 'zero' "
            "is."
        )
    return {"unit_forget_bias": value == "one"}


def _consume_less(value: Any) -> dict[str, Any]:
    """Read what was to be saved: for the GPU all gates shared a dropout mask."""
    return {"implementation": 2 if value == "gpu" else 1}


_RECURRENT: dict[str, Rename] = {
    "output_dim": "units",
    "init": "kernel_initializer",
    "inner_init": "recurrent_initializer",
    "W_regularizer": "kernel_regularizer",
    "U_regularizer": "recurrent_regularizer",
    "b_regularizer": "bias_regularizer",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
}
_GATED: dict[str, Rename] = {
    **_RECURRENT,
    "inner_activation": "recurrent_activation",
    "consume_less": _consume_less,
}


def _data_format(value: str | None) -> dict[str, Any]:
    """Read a layout of Keras 1.

    Raises:
        ValueError: when it is none.
    """
    known = {"tf": "channels_last", "th": "channels_first", "default": None, None: None}
    if value not in known:
        raise ValueError(f"dim_ordering must be 'tf', 'th' or 'default'; received {value!r}.")
    return {"data_format": known[value]}


def _window(*sizes: Any) -> dict[str, Any]:
    """Read a window whose sizes were given one by one: ``Convolution2D(32, 3, 3)``."""
    if all(isinstance(size, int) for size in sizes):
        return {"kernel_size": sizes}
    # As later versions have it: the whole window, then strides and padding.
    size, *later = sizes
    names = ("strides", "padding")
    return {"kernel_size": size, **{n: v for n, v in zip(names, later) if v is not None}}


def _window_or_strides(
    size: Any, second: Any, strides: Any, padding: Any, data_format: Any
) -> dict[str, Any]:
    """Read ``Conv2D(32, 3, 3)`` of Keras 2, a window of 3 times 3 as in Keras 1.

    Keras 2 refused it together with names of its own; tf.keras, whose second number is the strides,
    does not.
    """
    given = {"strides": strides, "padding": padding, "data_format": data_format}
    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(size, int) and isinstance(second, int) and not given:
        return {"kernel_size": (size, second)}
    if second is not None:
        if strides is not None:
            raise TypeError("A convolution got multiple values for argument 'strides'.")
        given["strides"] = second
    return {"kernel_size": size, **given}


def _sequence_shape(features: int | None, length: int | None) -> dict[str, Any]:
    """Read the shape of the first layer's sequences; the length counted with the other alone."""
    return {} if features is None else {"input_shape": (length, features)}


def _output_shape(value: Any) -> dict[str, Any]:
    """Read the output shape of a deconvolution, which follows from the input's since Keras 2."""
    warn_user(
        f"Deconvolution2D: output_shape={value!r} of Keras 1 is not looked at: the output's size "
        "follows from the input's, the strides and the padding; output_padding makes it larger."
    )
    return {}


_CONVOLUTION: dict[str, Rename] = {
    "nb_filter": "filters",
    "border_mode": "padding",
    "subsample": "strides",
    "atrous_rate": "dilation_rate",
    "dim_ordering": _data_format,
    **_WEIGHTS,
}
_SEQUENCE_CONVOLUTION: dict[Any, Rename] = {
    **_CONVOLUTION,
    "filter_length": "kernel_size",
    "subsample_length": "strides",
    ("input_dim", "input_length"): _sequence_shape,
}
_PLANE_CONVOLUTION: dict[Any, Rename] = {
    **_CONVOLUTION,
    ("nb_row", "nb_col"): _window,
    ("window", "columns_or_strides", "strides", "padding", "data_format"): _window_or_strides,
}
_VOLUME_CONVOLUTION: dict[Any, Rename] = {
    **_CONVOLUTION,
    ("kernel_dim1", "kernel_dim2", "kernel_dim3"): _window,
}


def _groups(owner: str) -> dict[str, Rename]:
    """Return the row of what tf.keras wrote into the config of a layer that had no groups."""
    return {"groups": only(owner, "groups", 1)}


# It wrote these into the config of a layer with two kernels, or with a depthwise one, for nothing.
_NO_KERNEL: dict[str, Rename] = dict.fromkeys(
    ("kernel_initializer", "kernel_regularizer", "kernel_constraint"), _nothing
)

_SEQUENCE_POOLING: dict[str, Rename] = {
    "pool_length": "pool_size",
    "stride": "strides",
    "border_mode": "padding",
}
_POOLING: dict[str, Rename] = {"border_mode": "padding", "dim_ordering": _data_format}

# Class or method -> old argument -> what it is now.
RENAMED: dict[str, dict[Any, Rename]] = {
    "Dense": {"output_dim": "units", **_WEIGHTS},
    "Conv1D": _SEQUENCE_CONVOLUTION,
    "Conv2D": _PLANE_CONVOLUTION,
    "Conv3D": _VOLUME_CONVOLUTION,
    "Conv1DTranspose": _groups("Conv1DTranspose"),
    "Conv2DTranspose": {
        **_PLANE_CONVOLUTION,
        **_groups("Conv2DTranspose"),
        "output_shape": _output_shape,
    },
    "Conv3DTranspose": {**_VOLUME_CONVOLUTION, **_groups("Conv3DTranspose")},
    "DepthwiseConv1D": {**_groups("DepthwiseConv1D"), **_NO_KERNEL},
    "DepthwiseConv2D": {**_groups("DepthwiseConv2D"), **_NO_KERNEL},
    "SeparableConv1D": {**_groups("SeparableConv1D"), **_NO_KERNEL},
    "SeparableConv2D": {
        **_PLANE_CONVOLUTION,
        **_groups("SeparableConv2D"),
        **_NO_KERNEL,
        "init": lambda value: {"depthwise_initializer": value, "pointwise_initializer": value},
    },
    "LocallyConnected1D": _SEQUENCE_CONVOLUTION,
    "LocallyConnected2D": _PLANE_CONVOLUTION,
    "Dropout": {"p": "rate"},
    "AlphaDropout": {"p": "rate"},
    "GaussianDropout": {"p": "rate"},
    "SpatialDropout1D": {"p": "rate"},
    "SpatialDropout2D": {"p": "rate", "dim_ordering": _data_format},
    "SpatialDropout3D": {"p": "rate", "dim_ordering": _data_format},
    "GaussianNoise": {"sigma": "stddev"},
    "LeakyReLU": {"alpha": "negative_slope"},
    "PReLU": {"init": "alpha_initializer"},
    "Embedding": {
        "init": "embeddings_initializer",
        "W_regularizer": "embeddings_regularizer",
        "W_constraint": "embeddings_constraint",
        # It dropped whole rows of the table.
        "dropout": only("Embedding", "dropout", 0),
    },
    "MaxoutDense": {"output_dim": "units", "nb_feature": "features", **_WEIGHTS},
    "Highway": {**_WEIGHTS, "transform_bias": _nothing},
    "TimeDistributedDense": {"output_dim": "units", **_WEIGHTS},
    "SimpleRNN": {**_RECURRENT, "consume_less": _nothing, "implementation": _nothing},
    "SimpleRNNCell": {"implementation": _nothing},
    "LSTM": {**_GATED, "forget_bias_init": _forget_bias},
    "GRU": _GATED,
    "ConvLSTM2D": {
        **_GATED,
        "forget_bias_init": _forget_bias,
        **_CONVOLUTION,
        ("nb_row", "nb_col"): _window,
    },
    "MaxPooling1D": _SEQUENCE_POOLING,
    "AveragePooling1D": _SEQUENCE_POOLING,
    **{
        f"{kind}Pooling{rank}D": _POOLING
        for kind in ("Max", "Average", "GlobalMax", "GlobalAverage")
        for rank in (2, 3)
    },
    "UpSampling1D": {"length": "size"},
    **{
        f"{kind}{rank}D": {"dim_ordering": _data_format}
        for kind in ("UpSampling", "ZeroPadding", "Cropping")
        for rank in (2, 3)
    },
    "Model": {"input": "inputs", "output": "outputs"},
    "Functional": {"input": "inputs", "output": "outputs"},
    "backend.batch_get_value": {"xs": "ops"},
    "backend.expand_dims": {"dim": "axis"},
    "backend.moving_average_update": {"variable": "x"},
    "backend.one_hot": {"nb_classes": "num_classes"},
    "backend.pattern_broadcast": {"broatcastable": "broadcastable"},
    "backend.random_normal": {"std": "stddev"},
    "backend.random_uniform": {"low": "minval", "high": "maxval"},
    "backend.set_epsilon": {"e": "value"},
    "backend.set_floatx": {"floatx": "value"},
    # Layouts' names of Keras 1, 'tf' and 'th', are read where they arrive: kernels follow them.
    **{
        f"backend.{name}": {"X": "x", "dim_ordering": "data_format", "border_mode": "padding"}
        for name in """asymmetric_spatial_2d_padding pool2d pool3d resize_images resize_volumes
            separable_conv2d spatial_2d_padding spatial_3d_padding""".split()
    },
    **{
        f"backend.{name}": {
            "border_mode": "padding",
            "dim_ordering": "data_format",
            "filter_dilation": "dilation_rate",
            "stride": "strides",
            # What Theano compiled for.
            **dict.fromkeys(("filter_shape", "image_shape", "volume_shape"), _nothing),
        }
        for name in "atrous_conv2d conv1d conv2d conv3d deconv2d".split()
    },
    "BatchNormalization": {
        "beta_init": "beta_initializer",
        "gamma_init": "gamma_initializer",
        # Modes 1 and 2 normalized each sample, and with the batch's own numbers at all times.
        "mode": only("BatchNormalization", "mode", 0),
        # How TensorFlow computes it.
        "fused": _nothing,
        "virtual_batch_size": only("BatchNormalization", "virtual_batch_size", None),
        "adjustment": only("BatchNormalization", "adjustment", None),
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
