"""Fits: the most probable parameters, with a plain word on whether they were found."""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arrays import as_number, as_whole_number, check_kind
from ..model import lookup_parameter
from ..posterior import Posterior
from ..prior import strictly_inside, support_limits
from ..progress import Pace, Reporter, duration
from ..space import coordinate_names, natural_range, prior_draws, prior_only
from ..table import Table
from .curvature import combination
from .evaluate import Frame
from .judge import Verdict, judge, near_edge, slopes_of_values
from .minimisers import (
    LBFGS,
    RUNNING,
    LevenbergMarquardt,
    Optax,
    Search,
    advance,
    resolution,
    value_and_gradient,
)
from .start import refuse_start, start_coordinates
from .status import Status

if TYPE_CHECKING:
    import optax

_AGREEMENT = 0.1  # log densities closer than this are the same optimum


class Fit(eqx.Module):
    """The result of :func:`fit`.

    Parameters
    ----------
    model
        The model at the best values.
    names
        Names of the free parameters.
    values
        The best value of each free parameter.
    u
        The same in unconstrained coordinates, shape ``(dim,)``.
    log_density
        Log likelihood plus log prior there, scalar.
    history
        Log density of the best point so far, after each step of the best start, shape ``(steps,)``.
    starts
        Final log density of every start, shape ``(starts,)``; minus infinity where a start failed.
    status
        Why the fit ended, a :class:`Status`.
    message
        The same in words, with numbers.
    at_edge
        Names of the parameters that ran to the edge of their prior.
    at_bound
        Those of them whose edge is the bound of the parameter itself, such as an eccentricity of 0,
        or where it is mirrored: a result and no failure, unlike an edge that the prior chose.
    steps
        Number of steps done.
    evaluations
        Number of evaluations of the log density (with its derivatives), all starts together.

    Examples
    --------
    >>> import jax
    >>> from pytreefit import Model, Posterior, fit, param
    >>> class Line(Model):
    ...     slope: jax.Array = param(unit="m / s")
    >>> posterior = Posterior(Line(2.0), lambda line: -((line.slope - 1) ** 2), {"slope": (0, 9)})
    >>> best = fit(posterior, progress=False)
    >>> round(float(best.model.slope), 2), best.converged
    (1.0, True)
    """

    model: Any
    names: tuple[str, ...] = eqx.field(static=True)
    values: dict[str, Array]
    u: Float[Array, " dim"]
    log_density: Float[Array, ""]
    history: Float[Array, " steps"]
    starts: Float[Array, " starts"]
    status: Status = eqx.field(static=True)
    message: str = eqx.field(static=True)
    at_edge: tuple[str, ...] = eqx.field(static=True)
    at_bound: tuple[str, ...] = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    evaluations: int = eqx.field(static=True)

    @property
    def converged(self) -> bool:
        """Whether this is a maximum to within the tolerance."""
        return self.status is Status.CONVERGED

    @property
    def agreeing(self) -> int:
        """How many starts ended within 0.1 of the best log density."""
        return int(np.sum(np.asarray(self.starts) > float(self.log_density) - _AGREEMENT))

    def summary(self) -> Table:
        """The table of best values: parameter, value, unit; of those ``at_bound`` the bound."""
        rows = []
        for name in self.names:
            value = self.values[name]
            info = lookup_parameter(self.model, name).info
            for index in np.ndindex(value.shape):
                entry = name + (f"[{', '.join(map(str, index))}]" if index else "")
                best = f"{float(value[index]):.6g}"
                if entry in self.at_bound:
                    best = f"{_nearest_end(info, float(value[index])):g} (bound)"
                rows.append((entry, best, info.unit))
        return Table(("parameter", "value", "unit"), rows)

    def __repr__(self):
        return f"{self.message}\n{self.summary()!r}"


