"""Starlight of a sequence of frames: its principal components, and noise without them."""

import math
from typing import Any, Literal, NamedTuple, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pytreefit import Model
from pytreefit.extend import as_number, as_whole_number, check_choice, is_traced

from ..data.noise import GaussianNoise

Library = Literal["frames", "references", "both"]


def _edges(value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        return tuple(as_number("KLIP.annuli", edge, "pix") for edge in value)
    except TypeError:
        raise TypeError(
            f"KLIP.annuli = {value!r} are no radii: give the edges in pixels, such as (5, 15, 30)."
        ) from None


class KLIP(Model):
    r"""How the starlight of a sequence of frames is described by its principal components.

    In each region of the detector and for each frame, the ``modes`` components that describe the
    light of the reference frames best (Karhunen-Loeve images, Soummer et al. 2012),

    .. math:: Z = \Lambda^{-1/2} V^T R, \qquad R R^T V = V \Lambda,

    with the references :math:`R` over their errors, one a row. No mean is subtracted.

    Parameters
    ----------
    modes
        Number of components, at least 1.
    annuli
        Increasing radii in pixels that part the detector into annuli about the star, such as
        ``(5, 15, 30)`` for two. Pixels outside of them are not used. None is one region of all
        pixels in use.
    sections
        Number of equal sectors of each annulus, the first from the detector's +x axis on.
    movement
        A frame is a reference for another only if a point at the middle of the annulus moves on the
        detector by at least as many pixels between the two,
        :math:`2 r \sin(|\Delta\phi| / 2) \ge` ``movement``. It needs ``annuli``.
    rotation
        The same as an angle in degrees. With 0 for both, all frames share components that are
        learned from all of them, and the likelihood knows that these are uncertain, see
        `Components`: the way to fit frames that turn. A movement is what pictures are made with.
    library
        Where references come from: the "frames" of the sequence themselves (ADI), its "references"
        of other stars (RDI, where no frame has to move), or "both".

    Raises
    ------
    ValueError, TypeError
        For numbers out of range, radii that do not increase, and a movement without annuli.

    References
    ----------
    Soummer, Pueyo & Larkin 2012, ApJ 755, L28; Amara & Quanz 2012, MNRAS 427, 948; Marois et al.
    2006, ApJ 641, 556 (movement).

    Examples
    --------
    >>> KLIP(10, annuli=(5, 15, 30), movement=2.0).annuli
    (5.0, 15.0, 30.0)
    """

    modes: int = eqx.field(
        static=True, converter=lambda value: as_whole_number("KLIP.modes", value, 1)
    )
    annuli: tuple[float, ...] | None = eqx.field(static=True, converter=_edges, default=None)
    sections: int = eqx.field(
        static=True, converter=lambda value: as_whole_number("KLIP.sections", value, 1), default=1
    )
    movement: float = eqx.field(
        static=True, converter=lambda value: as_number("KLIP.movement", value, "pix"), default=0.0
    )
    rotation: float = eqx.field(
        static=True, converter=lambda value: as_number("KLIP.rotation", value, "deg"), default=0.0
    )
    library: Library = eqx.field(static=True, default="frames")

    def __check_init__(self):
        check_choice("KLIP.library", self.library, get_args(Library))
        for name in ("movement", "rotation"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"KLIP.{name} = {getattr(self, name):g} must be >= 0.")
        if self.annuli is None:
            if self.movement > 0:
                raise ValueError(
                    f"KLIP.movement = {self.movement:g} pixels at which radius? Give the annuli, "
                    "or the least rotation= in degrees."
                )
            return
        if len(self.annuli) < 2 or self.annuli[0] < 0 or not np.all(np.diff(self.annuli) > 0):
            raise ValueError(
                f"KLIP.annuli = {self.annuli} must be at least two radii >= 0 that increase."
            )

    def regions(self, shape: tuple[int, int], center: Any) -> Int[np.ndarray, "ny nx"]:
        """The number of the region of each pixel from 0, and -1 outside of all.

        Annulus after annulus from the inside, in each of them sector after sector.
        """
        x0, y0 = np.asarray(center, float)
        y, x = np.indices(shape, dtype=float)
        x, y = x - x0, y - y0
        turn = np.arctan2(y, x) / (2.0 * math.pi) % 1.0
        sector = np.minimum((turn * self.sections).astype(int), self.sections - 1)
        if self.annuli is None:
            return sector
        annulus = np.searchsorted(self.annuli, np.hypot(x, y), side="right") - 1
        outside = (annulus < 0) | (annulus >= len(self.annuli) - 1)
        return np.where(outside, -1, annulus * self.sections + sector)

    @property
    def of_all_frames(self) -> bool:
        """Whether all frames share components that are learned from all of them."""
        return self.library == "frames" and self.movement == self.rotation == 0.0

    def radius_of(self, region: int) -> float:
        """The middle of a region's annulus, pixels; 0 without annuli."""
        if self.annuli is None:
            return 0.0
        annulus = region // self.sections
        return 0.5 * (self.annuli[annulus] + self.annuli[annulus + 1])

    def allowed(self, angles: np.ndarray, radius: float):
        """Which frames (columns) may be references of which (rows), shape (n, n)."""
        apart = np.abs((angles[:, None] - angles[None, :] + 180.0) % 360.0 - 180.0)
        moved = 2.0 * radius * np.sin(0.5 * np.deg2rad(apart))
        slack = 1e-9  # angles that are equal up to rounding
        return (apart >= self.rotation - slack) & (moved >= self.movement - slack)


class Components(Model):
    r"""Orthonormal components of the starlight in each frame, over the errors, learned once.

    `FrameSequence.learn` makes them. Where all frames share components :math:`Z` (modes, pixels)
    that were learned from all frames :math:`D` (n, pixels) over their errors, these are as
    uncertain as their coefficients. With the singular value decomposition
    :math:`D - M = U S Z + \ldots` the starlight :math:`L = A Z` near :math:`U S Z` is, to first
    order, :math:`\delta A\, Z + U\, \delta B` with any :math:`\delta A` and :math:`\delta B`. Both
    are integrated out, which leaves

    .. math:: (1 - U U^T)\, (D - M(\theta))\, (1 - Z^T Z).

    Where components are learned again at the best :math:`\theta` (`fit_frames`), these are
    Gauss-Newton steps to the disk and the starlight of rank ``modes`` that fit best together:
    two or three rounds suffice, while with :math:`Z` alone each round mends but a part of the
    self-subtraction.

    Parameters
    ----------
    bases
        For each region the components of each frame, shape (n, modes, pixels), 0 where a pixel is
        not used; or (1, modes, pixels) where all frames have the same.
    courses
        For each region :math:`U`, the courses of the components over the frames, orthonormal,
        shape (n, modes); None where components were learned from other frames.
    pixels
        For each region the places of its pixels in the flattened image, shape (pixels,).
    klip
        How they were learned.

    Examples
    --------
    >>> import numpy as np
    >>> from grater import FrameSequence, KLIP
    >>> frames = np.random.default_rng(0).normal(size=(4, 5, 5))
    >>> frames = FrameSequence(frames, 0.1, angles=[0, 30, 60, 90], pixel_scale=0.1, distance=60.0)
    >>> frames.learn(KLIP(modes=1)).components.number(4)  # of 4 x 25 numbers of rank 1
    28
    """

    bases: tuple[Float[Array, "_ modes pixels"], ...]
    courses: tuple[Float[Array, "n modes"] | None, ...]
    pixels: tuple[Int[Array, " pixels"], ...]
    klip: KLIP

    def number(self, frames: int) -> int:
        """How many free numbers they are in so many frames: coefficients, and what they move by."""
        coefficients = frames * sum(basis.shape[1] for basis in self.bases)
        shapes = [b.shape for b, c in zip(self.bases, self.courses, strict=True) if c is not None]
        return coefficients + sum(modes * (pixels - modes) for _, modes, pixels in shapes)

    def projected(
        self, values: Float[Array, "n pixels"], along: bool = True
    ) -> Float[Array, "n pixels"]:
        """Values over the errors of all pixels, without what the components describe.

        ``along`` takes out what follows their courses in each pixel, too.
        """
        for basis, course, pixels in zip(self.bases, self.courses, self.pixels, strict=True):
            rows = values[:, pixels]
            if along and course is not None:
                rows = rows - course @ (course.T @ rows)
            if len(basis) == 1:
                rest = rows - (rows @ basis[0].T) @ basis[0]
            else:
                coefficients = jnp.einsum("nkp,np->nk", basis, rows)
                rest = rows - jnp.einsum("nk,nkp->np", coefficients, basis)
            values = values.at[:, pixels].set(rest)
        return values

    def unused(self) -> np.ndarray | None:
        """Where the components of all regions are 0, (n or 1, pixels of all regions)."""
        if any(is_traced(basis) for basis in self.bases):
            return None
        dark = [np.all(np.asarray(basis) == 0.0, axis=1) for basis in self.bases]
        # frames share the components of some regions only, where a pixel is masked in one frame
        n = max(len(region) for region in dark)
        return np.concatenate([np.broadcast_to(d, (n, d.shape[1])) for d in dark], axis=1)


class ProjectedNoise(NamedTuple):
    """Noise of all frames together, after the starlight's components are projected out.

    It has the methods of a noise model that a likelihood needs; all arrays are (n, ny, nx).

    Parameters
    ----------
    noise
        Gaussian, of independent pixels.
    components
        Of the starlight, with flat coefficients in units of the errors.
    """

    noise: GaussianNoise
    components: Components

    @property
    def normalization_needs_model(self) -> bool:
        """Whether `log_normalization` depends on the model's images."""
        return self.noise.normalization_needs_model

    def log_likelihood(self, image, model, error, mask) -> Float[Array, ""]:
        """Log-likelihood with the coefficients integrated out."""
        residuals = self.residuals(image, model, error, mask)
        return jnp.sum(self.log_normalization(model, error, mask) - 0.5 * jnp.square(residuals))

    def residuals(self, image, model, error, mask) -> Float[Array, " pixels"]:
        r"""The residuals :math:`(1 - Z_e Z_e^T) (d_e - m_e) / (s \sigma_e)` of all frames."""
        rows = self.noise.residuals(image, model, error, mask)
        return jnp.ravel(self.components.projected(rows.reshape(len(image), -1)))

    def log_normalization(self, model, error, mask) -> Float[Array, " pixels"]:
        """The noise's own without a scale in as many pixels as there are free numbers."""
        first = mask.ravel() & (jnp.cumsum(mask) <= self.components.number(len(error)))
        added = jnp.log(self.noise.scale) + 0.5 * math.log(2.0 * math.pi)
        return self.noise.log_normalization(model, error, mask) + jnp.where(first, added, 0.0)

    def without(self, image, model, error, mask, along: bool = True) -> Float[Array, "n ny nx"]:
        """The frames without the best starlight, 0 in masked pixels."""
        rows = jnp.where(mask, (image - model) / error, 0.0).reshape(len(image), -1)
        rest = self.components.projected(rows, along).reshape(image.shape)
        return jnp.where(mask, model + error * rest, 0.0)


def learned(
    klip: KLIP,
    rows: Float[np.ndarray, "n pixels"],
    error: Float[np.ndarray, "n pixels"],
    used: np.ndarray,
    references: Float[np.ndarray, "m pixels"] | None,
    angles: Float[np.ndarray, " n"],
    regions: Int[np.ndarray, " pixels"],
) -> Components:
    """The components of frames without a disk; rows, errors and use of their pixels."""
    if klip.library != "frames" and references is None:
        raise ValueError(
            f"KLIP.library = {klip.library!r}, but the frames have no references: give the frames "
            "references=, images of other stars (m, ny, nx)."
        )
    found = []
    for region in range(regions.max() + 1):
        # with courses all frames tell of a component in all of its pixels
        there = used.all(axis=0) if klip.of_all_frames else used.any(axis=0)
        pixels = np.flatnonzero((regions == region) & there)
        if not pixels.size:
            continue
        others = None if references is None else references[:, pixels]
        part = rows[:, pixels], error[:, pixels], used[:, pixels], others
        if klip.of_all_frames:
            basis, course = _with_courses(klip, rows[:, pixels] / error[:, pixels], region)
        else:
            allowed = klip.allowed(angles, klip.radius_of(region))
            basis, course = _basis(klip, *part, allowed, region), None
        found.append((basis, course, pixels))
    if not found:
        raise ValueError(f"KLIP.annuli = {klip.annuli}: no pixel in use is in any of them.")
    bases, courses, places = zip(*found, strict=True)
    courses = tuple(None if course is None else jnp.asarray(course) for course in courses)
    return Components(
        tuple(map(jnp.asarray, bases)), courses, tuple(map(jnp.asarray, places)), klip
    )


def _with_courses(klip, rows, region):
    """Components of all frames together (1, modes, pixels), and their courses (n, modes)."""
    from scipy.linalg import svd

    _check_number(klip, len(rows), 0, region, rows.shape[1], own=True)
    found: Any = svd(rows, full_matrices=False)
    courses, values, components = found
    _check_rank(klip.modes, values[klip.modes - 1] ** 2, values[0] ** 2, 0, region)
    return components[None, : klip.modes], courses[:, : klip.modes]


def _basis(klip, rows, error, used, references, allowed, region) -> np.ndarray:
    """Components of a region, (n or 1, modes, pixels)."""
    number = len(rows)
    usual = np.sqrt(np.nanmean(np.where(used, error, np.nan) ** 2, axis=0))
    typical = np.nanmean(np.where(used, rows, np.nan), axis=0)
    library = np.where(used, rows, typical) / usual
    if klip.library == "references":
        library, allowed = references / usual, np.ones((number, len(references)), bool)
    elif klip.library == "both":
        library = np.concatenate([library, references / usual])
        allowed = np.pad(allowed, ((0, 0), (0, len(references))), constant_values=True)
    weights = np.where(used, usual / np.where(used, error, 1.0), 0.0)
    alike = np.all(allowed == allowed[0]) and np.all(weights == weights[0])
    gram, found = library @ library.T, {}
    bases = []
    for k in range(1 if alike else number):
        key = allowed[k].tobytes()
        if key not in found:
            own = klip.library != "references" and bool(allowed[k, k])
            _check_number(klip, int(allowed[k].sum()), k, region, library.shape[1], own)
            found[key] = _of_gram(gram, library, allowed[k], klip.modes, k, region)
        bases.append(_weighted(found[key], weights[k], k, region))
    return np.stack(bases)


def _check_number(klip, there, frame, region, pixels, own: bool) -> None:
    """Refuse too many modes; ``own`` is whether the frame is one of its own references."""
    where = f"frame {frame} in region {region}"
    if there == 0:
        raise ValueError(
            f"KLIP: no frame is left as a reference for {where} (movement = {klip.movement:g} "
            f"pixels, rotation = {klip.rotation:g} deg): allow smaller movements."
        )
    if there < klip.modes:
        raise ValueError(
            f"KLIP.modes = {klip.modes}, but {where} has only {there} references: take fewer "
            "modes, or allow smaller movements."
        )
    if own and there == klip.modes:
        raise ValueError(
            f"KLIP.modes = {klip.modes}, but {where} is itself one of only {there} references, and "
            "is a sum of as many components: nothing is left for the disk. Take fewer modes than "
            "frames."
        )
    if pixels <= klip.modes:
        raise ValueError(
            f"KLIP.modes = {klip.modes}, but region {region} has only {pixels} pixels in use: "
            "nothing is left for the disk. Take fewer modes or larger regions."
        )


def _check_rank(modes, smallest, largest, frame, region) -> None:
    if not smallest > 1e-13 * max(largest, 0.0):
        raise ValueError(
            f"KLIP.modes = {modes}, but the references of frame {frame} in region {region} are "
            "sums of fewer images than that: take fewer modes."
        )


def _of_gram(gram, library, chosen, modes, frame, region) -> np.ndarray:
    """The components of some rows of the library, (modes, pixels)."""
    from scipy.linalg import eigh

    size = int(chosen.sum())
    found: Any = eigh(gram[np.ix_(chosen, chosen)], subset_by_index=(size - modes, size - 1))
    values, vectors = found
    _check_rank(modes, values[0], values[-1], frame, region)
    return (vectors[:, ::-1] / np.sqrt(values[::-1])).T @ library[chosen]


def _weighted(basis, weights, frame, region) -> np.ndarray:
    """The components over a frame's own errors, orthonormal in its own pixels."""
    if np.all(weights == 1.0):
        return basis
    if np.count_nonzero(weights) <= len(basis):
        raise ValueError(
            f"KLIP.modes = {len(basis)}, but frame {frame} has only {np.count_nonzero(weights)} "
            f"pixels in use in region {region}: leave the frame out, or take larger regions."
        )
    found = np.linalg.qr((weights * basis).T)[0].T
    found[:, weights == 0.0] = 0.0  # but for rounding they are
    return found
