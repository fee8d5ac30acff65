"""Importance sampling from a mixture that learns: few parameters, values only, several modes."""

import contextlib
import time
import warnings
from itertools import compress
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._jit import jit
from ..optimize.evaluate import Frame
from ..optimize.fit import Fit, fit
from ..optimize.minimisers import value_and_gradient
from ..optimize.start import refuse_start, start_coordinates
from ..optimize.status import Status
from ..progress import Reporter
from ..results.importance import Importance
from ..results.pareto import pareto_smoothed
from ..results.samples import Samples
from ..space import natural_range
from ..threads import cores, in_threads
from . import bends
from .student import (
    Mixture,
    added,
    beyond,
    draw,
    learned,
    lightened,
    log_components,
    log_proposal,
    log_sum,
)
from .whitening import beginning, coordinates

_ALIKE = 1.0  # log density by which a rough posterior may be off to learn from it
_COMPONENTS = 16  # of the mixture, shared among the modes
_EACH = 4  # at most, of one mode
_EXPLORED, _SEARCHES = 2000, 12  # points of the prior, and fits from them
_FIRST_STEPS, _STEPS = 15, 100  # of each fit, and of those that are not hopeless then
_GAIN = 0.01  # log density that is not worth a further step of them
_APART = 0.5  # root mean square distance between those, in widths of the prior
_ATTEMPTS = 2  # to learn and draw
_ROUND = 1000  # points of a round
_MOST_ROUNDS = 20
_EQUAL = 1.0  # starts nearer than this, in their own widths, are the same mode
_HOPELESS = 20.0  # log density by which a start may be below the best
_OVERLAP = 0.1  # share of a mode that also belongs to another one, from which they are one
_GOOD = 0.5  # efficiency of a round to stop at
_WAIT, _BETTER = 3, 1.15  # rounds that are not so much better than those before, to stop at
_CHUNK = 64  # points that a thread takes at a time


class _Points(NamedTuple):
    """All points so far, of all rounds."""

    u: Float[np.ndarray, "n dim"]
    log_density: Float[np.ndarray, " n"]
    log_proposal: Float[np.ndarray, " n"]  # of the mean of all rounds' mixtures

    @property
    def log_ratios(self):
        return self.log_density - self.log_proposal


