"""Several data sets as one likelihood."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .table import Table


class Joint(eqx.Module):
    r"""The likelihood of several independent data sets of one model.

    .. math::

        \ln L(m) = \sum_k \ln L_k(s_k(m))

    Pass its ``log_likelihood`` to a :class:`Posterior`. Where every data set has residuals and
    normalisations, so has the joint one: Levenberg-Marquardt and Fisher matrices work as for one.

    Parameters
    ----------
    parts
        For each name a data set, which is an object with a method ``log_likelihood(model)`` (such
        as an observation, or another `Joint`) or a function of the model. A pair of a data set and
        a function picks what it sees: ``{"K": (data, lambda model: model.scenes["K"])}``.

    Raises
    ------
    ValueError
        If there is no part.
    TypeError
        If a part is neither an object with ``log_likelihood`` nor a function.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import Joint, Model, Posterior, param
    >>> class Line(Model):
    ...     slope: jax.Array = param()
    >>> both = Joint({"a": lambda m: -((m.slope - 1) ** 2), "b": lambda m: -((m.slope - 3) ** 2)})
    >>> float(both.log_likelihood(Line(2.0)))
    -2.0
    >>> posterior = Posterior(Line(2.0), both.log_likelihood, {"slope": (0, 9)})
    """

    names: tuple[str, ...] = eqx.field(static=True)
    # tuples, not dictionaries: a PyTree sorts the keys of these
    _likelihoods: tuple[Callable[[Any], Array], ...]
    _picks: tuple[Callable[[Any], Any] | None, ...]

    def __init__(self, parts: Mapping[str, Any]):
        if not isinstance(parts, Mapping) or not parts:
            raise ValueError(
                "Joint: parts must be a dictionary of data sets, such as {'roll1': a, 'roll2': b}."
            )
        pairs = [part if isinstance(part, tuple) else (part, None) for part in parts.values()]
        for name, pair in zip(parts, pairs, strict=True):
            if len(pair) != 2 or not (pair[1] is None or callable(pair[1])):
                raise TypeError(f"Joint: {name!r} must be a data set, or (data set, function).")
        self.names = tuple(parts)
        self._likelihoods = tuple(
            _likelihood(name, data) for name, (data, _) in zip(parts, pairs, strict=True)
        )
        self._picks = tuple(pick for _, pick in pairs)

    def log_likelihoods(self, model) -> dict[str, Float[Array, ""]]:
        """The log-likelihood of each data set."""
        return {name: function(seen) for name, function, seen in self._seen(model)}

    def log_likelihood(self, model) -> Float[Array, ""]:
        """Their sum."""
        total = jnp.zeros((), jnp.result_type(float))
        for value in self.log_likelihoods(model).values():
            total = total + value
        return total

    def residuals(self, model) -> Float[Array, " n"]:
        """The residuals of all data sets in one vector, in the order of the names."""
        return _concatenated([_method(f, "residuals")(seen) for _, f, seen in self._seen(model)])

    def log_normalization(self, model) -> Float[Array, " n"] | None:
        """The normalisations of all data sets in one vector; None if one of them has none."""
        found = [log_normalization_of(f, seen) for _, f, seen in self._seen(model)]
        return None if any(vector is None for vector in found) else _concatenated(found)

    def summary(self, model) -> Table:
        """The table of data sets: name, log-likelihood, sum of squared residuals (if any)."""
        rows = []
        for name, function, seen in self._seen(model):
            chi2 = ""
            if log_normalization_of(function, seen) is not None:
                chi2 = f"{np.sum(np.square(_method(function, 'residuals')(seen))):.6g}"
            rows.append((name, f"{float(function(seen)):.8g}", chi2))
        return Table(("data", "log likelihood", "chi2"), rows)

    def remark(self, model) -> str:
        """What the owners of the data sets' likelihoods say of these, by name."""
        found = {name: _method(f, "remark") for name, f, _ in self._seen(model)}
        said = ((name, found[name](seen)) for name, _, seen in self._seen(model) if found[name])
        return " ".join(f"{name}: {sentence}" for name, sentence in said if sentence)

    def prepared(self, model, varied) -> "Joint":
        """The same likelihood with its data sets prepared, see `prepared`."""
        picks = [pick or (lambda model: model) for pick in self._picks]
        found = tuple(
            prepared(function, pick(model), pick(varied))
            for function, pick in zip(self._likelihoods, picks, strict=True)
        )
        return eqx.tree_at(lambda joint: joint._likelihoods, self, found)

    def _seen(self, model):
        """Name, log-likelihood and what it sees, of each data set."""
        for name, function, pick in zip(self.names, self._likelihoods, self._picks, strict=True):
            yield name, function, model if pick is None else pick(model)


def log_normalization_of(log_likelihood, model):
    """The normalisation of a likelihood whose owner says that it is a sum of squares, or None."""
    function = _method(log_likelihood, "log_normalization")
    if function is None or _method(log_likelihood, "residuals") is None:
        return None
    return function(model)


def squares_of(log_likelihood, model):
    """Residuals and normalisation of such a likelihood as functions; None of any other."""
    if log_normalization_of(log_likelihood, model) is None:
        return None, None
    return _method(log_likelihood, "residuals"), _method(log_likelihood, "log_normalization")


def prepared(log_likelihood, model, varied):
    """The same likelihood with what can be worked out once, where its owner has ``prepared``.

    That method gets the model, and the model with new arrays in place of all that is free: what is
    one object in both is fixed. It returns the owner or another one of the same methods.
    """
    prepare = _method(log_likelihood, "prepared")
    if prepare is None:
        return log_likelihood
    return getattr(prepare(model, varied), log_likelihood.__name__)


def _method(log_likelihood, name: str) -> Any:
    """Another method of the object that a likelihood is a method of, or None."""
    return getattr(getattr(log_likelihood, "__self__", None), name, None)


def _likelihood(name: str, data) -> Callable[[Any], Any]:
    function: Any = getattr(data, "log_likelihood", data)
    if not callable(function):
        raise TypeError(
            f"Joint: {name!r} is a {type(data).__name__}, which has no log_likelihood(model) and "
            "is no function of the model."
        )
    return function


def _concatenated(vectors) -> Float[Array, " n"]:
    return jnp.concatenate([jnp.ravel(vector) for vector in vectors])
