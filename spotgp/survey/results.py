"""What fits of many stars found: rows and tables."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pytreefit import Fit, Laplace, Table
from pytreefit.extend import duration

from ..gp.priors import short_names
from ..periods import RotationPeriod

NOT_DONE = "Not done."


@dataclasses.dataclass(frozen=True, eq=False)
class StarFit:
    """The fit of one of many stars, or why there is none.

    Parameters
    ----------
    name
        Of the star; its number where it has none.
    points
        Number of points that were fitted.
    fit
        The best of the fits; None where there is none, or a store kept the row alone.
    values
        Best value of each free parameter by path; empty where there is no fit.
    at_bound
        Paths of those at a bound of their own, such as a shear of 0, as in `Fit`.
    units
        Unit of each free parameter by path.
    errors
        Standard deviation of each free parameter by path: from the curvature of the log posterior
        at the best fit, and the other fits that ended at its period, by their probabilities.
        Without those that ran to the edge of their prior, where the others' are given for these
        values; empty where none could be had.
    log_density
        Logarithm of likelihood times prior density at the best values.
    agreeing, starts
        How many of how many starts ended within 0.1 of it.
    rotation
        What :func:`rotation_period` found in all points; None where a store kept the row alone.
    laplace
        The Gaussian approximation at the best fit alone, or None.
    flags
        What to doubt, in words: the flags of ``rotation`` and of the `Search`, and a fitted period
        that is none of the candidates, or not the one that is sure.
    effective_period, effective_period_error
        Days, see `SpotEvolutionModel.effective_period`.
    seconds
        Time it took.
    message
        What to know about it: why it failed, or what the fit says of itself.
    """

    name: str
    points: int = 0
    fit: Fit | None = None
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)
    at_bound: tuple[str, ...] = ()
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    errors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    log_density: float = math.nan
    agreeing: int = 0
    starts: int = 0
    rotation: RotationPeriod | None = None
    laplace: Laplace | None = None
    flags: tuple[str, ...] = ()
    effective_period: float = math.nan
    effective_period_error: float = math.nan
    seconds: float = 0.0
    message: str = ""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ManyFits(Sequence):
    """The results of `fit_many`, one `StarFit` per star in the order they came in.

    Parameters
    ----------
    stars
        The results.
    compilations
        How many programs were compiled for them; None where it is not known, as with a store.
    seconds
        Time it took.
    """

    stars: tuple[StarFit, ...]
    compilations: int | None
    seconds: float

    def __len__(self) -> int:
        return len(self.stars)

    def __getitem__(self, index):
        return self.stars[index]

    @property
    def names(self) -> tuple[str, ...]:
        """Paths of the parameters that are free for at least one star."""
        return tuple(dict.fromkeys(name for star in self.stars for name in star.values))

    @property
    def failed(self) -> tuple[int, ...]:
        """Which stars have no fit."""
        return tuple(k for k, star in enumerate(self.stars) if not star.values)

    @property
    def left(self) -> tuple[int, ...]:
        """Which of them have none because the run ended before."""
        return tuple(k for k, star in enumerate(self.stars) if star.message == NOT_DONE)

    def values(self, name: str) -> np.ndarray:
        """Best values of a parameter, shape (stars,), NaN where there is none."""
        path = self._path(name)
        return np.array([star.values.get(path, math.nan) for star in self.stars])

    def errors(self, name: str) -> np.ndarray:
        """Standard deviations of a parameter, shape (stars,), NaN where there is none."""
        path = self._path(name)
        return np.array([star.errors.get(path, math.nan) for star in self.stars])

    def _path(self, name: str) -> str:
        short = dict(zip(short_names(self.names), self.names, strict=True))
        path = short.get(name, name)
        if path not in self.names:
            raise ValueError(f"{name!r} is no free parameter; these are: {', '.join(short)}.")
        return path

    def table(self) -> Table:
        """A row per star: name, points, effective period, parameters, agreement, what to doubt."""
        short = short_names(self.names)
        rows = [
            (
                star.name,
                star.points,
                _pair(star.effective_period, star.effective_period_error),
                *(_entry(star, name) for name in self.names),
                f"{star.agreeing}/{star.starts}",
                "; ".join(star.flags) if star.values else star.message,
            )
            for star in self.stars
        ]
        return Table(("star", "points", "P_eff", *short, "agreeing", "flags"), rows)

    def to_astropy(self) -> Any:
        """An `astropy.table.QTable` with a row per star, which can be written to a file."""
        from astropy import units
        from astropy.table import QTable

        table = QTable()
        known = {path: unit for star in self.stars for path, unit in star.units.items()}
        table["star"] = [star.name for star in self.stars]
        table["points"] = [star.points for star in self.stars]
        for column in ("effective_period", "effective_period_error"):
            table[column] = [getattr(star, column) for star in self.stars] * units.day
        for short, path in zip(short_names(self.names), self.names, strict=True):
            unit = units.Unit(known[path])
            table[short] = self.values(path) * unit
            table[f"{short}_error"] = self.errors(path) * unit
        for column in ("log_density", "agreeing", "starts", "seconds", "message"):
            table[column] = [getattr(star, column) for star in self.stars]
        table["flags"] = ["; ".join(star.flags) for star in self.stars]
        return table

    def __repr__(self) -> str:
        said = [f"{len(self)} stars", f"{len(self.failed) - len(self.left)} failed"]
        if self.left:
            said.append(f"{len(self.left)} not done")
        if self.compilations is not None:
            said.append(f"{self.compilations} compilation{'' if self.compilations == 1 else 's'}")
        return f"ManyFits({', '.join(said)}, {duration(self.seconds)})\n{self.table()!r}"


def _entry(star: StarFit, name: str) -> str:
    """A best value with its error, or that it is at a bound of its own or its prior's edge."""
    if name in star.at_bound:
        return f"{star.values[name]:.2f} (bound)"
    if name in star.values and star.errors and name not in star.errors:
        return f"{star.values[name]:.5g} (edge)"
    return _pair(star.values.get(name), star.errors.get(name))


def _pair(value: float | None, error: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    if error is None or not (math.isfinite(error) and error > 0):
        return f"{value:.5g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} +- {error:.{digits}f}"
