"""Quantities that papers quote, derived from a disk's parameters."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Table, jit, map_models
from pytreefit.extend import as_data, as_floats, check_kind, rebuild

from .dust.disk import Disk
from .integrate import sky_to_disk
from .view.optics import Channel
from .view.view import Grid, View

#: Unit of every quantity of `derived`.
DERIVED_UNITS = {
    "peak_radius": "au",
    "inner_half_maximum": "au",
    "outer_half_maximum": "au",
    "fwhm": "au",
    "ring_center_x": "au",
    "ring_center_y": "au",
    "ring_center_offset": "au",
    "ring_center_east": "au",
    "ring_center_north": "au",
    "pericenter_distance": "au",
    "near_side_position_angle": "deg",
    "scattering_angle_min": "deg",
    "scattering_angle_max": "deg",
}

# where the surface density is searched, ln(a / reference): from 1e-4 to 1e4, densest at 1
_LOG_Q = np.log(1e4) * np.sinh(np.linspace(-7.0, 7.0, 1401)) / np.sinh(7.0)


def surface_density(disk: Disk, q: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""Return the vertically integrated density of a disk, up to a constant factor.

    .. math:: \Sigma(q) \propto \rho(q)\, h(q)

    Parameters
    ----------
    disk
        Of one ring.
    q
        Elliptic radii > 0 in units of the disk's ``semi_major_axis``, any shape.

    Examples
    --------
    >>> from grater import Disk
    >>> disk = Disk(40, 70, 30, alpha_in=8, alpha_out=-4, scale_height=1)
    >>> inside, ring = surface_density(disk, [0.7, 1.0])  # in semi-major axes
    >>> round(float(inside / ring), 3)
    0.057
    """
    check_kind("disk", disk, Disk)
    q = as_floats(as_data("q", q))
    return disk.radial.density(q) * disk.vertical.height(q)


def _root(function, low, high, *arguments):
    """Root of ``function(x, *arguments)`` in [low, high], differentiable in the arguments.

    Bisection finds the root; one Newton step from there carries the derivative, as the implicit
    function theorem has it, and polishes the last digits.
    """
    fixed, low, high = jax.lax.stop_gradient((arguments, low, high))
    rising = function(high, *fixed) > function(low, *fixed)

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        above = (function(middle, *fixed) > 0) == rising
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    low, high = jax.lax.fori_loop(0, 50, halve, (low, high))
    root = jax.lax.stop_gradient(0.5 * (low + high))
    slope = jax.lax.stop_gradient(jax.grad(function)(root, *fixed))
    safe = jnp.where(slope == 0, jnp.ones_like(slope), slope)
    return root - function(root, *arguments) / safe


@jit
def _ring(disk: Disk):
    """Peak, inner and outer half maximum of the surface density, in reference radii."""

    def density(x, disk):
        return surface_density(disk, jnp.exp(x))

    def above_half(x, disk, peak):
        return density(x, disk) / peak - 0.5

    grid = jnp.asarray(_LOG_Q, disk.semi_major_axis.dtype)
    index = jnp.arange(grid.size)
    values = jax.lax.stop_gradient(density(grid, disk))
    top = jnp.argmax(values)
    interior = (top > 0) & (top < grid.size - 1)
    top = jnp.clip(top, 1, grid.size - 2)
    peak = _root(jax.grad(density), grid[top - 1], grid[top + 1], disk)

    maximum = density(peak, disk)
    faint = values < 0.5 * jax.lax.stop_gradient(maximum)
    inside = jnp.max(jnp.where(faint & (index < top), index, -1))
    outside = jnp.min(jnp.where(faint & (index > top), index, grid.size))
    start, end = grid[jnp.maximum(inside, 0)], grid[jnp.minimum(outside, grid.size - 1)]
    inner = _root(above_half, start, peak, disk, maximum)
    outer = _root(above_half, peak, end, disk, maximum)
    found = (interior, interior & (inside >= 0), interior & (outside < grid.size))
    return tuple(
        jnp.where(ok, jnp.exp(x), jnp.nan)
        for ok, x in zip(found, (peak, inner, outer), strict=True)
    )


