"""An envelope of one's own is a profile with its parameters; fits of any kind work with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import spotgp
from factories import make_star
from pytreefit import param


class Bell(spotgp.AbstractEnvelope):
    """A spot that grows and decays as a Gaussian does."""

    width: jnp.ndarray = param(unit="d", bounds="(0, inf)")

    def Gamma(self, t):
        return jnp.exp(-((t / self.width) ** 2) / 4)


@pytest.fixture(scope="module")
def gp():
    star, t = make_star(Bell(4.0), peq=5.0), np.arange(0.0, 40.0, 0.6)
    drawn = spotgp.GPSolver(t, np.ones(t.size), 1e-3, star).sample_prior(t, jax.random.key(0))[0]
    return spotgp.GPSolver(t, 1.0 + drawn, 1e-3, star, priors={"kappa": None, "inc": None})


def test_search_and_fits_of_many_stars(gp):
    found = spotgp.search(gp, number=2, steps=30, progress=False).best
    assert found.log_density > gp.log_posterior()
    assert 1.0 < found.values["model.envelope.width"] < 16.0
    star = (gp.data.time, gp.data.flux, 1e-3)
    options = {"priors": {"kappa": None, "inc": None}, "steps": 30, "progress": False}
    many = spotgp.fit_many([star], gp.process.model, starts=2, **options)
    np.testing.assert_allclose(many.values("width"), found.values["model.envelope.width"], rtol=0.1)
