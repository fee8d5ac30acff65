"""Importance sampling from a mixture that learns: few parameters, values only, several modes."""

import functools
import math
import time
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._jit import jit
from ..optimize.start import refuse_start
from ..progress import Reporter, duration
from ..results.importance import Importance
from ..results.pareto import pareto_smoothed
from ..results.samples import Samples
from ..space import natural_range
from ..threads import cores, in_threads
from .whitening import coordinates

_FREEDOM = 5.0  # degrees of freedom of Student's t: tails heavier than those of the posterior
_COMPONENTS = 12  # of the mixture, shared among the modes
_EACH = 4  # at most, of one mode
_ROUND = 1000  # points of a round
_MOST_ROUNDS = 30
_EQUAL = 1.0  # starts nearer than this, in their own widths, are the same mode
_HOPELESS = 30.0  # log density by which a start may be below the best
_EM_STEPS = 5
_OVERLAP = 0.1  # share of a mode that also belongs to another one, from which they are one
_LEAST = 10  # effective points per free number of a component that a mixture is learned from
_WIDE = 0.03  # weight of a component as wide as the prior, which finds what was not expected
_GOOD, _WAIT = 0.7, 3  # efficiency of a round, and rounds without a better one, to stop at
_CHUNK = 64  # points that a thread takes at a time


class Mixture(NamedTuple):
    """Mixture of Student's t distributions."""

    weights: Float[np.ndarray, " k"]
    means: Float[np.ndarray, "k dim"]
    covariances: Float[np.ndarray, "k dim dim"]  # the scale matrices


class _Points(NamedTuple):
    """All points so far, of all rounds."""

    u: Float[np.ndarray, "n dim"]
    log_density: Float[np.ndarray, " n"]
    log_proposal: Float[np.ndarray, " n"]  # of the mean of all rounds' mixtures

    @property
    def log_ratios(self):
        return self.log_density - self.log_proposal


