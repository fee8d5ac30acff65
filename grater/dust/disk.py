"""A debris disk: where it lies, how its dust is spread, and how the dust scatters."""

# the constructor assigns what the converters of the fields take
# pyright: reportAttributeAccessIssue=false

from collections.abc import Sequence
from typing import Literal, get_args

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from pytreefit import Model, param
from pytreefit.extend import check_choice

from ..integrate import Dust, Geometry, Rule, integration_error, line_of_sight_integrals
from .azimuthal import AbstractAzimuthalProfile, Axisymmetric
from .density import (
    AbstractRadialProfile,
    AbstractVerticalProfile,
    TwoPowerLaw,
    VerticalExponential,
)
from .phase import AbstractPhaseFunction, Isotropic, PhaseNormalization

DensityNormalization = Literal["midplane", "column"]


class Disk(Model):
    r"""One ring of dust around a star, optically thin, in scattered light.

    .. math::
        I(x, y) = F \int \rho(q)\, A(\phi)\, f(z, q)\, \frac{p(\cos\theta)}{d^2}\, dl

    with the elliptic radius :math:`q`, the azimuth :math:`\phi`, the height :math:`z` above the
    midplane, the distance :math:`d` from the star and the scattering angle :math:`\theta`;
    :math:`l` runs along the line of sight in au.

    Parameters
    ----------
    semi_major_axis
        Reference radius in au, > 0: the semi-major axis of the ellipse with q = 1.
    inclination
        Degrees, 0 to 180; 0 is face-on, 90 edge-on; above 90 the other side is near.
    position_angle
        Of the major axis, in degrees from North to East. The near side is at position_angle - 90
        for inclinations below 90.
    alpha_in, alpha_out
        Slopes of the ring, a short way to write ``radial=TwoPowerLaw(alpha_in, alpha_out)``.
    scale_height, gamma, beta
        Scale height in au, vertical exponent and flaring, a short way to write
        ``vertical=VerticalExponential(scale_height, gamma, beta)``.
    eccentricity
        Of the ring, 0 <= e < 1, with the star in a focus.
    argument_of_pericenter
        Degrees in the disk plane from the major axis (towards the position angle) to the
        pericentre. VIP and GRaTeR-JAX measure theirs to the apocentre, 180 degrees away.
    offset_x, offset_y
        Further shift of the ring from the star in the disk plane, in au: along the major axis
        (towards the position angle) and towards the near side.
    flux
        Scale of the image. With phase functions normalised over the sphere it is the same amount
        of dust for all of them; in units of the image times au.
    phase
        Phase function, `Isotropic` by default.
    radial, vertical
        Any other profiles.
    azimuthal
        Clumps and gaps of the ring, `Axisymmetric` by default.
    phase_normalization
        "sphere" (the phase function's integral over all directions is 1) or "right_angle" (its
        value at 90 deg is 1).
    density_normalization
        What ``flux`` scales: "midplane" (the density is 1 at the reference radius in the midplane)
        or "column" (its integral over the height is 1 au there). A thin disk is as bright as its
        column is dense, so with "column" the flux does not depend on a scale height that the image
        hardly resolves: choose it to fit.

    Raises
    ------
    ValueError
        Where a value is outside its bounds, or where a profile is given twice or not at all.
    TypeError
        For a profile or a phase function of another kind.

    References
    ----------
    Augereau et al. 1999, A&A 348, 557.

    Examples
    --------
    >>> disk = Disk(
    ...     semi_major_axis=77,
    ...     inclination=76.8,
    ...     position_angle=26.1,
    ...     alpha_in=20,
    ...     alpha_out=-9,
    ...     scale_height=1,
    ... )
    >>> float(disk.get("radial.alpha_in"))
    20.0
    """

    semi_major_axis: Float[Array, ""] = param(
        unit="au", bounds="(0, inf)", label="$a$", doc="reference radius"
    )
    inclination: Float[Array, ""] = param(
        unit="deg", bounds="[0, 180]", label="$i$", doc="0 face-on, 90 edge-on"
    )
    position_angle: Float[Array, ""] = param(
        unit="deg", label="PA", doc="major axis, from North to East"
    )
    eccentricity: Float[Array, ""] = param(bounds="[0, 1)", label="$e$", doc="eccentricity")
    argument_of_pericenter: Float[Array, ""] = param(
        unit="deg", label=r"$\omega$", doc="pericentre, from the major axis in the disk plane"
    )
    offset_x: Float[Array, ""] = param(
        unit="au", label=r"$\Delta x$", doc="shift along the major axis"
    )
    offset_y: Float[Array, ""] = param(
        unit="au", label=r"$\Delta y$", doc="shift towards the near side, in the disk plane"
    )
    flux: Float[Array, ""] = param(label="$F$", doc="scale of the image, image units times au")
    radial: AbstractRadialProfile
    vertical: AbstractVerticalProfile
    azimuthal: AbstractAzimuthalProfile
    phase: AbstractPhaseFunction
    phase_normalization: PhaseNormalization = eqx.field(static=True)
    density_normalization: DensityNormalization = eqx.field(static=True)

    def __init__(
        self,
        semi_major_axis,
        inclination,
        position_angle,
        *,
        alpha_in=None,
        alpha_out=None,
        scale_height=None,
        gamma=None,
        beta=None,
        eccentricity=0.0,
        argument_of_pericenter=0.0,
        offset_x=0.0,
        offset_y=0.0,
        flux=1.0,
        phase: AbstractPhaseFunction | None = None,
        radial: AbstractRadialProfile | None = None,
        vertical: AbstractVerticalProfile | None = None,
        azimuthal: AbstractAzimuthalProfile | None = None,
        phase_normalization: PhaseNormalization = "sphere",
        density_normalization: DensityNormalization = "midplane",
    ):
        self.semi_major_axis = semi_major_axis
        self.inclination = inclination
        self.position_angle = position_angle
        self.eccentricity = eccentricity
        self.argument_of_pericenter = argument_of_pericenter
        self.offset_x = offset_x
        self.offset_y = offset_y
        self.flux = flux
        slopes = {"alpha_in": alpha_in, "alpha_out": alpha_out}
        self.radial = _given_once("radial", radial, slopes, TwoPowerLaw, ())
        heights = {"scale_height": scale_height, "gamma": gamma, "beta": beta}
        self.vertical = _given_once(
            "vertical", vertical, heights, VerticalExponential, ("gamma", "beta")
        )
        self.azimuthal = Axisymmetric() if azimuthal is None else azimuthal
        self.phase = Isotropic() if phase is None else phase
        self.phase_normalization = phase_normalization
        self.density_normalization = density_normalization

    def __check_init__(self):
        kinds = {
            "radial": AbstractRadialProfile,
            "vertical": AbstractVerticalProfile,
            "azimuthal": AbstractAzimuthalProfile,
            "phase": AbstractPhaseFunction,
        }
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise TypeError(f"Disk.{name} = {value!r} is not an {kind.__name__}.")
        choices = {"phase": get_args(PhaseNormalization), "density": get_args(DensityNormalization)}
        for kind, known in choices.items():
            name = f"{kind}_normalization"
            check_choice(f"Disk.{name}", getattr(self, name), known)

    @property
    def geometry(self) -> Geometry:
        """Where the disk lies, in the quantities that the integral is made of."""
        a, e = self.semi_major_axis, self.eccentricity
        omega = jnp.deg2rad(self.argument_of_pericenter)
        return Geometry(
            inclination=self.inclination,
            semi_latus_rectum=a * (1.0 - e**2),
            e_cos=e * jnp.cos(omega),
            e_sin=e * jnp.sin(omega),
            offset_x=self.offset_x,
            offset_y=self.offset_y,
            position_angle=self.position_angle,
            semi_major_axis=a,
        )

    def intensity(self, x_sky, y_sky, rule: Rule):
        """Scattered light at points on the sky.

        Parameters
        ----------
        x_sky, y_sky
            Offsets from the star in au to the West and to the North, any shape, never both 0.
        rule
            Sampling of the lines of sight, for instance ``Rule(1e-4)``.

        Returns
        -------
        array
            Intensity in image units, of the shape of x_sky.
        """
        return intensities([self], x_sky, y_sky, rule, (self.phase.shown,))[0][0]

    def dust(self, curves: Sequence[str | None]) -> tuple[Dust, Float[Array, " curves"]]:
        """What the line-of-sight integral is of, and what it is multiplied with.

        It is of as many curves of the phase function as are named.
        """
        factor = self.phase.factors(curves, self.phase_normalization)
        if self.density_normalization == "column":
            factor = factor / self.vertical.column(jnp.ones_like(self.flux))
        dust = Dust(
            self.radial.prepared(), self.vertical, self.azimuthal, self.phase.curves(curves)
        )
        return dust, self.flux * factor

    def integration_error(self, x_sky, y_sky, rule: Rule):
        """Error relative to the peak of `intensity`, found on 144 lines of sight, shape ()."""
        dust, _ = self.dust((self.phase.shown,))
        return integration_error(self.geometry, dust, x_sky, y_sky, rule)


