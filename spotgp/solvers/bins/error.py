"""How large the error of polynomials in bins will be, from some of the bins, before any sums.

See `.algebra` for the likelihood itself.
"""

import math
from typing import NamedTuple

import numpy as np

from ..stated import DEVIATIONS
from .covariance import KEPT, LOW_DEGREES
from .log_ratios import probes_for
from .sums import ELEMENTS, degrees_for, projection

_SUBSET = 8  # bins from which `neglected` infers
_MOST_DATA = 200  # in each of them
_MARGIN = 2.0  # of the information in the bins that are not looked at


class Neglected(NamedTuple):
    """Estimates of the errors of a log-likelihood."""

    correction: float  # of the determinant, from random vectors
    degrees: float  # that the determinant leaves out between bins
    within: float  # from data that polynomials and white noise do not describe

    @property
    def total(self) -> float:
        return self.correction + self.degrees + self.within


def neglected(time, variance, kernel, width: float, reach: float) -> Neglected:
    r"""Estimate of the error of the log-likelihood, by a subset of the bins.

    Without a correction the determinant would be off by I, in each bin the information of its other
    elements in the elements of the bins before and in the first ones of those after, given the
    first ones of their own bin, :math:`\tfrac12 \ln(|R| / |R'|)` with their covariances R' and R
    with and without these. A correction by K random vectors has a variance of
    :math:`\sum I^2 / K`, and neglects some :math:`\sum I^3`: eigenvalues of :math:`\pm\sqrt{2 I}`
    in each bin. The covariance of the first ones between bins lacks high degrees, too, which
    changes its determinant.

    In each bin, what the polynomials leave over is no white noise, and they go on to higher
    degrees: :math:`\tfrac14 \mathrm{tr}\, (C_0^{-1} (C - C_0))^2` on average in a log-likelihood
    ratio, C and C_0 the covariances of its data, and three standard deviations of such a ratio are
    added.

    Parameters
    ----------
    time, variance
        Of the data, shape (n,), ascending; of white noise altogether.
    kernel
        NumPy function of the lag in days.
    width
        Of the bins.
    reach
        Days to either side in which other bins are looked at.

    Returns
    -------
    Neglected
        For all data, scaled from the subset.
    """
    time = np.asarray(time - time[0])
    bins = int(time[-1] / width) + 1
    index = (time / width).astype(int)
    occupied = np.unique(index)
    lags = math.ceil(reach / width)
    nodes, project = projection(degrees_for(time.size / bins))
    apart = 0.5 * (nodes[:, None] - nodes[None, :])
    lag = np.abs(np.arange(2 * lags + 1)[:, None, None] + apart) * width
    covariances = project @ np.asarray(kernel(lag)) @ project.T
    scatter = further = degrees = ratio = 0.0
    for centre, share in _some_bins(index, variance):
        near = occupied[np.abs(occupied - centre) <= lags]
        data = [_data_of(time, variance, index, b, width) for b in near]
        at = int(np.searchsorted(near, centre))
        roots = np.stack([_elements(*one, len(project))[1] for one in data])
        together = _covariance(roots, near, covariances)
        lost = _MARGIN * max(_lost(together, at), 0.0)
        scatter += share * lost**2
        further += share * lost**3
        degrees += share * _MARGIN * _of_high_degrees(together, roots, near, covariances)
        ratio += share * _within(*data[at], kernel, covariances[0], width)
    scatter = math.sqrt(scatter / probes_for(bins))
    within = ratio + DEVIATIONS * math.sqrt(2.0 * ratio)
    return Neglected(DEVIATIONS * scatter + further, degrees, within)


