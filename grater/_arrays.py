"""Conversion of what users pass as images and masks into JAX arrays."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from pytreefit.extend import as_booleans, as_data, as_floats, check_kind, unit_of


def opened(value: Any) -> Any:
    """The numbers of astropy's NDData and uncertainties, with mask and unit; others as they are.

    Uncertainties of whatever kind become standard deviations.
    """
    if hasattr(value, "uncertainty_type"):
        from astropy.nddata import StdDevUncertainty

        value = value.represent_as(StdDevUncertainty)
        return _with_unit(value.array, value.unit)
    if not all(hasattr(value, name) for name in ("uncertainty", "mask", "data", "wcs")):
        return value
    numbers = _with_unit(value.data, value.unit)
    if value.mask is None:
        return numbers
    from astropy.utils.masked import Masked

    return Masked(numbers, mask=value.mask)


def _with_unit(numbers: Any, unit: Any) -> Any:
    from astropy.units import Quantity

    return numbers if unit is None else Quantity(numbers, unit)


def real_array(where: str, value: Any, unit: Any = None) -> Array:
    """Data as an array of JAX's default float dtype; what is too large for it is infinite."""
    return as_floats(as_data(where, opened(value), unit))


def distortion_matrix(value: Any) -> Array | None:
    """The matrix of a `Grid` whose pixels are no squares, or None."""
    return None if value is None else real_array("distortion", value, "")


def image_and_error(owner: str, image: Any, error: Any, unit: Any) -> tuple[Array, Array, str]:
    """An image and its error map as arrays of one shape, and the unit that both are in then.

    Parameters
    ----------
    owner
        Names the arguments in errors.
    image, error, unit
        As users give them: the error may be one number, or None for that of a ``CCDData``; the unit
        an empty string for the image's own.
    """
    error = opened(getattr(image, "uncertainty", None) if error is None else error)
    image = opened(image)
    own = unit_of(image)
    unit = str(unit) if hasattr(unit, "to_string") else unit  # of astropy
    check_kind(f"{owner}.unit", unit, str)
    values = real_array(f"{owner}.image", image, unit or None)
    error = real_array(f"{owner}.error", error, unit_for(error, unit or own, owner, of=own))
    error = jnp.broadcast_to(error, values.shape) if error.ndim == 0 else error
    return values, error, unit or ("" if own is None else str(own))


def as_unit(values: Any, unit: str) -> Any:
    """Numbers as a Quantity, or as they are where astropy does not know the unit."""
    from astropy import units

    try:
        return units.Quantity(values, units.Unit(unit)) if unit else values
    except ValueError:
        return values


def unit_for(
    error: Any, unit: Any, owner: str = "Observation", name: str = "error", of: Any = None
) -> Any:
    """The unit of the image, to which that of the error map is converted if it has one.

    ``name`` is what an argument that is no error map is called, ``of`` the unit that the image was
    given in.

    Raises
    ------
    TypeError
        Where only one of both has a unit, and it matters.
    """
    own = unit_of(error)
    if unit is None and own is not None:
        raise TypeError(
            f"{owner}.{name} is in {own}, but the image has no unit: give the image as a "
            "Quantity, or say what its numbers are in by unit=."
        )
    if own is None and of is not None and of.to(unit) != 1.0:
        raise TypeError(
            f"{owner}.{name} has no unit, and the image is converted from {of} to {unit}: give "
            f"{name} as a Quantity, too."
        )
    return unit


def position(where: str, value: Any) -> tuple[float, float]:
    """A pixel (x, y), zero-based, as two floats.

    Raises
    ------
    TypeError, ValueError
        For other things than two finite numbers.
    """
    x, y = as_data(where, value, "pix", shape=(2,)).tolist()
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"{where} = ({x:g}, {y:g}) is not finite: give a pixel (x, y) from 0.")
    return x, y


def boolean_array(where: str, value: Any) -> Bool[Array, "..."]:
    """A mask as an array of booleans."""
    return jnp.asarray(as_booleans(where, value))


