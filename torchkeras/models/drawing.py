"""Diagrams as pictures: SVG without any package, other formats with matplotlib."""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
from collections.abc import Sequence
from html import escape
from typing import Any

from torchkeras.models.diagram import Box, Group
from torchkeras.models.layout import Frame, Layout, Point, arrange

SPLINES = ("ortho", "polyline", "line", "curved", "spline")

_TITLE, _FACT = 13.0, 11.0  # sizes of letters
_LINE = 1.5  # height of a line of text, in its size
_PAD = 10.0  # beside text
_LETTER = 0.6  # mean width of a letter, in its size; bold ones are wider
_BOLD = 1.08
_HEAD, _YES, _NO, _INK = "#202020", "#228b22", "#b22222", "#202020"
_FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
_EASE, _NEAR = 10.0, 60.0  # how far bent lines leave their corners, and where they have none
_MOST_PIXELS = 30_000  # on a side of a picture of pixels


@dataclasses.dataclass(frozen=True)
class _Rectangle:
    frame: Frame
    fill: str
    is_dashed: bool = False


@dataclasses.dataclass(frozen=True)
class _Text:
    x: float
    y: float  # of the middle of the line
    text: str
    size: float
    color: str = _INK
    is_bold: bool = False
    anchor: str = "middle"


@dataclasses.dataclass(frozen=True)
class _Arrow:
    points: Sequence[Point]
    # Of a curve, two for each part of it.
    controls: Sequence[tuple[Point, Point]] = ()


class Drawing:
    """A diagram with a place for everything, as shapes.

    Args:
        diagram: what is shown.
        rankdir: where data flows to: ``'TB'``, ``'LR'``, ``'BT'`` or ``'RL'``.
        splines: how lines run: ``'ortho'`` with right angles, ``'polyline'`` and ``'line'``
            straight, ``'curved'`` and ``'spline'`` bent.
        dpi: dots per inch of a picture of pixels, 72 points an inch.
    """

    def __init__(self, diagram: Group, rankdir: str, splines: str, dpi: float):
        self._dpi = dpi
        layout = arrange(diagram, _size_of, rankdir)
        self.width, self.height = layout.width, layout.height
        self._shapes: list[_Rectangle | _Text | _Arrow] = []
        for group, frame in layout.groups.items():
            self._shapes.append(_Rectangle(frame, "none", is_dashed=True))
            y = frame.y + frame.height - 12 if rankdir == "BT" else frame.y + 12
            self._shapes.append(_Text(frame.x + 8, y, group.name, _FACT, anchor="start"))
        is_turned = rankdir in ("LR", "RL")
        for route in layout.routes:
            points = _eased(route, splines, is_turned)
            is_curved = splines in ("curved", "spline")
            self._shapes.append(_Arrow(points, _controls(points, is_turned) if is_curved else ()))
        self._shapes += map(_Arrow, layout.loops)
        self._draw_boxes(layout)

    def _draw_boxes(self, layout: Layout) -> None:
        for box, frame in layout.boxes.items():
            middle, y = frame.x + frame.width / 2, frame.y
            for text, fill, color, size in _lines(box):
                height = _height(size)
                row = Frame(frame.x, y, frame.width, height)
                self._shapes.append(_Rectangle(row, fill))
                bold = size == _TITLE
                self._shapes.append(_Text(middle, y + height / 2, text, size, color, bold))
                y += height

    # ------------------------------------------------------------------------------------ svg

    def svg(self) -> str:
        """Return the picture as SVG."""
        width, height = f"{self.width:.1f}", f"{self.height:.1f}"
        lines = [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="{escape(_FONT)}">',
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{_INK}"/></marker>'
            "</defs>",
            '<rect width="100%" height="100%" fill="white"/>',
            *map(_svg_of, self._shapes),
            "</svg>",
        ]
        return "\n".join(lines) + "\n"

    # ----------------------------------------------------------------------------- matplotlib

    def rendered(self, kind: str) -> bytes:
        """Return the picture in a format that matplotlib writes, such as ``'png'`` or ``'pdf'``.

        A picture of pixels gets fewer dots per inch where it would be larger than 30,000 on a side.

        Raises:
            ImportError: without matplotlib.
            ValueError: for a format that it does not write.
        """
        # Not pyplot, which would choose a window system and keep the figure.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        size = self.width / 72, self.height / 72
        figure = Figure(figsize=size, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        if kind not in canvas.get_supported_filetypes():
            raise ValueError(
                f"to_file: {kind!r} is no format of matplotlib's, which writes "
                f"{', '.join(canvas.get_supported_filetypes())}."
            )
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, self.width)
        axes.set_ylim(self.height, 0)
        for order, shape in enumerate(self._shapes):
            _plot(axes, shape, order)
        out = io.BytesIO()
        canvas.print_figure(out, format=kind, dpi=min(self._dpi, _MOST_PIXELS / max(size)))
        return out.getvalue()


def _lines(box: Box) -> list[tuple[str, str, str, float]]:
    """Return the lines of a box: text, what is behind it, its color and size."""
    lines = [(box.title, _HEAD, "white", _TITLE)]
    lines += [(f"{label}: {text}", "white", _INK, _FACT) for label, text in box.facts]
    if box.trained is not None:
        text, color = ("Trainable", _YES) if box.trained else ("Non-trainable", _NO)
        lines.append((text, color, "white", _FACT))
    return lines


