"""A star whose parameters are moved by hand: its curves and its spots, without any page."""

import math
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pytreefit import jit
from pytreefit.extend import Explorer, check_kind, priors_code, values_code

from ..gp.prediction import predict_at
from ..gp.solver import GPSolver
from ..io.observations import TimeSeriesData
from ..kernel.analytic import AnalyticKernel
from ..periods import RotationPeriod
from ..plot import days_per_point, periodogram_of
from ..simulation.simulate import radii
from ..simulation.spots import draw_spots

_TIMES, _LAGS, _FREQUENCIES = 600, 400, 200
_PERIODS_OF_LAG, _HARMONICS = 10.0, 6.0  # that are shown
_SPECTRAL = tuple(range(8)), 24  # harmonics and nodes, enough for a picture of these
_SPOTS, _CONTRAST = 24, 0.7  # of the star that is drawn
_TURNS, _FRAMES = 3, 90
_FLOOR = 1e-3  # of the part of the variance that rotates


class StarExplorer(Explorer):
    """The Gaussian process of a star, whose parameters are moved by hand.

    Parameters
    ----------
    gp
        The process of the points that are fitted; its free parameters can be moved.
    data
        All points, for autocorrelation and spectrum.
    rotation
        Candidates of the period; by default what `rotation_period` finds in the data.
    recipe
        Python that makes ``data``, the points ``fitted``, a ``star`` and ``jitter``, for `code`.

    Raises
    ------
    TypeError
        For what is no `GPSolver` or no `TimeSeriesData`.

    Examples
    --------
    The page of a star, from a `GPSolver` of its light curve::

        explorer = spotgp.StarExplorer(gp, data)
        explorer.set("model.visibility.peq", 11.5)
        explorer.open()
    """

    exported = ".ecsv"

    def __init__(
        self,
        gp: GPSolver,
        data: TimeSeriesData,
        rotation: RotationPeriod | None = None,
        recipe: str = "",
    ):
        check_kind("gp", gp, GPSolver)
        check_kind("data", data, TimeSeriesData)
        rotation = data.rotation_period() if rotation is None else rotation
        check_kind("rotation", rotation, RotationPeriod)
        super().__init__(gp.posterior, recipe)
        self.gp, self.data, self.rotation = gp, data, rotation
        epoch, own = float(gp.data.epoch), np.asarray(gp.data.time, float)
        wanted = np.linspace(own[0], own[-1], _TIMES)
        reach = min(_PERIODS_OF_LAG * rotation.period, 0.5 * data.span)
        top = _HARMONICS / rotation.period
        self._at = {
            "wanted": wanted,
            "columns": gp.data.columns_at(wanted),
            "lag": np.linspace(0.0, reach, _LAGS),
            "omega": 2.0 * math.pi * np.linspace(0.0, top, _FREQUENCIES)[1:],
        }
        acf = data.autocorrelation(max_lag=reach)
        frequency, power = periodogram_of(data, top)
        self._fixed = {
            "time": own + epoch,
            "flux": np.asarray(gp.data.flux, float),
            "flux_err": np.asarray(gp.data.flux_err, float),
            "segment": np.zeros(own.size, int)
            if gp.data.segment is None
            else np.asarray(gp.data.segment),
            "curve_time": wanted + epoch,
            "lag": self._at["lag"],
            "data_lag": acf.lag,
            "data_acf": acf.acf,
            "frequency": self._at["omega"] / (2.0 * math.pi),
            "data_frequency": frequency,
            "data_psd": power,
        }
        # of the mean of so many points, for their periodogram
        error = data.to("").flux_err
        self._white = float(np.mean(np.square(error))) * days_per_point(data)

    @property
    def candidates(self) -> list[tuple[float, float]]:
        """Periods that the data suggest (days) and their probabilities, the best first."""
        pairs = zip(self.rotation.candidates, self.rotation.probabilities, strict=True)
        return [(float(period), float(probability)) for period, probability in pairs][:4]

    def set_period(self, period: float) -> None:
        """Choose the equator's period so that the star's effective one is this, days.

        Raises
        ------
        ValueError
            For a period that the prior excludes.
        """
        process: Any = self.model
        ratio = float(process.model.visibility.peq) / float(process.model.effective_period())
        self.set("model.visibility.peq", period * ratio)

    def arrays(self, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Curves and spots at some values of the free parameters, by default the present ones.

        Returns
        -------
        dict
            The fitted points, ``time``, ``flux``, ``flux_err``, ``segment``; the prediction
            ``mean`` and its ``sd`` at ``curve_time``; the correlation of the ``kernel`` at ``lag``,
            without what rotation does not change, and the data's ``data_acf`` at ``data_lag``; the
            power spectral density ``psd`` at ``frequency``, in days, with white noise, and the
            data's ``data_psd`` at ``data_frequency``; spots drawn at random: ``latitude`` of shape
            (spots,), ``longitude`` and ``radius`` of shape (frames, spots), and the ``equator``'s
            longitude of shape (frames,), in radians; the numbers ``inc``, ``period`` (effective)
            and ``log_likelihood``.
        """
        values = self._values if values is None else values
        found = _curves(self.posterior, dict(values), self._white, **self._at)
        return {**self._fixed, **{name: np.asarray(array) for name, array in found.items()}}

    def label(self, slider) -> str:
        """The short name, as in ``param_keys``."""
        return self.gp.param_keys[self.posterior.names.index(slider.path)]

    def draw(self, document: Any, title: str) -> None:
        """Fill a document of Bokeh with the page."""
        from .page import build  # with Bokeh

        build(document, self, title)

    def code(self) -> str:
        """Python that makes the same process, with its priors, and evaluates it."""
        fixed = ["model." + path for path in self.gp.process.model.paths.values()]
        fixed = [path for path in (*fixed, "jitter") if path not in self.posterior.names]
        none = "".join(f"priors[{path!r}] = None\n" for path in fixed)
        parts = (
            self.recipe,
            f"priors = {priors_code(self.posterior)}",
            f"{none}gp = spotgp.GPSolver.from_data(fitted, star, jitter=jitter, priors=priors)",
            f"gp = gp.at({values_code(self.posterior, self.model)})",
            'print(f"log likelihood {float(gp.log_likelihood()):.8g}")',
        )
        return "\n".join(parts) + "\n"

    def export(self, path: str | os.PathLike) -> None:
        """Write the prediction and its standard deviation into a table of astropy, as ECSV."""
        import astropy.units as u
        from astropy.table import QTable  # slow, and reads files

        arrays = self.arrays()
        table = QTable(
            {"time": arrays["curve_time"] * u.d, "mean": arrays["mean"], "sd": arrays["sd"]}
        )
        table.meta = {slider.name: self.get(slider.name) for slider in self.sliders}
        table.write(path, format="ascii.ecsv", overwrite=True)


@jit
def _curves(posterior, values, white, wanted, columns, lag, omega):
    """One program for all values."""
    process = posterior.model_at(values)
    solver = posterior.log_likelihood.__self__
    mean, variance = predict_at(solver, process, wanted, columns, None, False)
    kernel, star = process.spot_kernel(), process.model
    covariance, steady = kernel.kernel(lag), kernel.kernel_components(lag, (0,))[0]
    # the data's mean was taken out, and with it what rotation does not change
    rotating = jnp.maximum(covariance[0] - steady[0], _FLOOR * covariance[0])
    _, psd = AnalyticKernel(star, *_SPECTRAL).compute_psd(omega)
    return {
        "mean": mean,
        "sd": jnp.sqrt(variance),
        "kernel": (covariance - steady) / rotating,
        "psd": psd + white,
        "inc": star.visibility.inc,
        "period": star.effective_period(),
        "log_likelihood": posterior.log_likelihood_of(process),
        **_spots(star),
    }


def _spots(star):
    """Some spots of such a star, drawn at random, over a few rotations."""
    times = jnp.linspace(0.0, 1.0, _FRAMES) * _TURNS * star.visibility.peq
    number = max(_SPOTS // len(star.members), 1)
    found = [_drawn(one, k, number, times) for k, one in enumerate(star.members, 1)]
    names = ("latitude", "longitude", "radius")
    parts = zip(names, zip(*found, strict=True), strict=True)
    together = {name: jnp.concatenate(part, axis=-1) for name, part in parts}
    return {**together, "equator": 2.0 * jnp.pi * times / star.visibility.peq}


def _drawn(star, seed: int, number: int, times):
    """Latitudes, longitudes and radii of so many spots of one population."""
    spots = draw_spots(star, jax.random.key(seed), times, nspot=number, fspot=1.0 - _CONTRAST)
    age = times[:, None] - spots.t_peak[None, :]
    omega = star.visibility.omega0(spots.latitude)
    longitude = spots.longitude[None, :] + omega[None, :] * age
    return spots.latitude, longitude, radii(star.envelope, spots.with_stretches(), age.T).T
