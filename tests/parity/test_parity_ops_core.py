"""keras.ops.core against Keras 3.15.1 on torch, and against numpy where Keras is wrong there."""

import inspect

import keras
import numpy as np
import pytest
import torch
from keras.src import tree as keras_tree
from keras.src.ops import core as keras_core

import torchkeras
from torchkeras import ops
from torchkeras.ops import table

DTYPES = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64".split()
INF, NAN = np.inf, np.nan


def f(*shape, low=-2.0, high=2.0, seed=0):
    """Floats of a shape."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype("float32")


def i(*shape, low=0, high=5, seed=0):
    """Integers of a shape."""
    return np.random.default_rng(seed).integers(low, high, shape).astype("int32")


def tensors(structure):
    """A structure with a tensor for each array."""
    return keras_tree.map_structure(
        lambda leaf: torch.tensor(leaf) if isinstance(leaf, np.ndarray) else leaf, structure
    )


def same(ours, theirs, what=""):
    """Assert that two results agree in structure, value, dtype and shape."""
    keras_tree.assert_same_structure(ours, theirs)
    for one, other in zip(keras_tree.flatten(ours), keras_tree.flatten(theirs)):
        if isinstance(other, torch.Tensor):
            assert isinstance(one, torch.Tensor), what
            assert (one.dtype, one.shape) == (other.dtype, other.shape), what
            one, other = one.detach(), other.detach()
            assert torch.allclose(one.double(), other.double(), 1e-6, 1e-6, True), (what, one)
        else:
            assert one == other, what


def agree(name, args, kwargs):
    """Assert that a call agrees with Keras, on tensors and, where it takes them, on arrays."""
    theirs = getattr(keras.ops, name)(*tensors(args), **tensors(kwargs))
    same(getattr(ops, name)(*tensors(args), **tensors(kwargs)), theirs, name)
    if name != "switch":  # whose branches are given what comes
        same(getattr(ops, name)(*args, **kwargs), theirs, name)


def double(x):
    return x * 2


def running(carry, x):
    return carry + x, carry * x


def of_dictionaries(carry, x):
    return {"n": carry["n"] + 1, "s": carry["s"] + x[0]}, (x[0] * carry["n"], x[1])


def plus(a, b):
    return a + b


def affine(a, b):
    """The composition of two functions ``x -> k x + c``."""
    return a[0] * b[0], a[1] * b[0] + b[1]


def product(a, b):
    return torch.matmul(a, b)


def below(x, *rest):
    return torch.sum(x) < 50


START = {"n": np.array(1), "s": f()}
CASES = [
    ("associative_scan", (plus, f(7)), {}),
    ("associative_scan", (plus, f(8, 3)), {"axis": 0, "reverse": True}),
    ("associative_scan", (plus, f(3, 5)), {"axis": 1}),
    ("associative_scan", (plus, f(3, 5)), {"axis": -1, "reverse": True}),
    ("associative_scan", (affine, (f(9), f(9, seed=1))), {}),
    ("associative_scan", (affine, (f(2, 6), f(2, 6, seed=1))), {"axis": 1, "reverse": True}),
    ("associative_scan", (product, f(5, 2, 2)), {}),
    ("associative_scan", (plus, f(1, 3)), {}),
    ("associative_scan", (plus, f(2, 3)), {}),
    ("cast", (f(2, 3), "int32"), {}),
    ("cast", (i(2, 3), "bool"), {}),
    ("cast", (f(2, 3), "float16"), {}),
    ("cast", (i(2, 3), torch.float64), {}),
    ("cast", ([0.1, 1 / 3], "float64"), {}),
    ("cast", (0.1, "float64"), {}),
    ("cast", (-1, "uint8"), {}),
    ("cond", (True, lambda: torch.ones(2), lambda: torch.ones(3)), {}),
    ("cond", (np.array(False), lambda: {"a": 1}, lambda: {"a": 2}), {}),
    ("cond", (False, lambda: None, lambda: None), {}),
    ("convert_to_tensor", (f(2, 3),), {}),
    ("convert_to_tensor", ([[1, 2], [3, 4]],), {}),
    ("convert_to_tensor", ([0.1, 0.7],), {"dtype": "float64"}),
    ("convert_to_tensor", ([],), {}),
    ("convert_to_tensor", (True,), {}),
    ("convert_to_tensor", (2**40,), {}),
    ("convert_to_tensor", ((1, torch.tensor(2).int(), 3),), {}),
    ("convert_to_tensor", (f(3).astype("float64"),), {"dtype": "float16"}),
    ("fori_loop", (0, 5, lambda at, x: x * at + 1, f(3)), {}),
    ("fori_loop", (np.array(2), np.array(4), lambda at, x: (x[0] + at, x[1] * 2), (f(2), f())), {}),
    ("fori_loop", (3, 3, lambda at, x: x / 0, f(3)), {}),
    ("is_tensor", (3,), {}),
    ("map", (double, f(3, 2)), {}),
    ("map", (lambda x: {"a": x**2, "b": (x[0], x.sum())}, f(4, 2)), {}),
    ("map", (lambda x: x[0] + x[1], [f(4, 2), f(4, 2, seed=1)]), {}),
    ("saturate_cast", (np.array([-INF, -3.5, 0.4, 254.6, 256, INF], "float32"), "uint8"), {}),
    ("saturate_cast", (np.array([-1e6, 7, 1e6], "float32"), "float16"), {}),
    ("saturate_cast", (np.array([-1e6, 7, 1e6], "float64"), "int64"), {}),
    ("saturate_cast", (np.array([-500, 7, 500], "int32"), "int8"), {}),
    ("saturate_cast", (np.array([-3, 0, 0.5, 2], "float32"), "bool"), {}),
    ("saturate_cast", (np.array([True, False]), "int8"), {}),
    ("scan", (running, f(), f(5)), {}),
    ("scan", (running, f(2), f(5, 2)), {"reverse": True}),
    ("scan", (running, f(2), f(5, 2)), {"unroll": True}),
    ("scan", (running, f(2), f(5, 2)), {"unroll": 2, "length": 5}),
    ("scan", (running, f(2), f(5, 2)), {"length": 3, "reverse": True}),
    ("scan", (of_dictionaries, START, (f(4), i(4))), {}),
    ("scan", (lambda c, x: ((c[1], c[0] + c[1]), None), (f(), f(seed=1))), {"length": 6}),
    ("scan", (lambda c, x: (c, x * 2), (), f(3, 2)), {}),
    ("scan", (lambda c, x: (c * 2, c), 2.0), {"length": 3, "reverse": True}),
    ("scatter", (np.array([[0, 1], [2, 0]]), f(2), (3, 2)), {}),
    ("scatter", (np.array([[1], [1], [-1]]), f(3, 2), (4, 2)), {}),
    ("scatter", (i(2, 3, 1), f(2, 3, 2), (5, 2)), {}),
    ("scatter_update", (f(4), np.array([[1], [-1]]), f(2)), {}),
    ("scatter_update", (f(3, 4, 2), np.array([[1, 2], [0, 3]]), f(2, 2)), {}),
    ("scatter_update", (i(4), np.array([[1], [0]]), f(2)), {}),
    *(
        ("scatter_update", (f(4, 3), np.array([[1], [-1], [1]]), f(3, 3)), {"reduction": how})
        for how in ("add", "max", "min", "MUL")
    ),
    *(
        ("scatter_update", (i(4, 3), np.array([[1, 1], [3, 0], [-3, 1]]), i(3)), {"reduction": how})
        for how in ("add", "max", "min", "mul")
    ),
    ("slice", (f(4, 5), [1, 2], [2, 3]), {}),
    ("slice", (f(4, 5), np.array([1, 2]), (2, 3)), {}),
    ("slice", (f(4, 5), np.array([1, 2], "int32"), np.array([3, 1])), {}),
    ("slice_update", (f(4, 5), [1, 2], f(2, 3)), {}),
    ("slice_update", (f(4, 5), np.array([2, 0]), f(2, 3, seed=1)), {}),
    ("slice_update", (i(4, 5), [1, 2], f(2, 3) * 9), {}),
    ("stop_gradient", (f(3),), {}),
    ("switch", (1, [plus, lambda a, b: a * b], f(3), f(3, seed=1)), {}),
    ("switch", (np.array(7), [plus, lambda a, b: a * b], f(3), 2.0), {}),
    ("switch", (-3, [lambda: 1, lambda: 2]), {}),
    ("vectorized_map", (double, f(3, 2)), {}),
    ("vectorized_map", (lambda x: x[0] @ x[1], [f(4, 2), f(4, 2, seed=1)]), {}),
    ("vectorized_map", (lambda x: {"a": x["b"] + 1}, {"b": f(4, 2)}), {}),
    ("while_loop", (below, double, 2), {}),
    ("while_loop", (below, lambda x, y: (x + 7, y * x), (f(), f(2))), {}),
    ("while_loop", (below, lambda x, y: [x + 7, y - 1], [1, 2]), {"maximum_iterations": 3}),
    ("while_loop", (below, double, 2.0), {"maximum_iterations": 0}),
    ("while_loop", (lambda x: x["a"] < 9, lambda x: {"a": x["a"] * 2}, {"a": 1}), {}),
]


@pytest.mark.parametrize(
    "name,args,kwargs", CASES, ids=[f"{at}-{case[0]}" for at, case in enumerate(CASES)]
)
def test_calls(name, args, kwargs):
    agree(name, args, kwargs)


def test_casts_of_all_pairs_of_dtypes():
    for one in DTYPES:
        x = torch.tensor([0, 1, 2, 3]).to(getattr(torch, one))
        for other in DTYPES:
            theirs = keras.ops.cast(x, other)
            for name in ("cast", "convert_to_tensor", "saturate_cast"):
                # Keras' saturate_cast makes -32768 of every int16 in float16.
                same(getattr(ops, name)(x, other), theirs, f"{name} {one} {other}")
        assert ops.dtype(x) == keras.ops.dtype(x) == one
        assert ops.dtype(ops.convert_to_tensor(x)) == one


def test_saturate_cast_stays_in_range():
    """The bound that a float does not have gives way to the next one within."""
    ends = torch.tensor([-INF, INF])
    for one in "float16 bfloat16 float32 float64".split():
        for other in DTYPES[1:]:
            found = ops.saturate_cast(ends.to(getattr(torch, one)), other)
            facts = torch.finfo if found.is_floating_point() else torch.iinfo
            lowest, highest = found.double().tolist()
            assert facts(found.dtype).min <= lowest < 0 or other == "uint8"
            assert 100 < highest <= facts(found.dtype).max


def test_conversion_to_numpy():
    for x in (3, 2.5, [1, 2], [torch.ones(2), [3.0, 4.0]], f(2, 3), torch.ones(2).int()):
        ours, theirs = ops.convert_to_numpy(x), keras.ops.convert_to_numpy(x)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours, theirs)


# -------------------------------------------------------------------------------------- gradients

OF_GRADIENT = [
    case
    for case in CASES
    if case[0] in "associative_scan map scan scatter slice vectorized_map fori_loop".split()
    or case[0] == "slice_update"
    or (case[0] == "scatter_update" and case[2].get("reduction") in (None, "add"))
]


def _gradients(call, args, kwargs):
    leaves = [leaf for leaf in keras_tree.flatten(args) if isinstance(leaf, torch.Tensor)]
    floats = [leaf.requires_grad_() for leaf in leaves if leaf.is_floating_point()]
    outputs = [
        x for x in keras_tree.flatten(call(*args, **kwargs)) if getattr(x, "requires_grad", False)
    ]
    if not outputs or not floats:
        return []
    weights = [torch.linspace(0.5, 2.0, x.numel()).reshape(x.shape) for x in outputs]
    return torch.autograd.grad(outputs, floats, weights, allow_unused=True)


@pytest.mark.parametrize(
    "name,args,kwargs", OF_GRADIENT, ids=[f"{at}-{case[0]}" for at, case in enumerate(OF_GRADIENT)]
)
def test_gradients(name, args, kwargs):
    ours = _gradients(getattr(ops, name), tensors(args), tensors(kwargs))
    theirs = _gradients(getattr(keras.ops, name), tensors(args), tensors(kwargs))
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, 1e-5, 1e-6)


@pytest.mark.parametrize("how", ["max", "min", "mul"])
def test_gradients_of_reductions(how):
    """Keras on torch writes to what its gradient needs, and fails: compared with differences."""
    x, updates = torch.randn(4, 2).double(), torch.randn(3, 2).double()
    places = torch.tensor([[1], [3], [1]])

    def call(x, updates):
        return ops.scatter_update(x, places, updates, how)

    assert torch.autograd.gradcheck(call, (x.requires_grad_(), updates.requires_grad_()))


# ---------------------------------------------------------------------------------------- symbolic

S = "S"  # stands for a symbolic tensor: (S, shape) or (S, shape, dtype)


def symbols(structure, kind):
    """A structure with symbolic tensors of a package where their shapes stand."""
    if isinstance(structure, tuple) and structure[:1] == (S,):
        return kind(structure[1], *structure[2:])
    if isinstance(structure, (list, tuple)):
        return type(structure)(symbols(part, kind) for part in structure)
    if isinstance(structure, dict):
        return {key: symbols(part, kind) for key, part in structure.items()}
    return structure


OF_SYMBOLS = [
    ("associative_scan", (plus, (S, (None, 6))), {}),
    ("associative_scan", (affine, ((S, (3, None)), (S, (3, None)))), {"axis": 0}),
    ("associative_scan", (plus, (S, (None, 5, 2))), {"axis": 1, "reverse": True}),
    ("cast", ((S, (None, 3)), "int32"), {}),
    ("cond", ((S, (), "bool"), lambda: torch.ones(1, 3), lambda: torch.zeros(1, 3)), {}),
    ("convert_to_tensor", ((S, (None, 3), "int32"),), {"dtype": "float16"}),
    ("convert_to_tensor", ((S, (2, None)),), {}),
    ("fori_loop", (0, 10, lambda at, x: x + at, (S, (None, 5))), {}),
    ("map", (double, (S, (None, 5))), {}),
    ("map", (lambda x: {"a": x**2, "b": x.sum()}, (S, (6, None))), {}),
    ("map", (lambda x: x[0] + x[1], ((S, (None, 5)), (S, (None, 5)))), {}),
    ("saturate_cast", ((S, (3, None)), "uint8"), {}),
    ("scan", (running, (S, (None,)), (S, (6, None))), {}),
    ("scan", (running, (S, (5,)), (S, (None, 5))), {"reverse": True}),
    ("scan", (lambda c, x: (c, c), (S, (None,))), {"length": 3}),
    ("scatter", ((S, (5, 2), "int32"), (S, (5,)), (4, 4)), {}),
    ("scatter", ((S, (5, 1), "int32"), (S, (5, 3), "float16"), (4, 3)), {}),
    ("scatter_update", ((S, (4, None)), (S, (5, 2), "int32"), (S, (5,))), {}),
    ("scatter_update", ((S, (None, 4)), [[0, 1]], [5.0]), {"reduction": "max"}),
    ("slice", ((S, (None, 4)), [0, 1], (2, 3)), {}),
    ("slice", ((S, (None, 4)), (1, 1), (-1, -1)), {}),
    ("slice", ((S, (3, 3)), (S, (2,), "int32"), (2, 2)), {}),
    ("slice", ((S, (3, 3)), (S, (2,), "int32"), (-1, 2)), {}),
    ("slice_update", ((S, (None, 4)), (S, (2,), "int32"), (S, (2, 2))), {}),
    ("slice_update", ((S, (4, None), "int32"), [1, 1], (S, (2, 2))), {}),
    ("stop_gradient", ((S, (3, None)),), {}),
    ("switch", (1, [double, lambda x: x + 1], (S, (None, 2))), {}),
    (
        "switch",
        ((S, (), "int32"), [lambda x, y: (x[:, 0], y)], (S, (None, 2)), (S, (5, None))),
        {},
    ),
    ("unstack", ((S, (2, None, 3)),), {"axis": -1}),
    ("unstack", ((S, (2, None, 3)),), {"axis": 1, "num": 4}),
    ("unstack", ((S, (None, 3)), 2), {}),
    ("vectorized_map", (double, (S, (None, 5))), {}),
    ("vectorized_map", (lambda x: {"a": x[0] * x[1]}, [(S, (None, 5)), (S, (None, 5))]), {}),
    ("while_loop", (below, double, (S, (None, 4))), {}),
    ("while_loop", (below, lambda x, y: (x + 1, y), ((S, (None,)), (S, (), "int32"))), {}),
]


@pytest.mark.parametrize(
    "name,args,kwargs", OF_SYMBOLS, ids=[f"{at}-{case[0]}" for at, case in enumerate(OF_SYMBOLS)]
)
def test_symbolic(name, args, kwargs):
    theirs = getattr(keras.ops, name)(*symbols(args, keras.KerasTensor), **kwargs)
    ours = getattr(ops, name)(*symbols(args, torchkeras.KerasTensor), **kwargs)
    keras_tree.assert_same_structure(ours, theirs)
    for one, other in zip(keras_tree.flatten(ours), keras_tree.flatten(theirs)):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert ops.shape(one) == keras.ops.shape(other)
        assert ops.dtype(one) == keras.ops.dtype(other)


WRITTEN = [
    ("cast", ((S, (None, 4)), "float16"), {}),
    ("convert_to_tensor", ((S, (None, 4)),), {"dtype": "float16"}),
    ("saturate_cast", ((S, (None, 4)), "uint8"), {}),
    ("scatter_update", ((S, (None, 4)), [[0, 1]], [5.0]), {"reduction": "max"}),
    ("slice", ((S, (None, 4)), [0, 1], (2, -1)), {}),
    ("slice_update", ((S, (None, 4)), [0, 1], [[1.0]]), {}),
    ("stop_gradient", ((S, (None, 4)),), {}),
    ("associative_scan", (plus, (S, (None, 4))), {"axis": 1, "reverse": True}),
    ("map", (double, (S, (None, 4))), {}),
    ("scan", (running, torch.zeros(4), (S, (None, 4))), {"reverse": True}),
    ("vectorized_map", (double, (S, (None, 4))), {}),
]


@pytest.mark.parametrize("name,args,kwargs", WRITTEN, ids=[case[0] for case in WRITTEN])
def test_classes_in_configs_are_keras(name, args, kwargs):
    """The function itself is an argument of Keras' class in one case, of its call in ours."""
    found = []
    for package in (keras, torchkeras):
        x = package.Input((4,))
        y = getattr(package.ops, name)(*symbols(args, lambda *_, x=x: x), **kwargs)
        operation = keras_tree.flatten(y)[0]._keras_history.operation
        if package is keras:
            written = keras.saving.serialize_keras_object(operation)
        else:
            written = operation.serialize()
        config = {k: v for k, v in written["config"].items() if k not in ("name", "function")}
        found.append((written["module"], written["class_name"], config))
    for one, other in (found,):
        assert one[:2] == other[:2]
        assert keras_tree.lists_to_tuples(one[2]) == keras_tree.lists_to_tuples(other[2])


# ------------------------------------------------------------------------------------ all functions

NAMES = (
    "associative_scan cast cond convert_to_numpy convert_to_tensor custom_gradient dtype fori_loop "
    "is_tensor map saturate_cast scan scatter scatter_update shape slice slice_update "
    "stop_gradient switch unstack vectorized_map while_loop"
).split()


@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_keras(name):
    ours, theirs = (inspect.signature(getattr(one, name)) for one in (ops, keras.ops))
    assert list(ours.parameters) == list(theirs.parameters)
    for one, other in zip(ours.parameters.values(), theirs.parameters.values()):
        assert one.default == other.default, one
    assert getattr(ops.core, name) is getattr(ops, name) is table.FUNCTIONS[name]


def test_every_function_is_there():
    public = {
        name
        for name, item in vars(keras_core).items()
        if inspect.isfunction(item) and item.__module__ == "keras.src.ops.core"
        if not name.startswith("_")
    }
    assert public == set(NAMES)
