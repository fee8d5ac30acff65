"""Minimisers that need one evaluation per step, so that the model is compiled only once."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..numeric import lenient
from ..progress import CHUNK
from .evaluate import Frame, Rowwise, gauss_newton, objective
from .status import Status

# plain integers, for arrays
RUNNING, CONVERGED, STALLED, NOT_FINITE = map(
    int, (Status.UNFINISHED, Status.CONVERGED, Status.STALLED, Status.NOT_FINITE)
)
_ROUNDING = 8.0  # changes of the objective below so many units in its last place mean nothing


def _optax() -> Any:
    """Optax, whose import takes time that most programs would spend for nothing."""
    import optax

    return optax


class Search(eqx.Module):
    """Where a search is: the best point so far and what the method remembers."""

    z: Float[Array, " dim"]
    value: Float[Array, ""]
    gradient: Float[Array, " dim"]
    gain: Float[Array, ""]
    status: Int[Array, ""]
    evaluations: Int[Array, ""]
    memory: Any


def _not_started(z, memory) -> Search:
    infinite, count = jnp.full_like(z[0], jnp.inf), jnp.zeros((), int)
    return Search(z, infinite, jnp.zeros_like(z), infinite, jnp.asarray(RUNNING), count, memory)


def _value_and_gradient(posterior, frame: Frame, z):
    return jax.value_and_grad(lambda z: objective(posterior, frame, z))(z)


def resolution(value):
    """The smallest change of the objective that is more than rounding."""
    return _ROUNDING * jnp.finfo(value.dtype).eps * jnp.maximum(1.0, jnp.abs(value))


def _is_finite(value, gradient):
    return jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))


def _bounded(step, reach):
    """The step, shortened so that no coordinate moves by more than ``reach``."""
    return step * jnp.minimum(1.0, reach / jnp.maximum(jnp.max(jnp.abs(step)), reach))


class LineSearch(NamedTuple):
    """What L-BFGS remembers: its directions, and the bracket of the step along the last one."""

    lbfgs: Any
    direction: Float[Array, " dim"]
    slope: Float[Array, ""]
    step: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]
    trials: Int[Array, ""]


def _along(lbfgs, direction, slope, step) -> LineSearch:
    """The memory before the first trial along a direction."""
    low, high = jnp.zeros_like(step), jnp.full_like(step, jnp.inf)
    return LineSearch(lbfgs, direction, slope, step, low, high, jnp.zeros((), int))


class Damping(NamedTuple):
    """What Levenberg-Marquardt remembers: the next step, and how it is damped."""

    step: Float[Array, " dim"]
    predicted: Float[Array, ""]
    hessian: Float[Array, "dim dim"]
    damping: Float[Array, ""]
    growth: Float[Array, ""]


class Waiting(NamedTuple):
    """What is remembered beside an optax state: the next point, and how long nothing was gained."""

    inner: Any
    next: Float[Array, " dim"]
    waited: Int[Array, ""]
    reference: Float[Array, ""]
    first_norm: Float[Array, ""]


class LBFGS(eqx.Module):
    """L-BFGS directions of optax with a weak Wolfe line search by bisection (Lewis & Overton 2013).

    A step of the search is one evaluation, not one line search: the compiled program has the
    model's gradient once (four times with `optax.lbfgs`), and starts do not wait for another.
    """

    memory_size: int = eqx.field(static=True, default=10)
    reach: float = eqx.field(static=True, default=2.0)
    most_trials: int = eqx.field(static=True, default=30)

    def start(self, z) -> Search:
        # The first step has length zero: it evaluates the start and always succeeds.
        zero = jnp.zeros_like(z[0])
        return _not_started(z, _along(self._directions().init(z), jnp.zeros_like(z), zero, zero))

    def _directions(self):
        return _optax().scale_by_lbfgs(memory_size=self.memory_size)

    def evaluate(self, posterior, frame: Frame, search: Search):
        return _value_and_gradient(posterior, frame, self._trial(search))

    def _trial(self, search: Search):
        return search.z + search.memory.step * search.memory.direction

    def step(self, search: Search, evaluation, tolerance) -> Search:
        old, trial = search.memory, self._trial(search)
        value, gradient = evaluation
        noise = resolution(value)
        evaluations = search.evaluations + 1
        decreases = _is_finite(value, gradient) & (
            value <= search.value + 1e-4 * old.step * old.slope + noise
        )
        flat_enough = gradient @ old.direction >= 0.9 * old.slope

        def accept():
            with lenient():
                along, lbfgs = self._directions().update(gradient, old.lbfgs, trial)
            along = jnp.where(gradient @ along > 0, along, gradient)  # rounding may spoil it
            direction = -_bounded(along, self.reach)
            gain = 0.5 * gradient @ along
            limit = jnp.maximum(tolerance, noise)
            done = (gain < limit) & (search.value - value < limit)
            memory = _along(lbfgs, direction, gradient @ direction, jnp.ones_like(value))
            status = jnp.where(done, CONVERGED, RUNNING)
            return Search(trial, value, gradient, gain, status, evaluations, memory)

        def reject():
            low = jnp.where(decreases, old.step, old.low)
            high = jnp.where(decreases, old.high, old.step)
            # The parabola through value and slope at 0 and the value here, where that helps.
            rise = value - search.value - old.step * old.slope
            parabola = -0.5 * old.slope * old.step**2 / rise
            parabola = jnp.clip(parabola, 0.1 * old.step, 0.5 * old.step)
            middle = jnp.where((low > 0) | ~jnp.isfinite(parabola), 0.5 * (low + high), parabola)
            step = jnp.where(jnp.isfinite(high), middle, 2.0 * low)
            memory = old._replace(low=low, high=high, step=step, trials=old.trials + 1)
            status = jnp.where(memory.trials < self.most_trials, RUNNING, STALLED)
            at = (search.z, search.value, search.gradient, search.gain)
            return Search(*at, status, evaluations, memory)

        return jax.lax.cond(decreases & flat_enough, accept, reject)


class LevenbergMarquardt(eqx.Module):
    r"""Damped Gauss-Newton on the residuals, with the prior's curvature added to that of the data.

    .. math::

        (J^\mathsf{T} J + H_\mathrm{prior} + \lambda D)\,\delta = -\nabla f

    The damping follows Nielsen (1999, IMM-REP-1999-05). No coordinate goes further from the
    prior's middle than where a step back can still be seen: beyond, the edge of a uniform prior
    has no slope.
    """

    middle: Float[Array, " dim"]
    reach: float = eqx.field(static=True, default=1.0)
    farthest: float = eqx.field(static=True, default=6.0)

    def start(self, z) -> Search:
        zero = jnp.zeros_like(z[0])
        memory = Damping(
            step=jnp.zeros_like(z),
            predicted=zero,
            hessian=jnp.diag(jnp.ones_like(z)),
            damping=zero + 1e-3,
            growth=zero + 2.0,
        )
        return _not_started(z, memory)

    def evaluate(self, posterior, frame: Frame, search: Search):
        return gauss_newton(posterior, frame, search.z + search.memory.step)

    def step(self, search: Search, evaluation, tolerance) -> Search:
        old = search.memory
        trial = search.z + old.step
        value, gradient, hessian = evaluation
        noise = resolution(value)
        finite = _is_finite(value, gradient) & jnp.all(jnp.isfinite(hessian))
        first = ~jnp.isfinite(search.value)
        decrease = jnp.where(first, 0.0, search.value - value)
        ratio = jnp.where(first, 1.0, decrease / jnp.maximum(old.predicted, noise))
        # Where rounding hides the change of the objective, not getting worse is good enough.
        same = (old.predicted < noise) & (decrease > -noise)
        accept = finite & (first | same | (ratio > 1e-4))
        eased = old.damping * jnp.maximum(1 / 3, 1.0 - (2.0 * ratio - 1.0) ** 3)
        damping = jnp.where(accept, jnp.where(first, old.damping, eased), 0.0)
        damping = jnp.where(accept, damping, old.damping * old.growth)
        damping = jnp.maximum(damping, 1e-9)
        growth = jnp.where(accept, 2.0, 2.0 * old.growth)

        def pick(new, old):
            return jnp.where(accept, new, old)

        z, value = pick(trial, search.z), pick(value, search.value)
        gradient, hessian = pick(gradient, search.gradient), pick(hessian, old.hessian)
        low = jnp.minimum(self.middle, 0.0) - self.farthest
        high = jnp.maximum(self.middle, 0.0) + self.farthest
        stays = ((z <= low) & (gradient > 0)) | ((z >= high) & (gradient < 0))
        newton = -_solve(*_without(stays, hessian, gradient), 0.0)
        gain = -0.5 * gradient @ newton
        step = -_solve(*_without(stays, hessian, gradient), damping)
        # Each coordinate by itself: one near an edge has far to go and shall not stop the others.
        step = jnp.clip(z + jnp.clip(step, -self.reach, self.reach), low, high) - z
        predicted = -gradient @ step - 0.5 * step @ hessian @ step
        limit = jnp.maximum(tolerance, noise)
        done = accept & ~first & (gain < limit) & (decrease < limit)
        stuck = ~accept & (damping > 1e12)
        status = jnp.where(done, CONVERGED, jnp.where(stuck, STALLED, RUNNING))
        memory = Damping(
            step=step, predicted=predicted, hessian=hessian, damping=damping, growth=growth
        )
        return Search(z, value, gradient, gain, status, search.evaluations + 1, memory)


def _without(stays, hessian, gradient):
    """The same problem where some coordinates stay as they are."""
    kept = ~stays[:, None] & ~stays[None, :]
    one = jnp.eye(len(gradient), dtype=hessian.dtype)
    return jnp.where(kept, hessian, one), jnp.where(stays, 0.0, gradient)


def _solve(hessian, gradient, damping):
    """``(H + damping D)^-1 g`` with D the diagonal of H, in coordinates where that is one."""
    diagonal = jnp.diag(hessian)
    # A coordinate the objective does not depend on gets the prior's natural scale, one.
    width = jnp.where(diagonal > 0, jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1.0)), 1.0)
    scaled = hessian * width[:, None] * width[None, :]
    floor = 10.0 * jnp.finfo(hessian.dtype).eps
    ridge = (damping + floor) * jnp.eye(len(gradient), dtype=hessian.dtype)
    factor = jax.scipy.linalg.cho_factor(scaled + ridge)
    return width * jax.scipy.linalg.cho_solve(factor, width * gradient)


class Optax(eqx.Module):
    """Any optax transformation; it has converged when the best value has long stayed the same."""

    transformation: Any
    patience: int = eqx.field(static=True, default=50)

    def start(self, z) -> Search:
        infinite = jnp.full_like(z[0], jnp.inf)
        memory = Waiting(
            inner=self.transformation.init(z),
            next=z,
            waited=jnp.zeros((), int),
            reference=infinite,
            first_norm=infinite,
        )
        return _not_started(z, memory)

    def evaluate(self, posterior, frame: Frame, search: Search):
        memory = search.memory
        if _linesearch_steps(memory.inner) is not None:
            return _evaluate_with_line_search(posterior, frame, memory, self.transformation)
        return _value_and_gradient(posterior, frame, memory.next)

    def step(self, search: Search, evaluation, tolerance) -> Search:
        old = search.memory
        value, gradient, *done = evaluation
        updates, inner = done or self._update(gradient, old, value)
        trials = _linesearch_steps(inner)
        finite = _is_finite(value, gradient)
        better = finite & (value < search.value)
        limit = jnp.maximum(tolerance, resolution(value))
        improved = finite & ~(value > old.reference - limit)
        waited = jnp.where(improved, 0, old.waited + 1)
        norm = jnp.linalg.norm(gradient)
        first_norm = jnp.where(jnp.isfinite(old.first_norm), old.first_norm, norm)
        best_gradient = jnp.where(better, gradient, search.gradient)
        small = jnp.linalg.norm(best_gradient) <= 1e-2 * jnp.maximum(first_norm, 1.0)
        stopped = waited >= self.patience
        status = jnp.where(stopped, jnp.where(small, CONVERGED, STALLED), RUNNING)
        memory = Waiting(
            inner=inner,
            next=_optax().apply_updates(old.next, updates),
            waited=waited,
            reference=jnp.where(improved, value, old.reference),
            first_norm=first_norm,
        )
        return Search(
            z=jnp.where(better, old.next, search.z),
            value=jnp.where(better, value, search.value),
            gradient=best_gradient,
            gain=jnp.full_like(value, math.nan),
            status=jnp.where(finite, status, NOT_FINITE),
            evaluations=search.evaluations + 1 + (0 if trials is None else trials),
            memory=memory,
        )

    def _update(self, gradient, memory, value):
        transformation = _optax().with_extra_args_support(self.transformation)
        with lenient():
            return transformation.update(
                gradient, memory.inner, memory.next, value=value, grad=gradient
            )


def _linesearch_steps(state):
    return _optax().tree.get(state, "num_linesearch_steps")


def _evaluate_with_line_search(posterior, frame: Frame, memory, transformation):
    def function(z):
        return objective(posterior, frame, z)

    state, z = memory.inner, memory.next
    if _optax().tree.get(state, "grad") is None:
        value, gradient = jax.value_and_grad(function)(z)
    else:  # the line search has already evaluated this point
        value, gradient = _optax().value_and_grad_from_state(function)(z, state=state)
    with lenient():
        updates, state = transformation.update(
            gradient, state, z, value=value, grad=gradient, value_fn=function
        )
    return value, gradient, updates, state


def _advance(posterior, frame: Frame, search: Search, method, tolerance, steps):
    """Some steps of one search, fewer where it ends; the values after them and their number."""

    def more(carry):
        done, search, _ = carry
        return (done < steps) & (search.status == RUNNING)

    def step(carry):
        done, search, history = carry
        evaluation = method.evaluate(posterior, frame, search)
        search = method.step(search, evaluation, tolerance)
        return done + 1, search, history.at[done].set(search.value)

    history = jnp.zeros(CHUNK, search.z.dtype)
    done, search, history = jax.lax.while_loop(more, step, (jnp.zeros((), int), search, history))
    return search, jnp.where(jnp.arange(CHUNK) < done, history, search.value), done


_searches = Rowwise(_advance)


def advance(posterior, frame: Frame, searches: Search, method, tolerance, steps: int):
    """Some steps of every running search, one per start, stacked: at most `CHUNK`.

    Returned are the searches after these steps, the values after each of them, shape (starts,
    CHUNK), and how many steps each search made, shape (starts,). Gains below the tolerance are not
    worth a step.
    """
    return _searches.all(posterior, frame, searches, method, tolerance, jnp.asarray(steps))


def _first_step(posterior, frame: Frame, search: Search, method) -> Search:
    """The evaluation with which a fit begins, by the same program."""
    zero = jnp.zeros((), search.z.dtype)
    run = _searches.one if search.z.ndim == 1 else _searches.all
    return run(posterior, frame, search, method, zero, jnp.asarray(1))[0]


def value_and_gradient(posterior, frame: Frame, z):
    """The objective and its gradient at z, shape ``(dim,)`` or one row per point.

    Infinity where they are not finite.
    """
    method = LBFGS()
    start = method.start(z) if z.ndim == 1 else jax.vmap(method.start)(z)
    search = _first_step(posterior, frame, start, method)
    return search.value, search.gradient


def least_squares(posterior, frame: Frame, z):
    """Half the sum of squared residuals plus the prior's part, at a point of shape ``(dim,)``.

    Value, gradient, and the Gauss-Newton Hessian with the convex part of the prior's: NaN where
    these are not finite.
    """
    method = LevenbergMarquardt(jnp.zeros_like(z))
    search = _first_step(posterior, frame, method.start(z), method)
    known = jnp.isfinite(search.value)
    return search.value, search.gradient, jnp.where(known, search.memory.hessian, jnp.nan)


def density_at(posterior, u) -> float:
    """The log posterior density of the physical values at u, by a program that fits compile too."""
    return -float(value_and_gradient(posterior, Frame(u, jnp.ones_like(u)), jnp.zeros_like(u))[0])
