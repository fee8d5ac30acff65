"""A small table that prints well in a terminal and in a notebook."""

import html
from collections.abc import Iterator, Sequence

import numpy as np


class Table(Sequence):
    """Rows of text under named columns, with a plain and an HTML representation.

    Parameters
    ----------
    columns
        Their names.
    rows
        Each with as many entries as there are columns; they are printed with ``str``.

    Examples
    --------
    >>> Table(("band", "flux"), [("J", 1.5), ("H", 2.25)])
    band  flux
    ----  ----
    J     1.5
    H     2.25
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[object]]):
        self.columns = tuple(columns)
        self.rows = [tuple(row) for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]

    def __iter__(self) -> Iterator[tuple]:
        return iter(self.rows)

    def __repr__(self) -> str:
        cells = [self.columns, *([str(entry) for entry in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(entry.ljust(width) for entry, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        rule = "  ".join("-" * width for width in widths)
        return "\n".join([lines[0], rule, *lines[1:]])

    def _repr_html_(self) -> str:
        def row(entries, tag):
            cells = "".join(f"<{tag}>{html.escape(str(entry))}</{tag}>" for entry in entries)
            return f"<tr>{cells}</tr>"

        body = "".join(row(entries, "td") for entries in self.rows)
        return f"<table><thead>{row(self.columns, 'th')}</thead><tbody>{body}</tbody></table>"


def rounded(value: float, width: float) -> str:
    """A number with two digits more than its uncertainty needs to be told apart from zero."""
    if not np.isfinite(value) or not width > 0:
        return f"{value:.6g}"
    decimals = 1 - int(np.floor(np.log10(width)))
    if -8 <= decimals <= 8 and 1e-4 <= max(abs(value), width) < 1e9:
        return f"{value:.{max(decimals, 0)}f}"
    digits = int(np.floor(np.log10(max(abs(value), width)))) - int(np.floor(np.log10(width))) + 1
    return f"{value:.{digits}e}"
