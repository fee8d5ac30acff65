"""Cut-offs of a radial profile: its dust ends inside or outside of an ellipse, softly."""

from jax.scipy.special import erfc
from jaxtyping import Array, Float

from pytreefit import param
from pytreefit.extend import inline, rebuild

from .density import AbstractRadialProfile

_ROOT_TWO = 2.0**0.5


class InnerEdge(AbstractRadialProfile):
    r"""A radial profile without dust inside of an ellipse.

    .. math::
        \rho(q) = \rho_0(q)\; \frac12 \mathrm{erfc}\,\frac{q_{in} - q}{\sqrt 2\, w\, q_{in}}

    with :math:`\rho_0` the profile that is cut. Half of the dust is left at :math:`q_{in}`, and
    nearly all or none of it two or three widths from there. The parameters of the profile stay
    where they are in a disk: ``radial.alpha_in`` beside ``radial.inner``. Both edges are
    ``OuterEdge(InnerEdge(profile, 0.6), 1.8)``.

    Parameters
    ----------
    profile
        The profile that is cut.
    inner
        Edge :math:`q_{in}` in units of the reference ellipse, > 0: the inner semi-major axis over
        the disk's ``semi_major_axis``.
    inner_width
        Softness :math:`w`, the standard deviation of the edge over its radius, > 0. An edge much
        sharper than a pixel costs time and shows nothing more.

    Raises
    ------
    TypeError
        If the profile is not an `AbstractRadialProfile`.

    References
    ----------
    Marino 2021, MNRAS 503, 5100 (an edge by the error function); the limit of small widths is
    ``amin`` of VIP.

    Examples
    --------
    >>> from grater import TwoPowerLaw
    >>> ring = InnerEdge(TwoPowerLaw(2.0, -3.0), inner=0.8, inner_width=0.05)
    >>> float(ring.get("alpha_in"))
    2.0
    """

    profile: AbstractRadialProfile = inline()
    inner: Float[Array, ""] = param(
        bounds="(0, inf)", label="$q_{in}$", doc="inner edge, in reference radii"
    )
    inner_width: Float[Array, ""] = param(
        default=0.02, bounds="(0, inf)", label="$w_{in}$", doc="softness, over the edge's radius"
    )

    def __check_init__(self):
        _check_profile(self)

    def prepared(self):
        return rebuild(self, {"profile": self.profile.prepared()})

    def density(self, q):
        depth = (1.0 - q / self.inner) * (1.0 / (_ROOT_TWO * self.inner_width))
        return 0.5 * erfc(depth) * self.profile.density(q)


class OuterEdge(AbstractRadialProfile):
    r"""A radial profile without dust outside of an ellipse.

    .. math::
        \rho(q) = \rho_0(q)\; \frac12 \mathrm{erfc}\,\frac{q - q_{out}}{\sqrt 2\, w\, q_{out}}

    with :math:`\rho_0` the profile that is cut; see `InnerEdge`.

    Parameters
    ----------
    profile
        The profile that is cut.
    outer
        Edge :math:`q_{out}` in units of the reference ellipse, > 0.
    outer_width
        Softness :math:`w`, the standard deviation of the edge over its radius, > 0.

    Raises
    ------
    TypeError
        If the profile is not an `AbstractRadialProfile`.

    References
    ----------
    Marino 2021, MNRAS 503, 5100.

    Examples
    --------
    >>> from grater import TwoPowerLaw
    >>> ring = OuterEdge(TwoPowerLaw(4.0, -3.0), outer=1.3, outer_width=0.05)
    >>> round(float(ring.density(2.0)), 6)
    0.0
    """

    profile: AbstractRadialProfile = inline()
    outer: Float[Array, ""] = param(
        bounds="(0, inf)", label="$q_{out}$", doc="outer edge, in reference radii"
    )
    outer_width: Float[Array, ""] = param(
        default=0.02, bounds="(0, inf)", label="$w_{out}$", doc="softness, over the edge's radius"
    )

    def __check_init__(self):
        _check_profile(self)

    def prepared(self):
        return rebuild(self, {"profile": self.profile.prepared()})

    def density(self, q):
        depth = (q / self.outer - 1.0) * (1.0 / (_ROOT_TWO * self.outer_width))
        return 0.5 * erfc(depth) * self.profile.density(q)


def _check_profile(edge):
    if not isinstance(edge.profile, AbstractRadialProfile):
        name = type(edge).__name__
        raise TypeError(
            f"{name}.profile = {edge.profile!r} is not an AbstractRadialProfile: give the profile "
            f"that is cut, such as {name}(TwoPowerLaw(5, -3), ...)."
        )
