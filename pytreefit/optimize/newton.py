"""Newton steps within a radius: what a place lacks to be a maximum, and the way there."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from .evaluate import Frame
from .minimisers import resolution

_REACH = 2.0  # steps are trusted no further, in widths of the prior
_SHORTEST = 1e-9  # where shorter steps are refused, too, there is no way on
_CORRECTIONS = 2
_PATIENCE = 10  # steps whose gain rounding hides
_FLAT = 1e-6  # curvatures below it, in units of the prior's width, are called zero
_SOFT = 0.1  # directions of less curvature are looked along, and not only by derivatives
_PROBES = (2.0, 0.1)  # how far to look along directions without curvature


class Place(NamedTuple):
    """The objective, minus a log density, at the offset of a frame."""

    frame: Frame
    value: float
    gradient: np.ndarray
    hessian: np.ndarray | None = None  # where it comes with the gradient

    @property
    def noise(self) -> float:
        """The smallest change of the value that is more than rounding."""
        return float(resolution(jnp.asarray(self.value, self.frame.offset.dtype)))


def moved(frame: Frame, step: np.ndarray) -> Frame:
    """The frame about another point."""
    offset, scale = frame
    return Frame(offset + scale * jnp.asarray(step, offset.dtype), scale)


class Climb:
    r"""The way to the maximum by Newton steps within a radius (Moré & Sorensen 1983).

    With the eigenvalues :math:`\lambda_i` of the second derivatives of minus the log density and
    the slopes :math:`s_i` along their eigenvectors, a step of length :math:`|t| \le r` gains

    .. math::

        G = \max_{|t| \le r} \; - \sum_i \left( s_i t_i + \tfrac12 \lambda_i t_i^2 \right),

    which is :math:`\tfrac12 g^\mathsf{T} H^{-1} g` near a maximum, and follows uphill curvature
    (:math:`\lambda_i < 0`) away from a saddle.

    Parameters
    ----------
    evaluate
        Function of a frame that returns a `Place`.
    curvature
        Function of a place that returns its `Curvature` in units of the frame's scale.
    place
        Where to begin.
    enough
        A gain that is not worth a step.
    moves
        Functions of a frame and a step that return the frame there: along which lines to step, and
        to look by the last of them.
    near_edge
        Function of a frame that says which coordinates are where a prior ends: there it is flat.
    """

    def __init__(
        self, evaluate, curvature, place: Place, enough: float, moves=(moved,), near_edge=None
    ):
        self.evaluate, self.curvature_at, self.enough = evaluate, curvature, enough
        self.place, self.radius, self.moves = place, _REACH, list(moves)
        self.line = moves[-1]
        self.near_edge = near_edge or (lambda frame: np.zeros(place.gradient.shape, bool))
        self.values: list[float] = []  # after each step
        self.open = np.zeros((0, place.gradient.size))  # directions along which nothing changes
        self.gain, self.stuck = np.nan, False

    def look(self) -> None:
        """Work out the curvature here, and the gain to be expected."""
        self.curvature = self.curvature_at(self.place)
        if not np.isfinite(self.curvature.matrix).all():
            self.gain = np.nan
            return
        eigenvalues, self.axes = np.linalg.eigh(self.curvature.matrix)
        self.flat = np.abs(eigenvalues) < np.maximum(_FLAT, self.curvature.noise_along(self.axes))
        self.eigenvalues = np.where(self.flat, 0.0, eigenvalues)
        self.gain = self._gain(self.axes.T @ self.place.gradient)

    def run(self, most: Callable[[], bool]) -> None:
        """Steps until the gain is not worth one, none is found, or there have been enough."""
        self.look()
        idle = 0
        while not self.stuck and most():
            before = self.place
            moved = self._probe() if self.gain < self.enough else self._step()
            if not moved:
                return
            self.values.append(self.place.value)
            idle = idle + 1 if before.value - self.place.value < before.noise else 0
            self.look()
            self.stuck = idle > _PATIENCE and not self.gain < self.enough

    def _gain(self, slopes) -> float:
        step = trust_step(self.eigenvalues, slopes, _REACH)
        return predicted(self.eigenvalues, slopes, step)

    def _step(self) -> bool:
        """One step that comes closer to the maximum, if there is one."""
        if not np.isfinite(self.gain):
            return False
        slopes = self.axes.T @ self.place.gradient
        while self.radius > _SHORTEST:
            step = trust_step(self.eigenvalues, slopes, self.radius)
            length, gain = np.linalg.norm(step), predicted(self.eigenvalues, slopes, step)
            for move in self.moves:
                there = self._moved(move, step, gain)
                if not self._better(there, gain):
                    continue
                if self.place.value - there.value > 0.75 * gain or gain <= self.place.noise:
                    self.radius = min(_REACH, max(self.radius, 3.0 * length))
                self.moves.sort(key=lambda other: other is not move)
                self.place = there
                return True
            self.radius = 0.25 * length
        self.stuck = True
        return False

    def _moved(self, move, step, gain: float) -> Place:
        """The place after a step, and back to the floor of a valley that bends."""
        narrow = self.eigenvalues * (step @ step) > 1.0  # steep walls
        there = self.evaluate(move(self.place.frame, self.axes @ step))
        for _ in range(_CORRECTIONS):
            if self._better(there, gain) or not np.isfinite(there.value):
                break
            off = self.axes.T @ there.gradient
            step = step - np.where(narrow, off / np.where(narrow, self.eigenvalues, 1.0), 0.0)
            there = self.evaluate(move(self.place.frame, self.axes @ step))
        return there

    def _better(self, there: Place, gain: float) -> bool:
        """Whether a place is as much better as a step should make it."""
        change, noise = self.place.value - there.value, self.place.noise
        if gain > noise:
            return change > 1e-4 * gain
        # the gradient still tells what rounding hides of the value
        return change > -noise and self._gain(self.axes.T @ there.gradient) < 0.9 * self.gain

    def _probe(self) -> bool:
        """Go to a better place along a direction without curvature, or note where none is."""
        found, noise = [], max(self.enough, self.place.noise)
        soft = self.axes.T[self.eigenvalues < _SOFT]
        edge = self.near_edge(self.place.frame) if len(soft) else np.zeros(0, bool)
        for axis in soft:
            if edge[np.argmax(np.abs(axis))]:
                continue
            constant = True
            for length in _PROBES:
                for step in (length * axis, -length * axis):
                    there = self.evaluate(self.line(self.place.frame, step))
                    if there.value < self.place.value - noise:
                        self.place, self.radius = there, _REACH
                        return True
                    falls = there.value > self.place.value + noise
                    constant = constant and not (falls and length < 1.0)
            if constant:
                found.append(axis)
        self.open = np.reshape(found, (len(found), len(self.axes)))
        return False


def trust_step(eigenvalues: np.ndarray, slopes: np.ndarray, radius: float) -> np.ndarray:
    """The minimiser of ``slopes @ t + eigenvalues @ t**2 / 2`` with ``|t| <= radius``."""

    def step(damping):
        stiffness = eigenvalues + damping
        return -slopes / np.where(stiffness > 0, stiffness, 1e-30)

    least = max(0.0, -float(eigenvalues[0]))
    if least == 0.0 and np.linalg.norm(step(0.0)) <= radius:
        return step(0.0)
    low, high = 0.0, float(np.linalg.norm(slopes)) / radius + 1e-12 * max(least, 1e-12)
    for _ in range(100):
        middle = 0.5 * (low + high)
        if np.linalg.norm(step(least + middle)) > radius:
            low = middle
        else:
            high = middle
    result = step(least + high)
    missing = radius**2 - result @ result
    if least > 0.0 and missing > 1e-6 * radius**2:
        # there is no slope along the most uphill axis: what is left of the radius goes there
        result[0] += np.copysign(np.sqrt(missing), result[0])
    return result


def predicted(eigenvalues, slopes, step) -> float:
    """The gain in log density of a step."""
    return float(-(slopes @ step + 0.5 * eigenvalues @ step**2))
