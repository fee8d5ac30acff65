"""The visible disk of a star: outlines of its spots and meridians, as a telescope would see them.

The rotation axis points up, its visible end (for an inclination below pi/2) towards us, and the
surface moves to the right.
"""

import numpy as np

from ..plot_spots import to_sky, unit_vectors

_POINTS = 40  # of an outline


def outlines(latitude, longitude, radius, inc: float) -> tuple[list, list]:
    """Outlines of round spots in units of the star's radius; those that are not seen are left out.

    Parameters
    ----------
    latitude, longitude, radius
        Of the spots, radians, shape (n,); longitude 0 faces us, radius 0 is no spot.
    inc
        Inclination, radians.

    Returns
    -------
    tuple of lists
        Coordinates to the right and up, an array for each spot that is seen. What is behind the
        limb is moved onto it.
    """
    there = np.asarray(radius) > 0
    center = unit_vectors(np.asarray(latitude)[there], np.asarray(longitude)[there])
    alpha = np.asarray(radius)[there][:, None, None]
    # two directions across each centre
    north = np.stack(
        [-center[:, 0] * center[:, 2], -center[:, 1] * center[:, 2], 1.0 - center[:, 2] ** 2], -1
    )
    north /= np.maximum(np.linalg.norm(north, axis=-1, keepdims=True), 1e-12)
    east = np.cross(north, center)
    angle = np.linspace(0.0, 2.0 * np.pi, _POINTS)[None, :, None]
    rim = np.cos(alpha) * center[:, None] + np.sin(alpha) * (
        np.cos(angle) * north[:, None] + np.sin(angle) * east[:, None]
    )
    x, y, z = np.moveaxis(rim @ to_sky(inc).T, -1, 0)
    far = np.maximum(np.hypot(x, y), 1e-12)
    x, y = (np.where(z < 0.0, a / far, a) for a in (x, y))
    seen = np.any(z > 0.0, axis=1)
    return list(x[seen]), list(y[seen])


def graticule(equator: float, inc: float) -> tuple[list, list]:
    """Lines of latitude and meridians, every 30 deg; NaN where they are behind the limb.

    Parameters
    ----------
    equator
        Longitude by which the equator has turned, radians.
    inc
        Inclination, radians.
    """
    around = np.linspace(0.0, 2.0 * np.pi, 121)
    up = np.linspace(-0.5, 0.5, 61) * np.pi
    lines = [unit_vectors(np.radians(degrees), around) for degrees in range(-60, 61, 30)]
    lines += [unit_vectors(up, k * np.pi / 6.0 + equator) for k in range(12)]
    xs, ys = [], []
    for line in lines:
        x, y, z = np.moveaxis(line @ to_sky(inc).T, -1, 0)
        xs.append(np.where(z > 0.0, x, np.nan))
        ys.append(np.where(z > 0.0, y, np.nan))
    return xs, ys
