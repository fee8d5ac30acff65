"""Coordinates in which a posterior is nearly a standard Gaussian."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._jit import jit
from ..optimize.evaluate import Frame, log_volume, log_volume_curvature
from ..optimize.judge import Calls
from ..optimize.laplace import Laplace
from ..optimize.newton import Climb
from ..optimize.start import refuse_start, start_coordinates
from ..space import coordinate_names, natural_range, prior_only
from .bends import fitted, straight, unbent

_SETTLING, _SETTLED = 20, 0.05  # most steps to the sampled maximum, and the gain to stop at
_SKEW = 0.7  # skewness from which a coordinate is bent
_SOFTEST = 0.1  # least curvature used for whitening, in units of the prior's width


class Whitening(NamedTuple):
    r"""Coordinates v of the sampler, in which the posterior is nearly a standard Gaussian.

    .. math:: w = m + M v, \qquad
              u = \xi + \eta \sinh\left(\frac{\operatorname{arsinh} w + \epsilon}{\delta}\right)

    The second step, by itself for each coordinate, bends the long tails of parameters at the edge
    of their prior (Jones & Pewsey 2009, Biometrika 96, 761); without it eta = delta = 1 and
    epsilon = 0.
    """

    middle: Float[Array, " dim"]
    matrix: Float[Array, "dim dim"]
    bend: Float[Array, "4 dim"]  # xi, eta, epsilon, delta

    @classmethod
    def straight(cls, offset, matrix) -> "Whitening":
        """Coordinates in which u = offset + matrix @ v."""
        zero, one = jnp.zeros_like(offset), jnp.ones_like(offset)
        return cls(zero, matrix, jnp.stack([offset, one, zero, one]))

    def u(self, v: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """Unconstrained coordinates at a point."""
        place, size, skew, tail = self.bend
        return place + size * jnp.sinh((jnp.arcsinh(self.middle + self.matrix @ v) + skew) / tail)

    def log_volume(self, v: Float[Array, " dim"]) -> Float[Array, ""]:
        """Logarithm of the volume element of u, up to a constant."""
        _, _, skew, tail = self.bend
        w = self.middle + self.matrix @ v
        bent = (jnp.arcsinh(w) + skew) / tail
        return jnp.sum(jnp.log(jnp.cosh(bent)) - 0.5 * jnp.log1p(w**2))

    def v(self, u: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
        """Points, in double precision, from unconstrained coordinates: the inverse of ``u``."""
        w = unbent(u, np.asarray(self.bend, float))
        apart = w - np.asarray(self.middle, float)
        return np.linalg.solve(np.asarray(self.matrix, float), apart.T).T


@jit
def bent(whitening: Whitening, points: Float[Array, "n dim"], slopes: Float[Array, "n dim"]):
    """Log volume at each point, and the gradient of it plus of what has these slopes along u."""

    def one(v, slope):
        value, own = jax.value_and_grad(whitening.log_volume)(v)
        _, back = jax.vjp(whitening.u, v)
        return value, own + back(slope)[0]

    return jax.vmap(one)(points, slopes)


def bend_to(u: Float[np.ndarray, "n dim"], dtype) -> Whitening:
    """Coordinates for points drawn from the posterior, bent where their distribution is skew."""
    u = np.asarray(u, float)
    place = u.mean(axis=0)
    bend = straight(len(place))
    bend[0] = place
    width = np.maximum(u.std(axis=0), 1e-300)
    for k in np.flatnonzero(np.abs(np.mean(((u - place) / width) ** 3, axis=0)) > _SKEW):
        bend[:, k] = fitted(u[:, k])
    w = unbent(u, bend)
    covariance = np.cov(w.T).reshape(len(place), -1)
    # as if some more points had no correlations
    shrink = len(u) / (len(u) + 5.0)
    covariance = shrink * covariance + (1.0 - shrink) * np.diag(np.diag(covariance))
    parts = w.mean(axis=0), np.linalg.cholesky(covariance), bend
    return Whitening(*(jnp.asarray(part, dtype) for part in parts))


def coordinates(posterior, start, precondition: str = "auto") -> tuple[Whitening, float]:
    """The sampler's coordinates, and the spread of the first points in them."""
    frame = beginning(posterior, start)
    if precondition == "none" or not hasattr(start, "u"):
        return Whitening.straight(frame.offset, jnp.diag(frame.scale)), 0.1
    if isinstance(start, Laplace):
        sizes = frame.scale[:, None] * frame.scale[None, :]
        # parameters that it held have the prior's width
        held = jnp.diag(jnp.where(jnp.diag(start.covariance_u) > 0.0, 0.0, 1.0))
        hessian = jnp.linalg.inv(start.covariance_u / sizes + held)
        hessian = hessian + log_volume_curvature(prior_only(posterior), frame)
    else:
        frame, hessian = _settle(posterior, frame)
    eigenvalues, vectors = jnp.linalg.eigh(hessian)
    widths = jax.lax.rsqrt(jnp.maximum(eigenvalues, _SOFTEST))
    matrix = frame.scale[:, None] * vectors * widths[None, :]
    return Whitening.straight(frame.offset, matrix), 1.0


def beginning(posterior, start) -> Frame:
    """Where a sampler looks for its coordinates: at the start, but inside of edges of the prior."""
    u = start_coordinates(posterior, start)
    middle, scale = natural_range(posterior)
    edge = np.isin(coordinate_names(posterior), getattr(start, "at_edge", ()))
    inside = middle + jnp.clip(u - middle, -2.0 * scale, 2.0 * scale)
    return Frame(jnp.where(edge, inside, u), scale)


def _settle(posterior, frame: Frame) -> tuple[Frame, Float[Array, "dim dim"]]:
    """From the best fit to the maximum of what is sampled, and the curvature there.

    The volume element of the unconstrained coordinates draws parameters that the data leave open
    away from the edges of their priors, where the curvature says nothing about the width. The
    curvature is the Fisher matrix where there are residuals, otherwise differences of the gradient
    that a fit has compiled already.
    """
    calls = Calls(posterior, squares=posterior.residuals is not None)
    prior = prior_only(posterior)

    def evaluate(frame):
        place = calls.evaluate(frame)
        volumes, slopes = log_volume(prior, frame.offset[None])
        gradient = place.gradient - np.asarray(slopes[0] * frame.scale, float)
        return place._replace(value=place.value - float(volumes[0]), gradient=gradient)

    def curvature(place):
        found = calls.curvature(place)
        volume = np.asarray(log_volume_curvature(prior, place.frame), float)
        return found._replace(matrix=found.matrix + volume)

    climb = Climb(evaluate, curvature, evaluate(frame), _SETTLED)
    climb.run(lambda: len(climb.values) < _SETTLING)
    if not np.isfinite(climb.curvature.matrix).all():
        refuse_start(posterior, climb.place.frame.offset)
    return climb.place.frame, jnp.asarray(climb.curvature.matrix, frame.offset.dtype)
