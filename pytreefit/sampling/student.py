"""Mixtures of Student's t distributions that learn from weighted points."""

import functools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from . import bends

_FREEDOM = 5.0  # degrees of freedom: tails heavier than those of the posterior
_EM_STEPS, _ADDED = 5, 2  # steps, and new components, between two rounds
_LEAST = 10  # effective points per free number of a component that a mixture is learned from
_BROAD, _BROADER = 0.1, 4.0  # weight and size of components that look beyond each mode
_WIDE = 0.03  # weight of a component as wide as the prior, which finds what was not expected
_NEAR = 500  # points that a new component is made of
_BENT = 20  # effective points per dimension from which coordinates are bent


class Mixture(NamedTuple):
    """Mixture of Student's t distributions in coordinates w, of which u is a bend.

    With ``mode`` the components are told apart by the mode of the posterior that they are of.
    """

    weights: Float[np.ndarray, " k"]
    means: Float[np.ndarray, "k dim"]
    covariances: Float[np.ndarray, "k dim dim"]  # the scale matrices
    mode: Int[np.ndarray, " k"]
    bend: Float[np.ndarray, "4 dim"]

    def joined(self, weights, means, covariances, mode) -> "Mixture":
        """With further components."""
        more = weights, means, covariances, mode
        parts = [np.concatenate([a, b]) for a, b in zip(self[:4], more, strict=True)]
        return Mixture(*parts, self.bend)

    def only(self, kept) -> "Mixture":
        """Of these components, with weights that sum to 1."""
        weights = self.weights[kept] / np.sum(self.weights[kept])
        return Mixture(weights, *(part[kept] for part in self[1:4]), self.bend)

    def within(self, bend) -> "Mixture":
        """Nearly the same mixture in the coordinates of another bend."""
        u = bends.bent(self.means, self.bend)
        slopes = np.exp(bends.log_slopes(u, bend) - bends.log_slopes(u, self.bend))
        covariances = self.covariances * slopes[:, :, None] * slopes[:, None, :]
        return Mixture(self.weights, bends.unbent(u, bend), covariances, self.mode, bend)


def beyond(mixture: Mixture, wide: Mixture) -> tuple[Mixture, Mixture]:
    """What to draw from: the mixture, and with small weights what looks beyond it.

    A component more for each mode, several times as wide as all of it, and one as wide as the
    prior. The weights of both sum to 1.
    """
    flat, more = np.zeros_like(mixture.weights), []
    for k in np.unique(mixture.mode):
        own = np.flatnonzero(mixture.mode == k)
        total = np.sum(mixture.weights[own])
        shares = mixture.weights[own] / total
        # more points than its share for a small mode, so that it is learned as well
        total = np.sqrt(total)
        flat[own] = total * shares
        middle = shares @ mixture.means[own]
        apart = mixture.means[own] - middle
        within = np.einsum("k,kij->ij", shares, mixture.covariances[own])
        spread = (apart * shares[:, None]).T @ apart
        more.append((_BROAD * total, middle, _BROADER * (within + spread), k))
    found = mixture._replace(weights=flat).joined(*(np.array(p) for p in zip(*more, strict=True)))
    share = (1.0 - _WIDE) / np.sum(found.weights)
    return found._replace(weights=share * found.weights), wide._replace(weights=np.array([_WIDE]))


def draw(proposal: tuple[Mixture, ...], number: int, rng) -> np.ndarray:
    """Some points, shape (number, dim)."""
    split = rng.multinomial(number, [np.sum(mixture.weights) for mixture in proposal])
    u = [_draw(mixture, part, rng) for mixture, part in zip(proposal, split, strict=True)]
    return rng.permutation(np.concatenate(u))


def _draw(mixture: Mixture, number: int, rng):
    which = rng.choice(len(mixture.weights), number, p=mixture.weights / np.sum(mixture.weights))
    roots = np.linalg.cholesky(mixture.covariances)
    noise = rng.standard_normal((number, mixture.means.shape[1]))
    stretch = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, number))
    steps = np.einsum("nij,nj->ni", roots[which], noise)
    return bends.bent(mixture.means[which] + stretch[:, None] * steps, mixture.bend)


def _squares(mixture: Mixture, w) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances in the components' own widths, shape (n, k), and their log volumes."""
    inverse = np.linalg.inv(np.linalg.cholesky(mixture.covariances))
    volumes = -np.log(np.diagonal(inverse, axis1=1, axis2=2)).sum(axis=1)
    apart = ((w - middle) @ root.T for middle, root in zip(mixture.means, inverse, strict=True))
    return np.stack([np.sum(part**2, axis=1) for part in apart], axis=1), volumes


