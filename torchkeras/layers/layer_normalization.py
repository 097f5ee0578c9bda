"""Layers that normalize each sample by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from torchkeras import constraints, initializers, ops, regularizers
from torchkeras.layers.base import Layer, empty_module
from torchkeras.layers.normalization import axes_of, sizes_of
from torchkeras.layers.spec import InputSpec
from torchkeras.registry import register
from torchkeras.variable import Weight


def _axis(owner: str, axis: Any) -> int | list[int]:
    """Return an argument that must be an axis, or a list of them.

    Raises:
        TypeError: when it is neither.
    """
    if isinstance(axis, (list, tuple)):
        return list(axis)
    if isinstance(axis, int) and not isinstance(axis, bool):
        return axis
    raise TypeError(f"{owner}: axis must be an integer or a list of them; received {axis!r}.")


class _OfEachSample(Layer):
    """Base of what normalizes each sample and then scales and shifts by what is learned.

    Args:
        epsilon: added to the variance under the root.
        center: whether ``beta`` is added.
        scale: whether the result is multiplied by ``gamma``.
        rules: initializer, regularizer and constraint of ``beta`` and ``gamma``, by name.
        kwargs: the arguments of :class:`Layer`.
    """

    weight_map = (
        Weight("gamma", "norm.weight", autocast=False),
        Weight("beta", "norm.bias", autocast=False),
    )
    float_inputs = True
    supports_masking = True

    def __init__(
        self, epsilon: float, center: bool, scale: bool, rules: dict[str, Any], **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.autocast = False  # half precision is normalized as float32
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        for name, rule in rules.items():
            kind = name.rpartition("_")[2]
            module = {"initializer": initializers, "regularizer": regularizers}.get(
                kind, constraints
            )
            setattr(self, name, module.get(rule))

    def _keep(self, norm: nn.Module, has_gamma: bool, has_beta: bool) -> None:
        """Take torch's module, without the weights that are not wanted."""
        if not has_gamma:
            norm.weight = None
        if not has_beta:
            norm.bias = None
        self.norm = norm

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        axes_of(self.name, self.axis, input_shape)
        return input_shape


@register("layer")
class LayerNormalization(_OfEachSample):
    """Brings each sample to mean 0 and variance 1 along axes.

    Args:
        axis: one axis or several.
        epsilon: added to the variance under the root.
        center: whether ``beta`` is added.
        scale: whether the result is multiplied by ``gamma``.
        beta_initializer: how ``beta`` is drawn.
        gamma_initializer: how ``gamma`` is drawn.
        beta_regularizer: penalty on ``beta``.
        gamma_regularizer: penalty on ``gamma``.
        beta_constraint: projection of ``beta`` after each update.
        gamma_constraint: projection of ``gamma`` after each update.
        rms_scaling: an older option: the mean stays, and ``gamma`` alone is used.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``; each weight has the sizes of the axes.

    Raises:
        TypeError: when ``axis`` is neither an integer nor a list of them.

    Source: Ba et al. 2016, arXiv:1607.06450.
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        rms_scaling: bool = False,
        **kwargs: Any,
    ):
        rules = {
            "beta_initializer": beta_initializer,
            "gamma_initializer": gamma_initializer,
            "beta_regularizer": beta_regularizer,
            "gamma_regularizer": gamma_regularizer,
            "beta_constraint": beta_constraint,
            "gamma_constraint": gamma_constraint,
        }
        super().__init__(epsilon, center, scale, rules, **kwargs)
        self.axis = _axis("LayerNormalization", axis)
        self.rms_scaling = rms_scaling

    def build(self, input_shape: Any) -> None:
        """Make torch's module for the sizes of the axes."""
        self.axis = sorted(axes_of(self.name, self.axis, input_shape))
        sizes = sizes_of(self.name, self.axis, input_shape)
        dtype = self.dtype_policy.torch_dtype
        norm = empty_module(nn.LayerNorm, sizes, eps=self.epsilon, dtype=dtype)
        is_rms = self.rms_scaling
        self._keep(norm, self.scale or is_rms, self.center and not is_rms)
        rank = len(input_shape)
        behind = [axis % rank for axis in self.axis] == list(range(rank - len(sizes), rank))
        self._is_plain = behind and not is_rms

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalize."""
        norm = self.norm
        if self._is_plain and inputs.dtype is self.dtype_policy.torch_compute_dtype is _dtype(norm):
            return norm(inputs)
        outputs = ops.layer_normalization(
            inputs, norm.weight, norm.bias, self.axis, self.epsilon, rms_scaling=self.rms_scaling
        )
        return outputs.to(self.dtype_policy.torch_compute_dtype)


def _dtype(norm: nn.Module) -> torch.dtype:
    """Return the dtype of a module's weights where it computes in it; float32 without weights."""
    held = norm.weight if norm.weight is not None else getattr(norm, "bias", None)
    return torch.float32 if held is None else torch.promote_types(held.dtype, torch.float32)


