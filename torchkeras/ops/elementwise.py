"""Functions of each element: arithmetic, powers, angles, comparisons, bits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchkeras import dtypes
from torchkeras.ops import promotion
from torchkeras.ops.promotion import as_float, as_float_of_64, cast, common_dtype, no_bool
from torchkeras.ops.table import Operand, Table
from torchkeras.ops.tensors import to_tensor

op = Table("numpy", __name__, is_elementwise=True)
__all__ = op.names

_TO_FLOATS = {"rule": promotion.as_common_float}
# Of one tensor, and torch's function is Keras': integers become floats where numbers do not stay
# integers.
op.rows(
    ("angle(x)", torch.angle, "Return the angle of complex numbers, in radians."),
    ("arccos(x)", torch.arccos, "Return the inverse cosine."),
    ("arccosh(x)", torch.arccosh, "Return the inverse hyperbolic cosine."),
    ("arcsin(x)", torch.arcsin, "Return the inverse sine."),
    ("arcsinh(x)", torch.arcsinh, "Return the inverse hyperbolic sine."),
    ("arctan(x)", torch.arctan, "Return the inverse tangent."),
    ("arctanh(x)", torch.arctanh, "Return the inverse hyperbolic tangent."),
    ("bitwise_invert(x)", torch.bitwise_not, "Flip each bit."),
    ("bitwise_not(x)", torch.bitwise_not, "Flip each bit."),
    ("ceil(x)", torch.ceil, "Round up, to floats.", _TO_FLOATS),
    ("copy(x)", torch.clone, "Return a copy."),
    ("cos(x)", torch.cos, "Return the cosine."),
    ("cosh(x)", torch.cosh, "Return the hyperbolic cosine."),
    ("deg2rad(x)", torch.deg2rad, "Turn degrees into radians.", {"rule": as_float_of_64}),
    ("exp(x)", torch.exp, "Return e to a power.", {"rule": as_float}),
    ("exp2(x)", torch.exp2, "Return 2 to a power.", {"rule": as_float}),
    ("expm1(x)", torch.expm1, "Return exp(x) - 1, exact near 0.", {"rule": as_float}),
    ("floor(x)", torch.floor, "Round down, to floats.", _TO_FLOATS),
    ("i0(x)", torch.i0, "Return Bessel's modified function of order 0.", {"rule": as_float_of_64}),
    ("imag(x)", torch.imag, "Return the imaginary part."),
    ("isfinite(x)", torch.isfinite, "Tell what is neither infinite nor NaN."),
    ("isinf(x)", torch.isinf, "Tell what is infinite."),
    ("isnan(x)", torch.isnan, "Tell what is not a number."),
    ("isneginf(x)", torch.isneginf, "Tell what is minus infinity."),
    ("isposinf(x)", torch.isposinf, "Tell what is plus infinity."),
    ("isreal(x)", torch.isreal, "Tell what has no imaginary part."),
    ("log(x)", torch.log, "Return the natural logarithm."),
    ("log10(x)", torch.log10, "Return the logarithm to base 10."),
    ("log1p(x)", torch.log1p, "Return log(1 + x), exact near 0."),
    ("log2(x)", torch.log2, "Return the logarithm to base 2."),
    ("logical_not(x)", torch.logical_not, "Return what is not true."),
    (
        "nan_to_num(x, nan=0.0, posinf=None, neginf=None)",
        torch.nan_to_num,
        "Put numbers for NaN and infinities, the dtype's largest for these unless given.",
    ),
    ("negative(x)", torch.negative, "Return the numbers with the other sign."),
    ("rad2deg(x)", torch.rad2deg, "Turn radians into degrees.", {"rule": as_float_of_64}),
    ("real(x)", torch.real, "Return the real part."),
    ("reciprocal(x)", torch.reciprocal, "Return 1 / x."),
    ("sign(x)", torch.sign, "Return -1, 0 or 1."),
    ("signbit(x)", torch.signbit, "Tell what is negative, -0.0 included."),
    ("sin(x)", torch.sin, "Return the sine."),
    ("sinc(x)", torch.sinc, "Return sin(pi x) / (pi x)."),
    ("sinh(x)", torch.sinh, "Return the hyperbolic sine."),
    ("sqrt(x)", torch.sqrt, "Return the square root."),
    ("square(x)", torch.square, "Return the squares.", {"rule": no_bool}),
    ("tan(x)", torch.tan, "Return the tangent."),
    ("tanh(x)", torch.tanh, "Return the hyperbolic tangent."),
)

# Of two, where a Python number stays one: torch promotes as Keras does.
op.rows(
    ("add(x1, x2)", torch.add, "Add."),
    ("multiply(x1, x2)", torch.multiply, "Multiply."),
    ("divide(x1, x2)", torch.divide, "Divide, to floats."),
    ("true_divide(x1, x2)", torch.divide, "Divide, to floats."),
    ("power(x1, x2)", torch.pow, "Raise to a power."),
    ("bitwise_left_shift(x, y)", torch.bitwise_left_shift, "Shift bits to the left."),
    ("bitwise_right_shift(x, y)", torch.bitwise_right_shift, "Shift bits to the right."),
    ("left_shift(x, y)", torch.bitwise_left_shift, "Shift bits to the left."),
    ("right_shift(x, y)", torch.bitwise_right_shift, "Shift bits to the right."),
    numbers=True,
)

# Of two tensors.
op.rows(
    ("bitwise_and(x, y)", torch.bitwise_and, "Return the bits that both have."),
    ("bitwise_or(x, y)", torch.bitwise_or, "Return the bits that either has."),
    ("bitwise_xor(x, y)", torch.bitwise_xor, "Return the bits that one of two has."),
    ("equal(x1, x2)", torch.eq, "Tell what is equal."),
    ("gcd(x1, x2)", torch.gcd, "Return the greatest common divisor."),
    ("greater(x1, x2)", torch.gt, "Tell where x1 is greater."),
    ("greater_equal(x1, x2)", torch.ge, "Tell where x1 is greater or equal."),
    ("lcm(x1, x2)", torch.lcm, "Return the least common multiple."),
    ("less(x1, x2)", torch.lt, "Tell where x1 is less."),
    ("less_equal(x1, x2)", torch.le, "Tell where x1 is less or equal."),
    ("logical_and(x1, x2)", torch.logical_and, "Tell where both are true."),
    ("logical_or(x1, x2)", torch.logical_or, "Tell where either is true."),
    ("logical_xor(x1, x2)", torch.logical_xor, "Tell where one of two is true."),
    ("not_equal(x1, x2)", torch.ne, "Tell what differs."),
)

# Of two in their common dtype.
op.rows(
    ("fmax(x1, x2)", torch.fmax, "Return the greater, NaN left out."),
    ("fmin(x1, x2)", torch.fmin, "Return the lesser, NaN left out."),
    ("maximum(x1, x2)", torch.maximum, "Return the greater; NaN where either is."),
    ("minimum(x1, x2)", torch.minimum, "Return the lesser; NaN where either is."),
    rule=promotion.common,
    numbers=True,
)
op.rows(
    ("arctan2(x1, x2)", torch.arctan2, "Return the angle of the point (x2, x1), in radians."),
    ("logaddexp(x1, x2)", torch.logaddexp, "Return log(exp(x1) + exp(x2))."),
    ("logaddexp2(x1, x2)", torch.logaddexp2, "Return log2(2**x1 + 2**x2)."),
    rule=promotion.common_float,
)
op.rows(
    ("heaviside(x1, x2)", torch.heaviside, "Return 0 below 0, 1 above, x2 at 0."),
    ("hypot(x1, x2)", torch.hypot, "Return the length of the vector (x1, x2)."),
    rule=promotion.as_float_common,
)


def _of_other(x: Operand, other: Operand) -> Operand:
    """Bring booleans to the dtype of the other operand."""
    if not isinstance(x, Tensor) or x.dtype is not torch.bool:
        return x
    return x.to(other.dtype if isinstance(other, Tensor) else common_dtype(x, other))


@op.own
def subtract(x1: Operand, x2: Operand) -> Tensor:
    """Subtract; a boolean counts as a number of the other's dtype."""
    return torch.sub(_of_other(x1, x2), _of_other(x2, x1))


