"""Parameters: fields of a model with a unit, bounds and a shape."""

import dataclasses
import math
import re
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ._fork import refuse_fork
from .arrays import as_number, check_kind, plain_numbers, without_mask

KEY = "pytreefit"  # of the parameter's information in the metadata of its field
_INTERVAL = re.compile(r"\s*([\[(])\s*([^,\s]+)\s*,\s*([^,\s]+)\s*([\])])\s*")


@dataclasses.dataclass(frozen=True)
class ParamInfo:
    """What is known about a parameter besides its value, as told to :func:`pytreefit.param`.

    Parameters
    ----------
    unit
        Unit of the stored number.
    lower, upper
        Bounds.
    lower_open, upper_open
        Whether the bounds themselves are excluded.
    label, doc
        For plots, None for the path; and what the parameter is.
    shape
        Of the value; None is any one-dimensional array.
    mirror
        The value about which the parameter is mirrored, or None.

    Raises
    ------
    ValueError
        If ``mirror`` is not inside the bounds.

    Examples
    --------
    >>> eccentricity = ParamInfo(lower=0.0, upper=1.0, lower_open=False)
    >>> eccentricity.bounds, eccentricity.contains([0.0, 1.0]).tolist()
    ('[0, 1)', [True, False])
    """

    unit: str = ""
    lower: float = -math.inf
    upper: float = math.inf
    lower_open: bool = True
    upper_open: bool = True
    label: str | None = None
    doc: str = ""
    shape: tuple[int, ...] | None = ()
    mirror: float | None = None

    def __post_init__(self):
        if self.mirror is not None and not self.lower < self.mirror < self.upper:
            raise ValueError(f"mirror = {self.mirror:g} must be inside the bounds, {self.bounds}.")

    @property
    def ends(self) -> tuple[float, ...]:
        """The values beyond which there is no other model: finite bounds, and the mirror."""
        mirror = () if self.mirror is None else (self.mirror,)
        return tuple(end for end in (self.lower, self.upper, *mirror) if math.isfinite(end))

    @property
    def bounds(self) -> str:
        """The bounds in interval notation, such as ``"[0, 1)"``."""
        left, right = "(" if self.lower_open else "[", ")" if self.upper_open else "]"
        return f"{left}{self.lower:g}, {self.upper:g}{right}"

    def contains(self, value) -> np.ndarray:
        """Whether each entry of a concrete array lies inside the bounds (same shape, bool)."""
        value = np.asarray(value)
        # The bounds are rounded to the value's precision, so that float32(0.1) is inside [0, 0.1].
        lower, upper = np.asarray(self.lower, value.dtype), np.asarray(self.upper, value.dtype)
        above = value > lower if self.lower_open else value >= lower
        below = value < upper if self.upper_open else value <= upper
        return above & below


def _parse_bounds(bounds: str) -> dict[str, Any]:
    match = _INTERVAL.fullmatch(bounds)
    try:
        left, lower, upper, right = match.groups()  # pyright: ignore[reportOptionalMemberAccess]
        lower, upper = float(lower), float(upper)
    except (AttributeError, ValueError):
        raise ValueError(
            f"bounds={bounds!r} is not an interval: write it like '[0, 1)' or '(0, inf)'."
        ) from None
    if not lower < upper:
        raise ValueError(f"bounds={bounds!r} is empty: the lower bound must be below the upper.")
    return {"lower": lower, "upper": upper, "lower_open": left == "(", "upper_open": right == ")"}


class Converter:
    """Makes a float array of whatever the user passes; errors name the field."""

    def __init__(self, unit: str, where: str = "parameter"):
        self.unit = unit
        self.where = where

    def __call__(self, value):
        refuse_fork()
        value, mask = without_mask(value)
        if mask is not None and np.any(mask):
            raise TypeError(f"{self.where} is masked: a parameter needs a value.")
        value = plain_numbers(self.where, value, self.unit)
        try:
            if not all(map(_is_real, jax.tree.leaves(value, is_leaf=lambda leaf: leaf is None))):
                raise TypeError
            return jnp.asarray(value, dtype=jnp.result_type(float))
        except (TypeError, ValueError):
            raise TypeError(
                f"{self.where} = {value!r} is not a real number: pass an int, a float, an array "
                "of them or an astropy Quantity."
            ) from None


