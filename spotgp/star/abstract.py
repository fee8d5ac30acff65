"""What a star with one population of spots and a star with several have in common."""

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pytreefit import Model

from .channels import AbstractChannel
from .visibility import AbstractVisibility

if TYPE_CHECKING:
    from .model import SpotEvolutionModel


class AbstractStar(Model):
    """A star with spots of one or several populations, which do not know of each other.

    The kernel is the sum of those of its `members`.
    """

    visibility: eqx.AbstractVar[AbstractVisibility]

    @property
    @abc.abstractmethod
    def members(self) -> "tuple[SpotEvolutionModel, ...]":
        """The star with each of its populations alone."""

    @property
    def population_names(self) -> tuple[str, ...]:
        """The names of the members in equations; "" where there is one alone, without a name."""
        return ("",)

    def seen_in(
        self, channels: Sequence[AbstractChannel]
    ) -> "list[tuple[SpotEvolutionModel, tuple[AbstractChannel, ...]]]":
        """Each of the members, and what the channels see of its spots."""
        return [(member, tuple(channels)) for member in self.members]

    @property
    @abc.abstractmethod
    def paths(self) -> dict[str, str]:
        """Path of each parameter by its short name: ``{"peq": "visibility.peq", ...}``."""

    @abc.abstractmethod
    def default_priors(self, data) -> dict:
        """Default priors of the free parameters of all components, by path."""

    def channel_priors(self) -> dict:
        """Default priors of those that count in several channels only, by path."""
        return {}

    @abc.abstractmethod
    def start(self, period: float, lifetime: float, sigma_k: float) -> Self:
        """The same star with another rotation period, life time of spots (days) and amplitude."""

    @abc.abstractmethod
    def starts(self, period: float, lifetime: float) -> list[Self]:
        """Stars with this period and life time (days) and several shapes, to start fits from."""

    @abc.abstractmethod
    def scaled(self, factor: float) -> Self:
        """The same star with the amplitude of all its spots multiplied by a factor."""

    @abc.abstractmethod
    def with_latitude(self, latitude) -> Self:
        """The same star with all its spots in another distribution of latitudes."""

    @property
    def peq(self) -> Float[Array, ""]:
        """Rotation period at the equator, days."""
        return self.visibility.peq

    @property
    def kappa(self) -> Float[Array, ""]:
        """Differential rotation."""
        return self.visibility.kappa

    @property
    def inc(self) -> Float[Array, ""]:
        """Inclination, radians."""
        return self.visibility.inc

    @property
    def variance(self) -> Float[Array, ""]:
        r"""The kernel's factor :math:`\sigma_k^2`, the sum of those of all populations."""
        return sum((one.amplitude.variance for one in self.members), jnp.zeros(()))

    @property
    def sigma_k(self) -> Float[Array, ""]:
        """Amplitude of the kernel: of several populations the root of the sum of squares."""
        return jnp.sqrt(self.variance)

    def kernel_support(self) -> Any:
        """The largest lag in days at which spots are correlated."""
        supports = [one.envelope.kernel_support() for one in self.members]
        longest = supports[0]
        for other in supports[1:]:
            longest = jnp.maximum(longest, other)
        return longest

    @property
    def param_keys(self) -> tuple[str, ...]:
        """Short names of the parameters, visibility's first."""
        return tuple(self.paths)

    @property
    def param_dict(self) -> dict[str, float]:
        """Values of the parameters by name, plain floats."""
        return {name: float(self.get(path)) for name, path in self.paths.items()}

    def mean_flux(self) -> Float[Array, ""]:
        r"""Mean of the light curve, relative to the star without spots.

        .. math:: 1 - \sum_p \dot N_p (1 - f_p) \alpha_{max,p}^2 \hat\Gamma_p(0)
                  \langle c_0 \rangle_\phi

        summed over the populations.

        Raises
        ------
        ValueError
            If the model has `sigma_k` only, which does not fix the mean.
        """
        return 1.0 - sum((one.dimming() for one in self.members), jnp.zeros(()))

    def effective_period(self) -> Float[Array, ""]:
        r"""The period in days that dominates the light curve, to compare with other methods.

        .. math:: P_{eff} = 2\pi / \langle\omega_0\rangle, \quad
                  \langle\omega_0\rangle = \frac{\langle c_1^2 \omega_0 \rangle_\phi}
                                                {\langle c_1^2 \rangle_\phi}

        averaged over the populations by their share of the variance. P_eq and kappa are degenerate
        in a fit; this combination is not. Seen from the pole, where nothing varies, it is the limit
        for small inclinations of a uniform disk.
        """
        if len(self.members) == 1:
            return 2.0 * jnp.pi / self.members[0].rotation()[1]
        total = weighted = jnp.zeros(())
        for one in self.members:
            power, omega = one.rotation()
            share = one.variance * one.envelope.R_Gamma(jnp.zeros_like(power)) * power
            total, weighted = total + share, weighted + share * omega
        return 2.0 * jnp.pi * total / weighted