def _some_bins(index, variance):
    """Bins to look at, each with the number of bins that it stands for.

    Those with most information speak for themselves, some of the others for the rest.
    """
    occupied, counts = np.unique(index, return_counts=True)
    full = occupied[counts > KEPT]
    information = np.bincount(index, weights=1.0 / variance)[full]
    full = full[np.argsort(information)[::-1]]
    own, rest = full[: _SUBSET // 4], np.sort(full[_SUBSET // 4 :])
    some = rest[np.linspace(0, rest.size - 1, min(_SUBSET, rest.size)).round().astype(int)]
    return [(b, 1.0) for b in own] + [(b, rest.size / some.size) for b in some]


def _data_of(time, variance, index, which: int, width: float):
    """Times in a bin, from -1 to 1, and variances, of at most some hundred points."""
    first, last = np.searchsorted(index, [which, which + 1])
    every = -(-(last - first) // _MOST_DATA)
    here = slice(first, last, every)
    return 2.0 * (time[here] / width - which) - 1.0, variance[here] / every


def _elements(x, variance, degrees: int, mode="reduced"):
    """A bin's elements from whitened data, if ``complete`` with what is left of these, and L."""
    scaled = np.polynomial.legendre.legvander(x, degrees - 1) / np.sqrt(variance)[:, None]
    whole = np.linalg.qr(scaled[:, :ELEMENTS], mode)[0]
    root = np.zeros((degrees, ELEMENTS))
    root[:, : x.size] = scaled.T @ whole[:, :ELEMENTS]
    return whole, root


def _within(x, variance, kernel, covariance, width: float) -> float:
    """Information in the data of one bin that polynomials and white noise do not describe."""
    degrees = len(covariance)
    power = float(kernel(np.zeros(1))[0])
    beyond = max(power - np.sum(np.diag(covariance) / (2.0 * np.arange(degrees) + 1.0)), 0.0)
    variance = variance + beyond
    whole, root = _elements(x, variance, degrees, "complete")
    lag = np.abs(x[:, None] - x[None, :]) * (0.5 * width)
    scale = 1.0 / np.sqrt(variance)
    exact = kernel(lag) * scale[:, None] * scale[None, :] - np.diag(beyond / variance)
    exact = whole.T @ exact @ whole
    number = min(x.size, ELEMENTS)
    found = np.zeros_like(exact)
    found[:number, :number] = (root.T @ covariance @ root)[:number, :number]
    left = max(np.trace(exact) - np.trace(found), 0.0) / max(x.size - number, 1)
    rest = np.arange(number, x.size)
    found[rest, rest] = left
    wrong = np.linalg.solve(found + np.eye(x.size), exact - found)
    return 0.25 * float(np.sum(wrong * wrong.T))


def _covariance(roots, near, covariances):
    """Of the elements of some bins, without noise, shape (bins, p, bins, p)."""
    lag = near[:, None] - near[None, :]
    between = covariances[np.abs(lag)]
    between = np.where((lag >= 0)[..., None, None], between, np.swapaxes(between, -1, -2))
    half = np.matmul(between, roots[None])
    return np.matmul(np.swapaxes(roots, 1, 2)[:, None], half).transpose(0, 2, 1, 3)


def _of_high_degrees(together, roots, near, covariances) -> float:
    """What they change in half the log determinant of the first elements, for each bin."""
    few = covariances[:, :LOW_DEGREES, :LOW_DEGREES]
    low = _covariance(roots[:, :LOW_DEGREES, :KEPT], near, few)
    full = together[:, :KEPT, :, :KEPT].copy()
    bins = np.arange(len(near))
    low[bins, :, bins] = full[bins, :, bins]
    full, low = (part.reshape(KEPT * bins.size, -1) for part in (full, low))
    full, low = (np.linalg.slogdet(part + np.eye(len(part)))[1] for part in (full, low))
    return 0.5 * abs(full - low) / bins.size


def _lost(together, at: int) -> float:
    """Information on the other elements of a bin in its neighbours' that is not used."""
    number, degrees = together.shape[:2]
    together = together.reshape(number * degrees, number * degrees)
    together = together + np.eye(number * degrees)
    elements = np.arange(number * degrees).reshape(number, degrees)
    own, other = elements[at, :KEPT], elements[at, KEPT:]
    known = np.concatenate([elements[:, :KEPT].ravel(), elements[:at, KEPT:].ravel()])

    def left(chosen):
        lower = np.linalg.cholesky(together[np.ix_(chosen, chosen)])
        half = np.linalg.solve(lower, together[np.ix_(chosen, other)])
        return np.linalg.slogdet(together[np.ix_(other, other)] - half.T @ half)[1]

    return 0.5 * float(left(own) - left(known))
