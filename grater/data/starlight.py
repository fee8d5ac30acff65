"""Light of the star that is left in an image: reference images with free coefficients."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float

from pytreefit import Model
from pytreefit.extend import check_kind, check_shape, is_traced

from .._arrays import opened, real_array


def _references(value: Any) -> Any:
    """The images one above the other, shape (k, ny, nx)."""
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        array = real_array("Starlight.references", value)
        return array[None] if array.ndim == 2 else array
    images = [
        real_array(f"Starlight.references[{k}]", opened(image)) for k, image in enumerate(value)
    ]
    for k, image in enumerate(images):
        check_shape(f"Starlight.references[{k}]", image, ndim=2, shape=images[0].shape)
    return jnp.stack(images) if images else jnp.zeros((0, 0, 0))


class Starlight(Model):
    r"""Images whose sum, with coefficients that nobody knows, lies under the disk.

    .. math:: d = m(\theta) + R c + n, \qquad n \sim N(0, W^{-1}), \quad c \sim N(0, \Lambda)

    The columns of :math:`R` are reference images of other stars (or their principal components), a
    constant and a slope. The coefficients are integrated out exactly. With :math:`r = d - m`,

    .. math::

        \ln L = -\tfrac12 r^T W r + \tfrac12 b^T A^{-1} b - \tfrac12 \ln |A|
                + \tfrac12 \ln |W| - \tfrac12 \ln |\Lambda| - \tfrac{n}{2} \ln 2\pi, \qquad
        A = R^T W R + \Lambda^{-1}, \quad b = R^T W r

    The model is subtracted before the coefficients are found, so that the light of the disk which
    they would take for the star's is in the likelihood. A fit to an image from which references
    were subtracted before is biased. A coefficient with a flat prior has the density 1 in place of
    its factor of :math:`\Lambda`.

    Parameters
    ----------
    references
        Images (k, ny, nx) on the pixels of the observation, with the star at the same place; a list
        of images, or one image. They must be finite wherever the observation's pixels are used. The
        derivatives of a reference by x and y, as further images, take up a small shift of it. None
        for the constant or the slope alone.
    width
        Standard deviation of the prior of the references' coefficients about 0, a number or one for
        each, > 0. None or infinite: flat. Constant and slope are always flat.
    constant
        Whether a constant is added, in the unit of the observation.
    slope
        Whether a slope in x and one in y are added, per pixel, zero at the star.

    Raises
    ------
    ValueError
        Where there is nothing, for images of different shapes, and widths that are not positive.
        The observation refuses references that are zero or not finite in its pixels, and those that
        are a sum of the others to the precision of the likelihood: so are two that differ only
        where errors are huge, or with priors too wide to tell them apart.
    TypeError
        For what is no array of real numbers.

    References
    ----------
    Lafreniere et al. 2007, ApJ 660, 770 (least-squares references); Luger, Foreman-Mackey & Hogg
    2017, RNAAS 1, 7 (linear nuisances integrated out).

    Examples
    --------
    >>> import numpy as np
    >>> star = np.random.default_rng(0).normal(size=(3, 5, 5))
    >>> Starlight(star, constant=True).names
    ('reference 0', 'reference 1', 'reference 2', 'constant')
    """

    references: Float[Array, "k ny nx"] | None = eqx.field(converter=_references, default=None)
    width: Float[Array, "..."] | None = eqx.field(
        converter=lambda value: None if value is None else real_array("Starlight.width", value),
        default=None,
    )
    constant: bool = eqx.field(static=True, default=False)
    slope: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        check_kind("Starlight.constant", self.constant, bool)
        check_kind("Starlight.slope", self.slope, bool)
        if self.references is not None:
            shape = self.references.shape
            if len(shape) != 3 or 0 in shape:
                raise ValueError(
                    f"Starlight.references has shape {shape}; images (k, ny, nx) are needed."
                )
        if not self.names:
            raise ValueError(
                "Starlight has no references, constant or slope: leave it out (starlight=None)."
            )
        if self.width is None:
            return
        number = 0 if self.references is None else len(self.references)
        if self.width.shape not in ((), (number,)) or number == 0:
            raise ValueError(
                f"Starlight.width has shape {self.width.shape}; a number or one for each of the "
                f"{number} references is needed."
            )
        if not is_traced(self.width) and not np.all(np.asarray(self.width) > 0):
            raise ValueError(
                f"Starlight.width = {np.asarray(self.width)} must be > 0; infinite is a flat prior."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """What each coefficient belongs to."""
        number = 0 if self.references is None else len(self.references)
        return (
            *(f"reference {k}" for k in range(number)),
            *("constant",) * self.constant,
            *("slope in x", "slope in y") * self.slope,
        )

    def columns(
        self, shape: tuple[int, int], center: Float[Array, " 2"]
    ) -> Float[Array, "c ny nx"]:
        """All images of an observation of this shape, whose star is at ``center``."""
        found = [] if self.references is None else [self.references]
        y, x = (jnp.asarray(values, center.dtype) for values in np.indices(shape))
        if self.constant:
            found.append(jnp.ones_like(x)[None])
        if self.slope:
            found.append(jnp.stack([x - center[0], y - center[1]]))
        return jnp.concatenate(found)

    def widths(self) -> Float[Array, " c"] | None:
        """The prior's standard deviation of each coefficient; None if all are flat."""
        if self.width is None:
            return None
        number = len(self.names)
        return jnp.full(number, jnp.inf).at[: len(self.references)].set(self.width)

    def check(self, error, used, center) -> None:
        """Refuse images that are not finite, zero or a sum of the others in the pixels in use.

        Compared is what the data and the priors say of the coefficients together, as in the
        likelihood: the images over the errors, with a row of 1 / width for each prior.

        Raises
        ------
        ValueError
            With the name of the image.
        """
        shape = error.shape
        if self.references is not None and self.references.shape[1:] != shape:
            raise ValueError(
                f"Observation.starlight has references of shape {self.references.shape[1:]}, the "
                f"image has {shape}: they must be on the same pixels."
            )
        leaves = self.references, self.width, error, used, center
        if any(isinstance(leaf, Tracer) for leaf in leaves):
            return
        used = np.asarray(used)
        columns = np.asarray(self.columns(shape, center))
        for name, column in zip(self.names, columns, strict=True):
            bad = used & ~np.isfinite(column)
            if bad.any():
                row, col = np.argwhere(bad)[0]
                raise ValueError(
                    f"Observation.starlight: {name} is not finite in {bad.sum()} of the "
                    f"{used.sum()} pixels in use, first at row {row}, column {col}. Mask these "
                    "pixels of the observation (mask=, True = used)."
                )
            if not np.any(column[used]):
                raise ValueError(f"Observation.starlight: {name} is 0 in all pixels in use.")
        widths = self.widths()
        inverse = np.zeros(len(columns)) if widths is None else 1.0 / np.asarray(widths, float)
        if np.sum(inverse == 0.0) >= used.sum():
            raise ValueError(
                f"Observation.starlight has {np.sum(inverse == 0.0)} coefficients for {used.sum()} "
                "pixels in use: nothing is left for the disk."
            )
        rows = columns[:, used].astype(float) / np.asarray(error, float)[used]
        precision = np.finfo(columns.dtype).eps
        _check_independent(self.names, np.hstack([rows, np.diag(inverse)]), precision)


