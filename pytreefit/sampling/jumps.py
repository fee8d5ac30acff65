"""Jumps between the modes of a posterior: proposals that do not depend on where a chain is."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Components of every mixture, so that one program serves all; those without a weight rest.
COMPONENTS = 8
_FREEDOM = 5.0  # degrees of freedom of Student's t: tails heavier than those of the posterior
_STARTS, _ITERATIONS = 3, 100


class Mixture(NamedTuple):
    """Mixture of Student's t distributions, of five degrees of freedom."""

    log_weights: Float[Array, " k"]
    means: Float[Array, "k dim"]
    roots: Float[Array, "k dim dim"]  # lower triangular: scale matrix = root @ root.T


def no_mixture(dim: int, dtype) -> Mixture:
    """What stands in for a mixture before there is one: a standard t distribution."""
    parts = np.ones(1), np.zeros((1, dim)), np.eye(dim)[None]
    return _filled_up(parts, np.zeros(dim), np.eye(dim), dtype)


def log_density(mixture: Mixture, v: Float[Array, " dim"]) -> Float[Array, ""]:
    """Logarithm of the mixture's density, up to a constant."""

    def one(log_weight, mean, root):
        scaled = jax.scipy.linalg.solve_triangular(root, v - mean, lower=True)
        volume = jnp.sum(jnp.log(jnp.diagonal(root)))
        tail = 0.5 * (_FREEDOM + v.size) * jnp.log1p(jnp.sum(scaled**2) / _FREEDOM)
        return log_weight - volume - tail

    return jax.scipy.special.logsumexp(jax.vmap(one)(*mixture))


def draw(mixture: Mixture, key) -> Float[Array, " dim"]:
    """A point drawn from the mixture."""
    which, normal, gamma = jax.random.split(key, 3)
    dtype = mixture.means.dtype
    k = jax.random.categorical(which, mixture.log_weights)
    noise = jax.random.normal(normal, mixture.means.shape[1:], dtype)
    chi_squared = 2.0 * jax.random.gamma(gamma, 0.5 * _FREEDOM, dtype=dtype)
    return mixture.means[k] + jnp.sqrt(_FREEDOM / chi_squared) * (mixture.roots[k] @ noise)


def fit_mixture(points: np.ndarray, dtype=None) -> Mixture:
    """The mixture that describes a sample, shape (n, dim), of as many components as that supports.

    Expectation maximisation for Gaussians, from several starts for each number of components; the
    number is the one with the best Bayesian information criterion.
    """
    points = np.asarray(points, float)
    n, dim = points.shape
    rng = np.random.default_rng(0)
    pooled = np.cov(points.T).reshape(dim, dim) + 1e-12 * np.eye(dim)
    white = np.linalg.solve(np.linalg.cholesky(pooled), (points - points.mean(axis=0)).T).T
    best, least = None, np.inf
    for k in range(1, COMPONENTS + 1):
        if n < 4 * k * (dim + 1):
            break
        found = [_maximise(white, k, rng) for _ in range(_STARTS if k > 1 else 1)]
        likelihood, parts = max(found, key=lambda pair: pair[0])
        numbers = k * (1 + dim + dim * (dim + 1) / 2)
        criterion = -2.0 * likelihood + numbers * np.log(n)
        if criterion < least:
            best, least = parts, criterion
    if best is None:
        best = np.ones(1), np.zeros((1, dim)), np.eye(dim)[None]
    return _filled_up(best, points.mean(axis=0), np.linalg.cholesky(pooled), dtype)


def _filled_up(parts, centre, root, dtype) -> Mixture:
    """The components in the coordinates of the points, with as many that rest as are missing."""
    weights, means, covariances = parts
    k, dim = means.shape
    log_weights = np.full(COMPONENTS, -np.inf)
    log_weights[:k] = np.log(weights)
    all_means = np.zeros((COMPONENTS, dim))
    all_means[:k] = centre + means @ root.T
    roots = np.broadcast_to(np.eye(dim), (COMPONENTS, dim, dim)).copy()
    roots[:k] = root @ np.linalg.cholesky(covariances)
    return Mixture(*(jnp.asarray(part, dtype) for part in (log_weights, all_means, roots)))


def _maximise(points: np.ndarray, k: int, rng):
    """Log-likelihood and weights, means and covariances of a mixture of ``k`` Gaussians."""
    n, dim = points.shape
    centres = _spread_out(points, k, rng)
    shares = np.zeros((n, k))
    shares[np.arange(n), np.argmin(_distances(points, centres), axis=1)] = 1.0
    before = -np.inf
    for _ in range(_ITERATIONS):
        # a prior of `dim + 1` points of the pooled covariance keeps every component proper
        counts = shares.sum(axis=0) + 1e-10
        means = shares.T @ points / counts[:, None]
        apart = points[:, None, :] - means[None, :, :]
        scatter = np.einsum("nk,nki,nkj->kij", shares, apart, apart)
        prior = 0.1 * (dim + 1) * np.eye(dim)
        covariances = (scatter + prior) / (counts + dim + 1)[:, None, None]
        weights = (counts + 1.0) / (n + k)
        logs = _log_gaussians(apart, covariances) + np.log(weights)
        top = logs.max(axis=1, keepdims=True)
        each = top[:, 0] + np.log(np.exp(logs - top).sum(axis=1))
        shares = np.exp(logs - each[:, None])
        likelihood = each.sum()
        if likelihood - before < 1e-4 * n / 100:
            break
        before = likelihood
    return likelihood, (weights, means, covariances)


def _log_gaussians(apart, covariances):
    roots = np.linalg.cholesky(covariances)
    scaled = np.linalg.solve(roots[None], apart[..., None])[..., 0]
    volumes = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    return -0.5 * np.sum(scaled**2, axis=-1) - volumes - 0.5 * apart.shape[-1] * np.log(2 * np.pi)


def _distances(points, centres):
    return np.sum((points[:, None, :] - centres[None, :, :]) ** 2, axis=-1)


def _spread_out(points, k: int, rng):
    """Points far from each other, each drawn by its squared distance from those before."""
    centres = [points[rng.integers(len(points))]]
    while len(centres) < k:
        nearest = _distances(points, np.asarray(centres)).min(axis=1) + 1e-12
        centres.append(points[rng.choice(len(points), p=nearest / nearest.sum())])
    return np.asarray(centres)
