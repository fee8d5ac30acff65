"""Surface brightness in the units of papers: per solid angle, per pixel, relative to the star."""

from typing import Any

from pytreefit.extend import as_number, check_kind, unit_of


def convert_brightness(
    image: Any, to: Any, *, pixel_scale: Any, unit: Any = None, star_flux: Any = None
) -> Any:
    r"""Convert an image between units of flux density per pixel, per solid angle, and contrast.

    With the pixel's solid angle :math:`\Omega` and the star's flux density :math:`F_\star`,

    .. math:: F_{pixel} = \Omega\, I = C\, F_\star

    for the flux density :math:`F_{pixel}` of a pixel, the surface brightness :math:`I` and the
    contrast :math:`C`.

    Parameters
    ----------
    image
        Numbers of any shape, or a quantity.
    to
        Unit of the result: a flux density per solid angle ("mJy / arcsec2") or per pixel ("mJy",
        "mJy / pix"), or the contrast with the star per pixel ("", "1 / pix") or per solid angle
        ("1 / arcsec2").
    pixel_scale
        Arcsec per pixel, > 0.
    unit
        Unit of the image, where that is no quantity.
    star_flux
        Flux density of the star in Jy, or a quantity, > 0; needed from and to contrasts.

    Returns
    -------
    array or astropy.units.Quantity
        Of the shape of the image; a quantity where the image is one.

    Raises
    ------
    ValueError, TypeError
        For units that are no brightness, an image without a unit or with two, and a contrast
        without the star's flux.

    Examples
    --------
    >>> per_area = convert_brightness(2.0, "mJy/arcsec2", unit="mJy/pix", pixel_scale=0.1)
    >>> round(per_area, 6)
    200.0
    """
    from astropy.units import Quantity, Unit

    own = unit_of(image)
    if (own is None) == (unit is None):
        has = "no unit" if own is None else f"a unit, {own}"
        raise TypeError(f"convert_brightness: image has {has}, and unit = {unit}: give it once.")
    scale = _positive("pixel_scale", pixel_scale, "arcsec")
    star = None if star_flux is None else _positive("star_flux", star_flux, "Jy")
    source, target = (
        _jansky_per_pixel(name, wanted, scale, star)
        for name, wanted in (("unit", own if unit is None else unit), ("to", to))
    )
    factor = source / target
    return image * factor if own is None else Quantity(image.value * factor, Unit(to))


def _positive(name: str, value: Any, unit: str) -> float:
    number = as_number(f"convert_brightness: {name}", value, unit)
    if not number > 0:
        raise ValueError(f"convert_brightness: {name} = {number} {unit} is not > 0.")
    return number


def _jansky_per_pixel(name: str, unit: Any, scale: float, star: float | None) -> float:
    """What 1 of a unit of brightness is."""
    import astropy.units as u

    check_kind(f"convert_brightness: {name}", unit, str | u.UnitBase)
    try:
        unit = u.Unit(unit)
    except ValueError as error:
        raise ValueError(f"convert_brightness: {name} = {unit!r} is no unit: {error}") from error
    areas = {u.dimensionless_unscaled: 1.0, u.pix: 1.0, u.arcsec**2: scale**2}
    for area, size in areas.items():
        if unit.is_equivalent(u.Jy / area):
            return float(unit.to(u.Jy / area)) * size
        if unit.is_equivalent(1.0 / area):
            if star is None:
                raise ValueError(
                    f"convert_brightness: {name} = '{unit}' is relative to the star: give "
                    "star_flux=, its flux density."
                )
            return float(unit.to(1.0 / area)) * size * star
    raise ValueError(
        f"convert_brightness: {name} = '{unit}' is no brightness: give a flux density, or a pure "
        "number for the contrast, per pixel or per solid angle, such as 'mJy / arcsec2'."
    )
