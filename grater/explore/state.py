"""A disk whose parameters are moved by hand: its images and curves, without any page."""

import os
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from pytreefit import Posterior, jit
from pytreefit.extend import Explorer, check_kind, priors_code, values_code

from ..data.observation import Observation
from ..derived import scattering_angles, surface_density
from ..dust.phase_curves import SplinePhase
from ..plot.images import compared
from ..scene import Scene

_ANGLES = np.linspace(0.0, 180.0, 181)  # deg
_REACH = np.geomspace(0.1, 8.0, 400)  # semi-major axes


class DiskExplorer(Explorer):
    """A scene and an image of it, whose parameters are moved by hand.

    Parameters
    ----------
    scene
        As the observation sees it; its values are where the sliders begin.
    data
        The image.
    priors
        As for `pytreefit.Posterior`: what can be moved, and how far.
    recipe
        Python that makes ``data``, and a ``scene`` of the same structure, for `code`.

    Raises
    ------
    TypeError, ValueError
        For what is no scene or no observation, and what `pytreefit.Posterior` refuses.

    Examples
    --------
    >>> import jax, grater
    >>> disk = grater.Disk(20.0, 60.0, 30.0, alpha_in=8, alpha_out=-5, scale_height=1)
    >>> grid = grater.Grid((21, 21), pixel_scale=0.1, distance=50.0)
    >>> scene = grater.Scene(disk, grid=grid, psf=grater.GaussianPSF(2.0))
    >>> data = grater.Observation.simulate(scene, 0.01, jax.random.key(0))
    >>> explorer = DiskExplorer(scene, data, {"disk.inclination": (20, 80)})
    >>> explorer.set("disk.inclination", 55.0)
    >>> float(explorer.model.get("disk.inclination"))
    55.0
    """

    exported = ".fits"

    def __init__(self, scene: Scene, data: Observation, priors: Mapping[Any, Any], recipe=""):
        check_kind("scene", scene, Scene)
        check_kind("data", data, Observation)
        super().__init__(Posterior(scene, data.log_likelihood, priors), recipe)
        self.data = data

    def arrays(self, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Images and curves at some values of the free parameters, by default the present ones.

        Returns
        -------
        dict
            ``data``, ``model`` (with NaN where pixels are masked, in the data), ``residual`` in
            units of the noise, and the ``noise``, each of shape (ny, nx); ``angle`` in degrees,
            shape (181,), and ``phase``, the phase function there relative to 90 deg, shape (disks,
            181); ``radius`` in au and the surface ``density`` relative to its maximum, both of
            shape (disks, 400); the smallest and the largest scattering angle that is ``seen``, of
            any disk; the numbers ``chi_square``, ``reduced`` chi-square and
            ``log_likelihood``.
        """
        values = self._values if values is None else values
        dtype = jnp.result_type(float)
        curves = np.asarray(np.cos(np.deg2rad(_ANGLES)), dtype), np.asarray(_REACH, dtype)
        found = _pictures(self.posterior, self.data, dict(values), *curves)
        arrays = {name: np.asarray(array) for name, array in found.items()}
        arrays["reduced"] = arrays["chi_square"] / max(self.data.n_used - self.posterior.dim, 1)
        return {"angle": _ANGLES, **arrays}

    def label(self, slider) -> str:
        """The parameter's name; of values of a free phase function the angle."""
        owner, _, last = slider.path.rpartition(".")
        if last == "values" and isinstance(curve := self.posterior.model.get(owner), SplinePhase):
            return f"phase at {np.rad2deg(np.arccos(float(curve.knots[slider.index]))):.0f}°"
        return super().label(slider)

    def draw(self, document: Any, title: str) -> None:
        """Fill a document of Bokeh with the page."""
        from .page import build  # with Bokeh

        build(document, self, title)

    def code(self) -> str:
        """Python that makes the same scene, with its priors, and evaluates it."""
        parts = (
            self.recipe,
            f"scene = scene.set({values_code(self.posterior, self.model)})",
            f"priors = {priors_code(self.posterior)}",
            "posterior = pytreefit.Posterior(scene, data.log_likelihood, priors)",
            "image = scene.image()",
            'print(f"chi-square {float(data.chi_square(scene)):.6g} of {data.n_used} pixels")',
        )
        return "\n".join(parts) + "\n"

    def export(self, path: str | os.PathLike) -> None:
        """Write data, model, residual (in units of the noise) and noise into a FITS file."""
        from astropy.io import fits  # slow, and reads files

        arrays = self.arrays()
        images = [
            fits.ImageHDU(np.asarray(arrays[name], np.float32), name=name.upper())
            for name in ("data", "model", "residual", "noise")
        ]
        header = fits.Header({"CHISQ": float(arrays["chi_square"])})
        for slider in self.sliders:
            header.add_history(f"{slider.name} = {self.get(slider.name):.7g} {slider.unit}")
        fits.HDUList([fits.PrimaryHDU(header=header), *images]).writeto(path, overwrite=True)


@jit
def _pictures(posterior, data, values, cosine, reach):
    """One program for all values."""
    scene = posterior.model_at(values)
    image, model, residual, noise = compared(scene, data)
    density = jnp.stack([surface_density(disk, reach) for disk in scene.disks])
    low, high = zip(*(scattering_angles(disk) for disk in scene.disks), strict=True)
    return {
        "data": image,
        "model": model,
        "residual": residual,
        "noise": jnp.broadcast_to(noise, image.shape),
        "phase": jnp.stack([d.phase(cosine) / d.phase.right_angle() for d in scene.disks]),
        "density": density / jnp.max(density, axis=1, keepdims=True),
        "seen": jnp.stack([jnp.min(jnp.stack(low)), jnp.max(jnp.stack(high))]),
        "radius": jnp.stack([disk.semi_major_axis * reach for disk in scene.disks]),
        "chi_square": data.chi_square(scene),
        "log_likelihood": data.log_likelihood(scene),
    }
