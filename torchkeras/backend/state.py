"""Variables of ``keras.backend``: making them, reading them, writing them; names and numbers."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch

from torchkeras import config, dtypes, eras, random, registry
from torchkeras.backend import draws, phase
from torchkeras.backend.shapes import filled
from torchkeras.backend.tensors import as_tensor, sizes
from torchkeras.graph import KerasTensor, is_symbolic
from torchkeras.variable import Holder, Variable, Weight


def variable(
    value: Any, dtype: Any = None, name: str | None = None, constraint: Callable | None = None
) -> Variable:
    """Make a variable.

    Args:
        value: a number, a list, an array (a sparse one of scipy's becomes dense) or a tensor.
        dtype: ``floatx`` unless given.
        name: numbered unless given.
        constraint: the projection that an optimizer applies after an update.
    """
    if hasattr(value, "toarray"):
        value = value.toarray()
    # A plain tensor, not a parameter: it is part of no module.
    held = as_tensor(value).detach().to(config.device(), dtypes.to_torch(dtype), copy=True)
    held.requires_grad_(held.is_floating_point())
    row = Weight(name or registry.auto_name("variable"), "value", constraint=constraint)
    return Variable.of(Holder(held), row)


def _filled(number: float, shape: Any, dtype: Any, name: str | None) -> Any:
    made = filled(shape, number, dtype)
    return made if isinstance(made, KerasTensor) else variable(made, dtype, name)


def zeros(shape: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Make a variable of zeros; a symbolic tensor where the shape is symbolic.

    Args:
        shape: of the variable.
        dtype: ``floatx`` unless given.
        name: numbered unless given.
    """
    return _filled(0, shape, dtype, name)


def ones(shape: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Make a variable of ones; the arguments are those of :func:`zeros`."""
    return _filled(1, shape, dtype, name)


def random_uniform_variable(
    shape: Any,
    low: float,
    high: float,
    dtype: Any = None,
    name: str | None = None,
    seed: int | None = None,
) -> Variable:
    """Make a variable of numbers drawn evenly from ``[low, high)``.

    Args:
        shape: of the variable.
        low: the lower bound.
        high: the upper bound.
        dtype: ``floatx`` unless given.
        name: numbered unless given.
        seed: makes the numbers the same each time.
    """
    drawn = torch.rand(sizes(shape), dtype=dtypes.to_torch(dtype), generator=random.generator(seed))
    return variable(drawn * (high - low) + low, dtype, name)


def random_normal_variable(
    shape: Any,
    mean: float,
    scale: float,
    dtype: Any = None,
    name: str | None = None,
    seed: int | None = None,
) -> Variable:
    """Make a variable of numbers drawn from a normal distribution.

    Args:
        shape: of the variable.
        mean: of the distribution.
        scale: its standard deviation.
        dtype: ``floatx`` unless given.
        name: numbered unless given.
        seed: makes the numbers the same each time.
    """
    generator = random.generator(seed)
    drawn = torch.randn(sizes(shape), dtype=dtypes.to_torch(dtype), generator=generator)
    return variable(drawn * scale + mean, dtype, name)


# ------------------------------------------------------------------------------ reading, writing


def is_variable(x: Any) -> bool:
    """Tell whether something is a variable."""
    return isinstance(x, Variable)


def is_tensor(x: Any) -> bool:
    """Tell whether something is a tensor, a variable or a symbolic tensor."""
    return isinstance(x, (torch.Tensor, Variable, KerasTensor))


def is_keras_tensor(x: Any) -> bool:
    """Tell whether something is a symbolic tensor."""
    return isinstance(x, KerasTensor)


def get_value(x: Any) -> Any:
    """Return what a variable or a tensor holds, as an array; anything else as it is.

    Raises:
        TypeError: for a symbolic tensor, which holds nothing.
    """
    if isinstance(x, KerasTensor):
        raise TypeError(
            f"{x!r} is symbolic and holds no numbers: run it with K.function([inputs], [x])."
        )
    if not isinstance(x, (torch.Tensor, Variable)):
        return x
    return dtypes.to_numpy(as_tensor(x)).copy()[()]


def batch_get_value(ops: Iterable[Any]) -> list[Any]:
    """Return what several variables or tensors hold; see :func:`get_value`."""
    return [get_value(x) for x in ops]


def set_value(x: Any, value: Any) -> None:
    """Write numbers into a variable or a tensor.

    Args:
        x: what is written to.
        value: numbers of its shape.

    Raises:
        TypeError: when ``x`` can hold nothing.
        ValueError: when the shapes differ.
    """
    if isinstance(x, torch.Tensor):
        x = Variable.of(Holder(x), "value")
    if not isinstance(x, Variable):
        raise TypeError(
            f"set_value writes to a variable, such as optimizer.learning_rate or layer.kernel; "
            f"received {x!r}."
        )
    x.assign(value)


def batch_set_value(tuples: Iterable[tuple[Any, Any]]) -> None:
    """Write numbers into several variables, given as pairs; see :func:`set_value`."""
    for x, value in tuples:
        set_value(x, value)


class Update(NamedTuple):
    """A value for a variable that ``K.function`` computes and writes at each call."""

    variable: Any
    value: Any


def update(x: Variable, new_x: Any) -> Any:
    """Write a value into a variable, at once or, where it is symbolic, when a function runs.

    Returns:
        The variable, or the update to give to ``K.function``.
    """
    if is_symbolic(new_x) or not phase.makes_updates():
        return Update(x, new_x)
    set_value(x, new_x)
    return x


def update_add(x: Variable, increment: Any) -> Any:
    """Add to a variable; see :func:`update`."""
    return update(x, x + increment)


def update_sub(x: Variable, decrement: Any) -> Any:
    """Subtract from a variable; see :func:`update`."""
    return update(x, x - decrement)


def moving_average_update(x: Variable, value: Any, momentum: Any) -> Any:
    """Move a variable towards a value: ``x * momentum + value * (1 - momentum)``; see update."""
    return update(x, x - (x - value) * (1 - momentum))


# ------------------------------------------------------------------------------- names, settings


def get_uid(prefix: str = "") -> int:
    """Return how many objects of a name there are with this one: 1, 2, ….

    Layers are numbered by the same count.
    """
    suffix = registry.auto_name(prefix)[len(prefix) :]
    return int(suffix[1:] or 0) + 1 - eras.value("names.start")


def reset_uids() -> None:
    """Start the numbering of names again."""
    registry.reset_names()


def clear_session(free_memory: bool = True) -> None:
    """Start the numbering of names again, and forget the learning phase and used seeds.

    Args:
        free_memory: whether to collect models that nobody holds any more.
    """
    registry.reset_names()
    phase.free_learning_phase()
    draws.forget_seeds()
    if free_memory:
        gc.collect()


def backend() -> str:
    """Return ``'torch'``: what computes."""
    return "torch"


def image_dim_ordering() -> str:
    """Return Keras 1's name of the default layout of images: ``'tf'`` or ``'th'``."""
    return "th" if config.image_data_format() == "channels_first" else "tf"


def set_image_dim_ordering(dim_ordering: str) -> None:
    """Set the default layout of images by Keras 1's name.

    Args:
        dim_ordering: ``'tf'`` for channels last, ``'th'`` for channels first.

    Raises:
        ValueError: for any other value.
    """
    layouts = {"tf": "channels_last", "th": "channels_first"}
    if dim_ordering not in layouts:
        raise ValueError(f"dim_ordering must be 'tf' or 'th'; received {dim_ordering!r}.")
    config.set_image_data_format(layouts[dim_ordering])


@contextlib.contextmanager
def name_scope(name: str) -> Iterator[None]:
    """Surround code with a label, which has no effect: torch names no operations."""
    yield


def standardize_dtype(dtype: Any) -> str:
    """Return Keras' name of a dtype given as a string, or as one of torch, numpy or Python."""
    return dtypes.name_of(dtype)


def is_float_dtype(dtype: Any) -> bool:
    """Tell whether a dtype is one of real floats."""
    return dtypes.to_torch(dtype).is_floating_point


def is_int_dtype(dtype: Any) -> bool:
    """Tell whether a dtype is one of integers; booleans are none."""
    return dtypes.name_of(dtype).startswith(("int", "uint"))
