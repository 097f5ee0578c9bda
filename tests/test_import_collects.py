"""Importing the package leaves the collector of garbage as it was."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("before", ["enable", "disable"])
def test_the_collector_is_as_before(before):
    code = f"import gc; gc.{before}(); import torchkeras; print(gc.isenabled())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(before == "enable")
