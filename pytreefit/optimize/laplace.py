"""The Gaussian approximation of a posterior at its maximum."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arrays import check_choice, check_kind
from ..model import lookup_parameter
from ..posterior import Posterior
from ..space import coordinate_names, flat_values, indexed_names, natural_range
from ..table import Table
from .curvature import combination, derivatives_at
from .evaluate import Frame
from .start import start_coordinates

_OFF = 0.1  # what a Newton step may gain in log density at what is called a maximum
_FLAT = 1e-6  # curvatures below it, in units of the prior's width, are called zero


class Laplace(eqx.Module):
    """The result of :func:`laplace`: a Gaussian of the physical values.

    Parameters
    ----------
    model
        The model at the centre.
    names
        Names of the free parameters.
    values
        The centre: a value for each free parameter.
    u
        The centre in unconstrained coordinates, shape ``(dim,)``.
    covariance_u
        Covariance in unconstrained coordinates, shape ``(dim, dim)``.
    covariance
        Covariance of the physical values, in the order of ``components``.
    components
        One name per physical number, such as ``"disk.phase.values[2]"``.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import Model, Posterior, laplace, param
    >>> class Line(Model):
    ...     slope: jax.Array = param(unit="m / s")
    >>> posterior = Posterior(Line(2.0), lambda line: -((line.slope - 1) ** 2), {"slope": (0, 9)})
    >>> gaussian = laplace(posterior, {"slope": 1.0})
    >>> round(float(gaussian.std["slope"]), 3)  # one over the root of 2
    0.707
    """

    model: Any
    names: tuple[str, ...] = eqx.field(static=True)
    values: dict[str, Array]
    u: Float[Array, " dim"]
    covariance_u: Float[Array, "dim dim"]
    covariance: Float[Array, "size size"]
    components: tuple[str, ...] = eqx.field(static=True)

    @property
    def std(self) -> dict[str, Array]:
        """Standard deviation of each free parameter, in its unit and shape."""
        sizes = np.cumsum([self.values[name].size for name in self.names])
        parts = jnp.split(jnp.sqrt(jnp.diag(self.covariance)), sizes[:-1])
        return {
            name: part.reshape(self.values[name].shape)
            for name, part in zip(self.names, parts, strict=True)
        }

    @property
    def correlation(self) -> Float[Array, "size size"]:
        """Correlation of the physical values, in the order of ``components``."""
        variance = jnp.diag(self.covariance)
        width = jnp.sqrt(jnp.where(variance > 0, variance, 1.0))  # 0 of those held
        return self.covariance / (width[:, None] * width[None, :])

    def summary(self) -> Table:
        """The table of values and their standard deviations: parameter, value, std, unit.

        Instead of a deviation, it says ``held`` of what was taken as known.
        """
        std, rows = self.std, []
        for name in self.names:
            value = self.values[name]
            unit = lookup_parameter(self.model, name).info.unit
            entries = indexed_names({name: value.shape})
            for entry, centre, width in zip(entries, value.ravel(), std[name].ravel(), strict=True):
                deviation = "held" if width == 0 else f"{float(width):.2g}"
                rows.append((entry, f"{float(centre):.6g}", deviation, unit))
        return Table(("parameter", "value", "std", "unit"), rows)


def laplace(
    posterior: Posterior, at, *, method: str = "hessian", held: Sequence[str] = ()
) -> Laplace:
    r"""Approximate the posterior by a Gaussian at its maximum.

    .. math::

        \Sigma_u = \left( -\nabla_u \nabla_u \ln [L\,p] \right)^{-1}, \qquad
        \Sigma = \frac{\partial\theta}{\partial u} \, \Sigma_u \,
        \frac{\partial\theta}{\partial u}^\mathsf{T}

    Parameters
    ----------
    posterior
        The posterior.
    at
        Where its maximum is: the :class:`Fit`, or a dictionary of values.
    method
        ``"hessian"`` takes second derivatives of the log density. ``"fisher"`` takes
        :math:`J^\mathsf{T} J` of the posterior's residuals and the curvature of the prior: cheaper,
        never indefinite, the same for linear models, and at any values, as for a forecast.
        ``"differences"`` takes central differences of the gradient that a fit has compiled.
    held
        Names of parameters that are taken as known at their values there, with no width of their
        own, such as the fit's ``at_edge``.

    Raises
    ------
    ValueError
        If the curvature is not positive along some direction, which is named, a Newton step gains
        more than 0.1 (but for ``"fisher"``), a parameter is at the edge of its prior and not held,
        none has a name that is held or none is left, or the method is unknown or needs residuals.

    See MacKay (2003), Information Theory, Inference, and Learning Algorithms, chapter 27.
    """
    check_kind("posterior", posterior, Posterior)
    check_kind("held", held, Sequence)
    held = tuple(map(str, held))
    check_choice("method", method, ("hessian", "fisher", "differences"))
    names = np.array(coordinate_names(posterior))
    _check_held(names, held, getattr(at, "at_edge", ()))
    u = start_coordinates(posterior, at, "at")
    frame = Frame(u, natural_range(posterior)[1])
    free = np.flatnonzero(~np.isin(names, held))
    among = np.ix_(free, free)
    gradient, curvature = derivatives_at(posterior, frame, method)
    inverse = _inverse(names[free], curvature[among], frame.scale[free])
    if method != "fisher":
        _refuse_slope(gradient[free] / frame.scale[free], inverse)
    covariance_u = jnp.zeros((u.size, u.size), u.dtype).at[among].set(inverse)
    slopes = jax.jacfwd(lambda u: flat_values(posterior, u))(u)
    return Laplace(
        model=posterior.model_from(u),
        names=posterior.names,
        values=posterior.constrain(u),
        u=u,
        covariance_u=covariance_u,
        covariance=slopes @ covariance_u @ slopes.T,
        components=tuple(indexed_names(posterior.shapes)),
    )


def _check_held(names, held, at_edge) -> None:
    if set(held) - set(names) or len(set(held)) == len(names):
        raise ValueError(
            f"held = {sorted(held)} must be some of, but not all, the free parameters: "
            f"{', '.join(names)}."
        )
    edge = [name for name in at_edge if name not in held]
    if edge:
        raise ValueError(
            f"{', '.join(edge)} ran to the edge of the prior: there is no maximum to approximate "
            f"there. Widen the prior, fix the value, or take it as known there: held={edge}."
        )


def _refuse_slope(gradient, covariance) -> None:
    gain = 0.5 * float(gradient @ covariance @ gradient)
    if gain > _OFF:
        raise ValueError(
            f"This is no maximum: a Newton step from here gains {gain:.2g} in log density. Fit "
            "further, or forecast errors for given values with method='fisher'."
        )


def _inverse(names, curvature, scale) -> Float[Array, "dim dim"]:
    """The covariance in u, or a ValueError that names the directions without curvature."""
    diagonal = np.diag(np.asarray(curvature))
    flat = [name for name, entry in zip(names, diagonal, strict=True) if not entry > _FLAT]
    if flat:
        raise ValueError(
            f"The log density does not fall off along {', '.join(flat)}: the data do not constrain "
            "it here, or this is not a maximum. Fix the parameter, or fit further."
        )
    width = jnp.asarray(1 / np.sqrt(diagonal), curvature.dtype)
    scaled = curvature * width[:, None] * width[None, :]
    eigenvalues, vectors = map(np.asarray, jnp.linalg.eigh(scaled))
    if eigenvalues[0] <= 10 * len(names) * np.finfo(eigenvalues.dtype).eps:
        raise ValueError(
            "The log density does not fall off along the combination "
            f"{combination(vectors[:, 0], names)} (each in units of its own width): the data "
            "constrain only other combinations, or this is not a maximum. Fix one of these "
            "parameters, or fit further."
        )
    half = (scale * width)[:, None] * vectors / np.sqrt(eigenvalues)[None, :]
    return half @ half.T
