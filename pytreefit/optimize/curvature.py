"""Second derivatives of a posterior: compiled, of residuals, or differences of the gradient."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..threads import in_threads
from .evaluate import Frame, hessian
from .minimisers import least_squares, value_and_gradient
from .start import refuse_start

_PASSES = 3
_COARSE = 0.1  # steps longer than this, in widths of the posterior, are taken again
_CLEAR = 10.0  # an eigenvalue so many times above the noise of a matrix is known


def derivatives_at(posterior, frame: Frame, method: str):
    """First and second derivatives of minus the log density, at the offset of a frame.

    Shapes ``(dim,)`` and ``(dim, dim)``, in units of the frame's scale.
    """
    if method == "fisher" and posterior.residuals is None:
        raise ValueError(
            "method = 'fisher' needs residuals: pass Posterior(..., residuals=...), or use "
            "method='hessian'."
        )
    zero = jnp.zeros_like(frame.offset)
    if method == "fisher":
        _, gradient, curvature = least_squares(posterior, frame, zero)
    elif method == "differences":
        _, gradient = value_and_gradient(posterior, frame, zero)
        curvature = differences(posterior, frame, twice=True)[0].matrix
    else:
        gradient, curvature = hessian.one(posterior, frame, zero)
    if not np.isfinite(np.asarray(curvature)).all():
        refuse_start(posterior, frame.offset)
    return gradient, jnp.asarray(curvature, frame.offset.dtype)


class Curvature(NamedTuple):
    """Second derivatives, and what is known of their noise."""

    matrix: Float[np.ndarray, "dim dim"]
    noise: Float[np.ndarray, "dim dim"]  # of the second derivatives along some axes
    back: Float[np.ndarray, "dim dim"]  # from a direction to its components along these axes

    def noise_along(self, directions: np.ndarray) -> np.ndarray:
        """The noise of the curvature along each direction, a column."""
        parts = np.abs(self.back @ directions)
        return np.einsum("ik,ij,jk->k", parts, self.noise, parts)


def of_residuals(matrix: np.ndarray, resolution: float) -> Curvature:
    """A Fisher matrix with the rounding of its sums."""
    width = np.sqrt(np.abs(np.diag(matrix)))
    return Curvature(matrix, resolution * np.outer(width, width), np.eye(len(width)))


def differences(posterior, frame: Frame, twice: bool = False) -> tuple[Curvature, int]:
    """Second derivatives by central differences of the gradient, and how many that took.

    Their noise is how far they are from being symmetric. They are taken again, over a part of the
    posterior's own width along its principal axes, if ``twice`` says so, where steps were not short
    against this width, and where noise hides the least of the curvature.
    """
    axes = back = np.eye(len(frame.offset))
    # where the steps should start: rounding and curvature of the gradient do equal harm
    first = step = float(jnp.finfo(frame.offset.dtype).eps) ** 0.25
    found = Curvature(np.full(axes.shape, np.nan), np.zeros(axes.shape), back)
    for made in range(1, _PASSES + 1):
        rows = _rows(posterior, frame, step * axes) @ axes / step
        if not np.isfinite(rows).all():
            break
        matrix = back.T @ (0.5 * (rows + rows.T)) @ back
        found = Curvature(matrix, 0.5 * np.abs(rows - rows.T), back)
        eigenvalues, vectors = np.linalg.eigh(matrix)
        coarse = step * np.sqrt(np.max(np.diag(rows), initial=0.0)) > _COARSE
        unclear = eigenvalues[0] < _CLEAR * found.noise_along(vectors)[0]
        if not coarse and (made > 1 or not (twice or unclear)):
            break
        axes, step = vectors / np.sqrt(np.maximum(eigenvalues, 1.0)), max(0.01, 2.0 * first)
        back = np.linalg.inv(axes)
    return found, 2 * len(axes) * made


def _rows(posterior, frame: Frame, steps: np.ndarray) -> np.ndarray:
    """How the gradient changes by each step, a column: by half of both ways, or one of them."""
    zs = np.concatenate([steps.T, -steps.T])
    up, down = np.split(_gradients(posterior, frame, zs), 2)
    if np.isfinite(up).all() and np.isfinite(down).all():
        return 0.5 * (up - down)
    here = _gradients(posterior, frame, np.zeros((1, len(steps))))
    forth, back = up - here, here - down
    return np.where(np.isfinite(up), np.where(np.isfinite(down), 0.5 * (up - down), forth), back)


def _gradients(posterior, frame: Frame, zs: np.ndarray) -> np.ndarray:
    """The gradient at each point by the program of the fits; NaN where it is not finite."""

    def one(z):
        value, gradient = value_and_gradient(posterior, frame, z)
        return jnp.where(jnp.isfinite(value), gradient, jnp.nan)

    points = [jnp.asarray(z, frame.offset.dtype) for z in zs]
    return np.array(in_threads(one, points), float)


def combination(direction: np.ndarray, names) -> str:
    """A direction in words, such as ``"+1 x -0.5 y"``."""
    direction = direction / np.abs(direction).max()
    parts = zip(direction, names, strict=True)
    return " ".join(f"{weight:+.2g} {name}" for weight, name in parts if abs(weight) > 0.1)