def _check_independent(names, columns, precision) -> None:
    """Refuse columns (c, n) of which one is a sum of others to the precision of the likelihood."""
    from scipy.linalg import qr

    number, rows = columns.shape
    columns = columns / np.linalg.norm(columns, axis=1, keepdims=True)
    found: Any = qr(columns.T, mode="r", pivoting=True)
    triangle, order = found
    if abs(triangle[number - 1, number - 1]) < 10.0 * math.sqrt(rows) * precision:
        raise ValueError(
            f"Observation.starlight: {names[order[-1]]} is a sum of multiples of the others in the "
            "pixels in use, weighted by their errors. Leave it out, or give the coefficients a "
            "narrower prior (width=)."
        )


class StarlightFit(NamedTuple):
    """The starlight that fits best once a scene is subtracted, see `Observation.best_starlight`.

    Parameters
    ----------
    names
        Of the coefficients, (c,).
    coefficients
        The most probable ones, shape (c,).
    covariance
        Of their errors, (c, c). In single precision it is 0 for errors below about 1e-19, infinite
        above 1e19; ``error`` is right there too.
    image
        The starlight, shape (ny, nx), in masked pixels as well.
    error
        Standard deviation of ``image`` that follows from the covariance, shape (ny, nx).

    Examples
    --------
    >>> import numpy as np
    >>> from grater import Disk, Observation, Scene, Starlight
    >>> star = np.random.default_rng(0).normal(size=(9, 9))
    >>> light = Starlight(star, constant=True)
    >>> data = Observation(3.0 * star + 0.5, 0.1, pixel_scale=0.2, distance=60.0, starlight=light)
    >>> nothing = Disk(40, 60, 0, alpha_in=5, alpha_out=-5, scale_height=2, flux=0.0)
    >>> found = data.best_starlight(Scene(nothing, grid=data.grid, accuracy=1e-2))
    >>> found.coefficients.round(3).tolist()
    [3.0, 0.5]
    """

    names: tuple[str, ...]
    coefficients: Float[Array, " c"]
    covariance: Float[Array, "c c"]
    image: Float[Array, "ny nx"]
    error: Float[Array, "ny nx"]