def _is_real(leaf) -> bool:
    if hasattr(leaf, "dtype"):
        return jnp.issubdtype(leaf.dtype, np.integer) or jnp.issubdtype(leaf.dtype, np.floating)
    return isinstance(leaf, int | float) and not isinstance(leaf, bool)


def param(
    *,
    unit: str = "",
    bounds: str = "(-inf, inf)",
    label: str | None = None,
    doc: str = "",
    default: Any = dataclasses.MISSING,
    shape: tuple[int, ...] | None = (),
    mirror: float | None = None,
) -> Any:
    """Declare a field of a :class:`pytreefit.Model` to be a parameter, one that can be fitted.

    Whatever is passed for it (int, float, NumPy or JAX array, `astropy.units.Quantity`) becomes
    an array of JAX's default float type, checked against the bounds and the shape.

    Parameters
    ----------
    unit
        The unit of the stored number, in astropy's spelling; ``""`` is dimensionless.
    bounds
        The allowed values in interval notation: ``"[0, 1)"``, ``"(0, inf)"``.
    label
        Label for plots (LaTeX allowed); the path if not given.
    doc
        One sentence that says what the parameter is.
    default
        The value if none is passed; without it the parameter is required.
    shape
        Shape of the value; None is any one-dimensional array.
    mirror
        Value on whose two sides models are the same: a prior that ends there leaves nothing out.

    Raises
    ------
    ValueError
        If ``bounds`` is not an interval, or ``mirror`` is not inside of it.

    Examples
    --------
    >>> from pytreefit import Model, param
    >>> class Line(Model):
    ...     slope: jax.Array = param(unit="m / s", bounds="[0, inf)", doc="Speed.")
    >>> Line(slope=2).parameters()
    path   value  unit   bounds    doc
    -----  -----  -----  --------  ------
    slope  2      m / s  [0, inf)  Speed.
    """
    for name, text in {"unit": unit, "bounds": bounds, "doc": doc}.items():
        check_kind(f"param: {name}", text, str)
    check_kind("param: label", label, str | None)
    info = ParamInfo(
        unit=unit,
        label=label,
        doc=doc,
        shape=None if shape is None else tuple(shape),
        mirror=mirror if mirror is None else as_number("param: mirror", mirror),
        **_parse_bounds(bounds),
    )
    return eqx.field(converter=Converter(unit), metadata={KEY: info}, default=default)


def is_traced(value) -> bool:
    """Whether a value is known only to a JAX transformation, so that it cannot be checked."""
    return isinstance(value, Tracer)


def check_value(where: str, value, info: ParamInfo, leading: int = 0) -> None:
    """Raise ValueError unless a value has the right shape and, if concrete, is inside its bounds.

    ``leading`` is the number of batch axes in front of the parameter's own shape.
    """
    shape = jnp.shape(value)[leading:]
    right = len(shape) == 1 if info.shape is None else shape == info.shape
    if not right:
        expected = "one-dimensional" if info.shape is None else f"of shape {info.shape}"
        raise ValueError(
            f"{where} has shape {shape} but must be {expected}. "
            "To hold many values at once use pytreefit.vary or equinox.filter_vmap."
        )
    if is_traced(value):
        return
    array = np.asarray(value)
    unit = f" {info.unit}" if info.unit else ""
    for good, problem in (
        (np.isfinite(array), "is not finite. Allowed are finite values inside"),
        (info.contains(array), "is outside"),
    ):
        if not good.all():
            index = tuple(int(i) for i in np.argwhere(~good)[0])
            at = f"[{', '.join(map(str, index))}]" if index else ""
            raise ValueError(
                f"{where}{at} = {array[index]:.9g}{unit} {problem} {info.bounds}{unit}. "
                "Pass a value inside these bounds."
            )
