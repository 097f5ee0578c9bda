import io
import re
import subprocess
import sys
import types

import pytest

from torchkeras.callbacks import CallbackList, ProgbarLogger, progbar as progbar_module
from torchkeras.callbacks.progbar import Progbar


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until the test moves it."""

    class Clock:
        now = 100.0

        def __call__(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progbar_module, "perf_counter", clock)
    return clock


def redirect(monkeypatch, stream):
    # pytest itself sets sys.stdout between a fixture and its test.
    monkeypatch.setattr(progbar_module, "sys", types.SimpleNamespace(stdout=stream))


@pytest.fixture
def terminal(monkeypatch):
    terminal = Terminal()
    redirect(monkeypatch, terminal)
    monkeypatch.setenv("COLUMNS", "100")
    return terminal


def plain(text):
    return re.sub(r"\x1b\[\d+m", "", text)


def run_epochs(callbacks, clock, epochs=2, steps=4, step_time=0.01, logs=None):
    logs = logs or {"loss": 0.5, "accuracy": 0.25}
    callbacks.on_train_begin()
    for epoch in range(epochs):
        callbacks.on_epoch_begin(epoch)
        for step in range(1, steps + 1):
            clock.now += step_time
            if callbacks.progbar.due(step):
                callbacks.progbar.show(step, logs)
        callbacks.on_epoch_end(epoch, logs | {"val_loss": 1e-5})
    callbacks.on_train_end()


def test_a_file_gets_one_clean_line_an_epoch(clock, capsys):
    callbacks = CallbackList(add_progbar=True, verbose="auto", epochs=2, steps=4)
    run_epochs(callbacks, clock)
    line = "4/4 - 0s - 10ms/step - accuracy: 0.2500 - loss: 0.5000 - val_loss: 1.0000e-05\n"
    assert capsys.readouterr().out == f"Epoch 1/2\n{line}Epoch 2/2\n{line}"


@pytest.mark.parametrize("verbose", [1, 2])
def test_verbose_2_is_one_line_in_a_terminal_too(clock, terminal, verbose):
    run_epochs(CallbackList(add_progbar=True, verbose=verbose, epochs=1, steps=4), clock, epochs=1)
    written = terminal.getvalue()
    assert ("\r" in written) is (verbose == 1)
    assert ("\x1b" in written) is (verbose == 1)
    assert written.count("\n") == 1 and "Epoch" not in written


def test_verbose_0_is_silent(clock, capsys):
    run_epochs(CallbackList([ProgbarLogger()], verbose=0, epochs=2, steps=4), clock)
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar_that_is_drawn_again(clock, terminal):
    run_epochs(
        CallbackList(add_progbar=True, verbose=1, epochs=1, steps=10), clock, 1, 10, step_time=1
    )
    frames = plain(terminal.getvalue()).split("\r")[1:]
    assert len(frames) == 11
    metrics = " - accuracy: 0.2500 - loss: 0.5000"
    assert frames[0] == f" 1/10 {'━' * 20} 9s 1s/step{metrics}"
    assert frames[5] == f" 6/10 {'━' * 20} 4s 1s/step{metrics}"
    assert frames[-1] == f"10/10 {'━' * 20} 10s 1s/step{metrics} - val_loss: 1.0000e-05\n"
    green = re.findall(r"\x1b\[32m(━+)", terminal.getvalue())
    assert [len(part) for part in green] == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 20]


def test_drawing_waits_between_frames(clock, terminal):
    callbacks = CallbackList(add_progbar=True, verbose=1, epochs=1, steps=1000)
    run_epochs(callbacks, clock, epochs=1, steps=1000, step_time=0.001)
    # One at once, one every 50 ms, one at the end of the second.
    assert 19 <= terminal.getvalue().count("\r") <= 22


def test_short_epochs_share_the_wait(clock, terminal):
    callbacks = CallbackList(add_progbar=True, verbose=1, epochs=100, steps=5)
    run_epochs(callbacks, clock, epochs=100, steps=5, step_time=0.0002)
    frames = terminal.getvalue().split("\r")[1:]
    ends = [frame for frame in frames if "\n" in frame]
    # A finished bar counts as a drawing: none of a half-done one but the first is needed.
    assert len(ends) == 100 and len(frames) - len(ends) == 1


def test_slow_drawing_is_drawn_less_often(clock, terminal, monkeypatch):
    def slow(text, write=progbar_module.write):
        clock.now += 0.01
        write(text)

    monkeypatch.setattr(progbar_module, "write", slow)
    callbacks = CallbackList(add_progbar=True, verbose=1, epochs=1, steps=1000)
    run_epochs(callbacks, clock, epochs=1, steps=1000, step_time=0.01)
    # Ten seconds of steps: 50 ms apart would cost 2 s; at most 2% may go into drawing.
    assert terminal.getvalue().count("\r") <= 22


def test_a_narrow_terminal_gets_frames_that_do_not_wrap(clock, terminal, monkeypatch):
    logs = {f"metric_{i}": 0.5 for i in range(9)}
    for columns in (60, 35, 10):
        monkeypatch.setenv("COLUMNS", str(columns))
        terminal.truncate(0)
        terminal.seek(0)
        callbacks = CallbackList(add_progbar=True, verbose=1, epochs=1, steps=5)
        run_epochs(callbacks, clock, epochs=1, steps=5, step_time=1, logs=logs)
        frames = plain(terminal.getvalue()).split("\r")[1:]
        assert {len(frame) for frame in frames[:-1]} == {columns - 1}
        # What stays is whole.
        assert "metric_8: 0.5000" in frames[-1] and frames[-1].endswith("\n")


def test_a_shorter_frame_blanks_what_is_left_of_a_longer_one(clock, terminal):
    bar = Progbar(3, stateful_metrics=["a"])
    bar.update(1, [("a", 123456.0)])
    clock.now += 1
    bar.update(2, [("a", 1.0)])
    first, second = plain(terminal.getvalue()).split("\r")[1:]
    assert len(first) == len(second) and second.endswith("a: 1.0000" + " " * 5)


def test_unknown_length_is_learnt_from_the_first_epoch(clock, terminal):
    callbacks = CallbackList(add_progbar=True, verbose=1, epochs=2, steps=None)
    run_epochs(callbacks, clock, epochs=2, steps=3, step_time=1)
    frames = plain(terminal.getvalue()).split("\r")[1:]
    assert [frame.split()[0] for frame in frames] == [
        *("1/Unknown", "2/Unknown", "3/Unknown", "3/3"),
        *("1/3", "2/3", "3/3", "3/3"),
    ]


def test_unknown_length_in_a_file(clock, capsys):
    callbacks = CallbackList(add_progbar=True, verbose=2, epochs=1, steps=None)
    run_epochs(callbacks, clock, epochs=1, steps=3)
    assert capsys.readouterr().out.startswith("3/3 - 0s - 10ms/step - accuracy")


def test_evaluate_and_predict_have_bars_and_validation_has_none(clock, capsys):
    evaluation = CallbackList(add_progbar=True, verbose=1, epochs=1, steps=2)
    evaluation.on_test_begin()
    clock.now += 2
    evaluation.on_test_batch_end(1, {"loss": 1.0})
    evaluation.on_test_end({"loss": 1.0})
    assert capsys.readouterr().out == "2/2 - 2s - 1s/step - loss: 1.0000\n"
    prediction = CallbackList(add_progbar=True, verbose=1, epochs=1, steps=2)
    prediction.on_predict_begin()
    clock.now += 0.0002
    prediction.on_predict_batch_end(1, {"outputs": [1]})
    prediction.on_predict_end({"outputs": [1]})
    assert capsys.readouterr().out == "2/2 - 0s - 100us/step\n"

    training = CallbackList(add_progbar=True, verbose=1, epochs=1, steps=2)
    training.on_train_begin()
    training.on_epoch_begin(0)
    training.on_test_begin()
    assert not training.progbar.due(1)
    training.on_test_batch_end(0, {"loss": 1.0})
    training.on_test_end({"loss": 1.0})
    assert capsys.readouterr().out == ""
    training.on_epoch_end(0, {"loss": 2.0})
    assert capsys.readouterr().out.endswith("- loss: 2.0000\n")


def test_batch_hooks_draw_without_being_asked(clock, terminal):
    callbacks = CallbackList(add_progbar=True, verbose=1, epochs=1, steps=2)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    clock.now += 1
    callbacks.on_train_batch_end(0, {"loss": 3.0})
    assert not callbacks.progbar.due(1)
    assert "1/2" in terminal.getvalue() and "loss: 3.0000" in terminal.getvalue()


def test_numbers_and_durations():
    number, remaining = progbar_module._number, progbar_module._remaining
    assert number(0.651, 1) == "0.6510" and number(-0.5, 1) == "-0.5000"
    assert number(1.2e-5, 1) == "1.2000e-05" and number(0.001, 1) == "1.0000e-03"
    assert number(float("nan"), 1) == "nan" and number(3, 2) == "1.5000"
    assert [remaining(s) for s in (0.9, 60, 61, 3600, 3725)] == [
        "0s",
        "60s",
        "1:01",
        "60:00",
        "1:02:05",
    ]


def test_means_and_last_values(clock, capsys):
    bar = Progbar(5, stateful_metrics=["last"], verbose=1)
    for step in (1, 2, 4):
        clock.now += 1
        bar.update(step, [("mean", float(step)), ("last", step)])
    clock.now += 1
    bar.update(5, finalize=True)
    # (1 + 2 + 4 + 4) / 4
    assert capsys.readouterr().out == "5/5 - 4s - 750ms/step - mean: 2.7500 - last: 4.0000\n"
    bar = Progbar(2, stateless_metrics=["mean"], verbose=1)
    bar.add(1, [("mean", 1.0), ("last", 1.0)])
    assert capsys.readouterr().out == ""
    bar.add(1, [("other", 3.0)])
    assert "mean: 1.0000 - last: 1.0000 - other: 3.0000\n" in capsys.readouterr().out
    with pytest.raises(ValueError, match="`stateful_metrics` or `stateless_metrics`, not both"):
        Progbar(2, stateful_metrics=[], stateless_metrics=[])


def test_output_without_the_bar_s_character(clock, monkeypatch):
    class Latin(Terminal):
        encoding = "latin-1"

        def write(self, text):
            text.encode(self.encoding)
            return super().write(text)

    latin = Latin()
    redirect(monkeypatch, latin)
    Progbar(2).update(2)
    assert "=" * 20 in latin.getvalue() and "━" not in latin.getvalue()


def test_a_notebook_is_drawn_in_like_a_terminal(clock, monkeypatch):
    stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    redirect(monkeypatch, stream)
    assert Progbar(2).is_live
    redirect(monkeypatch, io.StringIO())
    assert not Progbar(2).is_live


def test_a_pipe_gets_clean_text():
    program = (
        "from torchkeras.utils import Progbar\n"
        "bar = Progbar(3)\n"
        "for i in range(3): bar.add(1, [('loss', 0.5)])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert re.fullmatch(rb"3/3 - 0s - \d+us/step - loss: 0.5000\n", done.stdout)
