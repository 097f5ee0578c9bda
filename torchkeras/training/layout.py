"""What users give as x, y and sample_weight becomes lists of tensors, and how a step reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from torchkeras import tree
from torchkeras.training import arrays
from torchkeras.training.arrays import as_tensor


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the tensors of a batch lie: inputs, targets, weights, one behind the other.

    Args:
        x: the inputs' structure, with numbers in place of tensors; ``None`` for one tensor.
        inputs: how many inputs.
        targets: how many targets, and as many weights.
        y: the targets' structure, ``None`` for one tensor.
        given: the structures in which the inputs and the targets were given, with the place of
            each array among those of its kind: what a step of the user's own receives.
    """

    x: Any = None
    inputs: int = 1
    targets: int = 1
    y: Any = None
    given: tuple[Any, Any] = dataclasses.field(default=(0, 0), compare=False, repr=False)

    @property
    def is_single(self) -> bool:
        """Whether a batch is one input, one target and its weight."""
        return self.x is None and self.targets == 1 and self.y is None

    def data(self, batch: Sequence[Any]) -> Any:
        """Return a batch as ``x``, ``(x, y)`` or ``(x, y, sample_weight)``, for a user's step."""
        rest = batch[self.inputs :]
        ys, weights = rest[: self.targets], rest[self.targets :]
        x, y = _filled(self.given[0], batch), _filled(self.given[1], ys)
        weight = None
        if any(one is not None for one in weights):
            weight = _filled(self.given[1], weights)
        if self.targets == 0:
            return (x,) if isinstance(x, (list, tuple)) else x
        return (x, y) if weight is None else (x, y, weight)

    def split(self, batch: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Return the inputs in their structure, the targets and the weights of a batch."""
        x, rest = batch[: self.inputs], batch[self.inputs :]
        x = x[0] if self.x is None else tree.pack_like(self.x, x)
        y, weight = list(rest[: self.targets]), list(rest[self.targets :])
        return (x, y[0], weight[0]) if self.targets == 1 and self.y is None else (x, y, weight)


# One input, one target, one weight.
SINGLE = Layout()


def _filled(structure: Any, parts: Sequence[Any]) -> Any:
    """Put parts into a structure of their places."""
    return tree.map_structure(lambda place: None if place is None else parts[place], structure)


@dataclasses.dataclass(frozen=True)
class Samples:
    """Data as tensors.

    Args:
        x: inputs, each ``(samples, …)``.
        y: targets, one for each output, ``None`` for those without a loss and metrics.
        weight: one weight a sample for each target, or ``None``.
        layout: how a batch of them is read.
    """

    x: list[torch.Tensor]
    y: list[torch.Tensor | None]
    weight: list[torch.Tensor | None]
    layout: Layout

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.x[0])

    def map(self, function: Any) -> Samples:
        """Return samples with a function applied to each tensor."""

        def each(parts: list[Any]) -> list[Any]:
            return [None if part is None else function(part) for part in parts]

        return Samples(each(self.x), each(self.y), each(self.weight), self.layout)


def inputs_of(model: Any, x: Any) -> tuple[list[torch.Tensor], Any, tuple[Any, Any]]:
    """Return a model's inputs as tensors, and their structure for a call.

    Args:
        model: that takes them.
        x: arrays, tensors or frames: one, or for several inputs a list, tuple or dictionary.

    Returns:
        The tensors; the structure with numbers in their place, ``None`` for a single one; and what
        ``Layout`` takes as ``given``.

    Raises:
        ValueError: when there are more, fewer or others than the model takes.
        TypeError: for what is no array.
    """
    parts, structure = _input_parts(model, x)
    form = form_of(x, [part for _, part in parts])
    return [as_tensor(name, part) for name, part in parts], structure, (form, None)


def _input_parts(model: Any, x: Any) -> tuple[list[tuple[str, Any]], Any]:
    """Return a model's inputs, each with a name for errors, and their structure for a call."""
    names = _input_names(model)
    if names is None:
        return _unnamed(x)
    if len(names) == 1 and isinstance(x, (list, tuple)) and _are_several_arrays(x):
        raise ValueError(
            f"Model {model.name!r} takes one input, {names[0]!r}; received a list of {len(x)} "
            "arrays."
        )
    is_single = len(names) == 1 and not isinstance(x, Mapping)
    parts = [("x", arrays.only_part(x))] if is_single else _parts("x", model, model.input, x, names)
    return parts, None if len(parts) == 1 else list(range(len(parts)))


def _unnamed(x: Any) -> tuple[list[tuple[str, Any]], Any]:
    """Return the inputs of a model that takes what it is given."""
    if isinstance(x, Mapping):
        keys = tree.keys(x)
        return [(f"x[{key!r}]", x[key]) for key in keys], {
            key: index for index, key in enumerate(keys)
        }
    if isinstance(x, (list, tuple)) and len(x) > 1 and all(map(_is_array, x)):
        parts = [(f"x[{index}]", part) for index, part in enumerate(x)]
        return parts, tree.pack_like(x, range(len(parts)))
    return [("x", arrays.only_part(x))], None


def form_of(given: Any, parts: Sequence[Any]) -> Any:
    """Return a structure with the place of each array in the arrays' place.

    Args:
        given: arrays in lists, tuples and dictionaries; entries that no part is are left out.
        parts: the arrays in their order.
    """
    places = {id(part): place for place, part in enumerate(parts)}
    if id(given) in places:
        return places[id(given)]
    if isinstance(given, Mapping):
        found = {key: form_of(part, parts) for key, part in given.items()}
        return {key: form for key, form in found.items() if form is not None}
    if isinstance(given, (list, tuple)):
        forms = [form_of(part, parts) for part in given]
        return tuple(forms) if isinstance(given, tuple) else forms
    return None


def _are_several_arrays(x: Sequence[Any]) -> bool:
    """Tell whether a list holds arrays of many samples each, not one sample each."""
    return len(x) > 1 and all(map(_is_array, x)) and all(np.ndim(part) > 1 for part in x)


def _parts(
    what: str, model: Any, structure: Any, given: Any, names: list[str], path: str = ""
) -> list[tuple[str, Any]]:
    """Match what is given with a structure of symbolic tensors.

    Args:
        what: ``'x'`` or ``'y'``.
        model: for errors.
        structure: of the model's inputs or outputs.
        given: arrays in that structure, in a flat list, or in a dictionary by name.
        names: of the symbolic tensors.
        path: where in the whole this is.

    Returns:
        A name for errors and the array, of each symbolic tensor.
    """
    ends = "inputs" if what == "x" else "outputs"
    count = sum(1 for _ in tree.leaves(structure))
    here = f"{what}{path}"
    if not tree.is_nested(structure) and not isinstance(given, Mapping):
        return [(here, given)]
    if isinstance(given, Mapping):
        is_named = not isinstance(structure, Mapping)
        keys = names if is_named else tree.keys(structure)
        missing = [key for key in keys if key not in given]
        extra = [key for key in given if key not in keys] if what == "y" else []
        if missing or extra:
            raise ValueError(
                f"Model {model.name!r} has the {ends} {keys}; received {what} as a dictionary of "
                f"{sorted(map(str, given))}, "
                + (
                    f"without {missing[0]!r}."
                    if missing
                    else f"where {extra[0]!r} is none of them."
                )
            )
        if is_named:
            return [(f"{here}[{key!r}]", given[key]) for key in keys]
        inside = [(key, structure[key], given[key]) for key in keys]
    elif isinstance(given, (list, tuple)) and len(given) in (len(structure), count):
        flat = list(tree.leaves(structure))
        pieces = flat if len(given) == count or isinstance(structure, Mapping) else structure
        inside = list(zip(range(len(given)), pieces, given))
    else:
        came = f"a list of {len(given)}" if isinstance(given, (list, tuple)) else "1 array"
        raise ValueError(
            f"Model {model.name!r} has {count} {ends}, {names}; received {what} as {came}. Pass a "
            "list with one array for each, or a dictionary by name."
        )
    found = []
    for key, piece, part in inside:
        own = [leaf.source.name for leaf in tree.leaves(piece)]
        found += _parts(what, model, piece, part, own, f"{path}[{key!r}]")
    return found


def _input_names(model: Any) -> list[str] | None:
    """Return the names of a model's inputs; ``None`` where they are not known."""
    if getattr(model, "_graph", None) is not None:
        return model.input_names
    return [model.input.source.name] if getattr(model, "_input_layer", None) is not None else None


def output_names(model: Any) -> list[str] | None:
    """Return the names of a model's outputs; ``None`` where they are not known."""
    if getattr(model, "_graph", None) is not None:
        return model.output_names
    return None


def _is_array(part: Any) -> bool:
    return isinstance(part, (np.ndarray, torch.Tensor)) or hasattr(part, "to_numpy")


def samples(model: Any, x: Any, y: Any, sample_weight: Any, needs_targets: bool = True) -> Samples:
    """Turn what ``fit`` and ``evaluate`` are given into tensors of equal length.

    Args:
        model: that is trained.
        x: inputs: one, or a list, tuple or dictionary.
        y: targets: one, or for several outputs a list, tuple or dictionary by the outputs' names.
        sample_weight: one weight a sample, or for several outputs a list or dictionary.
        needs_targets: whether y must be given.

    Raises:
        ValueError: when x or y is missing, holds no numbers, does not fit the model, or the lengths
            differ.
        TypeError: for what is no array.
    """
    if x is not None and y is None and not isinstance(x, (Mapping, list, tuple)):
        arrays.check_kind("x", x)
    if x is None or (y is None and needs_targets):
        pair = " Write fit(x, y), not fit((x, y))." if isinstance(x, tuple) else ""
        raise ValueError(
            "Training and evaluation need inputs x and targets y; received "
            f"x={'None' if x is None else type(x).__name__}, "
            f"y={'None' if y is None else type(y).__name__}.{pair}"
        )
    names, given = output_names(model), (x, y)
    parts = model._compiled.objective.parts
    if not any(part.is_wanted for part in parts):
        names = None  # nothing is compared with the outputs: any structure will do
    if names is not None and y is not None:
        y = _targets_of(model, y, names, parts)
    target_structure = None
    if _is_several(y, names):
        y = {key: y[key] for key in tree.keys(y)} if isinstance(y, Mapping) else y
        target_structure = tree.pack_like(y, range(len(y)))
        y_parts = list(y.values()) if isinstance(y, Mapping) else list(y)
        named = [(f"y[{index}]", part) for index, part in enumerate(y_parts)]
    else:
        if isinstance(x, Mapping):
            y = arrays.only_part(y)
        else:
            x, y = arrays.only_parts(x, y)
        named = [] if y is None else [("y", y)]
    x_parts, structure = _input_parts(model, x)
    xs = [as_tensor(name, part) for name, part in x_parts]
    ys = [None if part is None else as_tensor(name, part) for name, part in named]
    weights = _weights(sample_weight, names, len(ys), len(xs[0]))
    forms = tuple(
        form_of(whole, [part for _, part in pairs]) for whole, pairs in zip(given, (x_parts, named))
    )
    layout = Layout(structure, len(xs), len(ys), target_structure, forms)
    check_lengths(xs, ys, weights)
    return Samples(xs, ys, weights, layout)


def _targets_of(model: Any, y: Any, names: list[str], parts: Sequence[Any]) -> Any:
    """Return the targets of a model of known outputs, in the order of those.

    Outputs without a loss and metrics need none, which leaves ``None`` in their place.
    """
    if len(names) == 1:
        return _parts("y", model, model.output, y, names)[0][1] if isinstance(y, Mapping) else y
    wanted = names
    if len(parts) == len(names):
        wanted = [name for name, part in zip(names, parts) if part.is_wanted]
    if isinstance(y, Mapping) and not isinstance(model.output, Mapping):
        y = y | {name: None for name in names if name not in wanted and name not in y}
    elif not isinstance(y, (Mapping, list, tuple)) and len(wanted) == 1:
        y = [y if name in wanted else None for name in names]
    elif isinstance(y, (list, tuple)) and len(y) == len(wanted) < len(names):
        found = iter(y)
        y = [next(found) if name in wanted else None for name in names]
    return [part for _, part in _parts("y", model, model.output, y, names)]


def _is_several(y: Any, names: list[str] | None) -> bool:
    if isinstance(y, Mapping):
        return True
    if not isinstance(y, (list, tuple)):
        return False
    if names is not None:
        return len(names) > 1
    return len(y) > 1 and all(map(_is_array, y)) and any(np.ndim(part) > 0 for part in y)


def _weights(
    given: Any, names: list[str] | None, targets: int, count: int
) -> list[torch.Tensor | None]:
    """Return the sample weights of each target."""
    if targets == 0 or given is None:
        return [None] * targets
    several = isinstance(given, Mapping) or (
        targets > 1
        and isinstance(given, (list, tuple))
        and len(given) == targets
        and all(part is None or np.ndim(part) > 0 for part in given)
    )
    if targets == 1 or not several:
        if isinstance(given, Mapping) and len(given) == 1:
            _check_names(given, names)
            given = next(iter(given.values()))
        is_list = isinstance(given, (list, tuple)) and any(map(np.ndim, given))
        if is_list and targets > 1:
            raise ValueError(
                f"sample_weight: there are {targets} targets; received a list of {len(given)}. "
                "Pass one array for all, or a list with one for each, or a dictionary by name."
            )
        given = arrays.only_part(given, count)
        return [as_tensor("sample_weight", given).float()] * targets
    if isinstance(given, Mapping):
        _check_names(given, names)
        given = [given.get(name) for name in (names or tree.keys(given))]
    return [
        None if part is None else as_tensor(f"sample_weight[{index}]", part).float()
        for index, part in enumerate(given)
    ]


def _check_names(given: Mapping, names: list[str] | None) -> None:
    unknown = [name for name in given if names is not None and name not in names]
    if unknown:
        raise ValueError(
            f"sample_weight: the model has no output {unknown[0]!r}; its outputs are {names}."
        )


def check_lengths(xs: list[Any], ys: list[Any] = (), weights: list[Any] = ()) -> None:
    """Compare the numbers of samples.

    Raises:
        ValueError: when they differ, with each.
    """
    named = [("x", xs), ("y", ys), ("sample_weight", weights)]
    lengths = {
        name if len(parts) == 1 else f"{name}[{index}]": len(part)
        for name, parts in named
        for index, part in enumerate(parts)
        if part is not None
    }
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"The numbers of samples differ: {shown}. Give each sample its own row.")
