"""A folder with a row per target, of which nothing is lost when the process that fills it ends."""

import contextlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..arrays import check_kind
from ..results.files import load
from .rows import Record, record_of, table_of
from .targets import digest

FORMAT, VERSION = "pytreefit store", 1
HEADER, ROWS, RESULTS, LOCKS = "store.json", "rows", "results", "locks"


class _Place(NamedTuple):
    """Where a record is."""

    file: Path
    offset: int
    done: bool
    written: str  # of a failure


class Store(Mapping[str, Record]):
    """The rows that :func:`run` keeps in a folder, for reading; also while others write them.

    A mapping from the name of each target to its :class:`Record`, done or failed. Of a target that
    was tried again the row counts, and of several failures the last. What :func:`run` or others
    write later is seen by a new ``Store(path)``.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    FileNotFoundError
        If there is no store at ``path``.
    ValueError
        If it was written by a newer version of this package, or its header is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from pytreefit import survey
    >>> def work(name, task, key):
    ...     return {"square": task**2}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = survey.run({"a": 2, "b": 3}, work, folder, progress=False)
    ...     again = survey.run({"a": 2, "b": 3, "c": 4}, work, folder, progress=False)
    ...     store = survey.Store(folder)
    ...     store.names, store.row("c")
    (('a', 'b', 'c'), {'square': 16})
    """

    def __init__(self, path: str | os.PathLike):
        check_kind("path", path, str | os.PathLike)
        self.path = Path(path).absolute()
        self.header = read_header(self.path)
        self.damaged: tuple[str, ...] = ()
        self._places: dict[str, _Place] = {}
        for file in sorted((self.path / ROWS).glob("*.jsonl")):
            with contextlib.suppress(FileNotFoundError):  # its writer had no row, and took it away
                self._index(file)

    @property
    def configuration(self) -> dict[str, Any]:
        """What decides the results: as it was when the store was made."""
        return dict(self.header["configuration"])

    @property
    def versions(self) -> dict[str, str]:
        """Versions of packages when the store was made; each file of rows begins with its own."""
        return dict(self.header["versions"])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the targets that have a row, sorted."""
        return tuple(name for name in self if self._places[name].done)

    @property
    def failed(self) -> dict[str, str]:
        """Why the others failed, by name."""
        return {name: self[name].reason for name in self if not self._places[name].done}

    def done(self, name: str) -> bool:
        """Whether a target has a row."""
        return name in self._places and self._places[name].done

    def row(self, name: str) -> dict[str, Any]:
        """The row of a target; ValueError with the reason where there is none."""
        record = self.get(name)
        if record is None:
            raise ValueError(f"{self.path} has no target {name!r}: see list(store).")
        if not record.done:
            raise ValueError(f"{name!r} failed: {record.reason}")
        return dict(record.row)

    def result(self, name: str, classes: Iterable[Any] = ()) -> Any:
        """What was kept beside a row; ``classes`` as for :func:`pytreefit.load`."""
        self.row(name)
        file = result_path(self.path, name)
        if not file.exists():
            raise ValueError(f"Nothing was kept beside the row of {name!r}.")
        return load(file, classes)

    def table(self) -> Any:
        """An `astropy.table.QTable`, a row per target in the order of their names.

        Columns are name, done, reason and seconds, then those of the rows. Missing numbers are
        NaN, other missing values are masked.
        """
        return table_of(self.values())

    def __getitem__(self, name: str) -> Record:
        place = self._places[name]
        with open(place.file, "rb") as stream:
            stream.seek(place.offset)
            return record_of(stream.readline())

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._places))

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __repr__(self) -> str:
        done = sum(place.done for place in self._places.values())
        return f"Store({str(self.path)!r}: {done} done, {len(self) - done} failed)"

    def _index(self, file: Path) -> None:
        """Note where the records of a file are; a torn last line is no harm."""
        offset = 0
        with open(file, "rb") as stream:
            for number, line in enumerate(stream, 1):
                if number > 1:  # the first says who wrote it
                    self._note(file, number, offset, line)
                offset += len(line)

    def _note(self, file: Path, number: int, offset: int, line: bytes) -> None:
        try:
            record = record_of(line)
        except ValueError as error:
            if line.endswith(b"\n"):
                warnings.warn(
                    f"Line {number} of {file} is damaged ({error}): its target counts as not done.",
                    UserWarning,
                    stacklevel=5,
                )
            else:
                said = f"the last row of {file.name} is cut short, as by a kill, and left out"
                self.damaged = (*self.damaged, said)
            return
        old = self._places.get(record.name)
        place = _Place(file, offset, record.done, "" if record.done else record.written)
        # one row stays the one; of failures the last counts, and any row more than a failure
        if old is None or (not old.done and (place.done or place.written >= old.written)):
            self._places[record.name] = place


def read_header(path: Path) -> dict[str, Any]:
    """What a store says of itself."""
    try:
        header = json.loads((path / HEADER).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path} holds no store: there is no {HEADER} in it.") from None
    except ValueError as error:
        raise ValueError(f"{path / HEADER} is damaged: {error}.") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{path / HEADER} was not written by pytreefit.survey.")
    if header.get("version") != VERSION:
        raise ValueError(
            f"{path} is a store of format version {header.get('version')!r}, and this pytreefit "
            f"knows version {VERSION}: use the pytreefit that wrote it, or another folder."
        )
    if not all(isinstance(header.get(part), dict) for part in ("configuration", "versions")):
        raise ValueError(f"{path / HEADER} is damaged: it has no configuration or no versions.")
    return header


def result_path(path: Path, name: str) -> Path:
    """Where a result is kept: in one of 256 folders, for some file systems dislike large ones."""
    letters = digest(name)
    return path / RESULTS / letters[:2] / f"{letters}.npz"
