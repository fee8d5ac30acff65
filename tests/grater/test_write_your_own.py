"""Components of one's own: each is one class, and works in images and fits."""

import jax
import jax.numpy as jnp
import numpy as np

import grater
from factories import make_scene
from pytreefit import Posterior, fit, param


class AiryPSF(grater.AbstractPSF):
    r"""Of a round aperture without obstruction, :math:`(2 J_1(x) / x)^2`, out to 12 pixels."""

    width: jax.Array = param(unit="pix", bounds="(0, inf)", doc="radius of the first dark ring")

    def kernel(self):
        y, x = jnp.asarray(np.indices((25, 25)) - 12.0, float)
        r = jnp.sqrt(x**2 + y**2 + 1e-12) * (3.8317 / self.width)
        angle = jnp.asarray(np.linspace(0.0, np.pi, 65), float)[None, None, :]
        bessel = jnp.mean(jnp.cos(angle - r[..., None] * jnp.sin(angle)), axis=-1)
        image = (2.0 * bessel / r) ** 2
        return image / jnp.sum(image)


def test_a_psf():
    scene = make_scene(psf=AiryPSF(width=2.0), accuracy=1e-3)
    data = grater.Observation.simulate(scene, 1e-6, jax.random.key(0))
    start = scene.set({"psf.width": 2.4})
    found = fit(Posterior(start, data.log_likelihood, {"psf.width": (1.0, 4.0)}))
    assert abs(float(found.model.get("psf.width")) - 2.0) < 0.05
    larger = grater.Grid((20, 20), 0.1, 60.0)
    np.testing.assert_allclose(
        scene.set({"grid": larger}).image()[2:-2, 2:-2], scene.image(), atol=1e-8
    )


class PhotonNoise(grater.AbstractGaussianNoise):
    """Read noise, from the error map, and the noise of the disk's own photons."""

    gain: jax.Array = param(bounds="(0, inf)", doc="photons per unit of the image")

    def width(self, model, error):
        return jnp.sqrt(error**2 + jnp.maximum(model, 0.0) / self.gain)


def test_a_noise_model_with_residuals():
    scene = make_scene(noise=PhotonNoise(gain=30.0), accuracy=1e-3).set({"disk.flux": 1e4})
    data = grater.Observation.simulate(scene, 0.1, jax.random.key(1))
    priors = {"disk.flux": (1e3, 1e5), "noise.gain": (1.0, 1e3)}
    posterior = Posterior(scene.set({"disk.flux": 5e3}), data.log_likelihood, priors)
    assert posterior.residuals is not None  # Levenberg-Marquardt
    found = fit(posterior).model
    assert abs(float(found.disk.flux) / 1e4 - 1.0) < 0.05
    assert abs(np.log(float(found.get("noise.gain")) / 30.0)) < 0.5
