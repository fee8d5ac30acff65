"""Each point of a light curve predicted from all the others, see `GPSolver.leave_one_out`."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pytreefit import jit

from ..solvers.base import AbstractSolver
from ..solvers.points import Points
from .process import Process


class LeaveOneOut(NamedTuple):
    """Predictions of each point from all the others; of `GPSolver.leave_one_out`.

    Parameters
    ----------
    mean
        Predicted flux, shape (n,).
    variance
        Of the flux about it, shape (n,): of the prediction, the point's own white noise included.
    residual
        Standardised: flux less mean, over the root of the variance, shape (n,). Of the standard
        normal distribution if the model is right, but not independent of each other.

    Where no other point says anything about the level (a single point in a segment with an offset
    of its own), and for what fills a light curve up to a common length, ``mean`` and ``residual``
    are NaN and ``variance`` is infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import *
    >>> quiet = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=3.0, tau_spot=2.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=1e-6,
    ... )
    >>> flux, priors = [1.0, 1.1, 1.2], {"sigma_k": None}
    >>> left_out = GPSolver(np.arange(3.0), flux, 0.1, quiet, priors=priors).leave_one_out()
    >>> print(left_out.mean.round(3))  # of white noise the mean of the two others
    [1.15 1.1  1.05]
    >>> print(left_out.variance.round(3))  # the point's own, and half of it for their mean
    [0.015 0.015 0.015]
    """

    mean: Float[Array, "n"]
    variance: Float[Array, "n"]
    residual: Float[Array, "n"]

    @property
    def log_density(self) -> Float[Array, "n"]:
        """Logarithm of the density of each flux given all the others, shape (n,)."""
        return -0.5 * (self.residual**2 + jnp.log(2.0 * math.pi * self.variance))

    @property
    def log_score(self) -> Float[Array, ""]:
        """Sum of `log_density` over the points that can be predicted.

        For comparing models of the same data, binned alike: it does not depend on priors. But it
        tells how well gaps of one point are filled, where the neighbours know nearly everything,
        not how well the light curve is foreseen; it is no likelihood, and its differences have
        errors of their own, about the root of n times the scatter of the points' differences.
        """
        return jnp.sum(jnp.where(jnp.isfinite(self.variance), self.log_density, 0.0))


@jit
def leave_one_out(solver: AbstractSolver, process: Process) -> LeaveOneOut:
    """See `GPSolver.leave_one_out`; NaN in all variances where the likelihood is not finite."""
    points = solver.points
    weights, diagonal = solver.leave_one_out(process)
    known = _known_from_others(points) & (points.real > 0)
    spread = jax.lax.rsqrt(jnp.where(known, diagonal, 1.0))
    return LeaveOneOut(
        mean=jnp.where(known, points.flux - weights * spread**2, jnp.nan),
        variance=jnp.where(known, spread**2, jnp.inf),
        residual=jnp.where(known, weights * spread, jnp.nan),
    )


def _known_from_others(points: Points):
    """Whether the other points determine all the amplitudes of free columns that matter to a point.

    They don't where it alone lies in the columns' range: its row of the projector onto that is 1.
    """
    columns = points.columns * points.real[:, None]
    if not columns.shape[1]:
        return jnp.ones_like(points.time, bool)
    left, values, _ = jnp.linalg.svd(columns, full_matrices=False)
    tolerance = jnp.sqrt(jnp.finfo(values.dtype).eps)
    leverage = jnp.sum(jnp.where(values > tolerance * values[0], left, 0.0) ** 2, axis=1)
    return leverage < 1.0 - tolerance