def fit(
    posterior: Posterior,
    optimizer: "str | optax.GradientTransformation | None" = None,
    *,
    steps: int = 500,
    start: Any = None,
    starts: int = 1,
    key: Array | None = None,
    tolerance: float = 1e-5,
    polish: bool = True,
    progress: bool | Callable[[str], object] = True,
) -> Fit:
    r"""Find the most probable values, :math:`\arg\max_\theta \ln L(\theta) + \ln p(\theta)`.

    Under uniform priors this is the maximum of the likelihood. The search in unconstrained
    coordinates ends where a Newton step gains nothing. Ctrl-C returns the best so far.

    Parameters
    ----------
    posterior
        What to maximise.
    optimizer
        None is Levenberg-Marquardt (Moré 1978, doi:10.1007/BFb0067700) where the posterior knows
        its residuals and normalisation, L-BFGS (Liu & Nocedal 1989, doi:10.1007/BF01589116)
        otherwise. ``"levenberg-marquardt"`` needs residuals only. Or any optax transformation, such
        as ``optax.adam(3e-2)``, with learning rates in units of the prior's width.
    steps
        Most steps (evaluations per start).
    start
        A dictionary of values (the model's for those not named), or an earlier :class:`Fit`; None
        starts at the model's values.
    starts, key
        Number of starts: the first as above, the others drawn from the prior, or around ``start``
        if it is given. They need a random key.
    tolerance
        Gain in log density that is not worth a further step.
    polish
        Whether to judge the end of the best search by the curvature there (of residuals, or up to
        30 parameters by two gradients for each) and to go on. False is for one of many starts.
    progress
        True writes lines to standard error, False nothing; a function gets each line.

    Raises
    ------
    ValueError, TypeError
        For an argument of the wrong kind or out of range, or a start of no finite log density.

    See Also
    --------
    Fit : the result, with an example.
    """
    check_kind("posterior", posterior, Posterior)
    steps, starts = as_whole_number("steps", steps, 1), as_whole_number("starts", starts, 1)
    if not as_number("tolerance", tolerance) > 0:
        raise ValueError(f"tolerance = {tolerance} must be positive.")
    check_kind("polish", polish, bool)
    frame, middle = _frame(posterior, start)
    method = _method(posterior, optimizer, middle)
    points = _starting_points(posterior, frame, starts, key, around=start is not None)
    return _search(posterior, frame, method, points, (steps, tolerance, polish), Reporter(progress))


def _frame(posterior: Posterior, start) -> tuple[Frame, Array]:
    """Coordinates about the start in widths of the prior, and the prior's middle in them."""
    offset, (middle, scale) = start_coordinates(posterior, start), natural_range(posterior)
    return Frame(offset, scale), (middle - offset) / scale


def _search(posterior, frame: Frame, method, points, limits, tell) -> Fit:
    """All searches, in chunks of steps until they end or are interrupted."""
    steps, tolerance, polish = limits
    searches = jax.vmap(method.start)(points)
    limit = jnp.asarray(tolerance, points.dtype)
    history: list[np.ndarray] = []
    pace = Pace()
    interrupted, began = False, time.perf_counter()
    try:
        while len(history) < steps and np.any(np.asarray(searches.status) == RUNNING):
            count = pace.begin(steps - len(history))
            searches, values, made = advance(posterior, frame, searches, method, limit, count)
            pace.end()
            if not history and not np.isfinite(searches.value[0]):
                refuse_start(posterior, frame.offset)
            history.extend(np.asarray(values).T[: int(np.max(made))])
            tell(_line(searches, len(history), time.perf_counter() - began))
    except KeyboardInterrupt:
        interrupted = True
    verdict = Verdict(searches, interrupted=interrupted)
    if polish and not interrupted:
        verdict = judge(posterior, frame, method, searches, steps, tolerance)
    result = _result(posterior, frame, method, verdict, history, tolerance)
    tell(f"fit: {result.message}", final=True)
    return result


def _method(posterior, optimizer, middle):
    if optimizer is None and posterior.log_normalization is None:
        return LBFGS()
    if optimizer is None:
        return LevenbergMarquardt(middle)
    if isinstance(optimizer, str) and optimizer == "levenberg-marquardt":
        if posterior.residuals is None:
            raise ValueError(
                "optimizer = 'levenberg-marquardt' needs residuals: pass "
                "Posterior(..., residuals=...), a function of the model that returns a vector r "
                "with log L = -sum(r**2) / 2, or use the default optimizer."
            )
        return LevenbergMarquardt(middle)
    if hasattr(optimizer, "init") and hasattr(optimizer, "update"):
        return Optax(optimizer)
    raise TypeError(
        f"optimizer = {optimizer!r} must be None (L-BFGS), 'levenberg-marquardt' or an optax "
        "transformation such as optax.adam(3e-2)."
    )


