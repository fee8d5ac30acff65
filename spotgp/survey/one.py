"""The fit of one of many light curves: its process, its first guess, its errors."""

import math
import time as clock
from typing import Any, NamedTuple

import jax
import numpy as np

from pytreefit import Status, jit
from pytreefit.extend import inside, lookup_parameter, prior_limits

from ..component import DataScales
from ..gp.priors import as_tied
from ..gp.solver import GPSolver
from ..io.observations import TimeSeriesData
from ..periods import RotationPeriod
from ..star.abstract import AbstractStar
from ..starts.search import search
from ..starts.suggest import first_guess, suggest_starts
from .errors import errors_of, widths_of
from .results import StarFit

# points up to which light curves are taken as a whole
_SMALL = 600
_UNLIKELY = 0.02  # probability below which a period is no candidate
_PER_BIN = 0.05  # of a period that a bin may cover: less than a hundredth of the amplitude is lost
_FAR = 0.2  # periods that differ by more, in their logarithm, are different ones


def data_of(star) -> TimeSeriesData:
    """A star's light curve, however it was given."""
    star = star() if callable(star) else star
    return star if isinstance(star, TimeSeriesData) else TimeSeriesData(*star)


class Star(NamedTuple):
    """A star under way."""

    number: int
    name: str
    gp: GPSolver
    rotation: RotationPeriod


def process_of(data, model, priors, jitter, points, kwargs) -> tuple[GPSolver, RotationPeriod]:
    """The process to fit, and what all points say of the period."""
    data = data.to("")
    whole, rotation = data, data.rotation_period()
    data = fewer(data, points, rotation)
    priors = dict((priors(data, rotation) if callable(priors) else priors) or {})
    scales = DataScales.of(whole.time, whole.flux, whole.flux_err)
    if isinstance(model, AbstractStar):
        chosen = guess_of(whole, model, priors, rotation.period, scales)
    else:
        chosen = model(data, rotation)
    # default priors know of times as short as all points do
    priors |= _default_priors(chosen, scales, priors)
    # a dense matrix of few points costs hardly more than a band, and all of them share a program
    exact = "dense" if data.time.size <= _SMALL else "exact"
    noise = jitter(data) if callable(jitter) else jitter
    options = {"solver": exact, **kwargs}
    return GPSolver.from_data(data, chosen, priors=priors, jitter=noise, **options), rotation


def _default_priors(model: AbstractStar, scales: DataScales, given) -> dict[str, Any]:
    """The default priors, by path, of parameters inside of them that are given none."""
    named = {model.paths.get(n, n.removeprefix("model.")) for key in given for n in as_tied(key)}
    found = {}
    for path, prior in model.default_priors(scales).items():
        value, (low, high) = np.asarray(model.get(path)), prior_limits(prior)
        if path not in named and np.all((value > low) & (value < high)):
            found[path] = prior
    return found


def fewer(data: TimeSeriesData, points: int | None, rotation: RotationPeriod) -> TimeSeriesData:
    """At most so many points: means in bins where no candidate changes within one."""
    if points is None or len(data) <= points:
        return data
    likely = rotation.candidates[rotation.probabilities > _UNLIKELY]
    shortest = min([rotation.period, *likely])
    observed = data.span - np.sum(np.diff(data.gaps, axis=1))
    width = max(observed / points, data.cadence)
    while width < _PER_BIN * shortest:
        binned = data.bin(width)
        if len(binned) <= points:
            return binned
        width *= 1.1
    return data.thin(points)


def guess_of(
    data: TimeSeriesData, model: AbstractStar, priors, period: float, scales: DataScales
) -> AbstractStar:
    """The first guess, moved into the priors; what they fix stays as it is in the model."""
    guess, changes = first_guess(data, model, period), {}
    wide = guess.default_priors(scales).items()
    limits = {p: prior for p, prior in wide if not np.array_equal(guess.get(p), model.get(p))}
    for key, prior in priors.items():
        limits |= {model.paths.get(n, n.removeprefix("model.")): prior for n in as_tied(key)}
    for path in limits.keys() & set(model.paths.values()):
        prior = limits[path]
        if prior is None:
            changes[path] = model.get(path)
        else:
            low, high = prior if isinstance(prior, tuple | list) else prior_limits(prior)
            changes[path] = inside(float(guess.get(path)), low, high)
    return guess.set(changes)


def said(error: Exception) -> str:
    """An exception in a line."""
    return f"{type(error).__name__}: {error}"


@jit
def _effective_period(posterior, values):
    """The effective period and its derivatives."""
    return jax.value_and_grad(lambda v: posterior.model_at(v).model.effective_period())(values)


def fitted(star: Star, starts: int, steps: int, errors: bool) -> StarFit:
    """The fit of a star; a message where there is none."""
    began = clock.perf_counter()
    _, name, gp, rotation = star
    points = gp.data.time.size
    try:
        first = suggest_starts(gp, rotation)
        found = search(gp, first, number=starts, steps=steps, progress=False)
    except Exception as error:
        seconds = clock.perf_counter() - began
        return StarFit(name, points, rotation=rotation, seconds=seconds, message=said(error))
    best = found.best
    message, widths, error, approximation = best.message, {}, math.nan, None
    if any(result.status is Status.INTERRUPTED for result in found.fits):
        raise KeyboardInterrupt
    period, slopes = _effective_period(gp.posterior, best.values)
    if errors:
        try:
            approximation, covariance = errors_of(gp.posterior, found)
            widths = widths_of(best, covariance)
            along = np.array([float(slopes[path]) for path in best.names])
            error = math.sqrt(along @ covariance @ along)
        except ValueError as problem:
            message = f"{message} No errors: {problem}"
    model = best.model
    return StarFit(
        name=name,
        points=points,
        fit=best,
        values={path: float(value) for path, value in best.values.items()},
        at_bound=best.at_bound,
        units={path: lookup_parameter(model, path).info.unit for path in best.names},
        errors=widths,
        log_density=float(best.log_density),
        agreeing=found.agreeing,
        starts=found.independent or len(found.fits),
        rotation=rotation,
        laplace=approximation,
        flags=(*rotation.flags, *found.flags, *elsewhere(float(period), rotation)),
        effective_period=float(period),
        effective_period_error=error,
        seconds=clock.perf_counter() - began,
        message=message,
    )


def elsewhere(period: float, rotation: RotationPeriod) -> tuple[str, ...]:
    """A flag if a fitted period is no candidate, or not the one that is sure."""
    least = 1.0 if rotation.good else _UNLIKELY
    likely = rotation.candidates[rotation.probabilities > least]
    if np.any(np.abs(np.log(np.append(likely, rotation.period) / period)) < _FAR):
        return ()
    return (f"rotation_period finds {rotation.period:.4g} d",)
