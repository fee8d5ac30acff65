"""What a spot does to the brightness in a band, to the radial velocity and to an indicator."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from pytreefit import param
from pytreefit.extend import check_kind

from ..component import AbstractComponent
from .limb_darkening import check_quadratic, quadratic_polynomial, u1_param, u2_param
from .visibility import AbstractPolynomialVisibility, AbstractVisibility

SOLAR_RADIUS_PER_DAY = 6.957e8 / 86400.0  # in m / s, nominal radius of IAU 2015
FASTEST = 5e5  # m / s: no star turns faster at its equator


class AbstractLimbDarkening(AbstractComponent):
    r"""Limb darkening of one channel: foreshortened brightness V, a polynomial of mu.

    A new law is a class with its parameters as fields and `polynomial`.
    """

    def default_priors(self, data):
        """No priors: limb darkening is fixed by default."""
        return {}

    @abc.abstractmethod
    def polynomial(self) -> Sequence[Float[Array, ""]]:
        r"""The coefficients :math:`b_j` of :math:`V = \sum_j b_j \mu^j`, constant term (0) first.

        They are normalised to :math:`2 \int_0^1 V d\mu = 1`.
        """


class UniformDisk(AbstractLimbDarkening):
    r"""A uniformly bright disk, :math:`V = \mu`."""

    def polynomial(self):
        return [jnp.zeros(()), jnp.ones(())]


class QuadraticLimbDarkening(AbstractLimbDarkening):
    r"""The quadratic law.

    .. math:: V = \mu\, \frac{1 - u_1 (1 - \mu) - u_2 (1 - \mu)^2}{1 - u_1 / 3 - u_2 / 6}

    Parameters
    ----------
    u1, u2
        Coefficients of the law, u1 + u2 <= 1.

    Raises
    ------
    ValueError
        If the brightness at the limb would be negative.

    Examples
    --------
    >>> [round(float(b), 3) for b in QuadraticLimbDarkening(u1=0.4, u2=0.2).polynomial()]
    [0.0, 0.48, 0.96, -0.24]
    """

    u1: Float[Array, ""] = u1_param()
    u2: Float[Array, ""] = u2_param()

    def __check_init__(self):
        check_quadratic(type(self).__name__, self.u1, self.u2)

    def polynomial(self):
        return quadratic_polynomial(self.u1, self.u2)


class AbstractChannel(AbstractComponent):
    r"""One kind of data of a spotted star.

    A spot at rotation phase :math:`\theta` and latitude :math:`\phi` adds, for each unit of its
    area times its contrast, the weight

    .. math:: w(\theta; \phi) = \sum_j p_j(\mu)\, x^j \quad (\mu > 0), \qquad
              x = \cos\phi\, (1 - \kappa \sin^2\phi) \sin\theta

    with :math:`\mu = a_0 + a_1 \cos\theta` and the surface's velocity away from us x, in units of
    :math:`v_{eq} \sin i`. A new channel is a class with its parameters as fields and `weight`;
    all correlations with the other channels follow in closed form. A polynomial without a constant
    term is 0 at the limb; with one, averages over latitude converge more slowly.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import param
    >>> class LineWidth(AbstractChannel):  # the second moment of the line
    ...     scale: jax.Array = param(default=1.0)
    ...
    ...     def weight(self, visibility):
    ...         return {2: [-self.scale * b for b in visibility.polynomial()]}
    """

    unit: ClassVar[str | None] = None  # of its data; None takes the numbers as they are
    # parts of the signal that can be predicted by themselves
    causes: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def weight(
        self, visibility: AbstractPolynomialVisibility
    ) -> Mapping[int, Sequence[Float[Array, ""]]]:
        """The polynomials of mu, constant term first, by the power of x that they come with.

        ``visibility`` is the star's: its ``polynomial()`` is limb darkening in the band of the
        light curve.
        """

    def get_sympy(self) -> dict:
        """Show the equations (LaTeX in a terminal, rendered in Jupyter) and return them.

        They are SymPy expressions by name, the weight "w" as a function of the rotation phase
        theta among them; None where a quantity is numerical.
        """
        from ..kernel.symbolic import show

        return show(type(self).__name__, self._equations())

    def _equations(self) -> dict:
        """SymPy expressions by their left sides."""
        return {"w(theta)": None}

    def of_population(self, magnetic) -> Self:
        """The channel of spots with other magnetic fields, see `Population`.

        ``magnetic`` is a factor of what follows from the fields and not from the light; here
        nothing does.
        """
        del magnetic
        return self

    def only(self, cause: str) -> Self:
        """The same channel with one of its `causes` alone."""
        raise ValueError(f"{type(self).__name__} has no part {cause!r}.")

    def size(self, visibility: AbstractVisibility) -> float:
        """About how large the signal is beside that of a band of contrast 1; a concrete number."""
        del visibility
        return 1.0


def darkened(limb: AbstractLimbDarkening | None, visibility) -> Sequence[Array]:
    """The limb darkening of a channel, that of the star's own where it has none."""
    return visibility.polynomial() if limb is None else limb.polynomial()


