"""The joint Gaussian process of a spotted star's light curves, velocities and indicators."""

import warnings
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Posterior, jit
from pytreefit.extend import as_mapping, as_number, check_choice, check_kind

from ..component import DataScales
from ..kernel.place import Place, since_zero
from ..solvers import AbstractSolver, Banded, Dense, prepared
from ..solvers.base import with_columns
from ..solvers.points import filled_up
from ..star.channels import AbstractChannel
from ..star.temperature_band import TemperatureBand
from .abstract import AbstractGP
from .channel_data import ChannelData
from .channel_process import ChannelProcess
from .data import warn_of_float32
from .mean import warn_of_another_zero
from .noise import WhiteNoise
from .prediction import Prediction, draw, first_of, since_epoch
from .priors import choose_priors, declared_priors, priors_by_path

_SOLVERS = {"auto": "exact", "exact": "exact", "dense": "dense", "banded": "banded"}
# the scatter of a channel beside that of the largest one, relative to what its sizes say
_MUCH, _LITTLE = 300.0, 0.01


class ChannelSolver(AbstractGP):
    r"""The joint Gaussian process of several channels of one star.

    .. math::
        y_j = m_c(t_j) + \beta_q + f_c(t_j) + \epsilon_j, \qquad
        \mathrm{Cov}[f_c(t), f_{c'}(t')] = k_{cc'}(t' - t)

    for point j of channel c, taken by instrument q, with the covariances of `ChannelKernel` and an
    offset of each instrument that is integrated out with a flat prior. Channels need not share
    times.

    Parameters
    ----------
    data
        For each channel a tuple ``(t, values, errors)`` of shape (n,), or where several instruments
        measured it a dictionary of these by instrument, ``{"rv": {"HARPS": (t, v, e), ...}}``;
        a `TimeSeriesData` is one, too, whose segments have one offset. Where several of these count
        their times from different known zeros, all times count from the first one's.
        Days, relative flux, m / s, and the indicators' own units; quantities are converted.
    model
        The star, a `SpotEvolutionModel` or `SpottedStar` with a polynomial law of limb darkening;
        its `sigma_k` is that of a band of contrast 1.
    channels
        What each is: a `FluxBand`, `RadialVelocity`, `ActivityIndicator` or your own
        `AbstractChannel`, by name.
    means
        Functions of time in days by channel, such as a planet's velocity. A `pytreefit.Model` with
        ``__call__`` has parameters to fit. It is best without a constant: offsets are free.
    jitter
        Standard deviation of white noise beyond the errors by instrument, or by channel for all its
        instruments: free from this value on if positive, absent if 0 or left out.
    trend
        Degree of a polynomial in time by channel, integrated out like the offsets.
    priors
        As for `GPSolver`. Paths are such as ``"model.visibility.inc"``,
        ``"channels.rv.rotation.vsini"``, ``"means.rv.period"`` and ``"noise.HARPS.jitter"``.
    solver
        ``"auto"`` or ``"exact"`` (the faster one of the next two), ``"dense"``, ``"banded"``, or
        what one of these classes of `spotgp.solvers` prepared. All are exact.
    tolerance
        Error that the log-likelihood may have at the model's values; it decides on how fine the
        kernel's tables are.

    Raises
    ------
    ValueError, TypeError
        For unknown channels, channels without points, data of unequal lengths or units, errors that
        are not positive, instruments of one name, and as by `GPSolver`.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> t = np.arange(9.0)
    >>> gp = ChannelSolver(
    ...     {"flux": (t, 1.0 + 1e-3 * np.sin(t), 1e-4), "rv": (t[::3], 2.0 * np.cos(t[::3]), 1.0)},
    ...     star,
    ...     {"flux": FluxBand(), "rv": RadialVelocity(v_eq=2000.0)},
    ... )
    >>> gp.param_keys
    ('peq', 'inc', 'lspot', 'tau_spot', 'sigma_k', 'v_eq')
    """

    data: ChannelData
    posterior: Posterior
    tolerance: float = eqx.field(static=True)

    def __init__(
        self,
        data,
        model,
        channels: Mapping[str, AbstractChannel],
        *,
        means: Mapping[str, Any] | None = None,
        jitter: Mapping[str, Any] | None = None,
        trend: Mapping[str, int] | None = None,
        priors: Mapping[Any, Any] | None = None,
        solver: str | type[AbstractSolver] | AbstractSolver = "auto",
        tolerance: float = 0.1,
    ):
        if not as_number("tolerance", tolerance) > 0:
            raise ValueError(f"tolerance = {tolerance} must be > 0: an error of log-likelihoods.")
        warn_of_float32()
        channels = as_mapping("channels", channels)
        for name, channel in channels.items():
            check_kind("channels: name", name, str)
            check_kind(f"channels[{name!r}]", channel, AbstractChannel)
            if "." in name:
                raise ValueError(f"channels: the name {name!r} has a dot; give it another one.")
        units = {name: channel.unit for name, channel in channels.items()}
        found = ChannelData.of(data, units, trend)
        means = as_mapping("means", means)
        warn_of_another_zero("means", means, found)
        noise = _noise(found, as_mapping("jitter", jitter), channels)
        process = ChannelProcess(model=model, channels=channels, means=means, noise=noise)
        _check_sizes(process, found)
        chosen = choose_priors(process, _wide(process, found), as_mapping("priors", priors))
        self.data, self.tolerance = found, float(tolerance)
        by_path = priors_by_path(process, chosen)
        made = prepared(_known(solver), found, process, by_path, self.tolerance)
        self.posterior = Posterior(process, made.log_likelihood, chosen)
        _check_contrasts(process, {path for tied in self.posterior.paths for path in tied})

    def predict(
        self,
        t,
        channel: str | AbstractChannel,
        theta=None,
        *,
        parts: str | None = None,
        instrument: str | None = None,
        return_cov: bool = False,
    ) -> Prediction:
        """A channel without its white noise at any times, given the data of all channels.

        Parameters
        ----------
        t
            Days, shape (m,), in any order.
        channel
            Name of one of the data's channels; or any `AbstractChannel`, such as a `RadialVelocity`
            where there is photometry alone, of which the spots' part is predicted.
        theta
            Parameters, see `values`.
        parts
            None is all, mean and offset included; ``"spots"`` what the spots do, and a name of the
            channel's ``causes`` one part of that: ``"rotation"`` or ``"convection"`` of a velocity.
        instrument
            Whose offset is included; by default that of the nearest point of the channel.
        return_cov
            Whether to return the covariance matrix in place of the variance.
        """
        process, times = self.process_at(theta), since_epoch(t, self.data)
        number = len(self.data.channels)
        wanted = channel if isinstance(channel, AbstractChannel) else None
        if wanted is None:
            check_choice("channel", channel, self.data.channels)
            number = self.data.channels.index(channel)
        if parts not in (None, "spots"):
            wanted = process.channels[channel] if wanted is None else wanted
            check_choice("parts", parts, ("spots", *wanted.causes))
            wanted = wanted.only(parts)
        padded = filled_up(times)
        columns = None
        if instrument is not None and (wanted is not None or parts is not None):
            raise ValueError(
                f"instrument = {instrument!r} chooses an offset, which what the spots do has not: "
                "leave instrument or parts out, and name a channel of the data."
            )
        if wanted is None and parts is None:
            columns = self._columns(padded, number, instrument)
        extra = () if wanted is None else (wanted,)
        number = number if wanted is None else len(self.data.channels)
        found = _predict(self.solver, process, _place(padded, number), columns, extra, return_cov)
        return Prediction(*first_of(times.size, *found))

    def sample_posterior(
        self, t, channel: str | AbstractChannel, key, n: int = 1, theta=None
    ) -> Float[Array, "n m"]:
        """Draws of a channel at times ``t`` (m,), given the data of all channels."""
        return draw(self.predict(t, channel, theta, return_cov=True), key, n)

    def sample_prior(
        self, t: Mapping[str, Any], key, n: int = 1, theta=None
    ) -> dict[str, Float[Array, "n m"]]:
        """Joint draws of several channels at times by their names, without the data.

        Means are included, offsets (which have no proper prior) are not.
        """
        times = {
            name: since_epoch(of, self.data, f"t[{name!r}]")
            for name, of in as_mapping("t", t).items()
        }
        for name in times:
            check_choice("t: channel", name, self.data.channels)
        if not times:
            raise ValueError("t is empty: give times by the names of channels.")
        places = [_place(times[name], self.data.channels.index(name)) for name in times]
        place = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *places)
        draws = draw(_prior_moments(self.solver, self.process_at(theta), place), key, n)
        ends = np.cumsum([of.size for of in times.values()])[:-1]
        return dict(zip(times, jnp.split(draws, ends, axis=1), strict=True))

    def offsets(self, theta=None) -> dict[str, tuple[float, float]]:
        """Offset of each instrument and coefficient of each trend, with standard deviations.

        A trend's time counts from the middle of all data, in units of half their span.
        """
        best, covariance = self.offset_estimates(theta)
        errors = np.sqrt(np.diagonal(covariance))
        pairs = zip(np.asarray(best).tolist(), errors.tolist(), strict=True)
        return dict(zip(self.data.column_names, pairs, strict=True))

    def _columns(self, times, number: int, instrument: str | None):
        label = None
        if instrument is not None:
            label_of = np.asarray(self.data.instrument)[np.asarray(self.data.channel) == number]
            own = [self.data.instruments[k] for k in np.unique(label_of)]
            check_choice("instrument", instrument, own)
            label = self.data.instruments.index(instrument)
        return jnp.asarray(self.data.columns_at(times, number, label), self.data.time.dtype)

    def _explain(self, process):
        return self.solver.explain(process) or (
            "The joint covariance of the channels is not positive definite to rounding: its signal "
            f"is too far above the errors. sigma_k = {float(process.model.sigma_k):.3g}; use "
            "double precision, or give the instruments a larger jitter."
        )


