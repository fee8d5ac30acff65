"""Spots of one shape that do not all live equally long, nor grow equally large."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from pytreefit import param
from pytreefit.extend import as_number, as_whole_number, check_kind

from ..component import plain, to_float
from .envelope import AbstractEnvelope

# a spot's largest area in millionths of a hemisphere over its life time in days
GNEVYSHEV_WALDMEIER = 10.0


def _nodes(value) -> int:
    return as_whole_number("PopulationEnvelope.nodes", value, 1)


@functools.cache
def _hermite(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of averages over a standard normal distribution."""
    node, weight = np.polynomial.hermite_e.hermegauss(nodes)
    return node, weight / np.sum(weight)


class PopulationEnvelope(AbstractEnvelope):
    r"""Spots whose life times have a log-normal distribution, and whose areas may grow with them.

    Each spot follows one envelope, stretched in time by a factor s of its own,

    .. math::
        \ln s \sim \mathcal{N}(0, \sigma^2), \qquad
        \alpha(t) = \alpha_{\max}\, s^{\gamma / 2}\, \Gamma(t / s)

    so that the autocorrelation and the power spectrum are averages over the spots. With
    :math:`p = 1 + 2 \gamma`

    .. math::
        R(\tau) = \left\langle s^p R_\Gamma(\tau / s) \right\rangle_s
        = e^{p^2 \sigma^2 / 2} \sum_m w_m R_\Gamma(\tau / s_m), \qquad
        \ln s_m = \sigma x_m + p \sigma^2

    on Gauss-Hermite nodes :math:`x_m`, those of the distribution weighted with :math:`s^p`.
    ``alpha_max`` and the amplitude of a star are those of a spot with the median life time.

    `Gamma` and `Gamma_hat` are those of the mean area, and no single spot's: its power spectrum is
    not :math:`|\hat\Gamma|^2`.

    Parameters
    ----------
    envelope
        That of a spot with the median life time.
    width
        Standard deviation sigma of the logarithm of the life time, >= 0.
    area_power
        Exponent gamma of the largest area with the life time, >= 0: 0 for spots of one size, 1 for
        the rule of Gnevyshev and Waldmeier. Fixed by default.
    nodes
        Number of nodes: with few of them the kernel is exactly that of spots with so many
        different life times. Its support grows with the outermost one.

    Raises
    ------
    TypeError
        If the envelope is none, or is a population itself.

    Examples
    --------
    >>> from spotgp import PopulationEnvelope, TrapezoidSymmetricEnvelope
    >>> spot = TrapezoidSymmetricEnvelope(lspot=10.0, tau_spot=4.0)
    >>> envelope = PopulationEnvelope(spot, width=0.5)
    >>> print(f"{spot.R_Gamma(0.0):.3f} {envelope.R_Gamma(0.0):.3f}")  # e^(1/8) times as much
    11.600 13.145
    """

    envelope: AbstractEnvelope
    width: Float[Array, ""] = param(
        bounds="[0, inf)", label=r"$\sigma_{\ln s}$", doc="scatter of the log of life times"
    )
    area_power: Float[Array, ""] = param(
        bounds="[0, inf)", default=0.0, label=r"$\gamma$", doc="exponent of areas with life times"
    )
    nodes: int = eqx.field(static=True, default=8, converter=_nodes)

    def __check_init__(self):
        check_kind("PopulationEnvelope.envelope", self.envelope, AbstractEnvelope)
        if isinstance(self.envelope, PopulationEnvelope):
            raise TypeError(
                "PopulationEnvelope.envelope is a PopulationEnvelope: give that of a single spot."
            )

    @classmethod
    def gnevyshev_waldmeier(
        cls,
        envelope: AbstractEnvelope,
        alpha_max: float,
        width: float,
        rate: float = GNEVYSHEV_WALDMEIER,
        nodes: int = 8,
    ) -> "PopulationEnvelope":
        r"""Life times in proportion to the largest areas, as on the Sun.

        .. math:: T = A / D, \qquad A = 10^6\,(1 - \cos\alpha_{\max})

        in millionths of a hemisphere (Gnevyshev 1938; Waldmeier 1955; Petrovay & van
        Driel-Gesztelyi 1997, Solar Physics 176, 249).

        Parameters
        ----------
        envelope
            Its shape; it is stretched so that the area profile's width, ``Gamma_hat(0)``, is T.
        alpha_max
            Largest angular radius of a spot with the median life time, rad, (0, pi/2].
        width, nodes
            As for the class.
        rate
            D in millionths of a hemisphere a day, > 0.
        """
        check_kind("envelope", envelope, AbstractEnvelope)
        alpha_max, rate = as_number("alpha_max", alpha_max, "rad"), as_number("rate", rate, "1 / d")
        if not 0 < alpha_max <= np.pi / 2:
            raise ValueError(f"alpha_max = {alpha_max:.6g} must be in (0, pi/2] rad.")
        if not rate > 0:
            raise ValueError(f"rate = {rate:.6g} must be > 0 (millionths of a hemisphere a day).")
        lifetime = 1e6 * 2.0 * np.sin(0.5 * alpha_max) ** 2 / rate
        factor = lifetime / float(jnp.real(envelope.Gamma_hat(0.0)))
        stretched = {path: factor * envelope.get(path) for path in envelope.time_scales()}
        return cls(envelope.set(stretched), width, 1.0, nodes)

    def _stretches(self, power) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        """Nodes s and weights of an average of s^power f(s) over the spots."""
        node, weight = (to_float(a) for a in _hermite(self.nodes))
        shift = power * self.width
        return jnp.exp(self.width * (node + shift)), weight * jnp.exp(0.5 * shift * shift)

    def _average(self, power, function, argument):
        """The average of s^power f(s, x), in the shape of x."""
        stretch, weight = self._stretches(power)
        values = jax.vmap(function, (0, None))(stretch, to_float(argument))
        return jnp.tensordot(weight.astype(values.dtype), values, 1, precision="highest")

    def Gamma(self, t):
        area = self._average(self.area_power, lambda s, t: self.envelope.Gamma(t / s) ** 2, t)
        # in units of the peak that all spots together would have
        mean = area / jnp.sum(self._stretches(self.area_power)[1])
        seen = mean > 0.0
        return jnp.where(seen, jnp.sqrt(jnp.where(seen, mean, 1.0)), 0.0)

    def breakpoints(self):
        longest = self._stretches(1.0 + 2.0 * self.area_power)[0][-1]
        return self.envelope.breakpoints() * jax.lax.stop_gradient(longest)

    def Gamma_hat(self, omega):
        return self._average(
            1.0 + self.area_power, lambda s, omega: self.envelope.Gamma_hat(s * omega), omega
        )

    def Gamma_hat_sq(self, omega):
        return self._average(
            1.0 + 2.0 * self.area_power,
            lambda s, omega: s * self.envelope.Gamma_hat_sq(s * omega),
            omega,
        )

    def R_Gamma(self, lag):
        return self._average(
            1.0 + 2.0 * self.area_power, lambda s, lag: self.envelope.R_Gamma(lag / s), lag
        )

    def kernel_support(self):
        longest = self._stretches(1.0 + 2.0 * self.area_power)[0][-1]
        return plain(longest * self.envelope.kernel_support())

    def of_one_spot(self):
        return self.envelope

    def draw(self, key, count):
        """From the distribution itself, cut where the nodes end."""
        node = _hermite(self.nodes)[0][-1]
        end = node + (1.0 + 2.0 * self.area_power) * self.width
        logarithm = self.width * jax.random.truncated_normal(key, -end, end, (count,))
        return jnp.exp(logarithm), jnp.exp(0.5 * self.area_power * logarithm)

    def time_scales(self):
        return tuple(f"envelope.{path}" for path in self.envelope.time_scales())

    def default_priors(self, data):
        """Those of the envelope, and a uniform one of the width up to 1."""
        own = {f"envelope.{path}": p for path, p in self.envelope.default_priors(data).items()}
        return own | {"width": dist.Uniform(0.0, 1.0)}

    def start(self, period, lifetime):
        return self.set({"envelope": self.envelope.start(period, lifetime)})

    def starts(self, period, lifetime):
        return tuple(self.set({"envelope": e}) for e in self.envelope.starts(period, lifetime))
