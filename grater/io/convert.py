"""Disks from the parameter dictionaries of VIP and of GRaTeR-JAX."""

import difflib
import math
from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from ..dust.density import TwoPowerLaw
from ..dust.disk import Disk
from ..dust.edges import InnerEdge
from ..dust.phase import (
    AbstractPhaseFunction,
    HenyeyGreenstein,
    PhaseNormalization,
    TwoHenyeyGreenstein,
)
from ..dust.phase_curves import SplinePhase, TabulatedPhase
from ..dust.polarization import Polarized
from ..scene import Scene
from ..view.view import Grid

_ANGLES = np.linspace(0.0, 180.0, 721)
# softness of an edge that is sharp in the other codes, over its radius
_EDGE_WIDTH = 0.01

# What VIP does where a key is missing (its class documentation shows other values).
_VIP = {
    "nx": 200, "ny": 200, "distance": 50.0, "itilt": 60.0, "omega": 0.0, "pxInArcsec": 0.01225,
    "pa": 0.0, "flux_max": None, "density_dico": None, "spf_dico": None, "xdo": 0.0, "ydo": 0.0,
    "xs": None, "ys": None,
}  # fmt: skip
_VIP_DENSITY = {
    "name": None, "ain": 5.0, "aout": -5.0, "a": 60.0, "e": 0.0, "ksi0": 1.0, "gamma": 1.0,
    "beta": 1.0, "amin": 0.0, "dens_at_r0": 1.0,
}  # fmt: skip
_VIP_DENSITY_IF_NONE = {"name": "2PowerLaws", "a": 40.0, "gamma": 2.0}
_VIP_PHASE = {
    "name": None, "polar": False, "polar_polynom_coeff": None, "g": None, "weight": None,
    "phi": None, "spf": None, "kind": None,
}  # fmt: skip
_GRATER_JAX_DISK = {
    "accuracy": None, "alpha_in": None, "alpha_out": None, "sma": None, "e": 0.0, "ksi0": None,
    "gamma": 2.0, "beta": 1.0, "rmin": 0.0, "dens_at_r0": 1.0, "inclination": None,
    "position_angle": None, "x_center": None, "y_center": None, "omega": 0.0, "xdo": 0.0,
    "ydo": 0.0, "halfNbSlices": None,
}  # fmt: skip
# what the fields of a disk are called there
_VIP_NAMES = {
    "semi_major_axis": "a", "inclination": "itilt", "position_angle": "pa", "alpha_in": "ain",
    "alpha_out": "aout", "scale_height": "ksi0", "gamma": "gamma", "beta": "beta",
    "eccentricity": "e", "argument_of_pericenter": "omega", "offset_x": "xdo", "offset_y": "ydo",
}  # fmt: skip
_GRATER_JAX_NAMES = _VIP_NAMES | {
    "semi_major_axis": "sma", "inclination": "inclination", "position_angle": "position_angle",
    "alpha_in": "alpha_in", "alpha_out": "alpha_out",
}  # fmt: skip
_GRATER_JAX_ALIASES = {"itilt": "inclination", "pa": "position_angle"}
_GRATER_JAX_MISC = {
    "distance": None, "pxInArcsec": None, "nx": None, "ny": None, "halfNbSlices": None,
    "flux_scaling": None,
}  # fmt: skip
_GRATER_JAX_PHASE = {
    "g": None, "g1": None, "g2": None, "weight": None, "backscatt_bound": -1.0,
    "forwardscatt_bound": 1.0, "num_knots": None, "knot_values": None,
}  # fmt: skip


