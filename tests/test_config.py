"""Global settings."""

import pytest
import torch

from torchkeras import config, dtypes


def test_cuda_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no CUDA device"):
        config.set_device("gpu:0")
    assert config.device() == torch.device("cpu")


def test_settings_are_read_back_and_checked():
    config.set_floatx("float16")
    config.set_epsilon(1e-5)
    config.set_image_data_format("channels_first")
    assert config.floatx() == "float16" and config.epsilon() == 1e-5
    assert config.image_data_format() == "channels_first"
    with pytest.raises(ValueError, match="floatx must be one of"):
        config.set_floatx("float33")
    with pytest.raises(ValueError, match="image_data_format"):
        config.set_image_data_format("channels_middle")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, "float32"),
        ("float64", "float64"),
        (torch.bfloat16, "bfloat16"),
        ("torch.int32", "int32"),
        (float, "float32"),
        (int, "int32"),
        (bool, "bool"),
        ("half", "float16"),
        (__import__("numpy").dtype("float64"), "float64"),
        (__import__("numpy").uint8, "uint8"),
    ],
)
def test_names_of_dtypes(given, name):
    assert dtypes.name_of(given) == name
    assert dtypes.to_torch(given) is getattr(torch, name)


def test_unknown_dtype():
    for wrong in ("float33", object(), "U5"):
        with pytest.raises(ValueError, match="Unknown dtype"):
            dtypes.name_of(wrong)
