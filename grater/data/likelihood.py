"""The likelihood of images under a scene, whether one or several are compared."""

import abc
import math
import warnings
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from pytreefit import Model
from pytreefit.extend import check_kind, is_traced

from ..scene import Scene
from ..view.view import Grid
from .noise import AbstractNoise, PoissonNoise

# by how much the pixels of a scene may be elsewhere than those of an observation: pixels, degrees,
# and parts of the whole
_APART = {"center": 0.5, "roll": 0.5, "pixel_scale": 1e-3, "distance": 1e-3, "distortion": 1e-3}
_FEW_BELOW = 0.01  # of the pixels, which no counts can be
# what images of several channels have in common
_ALIKE = ("shape", *_APART, "parity", "unit")
_ELSEWHERE = (
    "The scene's grid has {0} = {1}, the observation {2}: the scene is rendered elsewhere. Build "
    "it with grid=observation.grid, or give the observation the right {0}."
)


class AbstractObservation(Model):
    r"""One or several images with their likelihood under a scene.

    The log-likelihood is the sum of the noise models' over the pixels in use of all images. Where
    these are sums of squares, fits use the Levenberg-Marquardt method.
    """

    @abc.abstractmethod
    def _images(self) -> list:
        """All images."""

    @abc.abstractmethod
    def _models(self, scene) -> list[Array]:
        """The scene's image for each."""

    @abc.abstractmethod
    def _noises(self, scene) -> list[AbstractNoise]:
        """The noise of each."""

    def _parts(self, scene, models=None):
        """Noise, data, model, errors and pixels in use of each image."""
        models = self._models(scene) if models is None else models
        parts = zip(self._noises(scene), self._images(), models, strict=True)
        return [
            (observation._scattered(noise), *observation.compared(model))
            for noise, observation, model in parts
        ]

    def log_likelihood(self, scene: Scene) -> Float[Array, ""]:
        """Return the log-likelihood of the data under the scene and its noise.

        Parameters
        ----------
        scene : Scene
            Rendered on the observation's grid; its noise says how the data scatter.
        """
        values = [
            noise.log_likelihood(image, model, error, used)
            for noise, image, model, error, used in self._parts(scene)
        ]
        return jnp.sum(jnp.stack(values))

    def residuals(self, scene: Scene) -> Float[Array, " pixels"] | None:
        r"""Return the vector :math:`r` of standardised residuals, 0 at masked pixels.

        .. math:: \ln L = \sum_{pixels} \left( n - r^2 / 2 \right)

        For `GaussianNoise` of scale :math:`s` it is :math:`r = (D - M) / (s\,\sigma)`. None where
        the likelihood is no sum of squares.
        """
        return _concatenated(
            noise.residuals(image, model, error, used)
            for noise, image, model, error, used in self._parts(scene)
        )

    def log_normalization(self, scene: Scene) -> Float[Array, " pixels"] | None:
        """Return the vector :math:`n` of `residuals`, 0 at masked pixels, or None."""
        # the scene is rendered only where that matters
        needed = any(noise.normalization_needs_model for noise in self._noises(scene))
        models = None if needed else [observation.error for observation in self._images()]
        return _concatenated(
            noise.log_normalization(model, error, used)
            for noise, _, model, error, used in self._parts(scene, models)
        )

    def remark(self, scene: Scene) -> str:
        """Sentences where a noise is approximated too roughly or a PSF cut off, or nothing."""
        images = self._images()
        said = [
            noise.remark(image.used)
            for noise, image in zip(self._noises(scene), images, strict=True)
        ]
        for image in images:
            channels = getattr(image.seen(scene), "channels", {})
            said += [channel.psf.remark() for channel in channels.values() if channel.psf]
        return " ".join(dict.fromkeys(sentence for sentence in said if sentence))

    def prepared(self, scene: Scene, varied: Scene) -> "AbstractObservation":
        """The same observation, with what a posterior needs to work out once only.

        Parameters
        ----------
        scene, varied
            The start, and the same scene with new arrays in place of all that is free: what is one
            object in both is fixed.
        """
        images = self._images()
        for image in images:
            # models of a user's own may have no grid
            grid, free = (getattr(image.seen(s), "grid", None) for s in (scene, varied))
            if isinstance(grid, Grid) and (said := _other_pixels(image, grid, free)):
                warnings.warn(said, stacklevel=4)
        noises = list(zip(self._noises(scene), self._noises(varied), images, strict=True))
        for said in filter(None, (_not_counted(*one) for one in noises)):
            warnings.warn(said, stacklevel=4)
        plans = tuple(noise.plan(image.used, other) for noise, other, image in noises)
        return self if all(plan is None for plan in plans) else PreparedObservation(self, plans)

    def chi_square(self, scene: Scene) -> Float[Array, ""]:
        """Return the sum of the squared residuals in units of the error map.

        Where there is starlight the best is subtracted.
        """
        squares = []
        for noise, image, model, error, used in self._parts(scene):
            image = noise.without(image, model, error, used)
            squares.append(jnp.sum(jnp.square((image - model) / error)))
        return jnp.sum(jnp.stack(squares))


