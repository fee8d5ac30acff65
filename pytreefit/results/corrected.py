"""Draws of an approximate posterior, weighted so that they follow the exact one."""

import dataclasses
import functools
import os
import time
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._jit import jit
from ..posterior import Posterior
from ..progress import Pace, Reporter, duration
from ..table import Table, rounded
from ..threads import cores, in_threads
from . import files
from .limits import limits_of
from .pareto import pareto_smoothed

_LEAST = 4  # draws of each chain
_ROWS = ("log_density", "diverging", "acceptance", "tree_depth", "leapfrogs", "jumps", "log_volume")
_ENOUGH = 100  # effective draws, for a median and a width that can be quoted


class Corrected(eqx.Module):
    r"""The result of :meth:`Samples.corrected`: draws with weights.

    Parameters
    ----------
    samples
        The draws at which the exact density was evaluated, not weighted, as :class:`Samples` with
        the exact posterior's model and links; ``log_density`` is still the approximate one.
    log_density
        Exact log density of the physical values of each draw, shape ``(chains, draws)``, in double
        precision.
    weights
        Smoothed weights of the draws, shape ``(chains, draws)``; their sum is 1.
    pareto_k
        Shape of the tail of the weights. Below ``pareto_limit`` they can be trusted; above 1 not
        even their mean exists.
    seconds
        Wall-clock time of the evaluations, compilation included.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import NormalLaw, Posterior, sample
    >>> law, priors = NormalLaw(mean=0.0, width=1.0), {"mean": (-9, 9)}
    >>> rough = Posterior(law, lambda law: law.log_prob(2.0), priors)
    >>> exact = Posterior(law, lambda law: law.log_prob(2.5), priors)
    >>> samples = sample(rough, jax.random.key(0), method="mixture", progress=False)
    >>> corrected = samples.corrected(exact, progress=False)
    >>> round(float(corrected.mean["mean"]), 1), round(corrected.largest_shift, 1)
    (2.5, 0.5)
    """

    samples: Any
    log_density: Float[np.ndarray, "chains draws"]
    weights: Float[np.ndarray, "chains draws"]
    pareto_k: float
    seconds: float

    @property
    def pareto_limit(self) -> float:
        r"""Largest k that these many draws can do with, :math:`\min(1 - 1 / \lg n, 0.7)`."""
        return min(1.0 - 1.0 / np.log10(self.weights.size), 0.7)

    @property
    def weight_ess(self) -> float:
        r"""Effective number of the weights, :math:`1 / \sum w^2` (Kish 1965), of independent draws.

        Chains are no independent draws: see ``ess``.
        """
        return float(1.0 / np.sum(self.weights**2))

    @property
    def ess(self) -> dict[str, np.ndarray]:
        """Effective sample size of each number.

        That of the weights times the efficiency of the chains: their own effective sample size
        over the number of draws, at most 1.
        """
        return {n: self.weight_ess * e for n, e in _efficiency(self.samples).items()}

    @property
    def mean(self) -> dict[str, np.ndarray]:
        """Weighted mean of each free parameter, in its unit and shape."""
        return {n: _weighted(self.weights, x) for n, x in _arrays(self.samples).items()}

    @property
    def std(self) -> dict[str, np.ndarray]:
        """Weighted standard deviation of each free parameter."""
        mean, arrays = self.mean, _arrays(self.samples)
        squares = {n: _weighted(self.weights, (x - mean[n]) ** 2) for n, x in arrays.items()}
        return {name: np.sqrt(square) for name, square in squares.items()}

    @property
    def shift(self) -> dict[str, np.ndarray]:
        """Change of each mean by the weights, in standard deviations of the draws."""
        mean, shift = self.mean, {}
        for name, x in _arrays(self.samples).items():
            change, width = mean[name] - x.mean(axis=(0, 1)), x.std(axis=(0, 1))
            shift[name] = np.divide(change, width, out=np.zeros_like(change), where=width > 0)
        return shift

    @property
    def largest_shift(self) -> float:
        """Largest of ``shift`` in absolute value."""
        return float(np.max(np.abs(flat(self.shift))))

    def summary(self) -> Table:
        """The table of :meth:`Samples.summary`, weighted, with ``shift`` in the place of R-hat."""
        mean, std, shift, ess = map(flat, (self.mean, self.std, self.shift, self.ess))
        units, rows = self.samples.units, []
        limits = limits_of(self.samples.model, self.samples.columns, self.weights)
        for i, (name, draws) in enumerate(self.samples.columns.items()):
            low, median, high = _quantiles(draws.ravel(), self.weights.ravel(), (0.16, 0.5, 0.84))
            digits = functools.partial(rounded, width=std[i])
            numbers = map(digits, (median, median - low, high - median, mean[i], std[i]))
            if name in limits:
                numbers = (str(limits[name]), "", "", "", "")
            unit = units[name.partition("[")[0]]
            rows.append((name, *numbers, f"{shift[i]:+z.2f}", f"{ess[i]:.0f}", unit))
        columns = ("parameter", "median", "-", "+", "mean", "std", "shift", "ESS", "unit")
        return Table(columns, rows)

    def __repr__(self):
        return (
            f"{self.weights.size} draws, corrected: {self.weight_ess:.0f} effective by their "
            f"weights, Pareto k = {self.pareto_k:.2f} (limit {self.pareto_limit:.2f}), largest "
            f"shift {self.largest_shift:.2f} standard deviations, {duration(self.seconds)}\n"
            f"{self.summary()!r}"
        )

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def warn(self, stacklevel: int = 2) -> None:
        """Warn (UserWarning) of weights that can't be trusted, and of few effective draws."""
        say = functools.partial(warnings.warn, category=UserWarning, stacklevel=stacklevel + 1)
        size = self.weights.size
        broken = int(np.sum(np.isnan(self.log_density)))
        if broken:
            say(f"The exact density is NaN at {broken} of {size} draws: they have no weight.")
        if self.pareto_k == np.inf:
            say(f"The weights of {size} draws are too few to be judged: evaluate more draws.")
        elif self.pareto_k > self.pareto_limit:
            say(
                f"Pareto k = {self.pareto_k:.2f} is above {self.pareto_limit:.2f}: the exact "
                "posterior reaches where there are hardly any draws, and no weights can mend that. "
                "Draw from a better approximation, or from the exact posterior, starting where "
                "these draws are."
            )
        least = np.min(flat(self.ess))
        if not least >= _ENOUGH:
            say(
                f"Only {least:.0f} draws are effective after the correction: evaluate more draws "
                "(number), draw more, or draw from a better approximation."
            )

    def resample(self, key: Array, n: int | None = None):
        """Draws of equal weight, for figures, models and files.

        Parameters
        ----------
        key
            Random key.
        n
            How many; None is as many as there are. Draws of large weight are repeated.

        Returns
        -------
        Samples
            One chain, in the order of the chains, so that its effective sample size knows of the
            repetitions. ``log_density`` is the exact one. They have no evidence, as that of the
            approximate posterior is not theirs.
        """
        size = self.weights.size
        n = size if n is None else n
        if n < 1:
            raise ValueError(f"n = {n} must be at least 1.")
        # equal steps through the cumulated weights, from a start at random
        steps = (np.arange(n) + float(jax.random.uniform(key))) / n
        cumulated = np.cumsum(self.weights.ravel())
        index = np.searchsorted(cumulated / cumulated[-1], steps, side="right")
        samples, dtype = self.samples, self.samples.log_density.dtype
        exact = jnp.asarray(self.log_density, dtype) + samples.log_volume
        known = samples.importance
        if known is not None:
            number = min(known.effective, 1.0 / float(np.sum(self.weights**2)))
            none = dict.fromkeys(("log_evidence", "log_evidence_error"), float("nan"))
            known = dataclasses.replace(known, effective=number, **none)
        samples = dataclasses.replace(samples, log_density=exact, importance=known)
        return _map_draws(lambda x: x.reshape(1, size, *x.shape[2:])[:, index], samples)

    def save(self, path: str | os.PathLike) -> None:
        """Write everything except the links to one file, for :func:`load`."""
        samples = dataclasses.replace(self.samples, links=None)
        files.save(path, dataclasses.replace(self, samples=samples))


