"""How many threads a training step is worth."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import torch

# Multiply-adds of a step's forward pass up to which one thread is not slower than two. Measured on
# two cores, plain loops: 1.3 million 0.92 of the time on a quiet machine, 4.4 million 1.15; on a
# busy one, where threads wait for each other at every call, a fifth of the time and less.
_ONE_THREAD = 2**21

_at_import = torch.get_num_threads()
# Whether this thread's number was chosen here; OpenMP keeps a number for each thread.
_chosen = threading.local()


@contextlib.contextmanager
def suited(work: float) -> Iterator[None]:
    """Let torch use one thread while the block runs if a step is too small for more.

    The number is left alone where the user chose it: by ``OMP_NUM_THREADS`` or
    ``MKL_NUM_THREADS``, or by ``torch.set_num_threads`` since torchkeras was imported; also when
    that happens within the block.

    Args:
        work: multiply-adds of a step's forward pass: for a dense layer its weights times the
            samples of a batch, for a convolution or a recurrent layer times the positions or
            steps too.
    """
    before, is_nested = torch.get_num_threads(), getattr(_chosen, "here", False)
    if _is_the_users(before, is_nested):
        yield
        return
    number = 1 if work <= _ONE_THREAD else _at_import
    torch.set_num_threads(number)
    _chosen.here = True
    try:
        yield
    finally:
        _chosen.here = is_nested
        if torch.get_num_threads() == number:
            torch.set_num_threads(before)


def _is_the_users(number: int, is_nested: bool) -> bool:
    if "OMP_NUM_THREADS" in os.environ or "MKL_NUM_THREADS" in os.environ:
        return True
    return number != _at_import and not (is_nested and number == 1)
