"""A radial profile of free shape: through the densities at some radii."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import param
from pytreefit.extend import fast_log, is_traced

from .density import AbstractRadialProfile


class SplineProfile(AbstractRadialProfile):
    r"""Free radial profile: a smooth positive curve through values, power laws on either side.

    .. math::
        \ln \rho(q) = S(\ln q), \quad S(\ln q_k) = \ln v_k, \quad S(0) = 0, \quad
        S' = \alpha_{in}, \alpha_{out}

    with :math:`S` the cubic spline in :math:`\ln q` through all knots and through the value 1 at
    the reference radius, which fixes the scale. At its outermost knots it has the slopes of the
    power laws that go on from there.

    Parameters
    ----------
    knots
        Radii in units of the reference ellipse, shape (n,), increasing, > 0, without 1.
    values
        Density there relative to that at 1, shape (n,), > 0.
    alpha_in
        Slope inside of the knots, > 0.
    alpha_out
        Slope outside of the knots, < 0.

    Raises
    ------
    ValueError
        If knots are out of order or at the reference radius, and for another number of values.

    Notes
    -----
    Keep ``semi_major_axis`` fixed in a fit: moving it and all values is the same.

    Examples
    --------
    >>> two_rings = SplineProfile([0.7, 0.85, 1.3], [0.9, 0.2, 0.1], alpha_in=8, alpha_out=-4)
    >>> round(float(two_rings.density(0.85)), 6)
    0.2
    """

    knots: Float[Array, " n"] = param(
        shape=None, bounds="(0, inf)", label="$q_k$", doc="radii, in reference radii"
    )
    values: Float[Array, " n"] = param(
        shape=None, bounds="(0, inf)", label="$v_k$", doc="density relative to that at 1"
    )
    alpha_in: Float[Array, ""] = param(bounds="(0, inf)", label=r"$\alpha_{in}$", doc="inner slope")
    alpha_out: Float[Array, ""] = param(
        bounds="(-inf, 0)", label=r"$\alpha_{out}$", doc="outer slope"
    )

    def __check_init__(self):
        if self.knots.shape != self.values.shape or self.knots.size < 1:
            raise ValueError(
                f"SplineProfile.knots has shape {self.knots.shape} and .values has shape "
                f"{self.values.shape}. Give one value for each of at least one knot."
            )
        if is_traced(self.knots):
            return
        if not np.all(np.diff(self.knots) > 0):
            raise ValueError(f"SplineProfile.knots = {self.knots} must increase.")
        if np.any(np.abs(self.knots - 1.0) < 1e-3):
            raise ValueError(
                f"SplineProfile.knots = {self.knots} has a knot at the reference radius. The value "
                "there is 1 by definition: leave that knot out."
            )

    def prepared(self):
        order = jnp.argsort(jnp.append(self.knots, 1.0))
        x = jnp.log(jnp.append(self.knots, 1.0)[order])
        y = jnp.append(jnp.log(self.values), 0.0)[order]
        slopes = _clamped_slopes(x, y, self.alpha_in, self.alpha_out)
        step, secant = jnp.diff(x), jnp.diff(y) / jnp.diff(x)
        second = (6.0 * secant[0] - 4.0 * slopes[0] - 2.0 * slopes[1]) / step[0]
        third = 6.0 * (slopes[:-1] + slopes[1:] - 2.0 * secant) / step**2
        jumps = jnp.diff(third, prepend=jnp.zeros(1, third.dtype))
        start = jnp.stack([y[0], self.alpha_in, second])
        return _Powers(x, start, jumps, self.alpha_out)

    def density(self, q):
        return self.prepared().density(q)


class _Powers(AbstractRadialProfile):
    """The spline in truncated powers: no search for the interval and no gather."""

    x: Float[Array, " n"]
    start: Float[Array, " 3"]  # value and two derivatives at the first knot
    jumps: Float[Array, " m"]  # of the third derivative, at all knots but the last
    alpha_out: Float[Array, ""]

    def density(self, q):
        log_q, first, last = fast_log(q), self.x[0], self.x[-1]
        t = jnp.clip(log_q, first, last) - first
        value, slope, second = self.start
        log_density = value + t * (slope + 0.5 * second * t)
        for k in range(self.jumps.size):
            above = jnp.maximum(t - (self.x[k] - first), 0.0)
            log_density = log_density + self.jumps[k] * (above * above * above) / 6.0
        inside, outside = jnp.minimum(log_q - first, 0.0), jnp.maximum(log_q - last, 0.0)
        return jnp.exp(log_density + slope * inside + self.alpha_out * outside)


def _clamped_slopes(x, y, first, last):
    """Slopes at the knots of the cubic spline that has given ones at its ends."""
    step, secant = jnp.diff(x), jnp.diff(y) / jnp.diff(x)
    if x.size == 2:
        return jnp.stack([first, last])
    before, after = step[:-1], step[1:]
    matrix = jnp.diag(2.0 * (before + after)) + jnp.diag(before[:-1], 1) + jnp.diag(after[1:], -1)
    right = 3.0 * (after * secant[:-1] + before * secant[1:])
    right = right.at[0].add(-after[0] * first).at[-1].add(-before[-1] * last)
    return jnp.concatenate([first[None], jnp.linalg.solve(matrix, right), last[None]])
