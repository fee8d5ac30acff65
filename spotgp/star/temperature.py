r"""Contrasts of spots from temperatures.

.. math::
    c_b = 1 - \frac{B_b(T_\mathrm{spot})}{B_b(T_\mathrm{phot})}, \qquad
    B_b(T) = \int F_\lambda(T)\, S_b(\lambda)\, \lambda\, d\lambda

with the transmission S of a band, per photon, and a spectrum F, by default that of a black body,
:math:`F_\lambda \propto \lambda^{-5} / (e^{h c / \lambda k T} - 1)`.
"""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Model
from pytreefit.extend import (
    as_data,
    as_number,
    as_whole_number,
    check_choice,
    check_shape,
    gauss_legendre,
    is_traced,
)

from ..component import to_float

SECOND_RADIATION = 1.438776877e7  # h c / k in nm K
# lowest and highest wavelength in nm
BANDS: dict[str, tuple[float, float]] = {
    "Kepler": (423.0, 897.0),  # Koch et al. (2010), ApJ 713, L79
    "TESS": (600.0, 1000.0),  # Ricker et al. (2015), JATIS 1, 014003
    # Gaia Collaboration, Prusti et al. (2016), A&A 595, A1
    "Gaia G": (330.0, 1050.0),
    "Gaia BP": (330.0, 680.0),
    "Gaia RP": (640.0, 1050.0),
    # Bessell (2005), ARA&A 43, 293: effective wavelengths -+ half of the bandwidths
    "U": (333.8, 398.8),
    "B": (391.6, 480.6),
    "V": (502.8, 586.8),
    "R": (561.7, 719.7),
    "I": (721.0, 875.0),
}

Spectrum = Callable[[Float[Array, "..."], Float[Array, ""]], Float[Array, "..."]]


def _array(name: str, unit: str | None, ndim: int = 1):
    def convert(value):
        value = as_data(name, value, unit, ndim=ndim)
        if not is_traced(value) and not np.all((value > 0) & (value < np.inf)):
            raise ValueError(f"{name} must be > 0 and finite.")
        return to_float(value)

    return eqx.field(converter=convert)


def _check_ascending(name: str, values) -> None:
    if not is_traced(values) and (values.size < 2 or not np.all(np.diff(values) > 0)):
        raise ValueError(f"{name} must have two values or more, in ascending order.")


class Passband(Model):
    """The transmission of a photometric band, as nodes and weights of integrals over wavelength.

    Made by `Passband.named`, `Passband.tophat` and `Passband.table`. The integrals are over
    photons: detectors that count them weight a spectrum with the wavelength.

    Parameters
    ----------
    wavelength
        Nodes in nm, ascending, shape (n,).
    weight
        Width times transmission times wavelength at each, > 0, shape (n,).

    Examples
    --------
    >>> from spotgp import Passband
    >>> Passband.named("TESS")  # by its outermost nodes
    Passband(601 to 999 nm)
    """

    wavelength: Float[Array, " n"] = _array("Passband.wavelength", "nm")
    weight: Float[Array, " n"] = _array("Passband.weight", None)

    def __check_init__(self):
        _check_ascending("Passband.wavelength", self.wavelength)
        check_shape("Passband.weight", self.weight, shape=self.wavelength.shape)

    @classmethod
    def tophat(cls, low: float, high: float, nodes: int = 24) -> "Passband":
        """A band that lets all light pass between two wavelengths in nm.

        Its nodes are many for black bodies; spectra with lines need some hundred.
        """
        low, high = as_number("low", low, "nm"), as_number("high", high, "nm")
        if not 0 < low < high < np.inf:
            raise ValueError(f"low = {low:g} and high = {high:g} nm must be 0 < low < high.")
        wavelength, weight = gauss_legendre(as_whole_number("nodes", nodes, 2), low, high)
        return cls(wavelength, weight * wavelength)

    @classmethod
    def named(cls, name: str) -> "Passband":
        """The top hat of one of the bands Kepler, TESS, Gaia G, BP and RP, and U, B, V, R, I.

        Edges are those of the instruments' papers (Koch et al. 2010; Ricker et al. 2015; Gaia
        Collaboration 2016), and of Johnson and Cousins' bands effective wavelengths and half of
        the bandwidths (Bessell 2005). Use `table` where more is to depend on a band's shape.
        """
        check_choice("name", name, tuple(BANDS))
        return cls.tophat(*BANDS[name])

    @classmethod
    def table(cls, wavelength, transmission) -> "Passband":
        """A band from a table.

        Parameters
        ----------
        wavelength
            In nm or with a unit, ascending, shape (n,).
        transmission
            Shares of the photons that are counted, in any scale, shape (n,); linear in between.
        """
        wavelength = as_data("wavelength", wavelength, "nm", ndim=1)
        transmission = as_data("transmission", transmission, "", shape=wavelength.shape)
        _check_ascending("wavelength", wavelength)
        if not wavelength[0] > 0 or not wavelength[-1] < np.inf:
            raise ValueError("wavelength must be > 0 and finite (nm).")
        if not np.all((transmission >= 0) & (transmission < np.inf)) or not np.any(transmission):
            raise ValueError("transmission must be >= 0 and finite, and not 0 everywhere.")
        node, share = gauss_legendre(3, 0.0, 1.0)
        width, rise = np.diff(wavelength)[:, None], np.diff(transmission)[:, None]
        at = wavelength[:-1, None] + width * node
        weight = width * share * (transmission[:-1, None] + rise * node) * at
        lit = weight > 0.0
        return cls(at[lit], weight[lit])

    def __repr__(self):
        if is_traced(self.wavelength):
            return "Passband(traced)"
        low, high = float(self.wavelength[0]), float(self.wavelength[-1])
        return f"Passband({low:.0f} to {high:.0f} nm)"


