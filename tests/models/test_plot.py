"""Pictures of models: what they show, where it stands, and what happens without packages."""

import itertools
import os
import sys
import types
from pathlib import Path
from xml.dom import minidom

import numpy as np
import pytest

import torchkeras
from torchkeras import eras, layers
from torchkeras.layers import Dense, Input
from torchkeras.models import Model, Sequential
from torchkeras.models.diagram import Box, Look, diagram_of
from torchkeras.models.dot import Picture
from torchkeras.models.layout import RANKDIRS, arrange
from torchkeras.utils import model_to_dot, plot_model

sys.path.insert(0, str(Path(__file__).parent.parent / "parity"))

from architectures import ARCHITECTURES

FLAT = [
    "three_inputs",
    "diamond",
    "unused_input",
    "highway",
    "dense_block",
    "mixture_of_experts",
    "all_merging_layers",
    "all_operators",
    "wide_and_deep",
]
NESTED = ["functional_to_depth_three", "sequential_of_models", "nested_sequentials"]


@pytest.fixture(autouse=True)
def no_packages(monkeypatch):
    """Neither pydot nor matplotlib, whatever is installed."""
    for name in ("pydot", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)


def branched():
    x = Input((4,), name="x")
    a = Dense(3, activation="relu", name="left")(x)
    b = Dense(3, name="right", trainable=False)(x)
    return Model(x, layers.Add(name="sum")([a, b]) * 2, name="branched")


def texts(svg):
    found = minidom.parseString(svg).getElementsByTagName("text")
    return [node.firstChild.data for node in found]


def arrows(svg):
    paths = minidom.parseString(svg).getElementsByTagName("path")
    return [path for path in paths if path.hasAttribute("marker-end")]


def drawn(model, **options):
    return model_to_dot(model, **options).create(format="svg")


# ------------------------------------------------------------------------------- what is shown


def test_boxes_and_arrows():
    svg = drawn(branched())
    names = ["x (InputLayer)", "left (Dense)", "right (Dense)", "sum (Add)"]
    assert texts(svg)[:4] == names
    assert texts(svg)[4].endswith("(Multiply)") and len(texts(svg)) == 5
    assert len(arrows(svg)) == 5


def test_types_alone():
    shown = texts(drawn(branched(), show_layer_names=False))
    assert shown == ["InputLayer", "Dense", "Dense", "Add", "Multiply"]


def test_facts():
    shown = texts(
        drawn(
            branched(),
            show_shapes=True,
            show_dtype=True,
            show_layer_activations=True,
            show_trainable=True,
        )
    )
    assert shown[:3] == ["x (InputLayer)", "Output shape: (None, 4)", "Output dtype: float32"]
    assert shown[3:9] == [
        "left (Dense)",
        "Activation: relu",
        "Input shape: (None, 4)",
        "Output shape: (None, 3)",
        "Output dtype: float32",
        "Trainable",
    ]
    assert shown[14] == "Non-trainable"
    assert "Input shape: [(None, 3), (None, 3)]" in shown


def test_shapes_of_a_layer_called_twice():
    one, many = Input((4,)), Input((3, 4))
    layer = Dense(2, name="shared")
    model = Model([one, many], [layer(one), layer(many)])
    shown = texts(drawn(model, show_shapes=True))
    assert "Input shape: (None, 4) / (None, 3, 4)" in shown
    assert "Output shape: (None, 2) / (None, 3, 2)" in shown


def test_a_sequential():
    model = Sequential([Input((4,)), Dense(3, name="a"), Dense(2, name="b")])
    svg = drawn(model, show_shapes=True)
    assert texts(svg)[:3] == ["a (Dense)", "Input shape: (None, 4)", "Output shape: (None, 3)"]
    assert len(arrows(svg)) == 1


def test_a_subclass_is_one_box():
    class Own(Model):
        def call(self, inputs):
            return inputs

    model = Own(name="own")
    model(np.ones((2, 3)))
    assert texts(drawn(model)) == ["own (Own)"]


