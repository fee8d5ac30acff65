"""Conversion of what users pass as images and masks into JAX arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float


def real_array(name: str, value: Any) -> Array:
    """Return the value as an array of JAX's default float dtype, in native byte order."""
    dtype = jnp.result_type(float)
    if isinstance(value, jax.Array):
        kind = value.dtype.kind
    else:
        value = getattr(value, "value", value)  # an astropy Quantity or Column
        if isinstance(value, np.ma.MaskedArray):
            value = np.ma.filled(value.astype(np.float64), np.nan)
        value = np.asarray(value)
        kind = value.dtype.kind
    if kind not in "fiu" and value.dtype != jnp.bfloat16:
        raise TypeError(
            f"Observation.{name} must hold real numbers; its dtype is {value.dtype}."
            + (" Pass mask= for booleans." if kind == "b" else "")
        )
    if isinstance(value, np.ndarray):
        with np.errstate(over="ignore"):  # what overflows is infinite, and so masked and counted
            return jnp.asarray(value.astype(np.dtype(dtype)))
    return value.astype(dtype)


def boolean_array(name: str, value: Any) -> Bool[Array, "..."]:
    value = value if isinstance(value, jax.Array) else np.asarray(value)
    if value.dtype != bool:
        raise TypeError(
            f"Observation.{name} must hold booleans, True where a pixel is used; its dtype is "
            f"{value.dtype}. Convert it, for example {name}=(flags == 0)."
        )
    return jnp.asarray(value)


def check_shape(name: str, value: Array, shape: tuple[int, ...]) -> None:
    if value.shape != shape:
        raise ValueError(
            f"Observation.{name} has shape {value.shape}, the image {shape}: they must be the same."
        )


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
