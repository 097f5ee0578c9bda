"""The data set that ships with the example is the one its README describes."""

from pathlib import Path

import numpy as np
import pytest

CSV = Path(__file__).parents[2] / "examples" / "data" / "pima-indians-diabetes.csv"


@pytest.fixture(scope="module")
def lines():
    return CSV.read_text(encoding="ascii").splitlines()


@pytest.fixture(scope="module")
def data():
    return np.loadtxt(CSV, delimiter=",")


def test_has_768_rows_of_9_numbers(data):
    assert data.shape == (768, 9)
    assert np.isfinite(data).all()


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (0, "6,148,72,35,0,33.6,0.627,50,1"),
        (1, "1,85,66,29,0,26.6,0.351,31,0"),
        (2, "8,183,64,0,0,23.3,0.672,32,1"),
        (767, "1,93,70,31,0,30.4,0.315,23,0"),
    ],
)
def test_known_rows(lines, row, text):
    assert lines[row] == text


def test_labels(data):
    labels = data[:, 8]
    assert set(labels) == {0.0, 1.0}
    assert labels.sum() == 268


def test_column_ranges(data):
    assert data.min(axis=0).tolist() == [0, 0, 0, 0, 0, 0, 0.078, 21, 0]
    assert data.max(axis=0).tolist() == [17, 199, 122, 99, 846, 67.1, 2.42, 81, 1]


def test_missing_values_are_zeros(data):
    zeros = (data[:, 1:6] == 0).sum(axis=0)
    assert zeros.tolist() == [5, 35, 227, 374, 11]


def test_counts_are_whole_numbers(data):
    whole = data[:, [0, 1, 2, 3, 4, 7, 8]]
    assert (whole == np.round(whole)).all()