def _starting_points(posterior, frame: Frame, starts: int, key, around: bool):
    first = jnp.zeros((1, posterior.dim), frame.offset.dtype)
    if starts == 1:
        return first
    if key is None:
        raise ValueError(f"starts = {starts} needs a key: pass key=jax.random.key(0).")
    if around:
        others = 0.5 * jax.random.normal(key, (starts - 1, posterior.dim), first.dtype)
    else:
        try:
            draws = prior_draws(prior_only(posterior), jax.random.split(key, starts - 1))
        except NotImplementedError as error:
            raise ValueError(
                "starts > 1 draws from the priors, but one of them cannot be drawn from: give "
                "start=, then the starts are scattered around it."
            ) from error
        others = (draws - frame.offset[None]) / frame.scale[None]
    return jnp.concatenate([first, others])


def _line(searches: Search, done: int, seconds: float) -> str:
    best = int(np.argmin(searches.value))
    gain = float(searches.gain[best])
    expected = f", expected gain {gain:.2g}" if np.isfinite(gain) else ""
    density = f"{-searches.value[best]:.8g}"
    return f"fit: step {done}, log density {density}{expected}, {duration(seconds)}"


def _result(posterior, frame, method, verdict: Verdict, history, tolerance) -> Fit:
    searches = verdict.searches
    best = int(np.argmin(searches.value))
    for value in verdict.values:
        history.append(history[-1].copy())
        history[-1][best] = value
    done = len(history)
    u = frame.offset + frame.scale * searches.z[best]
    history = np.reshape(history, (done, len(searches.value)))
    shift = 0.0
    if isinstance(method, LevenbergMarquardt) and done:
        shift = _shift_of_residuals(posterior, frame, searches, history, u, best)
    final = np.asarray(searches.value)
    edge = _at_edge(posterior, frame, searches.z[best]) if np.isfinite(final[best]) else ()
    values, model = _start_again(posterior, u)
    bound = tuple(name for name in edge if _at_own_bound(posterior, name, values))
    chosen = tuple(name for name in edge if name not in bound)
    status, message = _said(verdict, best, done, chosen, tolerance)
    if status is Status.CONVERGED:
        message += _about_open(verdict.open, coordinate_names(posterior), edge)
    if bound:
        message += f" At the bound of what is possible: {', '.join(bound)}."
    dtype = searches.value.dtype
    if len(final) > 1:
        agreeing = int(np.sum(final < final[best] + _AGREEMENT))
        message += f" {agreeing} of {len(final)} starts agree within {_AGREEMENT}."
    if np.isfinite(final[best]):
        message = f"{message} {posterior.remark(values)}".rstrip()
    return Fit(
        model=model,
        names=posterior.names,
        values=values,
        u=u,
        log_density=jnp.asarray(shift - final[best], dtype),
        history=jnp.asarray(shift - history[:, best], dtype),
        starts=jnp.asarray(shift - final, dtype),
        status=status,
        message=message,
        at_edge=edge,
        at_bound=bound,
        steps=done,
        evaluations=int(np.sum(searches.evaluations)),
    )


def _start_again(posterior, u):
    """Values and model at ``u``, moved by a rounding where a fit could not start from them."""
    at_u = posterior.constrain(u)
    values = {name: strictly_inside(x, posterior.priors[name]) for name, x in at_u.items()}
    if all(np.array_equal(values[name], x, equal_nan=True) for name, x in at_u.items()):
        return values, posterior.model_from(u)
    return values, posterior._model_at(values, check=False)


def _about_open(directions, names, edge) -> str:
    """A sentence on the directions along which nothing changes, those at an edge apart."""
    inside = [axis for axis in directions if names[int(np.argmax(np.abs(axis)))] not in edge]
    if not inside:
        return ""
    along = " and ".join(combination(axis, names) for axis in inside)
    return f" The log density hardly changes along {along}."