def _norm(parts: Float[Array, "c ny nx"]) -> Float[Array, "ny nx"]:
    """Root of the sum of squares, which may be too large or small for the precision."""
    largest = jnp.max(jnp.abs(parts), axis=0, keepdims=True)
    largest = jnp.where(largest > 0.0, largest, 1.0)
    return largest[0] * jnp.sqrt(jnp.sum(jnp.square(parts / largest), axis=0))


class StarlitNoise(NamedTuple):
    """Noise and starlight together: one Gaussian of correlated pixels.

    It has the methods of a noise model that a likelihood needs.

    Parameters
    ----------
    noise
        Gaussian.
    columns
        Images with free coefficients, shape (c, ny, nx).
    widths
        Of the coefficients' priors, shape (c,), or None where all are flat.
    """

    noise: Any  # with residuals
    columns: Float[Array, "c ny nx"]
    widths: Float[Array, " c"] | None

    @property
    def normalization_needs_model(self) -> bool:
        """Whether `log_normalization` depends on the model's image."""
        return self.noise.normalization_needs_model

    def log_likelihood(self, image, model, error, mask) -> Float[Array, ""]:
        """Log-likelihood with the coefficients integrated out."""
        residuals = self.residuals(image, model, error, mask)
        normalization = self.log_normalization(model, error, mask)
        return jnp.sum(normalization) - 0.5 * jnp.sum(jnp.square(residuals))

    def residuals(self, image, model, error, mask) -> Float[Array, " n"]:
        r"""The residuals :math:`(1 - Q Q^T) W^{1/2} r` without what the columns describe.

        :math:`Q` is an orthonormal basis of :math:`W^{1/2} R`, below which there are rows
        :math:`\Lambda^{-1/2}` where coefficients have a prior.
        """
        return self.projection(model, error, mask)(self.noise.residuals(image, model, error, mask))

    def projection(self, model, error, mask):
        """A function of the noise's own residuals that takes out what the columns describe."""
        basis, _, _ = self._basis(model, error, mask)

        def projected(residuals):
            residuals = self._padded(residuals)
            return residuals - basis @ (basis.T @ residuals)

        return projected

    def log_normalization(self, model, error, mask) -> Float[Array, " pixels"]:
        """The noise's own, and what the coefficients add to as many of the pixels.

        Each of these has no slope in a scale of the noise, so that the Fisher matrix counts as many
        pixels less.
        """
        number = len(self.columns)
        _, triangle, factor = self._basis(model, error, mask)
        added = jnp.log(factor) - jnp.log(jnp.abs(jnp.diagonal(triangle)))
        prior = jnp.full(number, 0.5 * math.log(2.0 * math.pi), added.dtype)
        if self.widths is not None:
            prior = jnp.where(jnp.isinf(self.widths), prior, -jnp.log(self.widths))
        (at,) = jnp.nonzero(jnp.ravel(mask), size=number, fill_value=0)
        return self.noise.log_normalization(model, error, mask).at[at].add(added + prior)

    def best(self, names, image, model, error, mask) -> StarlightFit:
        """The most probable coefficients and their image."""
        basis, triangle, factor = self._basis(model, error, mask)
        residuals = self._padded(self.noise.residuals(image, model, error, mask))
        root = factor * solve_triangular(triangle, jnp.eye(len(triangle), dtype=triangle.dtype))
        coefficients = root @ (basis.T @ residuals)
        parts = jnp.tensordot(root.T, self.columns, axes=1)
        return StarlightFit(
            names,
            coefficients,
            root @ root.T,
            jnp.tensordot(coefficients, self.columns, axes=1),
            _norm(parts),
        )

    def without(self, image, model, error, mask) -> Float[Array, "ny nx"]:
        """The image without the best starlight, 0 in masked pixels."""
        light = self.best((), image, model, error, mask).image
        return jnp.where(mask, image - light, 0.0)

    def _padded(self, residuals):
        """With rows of 0 for the prior."""
        return residuals if self.widths is None else jnp.pad(residuals, (0, len(self.widths)))

    def _basis(self, model, error, mask: Bool[Array, "ny nx"]):
        """Q, the triangle T and the factor f with Q T / f = the whitened columns."""
        whitened = jax.vmap(self.noise.whitened, (0, None, None, None), (1, None))
        rows, factor = whitened(self.columns, model, error, mask)
        if self.widths is not None:
            rows = jnp.concatenate([rows, factor * jnp.diag(1.0 / self.widths)])
        return *jnp.linalg.qr(rows), factor
