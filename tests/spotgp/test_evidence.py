"""The evidence of a light curve's process, and its prior as a unit cube."""

import jax
import numpy as np
import pytest

import spotgp
from factories import make_star
from pytreefit import sample

T = np.sort(np.random.default_rng(3).uniform(0.0, 25.0, 25))


@pytest.mark.slow
def test_the_evidence_of_a_process_is_the_mean_over_its_prior():
    fixed = dict.fromkeys(("peq", "kappa", "lspot", "tau_spot"))
    gp = spotgp.GPSolver(
        T,
        1.0 + 0.01 * np.sin(1.6 * T),
        2e-3,
        make_star(),
        jitter=1e-3,
        solver="dense",
        priors={**fixed, "inc": None, "sigma_k": (0.003, 0.03), "jitter": (0.0, 4e-3)},
    )
    posterior = gp.posterior
    assert gp.param_keys == ("sigma_k", "jitter")
    shares = (np.arange(20) + 0.5) / 20
    cube = np.stack(np.meshgrid(shares, shares, indexing="ij"), axis=-1).reshape(-1, 2)

    @jax.jit
    def likelihoods(cube):
        def one(shares):
            values = posterior.values_of(posterior.prior_transform(shares))
            return posterior.log_likelihood_of(posterior.model_at(values))

        return jax.lax.map(one, cube)

    found = np.asarray(likelihoods(cube))
    expected = np.max(found) + np.log(np.mean(np.exp(found - np.max(found))))
    draws = sample(posterior, jax.random.key(0), method="mixture", draws=100, progress=False)
    evidence = draws.importance
    assert evidence is not None
    assert abs(evidence.log_evidence - expected) < 0.03 + 4.0 * evidence.log_evidence_error < 0.3


def test_default_priors_have_quantiles():
    gp = spotgp.GPSolver(T, 1.0 + 0.01 * np.sin(1.6 * T), 2e-3, make_star(), jitter=1e-3)
    shares = np.linspace(0.1, 0.9, 3)[:, None] * np.ones(len(gp.param_keys))[None, :]
    values = np.asarray(gp.posterior.prior_transform(shares))
    assert np.all(np.isfinite(values))
    assert np.all(np.diff(values, axis=0) > 0.0)
