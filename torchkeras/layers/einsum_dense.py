"""A dense layer over whichever axes an einsum equation names."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from torchkeras import activations, constraints, initializers, regularizers
from torchkeras.graph import Spec
from torchkeras.layers import arguments
from torchkeras.layers.base import Layer
from torchkeras.layers.spec import InputSpec
from torchkeras.registry import register

Shape = tuple[int | None, ...]

_EQUATION = re.compile(r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)(\.\.\.)?")


class Plan(NamedTuple):
    """What an equation says for inputs of a shape.

    Args:
        kernel: shape of the kernel.
        bias: shape of the bias, which broadcasts to the output; ``None`` without one.
        output: shape of the output, ``None`` where ``output_shape`` has it.
        known: the same, filled in from the input where it says more.
        input_axes: the kernel's axes that are summed over.
        output_axes: the others.
        summed: how many of the input's last axes a matrix product may take as one; 0 where the
            equation is no matrix product.
    """

    kernel: Shape
    bias: Shape | None
    output: Shape
    known: Shape
    input_axes: list[int]
    output_axes: list[int]
    summed: int


def analyze(
    equation: str, bias_axes: str | None, input_shape: Shape, output_shape: Sequence[int | None]
) -> Plan:
    """Work out the shapes of an equation's weights and output.

    Args:
        equation: such as ``'abc,cd->abd'`` or ``'...x,xy->...y'``.
        bias_axes: letters of the output, or ``None``.
        input_shape: with the batch in front.
        output_shape: of a sample, without the axes that dots stand for; ``None`` where unknown.

    Raises:
        ValueError: when the equation is none of the known forms, or the shapes do not fit it.
    """
    inputs, weights, outputs, hidden = _letters(equation, len(input_shape))
    sizes = dict(zip(inputs, input_shape))
    is_left = equation.startswith("...")
    # The batch and what dots stand for are the input's, the rest is said by output_shape.
    given = iter(output_shape)
    known = {c for at, c in enumerate(outputs) if c in hidden or at == 0}
    full = tuple(sizes.get(c) if c in known else next(given, None) for c in outputs)
    if len(output_shape) != len(outputs) - len(known):
        raise ValueError(
            f"EinsumDense: with the equation {equation!r} output_shape needs "
            f"{len(outputs) - len(known)} sizes; received {tuple(output_shape)}."
        )
    out = dict(zip(outputs, full))
    for letter in set(inputs) & set(outputs):
        if out[letter] not in (None, sizes[letter]):
            raise ValueError(
                f"EinsumDense: axis {letter!r} of {equation!r} has the size {sizes[letter]} in the "
                f"input of shape {tuple(input_shape)}, and {out[letter]} in output_shape "
                f"{tuple(output_shape)}."
            )
    _check_letters(equation, inputs, weights, outputs, bias_axes)
    kernel = tuple(sizes.get(c) if out.get(c) is None else out[c] for c in weights)
    if None in kernel:
        raise ValueError(
            f"EinsumDense: the size of axis {weights[kernel.index(None)]!r} of {equation!r} is not "
            f"known from an input of shape {tuple(input_shape)} and output_shape "
            f"{tuple(output_shape)}."
        )
    bias = None
    if bias_axes is not None:
        begin = min(outputs.index(letter) for letter in bias_axes)
        bias = tuple(out[c] if c in bias_axes else 1 for c in outputs[begin:])
        if is_left:  # what the dots stand for is broadcast by itself
            bias = bias[max(len(hidden) - begin, 0) :]
    summed = [c for c in weights if c not in outputs]
    new = [c for c in weights if c in outputs]
    is_product = (
        bool(summed and new)
        and weights == [*summed, *new]
        and inputs[-len(summed) :] == summed
        and outputs == [*inputs[: -len(summed)], *new]
    )
    return Plan(
        kernel,
        bias,
        full,
        tuple(sizes.get(c) if out[c] is None else out[c] for c in outputs),
        [at for at, c in enumerate(weights) if c not in outputs],
        [at for at, c in enumerate(weights) if c in outputs],
        len(summed) if is_product else 0,
    )


def _letters(equation: str, rank: int) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return the letters of input, kernel and output, and those put in the place of dots."""
    found = _EQUATION.fullmatch(equation.replace(" ", ""))
    dots = None if found is None else (found[1] or "", found[3] or "")
    if dots is None or dots != (found[5] or "", found[7] or "") or all(dots):
        raise ValueError(
            f"EinsumDense: the equation {equation!r} is none of the forms 'ab,bc->ac', "
            "'...ab,bc->...ac' and 'ab...,bc->ac...'."
        )
    named = found[2] + found[4] + found[6]
    free = [letter for letter in string.ascii_letters if letter not in named]
    count = rank - len(found[2])
    if count < 0 or (count and not any(dots)):
        raise ValueError(
            f"EinsumDense: the equation {equation!r} takes inputs of rank {len(found[2])}"
            f"{' or more' if any(dots) else ''}; received one of rank {rank}."
        )
    hidden = free[:count]
    left, right = (hidden, []) if dots[0] else ([], hidden)
    return (
        [*left, *found[2], *right],
        list(found[4]),
        [*left, *found[6], *right],
        hidden,
    )


