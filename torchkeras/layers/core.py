"""The layers that every model starts from: Input, Dense, and a torch module as a layer."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras import (
    activations,
    config as settings,
    constraints,
    dtypes,
    graph,
    initializers,
    regularizers,
    trust,
)
from torchkeras.graph import KerasTensor, Spec
from torchkeras.layers import arguments
from torchkeras.layers.base import Layer, empty_module
from torchkeras.layers.spec import InputSpec
from torchkeras.registry import register
from torchkeras.variable import TRANSPOSE, Weight


@register("layer")
class InputLayer(Layer):
    """The entry of a model: says the shape and dtype of its input, computes nothing.

    Args:
        shape: shape of one sample, ``None`` where free.
        batch_size: the batch size, where it is fixed.
        dtype: the input's dtype; ``floatx`` unless given.
        sparse: must be false: torch's layers take dense tensors.
        batch_shape: the shape with the batch in front, instead of ``shape``.
        input_tensor: a symbolic tensor that enters the model, instead of ``shape``.
        optional: whether ``None`` may be fed; must be false.
        ragged: must be false.
        name: the layer's name.

    Raises:
        ValueError: when no shape is given, or two.
    """

    config_without = ("shape", "batch_size", "input_tensor")

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: str | None = None,
        sparse: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: Any = None,
        optional: bool = False,
        ragged: bool | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        arguments.refuse("InputLayer", sparse=sparse, ragged=ragged, optional=optional)
        if input_tensor is not None:
            if not isinstance(input_tensor, KerasTensor):
                raise ValueError(
                    f"Input: tensor must be a symbolic one; received {type(input_tensor).__name__}."
                )
            known = input_tensor.shape
            given = known[1:] if shape is None else (shape,) if isinstance(shape, int) else shape
            given = known if batch_shape is None and given == known[1:] else batch_shape or given
            if tuple(given) != known or batch_size not in (None, known[0]):
                raise ValueError(
                    f"Input: the tensor has shape {known}; leave shape, batch_shape and "
                    "batch_size out."
                )
            shape, batch_size, batch_shape, dtype = None, None, known, input_tensor.dtype
        super().__init__(name=name, dtype=None, **kwargs)
        if batch_shape is not None and batch_size is not None:
            raise ValueError(
                f"Input: batch_shape={tuple(batch_shape)} has the batch size in it; leave "
                f"batch_size={batch_size!r} out."
            )
        if batch_shape is None and shape is None and self._first_shape is not None:
            shape = self._first_shape[1:]
            batch_size = self._first_shape[0] if batch_size is None else batch_size
        if (batch_shape is None) == (shape is None):
            raise ValueError(
                "Input: give the shape of one sample (shape=…) or the batch's (batch_shape=…); "
                f"received shape={shape!r} and batch_shape={batch_shape!r}."
            )
        if shape is not None:
            shape = (shape,) if isinstance(shape, int) else tuple(shape)
            batch_shape = (batch_size, *shape)
        self.batch_shape = arguments.shape("Input", "shape", batch_shape)
        self.input_dtype = dtypes.name_of(dtype)
        self.sparse = self.ragged = self.optional = False
        self.built = True
        if input_tensor is not None:
            graph.enter(self, input_tensor)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the input."""
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape."""
        return input_shape

    @property
    def output(self) -> KerasTensor:
        """The symbolic tensor that enters the model, one as long as somebody holds it."""
        nodes = graph.nodes_of(self)
        if nodes:
            return nodes[0].outputs
        return graph.connect(self, (), {}, Spec(self.batch_shape, self.input_dtype))

    @property
    def dtype(self) -> str:
        """The input's dtype."""
        return self.input_dtype

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {
            "batch_shape": self.batch_shape,
            "dtype": self.input_dtype,
            "sparse": self.sparse,
            "ragged": self.ragged,
            "name": self.name,
            "optional": self.optional,
        }


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    sparse: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    tensor: Any = None,
    optional: bool = False,
    ragged: bool | None = None,
) -> KerasTensor:
    """Declare a model's input.

    Args:
        shape: shape of one sample, ``None`` where free.
        batch_size: the batch size, where it is fixed.
        dtype: the input's dtype; ``floatx`` unless given.
        sparse: must be false.
        batch_shape: the shape with the batch in front, instead of ``shape``.
        name: name of the input.
        tensor: a symbolic tensor that becomes the input, instead of ``shape``.
        optional: must be false.
        ragged: must be false.

    Returns:
        A symbolic tensor, the first entry of a :class:`Sequential`.
    """
    layer = InputLayer(
        shape=shape,
        batch_size=batch_size,
        dtype=dtype,
        sparse=sparse,
        batch_shape=batch_shape,
        input_tensor=tensor,
        optional=optional,
        ragged=ragged,
        name=name,
    )
    return layer.output