def peak_radius(disk: Disk) -> Float[Array, ""]:
    r"""Return the semi-major axis at which the surface density peaks, au.

    For two power laws it is

    .. math::

        a \left(-\frac{\alpha_{in} + \beta}{\alpha_{out} + \beta}\right)
        ^{1 / (2 \alpha_{in} - 2 \alpha_{out})};

    for any profile it is found numerically. This, not the reference radius, is the number to
    compare between papers. NaN if there is no maximum between 1e-4 and 1e4 reference radii.

    Parameters
    ----------
    disk
        Of one ring.

    References
    ----------
    Augereau et al. 1999, A&A 348, 557.

    Examples
    --------
    >>> from grater import Disk
    >>> disk = Disk(40, 70, 30, alpha_in=8, alpha_out=-4, scale_height=1)
    >>> round(float(peak_radius(disk)), 2)  # au
    41.87
    """
    check_kind("disk", disk, Disk)
    return disk.semi_major_axis * _ring(disk)[0]


def ring_center(disk: Disk) -> Float[Array, "2"]:
    r"""Return the centre of the ring in the disk plane, seen from the star, au.

    .. math::

        (x, y) = (x_0, y_0) - a_p e\, (\cos\omega, \sin\omega)

    is the centre of the ellipse on which the surface density peaks (semi-major axis :math:`a_p`),
    one focus of which is at the disk's offset :math:`(x_0, y_0)`. The x axis is the major axis in
    the direction of the position angle; the y axis points to the near side.

    Parameters
    ----------
    disk
        Of one ring.

    Examples
    --------
    >>> from grater import Disk
    >>> disk = Disk(40, 70, 30, alpha_in=8, alpha_out=-4, scale_height=1, offset_x=2.0)
    >>> [round(float(x), 3) for x in ring_center(disk)]
    [2.0, 0.0]
    """
    check_kind("disk", disk, Disk)
    return _center(disk, peak_radius(disk))


def _center(disk, radius):
    omega = jnp.deg2rad(disk.argument_of_pericenter)
    shift = radius * disk.eccentricity
    x = disk.offset_x - shift * jnp.cos(omega)
    y = disk.offset_y - shift * jnp.sin(omega)
    return jnp.stack([x, y])


def _length(vector):
    """Length of a vector, with gradient 0 where it is 0."""
    squared = jnp.sum(jnp.square(vector))
    safe = jnp.where(squared > 0, squared, jnp.ones_like(squared))
    return jnp.where(squared > 0, jnp.sqrt(safe), jnp.zeros_like(squared))


def near_side_position_angle(disk: Disk) -> Float[Array, ""]:
    """Return the position angle of the disk's near side, deg, 0 to 360, from North to East.

    It is ``position_angle`` - 90 for inclinations up to 90 deg and + 90 above.
    """
    quarter = jnp.where(disk.inclination > 90.0, 90.0, -90.0)
    return jnp.mod(disk.position_angle + quarter, 360.0)


