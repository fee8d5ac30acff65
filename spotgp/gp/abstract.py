"""What the Gaussian processes of a star have in common: likelihood, posterior, values."""

import abc
import time as clock
import warnings
from collections.abc import Mapping
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pytreefit import Model, Posterior, jit
from pytreefit.extend import is_traced

from ..solvers import AbstractSolver
from .leave_one_out import LeaveOneOut, leave_one_out
from .prediction import first_of, offsets
from .priors import short_names


class AbstractGP(eqx.Module):
    """The Gaussian process of a star, ready to evaluate, fit and sample.

    Everything is conditional on the model's parameters; which of them are free, and their priors,
    are in `posterior`, which `pytreefit.fit` and `pytreefit.sample` take.
    """

    data: eqx.AbstractVar[Any]
    posterior: eqx.AbstractVar[Posterior]
    tolerance: eqx.AbstractVar[float]

    @property
    def solver(self) -> AbstractSolver:
        """What evaluates the likelihood."""
        return self.posterior.log_likelihood.__self__  # pyright: ignore[reportFunctionMemberAccess]

    @property
    def process(self) -> Any:
        """Star, mean, terms and white noise at the parameters that it was made with."""
        return self.posterior.model  # pyright: ignore[reportReturnType]

    @property
    def param_keys(self) -> tuple[str, ...]:
        """Short names of the free parameters, in the order of parameter vectors."""
        return tuple(short_names(self.posterior.names))

    def values(self, theta=None) -> dict[str, Array]:
        """Values of the free parameters by path.

        Parameters
        ----------
        theta
            None for those of the model, a vector in the order of `param_keys`, or a mapping from
            names or paths (what it leaves out stays as in the model).

        Raises
        ------
        ValueError, TypeError
            If a name is none of a free parameter, the shape is another one, or it is a model.
        """
        posterior = self.posterior
        if theta is None:
            return posterior.initial
        if isinstance(theta, Model):
            raise TypeError(
                f"theta is a {type(theta).__name__}, but must be values of the free parameters: "
                "for a Posterior or a Joint, pass solver.log_likelihood, that of a model."
            )
        if isinstance(theta, Mapping):
            paths = dict(zip(self.param_keys, posterior.names, strict=True))
            given = {paths.get(name, name): value for name, value in theta.items()}
            unknown = [name for name in given if name not in posterior.names]
            if unknown:
                raise ValueError(
                    f"{unknown[0]!r} is not a free parameter; these are: "
                    f"{', '.join(self.param_keys)}."
                )
            return {
                name: jnp.asarray(given.get(name, start), start.dtype)
                for name, start in posterior.initial.items()
            }
        theta = jnp.asarray(theta, jnp.result_type(float))
        if theta.shape != (len(posterior.names),):
            raise ValueError(
                f"theta has shape {theta.shape}, but there are {len(posterior.names)} free "
                f"parameters: {', '.join(self.param_keys)}."
            )
        return dict(zip(posterior.names, theta, strict=True))

    def process_at(self, theta=None) -> Any:
        """The `Process` with other values of the free parameters, see `values`."""
        return self.posterior.model_at(self.values(theta))

    def at(self, theta) -> Self:
        """The same process with other values of the free parameters, from which it then starts.

        The solver stays as it was made, see `remade_at`.
        """
        return eqx.tree_at(lambda gp: gp.posterior.model, self, self.process_at(theta))

    def remade_at(self, theta) -> Self:
        """The same with other values of the free parameters, and its solver made for these."""
        process = self.process_at(theta)
        free = zip(self.posterior.paths, self.posterior.priors.values(), strict=True)
        priors = {path: prior for tied, prior in free for path in tied}
        solver = type(self.solver).prepare(self.data, process, priors, self.tolerance)
        return self.with_solver(solver).at(theta)

    def with_solver(self, solver: AbstractSolver) -> Self:
        """The same with another prepared solver of the same data."""
        return eqx.tree_at(lambda gp: gp.posterior.log_likelihood, self, solver.log_likelihood)

    def log_likelihood(self, theta=None) -> Float[Array, ""]:
        """Logarithm of the likelihood, free columns integrated out; see `values` for ``theta``.

        Raises
        ------
        ValueError
            If the covariance is not positive definite to rounding.
        """
        value = _log_likelihood(self.posterior, self.values(theta))
        if is_traced(value):
            return value
        if not np.isfinite(value):
            raise ValueError(self._explain(self.process_at(theta)))
        if remark := self.solver.remark(self.process_at(theta)):
            warnings.warn(remark, stacklevel=2)
        return value

    def likelihood_error(self, theta=None) -> Float[Array, ""]:
        """Estimate of the error of `log_likelihood`.

        That of the kernel's table, and for approximate solvers the mean plus at least three
        standard deviations of theirs, for data that are a draw of the process. Between parameter
        values that are near to each other much of it is common.
        """
        return self.solver.error(self.process_at(theta))

    def log_posterior(self, theta=None) -> Float[Array, ""]:
        """Logarithm of likelihood times prior density of the physical parameters."""
        return _log_posterior(self.posterior, self.values(theta))

    def neg_log_posterior(self, theta=None) -> Float[Array, ""]:
        """Minus `log_posterior`, for minimisers."""
        return -self.log_posterior(theta)

    def grad_log_posterior(self, theta=None) -> Float[Array, "p"]:
        """Gradient of `log_posterior` in the order of `param_keys`."""
        return self.value_and_grad_log_posterior(theta)[1]

    def grad_neg_log_posterior(self, theta=None) -> Float[Array, "p"]:
        """Minus `grad_log_posterior`."""
        return -self.grad_log_posterior(theta)

    def value_and_grad_log_posterior(self, theta=None):
        """`log_posterior` and `grad_log_posterior` at the cost of the latter."""
        value, gradient = _value_and_gradient(self.posterior, self.values(theta))
        return value, jnp.stack([gradient[name] for name in self.posterior.names])

    def build_jax(self) -> Self:
        """Compile the log posterior and its gradient now; says how long it took, returns itself."""
        began = clock.perf_counter()
        jax.block_until_ready((self.log_posterior(), self.grad_log_posterior()))
        print(f"JAX log posterior compiled in {clock.perf_counter() - began:.2f}s")
        return self

    def leave_one_out(self, theta=None) -> LeaveOneOut:
        r"""Each point predicted from all the others, free columns integrated out.

        .. math::
            \mu_i = y_i - \frac{[P (y - m)]_i}{P_{ii}}, \qquad \sigma_i^2 = \frac{1}{P_{ii}}

        with :math:`P = K^{-1} - K^{-1} H (H^T K^{-1} H)^{-1} H^T K^{-1}`, at about the cost of a
        gradient with the exact solvers, and of a prediction at all points with the others. The
        points are in the order of `data`; for ``theta`` see `values`, for the result `LeaveOneOut`.

        Raises
        ------
        ValueError
            If the covariance is not positive definite to rounding, or beyond the solver's reach.

        Notes
        -----
        Sundararajan & Keerthi (2001, Neural Computation 13, 1103); Rasmussen & Williams (2006),
        equations 5.10 to 5.12; with free columns the limit of a wide prior of their amplitudes.
        """
        process = self.process_at(theta)
        found = leave_one_out(self.solver, process)
        if not is_traced(found.variance) and np.isnan(found.variance).any():
            raise ValueError(self._explain(process))
        return LeaveOneOut(*first_of(self.data.time.size, *found))

    def offset_estimates(self, theta=None) -> tuple[Float[Array, "c"], Float[Array, "c c"]]:
        """Mean and covariance of the free columns' amplitudes, given the data."""
        amplitudes, normal = offsets(self.solver, self.process_at(theta))
        return amplitudes, jnp.linalg.inv(normal)

    def __repr__(self) -> str:
        """Number of points, the solver and the free parameters."""
        return (
            f"{type(self).__name__}({self.data.time.size} points, {self.solver!r}, "
            f"free: {', '.join(self.param_keys)})"
        )

    @abc.abstractmethod
    def _explain(self, process) -> str:
        """A sentence on why the likelihood is not finite."""


@jit
def _log_likelihood(posterior, values):
    return posterior.log_likelihood_of(posterior.model_at(values))


def density(values, posterior):
    """Logarithm of likelihood times prior density of the physical parameters."""
    return posterior.log_likelihood_of(posterior.model_at(values)) + posterior.log_prior(values)


@jit
def _log_posterior(posterior, values):
    return density(values, posterior)


@jit
def _value_and_gradient(posterior, values):
    return jax.value_and_grad(density)(values, posterior)
