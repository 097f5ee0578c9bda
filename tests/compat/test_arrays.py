"""OldArray differs from an array in what its one-element rows answer, and in nothing else."""

# What `%` gives is what is tested.
# ruff: noqa: UP031

import copy
import io
import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from torchkeras.compat.arrays import OldArray

PLAIN = np.random.default_rng(0).random((6, 1), dtype=np.float32)


@pytest.fixture
def old():
    return PLAIN.copy().view(OldArray)


def test_one_element_rows_answer_as_numbers(old):
    first = PLAIN[0, 0].item()
    row = old[0]
    assert type(float(row)) is float and float(row) == first
    assert int(row) == 0 and int((row + 3).round()) == round(first + 3)
    assert round(row) == round(first) and type(round(row)) is int
    assert round(row, 2) == round(first, 2)
    assert "%.2f" % row == "%.2f" % first
    assert "%d" % (row * 100) == "%d" % (PLAIN[0, 0] * 100)
    assert math.floor(row) == 0
    assert [float(round(x)) for x in old] == [float(round(x)) for x in PLAIN[:, 0].tolist()]
    assert float(old[:1, :1]) == first


def test_results_of_operations_answer_too(old):
    assert "%.1f" % (old * 100)[2] == "%.1f" % (PLAIN[2, 0] * 100)
    assert round(np.exp(old)[1]) == round(math.exp(PLAIN[1, 0]))


@pytest.mark.parametrize("answer", [float, int, round, lambda row: "%.2f" % row])
def test_longer_rows_are_refused(answer):
    with pytest.raises(TypeError):
        answer(np.zeros((2, 3)).view(OldArray)[0])


OPERATIONS = {
    "add": lambda a: a + 1,
    "radd": lambda a: 1 + a,
    "compare": lambda a: a > 0.5,
    "as_type": lambda a: (a > 0.5).astype("int32"),
    "equal": lambda a: a == a,
    "ufunc": np.sqrt,
    "reduce": lambda a: a.sum(),
    "mean": np.mean,
    "axis": lambda a: a.mean(axis=0),
    "max": np.max,
    "argmax": lambda a: a.argmax(),
    "argmax_axis": lambda a: np.argmax(a, axis=1),
    "slice": lambda a: a[1:3],
    "mask": lambda a: a[a > 0.5],
    "column": lambda a: a[:, 0],
    "element": lambda a: a[0, 0],
    "item": lambda a: a[0].item(),
    "reshape": lambda a: a.reshape(-1),
    "flatten": lambda a: a.flatten(),
    "round": lambda a: a.round(),
    "np_round": lambda a: np.round(a),
    "matmul": lambda a: a.T @ a,
    "dot": lambda a: np.dot(a[:, 0], a[:, 0]),
    "concatenate": lambda a: np.concatenate([a, a]),
    "where": lambda a: np.where(a > 0.5, 1, 0),
    "any": lambda a: (a > 2).any(),
    "list": lambda a: a.tolist(),
    "tuple": tuple,
    "unique": lambda a: np.unique(a > 0.5),
    "repr": repr,
    "row_repr": lambda a: repr(a[0]),
    "str": str,
    "format": lambda a: f"{a}",
    "len": len,
    "std": np.std,
    "divmod": lambda a: np.divmod(a, 0.3)[0],
    "bytes": lambda a: a.tobytes(),
}


def plain(result):
    """Return a result's type, with OldArray counted as an array, and its value."""
    kind = np.ndarray if type(result) is OldArray else type(result)
    if isinstance(result, tuple):
        return kind, [plain(part) for part in result]
    if isinstance(result, np.ndarray):
        return kind, result.dtype, result.shape, result.tolist()
    return kind, result


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_give_what_an_array_gives(name, old):
    assert plain(OPERATIONS[name](old)) == plain(OPERATIONS[name](PLAIN))


def test_changes_in_place(old):
    old += 1
    old[0] = 5
    np.multiply(old, 2, out=old)
    assert type(old) is OldArray
    assert np.array_equal(old[1:], (PLAIN[1:] + 1) * 2) and old[0, 0] == 10


def test_pickle_and_save_write_a_plain_array(old):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(old, protocol))
        assert type(again) is np.ndarray and np.array_equal(again, PLAIN)
    assert pickle.dumps(old) == pickle.dumps(PLAIN)
    old_file, file = io.BytesIO(), io.BytesIO()
    np.save(old_file, old)
    np.save(file, PLAIN)
    assert old_file.getvalue() == file.getvalue()
    assert np.array_equal(copy.deepcopy(old), PLAIN)


def test_other_libraries_take_it(old):
    frame = pd.DataFrame({"a": old[:, 0]})
    assert frame["a"].tolist() == PLAIN[:, 0].tolist()
    assert pd.DataFrame(old).equals(pd.DataFrame(PLAIN))
    assert torch.equal(torch.from_numpy(old), torch.from_numpy(PLAIN))
    assert isinstance(old, np.ndarray)
