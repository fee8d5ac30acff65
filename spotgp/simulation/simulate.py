r"""Light curves of spotted stars: spots drawn at random, each with its exact projected area.

.. math::
    f(t) = 1 - \sum_k w_k\, b\big(\alpha_k(t), \beta_k(t)\big), \qquad
    \alpha_k(t) = \alpha_{\max,k}\, \Gamma\big((t - t_k) / s_k\big)

.. math::
    \cos\beta_k(t) = \cos i \sin\phi_k
    + \sin i \cos\phi_k \cos\!\big(\lambda_k + \omega_0(\phi_k)(t - t_k)\big)

with the contrast :math:`w_k = 1 - f_\mathrm{spot}` and the share :math:`b` of the star's light
that a black cap of angular radius :math:`\alpha` takes away: its projected area over :math:`\pi`
for a uniform disk. Spots that overlap count twice, as in the Gaussian process.

Spots and times are visited in blocks, and a block of spots that is not on the star during a block
of times is passed over: memory does not grow with spots x times, the work only with what is seen.
"""

import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Model, jit
from pytreefit.extend import as_whole_number, check_kind, is_traced

from ..kernel.trig import cos_sin
from ..star.abstract import AbstractStar
from ..star.cap_light import cap_light
from ..star.model import SpotEvolutionModel
from ..star.visibility import AbstractVisibility
from .spots import Spots, draw, finite_times, of_each, recipe_for, support


def blocked_light(
    visibility: AbstractVisibility, alpha: Float[Array, "..."], cos_beta: Float[Array, "..."]
) -> Float[Array, "..."]:
    r"""Fraction of a star's light that a black circular cap blocks.

    .. math:: b = \frac{1}{\pi} \int_{\mathrm{cap},\,\mu > 0} V(\mu)\,d\Omega

    with :math:`V = \mu I(\mu) / F` the star's law of limb darkening: the projected area over pi
    for a uniform disk. Of a visibility of finite spots the law counts
    (`AbstractVisibility.powers_of_mu`), not its own radius. Angular radii alpha are in rad, 0 to
    pi/2, of any shape; ``cos_beta`` of the same is that of the angle from the centre of the disk.
    """
    total = jnp.zeros_like(cos_beta)
    for power, coefficient in visibility.powers_of_mu().items():
        total = total + coefficient * cap_light(alpha, cos_beta, power)
    return total


