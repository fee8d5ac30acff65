"""Mixtures of Student's t distributions that learn from weighted points."""

import functools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

_FREEDOM = 5.0  # degrees of freedom: tails heavier than those of the posterior
_EM_STEPS, _ADDED = 5, 3  # steps, and new components, between two rounds
_LEAST = 10  # effective points per free number of a component that a mixture is learned from
_BROAD, _BROADER = 0.1, 4.0  # weight and size of components that look beyond each mode
_WIDE = 0.03  # weight of a component as wide as the prior, which finds what was not expected
_NEAR = 500  # points that a new component is made of


class Mixture(NamedTuple):
    """Mixture of Student's t distributions."""

    weights: Float[np.ndarray, " k"]
    means: Float[np.ndarray, "k dim"]
    covariances: Float[np.ndarray, "k dim dim"]  # the scale matrices


def joined(mixture: Mixture, wide: Mixture) -> Mixture:
    """The mixture and, with a small weight, another one as wide as the prior."""
    weights = np.append((1.0 - _WIDE) * mixture.weights, _WIDE)
    both = zip(mixture[1:], wide[1:], strict=True)
    return Mixture(weights, *(np.concatenate(parts) for parts in both))


def broadened(mixture: Mixture, mode: np.ndarray) -> Mixture:
    """The mixture with a component more for each mode, several times as wide as all of it."""
    parts, flat = [], np.zeros_like(mixture.weights)
    for k in np.unique(mode):
        own = np.flatnonzero(mode == k)
        total = np.sum(mixture.weights[own])
        shares = mixture.weights[own] / total
        # more points than its share for a small mode, so that it is learned as well
        total = np.sqrt(total)
        flat[own] = total * shares
        middle = shares @ mixture.means[own]
        apart = mixture.means[own] - middle
        within = np.einsum("k,kij->ij", shares, mixture.covariances[own])
        spread = (apart * shares[:, None]).T @ apart
        parts.append((_BROAD * total, middle, _BROADER * (within + spread)))
    weights, means, covariances = (np.array(part) for part in zip(*parts, strict=True))
    both = np.concatenate([flat, weights])
    return Mixture(
        both / np.sum(both),
        np.concatenate([mixture.means, means]),
        np.concatenate([mixture.covariances, covariances]),
    )


def draw(mixture: Mixture, number: int, rng) -> np.ndarray:
    """Some points, shape (number, dim)."""
    which = rng.choice(len(mixture.weights), number, p=mixture.weights)
    roots = np.linalg.cholesky(mixture.covariances)
    noise = rng.standard_normal((number, mixture.means.shape[1]))
    stretch = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, number))
    steps = np.einsum("nij,nj->ni", roots[which], noise)
    return mixture.means[which] + stretch[:, None] * steps


def _squares(mixture: Mixture, u) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances in the components' own widths, shape (n, k), and their log volumes."""
    inverse = np.linalg.inv(np.linalg.cholesky(mixture.covariances))
    apart = u[:, None, :] - mixture.means[None]
    scaled = np.einsum("kij,nkj->nki", inverse, apart)
    volumes = -np.log(np.diagonal(inverse, axis1=1, axis2=2)).sum(axis=1)
    return np.sum(scaled**2, axis=-1), volumes


def log_components(mixture: Mixture, u) -> np.ndarray:
    """Logarithms of the components' densities times their weights, shape (n, k)."""
    dim = u.shape[1]
    squares, volumes = _squares(mixture, u)
    tail = 0.5 * (_FREEDOM + dim) * np.log1p(squares / _FREEDOM)
    return np.log(mixture.weights) + _constant(dim) - volumes - tail


@functools.cache
def _constant(dim: int) -> float:
    """Logarithm of the normalisation of a t distribution of unit scale."""
    gamma = math.lgamma(0.5 * (_FREEDOM + dim)) - math.lgamma(0.5 * _FREEDOM)
    return gamma - 0.5 * dim * math.log(math.pi * _FREEDOM)


