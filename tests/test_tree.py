"""Nested structures: what order, form and errors promise."""

from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest

from torchkeras import tree

Point = namedtuple("Point", "x y")


def test_map_structure_keeps_classes_and_order():
    given = {"b": [1, (2,)], "a": Point(3, OrderedDict(z=4, c=5)), "d": deque([6], maxlen=2)}
    made = tree.map_structure(lambda x: -x, given)
    assert made == {
        "b": [-1, (-2,)],
        "a": Point(-3, OrderedDict(z=-4, c=-5)),
        "d": deque([-6]),
    }
    assert list(made) == ["b", "a", "d"] and made["d"].maxlen == 2
    assert type(made["a"]) is Point and type(made["a"].y) is OrderedDict
    grown = tree.map_structure(lambda x: x, defaultdict(list, a=1))
    assert grown["new"] == []


def test_none_is_a_leaf_unless_it_is_not():
    assert tree.map_structure(lambda x: 1, [None, 2]) == [1, 1]
    assert tree.map_structure(lambda x: 1, [None, 2], none_is_leaf=False) == [None, 1]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1], (1,)),
        ([1], [1, 2]),
        ([1], [[1]]),
        ([[1]], [1]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        (Point(1, 2), (1, 2)),
        (1, []),
    ],
)
def test_structures_that_differ_are_refused(a, b):
    with pytest.raises(ValueError, match="Structures differ"):
        tree.assert_same_structure(a, b)
    with pytest.raises(ValueError, match="Structures differ"):
        tree.map_structure(lambda x, y: x, a, b)


def test_same_form_is_same_whatever_the_leaves():
    tree.assert_same_structure({"a": [None, 1]}, OrderedDict(a=["x", {1}]))
    tree.assert_same_paths([1, (2,)], (1, [2]))
    with pytest.raises(ValueError, match=r"only in the first \{\(0, 0\)\}"):
        tree.assert_same_paths([[1]], [1])


def test_map_structure_up_to_hands_over_what_lies_deeper():
    found = tree.map_structure_up_to({"a": 0, "b": [0]}, lambda *x: x, {"a": [1, 2], "b": [3]})
    assert found == {"a": ([1, 2],), "b": [(3,)]}
    with pytest.raises(ValueError, match="Structures differ"):
        tree.map_structure_up_to([[0]], lambda x: x, [1])


def test_traverse_stops_where_something_is_returned():
    seen = []

    def visit(part):
        seen.append(part)
        return "list" if isinstance(part, list) else tree.MAP_TO_NONE if part == 1 else None

    assert tree.traverse(visit, {"b": [5], "a": (1, 2)}) == {"b": "list", "a": (None, 2)}
    assert seen == [{"b": [5], "a": (1, 2)}, (1, 2), 1, 2, [5]]


def test_pack_needs_as_many_values_as_places():
    assert tree.pack_sequence_as(OrderedDict(b=0, a=[0]), [1, 2]) == OrderedDict(b=1, a=[2])
    with pytest.raises(ValueError, match="2 places; received 1"):
        tree.pack_sequence_as([0, 0], [1])


def test_nothing_to_map_is_an_error():
    with pytest.raises(ValueError, match="at least one structure"):
        tree.map_structure(abs)
    with pytest.raises(ValueError, match="at least one structure"):
        tree.map_structure_up_to([0], abs)


def test_check_types_warns_that_it_has_no_effect():
    with pytest.warns(UserWarning, match="check_types"):
        tree.assert_same_structure([1], [2], check_types=False)
