"""Small spots on limb-darkened disks: the quadratic law, the four-parameter law, and your own."""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import param
from pytreefit.extend import gauss_legendre, is_traced

from ..kernel.trig import cos_sin
from .acf import TWO_PI, clenshaw, visible_window
from .visibility import AbstractInclinedVisibility, AbstractPolynomialVisibility, visible_panels

HALF_PI = 0.5 * np.pi
CN_NODES = 48  # besides those that follow the oscillation of the harmonics
OVERLAP_NODES = 24
CHEBYSHEV = 32


def quadratic_polynomial(u1: Float[Array, ""], u2: Float[Array, ""]) -> list[Array]:
    r"""Coefficients of :math:`\mu I(\mu) / F` for the quadratic law, constant term first."""
    flux = 1.0 - u1 / 3.0 - u2 / 6.0
    return [jnp.zeros_like(u1), (1.0 - u1 - u2) / flux, (u1 + 2.0 * u2) / flux, -u2 / flux]


def check_quadratic(owner: str, u1, u2) -> None:
    """Raise ValueError where concrete coefficients make the brightness at the limb negative."""
    if is_traced(u1) or is_traced(u2):
        return
    # as much as decimals that add up to 1 may miss it by
    if np.any(np.asarray(u1) + np.asarray(u2) > 1.0 + 1e-6):
        raise ValueError(
            f"{owner}.u1 = {u1} and .u2 = {u2} add up to more than 1, which makes the brightness "
            "at the limb negative. Give coefficients with u1 + u2 <= 1."
        )


def u1_param() -> Array:
    """The linear coefficient of the quadratic law as a field."""
    return param(bounds="[-1, 2]", label="$u_1$", doc="linear limb-darkening coefficient")


def u2_param() -> Array:
    """The quadratic coefficient of the quadratic law as a field."""
    return param(bounds="[-1, 1]", label="$u_2$", doc="quadratic limb-darkening coefficient")


class LimbDarkenedVisibilityFunction(AbstractPolynomialVisibility, AbstractInclinedVisibility):
    r"""A small spot on a disk with the quadratic law of limb darkening.

    .. math:: V(\mu) = \frac{\mu I(\mu)}{F}, \quad I = 1 - u_1 (1 - \mu) - u_2 (1 - \mu)^2, \quad
              F = 2 \int_0^1 \mu I\,d\mu = 1 - \frac{u_1}{3} - \frac{u_2}{6}

    All harmonics, and their sum, have closed forms.

    Parameters
    ----------
    peq, kappa, inc
        Period, shear and inclination, as for `VisibilityFunction`.
    u1, u2
        Coefficients of the law, u1 + u2 <= 1; 0 and 0 is a uniform disk.

    Raises
    ------
    ValueError
        If the brightness at the limb would be negative.

    Examples
    --------
    >>> star = LimbDarkenedVisibilityFunction(peq=10.0, kappa=0.3, inc=1.0, u1=0.4, u2=0.2)
    >>> f"{star.profile(1.0):.6f}"
    '1.200000'
    """

    u1: Float[Array, ""] = u1_param()
    u2: Float[Array, ""] = u2_param()

    def __check_init__(self):
        check_quadratic(type(self).__name__, self.u1, self.u2)

    def polynomial(self):
        return quadratic_polynomial(self.u1, self.u2)

    def _profile_sympy(self):
        import sympy as sp

        mu, u1, u2 = sp.symbols("mu u_1 u_2", real=True)
        return mu * (1 - u1 * (1 - mu) - u2 * (1 - mu) ** 2) / (1 - u1 / 3 - u2 / 6)


