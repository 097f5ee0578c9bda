"""The table that ``model.summary()`` prints."""

from __future__ import annotations

import logging
import math
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torchkeras import config, dtypes
from torchkeras.graph import Graph, TorchCall, nodes_of
from torchkeras.layers.structures import is_shape

# Width and where the columns end, of the table of a chain and of the one with "Connected to".
_CHAIN = (88, (0.45, 0.80, 1.0))
_CONNECTED = (108, (0.3, 0.56, 0.74, 1.0))
_TRAINABLE_WIDTH = 12
_ALIGN: dict[str, Callable[[str, int], str]] = {
    "left": str.ljust,
    "right": str.rjust,
    # str.center puts the odd space on the other side.
    "center": lambda text, width: (" " * ((width - len(text)) // 2) + text).ljust(width),
}
# Stand-ins for an output that has no box-drawing characters.
_ASCII = str.maketrans(
    {"━": "-", "─": "-", "┃": "|", "│": "|", "…": "."} | dict.fromkeys("┏┳┓┡╇┩├┼┤└┴┘", "+")
)


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> None:
    """Print a model's layers, their output shapes and numbers of parameters, as Keras 3 does.

    A model made of symbolic tensors that is no chain has a column that says what each layer's
    inputs are: ``layer[call][output]``, both counted from 0.

    Args:
        model: the model.
        line_length: the table's width in characters; unless given, 88 (108 with "Connected to"; 12
            more with ``show_trainable``), or less in a narrow terminal.
        positions: where each column ends, as shares of the width.
        print_fn: called once with the whole text; unless given, it goes to standard output.
        expand_nested: whether the layers of nested models are shown too.
        show_trainable: whether a column says which layers are trained (Y, N; ``-`` has no weights).
        layer_range: regular expressions of the first and the last layer to show.

    Raises:
        ValueError: when the width leaves a column less than four characters, or ``layer_range`` is
            no pair of expressions that match a layer.
    """
    graph = getattr(model, "_graph", None)
    connected = None if graph is None or _is_chain(graph) else graph
    header = ["Layer (type)", "Output Shape", "Param #"]
    aligns = ["left", "left", "right"]
    width, ends = _CHAIN if connected is None else _CONNECTED
    if connected is not None:
        header.append("Connected to")
        aligns.append("left")
    if len(positions or ends) != len(header):
        raise ValueError(
            f"summary: `positions` needs one number for each of the {len(header)} columns; "
            f"received {positions!r}."
        )
    ends = list(positions or ends)
    if show_trainable:
        header.append("Trainable")
        aligns.append("center")
        ends = [end * 0.9 for end in ends] + [1.0]
        width += _TRAINABLE_WIDTH
    width = line_length or min(width, shutil.get_terminal_size().columns - 4)
    layers = list(model.layers if graph is None else graph.operations)
    rows = [
        row
        for layer in layers[_range(layers, layer_range)]
        for row in _rows(layer, connected, expand_nested, show_trainable)
    ]
    lines = [f'Model: "{model.name}"', *_table(header, rows, aligns, _widths(ends, width))]
    text = "\n".join(lines + _totals(model)) + "\n"
    if print_fn is None and not config.is_interactive_logging_enabled():
        print_fn = logging.getLogger("torchkeras").info
    if print_fn is not None:
        print_fn(text)
    else:
        print(_printable(text), end="")


# ------------------------------------------------------------------------------------- contents


def _is_chain(graph: Graph) -> bool:
    """Tell whether each call takes the output of the one before and nothing else."""
    follows = all(
        [parent._node for parent in node.parents] == [before]
        for before, node in zip(graph.nodes, graph.nodes[1:])
    )
    return follows and len(graph.operations) == len(graph.nodes)


def _rows(
    layer: Any, connected: Graph | None, expand: bool, show_trainable: bool, depth: int = 0
) -> list[list[str]]:
    """Return the table's row of a layer or an operation, and those of the layers in it."""
    is_layer = not isinstance(layer, TorchCall)
    name = f"{'   ' * depth}└ {layer.name}" if depth else layer.name
    params = "0"
    if is_layer:
        params = f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
    row = [f"{name} ({type_name(layer)})", _shape(layer), params]
    if connected is not None:
        row.append(_sources(layer, connected))
    if show_trainable:
        has_weights = is_layer and layer.weights
        row.append("-" if not has_weights else "Y" if layer.trainable else "N")
    rows = [row]
    if expand:
        for inner in getattr(layer, "layers", ()):
            rows += _rows(inner, connected, expand, show_trainable, depth + 1)
    return rows


def type_name(operation: Any) -> str:
    """Return what a layer is, or the function that an operation calls: ``Dense``, ``Add``."""
    return operation.title if isinstance(operation, TorchCall) else type(operation).__name__


def _sources(operation: Any, graph: Graph) -> str:
    """Return where the inputs of an operation's calls in a graph come from."""
    sources = [
        "{.name}[{}][{}]".format(*parent._keras_history)
        for node in graph.calls_of(operation)
        for parent in node.parents
    ]
    return ", ".join(sources) or "-"


def _shape(layer: Any) -> str:
    """Return a layer's output shape as text, of its last call; ``?`` when it is not known yet."""
    calls = nodes_of(layer) if hasattr(layer, "_nodes") else []
    if calls:
        shape: Any = [spec.shape for spec in calls[-1].specs]
    elif getattr(layer, "_graph", None) is not None:
        shape = tuple(tensor.shape for tensor in layer.outputs)
    else:
        shape = getattr(layer, "output_shape", None)
    if shape is None:
        return "?"
    while len(shape) == 1 and not is_shape(shape):
        (shape,) = shape.values() if isinstance(shape, dict) else shape
    return _shape_text(shape)


def _shape_text(shape: Any) -> str:
    if isinstance(shape, dict):
        return "{" + ", ".join(f"{key}: {_shape_text(one)}" for key, one in shape.items()) + "}"
    left, right = "[]" if isinstance(shape, list) else "()"
    parts = (str(n) if n is None or isinstance(n, int) else _shape_text(n) for n in shape)
    return left + ", ".join(parts) + right


def _totals(model: Any) -> list[str]:
    """Return the lines under the table: how many numbers, and what memory they take."""
    kinds = {
        "Trainable": model.trainable_weights,
        "Non-trainable": model.non_trainable_weights,
    }
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and getattr(optimizer, "built", True):
        kinds["Optimizer"] = optimizer.variables
    sizes = {kind: (_count(items), _bytes(items)) for kind, items in kinds.items()}
    total = [sum(parts) for parts in zip(*sizes.values())]
    lines = [("Total", total), *sizes.items()]
    return [f" {kind} params: {count:,} ({_memory(size)})" for kind, (count, size) in lines]


def _count(variables: Iterable[Any]) -> int:
    return sum(math.prod(v.shape) for v in variables)


def _bytes(variables: Iterable[Any]) -> int:
    return sum(math.prod(v.shape) * dtypes.to_torch(v.dtype).itemsize for v in variables)


def _memory(size: float) -> str:
    """Return a number of bytes as text, in the unit that leaves less than 1024."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} PB"


def _range(layers: list[Any], names: Sequence[str] | None) -> slice:
    """Return which layers lie between the first and the last that match, both included."""
    if names is None:
        return slice(None)
    if len(names) != 2 or not all(isinstance(name, str) for name in names):
        raise ValueError(
            "summary: `layer_range` takes two strings, the names (or regular expressions) of the "
            f"first and the last layer; received {names!r}."
        )
    first, last = (
        [i for i, layer in enumerate(layers) if re.match(name, layer.name)] for name in names
    )
    if not first or not last:
        missing = names[0] if not first else names[1]
        raise ValueError(
            f"summary: no layer matches {missing!r} of `layer_range`; the layers are "
            f"{', '.join(layer.name for layer in layers)}."
        )
    if min(first) > max(last):
        first, last = last, first
    return slice(min(first), max(last) + 1)


# ---------------------------------------------------------------------------------------- table


def _widths(ends: list[float], length: int) -> list[int]:
    """Return how many characters each column's text gets in a table ``length`` characters wide.

    ``ends`` gives each column its share without borders and padding; what these take, or what is
    left over, is divided among the columns from left to right.

    Raises:
        ValueError: when a column gets less than four characters.
    """
    stops = [int(end * length) for end in ends]
    shares = [stop - start for start, stop in zip([0, *stops], stops)]
    if min(shares) < 4:
        raise ValueError(
            f"summary: a table {length} characters wide leaves a column less than 4; give a larger "
            "`line_length`, or other `positions`."
        )
    padded = [share + 2 for share in shares]
    excess = sum(padded) - (length - len(padded) - 1)
    widths = []
    if excess > 0:
        for left, width in zip(range(len(padded), 0, -1), padded):
            cut = min(width, round(excess / left))
            excess -= cut
            widths.append(width - cut)
    else:
        total = sum(padded)
        for width in padded:
            gain = math.ceil(-excess * width / total)
            excess += gain
            total -= width
            widths.append(width + gain)
    return [max(width - 2, 1) for width in widths]


def _table(
    header: list[str], rows: list[list[str]], aligns: list[str], widths: list[int]
) -> list[str]:
    """Return the lines of a table with a heavy head."""

    def border(left: str, line: str, middle: str, right: str) -> str:
        return left + middle.join(line * (width + 2) for width in widths) + right

    def cells(texts: list[str], line: str, at_bottom: bool = False) -> list[str]:
        columns = [_wrap(text, width) for text, width in zip(texts, widths)]
        height = max(map(len, columns))
        for column in columns:
            blanks = [""] * (height - len(column))
            column[:] = blanks + column if at_bottom else column + blanks
        return [
            f"{line} "
            + f" {line} ".join(_ALIGN[a](t, w) for a, t, w in zip(aligns, texts, widths))
            + f" {line}"
            for texts in zip(*columns)
        ]

    lines = [border("┏", "━", "┳", "┓"), *cells(header, "┃", at_bottom=True)]
    lines.append(border("┡", "━", "╇", "┩"))
    for index, row in enumerate(rows):
        if index:
            lines.append(border("├", "─", "┼", "┤"))
        lines += cells(row, "│")
    return [*lines, border("└", "─", "┴", "┘")]


def _wrap(text: str, width: int) -> list[str]:
    """Break a text between words; a word longer than a line has one of its own, and is cut."""
    lines = [""]
    for word in re.findall(r"\s*\S+\s*", text):
        if lines[-1] and len(lines[-1]) + len(word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    lines = [line.rstrip() for line in lines]
    return [line if len(line) <= width else line[: width - 1] + "…" for line in lines]


def _printable(text: str) -> str:
    """Return the text, drawn with plain characters where standard output has no others."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return text.translate(_ASCII)
    return text
