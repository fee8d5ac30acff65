"""What data will say of the parameters, before they are taken."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pytreefit import Table
from pytreefit.extend import check_kind, lookup_parameter

from ..gp.abstract import AbstractGP
from ..gp.channel_solver import ChannelSolver
from ..gp.solver import GPSolver
from .gaussian import Projection, derivatives, moments_of, series_of
from .score import information

_MOST = 4000  # points, of matrices that fit into memory
_EMPTY = 1e-12  # eigenvalues of the scaled information below it are called zero


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FisherInformation:
    """The result of `fisher_information`.

    Parameters
    ----------
    names
        Paths of the free parameters, with an index for entries of arrays.
    values
        At which it is, shape (p,).
    matrix
        Shape (p, p), for the physical values.
    units
        Of the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=3.0, tau_spot=2.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> t, known = np.arange(9.0), dict.fromkeys(["peq", "inc", "lspot", "tau_spot"])
    >>> gp = GPSolver(t, 1.0 + 0.01 * np.sin(t), 1e-7, star, mean=1.0, priors=known)
    >>> std = fisher_information(gp).std["model.amplitude.sigma_k"]
    >>> f"{std:.6f}"  # 0.01 / sqrt(2 * 9), from 9 points without noise
    '0.002357'
    """

    names: tuple[str, ...]
    values: np.ndarray
    matrix: np.ndarray
    units: tuple[str, ...]

    @property
    def covariance(self) -> np.ndarray:
        """The Cramer-Rao bound: no unbiased estimate has a smaller covariance, shape (p, p).

        Infinite in parameters of which, or of a combination with which, the data say nothing.
        """
        width = np.sqrt(np.diag(self.matrix))
        scale = np.where(width > 0, width, 1.0)
        values, vectors = np.linalg.eigh(self.matrix / scale / scale[:, None])
        empty = values < _EMPTY * max(values[-1], 0.0)
        inverse = (vectors / np.where(empty, np.inf, values)) @ vectors.T / scale / scale[:, None]
        unknown = np.any(np.abs(vectors[:, empty]) > np.sqrt(_EMPTY), axis=1) | (width == 0)
        inverse[unknown, unknown] = np.inf
        return inverse

    @property
    def std(self) -> dict[str, float]:
        """The smallest standard deviation of each parameter, all others unknown too."""
        return dict(zip(self.names, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))

    def table(self) -> Table:
        """A row per parameter: value, the bound of its error, unit."""
        rows = [
            (name, f"{value:.6g}", f"{std:.2g}", unit)
            for (name, std), value, unit in zip(
                self.std.items(), self.values, self.units, strict=True
            )
        ]
        return Table(("parameter", "value", "error, at least", "unit"), rows)

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def fisher_information(gp: AbstractGP, theta: Any = None) -> FisherInformation:
    r"""The expected information of a light curve's times and errors, whatever its fluxes.

    .. math::
        F_{jk} = \tfrac12 \mathrm{tr}\left(P\, \frac{\partial K}{\partial\theta_j}
        P\, \frac{\partial K}{\partial\theta_k}\right)
        + \frac{\partial m}{\partial\theta_j}^T P \frac{\partial m}{\partial\theta_k}

    with P the inverse covariance without the free columns (offsets, trend). For a planned cadence
    make a `GPSolver` of its times and errors, with fluxes of 1. Priors are not counted.

    Parameters
    ----------
    gp
        The process, of a light curve or of several channels.
    theta
        Parameters, see `GPSolver.values`.

    Returns
    -------
    FisherInformation
        With the Cramer-Rao bounds (``covariance``, ``std``).

    Raises
    ------
    ValueError
        For more than 4,000 points, or a covariance that is not positive definite to rounding.

    Notes
    -----
    Kay (1993), Fundamentals of Statistical Signal Processing, equation 3.31. Derivatives are
    differences of fourth order.
    """
    check_kind("gp", gp, GPSolver | ChannelSolver)
    number = gp.data.time.size
    if number > _MOST:
        raise ValueError(
            f"gp has {number} points, but matrices of at most {_MOST} are used: bin the times, or "
            "add the informations of several stretches that are farther apart than spots live."
        )
    values, posterior = gp.values(theta), gp.posterior
    series = series_of(gp, number, 1.0)
    try:
        projection = Projection.of(moments_of(gp, series, values), series.columns)
    except np.linalg.LinAlgError:
        raise ValueError(gp._explain(gp.process_at(theta))) from None
    found = information(projection, *derivatives(gp, series, values))
    u = posterior.unconstrain(values)

    def flat(u):
        return jnp.concatenate([jnp.ravel(x) for x in posterior.constrain(u).values()])

    slopes = np.linalg.pinv(np.asarray(jax.jacfwd(flat)(u), float))
    names, units = [], []
    for name, shape in posterior.shapes.items():
        entries = [name + f"[{', '.join(map(str, i))}]" * bool(i) for i in np.ndindex(*shape)]
        names += entries
        units += [lookup_parameter(posterior.model, name).info.unit] * len(entries)
    matrix = slopes.T @ found @ slopes
    return FisherInformation(tuple(names), np.asarray(flat(u), float), matrix, tuple(units))
