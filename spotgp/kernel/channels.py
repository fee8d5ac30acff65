r"""The covariances of all pairs of a star's channels, and their tables."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Model, jit
from pytreefit.extend import (
    as_data,
    as_mapping,
    check_choice,
    check_kind,
    check_shape,
    is_traced,
)

from ..star.abstract import AbstractStar
from ..star.acf import visible_window
from ..star.channels import AbstractChannel
from ..star.cross import cross_correlation, weight_of
from ..star.latitude import latitude_rule
from ..star.model import SpotEvolutionModel
from ..star.visibility import AbstractPolynomialVisibility
from .analytic import ACCURACY, CHUNK, PART_NODES, latitude_parts
from .covariance import MOST, AbstractTables, of_envelope
from .loops import sum_at_rows
from .place import Place
from .table import cubics_of, spline_coefficients, transposed


def _curve_of(model: SpotEvolutionModel, channels, phi, weight):
    """The averages over some latitudes of all correlations, a function of lags."""
    visibility = model.visibility
    a0, a1 = visibility.foreshortening(phi)
    omega = visibility.omega0(phi)
    speed = jnp.cos(phi) * omega * visibility.peq / (2.0 * jnp.pi)
    terms = [channel.weight(visibility) for channel in channels]
    weights = [weight_of(one, a0, a1, speed) for one in terms]
    mixed = any(power % 2 for one in terms for power in one)
    curve = cross_correlation(weights, visible_window(a0, a1), mixed)
    return lambda lags: curve.mean(weight, omega, lags)


def correlations_at_rows(model: SpotEvolutionModel, channels, parts, number, rows):
    r"""Correlations of all ordered pairs of channels at the first rows of lags >= 0.

    .. math::
        \left< \frac{1}{2\pi} \int w_c(\theta)\, w_{c'}(\theta + \omega_0(\phi) \tau)\, d\theta
        \right>_\phi

    of shape (rows, pairs, lags), the pairs (0, 0), (0, 1) ... Arguments are those of
    `average_at_rows`.
    """

    def prepare(given, k):
        model, channels, parts = given
        panels = model.visibility.panels()
        phi, weight = latitude_rule(model.latitude, panels, PART_NODES, (k, parts))
        return _curve_of(model, channels, phi, weight)

    several = (len(channels) ** 2,)
    return sum_at_rows(prepare, (model, tuple(channels), parts), parts, number, rows, several)


def hardness(model: AbstractStar, channel: AbstractChannel) -> float:
    """How much larger the error of a channel is than that of a light curve, for the same nodes.

    Velocities have more power in high harmonics: about five times for each power of them.
    """
    return 5.0 ** max(channel.weight(model.visibility))


def check_star(owner: str, model, channels: Mapping[str, AbstractChannel]) -> None:
    """TypeError or ValueError unless these are a star and channels of it that have closed forms."""
    check_kind(f"{owner}.model", model, AbstractStar)
    if not channels:
        raise ValueError(f"{owner}.channels is empty: name at least one, as in 'flux': FluxBand().")
    for name, channel in channels.items():
        check_kind(f"{owner}.channels[{name!r}]", channel, AbstractChannel)
    if not isinstance(model.visibility, AbstractPolynomialVisibility):
        raise TypeError(
            f"{owner}.model has a {type(model.visibility).__name__}, but channels have closed "
            "forms for small spots and limb darkening that is a polynomial of mu only: take a "
            "VisibilityFunction, LimbDarkenedVisibilityFunction or EdgeOnVisibilityFunction."
        )
    for name, channel in channels.items():
        _check_weight(f"{owner}.channels[{name!r}]", channel.weight(model.visibility))


def _check_weight(where: str, weight) -> None:
    """ValueError or TypeError unless it holds polynomials of scalars by whole powers."""
    terms = as_mapping(f"{where}.weight", weight)
    whole = all(isinstance(power, int) and power >= 0 for power in terms)
    filled = all(len(polynomial) for polynomial in terms.values())
    if not (terms and whole and filled):
        raise ValueError(
            f"{where}.weight returns {terms}: it must be a dictionary of polynomials of mu, lists "
            "of their coefficients, by the power 0, 1, 2 ... of the velocity."
        )
    for polynomial in terms.values():
        for b in polynomial:
            check_shape(f"{where}.weight: a coefficient", b, shape=())


class ChannelKernel(Model):
    r"""Covariances of all channels of a star with evolving spots.

    .. math::
        k_{cc'}(\tau) = \mathrm{Cov}[y_c(t), y_{c'}(t + \tau)] = \sigma_k^2 R_\Gamma(\tau)
        \left< \frac{1}{2\pi} \int w_c(\theta; \phi)\, w_{c'}(\theta + \omega_0(\phi) \tau; \phi)\,
        d\theta \right>_\phi

    with the weight w of each channel, see `AbstractChannel`. All harmonics are included. The
    covariance of a light curve with the rotation's part of the velocity is odd in the lag and 0 at
    lag 0, that with the convection's is even.

    Parameters
    ----------
    model
        The star, of small spots and a polynomial law of limb darkening; its populations' kernels
        add up.
    channels
        The channels by name.

    Raises
    ------
    TypeError, ValueError
        If these are no star and channels, or the star's visibility has no closed form.

    Examples
    --------
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=ExponentialEnvelope(tau_spot=4.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.1, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> kernel = ChannelKernel(star, {"flux": FluxBand(), "rv": RadialVelocity(v_eq=2000.0)})
    >>> bool(abs(kernel.kernel(0.0, "flux", "rv")) < 1e-12)
    True
    """

    model: AbstractStar
    channels: dict[str, AbstractChannel] = eqx.field(
        converter=lambda given: as_mapping("ChannelKernel.channels", given)
    )

    def __check_init__(self):
        check_star("ChannelKernel", self.model, self.channels)

    def kernel(self, lag, first: str, second: str) -> Float[Array, "..."]:
        """Covariance of the first channel with the second a lag later.

        Parameters
        ----------
        lag
            Days, any shape and sign.
        first, second
            Names of channels.
        """
        for name in (first, second):
            check_choice("ChannelKernel.kernel: channel", name, tuple(self.channels))
        pair = dict.fromkeys((first, second))
        return ChannelKernel(self.model, {k: self.channels[k] for k in pair}).kernels(lag)[
            first, second
        ]

    def kernels(self, lag) -> dict[tuple[str, str], Float[Array, "..."]]:
        """The covariances of all ordered pairs of channels by their names, see `kernel`."""
        lag = lag if is_traced(lag) else as_data("lag", lag, "d")
        lag = jnp.asarray(lag, jnp.result_type(float))
        flat = jnp.ravel(lag)
        number = len(self.channels)
        values = _pairs(self.model, tuple(self.channels.values()), flat)
        values = values.reshape(number, number, -1)
        found = jnp.where((flat >= 0.0)[None, None, :], values, jnp.swapaxes(values, 0, 1))
        names = list(enumerate(self.channels))
        return {(a, b): found[i, j].reshape(lag.shape) for i, a in names for j, b in names}

    def get_sympy(self) -> dict:
        """Show the weights of all channels and the covariance of two, and return them.

        They are SymPy expressions, those of each channel in a dictionary by its name. Of a star
        with several populations the channels' weights are those of spots whose `magnetic` is 1.
        """
        import sympy as sp

        from .symbolic import show

        found: dict = {name: one.get_sympy() for name, one in self.channels.items()}
        lag, phi, theta, total = *map(sp.Symbol, ("tau", "phi", "theta")), sp.S.Zero
        for of in self.model.population_names:
            end = f"_{of}" if of else ""
            sigma = sp.Symbol(f"sigma{end}" if of else "sigma_k")
            envelope = sp.Function(f"R{end}" if of else "R_Gamma")
            density, first, second = (sp.Function(f"{x}{end}") for x in ("p", "w_c", "w_c'"))
            product = first(theta, phi) * second(theta + sp.Function("omega_0")(phi) * lag, phi)
            mean = sp.Integral(product, (theta, -sp.pi, sp.pi)) / (2 * sp.pi)
            average = sp.Integral(density(phi) * mean, (phi, -sp.pi / 2, sp.pi / 2))
            total += sigma**2 * envelope(lag) * average
        return found | show("ChannelKernel", {"k(tau)": total})

    def matrix(self, t: Mapping[str, Any]) -> Float[Array, "n n"]:
        """The joint covariance matrix of several channels at times, such as to simulate data.

        Parameters
        ----------
        t
            Times in days, shape (m,), by names of channels; rows and columns are in this order.
        """
        times = {name: as_data(f"t[{name!r}]", of, "d", ndim=1) for name, of in t.items()}
        names = tuple(self.channels)
        for name in times:
            check_choice("t: channel", name, names)
        if not times:
            raise ValueError("t is empty: give times by the names of channels.")
        time = np.concatenate(list(times.values()))
        sizes = [of.size for of in times.values()]
        number = np.repeat([names.index(name) for name in times], sizes)
        lag = jnp.asarray(time[None, :] - time[:, None], jnp.result_type(float))
        values = _pairs(self.model, tuple(self.channels.values()), lag.ravel())
        first, second = np.broadcast_arrays(number[:, None], number[None, :])
        later, earlier = len(names) * first + second, first + len(names) * second
        pair = jnp.where(lag >= 0.0, later, earlier)
        return jnp.take_along_axis(values, pair.ravel()[None, :], axis=0).reshape(lag.shape)


@jit
def _pairs(model: AbstractStar, channels, lag):
    """All ordered pairs at lags of shape (n,), whose sign is left out."""
    lag = jnp.abs(lag)
    size = min(max(lag.size, 1), CHUNK)
    chunks = -(-lag.size // size)
    rows = jnp.pad(lag, (0, chunks * size - lag.size)).reshape(chunks, size)
    hardest = max(hardness(model, channel) for channel in channels)
    total = jnp.zeros((len(channels) ** 2, lag.size), lag.dtype)
    for one, seen in model.seen_in(channels):
        parts = latitude_parts(one, jnp.max(lag, initial=0.0), ACCURACY / hardest)
        found = correlations_at_rows(one, seen, parts, chunks, rows)
        found = jnp.moveaxis(found, 1, 0).reshape(found.shape[1], -1)[:, : lag.size]
        total = total + one.variance * one.envelope.R_Gamma(lag)[None, :] * found
    return total


class ChannelTable(eqx.Module):
    """Cubic splines in the square root of the lag, one for each ordered pair of channels.

    The covariance at a negative lag is that of the other order at the positive one, so that
    matrices are filled by a single look-up whatever their mixture of channels.
    """

    coefficients: Float[Array, "pairs knots"]
    cubics: Float[Array, "pairs knots-3 4"]
    scale: Float[Array, ""]
    cut: Float[Array, ""]
    number: int = eqx.field(static=True)  # of channels

    def _position(self, here: Place, there: Place):
        """Pair, knot, how far past it, and whether the lag is inside, for all entries."""
        scale, cut = jax.lax.stop_gradient((self.scale, self.cut))
        lag = there.time[None, :] - here.time[:, None]
        first, second = (place.channel.astype(jnp.int32) for place in (here, there))
        later = (self.number * first)[:, None] + second[None, :]
        earlier = first[:, None] + (self.number * second)[None, :]
        pair = jnp.where(lag >= 0.0, later, earlier)
        lag = jnp.abs(lag)
        at = jnp.sqrt(jnp.minimum(lag, cut)) * scale
        knot = jnp.clip(at.astype(jnp.int32), 0, self.coefficients.shape[1] - 4)
        return pair, knot, at - knot.astype(at.dtype), lag <= cut

    def block(self, here: Place, there: Place):
        """Covariance matrix of two sets of places."""
        pair, knot, u, inside = self._position(here, there)
        flat = self.cubics.reshape(-1, 4)
        cubic = flat.at[pair * self.cubics.shape[1] + knot].get(mode="promise_in_bounds")
        total = cubic[..., 3]
        for power in (2, 1, 0):
            total = total * u + cubic[..., power]
        return jnp.where(inside, total, 0.0)

    def pull(self, total, here: Place, there: Place, matrix):
        """Add to cotangents of this table's leaves those that the matrix `block` has."""
        pair, knot, u, inside = self._position(here, there)
        weights = jnp.where(inside, matrix, 0.0) / 6.0
        index = pair * self.coefficients.shape[1] + knot
        flat = self.coefficients.ravel()
        more = transposed(index.ravel(), u.ravel(), weights.ravel(), flat)
        more = more.reshape(self.coefficients.shape)
        return eqx.tree_at(lambda table: table.coefficients, total, total.coefficients + more)


class ChannelTables(AbstractTables):
    """The tables of a star's channels.

    Parameters
    ----------
    error, tolerance, epoch, most
        As for `Tables`; the error is relative to the root of both channels' variances.
    """

    error: Float[Array, ""]
    tolerance: Float[Array, ""]
    epoch: Float[Array, ""]
    most: int = eqx.field(static=True, default=MOST)

    def covariance(self, process, reach, parts=None) -> ChannelTable:
        """The table of a process's channels, in the order of their names, then of those in parts.

        ``parts`` is a tuple of further channels.
        """
        _, support, inner = self._reaches(process, reach)
        model = process.model
        channels = (*process.ordered(), *(parts or ()))
        scale, number, rows = self._knots(model, inner)
        values = jnp.zeros((rows.shape[0], len(channels) ** 2, rows.shape[1]), rows.dtype)
        for one, seen in model.seen_in(channels):
            latitudes = latitude_parts(one, inner, self.error)
            own = correlations_at_rows(one, seen, latitudes, number, rows)
            envelope = sum_at_rows(of_envelope, one.envelope, 1, number, rows)
            values = values + one.variance * own * envelope[:, None, :]
        values = jnp.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
        c = spline_coefficients(values)
        cut = jax.lax.stop_gradient(jnp.asarray(support, scale.dtype))
        return ChannelTable(c, cubics_of(c), scale, cut, len(channels))
