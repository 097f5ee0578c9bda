"""The example learns: at least 74% training accuracy in 150 epochs, median of three seeds."""

import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments):
    """Run the example under the launcher; return its loss and accuracy."""
    command = [sys.executable, "-m", "torchkeras", "examples/pima_diabetes.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.search(r"^loss: ([\d.]+)  accuracy: ([\d.]+)$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return float(found[1]), float(found[2])


def test_repeats_by_its_seed():
    first = run("--epochs", "2", "--verbose", "0", "--seed", "3")
    assert first == run("--epochs", "2", "--verbose", "0", "--seed", "3")
    assert first != run("--epochs", "2", "--verbose", "0", "--seed", "4")


@pytest.mark.slow
def test_reaches_74_percent():
    accuracies = [run("--verbose", "0", "--seed", seed)[1] for seed in ("1", "2", "3")]
    assert statistics.median(accuracies) >= 0.74