@register("layer")
class Dense(Layer):
    """A fully connected layer: ``activation(inputs @ kernel + bias)`` over the last axis.

    Args:
        units: width of the output.
        activation: name, callable or torch module; none unless given.
        use_bias: whether a bias is added.
        kernel_initializer: how the kernel ``(inputs, units)`` is drawn.
        bias_initializer: how the bias ``(units,)`` is drawn.
        kernel_regularizer: penalty on the kernel.
        bias_regularizer: penalty on the bias.
        activity_regularizer: penalty on the output.
        kernel_constraint: projection of the kernel after each update.
        bias_constraint: projection of the bias after each update.
        lora_rank: must be ``None``: low-rank adaptation is not supported.
        lora_alpha: must be ``None``.
        quantization_config: must be ``None``: quantization is not supported.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input ``(batch, …, inputs)``, output ``(batch, …, units)``.

    Raises:
        ValueError: when ``units`` is no positive integer, or an argument is not supported.
    """

    weight_map = (Weight("kernel", "linear.weight", TRANSPOSE), Weight("bias", "linear.bias"))
    config_without = ("activity_regularizer", "lora_rank", "lora_alpha")
    float_inputs = True
    supports_masking = True
    quantization_config = None

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ):
        arguments.refuse(
            "Dense",
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
            quantization_config=quantization_config,
        )
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = arguments.positive("Dense", "units", units)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape: Any) -> None:
        """Make the linear module for inputs whose last axis is known."""
        size = arguments.last_axis(self.name, input_shape)
        dtype = self.dtype_policy.torch_dtype
        self.linear = empty_module(nn.Linear, size, self.units, bias=self.use_bias, dtype=dtype)
        self.input_spec = InputSpec(min_ndim=2, axes={-1: size})

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute ``activation(inputs @ kernel + bias)``."""
        outputs = self.linear(inputs)
        # None where somebody took the activation away after construction.
        return outputs if self.activation is None else self.activation(outputs)

    def _arithmetic(self) -> Sequence[Callable]:
        has_activation = self.activation not in (None, activations.linear)
        return (self.linear, self.activation) if has_activation else (self.linear,)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape with ``units`` last."""
        return (*input_shape[:-1], self.units)


@register("layer")
class TorchModuleWrapper(Layer):
    """A ``torch.nn.Module`` as a layer; its parameters and buffers are the layer's weights.

    Args:
        module: the torch module, called with the layer's inputs and keyword arguments.
        name: the layer's name.
        output_shape: the output's shape with the batch in front, where running the module on two
            small tensors would not find it.
        kwargs: the arguments of :class:`Layer`.

    Raises:
        TypeError: when ``module`` is no torch module.
        ValueError: when it is a lazy one that has no parameters yet.
    """

    config_without = ("module", "output_shape")

    def __init__(
        self,
        module: nn.Module,
        name: str | None = None,
        output_shape: Sequence[int | None] | None = None,
        **kwargs: Any,
    ):
        if not isinstance(module, nn.Module):
            raise TypeError(f"TorchModuleWrapper takes a torch.nn.Module; received {module!r}.")
        if any(nn.parameter.is_lazy(p) for p in (*module.parameters(), *module.buffers())):
            raise ValueError(
                f"TorchModuleWrapper: {type(module).__name__} is lazy and has no parameters yet; "
                "call it once on a tensor of the right shape first."
            )
        floats = (p.dtype for p in module.parameters() if p.dtype.is_floating_point)
        dtype = next(floats, None)
        # Under a mixed policy a module of float32 weights computes as layers do.
        if dtype is not settings.dtype_policy().torch_dtype:
            kwargs.setdefault("dtype", dtype)
        super().__init__(name=name, **kwargs)
        self.module = module
        self._given_output_shape = None if output_shape is None else tuple(output_shape)
        self._needs_no_build()

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the module."""
        return self.module(inputs, *args, **kwargs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape given, or the one found by running the module on small tensors."""
        if self._given_output_shape is not None:
            return self._given_output_shape
        return super().compute_output_shape(input_shape)

    def _has_closed_form(self) -> bool:
        return self._given_output_shape is not None

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again: the module as a pickle, in base64."""
        buffer = io.BytesIO()
        torch.save(self.module, buffer)
        return {
            **super().get_config(),
            "module": base64.b64encode(buffer.getvalue()).decode("ascii"),
            "output_shape": self._given_output_shape,
        }

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        custom_objects: dict[str, Any] | None = None,
        safe_mode: bool | None = None,
    ) -> TorchModuleWrapper:
        """Make a layer from what :meth:`get_config` returned.

        Args:
            config: the dictionary.
            custom_objects: of no effect: a pickle names its classes itself.
            safe_mode: whether the pickle is refused; as in force unless given.

        Raises:
            ValueError: in safe mode, since loading a pickle runs code.
        """
        module = config["module"]
        if isinstance(module, str):
            trust.require("The pickle of a torch module in a config", safe_mode)
            pickle = io.BytesIO(base64.b64decode(module))
            module = torch.load(pickle, weights_only=False, map_location=settings.device())
        return cls(**{**config, "module": module})
