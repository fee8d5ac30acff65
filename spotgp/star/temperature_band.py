"""A photometric band whose contrast follows from the temperature of the spots."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float

from pytreefit import param
from pytreefit.extend import check_choice, check_kind

from .channels import AbstractChannel, AbstractLimbDarkening, darkened
from .temperature import BANDS, Passband, Spectrum, band_contrast, blackbody


def _band(value: Any) -> Any:
    if isinstance(value, str):
        check_choice("TemperatureBand.band", value, tuple(BANDS))
        return Passband.named(value)
    return value


def _spectrum(function: Any) -> Any:
    if function is None:
        return None
    if not callable(function) or isinstance(function, type):
        raise TypeError(
            f"TemperatureBand.spectrum = {function!r} is no function of wavelength and temperature."
        )
    # a plain function is no leaf that jax.jit takes, a Partial carries it as static data
    kept = isinstance(function, eqx.Module | jax.tree_util.Partial)
    return function if kept else jax.tree_util.Partial(function)


class TemperatureBand(AbstractChannel):
    r"""Relative flux in a photometric band, from the temperature of the spots.

    .. math:: w = -c\, V(\mu), \qquad c = 1 - \frac{B(T_\mathrm{spot})}{B(T_\mathrm{phot})}

    with the light B of the band, see `band_contrast`. The contrast is that against a black spot:
    the amplitude of the star is that of black spots of the same areas. One band cannot tell large
    spots from dark ones; the ratio of two bands' amplitudes measures the temperature, as long as
    their spots have one and the same: tie it in the priors,
    ``{("channels.blue.t_spot", "channels.red.t_spot"): (3000.0, 5700.0)}``.

    Parameters
    ----------
    t_spot
        Temperature of the spots in K.
    t_phot
        Temperature of the photosphere in K. Fixed by default.
    band
        A `Passband`, or the name of one.
    limb
        Limb darkening in this band; None is that of the star.
    spectrum
        As for `band_contrast`; None are black bodies.

    Examples
    --------
    >>> from spotgp import TemperatureBand
    >>> band = TemperatureBand(t_spot=4800.0, t_phot=5800.0, band="V")
    >>> print(f"{band.contrast:.3f}")
    0.615
    """

    unit: ClassVar[str | None] = ""

    t_spot: Float[Array, ""] = param(
        unit="K", bounds="(0, inf)", label=r"$T_\mathrm{spot}$", doc="temperature of the spots"
    )
    t_phot: Float[Array, ""] = param(
        unit="K", bounds="(0, inf)", label=r"$T_\mathrm{phot}$", doc="that of the photosphere"
    )
    band: Passband = eqx.field(converter=_band)
    limb: AbstractLimbDarkening | None = None
    spectrum: Spectrum | None = eqx.field(default=None, converter=_spectrum)

    def __check_init__(self):
        check_kind("TemperatureBand.band", self.band, Passband)
        check_kind("TemperatureBand.limb", self.limb, AbstractLimbDarkening | None)

    @property
    def contrast(self) -> Float[Array, ""]:
        """The contrast c of the spots, below 0 if they are hotter than the photosphere."""
        spectrum = blackbody if self.spectrum is None else self.spectrum
        return band_contrast(self.t_spot, self.t_phot, self.band, spectrum)

    def default_priors(self, data):
        """Of the spots' temperature: uniform from half of the photosphere's to all of it.

        For hotter ones from all of it to half as much again.
        """
        phot = float(self.t_phot)
        low, high = (0.5, 1.0) if float(self.t_spot) <= phot else (1.0, 1.5)
        return {"t_spot": dist.Uniform(low * phot, high * phot)}

    def weight(self, visibility):
        contrast = self.contrast
        return {0: [-contrast * b for b in darkened(self.limb, visibility)]}

    def size(self, visibility):
        return abs(float(jnp.asarray(self.contrast)))
