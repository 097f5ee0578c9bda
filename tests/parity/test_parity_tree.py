"""torchkeras.tree against keras.tree.

On torch Keras leaves dictionaries within dictionaries unsorted, against its documentation and its
other backends, whose module is therefore the oracle.
"""

from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest
from keras.src.tree import optree_impl as oracle

from torchkeras import tree

Point = namedtuple("Point", "x y")
STRUCTURES = [
    5,
    None,
    [],
    (),
    {},
    [1, 2],
    (1, [2, (3,)]),
    {"b": 1, "a": [2, {"d": 3, "c": 4}]},
    OrderedDict(b=1, a=2),
    defaultdict(int, b=1, a=2),
    deque([1, (2,)]),
    Point(1, [2, 3]),
    [None, {"x": None}],
    "text",
    {1, 2},
]


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
def test_reading_and_rebuilding(structure):
    assert tree.is_nested(structure) == oracle.is_nested(structure)
    flat = tree.flatten(structure)
    assert flat == oracle.flatten(structure)
    paths = tree.flatten_with_path(structure)
    assert paths == [tuple(pair) for pair in oracle.flatten_with_path(structure)]
    values = list(range(len(flat)))
    for name, *args in [
        ("pack_sequence_as", structure, values),
        ("map_structure", lambda x: [x], structure),
        ("lists_to_tuples", structure),
    ]:
        made, expected = getattr(tree, name)(*args), getattr(oracle, name)(*args)
        assert made == expected and type(made) is type(expected), name


@pytest.mark.parametrize("top_down", [True, False])
def test_traverse(top_down):
    def visits(module):
        seen = []

        def visit(part):
            seen.append(part)
            if part == 2:
                return tree.MAP_TO_NONE
            return "t" if isinstance(part, tuple) else None

        return module.traverse(visit, [1, {"b": (2, 3), "a": 2}], top_down), seen

    assert visits(tree) == visits(oracle)


@pytest.mark.parametrize(
    "shapes",
    [(None, 2), [(None, 2), {"a": (3,), "b": [1, None]}], [[1, 2], [3]], [], ()],
    ids=repr,
)
def test_map_shape_structure(shapes):
    found = tree.map_shape_structure(lambda shape: ("shape", shape), shapes)
    assert found == oracle.map_shape_structure(lambda shape: ("shape", shape), shapes)


def test_several_structures():
    a, b = {"x": [1, 2], "y": 3}, OrderedDict(y=30, x=[10, 20])
    for name, args in [
        ("map_structure", (lambda *x: sum(x), a, b)),
        ("map_structure_up_to", (a, lambda *x: sum(x), a, b)),
        ("assert_same_structure", (a, b)),
        ("assert_same_paths", (a, b)),
    ]:
        assert getattr(tree, name)(*args) == getattr(oracle, name)(*args), name
