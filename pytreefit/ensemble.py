r"""Laws that many targets share, from the posteriors of each by itself.

.. math::
    \ln L(\alpha) = \sum_n \ln \sum_k w_{nk}
        \frac{p(\theta_{nk} \mid \alpha)}{p_0(\theta_{nk})}

with draws k of target n from its own posterior, their weights, and the prior :math:`p_0` under
which these were drawn. It is the marginal likelihood of all data under the law, relative to that
under the prior (Hogg, Myers & Bovy 2010, ApJ 725, 2166; Foreman-Mackey, Hogg & Morton 2014, ApJ
795, 64).
"""

import abc
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Float

from .arrays import as_data, as_mapping, check_kind
from .model import Model
from .parameter import param
from .results import Corrected, Samples
from .survey import Store
from .table import Table

FEWEST = 20.0  # effective draws of a target
_SPREAD = 0.5  # standard deviation of the log-likelihood from draws that are too few


class AbstractLaw(Model):
    """How the parameters of targets are distributed: a model with parameters of its own.

    A law of several parameters together, or of one that depends on others, is a class with its
    parameters as fields and `log_density`.

    Examples
    --------
    >>> import jax
    >>> class Skumanich(AbstractLaw):  # periods that grow with the root of an age
    ...     width: jax.Array = param(bounds="(0, inf)")
    ...
    ...     def log_density(self, values):
    ...         expected = 0.5 * jnp.log(values["age"])
    ...         return dist.Normal(expected, self.width).log_prob(jnp.log(values["period"]))
    """

    @abc.abstractmethod
    def log_density(self, values: Mapping[str, Float[Array, "..."]]) -> Float[Array, "..."]:
        """Logarithm of the density at values by name, all of one shape, per their units."""


