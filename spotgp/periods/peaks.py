"""What periodogram and autocorrelation share: checks of the data, positions of peaks."""

from typing import Any

import numpy as np

from pytreefit.extend import as_data, unit_of

SIGMA_TO_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))


def checked(time: Any, flux: Any, flux_err: Any = None) -> tuple[np.ndarray, np.ndarray, Any]:
    """Finite columns with a span and a variation; ValueError for any other."""
    unit = unit_of(flux)
    time, flux = as_data("time", time, "d"), as_data("flux", flux)
    if time.ndim != 1 or time.shape != flux.shape or time.size < 3:
        raise ValueError(
            f"time has shape {time.shape} and flux {flux.shape}: both must be one-dimensional, of "
            "the same length, 3 points at least."
        )
    if not (np.isfinite(time).all() and np.isfinite(flux).all()):
        raise ValueError(
            "time or flux holds values that are not finite. TimeSeriesData(time, flux) masks and "
            "counts them, and has this function as a method."
        )
    if not np.ptp(time) > 0:
        raise ValueError(f"time is {time[0]:g} at every point: there is no span to look for.")
    if not np.ptp(flux) > 0:
        raise ValueError(f"flux is {flux[0]:g} everywhere: a constant light curve has no period.")
    if flux_err is not None:
        flux_err = as_data("flux_err", flux_err, "" if unit is None else unit)
        good = np.isfinite(flux_err) & (flux_err > 0)
        if not np.all(good) or flux_err.shape not in ((), time.shape):
            raise ValueError(
                f"flux_err has shape {flux_err.shape}, and {np.sum(~good)} of its values are not "
                "finite and above 0: give one such error for each point, or one for all."
            )
    return time, flux, flux_err


def local_maxima(values: np.ndarray) -> np.ndarray:
    """Return the indices of the local maxima, ends included, the first of equal neighbours."""
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    return np.flatnonzero((padded[1:-1] > padded[:-2]) & (padded[1:-1] >= padded[2:]))


def vertex(values: np.ndarray, i: int) -> float:
    """Return where the parabola through a maximum and its neighbours peaks, in steps from it."""
    if not 0 < i < values.size - 1:
        return 0.0
    left, middle, right = values[i - 1 : i + 2]
    curvature = left - 2.0 * middle + right
    return float(0.5 * (left - right) / curvature) if curvature < 0 else 0.0