def blackbody(
    wavelength: Float[Array, "..."], temperature: Float[Array, ""]
) -> Float[Array, "..."]:
    """Planck's law per wavelength, in units of its own.

    Parameters
    ----------
    wavelength
        nm, any shape.
    temperature
        K.

    Examples
    --------
    >>> round(
    ...     float(blackbody(600.0, 4000.0) / blackbody(600.0, 5800.0)), 2
    ... )  # spots over photosphere
    0.15
    """
    return (wavelength / 500.0) ** -5 / jnp.expm1(SECOND_RADIATION / (wavelength * temperature))


class SpectrumTable(Model):
    """Spectra at some temperatures, such as those of model atmospheres.

    The logarithm of the flux is linear in the logarithm of the temperature, and in the wavelength.
    Beyond the table its ends hold.

    Parameters
    ----------
    temperature
        K, ascending, shape (k,).
    wavelength
        nm, ascending, shape (n,).
    flux
        Flux of the surface per wavelength in any one unit, > 0, shape (k, n).

    Examples
    --------
    >>> import numpy as np
    >>> t = np.array([4000.0, 6000.0])
    >>> grey = SpectrumTable(t, [500.0, 700.0], np.stack([t**4, t**4], axis=1))
    >>> round(float(grey(600.0, 5000.0) / grey(600.0, 4000.0)), 4)  # 1.25**4
    2.4414
    """

    temperature: Float[Array, " k"] = _array("SpectrumTable.temperature", "K")
    wavelength: Float[Array, " n"] = _array("SpectrumTable.wavelength", "nm")
    flux: Float[Array, "k n"] = _array("SpectrumTable.flux", None, 2)

    def __check_init__(self):
        _check_ascending("SpectrumTable.temperature", self.temperature)
        _check_ascending("SpectrumTable.wavelength", self.wavelength)
        shape = self.temperature.shape + self.wavelength.shape
        check_shape("SpectrumTable.flux", self.flux, shape=shape)

    def __call__(self, wavelength, temperature):
        at = jnp.log(temperature)
        grid = jnp.log(self.temperature)
        k = jnp.clip(jnp.searchsorted(grid, at) - 1, 0, grid.size - 2)
        share = jnp.clip((at - grid[k]) / (grid[k + 1] - grid[k]), 0.0, 1.0)
        log_flux = (1.0 - share) * jnp.log(self.flux[k]) + share * jnp.log(self.flux[k + 1])
        return jnp.exp(jnp.interp(wavelength, self.wavelength, log_flux))


def band_contrast(
    t_spot: Float[Array, "..."],
    t_phot: Float[Array, "..."],
    band: Passband | str,
    spectrum: Spectrum = blackbody,
) -> Float[Array, "..."]:
    r"""Contrast of spots in a band, differentiable in both temperatures.

    .. math:: c_b = 1 - B_b(T_\mathrm{spot}) / B_b(T_\mathrm{phot})

    Negative for what is hotter than the photosphere. What `FluxBand` takes is the contrast in its
    band over that in the band of the light curve; the ratio of two bands' amplitudes measures the
    temperature of spots.

    Parameters
    ----------
    t_spot, t_phot
        Temperatures of spot and photosphere in K, of any shapes that broadcast.
    band
        A `Passband`, or the name of one.
    spectrum
        Flux per wavelength as a function of wavelengths in nm and one temperature: black bodies, a
        `SpectrumTable`, or a function of one's own.

    Raises
    ------
    ValueError, TypeError
        If a temperature is not > 0, a name unknown, or the band none.

    Examples
    --------
    >>> from spotgp import band_contrast
    >>> blue, red = (band_contrast(4800.0, 5800.0, band) for band in ("B", "I"))
    >>> print(f"{blue:.3f} {red:.3f}")
    0.693 0.490
    """
    if isinstance(band, str):
        check_choice("band", band, tuple(BANDS))
        band = Passband.named(band)
    if not isinstance(band, Passband):
        raise TypeError(f"band is a {type(band).__name__}: give a Passband or the name of one.")
    if not callable(spectrum) or isinstance(spectrum, type):
        raise TypeError(f"spectrum = {spectrum!r} is no function of wavelength and temperature.")
    t_spot, t_phot = jnp.broadcast_arrays(_kelvin("t_spot", t_spot), _kelvin("t_phot", t_phot))

    ratio = jax.vmap(partial(_ratio, band, spectrum))(t_spot.ravel(), t_phot.ravel())
    return 1.0 - ratio.reshape(t_spot.shape)


def _ratio(band, spectrum, t_spot, t_phot):
    light = [jnp.sum(band.weight * spectrum(band.wavelength, t)) for t in (t_spot, t_phot)]
    return light[0] / light[1]


def _kelvin(name, value):
    value = to_float(as_data(name, value, "K"))
    if not is_traced(value) and not np.all((value > 0) & (value < np.inf)):
        raise ValueError(f"{name} must be > 0 and finite (K).")
    return value