@register("layer")
class GroupNormalization(_OfEachSample):
    """Brings each group of channels of each sample to mean 0 and variance 1.

    Args:
        groups: how many groups; -1 for one for each channel, which is instance normalization.
        axis: the axis of the channels.
        epsilon: added to the variance under the root.
        center: whether ``beta`` is added.
        scale: whether the result is multiplied by ``gamma``.
        beta_initializer: how ``beta`` is drawn.
        gamma_initializer: how ``gamma`` is drawn.
        beta_regularizer: penalty on ``beta``.
        gamma_regularizer: penalty on ``gamma``.
        beta_constraint: projection of ``beta`` after each update.
        gamma_constraint: projection of ``gamma`` after each update.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``; each weight has the size of ``axis``.

    Raises:
        ValueError: for a number of groups that is none and, when built, channels that cannot be
            grouped evenly.

    Source: Wu and He 2018, arXiv:1803.08494.
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ):
        is_number = isinstance(groups, int) and not isinstance(groups, bool)
        if not is_number or (groups <= 0 and groups != -1):
            raise ValueError(
                f"GroupNormalization: groups must be a positive integer or -1; received {groups!r}."
            )
        rules = {
            "beta_initializer": beta_initializer,
            "gamma_initializer": gamma_initializer,
            "beta_regularizer": beta_regularizer,
            "gamma_regularizer": gamma_regularizer,
            "beta_constraint": beta_constraint,
            "gamma_constraint": gamma_constraint,
        }
        super().__init__(epsilon, center, scale, rules, **kwargs)
        self.groups = groups
        self.axis = axis

    def build(self, input_shape: Any) -> None:
        """Make torch's module for the channels of ``axis``."""
        rank = len(input_shape)
        (size,) = sizes_of(self.name, self.axis, input_shape)
        if self.axis % rank == 0:
            raise ValueError(f"Layer {self.name!r}: axis={self.axis} is that of the batch.")
        self.groups = size if self.groups == -1 else self.groups
        if size % self.groups:
            raise ValueError(
                f"Layer {self.name!r} cannot make {self.groups} groups of {size} channels: give it "
                f"groups that divide {size}."
            )
        dtype = self.dtype_policy.torch_dtype
        norm = empty_module(nn.GroupNorm, self.groups, size, eps=self.epsilon, dtype=dtype)
        self._keep(norm, self.scale, self.center)
        self.input_spec = InputSpec(ndim=rank, axes={self.axis: size})

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalize."""
        norm = self.norm
        # Half precision would overflow in the sums.
        wide = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
        weight, bias = (None if w is None else w.to(wide.dtype) for w in (norm.weight, norm.bias))
        # Not the module's own call, which refuses one number a group; and of a bias without weight
        # torch loses the gradient.
        outputs = torch.group_norm(
            wide.movedim(self.axis, 1),
            norm.num_groups,
            weight,
            None if weight is None else bias,
            self.epsilon,
        )
        if weight is None and bias is not None:
            outputs = outputs + bias.view(-1, *(1,) * (wide.dim() - 2))
        return outputs.movedim(1, self.axis).to(self.dtype_policy.torch_compute_dtype)


@register("layer")
class RMSNormalization(Layer):
    """Divides each sample by the root of its mean square along axes, and scales it.

    Args:
        axis: one axis or several.
        epsilon: added to the mean square under the root.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``; the weight has the sizes of the axes.

    Raises:
        TypeError: when ``axis`` is neither an integer nor a list of them.

    Source: Zhang and Sennrich 2019, arXiv:1910.07467.
    """

    weight_map = (Weight("scale", "norm.weight"),)
    float_inputs = True
    supports_masking = True
    scale_initializer = initializers.get("ones")

    def __init__(self, axis: int | Sequence[int] = -1, epsilon: float = 1e-6, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = _axis("RMSNormalization", axis)
        self.epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        """Make torch's module for the sizes of the axes."""
        self.axis = sorted(axes_of(self.name, self.axis, input_shape))
        sizes = sizes_of(self.name, self.axis, input_shape)
        dtype = self.dtype_policy.torch_dtype
        self.norm = empty_module(nn.RMSNorm, sizes, eps=self.epsilon, dtype=dtype)
        rank = len(input_shape)
        over = [axis % rank for axis in self.axis]
        self._shape = [input_shape[at] if at in over else 1 for at in range(rank)]
        self._is_plain = over == list(range(rank - len(sizes), rank))

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalize."""
        scale = self.norm.weight if self._is_plain else self.norm.weight.view(self._shape)
        return ops.rms_normalization(inputs, scale, self.axis, self.epsilon)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        axes_of(self.name, self.axis, input_shape)
        return input_shape


@register("layer")
class UnitNormalization(Layer):
    """Divides each sample by its length along axes.

    Args:
        axis: one axis or several, taken together.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, …)``.

    Raises:
        TypeError: when ``axis`` is neither an integer nor a list of them.
    """

    float_inputs = True
    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = _axis("UnitNormalization", axis)
        self._needs_no_build()

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalize."""
        return functional.normalize(inputs, dim=self.axis, eps=1e-12)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        axes_of(self.name, self.axis, input_shape)
        return input_shape
