"""Images of the total and of the polarised intensity of one disk, fitted together."""

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pytreefit import Model

from .data import Observation
from .noise import AbstractNoise
from .scene import Grid, Scene


class _Seen(Model):
    """One of a scene's images, as an observation wants it."""

    picture: Float[Array, "ny nx"]
    noise: AbstractNoise

    def image(self):
        return self.picture


class PolarimetricObservation(Model):
    """The total and the polarised intensity of a disk on the same pixels.

    Its log-likelihood is the sum of both: what the images say of the disk together. `Scene.images`
    renders them at once.

    Parameters
    ----------
    total, polarized
        Both images with their errors and masks, in the same unit.

    Raises
    ------
    ValueError
        Where shape, pixel scale, distance or the star's pixel are not the same.

    Examples
    --------
    >>> import numpy as np
    >>> total, polarized = (
    ...     Observation(np.full((5, 5), level), 0.1, pixel_scale=0.014, distance=72.0)
    ...     for level in (1.0, 0.2)
    ... )
    >>> PolarimetricObservation(total, polarized).grid.shape
    (5, 5)
    """

    total: Observation
    polarized: Observation

    def __check_init__(self):
        for name in ("shape", "pixel_scale", "distance", "center"):
            total, polarized = (getattr(of, name) for of in (self.total, self.polarized))
            if isinstance(total, Tracer) or isinstance(polarized, Tracer):
                continue
            if not np.array_equal(total, polarized):
                raise ValueError(
                    f"PolarimetricObservation.total has {name} {total}, .polarized has "
                    f"{polarized}. Both images have to be on the same pixels."
                )

    @property
    def grid(self) -> Grid:
        """The pixel grid on which a scene must be rendered to be compared with the images."""
        return self.total.grid

    def _seen(self, scene: Scene, images) -> list[tuple[Observation, _Seen]]:
        own = scene.total.noise if scene.total is not None else None
        noises = scene.noise if own is None else own, scene.noise
        parts = zip((self.total, self.polarized), images, noises, strict=True)
        return [(observation, _Seen(image, noise)) for observation, image, noise in parts]

    def log_likelihood(self, scene: Scene) -> Float[Array, ""]:
        """Return the log-likelihood of both images under the scene and its noise models.

        Parameters
        ----------
        scene
            Rendered on this observation's grid; its disks have `Polarized` phase functions.
        """
        return sum(
            (
                observation.log_likelihood(seen)
                for observation, seen in self._seen(scene, scene.images())
            ),
            jnp.zeros(()),
        )

    def residuals(self, scene: Scene) -> Float[Array, " pixels"]:
        """Return the standardised residuals of the total and then of the polarised intensity.

        As `Observation.residuals`, 2 ny nx numbers.
        """
        parts = [
            observation.residuals(seen) for observation, seen in self._seen(scene, scene.images())
        ]
        return jnp.concatenate(parts)

    def log_normalization(self, scene: Scene) -> Float[Array, " pixels"] | None:
        """Return what the log-likelihood has besides the squares of the residuals.

        As `Observation.log_normalization`; None where one of the noises is not Gaussian.
        """
        # noise alone: nothing has to be rendered
        seen = self._seen(scene, (self.total.image, self.polarized.image))
        parts = [observation.log_normalization(of) for observation, of in seen]
        known = [part for part in parts if part is not None]
        return jnp.concatenate(known) if len(known) == len(parts) else None

    def chi_square(self, scene: Scene) -> Float[Array, ""]:
        """Return the sum of the squared residuals of both images in units of their error maps."""
        return sum(
            (
                observation.chi_square(seen)
                for observation, seen in self._seen(scene, scene.images())
            ),
            jnp.zeros(()),
        )
