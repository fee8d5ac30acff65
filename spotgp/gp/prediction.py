"""What the process says at any time, given the data or without them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import jit
from pytreefit.extend import as_data, is_traced

from ..solvers.base import AbstractSolver, with_columns
from ..solvers.points import filled_up
from .data import LightCurve
from .process import Process


class Prediction(NamedTuple):
    """The process at the times asked for, given the data.

    Parameters
    ----------
    mean : array (m,)
        Of the process.
    variance : array (m,) or (m, m)
        Or the covariance matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> gp = GPSolver(np.arange(9.0), 1.0 + 1e-3 * np.sin(np.arange(9.0)), 1e-4, star, mean=1.0)
    >>> mean, variance = gp.predict([1000.0])  # long after the last spot that was seen
    >>> float(mean[0]), bool(np.isclose(variance[0], AnalyticKernel(star).kernel(0.0)))
    (1.0, True)
    """

    mean: Float[Array, "m"]
    variance: Float[Array, "m *m"]


def since_epoch(t: Any, data: Any, name: str = "t") -> np.ndarray:
    """Days since the epoch of some data; ValueError for no times and those that are not finite."""
    time = as_data(name, t, "d", ndim=1)
    if not time.size:
        raise ValueError(f"{name} is empty: give one time at least.")
    if not np.all(np.isfinite(time)):
        bad = int(np.sum(~np.isfinite(time)))
        raise ValueError(f"{name}: {bad} of {time.size} times are not finite.")
    return time - float(data.epoch)


def predict(
    solver: AbstractSolver, process: Process, data: LightCurve, wanted, parts, full: bool
) -> Prediction:
    """The process at times since the epoch, see `GPSolver.predict`."""
    number = wanted.size
    # lengths in common share a program
    times = filled_up(wanted)
    columns = None if parts else jnp.asarray(data.columns_at(times), data.time.dtype)
    times = jnp.asarray(times, data.time.dtype)
    mean, variance = predict_at(solver, process, times, columns, parts, full)
    return Prediction(*first_of(number, mean, variance))


def first_of(number: int, *arrays):
    """The first elements along all axes, by NumPy, for which a new length is no new program."""
    arrays = [array if is_traced(array) else np.asarray(array) for array in arrays]
    arrays = [array[(slice(number),) * array.ndim] for array in arrays]
    return map(jnp.asarray, arrays)


@jit
def predict_at(solver, process, times, columns, parts, full):
    """Mean and variance, or covariance, at times since the epoch with their free columns."""
    found = solver.condition(process, times, parts, full)
    if columns is not None:
        missing = found.through.shape[1] - 1 - columns.shape[1]
        columns = jnp.pad(columns, ((0, 0), (0, missing)))
    mean, variance = with_columns(found, columns)
    if parts is None:
        mean = mean + process.mean_at(times + solver.tables.epoch)
    return mean, variance


@jit
def offsets(solver: AbstractSolver, process: Process):
    """Best amplitudes of the free columns and the inverse of their covariance."""
    found = solver.information(process)
    return found.amplitudes(), found.normal


@jit
def prior_moments(solver: AbstractSolver, process: Process, wanted) -> Prediction:
    """Mean and covariance matrix of the process at times since the epoch, without data."""
    reach = jnp.max(wanted) - jnp.min(wanted)
    covariance = solver.tables.covariance(process, reach).block(wanted, wanted)
    return Prediction(process.mean_at(wanted + solver.tables.epoch), covariance)


@jit
def draw(moments: Any, key, n: int):
    """Draws of a Gaussian whose covariance may be singular to rounding."""
    values, vectors = jnp.linalg.eigh(moments.variance)
    root = vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None, :]
    normal = jax.random.normal(key, (n, moments.mean.size), moments.mean.dtype)
    return moments.mean[None, :] + normal @ root.T