def test_nested_models_are_a_box_or_a_frame():
    x = Input((4,), name="inner_x")
    inner = Model(x, Dense(4, name="inside")(x), name="inner")
    y = Input((4,), name="x")
    chain = Sequential([Dense(4, name="first"), Dense(4, name="second")], name="chain")
    model = Model(y, chain(inner(inner(y))))
    closed = drawn(model)
    assert texts(closed) == ["x (InputLayer)", "inner (Functional)", "chain (Sequential)"]
    # The second is the inner model's to itself.
    assert len(arrows(closed)) == 3
    opened = drawn(model, expand_nested=True)
    assert {"inner", "chain", "inside (Dense)", "second (Dense)"} <= set(texts(opened))
    assert "inner (Functional)" not in texts(opened)
    assert len(arrows(opened)) == 5
    rectangles = minidom.parseString(opened).getElementsByTagName("rect")
    assert sum(one.hasAttribute("stroke-dasharray") for one in rectangles) == 2


def test_a_layer_of_two_models_is_shown_once():
    shared = Dense(4, name="shared")
    a, b, y = Input((4,)), Input((4,)), Input((4,))
    one = Model(a, shared(a), name="one")
    other = Model(b, Dense(4, name="own")(shared(b)), name="other")
    svg = drawn(Model(y, [one(y), other(y)]), expand_nested=True)
    assert texts(svg).count("shared (Dense)") == 1
    assert len(arrows(svg)) == 5


def test_names_with_signs_of_xml():
    x = Input((3,), name='<x> & "co"')
    assert texts(drawn(Model(x, Dense(1)(x))))[0] == '<x> & "co" (InputLayer)'


# ------------------------------------------------------------------------------- where it stands


def overlap(a, b):
    return (
        a.x < b.x + b.width - 0.5
        and b.x < a.x + a.width - 0.5
        and a.y < b.y + b.height - 0.5
        and b.y < a.y + a.height - 0.5
    )


def placed(name, rankdir, expand=False):
    model = ARCHITECTURES[name].build(torchkeras)
    diagram = diagram_of(model, Look(show_layer_names=True, expand_nested=expand))
    return diagram, arrange(diagram, lambda box: (9.0 * len(box.title), 30.0), rankdir)


@pytest.mark.parametrize("rankdir", RANKDIRS)
@pytest.mark.parametrize("name", FLAT + NESTED)
def test_boxes_stand_apart_and_within(name, rankdir):
    _, layout = placed(name, rankdir, expand=True)
    for a, b in itertools.combinations(layout.boxes.values(), 2):
        assert not overlap(a, b)
    for frame in [*layout.boxes.values(), *layout.groups.values()]:
        assert frame.x >= 0 and frame.x + frame.width <= layout.width
        assert frame.y >= 0 and frame.y + frame.height <= layout.height
    for x, y in itertools.chain(*layout.routes, *layout.loops):
        assert 0 <= x <= layout.width and 0 <= y <= layout.height


@pytest.mark.parametrize("name", NESTED)
def test_a_frame_is_around_its_boxes_alone(name):
    diagram, layout = placed(name, "TB", expand=True)

    def boxes_in(group):
        parts = [[one] if isinstance(one, Box) else boxes_in(one) for one in group.members]
        return list(itertools.chain(*parts))

    def groups_in(group):
        inner = [one for one in group.members if not isinstance(one, Box)]
        return inner + [one for part in inner for one in groups_in(part)]

    groups = groups_in(diagram)
    assert groups and set(groups) == set(layout.groups)
    for group in groups:
        own = boxes_in(group)
        for box, frame in layout.boxes.items():
            assert overlap(layout.groups[group], frame) == (box in own)