class PreparedObservation(AbstractObservation):
    """An observation with what a posterior works out once of the noise of its images."""

    observation: AbstractObservation
    plans: tuple[Any, ...]

    def _images(self):
        return self.observation._images()

    def _models(self, scene):
        return self.observation._models(scene)

    def _noises(self, scene):
        pairs = zip(self.plans, self.observation._noises(scene), strict=True)
        return [noise if plan is None else plan.noise(noise) for plan, noise in pairs]

    def remark(self, scene):
        return self.observation.remark(scene)


def _not_counted(noise: AbstractNoise, varied: AbstractNoise, image) -> str:
    """A sentence where an image holds what no counted photons are, or nothing."""
    if not (isinstance(noise, PoissonNoise) and isinstance(varied, PoissonNoise)):
        return ""
    free = varied.background is not noise.background
    if free or any(map(is_traced, (image.image, image.used, noise.background))):
        return ""
    used = np.asarray(image.used)
    values = np.asarray(image.image)[used] + float(noise.background)
    below = int(np.sum(values < 0.0))
    if below <= _FEW_BELOW * used.sum():
        return ""
    return (
        f"PoissonNoise is for counts, and {below} of the {used.sum()} pixels in use are below "
        f"-background = {0.0 - float(noise.background):g}: they count as no light, and the noise "
        "of blank sky looks like a disk. Give the background that was subtracted, "
        "PoissonNoise(background=...), or take GaussianNoise."
    )


def _other_pixels(observation, grid: Grid, varied: Any) -> str:
    """What says that a scene is rendered elsewhere than on the pixels of an observation."""
    if getattr(observation, "parity", grid.parity) != grid.parity:
        return _ELSEWHERE.format("parity", grid.parity, observation.parity)
    for name, apart in _APART.items():
        # frames have angles and places of the star of their own
        pair = getattr(grid, name), getattr(observation, name, getattr(grid, name))
        if name == "center" and jnp.ndim(pair[1]) == 2:  # of each frame: the grid has the mean
            pair = pair[0], observation.grid.center
        if getattr(varied, name) is not pair[0] or any(is_traced(value) for value in pair):
            continue
        pair = (np.eye(2) if value is None else value for value in pair)
        scene, data = (np.asarray(value, float) for value in pair)
        off = np.abs(scene - data)
        if name == "roll":
            off = np.minimum(off % 360.0, -off % 360.0)
        elif name in ("pixel_scale", "distance"):
            off = off / np.abs(data)
        if np.any(off > apart):
            return _ELSEWHERE.format(name, scene.tolist(), data.tolist())
    return ""


def _concatenated(vectors):
    found = list(vectors)
    return None if any(vector is None for vector in found) else jnp.concatenate(found)


def best_factor(noise, image, model, error, used) -> Float[Array, ""]:
    """The factor on the model with the least chi-square, computed with numbers of about 1.

    Sums of squares in the image's own unit would leave the range of single precision.
    """
    nothing = jnp.zeros_like(model)
    image, model = (noise.without(light, nothing, error, used) for light in (image, model))
    error = error / jnp.min(jnp.where(used, error, jnp.inf))
    (data, of_data), (model, of_model) = (
        _two_scales(jnp.where(used, v, 0.0), error) for v in (image, model)
    )
    ratio = jnp.sum(model * data) / jnp.sum(jnp.square(model))
    for numerator, denominator in zip(of_data, of_model, strict=True):
        ratio = ratio * (numerator / denominator)
    return ratio


