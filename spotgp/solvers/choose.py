"""The solvers by name, and the one that fits."""

import itertools
import math
import warnings
from collections.abc import Mapping
from typing import Any

from .base import AbstractSolver
from .bins.solver import Bins
from .quasiseparable.solver import Quasiseparable
from .tiles import Banded, Dense

_EXACT = (Dense, Banded)
_ALL = (*_EXACT, Bins, Quasiseparable)
_CHOICES: dict[str, tuple[type[AbstractSolver], ...]] = {
    "auto": _ALL,
    "exact": _EXACT,
    **{solver.name: (solver,) for solver in _ALL},
}


def prepared(
    solver: str | type[AbstractSolver] | AbstractSolver,
    data,
    process,
    priors: Mapping[str, Any],
    tolerance: float,
) -> AbstractSolver:
    """A solver by its name or class, or as it is where it has been prepared.

    ValueError for an unknown name, or as by `AbstractSolver.prepare`.
    """
    if isinstance(solver, AbstractSolver):
        return solver
    if isinstance(solver, type) and issubclass(solver, AbstractSolver):
        return solver.prepare(data, process, priors, tolerance)
    if not isinstance(solver, str):
        raise TypeError(
            f"solver = {solver!r} is no name, no class of solvers and no prepared solver."
        )
    if solver not in _CHOICES:
        *first, last = (repr(name) for name in _CHOICES)
        raise ValueError(f"solver = {solver!r} must be {', '.join(first)} or {last}.")
    choices = _CHOICES[solver]
    if len(choices) == 1:
        return choices[0].prepare(data, process, priors, tolerance)
    costs = {one: one.cost(data, process, priors, tolerance) for one in choices}
    ranked = [one for one in sorted(choices, key=lambda one: costs[one]) if costs[one] < math.inf]
    for one, other in itertools.pairwise(ranked):
        try:
            return one.prepare(data, process, priors, tolerance)
        except ValueError as reason:
            warnings.warn(f"solver = {other.name!r} is taken, as {reason}", stacklevel=4)
    return ranked[-1].prepare(data, process, priors, tolerance)
