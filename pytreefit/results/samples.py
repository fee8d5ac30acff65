"""Draws from a posterior: by name, with diagnostics, tables, plots and files."""

import functools
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

from .._jit import jit
from ..model import lookup_parameter, replace
from ..posterior import Posterior
from ..space import indexed_names
from ..table import Table, rounded
from . import files, plots
from .corrected import Corrected, correct, flat
from .importance import Importance
from .limits import Limit, limits_of

_LARGE_RHAT = 1.01


class Samples(eqx.Module):
    """The result of :func:`sample`.

    Parameters
    ----------
    draws
        Physical values by name, each of shape ``(chains, draws, *shape)``. Of tied
        parameters only the first is listed.
    log_density
        Log density of each draw in the unconstrained coordinates, shape ``(chains, draws)``.
    diverging
        Whether the trajectory diverged, shape ``(chains, draws)``.
    acceptance
        Mean acceptance probability along the trajectory, shape ``(chains, draws)``.
    tree_depth
        Number of doublings of the trajectory, shape ``(chains, draws)``.
    leapfrogs
        Number of gradients, shape ``(chains, draws)``.
    jumps
        Accepted jumps after the trajectory, shape ``(chains, draws)``.
    step_size
        Step size of the leapfrog integrator.
    model
        The model that was fitted, with the values it had at the start.
    paths
        For each name the paths tied together.
    links
        The functions behind linked paths; None after loading, functions are not saved.
    link_paths
        The linked paths.
    seconds_compile, seconds_warmup, seconds_sampling
        Wall-clock time of compilation (and the first points), warm-up and draws.
    log_volume
        Log volume element of the unconstrained coordinates at each draw, shape ``(chains, draws)``:
        ``log_density`` less this is the log density of the physical values. None if not known.
    importance
        What importance sampling says of itself, an :class:`Importance`, if these draws are its: in
        no order, points of large weight several times. None for draws of NUTS.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import NormalLaw, Posterior, sample
    >>> law = NormalLaw(mean=0.0, width=1.0)
    >>> posterior = Posterior(law, lambda law: law.log_prob(2.0), {"mean": (-9, 9)})
    >>> samples = sample(posterior, jax.random.key(0), method="mixture", progress=False)
    >>> round(float(samples.draws["mean"].mean()), 1), round(float(samples.draws["mean"].std()), 1)
    (2.0, 1.0)
    """

    draws: dict[str, Array]
    log_density: Float[Array, "chains draws"]
    diverging: Bool[Array, "chains draws"]
    acceptance: Float[Array, "chains draws"]
    tree_depth: Int[Array, "chains draws"]
    leapfrogs: Int[Array, "chains draws"]
    jumps: Int[Array, "chains draws"]
    step_size: float
    model: Any
    paths: tuple[tuple[str, ...], ...] = eqx.field(static=True)
    links: dict[str, Callable] | None
    link_paths: tuple[str, ...] = eqx.field(static=True)
    seconds_compile: float
    seconds_warmup: float
    seconds_sampling: float
    log_volume: Float[Array, "chains draws"] | None = None
    importance: Importance | None = None

    @classmethod
    def from_run(cls, posterior, rows, seconds: dict[str, float], step_size: float) -> "Samples":
        """Build the result from the rows of all transitions, of shape ``(draws, chains, ...)``."""
        rows = {k: jnp.asarray(np.swapaxes(row, 0, 1)) for k, row in rows._asdict().items()}
        draws, log_volume = _constrain(posterior, rows.pop("u"))
        return cls(
            draws={name: draws[name] for name in posterior.names},
            **rows,
            step_size=step_size,
            model=posterior.model,
            paths=posterior.paths,
            links=posterior.links,
            link_paths=tuple(posterior.links),
            **{f"seconds_{phase}": spent for phase, spent in seconds.items()},
            log_volume=log_volume,
        )

    @classmethod
    def from_points(cls, posterior, u, log_density, seconds, importance) -> "Samples":
        """Build the result of importance sampling from points of shape ``(chains, draws, dim)``."""
        dtype = jnp.result_type(float)
        draws, log_volume = _constrain(posterior, jnp.asarray(u, dtype))
        shape = np.shape(log_density)
        return cls(
            draws={name: draws[name] for name in posterior.names},
            log_density=jnp.asarray(log_density, dtype),
            diverging=jnp.zeros(shape, bool),
            acceptance=jnp.ones(shape, dtype),
            tree_depth=jnp.zeros(shape, jnp.int32),
            leapfrogs=jnp.zeros(shape, jnp.int32),
            jumps=jnp.zeros(shape, jnp.int32),
            step_size=0.0,
            model=posterior.model,
            paths=posterior.paths,
            links=posterior.links,
            link_paths=tuple(posterior.links),
            **{f"seconds_{phase}": spent for phase, spent in seconds.items()},
            log_volume=log_volume,
            importance=importance,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free parameters, in the order of the priors."""
        return tuple(tied[0] for tied in self.paths)

    @property
    def units(self) -> dict[str, str]:
        """Unit of each free parameter."""
        return {name: lookup_parameter(self.model, name).info.unit for name in self.names}

    @property
    def labels(self) -> dict[str, str]:
        """Plot label of each free parameter: its label or path."""
        return {name: lookup_parameter(self.model, name).info.label or name for name in self.names}

    @property
    def divergences(self) -> int:
        """Number of diverging trajectories."""
        return int(np.sum(np.asarray(self.diverging)))

    @property
    def rhat(self) -> dict[str, np.ndarray]:
        """Split R-hat of each number (Gelman et al. 2013): near 1 where the chains agree."""
        return self._of_each_name(split_gelman_rubin)

    @property
    def ess(self) -> dict[str, np.ndarray]:
        """Effective sample size of each number, all chains together.

        By Geyer's estimator; of importance sampling the effective number of its weights.
        """
        if self.importance is not None:
            effective = min(self.importance.effective, self.log_density.size)
            return {n: np.full(self.draws[n].shape[2:], effective) for n in self.names}
        return self._of_each_name(effective_sample_size)

    @property
    def seconds(self) -> float:
        """Seconds of warm-up and draws, compilation excluded."""
        return self.seconds_warmup + self.seconds_sampling

    @property
    def ess_per_second(self) -> dict[str, np.ndarray]:
        """Effective sample size per second of warm-up and draws."""
        return {name: ess / self.seconds for name, ess in self.ess.items()}

    def _of_each_name(self, diagnostic) -> dict[str, np.ndarray]:
        with np.errstate(invalid="ignore", divide="ignore"):  # a chain that never moved
            return {n: np.asarray(diagnostic(np.asarray(self.draws[n]))) for n in self.names}

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Every number's draws of shape ``(chains, draws)``, under names like ``"phase.g[1]"``."""
        columns = {}
        for name in self.names:
            draws = np.asarray(self.draws[name])
            flat = draws.reshape(*draws.shape[:2], -1)
            entries = indexed_names({name: draws.shape[2:]})
            columns.update(zip(entries, np.moveaxis(flat, -1, 0), strict=True))
        return columns

    @property
    def limits(self) -> dict[str, Limit]:
        """The 95 % limit of each number whose draws pile up at a bound of its parameter.

        That is, whose density next to the bound (in the first tenth of the distance within which
        95 % of the draws are) is above 1 / e of its peak, and falls off on the other side: where a
        prior cuts it off there, the prior sets the limit, and it is none of the data. Where a
        parameter is mirrored (see :func:`param`) counts as a bound.
        """
        return limits_of(self.model, self.columns)

    def summary(self) -> Table:
        """The table of results, one row per number.

        Its name, median, distances from the median to the 16th and 84th percentile, mean, standard
        deviation, R-hat, effective sample size and unit. Of one in :attr:`limits` the limit only.
        """
        rhat, ess, units = flat(self.rhat), flat(self.ess), self.units
        rows, limits = [], self.limits
        for (name, draws), r, n in zip(self.columns.items(), rhat, ess, strict=True):
            low, median, high = np.percentile(draws, [16, 50, 84])
            digits = functools.partial(rounded, width=draws.std())
            numbers = map(digits, (median, median - low, high - median, draws.mean(), draws.std()))
            if name in limits:
                numbers = (str(limits[name]), "", "", "", "")
            unit = units[name.partition("[")[0]]
            rows.append((name, *numbers, f"{r:.3f}", f"{n:.0f}", unit))
        columns = ("parameter", "median", "-", "+", "mean", "std", "R-hat", "ESS", "unit")
        return Table(columns, rows)

    def __repr__(self):
        chains, draws = self.log_density.shape
        if self.importance is not None:
            count = chains * draws
            return f"{count} draws: {self.importance!r}, {self.seconds:.1f} s\n{self.summary()!r}"
        jumps = np.mean(self.jumps)
        return (
            f"{chains} chains of {draws} draws, {self.divergences} divergences, "
            f"{np.mean(self.leapfrogs):.1f} gradients per draw, "
            f"{f'{jumps:.2f} jumps per draw, ' if jumps else ''}{self.seconds:.1f} s\n"
            f"{self.summary()!r}"
        )

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    def warn(self, stacklevel: int = 2) -> None:
        """Warn (UserWarning) of divergences, and of chains that do not agree (R-hat > 1.01)."""
        say = functools.partial(warnings.warn, category=UserWarning, stacklevel=stacklevel)
        if self.importance is not None:
            if not self.importance.good:
                say(
                    f"Pareto k = {self.importance.pareto_k:.2f} is above "
                    f"{self.importance.pareto_limit:.2f}: the mixture missed part of the "
                    "posterior. Use method='nuts', with jumps between several modes."
                )
            elif self.importance.effective < 0.25 * self.log_density.size:
                say(
                    f"Only {self.importance.effective:.0f} of {self.log_density.size} draws are "
                    "effective, the others repeat them: ask for fewer, or use method='nuts'."
                )
            return
        if self.divergences:
            say(
                f"{self.divergences} of {self.diverging.size} trajectories diverged: the draws may "
                "miss part of the posterior. Raise target_acceptance (to 0.95), or look in "
                "corner() for the place where `diverging` is True."
            )
        large = [
            f"{name} ({r:.3f})"
            for name, r in zip(self.columns, flat(self.rhat), strict=True)
            if not r <= _LARGE_RHAT
        ]
        if large:
            say(
                f"R-hat is above {_LARGE_RHAT} for {', '.join(large)}: the chains do not agree "
                "yet. Take more draws, or a longer warm-up; between several modes, jumps."
            )

    def models(self, n: int | None = None, key: Array | None = None) -> Any:
        """The models of the draws, for `equinox.filter_vmap` or :func:`map_models`.

        They are one model with a leading batch axis on every array.

        Parameters
        ----------
        n
            How many; None is all of them.
        key
            Random key for choosing ``n`` of them without replacement; None takes them evenly.

        Raises
        ------
        ValueError
            If ``n`` is more than there are, or the links of a loaded result are missing.
        """
        if self.link_paths and self.links is None:
            raise ValueError(
                f"The links of {', '.join(self.link_paths)} are functions, which are not saved: "
                "use posterior.model_at on the draws instead."
            )
        total = self.log_density.size
        n = total if n is None else n
        if not 1 <= n <= total:
            raise ValueError(f"n = {n} must be between 1 and the number of draws, {total}.")
        if key is None:
            index = jnp.asarray(np.linspace(0, total - 1, n).round().astype(int))
        else:
            index = jax.random.choice(key, total, (n,), replace=False)
        picked = {name: x.reshape(total, *x.shape[2:])[index] for name, x in self.draws.items()}

        def build(values):
            updates = {path: values[tied[0]] for tied in self.paths for path in tied}
            model = replace(self.model, updates, check=False)
            linked = {path: link(model) for path, link in (self.links or {}).items()}
            return replace(model, linked, check=False)

        return eqx.filter_vmap(build)(picked)

    def corrected(
        self,
        exact: Posterior,
        number: int | None = None,
        *,
        progress: bool | Callable[[str], object] = True,
    ) -> Corrected:
        r"""Correct draws of an approximate posterior to the exact one by importance weights.

        .. math::

            \ln w_s = \ln p_\mathrm{exact}(\theta_s \mid d)
            - \ln p_\mathrm{approximate}(\theta_s \mid d) + \mathrm{const}

        with the densities of physical values, so that priors may differ. The largest weights are
        smoothed (Pareto-smoothed importance sampling). It takes one evaluation of the exact density
        for each draw, no gradient: far less than sampling the exact posterior.

        Parameters
        ----------
        exact
            A :class:`Posterior` of the same free parameters, in any order. Fixed parameters, links,
            the likelihood, its data and its model are its own.
        number
            How many draws to evaluate, evenly along the chains, at least 4 in each chain and
            rounded down to equally many; None is all.
        progress
            True writes lines to standard error, False nothing; a function gets each line.

        Raises
        ------
        ValueError
            If the posteriors differ in free parameters, ties or shapes, ``number`` is out of range,
            the exact density is 0 at every draw, or these draws don't know their volume element.
        KeyboardInterrupt
            On Ctrl-C, unless there are 4 evaluations in each chain: then these are used, which are
            spread along the chains too, with a warning.

        Notes
        -----
        Vehtari, Simpson, Gelman, Yao & Gabry (2024, JMLR 25, 72). Weights repair what the
        approximation gets slightly wrong. They cannot invent draws where it has none: see
        ``pareto_k``.
        """
        return correct(self, exact, number, progress)

    def to_arviz(self):
        """The draws for ArviZ: an ``InferenceData``, from ArviZ 1.0 on a ``DataTree``."""
        return plots.to_arviz(self)

    def corner(self, names: Sequence[str] | None = None, **options):
        """Corner plot of all pairs of numbers; ``corner.corner`` takes the options."""
        return plots.corner(self, names, **options)

    def trace(self, names: Sequence[str] | None = None):
        """Each number's draws along the chains, and its distribution in each chain."""
        return plots.trace(self, names)

    def save(self, path: str | os.PathLike) -> None:
        """Write everything except the links to one file."""
        files.save(path, eqx.tree_at(lambda s: s.links, self, None, is_leaf=lambda x: x is None))

    @classmethod
    def load(cls, path: str | os.PathLike, classes: Iterable[Any] = ()) -> "Samples":
        """Read what :meth:`save` wrote; for ``classes`` see :func:`load`."""
        samples = files.load(path, classes)
        if not isinstance(samples, cls):
            raise ValueError(f"{path} holds a {type(samples).__name__}, not Samples.")
        return samples


@jit
def _constrain(posterior, u):
    return jax.vmap(jax.vmap(lambda u: (posterior.constrain(u), posterior.log_volume(u))))(u)
