"""Where spots emerge: distributions of latitude, and how to average over them."""

import abc
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from pytreefit import param
from pytreefit.extend import as_data, gauss_legendre, is_traced

from ..component import AbstractComponent
from .inclination import HALF_PI

Hemispheres = Literal["both", "north", "south"]


@lru_cache
def sine_legendre(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre quadrature on (-1, 1) in the arcsine: it tames square roots at both ends."""
    node, weight = gauss_legendre(nodes)
    x, w = np.sin(HALF_PI * node), HALF_PI * weight * np.cos(HALF_PI * node)
    x.flags.writeable = w.flags.writeable = False
    return x, w


class AbstractLatitudeDistribution(AbstractComponent):
    r"""A probability distribution of the latitudes at which spots emerge.

    A new distribution is a class with its parameters as fields, `density` and `intervals`; the
    rest follows by quadrature.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from pytreefit import param
    >>> class CosinePower(AbstractLatitudeDistribution):  # about the equator
    ...     power: jax.Array = param(bounds="[0, inf)")
    ...
    ...     def density(self, phi):
    ...         return jnp.cos(phi) ** self.power
    ...
    ...     def intervals(self):
    ...         return jnp.array([[-jnp.pi / 2, jnp.pi / 2]])
    >>> round(float(CosinePower(power=2.0).total()), 4)  # pi / 2
    1.5708
    """

    def default_priors(self, data):
        """No priors: latitudes are fixed by default."""
        return {}

    @abc.abstractmethod
    def density(self, phi: Float[Array, "..."]) -> Float[Array, "..."]:
        """Probability per radian of latitude in any normalisation, at latitudes of any shape."""

    @abc.abstractmethod
    def intervals(self) -> Float[Array, "k 2"]:
        """Ranges of latitude that hold all spots, disjoint, the density smooth inside each."""

    def total(self) -> Float[Array, ""]:
        """Integral of the density over all its intervals."""
        node, weight = (jnp.asarray(a, float) for a in gauss_legendre(64))
        low, high = self.intervals()[:, :1], self.intervals()[:, 1:]
        half = 0.5 * (high - low)
        density = self.density(0.5 * (low + high) + half * node[None])
        return jnp.sum(half * weight[None] * density)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...] = ()) -> Float[Array, "..."]:
        """Random latitudes in radians, by the inverse of the cumulative distribution.

        They move with the distribution's parameters under `jax.grad`.
        """
        low, high = self.intervals()[:, :1], self.intervals()[:, 1:]
        # edges and middles of 512 cells in each interval: Simpson's rule, then straight lines
        node = jnp.linspace(0.0, 1.0, 1025, dtype=low.dtype)[None]
        phi = low + (high - low) * node
        density = self.density(phi)
        cell = density[:, :-2:2] + 4.0 * density[:, 1::2] + density[:, 2::2]
        mass = jnp.cumsum((cell * (high - low)).ravel())
        edges = phi[:, ::2]
        uniform = jax.random.uniform(key, shape, low.dtype) * mass[-1]
        index = jnp.clip(jnp.searchsorted(mass, uniform, side="right"), 0, mass.size - 1)
        before = jnp.where(index > 0, mass[jnp.maximum(index - 1, 0)], 0.0)
        width = mass[index] - before
        part = (uniform - before) / jnp.where(width > 0.0, width, 1.0)
        left, right = edges[:, :-1].ravel()[index], edges[:, 1:].ravel()[index]
        return left + (right - left) * jnp.clip(part, 0.0, 1.0)


def latitude_rule(
    latitude: AbstractLatitudeDistribution, panels: Float[Array, "p 2"], nodes: int, part=(0, 1)
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    r"""Nodes and weights that average a function of latitude over the spots that are ever seen.

    .. math:: \langle f \rangle = \frac{\int f p\, d\phi}{\int p\, d\phi}
              \approx \sum_j w_j f(\phi_j)

    for an f that is zero outside of the panels and smooth inside each, up to square roots at their
    ends, as they are where a spot starts to be always visible: on every intersection of an
    interval of the distribution with a panel, Gauss-Legendre quadrature in the arcsine of the
    latitude's place in it converges exponentially for those too. Nodes and weights move with the
    edges of bands and panels, so that derivatives with respect to these are right.

    There are as many nodes in each intersection, latitudes in radians, all in one axis; the weights
    of those that do not meet are 0. With ``part = (k, n)``, which may be traced, they are on the
    k-th of n equal parts of the arcsine: all parts together are a rule of n times as many nodes.
    """
    place, rule = (jnp.asarray(a, float)[None, None] for a in gauss_legendre(nodes))
    which, number = (jnp.asarray(k, float) for k in part)
    place = (2.0 * which + 1.0 + place) / number - 1.0
    node = jnp.sin(HALF_PI * place)
    rule = HALF_PI / number * rule * jnp.cos(HALF_PI * place)
    spans, panels = latitude.intervals()[:, None], jnp.asarray(panels, float)[None]
    low = jnp.maximum(spans[..., 0], panels[..., 0])
    high = jnp.minimum(spans[..., 1], panels[..., 1])
    meet = high > low
    low, high = low[..., None], jnp.where(meet, high, low)[..., None]
    half = 0.5 * (high - low)
    phi = 0.5 * (low + high) + half * node
    weight = half * rule * latitude.density(phi) / latitude.total()
    return phi.ravel(), weight.ravel()


class UniformLatitude(AbstractLatitudeDistribution):
    r"""Uniform in latitude, :math:`p(\phi) = 1/\pi`: the default.

    Spots are then densest at the poles; with `UniformOnSphere` their density per area is constant.

    Examples
    --------
    >>> round(float(UniformLatitude().total()), 4)
    3.1416
    """

    def density(self, phi):
        return jnp.ones_like(phi)

    def intervals(self):
        return jnp.asarray([[-HALF_PI, HALF_PI]], float)

    def sample(self, key, shape=()):
        return jax.random.uniform(key, shape, jnp.result_type(float), -HALF_PI, HALF_PI)


class UniformOnSphere(AbstractLatitudeDistribution):
    r"""Uniform over the surface, :math:`p(\phi) = \cos(\phi) / 2`.

    Examples
    --------
    >>> round(float(UniformOnSphere().density(0.5) / UniformOnSphere().density(0.0)), 4)  # cos 0.5
    0.8776
    """

    def density(self, phi):
        return jnp.cos(phi)

    def intervals(self):
        return jnp.asarray([[-HALF_PI, HALF_PI]], float)


def _check_hemispheres(owner: str, hemispheres: str) -> None:
    if not isinstance(hemispheres, str) or hemispheres not in ("both", "north", "south"):
        raise ValueError(
            f"{owner}.hemispheres = {hemispheres!r} is not known: take 'both', 'north' or 'south'."
        )


def _negative(value) -> bool:
    return not is_traced(value) and bool(np.any(np.asarray(value) < 0.0))


def _sides(low, high, hemispheres: Hemispheres) -> Float[Array, "k 2"]:
    """A range of latitude, its mirror image, or both, from south to north."""
    north, south = jnp.stack([low, high]), jnp.stack([-high, -low])
    return jnp.stack({"both": [south, north], "north": [north], "south": [south]}[hemispheres])


class LatitudeBand(AbstractLatitudeDistribution):
    r"""Uniform in latitude between two edges, in one hemisphere or in both.

    .. math:: p(\phi) = \text{const} \quad \text{where } \phi_{low} \le |\phi| \le \phi_{up}

    for ``hemispheres="both"``. For "north" the edges are latitudes with their sign,
    :math:`\phi_{low} \le \phi \le \phi_{up}`, and may lie on either side of the equator; "south"
    is its mirror image, :math:`-\phi_{up} \le \phi \le -\phi_{low}`. Averages over the band are
    differentiable in both edges.

    Parameters
    ----------
    lower, upper
        Edges in radians, lower < upper, in [-pi/2, pi/2]; lower >= 0 for "both".
    hemispheres
        "both", "north" or "south".

    Raises
    ------
    ValueError
        If the band has no width, or reaches across the equator with ``hemispheres="both"``.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> band = LatitudeBand(lower=0.1, upper=0.5)
    >>> [[f"{edge:.1f}" for edge in interval] for interval in band.intervals()]
    [['-0.5', '-0.1'], ['0.1', '0.5']]
    """

    lower: Float[Array, ""] = param(
        unit="rad", bounds=f"[{-HALF_PI!r}, {HALF_PI!r}]", label=r"$\phi_{low}$", doc="lower edge"
    )
    upper: Float[Array, ""] = param(
        unit="rad", bounds=f"[{-HALF_PI!r}, {HALF_PI!r}]", label=r"$\phi_{up}$", doc="upper edge"
    )
    hemispheres: Hemispheres = eqx.field(default="both", static=True)

    def __check_init__(self):
        _check_hemispheres("LatitudeBand", self.hemispheres)
        if not (is_traced(self.lower) or is_traced(self.upper)):
            if not np.all(np.asarray(self.lower) < np.asarray(self.upper)):
                raise ValueError(
                    f"LatitudeBand.lower = {self.lower} rad and .upper = {self.upper} rad leave a "
                    "band of no width. Give a lower edge below the upper one."
                )
        if self.hemispheres == "both" and _negative(self.lower):
            raise ValueError(
                f"LatitudeBand.lower = {self.lower} rad is below the equator, but a band in both "
                "hemispheres is given by its northern edges. Pass lower >= 0, or "
                "hemispheres='north' for edges with their sign."
            )

    def density(self, phi):
        return jnp.ones_like(phi)

    def intervals(self):
        return _sides(self.lower, self.upper, self.hemispheres)


class GaussianBand(AbstractLatitudeDistribution):
    r"""A Gaussian in latitude, cut at the poles, around one latitude or its mirror image too.

    .. math:: p(\phi) \propto e^{-(\phi - \phi_0)^2 / 2 w^2} + e^{-(\phi + \phi_0)^2 / 2 w^2},
              \quad |\phi| \le \pi/2

    for ``hemispheres="both"``; "north" is its first term and "south" its second. Beyond 7 standard
    deviations (1e-12 of all spots) it is cut.

    Parameters
    ----------
    center
        Latitude of the band in radians, in [-pi/2, pi/2]; >= 0 for "both".
    width
        Standard deviation in radians, > 0.
    hemispheres
        "both", "north" or "south".

    Examples
    --------
    >>> belt = GaussianBand(center=0.4, width=0.1)
    >>> bool(belt.density(0.4) > belt.density(0.0))
    True
    """

    center: Float[Array, ""] = param(
        unit="rad", bounds=f"[{-HALF_PI!r}, {HALF_PI!r}]", label=r"$\phi_0$", doc="band's latitude"
    )
    width: Float[Array, ""] = param(
        unit="rad", bounds="(0, inf)", label=r"$w_\phi$", doc="standard deviation of the band"
    )
    hemispheres: Hemispheres = eqx.field(default="both", static=True)

    def __check_init__(self):
        _check_hemispheres("GaussianBand", self.hemispheres)
        if self.hemispheres == "both" and _negative(self.center):
            raise ValueError(
                f"GaussianBand.center = {self.center} rad is below the equator, but bands in both "
                "hemispheres are given by the northern one. Pass center >= 0, or "
                "hemispheres='north' for a latitude with its sign."
            )

    def density(self, phi):
        def bell(center):
            return jnp.exp(-0.5 * ((phi - center) / self.width) ** 2)

        if self.hemispheres == "both":
            return bell(self.center) + bell(-self.center)
        return bell(self.center if self.hemispheres == "north" else -self.center)

    def intervals(self):
        low = jnp.maximum(self.center - 7.0 * self.width, -HALF_PI)
        if self.hemispheres == "both":
            low = jnp.maximum(low, 0.0)
        high = jnp.minimum(self.center + 7.0 * self.width, HALF_PI)
        return _sides(low, high, self.hemispheres)


def _as_pytree(function: Any) -> Any:
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"CallableLatitude.function = {function!r} is no function of latitudes.")
    # a plain function is no leaf that jax.jit takes, a Partial carries it as static data
    kept = isinstance(function, eqx.Module | jax.tree_util.Partial)
    return function if kept else jax.tree_util.Partial(function)


def _as_latitudes(points: Any) -> tuple[float, ...]:
    return tuple(as_data("CallableLatitude.breakpoints", points, "rad", ndim=1).tolist())


class CallableLatitude(AbstractLatitudeDistribution):
    r"""Any density of latitude, :math:`p(\phi) \propto f(\phi)`.

    Parameters
    ----------
    function
        Takes latitudes in radians, any shape, and returns a density >= 0 of that shape in any
        normalisation. With parameters to fit it is a `pytreefit.Model` with ``__call__``.
    breakpoints
        Latitudes in radians where it jumps or has a corner, increasing, inside (-pi/2, pi/2).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> latitude = CallableLatitude(lambda phi: jnp.sin(2.0 * phi) ** 2)
    >>> f"{latitude.total():.6f}"
    '1.570796'
    """

    function: Callable = eqx.field(converter=_as_pytree)
    breakpoints: tuple[float, ...] = eqx.field(default=(), static=True, converter=_as_latitudes)

    def __check_init__(self):
        edges = np.array([-HALF_PI, *self.breakpoints, HALF_PI])
        if not np.all(np.diff(edges) > 0):
            raise ValueError(
                f"CallableLatitude.breakpoints = {self.breakpoints} do not increase inside "
                "(-pi/2, pi/2). Give latitudes in radians, from south to north."
            )
        node = 0.5 * (edges[:-1] + edges[1:])
        value = self.function(jnp.asarray(node, float))
        if jnp.shape(value) != node.shape:
            raise ValueError(
                f"CallableLatitude.function returns shape {jnp.shape(value)} for latitudes of "
                f"shape {node.shape}. It must return one density for each latitude."
            )

    def density(self, phi):
        return self.function(phi)

    def intervals(self):
        edges = np.array([-HALF_PI, *self.breakpoints, HALF_PI])
        return jnp.asarray(np.stack([edges[:-1], edges[1:]], axis=1), float)
