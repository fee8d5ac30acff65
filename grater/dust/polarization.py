r"""Degree of polarisation against the scattering angle, and polarised phase functions made of it.

Positive is polarised at right angles to the scattering plane, as small and as fluffy grains do near
90 deg: light that an image of :math:`Q_\phi` shows as positive.
"""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Model, param
from pytreefit.extend import as_data, is_traced

from .bands import Bands
from .phase import AbstractPhaseFunction, Curve
from .phase_curves import (
    SplineCurve,
    TabulatedPhase,
    check_table,
    natural_spline,
    table_curve,
)


class AbstractPolarization(Model):
    """How much of the scattered light is polarised, against the cosine of the scattering angle.

    A new curve is a class with its parameters as fields and one method, `__call__`.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import param
    >>> class ScaledRayleigh(AbstractPolarization):
    ...     peak: jax.Array = param(bounds="[0, 1]")
    ...
    ...     def __call__(self, cos_scatter):
    ...         return self.peak * (1.0 - cos_scatter**2) / (1.0 + cos_scatter**2)
    >>> float(ScaledRayleigh(peak=0.3)(0.0))  # at 90 deg
    0.3
    """

    @abc.abstractmethod
    def __call__(self, cos_scatter: Float[Array, "..."]) -> Float[Array, "..."]:
        """Degree of polarisation, -1 to 1, at the cosine of the scattering angle, of its shape."""

    def prepared(self) -> Curve:
        """The same curve with all that does not depend on the angle worked out once."""
        return self


class RayleighPolarization(AbstractPolarization):
    r"""Degree of polarisation of grains much smaller than the wavelength.

    .. math:: (1 - c^2) / (1 + c^2)

    Examples
    --------
    >>> round(float(RayleighPolarization()(0.0)), 3)  # at 90 deg
    1.0
    """

    def __call__(self, cos_scatter):
        squared = cos_scatter**2
        return (1.0 - squared) / (1.0 + squared)


class TabulatedPolarization(AbstractPolarization):
    """Degree of polarisation from a table, for instance of Mie theory or of a measurement.

    Between the angles a monotone cubic (PCHIP) is drawn, outside of them the nearest value holds.

    Parameters
    ----------
    angle
        Scattering angles in degrees, shape (n,), n >= 2, increasing, in [0, 180]; 0 is forward.
    values
        Degree of polarisation there, shape (n,), -1 to 1.

    Raises
    ------
    ValueError
        For angles out of order, and tables of different lengths.

    References
    ----------
    Fritsch & Carlson 1980, SIAM J. Numer. Anal. 17, 238 (the monotone cubic).

    Examples
    --------
    >>> degree = TabulatedPolarization([0.0, 90.0, 180.0], [0.0, 0.4, 0.0])
    >>> round(float(degree(0.0)), 3)  # at 90 deg
    0.4
    """

    angle: Float[Array, " n"] = param(
        unit="deg", shape=None, bounds="[0, 180]", doc="scattering angles"
    )
    values: Float[Array, " n"] = param(
        shape=None, bounds="[-1, 1]", doc="degree of polarisation at the angles"
    )

    def __check_init__(self):
        check_table("TabulatedPolarization", self.angle, self.values)

    def prepared(self):
        return table_curve(self.angle, self.values)

    def __call__(self, cos_scatter):
        return self.prepared()(cos_scatter)


class SplinePolarization(AbstractPolarization):
    r"""Free degree of polarisation: a smooth curve through values at chosen angles.

    .. math:: \tanh S(c), \quad S(c_k) = \mathrm{artanh}\, v_k, \quad S(\pm 1) = 0

    with :math:`S` the natural cubic spline in :math:`c = \cos\theta`. It stays between -1 and 1 and
    is 0 straight forward and back, where no direction is better than another.

    Parameters
    ----------
    knots
        Cosines of the scattering angles, shape (n,), increasing, in (-1, 1).
    values
        Degree of polarisation there, shape (n,), -1 to 1, both excluded.

    Raises
    ------
    ValueError
        For knots out of order, and another number of values than of knots.

    Examples
    --------
    >>> degree = SplinePolarization([-0.5, 0.0, 0.5], [0.1, 0.4, 0.2])
    >>> round(float(degree(0.0)), 3)  # at 90 deg
    0.4
    """

    knots: Float[Array, " n"] = param(
        shape=None, bounds="(-1, 1)", label="$c_k$", doc="cosines of the scattering angles"
    )
    values: Float[Array, " n"] = param(
        shape=None, bounds="(-1, 1)", label="$v_k$", doc="degree of polarisation at the knots"
    )

    def __check_init__(self):
        if self.knots.shape != self.values.shape or self.knots.size < 1:
            raise ValueError(
                f"SplinePolarization.knots has shape {self.knots.shape} and .values has shape "
                f"{self.values.shape}. Give one value for each of at least one knot."
            )
        if not is_traced(self.knots) and not np.all(np.diff(self.knots) > 0):
            raise ValueError(
                f"SplinePolarization.knots = {self.knots} are out of order. They are cosines of "
                "scattering angles and must increase, from backward (-1) to forward (+1)."
            )

    def prepared(self):
        one = jnp.ones(1, self.knots.dtype)
        knots = jnp.concatenate([-one, self.knots, one])
        values = jnp.concatenate([0.0 * one, jnp.arctanh(self.values), 0.0 * one])
        return _Tanh(natural_spline(knots, values))

    def __call__(self, cos_scatter):
        return self.prepared()(cos_scatter)


