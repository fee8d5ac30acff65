"""Figures of several exposures of one disk, and of them together with North up."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pytreefit.extend import check_kind

from ..data.observation import Observation
from ..frames.derotate import derotated
from ..scene import Scene
from ..view.view import Grid
from .images import draw_fit, plot_fit, residual_of


class Combined(NamedTuple):
    """Exposures turned North up and combined, see `combine`.

    Parameters
    ----------
    data, model
        Weighted means, shape (ny, nx), NaN where no exposure has the pixel. Starlight is subtracted
        from the data.
    noise
        Standard deviation of the data if pixels and exposures are independent, (ny, nx).
    grid
        The pixels, North up.

    Examples
    --------
    >>> import numpy as np
    >>> from grater import Disk, Observation, Scene, View, combine
    >>> data = Observation(np.ones((15, 15)), 1.0, pixel_scale=0.2, distance=60.0)
    >>> rolls = {"roll1": 0.0, "roll2": 30.0}
    >>> views = {name: View(data.grid, roll=roll, accuracy=1e-2) for name, roll in rolls.items()}
    >>> disk = Disk(40, 60, 0, alpha_in=5, alpha_out=-5, scale_height=2)
    >>> found = combine(Scene(disk, view=views), {name: data.set({"view": name}) for name in rolls})
    >>> round(float(found.noise[7, 7]), 3)  # of two exposures
    0.707
    """

    data: Float[np.ndarray, "ny nx"]
    model: Float[np.ndarray, "ny nx"]
    noise: Float[np.ndarray, "ny nx"]
    grid: Grid


def combine(scene: Scene, observations: Mapping[str, Observation]) -> Combined:
    r"""Return the picture of several exposures together, with North up.

    .. math:: \bar d = \frac{\sum_e d_e / w_e^2}{\sum_e 1 / w_e^2}

    with the widths :math:`w` of the noise. Exposures are turned about the star, where the scene has
    it, by bicubic interpolation, so that this is for figures only: fit the exposures themselves.
    Pixels are taken for squares, whatever the distortion.

    Parameters
    ----------
    scene
        The model, with a view for each exposure.
    observations
        By name, each of which says which ``view`` it is of.

    Raises
    ------
    ValueError
        Where there is none, or shapes, pixel scales or units differ, or a detector is mirrored; and
        for images of different light, as of two bands, or of total and polarised intensity.
    TypeError
        For what is no `Observation`.
    """
    _check(observations)
    of = list(observations.values())
    grids = [observation.seen(scene).grid for observation in of]
    if any(grid.parity != 1 for grid in grids):
        raise ValueError("combine: the detector is mirrored (parity = -1): flip its images first.")
    first = of[0]
    for name, other in observations.items():
        same = other.shape == first.shape and np.isclose(other.pixel_scale, first.pixel_scale)
        if not same:
            raise ValueError(
                f"combine: {name!r} has {other.shape} pixels of {float(other.pixel_scale):g} "
                f"arcsec, the first {first.shape} of {float(first.pixel_scale):g}: all have to be "
                "alike. Crop them, or draw them with combined=False."
            )
    parts = [residual_of(scene, observation) for observation in of]
    _check_same_light(scene, observations)
    data, model, _, width = (jnp.stack([jnp.asarray(p[k]) for p in parts]) for k in range(4))
    used = jnp.isfinite(data)
    angles = jnp.stack([grid.roll.astype(data.dtype) for grid in grids])
    # about the star of the scene, which may have been fitted
    centers = jnp.stack([grid.center.astype(data.dtype) for grid in grids])
    where = angles, centers, centers[0]
    every = jnp.ones_like(used)
    data, width = (derotated(jnp.where(used, v, 0.0), used, *where) for v in (data, width))
    model = derotated(model, every, *where)
    weight = jnp.where(jnp.isfinite(data) & (width > 0), 1.0 / width**2, 0.0)
    total = jnp.sum(weight, axis=0)
    total = jnp.where(total > 0, total, jnp.nan)
    means = (jnp.sum(jnp.where(weight > 0, weight * v, 0.0), axis=0) / total for v in (data, model))
    noise = jnp.sqrt(1.0 / total)
    north_up = first.grid.set({"roll": 0.0, "center": grids[0].center})
    return Combined(*(np.asarray(v) for v in (*means, noise)), grid=north_up)


def plot_exposures(
    scene: Scene,
    observations: Mapping[str, Observation],
    *,
    combined: bool = True,
    figure: Any = None,
    **how: Any,
):
    """Draw data, model and residual / noise of several exposures in rows.

    The last row is all of them together with North up, see `combine`.

    Parameters
    ----------
    scene
        The model, with a view for each exposure.
    observations
        By name, each of which says which ``view`` it is of.
    combined
        Whether there is that last row.
    figure : matplotlib Figure, optional
        Where to draw; by default a new figure, which is returned.
    **how
        ``stretch``, ``limits``, ``n_sigma`` and ``cmap`` of `plot_fit`.

    Raises
    ------
    ValueError, TypeError
        As `combine` and `plot_fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from grater import Disk, Observation, Scene, View
    >>> data = Observation(np.ones((15, 15)), 1.0, pixel_scale=0.2, distance=60.0)
    >>> views = {f"roll{k}": View(data.grid, roll=30.0 * k, accuracy=1e-2) for k in (0, 1)}
    >>> scene = Scene(Disk(40, 60, 0, alpha_in=5, alpha_out=-5, scale_height=2), view=views)
    >>> figure = plot_exposures(scene, {name: data.set({"view": name}) for name in views})
    >>> len(figure.subfigs)  # two exposures, and both together
    3
    """
    from matplotlib.figure import Figure

    _check(observations)
    together = combine(scene, observations) if combined else None
    rows = len(observations) + (together is not None)
    if figure is None:
        figure = Figure(figsize=(10.2, 4.7 * rows), layout="constrained")
    parts = np.atleast_1d(figure.subfigures(rows))
    for part, (name, observation) in zip(parts, observations.items(), strict=False):
        titles = (name, "model", "residual / noise")
        plot_fit(scene, observation, titles=titles, figure=part, **how)
    if together is not None:
        data, model, noise, grid = together
        images = data, model, (data - model) / noise, noise
        unit = next(iter(observations.values())).unit
        titles = ("all, North up", "model", "residual / noise")
        draw_fit(images, grid, unit, titles=titles, figure=parts[-1], **how)
    return figure


def _check_same_light(scene, observations) -> None:
    """A mean of images of different light, or in different units, is an image of nothing."""
    (first, one), *others = observations.items()
    for name, other in others:
        pairs = [("unit", one.unit, other.unit)] if one.unit and other.unit else []
        (a,), (b,) = (seen.seen(scene).channels.values() for seen in (one, other))
        pairs += [(what, getattr(a, what), getattr(b, what)) for what in ("curve", "stokes")]
        for what, of_one, of_other in pairs:
            if of_one != of_other:
                raise ValueError(
                    f"combine: {first!r} has {what} {of_one!r}, {name!r} has {of_other!r}: only "
                    "images of the same light have a mean. Draw them with combined=False."
                )


def _check(observations) -> None:
    if not isinstance(observations, Mapping) or not observations:
        raise ValueError(
            "observations must be a dictionary of exposures, such as {'roll1': a, 'roll2': b}."
        )
    for name, observation in observations.items():
        check_kind(f"observations[{name!r}]", observation, Observation)
