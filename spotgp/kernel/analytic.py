r"""The covariance of a spotted star's light curve, its components and its power spectrum."""

import math
import time
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tinygp
from jaxtyping import Array, Float

from pytreefit import jit
from pytreefit.extend import as_data, as_whole_numbers, is_traced

from ..star.abstract import AbstractStar
from ..star.acf import WindowedCurve
from ..star.latitude import latitude_rule
from ..star.model import SpotEvolutionModel
from .loops import sum_at_rows
from .trig import cos_sin

# lags that are averaged over latitude at a time: what is in work then stays in the cache
CHUNK = 128
PART_NODES = 16  # of latitude, on each panel, in each part of an average
_MOST_NODES = 4096
_NODES_A, _NODES_B = 0.8, 0.4  # found by comparison with many more of them
_LAGS = 33  # at which the envelope's autocorrelation is looked at
_LATITUDES = 65  # at which the fastest and the slowest rotation are looked for
_SPECTRAL_NODES = 512  # for spectra, where none are named
ACCURACY = 5e-8  # of a kernel that chooses its nodes, relative to the variance
# harmonics beyond it hold less than 1e-5 of a spectrum's peak
_HIGHEST_ORDER = 40


def rotation_range(model: AbstractStar):
    """Slowest and fastest angular velocity of all latitudes, radians per day; constants."""
    edge = 0.5 * math.pi
    omega = model.visibility.omega0(jnp.linspace(-edge, edge, _LATITUDES))
    return jax.lax.stop_gradient((jnp.min(omega), jnp.max(omega)))


def latitude_parts(model: SpotEvolutionModel, reach, tolerance):
    r"""Parts of the latitude average, of `PART_NODES` nodes each, that an error asks for.

    Over all latitudes the angle of the rotation differs by up to :math:`\Delta\omega_0\, \tau`. The
    autocorrelation has kinks in it where windows of visibility begin to overlap, so that the error
    falls as the fourth power of the nodes, and grows as that of the difference:

    .. math::
        n = \epsilon^{-1/4} \Bigl(a + b\, \Delta\omega_0
            \max_\tau \tau \Bigl[\frac{R_\Gamma(\tau)}{R_\Gamma(0)}\Bigr]^{1/4}\Bigr)

    for lags up to ``reach`` days, the error being relative to the variance. The result is an
    integer, a constant to derivatives.
    """
    slowest, fastest = rotation_range(model)
    support = jnp.asarray(model.envelope.kernel_support(), fastest.dtype)
    lag = jnp.minimum(reach, support) * jnp.linspace(0.0, 1.0, _LAGS, dtype=fastest.dtype)
    envelope = model.envelope.R_Gamma(lag)
    lag, envelope, tolerance = jax.lax.stop_gradient((lag, envelope, tolerance))
    longest = jnp.max(lag * jnp.maximum(envelope / envelope[0], 0.0) ** 0.25)
    nodes = (_NODES_A + _NODES_B * (fastest - slowest) * longest) / tolerance**0.25
    return jnp.ceil(jnp.minimum(nodes, _MOST_NODES) / PART_NODES).astype(int)


def _curve_of(model: SpotEvolutionModel, orders, phi, weight):
    """The average over some latitudes of the visibility's autocorrelation, a function of lags."""
    visibility = model.visibility
    omega = visibility.omega0(phi)
    if orders is None:
        curve = visibility.prepared(phi[:, None])
        if isinstance(curve, WindowedCurve):
            return lambda lags: curve.mean(weight, omega, lags)
        return lambda lags: weight @ curve(omega[:, None] * lags[None, :])
    squared = visibility.cn_squared(orders, phi) * weight[:, None]
    double = np.where(np.asarray(orders) == 0, 1.0, 2.0)
    squared = squared * jnp.asarray(double, squared.dtype)[None, :]
    order = jnp.asarray(orders, squared.dtype)

    def mean(lags):
        angle = omega[:, None] * lags[None, :]

        def add(total, order_and_weight):
            order, weights = order_and_weight
            return total + weights @ cos_sin(order * angle)[0], None

        return jax.lax.scan(add, jnp.zeros_like(lags), (order, squared.T))[0]

    return mean