def _check_limb(channel) -> None:
    check_kind(f"{type(channel).__name__}.limb", channel.limb, AbstractLimbDarkening | None)


class FluxBand(AbstractChannel):
    r"""Relative flux in a photometric band, :math:`w = -c\, V(\mu)`.

    Parameters
    ----------
    contrast
        Contrast c of the spots in this band relative to the band that `sigma_k` is of:
        :math:`1 - B_b(T_{spot}) / B_b(T_{phot})` over the same of that band. It is free by default
        unless it is exactly 1, as in that band itself.
    limb
        Limb darkening in this band; None is that of the star.
    """

    unit: ClassVar[str | None] = ""

    contrast: Float[Array, ""] = param(
        bounds="(0, inf)", default=1.0, label="$c$", doc="contrast relative to the first band"
    )
    limb: AbstractLimbDarkening | None = None

    def __check_init__(self):
        _check_limb(self)

    def default_priors(self, data):
        """Of the contrast, log-uniform from 0.05 to 20; none if that is 1."""
        return {} if float(self.contrast) == 1.0 else {"contrast": dist.LogUniform(0.05, 20.0)}

    def weight(self, visibility):
        return {0: [-self.contrast * b for b in darkened(self.limb, visibility)]}

    def size(self, visibility):
        return float(self.contrast)

    def _equations(self):
        from . import channel_equations as equations

        return equations.flux()


class AbstractRotationSpeed(AbstractComponent):
    """What says how fast the star's surface moves."""

    @abc.abstractmethod
    def projected(self, visibility: AbstractVisibility) -> Float[Array, ""]:
        r"""The velocity of the equator at the limb, :math:`v_{eq} \sin i`, in m / s."""


class EquatorialSpeed(AbstractRotationSpeed):
    r"""The velocity of the equator, :math:`v_{eq}`.

    Parameters
    ----------
    v_eq
        In m / s, > 0.

    Examples
    --------
    >>> from spotgp import VisibilityFunction
    >>> star = VisibilityFunction(peq=5.0, kappa=0.1, inc=1.0)
    >>> round(float(EquatorialSpeed(4000.0).projected(star)))  # m / s
    3366
    """

    v_eq: Float[Array, ""] = param(
        unit="m / s", bounds="(0, inf)", label=r"$v_{eq}$", doc="velocity of the equator"
    )

    def default_priors(self, data):
        """Log-uniform from 100 m / s to the fastest stars."""
        return {"v_eq": dist.LogUniform(100.0, FASTEST)}

    def projected(self, visibility):
        return self.v_eq * jnp.sin(visibility.inc)


class ProjectedSpeed(AbstractRotationSpeed):
    r"""The projected velocity of the equator, as it widens spectral lines.

    Parameters
    ----------
    vsini
        :math:`v_{eq} \sin i` in m / s, > 0.

    Examples
    --------
    >>> from spotgp import VisibilityFunction
    >>> star = VisibilityFunction(peq=5.0, kappa=0.1, inc=1.0)
    >>> round(float(ProjectedSpeed(3400.0).projected(star)))  # m / s
    3400
    """

    vsini: Float[Array, ""] = param(
        unit="m / s", bounds="(0, inf)", label=r"$v \sin i$", doc="projected rotation velocity"
    )

    def default_priors(self, data):
        """Log-uniform from 100 m / s to the fastest stars."""
        return {"vsini": dist.LogUniform(100.0, FASTEST)}

    def projected(self, visibility):
        return self.vsini


class StellarRadius(AbstractRotationSpeed):
    r"""The star's radius, with which the period gives :math:`v_{eq} = 2 \pi R / P_{eq}`.

    Parameters
    ----------
    radius
        In solar radii, > 0.

    Examples
    --------
    >>> from spotgp import VisibilityFunction
    >>> star = VisibilityFunction(peq=25.4, kappa=0.0, inc=1.5708)
    >>> round(float(StellarRadius(1.0).projected(star)))  # m / s
    1992
    """

    radius: Float[Array, ""] = param(
        unit="R_sun", bounds="(0, inf)", label=r"$R_\star$", doc="radius of the star"
    )

    def default_priors(self, data):
        """Log-uniform from 0.1 to 100 solar radii."""
        return {"radius": dist.LogUniform(0.1, 100.0)}

    def projected(self, visibility):
        per_period = 2.0 * np.pi * SOLAR_RADIUS_PER_DAY * self.radius
        return per_period / visibility.peq * jnp.sin(visibility.inc)


