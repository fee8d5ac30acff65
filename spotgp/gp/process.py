r"""The Gaussian process that a light curve is a draw of, without any data.

The flux is

.. math::
    y_j = m(t_j) + \sum_i \beta_i H_{ij} + f(t_j) + \epsilon_j, \qquad
    f \sim \mathcal{GP}(0, k), \quad
    \epsilon_j \sim \mathcal{N}(0, \sigma_j^2 + s^2)

with a mean function m, amplitudes of free columns H (offsets of segments, trends) that have a
flat prior and are integrated out, the covariance k of the spots and of further terms, and white
noise of the standard deviation s, the jitter, beyond the stated errors.
"""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Model, param
from pytreefit.extend import as_mapping, as_whole_numbers, check_kind

from ..kernel.analytic import AnalyticKernel
from ..kernel.covariance import AbstractTables, Tables, kernel_error
from ..kernel.exposure import ExposureTables
from ..kernel.terms import AbstractTerm
from ..star.abstract import AbstractStar
from .noise import WhiteNoise, white_variances

_SHARE = 0.14  # of the tolerance, by which the kernel's error may change a log-likelihood


def _orders(orders) -> tuple[int, ...] | None:
    return None if orders is None else as_whole_numbers("Process.orders", orders)


class Process(Model):
    """Star, mean, further processes and white noise: what a `GPSolver` fits to a light curve.

    Parameters
    ----------
    model
        The star.
    mean
        Mean function of times in days, or None.
    terms
        Further stationary processes by name.
    amplitude
        ``sigma_k(t)`` of a star whose activity changes with time, or None.
    jitter
        Standard deviation of white noise that is added to the stated errors in quadrature.
    orders
        Harmonics of the rotation to include; None is all.
    noise
        Further white noise of each segment, in the order of their names.

    Examples
    --------
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> process = Process(star, jitter=1e-3, terms={"granulation": SHOTerm(sigma=1e-4, rho=0.3)})
    >>> process.parts, float(process.support())  # days: the plateau and both ramps
    (('spots', 'granulation'), 14.0)
    """

    model: AbstractStar
    mean: Callable | None = None
    terms: dict[str, AbstractTerm] = eqx.field(default_factory=dict)
    amplitude: Callable | None = None
    jitter: Float[Array, ""] = param(bounds="[0, inf)", label="$s$", doc="white noise", default=0.0)
    orders: tuple[int, ...] | None = eqx.field(static=True, default=None, converter=_orders)
    noise: dict[str, WhiteNoise] = eqx.field(default_factory=dict)

    # see `pytreefit.jit`
    compiles_quickly: ClassVar[bool] = True

    def __check_init__(self):
        check_kind("Process.model", self.model, AbstractStar)
        for name in ("mean", "amplitude"):
            function = getattr(self, name)
            if function is not None and not callable(function):
                raise TypeError(f"Process.{name} = {function!r} is no function of times.")
        checked_terms(self.terms)
        for name, noise in as_mapping("Process.noise", self.noise).items():
            check_kind(f"Process.noise[{name!r}]", noise, WhiteNoise)

    def mean_at(self, time) -> Float[Array, "n"]:
        """The mean function at times in days, without the free columns."""
        if self.mean is None:
            return jnp.zeros_like(time)
        return jnp.broadcast_to(jnp.asarray(self.mean(time), time.dtype), time.shape)

    @property
    def multiplier(self) -> Callable | None:
        """What multiplies all processes of the star: a mean such as `Transit`, or None."""
        return self.mean if getattr(self.mean, "multiplies", False) else None

    def white_variance(self, instrument=None) -> Float[Array, ""]:
        """Variance of the white noise beyond the stated errors: one, or by label of segments."""
        common = self.jitter**2
        return common + white_variances(self.noise, instrument) if self.noise else common

    def tables(self, data, reach: float, tolerance: float) -> AbstractTables:
        """Makers of tables for the lags up to ``reach`` days, see `kernel_error`.

        Finer than a log-likelihood asks for, so that predictions are good, too: it costs little.
        """
        time, flux, error = (np.asarray(array, float) for array in data.measured())
        noise = error**2 + np.asarray(self.white_variance(data.instrument), float)
        fine = kernel_error(time, noise, float(np.var(flux)), reach, _SHARE * tolerance)
        accuracy = (jnp.asarray(x, data.time.dtype) for x in (fine, tolerance))
        tables = Tables(*accuracy, data.epoch)
        return tables if data.exposure is None else ExposureTables(tables, data.exposure)

    def spot_kernel(self) -> AnalyticKernel:
        """The covariance of the spots."""
        return AnalyticKernel(self.model, self.orders)

    def support(self) -> Float[Array, ""]:
        """Days beyond which two spots' light is not correlated."""
        return jnp.asarray(self.model.kernel_support(), self.jitter.dtype)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the processes that add up: the spots and the terms."""
        return ("spots", *self.terms)


def checked_terms(terms) -> dict[str, AbstractTerm]:
    """Further processes by name; ValueError or TypeError for what is none."""
    terms = as_mapping("terms", terms)
    for name, term in terms.items():
        if name == "spots" or "." in name:
            raise ValueError(
                f"terms: the name {name!r} is taken or has a dot; give the process another one."
            )
        if not isinstance(term, AbstractTerm):
            raise TypeError(
                f"terms[{name!r}] is a {type(term).__name__} but must be an AbstractTerm such as "
                "SHOTerm or Matern32Term."
            )
    return terms