@op.own
def absolute(x: Tensor) -> Tensor:
    """Return the absolute value."""
    return x if x.dtype is torch.bool else torch.abs(x)


op.alias(abs=absolute)


@op.own
def fabs(x: Tensor) -> Tensor:
    """Return the absolute value, to floats.

    Raises:
        TypeError: for complex numbers.
    """
    if x.is_complex():
        raise TypeError(f"ops.fabs takes no complex numbers; received {dtypes.name_of(x.dtype)}.")
    return torch.abs(as_float(x))


@op.own
def cbrt(x: Tensor) -> Tensor:
    """Return the cube root, of negative numbers too."""
    x = as_float_of_64(no_bool(x))
    return torch.sign(x) * torch.abs(x) ** (1 / 3)


@op.own
def clip(x: Tensor, x_min: Any, x_max: Any) -> Tensor:
    """Bring what lies outside two bounds to them; a bound of ``None`` is none."""
    x, bounds = no_bool(x), (x_min, x_max)
    if not all(bound is None or isinstance(bound, (int, float)) for bound in bounds):
        bounds = (None if bound is None else to_tensor(bound, device=x.device) for bound in bounds)
    return torch.clip(x, *bounds)


@op.own
def conjugate(x: Tensor) -> Tensor:
    """Return the complex conjugate."""
    return torch.conj(x).resolve_conj()