def correct(samples, exact: Posterior, number: int | None, progress) -> Corrected:
    """See :meth:`Samples.corrected`."""
    _check(samples, exact)
    chains, draws = samples.log_density.shape
    each = draws if number is None else number // chains
    if not (_LEAST <= each and (number or 0) <= draws * chains):
        raise ValueError(
            f"number = {number} must be between {_LEAST * chains} and {draws * chains}: at least "
            f"{_LEAST} of each chain, and no more than there are."
        )
    places = np.linspace(0, draws - 1, each).round().astype(int)
    began = time.perf_counter()
    places, log_density = _evaluate(samples, exact, places, Reporter(progress))
    samples = _map_draws(lambda x: x[:, places], samples)
    approximate = np.asarray(samples.log_density, float) - np.asarray(samples.log_volume, float)
    ratios = np.where(np.isnan(log_density), -np.inf, log_density) - approximate
    if not np.isfinite(np.max(ratios)):
        raise ValueError(
            "The exact posterior's log density is not finite at any of the draws: is it of the "
            "same data?"
        )
    efficiency = float(np.min(flat(_efficiency(samples))))
    weights, k = pareto_smoothed(ratios.ravel(), efficiency)
    samples = dataclasses.replace(
        samples, model=exact.model, links=exact.links, link_paths=tuple(exact.links)
    )
    corrected = Corrected(
        samples=samples,
        log_density=log_density,
        weights=weights.reshape(ratios.shape),
        pareto_k=k,
        seconds=time.perf_counter() - began,
    )
    corrected.warn(stacklevel=5)
    return corrected


