"""The Gaussian process of a spotted star's light curve: likelihood, posterior, predictions."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Posterior
from pytreefit.extend import as_data, as_mapping, as_number, is_traced

from ..component import to_float
from ..kernel.analytic import AnalyticKernel
from ..solvers import AbstractSolver, prepared
from ..star.abstract import AbstractStar
from .abstract import AbstractGP
from .data import LightCurve, warn_of_float32
from .explain import explain
from .mean import ConstantMean, warn_of_another_zero
from .noise import WhiteNoise
from .prediction import Prediction, draw, predict, prior_moments, since_epoch
from .priors import choose_priors, default_priors, priors_by_path
from .process import Process, checked_terms


class GPSolver(AbstractGP):
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
        A `SpotEvolutionModel` or `SpottedStar`; an `AnalyticKernel` chooses harmonics too, and with
        a `NonstationaryAnalyticKernel` the amplitude changes with time.
    mean
        None integrates a constant out, with a flat prior. A number is a fixed constant; a function
        of time such as `ConstantMean` or `LinearMean` has parameters to fit.
    jitter
        Standard deviation of white noise beyond the errors: free from this value on if positive,
        absent if 0. A list of these, one for each segment of ``offsets``, gives each its own, with
        the paths ``"noise.0.jitter"`` and so on, and a prior of ``"jitter"`` is that of each; not
        with the solver ``"bins"``.
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
        predictions; a `Transit` is averaged by its own. None takes them for short.
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

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import SpotEvolutionModel, TrapezoidSymmetricEnvelope, VisibilityFunction
    >>> envelope = TrapezoidSymmetricEnvelope(lspot=10.0, tau_spot=4.0)
    >>> visibility = VisibilityFunction(peq=5.0, kappa=0.1, inc=1.2)
    >>> star = SpotEvolutionModel(envelope, visibility, sigma_k=0.003)
    >>> gp = GPSolver(np.arange(9.0), np.ones(9), 1e-3, star, priors={"peq": (2.0, 20.0)})
    >>> bool(gp.log_likelihood({"peq": 4.0}) > 0.0)
    True
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
        jitter: Any = 0.0,
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
        options["several_noises"] = isinstance(jitter, list | tuple) or np.ndim(jitter) > 0
        data = LightCurve.of(t, flux, flux_err, offsets, **options)
        jitter, noise = _noises(jitter, data)
        orders, amplitude = None, None
        if isinstance(model, AnalyticKernel):
            orders, amplitude = model.orders, getattr(model, "amplitude", None)
            model = model.model
        if not isinstance(model, AbstractStar):
            raise TypeError(
                f"model = {model!r} is not a SpotEvolutionModel or SpottedStar, nor an "
                "AnalyticKernel of one."
            )
        process = Process(
            model=model,
            mean=_as_mean(mean),
            terms=checked_terms(terms),
            amplitude=amplitude,
            jitter=jitter,
            orders=orders,
            noise=noise,
        )
        _check_exposure(process, data)
        warn_of_another_zero("mean", process.mean, data)
        given = _of_each_segment(as_mapping("priors", priors), noise)
        wide = default_priors(process, data, fixed_mean=not callable(mean))
        chosen = choose_priors(process, wide, given)
        self.data, self.tolerance = data, float(tolerance)
        by_path = priors_by_path(process, chosen)
        made = prepared(solver, data, process, by_path, self.tolerance)
        self.posterior = Posterior(process, made.log_likelihood, chosen)

    @classmethod
    def from_data(cls, data, model, *, offsets: bool | None = None, **kwargs) -> Self:
        """The process of a `TimeSeriesData`, its segments with offsets of their own.

        By default segments have ``offsets`` where there are several of them. All other arguments
        are those of the class. ValueError for fluxes in a unit that is no ratio, such as
        electrons a second: `TimeSeriesData.normalize` them first.
        """
        data = data.to("")
        several = data.n_segments > 1 if offsets is None else offsets
        labels = data.segment if several else None
        return cls(data.time, data.flux, data.flux_err, model, offsets=labels, **kwargs)

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
            wanted = since_epoch(t, self.data)
        return predict(self.solver, process, self.data, wanted, parts, return_cov)

    def sample_prior(self, t, key, n: int = 1, theta=None) -> Float[Array, "n m"]:
        """Light curves drawn from the process at times ``t`` (m,), without the data.

        The mean function is included, free columns (which have no proper prior) are not.
        """
        wanted = to_float(since_epoch(t, self.data))
        return draw(prior_moments(self.solver, self.process_at(theta), wanted), key, n)

    def sample_posterior(self, t, key, n: int = 1, theta=None) -> Float[Array, "n m"]:
        """Light curves drawn from the process at times ``t`` (m,), given the data."""
        return draw(self.predict(t, theta, return_cov=True), key, n)

    def _explain(self, process):
        return explain(self.solver, process, self.data)


def _noises(jitter: Any, data: LightCurve) -> tuple[Any, dict[str, WhiteNoise]]:
    """The white noise of all points, and that of each segment by its number."""
    if not data.several_noises:
        return jitter, {}
    values = as_data("jitter", jitter, "", ndim=1)
    if data.segment is None:
        raise ValueError(
            f"jitter = {jitter!r} has a value for each segment, but there are no segments: label "
            "the points by offsets=, as GPSolver.from_data does, or give one number."
        )
    number = int(np.max(data.segment)) + 1
    if values.size != number:
        raise ValueError(f"jitter has {values.size} values for {number} segments.")
    digits = len(str(number - 1))  # so that their order is that of their names
    return 0.0, {f"{k:0{digits}d}": WhiteNoise(value) for k, value in enumerate(values)}


def _of_each_segment(priors: dict, noise: Mapping[str, WhiteNoise]) -> dict:
    """The priors, with one of ``"jitter"`` taken for that of each segment's white noise."""
    if not noise or "jitter" not in priors:
        return priors
    common = priors.pop("jitter")
    each = {f"noise.{k}.jitter": common for k, one in noise.items() if float(one.jitter) > 0.0}
    if common is not None and not each:
        raise ValueError(
            "'jitter' has a prior, but jitter is 0 in every segment, where it stays: give a value "
            "> 0 where it is to be free."
        )
    return each | priors


def _check_exposure(process: Process, data: LightCurve) -> None:
    """ValueError where the star's light is averaged over exposures and its transits are not."""
    if data.exposure is not None and getattr(process.multiplier, "exposure_time", 0.0) is None:
        raise ValueError(
            f"exposure_time = {float(data.exposure):g} averages the star's light, but the "
            f"{type(process.multiplier).__name__} is of short exposures: give it exposure_time too."
        )


def _as_mean(mean: Any) -> Any:
    """A mean function of what may be a number; None for a free constant."""
    if mean is None or is_traced(mean):
        return mean if mean is None else ConstantMean(mean)
    if isinstance(mean, type) or not callable(mean):
        return ConstantMean(as_number("mean", mean))
    return mean
