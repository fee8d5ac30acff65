"""Random spots: where, when and how large they are on a star."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Model, jit, param
from pytreefit.extend import (
    as_data,
    as_floats,
    as_number,
    as_whole_number,
    check_choice,
    check_kind,
    is_traced,
)

from ..star.abstract import AbstractStar
from ..star.envelope import AbstractEnvelope
from ..star.latitude import AbstractLatitudeDistribution
from ..star.model import SpotEvolutionModel
from ..star.several import SpottedStar

_HALF_PI = "1.5707963267948966"


class Spots(Model):
    r"""Spots on a star: where and when each is largest, how large and how dark it is then.

    Parameters
    ----------
    t_peak
        Time :math:`t_k` at which the envelope's own time is zero, shape (nspot,), days.
    latitude
        :math:`\phi_k`, shape (nspot,), rad, -pi/2 to pi/2; the visible pole is at +pi/2 for an
        inclination below pi/2.
    longitude
        :math:`\lambda_k` at ``t_peak``, shape (nspot,), rad; 0 faces the observer, and the star's
        rotation makes it grow.
    alpha_max
        Largest angular radius, shape (nspot,), rad, 0 to pi/2.
    weight
        Contrast 1 - fspot, shape (nspot,), at most 1: 1 is black, 0 is no spot at all (padding),
        below 0 is brighter than the star.
    stretch
        Life time in units of the envelope's, > 0, shape (nspot,), or (1,) for all.

    Examples
    --------
    >>> from spotgp.simulation.simulate import Spots
    >>> spots = Spots([0.0, 8.0], [0.3, -0.5], [0.0, 2.0], [0.1, 0.05], [1.0, 0.7])
    >>> spots.latitude.shape
    (2,)
    """

    t_peak: Float[Array, " nspot"] = param(
        unit="d", shape=None, label="$t_k$", doc="times at which the spots are largest"
    )
    latitude: Float[Array, " nspot"] = param(
        unit="rad",
        shape=None,
        bounds=f"[-{_HALF_PI}, {_HALF_PI}]",
        label=r"$\phi_k$",
        doc="latitudes",
    )
    longitude: Float[Array, " nspot"] = param(
        unit="rad", shape=None, label=r"$\lambda_k$", doc="longitudes at t_peak, 0 faces us"
    )
    alpha_max: Float[Array, " nspot"] = param(
        unit="rad",
        shape=None,
        bounds=f"[0, {_HALF_PI}]",
        label=r"$\alpha_{\max,k}$",
        doc="largest angular radii",
    )
    weight: Float[Array, " nspot"] = param(
        shape=None, bounds="(-inf, 1]", label="$w_k$", doc="contrasts 1 - fspot, 0 is no spot"
    )
    stretch: Float[Array, " nspot"] = param(
        shape=None, bounds="(0, inf)", default=(1.0,), label="$s_k$", doc="life over the envelope's"
    )

    def __check_init__(self):
        shapes = {name: getattr(self, name).shape for name in self.__dataclass_fields__}
        if shapes["stretch"] == (1,):
            del shapes["stretch"]
        if len(set(shapes.values())) > 1:
            given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(
                f"The arrays of Spots have different shapes: {given}. Give one number per spot to "
                "each of them."
            )

    def with_stretches(self) -> "Spots":
        """The same with one stretch per spot."""
        every = jnp.broadcast_to(self.stretch, self.t_peak.shape)
        return eqx.tree_at(lambda spots: spots.stretch, self, every)


@jit
def support(envelope: AbstractEnvelope) -> Float[Array, " 2"]:
    """First and last age (days) at which a spot is seen."""
    return jax.lax.stop_gradient(envelope.breakpoints()[jnp.asarray([0, -1])])


def finite_times(t, name: str):
    """A one-dimensional, finite array of times in days; ValueError for any other."""
    t = as_floats(as_data(name, t, "d", ndim=1))
    if not t.size:
        raise ValueError(f"There are no times: {name} is empty.")
    bad = 0 if is_traced(t) else int(np.sum(~np.isfinite(np.asarray(t))))
    if bad:
        raise ValueError(f"{name} holds {bad} values that are not finite: leave them out.")
    return t


def emergence_window(
    envelope: AbstractEnvelope, t: Float[Array, " ntime"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """First and last ``t_peak`` (days) of spots that are seen at some time between those of t."""
    ages, times = support(envelope), t
    if not is_traced(ages) and not is_traced(t):
        ages, times = np.asarray(ages), np.asarray(t)
    return times.min() - ages[1], times.max() - ages[0]


class _Within(AbstractLatitudeDistribution):
    """A distribution cut at two latitudes."""

    latitude: AbstractLatitudeDistribution
    low: Float[Array, ""]
    high: Float[Array, ""]

    def density(self, phi):
        return self.latitude.density(phi)

    def intervals(self):
        return jnp.clip(self.latitude.intervals(), self.low, self.high)


def _within(latitude: AbstractLatitudeDistribution, lat) -> AbstractLatitudeDistribution:
    if lat is None:
        return latitude
    low, high = _range("lat", lat)
    if not -np.pi / 2 - 1e-6 <= low < high <= np.pi / 2 + 1e-6:
        raise ValueError(
            f"lat = [{low:.6g}, {high:.6g}] reaches beyond a pole. Latitudes are in rad, from "
            "-pi/2 to pi/2."
        )
    intervals = latitude.intervals()
    if not is_traced(intervals) and low <= intervals.min() and intervals.max() <= high:
        return latitude
    number = partial(jnp.asarray, dtype=intervals.dtype)
    within = _Within(latitude, number(low), number(high))
    total = within.total()
    if not is_traced(total) and not total > 0:
        raise ValueError(
            f"lat = [{low:.6g}, {high:.6g}] holds none of the latitudes of the model's "
            f"{type(latitude).__name__}. Give a range that has spots, or another distribution."
        )
    return within


class Recipe(eqx.Module):
    """The checked distributions that spots are drawn from, the same for every realisation."""

    envelope: AbstractEnvelope
    latitude: AbstractLatitudeDistribution
    window: Float[Array, " 2"]
    longitude: Float[Array, " 2"]
    alpha_max: Float[Array, ""]
    weight: Float[Array, ""]
    mean: Float[Array, ""] | None  # of the Poisson number; None is exactly the capacity
    capacity: int = eqx.field(static=True)

    def draw(self, key) -> tuple[Spots, Any]:
        """Spots in the order of their times, and how many of them are real; padding comes last."""
        n, dtype = self.capacity, self.window.dtype
        keys = jax.random.split(key, 4)
        first, last = self.window[0], self.window[1]
        t_peak = first + (last - first) * jax.random.uniform(keys[0], (n,), dtype)
        longitude = self.longitude[0] + jnp.diff(self.longitude)[0] * jax.random.uniform(
            keys[1], (n,), dtype
        )
        latitude = self.latitude.sample(keys[2], (n,)).astype(dtype)
        if self.mean is None:
            number = n
            real = jnp.ones(n, bool)
        else:
            number = jax.random.poisson(keys[3], self.mean)
            real = jnp.arange(n) < number
        # padding comes so late that its block is never visited
        t_peak = jnp.where(real, t_peak, last + (last - first))
        order = jnp.argsort(t_peak)
        weight = jnp.where(real, self.weight, 0.0)[order]
        # one spot too many would be dropped: that is not to go unnoticed
        weight = jnp.where(number <= n, weight, jnp.nan)
        stretch, size = self.envelope.draw(jax.random.fold_in(key, 4), n)
        stretch = jnp.where(real[order], stretch, 1.0)
        alpha_max = jnp.minimum(self.alpha_max * size, jnp.asarray(0.5 * np.pi, dtype))
        places = t_peak[order], latitude[order], longitude[order]
        return Spots(*places, alpha_max, weight, stretch), number


def draw_spots(
    model: SpotEvolutionModel,
    key: Array,
    t: Float[Array, " ntime"],
    *,
    nspot: int | None = None,
    nspot_rate: float | None = None,
    fspot: float | None = None,
    alpha_max: float | None = None,
    lat: Any = None,
    long: Any = None,
    max_spots: int | None = None,
) -> Spots:
    r"""Draw the spots that may be seen between the first and the last time.

    Times are uniform over `emergence_window`, longitudes uniform, latitudes follow the model's
    distribution. A Poisson number of spots (``nspot_rate``) is what the Gaussian process describes;
    a fixed number :math:`n` lowers the covariance at every lag by (mean dimming)^2 / n.

    Parameters
    ----------
    model
        Envelope, visibility, latitude distribution, and the amplitude where it is not given here.
    key
        JAX random key: the same key gives the same spots.
    t
        Times, shape (ntime,), days.
    nspot
        Number of spots in the window, exactly.
    nspot_rate
        Spots per day, all over the star (between ``lat`` and ``long`` if given): their number is
        Poisson distributed. With neither of the two the model's own rate holds.
    fspot
        Brightness of the spots relative to the star, >= 0; the model's own, or 0 (black).
    alpha_max
        Largest angular radius, rad, (0, pi/2]. By default the model's own; of a model with
        ``sigma_k`` alone it follows from :math:`\sigma_k^2 = n (1 - f)^2 \alpha_{\max}^4` with
        the rate :math:`n` (nspot / window).
    lat
        Lowest and highest latitude, rad: the model's distribution inside of them.
    long
        Lowest and highest longitude at the spot's peak, rad; 0 faces the observer.
    max_spots
        Length of the arrays for a Poisson number. By default so long that a larger number has
        probability 1e-12; needed only inside `jax.jit`. More spots give weights of NaN.

    Returns
    -------
    Spots
        In the order of their times, shape (nspot,), or (capacity,) for a Poisson number: what is
        not needed has weight 0 and comes last.

    Raises
    ------
    ValueError
        If the number, the amplitude or a range is impossible; the message says how to fix it.
    """
    amount = {"nspot": nspot, "nspot_rate": nspot_rate, "max_spots": max_spots}
    shape = {"fspot": fspot, "alpha_max": alpha_max, "lat": lat, "long": long}
    return draw(recipe_for(model, finite_times(t, "t"), **amount, **shape), key)[0]


@jit
def draw(recipe: Recipe, key: Array) -> tuple[Spots, Any]:
    """`Recipe.draw`, compiled."""
    return recipe.draw(key)


def of_each(model: AbstractStar, key: Array, options: dict) -> list[tuple]:
    """Member, key and options of each population, for spots that are drawn independently.

    An option of several populations may be given by their names.
    """
    check_kind("model", model, AbstractStar)
    if not isinstance(model, SpottedStar):
        return [(model, key, options)]
    names = tuple(model.populations)
    for option, value in options.items():
        for name in value if isinstance(value, Mapping) else ():
            check_choice(f"{option}: population", name, names)
    found = []
    for k, (name, member) in enumerate(zip(names, model.members, strict=True)):
        own = {o: v.get(name) if isinstance(v, Mapping) else v for o, v in options.items()}
        _check_brightness(name, model.populations[name], own.get("fspot"))
        found.append((member, jax.random.fold_in(key, k), own))
    return found


def _check_brightness(name: str, population, fspot) -> None:
    """ValueError for faculae that would be drawn as black spots."""
    unknown = fspot is None and population.amplitude.population is None
    if unknown and not is_traced(population.magnetic) and float(population.magnetic) < 0.0:
        raise ValueError(
            f"The population {name!r} is bright, as magnetic = {float(population.magnetic):g} < 0 "
            "says, and its sigma_k does not tell how bright: give fspot > 1, such as "
            f"fspot={{{name!r}: 1.2}}, or make it with nspot_rate, fspot and alpha_max."
        )


def recipe_for(
    model,
    t,
    *,
    nspot=None,
    nspot_rate=None,
    fspot=None,
    alpha_max=None,
    lat=None,
    long=None,
    max_spots=None,
):
    """Check what `draw_spots` takes and work out what does not depend on the key."""
    check_kind("model", model, SpotEvolutionModel)
    if nspot is not None and nspot_rate is not None:
        raise ValueError(
            f"Both nspot = {nspot} and nspot_rate = {nspot_rate} are given. Give nspot for exactly "
            "that many spots, or nspot_rate (spots per day) for a Poisson number of them."
        )
    own = model.amplitude.population
    if nspot is None and nspot_rate is None:
        if own is not None:
            nspot_rate = own.nspot_rate
        else:
            raise ValueError(
                "Neither nspot nor nspot_rate is given, and the model has sigma_k only. Give "
                "nspot (number of spots) or nspot_rate (spots per day)."
            )
    window = emergence_window(model.envelope, t)
    length = window[1] - window[0]
    if nspot is not None:
        if isinstance(nspot, bool) or not isinstance(nspot, int | np.integer) or nspot < 0:
            raise ValueError(f"nspot = {nspot!r} is not a number of spots: give an int >= 0.")
        mean, capacity, rate = None, int(nspot), nspot / length
    else:
        rate = _number("nspot_rate", nspot_rate)
        _check("nspot_rate", rate, rate >= 0, ">= 0 (spots per day)")
        mean = rate * length
        capacity = _capacity(mean) if max_spots is None else as_whole_number("max_spots", max_spots)
    if fspot is None:
        fspot = 0.0 if own is None else own.fspot
    fspot = _number("fspot", fspot)
    _check("fspot", fspot, fspot >= 0, ">= 0: 0 is black, 1 as bright as the star")
    if alpha_max is None and own is not None:
        alpha_max = own.alpha_max
    if alpha_max is None:
        alpha_max = _alpha_for(model.sigma_k, rate, fspot, capacity)
    alpha_max = _number("alpha_max", alpha_max, "rad")
    allowed = (alpha_max > 0) & (alpha_max <= np.pi / 2)
    _check("alpha_max", alpha_max, allowed, "inside (0, pi/2] rad: half of the star")
    return Recipe(
        envelope=model.envelope,
        latitude=_within(model.latitude, lat),
        window=jnp.stack(window) if is_traced(length) else np.stack(window),
        longitude=_longitudes(long),
        alpha_max=alpha_max,
        weight=1.0 - fspot,
        mean=mean,
        capacity=capacity,
    )


def _longitudes(long):
    ends = (0.0, 2 * np.pi) if long is None else _range("long", long)
    return np.asarray(ends, jnp.result_type(float))


def _number(name: str, value, unit: str = ""):
    """A floating-point array, of NumPy unless traced: faster for single numbers."""
    dtype = jnp.result_type(float)
    if is_traced(value):
        return jnp.asarray(value, dtype)
    return np.asarray(as_number(name, value, unit), dtype)


def _check(name: str, value, good, allowed: str):
    if not is_traced(good) and not bool(good):
        raise ValueError(f"{name} = {float(value):.6g} is not allowed. It must be {allowed}.")


def _capacity(mean) -> int:
    if is_traced(mean):
        raise ValueError(
            "The number of spots is random and the rate, the envelope or the times are traced by a "
            "JAX transformation, so that the length of the arrays is not known: pass max_spots."
        )
    mean = float(mean)
    # 1e-12 of a Poisson distribution is beyond; multiples of 16 spare compilations
    most = mean + 7.0 * math.sqrt(mean) + 14.0
    return -(-math.ceil(most) // 16) * 16


def _alpha_for(sigma_k, rate, fspot, capacity):
    """The size of spots that gives sigma_k at this rate."""
    if capacity == 0:
        return 0.1  # no spot has it
    contrast = abs(1.0 - fspot)
    _check("fspot", fspot, contrast > 0, "different from 1 for spots that are to give sigma_k")
    alpha = (_number("sigma_k", sigma_k) / (rate**0.5 * contrast)) ** 0.5
    if not is_traced(alpha) and not 0 < alpha <= np.pi / 2:
        raise ValueError(
            f"sigma_k = {float(sigma_k):.6g} from {float(rate):.3g} spots per day would take spots "
            f"of alpha_max = {float(alpha):.3g} rad, which is outside (0, pi/2]. Draw more spots "
            "(nspot, nspot_rate), or give alpha_max yourself."
        )
    return alpha


def _range(name: str, value) -> tuple[float, float]:
    try:
        low, high = (float(v) for v in value)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} = {value!r} is not a range: give [lowest, highest] in rad."
        ) from None
    if not low < high:
        raise ValueError(
            f"{name} = [{low:.6g}, {high:.6g}] has no width: the first number must be below the "
            "second, both in rad."
        )
    return low, high
