"""Pictures of models: with pydot and Graphviz where they are, else drawn here."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from torchkeras import eras
from torchkeras.models.files import replace
from torchkeras.models.model import Model
from torchkeras.warn import warn_user


def plot_model(
    model: Model,
    to_file: str | os.PathLike = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool | None = None,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    layer_range: None = None,
) -> Any:
    """Write a picture of a model's layers and what flows between them.

    Graphviz draws it where it and pydot are installed. Without them it is drawn here: SVG without
    any package, PNG and PDF with matplotlib; where that is missing too, the SVG is written beside,
    with a warning.

    Args:
        model: built.
        to_file: the file; its extension says the format, PNG unless it has one.
        show_shapes: show the shapes of inputs and outputs.
        show_dtype: show the dtypes of outputs.
        show_layer_names: show the layers' names; not unless given (in Keras 1 and 2: yes).
        rankdir: where data flows to: ``'TB'`` down, ``'LR'`` right, ``'BT'`` up, ``'RL'`` left.
        expand_nested: show the layers of nested models, in a frame.
        dpi: dots per inch of a picture of pixels.
        show_layer_activations: show the activations of layers that have one.
        show_trainable: show whether training moves the layers' weights.
        splines: how lines run: ``'ortho'`` with right angles, ``'polyline'`` and ``'line'``
            straight, ``'curved'`` and ``'spline'`` bent.
        layer_range: must be ``None``, as in Keras 3.

    Returns:
        In a notebook the picture, to be shown; else ``None``.

    Raises:
        ValueError: when the model is not built, or for an argument of no known value.
        OSError: when the file cannot be written; what was there stays as it was.
    """
    if show_layer_names is None:
        show_layer_names = eras.defaults("plot_model").get("show_layer_names", False)
    picture = model_to_dot(
        model,
        show_shapes=show_shapes,
        show_dtype=show_dtype,
        show_layer_names=show_layer_names,
        rankdir=rankdir,
        expand_nested=expand_nested,
        dpi=dpi,
        show_layer_activations=show_layer_activations,
        show_trainable=show_trainable,
        splines=splines,
        layer_range=layer_range,
    )
    path = Path(to_file)
    kind = path.suffix[1:].lower() or "png"
    try:
        content = picture.create(format=kind)
    except ImportError as error:
        path, kind = path.with_suffix(".svg"), "svg"
        warn_user(f"plot_model wrote {path}: {error}")
        content = picture.create(format=kind)
    replace(path, content)
    return _shown(path, kind)


def model_to_dot(
    model: Model,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    layer_range: None = None,
) -> Any:
    """Return a model's layers and what flows between them as a graph for Graphviz.

    Args:
        model: built; one that is not made of symbolic tensors is a single box.
        show_shapes: as in :func:`plot_model`, like the other arguments.
        show_dtype: likewise.
        show_layer_names: likewise; yes unless given.
        rankdir: likewise.
        expand_nested: likewise.
        dpi: likewise.
        subgraph: return a ``pydot.Cluster``, to be part of another graph.
        show_layer_activations: likewise.
        show_trainable: likewise.
        splines: likewise.
        layer_range: likewise.

    Returns:
        A ``pydot.Dot``, which draws the picture itself without Graphviz; without pydot a
        :class:`~torchkeras.models.dot.Picture`, which has the methods ``create`` and ``write`` too.

    Raises:
        ValueError: when the model is not built, or for an argument of no known value.
        ImportError: with ``subgraph`` and without pydot.
    """
    # Here, since most programs draw nothing.
    from torchkeras.models.diagram import Look, diagram_of
    from torchkeras.models.dot import Picture, filled, sure
    from torchkeras.models.drawing import SPLINES, Drawing
    from torchkeras.models.layout import RANKDIRS

    if layer_range is not None:
        raise ValueError(
            "layer_range is an argument of Keras 2 that Keras 3 dropped; plot a model of the part: "
            "Model(first.input, last.output)."
        )
    for name, given, known in (("rankdir", rankdir, RANKDIRS), ("splines", splines, SPLINES)):
        if given not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}; received {given!r}.")
    if not dpi > 0:
        raise ValueError(f"dpi must be a positive number; received {dpi!r}.")
    if not model.built:
        raise ValueError(
            f"Model {model.name!r} is not built, so its layers and shapes are not known: call "
            "build(input_shape), or call the model on a batch, before it is plotted."
        )
    look = Look(
        show_shapes=show_shapes,
        show_dtype=show_dtype,
        show_layer_names=show_layer_names,
        show_layer_activations=show_layer_activations,
        show_trainable=show_trainable,
        expand_nested=expand_nested,
    )
    diagram = diagram_of(model, look)
    try:
        import pydot
    except ImportError:
        if subgraph:
            raise ImportError(
                "model_to_dot: subgraph=True returns a pydot.Cluster; install pydot."
            ) from None
        return Picture(lambda: Drawing(diagram, rankdir, splines, dpi))
    if subgraph:
        return filled(pydot, pydot.Cluster(graph_name=model.name), diagram)
    dot = sure(pydot.Dot, Picture(lambda: Drawing(diagram, rankdir, splines, dpi)))
    for name, given in (("rankdir", rankdir), ("dpi", dpi), ("splines", splines)):
        dot.set(name, given)
    dot.set("concentrate", True)
    return filled(pydot, dot, diagram, is_cluster=False)


def _shown(path: Path, kind: str) -> Any:
    """Return a picture for a notebook to show, where IPython is at work."""
    if "IPython" not in sys.modules or kind not in ("png", "svg", "jpg", "jpeg", "gif"):
        return None
    from IPython import display

    return display.SVG(filename=str(path)) if kind == "svg" else display.Image(filename=str(path))
