"""Where weights and data live, and what happens when they do not fit."""

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import config
from torchkeras.layers import Dense
from torchkeras.models import Sequential
from torchkeras.training import data
from torchkeras.training.data import Batches
from torchkeras.training.layout import SINGLE, Samples

X, Y = np.random.rand(20, 4), np.random.rand(20)


def test_names_of_devices():
    assert config.as_device("gpu:1") == config.as_device("/GPU:1") == torch.device("cuda:1")
    assert config.as_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="Unknown device 'tpux'"):
        config.as_device("tpux")


def test_override_and_with_block(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert config.device() == torch.device("cuda")
    with config.on_device("cpu"):
        assert config.device() == torch.device("cpu")
    config.set_device("meta")
    assert config.device() == torch.device("meta")
    config.set_device(None)
    assert config.device() == torch.device("cuda")


def test_model_of_mixed_devices_is_brought_together():
    model = Sequential([Dense(3, input_dim=4), nn.Linear(3, 1)])
    model.layers[0].to("meta")
    model.layers[0].linear.to_empty(device="cpu")
    model.layers[0].to("meta")
    config.set_device("meta")
    model._ready_for(Samples([torch.ones(2, 4)], [], [], SINGLE))
    assert {p.device.type for p in model.parameters()} == {"meta"}


def test_a_model_moved_by_the_user_stays_and_data_follows():
    model = Sequential([Dense(1, input_dim=4)]).to("meta")
    assert model(np.ones((2, 4))).device.type == "meta"
    assert model(torch.ones(2, 4)).device.type == "meta"


def test_data_that_fits_lives_on_the_device_and_other_data_travels_by_batch(monkeypatch):
    x = torch.ones(8, 2)
    assert Batches(x, device="meta").x.device.type == "meta"
    monkeypatch.setattr(data, "_fits", lambda size, device: False)
    batches = Batches(x, batch_size=4, device="meta", shuffle=True)
    assert batches.x.device.type == "cpu"
    assert [batch[0].device.type for batch in batches] == ["meta", "meta"]


def test_small_and_large_data_are_shuffled_alike(monkeypatch):
    x = torch.arange(100.0)[:, None]
    torch.manual_seed(3)
    small = [batch[0].flatten().tolist() for batch in Batches(x, batch_size=7, shuffle=True)]
    monkeypatch.setattr(data, "_COPIED", 0)
    torch.manual_seed(3)
    assert [b[0].flatten().tolist() for b in Batches(x, batch_size=7, shuffle=True)] == small


def test_out_of_memory_says_the_batch_and_what_to_lower():
    class Hungry(nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("tried to allocate")

    model = Sequential([Dense(3, input_dim=4)])
    model.compile("sgd", "mse")
    model.fit(X, np.ones((20, 3)), verbose=0)
    model._modules["0"] = Hungry()
    with pytest.raises(torch.OutOfMemoryError, match=r"batches of 16 samples.*Lower batch_size"):
        model.fit(X, np.ones((20, 3)), batch_size=16, verbose=0)
    with pytest.raises(torch.OutOfMemoryError, match="Lower batch_size"):
        model.predict(X, verbose=0)


@pytest.mark.cuda
def test_everything_lands_on_cuda():
    model = Sequential([Dense(8, activation="relu", input_dim=4), nn.Linear(8, 1)])
    model.compile("adam", "mse", metrics=["mae"])
    history = model.fit(X, Y, epochs=20, validation_split=0.2, verbose=0).history
    assert {p.device.type for p in model.parameters()} == {"cuda"}
    assert history["loss"][-1] < history["loss"][0]
    assert isinstance(model.predict(X, verbose=0), np.ndarray)
    with config.on_device("cpu"):
        assert Sequential([Dense(1, input_dim=4)]).layers[0].kernel.device.type == "cpu"
