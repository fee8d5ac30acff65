"""Envelopes: how a spot grows and decays."""

from typing import Any, ClassVar, Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from pytreefit import param
from pytreefit.extend import stopped, walk

from ..component import AbstractComponent, plain, priors_by_bounds, to_float
from ..kernel.symbolic import show
from .envelope_quadrature import autocorrelation, last_lag, measured_breakpoints, transform


def time_scale(label: str, doc: str, **kwargs) -> Any:
    """A parameter in days, > 0."""
    return param(unit="d", bounds="(0, inf)", label=label, doc=doc, **kwargs)


def duration(label: str, doc: str, **kwargs) -> Any:
    """A parameter in days, >= 0."""
    return param(unit="d", bounds="[0, inf)", label=label, doc=doc, **kwargs)


class AbstractEnvelope(AbstractComponent):
    r"""How the angular radius of a spot changes with time, :math:`\alpha_{max} \Gamma(t)`.

    A new envelope is a class with its parameters as fields and one method, `Gamma`, the radius
    profile with peak 1. All else belongs to the area profile :math:`\Gamma^2`,

    .. math::
        \hat\Gamma(\omega) = \int \Gamma^2(t)\, e^{-i \omega t}\, dt, \qquad
        R_\Gamma(\tau) = \int \Gamma^2(t)\, \Gamma^2(t + \tau)\, dt

    and is integrated here from the values of `Gamma`, differentiably in the parameters, unless a
    class has closed forms of its own. The quadrature takes 64 panels or more between
    `breakpoints`: 7 nodes each for `R_Gamma`, polynomials of degree 11 for `Gamma_hat`, which
    therefore is as good at high frequencies as at low ones. For smooth envelopes both are good to
    1e-8 of their value at 0. Kinks are found and enclosed; where `Gamma` jumps, define
    `breakpoints` too.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from pytreefit import param
    >>> class Gaussian(AbstractEnvelope):
    ...     width: jnp.ndarray = param(unit="d", bounds="(0, inf)")
    ...
    ...     def Gamma(self, t):
    ...         return jnp.exp(-((t / self.width) ** 2) / 4)
    >>> envelope = Gaussian(width=2.0)
    >>> print(f"{envelope.R_Gamma(0.0):.6f}")  # sqrt(pi) width
    3.544908
    """

    def __check_init__(self):
        if type(self).Gamma is AbstractEnvelope.Gamma:
            raise TypeError(
                f"{type(self).__name__} has no profile: define Gamma(t), the radius of a spot at "
                "the times t in units of its largest radius. Nothing else is needed."
            )

    def Gamma(self, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """Radius profile at times in days of any shape, between 0 and 1: in units of its peak."""
        raise NotImplementedError  # no instance without it can be built

    def breakpoints(self) -> Float[Array, " k"]:
        r"""Times in days, ascending, between which :math:`\Gamma^2` is smooth, shape (k,).

        The first and the last bound the times that matter. By default they are measured: where
        :math:`\Gamma^2` falls below 1e-12 of its peak, at most 1e5 days from 0; those in
        between enclose up to eight kinks closely. They carry no gradients: the integrals need
        none as long as `Gamma` has no jumps.
        """
        return measured_breakpoints(stopped(self).Gamma)

    def Gamma_hat(self, omega: Float[Array, "..."]) -> Complex[Array, "..."]:
        r"""Fourier transform of the area profile.

        .. math:: \hat\Gamma(\omega) = \int \Gamma^2(t)\, e^{-i \omega t}\, dt

        Angular frequencies are in rad / day, of any shape; the complex values in days.
        """
        return transform(self.Gamma, self.breakpoints(), to_float(omega))

    def Gamma_hat_sq(self, omega: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""Power spectrum of the area profile, :math:`|\hat\Gamma(\omega)|^2`, in days squared."""
        value = self.Gamma_hat(omega)
        return value.real**2 + value.imag**2

    def R_Gamma(self, lag: Float[Array, "..."]) -> Float[Array, "..."]:
        r"""Autocorrelation of the area profile, in days, at lags in days of any shape and sign.

        .. math:: R_\Gamma(\tau) = \int \Gamma^2(t)\, \Gamma^2(t + \tau)\, dt
        """
        return autocorrelation(self.Gamma, self.breakpoints(), to_float(lag))

    def kernel_support(self) -> Any:
        r"""The largest lag in days at which :math:`R_\Gamma` matters, a Python float unless traced.

        Where it vanishes for good or, if it never does, stays below 1e-10 of its value at 0. Only
        that of the trapezoids and of `ExponentialEnvelope` carries gradients.
        """
        envelope = stopped(self)
        ends = envelope.breakpoints()
        return plain(last_lag(envelope.R_Gamma, ends[-1] - ends[0]))

    def of_one_spot(self) -> "AbstractEnvelope":
        """The envelope that one spot follows, stretched in time: the same unless spots differ."""
        return self

    def draw(self, key, count: int) -> tuple[Float[Array, " count"], Float[Array, " count"]]:
        """Stretches in time and factors of the radius of spots drawn at random: all 1."""
        ones = jnp.ones(count)
        return ones, ones

    def time_scales(self) -> tuple[str, ...]:
        """Paths of the parameters that are times: together they stretch the profile.

        By default those with a lower bound of 0 and no upper one. They get the default prior of
        a time scale, and `start` multiplies them by one factor.
        """
        known = {node.path: node.info for node in walk(self) if node.info is not None}
        return tuple(p for p, info in known.items() if info.lower == 0 and np.isinf(info.upper))

    def default_priors(self, data):
        """Log-uniform from the cadence to 3 spans for `time_scales`, wide ones for the rest."""
        return priors_by_bounds(self, data) | dict.fromkeys(self.time_scales(), data.time_scale)

    def start(self, period: float, lifetime: float) -> Self:
        r"""The envelope, stretched so that spots live for ``lifetime`` days, to start a fit from.

        That is the width :math:`\hat\Gamma(0)` of the area profile. All `time_scales` are
        multiplied by one factor, whatever the rotation ``period`` in days.
        """
        factor = lifetime / float(jnp.real(self.Gamma_hat(0.0)))
        return self.set({path: factor * self.get(path) for path in self.time_scales()})

    def starts(self, period: float, lifetime: float) -> tuple[Self, ...]:
        """Envelopes of several shapes with this life time; by default the one from `start`."""
        return (self.start(period, lifetime),)

    def get_sympy(self) -> dict[str, Any]:
        """Print the equations, or render them in Jupyter, and return them as SymPy expressions.

        Their names are "Gamma", "Gamma_hat" and "R_Gamma"; None is one that has no closed form.
        Times, frequencies and lags in them are the symbols t, omega, tau.
        """
        names = ("Gamma(t)", "Gamma_hat(omega)", "R_Gamma(tau)")
        return show(type(self).__name__, dict(zip(names, self._equations(), strict=True)))

    def _equations(self) -> tuple[Any, Any, Any]:
        """SymPy expressions of Gamma, Gamma_hat and R_Gamma, None where there is no closed form."""
        return None, None, None


class AbstractPlateauEnvelope(AbstractEnvelope):
    """An envelope with a plateau between growth and decay, named by the class.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from pytreefit import param
    >>> class CosineRamps(AbstractPlateauEnvelope):
    ...     plateau, ramps = "lspot", ("tau",)
    ...     lspot: jax.Array = param(unit="d", bounds="[0, inf)")
    ...     tau: jax.Array = param(unit="d", bounds="(0, inf)")
    ...
    ...     def Gamma(self, t):
    ...         ramp = jnp.clip((jnp.abs(t) - self.lspot / 2) / self.tau, 0.0, 1.0)
    ...         return jnp.cos(jnp.pi / 2 * ramp)
    >>> envelope = CosineRamps(lspot=8.0, tau=3.0).start(period=5.0, lifetime=20.0)
    >>> round(float(envelope.Gamma_hat(0.0).real), 4)  # a plateau of 20 days, two ramps of 10 / 2
    30.0
    """

    plateau: ClassVar[str]
    ramps: ClassVar[tuple[str, ...]]

    def start(self, period, lifetime):
        """A plateau as long as the life time (at least 1.5 rotations), ramps half as long."""
        return self._shaped(max(lifetime, 1.5 * period), 0.5 * lifetime)

    def starts(self, period, lifetime):
        """Two shapes: three quarters of the life time on the ramps, or on the plateau."""
        return tuple(self._shaped(x * lifetime, (1.0 - x) * lifetime) for x in (0.25, 0.75))

    def _shaped(self, plateau: float, ramp: float) -> Self:
        return self.set({self.plateau: plateau, **dict.fromkeys(self.ramps, ramp)})
