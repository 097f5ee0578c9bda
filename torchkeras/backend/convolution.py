"""Convolutions, poolings and paddings of ``keras.backend``, and connectionist classification.

Keras 1 named layouts ``'tf'`` and ``'th'``; in the latter a kernel begins with filters and
channels, ``(filters, channels, *space)``, as Theano's did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchkeras import config, eras, ops
from torchkeras.backend.shapes import normalize_data_format
from torchkeras.backend.tensors import Table, sizes
from torchkeras.ops.spatial import convolved_locally, enlarged_from_corners
from torchkeras.seeds import in_trial

op = Table(__name__)


def _layout(data_format: str | None) -> str:
    layouts = {"tf": "channels_last", "th": "channels_first", "default": None}
    return normalize_data_format(layouts.get(data_format, data_format))


def _kernel(kernel: Any, data_format: str | None) -> Any:
    """Return a kernel ``(*space, channels, filters)`` of one as the layout's version has it."""
    is_default = data_format in (None, "default") and eras.value("kernels_follow_images")
    if data_format == "th" or (is_default and _layout(data_format) == "channels_first"):
        return ops.transpose(kernel, (*range(2, ops.ndim(kernel)), 1, 0))
    return kernel


def _first_axis(data_format: str | None) -> int:
    """Return the first axis of space."""
    return 1 if _layout(data_format) == "channels_last" else 2


# ---------------------------------------------------------------------------------- convolutions


def _convolving(convolve: Callable) -> Callable:
    def run(x: Any, *given: Any) -> Any:
        *kernels, strides, padding, data_format, rate = given
        kernels = [_kernel(kernel, data_format) for kernel in kernels]
        return convolve(x, *kernels, strides, padding, _layout(data_format), rate)

    return run


def _transposed(x: Tensor, kernel: Tensor, output_shape: Any, *given: Any) -> Tensor:
    """Convolve transposed to a shape, whose axes of space decide what is added at the end."""
    strides, padding, data_format, rates = given
    first, rank = _first_axis(data_format), x.dim() - 2
    strides, rates = ((n,) * rank if isinstance(n, int) else n for n in (strides, rates))
    kernel = _kernel(kernel, data_format)
    wanted, given = sizes(output_shape[first : first + rank]), x.shape[first : first + rank]
    windows = [(size - 1) * rate + 1 for size, rate in zip(kernel.shape, rates)]
    least = [window % 2 if padding == "same" else window for window in windows]
    more = [w - (n - 1) * s - at for w, n, s, at in zip(wanted, given, strides, least)]
    return ops.conv_transpose(x, kernel, strides, padding, more, _layout(data_format), rates)


def _deconvolved(x: Tensor, kernel: Tensor, *given: Any) -> Tensor:
    *settings, data_format = given
    kernel = _kernel(kernel, data_format).transpose(-1, -2)
    return _transposed(x, kernel, *settings, _layout(data_format), 1)


def _with_holes(x: Any, kernel: Any, rate: Any, *settings: Any) -> Any:
    return _conv(x, kernel, 1, *settings, rate)


def _pooled(x: Any, *given: Any) -> Any:
    *settings, data_format, mode = given
    if mode not in ("max", "avg"):
        raise ValueError(f"pool_mode must be 'max' or 'avg'; received {mode!r}.")
    pool = ops.max_pool if mode == "max" else ops.average_pool
    return pool(x, *settings, _layout(data_format))


