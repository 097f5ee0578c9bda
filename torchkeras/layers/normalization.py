"""Layers that normalize their input."""

from __future__ import annotations

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
        synchronized: must be false: statistics over several devices are not supported yet.
        renorm: must be false: batch renormalization is not supported yet.
        renorm_clipping: must be ``None``.
        renorm_momentum: of no effect without ``renorm``.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``; each weight has the size of ``axis``.
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
        synchronized: bool = False,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        **kwargs: Any,
    ):
        arguments.refuse(
            "BatchNormalization",
            synchronized=synchronized,
            renorm=renorm,
            renorm_clipping=renorm_clipping,
        )
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
        self.renorm_clipping = renorm_clipping
        self.renorm_momentum = renorm_momentum
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape: Any) -> None:
        """Make torch's module for the channels of ``axis``."""
        rank = len(input_shape)
        if not -rank <= self.axis < rank or input_shape[self.axis] is None:
            raise ValueError(
                f"Layer {self.name!r} needs the size of axis {self.axis}, but received an input of "
                f"shape {tuple(input_shape)}."
            )
        size = input_shape[self.axis]
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
        self.input_spec = InputSpec(ndim=rank, axes={self.axis: size})

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
        if mask is not None and self.training and self.trainable:
            outputs = self._masked(wide, mask.unsqueeze(-1).to(torch.bool))
        else:
            outputs = self._unmasked(wide)
        return outputs.to(self.dtype_policy.torch_compute_dtype)

    def _unmasked(self, inputs: torch.Tensor) -> torch.Tensor:
        channels_second = inputs.movedim(self.axis, 1)
        norm = self.norm
        # Of another dtype where the layer's own is half precision.
        weight, bias, moving_mean, moving_variance = (
            None if held is None else held.to(inputs.dtype)
            for held in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        )
        if self.training and self.trainable:
            # With momentum 1 torch leaves the batch's own statistics in these.
            mean, variance = moving_mean.new_zeros(2, len(moving_mean)).unbind()
            outputs = torch.batch_norm(
                channels_second,
                weight,
                bias,
                mean,
                variance,
                training=True,
                momentum=1.0,
                eps=self.epsilon,
                cudnn_enabled=torch.backends.cudnn.enabled,
            )
            with torch.no_grad():
                # torch's variance is unbiased, Keras' is not; of one sample it is 0.
                count = inputs.numel() // len(mean)
                biased = variance * ((count - 1) / count) if count > 1 else torch.zeros_like(mean)
                self._move(mean, biased)
        else:
            outputs = functional.batch_norm(
                channels_second,
                moving_mean,
                moving_variance,
                weight,
                bias,
                training=False,
                eps=self.epsilon,
            )
        return outputs.movedim(1, self.axis)

    def _masked(self, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Normalize by the statistics of what is not masked, and move the moving ones.

        Args:
            inputs: ``(batch, …)``.
            mask: of the input's rank, with a last axis of 1.
        """
        norm = self.norm
        others = [axis for axis in range(inputs.dim()) if axis != self.axis % inputs.dim()]
        # As Keras has it: with nothing unmasked, mean and variance are 0.
        count = mask.expand(inputs.shape).sum(others, keepdim=True) + config.epsilon()
        mean = inputs.masked_fill(~mask, 0).sum(others, keepdim=True) / count
        centered = inputs - mean
        variance = centered.masked_fill(~mask, 0).square().sum(others, keepdim=True) / count
        with torch.no_grad():
            self._move(mean.flatten(), variance.flatten())
        scale = torch.rsqrt(variance + self.epsilon)
        if self.scale:
            scale = scale * norm.weight.to(scale.dtype).view(scale.shape)
        outputs = centered * scale
        if self.center:
            outputs = outputs + norm.bias.to(scale.dtype).view(scale.shape)
        return outputs

    def _move(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Bring a batch's statistics into the moving ones."""
        for moving, new in ((self.norm.running_mean, mean), (self.norm.running_var, variance)):
            moving.lerp_(new.to(moving.dtype), 1 - self.momentum)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        return input_shape