@pytest.mark.parametrize("rankdir", RANKDIRS)
@pytest.mark.parametrize("name", FLAT)
def test_lines_run_along_the_flow_and_through_no_box(name, rankdir):
    diagram, layout = placed(name, rankdir)
    flow, sign = {"TB": (1, 1), "BT": (1, -1), "LR": (0, 1), "RL": (0, -1)}[rankdir]
    assert len(layout.routes) == len(diagram.edges)
    for route in layout.routes:
        for a, b in itertools.pairwise(route):
            assert min(abs(a[0] - b[0]), abs(a[1] - b[1])) < 0.5 + 1e-6  # right angles
            assert sign * (b[flow] - a[flow]) >= -1e-6
            for frame in layout.boxes.values():
                assert not (
                    min(a[0], b[0]) < frame.x + frame.width - 1
                    and max(a[0], b[0]) > frame.x + 1
                    and min(a[1], b[1]) < frame.y + frame.height - 1
                    and max(a[1], b[1]) > frame.y + 1
                )


def test_a_chain_is_straight():
    model = Sequential([Input((4,)), *(Dense(4) for _ in range(5))])
    layout = arrange(diagram_of(model, Look()), lambda box: (80.0, 30.0))
    assert len({frame.x for frame in layout.boxes.values()}) == 1
    assert all(len(route) == 2 for route in layout.routes)


def test_a_branch_that_could_cross_does_not():
    x, y = Input((2,)), Input((2,))
    a, b = Dense(2)(x), Dense(2)(y)
    model = Model([x, y], [Dense(1)(b), Dense(2)(a)])
    layout = arrange(diagram_of(model, Look()), lambda box: (80.0, 30.0))
    assert all(len(route) == 2 for route in layout.routes)


def test_a_thousand_layers():
    x = y = Input((4,))
    for _ in range(1000):
        y = layers.Identity()(y)
    assert len(texts(drawn(Model(x, y)))) == 1001


@pytest.mark.parametrize("splines", ["ortho", "polyline", "line", "curved", "spline"])
def test_lines_of_every_kind_join_the_same_boxes(splines):
    model = ARCHITECTURES["dense_block"].build(torchkeras)
    paths = [path.getAttribute("d") for path in arrows(drawn(model, splines=splines))]
    straight = [path.getAttribute("d") for path in arrows(drawn(model, splines="line"))]
    assert any("C" in path for path in paths) == (splines in ("curved", "spline"))
    for path, line in zip(paths, straight, strict=True):
        assert path.split()[0] == line.split()[0]
        assert path.split()[-1].lstrip("L") == line.split()[-1].lstrip("L")


# ----------------------------------------------------------------------------- files and packages


def test_svg_needs_no_package(tmp_path):
    path = tmp_path / "model.svg"
    assert plot_model(branched(), path) is None
    assert len(texts(path.read_bytes())) == 5
    assert os.listdir(tmp_path) == ["model.svg"]


