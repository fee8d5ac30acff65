"""Rows of plain values: what work may return, how a row is written, and tables of many."""

import json
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

PLAIN = (bool, int, float, str, type(None))
OWN = ("name", "done", "reason", "seconds")  # columns of every table


class Record(NamedTuple):
    """What is known of a target.

    Parameters
    ----------
    name
        Of the target.
    done
        Whether there is a row; else ``reason`` says why not.
    row
        Plain values by column.
    units
        Units of those columns that have one, as astropy writes them.
    reason
        Why it failed; empty if it is done.
    seconds
        Time it took.
    written
        When, in UTC.
    kept
        Whether a result was saved beside the row.
    source
        What the task was made of, such as a file; empty where that is not known.
    """

    name: str
    done: bool
    row: Mapping[str, Any] = {}
    units: Mapping[str, str] = {}
    reason: str = ""
    seconds: float = 0.0
    written: str = ""
    kept: bool = False
    source: str = ""


def plain_row(row: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """A row of plain values and their units; TypeError of anything else."""
    if not isinstance(row, Mapping):
        raise TypeError(
            f"work returned a {type(row).__name__}: return a dictionary of numbers and text, or "
            "such a dictionary and what to keep beside it, as a tuple."
        )
    plain, units = {}, {}
    for name, value in row.items():
        if not isinstance(name, str) or name in OWN:
            raise TypeError(
                f"The row has a column {name!r}: columns are text, and none of {', '.join(OWN)}."
            )
        unit = getattr(value, "unit", None)
        if unit is not None:
            units[name], value = str(unit), value.value
        plain[name] = _plain(name, value)
    return plain, units


def _plain(name: str, value: Any) -> Any:
    if hasattr(value, "dtype") and np.ndim(value) == 0:
        value = np.asarray(value).item()
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(
        f"row[{name!r}] is a {type(value).__name__}: a row holds numbers, text, True, False and "
        "None; keep arrays beside it."
    )


def line_of(record: Record) -> bytes:
    """A record as a line of JSON, in which floats are exact."""
    return json.dumps(record._asdict(), separators=(",", ":")).encode() + b"\n"


def record_of(line: bytes) -> Record:
    """The record in a line; ValueError if it is damaged."""
    try:
        entry = json.loads(line)
        record = Record(**entry)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"no row: {error}") from None
    kinds = (str, bool, dict, dict, str, int | float, str, bool, str)
    if not all(isinstance(value, kind) for value, kind in zip(record, kinds, strict=True)):
        raise ValueError("no row: a value is of another kind.")
    return record


def table_of(records: Iterable[Record]) -> Any:
    """An `astropy.table.QTable` with a row per record; what a row lacks is masked, or NaN."""
    from astropy.table import QTable

    records = list(records)
    table = QTable()
    for name in OWN:
        table[name] = [getattr(record, name) for record in records]
    columns = dict.fromkeys(column for record in records for column in record.row)
    for column in columns:
        values = [record.row.get(column) for record in records]
        units = [record.units.get(column) for record in records]
        if any(units):
            table[column] = _quantities(values, units)
        else:
            table[column] = _column(values)
    return table


def _column(values: list) -> Any:
    """A column of values, some of which may be missing."""
    from astropy.table import MaskedColumn

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and float in kinds:
        return np.array([math.nan if value is None else value for value in values], float)
    if len(kinds) > 1:
        values = [None if value is None else str(value) for value in values]
    missing = [value is None for value in values]
    if not any(missing):
        return values
    fill = next((value for value in values if value is not None), "")
    return MaskedColumn([fill if value is None else value for value in values], mask=missing)


def _quantities(values: list, units: list[str | None]) -> Any:
    """A column in the first unit that a row gives, others converted."""
    from astropy.units import Quantity, Unit

    first = Unit(next(filter(None, units)))
    factors = {unit: 1.0 if not unit else Unit(unit).to(first) for unit in set(units)}
    exact = [
        math.nan if value is None else value if Unit(unit or first) == first
        else value * factors[unit]
        for value, unit in zip(values, units, strict=True)
    ]  # fmt: skip
    return Quantity(exact, first)