def _blocks(spots: int, times: int) -> tuple[int, int]:
    """Numbers of spots and times in a block: small enough to skip, large enough to be fast."""
    return min(max(spots // 16, 8), 128), min(max(times // 16, 32), 1024)


def _dimming(envelope, visibility, spots, t):
    """Light blocked by a block of spots at a block of times, shape of t."""
    age = t[None, :] - spots.t_peak[:, None]
    turn = spots.longitude[:, None] + visibility.omega0(spots.latitude)[:, None] * age
    polar, equatorial = visibility.foreshortening(spots.latitude)
    # rounding may put a spot at the centre of the disk beyond it
    cos_beta = jnp.clip(polar[:, None] + equatorial[:, None] * cos_sin(turn)[0], -1.0, 1.0)
    alpha = radii(envelope, spots, age)
    blocked = blocked_light(visibility, alpha, cos_beta)
    return jnp.sum(spots.weight[:, None] * blocked, axis=0)


def radii(envelope, spots, age):
    """Angular radii of spots at their ages in days, shape (nspot, ntime)."""
    profile = envelope.of_one_spot().Gamma(age / spots.with_stretches().stretch[:, None])
    return spots.alpha_max[:, None] * profile


def _padded(array, size: int, block: int, mode: str):
    extra = -size % block
    return jnp.pad(array, (0, extra), mode=mode).reshape(-1, block)


@jit
def _light_curve(envelope, visibility, spots, t):
    return _flux(envelope, visibility, support(envelope.of_one_spot()), spots, t)


def _flux(envelope, visibility, ages, spots, t):
    dimming = eqx.Partial(_dimming, envelope, visibility)
    return 1.0 - summed_over_spots(dimming, ages, spots, t, _blocks(spots.t_peak.shape[0], t.size))


def summed_over_spots(effect, ages, spots, t, blocks):
    """What all spots do together, of an effect of a block of spots at a block of times.

    The effect is a PyTree, and returns (..., ntime). Blocks of spots and times that never meet are
    passed over.
    """
    n, m = spots.t_peak.shape[0], t.shape[0]
    if n == 0 or m == 0:
        return _nothing(effect, spots, t)
    spot_block, time_block = blocks
    first, last = ages
    weight = _padded(spots.weight, n, spot_block, "constant")
    spots = spots.with_stretches()
    spots = jax.tree.map(lambda a: _padded(a, n, spot_block, "edge"), spots)
    spots = eqx.tree_at(lambda s: s.weight, spots, weight)
    times = _padded(t, m, time_block, "edge")

    @partial(jax.checkpoint, prevent_cse=False)
    def visit(parts, spots, t):
        begins = jnp.min(spots.t_peak + first * spots.stretch)
        ends = jnp.max(spots.t_peak + last * spots.stretch)
        return jax.lax.cond(
            (begins <= jnp.max(t)) & (ends >= jnp.min(t)),
            lambda parts, spots, t: eqx.combine(parts, static)(spots, t),
            lambda parts, spots, t: _nothing(eqx.combine(parts, static), spots, t),
            *(parts, spots, t),
        )

    parts, static = eqx.partition(effect, eqx.is_array)

    def add(total, spots):
        def at_times(carry, t):
            return carry, visit(parts, spots, t)

        return total + jax.lax.scan(at_times, None, times)[1], None

    nothing = _nothing(effect, jax.tree.map(lambda a: a[0], spots), times[0])
    total, _ = jax.lax.scan(add, jnp.broadcast_to(nothing, (len(times), *nothing.shape)), spots)
    # the blocks of times one after the other, as the last axis
    return jnp.moveaxis(total, 0, -2).reshape(*nothing.shape[:-1], -1)[..., :m]


def _nothing(effect, spots, t):
    """Zeros in the shape of what an effect returns."""
    shape = eqx.filter_eval_shape(effect, spots, t)
    return jnp.zeros(shape.shape, shape.dtype)


def light_curve(
    model: SpotEvolutionModel, spots: Spots, t: Float[Array, " ntime"]
) -> Float[Array, " ntime"]:
    """Flux of a star with given spots at times in days, relative to the star without spots.

    Differentiable in all of these.

    Parameters
    ----------
    model
        Only its envelope and visibility are used.
    spots
        Where and when each spot is, how large and of what contrast.
    t
        Days, shape (ntime,), in any order.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import SpotEvolutionModel, TrapezoidSymmetricEnvelope, VisibilityFunction
    >>> from spotgp.simulation.simulate import Spots, light_curve
    >>> envelope = TrapezoidSymmetricEnvelope(lspot=15.0, tau_spot=5.0)
    >>> visibility = VisibilityFunction(peq=10.0, kappa=0.0, inc=np.pi / 2)
    >>> model = SpotEvolutionModel(envelope=envelope, visibility=visibility, sigma_k=0.01)
    >>> spot = Spots([0.0], [0.0], [0.0], [0.2], [1.0])
    >>> light_curve(model, spot, np.array([0.0, 5.0])).round(6).tolist()  # facing us, then behind
    [0.96053, 1.0]
    """
    t = finite_times(t, "t")
    check_kind("model", model, SpotEvolutionModel)
    check_kind("spots", spots, Spots)
    return _light_curve(model.envelope, model.visibility, spots, t)


class LightcurveModel(Model):
    """Light curve of a star with given spots, made by `LightcurveModel.from_spot_model`.

    ``flux`` follows every change of the model, of single spots and of the times, as in
    ``lc.set({"model.visibility.peq": 12.0}).flux``, and is differentiable in all of them.

    Parameters
    ----------
    model
        Envelope and visibility; its amplitude is no longer used once spots are drawn.
    spots
        The spots.
    t
        Times, shape (ntime,), days.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import SpotEvolutionModel, TrapezoidSymmetricEnvelope, VisibilityFunction
    >>> from spotgp.simulation.simulate import LightcurveModel
    >>> envelope = TrapezoidSymmetricEnvelope(lspot=15.0, tau_spot=5.0)
    >>> visibility = VisibilityFunction(peq=10.0, kappa=0.3, inc=np.pi / 3)
    >>> model = SpotEvolutionModel(envelope=envelope, visibility=visibility, sigma_k=0.01)
    >>> lc = LightcurveModel.from_spot_model(model, nspot=30, tsim=150, tsamp=0.5)
    >>> lc.t.shape, lc.flux.shape, bool(lc.flux.max() <= 1.0)
    ((300,), (300,), True)
    """

    model: SpotEvolutionModel
    spots: Spots
    t: Float[Array, " ntime"] = eqx.field(converter=partial(finite_times, name="LightcurveModel.t"))

    def __check_init__(self):
        check_kind("LightcurveModel.model", self.model, SpotEvolutionModel)
        check_kind("LightcurveModel.spots", self.spots, Spots)

    @classmethod
    def from_spot_model(
        cls,
        spot_model: SpotEvolutionModel,
        nspot: int | None = None,
        tsim: float | None = None,
        tsamp: float | None = None,
        *,
        t: Float[Array, " ntime"] | None = None,
        key: Array | None = None,
        **options,
    ) -> "LightcurveModel":
        """Draw spots at random and keep them with the times.

        Parameters
        ----------
        spot_model
            The model.
        nspot, **options
            As for `draw_spots`.
        tsim, tsamp
            Length and sampling, days: the times are 0, tsamp, ... below tsim.
        t
            The times themselves in their place, shape (ntime,), days.
        key
            JAX random key; ``jax.random.key(0)`` by default, so that the same call gives the same
            light curve.

        Raises
        ------
        ValueError
            If times, number, amplitude or ranges are impossible; the message says what to do.
        """
        if t is not None and (tsim is not None or tsamp is not None):
            raise ValueError(
                "Both t and tsim or tsamp are given. Give t for chosen times, or tsim and tsamp "
                "for even sampling from 0."
            )
        times = finite_times(sampling(tsim, tsamp) if t is None else t, "t")
        recipe = recipe_for(spot_model, times, nspot=nspot, **options)
        spots, number = draw(recipe, jax.random.key(0) if key is None else key)
        if not is_traced(number) and int(number) < spots.latitude.size:
            spots = jax.tree.map(lambda a: a[: int(number)], spots)
        return cls(spot_model, spots, times)

    @property
    def flux(self) -> Float[Array, " ntime"]:
        """Flux relative to the unspotted star, shape (ntime,); computed at each access."""
        return _light_curve(self.model.envelope, self.model.visibility, self.spots, self.t)


def sampling(tsim: float, tsamp: float) -> np.ndarray:
    """Times 0, tsamp, ... below tsim (days)."""
    for name, value in (("tsim", tsim), ("tsamp", tsamp)):
        if value is None:
            raise ValueError(
                f"{name} is not given: give tsim and tsamp (length and sampling in days), or t=."
            )
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} = {value} is not allowed. It must be > 0 (days).")
    # rounding is not to add a time at tsim itself
    return np.arange(math.ceil(tsim / tsamp * (1 - 1e-12))) * tsamp


def simulate(
    model: AbstractStar,
    key: Array,
    t: Float[Array, " ntime"],
    n_realizations: int = 1,
    **options,
) -> Float[Array, "n_realizations ntime"]:
    """Light curves of many stars that differ in their spots only, by one compiled program.

    Fluxes are relative to the star without spots.

    Parameters
    ----------
    model
        The model; of a `SpottedStar` the spots of all populations add up.
    key
        JAX random key. Realisation ``k`` has the spots of ``draw_spots`` with
        ``jax.random.split(key, n_realizations)[k]``, where there is one population.
    t
        Times, shape (ntime,), days.
    n_realizations
        How many light curves.
    **options
        As for `draw_spots`, which says what errors there are: number, size and places of the
        spots. Of several populations they may differ, ``nspot={"spots": 30, "faculae": 200}``.

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
    >>> flux = simulate(star, jax.random.key(0), np.arange(30.0), 4, nspot=1, alpha_max=0.2)
    >>> bool((1.0 - flux <= np.sin(0.2) ** 2).all())  # what a spot hides at the disk's centre
    True
    """
    t = finite_times(t, "t")
    number = as_whole_number("n_realizations", n_realizations, 1)
    total = jnp.ones((number, t.size))
    for one, own_key, own in of_each(model, key, options):
        recipe = recipe_for(one, t, **own)
        ages = support(one.envelope.of_one_spot())
        keys = jax.random.split(own_key, number)
        total += _simulate(recipe, one.envelope, one.visibility, ages, keys, t) - 1.0
    return total


@jit
def _simulate(recipe, envelope, visibility, ages, keys, t):
    # one after the other: side by side, no block of spots could be passed over
    return jax.lax.map(lambda k: _flux(envelope, visibility, ages, recipe.draw(k)[0], t), keys)
