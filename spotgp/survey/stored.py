"""Fits of many stars as rows of a store: each star by itself, so that no row depends on others."""

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from pytreefit.extend import as_mapping
from pytreefit.survey import Failed, Record, Store, describe, run

from ..io.observations import TimeSeriesData
from .one import Star, data_of, fitted, process_of
from .results import NOT_DONE, ManyFits, StarFit

_PLAIN = ("points", "log_density", "agreeing", "starts", "message")
_ERROR = "_error"


@dataclasses.dataclass(frozen=True)
class Work:
    """What is done for each star: model, priors, jitter, points, options; how to fit; what stays.

    The star's solver is filled up to one of a few lengths that follow from its own, so that stars
    share programs, and a row is the same whichever others are fitted before or beside it.
    """

    process: tuple
    how: tuple[int, int, bool]
    keep: bool

    def __call__(self, name: str, star: Any, key) -> tuple[dict[str, Any], StarFit | None]:
        del key
        gp, rotation = process_of(data_of(star), *self.process)
        (solver,) = type(gp.solver).shared([gp.solver], common_length(gp.solver.length))
        found = fitted(Star(0, name, gp.with_solver(solver), rotation), *self.how)
        if not found.values:
            raise Failed(found.message)
        return row_of(found), found if self.keep else None

    def configuration(self) -> dict[str, Any]:
        """What decides the rows, in plain values."""
        names = ("model", "priors", "jitter", "points", "options", "starts", "steps", "errors")
        return {
            "rows": "spotgp.fit_many",
            **{n: describe(v) for n, v in zip(names, (*self.process, *self.how), strict=True)},
        }


def common_length(length: int) -> int:
    """The next of four lengths between a power of two and its double."""
    step = 1 << max(length.bit_length() - 3, 0)
    return -(-length // step) * step


def row_of(star: StarFit) -> dict[str, Any]:
    """A star's fit as a row of plain values."""
    from astropy import units

    row: dict[str, Any] = {name: getattr(star, name) for name in _PLAIN}
    row["flags"] = "; ".join(star.flags)
    row["at_bound"] = " ".join(star.at_bound)
    if star.rotation is not None:
        row["rotation_period"] = star.rotation.period * units.day
        row["rotation_uncertainty"] = star.rotation.uncertainty * units.day
        row["rotation_probability"] = star.rotation.probability
    row["effective_period"] = star.effective_period * units.day
    row["effective_period" + _ERROR] = star.effective_period_error * units.day
    for path, value in star.values.items():
        unit = units.Unit(star.units[path])
        row[path] = value * unit
        row[path + _ERROR] = star.errors.get(path, math.nan) * unit
    return row


def star_of(record: Record) -> StarFit:
    """A star's fit from its row, without what the row does not hold."""
    row = record.row
    if not record.done:
        return StarFit(record.name, seconds=record.seconds, message=record.reason)
    ends = len(_ERROR)
    paths = [n[:-ends] for n in row if n.endswith(_ERROR) and n[:-ends] != "effective_period"]
    errors = {path: row[path + _ERROR] for path in paths}
    return StarFit(
        record.name,
        values={path: row[path] for path in paths},
        at_bound=tuple(row["at_bound"].split()),
        units={path: record.units.get(path, "") for path in paths},
        errors={path: error for path, error in errors.items() if not math.isnan(error)},
        flags=tuple(filter(None, row["flags"].split("; "))),
        effective_period=row["effective_period"],
        effective_period_error=row["effective_period" + _ERROR],
        seconds=record.seconds,
        **{name: row[name] for name in _PLAIN},
    )


def _star(name: str, record: Record | None, store: Store | None) -> StarFit:
    """All that is known of a star."""
    if record is None:
        return StarFit(name, message=NOT_DONE)
    if store is not None and record.done and record.kept:
        with contextlib.suppress(ValueError):  # of a class that is not known here
            return store.result(name)
    return star_of(record)


def as_stars(stars: Any) -> list:
    """A list of stars; ValueError if there are none."""
    listed = list(stars) if isinstance(stars, Iterable) else []
    if not listed:
        raise ValueError("stars is empty: pass one light curve at least.")
    return listed


def by_name(stars: Any) -> dict[str, Any]:
    """Stars by the names that a store knows them by."""
    if isinstance(stars, Mapping):
        as_stars(stars)
        return dict(stars)
    found: dict[str, Any] = {}
    for number, star in enumerate(as_stars(stars)):
        name = star.name if isinstance(star, TimeSeriesData) else ""
        if not name or name in found:
            raise ValueError(
                f"stars[{number}] has {'a name twice' if name else 'no name'}: with a store, a "
                "shard or an engine every star needs one of its own. Pass a dictionary of them."
            )
        found[name] = star
    return found


def surveyed(
    work: Work, stars: Mapping[str, Any], where: tuple, configuration, progress
) -> ManyFits:
    """Fit stars by name, in and out of a store."""
    store, engine, shard, retry = where
    survey = run(
        stars,
        work,
        store,
        configuration={**as_mapping("configuration", configuration), **work.configuration()},
        engine=engine,
        shard=shard,
        retry=retry,
        progress=progress,
    )
    kept = Store(store) if store is not None and work.keep else None
    fits = [_star(name, survey.records.get(name), kept) for name in survey.names]
    return ManyFits(tuple(fits), None, survey.seconds)
