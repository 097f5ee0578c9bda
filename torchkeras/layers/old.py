"""Dense layers that only Keras 1 had."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from torchkeras import activations, constraints, initializers, regularizers
from torchkeras.layers import arguments
from torchkeras.layers.base import Layer, empty_module
from torchkeras.layers.core import Dense
from torchkeras.layers.spec import InputSpec
from torchkeras.registry import register
from torchkeras.variable import TRANSPOSE, Weight


@register("layer")
class TimeDistributedDense(Dense):
    """A dense layer on each step of a sequence, as :class:`Dense` is by itself.

    Args:
        units: width of the output.
        input_dim: size of a step, where the layer is the first of a model.
        input_length: how many steps there are then; any number unless given.
        kwargs: the other arguments of :class:`Dense`.

    Shapes:
        input ``(batch, steps, inputs)``, output ``(batch, steps, units)``.
    """

    config_without = ("input_dim", "input_length")
    config_also = tuple(
        name
        for name in inspect.signature(Dense.__init__).parameters
        if name not in ("self", "units", "kwargs", *Dense.config_without)
    )

    def __init__(
        self,
        units: int,
        input_dim: int | None = None,
        input_length: int | None = None,
        **kwargs: Any,
    ):
        if input_dim is not None:
            kwargs["input_shape"] = (input_length, input_dim)
        super().__init__(units, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Make the linear module for sequences.

        Raises:
            ValueError: for inputs of another rank than 3.
        """
        InputSpec(ndim=3).check(self.name, input_shape)
        super().build(input_shape)


class _OldDense(Layer):
    """Base of the dense layers below.

    Args:
        rules: initializer, regularizer and constraint of kernel and bias, by name.
        use_bias: whether a bias is added.
        kwargs: the arguments of :class:`Layer`.
    """

    float_inputs = True

    def __init__(self, rules: dict[str, Any], use_bias: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.use_bias = bool(use_bias)
        for name, rule in rules.items():
            kind = name.rpartition("_")[2]
            found = {"initializer": initializers, "regularizer": regularizers}
            setattr(self, name, found.get(kind, constraints).get(rule))
        self.input_spec = InputSpec(ndim=2)

    def _size(self, input_shape: Any) -> int:
        """Return the size of the inputs, which the layer is built for."""
        self.input_spec.check(self.name, input_shape)
        size = arguments.last_axis(self.name, input_shape)
        self.input_spec = InputSpec(ndim=2, axes={-1: size})
        return size


@register("layer")
class MaxoutDense(_OldDense):
    """The largest of several dense layers' outputs, at each place.

    Args:
        units: width of the output.
        features: how many dense layers there are.
        kernel_initializer: how the kernel ``(features, inputs, units)`` is drawn.
        bias_initializer: how the bias ``(features, units)`` is drawn.
        kernel_regularizer: penalty on the kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each update.
        bias_constraint: projection of the bias after each update.
        use_bias: whether a bias is added.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, inputs)``, output ``(batch, units)``.

    Source: Goodfellow et al. 2013, arXiv:1302.4389.
    """

    def __init__(
        self,
        units: int,
        features: int = 4,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        rules = {
            "kernel_initializer": kernel_initializer,
            "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer,
            "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint,
            "bias_constraint": bias_constraint,
        }
        super().__init__(rules, use_bias, **kwargs)
        self.units = arguments.positive("MaxoutDense", "units", units)
        self.features = arguments.positive("MaxoutDense", "features", features)

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias for the size of the inputs."""
        size = self._size(input_shape)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.features, size, self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.features, self.units),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute the largest of ``inputs @ kernel[i] + bias[i]``."""
        outputs = torch.matmul(inputs, self.kernel.value)
        if self.bias is not None:
            outputs = outputs + self.bias.value.unsqueeze(1)
        return outputs.max(0).values

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return ``(batch, units)``."""
        self.input_spec.check(self.name, input_shape)
        return (input_shape[0], self.units)


@register("layer")
class Highway(_OldDense):
    """A dense layer of its input's width, which a gate mixes with the input itself.

    It is ``gate * activation(inputs @ kernel + bias) + (1 - gate) * inputs`` with
    ``gate = sigmoid(inputs @ carry_kernel + carry_bias)``.

    Args:
        activation: name, callable or torch module; none unless given.
        kernel_initializer: how both kernels ``(inputs, inputs)`` are drawn.
        bias_initializer: how the bias ``(inputs,)`` is drawn; the gate's is 1.
        kernel_regularizer: penalty on the kernel, not on the gate's.
        bias_regularizer: penalty on the bias, not on the gate's.
        kernel_constraint: projection of the kernel after each update, not of the gate's.
        bias_constraint: projection of the bias after each update, not of the gate's.
        use_bias: whether biases are added.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output ``(batch, inputs)``.

    Source: Srivastava et al. 2015, arXiv:1505.00387.
    """

    weight_map = (
        Weight("kernel", "linear.weight", TRANSPOSE),
        Weight("carry_kernel", "gate.weight", TRANSPOSE),
        Weight("bias", "linear.bias"),
        Weight("carry_bias", "gate.bias"),
    )
    carry_bias_initializer = initializers.get("ones")

    def __init__(
        self,
        activation: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        rules = {
            "kernel_initializer": kernel_initializer,
            "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer,
            "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint,
            "bias_constraint": bias_constraint,
        }
        super().__init__(rules, use_bias, **kwargs)
        self.activation = activations.get(activation)

    @property
    def carry_kernel_initializer(self) -> Any:
        """How the gate's kernel is drawn: as the other one is."""
        return self.kernel_initializer

    def build(self, input_shape: Any) -> None:
        """Make both linear modules for the size of the inputs."""
        size = self._size(input_shape)
        options = {"bias": self.use_bias, "dtype": self.dtype_policy.torch_dtype}
        self.linear = empty_module(nn.Linear, size, size, **options)
        self.gate = empty_module(nn.Linear, size, size, **options)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Mix what is computed with the input."""
        return torch.lerp(
            inputs, self.activation(self.linear(inputs)), torch.sigmoid(self.gate(inputs))
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        self.input_spec.check(self.name, input_shape)
        return input_shape
