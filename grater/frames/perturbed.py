"""Images that were reduced by KLIP: what they show of a disk, to first order in its light."""

from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pytreefit import Model
from pytreefit.extend import as_data, as_whole_number, check_kind, check_shape

from ..data.likelihood import AbstractObservation
from ..data.observation import Observation
from ..scene import Scene
from .derotate import derotated
from .klip import KLIP
from .sequence import FrameSequence


class KLIPBasis(Model):
    r"""References of a frame with their principal components, and how a disk in them matters.

    .. math:: R R^T V = V \Lambda, \qquad Z = \Lambda^{-1/2} V^T R

    Parameters
    ----------
    references
        One a row, without their means, shape (N, pixels).
    values
        Eigenvalues, the largest first, shape (k,); 0 where there are fewer.
    vectors
        Eigenvectors as columns, shape (N, k).
    modes
        How many components are subtracted, at most k. With more vectors than that, how the first
        components turn into the others is complete, and with all of them `perturbed` is the
        derivative; pyKLIP leaves it out.

    References
    ----------
    Soummer, Pueyo & Larkin 2012, ApJ 755, L28; Pueyo 2016, ApJ 824, 117.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> references = np.random.default_rng(0).normal(size=(3, 20))
    >>> basis = KLIPBasis.of(references, modes=3)
    >>> frame = jnp.asarray(1.0 + 2.0 * references[0] - references[2])  # starlight alone
    >>> bool(jnp.allclose(basis.subtracted(frame), 0.0, atol=1e-9))
    True
    """

    references: Float[Array, "N pixels"]
    values: Float[Array, " k"]
    vectors: Float[Array, "N k"]
    modes: int = eqx.field(static=True)

    @classmethod
    def of(cls, references: Any, modes: int, complete: bool = True) -> Self:
        """The basis of some references (N, pixels), whose means are subtracted.

        Raises
        ------
        ValueError
            For more modes than independent references.
        """
        rows = as_data("KLIPBasis.of: references", references, ndim=2)
        modes = as_whole_number("KLIPBasis.of: modes", modes, 1)
        if not np.all(np.isfinite(rows)):
            raise ValueError("KLIPBasis.of: references has pixels that are not finite: drop them.")
        rows = rows - rows.mean(axis=1, keepdims=True)
        values, vectors = eigenvectors(rows @ rows.T, modes, complete)
        return cls(jnp.asarray(rows), jnp.asarray(values), jnp.asarray(vectors), modes)

    @property
    def components(self) -> Float[Array, "modes pixels"]:
        """The components that are subtracted, orthonormal."""
        weights = self.vectors[:, : self.modes] * _roots(self.values[: self.modes])[None]
        return weights.T @ self.references

    def subtracted(self, frame: Float[Array, " pixels"]) -> Float[Array, " pixels"]:
        """The frame without its mean and the components: (1 - Z^T Z) n."""
        frame = frame - jnp.mean(frame)
        components = self.components
        return frame - (components @ frame) @ components

    def perturbed(
        self,
        frame: Float[Array, " pixels"],
        model: Float[Array, " pixels"],
        models: Float[Array, "N pixels"],
    ) -> Float[Array, " pixels"]:
        r"""What a subtracted frame shows of a disk that is in it and in its references.

        .. math::

            f = m - (m Z^T) Z - (n\,\delta Z^T) Z - (n Z^T)\,\delta Z, \qquad
            \delta Z = (\beta \circ V^T C V)\, Z + \Lambda^{-1/2} V^T M, \\
            C = M R^T + R M^T, \quad \beta_{ij} = \frac{\sqrt{l_j / l_i}}{l_i - l_j}, \quad
            \beta_{ii} = -\frac{1}{2 l_i}

        Parameters
        ----------
        frame
            :math:`n`, with the disk or without; its mean is subtracted.
        model, models
            The disk in the frame, :math:`m`, and in each reference, :math:`M`. Subtract their means
            for the derivative of `subtracted`; pyKLIP does not.
        """
        frame, rows, k = frame - jnp.mean(frame), self.references, self.modes
        weights = self.vectors * _roots(self.values)[None]  # Z = weights.T @ rows
        cross = models @ rows.T
        turned = self.vectors[:, :k].T @ (cross + cross.T) @ self.vectors
        mixed = _beta(self.values, k) * turned
        all_of_frame = weights.T @ (rows @ frame)
        of_frame = all_of_frame[:k]
        own = weights[:, :k].T
        changed = mixed @ all_of_frame + own @ (models @ frame)
        taken = own @ (rows @ model) + changed
        in_rows = own.T @ taken + weights @ (mixed.T @ of_frame)
        return model - in_rows @ rows - (own.T @ of_frame) @ models


