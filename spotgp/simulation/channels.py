r"""What spots do to flux, radial velocity and indicators, by integrals over their visible caps.

.. math::
    y_c(t) = \sum_k \frac{w_k}{\pi} \int_{\mathrm{cap}_k(t),\,\mu > 0} w_c(\mu, v)\,d\Omega

A channel is its weight :math:`w_c`, what a black point of the surface does per area, as a function
of its foreshortening :math:`\mu` and of its velocity away from the observer in units of the
equator's,

.. math::
    v = x \sin i\,(1 - \kappa \sin^2\varphi)

with x the distance from the projected axis towards the receding limb, and the rotation of the
element's own latitude :math:`\varphi`. Nothing here knows of the Gaussian process or of small
spots.
"""

from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pytreefit import jit
from pytreefit.extend import as_mapping, as_number, as_whole_number, check_kind, is_traced

from ..kernel.trig import cos_sin
from ..star.model import SpotEvolutionModel
from .cap_integral import cap_integral, direction
from .simulate import radii, summed_over_spots
from .spots import Spots, finite_times, recipe_for, support

Weight = Callable[[Float[Array, "..."], Float[Array, "..."]], Float[Array, "..."]]

_SPOTS, _TIMES = 16, 64  # at once: what is not on the star is passed over, memory is bounded


def _law(mu, u1, u2):
    dark = 1.0 - mu
    return (1.0 - u1 * dark - u2 * dark * dark) / (1.0 - u1 / 3.0 - u2 / 6.0)


def _flux(values, mu, v):
    del v
    contrast, u1, u2 = values
    return -contrast * mu * _law(mu, u1, u2)


def _velocity(values, mu, v):
    v_eq, contrast, convective, u1, u2 = values
    return mu * _law(mu, u1, u2) * (convective * mu - contrast * v_eq * v)


def _indicator(values, mu, v):
    del v
    scale, u1, u2 = values
    return scale * mu * _law(mu, u1, u2)


def _weight(function, **values):
    numbers = (x if is_traced(x) else as_number(name, x) for name, x in values.items())
    return jax.tree_util.Partial(function, tuple(jnp.asarray(x, float) for x in numbers))


def flux_weight(contrast: float = 1.0, u1: float = 0.0, u2: float = 0.0) -> Weight:
    r"""Weight of the relative flux in a band, :math:`-c \mu L(\mu)`.

    .. math:: L(\mu) = \frac{1 - u_1 (1 - \mu) - u_2 (1 - \mu)^2}{1 - u_1 / 3 - u_2 / 6}

    Parameters
    ----------
    contrast
        Contrast c relative to that of the band for which the spots' own weights hold.
    u1, u2
        Limb darkening in this band.
    """
    return _weight(_flux, contrast=contrast, u1=u1, u2=u2)


def velocity_weight(
    v_eq: float,
    contrast: float = 1.0,
    convective: float = 0.0,
    u1: float = 0.0,
    u2: float = 0.0,
) -> Weight:
    r"""Weight of the radial velocity, m/s, positive receding.

    .. math:: -c\,\mu L(\mu)\,v_\mathrm{eq} v + s\,\mu^2 L(\mu)

    A dark spot on the approaching half of the disk hides light that approaches, and the line's mean
    recedes; it suppresses the blueshift of convection wherever it is (Aigrain, Pont & Zucker 2012,
    MNRAS 419, 3147).

    Parameters
    ----------
    v_eq
        Velocity of rotation at the equator, m/s, 2 pi R_star / peq.
    contrast
        Contrast c in the spectrograph's band, relative to that of the spots' own weights.
    convective
        Suppressed convective blueshift s, m/s.
    u1, u2
        Limb darkening, as for `flux_weight`.
    """
    values = dict(v_eq=v_eq, contrast=contrast, convective=convective, u1=u1, u2=u2)
    return _weight(_velocity, **values)


def indicator_weight(scale: float, u1: float = 0.0, u2: float = 0.0) -> Weight:
    r"""Weight of an indicator of activity, :math:`s \mu L(\mu)`.

    Parameters
    ----------
    scale
        What a spot would do to it that hides the whole disk, in units of the indicator.
    u1, u2
        Limb darkening, as for `flux_weight`.
    """
    return _weight(_indicator, scale=scale, u1=u1, u2=u2)


