"""A star with several populations of spots: one axis, one rotation, spots of several kinds."""

import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from pytreefit import Model, param
from pytreefit.extend import as_mapping, check_kind, walk

from ..component import short_value
from .abstract import AbstractStar
from .channels import AbstractChannel, AbstractLimbDarkening
from .envelope import AbstractEnvelope
from .latitude import AbstractLatitudeDistribution, UniformLatitude
from .model import AbstractAmplitude, SpotEvolutionModel, chosen_amplitude
from .visibility import AbstractPolynomialVisibility, AbstractVisibility

_PARTS = ("envelope", "amplitude", "latitude", "limb")


class Population(Model):
    """Spots of one kind: how they evolve, how strong they are, and where they emerge.

    Parameters
    ----------
    envelope
        How a spot's size evolves, an `AbstractEnvelope`.
    sigma_k
        Amplitude of their kernel, > 0, relative flux.
    nspot_rate, fspot, alpha_max
        In its place, spots per day, their contrast and their largest radius in rad, as for
        `SpotEvolutionModel`. With ``fspot`` above 1 they are faculae.
    latitude
        Where they emerge, an `AbstractLatitudeDistribution`; uniform in latitude by default.
    limb
        Their own foreshortened brightness, an `AbstractLimbDarkening`, in channels without one:
        faculae are brighter at the limb (negative ``u1``). None is that of the star.
    magnetic
        Suppressed convection and indicators of activity per light that they take away, relative
        to what the channels' `convective` and `scale` say. Negative for faculae, which are bright.
        In a `ChannelSolver` it is free by default unless it is 1.

    Raises
    ------
    ValueError, TypeError
        As by `SpotEvolutionModel`.

    Examples
    --------
    >>> from spotgp import ExponentialEnvelope
    >>> faculae = Population(ExponentialEnvelope(tau_spot=20.0), 0.004, magnetic=-5.0)
    >>> float(faculae.magnetic)
    -5.0
    """

    envelope: AbstractEnvelope
    amplitude: AbstractAmplitude
    latitude: AbstractLatitudeDistribution
    limb: AbstractLimbDarkening | None
    magnetic: Float[Array, ""] = param(
        default=1.0, label="$m$", doc="magnetic area per light taken away, relative"
    )

    def __init__(
        self,
        envelope: AbstractEnvelope,
        sigma_k=None,
        *,
        nspot_rate=None,
        fspot=None,
        alpha_max=None,
        latitude: AbstractLatitudeDistribution | None = None,
        limb: AbstractLimbDarkening | None = None,
        magnetic: Any = 1.0,
    ):
        self.envelope = envelope
        self.amplitude = chosen_amplitude("Population", sigma_k, nspot_rate, fspot, alpha_max)
        self.latitude = UniformLatitude() if latitude is None else latitude
        self.limb = limb
        self.magnetic = magnetic

    def __check_init__(self):
        check_kind("Population.envelope", self.envelope, AbstractEnvelope)
        check_kind("Population.amplitude", self.amplitude, AbstractAmplitude)
        check_kind("Population.latitude", self.latitude, AbstractLatitudeDistribution)
        check_kind("Population.limb", self.limb, AbstractLimbDarkening | None)

    def default_priors(self, data) -> dict[str, dist.Distribution]:
        """Those that the components declare, by path."""
        found = {}
        for part in _PARTS:
            component = getattr(self, part)
            own = {} if component is None else component.default_priors(data)
            found |= {f"{part}.{name}": prior for name, prior in own.items()}
        return found

    def __repr__(self):
        shown = [f"{type(self.envelope).__name__}({self.envelope.param_dict})"]
        shown += [
            f"{n}={short_value(getattr(self.amplitude, n))}" for n in self.amplitude.param_keys
        ]
        if not isinstance(self.latitude, UniformLatitude):
            shown.append(f"latitude={self.latitude!r}")
        if self.limb is not None:
            shown.append(f"limb={self.limb!r}")
        return f"Population({', '.join(shown)}, magnetic={short_value(self.magnetic)})"


