"""White noise beyond the stated errors: one for each instrument or segment."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from pytreefit import param

from ..component import AbstractComponent


class WhiteNoise(AbstractComponent):
    """White noise of one instrument, or of one segment, beyond its stated errors.

    Parameters
    ----------
    jitter
        Its standard deviation, added in quadrature, in the unit of the data.

    Examples
    --------
    >>> import numpy as np
    >>> from spotgp import *
    >>> star = SpotEvolutionModel(
    ...     envelope=TrapezoidSymmetricEnvelope(lspot=8.0, tau_spot=3.0),
    ...     visibility=VisibilityFunction(peq=5.0, kappa=0.0, inc=1.0),
    ...     sigma_k=0.01,
    ... )
    >>> noise = {"HARPS": WhiteNoise(jitter=2.0), "NIRPS": WhiteNoise(jitter=3.0)}
    >>> process = ChannelProcess(star, {"rv": RadialVelocity(v_eq=2000.0)}, noise=noise)
    >>> process.white_variance(np.array([0, 1, 1])).tolist()  # of points by their instrument
    [4.0, 9.0, 9.0]
    """

    jitter: Float[Array, ""] = param(bounds="[0, inf)", label="$s$", doc="white noise", default=0.0)

    def default_priors(self, data):
        """Half-Cauchy with the median error as its scale."""
        return {"jitter": data.jitter}


def white_variances(noise: Mapping[str, WhiteNoise], label) -> Float[Array, "n"]:
    """Variances of points by their labels, the numbers of the noises in order of their names."""
    jitter = jnp.stack([noise[name].jitter for name in sorted(noise)])
    return jitter[label] ** 2
