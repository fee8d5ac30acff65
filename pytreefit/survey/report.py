"""A page that shows a survey or one of its targets: an HTML file with its figures inside."""

import base64
import html
import io
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import as_whole_number, check_kind
from ..options import whole_file
from .rows import Record
from .store import Store

_BINS = 30
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d.]*(e[-+]?\d+)?")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 75rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: left;
  white-space: nowrap; }
th { border-bottom: 2px solid #888; position: sticky; top: 0; background: #fff; }
.wide { overflow-x: auto; max-height: 40rem; overflow-y: auto; } img { max-width: 100%; }
.note { color: #666; }
"""


def report(
    store: Store | str | os.PathLike,
    path: str | os.PathLike,
    target: str | None = None,
    *,
    plot: Callable[[str, Record], Any] | None = None,
    most: int = 1000,
) -> Path:
    """Write what is in a store as one HTML file, to be opened in a browser or sent to others.

    Of a survey it shows what failed and why, how often each flag is raised, a histogram of each
    quantity that has an error, and the rows; of one target its row, and where its values are among
    those of all others.

    Parameters
    ----------
    store
        A :class:`Store`, or its folder.
    path
        The file to write; one that is there is replaced.
    target
        Name of a target; None for the whole survey.
    plot
        A function of the target's name and :class:`Record` that returns a matplotlib figure for
        the target's page, or None.
    most
        Most rows on the page of a survey; the failed and those with flags come first.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no store, no such target, or nothing in it.

    Examples
    --------
    >>> import tempfile
    >>> from pytreefit import survey
    >>> def work(name, task, key):
    ...     return {"period": float(task), "period_error": 0.1, "flags": ""}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = survey.run({"a": 2, "b": 3}, work, folder, progress=False)
    ...     page = survey.report(folder, f"{folder}/survey.html").read_text()
    >>> "2 done, 0 failed" in page
    True
    """
    store = store if isinstance(store, Store) else Store(store)
    parts = list(_parts(store, target, plot, as_whole_number("most", most, 1)))
    path = Path(path)
    with whole_file(path) as part:
        part.write_text(_page(target or store.path.name, parts), encoding="utf-8")
    return path


def _parts(store: Store, target: str | None, plot: Any, most: int) -> Iterable[str]:
    if not len(store):
        raise ValueError(f"{store.path} has no rows yet.")
    records = {record.name: record for record in store.values()}
    if target is None:
        if plot is not None:
            raise ValueError("plot is for the page of one target: give target too.")
        return _survey(store, records, most)
    check_kind("target", target, str)
    if target not in records:
        raise ValueError(f"{store.path} has no target {target!r}: see list(store).")
    return _target(store, records, target, plot)


def _page(title: str, parts: Iterable[str]) -> str:
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{_STYLE}</style>'
    body = "\n".join((f"<h1>{_text(title)}</h1>", *parts))
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _survey(store: Store, records: Mapping[str, Record], most: int) -> Iterable[str]:
    done = [record for record in records.values() if record.done]
    failed = [record for record in records.values() if not record.done]
    seconds = sum(record.seconds for record in records.values())
    yield (
        f"<p>{len(done)} done, {len(failed)} failed; {seconds:.0f} s of work in all. "
        f"{_text(str(store.path))}</p>"
    )
    if failed:
        yield "<h2>Failed</h2>"
        why = Counter(record.reason for record in failed)
        yield _table(("targets", "reason"), ((n, reason) for reason, n in why.most_common()))
    # numbers are left out, so that alike ones are counted together
    flags = Counter(_NUMBER.sub("...", flag) for record in done for flag in _flags(record))
    if flags:
        yield "<h2>Flags</h2>"
        share = ((n, f"{100 * n / len(done):.0f} %", flag) for flag, n in flags.most_common())
        yield _table(("targets", "of those done", "flag"), share)
    yield from _distributions(done, None)
    yield "<h2>Rows</h2>"
    order = sorted(records.values(), key=lambda r: (r.done, not _flags(r), r.name))
    if len(order) > most:
        yield f'<p class="note">The first {most} of {len(order)}.</p>'
    yield _rows(order[:most])
    yield from _origin(store)


def _target(store: Store, records: Mapping[str, Record], name: str, plot: Any) -> Iterable[str]:
    record = records[name]
    if not record.done:
        yield f"<p>Failed: {_text(record.reason)}</p>"
    for flag in _flags(record):
        yield f"<p><b>{_text(flag)}</b></p>"
    if plot is not None and (figure := plot(name, record)) is not None:
        yield _image(figure, name)
    if record.done:
        values = (
            (column, _value(value), record.units.get(column, ""))
            for column, value in record.row.items()
        )
        yield "<h2>Row</h2>" + _table(("column", "value", "unit"), values)
        yield from _distributions([r for r in records.values() if r.done], record)
    yield from _origin(store)


def _origin(store: Store) -> Iterable[str]:
    yield "<h2>How it was made</h2>"
    yield _table(("option", "value"), store.configuration.items())
    yield _table(("package", "version"), store.versions.items())


def _flags(record: Record) -> list[str]:
    return [flag for flag in str(record.row.get("flags") or "").split("; ") if flag]


def _distributions(records: list[Record], own: Record | None) -> Iterable[str]:
    """A histogram of each quantity with an error; the values of a target are marked."""
    columns = dict.fromkeys(
        name for record in records for name in record.row if f"{name}_error" in record.row
    )
    known = {name: [r for r in records if _is_number(r.row.get(name))] for name in columns}
    known = {name: found for name, found in known.items() if len(found) > 1}
    if not known:
        return
    from matplotlib.figure import Figure

    across = min(3, len(known))
    down = math.ceil(len(known) / across)
    figure = Figure(figsize=(4.0 * across, 2.7 * down), layout="constrained")
    axes = np.ravel(figure.subplots(down, across, squeeze=False))
    for panel in axes[len(known) :]:
        panel.set_axis_off()
    for panel, (name, found) in zip(axes, known.items(), strict=False):
        _histogram(panel, name, found)
        if own is not None and isinstance(value := own.row.get(name), int | float):
            error = own.row.get(f"{name}_error")
            width = error if isinstance(error, int | float) and math.isfinite(error) else 0.0
            panel.axvspan(value - width, value + width, color="#dd8452", alpha=0.4)
            panel.axvline(value, color="#dd8452")
    yield "<h2>Values of all targets</h2>" + _image(figure, "histograms")


def _histogram(panel: Any, name: str, records: list[Record]) -> None:
    """The values of a column, those without an error, such as at a bound, in grey."""
    measured, rest, widths = [], [], []
    for record in records:
        error, value = record.row.get(f"{name}_error"), float(record.row[name])
        if _is_number(error):
            measured.append(value)
            widths.append(error)
        else:
            rest.append(value)
    values = np.array(measured + rest)
    low, high = values.min(), values.max()
    wide = low > 0 and 30 * low < high < 1e5 * low
    edges = (np.geomspace if wide else np.linspace)(low, high, _BINS + 1)
    look = {"stacked": True, "color": ["#4c72b0", "#bbbbbb"]}
    panel.hist([measured, rest], edges if high > low else _BINS, **look)
    if wide:
        panel.set_xscale("log")
    else:
        panel.locator_params(axis="x", nbins=5)
    unit = next((r.units[name] for r in records if name in r.units), "")
    panel.set_xlabel(f"{name} ({unit})" if unit else name)
    panel.set_ylabel("targets")
    said = [f"median error {np.median(widths):.2g} {unit}".strip()] if widths else []
    said += [f"{len(rest)} without (grey)"] if rest else []
    panel.set_title(", ".join(said), fontsize="medium")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _rows(records: list[Record]) -> str:
    columns = dict.fromkeys(name for record in records for name in record.row)
    if "flags" in columns:  # first
        columns = {"flags": None, **columns}
    units = {name: unit for record in records for name, unit in record.units.items()}
    heads = [f"{name} ({units[name]})" if units.get(name) else name for name in columns]
    rows = (
        (record.name, record.reason or "done", *(_value(record.row.get(c)) for c in columns))
        for record in records
    )
    return _table(("name", "", *heads), rows)


def _value(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(heads: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    def line(kind: str, cells: Iterable[Any]) -> str:
        return f"<tr>{''.join(f'<{kind}>{_text(str(cell))}</{kind}>' for cell in cells)}</tr>"

    body = "\n".join(line("td", row) for row in rows)
    return f'<div class="wide"><table>{line("th", heads)}\n{body}</table></div>'


def _text(text: str) -> str:
    return html.escape(text)


def _image(figure: Any, what: str) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<img alt="{_text(what)}" src="data:image/png;base64,{data}">'
