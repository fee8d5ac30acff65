"""One disk in several bands: its phase functions, and its colours."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Table, jit, param
from pytreefit.extend import check_choice, check_kind, inline

from .phase import AbstractPhaseFunction


class Band(AbstractPhaseFunction):
    """A phase function in one band, and how bright the dust is in it.

    Parameters
    ----------
    phase : AbstractPhaseFunction
        Its parameters are at the band's own paths: ``"disk.phase.bands.K.g"``.
    brightness : float
        Factor :math:`k > 0` on the disk's flux: ``"disk.phase.bands.K.brightness"``.

    Examples
    --------
    >>> from grater import Bands, HenyeyGreenstein
    >>> phase = HenyeyGreenstein(0.3)
    >>> Bands({"H": phase, "K": Band(phase, brightness=0.8)}).names
    ('H', 'K')
    """

    phase: AbstractPhaseFunction = inline()
    brightness: Float[Array, ""] = param(
        default=1.0, bounds="(0, inf)", label="$k$", doc="factor on the flux of the disk"
    )

    def __check_init__(self):
        check_kind("Band.phase", self.phase, AbstractPhaseFunction)
        if isinstance(self.phase, Band | Bands):
            raise TypeError(f"Band.phase = {self.phase!r} has bands already.")

    def __call__(self, cos_scatter):
        return self.phase(cos_scatter)

    def prepared(self):
        return self.phase.prepared()

    def integral(self):
        return self.phase.integral()

    def right_angle(self):
        return self.phase.right_angle()

    def curves(self, names):
        return self.phase.curves(names)

    def factor(self, normalization):
        return self.brightness * self.phase.factor(normalization)


class Bands(AbstractPhaseFunction):
    r"""Phase functions of one disk in several bands, which share all of its geometry.

    .. math:: I_b = k_b\, F \int \rho\, f\, \frac{p_b(\cos\theta)}{d^2}\, dl

    Each :math:`p_b` is normalised by itself, as the disk's ``phase_normalization`` says. Leave the
    brightness :math:`k_b` of one band at 1: it is the flux of the disk there. A view or a channel
    says which band it shows by ``curve="K"``, or ``curve="K.total"`` where the band's phase
    function has curves of its own, as `Polarized` has. Bands on the same pixels are integrated
    together.

    Parameters
    ----------
    bands : dict
        `Band`, or a phase function for one of brightness 1, by the name of the band.

    Raises
    ------
    ValueError, TypeError
        Where there are none, for names with a dot, and for what is no phase function.

    Examples
    --------
    >>> from grater import HenyeyGreenstein
    >>> phase = Bands({"H": HenyeyGreenstein(0.3), "K": Band(HenyeyGreenstein(0.4), 0.8)})
    >>> phase.names
    ('H', 'K')
    """

    bands: Mapping[str, Band] = eqx.field(converter=lambda bands: _as_bands(bands))

    def __check_init__(self):
        if not isinstance(self.bands, Mapping) or not self.bands:
            raise ValueError(
                "Bands.bands must be a dictionary of phase functions, such as "
                "{'H': HenyeyGreenstein(0.3), 'K': HenyeyGreenstein(0.4)}."
            )
        for name, band in self.bands.items():
            check_kind(f"Bands.bands[{name!r}]", band, Band)
            if not isinstance(name, str) or "." in name or not name:
                raise ValueError(f"Bands.bands: {name!r} is not a name without a dot.")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the bands, sorted."""
        return tuple(sorted(self.bands))

    @property
    def shown(self):
        return self.names[0]

    def __call__(self, cos_scatter):
        raise self._which(None)

    def curves(self, names):
        """The curves of bands, by "K" or "K.total"."""
        split = [self._split(name) for name in names]
        parts = []
        for band in dict.fromkeys(band for band, _ in split):
            of = [(at, own) for at, (other, own) in enumerate(split) if other == band]
            where, own = zip(*of, strict=True)
            parts.append(_Placed(self.bands[band].curves(own), where))
        return _BandCurves(tuple(parts))

    def factors(self, names, normalization):
        bands = [self.bands[self._split(name)[0]] for name in names]
        return jnp.stack([band.factor(normalization) for band in bands])

    def _split(self, name: str | None) -> tuple[str, str | None]:
        """Band and curve of it."""
        band, _, own = (name or "").partition(".")
        if band not in self.bands:
            raise self._which(name)
        return band, own or None

    def _which(self, name):
        missing = "Bands has no curve of its own" if name is None else f"Bands has no band {name!r}"
        return TypeError(
            f"{missing}, only {', '.join(self.names)}: say which one the view or the channel "
            f'shows, as in curve="{self.shown}".'
        )


def _as_bands(bands: Any) -> Any:
    if not isinstance(bands, Mapping):
        return bands
    plain = {
        name: isinstance(band, AbstractPhaseFunction) and not isinstance(band, Band | Bands)
        for name, band in bands.items()
    }
    return {name: Band(band) if plain[name] else band for name, band in bands.items()}