_P = "padding='valid', data_format=None"
_S = f"strides=1, {_P}"
_R = f"{_S}, dilation_rate=1"
_TWO = "x, depthwise_kernel, pointwise_kernel"
_conv, _each, _both = map(_convolving, (ops.conv, ops.depthwise_conv, ops.separable_conv))
# What the arguments mean is said in keras.ops; a number is for all axes of space.
op.spelled(
    (f"conv1d(x, kernel, {_R})", _conv, "Convolve along an axis, as ``keras.ops.conv``."),
    (f"conv2d(x, kernel, {_R})", _conv, "Convolve along two axes, as ``keras.ops.conv``."),
    (f"conv3d(x, kernel, {_R})", _conv, "Convolve along three axes, as ``keras.ops.conv``."),
    (f"depthwise_conv2d(x, depthwise_kernel, {_R})", _each, "Convolve each channel by itself."),
    (f"separable_conv1d({_TWO}, {_R})", _both, "Convolve each channel, then mix them."),
    (f"separable_conv2d({_TWO}, {_R})", _both, "Convolve each channel, then mix them."),
    (f"atrous_conv2d(x, kernel, rate=1, {_P})", _with_holes, "Convolve by a kernel with holes."),
    (f"pool2d(x, pool_size, {_S}, pool_mode='max')", _pooled, "Take each window's max or avg."),
    (f"pool3d(x, pool_size, {_S}, pool_mode='max')", _pooled, "Take each window's max or avg."),
)
op.rows(
    (f"conv2d_transpose(x, kernel, output_shape, {_R})", _transposed, "Convolve transposed."),
    (f"conv3d_transpose(x, kernel, output_shape, {_R})", _transposed, "Convolve transposed."),
    (f"deconv2d(x, kernel, output_shape, {_S})", _deconvolved, "Convolve by conv2d's kernel."),
    tensors="x kernel",
)


def _local(x: Tensor, kernel: Tensor, *given: Any) -> Tensor:
    """Multiply each window by its own part of ``(windows, size of a window, filters)``."""
    size, strides, *_, data_format = given  # the shape of the output follows from these
    is_last = _first_axis(data_format) == 1
    y = convolved_locally(x, kernel, size, strides, is_last)
    return y if is_last else y.movedim(-1, 1)


_WINDOWS = "inputs, kernel, kernel_size, strides"
op.rows(
    (f"local_conv1d({_WINDOWS}, data_format=None)", _local, "Convolve by a kernel a place."),
    (f"local_conv2d({_WINDOWS}, output_shape, data_format=None)", _local, "See local_conv1d."),
    tensors="inputs kernel",
)

# ------------------------------------------------------------------------- paddings, larger images


def _padded(x: Any, padding: Any, data_format: str | None) -> Any:
    rank, first = ops.ndim(x), _first_axis(data_format)
    padding = [padding] * (rank - 2) if isinstance(padding, int) else padding
    widths = [(0, 0)] * rank
    widths[first : first + rank - 2] = [(n, n) if isinstance(n, int) else n for n in padding]
    return ops.pad(x, widths)


def _of_sides(x: Any, *given: Any) -> Any:
    top, bottom, left, right, data_format = given
    return _padded(x, [(top, bottom), (left, right)], data_format)


def _of_steps(x: Any, *widths: int) -> Any:
    return _padded(x, [widths], "tf")


def _repeated(x: Any, *given: Any) -> Any:
    *factors, data_format = given
    for axis, factor in enumerate(factors, _first_axis(data_format)):
        x = ops.repeat(x, factor, axis)
    return x


def _resized(x: Tensor, *given: Any) -> Tensor:
    """Make images larger by whole factors; ``'nearest'`` or ``'bilinear'``."""
    *factors, data_format, interpolation = given
    first = _first_axis(data_format)
    if interpolation == "nearest":
        return _repeated(x, *factors, data_format)
    if interpolation != "bilinear":
        raise ValueError(f"interpolation is 'nearest' or 'bilinear'; received {interpolation!r}.")
    if eras.value("resize.half_pixels"):
        size = [n * factor for n, factor in zip(x.shape[first:], factors)]
        return ops.image.resize(x, size, "bilinear", data_format=_layout(data_format))
    return enlarged_from_corners(x, factors, first)