@pytest.mark.parametrize("name", ["model.png", "model", "model.pdf"])
def test_other_formats_become_svg_with_a_warning(name, tmp_path):
    with pytest.warns(UserWarning, match="install pydot and Graphviz, or matplotlib") as caught:
        plot_model(branched(), to_file=str(tmp_path / name), show_shapes=True)
    assert caught[0].filename == __file__
    assert os.listdir(tmp_path) == ["model.svg"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.svg"
    path.write_text("old")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        plot_model(branched(), path)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["model.svg"]


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no directory"):
        plot_model(branched(), tmp_path / "missing" / "model.svg")


def test_names_are_shown_as_in_the_version_of_the_script(tmp_path):
    path = tmp_path / "model.svg"
    plot_model(branched(), path)
    assert texts(path.read_bytes())[0] == "InputLayer"
    with eras.using("2"):
        plot_model(branched(), path)
    assert texts(path.read_bytes())[0] == "x (InputLayer)"


def test_what_notebooks_of_keras_2_write(tmp_path):
    dot = model_to_dot(branched(), show_shapes=True)
    assert isinstance(dot, Picture)
    assert dot.create(prog="dot", format="svg").startswith(b"<?xml")
    assert dot.write_svg(tmp_path / "a.svg") and dot.write(tmp_path / "b.svg", format="svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    with pytest.raises(ImportError, match="matplotlib"):
        dot.write_png(tmp_path / "c.png")


def test_a_notebook_gets_the_picture(tmp_path, monkeypatch):
    display = types.SimpleNamespace(SVG=lambda filename: ("svg", filename))
    ipython = types.ModuleType("IPython")
    ipython.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    path = str(tmp_path / "model.svg")
    assert plot_model(branched(), path) == ("svg", path)


class Part:
    """Stands for pydot's classes: keeps what it is given."""

    def __init__(self, *args, **kwargs):
        self.args, self.attributes, self.parts = args, kwargs, []

    def set(self, name, value):
        self.attributes[name] = value

    def add_node(self, part):
        self.parts.append(part)

    add_edge = add_subgraph = add_node

    def create(self, prog=None, format="ps", encoding=None):
        raise OSError("graphviz")


@pytest.fixture
def pydot(monkeypatch):
    kinds = {name: type(name, (Part,), {}) for name in ("Dot", "Cluster", "Node", "Edge")}
    module = types.SimpleNamespace(**kinds)
    monkeypatch.setitem(sys.modules, "pydot", module)
    return module


def test_pydot_gets_nodes_edges_and_clusters(pydot):
    x = Input((4,), name="inner_x")
    inner = Model(x, Dense(4, name="<inside>")(x), name="inner")
    y = Input((4,), name="x")
    dot = model_to_dot(Model(y, inner(y)), rankdir="LR", dpi=70, expand_nested=True)
    assert isinstance(dot, pydot.Dot)
    assert dot.attributes["rankdir"] == "LR" and dot.attributes["dpi"] == 70
    node, cluster, edge = dot.parts
    assert "x (InputLayer)" in node.attributes["label"]
    assert cluster.attributes["label"] == "inner"
    first, second, inside = cluster.parts
    assert "&lt;inside&gt; (Dense)" in second.attributes["label"]
    assert edge.args == (*node.args, *first.args) and inside.args == (*first.args, *second.args)
    assert isinstance(model_to_dot(branched(), subgraph=True), pydot.Cluster)


@pytest.mark.parametrize("has_graphviz", [False, True])
def test_pydot_where_graphviz_is_missing_or_fails(
    has_graphviz, pydot, monkeypatch, tmp_path, recwarn
):
    monkeypatch.setattr("shutil.which", lambda name: has_graphviz and "/bin/dot" or None)
    plot_model(branched(), tmp_path / "model.svg")
    assert len(texts((tmp_path / "model.svg").read_bytes())) == 5
    assert [("graphviz" in str(one.message)) for one in recwarn] == [True] * has_graphviz


def test_graphviz_draws_where_it_can(pydot, monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda name: "/bin/dot")
    monkeypatch.setattr(pydot.Dot, "create", lambda *args: b"by Graphviz")
    plot_model(branched(), tmp_path / "model.png")
    assert (tmp_path / "model.png").read_bytes() == b"by Graphviz"


def test_matplotlib_draws_pixels(tmp_path, monkeypatch):
    monkeypatch.undo()  # here it may be there
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(sys.modules, "pydot", None)
    sizes = {}
    for dpi in (50, 100):
        plot_model(branched(), tmp_path / "model.png", dpi=dpi)
        content = (tmp_path / "model.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        sizes[dpi] = int.from_bytes(content[16:20], "big")
    assert sizes[100] == pytest.approx(2 * sizes[50], abs=2)
    assert os.listdir(tmp_path) == ["model.png"]
    plot_model(branched(), tmp_path / "model.pdf")
    assert (tmp_path / "model.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(ValueError, match="no format"):
        plot_model(branched(), tmp_path / "model.xyz")


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rankdir": "down"}, "rankdir must be one of TB"),
        ({"splines": "wavy"}, "splines must be one of ortho"),
        ({"dpi": 0}, "dpi"),
        ({"layer_range": ("a", "b")}, "layer_range"),
    ],
)
def test_bad_arguments(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        plot_model(branched(), tmp_path / "model.svg", **options)


def test_a_model_that_is_not_built(tmp_path):
    with pytest.raises(ValueError, match="not built"):
        plot_model(Sequential([Dense(3)]), tmp_path / "model.svg")


def test_a_cluster_needs_pydot():
    with pytest.raises(ImportError, match="install pydot"):
        model_to_dot(branched(), subgraph=True)
