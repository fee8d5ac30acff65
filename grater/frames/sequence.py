"""Sequences of frames of one star, as the field turns on the detector."""

# the constructor assigns what the converters of the fields take
# pyright: reportAttributeAccessIssue=false

from typing import Any, Literal, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pytreefit import param
from pytreefit.extend import check_choice, check_kind, check_shape, is_traced, unit_of

from .._arrays import boolean_array, opened, real_array, unit_for
from ..data.likelihood import AbstractObservation, scaled_to
from ..data.noise import GaussianNoise
from ..scene import Scene
from ..view.view import Grid
from .derotate import derotated
from .klip import KLIP, Components, ProjectedNoise, learned
from .rolls import images_at


def _field(name):
    return eqx.field(
        converter=lambda value: (
            None if value is None else real_array(f"FrameSequence.{name}", value)
        )
    )


class FrameSequence(AbstractObservation):
    r"""Frames of one star on the same pixels, each at its own orientation, and their likelihood.

    .. math:: d_e = m(\theta;\, \phi_e, x_e, y_e) + \sigma_e \circ (Z_e^T c_e) + n_e

    The scene is rendered in the detector's own frame for each angle :math:`\phi_e` and place of the
    star: nothing is rotated by interpolation. Components :math:`Z_e` of the starlight
    (`learn`) have free coefficients, which are integrated out with flat priors. As the scene is
    subtracted before the frames are projected,

    .. math:: r_e = (1 - Z_e Z_e^T)\, (d_e - m_e) / (s\,\sigma_e),

    what the components take of the disk (over-subtraction) is in the likelihood. What they contain
    of it (self-subtraction) is not: learn them from frames without the disk, see `fit_frames`.

    Parameters
    ----------
    image : array (n, ny, nx)
        The frames, row index up, not rotated. Mirrored frames (East to the right of North) have to
        be flipped, ``image[:, :, ::-1]``. Pixels that are not finite are not used.
    error : array (n, ny, nx), (ny, nx) or float
        Standard deviation of every pixel, > 0 in the pixels in use.
    angles : array (n,)
        Position angle of the detector's +y axis in each frame, degrees from North to East. VIP's
        ``angle_list`` is this, and so are pyKLIP's ``PAs`` of data with ``flipx=False``; with
        ``flipx=True`` flip the frames and take ``-PAs``. The scene's own ``roll`` is added.
    pixel_scale : float
        Size of a pixel, arcsec, > 0.
    distance : float
        Distance of the star, pc, > 0.
    mask : array of bool (n, ny, nx) or (ny, nx), optional
        True where a pixel is used; by default everywhere.
    center : (x, y) or array (n, 2), optional
        The star in all frames, or in each, zero-based; by default ``(nx // 2, ny // 2)``. Of
        several the scene's grid has the mean, and moves with it if its own center is fitted.
    references : array (m, ny, nx), optional
        Frames of other stars, with the star at the same place, for `KLIP`; a Quantity is converted
        to the unit of the image.
    components : Components, optional
        Of the starlight, by `learn`; the noise must be `GaussianNoise` then.
    unit : str
        Unit of the image; a Quantity is converted to it.
    view : str, optional
        Name of the scene's view, or channel, where it has several.

    Raises
    ------
    ValueError
        If shapes or numbers of frames disagree, if an error is not positive in a pixel in use, if a
        frame has no pixel in use, and for components that have light in pixels that are masked.
    TypeError
        For arrays of another kind, and units that do not agree.

    Examples
    --------
    >>> import numpy as np
    >>> frames = np.random.default_rng(0).normal(size=(3, 5, 5))
    >>> FrameSequence(frames, 0.1, angles=[0.0, 5.0, 10.0], pixel_scale=0.014, distance=72.0)
    FrameSequence(3 frames of 5 x 5 pixels over 10 deg; 75 of 75 pixels used, no components)
    """

    image: Array = _field("image")
    error: Array = _field("error")
    mask: Array = eqx.field(converter=lambda value: boolean_array("FrameSequence.mask", value))
    angles: Array = param(unit="deg", shape=None, doc="position angle of the +y axis, each frame")
    center: Array = _field("center")
    pixel_scale: Array = param(unit="arcsec", bounds="(0, inf)", doc="size of a pixel")
    distance: Array = param(unit="pc", bounds="(0, inf)", doc="distance of the star")
    references: Array | None = _field("references")
    components: Components | None
    unit: str = eqx.field(static=True)
    view: str | None = eqx.field(static=True)

    def __init__(
        self,
        image: Any,
        error: Any,
        *,
        angles: Any = None,
        pixel_scale: Any,
        distance: Any,
        mask: Any = None,
        center: Any = None,
        references: Any = None,
        components: Components | None = None,
        unit: str = "",
        view: str | None = None,
    ):
        error, image, references = opened(error), opened(image), opened(references)
        own = unit_of(image)
        unit = str(unit) if hasattr(unit, "to_string") else unit  # of astropy
        check_kind("FrameSequence.unit", unit, str)
        self.image = real_array("FrameSequence.image", image, unit or None)
        check_shape("FrameSequence.image", self.image, ndim=3)
        shape = self.image.shape
        error = real_array(
            "FrameSequence.error", error, unit_for(error, unit or own, "FrameSequence", of=own)
        )
        self.error = _for_all("error", error, shape)
        mask = np.ones(shape, bool) if mask is None else mask
        self.mask = _for_all("mask", boolean_array("FrameSequence.mask", mask), shape)
        if angles is None:
            raise ValueError(
                "FrameSequence.angles is missing: give the position angle of the detector's +y "
                "axis in each frame, degrees; all the same where the field does not turn."
            )
        self.angles, self.pixel_scale, self.distance = angles, pixel_scale, distance
        self.center = (shape[2] // 2, shape[1] // 2) if center is None else center
        if references is not None:
            to = unit_for(references, unit or own, "FrameSequence", "references", own)
            references = real_array("FrameSequence.references", references, to)
        self.references, self.components = references, components
        self.unit = unit or ("" if own is None else str(own))
        self.view = view

    def __check_init__(self):
        check_kind("FrameSequence.view", self.view, str | None)
        check_kind("FrameSequence.components", self.components, Components | None)
        _check_frames(self)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (ny, nx) of a frame."""
        _, ny, nx = self.image.shape
        return ny, nx

    @property
    def centers(self) -> Float[Array, "n 2"]:
        """The star in each frame (x, y)."""
        return jnp.broadcast_to(self.center, (len(self.image), 2))

    @property
    def grid(self) -> Grid:
        """The pixel grid on which a scene must be rendered to be compared with the frames."""
        center = jnp.mean(self.centers, axis=0)
        return Grid(self.shape, self.pixel_scale, self.distance, center)

    @property
    def used(self) -> Bool[Array, "n ny nx"]:
        """The pixels in use: those of the mask that are finite."""
        return self.mask & jnp.isfinite(self.image) & jnp.isfinite(self.error)

    @property
    def n_used(self) -> int:
        """Number of pixels in use, of all frames together."""
        return int(jnp.sum(self.used))

    def __repr__(self) -> str:
        if self.image.ndim != 3 or is_traced(self.image):
            return super().__repr__()
        n, ny, nx = self.image.shape
        turn = float(jnp.max(self.angles) - jnp.min(self.angles))
        what = self.components
        light = "no components" if what is None else f"{what.klip.modes} components projected out"
        return (
            f"FrameSequence({n} frames of {ny} x {nx} pixels over {turn:g} deg; {self.n_used} of "
            f"{self.image.size} pixels used, {light})"
        )

    def seen(self, scene: Scene) -> Scene:
        """Return the scene in the view of these frames."""
        return scene if self.view is None else scene.of(self.view)

    def models(self, scene: Scene) -> Float[Array, "n ny nx"]:
        """Return the scene's image in each frame, before the starlight is projected out.

        Raises
        ------
        ValueError
            If the scene has another shape than the frames, several channels, or is mirrored.
        """
        scene = self.seen(scene)
        _check_scene(scene, self.shape)
        shifts = self.centers - self.grid.center[None]
        return images_at(scene.view, scene, self.angles, shifts)

    def _images(self):
        return [self]

    def _models(self, scene):
        return [self.models(scene)]

    def _noises(self, scene):
        return [self.seen(scene).noise]

    def _scattered(self, noise):
        if self.components is None:
            return noise
        if not isinstance(noise, GaussianNoise):
            raise TypeError(
                f"noise = {noise!r} is no GaussianNoise: components of the starlight can be "
                "projected out of that alone."
            )
        return ProjectedNoise(noise, self.components)

    def compared(self, model: Float[Array, "n ny nx"]):
        """Return frames, model, error and pixels in use; the other pixels are 0, with error 1."""
        check_shape("The scene's images", model, shape=self.image.shape)
        used = self.used
        image, model = (jnp.where(used, values, 0.0) for values in (self.image, model))
        return image, model, jnp.where(used, self.error, 1.0), used

    def reduced_chi_square(self, scene: Scene, n_free: int = 0) -> Float[Array, ""]:
        """Return chi-square per degree of freedom, for ``n_free`` fitted numbers.

        The coefficients of the starlight's components count as fitted.
        """
        light = 0 if self.components is None else self.components.number(len(self.image))
        freedom = jnp.sum(self.used) - light - n_free
        return self.chi_square(scene) / freedom.astype(self.image.dtype)

    def scaled_to_data(self, scene: Scene) -> Scene:
        """Return the scene with the fluxes of all its disks multiplied to fit the frames best.

        As `Observation.scaled_to_data`, after the starlight is projected out.
        """
        return scaled_to(self, scene)

    def with_mask(self, mask: Any) -> Self:
        """Return frames of which only pixels where ``mask`` is True are used, to `learn` from.

        ``mask`` is for each frame (n, ny, nx) or for all (ny, nx).
        """
        mask = _for_all("mask", boolean_array("with_mask: mask", mask), self.image.shape)
        return self.set({"mask": self.mask & mask, "components": None})

    def mask_radius(self, inner: float = 0.0, outer: float = np.inf) -> Self:
        """Return frames of which only pixels at ``inner <= r <= outer`` [pixels] are used."""
        if not 0 <= inner < outer:
            raise ValueError(f"mask_radius needs 0 <= inner < outer; got {inner} and {outer}.")
        y, x = np.indices(self.shape)
        x0, y0 = np.asarray(self.centers).T[:, :, None, None]
        radius = np.hypot(x - x0, y - y0)
        return self.with_mask((radius >= inner) & (radius <= outer))

    def learn(self, klip: KLIP, scene: Scene | None = None) -> Self:
        """Return the frames with components of the starlight, learned from them without a scene.

        Pixels in no region are not used any more, nor, where all frames share components, those
        that are masked in one of them. The components are frozen: learn them anew where mask,
        errors or frames change.

        Parameters
        ----------
        klip
            How many components in which regions, and from which frames.
        scene
            The best disk so far, subtracted from the frames before they are learned from. None
            subtracts nothing: the components then contain light of the disk.

        Raises
        ------
        ValueError
            For more modes than references, where no frame is left as a reference, and regions of
            too few pixels.
        """
        check_kind("klip", klip, KLIP)
        regions = klip.regions(self.shape, self.grid.center)
        light = 0.0 if scene is None else np.asarray(self.models(scene), float)
        flat = (len(self.image), -1)
        used = np.asarray(self.used).reshape(flat)
        error = np.asarray(self.error, float).reshape(flat)
        rows = (np.asarray(self.image, float) - light).reshape(flat)
        references = None
        if self.references is not None:
            references = np.asarray(self.references, float).reshape(len(self.references), -1)
        angles = np.asarray(self.angles, float)
        found = learned(klip, rows, error, used, references, angles, regions.ravel())
        there = jnp.zeros(regions.size, bool).at[jnp.concatenate(found.pixels)].set(True)
        mask = self.mask & there.reshape(self.shape)[None]
        return self.set({"components": found, "mask": mask})

    def relearn(self, scene: Scene) -> Self:
        """Return the frames with components learned as before from frames without this scene."""
        if self.components is None:
            raise ValueError("These frames have no components yet: use learn(KLIP(...), scene).")
        return self.learn(self.components.klip, scene)

    def projected(self, values: Any = None) -> Float[Array, "n ny nx"]:
        """Return frames without what the components describe of them; 0 in masked pixels.

        ``values`` are on the pixels of the frames, which they are by default; `models` of a scene
        are projected by the same frozen components.
        """
        values = self.image if values is None else real_array("projected: values", values)
        check_shape("projected: values", values, shape=self.image.shape)
        used, nothing = self.used, jnp.zeros_like(self.image)
        values, error = jnp.where(used, values, 0.0), jnp.where(used, self.error, 1.0)
        if self.components is None:
            return values
        noise = ProjectedNoise(GaussianNoise(), self.components)
        return noise.without(values, nothing, error, used, along=False)

    def reduce(
        self, values: Any = None, combine: Literal["mean", "median"] = "mean"
    ) -> Float[Array, "ny nx"]:
        """Return the picture: projected frames, turned North up and combined.

        For figures only. Frames are turned by bicubic interpolation (Keys 1981, a = -1/2) about the
        star, which ends up at the centre of `grid`; a pixel counts where all 16 pixels about it are
        in use, and is NaN where no frame counts.

        Parameters
        ----------
        values
            What is reduced in place of the frames, (n, ny, nx): ``frames.models(scene)`` is the
            model as the picture shows it, ``frames.image - frames.models(scene)`` what is left.
        combine
            "mean" or "median" of the frames.
        """
        check_choice("combine", combine, ("mean", "median"))
        turned = derotated(
            self.projected(values), self.used, self.angles, self.centers, self.grid.center
        )
        return {"mean": jnp.nanmean, "median": jnp.nanmedian}[combine](turned, axis=0)


def _for_all(name: str, value, shape):
    """An array for all frames, given as that, as one frame or as a number."""
    single = () if name == "error" else shape
    if value.shape not in (single, shape[1:], shape):
        raise ValueError(
            f"FrameSequence.{name} has shape {value.shape}; {shape} is needed, or {shape[1:]} for "
            "all frames."
        )
    return jnp.broadcast_to(value, shape)


def _check_scene(scene, shape) -> None:
    if scene.grid.shape != shape:
        raise ValueError(
            f"The scene's grid has shape {scene.grid.shape}, the frames {shape}: build the scene "
            "with grid=frames.grid."
        )
    if len(scene.channels) > 1:
        raise ValueError(
            f"The scene's view has the channels {', '.join(scene.channels)}: name one by "
            "FrameSequence(view=)."
        )
    if scene.grid.parity != 1:
        raise ValueError(
            "The scene's grid has parity = -1: flip the frames, image[:, :, ::-1], and leave the "
            "parity at 1."
        )


def _check_frames(frames: FrameSequence) -> None:
    """Refuse what does not fit together."""
    n, *shape = frames.image.shape
    if frames.angles.shape != (n,):
        raise ValueError(
            f"FrameSequence.angles has shape {frames.angles.shape}, but there are {n} frames: give "
            "one angle for each."
        )
    if frames.center.shape not in ((2,), (n, 2)):
        raise ValueError(
            f"FrameSequence.center has shape {frames.center.shape}: give (x, y), or ({n}, 2) with "
            "a row for each frame."
        )
    for name in ("error", "mask"):
        check_shape(f"FrameSequence.{name}", getattr(frames, name), shape=frames.image.shape)
    if (references := frames.references) is not None:
        if references.ndim != 3 or references.shape[1:] != (*shape,) or not len(references):
            raise ValueError(
                f"FrameSequence.references has shape {references.shape}; images (m, {shape[0]}, "
                f"{shape[1]}) on the pixels of the frames are needed."
            )
    if any(map(is_traced, (frames.image, frames.error, frames.mask, frames.center))):
        return
    _check_pixels(frames)


def _check_pixels(frames: FrameSequence) -> None:
    used, error = np.asarray(frames.used), np.asarray(frames.error)
    if not np.all(np.isfinite(np.asarray(frames.center))):
        raise ValueError("FrameSequence.center is not finite: give pixels (x, y) from 0.")
    (empty,) = np.nonzero(~used.any(axis=(1, 2)))
    if empty.size:
        raise ValueError(
            f"FrameSequence: frame {empty[0]} has no pixel in use. In use are those where image "
            "and error are finite and the mask is True; leave a bad frame out."
        )
    bad = used & ~(error > 0)
    if bad.any():
        k, row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"FrameSequence.error is zero or negative in {bad.sum()} of the {used.sum()} pixels in "
            f"use; the first is {error[k, row, column]:g} in frame {k} at row {row}, column "
            f"{column}. Give these pixels an error > 0, or mask them."
        )
    if frames.references is not None:
        holes = ~np.isfinite(np.asarray(frames.references)) & used.any(axis=0)
        if holes.any():
            k, row, column = np.argwhere(holes)[0]
            raise ValueError(
                f"FrameSequence.references is not finite in {holes.sum()} pixels in use; the first "
                f"is in image {k} at row {row}, column {column}. Mask these pixels."
            )
    if frames.components is not None:
        _check_components(frames.components, used)


def _check_components(components: Components, used) -> None:
    dark = components.unused()
    if dark is None:
        return
    pixels = np.concatenate([np.asarray(p) for p in components.pixels])
    n, size = used.shape[0], used[0].size
    fits = dark.shape[0] in (1, n) and pixels.max() < size
    if not fits or np.any(~dark & ~used.reshape(n, -1)[:, pixels]):
        raise ValueError(
            "FrameSequence.components were learned from other frames, or with other pixels in use: "
            "set components to None and learn them anew, frames.learn(klip, scene)."
        )