def from_vip(
    parameters: Mapping[str, Any], *, phase_normalization: PhaseNormalization = "sphere"
) -> Disk:
    r"""Return the disk that VIP's ``ScatteredLightDisk(**parameters)`` describes.

    Its image agrees with ``compute_scattered_light()``, number by number, up to VIP's quadrature
    error, on a `Grid` of VIP's ``nx``, ``ny``, ``pxInArcsec``, ``distance``, ``xs``, ``ys``. Two
    values change on the way:

    .. math:: \omega = \omega_{VIP} + 180^\circ, \qquad
              F = \rho_0\, (\mathtt{distance} \cdot \mathtt{pxInArcsec})^2

    (VIP's ``omega`` points at the apocentre; it multiplies by the area of a pixel in au²), or, with
    ``flux_max``, the flux at which VIP's pixels have that maximum. VIP clamps what it does not
    accept and moves inclinations close to 90 deg away from there; this does neither. Its sharp edge
    at the semi-major axis ``amin`` becomes an `InnerEdge` as soft as a hundredth of its radius.

    Parameters
    ----------
    parameters : dict
        The arguments of VIP's class, with its names and units. What is missing has VIP's default,
        inside of ``density_dico`` and ``spf_dico`` too.
    phase_normalization : {"sphere", "right_angle"}
        Normalisation of the phase function in the new disk. The image does not depend on it: the
        flux takes it up.

    Raises
    ------
    ValueError, TypeError
        If a key is unknown or has no counterpart here; it names the key.

    References
    ----------
    The code of vip-hci 2.1.1; Augereau et al. 1999, A&A 348, 557 (the model).

    Examples
    --------
    >>> disk = from_vip({"itilt": 76.0, "omega": 30.0, "density_dico": {"name": "2PowerLaws"}})
    >>> float(disk.argument_of_pericenter), float(disk.semi_major_axis)
    (210.0, 60.0)
    """
    vip = _read("parameters", parameters, _VIP)
    density = _read(
        "density_dico",
        _VIP_DENSITY_IF_NONE if vip["density_dico"] is None else vip["density_dico"],
        _VIP_DENSITY,
    )
    if density["name"] != "2PowerLaws":
        raise ValueError(
            f"density_dico['name'] = {density['name']!r} is not supported: VIP and this converter "
            "know '2PowerLaws'."
        )
    phase = _vip_phase(vip["spf_dico"], vip["itilt"])
    flux = density["dens_at_r0"] * (vip["distance"] * vip["pxInArcsec"]) ** 2
    values = {**vip, **density}
    disk = _disk(values, _VIP_NAMES, density["amin"], phase, phase_normalization, flux)
    if vip["flux_max"] is None:
        return disk
    return disk.set({"flux": disk.flux * (vip["flux_max"] / _vip_maximum(disk, vip, density))})


def from_grater_jax(
    disk_params: Mapping[str, Any],
    spf_params: Mapping[str, Any],
    misc_params: Mapping[str, Any],
    *,
    spline: Literal["tabulated", "free"] = "tabulated",
    phase_normalization: PhaseNormalization = "sphere",
) -> Disk:
    r"""Return the disk that the dictionaries of GRaTeR-JAX's ``Optimizer`` describe.

    Before PSF and star its image agrees with GRaTeR-JAX's up to the latter's quadrature error, on
    a `Grid` of its ``nx``, ``ny``, ``pxInArcsec``, ``distance`` and
    ``center=(x_center, y_center)``. As for VIP,

    .. math:: \omega = \omega_{GRaTeR} + 180^\circ, \qquad F = \rho_0\, \mathtt{flux\_scaling}\,
              (\mathtt{distance} \cdot \mathtt{pxInArcsec})^2,

    and the factor between the normalisations of its phase functions (a spline is 1 at 90 deg,
    the others integrate to 1) goes into the flux as well. ``rmin`` becomes an `InnerEdge` at that
    semi-major axis, as it is documented there and as VIP has it; the code of GRaTeR-JAX cuts at
    ``sma`` whatever ``rmin`` > 0 is.

    Parameters
    ----------
    disk_params : dict
        Geometry and density, in au and degrees. ``accuracy``, ``x_center`` and ``y_center`` are
        no properties of the disk and are not used.
    spf_params : dict
        Phase function: ``{"g"}``, ``{"g1", "g2", "weight"}`` or a spline's ``{"knot_values",
        "num_knots", "forwardscatt_bound", "backscatt_bound"}``.
    misc_params : dict
        ``distance`` (pc), ``pxInArcsec`` and ``flux_scaling`` set the flux.
    spline : {"tabulated", "free"}
        "tabulated" gives a `TabulatedPhase` of the same curve, so that images agree; "free" a
        `SplinePhase` through the same knots, to be fitted: positive everywhere, so between the
        knots a different curve.
    phase_normalization : {"sphere", "right_angle"}
        Normalisation of the phase function in the new disk; the image does not depend on it.

    Raises
    ------
    ValueError, TypeError
        If a key is unknown, missing, or has no counterpart here, or if a spline is negative
        somewhere; it names the key.

    References
    ----------
    The code of grater-jax 0.3.0.
    """
    if isinstance(disk_params, Mapping):
        disk_params = {_GRATER_JAX_ALIASES.get(k, k): v for k, v in disk_params.items()}
    disk = _read("disk_params", disk_params, _GRATER_JAX_DISK)
    misc = _read("misc_params", misc_params, _GRATER_JAX_MISC)
    needed = ("sma", "inclination", "position_angle", "alpha_in", "alpha_out", "ksi0")
    _need("disk_params", disk, needed)
    _need("misc_params", misc, ("distance", "pxInArcsec", "flux_scaling"))
    pixel_area = (misc["distance"] * misc["pxInArcsec"]) ** 2
    phase = _grater_jax_phase(spf_params, spline)
    flux = disk["dens_at_r0"] * misc["flux_scaling"] * pixel_area
    return _disk(disk, _GRATER_JAX_NAMES, disk["rmin"], phase, phase_normalization, flux)


