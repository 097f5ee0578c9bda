import copy
import json
import pickle

import numpy as np
import pytest

from torchkeras.callbacks import History
from torchkeras.callbacks.history import HistoryDict


@pytest.fixture
def history():
    history = History()
    history.on_train_begin()
    history.on_epoch_end(0, {"accuracy": 0.5, "loss": 2.0, "val_accuracy": 0.25})
    history.on_epoch_end(1, {"accuracy": np.float32(0.75), "loss": 1.0, "val_accuracy": 0.5})
    return history


def test_collects_floats_by_epoch(history):
    assert history.epoch == [0, 1]
    assert history.history == {
        "accuracy": [0.5, 0.75],
        "loss": [2.0, 1.0],
        "val_accuracy": [0.25, 0.5],
    }
    assert {type(v) for values in history.history.values() for v in values} == {float}


def test_accuracy_answers_to_both_names(history):
    found = history.history
    assert found["acc"] == found["accuracy"] == [0.5, 0.75]
    assert found.get("val_acc") == [0.25, 0.5]
    assert "acc" in found and "val_acc" in found and "val_accuracy" in found
    other = HistoryDict({"acc": [1.0], "main_acc": [2.0]})
    assert other["accuracy"] == [1.0] and other["main_accuracy"] == [2.0]
    assert "val_accuracy" not in other and "acc" in other


def test_what_is_missing_is_missing(history):
    found = history.history
    assert "val_loss" not in found and "lossacc" not in found and 3 not in found
    assert found.get("val_loss") is None and found.get("val_loss", 7) == 7
    with pytest.raises(
        KeyError, match="'val_loss' is not in the history, which has: accuracy, loss"
    ):
        found["val_loss"]


def test_stored_names_are_a_plain_dictionary_s(history):
    found = history.history
    plain = dict(found)
    assert list(found) == list(found.keys()) == ["accuracy", "loss", "val_accuracy"]
    assert repr(found) == repr(plain) and found == plain and isinstance(found, dict)
    assert json.loads(json.dumps(found)) == plain
    assert type(pickle.loads(pickle.dumps(found))) is dict
    assert pickle.loads(pickle.dumps(found)) == plain


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))])
def test_a_copied_history_still_answers_to_both_names(history, duplicate):
    assert duplicate(history).history["acc"] == [0.5, 0.75]
    assert duplicate(history).epoch == [0, 1]


def test_a_second_run_goes_on_as_in_keras(history):
    history.on_train_begin()
    history.on_epoch_end(0, {"loss": 0.5})
    assert history.epoch == [0] and history.history["loss"] == [2.0, 1.0, 0.5]
