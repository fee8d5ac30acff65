"""The errors of a star: of its best fit, and of other solutions at the same period."""

import math

import numpy as np

from pytreefit import Fit, Laplace, Posterior, Status, laplace
from pytreefit.extend import prior_limits

from ..starts.search import Search

_LOWER = 6.0  # in log density: what is lower still adds nothing
_ALIKE = 0.05  # difference in log density, and
_NEAR = 0.5  # distance in standard deviations, of fits that are one solution


def errors_of(posterior: Posterior, found: Search) -> tuple[Laplace, np.ndarray]:
    r"""The Gaussian at the best fit, and the covariance about it of all solutions at its period.

    .. math::
        \Sigma = \sum_k w_k \left[\Sigma_k + (\theta_k - \theta_0)
            (\theta_k - \theta_0)^\mathsf{T}\right], \qquad
        w_k \propto L_k\, p_k \sqrt{\det \Sigma_k}

    The likelihood of short light curves is rough along the life times of spots: each of its maxima
    is much narrower than all of them together. A parameter at the edge of its prior is held there.

    Raises
    ------
    ValueError
        Where the log density does not fall off from the best fit.
    """
    best, flat = found.best, _flat(posterior)
    first = laplace(posterior, best, method="differences", held=best.at_edge)
    solutions = [(0.0, _vector(best), _cut(np.asarray(first.covariance), flat))]
    for fit in found.at_its_period():
        lower = float(best.log_density - fit.log_density)
        on_its_way = fit.status is Status.UNFINISHED
        if on_its_way or lower > _LOWER or any(_is_one(fit, lower, one) for one in solutions):
            continue
        try:
            own = laplace(posterior, fit, method="differences", held=fit.at_edge)
            covariance = _cut(np.asarray(own.covariance), flat)
        except ValueError:  # the end of a fit where spots' lives just meet points, a kink
            covariance = solutions[0][2]
        solutions.append((lower, _vector(fit), covariance))
    return first, _cut(_together(solutions), flat)


def widths_of(best: Fit, covariance: np.ndarray) -> dict[str, float]:
    """Standard deviations by path, of what is not held."""
    pairs = zip(best.names, np.sqrt(np.diag(covariance)), strict=True)
    return {name: float(width) for name, width in pairs if name not in best.at_edge}


def _flat(posterior: Posterior) -> np.ndarray:
    """Standard deviations of flat priors between the ends of these."""
    ends = np.array([prior_limits(posterior.priors[name]) for name in posterior.names])
    return (ends[:, 1] - ends[:, 0]) / math.sqrt(12.0)


def _cut(covariance: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """A covariance whose standard deviations are at most these; its correlations are kept."""
    width = np.sqrt(np.diag(covariance))
    scale = np.minimum(1.0, flat / np.where(width > 0.0, width, 1.0))
    return covariance * scale[:, None] * scale


def _vector(fit: Fit) -> np.ndarray:
    return np.array([float(fit.values[name]) for name in fit.names])


def _is_one(fit: Fit, lower: float, known) -> bool:
    """Whether a fit ended at a solution that is known."""
    other, values, covariance = known
    width = np.sqrt(np.diag(covariance))
    near = np.abs(_vector(fit) - values) < _NEAR * width
    return abs(lower - other) < _ALIKE and bool(np.all(near | (width == 0.0)))


def _together(solutions) -> np.ndarray:
    """The covariance about the first solution of all of them."""
    _, centre, narrow = solutions[0]
    total, sum_of_weights = np.zeros_like(narrow), 0.0
    for lower, values, covariance in solutions:
        # volumes of what is held in neither
        free = np.flatnonzero((np.diag(covariance) > 0.0) & (np.diag(narrow) > 0.0))
        volume, other = (np.linalg.slogdet(c[np.ix_(free, free)])[1] for c in (covariance, narrow))
        weight = math.exp(0.5 * (volume - other) - lower)
        away = values - centre
        total += weight * (covariance + away[:, None] * away)
        sum_of_weights += weight
    return total / sum_of_weights
