r"""The harmonics of a star without shear, and what it costs to leave the higher ones out.

Where all latitudes turn alike the kernel is a sum over harmonics,

.. math::
    k(\tau) = R_\Gamma(\tau) \sum_n w_n \cos(n \omega_0 \tau), \qquad
    w_n = \sigma_k^2\, (2 - \delta_{n0}) \left< c_n^2 \right>_\phi,

and the sum of all :math:`w_n` is known, so that the power of those left out is too.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...star.exponential import ExponentialAsymmetricEnvelope, ExponentialEnvelope
from ...star.latitude import latitude_rule
from ...star.model import SpotEvolutionModel
from ...star.visibility import EdgeOnVisibilityFunction
from ..stated import DEVIATIONS

MOST_HARMONICS = 64
_FREQUENCIES = 24  # around each harmonic
_NODES = 128  # of latitude


class Exposure(NamedTuple):
    """How much information the data hold, and for how long.

    Parameters
    ----------
    density
        Inverse noise variance per day, a mean over the data.
    duration
        Days at this density.
    """

    density: Float[Array, ""]
    duration: Float[Array, ""]


def candidates(model: SpotEvolutionModel) -> tuple[int, ...]:
    """Harmonics that a star may have, ascending: edge-on the odd ones but the first vanish."""
    every = range(MOST_HARMONICS + 1)
    if isinstance(model.visibility, EdgeOnVisibilityFunction):
        every = [n for n in every if n == 1 or n % 2 == 0]
    return tuple(every)


def decays(envelope: ExponentialEnvelope | ExponentialAsymmetricEnvelope):
    """e-folds of the area before and after its peak, days."""
    if isinstance(envelope, ExponentialEnvelope):
        return envelope.tau_spot, envelope.tau_spot
    return envelope.tau_em, envelope.tau_dec


def harmonic_powers(model: SpotEvolutionModel, orders: tuple[int, ...]):
    """The w_n of the module's equation, shape (orders,).

    Parameters
    ----------
    model
        The star.
    orders
        The n.
    """
    phi, weight = latitude_rule(model.latitude, model.visibility.panels(), _NODES)
    twice = jnp.asarray([1.0 if n == 0 else 2.0 for n in orders], weight.dtype)
    return model.variance * twice * (weight @ model.visibility.cn_squared(orders, phi))


def total_power(model: SpotEvolutionModel) -> Float[Array, ""]:
    """The sum of all w_n."""
    phi, weight = latitude_rule(model.latitude, model.visibility.panels(), _NODES)
    return model.variance * (weight @ model.visibility.autocorrelation(phi, jnp.zeros_like(phi)))


def exposure(time, weight, memory) -> Exposure:
    r"""Density of information where the data are, from pairs that the process correlates.

    .. math::
        \lambda = \frac{\sum_{ij} u_i u_j e^{-2 |t_i - t_j| / c}}{c \sum_i u_i}, \qquad
        T = \sum_i u_i / \lambda

    with inverse variances u. Even sampling without gaps has the variance times the cadence as
    :math:`1 / \lambda` and the span as T.

    Parameters
    ----------
    time, weight
        Shape (n,), ascending; inverse noise variances.
    memory
        c in days: the integral over all lags of the process's squared correlation.
    """
    decay = jnp.exp(-2.0 * jnp.diff(time, prepend=time[:1]) / memory)

    def combine(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    before = jax.lax.associative_scan(combine, (decay, weight))[1]
    total = jnp.sum(weight)
    density = jnp.sum(weight * (2.0 * before - weight)) / (memory * total)
    return Exposure(density, total / density)


def _memory(model: SpotEvolutionModel):
    """Integral of the squared correlation: 5/2 tau of an exponential envelope."""
    at_zero = model.envelope.R_Gamma(jnp.zeros_like(model.sigma_k))
    # R(0) is the mean of both time scales
    return 2.5 * at_zero


def losses(model: SpotEvolutionModel, orders: tuple[int, ...], time, weight):
    r"""What the log-likelihood loses where only the first of some harmonics are kept.

    Where the spectra of what is left out, of what is kept and of the noise are S, S' and
    :math:`1 / \lambda`, each of the :math:`T\, d\omega / \pi` cosines and sines changes it by a
    number of mean :math:`(x - \ln(1 + x)) / 2` and variance :math:`x^2 / 2` in light curves of
    this star, with :math:`x = S / (S' + 1 / \lambda)`.

    Parameters
    ----------
    model
        The star.
    orders
        The first harmonics, ascending; the power of all others is taken to be just beyond.
    time, weight
        Of the data: days and inverse noise variances, shape (n,).

    Returns
    -------
    array
        Mean and standard deviation, shape (2, orders): for the first harmonic kept, two ...
    """
    powers = harmonic_powers(model, orders)
    rest = jnp.maximum(total_power(model) - jnp.sum(powers), 0.0)
    powers = jnp.append(powers, rest)
    number = jnp.asarray((*orders, orders[-1] + 1), powers.dtype)
    memory, rotation = _memory(model), model.visibility.omega0(jnp.zeros_like(model.sigma_k))
    density, duration = exposure(time, weight, memory)
    # dense near the harmonics, whose width is the inverse of the memory
    node, rule = (
        jnp.asarray(a, powers.dtype) for a in np.polynomial.legendre.leggauss(_FREQUENCIES)
    )
    half = jnp.arcsinh(0.5 * rotation * memory)
    shift, measure = jnp.sinh(half * node) / memory, half * rule * jnp.cosh(half * node) / memory
    frequency = (rotation * number[1:, None] + shift[None, :]).ravel()
    measure = jnp.tile(measure, number.size - 1)
    line = rotation * number[None, :]
    hat = model.envelope.Gamma_hat_sq
    spectrum = hat(frequency[:, None] - line) + hat(frequency[:, None] + line)
    spectrum = 0.5 * powers[None, :] * spectrum
    kept = jnp.cumsum(spectrum, axis=1)[:, :-1]
    beyond = jnp.cumsum(spectrum[:, ::-1], axis=1)[:, ::-1][:, 1:]
    x = beyond / (kept + 1.0 / density)
    scale = 0.5 * duration / jnp.pi
    mean = scale * (measure @ (x - jnp.log1p(x)))
    return jnp.stack([mean, jnp.sqrt(scale * (measure @ x**2))])


def harmonics_needed(
    model: SpotEvolutionModel, time, weight, tolerance: float
) -> tuple[int, ...] | None:
    """The fewest harmonics that lose less than a tolerance of the log-likelihood.

    Parameters
    ----------
    model, time, weight
        As for `losses`, with concrete values.
    tolerance
        Of the log-likelihood.

    Returns
    -------
    tuple of int or None
        At least 0 and 1; None where even the most are too few.
    """
    orders = candidates(model)
    loss = jax.jit(losses, static_argnums=1)(model, orders, time, weight)
    mean, deviation = np.asarray(loss)
    enough = mean + DEVIATIONS * deviation <= tolerance
    enough[0] = False
    return orders[: int(np.argmax(enough)) + 1] if enough.any() else None
