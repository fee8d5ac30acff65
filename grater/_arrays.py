"""Conversion of what users pass as images and masks into JAX arrays."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pytreefit.extend import as_booleans, as_data, as_floats


def real_array(where: str, value: Any, unit: Any = None) -> Array:
    """Data as an array of JAX's default float dtype; what is too large for it is infinite."""
    return as_floats(as_data(where, value, unit))


def boolean_array(where: str, value: Any) -> Bool[Array, "..."]:
    """A mask as an array of booleans."""
    return jnp.asarray(as_booleans(where, value))


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
