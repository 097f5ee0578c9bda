"""The suites of Keras' own tests: where they lie, and what their test ids are called."""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib.util
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Suite:
    """One version of Keras.

    Args:
        version: of Keras.
        era: what ``torchkeras.install(keras=…)`` is told.
        tests: folder of the tests below the root.
        pattern: of the names of test files.
        files: those that are run when none are named, as paths or folders below ``tests``.
    """

    version: str
    era: str
    tests: str
    pattern: str
    files: tuple[str, ...]

    def root(self, source: str | None) -> Path:
        """Return the folder that ids count from: of a checkout, or of the installed wheel.

        Raises:
            SystemExit: when there is neither.
        """
        if source is not None:
            base = Path(source).resolve()
            if self.version.startswith("3") and (base / "keras" / "src").is_dir():
                base = base / "keras" / "src"
        elif self.version.startswith("3"):
            spec = importlib.util.find_spec("keras")
            if spec is None or spec.origin is None:
                raise SystemExit(f"Keras {self.version} is not installed; name a checkout.")
            base = Path(spec.origin).parent / "src"
        else:
            raise SystemExit(f"Name a checkout of Keras {self.version}: --source FOLDER.")
        if not (base / self.tests).is_dir():
            raise SystemExit(f"{base} holds no tests of Keras {self.version}.")
        return base

    def test_files(self, root: Path, names: Iterable[str] = ()) -> list[str]:
        """Return the test files, relative to the root.

        Args:
            root: see :meth:`root`.
            names: files or folders; the suite's own choice unless given.
        """
        found: list[str] = []
        for name in names or self.files:
            below = root / self.tests / name
            paths = sorted(below.rglob(self.pattern)) if below.is_dir() else [below]
            if not below.exists():
                raise SystemExit(f"There is no {below}.")
            found += [path.relative_to(root).as_posix() for path in paths]
        return list(dict.fromkeys(found))


SUITES = {
    suite.version: suite
    for suite in (
        Suite(
            "1.2.2",
            "1",
            "tests",
            "test_*.py",
            tuple(
                """keras/test_activations.py keras/test_initializations.py
                keras/test_regularizers.py keras/test_constraints.py keras/test_optimizers.py
                keras/test_objectives.py
                keras/test_metrics.py keras/test_sequential_model.py keras/engine/test_topology.py
                keras/engine/test_training.py keras/backend/test_backends.py
                keras/layers/test_core.py test_dynamic_trainability.py test_loss_masking.py
                test_loss_weighting.py""".split()
            ),
        ),
        Suite(
            "2.3.1",
            "2.3.1",
            "tests",
            "*test*.py",
            tuple(
                """keras/activations_test.py keras/initializers_test.py keras/regularizers_test.py
                keras/constraints_test.py keras/optimizers_test.py keras/losses_test.py
                keras/metrics_test.py keras/metrics_functional_test.py
                keras/metrics_training_test.py keras/metrics_correctness_test.py
                keras/metrics_confusion_matrix_test.py keras/layers/core_test.py
                keras/layers/merge_test.py keras/test_sequential_model.py
                keras/engine/test_topology.py keras/engine/test_training.py
                test_model_pickling.py test_dynamic_trainability.py test_loss_masking.py
                test_loss_weighting.py keras/backend/backend_test.py""".split()
            ),
        ),
        Suite(
            "3.15.1",
            "3",
            ".",
            "*_test.py",
            tuple(
                """activations initializers regularizers constraints losses metrics optimizers ops
                random tree models trainers layers/layer_test.py layers/core layers/merging
                layers/regularization layers/reshaping""".split()
            ),
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Rule:
    """A line of a list: which tests it means, and why.

    Args:
        version: of the suite.
        what: what the pattern is of: the test's id, what it ``needs``, having asked for it in vain,
            or the error's ``message``.
        pattern: as the shell's.
        reason: why.
    """

    version: str
    what: str
    pattern: str
    reason: str

    def means(self, version: str, test: dict[str, Any]) -> bool:
        """Tell whether the rule is about a test."""
        if version != self.version and self.version != "*":
            return False
        return fnmatch.fnmatchcase(test[self.what] or "", self.pattern)


def rules(name: str) -> list[Rule]:
    """Read a list of rules, ``VERSION PATTERN  # REASON`` or ``VERSION needs PATTERN  # REASON``.

    ``message`` in place of ``needs`` means the error's text. A pattern is that of the shell, but
    brackets stand for themselves.

    Raises:
        ValueError: for a line without a reason.
    """
    found = []
    for line in (HERE / name).read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        head, _, reason = line.partition("  # ")
        version, _, pattern = head.strip().partition(" ")
        if not pattern or not reason:
            raise ValueError(f"{name}: not 'VERSION PATTERN  # REASON': {line!r}")
        what, _, rest = pattern.partition(" ")
        what, pattern = (what, rest) if what in ("needs", "message") else ("test", pattern)
        found.append(Rule(version, what, pattern.strip().replace("[", "[[]"), reason))
    return found


def reason_for(found: Iterable[Rule], version: str, test: dict[str, Any]) -> str | None:
    """Return the reason that the first fitting rule gives; ``None`` where none fits."""
    return next((rule.reason for rule in found if rule.means(version, test)), None)


def in_sample(test: str, every: int) -> bool:
    """Tell whether a test is of the fixed sample of one in ``every``."""
    return zlib.crc32(test.encode()) % every == 0


def passing_file(version: str) -> Path:
    """Return the list of what passed before."""
    return HERE / f"passing-{version}.txt"


def passing(version: str) -> set[str]:
    """Return the ids of what passed before."""
    path = passing_file(version)
    return set(path.read_text().splitlines()) if path.exists() else set()
