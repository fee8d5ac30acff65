"""Spots that are not small: caps of a given radius on uniform and on limb-darkened disks."""

import functools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import param
from pytreefit.extend import as_whole_number, gauss_legendre

from ..kernel.trig import cos_sin
from .acf import clenshaw, cosine_polynomial, visible_window, window_harmonics
from .geometry import projected_cap_area
from .latitude import sine_legendre
from .limb_darkening import (
    _raised,
    chebyshev,
    check_quadratic,
    quadratic_polynomial,
    u1_param,
    u2_param,
)
from .visibility import HALF_PI, AbstractInclinedVisibility

PIECE_NODES = 32  # on each piece of a rotation, besides those that follow the harmonics
RING_NODES = 20
LIMB_TERMS = 40


def _alpha() -> Array:
    return param(
        unit="rad",
        bounds=f"(0, {HALF_PI!r})",
        label=r"$\alpha$",
        doc="angular radius of the spots that are seen",
    )


def _harmonics() -> int:
    convert = functools.partial(as_whole_number, "harmonics", least=1)
    return eqx.field(default=128, static=True, converter=convert)


class AbstractFiniteSpotVisibility(AbstractInclinedVisibility):
    r"""A visibility of circular caps of one angular radius.

    A cap is seen until its centre is :math:`\pi/2 + \alpha` from the centre of the disk, in full
    up to :math:`\pi/2 - \alpha`. V is normalised by the cap's area seen face-on,
    :math:`\pi\sin^2\alpha`, so that it tends to the small-spot law (on a uniform disk
    :math:`\max(\mu, 0)`) and equals that of a uniform disk wherever the cap is seen in full. The
    amplitude's :math:`\alpha_{max}^2` then stands for :math:`\sin^2\alpha`.

    V bends smoothly at the limb, so the harmonics fall off as :math:`n^{-7/2}` beyond
    :math:`1/\alpha` and the autocorrelation is their sum to `harmonics` N: what is left out is of
    the order of :math:`10^{-2} N^{-3} \min(1, (N\alpha)^{-3})`.
    """

    alpha: eqx.AbstractVar[Array]
    harmonics: eqx.AbstractVar[int]

    def panels(self):
        inc, alpha = self.inc, self.alpha
        pole = jnp.asarray(HALF_PI, inc.dtype)
        beta = jnp.minimum(inc, np.pi - inc)
        # latitudes whose spots just touch the limb at upper or lower culmination, seen from north
        far, low = np.pi - beta, -beta - alpha
        ends = (low, alpha - far, alpha - beta, beta - alpha, beta + alpha, far - alpha, pole)
        touching = jnp.sort(jnp.clip(jnp.stack(ends), jnp.maximum(low, -pole), pole))
        edges = jnp.where(inc <= pole, touching, -touching[::-1])
        return jnp.stack([edges[:-1], edges[1:]], axis=1)

    def _samples(self, phi, count: int):
        """Longitudes of a quadrature over half a rotation, and V times their weights over pi."""
        a0, a1 = self.foreshortening(phi)
        reach = jnp.sin(self.alpha)
        full = visible_window(a0, a1, reach).half_angle[..., None]
        some = visible_window(a0, a1, -reach).half_angle[..., None]
        # V is a polynomial of mu while the cap is seen in full, and has roots at the limb
        smooth = gauss_legendre(PIECE_NODES + int(0.8 * count))
        limb = sine_legendre(PIECE_NODES + int(1.3 * count))
        (x, w), (y, v) = ((_raised(a, full.ndim) for a in rule) for rule in (smooth, limb))
        rest = some - full
        theta = jnp.concatenate([0.5 * full * (1.0 + x), full + 0.5 * rest * (1.0 + y)], axis=-1)
        weight = jnp.concatenate([0.5 * full * w, 0.5 * rest * v], axis=-1)
        mu = a0[..., None] + a1[..., None] * cos_sin(theta)[0]
        return theta, self.profile(mu) * weight / np.pi

    def cn(self, orders, phi):
        if not orders:
            return jnp.zeros((*jnp.shape(phi), 0), jnp.result_type(float))
        theta, value = self._samples(phi, max(orders))
        columns = [jnp.sum(value * cos_sin(n * theta)[0], axis=-1) for n in orders]
        return jnp.stack(columns, axis=-1)

    def prepared(self, phi):
        theta, value = self._samples(phi, self.harmonics)
        twice = 2.0 * cos_sin(theta)[0]

        def harmonic(carry, _):
            now, before = carry
            return (twice * now - before, now), jnp.sum(value * now, axis=-1)

        start = (jnp.ones_like(theta), 0.5 * twice)
        _, cn = jax.lax.scan(harmonic, start, length=self.harmonics + 1)
        power = jnp.concatenate([cn[:1] ** 2, 2.0 * cn[1:] ** 2])

        def curve(angle):
            twice_cos = 2.0 * cos_sin(jnp.asarray(angle, float))[0]
            zero = jnp.zeros(jnp.broadcast_shapes(power.shape[1:], twice_cos.shape), power.dtype)

            def clenshaw_step(carry, term):
                b1, b2 = carry
                return (term + twice_cos * b1 - b2, b1), None

            start = (zero, zero)
            (b1, b2), _ = jax.lax.scan(clenshaw_step, start, power[1:], reverse=True, unroll=8)
            return power[0] + 0.5 * twice_cos * b1 - b2

        return curve


