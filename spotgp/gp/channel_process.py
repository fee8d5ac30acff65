r"""The Gaussian process that the data of several channels are a draw of.

Point j, of channel c and instrument q, is

.. math::
    y_j = m_c(t_j) + \beta_q + f_c(t_j) + \epsilon_j, \qquad
    \mathrm{Cov}[f_c(t), f_{c'}(t')] = k_{cc'}(t' - t), \quad
    \epsilon_j \sim \mathcal{N}(0, \sigma_j^2 + s_q^2)

with the offset of each instrument integrated out under a flat prior.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Model
from pytreefit.extend import as_mapping, check_choice, check_kind

from ..kernel.channels import ChannelTables, check_star, hardness
from ..kernel.covariance import kernel_error
from ..kernel.place import Place
from ..star.abstract import AbstractStar
from ..star.channels import AbstractChannel
from .noise import WhiteNoise, white_variances


class ChannelProcess(Model):
    """Star, channels, means and white noise: what a `ChannelSolver` fits.

    Parameters
    ----------
    model
        The star.
    channels
        What its spots do to the data of each channel.
    means
        Functions of times in days by channel, such as a planet's velocity; the others are 0.
    noise
        White noise by instrument.

    Examples
    --------
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> channels = {"flux": FluxBand(), "rv": RadialVelocity(v_eq=2000.0)}
    >>> process = ChannelProcess(star, channels, means={"rv": LinearMean(slope=0.1)})
    >>> float(process.support())  # days: the plateau and both ramps
    14.0
    """

    model: AbstractStar
    channels: dict[str, AbstractChannel]
    means: dict[str, Callable] = eqx.field(default_factory=dict)
    noise: dict[str, WhiteNoise] = eqx.field(default_factory=dict)

    # see `pytreefit.jit`
    compiles_quickly: ClassVar[bool] = True
    # further processes, of which there are none
    terms: ClassVar[dict[str, Any]] = {}

    def __check_init__(self):
        check_star("ChannelProcess", self.model, as_mapping("channels", self.channels))
        for name, mean in as_mapping("means", self.means).items():
            check_choice("means: channel", name, tuple(self.channels))
            if not callable(mean) or isinstance(mean, type):
                raise TypeError(f"means[{name!r}] = {mean!r} is no function of times.")
            if getattr(mean, "multiplies", False):
                raise ValueError(
                    f"means[{name!r}] is a {type(mean).__name__}, which multiplies the star's "
                    "light: use it in a GPSolver, or leave the transits out of the light curve."
                )
        for name, noise in as_mapping("noise", self.noise).items():
            check_kind(f"noise[{name!r}]", noise, WhiteNoise)

    def ordered(self) -> tuple[AbstractChannel, ...]:
        """The channels in the order of their names, which is that of their numbers."""
        return tuple(self.channels[name] for name in sorted(self.channels))

    def mean_at(self, place: Place) -> Float[Array, "n"]:
        """The mean functions at times in days, without the free columns."""
        total = jnp.zeros_like(place.time)
        for number, name in enumerate(sorted(self.channels)):
            if name in self.means:
                own = place.channel == number
                # at its own times only: elsewhere it may not be finite, nor then its gradient
                one = jnp.max(jnp.where(own, place.time, -jnp.inf), initial=-jnp.inf)
                time = jnp.where(own, place.time, jnp.where(jnp.any(own), one, 0.0))
                mean = jnp.asarray(self.means[name](time), total.dtype)
                total = jnp.where(own, mean, total)
        return total

    def white_variance(self, instrument) -> Float[Array, "n"]:
        """Variance of the white noise beyond the stated errors, by the number of instruments."""
        return white_variances(self.noise, instrument)

    def support(self) -> Float[Array, ""]:
        """Days beyond which two spots' light is not correlated."""
        return jnp.asarray(self.model.kernel_support(), jnp.result_type(float))

    def tables(self, data, reach: float, tolerance: float) -> ChannelTables:
        """Makers of tables for the lags up to ``reach`` days, see `kernel_error`.

        As fine as the most exacting channel asks for.
        """
        time, _, error = (np.asarray(array, float) for array in data.measured())
        noise = error**2 + np.asarray(self.white_variance(data.instrument))
        share, errors = tolerance / len(data.channels), []
        for number, (name, scale) in enumerate(data.scales().items()):
            own = np.asarray(data.channel) == number
            hard = hardness(self.model, self.channels[name])
            given = time[own], noise[own], scale.scatter**2, reach, share, hard
            errors.append(kernel_error(*given))
        values = (jnp.asarray(x, data.time.dtype) for x in (min(errors), tolerance))
        return ChannelTables(*values, data.epoch)