def _disk(
    values: Mapping[str, Any],
    names: Mapping[str, str],
    inner: float,
    phase: AbstractPhaseFunction,
    normalization: PhaseNormalization,
    unnormalized_flux: float,
) -> Disk:
    """Build the disk whose flux makes up for bringing the phase function to a normalisation."""
    fields = {field: values[name] for field, name in names.items()}
    fields["argument_of_pericenter"] += 180.0
    if inner != 0:
        profile = TwoPowerLaw(fields.pop("alpha_in"), fields.pop("alpha_out"))
        edge = inner / fields["semi_major_axis"]
        fields["radial"] = InnerEdge(profile, edge, _EDGE_WIDTH)
    return Disk(
        **fields,
        phase=phase,
        phase_normalization=normalization,
        flux=unnormalized_flux / float(phase.factor(normalization)),
    )


def _vip_phase(spf_dico: Any, inclination: float) -> AbstractPhaseFunction:
    spf = _read("spf_dico", {"name": "HG", "g": 0.0} if spf_dico is None else spf_dico, _VIP_PHASE)
    name = spf["name"]
    if name == "HG":
        _need("spf_dico", spf, ("g",))
        phase = HenyeyGreenstein(g=spf["g"])
    elif name == "DoubleHG":
        _need("spf_dico", spf, ("g", "weight"))
        if len(spf["g"]) != 2:
            raise ValueError(f"spf_dico['g'] = {spf['g']} of a 'DoubleHG' needs two values.")
        phase = TwoHenyeyGreenstein(g1=spf["g"][0], g2=spf["g"][1], weight=spf["weight"])
    elif name == "interpolated":
        _need("spf_dico", spf, ("phi", "spf"))
        phase = _vip_table(spf, inclination)
    else:
        raise ValueError(
            f"spf_dico['name'] = {name!r} is not supported: use 'HG', 'DoubleHG' or 'interpolated'."
        )
    if not spf["polar"]:
        return phase
    if spf["polar_polynom_coeff"] is None:
        return Polarized(phase)
    cosine = jnp.cos(jnp.deg2rad(jnp.asarray(_ANGLES, float)))
    polynomial = np.polyval(np.asarray(spf["polar_polynom_coeff"], float), _ANGLES)
    return _table("spf_dico['polar_polynom_coeff']", polynomial * np.asarray(phase(cosine)))


def _vip_table(spf: Mapping[str, Any], inclination: float) -> TabulatedPhase:
    if spf["kind"] is not None:
        raise ValueError(
            f"spf_dico['kind'] = {spf['kind']!r} is not supported: only VIP's default, the "
            "monotone cubic, is. Leave the key out, or tabulate your curve on a fine grid of "
            "angles first."
        )
    angle = np.asarray(spf["phi"], float)
    seen = math.degrees(math.asin(min(1.0, abs(math.sin(math.radians(inclination))))))
    if angle.min() > 90.0 - seen or angle.max() < 90.0 + seen:
        raise ValueError(
            f"spf_dico['phi'] covers {angle.min():g} to {angle.max():g} deg, but a disk inclined "
            f"by {inclination:g} deg shows scattering angles from {90 - seen:g} to "
            f"{90 + seen:g} deg. VIP would extrapolate a cubic there: extend the table."
        )
    return TabulatedPhase(angle=angle, values=spf["spf"])


