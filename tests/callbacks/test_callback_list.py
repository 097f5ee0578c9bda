import types

import pytest

from torchkeras import eras
from torchkeras.callbacks import (
    Callback,
    CallbackList,
    History,
    LambdaCallback,
    ProgbarLogger,
)
from torchkeras.callbacks.callback import HOOKS
from torchkeras.callbacks.callback_list import run_params


class Recorder(Callback):
    def __init__(self, calls):
        self.calls = calls


def _record(name):
    return lambda self, *args: self.calls.append((name, *args))


for _name in HOOKS:
    setattr(Recorder, _name, _record(_name))


def test_every_hook_reaches_every_callback_in_order():
    calls, both = [], []
    callbacks = CallbackList(
        [Recorder(calls), LambdaCallback(on_epoch_end=lambda *a: both.append(a))]
    )
    for name in HOOKS:
        args = (2,) if "batch" in name or "epoch" in name else ()
        getattr(callbacks, name)(*args, {"loss": 1})
    assert [call[0] for call in calls] == list(HOOKS)
    assert [call[1:-1] for call in calls] == [
        (2,) if "batch" in name or "epoch" in name else () for name in HOOKS
    ]
    assert both == [(2, {"loss": 1.0})]


def test_hooks_get_an_empty_dictionary_when_there_are_no_logs():
    calls = []
    callbacks = CallbackList(Recorder(calls))
    for name in HOOKS:
        getattr(callbacks, name)(*((0,) if "batch" in name or "epoch" in name else ()))
    assert all(call[-1] == {} for call in calls) and len(calls) == len(HOOKS)


def test_logs_that_a_callback_adds_reach_the_history():
    adder = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(lr=0.1))
    callbacks = CallbackList([adder], add_history=True)
    callbacks.on_train_begin()
    callbacks.on_epoch_end(0, {"loss": 1.0})
    assert callbacks.history.history == {"loss": [1.0], "lr": [0.1]}


def test_predict_logs_go_through_untouched():
    calls, outputs = [], [[1.0]]
    CallbackList([Recorder(calls)]).on_predict_batch_end(0, {"outputs": outputs})
    assert calls[0][2]["outputs"] is outputs


@pytest.mark.parametrize(
    "hook, kind",
    [
        ("on_batch_begin", "train"),
        ("on_batch_end", "train"),
        ("on_train_batch_begin", "train"),
        ("on_train_batch_end", "train"),
        ("on_test_batch_begin", "test"),
        ("on_test_batch_end", "test"),
        ("on_predict_batch_begin", "predict"),
        ("on_predict_batch_end", "predict"),
    ],
)
def test_batch_hooks_are_found_on_classes_and_instances(hook, kind):
    written = type("Written", (Callback,), {hook: lambda self, batch, logs=None: None})
    inherited = type("Inherited", (written,), {})
    bar = type("Bar", (ProgbarLogger,), {hook: lambda self, batch, logs=None: None})
    for callback in (written(), inherited(), bar(), LambdaCallback(**{hook: print})):
        callbacks = CallbackList([Callback(), callback])
        for other in ("train", "test", "predict"):
            assert getattr(callbacks, f"has_{other}_batch_hooks") is (other == kind)


def test_epoch_callbacks_and_the_bar_are_no_batch_hooks():
    epochs_only = LambdaCallback(on_epoch_end=print, on_train_begin=print)
    callbacks = CallbackList([epochs_only], add_history=True, add_progbar=True)
    assert not callbacks.has_train_batch_hooks
    assert not callbacks.has_test_batch_hooks
    assert not callbacks.has_predict_batch_hooks
    callbacks.append(LambdaCallback(on_batch_end=print))
    assert callbacks.has_train_batch_hooks


def test_history_and_bar_are_added_once():
    history, bar = History(), ProgbarLogger()
    given = CallbackList([history, bar], add_history=True, add_progbar=True)
    assert given.callbacks == [history, bar]
    assert given.history is history and given.progbar is bar
    added = CallbackList(None, add_history=True, add_progbar=True)
    assert [type(c) for c in added.callbacks] == [History, ProgbarLogger]
    none = CallbackList()
    assert none.callbacks == [] and none.history is None and none.progbar is None


def test_takes_one_callback_nested_lists_and_another_list():
    one, two, three = Callback(), Callback(), Callback()
    assert CallbackList(one).callbacks == [one]
    assert CallbackList([one, (two, [three])]).callbacks == [one, two, three]
    assert CallbackList(CallbackList([one, two]), add_history=True).callbacks[:2] == [one, two]


@pytest.mark.parametrize(
    "entry, message",
    [
        (3, r"received 3 of type int\."),
        ("history", r"received 'history' of type str\."),
        (History, "the class History .*parentheses"),
    ],
)
def test_refuses_what_is_no_callback(entry, message):
    with pytest.raises(TypeError, match=message):
        CallbackList([Callback(), entry])


def test_model_and_params_reach_every_callback():
    model, one = types.SimpleNamespace(), Callback()
    callbacks = CallbackList([one], add_history=True, model=model, verbose=0, epochs=2, steps=5)
    assert one.model is model and callbacks.model is model
    assert model.history is callbacks.history
    assert one.params == callbacks.history.params == {"verbose": 0, "epochs": 2, "steps": 5}


def test_a_model_without_truth_value_is_taken():
    class Empty:
        def __len__(self):
            return 0

    model, one = Empty(), Callback()
    CallbackList([one], model=model)
    assert one.model is model


def test_params_are_those_of_the_version_in_force():
    facts = {
        "verbose": 1,
        "epochs": 2,
        "steps": 3,
        "batch_size": 4,
        "samples": 12,
        "do_validation": False,
        "metrics": ["loss"],
    }
    assert run_params(**facts) == {"verbose": 1, "epochs": 2, "steps": 3}
    with eras.using("2"):
        assert run_params(**facts) == facts
    with eras.using("1"):
        assert run_params(**facts) == facts | {"nb_epoch": 2, "nb_sample": 12}
        assert run_params(verbose=1, epochs=2) == {"verbose": 1, "epochs": 2, "nb_epoch": 2}