@functools.lru_cache
def chebyshev(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev nodes on (-1, 1), and the matrix from values there to coefficients."""
    angle = np.pi * (np.arange(count) + 0.5) / count
    matrix = 2.0 / count * np.cos(np.arange(count)[:, None] * angle)
    matrix[0] *= 0.5
    return np.cos(angle), matrix


class AbstractProfileVisibility(AbstractInclinedVisibility):
    r"""A small spot on a disk with any law of limb darkening.

    Your own law is a class with its parameters as fields and `profile`: harmonics and
    autocorrelation follow by quadrature. They are exact to about 1e-11 for laws that are smooth in
    :math:`\sqrt\mu` and vanish at the limb like mu.

    Parameters
    ----------
    peq, kappa, inc
        Period, shear and inclination, as for `VisibilityFunction`.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import param
    >>> class PowerLaw(AbstractProfileVisibility):
    ...     exponent: jax.Array = param(bounds="[0, inf)", default=0.5)
    ...
    ...     def profile(self, mu):  # mu > 0; normalised to 1 = 2 int V dmu
    ...         return 0.5 * (2.0 + self.exponent) * mu ** (1.0 + self.exponent)
    >>> star = PowerLaw(peq=10.0, kappa=0.3, inc=1.0)
    >>> f"{star.mean_visibility(0.2):.4f}"
    '0.3352'
    """

    def panels(self):
        return visible_panels(self.inc)

    def cn(self, orders, phi):
        a0, a1 = self.foreshortening(phi)
        window = visible_window(a0, a1)
        crosses = ~(window.always | window.never)
        nodes = CN_NODES + max(orders, default=0)
        psi, weight = gauss_legendre(nodes, 0.0, HALF_PI)
        sin2, cos2 = (jnp.asarray(f(psi) ** 2, float) for f in (np.sin, np.cos))
        # sin(theta / 2) = k sin(psi), k = sin(theta_v / 2): mu is (a0 + a1) cos^2 psi, so that its
        # root is smooth at the limb
        k2 = jnp.where(crosses, 0.5 * (a0 + a1) / jnp.where(crosses, a1, 1.0), 1.0)[..., None]
        above = jnp.where(window.always, a0 - a1, 0.0)[..., None]
        swing = jnp.where(window.always, 2.0 * a1, a0 + a1)[..., None]
        never = window.never[..., None]
        _, sin2, cos2 = jnp.broadcast_arrays(k2, *(_raised(x, k2.ndim) for x in (sin2, cos2)))
        mu = jnp.where(never, 1.0, above + swing * cos2)
        step = 2.0 * jnp.sqrt(k2 * cos2 / (cos2 + (1.0 - k2) * sin2))
        value = jnp.where(never, 0.0, self.profile(mu) * step) * _raised(weight, k2.ndim)
        theta = 2.0 * jnp.arcsin(jnp.sqrt(k2 * sin2))
        columns = [jnp.sum(value * cos_sin(n * theta)[0], axis=-1) for n in orders]
        if not columns:
            return jnp.zeros((*a0.shape, 0), a0.dtype)
        return jnp.stack(columns, axis=-1) / np.pi

    def prepared(self, phi):
        coefficients, edge = self._tables(phi)
        near, far = coefficients

        def curve(angle):
            angle = jnp.asarray(angle, float)
            turn = jnp.asarray(TWO_PI, angle.dtype)
            delta = angle - turn * jnp.floor(angle / turn)
            folded = jnp.minimum(delta, turn - delta)
            first = folded < edge
            rest = 0.5 * turn - edge
            place = jnp.where(
                first,
                folded / jnp.where(edge > 0.0, edge, 1.0),
                (folded - edge) / jnp.where(rest > 0.0, rest, 1.0),
            )
            terms = [jnp.where(first, near[..., k], far[..., k]) for k in range(CHEBYSHEV)]
            return clenshaw(terms, 4.0 * place - 2.0)[0]

        return curve

    def _tables(self, phi):
        """Chebyshev coefficients of A(d) on both sides of its corner d = min(2 v, 2 pi - 2 v).

        They come first for the near side, shape (2, *phi.shape, k); then the corner.
        """
        a0, a1 = self.foreshortening(phi)
        window = visible_window(a0, a1)
        half = window.half_angle
        edge = jnp.minimum(2.0 * half, TWO_PI - 2.0 * half)
        node, matrix = (jnp.asarray(a, float) for a in chebyshev(CHEBYSHEV))
        place = _raised(0.5 * (1.0 + node), edge.ndim + 1)
        near, wide = edge[..., None], (np.pi - edge)[..., None]
        d = jnp.stack([near * place, near + wide * place])
        lifted = [x[None, ..., None] for x in (half, a0, a1, window.always, window.never)]
        value = self._overlap(d, *lifted) + self._overlap(TWO_PI - d, *lifted)
        return jnp.einsum("...j,kj->...k", value, matrix, precision="highest"), edge

    def _overlap(self, d, half, a0, a1, always, never):
        """The part of A(d) from one overlap of the two windows, d in (0, 2 pi)."""
        psi, rule = gauss_legendre(OVERLAP_NODES, 0.0, HALF_PI)
        ndim = d.ndim + 1
        sine = _raised(np.sin(psi), ndim)
        weight = _raised(rule * np.cos(psi), ndim)
        reach = jnp.maximum(half - 0.5 * d, 0.0)[..., None]
        half, a1, always = half[..., None], a1[..., None], always[..., None]
        above = jnp.where(always, a0[..., None] - a1, 0.0)
        seen = ~never[..., None] & (reach > 0.0)

        # between the windows' middles; mu = 2 a1 sin((v - theta) / 2) sin((v + theta) / 2) keeps
        # its digits at the limb
        def brightness(inner, outer):
            mu = above + 2.0 * a1 * jnp.sin(0.5 * inner) * jnp.sin(0.5 * outer)
            return self.profile(jnp.where(seen, mu, 1.0))

        behind, ahead = reach * (1.0 - sine), reach * (1.0 + sine)
        product = brightness(behind, 2.0 * half - behind) * brightness(ahead, 2.0 * half - ahead)
        return jnp.sum(jnp.where(seen, product, 0.0) * weight * reach, axis=-1) / np.pi


def _raised(x, ndim: int) -> Array:
    """A vector as the last of so many axes."""
    return jnp.asarray(x, float).reshape((1,) * (ndim - 1) + (-1,))


class FourParameterVisibilityFunction(AbstractProfileVisibility):
    r"""A small spot on a disk with the four-parameter law of limb darkening.

    .. math:: V(\mu) = \frac{\mu I(\mu)}{F}, \quad
              I = 1 - \sum_{k=1}^4 a_k \left(1 - \mu^{k/2}\right), \quad
              F = 2 \int_0^1 \mu I\,d\mu = 1 - \sum_k \frac{k\,a_k}{k + 4}

    Parameters
    ----------
    peq, kappa, inc
        Period, shear and inclination, as for `VisibilityFunction`.
    a1, a2, a3, a4
        Coefficients of the law.

    Raises
    ------
    ValueError
        If the disk as a whole would shine with a flux of 0 or less.

    References
    ----------
    Claret 2000, A&A 363, 1081.

    Examples
    --------
    >>> star = FourParameterVisibilityFunction(
    ...     peq=5.0, kappa=0.1, inc=1.2, a1=0.5, a2=0.0, a3=0.2, a4=0.0
    ... )
    >>> round(float(star.omega0(0.0)), 4)  # of the equator, radians per day
    1.2566
    """

    a1: Float[Array, ""] = param(label="$a_1$", doc="limb darkening, of 1 - mu^(1/2)")
    a2: Float[Array, ""] = param(label="$a_2$", doc="limb darkening, of 1 - mu")
    a3: Float[Array, ""] = param(label="$a_3$", doc="limb darkening, of 1 - mu^(3/2)")
    a4: Float[Array, ""] = param(label="$a_4$", doc="limb darkening, of 1 - mu^2")

    def __check_init__(self):
        flux = self._flux()
        if not is_traced(flux) and not np.all(np.asarray(flux) > 0.0):
            raise ValueError(
                f"FourParameterVisibilityFunction.a1 ... a4 = {self.a1}, {self.a2}, {self.a3}, "
                f"{self.a4} give the disk the flux {flux}, but it must be above 0. Check their "
                "order and signs."
            )

    def powers_of_mu(self):
        return self._interpolated(5)

    def _flux(self):
        terms = (self.a1, self.a2, self.a3, self.a4)
        return 1.0 - sum(
            (k * a / (k + 4.0) for k, a in enumerate(terms, 1)), jnp.zeros_like(terms[0])
        )

    def profile(self, mu):
        mu = jnp.asarray(mu, float)
        seen = mu > 0.0
        root = jnp.sqrt(jnp.where(seen, mu, 1.0))
        limb = 1.0 - self.a1 - self.a2 - self.a3 - self.a4
        rest = root * (self.a1 + root * (self.a2 + root * (self.a3 + root * self.a4)))
        return jnp.where(seen, mu * (limb + rest) / self._flux(), 0.0)

    def _profile_sympy(self):
        import sympy as sp

        mu, *a = sp.symbols("mu a_1 a_2 a_3 a_4", real=True)
        powers = [sp.Rational(k, 2) for k in range(1, 5)]
        intensity = 1 - sum(x * (1 - mu**p) for x, p in zip(a, powers, strict=True))
        flux = 1 - sum(x * p / (p + 2) for x, p in zip(a, powers, strict=True))
        return mu * intensity / flux
