"""Initializers: how the numbers of a new weight are drawn.

Each is called with a shape, in Keras' layout, and gives a tensor on the CPU: a seed then means the
same numbers on every device, and the caller moves them.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from torchkeras import dtypes, eras, random, registry
from torchkeras.registry import Configurable, register
from torchkeras.seeds import Seed, SeedGenerator, source
from torchkeras.variable import Variable, as_tensor

Shape = Sequence[int]


@register("initializer")
class Initializer(Configurable):
    """Base of initializers: a callable from a shape to a tensor of that shape."""

    def __call__(self, shape: Shape, dtype: Any = None) -> torch.Tensor:
        """Return the numbers of a new weight.

        Args:
            shape: in Keras' layout.
            dtype: a name or a torch dtype; ``floatx`` unless given.

        Raises:
            NotImplementedError: in this base class.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define __call__(shape, dtype).")

    @classmethod
    def from_config(cls, config: dict[str, Any]):
        """Make an initializer from what ``get_config`` returned."""
        if registry.is_builtin(cls):
            # tf.keras wrote a dtype that it did not use.
            config = {name: value for name, value in config.items() if name != "dtype"}
        return cls(**config)

    def clone(self):
        """Return another one of the same config."""
        return type(self).from_config(self.get_config())


# ---------------------------------------------------------------------------------- constants


@register("initializer", "zero")
class Zeros(Initializer):
    """All numbers 0."""

    def __call__(self, shape: Shape, dtype: Any = None) -> torch.Tensor:
        """Return zeros of a shape."""
        return torch.zeros(tuple(shape), dtype=dtypes.to_torch(dtype))


@register("initializer", "one")
class Ones(Initializer):
    """All numbers 1."""

    def __call__(self, shape: Shape, dtype: Any = None) -> torch.Tensor:
        """Return ones of a shape."""
        return torch.ones(tuple(shape), dtype=dtypes.to_torch(dtype))


@register("initializer")
class Constant(Initializer):
    """All numbers the same, or those of an array.

    Args:
        value: a number, or an array that can be broadcast to the shape of the weight.
    """

    def __init__(self, value: Any = 0.0):
        if isinstance(value, dict):
            # The form in which a config carries an array.
            value = np.array(value["config"]["value"], dtype=value["config"]["dtype"])
        self.value = value.item() if isinstance(value, np.generic) else value

    def __call__(self, shape: Shape, dtype: Any = None) -> torch.Tensor:
        """Return the value, broadcast to a shape.

        Raises:
            ValueError: when it cannot be broadcast.
        """
        value = _to_cpu(self.value, dtype)
        try:
            return value.broadcast_to(tuple(shape)).clone()
        except RuntimeError:
            raise ValueError(
                f"Constant: a value of shape {tuple(value.shape)} cannot fill a weight of shape "
                f"{tuple(shape)}."
            ) from None

    def get_config(self) -> dict[str, Any]:
        """Return the value; an array in the form that Keras gives it."""
        if not isinstance(self.value, (np.ndarray, torch.Tensor)):
            return {"value": self.value}
        kind = "__tensor__" if isinstance(self.value, torch.Tensor) else "__numpy__"
        inner = {
            "value": self.value.tolist(),
            "dtype": str(self.value.dtype).removeprefix("torch."),
        }
        return {"value": {"class_name": kind, "config": inner}}


@register("initializer", "IdentityInitializer")
class Identity(Initializer):
    """The identity matrix, cut or filled up with zeros to the shape.

    Args:
        gain: the number on the diagonal.
    """

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def __call__(self, shape: Shape, dtype: Any = None) -> torch.Tensor:
        """Return ``gain`` times the identity.

        Raises:
            ValueError: when the shape is not that of a matrix.
        """
        if len(shape) != 2:
            raise ValueError(f"Identity makes a matrix; received the shape {tuple(shape)}.")
        return self.gain * torch.eye(*shape, dtype=dtypes.to_torch(dtype))


# ------------------------------------------------------------------------------------- random