def _check_letters(
    equation: str,
    inputs: list[str],
    weights: list[str],
    outputs: list[str],
    bias_axes: str | None,
) -> None:
    """Raise for letters that come from nowhere."""
    for what, letters, among in (
        ("output", outputs, [*inputs, *weights]),
        ("kernel", weights, [*inputs, *outputs]),
        ("bias", bias_axes or "", outputs),
    ):
        unknown = [letter for letter in letters if letter not in among]
        if unknown:
            raise ValueError(
                f"EinsumDense: axis {unknown[0]!r} of the {what} is nowhere else in the equation "
                f"{equation!r}."
            )


@register("layer")
class EinsumDense(Layer):
    """A dense layer over whichever axes an equation names.

    Args:
        equation: of the einsum between input and kernel: ``'ab,bc->ac'``, ``'...ab,bc->...ac'`` or
            ``'ab...,bc->ac...'``.
        output_shape: shape of one sample of the output, without the axes that dots stand for;
            ``None`` where it follows from the input.
        activation: name, callable or torch module; none unless given.
        bias_axes: the letters of the output that a bias is added along; no bias unless given.
        kernel_initializer: how the kernel is drawn.
        bias_initializer: how the bias is drawn.
        kernel_regularizer: penalty on the kernel.
        bias_regularizer: penalty on the bias.
        kernel_constraint: projection of the kernel after each update.
        bias_constraint: projection of the bias after each update.
        lora_rank: must be ``None``: low-rank adaptation is not supported.
        lora_alpha: must be ``None``.
        gptq_unpacked_column_size: must be ``None``: quantization is not supported.
        quantization_config: must be ``None``.
        kwargs: the arguments of :class:`Layer`.

    Shapes:
        input and output as the equation says, the batch in front.

    Raises:
        ValueError: for an equation of another form, an argument that is not supported, and, when
            built, for shapes that do not fit.
    """

    config_without = ("lora_rank", "lora_alpha", "gptq_unpacked_column_size", "output_shape")
    config_also = ("activity_regularizer",)
    float_inputs = True
    quantization_config = None

    def __init__(
        self,
        equation: str,
        output_shape: Sequence[int | None] | int,
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        gptq_unpacked_column_size: int | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ):
        arguments.refuse(
            "EinsumDense",
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
            gptq_unpacked_column_size=gptq_unpacked_column_size,
            quantization_config=quantization_config,
        )
        super().__init__(**kwargs)
        self.equation = equation
        is_one = isinstance(output_shape, int)
        self.partial_output_shape = (output_shape,) if is_one else tuple(output_shape)
        self.bias_axes = bias_axes
        self.activation = activations.get(activation)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def _analyze(self, input_shape: Any) -> Plan:
        return analyze(self.equation, self.bias_axes, input_shape, self.partial_output_shape)

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias for the sizes of an input."""
        plan = self._analyze(input_shape)
        self._summed = plan.summed
        self.input_spec = InputSpec(ndim=len(input_shape))
        self.kernel = self.add_weight(
            name="kernel",
            shape=plan.kernel,
            initializer=self._scaled(plan),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if plan.bias is not None:
            self.bias = self.add_weight(
                name="bias",
                shape=plan.bias,
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def _scaled(self, plan: Plan) -> Any:
        """Return the kernel's initializer, told which axes are inputs and which are outputs."""
        drawn = self.kernel_initializer
        if not isinstance(drawn, initializers.VarianceScaling) or drawn.input_axes is not None:
            return drawn
        config = {**drawn.get_config(), "seed": drawn.seed}
        config.update(input_axes=plan.input_axes, output_axes=plan.output_axes)
        return type(drawn).from_config(config)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute ``activation(einsum(equation, inputs, kernel) + bias)``."""
        kernel = self.kernel.value
        bias = None if self.bias is None else self.bias.value
        outputs = self._multiply(inputs, kernel, bias)
        return outputs if self.activation is None else self.activation(outputs)

    def _multiply(
        self, inputs: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """Compute the equation, as one matrix product where it is one."""
        if not self._summed:
            outputs = torch.einsum(self.equation, inputs, kernel)
            return outputs if bias is None else outputs + bias
        new = kernel.shape[self._summed :]
        if self._summed > 1:
            inputs = inputs.flatten(-self._summed)
        is_flat = len(new) == 1
        matrix = kernel if kernel.dim() == 2 else kernel.reshape(-1, math.prod(new))
        is_whole = bias is not None and bias.shape == new
        vector = (bias if is_flat else bias.reshape(-1)) if is_whole else None
        outputs = functional.linear(inputs, matrix.t(), vector)
        outputs = outputs if is_flat else outputs.unflatten(-1, new)
        return outputs if bias is None or is_whole else outputs + bias

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return what the equation and ``output_shape`` say, ``None`` where they do not."""
        return self._analyze(tuple(input_shape)).output

    def compute_output_spec(self, inputs: Any) -> Spec:
        """Return shape and dtype of what comes out of a symbolic call."""
        return Spec(self._analyze(inputs.shape).known, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "output_shape": self.partial_output_shape}
