"""Runs a script or a module as Python would, with `keras` meaning torchkeras in it."""

from __future__ import annotations

import builtins
import functools
import importlib.machinery
import importlib.util
import io
import multiprocessing.spawn
import os
import sys
import types
from typing import Any, NoReturn

from torchkeras import config, eras
from torchkeras.compat import versions
from torchkeras.compat.arrays import OldArray
from torchkeras.compat.finder import install

USAGE = """\
usage: python -m torchkeras [--keras=VERSION] script.py [argument ...]
       python -m torchkeras [--keras=VERSION] -m module [argument ...]

Runs a Keras script on PyTorch: in it, keras, tf_keras and tensorflow.keras mean torchkeras.

  --keras=VERSION  whose defaults and formulas hold: 1 (1.2.2), 2 (2.2.4), tf2 (2.15), 3, or a
                   version such as 2.3.1; unless given, what the script's spellings tell, else 3
  -m module        run a module of the Python path, as python -m does
  -h, --help       show this, and exit
"""


def main(arguments: list[str]) -> None:
    """Run what a command line asks for.

    Args:
        arguments: those after ``python -m torchkeras``.

    Raises:
        SystemExit: with status 2 for a command line that cannot be read or a script that is
            missing, with 1 for a missing module, and with 0 after ``--help``.
    """
    keras, is_module, rest = _read(arguments)
    if is_module:
        _run_module(rest[0], rest[1:], keras)
    else:
        _run_script(rest[0], rest[1:], keras)


def _read(arguments: list[str]) -> tuple[str | None, bool, list[str]]:
    """Split a command line into the version, whether a module is run, and what is run with what."""
    keras, rest = None, list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in ("-h", "--help"):
            sys.stdout.write(USAGE)
            raise SystemExit(0)
        if option == "-m":
            if not rest:
                _refuse("argument expected for the -m option")
            return keras, True, rest
        if option == "--keras" and rest:
            keras = rest.pop(0)
        elif option.startswith("--keras="):
            keras = option.partition("=")[2]
        else:
            _refuse(f"unknown option {option}")
        try:
            eras.as_version(keras)
        except ValueError as error:
            _refuse(f"--keras: {error}")
    if not rest:
        sys.stdout.write(USAGE)
        raise SystemExit(0)
    return keras, False, rest


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(f"{USAGE}\npython -m torchkeras: error: {message}\n")
    raise SystemExit(2)


def _stop(message: str, status: int) -> NoReturn:
    """End as Python does when there is nothing to run."""
    sys.stderr.write(f"{sys.executable}: {message}\n")
    raise SystemExit(status)


def _run_script(script: str, arguments: list[str], keras: str | None) -> None:
    path = os.path.abspath(script)
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        _stop(f"can't open file {path!r}: [Errno {error.errno}] {error.strerror}", 2)
    sys.argv[:] = [script, *arguments]
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.realpath(script))
    module = _new_main(path, importlib.machinery.SourceFileLoader("__main__", path))
    _begin(keras, source)
    _execute(source, path, module)


def _run_module(name: str, arguments: list[str], keras: str | None) -> None:
    sys.argv[:] = ["-m", *arguments]
    _begin(keras, b"")
    spec = _find_module(name)
    source = spec.loader.get_source(spec.name)
    code = spec.loader.get_code(spec.name)
    if code is None:
        _stop(f"No code object available for {name}", 1)
    if keras is None and source is not None:
        eras.set_version(versions.era_of(source))
    sys.argv[0] = spec.origin
    module = _new_main(spec.origin, spec.loader)
    module.__cached__, module.__package__, module.__spec__ = spec.cached, spec.parent, spec
    _execute(code, spec.origin, module)


def _find_module(name: str) -> importlib.machinery.ModuleSpec:
    """Return the spec of a module that ``-m`` names: of a package, that of its ``__main__``."""
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            package, name = name, f"{name}.__main__"
            spec = importlib.util.find_spec(name)
            if spec is None:
                why = f"{package!r} is a package and cannot be directly executed"
                _stop(f"No module named {name}; {why}", 1)
    except ImportError as error:
        _stop(
            f"Error while finding module specification for {name!r} "
            f"({type(error).__name__}: {error})",
            1,
        )
    if spec is None:
        _stop(f"No module named {name}", 1)
    return spec


def _begin(keras: str | None, source: bytes | str) -> None:
    """Put the aliases in place and choose the era, here and in processes that the script spawns."""
    _install(eras.as_version(versions.era_of(source) if keras is None else keras))
    original = multiprocessing.spawn.get_preparation_data

    @functools.wraps(original)
    def get_preparation_data(name: str) -> dict[str, Any]:
        # A spawned process unpickles this before it imports the script.
        return {**original(name), "torchkeras": _Installed()}

    multiprocessing.spawn.get_preparation_data = get_preparation_data


def _install(version: eras.Version) -> None:
    install(version)
    config.set_prediction_type(OldArray)


class _Installed:
    """Puts the aliases in place where it is unpickled."""

    def __reduce__(self) -> tuple:
        return _install, (eras.version(),)


def _new_main(path: str, loader: Any) -> types.ModuleType:
    """Make the module ``__main__`` that the script is to be."""
    module = types.ModuleType("__main__")
    module.__dict__.update(
        __annotations__={},
        __builtins__=builtins,
        __cached__=None,
        __file__=path,
        __loader__=loader,
    )
    return module


def _execute(source: bytes | types.CodeType, path: str, module: types.ModuleType) -> None:
    """Run code as ``__main__``; what it raises is shown without the frames above it."""
    sys.modules["__main__"] = module
    try:
        code = source
        if isinstance(source, bytes):
            code = compile(source, path, "exec", dont_inherit=True)
        exec(code, module.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        traceback = error.__traceback__.tb_next
        shown = sys.excepthook

        def show(kind: type[BaseException], raised: BaseException, _: Any) -> None:
            shown(kind, raised.with_traceback(traceback), traceback)

        sys.excepthook = show
        raise
