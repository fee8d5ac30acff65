"""The one door for arrays: what users pass as data becomes plain float64 on the host."""

from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

_LINEAR = (
    "is in {unit}, which is logarithmic; it must be linear. For magnitudes m with errors m_err "
    "pass flux = 10**(-0.4 * (m - median(m))) and flux_err = 0.921 * flux * m_err."
)


def as_data(
    where: str,
    value: Any,
    unit: Any = None,
    *,
    ndim: int | tuple[int, ...] | None = None,
    shape: tuple[int, ...] | None = None,
) -> np.ndarray:
    """Data as a new array of native float64, whatever kind of array they come in.

    Taken are numbers, lists, arrays of NumPy, JAX, pandas and others (integers, any byte order,
    read-only), and astropy's ``Quantity``, ``Column``, ``TimeDelta`` and ``Masked``. Masked
    entries become NaN. Values traced by JAX are returned as they are, checked for shape only.

    Parameters
    ----------
    where
        What errors call the value, such as ``"Observation.image"``.
    value
        The data.
    unit
        Unit to convert to where the data have one; None takes the numbers in their own unit.
        Data without a unit are taken to be in this one.
    ndim
        Allowed numbers of dimensions.
    shape
        Required shape.

    Raises
    ------
    TypeError
        If the value holds no real numbers, or is in magnitudes or a unit of another dimension.
    ValueError
        If its rank or shape is wrong.

    Examples
    --------
    >>> as_data("Observation.image", np.ma.masked_equal([1, 2, -9], -9)).tolist()
    [1.0, 2.0, nan]
    """
    if isinstance(value, Tracer):
        check_shape(where, value, ndim, shape)
        return value  # pyright: ignore[reportReturnType]
    value, mask = _plain(where, value, unit)
    array = _real(where, value)
    with np.errstate(over="ignore"):  # of long doubles
        array = array.astype(np.float64)
    if mask is not None:
        array[np.broadcast_to(mask, array.shape)] = np.nan
    check_shape(where, array, ndim, shape)
    return array