op.alias(conj=conjugate)


@op.own
def divide_no_nan(x1: Operand, x2: Operand) -> Tensor:
    """Divide, to floats; what is divided by 0 is 0, with a gradient of 0."""
    x1, x2 = promotion.common_float(x1, x2)
    is_zero = x2 == 0
    return torch.where(is_zero, 0, x1 / torch.where(is_zero, 1, x2))


@op.own
def floor_divide(x1: Operand, x2: Operand) -> Tensor:
    """Divide and round down."""
    return torch.floor_divide(x1, x2).to(common_dtype(x1, x2))


@op.own
def mod(x1: Operand, x2: Operand) -> Tensor:
    """Return the rest of a division, of the sign of ``x2``."""
    return torch.remainder(*_numbers(x1, x2))


@op.own
def fmod(x1: Tensor, x2: Operand) -> Tensor:
    """Return the rest of a division, of the sign of ``x1``."""
    x1, x2 = _numbers(x1, x2)
    return torch.fmod(x1 if isinstance(x1, Tensor) else cast(x1, common_dtype(x1), x2), x2)


def _numbers(*xs: Operand) -> list[Operand]:
    """Bring booleans to int32 where there is nothing else."""
    is_bool = common_dtype(*xs) is torch.bool
    return [x.int() if is_bool else x for x in xs]


@op.own(inputs="rtol atol")
def isclose(
    x1: Tensor, x2: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Tell what differs by at most ``atol + rtol * abs(x2)``."""
    x1, x2 = promotion.common(x1, x2)
    if not x1.is_floating_point():
        return torch.eq(x1, x2)
    return torch.isclose(x1, x2, rtol, atol, equal_nan)


@op.own(keras="AllClose", is_elementwise=False)
def allclose(
    x1: Tensor, x2: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Tell whether nothing differs by more than ``atol + rtol * abs(x2)``."""
    return torch.all(isclose(x1, x2, rtol, atol, equal_nan))


@op.own
def ldexp(x1: Tensor, x2: Tensor) -> Tensor:
    """Return ``x1 * 2**x2``.

    Raises:
        TypeError: when ``x2`` holds no integers.
    """
    if x2.is_floating_point() or x2.dtype is torch.bool:
        raise TypeError(f"ops.ldexp: x2 must hold integers; received {dtypes.name_of(x2.dtype)}.")
    dtype = common_dtype(x1, x2, float)
    # Of one shape: torch complains where it broadcasts half precision here.
    return torch.ldexp(*torch.broadcast_tensors(x1, x2)).to(dtype)


@op.own
def nextafter(x1: Tensor, x2: Tensor) -> Tensor:
    """Return the double-precision number next to ``x1`` towards ``x2``, in their dtype."""
    return torch.nextafter(x1.double(), x2.double()).to(common_dtype(x1, x2, float))


@op.own
def round(x: Tensor, decimals: int = 0) -> Tensor:
    """Round, halves to even numbers, to some digits behind the point."""
    if x.is_floating_point() or x.dtype is torch.bool:
        return torch.round(x, decimals=decimals)
    return torch.round(as_float(x), decimals=decimals).to(x.dtype)


@op.own
def trunc(x: Tensor) -> Tensor:
    """Round towards 0."""
    return x if x.dtype is torch.bool else torch.trunc(x)
