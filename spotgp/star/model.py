"""A spotted star: envelope, visibility, latitudes and the strength of its spots."""

import abc
import itertools
from collections import Counter
from typing import Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import param

from ..component import AbstractComponent, short_value
from .abstract import AbstractStar
from .envelope import AbstractEnvelope
from .latitude import AbstractLatitudeDistribution, UniformLatitude, latitude_rule
from .visibility import AbstractVisibility

MEAN_NODES = 96
_PARTS = ("visibility", "envelope", "amplitude", "latitude")


class AbstractAmplitude(AbstractComponent):
    """How strongly spots modulate the flux: `sigma_k`, or the parameters that make it up."""

    sigma_k: eqx.AbstractVar[Array]

    @property
    def population(self) -> "SpotPopulation | None":
        """Number, contrast and size of the spots, where these are known."""
        return None

    @abc.abstractmethod
    def start(self, sigma_k: float) -> Self:
        """The same component with another kernel amplitude, to start a fit from."""

    @property
    @abc.abstractmethod
    def variance(self) -> Float[Array, ""]:
        r"""The kernel's factor :math:`\sigma_k^2`."""


class Amplitude(AbstractAmplitude):
    r"""The amplitude of the kernel by itself."""

    sigma_k: Float[Array, ""] = param(
        bounds="(0, inf)", label=r"$\sigma_k$", doc="amplitude of the kernel"
    )

    def default_priors(self, data):
        return {"sigma_k": data.amplitude}

    def start(self, sigma_k):
        return Amplitude(sigma_k)

    @property
    def variance(self):
        return self.sigma_k**2


class SpotPopulation(AbstractAmplitude):
    r"""The amplitude from the number, contrast and size of the spots.

    .. math:: \sigma_k^2 = \dot N (1 - f)^2 \alpha_{max}^4

    A spot with a brightness f above 1 is a facula.
    """

    nspot_rate: Float[Array, ""] = param(
        unit="1 / d", bounds="(0, inf)", label=r"$\dot N$", doc="spots per day, whole surface"
    )
    fspot: Float[Array, ""] = param(
        bounds="[0, inf)", label=r"$f_{spot}$", doc="brightness relative to the photosphere"
    )
    alpha_max: Float[Array, ""] = param(
        unit="rad",
        bounds=f"(0, {0.5 * np.pi!r})",
        label=r"$\alpha_{max}$",
        doc="largest angular radius of a spot",
    )

    @property
    def population(self):
        return self

    def default_priors(self, data):
        """Of the rate only: size and contrast are degenerate with it, and fixed."""
        return {"nspot_rate": super().default_priors(data)["nspot_rate"]}

    def start(self, sigma_k):
        """With the rate that gives this amplitude; unchanged if spots are as bright as the star."""
        one = float((1.0 - self.fspot) ** 2 * self.alpha_max**4)
        return self.set({"nspot_rate": sigma_k**2 / one}) if one > 0 else self

    @property
    def variance(self):
        return self.nspot_rate * (1.0 - self.fspot) ** 2 * self.alpha_max**4

    @property
    def sigma_k(self) -> Float[Array, ""]:
        """The amplitude of the kernel."""
        return jnp.sqrt(self.nspot_rate) * jnp.abs(1.0 - self.fspot) * self.alpha_max**2


