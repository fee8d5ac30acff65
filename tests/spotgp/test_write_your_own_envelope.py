"""An envelope of one's own: a profile and its parameters, and everything works with it."""

import jax.numpy as jnp
import numpy as np
import pytest

import spotgp
from factories import make_star
from pytreefit import fit, param


class Bell(spotgp.AbstractEnvelope):
    """A spot that grows and decays as a Gaussian does."""

    width: jnp.ndarray = param(unit="d", bounds="(0, inf)")

    def Gamma(self, t):
        return jnp.exp(-((t / self.width) ** 2) / 4)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    t = np.sort(rng.uniform(0.0, 40.0, 60))
    process = spotgp.GPSolver(t, np.ones(60), 5e-4, make_star(Bell(width=4.0), peq=5.0))
    flux = 1.0 + np.asarray(process.sample_prior(t, spotgp_key())[0]) + rng.normal(0.0, 5e-4, 60)
    return spotgp.TimeSeriesData(t, flux, 5e-4)
