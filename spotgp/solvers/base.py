r"""What a solver of the Gaussian process of a light curve has to do.

A solver owns what it works out from the data. With the covariance K of the data, white noise
included, their residuals r from the mean function and the free columns H of the mean, the
log-likelihood is

.. math::
    \ln L = -\tfrac12\, r^T P r - \tfrac12 \ln|K| - \tfrac12 \ln|H^T K^{-1} H|
        - \tfrac{N - c}{2} \ln 2\pi, \qquad
    P = K^{-1} - K^{-1} H (H^T K^{-1} H)^{-1} H^T K^{-1} .
"""

import abc
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pytreefit import jit

from ..gp.data import LightCurve
from ..gp.process import Process
from ..kernel.covariance import AbstractTables
from .information import Information, marginal
from .points import Points


class Conditional(NamedTuple):
    r"""The process at m times, given the data, before the free columns are put in.

    Parameters
    ----------
    through
        :math:`k_*^T K^{-1}` times the residuals and the free columns, shape (m, 1 + c).
    variance
        Given the data, shape (m,), or the covariance matrix, shape (m, m).
    information
        On the free columns.
    """

    through: Float[Array, "m 1+c"]
    variance: Float[Array, "m ..."]
    information: Information


class AbstractSolver(eqx.Module):
    """A way to evaluate the likelihood of a light curve's process, and to predict from it.

    Make one by `prepare`. What it holds is worked out from the data there and never changed: other
    data take another solver. For a new one whose covariance can be factorised as a whole, derive
    from `AbstractFactorSolver`, which asks for less.
    """

    name: ClassVar[str]
    # whether the likelihood has an error beside that of the kernel's table
    approximate: ClassVar[bool] = False
    points: eqx.AbstractVar[Points]
    tables: eqx.AbstractVar[AbstractTables]

    @classmethod
    @abc.abstractmethod
    def prepare(
        cls, data: LightCurve, process: Process, priors: Mapping[str, Any], tolerance: float
    ) -> Self:
        """The solver for a light curve.

        Parameters
        ----------
        data
            The light curve.
        process
            The process at the values that a fit starts from.
        priors
            NumPyro distributions of the free parameters by path, such as
            ``"model.visibility.peq"``: how far they may go.
        tolerance
            Error that the log-likelihood may have at ``process``.

        Raises
        ------
        ValueError
            With the reason, where the solver is not for this light curve or process.
        """

    @classmethod
    def cost(
        cls, data: LightCurve, process: Process, priors: Mapping[str, Any], tolerance: float
    ) -> float:
        """Rough time of a likelihood and its gradient, in products of numbers of a matrix product.

        ``GPSolver(solver="auto")`` takes the cheapest. Infinite, as here, for a solver that has to
        be asked for.
        """
        del data, process, priors, tolerance
        return math.inf

    @abc.abstractmethod
    def log_likelihood(self, process: Process) -> Float[Array, ""]:
        """Log-likelihood with the free columns integrated out under a flat prior, a scalar.

        Minus infinity where the covariance is not positive definite to rounding, or where the
        parameters are beyond those that the solver was made for.
        """

    @abc.abstractmethod
    def information(self, process: Process) -> Information:
        """What the data say of the free columns."""

    @abc.abstractmethod
    def condition(self, process: Process, times, parts=None, full: bool = False) -> Conditional:
        """The process at other times, given the data.

        Parameters
        ----------
        process
            The process.
        times
            Days since the data's epoch, shape (m,), in any order; for data of several channels
            a `Place`.
        parts
            Names of the processes to predict; None is all.
        full
            Whether to return the covariance matrix in place of the variance.
        """

    def covered(self, process: Process) -> Bool[Array, ""]:
        """Whether the solver was made for these parameters."""
        del process
        return jnp.ones((), bool)

    @abc.abstractmethod
    def leave_one_out(self, process: Process):
        """P r and the diagonal of P, each of shape (n,), for `points`; see `left_out`."""

    def error(self, process: Process) -> Float[Array, ""]:
        """Estimate of the error of `log_likelihood`: here that of the kernel's table."""
        return self.table_error(process)

    def table_error(self, process: Process) -> Float[Array, ""]:
        """What a table of twice as many knots and nodes changes in `log_likelihood`."""
        return _table_error(self, process)

    def rough(self) -> Self:
        """The same with a coarser table: cheaper where spots live long and the star is sheared."""
        return eqx.tree_at(lambda solver: solver.tables, self, self.tables.rough())

    def remark(self, process: Process) -> str:
        """A sentence where `log_likelihood` may be off by more than twice the tolerance."""
        if bool(_enough(self, process)) and not self.approximate:
            return ""
        error, tolerance = float(self.error(process)), float(self.tables.tolerance)
        if error <= 2.0 * tolerance:
            return ""
        return (
            f"The log-likelihood may be off by {error:.2g} here, more than the tolerance of "
            f"{tolerance:g}: build the GPSolver at these values, or use another solver."
        )

    def explain(self, process: Process) -> str | None:
        """Why a log-likelihood is minus infinity, a sentence, if it is the solver's doing."""
        del process
        return None

    @classmethod
    def shared(cls, solvers: list[Self], least: int = 0) -> list["AbstractSolver"]:
        """The same solvers filled up to sizes in common, so that they share a program.

        Of ``least`` points at least, for those who do not know of each other. Here as they are:
        each has a program of its own where its arrays have other shapes.
        """
        del least
        return list(solvers)

    @property
    def length(self) -> int:
        """What programs depend on most, such as the number of points: near ones are shared."""
        return 0

    @abc.abstractmethod
    def __repr__(self) -> str:
        """How it works, in a few words, such as ``"dense"``."""