class RadialVelocity(AbstractChannel):
    r"""Radial velocity in m / s, positive away from us.

    .. math:: w = -c\, V(\mu)\, v + s\, \mu V(\mu), \qquad
              v = v_{eq} \sin i \cos\phi\, (1 - \kappa \sin^2\phi) \sin\theta

    A dark spot takes light of its own velocity out of the lines (rotation), and the magnetic
    field around it hinders the convection, whose rising gas is blueshifted.

    Parameters
    ----------
    v_eq
        Velocity of the equator in m / s; or else one of the next two.
    vsini
        Its projection :math:`v_{eq} \sin i` in m / s.
    radius
        Radius of the star in solar radii.
    contrast
        Contrast c of the spots in the spectrograph's band relative to that of the light curve;
        beside a `TemperatureBand` that against black spots. Fixed by default: it cannot be told
        from the velocity.
    convective
        Suppressed convective blueshift s in m / s for a spot's whole contrast. Free by default
        unless it is 0.
    limb
        Limb darkening in the spectrograph's band; None is that of the star.

    Raises
    ------
    ValueError
        If none of the velocity, its projection and the radius is given, or several of them.

    References
    ----------
    Aigrain, Pont & Zucker (2012), MNRAS 419, 3147, whose FF' method is the low-order form.

    Examples
    --------
    >>> rv = RadialVelocity(vsini=2100.0, convective=300.0)
    >>> f"{rv.rotation.vsini:.0f}"
    '2100'
    """

    unit: ClassVar[str | None] = "m / s"
    causes: ClassVar[tuple[str, ...]] = ("rotation", "convection")

    rotation: AbstractRotationSpeed
    contrast: Float[Array, ""] = param(
        bounds="[0, inf)", default=1.0, label="$c_v$", doc="contrast in the spectrograph's band"
    )
    convective: Float[Array, ""] = param(
        unit="m / s", bounds="[0, inf)", default=0.0, label="$s_c$", doc="convective blueshift"
    )
    limb: AbstractLimbDarkening | None = None

    def __init__(
        self,
        v_eq=None,
        *,
        vsini=None,
        radius=None,
        contrast: Any = 1.0,
        convective: Any = 0.0,
        limb: AbstractLimbDarkening | None = None,
    ):
        self.rotation = _rotation(v_eq, vsini, radius)
        self.contrast = contrast
        self.convective = convective
        self.limb = limb

    def __check_init__(self):
        check_kind("RadialVelocity.rotation", self.rotation, AbstractRotationSpeed)
        _check_limb(self)

    def default_priors(self, data):
        """Of the rotation, and of the suppressed blueshift: half-normal, 1 km / s wide."""
        own = self.rotation.default_priors(data)
        priors = {f"rotation.{name}": prior for name, prior in own.items()}
        return priors | {"convective": dist.HalfNormal(1000.0)}

    def weight(self, visibility):
        law = darkened(self.limb, visibility)
        speed = self.contrast * self.rotation.projected(visibility)
        return {
            1: [-speed * b for b in law],
            0: [jnp.zeros(()), *(self.convective * b for b in law)],
        }

    def of_population(self, magnetic):
        return eqx.tree_at(lambda rv: rv.convective, self, self.convective * magnetic)

    def only(self, cause):
        other = {"rotation": "convective", "convection": "contrast"}
        return self.set({other[cause]: 0.0}) if cause in other else super().only(cause)

    def _equations(self):
        from . import channel_equations as equations

        known = [name for name in self.rotation.param_keys if name in equations.PROJECTED]
        return equations.velocity(equations.PROJECTED[known[0] if known else "vsini"])

    def size(self, visibility):
        speed = float(self.contrast * self.rotation.projected(visibility))
        return float(np.hypot(0.5 * speed, float(self.convective)))


def _rotation(v_eq, vsini, radius) -> AbstractRotationSpeed:
    given = {"v_eq": v_eq, "vsini": vsini, "radius": radius}
    kinds = {"v_eq": EquatorialSpeed, "vsini": ProjectedSpeed, "radius": StellarRadius}
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        told = " and ".join(names) if names else "nothing"
        raise ValueError(
            f"RadialVelocity got {told} to say how fast the star turns: pass one of v_eq (m / s), "
            "vsini (m / s) and radius (solar radii). Give what else is known as a prior."
        )
    return kinds[names[0]](given[names[0]])


class ActivityIndicator(AbstractChannel):
    r"""An indicator of activity such as the S index or log R'HK, :math:`w = s\, V(\mu)`.

    Parameters
    ----------
    scale
        Scale s in the indicator's units, per unit of a spot's area times its contrast in the light
        curve's band; may be negative.
    limb
        Limb darkening of the indicator; None is that of the star.
    """

    scale: Float[Array, ""] = param(default=1.0, label="$s$", doc="scale of the indicator")
    limb: AbstractLimbDarkening | None = None

    def __check_init__(self):
        _check_limb(self)

    def default_priors(self, data):
        """Of the scale: normal about 0, with 10,000 times the scatter of the indicator."""
        return {"scale": dist.Normal(0.0, 1e4 * data.scatter)}

    def weight(self, visibility):
        return {0: [self.scale * b for b in darkened(self.limb, visibility)]}

    def of_population(self, magnetic):
        return eqx.tree_at(lambda indicator: indicator.scale, self, self.scale * magnetic)

    def size(self, visibility):
        return abs(float(self.scale))

    def _equations(self):
        from . import channel_equations as equations

        return equations.indicator()