class _Placed(eqx.Module):
    curves: Any  # of one band
    where: tuple[int, ...] = eqx.field(static=True)


class _BandCurves(eqx.Module):
    parts: tuple[_Placed, ...]

    def __call__(self, cos_scatter):
        found = {}
        for part in self.parts:
            found |= dict(zip(part.where, part.curves(cos_scatter), strict=True))
        return tuple(found[at] for at in sorted(found))


class Colors(NamedTuple):
    """Colours of a disk, see `colors`.

    Parameters
    ----------
    names
        Of the colours, such as "K - H", (n,).
    draws
        In magnitudes, shape (draws, n).

    Examples
    --------
    >>> import numpy as np
    >>> draws = np.array([[0.2, 0.5], [0.3, 0.7], [0.4, 0.9]])
    >>> found = Colors(("J - H", "K - H"), draws)
    >>> found.mean.round(3).tolist(), float(found.covariance[0, 1].round(3))
    ([0.3, 0.7], 0.02)
    """

    names: tuple[str, ...]
    draws: Float[np.ndarray, "draws n"]

    @property
    def mean(self) -> Float[np.ndarray, " n"]:
        """Mean of each, magnitudes."""
        return self.draws.mean(axis=0)

    @property
    def covariance(self) -> Float[np.ndarray, "n n"]:
        """Covariance of them, magnitudes squared."""
        return np.atleast_2d(np.cov(self.draws, rowvar=False))

    def table(self) -> Table:
        """Median and 68 % interval of each colour, and its correlation with the others."""
        spread = np.sqrt(np.diag(self.covariance))
        correlation = self.covariance / np.where(spread > 0, spread, 1.0)[:, None]
        correlation = correlation / np.where(spread > 0, spread, 1.0)[None, :]
        rows = []
        for k, name in enumerate(self.names):
            low, median, high = np.percentile(self.draws[:, k], [16, 50, 84])
            numbers = (f"{x:.4f}" for x in (median, median - low, high - median))
            rows.append((name, *numbers, "mag", *(f"{r:.3f}" for r in correlation[k])))
        headings = (f"with {name}" for name in self.names)
        return Table(("color", "median", "minus", "plus", "unit", *headings), rows)


def colors(samples: Any, path: str = "disk.phase", reference: str | None = None) -> Colors:
    r"""Return the colours of a disk in its bands, for every draw of a posterior.

    .. math:: m_b - m_a = -2.5 \log_{10} (k_b / k_a)

    with the brightness :math:`k` of a band and that of the reference a. They are the disk's own
    minus those of its star where images are in units of the star's light in each band (contrast).
    With ``phase_normalization="sphere"`` they are of all the light that is scattered, with
    "right_angle" of that at 90 deg.

    Disks are surface brightness, so that images of bands with pixels of other sizes have to be in
    units per solid angle. The flux of a `PointSource` is a sum over pixels, and in such units means
    per pixel of its view.

    Parameters
    ----------
    samples : pytreefit.Samples
        Posterior draws.
    path : str
        Where the `Bands` are in the model.
    reference : str, optional
        Band with which all others are compared; by default the first in the order of names.

    Raises
    ------
    ValueError, TypeError
        Where there are no bands, or only one, and for a reference that is none.

    Examples
    --------
    >>> import jax
    >>> from grater import Band, Bands, Disk, Isotropic
    >>> from pytreefit import Posterior, sample
    >>> phase = Bands({"H": Isotropic(), "K": Band(Isotropic(), 0.8)})
    >>> disk = Disk(40, 60, 0, alpha_in=5, alpha_out=-5, scale_height=2, phase=phase)
    >>> path = "phase.bands.K.brightness"
    >>> measured = lambda disk: -0.5 * ((disk.get(path) - 0.8) / 0.01) ** 2
    >>> posterior = Posterior(disk, measured, {path: (0.5, 1.5)})
    >>> samples = sample(posterior, jax.random.key(0), method="mixture", progress=False)
    >>> colors(samples, "phase").mean.round(2).tolist()  # -2.5 log10(0.8)
    [0.24]
    """
    phase = samples.models(1).get(path)
    check_kind(f"colors: {path}", phase, Bands)
    reference = phase.names[0] if reference is None else reference
    check_choice("colors: reference", reference, phase.names)
    others = [name for name in phase.names if name != reference]
    if not others:
        raise ValueError(f"colors: {path} has the band {reference!r} only; a colour takes two.")
    factors = dict(zip(phase.names, np.asarray(_brightness(samples, path)), strict=True))
    magnitudes = [-2.5 * np.log10(factors[name] / factors[reference]) for name in others]
    return Colors(tuple(f"{name} - {reference}" for name in others), np.stack(magnitudes, axis=-1))


@jit
def _brightness(samples, path):
    phase = samples.models().get(path)
    return jnp.stack([phase.bands[name].brightness for name in phase.names])
