"""Whether a search that ended is at a maximum, and the last steps if it is not."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._jit import jit
from ..space import flat_values, prior_only
from .curvature import Curvature, differences, of_residuals
from .evaluate import Frame
from .minimisers import (
    CONVERGED,
    STALLED,
    LevenbergMarquardt,
    Search,
    least_squares,
    value_and_gradient,
)
from .newton import Climb, Place, moved
from .status import Status

_ENOUGH = 3e-4  # a gain in log density that leaves a maximum one
_MOST_DIFFERENCES = 30  # parameters up to which second derivatives by differences are cheap


class Verdict(NamedTuple):
    """The searches with the best of them judged, and how that went."""

    searches: Search
    values: tuple[float, ...] = ()  # of the objective, after each step
    open: tuple[np.ndarray, ...] = ()  # directions along which nothing changes
    interrupted: bool = False


def judge(posterior, frame: Frame, method, searches: Search, steps: int, tolerance) -> Verdict:
    """Judge the best search by the gain of a Newton step, and go on until that is small.

    The curvature is the Fisher matrix of a fit of least squares, else differences of the gradient,
    for few parameters: of many a search is taken at its word. At most ``steps`` evaluations are
    made of the best search in all, beside those of the first judgement.
    """
    best = int(np.argmin(searches.value))
    status = int(searches.status[best])
    squares = isinstance(method, LevenbergMarquardt)
    known = status == CONVERGED or (status == STALLED and np.isfinite(searches.gain[best]))
    if not known or not (squares or len(frame.offset) <= _MOST_DIFFERENCES):
        return Verdict(searches)
    calls = Calls(posterior, squares)
    here = Frame(frame.offset + frame.scale * searches.z[best], frame.scale)
    hessian = np.array(searches.memory.hessian[best], float) if squares else None
    gradient = np.array(searches.gradient[best], float)
    place = Place(here, float(searches.value[best]), gradient, hessian)
    enough = max(float(tolerance), _ENOUGH)

    def edge(here):
        return near_edge(posterior, frame.offset, here.offset)

    moves = moved, calls.straight
    climb = Climb(calls.evaluate, calls.curvature, place, enough, moves, edge)
    interrupted = False
    try:
        climb.run(lambda: calls.made + int(searches.evaluations[best]) < steps)
    except KeyboardInterrupt:
        interrupted = True
    searches = _replaced(searches, best, frame, climb, calls)
    return Verdict(searches, tuple(climb.values), tuple(climb.open), interrupted)


def slopes_of_values(posterior, u) -> np.ndarray:
    """How fast the physical values change along each unconstrained coordinate, at most."""
    return np.asarray(_slopes_of_values(prior_only(posterior), u))


@jit
def _slopes_of_values(prior, u):
    return jnp.max(jnp.abs(jax.jacfwd(lambda u: flat_values(prior, u))(u)), axis=0)


def near_edge(posterior, start, u) -> np.ndarray:
    """Which coordinates are so near to where their prior ends that they hardly change anything."""
    inside = (slopes_of_values(posterior, v) for v in (start, jnp.zeros_like(u)))
    return slopes_of_values(posterior, u) < 0.02 * np.maximum(*inside)


def _replaced(searches: Search, best: int, frame: Frame, climb: Climb, calls: "Calls") -> Search:
    """The searches, the best of them where the climb ended."""
    place = climb.place

    def put(array, value):
        return array.at[best].set(jnp.asarray(value, array.dtype))

    changes = {"evaluations": searches.evaluations[best] + calls.made}
    if climb.values:
        changes |= {"z": (place.frame.offset - frame.offset) / frame.scale}
        changes |= {"value": place.value, "gradient": place.gradient}
    if np.isfinite(climb.gain):
        changes |= {"gain": climb.gain, "status": int(_status(climb))}
    names = tuple(changes)
    new = [put(getattr(searches, name), changes[name]) for name in names]
    return eqx.tree_at(lambda s: [getattr(s, name) for name in names], searches, new)


def _status(climb: Climb) -> Status:
    if climb.stuck:
        return Status.STALLED
    if not climb.gain < climb.enough:
        return Status.UNFINISHED
    nothing = climb.flat.all() and not climb.near_edge(climb.place.frame).any()
    return Status.FLAT if nothing else Status.CONVERGED


@jit
def _straight(prior, u, step):
    values, slopes = jax.jvp(prior.constrain, (u,), (step,))
    there = prior.unconstrain(jax.tree.map(jnp.add, values, slopes))
    return jnp.where(jnp.isfinite(there), there, u + step)


class Calls:
    """Evaluations of a posterior, counted."""

    def __init__(self, posterior, squares: bool):
        self.posterior, self.squares, self.made = posterior, squares, 0

    def evaluate(self, frame: Frame) -> Place:
        """The objective with its derivatives at a frame's offset."""
        self.made += 1
        function = least_squares if self.squares else value_and_gradient
        found = function(self.posterior, frame, jnp.zeros_like(frame.offset))
        value, *derivatives = (np.array(part, float) for part in found)
        return Place(frame, float(value), *derivatives)

    def curvature(self, place: Place) -> Curvature:
        """The second derivatives there."""
        if place.hessian is not None:
            return of_residuals(place.hessian, float(jnp.finfo(place.frame.offset.dtype).eps))
        curvature, made = differences(self.posterior, place.frame)
        self.made += made
        return curvature

    def straight(self, frame: Frame, step: np.ndarray) -> Frame:
        """The frame after a step along a straight line of the physical values, inside the prior."""
        change = frame.scale * jnp.asarray(step, frame.offset.dtype)
        return frame._replace(offset=_straight(prior_only(self.posterior), frame.offset, change))
