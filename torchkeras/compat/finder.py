"""Makes `keras`, `tf_keras` and `tensorflow.keras` mean torchkeras, whatever else is installed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from torchkeras import eras
from torchkeras.compat import modules
from torchkeras.compat.tensorflow import FakeTensorFlow, is_namespace
from torchkeras.warn import warn_user

_KERAS = ("keras", "tf_keras")
_TENSORFLOW = "tensorflow"
# Code of the import system and of this package stands between a script and its import.
_MACHINERY = (os.path.dirname(importlib.__file__) + os.sep, os.path.dirname(__file__) + os.sep)
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep


def _importing_frames() -> Iterator[types.FrameType]:
    """Yield the frames from here up to the code whose import is under way, that one included."""
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        if not frame.f_code.co_filename.startswith(("<frozen ", *_MACHINERY)):
            return
        frame = frame.f_back


def _is_users(filename: str) -> bool:
    """Tell whether a source file is the user's own: not installed, nor Python's."""
    if {"site-packages", "dist-packages"}.intersection(PurePath(filename).parts):
        return False
    return not filename.startswith(_STANDARD_LIBRARY)


class KerasFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the aliases and, for the user's own code, the stand-in for a missing TensorFlow.

    The stand-in must not be seen by installed packages, many of which ask whether TensorFlow can be
    imported. It is therefore found anew for each import of the user's, and taken out of
    ``sys.modules`` as soon as another module is looked for, or the stand-in is used.
    """

    def __init__(self) -> None:
        self._fakes: dict[str, types.ModuleType] = {}
        self._at_work = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module that means torchkeras, else ``None``.

        Raises:
            ModuleNotFoundError: for a module of Keras that torchkeras lacks.
            ImportError: for a name that such a module lacks, in ``from … import …``.
        """
        top = fullname.partition(".")[0]
        if top in _KERAS or (top == _TENSORFLOW and self._answers(fullname)):
            with self._working():
                return self._spec(fullname)
        if top != _TENSORFLOW and not self._at_work:
            self.hide()
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Return the alias, or the part of the stand-in, that was found."""
        with self._working():
            path = modules.path_of(spec.name)
            if path is not None:
                return modules.alias(path)
            if spec.name not in self._fakes:
                self._fakes[spec.name] = FakeTensorFlow(spec.name)
            return self._fakes[spec.name]

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing: an alias looks names up when they are asked for."""

    def hide(self) -> None:
        """Take the stand-in for TensorFlow out of ``sys.modules``."""
        if not self._fakes or _TENSORFLOW not in sys.modules:
            return
        for name in [name for name in sys.modules if name.partition(".")[0] == _TENSORFLOW]:
            if isinstance(sys.modules[name], (FakeTensorFlow, modules.Alias)):
                del sys.modules[name]

    def _answers(self, fullname: str) -> bool:
        """Tell whether an import of ``tensorflow…`` is answered here."""
        importer = list(_importing_frames())[-1].f_code.co_filename
        if self._has_tensorflow():
            # TensorFlow's own copy of Keras below tensorflow.python is for itself.
            is_own = fullname.startswith("tensorflow.python") and not _is_users(importer)
            return modules.path_of(fullname) is not None and not is_own
        return _is_users(importer)

    def _has_tensorflow(self) -> bool:
        loaded = sys.modules.get(_TENSORFLOW)
        if loaded is not None:
            return not isinstance(loaded, FakeTensorFlow)
        others = [f for f in sys.meta_path if f is not self and hasattr(f, "find_spec")]
        specs = (finder.find_spec(_TENSORFLOW, None) for finder in others)
        # A mere folder of that name (a namespace) has no origin.
        return any(spec is not None and spec.origin is not None for spec in specs)

    def _spec(self, fullname: str) -> importlib.machinery.ModuleSpec:
        path = modules.path_of(fullname)
        is_there = modules.is_there(path) if path is not None else is_namespace(fullname)
        if not is_there:
            self._refuse(fullname, path)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def _refuse(self, fullname: str, path: str | None) -> None:
        if path is None:
            message = FakeTensorFlow.absence(fullname)
        else:
            parent, _, name = path.rpartition(".")
            message = modules.absence(parent, name)
        if any(frame.f_code.co_name == "_handle_fromlist" for frame in _importing_frames()):
            module, _, name = fullname.rpartition(".")
            raise ImportError(
                f"cannot import name {name!r} from {module!r}: {message}", name=module
            )
        raise ModuleNotFoundError(f"No module named {fullname!r}: {message}", name=fullname)

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """Keep the stand-in in ``sys.modules`` while modules of torchkeras are loaded for it."""
        before, self._at_work = self._at_work, True
        try:
            yield
        finally:
            self._at_work = before


_finder = KerasFinder()
modules.Alias.when_used = FakeTensorFlow.when_used = staticmethod(_finder.hide)


def install(keras: str | int | None = None) -> None:
    """Make ``keras``, ``tf_keras`` and ``tensorflow.keras`` mean torchkeras from here on.

    Args:
        keras: whose defaults and formulas hold: ``1``, ``2``, ``'tf2'``, ``3`` or a version such as
            ``'2.3.1'``; unless given, those in force stay (Keras 3's at first).

    Raises:
        ValueError: for an unknown version.
    """
    if keras is not None:
        eras.set_version(keras)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _forget_real_keras()


def _forget_real_keras() -> None:
    """Drop Keras' own modules, so that the next import finds torchkeras; warn of what stays."""
    real = [
        name
        for name, module in sys.modules.items()
        if modules.path_of(name) is not None
        and not isinstance(module, modules.Alias)
        # What TensorFlow keeps below tensorflow.python is its own.
        and not name.startswith("tensorflow.python")
    ]
    for name in real:
        del sys.modules[name]
    tensorflow = sys.modules.get(_TENSORFLOW)
    if tensorflow is not None and not isinstance(tensorflow, FakeTensorFlow):
        tensorflow.keras = modules.alias("")
    if real:
        warn_user(
            f"{real[0].partition('.')[0]} was imported before torchkeras.install(). Imports from "
            "here on give torchkeras; names taken before are still Keras' own, and the two do not "
            "mix. Call torchkeras.install() before the first `import keras`.",
        )
