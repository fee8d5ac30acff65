"""The determinant of the bins' covariance beside that of the one in its place."""

import jax
import jax.numpy as jnp
import numpy as np

from .covariance import System

_LARGEST_SQUARE, _TINY = 0.8, 1e-300
_FEWEST_PROBES, _MOST_PROBES, _PROBED_BINS = 8, 32, 1000


def probes_for(bins: int) -> int:
    """Number of random vectors for the determinant."""
    return min(max(_FEWEST_PROBES, _PROBED_BINS // bins), _MOST_PROBES)


def log_ratios(system: System):
    r"""Estimates of :math:`\ln |A| - \ln |A_0|`, one for each of some random vectors.

    They are :math:`z^T f(M) z` with :math:`M = G^T A G - I`, :math:`f(x) = \ln(1 + x) - x` and
    random signs z: their mean is the trace of f, and that of M vanishes. From
    :math:`\mu_k = z^T M^k z` and with :math:`\lambda^2 = \mu_4 / \mu_2`

    .. math::
        z^T f(M) z \approx \frac{\mu_2}{2 \lambda^2} \ln(1 - \lambda^2)
            + \frac{\mu_3}{\lambda^3} (\operatorname{artanh} \lambda - \lambda),

    right to the fourth order and for eigenvalues 0, :math:`\lambda` and :math:`-\lambda`. The
    slopes are those of the traces of :math:`M^k`. The second result estimates the next orders.
    """
    moving, system = system, jax.lax.stop_gradient(system)
    bins, elements, _ = system.inverse.shape
    signs = np.random.default_rng(0).integers(0, 2, (bins, elements, probes_for(bins)))
    z = jnp.asarray(2.0 * signs - 1.0, system.root.dtype)

    def dot(a, b):
        return jnp.sum(a * b, axis=(0, 1))

    along = system.from_whitened(z)
    image = system.times(along)
    once = system.whitened(image) - z
    along_once = system.from_whitened(once)
    image_once = system.times(along_once)
    twice = system.whitened(image_once) - once
    powers = dot(once, once), dot(once, twice), dot(twice, twice)
    ratios, pull = jax.vjp(_log_ratio, *powers)
    parts = [part[None, None, :] for part in pull(jnp.ones_like(ratios))]

    # d tr M^k = k tr M^(k-1) dM is the mean of vectors to both sides of dM = d(G^T A G), where
    # that of A_0^-1 = G G^T is known
    left = 2.0 * parts[0] * once + 3.0 * parts[1] * twice, 4.0 * parts[2] * twice
    left, right = jnp.concatenate(left, axis=2), jnp.concatenate([z, once], axis=2)
    further = jnp.concatenate([once, twice], axis=2)
    along = jnp.concatenate([along, along_once], axis=2)
    image = jnp.concatenate([image, image_once], axis=2)
    together = moving.times(jnp.concatenate([along, system.from_first(right + further)], axis=2))
    slopes = dot(system.from_whitened(left), together[..., : z.shape[2] * 2])
    slopes = slopes - dot(system.from_first(left), together[..., z.shape[2] * 2 :])
    slopes = slopes + dot(system.coloured(left), moving.others(image))
    slopes = slopes[: z.shape[2]] + slopes[z.shape[2] :]
    return with_slopes_of(ratios, slopes), powers[2] * _square(powers[0], powers[2]) / 6.0


def _square(second, fourth):
    """Of the eigenvalues."""
    return jnp.maximum(fourth / jnp.maximum(second, _TINY), 1e-6)


def _log_ratio(second, third, fourth):
    """The trace of ln(1 + M) - M, from the traces of powers of M.

    Where it does not converge it grows no faster than it does for eigenvalues far above 1.
    """
    square = _square(second, fourth)
    root, inner = jnp.sqrt(square), jnp.minimum(square, _LARGEST_SQUARE)
    even = jnp.minimum(0.5 * jnp.log1p(-inner), jnp.log1p(root) - root)
    odd = jnp.arctanh(jnp.sqrt(inner)) - jnp.sqrt(inner)
    return (second * even + third / root * odd) / square


@jax.custom_jvp
def with_slopes_of(value, other):
    """The value, with the derivatives of the other."""
    return value


@with_slopes_of.defjvp
def _with_slopes_of_jvp(primals, tangents):
    return primals[0], tangents[1]