class SpotEvolutionModel(AbstractStar):
    r"""A star whose spots emerge at random, grow, decay and rotate in and out of view.

    Its light curve is a Gaussian process in the limit of many spots, with the kernel

    .. math:: k(\tau) = \sigma_k^2 R_\Gamma(\tau)
              \left\langle A(\phi, \omega_0(\phi) \tau) \right\rangle_\phi .

    The amplitude is `sigma_k`, or follows from the three parameters of the spots,
    :math:`\sigma_k^2 = \dot N (1 - f)^2 \alpha_{max}^4`. Paths of parameters have the form
    ``"visibility.peq"``, ``"envelope.lspot"``, ``"amplitude.sigma_k"``, ``"latitude.lower"``; the
    property `paths` lists them by short name.

    Parameters
    ----------
    envelope
        How a spot's size evolves, an `AbstractEnvelope`.
    visibility
        What is seen of it, an `AbstractVisibility`.
    sigma_k
        Amplitude of the kernel, > 0; or else all of the next three:
    nspot_rate
        Spots that emerge per day on the whole surface, > 0.
    fspot
        Brightness of a spot relative to the photosphere, >= 0.
    alpha_max
        Largest angular radius of a spot in radians, in (0, pi/2).
    latitude
        Where spots emerge, an `AbstractLatitudeDistribution`; uniform in latitude by default.

    Raises
    ------
    ValueError
        If the amplitude is given in both ways, in none, or in part.
    TypeError
        If a component is of the wrong kind.

    Examples
    --------
    >>> from spotgp import TrapezoidSymmetricEnvelope, VisibilityFunction
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=10.0, tau_spot=4.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.1, inc=1.2),
    ...     sigma_k=0.003,
    ... )
    >>> float(star.set({"visibility.peq": 6.0}).peq)
    6.0
    """

    envelope: AbstractEnvelope
    visibility: AbstractVisibility
    amplitude: AbstractAmplitude
    latitude: AbstractLatitudeDistribution

    def __init__(
        self,
        envelope: AbstractEnvelope,
        visibility: AbstractVisibility,
        sigma_k=None,
        *,
        nspot_rate=None,
        fspot=None,
        alpha_max=None,
        latitude: AbstractLatitudeDistribution | None = None,
    ):
        self.envelope = envelope
        self.visibility = visibility
        self.amplitude = chosen_amplitude(
            "SpotEvolutionModel", sigma_k, nspot_rate, fspot, alpha_max
        )
        self.latitude = UniformLatitude() if latitude is None else latitude

    def __check_init__(self):
        for name, kind in (
            ("envelope", AbstractEnvelope),
            ("visibility", AbstractVisibility),
            ("amplitude", AbstractAmplitude),
            ("latitude", AbstractLatitudeDistribution),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise TypeError(
                    f"SpotEvolutionModel.{name} is a {type(value).__name__} but must be an "
                    f"{kind.__name__}. Build one and pass that."
                )

    @property
    def members(self):
        return (self,)

    @property
    def variance(self) -> Float[Array, ""]:
        r"""The kernel's factor :math:`\sigma_k^2`."""
        return self.amplitude.variance

    @property
    def sigma_k(self) -> Float[Array, ""]:
        """Amplitude of the kernel, given or from the three parameters of the spots."""
        return self.amplitude.sigma_k

    @property
    def paths(self) -> dict[str, str]:
        """Path of each parameter by its name: ``{"peq": "visibility.peq", ...}``.

        Where two components have a parameter of one name, the name is the path itself.
        """
        found = [
            (row[0].rpartition(".")[2], f"{part}.{row[0]}")
            for part in _PARTS
            for row in getattr(self, part).parameters()
        ]
        count = Counter(name for name, _ in found)
        return {(name if count[name] == 1 else path): path for name, path in found}

    def default_priors(self, data) -> dict:
        """Default priors of the free parameters of all components, by path."""
        return {
            f"{part}.{name}": prior
            for part in _PARTS
            for name, prior in getattr(self, part).default_priors(data).items()
        }

    def start(self, period: float, lifetime: float, sigma_k: float) -> Self:
        """The same star with another rotation period, life time of spots (days) and amplitude."""
        return self.set(
            {
                "envelope": self.envelope.start(period, lifetime),
                "visibility": self.visibility.start(period),
                "amplitude": self.amplitude.start(sigma_k),
            }
        )

    def starts(self, period: float, lifetime: float) -> list[Self]:
        """Stars with this period and life time (days) and several shapes, to start fits from."""
        pairs = itertools.product(
            self.envelope.starts(period, lifetime), self.visibility.starts(period)
        )
        return [self.set({"envelope": e, "visibility": v}) for e, v in pairs]

    def scaled(self, factor):
        amplitude = self.amplitude.start(float(factor * self.amplitude.sigma_k))
        return self.set({"amplitude": amplitude})

    def with_latitude(self, latitude):
        return eqx.tree_at(lambda star: star.latitude, self, latitude)

    def dimming(self) -> Float[Array, ""]:
        """By how much the spots darken the star on average; see `mean_flux`."""
        spots = self.amplitude.population
        if spots is None:
            raise ValueError(
                "mean_flux needs nspot_rate, fspot and alpha_max: sigma_k alone does not fix the "
                "mean. Build the model with these three instead of sigma_k."
            )
        phi, weight = latitude_rule(self.latitude, self.visibility.panels(), MEAN_NODES)
        seen = jnp.sum(weight * self.visibility.mean_visibility(phi))
        area = jnp.real(self.envelope.Gamma_hat(jnp.zeros_like(spots.fspot)))
        return spots.nspot_rate * (1.0 - spots.fspot) * spots.alpha_max**2 * area * seen

    def rotation(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Power of the first harmonic, and the mean angular velocity weighted by it, rad / d."""
        phi, weight = latitude_rule(self.latitude, self.visibility.panels(), MEAN_NODES)
        power = weight * self.visibility.cn_squared((1,), phi)[:, 0]
        # seen from the pole, where nothing varies, in proportion to what a uniform disk has nearby
        power = jnp.where(jnp.sum(power) > 0.0, power, weight * jnp.cos(phi) ** 2)
        total = jnp.sum(power)
        return total, jnp.sum(power * self.visibility.omega0(phi)) / total

    def get_sympy(self) -> dict:
        """Show all equations of the model and its components, and return them.

        They are SymPy expressions by name; None where a quantity is numerical.
        """
        import sympy as sp

        from ..kernel.symbolic import show

        equations = self.envelope.get_sympy() | self.visibility.get_sympy()
        sigma, radius, lag = sp.Symbol("sigma_k"), sp.Function("R_Gamma"), sp.Symbol("tau")
        n, phi, density = sp.Symbol("n", integer=True), sp.Symbol("phi"), sp.Function("p")
        harmonic, omega = sp.Function("c"), sp.Function("omega_0")
        series = harmonic(0, phi) ** 2 + sp.Sum(
            2 * harmonic(n, phi) ** 2 * sp.cos(n * omega(phi) * lag), (n, 1, sp.oo)
        )
        average = sp.Integral(density(phi) * series, (phi, -sp.pi / 2, sp.pi / 2))
        own = {"k(tau)": sigma**2 * radius(lag) * average}
        if self.amplitude.population is not None:
            rate, contrast, alpha = sp.symbols("nspot_rate f_spot alpha_max", positive=True)
            own["sigma_k"] = sp.sqrt(rate) * (1 - contrast) * alpha**2
        return equations | show(type(self).__name__, own)

    def __repr__(self):
        lines = [
            f"envelope={type(self.envelope).__name__}({self.envelope.param_dict})",
            f"visibility={self.visibility!r}",
            *(f"{n}={short_value(getattr(self.amplitude, n))}" for n in self.amplitude.param_keys),
        ]
        if not isinstance(self.latitude, UniformLatitude):
            lines.append(f"latitude={self.latitude!r}")
        return "SpotEvolutionModel(\n  " + ",\n  ".join(lines) + "\n)"


def chosen_amplitude(owner: str, sigma_k, nspot_rate, fspot, alpha_max) -> AbstractAmplitude:
    """The amplitude by itself or of three parameters; ValueError for both, none or a part."""
    spots = {"nspot_rate": nspot_rate, "fspot": fspot, "alpha_max": alpha_max}
    given = [name for name, value in spots.items() if value is not None]
    missing = [name for name, value in spots.items() if value is None]
    if sigma_k is not None and not given:
        return Amplitude(sigma_k)
    if sigma_k is None and not missing:
        return SpotPopulation(**spots)
    if sigma_k is not None:
        problem = f"got sigma_k and {', '.join(given)}, which would set the amplitude twice"
    elif given:
        problem = f"got {', '.join(given)} without {', '.join(missing)}"
    else:
        problem = "got neither"
    raise ValueError(
        f"{owner} needs its amplitude either as sigma_k or as nspot_rate, fspot and "
        f"alpha_max, but {problem}. Pass exactly one of the two."
    )
