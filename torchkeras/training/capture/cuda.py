"""On CUDA a replayed step goes into a CUDA graph: one launch instead of one for each call."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from torchkeras.training.capture.replay import Replay


class GraphedReplay:
    """A replayed step as a CUDA graph.

    The graph reads inputs at fixed places, so each batch is copied there; what it returns is copied
    away, since the next step writes over it.

    Args:
        replay: the step; capturing it launches nothing.
        inputs: a batch of the kind to come, on the device.

    Attributes:
        nbytes: memory kept between steps, in bytes.
        calls: how many torch calls the graph stands for.
    """

    def __init__(self, replay: Replay, inputs: Sequence[torch.Tensor | None]):
        self.nbytes = replay.nbytes
        self.calls = replay.calls
        self._replay = replay  # keeps the buffers that the graph knows by address
        self._inputs = [None if tensor is None else tensor.clone() for tensor in inputs]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = replay(*self._inputs)

    def __call__(self, *inputs: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        """Do the step."""
        for place, given in zip(self._inputs, inputs):
            if place is not None:
                place.copy_(given)
        self._graph.replay()
        return tuple(None if out is None else out.clone() for out in self._outputs)


def for_device(replay: Replay, inputs: Sequence[torch.Tensor | None]) -> Replay | GraphedReplay:
    """Return the form of a replayed step that suits the device of a batch.

    A step that cannot go into a graph, because one of its calls waits for the device, is replayed
    call by call.
    """
    if inputs[0].device.type != "cuda":
        return replay
    try:
        return GraphedReplay(replay, inputs)
    except RuntimeError:
        return replay
