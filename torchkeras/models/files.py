"""Writing files."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def replace(path: str | os.PathLike, content: bytes) -> None:
    """Write a file beside, then put it in the place of the old one, which a failure leaves whole.

    Raises:
        FileNotFoundError: when its directory is not there.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no directory {str(path.parent)!r} to write {path} to.")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