def scattering_angles(disk: Disk) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return the smallest and the largest scattering angle that a disk shows, deg.

    They are 90 deg minus and plus the tilt from face-on, for dust in the midplane; the disk's
    thickness widens them by about its opening angle.

    Parameters
    ----------
    disk
        Only its inclination matters.

    Examples
    --------
    >>> from grater import Disk
    >>> disk = Disk(40, 70, 30, alpha_in=8, alpha_out=-4, scale_height=1)
    >>> [round(float(x), 1) for x in scattering_angles(disk)]
    [20.0, 160.0]
    """
    check_kind("disk", disk, Disk)
    tilt = jnp.minimum(disk.inclination, 180.0 - disk.inclination)
    return 90.0 - tilt, 90.0 + tilt


def scattering_angle_map(disk: Disk, view: View | Grid) -> Float[Array, "ny nx"]:
    r"""Return the angle by which dust in the midplane scatters its light to us, per pixel, deg.

    .. math::
        \cos\theta = \frac{l_0}{\sqrt{X^2 + Y^2 + l_0^2}}, \qquad l_0 = y_m \tan i

    for the point where the line of sight of a pixel's centre crosses the midplane. Exactly edge-on
    it is 0 on one side of the midplane and 180 deg on the other.

    Parameters
    ----------
    disk
        Its inclination and position angle matter.
    view
        Pixels, from a `View` with its roll, or a `Grid` with North up.

    Returns
    -------
    array
        Shape (ny, nx); NaN within the view's ``inner_radius`` of the star.

    Examples
    --------
    >>> from grater import Disk, Grid
    >>> disk = Disk(40, 60, 0, alpha_in=8, alpha_out=-4, scale_height=1)
    >>> angle = scattering_angle_map(disk, Grid((5, 5), 0.1, 60.0))
    >>> angle[2].round(1).tolist()  # East is left, and the near side, PA - 90 deg, right
    [150.0, 150.0, nan, 30.0, 30.0]
    """
    check_kind("disk", disk, Disk)
    check_kind("view", view, View | Grid)
    # of the pixels, whatever points the PSF needs
    pixels = {"oversample": 1, "channel": Channel()}
    seen = View(view) if isinstance(view, Grid) else rebuild(view, pixels)
    *offsets, inside = seen.sky_coordinates()
    x, y = sky_to_disk(disk.position_angle, *offsets)
    sin_i, cos_i = disk.geometry.tilt
    # both with the sign of cos i, so that nothing is divided by it
    along, across = y * sin_i * jnp.where(cos_i < 0, -1.0, 1.0), jnp.abs(cos_i)
    angle = jnp.arctan2(jnp.hypot(x, y) * across, along)
    return jnp.where(inside, jnp.nan, jnp.rad2deg(angle))


def derived(disk: Disk) -> dict[str, Float[Array, ""]]:
    r"""Return what papers quote about a disk; differentiable, for ``jit`` and ``vmap``.

    Parameters
    ----------
    disk
        Of one ring.

    Returns
    -------
    dict
        Scalars by name, their units in `DERIVED_UNITS`. `peak_radius`, `ring_center` (in the disk
        plane and on the sky), `near_side_position_angle` and `scattering_angles` say what they are;
        the half maxima are the semi-major axes at which the surface density is half of its largest,
        NaN where it does not fall that far, and ``fwhm`` is their difference;
        ``pericenter_distance`` is that of the ellipse of ``peak_radius``.

    Examples
    --------
    >>> from grater import Disk
    >>> disk = Disk(40, 70, 30, alpha_in=8, alpha_out=-4, scale_height=1, eccentricity=0.1)
    >>> found = derived(disk)
    >>> round(float(found["pericenter_distance"] / found["peak_radius"]), 6)  # 1 - e
    0.9
    >>> float(found["near_side_position_angle"])
    300.0
    """
    check_kind("disk", disk, Disk)
    peak, inner, outer = (disk.semi_major_axis * q for q in _ring(disk))
    center = _center(disk, peak)
    omega, pa = jnp.deg2rad(disk.argument_of_pericenter), jnp.deg2rad(disk.position_angle)
    pericenter = center + peak * jnp.stack([jnp.cos(omega), jnp.sin(omega)])
    # the midplane projected: the minor axis shrinks by cos i and points to PA - 90 deg
    along, across = center[0], center[1] * jnp.cos(jnp.deg2rad(disk.inclination))
    smallest, largest = scattering_angles(disk)
    return {
        "peak_radius": peak,
        "inner_half_maximum": inner,
        "outer_half_maximum": outer,
        "fwhm": outer - inner,
        "ring_center_x": center[0],
        "ring_center_y": center[1],
        "ring_center_offset": _length(center),
        "ring_center_east": along * jnp.sin(pa) - across * jnp.cos(pa),
        "ring_center_north": along * jnp.cos(pa) + across * jnp.sin(pa),
        "pericenter_distance": _length(pericenter),
        "near_side_position_angle": near_side_position_angle(disk),
        "scattering_angle_min": smallest,
        "scattering_angle_max": largest,
    }


def derived_draws(samples, path: str = "disk") -> dict[str, np.ndarray]:
    """Return `derived` for every draw of a posterior, one array (draws,) per quantity.

    Parameters
    ----------
    samples : pytreefit.Samples
        Posterior draws of a model that holds a disk.
    path : str
        Where the disk is in the model, such as "disk" or "disk.inner".
    """
    values = _derived_of_draws(samples, path)
    return {name: np.asarray(values[name]) for name in DERIVED_UNITS}


@jit
def _derived_of_draws(samples, path):
    # all in one compiled function, so that only the disk of each draw is ever built
    return map_models(derived, samples.models().get(path), batch_size=64)


def near_side(position_angles) -> tuple[float, float]:
    """Return which side of a disk is near: its position angle, deg, and the probability of it.

    Parameters
    ----------
    position_angles : array (draws,)
        ``near_side_position_angle`` of posterior draws, deg. They may lie on two opposite sides.

    Returns
    -------
    position_angle : float
        Mean position angle of the near side, where draws on the other side count turned by 180 deg.
    probability : float
        Fraction of the draws on that side, at least 0.5.

    Raises
    ------
    ValueError
        Without draws, and for angles that are not finite.

    Examples
    --------
    >>> near_side([296.0, 297.0, 295.0, 116.0])
    (296.0, 0.75)
    """
    angles = as_data("position_angles", position_angles, "deg", ndim=1)
    if not (angles.size and np.isfinite(angles).all()):
        raise ValueError("position_angles must be finite angles of one draw at least.")
    folded, probability = _fold_near_side(angles)
    return float(np.round(np.mean(folded) % 360.0, 10)), probability


def _fold_near_side(angles):
    """Draws turned onto the more probable side, continuous across 0/360, and its probability."""
    doubled = np.deg2rad(2.0 * angles)
    axis = 0.5 * np.rad2deg(np.arctan2(np.sin(doubled).mean(), np.cos(doubled).mean()))
    on_side = np.cos(np.deg2rad(angles - axis)) > 0
    if on_side.mean() < 0.5:
        axis, on_side = axis + 180.0, ~on_side
    axis %= 360.0
    turned = np.where(on_side, angles, angles + 180.0)
    return axis + (turned - axis + 180.0) % 360.0 - 180.0, float(on_side.mean())


def derived_table(samples, path: str = "disk") -> Table:
    """Return the table of `derived` quantities of a posterior: median and 68 % interval.

    Parameters
    ----------
    samples, path
        As for `derived_draws`.

    Returns
    -------
    pytreefit.Table
        Rows of quantity, median, distances down and up to the ends of the 68 % interval, unit and
        the number of draws that have the quantity (a surface density without a half maximum has
        no FWHM). The near side is the more probable one, its probability is a row of its own.
    """
    rows = []
    for name, values in derived_draws(samples, path).items():
        probability = None
        if name == "near_side_position_angle":
            values, probability = _fold_near_side(values)
        finite = values[np.isfinite(values)]
        low, median, high = np.percentile(finite, [16, 50, 84]) if finite.size else [np.nan] * 3
        error = min(median - low, high - median)
        digits = int(np.clip(1 - np.floor(np.log10(error)), 0, 6)) if error > 0 else 3
        numbers = (f"{x:.{digits}f}" for x in (median, median - low, high - median))
        rows.append((name, *numbers, DERIVED_UNITS[name], finite.size))
        if probability is not None:
            rows.append(("near_side_probability", f"{probability:.3f}", "", "", "", values.size))
    return Table(("quantity", "median", "minus", "plus", "unit", "draws"), rows)