def with_columns(found: Conditional, columns):
    """Mean and variance with free columns of shape (m, c) at their times; None leaves them out."""
    left = -found.through[:, 1:]
    if columns is not None:
        left = left + columns
    mean = found.through[:, 0] + left @ found.information.amplitudes()
    spread = found.information.solve(left.T)
    if found.variance.ndim == 2:
        return mean, found.variance + left @ spread
    return mean, jnp.maximum(found.variance + jnp.sum(left.T * spread, axis=0), 0.0)


@jit
def _table_error(solver, process):
    finer = eqx.tree_at(lambda solver: solver.tables, solver, solver.tables.finer())
    return jnp.abs(finer.log_likelihood(process) - solver.log_likelihood(process))


@jit
def _enough(solver, process):
    return solver.tables.enough(process, solver.points.span)


def left_out(solver: AbstractSolver, process: Process, noise):
    r"""What `AbstractSolver.leave_one_out` returns, from a prediction at the data's points.

    With the posterior :math:`\mu, v` of the whole mean at each point and its white noise
    :math:`\sigma^2` it is :math:`P r = (y - \mu) / \sigma^2` and
    :math:`P_{ii} = (1 - v / \sigma^2) / \sigma^2`.
    """
    points = solver.points
    found = solver.condition(process, points.time)
    mean, variance = with_columns(found, points.columns)
    diagonal = (1.0 - variance / noise) / noise
    diagonal = jnp.where(solver.covered(process), diagonal, jnp.nan)
    return (points.residual(process) - mean) / noise, diagonal


def finite_or_minus_infinity(value, covered=True):
    """A log-likelihood, minus infinity where it is NaN or the solver is not for the parameters."""
    return jnp.where(~jnp.isnan(value) & covered, value, -jnp.inf)


class AbstractFactorSolver(AbstractSolver):
    """A solver of which only `prepare` and `factor` are to be written.

    Parameters
    ----------
    points
        The data, from `points_of`.
    tables
        From `tables_of`; ``self.tables.covariance(process, reach)`` fills matrices.
    """

    @abc.abstractmethod
    def factor(self, process: Process) -> Any:
        """The factorised covariance K of the data, white noise included.

        An object with ``log_determinant``, that of K, and ``solve(right)``, the inverse of K times
        columns of shape (n, m). What fills `points` up is white noise of variance 1.
        """

    def _products(self, process: Process):
        """The factor, its solution S for the residuals and columns R, and R^T S."""
        factor, real = self.factor(process), self.points.real[:, None]
        right = jnp.concatenate([self.points.residual(process)[:, None], self.points.columns], 1)
        solved = factor.solve(right * real)
        return factor, solved, (right * real).T @ solved

    def log_likelihood(self, process):
        factor, _, products = self._products(process)
        number = jnp.sum(self.points.real)
        return finite_or_minus_infinity(marginal(products, factor.log_determinant, number))

    def information(self, process):
        return Information.of(self._products(process)[2])

    def condition(self, process, times, parts=None, full=False):
        factor, solved, products = self._products(process)
        covariance = self.tables.covariance(process, self.points.reach(times), parts)
        cross = covariance.block(self.points.place, times) * self.points.real[:, None]
        reduction = factor.solve(cross)
        if full:
            variance = covariance.block(times, times) - cross.T @ reduction
        else:
            variance = variances(covariance, times) - jnp.sum(cross * reduction, axis=0)
        return Conditional(cross.T @ solved, variance, Information.of(products))

    def leave_one_out(self, process):
        return left_out(self, process, self.points.noise(process))

    def __repr__(self):
        return self.name


def variances(covariance, times):
    """The diagonal of the covariance matrix of places."""

    def variance(place):
        one = jax.tree.map(lambda leaf: leaf[None], place)
        return covariance.block(one, one)[0, 0]

    return jax.vmap(variance)(times)