class RandomInitializer(Initializer):
    """Base of initializers that draw numbers.

    Without a seed one is drawn when the initializer is made, so that its calls give the same
    numbers each time; in the eras of Keras 1 and 2 each call draws its own, from
    ``numpy.random``.

    Args:
        seed: an integer, a ``SeedGenerator``, by which each call gives other numbers, or ``None``.

    Raises:
        ValueError: when the seed is none of these.
    """

    def __init__(self, seed: Seed = None):
        self._given_seed = _as_seed(type(self).__name__, seed)
        draws_later = seed is not None or eras.value("seeds.from_numpy")
        self.seed = self._given_seed if draws_later else random.make_seed()

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this initializer again; a seed only if one was given."""
        config = super().get_config()
        given = registry.serialize_value(self._given_seed)
        return {**config, "seed": given} if "seed" in config else config


@register("initializer", "normal")
class RandomNormal(RandomInitializer):
    """Numbers of a normal distribution.

    Args:
        mean: its mean.
        stddev: its standard deviation.
        seed: an integer, a ``SeedGenerator`` or ``None``.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None):
        super().__init__(seed)
        self.mean = mean
        self.stddev = stddev

    def __call__(self, shape: Shape, dtype: Any = None) -> torch.Tensor:
        """Draw numbers of a shape."""
        return _normal(shape, self.mean, self.stddev, dtype, self.seed)


@register("initializer")
class TruncatedNormal(RandomInitializer):
    """Numbers of a normal distribution without those beyond two standard deviations.

    Args:
        mean: mean of the distribution.
        stddev: its standard deviation before the tails are cut.
        seed: an integer, a ``SeedGenerator`` or ``None``.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None):
        super().__init__(seed)
        self.mean = mean
        self.stddev = stddev

    def __call__(self, shape: Shape, dtype: Any = None) -> torch.Tensor:
        """Draw numbers of a shape."""
        return _truncated_normal(shape, self.mean, self.stddev, dtype, self.seed)


@register("initializer", "uniform")
class RandomUniform(RandomInitializer):
    """Numbers spread evenly over an interval.

    Args:
        minval: its lower bound, included.
        maxval: its upper bound, excluded.
        seed: an integer, a ``SeedGenerator`` or ``None``.
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None):
        super().__init__(seed)
        self.minval = minval
        self.maxval = maxval

    def __call__(self, shape: Shape, dtype: Any = None) -> torch.Tensor:
        """Draw numbers of a shape."""
        return _uniform(shape, self.minval, self.maxval, dtype, self.seed)