class FiniteSpotVisibilityFunction(AbstractFiniteSpotVisibility):
    r"""A circular spot of finite size on a uniformly bright disk.

    .. math:: V = \frac{A(\alpha, \beta)}{\pi \sin^2\alpha}, \quad \cos\beta = \mu

    with the exact projected area of the cap, `spotgp.star.geometry.projected_cap_area`.

    Parameters
    ----------
    peq, kappa, inc
        Period, shear and inclination, as for `VisibilityFunction`.
    alpha
        Angular radius of the spots in radians, in (0, pi/2).
    harmonics
        Number of harmonics in the autocorrelation; 128 leave out 5e-10 of it for
        alpha = 0.02 and 4e-12 for alpha = 0.1.

    Examples
    --------
    >>> star = FiniteSpotVisibilityFunction(peq=5.0, kappa=0.1, inc=1.2, alpha=0.15)
    >>> round(float(star.omega0(0.0)), 4)  # of the equator, radians per day
    1.2566
    """

    alpha: Float[Array, ""] = _alpha()
    harmonics: int = _harmonics()

    def powers_of_mu(self):
        return {1.0: jnp.ones((), jnp.result_type(float))}

    def profile(self, mu):
        return projected_cap_area(self.alpha, mu) / (np.pi * jnp.sin(self.alpha) ** 2)