def log_mixture(mixture: Mixture, u) -> np.ndarray:
    """Logarithm of the density at points of shape (n, dim)."""
    return log_sum(log_components(mixture, u), axis=1)


def log_sum(logs, axis: int) -> np.ndarray:
    """Logarithm of the sum of exponentials along an axis."""
    top = np.max(logs, axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.sum(np.exp(logs - top), axis=axis))


def learned(mixture: Mixture, points) -> Mixture:
    """The mixture after some steps of weighted expectation maximisation, from where it was."""
    dim = points.u.shape[1]
    weights = _tempered(points.log_ratios, _LEAST * dim * len(mixture.weights))
    used = weights > 1e-3 / len(weights)
    u, weights = points.u[used], weights[used] / np.sum(weights[used])
    effective = 1.0 / np.sum(weights**2)
    old = mixture.covariances
    for _ in range(_EM_STEPS):
        logs = log_components(mixture, u)
        shares = weights[:, None] * np.exp(logs - log_sum(logs, axis=1)[:, None])
        total = shares.sum(axis=0)
        # far points say less of a t distribution's middle and width
        squares, _ = _squares(mixture, u)
        pulls = shares * (_FREEDOM + dim) / (_FREEDOM + squares)
        means = pulls.T @ u / np.maximum(pulls.sum(axis=0), 1e-300)[:, None]
        means = np.where(total[:, None] > 1e-6, means, mixture.means)
        apart = u[:, None, :] - means[None]
        scatter = np.einsum("nk,nki,nkj->kij", pulls, apart, apart)
        # as many points as a component has dimensions stand for what it was before
        count = effective * total[:, None, None]
        covariances = (effective * scatter + dim * old) / (count + dim)
        mixture = Mixture((total + 1e-3) / np.sum(total + 1e-3), means, covariances)
    return mixture


def added(mixture: Mixture, points) -> tuple[Mixture, list[int]]:
    """The mixture with some components more where points have the largest weights.

    A component is as wide as the points near to it with their weights. Returned with the old
    components to which these points belonged.
    """
    logs, made, owners = points.log_ratios.copy(), [], []
    for _ in range(_ADDED):
        top = int(np.argmax(logs))
        if not np.isfinite(logs[top]):
            break
        owner = int(np.argmax(log_components(mixture, points.u[top][None])[0]))
        metric = np.linalg.inv(np.linalg.cholesky(mixture.covariances[owner]))
        squares = np.sum(((points.u - points.u[top]) @ metric.T) ** 2, axis=1)
        nearest = np.argsort(squares)[:_NEAR]
        own = points.log_ratios[nearest]
        weights = np.exp(own - np.max(own))
        weights = weights / np.sum(weights) + 1.0 / len(nearest)
        apart = points.u[nearest] - points.u[top]
        made.append((points.u[top], (apart * weights[:, None]).T @ apart / np.sum(weights)))
        owners.append(owner)
        logs[nearest[: _NEAR // 5]] = -np.inf  # the next one shall be elsewhere
    share = 1.0 / (len(mixture.weights) + len(made))
    means, covariances = (np.array(part) for part in zip(*made, strict=True))
    kept = (1.0 - share * len(made)) * mixture.weights
    return Mixture(
        np.append(kept, np.full(len(made), share)),
        np.concatenate([mixture.means, means]),
        np.concatenate([mixture.covariances, covariances]),
    ), owners


def _tempered(log_ratios, least: float) -> np.ndarray:
    """Weights to the highest power up to 1 at which this many are effective."""
    logs = log_ratios[np.isfinite(log_ratios)] - np.max(log_ratios)
    low, high = 0.0, 1.0

    def weights(power):
        found = np.zeros(len(log_ratios))
        found[np.isfinite(log_ratios)] = np.exp(power * logs)
        return found / np.sum(found)

    if 1.0 / np.sum(weights(1.0) ** 2) >= least:
        return weights(1.0)
    for _ in range(30):
        middle = 0.5 * (low + high)
        enough = 1.0 / np.sum(weights(middle) ** 2) >= least
        low, high = (middle, high) if enough else (low, middle)
    return weights(low)