class _OwnLaw(AbstractPolynomialVisibility):
    """A star seen with another law of limb darkening."""

    star: AbstractVisibility
    limb: AbstractLimbDarkening

    @property
    def peq(self):
        return self.star.peq

    @property
    def kappa(self):
        return self.star.kappa

    @property
    def inc(self):
        return self.star.inc

    def polynomial(self):
        return self.limb.polynomial()

    def foreshortening(self, phi):
        return self.star.foreshortening(phi)

    def omega0(self, phi):
        return self.star.omega0(phi)


class SpottedStar(AbstractStar):
    r"""A star with several populations of spots, which share its axis and its rotation.

    Dark spots and faculae, two belts of latitude, short and long lives: the populations emerge
    independently of each other, so that their kernels add up,

    .. math:: k(\tau) = \sum_p \sigma_{k,p}^2 R_{\Gamma,p}(\tau)
              \left\langle A_p(\phi, \omega_0(\phi) \tau) \right\rangle_{\phi,p} .

    It stands wherever a `SpotEvolutionModel` does. Paths of parameters have the form
    ``"visibility.peq"`` and ``"populations.faculae.envelope.lspot"``, with the short names ``peq``
    and, where several populations have one, ``faculae.lspot``.

    Parameters
    ----------
    visibility
        What is seen of the star, an `AbstractVisibility`.
    populations
        The `Population` of each kind of spots by name.

    Raises
    ------
    ValueError, TypeError
        Without populations, for names with a dot, and for what is no visibility or population.

    Examples
    --------
    >>> from spotgp import *
    >>> star = SpottedStar(
    ...     VisibilityFunction(peq=5.0, kappa=0.1, inc=1.0),
    ...     {
    ...         "spots": Population(TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0), 0.01),
    ...         "faculae": Population(ExponentialEnvelope(tau_spot=20.0), 0.004, magnetic=-5.0),
    ...     },
    ... )
    >>> star.param_keys[3:6]
    ('lspot', 'spots.tau_spot', 'spots.sigma_k')
    """

    visibility: AbstractVisibility
    populations: dict[str, Population] = eqx.field(
        converter=lambda given: as_mapping("SpottedStar.populations", given)
    )

    def __check_init__(self):
        check_kind("SpottedStar.visibility", self.visibility, AbstractVisibility)
        if not self.populations:
            raise ValueError(
                "SpottedStar.populations is empty: give at least one by name, such as "
                "{'spots': Population(...)}."
            )
        for name, one in self.populations.items():
            check_kind("SpottedStar.populations: name", name, str)
            if "." in name or not name:
                raise ValueError(
                    f"SpottedStar.populations: the name {name!r} is empty or has a dot; give it "
                    "another one."
                )
            check_kind(f"SpottedStar.populations[{name!r}]", one, Population)

    @property
    def members(self):
        return tuple(self._member(one) for one in self.populations.values())

    @property
    def population_names(self):
        return tuple(self.populations)

    def _member(self, one: Population) -> SpotEvolutionModel:
        visibility = self.visibility if one.limb is None else _OwnLaw(self.visibility, one.limb)
        member = SpotEvolutionModel(one.envelope, visibility, 1.0, latitude=one.latitude)
        return eqx.tree_at(lambda star: star.amplitude, member, one.amplitude)

    def seen_in(self, channels):
        def seen(channel, one):
            # what is simulated may be a function
            known = isinstance(channel, AbstractChannel)
            return channel.of_population(one.magnetic) if known else channel

        of_each = zip(self.members, self.populations.values(), strict=True)
        return [(member, tuple(seen(c, one) for c in channels)) for member, one in of_each]

    @property
    def paths(self):
        paths = [node.path for node in walk(self) if node.info is not None]
        paths.sort(key=lambda path: not path.startswith("visibility."))
        last = [path.rpartition(".")[2] for path in paths]
        names = zip(paths, last, strict=True)
        return {(name if last.count(name) == 1 else short_of(path)): path for path, name in names}

    def default_priors(self, data):
        seen = self.visibility.default_priors(data)
        found = {f"visibility.{name}": prior for name, prior in seen.items()}
        for name, one in self.populations.items():
            own = one.default_priors(data).items()
            found |= {f"populations.{name}.{path}": prior for path, prior in own}
        return found

    def channel_priors(self):
        found = {}
        for name, one in self.populations.items():
            value = np.asarray(one.magnetic)
            if value != 1.0:
                prior = dist.Normal(0.0, 10.0 + abs(float(value)))
                found[f"populations.{name}.magnetic"] = prior
        return found

    def _changed(self, of_each: Mapping[str, Mapping[str, Any]]) -> "SpottedStar":
        return self.set(
            {f"populations.{n}.{part}": x for n, own in of_each.items() for part, x in own.items()}
        )

    def _lifetimes(self, lifetime: float) -> dict[str, float]:
        """Life times by population in the ratios that they have now, about a mean of theirs."""
        own = {
            name: float(jnp.real(one.envelope.Gamma_hat(0.0)))
            for name, one in self.populations.items()
        }
        mean = math.exp(sum(math.log(x) for x in own.values()) / len(own))
        return {name: lifetime * x / mean for name, x in own.items()}

    def start(self, period, lifetime, sigma_k):
        star = self.scaled(sigma_k / float(self.sigma_k))
        lives = self._lifetimes(lifetime).items()
        changed = {
            name: {"envelope": star.populations[name].envelope.start(period, life)}
            for name, life in lives
        }
        return star._changed(changed).set({"visibility": self.visibility.start(period)})

    def starts(self, period, lifetime):
        shapes = {
            name: self.populations[name].envelope.starts(period, life)
            for name, life in self._lifetimes(lifetime).items()
        }
        stars = []
        for k in range(max(map(len, shapes.values()))):
            star = self._changed({n: {"envelope": s[k % len(s)]} for n, s in shapes.items()})
            stars += [star.set({"visibility": v}) for v in self.visibility.starts(period)]
        return stars

    def scaled(self, factor):
        own = {name: one.amplitude for name, one in self.populations.items()}
        return self._changed(
            {n: {"amplitude": a.start(float(factor * a.sigma_k))} for n, a in own.items()}
        )

    def with_latitude(self, latitude):
        return eqx.tree_at(
            lambda star: [one.latitude for one in star.populations.values()],
            self,
            [latitude] * len(self.populations),
        )

    def get_sympy(self) -> dict:
        """Show the equations of the star and of each population, and return them.

        They are SymPy expressions by name, those of each population's envelope in a dictionary by
        its name. In the kernel A is the average of the visibility's autocorrelation over latitude.
        """
        import sympy as sp

        from ..kernel.symbolic import show

        found, lag, total = self.visibility.get_sympy(), sp.Symbol("tau"), sp.S.Zero
        for name, one in self.populations.items():
            found[name] = one.envelope.get_sympy()
            envelope, average = (sp.Function(f"{letter}_{name}") for letter in ("R", "A"))
            total += sp.Symbol(f"sigma_{name}") ** 2 * envelope(lag) * average(lag)
        return found | show(type(self).__name__, {"k(tau)": total})

    def __repr__(self):
        lines = [repr(self.visibility), *(f"{k}={v!r}" for k, v in self.populations.items())]
        return "SpottedStar(\n  " + ",\n  ".join(lines) + "\n)"


def short_of(path: str) -> str:
    """A path without what stands between a population and its parameter; others as they are."""
    parts = path.split(".")
    if "populations" not in parts[:-2]:
        return path
    return f"{parts[parts.index('populations') + 1]}.{parts[-1]}"