def average_at_rows(model: SpotEvolutionModel, orders, parts, number, rows):
    r"""Average over latitude of the visibility's autocorrelation at the first rows of lags.

    .. math::
        \left< \sum_n w_n c_n^2(\phi) \cos(n \omega_0(\phi) \tau) \right>_\phi,
        \qquad w_0 = 1,\ w_n = 2

    for the n in ``orders`` (None is all), with ``parts`` from `latitude_parts`. For ``number`` and
    ``rows`` see `sum_at_rows`.
    """

    def prepare(given, k):
        model, parts = given
        panels = model.visibility.panels()
        phi, weight = latitude_rule(model.latitude, panels, PART_NODES, (k, parts))
        return _curve_of(model, orders, phi, weight)

    return sum_at_rows(prepare, (model, parts), parts, number, rows)


def latitude_average(model: SpotEvolutionModel, lag, orders, nodes: int | None):
    """`average_at_rows` at lags of shape (n,), with a number of nodes, or as many as it takes."""
    size = min(lag.size, CHUNK)
    chunks = -(-lag.size // max(size, 1))
    rows = jnp.pad(lag, (0, chunks * size - lag.size)).reshape(chunks, size)
    if nodes is None:
        parts = latitude_parts(model, jnp.max(jnp.abs(lag), initial=0.0), ACCURACY)
        return average_at_rows(model, orders, parts, chunks, rows).reshape(-1)[: lag.size]
    phi, weight = latitude_rule(model.latitude, model.visibility.panels(), nodes)
    mean = jax.checkpoint(_curve_of(model, orders, phi, weight))
    return jax.lax.map(mean, rows).reshape(-1)[: lag.size]


class AnalyticKernel(tinygp.kernels.Kernel):
    r"""Covariance of the light curve of a star with evolving spots.

    .. math::
        k(\tau) = \sigma_k^2 R_\Gamma(\tau)
        \left< \sum_n w_n c_n^2(\phi) \cos(n \omega_0(\phi) \tau) \right>_\phi

    with :math:`w_0 = 1` and :math:`w_n = 2`. It is a kernel of tinygp: sums and products with
    tinygp's own kernels and its Gaussian processes work.

    Parameters
    ----------
    model
        The star, a `SpotEvolutionModel` or a `SpottedStar`, whose populations' kernels add up.
    orders
        Harmonics to include, such as ``(0, 1, 2)``; None is all of them, at the cost of two.
    nodes
        Of the latitude average, on each panel between its kinks. None takes as many as each
        evaluation needs, which can be differentiated in reverse mode only (`jax.grad`).

    Raises
    ------
    TypeError
        If ``model`` is no star.
    ValueError
        For orders that are negative or repeated.

    Examples
    --------
    >>> from spotgp import SpotEvolutionModel, TrapezoidSymmetricEnvelope, VisibilityFunction
    >>> envelope = TrapezoidSymmetricEnvelope(lspot=10.0, tau_spot=4.0)
    >>> visibility = VisibilityFunction(peq=5.0, kappa=0.1, inc=1.2)
    >>> star = SpotEvolutionModel(envelope, visibility, sigma_k=0.003)
    >>> float(AnalyticKernel(star).kernel(19.0))  # two spots' lives apart
    0.0
    """

    model: AbstractStar
    orders: tuple[int, ...] | None = eqx.field(static=True)
    nodes: int | None = eqx.field(static=True)

    def __init__(self, model, orders=None, nodes: int | None = None):
        self.model = model
        self.orders = None if orders is None else as_whole_numbers("orders", orders)
        self.nodes = None if nodes is None else as_whole_numbers("nodes", nodes, 2)[0]

    def __check_init__(self):
        if not isinstance(self.model, AbstractStar):
            raise TypeError(
                f"AnalyticKernel.model = {self.model!r} is not a SpotEvolutionModel or a "
                "SpottedStar: build one from an envelope and a visibility function."
            )
        if self.orders is not None and (
            not self.orders or min(self.orders) < 0 or len(set(self.orders)) < len(self.orders)
        ):
            raise ValueError(
                f"AnalyticKernel.orders = {self.orders} must name harmonics 0, 1, 2 ..., each "
                "once; leave it out to include all."
            )
        if self.nodes is not None and self.nodes < 2:
            raise ValueError(f"AnalyticKernel.nodes = {self.nodes} must be at least 2.")

    def build_jax(self) -> Self:
        """Compile `kernel` now, say how long that took, and return the kernel itself."""
        began = time.perf_counter()
        jax.block_until_ready(self.kernel(np.zeros(300)))
        print(f"JAX kernel compiled in {time.perf_counter() - began:.2f}s")
        return self

    def kernel(self, lag) -> Float[Array, "..."]:
        """The covariance at lags in days, of any shape and sign."""
        return _on_lags(_stationary, self, lag)

    def kernel_components(self, lag, orders=None) -> Float[Array, "orders ..."]:
        """Each harmonic's part of `kernel`, in the order of ``orders`` (default: own, or 0-10)."""
        orders = self._finite_orders(orders, 11)
        parts = [AnalyticKernel(self.model, (n,), self.nodes).kernel(lag) for n in orders]
        return jnp.stack(parts)

    def kernel_solid_body(self, lag) -> Float[Array, "..."]:
        """The covariance if the star did not rotate differentially, kappa = 0."""
        rigid = self.model.set({"visibility.kappa": 0.0})
        return AnalyticKernel(rigid, self.orders, self.nodes).kernel(lag)

    def kernel_single_latitude(self, lag, phi) -> Float[Array, "..."]:
        """The covariance if every spot were at the latitude ``phi`` (radians)."""
        phi = jnp.asarray(phi, jnp.result_type(float))
        return _on_lags(lambda kernel, lags: _at_latitude(kernel, lags, phi), self, lag)

    def compute_psd(self, omega) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
        r"""Power spectral density at angular frequencies in radians per day.

        .. math::
            S(\omega) = \int k(\tau) e^{-i \omega \tau}\, d\tau

        Returned are frequencies in cycles per day, and the density in days (relative flux squared
        per 1 / day).
        """
        omega = jnp.asarray(omega, jnp.result_type(float))
        return omega / (2.0 * math.pi), _psd(self, omega, self._finite_orders(None)).sum(axis=0)

    def psd_components(self, omega, orders=None):
        """Each harmonic's part of `compute_psd`: frequency, and power of shape (orders, n)."""
        omega = jnp.asarray(omega, jnp.result_type(float))
        return omega / (2.0 * math.pi), _psd(self, omega, self._finite_orders(orders, 11))

    def evaluate(self, X1, X2):
        lag = jnp.asarray(X1 - X2, jnp.result_type(float))
        return _stationary(self, lag[None])[0]

    def _finite_orders(self, orders, default: int = _HIGHEST_ORDER + 1) -> tuple[int, ...]:
        if orders is not None:
            return tuple(int(n) for n in orders)
        return tuple(range(default)) if self.orders is None else self.orders


def _stationary(kernel: AnalyticKernel, lag):
    lag = jnp.abs(lag)
    total = jnp.zeros_like(lag)
    for one in kernel.model.members:
        average = latitude_average(one, lag, kernel.orders, kernel.nodes)
        total = total + one.variance * one.envelope.R_Gamma(lag) * average
    return total


def _at_latitude(kernel: AnalyticKernel, lag, phi):
    lag = jnp.abs(lag)
    parts = (_member_at_latitude(kernel, one, lag, phi) for one in kernel.model.members)
    return sum(parts, jnp.zeros_like(lag))


def _member_at_latitude(kernel: AnalyticKernel, model: SpotEvolutionModel, lag, phi):
    visibility = model.visibility
    angle = visibility.omega0(phi) * lag
    if kernel.orders is None:
        correlation = visibility.autocorrelation(phi[None], angle)
    else:
        squared = visibility.cn_squared(kernel.orders, phi)
        terms = [
            squared[k] * (1.0 if n == 0 else 2.0) * cos_sin(n * angle)[0]
            for k, n in enumerate(kernel.orders)
        ]
        correlation = sum(terms, jnp.zeros_like(lag))
    return model.variance * model.envelope.R_Gamma(lag) * correlation


@jit
def _compiled(function, kernel, lag):
    return function(kernel, lag)


def _on_lags(function, kernel, lag):
    """Evaluate on lags of any shape; concrete ones are padded, so that few shapes compile."""
    dtype = jnp.result_type(float)
    if is_traced(lag):
        return function(kernel, jnp.ravel(lag).astype(dtype)).reshape(lag.shape)
    lag = as_data("lag", lag, "d").astype(dtype)
    size = max(CHUNK, 1 << (max(lag.size, 1) - 1).bit_length())
    padded = np.zeros(size, dtype)
    padded[: lag.size] = lag.ravel()
    return _compiled(function, kernel, padded)[: lag.size].reshape(lag.shape)


@jit
def _psd(kernel: AnalyticKernel, omega, orders: tuple[int, ...]):
    nodes = kernel.nodes or _SPECTRAL_NODES
    return sum(
        (_member_psd(one, omega, orders, nodes) for one in kernel.model.members),
        jnp.zeros((len(orders), *omega.shape)),
    )


def _member_psd(model: SpotEvolutionModel, omega, orders, nodes: int):
    visibility = model.visibility
    phi, weight = latitude_rule(model.latitude, visibility.panels(), nodes)
    rotation = visibility.omega0(phi)
    squared = visibility.cn_squared(orders, phi) * weight[:, None]
    half = jnp.asarray([0.5 if n == 0 else 1.0 for n in orders], squared.dtype)
    hat = model.envelope.Gamma_hat_sq

    def at_order(order_and_weight):
        order, weights = order_and_weight

        def at_frequency(omega):
            shift = order * rotation
            return weights @ (hat(omega - shift) + hat(omega + shift))

        return jax.lax.map(at_frequency, omega.ravel(), batch_size=64)

    order = jnp.asarray(orders, squared.dtype)
    power = jax.lax.map(at_order, (order, squared.T * half[:, None]))
    return model.variance * power.reshape((len(orders), *omega.shape))


class NonstationaryAnalyticKernel(AnalyticKernel):
    r"""A kernel whose amplitude changes with time, as over an activity cycle.

    .. math::
        k(t_1, t_2) = \sigma_k(t_1)\, \sigma_k(t_2)\, \frac{k(t_1 - t_2)}{\sigma_k^2}

    Parameters
    ----------
    model, orders, nodes
        As for `AnalyticKernel`; the model's own amplitude plays no part.
    amplitude
        Function of time in days, ``sigma_k(t)``; a `pytreefit.Model` with a ``__call__`` if it
        has parameters to fit.

    Raises
    ------
    TypeError
        If ``amplitude`` cannot be called.

    Examples
    --------
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> kernel = NonstationaryAnalyticKernel(star, amplitude=lambda t: 0.01 * (1.0 + t / 100.0))
    >>> covariance = kernel.kernel_matrix([0.0, 100.0])
    >>> round(float(covariance[1, 1] / covariance[0, 0]), 6), float(covariance[0, 1])
    (4.0, 0.0)
    """

    amplitude: object

    def __init__(self, model, amplitude, orders=None, nodes: int | None = None):
        super().__init__(model, orders, nodes)
        self.amplitude = amplitude

    def __check_init__(self):
        if not callable(self.amplitude):
            raise TypeError(
                f"NonstationaryAnalyticKernel.amplitude = {self.amplitude!r} is not a function of "
                "time: pass sigma_k(t)."
            )

    def unit_kernel(self, lag):
        """The stationary kernel of amplitude 1."""
        return self.kernel(lag) / self.model.variance

    def kernel_matrix(self, t) -> Float[Array, "n n"]:
        """Covariance matrix of the times ``t`` in days."""
        t = jnp.asarray(t, jnp.result_type(float))
        sigma = jnp.asarray(self.amplitude(t), t.dtype)
        return sigma[:, None] * sigma[None, :] * self.unit_kernel(t[:, None] - t[None, :])

    def evaluate(self, X1, X2):
        both = jnp.asarray(self.amplitude(X1)) * jnp.asarray(self.amplitude(X2))
        return both * super().evaluate(X1, X2) / self.model.variance
