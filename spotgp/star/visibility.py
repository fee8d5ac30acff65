"""How much of a spot is seen while the star turns: rotation, inclination and the small-spot law."""

import abc
import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from pytreefit import param

from ..component import AbstractComponent, to_float
from .acf import Window, cosine_polynomial, visible_window, window_autocorrelation, window_harmonics
from .inclination import HALF_PI, IsotropicInclination


@lru_cache
def _root_nodes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev nodes in (0, 1), and the matrix from values there to powers."""
    node = 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)
    return node, np.linalg.inv(np.vander(node, increasing=True))


class AbstractVisibility(AbstractComponent):
    r"""What a spot at latitude :math:`\phi` shows while the star turns.

    The spot's longitude is :math:`\theta = \omega_0(\phi) t`, the cosine of its angle from the
    centre of the disk

    .. math:: \mu(\theta) = a_0 + a_1 \cos\theta, \quad a_0 = \cos i \sin\phi, \quad
              a_1 = \sin i \cos\phi,

    and it hides :math:`V(\mu)` times its area. Angles are in radians, times in days.
    """

    peq: eqx.AbstractVar[Array]
    kappa: eqx.AbstractVar[Array]
    inc: eqx.AbstractVar[Array]

    def default_priors(self, data):
        """Priors of period, shear and inclination; other parameters are fixed.

        The period is log-uniform from 2 cadences to 3 spans, the shear uniform up to 0.95, the
        axis isotropic; inclinations above pi/2 are included only if the star has one.
        """
        highest = np.pi if float(self.inc) > HALF_PI else HALF_PI
        priors = {
            "peq": dist.LogUniform(2.0 * data.cadence, 3.0 * data.span),
            "kappa": dist.Uniform(0.0, 0.95),
            "inc": IsotropicInclination(0.0, highest),
        }
        return {name: priors[name] for name in priors if name in self.param_keys}

    def start(self, period: float) -> Self:
        """The same component with another rotation period in days, to start a fit from."""
        return self._with(peq=period)

    def starts(self, period: float) -> tuple[Self, ...]:
        """The same at several inclinations and shears, to start fits from."""
        pairs = itertools.product((0.6, 1.2), (0.02, 0.2))
        return tuple(self._with(peq=period, inc=inc, kappa=kappa) for inc, kappa in pairs)

    def _with(self, **values) -> Self:
        return self.set({name: values[name] for name in values if name in self.param_keys})

    @abc.abstractmethod
    def profile(self, mu: Float[Array, "..."]) -> Float[Array, "..."]:
        """Foreshortened brightness V of a spot against the cosine of its angle, any shape."""

    def powers_of_mu(self) -> dict[float, Float[Array, ""]]:
        """The star's own law V as a sum of half powers of mu: coefficients by exponent.

        That of a point of the surface, whatever the size of spots. Unless a class knows better,
        V / mu is interpolated by a polynomial of degree 8 in the square root of mu.
        """
        return self._interpolated(9)

    def _interpolated(self, count: int) -> dict[float, Float[Array, ""]]:
        node, inverse = _root_nodes(count)
        mu = to_float(node**2)
        terms = jnp.matmul(to_float(inverse), self.profile(mu) / mu, precision="highest")
        return {1.0 + 0.5 * k: terms[k] for k in range(count)}

    @abc.abstractmethod
    def panels(self) -> Float[Array, "p 2"]:
        """Ranges of latitude, ascending, where spots are ever seen and V is smooth in latitude."""

    @abc.abstractmethod
    def cn(self, orders: tuple[int, ...], phi: Float[Array, "..."]) -> Float[Array, "... n"]:
        r"""Fourier coefficients of the visibility over one rotation.

        .. math:: c_n(\phi) = \frac{1}{2\pi} \int_{-\pi}^{\pi} V(\mu(\theta)) \cos n\theta\,d\theta

        for harmonics n >= 0, at latitudes in radians of any shape; the last axis is that of the
        orders.
        """

    @abc.abstractmethod
    def prepared(self, phi: Float[Array, "..."]) -> Callable[[Array], Array]:
        """The autocorrelation at some latitudes as a function of the angle.

        All that depends on the latitudes alone is worked out once, which is most of the work for
        the laws without a closed form. See `autocorrelation`.
        """

    def autocorrelation(
        self, phi: Float[Array, "..."], angle: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        r"""Autocorrelation of the visibility over one rotation, all harmonics at once.

        .. math:: A(\phi, D) = \frac{1}{2\pi} \int_{-\pi}^{\pi} V(\theta) V(\theta + D)\,d\theta
                  = c_0^2 + 2 \sum_{n \ge 1} c_n^2 \cos nD

        Parameters
        ----------
        phi
            Latitudes in radians. All that depends on them alone is worked out in their shape: pass
            (m, 1) with angles (m, k) to have it done once for each latitude.
        angle
            Rotation angles D in radians, any value, of a shape that broadcasts with `phi` (as many
            axes, or none).
        """
        return self.prepared(phi)(jnp.asarray(angle, float))

    def omega0(self, phi: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""Angular velocity in radians per day at latitudes in radians of any shape.

        .. math:: \omega_0(\phi) = \frac{2\pi}{P_{eq}} (1 - \kappa \sin^2\phi)
        """
        sin = jnp.sin(jnp.asarray(phi, float))
        return 2.0 * jnp.pi * (1.0 - self.kappa * sin * sin) / self.peq

    def foreshortening(self, phi: Float[Array, "..."]) -> tuple[Array, Array]:
        """Mean a_0 and amplitude a_1 of the cosine of a spot's angle, in the shape of `phi`."""
        phi = jnp.asarray(phi, float)
        return jnp.cos(self.inc) * jnp.sin(phi), jnp.sin(self.inc) * jnp.cos(phi)

    def cn_squared(
        self, orders: tuple[int, ...], phi: Float[Array, "..."]
    ) -> Float[Array, "... n"]:
        """Squares of the Fourier coefficients `cn`, the powers of the harmonics."""
        return self.cn(orders, phi) ** 2

    def mean_visibility(self, phi: Float[Array, "..."]) -> Float[Array, "..."]:
        """Visibility averaged over a rotation, c_0, in the shape of `phi`."""
        return self.cn((0,), phi)[..., 0]

    def _profile_sympy(self):
        """V as a SymPy expression of mu, or None if there is none."""
        return None

    def get_sympy(self) -> dict:
        """Show the equations (LaTeX in a terminal, rendered in Jupyter) and return them.

        They are SymPy expressions by name; None where a quantity is numerical.
        """
        from ..kernel.symbolic import show

        return show(type(self).__name__, self._equations())

    def _equations(self) -> dict:
        import sympy as sp

        peq, phi, theta = sp.Symbol("P_eq", positive=True), sp.Symbol("phi"), sp.Symbol("theta")
        kappa, inc = sp.symbols("kappa i", real=True)
        inclination = sp.pi / 2 if "inc" not in self.param_keys else inc
        return {
            "omega_0(phi)": 2 * sp.pi * (1 - kappa * sp.sin(phi) ** 2) / peq,
            "a_0": sp.cos(inclination) * sp.sin(phi),
            "a_1": sp.sin(inclination) * sp.cos(phi),
            "mu(theta)": sp.Symbol("a_0") + sp.Symbol("a_1") * sp.cos(theta),
            "V(mu)": self._profile_sympy(),
            "c_n": None,
        }


