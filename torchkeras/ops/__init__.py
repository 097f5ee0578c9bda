"""``keras.ops``: Keras' names for what torch computes.

The functions are made when the first of them is asked for; :mod:`torchkeras.ops.table` says how.
"""

from __future__ import annotations

import difflib
import importlib.util
from typing import Any

# The modules of functions, as Keras groups them; later ones may use earlier ones.
_MODULES = ("numpy", "core", "nn", "linalg", "math", "image", "einops")


def load() -> dict[str, Any]:
    """Import all modules of operations and return the functions by name."""
    from torchkeras.ops.table import FUNCTIONS

    for name in filter(_is_module, _MODULES):
        importlib.import_module(f"{__name__}.{name}")
    return FUNCTIONS


def _is_module(name: str) -> bool:
    return importlib.util.find_spec(f"{__name__}.{name}") is not None


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _is_module(name):
        return importlib.import_module(f"{__name__}.{name}")
    functions = load()
    if name in functions:
        globals().update(functions)
        return functions[name]
    near = difflib.get_close_matches(name, functions, n=3)
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    raise AttributeError(f"keras.ops has no function {name!r}{hint}.")


def __dir__() -> list[str]:
    return sorted({*load(), *_MODULES})