def _known(solver):
    """The solver, if it is one of those for several channels."""
    if isinstance(solver, str):
        check_choice("solver", solver, tuple(_SOLVERS))
        return _SOLVERS[solver]
    kind = solver if isinstance(solver, type) else type(solver)
    if not issubclass(kind, Dense | Banded):
        raise TypeError(f"solver = {solver!r} is not for several channels: use Dense or Banded.")
    return solver


def _owner(data: ChannelData, instrument: int) -> str:
    """The channel that an instrument measured."""
    first = np.flatnonzero(np.asarray(data.instrument) == instrument)[0]
    return data.channels[int(data.channel[first])]


def _noise(data: ChannelData, jitter: dict, channels) -> dict[str, WhiteNoise]:
    """White noise by instrument, of which channels and instruments may be given."""
    owners = {name: _owner(data, k) for k, name in enumerate(data.instruments)}
    for name in jitter:
        check_choice("jitter: instrument or channel", name, (*data.instruments, *data.channels))
    noise = {}
    for name, owner in owners.items():
        value = jitter.get(name, jitter.get(owner, 0.0))
        unit = channels[owner].unit
        noise[name] = WhiteNoise(as_number(f"jitter[{name!r}]", value, unit))
    return noise


def _flux_like(process: ChannelProcess, scales: Mapping[str, DataScales]) -> dict[str, float]:
    """The scatter of each channel as that of a light curve of contrast 1 would be."""
    visibility = process.model.visibility
    sizes = {name: channel.size(visibility) for name, channel in process.channels.items()}
    return {name: scales[name].scatter / sizes[name] for name in sizes if sizes[name] > 0.0}