class AbstractSingleLaw(AbstractLaw):
    """A law of one parameter, whichever: a subclass defines `log_prob`.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from pytreefit import param
    >>> class RayleighLaw(AbstractSingleLaw):  # eccentricities of a stirred belt
    ...     width: jax.Array = param(bounds="(0, inf)")
    ...
    ...     def log_prob(self, value):
    ...         return jnp.log(value) - 2 * jnp.log(self.width) - (value / self.width) ** 2 / 2
    >>> round(float(RayleighLaw(0.1).log_prob(0.1)), 4)  # its peak, ln 10 - 1/2
    1.8026
    """

    @abc.abstractmethod
    def log_prob(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """Logarithm of the density at values of any shape."""

    def log_density(self, values):
        if len(values) != 1:
            raise ValueError(
                f"{type(self).__name__} is a law of one parameter, but there are draws of "
                f"{', '.join(values)}: take IndependentLaws, with a law of each."
            )
        (value,) = values.values()
        return self.log_prob(value)


class NormalLaw(AbstractSingleLaw):
    r"""Values that are normally distributed.

    Parameters
    ----------
    mean
        Their mean.
    width
        Their standard deviation, > 0.

    Examples
    --------
    >>> round(float(NormalLaw(mean=0.0, width=1.0).log_prob(0.0)), 4)
    -0.9189
    """

    mean: Float[Array, ""] = param(label=r"$\mu$", doc="mean")
    width: Float[Array, ""] = param(bounds="(0, inf)", label=r"$\sigma$", doc="standard deviation")

    def log_prob(self, value):
        return dist.Normal(self.mean, self.width).log_prob(value)


class LogNormalLaw(AbstractSingleLaw):
    r"""Positive values whose logarithm is normally distributed, such as life times.

    Parameters
    ----------
    median
        Their median, > 0.
    width
        Standard deviation of the natural logarithm, > 0.

    Examples
    --------
    >>> round(float(LogNormalLaw(median=10.0, width=0.5).log_prob(10.0)), 4)
    -2.5284
    """

    median: Float[Array, ""] = param(bounds="(0, inf)", label=r"$m$", doc="median")
    width: Float[Array, ""] = param(bounds="(0, inf)", label=r"$\sigma$", doc="width in ln")

    def log_prob(self, value):
        return dist.LogNormal(jnp.log(self.median), self.width).log_prob(value)


class IndependentLaws(AbstractLaw):
    """Laws of several parameters that do not depend on each other, all of those of an ensemble.

    Parameters
    ----------
    laws
        By name of the parameter. Paths of their own are such as ``"laws.inc.mean"``.

    Examples
    --------
    >>> from pytreefit import LogNormalLaw, NormalLaw
    >>> laws = IndependentLaws({"lspot": LogNormalLaw(10.0, 0.5), "kappa": NormalLaw(0.1, 0.05)})
    >>> float(laws.get("laws.lspot.median"))
    10.0
    """

    laws: dict[str, AbstractSingleLaw] = eqx.field(
        converter=lambda given: as_mapping("IndependentLaws.laws", given)
    )

    def __check_init__(self):
        if not self.laws:
            raise ValueError("IndependentLaws.laws is empty: give a law of one parameter at least.")
        for name, law in self.laws.items():
            check_kind("IndependentLaws.laws: name", name, str)
            check_kind(f"IndependentLaws.laws[{name!r}]", law, AbstractSingleLaw)

    def log_density(self, values):
        # without a law the prior of the draws would count as one
        if set(values) != set(self.laws):
            raise ValueError(
                f"laws are of {', '.join(self.laws)}, but there are draws of {', '.join(values)}: "
                "give a law of each, or leave its prior out of Ensemble.of."
            )
        parts = [law.log_prob(values[name]) for name, law in self.laws.items()]
        return sum(parts[1:], parts[0])


class Ensemble(eqx.Module):
    r"""Posteriors of many targets, for the law that they share.

    .. math::
        \ln L(\alpha) = \sum_n \ln \sum_k w_{nk}
            \frac{p(\theta_{nk} \mid \alpha)}{p_0(\theta_{nk})}

    Build it with `of`; then ``Posterior(law, ensemble.log_likelihood, priors)`` is what `fit` and
    `sample` take. A law much narrower than the posterior of a target rests on few of its draws:
    `effective` says on how many, `error` what that makes of the log-likelihood, and fits and
    samplers say so for where they end.

    Parameters
    ----------
    values
        Draws by name, shape (targets, draws).
    log_weight
        Logarithm of their weights, which add up to 1 for each target; minus infinity for what fills
        short ones up.
    log_prior
        Logarithm of the density of the prior under which they were drawn.
    names
        Of the targets.

    Examples
    --------
    >>> import numpy as np
    >>> from pytreefit import Posterior, fit
    >>> rng = np.random.default_rng(0)
    >>> true = rng.normal(5.0, 1.0, 40)  # targets, each measured with an error of 0.5
    >>> stars = [{"period": rng.normal(x + 0.5 * rng.normal(), 0.5, 500)} for x in true]
    >>> ensemble = Ensemble.of(stars, {"period": (-20.0, 20.0)})  # the prior of each was flat
    >>> law = IndependentLaws({"period": NormalLaw(4.0, 2.0)})
    >>> priors = {"laws.period.mean": (0.0, 10.0), "laws.period.width": (0.1, 5.0)}
    >>> best = fit(Posterior(law, ensemble.log_likelihood, priors), progress=False)
    >>> bool(abs(best.values["laws.period.mean"] - true.mean()) < 0.2)
    True
    """

    values: dict[str, Float[Array, "targets draws"]]
    log_weight: Float[Array, "targets draws"]
    log_prior: Float[Array, "targets draws"]
    names: tuple[str, ...] = eqx.field(static=True)

    @classmethod
    def of(cls, results: Any, priors: Any) -> Self:
        """From what was kept of each target.

        Parameters
        ----------
        results
            A list or a dictionary of `Samples`, `Corrected` draws or dictionaries of arrays of
            draws; or a `pytreefit.survey.Store` that kept such results.
        priors
            By name the distribution, or ``(low, high)``, under which the draws were made: of those
            parameters that the law is about. A name is a path of the draws, or its last part where
            that is unique. Where the priors differ from target to target, a list or a dictionary of
            these like ``results``. They must be independent of those of the other parameters.

        Raises
        ------
        ValueError, TypeError
            If there are no results, a name is none of theirs, numbers are not finite, or a draw is
            outside of its prior.
        """
        kept = _by_name(results)
        if isinstance(priors, Mapping) and {str(name) for name in priors} == set(kept):
            priors = {str(name): own for name, own in priors.items()}
        if isinstance(priors, Mapping) and not set(priors) == set(kept):
            priors = dict.fromkeys(kept, priors)
        elif not isinstance(priors, Mapping):
            check_kind("priors", priors, Sequence)
            if len(priors) != len(kept):
                raise ValueError(
                    f"priors has {len(priors)} entries for {len(kept)} targets: give one for each."
                )
            priors = dict(zip(kept, priors, strict=True))
        rows = [_Row(name, result, priors[name]) for name, result in kept.items()]
        if len({tuple(row.values) for row in rows}) > 1:
            raise ValueError("priors: all targets must have the same names, in the same order.")
        most = max(row.log_weight.size for row in rows)

        def stacked(arrays, **fill):
            wide = [np.pad(array, (0, most - array.size), **fill) for array in arrays]
            return jnp.asarray(np.stack(wide), jnp.result_type(float))

        return cls(
            values={
                name: stacked([row.values[name] for row in rows], mode="edge")
                for name in rows[0].values
            },
            log_weight=stacked([row.log_weight for row in rows], constant_values=-np.inf),
            log_prior=stacked([row.log_prior for row in rows], mode="edge"),
            names=tuple(kept),
        )

    def log_likelihood(self, law: AbstractLaw) -> Float[Array, ""]:
        """The sum over all targets."""
        return jnp.sum(self.log_likelihoods(law))

    def log_likelihoods(self, law: AbstractLaw) -> Float[Array, "targets"]:
        """Marginal likelihood of each target under the law, relative to that under its prior."""
        return jax.nn.logsumexp(self._log_ratios(law), axis=1)

    def weights(self, law: AbstractLaw) -> Float[Array, "targets draws"]:
        """Weights of the draws under the law, which add up to 1: posteriors that know of all."""
        return jax.nn.softmax(self._log_ratios(law), axis=1)

    def effective(self, law: AbstractLaw) -> Float[Array, "targets"]:
        r"""Effective number of each target's draws under the law, :math:`1 / \sum_k w_{nk}^2`."""
        return 1.0 / jnp.sum(self.weights(law) ** 2, axis=1)

    def error(self, law: AbstractLaw) -> Float[Array, ""]:
        r"""Standard deviation of the log-likelihood that comes from the number of draws.

        .. math:: \sqrt{\sum_n (1 / N_n - 1 / K_n)}

        with the effective numbers under the law and under the prior, for independent draws.
        """
        own = jnp.sum(jnp.exp(2.0 * self.log_weight), axis=1)
        more = 1.0 / self.effective(law) - own
        return jnp.sqrt(jnp.sum(jnp.maximum(more, 0.0)))

    def remark(self, law: AbstractLaw) -> str:
        """A sentence where a target rests on too few draws; empty if all is well."""
        effective, error = np.asarray(self.effective(law)), float(self.error(law))
        few = np.flatnonzero(~(effective >= FEWEST))
        if not few.size and error <= _SPREAD:
            return ""
        worst = int(np.argmin(effective))
        return (
            f"The law rests on too few draws: {few.size} of {len(self.names)} targets have fewer "
            f"than {FEWEST:g} effective ones, {self.names[worst]} only {effective[worst]:.1f}, and "
            f"the log-likelihood is uncertain by {error:.2g}. Draw more of them, or under priors "
            "nearer to the law."
        )

    def table(self, law: AbstractLaw) -> Table:
        """A row per target: what the law makes of it, and its effective number of draws."""
        weights, number = np.asarray(self.weights(law)), np.asarray(self.effective(law))
        rows = []
        for k, target in enumerate(self.names):
            columns = []
            for value in self.values.values():
                array = np.asarray(value[k])
                mean = weights[k] @ array
                std = math.sqrt(max(weights[k] @ (array - mean) ** 2, 0.0))
                columns += [f"{mean:.4g}", f"{std:.2g}"]
            rows.append((target, *columns, f"{number[k]:.0f}"))
        heads = [head for name in self.values for head in (name, "std")]
        return Table(("target", *heads, "effective"), rows)

    def _log_ratios(self, law):
        return self.log_weight + law.log_density(self.values) - self.log_prior

    def __repr__(self) -> str:
        return (
            f"Ensemble({len(self.names)} targets, {self.log_weight.shape[1]} draws, "
            f"of {', '.join(self.values)})"
        )


class _Row:
    """Draws of one target, their weights and the density of their prior."""

    def __init__(self, target: str, result: Any, priors: Any):
        where = f"results[{target!r}]"
        draws, weights = _draws(where, result)
        if not isinstance(priors, Mapping) or not priors:
            raise ValueError(
                f"priors of {target!r} is {priors!r} but must be a dictionary of the priors of the "
                "law's parameters, {'inc': IsotropicInclination()} for instance."
            )
        self.values, densities = {}, []
        for name, prior in priors.items():
            path = _path(where, name, draws)
            value = as_data(f"{where}: {name}", draws[path]).ravel()
            if value.size == 0 or not np.all(np.isfinite(value)):
                raise ValueError(f"{where}: draws of {name!r} are empty or not finite.")
            densities.append(_log_density(target, name, prior, value))
            self.values[name] = value
        if len({value.size for value in self.values.values()} | {weights.size or value.size}) > 1:
            raise ValueError(f"{where}: its parameters have different numbers of draws.")
        self.log_prior = np.sum(densities, axis=0)
        size = self.log_prior.size
        with np.errstate(divide="ignore"):
            self.log_weight = np.log(weights) if weights.size else np.full(size, -math.log(size))


def _by_name(results: Any) -> dict[str, Any]:
    if isinstance(results, Store):
        kept = {name: results.result(name) for name in results if results[name].kept}
    elif isinstance(results, Mapping):
        kept = {str(name): result for name, result in results.items()}
    elif not isinstance(results, Iterable) or isinstance(results, str):
        raise TypeError(f"results = {results!r} is no list, no dictionary and no Store of results.")
    else:
        kept = {str(k): result for k, result in enumerate(results)}
    if not kept:
        empty = "has kept no result" if isinstance(results, Store) else "is empty"
        raise ValueError(f"results {empty}: a law takes one target at least.")
    return kept


def _draws(where: str, result: Any) -> tuple[Mapping[str, Any], np.ndarray]:
    """Draws by path, and their weights; these are empty where all are alike."""
    if isinstance(result, Samples):
        return result.draws, np.zeros(0)
    if isinstance(result, Corrected):
        return result.samples.draws, np.ravel(np.asarray(result.weights, float))
    if isinstance(result, Mapping):
        return result, np.zeros(0)
    raise TypeError(
        f"{where} is a {type(result).__name__} but must be Samples, Corrected or a dictionary of "
        "draws by name."
    )


def _path(where: str, name: str, draws: Mapping[str, Any]) -> str:
    found = [path for path in draws if path == name] or [
        path for path in draws if path.rpartition(".")[2] == name
    ]
    if len(found) != 1:
        said = "no parameter" if not found else "several parameters"
        raise ValueError(f"{where} has {said} {name!r}; there are {', '.join(map(str, draws))}.")
    return found[0]


def _log_density(target: str, name: str, prior: Any, value: np.ndarray) -> np.ndarray:
    if isinstance(prior, tuple | list) and len(prior) == 2:
        low, high = as_data(f"priors of {target!r}: {name}", prior)
        prior = dist.Uniform(low, high) if low < high else prior
    if not isinstance(prior, dist.Distribution):
        raise TypeError(
            f"priors of {target!r}: {name} = {prior!r} must be a NumPyro distribution or "
            "(low, high)."
        )
    at = jnp.asarray(value, jnp.result_type(float))
    inside = prior.shape() == () and prior.support is not None and np.all(prior.support(at))
    density = np.asarray(prior.log_prob(at)) if inside else np.full(value.shape, -np.inf)
    if not np.all(np.isfinite(density)):
        raise ValueError(
            f"results[{target!r}]: a draw of {name!r} has no density under its prior: pass the "
            "prior that the draws were made with."
        )
    return density
