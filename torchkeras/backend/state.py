"""Variables of ``keras.backend``: making them, reading them, writing them; names and settings."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import torch

from torchkeras import config, dtypes, eras, random, registry
from torchkeras.backend.nn import forget_seeds
from torchkeras.backend.shapes import _filled
from torchkeras.backend.tensors import Table, sizes
from torchkeras.graph import KerasTensor, is_symbolic
from torchkeras.layers.phase import free_learning_phase, makes_updates
from torchkeras.ops.tensors import to_tensor
from torchkeras.variable import Holder, Variable, Weight

op = Table(__name__)


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
    value = value.toarray() if hasattr(value, "toarray") else value
    # A plain tensor, not a parameter: it is part of no module.
    held = to_tensor(value).detach().to(config.device(), dtypes.to_torch(dtype), copy=True)
    held.requires_grad_(held.is_floating_point())
    row = Weight(name or registry.auto_name("variable"), "value", constraint=constraint)
    return Variable.of(Holder(held), row)


def _variable_of(number: float, shape: Any, dtype: Any, name: str | None) -> Any:
    """Make a variable of one number; a symbolic tensor where the shape is symbolic."""
    made = _filled(shape, number, dtype)
    return made if isinstance(made, KerasTensor) else variable(made, dtype, name)


def _normal(shape: Any, *given: Any, draw: Callable = random.normal) -> Variable:
    first, second, dtype, name, seed = given
    seed = random.make_seed() if seed is None else seed
    return variable(draw(sizes(shape), first, second, dtype, seed), dtype, name)


def _uniform(*given: Any) -> Variable:
    return _normal(*given, draw=random.uniform)


_N = "dtype=None, name=None"
op.spelled(
    (f"zeros(shape, {_N})", lambda *given: _variable_of(0, *given), "Make a variable of 0."),
    (f"ones(shape, {_N})", lambda *given: _variable_of(1, *given), "Make a variable of 1."),
    (f"random_normal_variable(shape, mean, scale, {_N}, seed=None)", _normal, "Draw a variable."),
    (f"random_uniform_variable(shape, low, high, {_N}, seed=None)", _uniform, "Draw a variable."),
)

# ------------------------------------------------------------------------------ reading, writing


def is_tensor(x: Any) -> bool:
    """Tell whether something is a tensor, a variable or a symbolic tensor."""
    return isinstance(x, (torch.Tensor, Variable, KerasTensor))


def is_keras_tensor(x: Any) -> bool:
    """Tell whether something is a symbolic tensor.

    Raises:
        ValueError: for what is no tensor at all, before Keras 3.
    """
    if eras.version() < (3,) and not is_tensor(x):
        raise ValueError(f"is_keras_tensor takes a tensor; received {type(x).__name__}.")
    return isinstance(x, KerasTensor)


def get_value(x: Any) -> Any:
    """Return what a variable or a tensor holds, as an array; anything else as it is.

    Raises:
        TypeError: for a symbolic tensor, which holds nothing.
    """
    if isinstance(x, KerasTensor):
        raise TypeError(f"{x!r} is symbolic: run it with K.function([inputs], [x]).")
    x = x.value if isinstance(x, Variable) else x
    return dtypes.to_numpy(x.to_dense()).copy()[()] if isinstance(x, torch.Tensor) else x


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
        raise TypeError(f"set_value writes to a variable, such as layer.kernel; received {x!r}.")
    x.assign(value)


def batch_set_value(tuples: Any) -> None:
    """Write numbers into several variables, given as pairs; see :func:`set_value`."""
    for x, value in tuples:
        set_value(x, value)


class Update(NamedTuple):
    """A value for a variable that ``K.function`` computes and writes at each call."""

    variable: Any
    value: Any


def update(x: Any, new_x: Any) -> Any:
    """Write a value into a variable, at once or, where it is symbolic, when a function runs.

    Returns:
        The variable, or the update to give to ``K.function``.
    """
    if is_symbolic(new_x) or not makes_updates():
        return Update(x, new_x)
    set_value(x, new_x)
    return x


def moving_average_update(x: Any, value: Any, momentum: Any) -> Any:
    """Move a variable towards a value: ``x * momentum + value * (1 - momentum)``; see update."""
    return update(x, x - (x - value) * (1 - momentum))


op.spelled(
    ("batch_get_value(ops)", lambda xs: list(map(get_value, xs)), "Return what several hold."),
    ("is_variable(x)", lambda x: isinstance(x, Variable), "Tell whether it is a variable."),
    ("update_add(x, increment)", lambda x, by: update(x, x + by), "Add to a variable."),
    ("update_sub(x, decrement)", lambda x, by: update(x, x - by), "Subtract from a variable."),
)

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
    free_learning_phase()
    forget_seeds()
    if free_memory:
        gc.collect()


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
    if dim_ordering not in ("tf", "th"):
        raise ValueError(f"dim_ordering must be 'tf' or 'th'; received {dim_ordering!r}.")
    config.set_image_data_format("channels_last" if dim_ordering == "tf" else "channels_first")


def set_legacy_weight_ordering(value: bool) -> None:
    """Take ``False``: weights are in today's order.

    Raises:
        ValueError: for ``True``.
    """
    if value:
        raise ValueError("Keras 0.3's order of weights is not supported: leave the call out.")


_INTEGERS = ("int", "uint")
op.spelled(
    ("is_float_dtype(dtype)", lambda one: dtypes.to_torch(one).is_floating_point, "Tell floats."),
    (
        "is_int_dtype(dtype)",
        lambda one: dtypes.name_of(one).startswith(_INTEGERS),
        "Tell integers.",
    ),
    ("standardize_dtype(dtype)", dtypes.name_of, "Return Keras' name of a dtype."),
    # What need not be done on torch.
    ("eager(func)", lambda func: func, "Return the function: tensors are computed at once."),
    ("legacy_weight_ordering()", lambda: False, "Return False: weights are in today's order."),
    ("manual_variable_initialization(value)", lambda _: None, "Do nothing: variables have values."),
    ("symbolic(func)", lambda func: func, "Return the function: symbolic tensors tell themselves."),
)

# What cannot be done on torch, and what to do instead.
_CTC = "ctc_cost ctc_create_skip_idxs ctc_interleave_blanks ctc_path_probs ctc_update_log_p"
_GONE = {
    "control_dependencies": "what is computed first is what the script computes first",
    "get_session": "there is no session: read with K.get_value or K.eval, run with K.function",
    "set_session": "there is no session: choose the device with keras.config.set_device",
    **dict.fromkeys(_CTC.split(), "it was a part of Theano's K.ctc_batch_cost: call that"),
}


def _refusing(name: str) -> Callable:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"K.{name} is not supported on torch: {_GONE[name]}.")

    refuse.__name__, refuse.__doc__ = name, f"Refuse: {_GONE[name]}."
    return refuse


for _name in _GONE:
    op.plain(_refusing(_name))
