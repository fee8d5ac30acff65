"""Is the model right? What it predicts for light curves like the data, beside the data."""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pytreefit import Table, jit
from pytreefit.extend import as_whole_number, check_kind

from ..gp.abstract import AbstractGP
from ..gp.channel_solver import ChannelSolver
from ..gp.solver import GPSolver
from ..star.latitude import LatitudeBand
from . import statistics
from .gaussian import (
    Moments,
    Projection,
    Series,
    derivatives,
    drawn,
    moments_of,
    series_of,
    with_latitude,
)
from .score import Directions
from .statistics import Curves, Slots
from .values import Draws, draws_of

_SHARE = 0.05  # of stars of which the model is true, that are flagged
_SETS = 25  # of parameter values
_EDGES = np.arange(0.0, 91.0, 15.0)  # of bands that are tried, degrees
BAND = "gain in ln L by a band of latitudes"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Check:
    """The result of `check`; printed it is the sentence and the table.

    What is compared, after the same least squares removal of the free columns (offsets, trend) from
    data and draws:

    - autocorrelation at half, one, two and three rotations;
    - power about 2/P and 3/P relative to that about 1/P;
    - skewness: a Gaussian process has none, spots only darken;
    - each point predicted from all others at the best parameters (`GPSolver.leave_one_out`): mean
      square, kurtosis, correlation of neighbours and of the squares with the predicted flux;
    - what the log-likelihood would gain if the spots were in a band of latitudes, the best of some:
      a score test, to first order free of the other parameters.

    Parameters
    ----------
    names
        Of the statistics.
    data
        Each of the data, shape (k,).
    draws
        Of light curves drawn from the model, shape (draws, k).
    tail
        Probability under the model that a statistic is as far out as the data's: two-sided, but for
        gains, of which only large ones count. Shape (k,).
    p_value
        Probability that the worst of all is as bad: the rank of the data's worst among those of the
        draws. Small values speak against the model.
    failing
        Names of the statistics that fail, where ``p_value`` is at most 0.05.
    sentence
        What fails, in words.
    period
        Days: the rotation that the statistics are about.
    band
        Lower and upper edge of the band of latitudes, in both hemispheres, that would gain most,
        degrees.
    curves
        Autocorrelation and periodogram of the data (first row) and of the draws.
    residuals
        Standardised, of each point predicted from all others: days and values.
    origin
        Where the parameters of the draws come from.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=20.0, tau_spot=10.0),
    ...     visibility=VisibilityFunction(peq=10.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> noise = np.random.default_rng(0).normal(size=30)
    >>> gp = GPSolver(np.arange(30.0), 1.0 + 0.01 * noise, 1e-4, star)  # errors far too small
    >>> "residuals, mean square" in check(gp, draws=100).failing
    True
    """

    names: tuple[str, ...]
    data: np.ndarray
    draws: np.ndarray
    tail: np.ndarray
    p_value: float
    failing: tuple[str, ...]
    sentence: str
    period: float
    band: tuple[float, float]
    curves: Curves
    residuals: tuple[np.ndarray, np.ndarray]
    origin: str

    @property
    def good(self) -> bool:
        """Whether nothing fails."""
        return not self.failing

    def table(self) -> Table:
        """A row per statistic: the data's value, median and 90 % range of the draws, tail."""
        rows = []
        for k, name in enumerate(self.names):
            low, middle, high = np.quantile(self.draws[:, k], [0.05, 0.5, 0.95])
            numbers = (f"{self.data[k]:.3f}", f"{middle:.3f}", f"{low:.3f} to {high:.3f}")
            rows.append((name, *numbers, f"{self.tail[k]:.3f}", "*" * (name in self.failing)))
        return Table(("statistic", "data", "median", "90 % of draws", "probability", ""), rows)

    def __repr__(self) -> str:
        return f"{self.sentence}\n{self.table()!r}"

    def _repr_html_(self) -> str:
        return f"<p>{self.sentence}</p>{self.table()._repr_html_()}"


