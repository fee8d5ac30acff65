r"""What spots do to flux, radial velocity and indicators, by integrals over their visible caps.

.. math::
    y_c(t) = \sum_k \frac{w_k}{\pi} \int_{\mathrm{cap}_k(t),\,\mu > 0} w_c(\mu, x)\,d\Omega

A channel is its weight :math:`w_c`, what a black point of the surface does per area, as a function
of its foreshortening :math:`\mu` and of its velocity away from the observer in units of
:math:`v_{eq} \sin i`,

.. math::
    x = X\,(1 - \kappa \sin^2\varphi)

with X the distance from the projected axis towards the receding limb, and the rotation of the
element's own latitude :math:`\varphi`. Nothing here knows of the Gaussian process or of small
spots.
"""

from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pytreefit import jit
from pytreefit.extend import as_mapping, as_whole_number, check_kind

from ..kernel.trig import cos_sin
from ..star.abstract import AbstractStar
from ..star.channels import AbstractChannel
from ..star.model import SpotEvolutionModel
from ..star.visibility import AbstractPolynomialVisibility
from .cap_integral import cap_integral, direction
from .simulate import radii, summed_over_spots
from .spots import Spots, finite_times, of_each, recipe_for, support

Weight = Callable[[Float[Array, "..."], Float[Array, "..."]], Float[Array, "..."]]

_SPOTS, _TIMES = 16, 64  # at once: what is not on the star is passed over, memory is bounded


def _polynomial(coefficients, mu):
    *rest, value = coefficients
    for b in reversed(rest):
        value = value * mu + b
    return value


def _weight(channel, visibility) -> Weight:
    """A channel's weight as a function of mu and x."""
    if not isinstance(channel, AbstractChannel):
        return channel
    terms = channel.weight(visibility)

    def weight(mu, x):
        parts = [_polynomial(b, mu) * x**power for power, b in terms.items()]
        return sum(parts[1:], parts[0])

    return weight


def _effect(envelope, visibility, channels, spots, t):
    """Sums over a block of spots at a block of times, shape (channels, ntime)."""
    cos_i, sin_i = cos_sin(visibility.inc)
    age = t[None, :] - spots.t_peak[:, None]
    turn = spots.longitude[:, None] + visibility.omega0(spots.latitude)[:, None] * age
    alpha = radii(envelope, spots, age)
    weights = [_weight(channel, visibility) for channel in channels]

    def values(at):
        sine = at.y * sin_i + at.mu * cos_i
        x = at.x * (1.0 - visibility.kappa * sine * sine)
        return tuple(jnp.broadcast_to(weight(at.mu, x), x.shape) for weight in weights)

    whole = cap_integral(values, alpha, direction(visibility.inc, spots.latitude[:, None], turn))
    return jnp.stack([jnp.sum(spots.weight[:, None] * part, axis=0) for part in whole])


def _curves(envelope, visibility, channels, ages, spots, t):
    effect = eqx.Partial(_effect, envelope, visibility, channels)
    blocks = (min(spots.t_peak.shape[0], _SPOTS), min(t.shape[0], _TIMES))
    return summed_over_spots(effect, ages, spots, t, blocks)


@jit
def _channel_curves(envelope, visibility, channels, spots, t):
    return _curves(envelope, visibility, channels, support(envelope.of_one_spot()), spots, t)


@jit
def _simulate(recipe, envelope, visibility, channels, ages, keys, t):
    one = lambda key: _curves(envelope, visibility, channels, ages, recipe.draw(key)[0], t)  # noqa: E731
    return jax.lax.map(one, keys)