def _two_scales(values, error):
    """Values over errors >= 1, at most 1, and the two factors that were taken out."""
    largest = jnp.max(jnp.abs(values))
    values = values / largest / error
    weighted = jnp.max(jnp.abs(values))
    return values / weighted, (largest, weighted)


def scaled_to(observation, scene: Scene) -> Scene:
    """The scene with fluxes that fit an observation best, see `Observation.scaled_to_data`."""
    paths = scene.flux_paths
    fluxes = jnp.stack([scene.get(path) for path in paths])
    largest = jnp.max(jnp.abs(fluxes))
    # rendered with fluxes about 1, so that single precision serves for any unit
    fluxes = fluxes / jnp.where(largest > 0, largest, 1.0)
    shown = scene.set(dict(zip(paths, fluxes, strict=True)))
    ((noise, *parts),) = observation._parts(shown)
    factor = best_factor(noise, *parts)
    if not isinstance(factor, Tracer) and not factor > 0:
        times = float(factor) / float(largest) if largest > 0 else math.nan
        raise ValueError(
            f"The scene fits the image best with its fluxes multiplied by {times:g}, "
            "which is not positive: start from a geometry nearer to the data, with a flux "
            "that is not 0."
        )
    return scene.set(dict(zip(paths, fluxes * factor, strict=True)))


class JointObservation(AbstractObservation):
    """Images of several channels on the same pixels, such as total and polarised intensity.

    Its log-likelihood is the sum of theirs: what the images say of the disk together. The scene's
    view has channels of the same names, which are integrated at once.

    Parameters
    ----------
    images
        `Observation` of each channel by its name.

    Raises
    ------
    ValueError
        Where shape, pixel scale, distance, the star's pixel, roll, parity, distortion or the unit
        are not the same, and for observations whose own ``view`` has another name.
    TypeError
        For other likelihoods, as of frames: `pytreefit.Joint` takes these.

    Examples
    --------
    >>> import numpy as np
    >>> from grater import Observation
    >>> total, polarized = (
    ...     Observation(np.full((5, 5), level), 0.1, pixel_scale=0.014, distance=72.0)
    ...     for level in (1.0, 0.2)
    ... )
    >>> JointObservation({"total": total, "polarized": polarized}).grid.shape
    (5, 5)
    """

    images: Mapping[str, Any]  # of observations

    def __check_init__(self):
        if not isinstance(self.images, Mapping) or not self.images:
            raise ValueError("JointObservation.images is no dictionary of observations.")
        for name, image in self.images.items():
            check_kind(f"JointObservation.images[{name!r}]", image, AbstractObservation)
            if jnp.ndim(getattr(image, "image", 0.0)) != 2:
                raise TypeError(
                    f"JointObservation.images[{name!r}] is a {type(image).__name__}, not an "
                    "Observation of one image: take pytreefit.Joint for likelihoods of other kinds."
                )
            if image.view not in (None, name):
                raise ValueError(
                    f"JointObservation.images[{name!r}] is of the view or channel {image.view!r}. "
                    "Here names are those of channels; for several views take pytreefit.Joint."
                )
        first, *others = self.images
        for name in _ALIKE:
            for other in others:
                one, two = (getattr(self.images[key], name, None) for key in (first, other))
                if name == "distortion":
                    one, two = (np.eye(2) if value is None else value for value in (one, two))
                traced = isinstance(one, Tracer) or isinstance(two, Tracer)
                unknown = name == "unit" and not (one and two)
                if not traced and not unknown and not np.array_equal(one, two):
                    if name not in ("shape", "unit"):
                        one, two = (np.asarray(value).tolist() for value in (one, two))
                    raise ValueError(
                        f"JointObservation: {first!r} has {name} {one}, {other!r} has {two}. All "
                        "images have to be on the same pixels, in the same unit."
                    )

    @property
    def grid(self) -> Grid:
        """The pixel grid on which a scene must be rendered to be compared with the images."""
        return next(iter(self.images.values())).grid

    def _images(self):
        return list(self.images.values())

    def _models(self, scene):
        images = scene.images()
        return [images[name] for name in self._names(images)]

    def _noises(self, scene):
        channels = scene.channels
        return [channels[name].noise for name in self._names(channels)]

    def _names(self, there) -> list[str]:
        for name in self.images:
            if name not in there:
                raise ValueError(f"The scene's view has no channel {name!r}, only {list(there)}.")
        return list(self.images)
