"""Values of the free parameters from whatever a fit returned."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from pytreefit import Corrected, Fit, Laplace, Samples, laplace
from pytreefit.extend import as_data

from ..gp.abstract import AbstractGP
from ..starts.search import Search
from ..survey.results import StarFit

GIVEN = "the given values"


class Draws(NamedTuple):
    """Values of the free parameters by path: the most probable ones, and draws (k of each)."""

    best: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    origin: str  # where the draws come from, in words


def draws_of(gp: AbstractGP, fit: Any, number: int, key) -> Draws:
    """Draws from what `pytreefit.fit`, `sample`, `search` or `fit_many` returned for a process.

    Of a fit they are those of its Gaussian approximation, what ran to an edge held there. Where
    there is none, and for values alone, the only draw is the best one.
    """
    if isinstance(fit, Search):
        fit = fit.best
    if isinstance(fit, StarFit):
        if fit.fit is None:
            raise ValueError(f"fit: the star {fit.name} has no fit: {fit.message}")
        fit = fit.fit
    if isinstance(fit, Samples | Corrected):
        return _of_samples(gp, fit, number, key)
    if not isinstance(fit, Fit | Laplace):
        return _single(gp.values(_known(gp, fit)), GIVEN)
    _check_names(gp, fit.names)
    if isinstance(fit, Fit):
        try:
            fit = laplace(gp.posterior, fit, method="differences", held=fit.at_edge)
        except ValueError:
            return _single(fit.values, "the best fit alone, which has no curvature")
    values, vectors = np.linalg.eigh(np.asarray(fit.covariance_u))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    normal = np.asarray(jax.random.normal(key, (number, values.size)))
    u = np.asarray(fit.u) + normal @ root.T
    drawn = jax.vmap(gp.posterior.constrain)(jax.numpy.asarray(u, fit.u.dtype))
    return Draws(_arrays(fit.values), _arrays(drawn), "the Gaussian approximation")


def _known(gp: AbstractGP, fit):
    """Values that `GPSolver.values` takes; an error that names the fit for what is no result."""
    if fit is None or isinstance(fit, Mapping):
        return fit
    if not isinstance(fit, list | tuple | np.ndarray | jax.Array):
        raise TypeError(
            f"fit = {fit!r} is no result of a fit, of a search or of a sampler, and no values: "
            "pass a Fit, Search, Samples, StarFit or Laplace, a dictionary or a vector."
        )
    array = as_data("fit", fit, shape=(len(gp.param_keys),))
    if not np.all(np.isfinite(array)):
        raise ValueError(f"fit = {fit!r} holds values that are not finite.")
    return array


def _single(values, origin: str) -> Draws:
    best = _arrays(values)
    return Draws(best, {name: value[None] for name, value in best.items()}, origin)


def _of_samples(gp: AbstractGP, fit, number: int, key) -> Draws:
    """Draws of a sampler, by their weights if they have any."""
    weighted = isinstance(fit, Corrected)
    samples = fit.samples if weighted else fit
    _check_names(gp, samples.names)
    size = samples.log_density.size
    flat = {
        name: np.reshape(np.asarray(x), (size, *x.shape[2:])) for name, x in samples.draws.items()
    }
    density = np.ravel(fit.log_density)
    if not weighted and samples.log_volume is not None:
        density = density - np.ravel(samples.log_volume)
    top = int(np.argmax(density))
    weights = jax.numpy.asarray(np.ravel(fit.weights)) if weighted else None
    number = min(number, size)
    index = np.asarray(jax.random.choice(key, size, (number,), replace=weighted, p=weights))
    return Draws(
        {name: x[top] for name, x in flat.items()},
        {name: x[index] for name, x in flat.items()},
        "the posterior",
    )


def _check_names(gp: AbstractGP, names) -> None:
    if set(names) != set(gp.posterior.names):
        raise ValueError(
            f"fit has the free parameters {', '.join(names)}, but those of gp are "
            f"{', '.join(gp.posterior.names)}: pass the process that was fitted."
        )


def _arrays(values) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in values.items()}
