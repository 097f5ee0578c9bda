"""`python -m torchkeras script.py` is `python script.py`, with keras meaning torchkeras."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import torchkeras
from torchkeras.compat import launcher

ROOT = Path(torchkeras.__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def python(*arguments, cwd, **settings):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        **settings,
    )


def launch(*arguments, cwd, **settings):
    return python("-m", "torchkeras", *arguments, cwd=cwd, **settings)


def assert_same(ours, theirs):
    assert ours.stdout == theirs.stdout
    assert ours.stderr == theirs.stderr
    assert ours.returncode == theirs.returncode


FACTS = """
import os, sys
import beside
print(sys.argv, __file__, sys.path, os.getcwd())
print(__name__, __spec__ and __spec__.name, __package__, __doc__, sorted(globals()))
print(type(__loader__).__name__)
print(sys.modules["__main__"].__dict__ is globals(), beside.__file__, sys.stdin.read())
if __name__ == "__main__":
    sys.exit(3)
"""


@pytest.fixture
def folder(tmp_path):
    """Make a project folder with a script in a folder of its own."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "beside.py").write_text("")
    (tmp_path / "beside.py").write_text("")
    (tmp_path / "scripts" / "facts.py").write_text(FACTS)
    return tmp_path


def test_what_a_script_sees(folder):
    arguments = ("scripts/facts.py", "a b", "--help", "-m", "--keras=1")
    theirs = python(*arguments, cwd=folder, input="from stdin")
    assert_same(launch(*arguments, cwd=folder, input="from stdin"), theirs)
    assert theirs.returncode == 3 and "from stdin" in theirs.stdout


def test_what_a_module_sees(folder):
    (folder / "scripts" / "__init__.py").write_text("")
    (folder / "scripts" / "__main__.py").write_text("from .beside import __name__ as b\nprint(b)\n")
    arguments = ("-m", "scripts.facts", "-x")
    theirs = python(*arguments, cwd=folder, input="")
    assert_same(launch(*arguments, cwd=folder, input=""), theirs)
    assert launch("--keras=2", "-m", "scripts", cwd=folder).stdout == "scripts.beside\n"


def test_traceback_is_the_scripts_own(folder):
    (folder / "scripts" / "fails.py").write_text(
        "def divide(a, b):\n"
        "    return a / b\n\n"
        "try:\n"
        "    divide(1, 0)\n"
        "except ZeroDivisionError as error:\n"
        "    raise ValueError('no quotient') from error\n"
    )
    theirs = python("scripts/fails.py", cwd=folder)
    assert_same(launch("scripts/fails.py", cwd=folder), theirs)
    assert theirs.returncode == 1 and "no quotient" in theirs.stderr


def test_the_scripts_own_excepthook(folder):
    (folder / "hook.py").write_text(
        "import sys, traceback\n"
        "def hook(kind, error, tb):\n"
        "    print(kind.__name__, error, len(traceback.extract_tb(tb)))\n"
        "sys.excepthook = hook\n"
        "raise KeyError('seen')\n"
    )
    theirs = python("hook.py", cwd=folder)
    assert_same(launch("hook.py", cwd=folder), theirs)
    assert theirs.stdout == "KeyError 'seen' 1\n"


def test_interrupt(folder):
    (folder / "stops.py").write_text("def stop():\n    raise KeyboardInterrupt\n\nstop()\n")
    theirs = python("stops.py", cwd=folder)
    assert_same(launch("stops.py", cwd=folder), theirs)
    assert theirs.returncode not in (0, 1)


def test_syntax_error(folder):
    (folder / "old.py").write_text("import keras\nprint 'Python 2'\n")
    theirs = python("old.py", cwd=folder)
    assert_same(launch("old.py", cwd=folder), theirs)
    assert "SyntaxError" in theirs.stderr