def as_booleans(where: str, value: Any, *, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """A mask as booleans; masked entries become False. TypeError for anything but booleans."""
    if isinstance(value, Tracer):
        check_shape(where, value, None, shape)
        return value  # pyright: ignore[reportReturnType]
    value, mask = without_mask(value)
    array = _array(where, value)
    if array.dtype != bool:
        raise TypeError(
            f"{where} holds {_kind(array)}, not booleans: pass True where the data are used, for "
            "example flags == 0."
        )
    array = array if mask is None else array & ~mask
    check_shape(where, array, None, shape)
    return array


def as_integers(where: str, value: Any, *, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Labels as int64. TypeError for anything but integers, ValueError for masked entries."""
    value, mask = without_mask(value)
    if mask is not None and np.any(mask):
        raise ValueError(f"{where} has masked entries: give each point a number.")
    array = _array(where, value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{where} holds {_kind(array)}, not integers: number them 0, 1, 2 ...")
    check_shape(where, array, None, shape)
    return array.astype(np.int64)


def as_number(where: str, value: Any, unit: Any = None) -> float:
    """One finite real number. TypeError for another kind, ValueError for a shape, NaN, infinity."""
    number = float(as_data(where, value, unit, shape=()))
    if not np.isfinite(number):
        raise ValueError(f"{where} = {number} is not a finite number.")
    return number


def as_whole_numbers(where: str, value: Any, least: int = 0) -> tuple[int, ...]:
    """One or several whole numbers, none below ``least``, as a tuple."""
    array = np.atleast_1d(as_data(where, value))
    if array.ndim > 1 or not array.size:
        raise ValueError(f"{where} has shape {array.shape}: pass one or several whole numbers.")
    if not np.all((array == np.round(array)) & (array >= least) & np.isfinite(array)):
        raise ValueError(f"{where} = {_short(value)} must hold whole numbers >= {least}.")
    return tuple(int(entry) for entry in array)


def as_whole_number(where: str, value: Any, least: int = 0) -> int:
    """One whole number that is not below ``least``."""
    number = float(as_data(where, value, shape=()))
    if not (number.is_integer() and number >= least):
        raise ValueError(f"{where} = {number:g} must be a whole number >= {least}.")
    return int(number)


def check_kind(where: str, value: Any, kind: Any) -> None:
    """TypeError unless a value is an instance of a class, or of a union such as ``str | None``."""
    if not isinstance(value, kind):
        needed = getattr(kind, "__name__", str(kind))
        raise TypeError(f"{where} is a {type(value).__name__} but must be a {needed}.")


def check_choice(where: str, value: Any, choices: Collection[str | int]) -> None:
    """ValueError unless a value is one of some names or numbers."""
    # arrays compare entry by entry, and True is 1
    plain = isinstance(value, str | int | np.integer) and not isinstance(value, bool)
    if not plain or value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"{where} = {_short(repr(value))} is unknown: choose one of {known}.")


def as_mapping(where: str, value: Any) -> dict:
    """A mapping as a dictionary; empty for None."""
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{where} is a {type(value).__name__}: pass a dictionary.")
    return dict(value or {})


def as_floats(array: Any) -> jax.Array:
    """Data as an array of JAX's default float type; what is too large for it becomes infinite."""
    with np.errstate(over="ignore"):
        return jnp.asarray(array, jnp.result_type(float))


def unit_of(value: Any) -> Any:
    """The astropy unit of a Quantity or Column, None for data without one."""
    unit = getattr(value, "unit", None)
    return unit if hasattr(unit, "to") else None


def check_shape(
    where: str,
    value: Any,
    ndim: int | tuple[int, ...] | None = None,
    shape: tuple[int, ...] | None = None,
) -> None:
    """Raise ValueError unless an array has the rank or the shape that it must have."""
    found = np.shape(value)
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if allowed is not None and len(found) not in allowed:
        kinds = {0: "a number", 1: "one-dimensional", 2: "two-dimensional (ny, nx)"}
        expected = " or ".join(kinds.get(n, f"{n}-dimensional") for n in allowed)
        raise ValueError(f"{where} has shape {found} but must be {expected}.")
    if shape is not None and found != shape:
        raise ValueError(f"{where} has shape {found} but must have shape {shape}.")


def plain_numbers(where: str, value: Any, unit: Any) -> Any:
    """The numbers of a quantity in a unit (None: its own); anything else as it is."""
    found = unit_of(value)
    if found is None:
        if hasattr(value, "magnitude") and hasattr(value, "units"):
            raise TypeError(
                f"{where} is a quantity of another library than astropy: convert it and pass plain "
                "numbers."
            )
        return value
    if _is_logarithmic(found) and str(found) != str(unit):
        raise TypeError(f"{where} " + _LINEAR.format(unit=found))
    numbers = np.asarray(value.value if hasattr(value, "to_value") else value)
    if unit is None:
        return numbers
    try:
        factor = found.to(unit)
    except (TypeError, ValueError) as error:
        expected = f"unit {str(unit)!r}" if str(unit) else "a dimensionless number"
        raise TypeError(
            f"{where} = {_short(value)} cannot be converted to {expected}: {error}. "
            "Pass a plain number or a quantity of that dimension."
        ) from None
    return numbers if factor == 1.0 else numbers * factor


def _plain(where: str, value: Any, unit: Any) -> tuple[Any, Any]:
    """Numbers without unit, and the mask or None."""
    if hasattr(value, "jd1") and hasattr(value, "to_value"):  # astropy's Time and TimeDelta
        if not hasattr(value, "to"):
            raise TypeError(
                f"{where} is a {type(value).__name__}: pass plain numbers, such as its .jd minus a "
                "reference, or a TimeDelta."
            )
        value = value.to("d")
    value, mask = without_mask(value)
    return plain_numbers(where, value, unit), mask


def without_mask(value: Any) -> tuple[Any, Any]:
    """The value and its mask, of NumPy's and of astropy's masked arrays; None for no mask."""
    if isinstance(value, np.ma.MaskedArray):
        return np.ma.getdata(value), value.mask
    if hasattr(value, "unmasked") and hasattr(value, "mask"):
        return value.unmasked, np.asarray(value.mask)
    return value, None


def _array(where: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{where} cannot be made an array: {error}. Pass one array, or one astropy Quantity in "
            "place of a list of them."
        ) from None


def _is_logarithmic(unit: Any) -> bool:
    """Whether a unit is of magnitudes, decibels or the like."""
    if hasattr(unit, "function_unit"):  # such as that of astropy's Magnitude
        return True
    bases = getattr(unit.decompose(), "bases", ())
    return any(str(base) == "dex" for base in bases)


def _real(where: str, value: Any) -> np.ndarray:
    array = _array(where, value)
    if array.dtype == bool:
        raise TypeError(f"{where} holds booleans, not real numbers: pass True or False as a mask.")
    if not (jnp.issubdtype(array.dtype, np.integer) or jnp.issubdtype(array.dtype, np.floating)):
        raise TypeError(
            f"{where} holds {_kind(array)}, not real numbers: pass floats, with NaN for what is "
            "missing, or an astropy Quantity."
        )
    return array


def _kind(array: np.ndarray) -> str:
    names = {"O": "objects", "U": "strings", "S": "strings", "M": "dates", "b": "booleans"}
    return names.get(array.dtype.kind, str(array.dtype))


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) < 80 else f"{text[:60]} ..."