class AbstractPolynomialVisibility(AbstractVisibility):
    r"""A visibility that is a polynomial of the foreshortening wherever the spot is seen.

    .. math:: V(\mu) = \sum_j b_j \mu^j \quad (\mu > 0), \qquad b_0 = 0

    Harmonics and autocorrelation have closed forms for any of these, so a new law is a class with
    its parameters as fields and `polynomial`.
    """

    @abc.abstractmethod
    def polynomial(self) -> Sequence[Float[Array, ""]]:
        """The coefficients b_j, constant term (0) first."""

    def profile(self, mu):
        mu = jnp.maximum(jnp.asarray(mu, float), 0.0)
        *rest, value = self.polynomial()
        value = jnp.broadcast_to(value, mu.shape)
        for b in reversed(rest):
            value = value * mu + b
        return value

    def powers_of_mu(self):
        return {float(j): b for j, b in enumerate(self.polynomial()) if j > 0}

    def panels(self):
        return visible_panels(self.inc)

    def _windowed(self, phi) -> tuple[list[Array], Window]:
        a0, a1 = self.foreshortening(phi)
        return cosine_polynomial(self.polynomial(), a0, a1), visible_window(a0, a1)

    def cn(self, orders, phi):
        return window_harmonics(*self._windowed(phi), orders)

    def prepared(self, phi):
        return window_autocorrelation(*self._windowed(phi))


def visible_panels(inc: Float[Array, ""]) -> Float[Array, "2 2"]:
    r"""Latitudes that rise and set, and those always seen, as two ranges.

    .. math:: |\phi| < \beta = \min(i, \pi - i), \qquad \beta < \pm\phi < \pi/2

    with the sign of cos i in the second.
    """
    beta = jnp.minimum(inc, jnp.pi - inc)
    pole = jnp.asarray(HALF_PI, beta.dtype)
    north = inc <= pole
    cap = jnp.stack([jnp.where(north, beta, -pole), jnp.where(north, pole, -beta)])
    return jnp.stack([jnp.stack([-beta, beta]), cap])


