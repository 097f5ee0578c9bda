"""A model's diagram as pydot's graph, or as what stands in for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from html import escape
from typing import Any

from torchkeras.models.diagram import Box, Group
from torchkeras.models.drawing import Drawing
from torchkeras.models.files import replace
from torchkeras.warn import warn_user


class Picture:
    """What :func:`model_to_dot` returns without pydot: draws itself, without Graphviz.

    Args:
        draw: makes the drawing, when it is wanted first.
    """

    def __init__(self, draw: Callable[[], Drawing]):
        self._draw = draw

    def create(
        self, prog: str | None = None, format: str = "svg", encoding: str | None = None
    ) -> bytes:
        """Return the picture as a file's content.

        Args:
            prog: of no meaning without Graphviz, there for pydot's sake.
            format: ``'svg'``, or what matplotlib writes: ``'png'``, ``'pdf'``, ….
            encoding: likewise of no meaning.

        Raises:
            ImportError: for another format than SVG, without matplotlib.
            ValueError: for one that matplotlib does not know.
        """
        if format == "svg":
            return self._draw().svg().encode()
        try:
            return self._draw().rendered(format)
        except ImportError as error:
            raise ImportError(
                f"for a picture as {format} install pydot and Graphviz, or matplotlib."
            ) from error

    def write(self, path: str | os.PathLike, prog: str | None = None, format: str = "svg") -> bool:
        """Write the picture to a file; what was there stays whole when that fails."""
        replace(path, self.create(prog, format))
        return True

    def write_svg(self, path: str | os.PathLike, prog: str | None = None) -> bool:
        """Write the picture as SVG."""
        return self.write(path, prog, "svg")

    def write_png(self, path: str | os.PathLike, prog: str | None = None) -> bool:
        """Write the picture as PNG."""
        return self.write(path, prog, "png")

    def _repr_svg_(self) -> str:
        """Show it in a notebook."""
        return self._draw().svg()


def sure(base: type, picture: Picture) -> Any:
    """Return a ``pydot.Dot`` that draws itself where Graphviz is missing or fails."""

    class Dot(base):
        def create(self, prog=None, format="ps", encoding=None):
            if shutil.which(prog if isinstance(prog, str) else "dot"):
                try:
                    return super().create(prog, format, encoding)
                except Exception as error:  # what pydot raises depends on its version
                    warn_user(f"Graphviz could not draw the model, so it is drawn here: {error}")
            return picture.create(prog, format)

    return Dot()


# ----------------------------------------------------------------------------------------- pydot


def filled(pydot: Any, graph: Any, group: Group, is_cluster: bool = True) -> Any:
    """Add a group's boxes, groups and edges to a graph of pydot's."""
    if is_cluster:
        graph.set("label", group.name)
        graph.set("labeljust", "l")
        graph.set("style", "dashed")
    for member in group.members:
        if isinstance(member, Box):
            node = pydot.Node(_key(member), label=_label(member), shape="plain")
            node.set("fontname", "Helvetica")
            graph.add_node(node)
        else:
            cluster = pydot.Cluster(graph_name=str(id(member)))
            graph.add_subgraph(filled(pydot, cluster, member))
    for source, target in group.edges:
        graph.add_edge(pydot.Edge(_key(source), _key(target), penwidth="2"))
    return graph


def _key(box: Box) -> str:
    return str(id(box))


def _label(box: Box) -> str:
    """Return a box in the words that Graphviz has for tables."""
    cells = [
        ("white", "black", f"{escape(label)}: <b>{escape(text)}</b>") for label, text in box.facts
    ]
    if box.trained is not None:
        cells.append(
            ("forestgreen", "white", "<b>Trainable</b>")
            if box.trained
            else ("firebrick", "white", "<b>Non-trainable</b>")
        )
    rows = [("black", "white", f"<b>{escape(box.title)}</b>"), *cells]
    lines = [
        f'<tr><td bgcolor="{fill}"><font point-size="{14 if number else 16}" color="{color}">'
        f"{text}</font></td></tr>"
        for number, (fill, color, text) in enumerate(rows)
    ]
    table = '<table border="0" cellborder="1" cellspacing="0" cellpadding="8">'
    return f"<{table}{''.join(lines)}</table>>"
