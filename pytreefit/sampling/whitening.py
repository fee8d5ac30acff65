"""Coordinates in which a posterior is nearly a standard Gaussian."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..optimize.evaluate import Frame, log_volume, log_volume_curvature
from ..optimize.laplace import Laplace, curvature_at
from ..optimize.minimisers import least_squares, value_and_gradient
from ..optimize.start import start_coordinates
from ..space import coordinate_names, natural_range, prior_only

_SETTLING, _SETTLED = 20, 0.05  # most steps to the sampled maximum, and the gain to stop at
_SOFTEST = 0.1  # least curvature used for whitening, in units of the prior's width


class Whitening(NamedTuple):
    """Coordinates v of the sampler: u = offset + matrix @ v."""

    offset: Float[Array, " dim"]
    matrix: Float[Array, "dim dim"]


def coordinates(posterior, start, precondition: str = "auto") -> tuple[Whitening, float]:
    """The sampler's coordinates, and the spread of the first points in them."""
    u = start_coordinates(posterior, start)
    middle, scale = natural_range(posterior)
    if precondition == "none" or not hasattr(start, "u"):
        return Whitening(u, jnp.diag(scale)), 0.1
    edge = np.isin(coordinate_names(posterior), getattr(start, "at_edge", ()))
    inside = middle + jnp.clip(u - middle, -2.0 * scale, 2.0 * scale)
    frame = Frame(jnp.where(edge, inside, u), scale)
    if isinstance(start, Laplace):
        hessian = jnp.linalg.inv(start.covariance_u / (scale[:, None] * scale[None, :]))
    else:
        frame, hessian = _settle(posterior, frame)
    volume = log_volume_curvature(prior_only(posterior), frame)
    eigenvalues, vectors = jnp.linalg.eigh(hessian + volume)
    widths = jax.lax.rsqrt(jnp.maximum(eigenvalues, _SOFTEST))
    return Whitening(frame.offset, scale[:, None] * vectors * widths[None, :]), 1.0


def _settle(posterior, frame: Frame):
    """From the best fit to the maximum of what is sampled, and the curvature there.

    The volume element of the unconstrained coordinates draws parameters that the data leave open
    away from the edges of their priors, where the curvature says nothing about the width. The
    curvature is the Fisher matrix where there are residuals, otherwise differences of the gradient
    that a fit has compiled already, or second derivatives in single precision.
    """
    double = frame.offset.dtype == np.float64
    prior, zero = prior_only(posterior), jnp.zeros_like(frame.offset)

    def target(frame):
        if posterior.residuals is None:
            value, gradient = value_and_gradient(posterior, frame, zero)
            hessian = None
        else:
            value, gradient, hessian = least_squares(posterior, frame, zero)
        volumes, slopes = log_volume(prior, frame.offset[None])
        return value - volumes[0], gradient - slopes[0] * frame.scale, hessian

    def curvature(frame, hessian):
        if hessian is not None:
            return hessian
        return curvature_at(posterior, frame, "differences" if double else "hessian")

    value, gradient, hessian = target(frame)
    hessian = curvature(frame, hessian)
    for _ in range(_SETTLING):
        total = hessian + log_volume_curvature(prior, frame)
        eigenvalues, vectors = jnp.linalg.eigh(total)
        step = -vectors @ ((vectors.T @ gradient) / jnp.maximum(eigenvalues, _SOFTEST))
        if not -0.5 * gradient @ step > _SETTLED:
            break
        step = step / jnp.maximum(1.0, jnp.max(jnp.abs(step)))
        for shrink in (1.0, 0.3, 0.1):
            trial = Frame(frame.offset + shrink * frame.scale * step, frame.scale)
            there = target(trial)
            if there[0] < value:
                frame, (value, gradient, hessian) = trial, there
                hessian = curvature(frame, hessian)
                break
        else:
            break
    return frame, hessian