def _effect(envelope, visibility, weights, spots, t):
    """Sums over a block of spots at a block of times, shape (channels, ntime)."""
    cos_i, sin_i = cos_sin(visibility.inc)
    age = t[None, :] - spots.t_peak[:, None]
    turn = spots.longitude[:, None] + visibility.omega0(spots.latitude)[:, None] * age
    alpha = radii(envelope, spots, age)

    def values(at):
        sine = at.y * sin_i + at.mu * cos_i
        v = at.x * sin_i * (1.0 - visibility.kappa * sine * sine)
        return tuple(jnp.broadcast_to(weight(at.mu, v), v.shape) for weight in weights)

    whole = cap_integral(values, alpha, direction(visibility.inc, spots.latitude[:, None], turn))
    return jnp.stack([jnp.sum(spots.weight[:, None] * part, axis=0) for part in whole])


def _curves(envelope, visibility, weights, ages, spots, t):
    effect = eqx.Partial(_effect, envelope, visibility, weights)
    blocks = (min(spots.t_peak.shape[0], _SPOTS), min(t.shape[0], _TIMES))
    return summed_over_spots(effect, ages, spots, t, blocks)


@jit
def _channel_curves(envelope, visibility, weights, spots, t):
    return _curves(envelope, visibility, weights, support(envelope), spots, t)


@jit
def _simulate(recipe, envelope, visibility, weights, ages, keys, t):
    one = lambda key: _curves(envelope, visibility, weights, ages, recipe.draw(key)[0], t)  # noqa: E731
    return jax.lax.map(one, keys)


def channel_curves(
    model: SpotEvolutionModel,
    spots: Spots,
    t: Float[Array, " ntime"],
    channels: Mapping[str, Weight],
) -> dict[str, Float[Array, " ntime"]]:
    """What given spots add to every channel, beside a star without spots.

    Each spot's contribution is integrated over the visible part of its cap, whatever its size, with
    the velocity of every element's own latitude. Sums are linear in the spots: they are not divided
    by the darkened flux, and spots that overlap count twice, as in the Gaussian process. Of the
    model only envelope and rotation are used; limb darkening is that of the channels.
    Differentiable in the model, the spots, the times and the weights' own arrays.

    Parameters
    ----------
    model
        The model.
    spots
        The spots; their weights are contrasts in the reference band.
    t
        Times in days, shape (ntime,), in any order.
    channels
        Weights by name: `flux_weight`, `velocity_weight`, `indicator_weight`, or any function of
        foreshortening and velocity (in units of the equator's), both of any one shape.

    Returns
    -------
    dict
        By name, shape (ntime,), in the units of the weight. The flux itself is 1 more.

    Raises
    ------
    TypeError, ValueError
        If a part is of another kind, times are not finite, or a channel is no function.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import SpotEvolutionModel, Spots, TrapezoidSymmetricEnvelope, VisibilityFunction
    >>> from spotgp.simulation.channels import channel_curves, flux_weight, velocity_weight
    >>> model = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=15.0, tau_spot=5.0),
    ...     visibility=VisibilityFunction(peq=8.0, kappa=0.0, inc=np.pi / 2),
    ...     sigma_k=0.01,
    ... )
    >>> spot = Spots([0.0], [0.0], [0.0], [0.1], [1.0])
    >>> channels = {"flux": flux_weight(), "rv": velocity_weight(v_eq=2000.0)}
    >>> curves = channel_curves(model, spot, np.array([-1.0, 0.5, 1.0]), channels)
    >>> print(curves["rv"].round(3))  # before the meridian the spot hides what approaches
    [ 9.917 -7.012 -9.917]
    """
    t = finite_times(t, "t")
    check_kind("model", model, SpotEvolutionModel)
    check_kind("spots", spots, Spots)
    names, weights = _weights(channels)
    total = _channel_curves(model.envelope, model.visibility, weights, spots, t)
    return dict(zip(names, total, strict=True))


def simulate_channels(
    model: SpotEvolutionModel,
    key: Array,
    t: Float[Array, " ntime"],
    channels: Mapping[str, Weight],
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
    """
    t = finite_times(t, "t")
    recipe = recipe_for(model, t, **options)
    names, weights = _weights(channels)
    keys = jax.random.split(key, as_whole_number("n_realizations", n_realizations, 1))
    ages = support(model.envelope)
    total = _simulate(recipe, model.envelope, model.visibility, weights, ages, keys, t)
    return {name: total[:, k] for k, name in enumerate(names)}


def _weights(channels):
    channels = as_mapping("channels", channels)
    if not channels:
        raise ValueError("channels is empty: give a weight by name, such as flux_weight().")
    for name, weight in channels.items():
        if not callable(weight) or isinstance(weight, type):
            raise TypeError(
                f"channels['{name}'] = {weight!r} is no function of foreshortening and velocity: "
                "give flux_weight(...), velocity_weight(...), or a function of your own."
            )
    return tuple(channels), tuple(channels.values())
