r"""Phase functions: how much light the dust scatters into each direction.

All are functions :math:`p(c)` of the cosine of the scattering angle, :math:`c = \cos\theta`, +1
forward, per steradian once a disk has normalised them. The free ones are in `phase_curves`,
those of polarised light in `polarization`.
"""

import abc
from collections.abc import Callable, Sequence
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Model, param
from pytreefit.extend import gauss_legendre, is_traced

PhaseNormalization = Literal["sphere", "right_angle"]
Curve = Callable[[Float[Array, "..."]], Float[Array, "..."]]


class AbstractPhaseFunction(Model):
    r"""Scattered light against the cosine of the scattering angle.

    A new phase function is a class with its parameters as fields and one method, `__call__`, in
    any normalisation: a disk brings all of them to the same one through `factor`. Forward
    scattering is :math:`\cos\theta = +1`.

    Examples
    --------
    >>> class Rayleigh(AbstractPhaseFunction):
    ...     def __call__(self, cos_scatter):
    ...         return 1.0 + cos_scatter**2
    >>> round(float(Rayleigh().factor("sphere")), 6)  # 3 / (16 pi)
    0.059683
    """

    @abc.abstractmethod
    def __call__(self, cos_scatter: Float[Array, "..."]) -> Float[Array, "..."]:
        """Light per steradian at the cosine of the scattering angle, -1 to 1, of its shape."""

    def prepared(self) -> Curve:
        """The same curve with all that does not depend on the angle worked out once."""
        return self

    def integral(self) -> Float[Array, ""]:
        r"""Integral over the sphere, :math:`2\pi \int_{-1}^{1} p(c)\,dc`."""
        node, weight = (jnp.asarray(a, float) for a in gauss_legendre(200, 0.0, 1.0))
        curve = self.prepared()
        # c = 1 - 2 s^2 crowds the nodes where forward peaks are
        return 8.0 * jnp.pi * jnp.sum(weight * node * curve(1.0 - 2.0 * node**2))

    def right_angle(self) -> Float[Array, ""]:
        """Value at a scattering angle of 90 deg."""
        return self.prepared()(jnp.zeros(()))

    def factor(self, normalization: PhaseNormalization) -> Float[Array, ""]:
        """What brings the curve to a normalisation.

        Parameters
        ----------
        normalization
            "sphere": the integral over all directions is 1, so a disk's flux means the same
            amount of scattering dust whatever its phase function. "right_angle": the value at
            90 deg is 1, for free shapes whose unseen part would decide the integral.
        """
        return 1.0 / (self.integral() if normalization == "sphere" else self.right_angle())

    @property
    def shown(self) -> str | None:
        """Name of the curve that stands for all where one is enough."""
        return None

    def factors(
        self, names: Sequence[str | None], normalization: PhaseNormalization
    ) -> Float[Array, " curves"]:
        """What brings each of several `curves` to a normalisation."""
        return jnp.full(len(names), self.factor(normalization))

    def curves(self, names: Sequence[str | None]) -> Callable[[Float[Array, "..."]], tuple]:
        """A function of the cosine that returns the values of several curves, a tuple.

        A phase function with more than one curve, as of polarised light or of several bands,
        returns those that it is asked for. All share its normalisation, unless `factors` says
        otherwise.

        Parameters
        ----------
        names
            Of the curves; None is the phase function itself.

        Raises
        ------
        TypeError
            For a curve that it does not have.
        """
        for name in names:
            if name is not None:
                raise TypeError(
                    f"{type(self).__name__} has no curve {name!r}. For images of the total and "
                    "the polarised intensity take Polarized(phase)."
                )
        return _Repeated(self.prepared(), len(names))


class _Repeated(eqx.Module):
    curve: Curve
    number: int = eqx.field(static=True)

    def __call__(self, cos_scatter):
        return (self.curve(cos_scatter),) * self.number


class Isotropic(AbstractPhaseFunction):
    r"""Light scattered equally into all directions, :math:`p = 1 / 4\pi`.

    Examples
    --------
    >>> round(float(Isotropic()(0.5)), 4)  # 1 / (4 pi)
    0.0796
    """

    def __call__(self, cos_scatter):
        return jnp.full_like(cos_scatter, 0.25 / np.pi)

    def integral(self):
        return jnp.ones(())


def _henyey_greenstein(g, cos_scatter):
    s = jnp.sqrt(1.0 / (1.0 + g**2 - 2.0 * g * cos_scatter))
    return (1.0 - g**2) * (0.25 / np.pi) * (s * s * s)


