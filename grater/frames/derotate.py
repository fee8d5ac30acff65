"""Frames turned North up, for pictures of a sequence."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pytreefit import jit


@jit
def derotated(
    images: Float[Array, "n ny nx"],
    used: Bool[Array, "n ny nx"],
    angles: Float[Array, " n"],
    centers: Float[Array, "n 2"],
    center: Float[Array, " 2"],
) -> Float[Array, "n ny nx"]:
    r"""Frames turned so that North is up, by bicubic interpolation (Keys 1981, a = -1/2).

    .. math::

        x_e = X \cos\phi_e + Y \sin\phi_e, \qquad y_e = -X \sin\phi_e + Y \cos\phi_e

    with offsets (X, Y) from the star to the West and to the North, and (x, y) on the detector.

    Parameters
    ----------
    images, used
        On the detector; which pixels count.
    angles
        Position angle of the detector's +y axis, degrees.
    centers, center
        The star (x, y) in each frame, and in all of what is returned.

    Returns
    -------
    array
        NaN where one of the 16 pixels about a point does not count.
    """
    ny, nx = images.shape[1:]
    y, x = (jnp.asarray(axis, images.dtype) for axis in np.indices((ny, nx)))
    west, north = x - center[0], y - center[1]

    def turned(image, used, angle, at):
        sine, cosine = jnp.sin(jnp.deg2rad(angle)), jnp.cos(jnp.deg2rad(angle))
        column = at[0] + west * cosine + north * sine
        row = at[1] - west * sine + north * cosine
        (first, across), (lowest, up) = _weights(column), _weights(row)
        total, valid = jnp.zeros_like(image), jnp.ones_like(used)
        for i in range(4):
            for j in range(4):
                rows, columns = lowest + i, first + j
                inside = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
                there = jnp.clip(rows, 0, ny - 1), jnp.clip(columns, 0, nx - 1)
                weight = up[i] * across[j]
                counts = (inside & used[there]) | (weight == 0.0)
                valid = valid & counts
                total = total + jnp.where(counts, weight * image[there], 0.0)
        return jnp.where(valid, total, jnp.nan)

    return jax.vmap(turned)(images, used, angles, centers)


def _weights(position):
    """The first of four pixels about a position, and the weight of each."""
    # a hair of rounding shall not ask for pixels beyond the edge
    nearest = jnp.round(position)
    slack = 1e-9 if position.dtype == jnp.float64 else 1e-4
    position = jnp.where(jnp.abs(position - nearest) < slack, nearest, position)
    floor = jnp.floor(position)
    t = position - floor
    weights = (
        t * (-0.5 + t * (1.0 - 0.5 * t)),
        1.0 + t**2 * (-2.5 + 1.5 * t),
        t * (0.5 + t * (2.0 - 1.5 * t)),
        t**2 * (-0.5 + 0.5 * t),
    )
    return floor.astype(int) - 1, weights