def _shift_of_residuals(posterior, frame, searches, history, u, best) -> float:
    """Log density plus the least-squares objective: must be the same constant everywhere."""
    first, last = (_log_density(posterior, frame, z) for z in (0.0 * u, searches.z[best]))
    if not np.isfinite(first):
        refuse_start(posterior, frame.offset)
    change = last - first
    squares = float(history[0, 0] - searches.value[best])
    rounding = 100 * float(jnp.finfo(u.dtype).eps) * max(abs(first), abs(last), 1.0)
    if abs(change - squares) > 1e-3 * max(1.0, abs(change)) + rounding:
        raise ValueError(
            f"From the start to the end of the fit the log density changed by {change:.6g} but "
            f"-sum(residuals**2) / 2 plus the log prior by {squares:.6g}: the posterior's "
            "residuals do not belong to its log_likelihood. Fix parameters of the noise (such as "
            "its scale), correct the residuals or use another optimizer."
        )
    return last + float(searches.value[best])


def _log_density(posterior, frame: Frame, z) -> float:
    return -float(value_and_gradient(posterior, frame, z)[0])


def _said(verdict: Verdict, best, done, edge, tolerance) -> tuple[Status, str]:
    """Why the best search ended, and what to say about it."""
    searches = verdict.searches
    status, gain = Status(int(searches.status[best])), float(searches.gain[best])
    known = np.isfinite(gain)
    expected = f"; a gain of {gain:.2g} in log density is still expected" if known else ""
    if verdict.interrupted:
        return Status.INTERRUPTED, f"Interrupted after {done} steps{expected}."
    if edge:
        plural = "s are" if len(edge) > 1 else " is"
        return Status.AT_EDGE, (
            f"{', '.join(edge)}: the parameter{plural} at the edge of the prior, there is no "
            "maximum inside. Widen the prior, or fix the value."
        )
    if status is Status.FLAT:
        return status, (
            "Not converged: the log density hardly changes along any parameter here, so that "
            "nothing shows the way to its maximum. Start elsewhere."
        )
    if status is Status.STALLED and not known:
        return Status.FLAT, (
            "Not converged: the log density stays the same but its gradient, of norm "
            f"{float(jnp.linalg.norm(searches.gradient[best])):.2g}, is not small. Try another "
            "learning rate, or the default optimizer."
        )
    precision, made = float(resolution(searches.value[best])), int(searches.evaluations[best])
    spent = f"{made} evaluations" if verdict.values else f"{done} steps"
    limit = f" to the precision of the log density, {precision:.2g}"
    return status, {
        Status.CONVERGED: f"Converged after {done} steps{limit if precision > tolerance else ''}.",
        Status.UNFINISHED: f"Not converged: stopped at the limit of {spent}{expected}.",
        Status.STALLED: f"Stopped after {done} steps: none comes closer to the maximum{expected}.",
        Status.NOT_FINITE: f"Not converged: the log density is not finite after {done} steps.",
    }[status]


def _at_edge(posterior, frame: Frame, z) -> tuple[str, ...]:
    """Parameters whose log density would not fall if they went on to the edge of their prior."""
    u = frame.offset + frame.scale * z
    near = near_edge(posterior, frame.offset, u)
    if not near.any():
        return ()
    here = slopes_of_values(posterior, u)
    density = _log_density(posterior, frame, z)
    slack = 1e-3 + 100 * float(jnp.finfo(u.dtype).eps) * abs(density)
    found = []
    for index in np.flatnonzero(near):
        unit = jnp.zeros_like(u).at[index].set(1.0)
        beyond = slopes_of_values(posterior, u + unit)[index]
        outwards = unit if beyond < here[index] else -unit
        if _log_density(posterior, frame, z + 4.0 * outwards / frame.scale) > density - slack:
            found.append(coordinate_names(posterior)[index])
    return tuple(found)


def _nearest_end(info, value: float) -> float:
    return min(info.ends, key=lambda end: abs(end - value))


def _at_own_bound(posterior, coordinate: str, values) -> bool:
    """Whether the edge of the prior that a parameter ran to is an end of the parameter itself."""
    name, index = coordinate, ()
    if name not in values:
        name, _, entry = coordinate.rpartition("[")
        index = tuple(int(k) for k in entry[:-1].split(","))
    shape = np.shape(values[name])
    low, high = (np.broadcast_to(x, shape)[index] for x in support_limits(posterior.priors[name]))
    value = np.asarray(values[name])[index]
    limit = float(low if value - low < high - value else high)
    info = lookup_parameter(posterior.model, name).info
    near = info.mirror is not None and math.isclose(limit, info.mirror, rel_tol=1e-3)
    return near or any(math.isclose(limit, end, rel_tol=1e-6) for end in info.ends)
