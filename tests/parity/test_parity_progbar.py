"""What a terminal shows, and what verbose=2 writes, against Keras on the same clock."""

import io
import re
import types

import keras
import numpy as np
import pytest
from keras.src.callbacks.progbar_logger import ProgbarLogger as KerasProgbarLogger
from keras.src.utils import io_utils, progbar as keras_progbar

from torchkeras import layers, models
from torchkeras.callbacks import ProgbarLogger, progbar


class Clock:
    now = 1000.0

    def time(self):
        return self.now


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


class Both:
    """Keras' object and ours, told the same things; each writes to a terminal of its own."""

    def __init__(self, clock, terminals, theirs, ours):
        self.clock, self.terminals, self.pair = clock, terminals, (theirs, ours)

    def tell(self, method, *args, **kwargs):
        self.clock.now += 0.7
        for thing in self.pair:
            getattr(thing, method)(*args, **kwargs)
        theirs, ours = (screen(terminal.getvalue()) for terminal in self.terminals)
        assert ours == theirs
        return ours


def screen(written):
    """Return what a terminal shows: a list of (characters with their colours) for each line."""
    lines, column, style = [[]], 0, "0"
    for escape, character in re.findall(r"\x1b\[(\d+)m|([\s\S])", written):
        if escape:
            style = escape
        elif character == "\n":
            lines.append([])
            column = 0
        elif character == "\r":
            column = 0
        elif character == "\b":
            column = max(column - 1, 0)
        else:
            line = lines[-1]
            line[column : column + 1] = [(character, style)]
            column += 1
    # Blanks at the end are not seen.
    for line in lines:
        while line and line[-1][0] == " ":
            line.pop()
    return lines


@pytest.fixture
def both(monkeypatch):
    clock, terminals = Clock(), (Terminal(), Terminal())
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(keras_progbar, "time", clock)
    monkeypatch.setattr(progbar, "perf_counter", clock.time)
    monkeypatch.setattr(io_utils, "sys", types.SimpleNamespace(stdout=terminals[0]))
    monkeypatch.setattr(progbar, "sys", types.SimpleNamespace(stdout=terminals[1]))
    return lambda theirs, ours: Both(clock, terminals, theirs(), ours())


VALUES = [
    [("loss", 0.65103), ("tiny", 1.234e-5), ("negative", -0.25)],
    [("loss", 12345.6), ("tiny", 1e-3), ("negative", -0.5)],
    [("loss", 0.5), ("tiny", 0.0), ("negative", -1e-4)],
    [("loss", float("nan")), ("tiny", float("inf")), ("negative", 3)],
]


@pytest.mark.parametrize("target", [4, 1000, None, 0])
@pytest.mark.parametrize(
    "metrics",
    [{}, {"stateful_metrics": ["tiny"]}, {"stateless_metrics": ["loss"]}],
    ids=["mean", "stateful", "stateless"],
)
def test_bar(both, target, metrics):
    options = {"target": target, "width": 30, "unit_name": "sample", **metrics}
    bars = both(
        lambda: keras.utils.Progbar(**options),
        lambda: progbar.Progbar(**options),
    )
    for step, values in zip((1, 2, 3), VALUES):
        bars.tell("update", step, values)
    bars.tell("add", 1, VALUES[3])
    shown = bars.tell("update", target or 9, VALUES[1], finalize=True)
    assert len(shown) > 1 and shown[-2]


@pytest.mark.parametrize("seconds", [0.0001, 0.5, 30, 100, 2000])
def test_remaining_time(both, seconds):
    bars = both(lambda: keras.utils.Progbar(50), lambda: progbar.Progbar(50))
    for step in (1, 2, 10, 49, 50):
        bars.clock.now += seconds * step
        bars.tell("update", step)


@pytest.mark.parametrize("target, verbose", [(5, 1), (5, 2), (None, 1), (None, 2), (5, "auto")])
def test_fit(both, target, verbose):
    loggers = both(KerasProgbarLogger, ProgbarLogger)
    loggers.tell("set_params", {"verbose": verbose, "epochs": 2, "steps": target})
    loggers.tell("on_train_begin")
    for epoch in range(2):
        loggers.tell("on_epoch_begin", epoch)
        for batch in range(5):
            # More than any pause between two drawings.
            loggers.clock.now += 1.0
            logs = {"accuracy": 0.1 * batch, "loss": 1e-4 * batch}
            loggers.tell("on_train_batch_end", batch, logs)
        loggers.tell("on_test_begin")
        loggers.tell("on_test_batch_end", 0, {"loss": 1.0})
        loggers.tell("on_test_end", {"loss": 1.0})
        loggers.tell("on_epoch_end", epoch, {"accuracy": 0.5, "loss": 0.25, "val_loss": 1.0})
    loggers.tell("on_train_end")


@pytest.mark.parametrize("target", [3, None])
@pytest.mark.parametrize("kind", ["test", "predict"])
def test_evaluate_and_predict(both, kind, target):
    loggers = both(KerasProgbarLogger, ProgbarLogger)
    loggers.tell("set_params", {"verbose": 1, "epochs": 1, "steps": target})
    logs = {"loss": 0.5} if kind == "test" else None
    loggers.tell(f"on_{kind}_begin")
    for batch in range(3):
        loggers.clock.now += 1.0
        loggers.tell(f"on_{kind}_batch_end", batch, logs)
    shown = loggers.tell(f"on_{kind}_end", logs)
    assert len(shown) == 2


@pytest.mark.parametrize("verbose", [1, 2, "auto"])
def test_lines_in_a_file(verbose, capsys):
    """Keras writes such lines with verbose=2; here a file gets them for every verbose but 0."""
    x = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
    y = (x[:, :1] > 0).astype("float32")
    weights, texts = None, []
    for framework, sequential, mode in (
        (keras.layers, keras.Sequential, 2),
        (layers, models.Sequential, verbose),
    ):
        model = sequential([framework.Input((4,)), framework.Dense(1, activation="sigmoid")])
        weights = weights or model.get_weights()
        model.set_weights(weights)
        model.compile("sgd", "binary_crossentropy", metrics=["mae", "accuracy"])
        model.fit(x, y, epochs=2, verbose=mode, validation_split=0.2, shuffle=False)
        model.evaluate(x, y, verbose=mode)
        model.predict(x, verbose=mode)
        texts.append(re.sub(r"\d+s - \d+(us|ms|s)/step", "?", capsys.readouterr().out))
    assert texts[1] == texts[0]
    assert texts[0].count("\n") == 6 and "Epoch 2/2\n2/2 - ? - accuracy: " in texts[0]