def channel_curves(
    model: SpotEvolutionModel,
    spots: Spots,
    t: Float[Array, " ntime"],
    channels: Mapping[str, AbstractChannel | Weight],
) -> dict[str, Float[Array, " ntime"]]:
    """What given spots add to every channel, beside a star without spots.

    Each spot's contribution is integrated over the visible part of its cap, whatever its size, with
    the velocity of every element's own latitude. Sums are linear in the spots: they are not divided
    by the darkened flux, and spots that overlap count twice, as in the Gaussian process. Of the
    model only envelope and visibility are used. Differentiable in the model, the spots, the times
    and the channels.

    Parameters
    ----------
    model
        The model.
    spots
        The spots; their weights are contrasts in the reference band.
    t
        Times in days, shape (ntime,), in any order.
    channels
        Channels by name: `FluxBand`, `RadialVelocity`, `ActivityIndicator`, or functions: the
        weight of the foreshortening mu and of the velocity x in units of v_eq sin i, both of any
        one shape.

    Returns
    -------
    dict
        By name, shape (ntime,), in the units of the channel. The flux itself is 1 more.

    Raises
    ------
    TypeError, ValueError
        If a part is of another kind, times are not finite, or a channel is no function.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import *
    >>> model = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=15.0, tau_spot=5.0),
    ...     visibility=VisibilityFunction(peq=8.0, kappa=0.0, inc=np.pi / 2),
    ...     sigma_k=0.01,
    ... )
    >>> spot = Spots([0.0], [0.0], [0.0], [0.1], [1.0])
    >>> channels = {"flux": FluxBand(), "rv": RadialVelocity(v_eq=2000.0)}
    >>> curves = channel_curves(model, spot, np.array([-1.0, 0.5, 1.0]), channels)
    >>> print(curves["rv"].round(3))  # before the meridian the spot hides what approaches
    [ 9.917 -7.012 -9.917]
    """
    t = finite_times(t, "t")
    check_kind("model", model, SpotEvolutionModel)
    check_kind("spots", spots, Spots)
    channels = _checked(channels, model)
    total = _channel_curves(model.envelope, model.visibility, tuple(channels.values()), spots, t)
    return dict(zip(channels, total, strict=True))


def simulate_channels(
    model: AbstractStar,
    key: Array,
    t: Float[Array, " ntime"],
    channels: Mapping[str, AbstractChannel | Weight],
    n_realizations: int = 1,
    **options,
) -> dict[str, Float[Array, "n_realizations ntime"]]:
    """`channel_curves` of many stars that differ in their spots only, by one compiled program.

    The spots are those of `simulate` for the same key and options.

    Parameters
    ----------
    model, t, channels
        As for `channel_curves`.
    key
        JAX random key, as for `simulate`.
    n_realizations
        How many stars.
    **options
        As for `draw_spots`, which says what errors there are: number, size and places of the spots.

    Examples
    --------
    >>> import jax
    >>> import numpy as np
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> bands = {"red": FluxBand(), "blue": FluxBand(contrast=1.5)}
    >>> light = simulate_channels(star, jax.random.key(0), np.arange(30.0), bands, nspot=5)
    >>> round(float(light["blue"].min() / light["red"].min()), 6)
    1.5
    """
    t = finite_times(t, "t")
    each = of_each(model, key, options)
    channels = _checked(channels, model)
    number = as_whole_number("n_realizations", n_realizations, 1)
    total = jnp.zeros((number, len(channels), t.size))
    seen_in = model.seen_in(tuple(channels.values()))
    for (one, own_key, own), (_, seen) in zip(each, seen_in, strict=True):
        recipe, ages = recipe_for(one, t, **own), support(one.envelope.of_one_spot())
        keys = jax.random.split(own_key, number)
        total = total + _simulate(recipe, one.envelope, one.visibility, seen, ages, keys, t)
    return {name: total[:, k] for k, name in enumerate(channels)}


def _checked(channels, model) -> dict:
    channels = as_mapping("channels", channels)
    if not channels:
        raise ValueError("channels is empty: give channels by name, such as FluxBand().")
    polynomial = isinstance(model.visibility, AbstractPolynomialVisibility)
    for name, channel in channels.items():
        if isinstance(channel, AbstractChannel):
            if not polynomial:
                raise TypeError(
                    f"channels['{name}'] asks for the star's limb darkening as a polynomial, which "
                    f"a {type(model.visibility).__name__} has not. Take a VisibilityFunction, "
                    "LimbDarkenedVisibilityFunction or EdgeOnVisibilityFunction."
                )
        elif not callable(channel) or isinstance(channel, type):
            raise TypeError(
                f"channels['{name}'] = {channel!r} is no channel: give a FluxBand, RadialVelocity, "
                "ActivityIndicator, or a function of foreshortening and velocity."
            )
    return channels
