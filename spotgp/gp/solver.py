"""The Gaussian process of a spotted star's light curve: likelihood, posterior, predictions."""

import time as clock
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Posterior, jit
from pytreefit.extend import as_data, as_mapping, as_number, is_traced

from ..component import to_float
from ..kernel.analytic import AnalyticKernel
from ..solvers import AbstractSolver, prepared
from ..star.model import SpotEvolutionModel
from .data import LightCurve, warn_of_float32
from .explain import explain
from .leave_one_out import LeaveOneOut, leave_one_out
from .mean import ConstantMean
from .prediction import Prediction, draw, first_of, offsets, predict, prior_moments
from .priors import choose_priors, priors_by_path, short_names
from .process import Process, checked_terms


class GPSolver(eqx.Module):
    r"""The Gaussian process of one light curve, ready to evaluate, fit, sample and predict.

    .. math::
        y_j = m(t_j) + f(t_j) + \epsilon_j, \qquad f \sim \mathcal{GP}(0, k), \quad
        \epsilon_j \sim \mathcal{N}(0, \sigma_j^2 + s^2)

    Everything is conditional on the model's parameters; which of them are free, and their priors,
    are in `posterior`, which `pytreefit.fit` and `pytreefit.sample` take.

    Parameters
    ----------
    t, flux, flux_err
        Shape (n,): days, relative flux and its standard deviation. Points that are not finite are
        left out, unsorted ones sorted, each with a warning. ``flux_err`` may be one number.
    model
        A `SpotEvolutionModel`; an `AnalyticKernel` chooses harmonics too, and with a
        `NonstationaryAnalyticKernel` the amplitude changes with time.
    mean
        None integrates a constant out, with a flat prior. A number is a fixed constant; a function
        of time such as `ConstantMean` or `LinearMean` has parameters to fit.
    jitter
        Standard deviation of white noise beyond the errors: free from this value on if positive,
        absent if 0.
    offsets
        Label of each point's segment, shape (n,), integers 0, 1, 2 ...: each segment gets an offset
        of its own, integrated out with a flat prior, in the likelihood and in predictions alike.
    trend
        Degree of a polynomial in time that is integrated out too.
    terms
        Further stationary processes by name, such as ``{"granulation": SHOTerm(...)}``.
    priors
        A numpyro distribution or ``(low, high)`` for each parameter, by its name in `param_keys`
        or by its path. The others get wide ones, see `posterior`; ``None`` fixes a parameter.
        Without a prior, latitudes, limb darkening, spot sizes and contrasts are fixed, and so is
        what stands at the edge of its range, such as ``kappa`` 0.
    solver
        A name, a class derived from `spotgp.solvers.AbstractSolver`, or what its ``prepare``
        returned.

        ``"auto"`` asks each for its cost and takes the cheapest that keeps the ``tolerance``: an
        exact one up to 3,000 points, and above where that is fast, as the spots live for a small
        part of the light curve.

        Exact: ``"dense"``, ``"banded"`` (for light curves much longer than the spots' lives, whose
        priors must bound the kernel's support), or the faster one of these, ``"exact"``.

        ``"quasiseparable"`` takes a time proportional to the number of points, for spots with one
        of the two envelopes that are exponential without a plateau, on stars without shear (kappa 0
        and fixed); ``tolerance`` decides on the number of harmonics unless an `AnalyticKernel`
        names them, and with these it is exact.

        ``"bins"``, polynomials in short bins, takes a time in proportion to the time span, whatever
        the number of points. It is for spots alone, with priors that bound the kernel's support
        and the jitter.
    exposure_time
        Length of the exposures, days: fluxes are averages of the process over it, and so are
        predictions. None takes them for short.
    tolerance
        Error that the log-likelihood may have at the model's values; it decides on the number of
        harmonics, on the width of the bins and on how fine the kernel's table is. Elsewhere see
        `likelihood_error`.

    Raises
    ------
    ValueError, TypeError
        For data of unequal lengths, without two finite points, with errors that are not positive,
        segments without points, a prior for no parameter, a band that saves nothing, or a solver
        that is not for this star.
    """

    data: LightCurve
    posterior: Posterior
    tolerance: float = eqx.field(static=True)

    def __init__(
        self,
        t,
        flux,
        flux_err,
        model,
        *,
        mean: Any = None,
        jitter: float = 0.0,
        offsets=None,
        trend: int = 0,
        terms: Mapping[str, Any] | None = None,
        priors: Mapping[Any, Any] | None = None,
        solver: str | type[AbstractSolver] | AbstractSolver = "auto",
        exposure_time: float | None = None,
        tolerance: float = 0.1,
    ):
        if not as_number("tolerance", tolerance) > 0:
            raise ValueError(f"tolerance = {tolerance} must be > 0: an error of log-likelihoods.")
        warn_of_float32()
        options = {"constant": mean is None, "trend": trend, "exposure": exposure_time}
        data = LightCurve.of(t, flux, flux_err, offsets, **options)
        orders, amplitude = None, None
        if isinstance(model, AnalyticKernel):
            orders, amplitude = model.orders, getattr(model, "amplitude", None)
            model = model.model
        if not isinstance(model, SpotEvolutionModel):
            raise TypeError(
                f"model = {model!r} is not a SpotEvolutionModel, nor an AnalyticKernel of one."
            )
        process = Process(
            model=model,
            mean=_as_mean(mean),
            terms=checked_terms(terms),
            amplitude=amplitude,
            jitter=jitter,
            orders=orders,
        )
        given = as_mapping("priors", priors)
        chosen = choose_priors(process, data, given, fixed_mean=not callable(mean))
        self.data, self.tolerance = data, float(tolerance)
        by_path = priors_by_path(process, chosen)
        made = prepared(solver, data, process, by_path, self.tolerance)
        self.posterior = Posterior(process, made.log_likelihood, chosen)

    @classmethod
    def from_data(cls, data, model, *, offsets: bool | None = None, **kwargs) -> Self:
        """The process of a `TimeSeriesData`, its segments with offsets of their own.

        By default segments have ``offsets`` where there are several of them. All other arguments
        are those of the class.
        """
        several = data.n_segments > 1 if offsets is None else offsets
        labels = data.segment if several else None
        return cls(data.time, data.flux, data.flux_err, model, offsets=labels, **kwargs)

    @property
    def solver(self) -> AbstractSolver:
        """What evaluates the likelihood."""
        return self.posterior.log_likelihood.__self__  # pyright: ignore[reportFunctionMemberAccess]

    @property
    def process(self) -> Process:
        """Star, mean, terms and white noise at the parameters that it was made with."""
        return self.posterior.model  # pyright: ignore[reportReturnType]

    @property
    def param_keys(self) -> tuple[str, ...]:
        """Short names of the free parameters, in the order of parameter vectors."""
        return tuple(short_names(self.posterior.names))

    def values(self, theta=None) -> dict[str, Array]:
        """Values of the free parameters by path.

        Parameters
        ----------
        theta
            None for those of the model, a vector in the order of `param_keys`, or a mapping from
            names or paths (what it leaves out stays as in the model).
        """
        posterior = self.posterior
        if theta is None:
            return posterior.initial
        if isinstance(theta, Mapping):
            paths = dict(zip(self.param_keys, posterior.names, strict=True))
            given = {paths.get(name, name): value for name, value in theta.items()}
            unknown = [name for name in given if name not in posterior.names]
            if unknown:
                raise ValueError(
                    f"{unknown[0]!r} is not a free parameter; these are: "
                    f"{', '.join(self.param_keys)}."
                )
            return {
                name: jnp.asarray(given.get(name, start), start.dtype)
                for name, start in posterior.initial.items()
            }
        theta = jnp.asarray(theta, jnp.result_type(float))
        if theta.shape != (len(posterior.names),):
            raise ValueError(
                f"theta has shape {theta.shape}, but there are {len(posterior.names)} free "
                f"parameters: {', '.join(self.param_keys)}."
            )
        return dict(zip(posterior.names, theta, strict=True))

    def process_at(self, theta=None) -> Any:
        """The `Process` with other values of the free parameters, see `values`."""
        return self.posterior.model_at(self.values(theta))

    def at(self, theta) -> Self:
        """The same process with other values of the free parameters, from which it then starts.

        The solver stays as it was made, see `remade_at`.
        """
        return eqx.tree_at(lambda gp: gp.posterior.model, self, self.process_at(theta))

    def remade_at(self, theta) -> Self:
        """The same with other values of the free parameters, and its solver made for these."""
        process = self.process_at(theta)
        free = zip(self.posterior.paths, self.posterior.priors.values(), strict=True)
        priors = {path: prior for tied, prior in free for path in tied}
        solver = type(self.solver).prepare(self.data, process, priors, self.tolerance)
        return self.with_solver(solver).at(theta)

    def with_solver(self, solver: AbstractSolver) -> Self:
        """The same with another prepared solver of the same data."""
        return eqx.tree_at(lambda gp: gp.posterior.log_likelihood, self, solver.log_likelihood)

    def log_likelihood(self, theta=None) -> Float[Array, ""]:
        """Logarithm of the likelihood, free columns integrated out; see `values` for ``theta``.

        Raises
        ------
        ValueError
            If the covariance is not positive definite to rounding.
        """
        value = _log_likelihood(self.posterior, self.values(theta))
        if is_traced(value):
            return value
        if not np.isfinite(value):
            raise ValueError(explain(self.solver, self.process_at(theta), self.data))
        if remark := self.solver.remark(self.process_at(theta)):
            warnings.warn(remark, stacklevel=2)
        return value

    def likelihood_error(self, theta=None) -> Float[Array, ""]:
        """Estimate of the error of `log_likelihood`.

        That of the kernel's table, and for approximate solvers the mean plus at least three
        standard deviations of theirs, for data that are a draw of the process. Between parameter
        values that are near to each other much of it is common.
        """
        return self.solver.error(self.process_at(theta))

    def log_posterior(self, theta=None) -> Float[Array, ""]:
        """Logarithm of likelihood times prior density of the physical parameters."""
        return _log_posterior(self.posterior, self.values(theta))

    def neg_log_posterior(self, theta=None) -> Float[Array, ""]:
        """Minus `log_posterior`, for minimisers."""
        return -self.log_posterior(theta)

    def grad_log_posterior(self, theta=None) -> Float[Array, "p"]:
        """Gradient of `log_posterior` in the order of `param_keys`."""
        return self.value_and_grad_log_posterior(theta)[1]

    def grad_neg_log_posterior(self, theta=None) -> Float[Array, "p"]:
        """Minus `grad_log_posterior`."""
        return -self.grad_log_posterior(theta)

    def value_and_grad_log_posterior(self, theta=None):
        """`log_posterior` and `grad_log_posterior` at the cost of the latter."""
        value, gradient = _value_and_gradient(self.posterior, self.values(theta))
        return value, jnp.stack([gradient[name] for name in self.posterior.names])

    def build_jax(self) -> Self:
        """Compile the log posterior and its gradient now; says how long it took, returns itself."""
        began = clock.perf_counter()
        jax.block_until_ready((self.log_posterior(), self.grad_log_posterior()))
        print(f"JAX log posterior compiled in {clock.perf_counter() - began:.2f}s")
        return self

    def predict(
        self, t=None, theta=None, *, parts: Sequence[str] | None = None, return_cov: bool = False
    ) -> Prediction:
        r"""The process without its white noise at any times, given the data.

        .. math::
            \mu_* = m_* + h_*^T \hat\beta + k_*^T P (y - m), \qquad
            \Sigma_* = k_{**} - k_*^T P k_* + \ldots

        with the uncertainty of the free columns included; the mean has the shape (m,), the variance
        (m,), the covariance (m, m).

        Parameters
        ----------
        t
            Days, shape (m,), in any order; None is the times of the data.
        theta
            Parameters, see `values`.
        parts
            Names of the processes to predict alone, ``"spots"`` or a term's, without the mean; by
            default all of them and the mean.
        return_cov
            Whether to return the covariance matrix in place of the variance.
        """
        process = self.process_at(theta)
        if parts is not None:
            parts = tuple([parts] if isinstance(parts, str) else parts)
            for part in parts:
                if part not in process.parts:
                    raise ValueError(f"parts = {part!r} is none of {', '.join(process.parts)}.")
        wanted = np.asarray(self.data.time, float)
        if t is not None:
            wanted = as_data("t", t, "d", ndim=1) - float(self.data.epoch)
        return predict(self.solver, process, self.data, wanted, parts, return_cov)

    def leave_one_out(self, theta=None) -> LeaveOneOut:
        r"""Each point predicted from all the others, free columns integrated out.

        .. math::
            \mu_i = y_i - \frac{[P (y - m)]_i}{P_{ii}}, \qquad \sigma_i^2 = \frac{1}{P_{ii}}

        with :math:`P = K^{-1} - K^{-1} H (H^T K^{-1} H)^{-1} H^T K^{-1}`, at about the cost of a
        gradient with the exact solvers, and of a prediction at all points with the others. The
        points are in the order of `data`; for ``theta`` see `values`, for the result `LeaveOneOut`.

        Raises
        ------
        ValueError
            If the covariance is not positive definite to rounding, or beyond the solver's reach.

        Notes
        -----
        Sundararajan & Keerthi (2001, Neural Computation 13, 1103); Rasmussen & Williams (2006),
        equations 5.10 to 5.12; with free columns the limit of a wide prior of their amplitudes.
        """
        process = self.process_at(theta)
        found = leave_one_out(self.solver, process)
        if not is_traced(found.variance) and np.isnan(found.variance).any():
            raise ValueError(explain(self.solver, process, self.data))
        return LeaveOneOut(*first_of(self.data.time.size, *found))

    def sample_prior(self, t, key, n: int = 1, theta=None) -> Float[Array, "n m"]:
        """Light curves drawn from the process at times ``t`` (m,), without the data.

        The mean function is included, free columns (which have no proper prior) are not.
        """
        wanted = to_float(as_data("t", t, "d", ndim=1) - float(self.data.epoch))
        return draw(prior_moments(self.solver, self.process_at(theta), wanted), key, n)

    def sample_posterior(self, t, key, n: int = 1, theta=None) -> Float[Array, "n m"]:
        """Light curves drawn from the process at times ``t`` (m,), given the data."""
        return draw(self.predict(t, theta, return_cov=True), key, n)

    def offset_estimates(self, theta=None) -> tuple[Float[Array, "c"], Float[Array, "c c"]]:
        """Mean and covariance of the free columns' amplitudes, given the data."""
        amplitudes, normal = offsets(self.solver, self.process_at(theta))
        return amplitudes, jnp.linalg.inv(normal)

    def __repr__(self) -> str:
        """Number of points, the solver and the free parameters."""
        return (
            f"GPSolver({self.data.time.size} points, {self.solver!r}, "
            f"free: {', '.join(self.param_keys)})"
        )


def _as_mean(mean: Any) -> Any:
    """A mean function of what may be a number; None for a free constant."""
    if mean is None or is_traced(mean):
        return mean if mean is None else ConstantMean(mean)
    if isinstance(mean, type) or not callable(mean):
        return ConstantMean(as_number("mean", mean))
    return mean


@jit
def _log_likelihood(posterior, values):
    return posterior.log_likelihood_of(posterior.model_at(values))


def density(values, posterior):
    """Logarithm of likelihood times prior density of the physical parameters."""
    return posterior.log_likelihood_of(posterior.model_at(values)) + posterior.log_prior(values)


@jit
def _log_posterior(posterior, values):
    return density(values, posterior)


@jit
def _value_and_gradient(posterior, values):
    return jax.value_and_grad(density)(values, posterior)
