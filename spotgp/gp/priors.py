"""Priors for those parameters of a light curve that the user gave none."""

import math

import numpy as np
import numpyro.distributions as dist

from pytreefit.extend import walk

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
