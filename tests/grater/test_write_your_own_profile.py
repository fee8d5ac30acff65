"""A radial profile of one's own: in an image, a gradient and a fit."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import grater
import pytreefit
from factories import GRID, make_disk


class Plateau(grater.AbstractRadialProfile):
    r"""Even belt with soft edges, :math:`\rho(q) = 1 / (1 + ((q - 1) / w)^8)`."""

    width: Float[Array, ""] = pytreefit.param(bounds="(0, inf)", doc="half width, reference radii")

    def density(self, q):
        return 1.0 / (1.0 + ((q - 1.0) / self.width) ** 8)


def scene_of(width):
    belt = make_disk(alpha_in=None, alpha_out=None, radial=Plateau(width))
    return grater.Scene(belt, grid=GRID, accuracy=1e-6)


def test_a_profile_of_ones_own():
    total = jax.jit(lambda width: jnp.sum(scene_of(width).image() ** 2))
    step, slope = 1e-5, float(jax.jit(jax.grad(total))(0.3))
    expected = float(total(0.3 + step) - total(0.3 - step)) / (2 * step)
    np.testing.assert_allclose(slope, expected, rtol=1e-5)

    image = scene_of(0.3).image()
    error = 0.01 * float(jnp.max(image))
    data = grater.Observation(image, error, pixel_scale=GRID.pixel_scale, distance=GRID.distance)
    priors = {"disk.radial.width": (0.1, 0.8)}
    posterior = pytreefit.Posterior(scene_of(0.5), data.log_likelihood, priors)
    found = pytreefit.fit(posterior, progress=False).model.get("disk.radial.width")
    np.testing.assert_allclose(found, 0.3, rtol=1e-4)