def _vip_maximum(disk: Disk, vip: Mapping[str, Any], density: Mapping[str, Any]) -> float:
    """Return the brightest of the pixels that VIP computes."""
    ny, nx = vip["ny"], vip["nx"]
    default = vip["xs"] is None or vip["ys"] is None
    x, y = (nx // 2, ny // 2) if default else (vip["xs"], vip["ys"])
    grid = Grid((ny, nx), pixel_scale=vip["pxInArcsec"], distance=vip["distance"], center=(x, y))
    image = np.asarray(Scene(disk, grid=grid, accuracy=1e-6).image())
    au = vip["pxInArcsec"] * vip["distance"]
    radius = au * np.hypot(np.arange(nx)[None, :] - x, np.arange(ny)[:, None] - y)
    inner = math.hypot(vip["xdo"], vip["ydo"]) + au
    outer = density["a"] * 0.005 ** (1.0 / density["aout"])
    computed = (radius > inner) & (radius < outer)
    if not computed.any() or not image[computed].max() > 0:
        raise ValueError(
            f"flux_max = {vip['flux_max']} cannot be used: the disk has no light within the image."
        )
    return float(image[computed].max())


def _grater_jax_phase(spf_params: Any, spline: str) -> AbstractPhaseFunction:
    spf = _read("spf_params", spf_params, _GRATER_JAX_PHASE)
    if spf["knot_values"] is not None:
        return _grater_jax_spline(spf, spline)
    if spf["g"] is not None:
        return HenyeyGreenstein(g=spf["g"])
    if spf["g1"] is not None:
        _need("spf_params", spf, ("g1", "g2", "weight"))
        return TwoHenyeyGreenstein(g1=spf["g1"], g2=spf["g2"], weight=spf["weight"])
    raise ValueError(
        f"spf_params has the keys {sorted(spf_params)}, which describe no phase function: give "
        "'g', or 'g1', 'g2' and 'weight', or 'knot_values'."
    )


def _grater_jax_spline(spf: Mapping[str, Any], spline: str) -> AbstractPhaseFunction:
    """Read a spline: half of the free knots on either side of one at 90 deg, forward ones first."""
    free = np.asarray(spf["knot_values"], float)
    if spf["num_knots"] not in (None, free.size):
        raise ValueError(
            f"spf_params['num_knots'] = {spf['num_knots']}, but 'knot_values' has {free.size} "
            "values. Give one value for each free knot."
        )
    if free.size < 3:
        raise ValueError(
            f"spf_params['knot_values'] has {free.size} values; a cubic spline needs at least 3."
        )
    n_forward = free.size // 2
    forward = np.linspace(spf["forwardscatt_bound"], 0.0, n_forward + 1)[:-1]
    backward = np.linspace(0.0, spf["backscatt_bound"], free.size - n_forward + 1)[1:]
    if spline == "free":
        return SplinePhase(knots=np.append(forward, backward)[::-1], values=free[::-1])
    if spline != "tabulated":
        raise ValueError(f"spline = {spline!r} is neither 'tabulated' nor 'free'.")

    from scipy.interpolate import CubicSpline

    knots = np.concatenate([forward, [0.0], backward])[::-1]
    values = np.insert(free, n_forward, 1.0)[::-1]
    curve = CubicSpline(knots, values, bc_type="not-a-knot")
    # the curve has a kink at its last backward knot: the table closes in on it from both sides
    kink = np.rad2deg(np.arccos(knots[0]))
    near = 0.25 * 0.5 ** np.arange(9)
    angle = np.unique(np.clip(np.concatenate([_ANGLES, [kink], kink - near, kink + near]), 0, 180))
    angle = np.delete(angle, np.flatnonzero(np.diff(angle) < 1e-4))
    cosine = np.cos(np.deg2rad(angle))
    beyond = np.maximum(cosine - knots[-1], 0.0)
    inside = curve(np.clip(cosine, knots[0], knots[-1]))
    return _table("spf_params['knot_values']", inside + curve(knots[-1], 1) * beyond, angle)


def _table(key: str, values: np.ndarray, angle: np.ndarray = _ANGLES) -> TabulatedPhase:
    if values.min() < -1e-6 * np.abs(values).max():
        raise ValueError(
            f"{key} makes the phase function negative, {values.min():.3g} at "
            f"{angle[np.argmin(values)]:g} deg. Light is never negative: change the curve before "
            "you convert it."
        )
    return TabulatedPhase(angle=angle, values=np.maximum(values, 0.0))


def _read(what: str, given: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """Fill a dictionary up with defaults, and refuse keys that are not known."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{what} is a {type(given).__name__}; a dictionary is needed.")
    for key in given:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"{what} has the unknown key {key!r}.{hint} Known are {', '.join(known)}."
            )
    return {**known, **given}


def _need(what: str, filled: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        if filled[key] is None:
            raise ValueError(f"{what} lacks the key {key!r}, which is needed.")