def check_pixels(image: Any, error: Any, mask: Any, owner: str = "Observation") -> None:
    """Refuse arrays of an observation or exposure that disagree, or leave nothing to use."""
    if image.ndim != 2:
        raise ValueError(
            f"{owner}.image has shape {image.shape}; a 2-d image (ny, nx) is needed: "
            "select one plane of a cube, for example image[0]."
        )
    for name, array in (("error", error), ("mask", mask)):
        if array.shape != image.shape:
            raise ValueError(
                f"{owner}.{name} has shape {array.shape}, the image {image.shape}: they must "
                "be the same."
            )
    if any(isinstance(leaf, Tracer) for leaf in (image, error, mask)):
        return
    values = np.asarray(error)
    finite = np.isfinite(np.asarray(image)) & np.isfinite(values)
    used = np.asarray(mask) & finite
    if not used.any():
        raise ValueError(
            f"{owner}.mask leaves no pixel to use: of {used.size} pixels {np.sum(~finite)} "
            "are not finite in the image or the error map, and the mask excludes the others. The "
            "mask is True where a pixel is USED: invert it if it marks bad pixels."
        )
    bad = used & ~(values > 0)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{owner}.error is zero or negative in {bad.sum()} of the {used.sum()} pixels "
            f"in use; the first is {values[row, column]:g} at row {row}, column {column}. "
            "Give these pixels an error > 0, or mask them (mask=, True = used)."
        )


def largest_crop(shape: tuple[int, int], center: Any) -> int:
    """Side of the largest square of pixels about the star."""
    x, y = np.rint(np.asarray(center)).astype(int).tolist()
    ny, nx = shape
    return max(2 * min(x, y, nx - 1 - x, ny - 1 - y) + 1, 0)


def square_about(shape: tuple[int, int], center: Any, size: int) -> tuple[slice, slice]:
    """Rows and columns of the square of an odd number of pixels centred on the star's pixel."""
    if int(size) != size or size < 1 or size % 2 == 0:
        raise ValueError(
            f"crop = {size} must be a positive odd number of pixels, so that the star's pixel "
            "is in the middle."
        )
    middle = np.rint(np.asarray(center)).astype(int)
    largest = largest_crop(shape, center)
    if size > largest:
        raise ValueError(
            f"crop = {size} does not fit into the image of shape {shape} around the star "
            f"at {tuple(middle.tolist())}: the largest crop is {largest}."
        )
    x0, y0 = (middle - int(size) // 2).tolist()
    return slice(y0, y0 + int(size)), slice(x0, x0 + int(size))


def mean_of_blocks(array: Array, n: int) -> Array:
    """Means of n x n pixels; what is left over at the last rows and columns is left out."""
    *front, ny, nx = array.shape
    cut = array[..., : ny // n * n, : nx // n * n]
    return jnp.mean(cut.reshape(*front, ny // n, n, nx // n, n), axis=(-3, -1))


def binned(observation, n: int) -> dict[str, Any]:
    """What of an observation is another in blocks of n x n pixels."""
    if n > min(observation.shape):
        raise ValueError(f"bin: n = {n} pixels is more than the image of {observation.shape} has.")
    used = observation.used
    # errors of about 1, whose squares are in the range of single precision
    largest = jnp.max(jnp.where(used, observation.error, 0.0))
    squares = jnp.square(observation.error / largest)
    image, variance, unused = (
        mean_of_blocks(jnp.where(used, values, 1.0), n)
        for values in (observation.image, squares, jnp.zeros_like(squares))
    )
    changed = {
        "image": image,
        "error": largest * jnp.sqrt(variance) / n,
        "mask": unused == 0.0,
        "pixel_scale": observation.pixel_scale * n,
        "center": (observation.center + 0.5) / n - 0.5,
    }
    starlight = observation.starlight
    if starlight is not None and starlight.references is not None:
        means = mean_of_blocks(starlight.references, n)
        changed["starlight"] = starlight.set({"references": means})
    return changed


def squared_radius(shape: tuple[int, int], center: Float[Array, "2"]) -> Float[Array, "ny nx"]:
    ny, nx = shape
    x = jnp.arange(nx, dtype=center.dtype) - center[0]
    y = jnp.arange(ny, dtype=center.dtype) - center[1]
    return jnp.square(x)[None, :] + jnp.square(y)[:, None]


def field_radius(finite: np.ndarray, center: tuple[float, float], inner: float) -> float:
    """Return the largest whole radius [pixels] out to which the annuli about the star are complete.

    Complete are annuli of half-width 1.5 pixels of which at least 99 % are finite: an isolated bad
    pixel does not end the field.
    """
    ny, nx = finite.shape
    x0, y0 = (float(c) for c in center)
    radius = np.hypot(np.arange(nx)[None, :] - x0, np.arange(ny)[:, None] - y0)
    edge = min(x0, y0, nx - 1 - x0, ny - 1 - y0) - 1.5
    reach = start = int(np.ceil(inner))
    while reach <= edge and finite[np.abs(radius - reach) <= 1.5].mean() >= 0.99:
        reach += 1
    if reach == start:
        raise ValueError(
            f"The field of finite pixels is not complete at {start} pixels from the star, where it "
            "is to begin: give outer= (math.inf for all finite pixels)."
        )
    return float(reach - 1)
