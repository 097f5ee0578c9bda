import numpy as np
import pytest
import torch

from torchkeras import eras
from torchkeras.callbacks import Callback, LambdaCallback
from torchkeras.callbacks.callback import HOOKS, float_logs


def test_hooks_are_keras_own():
    import keras

    keras_hooks = {name for name in vars(keras.callbacks.Callback) if name.startswith("on_")}
    assert set(HOOKS) == keras_hooks


def test_train_batch_hooks_call_their_older_names():
    class Old(Callback):
        def __init__(self):  # as many old scripts: no super().__init__()
            self.calls = []

        def on_batch_begin(self, batch, logs=None):
            self.calls.append(("begin", batch))

        def on_batch_end(self, batch, logs=None):
            self.calls.append(("end", batch, logs["loss"]))

    callback = Old()
    callback.on_train_batch_begin(3)
    callback.on_train_batch_end(3, {"loss": 0.5})
    assert callback.calls == [("begin", 3), ("end", 3, 0.5)]
    assert callback.params is None and callback.model is None and callback.validation_data is None


def test_model_is_set_by_set_model_and_by_assignment():
    callback, first, second = Callback(), object(), object()
    callback.set_model(first)
    assert callback.model is first
    callback.model = second
    assert callback.model is second


def test_lambda_callback_calls_its_functions():
    calls = []
    callback = LambdaCallback(
        on_epoch_end=lambda epoch, logs: calls.append((epoch, logs)),
        on_batch_end=lambda batch, logs: calls.append(batch),
        on_test_begin=lambda logs: calls.append("test"),
    )
    callback.on_epoch_end(1, {"loss": 2.0})
    callback.on_train_batch_end(7, {})
    callback.on_test_begin({})
    callback.on_train_begin({})
    assert calls == [(1, {"loss": 2.0}), 7, "test"]


def test_lambda_callback_refuses_what_is_no_hook():
    with pytest.raises(ValueError, match="'on_epoch_ends'.*on_epoch_end"):
        LambdaCallback(on_epoch_ends=print)
    with pytest.raises(TypeError, match="on_train_end must be a function; received 3"):
        LambdaCallback(on_train_end=3)


def test_float_logs_are_flat_sorted_floats():
    logs = {"loss": torch.tensor(0.25), "b": {"z": np.float32(2), "y": 1}, "acc": np.array(0.5)}
    result = float_logs(logs)
    assert list(result.items()) == [("acc", 0.5), ("y", 1.0), ("z", 2.0), ("loss", 0.25)]
    assert {type(value) for value in result.values()} == {float}
    assert float_logs(None) == {}


def test_float_logs_keep_what_is_no_number():
    pair = torch.zeros(2)
    assert float_logs({"pair": pair, "name": "x"}) == {"name": "x", "pair": pair}


@pytest.mark.parametrize("era, names", [("3", ["acc", "loss"]), ("tf2", ["loss", "acc"])])
def test_float_logs_are_sorted_since_keras_3(era, names):
    with eras.using(era):
        assert list(float_logs({"loss": 1.0, "acc": 0.5})) == names