def _largest(data: ChannelData, names) -> str:
    """The channel of most points."""
    count = np.bincount(np.asarray(data.channel))
    return max(names, key=lambda name: count[data.channels.index(name)])


def _check_sizes(process: ChannelProcess, data: ChannelData) -> None:
    """Warn of a channel whose scatter is far from what the others and its size say."""
    found = _flux_like(process, data.scales())
    if not found:
        return
    base = _largest(data, found)
    for name, scatter in found.items():
        ratio = scatter / found[base]
        # a planet may make any scatter
        if ratio < _LITTLE or (ratio > _MUCH and name not in process.means):
            unit = process.channels[name].unit
            of = f" All velocities are in {unit}, 1,000 to a km / s." if unit else ""
            warnings.warn(
                f"The values of {name!r} scatter {ratio:.2g} times as much as the spots of "
                f"{base!r} and the channel's parameters would make them.{of} Check the units.",
                stacklevel=4,
            )


def _check_contrasts(process: ChannelProcess, free) -> None:
    """Warn of contrasts against black spots beside one that is left at 1."""
    absolute = [n for n, c in process.channels.items() if isinstance(c, TemperatureBand)]
    for name, channel in process.channels.items():
        path = f"channels.{name}.contrast"
        alone = absolute and name not in absolute and path not in free
        if alone and "contrast" in channel.param_keys and float(channel.get("contrast")) == 1.0:
            warnings.warn(
                f"With the temperatures of {absolute[0]!r} sigma_k is that of black spots, and the "
                f"spots of {name!r} are black, too: its contrast is 1. Pass "
                f"{type(channel).__name__}(contrast=...) with the contrast of a TemperatureBand at "
                "its wavelengths, or a prior for it.",
                stacklevel=4,
            )


def _wide(process: ChannelProcess, data: ChannelData) -> dict:
    """Default priors by path, as the components declare them."""
    scales = data.scales()
    found = _flux_like(process, scales)
    base = _largest(data, found or data.channels)
    star = scales[base]._replace(scatter=found.get(base, scales[base].scatter))
    priors = declared_priors("model", process.model, star)
    priors |= {f"model.{path}": prior for path, prior in process.model.channel_priors().items()}
    for name, channel in process.channels.items():
        priors |= declared_priors(f"channels.{name}", channel, scales[name])
    for name, mean in process.means.items():
        priors |= declared_priors(f"means.{name}", mean, scales[name])
    for number, name in enumerate(data.instruments):
        own = scales[_owner(data, number)]
        error = np.asarray(data.error)[np.asarray(data.instrument) == number]
        own = own._replace(error=float(np.median(error)))
        priors |= declared_priors(f"noise.{name}", process.noise[name], own)
    return priors


def _place(times, number: int) -> Place:
    time = jnp.asarray(times, jnp.result_type(float))
    return Place(time, jnp.full(time.shape, number, jnp.int32))


@jit
def _predict(solver, process, place, columns, extra, full):
    found = solver.condition(process, place, extra, full)
    if columns is None:
        return with_columns(found, None)
    missing = found.through.shape[1] - 1 - columns.shape[1]
    mean, variance = with_columns(found, jnp.pad(columns, ((0, 0), (0, missing))))
    return mean + process.mean_at(since_zero(place, solver.tables.epoch)), variance


@jit
def _prior_moments(solver, process, place) -> Prediction:
    reach = jnp.max(place.time) - jnp.min(place.time)
    covariance = solver.tables.covariance(process, reach).block(place, place)
    return Prediction(process.mean_at(since_zero(place, solver.tables.epoch)), covariance)