# A listing as they were written in 2016; only its data are made up.
PIMA = """
from keras.models import Sequential
from keras.layers import Dense
import keras
import numpy
# fix random seed for reproducibility
seed = 7
numpy.random.seed(seed)
X = numpy.random.rand(60, 8)
Y = (X.sum(axis=1) > 4).astype(int)
# create model
model = Sequential()
model.add(Dense(12, input_dim=8, init='uniform', activation='relu'))
model.add(Dense(8, init='uniform', activation='relu'))
model.add(Dense(1, init='uniform', activation='sigmoid'))
# Compile model
model.compile(loss='binary_crossentropy', optimizer='adam', metrics=['accuracy'])
# Fit the model
history = model.fit(X, Y, nb_epoch=3, batch_size=10, verbose=0)
print(history.history)
# evaluate the model
scores = model.evaluate(X, Y)
print("%s: %.2f%%" % (model.metrics_names[1], scores[1]*100))
# calculate predictions
predictions = model.predict(X)
rounded = [round(x[0]) for x in predictions]
print(rounded)
print([float(round(x)) for x in predictions])
for row in predictions[:3]:
    print('%.2f %d %.1f' % (row, row, float(row)))
print(keras.__version__, keras.models.Sequential.__module__, type(predictions).__name__)
"""


def test_keras_1_listing_runs_and_repeats(folder):
    (folder / "pima.py").write_text(PIMA)
    first, second = (launch("pima.py", cwd=folder) for _ in range(2))
    assert first.returncode == 0, first.stderr
    took = re.compile(r"\d+(us|ms|s)\b")
    assert took.sub("", first.stdout) == took.sub("", second.stdout)
    assert first.stderr == ""
    lines = first.stdout.splitlines()
    history = next(line for line in lines if line.startswith("{"))
    assert "'acc'" in history and "'accuracy'" not in history
    accuracy = next(line for line in lines if line.startswith("acc: "))
    assert 0 <= float(accuracy[5:-1]) <= 100
    # predict was silent then; the one bar is that of evaluate.
    assert len([line for line in lines if "/step" in line]) == 1
    assert lines[-1] == "1.2.2 torchkeras.models.sequential OldArray"


SPAWN = """
import multiprocessing
import keras

def describe(n):
    return n, keras.__version__, keras.layers.Dense.__module__, __name__, "tensorflow" in LATE()

def LATE():
    import sys
    return sys.modules

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(describe, [7]))
    print(describe(8))
"""


def test_spawned_processes_have_the_same_keras(folder):
    (folder / "spawns.py").write_text(SPAWN)
    ran = launch("--keras=2.3.1", "spawns.py", cwd=folder)
    assert ran.stdout == (
        "[(7, '2.3.1', 'torchkeras.layers.core', '__mp_main__', False)]\n"
        "(8, '2.3.1', 'torchkeras.layers.core', '__main__', False)\n"
    ), ran.stderr


class TestCommandLine:
    """What never comes to running anything."""

    @pytest.mark.parametrize(
        "arguments, status, text",
        [
            ([], 0, "usage: python -m torchkeras"),
            (["-h"], 0, "--keras=VERSION"),
            (["--keras=2", "--help", "script.py"], 0, "usage: python -m torchkeras"),
            (["--keras=four", "script.py"], 2, "Unknown Keras version 'four'"),
            (["--keras=", "script.py"], 2, "Unknown Keras version ''"),
            (["--verbose", "script.py"], 2, "unknown option --verbose"),
            (["-m"], 2, "argument expected for the -m option"),
            (["--keras", "1", "nowhere.py"], 2, "can't open file"),
            (["nowhere.py"], 2, "nowhere.py': [Errno 2] No such file or directory"),
        ],
    )
    def test_ends_with(self, arguments, status, text, capsys):
        with pytest.raises(SystemExit) as ended:
            launcher.main(arguments)
        assert ended.value.code == status
        out, err = capsys.readouterr()
        assert text in (err if status else out)

    @pytest.mark.parametrize("module", ["nowhere", "nowhere.below", "json"])
    def test_missing_module(self, module, folder):
        theirs = python("-m", module, cwd=folder)
        with pytest.raises(SystemExit) as ended:
            launcher._find_module(module)
        assert ended.value.code == theirs.returncode == 1

    def test_missing_module_message(self, capsys):
        with pytest.raises(SystemExit):
            launcher._find_module("json")
        assert capsys.readouterr().err == (
            f"{sys.executable}: No module named json.__main__; 'json' is a package and cannot be "
            "directly executed\n"
        )
