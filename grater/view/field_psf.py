"""A point spread function that changes over the detector."""

# the constructor assigns what the converters of the fields take
# pyright: reportAttributeAccessIssue=false

from typing import Any, Literal, Self, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit.extend import (
    as_data,
    as_number,
    as_whole_number,
    as_whole_numbers,
    check_choice,
    is_traced,
)

from .._arrays import opened, position, real_array
from .psf import AbstractPSF, convolved_sum
from .stamps import centred_stamps, warn_off_centre

Interpolation = Literal["linear", "nearest"]


class FieldPSF(AbstractPSF):
    r"""A PSF that depends on where the light comes from, as a sum of convolutions.

    .. math:: I = \sum_j (w_j S) * P_j = \sum_r (c_r S) * E_r, \qquad
              c_r = \sum_j w_j a_{jr}, \quad P_j \approx \sum_r a_{jr} E_r

    with the sharp image :math:`S`, PSFs :math:`P_j` at places on the detector, and their weights
    :math:`w_j`, whose sum is 1 in each pixel. PSFs of neighbouring places resemble each other, so
    that a few images :math:`E_r` from a singular value decomposition serve for all of them. Make
    one by `from_positions` or `from_zones`. The place is one on the detector, and does not move
    with the star.

    Parameters
    ----------
    images
        :math:`E_r`, shape (terms, ky, kx), centred on the pixel (ky // 2, kx // 2).
    weights
        :math:`c_r`, shape (terms, my, mx): on the pixels of the image and a margin that is as wide
        on opposite sides. Further out they are what they are at their edge.
    shape
        Rows and columns (ny, nx) of the image without that margin; by default all of the weights.
    oversample
        Points per pixel along each side at which images and weights are sampled.
    error
        What left-out terms cost, relative to the brightest pixel: the largest for a point, for
        straight lines and for edges, with each of the PSFs. Disks are made of such parts.

    Raises
    ------
    ValueError, TypeError
        For arrays that are not finite, or of shapes that do not belong together.

    References
    ----------
    Lauer 2002, SPIE 4847, 167; Denis et al. 2015, IJCV 115, 253.

    Examples
    --------
    >>> import numpy as np
    >>> row, column = np.indices((9, 9)) - 4
    >>> widths = np.array([1.0, 1.2, 1.4, 1.6])
    >>> stamps = np.exp(-(row**2 + column**2) / (2 * widths[:, None, None] ** 2))
    >>> stamps /= stamps.sum(axis=(1, 2), keepdims=True)
    >>> corners = [(0, 0), (20, 0), (0, 20), (20, 20)]
    >>> psf = FieldPSF.from_positions(stamps, corners, (21, 21), accuracy=1e-2)
    >>> psf.terms, bool(psf.error <= 1e-2)
    (3, True)
    """

    images: Float[Array, "terms ky kx"] = eqx.field(
        converter=lambda value: real_array("FieldPSF.images", value, "")
    )
    weights: Float[Array, "terms my mx"] = eqx.field(
        converter=lambda value: real_array("FieldPSF.weights", value, "")
    )
    shape: tuple[int, int] = eqx.field(static=True)
    oversample: int = eqx.field(static=True)
    error: Float[Array, ""] = eqx.field(
        converter=lambda value: real_array("FieldPSF.error", value, "")
    )

    def __init__(self, images, weights, shape=None, oversample: int = 1, error=0.0):
        self.images, self.weights, self.error = images, weights, error
        self.oversample = as_whole_number("FieldPSF.oversample", oversample, 1)
        if shape is None:
            _check_stack("weights", self.weights)
            shape = tuple(n // self.oversample for n in self.weights.shape[1:])
        self.shape = as_whole_numbers("FieldPSF.shape", shape)

    def __check_init__(self):
        for name in ("images", "weights"):
            _check_stack(name, getattr(self, name))
        if len(self.images) != len(self.weights):
            raise ValueError(
                f"FieldPSF.images has {len(self.images)} terms, FieldPSF.weights "
                f"{len(self.weights)}: each image has its map of weights."
            )
        if self.error.ndim or not (is_traced(self.error) or 0 <= self.error < np.inf):
            raise ValueError(f"FieldPSF.error = {self.error} is not a finite number of at least 0.")
        if len(self.shape) != 2:
            raise ValueError(f"FieldPSF.shape = {self.shape} is not (rows, columns) of an image.")
        _margins(self)

    @property
    def terms(self) -> int:
        """Number of convolutions."""
        return self.images.shape[0]

    @property
    def points_per_pixel(self) -> int:
        return self.oversample

    @property
    def reach(self):
        return tuple(-(-(k // 2) // self.oversample) for k in self.images.shape[1:])

    def kernel(self):
        """The PSF in the middle of the image."""
        _, my, mx = self.weights.shape
        return jnp.tensordot(self.weights[:, my // 2, mx // 2], self.images, 1)

    def check_shape(self, shape):
        if self.shape != tuple(shape):
            raise ValueError(
                f"psf: this FieldPSF is for images of {self.shape} pixels, the grid has "
                f"{tuple(shape)}. Make one for shape=grid.shape, its positions in pixels of that "
                "grid; crop cuts one."
            )

    def crop(self, rows: slice, columns: slice) -> Self:
        """The PSF of a part of the image.

        Parameters
        ----------
        rows, columns
            Slices of the image's pixels, with a step of 1.
        """
        cuts = [part.indices(n) for part, n in zip((rows, columns), self.shape, strict=True)]
        for (first, last, step), name in zip(cuts, ("rows", "columns"), strict=True):
            if step != 1 or first >= last:
                raise ValueError(f"crop: {name} = {(rows, columns)} leave no pixels or have steps.")
        shape = tuple(last - first for first, last, _ in cuts)
        # as wide on opposite sides as before: what was cut off is the new margin
        n, (height, width) = self.oversample, _margins(self)
        window = tuple(
            slice(n * first, n * last + 2 * margin)
            for (first, last, _), margin in zip(cuts, (height, width), strict=True)
        )
        return type(self)(self.images, self.weights[:, *window], shape, n, self.error)

    def convolve(self, image, margin=(0, 0)):
        weights = self.weights
        for axis, (there, n) in enumerate(zip(_margins(self), margin, strict=True), 1):
            if there > n:
                weights = jax.lax.slice_in_dim(
                    weights, there - n, weights.shape[axis] - (there - n), axis=axis
                )
            elif there < n:
                pads = [(0, 0), (0, 0), (0, 0)]
                pads[axis] = (n - there, n - there)
                weights = jnp.pad(weights, pads, mode="edge")
        return convolved_sum(weights * image[None], self.images, margin)

    @classmethod
    def from_positions(
        cls,
        images: Any,
        positions: Any,
        shape: tuple[int, int],
        *,
        interpolation: Interpolation = "linear",
        accuracy: float = 1e-3,
        oversample: int = 1,
        center: Any = None,
    ) -> Self:
        """A PSF that is known at some places.

        Parameters
        ----------
        images
            PSFs as they are to be used, shape (n, ky, kx): sums below 1 are light that a
            coronagraph holds back, or that falls beside the stamp.
        positions
            Zero-based pixels (x, y) of the image at which they hold, or beyond it, shape (n, 2).
        shape
            Rows and columns (ny, nx) of the image, as of a `Grid`.
        interpolation
            "linear" between the places (in the triangles of Delaunay, and beyond them what is at
            the nearest point of their hull): continuous. "nearest": zones with hard edges.
        accuracy
            Largest `error` that the compression may have; 0 keeps all PSFs, a convolution each.
        oversample
            Points per pixel along each side at which the PSFs are sampled; the view's is a
            multiple.
        center
            Zero-based position (x, y) of the centre in each stamp, as for `ImagePSF`. Stamps of
            even size that are symmetric have ((kx - 1) / 2, (ky - 1) / 2).

        Raises
        ------
        ValueError, TypeError
            For PSFs that are not finite, and positions of another number, at one place or, to
            interpolate, on one line.

        Warns
        -----
        UserWarning
            Where no centre is given, and the brightest PSF is not about that pixel.
        """
        stamps, n, accuracy, shape = _taken(images, oversample, accuracy, shape, center)
        places = as_data("FieldPSF: positions", positions, "pix")
        _check_positions(places, len(stamps))
        check_choice("FieldPSF: interpolation", interpolation, get_args(Interpolation))
        margins = tuple(-(-(k // 2) // n) for k in stamps.shape[1:])
        y, x = (
            (np.arange(-m * n, (size + m) * n) + 0.5) / n - 0.5
            for size, m in zip(shape, margins, strict=True)
        )
        points = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1)
        if interpolation == "nearest" or len(places) == 1:
            corners, shares = _nearest(places, points.reshape(-1, 2))
        else:
            corners, shares = _between(places, points.reshape(-1, 2))
        return _compressed(cls, stamps, corners, shares, points.shape[:2], shape, n, accuracy)

    @classmethod
    def from_zones(
        cls,
        images: Any,
        zones: Any,
        *,
        accuracy: float = 1e-3,
        oversample: int = 1,
        center: Any = None,
    ) -> Self:
        """A PSF of zones, in each of which one of some images holds.

        Parameters
        ----------
        images, accuracy, oversample, center
            As for `from_positions`.
        zones
            Index of the PSF from 0 at each point of the image, of shape
            (ny oversample, nx oversample).

        Raises
        ------
        ValueError, TypeError
            As for `from_positions`, and for indices that are not whole or of no PSF.
        """
        index = as_data("FieldPSF: zones", zones, "")
        n = as_whole_number("FieldPSF: oversample", oversample, 1)
        if index.ndim != 2 or not index.size or any(size % n for size in index.shape):
            raise ValueError(
                f"FieldPSF: zones has shape {index.shape}, not (ny, nx) times oversample = {n}."
            )
        shape = tuple(size // n for size in index.shape)
        stamps, n, accuracy, shape = _taken(images, n, accuracy, shape, center)
        wrong = ~((index >= 0) & (index < len(stamps)) & (index % 1 == 0))
        if wrong.any():
            raise ValueError(
                f"FieldPSF: zones holds {index[wrong][0]:g}, which is none of the {len(stamps)} "
                f"PSFs, 0 to {len(stamps) - 1}."
            )
        corners = index.reshape(-1, 1).astype(int)
        shares = np.ones(corners.shape)
        return _compressed(cls, stamps, corners, shares, index.shape, shape, n, accuracy)


def _check_stack(name: str, stack: Any) -> None:
    if stack.ndim != 3 or not stack.size:
        raise ValueError(
            f"FieldPSF.{name} has shape {stack.shape}; a stack of 2-d arrays (number, rows, "
            "columns) is needed."
        )
    if is_traced(stack):
        return
    bad = int(np.sum(~np.isfinite(stack)))
    if bad:
        raise ValueError(
            f"FieldPSF.{name} has {bad} NaN, infinite or masked values of {stack.size}. Fill them "
            "or leave these out: each would spread over the whole image."
        )


def _margins(psf: FieldPSF) -> tuple[int, int]:
    """Rows and columns of the weights on each side of the image, in points."""
    beyond = [m - psf.oversample * n for m, n in zip(psf.weights.shape[1:], psf.shape, strict=True)]
    if any(extra < 0 or extra % 2 for extra in beyond):
        raise ValueError(
            f"FieldPSF.weights has maps of {psf.weights.shape[1:]}, shape = {psf.shape} pixels of "
            f"oversample = {psf.oversample} points: a margin as wide on opposite sides is needed."
        )
    height, width = (extra // 2 for extra in beyond)
    return height, width


def _taken(images, oversample, accuracy, shape, center):
    """Checked arguments, the stamps with their centre on a pixel."""
    stamps = as_data("FieldPSF: images", opened(images), "")
    _check_stack("images", stamps)
    n = as_whole_number("FieldPSF: oversample", oversample, 1)
    accuracy = as_number("FieldPSF: accuracy", accuracy)
    if not 0 <= accuracy < 1:
        raise ValueError(
            f"FieldPSF: accuracy = {accuracy:g} is not in [0, 1), of the brightest pixel."
        )
    shape = as_whole_numbers("FieldPSF: shape", shape)
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"FieldPSF: shape = {shape} is not (rows, columns) of an image.")
    if center is None:
        warn_off_centre("FieldPSF: images", stamps[np.argmax(stamps.sum(axis=(1, 2)))])
    else:
        at = position("FieldPSF: center", center)
        stamps = centred_stamps(stamps, at, "FieldPSF: center")
    return stamps, n, accuracy, shape


def _check_positions(places: np.ndarray, number: int) -> None:
    if places.shape != (number, 2):
        raise ValueError(
            f"FieldPSF: positions has shape {places.shape}; one (x, y) for each of the {number} "
            "PSFs in images is needed."
        )
    if not np.all(np.isfinite(places)):
        raise ValueError("FieldPSF: positions has NaN, infinite or masked entries.")
    found, counts = np.unique(places, axis=0, return_counts=True)
    if np.any(counts > 1):
        x, y = found[np.argmax(counts)]
        raise ValueError(
            f"FieldPSF: positions has ({x:g}, {y:g}) {counts.max()} times. Give each place one "
            "PSF, for instance their mean."
        )


def _nearest(places, points):
    from scipy.spatial import KDTree

    index = np.asarray(KDTree(places).query(points)[1])
    return index[:, None], np.ones((len(points), 1))


def _between(places: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The three places about each point and their shares."""
    from scipy.spatial import Delaunay, QhullError

    try:
        mesh = Delaunay(places)
    except QhullError:
        raise ValueError(
            f"FieldPSF: positions of {len(places)} PSFs are on one line, or too few to interpolate "
            'in two dimensions: add places, or take interpolation="nearest".'
        ) from None
    triangle = mesh.find_simplex(points)
    to_shares = np.asarray(mesh.transform)[triangle]
    two = np.einsum("pij,pj->pi", to_shares[:, :2], points - to_shares[:, 2])
    corners = mesh.simplices[triangle]
    shares = np.concatenate([two, 1.0 - two.sum(axis=1, keepdims=True)], axis=1)
    outside = triangle < 0
    if outside.any():
        corners[outside], shares[outside] = _on_hull(places, mesh.convex_hull, points[outside])
    return corners, shares


def _on_hull(places, edges, points):
    """The ends of the edge that is nearest to each point, and their shares there."""
    nearest = np.full(len(points), np.inf)
    corners, shares = np.zeros((len(points), 3), int), np.zeros((len(points), 3))
    for first, last in edges:
        along = places[last] - places[first]
        share = np.clip((points - places[first]) @ along / (along @ along), 0.0, 1.0)
        distance = np.sum((points - places[first] - share[:, None] * along) ** 2, axis=1)
        nearer = distance < nearest
        nearest[nearer] = distance[nearer]
        corners[nearer] = first, last, last
        shares[nearer] = np.stack([1.0 - share, share, 0.0 * share], axis=1)[nearer]
    return corners, shares


def _compressed(cls, stamps, corners, shares, size, shape, oversample, accuracy):
    """The PSF of as few terms as the accuracy allows."""
    basis, factors, error = stamps, np.eye(len(stamps)), 0.0
    if accuracy > 0:
        basis, factors, error = _fewest_terms(stamps, oversample, accuracy)
    maps = [np.sum(shares * factor[corners], axis=1).reshape(size) for factor in factors.T]
    return cls(basis, np.stack(maps), shape, oversample, error)


def _fewest_terms(stamps, oversample, accuracy):
    """Images, factors and the error of the shortest decomposition that is accurate enough."""
    number, *size = stamps.shape
    # PSFs behind a coronagraph are as exact, relative to their light, as the others
    light = np.abs(stamps).sum(axis=(1, 2))
    light = np.where(light > 0, light, 1.0)
    left, values, right = np.linalg.svd(
        (stamps / light[:, None, None]).reshape(number, -1), full_matrices=False
    )
    factors = light[:, None] * left * values
    bright = _seen(stamps, oversample)

    def error(terms):
        rest = stamps - (factors[:, :terms] @ right[:terms]).reshape(stamps.shape)
        ratios = zip(_seen(rest, oversample), bright, strict=True)
        return max(float(np.max(off / np.where(of > 0, of, 1.0))) for off, of in ratios)

    low, high = 0, len(values)  # too few, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if error(middle) <= accuracy else (middle, high)
    if high == number:
        return stamps, np.eye(number), 0.0
    return right[:high].reshape(high, *size), factors[:, :high], error(high)


def _seen(stamps: np.ndarray, oversample: int) -> list[np.ndarray]:
    """Largest absolute value of the images of a point, of lines and of edges at four angles."""
    from scipy.ndimage import uniform_filter

    if oversample > 1:  # means over the area of a pixel
        n, pads = oversample, [(0, 0), (oversample, oversample), (oversample, oversample)]
        stamps = uniform_filter(np.pad(stamps, pads), (0, n, n), mode="constant")
    row, column = np.indices(stamps.shape[1:])
    images = [stamps.reshape(len(stamps), -1)]
    for place in (row, column, row + column, row - column + column.max()):
        bins = place.ravel()
        line = np.stack([np.bincount(bins, stamp.ravel()) for stamp in stamps])
        images += [line, np.cumsum(line, axis=1)]
    return [np.max(np.abs(image), axis=1) for image in images]