def _check(samples, exact: Posterior) -> None:
    """ValueError unless the draws are of the posterior's free parameters."""
    if samples.log_volume is None:
        raise ValueError(
            "These draws do not know their volume element, so the density that they follow in "
            "physical values is not known: make them with sample()."
        )
    ours, theirs = ({tied[0]: set(tied) for tied in owner.paths} for owner in (samples, exact))
    for name in {**ours, **theirs}:
        if name not in theirs:
            raise ValueError(f"{name!r} was drawn but is not free in exact: give it a prior there.")
        if name not in ours:
            raise ValueError(f"{name!r} is free in exact but was not drawn: fix it there.")
        if ours[name] != theirs[name]:
            raise ValueError(
                f"{name!r} is tied to {sorted(theirs[name] - {name})} in exact but was drawn tied "
                f"to {sorted(ours[name] - {name})}."
            )
        drawn, wanted = samples.draws[name].shape[2:], exact.shapes[name]
        if drawn != wanted:
            raise ValueError(f"{name!r} has shape {wanted} in exact but was drawn in {drawn}.")


@jit
def _log_density(exact: Posterior, values):
    """Log density of physical values."""
    log_prior = exact.log_prior(values)
    total = exact.log_likelihood_of(exact._model_at(values, check=False)) + log_prior
    return jnp.where(log_prior == -jnp.inf, -jnp.inf, total)  # where the likelihood may be NaN


def _evaluate(samples, exact: Posterior, places, tell: Reporter):
    """The exact log density at some draws of each chain: where, and shape ``(chains, places)``.

    Those in the middle of others come last, so that an interrupt leaves all parts of the chains.
    """
    chains, dtype = samples.log_density.shape[0], jnp.result_type(float)
    order = _scattered(places.size)
    items = [(chain, place) for place in places[order] for chain in range(chains)]

    def one(item):
        return _log_density(exact, {n: jnp.asarray(x[item], dtype) for n, x in arrays.items()})

    arrays = _arrays(samples)
    found = [float(one(items[0]))]  # compiles
    pace, began = Pace(), time.perf_counter()
    try:
        while len(found) < len(items):
            rounds = pace.begin(-(-(len(items) - len(found)) // cores()))
            chunk = items[len(found) : len(found) + rounds * cores()]
            found += map(float, in_threads(one, chunk))
            pace.end()
            tell(
                _line(len(found), len(items), time.perf_counter() - began),
                final=len(found) == len(items),
            )
    except KeyboardInterrupt:
        if len(found) < _LEAST * chains:
            raise
        warnings.warn(
            f"Interrupted after {len(found)} of {len(items)} draws.", UserWarning, stacklevel=5
        )
    whole = len(found) // chains
    back = np.argsort(order[:whole])
    density = np.array(found[: whole * chains]).reshape(whole, chains)
    return places[order[:whole][back]], density[back].T


def _line(done: int, number: int, spent: float) -> str:
    left = spent / (done - 1) * (number - done)
    return f"exact density of {done}/{number} draws: {duration(spent)}, about {duration(left)} left"


def _scattered(number: int) -> np.ndarray:
    """The integers below a number, in an order of which each beginning is spread over all."""
    bits = max(1, (number - 1).bit_length())
    backwards = [int(f"{i:0{bits}b}"[::-1], 2) for i in range(number)]
    return np.argsort(backwards)


def _map_draws(function, samples):
    """Samples with a function applied to every array that has a chain and a draw axis."""
    arrays = {name: function(getattr(samples, name)) for name in _ROWS}
    draws = {name: function(x) for name, x in samples.draws.items()}
    return dataclasses.replace(samples, draws=draws, **arrays)


def _arrays(samples) -> dict[str, np.ndarray]:
    """The draws of each name, in double precision."""
    return {name: np.asarray(samples.draws[name], float) for name in samples.names}


def _efficiency(samples) -> dict[str, np.ndarray]:
    """Effective over actual number of the draws, at most 1; 1 of what never moved."""
    size = samples.log_density.size
    ratios = {name: np.nan_to_num(ess / size, nan=1.0) for name, ess in samples.ess.items()}
    return {name: np.clip(ratio, 1.0 / size, 1.0) for name, ratio in ratios.items()}


def _weighted(weights, values):
    return np.tensordot(weights, values, axes=2)


def _quantiles(values, weights, levels):
    """Quantiles of weighted numbers, linear between the middles of the weights."""
    order = np.argsort(values)
    steps = weights[order]
    return np.interp(levels, np.cumsum(steps) - 0.5 * steps, values[order])


def flat(diagnostic: dict[str, np.ndarray]) -> np.ndarray:
    """The numbers of all names, one after the other."""
    return np.concatenate([np.ravel(entry) for entry in diagnostic.values()])