class HenyeyGreenstein(AbstractPhaseFunction):
    r"""The Henyey-Greenstein phase function.

    .. math:: p(c) = \frac{1}{4\pi} \frac{1 - g^2}{(1 + g^2 - 2 g c)^{3/2}}

    Parameters
    ----------
    g
        Asymmetry, the mean cosine of the scattering angle, -1 < g < 1; positive scatters forward.

    References
    ----------
    Henyey & Greenstein 1941, ApJ 93, 70.

    Examples
    --------
    >>> phase = HenyeyGreenstein(g=0.3)
    >>> round(float(phase(1.0) / phase(-1.0)), 3)  # forwards over backwards
    6.405
    """

    g: Float[Array, ""] = param(bounds="(-1, 1)", label="$g$", doc="asymmetry, mean of cos(angle)")

    def __call__(self, cos_scatter):
        return _henyey_greenstein(self.g, cos_scatter)

    def integral(self):
        return jnp.ones(())


class MixedHenyeyGreenstein(AbstractPhaseFunction):
    r"""Weighted sum of any number of Henyey-Greenstein functions.

    .. math:: p(c) = \frac{\sum_k w_k p_{HG}(c; g_k)}{\sum_k w_k}

    Parameters
    ----------
    g
        Asymmetries, shape (n,), each in (-1, 1).
    weight
        Weights, shape (n,), >= 0 with a positive sum; only their ratios matter, so fix one of them
        in a fit. `TwoHenyeyGreenstein` has the single weight that papers use.

    Examples
    --------
    >>> phase = MixedHenyeyGreenstein(g=[0.8, 0.0], weight=[0.3, 0.7])
    >>> round(float(phase.integral()), 6)
    1.0
    """

    g: Float[Array, " n"] = param(shape=None, bounds="(-1, 1)", label="$g$", doc="asymmetries")
    weight: Float[Array, " n"] = param(
        shape=None, bounds="[0, inf)", label="$w$", doc="weights, up to a common factor"
    )

    def __check_init__(self):
        if self.g.shape != self.weight.shape:
            raise ValueError(
                f"MixedHenyeyGreenstein.g has shape {self.g.shape} and .weight has shape "
                f"{self.weight.shape}. Give one weight for each asymmetry."
            )
        weight = self.weight
        if not is_traced(weight) and not np.sum(weight) > 0:
            raise ValueError(
                f"MixedHenyeyGreenstein.weight = {weight} has no positive sum. Give at least one "
                "asymmetry a weight above 0."
            )

    @classmethod
    def zodiacal(cls) -> "MixedHenyeyGreenstein":
        """The three functions that fit the zodiacal light, of our own Solar System.

        Asymmetries 0.70, -0.20 and -0.81 with the weights 0.665, 0.330 and 0.005, those of dust
        whose density falls as one over the distance from the Sun.

        References
        ----------
        Hong 1985, A&A 146, 67.
        """
        return cls(g=[0.70, -0.20, -0.81], weight=[0.665, 0.330, 0.005])

    def __call__(self, cos_scatter):
        total = jnp.zeros_like(cos_scatter)
        for k in range(self.g.size):
            total = total + self.weight[k] * _henyey_greenstein(self.g[k], cos_scatter)
        return total / jnp.sum(self.weight)

    def integral(self):
        return jnp.ones(())


class TwoHenyeyGreenstein(AbstractPhaseFunction):
    r"""Two Henyey-Greenstein functions with one weight, each parameter free by itself.

    .. math:: p(c) = w\,p_{HG}(c; g_1) + (1 - w)\,p_{HG}(c; g_2)

    Parameters
    ----------
    g1, g2
        Asymmetries, each in (-1, 1).
    weight
        Weight of the first, 0 to 1.

    References
    ----------
    Milli et al. 2017, A&A 599, A108 (for HR 4796 A).

    Examples
    --------
    >>> phase = TwoHenyeyGreenstein(g1=0.7, g2=-0.2, weight=0.8)
    >>> round(float(phase.integral()), 6)
    1.0
    """

    g1: Float[Array, ""] = param(bounds="(-1, 1)", label="$g_1$", doc="asymmetry of the first")
    g2: Float[Array, ""] = param(bounds="(-1, 1)", label="$g_2$", doc="asymmetry of the second")
    weight: Float[Array, ""] = param(bounds="[0, 1]", label="$w$", doc="weight of the first")

    def __call__(self, cos_scatter):
        first = self.weight * _henyey_greenstein(self.g1, cos_scatter)
        return first + (1.0 - self.weight) * _henyey_greenstein(self.g2, cos_scatter)

    def integral(self):
        return jnp.ones(())