def eigenvectors(gram: np.ndarray, modes: int, complete: bool) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of a matrix and their vectors; all that are not 0 if complete."""
    from scipy.linalg import eigh

    found: Any = eigh(gram)
    values, vectors = (part[..., ::-1] for part in found)
    there = int(np.sum(values > 1e-12 * max(values[0], 0.0)))
    if there < modes:
        raise ValueError(
            f"KLIP: modes = {modes}, but the references are sums of only {there} images: take "
            "fewer modes."
        )
    kept = there if complete else modes
    return values[:kept], vectors[:, :kept]


def _roots(values):
    """1 / sqrt, 0 where there is no component."""
    return jnp.where(values > 0.0, 1.0 / jnp.sqrt(jnp.where(values > 0.0, values, 1.0)), 0.0)


def _beta(values, modes):
    """How much of each component comes into the first of them, (modes, k)."""
    own = values[:modes, None]
    same = jnp.arange(modes)[:, None] == jnp.arange(len(values))[None, :]
    apart = jnp.where(same, 1.0, own - values[None, :])
    ratio = jnp.sqrt(values[None, :] / own)
    return jnp.where(same, -0.5 / own, ratio / apart)


class ReducedFrames(AbstractObservation):
    r"""A reduced image of a sequence, compared with a disk that went through the same reduction.

    .. math:: y = \frac1n \sum_e \mathrm{Rot}(-\phi_e)\, f_e[m(\theta)]

    with the linear perturbation :math:`f_e` of `KLIPBasis`. It is for images that were reduced
    elsewhere, and holds for disks that are faint beside the starlight. The likelihood of the
    frames themselves (`FrameSequence`, `fit_frames`) takes no such approximation, and its pixels
    are not correlated by the reduction: prefer it. Frames are turned by the interpolation of
    `FrameSequence.reduce`, which another reduction's will differ from by a little.

    Parameters
    ----------
    reduced
        The reduced image with North up and its error map. `of` masks pixels in no region.
    frames
        The frames that were reduced, whatever their errors.
    klip
        How they were reduced.
    bases
        Of each region, with a leading axis for the frames in values and vectors.
    pixels
        Of each region, in the flattened image.

    Examples
    --------
    >>> import numpy as np
    >>> from grater import FrameSequence, KLIP
    >>> speckles = np.random.default_rng(0).normal(size=(15, 15))
    >>> images = np.array([1.0, 1.1, 1.2])[:, None, None] * speckles
    >>> frames = FrameSequence(images, 0.1, angles=[0, 20, 40], pixel_scale=0.1, distance=60.0)
    >>> reduced = ReducedFrames.of(frames, KLIP(modes=1, annuli=(1, 7)), None)
    >>> float(np.nanmax(abs(reduced.picture()))) < 1e-9  # the same speckles in all frames are gone
    True
    """

    reduced: Observation
    frames: FrameSequence
    klip: KLIP
    bases: tuple[KLIPBasis, ...]
    pixels: tuple[Int[Array, " pixels"], ...]

    @classmethod
    def of(
        cls, frames: FrameSequence, klip: KLIP, reduced: Observation | None, complete: bool = True
    ) -> Self:
        """Return the image with the bases that it was reduced with.

        Parameters
        ----------
        frames
            With all pixels of a region in use in all frames, or in none.
        klip
            As the image was reduced; means of regions are subtracted.
        reduced
            The image; None is `picture` with an error of 1, to be replaced.
        complete
            Whether the derivative is complete, or as pyKLIP's.

        Raises
        ------
        ValueError, TypeError
            Where the frames do not suffice, and for a reduced image on other pixels.
        """
        check_kind("frames", frames, FrameSequence)
        check_kind("klip", klip, KLIP)
        check_kind("reduced", reduced, Observation | None)
        used, angles = np.asarray(frames.used), np.asarray(frames.angles, float)
        regions = np.where(used.all(axis=0), klip.regions(frames.shape, frames.grid.center), -1)
        bases, pixels = [], []
        for region in range(regions.max() + 1):
            here = np.flatnonzero(regions == region)
            if here.size:
                allowed = klip.allowed(angles, klip.radius_of(region))
                bases.append(_bases(_library(frames, klip), here, klip, allowed, complete))
                pixels.append(jnp.asarray(here))
        if not bases:
            raise ValueError("ReducedFrames: no region has a pixel that is in use in all frames.")
        if reduced is None:
            grid = frames.grid
            how = dict(pixel_scale=grid.pixel_scale, distance=grid.distance, center=grid.center)
            blank = Observation(np.zeros(frames.shape), 1.0, **how)
            found = cls(blank, frames, klip, tuple(bases), tuple(pixels))
            return found.set({"reduced.image": found.picture()})
        _check_same_pixels(reduced, frames)
        found = cls(reduced, frames, klip, tuple(bases), tuple(pixels))
        # elsewhere the model is not known
        return found.set({"reduced": reduced.with_mask(np.isfinite(found.picture()))})

    def picture(self) -> Float[Array, "ny nx"]:
        """The frames reduced here: subtracted, turned North up (`FrameSequence.reduce`), averaged.

        NaN where no frame counts.
        """

        def subtracted(basis, rows, models):
            return _each(basis, lambda one, row: one.subtracted(row), rows)

        return self._combined(subtracted, jnp.zeros_like(self.frames.image))

    def model(self, scene: Scene) -> Float[Array, "ny nx"]:
        """What the reduced image shows of the scene, NaN where no frame counts."""

        def perturbed(basis, rows, models):
            models = models - jnp.mean(models, axis=1, keepdims=True)
            others = jnp.zeros_like(basis.references)
            if self.klip.library != "references":
                others = others.at[: len(models)].set(models)
            return _each(basis, lambda one, n, m: one.perturbed(n, m, others), rows, models)

        return self._combined(perturbed, self.frames.models(scene))

    def _combined(self, function, models):
        frames = self.frames
        flat = (len(frames.image), -1)
        rows, models = frames.image.reshape(flat), models.reshape(flat)
        result, there = jnp.zeros_like(rows), jnp.zeros(rows.shape, bool)
        for basis, pixels in zip(self.bases, self.pixels, strict=True):
            found = function(basis, rows[:, pixels], models[:, pixels])
            result, there = result.at[:, pixels].set(found), there.at[:, pixels].set(True)
        result, there = (values.reshape(frames.image.shape) for values in (result, there))
        center = frames.grid.center
        turned = derotated(result, there, frames.angles, frames.centers, center)
        counts = jnp.isfinite(turned)
        number = jnp.sum(counts, axis=0).astype(turned.dtype)
        total = jnp.sum(jnp.where(counts, turned, 0.0), axis=0)
        return jnp.where(number > 0.0, total / jnp.maximum(number, 1.0), jnp.nan)

    def _images(self):
        return [self.reduced]

    def _models(self, scene):
        return [jnp.nan_to_num(self.model(scene))]

    def _noises(self, scene):
        return [self.frames.seen(scene).noise]


def _check_same_pixels(reduced: Observation, frames: FrameSequence) -> None:
    check_shape("reduced", reduced.image, shape=frames.shape)
    for name in ("pixel_scale", "center"):
        own, other = (np.asarray(getattr(of, name)) for of in (reduced, frames.grid))
        if not np.allclose(own, other, rtol=1e-4, atol=1e-2 if name == "center" else 0.0):
            raise ValueError(
                f"reduced has {name} = {own}, the frames {other}: both must be on the same pixels, "
                "with the star at the same place."
            )


def _each(basis, function, *rows):
    """A function of each frame's basis and rows."""

    def one(values, vectors, *own):
        return function(KLIPBasis(basis.references, values, vectors, basis.modes), *own)

    return jax.vmap(one)(basis.values, basis.vectors, *rows)


