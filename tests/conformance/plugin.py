"""A plugin for pytest under which ``keras`` means torchkeras, in the era of one of Keras' suites.

Read from the environment: CONFORMANCE_VERSION, the suite; CONFORMANCE_ROOT, the folder of its
files; CONFORMANCE_RESULTS, the file that gets a line of JSON for each test; CONFORMANCE_EVERY, of
how many tests one is run.
"""

from __future__ import annotations

import ast
import collections.abc
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import os
import signal
import sys
import time
import types
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest
import standins
import suites
import torch
from _pytest.assertion import rewrite

import torchkeras
from torchkeras.compat import modules

SUITE = suites.SUITES[os.environ["CONFORMANCE_VERSION"]]
ROOT = Path(os.environ["CONFORMANCE_ROOT"])
SECONDS = 120  # a test may take

# Path below `keras` -> what stands there for the tests alone.
SUPPLIED: dict[str, Any] = {}


# ----------------------------------------------------------------------------- names and modules


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of Keras that torchkeras does not answer to."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of a module supplied here, else ``None``."""
        below = modules.path_of(fullname)
        if below is None or (below not in SUPPLIED and not self._is_strange(below)):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def _is_strange(self, below: str) -> bool:
        if modules.is_there(below):
            return False
        source = ROOT if SUITE.era == "3" else ROOT / "keras"
        place = source.joinpath(*below.split("."))
        return place.is_dir() or place.with_suffix(".py").is_file()

    def create_module(self, spec: Any) -> types.ModuleType:
        """Return the module supplied, or a stand-in."""
        below = modules.path_of(spec.name)
        if below.endswith("_test"):  # a test file that takes helpers from another
            return _read(spec.name, ROOT.joinpath(*below.split(".")).with_suffix(".py"))
        if below not in SUPPLIED:
            SUPPLIED[below] = standins.StandIn(below)
        return SUPPLIED[below]

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing: what stands here is made already."""


def _answer_for_what_is_absent() -> None:
    found_in_torchkeras = modules.Alias.__getattr__

    def __getattr__(self: modules.Alias, name: str) -> Any:
        below = f"{self._path}.{name}".lstrip(".")
        if below in SUPPLIED:
            return SUPPLIED[below]
        try:
            return found_in_torchkeras(self, name)
        except AttributeError:
            if name.startswith(("__", "pytest_", "setUp", "tearDown", "setup_", "teardown_")):
                raise  # pytest asks packages for these
            if Finder()._is_strange(below):
                return importlib.import_module(f"keras.{below}")
            thing = standins.operator(self._path, name)
            if thing is None:
                thing = standins.found_anywhere(name)
            if thing is None:
                thing = _helper(self._path, name)
            return standins.absent(below) if thing is None else thing

    modules.Alias.__getattr__ = __getattr__


def _load(below: str, path: Path) -> None:
    """Run a helper of the suite's checkout, as the module at a path below ``keras``."""
    name = f"keras.src.{below}" if SUITE.era == "3" else f"keras.{below}"
    SUPPLIED[below] = _read(name, path)


# Keras' check of a layer feeds its one batch by a generator, which is a subject of its own.
_GENERATOR = "model.fit(data_generator(), steps_per_epoch=1, verbose=0)"


def _read(name: str, path: Path) -> types.ModuleType:
    """Run a file as a module of a name."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    source = path.read_text().replace(_GENERATOR, "model.fit(*data, verbose=0)")
    exec(compile(source, str(path), "exec"), vars(module))
    return module


# Modules of Keras 1 and 2 whose private helpers the tests use.
_WITH_HELPERS = ("initializers", "utils.generic_utils", "utils.conv_utils")


def _helper(below: str, name: str) -> Any:
    """Return a function of the checkout's own module; ``None`` where it is none of the helpers."""
    if SUITE.era == "3" or below not in _WITH_HELPERS:
        return None
    full = f"keras.{below}_of_the_checkout"
    if full not in sys.modules:
        _read(full, ROOT.joinpath("keras", *below.split(".")).with_suffix(".py"))
    found = getattr(sys.modules[full], name, None)
    return found if isinstance(found, types.FunctionType) else None


def _old_backend() -> str:
    return "tensorflow"  # whose tests the suites leave out for any other


def _skip_if_backend(name: str, reason: str = "") -> Any:
    return pytest.mark.skipif(name == "torch", reason=reason)


def _revive_old_python() -> None:
    """Bring back what the tests of Keras 1 and 2 use of Python and numpy, and is gone."""
    for old, new in {
        "float": float,
        "int": int,
        "object": object,
        "product": np.prod,
        "alltrue": np.all,
        "cumproduct": np.cumprod,
        "Inf": np.inf,
    }.items():
        if not hasattr(np, old):
            setattr(np, old, new)
    if not hasattr(inspect, "getargspec"):
        inspect.getargspec = inspect.getfullargspec
    if not hasattr(time, "clock"):
        time.clock = time.perf_counter
    for name in ("Iterable", "Mapping", "Sequence", "Callable"):
        if not hasattr(__import__("collections"), name):
            setattr(__import__("collections"), name, getattr(collections.abc, name))