_SIDES = "top_pad=1, bottom_pad=1, left_pad=1, right_pad=1"
_FACTORS = "height_factor, width_factor, data_format=None"
_PAD = "Add zeros around the axes of space: for each a number, or one before and one behind."
op.spelled(
    (f"asymmetric_spatial_2d_padding(x, {_SIDES}, data_format=None)", _of_sides, _PAD),
    ("asymmetric_temporal_padding(x, left_pad=1, right_pad=1)", _of_steps, _PAD),
    ("spatial_2d_padding(x, padding=1, data_format=None)", _padded, _PAD),
    ("spatial_3d_padding(x, padding=1, data_format=None)", _padded, _PAD),
    ("temporal_padding(x, padding=1)", lambda x, widths: _padded(x, [widths], "tf"), _PAD),
    (f"resize_volumes(x, depth_factor, {_FACTORS})", _repeated, "Repeat along axes of space."),
)
op.rows(
    (f"resize_images(x, {_FACTORS}, interpolation='nearest')", _resized, _resized.__doc__),
    tensors="x",
)

# --------------------------------------------------------------- connectionist classification


@op.own
def ctc_batch_cost(
    y_true: Tensor, y_pred: Tensor, input_length: Tensor, label_length: Tensor
) -> Tensor:
    """Return the loss of labels whose places in time are not known, ``(batch, 1)``.

    Args:
        y_true: classes ``(batch, labels)``; the last class of all means no label.
        y_pred: probabilities ``(batch, steps, classes)``.
        input_length: how many steps count, ``(batch, 1)``.
        label_length: how many labels count, ``(batch, 1)``.
    """
    lengths = (length.long().reshape(-1) for length in (label_length, input_length))
    logits = torch.log(y_pred + config.epsilon())
    return ops.ctc_loss(y_true.long(), logits, *lengths, y_pred.shape[-1] - 1)[:, None]


def _decoded(y_pred: Tensor, input_length: Tensor, *given: Any) -> tuple[list[Tensor], Tensor]:
    """Read labels from what a model of ctc_batch_cost puts out.

    Args:
        y_pred: probabilities ``(batch, steps, classes)``, of which the last means no label.
        input_length: how many steps count, ``(batch,)``.
        greedy: whether the likeliest class is taken at each step; else a beam is searched.
        beam_width: how many sequences the beam holds.
        top_paths: how many it returns.
        merge_repeated: whether successive equal labels of its results become one.

    Returns:
        A list of labels ``(batch, length)``, filled up with -1, where length is that of the
        input, or before TensorFlow 2 the longest sequence's; and the scores of
        ``keras.ops.ctc_decode``.
    """
    greedy, beam_width, top_paths, merge_repeated = given
    logits, length = torch.log(y_pred + config.epsilon()), input_length.long().reshape(-1)
    strategy = "greedy" if greedy else "beam_search"
    settings = (strategy, beam_width, top_paths, True, y_pred.shape[-1] - 1)
    labels, scores = ops.ctc_decode(logits, length, *settings)
    if merge_repeated and not greedy:
        is_repeated = torch.zeros_like(labels, dtype=torch.bool)
        is_repeated[..., 1:] = labels[..., 1:] == labels[..., :-1]
        order = is_repeated.to(torch.uint8).argsort(dim=-1, stable=True)
        labels = labels.masked_fill(is_repeated, -1).gather(-1, order)
    if eras.value("ctc_decode.is_cut") and not in_trial():
        return [path[:, : int((path >= 0).sum(-1).max())] for path in labels], scores
    return list(labels), scores


_BEAM = "greedy=True, beam_width=100, top_paths=1, merge_repeated=False"
op.rows((f"ctc_decode(y_pred, input_length, {_BEAM})", _decoded, _decoded.__doc__))


@op.own
def ctc_label_dense_to_sparse(labels: Tensor, label_lengths: Tensor) -> Tensor:
    """Return the labels that count, ``(batch, labels)``, as a sparse tensor."""
    counts = torch.arange(labels.shape[1], device=labels.device) < label_lengths.reshape(-1, 1)
    return torch.sparse_coo_tensor(
        counts.nonzero().t(), labels[counts], labels.shape, check_invariants=False
    )