def _library(frames: FrameSequence, klip: KLIP) -> np.ndarray:
    """The images that frames are references from, (N, pixels)."""
    if klip.library != "frames" and frames.references is None:
        raise ValueError(
            f"KLIP.library = {klip.library!r}, but the frames have no references: give the frames "
            "references=, images of other stars (m, ny, nx)."
        )
    parts = {
        "frames": [frames.image],
        "references": [frames.references],
        "both": [frames.image, frames.references],
    }[klip.library]
    images = np.concatenate([np.asarray(part, float) for part in parts])
    return images.reshape(len(images), -1)


def _bases(library, pixels, klip: KLIP, allowed, complete: bool) -> KLIPBasis:
    """The bases of all frames in one region, filled up to the same number of vectors."""
    rows = library[:, pixels]
    rows = rows - rows.mean(axis=1, keepdims=True)
    total, (number, own) = len(rows), allowed.shape
    if klip.library == "references":
        allowed = np.ones((number, total), bool)
    else:
        allowed = np.pad(allowed, ((0, 0), (0, total - own)), constant_values=True)
    size = total if complete else klip.modes
    values, vectors, gram = np.zeros((number, size)), np.zeros((number, total, size)), rows @ rows.T
    for frame, chosen in enumerate(allowed):
        if not chosen.any():
            raise ValueError(
                f"KLIP: no frame is left as a reference for frame {frame} (movement = "
                f"{klip.movement:g} pixels, rotation = {klip.rotation:g} deg): allow smaller ones."
            )
        found = eigenvectors(gram[np.ix_(chosen, chosen)], klip.modes, complete)
        values[frame, : found[0].size] = found[0]
        vectors[frame, chosen, : found[0].size] = found[1]
    return KLIPBasis(*map(jnp.asarray, (rows, values, vectors)), klip.modes)