def _set_up() -> None:
    torchkeras.install(keras=SUITE.era)
    sys.meta_path.insert(0, Finder())
    _answer_for_what_is_absent()
    if SUITE.era == "3":
        standins.add_private_names()
        if importlib.util.find_spec("tensorflow") is None:  # some files import it at their top
            sys.modules["tensorflow"] = standins.StandIn("tensorflow")
        importlib.import_module("ml_dtypes")  # numpy then knows bfloat16
        SUPPLIED.update(standins.backend_of_3())
        conftest = types.ModuleType("conftest")
        conftest.skip_if_backend = _skip_if_backend
        sys.modules["conftest"] = conftest
        testing = types.ModuleType("keras.src.testing")
        testing.__path__ = []
        SUPPLIED["testing"] = sys.modules["keras.src.testing"] = testing
        for name in ("test_utils", "test_case"):
            _load(f"testing.{name}", ROOT / "testing" / f"{name}.py")
            setattr(testing, name, SUPPLIED[f"testing.{name}"])
        vars(testing).update(
            {
                name: thing
                for name, thing in vars(testing.test_case).items()
                if name == "TestCase" or "uses_" in name
            }
        )
    else:
        _revive_old_python()
        SUPPLIED["backend.backend"] = _old_backend
        SUPPLIED["backend.tensorflow_backend._get_available_gpus"] = list
        SUPPLIED["backend.tensorflow_backend._is_tf_1"] = bool
        if SUITE.era == "2.3.1":
            _load("backend.numpy_backend", ROOT / "keras" / "backend" / "numpy_backend.py")
            _load("utils.losses_utils", ROOT / "keras" / "utils" / "losses_utils.py")
        _load("utils.test_utils", ROOT / "keras" / "utils" / "test_utils.py")


_set_up()


# ------------------------------------------------------------------------------------ collecting


class SuiteFile(pytest.Module):
    """A test file of the suite, run under a name of its own: its folder is no package of ours."""

    def _getobj(self) -> types.ModuleType:
        return self._importtestmodule()

    def _importtestmodule(self) -> types.ModuleType:
        below = self.path.relative_to(ROOT).with_suffix("").as_posix()
        name = f"conformance_{below.replace('/', '_').replace('.', '_')}"
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, self.path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        source = self.path.read_bytes()
        tree = ast.parse(source, str(self.path))
        rewrite.rewrite_asserts(tree, source, str(self.path), self.config)  # says what differed
        try:
            exec(compile(tree, str(self.path), "exec"), vars(module))
        except BaseException:
            del sys.modules[name]
            raise
        return module


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> Any:
    """Read the suite's files our way."""
    return SuiteFile.from_parent(parent, path=module_path)


def pytest_configure(config: Any) -> None:
    """Know the marks of the suites."""
    for mark in ("requires_trainable_backend", "multi_device"):
        config.addinivalue_line("markers", f"{mark}: of Keras")


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Leave out what is not of the sample."""
    every = int(os.environ.get("CONFORMANCE_EVERY", "1"))
    items[:] = [item for item in items if suites.in_sample(_id(item.nodeid), every)]


# --------------------------------------------------------------------------------------- running


@pytest.fixture(autouse=True)
def _clean() -> Any:
    np.random.seed(1337)
    torch.manual_seed(1337)
    settings = dict(torchkeras.config._settings)
    torchkeras.backend.clear_session()
    yield
    torchkeras.config._settings.update(settings)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: Any) -> Any:
    """Stop a test that hangs."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _id(node: str) -> str:
    return node.split("/", 1)[-1] if node.startswith("./") else node


def _write(**line: Any) -> None:
    with open(os.environ["CONFORMANCE_RESULTS"], "a") as file:
        file.write(json.dumps(line) + "\n")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Any:
    """Write down how a test ended."""
    report = yield
    if report.when == "call" or (report.when == "setup" and not report.passed):
        error = call.excinfo.value if call.excinfo is not None else None
        _write(
            test=_id(item.nodeid),
            outcome="error" if report.failed and report.when == "setup" else report.outcome,
            needs=_needed(error),
            message="" if error is None else f"{type(error).__name__}: {error}"[:400],
        )
    return report


def _needed(error: BaseException | None) -> str | None:
    """Return the name that a test asked for in vain, also when it caught that and failed of it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # errors can name each other in a ring
        seen.add(id(error))
        if isinstance(error, standins.NotThere):
            return str(error)
        if isinstance(error, ModuleNotFoundError):
            return error.name
        error = error.__cause__ or error.__context__
    return None


def pytest_collectreport(report: Any) -> None:
    """Write down a file that could not be read."""
    if report.failed:
        lines = str(report.longrepr).strip().splitlines()
        _write(
            test=_id(report.nodeid),
            outcome="error",
            needs=None,
            message=(lines or [""])[-1][:400],
        )
