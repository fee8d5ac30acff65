"""A solver of one's own: a covariance of low rank, through the process at some times."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.linalg import cho_solve, solve_triangular

from factories import make_star
from pytreefit import fit, sample
from spotgp import GPSolver, fit_many
from spotgp.solvers import AbstractFactorSolver, Points, Tables, points_of, tables_of


class LowRank(AbstractFactorSolver):
    name: ClassVar[str] = "low-rank"
    points: Points
    tables: Tables
    nodes: jax.Array  # times through which all points are correlated

    @classmethod
    def prepare(cls, data, process, priors, tolerance):
        nodes = jnp.linspace(data.time[0], data.time[-1], 80)
        return cls(points_of(data), tables_of(data, process, priors, tolerance), nodes)

    def factor(self, process):
        covariance, real = self.tables.covariance(process, self.points.span), self.points.real
        own = covariance.block(self.nodes, self.nodes)
        root = jnp.linalg.cholesky(own + 1e-8 * own[0, 0] * jnp.eye(own.shape[0]))
        cross = covariance.block(self.nodes, self.points.time) * real[None, :]
        noise = jnp.where(real > 0, self.points.noise(process), 1.0)
        half = solve_triangular(root, cross, lower=True)
        return Woodbury(half / jnp.sqrt(noise)[None, :], noise)


class Woodbury(NamedTuple):
    half: jax.Array  # K = D^(1/2) (1 + V^T V) D^(1/2)
    noise: jax.Array

    def _small(self):
        return jnp.linalg.cholesky(jnp.eye(self.half.shape[0]) + self.half @ self.half.T)

    @property
    def log_determinant(self):
        pivots = jnp.diagonal(self._small())
        return jnp.sum(jnp.log(self.noise)) + 2.0 * jnp.sum(jnp.log(pivots))

    def solve(self, right):
        scaled = right / jnp.sqrt(self.noise)[:, None]
        inner = cho_solve((self._small(), True), self.half @ scaled)
        return (scaled - self.half.T @ inner) / jnp.sqrt(self.noise)[:, None]


@pytest.mark.filterwarnings("ignore:R-hat is above")
def test_it_works_wherever_a_solver_does():
    rng = np.random.default_rng(0)
    star, t = make_star(peq=8.0), np.sort(rng.uniform(0.0, 30.0, 70))
    data = t, 1.0 + 0.01 * np.sin(0.8 * t) + 2e-3 * rng.normal(size=70), np.full(70, 2e-3)
    priors = {"peq": (5.0, 12.0), "sigma_k": (1e-3, 0.1), "lspot": None, "tau_spot": None}
    options = {"priors": {**priors, "kappa": None, "inc": None}, "offsets": (t > 12.0).astype(int)}
    exact, gp = (GPSolver(*data, star, solver=s, **options) for s in ("dense", LowRank))
    assert "low-rank" in repr(gp)
    np.testing.assert_allclose(gp.log_likelihood(), exact.log_likelihood(), atol=0.5)
    wanted, found = exact.predict(t), gp.predict(t)
    np.testing.assert_allclose(found.mean, wanted.mean, atol=2e-4)
    np.testing.assert_allclose(gp.leave_one_out().mean, exact.leave_one_out().mean, atol=5e-4)
    best = fit(gp.posterior, progress=False)
    assert best.converged
    draws = sample(gp.posterior, jax.random.key(0), start=best, chains=1, warmup=30, draws=20)
    assert np.isfinite(draws.log_density).all()
    many = fit_many([data], star, priors=options["priors"], solver=LowRank, starts=1)
    assert many.failed == ()
    assert float(gp.likelihood_error()) < 0.1
