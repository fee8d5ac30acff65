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
from pytreefit.extend import is_traced

from ..kernel.analytic import AnalyticKernel
from ..star.model import SpotEvolutionModel
from .approximate import check_inside, error_in_bins
from .leave_one_out import LeaveOneOut, leave_one_out
from .mean import ConstantMean
from .prediction import Prediction, draw, information_of, predict, prior_moments
from .priors import choose_priors, short_names
from .process import LightCurve, light_curve_log_likelihood
from .setup import (
    SOLVERS,
    as_array,
    as_times,
    checked_data,
    checked_terms,
    explain,
    free_columns,
    said_or,
    sized,
    warn_of_float32,
)


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
        ``"auto"`` is exact up to 3,000 points, and above where that is fast, as the spots live for
        a small part of the light curve; otherwise it is ``"local"``, where that keeps the
        ``tolerance``, or else exact.

        Exact: ``"dense"``, ``"banded"`` (for light curves much longer than the spots' lives, whose
        priors must bound the kernel's support), or the faster one of these, ``"exact"``.

        ``"quasiseparable"`` takes a time proportional to the number of points, for spots with one
        of the two envelopes that are exponential without a plateau, on stars without shear (kappa 0
        and fixed); ``tolerance`` decides on the number of harmonics unless an `AnalyticKernel`
        names them, and with these it is exact.

        Approximate, at a cost that does not depend on the number of points, for spots alone, with
        priors that bound the kernel's support and the jitter: ``"local"`` works with polynomials in
        bins, at a cost in proportion to the time span; ``"fourier"`` with Fourier modes over some
        months, and it does not extrapolate.
    knots, nodes
        Of the kernel's table and of its average over latitude; by default from the periods, shears
        and supports around the model's, and from how far the light curve is above its noise.
    tolerance
        Error that an approximate log-likelihood may have at the model's values; it decides on the
        number of modes or harmonics, or on the width of the bins. Elsewhere see `likelihood_error`.

    Raises
    ------
    ValueError, TypeError
        For data of unequal lengths, without two finite points, with errors that are not positive,
        segments without points, a prior for no parameter, a band that saves nothing, or a solver
        that is not for this star.
    """

    posterior: Posterior
    epoch: float = eqx.field(static=True)
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
        priors: Mapping[str, Any] | None = None,
        solver: str = "auto",
        knots: int | None = None,
        nodes: int | None = None,
        tolerance: float = 0.1,
    ):
        time, flux, flux_err, labels = checked_data(t, flux, flux_err, offsets)
        orders, amplitude = None, None
        if isinstance(model, AnalyticKernel):
            orders, nodes = model.orders, nodes or model.nodes
            amplitude = getattr(model, "amplitude", None)
            model = model.model
        if not isinstance(model, SpotEvolutionModel):
            raise TypeError(
                f"model = {model!r} is not a SpotEvolutionModel, nor an AnalyticKernel of one."
            )
        if solver not in SOLVERS:
            raise ValueError(f"solver = {solver!r} must be {said_or(SOLVERS)}.")
        if not tolerance > 0:
            raise ValueError(f"tolerance = {tolerance} must be > 0: an error of log-likelihoods.")
        warn_of_float32()
        self.tolerance = float(tolerance)
        self.epoch = float(0.5 * (time[0] + time[-1]))
        time = time - self.epoch
        light_curve = LightCurve(
            time=as_array(time),
            flux=as_array(flux),
            flux_err=as_array(flux_err),
            real=None,
            columns=as_array(free_columns(time, labels, mean, trend)),
            epoch=as_array(self.epoch),
            model=model,
            mean=ConstantMean(mean) if isinstance(mean, int | float) else mean,
            terms=checked_terms(terms),
            amplitude=amplitude,
            reach=as_array(np.inf),
            jitter=jitter,
            trend=trend,
            layout=(1, time.size, 0),
            orders=orders,
            nodes=nodes or 2,
            knots=knots or 2,
            sums=None,
            modes=0,
            lags=0,
        )
        chosen = choose_priors(light_curve, dict(priors or {}), fixed_mean=not callable(mean))
        light_curve = sized(light_curve, time, chosen, solver, tolerance, knots, nodes)
        self.posterior = Posterior(light_curve, light_curve_log_likelihood, chosen)

    @classmethod
    def from_data(cls, data, model, *, offsets: bool | None = None, **kwargs) -> Self:
        """The process of a `TimeSeriesData`, its segments with offsets of their own.

        Parameters
        ----------
        data
            The light curve.
        model
            As for the class.
        offsets
            Whether each segment has an offset; by default where there are several.
        **kwargs
            As for the class.
        """
        several = data.n_segments > 1 if offsets is None else offsets
        labels = data.segment if several else None
        return cls(data.time, data.flux, data.flux_err, model, offsets=labels, **kwargs)

    @property
    def light_curve(self) -> Any:
        """The `LightCurve`: data, and model at the parameters that the process was made with."""
        return self.posterior.model

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
            paths = {**dict(zip(self.param_keys, posterior.names, strict=True))}
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

    def light_curve_at(self, theta=None) -> Any:
        """The `LightCurve` with other values of the free parameters, see `values`."""
        return self.posterior.model_at(self.values(theta))

    def at(self, theta) -> Self:
        """The same process with other values of the free parameters, from which it then starts."""
        return eqx.tree_at(lambda gp: gp.posterior.model, self, self.light_curve_at(theta))

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
            raise ValueError(explain(self.light_curve_at(theta)))
        if self.light_curve.approximate:
            error = float(self.likelihood_error(theta))
            if not error <= 2.0 * self.tolerance:
                warnings.warn(
                    f"The log-likelihood may be off by {error:.2g} here, more than the tolerance "
                    f"of {self.tolerance:g}: build the GPSolver at these values, or use an exact "
                    "solver.",
                    stacklevel=2,
                )
        return value

    def likelihood_error(self, theta=None) -> Float[Array, ""]:
        """Estimate of the error of `log_likelihood`; 0 for the exact solvers.

        The mean plus at least three standard deviations, for data that are a draw of the process.
        Between parameter values that are near to each other much of it is common.
        """
        light_curve = self.light_curve_at(theta)
        if light_curve.in_bins:
            return jnp.asarray(error_in_bins(light_curve))
        return _neglected(light_curve) if light_curve.approximate else jnp.zeros(())

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

        with the uncertainty of the free columns included.

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

        Returns
        -------
        Prediction
            ``mean`` of shape (m,) and ``variance`` of shape (m,) or (m, m).
        """
        light_curve = self.light_curve_at(theta)
        if parts is not None:
            parts = tuple([parts] if isinstance(parts, str) else parts)
            known = ("spots", *light_curve.terms)
            for part in parts:
                if part not in known:
                    raise ValueError(f"parts = {part!r} is none of {', '.join(known)}.")
        wanted = light_curve.time if t is None else as_array(as_times(t) - self.epoch)
        if light_curve.in_modes:
            check_inside(wanted, light_curve)
        return predict(light_curve, wanted, parts, return_cov)

    def leave_one_out(self, theta=None) -> LeaveOneOut:
        r"""Each point predicted from all the others, free columns integrated out.

        .. math::
            \mu_i = y_i - \frac{[P (y - m)]_i}{P_{ii}}, \qquad \sigma_i^2 = \frac{1}{P_{ii}}

        with :math:`P = K^{-1} - K^{-1} H (H^T K^{-1} H)^{-1} H^T K^{-1}`, at about the cost of a
        gradient with the exact solvers; with Fourier modes it grows in proportion to the points.

        Parameters
        ----------
        theta
            Parameters, see `values`.

        Returns
        -------
        LeaveOneOut
            ``mean``, ``variance`` (the point's own white noise included) and the standardised
            ``residual`` of each point, shape (n,), in the order of `light_curve`; their
            ``log_score``. NaN, and an infinite variance, where a point alone has its offset.

        Raises
        ------
        ValueError
            If the covariance is not positive definite to rounding, or beyond the solver's reach,
            and with the local and the quasiseparable solver.

        Notes
        -----
        Sundararajan & Keerthi (2001, Neural Computation 13, 1103); Rasmussen & Williams (2006),
        equations 5.10 to 5.12; with free columns the limit of a wide prior of their amplitudes.
        """
        light_curve = self.light_curve_at(theta)
        if light_curve.in_bins or light_curve.harmonics is not None:
            raise ValueError(
                "leave_one_out works with the exact solvers and with 'fourier': use another solver."
            )
        found = leave_one_out(light_curve)
        if not is_traced(found.variance) and np.isnan(found.variance).any():
            raise ValueError(explain(light_curve))
        return found

    def sample_prior(self, t, key, n: int = 1, theta=None) -> Float[Array, "n m"]:
        """Light curves drawn from the process at times ``t`` (m,), without the data.

        The mean function is included, free columns (which have no proper prior) are not.
        """
        wanted = as_array(as_times(t) - self.epoch)
        light_curve = self.light_curve_at(theta)
        return draw(prior_moments(light_curve, wanted), key, n)

    def sample_posterior(self, t, key, n: int = 1, theta=None) -> Float[Array, "n m"]:
        """Light curves drawn from the process at times ``t`` (m,), given the data."""
        return draw(self.predict(t, theta, return_cov=True), key, n)

    def offset_estimates(self, theta=None) -> tuple[Float[Array, "c"], Float[Array, "c c"]]:
        """Mean and covariance of the free columns' amplitudes, given the data."""
        normal, moment = information_of(self.light_curve_at(theta))
        covariance = jnp.linalg.inv(normal)
        return covariance @ moment, covariance

    def __repr__(self) -> str:
        """Number of points and parameters, and the solver's layout."""
        light_curve = self.light_curve
        tiles, size, band = light_curve.layout
        how = "dense" if tiles == 1 else f"band of {band} in {tiles} tiles of {size}"
        if light_curve.in_modes:
            how = f"{2 * light_curve.modes} Fourier modes"
        if light_curve.in_bins:
            how = f"bins of {float(light_curve.sums.width):.3g} days in {tiles} tiles of {size}"
        if light_curve.harmonics is not None:
            how = f"quasiseparable with {len(light_curve.harmonics)} harmonics"
        return (
            f"GPSolver({light_curve.time.size} points, {how}, free: {', '.join(self.param_keys)})"
        )


@jit
def _neglected(light_curve):
    return light_curve.neglected()


@jit
def _log_likelihood(posterior, values):
    return posterior.log_likelihood_of(posterior.model_at(values))


def _density(values, posterior):
    return posterior.log_likelihood_of(posterior.model_at(values)) + posterior.log_prior(values)


@jit
def _log_posterior(posterior, values):
    return _density(values, posterior)


@jit
def _value_and_gradient(posterior, values):
    return jax.value_and_grad(_density)(values, posterior)