def _peq() -> jax.Array:
    return param(
        unit="d", bounds="(0, inf)", label=r"$P_{eq}$", doc="rotation period at the equator"
    )


def _kappa() -> jax.Array:
    return param(bounds="[0, 1)", label=r"$\kappa$", doc="differential rotation, pole to equator")


class AbstractInclinedVisibility(AbstractVisibility):
    """A visibility whose inclination is a parameter: the fields that all of these share."""

    peq: Float[Array, ""] = _peq()
    kappa: Float[Array, ""] = _kappa()
    inc: Float[Array, ""] = param(
        unit="rad",
        bounds=f"[0, {np.pi!r}]",
        mirror=0.5 * np.pi,
        label="$i$",
        doc="inclination, 0 is pole-on",
    )


def _small_spot_equations(equations: dict) -> dict:
    import sympy as sp

    a0, a1, theta_v, n = sp.symbols("a_0 a_1 theta_v n", real=True)
    sin, cos = sp.sin(theta_v), sp.cos(theta_v)
    harmonic = (
        a0 * sp.sin(n * theta_v) / n
        + a1 / 2 * (sp.sin((n - 1) * theta_v) / (n - 1) + sp.sin((n + 1) * theta_v) / (n + 1))
    ) / sp.pi
    shown = ("omega_0(phi)", "a_0", "a_1")
    return {name: equations[name] for name in shown} | {
        "theta_v": sp.acos(-a0 / a1),
        "c_0": (a0 * theta_v + a1 * sin) / sp.pi,
        "c_1": (a0 * sin + a1 / 2 * (theta_v + sin * cos)) / sp.pi,
        "c_n": harmonic,
    }


class VisibilityFunction(AbstractPolynomialVisibility, AbstractInclinedVisibility):
    r"""A small spot on a star with a uniformly bright disk, :math:`V = \max(\mu, 0)`.

    .. math::

        c_0 = \frac{a_0 \theta_v + a_1 \sin\theta_v}{\pi}, \quad
        c_1 = \frac{a_0 \sin\theta_v + \frac{a_1}{2}(\theta_v + \sin\theta_v\cos\theta_v)}{\pi},

        c_n = \frac{1}{\pi}\left[\frac{a_0 \sin n\theta_v}{n} + \frac{a_1}{2}\left(
              \frac{\sin (n-1)\theta_v}{n-1} + \frac{\sin (n+1)\theta_v}{n+1}\right)\right]

    with :math:`\theta_v = \arccos(-a_0/a_1)`, :math:`\pi` where the spot is always seen and 0 where
    never.

    Parameters
    ----------
    peq
        Rotation period at the equator in days, > 0.
    kappa
        Differential rotation, :math:`\omega_0(\phi) = 2\pi (1 - \kappa\sin^2\phi) / P_{eq}`, in
        [0, 1).
    inc
        Inclination of the rotation axis to the line of sight in radians, in [0, pi]; 0 is pole-on.

    Examples
    --------
    >>> import numpy as np
    >>> visibility = VisibilityFunction(peq=10.0, kappa=0.3, inc=np.pi / 3)
    >>> visibility
    VisibilityFunction(peq=10.0, kappa=0.3, inc=1.047)
    >>> f"{visibility.cn_squared((0, 1, 2), 0.0)[1]:.6f}"
    '0.046875'
    """

    def polynomial(self):
        return [jnp.zeros(()), jnp.ones(())]

    def _equations(self):
        return _small_spot_equations(super()._equations())


class EdgeOnVisibilityFunction(AbstractPolynomialVisibility):
    r"""A small spot on a uniform disk seen from the equator, :math:`i = \pi/2`.

    Every spot is seen for half of a rotation, so :math:`\theta_v = \pi/2` and only the even
    harmonics and the first are there: :math:`c_n \propto \cos\phi`.

    Parameters
    ----------
    peq, kappa
        Period and shear, as for `VisibilityFunction`.

    Examples
    --------
    >>> round(float(EdgeOnVisibilityFunction(peq=5.0, kappa=0.1).inc), 4)
    1.5708
    """

    peq: Float[Array, ""] = _peq()
    kappa: Float[Array, ""] = _kappa()

    @property
    def inc(self):
        """The inclination, pi/2."""
        return jnp.full_like(self.peq, HALF_PI)

    def foreshortening(self, phi):
        phi = jnp.asarray(phi, float)
        return jnp.zeros_like(phi), jnp.cos(phi)

    def polynomial(self):
        return [jnp.zeros(()), jnp.ones(())]

    def panels(self):
        return jnp.asarray([[-HALF_PI, HALF_PI]], float)

    def _equations(self):
        return _small_spot_equations(super()._equations())