class FiniteLimbDarkenedVisibilityFunction(AbstractFiniteSpotVisibility):
    r"""A circular spot of finite size on a disk with the quadratic law of limb darkening.

    .. math:: V = \frac{1}{F \pi \sin^2\alpha} \int_{cap,\,\mu' > 0} \mu' I(\mu')\,d\Omega
                = \frac{2}{\sin^2\alpha} \int_0^\alpha c_0(\rho) \sin\rho\,d\rho

    with :math:`c_0(\rho)` the mean of :math:`\mu' I / F` over the ring of radius rho around the
    spot's centre, which has a closed form. Where the cap is seen in full, V is a cubic in mu; at
    the limb it is interpolated in the arcsine of :math:`\mu / \sin\alpha` from 40 integrals.

    Parameters
    ----------
    peq, kappa, inc
        Period, shear and inclination, as for `VisibilityFunction`.
    u1, u2
        Coefficients of the law, u1 + u2 <= 1.
    alpha
        Angular radius of the spots in radians, in (0, pi/2).
    harmonics
        Number of harmonics in the autocorrelation.

    Examples
    --------
    >>> star = FiniteLimbDarkenedVisibilityFunction(
    ...     peq=5.0, kappa=0.1, inc=1.2, alpha=0.15, u1=0.4, u2=0.2
    ... )
    >>> round(float(star.omega0(0.0)), 4)  # of the equator, radians per day
    1.2566
    """

    u1: Float[Array, ""] = u1_param()
    u2: Float[Array, ""] = u2_param()
    alpha: Float[Array, ""] = _alpha()
    harmonics: int = _harmonics()

    def __check_init__(self):
        check_quadratic(type(self).__name__, self.u1, self.u2)

    def powers_of_mu(self):
        _, *terms = quadratic_polynomial(self.u1, self.u2)
        return {float(j): b for j, b in enumerate(terms, 1)}

    def profile(self, mu):
        mu = jnp.asarray(mu, float)
        law = quadratic_polynomial(self.u1, self.u2)
        reach = jnp.sin(self.alpha)
        node, matrix = (jnp.asarray(a, float) for a in chebyshev(LIMB_TERMS))
        at_limb = _cap_brightness(law, self.alpha, reach * jnp.sin(HALF_PI * node))
        terms = jnp.matmul(matrix, at_limb, precision="highest")
        crossing = jnp.abs(mu) < reach
        place = jnp.arcsin(jnp.where(crossing, mu / reach, 0.0)) / HALF_PI
        limb = clenshaw(list(terms), 2.0 * place)[0]
        full = functools.reduce(lambda v, b: v * mu + b, reversed(_full_cap(law, self.alpha)))
        return jnp.where(crossing, limb, jnp.where(mu > 0.0, full, 0.0))

    def _profile_sympy(self):
        return None


def _full_cap(law: Sequence[Array], alpha: Float[Array, ""]) -> list[Array]:
    """Polynomial in mu of a cap's mean brightness, all of it seen, for a cubic without constant."""
    _, b1, b2, b3 = law
    # means of cos^j rho sin^k rho over the projected cap, d(sin^2 rho) / sin^2 alpha
    cos = jnp.cos(alpha)
    area = jnp.sin(alpha) ** 2

    def mean(power):  # (2 / sin^2 alpha) int cos^power(rho) sin(rho) drho
        terms = [cos**j for j in range(power + 1)]
        return 2.0 * sum(terms[1:], terms[0]) * (1.0 - cos) / (area * (power + 1))

    one, two, three = mean(1), mean(2), mean(3)
    zero = mean(0)
    return [
        0.5 * b2 * (zero - two),
        b1 * one + 1.5 * b3 * (one - three),
        b2 * (two - 0.5 * (zero - two)),
        b3 * (three - 1.5 * (one - three)),
    ]


def _cap_brightness(
    law: Sequence[Array], alpha: Float[Array, ""], mu: Float[Array, " n"]
) -> Float[Array, " n"]:
    """Mean brightness of a cap that the limb cuts, ring by ring: |mu| < sin(alpha)."""
    node, rule = (jnp.asarray(a, float)[None] for a in sine_legendre(RING_NODES))
    mu = mu[:, None]
    sin_beta = jnp.sqrt((1.0 - mu) * (1.0 + mu))
    touch = jnp.arctan2(jnp.abs(mu), sin_beta)  # the smallest ring that reaches the limb

    def rings(low, high):
        rho = low + 0.5 * (high - low) * (1.0 + node)
        a0, a1 = jnp.cos(rho) * mu, jnp.sin(rho) * sin_beta
        ring = window_harmonics(cosine_polynomial(law, a0, a1), visible_window(a0, a1), (0,))
        return jnp.sum(0.5 * (high - low) * rule * ring[..., 0] * jnp.sin(rho), axis=-1)

    total = rings(jnp.zeros_like(touch), touch) + rings(touch, alpha)
    return 2.0 * total / jnp.sin(alpha) ** 2
