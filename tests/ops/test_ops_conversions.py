"""What becomes a tensor, and of which dtype; what is refused."""

import decimal

import keras
import ml_dtypes
import numpy as np
import pytest
import torch

from torchkeras import KerasTensor, ops
from torchkeras.ops import promotion
from torchkeras.variable import Variable

OF_KERAS = [
    *(np.array([[1, 0], [3, 4]], name) for name in "bool uint8 int8 uint16 int16".split()),
    *(np.array([[1, 0], [3, 4]], name) for name in "uint32 int32 int64 float16 float32".split()),
    *(np.array([[1, 0], [3, 4]], name) for name in "float64 complex64 complex128".split()),
    np.array([1.5, -2.5], ml_dtypes.bfloat16),
    np.arange(4, dtype=ml_dtypes.bfloat16)[::-2],
    ml_dtypes.bfloat16(1.5),
    [ml_dtypes.bfloat16(1.5), ml_dtypes.bfloat16(2.5)],
    np.array(3.0),
    range(4),
    2**31,
    -(2**31) - 1,
    2**63 - 1,
    [torch.tensor(1.0), 2, 3.5],
    [torch.tensor(1), 2],
    [torch.tensor(1, dtype=torch.int32), torch.tensor(2.5)],
    [torch.tensor([1.0, 2.0]), np.array([3, 4])],
    [np.ones(2), np.zeros(2)],
    [np.ones(2, "float32"), [1, 2]],
]


@pytest.mark.parametrize("given", OF_KERAS, ids=[str(at) for at in range(len(OF_KERAS))])
def test_conversion_is_keras(given):
    ours, theirs = ops.convert_to_tensor(given), keras.ops.convert_to_tensor(given)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", "uint16 uint32 bfloat16 float8_e4m3fn float8_e5m2".split())
def test_dtypes_asked_for_are_keras(dtype):
    for given in (2.75, [1, 0, 3], np.ones(2), torch.ones(2)):
        for name in ("convert_to_tensor", "cast"):
            ours, theirs = getattr(ops, name)(given, dtype), getattr(keras.ops, name)(given, dtype)
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours.float(), theirs.float())
    assert ops.cast(KerasTensor((None, 3)), dtype).shape == (None, 3)


def test_a_dtype_of_bfloat16_arrays_may_be_chosen():
    """Keras on torch leaves them bfloat16."""
    found = ops.convert_to_tensor(np.array([1.5], ml_dtypes.bfloat16), "float64")
    assert found.dtype is torch.float64 and found.item() == 1.5
    assert ops.add(np.array([1.5], ml_dtypes.bfloat16), 1.0).dtype is torch.bfloat16
    assert Variable(np.array([1.5], ml_dtypes.bfloat16), dtype="float32").numpy() == [1.5]


def test_integers_of_a_list_that_need_64_bits_have_them():
    """Keras on torch fails."""
    assert ops.convert_to_tensor([2**40, 1]).tolist() == [2**40, 1]
    assert ops.convert_to_tensor([[-(2**31) - 1], [0]]).dtype is torch.int64
    assert ops.convert_to_tensor([2**31 - 1, -(2**31)]).dtype is torch.int32


def test_lists_hold_variables():
    one, two = Variable(np.array([1.0, 2.0], "float32")), Variable(np.array([3.0, 4.0], "float32"))
    found = ops.convert_to_tensor([one, two, [5.0, torch.tensor(6.0)]])
    assert found.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert found.requires_grad
    assert ops.convert_to_tensor(one, "int32").tolist() == [1, 2]


def test_arrays_that_torch_does_not_take_are_copied():
    assert ops.convert_to_tensor(np.arange(3)[::-1]).tolist() == [2, 1, 0]
    assert ops.convert_to_tensor(np.ones(2, ">f4")).dtype is torch.float32
    assert ops.convert_to_tensor(np.ones(2, "longdouble")).dtype is torch.float64
    assert ops.convert_to_tensor(np.array([5], "uint64")).dtype is torch.int64


@pytest.mark.parametrize(
    "given,words",
    [
        ("abc", "received 'abc', of dtype <U3"),
        (["a", "b"], r"received \['a', 'b'\], of dtype <U1"),
        (b"abc", "received b'abc', of dtype"),
        (np.array(["1", "2"]), r"received \['1', '2'\]"),
        (None, "received None, of dtype object"),
        ([1, None], r"received \[1, None\]"),
        ({"a": 1}, "received {'a': 1}"),
        (decimal.Decimal(1), r"received Decimal\('1'\)"),
        (np.array("2020-01-01", "datetime64[D]"), "of dtype datetime64"),
        (np.array([1], ml_dtypes.int4), "of dtype int4"),
    ],
)
def test_what_is_no_number_is_refused(given, words):
    for call in (ops.convert_to_tensor, lambda x: ops.convert_to_tensor(x, "float32"), ops.exp):
        if given is None and call is ops.exp:
            continue
        with pytest.raises(TypeError, match=f"A tensor is made of numbers; .*{words}"):
            call(given)


def test_float8_must_be_cast_before_it_is_combined():
    with pytest.raises(ValueError, match="float32 and float8_e5m2 have no dtype in common"):
        promotion.result_type("float8_e5m2", "float32")
    assert promotion.result_type("float8_e5m2") == "float8_e5m2"