def check(
    gp: AbstractGP, fit: Any = None, *, draws: int = 1000, points: int = 1000, key=None
) -> Check:
    r"""Compare the data with light curves drawn from the fitted model, in what the model may miss.

    Light curves are drawn at the data's times, with the data's errors, from the process. As many
    statistics are looked at, one of them is often far out by chance: the data's worst tail
    probability is ranked among those of the draws. Where the model is true, ``p_value`` is uniform
    up to what the fit has adapted to the data, and one star in twenty is flagged.

    Parameters
    ----------
    gp
        The process of a light curve, or of several channels (`ChannelSolver`): then each channel
        has its own statistics, and each two channels the strength of their covariance, a score
        test as well.
    fit
        What a fit of it returned: a `pytreefit.Fit`, ``Samples``, ``Corrected`` or ``Laplace``, a
        `Search`, a `StarFit`, or parameters as in `GPSolver.values`; None is where ``gp`` is. Of a
        fit, parameters are drawn from its Gaussian approximation.
    draws
        How many light curves to draw.
    points
        Most points to look at, as the cost grows as their cube: of longer light curves as many,
        evenly chosen; if these were fewer than ten in a rotation, a stretch in the middle.
    key
        JAX random key, ``jax.random.key(0)`` by default.

    Returns
    -------
    Check
        With a sentence that says what fails, and a table; `plot_check` draws it. It lists what is
        compared.

    Raises
    ------
    ValueError, TypeError
        If the fit has other parameters than ``gp``, or is none, if numbers are out of range, or the
        covariance is not positive definite to rounding.

    Notes
    -----
    Posterior predictive checks: Gelman, Meng & Stern (1996, Statistica Sinica 6, 733).
    """
    check_kind("gp", gp, GPSolver | ChannelSolver)
    draws, points = as_whole_number("draws", draws, 40), as_whole_number("points", points, 10)
    keys = jax.random.split(jax.random.key(0) if key is None else key)
    values = draws_of(gp, fit, _SETS, keys[0])
    try:
        return _compared(gp, values, draws, points, keys[1])
    except np.linalg.LinAlgError:
        process = gp.process_at({name: jnp.asarray(x) for name, x in values.best.items()})
        raise ValueError(gp._explain(process)) from None


def _compared(gp: AbstractGP, values: Draws, draws: int, points: int, key) -> Check:
    best = {name: jnp.asarray(x) for name, x in values.best.items()}
    period = float(_period(gp.posterior, best))
    series = series_of(gp, points, period)
    moments = moments_of(gp, series, best)
    projection = Projection.of(moments, series.columns)

    def light_curves(these):
        """The data, and draws from the same random numbers at these parameters."""
        return np.concatenate([series.flux[None], drawn(gp, series, these, draws, key)])

    parts = _channels_of(gp, series)
    rows, curves = _of_light_curves(light_curves(values.values), series, moments, period, parts)
    # residuals and gains are about the best parameters, whose spread the fit has taken up
    flux = light_curves({name: x[None] for name, x in values.best.items()})
    for prefix, index in parts.items():
        of, seen = series.chosen(index), moments.chosen(index)
        weights = statistics.weights_of(seen)
        residual = statistics.detrended(flux[:, index], seen.mean, of.columns, weights)
        found = statistics.of_residuals(projection, flux, residual, index)
        rows |= {prefix + name: row for name, row in found.items()}
    z, bands, ties = _of_directions(gp, series, best, moments, projection, flux)
    rows |= ties
    highest = np.max(z, axis=1)
    rows[BAND] = 0.5 * np.sign(highest) * highest**2
    standard, _, known = statistics.left_out(projection, series.flux[None])
    time = series.time[known] + float(gp.data.epoch)
    return _judged(
        rows,
        period=period,
        band=bands[int(np.argmax(z[0]))],
        curves=curves,
        residuals=(time, standard[0]),
        origin=values.origin,
    )


@jit
def _period(posterior, values):
    return posterior.model_at(values).model.effective_period()