def sample_mixture(posterior, key, starts, shape: tuple[int, int], tell: Reporter) -> Samples:
    """Draw by adaptive importance sampling; ``shape`` is that of the draws returned.

    Fits from the best of many points as wide as the prior look for modes besides those that the
    starts are at (Raftery & Bao 2010). A mixture of Student's t distributions about all modes then
    learns, in rounds of points that are weighted by the mean of all mixtures so far (Cornuet et al.
    2012): by weighted expectation maximisation (Cappé et al. 2008), at first with tempered weights,
    and by components where it covers the posterior least, in coordinates that are bent as the
    weights say. It learns from the rough posterior if that is alike at the modes. Points drawn from
    it after that, with exact densities, and only these are the result: nothing was learned from
    them, so that their weights are fair.

    Raises
    ------
    ValueError
        If the log density is finite at none of the first points.
    KeyboardInterrupt
        On Ctrl-C before points of the result are there; these come with a warning.
    """
    began = time.perf_counter()
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    # values stand for the mode nearest to them
    fits = [start if hasattr(start, "u") else _fitted(posterior, start) for start in starts]
    fits += _searched(posterior, rng)
    run = _Run(posterior, fits, rng, tell)
    compiled = time.perf_counter() - began
    try:
        for _ in range(_ATTEMPTS):
            run.learn()
            run.draw(shape[0] * shape[1] // 2)
            if run.k <= _limit(len(run.weights)):
                break
    except KeyboardInterrupt:
        if not len(run.drawn.u):
            raise
        message = f"Interrupted after {len(run.drawn.u):,} points."
        warnings.warn(message, UserWarning, stacklevel=3)
    importance = run.importance()
    tell(f"mixture: {importance!r}", final=True)
    spent = time.perf_counter() - began - compiled
    seconds = {"compile": compiled, "warmup": 0.0, "sampling": spent}
    chosen = _resampled(run.weights, shape, rng)
    u, density = run.drawn.u[chosen], run.drawn.log_density[chosen]
    return Samples.from_points(posterior, u, density, seconds, importance)


class _Run:
    """A mixture that learns, the points that it learned from, and those drawn from it then."""

    def __init__(self, posterior, starts, rng, tell: Reporter):
        self.posterior, self.rng, self.tell = posterior, rng, tell
        modes = _modes(posterior, starts)
        self.mixture = _first(modes, rng)
        self.to_learn = _rough(posterior, self.mixture.means)
        self.wide = _as_the_prior(posterior)
        self.proposals: list[tuple[Mixture, ...]] = []
        self.points = self.drawn = _no_points(posterior.dim)
        self.weights, self.k, self.narrowed = np.zeros(0), np.inf, 0

    def learn(self) -> None:
        """Rounds of points until the mixture is good, or does not become better."""
        efficiency: list[float] = []
        while len(efficiency) < _MOST_ROUNDS and not (efficiency and _settled(efficiency)):
            if self.proposals:
                self.mixture = learned(lightened(self.mixture, _COMPONENTS), self.points)
                self.mixture = added(self.mixture, self.points)
            self.proposals.append(beyond(self.mixture, self.wide))
            self.points = _extended(self.to_learn, self.points, self.proposals, self.rng)
            if not np.isfinite(np.max(self.points.log_ratios)):
                self._narrow()
                continue
            efficiency.append(_efficiency(self.proposals[-1], self.points))
            number = len(self.points.u)
            self.tell(f"mixture: learned from {number:,} points, efficiency {efficiency[-1]:.2f}")

    def _narrow(self) -> None:
        """Begin anew nearer to the middles of the modes, where no point had a density."""
        if self.narrowed == _MOST_ROUNDS:
            refuse_start(self.posterior, jnp.asarray(self.mixture.means[0]))
        self.narrowed += 1
        self.mixture = self.mixture._replace(covariances=0.25 * self.mixture.covariances)
        self.proposals, self.points = [], _no_points(self.posterior.dim)

    def draw(self, wanted: int) -> None:
        """Draw from the mixture as it is until so many points are effective."""
        frozen = beyond(learned(self.mixture, self.points), self.wide)
        drawn = _no_points(self.posterior.dim)
        for _ in range(_MOST_ROUNDS):
            u = draw(frozen, _ROUND, self.rng)
            fresh = _log_densities(self.posterior, u), log_proposal(frozen, u)
            pairs = zip(drawn, (u, *fresh), strict=True)
            drawn = _Points(*(np.concatenate(pair) for pair in pairs))
            if not np.isfinite(np.max(drawn.log_ratios)):
                continue
            weights, k = pareto_smoothed(drawn.log_ratios)
            # together, whenever Ctrl-C comes
            self.drawn, self.weights, self.k = drawn, weights, k
            self.tell(f"mixture: {len(weights):,} points, {self.effective:.0f} effective")
            if self.effective >= wanted:
                return
        if not np.isfinite(np.max(drawn.log_ratios)):
            refuse_start(self.posterior, jnp.asarray(self.mixture.means[0]))

    @property
    def effective(self) -> float:
        """The effective number of the points drawn."""
        return float(1.0 / np.sum(self.weights**2))

    def importance(self) -> Importance:
        """What the weights say: how well it worked, the evidence, and the modes."""
        points, weights = self.drawn, self.weights
        logs = points.log_ratios
        top = np.max(logs)
        ratios = np.exp(logs - top)
        mean = float(np.mean(ratios))
        shares = self._shares_of_modes()
        probabilities = shares @ weights
        order = np.argsort(-probabilities, kind="stable")
        centres = (shares * weights) @ points.u / np.maximum(probabilities, 1e-300)[:, None]
        values = [self.posterior.constrain(jnp.asarray(centre)) for centre in centres[order]]
        return Importance(
            pareto_k=float(self.k),
            pareto_limit=_limit(len(logs)),
            effective=self.effective,
            evaluations=len(logs) + len(self.points.u) + _EXPLORED,
            log_evidence=float(np.log(mean) + top),
            log_evidence_error=float(np.std(ratios) / np.sqrt(len(ratios)) / mean),
            mode_probabilities=probabilities[order],
            mode_values={
                name: np.stack([np.asarray(of_mode[name]) for of_mode in values])
                for name in self.posterior.names
            },
        )

    def _shares_of_modes(self) -> np.ndarray:
        """How far each point belongs to each mode, shape (modes, n); modes that overlap are one."""
        components = log_components(self.mixture, bends.unbent(self.drawn.u, self.mixture.bend))
        each = np.exp(components - log_sum(components, axis=1)[:, None])
        mode = self.mixture.mode
        shares = np.stack([each[:, mode == k].sum(axis=1) for k in np.unique(mode)])
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


def _no_points(dim: int) -> _Points:
    return _Points(np.zeros((0, dim)), np.zeros(0), np.zeros(0))


def _efficiency(proposal: tuple[Mixture, ...], points: _Points) -> float:
    """Share of the last round's points that are effective, by its own mixture."""
    logs = points.log_density[-_ROUND:] - log_proposal(proposal, points.u[-_ROUND:])
    ratios = np.exp(logs - np.max(logs))
    return float(np.sum(ratios) ** 2 / np.sum(ratios**2) / _ROUND)


def _settled(efficiency: list[float]) -> bool:
    """Whether the mixture is good, or has not become better for some rounds.

    Before, the tails of a curved posterior may be missed, and no weight says so.
    """
    before, lately = efficiency[:-_WAIT], efficiency[-_WAIT:]
    return lately[-1] > _GOOD or max(lately) < _BETTER * max(before, default=0.0)


def _limit(number: int) -> float:
    return min(1.0 - 1.0 / np.log10(number), 0.7)


def _searched(posterior, rng) -> list[Fit]:
    """Fits from the best of many points that are as wide as the prior, apart from each other."""
    wide = _as_the_prior(posterior)
    u = draw((wide,), _EXPLORED, rng)
    density = _log_densities(posterior.rough(), u)
    places = np.linalg.solve(np.linalg.cholesky(wide.covariances[0]), u.T).T
    chosen: list[int] = []
    for index in np.argsort(-density):
        if len(chosen) == _SEARCHES or not np.isfinite(density[index]):
            break
        apart = places[chosen] - places[index]
        if np.all(np.mean(apart**2, axis=1) > _APART**2):
            chosen.append(int(index))
    dtype = jnp.result_type(float)
    starts = [posterior.constrain(jnp.asarray(u[index], dtype)) for index in chosen]
    found: list[Fit] = []
    for target, steps in ((posterior.rough(), _FIRST_STEPS), (posterior, _STEPS)):
        fits, begun = [], starts
        starts = []
        for start in begun:
            with contextlib.suppress(ValueError):  # of a gradient that is not finite there
                fits.append(_fitted(target, start, steps))
                starts.append(start)
        best = max((float(fit.log_density) for fit in fits), default=0.0)
        hopeful = [bool(fit.log_density > best - _HOPELESS) for fit in fits]
        found, starts = list(compress(fits, hopeful)), list(compress(starts, hopeful))
    return found


def _fitted(posterior, start, steps=_STEPS) -> Fit:
    """A fit from some values, or the model's."""
    options = {"tolerance": _GAIN, "polish": False, "progress": False}
    found = fit(posterior, start=start, steps=steps, **options)
    if found.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    return found


def _rough(posterior, u):
    """The rough posterior if it differs by a constant at most at some points, else the other."""
    rough = posterior.rough()
    if rough is posterior:
        return posterior
    one, other = (_log_densities(target, u) for target in (posterior, rough))
    if not np.isfinite([one, other]).all():
        return posterior
    return rough if np.ptp(one - other) < _ALIKE else posterior


def _modes(posterior, starts) -> list[Mixture]:
    """A Gaussian at each different start that is not far below the best, the best first."""
    density = [_physical_density(posterior, start) for start in starts]
    found: list[Mixture] = []
    for index in np.argsort(np.negative(density), kind="stable"):
        hopeless = not density[index] > np.max(density) - _HOPELESS
        if found and (hopeless or len(found) == _COMPONENTS):
            break
        if not _apart(np.asarray(beginning(posterior, starts[index]).offset, float), found):
            continue
        whitening, _ = coordinates(posterior, starts[index])
        mean = np.asarray(whitening.u(jnp.zeros_like(whitening.middle)), float)
        root = np.asarray(whitening.matrix, float)
        if _apart(mean, found):
            found.append(_single(mean, root @ root.T))
    return found


def _apart(u, modes: list[Mixture]) -> bool:
    """Whether a point is outside of the middle of all modes."""
    roots = [np.linalg.cholesky(mode.covariances[0]) for mode in modes]
    pairs = zip(roots, modes, strict=True)
    steps = [np.linalg.solve(root, u - mode.means[0]) for root, mode in pairs]
    return all(np.sqrt(np.mean(step**2)) > _EQUAL for step in steps)


def _physical_density(posterior, start) -> float:
    """Log density of the physical values of a start, which fits maximise; -inf if not finite."""
    u = start_coordinates(posterior, start)
    value, _ = value_and_gradient(posterior, Frame(u, jnp.ones_like(u)), jnp.zeros_like(u))
    return -float(value)


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
    return Mixture(
        np.full(count, 1.0 / count),
        np.concatenate(means),
        np.concatenate(covariances),
        np.repeat(np.arange(len(modes)), each),
        modes[0].bend,
    )


def _as_the_prior(posterior) -> Mixture:
    middle, scale = (np.asarray(part, float) for part in natural_range(posterior))
    return _single(middle, np.diag(scale**2))


def _single(mean, covariance) -> Mixture:
    """A single component without a bend."""
    parts = np.ones(1), mean[None], covariance[None], np.zeros(1, int)
    return Mixture(*parts, bends.straight(len(mean)))


def _extended(posterior, points: _Points, proposals: list, rng) -> _Points:
    """The points with those of a further round, drawn from the last of the proposals."""
    fresh = draw(proposals[-1], _ROUND, rng)
    density = _log_densities(posterior, fresh)
    before = len(proposals) - 1
    old = points.log_proposal
    if before:
        last = log_proposal(proposals[-1], points.u)
        old = np.logaddexp(old + np.log(before), last) - np.log(before + 1)
    each = np.stack([log_proposal(proposal, fresh) for proposal in proposals])
    new = log_sum(each, axis=0) - np.log(len(proposals))
    both = ((points.u, fresh), (points.log_density, density), (old, new))
    return _Points(*(np.concatenate(pair) for pair in both))


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