@register("initializer")
class VarianceScaling(RandomInitializer):
    """Numbers of variance ``scale / n``, where ``n`` counts the units at one or both ends.

    Args:
        scale: above 0.
        mode: ``n``: ``'fan_in'``, ``'fan_out'`` or ``'fan_avg'``, the mean of the two.
        distribution: ``'truncated_normal'`` (also ``'normal'``), ``'untruncated_normal'`` or
            ``'uniform'``.
        seed: an integer, a ``SeedGenerator`` or ``None``.
        input_axes: the axes of the weight that count as inputs; given with ``output_axes``.
        output_axes: the axes of the weight that count as outputs.

    Raises:
        ValueError: for any other argument.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        super().__init__(seed)
        name = type(self).__name__
        if not scale > 0:
            raise ValueError(f"{name}: scale must be above 0; received {scale!r}.")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(
                f"{name}: mode must be 'fan_in', 'fan_out' or 'fan_avg'; received {mode!r}."
            )
        if distribution.lower() == "normal":
            distribution = eras.value("variance_scaling.normal")
        if distribution.lower() not in ("truncated_normal", "untruncated_normal", "uniform"):
            raise ValueError(
                f"{name}: distribution must be 'truncated_normal', 'untruncated_normal' or "
                f"'uniform'; received {distribution!r}."
            )
        if (input_axes is None) != (output_axes is None):
            raise ValueError(
                f"{name}: give both input_axes and output_axes, or neither; received "
                f"{input_axes!r} and {output_axes!r}."
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution.lower()
        self.input_axes = input_axes
        self.output_axes = output_axes

    def __call__(self, shape: Shape, dtype: Any = None) -> torch.Tensor:
        """Draw numbers of a shape."""
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        variance = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return _uniform(shape, -limit, limit, dtype, self.seed)
        if self.distribution == "untruncated_normal":
            return _normal(shape, 0.0, math.sqrt(variance), dtype, self.seed)
        stddev = math.sqrt(variance) / eras.value("variance_scaling.truncated_deviation")
        return _truncated_normal(shape, 0.0, stddev, dtype, self.seed)


class NamedScaling(VarianceScaling):
    """Base of the variance scalings with a name, whose config is the seed and the axes.

    Attributes:
        formula: their scale, mode and distribution.

    Args:
        seed: an integer, a ``SeedGenerator`` or ``None``.
        input_axes: the axes of the weight that count as inputs; given with ``output_axes``.
        output_axes: the axes of the weight that count as outputs.

    Raises:
        ValueError: for any other argument.
    """

    formula: tuple[float, str, str]

    @registry.reads_arguments("NamedScaling")
    def __init__(
        self,
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        super().__init__(*self.formula, seed, input_axes, output_axes)


@register("initializer")
class GlorotUniform(NamedScaling):
    """Uniform within ``sqrt(6 / (fan_in + fan_out))`` of 0, also called Xavier.

    Source: Glorot and Bengio 2010.
    """

    formula = (1.0, "fan_avg", "uniform")


@register("initializer")
class GlorotNormal(NamedScaling):
    """Truncated normal of deviation ``sqrt(2 / (fan_in + fan_out))``, also called Xavier.

    Source: Glorot and Bengio 2010.
    """

    formula = (1.0, "fan_avg", "normal")


@register("initializer")
class LecunUniform(NamedScaling):
    """Uniform within ``sqrt(3 / fan_in)`` of 0.

    Source: LeCun et al. 1998, Efficient BackProp.
    """

    formula = (1.0, "fan_in", "uniform")


@register("initializer")
class LecunNormal(NamedScaling):
    """Truncated normal of deviation ``sqrt(1 / fan_in)``, for :func:`selu`.

    Source: Klambauer et al. 2017, arXiv:1706.02515.
    """

    formula = (1.0, "fan_in", "normal")


@register("initializer")
class HeUniform(NamedScaling):
    """Uniform within ``sqrt(6 / fan_in)`` of 0.

    Source: He et al. 2015, arXiv:1502.01852.
    """

    formula = (2.0, "fan_in", "uniform")


@register("initializer")
class HeNormal(NamedScaling):
    """Truncated normal of deviation ``sqrt(2 / fan_in)``.

    Source: He et al. 2015, arXiv:1502.01852.
    """

    formula = (2.0, "fan_in", "normal")


@register("initializer", "OrthogonalInitializer")
class Orthogonal(RandomInitializer):
    """A random matrix with orthonormal columns, or rows where there are fewer of them.

    Args:
        gain: factor on the matrix.
        seed: an integer, a ``SeedGenerator`` or ``None``.

    Source: Saxe et al. 2013, arXiv:1312.6120.
    """

    def __init__(self, gain: float = 1.0, seed: Seed = None):
        super().__init__(seed)
        self.gain = gain

    def __call__(self, shape: Shape, dtype: Any = None) -> torch.Tensor:
        """Draw a weight whose axes but the last, taken together, are the rows of the matrix.

        Raises:
            ValueError: when the shape has fewer than two axes.
        """
        if len(shape) < 2:
            raise ValueError(
                f"Orthogonal needs a shape of two or more axes; received {tuple(shape)}."
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        # torch factorizes no half precision.
        wanted = dtypes.to_torch(dtype)
        work = torch.float64 if wanted is torch.float64 else torch.float32
        drawn = _normal((max(rows, columns), min(rows, columns)), 0.0, 1.0, work, self.seed)
        q, r = torch.linalg.qr(drawn)
        # With the signs of R's diagonal, Q is spread evenly over all orthogonal matrices.
        q = q * torch.sign(torch.diagonal(r))
        return (self.gain * (q.t() if rows < columns else q)).reshape(tuple(shape)).to(wanted)


def compute_fans(
    shape: Shape,
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[int, int]:
    """Count the units at both ends of a weight.

    Args:
        shape: in Keras' layout: ``(inputs, outputs)``, or ``(…, inputs, outputs)`` for a kernel
            that slides over the axes in front.
        input_axes: the axes that count as inputs, with ``output_axes``, instead of this rule.
        output_axes: the axes that count as outputs.

    Returns:
        ``(fan_in, fan_out)``.
    """
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[a] for a in input_axes), math.prod(shape[a] for a in output_axes)
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


def _as_seed(owner: str, seed: Any) -> Seed:
    if isinstance(seed, dict):  # as a config has it
        seed = registry.deserialize("seed_generator", seed)
    try:
        return seed if seed is None or isinstance(seed, SeedGenerator) else operator.index(seed)
    except TypeError:
        raise ValueError(
            f"{owner}: seed must be an integer or None, or a SeedGenerator; received {seed!r}."
        ) from None


# The draws are those that Keras makes of the same seed on torch's CPU backend.


def _generator(seed: Seed) -> torch.Generator:
    return random.generator(None) if seed is None else source(seed, torch.device("cpu"))


def _normal(shape: Shape, mean: float, stddev: float, dtype: Any, seed: Seed) -> torch.Tensor:
    made, generator = dtypes.to_torch(dtype), _generator(seed)
    return torch.normal(mean, stddev, tuple(shape), generator=generator, dtype=made)


def _uniform(shape: Shape, minval: float, maxval: float, dtype: Any, seed: Seed) -> torch.Tensor:
    drawn = torch.rand(tuple(shape), generator=_generator(seed), dtype=dtypes.to_torch(dtype))
    return drawn.mul_(maxval - minval).add_(minval)


def _truncated_normal(
    shape: Shape, mean: float, stddev: float, dtype: Any, seed: Seed
) -> torch.Tensor:
    """Take the first of four numbers that is within two deviations.

    Once in 230,000 times none is; the number is clipped then.
    """
    drawn = _normal((*shape, 4), 0.0, 1.0, dtype, seed)
    first = (drawn.abs() < 2).max(-1, keepdim=True).indices
    return drawn.gather(-1, first).squeeze(-1).clamp_(-2, 2).mul_(stddev).add_(mean)


def _to_cpu(value: Any, dtype: Any) -> torch.Tensor:
    return as_tensor(value, dtypes.to_torch(dtype), torch.device("cpu")).detach()


def _given(value: Any, shape: Shape, dtype: Any = None) -> torch.Tensor:
    """Return an array that serves as initializer, for a weight of the same shape only."""
    if tuple(value.shape) != tuple(shape):
        raise ValueError(
            f"An array of shape {tuple(value.shape)} was given as initializer of a weight of shape "
            f"{tuple(shape)}; the shapes must be equal."
        )
    return _to_cpu(value, dtype).clone()


zeros = zero = Zeros
ones = one = Ones
constant = Constant
identity = IdentityInitializer = Identity
random_normal = normal = RandomNormal
random_uniform = uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal
he_uniform, he_normal = HeUniform, HeNormal
orthogonal = OrthogonalInitializer = Orthogonal

_get, serialize, deserialize = registry.accessors("initializer")


def get(identifier: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the initializer of a name, a class, a callable, an instance, a config or an array.

    Args:
        identifier: ``None`` stays ``None``; an array or a tensor holds the numbers themselves, for
            a weight of its shape; a callable takes ``(shape, dtype=None)``.
        custom_objects: names for this look-up only.

    Raises:
        ValueError: when a name is unknown, or the thing is none of these.
    """
    if isinstance(identifier, (np.ndarray, np.generic, torch.Tensor, Variable)):
        return functools.partial(_given, identifier)
    return _get(identifier, custom_objects)


def draw(initializer: Any, shape: Shape, dtype: str) -> torch.Tensor:
    """Call an initializer, a user's own with the arguments that it takes.

    Keras 1 called ``init(shape, name=…)`` and Keras 2 ``initializer(shape)``; since 2.3 it is
    ``initializer(shape, dtype=…)``.

    Args:
        initializer: what :func:`get` returned.
        shape: of the weight, in Keras' layout.
        dtype: Keras' name of the weight's dtype.

    Returns:
        The values ``shape``, on the CPU or where the user's function put them.
    """
    if isinstance(initializer, Initializer):
        return initializer(shape, dtype=dtype)
    parameters = inspect.signature(initializer).parameters.values()
    takes_dtype = any(p.name == "dtype" or p.kind is p.VAR_KEYWORD for p in parameters)
    values = initializer(shape, dtype=dtype) if takes_dtype else initializer(shape)
    return as_tensor(values)