def _channels_of(gp, series: Series) -> dict[str, np.ndarray]:
    """The points of each channel, by what its statistics' names begin with; the largest first."""
    if series.channel is None:
        return {"": np.arange(series.time.size)}
    parts = {f"{n}: ": np.flatnonzero(series.channel == k) for k, n in enumerate(gp.data.channels)}
    return dict(sorted(parts.items(), key=lambda part: -part[1].size))


def _of_light_curves(flux, series: Series, moments: Moments, period: float, parts):
    """Statistics of each channel's curves, and the curves of the largest channel."""
    rows, all_curves = {}, []
    for prefix, index in parts.items():
        of, seen = series.chosen(index), moments.chosen(index)
        weights = statistics.weights_of(seen)
        residual = statistics.detrended(flux[:, index], seen.mean, of.columns, weights)
        slots = Slots.of(of, period)
        curves = statistics.curves_of(residual, weights, slots)
        found = statistics.of_curves(curves, period, slots.step)
        found["skewness"] = statistics.skewness(residual, weights)
        rows |= {prefix + n: row for n, row in found.items() if np.all(np.isfinite(row))}
        all_curves.append(curves)
    return rows, all_curves[0]


def _of_directions(gp, series: Series, best, moments: Moments, projection, flux):
    """Z of each light curve for each of some bands, their edges in degrees, and of channels.

    The last is by name Z towards a stronger covariance of two channels.
    """
    bands = [(a, b) for a in _EDGES for b in _EDGES if a < b and b - a < 90.0]
    own = moments.covariance - np.diag(moments.noise)
    others = []
    for edges in bands:
        lower, upper = np.minimum(np.radians(edges), 0.5 * np.pi)
        others.append(with_latitude(gp, series, best, LatitudeBand(lower, upper)) - own)
    pairs = _pairs(gp, series)
    others += [np.where(both, own, 0.0) for both in pairs.values()]
    mean, covariance = derivatives(gp, series, best)
    directions = Directions(mean, covariance, np.stack(others))
    z = directions.standardised(projection, flux)
    ties = {name: z[:, len(bands) + k] for k, name in enumerate(pairs)}
    return z[:, : len(bands)], bands, ties


def _pairs(gp, series: Series) -> dict[str, np.ndarray]:
    """Which entries of the covariance are of two channels, by what is said of them."""
    if series.channel is None:
        return {}
    names, own = gp.data.channels, series.channel
    found = {}
    for a, b in itertools.combinations(range(len(names)), 2):
        one = (own[:, None] == a) & (own[None, :] == b)
        found[f"strength of the covariance of {names[a]} and {names[b]}"] = one | one.T
    return found


def _judged(rows: dict[str, np.ndarray], **more) -> Check:
    names = tuple(rows)
    values = np.stack([rows[name] for name in names], axis=1)
    found = statistics.ranked(values, np.array([name == BAND for name in names]), _SHARE)
    failing = ()
    if found.p_value <= _SHARE:
        limit = max(found.level, float(np.min(found.tail)))
        order = np.argsort(found.tail, kind="stable")
        failing = tuple(names[k] for k in order if found.tail[k] <= limit)
    data, draws = values[0], values[1:]
    said = _sentence(names, data, np.median(draws, axis=0), failing, found.p_value, more["band"])
    return Check(names, data, draws, found.tail, found.p_value, failing, said, **more)


def _sentence(names, data, middle, failing, p_value: float, band) -> str:
    chance = f"{100 * p_value:.2g} %"
    if not failing:
        return (
            f"Nothing fails: if the model is true, {chance} of light curves look worse than this."
        )
    said = []
    for name in failing:
        k = names.index(name)
        if name == BAND:
            low, high = (f"{edge:.0f}" for edge in band)
            said.append(f"spots at latitudes of {low} to {high} deg would fit better")
        else:
            side = "higher" if data[k] > middle[k] else "lower"
            said.append(f"{name} is {side} than predicted")
    return (
        f"The model fails: {'; '.join(said)}. If it is true, {chance} of light curves look as bad."
    )
