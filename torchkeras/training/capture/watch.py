"""Watching the Python of one step: calls whose answers or effects no record can hold."""

from __future__ import annotations

import functools
import os
import random
import sys
import types
from typing import Any

import numpy as np
import torch

from torchkeras.seeds import reseed
from torchkeras.training.capture.reach import (
    is_installed_file,
    is_library_module,
    is_numpy_random,
    is_standard_file,
    module_of,
)

# C functions by module; those whose `__self__` is an object are judged by its class.
_MODULES = {
    "time": "the clock",
    "posix": "the operating system",
    "nt": "the operating system",
    "_socket": "the network",
    "select": "the network",
    "_thread": "threads",
    "_queue": "threads",
    "_io": "files",
    "io": "files",
    "_random": "random numbers",
    "_contextvars": "context variables",
}
_BUILTINS = {"print": "the screen", "input": "the keyboard"}
# Whoever calls these, torch itself included: checkpointing sets states back.
_RESEEDING = ("manual_seed", "seed", "set_state", "set_offset", "graphsafe_set_state")
_HANDING_OUT = ("_to_dlpack", "to_dlpack", "_to_dlpack_versioned")
_OWN = tuple(
    os.path.dirname(module.__file__) + os.sep
    for module in (torch, np, sys.modules[__package__.partition(".")[0]])
)


class Watch:
    """Watches, while it is entered, what Python code of the user's calls in this thread.

    Args:
        codes: code whose state is looked at; other code of the user's is reported.

    Attributes:
        hazards: what was seen, in words.
    """

    def __init__(self, codes: set[types.CodeType]):
        self._codes = codes
        self.hazards: list[str] = []

    def __enter__(self) -> Watch:
        self._is_watching = sys.getprofile() is None
        if self._is_watching:
            sys.setprofile(self._see)
        else:
            self.hazards.append("a Python profiler runs beside Python code of the user's")
        return self

    def __exit__(self, *error: Any) -> None:
        if self._is_watching:
            sys.setprofile(None)

    def _see(self, frame: types.FrameType, event: str, called: Any) -> None:
        if event == "call":
            code = frame.f_code
            if code not in self._codes and not _is_ours(frame):
                self.hazards.append(f"it is not known what {code.co_name}() can read")
        elif event == "c_call" and frame.f_code is not reseed.__code__:  # which is recorded
            found = _verdict(called)
            if found is not None and _origin_of(frame, found[0]) in ("any", "user"):
                self.hazards.append(found[1])


def _verdict(called: Any) -> tuple[str, str] | None:
    """Say what is wrong with calling a C function.

    Returns:
        By whom - ``'any'`` code, the ``'user'``'s, also through the standard library, or the user's
        ``'directly'`` - and the reason in words; ``None`` if nothing is wrong.
    """
    owner = getattr(called, "__self__", None)
    name = getattr(called, "__name__", "")
    if isinstance(owner, torch._C.Generator):
        return ("any", f"the random state is set ({name})") if name in _RESEEDING else None
    if isinstance(owner, random.Random) or is_numpy_random(type(owner)):
        return "user", "the step draws from Python's or numpy's random numbers"
    if isinstance(owner, types.GeneratorType) or called is next:
        return "directly", f"the step uses an iterator ({name})"
    if owner is None or isinstance(owner, types.ModuleType):
        if name in _HANDING_OUT:
            return "user", f"{name}() hands a tensor to Python"
        module = getattr(called, "__module__", None) or getattr(owner, "__name__", "")
        what = _MODULES.get(module) or (module == "builtins" and _BUILTINS.get(name))
    else:
        kind = owner if isinstance(owner, type) else type(owner)
        what = _MODULES.get(module_of(kind))
        if module_of(kind) == "datetime" and name in ("now", "utcnow", "today"):
            what = "the clock"
    return ("user", f"the step uses {what} ({name})") if what else None


@functools.lru_cache(maxsize=4096)
def _origin(file: str) -> str:
    """Tell whose a file is: torch's, numpy's or torchkeras', Python's, installed, or the user's."""
    if file.startswith(_OWN):
        return "own"
    if is_standard_file(file):
        return "standard"
    return "installed" if is_installed_file(file) else "user"


def _is_ours(frame: types.FrameType) -> bool:
    """Tell whether code is not the user's, nor called by him."""
    file = frame.f_code.co_filename
    if file.startswith("<"):  # made by a library: constructors of tuples, the plan of a graph
        name = frame.f_globals.get("__name__", "")
        is_own = name.startswith(("namedtuple_", "torchkeras."))
        return is_own or is_library_module(name)
    origin = _origin(file)
    if origin == "installed":
        return _origin_of(frame, "user") == "own"
    return origin != "user"


def _origin_of(frame: types.FrameType | None, wanted: str) -> str:
    """Tell whose code makes a call, as far as it is wanted (see :func:`_verdict`)."""
    if wanted == "any":
        return "any"
    while frame is not None:
        origin = _origin(frame.f_code.co_filename)
        if origin in ("own", "user") or wanted == "directly":
            return origin
        frame = frame.f_back
    return "user"
