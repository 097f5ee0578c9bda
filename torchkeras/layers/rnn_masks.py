"""Masks without a loop: the steps that count are moved to the front.

A step that is masked leaves the states as they are, so a sample's states after the steps that count
are those of a sequence of these steps alone. Moved to the front, whatever the mask looks like, they
can be run through by a kernel that knows no masks; what it makes of the steps behind them is not
looked at. Nothing of this reads a mask on the host, so a captured step may replay it.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Front:
    """Moves the steps that count to the front, and what came of them back.

    Args:
        mask: ``(batch, steps)``, true where a step counts.
    """

    def __init__(self, mask: Tensor):
        self._mask = mask
        # For each step, how many count up to it.
        self._counts = mask.cumsum(1)

    def moved(self, sequences: Tensor) -> Tensor:
        """Return sequences ``(batch, steps, features)`` with the steps that count first."""
        order = torch.sort((~self._mask).to(torch.uint8), dim=1, stable=True).indices
        return sequences.gather(1, order.unsqueeze(-1).expand_as(sequences))

    def outputs(self, outputs: Tensor, zero_for_mask: bool) -> Tensor:
        """Return each step's output: that of the last step which counted.

        Args:
            outputs: ``(batch, steps, units)``, of the moved steps.
            zero_for_mask: whether those of masked steps are 0.

        Returns:
            ``(batch, steps, units)``, 0 where no step counted yet.
        """
        found = _after(outputs, self._counts, torch.zeros_like(outputs[:, 0]))
        return found.masked_fill(~self._mask.unsqueeze(-1), 0) if zero_for_mask else found

    def last_output(self, outputs: Tensor, zero_for_mask: bool) -> Tensor:
        """Return the last step's output, ``(batch, units)``; see :meth:`outputs`."""
        found = self.last_state(outputs, torch.zeros_like(outputs[:, 0]))
        return found.masked_fill(~self._mask[:, -1:], 0) if zero_for_mask else found

    def last_state(self, states: Tensor, first: Tensor) -> Tensor:
        """Return a state after the last step that counted.

        Args:
            states: ``(batch, steps, units)``, after each of the moved steps.
            first: ``(batch, units)``, before them.
        """
        return _after(states, self._counts[:, -1:], first)[:, 0]


def _after(states: Tensor, counts: Tensor, first: Tensor) -> Tensor:
    """Return the state after so many steps.

    Args:
        states: ``(batch, steps, units)``, after each step.
        counts: ``(batch, n)``, whole numbers from 0.
        first: ``(batch, units)``, after no step.

    Returns:
        ``(batch, n, units)``.
    """
    places = counts.unsqueeze(-1).expand(-1, -1, states.shape[-1])
    return torch.cat([first.unsqueeze(1), states], 1).gather(1, places)