def _size_of(box: Box) -> Point:
    """Return the width and height of a box, in points."""
    widths = [
        len(text) * size * _LETTER * (_BOLD if size == _TITLE else 1.0) + 2 * _PAD
        for text, _, _, size in _lines(box)
    ]
    return max(widths), sum(_height(size) for *_, size in _lines(box))


def _height(size: float) -> float:
    return size * _LINE + 6


def _eased(route: list[Point], splines: str, is_turned: bool) -> list[Point]:
    """Return the corners of a line: as they are, fewer, or those that a curve runs between."""
    if splines == "ortho":
        return route
    if splines == "line":
        return [route[0], route[-1]]
    flow = 0 if is_turned else 1

    def aside(point: Point, goal: Point) -> list[Point]:
        """Move a corner along the flow; near the goal it is of no use."""
        distance = goal[flow] - point[flow]
        if abs(distance) < _NEAR:
            return []
        moved = point[flow] + math.copysign(_EASE, distance)
        return [(moved, point[1]) if is_turned else (point[0], moved)]

    corners = [route[0]]
    for a, b, following in zip(route[1:-1:2], route[2:-1:2], route[3::2]):
        corners += aside(a, corners[-1])
        corners += aside(b, following)
    return [*corners, route[-1]]


def _controls(points: Sequence[Point], is_turned: bool) -> list[tuple[Point, Point]]:
    """Return the control points of a curve through points that sets out along the flow at each."""
    found = []
    for (x, y), (x2, y2) in itertools.pairwise(points):
        middle = ((x + x2) / 2, (y + y2) / 2)
        pair = ((middle[0], y), (middle[0], y2)) if is_turned else ((x, middle[1]), (x2, middle[1]))
        found.append(pair)
    return found


# ------------------------------------------------------------------------------------- SVG's forms


def _svg_of(shape: _Rectangle | _Text | _Arrow) -> str:
    if isinstance(shape, _Rectangle):
        frame = shape.frame
        dashes = ' stroke-dasharray="5,4"' if shape.is_dashed else ""
        return (
            f'<rect x="{frame.x:.1f}" y="{frame.y:.1f}" width="{frame.width:.1f}" '
            f'height="{frame.height:.1f}" fill="{shape.fill}" stroke="{_INK}"{dashes}/>'
        )
    if isinstance(shape, _Text):
        weight = ' font-weight="bold"' if shape.is_bold else ""
        return (
            f'<text x="{shape.x:.1f}" y="{shape.y + 0.35 * shape.size:.1f}" '
            f'font-size="{shape.size:g}" fill="{shape.color}" text-anchor="{shape.anchor}"{weight}>'
            f"{escape(shape.text)}</text>"
        )
    return (
        f'<path d="{_path(shape)}" fill="none" stroke="{_INK}" stroke-width="1.4" '
        'marker-end="url(#arrow)"/>'
    )


def _path(arrow: _Arrow) -> str:
    points = [f"{x:.1f},{y:.1f}" for x, y in arrow.points]
    if not arrow.controls:
        return "M" + " L".join(points)
    parts = [
        f"C{a[0]:.1f},{a[1]:.1f} {b[0]:.1f},{b[1]:.1f} {point}"
        for (a, b), point in zip(arrow.controls, points[1:])
    ]
    return " ".join([f"M{points[0]}", *parts])


# ------------------------------------------------------------------------------- matplotlib's forms


def _plot(axes: Any, shape: _Rectangle | _Text | _Arrow, order: int) -> None:
    """Add a shape to matplotlib's axes."""
    from matplotlib.patches import FancyArrowPatch, Rectangle
    from matplotlib.path import Path

    if isinstance(shape, _Rectangle):
        frame = shape.frame
        axes.add_patch(
            Rectangle(
                (frame.x, frame.y),
                frame.width,
                frame.height,
                facecolor=shape.fill,
                edgecolor=_INK,
                linewidth=1,
                linestyle="--" if shape.is_dashed else "-",
                zorder=order,
            )
        )
    elif isinstance(shape, _Text):
        axes.text(
            shape.x,
            shape.y,
            shape.text,
            size=shape.size,
            color=shape.color,
            weight="bold" if shape.is_bold else "normal",
            ha={"middle": "center", "start": "left"}[shape.anchor],
            va="center_baseline",
            parse_math=False,
            zorder=order,
        )
    else:
        points, codes = list(shape.points), [Path.MOVETO]
        if shape.controls:
            inner = zip(shape.controls, shape.points[1:])
            points = [shape.points[0], *(p for (a, b), end in inner for p in (a, b, end))]
            codes += [Path.CURVE4] * (len(points) - 1)
        else:
            codes += [Path.LINETO] * (len(points) - 1)
        axes.add_patch(
            FancyArrowPatch(
                path=Path(points, codes),
                arrowstyle="-|>",
                mutation_scale=9,
                color=_INK,
                linewidth=1.4,
                zorder=order,
            )
        )
