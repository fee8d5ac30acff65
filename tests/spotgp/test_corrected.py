"""Draws with the likelihood in bins corrected to the dense one."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from pytreefit import Samples
from pytreefit.sampling.nuts import Chunk
from spotgp import GPSolver, Process

PRIORS = {
    "peq": (3.9, 4.1),
    "sigma_k": dist.LogNormal(jnp.log(0.01), 0.1),
    "lspot": (3.0, 8.0),
    "jitter": (2e-5, 6e-4),
    **dict.fromkeys(("kappa", "inc", "tau_spot")),
}


@pytest.mark.filterwarnings("ignore:Only .* draws are effective")
def test_from_bins_to_the_exact_likelihood(star):
    rng = np.random.default_rng(0)
    t = np.sort(rng.uniform(0.0, 40.0, 200))
    error = np.full(t.size, 2e-4)
    flux = 1.0 + 0.01 * np.sin(1.5 * t) + error * rng.normal(size=t.size)
    options = {"jitter": 6e-5, "priors": PRIORS}
    cheap = GPSolver(t, flux, error, star, solver="bins", tolerance=20.0, **options)
    exact = GPSolver(t, flux, error, star, solver="dense", **options)
    # draws near the best values are enough to compare densities: no sampler is needed
    centre = cheap.posterior.unconstrain(cheap.posterior.initial)
    noise = jax.random.normal(jax.random.key(0), (20, 2, centre.size))
    u = centre[None, None] + 0.1 * noise
    density = jax.jit(jax.vmap(jax.vmap(cheap.posterior.log_density)))(u)
    flags = jnp.zeros(density.shape, int)
    rows = Chunk(u, density, jnp.ones(density.shape), flags.astype(bool), flags, flags, flags)
    seconds = dict.fromkeys(("compile", "warmup", "sampling"), 1.0)
    samples = Samples.from_run(cheap.posterior, rows, seconds, 1.0)
    corrected = samples.corrected(exact.posterior, progress=False)

    differences = []
    for chain, place in np.ndindex(2, 20):
        theta = {name: x[chain, place] for name, x in samples.draws.items()}
        differences.append(float(exact.log_posterior(theta) - cheap.log_posterior(theta)))
    expected = np.exp(np.array(differences) - np.max(differences))
    found = corrected.log_density - samples.log_density + samples.log_volume
    np.testing.assert_allclose(found.ravel(), differences, atol=1e-6)
    assert np.std(differences) > 1e-3
    assert corrected.weight_ess == pytest.approx(
        expected.sum() ** 2 / np.sum(expected**2), rel=0.05
    )
    assert corrected.weight_ess > 0.7 * 40
    assert corrected.pareto_k < corrected.pareto_limit
    assert isinstance(corrected.samples.model, Process)