def log_components(mixture: Mixture, w) -> np.ndarray:
    """Logarithms of the components' densities in w times their weights, shape (n, k)."""
    return _log_components(mixture, *_squares(mixture, w))


def _log_components(mixture: Mixture, squares, volumes):
    dim = mixture.means.shape[1]
    tail = 0.5 * (_FREEDOM + dim) * np.log1p(squares / _FREEDOM)
    return np.log(mixture.weights) + _constant(dim) - volumes - tail


@functools.cache
def _constant(dim: int) -> float:
    """Logarithm of the normalisation of a t distribution of unit scale."""
    gamma = math.lgamma(0.5 * (_FREEDOM + dim)) - math.lgamma(0.5 * _FREEDOM)
    return gamma - 0.5 * dim * math.log(math.pi * _FREEDOM)


def log_proposal(proposal: tuple[Mixture, ...], u) -> np.ndarray:
    """Logarithm of the density at points u of shape (n, dim)."""
    logs = []
    for mixture in proposal:
        inside = log_sum(log_components(mixture, bends.unbent(u, mixture.bend)), axis=1)
        logs.append(inside + np.sum(bends.log_slopes(u, mixture.bend), axis=1))
    return log_sum(np.stack(logs), axis=0)


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
    if effective > _BENT * dim:
        columns = [bends.fitted(column, weights) for column in u.T]
        mixture = mixture.within(np.stack(columns, axis=1))
    w = bends.unbent(u, mixture.bend)
    old = mixture.covariances
    for _ in range(_EM_STEPS):
        squares, volumes = _squares(mixture, w)
        logs = _log_components(mixture, squares, volumes)
        shares = weights[:, None] * np.exp(logs - log_sum(logs, axis=1)[:, None])
        total = shares.sum(axis=0)
        # far points say less of a t distribution's middle and width
        pulls = shares * (_FREEDOM + dim) / (_FREEDOM + squares)
        means = pulls.T @ w / np.maximum(pulls.sum(axis=0), 1e-300)[:, None]
        means = np.where(total[:, None] > 1e-6, means, mixture.means)
        scatter = np.stack([_scatter(w - m, p) for m, p in zip(means, pulls.T, strict=True)])
        # as many points as a component has dimensions stand for what it was before
        count = effective * total[:, None, None]
        covariances = (effective * scatter + dim * old) / (count + dim)
        sizes = (total + 1e-3) / np.sum(total + 1e-3)
        mixture = mixture._replace(weights=sizes, means=means, covariances=covariances)
    return mixture


def _scatter(apart, pull):
    return (apart * pull[:, None]).T @ apart


def lightened(mixture: Mixture, most: int) -> Mixture:
    """The heaviest components, and at least one of each mode."""
    order = np.argsort(-mixture.weights, kind="stable")
    _, heaviest = np.unique(mixture.mode[order], return_index=True)
    return mixture.only(np.union1d(order[:most], order[heaviest]))


def added(mixture: Mixture, points) -> Mixture:
    """The mixture with some components more where points have the largest weights.

    A component is as wide as the points near to it with their weights, and of the mode of the
    component to which its point belonged.
    """
    w = bends.unbent(points.u, mixture.bend)
    logs, made = points.log_ratios.copy(), []
    share = 1.0 / (len(mixture.weights) + _ADDED)
    for _ in range(_ADDED):
        top = int(np.argmax(logs))
        if not np.isfinite(logs[top]):
            break
        owner = int(np.argmax(log_components(mixture, w[top][None])[0]))
        metric = np.linalg.inv(np.linalg.cholesky(mixture.covariances[owner]))
        squares = np.sum(((w - w[top]) @ metric.T) ** 2, axis=1)
        nearest = np.argsort(squares)[:_NEAR]
        own = points.log_ratios[nearest]
        weights = np.exp(own - np.max(own))
        weights = weights / np.sum(weights) + 1.0 / len(nearest)
        covariance = _scatter(w[nearest] - w[top], weights / np.sum(weights))
        made.append((share, w[top], covariance, mixture.mode[owner]))
        logs[nearest[: _NEAR // 5]] = -np.inf  # the next one shall be elsewhere
    found = mixture.joined(*(np.array(part) for part in zip(*made, strict=True)))
    return found.only(slice(None))


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
