"""The posterior: a model, a likelihood, and which parameters are free under which priors."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import biject_to
from numpyro.distributions.transforms import Transform

from .arrays import as_mapping, check_kind
from .joint import prepared, squares_of
from .model import Model, convert_value, lookup, lookup_parameter, replace
from .numeric import lenient
from .parameter import is_traced
from .prior import as_prior, check_start, log_density, quantiles
from .space import split_vector


class Posterior(eqx.Module):
    r"""The posterior density of a model's free parameters, named by their paths.

    .. math::

        \ln p(\theta \mid d) = \ln L(d \mid m(\theta)) + \sum_k \ln p_k(\theta_k) + \mathrm{const}

    Parameters
    ----------
    model
        Holds the start of the free parameters and the values of the fixed ones. A parameter
        not named in ``priors`` or ``links`` is fixed.
    log_likelihood
        Function of the model that returns a scalar. Pass a method of an Equinox module that holds
        the data (``data.log_likelihood``): then the data are arrays of the PyTree, and other data
        of the same shape compile nothing anew. A lambda is compiled anew for each new lambda.
    priors
        For each path a continuous NumPyro distribution, or ``(low, high)`` for a uniform one. A
        tuple of paths as the key ties them: they share one value, which starts at the
        first path's. A scalar prior of an array parameter holds for each entry independently.
    links
        For each path a function of the model (with the free values set) that returns the value,
        for parameters that follow from others. Links are evaluated together, so none sees the
        result of another.
    residuals
        Function of the model that returns the vector :math:`r` with
        :math:`\ln L = -r^\mathsf{T} r / 2` up to a constant; for least-squares fits.
    log_normalization
        Where that is not a constant but depends on free parameters (a noise scale): function of
        the model that returns the vector :math:`n` with :math:`\ln L = \sum (n - r^2 / 2)`. Both
        are found by themselves where ``log_likelihood`` is the method of an object that has
        methods of these names and ``log_normalization(model)`` is not None. Such an object may
        also have ``prepared(model, varied)``, which returns one that has worked out what depends
        on no free parameter: ``varied`` is the model with new arrays in place of all that is free.

    Raises
    ------
    ValueError
        If a path is unknown, used twice or not a parameter; if a prior is discrete, has the wrong
        shape, reaches beyond the parameter's bounds or does not contain the model's value; if a
        link returns a value that its parameter does not allow.
    TypeError
        If an argument is of the wrong kind.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import Model, Posterior, param
    >>> class Line(Model):
    ...     slope: jax.Array = param(unit="m / s")
    >>> posterior = Posterior(Line(2.0), lambda line: -((line.slope - 1) ** 2), {"slope": (0, 9)})
    >>> posterior.names
    ('slope',)
    """

    model: Model
    log_likelihood: Callable[[Any], Array]
    residuals: Callable[[Any], Array] | None
    log_normalization: Callable[[Any], Array] | None
    paths: tuple[tuple[str, ...], ...] = eqx.field(static=True)
    # Tuples, not dictionaries: a PyTree sorts the keys of these, and the order of names matters.
    _priors: tuple[dist.Distribution, ...]
    _links: tuple[Callable[[Any], Any], ...]
    _link_paths: tuple[str, ...] = eqx.field(static=True)

    def __init__(
        self,
        model: Model,
        log_likelihood: Callable[[Any], Array],
        priors: Mapping[str | tuple[str, ...], Any],
        links: Mapping[str, Callable[[Any], Any]] | None = None,
        *,
        residuals: Callable[[Any], Array] | None = None,
        log_normalization: Callable[[Any], Array] | None = None,
    ):
        check_kind("model", model, Model)
        links = as_mapping("links", links)
        functions = {"log_likelihood": log_likelihood, **{f"links[{p!r}]": links[p] for p in links}}
        by_itself = residuals is None and log_normalization is None
        if by_itself:
            residuals, log_normalization = squares_of(log_likelihood, model)
        if residuals is not None:
            functions["residuals"] = residuals
        if log_normalization is not None:
            functions["log_normalization"] = log_normalization
        for name, function in functions.items():
            if not callable(function):
                raise TypeError(f"{name} = {function!r} must be a function of the model.")
        if not isinstance(priors, Mapping) or not priors:
            raise ValueError(
                "priors is empty: name at least one free parameter, as in "
                "priors={'disk.inclination': (60, 89)}."
            )
        self.model = model
        self.log_likelihood = log_likelihood
        self.residuals = residuals
        self.log_normalization = log_normalization
        self.paths = tuple((key,) if isinstance(key, str) else tuple(key) for key in priors)
        self._link_paths = tuple(links)
        self._links = tuple(links.values())
        _check_used_once(self.paths, self._link_paths)
        for path in self._link_paths:
            lookup_parameter(model, path)
        self._priors = tuple(
            as_prior(prior, [lookup_parameter(model, path) for path in tied])
            for tied, prior in zip(self.paths, priors.values(), strict=True)
        )
        for name, prior in self.priors.items():
            check_start(name, self.initial[name], prior)
        if by_itself:
            self.log_likelihood = prepared(log_likelihood, model, self._varied())
            if residuals is not None:
                self.residuals, self.log_normalization = squares_of(self.log_likelihood, model)

    def __check_init__(self):
        # The densities check nothing: a link of the wrong shape shall be found here.
        self.model_at(self.initial)

    @property
    def compiles_quickly(self) -> bool:
        """Whether the model asks for programs that are compiled quickly, see `jit`."""
        return getattr(self.model, "compiles_quickly", False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free parameters: the paths, the first one of each tie."""
        return tuple(tied[0] for tied in self.paths)

    @property
    def priors(self) -> dict[str, dist.Distribution]:
        """The prior of each free parameter."""
        return dict(zip(self.names, self._priors, strict=True))

    @property
    def links(self) -> dict[str, Callable[[Any], Any]]:
        """The function behind each linked path."""
        return dict(zip(self._link_paths, self._links, strict=True))

    @property
    def transform(self) -> dict[str, Transform]:
        """For each free parameter the bijection from real numbers to the support of its prior."""
        return {name: biject_to(prior.support) for name, prior in self.priors.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each free parameter."""
        return {name: prior.event_shape for name, prior in self.priors.items()}

    @property
    def dim(self) -> int:
        """The number of free real numbers, the length of ``u``."""
        return sum(math.prod(shape) for shape in self._unconstrained_shapes())

    @property
    def initial(self) -> dict[str, Array]:
        """The free parameters' values in the model."""
        # A sub-model made before the precision was switched still has the old one.
        dtype = jnp.result_type(float)
        model = self.model
        return {name: jnp.asarray(lookup(model, name).value, dtype) for name in self.names}

    @property
    def labels(self) -> dict[str, str]:
        """Plot label of each free parameter; the path where the parameter has none."""
        nodes = {name: lookup_parameter(self.model, name) for name in self.names}
        return {name: node.info.label or name for name, node in nodes.items()}

    @property
    def units(self) -> dict[str, str]:
        """Unit of each free parameter."""
        return {name: lookup_parameter(self.model, name).info.unit for name in self.names}

    def constrain(self, u: Array) -> dict[str, Array]:
        """Physical values from unconstrained coordinates."""
        parts = self._split(u)
        return {
            name: jnp.asarray(bijection(parts[name])) for name, bijection in self.transform.items()
        }

    def unconstrain(self, values: Mapping[str, Any]) -> Array:
        """Unconstrained coordinates from physical values: the inverse of :meth:`constrain`."""
        values = self._check_names(values)
        parts = [jnp.ravel(b.inv(values[name])) for name, b in self.transform.items()]
        return jnp.concatenate(parts)

    def model_at(self, values: Mapping[str, Any]) -> Model:
        """The model with the free parameters set, ties and links applied, checked as by ``set``."""
        return self._model_at(self._check_names(values), check=True)

    def model_from(self, u: Array) -> Model:
        """The model at unconstrained coordinates ``u`` of shape ``(dim,)``.

        The values are inside their priors by construction and are not checked again: where
        rounding puts one exactly on an open bound, a finished fit still gets its model.
        """
        return self._model_at(self.constrain(u), check=False)

    def log_prior(self, values: Mapping[str, Any]) -> Array:
        """Sum of the log prior densities; minus infinity outside the priors' support."""
        values = self._check_names(values)
        total = jnp.zeros((), jnp.result_type(float))
        for name, prior in self.priors.items():
            total = total + log_density(prior, values[name])
        return total

    def sample_prior(self, key: Array, shape: tuple[int, ...] = ()) -> dict[str, Array]:
        """Independent draws from the priors, each of ``shape`` and the parameter's own shape."""
        keys = jax.random.split(key, len(self.names))
        with lenient():
            return {
                name: jnp.asarray(prior.sample(k, shape))
                for (name, prior), k in zip(self.priors.items(), keys, strict=True)
            }

    def prior_transform(self, cube: Any) -> Array:
        r"""Physical values from a unit cube, for nested samplers.

        .. math:: \theta_k = F_k^{-1}(c_k)

        with the cumulative distributions :math:`F_k` of the priors.

        Parameters
        ----------
        cube
            Numbers between 0 and 1, shape ``(..., size)``: of all the free parameters, one after
            the other.

        Returns
        -------
        Array
            Values in that order, shape ``(..., size)``; :meth:`values_of` names them.

        Raises
        ------
        ValueError
            If a prior has no quantiles in NumPyro, or ``cube`` has another length or leaves 0 to 1.

        Examples
        --------
        With dynesty and others that take functions of vectors::

            def log_likelihood(vector):
                return posterior.log_likelihood_of(posterior.model_at(posterior.values_of(vector)))


            NestedSampler(pytreefit.jit(log_likelihood), posterior.prior_transform, ndim)

        See Skilling (2006, doi:10.1214/06-BA127).
        """
        parts = split_vector("cube", cube, self.shapes)
        for part in parts.values():
            if not is_traced(part) and not bool(jnp.all((part >= 0) & (part <= 1))):
                raise ValueError("cube holds numbers below 0 or above 1: give shares of priors.")
        with lenient():
            found = [quantiles(name, self.priors[name], part) for name, part in parts.items()]
        leading = np.shape(cube)[:-1]
        return jnp.concatenate([x.reshape((*leading, -1)) for x in found], axis=-1)

    def values_of(self, vector: Any) -> dict[str, Array]:
        """Values by name from all of them in one vector, of shape ``(..., size)``."""
        return split_vector("vector", vector, self.shapes)

    def log_likelihood_of(self, model: Model) -> Array:
        """The log likelihood of a model, a scalar; ValueError if the function returns none."""
        value = jnp.asarray(self.log_likelihood(model), jnp.result_type(float))
        if value.shape != ():
            raise ValueError(
                f"log_likelihood returned an array of shape {value.shape} but must return a "
                "scalar: sum it over the data."
            )
        return value

    def rough(self) -> "Posterior":
        """The same posterior, cheaper and less exact, for searches that look at the whole prior.

        Its likelihood is that of ``rough()`` of the likelihood's owner, of the same shape, so that
        nothing is compiled for it; the posterior itself where the owner has no such method, and
        where there are residuals.
        """
        owner = getattr(self.log_likelihood, "__self__", None)
        rough = getattr(owner, "rough", None)
        if not callable(rough) or self.residuals is not None:
            return self
        function = getattr(rough(), self.log_likelihood.__name__)
        return eqx.tree_at(lambda posterior: posterior.log_likelihood, self, function)

    def remark(self, values: Mapping[str, Any]) -> str:
        """What the likelihood's owner says of it at some values, if it has ``remark(model)``.

        A sentence, such as how far an approximation may be off there; empty if all is well.
        """
        says = getattr(getattr(self.log_likelihood, "__self__", None), "remark", None)
        return "" if says is None else says(self._model_at(self._check_names(values), check=False))

    def log_density(self, u: Array) -> Array:
        r"""Log posterior density of the unconstrained coordinates: what a sampler draws from.

        .. math::

            \ln L + \ln p(\theta(u)) + \ln \left| \det \partial\theta / \partial u \right|
        """
        return self.log_density_physical(u) + self.log_volume(u)

    def log_volume(self, u: Array) -> Array:
        r"""Log volume element of the unconstrained coordinates.

        .. math::

            \ln \left| \det \partial\theta / \partial u \right|
        """
        parts = self._split(u)
        total = jnp.zeros((), jnp.result_type(float))
        for name, bijection in self.transform.items():
            log_det = bijection.log_abs_det_jacobian(parts[name], bijection(parts[name]))
            total = total + jnp.sum(log_det)
        return total

    def log_density_physical(self, u: Array) -> Array:
        r"""Log posterior density of the physical values at ``u``: what a fit maximises.

        .. math::

            \ln L + \ln p(\theta(u))

        Without the Jacobian its maximum does not depend on the coordinates, and under uniform
        priors it is the maximum of the likelihood.
        """
        values = self.constrain(u)
        model = self._model_at(values, check=False)
        return self.log_likelihood_of(model) + self.log_prior(values)

    def numpyro_model(self) -> Callable[[], Model]:
        """The same posterior as a NumPyro model, for any of NumPyro's inference algorithms.

        A function without arguments that samples each free parameter under its name, adds the
        likelihood as the factor ``"log_likelihood"`` and returns the model.
        """

        def numpyro_model():
            values = {name: numpyro.sample(name, prior) for name, prior in self.priors.items()}
            model = self._model_at(values, check=False)
            numpyro.factor("log_likelihood", self.log_likelihood_of(model))
            return model

        return numpyro_model

    def _model_at(self, values: Mapping[str, Any], check: bool) -> Model:
        updates = {path: values[tied[0]] for tied in self.paths for path in tied}
        model = replace(self.model, updates, check=check)
        linked = {path: link(model) for path, link in self.links.items()}
        return replace(model, linked, check=check)

    def _varied(self) -> Model:
        """The model with new arrays in place of all that is free or linked."""
        initial = {name: jnp.array(value, copy=True) for name, value in self.initial.items()}
        return self._model_at(initial, check=False)

    def _unconstrained_shapes(self) -> list[tuple[int, ...]]:
        shapes, transforms = self.shapes, self.transform
        return [transforms[name].inverse_shape(shapes[name]) for name in self.names]

    def _split(self, u: Array) -> dict[str, Array]:
        shapes = self._unconstrained_shapes()
        sizes = [math.prod(shape) for shape in shapes]
        if jnp.shape(u) != (sum(sizes),):
            raise ValueError(
                f"u has shape {jnp.shape(u)} but must have shape ({sum(sizes)},): one number for "
                f"each entry of {', '.join(self.names)}."
            )
        parts = jnp.split(u, np.cumsum(sizes)[:-1])
        return {
            name: jnp.reshape(part, shape)
            for name, part, shape in zip(self.names, parts, shapes, strict=True)
        }

    def _check_names(self, values: Mapping[str, Any]) -> dict[str, Array]:
        missing = [name for name in self.names if name not in values]
        extra = [name for name in values if name not in self.names]
        if missing or extra:
            raise ValueError(
                f"values must name the free parameters {', '.join(self.names)}: "
                f"missing are {missing}, unknown are {extra}."
            )
        values = {name: self._converted(name, values[name]) for name in self.names}
        for name, shape in self.shapes.items():
            if values[name].shape != shape:
                raise ValueError(
                    f"The value of {name!r} has shape {values[name].shape} but must have "
                    f"shape {shape}."
                )
        return values

    def _converted(self, name: str, value: Any) -> Array:
        """The value of a free parameter, in its unit."""
        if hasattr(value, "unit") or hasattr(value, "units"):
            return convert_value(lookup_parameter(self.model, name), value, f"values[{name!r}]")
        return jnp.asarray(value, jnp.result_type(float))


def _check_used_once(paths: tuple[tuple[str, ...], ...], links: tuple[str, ...]) -> None:
    seen: set[str] = set()
    for path in [path for tied in paths for path in tied]:
        if path in seen:
            raise ValueError(f"{path!r} has two priors or is tied twice: name it once.")
        seen.add(path)
    both = sorted(seen.intersection(links))
    if both:
        raise ValueError(
            f"{both[0]!r} is both free and linked: remove it from priors or from links."
        )
