"""Priors for those parameters of a light curve that the user gave none."""

import math
from collections.abc import Mapping

import numpy as np
import numpyro.distributions as dist

from pytreefit.extend import as_prior, lookup_parameter, walk

from ..star.inclination import IsotropicInclination


def default_priors(light_curve) -> dict:
    """A wide prior for every parameter of a light curve, by path.

    Times scales are uniform in their logarithm between the cadence and three times the span,
    amplitudes between 1/1000 and 30 times the scatter of the flux, the jitter between a tenth and
    1,000 times the median error; the orientation of the star is isotropic; what has two finite
    bounds is uniform between them.
    """
    time, flux = np.asarray(light_curve.time), np.asarray(light_curve.flux)
    span = float(time[-1] - time[0])
    gaps = np.diff(time)
    cadence = float(np.median(gaps[gaps > 0])) if np.any(gaps > 0) else span
    scatter = float(np.std(flux)) or float(np.mean(np.asarray(light_curve.flux_err)))
    error = float(np.median(np.asarray(light_curve.flux_err)))
    by_path = {
        "model.visibility.peq": dist.LogUniform(2.0 * cadence, 3.0 * span),
        "model.visibility.kappa": dist.Uniform(0.0, 0.95),
        "model.visibility.inc": IsotropicInclination(),
        "jitter": dist.LogUniform(0.1 * error, 1e3 * error),
    }
    if float(light_curve.model.visibility.inc) > math.pi / 2:
        by_path["model.visibility.inc"] = IsotropicInclination(0.0, math.pi)
    priors = {}
    for node in walk(light_curve):
        if node.info is None:
            continue
        info = node.info
        if node.path in by_path:
            priors[node.path] = by_path[node.path]
        elif np.isfinite(info.lower) and np.isfinite(info.upper):
            priors[node.path] = dist.Uniform(info.lower, info.upper)
        elif info.unit == "d" and info.lower >= 0:
            priors[node.path] = dist.LogUniform(cadence, 3.0 * span)
        elif "sigma" in node.path.rpartition(".")[2]:
            priors[node.path] = dist.LogUniform(1e-3 * scatter, 30.0 * scatter)
        elif node.path.startswith("mean."):
            value = float(node.value)
            width = 10.0 * scatter if node.path.endswith("value") else 10.0 * scatter / span
            priors[node.path] = dist.Normal(value, width)
        elif info.lower >= 0:
            priors[node.path] = dist.LogUniform(1e-3, 1e3)
        else:
            priors[node.path] = dist.Normal(float(node.value), max(abs(float(node.value)), 1.0))
    return priors


def short_names(paths) -> list[str]:
    """The last part of each path, where that is unique."""
    last = [path.rpartition(".")[2] for path in paths]
    return [name if last.count(name) == 1 else path for name, path in zip(last, paths, strict=True)]


def _free_by_default(path: str, light_curve, fixed_mean: bool) -> bool:
    name = path.rpartition(".")[2]
    if path.startswith("model.visibility."):
        return name in ("peq", "kappa", "inc")
    if path.startswith("model.latitude."):
        return False
    if path.startswith("mean."):
        return not fixed_mean and name != "t0"
    if path == "jitter":
        return float(light_curve.jitter) > 0
    return name not in ("fspot", "alpha_max", "quality")


def choose_priors(light_curve, given: Mapping, fixed_mean: bool) -> dict:
    """The priors that were given and those of the other parameters that are free by default.

    Parameters
    ----------
    light_curve
        Data and model.
    given
        Priors by name, by path, or by a tuple of these that share a value; None fixes.
    fixed_mean
        Whether the mean is no function of the user's.

    Returns
    -------
    dict
        Priors by path, or by a tuple of paths, in the order of the model's parameters.
    """
    paths = [node.path for node in walk(light_curve) if node.info is not None]
    short = dict(zip(short_names(paths), paths, strict=True))
    for path in paths:
        short.setdefault(path.removeprefix("model."), path)
    named = {
        tuple(short.get(name, name) for name in _tied(key)): prior for key, prior in given.items()
    }
    taken = {path for tied in named for path in tied}
    for path in taken:
        lookup_parameter(light_curve, path)
    chosen, wide = {}, default_priors(light_curve)
    stellar = [f"model.{path}" for path in light_curve.model.paths.values()]
    for path in [*stellar, *(path for path in wide if path not in stellar)]:
        for tied, prior in named.items():
            if tied[0] == path and prior is not None:
                chosen[path if len(tied) == 1 else tied] = prior
        if path not in taken and _free_by_default(path, light_curve, fixed_mean):
            value = float(lookup_parameter(light_curve, path).value)
            if _strictly_inside(path, value, wide[path]):
                chosen[path] = wide[path]
    return chosen


def _tied(key) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(key)


def _strictly_inside(path: str, value: float, prior) -> bool:
    """Whether a value is not at the edge of its default prior; ValueError where it is beyond."""
    low, high = prior_limits(prior)
    if not low <= value <= high:
        raise ValueError(
            f"{path.rpartition('.')[2]} = {value:g} is outside of its default prior, "
            f"{low:.4g} to {high:.4g} for these data. Start nearer, give it a prior, or "
            "None in priors to fix it."
        )
    return low < value < high


def priors_by_path(light_curve, priors: Mapping) -> dict:
    """The distribution of each free parameter by its own path, also of tied ones."""
    found = {}
    for key, prior in priors.items():
        prior = as_prior(prior, [lookup_parameter(light_curve, path) for path in _tied(key)])
        found |= dict.fromkeys(_tied(key), prior)
    return found


def prior_limits(prior) -> tuple[float, float]:
    """Ends of a prior's support."""
    support = prior.support
    low = getattr(support, "lower_bound", -math.inf)
    high = getattr(support, "upper_bound", math.inf)
    return float(np.min(low)), float(np.max(high))


def inside(value: float, low: float, high: float) -> float:
    """The value, moved well between the ends of a prior where it is not there."""
    margin = 0.01 * (high - low) if math.isfinite(high - low) else 0.0
    return min(max(value, low + margin, low * 1.01), high - margin)
