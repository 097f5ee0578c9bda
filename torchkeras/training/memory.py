"""Memory that stays with the process while it trains: glibc's malloc asked not to give it back.

By default glibc returns large freed blocks to the kernel at once, and a training step that frees
and allocates the same blocks again and again pays a page fault for every 4 KiB of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import os
import sys
import threading
from collections.abc import Iterator

from torchkeras import config

# Parameters of mallopt(3), from malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
# No block has a mapping of its own, and the heap grows in large steps and never shrinks.
_KEEP = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26))
# Unless they are set, glibc raises two thresholds from 128 KiB as large blocks are freed, up to 32
# and 64 MiB. Setting any parameter ends that, so these are where a training process would have
# come to; at 128 KiB a plain loop after fit would be slower than before it.
_DEFAULT = (
    (_MMAP_MAX, 2**16),
    (_MMAP_THRESHOLD, 2**25),
    (_TRIM_THRESHOLD, 2**26),
    (_TOP_PAD, 2**17),
)
# Growth of the process that is worth a search for free pages, in bytes; glibc itself keeps as much.
# The search takes 20 µs, but in a heap of many small pieces more than 50 ms.
_WORTH_TRIMMING = 2**26

_lock = threading.Lock()
_depth = 0
_resident_before = 0


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keep freed memory for the next step while the block runs; give it back afterwards.

    It acts on the whole process, on Linux with glibc, unless ``torchkeras.config.keep_memory()`` is
    False, another malloc is loaded, or the environment tunes malloc (``MALLOC_…``,
    ``GLIBC_TUNABLES``).  Blocks may be nested and run in several threads; the last to end gives
    back.
    """
    libc = _glibc() if config.keep_memory() else None
    if libc is None:
        yield
        return
    _change_depth(libc, 1)
    try:
        yield
    finally:
        _change_depth(libc, -1)


def _change_depth(libc: ctypes.CDLL, by: int) -> None:
    """Count the blocks that run; the first and the last tell malloc."""
    global _depth, _resident_before
    with _lock:
        before, _depth = _depth, _depth + by
        if before and _depth:
            return
        for parameter, value in _KEEP if _depth else _DEFAULT:
            libc.mallopt(parameter, value)
        if _depth:
            _resident_before = _resident()
        elif _resident() - _resident_before > _WORTH_TRIMMING:
            libc.malloc_trim(0)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """Return glibc where malloc is its own and nobody has tuned it, else ``None``."""
    if sys.platform != "linux" or _is_tuned():
        return None
    try:
        libc, process = ctypes.CDLL("libc.so.6"), ctypes.CDLL(None)
        _ = libc.gnu_get_libc_version, libc.mallopt, libc.malloc_trim
        own, used = (ctypes.cast(lib.malloc, ctypes.c_void_p).value for lib in (libc, process))
    except (OSError, AttributeError):  # another C library
        return None
    if own != used:  # such as jemalloc, by LD_PRELOAD
        return None
    return libc


def _is_tuned() -> bool:
    is_set = any(name.startswith("MALLOC_") for name in os.environ)
    return is_set or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")


def _resident() -> int:
    """Return the bytes of memory that the process occupies; 0 where ``/proc`` is not there."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0
