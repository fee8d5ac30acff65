"""Errors of stars: several solutions at a period count, by their heights and volumes."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from pytreefit import Model, Posterior, fit, param
from spotgp.starts.search import Search
from spotgp.survey.errors import errors_of, widths_of


class Star(Model):
    life: jax.Array = param(unit="d")
    other: jax.Array = param()


# of life: height, place and width of two solutions, far from each other
FIRST, SECOND = (1.0, 12.0, 0.4), (0.2, 20.0, 1.2)


def log_likelihood(model):
    parts = [h * jnp.exp(-0.5 * ((model.life - x) / w) ** 2) for h, x, w in (FIRST, SECOND)]
    return jnp.log(parts[0] + parts[1]) - 0.5 * (model.other / 0.3) ** 2


def solutions(priors):
    posterior = Posterior(Star(12.0, 0.1), log_likelihood, priors)
    starts = [{"life": life, "other": 0.1} for life in (12.3, 20.5, 11.8)]
    fits = tuple(fit(posterior, start=start, progress=False) for start in starts)
    density = np.array([float(one.log_density) for one in fits])
    return posterior, Search(fits[0], fits, density)


def test_the_error_is_about_the_best_of_two_solutions():
    """By an independent sum over a grid."""
    posterior, found = solutions({"life": (0.0, 40.0), "other": (-5.0, 5.0)})
    first, covariance = errors_of(posterior, found)
    assert float(first.std["life"]) == pytest.approx(0.4, rel=1e-3)
    life = np.linspace(0.0, 40.0, 40001)
    density = sum(h * np.exp(-0.5 * ((life - x) / w) ** 2) for h, x, w in (FIRST, SECOND))
    expected = np.sqrt(np.sum(density * (life - 12.0) ** 2) / np.sum(density))
    widths = widths_of(found.best, covariance)
    assert widths["life"] == pytest.approx(expected, rel=1e-3)
    assert widths["other"] == pytest.approx(0.3, rel=1e-3)


def test_solutions_that_are_much_lower_or_the_same_count_nothing():
    posterior, found = solutions({"life": (0.0, 40.0), "other": (-5.0, 5.0)})
    same = found._replace(fits=found.fits[::2], log_density=found.log_density[::2])
    _, covariance = errors_of(posterior, same)
    assert np.sqrt(covariance[0, 0]) == pytest.approx(0.4, rel=1e-3)


def test_no_error_is_larger_than_that_of_a_flat_prior():
    narrow = {"life": (11.9, 12.2), "other": dist.Normal(0.0, 1.0)}
    posterior = Posterior(Star(12.0, 0.1), log_likelihood, narrow)
    best = fit(posterior, progress=False)
    _, covariance = errors_of(posterior, Search(best, (best,), np.array([best.log_density])))
    widths = widths_of(best, covariance)
    assert widths["life"] == pytest.approx(0.3 / np.sqrt(12.0))
    assert widths["other"] == pytest.approx(0.3 / np.hypot(1.0, 0.3), rel=1e-3)
