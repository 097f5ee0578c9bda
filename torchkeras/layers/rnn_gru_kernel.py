"""GRU over whole sequences: torch's kernel, or the same arithmetic in fewer calls on the CPU.

On the CPU torch has no fused kernel for a GRU, and its backward pass makes a product for the
weights at each step. Here the backward pass keeps what the gates get of all steps in one buffer, so
that each weight's gradient is one product, and derivatives are computed for all steps at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def run_over(
    sequences: Tensor, state: Tensor, weights: Sequence[Tensor], settings: Sequence[Any]
) -> tuple[Tensor, Tensor]:
    """Run through sequences.

    Args:
        sequences: ``(batch, steps, features)``.
        state: ``(1, batch, units)``.
        weights: torch's.
        settings: what ``torch.gru`` takes behind them.

    Returns:
        The outputs ``(batch, steps, units)`` and the last state ``(1, batch, units)``.
    """
    tensors = (sequences, state, *weights)
    is_trained = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if (
        not is_trained
        or sequences.device.type != "cpu"
        or sequences.dtype not in (torch.float32, torch.float64)
        or torch.compiler.is_compiling()
    ):
        return torch.gru(sequences, state, weights, *settings)
    biases = weights[2:] or (None, None)
    outputs = _Trained.apply(sequences, state[0], *weights[:2], *biases)
    return outputs, outputs[:, -1].unsqueeze(0)


class _Trained(torch.autograd.Function):
    """A GRU on the CPU with a backward pass of its own.

    All arrays inside begin with the steps; gates are r, z, n as torch has them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        sequences: Tensor,
        state: Tensor,
        of_inputs: Tensor,
        of_states: Tensor,
        inputs_bias: Tensor | None,
        states_bias: Tensor | None,
    ) -> Tensor:
        """Run through the steps.

        Args:
            ctx: keeps tensors for the backward pass.
            sequences: ``(batch, steps, features)``.
            state: ``(batch, units)``.
            of_inputs: ``(3 * units, features)``.
            of_states: ``(3 * units, units)``.
            inputs_bias: ``(3 * units,)``.
            states_bias: ``(3 * units,)``.

        Returns:
            ``(batch, steps, units)``.
        """
        batch, steps, _ = sequences.shape
        units = state.shape[1]
        inputs = sequences.transpose(0, 1).contiguous()
        flat = inputs.view(steps * batch, -1)
        gates, new = (
            torch.mm(flat, part.t()).view(steps, batch, -1)
            for part in (of_inputs[: 2 * units], of_inputs[2 * units :])
        )
        zeros = state.new_zeros(units)
        if inputs_bias is not None:
            gates += inputs_bias[: 2 * units] + states_bias[: 2 * units]
            new += inputs_bias[2 * units :]
        in_new = zeros if states_bias is None else states_bias[2 * units :]
        products = state.new_empty(steps, batch, units)  # what the reset gate is multiplied by
        states = state.new_empty(steps + 1, batch, units)
        states[0] = state
        to_gates, to_new = of_states[: 2 * units].t(), of_states[2 * units :].t()
        before = states.unbind(0)
        rows = zip(
            gates.unbind(0),
            gates[..., :units].unbind(0),
            gates[..., units:].unbind(0),
            new.unbind(0),
            products.unbind(0),
            before,
            before[1:],
        )
        for gate, reset, update, candidate, product, old, after in rows:
            gate.addmm_(old, to_gates).sigmoid_()
            torch.addmm(in_new, old, to_new, out=product)
            candidate.addcmul_(reset, product).tanh_()
            torch.lerp(candidate, old, update, out=after)
        ctx.save_for_backward(
            *(sequences, state, of_inputs, of_states, inputs_bias, states_bias),
            *(inputs, gates, new, products, states),
        )
        return states[1:].transpose(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Run back through the steps.

        Args:
            ctx: keeps tensors of the forward pass.
            gradient: of the outputs, ``(batch, steps, units)``.

        Returns:
            A gradient for each argument of the forward pass.
        """
        given, (inputs, gates, new, products, states) = ctx.saved_tensors[:6], ctx.saved_tensors[6:]
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted
            return _by_torch(ctx, given, gradient)
        of_inputs, of_states, bias = given[2], given[3], given[4]
        steps, batch, units = products.shape
        reset, update = gates[..., :units], gates[..., units:]
        # What the gradient of a state is multiplied by, all the way to the gates' arguments.
        to_new = (1 - new * new) * (1 - update)
        to_update = (states[:-1] - new) * (update * (1 - update))
        to_reset = products * (reset * (1 - reset))
        of_gates = products.new_empty(steps, batch, 3 * units)
        of_new = torch.empty_like(new)
        carried = torch.zeros_like(states[0])
        rows = zip(
            gradient.transpose(0, 1).unbind(0),
            update.unbind(0),
            reset.unbind(0),
            to_new.unbind(0),
            to_update.unbind(0),
            to_reset.unbind(0),
            of_new.unbind(0),
            of_gates.unbind(0),
            *(part.unbind(0) for part in of_gates.chunk(3, -1)),
        )
        for row in reversed(list(rows)):
            (outer, kept, reset_at, by_new, by_update, by_reset, at_new, at_gates, *parts) = row
            total = carried + outer
            torch.mul(total, by_new, out=at_new)
            torch.mul(at_new, by_reset, out=parts[0])
            torch.mul(total, by_update, out=parts[1])
            torch.mul(at_new, reset_at, out=parts[2])
            carried = torch.addmm(total * kept, at_gates, of_states)
        flat, flat_new = of_gates.view(-1, 3 * units), of_new.view(-1, units)
        first = flat[:, : 2 * units]
        needs = ctx.needs_input_grad
        of_sequences = of_inputs_gradient = of_states_gradient = None
        flat_inputs = inputs.view(steps * batch, -1)
        if needs[0]:
            of_sequences = torch.mm(first, of_inputs[: 2 * units])
            of_sequences.addmm_(flat_new, of_inputs[2 * units :])
            of_sequences = of_sequences.view(steps, batch, -1).transpose(0, 1)
        if needs[2]:
            of_inputs_gradient = torch.empty_like(of_inputs)
            torch.mm(first.t(), flat_inputs, out=of_inputs_gradient[: 2 * units])
            torch.mm(flat_new.t(), flat_inputs, out=of_inputs_gradient[2 * units :])
        if needs[3]:
            of_states_gradient = torch.mm(flat.t(), states[:-1].reshape(-1, units))
        bias_gradients = (None, None)
        if bias is not None:
            of_states_bias = flat.sum(0)
            of_inputs_bias = torch.cat([of_states_bias[: 2 * units], flat_new.sum(0)])
            bias_gradients = (of_inputs_bias, of_states_bias)
        return of_sequences, carried, of_inputs_gradient, of_states_gradient, *bias_gradients


def _by_torch(
    ctx: Any, given: Sequence[Tensor | None], gradient: Tensor
) -> tuple[Tensor | None, ...]:
    """Return the gradients as torch computes them, so that they can be differentiated again."""
    sequences, state, *weights = given
    has_bias = weights[-1] is not None
    weights = weights if has_bias else weights[:2]
    settings = (has_bias, 1, 0.0, True, False, True)
    outputs, _ = torch.gru(sequences, state.unsqueeze(0), weights, *settings)
    wanted = [one for one, needed in zip(given, ctx.needs_input_grad) if needed]
    found = iter(torch.autograd.grad(outputs, wanted, gradient, create_graph=True))
    return tuple(next(found) if needed else None for needed in ctx.needs_input_grad)
