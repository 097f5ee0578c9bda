"""Sizes of symbolic tensors that depend on numbers, or on unknown sizes, as Keras 3.15 has them."""

import keras
import pytest

import torchkeras
from torchkeras import ops

SHAPES = [(None,), (5,), (None, 3), (3, None), (None, 2), (4, 3), (None, None, 2), (2, None, 3)]
CASES = [
    ("unique", {}),
    ("unique", {"size": 4}),
    ("unique", {"axis": -1}),
    ("unique", {"axis": 0, "size": 2}),
    ("unique", {"return_inverse": True}),
    ("unique", {"return_index": True, "return_inverse": True, "return_counts": True}),
    ("unique", {"axis": -1, "size": 2, "return_inverse": True, "return_counts": True}),
    ("bincount", {}),
    ("bincount", {"minlength": 5}),
    ("bincount", {"weights": [1.0, 2.0]}),
    ("bincount", {"weights": [1, 2]}),
    *(("diagonal", {"offset": offset}) for offset in (0, 1, -2)),
    ("diagonal", {"axis1": -1, "axis2": 0}),
    ("diagonal", {"axis1": 1, "axis2": 2, "offset": 1}),
    *(("diag", {"k": k}) for k in (0, 1, -2)),
    ("trace", {"axis1": -1}),
]


@pytest.mark.parametrize("name,kwargs", CASES, ids=[f"{at}-{c[0]}" for at, c in enumerate(CASES)])
def test_sizes(name, kwargs):
    dtype = "int32" if name == "bincount" else "float32"
    for shape in SHAPES:
        try:
            theirs = getattr(keras.ops, name)(keras.KerasTensor(shape, dtype), **kwargs)
        except ValueError:
            with pytest.raises(ValueError, match=f"'{name}.*cannot be called on"):
                getattr(ops, name)(torchkeras.KerasTensor(shape, dtype), **kwargs)
            continue
        ours = getattr(ops, name)(torchkeras.KerasTensor(shape, dtype), **kwargs)
        one, other = ([x] if hasattr(x, "shape") else x for x in (ours, theirs))
        assert isinstance(ours, type(theirs)) or len(one) == 1
        assert [x.shape for x in one] == [tuple(x.shape) for x in other], shape
        assert one[0].dtype == other[0].dtype, shape


def test_models_of_them_run_and_are_read_again():
    x = torchkeras.Input((4,), dtype="int32")
    found, inverse, counts = ops.unique(x, return_inverse=True, return_counts=True)
    outputs = [found, inverse, counts, ops.bincount(x), ops.diagonal(x)]
    model = torchkeras.Model(x, outputs)
    assert model.output_shape == [(None,), (None, 4), (None,), (None, None), (None,)]
    given = ops.array([[1, 2, 2, 5], [1, 1, 0, 0]])
    for one in (model, torchkeras.Model.from_config(model.get_config())):
        values, inverse, counts, rows, diagonal = (part.tolist() for part in one(given))
        assert (values, counts, diagonal) == ([0, 1, 2, 5], [2, 3, 2, 1], [1, 1])
        assert inverse == [[1, 2, 2, 3], [1, 1, 0, 0]]
        assert rows == [[0, 1, 2, 0, 0, 1], [2, 2, 0, 0, 0, 0]]