def intensities(
    disks: Sequence[Disk], x_sky, y_sky, rule: Rule, curves: Sequence[str | None] = (None,)
) -> list:
    """Scattered light of each of some disks at points on the sky.

    Parameters
    ----------
    disks
        Those of the same kinds of components are integrated by one program.
    x_sky, y_sky, rule
        As for `Disk.intensity`.
    curves
        Which of the curves of the phase functions, see `AbstractPhaseFunction.curves`; they are
        integrated together.

    Returns
    -------
    list of array
        Intensities in image units, shape (curves, *x_sky).
    """
    dust, factors = zip(*(disk.dust(curves) for disk in disks), strict=True)
    parts = [(disk.geometry, of) for disk, of in zip(disks, dust, strict=True)]
    integrals = line_of_sight_integrals(parts, x_sky, y_sky, rule)
    shape = (len(curves), *(1,) * jnp.ndim(x_sky))
    pairs = zip(factors, integrals, strict=True)
    return [factor.reshape(shape) * integral for factor, integral in pairs]


def _given_once(name, profile, shortcuts, kind, optional):
    """A profile that was given either as itself or by the values of the usual one."""
    given = {key: value for key, value in shortcuts.items() if value is not None}
    if profile is not None:
        if given:
            raise ValueError(
                f"Disk got {name}= and also {', '.join(given)}. Give the profile or the values of "
                f"the usual one ({kind.__name__}), not both."
            )
        return profile
    missing = [key for key in shortcuts if key not in given and key not in optional]
    if missing:
        raise ValueError(
            f"Disk needs {' and '.join(missing)} for its {name} profile ({kind.__name__}), or a "
            f"profile of your own: {name}=..."
        )
    return kind(**given)