def sample_mixture(posterior, key, starts, shape: tuple[int, int], tell: Reporter) -> Samples:
    """Draw by adaptive multiple importance sampling; ``shape`` is that of the draws returned.

    Rounds of points are drawn from a mixture of Student's t distributions, first about the modes
    that the starts are at, later as all points so far suggest. Every point is weighted by the mean
    of all mixtures so far (Cornuet et al. 2012), with which each round mends the ones before. The
    mixture is learned by weighted expectation maximisation (Cappé et al. 2008), at first with
    tempered weights, and gets a component where it covers the posterior least (Raftery & Bao 2010).

    Raises
    ------
    ValueError
        If the log density is finite at none of the first points.
    KeyboardInterrupt
        On Ctrl-C during the first round; later the points so far come, with a warning.
    """
    began = time.perf_counter()
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    run = _Run(posterior, starts, rng)
    run.round()
    compiled = time.perf_counter() - began
    try:
        while not run.done(shape[0] * shape[1] // 2):
            tell(f"mixture: {run.importance()!r}, {duration(time.perf_counter() - began)}")
            run.learn()
            run.round()
    except KeyboardInterrupt:
        message = f"Interrupted after {len(run.points.u):,} points."
        warnings.warn(message, UserWarning, stacklevel=3)
    importance = run.importance()
    tell(f"mixture: {importance!r}", final=True)
    spent = time.perf_counter() - began - compiled
    seconds = {"compile": compiled, "warmup": 0.0, "sampling": spent}
    chosen = _resampled(run.weights, shape, rng)
    u, density = run.points.u[chosen], run.points.log_density[chosen]
    return Samples.from_points(posterior, u, density, seconds, importance)


class _Run:
    """The mixtures, and the points drawn from them, so far."""

    def __init__(self, posterior, starts, rng):
        self.posterior, self.rng = posterior, rng
        modes = _modes(posterior, starts)
        self.mixture = _first(modes, rng)
        self.mode = np.repeat(np.arange(len(modes)), _each(len(modes)))  # of each component
        self.wide = _as_the_prior(posterior)
        self.mixtures: list[Mixture] = []
        nothing = np.zeros(0)
        self.points = _Points(np.zeros((0, posterior.dim)), nothing, nothing)
        self.efficiency: list[float] = []

    def round(self) -> None:
        """Draw and weigh further points."""
        self.mixtures.append(_with(self.mixture, self.wide))
        self.points = points = _extended(self.posterior, self.points, self.mixtures, self.rng)
        if not np.isfinite(np.max(points.log_ratios)):
            refuse_start(self.posterior, jnp.asarray(self.mixture.means[0]))
        self.weights, self.k = pareto_smoothed(points.log_ratios)
        self.efficiency.append(_efficiency(self.mixtures[-1], points))

    def done(self, wanted: int) -> bool:
        """Whether so many points are effective, or there have been too many rounds."""
        if len(self.mixtures) == _MOST_ROUNDS:
            return True
        enough = 1.0 / np.sum(self.weights**2) >= wanted and self.k <= _limit(len(self.weights))
        return bool(enough and _settled(self.efficiency))

    def learn(self) -> None:
        """A better mixture."""
        self.mixture = _learned(self.mixture, self.points)
        self.mixture, nearest = _added(self.mixture, self.points)
        self.mode = np.append(self.mode, self.mode[nearest])

    def importance(self) -> Importance:
        """What the weights say: how well it worked, the evidence, and the modes."""
        logs, weights = self.points.log_ratios, self.weights
        top = np.max(logs)
        ratios = np.exp(logs - top)
        mean = float(np.mean(ratios))
        shares = self._shares_of_modes()
        probabilities = shares @ weights
        order = np.argsort(-probabilities, kind="stable")
        centres = (shares * weights) @ self.points.u / np.maximum(probabilities, 1e-300)[:, None]
        values = [self.posterior.constrain(jnp.asarray(centre)) for centre in centres[order]]
        return Importance(
            pareto_k=float(self.k),
            pareto_limit=_limit(len(logs)),
            effective=float(1.0 / np.sum(weights**2)),
            evaluations=len(logs),
            log_evidence=float(np.log(mean) + top),
            log_evidence_error=float(np.std(ratios)) / np.sqrt(len(ratios)) / mean,
            mode_probabilities=probabilities[order],
            mode_values={
                name: np.stack([np.asarray(of_mode[name]) for of_mode in values])
                for name in self.posterior.names
            },
        )

    def _shares_of_modes(self) -> np.ndarray:
        """How far each point belongs to each mode, shape (modes, n); modes that overlap are one."""
        components = _log_components(self.mixture, self.points.u)
        each = np.exp(components - _log_sum(components, axis=1)[:, None])
        shares = np.stack([each[:, self.mode == g].sum(axis=1) for g in np.unique(self.mode)])
        merged = True
        while merged and len(shares) > 1:
            both = (shares * self.weights) @ shares.T
            size = np.maximum(shares @ self.weights, 1e-300)
            overlap = both / np.minimum(size[:, None], size[None, :])
            np.fill_diagonal(overlap, 0.0)
            i, j = np.unravel_index(np.argmax(overlap), overlap.shape)
            merged = overlap[i, j] > _OVERLAP
            if merged:
                shares[min(i, j)] += shares[max(i, j)]
                shares = np.delete(shares, max(i, j), axis=0)
        return shares


def _efficiency(mixture: Mixture, points: _Points) -> float:
    """Share of the last round's points that are effective, by its own mixture."""
    logs = points.log_density[-_ROUND:] - _log_mixture(mixture, points.u[-_ROUND:])
    ratios = np.exp(logs - np.max(logs))
    return float(np.sum(ratios) ** 2 / np.sum(ratios**2) / _ROUND)


def _settled(efficiency: list[float]) -> bool:
    """Whether the mixture is good, or has not become better for some rounds.

    Before, the tails of a curved posterior may be missed, and no weight says so.
    """
    best = max(range(len(efficiency)), key=efficiency.__getitem__)
    return efficiency[-1] > _GOOD or len(efficiency) > best + _WAIT


def _limit(number: int) -> float:
    return min(1.0 - 1.0 / np.log10(number), 0.7)


def _modes(posterior, starts) -> list[Mixture]:
    """A Gaussian at each different start that is not far below the best, the best first."""
    density = [float(getattr(start, "log_density", 0.0)) for start in starts]
    found: list[Mixture] = []
    for index in np.argsort(np.negative(density), kind="stable"):
        if density[index] < np.max(density) - _HOPELESS or len(found) == _COMPONENTS:
            break
        whitening, _ = coordinates(posterior, starts[index])
        mean = np.asarray(whitening.u(jnp.zeros_like(whitening.middle)), float)
        root = np.asarray(whitening.matrix, float)
        apart = [np.linalg.solve(root, mean - other.means[0]) for other in found]
        if all(np.sqrt(np.mean(step**2)) > _EQUAL for step in apart):
            found.append(Mixture(np.ones(1), mean[None], (root @ root.T)[None]))
    return found


def _each(modes: int) -> int:
    """Components for each mode."""
    return max(1, min(_EACH, _COMPONENTS // modes))


def _first(modes: list[Mixture], rng) -> Mixture:
    """Some components for each mode, the first in its middle and the others about it."""
    each, dim = _each(len(modes)), modes[0].means.shape[1]
    means, covariances = [], []
    for mode in modes:
        steps = 0.7 * rng.standard_normal((each, dim))
        steps[0] = 0.0
        means.append(mode.means + steps @ np.linalg.cholesky(mode.covariances[0]).T)
        covariances.append(np.repeat(mode.covariances, each, axis=0))
    count = each * len(modes)
    return Mixture(np.full(count, 1.0 / count), np.concatenate(means), np.concatenate(covariances))


def _as_the_prior(posterior) -> Mixture:
    middle, scale = (np.asarray(part, float) for part in natural_range(posterior))
    return Mixture(np.ones(1), middle[None], np.diag(scale**2)[None])


def _with(mixture: Mixture, wide: Mixture) -> Mixture:
    weights = np.append((1.0 - _WIDE) * mixture.weights, _WIDE)
    both = zip(mixture[1:], wide[1:], strict=True)
    return Mixture(weights, *(np.concatenate(parts) for parts in both))


def _extended(posterior, points: _Points, mixtures: list[Mixture], rng) -> _Points:
    """The points with those of a further round, drawn from the last of the mixtures."""
    fresh = _draw(mixtures[-1], _ROUND, rng)
    density = _log_densities(posterior, fresh)
    before = len(mixtures) - 1
    old = points.log_proposal
    if before:
        last = _log_mixture(mixtures[-1], points.u)
        old = np.logaddexp(old + np.log(before), last) - np.log(before + 1)
    each = np.stack([_log_mixture(mixture, fresh) for mixture in mixtures])
    new = _log_sum(each, axis=0) - np.log(len(mixtures))
    both = ((points.u, fresh), (points.log_density, density), (old, new))
    return _Points(*(np.concatenate(pair) for pair in both))


def _draw(mixture: Mixture, number: int, rng) -> np.ndarray:
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


def _log_components(mixture: Mixture, u) -> np.ndarray:
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


def _log_mixture(mixture: Mixture, u) -> np.ndarray:
    return _log_sum(_log_components(mixture, u), axis=1)


def _log_sum(logs, axis: int) -> np.ndarray:
    top = np.max(logs, axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.sum(np.exp(logs - top), axis=axis))


def _learned(mixture: Mixture, points: _Points) -> Mixture:
    """The mixture after some steps of weighted expectation maximisation, from where it was."""
    dim = points.u.shape[1]
    weights = _tempered(points.log_ratios, _LEAST * dim * len(mixture.weights))
    used = weights > 1e-3 / len(weights)
    u, weights = points.u[used], weights[used] / np.sum(weights[used])
    effective = 1.0 / np.sum(weights**2)
    old = mixture.covariances
    for _ in range(_EM_STEPS):
        logs = _log_components(mixture, u)
        shares = weights[:, None] * np.exp(logs - _log_sum(logs, axis=1)[:, None])
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


def _added(mixture: Mixture, points: _Points) -> tuple[Mixture, int]:
    """The mixture with a component more where a point has the largest weight, and its neighbour.

    The component is as wide as the nearest points with their weights; its neighbour is the
    component to which the point belonged.
    """
    logs = points.log_ratios
    top = int(np.argmax(logs))
    owner = int(np.argmax(_log_components(mixture, points.u[top][None])[0]))
    metric = np.linalg.inv(np.linalg.cholesky(mixture.covariances[owner]))
    squares = np.sum(((points.u - points.u[top]) @ metric.T) ** 2, axis=1)
    nearest = np.argsort(squares)[: _ROUND // 2]
    weights = np.exp(logs[nearest] - logs[top])
    weights = weights / np.sum(weights) + 1.0 / len(nearest)
    apart = points.u[nearest] - points.u[top]
    covariance = (apart * weights[:, None]).T @ apart / np.sum(weights)
    share = 1.0 / (len(mixture.weights) + 1)
    weights = np.append((1.0 - share) * mixture.weights, share)
    means = np.append(mixture.means, points.u[top][None], axis=0)
    covariances = np.append(mixture.covariances, covariance[None], axis=0)
    return Mixture(weights, means, covariances), owner


def _tempered(log_ratios, least: float) -> np.ndarray:
    """Weights to the highest power up to 1 at which this many are effective."""
    logs = log_ratios - np.max(log_ratios)
    low, high = 0.0, 1.0

    def weights(power):
        found = np.exp(power * logs) * np.isfinite(logs)
        return found / np.sum(found)

    if 1.0 / np.sum(weights(1.0) ** 2) >= least:
        return weights(1.0)
    for _ in range(30):
        middle = 0.5 * (low + high)
        enough = 1.0 / np.sum(weights(middle) ** 2) >= least
        low, high = (middle, high) if enough else (low, middle)
    return weights(low)


@jit
def _values(posterior, rows):
    return jax.lax.map(posterior.log_density, rows)


def _log_densities(posterior, u: np.ndarray) -> np.ndarray:
    """Log densities at points of shape (n, dim), on all cores."""
    dtype = jnp.result_type(float)
    size = min(_CHUNK, -(-len(u) // cores()))
    # filled up with the last point, so that all parts share a program
    rows = [np.minimum(np.arange(k, k + size), len(u) - 1) for k in range(0, len(u), size)]
    found = in_threads(lambda row: _values(posterior, jnp.asarray(u[row], dtype)), rows)
    density = np.concatenate(found).astype(float)[: len(u)]
    return np.where(density < np.inf, density, -np.inf)  # also where it is NaN


def _resampled(weights, shape: tuple[int, int], rng) -> np.ndarray:
    """Which points to take as draws of equal weight, in an order that tells nothing."""
    number = shape[0] * shape[1]
    steps = (np.arange(number) + rng.uniform()) / number
    cumulated = np.cumsum(weights)
    chosen = np.searchsorted(cumulated / cumulated[-1], steps, side="right")
    return rng.permutation(chosen).reshape(shape)