class _Tanh(eqx.Module):
    spline: SplineCurve

    def __call__(self, cos_scatter):
        return jnp.tanh(self.spline(cos_scatter))


class Polarized(AbstractPhaseFunction):
    r"""Polarised intensity of dust with a degree of polarisation.

    .. math:: p_{pol}(c) = p(c)\, p_{max}\, P(c)

    It keeps the normalisation of the total intensity's phase function :math:`p`, so that the same
    disk seen in total and in polarised light has one flux.

    Parameters
    ----------
    phase
        Phase function of the total intensity.
    peak
        Factor :math:`p_{max}` of the degree of polarisation, 0 to 1; of the default curve it is
        its largest value, at 90 deg. With nothing but polarised data it cannot be told from the
        flux: leave it at 1.
    polarization
        Curve :math:`P` of the degree of polarisation, `RayleighPolarization` by default.

    References
    ----------
    Engler et al. 2017, A&A 607, A90.

    Examples
    --------
    >>> from grater import HenyeyGreenstein
    >>> phase = Polarized(HenyeyGreenstein(g=0.3), peak=0.4)
    >>> round(float(phase(0.0) / phase.phase(0.0)), 3)  # the degree of polarisation at 90 deg
    0.4
    """

    phase: AbstractPhaseFunction
    peak: Float[Array, ""] = param(
        default=1.0, bounds="[0, 1]", label="$p_{max}$", doc="largest degree of polarisation"
    )
    polarization: AbstractPolarization = eqx.field(default_factory=RayleighPolarization)

    def __check_init__(self):
        if not isinstance(self.phase, AbstractPhaseFunction):
            raise TypeError(f"Polarized.phase = {self.phase!r} is not a phase function.")
        if isinstance(self.phase, Bands):
            raise TypeError(
                "Polarized.phase has bands: give each band a Polarized phase function, as in "
                "Bands({'H': Polarized(...), 'K': Polarized(...)})."
            )
        if not isinstance(self.polarization, AbstractPolarization):
            raise TypeError(
                f"Polarized.polarization = {self.polarization!r} is not an AbstractPolarization."
            )

    @classmethod
    def from_matrix(cls, angle, s11, s12) -> "Polarized":
        r"""The curves of a scattering matrix, as of Mie theory or of hollow spheres (DHS).

        .. math:: p \propto S_{11}, \quad P = -S_{12} / S_{11}

        Both are drawn as `TabulatedPhase` and `TabulatedPolarization` do, and the total intensity
        is normalised as a disk asks for.

        Parameters
        ----------
        angle
            Scattering angles in degrees, shape (n,), increasing, in [0, 180]; 0 is forward.
        s11, s12
            Elements of the matrix there, shape (n,), in the same unit, whatever it is;
            ``s11`` > 0 and ``s12`` no larger.

        Raises
        ------
        ValueError
            For tables of different lengths, and elements that are no scattering matrix.

        References
        ----------
        Bohren & Huffman 1983, Absorption and Scattering of Light by Small Particles, section 3.3.

        Examples
        --------
        >>> import numpy as np
        >>> angle = np.linspace(0.0, 180.0, 181)
        >>> c = np.cos(np.deg2rad(angle))
        >>> phase = Polarized.from_matrix(angle, 1 + c**2, c**2 - 1)  # of Rayleigh
        >>> round(float(phase.polarization(0.0)), 6)
        1.0
        """
        total, other = (
            as_data(f"Polarized.from_matrix: {name}", value, ndim=1)
            for name, value in (("s11", s11), ("s12", s12))
        )
        _check_matrix(total, other)
        return cls(TabulatedPhase(angle, total), 1.0, TabulatedPolarization(angle, -other / total))

    def __call__(self, cos_scatter):
        return self.curves((None,))(cos_scatter)[0]

    def integral(self):
        return self.phase.integral()

    def right_angle(self):
        return self.phase.right_angle()

    def curves(self, names):
        """The curves "total" and "polarized"; None is the polarised one."""
        unknown = set(names) - {None, "total", "polarized"}
        if unknown:
            raise TypeError(f"Polarized has the curves 'total' and 'polarized', no {unknown}.")
        curves = self.phase.prepared(), self.polarization.prepared()
        return _PolarizedCurves(*curves, self.peak, tuple(names))


def _check_matrix(s11: Any, s12: Any) -> None:
    if s11.shape != s12.shape:
        raise ValueError(
            f"Polarized.from_matrix: s11 has shape {s11.shape} and s12 {s12.shape}: one of each "
            "for every angle."
        )
    if not np.all((s11 > 0) & (np.abs(s12) <= s11 * (1.0 + 1e-6))):
        index = int(np.argmin((s11 > 0) & (np.abs(s12) <= s11 * (1.0 + 1e-6))))
        raise ValueError(
            f"Polarized.from_matrix: s11 = {s11[index]:g} and s12 = {s12[index]:g} at index "
            f"{index} are no scattering matrix: s11 must be positive and s12 no larger."
        )


class _PolarizedCurves(eqx.Module):
    total: Curve
    polarization: Curve
    peak: Float[Array, ""]
    names: tuple[str | None, ...] = eqx.field(static=True)

    def __call__(self, cos_scatter):
        total = self.total(cos_scatter)
        polarized = total * self.peak * self.polarization(cos_scatter)
        return tuple(total if name == "total" else polarized for name in self.names)
