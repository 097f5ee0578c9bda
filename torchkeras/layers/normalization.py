"""Layers that normalize their input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from torchkeras import config, constraints, initializers, regularizers
from torchkeras.layers import arguments
from torchkeras.layers.base import Layer, empty_module
from torchkeras.layers.spec import InputSpec
from torchkeras.registry import register
from torchkeras.variable import Weight

_MODULES = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


@register("layer")
class BatchNormalization(Layer):
    """Normalizes each channel over the batch in training, by moving statistics in inference.

    The moving statistics are Keras': ``moving = moving * momentum + batch * (1 - momentum)``, with
    the biased variance (torch's own running variance is unbiased).  A layer that is not trainable
    works as in inference.

    Args:
        axis: the axis of the channels.
        momentum: how much of the moving statistics stays at each step.
        epsilon: added to the variance under the root.
        center: whether ``beta`` is added.
        scale: whether the result is multiplied by ``gamma``.
        beta_initializer: how ``beta`` is drawn.
        gamma_initializer: how ``gamma`` is drawn.
        moving_mean_initializer: how the moving mean starts.
        moving_variance_initializer: how the moving variance starts.
        beta_regularizer: penalty on ``beta``.
        gamma_regularizer: penalty on ``gamma``.
        beta_constraint: projection of ``beta`` after each update.
        gamma_constraint: projection of ``gamma`` after each update.
        renorm: whether training, too, normalizes by moving statistics: the batch's are corrected to
            those, by factors that no gradient flows through.
        renorm_clipping: ``rmin`` and ``rmax``, between which the factor of the deviations is kept,
            and ``dmax``, between which and its negative the shift of the means is; all optional.
        renorm_momentum: how much of the moving statistics of ``renorm`` stays at each step.
        synchronized: whether the batch's statistics are those of all processes of
            ``torch.distributed``, where it is initialized.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``; each weight has the size of ``axis``.

    Raises:
        ValueError: for an axis that is no integer, and bounds of ``renorm_clipping`` that are none.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167; ``renorm``: Ioffe 2017, arXiv:1702.03275.
    """

    weight_map = (
        Weight("gamma", "norm.weight", autocast=False),
        Weight("beta", "norm.bias", autocast=False),
        Weight("moving_mean", "norm.running_mean", trainable=False, autocast=False),
        Weight("moving_variance", "norm.running_var", trainable=False, autocast=False),
    )
    float_inputs = True
    supports_masking = True

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: dict[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if isinstance(axis, (list, tuple)) and len(axis) == 1:  # as tf.keras wrote its configs
            axis = axis[0]
        if not isinstance(axis, int):
            raise ValueError(f"BatchNormalization: axis must be an integer; received {axis!r}.")
        self.axis = axis
        self.momentum = arguments.between("BatchNormalization", "momentum", momentum, 0, 1)
        self.epsilon = epsilon
        self.center = bool(center)
        self.scale = bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.synchronized = synchronized
        self.renorm = renorm
        self.renorm_clipping = _clipping(renorm_clipping or {}) if renorm else renorm_clipping
        self.renorm_momentum = renorm_momentum
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape: Any) -> None:
        """Make torch's module for the channels of ``axis``."""
        rank = len(input_shape)
        (size,) = sizes_of(self.name, self.axis, input_shape)
        self.norm = empty_module(
            _MODULES.get(rank, nn.BatchNorm1d),
            size,
            eps=self.epsilon,
            momentum=1 - self.momentum,
            dtype=self.dtype_policy.torch_dtype,
        )
        if not self.scale:
            self.norm.weight = None
        if not self.center:
            self.norm.bias = None
        if self.renorm:
            self._add_renorm_weights(size)
        self.input_spec = InputSpec(ndim=rank, axes={self.axis: size})

    def _add_renorm_weights(self, size: int) -> None:
        """Make the moving statistics by which training corrects those of a batch."""

        def deviation(shape: Any, dtype: Any = None) -> torch.Tensor:
            return initializers.draw(self.moving_variance_initializer, shape, dtype).sqrt()

        for name, initializer in (
            ("moving_stddev", deviation),
            ("renorm_mean", self.moving_mean_initializer),
            ("renorm_stddev", deviation),
        ):
            options = {"trainable": False, "autocast": False}
            weight = self.add_weight(name=name, shape=size, initializer=initializer, **options)
            setattr(self, name, weight)

    def call(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Normalize, and in training move the statistics.

        Args:
            inputs: ``(batch, …)``.
            mask: ``(batch, …)`` without the last axis: what is false does not count in the batch's
                statistics.

        Raises:
            ValueError: when the mask's rank is not one below the input's.
        """
        if mask is not None and mask.dim() != inputs.dim() - 1:
            raise ValueError(
                f"Layer {self.name!r}: the mask's rank must be one below the input's; received "
                f"a mask of shape {tuple(mask.shape)} for an input of shape "
                f"{tuple(inputs.shape)}."
            )
        # Half precision would overflow in the sums.
        wide = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
        if not (self.training and self.trainable):
            outputs = self._by_moving_statistics(wide)
        elif self.renorm:
            outputs = self._renormalized(wide, mask)
        else:
            weight, bias = self._factors(wide)
            outputs, mean, variance = self._by_batch(wide, mask, weight, bias)
            _move(self.norm.running_mean, mean, self.momentum)
            _move(self.norm.running_var, variance, self.momentum)
        return outputs.to(self.dtype_policy.torch_compute_dtype)

    def _factors(self, inputs: torch.Tensor) -> list[torch.Tensor | None]:
        """Return gamma and beta in the input's dtype."""
        held = (self.norm.weight, self.norm.bias)  # half precision in a layer of that dtype
        return [None if weight is None else weight.to(inputs.dtype) for weight in held]

    def _along(self, inputs: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        """Return a vector of the channels so that it broadcasts to the input."""
        shape = [1] * inputs.dim()
        shape[self.axis] = -1
        return vector.view(shape)

    def _by_moving_statistics(self, inputs: torch.Tensor) -> torch.Tensor:
        weight, bias = self._factors(inputs)
        outputs = functional.batch_norm(
            inputs.movedim(self.axis, 1),
            self.norm.running_mean.to(inputs.dtype),
            self.norm.running_var.to(inputs.dtype),
            weight,
            bias,
            training=False,
            eps=self.epsilon,
        )
        return outputs.movedim(1, self.axis)

    def _by_batch(
        self,
        inputs: torch.Tensor,
        mask: torch.Tensor | None,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Normalize by the batch's own statistics.

        Args:
            inputs: ``(batch, …)``.
            mask: of a rank below, or ``None``.
            weight: what the result is multiplied by, ``(channels,)``.
            bias: what is added.

        Returns:
            The result, and the mean and the biased variance of the batch, ``(channels,)``.
        """
        if mask is None and not self._is_shared():
            return self._by_kernel(inputs, weight, bias)
        mean, variance = self._moments(inputs, mask)
        scale = torch.rsqrt(variance + self.epsilon)
        scale = scale if weight is None else scale * weight
        outputs = (inputs - self._along(inputs, mean)) * self._along(inputs, scale)
        outputs = outputs if bias is None else outputs + self._along(inputs, bias)
        return outputs, mean.detach(), variance.detach()

    def _by_kernel(
        self, inputs: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        # With momentum 1 torch leaves the batch's own statistics in these.
        size = inputs.shape[self.axis]
        mean, variance = inputs.new_zeros(2, size).unbind()
        outputs = torch.batch_norm(
            inputs.movedim(self.axis, 1),
            weight,
            bias,
            mean,
            variance,
            training=True,
            momentum=1.0,
            eps=self.epsilon,
            cudnn_enabled=torch.backends.cudnn.enabled,
        )
        # torch's variance is unbiased, Keras' is not; of one sample it is 0.
        count = inputs.numel() // size
        biased = variance * ((count - 1) / count) if count > 1 else torch.zeros_like(mean)
        return outputs.movedim(1, self.axis), mean, biased

    def _moments(
        self, inputs: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and variance of what is not masked, in all processes where so wished."""
        others = [axis for axis in range(inputs.dim()) if axis != self.axis % inputs.dim()]
        size = inputs.shape[self.axis]
        if mask is None:
            counts = inputs.new_full((size,), inputs.numel() // size)
            shown, least = (lambda part: part), 0.0
        else:
            is_shown = mask.unsqueeze(-1).to(torch.bool).expand(inputs.shape)
            counts = is_shown.sum(others).to(inputs.dtype)
            # As Keras has it: with nothing unmasked, mean and variance are 0.
            shown, least = (lambda part: part.masked_fill(~is_shown, 0)), config.epsilon()
        counts = self._in_all(counts) + least
        mean = self._in_all(shown(inputs).sum(others)) / counts
        distances = shown(inputs - self._along(inputs, mean))
        return mean, self._in_all(distances.square().sum(others)) / counts

    def _is_shared(self) -> bool:
        """Tell whether the statistics are those of several processes."""
        return (
            self.synchronized
            and torch.distributed.is_available()
            and torch.distributed.is_initialized()
        )

    def _in_all(self, sums: torch.Tensor) -> torch.Tensor:
        """Add up a tensor of all processes, where the statistics are theirs."""
        if not self._is_shared():
            return sums
        return _AllReduce.apply(sums)

    def _renormalized(self, inputs: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Normalize by the batch, corrected to the moving statistics, and move all of these."""
        outputs, mean, variance = self._by_batch(inputs, mask, None, None)
        bounds = self.renorm_clipping
        deviation = torch.sqrt(variance + self.epsilon)
        moving = self.renorm_stddev.value.to(inputs.dtype).clamp(min=self.epsilon**0.5)
        factor = deviation / moving
        shift = (mean - self.renorm_mean.value) / moving
        if bounds.get("rmin") is not None or bounds.get("rmax") is not None:
            factor = factor.clamp(bounds.get("rmin"), bounds.get("rmax"))
        if bounds.get("dmax") is not None:
            shift = shift.clamp(-bounds["dmax"], bounds["dmax"])
        weight, bias = self._factors(inputs)
        factor, shift = (part if weight is None else part * weight for part in (factor, shift))
        shift = shift if bias is None else shift + bias
        _move(self.renorm_mean.value, mean, self.renorm_momentum)
        _move(self.renorm_stddev.value, deviation, self.renorm_momentum)
        _move(self.norm.running_mean, mean, self.momentum)
        _move(self.moving_stddev.value, deviation, self.momentum)
        with torch.no_grad():
            moved = self.moving_stddev.value.square() - self.epsilon
            self.norm.running_var.copy_(moved.clamp(min=0))
        return outputs * self._along(inputs, factor) + self._along(inputs, shift)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        axes_of(self.name, self.axis, input_shape)
        return input_shape


def axes_of(layer: str, axis: int | Sequence[int], shape: Sequence[int | None]) -> list[int]:
    """Return the axes that a layer normalizes along, as given.

    Args:
        layer: its name, for the error.
        axis: one axis or several.
        shape: of the input.

    Raises:
        ValueError: when the input has no such axis.
    """
    axes = [axis] if isinstance(axis, int) else list(axis)
    for one in axes:
        if not -len(shape) <= one < len(shape):
            raise ValueError(
                f"Layer {layer!r}: axis={axis} is out of bounds for an input of shape "
                f"{tuple(shape)}."
            )
    return axes


def sizes_of(layer: str, axis: int | Sequence[int], shape: Sequence[int | None]) -> list[int]:
    """Return the sizes of the axes that a layer normalizes along; see :func:`axes_of`.

    Raises:
        ValueError: when one of them is unknown, or the input has no such axis.
    """
    axes = axes_of(layer, axis, shape)
    unknown = [one for one in axes if shape[one] is None]
    if unknown:
        raise ValueError(
            f"Layer {layer!r} needs the size of axis {unknown[0]}, but received an input of shape "
            f"{tuple(shape)}."
        )
    return [shape[one] for one in axes]


def _move(moving: torch.Tensor, new: torch.Tensor, momentum: float) -> None:
    """Bring a batch's statistic into a moving one."""
    with torch.no_grad():
        moving.lerp_(new.to(moving.dtype), 1 - momentum)


def _clipping(bounds: dict[str, float]) -> dict[str, float]:
    """Return the bounds of ``renorm_clipping``.

    Raises:
        ValueError: for another name, and for bounds that leave nothing between them.
    """
    unknown = sorted(set(bounds) - {"rmin", "rmax", "dmax"})
    if unknown:
        raise ValueError(
            "BatchNormalization: renorm_clipping takes 'rmin', 'rmax' and 'dmax'; received "
            f"{unknown[0]!r}."
        )
    low, high, shift = (bounds.get(name) for name in ("rmin", "rmax", "dmax"))
    if low is not None and high is not None and high < low:
        raise ValueError(
            f"BatchNormalization: in renorm_clipping rmax={high} must not be below rmin={low}."
        )
    if shift is not None and shift < 0:
        raise ValueError(
            f"BatchNormalization: in renorm_clipping dmax={shift} must not be negative."
        )
    return bounds


class _AllReduce(torch.autograd.Function):
    """The sum over all processes, of tensors and of their gradients."""

    @staticmethod
    def forward(ctx: Any, sums: torch.Tensor) -> torch.Tensor:
        total = sums.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total
